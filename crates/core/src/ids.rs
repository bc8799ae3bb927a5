//! All typed ids, so that mixing two kinds does not compile.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

macro_rules! row_id {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    )*};
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    )*};
}

row_id! {
    /// A campaign's row id.
    CampaignId
    /// A task's row id.
    TaskId
    /// A contact list's row id.
    ContactListId
    /// The row id of a contact file's import.
    ImportId
    /// A contact's row id.
    ContactId
    /// An agent's row id.
    AgentId
    /// A trunk's row id.
    TrunkId
    /// The row id of a group of trunks.
    TrunkGroupId
}

uuid_id! {
    /// One try to reach one number.
    AttemptId
    /// One originate of an attempt over one trunk; this UUID is the callee's channel id on the PBX.
    LegId
    /// An agent's held leg; this UUID is the agent's channel id on the PBX. The id of the leg's bridge is made from it.
    AgentLegId
}

/// The name of a configured PBX, as in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PbxName(Arc<str>);

impl PbxName {
    /// Wraps a configured name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PbxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
