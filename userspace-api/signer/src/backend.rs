//! Where keys are: one trait, and what stands behind it.

pub(crate) mod dkls;
pub(crate) mod frost;
pub(crate) mod local;
pub(crate) mod pkcs11;

use crate::message::{Kind, Message};
use crate::protocol::Outcome;
use ring0_channels::B256;

/// Why a backend did not sign. What was asked is in the history all the same; asking again does no harm.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The hardware, or its library.
    #[error("the PKCS#11 token: {0}; check that it is there, its library and its PIN")]
    Token(String),
    /// Too few holders of shares.
    #[error("{needed} shares are needed and {had} answered: {why}; see that the holders run")]
    Shares {
        /// How many.
        needed: usize,
        /// How many answered.
        had: usize,
        /// What the others said.
        why: String,
    },
    /// The key does not do that.
    #[error("this key cannot sign it")]
    Scheme,
    /// What came out fits nothing.
    #[error("what came back is no signature of the key: {0}")]
    Wrong(String),
}

/// A key that can sign.
pub(crate) trait Backend: Send + Sync {
    /// ECDSA on account-based chains.
    fn ecdsa(&self) -> bool {
        false
    }

    /// BIP-340 for taproot outputs of the key.
    fn taproot(&self) -> bool {
        false
    }

    /// Whether it needs the message to sign it: others are asked for their parts.
    fn whole(&self) -> bool {
        false
    }

    /// An ECDSA signature of a message's digest.
    fn sign_digest(&self, digest: B256) -> Result<Outcome, BackendError> {
        let _ = digest;
        Err(BackendError::Scheme)
    }

    /// Signs a message of any kind that the key can; `digest` is the message's own.
    fn sign(&self, message: &Message, digest: B256) -> Result<Outcome, BackendError> {
        match message.kind() {
            Kind::VaultMove => Err(BackendError::Scheme),
            _ => self.sign_digest(digest),
        }
    }

    /// What a holder of a share does; `None`: it holds none.
    fn share(&self) -> Option<&dyn crate::share::Share> {
        None
    }

    /// As [`share`](Backend::share), of threshold ECDSA.
    fn ecdsa_share(&self) -> Option<&crate::ecdsa_share::EcdsaShare> {
        None
    }
}
