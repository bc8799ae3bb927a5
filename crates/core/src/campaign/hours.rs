//! The calling hours of a campaign. The gate decides by them.

use crate::zone::{self, ZoneError};
use serde::{Deserialize, Serialize};

/// The calling hours of a campaign, in the contact's local time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CallingHours {
    /// IANA name of a place, such as `America/New_York`: the campaign's own calendar, by which the windows of abandon rules
    /// begin and end. A campaign cannot be activated without it. Contacts are called in the time of the places where their
    /// numbers and addresses may be.
    #[cfg_attr(feature = "openapi", schema(example = "America/New_York"))]
    pub time_zone: Option<String>,
    /// Calls are placed while at least one of these is open; 1 to 100.
    pub windows: Vec<CallingWindow>,
}

/// A period of the day on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CallingWindow {
    /// Days of the week: 1 (Monday) to 7 (Sunday), as in ISO 8601.
    #[cfg_attr(feature = "openapi", schema(example = json!([1, 2, 3, 4, 5])))]
    pub days: Vec<u8>,
    /// First open minute of the day, 0 to 1439.
    #[cfg_attr(feature = "openapi", schema(example = 540, maximum = 1439))]
    pub from_minute: u16,
    /// First closed minute after it, 1 to 1440; greater than `from_minute`.
    #[cfg_attr(feature = "openapi", schema(example = 1200, minimum = 1, maximum = 1440))]
    pub until_minute: u16,
}

/// Calling hours that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// The time zone does not exist or has no place.
    #[error("`{name}`: {error}")]
    TimeZone {
        /// The zone as it was written.
        name: String,
        /// The fault of the zone.
        error: ZoneError,
    },
    /// There is no window.
    #[error("there is no calling window: add at least one")]
    Empty,
    /// There are too many windows. Each of them costs time at every decision of the gate.
    #[error("there are more than {WINDOWS_MAX} calling windows: combine some of them")]
    TooMany,
    /// A window has no days, or a day outside 1 to 7.
    #[error("window {index}: list at least one day, each from 1 (Monday) to 7 (Sunday)")]
    Days {
        /// Number of the window, from 1.
        index: usize,
    },
    /// The minutes of a window are out of order or out of range.
    #[error("window {index}: from_minute must be below until_minute, and until_minute at most 1440")]
    Minutes {
        /// Number of the window, from 1.
        index: usize,
    },
}

impl HoursError {
    /// The setting that is wrong.
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
    /// 08:00 to 21:00 on every day, without a time zone.
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
    /// Every minute of every day, in a place whose clock shows UTC all year.
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

    /// Checks the time zone, if there is one, and every window.
    ///
    /// # Errors
    /// [`HoursError`].
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

/// Maximum number of calling windows.
pub const WINDOWS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calling_hours_that_cannot_be_used_are_refused_with_the_reason() {
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
        assert_eq!(hours.check(), Ok(()), "allowed until the campaign is activated");
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
