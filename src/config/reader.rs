//! Reads settings from TOML and reports exactly what is wrong. Input: the text of a file. Output: values, and every
//! [`Problem`] found. It does not know the names of settings.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A problem in a configuration file, with its place. `Display` shows the line with a caret below it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file name as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The problem, as one complete line.
    pub message: String,
    /// The value that is expected there.
    pub expected: String,
    /// Further advice. `None`: `expected` says enough.
    pub hint: Option<String>,
    /// The line, with passwords removed.
    pub excerpt: String,
    /// Number of characters that the caret marks.
    pub width: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let indent = " ".repeat(self.column.saturating_sub(1));
        let carets = "^".repeat(self.width.max(1));
        writeln!(f, "error: {}", self.message)?;
        writeln!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{number} | {}", self.excerpt)?;
        write!(f, "{gutter} | {indent}{carets} {}", self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A file and the problems found in it so far.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The expected value in place of a wrong one, and further advice.
pub(super) struct Wrong {
    pub(super) expected: String,
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn expected(text: impl Into<String>) -> Self {
        Self {
            expected: text.into(),
            hint: None,
        }
    }

    pub(super) fn hint(self, text: impl Into<String>) -> Self {
        Self {
            hint: Some(text.into()),
            ..self
        }
    }
}

/// A table. Read all its settings before [`Section::finish`], which reports the others as unknown.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    /// The title in messages, such as `[server]`.
    title: String,
    span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: RefCell::default(),
        }
    }

    /// The whole document. `None` if it is not TOML; this is then reported.
    pub(super) fn document(&self) -> Option<Spanned<DeTable<'a>>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or(self.text.len()..self.text.len());
            self.report(
                span,
                "not valid TOML".to_owned(),
                Wrong::expected(error.message()),
            );
        }
        errors.is_empty().then_some(document)
    }

    pub(super) fn report(&self, span: Range<usize>, message: String, wrong: Wrong) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).map_or(0, |t| t.chars().count()) + 1;
        let whole = self
            .text
            .get(start..)
            .and_then(|t| t.lines().next())
            .unwrap_or("");
        let meant = self.text.get(span).and_then(|t| t.lines().next()).unwrap_or("");
        let excerpt = redact(whole);
        let room = excerpt.chars().count().saturating_sub(column - 1);
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line,
            column,
            message,
            expected: wrong.expected,
            hint: wrong.hint,
            width: meant.chars().count().clamp(1, room.max(1)),
            excerpt,
        });
    }

    /// All problems in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|p| (p.line, p.column));
        problems
    }
}

impl<'a> Section<'a> {
    pub(super) fn root(reader: &'a Reader<'a>, document: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            reader,
            title: "the configuration".to_owned(),
            span: 0..0,
            table: Some(document.get_ref()),
            known: Vec::new(),
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table?.get(key)
    }

    /// A table within this one. A missing table reads as an empty one.
    pub(super) fn table(&mut self, key: &'static str) -> Section<'a> {
        let value = self.value(key);
        let table = value.and_then(|v| v.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            let wrong = Wrong::expected(format!("a table: `[{key}]` on a line of its own"));
            self.reader
                .report(value.span(), format!("`{key}` is not a table"), wrong);
        }
        Section {
            reader: self.reader,
            title: format!("[{key}]"),
            span: value.map_or(0..0, Spanned::span),
            table,
            known: Vec::new(),
        }
    }

    /// An array of tables within this one.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let items: Option<Vec<_>> = value.get_ref().as_array().and_then(|array| {
            let tables = array
                .iter()
                .map(|item| Some((item.span(), item.get_ref().as_table()?)));
            tables.collect()
        });
        let Some(items) = items else {
            let wrong = Wrong::expected(format!("an array of tables: `[[{key}]]` before each"));
            let message = format!("`{key}` is not an array of tables");
            self.reader.report(value.span(), message, wrong);
            return Vec::new();
        };
        let section = |(span, table)| Section {
            reader: self.reader,
            title: format!("[[{key}]]"),
            span,
            table: Some(table),
            known: Vec::new(),
        };
        items.into_iter().map(section).collect()
    }

    /// A setting, converted by `read`. `None` if it is missing, or wrong, which is then reported.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, Wrong>,
    ) -> Option<Placed<T>> {
        let value = self.value(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(Placed {
                value: read,
                span: value.span(),
            }),
            Err(wrong) => {
                self.invalid(key, value.span(), wrong);
                None
            }
        }
    }

    /// Like [`Section::get`], but a missing setting is reported too.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, Wrong>,
    ) -> Option<Placed<T>> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.get(key, read)
    }

    /// True if the setting exists.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.contains_key(key))
    }

    /// Reports a missing setting.
    pub(super) fn missing(&self, key: &str, example: &str) {
        let wrong = Wrong::expected("this section needs it").hint(format!("add `{key} = {example}`"));
        let message = format!("missing setting `{key}` in {}", self.title);
        self.reader.report(self.span.clone(), message, wrong);
    }

    /// Reports a wrong value.
    pub(super) fn invalid(&self, key: &str, span: Range<usize>, wrong: Wrong) {
        self.reader
            .report(span, format!("invalid `{key}` in {}", self.title), wrong);
    }

    /// Reports every setting that was not read. `forbidden`: settings that users try, and what to do instead.
    pub(super) fn finish(self, forbidden: &[(&str, &str)]) {
        for key in self.table.into_iter().flat_map(|t| t.keys()) {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let near = self
                .known
                .iter()
                .map(|known| {
                    let begins_alike = known.starts_with(name) || name.starts_with(known);
                    let distance = strsim::damerau_levenshtein(name, known);
                    (!begins_alike && distance > 1 + known.len() / 4, distance, known)
                })
                .min()
                .filter(|(is_far, ..)| !is_far);
            let wrong = match (forbidden.iter().find(|(f, _)| *f == name), near) {
                (Some((_, instead)), _) => Wrong::expected("not a setting").hint(*instead),
                (None, Some((_, _, near))) => {
                    Wrong::expected("unknown").hint(format!("did you mean `{near}`?"))
                }
                (None, None) => {
                    Wrong::expected("unknown").hint(format!("known here: {}", self.known.join(", ")))
                }
            };
            let message = format!("unknown setting `{name}` in {}", self.title);
            self.reader.report(key.span(), message, wrong);
        }
    }
}

/// A text, converted by `check`.
pub(super) fn text<T>(
    check: impl FnOnce(&str) -> Result<T, Wrong>,
) -> impl FnOnce(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| match value.as_str() {
        Some(text) => check(text),
        None => Err(Wrong::expected(format!(
            "a text in double quotes, not of type {}",
            value.type_str()
        ))),
    }
}

/// A list of texts, each converted by `check`.
pub(super) fn texts<T>(
    check: impl Fn(&str) -> Result<T, Wrong>,
) -> impl FnOnce(&DeValue<'_>) -> Result<Vec<T>, Wrong> {
    move |value| match value.as_array() {
        Some(array) => array.iter().map(|one| text(&check)(one.get_ref())).collect(),
        None => Err(Wrong::expected(format!(
            "a list of texts in square brackets, not of type {}",
            value.type_str()
        ))),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value
        .as_bool()
        .ok_or_else(|| Wrong::expected("`true` or `false`, without quotes"))
}

/// A whole number, 0 or more.
pub(super) fn whole(value: &DeValue<'_>) -> Result<u64, Wrong> {
    value
        .as_integer()
        .and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok())
        .ok_or_else(|| Wrong::expected("a whole number, 0 or more"))
}

/// A number from `min` to `max`, with or without a decimal point.
pub(super) fn number(min: f64, max: f64) -> impl FnOnce(&DeValue<'_>) -> Result<f64, Wrong> {
    move |value| {
        let digits = match value {
            DeValue::Integer(i) if i.radix() == 10 => Some(i.as_str()),
            DeValue::Float(f) => Some(f.as_str()),
            _ => None,
        };
        digits
            .and_then(|d| d.parse().ok())
            .filter(|n| (min..=max).contains(n))
            .ok_or_else(|| Wrong::expected(format!("a number from {min} to {max}")))
    }
}

/// Endings of the names of secrets.
const SECRETS: [&str; 5] = ["password", "passwd", "secret", "token", "api_key"];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|word| name.ends_with(word))
}

/// The line without passwords: in settings with such a name, between `:` and `@` of a URL, and in the URL's parameters.
fn redact(line: &str) -> String {
    if let Some((key, _)) = line.split_once('=')
        && is_secret(key.trim().trim_matches('"'))
    {
        return format!("{key}= \"…\"");
    }
    let Some((scheme, rest)) = line.split_once("://") else {
        return line.to_owned();
    };
    if let Some((before, query)) = rest.split_once('?') {
        let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}=…"),
            Some(_) | None => parameter.to_owned(),
        });
        let query = parameters.collect::<Vec<_>>().join("&");
        return format!("{}?{query}", redact(&format!("{scheme}://{before}")));
    }
    let Some((user_info, host)) = rest.rsplit_once('@') else {
        return line.to_owned();
    };
    match user_info.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:…@{host}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn a_shown_line_never_contains_a_password() {
        for (line, shown) in [
            (r#"password = "hunter2""#, r#"password = "…""#),
            (r#"  ari_secret="hunter2""#, r#"  ari_secret= "…""#),
            (
                r#"url = "postgres://me:hun@ter2@db/x""#,
                r#"url = "postgres://me:…@db/x""#,
            ),
            (r#"url = "postgres://me@db/x""#, r#"url = "postgres://me@db/x""#),
            (
                r#"url = "postgres://me@db/x?sslmode=require&SSLpassword=hunter2&a=b""#,
                r#"url = "postgres://me@db/x?sslmode=require&SSLpassword=…&a=b""#,
            ),
            (
                r#"url = "postgres://me:hunter2@db/x?sslpassword=hunter2""#,
                r#"url = "postgres://me:…@db/x?sslpassword=…"#,
            ),
            (
                r#"password_file = "ari.password""#,
                r#"password_file = "ari.password""#,
            ),
        ] {
            assert_eq!(redact(line), shown);
        }
    }
}
