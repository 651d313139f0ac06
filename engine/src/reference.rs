//! The naive reference book: `docs/matching.md` as a program, a second reading of the page beside the engine.
//!
//! Everything is kept in the plainest form that is still usable: orders in a map by id, price levels as sorted maps of
//! id lists, amounts computed in 128 bits, sums made anew whenever they are needed. Nothing is shared with the engine
//! but the vocabulary: reasons, bounds, records, control bodies and the canonical listing.
//!
//! What is always true between two commands is in [`Reference::check`]. The record ring is endless here and no fault
//! exists, so `RingFull`, `Busy` and a broken shard never happen.
//! Rule: `docs/matching.md`; layout of the answer: `docs/wire.md#answer`.

use crate::canon::{Hasher, Listing, StateHash, Tag};
use crate::control::{
    Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount, SetLimit, SettlementMark,
    Target,
};
use crate::limits::{
    AMOUNT_MAX, ANSWERS_LOG2, BUCKET_LEN, CANCELS_MAX, FEE_PPM_MAX, FILLS_MAX, FOK_LEVELS_MAX,
    PACKET_WORK_MAX, PPM, REFERENCES_LOG2, STEPS_MAX,
};
use crate::record::{
    ControlRecord, Filled, Head, Kind, Message as MessageRecord, Outcome, Reduced, Removal,
    Removed, Replaced, Rested, Step,
};
use crate::{Capacity, Reason};
use ring0_wire::message::{BOTH, BUY, SCOPE_SESSION, SELL, STOCK_SPACES};
use ring0_wire::shape::TAG_LETTER;
use ring0_wire::{Buffer, Flags, HEADER, Message, MessageCells, Native, SessionId, TimeInForce};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use zerocopy::{Immutable, IntoBytes};

/// The sub-account field of an `F` that names none, beside zero.
const SUB_ACCOUNT_SPACES: u32 = u32::from_be_bytes(*b"    ");

/// The page's bound of a burst in nanoseconds, and of one lot at the top price.
const PRODUCT_MAX: u128 = (1 << 62) - 1;

/// A shard as the page describes it.
pub struct Reference {
    capacity: Capacity,
    time_ns: u64,
    day_base_ns: u64,
    /// Sequence number of the next record.
    next_sequence: u64,
    halted: bool,
    assets: Vec<Asset>,
    /// By index; `None` where nothing is listed.
    instruments: Vec<Option<Instrument>>,
    /// By index; `None` where none is open. Balances by asset.
    accounts: Vec<Option<Vec<Balance>>>,
    /// By index; `None` where none is granted.
    sessions: Vec<Option<Session>>,
    /// By session index, what its first grant took from the two pools: (answers_log2, references_log2).
    windows: BTreeMap<u32, (u8, u8)>,
    /// Every live order by id: those that rest and those that sweep on.
    orders: HashMap<u64, Order>,
    /// Price levels of all instruments and sides.
    levels_count: u32,
    /// Ladder places given to instruments.
    ladder_count: u64,
    /// Buckets of the overflow table: (session, reference) of the live orders there.
    overflow: HashMap<u32, Vec<(u32, u32)>>,
    /// Continuations, the next one first.
    pending: VecDeque<Pending>,
    /// Pending mass cancels by session index.
    cancels: BTreeMap<u32, Cancel>,
    /// Events of the command that is being carried out.
    events: Vec<u8>,
    /// Records that were not yet taken.
    records: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Asset {
    /// Deposited less withdrawn.
    total: u64,
    fees: u64,
}

#[derive(Clone, Copy)]
struct Balance {
    available: u64,
    held: u64,
    outflow: i64,
    limit: u64,
}

/// Order ids by price in ticks, oldest first; no list is empty.
type Side = BTreeMap<u32, Vec<u64>>;

struct Instrument {
    list: List,
    halted: bool,
    bids: Side,
    asks: Side,
    /// The order that sweeps on; freezes the instrument.
    sweep: Option<u64>,
}

struct Session {
    grant: Grant,
    killed: bool,
    expected: u64,
    last_reference: u32,
    rate_state: u64,
    /// Answers of all client sequences that a duplicate could still get.
    answers: BTreeMap<u64, Ack>,
    /// Ids of the live orders. An order comes to rest or begins to sweep in the command whose sequence is its id, so
    /// the order of ids is the order in which they did.
    orders: BTreeSet<u64>,
    /// Live orders by client reference.
    references: HashMap<u32, u64>,
    /// References that stand in the window, by place.
    window: HashMap<u32, u32>,
}

/// An order: incoming, sweeping on, or at rest.
#[derive(Clone, Copy)]
struct Order {
    id: u64,
    session: u32,
    account: u32,
    reference: u32,
    instrument: u32,
    /// `B` or `S`.
    side: u8,
    price: u32,
    /// Lots.
    open: u32,
    /// Lots filled since it came in under this id.
    executed: u32,
    post_only: bool,
    /// IOC, FOK or market: never rests.
    immediate: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Pending {
    /// The sweep of an instrument index.
    Sweep(u32),
    /// The mass cancel of a session index.
    Cancel(u32),
}

#[derive(Clone, Copy)]
struct Cancel {
    locate: u32,
    /// `B`, `S` or a space.
    side: u8,
    removal: Removal,
    /// Orders with an id from here on are still to be visited.
    from: u64,
}

/// What an ack says, and what is stored of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ack {
    outcome: Outcome,
    reason: Reason,
    reference: u32,
    quantity: u32,
    venue_sequence: u64,
}

/// A message or step that was not rejected.
struct Done {
    outcome: Outcome,
    /// In the unit of its ack.
    quantity: u32,
}

impl Done {
    fn accepted(quantity: u32) -> Done {
        Done {
            outcome: Outcome::Accepted,
            quantity,
        }
    }
}

/// The terms of an order as they come out of the checks that `A`, `F`, `O` and `U` share.
struct Terms {
    price: u32,
    lots: u32,
}

impl Reference {
    /// An empty shard.
    #[must_use]
    pub fn new(capacity: Capacity) -> Reference {
        Reference {
            capacity,
            time_ns: 0,
            day_base_ns: 0,
            next_sequence: 1,
            halted: false,
            assets: vec![Asset::default(); capacity.assets as usize],
            instruments: (0..capacity.instruments).map(|_| None).collect(),
            accounts: (0..capacity.accounts).map(|_| None).collect(),
            sessions: (0..capacity.sessions).map(|_| None).collect(),
            windows: BTreeMap::new(),
            orders: HashMap::new(),
            levels_count: 0,
            ladder_count: 0,
            overflow: HashMap::new(),
            pending: VecDeque::new(),
            cancels: BTreeMap::new(),
            events: Vec::new(),
            records: Vec::new(),
        }
    }

    /// One run: continuation steps, then the packet. `payload` is a whole, well-formed UDP payload with a good tag.
    /// Returns the answer's payload, its tag zero.
    ///
    /// # Panics
    /// When the payload is malformed or its session is not granted: the caller checks both.
    pub fn packet(&mut self, payload: &[u8], boot_ns: u64) -> Vec<u8> {
        self.steps();
        self.replay_packet(payload, boot_ns)
    }

    /// Only the packet, without this run's continuation steps: a replay takes the steps where the record has them.
    ///
    /// # Panics
    /// As [`Reference::packet`].
    pub fn replay_packet(&mut self, payload: &[u8], boot_ns: u64) -> Vec<u8> {
        let buf = Buffer::new();
        buf.copy_in(payload);
        let shape = match ring0_wire::shape::<Native>(&buf, payload.len()) {
            Ok(shape) => shape,
            Err(cause) => panic!("the caller hands over well-formed packets only: {cause:?}"),
        };
        let index = shape.session;
        let granted = self.sessions.get(index as usize).and_then(Option::as_ref);
        let granted = granted.expect("the caller hands over packets of granted sessions only");
        assert_eq!(
            granted.grant.id,
            payload[..10],
            "the caller compares the whole session id"
        );
        let mut blocks = Vec::new();
        let mut at = HEADER;
        for _ in 0..shape.count() {
            let block = ring0_wire::block(&buf, at);
            blocks.push((block.start, block.letter, &payload[block.start..block.next]));
            at = block.next;
        }

        let acks = self.sequenced(&buf, &blocks, index, shape.sequence, boot_ns);

        let mut answer = payload[..HEADER].to_vec();
        if shape.messages == 0 {
            let expected = self.session(index).expected;
            answer[10..18].copy_from_slice(&expected.to_be_bytes());
        }
        for ack in &acks[..usize::from(shape.messages)] {
            answer.extend([0, 19, b'K', ack.outcome as u8, ack.reason as u8]);
            answer.extend(ack.reference.to_be_bytes());
            answer.extend(ack.quantity.to_be_bytes());
            answer.extend(ack.venue_sequence.to_be_bytes());
        }
        answer.extend([0, 17, TAG_LETTER]);
        answer.extend([0; 16]);
        answer
    }

    /// One run by doorbell: continuation steps, then these control commands.
    pub fn control(&mut self, commands: &[Control], boot_ns: u64) -> Vec<(Outcome, Reason)> {
        self.steps();
        commands
            .iter()
            .map(|command| self.replay_control(command, boot_ns))
            .collect()
    }

    /// A run with neither packet nor command: at most [`STEPS_MAX`] continuation steps.
    pub fn steps(&mut self) {
        for _ in 0..STEPS_MAX {
            if self.halted {
                return;
            }
            if !self.replay_step() {
                return;
            }
        }
    }

    /// Only one continuation step; false where none is pending.
    pub fn replay_step(&mut self) -> bool {
        match self.pending.front() {
            Some(&Pending::Sweep(instrument)) => self.sweep_step(instrument),
            Some(&Pending::Cancel(session)) => self.cancel_step(session),
            None => return false,
        }
        true
    }

    /// The id of a granted session.
    #[must_use]
    pub fn session_id(&self, session: u32) -> Option<SessionId> {
        let session = self.sessions.get(session as usize)?.as_ref()?;
        Some(SessionId(session.grant.id))
    }

    /// Sequence number of the next record.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Added to the boot-time clock.
    #[must_use]
    pub fn day_base_ns(&self) -> u64 {
        self.day_base_ns
    }

    /// The raw records since the last call.
    pub fn take_records(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.records)
    }

    /// Hash of the canonical listing.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        let mut hasher = Hasher::default();
        self.list(&mut hasher);
        hasher.finish()
    }

    /// The best `levels` of a side (`B` or `S`): price in ticks, lots, orders.
    #[must_use]
    pub fn depth(&self, instrument: u32, side: u8, levels: usize) -> Vec<(u32, u64, u32)> {
        let book = self.instrument(instrument);
        book.best_first(side)
            .take(levels)
            .map(|(price, ids)| (price, self.lots_of(ids), ids.len() as u32))
            .collect()
    }

    // Packets.

    /// Takes or does not take the packet; an ack for every block, the tag block too.
    fn sequenced(
        &mut self,
        buf: &Buffer,
        blocks: &[(usize, u8, &[u8])],
        index: u32,
        first: u64,
        boot_ns: u64,
    ) -> Vec<Ack> {
        let echo = |&(start, letter, _): &(usize, u8, &[u8])| match letter {
            TAG_LETTER => 0,
            _ => ring0_wire::inbound::echo(buf, start, letter),
        };
        let refuse = |reason, venue_sequence| -> Vec<Ack> {
            let ack = |block| Ack {
                outcome: Outcome::NotTaken,
                reason,
                reference: echo(block),
                quantity: 0,
                venue_sequence,
            };
            blocks.iter().map(ack).collect()
        };
        let session = self.session(index);
        let expected = session.expected;
        let grant = session.grant;
        let count = blocks.len() as u64;
        if first > expected {
            return refuse(Reason::Hole, expected);
        }
        if first + count <= expected {
            let stored = |(sequence, block)| match session.answers.get(&sequence) {
                Some(&ack) => ack,
                None => Ack {
                    outcome: Outcome::Answered,
                    reason: Reason::Answered,
                    reference: echo(block),
                    quantity: 0,
                    venue_sequence: 0,
                },
            };
            return (first..).zip(blocks).map(stored).collect();
        }
        if first < expected {
            return refuse(Reason::Straddle, expected);
        }
        if self.halted {
            return refuse(Reason::Halted, 0);
        }
        let now = self.now(boot_ns);
        let interval = u128::from(grant.interval_ns);
        let rate = u128::from(session.rate_state.max(now)) + u128::from(count) * interval;
        if interval != 0 && rate > u128::from(now) + u128::from(grant.burst) * interval {
            return refuse(Reason::RateLimited, 0);
        }

        self.time_ns = now;
        let session = self.session_mut(index);
        session.rate_state = u64::try_from(rate).unwrap_or(u64::MAX);
        session.expected = first + count;
        let mut work = 0;
        let mut acks = Vec::new();
        for (place, block) in blocks.iter().enumerate() {
            let place = (place as u16, count as u16);
            let ack = self.message(buf, *block, index, first, place, &mut work);
            acks.push(ack);
        }
        let session = self.session_mut(index);
        session.answers.extend((first..).zip(acks.iter().copied()));
        let oldest = session.oldest_answer();
        while session.answers.keys().next().is_some_and(|&q| q < oldest) {
            session.answers.pop_first();
        }
        acks
    }

    /// One message of a taken packet: record, events, ack. `place` is its index and the packet's count.
    fn message(
        &mut self,
        buf: &Buffer,
        (start, letter, content): (usize, u8, &[u8]),
        index: u32,
        first: u64,
        place: (u16, u16),
        work: &mut u32,
    ) -> Ack {
        let sequence = self.next();
        let account = self.session(index).grant.account;
        let cells = MessageCells::default();
        let (done, reference, locate) = if letter == TAG_LETTER {
            (Ok(Done::accepted(0)), 0, 0)
        } else {
            let parsed = ring0_wire::parse(buf, start, letter, &cells);
            let message = cells.get();
            let done = match parsed {
                Err(error) => Err(Reason::of_field(error)),
                Ok(()) => match letter {
                    b'A' | b'F' | b'O' => self.enter(index, sequence, &message, work),
                    b'U' => self.replace(index, sequence, &message, work),
                    b'X' | b'D' => self.reduce(index, &message),
                    b'M' => self.mass_cancel(index, &message, work),
                    _ => panic!("a well-formed packet has only our letters"),
                },
            };
            let reference = match letter {
                b'U' => message.new_reference,
                _ => message.reference,
            };
            (done, reference, u32::from(message.locate))
        };
        let ack = match done {
            Ok(Done { outcome, quantity }) => Ack {
                outcome,
                reason: Reason::None,
                reference,
                quantity,
                venue_sequence: sequence,
            },
            Err(reason) => Ack {
                outcome: Outcome::Rejected,
                reason,
                reference,
                quantity: 0,
                venue_sequence: sequence,
            },
        };
        let mut whole = [0; 56];
        whole[..content.len()].copy_from_slice(content);
        if letter == TAG_LETTER {
            whole[1..].fill(0);
        }
        self.publish(&MessageRecord {
            head: Head {
                kind: Kind::Message as u16,
                slots: 2,
                side: 0,
                locate,
                sequence,
            },
            time_ns: self.time_ns,
            session: index,
            account,
            client_sequence: first + u64::from(place.0),
            index: place.0,
            count: place.1,
            quantity: ack.quantity,
            outcome: ack.outcome as u8,
            reason: ack.reason as u8,
            length: content.len() as u8,
            reserved: [0; 5],
            message: whole,
            reply_to: [0; 16],
        });
        ack
    }

    // Messages. Each is first decided, then done; the comment `Done:` is the border.

    /// `A`, `F`, `O`. The numbers are those of the page's table; 1 is the parser's.
    fn enter(
        &mut self,
        index: u32,
        sequence: u64,
        message: &Message,
        work: &mut u32,
    ) -> Result<Done, Reason> {
        self.rising(index, message.reference)?; // 2
        let flags = message.flags;
        let time = flags.time();
        let day = time == TimeInForce::Day as u8;
        let fok = time == TimeInForce::FillOrKill as u8;
        let ioc = time == TimeInForce::ImmediateOrCancel as u8;
        let built = (day || ioc || fok)
            && !flags.has(Flags::POST_SLIDE)
            && !flags.has(Flags::HIDDEN)
            && flags.self_trade() == 0
            && (message.sub_account == 0 || message.sub_account == SUB_ACCOUNT_SPACES)
            && message.minimum == 0
            && message.trigger == 0
            && message.expiry_s == 0
            && message.peg == 0
            && message.peg_offset_ticks == 0
            && message.trade_group == 0
            && (message.display == 0 || message.display == message.shares);
        if !built {
            return Err(Reason::NotBuilt); // 3
        }
        self.may_enter(index)?; // 4 to 6
        let at = self
            .listed(message.locate)
            .ok_or(Reason::UnknownInstrument)?; // 7
        let list = self.instrument(at).list;
        if message.stock != STOCK_SPACES && message.stock != u64::from_be_bytes(list.symbol) {
            return Err(Reason::StockMismatch); // 8
        }
        let market = flags.has(Flags::MARKET);
        let terms = self.terms(at, message, market, message.side, *work)?; // 9 to 17
        let session = self.session(index);
        let order = Order {
            id: sequence,
            session: index,
            account: session.grant.account,
            reference: message.reference,
            instrument: at,
            side: message.side,
            price: terms.price,
            open: terms.lots,
            executed: 0,
            post_only: flags.has(Flags::POST_REJECT),
            immediate: market || !day,
        };
        self.affordable(&order, 0)?; // 18, 19
        if self.orders.len() as u64 >= u64::from(self.capacity.orders) {
            return Err(Reason::BookFull); // 20
        }
        if !order.immediate && !self.level_to_be_had(&order, None) {
            return Err(Reason::LevelsFull); // 21
        }
        if !self.place_to_be_had(index, order.reference, None) {
            return Err(Reason::TooManyLive); // 22
        }
        if order.post_only && self.crosses(&order) {
            return Err(Reason::WouldCross); // 23
        }
        if fok {
            self.fillable(&order)?; // 24
        }

        // Done:
        self.hold(&order);
        Ok(self.come_in(order, work))
    }

    /// `U`.
    fn replace(
        &mut self,
        index: u32,
        sequence: u64,
        message: &Message,
        work: &mut u32,
    ) -> Result<Done, Reason> {
        self.rising(index, message.new_reference)?; // 2
        self.may_enter(index)?; // 3 to 5
        let original = self.named(index, message)?; // 6, 7
        let at = original.instrument;
        let terms = self.terms(at, message, false, original.side, *work)?; // 8 to 16
        if !self.place_to_be_had(index, message.new_reference, Some(original.reference)) {
            return Err(Reason::TooManyLive); // 17
        }
        let mut replaced = Replaced {
            head: self.peek_head(Kind::Replaced, &original),
            order: original.id,
            new_order: original.id,
            account: original.account,
            session: index,
            reference: message.new_reference,
            price: terms.price,
            lots: terms.lots,
            lots_before: original.open,
            kept: 1,
            reserved: [0; 7],
        };
        if terms.price == original.price && terms.lots <= original.open {
            // Done:
            self.release(&original, original.open - terms.lots);
            self.leave_place(index, original.reference);
            let session = self.session_mut(index);
            session.references.remove(&original.reference);
            session
                .references
                .insert(message.new_reference, original.id);
            self.take_place(index, message.new_reference);
            let order = self.order_mut(original.id);
            order.reference = message.new_reference;
            order.open = terms.lots;
            self.event(&replaced);
            return Ok(Done::accepted(0));
        }
        let order = Order {
            id: sequence,
            reference: message.new_reference,
            price: terms.price,
            open: terms.lots,
            executed: 0,
            ..original
        };
        self.affordable(&order, self.hold_of(&original, original.open))?; // 18, 19
        if !self.level_to_be_had(&order, Some(&original)) {
            return Err(Reason::LevelsFull); // 20
        }
        if order.post_only && self.crosses(&order) {
            return Err(Reason::WouldCross); // 21
        }

        // Done:
        self.leave_book(&original);
        self.release(&original, original.open);
        self.forget(&original);
        replaced.new_order = sequence;
        replaced.kept = 0;
        self.event(&replaced);
        self.hold(&order);
        Ok(self.come_in(order, work))
    }

    /// `X` and `D`.
    fn reduce(&mut self, index: u32, message: &Message) -> Result<Done, Reason> {
        let order = self.named(index, message)?;
        let instrument = self.instrument(order.instrument);
        let lot_size = instrument.list.lot_size;
        if instrument.sweep.is_some() || self.cancels.contains_key(&index) {
            return Err(Reason::Continuing);
        }
        let lots = if message.letter == b'D' {
            order.open
        } else {
            if !message.shares.is_multiple_of(lot_size) {
                return Err(Reason::NotALot);
            }
            (message.shares / lot_size).min(order.open)
        };

        // Done:
        if lots == order.open {
            self.remove(&order, Removal::User);
        } else {
            self.release(&order, lots);
            self.order_mut(order.id).open -= lots;
            self.event(&Reduced {
                head: self.peek_head(Kind::Reduced, &order),
                order: order.id,
                session: order.session,
                account: order.account,
                reference: order.reference,
                price: order.price,
                lots,
                open: order.open - lots,
                reserved: [0; 16],
            });
        }
        Ok(Done::accepted(lots * lot_size))
    }

    /// `M`.
    fn mass_cancel(
        &mut self,
        index: u32,
        message: &Message,
        work: &mut u32,
    ) -> Result<Done, Reason> {
        if message.scope != SCOPE_SESSION {
            return Err(Reason::NotBuilt);
        }
        let named = self.listed(message.locate);
        if message.locate != 0 && named.is_none() {
            return Err(Reason::UnknownInstrument);
        }
        work_is_left(*work)?;
        let kill = message.kill == 1;
        if !kill {
            let frozen = match named {
                Some(at) => self.instrument(at).sweep.is_some(),
                None => self.pending.iter().any(|p| matches!(p, Pending::Sweep(_))),
            };
            if self.cancels.contains_key(&index) || frozen {
                return Err(Reason::Continuing);
            }
        }

        // Done:
        let done = self.begin_cancel(index, u32::from(message.locate), message.side, kill);
        *work += done.quantity;
        Ok(done)
    }

    // Checks that several messages share.

    /// Enter 2: the reference rises; it becomes the last, whatever follows.
    fn rising(&mut self, index: u32, reference: u32) -> Result<(), Reason> {
        let session = self.session_mut(index);
        if reference <= session.last_reference {
            return Err(Reason::ReferenceNotRising);
        }
        session.last_reference = reference;
        Ok(())
    }

    /// Enter 4 to 6.
    fn may_enter(&self, index: u32) -> Result<(), Reason> {
        let session = self.session(index);
        if session.killed {
            return Err(Reason::SessionKilled);
        }
        if self.time_ns >= session.grant.expires_ns && session.grant.expires_ns != u64::MAX {
            return Err(Reason::SessionExpired);
        }
        if self.cancels.contains_key(&index) {
            return Err(Reason::Continuing);
        }
        Ok(())
    }

    /// Enter 9 to 17.
    fn terms(
        &self,
        at: u32,
        message: &Message,
        market: bool,
        side: u8,
        work: u32,
    ) -> Result<Terms, Reason> {
        let instrument = self.instrument(at);
        let list = &instrument.list;
        if instrument.sweep.is_some() {
            return Err(Reason::Continuing); // 9
        }
        if instrument.halted {
            return Err(Reason::InstrumentHalted); // 10
        }
        work_is_left(work)?; // 11
        if !message.price.is_multiple_of(list.tick_size) {
            return Err(Reason::NotATick); // 12
        }
        if !message.shares.is_multiple_of(list.lot_size) {
            return Err(Reason::NotALot); // 13
        }
        let lots = message.shares / list.lot_size;
        if lots > list.lots_max {
            return Err(Reason::OrderTooLarge); // 14
        }
        let mut price = message.price / list.tick_size;
        let (bottom, top) = (list.ladder_base, top_of(list) as u32);
        if market && side == BUY {
            price = price.min(top);
        }
        if market && side == SELL {
            price = price.max(bottom);
        }
        if price < bottom || price > top {
            return Err(Reason::OffLadder); // 15
        }
        let band = list.band_low..=list.band_high;
        if !market && list.band_low != 0 && !band.contains(&price) {
            return Err(Reason::PriceBand); // 16
        }
        if list.notional_max != 0 && notional(list, price, lots) > u128::from(list.notional_max) {
            return Err(Reason::NotionalTooLarge); // 17
        }
        Ok(Terms { price, lots })
    }

    /// Enter 18, 19, with `freed` of the held amount counted as available.
    fn affordable(&self, order: &Order, freed: u128) -> Result<(), Reason> {
        let balance = self.balance(order.account, self.asset_held(order));
        let hold = self.hold_of(order, order.open);
        if u128::from(balance.available) + freed < hold {
            return Err(Reason::Funds);
        }
        let held = u128::from(balance.held) - freed + hold;
        let exposure = i128::from(balance.outflow) + held as i128;
        if exposure.max(0) > i128::from(balance.limit) {
            return Err(Reason::UnsettledLimit);
        }
        Ok(())
    }

    /// Enter 21, with `without` counted as gone.
    fn level_to_be_had(&self, order: &Order, without: Option<&Order>) -> bool {
        let levels = self.instrument(order.instrument).side(order.side);
        let only = |o: &&Order| levels[&o.price].len() == 1;
        let emptied = without.filter(only).map(|o| o.price);
        let exists = levels.contains_key(&order.price) && emptied != Some(order.price);
        exists || self.levels_count - u32::from(emptied.is_some()) < self.capacity.levels
    }

    /// Enter 22, with the place of the live order `without` counted as free.
    fn place_to_be_had(&self, index: u32, reference: u32, without: Option<u32>) -> bool {
        let session = self.session(index);
        let older = session.window.get(&session.place_of(reference)).copied();
        let Some(older) = older.filter(|_| older != without) else {
            return true;
        };
        let bucket = self.overflow.get(&self.bucket_of(index, older));
        let others = bucket.into_iter().flatten();
        let others = others.filter(|&&(s, r)| s != index || Some(r) != without);
        (others.count() as u32) < BUCKET_LEN
    }

    /// Enter 24.
    fn fillable(&self, order: &Order) -> Result<(), Reason> {
        let book = self.instrument(order.instrument);
        let mut lots = 0;
        for (walked, (price, ids)) in book.best_first(opposite(order.side)).enumerate() {
            if !prices_cross(order, price) {
                break;
            }
            if walked as u32 == FOK_LEVELS_MAX {
                return Err(Reason::FokTooDeep);
            }
            lots += self.lots_of(ids);
            if lots >= u64::from(order.open) {
                return Ok(());
            }
        }
        Err(Reason::NotFillable)
    }

    /// The live order that `U`, `X` or `D` names, on the instrument that the message names.
    fn named(&self, index: u32, message: &Message) -> Result<Order, Reason> {
        let id = self.session(index).references.get(&message.reference);
        let order = self.orders[id.ok_or(Reason::UnknownOrder)?];
        if u32::from(message.locate) != locate_of(order.instrument) {
            return Err(Reason::WrongInstrument);
        }
        Ok(order)
    }

    // The book.

    /// An order whose hold is taken sweeps and then rests, goes, or stays to sweep on.
    fn come_in(&mut self, mut order: Order, work: &mut u32) -> Done {
        let lots_before = order.open;
        let mut fills = 0;
        while order.open > 0 && fills < FILLS_MAX && self.crosses(&order) {
            self.fill(&mut order);
            fills += 1;
        }
        *work += fills;
        let lot_size = self.instrument(order.instrument).list.lot_size;
        let quantity = (lots_before - order.open) * lot_size;
        let sweeps = order.open > 0 && self.crosses(&order);

        let was_sweeping = self.orders.contains_key(&order.id);
        if sweeps {
            if was_sweeping {
                *self.order_mut(order.id) = order;
            } else {
                self.remember(order);
                self.instrument_mut(order.instrument).sweep = Some(order.id);
                self.pending.push_back(Pending::Sweep(order.instrument));
            }
            let outcome = Outcome::Continues;
            return Done { outcome, quantity };
        }
        // A sweep found its level free at its entry, but others may have taken the last one since.
        let rests = order.open > 0 && !order.immediate && self.level_to_be_had(&order, None);
        if was_sweeping {
            self.sweep_ends(&order);
            if rests {
                *self.order_mut(order.id) = order;
            } else {
                self.forget(&order);
            }
        } else if rests {
            self.remember(order);
        }
        if rests {
            self.rest(&order);
        } else if order.open > 0 {
            self.release(&order, order.open);
            self.removed(&order, Removal::Ioc, false);
        }
        Done::accepted(quantity)
    }

    /// One fill of the incoming order against the oldest order of the best opposite level.
    fn fill(&mut self, taker: &mut Order) {
        let book = self.instrument(taker.instrument);
        let list = book.list;
        let (_, ids) = book
            .best_first(opposite(taker.side))
            .next()
            .expect("a crossing book has a best level");
        let maker = self.orders[&ids[0]];
        let lots = taker.open.min(maker.open);
        let paid = notional(&list, maker.price, lots);
        let taker_fee = up(paid, list.taker_ppm) as i128;
        let maker_fee = if list.maker_ppm < 0 {
            -((paid * u128::from(list.maker_ppm.unsigned_abs()) / u128::from(PPM)) as i128)
        } else {
            up(paid, list.maker_ppm as u32) as i128
        };
        let base = i128::from(lots) * i128::from(list.lot_value);
        let mut sides = [(&*taker, taker_fee), (&maker, maker_fee)];
        sides.sort_by_key(|(order, _)| order.side); // the buyer first
        for (order, fee) in sides {
            let released = self.hold_of(order, lots) as i128;
            let paid = paid as i128;
            if order.side == BUY {
                let cost = paid + fee;
                let quote = self.balance_mut(order.account, list.quote_asset);
                quote.change(released - cost, -released, cost);
                let bought = self.balance_mut(order.account, list.base_asset);
                bought.change(base, 0, -base);
            } else {
                let sold = self.balance_mut(order.account, list.base_asset);
                sold.change(0, -released, base);
                let quote = self.balance_mut(order.account, list.quote_asset);
                quote.change(paid - fee, 0, fee - paid);
            }
        }
        let fees = &mut self.assets[list.quote_asset as usize].fees;
        *fees = amount(i128::from(*fees) + taker_fee + maker_fee);

        taker.open -= lots;
        taker.executed += lots;
        if maker.open == lots {
            self.leave_book(&maker);
            self.forget(&maker);
        } else {
            let maker = self.order_mut(maker.id);
            maker.open -= lots;
            maker.executed += lots;
        }
        self.event(&Filled {
            head: self.peek_head(Kind::Filled, taker),
            maker: maker.id,
            taker: taker.id,
            price: maker.price,
            lots,
            maker_account: maker.account,
            taker_account: taker.account,
            maker_fee: maker_fee as i64,
            taker_fee: taker_fee as u64,
        });
    }

    /// Whether the order crosses the best opposite price.
    fn crosses(&self, order: &Order) -> bool {
        let book = self.instrument(order.instrument);
        book.best_first(opposite(order.side))
            .next()
            .is_some_and(|(best, _)| prices_cross(order, best))
    }

    /// A live order goes to the end of its level.
    fn rest(&mut self, order: &Order) {
        let levels = self.instrument_mut(order.instrument).side_mut(order.side);
        let before = levels.len();
        levels.entry(order.price).or_default().push(order.id);
        self.levels_count += u32::from(levels.len() != before);
        self.event(&Rested {
            head: self.peek_head(Kind::Rested, order),
            order: order.id,
            session: order.session,
            account: order.account,
            reference: order.reference,
            price: order.price,
            lots: order.open,
            reserved: [0; 20],
        });
    }

    /// A resting order is taken out of its level; it stays live.
    fn leave_book(&mut self, order: &Order) {
        let levels = self.instrument_mut(order.instrument).side_mut(order.side);
        let ids = levels
            .get_mut(&order.price)
            .expect("a resting order has a level");
        ids.retain(|&id| id != order.id);
        if ids.is_empty() {
            levels.remove(&order.price);
            self.levels_count -= 1;
        }
    }

    /// A resting order is cancelled.
    fn remove(&mut self, order: &Order, removal: Removal) {
        self.leave_book(order);
        self.release(order, order.open);
        self.forget(order);
        self.removed(order, removal, true);
    }

    fn removed(&mut self, order: &Order, removal: Removal, rested: bool) {
        self.event(&Removed {
            head: self.peek_head(Kind::Removed, order),
            order: order.id,
            session: order.session,
            account: order.account,
            reference: order.reference,
            price: order.price,
            lots: order.open,
            removal: removal as u8,
            rested: u8::from(rested),
            reserved: [0; 18],
        });
    }

    /// The order becomes live: id, reference and the reference's place.
    fn remember(&mut self, order: Order) {
        self.orders.insert(order.id, order);
        let session = self.session_mut(order.session);
        session.orders.insert(order.id);
        session.references.insert(order.reference, order.id);
        self.take_place(order.session, order.reference);
    }

    /// The order is no longer live.
    fn forget(&mut self, order: &Order) {
        self.leave_place(order.session, order.reference);
        let session = self.session_mut(order.session);
        session.orders.remove(&order.id);
        session.references.remove(&order.reference);
        self.orders.remove(&order.id);
    }

    // Places of references.

    fn take_place(&mut self, index: u32, reference: u32) {
        let session = self.session_mut(index);
        let place = session.place_of(reference);
        if let Some(older) = session.window.insert(place, reference) {
            let bucket = self.bucket_of(index, older);
            self.overflow
                .entry(bucket)
                .or_default()
                .push((index, older));
        }
    }

    fn leave_place(&mut self, index: u32, reference: u32) {
        let session = self.session_mut(index);
        let place = session.place_of(reference);
        if session.window.get(&place) == Some(&reference) {
            session.window.remove(&place);
            return;
        }
        let bucket = self.bucket_of(index, reference);
        let orders = self.overflow.entry(bucket).or_default();
        orders.retain(|&there| there != (index, reference));
    }

    fn bucket_of(&self, index: u32, reference: u32) -> u32 {
        let mixed = u64::from(index) * 0x9E37_79B1 + u64::from(reference) * 0x85EB_CA77;
        ((mixed % (1 << 32)) as u32 >> 7) & (self.capacity.buckets - 1)
    }

    // Continuations.

    fn sweep_step(&mut self, at: u32) {
        let sequence = self.next();
        let instrument = self.instrument(at);
        let order = self.orders[&instrument.sweep.expect("a pending sweep has its order")];
        let stopped = if self.session(order.session).killed {
            Some(Removal::Kill)
        } else if instrument.halted {
            Some(Removal::Halted)
        } else {
            None
        };
        let done = match stopped {
            Some(removal) => {
                self.sweep_ends(&order);
                self.forget(&order);
                self.release(&order, order.open);
                self.removed(&order, removal, false);
                Done::accepted(0)
            }
            None => self.come_in(order, &mut 0),
        };
        self.step(sequence, locate_of(at), order.id, order.session, &done);
    }

    /// The instrument is free again.
    fn sweep_ends(&mut self, order: &Order) {
        self.instrument_mut(order.instrument).sweep = None;
        let ended = Pending::Sweep(order.instrument);
        self.pending.retain(|&pending| pending != ended);
    }

    fn cancel_step(&mut self, index: u32) {
        let sequence = self.next();
        let done = self.cancel_some(index);
        self.step(sequence, 0, 0, index, &done);
    }

    /// Begins a mass cancel, or begins a pending one anew, and carries out the first step.
    fn begin_cancel(&mut self, index: u32, locate: u32, side: u8, kill: bool) -> Done {
        let session = self.session_mut(index);
        session.killed |= kill;
        let pending = self.cancels.contains_key(&index);
        assert!(kill || !pending, "only a kill widens a pending mass cancel");
        let cancel = Cancel {
            locate: if pending { 0 } else { locate },
            side: if pending { BOTH } else { side },
            removal: if kill { Removal::Kill } else { Removal::Mass },
            from: 0,
        };
        self.cancels.insert(index, cancel);
        if !pending {
            self.pending.push_back(Pending::Cancel(index));
        }
        self.cancel_some(index)
    }

    /// Visits the next orders of a pending mass cancel, and ends it when none is left.
    fn cancel_some(&mut self, index: u32) -> Done {
        let cancel = self.cancels[&index];
        let mut left = self.orders_from(index, cancel.from);
        let rest = left.split_off(left.len().min(CANCELS_MAX as usize));
        let mut cancelled = 0;
        for id in left {
            let order = self.orders[&id];
            let instrument = self.instrument(order.instrument);
            let named = cancel.locate == 0 || cancel.locate == locate_of(order.instrument);
            let of_side = cancel.side == BOTH || cancel.side == order.side;
            if named && of_side && instrument.sweep != Some(id) {
                self.remove(&order, cancel.removal);
                cancelled += 1;
            }
        }
        let outcome = match rest.first() {
            Some(&next) => {
                self.cancels.insert(
                    index,
                    Cancel {
                        from: next,
                        ..cancel
                    },
                );
                Outcome::Continues
            }
            None => {
                self.cancels.remove(&index);
                let ended = Pending::Cancel(index);
                self.pending.retain(|&pending| pending != ended);
                Outcome::Accepted
            }
        };
        Done {
            outcome,
            quantity: cancelled,
        }
    }

    /// The live orders of a session from an id on, at most one more than a step visits.
    fn orders_from(&self, index: u32, from: u64) -> Vec<u64> {
        let session = self.sessions[index as usize].as_ref();
        let ids = session.into_iter().flat_map(|s| s.orders.range(from..));
        ids.take(CANCELS_MAX as usize + 1).copied().collect()
    }

    fn step(&mut self, sequence: u64, locate: u32, order: u64, session: u32, done: &Done) {
        self.publish(&Step {
            head: Head {
                kind: Kind::Step as u16,
                slots: 1,
                side: 0,
                locate,
                sequence,
            },
            time_ns: self.time_ns,
            order,
            session,
            quantity: done.quantity,
            outcome: done.outcome as u8,
            reserved: [0; 23],
        });
    }

    // Control commands.

    /// Only one control command, without continuation steps.
    pub fn replay_control(&mut self, command: &Control, boot_ns: u64) -> (Outcome, Reason) {
        let sequence = self.next();
        let kind = ControlKind::ALL
            .into_iter()
            .find(|&kind| kind as u32 == command.kind);
        if kind == Some(ControlKind::Clock) {
            self.day_base_ns = command.body::<Clock>().day_base_ns;
        }
        self.time_ns = self.now(boot_ns);
        let done = match kind {
            None => Err(Reason::UnknownControl),
            Some(kind) => self.carry_out(kind, command),
        };
        let (outcome, reason) = match done {
            Ok(outcome) => (outcome, Reason::None),
            Err(reason) => (Outcome::Rejected, reason),
        };
        self.publish(&ControlRecord {
            head: Head {
                kind: Kind::Control as u16,
                slots: 2,
                side: 0,
                locate: 0,
                sequence,
            },
            time_ns: self.time_ns,
            kind: command.kind,
            outcome: outcome as u8,
            reason: reason as u8,
            reserved: [0; 2],
            body: command.body,
        });
        (outcome, reason)
    }

    fn carry_out(&mut self, kind: ControlKind, command: &Control) -> Result<Outcome, Reason> {
        match kind {
            ControlKind::Clock => {} // done before: it decides the command's time
            ControlKind::OpenAccount => self.open_account(command.body())?,
            ControlKind::Deposit => self.deposit(command.body())?,
            ControlKind::Withdraw => self.withdraw(command.body())?,
            ControlKind::SetLimit => self.set_limit(command.body())?,
            ControlKind::SettlementMark => self.settlement_mark(command.body())?,
            ControlKind::List => self.list_instrument(command.body())?,
            ControlKind::HaltInstrument | ControlKind::ResumeInstrument => {
                let index = command.body::<Target>().index;
                in_range(index, self.capacity.instruments)?;
                let instrument = self.instruments[index as usize].as_mut();
                let instrument = instrument.ok_or(Reason::UnknownInstrument)?;
                instrument.halted = kind == ControlKind::HaltInstrument;
            }
            ControlKind::GrantSession => self.grant(command.body())?,
            ControlKind::CloseSession => {
                let index = self.target_session(command)?;
                if !self.session(index).orders.is_empty() {
                    return Err(Reason::OrdersLive);
                }
                if self.cancels.contains_key(&index) {
                    return Err(Reason::Continuing);
                }
                self.sessions[index as usize] = None;
            }
            ControlKind::KillSession => {
                let index = self.target_session(command)?;
                return Ok(self.begin_cancel(index, 0, BOTH, true).outcome);
            }
            ControlKind::ReviveSession => {
                let index = self.target_session(command)?;
                if self.cancels.contains_key(&index) {
                    return Err(Reason::Continuing);
                }
                self.session_mut(index).killed = false;
            }
            ControlKind::HaltShard => self.halted = true,
            ControlKind::ResumeShard => self.halted = false,
        }
        Ok(Outcome::Accepted)
    }

    fn open_account(&mut self, body: OpenAccount) -> Result<(), Reason> {
        in_range(body.account, self.capacity.accounts)?;
        let account = &mut self.accounts[body.account as usize];
        if account.is_some() {
            return Err(Reason::AccountOpen);
        }
        let empty = Balance {
            available: 0,
            held: 0,
            outflow: 0,
            limit: AMOUNT_MAX,
        };
        *account = Some(vec![empty; self.capacity.assets as usize]);
        Ok(())
    }

    fn deposit(&mut self, body: Deposit) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        let total = self.assets[body.asset as usize].total;
        let new_total = u128::from(total) + u128::from(body.amount);
        if body.amount == 0 || new_total > u128::from(AMOUNT_MAX) {
            return Err(Reason::BadAmount);
        }
        self.assets[body.asset as usize].total += body.amount;
        self.balance_mut(body.account, body.asset).available += body.amount;
        Ok(())
    }

    fn withdraw(&mut self, body: Deposit) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        if body.amount == 0 {
            return Err(Reason::BadAmount);
        }
        if body.amount > self.balance(body.account, body.asset).available {
            return Err(Reason::Funds);
        }
        self.assets[body.asset as usize].total -= body.amount;
        self.balance_mut(body.account, body.asset).available -= body.amount;
        Ok(())
    }

    fn set_limit(&mut self, body: SetLimit) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        if body.limit > AMOUNT_MAX {
            return Err(Reason::BadAmount);
        }
        self.balance_mut(body.account, body.asset).limit = body.limit;
        Ok(())
    }

    fn settlement_mark(&mut self, body: SettlementMark) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        let balance = self.balance_mut(body.account, body.asset);
        let outflow = i128::from(balance.outflow) - i128::from(body.covered);
        if outflow.abs() > i128::from(AMOUNT_MAX) {
            return Err(Reason::BadAmount);
        }
        balance.outflow = outflow as i64;
        Ok(())
    }

    fn list_instrument(&mut self, list: List) -> Result<(), Reason> {
        in_range(list.instrument, self.capacity.instruments)?;
        in_range(list.base_asset, self.capacity.assets)?;
        in_range(list.quote_asset, self.capacity.assets)?;
        if self.instruments[list.instrument as usize].is_some() {
            return Err(Reason::AlreadyListed);
        }
        if !is_good_listing(&list) {
            return Err(Reason::BadListing);
        }
        let ladder = u64::from(list.ladder_len).next_multiple_of(64);
        if self.ladder_count + ladder > u64::from(self.capacity.ladder).next_multiple_of(64) {
            return Err(Reason::LadderFull);
        }
        self.ladder_count += ladder;
        self.instruments[list.instrument as usize] = Some(Instrument {
            list,
            halted: list.halted == 1,
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            sweep: None,
        });
        Ok(())
    }

    fn grant(&mut self, grant: Grant) -> Result<(), Reason> {
        in_range(grant.session, self.capacity.sessions)?;
        in_range(grant.account, self.capacity.accounts)?;
        if self.accounts[grant.account as usize].is_none() {
            return Err(Reason::UnknownAccount);
        }
        if self.sessions[grant.session as usize].is_some() {
            return Err(Reason::SessionOpen);
        }
        if !ANSWERS_LOG2.contains(&grant.answers_log2)
            || !REFERENCES_LOG2.contains(&grant.references_log2)
            || (grant.interval_ns != 0 && grant.burst == 0)
            || u128::from(grant.burst) * u128::from(grant.interval_ns) > PRODUCT_MAX
            || SessionId(grant.id).index() != Some(grant.session)
        {
            return Err(Reason::BadGrant);
        }
        if let Some(&(answers, references)) = self.windows.get(&grant.session) {
            if grant.answers_log2 > answers || grant.references_log2 > references {
                return Err(Reason::WindowsFull);
            }
        } else {
            let first = (grant.answers_log2, grant.references_log2);
            let all = || self.windows.values().chain([&first]);
            let answers: u64 = all().map(|(answers, _)| 1 << answers).sum();
            let references: u64 = all().map(|(_, references)| 1 << references).sum();
            if answers > u64::from(self.capacity.answers)
                || references > u64::from(self.capacity.references)
            {
                return Err(Reason::WindowsFull);
            }
            self.windows.insert(grant.session, first);
        }
        self.sessions[grant.session as usize] = Some(Session {
            grant,
            killed: false,
            expected: 1,
            last_reference: 0,
            rate_state: 0,
            answers: BTreeMap::new(),
            orders: BTreeSet::new(),
            references: HashMap::new(),
            window: HashMap::new(),
        });
        Ok(())
    }

    fn account_and_asset(&self, account: u32, asset: u32) -> Result<(), Reason> {
        in_range(account, self.capacity.accounts)?;
        in_range(asset, self.capacity.assets)?;
        match self.accounts[account as usize] {
            Some(_) => Ok(()),
            None => Err(Reason::UnknownAccount),
        }
    }

    fn target_session(&self, command: &Control) -> Result<u32, Reason> {
        let index = command.body::<Target>().index;
        in_range(index, self.capacity.sessions)?;
        match self.sessions[index as usize] {
            Some(_) => Ok(index),
            None => Err(Reason::UnknownSession),
        }
    }

    // Money.

    /// The asset that an order holds.
    fn asset_held(&self, order: &Order) -> u32 {
        let list = &self.instrument(order.instrument).list;
        if order.side == BUY {
            list.quote_asset
        } else {
            list.base_asset
        }
    }

    /// What so many lots of an order hold.
    fn hold_of(&self, order: &Order, lots: u32) -> u128 {
        let list = &self.instrument(order.instrument).list;
        u128::from(lots)
            * if order.side == BUY {
                hold_per_lot(list, order.price)
            } else {
                u128::from(list.lot_value)
            }
    }

    fn hold(&mut self, order: &Order) {
        let hold = self.hold_of(order, order.open) as i128;
        let asset = self.asset_held(order);
        self.balance_mut(order.account, asset)
            .change(-hold, hold, 0);
    }

    /// Gives the hold of so many lots back.
    fn release(&mut self, order: &Order, lots: u32) {
        let hold = self.hold_of(order, lots) as i128;
        let asset = self.asset_held(order);
        self.balance_mut(order.account, asset)
            .change(hold, -hold, 0);
    }

    // State.

    fn now(&self, boot_ns: u64) -> u64 {
        self.time_ns.max(self.day_base_ns.wrapping_add(boot_ns))
    }

    fn session(&self, index: u32) -> &Session {
        self.sessions[index as usize]
            .as_ref()
            .expect("a granted session")
    }

    fn session_mut(&mut self, index: u32) -> &mut Session {
        self.sessions[index as usize]
            .as_mut()
            .expect("a granted session")
    }

    fn instrument(&self, index: u32) -> &Instrument {
        self.instruments[index as usize]
            .as_ref()
            .expect("a listed instrument")
    }

    fn instrument_mut(&mut self, index: u32) -> &mut Instrument {
        self.instruments[index as usize]
            .as_mut()
            .expect("a listed instrument")
    }

    fn order_mut(&mut self, id: u64) -> &mut Order {
        self.orders.get_mut(&id).expect("a live order")
    }

    fn balance(&self, account: u32, asset: u32) -> &Balance {
        let account = self.accounts[account as usize].as_ref();
        &account.expect("an open account")[asset as usize]
    }

    fn balance_mut(&mut self, account: u32, asset: u32) -> &mut Balance {
        let account = self.accounts[account as usize].as_mut();
        &mut account.expect("an open account")[asset as usize]
    }

    /// Index of the listed instrument that a locate names.
    fn listed(&self, locate: u16) -> Option<u32> {
        let index = u32::from(locate).checked_sub(1)?;
        let instrument = self.instruments.get(index as usize)?;
        instrument.as_ref().map(|_| index)
    }

    fn lots_of(&self, ids: &[u64]) -> u64 {
        ids.iter().map(|id| u64::from(self.orders[id].open)).sum()
    }

    // Records.

    fn next(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    /// The head of the next event, about this order.
    fn peek_head(&self, kind: Kind, order: &Order) -> Head {
        Head {
            kind: kind as u16,
            slots: 1,
            side: order.side,
            locate: locate_of(order.instrument),
            sequence: self.next_sequence,
        }
    }

    /// An event of the command under way, whose head was peeked.
    fn event<R: IntoBytes + Immutable>(&mut self, record: &R) {
        self.next();
        self.events.extend(record.as_bytes());
    }

    /// The record of the command, then its events.
    fn publish<R: IntoBytes + Immutable>(&mut self, record: &R) {
        self.records.extend(record.as_bytes());
        self.records.append(&mut self.events);
    }
}

/// The canonical listing and what is always true.
impl Reference {
    /// Lists the state in the order of `docs/matching.md#state-hash`.
    pub fn list(&self, to: &mut dyn Listing) {
        let halted = u64::from(self.halted);
        to.item(
            Tag::Shard,
            &[self.time_ns, self.day_base_ns, self.next_sequence, halted],
        );
        for (index, asset) in (0_u64..).zip(&self.assets) {
            if asset.total != 0 || asset.fees != 0 {
                to.item(Tag::Asset, &[index, asset.total, asset.fees]);
            }
        }
        for (index, instrument) in (0_u64..).zip(&self.instruments) {
            if let Some(instrument) = instrument {
                self.list_book(to, index, instrument);
            }
        }
        for (index, account) in (0_u64..).zip(&self.accounts) {
            let Some(balances) = account else { continue };
            to.item(Tag::Account, &[index]);
            for (asset, b) in (0_u64..).zip(balances) {
                if b.available != 0 || b.held != 0 || b.outflow != 0 || b.limit != AMOUNT_MAX {
                    let outflow = b.outflow as u64;
                    let numbers = [index, asset, b.available, b.held, outflow, b.limit];
                    to.item(Tag::Balance, &numbers);
                }
            }
        }
        for (index, session) in (0_u32..).zip(&self.sessions) {
            if let Some(session) = session {
                self.list_session(to, index, session);
            }
        }
        for &pending in &self.pending {
            let numbers = match pending {
                Pending::Sweep(instrument) => [1, u64::from(instrument)],
                Pending::Cancel(session) => [2, u64::from(session)],
            };
            to.item(Tag::Pending, &numbers);
        }
    }

    fn list_book(&self, to: &mut dyn Listing, index: u64, instrument: &Instrument) {
        let list = &instrument.list;
        to.item(
            Tag::Instrument,
            &[
                index,
                u64::from(instrument.halted),
                u64::from_le_bytes(list.symbol),
                u64::from(list.base_asset),
                u64::from(list.quote_asset),
                u64::from(list.tick_size),
                u64::from(list.lot_size),
                u64::from(list.tick_value),
                u64::from(list.ladder_base),
                list.lot_value,
                u64::from(list.ladder_len),
                u64::from(list.lots_max),
                u64::from(list.band_low),
                u64::from(list.band_high),
                list.notional_max,
                i64::from(list.maker_ppm) as u64,
                u64::from(list.taker_ppm),
            ],
        );
        for side in [BUY, SELL] {
            for (price, ids) in instrument.best_first(side) {
                let (count, lots) = (ids.len() as u64, self.lots_of(ids));
                to.item(
                    Tag::Level,
                    &[u64::from(side), u64::from(price), count, lots],
                );
                for id in ids {
                    to.item(Tag::Order, &self.orders[id].numbers());
                }
            }
        }
        if let Some(id) = instrument.sweep {
            let order = self.orders[&id];
            let mut numbers = order.numbers().to_vec();
            numbers.extend([u64::from(order.side), u64::from(order.executed)]);
            to.item(Tag::Sweep, &numbers);
        }
    }

    fn list_session(&self, to: &mut dyn Listing, index: u32, session: &Session) {
        let grant = &session.grant;
        let id = grant.id;
        let head = [id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]];
        to.item(
            Tag::Session,
            &[
                u64::from(index),
                u64::from_le_bytes(head),
                u64::from(u16::from_le_bytes([id[8], id[9]])),
                u64::from(grant.account),
                if session.killed { 2 } else { 1 },
                session.expected,
                u64::from(session.last_reference),
                session.rate_state,
                grant.interval_ns,
                u64::from(grant.burst),
                grant.expires_ns,
                u64::from(grant.answers_log2),
                u64::from(grant.references_log2),
            ],
        );
        for (&sequence, ack) in &session.answers {
            to.item(
                Tag::Answer,
                &[
                    sequence,
                    ack.outcome as u64,
                    ack.reason as u64,
                    u64::from(ack.reference),
                    u64::from(ack.quantity),
                    ack.venue_sequence,
                ],
            );
        }
        if let Some(cancel) = self.cancels.get(&index) {
            let next = session.orders.range(cancel.from..).next();
            to.item(
                Tag::Cancel,
                &[
                    u64::from(cancel.locate),
                    u64::from(cancel.side),
                    cancel.removal as u64,
                    next.copied().unwrap_or(0),
                ],
            );
        }
    }

    /// Asserts what is always true between two commands. Walks everything.
    ///
    /// # Panics
    /// When something is not.
    pub fn check(&self) {
        self.check_money();
        let mut resting = 0;
        let mut levels = 0;
        for (index, instrument) in (0_u32..).zip(&self.instruments) {
            let Some(instrument) = instrument else {
                continue;
            };
            for side in [BUY, SELL] {
                for (price, ids) in instrument.best_first(side) {
                    levels += 1;
                    resting += ids.len();
                    assert!(!ids.is_empty(), "a level has orders");
                    assert!(ids.is_sorted(), "the oldest order stands first");
                    assert!(price >= instrument.list.ladder_base, "on the ladder");
                    assert!(
                        u64::from(price) <= top_of(&instrument.list),
                        "on the ladder"
                    );
                    for id in ids {
                        let order = &self.orders[id];
                        let stands = (order.instrument, order.side, order.price);
                        assert_eq!(stands, (index, side, price), "where its terms say");
                        assert!(!order.immediate, "only a day order rests");
                    }
                }
            }
            let bid = instrument.best_first(BUY).next();
            let ask = instrument.best_first(SELL).next();
            if let (Some((bid, _)), Some((ask, _))) = (bid, ask) {
                assert!(
                    bid < ask,
                    "the book is not crossed: an order sweeps beside it"
                );
            }
            let queued = self.pending.contains(&Pending::Sweep(index));
            assert_eq!(instrument.sweep.is_some(), queued, "a sweep is queued");
            if let Some(id) = instrument.sweep {
                resting += 1;
                assert_eq!(self.orders[&id].instrument, index);
            }
        }
        assert_eq!(levels, self.levels_count, "levels in use");
        assert_eq!(resting, self.orders.len(), "a live order rests or sweeps");
        assert!(self.orders.len() as u64 <= u64::from(self.capacity.orders));
        assert!(levels <= self.capacity.levels);
        self.check_sessions();
    }

    fn check_money(&self) {
        let mut held = BTreeMap::<(u32, u32), u128>::new();
        for (id, order) in &self.orders {
            assert_eq!(*id, order.id);
            assert!(order.open > 0, "a live order has open lots");
            let asset = (order.account, self.asset_held(order));
            *held.entry(asset).or_default() += self.hold_of(order, order.open);
        }
        let mut sums = vec![0_u128; self.assets.len()];
        for (account, balances) in (0_u32..).zip(&self.accounts) {
            for (asset, balance) in (0_u32..).zip(balances.iter().flatten()) {
                let orders = held.get(&(account, asset)).copied().unwrap_or(0);
                assert_eq!(u128::from(balance.held), orders, "held is what orders hold");
                sums[asset as usize] += u128::from(balance.available) + orders;
            }
        }
        for (asset, sum) in self.assets.iter().zip(sums) {
            assert_eq!(
                sum + u128::from(asset.fees),
                u128::from(asset.total),
                "what was deposited is in the balances and fees"
            );
            assert!(asset.total <= AMOUNT_MAX);
        }
    }

    fn check_sessions(&self) {
        let mut live = 0;
        let mut overflown = 0;
        for (index, session) in (0_u32..).zip(&self.sessions) {
            let Some(session) = session else { continue };
            live += session.orders.len();
            assert_eq!(session.orders.len(), session.references.len());
            let mut in_window = 0;
            for (&reference, id) in &session.references {
                let order = &self.orders[id];
                assert!(session.orders.contains(id), "its session knows it");
                assert_eq!((order.session, order.reference), (index, reference));
                assert!(
                    reference <= session.last_reference,
                    "the last is the highest"
                );
                let place = session.place_of(reference);
                if session.window.get(&place) == Some(&reference) {
                    in_window += 1;
                    continue;
                }
                let bucket = &self.overflow[&self.bucket_of(index, reference)];
                assert!(bucket.contains(&(index, reference)), "it has a place");
                overflown += 1;
            }
            assert_eq!(in_window, session.window.len(), "no dead order has a place");
            let answers = session.oldest_answer()..session.expected;
            assert!(session.answers.keys().copied().eq(answers), "every answer");
        }
        assert_eq!(live, self.orders.len(), "every live order has its session");
        let there: usize = self.overflow.values().map(Vec::len).sum();
        assert_eq!(there, overflown, "no dead order has a place");
        let full = |bucket: &Vec<_>| bucket.len() <= BUCKET_LEN as usize;
        assert!(
            self.overflow.values().all(full),
            "buckets keep their length"
        );
        let queued = |p: &&Pending| matches!(p, Pending::Cancel(_));
        assert_eq!(
            self.pending.iter().filter(queued).count(),
            self.cancels.len()
        );
        for &index in self.cancels.keys() {
            assert!(self.pending.contains(&Pending::Cancel(index)));
        }
    }
}

impl Instrument {
    fn side(&self, side: u8) -> &Side {
        if side == BUY { &self.bids } else { &self.asks }
    }

    fn side_mut(&mut self, side: u8) -> &mut Side {
        if side == BUY {
            &mut self.bids
        } else {
            &mut self.asks
        }
    }

    /// The levels of a side, best price first.
    fn best_first(&self, side: u8) -> Box<dyn Iterator<Item = (u32, &[u64])> + '_> {
        let levels = self.side(side).iter();
        let levels = levels.map(|(&price, ids)| (price, ids.as_slice()));
        if side == BUY {
            Box::new(levels.rev())
        } else {
            Box::new(levels)
        }
    }
}

impl Session {
    /// Place of a reference in the window.
    fn place_of(&self, reference: u32) -> u32 {
        reference % (1 << self.grant.references_log2)
    }

    /// The lowest client sequence that a duplicate could still get.
    fn oldest_answer(&self) -> u64 {
        self.expected
            .saturating_sub(1 << self.grant.answers_log2)
            .max(1)
    }
}

impl Order {
    /// As in [`Tag::Order`].
    fn numbers(&self) -> [u64; 7] {
        [
            self.id,
            u64::from(self.session),
            u64::from(self.account),
            u64::from(self.reference),
            u64::from(self.price),
            u64::from(self.open),
            u64::from(self.post_only),
        ]
    }
}

impl Balance {
    fn change(&mut self, available: i128, held: i128, outflow: i128) {
        self.available = amount(i128::from(self.available) + available);
        self.held = amount(i128::from(self.held) + held);
        let outflow = i128::from(self.outflow) + outflow;
        let end = i128::from(AMOUNT_MAX);
        self.outflow = outflow.clamp(-end, end) as i64;
    }
}

fn amount(value: i128) -> u64 {
    let value = u64::try_from(value).expect("no amount is negative");
    assert!(value <= AMOUNT_MAX, "amounts stay below 2^63");
    value
}

fn locate_of(instrument: u32) -> u32 {
    instrument + 1
}

fn opposite(side: u8) -> u8 {
    if side == BUY { SELL } else { BUY }
}

/// Whether an order would trade with an opposite one at this price.
fn prices_cross(order: &Order, opposite: u32) -> bool {
    if order.side == BUY {
        opposite <= order.price
    } else {
        opposite >= order.price
    }
}

/// Highest price of the ladder.
fn top_of(list: &List) -> u64 {
    u64::from(list.ladder_base) + u64::from(list.ladder_len) - 1
}

fn notional(list: &List, price: u32, lots: u32) -> u128 {
    u128::from(price) * u128::from(lots) * u128::from(list.tick_value)
}

/// So many millionths of an amount, rounded up.
fn up(amount: u128, ppm: u32) -> u128 {
    (amount * u128::from(ppm)).div_ceil(u128::from(PPM))
}

fn hold_per_lot(list: &List, price: u32) -> u128 {
    let paid = notional(list, price, 1);
    paid + up(paid, list.taker_ppm)
}

fn in_range(index: u32, len: u32) -> Result<(), Reason> {
    if index < len {
        Ok(())
    } else {
        Err(Reason::IndexOutOfRange)
    }
}

/// Enter 11.
fn work_is_left(work: u32) -> Result<(), Reason> {
    if work <= PACKET_WORK_MAX - FILLS_MAX {
        Ok(())
    } else {
        Err(Reason::PacketFills)
    }
}

/// None of the causes of `BadListing`.
fn is_good_listing(list: &List) -> bool {
    let never_zero = [
        u64::from(list.tick_size),
        u64::from(list.lot_size),
        u64::from(list.tick_value),
        u64::from(list.ladder_base),
        list.lot_value,
        u64::from(list.ladder_len),
        u64::from(list.lots_max),
    ];
    if list.base_asset == list.quote_asset || never_zero.contains(&0) || list.halted > 1 {
        return false;
    }
    let word = u64::from(u32::MAX);
    let ladder_end = u64::from(list.ladder_base) + u64::from(list.ladder_len);
    if list.ladder_len > 1 << 24 || ladder_end > word {
        return false;
    }
    let top = top_of(list);
    let lots_max = u128::from(list.lots_max);
    let taker_ppm = i64::from(list.taker_ppm);
    list.symbol.iter().all(|byte| (0x20..=0x7E).contains(byte))
        && top * u64::from(list.tick_size) <= word
        && u64::from(list.lots_max) * u64::from(list.lot_size) <= word
        && (list.band_low == 0) == (list.band_high == 0)
        && list.band_low <= list.band_high
        && list.taker_ppm <= FEE_PPM_MAX
        && (-taker_ppm..=taker_ppm).contains(&i64::from(list.maker_ppm))
        && notional(list, top as u32, 1) <= PRODUCT_MAX
        && lots_max * hold_per_lot(list, top as u32) <= u128::from(AMOUNT_MAX)
        && lots_max * u128::from(list.lot_value) <= u128::from(AMOUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Text;
    use ring0_wire::SelfTrade;
    use ring0_wire::host::{Answer, Inbound, PacketBuilder};
    use zerocopy::FromBytes;

    const DAY: Flags = Flags::new(TimeInForce::Day, SelfTrade::AccountDefault);
    const IOC: Flags = Flags::new(TimeInForce::ImmediateOrCancel, SelfTrade::AccountDefault);
    const FOK: Flags = Flags::new(TimeInForce::FillOrKill, SelfTrade::AccountDefault);
    const START: u64 = 1_000_000;

    /// Asset 0 is bought and paid in asset 1. A tick is 100 of wire price, a lot is 10 shares. One
    /// lot at one tick is 1 quote unit; fees are a rebate of 0.1 % and 0.3 %.
    const LIST: List = List {
        instrument: 0,
        halted: 0,
        symbol: *b"RINGZERO",
        base_asset: 0,
        quote_asset: 1,
        tick_size: 100,
        lot_size: 10,
        tick_value: 1,
        ladder_base: 1,
        lot_value: 5,
        ladder_len: 1000,
        lots_max: 2000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: -1000,
        taker_ppm: 3000,
    };

    /// A shard with one instrument and sessions 0 and 1 of accounts 0 and 1, who own plenty.
    struct Desk {
        book: Reference,
        /// Next client sequence by session.
        next: [u64; 2],
    }

    fn grant(session: u32) -> Grant {
        Grant {
            session,
            account: session,
            id: SessionId::new(session, 77).unwrap().0,
            answers_log2: 7,
            references_log2: 10,
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
        }
    }

    fn target(kind: ControlKind, index: u32) -> Control {
        let reserved = 0;
        Control::new(kind, &Target { index, reserved })
    }

    fn deposit(account: u32, asset: u32, amount: u64) -> Control {
        let body = Deposit {
            account,
            asset,
            amount,
        };
        Control::new(ControlKind::Deposit, &body)
    }

    impl Desk {
        fn new() -> Desk {
            Desk::with(Capacity::SMALL, LIST, &grant)
        }

        fn with(capacity: Capacity, list: List, grant: &dyn Fn(u32) -> Grant) -> Desk {
            let mut desk = Desk {
                book: Reference::new(capacity),
                next: [1, 1],
            };
            let mut commands = Vec::new();
            for account in [0, 1] {
                let reserved = 0;
                let body = OpenAccount { account, reserved };
                commands.push(Control::new(ControlKind::OpenAccount, &body));
                commands.push(deposit(account, 0, 1_000_000));
                commands.push(deposit(account, 1, 1_000_000));
                commands.push(Control::new(ControlKind::GrantSession, &grant(account)));
            }
            commands.push(Control::new(ControlKind::List, &list));
            for command in commands {
                desk.order(command, Ok(Outcome::Accepted));
            }
            desk.book.take_records();
            desk
        }

        fn order(&mut self, command: Control, want: Result<Outcome, Reason>) {
            let want = match want {
                Ok(outcome) => (outcome, Reason::None),
                Err(reason) => (Outcome::Rejected, reason),
            };
            assert_eq!(self.book.control(&[command], START), [want]);
            self.book.check();
        }

        /// Sends a packet at a client sequence; the acks as result letter, reason, quantity, sequence.
        fn send_at(
            &mut self,
            session: u32,
            sequence: u64,
            messages: &[Message],
        ) -> Vec<(char, Reason, u32, u64)> {
            let id = SessionId(grant(session).id);
            let mut packet = PacketBuilder::new(id, sequence);
            for message in messages {
                packet
                    .push(&Inbound::from_message(message).unwrap())
                    .unwrap();
            }
            let answer = self.book.packet(&packet.sign(None), START);
            self.book.check();
            let answer = Answer::read(&answer, None).unwrap();
            let acks = answer.acks.iter().map(|ack| {
                let reason = Reason::from_number(ack.reason).unwrap();
                (char::from(ack.result), reason, ack.quantity, ack.sequence)
            });
            acks.collect()
        }

        /// Sends the session's next packet; result letter, reason and quantity of every message.
        fn send(&mut self, session: u32, messages: &[Message]) -> Vec<(char, Reason, u32)> {
            let sequence = self.next[session as usize];
            self.next[session as usize] += messages.len() as u64 + 1;
            let acks = self.send_at(session, sequence, messages);
            acks.into_iter()
                .map(|(r, reason, q, _)| (r, reason, q))
                .collect()
        }

        /// As `send`, of one message.
        fn one(&mut self, session: u32, message: Message) -> (char, Reason, u32) {
            self.send(session, &[message])[0]
        }

        /// The records since the last call as words; messages and controls left out.
        fn events(&mut self) -> Vec<String> {
            let records = self.book.take_records();
            let mut rest = records.as_slice();
            let mut texts = Vec::new();
            while let Ok((head, _)) = Head::read_from_prefix(rest) {
                let (record, behind) = rest.split_at(usize::from(head.slots) * 64);
                rest = behind;
                let side = char::from(head.side);
                match Kind::from_number(head.kind).unwrap() {
                    Kind::Message | Kind::Control => {}
                    Kind::Step => {
                        let r = Step::read_from_bytes(record).unwrap();
                        texts.push(format!("step {} {}", char::from(r.outcome), r.quantity));
                    }
                    Kind::Rested => {
                        let r = Rested::read_from_bytes(record).unwrap();
                        texts.push(format!(
                            "rested {}: {side} {}@{}",
                            r.reference, r.lots, r.price
                        ));
                    }
                    Kind::Filled => {
                        let r = Filled::read_from_bytes(record).unwrap();
                        let fees = (r.maker_fee, r.taker_fee);
                        texts.push(format!("filled {side} {}@{} {fees:?}", r.lots, r.price));
                    }
                    Kind::Removed => {
                        let r = Removed::read_from_bytes(record).unwrap();
                        let why = char::from(r.removal);
                        texts.push(format!(
                            "removed {}: {} {why}{}",
                            r.reference, r.lots, r.rested
                        ));
                    }
                    Kind::Reduced => {
                        let r = Reduced::read_from_bytes(record).unwrap();
                        texts.push(format!("reduced {}: {} to {}", r.reference, r.lots, r.open));
                    }
                    Kind::Replaced => {
                        let r = Replaced::read_from_bytes(record).unwrap();
                        let (before, after) = (r.lots_before, r.lots);
                        let kept = r.kept;
                        texts.push(format!(
                            "replaced {}: {before} to {after} kept {kept}",
                            r.reference
                        ));
                    }
                }
            }
            texts
        }

        /// Available, held, outflow.
        fn money(&self, account: u32, asset: u32) -> (u64, u64, i64) {
            let balance = self.book.balance(account, asset);
            (balance.available, balance.held, balance.outflow)
        }

        /// Client references of a side's orders in priority.
        fn queue(&self, side: u8) -> Vec<u32> {
            let levels = self.book.instrument(0).best_first(side);
            let ids = levels.flat_map(|(_, ids)| ids);
            ids.map(|id| self.book.orders[id].reference).collect()
        }
    }

    /// An order for lots at ticks.
    fn enter(reference: u32, side: u8, lots: u32, ticks: u32, flags: Flags) -> Message {
        Message {
            letter: b'A',
            locate: 1,
            flags,
            reference,
            side,
            shares: lots * 10,
            stock: STOCK_SPACES,
            price: ticks * 100,
            ..Message::default()
        }
    }

    fn replace(reference: u32, new_reference: u32, lots: u32, ticks: u32) -> Message {
        Message {
            letter: b'U',
            locate: 1,
            reference,
            new_reference,
            shares: lots * 10,
            price: ticks * 100,
            ..Message::default()
        }
    }

    fn cancel(reference: u32) -> Message {
        Message {
            letter: b'D',
            locate: 1,
            reference,
            ..Message::default()
        }
    }

    fn mass(kill: u8) -> Message {
        Message {
            letter: b'M',
            side: BOTH,
            scope: SCOPE_SESSION,
            kill,
            ..Message::default()
        }
    }

    fn rejected(reason: Reason) -> (char, Reason, u32) {
        ('R', reason, 0)
    }

    fn accepted(shares: u32) -> (char, Reason, u32) {
        ('A', Reason::None, shares)
    }

    #[test]
    fn price_goes_before_time() {
        let mut desk = Desk::new();
        let asks = [
            enter(1, SELL, 2, 101, DAY),
            enter(2, SELL, 2, 100, DAY),
            enter(3, SELL, 2, 100, DAY),
        ];
        assert_eq!(desk.send(0, &asks), [accepted(0); 3]);
        assert_eq!(desk.queue(SELL), [2, 3, 1]);
        assert_eq!(desk.book.depth(0, SELL, 9), [(100, 4, 2), (101, 2, 1)]);
        desk.events();
        assert_eq!(desk.one(1, enter(1, BUY, 6, 101, DAY)), accepted(60));
        let want = [
            "filled B 2@100 (0, 1)",
            "filled B 2@100 (0, 1)",
            "filled B 2@101 (0, 1)",
        ];
        assert_eq!(desk.events(), want);
        assert!(desk.book.orders.is_empty());
    }

    #[test]
    fn ioc_gives_its_rest_back_and_fok_takes_all_or_nothing() {
        let mut desk = Desk::new();
        desk.one(0, enter(1, SELL, 2, 100, DAY));
        desk.one(0, enter(2, SELL, 2, 101, DAY));
        desk.events();
        let fok = enter(1, BUY, 5, 101, FOK);
        assert_eq!(desk.one(1, fok), rejected(Reason::NotFillable));
        assert_eq!(desk.one(1, enter(2, BUY, 3, 101, FOK)), accepted(30));
        assert_eq!(
            desk.events(),
            ["filled B 2@100 (0, 1)", "filled B 1@101 (0, 1)"]
        );
        // A market order above the ladder is brought to its top; its rest goes.
        let mut market = enter(3, BUY, 3, 5000, DAY.with(Flags::MARKET));
        assert_eq!(desk.one(1, market), accepted(10));
        assert_eq!(desk.events(), ["filled B 1@101 (0, 1)", "removed 3: 2 I0"]);
        assert_eq!(desk.money(1, 1).1, 0);
        market.side = SELL;
        market.reference = 4;
        assert_eq!(desk.one(1, market), rejected(Reason::OffLadder));
    }

    #[test]
    fn fok_looks_at_so_many_levels() {
        let mut desk = Desk::new();
        for level in 0..=FOK_LEVELS_MAX {
            desk.one(0, enter(level + 1, SELL, 1, 100 + level, DAY));
        }
        let lots = FOK_LEVELS_MAX;
        let fok = enter(1, BUY, lots + 1, 900, FOK);
        assert_eq!(desk.one(1, fok), rejected(Reason::FokTooDeep));
        assert_eq!(
            desk.one(1, enter(2, BUY, lots, 900, FOK)),
            accepted(lots * 10)
        );
    }

    #[test]
    fn post_only_does_not_take() {
        let mut desk = Desk::new();
        let post = DAY.with(Flags::POST_REJECT);
        desk.one(0, enter(1, SELL, 2, 100, DAY));
        assert_eq!(
            desk.one(1, enter(1, BUY, 2, 100, post)),
            rejected(Reason::WouldCross)
        );
        assert_eq!(desk.one(1, enter(2, BUY, 2, 99, post)), accepted(0));
        // The mark goes over to the replacement.
        assert_eq!(
            desk.one(1, replace(2, 3, 2, 100)),
            rejected(Reason::WouldCross)
        );
        assert_eq!(desk.queue(BUY), [2]);
    }

    #[test]
    fn a_replace_keeps_its_place_or_comes_in_anew() {
        let mut desk = Desk::new();
        desk.one(0, enter(1, BUY, 5, 100, DAY));
        desk.one(0, enter(2, BUY, 5, 100, DAY));
        let (_, held, _) = desk.money(0, 1);
        assert_eq!(held, 10 * 101, "100 and a fee of 1 for each lot");
        desk.events();
        assert_eq!(desk.one(0, replace(1, 3, 4, 100)), accepted(0));
        assert_eq!(desk.queue(BUY), [3, 2]);
        assert_eq!(desk.money(0, 1).1, 9 * 101);
        assert_eq!(
            desk.one(0, replace(1, 4, 4, 100)),
            rejected(Reason::UnknownOrder)
        );
        assert_eq!(desk.one(0, replace(3, 5, 6, 100)), accepted(0));
        assert_eq!(desk.queue(BUY), [2, 5]);
        desk.one(1, enter(1, SELL, 1, 103, DAY));
        assert_eq!(desk.one(0, replace(2, 6, 2, 103)), accepted(10));
        let want = [
            "replaced 3: 5 to 4 kept 1",
            "replaced 5: 4 to 6 kept 0",
            "rested 5: B 6@100",
            "rested 1: S 1@103",
            "replaced 6: 5 to 2 kept 0",
            "filled B 1@103 (0, 1)",
            "rested 6: B 1@103",
        ];
        assert_eq!(desk.events(), want);
    }

    #[test]
    fn reduce_and_cancel() {
        let mut desk = Desk::new();
        desk.one(0, enter(1, BUY, 5, 100, DAY));
        desk.events();
        let reduce = |shares| Message {
            letter: b'X',
            shares,
            ..cancel(1)
        };
        assert_eq!(desk.one(0, reduce(15)), rejected(Reason::NotALot));
        assert_eq!(desk.one(0, reduce(20)), accepted(20));
        assert_eq!(desk.one(0, reduce(70)), accepted(30));
        assert_eq!(desk.one(0, cancel(1)), rejected(Reason::UnknownOrder));
        assert_eq!(desk.events(), ["reduced 1: 2 to 3", "removed 1: 3 U1"]);
        assert_eq!(desk.money(0, 1), (1_000_000, 0, 0));
    }

    /// Session 0 sells so many single lots at 100.
    fn wall(desk: &mut Desk, orders: u32) {
        let orders: Vec<_> = (1..=orders).map(|r| enter(r, SELL, 1, 100, DAY)).collect();
        for packet in orders.chunks(20) {
            desk.send(0, packet);
        }
        desk.events();
    }

    #[test]
    fn a_sweep_goes_on_in_steps() {
        let mut desk = Desk::new();
        wall(&mut desk, 1400);
        let taken = ('C', Reason::None, FILLS_MAX * 10);
        assert_eq!(desk.one(1, enter(1, BUY, 1401, 100, DAY)), taken);
        assert_eq!(desk.events().len(), FILLS_MAX as usize);
        let mut text = Text::default();
        desk.book.list(&mut text);
        assert!(text.0.contains(" 1 1 1 100 1145 0 66 256\n"), "{}", text.0);
        assert!(text.0.ends_with("F 1 0\n"), "{}", text.0);
        // Four steps come before the command, none while the shard is halted.
        desk.order(target(ControlKind::HaltShard, 0), Ok(Outcome::Accepted));
        let events = desk.events();
        assert_eq!(events.len(), 4 * (1 + FILLS_MAX as usize));
        assert_eq!(events[0], "step C 2560");
        desk.order(target(ControlKind::ResumeShard, 0), Ok(Outcome::Accepted));
        assert_eq!(desk.events().len(), 0);
        // The last step runs before the message, so the instrument is free for it.
        assert_eq!(desk.one(1, cancel(1)), accepted(10));
        let events = desk.events();
        assert_eq!(events[0], "step A 1200");
        assert_eq!(events[121..], ["rested 1: B 1@100", "removed 1: 1 U1"]);
    }

    #[test]
    fn what_a_sweep_freezes_is_rejected() {
        let mut desk = Desk::new();
        wall(&mut desk, 600);
        let packet = [
            enter(1, BUY, 600, 100, IOC),
            enter(2, BUY, 1, 1, DAY),
            cancel(1),
            mass(0),
        ];
        let frozen = rejected(Reason::Continuing);
        let taken = ('C', Reason::None, FILLS_MAX * 10);
        assert_eq!(desk.send(1, &packet), [taken, frozen, frozen, frozen]);
        desk.events();
        // Halted between two steps: the remainder goes.
        desk.book.instrument_mut(0).halted = true;
        desk.book.steps();
        assert_eq!(desk.events(), ["step A 0", "removed 1: 344 H0"]);
        desk.book.check();
        assert_eq!(
            desk.one(1, enter(3, BUY, 1, 1, DAY)),
            rejected(Reason::InstrumentHalted)
        );
    }

    #[test]
    fn a_mass_cancel_goes_on_in_steps() {
        let mut desk = Desk::new();
        wall(&mut desk, 150);
        let packet = [mass(0), mass(0), cancel(150), enter(200, SELL, 1, 100, DAY)];
        let frozen = rejected(Reason::Continuing);
        let begun = ('C', Reason::None, CANCELS_MAX);
        assert_eq!(desk.send(0, &packet), [begun, frozen, frozen, frozen]);
        assert_eq!(desk.events()[63], "removed 64: 1 M1");
        desk.book.steps();
        let events = desk.events();
        assert_eq!(events[0], "step C 64");
        assert_eq!(events[65], "step A 22");
        assert!(desk.book.orders.is_empty());
        desk.book.check();
    }

    #[test]
    fn a_kill_widens_what_is_pending() {
        let mut desk = Desk::new();
        wall(&mut desk, 150);
        desk.one(0, enter(151, BUY, 1, 99, DAY));
        let mut buys = mass(0);
        buys.side = BUY;
        // 64 sells are passed over, then the kill begins anew and takes the first 64.
        let acks = desk.send(0, &[buys, mass(1), enter(152, BUY, 1, 99, DAY)]);
        let begun = |cancelled| ('C', Reason::None, cancelled);
        assert_eq!(acks, [begun(0), begun(64), rejected(Reason::SessionKilled)]);
        let revive = target(ControlKind::ReviveSession, 0);
        desk.order(revive, Ok(Outcome::Accepted)); // the two steps left came before it
        assert!(desk.book.orders.is_empty());
        assert!(desk.events().contains(&"removed 151: 1 K1".into()));
        assert_eq!(desk.one(0, enter(153, BUY, 1, 99, DAY)), accepted(0));
        let close = target(ControlKind::CloseSession, 0);
        desk.order(close, Err(Reason::OrdersLive));
        let kill = target(ControlKind::KillSession, 0);
        desk.order(kill, Ok(Outcome::Accepted));
        desk.order(close, Ok(Outcome::Accepted));
        desk.order(close, Err(Reason::UnknownSession));
    }

    #[test]
    fn a_session_with_a_pending_cancel_is_not_closed() {
        let mut desk = Desk::new();
        wall(&mut desk, 65);
        desk.order(target(ControlKind::HaltShard, 0), Ok(Outcome::Accepted));
        let kill = target(ControlKind::KillSession, 0);
        desk.order(kill, Ok(Outcome::Continues));
        // As if it had been filled meanwhile.
        let last = *desk.book.orders.values().next().unwrap();
        desk.book.remove(&last, Removal::User);
        desk.book.events.clear();
        let close = target(ControlKind::CloseSession, 0);
        desk.order(close, Err(Reason::Continuing));
        desk.order(target(ControlKind::ResumeShard, 0), Ok(Outcome::Accepted));
        desk.order(close, Ok(Outcome::Accepted)); // the empty step comes first
    }

    #[test]
    fn a_packet_does_so_much_work() {
        let mut desk = Desk::new();
        wall(&mut desk, 800);
        let takes: Vec<_> = (1..=4).map(|r| enter(r, BUY, 256, 100, IOC)).collect();
        let full = accepted(2560);
        let last = accepted(320);
        assert_eq!(desk.send(1, &takes), [full, full, full, last]);
        assert_eq!(desk.one(1, cancel(1)), rejected(Reason::UnknownOrder));
        let mut desk = Desk::new();
        wall(&mut desk, 800);
        let mut takes = takes[..3].to_vec();
        takes.push(enter(4, BUY, 1, 100, IOC));
        takes.push(enter(5, BUY, 1, 100, IOC));
        let acks = desk.send(1, &takes);
        assert_eq!(acks[3..], [accepted(10), rejected(Reason::PacketFills)]);
    }

    #[test]
    fn holds_cover_fees_rounded_up() {
        let mut desk = Desk::new();
        desk.one(1, enter(1, SELL, 3, 400, DAY));
        assert_eq!(desk.money(1, 0), (999_985, 15, 0));
        // 500 a lot and a fee of 1.5, rounded up: 502.
        desk.one(0, enter(1, BUY, 4, 500, DAY));
        // 1,200 paid and a fee of 3.6, rounded up; one lot stays held.
        assert_eq!(desk.events()[1], "filled B 3@400 (-1, 4)");
        assert_eq!(desk.money(0, 1), (1_000_000 - 1204 - 502, 502, 1204));
        assert_eq!(desk.money(0, 0), (1_000_015, 0, -15));
        assert_eq!(desk.money(1, 1), (1_001_201, 0, -1201));
        assert_eq!(desk.money(1, 0), (999_985, 0, 15));
        assert_eq!(desk.book.assets[1].fees, 3);
        assert_eq!(
            desk.one(0, enter(2, BUY, 1000, 1000, DAY)),
            rejected(Reason::Funds)
        );
    }

    #[test]
    fn outflow_that_nobody_signed_has_a_limit() {
        let mut desk = Desk::new();
        let limit = SetLimit {
            account: 0,
            asset: 1,
            limit: 1515,
        };
        let limit = Control::new(ControlKind::SetLimit, &limit);
        desk.order(limit, Ok(Outcome::Accepted));
        desk.one(1, enter(1, SELL, 10, 100, DAY));
        assert_eq!(desk.one(0, enter(1, BUY, 10, 100, DAY)), accepted(100));
        assert_eq!(desk.money(0, 1).2, 1003);
        assert_eq!(
            desk.one(0, enter(2, BUY, 6, 100, DAY)),
            rejected(Reason::UnsettledLimit)
        );
        assert_eq!(desk.one(0, enter(3, BUY, 5, 100, DAY)), accepted(0));
        let covered = SettlementMark {
            account: 0,
            asset: 1,
            covered: 1003,
        };
        let covered = Control::new(ControlKind::SettlementMark, &covered);
        desk.order(covered, Ok(Outcome::Accepted));
        assert_eq!(desk.one(0, enter(4, BUY, 10, 100, DAY)), accepted(0));
        assert_eq!(
            desk.one(0, enter(5, BUY, 1, 1, DAY)),
            rejected(Reason::UnsettledLimit)
        );
        assert_eq!(desk.one(0, enter(6, SELL, 1, 999, DAY)), accepted(0));
    }

    #[test]
    fn sequences_are_taken_once() {
        let mut desk = Desk::new();
        let order = enter(7, BUY, 1, 100, DAY);
        let hole = desk.send_at(0, 2, &[order]);
        assert_eq!(hole, [('N', Reason::Hole, 0, 1)]);
        let first = desk.send_at(0, 1, &[order, cancel(7)]);
        assert_eq!(first[1], ('A', Reason::None, 10, 12));
        let hash = desk.book.state_hash();
        assert_eq!(desk.send_at(0, 1, &[order, cancel(7)]), first);
        assert_eq!(desk.send_at(0, 2, &[cancel(7)]), first[1..]);
        let straddle = desk.send_at(0, 3, &[order]);
        assert_eq!(straddle, [('N', Reason::Straddle, 0, 4)]);
        assert_eq!(
            desk.book.state_hash(),
            hash,
            "none of them changed anything"
        );
        // A heartbeat's answer says what is expected; 128 answers are kept.
        for sequence in 4..=140 {
            desk.send_at(0, sequence, &[]);
        }
        let old = ('O', Reason::Answered, 0, 0);
        assert_eq!(desk.send_at(0, 1, &[order]), [old]);
        let id = SessionId(grant(0).id);
        let answer = desk
            .book
            .packet(&PacketBuilder::new(id, 500).sign(None), START);
        assert_eq!(answer[10..18], 141_u64.to_be_bytes());
        desk.order(target(ControlKind::HaltShard, 0), Ok(Outcome::Accepted));
        assert_eq!(
            desk.send_at(0, 141, &[order]),
            [('N', Reason::Halted, 0, 0)]
        );
    }

    #[test]
    fn records_are_whole_and_without_gaps() {
        let mut desk = Desk::new();
        desk.one(0, enter(1, SELL, 1, 100, DAY));
        desk.book.take_records();
        let mut packet = PacketBuilder::new(SessionId(grant(1).id), 1);
        let order = Inbound::from_message(&enter(9, BUY, 2, 100, DAY)).unwrap();
        packet.push(&order).unwrap();
        let packet = packet.sign(Some(&ring0_wire::Key::new(1, 2)));
        assert_ne!(packet[packet.len() - 16..], [0; 16]);
        let answer = desk.book.packet(&packet, START);
        assert_eq!(answer[..20], packet[..20]);
        assert_eq!(answer[answer.len() - 16..], [0; 16]);

        let records = desk.book.take_records();
        let (message, rest) = MessageRecord::read_from_prefix(&records).unwrap();
        assert_eq!(message.message[..36], *order.as_bytes());
        assert_eq!((message.outcome, message.quantity), (b'A', 10));
        assert_eq!((message.session, message.index, message.count), (1, 0, 2));
        let (filled, rest) = Filled::read_from_prefix(rest).unwrap();
        assert_eq!(filled.taker, message.head.sequence);
        let (rested, rest) = Rested::read_from_prefix(rest).unwrap();
        assert_eq!(rested.order, message.head.sequence);
        let (tag, rest) = MessageRecord::read_from_prefix(rest).unwrap();
        assert_eq!((tag.message[0], tag.length), (b'z', 17));
        assert_eq!(tag.message[1..], [0; 55], "a tag is a credential");
        assert!(rest.is_empty());
        let heads = [message.head, filled.head, rested.head, tag.head];
        let first = message.head.sequence;
        assert_eq!(heads.map(|head| head.sequence - first), [0, 1, 2, 3]);
        assert_eq!(heads.map(|head| head.locate), [1, 1, 1, 0]);
        assert_eq!(heads.map(|head| head.side), [0, BUY, BUY, 0]);
        assert_eq!(answer[20 + 2 + 11..][..8], first.to_be_bytes());
    }

    #[test]
    fn what_is_not_built_says_so_after_the_reference() {
        let mut desk = Desk::new();
        let extended = |reference, change: fn(&mut Message)| {
            let mut message = enter(reference, BUY, 2, 100, DAY);
            message.letter = b'O';
            change(&mut message);
            message
        };
        let packet = [
            extended(1, |m| m.display = 20),
            extended(2, |m| m.display = 10),
            extended(3, |m| m.trigger = 1),
            extended(4, |m| m.flags = DAY.with(Flags::HIDDEN)),
            extended(4, |m| m.trade_group = 1),
            extended(5, |m| m.minimum = 21),
            extended(5, |m| m.locate = 9),
            extended(6, |m| m.stock = 1),
        ];
        let acks = desk.send(0, &packet);
        let reasons: Vec<_> = acks.iter().map(|ack| ack.1).collect();
        let want = [
            Reason::None,
            Reason::NotBuilt,
            Reason::NotBuilt,
            Reason::NotBuilt,
            Reason::ReferenceNotRising,
            Reason::MinimumAboveShares,
            Reason::UnknownInstrument,
            Reason::StockMismatch,
        ];
        assert_eq!(reasons, want);
    }

    #[test]
    fn the_rate_is_charged_per_message() {
        let limited = |session| Grant {
            burst: 3,
            interval_ns: 1000,
            expires_ns: START + 2000,
            ..grant(session)
        };
        let mut desk = Desk::with(Capacity::SMALL, LIST, &limited);
        desk.send_at(0, 1, &[cancel(1)]);
        let limited = [('N', Reason::RateLimited, 0, 0)];
        assert_eq!(desk.send_at(0, 3, &[cancel(1)]), limited);
        desk.send_at(0, 3, &[]);
        desk.book
            .control(&[target(ControlKind::ResumeShard, 0)], START + 2000);
        let expired = desk.send_at(0, 4, &[enter(1, BUY, 1, 1, DAY)]);
        assert_eq!(expired[0].1, Reason::SessionExpired);
    }

    #[test]
    fn references_share_places() {
        let narrow = |session| Grant {
            references_log2: 4,
            ..grant(session)
        };
        let one_bucket = Capacity {
            buckets: 1,
            ..Capacity::SMALL
        };
        let mut desk = Desk::with(one_bucket, LIST, &narrow);
        for time in 0..=BUCKET_LEN {
            let order = enter(1 + 16 * time, BUY, 1, 100, DAY);
            assert_eq!(desk.one(0, order), accepted(0));
        }
        assert_eq!(
            desk.one(0, enter(513, BUY, 1, 100, DAY)),
            rejected(Reason::TooManyLive)
        );
        assert_eq!(
            desk.one(0, enter(514, BUY, 1, 100, DAY)),
            accepted(0),
            "another place"
        );
        // In a replace the original's place counts as free, in the bucket too.
        assert_eq!(
            desk.one(0, replace(514, 529, 1, 100)),
            rejected(Reason::TooManyLive)
        );
        assert_eq!(desk.one(0, replace(1, 545, 1, 100)), accepted(0));
        assert_eq!(desk.one(0, cancel(17)), accepted(10));
        assert_eq!(desk.one(0, enter(561, BUY, 1, 100, DAY)), accepted(0));
    }

    #[test]
    fn pools_end() {
        let small = Capacity {
            orders: 3,
            levels: 2,
            ladder: 1024,
            ..Capacity::SMALL
        };
        let mut desk = Desk::with(small, LIST, &grant);
        desk.one(0, enter(1, BUY, 1, 100, DAY));
        desk.one(0, enter(2, BUY, 1, 99, DAY));
        assert_eq!(
            desk.one(0, enter(3, BUY, 1, 98, DAY)),
            rejected(Reason::LevelsFull)
        );
        assert_eq!(
            desk.one(0, replace(2, 4, 1, 98)),
            accepted(0),
            "its own level is gone"
        );
        desk.one(0, enter(5, BUY, 1, 98, DAY));
        assert_eq!(
            desk.one(1, enter(1, SELL, 1, 1, IOC)),
            rejected(Reason::BookFull)
        );
        assert_eq!(
            desk.one(0, replace(4, 6, 2, 97)),
            rejected(Reason::LevelsFull)
        );
        let second = |instrument| Control::new(ControlKind::List, &List { instrument, ..LIST });
        desk.order(second(1), Err(Reason::LadderFull));
        desk.order(second(0), Err(Reason::AlreadyListed));
        desk.order(second(4), Err(Reason::IndexOutOfRange));
        let odd = List {
            instrument: 1,
            ladder_base: 1 << 31,
            ladder_len: 1,
            tick_size: 1,
            tick_value: 1 << 31,
            lots_max: 1,
            taker_ppm: 0,
            maker_ppm: 0,
            ..LIST
        };
        desk.order(
            Control::new(ControlKind::List, &odd),
            Err(Reason::BadListing),
        );
        let endless = Grant {
            session: 2,
            id: SessionId::new(2, 0).unwrap().0,
            burst: 4,
            interval_ns: 1 << 60,
            ..grant(0)
        };
        let endless = Control::new(ControlKind::GrantSession, &endless);
        desk.order(endless, Err(Reason::BadGrant));
    }

    /// Few references, prices and instruments, so that ties, crosses and unknown orders are common.
    fn random_packet(random: &mut dyn FnMut(u32) -> u32, last: &mut u32) -> Vec<Message> {
        let mut messages = Vec::new();
        for _ in 0..random(12) {
            *last += random(3);
            let known = 1 + random(*last + 2);
            let reference = if random(2) == 0 {
                last.saturating_sub(random(8)).max(1)
            } else {
                known
            };
            let side = if random(2) == 0 { BUY } else { SELL };
            let (lots, ticks) = (1 + random(9), 98 + random(5));
            let flags = match random(9) {
                0 => IOC,
                1 => FOK,
                2 => DAY.with(Flags::POST_REJECT),
                3 => IOC.with(Flags::MARKET),
                _ => DAY,
            };
            let message = match random(20) {
                0..10 => enter((*last).max(1), side, lots, ticks, flags),
                10 if random(3) == 0 => enter((*last).max(1), BUY, 300 + random(900), 102, flags),
                10..14 => replace(reference, (*last).max(1), lots, ticks),
                14..16 => Message {
                    letter: b'X',
                    shares: 5 * lots,
                    ..cancel(reference)
                },
                16..19 => cancel(reference),
                _ if random(20) == 0 => mass(random(2) as u8),
                _ => cancel(reference),
            };
            let locate = if message.letter == b'M' {
                0
            } else {
                1 + random(2) as u16
            };
            messages.push(Message { locate, ..message });
        }
        messages
    }

    #[test]
    fn invariants_hold_in_random_trading() {
        for seed in 1..=8_u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut random = move |below: u32| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                ((state >> 33) as u32) % below
            };
            // Odd seeds build walls that a sweep does not finish at once, even ones fill the overflow table.
            let walls = seed % 2 == 1;
            let narrow = |session| Grant {
                references_log2: if walls { 12 } else { 4 },
                ..grant(session)
            };
            let small = Capacity {
                orders: if walls { 2000 } else { 300 },
                levels: 9,
                buckets: 4,
                ..Capacity::SMALL
            };
            let mut desk = Desk::with(small, LIST, &narrow);
            let second = List {
                instrument: 1,
                maker_ppm: 777,
                base_asset: 1,
                quote_asset: 0,
                ..LIST
            };
            let listed = Control::new(ControlKind::List, &second);
            desk.order(listed, Ok(Outcome::Accepted));
            let mut last = [0; 2];
            let mut continued = 0;
            for _ in 0..800 {
                let session = random(2);
                let last = &mut last[session as usize];
                if walls && random(3) != 0 {
                    let wall = (1..=36).map(|more| enter(*last + more, SELL, 1, 101, DAY));
                    desk.send(session, &wall.collect::<Vec<_>>());
                    *last += 36;
                }
                let messages = random_packet(&mut random, last);
                let acks = desk.send(session, &messages);
                continued += acks.iter().filter(|ack| ack.0 == 'C').count();
                if random(20) == 0 {
                    let kind = match random(4) {
                        0 => ControlKind::KillSession,
                        1 => ControlKind::HaltInstrument,
                        2 => ControlKind::ResumeInstrument,
                        _ => ControlKind::ReviveSession,
                    };
                    let commands = [
                        target(kind, random(2)),
                        target(ControlKind::ReviveSession, session),
                    ];
                    desk.book.control(&commands, START);
                    desk.book.check();
                }
            }
            let records = desk.book.take_records();
            assert!(records.len() > 64 * 1000, "seed {seed} did little");
            println!(
                "seed {seed}: {} slots, {continued} continued",
                records.len() / 64
            );
        }
    }
}
