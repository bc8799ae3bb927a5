//! A query with optional conditions. Its text is built from constants only; values are bound.

use super::db::Arg;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::fmt::Write as _;

/// A query that is being built.
pub(crate) struct Select<'a> {
    sql: String,
    args: Vec<Arg<'a>>,
}

impl<'a> Select<'a> {
    /// Starts with a text that contains at least one condition.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self {
            sql: sql.to_owned(),
            args: Vec::new(),
        }
    }

    /// Adds `AND condition` if there is a value. The value follows the condition's text, for example `id <`.
    pub(crate) fn and(mut self, condition: &'static str, value: Option<impl Into<Arg<'a>>>) -> Self {
        if let Some(value) = value {
            self.args.push(value.into());
            write!(self.sql, " AND {condition} ${}", self.args.len()).ok();
        }
        self
    }

    /// Completes the query with a column to group by.
    pub(crate) fn group(mut self, column: &'static str) -> (impl SqlSafeStr + Send, Vec<Arg<'a>>) {
        write!(self.sql, " GROUP BY {column}").ok();
        (AssertSqlSafe(self.sql), self.args)
    }

    /// Completes the query with an order and a limit.
    pub(crate) fn order(mut self, order: &'static str, limit: i64) -> (impl SqlSafeStr + Send, Vec<Arg<'a>>) {
        self.args.push(Arg::from(limit));
        write!(self.sql, " ORDER BY {order} LIMIT ${}", self.args.len()).ok();
        (AssertSqlSafe(self.sql), self.args)
    }
}
