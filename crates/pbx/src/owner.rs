//! The owner of the channels of an `app` on a PBX: the process that drives them. Its name is in a variable of the PBX. So a second
//! process finds the first one, even if both use a copy of one store and thus have the same mark. The next start after a crash finds
//! that its predecessor has ended, if both ran on the same machine. Otherwise it waits for a sign of life.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// The names of this process's drivers that run.
static RUNNING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A live owner changes another variable of the PBX every second. If it does not do so for this number of seconds, it has ended. A
/// predecessor with the same mark gets less time, because its calls need a successor soon.
const SILENCE_S: u32 = 3;
const SILENCE_OF_OTHERS_S: u32 = 10;

/// A running process, as it can be found on its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    /// The boot of the machine, and the namespace of its process ids.
    machine: String,
    pid: u32,
    /// The kernel's start time of the process. Process ids are used again.
    began: u64,
}

impl Process {
    /// `None` if the machine does not show it.
    fn ours() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        let pid = std::process::id();
        let machine = format!("{boot}{}", namespace.display());
        Some(Self {
            machine: machine.chars().filter(char::is_ascii_alphanumeric).collect(),
            pid,
            began: began(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
        })
    }

    /// True if the driver `name` of this process runs on our machine, false if it has ended. `None` if that cannot be known
    /// from here.
    fn runs(&self, name: &str) -> Option<bool> {
        let ours = Self::ours()?;
        if ours == *self {
            let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            return Some(running.contains(name));
        }
        // Some machines hide the processes of other users.
        let sees_others = fs::metadata("/proc/1").is_ok();
        if ours.machine != self.machine || !sees_others {
            return None;
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        Some(stat.is_ok_and(|stat| began(&stat) == Some(self.began)))
    }
}

/// The start time in `/proc/PID/stat`; `None` for a process that has ended and that nobody has waited for.
fn began(stat: &str) -> Option<u64> {
    // The command's name may contain spaces. It ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(") ")?;
    let state = fields.chars().next()?;
    let began = fields.split_whitespace().nth(19)?.parse().ok()?;
    (!matches!(state, 'Z' | 'X')).then_some(began)
}

/// The name of one driver. The driver runs as long as a clone exists.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    mark: String,
    name: Arc<Name>,
}

#[derive(Debug)]
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.0);
    }
}

/// What a name found on the PBX says about its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is this driver.
    Ours,
    /// Its process runs.
    Alive,
    /// Its process has ended.
    Ended,
    /// It has ended if it gives no sign of life for this time.
    Unclear { silence_s: u32 },
}

impl Owner {
    pub(crate) fn new(mark: &str) -> Self {
        let run = Uuid::new_v4().simple();
        let process = Process::ours().map_or_else(
            || "-0-0".to_owned(),
            |ours| format!("{}-{}-{}", ours.machine, ours.pid, ours.began),
        );
        let name = format!("{mark}.{process}-{run}");
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(name.clone());
        Self {
            mark: mark.to_owned(),
            name: Arc::new(Name(name)),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name.0
    }

    /// `None` if `found` is not the name of an owner.
    pub(crate) fn claim(&self, found: &str) -> Option<Claim> {
        if found == self.name.0 {
            return Some(Claim::Ours);
        }
        let (mark, process) = found.rsplit_once('.')?;
        let mut parts = process.rsplitn(4, '-');
        let run = parts.next()?;
        let (began, pid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let machine = parts.next()?.to_owned();
        Uuid::try_parse(run).ok()?;
        let silence_s = if mark == self.mark {
            SILENCE_S
        } else {
            SILENCE_OF_OTHERS_S
        };
        Some(match (Process { machine, pid, began }).runs(found) {
            Some(true) => Claim::Alive,
            Some(false) => Claim::Ended,
            None => Claim::Unclear { silence_s },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(owner: &Owner, process: &Process) -> String {
        let run = Uuid::new_v4().simple();
        let Process { machine, pid, began } = process;
        format!("{}.{machine}-{pid}-{began}-{run}", owner.mark)
    }

    #[test]
    fn an_owner_on_this_machine_is_known_to_run_or_to_have_ended() {
        let owner = Owner::new("paceline.1");
        assert_eq!(owner.claim(owner.name()), Some(Claim::Ours));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let process = Process {
            pid: child.id(),
            began: began(&stat).unwrap(),
            ..Process::ours().unwrap()
        };
        assert_eq!(owner.claim(&named(&owner, &process)), Some(Claim::Alive));
        let reused = Process {
            began: process.began + 1,
            ..process.clone()
        };
        assert_eq!(owner.claim(&named(&owner, &reused)), Some(Claim::Ended));
        child.kill().unwrap();
        // Until somebody waits for it, its entry stays.
        while owner.claim(&named(&owner, &process)) == Some(Claim::Alive) {
            std::thread::yield_now();
        }
        assert_eq!(owner.claim(&named(&owner, &process)), Some(Claim::Ended));
        child.wait().unwrap();
        assert_eq!(owner.claim(&named(&owner, &process)), Some(Claim::Ended));
    }

    #[test]
    fn another_driver_of_this_process_runs_until_it_is_dropped() {
        let (owner, second) = (Owner::new("paceline.1"), Owner::new("paceline.1"));
        let (name, clone) = (second.name().to_owned(), second.clone());
        drop(second);
        assert_eq!(owner.claim(&name), Some(Claim::Alive));
        drop(clone);
        assert_eq!(owner.claim(&name), Some(Claim::Ended));
    }

    #[test]
    fn an_owner_elsewhere_is_waited_for_and_one_of_another_installation_longer() {
        let (owner, stranger) = (Owner::new("paceline.1"), Owner::new("paceline.2"));
        let elsewhere = Process {
            machine: "another".to_owned(),
            ..Process::ours().unwrap()
        };
        let unclear = |silence_s| Some(Claim::Unclear { silence_s });
        assert_eq!(owner.claim(&named(&owner, &elsewhere)), unclear(3));
        assert_eq!(owner.claim(&named(&stranger, &elsewhere)), unclear(10));
        for odd in ["", "-ERR no reply", "paceline.1", "paceline.x-1-2-3", "a.b-c-d-e"] {
            assert_eq!(owner.claim(odd), None, "{odd}");
        }
    }
}
