//! The program as a process: what only shows in its memory, its threads and its signals.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Client, End, Endpoint, Gate, Load, Reply, Step, filler, get, poll_until};

use crate::harness::{SOON, Setup, named};

/// `pointsman run` in a process of its own, ended with the test.
struct Program {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Program {
    /// Starts it with the config of `setup`, by a shell that runs `before` first.
    fn start(setup: Setup, before: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let config = directory.path().join("pointsman.toml");
        std::fs::write(&config, setup.text(directory.path())).expect("it can be written");
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{before} exec \"$0\" run --config \"$1\""))
            .arg(env!("CARGO_BIN_EXE_pointsman"))
            .arg(&config);
        Self::spawn(&mut command, directory)
    }

    /// Runs `command` until it says where it listens.
    fn spawn(command: &mut Command, directory: TempDir) -> Self {
        let spawned = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.expect("the program starts");
        let events = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end: a full pipe would stop the program.
            for line in events.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.rsplit_once(" accepts on ") {
                    // Nobody listens any more when the program accepts on more than one.
                    let _ = sender.send(address.parse());
                }
            }
        });
        let address = receiver
            .recv_timeout(SOON)
            .expect("it says where it listens");
        Self {
            child,
            address: address.expect("it listens on an address"),
            directory,
        }
    }

    /// Sends a signal, by name.
    fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.child.id()))
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Stops every thread. The kernel tells them one by one, at its leisure: waits for the last.
    fn stop(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        poll_until("every thread stands still", SOON, || {
            let mut threads = std::fs::read_dir(&tasks).expect("the program is there");
            threads.all(|thread| {
                let path = thread.expect("a thread").path().join("stat");
                // `pid (name) state …`, and the name may hold anything.
                std::fs::read_to_string(path).is_ok_and(|stat| {
                    stat.rsplit_once(") ")
                        .is_some_and(|(_, state)| state.starts_with('T'))
                })
            })
        });
    }

    /// Waits until the access log has that many lines.
    #[track_caller]
    fn wait_for_log(&self, lines: usize) {
        let path = self.directory.path().join("access.log");
        poll_until(&format!("{lines} lines of access log"), SOON, || {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            log.lines().count() == lines
        });
    }

    /// Resident memory in KiB.
    fn resident_kib(&self) -> u64 {
        let status = proc_file(self.child.id(), "status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|number| number.parse().ok())
            .expect("VmRSS is there")
    }

    /// CPU time of each thread whose name begins with `prefix`, in clock ticks.
    fn thread_ticks(&self, prefix: &str) -> Vec<u64> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let threads = std::fs::read_dir(tasks).expect("it has threads");
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok())
            .filter_map(|stat| {
                let (start, rest) = stat.rsplit_once(')')?;
                start.split_once('(')?.1.starts_with(prefix).then_some(())?;
                // utime and stime are the 14th and 15th fields; the 3rd is first in `rest`.
                let fields: Vec<&str> = rest.split_whitespace().collect();
                Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
            })
            .collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Row 20 and the promise that size does not matter: bodies stream through bounded buffers.
#[test]
fn large_bodies_cost_no_memory() {
    const BYTES: u64 = 256 << 20;
    const GROWTH_MAX_KIB: u64 = 16 << 10;
    let endpoint = Endpoint::start(|request| match request.method() {
        "GET" => Reply::filler(BYTES),
        _ => Reply::ok("taken"),
    });
    let program = Program::start(Setup::to(&[&endpoint]), "");
    get(program.address, "/warm-up");
    let before = program.resident_kib();

    let mut client = Client::connect(program.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let down = client.try_read_response("GET", 0).expect("it is answered");
    assert_eq!((down.body.bytes, down.body.end), (BYTES, End::Clean));
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n"
    ));
    client.send_filler(BYTES);
    assert_eq!(client.read_response().text(), "taken");
    let up = endpoint.requests().pop().expect("it arrived");
    assert_eq!(up.body().hash, down.body.hash);

    let growth = program.resident_kib().saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "{growth} KiB");
}

/// Row 20: neither side's reluctance is made up for by memory.
#[test]
fn reluctant_readers_cost_no_memory() {
    const CLIENTS: usize = 12;
    const GROWTH_MAX_KIB: u64 = 16 << 10;
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |request| match request.method() {
            "GET" => Reply::filler(1 << 30),
            _ => Reply::ok("")
                .unread()
                .first(Step::Wait(gate.clone()))
                .then(Step::Close),
        }
    });
    let program = Program::start(Setup::to(&[&endpoint]), "");
    get(program.address, "/warm-up");
    let before = program.resident_kib();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| Client::connect(program.address))
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        if number % 2 == 0 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        } else {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n");
            client.set_timeout(Duration::from_millis(100));
            // Until the way is full.
            while client.try_send([b'x'; 65_536]).is_ok() {}
        }
    }
    poll_until("all are at the endpoint", SOON, || {
        endpoint.request_count() > CLIENTS
    });
    let growth = program.resident_kib().saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "{growth} KiB");
    gate.open();
}

/// Row 29: whoever waits for an endpoint holds no buffer.
#[test]
fn requests_that_wait_for_an_endpoint_cost_little_memory() {
    const CLIENTS: usize = 600;
    // 27 KiB a request, of which an unoptimized build takes 17 to 20; held buffers would be 32
    // more. Pages of 2 MiB make the measure coarse, so there are many requests, and one worker.
    const GROWTH_MAX_KIB: u64 = 16 << 10;
    let endpoint = Endpoint::start(|request| match request.target() {
        "/warm-up" => Reply::ok(""),
        _ => Reply::hang(),
    });
    let program = Program::start(Setup::to(&[&endpoint]).workers(1), "");
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| Client::connect(program.address))
        .collect();
    get(program.address, "/warm-up");
    let before = program.resident_kib();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    poll_until("all are at the endpoint", SOON, || {
        endpoint.request_count() > CLIENTS
    });
    let growth = program.resident_kib().saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "{growth} KiB");
}

/// Row 27.
#[test]
fn out_of_file_descriptors_it_neither_spins_nor_gives_up() {
    let endpoint = named("a");
    let program = Program::start(Setup::to(&[&endpoint]).workers(1), "ulimit -n 64;");
    let peer = program.address.into();
    let clients: Vec<_> = (0..100).map(|_| Client::try_connect(&peer)).collect();
    let ticks = || program.thread_ticks("").iter().sum::<u64>();
    let before = ticks();
    // The time over which CPU is measured is the measurement, not a wait.
    std::thread::sleep(Duration::from_millis(500));
    let spent = ticks() - before;
    assert!(spent < 15, "{spent} clock ticks in half a second");
    drop(clients);
    poll_until("it serves again", SOON, || {
        let Ok(mut client) = Client::try_connect(&peer) else {
            return false;
        };
        let _ = client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        matches!(client.try_read_response("GET", 9), Ok(response) if response.status == 200)
    });
}

#[test]
fn few_connections_are_spread_over_the_workers() {
    let endpoint = named("a");
    let program = Program::start(Setup::to(&[&endpoint]).workers(2), "");
    let mut load = Load::get(program.address, 6000);
    load.threads = 4;
    load.run().assert_all_ok();
    let mut ticks = program.thread_ticks("worker");
    ticks.sort_unstable();
    assert_eq!(ticks.len(), 2, "threads named worker");
    assert!(
        ticks[0] * 4 >= ticks[1],
        "CPU time of the workers: {ticks:?}"
    );
}

#[test]
fn sigterm_ends_it_gracefully() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |_| Reply::ok("finished").wait(&gate)
    });
    let mut program = Program::start(Setup::to(&[&endpoint]), "");
    let mut client = Client::connect(program.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("the request is in flight", SOON, || {
        endpoint.in_flight() == 1
    });
    program.signal("TERM");
    let peer = program.address.into();
    poll_until("nothing new is taken", SOON, || {
        Client::try_connect(&peer).is_err()
    });
    gate.open();
    assert_eq!(client.read_response().text(), "finished");
    let status = program.child.wait().expect("it ends");
    assert!(status.success(), "{status}");
}

/// RFC 9112 §9.6: a close with bytes unread takes back what the client has not received yet. The
/// program is stopped meanwhile, so that it finds the response and those bytes at once.
#[test]
fn a_last_response_arrives_whole_although_the_client_sends_on() {
    const BODY_BYTES: usize = 50_000;
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        // The step behind the response keeps it in flight until it is sent.
        move |_| {
            let reply = Reply::ok(filler(BODY_BYTES)).wait(&gate);
            reply.then(Step::Wait(gate.clone()))
        }
    });
    let program = Program::start(Setup::to(&[&endpoint]), "");
    let mut client = Client::connect_narrow(program.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    poll_until("the request is in flight", SOON, || {
        endpoint.in_flight() == 1
    });
    program.stop();
    gate.open();
    poll_until("the response is sent", SOON, || endpoint.in_flight() == 0);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    program.signal("CONT");
    program.wait_for_log(1);
    let body = client.read_response().body;
    assert_eq!((body.bytes, body.end), (BODY_BYTES as u64, End::Clean));
}

#[test]
fn a_bad_config_is_exit_code_2_and_every_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("bad.toml");
    std::fs::write(
        &config,
        "[listeners.web]\nbimd = \"x\"\n[pools.app]\nendpoint = []\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["run", "--config"])
        .arg(&config)
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("bimd") && text.contains("endpoint"), "{text}");
}

#[test]
fn it_runs_without_a_file() {
    let endpoint = named("a");
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command
        .args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--to",
            &endpoint.peer().to_string(),
            "--admin",
            "127.0.0.1:0",
        ])
        .current_dir(directory.path());
    let mut program = Program::spawn(&mut command, directory);
    assert_eq!(get(program.address, "/hello").text(), "a");
    // The access log is on by default, on standard output.
    let mut line = String::new();
    let stdout = program.child.stdout.take().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("it logs");
    assert!(line.contains("\"/hello\""), "{line}");
}

/// The kernel has accepted them, and they know nothing of the drain. The program is stopped
/// meanwhile, so that it finds the signal and the connections at once.
#[test]
fn a_drain_answers_connections_that_it_has_not_accepted_yet() {
    let endpoint = named("a");
    let setup = Setup::to(&[&endpoint]).route("host = \"routed.example\"");
    let mut program = Program::start(setup.workers(1), "");
    program.stop();
    let mut clients: Vec<Client> = (0..250).map(|_| Client::connect(program.address)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    program.signal("TERM");
    program.signal("CONT");
    let answers = clients.iter_mut().map(|client| {
        let response = client.try_read_response("GET", 1000);
        response.map(|response| response.status)
    });
    let others: Vec<_> = answers.filter(|answer| *answer != Ok(404)).collect();
    assert!(others.is_empty(), "{} of 250: {others:?}", others.len());
    let status = program.child.wait().expect("it ends");
    assert!(status.success(), "{status}");
}

fn proc_file(pid: u32, name: &str) -> String {
    let path = format!("/proc/{pid}/{name}");
    std::fs::read_to_string(Path::new(&path)).expect("the process lives")
}
