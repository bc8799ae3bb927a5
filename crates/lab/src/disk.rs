//! A small disk that can be filled: a file system in memory, in a mount namespace of its own. Only programs in that namespace
//! see it. It ends with the process that holds it: nothing stays mounted, however this process dies.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    LabError, Result, folder,
    process::{self, Process},
};

/// A small disk; gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    // Declared first, so dropped first.
    holder: Process,
    way_in: &'static [&'static str],
    folder: TempDir,
}

/// The options that make a namespace, and those that enter it: as root, and as any user if the kernel allows that.
const WAYS: [(&[&str], &[&str]); 2] = [
    (&["--mount"], &["--mount"]),
    (
        &["--map-root-user", "--mount"],
        &["--user", "--preserve-credentials", "--mount"],
    ),
];

impl SmallDisk {
    /// Makes an empty disk of `size_kib` KiB.
    ///
    /// # Errors
    /// [`LabError::NotReady`] if neither root nor this user may mount here, as in a container without that right.
    pub fn start(size_kib: u32) -> Result<Self> {
        let folder = folder::temporary()?;
        let mut refused = String::new();
        for (make, way_in) in WAYS {
            let log_path = folder.path().with_extension("log");
            let log = File::create(&log_path).map_err(LabError::file("write", &log_path))?;
            let mut command = process::dying_with_us(Path::new("unshare"));
            // Again, because the kernel forgets it when the user changes.
            command
                .args(make)
                .args(["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c"])
                .arg("mount -t tmpfs -o size=\"$1\"k,mode=0700 paceline \"$0\" && : >\"$0/ready\" && exec sleep infinity")
                .arg(folder.path())
                .arg(size_kib.to_string())
                .stderr(log);
            let mut holder = Process::spawn(command)?;
            let ready = seen_by(holder.pid(), folder.path()).join("ready");
            process::poll(Duration::from_secs(10), || ready.exists() || !holder.is_running());
            let mounted = fs::remove_file(&ready).is_ok();
            let last_words = process::last_words(&log_path);
            // Best effort: the next sweep would find it.
            let _ = fs::remove_file(&log_path);
            if mounted {
                return Ok(Self {
                    holder,
                    way_in,
                    folder,
                });
            }
            refused.push_str(&last_words);
        }
        Err(LabError::NotReady {
            what: "a small disk".to_owned(),
            waited_ms: 0,
            last_words: refused,
        })
    }

    /// As [`Self::start`]; if nothing can be mounted here, says on stderr that `what` is not tested and returns `None`.
    pub fn start_or_skip(size_kib: u32, what: &str) -> Option<Self> {
        Self::start(size_kib)
            .inspect_err(|err| {
                eprintln!("SKIPPED: {what}: nothing can be mounted here, nothing was tested: {err}")
            })
            .ok()
    }

    /// The disk's path for programs in its namespace.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The disk's path for all other programs.
    pub fn path_outside(&self) -> PathBuf {
        seen_by(self.holder.pid(), self.folder.path())
    }

    /// The start of a command line that runs its program in the disk's namespace.
    pub fn way_in(&self) -> Vec<String> {
        let pid = self.holder.pid().to_string();
        let words = ["nsenter", "--target", &pid].into_iter();
        let words = words.chain(self.way_in.iter().copied()).chain(["--"]);
        words.map(str::to_owned).collect()
    }

    /// Fills the disk.
    ///
    /// # Errors
    /// [`LabError::File`] if a write fails for another reason than a full disk.
    pub fn fill(&self) -> Result<()> {
        let path = self.filler();
        let mut file = File::create(&path).map_err(LabError::file("write", &path))?;
        let chunk = vec![0; 1 << 20];
        let mut size = chunk.len();
        while size > 0 {
            match file.write_all(chunk.get(..size).unwrap_or_default()) {
                Ok(()) => {}
                // A part may have been written; the rest is tried in smaller pieces.
                Err(err) if err.kind() == std::io::ErrorKind::StorageFull => size /= 2,
                Err(err) => return Err(LabError::file("write", &path)(err)),
            }
        }
        Ok(())
    }

    /// Gives back the room that [`Self::fill`] took.
    ///
    /// # Errors
    /// [`LabError::File`] if the disk was not filled.
    pub fn free(&self) -> Result<()> {
        let path = self.filler();
        fs::remove_file(&path).map_err(LabError::file("remove", &path))
    }

    fn filler(&self) -> PathBuf {
        self.path_outside().join("filler")
    }
}

/// The path, for other processes, of a file in the namespace of process `pid`.
fn seen_by(pid: u32, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    path.strip_prefix("/")
        .map_or(root.clone(), |inner| root.join(inner))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::SmallDisk;
    use std::process::Command;

    #[test]
    fn a_filled_disk_takes_nothing_until_it_is_freed() {
        let Some(disk) = SmallDisk::start_or_skip(256, "a small disk") else {
            return;
        };
        let write = || {
            let way_in = disk.way_in();
            let (program, args) = way_in.split_first().unwrap();
            let written = Command::new(program)
                .args(args)
                .args(["sh", "-c", "head -c 5000 /dev/zero >\"$0/a\""])
                .arg(disk.path())
                .output()
                .unwrap();
            written.status.success()
        };
        assert!(write());
        assert!(!disk.path().join("a").exists(), "nobody else sees it");
        assert_eq!(
            std::fs::metadata(disk.path_outside().join("a")).unwrap().len(),
            5000
        );
        std::fs::remove_file(disk.path_outside().join("a")).unwrap();
        disk.fill().unwrap();
        assert!(!write());
        disk.free().unwrap();
        assert!(write());
    }
}
