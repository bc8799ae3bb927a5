//! The page that Prometheus scrapes. It is written by one task at a time, and all scrapes that arrive meanwhile get the
//! same text. However often it is requested, it is written at most once per [`GAP`].

use super::Metrics;
use axum::body::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Minimum time between two writes.
const GAP: Duration = Duration::from_millis(200);

/// All clones share one page.
#[derive(Clone, Debug)]
pub struct Page {
    metrics: Metrics,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Page {
    /// The metrics of the page.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            last: Arc::default(),
        }
    }

    /// The text of all metrics, at most [`GAP`] old.
    pub async fn text(&self) -> Bytes {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < GAP) {
            return text.clone();
        }
        let begun = Instant::now();
        let metrics = self.metrics.clone();
        let written = tokio::task::spawn_blocking(move || metrics.render()).await;
        // The write fails only if the process ends.
        let text = Bytes::from(written.unwrap_or_default());
        *last = Some((begun, text.clone()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thousand_scrapes_at_once_are_one() {
        let metrics = Metrics::new();
        let page = Page::new(metrics.clone());
        let first = page.text().await;
        metrics.campaign("spring");
        let (begun, mut asked) = (Instant::now(), 0);
        while begun.elapsed() < GAP / 4 && asked < 1000 {
            let again = page.text().await;
            assert!(
                std::ptr::eq(again.as_ptr(), first.as_ptr()),
                "it was written again"
            );
            asked += 1;
        }
        assert!(asked > 0);
        while std::ptr::eq(page.text().await.as_ptr(), first.as_ptr()) {
            tokio::time::sleep(GAP / 4).await;
        }
        let later = page.text().await;
        assert!(String::from_utf8_lossy(&later).contains("spring"));
    }
}
