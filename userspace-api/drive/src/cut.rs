//! A stream's records as packets of one session.
//!
//! Invariants: messages keep the stream's order. No message is refused for a packet's work: a packet ends before an order that more
//! than `PACKET_WORK_MAX − FILLS_MAX` fills could stand before. An order that reached the fill cap ends its packet, and heartbeats
//! behind it take its continuation; which orders do is learnt by runs that stop there ([`Ends`]).

use crate::fold::Stop;
use crate::market::{TICK_WIRE, session_id};
use crate::{DriveError, Packets};
use ring0_engine::Reason;
use ring0_engine::limits::{FILLS_MAX, PACKET_WORK_MAX};
use ring0_stream::Side;
use ring0_stream::lobstrm::{Op, Record, Stream};
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::message::{BUY, SELL, STOCK_SPACES};
use ring0_wire::{Flags, Key, SelfTrade, TimeInForce};
use std::collections::HashSet;

/// Fills that may stand before an entering message of a packet (`docs/matching.md`, Enter 11).
const WORK_BEFORE: u32 = PACKET_WORK_MAX - FILLS_MAX;
/// Runs that may stop at a fill cap before every order that could reach it ends its packet.
const RESTARTS_MAX: u32 = 16;

/// How a stream is cut into packets.
pub struct Cut<'a> {
    /// Session and place of its instruments.
    pub number: u32,
    /// Symbols of each session.
    pub symbols: u32,
    /// Messages of a packet at the most.
    pub messages_max: u16,
    /// Signs packets; without it tags are blank.
    pub key: Option<&'a Key>,
    /// Orders that reach the fill cap.
    pub ends: &'a Ends,
}

/// Orders that reach the fill cap, learnt from runs that stopped at one.
#[derive(Default)]
pub struct Ends {
    /// By their number.
    orders: HashSet<u64>,
    restarts: u32,
}

impl Ends {
    /// Takes in where a run stopped; the stream is then cut anew and run again.
    ///
    /// # Errors
    /// No other cut helps.
    pub fn learn(&mut self, stream: &Stream, stop: Stop) -> Result<(), DriveError> {
        let order = match stop {
            Stop::FillCap(order) => order,
            Stop::Refused { reference, reason } => {
                let reason = Reason::from_number(reason).map_or("an unknown reason", Reason::name);
                return Err(DriveError::Refused { reference, reason });
            }
        };
        self.restarts += 1;
        if self.restarts > RESTARTS_MAX {
            let could = |it: &&Record| it.op == Op::Cross && it.qty.get() > FILLS_MAX;
            let orders = stream.records().iter().filter(could);
            self.orders
                .extend(orders.map(|record| record.order_id.get()));
        }
        if !self.orders.insert(order) && self.restarts > RESTARTS_MAX + 1 {
            return Err(DriveError::Alone(order));
        }
        Ok(())
    }
}

/// References of a stream's orders.
pub struct References {
    /// By order number, where numbers do not enter in rising order.
    mapped: Option<Vec<u32>>,
    /// Order number by reference, likewise.
    back: Vec<u64>,
}

impl References {
    /// Order numbers are references where they rise; else orders are numbered anew in the sequence of their entry.
    ///
    /// # Errors
    /// There are more orders than references.
    pub fn of(stream: &Stream) -> Result<References, DriveError> {
        let enters = || stream.records().iter().filter(|it| it.op != Op::Cancel);
        if stream.header().max_order_id.get() >= u32::MAX.into() {
            return Err(DriveError::References);
        }
        if enters().is_sorted_by_key(|record| record.order_id.get()) {
            return Ok(References {
                mapped: None,
                back: Vec::new(),
            });
        }
        let mut mapped = vec![0; stream.header().max_order_id.get() as usize + 1];
        let mut back = vec![0];
        for (reference, record) in (1..).zip(enters()) {
            mapped[record.order_id.get() as usize] = reference;
            back.push(record.order_id.get());
        }
        Ok(References {
            mapped: Some(mapped),
            back,
        })
    }

    /// Whether orders were numbered anew.
    #[must_use]
    pub fn are_mapped(&self) -> bool {
        self.mapped.is_some()
    }

    pub(crate) fn reference(&self, order: u64) -> u32 {
        match &self.mapped {
            Some(mapped) => mapped[order as usize],
            None => order as u32,
        }
    }

    pub(crate) fn order(&self, reference: u32) -> u64 {
        match &self.mapped {
            Some(_) => self.back[reference as usize],
            None => reference.into(),
        }
    }
}

/// Cuts records into packets behind those that are there; gives the client sequence after the last.
///
/// # Panics
/// A message does not fit an empty packet, which is a bug.
pub fn cut(
    records: &[Record],
    references: &References,
    cut: &Cut<'_>,
    mut sequence: u64,
    packets: &mut Packets,
) -> u64 {
    let session = session_id(cut.number);
    let mut builder = PacketBuilder::new(session, sequence);
    let mut work = 0;
    let mut push = |builder: &mut PacketBuilder, sequence: &mut u64| {
        *sequence = builder.next_sequence();
        let full = std::mem::replace(builder, PacketBuilder::new(session, *sequence));
        packets.push(&full.sign(cut.key));
    };
    for record in records {
        let message = inbound(record, references, cut);
        let enters = record.op != Op::Cancel;
        if builder.messages() >= cut.messages_max || (enters && work > WORK_BEFORE) {
            push(&mut builder, &mut sequence);
            work = 0;
        }
        if builder.push(&message).is_err() {
            push(&mut builder, &mut sequence);
            work = 0;
            builder.push(&message).expect("one message has room");
        }
        if record.op == Op::Cross {
            work += record.qty.get().min(FILLS_MAX);
        }
        if cut.ends.orders.contains(&record.order_id.get()) && enters {
            push(&mut builder, &mut sequence);
            work = 0;
            // A run begins with up to `STEPS_MAX` steps of `FILLS_MAX` fills each; a fill is a lot at least.
            for _ in 0..record.qty.get() / FILLS_MAX + 1 {
                push(&mut builder, &mut sequence);
            }
        }
    }
    if builder.messages() > 0 {
        push(&mut builder, &mut sequence);
    }
    sequence
}

fn inbound(record: &Record, references: &References, cut: &Cut<'_>) -> Inbound {
    let mut message = ring0_wire::Message {
        letter: b'D',
        locate: (cut.number * cut.symbols + u32::from(record.symbol.get()) + 1) as u16,
        reference: references.reference(record.order_id.get()),
        ..ring0_wire::Message::default()
    };
    if record.op != Op::Cancel {
        message.letter = b'A';
        message.flags = Flags::new(TimeInForce::Day, SelfTrade::AccountDefault);
        message.side = match record.side {
            Side::Buy => BUY,
            Side::Sell => SELL,
        };
        message.shares = record.qty.get();
        message.price = record.price_ticks.get() * TICK_WIRE;
        message.stock = STOCK_SPACES;
    }
    Inbound::from_message(&message).expect("a letter of ours")
}
