//! Times as the API writes them.

use jiff::Timestamp;
use paceline_core::time::Wall;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A moment: RFC 3339 in UTC with milliseconds on the way out, any offset on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Utc(pub Wall);

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Only another program can have written such a time to the row. The limit is more useful than an error.
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
}
