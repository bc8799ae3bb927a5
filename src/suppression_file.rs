//! Reads the file of a suppression list: one number a line, or CSV. In: the parts of the file as they arrive. Out: the keyed hashes
//! of its numbers, and how many lines were no number. It keeps no number and no text.

use crate::numbers::{self, Notation, Plan, is_region};
use axum::body::Bytes;
use paceline_core::number::E164;
use paceline_store::SuppressionKey;
use tokio::sync::mpsc;

/// Longer lines are no number.
const LINE_BYTES_MAX: usize = 4_096;
const COLUMNS_MAX: usize = 8;

/// The notation of the numbers, and their columns.
#[derive(Debug)]
pub struct Numbers {
    plan: Plan,
    /// The region's numbers have 10 digits and the country code 1.
    is_nanp: bool,
    /// Places of the columns, from 0.
    columns: Vec<usize>,
}

/// The result of reading a file.
#[derive(Debug, Default)]
pub struct Read {
    /// The hashes of the numbers in the order of the file.
    pub hashes: Vec<u64>,
    /// Number of lines without a valid number.
    pub rejected: u64,
    /// Number of lines with text. A header does not count.
    pub lines: u64,
    /// The file has more numbers than there is room for; its rest was not read.
    pub is_too_long: bool,
}

impl Numbers {
    /// `region` is that of numbers without a country code, `columns` such as `1` or `1,2`. The error names the parameter.
    pub fn new(region: Option<&str>, columns: &str) -> Result<Self, (&'static str, &'static str)> {
        let wrong = ("columns", "1 to 8 columns, from 1, such as `1` or `1,2`");
        let place = |text: &str| {
            let place = text.trim().parse::<usize>().ok();
            place
                .filter(|place| (1..=100).contains(place))
                .map(|place| place - 1)
        };
        let columns: Option<Vec<usize>> = columns.split(',').map(place).collect();
        let columns = columns.filter(|columns| (1..=COLUMNS_MAX).contains(&columns.len()));
        let region_wrong = ("region", "two capital letters (ISO 3166-1), such as `US`");
        if region.is_some_and(|region| !is_region(region)) {
            return Err(region_wrong);
        }
        Ok(Self {
            plan: Plan::new(region, Notation::Unstated).map_err(|_| region_wrong)?,
            is_nanp: region.is_some_and(|region| matches!(region, "US" | "CA" | "PR")),
            columns: columns.ok_or(wrong)?,
        })
    }

    /// Reads parts until the sender is dropped, or until there are more than `numbers_max` numbers. Blocks; call it on a thread
    /// of its own.
    pub fn read(&self, mut parts: mpsc::Receiver<Bytes>, key: &SuppressionKey, numbers_max: usize) -> Read {
        let mut read = Read {
            // A vector that grows is copied and needs its memory twice. Memory that is never written to takes none.
            hashes: Vec::with_capacity(numbers_max),
            ..Read::default()
        };
        let mut rest: Vec<u8> = Vec::new();
        while let Some(part) = parts.blocking_recv() {
            let mut part = part.as_ref();
            while let Some(end) = memchr::memchr(b'\n', part) {
                let (line, after) = part.split_at(end);
                part = after.get(1..).unwrap_or_default();
                if rest.is_empty() {
                    self.line(line, key, &mut read);
                } else {
                    rest.extend_from_slice(line);
                    self.line(&rest, key, &mut read);
                    rest.clear();
                }
            }
            // A line that is too long is cut, and is no number.
            let room = LINE_BYTES_MAX.saturating_add(1).saturating_sub(rest.len());
            rest.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            if read.is_too_long {
                return read;
            }
        }
        self.line(&rest, key, &mut read);
        read
    }

    fn line(&self, line: &[u8], key: &SuppressionKey, read: &mut Read) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        read.lines += 1;
        match self.number(line) {
            Some(_) if read.hashes.len() == read.hashes.capacity() => read.is_too_long = true,
            Some(number) => read.hashes.push(key.hash(&number)),
            // A header.
            None if read.lines == 1 && !line.iter().any(u8::is_ascii_digit) => read.lines = 0,
            None => read.rejected += 1,
        }
    }

    fn number(&self, line: &[u8]) -> Option<E164> {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let line = std::str::from_utf8(line.get(..LINE_BYTES_MAX.min(line.len()))?).ok()?;
        let mut text = String::with_capacity(16);
        for column in &self.columns {
            let mut cells = line.split([',', ';', '\t']);
            text.push_str(cells.nth(*column)?.trim_matches([' ', '"']));
        }
        // The number plan is not asked for numbers whose form is certain: that would take most of the time.
        if text.starts_with('+') {
            return E164::new(&text).ok();
        }
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        if self.is_nanp && digits && text.len() == 10 {
            return E164::new(&format!("+1{text}")).ok();
        }
        numbers::read(&text, &self.plan).ok().map(|read| read.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1_000;

    fn read(numbers: &Numbers, parts: &[&'static str]) -> Read {
        let (send, receive) = mpsc::channel(parts.len().max(1));
        for part in parts {
            send.try_send(Bytes::from_static(part.as_bytes())).unwrap();
        }
        drop(send);
        numbers.read(receive, &SuppressionKey::new(&[7; 32]), ROOM)
    }

    fn hashes(numbers: &[&str]) -> Vec<u64> {
        let key = SuppressionKey::new(&[7; 32]);
        numbers
            .iter()
            .map(|text| key.hash(&E164::new(text).unwrap()))
            .collect()
    }

    #[test]
    fn a_number_is_read_however_the_file_is_cut_into_parts() {
        let numbers = Numbers::new(Some("US"), "1").unwrap();
        let one = hashes(&["+12025550123", "+12025550124", "+442079460000"]);
        let text = "number\r\n2025550123\r\n(202) 555-0124\n\n+442079460000";
        let whole = read(&numbers, &[text]);
        assert_eq!((whole.hashes, whole.rejected, whole.lines), (one.clone(), 0, 3));
        for cut in 1..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(read(&numbers, &[a, b]).hashes, one, "{cut}");
        }
    }

    #[test]
    fn the_columns_of_area_code_and_number_are_joined() {
        let numbers = Numbers::new(Some("US"), "1,2").unwrap();
        let found = read(&numbers, &["\"202\",5550123,x\n202;5550124\n"]);
        assert_eq!(found.hashes, hashes(&["+12025550123", "+12025550124"]));
    }

    #[test]
    fn the_memory_of_the_hashes_never_grows_and_a_file_with_more_is_not_read_to_its_end() {
        let numbers = Numbers::new(None, "1").unwrap();
        let lines = |count: usize| {
            let all = (0..count).map(|n| format!("+1202555{n:04}\n"));
            &*all.collect::<String>().leak()
        };
        let full = read(&numbers, &[lines(ROOM)]);
        assert_eq!((full.hashes.len(), full.hashes.capacity()), (ROOM, ROOM));
        assert!(!full.is_too_long);
        let more = read(&numbers, &[lines(ROOM + 1), lines(5)]);
        assert_eq!((more.hashes.len(), more.hashes.capacity()), (ROOM, ROOM));
        assert!(more.is_too_long);
        assert_eq!(more.lines, 1_001, "the next part is not read");
    }

    #[test]
    fn lines_without_a_number_are_counted() {
        let numbers = Numbers::new(None, "1").unwrap();
        let long: &'static str = "9".repeat(10_000).leak();
        let found = read(&numbers, &["+12025550123\n5550123\n", long, "\nx\n"]);
        assert_eq!((found.hashes.len(), found.rejected, found.lines), (1, 3, 4));
        for wrong in ["", "0", "1,x", "1,2,3,4,5,6,7,8,9"] {
            assert_eq!(Numbers::new(None, wrong).unwrap_err().0, "columns", "{wrong}");
        }
    }
}
