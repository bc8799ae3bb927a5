//! Recordings as reported by the dialer. The files stay on the PBX.

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
    /// The recording's name on the PBX.
    pub name: RecordingName,
    /// The recorded attempt.
    pub attempt: AttemptId,
    /// The recorded agent.
    pub agent: AgentId,
    /// The PBX that has the file.
    pub pbx: PbxName,
    /// The recording's state.
    pub state: RecordingState,
    /// The time of the request to the PBX.
    pub asked_at: Wall,
    /// The start of the recording; `None` before it.
    pub started_at: Option<Wall>,
    /// The time at which it completed or failed; `None` before it.
    pub ended_at: Option<Wall>,
    /// The length in milliseconds; `None` if the PBX did not report it.
    pub duration_ms: Option<u64>,
    /// The reason of a failure, in the PBX's words.
    pub failure: Option<String>,
}

/// The state of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingState {
    /// The PBX was asked to record.
    Asked,
    /// The PBX is recording.
    Running,
    /// The file is on the PBX's disk.
    Complete,
    /// The PBX could not record.
    Failed,
}

impl Store {
    /// Marks recordings that the last run left open as failed if their attempts are over, because no event about
    /// their end will come. Returns their number. Call it at the start only.
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

    /// Recordings of one attempt or of all, in the order of their names.
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
    /// The word that is stored and shown.
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
