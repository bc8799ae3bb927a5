//! The outcome of an attempt, and of the message to an abandoned callee.

use crate::words::words;

words! {
    /// The end of the message to an abandoned callee.
    MessageResult {
        /// It was played to its end.
        Whole = "whole",
        /// The callee hung up before its end, or the link to the PBX was lost.
        CutShort = "cut_short",
        /// The PBX could not play it.
        Failed = "failed",
    }
}

words! {
    /// The result of an attempt. Every ended attempt has exactly one outcome.
    Outcome {
        /// A person answered and got an agent, or hung up within the connect limit.
        Answered = "answered",
        /// An answering machine answered.
        Machine = "machine",
        /// The callee's line is busy.
        Busy = "busy",
        /// The phone rang and nobody answered.
        NoAnswer = "no_answer",
        /// The callee, or a policy on the way, refused the call.
        Rejected = "rejected",
        /// The number does not exist or is malformed.
        Invalid = "invalid",
        /// The network or the trunk had no channel, refused the call, or did not react.
        Congestion = "congestion",
        /// The call could not be placed because of an error of Paceline, the PBX or the protocol.
        Failed = "failed",
        /// A fax machine answered.
        Fax = "fax",
        /// A call-screening service answered.
        Screened = "screened",
        /// A person answered and no agent was connected within the limit.
        Abandoned = "abandoned",
        /// Paceline cancelled the call before it was answered.
        Cancelled = "cancelled",
        /// The gate refused the call.
        Blocked = "blocked",
        /// The end of the call was not seen. It counts against caps, and as a possible abandoned call.
        Unknown = "unknown",
    }
}
