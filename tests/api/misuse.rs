//! Requests that no client should send, and the error that each gets.

use super::harness::Api;
use axum::body::Body;
use axum::http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};

async fn send(api: &Api, content_type: Option<&str>, body: impl Into<Body>) -> super::harness::Reply {
    let mut request = Request::post("/api/v1/trunks").header("authorization", format!("Bearer {}", api.root));
    if let Some(value) = content_type {
        request = request.header("content-type", value);
    }
    api.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_document_too() {
    let api = Api::new().await;
    assert_snapshot!(api.get("/api/v1/nothing").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is nothing at this path. GET /api/docs lists all that there is.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.get("/").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is nothing at this path. GET /api/docs lists all that there is.",
      "request_id": "[id]"
    }
    "#);
    let wrong = api.ask("PATCH", "/api/v1/trunks", &api.root, &Value::Null).await;
    assert_snapshot!(wrong, @r#"
    405 Method Not Allowed
    {
      "type": "/problems/method-not-allowed",
      "title": "The method is not allowed here",
      "status": 405,
      "detail": "This path takes other methods; the Allow header lists them.",
      "request_id": "[id]"
    }
    "#);
    let allowed = wrong.headers["allow"].to_str().unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
}

#[tokio::test]
async fn bodies_must_be_json_and_small_enough() {
    let api = Api::new().await;
    assert_snapshot!(send(&api, None, "{}").await, @r#"
    415 Unsupported Media Type
    {
      "type": "/problems/unsupported-media-type",
      "title": "The body must be application/json",
      "status": 415,
      "detail": "Send the body as JSON with the header `Content-Type: application/json`.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(send(&api, Some("text/plain"), "{}").await, @r#"
    415 Unsupported Media Type
    {
      "type": "/problems/unsupported-media-type",
      "title": "The body must be application/json",
      "status": 415,
      "detail": "Send the body as JSON with the header `Content-Type: application/json`.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(send(&api, Some("application/json"), "").await, @r#"
    400 Bad Request
    {
      "type": "/problems/malformed-body",
      "title": "The body is not well-formed JSON",
      "status": 400,
      "detail": "The body is empty. Send one JSON object.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(send(&api, Some("application/json; charset=utf-8"), "{\"name\": ").await, @r#"
    400 Bad Request
    {
      "type": "/problems/malformed-body",
      "title": "The body is not well-formed JSON",
      "status": 400,
      "detail": "EOF while parsing a value at line 1 column 9. Send one JSON value; a JSON checker shows the place.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(send(&api, Some("application/json"), r#"{"name": "x", "pbx": "office", "dial": "x"} 1"#).await, @r#"
    400 Bad Request
    {
      "type": "/problems/malformed-body",
      "title": "The body is not well-formed JSON",
      "status": 400,
      "detail": "trailing characters at line 1 column 45. Send one JSON value; a JSON checker shows the place.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(send(&api, Some("application/json"), vec![b' '; 9 * 1024 * 1024]).await, @r#"
    413 Payload Too Large
    {
      "type": "/problems/body-too-large",
      "title": "The body is too large",
      "status": 413,
      "detail": "The body may have at most 8388608 bytes. Split it.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn fields_are_named_and_values_never_repeated() {
    let api = Api::new().await;
    let post = async |body: Value| api.post("/api/v1/trunks", body).await;
    assert_snapshot!(post(json!({"name": "x", "pbx": "office", "dail": "PJSIP/{number}"})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/dail",
          "detail": "unknown field; known here: `name`, `pbx`, `dial`, `caller_id`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!({"name": "x", "pbx": "office"})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/dial",
          "detail": "missing; it is required"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!(["x"])).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#",
          "detail": "expected an object"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let number = post(json!({"name": 12025550123u64, "pbx": "office", "dial": "x"})).await;
    assert_snapshot!(number, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/name",
          "detail": "expected a string"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let nested = json!({"numbers": ["+12025550123", {"n": "+12025550124"}], "reason": "asked"});
    let nested = api.post("/api/v1/dnc", nested).await;
    assert_snapshot!(nested, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/numbers/1",
          "detail": "expected a string"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert!(!nested.text.contains("2025550"), "{}", nested.text);
}

#[tokio::test]
async fn parameters_are_named_too() {
    let api = Api::new().await;
    for path in [
        "/api/v1/trunks?limit=0",
        "/api/v1/trunks?limit=many",
        "/api/v1/trunks?limt=5",
        "/api/v1/trunks?cursor=x",
        "/api/v1/trunks/first",
    ] {
        let reply = api.get(path).await;
        assert_eq!(reply.status, 400, "{path}");
        insta::allow_duplicates! {
            assert_eq!(reply.json()["errors"].as_array().unwrap().len(), 1, "{}", reply.text);
        }
    }
    assert_snapshot!(api.get("/api/v1/trunks?limt=5").await, @r#"
    400 Bad Request
    {
      "type": "/problems/bad-parameter",
      "title": "A parameter cannot be used",
      "status": 400,
      "detail": "Correct the parameter that `errors` names, or leave it out.",
      "errors": [
        {
          "parameter": "limt",
          "detail": "unknown parameter; known here: `limit` or `cursor`"
        }
      ],
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.get("/api/v1/trunks?limit=many").await, @r#"
    400 Bad Request
    {
      "type": "/problems/bad-parameter",
      "title": "A parameter cannot be used",
      "status": 400,
      "detail": "Correct the parameter that `errors` names, or leave it out.",
      "errors": [
        {
          "parameter": "limit",
          "detail": "expected a whole number, 0 or more"
        }
      ],
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.get("/api/v1/trunks?cursor=dGFza3M6NDI").await, @r#"
    400 Bad Request
    {
      "type": "/problems/bad-cursor",
      "title": "The cursor cannot be used",
      "status": 400,
      "detail": "Pass `next_cursor` of this list's page before, unchanged, or leave `cursor` out to start at the beginning.",
      "errors": [
        {
          "parameter": "cursor",
          "detail": "not a `next_cursor` of this list"
        }
      ],
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.get("/api/v1/trunks/first").await, @r#"
    400 Bad Request
    {
      "type": "/problems/bad-parameter",
      "title": "A parameter cannot be used",
      "status": 400,
      "detail": "The id in the path must be a whole number.",
      "errors": [
        {
          "parameter": "id",
          "detail": "expected a whole number"
        }
      ],
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let api = Api::new().await;
    for n in 1..=5 {
        let trunk = json!({"name": format!("carrier-{n}"), "pbx": "office", "dial": "PJSIP/{number}@c"});
        api.post("/api/v1/trunks", trunk).await.expect(201);
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/trunks?limit=2".to_owned());
    loop {
        let page = api.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["id"].as_i64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/trunks?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
}
