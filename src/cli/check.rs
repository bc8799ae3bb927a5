//! `paceline config check`: shows a configuration file as understood, or what is wrong with it.

use super::say;
use crate::config::{Config, ConfigError, OutsideCheckConfig, PbxKind};
use serde_json::{Value, json};
use std::path::Path;

/// Shows the configuration without secrets.
pub(super) fn run(file: Option<&Path>, as_json: bool) -> anyhow::Result<()> {
    let loaded = Config::load(file);
    if as_json {
        say(&format!("{:#}\n", report(&loaded)))?;
    } else if let Ok(config) = &loaded {
        say(&describe(config))?;
    }
    match loaded {
        Err(_) if as_json => Err(super::AlreadyTold.into()),
        loaded => Ok(loaded.map(drop)?),
    }
}

fn report(loaded: &Result<Config, ConfigError>) -> Value {
    let config = match loaded {
        Ok(config) => config,
        Err(ConfigError::Invalid(problems)) => return json!({"ok": false, "problems": problems}),
        Err(error) => {
            let message = error.to_string();
            return json!({"ok": false, "problems": [{"message": message}]});
        }
    };
    let pbxes = config.pbxes.iter().map(|pbx| {
        let allowed = pbx.dial_allowed.to_string();
        let allowed: Vec<_> = allowed.split(", ").collect();
        let common = json!({"name": pbx.name, "agent_dial": pbx.agent_dial, "dial_allowed": allowed});
        let own = match &pbx.kind {
            PbxKind::Ari {
                url,
                username,
                app,
                password: _,
                authorities: _,
                ami,
            } => {
                let ami = ami
                    .as_ref()
                    .map(|ami| json!({"address": ami.address, "username": ami.username}));
                json!({"kind": "ari", "url": url, "username": username, "app": app, "ami": ami})
            }
            PbxKind::Esl {
                address,
                app,
                password: _,
            } => json!({"kind": "esl", "address": address, "app": app}),
            PbxKind::Sim { seed, speed } => json!({"kind": "sim", "seed": seed, "speed": speed}),
        };
        match (common, own) {
            (Value::Object(mut all), Value::Object(own)) => {
                all.extend(own);
                Value::Object(all)
            }
            (common, _) => common,
        }
    });
    json!({
        "ok": true,
        "file": config.file,
        "settings": {
            "server": {"listen": config.listen},
            "store": {"url": config.store.shown},
            "numbers": {"default_region": config.default_region},
            "ledger": {"checkpoints": config.ledger.checkpoints},
            "retention": {
                "audit_days": config.retention.audit_days,
                "decisions_days": config.retention.decisions_days,
                "import_rejects_days": config.retention.import_rejects_days,
                "opt_outs_days": config.retention.opt_outs_days,
                "outside_answers_days": config.retention.outside_answers_days,
            },
            "outside_check": config.outside_check.as_ref().map(outside_check),
            "log": {"json": config.log_json},
            "pbx": pbxes.collect::<Vec<_>>(),
        },
        "warnings": config.warnings(),
    })
}

fn outside_check(check: &OutsideCheckConfig) -> Value {
    json!({
        "url": check.url,
        "batch_size": check.batch_size,
        "requests_per_minute": check.requests_per_minute,
        "timeout_ms": u64::try_from(check.timeout.as_millis()).unwrap_or(u64::MAX),
        "ask_ahead_minutes": check.ask_ahead.as_secs() / 60,
        "on_outage": if check.open_because.is_some() { "open" } else { "closed" },
        "open_because": check.open_because,
    })
}

fn describe(config: &Config) -> String {
    let head = match &config.file {
        Some(file) => format!("`{}` is valid.", file.display()),
        None => "There is no paceline.toml here; these are the default settings.".to_owned(),
    };
    let region = config
        .default_region
        .as_deref()
        .unwrap_or("none (numbers without a country code are refused)");
    let mut rows = vec![
        ("listens on".to_owned(), config.listen.to_string()),
        ("keeps state in".to_owned(), config.store.shown.clone()),
        ("default region".to_owned(), region.to_owned()),
    ];
    if let Some(check) = &config.outside_check {
        let closed = if check.open_because.is_some() {
            "called"
        } else {
            "not called"
        };
        let what = format!("{}, unchecked numbers are {closed} during an outage", check.url);
        rows.push(("outside check".to_owned(), what));
    }
    for pbx in &config.pbxes {
        let what = match &pbx.kind {
            PbxKind::Ari {
                url,
                username,
                app,
                password: _,
                authorities: _,
                ami,
            } => {
                let queues = ami.as_ref().map(|ami| format!(", queues at {}", ami.address));
                let queues = queues.unwrap_or_default();
                format!("Asterisk at {url}, user `{username}`, application `{app}`{queues}")
            }
            PbxKind::Esl {
                address,
                app,
                password: _,
            } => format!("FreeSWITCH at {address}, channels marked `{app}`"),
            PbxKind::Sim { seed, speed } => format!("simulated, seed {seed}, {speed} times real time"),
        };
        let dial = String::from(pbx.agent_dial.clone());
        rows.push((
            format!("PBX `{}`", pbx.name),
            format!("{what}, agents by {dial}, trunks by {}", pbx.dial_allowed),
        ));
    }
    let width = rows
        .iter()
        .map(|(label, _)| label.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!("{head}\n");
    for (label, value) in rows {
        text.push_str(&format!("  {label:width$}  {value}\n"));
    }
    for warning in config.warnings() {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}
