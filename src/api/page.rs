//! Keyset pagination: `?limit=…&cursor=…` in, `items` and `next_cursor` out. A cursor names its list and the last key
//! shown. So rows that are added or deleted between two pages do not make a page skip or repeat a row.

use super::problem::{ApiResult, Fault, Kind, Problem};
use crate::store::Rows;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::str::FromStr;

/// Default number of items on a page.
pub(super) const LIMIT_DEFAULT: u32 = 50;
/// Maximum number of items on a page.
pub(super) const LIMIT_MAX: u32 = 200;

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Page<T> {
    /// The items of this page.
    pub(super) items: Vec<T>,
    /// The `cursor` of the next page. Null on the last page.
    #[schema(example = "dGFza3M6NDI")]
    pub(super) next_cursor: Option<String>,
    /// Rows of this page that cannot be read, because another program or an older version wrote them. Left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unreadable: Vec<UnreadableRow>,
}

/// A row that cannot be read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct UnreadableRow {
    /// The row's id.
    #[schema(example = 3)]
    id: i64,
    /// The part of the row that cannot be read.
    #[schema(example = "a stored consent is not one that this version writes")]
    fault: String,
}

/// The checked limits of a requested page. `K` is the list's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window<K> {
    list: &'static str,
    /// The last key of the page before. `None` for the first page.
    pub(super) after: Option<K>,
    limit: usize,
}

/// The parameters of a list without filters. Lists with filters repeat both fields, because unknown parameters are
/// refused.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Items on a page, 1 to 200. Default 50.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: Option<u32>,
    /// The `next_cursor` of the page before. The first page if left out.
    pub(super) cursor: Option<String>,
}

impl<K: FromStr + Display> Window<K> {
    /// Checks `limit` and `cursor` for the list of this name.
    pub(super) fn new(list: &'static str, limit: Option<u32>, cursor: Option<&str>) -> ApiResult<Self> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let fault = Fault::parameter("limit", format!("must be from 1 to {LIMIT_MAX}"));
            return Err(Problem::new(Kind::BadParameter, "`limit` is out of range.").with_errors(vec![fault]));
        }
        let after = cursor.map(|text| decode(list, text)).transpose()?;
        Ok(Self {
            list,
            after,
            limit: limit as usize,
        })
    }

    /// The number of rows to read from the store: one more than the page has, to learn whether there is a next page.
    pub(super) fn fetch(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Cuts the rows to a page. `key` reads a row's key; `item` converts a row to its API form.
    pub(super) fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> K,
        item: impl FnMut(R) -> T,
    ) -> Page<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| URL_SAFE_NO_PAD.encode(format!("{}:{}", self.list, key(last))));
        Page {
            items: rows.into_iter().map(item).collect(),
            next_cursor,
            unreadable: Vec::new(),
        }
    }
}

impl Window<i64> {
    /// As [`Window::page`], for rows of which some cannot be read.
    pub(super) fn page_of<R, T>(
        &self,
        mut rows: Rows<R>,
        key: impl Fn(&R) -> i64,
        item: impl FnMut(R) -> T,
    ) -> Page<T> {
        let more = rows.all() > self.limit;
        while rows.all() > self.limit {
            rows.drop_last();
        }
        let last = rows.last_unreadable().or_else(|| rows.last().map(key));
        let cursor = |last: i64| URL_SAFE_NO_PAD.encode(format!("{}:{last}", self.list));
        let next_cursor = last.filter(|_| more).map(cursor);
        let (readable, unreadable) = rows.into_parts();
        let unreadable = unreadable.into_iter().map(|row| UnreadableRow {
            id: row.id,
            fault: row.fault.to_string(),
        });
        Page {
            items: readable.into_iter().map(item).collect(),
            next_cursor,
            unreadable: unreadable.collect(),
        }
    }
}

fn decode<K: FromStr>(list: &str, text: &str) -> ApiResult<K> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| !text.contains(char::is_control))
        .and_then(|text| text.split_once(':').filter(|(of, _)| *of == list)?.1.parse().ok())
        .ok_or_else(|| {
            let fault = Fault::parameter("cursor", "not a `next_cursor` of this list");
            Problem::new(
                Kind::BadCursor,
                "Pass `next_cursor` of this list's page before, unchanged, or leave `cursor` out to start at the beginning.",
            )
            .with_errors(vec![fault])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_the_next_page_and_only_in_its_own_list() {
        let window = Window::<i64>::new("tasks", Some(2), None).unwrap();
        assert_eq!(window.fetch(), 3);
        let page = window.page(vec![7, 8, 9], |n| *n, |n| n);
        assert_eq!(page.items, [7, 8]);
        let cursor = page.next_cursor.unwrap();
        let next = Window::<i64>::new("tasks", Some(2), Some(&cursor)).unwrap();
        assert_eq!(next.after, Some(8));
        assert_eq!(next.page(vec![9], |n| *n, |n| n).next_cursor, None);
        let other = Window::<i64>::new("agents", Some(2), Some(&cursor)).unwrap_err();
        assert_eq!(other.kind(), Kind::BadCursor);
    }

    #[test]
    fn cursors_and_limits_that_make_no_sense_are_refused() {
        for bad in ["", "x", "dGFza3M", "!!!", "dGFza3M6eA"] {
            let problem = Window::<i64>::new("tasks", None, Some(bad)).unwrap_err();
            assert_eq!(problem.kind(), Kind::BadCursor, "{bad}");
        }
        for limit in [0, 201, u32::MAX] {
            let problem = Window::<i64>::new("tasks", Some(limit), None).unwrap_err();
            assert_eq!(problem.kind(), Kind::BadParameter, "{limit}");
        }
    }
}
