//! The whole life of channels on a real node: Litecoin Core 0.21 on regtest, with only standard transactions relayed.

mod node;
mod pair;

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute::LockTime,
    consensus::encode::deserialize_hex, transaction::Version,
};
use node::{CHAIN, Litecoind};
use pair::{OPERATOR_DELAY, Pair, TRADER_DELAY, resign, secrets, sign_together, state, terms};
use ring0_bitcoin::{
    channel::Spend,
    commitment::Commitment,
    cooperative::Cooperative,
    fees::AnchorChild,
    keys::Party,
    omni::SimpleSend,
    psbt::CooperativePsbt,
    terms::{Funding, Terms},
};
use serde_json::json;

const FUNDING: Amount = Amount::from_sat(10_000_000);

fn spending(outpoint: OutPoint) -> TxIn {
    TxIn {
        previous_output: outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    }
}

/// Opens a channel on the chain: version 0 is held by both before the funding transaction is sent.
fn fund(node: &Litecoind, channel: u32, trader_sat: u64) -> (Terms, Pair) {
    let terms = terms(CHAIN, channel);
    let coin = node.coin();
    let change = coin.output.value - FUNDING - Amount::from_sat(10_000);
    let tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![spending(coin.outpoint)],
        output: vec![
            TxOut {
                value: FUNDING,
                script_pubkey: terms.funding().output(),
            },
            TxOut {
                value: change,
                script_pubkey: node.script(),
            },
        ],
    };
    let funding = Funding {
        outpoint: OutPoint {
            txid: tx.compute_txid(),
            vout: 0,
        },
        value: FUNDING,
    };
    let pair = Pair::open(CHAIN, channel, funding, trader_sat);
    assert!(pair.trader.fundable() && pair.operator.fundable());
    node.confirm(&node.sign(&tx));
    // The node reads the output as taproot and writes its address as ours does.
    let output = &node.call(
        "gettxout",
        &[json!(tx.compute_txid().to_string()), json!(0)],
    )["scriptPubKey"];
    assert_eq!(output["type"], "witness_v1_taproot");
    assert_eq!(
        output["addresses"][0].as_str().unwrap(),
        CHAIN.address(&terms.funding().output()).unwrap()
    );
    (terms, pair)
}

/// The rate that a transaction and its unconfirmed ancestors pay together, satoshi per 1,000 vbytes.
fn ancestor_rate(node: &Litecoind, txid: bitcoin::Txid) -> u64 {
    let entry = node.call("getmempoolentry", &[json!(txid.to_string())]);
    let fee = Amount::from_btc(entry["fees"]["ancestor"].as_f64().unwrap()).unwrap();
    fee.to_sat() * 1_000 / entry["ancestorsize"].as_u64().unwrap()
}

#[test]
fn fund_update_and_close_together() {
    let node = Litecoind::start();
    let (terms, mut pair) = fund(&node, 1, 5_000_000);
    for version in 1..=5 {
        pair.update(version, 5_000_000 + 300_000 * version);
    }
    let balance = pair.trader.begin_close().unwrap();
    assert_eq!(pair.operator.begin_close().unwrap(), balance);
    let to = [node.script(), node.script()];
    let close = Cooperative::close(
        &terms,
        &pair.trader.funding(),
        balance,
        to.clone(),
        Amount::from_sat(1_000),
        Party::Trader,
    )
    .unwrap();
    let tx = sign_together(&pair, &close, None);
    assert_eq!(tx.input[0].witness.len(), 1, "one signature: the key path");
    node.confirm(&tx);
    let paid = |script: &ScriptBuf| {
        tx.output
            .iter()
            .find(|output| output.script_pubkey == *script)
            .unwrap()
            .value
            .to_sat()
    };
    assert_eq!((paid(&to[0]), paid(&to[1])), (6_499_000, 3_500_000));
    assert!(matches!(pair.trader.recognise(&tx), Spend::Cooperative));
    // The newest commitment, published afterwards, spends what is spent.
    let (_, late) = pair
        .operator
        .exit(pair.operator.funding().outpoint)
        .unwrap();
    assert_eq!(
        node.send(&late),
        Err("bad-txns-inputs-missingorspent".to_owned())
    );
}

/// The node itself reads our PSBTs, and a close that a reorg drops is mined again as it is.
#[test]
fn a_dropped_close_comes_back() {
    let node = Litecoind::start();
    let (terms, mut pair) = fund(&node, 10, 5_000_000);
    let balance = pair.trader.begin_close().unwrap();
    pair.operator.begin_close().unwrap();
    let to = [node.script(), node.script()];
    let fee = Amount::from_sat(1_000);
    let close = Cooperative::close(
        &terms,
        &pair.trader.funding(),
        balance,
        to,
        fee,
        Party::Operator,
    )
    .unwrap();
    let psbt = node.call(
        "decodepsbt",
        &[json!(CooperativePsbt::new(close.clone()).export())],
    );
    assert_eq!(
        psbt["tx"]["txid"].as_str().unwrap(),
        close.unsigned().compute_txid().to_string()
    );
    assert_eq!(psbt["fee"].as_f64(), Some(0.00001));

    let tx = sign_together(&pair, &close, None);
    node.confirm(&tx);
    let funding = pair.trader.funding().outpoint;
    assert_eq!(node.unspent(funding), None);
    let block = node.call("getbestblockhash", &[]);
    node.call("invalidateblock", &[block]);
    // Back in the mempool, unconfirmed: the funding output is unspent in the chain, so a commitment could still take its place.
    assert!(node.in_mempool(tx.compute_txid()));
    let (_, exit) = pair.trader.exit(funding).unwrap();
    assert_eq!(node.send(&exit), Err("txn-mempool-conflict".to_owned()));
    node.mine(2);
    assert!(node.confirmations(tx.compute_txid()) >= Some(2));
}

#[test]
fn splice_in_and_splice_out() {
    let node = Litecoind::start();
    let (terms, mut pair) = fund(&node, 2, 5_000_000);
    pair.update(1, 6_000_000);

    // In: the trader adds a coin of its wallet, and its balance grows by what the channel does.
    let coin = node.coin();
    let change = TxOut {
        value: coin.output.value - Amount::from_sat(3_001_000),
        script_pubkey: node.script(),
    };
    let value = FUNDING + Amount::from_sat(3_000_000);
    let splice = Cooperative::splice(
        &terms,
        &pair.trader.funding(),
        value,
        vec![(coin.outpoint, coin.output)],
        vec![change],
    )
    .unwrap();
    for party in [Party::Trader, Party::Operator] {
        pair.side(party)
            .begin_splice(splice.new_funding().unwrap())
            .unwrap();
    }
    pair.exchange(state(2, 9_000_000));
    pair.trader.splice_signable().unwrap();
    pair.operator.splice_signable().unwrap();
    let wallet = node.sign(splice.unsigned());
    let tx = sign_together(&pair, &splice, Some(&wallet));
    assert_eq!(
        tx.compute_txid(),
        splice.unsigned().compute_txid(),
        "signing does not move the new funding output"
    );
    node.confirm(&tx);
    for party in [Party::Trader, Party::Operator] {
        pair.side(party).splice_confirmed().unwrap();
    }
    pair.give_up();
    pair.update(3, 8_000_000);

    // Out: 2,500,000 of the trader's balance leave to an address, the fee with them.
    let destination = node.script();
    let out = TxOut {
        value: Amount::from_sat(2_499_000),
        script_pubkey: destination,
    };
    let value = value - Amount::from_sat(2_500_000);
    let splice =
        Cooperative::splice(&terms, &pair.trader.funding(), value, vec![], vec![out]).unwrap();
    for party in [Party::Trader, Party::Operator] {
        pair.side(party)
            .begin_splice(splice.new_funding().unwrap())
            .unwrap();
    }
    pair.exchange(state(4, 5_500_000));
    let tx = sign_together(&pair, &splice, None);
    node.confirm(&tx);
    for party in [Party::Trader, Party::Operator] {
        pair.side(party).splice_confirmed().unwrap();
    }
    pair.give_up();
    pair.update(5, 5_600_000);
    assert_eq!(node.unspent(pair.trader.funding().outpoint), Some(value));

    // A commitment on the first funding output is void; the newest one stands on the newest output.
    assert!(
        pair.trader
            .exit(OutPoint {
                vout: 9,
                ..pair.trader.funding().outpoint
            })
            .is_err()
    );
    let (_, tx) = pair.trader.exit(pair.trader.funding().outpoint).unwrap();
    node.confirm(&tx);
}

#[test]
fn the_trader_leaves_alone_after_its_delay() {
    let node = Litecoind::start();
    let (terms, mut pair) = fund(&node, 3, 5_000_000);
    pair.update(1, 6_000_000);
    pair.update(2, 7_000_000);
    let (commitment, tx) = pair.trader.exit(pair.trader.funding().outpoint).unwrap();
    node.confirm(&tx);

    let balance = commitment.balance(Party::Trader).unwrap();
    assert_eq!(balance.output.value, Amount::from_sat(7_000_000));
    let claim = balance
        .claim(
            &terms,
            pair.trader.payout_key(),
            node.script(),
            Amount::from_sat(1_000),
        )
        .unwrap();
    // One block deep, `TRADER_DELAY` are asked for: refused by mempool and, in a block, by the chain.
    assert_eq!(node.send(&claim), Err("non-BIP68-final".to_owned()));
    let forced = node.force(&claim).unwrap_err();
    assert_eq!(forced, "TestBlockValidity failed: bad-txns-nonfinal");
    // A claim that asks for less waiting than the script does: the script refuses it.
    let mut hasty = claim.clone();
    hasty.input[0].sequence = Sequence::from_height(1);
    let reason = node
        .send(&resign(&hasty, &balance, pair.trader.payout_key()))
        .unwrap_err();
    assert_eq!(
        reason,
        "non-mandatory-script-verify-flag (Locktime requirement not satisfied)"
    );
    let forced = node
        .force(&resign(&hasty, &balance, pair.trader.payout_key()))
        .unwrap_err();
    assert_eq!(forced, "TestBlockValidity failed: block-validation-failed");

    node.mine(u64::from(TRADER_DELAY) - 2);
    assert_eq!(
        node.send(&claim),
        Err("non-BIP68-final".to_owned()),
        "one block early"
    );
    node.mine(1);
    node.confirm(&claim);
    assert_eq!(
        node.unspent(OutPoint {
            txid: claim.compute_txid(),
            vout: 0
        }),
        Some(Amount::from_sat(6_999_000))
    );

    // The operator's side waits one block, which is long past; nobody takes it by the key path.
    let rest = commitment.balance(Party::Operator).unwrap();
    let claim = rest
        .claim(
            &terms,
            pair.operator.payout_key(),
            node.script(),
            Amount::from_sat(1_000),
        )
        .unwrap();
    node.confirm(&claim);
}

/// The old commitment of a party, as its holder could still publish it: taken from a copy of its journal.
fn old_commitment(pair: &Pair, party: Party, channel: u32, at: usize) -> (Commitment, Transaction) {
    let journal = pair::Memory::default();
    let records = pair.journals[usize::from(party == Party::Operator)]
        .records
        .borrow()[..at]
        .to_vec();
    let mut old =
        ring0_bitcoin::channel::Channel::resume(secrets(party, CHAIN, channel), journal, &records)
            .unwrap();
    old.exit(old.funding().outpoint).unwrap()
}

#[test]
fn an_old_state_of_the_operator_is_punished_by_the_traders_tower() {
    let node = Litecoind::start_with_replacement();
    let (terms, mut pair) = fund(&node, 4, 2_000_000);
    let records = pair.journals[1].records.borrow().len();
    let mut kits = Vec::new();
    for version in 1..=4 {
        pair.update(version, 2_000_000 + 1_500_000 * version);
        kits.push(pair.trader.kit(node.script(), 2_000).unwrap().unwrap());
    }
    // The operator publishes version 0, where the trader had 2,000,000 instead of 8,000,000.
    let (commitment, tx) = old_commitment(&pair, Party::Operator, 4, records);
    assert_eq!(commitment.state, state(0, 2_000_000));
    node.confirm(&tx);

    // The tower has kits, a fee wallet and no key of the channel. It finds the kit by the id and raises its fee.
    let kit = kits
        .iter()
        .find(|kit| kit.commitment == tx.compute_txid())
        .unwrap();
    assert_eq!(kit.version, 0);
    node.send(&kit.penalty).unwrap();
    let bumped = kit.witness(
        node.sign(
            &kit.bump(CHAIN, &node.coin(), node.script(), 60_000)
                .unwrap(),
        ),
    );
    node.send(&bumped).unwrap();
    assert!(!node.in_mempool(kit.penalty.compute_txid()), "replaced");
    assert!(
        (60_000..60_600).contains(&ancestor_rate(&node, bumped.compute_txid())),
        "{}",
        ancestor_rate(&node, bumped.compute_txid())
    );
    // What was added is the tower's; what was signed is not its to change.
    let mut redirected = bumped.clone();
    redirected.output[0].script_pubkey = node.script();
    redirected.output[1].value -= Amount::from_sat(50_000);
    let reason = node
        .send(&node.resign_fee_input(&redirected, &kit.penalty))
        .unwrap_err();
    assert_eq!(
        reason,
        "non-mandatory-script-verify-flag (Invalid Schnorr signature)"
    );
    node.mine(1);
    assert_eq!(
        node.unspent(OutPoint {
            txid: bumped.compute_txid(),
            vout: 0
        }),
        Some(kit.value())
    );

    // The trader takes its own side too; the operator's claim after its delay finds nothing.
    let own = commitment
        .balance(Party::Trader)
        .unwrap()
        .claim(
            &terms,
            pair.trader.payout_key(),
            node.script(),
            Amount::from_sat(1_000),
        )
        .unwrap();
    node.confirm(&own);
    node.mine(u64::from(OPERATOR_DELAY));
    let late = commitment
        .balance(Party::Operator)
        .unwrap()
        .claim(
            &terms,
            pair.operator.payout_key(),
            node.script(),
            Amount::from_sat(1_000),
        )
        .unwrap();
    assert_eq!(
        node.send(&late),
        Err("bad-txns-inputs-missingorspent".to_owned())
    );
}

#[test]
fn an_old_state_of_the_trader_is_punished_by_the_operator() {
    let node = Litecoind::start();
    let (terms, mut pair) = fund(&node, 5, 9_000_000);
    let records = pair.journals[0].records.borrow().len();
    pair.update(1, 1_000_000);
    pair.update(2, 500_000);
    let (commitment, tx) = old_commitment(&pair, Party::Trader, 5, records);
    node.confirm(&tx);
    // From the chain alone: the operator reads the block's transaction, has no state of that version, and needs none.
    let seen: Transaction = deserialize_hex(
        node.call("getrawtransaction", &[json!(tx.compute_txid().to_string())])
            .as_str()
            .unwrap(),
    )
    .unwrap();
    let Spend::PeerRevoked {
        version: 0,
        balance: Some(balance),
    } = pair.operator.recognise(&seen)
    else {
        panic!("not recognised")
    };
    let penalty = pair
        .operator
        .punish(0, &balance, node.script(), Amount::from_sat(1_000))
        .unwrap();
    assert_eq!(penalty.output[0].value, Amount::from_sat(8_999_000));
    node.confirm(&penalty);
    let claim = commitment
        .balance(Party::Trader)
        .unwrap()
        .claim(
            &terms,
            pair.trader.payout_key(),
            node.script(),
            Amount::from_sat(1_000),
        )
        .unwrap();
    node.mine(u64::from(TRADER_DELAY));
    assert_eq!(
        node.send(&claim),
        Err("bad-txns-inputs-missingorspent".to_owned())
    );
    // What was not given up cannot be punished: the operator has no secret of the newest version.
    assert!(
        pair.operator
            .punish(2, &balance, node.script(), Amount::from_sat(1_000))
            .is_err()
    );
}

#[test]
fn a_commitment_gets_its_fee_from_a_child_and_the_other_party_cannot_pin_it() {
    let node = Litecoind::start_with_replacement();
    let (terms, mut pair) = fund(&node, 6, 5_000_000);
    pair.update(1, 6_000_000);
    let (commitment, tx) = pair.trader.exit(pair.trader.funding().outpoint).unwrap();
    node.send(&tx).unwrap();
    assert!(
        (2_000..2_010).contains(&ancestor_rate(&node, tx.compute_txid())),
        "{}",
        ancestor_rate(&node, tx.compute_txid())
    );

    // The operator hangs a chain of 24 on its anchor: the limit of descendants is reached.
    let anchor_key = |party| secrets(party, CHAIN, 6).anchor;
    let child = AnchorChild::build(
        &commitment,
        Party::Operator,
        &node.coin(),
        node.script(),
        2_500,
    )
    .unwrap();
    let mut last = child
        .sign(node.sign(&child.tx), &anchor_key(Party::Operator))
        .unwrap();
    node.send(&last).unwrap();
    for _ in 0..23 {
        let value = last.output[0].value - Amount::from_sat(300);
        let tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![spending(OutPoint {
                txid: last.compute_txid(),
                vout: 0,
            })],
            output: vec![TxOut {
                value,
                script_pubkey: node.script(),
            }],
        };
        last = node.sign(&tx);
        node.send(&last).unwrap();
    }
    // Nothing but the anchors can be spent before the commitment confirms.
    let early = commitment
        .balance(Party::Operator)
        .unwrap()
        .claim(
            &terms,
            pair.operator.payout_key(),
            node.script(),
            Amount::from_sat(1_000),
        )
        .unwrap();
    assert_eq!(node.send(&early), Err("non-BIP68-final".to_owned()));

    // The trader's anchor still takes a child (one more descendant is allowed, Bitcoin Core 0.19's carve-out), and a dearer one after it.
    let coin = node.coin();
    let mut replaced = None;
    for rate in [20_000, 90_000] {
        let child =
            AnchorChild::build(&commitment, Party::Trader, &coin, node.script(), rate).unwrap();
        let signed = child
            .sign(node.sign(&child.tx), &anchor_key(Party::Trader))
            .unwrap();
        node.send(&signed).unwrap();
        let paid = ancestor_rate(&node, signed.compute_txid());
        assert!(
            (rate..rate + 600).contains(&paid),
            "asked for {rate}, pays {paid}"
        );
        if let Some(before) = replaced.replace(signed.compute_txid()) {
            assert!(!node.in_mempool(before), "replaced");
        }
    }
    node.mine(1);
    assert_eq!(
        (
            node.confirmations(tx.compute_txid()),
            node.confirmations(replaced.unwrap())
        ),
        (Some(1), Some(1))
    );
}

/// Litecoin's nodes replace nothing by default: fees are raised by spending the change.
#[test]
fn without_replacement_fees_are_raised_by_the_change() {
    let node = Litecoind::start();
    let (_, mut pair) = fund(&node, 7, 5_000_000);
    let raise = |parent: &Transaction, output: usize, fee| {
        let tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![spending(OutPoint {
                txid: parent.compute_txid(),
                vout: output as u32,
            })],
            output: vec![TxOut {
                value: parent.output[output].value - Amount::from_sat(fee),
                script_pubkey: node.script(),
            }],
        };
        node.send(&node.sign(&tx)).unwrap()
    };
    pair.update(1, 6_000_000);
    let (commitment, tx) = pair.trader.exit(pair.trader.funding().outpoint).unwrap();
    node.send(&tx).unwrap();
    let coin = node.coin();
    let key = secrets(Party::Trader, CHAIN, 7).anchor;
    let [first, dearer] = [20_000, 90_000].map(|rate| {
        let child =
            AnchorChild::build(&commitment, Party::Trader, &coin, node.script(), rate).unwrap();
        child.sign(node.sign(&child.tx), &key).unwrap()
    });
    node.send(&first).unwrap();
    assert_eq!(node.send(&dearer), Err("txn-mempool-conflict".to_owned()));
    let last = raise(&first, 0, 60_000);
    assert!(ancestor_rate(&node, last) > 90_000);
    node.mine(1);
    assert_eq!(node.confirmations(tx.compute_txid()), Some(1));

    // A penalty that was sent with a fee input is raised by its change in the same way.
    let (_, mut pair) = fund(&node, 8, 9_000_000);
    let records = pair.journals[0].records.borrow().len();
    pair.update(1, 1_000_000);
    let kit = pair.operator.kit(node.script(), 2_000).unwrap().unwrap();
    let (_, old) = old_commitment(&pair, Party::Trader, 8, records);
    node.confirm(&old);
    let bumped = kit.witness(
        node.sign(
            &kit.bump(CHAIN, &node.coin(), node.script(), 20_000)
                .unwrap(),
        ),
    );
    node.send(&bumped).unwrap();
    let last = raise(&bumped, 1, 60_000);
    assert!(ancestor_rate(&node, last) > 90_000);
    node.mine(1);
    assert_eq!(
        node.unspent(OutPoint {
            txid: bumped.compute_txid(),
            vout: 0
        }),
        Some(kit.value())
    );
}

/// What these nodes relay, which decides how fees are paid: `docs/decisions/0067-bitcoin-channel.md`.
#[test]
fn version_three_and_dust_are_not_relayed() {
    let node = Litecoind::start();
    let coin = node.coin();
    let make = |version, dust| Transaction {
        version,
        lock_time: LockTime::ZERO,
        input: vec![spending(coin.outpoint)],
        output: vec![
            TxOut {
                value: Amount::from_sat(dust),
                script_pubkey: terms(CHAIN, 9).anchor_script(Party::Trader),
            },
            TxOut {
                value: coin.output.value - Amount::from_sat(20_000),
                script_pubkey: node.script(),
            },
        ],
    };
    assert_eq!(
        node.send(&node.sign(&make(Version(3), 3_300))),
        Err("version".to_owned())
    );
    assert_eq!(
        node.send(&node.sign(&make(Version::TWO, 3_299))),
        Err("dust".to_owned())
    );
    node.send(&node.sign(&make(Version::TWO, 3_300))).unwrap();
}

#[test]
fn a_simple_send_of_omni_is_mined() {
    let node = Litecoind::start();
    let coin = node.coin();
    let send = SimpleSend {
        property: ring0_bitcoin::omni::PROPERTY_TEST,
        amount: 123_456_789,
    };
    let receiver = node.script();
    let reference = CHAIN.dust(&receiver);
    let tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![spending(coin.outpoint)],
        output: vec![
            send.output().unwrap(),
            TxOut {
                value: coin.output.value - reference - Amount::from_sat(5_000),
                script_pubkey: coin.output.script_pubkey.clone(),
            },
            TxOut {
                value: reference,
                script_pubkey: receiver.clone(),
            },
        ],
    };
    let tx = node.sign(&tx);
    node.send(&tx).unwrap();
    let block = node.mine(1).remove(0);
    // Read back from the block, as a scanner would.
    let block: bitcoin::Block = deserialize_hex(
        node.call("getblock", &[json!(block), json!(0)])
            .as_str()
            .unwrap(),
    )
    .unwrap();
    let found: Vec<_> = block
        .txdata
        .iter()
        .flat_map(|tx| {
            tx.output.iter().filter_map(move |output| {
                Some((tx, SimpleSend::from_script(&output.script_pubkey).ok()?))
            })
        })
        .collect();
    let [(mined, found)] = found.as_slice() else {
        panic!("{} sends in the block", found.len())
    };
    assert_eq!((*found, mined.compute_txid()), (send, tx.compute_txid()));
    assert_eq!(mined.output.last().unwrap().script_pubkey, receiver);
}
