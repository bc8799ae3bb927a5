//! Errors while starting or driving the lab.

use std::{io, path::PathBuf};

/// One variant for each operation that can fail; the message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program that `scripts/tools` fetches is not in its folder.
    #[error("`{program}` is not in {}; run `scripts/tools` (and set PACELINE_TOOLS for both, if the folder is elsewhere)", folder.display())]
    ToolMissing {
        /// The command's name under `bin/`.
        program: &'static str,
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// There is no FreeSWITCH here.
    #[error("no `freeswitch` on the PATH; install one, or name one with PACELINE_FREESWITCH")]
    NoFreeSwitch,
    /// Neither PACELINE_TOOLS nor a home folder says where `scripts/tools` put its programs.
    #[error("no folder for the unpacked tools; set PACELINE_TOOLS or HOME")]
    ToolsFolderUnknown,
    /// A program could not be started.
    #[error("start `{program}`; check that it exists and may be executed")]
    Spawn {
        /// Its path or name.
        program: String,
        /// The system's error.
        #[source]
        err: io::Error,
    },
    /// The thread that starts programs is gone.
    #[error("the lab can no longer start programs in this process; start a new one")]
    SpawnerGone,
    /// A file or folder of the lab could not be read or written.
    #[error("{doing} {}; check free space and permissions there", path.display())]
    File {
        /// The operation, such as "write".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        err: io::Error,
    },
    /// A socket operation failed.
    #[error("{doing}; look for another program that uses the same port")]
    Socket {
        /// The operation, such as "bind the phones' SIP port 5180".
        doing: String,
        /// The system's error.
        #[source]
        err: io::Error,
    },
    /// The certificates of the HTTPS server could not be made.
    #[error("make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// The HTTPS server's TLS could not be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// All of the lab's port blocks are taken by other labs.
    #[error("every port block of the lab is taken; end other tests or labs on this machine first")]
    NoPortsLeft,
    /// A program started and then ended, or never became ready.
    #[error("{what} was not ready after {waited_ms} ms; the end of its log:\n{last_words}")]
    NotReady {
        /// The program.
        what: String,
        /// Time of waiting, ms.
        waited_ms: u64,
        /// The end of its log.
        last_words: String,
    },
    /// A signal could not be sent to a program of the lab.
    #[error("send {signal} to process {pid}; it may have ended already")]
    Signal {
        /// The signal's name without SIG.
        signal: &'static str,
        /// The process.
        pid: u32,
    },
    /// A process's accounting in /proc could not be read.
    #[error("read the CPU time of process {pid}; it may have ended already")]
    CpuTime {
        /// The process.
        pid: u32,
    },
    /// An HTTP request to the PBX failed before a reply was read.
    #[error("{method} request to the PBX on port {port}; check that it runs")]
    Http {
        /// The HTTP method.
        method: String,
        /// The port on 127.0.0.1.
        port: u16,
        /// The system's error.
        #[source]
        err: io::Error,
    },
    /// The PBX replied with something that this operation cannot use.
    #[error("the PBX replied {status} to `{what}`; see its log")]
    UnexpectedReply {
        /// The operation.
        what: &'static str,
        /// The HTTP status, 0 when it was not HTTP at all.
        status: u16,
    },
    /// Calls are still up although everything should be over.
    #[error("{channels} channels are left on the PBX and {calls} calls at the carrier; hang them up first")]
    CallsLeft {
        /// On the PBX.
        channels: usize,
        /// At the carrier.
        calls: usize,
    },
    /// No phone of that number, or it is not in a call.
    #[error("agent-{agent} is in no call; wait for one before asking this of its phone")]
    NotInCall {
        /// The agent's number, from 1.
        agent: u32,
    },
}

impl LabError {
    /// For `map_err` on file operations.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |err| Self::File { doing, path, err }
    }

    /// For `map_err` on socket operations.
    pub(crate) fn socket(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |err| Self::Socket { doing, err }
    }
}
