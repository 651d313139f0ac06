//! Bytes of actions, rows and transactions as the chain packs them: numbers little-endian, words and addresses as they are, a length before what repeats.

use crate::account::Name;
use alloy_primitives::{Address, B256};
use ring0_channels::key::Signature;

/// What is written.
#[derive(Default)]
pub(crate) struct Output(pub(crate) Vec<u8>);

impl Output {
    /// Bytes of a fixed length: a number's, a word, an address.
    pub(crate) fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.extend_from_slice(bytes.as_ref());
    }

    pub(crate) fn name(&mut self, name: Name) {
        self.put(name.0.to_le_bytes());
    }

    /// A length or another number of variable size: seven bits a byte, the low ones first.
    pub(crate) fn length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.0.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
    }

    /// Bytes of any number behind their length.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.put(bytes);
    }

    pub(crate) fn path(&mut self, path: &[B256]) {
        self.length(path.len());
        for hash in path {
            self.put(hash);
        }
    }

    pub(crate) fn signature(&mut self, signature: &Signature) {
        self.put(signature.r);
        self.put(signature.vs);
    }
}

/// What is read: a row, whose length is known to be its table's.
pub(crate) struct Input<'a>(&'a [u8]);

macro_rules! numbers {
    ($($number:ident),*) => { $(
        pub(crate) fn $number(&mut self) -> $number {
            $number::from_le_bytes(self.array())
        }
    )* };
}

impl<'a> Input<'a> {
    /// Over the bytes of a row; `None`: they are not so many.
    pub(crate) fn of(bytes: &'a [u8], length: usize) -> Option<Input<'a>> {
        (bytes.len() == length).then_some(Input(bytes))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .expect("a row's fields are its length");
        self.0 = rest;
        *taken
    }

    numbers!(u8, u32, u64, i64, u128);

    pub(crate) fn name(&mut self) -> Name {
        Name(self.u64())
    }

    pub(crate) fn word(&mut self) -> B256 {
        B256::from(self.array())
    }

    pub(crate) fn address(&mut self) -> Address {
        Address::from(self.array())
    }

    /// Every field was read.
    pub(crate) fn end(&self) {
        assert!(self.0.is_empty(), "a row's fields are its length");
    }
}
