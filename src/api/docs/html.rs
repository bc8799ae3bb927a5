//! Text as HTML: escaping, and the little of Markdown that the descriptions use.

/// Text for an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// One line with `code` in it.
pub(super) fn code(text: &str) -> String {
    escape(text)
        .split('`')
        .enumerate()
        .map(|(n, part)| {
            if n % 2 == 1 {
                format!("<code>{part}</code>")
            } else {
                part.to_owned()
            }
        })
        .collect()
}

/// Paragraphs parted by empty lines, lists of `- ` lines, `code`.
pub(super) fn prose(text: &str) -> String {
    text.split("\n\n")
        .map(str::trim)
        .filter(|block| !block.is_empty())
        .map(|block| {
            if block.starts_with("- ") {
                let items: String = block
                    .split("\n- ")
                    .map(|item| format!("<li>{}</li>", code(item.trim_start_matches("- "))))
                    .collect();
                format!("<ul>{items}</ul>")
            } else {
                format!("<p>{}</p>", code(block))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_descriptions_is_text() {
        assert_eq!(
            prose("a <b>\n\n- `x<y`\n- z"),
            "<p>a &lt;b&gt;</p><ul><li><code>x&lt;y</code></li><li>z</li></ul>"
        );
    }
}
