//! What one side of a channel does and refuses: order of steps, durability, restarts, old copies, splices.

mod pair;

use bitcoin::Amount;
use pair::{Memory, Pair, imagined_funding, secrets, state};
use rand::{Rng, SeedableRng, rngs::StdRng};
use ring0_bitcoin::{
    chain::Chain,
    channel::{Channel, Disclosure, Record, Refusal, Spend, Standing},
    commitment::StateError,
    cooperative::Cooperative,
    journal::{FileJournal, JournalError},
    keys::Party,
    terms::Funding,
};

const CHAIN: Chain = Chain::LitecoinRegtest;

fn opened() -> Pair {
    Pair::open(CHAIN, 0, imagined_funding(), 5_000_000)
}

/// Asserts that a step is refused with a pattern and that no record was written.
macro_rules! refused {
    ($pair:expr, $step:expr, $pattern:pat) => {{
        let before = [
            $pair.journals[0].records.borrow().len(),
            $pair.journals[1].records.borrow().len(),
        ];
        let result = $step;
        let error = result.err();
        assert!(matches!(error, Some($pattern)), "{error:?}");
        assert_eq!(
            before,
            [
                $pair.journals[0].records.borrow().len(),
                $pair.journals[1].records.borrow().len()
            ]
        );
    }};
}

#[test]
fn updates_alternate_between_both() {
    let mut pair = opened();
    let start = std::time::Instant::now();
    for version in 1..=40 {
        pair.update(version, 5_000_000 + 1_000 * (version % 7));
        assert_eq!(
            (pair.trader.disclosed(), pair.operator.disclosed()),
            (version, version)
        );
        assert_eq!(
            (pair.trader.peer_disclosed(), pair.operator.peer_disclosed()),
            (version, version)
        );
    }
    println!(
        "{} us an update, both sides",
        start.elapsed().as_micros() / 40
    );
    assert_eq!(pair.trader.state(), Some(state(40, 5_005_000)));
}

/// Rule 14: no signature for a version before the revocation of the one before is durable.
#[test]
fn nothing_is_signed_before_the_revocation_before_it_is_durable() {
    let mut pair = opened();
    pair.exchange(state(1, 6_000_000));
    refused!(
        pair,
        pair.operator.sign(state(2, 7_000_000)),
        Refusal::NotGivenUp {
            party: Party::Trader,
            version: 0
        }
    );
    let disclosure = pair.trader.disclose().unwrap();
    // The disclosure arrived, and could not be made durable: still nothing is signed, now or later.
    *pair.journals[1].failing.borrow_mut() = true;
    refused!(
        pair,
        pair.operator.accept_disclosure(&disclosure),
        Refusal::Journal(_)
    );
    *pair.journals[1].failing.borrow_mut() = false;
    refused!(
        pair,
        pair.operator.sign(state(2, 7_000_000)),
        Refusal::Stopped
    );
    refused!(
        pair,
        pair.operator.sign(state(1, 6_000_000)),
        Refusal::Stopped
    );
    // Loaded again it goes on from what is durable.
    let records = pair.journals[1].records.borrow().clone();
    pair.operator = Channel::resume(
        secrets(Party::Operator, CHAIN, 0),
        pair.journals[1].clone(),
        &records,
    )
    .unwrap();
    refused!(
        pair,
        pair.operator.sign(state(2, 7_000_000)),
        Refusal::NotGivenUp {
            party: Party::Trader,
            version: 0
        }
    );
    pair.operator.accept_disclosure(&disclosure).unwrap();
    pair.operator.sign(state(2, 7_000_000)).unwrap();
}

#[test]
fn the_own_version_is_not_given_up_before_the_next_is_held() {
    let mut pair = opened();
    refused!(
        pair,
        pair.trader.disclose(),
        Refusal::Turn { turn: 1, given: 0 }
    );
    let signature = pair.operator.sign(state(1, 6_000_000)).unwrap();
    pair.trader.sign(state(1, 6_000_000)).unwrap();
    refused!(
        pair,
        pair.trader.disclose(),
        Refusal::Turn { turn: 1, given: 0 }
    );
    // A signature of something else does not count as holding it.
    refused!(
        pair,
        pair.trader.accept(state(1, 6_000_001), signature),
        Refusal::AnotherState(1)
    );
    let other = pair.operator.sign(state(1, 6_000_000)).unwrap();
    let mut broken = *other.as_ref();
    broken[7] ^= 1;
    let broken = bitcoin::secp256k1::schnorr::Signature::from_slice(&broken).unwrap();
    refused!(
        pair,
        pair.trader.accept(state(1, 6_000_000), broken),
        Refusal::Signature(_)
    );
    pair.trader.accept(state(1, 6_000_000), other).unwrap();
    assert_eq!(pair.trader.disclose().unwrap().version, 0);
}

#[test]
fn a_version_has_one_state() {
    let mut pair = opened();
    let signature = pair.operator.sign(state(1, 6_000_000)).unwrap();
    refused!(
        pair,
        pair.operator.sign(state(1, 6_000_001)),
        Refusal::AnotherState(1)
    );
    refused!(
        pair,
        pair.operator.sign(state(3, 6_000_000)),
        Refusal::Turn { turn: 2, given: 3 }
    );
    assert_eq!(
        pair.operator.sign(state(1, 6_000_000)).unwrap(),
        signature,
        "a lost message is sent again"
    );
    // Accepting binds as signing does.
    pair.trader.accept(state(1, 6_000_000), signature).unwrap();
    refused!(
        pair,
        pair.trader.sign(state(1, 6_000_001)),
        Refusal::AnotherState(1)
    );
    refused!(
        pair,
        pair.trader.sign(state(0, 6_000_001)),
        Refusal::AnotherState(0)
    );
    // And survives a restart.
    let records = pair.journals[1].records.borrow().clone();
    pair.operator = Channel::resume(
        secrets(Party::Operator, CHAIN, 0),
        pair.journals[1].clone(),
        &records,
    )
    .unwrap();
    refused!(
        pair,
        pair.operator.sign(state(1, 6_000_001)),
        Refusal::AnotherState(1)
    );
    assert_eq!(pair.operator.sign(state(1, 6_000_000)).unwrap(), signature);
}

#[test]
fn a_balance_above_funding_less_reserve_is_refused() {
    let mut pair = opened();
    let most = imagined_funding().value.to_sat() - pair::RESERVE.to_sat();
    refused!(
        pair,
        pair.operator.sign(state(1, most + 1)),
        Refusal::State(StateError::AboveReserve { .. })
    );
    let mut dear = state(1, most);
    dear.fee_rate_sat_per_kvb = 400_000;
    refused!(
        pair,
        pair.operator.sign(dear),
        Refusal::State(StateError::Reserve { .. })
    );
    pair.exchange(state(1, most));
    pair.give_up();
    pair.update(2, 0);
}

#[test]
fn a_false_secret_is_refused() {
    let mut pair = opened();
    pair.exchange(state(1, 6_000_000));
    let good = pair.trader.disclose().unwrap();
    let stranger = &secrets(Party::Trader, CHAIN, 1).revocation;
    let bad = Disclosure {
        secret: stranger.secret(0),
        ..good.clone()
    };
    refused!(
        pair,
        pair.operator.accept_disclosure(&bad),
        Refusal::WrongSecret(0)
    );
    let early = Disclosure {
        version: 1,
        ..good.clone()
    };
    refused!(
        pair,
        pair.operator.accept_disclosure(&early),
        Refusal::Turn { turn: 0, given: 1 }
    );
    pair.operator.accept_disclosure(&good).unwrap();
    pair.operator.accept_disclosure(&good).unwrap(); // twice is fine
}

#[test]
fn after_a_close_or_an_exit_nothing_is_updated() {
    let mut pair = opened();
    pair.update(1, 6_000_000);
    assert_eq!(
        pair.operator.begin_close().unwrap(),
        Amount::from_sat(6_000_000)
    );
    refused!(
        pair,
        pair.operator.sign(state(2, 7_000_000)),
        Refusal::Over("closing")
    );
    assert_eq!(
        pair.operator.begin_close().unwrap(),
        Amount::from_sat(6_000_000),
        "again, for another fee"
    );
    let (commitment, tx) = pair.operator.exit(imagined_funding().outpoint).unwrap();
    assert_eq!(
        (commitment.state.version, tx.compute_txid()),
        (1, commitment.txid())
    );

    let (_, tx) = pair.trader.exit(imagined_funding().outpoint).unwrap();
    refused!(
        pair,
        pair.trader.sign(state(2, 7_000_000)),
        Refusal::Over("left")
    );
    refused!(pair, pair.trader.begin_close(), Refusal::Over("left"));
    assert!(matches!(pair.trader.recognise(&tx), Spend::Own(1)));
    assert!(matches!(
        pair.operator.recognise(&tx),
        Spend::PeerCurrent(1)
    ));
}

/// What may be signed by the key path: the close or splice that was agreed on, when its time has come.
#[test]
fn only_what_was_agreed_on_is_signed_together() {
    let mut pair = opened();
    pair.update(1, 6_000_000);
    let terms = pair::terms(CHAIN, 0);
    let close = |trader, funding: &Funding| {
        let to = [pair::elsewhere(1), pair::elsewhere(2)];
        let fee = Amount::from_sat(1_000);
        Cooperative::close(
            &terms,
            funding,
            Amount::from_sat(trader),
            to,
            fee,
            Party::Operator,
        )
        .unwrap()
    };
    let good = close(6_000_000, &imagined_funding());
    refused!(pair, pair.trader.signer(&good), Refusal::NotClosing);
    let value = Amount::from_sat(9_999_000);
    let splice = Cooperative::splice(&terms, &imagined_funding(), value, vec![], vec![]).unwrap();
    refused!(pair, pair.trader.signer(&splice), Refusal::NoSplice);
    pair.trader.begin_close().unwrap();
    drop(pair.trader.signer(&good).unwrap());
    refused!(
        pair,
        pair.trader.signer(&close(6_000_001, &imagined_funding())),
        Refusal::NotAgreed
    );
    refused!(
        pair,
        pair.trader.signer(&close(6_000_000, &spliced())),
        Refusal::NotAgreed
    );
    refused!(pair, pair.trader.signer(&splice), Refusal::NoSplice);

    let mut pair = opened();
    pair.trader
        .begin_splice(splice.new_funding().unwrap())
        .unwrap();
    pair.operator
        .begin_splice(splice.new_funding().unwrap())
        .unwrap();
    refused!(pair, pair.trader.signer(&splice), Refusal::NoSplice);
    pair.exchange(state(1, 4_000_000));
    drop(pair.trader.signer(&splice).unwrap());
    let other = Cooperative::splice(
        &terms,
        &imagined_funding(),
        value - Amount::from_sat(1),
        vec![],
        vec![],
    )
    .unwrap();
    refused!(pair, pair.trader.signer(&other), Refusal::NotAgreed);
}

/// A restored old copy that publishes would be punished: it learns so from the other party's proof and refuses.
#[test]
fn an_old_copy_publishes_nothing() {
    let mut pair = opened();
    pair.update(1, 6_000_000);
    let old = pair.journals[0].records.borrow().clone();
    pair.update(2, 7_000_000);
    pair.update(3, 4_000_000);
    let journal = Memory::default();
    *journal.records.borrow_mut() = old.clone();
    let mut restored =
        Channel::resume(secrets(Party::Trader, CHAIN, 0), journal.clone(), &old).unwrap();

    let mut lie = pair.operator.hello();
    lie.proof = Some(secrets(Party::Operator, CHAIN, 0).revocation.secret(2));
    assert!(matches!(restored.compare(&lie), Err(Refusal::FalseProof)));
    assert_eq!(
        restored.compare(&pair.operator.hello()).unwrap(),
        Standing::WeAreBehind
    );
    assert!(matches!(
        restored.exit(imagined_funding().outpoint),
        Err(Refusal::Behind)
    ));
    assert!(matches!(
        restored.sign(state(2, 7_000_000)),
        Err(Refusal::Behind)
    ));
    // Also after the next restart.
    let records = journal.records.borrow().clone();
    let mut again = Channel::resume(secrets(Party::Trader, CHAIN, 0), journal, &records).unwrap();
    assert!(matches!(
        again.exit(imagined_funding().outpoint),
        Err(Refusal::Behind)
    ));
    // And the other side notices.
    assert_eq!(
        pair.operator.compare(&again.hello()).unwrap(),
        Standing::PeerIsBehind
    );
}

#[test]
fn a_lost_disclosure_is_sent_again() {
    let mut pair = opened();
    pair.exchange(state(1, 6_000_000));
    let lost = pair.trader.disclose().unwrap();
    assert_eq!(
        pair.trader.compare(&pair.operator.hello()).unwrap(),
        Standing::SendAgain(lost.clone())
    );
    pair.operator.accept_disclosure(&lost).unwrap();
    assert_eq!(
        pair.trader.compare(&pair.operator.hello()).unwrap(),
        Standing::InStep
    );
}

/// What a tower must be told is told again after a crash between disclosure and delivery.
#[test]
fn a_kit_survives_a_restart() {
    let mut pair = opened();
    assert_eq!(pair.operator.kit(pair::elsewhere(1), 2_000).unwrap(), None);
    pair.update(1, 6_000_000);
    pair.update(2, 100);
    let before = pair
        .operator
        .kit(pair::elsewhere(1), 2_000)
        .unwrap()
        .unwrap();
    let records = pair.journals[1].records.borrow().clone();
    let operator = secrets(Party::Operator, CHAIN, 0);
    pair.operator = Channel::resume(operator, Memory::default(), &records).unwrap();
    let after = pair
        .operator
        .kit(pair::elsewhere(1), 2_000)
        .unwrap()
        .unwrap();
    assert_eq!((before.version, before.commitment), (1, after.commitment));
    let txid = |kit: &ring0_bitcoin::tower::Kit| kit.penalty.compute_txid();
    assert_eq!(txid(&before), txid(&after));
    // Nothing is worth taking where the trader had dust.
    pair.update(3, 7_000_000);
    assert_eq!(pair.operator.kit(pair::elsewhere(1), 2_000).unwrap(), None);
}

#[test]
fn other_keys_do_not_resume() {
    let pair = opened();
    let records = pair.journals[0].records.borrow().clone();
    let result = Channel::resume(
        secrets(Party::Trader, CHAIN, 1),
        Memory::default(),
        &records,
    );
    assert!(matches!(
        result.err(),
        Some(Refusal::OtherKeys(Party::Trader))
    ));
    let mut shuffled = records.clone();
    shuffled.push(Record::Disclosed(0));
    let result = Channel::resume(
        secrets(Party::Trader, CHAIN, 0),
        Memory::default(),
        &shuffled,
    );
    assert!(matches!(result.err(), Some(Refusal::Replay(3))));
}

fn spliced() -> Funding {
    let mut funding = imagined_funding();
    funding.outpoint.vout = 7;
    funding.value += Amount::from_sat(3_000_000);
    funding
}

/// While a splice is not confirmed, the version on the old output stays the one to publish on it.
#[test]
fn a_splice_keeps_the_old_version_until_it_confirms() {
    let mut pair = opened();
    pair.update(1, 6_000_000);
    for party in [Party::Trader, Party::Operator] {
        pair.side(party).begin_splice(spliced()).unwrap();
        assert!(pair.side(party).splice_signable().is_err());
    }
    refused!(pair, pair.trader.splice_confirmed(), Refusal::NoSplice);
    pair.exchange(state(2, 9_000_000));
    pair.trader.splice_signable().unwrap();
    pair.operator.splice_signable().unwrap();
    refused!(pair, pair.trader.disclose(), Refusal::SplicePending);
    refused!(pair, pair.trader.begin_close(), Refusal::SplicePending);
    refused!(
        pair,
        pair.trader.begin_splice(imagined_funding()),
        Refusal::SplicePending
    );
    for party in [Party::Trader, Party::Operator] {
        pair.side(party).splice_confirmed().unwrap();
    }
    pair.give_up();
    pair.update(3, 10_000_000);
    assert_eq!(pair.trader.funding(), spliced());
    let (commitment, _) = pair.trader.exit(spliced().outpoint).unwrap();
    assert_eq!(
        (commitment.state, commitment.funding),
        (state(3, 10_000_000), spliced())
    );
}

#[test]
fn an_abandoned_splice_leaves_the_old_version() {
    let mut pair = opened();
    pair.update(1, 6_000_000);
    pair.trader.begin_splice(spliced()).unwrap();
    pair.operator.begin_splice(spliced()).unwrap();
    pair.exchange(state(2, 9_000_000));
    pair.trader.splice_abandoned().unwrap();
    refused!(pair, pair.trader.disclose(), Refusal::Over(_));
    refused!(
        pair,
        pair.trader.sign(state(3, 6_500_000)),
        Refusal::Over(_)
    );
    assert_eq!(
        pair.trader.begin_close().unwrap(),
        Amount::from_sat(6_000_000)
    );
    let (commitment, _) = pair.trader.exit(imagined_funding().outpoint).unwrap();
    assert_eq!(commitment.state, state(1, 6_000_000));
    // Nothing signed on it yet: the channel goes on.
    let mut pair = opened();
    pair.trader.begin_splice(spliced()).unwrap();
    pair.trader.splice_abandoned().unwrap();
    pair.update(1, 6_000_000);
}

/// Both sides with lost messages and crashes in any place: at every moment each can leave with a state both agreed on, and
/// what the other gave up it can punish.
#[test]
fn loss_and_crashes_leave_both_able_to_exit() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = opened();
    let mut agreed = vec![state(0, 5_000_000)];
    for _ in 0..250 {
        let party = if random.random() {
            Party::Trader
        } else {
            Party::Operator
        };
        let newest = |pair: &mut Pair, party| pair.side(party).state().unwrap().version;
        match random.random_range(0..6) {
            0 | 1 => {
                // Signs what was agreed for its turn; the message may be lost, or come twice.
                let turn = (newest(&mut pair, party.other()) + 1).min(agreed.len() as u64);
                if turn == agreed.len() as u64 {
                    agreed.push(state(turn, random.random_range(0..9_000_000)));
                }
                let state = agreed[turn as usize];
                if let Ok(signature) = pair.side(party).sign(state) {
                    for _ in 0..random.random_range(0..3) {
                        let _ = pair.side(party.other()).accept(state, signature);
                    }
                }
            }
            2 | 3 => {
                if let Ok(disclosure) = pair.side(party).disclose() {
                    for _ in 0..random.random_range(0..3) {
                        let _ = pair.side(party.other()).accept_disclosure(&disclosure);
                    }
                }
            }
            4 => {
                let journal = pair.journals[usize::from(party == Party::Operator)].clone();
                let records = journal.records.borrow().clone();
                *pair.side(party) =
                    Channel::resume(secrets(party, CHAIN, 0), journal, &records).unwrap();
            }
            _ => {
                let hello = pair.side(party).hello();
                match pair.side(party.other()).compare(&hello).unwrap() {
                    Standing::InStep => {}
                    Standing::SendAgain(disclosure) => {
                        pair.side(party).accept_disclosure(&disclosure).unwrap()
                    }
                    standing => panic!("{standing:?}"),
                }
            }
        }
        // Leave, on a copy, and judge the other side's exit.
        for party in [Party::Trader, Party::Operator] {
            let journal = &pair.journals[usize::from(party == Party::Operator)];
            let copy = Memory::default();
            copy.records
                .borrow_mut()
                .clone_from(&journal.records.borrow());
            let records = copy.records.borrow().clone();
            let mut leaving = Channel::resume(secrets(party, CHAIN, 0), copy, &records).unwrap();
            let (commitment, tx) = leaving.exit(imagined_funding().outpoint).unwrap();
            assert_eq!(commitment.state, agreed[commitment.state.version as usize]);
            assert!(
                commitment.state.version >= leaving.disclosed(),
                "publishes what it gave up"
            );
            assert!(
                matches!(pair.side(party.other()).recognise(&tx), Spend::PeerCurrent(version) if version == commitment.state.version)
            );
            let apart = pair
                .side(party.other())
                .state()
                .unwrap()
                .version
                .abs_diff(commitment.state.version);
            assert!(apart <= 1, "sides are {apart} versions apart");
        }
    }
    println!("{} versions", agreed.len());
    assert!(
        agreed.len() > 10,
        "the test does not get on: {} versions",
        agreed.len()
    );
}

#[test]
fn a_journal_in_a_file_survives_a_torn_line_and_shows_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("channel.journal");
    let trader = secrets(Party::Trader, CHAIN, 0);
    let mut operator = Pair::open(CHAIN, 0, imagined_funding(), 5_000_000).operator;
    let (journal, none) = FileJournal::open(&path).unwrap();
    assert!(none.is_empty());
    assert!(matches!(
        FileJournal::open(&path),
        Err(JournalError::InUse(_))
    ));
    let points = Channel::<Memory>::first_points(&secrets(Party::Operator, CHAIN, 0));
    let mut channel = Channel::open(
        pair::terms(CHAIN, 0),
        Party::Trader,
        trader,
        imagined_funding(),
        points,
        journal,
    )
    .unwrap();
    channel.sign(state(0, 5_000_000)).unwrap();
    channel
        .accept(
            state(0, 5_000_000),
            operator.sign(state(0, 5_000_000)).unwrap(),
        )
        .unwrap();
    drop(channel);

    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], b"0123 {\"disclo"].concat()).unwrap();
    let (journal, records) = FileJournal::open(&path).unwrap();
    assert_eq!(records.len(), 3);
    let mut channel = Channel::resume(secrets(Party::Trader, CHAIN, 0), journal, &records).unwrap();
    assert_eq!(channel.state(), Some(state(0, 5_000_000)));
    channel
        .accept(
            state(1, 5_500_000),
            operator.sign(state(1, 5_500_000)).unwrap(),
        )
        .unwrap();
    drop(channel);
    assert_eq!(FileJournal::open(&path).unwrap().1.len(), 4);

    let mut damaged = std::fs::read(&path).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    assert!(matches!(
        FileJournal::open(&path),
        Err(JournalError::Damaged { .. })
    ));
}
