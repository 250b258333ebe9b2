//! Certificates that are read again when their files change, and that are told of before they end.
//!
//! Files are looked at, not listened to: that works for files that are written over, for files that
//! are moved into place, and for the symbolic links of mounted secrets, which move as a folder.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use net::ShownCertificate;
use observe::{Encoder, Event, Events};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Certificates in use, and the files that they come from.
pub struct CertificateSource {
    /// `listener` or `pool`: whose they are.
    pub holder: &'static str,
    /// The name of that.
    pub name: String,
    /// Everything that is read. Empty: nothing changes.
    pub files: Vec<PathBuf>,
    /// Reads the files and uses what is in them from then on, or says which of them is no good, and
    /// then all stays as it is.
    pub read: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// What is shown to others now.
    pub shown: Box<dyn Fn() -> Vec<ShownCertificate> + Send + Sync>,
}

impl fmt::Debug for CertificateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSource")
            .field("holder", &self.holder)
            .field("name", &self.name)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// How often files are looked at, which costs a microsecond each.
const PERIOD: Duration = Duration::from_secs(3);

/// For how long files have to stay as they are before they are read: a certificate and its key are
/// two files, and not written at once.
const SETTLE: Duration = Duration::from_secs(1);

/// How often it is said that a certificate expires soon.
const REMIND: Duration = Duration::from_secs(24 * 3600);

/// Looks at the files of all sources for as long as it is polled.
pub(crate) async fn watch(sources: &[Arc<CertificateSource>], events: &Events) -> Infallible {
    let mut watched: Vec<Watched> = sources.iter().map(Watched::new).collect();
    loop {
        for watched in &mut watched {
            watched.remind(events);
        }
        sleep(PERIOD).await;
        for watched in &mut watched {
            watched.look(events).await;
        }
    }
}

/// One source, and what is known of its files.
struct Watched {
    source: Arc<CertificateSource>,
    /// The files when they were read last.
    read: Vec<Option<FileState>>,
    reminded: Option<Instant>,
}

impl Watched {
    fn new(source: &Arc<CertificateSource>) -> Self {
        Self {
            source: Arc::clone(source),
            read: states(source),
            reminded: None,
        }
    }

    /// Reads the files again if they have changed.
    async fn look(&mut self, events: &Events) {
        let mut now = self.states_now().await;
        if now == self.read {
            return;
        }
        loop {
            sleep(SETTLE).await;
            let later = self.states_now().await;
            if later == now {
                break;
            }
            now = later;
        }
        self.read = now;
        let source = Arc::clone(&self.source);
        let result = spawn_blocking(move || (source.read)()).await;
        let (holder, name) = (self.source.holder, self.source.name.clone());
        match result {
            Ok(Ok(())) => {
                self.reminded = None;
                events.emit(&Event::CertificatesReplaced { holder, name });
            }
            Ok(Err(reason)) => events.emit(&Event::CertificatesKept {
                holder,
                name,
                reason,
            }),
            // It panicked, and said so on standard error; or the process ends.
            Err(_) => {}
        }
    }

    /// Says once a day which certificates expire soon.
    fn remind(&mut self, events: &Events) {
        if self.reminded.is_some_and(|at| at.elapsed() < REMIND) {
            return;
        }
        for certificate in (self.source.shown)() {
            let Some(warning) = certificate.expiry_warning(SystemTime::now()) else {
                continue;
            };
            self.reminded = Some(Instant::now());
            events.emit(&Event::CertificateExpires {
                holder: self.source.holder,
                name: self.source.name.clone(),
                certificate: label(&certificate).to_owned(),
                not_after: certificate.not_after,
                warning,
            });
        }
    }

    async fn states_now(&self) -> Vec<Option<FileState>> {
        let source = Arc::clone(&self.source);
        // A file system may be slow, and probes must not be.
        let states = spawn_blocking(move || states(&source)).await;
        states.unwrap_or_else(|_| self.read.clone())
    }
}

/// What changes when a file does: the file behind a path, its length, and when it was last
/// written, renamed or given to somebody, in seconds and nanoseconds.
type FileState = (u64, u64, u64, i64, i64);

/// `None` for files that cannot be looked at.
fn states(source: &Arc<CertificateSource>) -> Vec<Option<FileState>> {
    let state = |file: &PathBuf| {
        let of = fs::metadata(file).ok()?;
        Some((of.dev(), of.ino(), of.size(), of.ctime(), of.ctime_nsec()))
    };
    source.files.iter().map(state).collect()
}

/// The gauge of when certificates end.
pub(crate) fn encode(sources: &[Arc<CertificateSource>], encoder: &mut Encoder) {
    let name = "pointsman_certificate_expiry_seconds";
    let help = "When the certificate ends, in seconds since 1970.";
    let mut family = encoder.gauge(name, help);
    for source in sources {
        // Those for one name, with different keys, share a sample: what ends first matters.
        let mut ends = BTreeMap::new();
        for certificate in (source.shown)() {
            let end = ends
                .entry(label(&certificate).to_owned())
                .or_insert(certificate.not_after);
            *end = certificate.not_after.min(*end);
        }
        for (certificate, end) in ends {
            let seconds = end
                .duration_since(UNIX_EPOCH)
                .map_or(0, |end| end.as_secs());
            let labels = [(source.holder, &*source.name), ("name", &certificate)];
            family.sample(&labels, seconds);
        }
    }
}

/// The name that a certificate is called by.
fn label(certificate: &ShownCertificate) -> &str {
    certificate.names.first().map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use observe::EventFormat;

    use super::*;

    /// A file whose first line is the name of the certificate in it, and the second the days that
    /// it is valid for. Anything else is no good.
    fn source(file: &Path) -> CertificateSource {
        let read = |file: &Path| {
            let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
            let (name, days) = text.split_once('\n').ok_or("torn")?;
            let days: u32 = days.parse().map_err(|_| "torn")?;
            Ok::<_, String>(ShownCertificate {
                names: vec![name.to_owned()],
                not_after: SystemTime::now() + days * Duration::from_secs(24 * 3600 + 1),
            })
        };
        let now = Arc::new(Mutex::new(read(file).unwrap()));
        let (path, shown) = (file.to_path_buf(), Arc::clone(&now));
        CertificateSource {
            holder: "listener",
            name: "https".into(),
            files: vec![path.clone()],
            read: Box::new(move || read(&path).map(|found| *now.lock().unwrap() = found)),
            shown: Box::new(move || vec![shown.lock().unwrap().clone()]),
        }
    }

    /// Passes on every line.
    struct Lines(Sender<String>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let line = String::from_utf8(bytes.to_vec()).unwrap();
            let _ = self.0.send(line);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is said within `time` on a clock that is wound forward.
    async fn said(lines: &Receiver<String>, time: Duration) -> Vec<String> {
        let until = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < until {
            sleep(Duration::from_millis(500)).await;
        }
        let text = |line: String| line.split_once("https: ").unwrap().1.trim().to_owned();
        lines.try_iter().map(text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_read_again_once_they_have_changed_and_settled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert");
        fs::write(&file, "a.example\n100").unwrap();
        let sources = [Arc::new(source(&file))];
        let (sender, lines) = channel();
        let events = Events::new(EventFormat::Text, Lines(sender));
        let shown = Arc::clone(&sources[0]);
        tokio::spawn(async move { watch(&sources, &events).await });
        let name = || (shown.shown)()[0].names[0].clone();

        assert!(said(&lines, 5 * PERIOD).await.is_empty());
        fs::write(&file, "b.example\n100").unwrap();
        assert_eq!(said(&lines, 2 * PERIOD).await, ["certificates replaced"]);
        assert_eq!(name(), "b.example");
        fs::write(&file, "c.exam").unwrap();
        assert_eq!(
            said(&lines, 5 * PERIOD).await,
            ["certificates cannot be read again, the old ones stay: torn"]
        );
        assert_eq!(name(), "b.example");
        // Moved into place, as Kubernetes and careful people do.
        let new = folder.path().join("new");
        fs::write(&new, "c.example\n100").unwrap();
        fs::rename(&new, &file).unwrap();
        assert_eq!(said(&lines, 2 * PERIOD).await, ["certificates replaced"]);
        assert_eq!(name(), "c.example");
        fs::remove_file(&file).unwrap();
        let lost = said(&lines, 2 * PERIOD).await;
        assert!(lost[0].starts_with("certificates cannot be read again"));
        assert_eq!(name(), "c.example");
    }

    #[tokio::test]
    async fn a_certificate_that_expires_soon_is_told_of_until_it_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert");
        fs::write(&file, "a.example\n3").unwrap();
        let mut watched = Watched::new(&Arc::new(source(&file)));
        let (sender, lines) = channel();
        let events = Events::new(EventFormat::Text, Lines(sender));
        watched.remind(&events);
        watched.remind(&events);
        let line = lines.try_iter().collect::<Vec<_>>().concat();
        assert!(
            line.ends_with("listener https: a.example: the certificate expires in 3 days\n"),
            "{line}"
        );
        assert_eq!(line.matches("expires").count(), 1);
        // A day later.
        watched.reminded = Instant::now().checked_sub(REMIND);
        watched.remind(&events);
        assert_eq!(lines.try_iter().count(), 1);
        watched.reminded = None;
        fs::write(&file, "a.example\n90").unwrap();
        (watched.source.read)().unwrap();
        watched.remind(&events);
        assert_eq!(lines.try_iter().count(), 0);
    }

    #[test]
    fn certificates_of_one_name_share_a_sample() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert");
        fs::write(&file, "a.example\n3").unwrap();
        let mut source = source(&file);
        let certificate = |seconds| ShownCertificate {
            names: vec!["a.example".into(), "b.example".into()],
            not_after: UNIX_EPOCH + Duration::from_secs(seconds),
        };
        source.shown = Box::new(move || vec![certificate(2_000), certificate(1_000)]);
        let mut encoder = Encoder::default();
        encode(&[Arc::new(source)], &mut encoder);
        let page = encoder.finish();
        let sample =
            "pointsman_certificate_expiry_seconds{listener=\"https\",name=\"a.example\"} 1000\n";
        assert!(page.ends_with(sample), "{page}");
    }
}
