//! The programs that `scripts/tools` downloads. The folder must be the one that this script prints.

use std::{env, path::PathBuf};

use crate::{LabError, Result};

/// The folder that `scripts/tools` fills.
pub(crate) fn folder() -> Result<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("PACELINE_TOOLS")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("paceline/tools")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/paceline/tools")))
        .ok_or(LabError::ToolsFolderUnknown)
}

/// The path of `bin/PROGRAM` there, or an error that says to run `scripts/tools`.
pub(crate) fn program(program: &'static str) -> Result<PathBuf> {
    let folder = folder()?;
    let path = folder.join("bin").join(program);
    if path.is_file() {
        Ok(path)
    } else {
        Err(LabError::ToolMissing { program, folder })
    }
}
