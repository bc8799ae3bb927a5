//! Temporary folders that bear our process's id, so that those of killed processes can be told and removed.

use std::{env, fs, path::Path, process};

use tempfile::TempDir;

use crate::{LabError, Result, process::is_alive};

const PREFIX: &str = "paceline-lab-";

/// A folder under the system's temporary one, deleted when dropped. First removes what killed processes left there.
pub(crate) fn temporary() -> Result<TempDir> {
    let parent = env::temp_dir();
    sweep(&parent);
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", process::id()))
        .tempdir_in(&parent)
        .map_err(LabError::file("make a folder under", parent))
}

/// Best effort: the folder may be another user's. What cannot be removed now bears our id, so is tried again later.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        if owner.is_some_and(|owner| !is_alive(owner)) {
            // Claimed by a new name first: two removers of one folder make each other fail half-way.
            let claimed = parent.join(format!(
                "{PREFIX}{}-swept-{}",
                process::id(),
                entry.file_name().display()
            ));
            if fs::rename(entry.path(), &claimed).is_ok() {
                let _ = fs::remove_dir_all(&claimed);
            }
        }
    }
}
