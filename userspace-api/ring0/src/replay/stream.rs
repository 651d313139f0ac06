//! A LOBSTRM1 stream as full packets of one session, through any ring, its trades compared with the header.
//!
//! Invariants: the stream and every packet are in memory before the clock starts, and for the kernel signed. Market, packets and
//! trades are those of `ring0_drive`. Rule: `docs/streams.md#driving-a-ring`.

use super::{RingName, timeless};
use crate::bench::pump::Pump;
use crate::fail::Fail;
use ring0_drive::{
    ANSWERS_LOG2, Cut, Ends, Fold, Market, Packets, References, RingLab, ThreadRing, WireLab,
    XDP_TX, clock, cut, rand_key, set_up,
};
use ring0_engine::canon::StateHash;
use ring0_engine::control::Control;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::native::{Native, TagRule};
use ring0_engine::reference::Reference;
use ring0_engine::{Recorder, Shard, copy_outbox};
use ring0_rings::{Live, Ring};
use ring0_stream::lobstrm::Stream;
use ring0_wire::Key;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Instant;

/// Slots of the kernel's record ring. A full packet takes 1,300 at the most, and it is read every 256 packets.
const RECORD_SLOTS: u32 = 1 << 20;
const PACKETS_PER_READ: usize = 256;
/// Keeps the records of one run, in the same memory each time.
#[derive(Default)]
struct Keep {
    bytes: RefCell<Vec<u8>>,
}

impl Recorder for Keep {
    fn free(&self) -> u64 {
        u64::MAX
    }

    fn reserve(&self) -> u64 {
        0
    }

    fn publish(&self, shard: Shard<'_>, slots: u32) {
        let mut bytes = self.bytes.borrow_mut();
        copy_outbox(shard, slots, |_, words| {
            let mut slot = [0; SLOT_LEN];
            for (to, word) in slot.chunks_exact_mut(8).zip(&words.word) {
                to.copy_from_slice(&word.get().to_le_bytes());
            }
            bytes.extend_from_slice(&slot);
        });
    }
}

/// What a run came to.
struct Ran {
    elapsed_ns: u64,
    /// Time that the kernel says the program took.
    program_ns: Option<u64>,
    state_hash: StateHash,
    timeless: StateHash,
}

/// Replays the stream; gives the report, and what disagreed.
pub(crate) fn run(
    file: &Path,
    ring: RingName,
    wire: bool,
) -> Result<(Value, Option<String>), Fail> {
    let stream = Stream::read(file).map_err(Fail::new)?;
    let references = References::of(&stream)?;
    let market = Market::of(&stream);
    let mut ends = Ends::default();
    let (ran, fold, packets) = loop {
        let is_alive = ring == RingName::Kernel || ring.thread().is_some();
        let bytes = is_alive.then(rand_key);
        let key = bytes.as_ref().map(Key::from_bytes);
        let plan = Cut {
            number: 0,
            symbols: market.symbols,
            messages_max: ring0_wire::MESSAGES_MAX,
            key: key.as_ref(),
            ends: &ends,
        };
        let mut packets = Packets::default();
        let next = cut(stream.prefill(), &references, &plan, 1, &mut packets);
        let prefill = packets.len();
        cut(stream.timed(), &references, &plan, next, &mut packets);
        let mut fold = Fold::new(&references, stream.records().len());
        let run = Run {
            market: &market,
            packets: &packets,
            prefill,
        };
        let ran = match ring {
            RingName::Native => run.native(&mut fold),
            RingName::Reference => run.reference(&mut fold),
            RingName::Kernel if wire => run.kernel_wire(&mut fold, bytes.as_ref()),
            RingName::Kernel => run.kernel(&mut fold, bytes.as_ref()),
            RingName::Afxdp | RingName::Dpdk | RingName::Udp => {
                let thread = ring.thread().expect("one of these three");
                run.thread(thread, &mut fold, bytes.as_ref())
            }
        }?;
        match fold.stop.take() {
            None => break (ran, fold, packets.len()),
            Some(stop) => ends.learn(&stream, stop).map_err(|error| {
                let (file, ring) = (file.display(), ring.name());
                Fail::disagreed(format!("{file}: the {ring} ring: {error}"))
            })?,
        }
    };

    let trades = fold.trades();
    let expected = stream.header().expected();
    let timed = stream.timed().len().max(1) as f64;
    let timing = match ring {
        RingName::Kernel if wire => {
            "pre-signed packets over veth from one UDP socket: send, tag, sequence, match, record, answer, receive, read of the records"
        }
        RingName::Afxdp | RingName::Dpdk | RingName::Udp => {
            "pre-signed packets from one UDP socket to the ring's thread: send, tag, sequence, match, record, answer, receive, read of the records"
        }
        RingName::Kernel => {
            "one pre-signed packet a run of the kernel program: system call, tag, sequence, match, record, answer, read of the records"
        }
        _ => {
            "packets without a tag into the engine in this process: sequence, match, record, answer, read of the records"
        }
    };
    let mut report = json!({
        "ring": ring.name(),
        "transport": match ring {
            RingName::Kernel if wire => "veth",
            RingName::Afxdp | RingName::Dpdk => "veth",
            RingName::Udp => "loopback",
            RingName::Kernel => "test-run, one packet a run",
            _ => "in process",
        },
        "timed": timing,
        "messages": stream.records().len(),
        "prefill": stream.prefill().len(),
        "packets": packets,
        "trades": trades.count,
        "quantity": trades.qty,
        "checksum": format!("{:#018x}", trades.checksum),
        "expected_match": trades == expected,
        "expected_trades": expected.count,
        "expected_quantity": expected.qty,
        "expected_checksum": format!("{:#018x}", expected.checksum),
        "ns_per_message": ran.elapsed_ns as f64 / timed,
        "references_mapped": references.are_mapped(),
        "state_hash": ran.state_hash.to_string(),
        "state_hash_without_time": ran.timeless.to_string(),
    });
    if let Some(program_ns) = ran.program_ns {
        report["program_ns_per_message"] = json!(program_ns as f64 / timed);
    }
    let disagreed = (trades != expected)
        .then(|| format!("{}: the trades are not those of the header", file.display()));
    Ok((report, disagreed))
}

/// A stream's packets, ready to be run.
struct Run<'a> {
    market: &'a Market,
    packets: &'a Packets,
    /// Packets before the clock starts.
    prefill: usize,
}

impl Run<'_> {
    fn controls(&self) -> Vec<Control> {
        let mut controls = vec![clock()];
        controls.extend(self.market.controls(0));
        controls
    }

    fn native(&self, fold: &mut Fold<'_>) -> Result<Ran, Fail> {
        let mut native = Native::with_recorder(&self.market.capacity(1)?, Keep::default())?;
        set_up(native.control(&self.controls(), 0))?;
        fold.records(&native.recorder().bytes.take());
        let mut begin = Instant::now();
        for index in 0..self.packets.len() {
            if index == self.prefill {
                begin = Instant::now();
            }
            let packet = self.packets.get(index);
            let answered =
                native.packet_in_place(packet, index as u64 * 1000, |_| TagRule::Unchecked);
            answered.map_err(|cause| Fail::new(format!("the packet was dropped: {cause:?}")))?;
            let mut bytes = native.recorder().bytes.borrow_mut();
            fold.records(&bytes);
            bytes.clear();
            if fold.stop.is_some() {
                break;
            }
        }
        let elapsed_ns = begin.elapsed().as_nanos() as u64;
        Ok(Ran {
            elapsed_ns,
            program_ns: None,
            state_hash: native.shard().state_hash(),
            timeless: timeless(|listing| native.shard().list(listing)),
        })
    }

    fn reference(&self, fold: &mut Fold<'_>) -> Result<Ran, Fail> {
        let mut reference = Reference::new(self.market.capacity(1)?);
        set_up(reference.control(&self.controls(), 0))?;
        fold.records(&reference.take_records());
        let mut begin = Instant::now();
        for index in 0..self.packets.len() {
            if index == self.prefill {
                begin = Instant::now();
            }
            reference.packet(self.packets.get(index), index as u64 * 1000);
            fold.records(&reference.take_records());
            if fold.stop.is_some() {
                break;
            }
        }
        let elapsed_ns = begin.elapsed().as_nanos() as u64;
        Ok(Ran {
            elapsed_ns,
            program_ns: None,
            state_hash: reference.state_hash(),
            timeless: timeless(|listing| reference.list(listing)),
        })
    }

    fn lab(&self, key: Option<&[u8; 16]>) -> Result<WireLab, Fail> {
        let mut lab = WireLab::up(&self.market.capacity(1)?, RECORD_SLOTS)?;
        lab.shard.set_key(0, key)?;
        set_up(lab.shard.command(&self.controls())?)?;
        Ok(lab)
    }

    fn kernel(&self, fold: &mut Fold<'_>, key: Option<&[u8; 16]>) -> Result<Ran, Fail> {
        let mut lab = self.lab(key)?;
        let shard = &mut lab.shard;
        fold.records(&shard.take_records()?);
        let packets = 0..self.packets.len();
        let frames: Vec<_> = packets
            .map(|it| shard.frame(self.packets.get(it)))
            .collect();
        let (mut begin, mut program_ns) = (Instant::now(), 0);
        for (index, frame) in frames.iter().enumerate() {
            if index == self.prefill {
                fold.records(&shard.take_records()?);
                (begin, program_ns) = (Instant::now(), 0);
            }
            let ran = shard.run_frame(frame)?;
            if ran.verdict != XDP_TX {
                return Err(Fail::disagreed(format!(
                    "packet {index} got no answer from the kernel program (verdict {})",
                    ran.verdict
                )));
            }
            program_ns += u64::from(ran.duration_ns);
            if index % PACKETS_PER_READ == 0 {
                fold.records(&shard.take_records()?);
                if fold.stop.is_some() {
                    break;
                }
            }
        }
        fold.records(&shard.take_records()?);
        let elapsed_ns = begin.elapsed().as_nanos() as u64;
        Ok(ended(shard, elapsed_ns, Some(program_ns)))
    }

    /// Over the wire of a living ring, one client's socket.
    fn wire(
        &self,
        fold: &mut Fold<'_>,
        socket: UdpSocket,
        ring: &mut dyn Ring,
    ) -> Result<u64, Fail> {
        fold.records(&ring.take_records()?);
        let mut pump = Pump::new(socket, self.packets, 1 << ANSWERS_LOG2)?;
        pump.run(self.prefill, |_| Ok(()))?;
        fold.records(&ring.take_records()?);
        let begin = Instant::now();
        pump.run(self.packets.len(), |_| {
            fold.records(&ring.take_records()?);
            match fold.stop {
                // What follows makes no sense any more; the packets are cut anew.
                Some(_) => Err(Fail::new("stopped")),
                None => Ok(()),
            }
        })
        .or_else(|fail| {
            if fold.stop.is_some() {
                Ok(())
            } else {
                Err(fail)
            }
        })?;
        fold.records(&ring.take_records()?);
        Ok(begin.elapsed().as_nanos() as u64)
    }

    fn kernel_wire(&self, fold: &mut Fold<'_>, key: Option<&[u8; 16]>) -> Result<Ran, Fail> {
        let mut lab = self.lab(key)?;
        let elapsed_ns = self.wire(fold, lab.trader_socket()?, &mut lab.shard)?;
        Ok(ended(&lab.shard, elapsed_ns, None))
    }

    fn thread(
        &self,
        ring: ThreadRing,
        fold: &mut Fold<'_>,
        key: Option<&[u8; 16]>,
    ) -> Result<Ran, Fail> {
        let mut lab = RingLab::up(ring, &self.market.capacity(1)?, RECORD_SLOTS)?;
        lab.wire.shard.set_key(0, key)?;
        set_up(lab.wire.shard.command(&self.controls())?)?;
        let elapsed_ns = self.wire(fold, lab.trader_socket()?, &mut lab.wire)?;
        Ok(ended(&lab.wire.shard, elapsed_ns, None))
    }
}

fn ended(shard: &dyn Live, elapsed_ns: u64, program_ns: Option<u64>) -> Ran {
    Ran {
        elapsed_ns,
        program_ns,
        state_hash: shard.shard().state_hash(),
        timeless: timeless(|listing| shard.shard().list(listing)),
    }
}
