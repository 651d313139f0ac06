//! The batch protocol as a model that is walked through whole (CUSTODY 11, 14): the daemon, the signer and the trader each lose what was not durable, at any step; messages
//! between them come late, twice or not at all.
//!
//! What holds in every order of events: no two roots of one epoch are ever signed, also by a signer that came back from its store; what is given out as
//! withdrawable was co-signed and is durable; a settlement mark is set once.

use stateright::{Checker, Model, Property};

const EPOCHS: u8 = 3;
const CRASHES: u8 = 3;

/// The trees of an epoch can come out one of two ways: which orders are before the cut is decided when it is sequenced.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Root {
    epoch: u8,
    cut: u8,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct World {
    /// The journal: cuts by epoch, durable when sequenced.
    cuts: Vec<Root>,
    /// Batch records on the daemon's disk.
    records: Vec<Root>,
    /// What the daemon has in memory: a tree that is built and not yet recorded.
    built: Option<Root>,
    /// The signer's own store: what it has signed.
    signer: Vec<Root>,
    /// Signatures that are out in the world; nobody can take one back.
    out: Vec<Root>,
    /// Co-signatures that the trader has given (and holds itself).
    cosigned: Vec<Root>,
    /// Those that are on the daemon's disk.
    kept: Vec<Root>,
    /// Settlement marks in the journal.
    marks: Vec<Root>,
    crashes: u8,
    restores: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Event {
    /// The cut of the next epoch is sequenced, before or behind an order.
    Cut(u8),
    Build(Root),
    Record,
    /// The signer is asked, once or again.
    Sign(Root),
    CoSign(Root),
    Keep(Root),
    Mark(Root),
    /// The daemon dies: memory is gone.
    Crash,
    /// The signer comes back from a backup that has seen nothing.
    RestoreSigner,
}

struct Batches {
    /// Whether the signer looks into its own store before it signs.
    signer_remembers: bool,
    /// Whether the cut is taken from the journal after a crash; otherwise it is made again from what came meanwhile.
    cut_is_sequenced: bool,
    /// How often the signer loses what it has signed.
    restores: u8,
}

impl Model for Batches {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        let done = world.marks.len();
        if world.cuts.len() == done && done < usize::from(EPOCHS) {
            events.extend([Event::Cut(0), Event::Cut(1)]);
        }
        for cut in &world.cuts {
            if world.built.is_none() && !world.records.iter().any(|it| it.epoch == cut.epoch) {
                events.push(Event::Build(*cut));
                if !self.cut_is_sequenced {
                    events.push(Event::Build(Root {
                        cut: 1 - cut.cut,
                        ..*cut
                    }));
                }
            }
        }
        if world.built.is_some() {
            events.push(Event::Record);
            if !self.cut_is_sequenced {
                // A daemon without the rule asks for a signature before its record is durable.
                events.extend(world.built.map(Event::Sign));
            }
        }
        events.extend(world.records.iter().copied().map(Event::Sign));
        for root in &world.out {
            if !world.cosigned.contains(root) {
                events.push(Event::CoSign(*root));
            }
        }
        for root in &world.cosigned {
            if !world.kept.contains(root) {
                events.push(Event::Keep(*root));
            }
        }
        for root in &world.kept {
            if !world.marks.contains(root) {
                events.push(Event::Mark(*root));
            }
        }
        if world.crashes < CRASHES {
            events.push(Event::Crash);
        }
        if world.restores < self.restores {
            events.push(Event::RestoreSigner);
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        let once = |all: &mut Vec<Root>, root: Root| {
            if !all.contains(&root) {
                all.push(root);
                all.sort_unstable();
            }
        };
        match event {
            Event::Cut(cut) => next.cuts.push(Root {
                epoch: world.cuts.len() as u8 + 1,
                cut,
            }),
            Event::Build(root) => next.built = Some(root),
            Event::Record => {
                once(&mut next.records, world.built?);
                next.built = None;
            }
            Event::Sign(root) => {
                let other = world
                    .signer
                    .iter()
                    .any(|it| it.epoch == root.epoch && *it != root);
                if self.signer_remembers && other {
                    return None; // refused
                }
                // Into its store first, then out.
                once(&mut next.signer, root);
                once(&mut next.out, root);
            }
            Event::CoSign(root) => once(&mut next.cosigned, root),
            Event::Keep(root) => once(&mut next.kept, root),
            Event::Mark(root) => once(&mut next.marks, root),
            Event::Crash => {
                next.built = None;
                next.crashes += 1;
            }
            Event::RestoreSigner => {
                next.signer.clear();
                next.restores += 1;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Batches>> {
        vec![
            Property::always("one root an epoch is ever signed", |_, world: &World| {
                let mut epochs: Vec<u8> = world.out.iter().map(|it| it.epoch).collect();
                epochs.sort_unstable();
                epochs.windows(2).all(|pair| pair[0] != pair[1])
            }),
            Property::always(
                "what is settled was co-signed and kept",
                |_, world: &World| {
                    world
                        .marks
                        .iter()
                        .all(|it| world.kept.contains(it) && world.cosigned.contains(it))
                },
            ),
            Property::always(
                "what is signed was sequenced and recorded",
                |_, world: &World| {
                    world
                        .out
                        .iter()
                        .all(|it| world.cuts.contains(it) && world.records.contains(it))
                },
            ),
            Property::always(
                "a settlement mark is set once an epoch",
                |_, world: &World| {
                    world
                        .marks
                        .windows(2)
                        .all(|pair| pair[0].epoch != pair[1].epoch)
                },
            ),
            Property::sometimes(
                "all epochs are settled in spite of crashes",
                |_, world: &World| {
                    world.marks.len() == usize::from(EPOCHS) && world.crashes == CRASHES
                },
            ),
        ]
    }
}

#[test]
fn every_order_of_crashes_keeps_one_root_an_epoch() {
    let model = Batches {
        signer_remembers: true,
        cut_is_sequenced: true,
        restores: 1,
    };
    let checked = model.checker().spawn_bfs().join();
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
    assert!(checked.unique_state_count() > 500);
}

/// Two things keep it, and neither is taken on trust: the cut that is sequenced and recorded before anything is signed holds also against a signer that forgot; the
/// signer's own store holds against a daemon that builds another tree, unless it forgot too.
#[test]
fn without_the_rules_two_roots_come_out() {
    let violation = "one root an epoch is ever signed";
    let two_roots = |signer_remembers, cut_is_sequenced, restores| {
        let model = Batches {
            signer_remembers,
            cut_is_sequenced,
            restores,
        };
        let checked = model.checker().spawn_bfs().join();
        checked.discovery(violation).is_some()
    };
    assert!(two_roots(false, false, 0), "neither rule");
    assert!(!two_roots(true, false, 0), "the signer's store alone");
    assert!(
        two_roots(true, false, 1),
        "the same, restored from a backup"
    );
    assert!(!two_roots(false, true, 1), "the journal alone");
}
