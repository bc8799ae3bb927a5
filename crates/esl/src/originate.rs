//! The commands that carry words of others: numbers, names, paths. In: values. Out: text that FreeSWITCH's parsers take
//! apart into just these values, or a refusal.
//!
//! An originate passes through four parsers, each of which takes off one layer of quotes and backslashes: the command is
//! split at spaces, the braces are looked for without any regard to quotes, their inside is split at commas, and each
//! part at `=`. So a value is escaped for the innermost first. What no escape can carry through is refused: braces, `$`
//! (variables in variables), `:_:` (which splits enterprise originates before all else), and control characters.

/// A value that cannot be written in a command without becoming something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unquotable {
    /// In a variable's value.
    #[error(
        "`{0}` holds a character that FreeSWITCH cannot be told; leave out braces, `$` and control characters"
    )]
    Variable(&'static str),
    /// In a dial string.
    #[error(
        "the dial string holds a character that FreeSWITCH would read as more than a dial string; leave out spaces, quotes, commas, braces, `|`, `$` and `\\`"
    )]
    Dial,
    /// In an argument.
    #[error("an argument holds a space, a quote or a control character; leave it out")]
    Argument,
}

/// `originate {name=value,…}dial &park()`: the leg is held by the switch once answered. `own` are variables that are set just
/// before, on the leg alone: those in braces go to the far half of a loopback too.
///
/// # Errors
/// [`Unquotable`]; nothing is cut or replaced to make a value fit.
pub fn originate(
    variables: &[(&'static str, &str)],
    dial: &str,
    own: &[(&'static str, &'static str)],
) -> Result<String, Unquotable> {
    let mut text = String::from("originate {");
    for (nth, (name, value)) in variables.iter().enumerate() {
        if nth > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push('=');
        variable(&mut text, value).ok_or(Unquotable::Variable(name))?;
    }
    text.push('}');
    let plain = !dial.is_empty()
        && !dial.starts_with(['<', '['])
        && !dial.contains(":_:")
        && dial
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"{},'\"|\\$^".contains(&byte));
    if !plain {
        return Err(Unquotable::Dial);
    }
    text.push_str(dial);
    if own.is_empty() {
        text.push_str(" &park()");
        return Ok(text);
    }
    text.push(' ');
    for (name, value) in own {
        text.push_str(&format!("set:{name}={value},"));
    }
    text.push_str("park inline");
    Ok(text)
}

fn variable(text: &mut String, value: &str) -> Option<()> {
    // At a value's start this makes a list of it.
    if value.contains(":_:") || value.starts_with("ARRAY::") || value.starts_with("^^") {
        return None;
    }
    for char in value.chars() {
        match char {
            '{' | '}' | '$' => return None,
            _ if char.is_control() => return None,
            // Split at `=`, at `,`, at ` `: three parsers, each of which halves the backslashes.
            '\\' => text.push_str(&"\\".repeat(8)),
            '\'' | '"' => {
                text.push_str(&"\\".repeat(7));
                text.push(char);
            }
            ' ' => {
                text.push_str(&"\\".repeat(4));
                text.push('s');
            }
            ',' => text.push_str("\\\\,"),
            _ => text.push(char),
        }
    }
    Some(())
}

/// A value that stands as one word of a command, such as a file's path.
///
/// # Errors
/// [`Unquotable::Argument`], where it would be more than one word, or another.
pub fn argument(value: &str) -> Result<&str, Unquotable> {
    let plain = !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"{}'\"|\\$`^".contains(&byte));
    if plain {
        Ok(value)
    } else {
        Err(Unquotable::Argument)
    }
}

#[cfg(test)]
mod tests;
