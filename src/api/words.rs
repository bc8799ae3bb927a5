//! The core's words and times as the API writes them.

use jiff::Timestamp;
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::event::{AlarmKind, CallStep, EventKind};
use paceline_core::gate::{GateReason, GateStage};
use paceline_core::live::{CallPhase, Idle, JobState, Warning};
use paceline_core::outcome::{MessageResult, Outcome};
use paceline_core::pacing::{EffectiveMode, Fallback, LaunchLimit};
use paceline_core::time::Wall;
use paceline_core::words::UnknownWord;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::str::FromStr;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A closed set of words of the core.
pub(crate) trait Vocabulary: Copy + Ord + FromStr<Err = UnknownWord> + 'static {
    /// Its name among the schemas.
    const NAME: &'static str;
    /// Every word.
    const WORDS: &'static [Self];
    /// The one to show in examples.
    const EXAMPLE: Self;
    /// As written.
    fn text(self) -> &'static str;
}

macro_rules! vocabulary {
    ($($name:ident $word:ident $example:ident)*) => {$(
        impl Vocabulary for $name {
            const NAME: &'static str = stringify!($name);
            const WORDS: &'static [Self] = $name::ALL;
            const EXAMPLE: Self = $name::$example;
            fn text(self) -> &'static str { self.as_str() }
        }
        // utoipa's derives take the argument of a generic type for a schema of its own; a plain name they leave alone.
        #[doc = concat!("A [`", stringify!($name), "`] as the API writes it.")]
        pub(crate) type $word = Word<$name>;
    )*};
}
vocabulary! {
    AgentReason AgentReasonWord PhoneOnHold
    AgentState AgentStateWord Available
    AlarmKind AlarmKindWord MessageFailed
    CallPhase CallPhaseWord Ringing
    CallStep CallStepWord Answered
    CampaignState CampaignStateWord Active
    EffectiveMode EffectiveModeWord Predictive
    EventKind EventKindWord Call
    Fallback FallbackWord Learning
    GateReason GateReasonWord Clear
    GateStage GateStageWord Originate
    Idle IdleWord NoAgents
    JobState JobStateWord Waiting
    MessageResult MessageResultWord Whole
    Outcome OutcomeWord Answered
    LaunchLimit PaceLimitWord Risk
    TaskState TaskStateWord Running
    Wants WantsWord Calls
    Warning WarningWord MessageFailed
}

/// A word in a body or query, with its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word<T>(pub T);

impl<T: Vocabulary> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.text())
    }
}

impl<'de, T: Vocabulary> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl<T: Vocabulary> PartialSchema for Word<T> {
    fn schema() -> RefOr<Schema> {
        let words = T::WORDS.iter().map(|word| word.text());
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(words))
            .examples([T::EXAMPLE.text()])
            .into()
    }
}

impl<T: Vocabulary> ToSchema for Word<T> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(T::NAME)
    }
}

/// A moment: RFC 3339 in UTC with milliseconds on the way out, any offset on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Utc(pub Wall);

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Out of range only where a row was written by somebody else; the bound is nearer the truth than an error.
        let at = Timestamp::from_millisecond(self.0.0).unwrap_or(Timestamp::MAX);
        serializer.collect_str(&format_args!("{at:.3}"))
    }
}

impl<'de> Deserialize<'de> for Utc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse::<Timestamp>().map(|at| Self(Wall(at.as_millisecond()))).map_err(|_| {
            D::Error::custom("write the moment as RFC 3339 with its offset, such as 2026-11-20T09:00:00Z or 2026-11-20T09:00:00+01:00")
        })
    }
}

impl PartialSchema for Utc {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2026-11-20T09:00:00.000Z"])
            .into()
    }
}

impl ToSchema for Utc {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Timestamp")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_any_offset_and_written_in_utc() {
        let at: Utc = serde_json::from_str("\"2026-11-20T09:00:00+01:00\"").unwrap();
        assert_eq!(
            serde_json::to_string(&at).unwrap(),
            "\"2026-11-20T08:00:00.000Z\""
        );
        for bad in [
            "\"2026-11-20 09:00:00\"",
            "\"2026-11-20\"",
            "\"soon\"",
            "1763600000",
        ] {
            assert!(serde_json::from_str::<Utc>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let error = serde_json::from_str::<Word<TaskState>>("\"+12025550123\"")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("unknown TaskState: use one of scheduled, running, paused"),
            "{error}"
        );
    }
}
