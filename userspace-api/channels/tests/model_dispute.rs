//! The dispute game as a model that is walked through whole (CUSTODY 1, 2, 3, 18): a trader and an operator who each may cheat with any state that both have signed,
//! a tower that is there for part of the window, deposits and withdrawals in between, and a vault that has or has not what is owed.
//!
//! What holds in every order of events: nobody but the trader is paid from its escrow; a tower that was there for one step of the window makes the newest state count; nothing
//! is paid twice, and nothing at all behind the end; what went in is what came out and what is there.

use stateright::{Checker, Model, Property};

const WINDOW: u8 = 2;
/// The balances of versions 1, 2 and 3: the trader wins, loses, wins more than its escrow.
const BALANCES: [u8; 3] = [5, 1, 9];
const DEPOSIT: u8 = 4;
const EXTRA: u8 = 2;
const OUT: u8 = 1;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct State {
    version: u8,
    balance: u8,
    deposited_seen: u8,
    withdrawn_seen: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Channel {
    Open,
    Disputed {
        version: u8,
        left: u8,
        tower_was_there: bool,
    },
    Over {
        version: u8,
        tower_was_there: bool,
    },
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct World {
    channel: Channel,
    signed: Vec<State>,
    deposited: u8,
    withdrawn: u8,
    /// On the hub.
    escrow: u8,
    vault: u8,
    claim: u8,
    /// Paid to the trader, at the end and before.
    paid: u8,
    vault_in: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Event {
    Deposit,
    Withdraw,
    /// Both sign the next state.
    CoSign,
    /// Either side puts a state on the chain; 0: none was ever signed.
    Dispute(u8),
    /// A tower shows the newest state it has.
    Refute,
    /// Time passes.
    Pass,
    Settle,
    FundVault,
    PayClaim,
}

struct Game;

impl World {
    fn state(&self, version: u8) -> State {
        match version.checked_sub(1) {
            Some(at) => self.signed[usize::from(at)],
            None => State {
                version: 0,
                balance: 0,
                deposited_seen: 0,
                withdrawn_seen: 0,
            },
        }
    }

    /// CUSTODY 2.
    fn entitlement(&self, state: State) -> u8 {
        (state.balance + (self.deposited - state.deposited_seen))
            .saturating_sub(self.withdrawn - state.withdrawn_seen)
    }
}

impl Model for Game {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let with_vault = |vault| World {
            channel: Channel::Open,
            signed: Vec::new(),
            deposited: DEPOSIT,
            withdrawn: 0,
            escrow: DEPOSIT,
            vault,
            claim: 0,
            paid: 0,
            vault_in: vault,
        };
        vec![with_vault(0), with_vault(3), with_vault(20)]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        match world.channel {
            Channel::Open => {
                if world.deposited == DEPOSIT {
                    events.push(Event::Deposit);
                }
                let newest = world.state(world.signed.len() as u8);
                if world.withdrawn == 0 && world.entitlement(newest) >= OUT && world.escrow >= OUT {
                    events.push(Event::Withdraw);
                }
                if world.signed.len() < BALANCES.len() {
                    events.push(Event::CoSign);
                }
                events.extend((0..=world.signed.len() as u8).map(Event::Dispute));
            }
            Channel::Disputed { left, .. } => {
                if left == 0 {
                    events.push(Event::Settle);
                } else {
                    events.extend([Event::Refute, Event::Pass]);
                }
            }
            Channel::Over { .. } => {
                if world.claim != 0 && world.vault != 0 {
                    events.push(Event::PayClaim);
                }
            }
        }
        if world.vault_in < 20 {
            events.push(Event::FundVault);
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        match (event, world.channel) {
            (Event::Deposit, Channel::Open) => {
                next.deposited += EXTRA;
                next.escrow += EXTRA;
            }
            (Event::Withdraw, Channel::Open) => {
                next.withdrawn += OUT;
                next.escrow -= OUT;
                next.paid += OUT;
            }
            (Event::CoSign, Channel::Open) => {
                let at = world.signed.len();
                next.signed.push(State {
                    version: at as u8 + 1,
                    balance: BALANCES[at] - world.withdrawn,
                    deposited_seen: world.deposited,
                    withdrawn_seen: world.withdrawn,
                });
            }
            (Event::Dispute(version), Channel::Open) => {
                next.channel = Channel::Disputed {
                    version,
                    left: WINDOW,
                    tower_was_there: false,
                };
            }
            (Event::Refute, Channel::Disputed { version, left, .. }) => {
                next.channel = Channel::Disputed {
                    version: version.max(world.signed.len() as u8),
                    left,
                    tower_was_there: true,
                };
            }
            (
                Event::Pass,
                Channel::Disputed {
                    version,
                    left,
                    tower_was_there,
                },
            ) => {
                next.channel = Channel::Disputed {
                    version,
                    left: left - 1,
                    tower_was_there,
                };
            }
            (
                Event::Settle,
                Channel::Disputed {
                    version,
                    tower_was_there,
                    ..
                },
            ) => {
                let owed = world.entitlement(world.state(version));
                let own = owed.min(world.escrow);
                let excess = owed - own;
                let from_vault = excess.min(world.vault);
                next.paid += own + from_vault;
                // What the trader has lost comes to the vault.
                next.vault = world.vault - from_vault + (world.escrow - own);
                next.escrow = 0;
                next.claim = excess - from_vault;
                next.channel = Channel::Over {
                    version,
                    tower_was_there,
                };
            }
            (Event::FundVault, _) => {
                next.vault += 5;
                next.vault_in += 5;
            }
            (Event::PayClaim, Channel::Over { .. }) => {
                let pay = world.claim.min(world.vault);
                next.claim -= pay;
                next.vault -= pay;
                next.paid += pay;
            }
            _ => return None,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Game>> {
        vec![
            Property::always(
                "what went in is what came out and what is there",
                |_, world: &World| {
                    world.deposited + world.vault_in == world.paid + world.escrow + world.vault
                },
            ),
            Property::always(
                "a tower that was there makes the newest state count",
                |_, world: &World| match world.channel {
                    Channel::Over {
                        version,
                        tower_was_there: true,
                    } => usize::from(version) == world.signed.len(),
                    _ => true,
                },
            ),
            Property::always(
                "paid is what the state that counted says, and no more",
                |_, world: &World| match world.channel {
                    Channel::Over { version, .. } => {
                        let owed = world.entitlement(world.state(version)) + world.withdrawn;
                        world.paid + world.claim == owed
                    }
                    _ => world.paid == world.withdrawn,
                },
            ),
            Property::always(
                "a withdrawal is not taken back by an older state",
                |_, world: &World| world.paid >= world.withdrawn,
            ),
            Property::sometimes(
                "an old state wins where no tower was",
                |_, world: &World| matches!(world.channel, Channel::Over { version, .. } if usize::from(version) < world.signed.len()),
            ),
            Property::sometimes("a claim is left and paid later", |_, world: &World| {
                matches!(world.channel, Channel::Over { .. })
                    && world.claim == 0
                    && world.vault_in > 3
                    && world.paid > 9
            }),
            Property::sometimes("a claim is left", |_, world: &World| world.claim != 0),
        ]
    }
}

#[test]
fn every_order_of_a_dispute_keeps_the_money() {
    let checked = Game.checker().spawn_bfs().join();
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
    assert!(checked.unique_state_count() > 1_000);
}
