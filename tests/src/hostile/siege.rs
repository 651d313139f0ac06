//! An attack and its ledger: the state as before, the counters as foretold, and nothing else counted or lost.

use super::frames::{Hostile, Level, OURS, request};
use super::venue::{KEY, controls};
use crate::{PORT, Random};
use ring0_abi::{COUNTERS, Counter, counter_name, malformed};
use ring0_engine::record::Outcome;
use ring0_rings::{FrameKind, Live, classify};
use ring0_wire::Malformed;
use std::error::Error;
use std::time::{Duration, Instant};

/// Frames between two looks at the state.
const LOOK_EVERY: u64 = 10_000;
/// Frames between two waits for the ring: less than any way to one holds, so that none is lost for the attacker's haste (the shortest, DPDK's
/// AF_PACKET device, has 512 places).
const BURST: u64 = 128;
/// How long frames may be on their way on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counters that no frame here can move: what is taken, what only a shard in another state says, and our own faults.
const NOT_HOSTILE: [u32; 11] = [
    Counter::Taken as u32,
    Counter::Held as u32,
    Counter::HeldDuplicate as u32,
    Counter::RingFull as u32,
    Counter::RateLimited as u32,
    Counter::Halted as u32,
    Counter::Doorbell as u32,
    Counter::PassNotReady as u32,
    Counter::DropBusy as u32,
    Counter::DropAnswer as u32,
    malformed(Malformed::Interrupted),
];

/// Counters of frames that are not the shard's, and of those whose lengths disagree: no payload moves them.
const OF_FRAMES: [u32; 7] = [
    Counter::PassEtherType as u32,
    Counter::PassProtocol as u32,
    Counter::PassPort as u32,
    Counter::PassFragment as u32,
    Counter::PassOptions as u32,
    Counter::PassTruncated as u32,
    Counter::DropLength as u32,
];

/// Which frames a counter of a port counts.
#[derive(Clone, Copy, Debug)]
pub enum Share {
    /// Each.
    All,
    /// Each that is answered.
    Answered,
}

/// A ring under attack, and the way that frames come to it.
pub trait Target {
    /// The shard.
    fn live(&mut self) -> &mut dyn Live;

    /// What it is attacked with.
    fn level(&self) -> Level {
        Level::Frames
    }

    /// Sends one frame or payload.
    ///
    /// # Errors
    /// It did not leave.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>>;

    /// Whether a frame comes to the ring at all: one that does not is given to the host's own classifier and not counted as sent (RULES 31).
    fn reaches(&self, _bytes: &[u8]) -> bool {
        true
    }

    /// What a program before the ring counted, by the numbers of the ring's own counters.
    fn counted_before(&self) -> Vec<u64> {
        Vec::new()
    }

    /// The port's counters of what ended before the ring counted it.
    fn losses(&self) -> &'static [&'static str] {
        &[]
    }

    /// The port's other counters of frames.
    fn shares(&self) -> &'static [(&'static str, Share)] {
        &[]
    }
}

/// Everything that a ring counts: by number, wherever it is counted, and the port's own.
struct Counted {
    numbered: Vec<u64>,
    own: Vec<(&'static str, u64)>,
}

impl Counted {
    fn of(target: &mut dyn Target) -> Counted {
        let before = target.counted_before();
        let live = target.live();
        let mut numbered = live.counters().expect("the ring's counters can be read");
        for (counted, before) in numbered.iter_mut().zip(before) {
            *counted += before;
        }
        let mut own = Vec::new();
        for (name, count) in live.port_counters() {
            match (0..COUNTERS).find(|&number| counter_name(number) == Some(("", name))) {
                Some(number) => numbered[number as usize] += count,
                None => own.push((name, count)),
            }
        }
        Counted { numbered, own }
    }

    fn own(&self, name: &str) -> u64 {
        let found = self.own.iter().find(|(known, _)| *known == name);
        found
            .unwrap_or_else(|| panic!("the port has no counter {name}"))
            .1
    }

    /// What was counted since then.
    fn since(&self, before: &Counted) -> Counted {
        let pairs = self.numbered.iter().zip(&before.numbered);
        Counted {
            numbered: pairs.map(|(now, before)| now - before).collect(),
            own: self
                .own
                .iter()
                .map(|&(name, now)| (name, now - before.own(name)))
                .collect(),
        }
    }

    /// Losses that there were.
    fn lost(&self, names: &'static [&'static str]) -> Vec<(&'static str, u64)> {
        let counts = names.iter().map(|&name| (name, self.own(name)));
        counts.filter(|(_, count)| *count != 0).collect()
    }
}

/// Counters that moved, by name.
fn names(counts: &[u64]) -> Vec<(String, u64)> {
    let name = |number: usize| {
        let (prefix, name) = counter_name(number as u32).expect("in use");
        format!("{prefix}{name}")
    };
    let moved = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    moved
        .map(|(number, &count)| (name(number), count))
        .collect()
}

/// What must hold after some frames.
pub struct Ledger {
    state: String,
    tail: u64,
    before: Counted,
    foretold: Vec<u64>,
    /// Frames sent.
    pub frames: u64,
    /// Frames that no sender here can bring to the ring, classified on the host.
    on_host: Vec<u64>,
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} frames, {:?}", self.frames, names(&self.foretold))?;
        match names(&self.on_host) {
            none if none.is_empty() => Ok(()),
            some => write!(f, "; not sent but classified on the host: {some:?}"),
        }
    }
}

impl Ledger {
    fn open(target: &mut dyn Target) -> Ledger {
        let before = Counted::of(target);
        let live = target.live();
        Ledger {
            state: live.shard().state_hash().to_string(),
            tail: live.tail(),
            before,
            foretold: vec![0; COUNTERS as usize],
            frames: 0,
            on_host: vec![0; COUNTERS as usize],
        }
    }

    fn note(&mut self, counter: u32) {
        self.foretold[counter as usize] += 1;
        self.frames += 1;
    }

    /// Waits until every frame is counted, or lost by name.
    ///
    /// # Panics
    /// Some are neither in all the time given.
    fn settle(&self, target: &mut dyn Target, seed: u64) {
        let end = Instant::now() + PATIENCE;
        let losses = target.losses();
        loop {
            let counted = Counted::of(target).since(&self.before);
            let lost: u64 = counted.lost(losses).iter().map(|(_, count)| count).sum();
            if counted.numbered.iter().sum::<u64>() + lost >= self.frames {
                return;
            }
            if Instant::now() >= end {
                self.check(target, seed);
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Compares.
    ///
    /// # Panics
    /// Something is not as foretold, and what.
    pub fn check(&self, target: &mut dyn Target, seed: u64) {
        let (losses, shares) = (target.losses(), target.shares());
        let counted = Counted::of(target).since(&self.before);
        let live = target.live();
        let lost = counted.lost(losses);
        assert_eq!(
            (names(&counted.numbered), &lost),
            (names(&self.foretold), &vec![]),
            "RING0_SEED={seed}: counted and lost, as foretold; the port: {:?}",
            counted.own
        );
        let lost: u64 = lost.iter().map(|(_, count)| count).sum();
        let sum: u64 = counted.numbered.iter().sum();
        assert_eq!(sum + lost, self.frames, "RING0_SEED={seed}");
        let answered = [Counter::Duplicate, Counter::Hole, Counter::Straddle];
        for &(name, share) in shares {
            let expected = match share {
                Share::All => self.frames,
                Share::Answered => answered.map(|it| self.foretold[it as usize]).iter().sum(),
            };
            assert_eq!(counted.own(name), expected, "RING0_SEED={seed}: {name}");
        }
        assert_eq!(
            live.shard().state_hash().to_string(),
            self.state,
            "RING0_SEED={seed}"
        );
        assert_eq!(
            live.tail(),
            self.tail,
            "RING0_SEED={seed}: nothing is recorded"
        );
        assert_eq!(live.failure(), None, "RING0_SEED={seed}");
    }
}

/// Makes the market, and some real trading in it, so that there is a state to change and there are answers to be asked for again.
///
/// # Panics
/// The ring does not trade.
#[must_use]
pub fn set_up(target: &mut dyn Target, seed: u64) -> Hostile {
    let random = &mut Random(seed);
    let live = target.live();
    live.set_key(0, Some(&KEY)).expect("session 0 has a place");
    live.set_key(3, None).expect("session 3 has a place");
    let results = live.command(&controls()).expect("the shard takes commands");
    assert!(
        results
            .iter()
            .all(|(outcome, _)| *outcome == Outcome::Accepted),
        "{results:?}"
    );
    let mut ledger = Ledger::open(target);
    let mut sent = Vec::new();
    let mut sequence = 1;
    for _ in 0..20 {
        let payload = request(0, sequence, random.below(20), random);
        let bytes = target.level().carry(&payload);
        target
            .send(&bytes)
            .unwrap_or_else(|error| panic!("{error}"));
        ledger.note(Counter::Taken as u32);
        sequence += u64::from(u16::from_be_bytes([payload[18], payload[19]]));
        sent.push(payload);
    }
    ledger.settle(target, seed);
    let counted = Counted::of(target).since(&ledger.before);
    assert_eq!(
        names(&counted.numbered),
        names(&ledger.foretold),
        "authentic packets are taken; {:?}",
        counted.own
    );
    Hostile::new(random.clone(), target.level(), sent, sequence)
}

/// Sends so many hostile frames; state and counters are looked at before, after, and every ten thousand.
///
/// # Panics
/// Something changed, or was not counted as foretold.
pub fn attack(target: &mut dyn Target, hostile: &mut Hostile, frames: u64, seed: u64) -> Ledger {
    let mut ledger = Ledger::open(target);
    while ledger.frames < frames {
        let (sort, bytes, counter) = hostile.frame();
        if !target.reaches(&bytes) {
            let kind = classify(&bytes, PORT, Some(OURS.into()));
            let expected = FrameKind::NotOurs(Counter::ALL[counter as usize]);
            assert_eq!(kind, expected, "RING0_SEED={seed} {sort:?}");
            ledger.on_host[counter as usize] += 1;
            continue;
        }
        ledger.note(counter);
        let number = ledger.frames;
        target.send(&bytes).unwrap_or_else(|error| {
            panic!("RING0_SEED={seed} {sort:?} of {}: {error}", bytes.len())
        });
        if number.is_multiple_of(BURST) {
            ledger.settle(target, seed);
        }
        if number.is_multiple_of(LOOK_EVERY) {
            ledger.settle(target, seed);
            ledger.check(target, seed);
        }
    }
    ledger.settle(target, seed);
    ledger.check(target, seed);
    ledger
}

/// Every counter that a hostile frame, or payload, can move was moved, and no other.
///
/// # Panics
/// One was not, or one was.
pub fn counters_met(ledger: &Ledger, level: Level, seed: u64) {
    for number in 0..COUNTERS {
        let of = |counts: &[u64]| counts[number as usize];
        let met = of(&ledger.foretold) + of(&ledger.on_host) > 0;
        let can = !NOT_HOSTILE.contains(&number)
            && (level == Level::Frames || !OF_FRAMES.contains(&number));
        let name = counter_name(number);
        assert_eq!(met, can, "RING0_SEED={seed}: {name:?}");
    }
}
