//! Processes: starting them on a CPU, what they cost, and ending them.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setpriority_process, setrlimit,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A program that we started, with whatever it forked. Ended when dropped.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts `command` on `cpu`, or anywhere if there is none.
    pub(crate) fn start(mut command: Command, cpu: Option<usize>) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        // A child inherits the affinity of the thread that starts it.
        let before = sched_getaffinity(None)?;
        if let Some(cpu) = cpu {
            stay_on(cpu)?;
        }
        let child = command.spawn();
        sched_setaffinity(None, &before)?;
        Ok(Self {
            child: child.with_context(|| format!("starting {name}"))?,
        })
    }

    /// The process itself, for its pipes and its exit status.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Itself and all its descendants.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let parents = parents();
        let mut found = vec![self.pid()];
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            found.extend(
                parents
                    .iter()
                    .filter(|(_, of)| *of == parent)
                    .map(|(pid, _)| *pid),
            );
            next += 1;
        }
        found
    }

    /// Sends a signal to the process itself.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid(), signal)
    }

    /// Asks all of it to end, and after a while insists.
    pub(crate) fn stop(&mut self) {
        let pids = self.pids();
        for (signal, patience) in [
            (Signal::TERM, Duration::from_secs(2)),
            (Signal::KILL, Duration::from_secs(5)),
        ] {
            for &pid in &pids {
                // One that is gone already is what we want.
                let _ = send(pid, signal);
            }
            let gone = || {
                let ended = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
                ended && pids.iter().all(|&pid| !is_running(pid))
            };
            if wait_until(patience, gone) {
                return;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Binds this thread, and what it starts, to one CPU.
pub(crate) fn stay_on(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// The CPUs that this process may use.
pub(crate) fn cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect())
}

/// Time that all threads of `pids` have run, to the nanosecond.
pub(crate) fn run_time(pids: &[u32]) -> Duration {
    let threads = pids
        .iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok())
        .flatten()
        .flatten();
    let nanoseconds = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// Memory of `pids` in bytes: what is shared is divided among those that share it (PSS).
pub(crate) fn memory_bytes(pids: &[u32]) -> u64 {
    let kib: u64 = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| field(&text, "Pss:")?.parse::<u64>().ok())
        .sum();
    kib * 1024
}

/// Time that `cpu` spent on anything at all, in the clock ticks of /proc/stat.
pub(crate) fn busy_time(cpu: usize) -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let label = format!("cpu{cpu} ");
    let Some(line) = stat.lines().find(|line| line.starts_with(&label)) else {
        return Duration::ZERO;
    };
    // user nice system idle iowait irq softirq
    let columns: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .map_while(|column| column.parse().ok())
        .collect();
    let ticks: u64 = [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|&column| columns.get(column))
        .sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// True while `tracer` follows `pid`, as a debugger does.
pub(crate) fn is_traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&status, "TracerPid:").is_some_and(|tracer| tracer != "0")
}

/// Lets this process and what it starts open as many files as the system allows and, where it
/// may, run before other programs.
pub(crate) fn raise_limits() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, limit)?;
    // Only root may; without it a measurement is merely noisier.
    let _ = setpriority_process(None, NICENESS);
    Ok(())
}

/// Builds the load balancer as its users get it. Returns the program.
pub(crate) fn build_pointsman() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "pointsman"])
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("pointsman does not build");
    }
    Ok(target_folder()?.join("release/pointsman"))
}

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> Result<PathBuf> {
    // This program lies in it, whichever it is.
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("no target folder")?;
    Ok(target.to_owned())
}

/// Sends `signal` to `pid`.
pub(crate) fn send(pid: u32, signal: Signal) -> Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        bail!("{pid} is no process id");
    };
    Ok(kill_process(pid, signal)?)
}

/// Asks `done` again and again until it says yes or `patience` is over. Returns what it said.
pub(crate) fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Where `program` is on PATH, or in the folders of the administrator's programs, which are not
/// on everybody's PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// (process, its parent) of every process.
fn parents() -> Vec<(u32, u32)> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    folders
        .filter_map(|folder| folder.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat_of(pid)?.1)))
        .collect()
}

fn is_running(pid: u32) -> bool {
    stat_of(pid).is_some_and(|(state, _)| state != 'Z')
}

/// State and parent of a process.
fn stat_of(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let mut columns = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((
        columns.next()?.chars().next()?,
        columns.next()?.parse().ok()?,
    ))
}

/// The first word behind `label` at the start of a line.
fn field<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_ascii_whitespace().next()
}

/// The program that runs now, to start it again in a role: under its path there may be another
/// one by then, if somebody builds meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// What keeps stray programs off the CPUs while something is measured.
const NICENESS: i32 = -15;
