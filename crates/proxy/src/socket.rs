//! What the config says of sockets, in the words of `net`.

use config::{ListenerSocket, PoolSocket, SocketOptions};
use net::{ConnectOptions, ConnectionOptions, ListenerOptions};

/// How the sockets of a listener are made.
pub fn listener_options(socket: &ListenerSocket) -> ListenerOptions {
    ListenerOptions {
        interface: socket.interface.clone(),
        backlog: socket.backlog,
        dual_stack: socket.dual_stack,
        fast_open: socket.fast_open,
        connection: connection_options(&socket.connection),
    }
}

/// How connections to the endpoints of a pool are opened.
pub fn connect_options(socket: &PoolSocket) -> ConnectOptions {
    ConnectOptions {
        source: socket.source,
        interface: socket.interface.clone(),
        fast_open: socket.fast_open,
        connection: connection_options(&socket.connection),
    }
}

fn connection_options(options: &SocketOptions) -> ConnectionOptions {
    ConnectionOptions {
        nodelay: options.nodelay,
        keep_alive: options.keep_alive,
        user_timeout: options.user_timeout,
    }
}
