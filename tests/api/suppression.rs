//! Suppression lists over the API.

use super::harness::{Api, Reply, SUPPRESSION_NUMBERS_MAX};
use axum::body::Body;
use axum::http::Request;
use futures_util::stream;
use serde_json::json;

/// Uploads a list. If `breaks` is true, the body breaks off after these parts.
async fn upload(api: &Api, query: &str, parts: &[&str], breaks: bool) -> Reply {
    let parts: Vec<Result<String, std::io::Error>> =
        parts.iter().map(|part| Ok((*part).to_owned())).collect();
    let end = breaks.then(|| Err(std::io::Error::other("the client is gone")));
    let body = Body::from_stream(stream::iter(parts.into_iter().chain(end)));
    let request = Request::builder()
        .method("POST")
        .uri(format!("/api/v1/suppression-lists/{query}"))
        .header("authorization", format!("Bearer {}", api.root))
        .body(body);
    api.send(request.unwrap()).await
}

#[tokio::test]
async fn a_list_is_uploaded_shown_replaced_and_deleted() {
    let api = Api::new().await;
    let day = "2026-11-20T00:00:00Z";
    let first = upload(
        &api,
        &format!("us-dnc?as_of={day}&columns=1,2"),
        &["area,number\n202,5550", "123\n202,5550124\n"],
        false,
    )
    .await
    .expect(200);
    assert_eq!(
        (
            &first["kind"],
            &first["numbers"],
            &first["added"],
            &first["rejected"]
        ),
        (&json!("registry"), &json!(2), &json!(2), &json!(0))
    );
    assert!(api.dialer.told().contains(&"suppression changed".to_owned()));
    let check = json!({"numbers": ["2025550123", "2025550199"]});
    let checked = api.post("/api/v1/dnc/check", check.clone()).await.expect(200);
    assert_eq!(checked["items"][0]["listed"], json!(true));
    assert_eq!(checked["items"][0]["lists"], json!(["us-dnc"]));
    assert_eq!(checked["items"][1]["listed"], json!(false));

    let later = "2026-11-27T00:00:00Z";
    let query = format!("us-dnc?as_of={later}");
    let next = upload(&api, &query, &["+12025550124\n+12025550125"], false)
        .await
        .expect(200);
    assert_eq!((&next["added"], &next["removed"]), (&json!(1), &json!(1)));
    let shown = api.get("/api/v1/suppression-lists").await.expect(200);
    assert_eq!(shown["items"].as_array().unwrap().len(), 1);
    assert_eq!(shown["items"][0]["as_of"], json!("2026-11-27T00:00:00.000Z"));
    let versions = api.get("/api/v1/suppression-lists/us-dnc").await.expect(200);
    assert_eq!(versions["items"].as_array().unwrap().len(), 2);
    api.delete("/api/v1/suppression-lists/us-dnc").await.expect(204);
    assert_eq!(api.get("/api/v1/suppression-lists/us-dnc").await.problem().0, 404);
    let checked = api.post("/api/v1/dnc/check", check).await.expect(200);
    assert_eq!(checked["items"][0]["listed"], json!(false));
}

#[tokio::test]
async fn an_upload_that_cannot_be_used_changes_nothing() {
    let api = Api::new().await;
    let good = "us-dnc?as_of=2026-11-20T00:00:00Z";
    upload(&api, good, &["+12025550123"], false).await.expect(200);
    for (query, parts, breaks, status) in [
        (good, &["+12025550124\n+1202"][..], true, 400),
        (good, &["+12025550124\nno number\n"], false, 422),
        (good, &[], false, 422),
        ("us-dnc?as_of=2099-01-01T00:00:00Z", &["+12025550124"], false, 400),
        (
            "us-dnc?as_of=2026-11-20T00:00:00Z&columns=0",
            &["+12025550124"],
            false,
            400,
        ),
        (
            "us-dnc?as_of=2026-11-20T00:00:00Z&region=us",
            &["+12025550124"],
            false,
            400,
        ),
        (
            "us-dnc?as_of=2026-11-20T00:00:00Z&kind=allow",
            &["+12025550124"],
            false,
            409,
        ),
        ("us-dnc", &["+12025550124"], false, 400),
        (
            "12025550123?as_of=2026-11-20T00:00:00Z",
            &["+12025550124"],
            false,
            400,
        ),
    ] {
        let reply = upload(&api, query, parts, breaks).await;
        assert_eq!(reply.problem().0, status, "{query}: {}", reply.text);
        assert!(!reply.text.contains("2025550"), "{}", reply.text);
    }
    let versions = api.get("/api/v1/suppression-lists/us-dnc").await.expect(200);
    assert_eq!(versions["items"].as_array().unwrap().len(), 1);
    let check = json!({"numbers": ["2025550123", "2025550124"]});
    let checked = api.post("/api/v1/dnc/check", check).await.expect(200);
    let listed = |n: usize| checked["items"][n]["listed"] == json!(true);
    assert_eq!((listed(0), listed(1)), (true, false));
}

#[tokio::test]
async fn lists_that_would_need_more_memory_than_allowed_are_refused() {
    let api = Api::new().await;
    let day = "as_of=2026-11-20T00:00:00Z";
    let lines = |from: usize, count: usize| {
        let all = (from..from + count).map(|n| format!("+1202{:07}\n", 5_550_000 + n));
        all.collect::<String>()
    };
    let half = SUPPRESSION_NUMBERS_MAX / 2;
    let query = format!("first?{day}");
    upload(&api, &query, &[&lines(0, half)], false).await.expect(200);
    // While a list is replaced, both versions are in memory.
    upload(&api, &query, &[&lines(1, half)], false).await.expect(200);
    let other = format!("other?{day}");
    let refused = upload(&api, &other, &[&lines(0, half + 1)], false).await;
    assert_eq!(refused.problem(), (413, "body-too-large".to_owned()));
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("room for 500 more numbers") && detail.contains("`numbers_max`"),
        "{detail}"
    );
    upload(&api, &other, &[&lines(0, half)], false).await.expect(200);
    // There is no room, so the server does not read the body, which would break off.
    for name in ["third", "other"] {
        let refused = upload(&api, &format!("{name}?{day}"), &["+12025550123\n"], true).await;
        assert_eq!(refused.problem().0, 413, "{name}");
    }
    let lists = api.get("/api/v1/suppression-lists").await.expect(200);
    assert_eq!(lists["items"].as_array().unwrap().len(), 2);
}
