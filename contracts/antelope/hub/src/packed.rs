//! Bytes of actions and rows, as `hub.abi.json` says: numbers little-endian, words and addresses as they are, a length before what repeats.

use ring0_antelope_machine::account::{Name, Symbol, Token};
use ring0_antelope_machine::channel::{Channel, Record, Succession};
use ring0_antelope_machine::evidence::Grant;
use ring0_antelope_machine::hash::{Address, Word};
use ring0_antelope_machine::hub::{EntryProof, Settings, SignedBatch, Status};
use ring0_antelope_machine::message::{State, Terms, Validity};
use ring0_antelope_machine::signature::Signature;
use ring0_antelope_machine::tree::{DEPTH_MAX, Path, Sums};
use ring0_antelope_machine::vault::{Posted, Vault};

use crate::chain::{refuse, require};

/// What is still to be read.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let Some((taken, left)) = self.0.split_at_checked(length) else {
            refuse(&"data ends too early");
        };
        self.0 = left;
        taken
    }

    pub(crate) fn read<T: Packed<'a>>(&mut self) -> T {
        T::unpack(self)
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) {
        require(self.0.is_empty(), "data goes on after its end");
    }

    /// A length: seven bits a byte, the low ones first. Nothing here has more than 16,383 parts.
    pub(crate) fn length(&mut self) -> usize {
        let low: u8 = self.read();
        if low < 0x80 {
            return low.into();
        }
        let high: u8 = self.read();
        require(high < 0x80, "too many parts");
        usize::from(low & 0x7f) | usize::from(high) << 7
    }
}

/// What is written.
pub(crate) struct Output {
    bytes: [u8; 512],
    length: usize,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output {
            bytes: [0; 512],
            length: 0,
        }
    }

    /// The bytes of one value.
    pub(crate) fn of<'a>(value: &impl Packed<'a>) -> Output {
        let mut output = Output::new();
        value.pack(&mut output);
        output
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A value with a fixed layout.
pub(crate) trait Packed<'a>: Sized {
    fn unpack(from: &mut Input<'a>) -> Self;
    fn pack(&self, to: &mut Output);
}

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Packed<'_> for $number {
            fn unpack(from: &mut Input) -> $number {
                let mut bytes = [0; size_of::<$number>()];
                bytes.copy_from_slice(from.take(size_of::<$number>()));
                <$number>::from_le_bytes(bytes)
            }

            fn pack(&self, to: &mut Output) {
                to.put(&self.to_le_bytes());
            }
        }
    )* };
}

numbers!(u8, u32, u64, i64, u128, i128);

impl<const N: usize> Packed<'_> for [u8; N] {
    fn unpack(from: &mut Input) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(from.take(N));
        bytes
    }

    fn pack(&self, to: &mut Output) {
        to.put(self);
    }
}

impl Packed<'_> for bool {
    fn unpack(from: &mut Input) -> bool {
        let value: u8 = from.read();
        require(value < 2, "neither true nor false");
        value == 1
    }

    fn pack(&self, to: &mut Output) {
        u8::from(*self).pack(to);
    }
}

impl Packed<'_> for Name {
    fn unpack(from: &mut Input) -> Name {
        Name(from.read())
    }

    fn pack(&self, to: &mut Output) {
        self.0.pack(to);
    }
}

impl Packed<'_> for Symbol {
    fn unpack(from: &mut Input) -> Symbol {
        Symbol(from.read())
    }

    fn pack(&self, to: &mut Output) {
        self.0.pack(to);
    }
}

/// What may be left out.
pub(crate) fn optional<'a, T: Packed<'a>>(from: &mut Input<'a>) -> Option<T> {
    from.read::<bool>().then(|| from.read())
}

macro_rules! rows {
    ($($row:ident { $($field:ident),* })*) => { $(
        impl Packed<'_> for $row {
            fn unpack(from: &mut Input) -> $row {
                $(let $field = from.read();)*
                $row { $($field),* }
            }

            fn pack(&self, to: &mut Output) {
                $(self.$field.pack(to);)*
            }
        }
    )* };
}

rows! {
    Token { contract, symbol }
    Terms { owner, cosigner, token, nonce }
    Record { base, version, epoch, deadline, security }
    Succession { number, current, next, from }
    Channel { id, terms, closed, deposited, withdrawn, moved, moves, record, succession, claim_start, claim, due }
    Vault { balance, locked, number, former_peak, current_peak, posted_at, outstanding, epoch, owed, funded, requested, request_from }
    Posted { entry, time, number }
    Settings { lineage, venue, operator_key, operator, treasury, anchor, window, grace, vault_delay, pin_every, confirmations, first_epoch }
    Status { frozen_at, epoch, epoch_at }
    State { version, balance, deposited_seen, withdrawn_seen, epoch, kind, account_root, branch }
    Signature { r, vs }
    Validity { branch, deadline }
    Sums { hash, balance, excess }
    SignedBatch { previous, entries, signature }
}

/// A path of hashes, where it lies.
pub(crate) fn path<'a>(from: &mut Input<'a>) -> Path<'a, Word> {
    let position = from.read();
    let length = from.length();
    let (siblings, _) = from.take(32 * length).as_chunks::<32>();
    Path { position, siblings }
}

/// A path of sums, unpacked.
pub(crate) struct SumPath {
    position: u64,
    length: usize,
    siblings: [Sums; DEPTH_MAX],
}

impl SumPath {
    pub(crate) fn unpack(from: &mut Input) -> SumPath {
        let (position, length) = (from.read(), from.length());
        require(
            length <= DEPTH_MAX,
            "path of too many steps, 16 is the most",
        );
        let mut siblings = [Sums::default(); DEPTH_MAX];
        siblings[..length].fill_with(|| from.read());
        SumPath {
            position,
            length,
            siblings,
        }
    }

    pub(crate) fn path(&self) -> Path<'_, Sums> {
        Path {
            position: self.position,
            siblings: &self.siblings[..self.length],
        }
    }
}

/// The way from a token's root to a signed batch.
pub(crate) fn entry_proof<'a>(from: &mut Input<'a>) -> EntryProof<'a> {
    EntryProof {
        path: path(from),
        epoch: from.read(),
        previous: from.read(),
        signature: from.read(),
    }
}

/// A grant.
pub(crate) fn grant<'a>(from: &mut Input<'a>) -> Grant<'a> {
    Grant {
        session: from.read::<Address>(),
        expiry: from.read(),
        first_epoch: from.read(),
        last_epoch: from.read(),
        floor: from.read(),
        start_base: from.read(),
        outflow: from.read(),
        path: path(from),
        signature: from.read(),
    }
}
