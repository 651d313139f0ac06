//! Trees of a settlement batch (CUSTODY 4, 8): plain ones over an account's channels and over a batch's entries, and the sum tree of a (hub, token).
//!
//! A leaf's preimage begins with 0x00 and a node's with 0x01. Leaves are ordered by key and no key comes twice; a tree is filled up to a power of two with the empty leaf, which
//! is zero and sums to nothing. Paths go from the leaf up; bit *i* of the position says on which side the path's *i*th hash stands: 1, to the left.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue;

use crate::message::Hub;
use crate::parallel::each;
use serde::{Deserialize, Serialize};

/// Longest path that a hub takes.
pub const DEPTH_MAX: usize = 16;

/// Why there is no such tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TreeError {
    /// A key comes twice.
    #[error("{0} is in the tree twice; a batch has each channel once")]
    Duplicate(B256),
    /// A path would be longer than a hub takes.
    #[error("{0} leaves are more than {max}; split the accounts over another hub", max = 1 << DEPTH_MAX)]
    TooMany(usize),
    /// The sums do not fit 128 bits.
    #[error("the sums overflow; no hub could pay them")]
    Overflow,
    /// There is nothing in it.
    #[error("a tree needs a leaf")]
    Empty,
}

/// A plain tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// From the leaves up; each a power of two long.
    levels: Vec<Vec<B256>>,
}

/// Hash of a leaf of an account's tree, over the channel state's own hash.
#[must_use]
pub fn leaf(content: B256) -> B256 {
    let mut preimage = [0; 33];
    preimage[1..].copy_from_slice(content.as_slice());
    keccak256(preimage)
}

/// Hash of a node.
#[must_use]
pub fn node(left: B256, right: B256) -> B256 {
    let mut preimage = [1; 65];
    preimage[1..33].copy_from_slice(left.as_slice());
    preimage[33..].copy_from_slice(right.as_slice());
    keccak256(preimage)
}

/// Leaves in order, from keys and leaves in any.
fn ordered<T>(mut leaves: Vec<(B256, T)>) -> Result<Vec<(B256, T)>, TreeError> {
    if leaves.is_empty() {
        return Err(TreeError::Empty);
    }
    if leaves.len() > 1 << DEPTH_MAX {
        return Err(TreeError::TooMany(leaves.len()));
    }
    leaves.sort_by_key(|(key, _)| *key);
    match leaves.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(TreeError::Duplicate(pair[0].0)),
        None => Ok(leaves),
    }
}

/// Levels from the leaves up.
fn levels<T: Clone + Send + Sync>(
    mut level: Vec<T>,
    empty: &T,
    join: impl Fn(&T, &T) -> Result<T, TreeError> + Sync,
) -> Result<Vec<Vec<T>>, TreeError> {
    level.resize(level.len().next_power_of_two(), empty.clone());
    let mut levels = vec![level];
    while let Some(below) = levels.last().filter(|it| it.len() > 1) {
        let pairs: Vec<&[T]> = below.chunks_exact(2).collect();
        let above = each(&pairs, |pair| join(&pair[0], &pair[1]));
        levels.push(above.into_iter().collect::<Result<_, _>>()?);
    }
    Ok(levels)
}

/// What stands beside the way from a leaf to the root.
fn path<T: Clone>(levels: &[Vec<T>], position: usize) -> Vec<T> {
    let below_root = &levels[..levels.len() - 1];
    let beside = |(height, level): (usize, &Vec<T>)| level[(position >> height) ^ 1].clone();
    below_root.iter().enumerate().map(beside).collect()
}

impl Tree {
    /// Over leaves by their keys; gives with it each leaf's position, in the order of the keys.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn new(leaves: Vec<(B256, B256)>) -> Result<Tree, TreeError> {
        let leaves = ordered(leaves)?.into_iter().map(|(_, leaf)| leaf).collect();
        let levels = levels(leaves, &B256::ZERO, |left, right| Ok(node(*left, *right)))?;
        Ok(Tree { levels })
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.levels[self.levels.len() - 1][0]
    }

    /// Position of a leaf.
    #[must_use]
    pub fn position(&self, leaf: B256) -> Option<usize> {
        self.levels[0].iter().position(|one| *one == leaf)
    }

    /// The way from the leaf at `position` to the root.
    ///
    /// # Panics
    /// There is no such leaf.
    #[must_use]
    pub fn path(&self, position: usize) -> Vec<B256> {
        path(&self.levels, position)
    }
}

/// The root that a leaf and a path lead to; `None` for a path that no hub takes.
#[must_use]
pub fn root(leaf: B256, position: usize, path: &[B256]) -> Option<B256> {
    is_place(position, path.len()).then(|| {
        path.iter()
            .enumerate()
            .fold(leaf, |hash, (height, beside)| {
                match (position >> height) & 1 {
                    0 => node(hash, *beside),
                    _ => node(*beside, hash),
                }
            })
    })
}

fn is_place(position: usize, depth: usize) -> bool {
    depth <= DEPTH_MAX && position >> depth == 0
}

/// A node of a sum tree.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sums {
    /// Its hash.
    pub hash: B256,
    /// What all its traders own.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
    /// What of it is above the channels' own escrow.
    #[serde(with = "crate::decimal")]
    pub excess: u128,
}

impl Sums {
    /// A leaf: a whole state ([`State`](crate::message::State)'s struct hash) and its amounts.
    #[must_use]
    pub fn leaf(state: B256, balance: u128, excess: u128) -> Sums {
        let mut preimage = [0; 65];
        preimage[1..33].copy_from_slice(state.as_slice());
        preimage[33..49].copy_from_slice(&balance.to_be_bytes());
        preimage[49..].copy_from_slice(&excess.to_be_bytes());
        Sums {
            hash: keccak256(preimage),
            balance,
            excess,
        }
    }

    /// The node over two.
    ///
    /// # Errors
    /// [`TreeError::Overflow`].
    pub fn node(left: &Sums, right: &Sums) -> Result<Sums, TreeError> {
        let mut preimage = [1; 129];
        for (it, words) in [left, right].iter().zip(preimage[1..].chunks_exact_mut(64)) {
            words[..32].copy_from_slice(it.hash.as_slice());
            words[32..48].copy_from_slice(&it.balance.to_be_bytes());
            words[48..].copy_from_slice(&it.excess.to_be_bytes());
        }
        let sum = |left: u128, right| left.checked_add(right).ok_or(TreeError::Overflow);
        Ok(Sums {
            hash: keccak256(preimage),
            balance: sum(left.balance, right.balance)?,
            excess: sum(left.excess, right.excess)?,
        })
    }

    /// What a batch says of a (hub, token): the leaf of the batch's own tree.
    #[must_use]
    pub fn entry(&self, hub: &Hub, token: Address) -> B256 {
        let words = (
            hub.lineage,
            hub.address,
            token,
            self.hash,
            U256::from(self.balance),
            U256::from(self.excess),
        );
        keccak256([&[0], words.abi_encode().as_slice()].concat())
    }
}

/// The sum tree of a (hub, token).
#[derive(Clone, Debug)]
pub struct SumTree {
    levels: Vec<Vec<Sums>>,
}

impl SumTree {
    /// Over leaves by channel id.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn new(leaves: Vec<(B256, Sums)>) -> Result<SumTree, TreeError> {
        let leaves = ordered(leaves)?.into_iter().map(|(_, leaf)| leaf).collect();
        let levels = levels(leaves, &Sums::default(), Sums::node)?;
        Ok(SumTree { levels })
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Sums {
        self.levels[self.levels.len() - 1][0]
    }

    /// Position of a leaf.
    #[must_use]
    pub fn position(&self, leaf: &Sums) -> Option<usize> {
        self.levels[0].iter().position(|one| one == leaf)
    }

    /// The way from the leaf at `position` to the root.
    ///
    /// # Panics
    /// There is no such leaf.
    #[must_use]
    pub fn path(&self, position: usize) -> Vec<Sums> {
        path(&self.levels, position)
    }
}

/// The root that a leaf and a path lead to; `None` for a path that no hub takes, or sums that overflow.
#[must_use]
pub fn sum_root(leaf: Sums, position: usize, path: &[Sums]) -> Option<Sums> {
    if !is_place(position, path.len()) {
        return None;
    }
    let mut at = leaf;
    for (height, beside) in path.iter().enumerate() {
        at = match (position >> height) & 1 {
            0 => Sums::node(&at, beside).ok()?,
            _ => Sums::node(beside, &at).ok()?,
        };
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u64) -> B256 {
        keccak256(number.to_le_bytes())
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        assert_eq!(Tree::new(Vec::new()).unwrap_err(), TreeError::Empty);
        let twice = vec![(key(1), key(1)), (key(2), key(2)), (key(1), key(3))];
        assert_eq!(Tree::new(twice).unwrap_err(), TreeError::Duplicate(key(1)));
        let rich = |number| (key(number), Sums::leaf(key(number), u128::MAX / 2 + 1, 0));
        let refused = SumTree::new(vec![rich(1), rich(2)]).unwrap_err();
        assert_eq!(refused, TreeError::Overflow);
        let many = (0..(1 << DEPTH_MAX) + 1)
            .map(|it| (key(it), key(it)))
            .collect();
        assert!(matches!(Tree::new(many), Err(TreeError::TooMany(_))));
        assert_eq!(root(key(1), 2, &[key(2)]), None, "outside of the tree");
        assert_eq!(root(key(1), 0, &[key(2); DEPTH_MAX + 1]), None);
    }

    proptest! {
        #[test]
        fn every_leaf_leads_to_the_root_and_no_other_place_does(
            amounts in prop::collection::vec((any::<u64>(), any::<u32>()), 1..70),
        ) {
            let leaves: Vec<(B256, Sums)> = (0..).zip(&amounts)
                .map(|(number, (balance, excess))| {
                    (key(number), Sums::leaf(key(number + 1_000), (*balance).into(), (*excess).into()))
                })
                .collect();
            let sums = SumTree::new(leaves.clone()).unwrap();
            let plain = Tree::new(leaves.iter().map(|(key, sums)| (*key, sums.hash)).collect()).unwrap();
            let total = |of: fn(&Sums) -> u128| leaves.iter().map(|(_, sums)| of(sums)).sum::<u128>();
            prop_assert_eq!(sums.root().balance, total(|it| it.balance));
            prop_assert_eq!(sums.root().excess, total(|it| it.excess));
            for (_, leaf) in &leaves {
                let at = sums.position(leaf).unwrap();
                let path = sums.path(at);
                prop_assert_eq!(sum_root(*leaf, at, &path), Some(sums.root()));
                prop_assert_eq!(root(leaf.hash, at, &plain.path(at)), Some(plain.root()));
                if !path.is_empty() {
                    prop_assert_ne!(sum_root(*leaf, at ^ 1, &path), Some(sums.root()));
                    let richer = Sums { balance: leaf.balance + 1, ..*leaf };
                    prop_assert_ne!(sum_root(richer, at, &path), Some(sums.root()));
                }
            }
            // The order in which they come does not matter.
            let mut turned = leaves;
            turned.reverse();
            prop_assert_eq!(SumTree::new(turned).unwrap().root(), sums.root());
        }
    }
}
