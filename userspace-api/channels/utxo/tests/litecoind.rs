//! Channels asked for as the exchange asks for them, on a real node: what is told of them, also while the chain is reorganised,
//! and the three steps of an exit, with every balance to the satoshi.

#[path = "../../../../contracts/bitcoin/tests/node/mod.rs"]
mod node;
#[path = "../../../../contracts/bitcoin/tests/pair/mod.rs"]
mod pair;

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, absolute::LockTime, transaction::Version,
};
use node::{CHAIN, Litecoind};
use pair::{Memory, OPERATOR_DELAY, Pair, TRADER_DELAY, secrets, sign_together, state, terms};
use ring0_bitcoin::{
    channel::Channel, cooperative::Cooperative, keys::Party, rpc::RpcError, terms::Funding,
};
use ring0_channels::{
    B256,
    chain::{Chain as _, ChainError, Progress, Seen, Sent},
    channels::Channels,
    life::{Fact, Life, Phase, Rules, Signed},
    store::Store,
};
use ring0_channels_utxo::{Exit, Utxo, watch::name};
use serde_json::json;

const FUNDING: Amount = Amount::from_sat(10_000_000);
/// The adapter's lowest fee rate, satoshi per 1,000 vbytes.
const RATE: u64 = 10_000;
const RULES: Rules = Rules {
    confirmations: 3,
    pin_every: 100,
};

/// A channel, agreed on and not funded yet, with its signed funding transaction.
fn agreed(node: &Litecoind, channel: u32, trader_sat: u64) -> (Pair, Transaction) {
    let coin = node.coin();
    let output = |value, script_pubkey| TxOut {
        value,
        script_pubkey,
    };
    let tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: coin.outpoint,
            ..TxIn::default()
        }],
        output: vec![
            output(FUNDING, terms(CHAIN, channel).funding().output()),
            output(
                coin.output.value - FUNDING - Amount::from_sat(10_000),
                node.script(),
            ),
        ],
    };
    let funding = Funding {
        outpoint: OutPoint {
            txid: tx.compute_txid(),
            vout: 0,
        },
        value: FUNDING,
    };
    (
        Pair::open(CHAIN, channel, funding, trader_sat),
        node.sign(&tx),
    )
}

/// A channel as a venue follows it, each step on disk.
struct Follower {
    channels: Option<Channels>,
    channel: B256,
    start: u64,
    folder: tempfile::TempDir,
}

impl Follower {
    fn new(channel: B256, start: u64) -> Self {
        let mut follower = Self {
            channels: None,
            channel,
            start,
            folder: tempfile::tempdir().unwrap(),
        };
        follower.restart();
        follower
    }

    /// Ends it and loads it again from its disk.
    fn restart(&mut self) {
        self.channels = None;
        let store = Store::open(&self.folder.path().join("channels")).unwrap();
        self.channels = Some(Channels::open(store, RULES, self.start).unwrap());
    }

    /// Looks at the chain; gives the new facts.
    fn follow(&mut self, chain: &mut Utxo<Memory>) -> Vec<Fact> {
        let now = chain.tip().unwrap().time;
        let followed = self.channels.as_mut().unwrap().follow(chain, now).unwrap();
        let all = chain.facts(0, u64::MAX).unwrap();
        let new = &all[all.len() - followed.facts..];
        assert!(new.iter().all(|seen| seen.channel == self.channel));
        new.iter().map(|seen| seen.fact).collect()
    }

    fn life(&self) -> &Life {
        let life = self.channels.as_ref().unwrap().life(self.channel);
        life.expect("its opening was seen")
    }

    /// Both sign a state of the chain's channel: the life has to agree.
    fn sign(&mut self, version: u64, balance: u128, seen: [u128; 2], pin: u64) {
        let state = Signed {
            version,
            balance,
            deposited_seen: seen[0],
            withdrawn_seen: seen[1],
            epoch: version,
            pin,
        };
        let channels = self.channels.as_mut().unwrap();
        channels.offer(self.channel, state).unwrap();
        channels
            .complete(self.channel, version, Vec::new())
            .unwrap();
    }
}

fn height(node: &Litecoind) -> u64 {
    node.call("getblockcount", &[]).as_u64().unwrap()
}

fn txid(sent: &Sent) -> bitcoin::Txid {
    // The chain's own form: as the node writes it.
    sent.id.to_string()[2..].parse().unwrap()
}

/// Splices on both sides: the adapter is told before the transaction is sent.
fn splice(
    node: &Litecoind,
    pair: &mut Pair,
    chain: &mut Utxo<Memory>,
    version: u64,
    trader_sat: u64,
    value: Amount,
    parts: (Vec<(OutPoint, TxOut)>, Vec<TxOut>),
) {
    let is_in = !parts.0.is_empty();
    let funding = pair.trader.funding();
    let splice =
        Cooperative::splice(pair.trader.terms(), &funding, value, parts.0, parts.1).unwrap();
    for party in [Party::Trader, Party::Operator] {
        pair.side(party)
            .begin_splice(splice.new_funding().unwrap())
            .unwrap();
    }
    pair.exchange(state(version, trader_sat));
    chain.watch(pair.trader.watched().unwrap(), height(node));
    let wallet = is_in.then(|| node.sign(splice.unsigned()));
    node.confirm(&sign_together(pair, &splice, wallet.as_ref()));
    for party in [Party::Trader, Party::Operator] {
        pair.side(party).splice_confirmed().unwrap();
    }
    pair.give_up();
}

/// A party's channel as it was after so many records: a stolen or restored old copy.
fn old_copy(pair: &Pair, party: Party, channel: u32, at: usize) -> Channel<Memory> {
    let records = pair.journals[usize::from(party == Party::Operator)]
        .records
        .borrow()[..at]
        .to_vec();
    Channel::resume(secrets(party, CHAIN, channel), Memory::default(), &records).unwrap()
}

/// Attacker: the operator, whose version 0 says 2,000,000 of the trader's 6,500,000. It publishes it; the chain is reorganised
/// before and after; the trader's penalty takes all that was the operator's.
#[test]
fn opened_spliced_disputed_and_punished_through_reorganisations() {
    let node = Litecoind::start_with_replacement();
    let start = height(&node) + 1;
    let (mut pair, funding) = agreed(&node, 21, 2_000_000);
    let watched = pair.trader.watched().unwrap();
    let channel = name(watched.id);
    let mut chain = Utxo::<Memory>::new(node.node.clone(), RATE);
    chain.watch(watched.clone(), start);
    // From some blocks below, so that the first one can be reorganised away.
    let mut follower = Follower::new(channel, start - 6);
    assert_eq!(follower.follow(&mut chain), []);

    // Opened; taken back by a reorganisation and opened again, on another height.
    node.confirm(&funding);
    let opened = Fact::Opened {
        deposited: 2_000_000,
    };
    assert_eq!(follower.follow(&mut chain), [opened]);
    assert_eq!(follower.life().deposited(), 0, "it does not count yet");
    let block = node.call("getblockhash", &[json!(start)]);
    node.call("invalidateblock", &[block]);
    assert_eq!(follower.follow(&mut chain), []);
    assert_eq!(chain.facts(0, u64::MAX).unwrap(), []);
    assert_eq!(chain.unspent(watched.id).unwrap(), None);
    // An empty block at its place, the funding in the next.
    let address = node.call("getnewaddress", &[json!(""), json!("bech32")]);
    node.call("generateblock", &[address, json!([])]);
    node.mine(1);
    assert_eq!(follower.follow(&mut chain), [opened]);
    let seen = Seen {
        height: start + 1,
        channel,
        fact: opened,
    };
    assert_eq!(chain.facts(0, u64::MAX).unwrap(), [seen]);
    node.mine(3);
    follower.follow(&mut chain);
    assert_eq!(follower.life().phase(), Phase::Open);
    assert_eq!(follower.life().entitlement(), 2_000_000);

    // An update, then 3,000,000 more in by a splice of the trader's, 1,500,000 out by another.
    let old = pair.journals[1].records.borrow().len();
    pair.update(1, 5_000_000);
    follower.sign(1, 5_000_000, [2_000_000, 0], height(&node));
    let coin = node.coin();
    let change = TxOut {
        value: coin.output.value - Amount::from_sat(3_001_000),
        script_pubkey: node.script(),
    };
    let kept = old_copy(&pair, Party::Operator, 21, old);
    let value = FUNDING + Amount::from_sat(3_000_000);
    let parts = (vec![(coin.outpoint, coin.output)], vec![change]);
    splice(&node, &mut pair, &mut chain, 2, 8_000_000, value, parts);
    let deposited = Fact::Deposited {
        deposited: 5_000_000,
    };
    assert_eq!(follower.follow(&mut chain), [deposited]);
    node.mine(3);
    follower.follow(&mut chain);
    assert_eq!(follower.life().entitlement(), 8_000_000);
    follower.sign(2, 8_000_000, [5_000_000, 0], height(&node));
    let old = pair.journals[1].records.borrow().len();
    let out = TxOut {
        value: Amount::from_sat(1_499_000),
        script_pubkey: node.script(),
    };
    let value = value - Amount::from_sat(1_500_000);
    splice(
        &node,
        &mut pair,
        &mut chain,
        3,
        6_500_000,
        value,
        (vec![], vec![out]),
    );
    let withdrawn = Fact::Withdrawn {
        withdrawn: 1_500_000,
    };
    assert_eq!(follower.follow(&mut chain), [withdrawn]);
    node.mine(3);
    follower.follow(&mut chain);
    assert_eq!(follower.life().entitlement(), 6_500_000);
    follower.sign(3, 6_500_000, [5_000_000, 1_500_000], height(&node));
    let old_on_this = pair.journals[1].records.borrow().len();
    pair.update(4, 9_000_000);
    follower.sign(4, 9_000_000, [5_000_000, 1_500_000], height(&node));

    // Copies from before the splice have nothing to publish: their output is spent.
    for stale in [kept, old_copy(&pair, Party::Operator, 21, old)] {
        let refused = chain
            .dispute(&Exit::party(stale, node.script()))
            .unwrap_err();
        assert!(
            refused.to_string().contains("no commitment is held on"),
            "{refused}"
        );
    }

    // The operator publishes version 3, where the trader has 6,500,000 instead of 9,000,000.
    let thief = Exit::party(
        old_copy(&pair, Party::Operator, 21, old_on_this),
        node.script(),
    );
    let mut theirs = Utxo::<Memory>::new(node.node.clone(), RATE);
    theirs.watch(pair.trader.watched().unwrap(), start);
    let sent = theirs.dispute(&thief).unwrap();
    assert_eq!(theirs.progress(&sent).unwrap(), Progress::Waiting);
    node.mine(1);
    assert_eq!(
        theirs.progress(&sent).unwrap(),
        Progress::Mined {
            height: height(&node)
        }
    );
    assert_eq!(follower.follow(&mut chain), [Fact::Disputed { version: 3 }]);
    assert!(follower.life().must_refute());

    // Its block is reorganised away and the same comes again in the next.
    let block = node.call("getbestblockhash", &[]);
    node.call("invalidateblock", &[block]);
    assert_eq!(follower.follow(&mut chain), []);
    assert_eq!(follower.life().phase(), Phase::Open);
    assert_eq!(theirs.progress(&sent).unwrap(), Progress::Waiting);
    // Everything is ended and loaded again.
    follower.restart();
    let mut chain = Utxo::<Memory>::new(node.node.clone(), RATE);
    chain.watch(pair.trader.watched().unwrap(), start);
    node.mine(1);
    assert_eq!(follower.follow(&mut chain), [Fact::Disputed { version: 3 }]);

    // The trader answers, and raises the fee before it is mined.
    let home = node.script();
    let exit = Exit::party(pair.trader, home.clone());
    let first = chain.refute(&exit).unwrap();
    let sent = chain.bump(&first).unwrap();
    assert_eq!(chain.progress(&first).unwrap(), Progress::Gone, "replaced");
    let again = chain.bump(&sent).unwrap();
    assert_ne!(sent, again);
    node.mine(1);
    assert_eq!(
        follower.follow(&mut chain),
        [],
        "the trader's own side is there still"
    );
    let took = height(&node);
    assert_eq!(
        chain.progress(&again).unwrap(),
        Progress::Mined { height: took }
    );
    let refused = chain.refute(&exit).unwrap_err();
    assert!(refused.to_string().contains("took it already"), "{refused}");
    let claim = chain.settle(&exit).unwrap();
    node.mine(1);
    assert_eq!(follower.follow(&mut chain), [Fact::Settled]);
    node.mine(3);
    follower.follow(&mut chain);
    assert_eq!(follower.life().phase(), Phase::Settled);

    // To the satoshi. The funding output held 11,500,000. Version 3 paid 2 sat/vB of 282, two anchors of 3,300, the trader
    // 6,500,000 and the operator the rest: 4,992,836. The penalty's first fee is 10 sat/vB of 112 and was raised from the
    // wallet; the claim's is 10 sat/vB of 129.
    let paid = |sent: &Sent| {
        node.unspent(OutPoint {
            txid: txid(sent),
            vout: 0,
        })
    };
    let operators = 11_500_000 - 2 * 282 - 2 * 3_300 - 6_500_000;
    assert_eq!(operators, 4_992_836);
    assert_eq!(paid(&again), Some(Amount::from_sat(operators - 1_120)));
    assert_eq!(paid(&claim), Some(Amount::from_sat(6_500_000 - 1_290)));
    assert_eq!(home, script_of(&node, &again, 0));
    assert_eq!(home, script_of(&node, &claim, 0));
    // The operator's own way is gone.
    node.mine(u64::from(OPERATOR_DELAY));
    let refused = theirs.settle(&thief).unwrap_err();
    assert!(refused.to_string().contains("took it already"), "{refused}");
}

fn script_of(node: &Litecoind, sent: &Sent, vout: usize) -> ScriptBuf {
    let tx = node.call(
        "getrawtransaction",
        &[json!(txid(sent).to_string()), json!(true)],
    );
    let script = tx["vout"][vout]["scriptPubKey"]["hex"].as_str().unwrap();
    ScriptBuf::from_hex(script).unwrap()
}

/// The trader alone by its newest version; the node does not replace transactions.
#[test]
fn a_trader_leaves_alone_and_a_tower_does_only_what_it_can() {
    let node = Litecoind::start();
    let start = height(&node) + 1;
    let (mut pair, funding) = agreed(&node, 22, 4_000_000);
    let watched = pair.trader.watched().unwrap();
    let mut chain = Utxo::<Memory>::new(node.node.clone(), RATE);
    chain.watch(watched.clone(), start);
    pair.update(1, 7_000_000);
    let kit = pair.operator.kit(node.script(), RATE).unwrap().unwrap();
    let tower = Exit::Tower {
        id: watched.id,
        terms: Box::new(watched.terms.clone()),
        kits: vec![kit],
    };
    let home = node.script();
    let exit = Exit::party(pair.trader, home);
    let refused = |result: Result<Sent, ChainError>, why: &str| {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    refused(chain.dispute(&exit), "not in the chain");
    refused(chain.settle(&exit), "no commitment of this channel");
    refused(chain.refute(&tower), "no commitment of this channel");
    refused(chain.dispute(&tower), "a tower has no key");
    node.confirm(&funding);

    let sent = chain.dispute(&exit).unwrap();
    // The newest commitment pays 2 sat/vB; a child on the anchor brings both to what is asked, its name stays.
    assert_eq!(chain.bump(&sent).unwrap(), sent);
    refused(chain.bump(&sent), "this node replaces no transaction");
    node.mine(1);
    assert_eq!(chain.dispute(&exit).unwrap(), sent, "it is there already");
    refused(chain.refute(&tower), "no kit of version 1");
    refused(chain.refute(&exit), "version 1 was not given up");
    refused(
        chain.settle(&exit),
        "it waits 12 blocks and has 1: take it 11 blocks later",
    );
    node.mine(u64::from(TRADER_DELAY) - 1);
    // Made anew, as after a restart: nothing is missing.
    let mut chain = Utxo::<Memory>::new(node.node.clone(), RATE);
    chain.watch(watched.clone(), start);
    let claim = chain.settle(&exit).unwrap();
    refused(chain.bump(&claim), "this node replaces no transaction");
    node.mine(1);
    let paid = node.unspent(OutPoint {
        txid: txid(&claim),
        vout: 0,
    });
    assert_eq!(paid, Some(Amount::from_sat(7_000_000 - 1_290)));
    let facts: Vec<_> = chain
        .facts(0, u64::MAX)
        .unwrap()
        .iter()
        .map(|it| it.fact)
        .collect();
    let opened = Fact::Opened {
        deposited: 4_000_000,
    };
    assert_eq!(
        facts,
        [opened, Fact::Disputed { version: 1 }],
        "the operator's side is there"
    );
    let operator = Exit::party(pair.operator, node.script());
    chain.settle(&operator).unwrap();
    node.mine(1);
    assert_eq!(
        chain.facts(0, u64::MAX).unwrap().last().unwrap().fact,
        Fact::Settled
    );
}

/// Attacker: the trader, whose version 0 says 9,000,000 where 1,000,000 are left. The operator's tower has a kit and no key.
#[test]
fn a_tower_with_a_kit_punishes_the_trader() {
    let node = Litecoind::start();
    let start = height(&node) + 1;
    let (mut pair, funding) = agreed(&node, 23, 9_000_000);
    let watched = pair.operator.watched().unwrap();
    let mut chain = Utxo::<Memory>::new(node.node.clone(), RATE);
    chain.watch(watched.clone(), start);
    node.confirm(&funding);
    let old = pair.journals[0].records.borrow().len();
    pair.update(1, 1_000_000);
    let kit = pair.operator.kit(node.script(), RATE).unwrap().unwrap();
    let value = kit.value();
    let tower = Exit::Tower {
        id: watched.id,
        terms: Box::new(watched.terms.clone()),
        kits: vec![kit],
    };
    let thief = Exit::party(old_copy(&pair, Party::Trader, 23, old), node.script());
    chain.dispute(&thief).unwrap();
    node.mine(1);
    let sent = chain.refute(&tower).unwrap();
    // Two towers: the second finds it waiting.
    let mut second = Utxo::<Memory>::new(node.node.clone(), RATE);
    second.watch(watched.clone(), start);
    assert_eq!(second.refute(&tower).unwrap(), sent);
    node.mine(1);
    let paid = node.unspent(OutPoint {
        txid: txid(&sent),
        vout: 0,
    });
    assert_eq!(
        (paid, value),
        (Some(value), Amount::from_sat(9_000_000 - 1_120))
    );
    node.mine(u64::from(TRADER_DELAY));
    let refused = chain.settle(&thief).unwrap_err();
    assert!(refused.to_string().contains("took it already"), "{refused}");
}

/// Attacker: whoever opens a channel and says that its funding output holds more than it does. And an empty fee wallet.
#[test]
fn a_funding_output_of_another_amount_opens_nothing_and_fees_need_a_wallet() {
    let node = Litecoind::start();
    let start = height(&node) + 1;
    let (mut pair, funding) = agreed(&node, 24, 1_000_000);
    let watched = pair.trader.watched().unwrap();
    let mut lie = watched.clone();
    lie.outputs[0].funding.value = FUNDING + Amount::ONE_SAT;
    let mut chain = Utxo::<Memory>::new(node.node.clone(), RATE);
    chain.watch(lie, start);
    node.confirm(&funding);
    assert_eq!(chain.facts(0, u64::MAX).unwrap(), []);
    // Told of it as it is, it is read again.
    chain.watch(watched, start);
    assert_eq!(chain.facts(0, u64::MAX).unwrap().len(), 1);

    pair.update(1, 2_000_000);
    let exit = Exit::party(pair.trader, node.script());
    let sent = chain.dispute(&exit).unwrap();
    for coin in node.call("listunspent", &[json!(1)]).as_array().unwrap() {
        let coin = json!([{"txid": coin["txid"], "vout": coin["vout"]}]);
        node.call("lockunspent", &[json!(false), coin]);
    }
    let error = chain.bump(&sent).unwrap_err();
    assert!(matches!(error, ChainError::Fees { has: 0, .. }), "{error}");
    node.call("lockunspent", &[json!(true)]);
    chain.bump(&sent).unwrap();
    node.mine(1);
    assert_eq!(
        chain.progress(&sent).unwrap(),
        Progress::Mined {
            height: height(&node)
        }
    );
}

/// A node that is not there is said to be so, with what to do.
#[test]
fn a_node_that_stops_is_named() {
    let node = Litecoind::start();
    let mut chain = Utxo::<Memory>::new(node.node.clone(), RATE);
    assert_eq!(chain.tip().unwrap().height, height(&node));
    assert_eq!(chain.block(height(&node) + 1).unwrap(), None);
    let client = node.node.clone();
    drop(node);
    assert!(matches!(
        client.call("getblockcount", &[]),
        Err(RpcError::Unreachable { .. })
    ));
    let error = chain.tip().unwrap_err();
    assert!(matches!(error, ChainError::Node { .. }), "{error}");
}
