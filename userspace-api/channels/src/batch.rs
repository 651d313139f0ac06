//! A settlement batch (CUSTODY 4, 8): from the states of all channels that it touches, the accounts' trees, the sum tree of each (hub, token) and what the operator signs.

use crate::B256;
use crate::evidence::{LeafProof, OperatorHalf};
use crate::key::Signature;
use crate::message::{AccountState, Batch, ChannelState, Hub, State};
use crate::tree::{self, SumTree, Sums, Tree, TreeError};
use alloy_primitives::Address;
use alloy_primitives::aliases::U40;
use alloy_sol_types::SolStruct;
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
    accounts: BTreeMap<u64, Tree>,
    sums: BTreeMap<(Hub, Address), SumTree>,
    entries: Tree,
    leaves: BTreeMap<B256, Leaf>,
}

/// A channel's place in its account's tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The leaf's position.
    pub position: u64,
    /// The way to the root.
    pub path: Vec<B256>,
}

impl Built {
    /// Of an epoch, behind the batch whose root is `previous` (zero: the first).
    ///
    /// # Errors
    /// See [`TreeError`]; a channel that comes twice is one.
    pub fn new(epoch: U40, previous: B256, leaves: Vec<Leaf>) -> Result<Built, TreeError> {
        let mut of_account: BTreeMap<u64, Vec<(B256, B256)>> = BTreeMap::new();
        for leaf in &leaves {
            let own = of_account.entry(leaf.account).or_default();
            own.push((leaf.state.channel, tree::leaf(leaf.state.hash())));
        }
        let tree = |(account, leaves)| Ok((account, Tree::new(leaves)?));
        let accounts = of_account
            .into_iter()
            .map(tree)
            .collect::<Result<BTreeMap<_, _>, TreeError>>()?;

        let mut of_token: BTreeMap<(Hub, Address), Vec<(B256, Sums)>> = BTreeMap::new();
        for leaf in &leaves {
            let root = accounts[&leaf.account].root();
            let own = of_token.entry((leaf.hub, leaf.token)).or_default();
            own.push((leaf.state.channel, leaf.sums(root)));
        }
        let tree = |(of, leaves)| Ok((of, SumTree::new(leaves)?));
        let sums = of_token
            .into_iter()
            .map(tree)
            .collect::<Result<BTreeMap<_, _>, TreeError>>()?;

        let entry = |((hub, token), sums): (&(Hub, Address), &SumTree)| {
            let entry = sums.root().entry(hub, *token);
            (entry, entry)
        };
        let entries = Tree::new(sums.iter().map(entry).collect())?;
        Ok(Built {
            batch: Batch {
                epoch,
                previous,
                entries: entries.root(),
            },
            accounts,
            sums,
            entries,
            leaves: leaves
                .into_iter()
                .map(|leaf| (leaf.state.channel, leaf))
                .collect(),
        })
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
            accountRoot: self.accounts.get(&account)?.root(),
        })
    }

    /// All states of an account, by channel.
    pub fn states(&self, account: u64) -> impl Iterator<Item = &Leaf> {
        self.leaves
            .values()
            .filter(move |leaf| leaf.account == account)
    }

    /// A channel's whole state: what the operator signs in the compact form.
    #[must_use]
    pub fn state(&self, channel: B256) -> Option<State> {
        let leaf = self.leaves.get(&channel)?;
        Some(State {
            state: leaf.state.clone(),
            accountRoot: self.accounts[&leaf.account].root(),
        })
    }

    /// A channel's place in its account's tree.
    #[must_use]
    pub fn place(&self, channel: B256) -> Option<Place> {
        let leaf = self.leaves.get(&channel)?;
        let tree = &self.accounts[&leaf.account];
        let position = tree.position(tree::leaf(leaf.state.hash()))?;
        Some(Place {
            position: position as u64,
            path: tree.path(position),
        })
    }

    /// Sums over all channels of a (hub, token): what has to be covered, and the root to post.
    #[must_use]
    pub fn sums(&self, hub: &Hub, token: Address) -> Option<Sums> {
        Some(self.sums.get(&(*hub, token))?.root())
    }

    /// A channel's way into the batch, with the operator's signature of it.
    #[must_use]
    pub fn proof(&self, channel: B256, signature: Signature) -> Option<OperatorHalf> {
        let leaf = self.leaves.get(&channel)?;
        let sums = &self.sums[&(leaf.hub, leaf.token)];
        let own = leaf.sums(self.accounts[&leaf.account].root());
        let position = sums.position(&own)?;
        let entry = sums.root().entry(&leaf.hub, leaf.token);
        let entry_position = self.entries.position(entry)?;
        Some(OperatorHalf::Leaf(LeafProof {
            excess: leaf.excess,
            position: position as u64,
            path: sums.path(position),
            entry_position: entry_position as u64,
            entry_path: self.entries.path(entry_position),
            epoch: self.batch.epoch.to(),
            previous: self.batch.previous,
            signature,
        }))
    }
}

impl Leaf {
    /// Its leaf in the sum tree.
    fn sums(&self, account_root: B256) -> Sums {
        let state = State {
            state: self.state.clone(),
            accountRoot: account_root,
        };
        Sums::leaf(state.eip712_hash_struct(), self.state.balance, self.excess)
    }
}
