//! The states of an agent.

use crate::words::words;

words! {
    /// An agent's state as shown everywhere.
    AgentState {
        /// Not logged in.
        Offline = "offline",
        /// Held and free.
        Available = "available",
        /// Kept for a call that was launched.
        Reserved = "reserved",
        /// The agent's own phone is being called.
        Ringing = "ringing",
        /// Talks with a contact.
        OnCall = "on_call",
        /// After a call.
        WrapUp = "wrap_up",
        /// Logged in, takes no calls.
        Paused = "paused",
    }
}
