//! API keys: `pl_<id>_<secret>`, the secret 256 random bits in base64url.
//!
//! Kept of it is HMAC-SHA256 under a salt of the key's own. Each request reads its key's row, by primary key, so that a
//! revoked key is refused at once, whichever process revoked it.

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

/// A key to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewKey<'a> {
    /// Who or what it is for, once only.
    pub name: &'a str,
    /// What it may do.
    pub role: Role,
    /// The one agent that a key of the role `agent` acts for; nobody with other roles.
    pub agent: Option<AgentId>,
    /// Whether it is shown numbers in full.
    pub sees_numbers: bool,
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It would garble the terminals and lists that show it.
    #[error(
        "a key's name has 1 to 200 characters, no line breaks or other control characters, and not only spaces"
    )]
    Name,
    /// A role without the agent that it needs, or the other way round.
    #[error("a key with the role `agent` needs the id of its agent; keys with other roles must have none")]
    Agent,
    /// There is no such agent.
    #[error("there is no agent {0}; GET /api/v1/agents lists them")]
    NoAgent(AgentId),
    /// Names are used once, by revoked keys too.
    #[error("another key has this name: choose a new one")]
    NameTaken,
    /// The operating system gave no random numbers.
    #[error("the operating system provides no random numbers")]
    Randomness,
    /// The store.
    #[error("store the key")]
    Store(#[source] StoreError),
}

/// Makes a key and gives it, this once. For the command line.
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

/// Whose key this is; `None` where it is no key, unknown or revoked.
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
