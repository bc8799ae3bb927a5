//! A client of Paceline's API. If the API asks it to slow down, it waits and sends the request again.

use super::wait_for;
use serde_json::Value;
use std::time::Duration;

/// A client of the API.
#[derive(Clone)]
pub(crate) struct Api {
    pub(super) base: String,
    pub(super) key: String,
    pub(super) client: reqwest::Client,
}

impl Api {
    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<(u16, Value)> {
        let request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.key);
        let request = request.timeout(Duration::from_secs(10));
        let reply = match body {
            Some(body) => request.json(&body).send().await?,
            None => request.send().await?,
        };
        let status = reply.status().as_u16();
        let text = reply.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        for _ in 0..100 {
            let (status, reply) = self
                .send(reqwest::Method::POST, path, Some(body.clone()))
                .await
                .expect("the API answers");
            if status == 429 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            assert!((200..300).contains(&status), "POST {path}: {status} {reply}");
            return reply;
        }
        panic!("POST {path}: always too many requests");
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        wait_for("the API to answer", Duration::from_secs(20), async || {
            self.try_get(path).await
        })
        .await
    }

    /// `None` if the API does not answer, or refuses the request because of too many requests.
    pub(crate) async fn try_get(&self, path: &str) -> Option<Value> {
        let (status, reply) = self.send(reqwest::Method::GET, path, None).await.ok()?;
        if status == 429 || status == 503 {
            return None;
        }
        assert!((200..300).contains(&status), "GET {path}: {status} {reply}");
        Some(reply)
    }

    /// True if the API answers and reports every PBX as connected.
    pub(crate) async fn is_connected(&self) -> bool {
        let Some(live) = self.try_get("/live").await else {
            return false;
        };
        let mut pbxes = live["pbxes"].as_array().into_iter().flatten();
        pbxes.all(|pbx| pbx["connected"] == true)
    }

    /// All items of a paged list.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{joint}limit=200{cursor}")).await;
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}
