//! When contacts may be called: as people set it. The gate decides by it.

use crate::zone::{self, ZoneError};
use serde::{Deserialize, Serialize};

/// When contacts may be called, in their own local time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CallingHours {
    /// IANA name of a place, used for contacts that name no zone of their own. None: nobody has stated one yet, and such
    /// contacts are not called. A campaign cannot be activated without one.
    #[cfg_attr(feature = "openapi", schema(example = "America/New_York"))]
    pub time_zone: Option<String>,
    /// Calls are placed while any of these is open; at most 100.
    pub windows: Vec<CallingWindow>,
}

/// A stretch of the day on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CallingWindow {
    /// Days: 1 Monday to 7 Sunday (ISO 8601).
    #[cfg_attr(feature = "openapi", schema(example = json!([1, 2, 3, 4, 5])))]
    pub days: Vec<u8>,
    /// First minute of the day that is open, 0 to 1439.
    #[cfg_attr(feature = "openapi", schema(example = 540, maximum = 1439))]
    pub from_minute: u16,
    /// First minute that is closed again, 1 to 1440; later than `from_minute`.
    #[cfg_attr(feature = "openapi", schema(example = 1200, minimum = 1, maximum = 1440))]
    pub until_minute: u16,
}

/// Hours that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// No such zone, or none of a place.
    #[error("`{name}`: {error}")]
    TimeZone {
        /// As it was written.
        name: String,
        /// What is wrong with it.
        error: ZoneError,
    },
    /// No window at all.
    #[error("no calling window: give at least one")]
    Empty,
    /// More windows than anybody needs: each is looked at for every call.
    #[error("more than {WINDOWS_MAX} calling windows: a week needs a few")]
    TooMany,
    /// A day outside 1 to 7, or none.
    #[error("window {index}: days are 1 (Monday) to 7 (Sunday), at least one")]
    Days {
        /// Which window, from 1.
        index: usize,
    },
    /// Minutes out of order or range.
    #[error("window {index}: from_minute must be below until_minute, and until_minute at most 1440")]
    Minutes {
        /// Which window, from 1.
        index: usize,
    },
}

impl HoursError {
    /// Which of the campaign's settings is wrong.
    pub(super) fn setting(&self) -> &'static str {
        match self {
            HoursError::TimeZone { .. } => "hours/time_zone",
            HoursError::Empty
            | HoursError::TooMany
            | HoursError::Days { .. }
            | HoursError::Minutes { .. } => "hours/windows",
        }
    }
}

impl Default for CallingHours {
    /// 08:00 to 21:00 on every day, in no zone yet.
    fn default() -> Self {
        let windows = vec![CallingWindow {
            days: (1..=7).collect(),
            from_minute: 8 * 60,
            until_minute: 21 * 60,
        }];
        Self {
            time_zone: None,
            windows,
        }
    }
}

impl CallingHours {
    /// Every minute of every day, by a place whose clock is that of UTC all year.
    pub fn always() -> Self {
        let windows = vec![CallingWindow {
            days: (1..=7).collect(),
            from_minute: 0,
            until_minute: 1440,
        }];
        Self {
            time_zone: Some("Atlantic/Reykjavik".to_owned()),
            windows,
        }
    }

    /// Checks the zone, where one is stated, and every window.
    pub fn check(&self) -> Result<(), HoursError> {
        if let Some(name) = &self.time_zone {
            zone::of_place(name).map_err(|error| HoursError::TimeZone {
                name: name.clone(),
                error,
            })?;
        }
        if self.windows.is_empty() {
            return Err(HoursError::Empty);
        }
        if self.windows.len() > WINDOWS_MAX || self.windows.iter().any(|window| window.days.len() > 7) {
            return Err(HoursError::TooMany);
        }
        for (n, window) in self.windows.iter().enumerate() {
            let index = n + 1;
            if window.days.is_empty() || window.days.iter().any(|d| !(1..=7).contains(d)) {
                return Err(HoursError::Days { index });
            }
            if window.from_minute >= window.until_minute || window.until_minute > 1440 {
                return Err(HoursError::Minutes { index });
            }
        }
        Ok(())
    }
}

/// Calling windows that are looked at; [`CallingHours::check`] lets no more pass.
pub const WINDOWS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_that_make_no_sense_are_named() {
        let mut hours = CallingHours::default();
        for (name, error) in [
            ("New York", ZoneError::Unknown),
            (
                "UTC",
                ZoneError::NoPlace {
                    example: "one such as America/New_York",
                },
            ),
        ] {
            hours.time_zone = Some(name.into());
            let name = name.into();
            assert_eq!(hours.check(), Err(HoursError::TimeZone { name, error }));
        }
        hours.time_zone = None;
        assert_eq!(hours.check(), Ok(()), "as long as nobody is called by them");
        hours.windows[0].days = vec![0];
        assert_eq!(hours.check(), Err(HoursError::Days { index: 1 }));
        hours.windows[0].days = vec![1];
        hours.windows[0].days = vec![1; 8];
        assert_eq!(hours.check(), Err(HoursError::TooMany));
        hours.windows[0].days = vec![1];
        hours.windows = vec![hours.windows[0].clone(); WINDOWS_MAX + 1];
        assert_eq!(hours.check(), Err(HoursError::TooMany));
        hours.windows.truncate(1);
        hours.windows[0].until_minute = 1441;
        assert_eq!(hours.check(), Err(HoursError::Minutes { index: 1 }));
        hours.windows.clear();
        assert_eq!(hours.check(), Err(HoursError::Empty));
    }
}
