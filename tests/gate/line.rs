//! The line of the pipe as its document describes it. The types here are independent of the gate's types.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub at: String,
    pub number: String,
    pub purpose: String,
    pub mode: String,
    #[serde(default)]
    pub campaign: Option<String>,
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default)]
    pub debt: Option<String>,
    #[serde(default)]
    pub caller_id: Option<String>,
    #[serde(default)]
    pub profiles: Vec<String>,
    pub ring_timeout_ms: i64,
    #[serde(default)]
    pub contact: Contact,
    #[serde(default)]
    pub history: Vec<Past>,
    #[serde(default)]
    pub suppressed: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Contact {
    pub time_zone: Option<String>,
    pub country: Option<String>,
    pub state: Option<String>,
    pub postal_code: Option<String>,
    pub tags: Vec<String>,
    pub consents: Vec<Consent>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Consent {
    pub kind: String,
    pub scope: String,
    pub granted_at: String,
    #[serde(default)]
    pub expires_at: Option<String>,
    #[serde(default)]
    pub proof: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Past {
    pub at: String,
    pub number: String,
    #[serde(default)]
    pub campaign: Option<String>,
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default)]
    pub debt: Option<String>,
    pub outcome: String,
    #[serde(default)]
    pub disposition: Option<String>,
}

/// The answer of the gate or the model to a line. The reasons are sorted and have no texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub decision: String,
    /// Unix time in milliseconds.
    pub until: Option<i64>,
    /// Profile, rule, verdict.
    pub reasons: Vec<(String, String, String)>,
}
