//! The streams that are measured, each ready to be carried to any engine.
//!
//! Seam: a further stream is one more line of [`FLOWS`], and a peer that cannot carry it out says so in
//! [`Peer::carries_out`](crate::peers::Peer::carries_out). What asks for more than a LOBSTRM1 record can say is a
//! [scene](crate::scenes).

use crate::fail::BenchError;
use crate::native;
use ring0_drive::{Cut, Ends, Market, Packets, References, clock, cut};
use ring0_engine::control::Control;
use ring0_stream::lobstrm::{Stream, generate, generate_crash};
use ring0_wire::{Key, MESSAGES_MAX};

/// Orders that rest before the clock starts, at the most.
const PREFILL_MAX: u64 = 100_000;

/// How a stream is made.
pub(crate) struct Flow {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// From seed, timed messages and prefill.
    make: fn(u64, u64, u64) -> Stream,
}

/// All streams.
pub(crate) const FLOWS: [Flow; 3] = [
    Flow {
        name: "one_instrument",
        make: |seed, messages, prefill| generate(seed, messages, prefill, 1),
    },
    Flow {
        name: "64_instruments",
        make: |seed, messages, prefill| generate(seed, messages, prefill, 64),
    },
    Flow {
        name: "flash_crash",
        make: generate_crash,
    },
];

/// Records that build the books before so many timed ones.
pub(crate) fn prefill(messages: u64) -> u64 {
    (messages / 10).min(PREFILL_MAX)
}

impl Flow {
    /// Makes the stream and learns how it is cut.
    pub(crate) fn prepare(&self, seed: u64, messages: u64) -> Result<Prepared, BenchError> {
        let stream = (self.make)(seed, messages, prefill(messages));
        let mut prepared = Prepared {
            name: self.name,
            market: Market::of(&stream),
            references: References::of(&stream)?,
            ends: Ends::default(),
            stream,
        };
        // Full packets are cut by their orders that reach the fill cap, and which do is learnt by running them.
        while let Some(stop) = native::trial(&prepared)? {
            prepared.ends.learn(&prepared.stream, stop)?;
        }
        Ok(prepared)
    }
}

/// A stream in memory.
pub(crate) struct Prepared {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// The records.
    pub(crate) stream: Stream,
    /// What it needs of a shard.
    pub(crate) market: Market,
    /// Client references of its orders.
    pub(crate) references: References,
    ends: Ends,
}

/// A stream as packets.
pub(crate) struct Packed {
    /// The packets.
    pub(crate) packets: Packets,
    /// Packets that are not timed.
    pub(crate) prefill: usize,
}

impl Packed {
    /// Timed messages of a packet, on average.
    pub(crate) fn messages_per_packet(&self, flow: &Prepared) -> f64 {
        let packets = self.packets.len() - self.prefill;
        flow.stream.timed().len() as f64 / packets.max(1) as f64
    }
}

impl Prepared {
    /// Packets as full as they can be; with a key they are signed.
    pub(crate) fn full(&self, key: Option<&Key>) -> Packed {
        self.cut(MESSAGES_MAX, key)
    }

    /// Packets of one message.
    pub(crate) fn single(&self, key: Option<&Key>) -> Packed {
        self.cut(1, key)
    }

    fn cut(&self, messages_max: u16, key: Option<&Key>) -> Packed {
        let plan = Cut {
            number: 0,
            symbols: self.market.symbols,
            messages_max,
            key,
            ends: &self.ends,
        };
        let mut packets = Packets::default();
        let next = cut(
            self.stream.prefill(),
            &self.references,
            &plan,
            1,
            &mut packets,
        );
        let prefill = packets.len();
        cut(
            self.stream.timed(),
            &self.references,
            &plan,
            next,
            &mut packets,
        );
        Packed { packets, prefill }
    }

    /// The commands that make its market.
    pub(crate) fn controls(&self) -> Vec<Control> {
        let mut controls = vec![clock()];
        controls.extend(self.market.controls(0));
        controls
    }
}
