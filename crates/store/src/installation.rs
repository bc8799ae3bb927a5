//! Which installation this is: a store has one id for its life, and whatever it has on a PBX bears it.

use super::Store;
use super::db::args;
use super::error::StoreError;
use uuid::Uuid;

impl Store {
    /// The installation's id, made when it is first asked for.
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
