//! Every process of a venue is killed at random points while orders, deposits, withdrawals and batches go on. After each round the books are exact to the
//! base unit: what was acknowledged is there, nothing is there twice, and shard, ledger, tree and hub say the same.
//!
//! RING0_KILLED_ROUNDS says how many rounds (20), RING0_SEED repeats a run's choices.

use crate::alone;
use crate::books::{COIN, all_is_exact, begin, trade, traded};
use crate::stage::{PATIENCE, Person, Stage};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use ring0_dev::hub::WHOLE;
use ring0_dev::{Options, Venue, find};
use ring0_engine::record::{Kind, Message};
use ring0_journal::Reader;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use zerocopy::FromBytes;

/// Who may die.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Shard,
    Recorder,
    Signer,
    Settled,
    Gateway,
}

/// Beside the shard's daemon.
const OTHERS: [Victim; 4] = [
    Victim::Recorder,
    Victim::Signer,
    Victim::Settled,
    Victim::Gateway,
];

/// Kills with SIGKILL, and starts again a moment later.
fn kill(venue: &mut Venue, victim: Victim, pause: Duration) {
    let program = match victim {
        Victim::Shard => &mut venue.shard,
        Victim::Recorder => &mut venue.recorder,
        Victim::Signer => &mut venue.signer,
        Victim::Settled => venue.settled.as_mut().unwrap(),
        Victim::Gateway => &mut venue.gateway,
    };
    assert!(!program.has_ended(), "{victim:?} has ended by itself");
    program.kill();
    std::thread::sleep(pause);
    let started = match victim {
        Victim::Shard => venue.start_shard(),
        Victim::Recorder => venue.start_recorder(),
        Victim::Signer => venue.start_signer(),
        Victim::Settled => venue.start_settled(),
        Victim::Gateway => venue.start_gateway(),
    };
    started.unwrap_or_else(|why| panic!("{victim:?} does not come back: {why}"));
}

/// Money goes in, and ten dollars go home.
fn money_moves(stage: &Stage, carol: &mut Person, alice: &mut Person) {
    stage.deposit(carol, COIN, WHOLE);
    stage.deposit(alice, stage.dollar(), 1_000 * WHOLE);
    stage.confirm();
    let (path, token) = (carol.path("withdrawals"), carol.token.clone());
    let mut wish = None;
    let signed = stage.wait("the operator's half", || {
        stage.cosign(carol);
        stage.cosign(alice);
        if let Some(wish) = &wish
            && let Some(signed) = stage.withdrawal(carol, wish, "signed")
        {
            return Some(signed);
        }
        // Asked until it is answered that it was taken: under the pin of then. More than once it is not taken.
        if wish.is_none() {
            let (_, wanted) = stage.wish(carol, "USD", 10 * WHOLE)?;
            let under_way = ["passed", "debiting", "debited", "leaving", "signed"];
            let taken = under_way
                .iter()
                .any(|it| stage.withdrawal(carol, &wanted, it).is_some());
            let asked = || stage.ask(&path, Some(&token), Some(&wanted));
            if taken || matches!(asked(), Some((200..300, _))) {
                wish = Some(wanted);
            }
        }
        None
    });
    stage.take(carol, &signed);
    stage.confirm();
    stage.wait("the end of the withdrawal", || {
        stage.cosign(carol);
        stage.cosign(alice);
        stage.withdrawal(carol, &signed, "paid")
    });
}

#[test]
fn whoever_is_killed_the_books_are_exact() {
    let _alone = alone();
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let seed: u64 = number("RING0_SEED").unwrap_or_else(rand::random);
    let rounds: u64 = number("RING0_KILLED_ROUNDS").unwrap_or(20);
    println!("RING0_SEED={seed}, {rounds} rounds");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let options = Stage::options(folder.path());
    let stage = Stage::up(Options {
        market: options
            .market
            .replacen("[shard]", "[shard]\nacks = \"durable\"", 1),
        ..options
    });
    let (mut people, mut wanted) = begin(&stage);
    let (mut acks, mut trades, mut killed) = (Vec::new(), 0_u64, BTreeMap::new());
    for round in 1..=rounds {
        let mut victims = vec![Victim::Shard];
        let others = random.random_range(1..=2);
        victims.extend(OTHERS.choose_multiple(&mut random, others));
        victims.shuffle(&mut random);
        let mut dies = Vec::new();
        for victim in victims {
            *killed.entry(format!("{victim:?}")).or_insert(0) += 1;
            let wait = Duration::from_millis(random.random_range(0..900));
            let pause = Duration::from_millis(random.random_range(0..80));
            dies.push((victim, wait, pause));
        }
        let over = AtomicBool::new(false);
        let [carol, alice] = &mut people;
        let (mut maker, mut taker) = (alice.trader.take().unwrap(), carol.trader.take().unwrap());
        let first = trades;
        std::thread::scope(|scope| {
            let trading = scope.spawn(|| {
                let mut acks = Vec::new();
                let mut at = first;
                while !over.load(Ordering::Acquire) {
                    acks.push(trade(&mut maker, &mut taker, at % 2 == 0));
                    at += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                acks
            });
            let moving = scope.spawn(|| money_moves(&stage, carol, alice));
            // In this thread: a process ends with the thread that started it.
            let killing = catch_unwind(AssertUnwindSafe(|| {
                for (victim, wait, pause) in &dies {
                    std::thread::sleep(*wait);
                    kill(&mut stage.venue(), *victim, *pause);
                }
            }));
            let moved = moving.join();
            over.store(true, Ordering::Release);
            let new = trading.join().expect("trading goes on");
            moved.expect("money comes and goes");
            if let Err(why) = killing {
                resume_unwind(why);
            }
            trades += new.len() as u64;
            acks.extend(new);
        });
        (alice.trader, carol.trader) = (Some(maker), Some(taker));
        let [of_carol, of_alice] = &mut wanted;
        of_carol.ether += WHOLE;
        of_alice.dollars += 1_000 * WHOLE;
        of_carol.dollars -= 10 * WHOLE;
        (first..trades).for_each(|at| traded(of_alice, of_carol, at % 2 == 0));
        let home = 10 * WHOLE * u128::from(round);
        all_is_exact(&stage, &mut people, wanted, home);
    }
    println!("{trades} trades, killed {killed:?}");
    assert!(trades >= rounds, "nobody traded");

    // Every answer is in the journal, once, with its number; and the journal replays to the shard's own state.
    let found = messages(&stage);
    for ack in acks.iter().flatten() {
        assert_eq!(found.get(&ack.venue_sequence), Some(&1), "{ack:?}");
    }
    let entered: u32 = found.values().sum();
    println!("{} acknowledged, {entered} messages journaled", 2 * trades);
    replays_to_the_shards_state(&stage);
    let mut venue = stage.into_venue();
    assert!(venue.ended().is_empty(), "nothing has ended by itself");
    assert!(venue.down().is_empty(), "everything ends when asked to");
}

/// Traders' messages in the journal, by their sequence: how often.
fn messages(stage: &Stage) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    let mut reader = Reader::open(&stage.folder.join("journal")).unwrap();
    while let Some(record) = reader.next_record().unwrap() {
        let kind = u16::from_le_bytes([record[0], record[1]]);
        if Kind::from_number(kind) == Some(Kind::Message) {
            let (message, _) = Message::read_from_prefix(record).unwrap();
            *found.entry(message.head.sequence).or_insert(0) += 1;
        }
    }
    found
}

fn replays_to_the_shards_state(stage: &Stage) {
    let path = |name: &str| stage.folder.join(name);
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let hash = stage.say("dev", &json!({ "verb": "status", "hash": true }));
        let ran = Command::new(find("ring0").unwrap())
            .args(["journal", "replay", "--json", "--market"])
            .args([path("market.toml"), path("journal")])
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let replayed: Value = serde_json::from_slice(&ran.stdout).unwrap();
        if hash.is_some_and(|it| it["state_hash"] == replayed["state_hash"]) {
            return;
        }
        // A mark or a limit came between.
        assert!(std::time::Instant::now() < end, "{replayed}");
    }
}
