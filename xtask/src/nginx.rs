//! What every configuration of nginx here begins with.

use std::path::Path;

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
