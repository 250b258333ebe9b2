//! What the operating system knows of this process, as the `process_*` metrics that every
//! Prometheus client library prints (their names are a convention, hence no prefix of ours).

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use observe::Encoder;
use rustix::time::{ClockId, clock_gettime};

/// When this process, as far as it concerns us, began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    pub(crate) at: Instant,
    time: SystemTime,
}

impl Began {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            time: SystemTime::now(),
        }
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        encoder
            .counter("process_cpu_seconds_total", "User and system CPU time.")
            .sample(&[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
        let start = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        encoder
            .gauge(
                "process_start_time_seconds",
                "Start, in seconds since 1970.",
            )
            .sample(&[], start.as_secs_f64());
        if let Some(bytes) = resident_bytes() {
            encoder
                .gauge("process_resident_memory_bytes", "Memory held in RAM.")
                .sample(&[], bytes);
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            encoder
                .gauge("process_open_fds", "Open file descriptors.")
                .sample(&[], descriptors.count());
        }
    }
}

/// `VmRSS` of /proc/self/status, which is in KiB (proc_pid_status(5)).
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory() {
        assert!(resident_bytes().expect("Linux tells") > 100 * 1024);
    }
}
