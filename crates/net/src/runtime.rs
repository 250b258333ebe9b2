//! The runtime of one core.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;

use rustix::process::{Resource, getrlimit};
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

/// True if a socket could not be made for want of something that other sockets give back: file
/// descriptors, ports, memory.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory
    ) || matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS)
    )
}

/// File descriptors that the process may have.
pub fn open_files_max() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// One worker per core that the process may use: its affinity mask and its cgroup quota, not
/// the machine.
pub fn available_workers() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
