//! Schemas of the core's types that stand in the settings, as the core knows no OpenAPI. A test holds them against what
//! the core really writes.
#![expect(dead_code, reason = "described, never made")]

pub(crate) use super::words::ModeWord;

/// When contacts may be called, in their own local time.
#[derive(utoipa::ToSchema)]
pub(crate) struct CallingHours {
    /// IANA name of a place, used for contacts that name no zone of their own. A campaign cannot be activated without one.
    #[schema(example = "America/New_York")]
    time_zone: Option<String>,
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
    /// A sound on the PBX, played to both sides first; none: recorded at once.
    #[schema(example = "sound:beep")]
    announcement: Option<String>,
}

/// How many calls may be abandoned, by one rule.
#[derive(utoipa::ToSchema)]
pub(crate) struct AbandonRule {
    /// Its name in reports.
    #[schema(example = "us-federal")]
    name: String,
    /// Abandoned calls over live answers, at most: 0 to 1.
    #[schema(example = 0.03)]
    ratio_max: f64,
    /// Over which time: `{"hours": 720}`, `calendar_day` or `calendar_month` in the campaign's time zone, or `campaign`.
    #[schema(value_type = Object, example = json!({"hours": 720}))]
    window: (),
    /// Where the clock starts: `connected`, `greeting_start` or `greeting_end`; what was not heard is as at the answer.
    #[schema(example = "greeting_end")]
    clock: String,
    /// From there until an agent must be there, milliseconds.
    #[schema(example = 2000)]
    limit_ms: u32,
    /// What a callee counts as who hangs up within the limit: `ignored`, `live` or `abandoned`.
    #[schema(example = "ignored")]
    early_hangup: String,
    /// How long a phone must be let ring, milliseconds; 0: no matter.
    #[schema(example = 15000)]
    ring_ms_min: u32,
    /// Whether whom no agent took in time must hear `abandon_message` before being hung up. Default: false.
    #[schema(example = true, required = false)]
    message: bool,
}
