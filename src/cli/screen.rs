//! The terminal, shared by log lines and the block of live progress at its foot. In: lines, bytes. Out: standard error.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, Write};

/// Standard error. Cheap to clone; all clones are the same screen.
#[derive(Clone, Debug)]
pub struct Screen {
    block: MultiProgress,
    live: bool,
}

impl Screen {
    /// Standard error; live where it is a terminal.
    pub fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        let target = if live {
            ProgressDrawTarget::stderr_with_hz(4)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            block: MultiProgress::with_draw_target(target),
            live,
        }
    }

    /// Whether a person may be looking: a line can be written over.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// One more line at the foot, written over with each [`ProgressBar::set_message`].
    pub fn line(&self) -> ProgressBar {
        let bar = self.block.add(ProgressBar::no_length());
        bar.with_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// Text that stays, above the foot.
    pub fn tell(&self, text: &str) {
        // Nobody is left to be told that nobody can be told.
        drop(self.clone().write_all(text.as_bytes()));
    }

    /// Runs `write`, which may write to the terminal, with the foot out of the way.
    pub fn around<R>(&self, write: impl FnOnce() -> R) -> R {
        self.block.suspend(write)
    }

    /// Takes the foot away.
    pub fn clear(&self) {
        // A terminal that cannot be cleared only looks untidy.
        drop(self.block.clear());
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.around(|| std::io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
