//! Temporary folders that bear our process's id, so that those of killed processes can be told and removed.

use std::{env, fs, path::Path, process};

use tempfile::TempDir;

use crate::{LabError, Result};

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

/// Best effort: another process may be sweeping as well, or the folder may be another user's.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if owner.is_some_and(|owner| owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
