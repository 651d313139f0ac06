//! Transactions of an Antelope chain: actions, the block they refer to, their end, and a K1 signature in the one form that nodes take.

use crate::account::Name;
use crate::packed::Output;
use alloy_primitives::B256;
use bitcoin_hashes::{Hash, ripemd160, sha256};
use ring0_channels::key::BadKey;
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, SecretKey};
use std::fmt;

/// An action, before it is known who authorises it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    /// Contract that is called.
    pub account: Name,
    /// Which of its actions.
    pub name: Name,
    /// The action's fields, packed.
    pub data: Vec<u8>,
}

/// An account's permission and the key behind it: who pays for transactions and authorises their actions.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// The account.
    pub account: Name,
    /// `active`, or one that the account has linked to the hub's actions.
    pub permission: Name,
    /// A key of that permission.
    pub key: Key,
}

/// A K1 key (secp256k1). Its bytes are in no log: it shows its public key alone.
#[derive(Clone)]
pub struct Key(SecretKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.public())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

impl Key {
    /// Of a secret key's 32 bytes.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn new(secret: [u8; 32]) -> Result<Key, BadKey> {
        SecretKey::from_secret_bytes(secret)
            .map(Key)
            .map_err(|_| BadKey)
    }

    /// The public key as the chain writes it: `PUB_K1_…`.
    #[must_use]
    pub fn public(&self) -> String {
        checked("PUB_K1_", &self.0.public_key().serialize())
    }

    /// Signs a digest, as the chain writes it: `SIG_K1_…`. Nodes take a signature only if neither r nor s begins with a bit that is set or with a byte too
    /// many; about half of all do, and are made again with another nonce.
    #[must_use]
    pub fn sign(&self, digest: B256) -> String {
        let mut entropy = [0; 32];
        for round in 0u64.. {
            let message = Message::from_digest(digest.0);
            let signature = match round {
                0 => RecoverableSignature::sign_ecdsa_recoverable(message, &self.0),
                _ => {
                    entropy[..8].copy_from_slice(&round.to_le_bytes());
                    RecoverableSignature::sign_ecdsa_recoverable_with_noncedata(
                        message, &self.0, &entropy,
                    )
                }
            };
            let (parity, numbers) = signature.serialize_compact();
            if is_canonical(&numbers) {
                // 27 as in other chains, 4 for a compressed key.
                let bytes = [&[27 + 4 + parity.to_u8()], &numbers[..]].concat();
                return checked("SIG_K1_", &bytes);
            }
        }
        unreachable!("each round is good by a chance of its own")
    }
}

/// r and s are positive and as short as they can be, as nodes ask.
fn is_canonical(numbers: &[u8; 64]) -> bool {
    let good = |it: &[u8]| it[0] & 0x80 == 0 && !(it[0] == 0 && it[1] & 0x80 == 0);
    good(&numbers[..32]) && good(&numbers[32..])
}

/// Base 58 with a checksum that is of the curve too.
fn checked(prefix: &str, bytes: &[u8]) -> String {
    let sum = ripemd160::Hash::hash(&[bytes, b"K1"].concat()).to_byte_array();
    let text = bs58::encode([bytes, &sum[..4]].concat()).into_string();
    format!("{prefix}{text}")
}

/// A transaction that is not signed yet.
pub(crate) struct Transaction {
    /// Seconds of Unix time.
    pub(crate) expiration: u32,
    /// The block it needs below it.
    pub(crate) reference: B256,
    pub(crate) actions: Vec<Action>,
}

impl Transaction {
    /// Its bytes, every action by this wallet's authority.
    pub(crate) fn packed(&self, wallet: &Wallet) -> Vec<u8> {
        let mut to = Output::default();
        to.put(self.expiration.to_le_bytes());
        // A block's id begins with its number; its low 16 bits and 32 bits of the hash are the reference.
        to.put([self.reference[3], self.reference[2]]);
        to.put(&self.reference[8..12]);
        // No limits of its own, no delay, no action without authority.
        for _ in ["net words", "cpu ms", "delay s", "context-free actions"] {
            to.length(0);
        }
        to.length(self.actions.len());
        for action in &self.actions {
            to.name(action.account);
            to.name(action.name);
            to.length(1);
            to.name(wallet.account);
            to.name(wallet.permission);
            to.bytes(&action.data);
        }
        to.length(0); // extensions
        to.0
    }
}

/// Names a transaction.
pub(crate) fn id(packed: &[u8]) -> B256 {
    B256::from(sha256::Hash::hash(packed).to_byte_array())
}

/// What is signed of a transaction on a chain.
pub(crate) fn digest(chain: B256, packed: &[u8]) -> B256 {
    // Thirty-two zeros: there is no context-free data.
    id(&[chain.as_slice(), packed, &[0; 32]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secp256k1::ecdsa::RecoveryId;

    #[test]
    fn a_key_is_written_as_the_chain_writes_it() {
        // The development key that every page about the chain shows, EOS6MRyAjQq8ud7hVNYcfnVPJqcVpscN5So8BhtHuGYqET5GDW5CV in the older form.
        let secret = "d2653ff7cbb2d8ff129ac27ef5781ce68b2558c41a74af1f2ddca635cbeef07d";
        let key = Key::new(alloy_primitives::hex::decode_to_array(secret).unwrap()).unwrap();
        let known = "PUB_K1_6MRyAjQq8ud7hVNYcfnVPJqcVpscN5So8BhtHuGYqET5BoDq63";
        assert_eq!(key.public(), known);
        assert!(!format!("{key:?}").contains("d2653f"));
        assert!(Key::new([0; 32]).is_err());
    }

    #[test]
    fn every_signature_is_of_the_form_that_nodes_take() {
        let key = Key::new([7; 32]).unwrap();
        let mut again = 0;
        for number in 0u64..200 {
            let digest = id(&number.to_le_bytes());
            let text = key.sign(digest);
            let all = bs58::decode(&text["SIG_K1_".len()..]).into_vec().unwrap();
            let (parity, numbers) = (all[0], <[u8; 64]>::try_from(&all[1..65]).unwrap());
            assert!(is_canonical(&numbers));
            let recovery = RecoveryId::from_u8_masked(parity - 31);
            let signature = RecoverableSignature::from_compact(&numbers, recovery).unwrap();
            let message = Message::from_digest(digest.0);
            assert_eq!(
                signature.recover_ecdsa(message).unwrap(),
                key.0.public_key()
            );
            let first = RecoverableSignature::sign_ecdsa_recoverable(message, &key.0);
            again += u64::from(first.serialize_compact().1 != numbers);
        }
        assert!(
            again > 50,
            "{again} of 200 were made again; about half are expected"
        );
    }
}
