//! A seeded random market: packets and control commands that drive a shard into its corners.
//!
//! The same seed, answers and records give the same inputs, so engine, reference and kernel program can be driven by one
//! flow and compared. Few prices, sessions and references make ties, crosses and unknown references common; the pools of
//! [`Flow::capacity`] are small enough to run full; written scenes build what chance would not: books deep enough for
//! continuations of every kind, cascades of stops, auctions of many steps, the end of a day. An instrument that has left
//! continuous trading is led back to it, so that most of the time there is a market.
//! Use: [`Flow::setup`] once, then [`Flow::next_input`], [`Flow::observe`] and [`Flow::learn`] in turn.

mod market;
mod message;
mod operator;
mod random;
mod scene;
mod view;

use crate::Capacity;
use crate::control::Control;
use market::{CAPACITY, SESSIONS};
use message::Client;
use random::Random;
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::message::SCOPE_SESSION;
use ring0_wire::{Message, SessionId};
use std::collections::VecDeque;
use view::View;

/// What a run is given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Input {
    /// A well-formed payload with a zero tag.
    Packet(Vec<u8>),
    /// Control commands of one doorbell.
    Control(Vec<Control>),
    /// Nothing: the run only takes continuation steps.
    Steps,
}

/// What a flow is mostly made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile {
    /// Orders near the middle, few mistakes.
    Calm,
    /// Scenes with many orders: long sweeps, long mass cancels, full pools.
    Deep,
    /// Mistakes of every kind, and an operator who interferes.
    Hostile,
    /// Calls, auctions and volatility pauses.
    Auction,
    /// Stop orders and what triggers them.
    Stops,
    /// Orders of one hand, with every way to keep them apart.
    SelfTrade,
    /// Pegged, hidden and iceberg orders.
    Pegs,
    /// Good-till-time orders, closing and opening days, listings that come, move and go.
    Day,
    /// All the others in turn.
    Mixed,
}

impl Profile {
    /// Every profile but [`Profile::Mixed`].
    pub const PURE: [Profile; 8] = [
        Profile::Calm,
        Profile::Deep,
        Profile::Hostile,
        Profile::Auction,
        Profile::Stops,
        Profile::SelfTrade,
        Profile::Pegs,
        Profile::Day,
    ];
}

/// How a flow is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// What it is mostly made of.
    pub profile: Profile,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            profile: Profile::Mixed,
        }
    }
}

/// Nanoseconds since midnight at which the flow's day begins: half past nine.
const DAY_BASE_NS: u64 = 34_200 * SECOND_NS;

const SECOND_NS: u64 = 1_000_000_000;

/// One thing of a scene. Messages get their references, and instruments their next state, when its turn comes.
#[derive(Clone, Debug)]
enum Plan {
    /// A packet of so many orders of one session, in ticks and lots, prices going up by `step`.
    Orders {
        session: u32,
        order: Message,
        step: u32,
        count: u32,
    },
    /// A packet of so much work that its last messages are too many: orders, replaces and mass cancels.
    Work { session: u32, order: Message },
    /// A packet that moves the session's latest order.
    Move { session: u32, price: u32, lots: u32 },
    /// A session is found disconnected.
    Disconnect { session: u32 },
    /// A packet of replaces among the session's orders, some reduces and cancels between them.
    Replaces { session: u32 },
    /// A packet of one mass cancel.
    Mass { session: u32, scope: u8, kill: u8 },
    /// So many seconds pass; orders that were good until then go.
    Expire { seconds: u32 },
    /// Every instrument goes a step towards continuous trading.
    Restore,
    /// Control commands of one doorbell.
    Control(Vec<Control>),
    /// A run without input.
    Steps,
    /// Whatever comes.
    Random,
}

/// The seeded flow.
#[derive(Clone, Debug)]
pub struct Flow {
    random: Random,
    options: Options,
    phase: Profile,
    inputs: u64,
    boot_ns: u64,
    day_base_ns: u64,
    nonce: u32,
    clients: Vec<Client>,
    /// Trade groups of the accounts, as the flow has set them.
    groups: [u16; market::ACCOUNTS as usize],
    plans: VecDeque<Plan>,
    /// Lately sent packets.
    sent: VecDeque<Vec<u8>>,
    /// The packet whose answer is awaited.
    awaited: Option<Vec<u8>>,
    view: View,
}

impl Flow {
    /// A flow; equal seeds and options give equal flows.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Flow {
        Flow::of(Random::Seeded(seed), options)
    }

    /// A flow whose every choice is made by the next of these bytes, for fuzzers. It goes on with zeros: stop when it
    /// [`Flow::is_spent`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Flow {
        let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let profiles = Profile::PURE.len() + 1;
        let profile = Profile::PURE.get(usize::from(*first) % profiles);
        let bytes = rest.to_vec();
        Flow::of(
            Random::Given { bytes, at: 0 },
            Options {
                profile: profile.copied().unwrap_or(Profile::Mixed),
            },
        )
    }

    /// Whether all bytes of [`Flow::from_bytes`] were used.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.random.is_spent()
    }

    fn of(random: Random, options: Options) -> Flow {
        let mut flow = Flow {
            random,
            options,
            phase: Profile::Calm,
            inputs: 0,
            boot_ns: SECOND_NS,
            day_base_ns: DAY_BASE_NS,
            nonce: 0,
            clients: Vec::new(),
            groups: [0; market::ACCOUNTS as usize],
            plans: VecDeque::new(),
            sent: VecDeque::new(),
            awaited: None,
            view: View::new(),
        };
        for session in 0..SESSIONS {
            let id = flow.fresh_id(session);
            flow.clients.push(Client::new(id));
        }
        flow
    }

    /// What the shard must be made with.
    #[must_use]
    pub fn capacity() -> Capacity {
        CAPACITY
    }

    /// The boot-time clock at the input that was given last (before the first: at the setup).
    #[must_use]
    pub fn boot_ns(&self) -> u64 {
        self.boot_ns
    }

    /// Which instruments trade continuously, as far as the records have told, by index.
    #[must_use]
    pub fn continuous(&self) -> [bool; market::MARKETS.len()] {
        std::array::from_fn(|index| self.is_continuous(index as u32))
    }

    /// The next input. What became of it is told by [`Flow::observe`] and [`Flow::learn`] before the one after.
    pub fn next_input(&mut self) -> Input {
        self.inputs += 1;
        if self.inputs % 512 == 1 {
            self.phase = match self.options.profile {
                Profile::Mixed => self.random.pick(&Profile::PURE),
                one => one,
            };
        }
        self.boot_ns = match self.random.below(1000) {
            0 | 1 => self.boot_ns + 50_000_000,
            2 | 3 => self.boot_ns + 700_000_000,
            4..10 => self.boot_ns.saturating_sub(2_000_000),
            _ => self.boot_ns + u64::from(self.random.below(400_000)),
        };
        if self.plans.is_empty() {
            if self.begins_scene() {
                self.scene();
            } else if self.is_restoring() {
                self.plans.push_back(Plan::Restore);
            }
        }
        let plan = self.plans.pop_front().unwrap_or(Plan::Random);
        let input = self.carry_out(plan);
        if let Input::Packet(payload) = &input {
            self.sent.push_back(payload.clone());
            if self.sent.len() > 24 {
                self.sent.pop_front();
            }
            self.awaited = Some(payload.clone());
        }
        input
    }

    /// The records that the input given last has led to. Without them the flow goes on, but knows neither the states of
    /// its instruments nor its trades.
    pub fn learn(&mut self, records: &[u8]) {
        self.view.learn(records);
    }

    fn carry_out(&mut self, plan: Plan) -> Input {
        match plan {
            Plan::Random => self.any(),
            Plan::Steps => Input::Steps,
            Plan::Control(controls) => Input::Control(controls),
            Plan::Restore => {
                let mut controls = Vec::new();
                for index in 0..market::MARKETS.len() as u32 {
                    controls.extend(self.towards_continuous(index));
                }
                if controls.is_empty() {
                    Input::Steps
                } else {
                    Input::Control(controls)
                }
            }
            Plan::Disconnect { session } => Input::Control(vec![self.disconnection(session, 0)]),
            Plan::Expire { seconds } => Input::Control(self.expiry(seconds)),
            Plan::Mass {
                session,
                scope,
                kill,
            } => {
                let message = self.mass(session, 0, ring0_wire::message::BOTH, scope, kill);
                self.packet(session, &[message])
            }
            Plan::Work { session, order } => {
                let mut messages: Vec<_> = (0..6).map(|_| self.placed(session, order)).collect();
                for _ in 0..3 {
                    messages.push(self.replace(session));
                    let (side, scope) = (ring0_wire::message::BUY, SCOPE_SESSION);
                    messages.push(self.mass(session, 2, side, scope, 0));
                }
                self.packet(session, &messages)
            }
            Plan::Replaces { session } => {
                let messages: Vec<_> = (0..20).map(|_| self.any_follow_up(session)).collect();
                self.packet(session, &messages)
            }
            Plan::Move {
                session,
                price,
                lots,
            } => match self.clients[session as usize].latest() {
                Some(order) => {
                    let message = self.moved(session, &order, price, lots);
                    self.packet(session, &[message])
                }
                None => Input::Steps,
            },
            Plan::Orders {
                session,
                order,
                step,
                count,
            } => {
                let messages: Vec<_> = (0..count)
                    .map(|n| {
                        let mut order = order;
                        order.price += n * step;
                        self.placed(session, order)
                    })
                    .collect();
                self.packet(session, &messages)
            }
        }
    }

    /// Whether it is time to lead instruments back to continuous trading.
    fn is_restoring(&mut self) -> bool {
        let patience = match self.phase {
            Profile::Auction | Profile::Day => 8,
            Profile::Hostile => 15,
            _ => 25,
        };
        let somewhere_else =
            (0..market::MARKETS.len() as u32).any(|index| !self.is_continuous(index));
        somewhere_else && self.random.percent(patience)
    }

    /// One input.
    fn any(&mut self) -> Input {
        let (control, steps) = match self.phase {
            Profile::Calm => (1, 1),
            Profile::Hostile => (10, 3),
            Profile::Auction | Profile::Day => (4, 3),
            _ => (2, 2),
        };
        match self.random.below(100) {
            n if n < control => Input::Control(self.controls()),
            n if n < control + steps => Input::Steps,
            _ => self.any_packet(),
        }
    }

    fn packet(&mut self, session: u32, messages: &[Inbound]) -> Input {
        let client = &self.clients[session as usize];
        packet(client.id(), client.expected(), messages)
    }
}

fn packet(id: SessionId, sequence: u64, messages: &[Inbound]) -> Input {
    let mut builder = PacketBuilder::new(id, sequence);
    for message in messages {
        if builder.push(message).is_err() {
            break;
        }
    }
    Input::Packet(builder.sign(None))
}
