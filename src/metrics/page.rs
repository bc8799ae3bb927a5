//! The page that is scraped: written aside, one at a time, and given to all who asked meanwhile. However often it is asked
//! for, it costs no more than [`GAP`] allows.

use super::Metrics;
use axum::body::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Between two writings.
const GAP: Duration = Duration::from_millis(200);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Page {
    metrics: Metrics,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Page {
    /// Of these metrics.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            last: Arc::default(),
        }
    }

    /// The text as it is now, or was a moment ago.
    pub async fn text(&self) -> Bytes {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < GAP) {
            return text.clone();
        }
        let begun = Instant::now();
        let metrics = self.metrics.clone();
        let written = tokio::task::spawn_blocking(move || metrics.render()).await;
        // Only at the end of the process is it not written.
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
