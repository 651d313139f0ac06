//! The rail against a model without cleverness and a world that repeats itself, loses answers and crashes, at random.
//!
//! `RING0_SEED=N cargo test -p ring0-lightning --test model` runs one seed again.

use std::{cell::RefCell, collections::BTreeMap, io, num::NonZeroU64, rc::Rc};

use bitcoin::hashes::{Hash, sha256};
use rand::{Rng, SeedableRng, rngs::StdRng};
use ring0_lightning::{
    amount::{Msat, Scale},
    book::Progress,
    journal::{Account, Direction, Entry, Journal},
    rail::{Done, Limits, Rail, RailError, Refusal},
};

/// A disk: keeps records; at the next write it may fail, with the record on it or not.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<(Vec<Entry>, Option<bool>)>>);

impl Journal for Disk {
    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let (records, failing) = &mut *self.0.borrow_mut();
        match failing.take() {
            None => records.push(entry.clone()),
            Some(kept) => {
                if kept {
                    records.push(entry.clone());
                }
                return Err(io::Error::other("power is gone"));
            }
        }
        Ok(())
    }
}

/// All that ever happened, in order; every question is answered by going through it.
#[derive(Clone, Debug, PartialEq)]
enum Happened {
    Asked {
        hash: u8,
        account: u32,
        msat: u64,
    },
    Credited {
        hash: u8,
        msat: u64,
    },
    Held {
        hash: u8,
        account: u32,
        msat: u64,
        limit: u64,
    },
    Settled {
        hash: u8,
        fee: u64,
    },
    Released {
        hash: u8,
    },
    Moved {
        account: u32,
        number: u64,
        to_engine: bool,
        msat: u64,
    },
}

#[derive(Default)]
struct Naive(Vec<Happened>);

impl Naive {
    fn asked(&self, hash: u8) -> Option<(u32, u64)> {
        self.0.iter().find_map(|it| match it {
            Happened::Asked {
                hash: h,
                account,
                msat,
            } if *h == hash => Some((*account, *msat)),
            _ => None,
        })
    }
    fn held(&self, hash: u8) -> Option<(u32, u64, u64)> {
        self.0.iter().find_map(|it| match it {
            Happened::Held {
                hash: h,
                account,
                msat,
                limit,
            } if *h == hash => Some((*account, *msat, *limit)),
            _ => None,
        })
    }
    fn credited(&self, hash: u8) -> Option<u64> {
        self.0.iter().find_map(|it| match it {
            Happened::Credited { hash: h, msat } if *h == hash => Some(*msat),
            _ => None,
        })
    }
    /// `Some(Some(fee))`: settled; `Some(None)`: released.
    fn ended(&self, hash: u8) -> Option<Option<u64>> {
        self.0.iter().find_map(|it| match it {
            Happened::Settled { hash: h, fee } if *h == hash => Some(Some(*fee)),
            Happened::Released { hash: h } if *h == hash => Some(None),
            _ => None,
        })
    }
    /// Numbers and amounts of an account's movements one way.
    fn moves(&self, account: u32, out: bool) -> Vec<(u64, u64)> {
        let one = |it: &Happened| match it {
            Happened::Moved {
                account: a,
                number,
                to_engine,
                msat,
            } if *a == account && *to_engine == out => Some((*number, *msat)),
            _ => None,
        };
        self.0.iter().filter_map(one).collect()
    }
    /// Available and held.
    fn funds(&self, account: u32) -> (i128, i128) {
        let (mut available, mut held) = (0, 0);
        for it in &self.0 {
            match it {
                Happened::Credited { hash, msat } if self.asked(*hash).unwrap().0 == account => {
                    available += i128::from(*msat);
                }
                Happened::Held {
                    hash,
                    account: a,
                    msat,
                    limit,
                } if *a == account => {
                    let (msat, limit) = (i128::from(*msat), i128::from(*limit));
                    match self.ended(*hash) {
                        None => {
                            available -= msat + limit;
                            held += msat + limit;
                        }
                        Some(Some(fee)) => available -= msat + i128::from(fee),
                        Some(None) => {}
                    }
                }
                Happened::Moved {
                    account: a,
                    to_engine,
                    msat,
                    ..
                } if *a == account => {
                    available += if *to_engine {
                        -i128::from(*msat)
                    } else {
                        i128::from(*msat)
                    };
                }
                _ => {}
            }
        }
        (available, held)
    }
}

const UNIT: u64 = 10;
const HASHES: u8 = 24;
const ACCOUNTS: u32 = 3;

fn hash(number: u8) -> sha256::Hash {
    sha256::Hash::hash(&[number])
}

fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

fn open(disk: &Disk) -> Rail<Disk> {
    let limits = Limits {
        deposit: msat(1)..=msat(10_000),
        withdrawal: msat(5)..=msat(2_000),
        expiry_max_s: 100,
        expiry_margin_s: 10,
    };
    let scale = Scale {
        msat_per_unit: NonZeroU64::new(UNIT).unwrap(),
    };
    let records = disk.0.borrow().0.clone();
    Rail::open(disk.clone(), &records, limits, scale, || 1_000)
        .expect("what was written follows from itself")
}

/// What a step would do by the model, if it is right.
struct Step {
    call: Result<Done, RailError>,
    /// What the model says: done now with this record, done before, or refused.
    expected: Expected,
}

enum Expected {
    Now(Happened),
    Before,
    Refused,
    /// The node contradicts the journal: the rail stops.
    Stops,
}

fn step(rng: &mut StdRng, rail: &mut Rail<Disk>, naive: &Naive) -> Step {
    let number = rng.random_range(0..HASHES);
    let account = rng.random_range(0..ACCOUNTS);
    let amount = rng.random_range(1..3_000_u64);
    match rng.random_range(0..6) {
        0 => {
            let expiry = rng.random_range(0..110);
            let call = rail.invoiced(
                hash(number),
                Account(account),
                msat(amount * 4),
                1_000,
                expiry,
            );
            let fits = amount * 4 <= 10_000 && (1..=100).contains(&expiry);
            let free = naive.asked(number).is_none() && naive.held(number).is_none();
            let expected = if fits && free {
                Expected::Now(Happened::Asked {
                    hash: number,
                    account,
                    msat: amount * 4,
                })
            } else {
                Expected::Refused
            };
            Step {
                call: call.map(|()| Done::Now),
                expected,
            }
        }
        1 => {
            // The node tells what it claimed; it claims only what may be claimed. Sometimes it tells what it told before.
            let more = rng.random_range(0..3);
            let Some((_, asked)) = naive.asked(number) else {
                assert_eq!(
                    rail.claimable(&hash(number), msat(amount), 1_000),
                    Err(Refusal::Unknown)
                );
                return Step {
                    call: Ok(Done::Before),
                    expected: Expected::Before,
                };
            };
            let came = naive.credited(number).unwrap_or(asked + more);
            let judged = rail.claimable(&hash(number), msat(came), 1_000);
            assert_eq!(judged.is_ok(), naive.credited(number).is_none());
            if asked > 1 {
                let short = rail.claimable(&hash(number), msat(asked - 1), 1_000);
                assert!(matches!(short, Err(Refusal::Short | Refusal::Again)));
            }
            let late = rail.claimable(&hash(number), msat(came), 1_101);
            assert!(matches!(late, Err(Refusal::Late | Refusal::Again)));
            let expected = match naive.credited(number) {
                Some(_) => Expected::Before,
                None => Expected::Now(Happened::Credited {
                    hash: number,
                    msat: came,
                }),
            };
            Step {
                call: rail.claimed(hash(number), msat(came)),
                expected,
            }
        }
        2 => {
            let limit = rng.random_range(0..50);
            let left = rng.random_range(5..40);
            // Now and then the very same withdrawal again.
            let (account, amount, limit) = match naive.held(number) {
                Some(same) if rng.random_bool(0.7) => same,
                _ => (account, amount, limit),
            };
            let call = rail.hold(
                hash(number),
                Account(account),
                msat(amount),
                msat(limit),
                "ln",
                left,
            );
            let expected = if let Some(before) = naive.held(number) {
                if before == (account, amount, limit) {
                    Expected::Before
                } else {
                    Expected::Refused
                }
            } else if naive.asked(number).is_none()
                && (5..=2_000).contains(&amount)
                && left >= 10
                && i128::from(amount + limit) <= naive.funds(account).0
            {
                Expected::Now(Happened::Held {
                    hash: number,
                    account,
                    msat: amount,
                    limit,
                })
            } else {
                Expected::Refused
            };
            Step { call, expected }
        }
        3 | 4 => {
            // How a payment ended. The node repeats an end, and very rarely it says what cannot be.
            let Some((_, _, limit)) = naive.held(number) else {
                if rng.random_bool(0.02) {
                    return Step {
                        call: rail.sent(hash(number), msat(1), "00"),
                        expected: Expected::Stops,
                    };
                }
                return Step {
                    call: Ok(Done::Before),
                    expected: Expected::Before,
                };
            };
            let wrong = rng.random_bool(0.02);
            match naive.ended(number) {
                Some(Some(fee)) if wrong => {
                    let call = if rng.random_bool(0.5) {
                        rail.failed(hash(number), "no way")
                    } else {
                        rail.sent(hash(number), msat(fee + 1), "00")
                    };
                    Step {
                        call,
                        expected: Expected::Stops,
                    }
                }
                Some(None) if wrong => Step {
                    call: rail.sent(hash(number), msat(0), "00"),
                    expected: Expected::Stops,
                },
                Some(Some(fee)) => Step {
                    call: rail.sent(hash(number), msat(fee), "00"),
                    expected: Expected::Before,
                },
                Some(None) => Step {
                    call: rail.failed(hash(number), "no way"),
                    expected: Expected::Before,
                },
                None if wrong => Step {
                    call: rail.sent(hash(number), msat(limit + 1), "00"),
                    expected: Expected::Stops,
                },
                None if rng.random_bool(0.5) => {
                    let fee = rng.random_range(0..=limit);
                    let expected = Expected::Now(Happened::Settled { hash: number, fee });
                    Step {
                        call: rail.sent(hash(number), msat(fee), "00"),
                        expected,
                    }
                }
                None => {
                    let expected = Expected::Now(Happened::Released { hash: number });
                    Step {
                        call: rail.failed(hash(number), "no way"),
                        expected,
                    }
                }
            }
        }
        _ => {
            let to_engine = rng.random_bool(0.5);
            let moves = naive.moves(account, to_engine);
            let last = moves.last().map_or(0, |(number, _)| *number);
            // Debits in the engine have holes: others take numbers too.
            let hole = if to_engine { 0 } else { rng.random_range(0..3) };
            let (mut given, mut units) = (last + 1 + hole, rng.random_range(0..100));
            if let Some((number, msat)) = moves.last()
                && rng.random_bool(0.3)
            {
                (given, units) = (*number, msat / UNIT);
            } else if rng.random_bool(0.1) {
                given = rng.random_range(0..last + 3);
            }
            let direction = if to_engine {
                Direction::ToEngine
            } else {
                Direction::FromEngine
            };
            let call = rail.moved(Account(account), given, direction, units);
            let this = Happened::Moved {
                account,
                number: given,
                to_engine,
                msat: units * UNIT,
            };
            let is_last = moves.last() == Some(&(given, units * UNIT));
            let expected = match to_engine {
                _ if is_last => Expected::Before,
                true if given == last + 1 && i128::from(units * UNIT) <= naive.funds(account).0 => {
                    Expected::Now(this)
                }
                false if given > last => Expected::Now(this),
                false if given < last => Expected::Before,
                _ => Expected::Refused,
            };
            Step { call, expected }
        }
    }
}

fn compare(rail: &Rail<Disk>, naive: &Naive) {
    rail.book().check();
    let mut owed = 0;
    for account in 0..ACCOUNTS {
        let (available, held) = naive.funds(account);
        let funds = rail.book().funds(Account(account));
        assert_eq!(
            (
                i128::from(funds.available.get()),
                i128::from(funds.held.get())
            ),
            (available, held)
        );
        let (units, dust) = rail.movable(Account(account));
        assert_eq!(i128::from(units * UNIT + dust.get()), available);
        owed += available + held;
    }
    assert_eq!(rail.book().owed() as i128, owed);
    for number in 0..HASHES {
        let progress = rail
            .book()
            .withdrawal(&hash(number))
            .map(|it| it.progress.clone());
        let expected = naive.held(number).map(|_| naive.ended(number));
        match (progress, expected) {
            (None, None) | (Some(Progress::Held), Some(None)) => {}
            (Some(Progress::Settled { fee, .. }), Some(Some(Some(model)))) => {
                assert_eq!(fee.get(), model);
            }
            (Some(Progress::Released { .. }), Some(Some(None))) => {}
            other => panic!("withdrawal {number}: {other:?}"),
        }
        let credited = rail
            .book()
            .deposit(&hash(number))
            .and_then(|it| it.credited);
        assert_eq!(credited.map(Msat::get), naive.credited(number));
    }
}

fn run(seed: u64, seen: &mut BTreeMap<&'static str, u32>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let disk = Disk::default();
    let (mut rail, mut naive) = (open(&disk), Naive::default());
    for _ in 0..400 {
        let failing = rng.random_bool(0.05).then(|| rng.random_bool(0.5));
        disk.0.borrow_mut().1 = failing;
        let Step { call, expected } = step(&mut rng, &mut rail, &naive);
        let failed = failing.filter(|_| disk.0.borrow_mut().1.take().is_none());
        let kind = match (call, expected, failed) {
            (Ok(Done::Now), Expected::Now(happened), None) => {
                naive.0.push(happened);
                "now"
            }
            (Ok(Done::Before), Expected::Before, None) => "before",
            (Err(error), Expected::Refused, None) => {
                assert!(!rail.stopped(), "a refusal stopped the rail: {error}");
                "refused"
            }
            (Err(RailError::Journal(_)), Expected::Now(happened), Some(kept)) => {
                if kept {
                    naive.0.push(happened);
                }
                if kept { "lost answer" } else { "lost record" }
            }
            (Err(RailError::Contradiction(_)), Expected::Stops, None) => "contradiction",
            (call, ..) => panic!("seed {seed}: the rail says {call:?}, the model something else"),
        };
        *seen.entry(kind).or_default() += 1;
        if rail.stopped() {
            assert!(matches!(
                rail.failed(hash(0), "too late"),
                Err(RailError::Stopped)
            ));
            assert_eq!(rail.claimable(&hash(0), msat(1), 0), Err(Refusal::Stopped));
        }
        // A crash, or the one after a stop: all but the disk is gone.
        if rail.stopped() || rng.random_bool(0.02) {
            rail = open(&disk);
        }
        compare(&rail, &naive);
    }
}

#[test]
fn the_rail_is_the_naive_model_whatever_comes_and_whenever_it_crashes() {
    let given = std::env::var("RING0_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let first = given.unwrap_or_else(|| rand::rng().random_range(0..u64::MAX / 2));
    let runs = if given.is_some() { 1 } else { 100 };
    println!("seed {first}, {runs} runs");
    let mut seen = BTreeMap::new();
    for seed in first..first + runs {
        run(seed, &mut seen);
    }
    println!("{seen:?}");
    if runs > 1 {
        for kind in [
            "now",
            "before",
            "refused",
            "lost answer",
            "lost record",
            "contradiction",
        ] {
            assert!(
                seen.get(kind).is_some_and(|times| *times > 10),
                "{kind} came too rarely: {seen:?}"
            );
        }
    }
}
