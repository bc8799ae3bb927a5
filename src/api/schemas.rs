//! Schemas of the core's types that stand in the settings, as the core knows no OpenAPI. A test holds them against what
//! the core really writes.
#![expect(dead_code, reason = "described, never made")]

pub(crate) use super::words::ModeWord;

/// When contacts may be called, in their own local time.
#[derive(utoipa::ToSchema)]
pub(crate) struct CallingHours {
    /// IANA name, used for contacts that name no zone of their own.
    #[schema(example = "America/New_York")]
    time_zone: String,
    /// Calls are placed while any of these is open.
    windows: Vec<CallingWindow>,
}

/// A stretch of the day on some days of the week.
#[derive(utoipa::ToSchema)]
pub(crate) struct CallingWindow {
    /// Days: 1 Monday to 7 Sunday (ISO 8601).
    #[schema(example = json!([1, 2, 3, 4, 5]))]
    days: Vec<u8>,
    /// First minute of the day that is open, 0 to 1439.
    #[schema(example = 540, maximum = 1439)]
    from_minute: u16,
    /// First minute that is closed again, 1 to 1440; later than `from_minute`.
    #[schema(example = 1200, minimum = 1, maximum = 1440)]
    until_minute: u16,
}

/// How conversations are recorded.
#[derive(utoipa::ToSchema)]
pub(crate) struct RecordingPolicy {
    /// A media reference of the PBX, played to both sides first; none: recorded at once.
    #[schema(example = "sound:beep")]
    announcement: Option<String>,
}
