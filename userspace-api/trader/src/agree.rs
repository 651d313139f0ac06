//! How trader and venue come to the same MAC key without sending it: HKDF-SHA256 over an ECDH secret of the trader's session key and the venue's
//! agreement key, salted with the session's id and a nonce of each side, so that no two sessions share a key (CUSTODY, words).
//!
//! ```text
//! secret = SHA-256(compressed point of session key x agreement key)      as libsecp256k1 gives it
//! key    = HKDF-SHA256(secret, salt = id, 10 bytes | trader's nonce, 16 | venue's nonce, 16, info = "L2E/1 mac"), 16 bytes
//! ```

use hkdf::Hkdf;
use ring0_wire::SessionId;
use secp256k1::ecdh::SharedSecret;
use secp256k1::{PublicKey, SecretKey};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What the key is for.
const INFO: &[u8] = b"L2E/1 mac";

/// Random bytes that one side adds.
pub type Nonce = [u8; 16];

/// What of a session's agreement is no secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Salt {
    /// The session.
    pub id: SessionId,
    /// The trader's nonce.
    pub trader: Nonce,
    /// The venue's nonce.
    pub venue: Nonce,
}

/// The MAC key of a session. The trader gives its session key and the venue's agreement key, the venue its agreement key and the trader's session key.
///
/// # Panics
/// Never: sixteen bytes are less than HKDF gives.
#[must_use]
pub fn mac_key(own: &SecretKey, other: &PublicKey, salt: &Salt) -> Zeroizing<[u8; 16]> {
    let shared = SharedSecret::new(other, own);
    let secret = Zeroizing::new(shared.to_secret_bytes());
    let mut salted = [0; 42];
    salted[..10].copy_from_slice(&salt.id.0);
    salted[10..26].copy_from_slice(&salt.trader);
    salted[26..].copy_from_slice(&salt.venue);
    let mut key = Zeroizing::new([0; 16]);
    Hkdf::<Sha256>::new(Some(&salted), &*secret)
        .expand(INFO, &mut *key)
        .expect("sixteen bytes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> (SecretKey, PublicKey) {
        let secret = SecretKey::from_secret_bytes([byte; 32]).unwrap();
        (secret, PublicKey::from_secret_key(&secret))
    }

    const SALT: Salt = Salt {
        id: SessionId(*b"0005ABCDEF"),
        trader: [3; 16],
        venue: [4; 16],
    };

    #[test]
    fn both_sides_have_the_same_key_and_nobody_else() {
        let (trader, venue, other) = (key(1), key(2), key(9));
        let ours = mac_key(&trader.0, &venue.1, &SALT);
        assert_eq!(ours, mac_key(&venue.0, &trader.1, &SALT));
        assert_ne!(ours, mac_key(&other.0, &venue.1, &SALT));
        let changed = [
            Salt {
                id: SessionId(*b"0005ABCDEG"),
                ..SALT
            },
            Salt {
                trader: [5; 16],
                ..SALT
            },
            Salt {
                venue: [5; 16],
                ..SALT
            },
            Salt {
                trader: SALT.venue,
                venue: SALT.trader,
                ..SALT
            },
        ];
        for salt in changed {
            assert_ne!(ours, mac_key(&trader.0, &venue.1, &salt), "{salt:?}");
        }
    }
}
