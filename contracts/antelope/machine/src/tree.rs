//! Merkle trees: plain ones for accounts, entries and limits, and the sum tree of a (hub, token).
//!
//! A leaf's preimage begins with 0x00 and a node's with 0x01, so neither passes for the other. Bit *i* of a position says that the sibling of step *i* stands on the left.

use crate::hash::{Address, Host, Preimage, Word, number, padded, signed};
use crate::refusal::Refusal;

/// Longest path accepted in any tree.
pub const DEPTH_MAX: usize = 16;

/// A leaf's place in a tree, and how many steps it is from the root.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Path<'a, Step> {
    /// Its bits from the lowest up say on which side the siblings stand.
    pub position: u64,
    /// Siblings from the leaf up.
    pub siblings: &'a [Step],
}

impl<Step> Path<'_, Step> {
    fn require(&self) -> Result<(), Refusal> {
        let depth = self.siblings.len();
        if depth > DEPTH_MAX {
            return Err(Refusal::PathTooLong {
                length: depth as u64,
            });
        }
        if self.position >> depth != 0 {
            return Err(Refusal::PositionOutsideTree {
                position: self.position,
            });
        }
        Ok(())
    }

    fn is_left(&self, step: usize) -> bool {
        (self.position >> step) & 1 == 0
    }
}

/// Leaf over what was hashed before.
#[must_use]
pub fn leaf(host: &impl Host, content: &Word) -> Word {
    Preimage::<33>::new().with(&[0]).with(content).hash(host)
}

fn node(host: &impl Host, left: &Word, right: &Word) -> Word {
    Preimage::<65>::new()
        .with(&[1])
        .with(left)
        .with(right)
        .hash(host)
}

/// The root that a leaf and its path lead to.
///
/// # Errors
/// The path is too long, or the position is none of such a tree.
pub fn root(host: &impl Host, leaf: Word, path: &Path<Word>) -> Result<Word, Refusal> {
    path.require()?;
    let step = |hash: Word, (step, beside): (usize, &Word)| match path.is_left(step) {
        true => node(host, &hash, beside),
        false => node(host, beside, &hash),
    };
    Ok(path.siblings.iter().enumerate().fold(leaf, step))
}

/// A node of a sum tree.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Sums {
    /// Its hash.
    pub hash: Word,
    /// Sum of balances below it.
    pub balance: u128,
    /// Sum of what is above the channels' own escrow.
    pub excess: u128,
}

impl Sums {
    /// A leaf: a whole state's hash, its balance, its part above the channel's escrow.
    #[must_use]
    pub fn leaf(host: &impl Host, state: &Word, balance: u128, excess: u128) -> Sums {
        let hash = Preimage::<65>::new()
            .with(&[0])
            .with(state)
            .with(&balance.to_be_bytes())
            .with(&excess.to_be_bytes())
            .hash(host);
        Sums {
            hash,
            balance,
            excess,
        }
    }

    /// Hash of the node over two.
    #[must_use]
    pub fn over(host: &impl Host, left: &Sums, right: &Sums) -> Word {
        Preimage::<129>::new()
            .with(&[1])
            .with(&left.hash)
            .with(&left.balance.to_be_bytes())
            .with(&left.excess.to_be_bytes())
            .with(&right.hash)
            .with(&right.balance.to_be_bytes())
            .with(&right.excess.to_be_bytes())
            .hash(host)
    }

    /// The root that this node and its path lead to.
    ///
    /// # Errors
    /// As [`root`]'s, or the sums do not fit 128 bits.
    pub fn root(&self, host: &impl Host, path: &Path<Sums>) -> Result<Sums, Refusal> {
        path.require()?;
        let mut at = *self;
        for (step, beside) in path.siblings.iter().enumerate() {
            let hash = match path.is_left(step) {
                true => Sums::over(host, &at, beside),
                false => Sums::over(host, beside, &at),
            };
            let sum = |a: u128, b: u128| a.checked_add(b).ok_or(Refusal::SumOverflows);
            at = Sums {
                hash,
                balance: sum(at.balance, beside.balance)?,
                excess: sum(at.excess, beside.excess)?,
            };
        }
        Ok(at)
    }

    /// What a batch says of a (hub, token): the leaf of the batch's own tree.
    #[must_use]
    pub fn entry(&self, host: &impl Host, lineage: &Word, hub: &Address, token: &Address) -> Word {
        Preimage::<193>::new()
            .with(&[0])
            .with(lineage)
            .with(&padded(hub))
            .with(&padded(token))
            .with(&self.hash)
            .with(&number(self.balance))
            .with(&number(self.excess))
            .hash(host)
    }
}

/// One channel's limits in a grant.
#[must_use]
pub fn limits(
    host: &impl Host,
    channel: &Word,
    floor: u128,
    start_base: i128,
    outflow: u128,
) -> Word {
    Preimage::<129>::new()
        .with(&[0])
        .with(channel)
        .with(&number(floor))
        .with(&signed(start_base))
        .with(&number(outflow))
        .hash(host)
}
