//! Flows that ask for more than a LOBSTRM1 record can say: an auction, self-trade prevention, cascades of stops.
//!
//! A scene is messages of several sessions with commands and pauses between them, made from a seed by integers alone. Its generator
//! keeps a book of its own ([`book`]), which shares no code with the engine and says what must be traded. No peer takes part: none of
//! them has any of this.
//!
//! Invariant: no message is refused. A message that leaves work behind is followed by [`Action::Settle`].

mod auction;
mod book;
mod drive;
mod in_kernel;
mod in_process;
mod random;
mod script;
mod self_trade;
mod stop_cascade;
mod tally;

pub(crate) use drive::measure;

use crate::fail::BenchError;
use ring0_drive::{Market, clock};
use ring0_engine::Capacity;
use ring0_engine::control::{Control, ControlKind};
use ring0_engine::record::State;
use ring0_stream::Side;
use ring0_stream::lobster::TICK_WIRE;
use ring0_wire::message::{BUY, SELL, STOCK_SPACES};
use ring0_wire::{Flags, Message, SelfTrade, TimeInForce};
use tally::Tally;

/// A kind of scene.
pub(crate) struct Scene {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// From seed, timed messages and messages before them.
    make: fn(u64, u64, u64) -> Play,
}

/// All scenes.
pub(crate) const SCENES: [Scene; 3] = [
    Scene {
        name: "auction",
        make: auction::make,
    },
    Scene {
        name: "self_trade",
        make: self_trade::make,
    },
    Scene {
        name: "stop_cascade",
        make: stop_cascade::make,
    },
];

impl Scene {
    /// Makes it.
    pub(crate) fn prepare(&self, seed: u64, messages: u64) -> Prepared {
        Prepared {
            name: self.name,
            play: (self.make)(seed, messages, crate::flows::prefill(messages)),
        }
    }
}

/// A scene in memory.
pub(crate) struct Prepared {
    /// Its name in reports.
    pub(crate) name: &'static str,
    play: Play,
}

/// What happens, and what must come of it.
struct Play {
    actions: Vec<Action>,
    market: Market,
    /// Each with an account of its own.
    sessions: u32,
    expected: Expected,
    /// Messages behind [`Action::Begin`].
    messages: u64,
    /// What continuation steps are counted by.
    unit: Unit,
    /// Whether the time of steps belongs to the messages too.
    steps_in_messages: bool,
}

/// One thing that happens.
enum Action {
    /// The clock starts.
    Begin,
    /// A message of a session. So many makers it meets at the most in its own command.
    Message {
        session: u32,
        message: Message,
        meets: u32,
    },
    /// Heartbeats, each with the continuation steps of its run, until no work is pending.
    Settle,
    /// A command of the operator, which is not timed, nor are the steps that it asks for.
    Command(Control),
    /// The auction at the price that the engine computes, and again until the book is uncrossed.
    Uncross { then: State },
}

/// What the generator's book says of the whole scene.
#[derive(Default)]
struct Expected {
    /// Trades; an auction's depend on how orders meet, which its generator does not follow.
    trades: Option<u64>,
    /// Lots.
    quantity: u64,
    /// Stops that are triggered.
    triggered: u64,
}

/// What a continuation step does, to be counted.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Unit {
    /// A fill of an auction.
    Crossed,
    /// A stop that is triggered.
    Triggered,
    /// Nothing that has a figure.
    None,
}

impl Unit {
    /// Name of its figure.
    fn figure(self) -> &'static str {
        match self {
            Unit::Crossed => "ns_per_crossed_fill",
            Unit::Triggered => "ns_per_triggered_stop",
            Unit::None => "ns_per_step",
        }
    }

    /// How often it happened.
    fn count(self, tally: &Tally) -> u64 {
        match self {
            Unit::Crossed => tally.crossed,
            Unit::Triggered => tally.triggered,
            Unit::None => 0,
        }
    }
}

impl Play {
    /// A shard with this one instrument and the sessions.
    fn capacity(&self) -> Result<Capacity, BenchError> {
        let one = self.market.capacity(1)?;
        Ok(Capacity {
            accounts: self.sessions,
            sessions: self.sessions,
            answers: one.answers * self.sessions,
            references: one.references * self.sessions,
            ..one
        })
    }

    /// The commands that make the market.
    fn controls(&self) -> Vec<Control> {
        let mut controls = vec![clock()];
        for session in 0..self.sessions {
            let its_own = self.market.controls(session);
            // The instrument is everybody's.
            let wanted = |it: &Control| session == 0 || it.kind != ControlKind::List as u32;
            controls.extend(its_own.into_iter().filter(wanted));
        }
        controls
    }

    /// Times that work was waited for.
    fn settles(&self) -> usize {
        let settle = |action: &&Action| matches!(action, Action::Settle);
        self.actions.iter().filter(settle).count()
    }
}

/// The market of one instrument whose ladder has this much room either side of a price.
fn market_round(center: u32, room: u32, peak_live: usize, references: u32) -> Market {
    Market {
        symbols: 1,
        tick_base: center - room,
        ladder_len: 2 * room,
        peak_live: peak_live as u64,
        references: references.into(),
    }
}

/// A limit order good for the day.
fn limit(side: Side, reference: u32, price_ticks: u32, lots: u32) -> Message {
    Message {
        letter: b'A',
        locate: 1,
        reference,
        side: match side {
            Side::Buy => BUY,
            Side::Sell => SELL,
        },
        shares: lots,
        price: price_ticks * TICK_WIRE,
        flags: Flags::new(TimeInForce::Day, SelfTrade::AccountDefault),
        stock: STOCK_SPACES,
        ..Message::default()
    }
}

/// A cancel.
fn cancel(reference: u32) -> Message {
    Message {
        letter: b'D',
        locate: 1,
        reference,
        ..Message::default()
    }
}
