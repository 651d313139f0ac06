//! The engine in this process, through the ingress that a session has: packets without a tag, each taken, matched, recorded and answered.

use crate::clock::{Times, ticks};
use crate::fail::BenchError;
use crate::flows::{Packed, Prepared};
use ring0_drive::{Fold, MemoryRing, Stop, set_up};
use ring0_engine::Recorder;
use ring0_engine::native::{Native, TagRule, Tape};
use ring0_stream::lobstrm::Trades;
use serde_json::{Value, json};
use std::time::Instant;

/// Slots of the record ring, 4 MiB: it does not fit a core's own cache, so that writing records costs what it costs in earnest, and
/// nobody reads it, so that no reader holds the engine up.
pub(crate) const RECORD_SLOTS: usize = 1 << 16;
/// Time between packets; nothing here depends on it but that it goes on.
pub(crate) const PACKET_NS: u64 = 1_000;

/// What is timed.
pub(crate) const TIMED: &str = "full packets without a tag: sequence, holds, references, match, record into a ring, stored answer";

/// An empty shard with the flow's market.
fn shard<R: Recorder>(flow: &Prepared, recorder: R) -> Result<Native<R>, BenchError> {
    let mut native = Native::with_recorder(&flow.market.capacity(1)?, recorder)?;
    set_up(native.control(&flow.controls(), 0))?;
    Ok(native)
}

#[inline(always)]
fn packet<R: Recorder>(
    native: &mut Native<R>,
    packed: &Packed,
    index: usize,
) -> Result<(), BenchError> {
    let boot_ns = index as u64 * PACKET_NS;
    let answered =
        native.packet_in_place(packed.packets.get(index), boot_ns, |_| TagRule::Unchecked);
    answered
        .map(drop)
        .map_err(|cause| BenchError::Dropped { index, cause })
}

fn prefill<R: Recorder>(native: &mut Native<R>, packed: &Packed) -> Result<(), BenchError> {
    (0..packed.prefill).try_for_each(|index| packet(native, packed, index))
}

/// The timed part. Callgrind counts what happens inside by this function's name ([`crate::instructions`]).
#[inline(never)]
fn timed_packets<R: Recorder>(native: &mut Native<R>, packed: &Packed) -> Result<(), BenchError> {
    (packed.prefill..packed.packets.len()).try_for_each(|index| packet(native, packed, index))
}

/// One round with fresh books; nanoseconds of the timed part.
pub(crate) fn round(flow: &Prepared, packed: &Packed) -> Result<f64, BenchError> {
    let mut native = shard(flow, MemoryRing::new(RECORD_SLOTS))?;
    prefill(&mut native, packed)?;
    let begin = Instant::now();
    timed_packets(&mut native, packed)?;
    let took = begin.elapsed().as_nanos() as f64;
    let (live, wanted) = (
        u64::from(native.shard().header().orders_live.get()),
        flow.stream.header().exp_live.get(),
    );
    if live != wanted {
        return Err(disagreed(flow, format!("{live} orders rest, not {wanted}")));
    }
    Ok(took)
}

/// The time of each packet of one message.
pub(crate) fn latencies(flow: &Prepared) -> Result<Times, BenchError> {
    let packed = flow.single(None);
    let mut native = shard(flow, MemoryRing::new(RECORD_SLOTS))?;
    prefill(&mut native, &packed)?;
    let mut times = Times::new();
    for index in packed.prefill..packed.packets.len() {
        let begin = ticks();
        packet(&mut native, &packed, index)?;
        times.add(ticks() - begin);
    }
    Ok(times)
}

/// What a run with all records read came to.
pub(crate) struct Checked {
    /// The trades.
    pub(crate) trades: Trades,
    /// Hash of the state at the end.
    pub(crate) state_hash: String,
    /// What a resting order takes.
    pub(crate) memory: Value,
}

/// Runs the packets, keeps every record and folds the trades. A run that stops tells where.
fn keep(
    flow: &Prepared,
    packed: &Packed,
) -> Result<(Native<Tape>, Trades, Option<Stop>), BenchError> {
    let mut native = shard(flow, Tape::default())?;
    let mut fold = Fold::new(&flow.references, flow.stream.records().len());
    fold.records(&native.take_records());
    for index in 0..packed.packets.len() {
        packet(&mut native, packed, index)?;
        fold.records(&native.take_records());
        if fold.stop.is_some() {
            break;
        }
    }
    let trades = fold.trades();
    Ok((native, trades, fold.stop))
}

/// Where the flow's packets, as they are cut now, cannot go on.
pub(crate) fn trial(flow: &Prepared) -> Result<Option<Stop>, BenchError> {
    Ok(keep(flow, &flow.full(None))?.2)
}

/// The trades of full packets and what a resting order takes at the end.
pub(crate) fn check(flow: &Prepared, packed: &Packed) -> Result<Checked, BenchError> {
    let (native, trades, _) = keep(flow, packed)?;
    let expected = flow.stream.header().expected();
    if trades != expected {
        return Err(disagreed(flow, format!("{trades:?}, not {expected:?}")));
    }
    Ok(Checked {
        trades,
        state_hash: native.shard().state_hash().to_string(),
        memory: memory(&native),
    })
}

fn disagreed(flow: &Prepared, what: String) -> BenchError {
    BenchError::Disagreed {
        engine: "native",
        flow: flow.name,
        what,
    }
}

/// Bytes that a resting order has among the hot ones: its own, its place in the session's reference window, and its share of the
/// level with the level's handle in the ladder. Bitmaps and the rest of the ladder are of the instrument.
fn memory(native: &Native<Tape>) -> Value {
    let entry = |name: &str| {
        let parts = &native.layout().parts;
        let part = parts.iter().find(|part| part.name == name);
        part.map_or(0, |part| part.entry_len)
    };
    let (order, reference) = (entry("orders"), entry("references"));
    let (level, handle) = (entry("levels"), entry("ladder"));
    let shard = native.shard();
    let (orders, levels) = (
        shard.header().orders_live.get(),
        shard.header().levels_live.get(),
    );
    let share = f64::from(levels) / f64::from(orders.max(1));
    json!({
        "order_bytes": order,
        "reference_bytes": reference,
        "level_bytes": level,
        "ladder_handle_bytes": handle,
        "resting_orders": orders,
        "levels_in_use": levels,
        "hot_bytes_per_resting_order": (order + reference) as f64 + (level + handle) as f64 * share,
    })
}

/// One round, for callgrind.
pub(crate) fn count(flow: &Prepared) -> Result<(), BenchError> {
    round(flow, &flow.full(None)).map(drop)
}
