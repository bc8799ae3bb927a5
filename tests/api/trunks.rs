use super::harness::Api;
use insta::assert_snapshot;
use serde_json::json;

#[tokio::test]
async fn a_trunk_is_created_read_replaced_and_deleted() {
    let api = Api::new().await;
    let trunk = json!({"name": "carrier-a", "pbx": "office", "dial": "PJSIP/{number}@carrier-a", "caller_id": "+12025550100"});
    assert_snapshot!(api.post("/api/v1/trunks", trunk).await, @r#"
    201 Created
    {
      "id": 1,
      "name": "carrier-a",
      "pbx": "office",
      "dial": "PJSIP/{number}@carrier-a",
      "caller_id": "+12025550100",
      "fault": null
    }
    "#);
    let changed = json!({"name": "carrier-b", "pbx": "branch", "dial": "Local/{digits}@from-internal/n"});
    assert_snapshot!(api.put("/api/v1/trunks/1", changed).await, @r#"
    200 OK
    {
      "id": 1,
      "name": "carrier-b",
      "pbx": "branch",
      "dial": "Local/{digits}@from-internal/n",
      "caller_id": null,
      "fault": null
    }
    "#);
    assert_snapshot!(api.get("/api/v1/trunks/1").await, @r#"
    200 OK
    {
      "id": 1,
      "name": "carrier-b",
      "pbx": "branch",
      "dial": "Local/{digits}@from-internal/n",
      "caller_id": null,
      "fault": null
    }
    "#);
    assert_snapshot!(api.delete("/api/v1/trunks/1").await, @"204 No Content");
    assert_snapshot!(api.get("/api/v1/trunks/1").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no trunk 1. GET /api/v1/trunks lists what there is.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.delete("/api/v1/trunks/1").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no trunk 1. GET /api/v1/trunks lists what there is.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.get("/api/v1/trunks").await, @r#"
    200 OK
    {
      "items": [],
      "next_cursor": null
    }
    "#);
}

#[tokio::test]
async fn all_faults_of_a_trunk_are_reported_at_once() {
    let api = Api::new().await;
    let bad = json!({"name": " ", "pbx": "nowhere", "dial": "PJSIP/carrier", "caller_id": "a b"});
    assert_snapshot!(api.post("/api/v1/trunks", bad).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/name",
          "detail": "1 to 200 characters, no line breaks, and not only spaces"
        },
        {
          "pointer": "#/pbx",
          "detail": "no PBX of this name is configured; there are: branch, office"
        },
        {
          "pointer": "#/dial",
          "detail": "a trunk's dial string needs exactly one of {number} (with +) or {digits} (without), e.g. PJSIP/{number}@carrier"
        },
        {
          "pointer": "#/caller_id",
          "detail": "a caller id is 1 to 64 letters, digits, `+`, `*`, `#`, `-`, `_` or `.`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let spaced = json!({"name": "x", "pbx": "office", "dial": "PJSIP/{number}@a b"});
    assert_snapshot!(api.post("/api/v1/trunks", spaced).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/dial",
          "detail": "write it as PJSIP/USER@ENDPOINT: USER is the placeholder, with nothing but a prefix of digits (to an endpoint or a gateway also `+`, `*`, `#`) beside it, and the name is 1 to 64 letters, digits, `-`, `_` or `.`. Hosts, applications, functions and options are refused: the PBX would carry them out"
        }
      ],
      "request_id": "[id]"
    }
    "##);
}

#[tokio::test]
async fn a_name_is_taken_once_and_a_trunk_in_use_stays() {
    let api = Api::ready().await;
    let again = json!({"name": "carrier-a", "pbx": "office", "dial": "PJSIP/{number}@x"});
    assert_snapshot!(api.post("/api/v1/trunks", again).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/name",
          "detail": "another trunk has this name"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(api.delete("/api/v1/trunks/1").await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Trunk 1 belongs to a campaign. Take it out with PUT /api/v1/campaigns/{id}/trunks first.",
      "request_id": "[id]"
    }
    "#);
    let other = json!({"name": "carrier-a", "pbx": "office", "dial": "PJSIP/{number}@y"});
    api.put("/api/v1/trunks/1", other).await.expect(200);
    assert_eq!(api.dialer.told(), ["campaign 1 changed"]);
}
