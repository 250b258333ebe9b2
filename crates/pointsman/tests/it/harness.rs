//! A load balancer in front of scripted endpoints: the one place that knows the program's API.

use std::net::SocketAddr;
use std::time::Duration;

use config::Outside;
use observe::{EventFormat, Events};
use pointsman::{Options, Server, check_tls};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Client, Endpoint, Peer, Response, Step, get, poll_until};

/// Long enough for anything that should happen, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A config in pieces: one listener `web`, one pool `app`, one route unless all is relayed.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    endpoints: Vec<String>,
    listener: String,
    pool: String,
    route: String,
    workers: Option<u32>,
    top: String,
    more: String,
    has_no_route: bool,
}

/// A running load balancer.
pub(crate) struct Proxy {
    server: Option<Server>,
    address: SocketAddr,
    admin: SocketAddr,
    directory: TempDir,
}

impl Setup {
    /// A pool of these endpoints, without active checks and with defaults for the rest.
    pub(crate) fn to(endpoints: &[&Endpoint]) -> Self {
        let endpoints = endpoints
            .iter()
            .map(|endpoint| format!("\"{}\"", endpoint.peer()));
        Self {
            endpoints: endpoints.collect(),
            ..Self::default()
        }
    }

    /// Adds an endpoint by its address.
    pub(crate) fn and_to(mut self, address: impl std::fmt::Display) -> Self {
        self.endpoints.push(format!("\"{address}\""));
        self
    }

    /// Adds an endpoint that is a table, with these keys.
    pub(crate) fn and_to_table(mut self, keys: &str) -> Self {
        self.endpoints.push(format!("{{ {keys} }}"));
        self
    }

    /// A pool of endpoints that are tables: `with` holds their keys but the address.
    pub(crate) fn to_tables(endpoints: &[(&Endpoint, &str)]) -> Self {
        let endpoints = endpoints
            .iter()
            .map(|(endpoint, with)| format!("{{ address = \"{}\", {with} }}", endpoint.peer()));
        Self {
            endpoints: endpoints.collect(),
            ..Self::default()
        }
    }

    /// Adds keys of the listener.
    pub(crate) fn listener(mut self, keys: &str) -> Self {
        self.listener += &format!("{keys}\n");
        self
    }

    /// What the listener takes it relays to the pool, over `tcp` or `udp`: there is no route.
    pub(crate) fn relaying(mut self, protocol: &str) -> Self {
        self.has_no_route = true;
        self.listener(&format!("protocol = \"{protocol}\"\npool = \"app\""))
    }

    /// Adds keys of the pool.
    pub(crate) fn pool(mut self, keys: &str) -> Self {
        self.pool += &format!("{keys}\n");
        self
    }

    /// Adds keys of the route.
    pub(crate) fn route(mut self, keys: &str) -> Self {
        self.route += &format!("{keys}\n");
        self
    }

    /// Sets the number of workers, two unless set.
    pub(crate) fn workers(mut self, workers: u32) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Adds keys at the top.
    pub(crate) fn top(mut self, keys: &str) -> Self {
        self.top += &format!("{keys}\n");
        self
    }

    /// Adds whole tables.
    pub(crate) fn more(mut self, tables: &str) -> Self {
        self.more += &format!("{tables}\n");
        self
    }

    /// The config as text, with files in `directory`.
    pub(crate) fn text(&self, directory: &std::path::Path) -> String {
        let log = directory.join("access.log");
        let mut listener = self.listener.clone();
        if !listener.contains("bind") {
            listener += "bind = \"127.0.0.1:0\"\n";
        }
        let mut pool = self.pool.clone();
        // A probe is a connection that a test which counts them does not want.
        if !pool.contains("check") {
            pool += "check = \"off\"\n";
        }
        let route = match self.has_no_route {
            true => String::new(),
            false => format!("[[routes]]\npool = \"app\"\n{}", self.route),
        };
        format!(
            "workers = {}\n\
             {}\
             [admin]\nbind = \"127.0.0.1:0\"\n\
             [access_log]\nsink = {{ file = \"{}\" }}\n\
             [listeners.web]\n{listener}\
             [pools.app]\nendpoints = [{}]\n{pool}\
             {route}\
             {}",
            self.workers.unwrap_or(2),
            self.top,
            log.display(),
            self.endpoints.join(", "),
            self.more,
        )
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(self) -> Proxy {
        let directory = tempfile::tempdir().expect("a directory can be made");
        self.start_in(directory)
    }

    /// Starts it with its files in `directory`.
    #[track_caller]
    pub(crate) fn start_in(self, directory: TempDir) -> Proxy {
        let text = self.text(directory.path());
        let outside = Outside {
            resolve: &no_names,
            ..Outside::system(&check_tls)
        };
        let loaded = match config::parse("test.toml", &text, outside) {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{}", problems.render(false)),
        };
        let options = Options {
            events: Events::new(EventFormat::Text, std::io::sink()),
            ..Options::default()
        };
        let server = Server::start(loaded.snapshot, options).expect("the server starts");
        let address = server.address("web").expect("the listener has a port");
        let admin = server.admin_address().expect("the admin API is on");
        Proxy {
            server: Some(server),
            address,
            admin,
            directory,
        }
    }
}

/// A balancer with defaults in front of these endpoints.
#[track_caller]
pub(crate) fn proxy_to(endpoints: &[&Endpoint]) -> Proxy {
    Setup::to(endpoints).start()
}

impl Proxy {
    /// Where listener `web` listens.
    pub(crate) fn peer(&self) -> Peer {
        self.address.into()
    }

    /// Where listener `web` listens, as an address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the listener of this name listens.
    #[track_caller]
    pub(crate) fn address_of(&self, listener: &str) -> SocketAddr {
        let address = self
            .server
            .as_ref()
            .and_then(|server| server.address(listener));
        address.expect("the listener has a port")
    }

    /// A new client connection.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The response to a GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        get(self.address, target)
    }

    /// The body of an admin page.
    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> String {
        let mut client = Client::connect(self.admin);
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.admin
        ));
        let response = client
            .try_read_response("GET", 16 * 1024 * 1024)
            .expect("the admin API answers");
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.text()
    }

    /// The admin page `/status`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.admin("/status")).expect("/status is JSON")
    }

    /// The sum of a metric's samples whose line holds every text of `labels`.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.admin("/metrics");
        let samples = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        let values = samples.map(|line| {
            let value = line.rsplit(' ').next().unwrap_or_default();
            value.parse::<f64>().expect("a sample ends with a number")
        });
        values.sum()
    }

    /// Waits until that many requests are queued.
    #[track_caller]
    pub(crate) fn wait_for_queued(&self, count: u32) {
        poll_until(&format!("{count} queued"), SOON, || {
            self.metric("pointsman_pool_queue_length", &[]) == f64::from(count)
        });
    }

    /// What `/status` says about each endpoint of each pool.
    #[track_caller]
    fn endpoints(&self) -> Vec<Value> {
        let status = self.status();
        let pools = status["pools"].as_array().into_iter().flatten();
        let endpoints = pools.flat_map(|pool| pool["endpoints"].as_array().into_iter().flatten());
        endpoints.cloned().collect()
    }

    /// Waits until that many requests are in flight, over all endpoints.
    #[track_caller]
    pub(crate) fn wait_for_in_flight(&self, count: u64) {
        poll_until(&format!("{count} in flight"), SOON, || {
            let endpoints = self.endpoints();
            let in_flight = endpoints
                .iter()
                .map(|endpoint| &endpoint["requests_in_flight"]);
            in_flight.filter_map(Value::as_u64).sum::<u64>() == count
        });
    }

    /// How many endpoints are out of rotation.
    #[track_caller]
    pub(crate) fn count_down(&self) -> usize {
        let endpoints = self.endpoints();
        endpoints
            .iter()
            .filter(|endpoint| endpoint["availability"] == "down")
            .count()
    }

    /// Waits until that many endpoints are out of rotation.
    #[track_caller]
    pub(crate) fn wait_for_down(&self, count: usize) {
        poll_until(&format!("{count} down"), SOON, || {
            self.count_down() == count
        });
    }

    /// The first `count` lines of the access log, waiting until they are there.
    #[track_caller]
    pub(crate) fn log(&self, count: usize) -> Vec<Value> {
        let read = || read_log(&self.directory);
        poll_until(&format!("{count} lines of access log"), SOON, || {
            read().lines().count() >= count
        });
        let text = read();
        let lines = text.lines().take(count);
        lines
            .map(|line| serde_json::from_str(line).expect("a log line is JSON"))
            .collect()
    }

    /// Stops gracefully; returns when everything in flight is over.
    pub(crate) fn stop(self) -> Stopped {
        self.stop_within(SOON)
    }

    /// Stops gracefully, cutting what is in flight after `patience`.
    pub(crate) fn stop_within(mut self, patience: Duration) -> Stopped {
        if let Some(server) = self.server.take() {
            server.stop(patience);
        }
        Stopped {
            directory: self.directory,
        }
    }
}

/// What is left of a load balancer.
pub(crate) struct Stopped {
    directory: TempDir,
}

impl Stopped {
    /// The access log, as text.
    pub(crate) fn log(&self) -> String {
        read_log(&self.directory)
    }
}

fn read_log(directory: &TempDir) -> String {
    std::fs::read_to_string(directory.path().join("access.log")).unwrap_or_default()
}

/// The config of a test has addresses only.
fn no_names(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    Err(std::io::Error::other(format!(
        "{name} is not resolved in tests"
    )))
}

/// An endpoint that answers 200 with `name`.
pub(crate) fn named(name: &'static str) -> Endpoint {
    Endpoint::start(move |_| testkit::Reply::ok(name))
}

/// An endpoint without HTTP that sends back every byte.
pub(crate) fn echo() -> Endpoint {
    Endpoint::raw(|_| vec![Step::Tunnel])
}

/// An endpoint without HTTP that says `name` first and then sends back every byte.
pub(crate) fn greeting(name: &'static str) -> Endpoint {
    Endpoint::raw(move |_| vec![Step::Send(name.into()), Step::Tunnel])
}
