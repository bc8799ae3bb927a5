//! Contact files from the command line into the store.
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as tests do"
)]

use paceline::import::{ImportError, Seen, run};
use paceline::metrics::Metrics;
use paceline::store::Store;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

fn import(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paceline"))
        .arg("import")
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The report without what differs from run to run.
fn timeless(report: &[u8]) -> String {
    let report = text(report);
    let cut = |line: &str| line.split(", in ").next().unwrap_or_default().to_owned();
    report.lines().map(cut).collect::<Vec<_>>().join("\n")
}

async fn store(folder: &Path) -> Store {
    let url = format!("sqlite:{}", folder.join("paceline.db").display());
    Store::open(&url, &Metrics::new()).await.unwrap()
}

const MESSY: &str = "\
Customer,Mobile,Time Zone,City
Contact 1,(202) 555-0123,America/New_York,\"Washington, DC\"
Contact 2,202-555-01,,
Contact 3,+1 202 555 0124,,Boston
Contact 4,12025550123,,Salem
Contact 5,2025550125,EST5,
";

#[test]
fn every_row_is_imported_counted_as_a_duplicate_or_named_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("contacts.csv"), MESSY).unwrap();
    let output = import(
        folder.path(),
        &["contacts.csv", "--list", "spring", "--region", "US"],
    );
    insta::assert_snapshot!(timeless(&output.stdout), @"
    number from `Mobile`; name from `Customer`; time zone from `Time Zone`; attributes from `City`
    line 3, column `Mobile`: too short for its country
    line 6, column `Time Zone`: not an IANA time zone: write one such as America/New_York
    5 rows = 2 imported + 1 duplicates + 2 rejected
      1 rejected: not an IANA time zone: write one such as America/New_York
      1 rejected: too short for its country
    The new contact list `spring` has the id 1.
    ");
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
}

#[test]
fn programs_get_json_lines() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("contacts.csv"), MESSY).unwrap();
    let args = ["contacts.csv", "--list", "spring", "--region", "US", "--json"];
    let output = text(&import(folder.path(), &args).stdout);
    let lines: Vec<serde_json::Value> = output.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let [columns, short, zone, summary] = lines.as_slice() else {
        panic!("{output}");
    };
    assert_eq!(columns["columns"]["number"]["header"], "Mobile");
    assert_eq!(short["rejected"]["line"], 3);
    assert_eq!(zone["rejected"]["column"], "Time Zone");
    assert_eq!(summary["summary"]["imported"], 2);
    assert!(!output.contains("555"), "a number is repeated: {output}");
}

#[test]
fn an_import_of_nothing_fails_and_makes_no_list() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("contacts.csv"), "number\n2025550123\n").unwrap();
    let output = import(folder.path(), &["contacts.csv", "--list", "spring"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(timeless(&output.stdout), @"
    number from `number`
    line 2, column `number`: no country code: write the number with + and its country code, or set a default region
    1 rows = 0 imported + 0 duplicates + 1 rejected
      1 rejected: no country code: write the number with + and its country code, or set a default region
    Nothing could be imported, so there is no new contact list.
    ");

    let output = import(folder.path(), &["absent.csv", "--list", "spring"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @"
    error: cannot read `absent.csv`
      because: No such file or directory (os error 2)
    ");
}

#[tokio::test]
async fn a_file_that_breaks_off_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut file = b"number,name\n".to_vec();
    for n in 0..5_000 {
        writeln!(file, "+1202555{:04},Contact", n % 100 + 100).unwrap();
    }
    file.extend(b"+12025550199,\"never closed");
    file.resize(file.len() + 3 * 1024 * 1024, b'x');
    let mut rows_told = 0;
    let watch = |seen: Seen<'_>| {
        if let Seen::SoFar(report, _) = seen {
            rows_told = report.rows;
        }
    };
    let result = run(&store, std::io::Cursor::new(file), "spring", None, watch).await;
    assert!(
        matches!(result, Err(ImportError::RecordTooLong { line: 5002 })),
        "{result:?}"
    );
    assert_eq!(rows_told, 4_000);
    assert!(store.contact_lists(None, 10).await.unwrap().is_empty());
    store.close().await;
}

#[tokio::test]
async fn the_shipped_contacts_are_all_taken_and_kept_with_their_zone_and_city() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let file = std::fs::File::open("data/demo-contacts.csv").unwrap();
    let report = run(&store, file, "demo", None, |_| ()).await.unwrap();
    assert_eq!((report.rows, report.imported, report.rejected), (4_000, 4_000, 0));
    let list = report.list_id.unwrap();
    assert_eq!(store.count_contacts(list).await.unwrap(), 4_000);
    let first = store.contacts(list, None, 1).await.unwrap().pop().unwrap();
    assert_eq!(first.name.as_deref(), Some("Contact 0001"));
    assert_eq!(first.time_zone.as_deref(), Some("America/New_York"));
    assert_eq!(
        first.attributes.get("city").map(String::as_str),
        Some("Washington")
    );
    store.close().await;
}
