//! Sounds that a campaign plays to its callees. A campaign cannot become active if its PBX lacks the sound. If the PBX
//! cannot be asked, the campaign becomes active with a warning.

use super::harness::{Api, hours};
use insta::assert_snapshot;
use paceline::config::{PbxConfig, PbxKind};
use paceline_core::dial::{AgentTemplate, DialRules};
use paceline_core::ids::PbxName;
use paceline_lab::{Asterisk, FreeSwitch, FreeSwitchOptions, Options, Version};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;

fn pbx(name: &str, kind: PbxKind, dial_allowed: DialRules) -> PbxConfig {
    PbxConfig {
        name: PbxName::new(name),
        agent_dial: AgentTemplate::new("PJSIP/{extension}").unwrap(),
        dial_allowed,
        kind,
    }
}

fn asterisk(name: &str, url: String, password: &str) -> PbxConfig {
    let kind = PbxKind::Ari {
        url,
        username: "paceline".to_owned(),
        password: password.to_owned().into(),
        app: "paceline".to_owned(),
        authorities: Vec::new(),
        ami: None,
    };
    pbx(name, kind, DialRules::asterisk())
}

fn settings(message: &str) -> Value {
    json!({
        "hours": hours(),
        "answering": {"abandon_message": message},
        "recording": {"enabled": true, "announcement": "sound:beep"},
    })
}

async fn campaign(api: &Api, message: &str, pbxes: &[&str]) {
    let mut trunks = Vec::new();
    for pbx in pbxes {
        let trunk = json!({"name": pbx, "pbx": pbx, "dial": format!("PJSIP/{{number}}@{pbx}")});
        trunks.push(api.post("/api/v1/trunks", trunk).await.expect(201)["id"].clone());
    }
    let campaign = json!({"name": "spring", "trunk_ids": trunks, "settings": settings(message)});
    api.post("/api/v1/campaigns", campaign).await.expect(201);
}

const ACTIVATE: &str = "/api/v1/campaigns/1/activate";

#[tokio::test]
async fn a_pbx_that_does_not_answer_blocks_no_activation_and_is_reported() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let pbxes = [
        asterisk("office", "http://127.0.0.1:1".to_owned(), "x"),
        asterisk("branch", format!("http://{}", mute.local_addr().unwrap()), "x"),
    ];
    let api = Api::beside(&pbxes).await;
    campaign(&api, "sound:custom/sorry", &["office", "branch"]).await;
    let activated = api.post(ACTIVATE, Value::Null).await.expect(200);
    assert_eq!(activated["state"], "active");
    let told: Vec<_> = activated["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| format!("{}: {}", warning["warning"], warning["explanation"]))
        .collect();
    assert_snapshot!(told.join("\n"), @r#"
    "sound_unchecked": "Whether PBX `office` has the sound `custom/sorry`, which `answering/abandon_message` names, is not known: nothing answers at http://127.0.0.1:1. Run `paceline doctor` to ask again."
    "sound_unchecked": "Whether PBX `office` has the sound `beep`, which `recording/announcement` names, is not known: nothing answers at http://127.0.0.1:1. Run `paceline doctor` to ask again."
    "sound_unchecked": "Whether PBX `branch` has the sound `custom/sorry`, which `answering/abandon_message` names, is not known: it does not answer within 4 s. Run `paceline doctor` to ask again."
    "sound_unchecked": "Whether PBX `branch` has the sound `beep`, which `recording/announcement` names, is not known: it does not answer within 4 s. Run `paceline doctor` to ask again."
    "#);
    // A campaign that is already active is not checked again.
    let again = api.post(ACTIVATE, Value::Null).await.expect(200);
    assert_eq!(again["warnings"], Value::Null);
}

/// `sounds` is the PBX's folder of sounds, `ending` the file extension in it.
async fn a_sound_must_be_there(pbx: PbxConfig, sounds: &Path, ending: &str) -> String {
    let api = Api::beside(&[pbx]).await;
    campaign(&api, "sound:custom/sorry", &["office"]).await;
    let refused = api.post(ACTIVATE, Value::Null).await;
    assert_eq!(refused.problem(), (409, "conflict".into()));
    assert_eq!(api.get("/api/v1/campaigns/1").await.expect(200)["state"], "draft");
    let file = sounds.join(format!("custom/sorry.{ending}"));
    std::fs::create_dir_all(sounds.join("custom")).unwrap();
    std::fs::copy(sounds.join(format!("message.{ending}")), &file).unwrap();
    let activated = api.post(ACTIVATE, Value::Null).await.expect(200);
    assert_eq!(
        (&activated["state"], &activated["warnings"]),
        (&json!("active"), &Value::Null)
    );
    // An active campaign cannot change to a sound that is missing.
    let other = api
        .put(
            "/api/v1/campaigns/1/settings",
            settings("sound:custom/nobody-has-this"),
        )
        .await;
    assert_eq!(other.problem(), (422, "invalid".into()));
    assert_eq!(
        other.json()["errors"][0]["pointer"],
        "#/answering/abandon_message"
    );
    let outside = api
        .put("/api/v1/campaigns/1/settings", settings("sound:/srv/sorry"))
        .await;
    // Asterisk does not report files outside its folder of sounds; FreeSWITCH does.
    match ending {
        "ulaw" => assert_eq!(outside.expect(200)["warnings"][0]["warning"], "sound_unchecked"),
        _ => assert_eq!(outside.problem(), (422, "invalid".into())),
    }
    if ending == "ulaw" {
        // Asterisk plays this sound only on channels with the language `fr`.
        let french = sounds.parent().unwrap().join("fr");
        std::fs::create_dir_all(&french).unwrap();
        std::fs::copy(&file, french.join("only.ulaw")).unwrap();
        let only = api
            .put("/api/v1/campaigns/1/settings", settings("sound:only"))
            .await;
        let warning = only.expect(200)["warnings"][0]["explanation"].clone();
        assert!(
            warning.as_str().unwrap().contains("the language `fr`"),
            "{warning}"
        );
        let by_path = api
            .put("/api/v1/campaigns/1/settings", settings("sound:fr/only"))
            .await;
        assert_eq!(by_path.expect(200)["warnings"], Value::Null);
    }
    // Asterisk plays a sound that is in no language's folder, but does not list it.
    let nowhere = api
        .put("/api/v1/campaigns/1/settings", settings("sound:nobody-has-this"))
        .await;
    match ending {
        "ulaw" => assert_eq!(nowhere.expect(200)["warnings"][0]["warning"], "sound_unchecked"),
        _ => assert_eq!(nowhere.problem(), (422, "invalid".into())),
    }
    refused.json()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_campaign_whose_message_is_missing_on_its_asterisk_is_refused() {
    for version in [Version::V22, Version::V16] {
        let options = Options {
            agents: 1,
            ..Options::default()
        };
        let pbx = Asterisk::start(version, &options).unwrap();
        let office = asterisk("office", pbx.ari_url(), pbx.password());
        let told = a_sound_must_be_there(office, &pbx.sounds_dir(), "ulaw").await;
        insta::allow_duplicates! {
            assert_snapshot!(told, @"Campaign 1 cannot be activated: `answering/abandon_message` cannot be played: PBX `office` has no sound `custom/sorry`: put the file below `sounds/en/` in `astdatadir` (see asterisk.conf) as `custom/sorry` with the ending of its format, such as .ulaw or .wav; a file elsewhere is named by its whole path, `sound:/…`, and is not looked for. Or name another sound with PUT /api/v1/campaigns/1/settings.");
        }
    }
}

#[tokio::test]
async fn a_campaign_whose_message_is_missing_on_its_freeswitch_is_refused() {
    if FreeSwitch::program_or_skip("sounds that a FreeSWITCH has not").is_none() {
        return;
    }
    let options = FreeSwitchOptions {
        agents: 1,
        ..FreeSwitchOptions::default()
    };
    let freeswitch = FreeSwitch::start(&options).unwrap();
    let kind = PbxKind::Esl {
        address: freeswitch.address(),
        password: freeswitch.password().to_owned().into(),
        app: "paceline".to_owned(),
    };
    let office = pbx("office", kind, DialRules::asterisk());
    let told = a_sound_must_be_there(office, &freeswitch.sounds_dir(), "wav").await;
    assert_snapshot!(told, @"Campaign 1 cannot be activated: `answering/abandon_message` cannot be played: PBX `office` has no sound `custom/sorry`: put the file custom/sorry.wav below `sounds_dir` (`global_getvar sounds_dir` in fs_cli shows where). Or name another sound with PUT /api/v1/campaigns/1/settings.");
}
