//! Reads a file once to detect its kind and its encoding and to compute a hash that identifies it. In: a file. Out:
//! [`Looked`], or an error that names the other kind of file.

use super::ImportError;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, GB18030, GBK, UTF_8, UTF_16BE, UTF_16LE};
use sha2::{Digest as _, Sha256};
use std::io::Read;

const BLOCK_BYTES: usize = 256 * 1024;
/// Approximate number of bytes that are used to guess the encoding of text that is not UTF-8.
const TELLING_BYTES: usize = 1024 * 1024;

/// The findings about a file.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    /// The kind of file.
    pub(super) kind: FileKind,
    /// SHA-256 of the whole file.
    pub(super) sha256: [u8; 32],
    /// Length of the file in bytes.
    pub(super) bytes: u64,
}

/// The kinds of files that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Text with separators.
    Text {
        /// The encoding.
        encoding: &'static Encoding,
        /// True if the encoding is a guess, because nothing in the file states it.
        guessed: bool,
    },
    /// A spreadsheet.
    Xlsx,
}

/// Reads the whole file. A given encoding is used as it is; the region helps to guess.
pub(super) fn look(
    mut file: impl Read,
    encoding: Option<&'static Encoding>,
    region: Option<&str>,
) -> Result<Looked, ImportError> {
    let mut looking = Looking::default();
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    let mut block = vec![0; BLOCK_BYTES];
    let mut kind = None;
    loop {
        let read = fill(&mut file, &mut block).map_err(|err| ImportError::Read { line: None, err })?;
        let part = block.get(..read).unwrap_or_default();
        hash.update(part);
        if bytes == 0 {
            if part.is_empty() {
                return Err(ImportError::Empty);
            }
            kind = by_first_bytes(part, encoding)?;
        }
        bytes = bytes.saturating_add(read as u64);
        if kind.is_none() && encoding.is_none() {
            looking.take(part);
        }
        if read < BLOCK_BYTES {
            break;
        }
    }
    Ok(Looked {
        kind: match (kind, encoding) {
            (Some(kind), _) => kind,
            (None, Some(encoding)) => FileKind::Text {
                encoding,
                guessed: false,
            },
            (None, None) => looking.text(region),
        },
        sha256: hash.finalize().into(),
        bytes,
    })
}

fn fill(file: &mut impl Read, block: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}

/// The kind of file that the first bytes prove. `None` for text.
fn by_first_bytes(head: &[u8], encoding: Option<&'static Encoding>) -> Result<Option<FileKind>, ImportError> {
    let other = |what, instead| Err(ImportError::OtherKind { what, instead });
    let text = |encoding| FileKind::Text {
        encoding,
        guessed: false,
    };
    const EXPORT: &str = "export it as CSV UTF-8 or save it as .xlsx";
    if head.starts_with(b"PK\x03\x04") {
        return Ok(Some(FileKind::Xlsx));
    }
    if head.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return other(
            "an old Excel file (.xls), or an .xlsx with a password",
            "save it as .xlsx without a password, or as CSV UTF-8",
        );
    }
    if head.starts_with(&[0xff, 0xfe, 0, 0]) || head.starts_with(&[0, 0, 0xfe, 0xff]) {
        return other("text in UTF-32", "save it as UTF-8");
    }
    for (magic, what) in [
        (b"%PDF".as_slice(), "a PDF"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"Rar!", "a RAR archive"),
        (b"7z\xbc\xaf", "a 7-Zip archive"),
        (b"{\\rtf", "a Rich Text document"),
        (b"SQLite format 3\0", "a database"),
        (b"\x89PNG", "a picture"),
        (b"\xff\xd8\xff", "a picture"),
        (b"BEGIN:VCARD", "a set of business cards (vCard)"),
    ] {
        if head.starts_with(magic) {
            return other(what, EXPORT);
        }
    }
    let start = head.trim_ascii_start();
    let begins = |with: &[u8]| {
        start
            .get(..with.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(with))
    };
    if begins(b"<!doctype") || begins(b"<html") || begins(b"<table") || begins(b"<?xml") || begins(b"<style")
    {
        return other(
            "a web page or XML, as some programs save under the name .xls or .csv",
            "open it in a spreadsheet and save it as .xlsx or CSV UTF-8",
        );
    }
    if (begins(b"{") || begins(b"[{")) && !start.contains(&b'\t') {
        return other(
            "JSON",
            "send contacts as JSON to the API, or export them as CSV UTF-8",
        );
    }
    if encoding.is_some() {
        return Ok(None);
    }
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Ok(Some(text(encoding)));
    }
    let sample = head.get(..4096).unwrap_or(head);
    let nul = |odd: usize| sample.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
    match (nul(0), nul(1)) {
        (0, 0) => Ok(None),
        // In UTF-16, half of the bytes of Latin text are zero: always the even ones or always the odd ones.
        (even, odd) if odd > 4 * even && odd >= sample.len() / 4 => Ok(Some(text(UTF_16LE))),
        (even, odd) if even > 4 * odd && even >= sample.len() / 4 => Ok(Some(text(UTF_16BE))),
        _ => other("no text", EXPORT),
    }
}

/// Detects whether a text is UTF-8.
struct Looking {
    detector: EncodingDetector,
    fed: usize,
    /// The bytes of a character that is cut by the end of a block.
    carry: Vec<u8>,
    good: u64,
    bad: u64,
}

impl Default for Looking {
    fn default() -> Self {
        Self {
            detector: EncodingDetector::new(Iso2022JpDetection::Deny),
            fed: 0,
            carry: Vec::new(),
            good: 0,
            bad: 0,
        }
    }
}

impl Looking {
    fn take(&mut self, block: &[u8]) {
        if self.carry.is_empty() && block.is_ascii() {
            return;
        }
        if self.fed < TELLING_BYTES {
            self.detector.feed(block, false);
            self.fed = self.fed.saturating_add(block.len());
        }
        let mut all = std::mem::take(&mut self.carry);
        all.extend_from_slice(block);
        // A character that is cut by the block's end is read with the next block.
        let whole = all.len() - cut(&all);
        let (now, later) = all.split_at_checked(whole).unwrap_or((&all, &[]));
        for chunk in now.utf8_chunks() {
            self.good += chunk.valid().chars().filter(|c| !c.is_ascii()).count() as u64;
            self.bad += u64::from(!chunk.invalid().is_empty());
        }
        self.carry = later.to_vec();
    }

    fn text(mut self, region: Option<&str>) -> FileKind {
        self.bad += u64::from(!self.carry.is_empty());
        if self.bad.saturating_mul(10) <= self.good {
            // A few broken characters in a text that is mostly UTF-8: their rows are rejected.
            return FileKind::Text {
                encoding: UTF_8,
                guessed: false,
            };
        }
        self.detector.feed(&[], true);
        let country = region.map(str::to_ascii_lowercase);
        let guess = self
            .detector
            .guess(country.as_deref().map(str::as_bytes), Utf8Detection::Deny);
        FileKind::Text {
            // GB18030 includes all of GBK.
            encoding: if guess == GBK { GB18030 } else { guess },
            guessed: true,
        }
    }
}

/// Number of bytes at the end that begin an incomplete character.
fn cut(bytes: &[u8]) -> usize {
    let back = bytes.iter().rev().take(3);
    for (n, byte) in back.enumerate() {
        let length = match byte {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            0b1000_0000..=0b1011_1111 => continue,
            _ => return 0,
        };
        return if length > n + 1 { n + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> FileKind {
        look(bytes, None, None).unwrap().kind
    }

    fn encoding(bytes: &[u8], region: Option<&str>) -> &'static str {
        match look(bytes, None, region).unwrap().kind {
            FileKind::Text { encoding, .. } => encoding.name(),
            FileKind::Xlsx => "xlsx",
        }
    }

    #[test]
    fn encodings_are_distinguished() {
        let utf16 = |text: &str, le: bool| -> Vec<u8> {
            let units = text.encode_utf16();
            units
                .flat_map(|u| if le { u.to_le_bytes() } else { u.to_be_bytes() })
                .collect()
        };
        let text = "number;name\n2025550123;Zoë\n";
        assert_eq!(encoding(text.as_bytes(), None), "UTF-8");
        assert_eq!(encoding(b"number\n2025550123\n", None), "UTF-8");
        assert_eq!(encoding(&utf16(text, true), None), "UTF-16LE");
        assert_eq!(encoding(&utf16(text, false), None), "UTF-16BE");
        let (latin, ..) =
            encoding_rs::WINDOWS_1252.encode("number;name\n2025550123;Zoë Müller-Lüdenscheid\n");
        assert_eq!(encoding(&latin, Some("DE")), "windows-1252");
        let (gbk, ..) =
            GBK.encode("姓名,手机号码,城市\n客户一,+12025550100,北京\n客户二,+12025550101,上海\n");
        assert_eq!(encoding(&gbk, None), "gb18030");
    }

    #[test]
    fn a_character_cut_by_a_block_is_still_utf_8() {
        for ahead in 0..4 {
            let mut text = "x".repeat(BLOCK_BYTES - 2 - ahead);
            text.push_str("é€😀é");
            assert_eq!(encoding(text.as_bytes(), None), "UTF-8", "{ahead}");
        }
    }

    #[test]
    fn an_unknown_list_is_named() {
        assert_eq!(kind(b"PK\x03\x04rest"), FileKind::Xlsx);
        for bytes in [
            b"%PDF-1.7".as_slice(),
            b"\x1f\x8b\x08",
            b"<html><table>",
            b"[{\"number\":1}]",
            b"\0\x01\x02\0\x07",
        ] {
            assert!(matches!(
                look(bytes, None, None),
                Err(ImportError::OtherKind { .. })
            ));
        }
        assert!(matches!(
            look(b"".as_slice(), None, None),
            Err(ImportError::Empty)
        ));
    }
}
