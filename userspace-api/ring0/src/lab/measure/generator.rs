//! The generator: full packets of the flow, numbered and signed before the clock starts, through AF_XDP from one processor into a peer whose program
//! drops all. What it can send bounds what any ring could be shown to take.
//!
//! The frames are sent in turn again and again: a peer that drops all does not look at client sequences.

use super::figure;
use crate::bench::processors::Busy;
use crate::bench::rings::{CLIENT, go_on};
use crate::fail::Fail;
use crate::lab::progress::Progress;
use crate::lab::venue::Signed;
use ring0_afxdp::Generator;
use ring0_drive::{PORT, veth_up_with};
use ring0_engine::record::ReplyTo;
use ring0_lab::{Options, Veth};
use ring0_laboratory::scenario;
use ring0_rings::{HEADERS, headers, pin_to};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Frames that are prepared: 8 MiB, more than the second-level cache.
pub(in crate::lab) const FRAMES: usize = 4_096;
/// Packets between two looks whether a signal came.
const SLICE: u64 = 32_768;
/// UDP port that the packets say they come from.
const FROM: u16 = 40_000;

/// Measures; every packet is accounted for by the interface's own counters.
pub(in crate::lab) fn run(
    plan: &scenario::Generator,
    rounds: u32,
    signed: &Signed,
    wire: Options,
    stop: &AtomicBool,
) -> Result<Value, Fail> {
    let veth = veth_up_with(wire)?;
    let _drops = xdp_loader::Bare::discard(&veth.exchange_if, Some(&veth.exchange_ns))?;
    let end = signed.packets.len();
    let first = signed.prefill.min(end.saturating_sub(FRAMES));
    let frames: Vec<Vec<u8>> = (first..end.min(first + FRAMES))
        .map(|at| frame(&veth, signed.packets.get(at)))
        .collect::<Result<_, _>>()?;
    let messages: u64 = (first..first + frames.len())
        .map(|at| signed.packets.messages(at))
        .sum();
    let per_packet = messages as f64 / frames.len() as f64;
    let open = || Generator::open(&veth.trader_if, frames.iter().map(Vec::as_slice));
    let mut generator = veth.in_trader(open)?.map_err(Fail::new)?;
    pin_to(CLIENT)?;
    let packets = u64::from(plan.packets);
    let progress = Progress::new(packets * u64::from(rounds));
    progress.say("generator");
    let mut rates = Vec::new();
    let mut busy = Busy::default();
    for round in 0..u64::from(rounds) {
        let (before, begin) = (Busy::now(), Instant::now());
        let mut left = packets;
        while left > 0 {
            go_on(stop)?;
            let now = left.min(SLICE);
            generator.send(now).map_err(Fail::new)?;
            left -= now;
        }
        rates.push(packets as f64 / begin.elapsed().as_secs_f64());
        busy.add_since(&before);
        progress.at((round + 1) * packets);
    }
    let counted = statistics(&veth)?;
    let sum = |ends: &str| -> u64 {
        let queues = counted.iter();
        let queues =
            queues.filter(|(name, _)| name.starts_with("rx_queue_") && name.ends_with(ends));
        queues.map(|(_, count)| count).sum()
    };
    let (dropped, lost) = (sum("_xdp_drops"), sum("_drops") - sum("_xdp_drops"));
    let sent = generator.sent();
    let messages: Vec<f64> = rates.iter().map(|rate| rate * per_packet).collect();
    let report = json!({
        "note": "frames numbered and signed before the clock starts, through an AF_XDP socket in copy mode; on veth the peer's program runs on the sender's processor, so all of it is one processor's work",
        "messages_per_packet": per_packet,
        "messages_per_second": figure(&messages, "1/s", "higher"),
        "packets_per_second": figure(&rates, "1/s", "higher"),
        "frames": frames.len(),
        "processor": CLIENT,
        "busy_seconds_by_processor": busy.report(),
        "refused_calls": generator.refused(),
        "account": {
            "sent": sent,
            "dropped_by_the_peer": dropped,
            "dropped_on_the_way": lost,
            "closes": sent == dropped + lost,
        },
    });
    if sent != dropped + lost {
        return Err(Fail::disagreed(format!(
            "the generator's packets are not all accounted for: {}; the interface counted {counted:?}",
            report["account"]
        )));
    }
    Ok(report)
}

/// A whole frame from the trader's end to the exchange's.
fn frame(veth: &Veth, payload: &[u8]) -> Result<Vec<u8>, Fail> {
    let to = ReplyTo {
        address: veth.exchange_address.octets(),
        port: PORT,
        local: veth.trader_address.octets(),
        ..ReplyTo::default()
    };
    let hardware = (mac(&veth.exchange_mac)?, mac(&veth.trader_mac)?);
    let mut frame = headers(hardware, &to, FROM, payload.len()).to_vec();
    debug_assert_eq!(frame.len(), HEADERS);
    frame.extend_from_slice(payload);
    Ok(frame)
}

fn mac(text: &str) -> Result<[u8; 6], Fail> {
    let bytes = text.split(':').map(|it| u8::from_str_radix(it, 16));
    let bytes: Vec<u8> = bytes.filter_map(Result::ok).collect();
    bytes
        .try_into()
        .map_err(|_| Fail::new(format!("{text} is no hardware address")))
}

/// What the driver counts at the exchange's end, by its names.
fn statistics(veth: &Veth) -> Result<BTreeMap<String, u64>, Fail> {
    let output = Command::new("ip")
        .args([
            "netns",
            "exec",
            &veth.exchange_ns,
            "ethtool",
            "-S",
            &veth.exchange_if,
        ])
        .output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Fail::new(format!(
            "`ethtool -S {}` failed: {text}",
            veth.exchange_if
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| {
        let (name, count) = line.trim().split_once(": ")?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    Ok(lines.collect())
}
