//! Contact files from the command line into the store.
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as tests do"
)]

#[cfg(test)]
#[path = "import/told.rs"]
mod told;

use paceline::clock::Clock;
use paceline::import::{ContactFile, Ended, ImportError, Job, Seen, Settings, run};
use paceline::store::{ImportInto, ImportState, Store, StoreMetrics};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use told::{contacts, told_of};

/// There is no terminal, so `--yes` confirms the import.
fn import(folder: &Path, args: &[&str]) -> Output {
    let asks = !["--stage", "--publish", "--cancel"]
        .iter()
        .any(|arg| args.contains(arg));
    import_without_yes(folder, &[args, if asks { &["--yes"] } else { &[] }].concat())
}

fn import_without_yes(folder: &Path, args: &[&str]) -> Output {
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

/// The report without the values that differ from run to run.
fn timeless(report: &[u8]) -> String {
    let report = text(report);
    let cut = |line: &str| line.split(", in ").next().unwrap_or_default().to_owned();
    report.lines().map(cut).collect::<Vec<_>>().join("\n")
}

async fn store(folder: &Path) -> Store {
    let url = format!("sqlite:{}", folder.join("paceline.db").display());
    Store::open(&url, StoreMetrics::default()).await.unwrap()
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
    CSV, encoding UTF-8, separated by commas, header in line 1
    number from `Mobile`; name from `Customer`; time zone from `Time Zone`; attributes from `City`
    line 3, column `Mobile`: too short for its country (read as a number in US)
    line 6, column `Time Zone`: this is not an IANA time zone: use one such as America/New_York
    5 rows = 2 imported + 1 duplicates in the file + 2 rejected
      1 rejected: this is not an IANA time zone: use one such as America/New_York
      1 rejected: too short for its country (read as a number in US)
      numbers in US: 3 fixed or mobile
    They are in contact list 1.
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
    let [file, short, zone, summary] = lines.as_slice() else {
        panic!("{output}");
    };
    assert_eq!(file["file"]["columns"]["numbers"][0]["header"], "Mobile");
    assert_eq!(short["rejected"]["line"], 3);
    assert_eq!(zone["rejected"]["field"], "Time Zone");
    assert_eq!(summary["summary"]["imported"], 2);
    assert_eq!(summary["state"], "published");
    assert!(!output.contains("555-"), "a number is repeated: {output}");
}

#[test]
fn an_import_of_nothing_fails_and_makes_no_list() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("contacts.csv"), "number\n2025550123\n").unwrap();
    let output = import(folder.path(), &["contacts.csv", "--list", "spring"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(timeless(&output.stdout), @"
    CSV, encoding UTF-8, separated by commas, header in line 1
    number from `number`
    line 2, column `number`: no country code: write the number with + and its country code, or set a default region
    1 rows = 0 imported + 0 duplicates in the file + 1 rejected
      1 rejected: no country code: write the number with + and its country code, or set a default region
    No row could be taken, so nothing is kept.
    ");

    let output = import(folder.path(), &["absent.csv", "--list", "spring"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @"
    error: cannot read `absent.csv`
      because: No such file or directory (os error 2)
    ");
}

/// Each file is wrong in its own way. The snapshot has the messages to the user and the imported contacts.
#[tokio::test(flavor = "multi_thread")]
async fn each_ugly_file_gets_a_clear_answer() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    let mut names: Vec<_> = std::fs::read_dir(&data)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut answers = String::new();
    for name in &names {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(data.join(name), folder.path().join(name)).unwrap();
        let german = ["bom", "de-"].iter().any(|start| name.starts_with(start));
        let region = if german { "DE" } else { "US" };
        let output = import(folder.path(), &[name, "--list", "ugly", "--region", region]);
        let told = text(&output.stderr) + &timeless(&output.stdout);
        answers.push_str(&format!("## {name}\n{}\n", told.trim_end()));
        let store = store(folder.path()).await;
        let lists = store.contact_lists(None, 10).await.unwrap();
        for list in &lists {
            for row in contacts(&store, list.id).await {
                answers.push_str(&told_of(row));
            }
        }
        assert_eq!(
            lists.is_empty(),
            output.status.code() != Some(0),
            "{name}: {told}"
        );
        let digits = told.split(|c: char| !c.is_ascii_digit());
        assert!(
            digits.into_iter().all(|d| d.len() < 7),
            "{name}: a number is repeated: {told}"
        );
        answers.push('\n');
        store.close().await;
    }
    assert!(names.len() >= 20, "{names:?}");
    insta::assert_snapshot!("ugly", answers);
}

#[test]
fn explicit_settings_of_a_file_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    for (name, args, told) in [
        ("no-header.csv", &["--no-header"][..], "number from `column 2`"),
        (
            "unknown-header.csv",
            &["--column", "number=Kontaktweg"],
            "number from `Kontaktweg`",
        ),
        (
            "two-columns-of-one-name.csv",
            &["--column", "ignore=#3"],
            "left out: `note`",
        ),
        (
            "nameless-column.csv",
            &["--column", "ignore=#1"],
            "left out: column 1",
        ),
        (
            "numbers-as-quantities.xlsx",
            &["--sheet", "Old list"],
            "sheet `Old list`",
        ),
        (
            "windows-1252.csv",
            &["--encoding", "latin1"],
            "encoding windows-1252, separated",
        ),
    ] {
        std::fs::copy(data.join(name), folder.path().join(name)).unwrap();
        let mut all = vec![name, "--list", "x", "--region", "US"];
        all.extend(args);
        let output = import(folder.path(), &all);
        let said = text(&output.stdout);
        assert!(said.contains(told), "{name}: {said}{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
    }
}

/// The messages of an import, and the numbers in the store.
async fn imported(args: &[&str]) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    let name = args.first().unwrap();
    std::fs::copy(data.join(name), folder.path().join(name)).unwrap();
    let output = import(folder.path(), &[args, &["--list", "x"]].concat());
    let store = store(folder.path()).await;
    let mut numbers = Vec::new();
    for list in store.contact_lists(None, 10).await.unwrap() {
        for row in contacts(&store, list.id).await {
            let first = row.contact.numbers.first();
            numbers.extend(first.map(|n| n.number.expose().to_owned()));
        }
    }
    store.close().await;
    (text(&output.stdout) + &text(&output.stderr), numbers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_may_be_two_numbers_is_read_as_the_user_decides() {
    let file = "de-international-without-plus.csv";
    let (told, numbers) = imported(&[file, "--region", "DE"]).await;
    assert!(told.contains("Say which they are"), "{told}");
    assert_eq!(numbers, [""; 0]);
    let answered = [
        file,
        "--region",
        "DE",
        "--numbers",
        "international",
        "--countries",
        "DE,GB,FR",
    ];
    let (told, numbers) = imported(&answered).await;
    let all = ["+491713920012", "+4917604069012", "+442079460123", "+33199001234"];
    assert_eq!(numbers, all, "{told}");
    let shown = [
        "de-plus-as-number-format.xlsx",
        "--region",
        "DE",
        "--countries",
        "any",
    ];
    let (told, numbers) = imported(&shown).await;
    assert_eq!(
        numbers,
        ["+491713920012", "+442079460123", "+33199001234"],
        "{told}"
    );
    assert!(told.contains("numbers in FR: 1 fixed"), "{told}");
    let dear = [
        "premium-rate-and-foreign.csv",
        "--region",
        "US",
        "--premium-rate",
        "--countries",
        "US,CA",
    ];
    let (told, numbers) = imported(&dear).await;
    assert!(numbers.contains(&"+19002345678".to_owned()), "{told}");
    assert!(numbers.contains(&"+14165550123".to_owned()), "{told}");
    assert!(
        told.contains("numbers in US: 2 fixed or mobile, 1 premium rate, 1 toll free"),
        "{told}"
    );
    let (told, _) = imported(&["de-msisdn.csv", "--countries", "DE,XX"]).await;
    assert!(told.contains("`XX` is not a country"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_with_numbers_and_their_country_can_be_configured() {
    let said = [
        "several-telephone-columns.csv",
        "--region",
        "US",
        "--column",
        "number=Home Phone,Mobile",
    ];
    let (told, numbers) = imported(&said).await;
    assert!(
        told.contains("numbers, the first allowed one is dialed, from `Home Phone`, `Mobile`"),
        "{told}"
    );
    assert_eq!(
        numbers,
        ["+12025550123", "+12025550125", "+12025550127", "+12025550128"]
    );
    let ignored = [
        "phone-code-column.csv",
        "--region",
        "US",
        "--column",
        "ignore=phone_code",
    ];
    let (told, _) = imported(&ignored).await;
    assert!(told.contains("left out: `phone_code`"), "{told}");
    let named = [
        "phone-code-column.csv",
        "--region",
        "US",
        "--column",
        "country=phone_code",
    ];
    let (_, numbers) = imported(&named).await;
    assert_eq!(numbers, ["+442079460123", "+493031234567", "+12025550123"]);
}

#[test]
fn an_import_under_an_existing_name_explains_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("contacts.csv"), MESSY).unwrap();
    let args = ["contacts.csv", "--list", "spring", "--region", "US"];
    assert!(!text(&import(folder.path(), &args).stdout).contains("already"));
    let again = text(&import(folder.path(), &args).stdout);
    assert!(
        again.contains("contact list 1 has this name already: this import makes list 2 beside it"),
        "{again}"
    );
    assert!(again.contains("`--into 1`"), "{again}");
}

#[test]
fn an_import_can_be_staged_then_published_or_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("contacts.csv"), MESSY).unwrap();
    for _ in 0..2 {
        let args = ["contacts.csv", "--list", "spring", "--region", "US", "--stage"];
        assert_eq!(import(folder.path(), &args).status.code(), Some(0));
    }
    let told = |args: &[&str]| {
        let output = import(folder.path(), args);
        text(&output.stdout) + &text(&output.stderr)
    };
    assert_eq!(told(&["--publish", "1"]), "They are in contact list 1.\n");
    assert_eq!(
        told(&["--cancel", "2"]),
        "Import 2 is cancelled; nothing of it is left.\n"
    );
    assert!(told(&["--publish", "2"]).contains("has nothing to publish"));
    let into = told(&["contacts.csv", "--into", "1", "--region", "US"]);
    assert!(
        into.contains("0 imported + 0 duplicates in the file + 3 in the list already"),
        "{into}"
    );
}

#[test]
fn without_a_terminal_nothing_becomes_visible_before_the_user_confirms() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("contacts.csv"), MESSY).unwrap();
    for args in [["--list", "spring"].as_slice(), &["--list", "autumn", "--json"]] {
        let args = [["contacts.csv", "--region", "US"].as_slice(), args].concat();
        let output = import_without_yes(folder.path(), &args);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("paceline import --publish"), "{said}");
        assert!(said.contains("--yes"), "{said}");
    }
    let published = import(folder.path(), &["--publish", "1"]);
    assert_eq!(text(&published.stdout), "They are in contact list 1.\n");
}

/// A file of `rows` rows, each with another number.
fn many(folder: &Path, rows: u32) -> File {
    let path = folder.join("many.csv");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    file.write_all(b"number,name\n").unwrap();
    for n in 0..rows {
        // The rows are not sorted by number.
        let n = n * 7_919 % 1_000_000;
        writeln!(file, "+1202{:07},Contact {n}", 2_000_000 + n).unwrap();
    }
    file.flush().unwrap();
    File::open(path).unwrap()
}

fn list() -> ImportInto {
    ImportInto::NewList("spring".into())
}

#[tokio::test]
async fn a_stopped_import_is_resumed_where_it_was_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let clock = Clock::real();
    let open = || ContactFile::open(many(folder.path(), 20_000), Settings::default()).unwrap();
    let job = Job::begin(&store, open().into(), &list(), clock).await.unwrap();
    let id = job.row().id;
    let enough = tokio::sync::Notify::new();
    let watch = |seen: Seen<'_>| {
        if matches!(seen, Seen::SoFar(progress) if progress.rows > 3_000) {
            enough.notify_one();
        }
    };
    let ended = job.run(clock, watch, enough.notified()).await.unwrap();
    assert_eq!(ended, Ended::Stopped);
    let row = store.import(id).await.unwrap().unwrap();
    assert_eq!(row.state, ImportState::Stopped);
    assert!((3_000..20_000).contains(&row.rows_read), "{}", row.rows_read);
    assert!(store.contact_lists(None, 10).await.unwrap().is_empty());

    let other = ContactFile::open(many(folder.path(), 19_999), Settings::default()).unwrap();
    let refused = Job::resume(&store, other.into(), id, clock).await;
    assert!(matches!(refused, Err(ImportError::OtherFile)));
    let job = Job::resume(&store, open().into(), id, clock).await.unwrap();
    let Ended::Staged(report) = job.run(clock, |_| (), std::future::pending()).await.unwrap() else {
        panic!("it was read to its end");
    };
    assert_eq!(
        (report.rows, report.imported, report.duplicates, report.rejected),
        (20_000, 20_000, 0, 0)
    );
    assert!(store.publish_import(id, clock.now().wall).await.unwrap());
    assert_eq!(
        store.count_contacts(report.list_id.unwrap()).await.unwrap(),
        20_000
    );
    store.close().await;
}

#[tokio::test]
async fn a_cancelled_import_stops_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let clock = Clock::real();
    let file = ContactFile::open(many(folder.path(), 50_000), Settings::default()).unwrap();
    let job = Job::begin(&store, file.into(), &list(), clock).await.unwrap();
    let id = job.row().id;
    let begun = tokio::sync::Notify::new();
    let run = job.run(clock, |_| begun.notify_one(), std::future::pending());
    let cancel = async {
        begun.notified().await;
        assert!(store.clear_import(id, None).await.unwrap());
    };
    let (ended, ()) = tokio::join!(run, cancel);
    assert_eq!(ended.unwrap(), Ended::TakenAway);
    assert_eq!(
        store.import(id).await.unwrap().unwrap().state,
        ImportState::Cancelled
    );
    assert!(store.contact_lists(None, 10).await.unwrap().is_empty());
    store.close().await;
}

#[tokio::test]
async fn a_file_that_breaks_off_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut file = b"number,name\n".to_vec();
    for n in 0..5_000 {
        writeln!(file, "+1202555{:04},Contact", n % 100 + 100).unwrap();
    }
    file.extend(b"+12025550199,");
    file.resize(file.len() + 3 * 1024 * 1024, b'x');
    let path = folder.path().join("contacts.csv");
    std::fs::write(&path, file).unwrap();
    let file = ContactFile::open(File::open(path).unwrap(), Settings::default()).unwrap();
    let mut told = 0;
    let watch = |seen: Seen<'_>| {
        if let Seen::SoFar(progress) = seen {
            told = progress.rows;
        }
    };
    let result = run(&store, file, &list(), Clock::real(), watch).await;
    assert!(
        matches!(result, Err(ImportError::LineTooLong { line: 5002 })),
        "{result:?}"
    );
    assert!(told >= 4_000, "{told}");
    assert!(store.contact_lists(None, 10).await.unwrap().is_empty());
    let row = store.imports(None, 1).await.unwrap().pop().unwrap();
    assert_eq!(row.state, ImportState::Failed);
    assert!(row.failure.unwrap().contains("line 5002 is longer than 1 MiB"));
    store.close().await;
}

#[tokio::test]
async fn the_shipped_contacts_are_all_imported_with_their_zone_and_city() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let file = ContactFile::open(File::open("data/demo-contacts.csv").unwrap(), Settings::default()).unwrap();
    let report = run(&store, file, &list(), Clock::real(), |_| ()).await.unwrap();
    assert_eq!((report.rows, report.imported, report.rejected), (4_000, 4_000, 0));
    let list = report.list_id.unwrap();
    assert_eq!(store.count_contacts(list).await.unwrap(), 4_000);
    let first = contacts(&store, list).await.swap_remove(0);
    assert_eq!(first.contact.name.as_deref(), Some("Contact 0001"));
    assert_eq!(first.contact.time_zone.as_deref(), Some("America/New_York"));
    assert_eq!(
        first.attributes.get("city").map(String::as_str),
        Some("Washington")
    );
    store.close().await;
}

#[test]
fn an_interrupted_command_prints_how_to_resume_and_can_be_resumed() {
    use std::io::BufRead as _;
    // Enough rows for an import of some seconds.
    const ROWS: u32 = if cfg!(debug_assertions) { 100_000 } else { 900_000 };
    let folder = tempfile::tempdir().unwrap();
    drop(many(folder.path(), ROWS));
    let mut running = Command::new(env!("CARGO_BIN_EXE_paceline"))
        .args(["import", "many.csv", "--list", "spring", "--json", "--yes"])
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(running.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    lines
        .find(|line| line.contains("\"progress\""))
        .expect("progress is told once a second");
    let interrupt = Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let last = lines.last().unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1));
    assert_eq!(last, "{\"stopped\":{\"import_id\":1}}");

    let resumed = import(folder.path(), &["many.csv", "--resume", "1"]);
    let told = text(&resumed.stdout);
    let all = format!("{ROWS} rows = {ROWS} imported + 0 duplicates in the file + 0 rejected");
    assert!(told.starts_with(&all), "{told}{}", text(&resumed.stderr));
    assert!(told.ends_with("They are in contact list 1.\n"), "{told}");
}

#[test]
fn a_first_contact_is_never_taken_for_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("a.csv"), text).unwrap();
    write("A. Example,+12025550100\nB. Example,+12025550101\n");
    for column in ["number=#2", "number=Phone"] {
        let refused = import(folder.path(), &["a.csv", "--list", "a", "--column", column]);
        let told = text(&refused.stderr);
        assert!(
            told.contains("line 1 should name the columns, but has a telephone number in column 2"),
            "{column}: {told}"
        );
        assert!(!told.contains("2025550100"), "{told}");
    }
    // A word for the kind of number (`mobile`) does not make a row a header.
    write("Who,Where,Kind\nA. Example,+12025550100,mobile\nB. Example,+12025550101,mobile\n");
    let refused = import(folder.path(), &["a.csv", "--list", "a"]);
    let told = text(&refused.stderr);
    assert!(
        told.contains("Column 2, `Where`, has telephone numbers"),
        "{told}"
    );
    let taken = import(
        folder.path(),
        &["a.csv", "--list", "a", "--column", "number=Where"],
    );
    let told = text(&taken.stdout);
    assert!(told.contains("2 rows = 2 imported"), "{told}");
    // A byte order mark that was written twice is not part of a column's name.
    write("\u{feff}\u{feff}Phone,\u{200b}City\n+12025550100,x\n");
    let taken = import(folder.path(), &["a.csv", "--list", "b"]);
    let told = text(&taken.stdout);
    assert!(
        told.contains("number from `Phone`; attributes from `City`"),
        "{told}"
    );
}

#[tokio::test]
async fn rows_of_a_megabyte_each_are_stored_a_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let path = folder.path().join("wide.csv");
    let names: Vec<_> = (0..199).map(|n| format!("c{n}")).collect();
    let cells = vec!["x".repeat(1000); 199].join(",");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    writeln!(file, "number,{}", names.join(",")).unwrap();
    for n in 0..100 {
        writeln!(file, "+12025550{n:03},{cells}").unwrap();
    }
    file.flush().unwrap();
    let file = ContactFile::open(File::open(path).unwrap(), Settings::default()).unwrap();
    let job = Job::begin(&store, file.into(), &list(), Clock::real())
        .await
        .unwrap();
    let mut told = Vec::new();
    let watch = |seen: Seen<'_>| {
        if let Seen::SoFar(progress) = seen {
            told.push(progress.rows);
        }
    };
    let ended = job.run(Clock::real(), watch, std::future::pending()).await;
    let Ok(Ended::Staged(report)) = ended else {
        panic!("it was read to its end");
    };
    assert_eq!(report.imported, 100);
    assert!(told.len() > 1 && told[0] < 100, "{told:?}");
    store.close().await;
}
