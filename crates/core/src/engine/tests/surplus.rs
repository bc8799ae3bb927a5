//! Agents leave while calls ring that were launched ahead of them.

use super::rig::{Rig, config_of};
use crate::campaign::Mode;
use crate::input::{AgentRequest, Input, Recovered};
use crate::pbx::{PbxCommand, PbxEvent, Progress, Snapshot};
use std::time::Duration;

/// Twenty agents are free, and twenty callees' phones ring.
fn ringing(ring_ms_min: u32) -> Rig {
    let mut config = config_of(Mode::Predictive);
    config.settings.pacing.abandon_rules[0].ring_ms_min = ring_ms_min;
    let mut rig = Rig::from(config, Recovered::default());
    rig.tell(Input::SetActive(true));
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    for n in 1..=20 {
        rig.log_in(n);
        let leg = rig.agent_leg(n);
        rig.event(PbxEvent::AgentReady { leg });
    }
    rig.wait(Duration::from_secs(1));
    for leg in rig.legs() {
        rig.event(PbxEvent::Progress {
            leg,
            kind: Progress::Ringing,
        });
    }
    assert_eq!(rig.legs().len(), 20);
    rig
}

fn hung_up(rig: &Rig) -> usize {
    let hang_up = |c: &&PbxCommand| matches!(c, PbxCommand::HangUp { .. });
    rig.commands().filter(hang_up).count()
}

fn pause(rig: &mut Rig, agents: std::ops::RangeInclusive<i64>) {
    for n in agents {
        rig.ask(n, AgentRequest::Pause);
    }
}

#[test]
fn calls_in_excess_of_the_remaining_agents_are_cancelled() {
    let mut rig = ringing(0);
    rig.wait(Duration::from_secs(1));
    pause(&mut rig, 3..=20);
    let gone = hung_up(&rig);
    assert!((10..=18).contains(&gone), "{gone} of 20, for two agents");
    rig.wait(Duration::from_secs(2));
    assert_eq!(hung_up(&rig), gone, "once");
}

#[test]
fn a_phone_is_let_ring_as_long_as_the_rules_ask() {
    let mut rig = ringing(15_000);
    rig.wait(Duration::from_secs(1));
    pause(&mut rig, 3..=20);
    rig.wait(Duration::from_millis(13_900));
    assert_eq!(hung_up(&rig), 0);
    rig.wait(Duration::from_millis(200));
    assert!((10..=18).contains(&hung_up(&rig)), "{}", hung_up(&rig));
}

#[test]
fn one_agent_of_many_takes_no_call_along() {
    let mut rig = ringing(0);
    rig.wait(Duration::from_secs(1));
    pause(&mut rig, 20..=20);
    assert_eq!(hung_up(&rig), 0);
}
