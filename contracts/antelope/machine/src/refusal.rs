//! Why the hub refuses a call: the text of the assertion that fails, with the values.

use core::fmt;

use crate::account::Name;
use crate::hash::Address;

/// A refusal. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// A setting that would make the hub unsafe.
    ConfigInvalid(&'static str),
    /// Co-signer or recipient is nobody, the hub itself, or (co-signer) the operator.
    PartyInvalid,
    /// The id was used before.
    ChannelUsed,
    /// The channel is closed for good.
    ChannelClosed,
    /// A dispute runs.
    ChannelInDispute {
        /// Its end.
        deadline: u64,
    },
    /// No dispute runs.
    ChannelNotInDispute,
    /// The hub is frozen for good.
    HubFrozen,
    /// An amount is above what a token can have.
    AmountTooLarge {
        /// The amount.
        amount: u128,
    },
    /// A version, an epoch, a number or a time has more than 40 bits.
    NumberTooLarge {
        /// The number.
        number: u64,
    },
    /// Nothing to move.
    AmountIsZero,
    /// Too late for it.
    Expired {
        /// Last second.
        deadline: u64,
    },
    /// Another key signed.
    WrongSigner {
        /// Who should have.
        expected: Address,
        /// Who did.
        recovered: Address,
    },
    /// s is in the upper half of the order: a rewritten signature.
    SignatureHighS,
    /// No key's signature.
    SignatureInvalid,
    /// Neither owner nor operator.
    NotParty {
        /// Who called.
        caller: Name,
    },
    /// Not a trading balance.
    KindUnknown {
        /// What it says.
        kind: u8,
    },
    /// The hub has as new a state.
    VersionNotNewer {
        /// What the hub has.
        recorded: u64,
        /// What was shown.
        given: u64,
    },
    /// The hub has a state of a later epoch.
    EpochRewinds {
        /// What the hub has.
        recorded: u64,
        /// What was shown.
        given: u64,
    },
    /// The block it was signed under is not pinned here.
    BranchUnknown,
    /// The state does not lie under the root that was signed.
    AccountRootMismatch,
    /// The dispute is over.
    WindowOver {
        /// Since when.
        deadline: u64,
    },
    /// The dispute still runs.
    WindowOpen {
        /// Until when.
        deadline: u64,
    },
    /// That much was withdrawn before.
    WithdrawnNotMore {
        /// What the hub has.
        recorded: u64,
        /// What was asked.
        given: u128,
    },
    /// Escrow and free vault are less.
    NotCovered {
        /// What was asked.
        amount: u128,
        /// What there is.
        available: u128,
    },
    /// Not the next number.
    NumberWrong {
        /// The only one taken.
        expected: u64,
        /// The one given.
        given: u64,
    },
    /// The epoch is none of the grant's.
    EpochOutsideGrant {
        /// The state's.
        epoch: u64,
        /// The grant's first.
        first: u64,
        /// The grant's last.
        last: u64,
    },
    /// A session key may not go so low.
    BelowFloor {
        /// The state's.
        balance: u128,
        /// The grant's.
        floor: u128,
    },
    /// A session key may not lose so much.
    OutflowExceeded {
        /// The grant's.
        outflow: u128,
    },
    /// The session key was revoked.
    SessionRevoked {
        /// First epoch it may not sign.
        from_epoch: u64,
        /// The state's.
        epoch: u64,
    },
    /// That epoch may have been signed already.
    RevocationTooEarly {
        /// The first that can be revoked.
        earliest: u64,
        /// The one given.
        given: u64,
    },
    /// The batch cannot have the state in it.
    BatchOlderThanState {
        /// The batch's epoch.
        batch: u64,
        /// The state's.
        state: u64,
    },
    /// The vault does not cover the root.
    ExcessAboveVault {
        /// The root's.
        excess: u128,
        /// The vault's.
        vault: u64,
    },
    /// A newer root was posted.
    EpochNotNewer {
        /// Its epoch.
        posted: u64,
        /// The one given.
        given: u64,
    },
    /// Not yet.
    TooEarly {
        /// From when.
        from: u64,
    },
    /// Not any more.
    TooLate {
        /// Until when.
        until: u64,
    },
    /// The operator owes no roots for a token it never posted one for.
    TokenNeverPosted,
    /// Nothing is due.
    NothingToCollect,
    /// A path is longer than 16.
    PathTooLong {
        /// Its length.
        length: u64,
    },
    /// No leaf has this position.
    PositionOutsideTree {
        /// The position.
        position: u64,
    },
    /// The sums do not fit 128 bits.
    SumOverflows,
    /// A proof that proves nothing.
    ProofRefused,
    /// The block has too few blocks above it.
    BlockNotConfirmed {
        /// First block in which it can be pinned.
        earliest: u64,
    },
    /// The transaction does not refer to this block.
    BlockNotReferred,
}

/// Bytes in hexadecimal.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|it| write!(f, "{it:02x}"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = b".12345abcdefghijklmnopqrstuvwxyz";
        let mut text = [b'.'; 13];
        for (place, letter) in text.iter_mut().enumerate() {
            // Twelve letters of five bits, then one of four.
            let index = match place {
                12 => self.0 & 0x0f,
                _ => (self.0 >> (59 - 5 * place)) & 0x1f,
            };
            *letter = letters[index as usize];
        }
        let end = text
            .iter()
            .rposition(|it| *it != b'.')
            .map_or(0, |it| it + 1);
        f.write_str(core::str::from_utf8(&text[..end]).unwrap_or_default())
    }
}

impl fmt::Display for Refusal {
    #[rustfmt::skip]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::ConfigInvalid(what) => write!(f, "setting refused: {what}"),
            Refusal::PartyInvalid => f.write_str("co-signer or recipient is nobody, the hub or the operator"),
            Refusal::ChannelUsed => f.write_str("channel id used before; take another nonce"),
            Refusal::ChannelClosed => f.write_str("channel is closed"),
            Refusal::ChannelInDispute { deadline } => write!(f, "channel in dispute until {deadline}"),
            Refusal::ChannelNotInDispute => f.write_str("channel is not in dispute"),
            Refusal::HubFrozen => f.write_str("hub is frozen"),
            Refusal::AmountTooLarge { amount } => write!(f, "amount {amount} is more than a token has"),
            Refusal::NumberTooLarge { number } => write!(f, "number {number} has more than 40 bits"),
            Refusal::AmountIsZero => f.write_str("amount is zero"),
            Refusal::Expired { deadline } => write!(f, "expired at {deadline}"),
            Refusal::WrongSigner { expected, recovered } => write!(f, "signed by {}, not by {}", Hex(recovered), Hex(expected)),
            Refusal::SignatureHighS => f.write_str("signature has s in the upper half of the order"),
            Refusal::SignatureInvalid => f.write_str("signature is of no key"),
            Refusal::NotParty { caller } => write!(f, "{caller} is neither owner nor operator"),
            Refusal::KindUnknown { kind } => write!(f, "kind {kind} is unknown"),
            Refusal::VersionNotNewer { recorded, given } => write!(f, "version {given} is not newer than {recorded}"),
            Refusal::EpochRewinds { recorded, given } => write!(f, "epoch {given} is before {recorded}"),
            Refusal::BranchUnknown => f.write_str("branch is not pinned"),
            Refusal::AccountRootMismatch => f.write_str("state does not lie under the account root"),
            Refusal::WindowOver { deadline } => write!(f, "window ended at {deadline}"),
            Refusal::WindowOpen { deadline } => write!(f, "window is open until {deadline}"),
            Refusal::WithdrawnNotMore { recorded, given } => write!(f, "withdrawn {given} is not more than {recorded}"),
            Refusal::NotCovered { amount, available } => write!(f, "{amount} asked, {available} available"),
            Refusal::NumberWrong { expected, given } => write!(f, "number {given} given, {expected} is next"),
            Refusal::EpochOutsideGrant { epoch, first, last } => write!(f, "epoch {epoch} is outside of the grant's {first} to {last}"),
            Refusal::BelowFloor { balance, floor } => write!(f, "balance {balance} is below the grant's floor {floor}"),
            Refusal::OutflowExceeded { outflow } => write!(f, "more flowed out than the grant's {outflow}"),
            Refusal::SessionRevoked { from_epoch, epoch } => write!(f, "session key revoked from epoch {from_epoch}, state of {epoch}"),
            Refusal::RevocationTooEarly { earliest, given } => write!(f, "epoch {given} may have been signed, {earliest} is the first to revoke"),
            Refusal::BatchOlderThanState { batch, state } => write!(f, "batch of epoch {batch} is older than the state of {state}"),
            Refusal::ExcessAboveVault { excess, vault } => write!(f, "excess {excess} is above the vault's {vault}"),
            Refusal::EpochNotNewer { posted, given } => write!(f, "epoch {given} is not newer than {posted}"),
            Refusal::TooEarly { from } => write!(f, "not before {from}"),
            Refusal::TooLate { until } => write!(f, "not after {until}"),
            Refusal::TokenNeverPosted => f.write_str("no root was ever posted for the token"),
            Refusal::NothingToCollect => f.write_str("nothing to collect"),
            Refusal::PathTooLong { length } => write!(f, "path of {length} steps, 16 is the most"),
            Refusal::PositionOutsideTree { position } => write!(f, "position {position} is outside of the tree"),
            Refusal::SumOverflows => f.write_str("sums overflow"),
            Refusal::ProofRefused => f.write_str("proof proves nothing"),
            Refusal::BlockNotConfirmed { earliest } => write!(f, "block can be pinned from block {earliest}"),
            Refusal::BlockNotReferred => f.write_str("the transaction refers to another block"),
        }
    }
}
