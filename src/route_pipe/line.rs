//! One line of `paceline route` as a value. No error repeats text of the line, because an id may be a telephone number.
//!
//! Input: the bytes of a line. Output: a [`Line`] or a [`LineError`]. Start at [`read`].

use paceline_core::outcome::Outcome;
use paceline_core::trunks::{LegResult, LegStep, Weights};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Maximum length of a line in bytes. The rest of a longer line is skipped.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum of `at_ms`.
const AT_MS_MAX: f64 = 9_007_199_254_740_992.0;
/// Maximum of `talk_ms`: a week.
const TALK_MS_MAX: f64 = 7.0 * 86_400_000.0;
const NUMBER_MAX: f64 = 1e9;

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// Time in milliseconds, from any origin. 0 for a config.
    pub at_ms: f64,
    /// The content.
    pub content: Content<'a>,
}

/// The content of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Content<'a> {
    /// The trunks. This must be the first line. A later one changes them.
    Config(Config<'a>),
    /// A gateway or link is up or down.
    Trunk {
        /// The trunk.
        trunk: Id<'a>,
        /// Whether it is up.
        up: bool,
    },
    /// What happened to a leg.
    Leg {
        /// The leg.
        leg: Id<'a>,
        /// Its trunk.
        trunk: Id<'a>,
        /// What happened.
        step: LegStep,
    },
    /// A request for a trunk.
    Choose {
        /// The leg.
        leg: Id<'a>,
        /// Its campaign.
        campaign: Option<Id<'a>>,
        /// The number's region.
        region: Option<Cow<'a, str>>,
        /// The number's carrier.
        carrier: Option<Cow<'a, str>>,
        /// The contact's tier.
        tier: Option<u32>,
        /// The trunks that the attempt has tried.
        tried: Vec<Id<'a>>,
    },
}

/// The trunks, groups and campaigns of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Config<'a> {
    /// The weights of the score.
    pub weights: Weights,
    /// The trunks.
    pub trunks: Vec<TrunkLine<'a>>,
    /// The groups.
    pub groups: Vec<GroupLine<'a>>,
    /// The campaigns.
    pub campaigns: Vec<CampaignLine<'a>>,
}

/// A trunk of a config.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TrunkLine<'a> {
    /// Its id.
    #[serde(borrow)]
    pub id: Id<'a>,
    /// Its group.
    #[serde(borrow, default)]
    pub group: Option<Id<'a>>,
    /// Maximum number of legs at the same time.
    #[serde(default)]
    pub channels_max: Option<u32>,
    /// Maximum number of legs in any 1,000 ms.
    #[serde(default)]
    pub calls_per_s_max: Option<f64>,
    /// The regions that it may call. Empty: all.
    #[serde(default, deserialize_with = "list")]
    pub regions: Vec<String>,
    /// The carriers that it may call. Empty: all.
    #[serde(default, deserialize_with = "list")]
    pub carriers: Vec<String>,
    /// The tier of contacts that it is meant for.
    #[serde(default)]
    pub tier: Option<u32>,
    /// Price of a minute.
    #[serde(default)]
    pub price_per_minute: Option<f64>,
}

/// A group of a config.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GroupLine<'a> {
    /// Its id.
    #[serde(borrow)]
    pub id: Id<'a>,
    /// The group that takes its calls while it is out or full.
    #[serde(borrow, default)]
    pub standby: Option<Id<'a>>,
}

/// A campaign of a config.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CampaignLine<'a> {
    /// Its id.
    #[serde(borrow)]
    pub id: Id<'a>,
    /// Its weight.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

/// An id: a text, or a number, which is written back as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Number(String),
}

impl Id<'_> {
    /// The id as text.
    pub fn text(&self) -> &str {
        match self {
            Id::Text(text) => text,
            Id::Number(number) => number,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        const EXPECTED: &str = "an id: a text that is not empty, or a whole number";
        fn text<E: Error>(text: Cow<'_, str>) -> Result<Id<'_>, E> {
            if text.is_empty() {
                return Err(E::custom(format!("expected {EXPECTED}")));
            }
            Ok(Id::Text(text))
        }
        impl<'de> Visitor<'de> for Any {
            type Value = Id<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Id<'de>, E> {
                text(Cow::Borrowed(value))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Id<'de>, E> {
                text(Cow::Owned(value.to_owned()))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Id<'de>, E> {
                Ok(Id::Number(value.to_string()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Id<'de>, E> {
                Ok(Id::Number(value.to_string()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The weights of a config: a preset or numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum WeightsLine {
    Preset(String),
    Numbers {
        connect: Option<f64>,
        idle: Option<f64>,
        asr: Option<f64>,
    },
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    at_ms: Option<f64>,
    #[serde(borrow)]
    trunk: Option<Id<'a>>,
    up: Option<bool>,
    #[serde(borrow)]
    leg: Option<Id<'a>>,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    talk_ms: Option<f64>,
    mos: Option<f64>,
    loss_ratio: Option<f64>,
    local_fault: Option<bool>,
    #[serde(borrow)]
    campaign: Option<Id<'a>>,
    #[serde(borrow)]
    region: Option<Cow<'a, str>>,
    #[serde(borrow)]
    carrier: Option<Cow<'a, str>>,
    tier: Option<u32>,
    #[serde(borrow)]
    tried: Option<Vec<Id<'a>>>,
    weights: Option<WeightsLine>,
    #[serde(borrow)]
    trunks: Option<Vec<TrunkLine<'a>>>,
    #[serde(borrow)]
    groups: Option<Vec<GroupLine<'a>>>,
    #[serde(borrow)]
    campaigns: Option<Vec<CampaignLine<'a>>>,
}

/// The reason why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is longer than [`LINE_BYTES_MAX`].
    #[error("the line is longer than 4 MiB: write one JSON object per line")]
    TooLong,
    /// The line is not UTF-8 text.
    #[error("the line is not UTF-8 text: write one JSON object per line")]
    NotText,
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
        field: String,
        /// The allowed values.
        expected: String,
    },
    /// A field comes twice.
    #[error("a field comes twice in `{field}`")]
    Twice {
        /// The object that has it twice.
        field: String,
    },
}

/// Reads a line.
///
/// # Errors
/// [`LineError`].
pub fn read(line: &[u8]) -> Result<Line<'_>, LineError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineError::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| LineError::NotText)?;
    // The reader of a structure takes an array too.
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|err| LineError::Json { column: err.column() })?;
        return Err(LineError::NotAnObject);
    }
    let raw: Raw = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(err) if err.is_data() => return Err(explained(text)),
        Err(err) => return Err(LineError::Json { column: err.column() }),
    };
    raw.checked()
}

/// Reads the line again, to find the path of the field.
fn explained(text: &str) -> LineError {
    let mut reader = serde_json::Deserializer::from_str(text);
    let Err(err) = serde_path_to_error::deserialize::<_, Raw>(&mut reader) else {
        return LineError::NotAnObject;
    };
    let mut field = err.path().to_string();
    field.truncate(100);
    let message = err.inner().to_string();
    if message.starts_with("duplicate field") {
        return LineError::Twice { field };
    }
    if let Some(missing) = message.strip_prefix("missing field `") {
        let missing = missing.split('`').next().unwrap_or_default();
        let field = format!("{field}.{missing}");
        let expected = "given".to_owned();
        return LineError::Wrong { field, expected };
    }
    // The text after `expected` is this program's. The text before it may repeat the line.
    let expected = message
        .rsplit_once("expected ")
        .map_or("", |(_, expected)| expected);
    let expected = expected.split(" at line ").next().unwrap_or_default();
    let expected = match expected {
        "" => "an object with numbers `connect`, `idle` and `asr`, or a preset",
        expected => expected,
    };
    let expected = expected.to_owned();
    LineError::Wrong { field, expected }
}

fn wrong(field: impl Into<String>, expected: &str) -> LineError {
    LineError::Wrong {
        field: field.into(),
        expected: expected.to_owned(),
    }
}

/// A number within a range.
fn within(field: impl Into<String>, value: f64, most: f64, expected: &str) -> Result<f64, LineError> {
    if (0.0..=most).contains(&value) {
        Ok(value)
    } else {
        Err(wrong(field, expected))
    }
}

fn needed<T>(field: &'static str, value: Option<T>) -> Result<T, LineError> {
    value.ok_or(LineError::Missing { field })
}

impl<'a> Raw<'a> {
    fn checked(mut self) -> Result<Line<'a>, LineError> {
        let kind = needed("type", self.kind.take())?;
        let time = "a time in milliseconds, 0 or more";
        let at_ms = match self.at_ms {
            Some(at_ms) => Some(within("at_ms", at_ms, AT_MS_MAX, time)?),
            None => None,
        };
        if kind == "config" {
            let content = Content::Config(self.config()?);
            let at_ms = at_ms.unwrap_or(0.0);
            return Ok(Line { at_ms, content });
        }
        let content = match &*kind {
            "trunk" => Content::Trunk {
                trunk: needed("trunk", self.trunk)?,
                up: needed("up", self.up)?,
            },
            "leg" => self.leg()?,
            "choose" => Content::Choose {
                leg: needed("leg", self.leg)?,
                campaign: self.campaign,
                region: self.region,
                carrier: self.carrier,
                tier: self.tier,
                tried: self.tried.unwrap_or_default(),
            },
            _ => return Err(wrong("type", "config, trunk, leg or choose")),
        };
        let at_ms = needed("at_ms", at_ms)?;
        Ok(Line { at_ms, content })
    }

    fn leg(self) -> Result<Content<'a>, LineError> {
        let optional = |field: &str, value: Option<f64>, most: f64, expected: &str| {
            value
                .map(|value| within(field, value, most, expected))
                .transpose()
        };
        let talk = optional("talk_ms", self.talk_ms, TALK_MS_MAX, "milliseconds, up to a week")?;
        let result = LegResult {
            // An unknown outcome counts as no outcome.
            outcome: self.outcome.and_then(|word| word.parse::<Outcome>().ok()),
            talk: talk.map(|ms| Duration::from_secs_f64(ms / 1_000.0)),
            mos: optional("mos", self.mos, 5.0, "a mean opinion score, up to 5")?,
            loss: optional("loss_ratio", self.loss_ratio, 1.0, "a ratio from 0 to 1")?,
            local_fault: self.local_fault.unwrap_or(false),
        };
        let state = needed("state", self.state)?;
        let step = super::step(&state, result);
        Ok(Content::Leg {
            leg: needed("leg", self.leg)?,
            trunk: needed("trunk", self.trunk)?,
            step: step.ok_or_else(|| wrong("state", "dialing, ringing, answered or ended"))?,
        })
    }

    fn config(self) -> Result<Config<'a>, LineError> {
        let trunks = needed("trunks", self.trunks)?;
        for (index, trunk) in trunks.iter().enumerate() {
            let numbers = [
                ("calls_per_s_max", trunk.calls_per_s_max),
                ("price_per_minute", trunk.price_per_minute),
            ];
            for (field, value) in numbers {
                if let Some(value) = value {
                    let field = format!("trunks[{index}].{field}");
                    within(field, value, NUMBER_MAX, "a number, 0 or more")?;
                }
            }
        }
        let campaigns = self.campaigns.unwrap_or_default();
        for (index, campaign) in campaigns.iter().enumerate() {
            let field = format!("campaigns[{index}].weight");
            within(field, campaign.weight, NUMBER_MAX, "a number, 0 or more")?;
        }
        let weights = match self.weights {
            None => Weights::DEFAULT,
            Some(WeightsLine::Preset(name)) => {
                Weights::preset(&name).ok_or_else(|| wrong("weights", "default, document, or an object"))?
            }
            Some(WeightsLine::Numbers { connect, idle, asr }) => {
                let number = |field: &str, value: Option<f64>, otherwise: f64| {
                    within(field, value.unwrap_or(otherwise), 1_000.0, "a number, 0 or more")
                };
                Weights {
                    connect: number("weights.connect", connect, Weights::DEFAULT.connect)?,
                    idle: number("weights.idle", idle, Weights::DEFAULT.idle)?,
                    asr: number("weights.asr", asr, Weights::DEFAULT.asr)?,
                    relative: true,
                }
            }
        };
        Ok(Config {
            weights,
            trunks,
            groups: self.groups.unwrap_or_default(),
            campaigns,
        })
    }
}
