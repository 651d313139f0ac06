//! The gateway's own trading key: accounts grant it sessions, so that people trade over REST and OUCH who have no program that signs packets.
//!
//! Always true: the file is its owner's alone (mode 0600), is written whole or not at all, and is never replaced; the key shows in no log. It signs
//! openings of trading sessions and agrees on their MAC keys, and nothing else: grants to it have no limits of channels, so no state counts under it.
//!
//! Whoever takes the file away takes the gateway's sessions away: a new key is made, and each account grants it anew.

use crate::problem::Problem;
use ring0_identity::channels::key::Signer;
use ring0_identity::channels::message::venue_domain;
use ring0_identity::records::{Authority, Opened, TradingSession};
use ring0_identity::{Address, B256, NewSession, Signature, hex};
use ring0_trader::{Nonce, Salt, Session, mac_key};
use ring0_wire::SessionId;
use rustix::rand::{GetRandomFlags, getrandom};
use secp256k1::{PublicKey, SecretKey};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Until when an opening that the gateway signs may be used, in seconds from now: it is used at once.
const DEADLINE_S: u64 = 60;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum TradingKeyError {
    /// The file.
    #[error("the trading key {path} cannot be read or made: {source}; see that this user may write its folder", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the trading key {path} may be read by others (mode {mode:04o}): take it away, so that a new one is made, and revoke what was granted to it; or run chmod 600 on it if nobody has read it", path = .path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What it says. It is not repeated: it may be a key.
    #[error("the trading key {} is not `trading` and 64 hexadecimal digits; restore it, or take it away: accounts then grant anew", .0.display())]
    Content(PathBuf),
}

/// See the module.
pub struct TradingKey {
    signer: Signer,
    secret: SecretKey,
    public: PublicKey,
}

impl fmt::Debug for TradingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TradingKey({})", self.signer.address())
    }
}

impl Drop for TradingKey {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

fn random<const N: usize>() -> io::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    // Below 256 bytes the kernel gives all or fails.
    match getrandom(&mut bytes[..], GetRandomFlags::empty())? {
        filled if filled == N => Ok(bytes),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl TradingKey {
    /// Of a secret key's bytes; `None`: it is none.
    fn of(secret: &Zeroizing<[u8; 32]>) -> Option<TradingKey> {
        let signer = Signer::new(**secret).ok()?;
        let secret = SecretKey::from_secret_bytes(**secret).ok()?;
        let public = PublicKey::from_secret_key(&secret);
        Some(TradingKey {
            signer,
            secret,
            public,
        })
    }

    /// Reads the key file, or makes it.
    ///
    /// # Errors
    /// It cannot be read or made, others may read it, or it is something else.
    pub fn open(path: &Path) -> Result<TradingKey, TradingKeyError> {
        let failed = |source| TradingKeyError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path).map_err(failed)?;
                File::open(path).map_err(failed)?
            }
            opened => opened.map_err(failed)?,
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(TradingKeyError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).map_err(failed)?;
        let digits = text.trim_end().strip_prefix("trading ");
        let bytes = digits.and_then(|it| hex::decode_to_array(it).ok());
        bytes
            .map(Zeroizing::new)
            .and_then(|it| TradingKey::of(&it))
            .ok_or_else(|| TradingKeyError::Content(path.to_owned()))
    }

    /// Its address: the session key that a grant names.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// Its public half, a compressed point.
    #[must_use]
    pub fn public_key(&self) -> [u8; 33] {
        self.public.serialize()
    }

    /// A session of an account on a shard under a grant, asked for and signed.
    ///
    /// # Errors
    /// The system has no random bytes; a number is too large.
    pub fn opening(
        &self,
        venue: B256,
        (account, shard): (u32, &str),
        grant: B256,
        expires_s: u64,
        now_s: u64,
    ) -> Result<NewSession, Problem> {
        let nonce = random::<16>().map_err(|error| {
            Problem::unavailable(format!("the system gave no random bytes: {error}"))
        })?;
        let mut wanted = NewSession {
            account,
            shard: shard.to_owned(),
            authority: Authority::Grant(grant),
            public_key: self.public_key(),
            nonce: *nonce,
            expires_s,
            deadline_s: now_s + DEADLINE_S,
            signature: Signature::default(),
        };
        wanted.signature = self.signer.sign(&wanted.message()?, &venue_domain(venue));
        Ok(wanted)
    }

    /// A session that was opened by this key, with its MAC key; `None`: it is another key's, or what is known of it cannot be read.
    #[must_use]
    pub fn session(&self, session: &TradingSession, opened: &Opened) -> Option<Session> {
        if session.public_key != hex::encode(self.public_key()) {
            return None;
        }
        let nonce = |text: &str| hex::decode_to_array::<_, 16>(text).ok();
        let (trader, venue): (Nonce, Nonce) = (nonce(&session.nonce)?, nonce(&opened.venue_nonce)?);
        let id = SessionId(opened.id.as_bytes().try_into().ok()?);
        let theirs: [u8; 33] = hex::decode_to_array(&opened.agreement_key).ok()?;
        let theirs = PublicKey::from_slice(&theirs).ok()?;
        let key = mac_key(&self.secret, &theirs, &Salt { id, trader, venue });
        Some(Session::new(id, &key))
    }
}

/// Makes a key file: whole or not at all, and never over another.
fn make(path: &Path) -> io::Result<()> {
    let key = loop {
        let bytes = random::<32>()?;
        // One number in 2^128 is no key.
        if TradingKey::of(&bytes).is_some() {
            break bytes;
        }
    };
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let digits = Zeroizing::new(hex::encode(*key));
    let text = Zeroizing::new(format!("trading {}\n", *digits));
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::hard_link(&new, path)?;
    fs::remove_file(&new)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn a_key_is_made_once_is_private_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trading.key");
        let key = TradingKey::open(&path).unwrap();
        assert_eq!(TradingKey::open(&path).unwrap().address(), key.address());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&path), 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let digits = text.trim_end().strip_prefix("trading ").unwrap();
        assert!(!format!("{key:?}").contains(digits));

        fs::write(&path, "trading 00").unwrap();
        let error = TradingKey::open(&path).unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = TradingKey::open(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    /// Both sides of the agreement come to the same key, and a session of another key is not taken.
    #[test]
    fn a_session_has_the_key_that_the_venue_has() {
        let key = TradingKey::of(&Zeroizing::new([7; 32])).unwrap();
        let venue = SecretKey::from_secret_bytes([9; 32]).unwrap();
        let wanted = key
            .opening(B256::repeat_byte(1), (3, "main"), B256::ZERO, 100, 50)
            .unwrap();
        assert_eq!((wanted.expires_s, wanted.deadline_s), (100, 110));
        let opened = Opened {
            session: 5,
            id: "0005ABCDEF".to_owned(),
            venue_nonce: "22".repeat(16),
            agreement: 1,
            agreement_key: hex::encode(PublicKey::from_secret_key(&venue).serialize()),
        };
        let mut record: TradingSession = serde_json::from_value(serde_json::json!({
            "id": 1, "opening": B256::ZERO, "organisation": 1, "account": 3, "shard": "main", "person": 1,
            "through": { "login": 1 }, "authority": { "grant": B256::ZERO },
            "public_key": hex::encode(wanted.public_key), "nonce": hex::encode(wanted.nonce),
            "expires_s": 100, "seat": "rest", "since_ms": 0, "stage": "opening",
        }))
        .unwrap();
        let session = key.session(&record, &opened).unwrap();
        let salt = Salt {
            id: SessionId(*b"0005ABCDEF"),
            trader: wanted.nonce,
            venue: [0x22; 16],
        };
        let theirs = mac_key(&venue, &key.public, &salt);
        assert_eq!(session.key().unwrap().as_bytes(), *theirs);
        record.public_key = hex::encode(PublicKey::from_secret_key(&venue).serialize());
        assert!(key.session(&record, &opened).is_none());
    }
}
