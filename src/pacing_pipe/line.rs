//! One line of `paceline pace` as a value. Ids are hashed at once, and no error repeats text of the line, because an id may
//! be a telephone number.
//!
//! Input: the bytes of a line. Output: a [`Line`] or a [`LineError`]. Start at [`parse`].

use paceline_core::outcome::Outcome;
use paceline_core::pacing::rules::Waits;
use paceline_core::pacing::{AgentKey, AgentStep, CallKey, CallStep};
use serde_json::{Map, Value};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

/// Maximum length of a line in bytes. The rest of a longer line is skipped.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Maximum of `at_ms`.
const AT_MS_MAX: f64 = 9_007_199_254_740_992.0;
const LIMIT_MS_MAX: f64 = 3_600_000.0;

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Time in milliseconds, from any origin.
    pub at_ms: f64,
    /// The content.
    pub content: Content,
}

/// The content of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Content {
    /// The pacing settings. This must be the first line.
    Config(PipeConfig),
    /// The state of an agent.
    Agent {
        /// The agent.
        agent: AgentKey,
        /// The state.
        step: AgentStep,
        /// Time of the agent's log-out in milliseconds, if it is known.
        leaves_at_ms: Option<f64>,
    },
    /// The state of a call.
    Call {
        /// The call.
        call: CallKey,
        /// The state.
        step: CallStep,
    },
    /// A request for a decision.
    Tick {
        /// Number of free trunk channels. `None`: no limit.
        channels_free: Option<u32>,
    },
}

/// The pacing settings of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PipeConfig {
    /// Highest allowed ratio of abandoned calls to live answers, 0 to 1.
    pub abandon_ratio_max: f64,
    /// Maximum time from the moment when a person is recognised until an agent is connected.
    pub connect_limit: Duration,
    /// Maximum time for which a callee's phone rings.
    pub ring_timeout: Duration,
}

/// The reason why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is longer than [`LINE_BYTES_MAX`].
    #[error("the line is longer than {LINE_BYTES_MAX} bytes: write one JSON object per line")]
    TooLong,
    /// The line is not JSON.
    #[error("the line is not JSON from column {column} on: write one JSON object per line")]
    Json {
        /// First column that is not JSON, from 1.
        column: usize,
    },
    /// The line is JSON, but not an object.
    #[error("the line is not a JSON object")]
    NotAnObject,
    /// A field is missing.
    #[error("the field `{field}` is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has a wrong value.
    #[error("the field `{field}` must be {expected}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// The allowed values.
        expected: &'static str,
    },
}

/// Reads a line.
///
/// # Errors
/// [`LineError`].
pub fn parse(line: &[u8]) -> Result<Line, LineError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineError::TooLong);
    }
    let value: Value =
        serde_json::from_slice(line).map_err(|err| LineError::Json { column: err.column() })?;
    let Value::Object(fields) = value else {
        return Err(LineError::NotAnObject);
    };
    let fields = Fields(&fields);
    let content = match fields.word("type", "config, agent, call or tick")? {
        "config" => Content::Config(config(&fields)?),
        "agent" => Content::Agent {
            agent: AgentKey(fields.id("agent")?),
            step: agent_step(&fields)?,
            leaves_at_ms: fields.number("leaves_at_ms", 0.0, AT_MS_MAX, TIME)?,
        },
        "call" => Content::Call {
            call: CallKey(fields.id("call")?),
            step: call_step(&fields)?,
        },
        "tick" => Content::Tick {
            channels_free: fields
                .number("channels_free", 0.0, f64::MAX, "a number of channels, 0 or more")?
                // A larger number becomes the maximum.
                .map(|n| n as u32),
        },
        _ => {
            return Err(LineError::Wrong {
                field: "type",
                expected: "config, agent, call or tick",
            });
        }
    };
    let at_ms = fields.number("at_ms", 0.0, AT_MS_MAX, TIME)?;
    Ok(Line {
        at_ms: at_ms.ok_or(LineError::Missing { field: "at_ms" })?,
        content,
    })
}

const TIME: &str = "a time in milliseconds, 0 or more";
const RATIO: &str = "a ratio from 0 to 1: for three percent, 0.03";
const AGENT_STATES: &str = "offline, available, on_call, wrap_up or paused";
const CALL_STATES: &str = "dialing, ringing, answered, person, machine, connected, abandoned or ended";

fn config(fields: &Fields) -> Result<PipeConfig, LineError> {
    let ratio = fields.number("max_abandon_ratio", 0.0, 1.0, RATIO)?;
    let ms = |field, most, expected, unless| {
        let ms = fields.number(field, 0.0, most, expected)?.unwrap_or(unless);
        Ok::<_, LineError>(Duration::from_secs_f64(ms / 1000.0))
    };
    ms("tick_ms", LIMIT_MS_MAX, "milliseconds, up to an hour", 200.0)?;
    Ok(PipeConfig {
        abandon_ratio_max: ratio.ok_or(LineError::Missing {
            field: "max_abandon_ratio",
        })?,
        connect_limit: ms(
            "connect_limit_ms",
            LIMIT_MS_MAX,
            "milliseconds, up to an hour",
            2_000.0,
        )?,
        ring_timeout: ms(
            "ring_timeout_ms",
            LIMIT_MS_MAX,
            "milliseconds, up to an hour",
            25_000.0,
        )?,
    })
}

fn agent_step(fields: &Fields) -> Result<AgentStep, LineError> {
    Ok(match fields.word("state", AGENT_STATES)? {
        "offline" => AgentStep::Offline,
        "available" => AgentStep::Available,
        "on_call" => AgentStep::OnCall,
        "wrap_up" => AgentStep::WrapUp,
        "paused" => AgentStep::Paused,
        _ => {
            return Err(LineError::Wrong {
                field: "state",
                expected: AGENT_STATES,
            });
        }
    })
}

fn call_step(fields: &Fields) -> Result<CallStep, LineError> {
    Ok(match fields.word("state", CALL_STATES)? {
        "dialing" => CallStep::Dialing {
            answer_probability: fields.number("answer_probability", 0.0, 1.0, "a probability from 0 to 1")?,
        },
        "ringing" => CallStep::Ringing,
        "answered" => CallStep::Answered,
        "person" => CallStep::Person,
        "machine" => CallStep::Machine,
        "connected" => CallStep::Connected(Waits::default()),
        "abandoned" => CallStep::Abandoned,
        "ended" => CallStep::Ended {
            // An unknown outcome counts as no outcome.
            outcome: match fields.0.get("outcome") {
                Some(Value::String(word)) => word.parse::<Outcome>().ok(),
                None | Some(_) => None,
            },
            waits: Waits::default(),
        },
        _ => {
            return Err(LineError::Wrong {
                field: "state",
                expected: CALL_STATES,
            });
        }
    })
}

struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn word(&self, field: &'static str, expected: &'static str) -> Result<&'a str, LineError> {
        match self.0.get(field) {
            Some(Value::String(word)) => Ok(word),
            Some(_) => Err(LineError::Wrong { field, expected }),
            None => Err(LineError::Missing { field }),
        }
    }

    /// A number within a range. `None` if the field is missing or null.
    fn number(
        &self,
        field: &'static str,
        least: f64,
        most: f64,
        expected: &'static str,
    ) -> Result<Option<f64>, LineError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
                _ => Err(LineError::Wrong { field, expected }),
            },
        }
    }

    fn id(&self, field: &'static str) -> Result<u128, LineError> {
        match self.0.get(field) {
            Some(Value::String(id)) if !id.is_empty() => Ok(hashed(id)),
            Some(Value::Number(id)) => Ok(hashed(&id.to_string())),
            Some(_) => Err(LineError::Wrong {
                field,
                expected: "an id: a string that is not empty",
            }),
            None => Err(LineError::Missing { field }),
        }
    }
}

/// Combines two 64-bit hashes, so that no two ids get the same key in practice.
fn hashed(id: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(id.as_bytes());
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}
