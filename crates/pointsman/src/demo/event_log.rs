//! The last events of the process, kept to be shown in the demo.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use observe::Timestamp;

/// Kept; what is shown is less.
const LINES_MAX: usize = 100;

/// Event lines as text. Clones share one log.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventLog(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    last: VecDeque<String>,
    /// Lines since the start.
    count: usize,
}

impl EventLog {
    /// Adds a line that is dated now.
    pub(crate) fn note(&self, text: &str) {
        self.push(&format!("{} {text}", Timestamp(SystemTime::now())));
    }

    /// The lines from number `from` on, as far as they are kept, and the number of the next one.
    pub(crate) fn since(&self, from: usize) -> (Vec<String>, usize) {
        let lines = self.lines();
        let first_kept = lines.count - lines.last.len();
        let skip = from.saturating_sub(first_kept);
        (lines.last.iter().skip(skip).cloned().collect(), lines.count)
    }

    /// Keeps the time of day of the date, to the second.
    fn push(&self, line: &str) {
        let line = match line.split_once(' ') {
            Some((date, text)) => format!("{} {text}", date.get(11..19).unwrap_or(date)),
            None => line.to_owned(),
        };
        let mut lines = self.lines();
        if lines.last.len() == LINES_MAX {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
        lines.count += 1;
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for EventLog {
    /// Takes whole lines, which is how events are written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.push(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use observe::{Event, EventFormat, Events};

    #[test]
    fn events_are_kept_in_order_with_the_time_of_day() {
        let log = EventLog::default();
        let events = Events::new(EventFormat::Text, log.clone());
        for _ in 0..LINES_MAX {
            events.emit(&Event::Stopped);
        }
        log.note("you: one is killed");
        let (all, count) = log.since(0);
        assert_eq!((all.len(), count), (LINES_MAX, LINES_MAX + 1));
        let (last, _) = log.since(LINES_MAX);
        let (time, text) = last[0].split_once(' ').expect("time and text");
        assert_eq!(time.len(), "10:00:00".len());
        assert_eq!(text, "you: one is killed");
        assert!(all[0].ends_with(" stopped"));
    }
}
