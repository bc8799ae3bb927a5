//! A list of rows of which some cannot be read, because another program or an older version wrote them. The others are shown,
//! and the unreadable ones are named by their ids.

use super::Store;
use super::db::{Arg, Row};
use super::error::{DbError, StoreError};
use sqlx::SqlSafeStr;
use std::ops::Deref;

/// The rows of a list, in its order.
#[derive(Debug)]
pub struct Rows<T> {
    readable: Vec<T>,
    unreadable: Vec<Unreadable>,
}

/// A row that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The row's id.
    pub id: i64,
    /// The part of it that cannot be read.
    pub fault: DbError,
    /// Its place among all rows of the list, from 0.
    place: usize,
}

impl<T> Deref for Rows<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.readable
    }
}

impl<T> IntoIterator for Rows<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.readable.into_iter()
    }
}

impl<'r, T> IntoIterator for &'r Rows<T> {
    type Item = &'r T;
    type IntoIter = std::slice::Iter<'r, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.readable.iter()
    }
}

impl<T> Rows<T> {
    /// The rows that can be read, and the others.
    pub fn into_parts(self) -> (Vec<T>, Vec<Unreadable>) {
        (self.readable, self.unreadable)
    }

    /// The rows that cannot be read.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// Number of rows, with those that cannot be read.
    pub fn all(&self) -> usize {
        self.readable.len() + self.unreadable.len()
    }

    /// Takes the last row off. It may be one that cannot be read.
    pub fn drop_last(&mut self) {
        if self.last_unreadable().is_some() {
            self.unreadable.pop();
        } else {
            self.readable.pop();
        }
    }

    /// The id of the last row, if it cannot be read.
    pub fn last_unreadable(&self) -> Option<i64> {
        let last = self.unreadable.last()?;
        (last.place + 1 == self.all()).then_some(last.id)
    }

    /// The rows, or the error of one that cannot be read.
    pub fn whole(mut self) -> Result<Vec<T>, DbError> {
        match self.unreadable.pop() {
            Some(row) => Err(row.fault),
            None => Ok(self.readable),
        }
    }

    /// The only row, or the error of an unreadable one.
    pub(crate) fn only(mut self) -> Result<Option<T>, DbError> {
        match self.unreadable.pop() {
            Some(row) => Err(row.fault),
            None => Ok(self.readable.pop()),
        }
    }

    /// Turns rows for which `check` finds a fault into unreadable ones.
    pub(crate) fn refuse(self, mut check: impl FnMut(&T) -> Option<(i64, DbError)>) -> Self {
        let all = self.all();
        let mut unreadable = self.unreadable.into_iter().peekable();
        let mut readable = self.readable.into_iter();
        let rows = (0..all).filter_map(|place| {
            if unreadable.peek().is_some_and(|row| row.place == place) {
                return unreadable.next().map(|row| Err((row.id, row.fault)));
            }
            let row = readable.next()?;
            Some(match check(&row) {
                Some(fault) => Err(fault),
                None => Ok(row),
            })
        });
        rows.collect()
    }

    pub(crate) fn readable_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.readable.iter_mut()
    }
}

impl<T> FromIterator<Result<T, (i64, DbError)>> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = Result<T, (i64, DbError)>>>(rows: I) -> Self {
        let mut all = Self {
            readable: Vec::new(),
            unreadable: Vec::new(),
        };
        for (place, row) in rows.into_iter().enumerate() {
            match row {
                Ok(row) => all.readable.push(row),
                Err((id, fault)) => all.unreadable.push(Unreadable { id, fault, place }),
            }
        }
        all
    }
}

impl Store {
    /// Reads rows as of the last commit and converts each with `into`. The first column is the row's id.
    pub(crate) async fn read_each<T>(
        &self,
        doing: &'static str,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
        mut into: impl FnMut(&Row) -> Result<T, DbError> + Send,
    ) -> Result<Rows<T>, StoreError> {
        let rows = self.read(doing, sql, args).await?;
        each(&rows, &mut into).map_err(super::query(doing))
    }
}

/// Converts each row with `into`. The first column is the row's id.
pub(crate) fn each<T>(
    rows: &[Row],
    into: &mut impl FnMut(&Row) -> Result<T, DbError>,
) -> Result<Rows<T>, DbError> {
    let read = |row: &Row| {
        let id = row.get::<i64>(0)?;
        Ok(into(row).map_err(|fault| (id, fault)))
    };
    rows.iter()
        .map(read)
        .collect::<Result<Vec<_>, DbError>>()
        .map(Rows::from_iter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ids: &[i64]) -> Rows<i64> {
        let row = |id: &i64| {
            if *id < 0 {
                Err((*id, DbError::decode("x")))
            } else {
                Ok(*id)
            }
        };
        ids.iter().map(row).collect()
    }

    #[test]
    fn the_order_of_readable_and_unreadable_rows_is_kept() {
        let mut some = rows(&[1, -2, 3, -4]);
        assert_eq!((some.all(), some.last_unreadable()), (4, Some(-4)));
        some.drop_last();
        assert_eq!((some.len(), some.last_unreadable()), (2, None));
        some.drop_last();
        assert_eq!((some.len(), some.last_unreadable()), (1, Some(-2)));
        let some = rows(&[1, -2, 3, 4]).refuse(|row| (*row == 3).then(|| (3, DbError::decode("y"))));
        let (readable, unreadable) = some.into_parts();
        assert_eq!(readable, [1, 4]);
        assert!(
            unreadable
                .iter()
                .map(|row| (row.id, row.place))
                .eq([(-2, 1), (3, 2)])
        );
        assert!(rows(&[-1]).only().is_err() && rows(&[]).only().unwrap().is_none());
    }
}
