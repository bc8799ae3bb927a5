//! Statements over many rows at once. Each statement has one text per row count, and there are few row counts, so
//! that the database prepares each text once.

use super::db::{Arg, Dialect, Pools, Row, Tx};
use super::error::DbError;
use std::fmt::Write as _;
use std::sync::OnceLock;

/// Row counts that statements are prepared for, ascending. 256 rows of 12 columns are far below the parameter limits
/// of both databases.
const ROW_COUNTS: [usize; 13] = [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 192, 256];

/// A statement with `{rows}` in place of a list of rows. It has no other parameters.
pub(crate) struct BulkStatement {
    template: &'static str,
    columns: usize,
    /// Appended on PostgreSQL only, which locks the rows that it reads only if the statement says so.
    lock: &'static str,
    sqlite: [OnceLock<String>; ROW_COUNTS.len()],
    postgres: [OnceLock<String>; ROW_COUNTS.len()],
}

impl BulkStatement {
    pub(crate) const fn new(columns: usize, template: &'static str) -> Self {
        Self::locking(columns, template, "")
    }

    pub(crate) const fn locking(columns: usize, template: &'static str, lock: &'static str) -> Self {
        Self {
            template,
            columns,
            lock,
            sqlite: [const { OnceLock::new() }; ROW_COUNTS.len()],
            postgres: [const { OnceLock::new() }; ROW_COUNTS.len()],
        }
    }

    /// Runs the statement for all rows, in as few parts as possible. Returns the number of changed rows. `args`
    /// contains the rows one after the other.
    pub(crate) async fn run(&'static self, tx: &mut Tx, args: &[Arg<'_>]) -> Result<u64, DbError> {
        let mut changed = 0;
        for part in self.parts(args) {
            changed += tx
                .run(self.sql(tx.dialect(), part.len() / self.columns), part)
                .await?;
        }
        Ok(changed)
    }

    /// Runs the statement for all rows, in as few parts as possible. Returns the rows of the result.
    pub(crate) async fn rows(&'static self, tx: &mut Tx, args: &[Arg<'_>]) -> Result<Vec<Row>, DbError> {
        let mut rows = Vec::new();
        for part in self.parts(args) {
            rows.extend(
                tx.rows(self.sql(tx.dialect(), part.len() / self.columns), part)
                    .await?,
            );
        }
        Ok(rows)
    }

    /// Returns the rows of the result as of the last commit, outside any transaction.
    pub(crate) async fn read(&'static self, pools: &Pools, args: &[Arg<'_>]) -> Result<Vec<Row>, DbError> {
        let mut rows = Vec::new();
        for part in self.parts(args) {
            rows.extend(
                pools
                    .rows(self.sql(pools.dialect(), part.len() / self.columns), part)
                    .await?,
            );
        }
        Ok(rows)
    }

    fn parts<'a, 'b>(&self, mut args: &'a [Arg<'b>]) -> impl Iterator<Item = &'a [Arg<'b>]> + use<'a, 'b> {
        let columns = self.columns;
        std::iter::from_fn(move || {
            let rows = args.len() / columns;
            let take = ROW_COUNTS.iter().rev().find(|count| **count <= rows)?;
            let (part, rest) = args.split_at_checked(take * columns)?;
            args = rest;
            Some(part)
        })
    }

    /// The text for `rows` rows. If `rows` is not in [`ROW_COUNTS`], the text for the next smaller count.
    pub(crate) fn sql(&'static self, dialect: Dialect, rows: usize) -> &'static str {
        let built = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        let slot = ROW_COUNTS
            .iter()
            .rposition(|count| *count <= rows)
            .and_then(|n| built.get(n));
        slot.map_or("", |slot| slot.get_or_init(|| self.build(dialect, rows)))
    }

    fn build(&self, dialect: Dialect, rows: usize) -> String {
        let mut list = String::new();
        for row in 0..rows {
            list.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..self.columns {
                if column > 0 {
                    list.push(',');
                }
                // SQLite finds a named parameter by searching all of them, so it gets parameters without names.
                match dialect {
                    Dialect::Sqlite => list.push('?'),
                    Dialect::Postgres => drop(write!(list, "${}", row * self.columns + column + 1)),
                }
            }
            list.push(')');
        }
        let mut sql = self.template.replace("{rows}", &list);
        if dialect == Dialect::Postgres {
            sql.push_str(self.lock);
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIRS: BulkStatement = BulkStatement::new(2, "INSERT INTO t VALUES {rows}");

    #[test]
    fn text_differs_only_in_its_placeholders() {
        assert_eq!(PAIRS.sql(Dialect::Sqlite, 2), "INSERT INTO t VALUES (?,?),(?,?)");
        assert_eq!(
            PAIRS.sql(Dialect::Postgres, 2),
            "INSERT INTO t VALUES ($1,$2),($3,$4)"
        );
    }

    #[test]
    fn every_row_is_in_exactly_one_part_of_a_prepared_size() {
        for rows in 0..600 {
            let args = vec![Arg::from(0); rows * 2];
            let sizes: Vec<usize> = PAIRS.parts(&args).map(|part| part.len() / 2).collect();
            assert_eq!(sizes.iter().sum::<usize>(), rows);
            assert!(sizes.iter().all(|size| ROW_COUNTS.contains(size)), "{sizes:?}");
        }
    }
}
