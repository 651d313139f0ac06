//! A settlement batch (CUSTODY 4, 8): from the states of all channels that it touches, the accounts' trees, the sum tree of each (hub, token) and what the operator signs.

use crate::B256;
use crate::evidence::{LeafProof, OperatorHalf};
use crate::heads::{Heads, HeadsProof};
use crate::key::Signature;
use crate::message::{AccountState, Batch, ChannelState, Hub, State};
use crate::parallel::each;
use crate::tree::{self, SumTree, Sums, Tree, TreeError};
use alloy_primitives::Address;
use alloy_primitives::aliases::U40;
use std::collections::BTreeMap;

/// A channel's new state and where it stands.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The channel's hub.
    pub hub: Hub,
    /// Its token.
    pub token: Address,
    /// Its trader's account.
    pub account: u64,
    /// The state.
    pub state: ChannelState,
    /// What of the balance is above the channel's own escrow.
    pub excess: u128,
}

/// A batch that was built and is not signed.
#[derive(Clone, Debug)]
pub struct Built {
    batch: Batch,
    accounts: BTreeMap<u64, Part<Tree>>,
    sums: BTreeMap<(Hub, Address), Part<SumTree>>,
    entries: Tree,
    /// In the order of their channels.
    leaves: Vec<Leaf>,
    audit: Heads,
}

/// A channel's place in its account's tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The leaf's position.
    pub position: u64,
    /// The way to the root.
    pub path: Vec<B256>,
}

/// A tree over some of the channels.
#[derive(Clone, Debug)]
struct Part<T> {
    /// Each at its position.
    channels: Vec<B256>,
    tree: T,
}

impl<T> Part<T> {
    fn position(&self, channel: B256) -> Option<usize> {
        self.channels.binary_search(&channel).ok()
    }
}

impl Built {
    /// Of an epoch, behind the batch whose root is `previous` (zero: the first), without heads of audit logs.
    ///
    /// # Errors
    /// See [`TreeError`]; a channel that comes twice is one.
    pub fn new(epoch: U40, previous: B256, leaves: Vec<Leaf>) -> Result<Built, TreeError> {
        Built::with_audit(epoch, previous, leaves, Heads::default())
    }

    /// The same with the heads of audit logs under the batch's root (CUSTODY 19).
    ///
    /// # Errors
    /// See [`TreeError`]; a channel that comes twice is one, a batch without any channel another.
    pub fn with_audit(
        epoch: U40,
        previous: B256,
        mut leaves: Vec<Leaf>,
        audit: Heads,
    ) -> Result<Built, TreeError> {
        if leaves.is_empty() {
            return Err(TreeError::Empty);
        }
        // In the order of all trees, so that a channel's position is found by its id.
        leaves.sort_unstable_by_key(|leaf| leaf.state.channel);
        let channel = |at: usize| leaves[at].state.channel;
        if let Some(at) = (1..leaves.len()).find(|at| channel(at - 1) == channel(*at)) {
            return Err(TreeError::Duplicate(channel(at)));
        }
        let hashes = each(&leaves, |leaf| {
            let hash = leaf.state.hash();
            (hash, tree::leaf(hash))
        });
        let mut of_account: BTreeMap<u64, Vec<(B256, B256)>> = BTreeMap::new();
        for (leaf, (_, end)) in leaves.iter().zip(&hashes) {
            let own = of_account.entry(leaf.account).or_default();
            own.push((leaf.state.channel, *end));
        }
        let accounts = parts(of_account, Tree::new)?;

        let whole: Vec<(&Leaf, B256)> = leaves.iter().zip(hashes.iter().map(|it| it.0)).collect();
        let ends = each(&whole, |(leaf, hash)| {
            let whole = State::hash_of(*hash, accounts[&leaf.account].tree.root());
            Sums::leaf(whole, leaf.state.balance, leaf.excess)
        });
        let mut of_token: BTreeMap<(Hub, Address), Vec<(B256, Sums)>> = BTreeMap::new();
        for (leaf, sums) in leaves.iter().zip(ends) {
            let own = of_token.entry((leaf.hub, leaf.token)).or_default();
            own.push((leaf.state.channel, sums));
        }
        let sums = parts(of_token, SumTree::new)?;

        let entry = |((hub, token), part): (&(Hub, Address), &Part<SumTree>)| {
            let entry = part.tree.root().entry(hub, *token);
            (entry, entry)
        };
        let audit_entry = audit.entry().map(|entry| (entry, entry));
        let entries = Tree::new(sums.iter().map(entry).chain(audit_entry).collect())?;
        Ok(Built {
            batch: Batch {
                epoch,
                previous,
                entries: entries.root(),
            },
            accounts,
            sums,
            entries,
            leaves,
            audit,
        })
    }

    fn leaf(&self, channel: B256) -> Option<&Leaf> {
        let of = |leaf: &Leaf| leaf.state.channel;
        let at = self.leaves.binary_search_by_key(&channel, of).ok()?;
        Some(&self.leaves[at])
    }

    /// What the operator signs, once an epoch.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Accounts that have a channel in it.
    pub fn accounts(&self) -> impl Iterator<Item = u64> {
        self.accounts.keys().copied()
    }

    /// What an account's trader signs.
    #[must_use]
    pub fn account(&self, account: u64) -> Option<AccountState> {
        Some(AccountState {
            account,
            epoch: self.batch.epoch,
            accountRoot: self.accounts.get(&account)?.tree.root(),
        })
    }

    /// All states of an account, by channel.
    pub fn states(&self, account: u64) -> impl Iterator<Item = &Leaf> {
        let part = self.accounts.get(&account);
        let channels = part.map_or(&[][..], |part| &part.channels);
        channels.iter().filter_map(|channel| self.leaf(*channel))
    }

    /// A channel's whole state: what the operator signs in the compact form.
    #[must_use]
    pub fn state(&self, channel: B256) -> Option<State> {
        let leaf = self.leaf(channel)?;
        Some(State {
            state: leaf.state.clone(),
            accountRoot: self.accounts[&leaf.account].tree.root(),
        })
    }

    /// The batch that made a channel's state: this one, or an earlier one since which nothing has changed.
    #[must_use]
    pub fn made_in(&self, channel: B256) -> Option<U40> {
        Some(self.leaf(channel)?.state.epoch)
    }

    /// A channel's place in its account's tree.
    #[must_use]
    pub fn place(&self, channel: B256) -> Option<Place> {
        let part = &self.accounts[&self.leaf(channel)?.account];
        let position = part.position(channel)?;
        Some(Place {
            position: position as u64,
            path: part.tree.path(position),
        })
    }

    /// Sums over all channels of a (hub, token): what has to be covered, and the root to post.
    #[must_use]
    pub fn sums(&self, hub: &Hub, token: Address) -> Option<Sums> {
        Some(self.sums.get(&(*hub, token))?.tree.root())
    }

    /// Heads of audit logs that it has.
    #[must_use]
    pub fn audit(&self) -> &Heads {
        &self.audit
    }

    /// The heads' way into the batch, with the operator's signature of it; `None`: it has none.
    #[must_use]
    pub fn audit_proof(&self, signature: Signature) -> Option<HeadsProof> {
        let position = self.entries.position(self.audit.entry()?)?;
        Some(HeadsProof {
            heads: self.audit.clone(),
            position: position as u64,
            path: self.entries.path(position),
            epoch: self.batch.epoch.to(),
            previous: self.batch.previous,
            signature,
        })
    }

    /// A channel's way into the batch, with the operator's signature of it.
    #[must_use]
    pub fn proof(&self, channel: B256, signature: Signature) -> Option<OperatorHalf> {
        let leaf = self.leaf(channel)?;
        let sums = &self.sums[&(leaf.hub, leaf.token)];
        let position = sums.position(channel)?;
        let entry = sums.tree.root().entry(&leaf.hub, leaf.token);
        let entry_position = self.entries.position(entry)?;
        Some(OperatorHalf::Leaf(LeafProof {
            excess: leaf.excess,
            position: position as u64,
            path: sums.tree.path(position),
            entry_position: entry_position as u64,
            entry_path: self.entries.path(entry_position),
            epoch: self.batch.epoch.to(),
            previous: self.batch.previous,
            signature,
        }))
    }
}

/// Trees over leaves that stand in the order of their channels.
fn parts<K: Ord + Copy + Send + Sync, V: Copy + Send + Sync, T: Send>(
    leaves: BTreeMap<K, Vec<(B256, V)>>,
    tree: impl Fn(Vec<(B256, V)>) -> Result<T, TreeError> + Sync,
) -> Result<BTreeMap<K, Part<T>>, TreeError> {
    let all: Vec<(K, Vec<(B256, V)>)> = leaves.into_iter().collect();
    let part = |(of, leaves): &(K, Vec<(B256, V)>)| {
        let channels = leaves.iter().map(|(channel, _)| *channel).collect();
        let tree = tree(leaves.clone())?;
        Ok((*of, Part { channels, tree }))
    };
    each(&all, part).into_iter().collect()
}
