//! Sound files of tones, generated here so that no recording is needed: raw µ-law, 8 kHz.

use std::{fs, path::Path};

use crate::{
    LabError, Result,
    media::{MESSAGE_HZ, tone},
};

/// Name, pitch in Hz, length in ms.
const SOUNDS: [(&str, u32, u32); 6] = [
    ("message", MESSAGE_HZ, 3_000),
    ("beep", 1_000, 200),
    ("tone-440", 440, 5_000),
    ("tone-880", 880, 5_000),
    ("all-circuits-busy-now", 520, 1_000),
    ("please-try-call-later", 580, 1_000),
];

/// Fills the folder of `sound:NAME` and the folder of music on hold.
pub(super) fn write(sounds: &Path, music: &Path) -> Result<()> {
    for folder in [sounds, music] {
        fs::create_dir_all(folder).map_err(LabError::file("make", folder))?;
    }
    for (name, hz, length_ms) in SOUNDS {
        write_tone(&sounds.join(format!("{name}.ulaw")), hz, length_ms)?;
    }
    write_tone(&music.join("music.ulaw"), 330, 5_000)
}

fn write_tone(path: &Path, hz: u32, length_ms: u32) -> Result<()> {
    fs::write(path, tone::samples(hz, length_ms)).map_err(LabError::file("write", path))
}
