//! What was decided at a tick, and why: the value that decides is the value that metrics, the API and `pace` show.

use crate::words::words;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

words! {
    /// How calls were launched at a tick: predictive and power fall back by themselves.
    EffectiveMode {
        /// Ahead of free agents, as far as the abandon budget allows.
        Predictive = "predictive",
        /// A fixed number of calls for each free agent.
        Power = "power",
        /// No more calls in flight than agents are free.
        Progressive = "progressive",
    }
}

words! {
    /// What kept one more call from being launched.
    PaceLimit {
        /// No agent is there, or all are leaving.
        Agents = "agents",
        /// The risk that its callee would find no agent.
        Risk = "risk",
        /// So many calls are in flight as agents are free, and no more is allowed now.
        FreeAgents = "free_agents",
        /// As many calls are in flight as the fixed ratio has it.
        Ratio = "ratio",
        /// As many as are ever launched at once, or in flight.
        Bound = "bound",
        /// Trunk channels.
        Channels = "channels",
        /// Contacts that are ready.
        Contacts = "contacts",
        /// Trunks fail: one probe a second until a call rings.
        Congestion = "congestion",
    }
}

words! {
    /// Why a predictive or power campaign was progressive at a tick.
    Fallback {
        /// Too little has been seen of how calls go.
        Learning = "learning",
        /// The abandon budget is spent.
        Budget = "budget",
    }
}

/// One tick's decision.
#[must_use]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PacingReport {
    /// Calls to launch now.
    pub launch: u32,
    /// Calls that agents and the risk would allow; at least `launch`.
    pub wanted: u32,
    /// What kept one more from being launched.
    pub limit: PaceLimit,
    /// How it was decided.
    pub mode: EffectiveMode,
    /// Why that is not the mode asked for.
    pub fallback: Option<Fallback>,
    /// Probability that a person answering the next call would find no agent.
    pub risk: f64,
    /// The most of it that is allowed now; 0: none.
    pub risk_max: f64,
    /// Abandoned over live answers to expect of all calls in flight.
    pub expected_abandon_ratio: f64,
    /// The abandon rule that allows least now.
    pub rule: Option<Arc<str>>,
    /// Calls that it still lets be abandoned; negative: overdrawn.
    pub budget_left: f64,
    /// Live answers in its window.
    pub live: f64,
    /// Of them abandoned.
    pub abandoned: f64,
    /// Agents who are counted on.
    pub agents: u32,
    /// Of them free.
    pub agents_free: u32,
    /// Calls asked for, dialing, ringing, being judged or waiting for an agent.
    pub in_flight: u32,
    /// Probability that a call launched now reaches a person.
    pub answer_probability: f64,
    /// How many times higher that is than what was learnt over the long run.
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
            PaceLimit::Agents => write!(f, ": no agent to count on")?,
            PaceLimit::Risk => write!(
                f,
                ": one more would find no agent with {:.1} %, {:.1} % is allowed",
                percent(*risk),
                percent(*risk_max)
            )?,
            PaceLimit::FreeAgents => write!(f, ": one call for each free agent")?,
            PaceLimit::Ratio => write!(f, ": the fixed ratio is reached")?,
            PaceLimit::Bound => write!(f, ": as many as are ever launched ahead at once")?,
            PaceLimit::Channels => write!(f, ": trunk channels are used up")?,
            PaceLimit::Contacts => write!(f, ": no more contacts are ready")?,
            PaceLimit::Congestion => write!(f, ": trunks fail, one probe a second until a call rings")?,
        }
        write!(
            f,
            "; {in_flight} in flight, {agents_free} of {agents} agents free, {:.0} % answer",
            percent(*answer_probability)
        )?;
        if (drift - 1.0).abs() > 0.2 {
            write!(f, " ({drift:.1} times the usual)")?;
        }
        write!(f, "; {mode}")?;
        match fallback {
            Some(Fallback::Learning) => write!(f, " while learning how calls go")?,
            Some(Fallback::Budget) => write!(f, " because the abandon budget is spent")?,
            None => {}
        }
        if let Some(rule) = rule {
            write!(
                f,
                "; {rule}: {abandoned} of {live} abandoned, room for {:.1}, {:.1} % expected",
                budget_left.max(0.0),
                percent(*expected_abandon_ratio)
            )?;
        }
        Ok(())
    }
}
