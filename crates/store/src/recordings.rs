//! Recordings, as the dialer noted them. The files stay on the PBX.

use super::Store;
use super::db::{Row, args};
use super::error::{DbError, StoreError};
use super::select::Select;
use paceline_core::ids::{AgentId, AttemptId, PbxName};
use paceline_core::pbx::RecordingName;
use paceline_core::time::Wall;
use std::str::FromStr;

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingRow {
    /// Its name on the PBX.
    pub name: RecordingName,
    /// Of which attempt.
    pub attempt: AttemptId,
    /// With which agent.
    pub agent: AgentId,
    /// On which PBX.
    pub pbx: PbxName,
    /// How far it is.
    pub state: RecordingState,
    /// When it was asked for.
    pub asked_at: Wall,
    /// When it began.
    pub started_at: Option<Wall>,
    /// When it was complete, or had failed.
    pub ended_at: Option<Wall>,
    /// How long it is, where the PBX told.
    pub duration_ms: Option<u64>,
    /// Why it failed, in the PBX's words.
    pub failure: Option<String>,
}

/// How far a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingState {
    /// Asked for.
    Asked,
    /// Runs.
    Running,
    /// On the PBX's disk.
    Complete,
    /// Could not be made.
    Failed,
}

impl Store {
    /// Closes what a former run left asked for or running of attempts that are over, as failed: nobody will hear of its
    /// end any more. How many. For the start only.
    pub async fn close_recordings(&self, now: Wall) -> Result<u64, StoreError> {
        let close = "UPDATE recordings SET state = 'failed', ended_at_ms = $1, \
              failure = 'Paceline stopped before it heard of the end' \
            WHERE state IN ('asked', 'running') AND EXISTS (SELECT 1 FROM attempts a \
              WHERE a.id = recordings.attempt_id AND a.ended_at_ms IS NOT NULL)";
        self.write("close recordings", async |tx| {
            Ok(tx.run(close, args![now.0]).await?)
        })
        .await
    }

    /// Recordings in the order of their names, of one attempt or all.
    pub async fn recordings(
        &self,
        attempt: Option<AttemptId>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        let (sql, args) = Select::new(
            "SELECT name, attempt_id, agent_id, pbx, state, asked_at_ms, started_at_ms, ended_at_ms, duration_ms, \
             failure FROM recordings WHERE 1 = 1",
        )
        .and("attempt_id =", attempt.map(|id| id.0))
        .and("name >", after)
        .order("name", limit);
        self.read_all("list recordings", sql, &args, recording).await
    }
}

fn recording(row: &Row) -> Result<RecordingRow, DbError> {
    let duration = row.get::<Option<i64>>(8)?;
    Ok(RecordingRow {
        name: RecordingName::new(&row.get::<String>(0)?).map_err(|_| DbError::decode("recording name"))?,
        attempt: AttemptId(row.get(1)?),
        agent: AgentId(row.get(2)?),
        pbx: PbxName::new(&row.get::<String>(3)?),
        state: row.word(4)?,
        asked_at: Wall(row.get(5)?),
        started_at: row.get::<Option<i64>>(6)?.map(Wall),
        ended_at: row.get::<Option<i64>>(7)?.map(Wall),
        duration_ms: duration.and_then(|ms| u64::try_from(ms).ok()),
        failure: row.get(9)?,
    })
}

impl RecordingState {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for RecordingState {
    type Err = DbError;
    fn from_str(text: &str) -> Result<Self, DbError> {
        let all = [Self::Asked, Self::Running, Self::Complete, Self::Failed];
        all.into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| DbError::decode("recording state"))
    }
}
