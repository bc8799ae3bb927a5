use super::harness::{Api, new_key};
use axum::body::Body;
use axum::http::Request;
use insta::assert_snapshot;
use paceline::api::{Role, keys};
use paceline_core::time::Wall;
use serde_json::{Value, json};

#[tokio::test]
async fn a_request_without_a_valid_key_learns_how_to_get_one() {
    let api = Api::new().await;
    let reply = api.ask("GET", "/api/v1/trunks", "", &Value::Null).await;
    assert_snapshot!(reply, @r#"
    401 Unauthorized
    {
      "type": "/problems/unauthenticated",
      "title": "A valid API key is needed",
      "status": 401,
      "detail": "Send the header `Authorization: Bearer <key>`. `paceline key create` makes a key.",
      "request_id": "[id]"
    }
    "#);
    assert_eq!(reply.headers["www-authenticate"], "Bearer realm=\"paceline\"");
    let secret = api.root.rsplit_once("pl_1_").unwrap().1;
    let other = format!("pl_2_{secret}");
    let short = api.root[..api.root.len() - 1].to_owned();
    for key in [
        "x",
        "pl_",
        "pl_1_",
        "pl_1_AAAA",
        "pl_99_AAAA",
        "pl_9223372036854775808_A",
        &other,
        &short,
    ] {
        assert_eq!(
            api.ask("GET", "/api/v1/trunks", key, &Value::Null)
                .await
                .problem(),
            (401, "unauthenticated".into())
        );
    }
    for header in [
        api.root.clone(),
        format!("Basic {}", api.root),
        "Bearer".to_owned(),
        "Bearer \u{e4}".to_owned(),
    ] {
        let request = Request::get("/api/v1/trunks").header("authorization", header.as_bytes());
        let reply = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.problem(), (401, "unauthenticated".into()), "{header}");
    }
    let request = Request::get("/api/v1/trunks").header("authorization", format!("bearer {}", api.root));
    api.send(request.body(Body::empty()).unwrap()).await.expect(200);
}

#[tokio::test]
async fn every_route_asks_for_the_role_that_the_document_says() {
    let api = Api::new().await;
    let document = api
        .ask("GET", "/api/v1/openapi.json", "", &Value::Null)
        .await
        .expect(200);
    let rank = |role: &str| {
        ["", "read", "agent", "write"]
            .iter()
            .position(|r| *r == role)
            .unwrap()
    };
    let mut guarded = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let needed = operation["security"][0]["api_key"][0].as_str().unwrap_or("");
            guarded += usize::from(!needed.is_empty());
            let method = method.to_uppercase();
            // The key with the role `agent` belongs to agent 1, who does not exist here.
            let agents = path.starts_with("/api/v1/agents/");
            let path = path.replace("{id}", if agents { "1" } else { "0" });
            for (role, key) in [
                ("", ""),
                ("read", &*api.read),
                ("agent", &*api.agent),
                ("write", &*api.write),
            ] {
                let body = if method == "GET" { Value::Null } else { json!({}) };
                let status = api.ask(&method, &path, key, &body).await.status.as_u16();
                let refused = if role.is_empty() { 401 } else { 403 };
                let allowed = rank(role) >= rank(needed);
                let as_expected = if allowed {
                    status != 401 && status != 403
                } else {
                    status == refused
                };
                // A search for a number also needs a key that may see numbers.
                assert!(
                    as_expected
                        || path.ends_with("/search")
                        || path == "/api/v1/dnc/check"
                        || path.starts_with("/api/v1/explain/number/"),
                    "{method} {path} as {role:?} answered {status}"
                );
            }
            let expected = match (method.as_str(), path.as_str()) {
                (_, "/healthz" | "/readyz") => "",
                ("GET", "/api/v1/api-keys" | "/api/v1/audit") => "write",
                ("GET", _) | ("POST", "/api/v1/dnc/check" | "/api/v1/contacts/search") => "read",
                _ if path.starts_with("/api/v1/agents/1/") || path.ends_with("/disposition") => "agent",
                _ => "write",
            };
            assert_eq!(needed, expected, "{method} {path}");
        }
    }
    assert!(guarded > 25, "{guarded}");
}

#[tokio::test]
async fn a_refusal_names_the_role_that_is_needed() {
    let api = Api::new().await;
    let reply = api.ask("POST", "/api/v1/trunks", &api.read, &json!({})).await;
    assert_snapshot!(reply, @r#"
    403 Forbidden
    {
      "type": "/problems/forbidden",
      "title": "The key does not allow this",
      "status": 403,
      "detail": "This needs a key with the role `write`; yours has `read`.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_to_wait_and_others_are_not() {
    let api = Api::with_rate(5).await;
    let mut refused = None;
    for _ in 0..20 {
        let reply = api.ask("GET", "/api/v1/trunks", &api.read, &Value::Null).await;
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_snapshot!(refused, @r#"
    429 Too Many Requests
    {
      "type": "/problems/rate-limited",
      "title": "Too many requests",
      "status": 429,
      "detail": "This key may ask 5 times a second. Wait 1 s, then go on more slowly.",
      "request_id": "[id]"
    }
    "#);
    assert_eq!(refused.headers["retry-after"], "1");
    api.get("/api/v1/trunks").await.expect(200);
    assert_eq!(api.answered_with(429), 1);
}

#[tokio::test]
async fn the_stored_form_of_a_key_does_not_reveal_it() {
    let api = Api::new().await;
    let key = keys::create(&api.store, &new_key("crm", Role::Read, false), Wall(0))
        .await
        .unwrap();
    let secret = key.rsplit_once("pl_5_").unwrap().1;
    let row = api.store.api_key(5).await.unwrap().unwrap();
    assert_eq!((row.salt.len(), row.token_hmac.len()), (16, 32));
    let other = api.store.api_key(1).await.unwrap().unwrap();
    assert_ne!(row.salt, other.salt);
    assert!(!format!("{row:?}").contains(secret));
}
