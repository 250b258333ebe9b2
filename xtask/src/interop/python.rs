//! Python programs, and what they need from PyPI, kept in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;

/// A virtual environment with the packages of `requirements.txt`. Returns its interpreter.
pub(crate) fn prepare() -> Result<PathBuf> {
    let folder = process::target_folder()?.join("interop/python3");
    let python = folder.join("bin/python");
    install_once(&folder, REQUIREMENTS, || {
        let base = process::find("python3").context("python3 is not installed")?;
        run(Command::new(base)
            .args(["-m", "venv", "--clear"])
            .arg(&folder))?;
        let requirements = script("requirements.txt");
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(requirements))
    })?;
    Ok(python)
}

/// Autobahn's test suite, which was never ported to Python 3. Returns a command that begins with
/// `wstest`; fails where there is no Python 2.7.
pub(crate) fn wstest() -> Result<Command> {
    let python = find_python2().context("Python 2.7 is not installed")?;
    let folder = process::target_folder()?.join("interop/python2");
    install_once(&folder, REQUIREMENTS_2, || {
        let requirements = script("requirements-2.txt");
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--user", "--requirement"])
            .arg(requirements)
            .env("PYTHONUSERBASE", &folder))
    })?;
    let mut command = Command::new(python);
    command
        .arg(folder.join("bin/wstest"))
        .env("PYTHONUSERBASE", &folder);
    Ok(command)
}

/// A file of the folder `python` beside this one.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/interop/python")
        .join(name)
}

/// Runs `install` unless the folder was made by these requirements.
fn install_once(
    folder: &Path,
    requirements: &str,
    install: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let done = folder.join("installed");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == requirements) {
        return Ok(());
    }
    // What an older list has left may stand in the way.
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    install()?;
    Ok(fs::write(done, requirements)?)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// `python2.7` in the search path, or where pyenv keeps it.
fn find_python2() -> Option<PathBuf> {
    let home = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))?;
    let kept = fs::read_dir(home.join("versions")).into_iter().flatten();
    let kept = kept
        .flatten()
        .map(|entry| entry.path().join("bin/python2.7"));
    process::find("python2.7")
        .into_iter()
        .chain(kept)
        // A shim of pyenv stands for a version that may not be chosen.
        .find(|python| {
            let check = Command::new(python)
                .args(["-m", "pip", "--version"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            check.is_ok_and(|status| status.success())
        })
}

const REQUIREMENTS: &str = include_str!("python/requirements.txt");
const REQUIREMENTS_2: &str = include_str!("python/requirements-2.txt");
