//! The terminal, shared by log lines and the block of live progress at its foot. Input: lines and bytes. Output: standard
//! error.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, Write};

/// Standard error. All clones are the same screen.
#[derive(Clone, Debug)]
pub struct Screen {
    block: MultiProgress,
    live: bool,
}

impl Screen {
    /// Opens standard error. It is live if it is a terminal.
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

    /// True if it is a terminal, where lines can be replaced.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Adds a line at the foot that [`ProgressBar::set_message`] replaces.
    pub fn line(&self) -> ProgressBar {
        let bar = self.block.add(ProgressBar::no_length());
        bar.with_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// Writes text above the foot.
    pub fn tell(&self, text: &str) {
        // If standard error is closed, nothing can be reported.
        drop(self.clone().write_all(text.as_bytes()));
    }

    /// Runs `write`, which may write to the terminal, with the foot removed meanwhile.
    pub fn around<R>(&self, write: impl FnOnce() -> R) -> R {
        self.block.suspend(write)
    }

    /// Removes the foot.
    pub fn clear(&self) {
        // An error here only leaves an untidy terminal.
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
