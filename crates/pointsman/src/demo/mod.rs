//! `pointsman demo`: endpoints to kill, traffic, and the balancer between them, in one process.
//!
//! Read `endpoint` for what is killed and revived, `switches` for how a person does it, `traffic`
//! for who notices; `view` for what is shown, `screen` for how, `terminal` for drawing and keys;
//! `event_log` for what the balancer says meanwhile.
//!
//! Nothing here is privileged: the balancer runs from an ordinary config, and what is shown of it
//! is what its admin API shows to everybody.

mod endpoint;
mod switches;
mod traffic;

mod event_log;
mod view;

mod screen;
mod terminal;

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use config::Outside;
use observe::{EventFormat, Events};
use pointsman::{Options, Server, check_tls};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use self::endpoint::Endpoint;
use self::event_log::EventLog;
use self::switches::Switches;
use self::terminal::Terminal;
use self::traffic::Traffic;
use self::view::Viewer;
use crate::cli::DemoArguments;
use crate::run::raise_open_files_limit;
use crate::{may_color, print};

/// Between two drawings in a terminal: looks alive, and can be read.
const REDRAW_INTERVAL: Duration = Duration::from_millis(250);

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// For the last requests, which take milliseconds here.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a person or the system wants.
pub(crate) enum Input {
    Key(u8),
    Redraw,
    Quit,
}

pub(crate) fn demo(arguments: &DemoArguments) -> Result<()> {
    raise_open_files_limit();
    let (sender, inputs) = mpsc::channel();
    watch_signals(sender.clone())?;
    let log = EventLog::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let endpoints = {
        let _entered = runtime.enter();
        let started: io::Result<Arc<[Endpoint]>> = ["one", "two", "three"]
            .map(Endpoint::start)
            .into_iter()
            .collect();
        started.context("an endpoint cannot be started")?
    };
    let switches = Switches::new(Arc::clone(&endpoints), log.clone());

    let config = config(
        free_or_any(arguments.listen, &log),
        free_or_any(arguments.admin, &log),
        &endpoints,
    );
    let options = Options {
        events: Events::new(EventFormat::Text, log.clone()),
        admin_extra: switches.router(),
    };
    let loaded = config::parse("config of the demo", &config, Outside::system(&check_tls))?;
    let server = Server::start(loaded.snapshot, options)?;
    let listen = server.address("web").context("`web` has no address")?;
    let admin = server.admin_address().context("the admin API is off")?;
    let traffic = Traffic::start(listen, runtime)?;

    let mut viewer = Viewer::new(listen, admin, endpoints, traffic.counts(), log);
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        draw(&mut viewer, &switches, sender, &inputs)?;
    } else {
        tell(&mut viewer, &inputs)?;
    }
    let counts = traffic.stop();
    server.stop(PATIENCE);
    let (requests, failed) = (counts.requests(), counts.failed());
    Ok(print(&format!("{requests} requests, {failed} failed\n"))?)
}

/// Draws in place and takes keys, until somebody quits.
fn draw(
    viewer: &mut Viewer,
    switches: &Switches,
    sender: Sender<Input>,
    inputs: &Receiver<Input>,
) -> Result<()> {
    let mut terminal = Terminal::enter(sender)?;
    let color = may_color(&io::stdout());
    loop {
        terminal.draw(&screen::screen(&viewer.view()?, color))?;
        // What a key does is shown at once.
        match inputs.recv_timeout(REDRAW_INTERVAL) {
            Ok(Input::Quit | Input::Key(b'q')) | Err(RecvTimeoutError::Disconnected) => {
                return Ok(());
            }
            Ok(Input::Key(key)) => switches.press(key),
            Ok(Input::Redraw) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Prints a line a second, until a signal.
fn tell(viewer: &mut Viewer, inputs: &Receiver<Input>) -> Result<()> {
    let view = viewer.view()?;
    print(&(screen::introduction(&view) + &screen::line(&view)))?;
    let mut next = Instant::now();
    loop {
        next += LINE_INTERVAL;
        let patience = next.saturating_duration_since(Instant::now());
        match inputs.recv_timeout(patience) {
            Ok(Input::Quit) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(Input::Key(_) | Input::Redraw) | Err(RecvTimeoutError::Timeout) => {}
        }
        print(&screen::line(&viewer.view()?))?;
    }
}

fn watch_signals(sender: Sender<Input>) -> Result<()> {
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP, SIGWINCH]).context("no signal can be caught")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                let input = match signal {
                    SIGWINCH => Input::Redraw,
                    _ => Input::Quit,
                };
                // Nobody receives any more when the demo is at its end.
                let _ = sender.send(input);
            }
        })
        .context("a thread cannot be started")?;
    Ok(())
}

/// `address`, or any free port of that host if it is taken.
fn free_or_any(address: SocketAddr, log: &EventLog) -> SocketAddr {
    if TcpListener::bind(address).is_ok() {
        return address;
    }
    log.note(&format!(
        "{address} cannot be bound, another port was chosen"
    ));
    SocketAddr::new(address.ip(), 0)
}

/// What somebody would write, but for the time-outs: a person watches here.
fn config(listen: SocketAddr, admin: SocketAddr, endpoints: &[Endpoint]) -> String {
    let mut config = format!(
        "admin.bind = \"{admin}\"\n\
         access_log.sink = \"off\"\n\
         [listeners.web]\n\
         bind = \"{listen}\"\n\
         [pools.app]\n\
         check = {{ http = \"/healthz\", interval = \"1s\", timeout = \"500ms\" }}\n\
         timeouts = {{ response = \"1s\" }}\n\
         endpoints = [\n"
    );
    for Endpoint { name, address, .. } in endpoints {
        // Writing to a String cannot fail.
        let _ = writeln!(config, "{{ name = \"{name}\", address = \"{address}\" }},");
    }
    config + "]\n"
}
