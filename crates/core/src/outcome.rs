//! What the line did, and what an abandoned person heard.

use crate::words::words;

words! {
    /// What became of the message to a person whom no agent took in time.
    MessageFate {
        /// All of it was played.
        Whole = "whole",
        /// The callee hung up, or the switch was lost sight of, before its end.
        CutShort = "cut_short",
        /// The switch could not play it.
        Failed = "failed",
    }
}

words! {
    /// What the line did with an attempt. Every ended attempt has exactly one.
    Outcome {
        /// A person answered and was handed to an agent, or hung up before the connect limit.
        Answered = "answered",
        /// An answering machine.
        Machine = "machine",
        /// The callee's line is busy.
        Busy = "busy",
        /// It rang and nobody answered.
        NoAnswer = "no_answer",
        /// The callee, or a policy on the way, refused the call.
        Rejected = "rejected",
        /// The number does not exist or is malformed.
        Invalid = "invalid",
        /// The network or the trunk had no room, refused us, or gave no sign of life.
        Congestion = "congestion",
        /// The call could not be placed for a reason on our side or a protocol fault.
        Failed = "failed",
        /// A fax machine.
        Fax = "fax",
        /// A call-screening service.
        Screened = "screened",
        /// A person answered and no agent came within the limit.
        Abandoned = "abandoned",
        /// We took the call back before it was answered.
        Cancelled = "cancelled",
        /// The gate refused it.
        Blocked = "blocked",
        /// The evidence was lost; counts against caps, and as a possible abandon.
        Unknown = "unknown",
    }
}
