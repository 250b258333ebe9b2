//! A terminal to draw in: its other screen, keys as they are pressed, and everything as it was
//! afterwards, whatever happens.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::panic;
use std::process;
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context, Result};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::Input;

/// The terminal while it is ours. Dropped, it is the user's again.
#[derive(Debug)]
pub(crate) struct Terminal {
    before: Termios,
}

/// The other screen, no cursor, no wrapping of lines that are too long.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Between these the terminal shows nothing new, if it knows them: no flicker.
const BEGIN_DRAWING: &str = "\x1b[?2026h";
const END_DRAWING: &str = "\x1b[?2026l";

/// Ends a process that panicked, as Rust does.
const EXIT_PANICKED: i32 = 101;

impl Terminal {
    /// Takes the terminal of standard input and output. Keys are sent to `inputs`.
    ///
    /// Ctrl-C still is a signal. A panic of any thread ends the process from here on, with the
    /// terminal restored first, so that its message can be read.
    pub(crate) fn enter(inputs: Sender<Input>) -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("the terminal cannot be read")?;
        let mut keys = before.clone();
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        // Stopped by Ctrl-Z, it would leave the shell in this state.
        keys.special_codes[SpecialCodeIndex::VSUSP] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)
            .context("the terminal cannot be set")?;
        let terminal = Self {
            before: before.clone(),
        };
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore(&before);
            report(panic);
            process::exit(EXIT_PANICKED);
        }));
        write(ENTER)?;
        // Not joined: it ends with the process, which is the only way to end a read of a terminal.
        thread::Builder::new().name("keys".into()).spawn(move || {
            for key in io::stdin().lock().bytes().map_while(Result::ok) {
                if inputs.send(Input::Key(key)).is_err() {
                    return;
                }
            }
            let _ = inputs.send(Input::Quit);
        })?;
        Ok(terminal)
    }

    /// Draws over what is there. Lines beyond the last row are left out.
    pub(crate) fn draw(&mut self, lines: &[String]) -> Result<()> {
        let rows = tcgetwinsize(io::stdout()).map_or(usize::MAX, |size| size.ws_row.into());
        let mut frame = String::from(BEGIN_DRAWING);
        for (row, line) in lines.iter().take(rows).enumerate() {
            // Each line at its place, and nothing behind it.
            let _ = write!(frame, "\x1b[{};1H{line}\x1b[K", row + 1);
        }
        frame += "\x1b[J";
        frame += END_DRAWING;
        write(&frame)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore(&self.before);
        // Panics from now on are told as usual.
        let _ = panic::take_hook();
    }
}

fn restore(before: &Termios) {
    let _ = write(LEAVE);
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
