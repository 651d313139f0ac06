//! Words, addresses, and what the chain computes and keeps for the hub.

use crate::vault::Posted;

/// 32 bytes.
pub type Word = [u8; 32];

/// 20 bytes: a key's address, or what stands for an account or a token ([`crate::account`]).
pub type Address = [u8; 20];

/// What the chain computes, in native code so that the contract stays small, and what it keeps beside channels and vaults.
pub trait Host {
    /// Keccak-256.
    fn keccak(&self, bytes: &[u8]) -> Word;

    /// The public key, x and y, whose signature (r, s) with this parity of y is one of `digest`; `None` if there is none.
    fn recover(&self, digest: &Word, parity: u8, r: &Word, s: &Word) -> Option<[u8; 64]>;

    /// Whether a block's id was pinned.
    fn is_pinned(&self, branch: &Word) -> bool;

    /// First epoch that a session key may not sign for a co-signer any more; zero: not revoked.
    fn revoked_from(&self, cosigner: &Address, session: &Address) -> u64;

    /// The posted root with this entry.
    fn posted(&self, entry: &Word) -> Option<Posted>;
}

/// A number as a word, big-endian.
#[must_use]
pub fn number(value: u128) -> Word {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}

/// A number of either sign as a word, in two's complement.
#[must_use]
pub fn signed(value: i128) -> Word {
    let mut word = [if value < 0 { 0xff } else { 0 }; 32];
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}

/// An address as a word.
#[must_use]
pub fn padded(address: &Address) -> Word {
    let mut word = [0; 32];
    word[12..].copy_from_slice(address);
    word
}

/// Bytes put together to be hashed; `N` is the most that there can be.
pub(crate) struct Preimage<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Preimage<N> {
    pub(crate) fn new() -> Preimage<N> {
        Preimage {
            bytes: [0; N],
            length: 0,
        }
    }

    pub(crate) fn with(mut self, more: &[u8]) -> Preimage<N> {
        self.bytes[self.length..self.length + more.len()].copy_from_slice(more);
        self.length += more.len();
        self
    }

    pub(crate) fn hash(&self, host: &impl Host) -> Word {
        host.keccak(&self.bytes[..self.length])
    }
}

/// Hash of words one after the other.
pub(crate) fn words<const N: usize>(host: &impl Host, words: [Word; N]) -> Word {
    host.keccak(words.as_flattened())
}
