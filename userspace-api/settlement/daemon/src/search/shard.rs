//! A shard's records beside what the engine makes of its commands: the first record that it would not have written, or behind which the ledger has another
//! sum than it.

use super::{First, LOOK_EVERY};
use crate::config::Config;
use crate::follower::venue;
use crate::tail::{Tail, head};
use ring0_engine::native::Tape;
use ring0_engine::snapshot::Replica;
use ring0_journal::snapshots;
use ring0_mq::read_snapshot;
use ring0_settlement::{AssetId, Ledger, PeerId, SettlementError, first_difference};

/// Records before the end in front of which every command is looked at: the last ones need not end with a command.
const AT_THE_END: u64 = 4_096;

/// Why the records are not carried on.
enum Stop {
    Found(u64, String),
    Failed(String),
}

impl From<SettlementError> for Stop {
    fn from(error: SettlementError) -> Stop {
        Stop::Failed(error.to_string())
    }
}

/// Looks twice: from far apart, and then closely from the last look that was good.
pub(super) fn first(
    config: &Config,
    place: usize,
    asset: AssetId,
    until: u64,
) -> Result<Option<First>, String> {
    let far = |looked: u64, at: u64| at >= looked + LOOK_EVERY || at + AT_THE_END > until;
    match walk(config, place, asset, until, far)? {
        Walked::Agrees => Ok(None),
        Walked::Record(first) => Ok(Some(first)),
        Walked::Sums { good, first } => {
            match walk(config, place, asset, until, |_, at| at > good)? {
                Walked::Record(exact) | Walked::Sums { first: exact, .. } => Ok(Some(exact)),
                Walked::Agrees => Ok(Some(first)), // the journal grew by what made it agree again
            }
        }
    }
}

/// What following a shard's records came to.
enum Walked {
    Agrees,
    /// The record itself.
    Record(First),
    /// A look whose sums differ, and the last one before it.
    Sums {
        good: u64,
        first: First,
    },
}

fn walk(
    config: &Config,
    place: usize,
    asset: AssetId,
    until: u64,
    is_looked_at: impl Fn(u64, u64) -> bool,
) -> Result<Walked, String> {
    let shard = &config.shards[place];
    let mut beside = Beside::new(config, place)?;
    let venue = venue(config).map_err(|error| error.to_string())?;
    let mut tail = Tail::new(shard.journals.clone(), 1);
    let (mut ledger, number) = (Ledger::new(venue), PeerId(shard.number));
    let (mut good, mut looked) = (0, 0);
    let walked = first_difference(&mut ledger, number, asset, &mut tail, until, |record| {
        let at = beside.feed(record)?;
        let looks = beside.is_whole(at) && is_looked_at(looked, at);
        Ok::<_, Stop>(looks.then(|| {
            // Whoever looks again found nothing the last time.
            (good, looked) = (looked, at);
            beside.sum(asset)
        }))
    });
    let record = |sequence, what| First::Record {
        shard: shard.name.clone(),
        sequence,
        what,
    };
    match walked {
        Ok(None) => Ok(Walked::Agrees),
        Ok(Some(it)) => {
            let (engine, ledger) = (it.engine, it.ledger);
            let what =
                format!("behind it the engine has {engine} and the ledger {ledger} engine units");
            let first = record(it.sequence, what);
            Ok(Walked::Sums { good, first })
        }
        Err(Stop::Found(sequence, what)) => Ok(Walked::Record(record(sequence, what))),
        Err(Stop::Failed(why)) => Err(why),
    }
}

/// A replica that follows the records, and what it writes beside them.
struct Beside {
    replica: Replica<Tape>,
    accounts: u32,
    /// Records that are not compared yet: the journal's and the replica's.
    recorded: Vec<u8>,
    written: Vec<u8>,
    /// First record that the replica needs.
    first: u64,
}

impl Beside {
    /// From the first record; of a shard of several lives from the snapshot that the last one begins with, since lives can differ in capacity.
    fn new(config: &Config, place: usize) -> Result<Beside, String> {
        let shard = &config.shards[place];
        let plan = config.plans.iter().find(|it| it.shard.name == shard.name);
        let plan = plan.ok_or_else(|| format!("the market file has no shard {}", shard.name))?;
        let capacity = plan.capacity();
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let replica = match shard.journals.as_slice() {
            [_] | [] => Replica::with_recorder(&capacity, None, Tape::default())
                .map_err(|error| text(&error))?,
            [.., last] => {
                let all = snapshots(last).map_err(|error| text(&error))?;
                let first = all.into_iter().min_by_key(|(next, _)| *next);
                let (_, path) =
                    first.ok_or_else(|| format!("{} begins with no snapshot", last.display()))?;
                let snapshot = read_snapshot(&path).map_err(|error| text(&error))?;
                Replica::from_snapshot_with(&snapshot, &capacity, None, Tape::default())
                    .map_err(|error| text(&error))?
            }
        };
        Ok(Beside::of(replica, capacity.accounts))
    }

    fn of(replica: Replica<Tape>, accounts: u32) -> Beside {
        Beside {
            first: replica.shard().header().next_sequence.get(),
            replica,
            accounts,
            recorded: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Takes the journal's next record: its sequence.
    fn feed(&mut self, record: &[u8]) -> Result<u64, Stop> {
        let Some((_, sequence)) = head(record) else {
            return Err(Stop::Failed(
                "the journal has a record without a head".to_owned(),
            ));
        };
        if sequence < self.first {
            return Ok(sequence);
        }
        let fed = self.replica.feed(record);
        self.recorded.extend_from_slice(record);
        self.written.extend(self.replica.take_records());
        self.compare()?;
        match fed {
            Ok(()) => Ok(sequence),
            Err(error) => Err(Stop::Found(
                sequence,
                format!("the engine does not follow it: {error}"),
            )),
        }
    }

    fn compare(&mut self) -> Result<(), Stop> {
        let mut at = 0;
        let end = self.recorded.len().min(self.written.len());
        while let Some((len, sequence)) = head(&self.recorded[at..end]) {
            let of = at..at + len;
            if self.recorded.get(of.clone()) != self.written.get(of) {
                let what = "it is not the one that the engine writes".to_owned();
                return Err(Stop::Found(sequence, what));
            }
            at += len;
        }
        self.recorded.drain(..at);
        self.written.drain(..at);
        Ok(())
    }

    /// Whether the replica stands behind this record, and not in the middle of a packet or of what it made.
    fn is_whole(&self, sequence: u64) -> bool {
        sequence + 1 >= self.first
            && self.replica.shard().header().next_sequence.get() == sequence + 1
    }

    /// Available and held of all accounts, engine units.
    fn sum(&self, asset: AssetId) -> u128 {
        let shard = self.replica.shard();
        let has = |account| {
            let (available, held, ..) = shard.balances(account, asset.0);
            i128::from(available) + i128::from(held)
        };
        (0..self.accounts)
            .map(has)
            .sum::<i128>()
            .max(0)
            .cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_engine::flow::{Flow, Input, Options, Profile};
    use ring0_engine::native::Native;
    use ring0_engine::record::Kind;

    /// Records of a seeded flow, one by one.
    fn records(seed: u64) -> Vec<Vec<u8>> {
        let mut flow = Flow::new(
            seed,
            Options {
                profile: Profile::Calm,
            },
        );
        let mut native = Native::new(&Flow::capacity()).unwrap();
        let mut input = Input::Control(flow.setup());
        let mut all = Vec::new();
        for _ in 0..4_000 {
            let boot_ns = flow.boot_ns();
            match &input {
                Input::Packet(payload) => {
                    let answer = native.packet(payload, boot_ns, None);
                    flow.observe(answer.as_ref().ok().map(|(_, answer)| answer.as_slice()));
                }
                Input::Control(controls) => drop(native.control(controls, boot_ns)),
                Input::Steps => native.steps(),
            }
            let bytes = native.take_records();
            flow.learn(&bytes);
            let mut rest = &bytes[..];
            while let Some((len, _)) = head(rest) {
                all.push(rest[..len].to_vec());
                rest = &rest[len..];
            }
            input = flow.next_input();
        }
        all
    }

    fn beside() -> Beside {
        let capacity = Flow::capacity();
        let replica = Replica::with_recorder(&capacity, None, Tape::default()).unwrap();
        Beside::of(replica, capacity.accounts)
    }

    #[test]
    fn the_record_that_the_engine_would_not_write_is_named() {
        let seed = std::env::var("RING0_SEED")
            .ok()
            .and_then(|it| it.parse().ok());
        let seed: u64 = seed.unwrap_or_else(rand::random);
        println!("RING0_SEED={seed}");
        let mut all = records(seed);
        let mut beside_them = beside();
        for record in &all {
            let at = beside_them.feed(record).ok().expect("they are its own");
            if beside_them.is_whole(at) {
                assert!(beside_them.recorded.is_empty() && beside_them.written.is_empty());
            }
        }
        // One bit of what a fill moved, far from the beginning.
        let is_fill = |it: &Vec<u8>| u16::from_le_bytes([it[0], it[1]]) == Kind::Filled as u16;
        let fills: Vec<usize> = (0..all.len()).filter(|at| is_fill(&all[*at])).collect();
        let wrong = fills[fills.len() * 2 / 3];
        let last = all[wrong].len() - 1;
        all[wrong][last] ^= 1;
        let (_, sequence) = head(&all[wrong]).unwrap();
        let mut beside_them = beside();
        let found = all.iter().find_map(|it| beside_them.feed(it).err());
        match found {
            Some(Stop::Found(at, _)) => assert_eq!(at, sequence),
            Some(Stop::Failed(why)) => panic!("{why}"),
            None => panic!("nothing was found"),
        }
    }
}
