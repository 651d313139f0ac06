//! Channels' transactions under Bitcoin Core's own validation, in blocks mined here; a reorg drops a close and brings it back.

#[path = "../../tests/pair/mod.rs"]
mod pair;

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute::LockTime,
    transaction::Version,
};
use pair::{OPERATOR_DELAY, Pair, TRADER_DELAY, resign, secrets, sign_together, state, terms};
use ring0_bitcoin::{
    chain::Chain,
    channel::{Channel, Spend},
    commitment::Commitment,
    cooperative::Cooperative,
    fees::{AnchorChild, FeeInput},
    keys::Party,
    terms::{Funding, Terms},
};
use ring0_bitcoinkernel_tests::{Event, Regtest};

const CHAIN: Chain = Chain::BitcoinRegtest;
const FUNDING: Amount = Amount::from_sat(10_000_000);
const FEE: Amount = Amount::from_sat(1_000);

/// Opens a channel on the chain: version 0 is held by both before the funding transaction is mined.
fn fund(chain: &mut Regtest, channel: u32, trader_sat: u64) -> (Terms, Pair) {
    let terms = terms(CHAIN, channel);
    let (outpoint, output) = chain.coin();
    let mut tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![
            TxOut {
                value: FUNDING,
                script_pubkey: terms.funding().output(),
            },
            TxOut {
                value: output.value - FUNDING - FEE,
                script_pubkey: chain.script(),
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
    chain.sign(&mut tx, 0, &[output]);
    chain.confirm(&[tx]).unwrap();
    (terms, pair)
}

/// The commitment that a party held when its journal had `at` records.
fn old_commitment(pair: &Pair, party: Party, channel: u32, at: usize) -> (Commitment, Transaction) {
    let records = pair.journals[usize::from(party == Party::Operator)]
        .records
        .borrow()[..at]
        .to_vec();
    let mut old = Channel::resume(
        secrets(party, CHAIN, channel),
        pair::Memory::default(),
        &records,
    )
    .unwrap();
    old.exit(old.funding().outpoint).unwrap()
}

fn refused(chain: &mut Regtest, tx: &Transaction, reason: &str) {
    let tip = chain.tip();
    let said = chain.confirm(std::slice::from_ref(tx)).unwrap_err();
    assert!(
        said.contains(reason),
        "expected `{reason}`, the engine says: {said}"
    );
    assert_eq!(chain.tip(), tip, "the chain moved");
}

#[test]
fn closes_and_splices_by_the_key_path() {
    let mut chain = Regtest::new();
    let (terms, mut pair) = fund(&mut chain, 1, 5_000_000);
    pair.update(1, 6_000_000);

    let (outpoint, coin) = chain.coin();
    let value = FUNDING + Amount::from_sat(4_000_000);
    let change = TxOut {
        value: coin.value - Amount::from_sat(4_000_000) - FEE,
        script_pubkey: chain.script(),
    };
    let splice = Cooperative::splice(
        &terms,
        &pair.trader.funding(),
        value,
        vec![(outpoint, coin)],
        vec![change],
    )
    .unwrap();
    for party in [Party::Trader, Party::Operator] {
        pair.side(party)
            .begin_splice(splice.new_funding().unwrap())
            .unwrap();
    }
    pair.exchange(state(2, 10_000_000));
    let mut wallet = splice.unsigned().clone();
    chain.sign(&mut wallet, 1 - splice.place(), splice.prevouts());
    let tx = sign_together(&pair, &splice, Some(&wallet));
    chain.confirm(&[tx]).unwrap();
    for party in [Party::Trader, Party::Operator] {
        pair.side(party).splice_confirmed().unwrap();
    }
    pair.give_up();
    pair.update(3, 11_000_000);

    let balance = pair.trader.begin_close().unwrap();
    assert_eq!(pair.operator.begin_close().unwrap(), balance);
    let close = Cooperative::close(
        &terms,
        &pair.trader.funding(),
        balance,
        [chain.script(), chain.script()],
        FEE,
        Party::Operator,
    )
    .unwrap();
    let good = sign_together(&pair, &close, None);
    let mut bad = good.clone();
    let mut signature = bad.input[0].witness[0].to_vec();
    signature[40] ^= 1;
    bad.input[0].witness = Witness::from_slice(&[signature]);
    refused(&mut chain, &bad, "Invalid Schnorr signature");
    let mut redirected = good.clone();
    redirected.output[0].value -= FEE;
    refused(&mut chain, &redirected, "Invalid Schnorr signature");
    chain.confirm(std::slice::from_ref(&good)).unwrap();
    assert!(chain.contains(good.compute_txid()));
}

#[test]
fn the_trader_leaves_alone_and_not_a_block_early() {
    let mut chain = Regtest::new();
    let (terms, mut pair) = fund(&mut chain, 2, 5_000_000);
    pair.update(1, 6_000_000);
    let (commitment, tx) = pair.trader.exit(pair.trader.funding().outpoint).unwrap();
    // A child on the anchor, in the same block.
    let (outpoint, output) = chain.coin();
    let input = FeeInput {
        outpoint,
        output: output.clone(),
        witness_weight: 66,
    };
    let child =
        AnchorChild::build(&commitment, Party::Trader, &input, chain.script(), 50_000).unwrap();
    let mut raised = child.tx.clone();
    chain.sign(
        &mut raised,
        1,
        &[commitment.anchor(Party::Trader).1, output],
    );
    let raised = child
        .sign(raised, &secrets(Party::Trader, CHAIN, 2).anchor)
        .unwrap();
    chain.confirm(&[tx, raised]).unwrap();

    let balance = commitment.balance(Party::Trader).unwrap();
    let claim = balance
        .claim(&terms, pair.trader.payout_key(), chain.script(), FEE)
        .unwrap();
    refused(&mut chain, &claim, "bad-txns-nonfinal");
    // The script asks for the delay too: a claim whose input waits less is refused by it.
    let mut hasty = claim.clone();
    hasty.input[0].sequence = Sequence::from_height(1);
    chain.mine(1);
    refused(
        &mut chain,
        &resign(&hasty, &balance, pair.trader.payout_key()),
        "Locktime requirement not satisfied",
    );
    chain.mine(u32::from(TRADER_DELAY) - 3);
    refused(&mut chain, &claim, "bad-txns-nonfinal");
    chain.mine(1);
    chain.confirm(&[claim]).unwrap();
    let rest = commitment
        .balance(Party::Operator)
        .unwrap()
        .claim(&terms, pair.operator.payout_key(), chain.script(), FEE)
        .unwrap();
    chain.confirm(&[rest]).unwrap();
}

#[test]
fn an_old_state_is_punished_and_its_publisher_is_too_late() {
    let mut chain = Regtest::new();
    for (channel, cheat, trader_sat) in [
        (3, Party::Operator, [2_000_000, 8_000_000]),
        (4, Party::Trader, [9_000_000, 500_000]),
    ] {
        chain.mine(1);
        let (terms, mut pair) = fund(&mut chain, channel, trader_sat[0]);
        let at = pair.journals[usize::from(cheat == Party::Operator)]
            .records
            .borrow()
            .len();
        pair.update(1, trader_sat[1]);
        let kit = pair
            .side(cheat.other())
            .kit(chain.script(), 2_000)
            .unwrap()
            .unwrap();
        let (commitment, tx) = old_commitment(&pair, cheat, channel, at);
        assert_eq!(kit.commitment, tx.compute_txid());
        chain.confirm(std::slice::from_ref(&tx)).unwrap();
        assert!(matches!(
            pair.side(cheat.other()).recognise(&tx),
            Spend::PeerRevoked {
                version: 0,
                balance: Some(_)
            }
        ));

        let mut redirected = kit.penalty.clone();
        redirected.output[0].script_pubkey = terms.anchor_script(cheat);
        refused(&mut chain, &redirected, "Invalid Schnorr signature");
        chain.confirm(std::slice::from_ref(&kit.penalty)).unwrap();
        chain.mine(u32::from(OPERATOR_DELAY.max(TRADER_DELAY)));
        let key = pair.side(cheat).payout_key().to_owned();
        let late = commitment
            .balance(cheat)
            .unwrap()
            .claim(&terms, &key, chain.script(), FEE)
            .unwrap();
        refused(&mut chain, &late, "bad-txns-inputs-missingorspent");
    }
}

/// A close confirms, a longer branch drops it, the funding output is unspent again and takes another transaction there;
/// then the first branch grows longest and the close is back.
#[test]
fn a_reorg_drops_a_close_and_brings_it_back() {
    let mut chain = Regtest::new();
    let (terms, mut pair) = fund(&mut chain, 5, 5_000_000);
    pair.update(1, 6_000_000);
    let (before, height) = (chain.tip(), chain.height());
    let balance = pair.trader.begin_close().unwrap();
    assert_eq!(pair.operator.begin_close().unwrap(), balance);
    let close = Cooperative::close(
        &terms,
        &pair.trader.funding(),
        balance,
        [chain.script(), chain.script()],
        FEE,
        Party::Operator,
    )
    .unwrap();
    let close = sign_together(&pair, &close, None);
    let (commitment, exit) = pair.trader.exit(pair.trader.funding().outpoint).unwrap();
    chain.events();

    let with_close = chain.confirm(std::slice::from_ref(&close)).unwrap();
    assert_eq!(chain.events(), [Event::Connected(with_close)]);
    refused(&mut chain, &exit, "bad-txns-inputs-missingorspent");
    chain.events();

    // Branch B: without the close at first; of equal length nothing changes, with one more block the close is gone.
    let b1 = chain.mine_on(before, &[]).unwrap();
    assert_eq!((chain.tip(), chain.events()), (with_close, vec![]));
    let b2 = chain.mine_on(b1, &[]).unwrap();
    assert_eq!(chain.tip(), b2);
    assert_eq!(
        chain.events(),
        [
            Event::Disconnected(with_close),
            Event::Connected(b1),
            Event::Connected(b2)
        ]
    );
    assert!(!chain.contains(close.compute_txid()));
    // The newest commitment spends the funding output here, as it could not there, and the close is void in turn.
    let b3 = chain.confirm(std::slice::from_ref(&exit)).unwrap();
    assert!(chain.contains(exit.compute_txid()));
    refused(&mut chain, &close, "bad-txns-inputs-missingorspent");
    chain.events();

    // Branch A grows longer again: the close is back and what stood on branch B is not.
    let a2 = chain.mine_on(with_close, &[]).unwrap();
    let a3 = chain.mine_on(a2, &[]).unwrap();
    assert_eq!(chain.tip(), b3);
    let a4 = chain.mine_on(a3, &[]).unwrap();
    assert_eq!((chain.tip(), chain.height()), (a4, height + 4));
    let gone = [b3, b2, b1].map(Event::Disconnected);
    let back = [with_close, a2, a3, a4].map(Event::Connected);
    assert_eq!(chain.events(), [&gone[..], &back[..]].concat());
    assert!(chain.contains(close.compute_txid()) && !chain.contains(exit.compute_txid()));
    chain.mine(u32::from(TRADER_DELAY));
    let claim = commitment
        .balance(Party::Trader)
        .unwrap()
        .claim(&terms, pair.trader.payout_key(), chain.script(), FEE)
        .unwrap();
    refused(&mut chain, &claim, "bad-txns-inputs-missingorspent");
}

/// The close itself can be mined again at another height after a reorg: it needs no new signature.
#[test]
fn a_dropped_close_is_mined_again_as_it_is() {
    let mut chain = Regtest::new();
    let (terms, mut pair) = fund(&mut chain, 6, 5_000_000);
    let before = chain.tip();
    let balance = pair.trader.begin_close().unwrap();
    assert_eq!(pair.operator.begin_close().unwrap(), balance);
    let close = Cooperative::close(
        &terms,
        &pair.trader.funding(),
        balance,
        [chain.script(), chain.script()],
        FEE,
        Party::Operator,
    )
    .unwrap();
    let close = sign_together(&pair, &close, None);
    chain.confirm(std::slice::from_ref(&close)).unwrap();
    let b1 = chain.mine_on(before, &[]).unwrap();
    chain.mine_on(b1, &[]).unwrap();
    assert!(!chain.contains(close.compute_txid()));
    chain.confirm(std::slice::from_ref(&close)).unwrap();
    assert!(chain.contains(close.compute_txid()));
}
