//! `paceline why` if no Paceline runs: it answers from the store, and gives an error for bad input.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helpers fail by panicking, as tests do"
)]

use paceline::store::{NewContact, NewTask, NewTaskContacts, NewTrunk, Store, StoreMetrics};
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::contact::Contact;
use paceline_core::dial::TrunkTemplate;
use paceline_core::ids::PbxName;
use paceline_core::number::E164;
use paceline_core::time::Wall;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const NOW: Wall = Wall(1_700_000_000_000);

/// A store with an active campaign and a task: a contact in London, and one in Berlin without a consent.
async fn fill(folder: &Path) {
    let config = "[server]\nlisten = \"127.0.0.1:9\"\n[[pbx]]\nname = \"office\"\nkind = \"sim\"\n";
    std::fs::write(folder.join("paceline.toml"), config).unwrap();
    let url = format!("sqlite:{}", folder.join("paceline.db").display());
    let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
    let trunk = NewTrunk {
        name: "carrier".into(),
        pbx: PbxName::new("office"),
        dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
        caller_id: None,
    };
    let trunk = store.create_trunk(&trunk).await.unwrap().id;
    let settings = CampaignSettings {
        hours: CallingHours::always(),
        ..CampaignSettings::default()
    };
    let campaign = store
        .create_campaign("renewals", &settings, &[trunk], NOW)
        .await
        .unwrap()
        .id;
    let draft = [CampaignState::Draft];
    store
        .move_campaign(campaign, &draft, CampaignState::Active)
        .await
        .unwrap();
    let contacts = ["+442079460001", "+493023125001"].map(|number| NewContact {
        contact: Contact {
            numbers: vec![E164::new(number).unwrap().into()],
            ..Contact::default()
        },
        ..NewContact::default()
    });
    let list = store.create_contact_list("l", &contacts, NOW).await.unwrap().0.id;
    let task = NewTask {
        campaign,
        name: "t".into(),
        state: TaskState::Running,
        start_at: NOW,
        retries_max: 0,
        contacts: NewTaskContacts::List(list),
        idempotency: None,
    };
    store.create_tasks(&[task], NOW).await.unwrap();
    store.close().await;
}

fn why(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paceline"))
        .arg("why")
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env_remove("PACELINE_API_KEY")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_and_a_task_are_explained_from_the_store() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let berlin = why(folder.path(), &["number", "+493023125001"]);
    let said = text(&berlin.stdout);
    assert!(
        said.starts_with("Campaign `renewals` does not call the number: de consent"),
        "{said}"
    );
    assert!(said.contains("deny by de consent (UWG"), "{said}");
    let london = why(folder.path(), &["number", "+442079460001", "--json"]);
    let said: Value = serde_json::from_slice(&london.stdout).unwrap();
    assert_eq!(said["campaigns"][0]["verdict"], "allow");
    let task = why(folder.path(), &["task", "1"]);
    let said = text(&task.stdout);
    assert!(
        said.starts_with("Nothing of task 1 is dialed now. Paceline is not running."),
        "{said}"
    );
    assert!(said.contains("1. not_running: "), "{said}");
    assert!(!said.contains("pbx_link"), "{said}");
    assert!(said.contains("1 by de consent"), "{said}");
    for (args, error) in [
        (&["number", "12"] as &[&str], "cannot be read"),
        (
            &["number", "+442079460001", "--campaign", "9"],
            "There is no campaign 9",
        ),
        (&["task", "9"], "There is no task 9"),
    ] {
        let refused = why(folder.path(), args);
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(text(&refused.stderr).contains(error), "{}", text(&refused.stderr));
        assert!(refused.stdout.is_empty());
    }
}
