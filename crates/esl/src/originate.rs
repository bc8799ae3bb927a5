//! Commands that contain values from outside: numbers, names, paths. Input: values. Output: text that FreeSWITCH's parsers
//! split into exactly these values, or an error.
//!
//! Four parsers read an originate, and each removes one layer of quotes and backslashes: the command is split at spaces,
//! the braces are searched without regard to quotes, their content is split at commas, and each part at `=`. So a value is
//! escaped for the innermost parser first. Some characters cannot be escaped and are refused: braces, `$` (variables within
//! variables), `:_:` (which splits enterprise originates before everything else), and control characters.

/// A value that cannot be written into a command without changing its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unquotable {
    /// The value of a variable; the field is the variable's name.
    #[error(
        "`{0}` contains a character that cannot be sent to FreeSWITCH; remove braces, `$` and control characters"
    )]
    Variable(&'static str),
    /// The dial string.
    #[error(
        "the dial string contains a character that FreeSWITCH would not read as part of it; remove spaces, quotes, commas, braces, `|`, `$` and `\\`"
    )]
    Dial,
    /// An argument.
    #[error("an argument contains a space, a quote or a control character; remove it")]
    Argument,
}

/// `originate {name=value,…}dial &park()`: once answered, FreeSWITCH parks the leg. The variables `own` are set just
/// before, on this leg alone; variables in braces also go to the second half of a loopback.
///
/// # Errors
/// [`Unquotable`]. No value is cut or changed to fit.
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
    // `ARRAY::` and `^^` at the start of a value make it a list.
    if value.contains(":_:") || value.starts_with("ARRAY::") || value.starts_with("^^") {
        return None;
    }
    for char in value.chars() {
        match char {
            '{' | '}' | '$' => return None,
            _ if char.is_control() => return None,
            // Three parsers split at `=`, at `,` and at the space. Each of them halves the backslashes.
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

/// Returns the value if it is one plain word of a command, such as the path of a file.
///
/// # Errors
/// [`Unquotable::Argument`] if FreeSWITCH would read more than one word, or another word.
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
