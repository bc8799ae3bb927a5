//! `paceline ledger …`: checks, proves and exports the ledger on the machine with the store and the keys.

use super::say;
use crate::clock::Clock;
use crate::config::Config;
use crate::ledger::verify::{VerifyError, verify};
use crate::ledger::{Keys, export, keys_in_log};
use crate::store::{CheckpointFile, NewFact, Store, StoreMetrics};
use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use jiff::Timestamp;
use paceline_core::ids::AttemptId;
use paceline_core::number::E164;
use paceline_core::time::Wall;
use paceline_ledger::{Hash, KeyKind, Kind, PublicKey, SignedCheckpoint};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Print the log's public key. Give it to whoever checks the ledger. If the key was replaced, all keys follow each other, the first
    /// one first
    Key,
    /// Make a new key for checkpoints. The next start of `paceline serve` signs it in with the old one
    NewKey,
    /// Check every entry against its hash and every checkpoint. Exit code 1 if something is broken; the message names the first
    /// broken entry
    Verify {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Prove that the ledger has the decision that allowed an attempt. `paceline-ledger-verify proofs FILE` checks it offline
    Prove {
        /// Id of the attempt
        attempt: Uuid,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the whole ledger, or the entries of a selection with a proof for each, for `paceline-ledger-verify`
    Export(ExportArgs),
    /// Add a witness's signature to the checkpoint that it was given for
    Witness {
        /// The checkpoint with the witness's signature line
        file: PathBuf,
        /// The witness's public key
        #[arg(long)]
        key: PublicKey,
    },
    /// Erase the bodies of all entries about a number. Their hashes stay, and all proofs stay right
    Erase {
        /// The number in E.164, such as +12125550123
        number: String,
    },
    /// Begin a new file of checkpoints from the database, after the old one was lost or the database was restored from a backup. The
    /// old file is kept beside it, and the ledger records this
    Accept,
}

#[derive(clap::Args, Debug)]
pub(super) struct ExportArgs {
    /// Only entries of this campaign
    #[arg(long, value_name = "ID")]
    campaign: Option<u64>,
    /// Only entries about this number, in E.164
    #[arg(long)]
    number: Option<String>,
    /// Only entries from this time on, such as 2026-11-01T00:00:00Z
    #[arg(long)]
    from: Option<Timestamp>,
    /// Only entries before this time
    #[arg(long)]
    until: Option<Timestamp>,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(config: &Config, command: LedgerCommand) -> anyhow::Result<()> {
    let store = Store::open(config.store.url.expose_secret(), StoreMetrics::default()).await;
    let store = store.with_context(|| format!("cannot open the store `{}`", config.store.shown))?;
    let done = work(config, &store, command).await;
    store.close().await;
    done
}

async fn work(config: &Config, store: &Store, command: LedgerCommand) -> anyhow::Result<()> {
    let is_empty = store.ledger_size().await? == 0;
    let keys = Keys::open(config, store.installation().await?, is_empty)?;
    store.keep_ledger(keys.numbers.clone());
    let now = Clock::real().now().wall;
    match command {
        LedgerCommand::Key => show_keys(store, &keys).await,
        LedgerCommand::NewKey => replace_key(config, store, &keys).await,
        LedgerCommand::Verify { json } => check(store, &keys, json).await,
        LedgerCommand::Prove { attempt, json } => prove(store, AttemptId(attempt), json).await,
        LedgerCommand::Export(args) => write_export(store, &args).await,
        LedgerCommand::Witness { file, key } => witness(store, &file, &key, now).await,
        LedgerCommand::Erase { number } => {
            let number = E164::new(&number)
                .ok()
                .context("the number is not in E.164, such as +12125550123")?;
            number_all(store).await?;
            let erased = store.erase_number_from_ledger(&number, now).await?;
            number_all(store).await?;
            Ok(say(&format!("{erased} entries are erased; their hashes stay\n"))?)
        }
        LedgerCommand::Accept => accept(store, &keys, now).await,
    }
}

/// A running `serve` does not look for entries of other processes.
async fn number_all(store: &Store) -> anyhow::Result<()> {
    while store.number_ledger().await?.numbered > 0 {}
    Ok(())
}

async fn show_keys(store: &Store, keys: &Keys) -> anyhow::Result<()> {
    let named = keys_in_log(store).await?.into_iter().map(|(_, key)| key);
    let mut all: Vec<PublicKey> = Vec::new();
    for key in named.chain([keys.signing.public().clone()]) {
        if !all.contains(&key) {
            all.push(key);
        }
    }
    Ok(say(&all
        .iter()
        .map(|key| format!("{key}\n"))
        .collect::<String>())?)
}

async fn replace_key(config: &Config, store: &Store, keys: &Keys) -> anyhow::Result<()> {
    let last = store.last_ledger_checkpoint().await?.and_then(|row| row.note);
    ensure!(
        last.is_some_and(|last| last.is_signed_by(keys.signing.public())),
        "the present key has signed no checkpoint yet, so it cannot sign another key in: start `paceline serve` first"
    );
    Keys::replace_signing(config)?;
    Ok(say(
        "A new key is made. The old one is kept beside it as `.old`: the next start of `paceline serve` signs the new key in with it, \
         and uses the new one from then on. Back the new key file up.\n",
    )?)
}

async fn check(store: &Store, keys: &Keys, as_json: bool) -> anyhow::Result<()> {
    match verify(store, keys).await {
        Ok(found) if as_json => {
            let (entries, erased) = (found.entries, found.erased);
            let found = json!({"ok": true, "entries": entries, "erased": erased, "checkpoints": found.checkpoints, "covered": found.covered});
            Ok(say(&format!("{found}\n"))?)
        }
        Ok(found) => Ok(say(&format!(
            "The ledger is whole: {} entries, {} of them erased; {} checkpoints in the database and in the file agree with it, the last at {}.\n",
            found.entries, found.erased, found.checkpoints, found.covered
        ))?),
        Err(VerifyError::Broken(what)) if as_json => {
            say(&format!("{}\n", json!({"ok": false, "broken": what})))?;
            Err(super::AlreadyTold.into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn prove(store: &Store, id: AttemptId, as_json: bool) -> anyhow::Result<()> {
    let attempt = store
        .attempt(id)
        .await?
        .context("there is no attempt with this id")?;
    let entry = store.ledger_entry_of_attempt(id, attempt.created_at).await?;
    let entry = entry.context("the ledger has no entry of this attempt: it was stored a moment ago, is erased, or is older than the ledger")?;
    let proof = export::prove(store, entry).await?;
    let proof = proof
        .context("no checkpoint covers the entry yet: `paceline serve` publishes one every ten seconds")?;
    if !as_json {
        std::io::stdout().write_all(&proof.encode()?)?;
        return Ok(());
    }
    let path: Vec<u8> = proof
        .path
        .iter()
        .flat_map(|hash: &Hash| *hash.as_bytes())
        .collect();
    let json = json!({
        "entry": STANDARD.encode(&proof.entry),
        "index": proof.index,
        "size": proof.size,
        "path": STANDARD.encode(path),
        "signature": STANDARD.encode(proof.signature),
    });
    Ok(say(&format!("{json}\n"))?)
}

async fn write_export(store: &Store, args: &ExportArgs) -> anyhow::Result<()> {
    let number = args.number.as_deref().map(E164::new).transpose();
    let number = number
        .ok()
        .context("the number is not in E.164, such as +12125550123")?;
    let wall = |at: Timestamp| Wall(at.as_millisecond());
    let selection = export::Selection {
        campaign: args.campaign,
        number: number.and_then(|number| store.number_in_ledger(&number)),
        times: args.from.map_or(Wall(i64::MIN), wall)..args.until.map_or(Wall(i64::MAX), wall),
    };
    let out: Box<dyn Write> = match &args.out {
        Some(file) => {
            let file =
                std::fs::File::create(file).with_context(|| format!("cannot write `{}`", file.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let is_whole = selection == export::Selection::everything();
    let written = match is_whole {
        true => export::whole(store, out).await?,
        false => export::selected(store, &selection, out).await?,
    };
    if args.out.is_some() {
        say(&format!("{written} entries are written\n"))?;
    }
    Ok(())
}

async fn witness(store: &Store, file: &Path, key: &PublicKey, now: Wall) -> anyhow::Result<()> {
    ensure!(key.kind() == KeyKind::Witness, "this is not the key of a witness");
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let given: SignedCheckpoint = text.parse()?;
    let size = given.checkpoint.size;
    let stored = store
        .ledger_checkpoints(size, 1)
        .await?
        .pop()
        .and_then(|row| row.note);
    let Some(mut stored) = stored.filter(|stored| stored.checkpoint == given.checkpoint) else {
        bail!(
            "this ledger has no such checkpoint at {size}: the witness saw another log, or this one was changed"
        );
    };
    let line = given
        .signatures
        .into_iter()
        .find(|line| key.signed(&stored.checkpoint, line));
    let line = line.with_context(|| format!("`{}` has not signed this checkpoint", key.name()))?;
    stored
        .signatures
        .retain(|old| old.id != line.id || old.name != line.name);
    stored.signatures.push(line);
    store.store_checkpoint(&stored, now).await?;
    Ok(say(&format!(
        "`{}` has co-signed the checkpoint at {size}\n",
        key.name()
    ))?)
}

async fn accept(store: &Store, keys: &Keys, now: Wall) -> anyhow::Result<()> {
    let path = keys.checkpoints.path();
    let size = store.ledger_size().await?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = CheckpointFile::new(PathBuf::from(fresh));
    std::fs::remove_file(fresh.path()).ok();
    let mut from = 0;
    loop {
        let rows = store.ledger_checkpoints(from, 500).await?;
        let Some(last) = rows.last() else { break };
        from = last.size + 1;
        for note in rows.iter().filter_map(|row| row.note.as_ref()) {
            ensure!(
                note.checkpoint.size <= size,
                "the database has a checkpoint after its last entry: restore it from a backup"
            );
            fresh.append(note)?;
        }
    }
    if path.exists() {
        let mut old = path.as_os_str().to_owned();
        old.push(format!(".until-{}", now.0));
        std::fs::rename(path, &old).context("cannot keep the old file of checkpoints")?;
    }
    if fresh.path().exists() {
        std::fs::rename(fresh.path(), path).context("cannot put the new file of checkpoints in its place")?;
    }
    let fact = NewFact {
        kind: Kind::Accepted,
        at: now,
        number: None,
        campaign: None,
        body: format!("{{\"size\":{size}}}"),
    };
    store.record_fact(&fact).await?;
    number_all(store).await?;
    Ok(say(
        "A new file of checkpoints begins, and the ledger says so. Keep the old file for auditors.\n",
    )?)
}
