//! The way of access log lines from a worker to the sink: full buffers over a bounded channel to
//! a thread that writes.
//!
//! ```text
//! worker: line, line, line → LogBuffer ── full, or flushed ──▶ channel ──▶ writer thread → sink
//!                                ▲                                              │
//!                                └──────────── the empty buffer ◀───────────────┘
//! ```
//!
//! A worker never waits: when the channel is full its lines are dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::{Event, Events, Registry, WorkerMetrics};

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file, which is made if need be.
    File(PathBuf),
}

/// The access log of the process.
#[derive(Debug)]
pub struct AccessLog {
    /// `None`: the log is off.
    writer: Option<WriterHandle>,
}

#[derive(Debug)]
struct WriterHandle {
    batches: SyncSender<Batch>,
    should_stop: Arc<AtomicBool>,
    /// Closed when the writer has ended.
    ended: Receiver<()>,
}

/// Lines on their way to the writer, and where the emptied buffer goes.
#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    home: SyncSender<Vec<u8>>,
}

impl AccessLog {
    /// Opens the sink and starts the thread that writes to it.
    ///
    /// Later errors of the sink are counted in `registry` and told to `events` once.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread cannot be started.
    pub fn start(sink: &Sink, registry: &Arc<Registry>, events: Events) -> io::Result<Self> {
        let file = match sink {
            Sink::Off => return Ok(Self { writer: None }),
            // A descriptor of our own: nobody's lock, and no second buffer.
            Sink::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Sink::File(path) => OpenOptions::new().create(true).append(true).open(path)?,
        };
        Self::start_with(file, registry, events)
    }

    fn start_with(
        sink: impl Write + Send + 'static,
        registry: &Arc<Registry>,
        events: Events,
    ) -> io::Result<Self> {
        let (batches, received) = sync_channel(BATCHES_MAX);
        let (ended_sender, ended) = channel();
        let should_stop = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            sink,
            registry: Arc::clone(registry),
            events,
            is_failing: false,
            _ended: ended_sender,
        };
        let stop = Arc::clone(&should_stop);
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&received, &stop))?;
        Ok(Self {
            writer: Some(WriterHandle {
                batches,
                should_stop,
                ended,
            }),
        })
    }

    /// A buffer for one worker, which counts lost lines in that worker's metrics.
    pub fn worker(&self, metrics: Arc<WorkerMetrics>) -> LogBuffer {
        let (home, returned) = sync_channel(BATCHES_MAX);
        LogBuffer {
            batches: self.writer.as_ref().map(|writer| writer.batches.clone()),
            bytes: Vec::new(),
            lines: 0,
            home,
            returned,
            metrics,
        }
    }

    /// Writes what was flushed until now, then ends the writer. Returns whether it was done in
    /// time; a sink that stands still keeps its thread.
    pub fn shutdown(self, deadline: Duration) -> bool {
        let Some(writer) = self.writer else {
            return true;
        };
        writer.should_stop.store(true, Ordering::Release);
        // Wakes a writer that waits. One that finds the channel full has no need of it.
        let (home, _) = sync_channel(1);
        let _ = writer.batches.try_send(Batch {
            bytes: Vec::new(),
            lines: 0,
            home,
        });
        writer.ended.recv_timeout(deadline) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Lines of one worker that are not yet with the writer. Flushes when dropped.
#[derive(Debug)]
pub struct LogBuffer {
    /// `None`: the log is off.
    batches: Option<SyncSender<Batch>>,
    bytes: Vec<u8>,
    lines: u64,
    home: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    metrics: Arc<WorkerMetrics>,
}

impl LogBuffer {
    /// How long a line may stay in the buffer.
    pub const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

    /// Nobody reads lines: do not bother to format them.
    pub fn is_off(&self) -> bool {
        self.batches.is_none()
    }

    /// Appends one line, which `write` writes without its line end.
    pub fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.is_off() {
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = self.returned.try_recv().unwrap_or_default();
            self.bytes.reserve(FLUSH_BYTES + LINE_BYTES_TYPICAL);
        }
        write(&mut self.bytes);
        self.bytes.push(b'\n');
        self.lines += 1;
        if self.bytes.len() >= FLUSH_BYTES {
            self.flush();
        }
    }

    /// Hands the lines to the writer. Call it every [`LogBuffer::FLUSH_INTERVAL`].
    ///
    /// When the writer is behind, lines stay for the next flush while the buffer has room, and
    /// are dropped and counted when it has not.
    pub fn flush(&mut self) {
        let Some(batches) = &self.batches else {
            return;
        };
        if self.lines == 0 {
            return;
        }
        let batch = Batch {
            bytes: std::mem::take(&mut self.bytes),
            lines: std::mem::take(&mut self.lines),
            home: self.home.clone(),
        };
        let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            batches.try_send(batch)
        else {
            return;
        };
        self.bytes = batch.bytes;
        self.lines = batch.lines;
        if self.bytes.len() >= FLUSH_BYTES {
            self.drop_lines();
        }
    }

    fn drop_lines(&mut self) {
        self.metrics.log_lines_dropped.add(self.lines);
        self.lines = 0;
        self.bytes.clear();
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.flush();
        self.drop_lines();
    }
}

/// The thread that writes.
struct Writer<S> {
    sink: S,
    registry: Arc<Registry>,
    events: Events,
    is_failing: bool,
    /// Dropped with the writer, which tells [`AccessLog::shutdown`].
    _ended: Sender<()>,
}

impl<S: Write> Writer<S> {
    /// Writes batches until all senders are gone, or until told to stop and nothing is left.
    fn run(mut self, batches: &Receiver<Batch>, should_stop: &AtomicBool) {
        while let Ok(batch) = batches.recv() {
            self.write(batch);
            if should_stop.load(Ordering::Acquire) {
                batches.try_iter().for_each(|batch| self.write(batch));
                return;
            }
        }
    }

    fn write(&mut self, mut batch: Batch) {
        match self.sink.write_all(&batch.bytes) {
            Ok(()) => self.is_failing = batch.bytes.is_empty() && self.is_failing,
            Err(error) => self.fail(&error, batch.lines),
        }
        batch.bytes.clear();
        // Rather than keep the memory of one huge line for good, let it go.
        if batch.bytes.capacity() <= 2 * FLUSH_BYTES {
            let _ = batch.home.try_send(batch.bytes);
        }
    }

    fn fail(&mut self, error: &io::Error, lines: u64) {
        self.registry.log_writer.write_errors.increment();
        self.registry.log_writer.lines_dropped.add(lines);
        if !self.is_failing {
            self.is_failing = true;
            self.events.emit(&Event::AccessLogFailed {
                reason: error.to_string(),
            });
        }
    }
}

/// A buffer that holds this much is handed over.
const FLUSH_BYTES: usize = 32 * 1024;

/// Room past [`FLUSH_BYTES`], so that the line that fills a buffer seldom makes it grow.
const LINE_BYTES_TYPICAL: usize = 4 * 1024;

/// Buffers between all workers and the writer: 4 MiB, or 100 ms of a stalled sink at 100,000
/// requests a second and 400 bytes a line.
const BATCHES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventFormat, Shape};
    use std::sync::Mutex;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn silent() -> Events {
        Events::new(EventFormat::Text, io::sink())
    }

    /// A sink that stands still until its lock is released.
    #[derive(Clone, Default)]
    struct Gate(Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_in_order_and_are_all_there_after_shutdown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let registry = Registry::new(Shape::default());
        let log = AccessLog::start(&Sink::File(path.clone()), &registry, silent()).unwrap();
        let mut buffer = log.worker(registry.worker());
        assert!(!buffer.is_off());
        // Fewer than fill the channel, so that none may be dropped.
        for number in 0..10_000 {
            buffer.line(|line| line.extend_from_slice(format!("{number}").as_bytes()));
        }
        drop(buffer);
        assert!(log.shutdown(DEADLINE));
        let expected: String = (0..10_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(std::fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn a_log_that_is_off_takes_nothing() {
        let registry = Registry::new(Shape::default());
        let log = AccessLog::start(&Sink::Off, &registry, silent()).unwrap();
        let mut buffer = log.worker(registry.worker());
        assert!(buffer.is_off());
        buffer.line(|_| panic!("formatted for nobody"));
        assert!(log.shutdown(Duration::ZERO));
    }

    #[test]
    fn a_sink_that_stands_still_costs_lines_but_never_time() {
        let registry = Registry::new(Shape::default());
        let gate = Gate::default();
        let log = AccessLog::start_with(gate.clone(), &registry, silent()).unwrap();
        let metrics = registry.worker();
        let mut buffer = log.worker(Arc::clone(&metrics));
        let closed = gate.0.lock().unwrap();
        let line = [b'x'; FLUSH_BYTES - 1];
        let lines = 2 * BATCHES_MAX as u64;
        for _ in 0..lines {
            buffer.line(|out| out.extend_from_slice(&line));
        }
        let dropped = metrics.log_lines_dropped.value();
        // The writer may hold one batch beside those in the channel.
        assert!(
            dropped >= lines - BATCHES_MAX as u64 - 1,
            "{dropped} dropped"
        );
        drop(closed);
        drop(buffer);
        assert!(log.shutdown(DEADLINE));
        let written = gate.0.lock().unwrap().len() as u64 / FLUSH_BYTES as u64;
        assert_eq!(written + metrics.log_lines_dropped.value(), lines);
    }

    #[test]
    fn shutdown_gives_up_on_a_sink_that_stands_still() {
        let registry = Registry::new(Shape::default());
        let gate = Gate::default();
        let log = AccessLog::start_with(gate.clone(), &registry, silent()).unwrap();
        let mut buffer = log.worker(registry.worker());
        let _closed = gate.0.lock().unwrap();
        buffer.line(|line| line.push(b'x'));
        drop(buffer);
        assert!(!log.shutdown(Duration::from_millis(1)));
    }

    #[test]
    fn a_full_disk_is_counted_and_told_once() {
        let registry = Registry::new(Shape::default());
        let told = Gate::default();
        let events = Events::new(EventFormat::Text, told.clone());
        let full = Sink::File("/dev/full".into());
        let log = AccessLog::start(&full, &registry, events).unwrap();
        let mut buffer = log.worker(registry.worker());
        for _ in 0..3 {
            buffer.line(|line| line.push(b'x'));
            buffer.flush();
        }
        drop(buffer);
        assert!(log.shutdown(DEADLINE));
        let page = registry.render(|_| ());
        assert!(
            page.contains("pointsman_access_log_write_errors_total 3\n"),
            "{page}"
        );
        assert!(
            page.contains("pointsman_access_log_lines_dropped_total 3\n"),
            "{page}"
        );
        let told = String::from_utf8(told.0.lock().unwrap().clone()).unwrap();
        assert_eq!(told.matches("access log failed").count(), 1, "{told}");
    }
}
