//! The decision of one tick with its reason. Metrics, the API and the command `paceline pace` show this same value.

use crate::words::words;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

words! {
    /// The mode in which a tick launched calls. A predictive or power campaign falls back to progressive by itself (see
    /// [`Fallback`]).
    EffectiveMode {
        /// Ahead of free agents, as far as the abandon budget allows.
        Predictive = "predictive",
        /// A fixed number of calls for each free agent.
        Power = "power",
        /// No more calls in flight than free agents.
        Progressive = "progressive",
    }
}

words! {
    /// The reason why no further call was launched.
    LaunchLimit {
        /// No agent is available or busy, or all are about to log out.
        Agents = "agents",
        /// The next callee would find no agent with a higher probability than allowed.
        Risk = "risk",
        /// There are as many calls in flight as free agents, and no more are allowed now.
        FreeAgents = "free_agents",
        /// The fixed ratio of calls to free agents is reached.
        Ratio = "ratio",
        /// The maximum number of calls in flight, or of launches at one tick, is reached.
        Bound = "bound",
        /// All trunk channels are in use.
        Channels = "channels",
        /// No contact is ready.
        Contacts = "contacts",
        /// The trunks fail. One probe is sent each second until a call rings.
        Congestion = "congestion",
    }
}

words! {
    /// The reason why a predictive or power campaign dialed progressively at a tick.
    Fallback {
        /// Too few calls have ended to forecast answers.
        Learning = "learning",
        /// The abandon budget is used up.
        Budget = "budget",
    }
}

/// The decision of one tick.
#[must_use]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PacingReport {
    /// Number of calls to launch now.
    pub launch: u32,
    /// Number of calls that agents and risk would allow. At least `launch`.
    pub wanted: u32,
    /// The reason why no further call was launched.
    pub limit: LaunchLimit,
    /// The mode that was used.
    pub mode: EffectiveMode,
    /// The reason why `mode` is not the configured mode. Absent if it is.
    pub fallback: Option<Fallback>,
    /// Probability that the callee of one more call would find no agent, 0 to 1.
    pub risk: f64,
    /// Highest allowed value of `risk`, 0 to 1. 0: no risk is allowed.
    pub risk_max: f64,
    /// Expected share of abandoned calls among the live answers of all calls in flight, 0 to 1.
    pub expected_abandon_ratio: f64,
    /// The abandon rule that allows the least risk now. Absent if there is no rule.
    pub rule: Option<Arc<str>>,
    /// Number of calls that this rule still allows to be abandoned. Negative: too many were abandoned.
    pub budget_left: f64,
    /// Live answers in the window of this rule.
    pub live: f64,
    /// Abandoned calls in the window of this rule.
    pub abandoned: f64,
    /// Number of agents available, in a call or in wrap-up, who are not about to log out.
    pub agents: u32,
    /// Number of these agents who are available.
    pub agents_free: u32,
    /// Number of calls requested, dialing, ringing, being judged or waiting for an agent.
    pub in_flight: u32,
    /// Probability that a call launched now reaches a person, 0 to 1.
    pub answer_probability: f64,
    /// Factor of today's answer rate over the learnt one, 0.25 to 4.
    pub drift: f64,
}

impl fmt::Display for PacingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            launch,
            wanted,
            limit,
            mode,
            fallback,
            risk,
            risk_max,
            expected_abandon_ratio,
            rule,
            budget_left,
            live,
            abandoned,
            agents,
            agents_free,
            in_flight,
            answer_probability,
            drift,
        } = self;
        let percent = |x: f64| 100.0 * x;
        match (launch, wanted) {
            (launch, wanted) if launch == wanted => write!(f, "launch {launch}")?,
            (launch, wanted) => write!(f, "launch {launch} of {wanted} wanted")?,
        }
        match limit {
            LaunchLimit::Agents => write!(f, ": no agent can take a call")?,
            LaunchLimit::Risk => write!(
                f,
                ": the next callee would find no agent with a probability of {:.1} %, allowed is {:.1} %",
                percent(*risk),
                percent(*risk_max)
            )?,
            LaunchLimit::FreeAgents => write!(f, ": one call for each free agent")?,
            LaunchLimit::Ratio => write!(f, ": the fixed ratio of calls to free agents is reached")?,
            LaunchLimit::Bound => write!(f, ": the maximum number of calls in flight is reached")?,
            LaunchLimit::Channels => write!(f, ": all trunk channels are in use")?,
            LaunchLimit::Contacts => write!(f, ": no further contact is ready")?,
            LaunchLimit::Congestion => write!(
                f,
                ": the trunks fail, one probe is sent each second until a call rings"
            )?,
        }
        write!(
            f,
            "; {in_flight} in flight, {agents_free} of {agents} agents free, {:.0} % of calls reach a person",
            percent(*answer_probability)
        )?;
        if (drift - 1.0).abs() > 0.2 {
            write!(f, " ({drift:.1} times as many as learnt)")?;
        }
        write!(f, "; {mode}")?;
        match fallback {
            Some(Fallback::Learning) => write!(f, " until enough calls have ended")?,
            Some(Fallback::Budget) => write!(f, " because the abandon budget is used up")?,
            None => {}
        }
        if let Some(rule) = rule {
            write!(
                f,
                "; rule {rule}: {abandoned} of {live} live answers abandoned, {:.1} more allowed, {:.1} % expected",
                budget_left.max(0.0),
                percent(*expected_abandon_ratio)
            )?;
        }
        Ok(())
    }
}
