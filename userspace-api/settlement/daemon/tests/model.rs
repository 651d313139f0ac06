//! The batch protocol itself, walked through whole (CUSTODY 6, 11, 12, 14): the daemon dies between any two steps, the signer or the daemon comes back from
//! an old backup, one trader signs late or never, settlement marks are said to the shard and the answer is lost, a withdrawal is asked for at any time.
//!
//! What is walked through is [`Protocol`], the state machine that the daemon runs, and not a picture of it: what it has taken in is durable, all else is lost
//! with the daemon.

use ring0_channels::B256;
use ring0_settled::batch::{Next, Protocol, Step};
use ring0_settled::withdrawal::payable;
use stateright::{Checker, Model, Property};

const EPOCHS: u64 = 2;
const CRASHES: u8 = 2;
/// The two traders.
const ACCOUNTS: [u32; 2] = [0, 1];
/// What each has by the end of each epoch: the first one loses, so an old state is worth more.
const BALANCES: [[u128; 2]; 3] = [[2, 2], [1, 3], [0, 4]];

/// A root by its epoch and by which orders are before the cut.
fn root(epoch: u64, cut: u8) -> B256 {
    let mut root = B256::ZERO;
    (root[0], root[1]) = (epoch as u8, cut);
    root
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct World {
    /// The daemon's journal, as what it amounts to.
    durable: Protocol,
    /// An older one, on another disk.
    backup: Option<Protocol>,
    /// A tree that is built and not recorded, by its cut.
    built: Option<u8>,
    /// An answer of the signer's that is not durable yet.
    answered: bool,
    /// The signer's history.
    history: Vec<B256>,
    /// Roots whose signature has left the signer: nobody takes one back.
    out: Vec<B256>,
    /// Signatures that the traders have given for the newest epoch and that are not durable.
    given: [bool; 2],
    /// In the shard's record: by account, the epoch up to whose cut marks have covered.
    marked: [u64; 2],
    /// In the journal: what each has withdrawn.
    taken: [u128; 2],
    crashes: u8,
    restored: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Event {
    Cut,
    Build(u8),
    Record,
    /// The cut is not recorded, and the next one is made.
    GiveUp,
    /// The signer is asked, and answers if it signs.
    Ask,
    /// Its answer is durable.
    Sign,
    /// A trader signs.
    Give(u32),
    /// Its signature is durable.
    CoSign(u32),
    Close,
    /// A mark reaches the shard. What the daemon learns of it, it learns from the record.
    Mark(u32),
    Withdraw(u32),
    Crash,
    /// Somebody copies the daemon's journal.
    BackUp,
    /// The signer comes back without its history.
    RestoreSigner,
    /// The daemon comes back with the copy.
    RestoreDaemon,
}

#[derive(Clone, Copy)]
struct Venue {
    /// What is restored at most once.
    restore: Option<Event>,
    /// Broken on purpose: the signer is asked before the batch is recorded.
    asks_early: bool,
    /// Broken on purpose: the signer signs what it is asked.
    forgets: bool,
    /// Broken on purpose: marks follow the newest epoch in place of the co-signed one.
    marks_early: bool,
}

impl Venue {
    /// Asks the signer; a signature is out the moment it is made.
    fn ask(&self, world: &mut World, root: B256) -> bool {
        let other = |it: &&B256| it[0] == root[0] && **it != root;
        if world.history.iter().any(|it| other(&it)) && !self.forgets {
            return false;
        }
        for all in [&mut world.history, &mut world.out] {
            if !all.contains(&root) {
                all.push(root);
                all.sort_unstable();
            }
        }
        true
    }
}

/// What an account has by an epoch's cut, less what it took out.
fn left(world: &World, epoch: u64, account: u32) -> u128 {
    let at = account as usize;
    BALANCES[epoch.min(EPOCHS) as usize][at].saturating_sub(world.taken[at])
}

impl Model for Venue {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        let daemon = &world.durable;
        match daemon.next() {
            Next::Cut(epoch) if epoch <= EPOCHS => events.push(Event::Cut),
            Next::Cut(_) => {}
            Next::Record(_) => match world.built {
                None => events.extend([Event::Build(0), Event::Build(1)]),
                Some(_) => {
                    events.extend([Event::Record, Event::GiveUp]);
                    if self.asks_early {
                        events.push(Event::Ask);
                    }
                }
            },
            Next::Sign { .. } => events.extend([Event::Ask, Event::Sign]),
            Next::Collect(_) => events.push(Event::Close),
        }
        for account in ACCOUNTS {
            if daemon.is_published() && daemon.has_signed(account) == Some(false) {
                events.extend([Event::Give(account), Event::CoSign(account)]);
            }
            events.extend([Event::Mark(account), Event::Withdraw(account)]);
        }
        // What is restored is a death too: with one more of them every order of theirs is there.
        let crashes = CRASHES - u8::from(self.restore == Some(Event::RestoreDaemon));
        if world.crashes < crashes {
            events.push(Event::Crash);
        }
        if !world.restored {
            events.extend(self.restore);
            if self.restore == Some(Event::RestoreDaemon) && world.backup.is_none() {
                events.push(Event::BackUp);
            }
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        let (epoch, recorded) = (world.durable.epoch(), world.durable.recorded());
        let mut take = |step: Step<'_>| next.durable.apply(&step).is_ok();
        let moved = match event {
            Event::Cut => match world.durable.next() {
                Next::Cut(epoch) => take(Step::Cut { epoch }),
                _ => false,
            },
            Event::Build(cut) => next.built.replace(cut).is_none(),
            Event::Record => {
                let root = root(epoch, world.built?);
                let recorded = take(Step::Recorded {
                    epoch,
                    root,
                    accounts: &ACCOUNTS,
                });
                next.built = None;
                next.given = [false; 2];
                recorded
            }
            Event::GiveUp => {
                next.built = None;
                take(Step::GivenUp { epoch })
            }
            Event::Ask => match world.durable.next() {
                Next::Sign { root, .. } => {
                    next.answered = true;
                    self.ask(&mut next, root)
                }
                Next::Record(epoch) => self.ask(&mut next, root(epoch, world.built?)),
                _ => false,
            },
            Event::Sign => {
                let signed = world.answered && take(Step::Signed { epoch });
                next.answered = false;
                signed
            }
            Event::Give(account) => !std::mem::replace(&mut next.given[account as usize], true),
            Event::CoSign(account) => {
                let epoch = recorded;
                world.given[account as usize] && take(Step::CoSigned { epoch, account })
            }
            Event::Close => take(Step::Closed { epoch }),
            Event::Mark(account) => {
                let covered = match self.marks_early {
                    true => recorded,
                    false => world.durable.covered(account),
                };
                let marked = &mut next.marked[account as usize];
                let more = covered > *marked;
                *marked = covered.max(*marked);
                more
            }
            Event::Withdraw(account) => {
                let cosigned = left(world, world.durable.covered(account), account);
                // The engine has what was traded until now, and gives no more than that.
                let amount = payable(cosigned, 0, left(world, epoch, account));
                next.taken[account as usize] += amount;
                amount > 0
            }
            Event::Crash => {
                next.crashes += 1;
                (next.built, next.answered) = (None, false);
                true
            }
            Event::BackUp => next.backup.replace(world.durable.clone()).is_none(),
            Event::RestoreSigner => {
                next.restored = true;
                next.history.clear();
                true
            }
            Event::RestoreDaemon => {
                next.restored = true;
                (next.built, next.answered) = (None, false);
                next.durable = world.backup.clone()?;
                true
            }
        };
        moved.then_some(next)
    }

    fn properties(&self) -> Vec<Property<Venue>> {
        vec![
            Property::always(ONE_ROOT, |_, world: &World| {
                world.out.windows(2).all(|pair| pair[0][0] != pair[1][0])
            }),
            Property::always(MARKS, |_, world: &World| {
                // What a shard was told before its daemon lost it stays true; a restored daemon tells nothing new.
                world.restored
                    || ACCOUNTS
                        .iter()
                        .all(|it| world.marked[*it as usize] <= world.durable.covered(*it))
            }),
            Property::always(PAID, |_, world: &World| {
                world.restored
                    || ACCOUNTS.iter().all(|account| {
                        let (at, covered) = (*account as usize, world.durable.covered(*account));
                        let most = BALANCES[..=covered as usize]
                            .iter()
                            .map(|all| all[at])
                            .max();
                        world.taken[at] <= most.unwrap_or(0)
                    })
            }),
            Property::sometimes(
                "both epochs are settled in spite of deaths",
                |_, world: &World| world.marked == [EPOCHS; 2] && world.crashes == CRASHES,
            ),
            Property::sometimes("a trader lags and the other goes on", |_, world: &World| {
                let lags = world.durable.lagging().any(|(account, _)| account == 0);
                lags && world.marked[1] == EPOCHS
            }),
        ]
    }
}

const ONE_ROOT: &str = "one root an epoch is ever signed";
const MARKS: &str = "no mark without a durable co-signature";
const PAID: &str = "no withdrawal beyond the co-signed part";

const SOUND: Venue = Venue {
    restore: None,
    asks_early: false,
    forgets: false,
    marks_early: false,
};

#[test]
fn every_order_of_deaths_keeps_one_root_and_marks_what_is_signed() {
    let checked = SOUND.checker().spawn_bfs().join();
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
    assert!(checked.unique_state_count() > 1_000);
}

/// One of the two comes back from an old backup; the other one's memory holds.
#[test]
fn a_restored_signer_or_a_restored_journal_signs_no_second_root() {
    for restore in [Event::RestoreSigner, Event::RestoreDaemon] {
        let venue = Venue {
            restore: Some(restore),
            ..SOUND
        };
        let checked = venue.checker().spawn_bfs().join();
        println!("{restore:?}: {} states", checked.unique_state_count());
        for property in [ONE_ROOT, MARKS, PAID] {
            if let Some(path) = checked.discovery(property) {
                panic!("{property}: {:?}", path.into_actions());
            }
        }
    }
}

/// Each rule is needed: without it the model finds the way to what it forbids.
#[test]
fn without_a_rule_it_goes_wrong() {
    let goes_wrong = |venue: Venue, property| {
        let checked = venue.checker().spawn_bfs().join();
        checked.discovery(property).is_some()
    };
    let early = Venue {
        asks_early: true,
        restore: Some(Event::RestoreSigner),
        ..SOUND
    };
    assert!(goes_wrong(early, ONE_ROOT), "asked before it is recorded");
    let forgets = Venue {
        forgets: true,
        restore: Some(Event::RestoreDaemon),
        ..SOUND
    };
    assert!(goes_wrong(forgets, ONE_ROOT), "a signer without history");
    let marks = Venue {
        marks_early: true,
        ..SOUND
    };
    assert!(goes_wrong(marks, MARKS), "marks before the co-signature");
}
