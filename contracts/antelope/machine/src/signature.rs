//! Who signed: 64 bytes (EIP-2098), s in the lower half of the order, so that a signature cannot be rewritten into another.

use crate::hash::{Address, Host, Word};
use crate::refusal::Refusal;

/// Half of secp256k1's order, rounded down.
const HALF_ORDER: Word = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// A signature: r, and s with the parity of y in its highest bit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Signature {
    /// The x coordinate.
    pub r: Word,
    /// The proof, and the parity.
    pub vs: Word,
}

impl Signature {
    /// Address of the key that signed.
    ///
    /// # Errors
    /// It was rewritten (high s), or is no signature.
    pub fn recover(&self, host: &impl Host, digest: &Word) -> Result<Address, Refusal> {
        let (mut s, parity) = (self.vs, self.vs[0] >> 7);
        s[0] &= 0x7f;
        if s > HALF_ORDER {
            return Err(Refusal::SignatureHighS);
        }
        let key = host
            .recover(digest, parity, &self.r, &s)
            .ok_or(Refusal::SignatureInvalid)?;
        let mut address = [0; 20];
        address.copy_from_slice(&host.keccak(&key)[12..]);
        Ok(address)
    }

    /// Whether `expected` signed.
    ///
    /// # Errors
    /// Somebody else, or nobody.
    pub fn require(
        &self,
        host: &impl Host,
        digest: &Word,
        expected: &Address,
    ) -> Result<(), Refusal> {
        let recovered = self.recover(host, digest)?;
        if recovered != *expected {
            return Err(Refusal::WrongSigner {
                expected: *expected,
                recovered,
            });
        }
        Ok(())
    }
}
