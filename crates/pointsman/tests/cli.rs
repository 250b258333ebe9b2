//! The program as a shell sees it: exit codes, what goes where, signals.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Client, Endpoint, Reply, poll_until};

/// Long enough for anything that should happen, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn pointsman(words: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command that ends by itself.
fn output(words: &[&str], folder: &Path) -> Output {
    pointsman(words, folder).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it is UTF-8")
}

fn folder_with(config: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("pointsman.toml"), config).expect("it can be written");
    folder
}

/// A config on free ports, with keys of the pool.
fn config(pool: &str) -> String {
    format!(
        "admin.bind = \"127.0.0.1:0\"\n\
         access_log.sink = \"off\"\n\
         listeners.web.bind = \"127.0.0.1:0\"\n\
         [pools.app]\n{pool}\n"
    )
}

/// A program that runs until it is told to stop, and the lines it says.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts it and reads one of its streams.
    fn start<R: Read + Send + 'static>(
        mut command: Command,
        stream: impl FnOnce(&mut Child) -> Option<R>,
    ) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let stream = stream(&mut child).expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            // Read to the end: a full pipe would stop the program.
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line with `part` in it.
    #[track_caller]
    fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON);
            let line = line.unwrap_or_else(|_| panic!("no line has `{part}`"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id();
        let kill = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {pid}"))
            .status();
        assert!(kill.is_ok_and(|status| status.success()));
    }

    /// The exit code, when it has ended.
    #[track_caller]
    fn wait(&mut self) -> Option<i32> {
        let mut code = None;
        poll_until("the program ends", SOON, || {
            let ended = self.child.try_wait().expect("it can be waited for");
            code = ended.and_then(|status| status.code());
            ended.is_some()
        });
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_bad_config_ends_run_and_check_with_2_and_every_mistake_on_standard_error() {
    let folder = folder_with("[listeners.web]\nbimd = 1\n[pools.app]\nendpoint = []\n");
    for command in ["run", "check"] {
        let output = output(&[command], folder.path());
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert_eq!(text(&output.stdout), "");
        let problems = text(&output.stderr);
        for part in [
            "pointsman.toml:2:1",
            "`bind`",
            "pointsman.toml:4:1",
            "`endpoints`",
        ] {
            assert!(problems.contains(part), "{command}: {part} in\n{problems}");
        }
    }
}

#[test]
fn without_a_config_run_shows_both_ways() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let output = output(&["run"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    let help = text(&output.stderr);
    assert!(
        help.contains("run --config") && help.contains("run --listen"),
        "{help}"
    );
}

#[test]
fn a_port_that_is_taken_ends_run_with_1_and_check_with_2() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let folder = folder_with(&format!(
        "admin.bind = \"off\"\n\
         listeners.web.bind = \"{address}\"\n\
         pools.app.endpoints = [\"3001\"]\n"
    ));
    for (command, code) in [("run", 1), ("check", 2)] {
        let output = output(&[command], folder.path());
        assert_eq!(output.status.code(), Some(code), "{command}");
        let error = text(&output.stderr);
        assert!(
            error.contains(&address) && error.contains("taken"),
            "{error}"
        );
    }
}

#[test]
fn what_the_machine_does_not_have_ends_run_with_1_and_check_with_2() {
    for (listener, pool, part) in [
        (
            "interface = \"no-such-if0\"",
            "",
            "listener `web` cannot bind 127.0.0.1:0: `no-such-if0`: this machine has no such \
             network interface",
        ),
        (
            "",
            "interface = \"no-such-if0\"",
            "pool `app` cannot connect from its interface: `no-such-if0`: this machine has no such \
             network interface",
        ),
        (
            "",
            "source = \"192.0.2.1\"",
            "pool `app` cannot connect from 192.0.2.1: this machine has no such address",
        ),
    ] {
        let folder = folder_with(&format!(
            "admin.bind = \"off\"\n\
             [listeners.web]\nbind = \"127.0.0.1:0\"\nsocket = {{ {listener} }}\n\
             [pools.app]\nendpoints = [\"3001\"]\nsocket = {{ {pool} }}\n"
        ));
        for (command, code) in [("run", 1), ("check", 2)] {
            let output = output(&[command], folder.path());
            assert_eq!(output.status.code(), Some(code), "{command} {part}");
            let error = text(&output.stderr);
            assert!(error.contains(part), "{command}: {error}");
        }
    }
}

#[test]
fn check_shows_warnings_and_what_would_be_served() {
    let more = "endpoints = [\"3001\"]\n\
                [pools.spare]\nendpoints = [\"3002\"]\n\
                [[routes]]\npool = \"app\"";
    let folder = folder_with(&config(more));
    let output = output(&["check"], folder.path());
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("warning: no route leads to pool `spare`"));
    let summary = text(&output.stdout);
    assert!(
        summary.contains("endpoint 3001 at 127.0.0.1:3001"),
        "{summary}"
    );
}

#[test]
fn status_is_a_table_of_the_running_program() {
    let endpoint = Endpoint::start(|_| Reply::ok("hello"));
    let peer = endpoint.peer();
    let folder = folder_with(&config(&format!("endpoints = [\"{peer}\"]")));
    let running = Running::start(pointsman(&["run"], folder.path()), |child| {
        child.stderr.take()
    });
    let admin = running.line_with("admin API on http://");
    let (_, admin) = admin.split_once("http://").expect("it has an address");
    let admin = admin.trim_end_matches('/');
    let expected = ["app", &peer.to_string(), "up"];
    poll_until("the endpoint is shown as up", SOON, || {
        let table = output(&["status", "--admin", admin], folder.path());
        let rows = text(&table.stdout).lines();
        rows.map(|row| row.split_whitespace().take(3))
            .any(|cells| cells.eq(expected))
    });

    let json = output(&["status", "--json", "--admin", admin], folder.path());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
    assert_eq!(json["pools"][0]["endpoints"][0]["state"], "up");
}

#[test]
fn sighup_is_told_of_and_does_not_end_it() {
    let folder = folder_with(&config("endpoints = [\"3001\"]\ncheck = \"off\""));
    let command = pointsman(&["run", "--events", "json"], folder.path());
    let mut running = Running::start(command, |child| child.stderr.take());
    running.line_with("\"started\"");
    running.signal("HUP");
    running.line_with("\"reload_ignored\"");
    running.signal("TERM");
    running.line_with("\"stopped\"");
    assert_eq!(running.wait(), Some(0));
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let pool = format!("endpoints = [\"{}\"]\ncheck = \"off\"", endpoint.peer());
    let folder = folder_with(&config(&pool));
    let mut running = Running::start(pointsman(&["run"], folder.path()), |child| {
        child.stderr.take()
    });
    let listening = running.line_with(" accepts on ");
    let (_, address) = listening.rsplit_once(' ').expect("it has an address");
    let address: std::net::SocketAddr = address.parse().expect("it is one");
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("the request is in flight", SOON, || {
        endpoint.in_flight() == 1
    });
    running.signal("INT");
    running.line_with("draining");
    running.signal("INT");
    assert_eq!(running.wait(), Some(130));
}

#[test]
fn the_schema_is_json_and_completions_name_the_commands() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let schema = output(&["schema"], folder.path());
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("it is JSON");
    assert!(schema["properties"]["pools"].is_object());
    let script = output(&["completions", "bash"], folder.path());
    assert!(text(&script.stdout).contains("completions"));
}

#[test]
fn the_demo_loses_no_request_when_an_endpoint_is_killed_by_curl() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let words = ["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut demo = Running::start(pointsman(&words, folder.path()), |child| {
        child.stdout.take()
    });
    let kill = demo.line_with("curl -X POST http://");
    let (_, url) = kill.split_once("http://").expect("it has a URL");
    let (admin, _) = url.split_once('/').expect("it has a path");
    let admin: std::net::SocketAddr = admin.parse().expect("it is an address");
    demo.line_with("two unknown → up");

    let post = |verb: &str| {
        let mut client = Client::connect(admin);
        client.send(format!(
            "POST /demo/endpoints/2/{verb} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n"
        ));
        client.read_response()
    };
    assert_eq!(post("kill").text(), "two is killed\n");
    demo.line_with("two up → down");
    assert_eq!(post("dance").status, 404);
    assert_eq!(post("revive").text(), "two is running\n");
    demo.line_with("two down → recovering");
    demo.signal("TERM");
    assert_eq!(demo.wait(), Some(0));
    let summary = demo.lines.iter().last().expect("it says how it went");
    assert!(summary.ends_with(" requests, 0 failed"), "{summary}");
}
