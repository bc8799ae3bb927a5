//! [`originate`] against a model of FreeSWITCH's parsers, written from their rules: the parsers return exactly the given values.

use super::*;
use proptest::prelude::*;

/// Removes one layer of quotes and backslashes, as FreeSWITCH does after every split.
fn unquoted(part: &str, delimiter: char) -> String {
    let chars: Vec<char> = part.trim_start_matches(' ').chars().collect();
    let (mut out, mut kept, mut quoted, mut at) = (String::new(), 0, false, 0);
    while at < chars.len() {
        let char = chars[at];
        let next = chars.get(at + 1).copied();
        let escaped = match (char, next) {
            ('\\', Some(next)) if "'\"\\".contains(next) || next == delimiter => Some(next),
            ('\\', Some('n')) => Some('\n'),
            ('\\', Some('r')) => Some('\r'),
            ('\\', Some('t')) => Some('\t'),
            ('\\', Some('s')) => Some(' '),
            _ => None,
        };
        if let Some(escaped) = escaped {
            out.push(escaped);
            kept = out.len();
            at += 2;
            continue;
        }
        if char == '\'' && (quoted || chars[at + 1..].contains(&'\'')) {
            quoted = !quoted;
            if quoted {
                kept = out.len();
            }
        } else {
            out.push(char);
            if char != ' ' || quoted {
                kept = out.len();
            }
        }
        at += 1;
    }
    out.truncate(kept);
    out
}

/// Splits at `delimiter`, but not inside quotes. Consecutive spaces are one delimiter.
fn split(text: &str, delimiter: char) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut parts, mut part, mut quoted, mut at) = (Vec::new(), String::new(), false, 0);
    while at < chars.len() {
        let char = chars[at];
        at += 1;
        match char {
            '\\' if at < chars.len() => {
                part.push(char);
                part.push(chars[at]);
                at += 1;
                continue;
            }
            '\'' if quoted || chars[at..].contains(&'\'') => quoted = !quoted,
            _ if char == delimiter && !quoted => {
                if delimiter != ' ' || !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                }
                continue;
            }
            _ => {}
        }
        part.push(char);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts.iter().map(|part| unquoted(part, delimiter)).collect()
}

/// Reads an originate as FreeSWITCH does. Returns its variables, its dial string, and the words that follow.
fn parsed(command: &str) -> (Vec<(String, String)>, String, Vec<String>) {
    let line = command.split('\n').next().unwrap_or_default();
    assert_eq!(line, command, "a command is one line");
    let mut words = split(line, ' ');
    assert_eq!(words.remove(0), "originate");
    let aleg = words.remove(0);
    assert!(!aleg.contains(":_:"), "an enterprise originate");
    assert!(aleg.starts_with('{'));
    let mut depth = 0;
    let end = aleg
        .char_indices()
        .find(|(_, char)| {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        })
        .expect("the braces end")
        .0;
    let (inside, dial) = (&aleg[1..end], &aleg[end + 1..]);
    let variables = split(inside, ',')
        .iter()
        .filter_map(|variable| {
            // Everything after the first `=` is the value. FreeSWITCH removes one more layer from it.
            let (name, value) = variable.split_once('=')?;
            Some((unquoted(name, '='), unquoted(value, '=')))
        })
        .collect();
    (variables, dial.to_owned(), words)
}

fn survives(value: &str) -> bool {
    let variables = [("before", "a"), ("value", value), ("after", "b")];
    let Ok(command) = originate(&variables, "sofia/gateway/carrier/+12025550123", &[]) else {
        return false;
    };
    let (seen, dial, rest) = parsed(&command);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        seen,
        [pair("before", "a"), pair("value", value), pair("after", "b")],
        "{command}"
    );
    assert_eq!(dial, "sofia/gateway/carrier/+12025550123", "{command}");
    assert_eq!(rest, ["&park()"], "{command}");
    true
}

#[test]
fn characters_that_end_other_values_stay_in_a_value() {
    for value in [
        "+12025550123",
        "O'Brien",
        "'quoted'",
        "\"double\"",
        "a,b=c",
        "sched_hangup::+60 ALLOTTED_TIMEOUT",
        "back\\slash",
        "\\'",
        "\\s\\n",
        "a|b&c;d<e>[f]^",
        "café Łódź",
        "'",
        "\\",
        "x' ,y='z",
    ] {
        assert!(survives(value), "{value:?} is refused");
    }
}

#[test]
fn a_value_that_cannot_be_escaped_is_refused() {
    for value in [
        "a}b", "a{b", "${uuid}", "$", "a\nb", "a\rb", "a\tb", "a\0b", "a:_:b", "ARRAY::a", "^^;a=b",
    ] {
        assert!(!survives(value), "{value:?}");
    }
    for dial in [
        "", "a b", "a,b", "a|b", "a'b", "a\"b", "a\\b", "{a=b}c", "<a=b>c", "[a=b]c", "a:_:b", "a\nb",
        "a${b}", "é",
    ] {
        assert_eq!(originate(&[], dial, &[]), Err(Unquotable::Dial), "{dial:?}");
    }
    for word in ["", "a b", "a\nb", "'a'", "${a}", "a\\b"] {
        assert_eq!(argument(word), Err(Unquotable::Argument), "{word:?}");
    }
    assert_eq!(argument("/var/a-1.wav"), Ok("/var/a-1.wav"));
}

proptest! {
    #[test]
    fn any_value_comes_out_as_it_went_in_or_is_refused(
        value in prop_oneof![
            proptest::collection::vec(
                proptest::sample::select(vec![
                    "'", ",", "}", "{", "|", "\n", "$", "${", "\\", "=", " ", "a", "\"", "^^", ":_:", "s", "n", ";", "é",
                ]),
                0..12,
            ).prop_map(|parts| parts.concat()),
            "\\PC{0,12}",
        ],
    ) {
        // In FreeSWITCH a variable without a value does not exist.
        prop_assume!(!value.is_empty());
        survives(&value);
    }
}

#[test]
fn variables_of_the_leg_alone_are_set_after_the_answer() {
    let own = [("park_after_bridge", "true"), ("hangup_after_bridge", "false")];
    assert_eq!(
        originate(&[("a", "b")], "loopback/7001/office", &own).as_deref(),
        Ok(
            "originate {a=b}loopback/7001/office set:park_after_bridge=true,set:hangup_after_bridge=false,park inline"
        )
    );
}
