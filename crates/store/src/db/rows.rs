//! One way to read for code that is used both in a transaction and outside any.

use super::{Pools, Row, Tx};
use crate::bulk_statement::BulkStatement;
use crate::db::Arg;
use crate::error::DbError;

/// Where rows are read.
pub(crate) enum Rows<'a> {
    /// In a transaction.
    In(&'a mut Tx),
    /// Outside any, as of the last commit.
    Committed(&'a Pools),
}

impl Rows<'_> {
    pub(crate) async fn bulk(
        &mut self,
        statement: &'static BulkStatement,
        args: &[Arg<'_>],
    ) -> Result<Vec<Row>, DbError> {
        match self {
            Self::In(tx) => statement.rows(tx, args).await,
            Self::Committed(pools) => statement.read(pools, args).await,
        }
    }

    pub(crate) async fn select(&mut self, sql: &'static str) -> Result<Vec<Row>, DbError> {
        match self {
            Self::In(tx) => tx.rows(sql, &[]).await,
            Self::Committed(pools) => pools.rows(sql, &[]).await,
        }
    }
}
