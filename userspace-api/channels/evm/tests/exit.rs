//! Traders go home alone, on a real node, with what the exchange's crate has built: two of a batch under a posted root, one by an old state that is refuted, one that
//! never signed anything. The operator does nothing after the batch.

mod node;

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolError, SolStruct, SolValue};
use node::{Node, hub};
use ring0_channels::heads::{Heads, LogHead};
use ring0_channels::key::Signer;
use ring0_channels::message::{
    AccountState, Batch, ChannelState, Hub, KIND_TRADING, State, Terms, venue_domain,
};
use ring0_channels::tree::{self, SumTree, Sums, Tree};

const ETHER: u128 = 1_000_000_000_000_000_000;
const WINDOW: u64 = 24 * 3600;
const EPOCH: u64 = 3;

/// A trader of the batch: its account has this channel and one on another chain.
struct Trader {
    owner: Address,
    cosigner: Signer,
    terms: Terms,
    account: u64,
    state: ChannelState,
    tree: Tree,
    excess: u128,
}

struct Venue {
    node: Node,
    hub: Hub,
    id: B256,
    operator: Signer,
    branch: B256,
}

impl Venue {
    fn up() -> Venue {
        let node = Node::start(1, None, None);
        node.mine(3, 12);
        let operator = Signer::new(keccak256("operator").0).unwrap();
        let (id, lineage) = (keccak256("the venue"), U256::from(1));
        let settings = hub::Settings {
            lineage,
            venue: id,
            operator: operator.address(),
            treasury: node.account(9),
            anchor: U40::from(3600),
            window: U40::from(WINDOW),
            grace: U40::from(7 * 24 * 3600),
            vaultDelay: U40::from(WINDOW + 3600),
            pinEvery: 10,
            confirmations: 5,
            firstEpoch: U40::ZERO,
        };
        let address = node.deploy(node.account(0), &node::hub_code(), settings);
        // The block before deployment is pinned from the start.
        let branch = node.block_hash(node.height() - 1);
        Venue {
            hub: Hub { lineage, address },
            node,
            id,
            operator,
            branch,
        }
    }

    fn open(&self, number: usize, deposit: u128) -> Trader {
        let owner = self.node.account(number);
        let cosigner = Signer::new(keccak256(number.to_be_bytes()).0).unwrap();
        let terms = Terms {
            owner,
            cosigner: cosigner.address(),
            token: Address::ZERO,
            nonce: 1,
        };
        let open = hub::openCall {
            cosigner: terms.cosigner,
            token: terms.token,
            nonce: terms.nonce,
            amount: deposit,
        };
        self.node
            .send(owner, self.hub.address, deposit, &open)
            .unwrap();
        let mut trader = Trader {
            owner,
            cosigner,
            terms,
            account: number as u64,
            state: ChannelState {
                channel: self.hub.channel(&terms),
                version: U40::ZERO,
                balance: deposit,
                depositedSeen: deposit,
                withdrawnSeen: 0,
                epoch: U40::ZERO,
                kind: KIND_TRADING,
                branch: self.branch,
            },
            tree: Tree::new(vec![(B256::ZERO, B256::ZERO)]).unwrap(),
            excess: 0,
        };
        trader.set(0, deposit, deposit);
        trader
    }

    /// The trader's half: its signature over the account's root, and the way there.
    fn cosigned(&self, trader: &Trader) -> hub::CoSignature {
        let whole = AccountState {
            account: trader.account,
            epoch: trader.state.epoch,
            accountRoot: trader.tree.root(),
        };
        let leaf = tree::leaf(trader.state.hash());
        let position = trader.tree.position(leaf).unwrap();
        hub::CoSignature {
            account: trader.account,
            position: U256::from(position),
            path: trader.tree.path(position),
            signature: trader.cosigner.sign(&whole, &venue_domain(self.id)).into(),
            grant: Vec::new().into(),
        }
    }

    /// What the operator signs in the compact form.
    fn signed(&self, trader: &Trader) -> hub::Signature {
        self.operator
            .sign(&trader.whole(), &self.hub.domain())
            .into()
    }

    fn settle(&self, trader: &Trader) -> U256 {
        let before = self.node.balance(trader.owner);
        let settle = hub::settleCall {
            c: trader.channel(),
        };
        self.node
            .send(self.node.account(8), self.hub.address, 0, &settle)
            .unwrap();
        self.node.balance(trader.owner) - before
    }
}

impl Trader {
    fn set(&mut self, version: u64, balance: u128, deposit: u128) {
        self.state.version = U40::from(version);
        self.state.epoch = U40::from(version);
        self.state.balance = balance;
        self.excess = balance.saturating_sub(deposit);
        let elsewhere = keccak256([self.account as u8, 99]);
        let mine = (self.state.channel, tree::leaf(self.state.hash()));
        self.tree = Tree::new(vec![mine, (elsewhere, tree::leaf(elsewhere))]).unwrap();
    }

    fn channel(&self) -> hub::Channel {
        hub::Channel {
            owner: self.terms.owner,
            cosigner: self.terms.cosigner,
            token: self.terms.token,
            nonce: self.terms.nonce,
        }
    }

    fn whole(&self) -> State {
        State {
            state: self.state.clone(),
            accountRoot: self.tree.root(),
        }
    }

    fn shown(&self) -> hub::State {
        hub::State {
            version: self.state.version,
            balance: self.state.balance,
            depositedSeen: self.state.depositedSeen,
            withdrawnSeen: self.state.withdrawnSeen,
            epoch: self.state.epoch,
            kind: self.state.kind,
            accountRoot: self.tree.root(),
            branch: self.state.branch,
        }
    }

    fn leaf(&self) -> Sums {
        Sums::leaf(
            self.whole().eip712_hash_struct(),
            self.state.balance,
            self.excess,
        )
    }
}

#[test]
fn traders_take_home_what_the_batch_says_when_the_operator_is_gone() {
    let venue = Venue::up();
    let (node, address) = (&venue.node, venue.hub.address);
    let fund = hub::fundVaultCall {
        token: Address::ZERO,
        amount: 5 * ETHER,
    };
    node.send(node.account(7), address, 5 * ETHER, &fund)
        .unwrap();
    let deposits = [4, 4, 2, 1].map(|it| it * ETHER);
    let mut traders: Vec<Trader> = (1..)
        .zip(deposits)
        .map(|(number, deposit)| venue.open(number, deposit))
        .collect();

    // An earlier state of the third, then the batch: the first has won three, the second lost two, the third lost one. The fourth never signed.
    traders[2].set(1, 4 * ETHER, deposits[2]);
    let old = (
        traders[2].shown(),
        venue.cosigned(&traders[2]),
        venue.signed(&traders[2]),
    );
    for (trader, (balance, deposit)) in traders.iter_mut().zip([(7, 4), (2, 4), (1, 2)]) {
        trader.set(EPOCH, balance * ETHER, deposit * ETHER);
    }
    let leaves: Vec<_> = traders[..3]
        .iter()
        .map(|it| (it.state.channel, it.leaf()))
        .collect();
    let sums = SumTree::new(leaves).unwrap();
    assert_eq!(
        (sums.root().balance, sums.root().excess),
        (10 * ETHER, 3 * ETHER)
    );
    let entry = sums.root().entry(&venue.hub, Address::ZERO);
    // Beside it the heads of audit logs: the hub proves its own entry as before.
    let log = LogHead {
        name: "settled".to_owned(),
        entries: 7,
        head: keccak256("a log"),
    };
    let heads = Heads::try_from(vec![log]).unwrap().entry().unwrap();
    let entries = Tree::new(vec![(entry, entry), (heads, heads)]).unwrap();
    let previous = keccak256("the batch before");
    let batch = Batch {
        epoch: U40::from(EPOCH),
        previous,
        entries: entries.root(),
    };
    let place = entries.position(entry).unwrap();
    let proof = hub::EntryProof {
        position: U256::from(place),
        path: entries.path(place),
        epoch: U40::from(EPOCH),
        previous,
        signature: venue.operator.sign(&batch, &venue_domain(venue.id)).into(),
    };
    let post = hub::postCall {
        token: Address::ZERO,
        root: hub::SumNode {
            hash: sums.root().hash,
            balance: sums.root().balance,
            excess: sums.root().excess,
        },
        entryProof: proof.abi_encode().into(),
    };
    node.send(node.account(8), address, 0, &post).unwrap();

    // By leaf: the operator never signed these states one by one.
    let by_leaf = |trader: &Trader| {
        let position = sums.position(&trader.leaf()).unwrap();
        let packed = |it: &Sums| hub::Sibling {
            hash: it.hash,
            sums: U256::from(it.balance) << 128 | U256::from(it.excess),
        };
        let leaf = hub::LeafProof {
            excess: trader.excess,
            position: U256::from(position),
            path: sums.path(position).iter().map(packed).collect(),
            entry: proof.clone(),
        };
        hub::disputeByLeafCall {
            c: trader.channel(),
            s: trader.shown(),
            trader: venue.cosigned(trader),
            leafProof: leaf.abi_encode().into(),
        }
    };
    // A balance that is one unit more is under no root.
    let mut greedy = by_leaf(&traders[0]);
    greedy.s.balance += 1;
    let refused = node
        .send(traders[0].owner, address, 0, &greedy)
        .unwrap_err();
    assert!(
        refused
            .data()
            .starts_with(&hub::AccountRootMismatch::SELECTOR),
        "{refused:?}"
    );
    for trader in &traders[..2] {
        node.send(trader.owner, address, 0, &by_leaf(trader))
            .unwrap();
    }
    // The third tries the old state, in which it had more; anybody shows the newer one.
    let (s, trader, operator) = old;
    let dispute = hub::disputeCall {
        c: traders[2].channel(),
        s,
        trader,
        operator,
    };
    node.send(traders[2].owner, address, 0, &dispute).unwrap();
    let refute = hub::refuteCall {
        c: traders[2].channel(),
        s: traders[2].shown(),
        trader: venue.cosigned(&traders[2]),
        operator: venue.signed(&traders[2]),
    };
    node.send(node.account(8), address, 0, &refute).unwrap();
    let again = node.send(node.account(8), address, 0, &refute).unwrap_err();
    assert!(
        again.data().starts_with(&hub::VersionNotNewer::SELECTOR),
        "{again:?}"
    );
    let recorded = hub::disputeRecordedCall {
        c: traders[3].channel(),
    };
    node.send(traders[3].owner, address, 0, &recorded).unwrap();
    let early = hub::settleCall {
        c: traders[3].channel(),
    };
    let early = node.send(node.account(8), address, 0, &early).unwrap_err();
    assert!(
        early.data().starts_with(&hub::WindowOpen::SELECTOR),
        "{early:?}"
    );

    node.mine(2, WINDOW);
    let paid: Vec<U256> = traders.iter().map(|trader| venue.settle(trader)).collect();
    let expected = [7, 2, 1, 1].map(|it| U256::from(it * ETHER));
    assert_eq!(paid, expected);
    // What is left is the vault's: five, less what was won, and what was lost.
    assert_eq!(node.balance(address), U256::from((5 - 3 + 2 + 1) * ETHER));
}
