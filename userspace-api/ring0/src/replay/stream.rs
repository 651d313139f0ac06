//! A LOBSTRM1 stream as full packets of one session, through any ring, its trades compared with the header.
//!
//! Invariants: the stream and every packet are in memory before the clock starts, and for the kernel signed; messages keep the
//! stream's order. No message is refused for a packet's work: a packet ends before an order that more than
//! `PACKET_WORK_MAX − FILLS_MAX` fills could stand before. An order that reached the fill cap ends its packet, and
//! heartbeats behind it take its continuation; which orders do is learnt by a run that stops there and begins again.
//! Rule: `docs/streams.md#driving-a-ring`.

use super::RingName;
use super::lobster::rand_key;
use crate::bench::pump::{Packets, Pump};
use crate::fail::Fail;
use crate::wire_lab::WireLab;
use ring0_engine::canon::{Hasher, Listing, StateHash, Tag};
use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::limits::{FILLS_MAX, PACKET_WORK_MAX, SLOT_LEN};
use ring0_engine::native::Native;
use ring0_engine::record::{Filled, Kind, Message, Outcome};
use ring0_engine::reference::Reference;
use ring0_engine::{Capacity, Reason, Recorder, Shard, copy_outbox};
use ring0_rings::{KernelShard, Ring};
use ring0_stream::Side;
use ring0_stream::lobstrm::{Checksum, Op, Record, Stream};
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::message::{BUY, SELL, STOCK_SPACES};
use ring0_wire::{Flags, Key, SelfTrade, SessionId, TimeInForce};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashSet;
use std::mem::offset_of;
use std::path::Path;
use std::time::Instant;

/// Wire price of a tick: a cent.
const TICK_WIRE: u32 = 100;
/// Ticks of the ladder, more only where a stream's prices need more.
const LADDER_TICKS: u32 = 4_096;
/// What the account has of each asset: below 2^63, above what a stream can trade.
const PLENTY: u64 = 1 << 62;
/// Nanoseconds since midnight at which the replay's day begins.
const DAY_BASE_NS: u64 = 34_200_000_000_000;
/// Stored answers of the session, as a power of two: 105 full packets may be under way over the wire.
const ANSWERS_LOG2: u8 = 12;
/// Fills that may stand before an entering message of a packet (`docs/matching.md`, Enter 11).
const WORK_BEFORE: u32 = PACKET_WORK_MAX - FILLS_MAX;
/// Slots of the kernel's record ring. A full packet takes 1,300 at the most, and it is read every 256 packets.
const RECORD_SLOTS: u32 = 1 << 20;
const PACKETS_PER_READ: usize = 256;
/// Runs that may stop at a fill cap before every order that could reach it ends its packet.
const RESTARTS_MAX: u32 = 16;

/// What a stream needs of a shard.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    /// Symbols.
    pub(crate) symbols: u32,
    /// Lowest tick.
    pub(crate) tick_base: u32,
    /// Ticks.
    pub(crate) ladder_len: u32,
    /// Most live orders.
    pub(crate) peak_live: u64,
    /// Highest reference.
    pub(crate) references: u64,
}

impl Market {
    /// From a stream's header.
    pub(crate) fn of(stream: &Stream) -> Market {
        let header = stream.header();
        let tick_base = header.tick_base.get();
        Market {
            symbols: header.symbols.get(),
            tick_base,
            ladder_len: LADDER_TICKS.max(header.tick_top.get().saturating_sub(tick_base) + 1),
            peak_live: header.peak_live.get(),
            references: header.max_order_id.get(),
        }
    }

    fn references_log2(&self) -> u8 {
        let wanted = (self.references + 1).next_power_of_two().ilog2() as u8;
        wanted.clamp(
            *ring0_engine::limits::REFERENCES_LOG2.start(),
            *ring0_engine::limits::REFERENCES_LOG2.end(),
        )
    }

    /// A shard with `sessions` sessions, each with instruments of its own.
    pub(crate) fn capacity(&self, sessions: u32) -> Result<Capacity, Fail> {
        let times = |what: &str, count: u64| {
            let all = count.checked_mul(sessions.into()).map(u32::try_from);
            all.and_then(Result::ok)
                .ok_or_else(|| Fail::new(format!("the stream needs {count} {what}, too many")))
        };
        let live = self.peak_live + 64;
        let ladder = u64::from(self.symbols) * u64::from(self.ladder_len.next_multiple_of(64));
        Ok(Capacity {
            accounts: sessions,
            assets: 2,
            instruments: self.symbols * sessions,
            sessions,
            orders: times("orders", live)?,
            // A level in use holds an order, and there is one on each place of the two ladders at the most.
            levels: times("levels", live.min(2 * ladder))?,
            ladder: times("ladder places", ladder)?,
            answers: times("answers", 1 << ANSWERS_LOG2)?,
            references: times("references", 1 << self.references_log2())?,
            // Live orders that a window with a place for each reference cannot hold twice need none of it.
            buckets: if self.references < 1 << self.references_log2() {
                64
            } else {
                times("buckets", (live / 4).next_power_of_two())?
            },
        })
    }

    /// The commands that make the market of session `number` (from 0) in an empty shard.
    pub(crate) fn controls(&self, number: u32) -> Vec<Control> {
        let account = number;
        let open = OpenAccount {
            account,
            reserved: 0,
        };
        let mut controls = vec![Control::new(ControlKind::OpenAccount, &open)];
        for asset in 0..2 {
            let amount = PLENTY / 4;
            let deposit = Deposit {
                account,
                asset,
                amount,
            };
            controls.push(Control::new(ControlKind::Deposit, &deposit));
        }
        for symbol in 0..self.symbols {
            let mut name = [b' '; 8];
            let text = format!("S{symbol}");
            name[..text.len()].copy_from_slice(text.as_bytes());
            let list = List {
                instrument: number * self.symbols + symbol,
                halted: 0,
                symbol: name,
                base_asset: 1,
                quote_asset: 0,
                tick_size: TICK_WIRE,
                lot_size: 1,
                tick_value: 100,
                ladder_base: self.tick_base,
                lot_value: 1,
                ladder_len: self.ladder_len,
                lots_max: 1_000_000,
                band_low: 0,
                band_high: 0,
                notional_max: 0,
                maker_ppm: -10,
                taker_ppm: 30,
            };
            controls.push(Control::new(ControlKind::List, &list));
        }
        let grant = Grant {
            session: number,
            account,
            id: session_id(number).0,
            answers_log2: ANSWERS_LOG2,
            references_log2: self.references_log2(),
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
        };
        controls.push(Control::new(ControlKind::GrantSession, &grant));
        controls
    }
}

/// The command that begins the day.
pub(crate) fn clock() -> Control {
    let clock = Clock {
        day_base_ns: DAY_BASE_NS,
    };
    Control::new(ControlKind::Clock, &clock)
}

/// The id of session `number`.
pub(crate) fn session_id(number: u32) -> SessionId {
    SessionId::new(number, 0x0057_12EA + number).expect("20 and 30 bits")
}

/// How a stream is cut into packets.
pub(crate) struct Cut<'a> {
    /// Session and place of its instruments.
    pub(crate) number: u32,
    /// Symbols of each session.
    pub(crate) symbols: u32,
    /// Messages of a packet at the most.
    pub(crate) messages_max: u16,
    /// Signs packets; without it tags are blank.
    pub(crate) key: Option<&'a Key>,
    /// Orders that reach the fill cap, by their number.
    pub(crate) ends: &'a HashSet<u64>,
}

/// References of a stream's orders.
pub(crate) struct References {
    /// By order number, where numbers do not enter in rising order.
    mapped: Option<Vec<u32>>,
    /// Order number by reference, likewise.
    back: Vec<u64>,
}

impl References {
    /// Order numbers are references where they rise; else orders are numbered anew in the sequence of their entry.
    pub(crate) fn of(stream: &Stream) -> Result<References, Fail> {
        let enters = || stream.records().iter().filter(|it| it.op != Op::Cancel);
        if stream.header().max_order_id.get() >= u32::MAX.into() {
            return Err(Fail::new(
                "the stream has more orders than a session has references",
            ));
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

    fn reference(&self, order: u64) -> u32 {
        match &self.mapped {
            Some(mapped) => mapped[order as usize],
            None => order as u32,
        }
    }

    fn order(&self, reference: u32) -> u64 {
        match &self.mapped {
            Some(_) => self.back[reference as usize],
            None => reference.into(),
        }
    }
}

/// Cuts records into packets behind those that are there; gives the client sequence after the last.
pub(crate) fn cut(
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
        if cut.ends.contains(&record.order_id.get()) && enters {
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

/// Why a run cannot go on as it was cut.
enum Stop {
    /// The order of this number reached the fill cap, and what followed it in its packet was refused.
    FillCap(u64),
    /// A message was refused for a reason that no other cut changes.
    Refused { reference: u32, reason: u8 },
}

/// The trades in the records, folded as they come.
struct Fold<'a> {
    references: &'a References,
    checksum: Checksum,
    /// Reference by order id, which is the sequence of the command that entered it.
    entered: Vec<u32>,
    /// Reference of the last order that reached the fill cap.
    capped: Option<u32>,
    stop: Option<Stop>,
}

impl<'a> Fold<'a> {
    /// For so many messages; memory is touched here, before the clock starts.
    fn new(references: &'a References, messages: usize) -> Fold<'a> {
        Fold {
            references,
            checksum: Checksum::new(),
            entered: vec![u32::MAX; 3 * messages + 4096],
            capped: None,
            stop: None,
        }
    }

    #[inline]
    fn records(&mut self, mut bytes: &[u8]) {
        const LETTER: usize = offset_of!(Message, message);
        const REFERENCE: usize = LETTER + ring0_wire::inbound::at::REFERENCE + 4;
        let word = |bytes: &[u8], at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
        };
        while bytes.len() >= SLOT_LEN {
            let head = word(bytes, 0);
            let slots = (head >> 16 & 0xFF).max(1) as usize;
            if head & 0xFFFF == Kind::Filled as u64 {
                let maker = word(bytes, offset_of!(Filled, maker));
                let taker = word(bytes, offset_of!(Filled, taker));
                let price_lots = word(bytes, offset_of!(Filled, price));
                let [maker, taker] = [maker, taker].map(|id| {
                    let reference = self.entered.get(id as usize).copied();
                    self.references.order(reference.unwrap_or(0))
                });
                let (price, lots) = (price_lots as u32, (price_lots >> 32) as u32);
                self.checksum.trade(maker, taker, price, lots);
            } else if head & 0xFFFF == Kind::Message as u64 && bytes[LETTER] != b'z' {
                let reference = u32::from_be_bytes(
                    bytes[REFERENCE..REFERENCE + 4]
                        .try_into()
                        .expect("four bytes"),
                );
                self.message(
                    bytes[LETTER],
                    reference,
                    word(bytes, 8),
                    word(bytes, offset_of!(Message, outcome)),
                );
            }
            bytes = bytes.get(slots * SLOT_LEN..).unwrap_or(&[]);
        }
    }

    #[inline]
    fn message(&mut self, letter: u8, reference: u32, sequence: u64, result: u64) {
        let (outcome, reason) = (result as u8, (result >> 8) as u8);
        if outcome == Outcome::Rejected as u8 {
            let by_cap = [Reason::Continuing as u8, Reason::PacketFills as u8].contains(&reason);
            self.stop.get_or_insert(match self.capped {
                Some(capped) if by_cap => Stop::FillCap(self.references.order(capped)),
                _ => Stop::Refused { reference, reason },
            });
        }
        if letter == b'A' {
            if sequence as usize >= self.entered.len() {
                self.entered.resize(sequence as usize * 2, u32::MAX);
            }
            self.entered[sequence as usize] = reference;
            if outcome == Outcome::Continues as u8 {
                self.capped = Some(reference);
            }
        }
    }
}

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

/// The listing without what a clock wrote, so that rings with different clocks can be compared.
#[derive(Default)]
struct Timeless(Hasher);

impl Listing for Timeless {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        let mut numbers = numbers.to_vec();
        match tag {
            Tag::Shard => numbers[0] = 0,   // venue time
            Tag::Session => numbers[7] = 0, // rate state
            _ => {}
        }
        self.0.item(tag, &numbers);
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
    let mut ends = HashSet::new();
    let mut restarts = 0;
    let (ran, fold, packets) = loop {
        let bytes = (ring == RingName::Kernel).then(rand_key);
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
            RingName::Kernel if wire => run.wire(&mut fold, bytes.as_ref()),
            RingName::Kernel => run.kernel(&mut fold, bytes.as_ref()),
        }?;
        match fold.stop.take() {
            None => break (ran, fold, packets.len()),
            Some(Stop::FillCap(order)) => {
                restarts += 1;
                if restarts > RESTARTS_MAX {
                    let could = |it: &&Record| it.op == Op::Cross && it.qty.get() > FILLS_MAX;
                    let orders = stream.records().iter().filter(could);
                    ends.extend(orders.map(|record| record.order_id.get()));
                }
                if !ends.insert(order) && restarts > RESTARTS_MAX + 1 {
                    return Err(Fail::disagreed(format!(
                        "{}: order {order} refuses what follows it even alone in its packet",
                        file.display()
                    )));
                }
            }
            Some(Stop::Refused { reference, reason }) => {
                return Err(Fail::disagreed(format!(
                    "{}: the {} ring refused reference {reference}: {}; the stream is not one that a right book can follow",
                    file.display(),
                    ring.name(),
                    Reason::from_number(reason).map_or("an unknown reason", Reason::name)
                )));
            }
        }
    };

    let trades = fold.checksum.trades();
    let expected = stream.header().expected();
    let timed = stream.timed().len().max(1) as f64;
    let timing = match ring {
        RingName::Kernel if wire => {
            "pre-signed packets over veth from one UDP socket: send, tag, sequence, match, record, answer, receive, read of the records"
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
        "references_mapped": references.mapped.is_some(),
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
            let answered = native.packet_in_place(packet, index as u64 * 1000, |_| None);
            answered.map_err(|cause| Fail::new(format!("the packet was dropped: {cause:?}")))?;
            let mut bytes = native.recorder().bytes.borrow_mut();
            fold.records(&bytes);
            bytes.clear();
            if fold.stop.is_some() {
                break;
            }
        }
        let elapsed_ns = begin.elapsed().as_nanos() as u64;
        let mut timeless = Timeless::default();
        native.shard().list(&mut timeless);
        Ok(Ran {
            elapsed_ns,
            program_ns: None,
            state_hash: native.shard().state_hash(),
            timeless: timeless.0.finish(),
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
        let mut timeless = Timeless::default();
        reference.list(&mut timeless);
        Ok(Ran {
            elapsed_ns,
            program_ns: None,
            state_hash: reference.state_hash(),
            timeless: timeless.0.finish(),
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

    fn wire(&self, fold: &mut Fold<'_>, key: Option<&[u8; 16]>) -> Result<Ran, Fail> {
        let mut lab = self.lab(key)?;
        fold.records(&lab.shard.take_records()?);
        let mut pump = Pump::new(lab.trader_socket()?, self.packets, 1 << ANSWERS_LOG2)?;
        pump.run(self.prefill, |_| Ok(()))?;
        fold.records(&lab.shard.take_records()?);
        let begin = Instant::now();
        let shard = &mut lab.shard;
        pump.run(self.packets.len(), |_| {
            fold.records(&shard.take_records()?);
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
        fold.records(&shard.take_records()?);
        let elapsed_ns = begin.elapsed().as_nanos() as u64;
        Ok(ended(shard, elapsed_ns, None))
    }
}

/// The XDP action that sends a frame back.
pub(crate) const XDP_TX: u32 = 3;

fn ended(shard: &KernelShard, elapsed_ns: u64, program_ns: Option<u64>) -> Ran {
    let mut timeless = Timeless::default();
    shard.shard().list(&mut timeless);
    Ran {
        elapsed_ns,
        program_ns,
        state_hash: shard.shard().state_hash(),
        timeless: timeless.0.finish(),
    }
}

/// Whether every command that sets a market up was accepted.
pub(crate) fn set_up(results: Vec<(Outcome, Reason)>) -> Result<(), Fail> {
    match results
        .iter()
        .position(|(outcome, _)| *outcome != Outcome::Accepted)
    {
        Some(at) => Err(Fail::new(format!(
            "the ring refused command {at} of the market: {}",
            results[at].1.name()
        ))),
        None => Ok(()),
    }
}
