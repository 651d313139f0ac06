//! A hub on a real node through the adapter: what happens is followed, forks are taken back, transactions are mined, outbid and refused with the hub's reason.

mod node;

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, U256, keccak256};
use node::{Node, hub};
use ring0_channels::chain::{Chain, ChainError, Progress};
use ring0_channels::channels::Channels;
use ring0_channels::evidence::Holding;
use ring0_channels::key::Signer;
use ring0_channels::life::{Phase, Rules};
use ring0_channels::message::{Hub, Terms};
use ring0_channels::store::Store;
use ring0_channels_evm::Evm;
use serde_json::json;
use std::time::Duration;

const ETHER: u128 = 1_000_000_000_000_000_000;
const WINDOW: u64 = 24 * 3600;
const RULES: Rules = Rules {
    confirmations: 3,
    pin_every: 10,
};

struct Stage {
    node: Node,
    hub: Hub,
    operator: Address,
}

fn stage() -> Stage {
    let node = Node::start(1, None, None);
    node.mine(3, 12);
    let operator = Signer::new(keccak256("operator").0).unwrap().address();
    let lineage = U256::from(1);
    let settings = hub::Settings {
        lineage,
        venue: keccak256("the venue"),
        operator,
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
    Stage {
        hub: Hub { lineage, address },
        node,
        operator,
    }
}

impl Stage {
    /// A trader whose key pays for its transactions, with ten ether.
    fn trader(&self) -> (Signer, Evm, Holding) {
        let key = keccak256("trader").0;
        let signer = Signer::new(key).unwrap();
        let rich = json!([signer.address(), format!("{:#x}", 10 * ETHER)]);
        self.node.call("anvil_setBalance", rich).unwrap();
        let evm = Evm::connect(&self.node.url(), self.hub, Some(signer.clone())).unwrap();
        let holding = Holding {
            hub: self.hub,
            venue: keccak256("the venue"),
            operator: self.operator,
            terms: Terms {
                owner: signer.address(),
                cosigner: signer.address(),
                token: Address::ZERO,
                nonce: 1,
            },
            newest: None,
        };
        (signer, evm, holding)
    }
}

fn open(holding: &Holding, amount: u128) -> hub::openCall {
    hub::openCall {
        cosigner: holding.terms.cosigner,
        token: holding.terms.token,
        nonce: holding.terms.nonce,
        amount,
    }
}

#[test]
fn a_channel_is_followed_and_left_with_what_was_paid_in() {
    let stage = stage();
    let (_, mut evm, holding) = stage.trader();
    let channel = holding.channel();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("channels")).unwrap();
    let mut channels = Channels::open(store, RULES, 0).unwrap();

    let sent = evm
        .send("opening", &open(&holding, 4 * ETHER), 4 * ETHER)
        .unwrap();
    evm.confirm(sent, Duration::from_secs(30), Duration::from_secs(60))
        .unwrap();
    let height = evm.tip().unwrap().height;
    channels.follow(&mut evm, 0).unwrap();
    assert_eq!(channels.life(channel).unwrap().phase(), Phase::Opening);
    stage.node.mine(3, 12);
    channels.follow(&mut evm, 0).unwrap();
    let life = channels.life(channel).unwrap();
    assert_eq!((life.phase(), life.entitlement()), (Phase::Open, 4 * ETHER));

    // A deposit, and the fork that takes it back before it counts.
    let before = stage.node.call("evm_snapshot", json!([])).unwrap();
    let deposit = hub::depositCall {
        c: (&holding.terms).into(),
        amount: ETHER,
    };
    let sent = evm.send("deposit", &deposit, ETHER).unwrap();
    evm.confirm(sent, Duration::from_secs(30), Duration::from_secs(60))
        .unwrap();
    channels.follow(&mut evm, 0).unwrap();
    stage.node.call("evm_revert", json!([before])).unwrap();
    stage.node.mine(5, 13);
    let followed = channels.follow(&mut evm, 0).unwrap();
    assert_eq!(followed.reorganised, Some(height + 3));
    assert_eq!(channels.life(channel).unwrap().deposited(), 4 * ETHER);

    // The hub's own reasons come through, with their values.
    let again = evm.send("opening", &open(&holding, 1), 1).unwrap_err();
    assert!(again.to_string().contains("ChannelUsed"), "{again}");
    let early = evm.settle(&holding).unwrap_err();
    assert!(early.to_string().contains("ChannelNotInDispute"), "{early}");

    // A new process: the wallet's numbers are the chain's.
    let mut evm = stage.reconnect();
    let sent = evm.dispute(&holding).unwrap();
    evm.confirm(sent, Duration::from_secs(30), Duration::from_secs(60))
        .unwrap();
    channels.follow(&mut evm, 0).unwrap();
    assert_eq!(channels.life(channel).unwrap().phase(), Phase::Disputed);
    let early = evm.settle(&holding).unwrap_err();
    assert!(early.to_string().contains("WindowOpen"), "{early}");
    let tip = evm.tip().unwrap();
    assert_eq!(evm.deadline(channel).unwrap(), Some(tip.time + WINDOW));
    stage.node.mine(1, WINDOW + 1);
    let sent = evm.settle(&holding).unwrap();
    evm.confirm(sent, Duration::from_secs(30), Duration::from_secs(60))
        .unwrap();
    stage.node.mine(3, 12);
    channels.follow(&mut evm, 0).unwrap();
    assert_eq!(channels.life(channel).unwrap().phase(), Phase::Settled);
    assert_eq!(stage.node.balance(stage.hub.address), U256::ZERO);
}

#[test]
fn a_transaction_that_stands_still_is_outbid_also_by_the_next_process() {
    let stage = stage();
    let (_, mut evm, holding) = stage.trader();
    stage.node.call("evm_setAutomine", json!([false])).unwrap();
    let first = evm.send("opening", &open(&holding, ETHER), ETHER).unwrap();
    assert_eq!(evm.progress(&first).unwrap(), Progress::Waiting);
    let second = evm.bump(&first).unwrap();
    assert_ne!(first.id, second.id);
    // Another process of the same key knows of none of them and outbids both.
    let mut later = stage.reconnect();
    let third = later
        .send("opening", &open(&holding, 2 * ETHER), 2 * ETHER)
        .unwrap();
    stage.node.mine(1, 12);
    assert!(matches!(
        later.progress(&third).unwrap(),
        Progress::Mined { .. }
    ));
    assert_eq!(evm.progress(&second).unwrap(), Progress::Gone);
    assert_eq!(
        evm.status(holding.channel()).unwrap().deposited,
        U256::from(2 * ETHER)
    );
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let stage = stage();
    let (signer, mut evm, holding) = stage.trader();
    let lone = Evm::connect("http://127.0.0.1:9", stage.hub, None).unwrap_err();
    assert!(
        lone.to_string().contains("check that the node runs"),
        "{lone}"
    );
    let none = Evm::connect("not a url", stage.hub, None).unwrap_err();
    assert!(none.to_string().contains("no URL"), "{none}");
    let elsewhere = Hub {
        address: Address::repeat_byte(3),
        ..stage.hub
    };
    let wrong = Evm::connect(&stage.node.url(), elsewhere, None).unwrap();
    assert!(!wrong.is_deployed().unwrap());
    let wrong = wrong.status(holding.channel()).unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("is not the contract that was meant"),
        "{wrong}"
    );
    let poor = json!([signer.address(), "0x1"]);
    stage.node.call("anvil_setBalance", poor).unwrap();
    let fund = hub::fundVaultCall {
        token: Address::ZERO,
        amount: 1,
    };
    let refused = evm.send("funding", &fund, 1).unwrap_err();
    assert!(
        matches!(&refused, ChainError::Fees { has: 1, .. }),
        "{refused}"
    );
    let mut watcher = Evm::connect(&stage.node.url(), stage.hub, None).unwrap();
    assert!(matches!(
        watcher.settle(&holding),
        Err(ChainError::Unsupported(_))
    ));
}

impl Stage {
    /// The trader's next process.
    fn reconnect(&self) -> Evm {
        let signer = Signer::new(keccak256("trader").0).unwrap();
        Evm::connect(&self.node.url(), self.hub, Some(signer)).unwrap()
    }
}
