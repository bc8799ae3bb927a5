//! Estimates the memory that a part of a spreadsheet will take. In: its XML in blocks that may be cut anywhere. Out:
//! the memory in bytes, or the reason why it cannot be read. It keeps only a tag's name, and it trusts no size that the
//! part states.
//!
//! The reader of spreadsheets keeps shared texts, sheet names and relations. For each `xf` it keeps a whole style with
//! fonts, fills, borders and the format's text, so a small part can take much memory. Of a sheet it keeps one cell at a
//! time.

/// Maximum length of a text between two tags, of a tag, and of a cell. Spreadsheet programs write at most 32,767
/// characters in a cell.
const STRETCH_BYTES_MAX: u64 = 1024 * 1024;
/// Number of bytes that are kept of a tag's name. The names of relevant tags are shorter.
const NAME_BYTES_MAX: usize = 64;
/// Memory of a text without its characters.
const TEXT_BYTES: u64 = 48;
/// Memory of a font, a border, a sheet or a relation.
const ENTRY_BYTES: u64 = 256;
/// Memory of a style without its texts.
const STYLE_BYTES: u64 = 640;
/// Number of texts in a style: the font's name and the format.
const STYLE_TEXTS: u64 = 2;

/// The reason why a part cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMuch {
    /// A text, a tag or a cell is too long.
    Stretch,
}

/// The position in the XML.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After `<`.
    Name,
    /// After the name. In a quoted value: the quotation mark.
    Tag(Option<u8>),
    /// In content that ends with these bytes.
    Skip(&'static [u8]),
}

/// The state while a part is measured.
#[derive(Debug, Default)]
pub(super) struct Part {
    state: State,
    name: Vec<u8>,
    /// True for a closing tag: its name began with `/`.
    closes: bool,
    /// The last bytes of skipped content.
    last: [u8; 3],
    /// Number of bytes since the last `<` or `>`.
    stretch: u64,
    stretch_max: u64,
    /// Number of bytes since the cell began. `None` outside of a cell.
    cell: Option<u64>,
    text: u64,
    texts: u64,
    entries: u64,
    styles: u64,
}

impl Part {
    /// Reads the next block.
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<(), TooMuch> {
        let mut rest = block;
        while let Some((byte, after)) = rest.split_first() {
            // Most bytes are inside texts and tags, so they are skipped at once.
            let ahead = match self.state {
                State::Text => memchr::memchr(b'<', rest),
                State::Tag(None) => memchr::memchr3(b'>', b'"', b'\'', rest),
                State::Tag(Some(mark)) => memchr::memchr(mark, rest),
                State::Name | State::Skip(_) => Some(0),
            };
            let ahead = ahead.unwrap_or(rest.len());
            if ahead > 0 {
                self.pass(ahead as u64)?;
                if self.state == State::Text {
                    self.text = self.text.saturating_add(ahead as u64);
                }
                rest = rest.get(ahead..).unwrap_or_default();
                continue;
            }
            self.pass(1)?;
            self.take(*byte);
            rest = after;
        }
        Ok(())
    }

    fn pass(&mut self, bytes: u64) -> Result<(), TooMuch> {
        self.stretch = self.stretch.saturating_add(bytes);
        self.stretch_max = self.stretch_max.max(self.stretch);
        let cell = self.cell.map(|cell| cell.saturating_add(bytes));
        self.cell = cell;
        if self.stretch > STRETCH_BYTES_MAX || cell.is_some_and(|cell| cell > STRETCH_BYTES_MAX) {
            return Err(TooMuch::Stretch);
        }
        Ok(())
    }

    fn take(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Text, _) => {
                self.stretch = 0;
                self.name.clear();
                self.closes = false;
                State::Name
            }
            (State::Name, b'/') if self.name.is_empty() => {
                self.closes = true;
                State::Name
            }
            (State::Name, b'>') => self.named(),
            (State::Name, b' ' | b'\t' | b'\r' | b'\n') => {
                self.named();
                State::Tag(None)
            }
            (State::Name, _) => {
                // A longer name keeps its end, because its prefix may have any length.
                if self.name.len() == NAME_BYTES_MAX {
                    self.name.remove(0);
                }
                self.name.push(byte);
                self.not_a_tag()
            }
            (State::Tag(None), b'>') => self.text_begins(),
            (State::Tag(None), mark) => State::Tag(Some(mark)),
            (State::Tag(Some(_)), _) => State::Tag(None),
            (State::Skip(end), _) => {
                self.last.rotate_left(1);
                if let Some(last) = self.last.last_mut() {
                    *last = byte;
                }
                // The reader keeps no skipped content, except in `<![CDATA[`, which is text.
                if self.last.ends_with(end) {
                    self.text_begins()
                } else {
                    self.text = self.text.saturating_add(1);
                    State::Skip(end)
                }
            }
        };
    }

    fn text_begins(&mut self) -> State {
        self.stretch = 0;
        State::Text
    }

    /// The state after a tag's first bytes: comments, CDATA and processing instructions are not tags.
    fn not_a_tag(&mut self) -> State {
        let end: &[u8] = match self.name.as_slice() {
            b"!--" => b"-->",
            b"![CDATA[" => b"]]>",
            b"?" => b"?>",
            _ => return State::Name,
        };
        self.last = [0; 3];
        State::Skip(end)
    }

    fn named(&mut self) -> State {
        let name = self.name.strip_suffix(b"/").unwrap_or(&self.name);
        let local = name.rsplit(|byte| *byte == b':').next().unwrap_or_default();
        match (local, self.closes) {
            (b"c", false) => self.cell = Some(0),
            (b"c" | b"row" | b"sheetData", true) | (b"row", false) => self.cell = None,
            (b"si" | b"numFmt", false) => self.texts += 1,
            (b"font" | b"fill" | b"border" | b"sheet" | b"Relationship" | b"definedName", false) => {
                self.entries += 1;
            }
            (b"xf", false) => self.styles += 1,
            _ => {}
        }
        self.text_begins()
    }

    /// Maximum memory in bytes. 0 for a sheet with only cells.
    pub(super) fn weight(&self, is_sheet: bool) -> u64 {
        let style = STYLE_BYTES.saturating_add(self.stretch_max.saturating_mul(STYLE_TEXTS));
        let kept = self
            .texts
            .saturating_mul(TEXT_BYTES)
            .saturating_add(
                self.entries
                    .saturating_mul(ENTRY_BYTES.saturating_add(self.stretch_max.min(1024))),
            )
            .saturating_add(self.styles.saturating_mul(style));
        if is_sheet && kept == 0 {
            return 0;
        }
        kept.saturating_add(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weighed(xml: &str, block: usize) -> Result<u64, TooMuch> {
        let mut part = Part::default();
        for block in xml.as_bytes().chunks(block) {
            part.feed(block)?;
        }
        Ok(part.weight(false))
    }

    #[test]
    fn styles_weigh_what_each_of_them_repeats() {
        let long = "x".repeat(10_000);
        let styles = |format: &str, count| {
            let xfs = "<xf/>".repeat(count);
            format!(
                "<styleSheet><numFmts><numFmt numFmtId=\"1\" formatCode=\"{format}\"/></numFmts><cellXfs>{xfs}</cellXfs>"
            )
        };
        assert!(weighed(&styles("0", 200), 999).unwrap() < 1024 * 1024);
        assert!(weighed(&styles(&long, 50_000), 999).unwrap() > 1_000_000_000);
        assert!(weighed(&styles("0", 1_000_000), 999).unwrap() > 500_000_000);
    }

    #[test]
    fn the_size_of_a_text_is_counted_under_any_tag_name() {
        let prefix = "p".repeat(200);
        for tag in ["si", "x:si", &format!("{prefix}:si")] {
            let xml = format!("<{tag}><t>ab</t></{tag}>").repeat(100);
            let weight = weighed(&xml, 7).unwrap();
            assert!((5_000..6_000).contains(&weight), "{weight}");
            assert_eq!(weighed(&format!("<{tag}/>").repeat(100), 7).unwrap(), 4_800);
        }
    }

    #[test]
    fn a_cell_without_end_is_found_however_its_text_is_cut() {
        let run = format!("<r><t>{}</t></r>", "a".repeat(1000));
        let cell = |inside: &str| {
            let runs = format!("{run}{inside}").repeat(2000);
            weighed(
                &format!("<row><c t=\"inlineStr\"><is>{runs}</is></c></row>"),
                4096,
            )
        };
        for inside in [
            "",
            "<!-- </c><c> -->",
            "<![CDATA[</c><c>]]>",
            "<x a=\"</c><c>\"/>",
            "<? </c> ?>",
        ] {
            assert_eq!(cell(inside), Err(TooMuch::Stretch), "{inside}");
        }
        let many = format!("<row><c>{run}</c></row>").repeat(2000);
        assert!(weighed(&many, 4096).is_ok());
    }

    #[test]
    fn a_plain_sheet_weighs_nothing_and_one_that_hides_texts_does() {
        let weigh = |xml: &str| {
            let mut part = Part::default();
            part.feed(xml.as_bytes()).unwrap();
            part.weight(true)
        };
        assert_eq!(
            weigh("<sheetData><row><c r=\"A1\"><v>1</v></c></row></sheetData>"),
            0
        );
        assert!(weigh(&"<si><t>a</t></si>".repeat(1000)) > 48_000);
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_limits_of_blocks(xml in "[<>/!a-c:\"' \\[\\]?-]{0,200}", block in 1_usize..20) {
            prop_assert_eq!(weighed(&xml, block), weighed(&xml, usize::MAX));
        }
    }
}
