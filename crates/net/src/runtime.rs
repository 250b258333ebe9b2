//! The runtime of one core.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;

use tokio::runtime::{Builder, LocalOptions};

/// Tasks that run before the kernel is asked for events again. Above the number of connections
/// that are usually ready at once, so that one `epoll_wait` serves them all.
const TASKS_PER_POLL: u32 = 256;

/// Runs `main` and the tasks that it spawns locally on this thread, until `main` ends. Tasks that
/// are left are dropped.
///
/// # Errors
/// The kernel refuses an epoll instance.
pub fn run_worker<F: Future>(main: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(TASKS_PER_POLL)
        .build_local(LocalOptions::default())?;
    Ok(runtime.block_on(main))
}

/// One worker per core that the process may use: its affinity mask and its cgroup quota, not
/// the machine.
pub fn available_workers() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Pins the calling thread to the core that is number `worker` of those the process may use.
/// Returns false where the kernel refuses or there is no such core; the thread then runs
/// anywhere, which is slower and not wrong.
pub fn pin_to_core(worker: usize) -> bool {
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else {
        return false;
    };
    let mut cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let Some(core) = cores.nth(worker) else {
        return false;
    };
    let mut own = rustix::thread::CpuSet::new();
    own.set(core);
    rustix::thread::sched_setaffinity(None, &own).is_ok()
}
