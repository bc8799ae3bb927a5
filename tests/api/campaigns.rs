use super::harness::{Api, hours};
use insta::assert_snapshot;
use serde_json::{Value, json};

#[tokio::test]
async fn a_name_is_enough_for_a_campaign() {
    let api = Api::new().await;
    assert_snapshot!(api.post("/api/v1/campaigns", json!({"name": "renewals"})).await, @r#"
    201 Created
    {
      "id": 1,
      "name": "renewals",
      "state": "draft",
      "settings": {
        "dialing": {
          "ring_timeout_ms": 25000,
          "call_duration_ms_max": 14400000
        },
        "pacing": {
          "mode": "progressive",
          "power_ratio": 1.5,
          "abandon_rules": [
            {
              "name": "us-ftc",
              "ratio_max": 0.03,
              "window": {
                "hours": 720
              },
              "clock": "greeting_end",
              "limit_ms": 2000,
              "early_hangup": "ignored",
              "ring_ms_min": 15000,
              "message": true
            }
          ]
        },
        "hours": {
          "time_zone": null,
          "windows": [
            {
              "days": [
                1,
                2,
                3,
                4,
                5,
                6,
                7
              ],
              "from_minute": 480,
              "until_minute": 1260
            }
          ]
        },
        "compliance": {
          "purpose": "marketing",
          "subject": null,
          "debt_attribute": null,
          "profiles": []
        },
        "answering": {
          "connect_limit_ms": 2000,
          "abandon_message": null
        },
        "agents": {
          "ring_timeout_ms": 30000,
          "leg_duration_ms_max": 50400000,
          "wrap_up_ms": 10000
        },
        "recording": {
          "enabled": false,
          "announcement": null
        },
        "suppression": {
          "lists": [],
          "allowlist": null,
          "opt_out_digit": null,
          "refusal_days": 365,
          "outside_check": false
        }
      },
      "fault": null,
      "trunk_ids": [],
      "created_at": "[now]"
    }
    "#);
    assert_eq!(api.dialer.told(), ["campaign 1 changed"]);
    let taken = api.post("/api/v1/campaigns", json!({"name": "renewals"})).await;
    assert_snapshot!(taken, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/name",
          "detail": "another campaign has this name"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_eq!(
        api.get("/api/v1/campaigns").await.expect(200)["items"][0]["name"],
        "renewals"
    );
}

#[tokio::test]
async fn no_contact_is_called_by_a_guessed_time_zone() {
    let api = Api::new().await;
    let trunk = json!({"name": "carrier-a", "pbx": "office", "dial": "PJSIP/{number}@carrier-a"});
    api.post("/api/v1/trunks", trunk).await.expect(201);
    let campaign = json!({"name": "renewals", "trunk_ids": [1]});
    api.post("/api/v1/campaigns", campaign).await.expect(201);
    let refused = api.post("/api/v1/campaigns/1/activate", Value::Null).await;
    assert_snapshot!(refused, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "The calling hours of campaign 1 name no time zone, so nobody knows when its contacts may be called. Set `hours.time_zone` to the IANA name of a place, such as America/New_York, with PUT /api/v1/campaigns/1/settings, then activate it.",
      "request_id": "[id]"
    }
    "#);
    let put = async |settings| api.put("/api/v1/campaigns/1/settings", settings).await;
    for zone in ["EST", "UTC", "etc/gmt+5", "GMT"] {
        let refused = put(json!({"hours": {"time_zone": zone, "windows": hours()["windows"]}})).await;
        assert_eq!(refused.problem(), (422, "invalid".into()), "{zone}");
        assert!(
            refused.text.contains("this zone has no place"),
            "{}",
            refused.text
        );
        assert!(refused.text.contains("#/hours/time_zone"), "{}", refused.text);
    }
    put(json!({"hours": hours()})).await.expect(200);
    api.post("/api/v1/campaigns/1/activate", Value::Null)
        .await
        .expect(200);
    assert_snapshot!(put(json!({})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/hours/time_zone",
          "detail": "an active campaign needs it: write the IANA name of a place, such as America/New_York"
        }
      ],
      "request_id": "[id]"
    }
    "##);
}

#[tokio::test]
async fn a_campaign_goes_through_its_life_and_the_dialer_hears_of_it() {
    let api = Api::new().await;
    api.post("/api/v1/campaigns", json!({"name": "renewals"}))
        .await
        .expect(201);
    assert_snapshot!(api.post("/api/v1/campaigns/1/activate", Value::Null).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Campaign 1 has no trunk to dial over. Set one with PUT /api/v1/campaigns/1/trunks, then activate it.",
      "request_id": "[id]"
    }
    "#);
    let trunk = json!({"name": "carrier-a", "pbx": "office", "dial": "PJSIP/{number}@carrier-a"});
    api.post("/api/v1/trunks", trunk).await.expect(201);
    let with_trunk = api
        .put("/api/v1/campaigns/1/trunks", json!({"trunk_ids": [1]}))
        .await
        .expect(200);
    assert_eq!(with_trunk["trunk_ids"], json!([1]));
    let zoned = json!({"hours": hours()});
    api.put("/api/v1/campaigns/1/settings", zoned).await.expect(200);
    api.dialer.told();
    for (change, state) in [
        ("activate", "active"),
        ("activate", "active"),
        ("pause", "paused"),
        ("archive", "archived"),
    ] {
        let path = format!("/api/v1/campaigns/1/{change}");
        assert_eq!(api.post(&path, Value::Null).await.expect(200)["state"], state);
    }
    assert_eq!(
        api.dialer.told().len(),
        4,
        "told again where it may have missed it"
    );
    assert_snapshot!(api.post("/api/v1/campaigns/1/activate", Value::Null).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Campaign 1 is archived, and stays as it is. Create another one.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.put("/api/v1/campaigns/1/settings", json!({})).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Campaign 1 is archived, and stays as it is. Create another one.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.post("/api/v1/campaigns/1/pause", Value::Null).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Campaign 1 is archived; only one that is active can become paused.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn an_active_campaign_is_not_archived() {
    let api = Api::ready().await;
    assert_snapshot!(api.post("/api/v1/campaigns/1/archive", Value::Null).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Campaign 1 is active; only one that is draft or paused can become archived.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn settings_are_replaced_whole_and_checked() {
    let api = Api::ready().await;
    let settings = json!({
        "dialing": {"ring_timeout_ms": 20_000},
        "hours": {"time_zone": "America/New_York", "windows": [{"days": [1, 2, 3, 4, 5], "from_minute": 540, "until_minute": 1200}]},
        "recording": {"enabled": true, "announcement": "sound:beep"},
    });
    assert_snapshot!(api.put("/api/v1/campaigns/1/settings", settings).await, @r#"
    200 OK
    {
      "id": 1,
      "name": "default",
      "state": "active",
      "settings": {
        "dialing": {
          "ring_timeout_ms": 20000,
          "call_duration_ms_max": 14400000
        },
        "pacing": {
          "mode": "progressive",
          "power_ratio": 1.5,
          "abandon_rules": [
            {
              "name": "us-ftc",
              "ratio_max": 0.03,
              "window": {
                "hours": 720
              },
              "clock": "greeting_end",
              "limit_ms": 2000,
              "early_hangup": "ignored",
              "ring_ms_min": 15000,
              "message": true
            }
          ]
        },
        "hours": {
          "time_zone": "America/New_York",
          "windows": [
            {
              "days": [
                1,
                2,
                3,
                4,
                5
              ],
              "from_minute": 540,
              "until_minute": 1200
            }
          ]
        },
        "compliance": {
          "purpose": "marketing",
          "subject": null,
          "debt_attribute": null,
          "profiles": []
        },
        "answering": {
          "connect_limit_ms": 2000,
          "abandon_message": null
        },
        "agents": {
          "ring_timeout_ms": 30000,
          "leg_duration_ms_max": 50400000,
          "wrap_up_ms": 10000
        },
        "recording": {
          "enabled": true,
          "announcement": "sound:beep"
        },
        "suppression": {
          "lists": [],
          "allowlist": null,
          "opt_out_digit": null,
          "refusal_days": 365,
          "outside_check": false
        }
      },
      "fault": null,
      "trunk_ids": [
        1
      ],
      "created_at": "[now]"
    }
    "#);
    assert_eq!(api.dialer.told(), ["campaign 1 changed"]);
    let put = async |settings| api.put("/api/v1/campaigns/1/settings", settings).await;
    assert_snapshot!(put(json!({"dialing": {"ring_timeout_ms": 10}})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/dialing/ring_timeout_ms",
          "detail": "must be from 1000 to 120000"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(put(json!({"dialing": {"ring_timeout": 10}})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/dialing/ring_timeout",
          "detail": "unknown field; known here: `ring_timeout_ms` or `call_duration_ms_max`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(put(json!({"pacing": {"mode": "predictiv"}})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/pacing/mode",
          "detail": "expected one of `progressive`, `predictive`, `power`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(put(json!({"hours": {"time_zone": "New York", "windows": []}})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/hours/time_zone",
          "detail": "`New York`: this is not an IANA time zone: use one such as America/New_York"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(put(json!({"hours": {"time_zone": "UTC", "windows": [{"days": [1], "from_minute": "nine"}]}})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/hours/windows/0/from_minute",
          "detail": "expected a whole number, 0 or more"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_eq!(api.dialer.told(), Vec::<String>::new());
}

#[tokio::test]
async fn trunks_that_do_not_exist_are_named_by_their_place() {
    let api = Api::ready().await;
    assert_snapshot!(api.put("/api/v1/campaigns/1/trunks", json!({"trunk_ids": [1, 9]})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. GET /api/v1/trunks lists the trunks that there are.",
      "errors": [
        {
          "pointer": "#/trunk_ids/1",
          "detail": "there is no such trunk"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(api.put("/api/v1/campaigns/1/trunks", json!({"trunk_ids": [1, 1]})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/trunk_ids/1",
          "detail": "named before; each trunk once"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_eq!(
        api.get("/api/v1/campaigns/1").await.expect(200)["trunk_ids"],
        json!([1])
    );
    assert_snapshot!(api.post("/api/v1/campaigns", json!({"name": "new", "trunk_ids": [7]})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. GET /api/v1/trunks lists the trunks that there are.",
      "errors": [
        {
          "pointer": "#/trunk_ids/0",
          "detail": "there is no such trunk"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(api.get("/api/v1/campaigns/2").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no campaign 2. GET /api/v1/campaigns lists what there is.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn a_campaign_that_launches_ahead_has_the_message_that_its_rules_require() {
    let api = Api::ready().await;
    let put = async |mut settings: Value| {
        settings["hours"] = hours();
        api.put("/api/v1/campaigns/1/settings", settings).await
    };
    // The default rule requires a message. Progressive campaigns do not need one: they keep an agent for each call.
    assert_snapshot!(put(json!({"pacing": {"mode": "predictive"}})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/answering/abandon_message",
          "detail": "must be set: the abandon rule `us-ftc` requires that an abandoned callee hears a message. Record one on the PBX, or set `message` of this rule to false if the law does not require it"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let with = put(
        json!({"pacing": {"mode": "predictive"}, "answering": {"abandon_message": "sound:custom/sorry"}}),
    )
    .await;
    assert_eq!(
        with.expect(200)["settings"]["answering"]["abandon_message"],
        "sound:custom/sorry"
    );
    // At least 20 s: 15 s of ringing, and 5 s until the phone rings.
    let short = json!({"pacing": {"mode": "predictive"}, "answering": {"abandon_message": "sound:sorry"}, "dialing": {"ring_timeout_ms": 19_999}});
    let refused = put(short).await;
    assert!(
        refused.text.contains("must be from 20000 to 120000"),
        "{}",
        refused.text
    );
    put(json!({"dialing": {"ring_timeout_ms": 10_000}}))
        .await
        .expect(200);
    for bad in [
        "sorry",
        "sound:../sorry",
        "sound:system::reboot",
        "sound:a,sound:b",
        "tone_stream://x",
        "sound:a b",
    ] {
        let refused = put(json!({"answering": {"abandon_message": bad}})).await;
        assert_eq!(refused.status, 422, "{bad}");
        assert!(
            refused.text.contains("#/answering/abandon_message")
                && refused.text.contains("a sound is `sound:`"),
            "{}",
            refused.text
        );
    }
}
