//! A LOBSTER sample as L2E/1 packets of two traders, through any ring.
//!
//! In this process a packet goes straight into the engine; the kernel ring gets it from the trader SDK's socket over a veth
//! pair. Fills are read from the records, the book from the shard itself. Rule: `docs/streams.md#lobster`.

use super::{RingName, timeless};
use crate::fail::Fail;
use ring0_drive::{RingLab, WireLab, rand_key};
use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::native::Native;
use ring0_engine::record::{Filled, Head, Kind, Outcome, State, Step};
use ring0_engine::replay::Replayer;
use ring0_engine::{Capacity, Reason};
use ring0_rings::{Live, NativeRing, ReferenceRing, Ring, RingError};
use ring0_stream::Side;
use ring0_stream::lobster::{self, Book, Fill, Replay, Sample, TICK_WIRE};
use ring0_trader::{
    Locate, Order, Price, Reference, Session, Shares, Trader, TraderError, UdpTransport,
};
use ring0_wire::SessionId;
use ring0_wire::host::{Answer, Inbound, PacketBuilder};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::UdpSocket;
use std::path::Path;
use zerocopy::FromBytes;

/// Nanoseconds since midnight at which the replay's day begins.
const DAY_BASE_NS: u64 = 34_200_000_000_000;
/// What either trader has of either asset: below 2^63, above what a sample can trade.
const PLENTY: u64 = 1 << 60;
/// Rows of the sample that may differ: its levels below the tenth are not in it.
const LEVELS_MISSING_MAX: u64 = 14;
/// Runs that a continuation is given; an order of the largest quantity needs fewer.
const RUNS_MAX: u32 = 1 << 16;

/// Replays the sample; gives the report, and what disagreed.
pub(crate) fn run(dir: &Path, ring: RingName) -> Result<(Value, Option<String>), Fail> {
    let sample = Sample::read_dir(dir).map_err(Fail::new)?;
    let capacity = capacity(&sample);
    let mut driver = Driver::new(ring, &capacity, &controls(&sample))?;
    let report = Replay::new(&sample).run(&mut driver).map_err(Fail::new)?;

    let state_hash = driver.ring()?.state_hash();
    let replayed = driver.replayed(&capacity)?;
    let wanted_levels = report.rows.saturating_sub(LEVELS_MISSING_MAX);
    let disagreed = [
        (report.bbo_equal != report.rows, "best bid and ask"),
        (report.levels_equal < wanted_levels, "levels"),
        (
            report.account_equal != report.rows,
            "the account of the orders sent",
        ),
        (
            report.executions_in_priority != report.executions,
            "priority of executions",
        ),
        (
            replayed.shard().state_hash() != state_hash,
            "the state after replaying the records",
        ),
    ];
    let disagreed = disagreed
        .iter()
        .find(|(differs, _)| *differs)
        .map(|(_, what)| {
            format!(
                "{}: {what} disagreed; the report says how often",
                dir.display()
            )
        });
    let object = json!({
        "rows": report.rows,
        "bbo_equal": report.bbo_equal,
        "levels_equal": report.levels_equal,
        "reseeded": report.reseeded,
        "executions": report.executions,
        "executions_in_priority": report.executions_in_priority,
        "executions_by_id": report.by_id,
        "executions_by_seed": report.by_seed,
        "account_equal": report.account_equal,
        "unexplained": report.unexplained,
        "messages": driver.sent,
        "ring": ring.name(),
        "transport": driver.port.transport(),
        "state_hash": state_hash.to_string(),
        "replayed_state_hash": replayed.shard().state_hash().to_string(),
        "state_hash_without_time": timeless(|listing| replayed.shard().list(listing)).to_string(),
    });
    Ok((object, disagreed))
}

fn capacity(sample: &Sample) -> Capacity {
    let (_, ladder_len) = ladder(sample);
    Capacity {
        accounts: 2,
        assets: 2,
        instruments: 1,
        sessions: 2,
        orders: 1 << 16,
        levels: 1 << 14,
        ladder: ladder_len.next_power_of_two().max(64),
        answers: 2 * 256,
        references: 2 * (1 << 16),
        buckets: 1 << 10,
    }
}

/// Lowest tick and number of ticks, with some room on both sides.
fn ladder(sample: &Sample) -> (u32, u32) {
    let prices = sample.prices_wire();
    let base = (prices.start() / TICK_WIRE).saturating_sub(64).max(1);
    let top = prices.end() / TICK_WIRE + 64;
    (base, top - base + 1)
}

/// The id of a trader's session.
fn session_id(index: u32) -> SessionId {
    SessionId::new(index, 0x0105_7E12 + index).expect("20 and 30 bits")
}

fn controls(sample: &Sample) -> Vec<Control> {
    let (ladder_base, ladder_len) = ladder(sample);
    let clock = Clock {
        day_base_ns: DAY_BASE_NS,
    };
    let mut controls = vec![Control::new(ControlKind::Clock, &clock)];
    for account in 0..2 {
        let open = OpenAccount {
            account,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::OpenAccount, &open));
        for asset in 0..2 {
            let deposit = Deposit {
                account,
                asset,
                amount: PLENTY,
            };
            controls.push(Control::new(ControlKind::Deposit, &deposit));
        }
    }
    let list = List {
        instrument: 0,
        state: State::Continuous as u32,
        symbol: *b"LOBSTER ",
        base_asset: 1,
        quote_asset: 0,
        tick_size: TICK_WIRE,
        lot_size: 1,
        tick_value: 1,
        ladder_base,
        lot_value: 1,
        ladder_len,
        lots_max: 10_000_000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: -10,
        taker_ppm: 30,
    };
    controls.push(Control::new(ControlKind::List, &list));
    for session in 0..2 {
        let grant = Grant {
            session,
            account: session,
            id: session_id(session).0,
            answers_log2: 8,
            references_log2: 16,
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
            orders_max: 0,
            shares_max: 0,
            notional_max: 0,
            cancel_on_disconnect: 0,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::GrantSession, &grant));
    }
    controls
}

/// What can go wrong between replay and ring.
#[derive(Debug, thiserror::Error)]
enum DriveError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error(transparent)]
    Trader(#[from] TraderError),
    #[error("the answer cannot be read: {0}")]
    Answer(#[from] ring0_wire::host::AnswerError),
    #[error("reference {reference} was refused: {reason}")]
    Refused {
        reference: u32,
        reason: &'static str,
    },
    #[error("a fill names order {0}, which nobody entered")]
    UnknownOrder(u64),
    #[error("the continuation of reference {0} did not end")]
    Endless(u32),
}

/// How packets reach the ring.
enum Port {
    InProcess {
        ring: Box<dyn Ring>,
        /// Client sequence of each trader's next packet.
        next: [u64; 2],
        boot_ns: u64,
    },
    Wire {
        traders: Box<[Trader<UdpTransport>; 2]>,
        lab: Lab,
    },
}

impl Port {
    fn transport(&self) -> &'static str {
        match self {
            Port::InProcess { .. } => "in process",
            Port::Wire {
                lab: Lab::Thread(lab),
                ..
            } if lab.wire.name() == "udp" => "UDP sockets on loopback",
            Port::Wire { .. } => "UDP sockets over veth",
        }
    }
}

/// What an ack says.
struct Acked {
    outcome: u8,
    reason: u8,
    venue_sequence: u64,
}

/// A living ring.
enum Lab {
    Kernel(Box<WireLab>),
    Thread(Box<RingLab>),
}

impl Lab {
    fn ring(&mut self) -> &mut dyn Ring {
        match self {
            Lab::Kernel(lab) => &mut lab.shard,
            Lab::Thread(lab) => &mut lab.wire,
        }
    }
}

/// The two traders, with these keys and a socket each.
fn traders(
    keys: &[[u8; 16]; 2],
    socket: impl Fn() -> Result<UdpSocket, Fail>,
) -> Result<Box<[Trader<UdpTransport>; 2]>, Fail> {
    let trader = |index: u32| -> Result<_, Fail> {
        let session = Session::new(session_id(index), &keys[index as usize]);
        let transport = UdpTransport::new(socket()?);
        Ok(Trader::new(session.with_answers(256), transport))
    };
    Ok(Box::new([trader(0)?, trader(1)?]))
}

/// [`Book`] over a ring.
struct Driver {
    port: Port,
    /// Reference of each order by its id.
    references: HashMap<u64, u32>,
    /// Everything the ring recorded.
    records: Vec<u8>,
    /// Records looked at for fills.
    seen: usize,
    /// The last continuation step said that it was the last.
    step_done: bool,
    sent: u64,
}

impl Driver {
    fn new(ring: RingName, capacity: &Capacity, controls: &[Control]) -> Result<Driver, Fail> {
        let in_process = |ring| Port::InProcess {
            ring,
            next: [1, 1],
            boot_ns: 0,
        };
        let port = match ring {
            RingName::Native => in_process(Box::new(NativeRing::new(capacity)?)),
            RingName::Reference => in_process(Box::new(ReferenceRing::new(capacity))),
            RingName::Kernel => {
                let mut lab = Box::new(WireLab::up(capacity, 1 << 16)?);
                let keys = [0, 1].map(|_| rand_key());
                for (session, key) in (0..).zip(&keys) {
                    lab.shard.set_key(session, Some(key))?;
                }
                let traders = traders(&keys, || Ok(lab.trader_socket()?))?;
                Port::Wire {
                    traders,
                    lab: Lab::Kernel(lab),
                }
            }
            RingName::Afxdp | RingName::Dpdk | RingName::Udp => {
                let ring = ring.thread().expect("one of these three");
                let mut lab = Box::new(RingLab::up(ring, capacity, 1 << 16)?);
                let keys = [0, 1].map(|_| rand_key());
                for (session, key) in (0..).zip(&keys) {
                    lab.wire.shard.set_key(session, Some(key))?;
                }
                let traders = traders(&keys, || Ok(lab.trader_socket()?))?;
                Port::Wire {
                    traders,
                    lab: Lab::Thread(lab),
                }
            }
        };
        let mut driver = Driver {
            port,
            references: HashMap::new(),
            records: Vec::new(),
            seen: 0,
            step_done: false,
            sent: 0,
        };
        let results = driver.ring()?.control(controls, 0)?;
        match results
            .iter()
            .find(|(outcome, _)| *outcome != Outcome::Accepted)
        {
            Some((_, reason)) => Err(Fail::new(format!(
                "the ring refused to set the market up: {}",
                reason.name()
            ))),
            None => Ok(driver),
        }
    }

    fn ring(&mut self) -> Result<&mut dyn Ring, Fail> {
        Ok(match &mut self.port {
            Port::InProcess { ring, .. } => ring.as_mut(),
            Port::Wire { lab, .. } => lab.ring(),
        })
    }

    /// One message, one packet, one ack; takes the records.
    fn send(&mut self, trader: lobster::Trader, order: Order) -> Result<Acked, DriveError> {
        self.sent += 1;
        let index = trader as usize;
        let message = *order.message();
        let acked = match &mut self.port {
            Port::InProcess {
                ring,
                next,
                boot_ns,
            } => {
                let mut builder = PacketBuilder::new(session_id(index as u32), next[index]);
                let inbound = Inbound::from_message(&message).expect("a letter of ours");
                builder.push(&inbound).expect("one message has room");
                next[index] = builder.next_sequence();
                *boot_ns += 1000;
                let answer = ring.packet(&builder.sign(None), *boot_ns)?;
                let ack = Answer::read(&answer, None)?.acks[0];
                Acked {
                    outcome: ack.result,
                    reason: ack.reason,
                    venue_sequence: ack.sequence,
                }
            }
            Port::Wire { traders, .. } => {
                let ack = traders[index].submit(&[order])?[0];
                let outcome = match ack.outcome {
                    ring0_trader::Outcome::Accepted => Outcome::Accepted,
                    ring0_trader::Outcome::Continues => Outcome::Continues,
                    _ => Outcome::Rejected,
                };
                Acked {
                    outcome: outcome as u8,
                    reason: ack.reason_number,
                    venue_sequence: ack.venue_sequence,
                }
            }
        };
        self.take_records()?;
        let refused = DriveError::Refused {
            reference: message.reference,
            reason: Reason::from_number(acked.reason).map_or("an unknown reason", Reason::name),
        };
        match acked.outcome {
            outcome if outcome == Outcome::Accepted as u8 => Ok(acked),
            outcome if outcome == Outcome::Continues as u8 => Ok(acked),
            _ => Err(refused),
        }
    }

    fn take_records(&mut self) -> Result<(), RingError> {
        let records = match &mut self.port {
            Port::InProcess { ring, .. } => ring.take_records()?,
            Port::Wire { lab, .. } => lab.ring().take_records()?,
        };
        self.records.extend_from_slice(&records);
        Ok(())
    }

    /// Fills in the records that were not looked at yet.
    fn fills(&mut self) -> Result<Vec<Fill>, DriveError> {
        let mut fills = Vec::new();
        while self.seen < self.records.len() {
            let bytes = &self.records[self.seen..];
            let (head, _) = Head::read_from_prefix(bytes).expect("records are whole");
            self.seen += usize::from(head.slots) * ring0_engine::limits::SLOT_LEN;
            match Kind::from_number(head.kind) {
                Some(Kind::Filled) => {
                    let (filled, _) = Filled::read_from_prefix(bytes).expect("whole");
                    let reference = |order| {
                        let found = self.references.get(&order);
                        found.copied().ok_or(DriveError::UnknownOrder(order))
                    };
                    fills.push(Fill {
                        maker: reference(filled.maker)?,
                        taker: reference(filled.taker)?,
                        price_wire: filled.price * TICK_WIRE,
                        shares: filled.lots,
                    });
                }
                Some(Kind::Step) => {
                    let (step, _) = Step::read_from_prefix(bytes).expect("whole");
                    self.step_done = step.outcome == Outcome::Accepted as u8;
                }
                _ => {}
            }
        }
        Ok(fills)
    }

    /// A native shard to which the records were replayed.
    fn replayed(&mut self, capacity: &Capacity) -> Result<Native, Fail> {
        let mut native = Native::new(capacity)?;
        let mut replayer = Replayer::new(&native, None);
        replayer
            .feed(&self.records, &mut native)
            .map_err(Fail::disagreed)?;
        Ok(native)
    }
}

impl Book for Driver {
    type Error = DriveError;

    fn enter(
        &mut self,
        trader: lobster::Trader,
        reference: u32,
        side: Side,
        price_wire: u32,
        shares: u32,
        ioc: bool,
    ) -> Result<Vec<Fill>, DriveError> {
        let (locate, shares, price) = (Locate(1), Shares(shares), Price(price_wire));
        let order = match side {
            Side::Buy => Order::buy(locate, shares, price),
            Side::Sell => Order::sell(locate, shares, price),
        };
        let order = if ioc { order.immediate() } else { order };
        let acked = self.send(trader, order.reference(Reference(reference)))?;
        self.references.insert(acked.venue_sequence, reference);
        self.step_done = acked.outcome == Outcome::Accepted as u8;
        let mut fills = self.fills()?;
        let mut runs = 0;
        while !self.step_done {
            match &mut self.port {
                Port::InProcess { ring, .. } => ring.steps()?,
                Port::Wire { lab, .. } => lab.ring().steps()?,
            }
            self.take_records()?;
            fills.extend(self.fills()?);
            runs += 1;
            if runs > RUNS_MAX {
                return Err(DriveError::Endless(reference));
            }
        }
        Ok(fills)
    }

    fn reduce(
        &mut self,
        trader: lobster::Trader,
        reference: u32,
        shares: u32,
    ) -> Result<(), DriveError> {
        let order = Order::reduce(Locate(1), Reference(reference), Shares(shares));
        self.send(trader, order).map(|_| ())
    }

    fn cancel(&mut self, trader: lobster::Trader, reference: u32) -> Result<(), DriveError> {
        let order = Order::cancel(Locate(1), Reference(reference));
        self.send(trader, order).map(|_| ())
    }

    fn depth(&mut self, side: Side, levels: usize) -> Result<Vec<(u32, u32)>, DriveError> {
        let letter = match side {
            Side::Buy => b'B',
            Side::Sell => b'S',
        };
        let depth = match &mut self.port {
            Port::InProcess { ring, .. } => ring.depth(0, letter, levels),
            Port::Wire { lab, .. } => lab.ring().depth(0, letter, levels),
        };
        let level = |it: &ring0_engine::Depth| (it.price * TICK_WIRE, it.lots as u32);
        Ok(depth.iter().map(level).collect())
    }
}
