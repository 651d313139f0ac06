//! The engine in the kernel by test-run: the program's own time of each packet, as the kernel says it.

use crate::clock::Times;
use crate::fail::BenchError;
use crate::flows::{Packed, Prepared};
use ring0_drive::{Fold, WireLab, XDP_TX, set_up};
use ring0_rings::{Live, Ring};
use ring0_stream::lobstrm::Trades;
use ring0_wire::Key;
use serde_json::{Value, json};

/// Slots of the record ring: 4 MiB, as the native engine's, so that what is written over and over weighs the same on both caches.
pub(crate) const RECORD_SLOTS: u32 = 1 << 16;
/// A full packet takes 1,300 slots at the most: read this often, no record is written over.
const PACKETS_PER_READ: usize = 32;

/// What is timed.
pub(crate) const TIMED: &str = "full packets, one a test-run, the program's own time: parse, (tag,) sequence, holds, references, match, record, answer";

/// A shard in the kernel with the flow's market, and its packets as frames.
struct Loaded<'a> {
    lab: WireLab,
    packed: &'a Packed,
}

impl<'a> Loaded<'a> {
    fn up(flow: &Prepared, packed: &'a Packed, key: Option<&[u8; 16]>) -> Result<Self, BenchError> {
        let mut lab = WireLab::up(&flow.market.capacity(1)?, RECORD_SLOTS)?;
        lab.shard.set_key(0, key)?;
        set_up(lab.shard.command(&flow.controls())?)?;
        Ok(Loaded { lab, packed })
    }

    /// Runs packet `index`; nanoseconds.
    fn run(&self, index: usize) -> Result<u64, BenchError> {
        let shard = &self.lab.shard;
        let ran = shard.run_frame(&shard.frame(self.packed.packets.get(index)))?;
        if ran.verdict != XDP_TX {
            let verdict = ran.verdict;
            return Err(BenchError::NoAnswer { index, verdict });
        }
        Ok(ran.duration_ns.into())
    }

    fn prefill(&self) -> Result<(), BenchError> {
        (0..self.packed.prefill).try_for_each(|index| self.run(index).map(drop))
    }

    fn timed(&self) -> std::ops::Range<usize> {
        self.packed.prefill..self.packed.packets.len()
    }
}

/// One round with fresh books; nanoseconds of the timed packets.
pub(crate) fn round(
    flow: &Prepared,
    packed: &Packed,
    key: Option<&[u8; 16]>,
) -> Result<f64, BenchError> {
    let loaded = Loaded::up(flow, packed, key)?;
    loaded.prefill()?;
    let mut took = 0;
    for index in loaded.timed() {
        took += loaded.run(index)?;
    }
    Ok(took as f64)
}

/// The program's time of each packet of one message, in nanoseconds.
pub(crate) fn latencies(flow: &Prepared, key: Option<&[u8; 16]>) -> Result<Times, BenchError> {
    let packed = flow.single(key.map(Key::from_bytes).as_ref());
    let loaded = Loaded::up(flow, &packed, key)?;
    loaded.prefill()?;
    let mut times = Times::new();
    for index in loaded.timed() {
        times.add(loaded.run(index)?);
    }
    Ok(times)
}

/// What the verifier said of the program when it was loaded.
pub(crate) fn verifier(lab: &WireLab) -> Value {
    let report = &lab.loaded.report;
    json!({
        "instructions": report.verified_instructions,
        "load_ms": report.load_ns as f64 / 1e6,
    })
}

/// The trades in the records of all packets, and what the verifier said.
pub(crate) fn check(
    flow: &Prepared,
    packed: &Packed,
    key: Option<&[u8; 16]>,
    engine: &'static str,
) -> Result<(Trades, Value), BenchError> {
    let mut loaded = Loaded::up(flow, packed, key)?;
    let mut fold = Fold::new(&flow.references, flow.stream.records().len());
    for index in 0..packed.packets.len() {
        loaded.run(index)?;
        if index % PACKETS_PER_READ == 0 {
            fold.records(&loaded.lab.shard.take_records()?);
        }
    }
    fold.records(&loaded.lab.shard.take_records()?);
    let (trades, expected) = (fold.trades(), flow.stream.header().expected());
    if trades != expected {
        return Err(BenchError::Disagreed {
            engine,
            flow: flow.name,
            what: format!("{trades:?}, not {expected:?}"),
        });
    }
    Ok((trades, verifier(&loaded.lab)))
}
