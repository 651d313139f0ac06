//! The four traders: two quote all instruments, two take; every 64th packet is sent twice, to be executed once.

use crate::fail::Fail;
use hdrhistogram::Histogram;
use ring0_market::Market;
use ring0_trader::{
    Ack, Locate, Order, Outcome, Price, Reference, Session, Shares, Side, Trader, Transport,
    UdpTransport,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// One packet in so many is sent twice.
const TWICE: u64 = 64;

/// Orders that a maker keeps in a book.
const QUOTES: usize = 16;

/// What one trader saw.
pub(super) struct Tally {
    /// Index of its session; of a sum of several: 0.
    pub(super) session: u32,
    /// Messages sent, tag blocks not counted.
    pub(super) sent: u64,
    pub(super) acks: Vec<Ack>,
    pub(super) answered_alone: u64,
    pub(super) packets: u64,
    pub(super) repeated: u64,
    /// Nanoseconds from a packet to its answer.
    pub(super) round_trip: Histogram<u64>,
}

impl Tally {
    fn new(session: u32) -> Tally {
        Tally {
            session,
            sent: 0,
            acks: Vec::new(),
            answered_alone: 0,
            packets: 0,
            repeated: 0,
            // Three digits from 1 ns to 100 s: constants that the histogram takes.
            round_trip: Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("good bounds"),
        }
    }

    /// Rejected messages by reason.
    pub(super) fn rejected(&self) -> Value {
        let mut counts = BTreeMap::new();
        for ack in self
            .acks
            .iter()
            .filter(|ack| ack.outcome == Outcome::Rejected)
        {
            let name = ack.reason().map_or("unknown", |reason| reason.name());
            *counts.entry(name).or_insert(0_u64) += 1;
        }
        json!(counts)
    }

    pub(super) fn sum(tallies: &[Tally]) -> Tally {
        let mut sum = Tally::new(0);
        for tally in tallies {
            sum.sent += tally.sent;
            sum.acks.extend_from_slice(&tally.acks);
            sum.answered_alone += tally.answered_alone;
            sum.packets += tally.packets;
            sum.repeated += tally.repeated;
            sum.round_trip.add(&tally.round_trip).expect("equal bounds");
        }
        sum
    }
}

/// An instrument as traders need it.
#[derive(Clone, Copy)]
struct Terms {
    locate: Locate,
    tick_size: u32,
    lot_size: u32,
    middle: u32,
}

impl Terms {
    fn order(self, side: Side, ticks: u32, lots: u32) -> Order {
        Order::limit(
            side,
            self.locate,
            Shares(lots * self.lot_size),
            Price(ticks * self.tick_size),
        )
    }
}

/// A UDP socket that sends some packets twice.
struct Repeating {
    socket: UdpTransport,
    sent: u64,
    repeated: u64,
}

impl Transport for Repeating {
    fn now(&mut self) -> Duration {
        self.socket.now()
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.sent += 1;
        self.socket.send(packet)?;
        if self.sent.is_multiple_of(TWICE) {
            self.repeated += 1;
            self.socket.send(packet)?;
        }
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        self.socket.receive(into, wait)
    }
}

/// A generator of numbers that needs no dependency: xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % bound
    }
}

/// One trader before it begins.
struct Member {
    session: Session,
    index: u32,
    transport: Repeating,
    makes: bool,
    pace: Duration,
}

/// The four traders.
pub(super) struct Crew<'a> {
    members: Vec<Member>,
    terms: Vec<Terms>,
    finish: &'a AtomicBool,
    alone: &'a AtomicBool,
}

impl<'a> Crew<'a> {
    /// Opens their sockets with `connect`.
    pub(super) fn of(
        market: &Market,
        connect: &dyn Fn() -> Result<UdpTransport, Fail>,
        finish: &'a AtomicBool,
        alone: &'a AtomicBool,
    ) -> Result<Crew<'a>, Fail> {
        let plan = &market.plan;
        let terms = (1..)
            .zip(&plan.instruments)
            .map(|(locate, one)| Terms {
                locate: Locate(locate),
                tick_size: one.tick_size,
                lot_size: one.lot_size,
                middle: one.ladder_base + one.ladder_len / 2,
            })
            .collect();
        // Some 20,000 messages a second: three seconds of them fit the ring several times.
        let cast = [
            ("alice-1", true, Duration::from_micros(1000)),
            ("bob-1", true, Duration::from_micros(1000)),
            ("carol-1", false, Duration::from_micros(500)),
            ("dave-1", false, Duration::from_micros(2500)), // its rate is 1,000 messages a second
        ];
        let mut members = Vec::new();
        for (name, makes, pace) in cast {
            let index = plan.sessions.iter().position(|one| one.name == name);
            let session = market.session(name).zip(index);
            let (session, index) = session
                .ok_or_else(|| Fail::new(format!("the demo's market has no session {name}")))?;
            let socket = connect()?;
            let transport = Repeating {
                socket,
                sent: 0,
                repeated: 0,
            };
            members.push(Member {
                session: session.clone(),
                index: index as u32,
                transport,
                makes,
                pace,
            });
        }
        Ok(Crew {
            members,
            terms,
            finish,
            alone,
        })
    }

    /// Lets them trade until `finish`.
    pub(super) fn go<'scope, 'env>(
        self,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Vec<ScopedJoinHandle<'scope, Result<Tally, Fail>>>
    where
        'a: 'scope,
    {
        let Crew {
            members,
            terms,
            finish,
            alone,
        } = self;
        members
            .into_iter()
            .map(|member| {
                let terms = terms.clone();
                scope.spawn(move || trade(member, &terms, finish, alone))
            })
            .collect()
    }
}

/// Sends packet after packet at its pace, each when the one before is answered.
fn trade(
    member: Member,
    terms: &[Terms],
    finish: &AtomicBool,
    alone: &AtomicBool,
) -> Result<Tally, Fail> {
    let mut tally = Tally::new(member.index);
    let mut trader = Trader::new(member.session, member.transport);
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ u64::from(member.index) << 17);
    let mut quotes = vec![VecDeque::new(); terms.len()];
    let begin = Instant::now();
    let mut next = begin;
    let mut orders = Vec::new();
    while !finish.load(Ordering::Acquire) {
        let which = dice.below(terms.len() as u32) as usize;
        let one = terms[which];
        // The price everybody sees walks up and down, so that quotes cross and are taken.
        let wave = (begin.elapsed().as_millis() / 40 % 64) as u32;
        let middle = one.middle + wave.min(64 - wave);
        orders.clear();
        if member.makes {
            let live: &mut VecDeque<Reference> = &mut quotes[which];
            while live.len() > QUOTES - 4 {
                orders.extend(
                    live.pop_front()
                        .map(|reference| Order::cancel(one.locate, reference)),
                );
            }
            for _ in 0..2 {
                orders.push(one.order(Side::Buy, middle - 1 - dice.below(8), 1 + dice.below(20)));
                orders.push(one.order(Side::Sell, middle + 1 + dice.below(8), 1 + dice.below(20)));
            }
        } else {
            let lots = 1 + dice.below(30);
            let order = match dice.below(2) {
                0 => one.order(Side::Buy, middle + 6, lots),
                _ => one.order(Side::Sell, middle - 6, lots),
            };
            orders.push(order.immediate());
        }
        let alone = alone.load(Ordering::Acquire);
        let sent = Instant::now();
        let acks = trader.submit(&orders)?;
        tally
            .round_trip
            .saturating_record(sent.elapsed().as_nanos() as u64);
        tally.sent += orders.len() as u64;
        tally.answered_alone += if alone { acks.len() as u64 } else { 0 };
        for (order, ack) in orders.iter().zip(&acks) {
            if member.makes && order.message().letter == b'A' && ack.outcome != Outcome::Rejected {
                quotes[which].push_back(ack.reference);
            }
        }
        tally.acks.extend_from_slice(&acks);
        next = (next + member.pace).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    tally.packets = trader.stats().packets;
    tally.repeated = trader.transport().repeated;
    Ok(tally)
}
