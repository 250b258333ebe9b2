//! What every configuration of nginx here begins with.

use std::path::Path;
use std::process::Command;

/// The lines outside and inside of `http` that keep it in the foreground with one worker, and
/// all files that it makes in `folder`.
pub(crate) fn settings(folder: &Path) -> (String, String) {
    let folder = folder.display();
    let outside = format!(
        "daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr error;\n\
         events {{ worker_connections 20000; }}\n"
    );
    let inside = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {folder}/{name};\n"))
        .concat();
    (outside, inside)
}

/// The line outside of everything with which `program` can have `stream`; empty if it can
/// without. `None`: it cannot.
pub(crate) fn load_stream(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("-V").output().ok()?;
    let built = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut words = built.split_ascii_whitespace();
    if words.clone().any(|word| word == "--with-stream") {
        return Some(String::new());
    }
    let folder = words.find_map(|word| word.strip_prefix("--modules-path="))?;
    let module = Path::new(folder).join("ngx_stream_module.so");
    module
        .is_file()
        .then(|| format!("load_module {};\n", module.display()))
}
