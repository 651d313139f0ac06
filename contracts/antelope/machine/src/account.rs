//! Accounts and tokens of the chain, and the 20-byte addresses that stand for them in what is signed.
//!
//! What is signed is the same on every account-based chain and knows addresses only. A name has 8 bytes and a token is a contract's name and a symbol, 16: both fit behind
//! a tag of 4 letters, so the address says what it stands for, and nothing is hashed or looked up.

use crate::hash::Address;

/// An account's name, as the chain packs it: up to 12 letters of 5 bits from the top, one of 4 below.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Name(pub u64);

/// A symbol, as the chain packs it: decimals in the lowest byte, letters above it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Symbol(pub u64);

/// A token: the contract that keeps it and its symbol there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Token {
    /// Contract that keeps the balances.
    pub contract: Name,
    /// Which of the contract's tokens.
    pub symbol: Symbol,
}

impl Name {
    /// `"name"`, eight zeros, the name's 8 bytes, big-endian.
    #[must_use]
    pub fn address(self) -> Address {
        tagged(b"name", 0, self.0)
    }
}

impl Token {
    /// `"coin"`, the contract's 8 bytes, the symbol's 8 bytes, both big-endian.
    #[must_use]
    pub fn address(self) -> Address {
        tagged(b"coin", self.contract.0, self.symbol.0)
    }
}

fn tagged(tag: &[u8; 4], high: u64, low: u64) -> Address {
    let mut address = [0; 20];
    address[..4].copy_from_slice(tag);
    address[4..12].copy_from_slice(&high.to_be_bytes());
    address[12..].copy_from_slice(&low.to_be_bytes());
    address
}
