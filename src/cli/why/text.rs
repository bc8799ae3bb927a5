//! The answers of the API as text for a terminal.

use serde_json::Value;
use std::fmt::Write as _;

/// Decisions and attempts that are shown; `--json` has more.
const SHOWN_MAX: usize = 10;

pub(super) fn task(answer: &Value) -> String {
    let mut out = format!("{}\n\n", text(answer, "summary"));
    let counts = ["due", "outside_hours", "later", "leased", "done", "denied"];
    let contacts = answer.get("contacts").unwrap_or(&Value::Null);
    let counts: Vec<_> = counts
        .iter()
        .map(|name| format!("{} {}", text(contacts, name), name.replace('_', " ")))
        .collect();
    line(&mut out, &format!("Contacts: {}", counts.join(", ")));
    for (n, blocker) in (1..).zip(list(answer, "blockers")) {
        line(
            &mut out,
            &format!("{n}. {}: {}", text(blocker, "kind"), text(blocker, "explanation")),
        );
        for rule in list(blocker, "rules") {
            let (profile, id) = (text(rule, "profile"), text(rule, "rule"));
            let contacts = text(rule, "contacts");
            line(
                &mut out,
                &format!(
                    "     {contacts} by {profile} {id}{}: {}",
                    citation(rule),
                    text(rule, "example")
                ),
            );
        }
    }
    out
}

pub(super) fn number(answer: &Value) -> String {
    let mut out = format!("{}\n\n", text(answer, "summary"));
    let place = answer.get("place").unwrap_or(&Value::Null);
    let where_it_is = [
        ("country", text(place, "country")),
        ("states", joined(place, "states")),
        ("time zones", joined(place, "time_zones")),
    ];
    let where_it_is: Vec<_> = where_it_is
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    line(
        &mut out,
        &format!("Number {}: {}", text(answer, "number"), where_it_is.join("; ")),
    );
    for entry in list(answer, "do_not_call") {
        let until = match text(entry, "expires_at") {
            end if end.is_empty() => String::new(),
            end => format!(" until {end}"),
        };
        line(
            &mut out,
            &format!(
                "On the do-not-call list for {} since {}{until}: {}",
                text(entry, "scope"),
                text(entry, "added_at"),
                text(entry, "reason")
            ),
        );
    }
    let lists = joined(answer, "suppression_lists");
    if !lists.is_empty() {
        line(&mut out, &format!("On the suppression lists {lists}"));
    }
    for campaign in list(answer, "campaigns") {
        let contact = match text(campaign, "contact_id") {
            id if id.is_empty() => String::new(),
            id => format!(", contact {id}"),
        };
        line(&mut out, "");
        line(
            &mut out,
            &format!(
                "Now, campaign `{}`{contact}: {}",
                text(campaign, "campaign"),
                text(campaign, "explanation")
            ),
        );
        reasons(&mut out, campaign);
        for task in list(campaign, "tasks") {
            line(
                &mut out,
                &format!("  task {}: {}", text(task, "task_id"), text(task, "explanation")),
            );
        }
        if let Some(next) = campaign.get("next_call_at").and_then(Value::as_str) {
            line(&mut out, &format!("  next: {next}"));
        }
    }
    before(&mut out, answer);
    out
}

fn before(out: &mut String, answer: &Value) {
    let decisions = list(answer, "decisions");
    if !decisions.is_empty() {
        line(out, "\nBefore:");
    }
    for decision in decisions.iter().take(SHOWN_MAX) {
        let until = match text(decision, "until") {
            end if end.is_empty() => String::new(),
            end => format!(" until {end}"),
        };
        line(
            out,
            &format!(
                "{} task {}: {}{until}",
                text(decision, "at"),
                text(decision, "task_id"),
                text(decision, "verdict")
            ),
        );
        if text(decision, "verdict") != "allow" {
            reasons(out, decision);
        }
    }
    let attempts = list(answer, "attempts");
    if !attempts.is_empty() {
        line(out, "\nAttempts:");
    }
    for attempt in attempts.iter().take(SHOWN_MAX) {
        let outcome = match text(attempt, "outcome") {
            none if none.is_empty() => "in progress".to_owned(),
            outcome => outcome,
        };
        let disposition = text(attempt, "disposition");
        line(
            out,
            format!(
                "{} task {}: {outcome} {disposition}",
                text(attempt, "created_at"),
                text(attempt, "task_id")
            )
            .trim_end(),
        );
    }
}

fn reasons(out: &mut String, of: &Value) {
    for reason in list(of, "reasons") {
        let (verdict, profile, rule) = (
            text(reason, "verdict"),
            text(reason, "profile"),
            text(reason, "rule"),
        );
        line(
            out,
            &format!(
                "  {verdict} by {profile} {rule}{}: {}",
                citation(reason),
                text(reason, "text")
            ),
        );
    }
}

fn citation(rule: &Value) -> String {
    match text(rule, "citation") {
        none if none.is_empty() => String::new(),
        citation => format!(" ({citation})"),
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{}", clean(text));
}

/// The text without what would steer the terminal: names in it are people's.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

/// The field as people read it; empty if there is none.
fn text(of: &Value, field: &str) -> String {
    match of.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn joined(of: &Value, field: &str) -> String {
    let items = list(of, field).iter().filter_map(Value::as_str);
    items.collect::<Vec<_>>().join(", ")
}
