//! From a shard's records to ITCH 5.0: a pure state machine, without clock, socket or randomness.
//!
//! Equal records give equal messages, byte for byte, whether they are read from the first one on or from a state that was kept
//! ([`Translator::image`]). It needs nothing but the records: it keeps the instruments and the orders that are displayed.
//! Always true: a message's number in its session is one more than the one before, the first is 1; an order's reference is
//! the count of displayed orders of the session so far, so it says nothing that the feed does not say already.
//! Rule: RULES 28, 29; `docs/matching.md#records`, `docs/feed.md#messages`. Why so: `docs/decisions/0043-public-feed.md`.

use crate::instrument::{Instrument, Purge, cross_of};
use crate::orders::{Displayed, Orders};
use ring0_engine::control::{
    BODY_LEN, Body, Bust, ControlKind, Indicate, List, MoveLadder, OpenDay, SetBands, Target,
};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{
    ControlRecord, Crossed, Decremented, Filled, Head, Kind, Message, Outcome, Reduced, Refilled,
    Removed, Replaced, Rested, State, StateChanged, Step, Uncrossed, Work,
};
use ring0_itch::itch::{
    BrokenTrade, CrossTrade, Imbalance, OrderCancel, OrderDelete, OrderExecuted,
    OrderExecutedWithPrice, OrderReplace, SystemEvent, Trade, event, imbalance,
};
use ring0_itch::mold::Session;
use ring0_itch::{BUY, Text, Timestamp};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The feed session before any day was opened, as the daemon would number it.
pub const FIRST_SESSION: Session = Text(*b"0000000000");

/// Takes the feed that a translator makes.
pub trait Sink {
    /// A session begins; its first message has number 1.
    fn begin(&mut self, session: Session);
    /// The next message of the session.
    fn message(&mut self, message: &[u8]);
    /// The session has no more messages.
    fn end(&mut self);
}

/// The records are not those of one shard from the beginning on. The translator cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TranslateError {
    /// Kind, length or a field is none of ours.
    #[error(
        "record {sequence} cannot be read; the recording is damaged there, or of another version"
    )]
    Unreadable {
        /// Sequence that the record should have.
        sequence: u64,
    },
    /// A record is missing, or one of another place stands there.
    #[error(
        "record {expected} is missing, {found} stands in its place; give the recording that has it, from its first slot on"
    )]
    Gap {
        /// Sequence that the record should have.
        expected: u64,
        /// Sequence that it has.
        found: u64,
    },
    /// An instrument that no record has listed.
    #[error(
        "record {sequence} is of locate {locate}, which is not listed; the record is damaged or of another shard"
    )]
    NotListed {
        /// Sequence of the record.
        sequence: u64,
        /// Its locate.
        locate: u32,
    },
    /// ITCH has 16 bits for the locate.
    #[error(
        "record {sequence} lists instrument {instrument}; a feed has at most 65,535: use another shard for more"
    )]
    TooManyInstruments {
        /// Sequence of the record.
        sequence: u64,
        /// Index of the instrument.
        instrument: u32,
    },
    /// More lots are taken off an order than it displays.
    #[error(
        "record {sequence} takes {lots} lots off order {order}, which displays {shown}; the record is damaged, or this version does not know it"
    )]
    TooManyLots {
        /// Sequence of the record.
        sequence: u64,
        /// Engine's id of the order.
        order: u64,
        /// Lots to take off.
        lots: u32,
        /// Lots that it displays.
        shown: u32,
    },
}

/// The events of a day, each sent once, in this order. One that comes due brings those before it that were not.
const EVENTS: [u8; 6] = [
    event::START_OF_MESSAGES,
    event::START_OF_SYSTEM_HOURS,
    event::START_OF_MARKET_HOURS,
    event::END_OF_MARKET_HOURS,
    event::END_OF_SYSTEM_HOURS,
    event::END_OF_MESSAGES,
];

/// The state machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Translator {
    pub(crate) session: Session,
    /// Sessions that have ended.
    pub(crate) ended: Vec<Session>,
    /// Sequence that the next record must have.
    pub(crate) next_record: u64,
    /// Number of the session's next message; 0 before the first record.
    pub(crate) next_message: u64,
    /// How many of [`EVENTS`] were sent.
    pub(crate) events: u8,
    /// Venue time of the day's midnight.
    pub(crate) midnight_ns: u64,
    /// Venue time of the command that is being translated.
    pub(crate) time_ns: u64,
    /// The reference given last.
    pub(crate) references: u64,
    /// By index.
    pub(crate) instruments: Vec<Option<Instrument>>,
    pub(crate) orders: Orders,
    /// An order that was replaced and lost its place, and the engine's id of the new one: the next record says whether that rests at once.
    pub(crate) replaced: Option<(u64, Displayed)>,
    /// The instrument whose purge is in its last step, and how many orders are still to be removed in it.
    pub(crate) purging: (u32, u32),
    /// Bytes of a record whose end has not come yet.
    pub(crate) partial: Vec<u8>,
}

impl Translator {
    /// A translator for a shard's first record. `session` names the feed until the first day is opened.
    #[must_use]
    pub fn new(session: Session) -> Translator {
        Translator {
            session,
            ended: Vec::new(),
            next_record: 1,
            next_message: 0,
            events: 0,
            midnight_ns: 0,
            time_ns: 0,
            references: 0,
            instruments: Vec::new(),
            orders: Orders::default(),
            replaced: None,
            purging: (0, 0),
            partial: Vec::new(),
        }
    }

    /// The feed's session.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// Sequence of the record that must come next.
    #[must_use]
    pub fn next_record(&self) -> u64 {
        self.next_record
    }

    /// Number of the session's next message; 0 before the first record.
    #[must_use]
    pub fn next_message(&self) -> u64 {
        self.next_message
    }

    /// Orders displayed now.
    #[must_use]
    pub fn displayed(&self) -> usize {
        self.orders.len()
    }

    /// What stands now, as a snapshot says it: the day's events so far, directory, state and bands of each instrument, and every
    /// displayed order as an add, in the order of references. Times are those of now.
    pub fn picture(&self, sink: &mut dyn Sink) {
        let now = self.now();
        for &event_code in &EVENTS[..usize::from(self.events)] {
            let header = SystemEvent::header(0, now);
            sink.message(SystemEvent { header, event_code }.as_bytes());
        }
        for instrument in self.instruments.iter().flatten() {
            sink.message(instrument.directory(now).as_bytes());
            sink.message(instrument.action(now).as_bytes());
            sink.message(instrument.collar(now).as_bytes());
        }
        for (_, order) in self.orders.sorted() {
            if let Some(instrument) = &self.instruments[usize::from(order.locate) - 1] {
                sink.message(instrument.add(&order, now).as_bytes());
            }
        }
    }

    /// Takes the next bytes of the record, in pieces of any size.
    ///
    /// # Errors
    /// The records are wrong. What came before was translated.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn Sink) -> Result<(), TranslateError> {
        while !self.partial.is_empty() && !bytes.is_empty() {
            let wanted = record_len(&self.partial, self.next_record)? - self.partial.len();
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            self.partial.extend_from_slice(now);
            bytes = later;
            if self.partial.len() == record_len(&self.partial, self.next_record)? {
                let record = std::mem::take(&mut self.partial);
                self.record(&record, sink)?;
            }
        }
        while !bytes.is_empty() {
            let len = record_len(bytes, self.next_record)?;
            if bytes.len() < len {
                self.partial.extend_from_slice(bytes);
                return Ok(());
            }
            let (record, rest) = bytes.split_at(len);
            self.record(record, sink)?;
            bytes = rest;
        }
        Ok(())
    }

    /// One whole record.
    fn record(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), TranslateError> {
        let unreadable = TranslateError::Unreadable {
            sequence: self.next_record,
        };
        let (head, _) = Head::read_from_prefix(bytes).map_err(|_| unreadable)?;
        if head.sequence != self.next_record {
            return Err(TranslateError::Gap {
                expected: self.next_record,
                found: head.sequence,
            });
        }
        let kind = Kind::from_number(head.kind).ok_or(unreadable)?;
        if self.next_message == 0 {
            self.time_ns = command_time(kind, bytes).ok_or(unreadable)?;
            self.begin(sink);
        }
        self.next_record += 1;
        if self.settle_replaced(kind, bytes, sink)? {
            return Ok(());
        }
        match kind {
            Kind::Message => self.time_ns = read::<Message>(bytes, unreadable)?.time_ns,
            Kind::Step => self.step(&read(bytes, unreadable)?, sink)?,
            Kind::Control => self.control(&read(bytes, unreadable)?, sink)?,
            Kind::Rested => self.rested(&read(bytes, unreadable)?, sink)?,
            Kind::Filled => self.filled(&read(bytes, unreadable)?, sink)?,
            Kind::Removed => self.removed(&read(bytes, unreadable)?, sink),
            Kind::Reduced => self.reduced(&read(bytes, unreadable)?, sink)?,
            Kind::Replaced => self.replaced(&read(bytes, unreadable)?, sink)?,
            Kind::Refilled => self.refilled(&read(bytes, unreadable)?, sink)?,
            Kind::Decremented => self.decremented(&read(bytes, unreadable)?, sink)?,
            Kind::Crossed => self.crossed(&read(bytes, unreadable)?, sink)?,
            Kind::Uncrossed => self.uncrossed(&read(bytes, unreadable)?, sink)?,
            Kind::StateChanged => self.state_changed(&read(bytes, unreadable)?, sink)?,
            Kind::Armed | Kind::Triggered => {}
        }
        Ok(())
    }

    // ---- sending ----

    fn send<M: IntoBytes + Immutable>(&mut self, message: &M, sink: &mut dyn Sink) {
        self.next_message += 1;
        sink.message(message.as_bytes());
    }

    /// The time of what is being translated: since the day's midnight, at most what ITCH can say.
    fn now(&self) -> Timestamp {
        let nanos = self.time_ns.saturating_sub(self.midnight_ns);
        Timestamp::from_nanos(nanos).unwrap_or(Timestamp::MAX)
    }

    fn begin(&mut self, sink: &mut dyn Sink) {
        self.next_message = 1;
        self.events = 0;
        self.references = 0;
        sink.begin(self.session);
        self.event(event::START_OF_MESSAGES, sink);
    }

    /// Sends an event of the day, behind those before it that are missing; nothing where it was sent.
    fn event(&mut self, code: u8, sink: &mut dyn Sink) {
        while !EVENTS[..usize::from(self.events)].contains(&code) {
            let event_code = EVENTS[usize::from(self.events)];
            self.events += 1;
            let header = SystemEvent::header(0, self.now());
            self.send(&SystemEvent { header, event_code }, sink);
        }
    }

    fn instrument(&self, head: &Head) -> Result<Instrument, TranslateError> {
        let index = (head.locate as usize).wrapping_sub(1);
        self.instruments
            .get(index)
            .copied()
            .flatten()
            .ok_or(TranslateError::NotListed {
                sequence: head.sequence,
                locate: head.locate,
            })
    }

    /// The instrument of an index in an accepted control command.
    fn listed(&mut self, index: u32, head: &Head) -> Result<&mut Instrument, TranslateError> {
        let found = self.instruments.get_mut(index as usize);
        found
            .and_then(Option::as_mut)
            .ok_or(TranslateError::NotListed {
                sequence: head.sequence,
                locate: index.wrapping_add(1),
            })
    }

    /// A new displayed order at the end of its level.
    fn add(
        &mut self,
        id: u64,
        mut order: Displayed,
        head: &Head,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        let instrument = self.instrument(head)?;
        self.references += 1;
        order.reference = self.references;
        self.orders.insert(id, order);
        self.send(&instrument.add(&order, self.now()), sink);
        Ok(())
    }

    /// Takes lots off a displayed order, which is gone when none are left. Gives it as it was before, or `None` where it is not displayed.
    fn take(
        &mut self,
        id: u64,
        lots: u32,
        head: &Head,
    ) -> Result<Option<Displayed>, TranslateError> {
        let Some(order) = self.orders.get_mut(id) else {
            return Ok(None);
        };
        let before = *order;
        let left = before
            .shown
            .checked_sub(lots)
            .ok_or(TranslateError::TooManyLots {
                sequence: head.sequence,
                order: id,
                lots,
                shown: before.shown,
            })?;
        if left == 0 {
            self.orders.remove(id);
        } else {
            order.shown = left;
        }
        Ok(Some(before))
    }

    /// Lots that a displayed order lost without a trade: `X`, or `D` where none are left.
    fn lost(
        &mut self,
        id: u64,
        lots: u32,
        head: &Head,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        let instrument = self.instrument(head)?;
        if lots == 0 {
            return Ok(());
        }
        let Some(before) = self.take(id, lots, head)? else {
            return Ok(());
        };
        if before.shown == lots {
            self.delete(&before, sink);
        } else {
            let cancel = OrderCancel {
                header: OrderCancel::header(before.locate, self.now()),
                order_reference: before.reference.into(),
                cancelled_shares: instrument.shares(lots).into(),
            };
            self.send(&cancel, sink);
        }
        Ok(())
    }

    fn delete(&mut self, order: &Displayed, sink: &mut dyn Sink) {
        let delete = OrderDelete {
            header: OrderDelete::header(order.locate, self.now()),
            order_reference: order.reference.into(),
        };
        self.send(&delete, sink);
    }

    // ---- events ----

    fn rested(&mut self, rested: &Rested, sink: &mut dyn Sink) -> Result<(), TranslateError> {
        if rested.shown == 0 {
            return Ok(());
        }
        let order = displayed(&rested.head, rested.price, rested.shown);
        self.add(rested.order, order, &rested.head, sink)
    }

    fn refilled(&mut self, refilled: &Refilled, sink: &mut dyn Sink) -> Result<(), TranslateError> {
        if refilled.shown == 0 {
            return Ok(());
        }
        let order = displayed(&refilled.head, refilled.price, refilled.shown);
        self.add(refilled.order, order, &refilled.head, sink)
    }

    fn filled(&mut self, filled: &Filled, sink: &mut dyn Sink) -> Result<(), TranslateError> {
        let instrument = self.instrument(&filled.head)?;
        let (shares, match_number) = (instrument.shares(filled.lots), filled.head.sequence);
        match self.take(filled.maker, filled.lots, &filled.head)? {
            Some(maker) => {
                let executed = OrderExecuted {
                    header: OrderExecuted::header(maker.locate, self.now()),
                    order_reference: maker.reference.into(),
                    executed_shares: shares.into(),
                    match_number: match_number.into(),
                };
                self.send(&executed, sink);
            }
            None => {
                // Reference and side say nothing of the hidden order, as at Nasdaq.
                let trade = Trade {
                    header: Trade::header(instrument.locate, self.now()),
                    order_reference: 0.into(),
                    side: BUY,
                    shares: shares.into(),
                    stock: instrument.stock,
                    price: instrument.price(filled.price).into(),
                    match_number: match_number.into(),
                };
                self.send(&trade, sink);
            }
        }
        Ok(())
    }

    fn removed(&mut self, removed: &Removed, sink: &mut dyn Sink) {
        if let Some(order) = self.orders.remove(removed.order) {
            self.delete(&order, sink);
        }
        if self.purging.1 != 0 {
            self.purging.1 -= 1;
            if self.purging.1 == 0 {
                self.purged(sink);
            }
        }
    }

    fn reduced(&mut self, reduced: &Reduced, sink: &mut dyn Sink) -> Result<(), TranslateError> {
        let before = self
            .orders
            .get_mut(reduced.order)
            .map_or(0, |order| order.shown);
        self.lost(
            reduced.order,
            before.saturating_sub(reduced.shown),
            &reduced.head,
            sink,
        )
    }

    fn decremented(
        &mut self,
        event: &Decremented,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        self.lost(event.maker, event.lots, &event.head, sink)
    }

    fn replaced(&mut self, replaced: &Replaced, sink: &mut dyn Sink) -> Result<(), TranslateError> {
        if replaced.kept != 0 {
            let before = self
                .orders
                .get_mut(replaced.order)
                .map_or(0, |order| order.shown);
            let fewer = before.saturating_sub(replaced.shown);
            return self.lost(replaced.order, fewer, &replaced.head, sink);
        }
        if let Some(order) = self.orders.remove(replaced.order) {
            self.replaced = Some((replaced.new_order, order));
        }
        Ok(())
    }

    /// Says what became of an order that was replaced, now that the next record is known: it rests at once, or it has left. Whether
    /// that was all that the record says.
    fn settle_replaced(
        &mut self,
        kind: Kind,
        bytes: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<bool, TranslateError> {
        let Some((new_order, old)) = self.replaced.take() else {
            return Ok(false);
        };
        let rested = Rested::read_from_bytes(bytes).ok().filter(|rested| {
            kind == Kind::Rested && rested.order == new_order && rested.shown != 0
        });
        let Some(rested) = rested else {
            self.delete(&old, sink);
            return Ok(false);
        };
        let instrument = self.instrument(&rested.head)?;
        let mut order = displayed(&rested.head, rested.price, rested.shown);
        self.references += 1;
        order.reference = self.references;
        self.orders.insert(rested.order, order);
        let replace = OrderReplace {
            header: OrderReplace::header(order.locate, self.now()),
            original_order_reference: old.reference.into(),
            new_order_reference: order.reference.into(),
            shares: instrument.shares(order.shown).into(),
            price: instrument.price(order.price).into(),
        };
        self.send(&replace, sink);
        Ok(true)
    }

    // ---- auctions and states ----

    fn crossed(&mut self, crossed: &Crossed, sink: &mut dyn Sink) -> Result<(), TranslateError> {
        let head = &crossed.head;
        let index = head.locate.wrapping_sub(1);
        let instrument = self.listed(index, head)?;
        instrument.crossed.0 += u64::from(crossed.lots);
        instrument.crossed.1 = crossed.price;
        let instrument = *instrument;
        for id in [crossed.buy, crossed.sell] {
            if let Some(order) = self.take(id, crossed.lots, head)? {
                let executed = OrderExecutedWithPrice {
                    header: OrderExecutedWithPrice::header(order.locate, self.now()),
                    order_reference: order.reference.into(),
                    executed_shares: instrument.shares(crossed.lots).into(),
                    match_number: head.sequence.into(),
                    printable: b'N', // it is in the `Q`
                    execution_price: instrument.price(crossed.price).into(),
                };
                self.send(&executed, sink);
            }
        }
        Ok(())
    }

    fn uncrossed(
        &mut self,
        uncrossed: &Uncrossed,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        let (volume, price) = (uncrossed.volume, uncrossed.price);
        self.print_cross(volume, price, &uncrossed.head, sink)
    }

    /// The one print of an auction.
    fn print_cross(
        &mut self,
        lots: u64,
        price: u32,
        head: &Head,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        let instrument = self.listed(head.locate.wrapping_sub(1), head)?;
        instrument.crossed = (0, 0);
        let instrument = *instrument;
        let trade = CrossTrade {
            header: CrossTrade::header(instrument.locate, self.now()),
            shares: instrument.volume(lots).into(),
            stock: instrument.stock,
            cross_price: instrument.price(price).into(),
            match_number: head.sequence.into(),
            cross_type: instrument.cross_type,
        };
        self.send(&trade, sink);
        Ok(())
    }

    fn state_changed(
        &mut self,
        changed: &StateChanged,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        let head = &changed.head;
        let unreadable = TranslateError::Unreadable {
            sequence: head.sequence,
        };
        let state = State::from_number(changed.state).ok_or(unreadable)?;
        let instrument = self.listed(head.locate.wrapping_sub(1), head)?;
        instrument.state = state;
        instrument.cross_type = cross_of(state).unwrap_or(instrument.cross_type);
        instrument.day_closed &= state == State::Closed;
        let (lots, price) = instrument.crossed;
        if lots != 0 && state != State::Uncrossing {
            // An auction that was halted in the middle: what it traded is printed all the same.
            self.print_cross(lots, price, head, sink)?;
        }
        self.opens(state, sink);
        let action = self.instrument(head)?.action(self.now());
        self.send(&action, sink);
        Ok(())
    }

    /// The day's first state in which orders are taken, and the first in which they match, are events.
    fn opens(&mut self, state: State, sink: &mut dyn Sink) {
        if state == State::Continuous {
            self.event(event::START_OF_MARKET_HOURS, sink);
        } else if state != State::Closed {
            self.event(event::START_OF_SYSTEM_HOURS, sink);
        }
    }

    // ---- commands ----

    fn step(&mut self, step: &Step, sink: &mut dyn Sink) -> Result<(), TranslateError> {
        self.time_ns = step.time_ns;
        if step.work == Work::Purge as u8 && step.outcome == Outcome::Accepted as u8 {
            // The step's record comes before those of the orders that it removed.
            self.purging = (step.head.locate.wrapping_sub(1), step.quantity);
            if step.quantity == 0 {
                self.purged(sink);
            }
        }
        Ok(())
    }

    /// The last order of a purge is gone: what it was begun for is done.
    fn purged(&mut self, sink: &mut dyn Sink) {
        let (index, _) = self.purging;
        let Some(place) = self.instruments.get_mut(index as usize) else {
            return;
        };
        let Some(instrument) = place else {
            return;
        };
        match std::mem::replace(&mut instrument.purge, Purge::None) {
            Purge::None => {}
            Purge::CloseDay => {
                instrument.day_closed = true;
                let mut listed = self.instruments.iter().flatten();
                if listed.all(|instrument| instrument.day_closed) {
                    self.event(event::END_OF_SYSTEM_HOURS, sink);
                }
            }
            Purge::Delist => {
                let gone = *instrument;
                *place = None;
                self.send(&gone.delisted(self.now()), sink);
            }
            Purge::MoveLadder => {
                instrument.move_ladder();
                self.collar(index, sink);
            }
        }
    }

    fn control(
        &mut self,
        record: &ControlRecord,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        self.time_ns = record.time_ns;
        if record.outcome == Outcome::Rejected as u8 {
            return Ok(());
        }
        let head = &record.head;
        let is = |kind: ControlKind| record.kind == kind as u32;
        if is(ControlKind::List) {
            self.list(&body(record), head, sink)
        } else if is(ControlKind::SetBands) {
            let bands: SetBands = body(record);
            self.listed(bands.instrument, head)?.set_bands(&bands);
            self.collar(bands.instrument, sink);
            Ok(())
        } else if is(ControlKind::Indicate) {
            self.indicate(&body(record), head, sink)
        } else if is(ControlKind::Bust) {
            self.bust(&body(record), head, sink)
        } else if is(ControlKind::CloseDay) {
            self.close_day(&body(record), head, sink)
        } else if is(ControlKind::OpenDay) {
            self.open_day(&body(record), sink);
            Ok(())
        } else if is(ControlKind::Delist) {
            let target: Target = body(record);
            self.listed(target.index, head)?.purge = Purge::Delist;
            Ok(())
        } else if is(ControlKind::MoveLadder) {
            let ladder: MoveLadder = body(record);
            let instrument = self.listed(ladder.instrument, head)?;
            instrument.purge = Purge::MoveLadder;
            instrument.next_ladder = (ladder.ladder_base, ladder.ladder_len);
            Ok(())
        } else {
            Ok(())
        }
    }

    fn list(
        &mut self,
        list: &List,
        head: &Head,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        let unreadable = TranslateError::Unreadable {
            sequence: head.sequence,
        };
        let index = list.instrument;
        let locate = u16::try_from(index + 1).map_err(|_| TranslateError::TooManyInstruments {
            sequence: head.sequence,
            instrument: index,
        })?;
        let state = u8::try_from(list.state).ok().and_then(State::from_number);
        let state = state.ok_or(unreadable)?;
        let places = usize::from(locate).max(self.instruments.len());
        self.instruments.resize(places, None);
        self.instruments[index as usize] = Some(Instrument::new(locate, list, state));
        self.directory(index, sink);
        self.opens(state, sink);
        self.state_and_collar(index, sink);
        Ok(())
    }

    fn directory(&mut self, index: u32, sink: &mut dyn Sink) {
        if let Some(instrument) = self.instruments[index as usize] {
            self.send(&instrument.directory(self.now()), sink);
        }
    }

    fn state_and_collar(&mut self, index: u32, sink: &mut dyn Sink) {
        if let Some(instrument) = self.instruments[index as usize] {
            self.send(&instrument.action(self.now()), sink);
            self.collar(index, sink);
        }
    }

    fn collar(&mut self, index: u32, sink: &mut dyn Sink) {
        if let Some(instrument) = self.instruments[index as usize] {
            self.send(&instrument.collar(self.now()), sink);
        }
    }

    fn indicate(
        &mut self,
        indicate: &Indicate,
        head: &Head,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        let instrument = *self.listed(indicate.instrument, head)?;
        let direction = match indicate.imbalance {
            _ if indicate.price == 0 => imbalance::INSUFFICIENT,
            1.. => imbalance::BUY,
            0 => imbalance::NONE,
            _ => imbalance::SELL,
        };
        let price = instrument.price(indicate.price).into();
        let message = Imbalance {
            header: Imbalance::header(instrument.locate, self.now()),
            paired_shares: instrument.volume(indicate.volume).into(),
            imbalance_shares: instrument.volume(indicate.imbalance.unsigned_abs()).into(),
            direction,
            stock: instrument.stock,
            far_price: price,
            near_price: price,
            reference_price: price,
            cross_type: instrument.cross_type,
            price_variation: b' ',
        };
        self.send(&message, sink);
        Ok(())
    }

    fn bust(
        &mut self,
        bust: &Bust,
        head: &Head,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        let locate = self.listed(bust.instrument, head)?.locate;
        let broken = BrokenTrade {
            header: BrokenTrade::header(locate, self.now()),
            match_number: bust.trade.into(),
        };
        self.send(&broken, sink);
        Ok(())
    }

    /// Whether no listed instrument is in another state than Closed.
    fn all_closed(&self) -> bool {
        let mut listed = self.instruments.iter().flatten();
        listed.all(|instrument| instrument.state == State::Closed)
    }

    fn close_day(
        &mut self,
        target: &Target,
        head: &Head,
        sink: &mut dyn Sink,
    ) -> Result<(), TranslateError> {
        self.listed(target.index, head)?.purge = Purge::CloseDay;
        if self.all_closed() {
            self.event(event::END_OF_MARKET_HOURS, sink);
        }
        Ok(())
    }

    /// The session of a day: as the operator named it, or, where that was the name of an earlier one or is none, by the day's number.
    /// A listener tells days apart by it alone.
    fn fresh_session(&self, day: &OpenDay) -> Session {
        let numbered = |letters: String| Session::new(&letters).unwrap_or(FIRST_SESSION);
        let named = Text(day.feed_session);
        let is_fresh = |session: &Session| {
            session.0.iter().all(u8::is_ascii_alphanumeric) && !self.ended.contains(session)
        };
        let number = day.day;
        [named, numbered(format!("{number:010}"))]
            .into_iter()
            .find(is_fresh)
            .unwrap_or_else(|| numbered(format!("D{:09}", number % 1_000_000_000)))
    }

    /// The old session ends, the new one begins with everything that lasts.
    fn open_day(&mut self, day: &OpenDay, sink: &mut dyn Sink) {
        self.event(event::END_OF_MESSAGES, sink);
        sink.end();
        self.ended.push(self.session);
        self.session = self.fresh_session(day);
        self.midnight_ns = day.midnight_ns;
        self.begin(sink);
        for index in 0..self.instruments.len() as u32 {
            if let Some(instrument) = &mut self.instruments[index as usize] {
                instrument.day_closed = false;
            }
            self.directory(index, sink);
            self.state_and_collar(index, sink);
        }
        for (id, mut order) in self.orders.sorted() {
            self.references += 1;
            order.reference = self.references;
            self.orders.insert(id, order);
            if let Some(instrument) = self.instruments[usize::from(order.locate) - 1] {
                self.send(&instrument.add(&order, self.now()), sink);
            }
        }
    }
}

/// What an event says of an order that joins its level, without a reference yet.
fn displayed(head: &Head, price: u32, shown: u32) -> Displayed {
    Displayed {
        reference: 0,
        locate: head.locate as u16, // listed, so it fits
        side: head.side,
        price,
        shown,
    }
}

fn read<R: FromBytes>(bytes: &[u8], unreadable: TranslateError) -> Result<R, TranslateError> {
    R::read_from_bytes(bytes).map_err(|_| unreadable)
}

/// The body of a control record, read as `B`; every body is asserted to fit.
fn body<B: Body>(record: &ControlRecord) -> B {
    const _: () = assert!(size_of::<[u64; BODY_LEN / 8]>() == BODY_LEN);
    match B::read_from_prefix(record.body.as_bytes()) {
        Ok((body, _)) => body,
        Err(_) => B::new_zeroed(),
    }
}

/// The venue time of a command's record; `None` of an event's.
fn command_time(kind: Kind, bytes: &[u8]) -> Option<u64> {
    match kind {
        Kind::Message => Message::read_from_bytes(bytes).ok().map(|it| it.time_ns),
        Kind::Step => Step::read_from_bytes(bytes).ok().map(|it| it.time_ns),
        Kind::Control => ControlRecord::read_from_bytes(bytes)
            .ok()
            .map(|it| it.time_ns),
        _ => None,
    }
}

/// Bytes of the record that begins here; of a head when not even that is there.
fn record_len(bytes: &[u8], sequence: u64) -> Result<usize, TranslateError> {
    let Ok((head, _)) = Head::read_from_prefix(bytes) else {
        return Ok(size_of::<Head>());
    };
    let slots = match Kind::from_number(head.kind) {
        Some(Kind::Message | Kind::Control) => 2,
        Some(_) => 1,
        None => 0,
    };
    if slots == 0 || slots != usize::from(head.slots) {
        return Err(TranslateError::Unreadable { sequence });
    }
    Ok(slots * SLOT_LEN)
}
