//! Strings that a PBX would execute, sent to every field that reaches a PBX.

use super::harness::Api;
use serde_json::{Value, json};

/// Strings in which a PBX reads an application, a shell, a host, a function, options, or several destinations.
const HOSTILE: &[&str] = &[
    "app=system:reboot",
    "system::reboot",
    "&system(reboot)",
    "&park()",
    "x@203.0.113.9",
    "sip:x@203.0.113.9",
    "x;fs_path=sip:203.0.113.9",
    "x,y",
    "x|y",
    "x&PJSIP/y",
    "x:_:y",
    "^^:x",
    "${system(reboot)}",
    "$${x}",
    "{x=y}",
    "[x=y]",
    "<x=y>",
    "x/n/",
    "x/b(y)",
    "../x",
    "x y",
    "'x'",
    "\"x\"",
    "\\x",
    "x\n",
    "x\r\nAction: Command\r\nCommand: core stop now",
    "x\0",
    "\u{e9}",
    "",
];

#[tokio::test]
async fn no_field_accepts_a_string_that_a_pbx_would_execute() {
    let api = Api::ready().await;
    let mut refused = 0;
    let mut refuse = |what: String, status: axum::http::StatusCode| {
        assert_eq!(status, 422, "{what}");
        refused += 1;
    };
    let trunk = |dial: &str, caller_id: &Value| json!({"name": "x", "pbx": "office", "dial": dial, "caller_id": caller_id});
    for hostile in HOSTILE {
        for dial in [
            format!("{hostile}/{{number}}"),
            format!("{hostile}{{number}}"),
            format!("PJSIP/{hostile}{{number}}@{hostile}"),
            format!("PJSIP/{{number}}@{hostile}"),
            format!("PJSIP/{{number}}@carrier{hostile}/"),
            format!("PJSIP/{hostile}/{{number}}"),
            format!("Local/{{digits}}@{hostile}/n"),
            format!("Local/{{digits}}@from-internal/{hostile}j"),
            format!("loopback/{hostile}{{number}}/{hostile}"),
            format!("sofia/gateway/carrier/{{number}}{hostile}"),
        ] {
            for reply in [
                api.post("/api/v1/trunks", trunk(&dial, &Value::Null)).await,
                api.put("/api/v1/trunks/1", trunk(&dial, &Value::Null)).await,
            ] {
                refuse(format!("dial {dial:?}"), reply.status);
            }
        }
        let reply = api
            .post("/api/v1/trunks", trunk("PJSIP/{number}@a", &json!(hostile)))
            .await;
        refuse(format!("caller id {hostile:?}"), reply.status);
        let agent = json!({"name": "x", "pbx": "office", "extension": hostile});
        refuse(
            format!("extension {hostile:?}"),
            api.post("/api/v1/agents", agent).await.status,
        );
        for sound in [format!("sound:{hostile}"), (*hostile).to_owned()] {
            for settings in [
                json!({"answering": {"abandon_message": sound}}),
                json!({"recording": {"announcement": sound}}),
            ] {
                let reply = api.put("/api/v1/campaigns/1/settings", settings).await;
                refuse(format!("sound {sound:?}"), reply.status);
            }
        }
    }
    assert!(refused > 700, "{refused}");
    // Dial strings of the other kind of PBX.
    for dial in [
        "sofia/gateway/carrier/{number}",
        "loopback/{number}/default",
        "user/{digits}@x",
    ] {
        let reply = api.post("/api/v1/trunks", trunk(dial, &Value::Null)).await;
        assert!(
            reply
                .text
                .contains("trunks of this PBX may lead to PJSIP/*, Local/* and to nothing else"),
            "{}",
            reply.text
        );
    }
    let trunks = api.get("/api/v1/trunks").await.expect(200);
    assert_eq!(trunks["items"].as_array().unwrap().len(), 1);
    assert_eq!(trunks["items"][0]["dial"], "PJSIP/{number}@carrier-a");
}

#[tokio::test]
async fn rows_of_other_programs_are_shown_with_their_fault_and_stop_nothing() {
    let api = Api::ready().await;
    let rows = sqlx::SqlitePool::connect(&api.url).await.unwrap();
    for sql in [
        "INSERT INTO trunks (id, name, pbx, dial) VALUES (2, 'shell', 'office', 'loopback/app=system:reboot{number}')",
        "INSERT INTO trunks (id, name, pbx, dial, caller_id) VALUES (3, 'id', 'office', 'PJSIP/{number}@a', '1,2')",
        "INSERT INTO agents (id, name, pbx, extension, state_at_ms) VALUES (1, 'anna', 'office', '7&SIP/1', 0)",
        "INSERT INTO campaigns (id, name, state, settings, created_at_ms) VALUES (2, 'old', 'paused', '{\"version\": 1, \"settings\": {\"recording\": {\"announcement\": \"shell_stream://reboot\"}}}', 0)",
    ] {
        sqlx::query(sql).execute(&rows).await.unwrap();
    }
    let trunks = api.get("/api/v1/trunks").await.expect(200);
    let fault = |nth: usize| trunks["items"][nth]["fault"].as_str().unwrap_or_default();
    assert_eq!(fault(0), "");
    assert!(
        fault(1).starts_with("its dial string cannot be used: write it as loopback/USER/CONTEXT"),
        "{trunks}"
    );
    assert!(fault(2).starts_with("its caller id cannot be used"), "{trunks}");
    let log_in = api
        .post("/api/v1/agents/1/log-in", json!({"campaign_id": 1}))
        .await;
    assert_eq!(log_in.status, 409);
    assert!(
        log_in
            .text
            .contains("The agent's extension in the store cannot be dialed"),
        "{}",
        log_in.text
    );
    let campaigns = api.get("/api/v1/campaigns").await.expect(200);
    assert_eq!(campaigns["items"][0]["fault"], Value::Null);
    let fault = campaigns["items"][1]["fault"].as_str().unwrap();
    assert!(
        fault.starts_with("its settings in the store cannot be used (see `recording.announcement`)"),
        "{fault}"
    );
    let activated = api.post("/api/v1/campaigns/2/activate", Value::Null).await;
    assert_eq!(activated.status, 409, "{}", activated.text);
    api.put("/api/v1/campaigns/2/settings", json!({}))
        .await
        .expect(200);
    let mended = api.get("/api/v1/campaigns/2").await.expect(200);
    assert_eq!(mended["fault"], Value::Null);
}
