//! The ledger against a small exchange with shards, hubs and a rail: every book is what the postings sum to, every cut reconciles, one unit of
//! difference anywhere is found in its asset and nowhere else; and from the journals alone, or from an old store, the same ledger comes again.

mod naive;
#[path = "world/mod.rs"]
mod small;

use naive::{Random, number_of, seed};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use ring0_channels::B256;
use ring0_channels::batch::Built;
use ring0_engine::limits::SLOT_LEN;
use ring0_settlement::book::Own;
use ring0_settlement::reconcile::TreeFigure;
use ring0_settlement::{
    AccountId, AssetId, Cover, Difference, Equation, Fact, Figures, Ledger, Purse, Records,
    Refused, Settlement, SettlementError, StoreError, reconcile,
};
use small::{ACCOUNTS, Event, SHARDS, World, venue};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn take(ledger: &mut Ledger, events: &[Event]) {
    for event in events {
        match event {
            Event::Record(shard, bytes) => {
                ledger.take(SHARDS[*shard], bytes).unwrap();
            }
            Event::Fact(fact) => {
                ledger.judge(fact).unwrap();
                let entry = ledger.entry(fact.clone());
                ledger.apply(&entry).unwrap();
                // Told again it is known, and changes nothing; what is not known again is no fact of a chain or a rail.
                match ledger.judge(fact) {
                    Err(Refused::Known(_) | Refused::Unknown(_)) => {}
                    again => assert!(
                        matches!(
                            fact,
                            Fact::Funded { .. }
                                | Fact::DustTaken { .. }
                                | Fact::Reserved { .. }
                                | Fact::Claimed { .. }
                                | Fact::Credited { .. }
                        ),
                        "{fact:?} again: {again:?}"
                    ),
                }
            }
        }
    }
}

/// The trees of the last batch, as a signer builds them, and their sums.
fn trees(ledger: &Ledger) -> Vec<TreeFigure> {
    let leaves = ledger.leaves();
    if leaves.is_empty() {
        return Vec::new();
    }
    let epoch = ledger.epoch().0.try_into().unwrap();
    let built = Built::new(epoch, B256::ZERO, leaves).unwrap();
    let places = ledger.venue().places();
    let mut trees = Vec::new();
    for (place, it) in (0..).zip(places) {
        let sums = built.sums(&it.hub, it.token).unwrap_or_default();
        let own = ledger.batch().places[place as usize];
        assert_eq!((sums.balance, sums.excess), (own.balance, own.excess));
        trees.push(TreeFigure {
            place,
            balance: sums.balance,
        });
    }
    trees
}

fn only(found: &[Difference], asset: AssetId, equation: Equation) {
    let equations: Vec<Equation> = found.iter().map(|it| it.equation).collect();
    assert!(equations.contains(&equation), "{found:?}");
    for difference in found {
        assert_eq!(difference.asset, asset, "{difference}");
        let apart = difference.left - difference.right;
        assert_eq!(apart.abs(), 1, "{difference}");
    }
}

/// One unit too much in one figure at a time.
fn inject(ledger: &Ledger, figures: &Figures) -> usize {
    let batch = ledger.batch();
    let mut injected = 0;
    let mut check = |figures: &Figures, asset, equation| {
        only(&reconcile(ledger, batch, figures), asset, equation);
        injected += 1;
    };
    // What the engine has, in engine units: of the asset whose engine unit is a base unit.
    let mut wrong = figures.clone();
    wrong.engine[2].units += 1;
    check(&wrong, AssetId(2), Equation::Customers);
    for at in 0..figures.trees.len() {
        let mut wrong = figures.clone();
        wrong.trees[at].balance += 1;
        let asset = ledger.venue().places()[at].asset;
        check(&wrong, asset, Equation::Entitlements);
    }
    for at in 0..figures.hubs.len() {
        let asset = ledger.venue().places()[at].asset;
        let mut wrong = figures.clone();
        wrong.hubs[at].balance += 1;
        check(&wrong, asset, Equation::Hub);
        let mut wrong = figures.clone();
        wrong.hubs[at].vault += 1;
        check(&wrong, asset, Equation::Hub);
    }
    let mut wrong = figures.clone();
    wrong.rails[0].balance += 1;
    check(&wrong, AssetId(2), Equation::Operator);
    // The operator's books, by a fact that the chain knows nothing of.
    for (place, asset) in [(0, AssetId(0)), (1, AssetId(1))] {
        let mut ledger = ledger.clone();
        let fact = Fact::Funded {
            purse: Purse::Vault(place),
            own: Own::Bond,
            asset,
            amount: 1,
        };
        let entry = ledger.entry(fact);
        ledger.apply(&entry).unwrap();
        only(
            &reconcile(&ledger, batch, figures),
            asset,
            Equation::Operator,
        );
        injected += 1;
    }
    injected
}

#[test]
fn books_are_what_postings_sum_to_and_every_cut_reconciles() {
    let seed = seed();
    let steps = number_of("RING0_STEPS", 6_000);
    let mut world = World::new(seed);
    let mut ledger = Ledger::new(venue());
    let (mut taken, mut cuts, mut injected, mut marks) = (0, 0, 0, 0);
    let mut facts = BTreeSet::new();
    let mut lowest = i128::MAX;
    for step in 0..steps {
        world.step(&ledger);
        take(&mut ledger, &world.events[taken..]);
        for event in &world.events[taken..] {
            if let Event::Fact(fact) = event {
                let json = serde_json::to_value(fact).unwrap();
                facts.extend(json.as_object().and_then(|it| it.keys().next().cloned()));
            }
        }
        taken = world.events.len();
        if step % 40 != 39 {
            continue;
        }
        let before: BTreeMap<B256, u64> = ledger
            .channels()
            .map(|(id, it)| (id, it.leaf.map_or(0, |leaf| leaf.version)))
            .collect();
        world.cut(&ledger);
        take(&mut ledger, &world.events[taken..]);
        taken = world.events.len();
        cuts += 1;
        let books = ledger.books();
        assert_eq!(books, world.naive.books(), "step {step}");
        for asset in ledger.venue().asset_ids() {
            let of = books.iter().filter(|(_, it, _)| *it == asset);
            assert_eq!(of.map(|(.., amount)| amount).sum::<i128>(), 0);
        }
        let figures = world.figures(trees(&ledger));
        let batch = ledger.batch();
        assert_eq!(reconcile(&ledger, batch, &figures), [], "step {step}");
        if cuts % 10 == 0 && figures.trees.len() == 3 {
            injected += inject(&ledger, &figures);
        }
        // What is covered is what was open at the cut, and a new state has the next version.
        for cover in &batch.covers {
            let open = ledger.outflow(cover.shard, cover.account, cover.asset);
            assert_eq!(ledger.uncovered(cover), open);
            assert_ne!(open, 0);
        }
        let touched: BTreeSet<B256> = ledger.touched().collect();
        for (id, channel) in ledger.channels().filter(|(_, it)| !it.closed) {
            let version = channel.leaf.map_or(0, |it| it.version);
            let last = before[&id];
            assert_eq!(version, last + u64::from(touched.contains(&id)), "{id}");
        }
        marks += ledger.marks(&batch.covers).count();
        let solvent = batch.solvency(&world.vault_figures());
        let excess = batch.places.iter().zip(world.vault_figures());
        assert_eq!(
            solvent.is_ok(),
            excess.clone().all(|(it, vault)| it.excess <= vault)
        );
        lowest = lowest.min(batch.outside.iter().copied().min().unwrap_or(0));
        // A cut with nothing before it is empty.
        if cuts % 7 == 0 {
            let covers: Vec<Cover> = ledger
                .batch()
                .covers
                .iter()
                .map(|it| Cover {
                    epoch: it.epoch.next(),
                    ..*it
                })
                .collect();
            world.cut(&ledger);
            let renew = matches!(
                world.events.last(),
                Some(Event::Fact(Fact::Cut { renew: true, .. }))
            );
            take(&mut ledger, &world.events[taken..]);
            taken = world.events.len();
            assert_eq!(ledger.batch().accounts, []);
            assert_eq!(ledger.batch().covers, covers, "a mark is still owed");
            assert!(renew || ledger.touched().count() == 0);
        }
    }
    // Whole again, from the events in one go.
    let mut again = Ledger::new(venue());
    take(&mut again, &world.events);
    assert!(again.image() == ledger.image());
    let counts = ledger.counts();
    println!(
        "{cuts} cuts, {} facts of {} kinds, {counts:?}, {injected} units injected, {marks} marks, lowest outside {lowest}",
        ledger.facts(),
        facts.len()
    );
    assert!(injected > 0 && marks > 0 && ledger.unbacked().is_empty());
    let names = facts.into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(
        names,
        "absorbed claimed closed credited deposited disputed dust-taken funded lapsed opened paid rebalanced received \
         reserved seen unseen withdrawn"
    );
}

/// A shard's journal in memory.
#[derive(Clone, Default)]
struct Tape {
    records: Vec<Vec<u8>>,
    at: usize,
}

impl Records for Tape {
    fn next(&mut self) -> Result<Option<&[u8]>, ring0_journal::JournalError> {
        let next = self.records.get(self.at);
        self.at += usize::from(next.is_some());
        Ok(next.map(Vec::as_slice))
    }
}

fn open(folder: &Path, tapes: &[Tape; 2]) -> Result<Settlement, SettlementError> {
    let mut settlement = Settlement::open(folder, venue())?;
    let [mut a, mut b] = tapes.clone();
    settlement.catch_up(&mut [&mut a, &mut b])?;
    Ok(settlement)
}

fn shown((key, value): &(Vec<u8>, Vec<u8>)) -> String {
    format!("{key:?}: {}", String::from_utf8_lossy(value))
}

fn check_statements(settlement: &mut Settlement) -> usize {
    let last = settlement.ledger().epoch().0;
    let mut lines = 0;
    for account in (0..ACCOUNTS).map(AccountId) {
        let whole = settlement.statement(account, 1..=last).unwrap();
        assert!(whole.sums());
        let middle = last.div_ceil(2);
        let parts = [1..=middle, middle + 1..=last].map(|it| match it.is_empty() {
            true => None,
            false => Some(settlement.statement(account, it).unwrap()),
        });
        for asset in &whole.assets {
            assert_eq!(
                asset.opening, 0,
                "nobody had anything before the first batch"
            );
            let id = settlement.ledger().venue().asset(&asset.asset).unwrap();
            let closing = settlement.ledger().balance_at_cut(account, id);
            assert_eq!(asset.closing, closing);
            // Two halves are the whole.
            let mut balance = 0;
            for half in parts.iter().flatten() {
                assert!(half.sums());
                if let Some(half) = half.assets.iter().find(|it| it.asset == asset.asset) {
                    assert_eq!(half.opening, balance);
                    balance = half.closing;
                }
            }
            assert_eq!(balance, closing);
            lines += asset.lines.len();
        }
        let read: ring0_settlement::Statement = serde_json::from_str(&whole.json()).unwrap();
        assert_eq!((read.hash(), &read), (whole.hash(), &whole));
        assert!(whole.text().contains(&whole.hash().to_string()));
    }
    lines
}

/// A batch that is co-signed late, behind a later one, asks for no mark: the later one covered what it does.
#[test]
fn a_late_batch_marks_nothing_that_a_later_one_covered() {
    let mut world = World::new(seed());
    let mut ledger = Ledger::new(venue());
    let (mut taken, mut batches) = (0, Vec::new());
    let mut go_on = |world: &mut World, ledger: &mut Ledger| {
        take(ledger, &world.events[taken..]);
        taken = world.events.len();
    };
    for _ in 0..6 {
        for _ in 0..200 {
            world.trade_only();
            go_on(&mut world, &mut ledger);
        }
        world.cut(&ledger);
        go_on(&mut world, &mut ledger);
        batches.push(ledger.batch().covers.clone());
    }
    let (first, last) = (batches[0].clone(), batches[5].clone());
    let owed = |ledger: &Ledger, covers: &[Cover]| ledger.marks(covers).count();
    assert!(owed(&ledger, &first) > 0 && owed(&ledger, &last) > 0);
    let account = last[0].account;
    // Half of a batch's marks, then the rest: each once.
    while owed(&ledger, &last) > 0 {
        let mark = ledger.marks(&last).next().unwrap();
        world.mark(&mark, last[0].epoch);
        let before = owed(&ledger, &last);
        go_on(&mut world, &mut ledger);
        assert_eq!(owed(&ledger, &last), before - 1);
    }
    let own: Vec<Cover> = first
        .into_iter()
        .filter(|it| it.account == account)
        .collect();
    assert_eq!(owed(&ledger, &own), 0);
    for cover in &last {
        assert_eq!(ledger.outflow(cover.shard, cover.account, cover.asset), 0);
    }
}

#[test]
fn from_the_journals_or_an_old_store_the_same_ledger_comes_again() {
    let seed = seed();
    let steps = number_of("RING0_STEPS", 500);
    let mut random = Random(seed ^ 0xFEED);
    let mut world = World::new(seed);
    let mut tapes: [Tape; 2] = Default::default();
    let folder = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let old_store = old.path().join("ledger.redb");
    let store = folder.path().join("ledger.redb");
    let mut settlement = open(folder.path(), &tapes).unwrap();
    let mut taken = 0;
    let mut reopened = [0; 3];
    for step in 0..steps {
        world.step(settlement.ledger());
        if step % 25 == 24 {
            world.cut(settlement.ledger());
        }
        let mut facts = Vec::new();
        for event in &world.events[taken..] {
            match event {
                Event::Record(shard, bytes) => {
                    settlement.put_all(std::mem::take(&mut facts)).unwrap();
                    tapes[*shard].records.push(bytes.clone());
                    settlement.take(SHARDS[*shard], bytes).unwrap();
                }
                Event::Fact(fact) => facts.push(fact.clone()),
            }
        }
        settlement.put_all(facts).unwrap();
        taken = world.events.len();
        let before = settlement.ledger().image();
        match random.below(40) {
            0 => {
                // Killed: what no commit has is read from the journals again.
                drop(settlement);
                settlement = open(folder.path(), &tapes).unwrap();
                reopened[0] += 1;
            }
            1 => {
                drop(settlement);
                std::fs::remove_file(&store).unwrap();
                settlement = open(folder.path(), &tapes).unwrap();
                reopened[1] += 1;
            }
            2 => {
                drop(settlement);
                if old_store.exists() {
                    std::fs::copy(&old_store, &store).unwrap();
                    reopened[2] += 1;
                }
                settlement = open(folder.path(), &tapes).unwrap();
            }
            3 => {
                settlement.flush().unwrap();
                drop(settlement);
                std::fs::copy(&store, &old_store).unwrap();
                settlement = open(folder.path(), &tapes).unwrap();
            }
            _ => {}
        }
        let after = settlement.ledger().image();
        for (one, other) in before.iter().zip(&after) {
            assert!(
                one == other,
                "step {step}: {}\n{}",
                shown(one),
                shown(other)
            );
        }
        assert_eq!(before.len(), after.len(), "step {step}");
    }
    let lines = check_statements(&mut settlement);
    assert_eq!(settlement.ledger().books(), world.naive.books());
    // To the byte: a rebuilt store has the rows that the one which grew has, lines of statements too.
    settlement.flush().unwrap();
    let grown = settlement.store().contents().unwrap();
    drop(settlement);
    std::fs::remove_file(&store).unwrap();
    let mut rebuilt = open(folder.path(), &tapes).unwrap();
    rebuilt.flush().unwrap();
    let contents = rebuilt.store().contents().unwrap();
    for (one, other) in grown.iter().zip(&contents) {
        assert_eq!(one, other);
    }
    assert_eq!(grown.len(), contents.len());
    println!(
        "{} rows, {lines} statement lines; reopened {reopened:?}",
        grown.len()
    );
    assert!(
        lines > 50 && grown.len() > 60,
        "{lines} lines, {} rows",
        grown.len()
    );

    // A journal of records that lost what facts stand behind is not gone on with.
    drop(rebuilt);
    std::fs::remove_file(&store).unwrap();
    let mut short = tapes.clone();
    let last = short.iter().position(|it| !it.records.is_empty()).unwrap();
    short[last].records.truncate(1);
    let error = open(folder.path(), &short).unwrap_err();
    assert!(
        matches!(error, SettlementError::RecordsMissing { .. }),
        "{error}"
    );
}

const LEDGER: TableDefinition<&[u8], &[u8]> = TableDefinition::new("ledger");

/// One unit more in one cell of the store: found in its asset, by the control total and by the engine; and no other venue opens it.
#[test]
fn one_unit_in_a_customers_account_is_found() {
    let mut world = World::new(seed());
    let folder = tempfile::tempdir().unwrap();
    let mut tapes: [Tape; 2] = Default::default();
    let mut settlement = open(folder.path(), &tapes).unwrap();
    let mut taken = 0;
    for _ in 0..300 {
        world.step(settlement.ledger());
        let mut facts = Vec::new();
        for event in world.events[taken..].iter().cloned() {
            match event {
                Event::Record(shard, bytes) => {
                    settlement.take(SHARDS[shard], &bytes).unwrap();
                    tapes[shard].records.push(bytes);
                }
                Event::Fact(fact) => facts.push(fact),
            }
        }
        settlement.put_all(facts).unwrap();
        taken = world.events.len();
    }
    world.cut(settlement.ledger());
    let Some(Event::Fact(cut)) = world.events.last() else {
        panic!("a cut is a fact");
    };
    settlement.put(cut.clone()).unwrap();
    let figures = world.figures(trees(settlement.ledger()));
    let all = reconcile(settlement.ledger(), settlement.ledger().batch(), &figures);
    assert_eq!(all, []);
    settlement.flush().unwrap();
    drop(settlement);

    let path = folder.path().join("ledger.redb");
    let database = Database::create(&path).unwrap();
    let read = database.begin_read().unwrap();
    let table = read.open_table(LEDGER).unwrap();
    let row = table.iter().unwrap().map(Result::unwrap);
    // Cells of the first shard: account 0, asset 2; of a cell's 64 bytes the count of what was moved in is at 32.
    let (key, mut value) = row
        .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
        .find(|(key, _)| key[0] == 1 && key[1] == 0)
        .unwrap();
    drop((table, read));
    let at = 2 * SLOT_LEN + 32;
    let moved = u64::from_le_bytes(value[at..at + 8].try_into().unwrap());
    value[at..at + 8].copy_from_slice(&(moved + 1).to_le_bytes());
    let write = database.begin_write().unwrap();
    let mut table = write.open_table(LEDGER).unwrap();
    table.insert(key.as_slice(), value.as_slice()).unwrap();
    drop(table);
    write.commit().unwrap();
    drop(database);

    let settlement = open(folder.path(), &tapes).unwrap();
    let ledger = settlement.ledger();
    let found = reconcile(ledger, ledger.batch(), &figures);
    only(&found, AssetId(2), Equation::Customers);
    assert!(found[0].to_string().starts_with("BTC: (i)"), "{}", found[0]);
    drop(settlement);

    let mut foreign = serde_json::to_value(venue()).unwrap();
    foreign["assets"][0]["unit_exponent"] = 3.into();
    let error = Settlement::open(folder.path(), serde_json::from_value(foreign).unwrap());
    assert!(matches!(
        error,
        Err(SettlementError::Store(StoreError::Foreign { .. }))
    ));
}

/// What a wrong or repeated fact is answered with; nothing changes.
#[test]
fn facts_that_cannot_be_are_refused() {
    let mut world = World::new(seed());
    let mut ledger = Ledger::new(venue());
    let mut taken = 0;
    for _ in 0..2000 {
        world.step(&ledger);
        take(&mut ledger, &world.events[taken..]);
        taken = world.events.len();
    }
    let image = ledger.image();
    let (channel, open) = ledger
        .channels()
        .find(|(_, it)| !it.closed && it.deposited > 0)
        .unwrap();
    let (account, asset, rail) = (AccountId(0), AssetId(2), venue().rails()[2].number);
    let next = ledger.last_receipt(rail) + 1;
    let received = |number, account, amount| Fact::Received {
        rail,
        number,
        account,
        asset,
        amount,
    };
    let cases = [
        (received(next, account, u128::MAX), "is given and"),
        (received(next + 1, account, 1), "is next"),
        (received(next - 1, account, 1), "known already"),
        (
            received(next, AccountId(ACCOUNTS), 1),
            "there is no account 9",
        ),
        (
            Fact::Deposited {
                channel,
                deposited: open.deposited - 1,
            },
            "cumulative",
        ),
        (
            Fact::Deposited {
                channel: B256::ZERO,
                deposited: 1,
            },
            "there is no channel",
        ),
        (
            Fact::Withdrawn {
                channel,
                withdrawn: open.withdrawn + 1,
                withdrawals: Vec::new(),
            },
            "the withdrawals together",
        ),
        (
            Fact::Rebalanced {
                channel,
                moved: i128::MAX,
            },
            "is given",
        ),
        (
            Fact::Credited {
                rail,
                shard: SHARDS[0],
                account,
                asset,
                number: u64::MAX,
                units: ledger.creditable(account, asset) + 1,
            },
            "the credit",
        ),
        (
            Fact::Cut {
                epoch: ledger.epoch(),
                time_ns: 0,
                pins: Vec::new(),
                renew: false,
            },
            "known",
        ),
        (
            Fact::Cut {
                epoch: ledger.epoch().next(),
                time_ns: 0,
                pins: Vec::new(),
                renew: false,
            },
            "there is no pin",
        ),
    ];
    for (fact, says) in cases {
        let refused = ledger.judge(&fact).unwrap_err().to_string();
        assert!(refused.contains(says), "{fact:?}: {refused}");
        let entry = ledger.entry(fact);
        assert!(ledger.apply(&entry).is_err());
    }
    assert!(ledger.image() == image);
}
