//! PBXes in maintenance.

use super::Store;
use super::db::args;
use super::error::StoreError;
use paceline_core::ids::PbxName;
use paceline_core::time::Wall;
use std::collections::BTreeMap;

impl Store {
    /// Every PBX in maintenance, with the start of the maintenance.
    pub async fn maintained(&self) -> Result<BTreeMap<PbxName, Wall>, StoreError> {
        let sql = "SELECT pbx, since_ms FROM pbx_maintenance";
        let rows = self.read_all("read which PBXes are in maintenance", sql, &[], |row| {
            Ok((PbxName::new(&row.get::<String>(0)?), Wall(row.get(1)?)))
        });
        Ok(rows.await?.into_iter().collect())
    }

    /// Starts or ends the maintenance of a PBX. A PBX already in maintenance keeps its start time.
    pub async fn maintain(&self, pbx: &PbxName, on: bool, now: Wall) -> Result<(), StoreError> {
        self.write("store that a PBX is in maintenance, or is no more", async |tx| {
            if on {
                let sql = "INSERT INTO pbx_maintenance (pbx, since_ms) VALUES ($1, $2) ON CONFLICT (pbx) DO NOTHING";
                tx.run(sql, args![pbx.as_str(), now.0]).await?;
            } else {
                let sql = "DELETE FROM pbx_maintenance WHERE pbx = $1";
                tx.run(sql, args![pbx.as_str()]).await?;
            }
            Ok(())
        })
        .await
    }
}
