//! Engines of other people, on the same records: one book a symbol, good-till-cancelled limit orders and cancels.
//!
//! None of them has sessions, balances, references or records: what is timed is the book alone, with its trades looked at. Each
//! gets what its interface offers to be fast: memory asked for ahead, plain numbers as ids, buffers used again.

mod lobster;
mod obcore;

pub(crate) use lobster::Lobster;
pub(crate) use obcore::Obcore;

use crate::clock::{Times, ticks};
use crate::flows::Prepared;
use ring0_stream::lobstrm::{Checksum, Record, Stream, Trades};
use std::hint::black_box;
use std::time::Instant;

/// What is timed.
pub(crate) const TIMED: &str =
    "records in memory into the book, its trades counted: no session, hold, reference or record";

/// Another engine.
pub(crate) trait Peer {
    /// Package and version.
    const NAME: &'static str;

    /// Whether it can do what the flow asks for. All can, while every flow is limit orders and cancels.
    fn carries_out(_: &Prepared) -> bool {
        true
    }

    /// Empty books for a stream.
    fn new(stream: &Stream) -> Self;

    /// Carries one record out; `trade` gets each trade's resting order, price and quantity.
    fn take(&mut self, record: &Record, trade: impl FnMut(u64, u64, u64));
}

/// Count and quantity of trades.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
struct Sums {
    count: u64,
    qty: u64,
}

impl Sums {
    #[inline]
    fn take<P: Peer>(&mut self, peer: &mut P, record: &Record) {
        peer.take(record, |maker, price, qty| {
            black_box((maker, price));
            self.count += 1;
            self.qty += qty;
        });
    }
}

/// One round with fresh books; nanoseconds of the timed part.
pub(crate) fn round<P: Peer>(flow: &Prepared) -> f64 {
    let mut peer = P::new(&flow.stream);
    let mut sums = Sums::default();
    for record in flow.stream.prefill() {
        sums.take(&mut peer, record);
    }
    let begin = Instant::now();
    for record in flow.stream.timed() {
        sums.take(&mut peer, record);
    }
    let took = begin.elapsed().as_nanos() as f64;
    black_box((sums.count, sums.qty));
    took
}

/// The time of each message.
pub(crate) fn latencies<P: Peer>(flow: &Prepared) -> Times {
    let mut peer = P::new(&flow.stream);
    let mut sums = Sums::default();
    for record in flow.stream.prefill() {
        sums.take(&mut peer, record);
    }
    let mut times = Times::new();
    for record in flow.stream.timed() {
        let begin = ticks();
        sums.take(&mut peer, record);
        times.add(ticks() - begin);
    }
    black_box((sums.count, sums.qty));
    times
}

/// The trades of the whole stream.
pub(crate) fn check<P: Peer>(flow: &Prepared) -> Trades {
    let mut peer = P::new(&flow.stream);
    let mut checksum = Checksum::new();
    for record in flow.stream.records() {
        let taker = record.order_id.get();
        peer.take(record, |maker, price, qty| {
            // Prices and quantities of a stream fit 32 bits; a peer that makes larger ones is wrong, and so is its checksum then.
            checksum.trade(maker, taker, price as u32, qty as u32);
        });
    }
    checksum.trades()
}
