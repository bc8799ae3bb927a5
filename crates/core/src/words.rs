//! Closed sets of words: one enum for each, its spelling in rows, API and labels, and an error that lists the allowed
//! words.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The word used in rows, the API and metric labels.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            const UNKNOWN: $crate::words::UnknownWord =
                $crate::words::UnknownWord { kind: stringify!($name), allowed: &[$($text),*] };
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::words::read(deserializer, $name::UNKNOWN)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some([$($text),*]))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;
            fn from_str(text: &str) -> Result<Self, $crate::words::UnknownWord> {
                match text {
                    $($text => Ok($name::$variant),)*
                    _ => Err($name::UNKNOWN),
                }
            }
        }
    };
}
pub(crate) use words;

use serde::de::{Deserializer, Error, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// A word that is none of the allowed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind}: use one of {}", allowed.join(", "))]
pub struct UnknownWord {
    /// The kind of word that was read, as the error message names it.
    pub kind: &'static str,
    /// The allowed words.
    pub allowed: &'static [&'static str],
}

/// Reads one of these words. Serde's own errors repeat the value, which may be a telephone number in the wrong field, so the visitor
/// accepts texts, numbers and booleans, and refuses a wrong one with an error that does not repeat it.
pub(crate) fn read<'de, T: FromStr<Err = UnknownWord>, D: Deserializer<'de>>(
    deserializer: D,
    unknown: UnknownWord,
) -> Result<T, D::Error> {
    let word = PhantomData;
    deserializer.deserialize_any(WordVisitor { unknown, word })
}

struct WordVisitor<T> {
    unknown: UnknownWord,
    word: PhantomData<T>,
}

impl<T> WordVisitor<T> {
    fn refuse<E: Error>(&self) -> E {
        E::custom(format_args!(
            "expected one of `{}`",
            self.unknown.allowed.join("`, `")
        ))
    }
}

impl<T: FromStr<Err = UnknownWord>> Visitor<'_> for WordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of `{}`", self.unknown.allowed.join("`, `"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|_: UnknownWord| self.refuse())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Err(self.refuse())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        Err(self.refuse())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
        Err(self.refuse())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Err(self.refuse())
    }
}

#[cfg(test)]
mod tests {
    use crate::campaign::TaskState;
    use std::collections::BTreeMap;

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones_and_never_repeated() {
        let known = "expected one of `preparing`, `scheduled`, `running`, `paused`, `completed`, `cancelled`";
        for bad in [
            "\"+12025550123\"",
            "12025550123",
            "-1202.5",
            "true",
            "null",
            "[12025550123]",
            "{\"1202\":5}",
        ] {
            let error = serde_json::from_str::<TaskState>(bad).unwrap_err().to_string();
            assert!(error.contains(known), "{bad}: {error}");
            assert!(
                !error.contains("1202") && !error.contains("true"),
                "{bad}: {error}"
            );
        }
        assert_eq!(
            serde_json::from_str::<TaskState>("\"paused\"").unwrap(),
            TaskState::Paused
        );
    }

    #[test]
    fn words_are_keys_too() {
        let counts: BTreeMap<TaskState, u64> = serde_json::from_str("{\"paused\": 2}").unwrap();
        assert_eq!(serde_json::to_string(&counts).unwrap(), "{\"paused\":2}");
    }
}
