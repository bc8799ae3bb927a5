//! A query with optional conditions. Its text is put together from constants only; values are bound.

use super::db::Arg;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::fmt::Write as _;

/// A query in the making.
pub(crate) struct Select<'a> {
    sql: String,
    args: Vec<Arg<'a>>,
}

impl<'a> Select<'a> {
    /// Starts with everything up to and including a first condition.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self {
            sql: sql.to_owned(),
            args: Vec::new(),
        }
    }

    /// Adds `AND condition`, where there is a value. The condition ends where the value goes: `id <`.
    pub(crate) fn and(mut self, condition: &'static str, value: Option<impl Into<Arg<'a>>>) -> Self {
        if let Some(value) = value {
            self.args.push(value.into());
            write!(self.sql, " AND {condition} ${}", self.args.len()).ok();
        }
        self
    }

    /// Ends with a column to group by.
    pub(crate) fn group(mut self, column: &'static str) -> (impl SqlSafeStr + Send, Vec<Arg<'a>>) {
        write!(self.sql, " GROUP BY {column}").ok();
        (AssertSqlSafe(self.sql), self.args)
    }

    /// Ends with an order and a limit.
    pub(crate) fn order(mut self, order: &'static str, limit: i64) -> (impl SqlSafeStr + Send, Vec<Arg<'a>>) {
        self.args.push(Arg::from(limit));
        write!(self.sql, " ORDER BY {order} LIMIT ${}", self.args.len()).ok();
        (AssertSqlSafe(self.sql), self.args)
    }
}
