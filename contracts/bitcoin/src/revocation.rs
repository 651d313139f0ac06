//! Per-version secrets: each version of a commitment dies when its holder reveals its secret.
//!
//! The tree of BOLT 3 ("Per-commitment Secret Requirements"): all secrets come from one seed, and whoever is told them in
//! order keeps at most 49, from which every earlier one follows. 2^48 versions are enough for 8,900 years at one a millisecond.

use bitcoin::{
    hashes::{Hash, sha256},
    secp256k1::{PublicKey, SecretKey},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::keys::SECP;

/// The last version a channel can have; a channel that reaches it must be closed.
pub const VERSION_MAX: u64 = (1 << 48) - 1;

/// Walks from a node down to `index`: for each set bit below `bits`, from the highest, flip that bit and hash.
fn descend(mut node: [u8; 32], index: u64, bits: u32) -> [u8; 32] {
    for bit in (0..bits).rev() {
        if index >> bit & 1 == 1 {
            node[(bit / 8) as usize] ^= 1 << (bit % 8);
            node = sha256::Hash::hash(&node).to_byte_array();
        }
    }
    node
}

/// What all of a party's per-version secrets come from. As secret as a key: it revokes the future.
pub struct RevocationSeed(Zeroizing<[u8; 32]>);

impl RevocationSeed {
    /// A seed from 32 bytes that nobody else knows.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret that revokes `version`.
    ///
    /// # Panics
    /// Above [`VERSION_MAX`]; and when SHA-256 gives zero or a value above the curve's order, which nobody has seen.
    pub fn secret(&self, version: u64) -> SecretKey {
        assert!(
            version <= VERSION_MAX,
            "versions have 48 bits; the state machine closes the channel before"
        );
        SecretKey::from_slice(&descend(*self.0, VERSION_MAX - version, 48))
            .expect("a hash outside of the curve's order")
    }

    /// The public half of [`RevocationSeed::secret`], told to the other party before it signs that version.
    pub fn point(&self, version: u64) -> PublicKey {
        self.secret(version).public_key(&SECP)
    }
}

/// A revealed secret that cannot be of the tree the earlier ones came from: the other party is broken or lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecretError {
    /// Secrets are revealed in order, one a version.
    #[error(
        "expected the secret of version {expected}, was given that of {given}; ask for the missing ones"
    )]
    OutOfOrder {
        /// The version whose turn it is.
        expected: u64,
        /// The one given.
        given: u64,
    },
    /// An earlier secret does not follow from this one.
    #[error(
        "the secret of version {0} does not give the earlier ones: refuse further updates and close the channel"
    )]
    NotOfTheTree(u64),
}

/// The other party's revealed secrets: at most 49 of them stand for all.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RevealedSecrets {
    /// At place `b`: the newest secret whose index ends in exactly `b` zero bits.
    known: Vec<(u64, SecretKey)>,
    /// Versions revealed so far: `0..count`.
    count: u64,
}

impl RevealedSecrets {
    /// How many versions are revoked; they are `0..count`.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How many secrets are kept.
    pub fn stored(&self) -> usize {
        self.known.len()
    }

    /// Takes the secret of the next version. Nothing changes when it is refused.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn insert(&mut self, version: u64, secret: SecretKey) -> Result<(), SecretError> {
        if version != self.count || version > VERSION_MAX {
            return Err(SecretError::OutOfOrder {
                expected: self.count,
                given: version,
            });
        }
        let index = VERSION_MAX - version;
        let place = index.trailing_zeros().min(48) as usize;
        for (known_index, known) in self.known.iter().take(place) {
            if descend(secret.secret_bytes(), *known_index, place as u32) != known.secret_bytes() {
                return Err(SecretError::NotOfTheTree(version));
            }
        }
        if place < self.known.len() {
            self.known[place] = (index, secret);
        } else {
            assert_eq!(
                place,
                self.known.len(),
                "in descending order places fill one by one"
            );
            self.known.push((index, secret));
        }
        self.count += 1;
        Ok(())
    }

    /// The secret of a revealed version, `None` for others.
    pub fn secret(&self, version: u64) -> Option<SecretKey> {
        if version >= self.count {
            return None;
        }
        let index = VERSION_MAX - version;
        let (place, (_, known)) = self
            .known
            .iter()
            .enumerate()
            .find(|(place, (known_index, _))| known_index >> place == index >> place)?;
        SecretKey::from_slice(&descend(known.secret_bytes(), index, place as u32)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BOLT 3, appendix D, generation tests.
    #[test]
    fn generation_is_bolt_3s() {
        let check = |seed: [u8; 32], index: u64, expected: &str| {
            assert_eq!(
                RevocationSeed::new(seed)
                    .secret(VERSION_MAX - index)
                    .display_secret()
                    .to_string(),
                expected
            );
        };
        check(
            [0; 32],
            281_474_976_710_655,
            "02a40c85b6f28da08dfdbe0926c53fab2de6d28c10301f8f7c4073d5e42e3148",
        );
        check(
            [0xff; 32],
            281_474_976_710_655,
            "7cc854b54e3e0dcdb010d7a3fee464a9687be6e8db3be6854c475621e007a5dc",
        );
        check(
            [0xff; 32],
            0x0aaa_aaaa_aaaa,
            "56f4008fb007ca9acf0e15b054d5c9fd12ee06cea347914ddbaed70d1c13a528",
        );
        check(
            [0xff; 32],
            0x5555_5555_5555,
            "9015daaeb06dba4ccc05b91b2f73bd54405f2be9f217fbacd3c5ac2e62327d31",
        );
        check(
            [1; 32],
            1,
            "915c75942a26bb3a433a8ce2cb0427c29ec6c1775cfc78328b57f6ba7bfeaa9c",
        );
    }

    #[test]
    fn few_secrets_stand_for_all() {
        let seed = RevocationSeed::new([5; 32]);
        let mut revealed = RevealedSecrets::default();
        for version in 0..3_000 {
            revealed.insert(version, seed.secret(version)).unwrap();
        }
        assert!(revealed.stored() <= 13, "{} stored", revealed.stored());
        for version in 0..3_000 {
            assert_eq!(
                revealed.secret(version),
                Some(seed.secret(version)),
                "version {version}"
            );
        }
        assert_eq!(revealed.secret(3_000), None);
    }

    #[test]
    fn wrong_secrets_are_refused_and_change_nothing() {
        let (seed, other) = (RevocationSeed::new([5; 32]), RevocationSeed::new([6; 32]));
        let mut revealed = RevealedSecrets::default();
        assert_eq!(
            revealed.insert(1, seed.secret(1)),
            Err(SecretError::OutOfOrder {
                expected: 0,
                given: 1
            })
        );
        revealed.insert(0, seed.secret(0)).unwrap();
        let before = revealed.clone();
        assert_eq!(
            revealed.insert(0, seed.secret(0)),
            Err(SecretError::OutOfOrder {
                expected: 1,
                given: 0
            })
        );
        // Version 1 has an even index and gives version 0.
        assert_eq!(
            revealed.insert(1, other.secret(1)),
            Err(SecretError::NotOfTheTree(1))
        );
        assert_eq!(revealed, before);
    }
}
