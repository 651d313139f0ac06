//! Equation (i) of CUSTODY 13 against the engine itself: behind every command of a seeded flow the ledger has of every account and asset what the shard
//! has, available and held; and every book is what the postings sum to.

mod naive;

use naive::{Naive, number_of, seed};
use ring0_engine::flow::{Flow, Input, Options, Profile};
use ring0_engine::limits::{AMOUNT_MAX, SHARDS_MAX};
use ring0_engine::native::{Dropped, Native};
use ring0_engine::{Recorder, Shard, copy_outbox};
use ring0_settlement::{
    AccountId, Asset, AssetId, Fact, Ledger, Peer, PeerId, Records, SettlementError, Venue,
    first_difference,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// Numbers of rails, among those that the flow's transfers name.
const RAILS: [u32; 2] = [1, 7];
const SHARD: PeerId = PeerId(0);

/// The flow's venue: its assets with units of every size, and of the peers that its transfers name some rails.
fn venue() -> Venue {
    let capacity = Flow::capacity();
    let assets = (0..capacity.assets).map(|index| Asset {
        name: format!("A{index}"),
        decimals: 18,
        unit_exponent: [0, 3, 9, 18][index as usize % 4],
    });
    let peer = |number| Peer {
        name: format!("p{number}"),
        number: PeerId(number),
    };
    let (rails, shards) = (0..SHARDS_MAX)
        .map(peer)
        .partition(|it| RAILS.contains(&it.number.0));
    Venue::new(
        assets.collect(),
        shards,
        rails,
        Vec::new(),
        capacity.accounts,
    )
    .unwrap()
}

/// Looks at the shard whenever a command is done.
struct Auditor {
    ledger: RefCell<Ledger>,
    naive: RefCell<Naive>,
    bytes: RefCell<Vec<u8>>,
    commands: Cell<u64>,
    /// Outflows that once reached the end of their range, where the engine lets them stay.
    clamped: RefCell<BTreeSet<(u32, u32)>>,
}

impl Recorder for Auditor {
    fn free(&self) -> u64 {
        u64::MAX
    }

    fn reserve(&self) -> u64 {
        0
    }

    fn publish(&self, shard: Shard<'_>, slots: u32) {
        let mut bytes = Vec::new();
        copy_outbox(shard, slots, |_, words| {
            for word in &words.word {
                bytes.extend_from_slice(&word.get().to_le_bytes());
            }
        });
        let mut ledger = self.ledger.borrow_mut();
        ledger.take(SHARD, &bytes).unwrap();
        self.naive.borrow_mut().take(SHARD, &bytes);
        self.bytes.borrow_mut().extend(bytes);
        self.commands.set(self.commands.get() + 1);
        let capacity = Flow::capacity();
        for account in 0..capacity.accounts {
            for asset in 0..capacity.assets {
                let (available, held, outflow, _) = shard.balances(account, asset);
                let (of, asset_id) = (AccountId(account), AssetId(asset));
                let has = ledger.trading(SHARD, of, asset_id);
                assert_eq!(
                    i128::from(has),
                    i128::from(available) + i128::from(held),
                    "account {account}, asset {asset} behind record {}",
                    ledger.at()[0]
                );
                let mut clamped = self.clamped.borrow_mut();
                if outflow.unsigned_abs() >= AMOUNT_MAX {
                    clamped.insert((account, asset));
                }
                if !clamped.contains(&(account, asset)) {
                    assert_eq!(ledger.outflow(SHARD, of, asset_id), outflow);
                }
            }
        }
    }
}

fn run(seed: u64, profile: Profile, commands: u64) -> Auditor {
    let mut flow = Flow::new(seed, Options { profile });
    let auditor = Auditor {
        ledger: RefCell::new(Ledger::new(venue())),
        naive: RefCell::new(Naive::new(venue())),
        bytes: RefCell::default(),
        commands: Cell::new(0),
        clamped: RefCell::default(),
    };
    let mut native = Native::with_recorder(&Flow::capacity(), auditor).unwrap();
    let mut input = Input::Control(flow.setup());
    let mut learnt = 0;
    while native.recorder().commands.get() < commands {
        let boot_ns = flow.boot_ns();
        match &input {
            Input::Packet(payload) => match native.packet(payload, boot_ns, None) {
                Ok((_, answer)) => flow.observe(Some(&answer)),
                Err(Dropped::UnknownSession) => flow.observe(None),
                Err(cause) => panic!("the flow's packets are well-formed: {cause:?}"),
            },
            Input::Control(controls) => drop(native.control(controls, boot_ns)),
            Input::Steps => native.steps(),
        }
        let bytes = native.recorder().bytes.borrow();
        flow.learn(&bytes[learnt..]);
        learnt = bytes.len();
        drop(bytes);
        input = flow.next_input();
    }
    // The auditor goes; the shard stays behind.
    let taken = native.recorder();
    Auditor {
        ledger: RefCell::new(taken.ledger.borrow().clone()),
        naive: RefCell::new(std::mem::replace(
            &mut taken.naive.borrow_mut(),
            Naive::new(venue()),
        )),
        bytes: RefCell::new(taken.bytes.take()),
        commands: taken.commands.clone(),
        clamped: RefCell::default(),
    }
}

#[test]
fn the_ledger_has_what_the_engine_has_behind_every_command() {
    let seed = seed();
    let wanted = number_of("RING0_COMMANDS", 400_000) / 8;
    let mut kinds = BTreeSet::new();
    let (mut fills, mut commands) = (0, 0);
    for (turn, profile) in Profile::PURE.into_iter().enumerate() {
        let auditor = run(seed.wrapping_add(turn as u64), profile, wanted);
        let (ledger, naive) = (auditor.ledger.borrow(), auditor.naive.borrow());
        assert_eq!(ledger.books(), naive.books());
        for asset in ledger.venue().asset_ids() {
            let of = ledger.books().into_iter().filter(|(_, it, _)| *it == asset);
            let sum: i128 = of.map(|(.., amount)| amount).sum();
            assert_eq!(sum, 0, "{asset}");
        }
        assert_eq!(ledger.sums(), ledger.control());
        kinds.extend(
            naive
                .postings
                .iter()
                .map(|it| it.book.key()[0] as u32 * 256 + u32::from(it.book.key()[9])),
        );
        // Given in other pieces, and given twice, it is the same ledger.
        let bytes = auditor.bytes.borrow();
        let mut again = Ledger::new(venue());
        let (mut at, mut end) = (0, 0);
        let mut random = naive::Random(seed);
        while at < bytes.len() {
            end = (end.max(at) + random.below(4096) as usize).min(bytes.len());
            at += again.take(SHARD, &bytes[at..end]).unwrap().bytes;
            if random.below(50) == 0 {
                let back = ring0_engine::limits::SLOT_LEN;
                assert_eq!(again.take(SHARD, &bytes[..back * 8]).unwrap().records, 0);
            }
        }
        assert!(again.image() == ledger.image());
        fills += ledger.counts().fills;
        commands += auditor.commands.get();
    }
    println!("{commands} commands, {fills} fills");
    // Trades, transfers both ways, hand-outs, every part of fees.
    for tag in [1, 2, 3, 4, 12] {
        assert!(kinds.contains(&(tag * 256)), "no posting of book {tag}");
    }
    for part in 0..5 {
        assert!(kinds.contains(&(9 * 256 + part)), "no fee of part {part}");
    }
}

/// A record of the shard is not the one that moved money: the replay finds the first one behind which ledger and shard differ.
#[test]
fn the_first_differing_record_is_found() {
    let seed = seed();
    let auditor = run(seed, Profile::Calm, 4000);
    let bytes = auditor.bytes.borrow();
    let asset = AssetId(0);
    let records: Vec<&[u8]> = naive::records(&bytes).collect();
    // What the shard had behind each record, by a second ledger; from one record on with a unit too much.
    let mut sums = Vec::new();
    let mut replica = Ledger::new(venue());
    for record in &records {
        replica.take(SHARD, record).unwrap();
        let unit = replica.venue().unit(asset) as i128;
        sums.push((replica.trading_sums()[0] / unit) as u128);
    }
    let until = records.len() as u64;
    // What the replica had, once asked behind each record and once behind every tenth.
    let find = |wrong: usize, every: usize| {
        let mut behind = 0;
        let mut ledger = Ledger::new(venue());
        let mut all = All(records.iter().copied());
        first_difference(&mut ledger, SHARD, asset, &mut all, until, |_| {
            behind += 1;
            let sum = sums[behind - 1] + u128::from(behind >= wrong);
            Ok::<_, SettlementError>((behind % every == 0).then_some(sum))
        })
        .unwrap()
    };
    for wrong in [1_usize, records.len() / 2, records.len()] {
        let found = find(wrong, 1).unwrap();
        assert_eq!(found.sequence, wrong as u64);
        assert_eq!(found.engine, found.ledger + 1);
        let seldom = find(wrong, 10).map(|it| it.sequence);
        let next = wrong.next_multiple_of(10);
        assert_eq!(seldom, (next <= records.len()).then_some(next as u64));
    }
    assert_eq!(find(usize::MAX, 1), None);
}

/// Records in memory.
struct All<'a, I: Iterator<Item = &'a [u8]>>(I);

impl<'a, I: Iterator<Item = &'a [u8]>> Records for All<'a, I> {
    fn next(&mut self) -> Result<Option<&[u8]>, ring0_journal::JournalError> {
        Ok(self.0.next())
    }
}

#[test]
fn a_gap_is_an_error_and_changes_nothing_and_facts_wait_for_their_records() {
    let auditor = run(seed(), Profile::Calm, 500);
    let bytes = auditor.bytes.borrow();
    let records: Vec<&[u8]> = naive::records(&bytes).collect();
    let mut ledger = Ledger::new(venue());
    ledger.take(SHARD, records[0]).unwrap();
    let before = ledger.image();
    let gap = ledger.take(SHARD, records[2]).unwrap_err();
    assert!(
        gap.to_string()
            .starts_with("record 2 of peer 0 is missing: 3 comes"),
        "{gap}"
    );
    assert!(ledger.image() == before);
    let mut entry = ledger.entry(Fact::Received {
        rail: PeerId(7),
        number: 1,
        account: AccountId(0),
        asset: AssetId(0),
        amount: 5,
    });
    entry.at[0] = 2;
    let refused = ledger.apply(&entry).unwrap_err();
    assert!(
        refused.to_string().contains("counts after record 2"),
        "{refused}"
    );
    ledger.take(SHARD, records[1]).unwrap();
    ledger.apply(&entry).unwrap();
    let image = ledger.image();
    ledger.apply(&entry).unwrap();
    assert!(ledger.image() == image, "a fact counts once");
    assert!(
        ledger.take(PeerId(7), records[0]).is_err(),
        "a rail has no records"
    );
}
