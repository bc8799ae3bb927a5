//! `paceline doctor`: reports what is wrong between Paceline and each configured PBX, and what to write instead.

use super::{AlreadyTold, say};
use crate::config::Config;
use crate::doctor::{self, AskGate, CallPlan, Endpoint, Finding, Grade, PbxReport, Report};
use crate::keys;
use crate::numbers::normalise;
use crate::store::{Store, StoreMetrics, SuppressionKey};
use anyhow::Context as _;
use clap::Args;
use paceline_core::pbx::CallerId;
use secrecy::ExposeSecret as _;

/// Maximum number of endpoints in the text output.
const ENDPOINTS_SHOWN_MAX: usize = 20;

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Also place a test call to this number over --trunk, and report how it went
    #[arg(long, value_name = "NUMBER", requires = "trunk")]
    call: Option<String>,
    /// Trunk of the test call
    #[arg(long, value_name = "NAME", requires = "call")]
    trunk: Option<String>,
    /// Caller id of the test call [default: the trunk's]
    #[arg(long, value_name = "NUMBER", requires = "call")]
    caller_id: Option<String>,
    /// Time zone of the called phone, such as America/New_York [default: from its contact, or all zones that its number may be in]
    #[arg(long, value_name = "ZONE", requires = "call")]
    time_zone: Option<String>,
    /// Place the test call even if the number is on the do-not-call list or it is outside the calling hours. Only for your
    /// own phone
    #[arg(long, requires = "call", conflicts_with = "time_zone")]
    without_gate: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: DoctorArgs) -> anyhow::Result<()> {
    let call = match (&args.call, &args.trunk) {
        (Some(number), Some(trunk)) => Some(CallPlan {
            trunk: trunk.clone(),
            number: normalise(number, config.default_region.as_deref())
                .context("the number of --call cannot be called")?,
            gate: match args.without_gate {
                true => AskGate::NotAsked,
                false => AskGate::Asked {
                    time_zone: args.time_zone.clone(),
                },
            },
            caller_id: args
                .caller_id
                .as_deref()
                .map(CallerId::new)
                .transpose()
                .context("the number of --caller-id cannot be used")?,
        }),
        _ => None,
    };
    let store = Store::open(config.store.url.expose_secret(), StoreMetrics::default()).await;
    let store = store.with_context(|| format!("cannot open the store `{}`", config.store.shown))?;
    let key = SuppressionKey::new(&keys::secret(config, keys::NUMBER_KEY)?);
    store
        .open_suppression(key)
        .await
        .context("cannot load the suppression lists")?;
    let report = doctor::examine(config, &store, call).await;
    store.close().await;
    let report = report?;
    if args.json {
        say(&format!(
            "{:#}\n",
            serde_json::json!({"healthy": report.is_healthy(), "report": report})
        ))?;
    } else {
        say(&describe(&report))?;
    }
    if report.is_healthy() {
        Ok(())
    } else {
        Err(AlreadyTold.into())
    }
}

fn describe(report: &Report) -> String {
    let mut text = describe_findings(&report.findings);
    for pbx in &report.pbxes {
        text.push_str(&describe_pbx(pbx));
    }
    if let Some(call) = &report.call {
        text.push_str("test call\n");
        for seen in &call.seen {
            text.push_str(&format!("  {seen}\n"));
        }
        text.push_str(&format!("{} {}\n", mark(call.grade), call.verdict));
    }
    text
}

fn describe_findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding {
        grade,
        about,
        found,
        cure,
    } in findings
    {
        text.push_str(&format!("{} {about}: {found}\n", mark(*grade)));
        if let Some(cure) = cure {
            text.push_str(&format!("        cure: {cure}\n"));
        }
    }
    text
}

fn describe_pbx(pbx: &PbxReport) -> String {
    let mut text = format!("PBX {} ({})\n", pbx.pbx, pbx.kind);
    text.push_str(&describe_findings(&pbx.findings));
    if !pbx.endpoints.is_empty() {
        let online = pbx.endpoints.iter().filter(|e| e.state == "online").count();
        let all = pbx.endpoints.len();
        text.push_str(&format!("  {all} endpoints, {online} online\n"));
        for endpoint in shown(pbx) {
            let mut line = format!("        {}: {}", endpoint.name, endpoint.state);
            if !endpoint.codecs.is_empty() {
                line.push_str(&format!(", codecs {}", endpoint.codecs.join(" ")));
            }
            if endpoint.channels > 0 {
                line.push_str(&format!(", {} channels", endpoint.channels));
            }
            text.push_str(&line);
            text.push('\n');
        }
        if let Some(more) = all.checked_sub(ENDPOINTS_SHOWN_MAX).filter(|more| *more > 0) {
            text.push_str(&format!("        and {more} more (--json lists them)\n"));
        }
    }
    for queue in pbx.queues.iter().flatten() {
        text.push_str(&format!("  queue {}\n", queue.name));
        for member in &queue.members {
            let paused = if member.paused { ", paused" } else { "" };
            text.push_str(&format!(
                "        {} at {}: {}{paused}\n",
                member.name, member.interface, member.state
            ));
        }
    }
    text
}

/// Endpoints used by trunks come first, because a PBX has many more phones than trunks.
fn shown(pbx: &PbxReport) -> impl Iterator<Item = &Endpoint> {
    let (mut first, phones): (Vec<_>, Vec<_>) = pbx.endpoints.iter().partition(|endpoint| endpoint.is_trunk);
    first.extend(phones);
    first.into_iter().take(ENDPOINTS_SHOWN_MAX)
}

fn mark(grade: Grade) -> &'static str {
    match grade {
        Grade::Fine => "  ok   ",
        Grade::Warning => "  look ",
        Grade::Fault => "  FAULT",
    }
}
