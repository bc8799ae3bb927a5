//! Maintenance of a PBX.

use super::harness::Api;
use serde_json::{Value, json};

#[tokio::test]
async fn maintenance_is_stored_once_told_to_the_dialer_and_shown_until_it_is_ended() {
    let api = Api::new().await;
    let path = "/api/v1/pbxes/office/maintenance";
    let begun = api.post(path, Value::Null).await.expect(200);
    assert_eq!(begun["name"], "office");
    let since = begun["maintenance_since"].clone();
    assert!(since.is_string(), "{begun}");
    assert_eq!(api.dialer.told(), ["maintenance changed"]);
    let again = api.post(path, Value::Null).await.expect(200);
    assert_eq!(again["maintenance_since"], since);
    let live = api.get("/api/v1/live").await.expect(200);
    let shown: Vec<_> = live["pbxes"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&shown[0]["maintenance_since"], &shown[1]["maintenance_since"]),
        (&Value::Null, &since)
    );
    let ready = api.get("/readyz").await.expect(200);
    assert_eq!(ready, json!({"status": "ok", "in_maintenance": ["office"]}));
    let ended = api.delete(path).await.expect(200);
    assert_eq!(ended["maintenance_since"], Value::Null);
    api.delete(path).await.expect(200);
    assert_eq!(api.get("/readyz").await.expect(200), json!({"status": "ok"}));
    assert!(api.store.maintained().await.unwrap().is_empty());
    let audit = api.get("/api/v1/audit?limit=4").await.expect(200);
    let entries = audit["items"].as_array().unwrap();
    let of_pbx =
        |entry: &&Value| entry["route"] == "/api/v1/pbxes/{name}/maintenance" && entry["object"] == "office";
    assert_eq!(entries.iter().filter(of_pbx).count(), 4);
}

#[tokio::test]
async fn maintenance_needs_a_write_key_and_a_configured_pbx() {
    let api = Api::new().await;
    let path = "/api/v1/pbxes/office/maintenance";
    for key in [&api.read, &api.agent] {
        assert_eq!(api.ask("POST", path, key, &Value::Null).await.status, 403);
        assert_eq!(api.ask("DELETE", path, key, &Value::Null).await.status, 403);
    }
    for method in ["POST", "DELETE"] {
        let unknown = api
            .ask(method, "/api/v1/pbxes/attic/maintenance", &api.root, &Value::Null)
            .await;
        assert_eq!(unknown.problem(), (404, "not-found".into()));
    }
    assert_eq!(api.dialer.told(), Vec::<String>::new());
}
