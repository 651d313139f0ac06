//! Records of one command and its events, gathered before they are published together (RULES 17).
//!
//! The layouts are those of `record.rs`; here they are written word by word, because the kernel has no room to build a
//! struct on its stack. Tests hold the two together: the reference writes the structs.

use crate::record::{Kind, Outcome};
use crate::region::{can_loop, clear, put, zero};
use crate::shard::{BUY, FLAG_PEG, FLAG_STOP, FLAGS_LISTED, Fault, Order, Shard, SlotWords};
use core::cell::Cell;
use ring0_wire::{Window, inbound};

/// Result of a command: outcome in bits 32 to 39, reason in bits 40 to 47, quantity in the low half. One register.
#[derive(Clone, Copy)]
pub(crate) struct Done(pub(crate) u64);

impl Done {
    #[inline(always)]
    pub(crate) const fn accepted(quantity: u32) -> Done {
        Done(quantity as u64 | (Outcome::Accepted as u64) << 32)
    }

    #[inline(always)]
    pub(crate) const fn continues(quantity: u32) -> Done {
        Done(quantity as u64 | (Outcome::Continues as u64) << 32)
    }

    #[inline(always)]
    pub(crate) const fn rejected(reason: u8) -> Done {
        Done((Outcome::Rejected as u64) << 32 | (reason as u64) << 40)
    }

    /// Rejected because another shard trades the instrument: the quantity is its UDP port.
    #[inline(always)]
    pub(crate) const fn misdirected(port: u32) -> Done {
        Done(Done::rejected(crate::Reason::WrongShard as u8).0 | port as u64)
    }

    #[inline(always)]
    pub(crate) const fn quantity(self) -> u32 {
        self.0 as u32
    }

    /// Outcome, and reason in the next byte.
    #[inline(always)]
    pub(crate) const fn outcome_reason(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The side byte of records.
#[inline(always)]
pub(crate) const fn side_letter(side: u32) -> u8 {
    if side == BUY { b'B' } else { b'S' }
}

#[inline(always)]
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl<'a> Shard<'a> {
    #[inline(always)]
    fn slot(self, index: u32) -> &'a SlotWords {
        let header_and_buffers = crate::shard::SCRATCH_AT
            .wrapping_add(core::mem::offset_of!(crate::shard::Scratch, outbox) as u32);
        self.memory
            .at(header_and_buffers.wrapping_add(index.wrapping_mul(64)))
    }

    /// Copies slots of the outbox from `first` on, as many as `to` takes and the outbox has: for a ring in ordinary memory.
    #[cfg(feature = "std")]
    #[inline(always)]
    pub fn outbox_into(self, first: usize, to: &mut [[u64; 8]]) {
        let slots = self.scratch().outbox.get(first..).unwrap_or_default();
        crate::region::copy_slots(slots, to);
    }

    /// Word of a slot of the outbox, for the ring that copies it out.
    #[inline(always)]
    #[must_use]
    pub fn outbox_word(self, slot: u32, word: usize) -> u64 {
        self.slot(slot).word[word & 7].get()
    }

    /// Takes the next record sequence.
    #[inline(always)]
    pub(crate) fn next_sequence(self) -> u64 {
        let next = &self.header().next_sequence;
        let sequence = next.get();
        next.set(sequence.wrapping_add(1));
        sequence
    }

    /// Begins an event: its slot with the head written.
    #[inline(always)]
    fn event(self, kind: Kind, side: u8, instrument: u32) -> &'a SlotWords {
        let header = self.header();
        let used = header.outbox_len.get();
        let slot = if used < crate::limits::COMMAND_SLOTS_MAX {
            header.outbox_len.set(used.wrapping_add(1));
            used
        } else {
            self.fault(Fault::Outbox);
            0
        };
        let slot = self.slot(slot);
        slot.word[0].set(
            kind as u64
                | 1 << 16
                | u64::from(side) << 24
                | u64::from(instrument.wrapping_add(1)) << 32,
        );
        slot.word[1].set(self.next_sequence());
        slot
    }

    /// Begins an event about one order: head, id, session and account, reference and price.
    #[inline(always)]
    fn event_of(self, kind: Kind, order: &Order, price: u32) -> &'a SlotWords {
        let side = side_letter(order.side());
        let slot = self.event(kind, side, order.instrument());
        slot.word[2].set(order.id.get());
        slot.word[3].set(pair(order.session(), order.account.get()));
        slot.word[4].set(pair(order.reference.get(), price));
        slot
    }

    /// Begins the record of a message: everything but its result. The outbox becomes two slots.
    #[inline(always)]
    pub(crate) fn record_message(
        self,
        index: u16,
        count: u16,
        client_sequence: u64,
        start: usize,
        letter: u8,
    ) {
        let header = self.header();
        let sequence = self.next_sequence();
        header.command.set(sequence);
        header.outbox_len.set(2);
        let session = header.session.get();
        let account = self.session(session).account.get();
        let request = &self.scratch().request;
        let (first, second) = (self.slot(0), self.slot(1));
        let message = request.window(start);
        let length = ring0_wire::shape::length_of(letter) as u64;
        let locate = if letter == ring0_wire::shape::TAG_LETTER {
            0
        } else {
            message.u16_be(1)
        };
        first.word[0].set(Kind::Message as u64 | 2 << 16 | u64::from(locate) << 32);
        first.word[1].set(sequence);
        first.word[2].set(header.time_ns.get());
        first.word[3].set(pair(session, account));
        first.word[4].set(client_sequence);
        first.word[5].set(u64::from(index) | u64::from(count) << 16);
        first.word[6].set(length << 16);
        let words = Words {
            message,
            first,
            second,
        };
        match letter {
            b'A' => words.copy::<{ inbound::ENTER }>(),
            b'D' => words.copy::<{ inbound::CANCEL }>(),
            b'U' => words.copy::<{ inbound::REPLACE }>(),
            b'X' | b'M' => words.copy::<{ inbound::REDUCE }>(),
            b'F' => words.copy::<{ inbound::ENTER_SUB }>(),
            b'O' => words.copy::<{ inbound::ENTER_EXTENDED }>(),
            _ => words.copy::<1>(), // the tag is a credential: only its letter is kept
        }
        second.word[6].set(header.reply_to[0].get());
        second.word[7].set(header.reply_to[1].get());
    }

    /// Completes the record of a message with its result.
    #[inline(always)]
    pub(crate) fn record_result(self, done: Done) {
        let first = self.slot(0);
        let head = first.word[5].get();
        first.word[5].set(head | u64::from(done.quantity()) << 32);
        let length = first.word[6].get();
        first.word[6].set(length | u64::from(done.outcome_reason()));
    }

    /// The record of a continuation step, as soon as it begins. The outbox becomes one slot.
    #[inline(always)]
    pub(crate) fn record_step(self, work: u32, instrument_plus_one: u32, order: u64, owner: u32) {
        let header = self.header();
        let sequence = self.next_sequence();
        header.command.set(sequence);
        header.outbox_len.set(1);
        let slot = self.slot(0);
        slot.word[0].set(Kind::Step as u64 | 1 << 16 | u64::from(instrument_plus_one) << 32);
        slot.word[1].set(sequence);
        slot.word[2].set(header.time_ns.get());
        put(&slot.word[3], order);
        put(&slot.word[4], u64::from(owner));
        slot.word[5].set(u64::from(work) << 8);
        clear(&slot.word[6]);
        clear(&slot.word[7]);
    }

    /// Names the order that a step turned out to be about, and its session.
    #[inline(always)]
    pub(crate) fn record_step_order(self, order: &Order) {
        let slot = self.slot(0);
        slot.word[3].set(order.id.get());
        slot.word[4].set(u64::from(order.session()));
    }

    /// Completes the record of a step.
    #[inline(always)]
    pub(crate) fn record_step_result(self, done: Done) {
        let slot = self.slot(0);
        let owner = slot.word[4].get();
        slot.word[4].set(owner | u64::from(done.quantity()) << 32);
        let work = slot.word[5].get();
        slot.word[5].set(work | u64::from(done.outcome_reason() & 0xFF));
    }

    /// Begins the record of a control command; its body follows by [`Shard::record_control_body`].
    #[inline(always)]
    pub(crate) fn record_control(self, kind: u32) {
        let header = self.header();
        let sequence = self.next_sequence();
        header.command.set(sequence);
        header.outbox_len.set(2);
        let slot = self.slot(0);
        slot.word[0].set(Kind::Control as u64 | 2 << 16);
        slot.word[1].set(sequence);
        slot.word[2].set(header.time_ns.get());
        slot.word[3].set(u64::from(kind));
    }

    /// Sets word `index` (0 to 11) of the recorded body of a control command.
    #[inline(always)]
    pub(crate) fn record_control_body(self, index: u32, word: u64) {
        let at = index.wrapping_add(4);
        self.slot(at >> 3).word[at as usize & 7].set(word);
    }

    /// Word `index` of the recorded body: where the engine reads its parameters.
    #[inline(always)]
    pub(crate) fn control_body(self, index: u32) -> u64 {
        let at = index.wrapping_add(4);
        self.slot(at >> 3).word[at as usize & 7].get()
    }

    /// Completes the record of a control command.
    #[inline(always)]
    pub(crate) fn record_control_result(self, done: Done) {
        let slot = self.slot(0);
        let kind = slot.word[3].get();
        slot.word[3].set(kind | u64::from(done.outcome_reason()) << 32);
    }

    /// Price that records show of an order: of a waiting stop its limit.
    #[inline(always)]
    fn recorded_price(self, slot: u32) -> u32 {
        let order = self.order(slot);
        if order.flags() & FLAG_STOP != 0 {
            self.terms(slot).limit.get()
        } else {
            order.price.get()
        }
    }

    /// The order rests.
    #[inline(always)]
    pub(crate) fn record_rested(self, slot: u32) {
        let order = self.order(slot);
        let flags = order.flags();
        let peg = if flags & FLAG_PEG != 0 {
            self.terms(slot).peg.get()
        } else {
            0
        };
        let event = self.event_of(Kind::Rested, order, order.price.get());
        event.word[5].set(pair(order.open.get(), self.displayed(slot)));
        event.word[6].set(pair(flags & FLAGS_LISTED, peg));
        clear(&event.word[7]);
    }

    /// A stop waits.
    #[inline(always)]
    pub(crate) fn record_armed(self, slot: u32) {
        let order = self.order(slot);
        let event = self.event_of(Kind::Armed, order, self.terms(slot).limit.get());
        event.word[5].set(pair(order.open.get(), order.price.get()));
        event.word[6].set(u64::from(order.flags() & FLAGS_LISTED));
        clear(&event.word[7]);
    }

    /// A stop was triggered; it still stands under its trigger.
    #[inline(always)]
    pub(crate) fn record_triggered(self, slot: u32) {
        let order = self.order(slot);
        let event = self.event_of(Kind::Triggered, order, self.terms(slot).limit.get());
        event.word[5].set(pair(order.open.get(), order.price.get()));
        clear(&event.word[6]);
        clear(&event.word[7]);
    }

    /// An iceberg has a new slice.
    #[inline(always)]
    pub(crate) fn record_refilled(self, slot: u32) {
        let order = self.order(slot);
        let event = self.event_of(Kind::Refilled, order, order.price.get());
        event.word[5].set(pair(order.open.get(), self.terms(slot).shown.get()));
        clear(&event.word[6]);
        clear(&event.word[7]);
    }

    /// A fill; fees in quote units.
    #[inline(always)]
    pub(crate) fn record_filled(
        self,
        maker: &Order,
        taker: &Order,
        price: u32,
        lots: u32,
        maker_fee: u64,
        taker_fee: u64,
    ) {
        let side = side_letter(taker.side());
        let slot = self.event(Kind::Filled, side, taker.instrument());
        slot.word[2].set(maker.id.get());
        slot.word[3].set(taker.id.get());
        slot.word[4].set(pair(price, lots));
        slot.word[5].set(pair(maker.account.get(), taker.account.get()));
        slot.word[6].set(maker_fee);
        slot.word[7].set(taker_fee);
    }

    /// Lots taken off both orders instead of a fill.
    #[inline(always)]
    pub(crate) fn record_decremented(self, maker: &Order, taker: &Order, price: u32, lots: u32) {
        let side = side_letter(taker.side());
        let slot = self.event(Kind::Decremented, side, taker.instrument());
        slot.word[2].set(maker.id.get());
        slot.word[3].set(taker.id.get());
        slot.word[4].set(pair(price, lots));
        slot.word[5].set(pair(maker.account.get(), taker.account.get()));
        clear(&slot.word[6]);
        clear(&slot.word[7]);
    }

    /// A fill of an auction; fees in quote units.
    #[inline(always)]
    pub(crate) fn record_crossed(self, buy: &Order, sell: &Order, price: u32, lots: u32, fee: u64) {
        let slot = self.event(Kind::Crossed, 0, buy.instrument());
        slot.word[2].set(buy.id.get());
        slot.word[3].set(sell.id.get());
        slot.word[4].set(pair(price, lots));
        slot.word[5].set(pair(buy.account.get(), sell.account.get()));
        slot.word[6].set(fee);
        slot.word[7].set(fee);
    }

    /// An auction is done.
    #[inline(always)]
    pub(crate) fn record_uncrossed(self, instrument: u32, volume: u64, price: u32, crossed: bool) {
        let slot = self.event(Kind::Uncrossed, 0, instrument);
        slot.word[2].set(volume);
        slot.word[3].set(pair(price, u32::from(crossed)));
        clear(&slot.word[4]);
        clear(&slot.word[5]);
        clear(&slot.word[6]);
        clear(&slot.word[7]);
    }

    /// The state of an instrument changes to `state`.
    #[inline(always)]
    pub(crate) fn record_state(self, instrument: u32, state: u32, before: u32) {
        let slot = self.event(Kind::StateChanged, 0, instrument);
        slot.word[2].set(u64::from(state) | u64::from(before) << 8);
        clear(&slot.word[3]);
        clear(&slot.word[4]);
        clear(&slot.word[5]);
        clear(&slot.word[6]);
        clear(&slot.word[7]);
    }

    /// The order is gone with what it had open.
    #[inline(always)]
    pub(crate) fn record_removed(self, slot: u32, removal: u8, rested: bool) {
        let order = self.order(slot);
        let event = self.event_of(Kind::Removed, order, self.recorded_price(slot));
        event.word[5].set(pair(
            order.open.get(),
            u32::from(removal) | u32::from(rested) << 8,
        ));
        clear(&event.word[6]);
        clear(&event.word[7]);
    }

    /// The order lost `lots` and keeps what it now has.
    #[inline(always)]
    pub(crate) fn record_reduced(self, slot: u32, lots: u32) {
        let order = self.order(slot);
        let event = self.event_of(Kind::Reduced, order, self.recorded_price(slot));
        event.word[5].set(pair(lots, order.open.get()));
        event.word[6].set(u64::from(self.displayed(slot)));
        clear(&event.word[7]);
    }

    /// The order, which now has its new terms, replaced what `id_before` and `lots_before` were.
    #[inline(always)]
    pub(crate) fn record_replaced(self, slot: u32, id_before: u64, lots_before: u32, kept: bool) {
        let order = self.order(slot);
        let event = self.event(
            Kind::Replaced,
            side_letter(order.side()),
            order.instrument(),
        );
        event.word[2].set(id_before);
        event.word[3].set(order.id.get());
        event.word[4].set(pair(order.account.get(), order.session()));
        event.word[5].set(pair(order.reference.get(), self.recorded_price(slot)));
        event.word[6].set(pair(order.open.get(), lots_before));
        let shown = if kept { self.displayed(slot) } else { 0 };
        event.word[7].set(pair(u32::from(kept), shown));
    }

    /// Hands the outbox to the ring, unless a loop guard ended the copy, which is a fault.
    #[inline(always)]
    pub(crate) fn publish<R: Recorder>(self, recorder: &R) {
        recorder.publish(self, self.header().outbox_len.get());
    }
}

/// Copies the words of a message into its record.
struct Words<'b> {
    message: Window<'b>,
    first: &'b SlotWords,
    second: &'b SlotWords,
}

impl Words<'_> {
    #[inline(always)]
    fn word<const LENGTH: usize>(&self, index: usize) -> u64 {
        let begin = index * 8;
        let word = self.message.u64_le(begin);
        if begin + 8 <= LENGTH {
            word
        } else {
            word & !(u64::MAX << (8 * (LENGTH - begin)))
        }
    }

    #[inline(always)]
    fn put<const LENGTH: usize>(&self, to: &Cell<u64>, index: usize) {
        if index * 8 >= LENGTH {
            clear(to);
        } else {
            to.set(self.word::<LENGTH>(index));
        }
    }

    #[inline(always)]
    fn copy<const LENGTH: usize>(&self) {
        self.put::<LENGTH>(&self.first.word[7], 0);
        self.put::<LENGTH>(&self.second.word[0], 1);
        self.put::<LENGTH>(&self.second.word[1], 2);
        self.put::<LENGTH>(&self.second.word[2], 3);
        self.put::<LENGTH>(&self.second.word[3], 4);
        self.put::<LENGTH>(&self.second.word[4], 5);
        self.put::<LENGTH>(&self.second.word[5], 6);
    }
}

/// Where a shard's records go: the record ring.
pub trait Recorder {
    /// Slots that may be written before a required consumer would be overrun.
    fn free(&self) -> u64;
    /// Slots kept for packets that only reduce risk: an eighth of the ring (RULES 11).
    fn reserve(&self) -> u64;
    /// Writes the first `slots` slots of the outbox and publishes them together.
    fn publish(&self, shard: Shard<'_>, slots: u32);
}

/// Copies the outbox slot by slot through `write(slot, words)`; used by every recorder.
///
/// Faults the shard if the loop guard ends it.
#[inline(always)]
pub fn copy_outbox(shard: Shard<'_>, slots: u32, mut write: impl FnMut(u32, &SlotWords)) {
    let mut index = zero();
    while index < slots && index < crate::limits::COMMAND_SLOTS_MAX {
        if !can_loop() {
            shard.fault(Fault::LoopBudget);
            return;
        }
        write(index, shard.slot(index));
        index = index.wrapping_add(1);
    }
}

const _: () = {
    use crate::record::{
        Armed, ControlRecord, Crossed, Decremented, Filled, Message, Reduced, Refilled, Removed,
        Replaced, Rested, StateChanged, Step, Triggered, Uncrossed,
    };
    use core::mem::offset_of;
    assert!(offset_of!(Message, time_ns) == 16 && offset_of!(Message, session) == 24);
    assert!(offset_of!(Message, client_sequence) == 32 && offset_of!(Message, index) == 40);
    assert!(offset_of!(Message, quantity) == 44 && offset_of!(Message, outcome) == 48);
    assert!(offset_of!(Message, length) == 50 && offset_of!(Message, message) == 56);
    assert!(offset_of!(Message, reply_to) == 112);
    assert!(offset_of!(Step, order) == 24 && offset_of!(Step, owner) == 32);
    assert!(offset_of!(Step, quantity) == 36 && offset_of!(Step, outcome) == 40);
    assert!(offset_of!(Step, work) == 41);
    assert!(offset_of!(ControlRecord, kind) == 24 && offset_of!(ControlRecord, outcome) == 28);
    assert!(offset_of!(ControlRecord, body) == 32);
    assert!(offset_of!(Rested, order) == 16 && offset_of!(Rested, session) == 24);
    assert!(offset_of!(Rested, reference) == 32 && offset_of!(Rested, lots) == 40);
    assert!(offset_of!(Rested, flags) == 48 && offset_of!(Rested, peg) == 52);
    assert!(offset_of!(Armed, lots) == 40 && offset_of!(Armed, flags) == 48);
    assert!(offset_of!(Triggered, lots) == 40 && offset_of!(Triggered, trigger) == 44);
    assert!(offset_of!(Refilled, lots) == 40 && offset_of!(Refilled, shown) == 44);
    assert!(offset_of!(Filled, taker) == 24 && offset_of!(Filled, price) == 32);
    assert!(offset_of!(Filled, maker_account) == 40 && offset_of!(Filled, maker_fee) == 48);
    assert!(offset_of!(Decremented, price) == 32 && offset_of!(Decremented, maker_account) == 40);
    assert!(offset_of!(Crossed, price) == 32 && offset_of!(Crossed, buy_fee) == 48);
    assert!(offset_of!(Uncrossed, volume) == 16 && offset_of!(Uncrossed, price) == 24);
    assert!(offset_of!(StateChanged, state) == 16 && offset_of!(StateChanged, before) == 17);
    assert!(offset_of!(Removed, lots) == 40 && offset_of!(Removed, removal) == 44);
    assert!(offset_of!(Removed, rested) == 45);
    assert!(offset_of!(Reduced, lots) == 40 && offset_of!(Reduced, open) == 44);
    assert!(offset_of!(Reduced, shown) == 48);
    assert!(offset_of!(Replaced, new_order) == 24 && offset_of!(Replaced, account) == 32);
    assert!(offset_of!(Replaced, reference) == 40 && offset_of!(Replaced, lots) == 48);
    assert!(offset_of!(Replaced, lots_before) == 52 && offset_of!(Replaced, kept) == 56);
    assert!(offset_of!(Replaced, shown) == 60);
};
