//! Reads the bytes of an entry. The form is in `docs/ledger.md`.

use super::{Broken, broken};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const KINDS: &str =
    "- decision opt_out opt_out_lifted rule_change overlay key_change erasure retention accepted clock_moved";

pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Broken> {
    let Some((taken, left)) = rest.split_first_chunk() else {
        return broken("an entry or a proof is too short");
    };
    *rest = left;
    Ok(*taken)
}

/// Seven bits a byte, the lowest first; the highest bit says that another byte follows.
fn varint(rest: &mut &[u8]) -> Result<u64, Broken> {
    let mut value = 0_u128;
    for shift in (0..70).step_by(7) {
        let [byte] = take(rest)?;
        value |= u128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let is_shortest = byte != 0 || shift == 0;
            let fits = u64::try_from(value).ok().filter(|_| is_shortest);
            return fits.ok_or_else(|| Broken("a number in an entry is written wrongly".to_owned()));
        }
    }
    broken("a number in an entry is too long")
}

/// The entry as one line of JSON.
pub(crate) fn as_json(index: u64, bytes: &[u8]) -> Result<String, Broken> {
    let mut rest = bytes;
    let [version, kind, present] = take(&mut rest)?;
    let kind = KINDS.split(' ').nth(kind.into()).filter(|kind| *kind != "-");
    let (1, Some(kind), ..0x80) = (version, kind, present) else {
        return broken("an entry is of a version or kind that this verifier does not know");
    };
    let at_ms = i64::from_be_bytes(take(&mut rest)?);
    let mut json = format!("{{\"index\":{index},\"kind\":\"{kind}\",\"at_ms\":{at_ms}");
    let names = "number_hmac campaign task contact bucket attempt leg";
    for (bit, name) in names
        .split(' ')
        .enumerate()
        .filter(|(bit, _)| present >> bit & 1 == 1)
    {
        json += &match bit {
            0 => format!(",\"{name}\":\"{}\"", STANDARD.encode(take::<32>(&mut rest)?)),
            1..=4 => format!(",\"{name}\":{}", varint(&mut rest)?),
            _ => format!(",\"{name}\":\"{:032x}\"", u128::from_be_bytes(take(&mut rest)?)),
        };
    }
    // The body is JSON in every kind of this version. Another one is shown as its bytes.
    let body = std::str::from_utf8(rest).ok();
    let body = body.filter(|body| body.starts_with('{') && !body.contains(char::is_control));
    let other = || format!("\"{}\"", STANDARD.encode(rest));
    Ok(format!(
        "{json},\"body\":{}}}",
        body.map_or_else(other, str::to_owned)
    ))
}

/// The key that an entry names as the log's next one.
pub(crate) fn new_key(json: &str) -> Option<&str> {
    let (head, body) = json.split_once(",\"body\":")?;
    let key = body.strip_prefix("{\"key\":\"")?.strip_suffix("\"}}")?;
    head.contains("\"kind\":\"key_change\"").then_some(key)
}
