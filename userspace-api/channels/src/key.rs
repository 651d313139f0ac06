//! Keys of account-based chains and their signatures in the one form that a hub takes: 64 bytes (EIP-2098), s in the lower half of the order.

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A key that signs. Its bytes are in no log: it shows its address alone.
#[derive(Clone)]
pub struct Signer {
    secret: SecretKey,
    address: Address,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.address)
    }
}

/// A signature: r, and s with the parity of y in its highest bit.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Signature {
    /// The x coordinate.
    pub r: B256,
    /// The proof, and the parity.
    pub vs: B256,
}

/// Why nobody signed it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignatureError {
    /// s is in the upper half of the order: a rewritten signature.
    #[error(
        "the signature's s is in the upper half of the order; a hub takes one form only: send the signature as it was made"
    )]
    HighS,
    /// It is no signature of any key.
    #[error("the signature fits no key; it was damaged, or it is of something else")]
    Invalid,
    /// Another key signed.
    #[error("signed by {found}, not by {expected}")]
    Other {
        /// Who should have.
        expected: Address,
        /// Who did.
        found: Address,
    },
}

/// A key that is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key is zero or above the curve's order; make another one")]
pub struct BadKey;

impl Signer {
    /// Of a secret key's 32 bytes.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn new(secret: [u8; 32]) -> Result<Signer, BadKey> {
        let secret = SecretKey::from_secret_bytes(secret).map_err(|_| BadKey)?;
        let address = address(&secret.public_key());
        Ok(Signer { secret, address })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a struct in a domain.
    #[must_use]
    pub fn sign<S: SolStruct>(&self, message: &S, domain: &Eip712Domain) -> Signature {
        self.sign_digest(message.eip712_signing_hash(domain))
    }

    /// Signs a digest (RFC 6979, low s).
    #[must_use]
    pub fn sign_digest(&self, digest: B256) -> Signature {
        let message = Message::from_digest(digest.0);
        let signature = RecoverableSignature::sign_ecdsa_recoverable(message, &self.secret);
        let (parity, bytes) = signature.serialize_compact();
        let (r, s) = bytes.split_at(32);
        let mut vs = B256::from_slice(s);
        vs[0] |= (parity.to_u8() & 1) << 7;
        Signature {
            r: B256::from_slice(r),
            vs,
        }
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl Signature {
    /// Who signed this digest.
    ///
    /// # Errors
    /// It is rewritten, or no signature.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        let (mut s, parity) = (self.vs, self.vs[0] >> 7);
        s[0] &= 0x7f;
        let bytes = [self.r.0, s.0].concat();
        let bytes: [u8; 64] = bytes.try_into().expect("two words");
        let id = RecoveryId::from_u8_masked(parity);
        let signature = RecoverableSignature::from_compact(&bytes, id);
        let signature = signature.map_err(|_| SignatureError::Invalid)?;
        let mut low = signature.to_standard();
        low.normalize_s();
        if low != signature.to_standard() {
            return Err(SignatureError::HighS);
        }
        let message = Message::from_digest(digest.0);
        signature
            .recover_ecdsa(message)
            .map(|key| address(&key))
            .map_err(|_| SignatureError::Invalid)
    }

    /// Whether `expected` signed a struct in a domain.
    ///
    /// # Errors
    /// Somebody else, or nobody.
    pub fn require<S: SolStruct>(
        &self,
        message: &S,
        domain: &Eip712Domain,
        expected: Address,
    ) -> Result<(), SignatureError> {
        match self.recover(message.eip712_signing_hash(domain))? {
            found if found == expected => Ok(()),
            found => Err(SignatureError::Other { expected, found }),
        }
    }
}

fn address(key: &PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_of_a_signature_and_its_signer_alone() {
        // A key and its address that are on every page about Ethereum: the first account of the usual test mnemonic.
        let secret = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let secret: [u8; 32] = alloy_primitives::hex::decode_to_array(secret).unwrap();
        let signer = Signer::new(secret).unwrap();
        let known = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        assert_eq!(signer.address().to_string(), known);
        assert!(!format!("{signer:?}").contains("ac0974"));
        let digest = keccak256("a digest");
        let signature = signer.sign_digest(digest);
        assert_eq!(signature.recover(digest), Ok(signer.address()));
        assert_ne!(
            signature.recover(keccak256("another")),
            Ok(signer.address())
        );
        // The twin with s' = n - s and the other parity is a signature too, and refused.
        let order = alloy_primitives::U256::from_be_slice(&secp256k1::constants::CURVE_ORDER);
        let (mut s, parity) = (signature.vs, signature.vs[0] >> 7);
        s[0] &= 0x7f;
        let twin = order - alloy_primitives::U256::from_be_bytes(s.0);
        let mut vs = B256::from(twin.to_be_bytes());
        // It does not even fit beside a parity bit, or it is refused for what it is.
        vs[0] |= (1 - parity) << 7;
        let twin = Signature { vs, ..signature };
        assert_ne!(twin.recover(digest), Ok(signer.address()));
        assert_eq!(
            Signature::default().recover(digest),
            Err(SignatureError::Invalid)
        );
        assert_eq!(Signer::new([0; 32]).unwrap_err(), BadKey);
    }
}
