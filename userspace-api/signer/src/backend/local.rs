//! A key in this process's memory, from the encrypted keystore.

use super::{Backend, BackendError};
use crate::message::{Kind, Message};
use crate::protocol::Outcome;
use ring0_channels::B256;
use ring0_channels::key::{BadKey, Signer};
use secp256k1::{Keypair, Scalar, SecretKey, schnorr};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// See the module.
pub(crate) struct LocalKey {
    signer: Signer,
    secret: Zeroizing<[u8; 32]>,
}

impl LocalKey {
    pub(crate) fn new(secret: Zeroizing<[u8; 32]>) -> Result<LocalKey, BadKey> {
        Ok(LocalKey {
            signer: Signer::new(*secret)?,
            secret,
        })
    }

    /// BIP-340 under the output's key: the internal one, tweaked by its own hash (BIP-341, no scripts).
    fn schnorr(&self, digest: B256) -> Result<[u8; 64], BackendError> {
        let wrong = |error: secp256k1::Error| BackendError::Wrong(error.to_string());
        let secret = SecretKey::from_secret_bytes(*self.secret).map_err(wrong)?;
        let pair = Keypair::from_secret_key(&secret);
        let tweak = tap_tweak(&pair.x_only_public_key().0.to_byte_array());
        let tweak = Scalar::from_be_bytes(tweak)
            .map_err(|_| BackendError::Wrong("the tweak is above the curve's order".to_owned()))?;
        let mut tweaked = pair.add_xonly_tweak(&tweak).map_err(wrong)?;
        let signature = schnorr::sign_with_aux_rand(&digest.0, &tweaked, &crate::random::bytes());
        tweaked.non_secure_erase();
        Ok(signature.to_byte_array())
    }
}

/// BIP-341's tagged hash of an internal key without scripts.
pub(crate) fn tap_tweak(internal: &[u8; 32]) -> [u8; 32] {
    let tag = Sha256::digest(b"TapTweak");
    let mut hash = Sha256::new();
    hash.update(tag);
    hash.update(tag);
    hash.update(internal);
    hash.finalize().into()
}

impl Backend for LocalKey {
    fn ecdsa(&self) -> bool {
        true
    }

    fn taproot(&self) -> bool {
        true
    }

    fn sign_digest(&self, digest: B256) -> Result<Outcome, BackendError> {
        Ok(Outcome::Ecdsa(self.signer.sign_digest(digest)))
    }

    fn sign(&self, message: &Message, digest: B256) -> Result<Outcome, BackendError> {
        match message.kind() {
            Kind::VaultMove => {
                let signature = self.schnorr(digest)?;
                Ok(Outcome::Taproot(alloy_primitives::hex::encode(signature)))
            }
            _ => self.sign_digest(digest),
        }
    }
}
