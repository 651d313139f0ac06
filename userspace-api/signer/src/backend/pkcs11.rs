//! A key in a PKCS#11 token that never leaves it: made there, not extractable, used through a pool of sessions.
//!
//! A token gives (r, s) alone and s in either half of the order; hubs take the lower one with the parity of the nonce's point, which is found by recovering the key.

use super::{Backend, BackendError};
use crate::config::Pkcs11 as Place;
use crate::protocol::Outcome;
use alloy_primitives::{B256, hex};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use ring0_channels::key::Signature;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature as Plain};
use secp256k1::{Message as Digest, PublicKey};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// DER of secp256k1's name, 1.3.132.0.10.
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

fn failed(error: Error) -> BackendError {
    BackendError::Token(error.to_string())
}

/// A token with sessions that are logged in.
pub(crate) struct Token {
    context: Pkcs11,
    slot: Slot,
    free: Mutex<Vec<Session>>,
    came_back: Condvar,
    /// A token logs out with its last session: one stays.
    pin: AuthPin,
}

impl Token {
    /// Loads the library and logs in.
    pub(crate) fn open(place: &Place) -> Result<Token, BackendError> {
        let pin = crate::passphrase::of_file(&place.pin_file).map_err(|error| {
            BackendError::Token(format!(
                "the PIN file {}: {error}",
                place.pin_file.display()
            ))
        })?;
        let context = Pkcs11::new(&place.module).map_err(failed)?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(failed(error)),
        }
        let mut found = None;
        for slot in context.get_slots_with_token().map_err(failed)? {
            if context.get_token_info(slot).map_err(failed)?.label() == place.token {
                found = Some(slot);
            }
        }
        let none = || BackendError::Token(format!("no token is labelled {:?}", place.token));
        let token = Token {
            context,
            slot: found.ok_or_else(none)?,
            free: Mutex::new(Vec::new()),
            came_back: Condvar::new(),
            pin: AuthPin::from(pin.as_str()),
        };
        for _ in 0..place.sessions.max(1) {
            let session = token.session(false)?;
            token
                .free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(session);
        }
        Ok(token)
    }

    fn session(&self, write: bool) -> Result<Session, BackendError> {
        let session = match write {
            true => self.context.open_rw_session(self.slot),
            false => self.context.open_ro_session(self.slot),
        };
        let session = session.map_err(failed)?;
        match session.login(UserType::User, Some(&self.pin)) {
            // All sessions of a process log in at once.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(failed(error)),
        }
    }

    /// Uses a session that nobody else does; one that failed is replaced.
    fn with<T>(&self, act: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, BackendError> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .came_back
            .wait_while(free, |free| free.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let session = free.pop().expect("it was waited for");
        drop(free);
        let done = act(&session);
        let back = match &done {
            Ok(_) => session,
            // The token may have been taken out and put back: its sessions are gone then.
            Err(_) => self.session(false).unwrap_or(session),
        };
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(back);
        self.came_back.notify_one();
        done.map_err(failed)
    }

    /// Makes a key that does not leave the token, and gives its public key.
    pub(crate) fn generate(&self, label: &str) -> Result<PublicKey, BackendError> {
        if self.find(label, ObjectClass::PRIVATE_KEY)?.is_some() {
            return Err(BackendError::Token(format!(
                "it has a key labelled {label:?} already"
            )));
        }
        let session = self.session(true)?;
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::KeyType(KeyType::EC),
            Attribute::Verify(true),
            Attribute::EcParams(SECP256K1.to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let (public, private) = session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
            .map_err(failed)?;
        // A token that makes another key than the one it was asked for is no place for it.
        let asked = [AttributeType::Extractable, AttributeType::Sensitive];
        let made = session.get_attributes(private, &asked).map_err(failed)?;
        let wanted = [Attribute::Extractable(false), Attribute::Sensitive(true)];
        if !wanted.iter().all(|it| made.contains(it)) {
            return Err(BackendError::Token(
                "it made a key that can be taken out; use another token".to_owned(),
            ));
        }
        point(&session, public)
    }

    fn find(&self, label: &str, class: ObjectClass) -> Result<Option<ObjectHandle>, BackendError> {
        let template = [
            Attribute::Class(class),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let found = self.with(|session| session.find_objects(&template))?;
        Ok(found.first().copied())
    }
}

/// The point of a public key: DER's octet string around 65 bytes, or these alone.
fn point(session: &Session, public: ObjectHandle) -> Result<PublicKey, BackendError> {
    let attributes = session
        .get_attributes(public, &[AttributeType::EcPoint])
        .map_err(failed)?;
    let Some(Attribute::EcPoint(point)) = attributes.first() else {
        return Err(BackendError::Token("it shows no public key".to_owned()));
    };
    let bytes = point.strip_prefix(&[0x04, 0x41]).unwrap_or(point);
    PublicKey::from_slice(bytes).map_err(|error| BackendError::Wrong(error.to_string()))
}

/// A key in a token.
pub(crate) struct TokenKey {
    token: Arc<Token>,
    key: ObjectHandle,
    public: PublicKey,
}

impl TokenKey {
    pub(crate) fn open(
        token: Arc<Token>,
        label: &str,
        public_key: &str,
    ) -> Result<TokenKey, BackendError> {
        let none = || BackendError::Token(format!("it has no key labelled {label:?}"));
        let key = token
            .find(label, ObjectClass::PRIVATE_KEY)?
            .ok_or_else(none)?;
        let public = token
            .find(label, ObjectClass::PUBLIC_KEY)?
            .ok_or_else(none)?;
        let session = token.session(false)?;
        let public = point(&session, public)?;
        if hex::encode(public.serialize()) != public_key {
            return Err(BackendError::Wrong(format!(
                "the token's key {label:?} is another than the one in keys.json"
            )));
        }
        Ok(TokenKey { token, key, public })
    }
}

/// A signature of r and s as hubs take it: s in the lower half, with the parity that fits the key.
pub(crate) fn normal(
    signature: &[u8],
    digest: B256,
    public: &PublicKey,
) -> Result<Signature, BackendError> {
    let wrong = |error: secp256k1::Error| BackendError::Wrong(error.to_string());
    let mut plain = Plain::from_compact(signature).map_err(wrong)?;
    plain.normalize_s();
    let bytes = plain.serialize_compact();
    let message = Digest::from_digest(digest.0);
    for parity in [0, 1] {
        let id = RecoveryId::from_u8_masked(parity);
        let recoverable = RecoverableSignature::from_compact(&bytes, id).map_err(wrong)?;
        if recoverable
            .recover_ecdsa(message)
            .is_ok_and(|key| key == *public)
        {
            let (r, s) = bytes.split_at(32);
            let mut vs = B256::from_slice(s);
            vs[0] |= parity << 7;
            return Ok(Signature {
                r: B256::from_slice(r),
                vs,
            });
        }
    }
    Err(BackendError::Wrong(
        "it fits the key by neither parity".to_owned(),
    ))
}

impl Backend for TokenKey {
    fn ecdsa(&self) -> bool {
        true
    }

    fn sign_digest(&self, digest: B256) -> Result<Outcome, BackendError> {
        let sign = |session: &Session| session.sign(&Mechanism::Ecdsa, self.key, digest.as_slice());
        let signature = self.token.with(sign)?;
        normal(&signature, digest, &self.public).map(Outcome::Ecdsa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_channels::key::Signer;

    /// A signature with s in the upper half, as half of a token's are, comes out as the one that the key itself makes.
    #[test]
    fn a_high_s_is_made_low_and_the_parity_found() {
        let signer = Signer::new([5; 32]).unwrap();
        let secret = secp256k1::SecretKey::from_secret_bytes([5; 32]).unwrap();
        let order = alloy_primitives::U256::from_be_slice(&secp256k1::constants::CURVE_ORDER);
        for number in 0..32_u8 {
            let digest = alloy_primitives::keccak256([number]);
            let expected = signer.sign_digest(digest);
            let mut s = expected.vs;
            s[0] &= 0x7f;
            let high = order - alloy_primitives::U256::from_be_bytes(s.0);
            for s in [s.0, high.to_be_bytes()] {
                let bytes = [expected.r.0, s].concat();
                let found = normal(&bytes, digest, &secret.public_key()).unwrap();
                assert_eq!(found, expected);
            }
            let other = secp256k1::SecretKey::from_secret_bytes([6; 32]).unwrap();
            let bytes = [expected.r.0, s.0].concat();
            assert!(normal(&bytes, digest, &other.public_key()).is_err());
        }
    }
}
