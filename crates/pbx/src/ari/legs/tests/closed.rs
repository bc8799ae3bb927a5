//! A PBX that takes no calls, because it shuts down or restarts, answers as if the endpoint were unknown, and ends calls without a
//! cause: a channel that nobody dials tells.

use super::*;

const CARRIER: &str = "PJSIP/+12025550140@carrier";

impl Script {
    /// The end of a leg, which must be all that was said.
    fn end_of(&mut self, of: LegId) -> LegEnd {
        let said = self.said();
        match &said[..] {
            [PbxEvent::LegEnded { leg, end }] if *leg == of => end.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The PBX was tried, and nothing else asked or said.
    fn tried(&mut self) {
        assert_eq!(
            self.asked(),
            [("POST channels/create".to_owned(), Purpose::Tried)]
        );
        assert_eq!(self.said(), []);
    }
}

#[test]
fn a_leg_that_was_not_placed_is_refused_if_the_pbx_takes_other_calls_and_else_found_no_room() {
    for (status, by) in [
        (200, EndedBy::Refused),
        (500, EndedBy::NoRoom),
        (503, EndedBy::NoRoom),
    ] {
        let mut script = Script::new();
        let leg = script.call(CARRIER);
        script.asked();
        assert!(!script.reply(Purpose::Placed(leg.0), 500));
        script.tried();
        script.reply(Purpose::Tried, status);
        let end = script.end_of(leg);
        assert_eq!(
            (end.by, end.detail.as_str()),
            (by, "Allocation failed"),
            "{status}"
        );
        script.reply(Purpose::Tried, status);
        script.destroyed(leg.0, 0);
        assert_eq!(script.said(), [], "an end is said once");
    }
}

#[test]
fn an_unanswered_call_that_ends_without_a_cause_was_ended_by_the_pbx_if_it_takes_no_new_calls() {
    for (status, by) in [
        (200, EndedBy::Network),
        (500, EndedBy::Stopped),
        (503, EndedBy::Stopped),
    ] {
        for dial in [CARRIER, "Local/+12025550140@from-internal/n"] {
            let mut script = Script::new();
            let leg = script.call(dial);
            script.asked();
            script.dial(leg.0, DialStatus::Failed);
            script.destroyed(leg.0, 0);
            script.tried();
            script.destroyed(leg.0, 0);
            assert_eq!(script.asked(), [], "it is asked once");
            script.reply(Purpose::Tried, status);
            assert_eq!(script.end_of(leg).by, by, "{dial} {status}");
        }
    }
}

#[test]
fn ends_with_a_cause_and_ends_of_answered_calls_are_accepted_at_once() {
    let mut script = Script::new();
    let busy = script.call(CARRIER);
    script.asked();
    script.dial(busy.0, DialStatus::Failed);
    script.destroyed(busy.0, 17);
    assert_eq!(script.end_of(busy).by, EndedBy::Network);
    // Asterisk 16 gives no cause for our own ring timeout.
    let rang = script.call(CARRIER);
    script.asked();
    script.dial(rang.0, DialStatus::Ringing);
    script.said();
    script.destroyed(rang.0, 0);
    assert_eq!(script.end_of(rang).by, EndedBy::RingTimeout);
    let answered = script.answered();
    script.destroyed(answered.0, 0);
    assert_eq!(script.end_of(answered).by, EndedBy::Network);
    assert_eq!(script.asked(), []);
}

#[test]
fn a_link_that_breaks_before_it_is_known_whether_the_pbx_takes_calls_says_that_it_takes_none() {
    let mut script = Script::new();
    let (refused, ended) = (script.call(CARRIER), script.call(CARRIER));
    script.asked();
    script.reply(Purpose::Placed(refused.0), 500);
    script.dial(ended.0, DialStatus::Failed);
    script.destroyed(ended.0, 0);
    // One try for all.
    script.tried();
    script.legs.unlinked(script.now);
    let by: Vec<_> = script
        .said()
        .into_iter()
        .map(|event| match event {
            PbxEvent::LegEnded { leg, end } => (leg, end.by),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(by.len(), 2);
    assert!(by.contains(&(refused, EndedBy::NoRoom)) && by.contains(&(ended, EndedBy::Stopped)));
}

#[test]
fn the_channel_that_tries_the_pbx_is_hung_up_as_soon_as_it_shows() {
    let mut script = Script::new();
    let leg = script.call(CARRIER);
    script.asked();
    script.reply(Purpose::Placed(leg.0), 500);
    let path = script.legs.out.asks.pop_front().unwrap().request.path;
    let (_, rest) = path.split_once("channelId=").unwrap();
    let tries = Uuid::try_parse(&rest[..36]).unwrap();
    script.start(tries);
    assert_eq!(script.paths(), [format!("DELETE channels/{tries}")]);
    script.destroyed(tries, 16);
    assert_eq!(script.said(), []);
}
