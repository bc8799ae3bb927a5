//! The id of this installation. A store keeps one id for ever, and all its objects on a PBX contain it.

use super::Store;
use super::db::args;
use super::error::StoreError;
use uuid::Uuid;

impl Store {
    /// The installation's id. The first call creates it.
    pub async fn installation(&self) -> Result<Uuid, StoreError> {
        let make = "INSERT INTO installation (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING";
        let read = "SELECT id FROM installation";
        self.write("read which installation this is", async |tx| {
            tx.run(make, args![Uuid::new_v4()]).await?;
            Ok(tx.one(read, &[]).await?.get(0)?)
        })
        .await
    }
}
