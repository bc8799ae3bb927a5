//! The signals that the far end of a leg sends before it answers. Both drivers keep them for the end of the leg.

use paceline_core::pbx::Progress;

/// The signals of a far end, of which each comes at most once and in either order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProgressSeen {
    #[default]
    Nothing,
    Ringing,
    EarlyMedia,
    RingingAndEarlyMedia,
}

impl ProgressSeen {
    pub(crate) const fn of(ringing: bool, early_media: bool) -> Self {
        match (ringing, early_media) {
            (false, false) => Self::Nothing,
            (true, false) => Self::Ringing,
            (false, true) => Self::EarlyMedia,
            (true, true) => Self::RingingAndEarlyMedia,
        }
    }

    pub(crate) const fn rang(self) -> bool {
        match self {
            Self::Nothing | Self::EarlyMedia => false,
            Self::Ringing | Self::RingingAndEarlyMedia => true,
        }
    }

    const fn had_early_media(self) -> bool {
        match self {
            Self::Nothing | Self::Ringing => false,
            Self::EarlyMedia | Self::RingingAndEarlyMedia => true,
        }
    }

    /// True if there was any signal.
    pub(crate) fn is_any(self) -> bool {
        self != Self::Nothing
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self::of(
            self.rang() || other.rang(),
            self.had_early_media() || other.had_early_media(),
        )
    }

    /// Adds a signal. `false`: it is a duplicate.
    pub(crate) fn add(&mut self, signal: Progress) -> bool {
        let signal = match signal {
            Progress::Ringing => Self::Ringing,
            Progress::EarlyMedia => Self::EarlyMedia,
        };
        let both = self.and(signal);
        std::mem::replace(self, both) != both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_new_once_in_either_order() {
        for [first, second] in [
            [Progress::Ringing, Progress::EarlyMedia],
            [Progress::EarlyMedia, Progress::Ringing],
        ] {
            let mut seen = ProgressSeen::default();
            let new = [first, first, second, first, second].map(|signal| seen.add(signal));
            assert_eq!(new, [true, false, true, false, false]);
            assert_eq!(seen, ProgressSeen::RingingAndEarlyMedia);
        }
    }
}
