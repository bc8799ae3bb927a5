//! `paceline import`: a contact file into a contact list, with a word on every row that was not taken.

use super::screen::Screen;
use super::signals::Signals;
use super::{AlreadyTold, say};
use crate::clock::Clock;
use crate::config::Config;
use crate::import::{
    self, ContactFile, Ended, ImportError, Job, Mapping, Report, Seen, Settings, Shape, per_second,
};
use crate::numbers::Notation;
use crate::store::{ImportInto, StagedReject, Store, StoreMetrics};
use anyhow::Context as _;
use clap::Args;
use paceline_core::ids::{ContactListId, ImportId};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest name, in characters; the API has the same.
const NAME_CHARS_MAX: usize = 200;
/// Interval of the JSON lines with the progress.
const WRITE_EVERY: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
#[group(skip)]
pub(super) struct ImportArgs {
    /// A CSV or Excel (.xlsx) file. Paceline finds its encoding, separator, header and columns, and shows them. One column must
    /// be the number. Columns that Paceline does not know are kept as attributes.
    #[arg(required_unless_present_any = ["publish", "cancel"])]
    file: Option<PathBuf>,
    /// Name of the new contact list.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["into", "resume", "publish", "cancel"])]
    list: Option<String>,
    /// Add the contacts to this contact list instead. A row of a contact that is in the list fills its blank fields and replaces
    /// nothing.
    #[arg(long, value_name = "LIST_ID", conflicts_with = "list")]
    into: Option<i64>,
    /// Region of numbers without a country code, such as US [default: the configuration's default_region].
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Meaning of a column. FIELD is number, country, area_code, name, time_zone, external_id, tags, tier, language, state,
    /// postal_code, consent, consent_scope, consent_granted_at, consent_expires_at, consent_proof or ignore. COLUMN is a header, or
    /// #2 for the second column. Numbers may be in several columns, --column number=Mobile,Office: the first that no
    /// do-not-call list holds is dialed.
    #[arg(long, value_name = "FIELD=COLUMN")]
    column: Vec<String>,
    /// Notation of numbers without a +: national (as in their region) or international (with their country code). Needed if
    /// the numbers can be read in both ways.
    #[arg(long, value_name = "HOW", value_parser = written)]
    numbers: Option<Notation>,
    /// Countries whose numbers are taken, such as US,CA, or any [default: the region, and the countries that a column names].
    #[arg(long, value_name = "COUNTRIES", value_delimiter = ',')]
    countries: Option<Vec<String>>,
    /// Take premium-rate numbers too. Calls to them cost the caller extra.
    #[arg(long)]
    premium_rate: bool,
    /// The first line is a contact, not a header. Name columns by their place, as in --column name=#2.
    #[arg(long)]
    no_header: bool,
    /// Encoding of the file, such as windows-1252 or gb18030, if the guess is wrong.
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Sheet of an Excel file [default: the first].
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// Make the contacts visible without asking. For scripts.
    #[arg(long, conflicts_with = "stage")]
    yes: bool,
    /// Stop before the contacts become visible. --publish makes them visible, --cancel deletes them.
    #[arg(long)]
    stage: bool,
    /// Continue an interrupted import, with the same file.
    #[arg(long, value_name = "IMPORT_ID", conflicts_with_all = ["list", "into", "region", "column", "numbers", "countries", "premium_rate", "no_header", "encoding", "sheet"])]
    resume: Option<i64>,
    /// Make the staged contacts of an import visible.
    #[arg(long, value_name = "IMPORT_ID", conflicts_with_all = ["file", "list", "into", "resume"])]
    publish: Option<i64>,
    /// Delete the contacts that an import has staged.
    #[arg(long, value_name = "IMPORT_ID", conflicts_with_all = ["file", "list", "into", "resume", "publish"])]
    cancel: Option<i64>,
    /// Write JSON lines: the findings in the file, each rejected row, progress once a second, then a summary.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: ImportArgs, screen: &Screen) -> anyhow::Result<()> {
    let store = Store::open(config.store.url.expose_secret(), StoreMetrics::default()).await;
    let store = store.with_context(|| format!("cannot open the store `{}`", config.store.shown))?;
    let done = match (args.publish, args.cancel) {
        (Some(id), _) => publish(&store, ImportId(id)).await,
        (_, Some(id)) => cancel(&store, ImportId(id)).await,
        _ => import(config, &store, &args, screen).await,
    };
    store.close().await;
    done
}

async fn publish(store: &Store, id: ImportId) -> anyhow::Result<()> {
    if !import::publish(store, id, Clock::real()).await? {
        anyhow::bail!(
            "import {id} has nothing to publish: it does not exist, is not read to its end, or is over"
        );
    }
    let report = import::report(store, id).await?;
    say(&published(&report))?;
    Ok(())
}

async fn cancel(store: &Store, id: ImportId) -> anyhow::Result<()> {
    if !store.clear_import(id, None).await? {
        anyhow::bail!("import {id} cannot be cancelled: it does not exist, or is over");
    }
    say(&format!("Import {id} is cancelled; nothing of it is left.\n"))?;
    Ok(())
}

async fn import(config: &Config, store: &Store, args: &ImportArgs, screen: &Screen) -> anyhow::Result<()> {
    let path = args.file.clone().unwrap_or_default();
    let cannot = || format!("cannot import `{}`; nothing of it is kept", path.display());
    let clock = Clock::real();
    // A crash may have interrupted the end of earlier imports.
    let cleared = store.clear_cancelled_imports().await.map(drop);
    let filled = async { store.fill_published_imports().await?.2.none() };
    for failed in [cleared, filled.await].into_iter().filter_map(Result::err) {
        let cause = anyhow::Error::from(failed);
        screen.tell(&format!("an earlier import could not be completed: {cause:#}\n"));
    }
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let job = match args.resume {
        Some(id) => {
            let row = store.import(ImportId(id)).await?;
            let row = row.with_context(|| format!("there is no import {id}"))?;
            let settings =
                serde_json::from_str(&row.settings).context("the import's settings cannot be read")?;
            let file = open(&path, settings).await?;
            Job::resume(store, file, ImportId(id), clock)
                .await
                .with_context(cannot)?
        }
        None => {
            let into = into(args)?;
            let file = open(&path, settings(config, args)?).await?;
            if args.json {
                say(&format!("{}\n", json!({"file": file.shape()})))?;
            } else {
                say(&describe(file.shape()))?;
            }
            Job::begin(store, file, &into, clock).await.with_context(cannot)?
        }
    };
    if let Some(note) = import::same_name(store, job.row()).await? {
        say(&match args.json {
            true => format!("{}\n", json!({"note": note})),
            false => format!("{note}\n"),
        })?;
    }
    let id = job.row().id;
    let rows_before = job.row().rows_read;
    let is_sheet = args.file.as_deref().is_some_and(is_sheet);
    let mut display = ImportDisplay::new(args.json, is_sheet, rows_before, screen);
    let ended = job
        .run(clock, |seen| display.take(seen), async { signals.next().await })
        .await;
    display.line.finish_and_clear();
    let ended = match ended {
        Err(error @ ImportError::Store(_)) => {
            let file = path.display();
            let how = format!(
                "import {id} was interrupted, and nobody sees anything of it. Go on, from a minute later: \
                 `paceline import {file} --resume {id}`; throw it away: `paceline import --cancel {id}`"
            );
            return Err(anyhow::Error::from(error).context(how));
        }
        ended => ended.with_context(cannot)?,
    };
    let elapsed = display.started.elapsed();
    match ended {
        Ended::Staged(report) if args.stage => {
            summary(&report, elapsed, args.json, "staged")?;
            if !args.json {
                say(&not_visible(id))?;
            }
        }
        Ended::Staged(report) => {
            if !args.json {
                summary(&report, elapsed, false, "staged")?;
            }
            if !args.yes && !agreed(args.json, screen)? {
                let why = "the contacts are not visible yet, because nobody has agreed to the numbers above";
                anyhow::bail!(
                    "{why}. {} With --yes an import does not ask",
                    not_visible(id).trim_end()
                );
            }
            if !import::publish(store, id, clock).await? {
                anyhow::bail!("import {id} was stopped or cancelled by somebody else");
            }
            if args.json {
                summary(&report, elapsed, true, "published")?;
            } else {
                say(&published(&report))?;
            }
        }
        Ended::Nothing(report) => {
            summary(&report, elapsed, args.json, "failed")?;
            if !args.json {
                let why = match report.rows {
                    0 => "There is no row under the header",
                    _ => "No row could be taken",
                };
                say(&format!("{why}, so nothing is kept.\n"))?;
            }
            return Err(AlreadyTold.into());
        }
        Ended::Stopped => {
            if args.json {
                say(&format!("{}\n", json!({"stopped": {"import_id": id}})))?;
            } else {
                let file = path.display();
                say(&format!(
                    "Stopped. Nobody sees anything of it. Go on: `paceline import {file} --resume {id}`; throw it away: \
                     `paceline import --cancel {id}`.\n"
                ))?;
            }
            return Err(AlreadyTold.into());
        }
        Ended::TakenAway => anyhow::bail!("import {id} was stopped or cancelled by somebody else"),
    }
    display.broken?;
    Ok(())
}

fn not_visible(id: ImportId) -> String {
    format!(
        "Nobody sees them yet: `paceline import --publish {id}` shows them, `--cancel {id}` throws them away.\n"
    )
}

/// Asks whether the contacts are to become visible. Without a terminal nobody can agree.
fn agreed(json: bool, screen: &Screen) -> std::io::Result<bool> {
    if json || !screen.is_live() || !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    screen.tell("Make these contacts visible? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().take(64).read_line(&mut answer)?;
    Ok(means_yes(&answer))
}

fn means_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn is_sheet(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("xlsx"))
}

async fn open(path: &Path, settings: Settings) -> anyhow::Result<Arc<ContactFile>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let opened = tokio::task::spawn_blocking(move || ContactFile::open(file, settings)).await?;
    let opened =
        opened.with_context(|| format!("cannot import `{}`; nothing of it is kept", path.display()))?;
    Ok(Arc::new(opened))
}

fn settings(config: &Config, args: &ImportArgs) -> anyhow::Result<Settings> {
    let mut mapping = Mapping {
        no_header: args.no_header,
        ..Mapping::default()
    };
    for column in &args.column {
        mapping
            .add(column)
            .with_context(|| format!("cannot use `--column {column}`"))?;
    }
    Ok(Settings {
        region: args.region.clone().or_else(|| config.default_region.clone()),
        encoding: args.encoding.clone(),
        sheet: args.sheet.clone(),
        mapping,
        numbers: args.numbers.unwrap_or_default(),
        countries: args.countries.clone(),
        premium_rate: args.premium_rate,
    })
}

fn written(text: &str) -> Result<Notation, String> {
    text.parse()
        .map_err(|error: crate::numbers::NotANotation| error.to_string())
}

fn into(args: &ImportArgs) -> anyhow::Result<ImportInto> {
    if let Some(list) = args.into {
        return Ok(ImportInto::List(ContactListId(list)));
    }
    let name = args.list.clone().unwrap_or_default();
    if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) {
        anyhow::bail!("a list's name has 1 to {NAME_CHARS_MAX} characters");
    }
    Ok(ImportInto::NewList(name))
}

/// The progress display while the file is read.
struct ImportDisplay<'a> {
    json: bool,
    is_sheet: bool,
    rows_before: u64,
    screen: &'a Screen,
    line: indicatif::ProgressBar,
    started: Instant,
    written_at: Instant,
    /// The first failure is kept; the import goes on, as its list matters more than its report.
    broken: std::io::Result<()>,
}

impl<'a> ImportDisplay<'a> {
    fn new(json: bool, is_sheet: bool, rows_before: u64, screen: &'a Screen) -> Self {
        let now = Instant::now();
        Self {
            json,
            is_sheet,
            rows_before,
            screen,
            line: screen.line(),
            started: now,
            written_at: now,
            broken: Ok(()),
        }
    }

    fn say(&mut self, text: &str) {
        let said = self.screen.around(|| say(text));
        if self.broken.is_ok() {
            self.broken = said;
        }
    }

    fn take(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Rejected(reject) if self.json => self.say(&format!("{}\n", json!({"rejected": reject}))),
            Seen::Rejected(reject) => self.say(&format!("{}\n", rejected(reject, self.is_sheet))),
            Seen::SoFar(progress) => {
                let rate = per_second(
                    progress.rows - self.rows_before.min(progress.rows),
                    self.started.elapsed(),
                );
                let percent = progress.done_permille / 10;
                self.line
                    .set_message(format!("{percent} % · {} rows, {rate}/s", progress.rows));
                if self.json && self.written_at.elapsed() >= WRITE_EVERY {
                    self.written_at = Instant::now();
                    self.say(&format!(
                        "{}\n",
                        json!({"progress": progress, "rows_per_second": rate})
                    ));
                }
            }
        }
    }
}

fn rejected(reject: &StagedReject, is_sheet: bool) -> String {
    let StagedReject { line, field, reason } = reject;
    let place = if is_sheet { "row" } else { "line" };
    match field {
        Some(column) => format!("{place} {line}, column `{column}`: {reason}"),
        None => format!("{place} {line}: {reason}"),
    }
}

/// The findings in the file as text, one line each.
fn describe(shape: &Shape) -> String {
    let Shape {
        format,
        encoding,
        encoding_guessed,
        separator,
        sheet,
        other_sheets,
        header_line,
        rows_above_header,
        columns,
    } = shape;
    let mut parts = vec![if *format == "xlsx" {
        "Excel".to_owned()
    } else {
        "CSV".to_owned()
    }];
    parts.extend(encoding.map(|e| match encoding_guessed {
        true => format!("encoding {e}, guessed (say --encoding if names look wrong)"),
        false => format!("encoding {e}"),
    }));
    parts.extend(separator.map(|s| match s {
        ',' => "separated by commas".to_owned(),
        ';' => "separated by semicolons".to_owned(),
        '\t' => "separated by tabs".to_owned(),
        other => format!("separated by `{other}`"),
    }));
    parts.extend(sheet.as_ref().map(|s| format!("sheet `{s}`")));
    parts.push(match header_line {
        Some(row) if sheet.is_some() => format!("header in row {row}"),
        Some(line) => format!("header in line {line}"),
        None => "no header".to_owned(),
    });
    let mut text = format!("{}\n{}\n", parts.join(", "), columns.describe());
    match rows_above_header {
        0 => {}
        1 => text.push_str("1 line above the header is left out\n"),
        n => text.push_str(&format!("{n} lines above the header are left out\n")),
    }
    if !other_sheets.is_empty() {
        let others = other_sheets.join("`, `");
        text.push_str(&format!(
            "not read: sheet `{others}` (--sheet NAME reads another)\n"
        ));
    }
    text
}

fn summary(report: &Report, elapsed: Duration, as_json: bool, state: &str) -> std::io::Result<()> {
    if as_json {
        let seconds = elapsed.as_secs_f64();
        return say(&format!(
            "{}\n",
            json!({"summary": report, "state": state, "seconds": seconds})
        ));
    }
    say(&summary_text(report, elapsed))
}

fn summary_text(report: &Report, elapsed: Duration) -> String {
    let Report {
        import_id: _,
        list_id: _,
        rows,
        imported,
        duplicates,
        listed,
        filled,
        numbers_left_out,
        rejected,
        reasons,
        repairs,
        numbers,
    } = report;
    let rate = per_second(*rows, elapsed);
    let seconds = elapsed.as_secs_f64();
    let mut text = format!("{rows} rows = {imported} imported + {duplicates} duplicates in the file");
    if *listed > 0 {
        text.push_str(&format!(
            " + {listed} in the list already ({filled} of them gain something)"
        ));
    }
    text.push_str(&format!(" + {rejected} rejected, in {seconds:.1} s ({rate}/s)\n"));
    for (reason, count) in reasons {
        text.push_str(&format!("  {count} rejected: {reason}\n"));
    }
    for (what, count) in repairs {
        text.push_str(&format!("  {count} {what}\n"));
    }
    if *numbers_left_out > 0 {
        text.push_str(&format!(
            "  {numbers_left_out} left out: a further number that another contact of the list has\n"
        ));
    }
    for (country, kinds) in numbers {
        let kinds = kinds
            .iter()
            .map(|(kind, count)| format!("{count} {}", kind.replace('_', " ")));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        text.push_str(&format!("  numbers in {country}: {kinds}\n"));
    }
    text
}

fn published(report: &Report) -> String {
    match report.list_id {
        Some(id) => format!("They are in contact list {id}.\n"),
        None => String::new(),
    }
}
