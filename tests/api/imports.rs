//! Contact files sent to the API.

use super::harness::{Api, Reply};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use std::time::Duration;

const FILE: &str = "\
Customer,Mobile,City
One,(202) 555-0123,Boston
Two,202-555-01,
Three,2025550123,Salem
Four,1.2025550124E10,Lynn
";

async fn send(api: &Api, path: &str, file: impl Into<Body>) -> Reply {
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header("authorization", format!("Bearer {}", api.root))
        .header("content-type", "text/csv");
    api.send(request.body(file.into()).unwrap()).await
}

/// Waits until the import is in this state, and returns it.
async fn until(api: &Api, id: i64, state: &str) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let import = api.get(&format!("/api/v1/imports/{id}")).await.expect(200);
        if import["state"] == state {
            return import;
        }
        assert!(tokio::time::Instant::now() < deadline, "not {state}: {import}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_file_is_imported_and_every_row_accounted_for() {
    let api = Api::new().await;
    let begun = send(&api, "/api/v1/imports?list=spring", FILE).await.expect(202);
    assert_eq!(begun["file"]["columns"]["numbers"][0]["header"], "Mobile");
    let done = until(&api, 1, "published").await;
    assert_eq!(
        [
            &done["rows"],
            &done["imported"],
            &done["duplicates"],
            &done["rejected"],
            &done["done_ratio"]
        ],
        [&json!(4), &json!(2), &json!(1), &json!(1), &json!(1.0)]
    );
    assert_eq!(
        done["reasons"],
        json!({"too short for its country (read as a number in US)": 1})
    );
    assert_eq!(
        done["repairs"],
        json!({"repaired: scientific notation written out, no digit was lost": 1})
    );
    assert_eq!(done["numbers"], json!({"US": {"fixed_or_mobile": 3}}));
    assert_eq!(done["notes"], json!([]));
    let rejected = api.get("/api/v1/imports/1/rejected-rows").await.expect(200);
    assert_eq!(rejected["items"][0]["line"], 3);
    assert_eq!(rejected["items"][0]["field"], "Mobile");
    assert!(!rejected.to_string().contains("555"), "{rejected}");
    let list = done["contact_list_id"].as_i64().unwrap();
    let contacts = api
        .get(&format!("/api/v1/contact-lists/{list}/contacts"))
        .await
        .expect(200);
    assert_eq!(contacts["items"].as_array().unwrap().len(), 2);
    assert_eq!(contacts["items"][0]["attributes"], json!({"City": "Boston"}));
    assert_eq!(api.get("/api/v1/imports").await.expect(200)["items"][0]["id"], 1);
}

#[tokio::test]
async fn a_staged_import_is_visible_once_published_and_a_cancelled_one_leaves_nothing() {
    let api = Api::new().await;
    for _ in 0..2 {
        send(&api, "/api/v1/imports?list=spring&stage=true", FILE)
            .await
            .expect(202);
    }
    until(&api, 1, "staged").await;
    until(&api, 2, "staged").await;
    let lists = api.get("/api/v1/contact-lists").await.expect(200);
    assert_eq!(lists["items"], json!([]));
    let conflict = api.post("/api/v1/imports/1/stop", Value::Null).await;
    assert_eq!(conflict.problem(), (409, "conflict".into()));
    for _ in 0..2 {
        let published = api
            .post("/api/v1/imports/1/publish", Value::Null)
            .await
            .expect(200);
        assert_eq!(published["state"], "published");
        api.post("/api/v1/imports/2/cancel", Value::Null)
            .await
            .expect(200);
    }
    let cancelled = until(&api, 2, "cancelled").await;
    assert_eq!(cancelled["contact_list_id"], Value::Null);
    let lists = api.get("/api/v1/contact-lists").await.expect(200);
    assert_eq!(lists["items"].as_array().unwrap().len(), 1);
    for (path, why) in [("1/cancel", 409), ("2/publish", 409), ("9/publish", 404)] {
        let refused = api.post(&format!("/api/v1/imports/{path}"), Value::Null).await;
        assert_eq!(refused.problem().0, why, "{path}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_contact_list_is_refused_with_the_reason() {
    let api = Api::new().await;
    for (query, file, says) in [
        ("list=x", "%PDF-1.7", "the file is a PDF"),
        ("list=x", "", "the file is empty"),
        ("list=x", "One,2025550123\n", "should name the columns"),
        (
            "list=x&region=XX",
            FILE,
            "the default region cannot be used: unknown default region",
        ),
        ("list=x&encoding=klingon", FILE, "unknown encoding"),
        ("list=x&number_column=Fax", FILE, "there is no column `Fax`"),
    ] {
        let refused = send(&api, &format!("/api/v1/imports?{query}"), file).await;
        assert_eq!(refused.problem(), (422, "invalid".into()), "{query}");
        assert!(refused.text.contains(says), "{says}: {}", refused.text);
    }
    for query in [
        "",
        "?list=",
        "?list=x&contact_list_id=1",
        "?contact_list_id=9",
        "?list=x&name_column=",
        "?lost=1",
    ] {
        let refused = send(&api, &format!("/api/v1/imports{query}"), FILE).await;
        assert_eq!(refused.problem(), (400, "bad-parameter".into()), "{query}");
    }
    assert_eq!(api.get("/api/v1/imports").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn foreign_and_expensive_numbers_are_accepted_on_request_and_other_cells_are_stored_masked() {
    let api = Api::new().await;
    let file = "Mobile,Home Phone,Country\n2079460123,,GB\n+19002345678,,\n+12025550123,202 555 0124,\n+442079460124,,\n";
    let begun = send(&api, "/api/v1/imports?list=x&region=US", file)
        .await
        .expect(202);
    assert_eq!(begun["file"]["columns"]["countries"][0]["header"], "Country");
    let done = until(&api, 1, "published").await;
    assert_eq!((&done["imported"], &done["rejected"]), (&json!(2), &json!(2)));
    let counts = json!({"GB": {"fixed": 1}, "US": {"fixed_or_mobile": 1}});
    assert_eq!(done["numbers"], counts);
    let wanted = "/api/v1/imports?list=x&region=US&countries=US,GB&premium_rate=true&stage=true";
    let again = send(&api, wanted, file).await.expect(202);
    let note = again["notes"][0].as_str().unwrap();
    assert!(note.starts_with("contact list 1 has this name already"), "{note}");
    let staged = until(&api, 2, "staged").await;
    assert_eq!((&staged["imported"], &staged["rejected"]), (&json!(4), &json!(0)));
    assert_eq!(
        staged["numbers"]["US"],
        json!({"fixed_or_mobile": 1, "premium_rate": 1})
    );
    let masked = api
        .ask("GET", "/api/v1/contact-lists/1/contacts", &api.read, &Value::Null)
        .await
        .expect(200);
    assert_eq!(
        masked["items"][1]["numbers"],
        json!([
            {"number": "+*********23", "kind": "fixed_or_mobile", "label": "Mobile"},
            {"number": "+*********24", "kind": "fixed_or_mobile", "label": "Home Phone"},
        ])
    );
    let bad = send(&api, "/api/v1/imports?list=x&numbers=both", file).await;
    assert_eq!(bad.problem(), (400, "bad-parameter".into()));
}

#[tokio::test]
async fn a_stopped_import_is_resumed_with_the_same_file_only() {
    let api = Api::new().await;
    let mut file = String::from("number\n");
    for n in 0..40_000 {
        file.push_str(&format!("+1202{}\n", 2_000_000 + n * 7));
    }
    send(&api, "/api/v1/imports?list=x", file.clone())
        .await
        .expect(202);
    let stopped = api.post("/api/v1/imports/1/stop", Value::Null).await.expect(200);
    assert_eq!(stopped["state"], "stopped");
    let other = send(&api, "/api/v1/imports/1/resume", FILE).await;
    assert_eq!(other.problem(), (422, "invalid".into()));
    send(&api, "/api/v1/imports/1/resume", file.clone())
        .await
        .expect(202);
    let done = until(&api, 1, "published").await;
    assert_eq!(
        (&done["rows"], &done["imported"]),
        (&json!(40_000), &json!(40_000))
    );
    let again = send(&api, "/api/v1/imports/1/resume", file).await;
    assert_eq!(again.problem(), (409, "conflict".into()));
}

/// The system's temporary folder may be in memory, and an uploaded file may have 1 GB.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_arrives_is_kept_beside_the_database() {
    let api = Api::new().await;
    let (sender, body) = tokio::sync::mpsc::channel::<Result<&str, std::io::Error>>(1);
    let body = futures_util::stream::unfold(body, |mut body| async move { Some((body.recv().await?, body)) });
    let (sent, kept) = tokio::join!(
        send(&api, "/api/v1/imports?list=spring", Body::from_stream(body)),
        async {
            for line in FILE.split_inclusive('\n').take(3) {
                sender.send(Ok(line)).await.unwrap();
            }
            // The file has no name in the folder, so the open file descriptors show it.
            let folder = api.folder().canonicalize().unwrap();
            let is_kept = || {
                let open = std::fs::read_dir("/proc/self/fd").unwrap();
                let mut paths = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
                paths.any(|path| path.starts_with(&folder) && path.to_string_lossy().ends_with("(deleted)"))
            };
            let kept = is_kept();
            drop(sender);
            kept
        }
    );
    sent.expect(202);
    assert!(kept);
}
