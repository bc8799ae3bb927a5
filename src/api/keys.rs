//! API keys: `pl_<id>_<secret>`, the secret 256 random bits in base64url.
//!
//! The store has only an HMAC-SHA256 of the secret, with a salt for each key. Each request reads the row of its key by primary
//! key, so a revoked key is refused at once, also if another process revoked it.

use super::auth::Caller;
use super::check::is_name;
use crate::store::{ApiKeyRow, NewApiKey, Role, Store, StoreError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use paceline_core::ids::AgentId;
use paceline_core::time::Wall;
use rand::TryRng as _;
use sha2::Sha256;

const SECRET_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// The data of a new key.
#[derive(Clone, Copy, Debug)]
pub struct NewKey<'a> {
    /// The key's name, such as that of the person or program that uses it. It must be unique.
    pub name: &'a str,
    /// The role of the key.
    pub role: Role,
    /// The one agent that a key with the role `agent` acts for. `None` with other roles.
    pub agent: Option<AgentId>,
    /// True if the key may see numbers in full.
    pub sees_numbers: bool,
}

/// The reason why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The name would garble the terminals and lists that show it.
    #[error(
        "a key's name has 1 to 200 characters, no line breaks or other control characters, and not only spaces"
    )]
    Name,
    /// The role `agent` without an agent, or another role with one.
    #[error("a key with the role `agent` needs the id of its agent; keys with other roles must have none")]
    Agent,
    /// There is no such agent.
    #[error("there is no agent {0}; GET /api/v1/agents lists them")]
    NoAgent(AgentId),
    /// Another key has this name. Revoked keys count too.
    #[error("another key has this name: choose a new one")]
    NameTaken,
    /// The operating system gave no random numbers.
    #[error("the operating system provides no random numbers")]
    Randomness,
    /// The store.
    #[error("store the key")]
    Store(#[source] StoreError),
}

/// Makes a key and returns its text, which cannot be read again later. For the command line.
pub async fn create(store: &Store, wanted: &NewKey<'_>, now: Wall) -> Result<String, KeyError> {
    Ok(make(store, wanted, now).await?.1)
}

pub(super) async fn make(
    store: &Store,
    wanted: &NewKey<'_>,
    now: Wall,
) -> Result<(ApiKeyRow, String), KeyError> {
    if !is_name(wanted.name) {
        return Err(KeyError::Name);
    }
    match (wanted.role, wanted.agent) {
        (Role::Agent, Some(agent)) => {
            let known = store.agent(agent).await.map_err(KeyError::Store)?;
            known.ok_or(KeyError::NoAgent(agent))?;
        }
        (Role::Read | Role::Write, None) => {}
        (Role::Agent, None) | (Role::Read | Role::Write, Some(_)) => return Err(KeyError::Agent),
    }
    let (mut secret, mut salt) = ([0; SECRET_BYTES], [0; SALT_BYTES]);
    let mut system = rand::rngs::SysRng;
    system
        .try_fill_bytes(&mut secret)
        .map_err(|_| KeyError::Randomness)?;
    system
        .try_fill_bytes(&mut salt)
        .map_err(|_| KeyError::Randomness)?;
    let token_hmac = mac(&salt, &secret).finalize().into_bytes();
    let new = NewApiKey {
        name: wanted.name,
        salt: &salt,
        token_hmac: &token_hmac,
        role: wanted.role,
        agent: wanted.agent,
        sees_numbers: wanted.sees_numbers,
        created_at: now,
    };
    let row = store.create_api_key(&new).await.map_err(|error| match error {
        StoreError::Taken => KeyError::NameTaken,
        error => KeyError::Store(error),
    })?;
    let key = format!("pl_{}_{}", row.id, URL_SAFE_NO_PAD.encode(secret));
    Ok((row, key))
}

/// Returns the caller of this key. `None`: the text is not a key, or the key is unknown or revoked.
pub(super) async fn verify(store: &Store, key: &str) -> Result<Option<Caller>, StoreError> {
    let Some((id, secret)) = parse(key) else {
        return Ok(None);
    };
    let Some(row) = store.api_key(id).await? else {
        return Ok(None);
    };
    // `verify_slice` compares in constant time.
    let fits = mac(&row.salt, &secret).verify_slice(&row.token_hmac).is_ok();
    let valid = fits && row.revoked_at.is_none();
    Ok(valid.then_some(Caller {
        key: row.id,
        role: row.role,
        agent: row.agent,
        sees_numbers: row.sees_numbers,
    }))
}

fn parse(key: &str) -> Option<(i64, [u8; SECRET_BYTES])> {
    // The secret may hold `_` itself.
    let (id, secret) = key.strip_prefix("pl_")?.split_once('_')?;
    let secret = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
    Some((id.parse().ok()?, secret))
}

fn mac(salt: &[u8], secret: &[u8]) -> Hmac<Sha256> {
    // HMAC fills its key up with zeros (RFC 2104); with that done here, it takes any salt and cannot fail.
    let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (to, from) in key.iter_mut().zip(salt) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&key);
    mac.update(secret);
    mac
}
