//! CUSTODY 9 as a model that is walked through whole: a chain that splits at any height, a signer that notices at any time or never, pins that come late, and a
//! view that moves to the other side. What holds in every order of events:
//!
//! - R1: a state under a pin at or before the split can be used on both sides;
//! - R2: a state under a later pin can be used on one side, noticed or not;
//! - exposure: what is signed more than P + k blocks after the split is of one side alone;
//! - after the signer has re-signed on the side it follows, the newest state of that side is the newest of all that can be used there.

use stateright::{Checker, Model, Property};

const PIN_EVERY: u8 = 2;
const CONFIRMATIONS: u8 = 1;
/// Blocks back that a hub can still pin (256 or 8,191 in truth; here just what P + k needs).
const REACH: u8 = PIN_EVERY + CONFIRMATIONS;
const HEIGHT_MAX: u8 = 7;
const VERSIONS_MAX: u8 = 3;
/// How often the signer's view goes to the other side.
const SWITCHES: u8 = 2;

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Side {
    A,
    B,
}

/// A block: its height and, behind the split, its side.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Block {
    height: u8,
    side: Option<Side>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Signed {
    version: u8,
    pin: Block,
    /// Height of the signer's view, and its side.
    at: u8,
    on: Side,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct World {
    /// Heights of both sides; the same until the split.
    tips: [u8; 2],
    split: Option<u8>,
    /// The side that the signer follows. It does not know that there is another.
    view: Side,
    pin: Block,
    signed: Vec<Signed>,
    switches: u8,
    /// The newest version was signed on the side that the signer follows now.
    is_current: bool,
}

impl World {
    fn tip(&self, side: Side) -> u8 {
        self.tips[side as usize]
    }

    fn block(&self, height: u8, side: Side) -> Block {
        let is_common = self.split.is_none_or(|split| height <= split);
        Block {
            height,
            side: (!is_common).then_some(side),
        }
    }

    /// Whether a chain has the block, so that its hub can pin it.
    fn has(&self, side: Side, block: Block) -> bool {
        block.height <= self.tip(side) && block.side.is_none_or(|of| of == side)
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Event {
    Mine(Side),
    Split,
    Pin,
    Sign,
    /// The view's chain is reorganised to the other side.
    Switch,
}

struct Forks {
    /// Oldest pin that is signed under, blocks of the signer's own view.
    age_max: u8,
}

impl Model for Forks {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            tips: [1, 1],
            split: None,
            view: Side::A,
            pin: Block {
                height: 0,
                side: None,
            },
            signed: Vec::new(),
            switches: 0,
            is_current: true,
        }]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        let sides: &[Side] = match world.split {
            None => &[Side::A],
            Some(_) => &[Side::A, Side::B],
        };
        for side in sides {
            if world.tip(*side) < HEIGHT_MAX {
                events.push(Event::Mine(*side));
            }
        }
        match world.split {
            None => events.push(Event::Split),
            Some(_) if world.switches < SWITCHES => events.push(Event::Switch),
            Some(_) => {}
        }
        // Pins come when they come: no event forces them.
        let confirmed = world.tip(world.view).checked_sub(CONFIRMATIONS);
        if confirmed.is_some_and(|height| {
            height >= world.pin.height + PIN_EVERY || !world.has(world.view, world.pin)
        }) {
            events.push(Event::Pin);
        }
        let age = world.tip(world.view).saturating_sub(world.pin.height);
        // A pin that has left the chain is not signed under: stop, re-pin, re-sign.
        if world.signed.len() < usize::from(VERSIONS_MAX)
            && age <= self.age_max
            && world.has(world.view, world.pin)
        {
            events.push(Event::Sign);
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        match event {
            Event::Mine(side) => {
                next.tips[side as usize] += 1;
                if world.split.is_none() {
                    next.tips = [next.tips[0]; 2];
                }
            }
            Event::Split => next.split = Some(world.tip(Side::A)),
            Event::Pin => {
                let height = world.tip(world.view) - CONFIRMATIONS;
                next.pin = world.block(height, world.view);
            }
            Event::Sign => {
                next.signed.push(Signed {
                    version: world.signed.len() as u8 + 1,
                    pin: world.pin,
                    at: world.tip(world.view),
                    on: world.view,
                });
                next.is_current = true;
            }
            Event::Switch => {
                next.view = match world.view {
                    Side::A => Side::B,
                    Side::B => Side::A,
                };
                next.switches += 1;
                next.is_current = false;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Forks>> {
        vec![
            Property::always(
                "R1: under a pin at or before the split, on both sides",
                |_, world: &World| {
                    let Some(split) = world.split else {
                        return true;
                    };
                    world
                        .signed
                        .iter()
                        .filter(|it| it.pin.height <= split)
                        .all(|it| {
                            it.pin.side.is_none()
                                && world.has(Side::A, it.pin)
                                && world.has(Side::B, it.pin)
                        })
                },
            ),
            Property::always("R2: under a later pin, on one side", |_, world: &World| {
                let Some(split) = world.split else {
                    return true;
                };
                world
                    .signed
                    .iter()
                    .filter(|it| it.pin.height > split)
                    .all(|it| {
                        it.pin.side == Some(it.on)
                            && !(world.has(Side::A, it.pin) && world.has(Side::B, it.pin))
                    })
            }),
            Property::always(
                "exposure ends P + k blocks behind the split",
                |_, world: &World| {
                    let Some(split) = world.split else {
                        return true;
                    };
                    world.signed.iter().all(|it| {
                        it.at <= split + PIN_EVERY + CONFIRMATIONS || it.pin.side.is_some()
                    })
                },
            ),
            Property::always(
                "a hub can still pin what was just signed under",
                |_, world: &World| world.signed.iter().all(|it| it.at - it.pin.height <= REACH),
            ),
            Property::always(
                "re-signed, the side's newest state is the newest that can be used there",
                |_, world: &World| {
                    let usable = |it: &&Signed| world.has(world.view, it.pin);
                    let newest = world
                        .signed
                        .iter()
                        .filter(usable)
                        .map(|it| it.version)
                        .max();
                    !world.is_current || newest == world.signed.last().map(|it| it.version)
                },
            ),
            Property::sometimes("a state is exposed on both sides", |_, world: &World| {
                world.split.is_some_and(|split| {
                    world
                        .signed
                        .iter()
                        .any(|it| it.at > split && it.pin.side.is_none())
                })
            }),
            Property::sometimes("a state is of the other side alone", |_, world: &World| {
                world.signed.iter().any(|it| it.pin.side == Some(Side::B))
            }),
        ]
    }
}

#[test]
fn every_order_of_a_split_keeps_the_branch_rule() {
    let model = Forks {
        age_max: PIN_EVERY + CONFIRMATIONS,
    };
    let checked = model.checker().spawn_bfs().join();
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
    assert!(checked.unique_state_count() > 10_000);
}

/// The rule is what does it: with pins that may be a block older, the model finds a state that is exposed for too long.
#[test]
fn one_block_more_is_found() {
    let model = Forks {
        age_max: PIN_EVERY + CONFIRMATIONS + 1,
    };
    let checked = model.checker().spawn_bfs().join();
    let found = checked.discovery("exposure ends P + k blocks behind the split");
    let found = found.expect("a state exposed for too long");
    println!("{found}");
}
