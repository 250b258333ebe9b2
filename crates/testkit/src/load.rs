//! Many clients at once, and what became of each request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ID_FIELD;
use crate::client::{Client, ReadError};
use crate::http::{End, Response};
use crate::peer::Peer;

/// A bounded load: `threads` clients, each with a connection that it keeps as long as it may.
#[derive(Debug, Clone)]
pub struct Load {
    /// The proxy.
    pub to: Peer,
    /// `GET` or another method.
    pub method: &'static str,
    /// The request target.
    pub target: String,
    /// Length of the body; `None` for a request without one.
    pub body_bytes: Option<usize>,
    /// Clients at once.
    pub threads: usize,
    /// Requests of all threads together; at that many the load stops by itself.
    pub requests: usize,
    /// Time from the start of one request to the start of the next, for each thread: an open
    /// loop. `None`: the next request begins when the last is over.
    pub every: Option<Duration>,
    /// A response must come within this.
    pub timeout: Duration,
}

/// What became of the requests.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    /// Whole responses by status.
    pub statuses: BTreeMap<u16, usize>,
    /// Ids of requests that were answered in whole, with the status.
    pub answered: Vec<(String, u16)>,
    /// Ids of requests without a whole response, and why.
    pub failed: Vec<(String, String)>,
    /// The slowest response.
    pub slowest: Duration,
    /// 200s by body, for endpoints that answer with their name.
    pub bodies: BTreeMap<String, usize>,
}

/// A load on its way.
#[derive(Debug)]
pub struct RunningLoad {
    progress: Arc<Progress>,
    threads: Vec<JoinHandle<Outcomes>>,
}

#[derive(Debug, Default)]
struct Progress {
    begun: AtomicUsize,
    done: AtomicUsize,
}

impl Load {
    /// `requests` GETs of `/` by 8 clients in a closed loop.
    pub fn get(to: impl Into<Peer>, requests: usize) -> Self {
        Self {
            to: to.into(),
            method: "GET",
            target: "/".to_owned(),
            body_bytes: None,
            threads: 8,
            requests,
            every: None,
            timeout: Duration::from_secs(10),
        }
    }

    /// The same with POST and a small body.
    pub fn post(to: impl Into<Peer>, requests: usize) -> Self {
        Self {
            method: "POST",
            body_bytes: Some(100),
            ..Self::get(to, requests)
        }
    }

    /// Begins.
    pub fn start(self) -> RunningLoad {
        let progress = Arc::new(Progress::default());
        let threads = (0..self.threads)
            .map(|_| {
                let load = self.clone();
                let progress = Arc::clone(&progress);
                std::thread::spawn(move || load.run_thread(&progress))
            })
            .collect();
        RunningLoad { progress, threads }
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcomes {
        self.start().finish()
    }

    fn run_thread(&self, progress: &Progress) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let mut connection = None;
        let mut next_start = Instant::now();
        loop {
            let number = progress.begun.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                break;
            }
            if let Some(every) = self.every {
                std::thread::sleep(next_start.saturating_duration_since(Instant::now()));
                next_start += every;
            }
            let id = format!("{}-{number}", self.method);
            let start = Instant::now();
            match self.exchange(&mut connection, &id) {
                Ok(response) => outcomes.add(id, &response, start.elapsed()),
                Err(why) => outcomes.failed.push((id, why)),
            }
            progress.done.fetch_add(1, Ordering::Relaxed);
        }
        outcomes
    }

    fn exchange(&self, connection: &mut Option<Client>, id: &str) -> Result<Response, String> {
        let reused = connection.is_some();
        let mut client = match connection.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        let mut result = self.exchange_on(&mut client, id);
        if reused && matches!(result, Err(ReadError::Closed)) {
            // A server may close a kept connection at any moment, and a client that sees it
            // close without a byte tries again (RFC 9112 §9.3.1), if the method allows it.
            if self.method == "GET" {
                client = self.connect()?;
                result = self.exchange_on(&mut client, id);
            }
        }
        let response = result.map_err(|error| format!("{error:?}"))?;
        if response.body.end != End::Clean {
            return Err(format!(
                "{} with body {:?}",
                response.status, response.body.end
            ));
        }
        if !response.head.connection_has("close") {
            *connection = Some(client);
        }
        Ok(response)
    }

    fn connect(&self) -> Result<Client, String> {
        let mut client = Client::try_connect(&self.to).map_err(|error| error.to_string())?;
        client.set_timeout(self.timeout);
        Ok(client)
    }

    fn exchange_on(&self, client: &mut Client, id: &str) -> Result<Response, ReadError> {
        let mut request = format!(
            "{} {} HTTP/1.1\r\nHost: test.example\r\n{ID_FIELD}: {id}\r\n",
            self.method, self.target
        );
        if let Some(bytes) = self.body_bytes {
            request += &format!("Content-Length: {bytes}\r\n\r\n{:x<bytes$}", "");
        } else {
            request += "\r\n";
        }
        // A failed write is no verdict: the proxy may have answered and closed.
        let _ = client.try_send(request);
        client.try_read_response(self.method, BODY_KEPT_MAX)
    }
}

impl RunningLoad {
    /// How many requests are over.
    pub fn done(&self) -> usize {
        self.progress.done.load(Ordering::Relaxed)
    }

    /// Waits until the load has stopped by itself.
    pub fn finish(self) -> Outcomes {
        let mut all = Outcomes::default();
        for thread in self.threads {
            all.join(thread.join().expect("a load thread does not panic"));
        }
        all
    }
}

impl Outcomes {
    /// Requests answered with `status`.
    pub fn with_status(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// All requests.
    pub fn total(&self) -> usize {
        self.answered.len() + self.failed.len()
    }

    /// Panics unless each request got a whole response with status 200.
    #[track_caller]
    pub fn assert_all_ok(&self) {
        assert!(
            self.failed.is_empty() && self.with_status(200) == self.total(),
            "statuses {:?}, failed {:?}",
            self.statuses,
            self.failed
        );
    }

    fn add(&mut self, id: String, response: &Response, took: Duration) {
        *self.statuses.entry(response.status).or_default() += 1;
        if response.status == 200 {
            *self.bodies.entry(response.text()).or_default() += 1;
        }
        self.answered.push((id, response.status));
        self.slowest = self.slowest.max(took);
    }

    fn join(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (body, count) in other.bodies {
            *self.bodies.entry(body).or_default() += count;
        }
        self.answered.extend(other.answered);
        self.failed.extend(other.failed);
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// Bodies that name an endpoint are short.
const BODY_KEPT_MAX: usize = 1024;
