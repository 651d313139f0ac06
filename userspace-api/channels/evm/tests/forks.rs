//! A chain splits, on real nodes (CUSTODY 9): from one dump go on the chain itself, a side with the same chain id and a side with another. What was signed before the split
//! can be taken home on all of them, with the same balance; what was signed under a later block, on one alone. The blocks in which a signature is exposed are counted.

mod node;

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolError;
use node::{Node, hub};
use ring0_channels::key::Signer;
use ring0_channels::message::{
    AccountState, ChannelState, Hub, KIND_TRADING, State, Terms, venue_domain,
};
use ring0_channels::tree;

const ETHER: u128 = 1_000_000_000_000_000_000;
const PIN_EVERY: u32 = 10;
const CONFIRMATIONS: u32 = 5;
const WINDOW: u64 = 24 * 3600;

/// A venue's keys and one trader's channel, the same on every side.
struct Exchange {
    hub: Hub,
    venue: B256,
    operator: Signer,
    cosigner: Signer,
    owner: Address,
    terms: Terms,
}

impl Exchange {
    fn channel(&self) -> hub::Channel {
        hub::Channel {
            owner: self.terms.owner,
            cosigner: self.terms.cosigner,
            token: self.terms.token,
            nonce: self.terms.nonce,
        }
    }

    /// A state that both sign, as a call that puts it on a chain.
    fn dispute(&self, version: u64, balance: u128, branch: B256) -> hub::disputeCall {
        let state = ChannelState {
            channel: self.hub.channel(&self.terms),
            version: U40::from(version),
            balance,
            depositedSeen: 4 * ETHER,
            withdrawnSeen: 0,
            epoch: U40::from(version),
            kind: KIND_TRADING,
            branch,
        };
        // The account has this one channel: its leaf is the root.
        let root = tree::leaf(state.hash());
        let account = AccountState {
            account: 7,
            epoch: state.epoch,
            accountRoot: root,
        };
        let whole = State {
            state: state.clone(),
            accountRoot: root,
        };
        hub::disputeCall {
            c: self.channel(),
            s: hub::State {
                version: state.version,
                balance,
                depositedSeen: state.depositedSeen,
                withdrawnSeen: 0,
                epoch: state.epoch,
                kind: KIND_TRADING,
                accountRoot: root,
                branch,
            },
            trader: hub::CoSignature {
                account: 7,
                position: U256::ZERO,
                path: Vec::new(),
                signature: self
                    .cosigner
                    .sign(&account, &venue_domain(self.venue))
                    .into(),
                grant: Vec::new().into(),
            },
            operator: self.operator.sign(&whole, &self.hub.domain()).into(),
        }
    }

    /// Takes the channel home by a state and gives what the owner got.
    fn exit(&self, node: &Node, dispute: &hub::disputeCall) -> U256 {
        let from = node.account(5);
        let hub = self.hub.address;
        node.send(self.owner, hub, 0, dispute).unwrap();
        node.mine(2, WINDOW);
        let before = node.balance(self.owner);
        let settle = hub::settleCall { c: self.channel() };
        node.send(from, hub, 0, &settle).unwrap();
        node.balance(self.owner) - before
    }
}

#[test]
fn a_chain_splits_and_each_state_is_taken_home_where_it_belongs() {
    let code = node::hub_code();
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("before.json");

    // One chain: a hub, a channel, a pin, and a state that both sign under it.
    let chain = Node::start(1, None, Some(&dump));
    chain.mine(3, 12);
    let signer = |name: &str| Signer::new(keccak256(name).0).unwrap();
    let (operator, cosigner) = (signer("operator"), signer("co-signer"));
    let venue = keccak256("the venue");
    let lineage = U256::from(1);
    let settings = hub::Settings {
        lineage,
        venue,
        operator: operator.address(),
        treasury: chain.account(9),
        anchor: U40::from(3600),
        window: U40::from(WINDOW),
        grace: U40::from(7 * 24 * 3600),
        vaultDelay: U40::from(WINDOW + 3600),
        pinEvery: PIN_EVERY,
        confirmations: CONFIRMATIONS,
        firstEpoch: U40::ZERO,
    };
    let address = chain.deploy(chain.account(0), &code, settings);
    let owner = chain.account(1);
    let terms = Terms {
        owner,
        cosigner: cosigner.address(),
        token: Address::ZERO,
        nonce: 1,
    };
    let exchange = Exchange {
        hub: Hub { lineage, address },
        venue,
        operator,
        cosigner,
        owner,
        terms,
    };
    let open = hub::openCall {
        cosigner: terms.cosigner,
        token: Address::ZERO,
        nonce: 1,
        amount: 4 * ETHER,
    };
    chain.send(owner, address, 4 * ETHER, &open).unwrap();
    let fund = hub::fundVaultCall {
        token: Address::ZERO,
        amount: 10 * ETHER,
    };
    chain
        .send(chain.account(2), address, 10 * ETHER, &fund)
        .unwrap();
    chain.mine(20, 12);
    let pin = |node: &Node, number: u64| {
        let call = hub::pinCall {
            number: U256::from(number),
        };
        node.send(node.account(3), address, 0, &call)
            .map(|_| node.block_hash(number))
    };
    // A call is carried out in a block of its own, which does not lie on any.
    let pinned_at = chain.height() - u64::from(CONFIRMATIONS) - 1;
    let before_the_split = pin(&chain, pinned_at).unwrap();
    let early = pin(&chain, chain.height() - 1).unwrap_err();
    assert!(
        early.data().starts_with(&hub::BlockNotConfirmed::SELECTOR),
        "{early:?}"
    );
    let split = chain.height();
    let last = chain.block_hash(split);
    chain.interrupt();

    // Three sides of one history: two that go by the same chain id, and one that does not.
    let [a, b, c] = [1, 1, 61].map(|id| Node::start(id, Some(&dump), None));
    for side in [&a, &b, &c] {
        assert_eq!(
            (side.height(), side.block_hash(split)),
            (split, last),
            "one history"
        );
    }
    assert_eq!([a.chain_id(), b.chain_id(), c.chain_id()], [1, 1, 61]);
    for (side, seconds) in [(&a, 12), (&b, 13), (&c, 14)] {
        side.mine(1, 1);
        side.mine(2, seconds);
    }
    let first = split + 2;
    assert_ne!(a.block_hash(first), b.block_hash(first), "they have parted");

    // The signer follows A and has noticed nothing. Until a block behind the split is confirmed and pinned, what it signs is of all sides.
    let mut exposed = 0;
    let after_the_split = loop {
        match pin(&a, first) {
            Ok(branch) => break branch,
            Err(refused) => assert!(
                refused
                    .data()
                    .starts_with(&hub::BlockNotConfirmed::SELECTOR)
            ),
        }
        exposed = a.height() - split;
        assert!(
            exposed <= u64::from(PIN_EVERY + CONFIRMATIONS),
            "exposed for {exposed} blocks"
        );
        a.mine(1, 12);
    };
    println!(
        "exposed for {exposed} blocks behind the split, allowed {}",
        PIN_EVERY + CONFIRMATIONS
    );

    let old = exchange.dispute(1, 5 * ETHER, before_the_split);
    let new = exchange.dispute(2, 6 * ETHER, after_the_split);
    // R2: under a block of A, on A alone, also where the other side goes by the same chain id.
    for side in [&b, &c] {
        let refused = side.send(owner, address, 0, &new).unwrap_err();
        let expected = hub::BranchUnknown {
            branch: after_the_split,
        };
        assert_eq!(
            refused.data(),
            expected.abi_encode(),
            "chain id {}",
            side.chain_id()
        );
    }
    assert_eq!(exchange.exit(&a, &new), U256::from(6 * ETHER));
    // R1: under a block before the split, on every other side, with the same balance.
    for side in [&b, &c] {
        let got = exchange.exit(side, &old);
        assert_eq!(got, U256::from(5 * ETHER), "chain id {}", side.chain_id());
    }
    // A block of B can be pinned on B: what is signed for it from now on is not of A.
    b.mine(u64::from(CONFIRMATIONS) + 1, 12);
    let of_b = pin(&b, first).unwrap();
    assert_ne!(of_b, after_the_split);
}
