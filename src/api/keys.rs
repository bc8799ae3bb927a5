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
use paceline_core::time::Wall;
use rand::TryRng as _;
use sha2::Sha256;

const SECRET_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It would garble the terminals and lists that show it.
    #[error(
        "a key's name has 1 to 200 characters, no line breaks or other control characters, and not only spaces"
    )]
    Name,
    /// Names are used once, by revoked keys too.
    #[error("another key has this name: choose a new one")]
    NameTaken,
    /// The operating system gave no random numbers.
    #[error("the operating system gives no random numbers")]
    Randomness,
    /// The store.
    #[error("store the key")]
    Store(#[source] StoreError),
}

/// Makes a key and gives it, this once. For the command line.
pub async fn create(
    store: &Store,
    name: &str,
    role: Role,
    sees_numbers: bool,
    now: Wall,
) -> Result<String, KeyError> {
    Ok(make(store, name, role, sees_numbers, now).await?.1)
}

pub(super) async fn make(
    store: &Store,
    name: &str,
    role: Role,
    sees_numbers: bool,
    now: Wall,
) -> Result<(ApiKeyRow, String), KeyError> {
    if !is_name(name) {
        return Err(KeyError::Name);
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
        name,
        salt: &salt,
        token_hmac: &token_hmac,
        role,
        sees_numbers,
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
