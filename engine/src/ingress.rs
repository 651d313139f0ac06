//! From a well-formed, genuine packet to its answer: sequence, stored answers, rate, then message by message.
//! Rule: `docs/matching.md#packet-taken-or-not`; RULES 9 to 14, 17.

use crate::Reason;
use crate::enter::ENTERS;
use crate::limits::PACKET_SLOTS_MAX;
use crate::outbox::{Done, Recorder};
use crate::rate;
use crate::record::Outcome;
use crate::region::{Bounded, Finished, can_loop, touch, zero};
use crate::shard::{BOOKS, BUY, Fault, SELL, Shard, TOUCHED_MAX};
use ring0_wire::shape::TAG_LETTER;
use ring0_wire::{Ack, HEADER, Shape, inbound, mold, outbound};

/// A packet of more messages than this, the tag block counted, has what it will need fetched first.
const TOUCH_FROM: u16 = 3;

/// What became of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Taken {
    /// Carried out, each message for itself.
    Taken = 0,
    /// Answered again from the store.
    Duplicate = 1,
    /// Not taken: [`Reason::Hole`].
    Hole = 2,
    /// Not taken: [`Reason::Straddle`].
    Straddle = 3,
    /// Not taken: [`Reason::RingFull`].
    RingFull = 4,
    /// Not taken: [`Reason::RateLimited`].
    RateLimited = 5,
    /// Not taken: [`Reason::Halted`].
    Halted = 6,
}

/// What a message came to before the book, and in the highest 16 bits where the next block begins: one number, as a call in the kernel gives.
#[derive(Clone, Copy)]
struct Begun(u64);

impl Begun {
    #[inline(always)]
    fn new(done: Done, next: u32) -> Begun {
        Begun(done.0 | u64::from(next) << 48)
    }

    #[inline(always)]
    fn done(self) -> Done {
        Done(self.0 << 16 >> 16)
    }

    #[inline(always)]
    fn next(self) -> u32 {
        (self.0 >> 48) as u32
    }
}

impl<'a> Shard<'a> {
    /// Whether the session that a well-formed packet names is granted: its index, its whole id.
    #[inline(always)]
    #[must_use]
    pub fn is_granted(self, shape: &Shape) -> bool {
        let header = self.header();
        if shape.session >= header.sessions_max.get() {
            return false;
        }
        let session = self.session(shape.session);
        let (head, tail) = mold::session_words(&self.scratch().request);
        session.status.get() != 0
            && session.id_head.get() == head
            && session.id_tail.get() == u32::from(tail)
    }

    /// Keeps what a packet says of itself where the parts of a run find it.
    #[inline(always)]
    pub fn set_shape(self, shape: &Shape) {
        let header = self.header();
        header.session.set(shape.session);
        header.packet_sequence.set(shape.sequence);
        header
            .packet_messages
            .set(u32::from(shape.messages) | u32::from(shape.signed) << 16);
    }

    /// What [`Shard::set_shape`] kept.
    #[inline(always)]
    #[must_use]
    pub fn shape(self) -> Shape {
        let header = self.header();
        let both = header.packet_messages.get();
        Shape {
            sequence: header.packet_sequence.get(),
            session: header.session.get(),
            messages: both as u16,
            signed: (both >> 16) as u16,
        }
    }

    /// Venue time if a command came now: it never goes back (RULES 8).
    #[inline(always)]
    pub(crate) fn now(self, boot_ns: u64) -> u64 {
        let header = self.header();
        let clock = header.day_base_ns.get().wrapping_add(boot_ns);
        let time = header.time_ns.get();
        if clock > time { clock } else { time }
    }

    /// Takes the packet in the scratch request, or does not, and writes the answer but for its tag. The caller has checked
    /// shape, session and tag, and has taken this run's continuation steps.
    ///
    /// `boot_ns` is the boot-time clock.
    #[inline(always)]
    pub fn packet<R: Recorder>(self, shape: &Shape, boot_ns: u64, recorder: &R) -> Taken {
        let header = self.header();
        let scratch = self.scratch();
        outbound::copy_header(&scratch.request, &scratch.answer);
        self.set_shape(shape);
        header.packet_work.set(0);
        let session = self.session(shape.session);
        let expected = session.expected.get();
        let taken = self.admit(boot_ns, recorder.free(), recorder.reserve());
        match taken {
            Taken::Taken => self.carry_out(recorder),
            Taken::Duplicate => self.answer_again().seen(),
            Taken::Hole => self.refuse(Reason::Hole as u8, expected).seen(),
            Taken::Straddle => self.refuse(Reason::Straddle as u8, expected).seen(),
            Taken::RingFull => self.refuse(Reason::RingFull as u8, 0).seen(),
            Taken::RateLimited => self.refuse(Reason::RateLimited as u8, 0).seen(),
            Taken::Halted => self.refuse(Reason::Halted as u8, 0).seen(),
        }
        if shape.messages == 0 {
            scratch
                .answer
                .put_u64_be(mold::SEQUENCE, session.expected.get());
        }
        taken
    }

    /// Decides, and on taking moves time, rate and expected sequence.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn admit(self, boot_ns: u64, free: u64, reserve: u64) -> Taken {
        let header = self.header();
        let session = self.session(header.session.get());
        let expected = session.expected.get();
        let first = header.packet_sequence.get();
        let count = u64::from(self.shape().count());
        if header.broken.get() != 0 {
            return Taken::Halted;
        }
        if first > expected {
            return Taken::Hole;
        }
        let end = first.wrapping_add(count);
        if end <= expected {
            return Taken::Duplicate;
        }
        if first < expected {
            return Taken::Straddle;
        }
        if header.halted.get() != 0 {
            return Taken::Halted;
        }
        if free < PACKET_SLOTS_MAX
            || (free < PACKET_SLOTS_MAX.wrapping_add(reserve) && !self.only_reduces_risk())
        {
            return Taken::RingFull;
        }
        let now = self.now(boot_ns);
        let (state, burst) = (session.rate_state.get(), session.burst.get());
        let Some(of_session) = rate::after(state, now, burst, session.interval_ns.get(), count)
        else {
            return Taken::RateLimited;
        };
        let account = self.account(session.account.get());
        let interval = account.interval_ns.get();
        if interval != 0 {
            let (state, burst) = (account.rate_state.get(), account.burst.get());
            let Some(of_account) = rate::after(state, now, burst, interval, count) else {
                return Taken::RateLimited;
            };
            account.rate_state.set(of_account); // nothing can refuse the packet any more
        }
        session.rate_state.set(of_session);
        header.time_ns.set(now);
        session.expected.set(end);
        Taken::Taken
    }

    /// Sequence of the newest record that the answer to the packet just looked at tells of: of its last message if that is stored, else 0.
    #[inline(always)]
    #[must_use]
    pub fn newest_told(self, shape: &Shape) -> u64 {
        let session = self.session(shape.session);
        let last = shape
            .sequence
            .wrapping_add(u64::from(shape.count()))
            .wrapping_sub(1);
        let behind = session.expected.get().wrapping_sub(last);
        if behind > 1 << (session.answers_log2.get() & 31) {
            return 0; // too old to be stored: `Answered`, which tells nothing
        }
        self.stored_answer(session, last).sequence.get()
    }

    /// Whether every message of the packet is a reduce, a cancel or a mass cancel.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn only_reduces_risk(self) -> bool {
        let messages = u32::from(self.shape().messages);
        let request = &self.scratch().request;
        let mut at = HEADER as u32;
        let mut index = zero();
        while index < messages && index < u32::from(ring0_wire::MESSAGES_MAX) {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                return false;
            }
            let block = ring0_wire::block(request, at as usize);
            if !matches!(block.letter, b'D' | b'X' | b'M') {
                return false;
            }
            at = block.next as u32;
            index = index.wrapping_add(1);
        }
        true
    }

    /// Asks for what the packet's messages will need and what lies all over memory: of an order that is named itself, its neighbours and its
    /// level; of one that enters the level that it may join and the last order there. The processor fetches them for many messages at once; one
    /// message after the other it would wait for each. Three rounds, because each finds in memory where the next one looks.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn touch_orders(self) -> Finished {
        let named = self.touch_places();
        self.touch_named(named).seen();
        let notes = &self.scratch().touched;
        let mut at = zero();
        while at < named && (at as usize) < TOUCHED_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let slot = notes[at as usize & (TOUCHED_MAX - 1)].get();
            if slot != 0 {
                self.touch_order(slot);
            }
            at = at.wrapping_add(1);
        }
        Finished::here()
    }

    /// The first round: places of references, noted, and their number; levels that orders may join.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn touch_places(self) -> u32 {
        let messages = u32::from(self.shape().messages);
        let request = &self.scratch().request;
        let notes = &self.scratch().touched;
        let session = self.session(self.header().session.get());
        let mut named = zero();
        let mut at = HEADER as u32;
        let mut index = zero();
        while index < messages && index < u32::from(ring0_wire::MESSAGES_MAX) {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let block = ring0_wire::block(request, at as usize);
            if matches!(block.letter, b'D' | b'X' | b'U') {
                let message = request.window(block.start);
                let reference = message.u32_be(inbound::at::REFERENCE + 4);
                touch(self.reference_place(session, reference));
                notes[named as usize & (TOUCHED_MAX - 1)].set(reference);
                named = named.wrapping_add(1);
            } else if block.letter == b'A' {
                self.touch_level(block.start);
            }
            at = block.next as u32;
            index = index.wrapping_add(1);
        }
        named
    }

    /// The second round: the orders themselves, noted by slot.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn touch_named(self, named: u32) -> Finished {
        let notes = &self.scratch().touched;
        let session = self.session(self.header().session.get());
        let mut at = zero();
        while at < named && (at as usize) < TOUCHED_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let note = &notes[at as usize & (TOUCHED_MAX - 1)];
            let slot = self.reference_place(session, note.get()).get();
            note.set(slot);
            if slot != 0 {
                self.touch_whole(slot);
            }
            at = at.wrapping_add(1);
        }
        Finished::here()
    }

    /// Both cache lines of an order, which may lie across two.
    #[inline(always)]
    pub(crate) fn touch_whole(self, slot: u32) {
        let order = self.order(slot);
        touch(&order.id);
        touch(&order.kind);
    }

    #[inline(always)]
    fn touch_order(self, slot: u32) {
        let order = self.order(slot);
        touch(&self.order(order.next.get()).prev);
        touch(&self.order(order.prev.get()).next);
        let book = order.book();
        if (book as usize) < BOOKS {
            let ladder = self.instrument(order.instrument()).side(book);
            let place = self.ladder_place(ladder, crate::ladder::rank(book, order.price.get()));
            touch(self.level(place.get()));
        }
    }

    #[inline(always)]
    fn touch_level(self, start: usize) {
        let message = self.scratch().request.window(start);
        let index = u32::from(message.u16_be(inbound::at::LOCATE)).wrapping_sub(1);
        if index >= self.header().instruments_max.get() {
            return;
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() == 0 {
            return;
        }
        let book = if message.u8(inbound::at::SIDE) == ring0_wire::message::BUY {
            BUY
        } else {
            SELL
        };
        let wire_price = u64::from(message.u32_be(inbound::at::PRICE));
        let price = (wire_price.wrapping_mul(instrument.tick_reciprocal.get()) >> 32) as u32;
        let at = self
            .ladder_place(instrument.side(book), crate::ladder::rank(book, price))
            .get();
        if at != 0 {
            touch(&self.order(self.level(at).tail.get()).next);
        }
        // The maker that an order would meet first if it crossed.
        let other = crate::book::opposite(book);
        let best = instrument.best(other).get();
        if best <= crate::ladder::rank(other, price) {
            let at = self.ladder_place(instrument.side(other), best).get();
            if at != 0 {
                self.touch_whole(self.level(at).head.get());
            }
        }
    }

    /// Carries out every message of a taken packet, the tag block last.
    #[inline(always)]
    fn carry_out<R: Recorder>(self, recorder: &R) {
        let header = self.header();
        if self.shape().count() > TOUCH_FROM {
            self.touch_orders().seen();
        }
        let mut at = HEADER as u32;
        let mut index = zero();
        // The shape is read from the header each time: the stack under the deepest sweep has no room for it.
        while index < u32::from(self.shape().count()) && index < u32::from(ring0_wire::COUNT_MAX) {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                return;
            }
            let begun = self.begin_message(at, index as u16);
            at = begun.next();
            let mut done = begun.done();
            if done.outcome_reason() == ENTERS {
                done = self.enter_book(done.quantity(), false);
            }
            self.finish_message(index as u16, done);
            self.publish(recorder);
            if header.broken.get() != 0 {
                // The fault's own command and what follows it are answered `Halted` and nothing more is matched.
                self.refuse(Reason::Halted as u8, 0).seen();
                return;
            }
            index = index.wrapping_add(1);
        }
    }

    /// The message whose block begins at `at`: recorded and decided, its reference kept for its answer. What lets an order into the book is the
    /// caller's, so that the stack of what decides is free again when makers are met.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn begin_message(self, at: u32, index: u16) -> Begun {
        let scratch = self.scratch();
        let block = ring0_wire::block(&scratch.request, at as usize);
        let shape = self.shape();
        let client_sequence = shape.sequence.wrapping_add(u64::from(index));
        self.record_message(
            index,
            shape.count(),
            client_sequence,
            block.start,
            block.letter,
        );
        let session = self.session(self.header().session.get());
        let reference = reference_of(self, block.letter, block.start);
        self.stored_answer(session, client_sequence)
            .reference_quantity
            .set(u64::from(reference));
        let done = if block.letter == TAG_LETTER {
            Done::accepted(0)
        } else {
            self.execute(block.start as u32, block.letter)
        };
        Begun::new(done, block.next as u32)
    }

    /// Completes the record of message `index` of the packet, stores its answer and, unless it is the tag block, gives it.
    #[inline(always)]
    fn finish_message(self, index: u16, done: Done) {
        self.record_result(done);
        let header = self.header();
        let shape = self.shape();
        let session = self.session(header.session.get());
        let sequence = header.command.get();
        let client_sequence = shape.sequence.wrapping_add(u64::from(index));
        let stored = self.stored_answer(session, client_sequence);
        let reference = stored.reference_quantity.get() as u32;
        stored.sequence.set(sequence);
        stored
            .reference_quantity
            .set(u64::from(reference) | u64::from(done.quantity()) << 32);
        stored.result_reason.set(u64::from(done.outcome_reason()));
        if index < shape.messages {
            outbound::put_ack(
                &self.scratch().answer,
                index,
                &ack(done.outcome_reason(), reference, done.quantity(), sequence),
            );
        }
    }

    /// Reads the message at `start` and carries it out.
    #[inline(always)]
    fn execute(self, start: u32, letter: u8) -> Done {
        let scratch = self.scratch();
        if let Err(error) =
            ring0_wire::parse(&scratch.request, start as usize, letter, &scratch.message)
        {
            return Done::rejected(Reason::number_of_field(error));
        }
        match letter {
            b'A' | b'F' | b'O' => self.enter(),
            b'U' => self.replace(),
            b'M' => self.mass_cancel(),
            _ => self.reduce(),
        }
    }

    /// Answers every message as not taken.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn refuse(self, reason: u8, sequence: u64) -> Finished {
        let messages = u32::from(self.shape().messages);
        let result = Outcome::NotTaken as u32 | u32::from(reason) << 8;
        let mut at = HEADER as u32;
        let mut index = zero();
        while index < messages && index < u32::from(ring0_wire::MESSAGES_MAX) {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                return Finished::here();
            }
            let scratch = self.scratch();
            let block = ring0_wire::block(&scratch.request, at as usize);
            let reference = reference_of(self, block.letter, block.start);
            outbound::put_ack(
                &scratch.answer,
                index as u16,
                &ack(result, reference, 0, sequence),
            );
            at = block.next as u32;
            index = index.wrapping_add(1);
        }
        Finished::here()
    }

    /// Answers every message of a duplicate from the store.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn answer_again(self) -> Finished {
        let header = self.header();
        let messages = u32::from(self.shape().messages);
        let session = self.session(header.session.get());
        let expected = session.expected.get();
        let window = 1_u64 << (session.answers_log2.get() & 31);
        let oldest = if expected > window {
            expected.wrapping_sub(window)
        } else {
            1
        };
        let too_old = Outcome::Answered as u32 | (Reason::Answered as u32) << 8;
        let mut at = HEADER as u32;
        let mut index = zero();
        while index < messages && index < u32::from(ring0_wire::MESSAGES_MAX) {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                return Finished::here();
            }
            let scratch = self.scratch();
            let block = ring0_wire::block(&scratch.request, at as usize);
            let sequence = header.packet_sequence.get().wrapping_add(u64::from(index));
            if sequence >= oldest {
                let stored = self.stored_answer(session, sequence);
                let both = stored.reference_quantity.get();
                let result = stored.result_reason.get() as u32;
                let again = ack(
                    result,
                    both as u32,
                    (both >> 32) as u32,
                    stored.sequence.get(),
                );
                outbound::put_ack(&scratch.answer, index as u16, &again);
            } else {
                let reference = reference_of(self, block.letter, block.start);
                outbound::put_ack(
                    &scratch.answer,
                    index as u16,
                    &ack(too_old, reference, 0, 0),
                );
            }
            at = block.next as u32;
            index = index.wrapping_add(1);
        }
        Finished::here()
    }

    /// Ends the answer with its tag block and gives its length in bytes; 0 after a fault.
    #[inline(always)]
    pub fn finish_answer(self, shape: &Shape, key: Option<&ring0_wire::Key>) -> u32 {
        match outbound::finish::<Bounded>(&self.scratch().answer, shape.messages, key) {
            Ok(bytes) => bytes as u32,
            Err(_) => {
                self.fault(Fault::LoopBudget);
                0
            }
        }
    }
}

/// The reference that an ack echoes: the low half of the message's own, in `U` of the new one; 0 of a tag block.
#[inline(always)]
fn reference_of(shard: Shard<'_>, letter: u8, start: usize) -> u32 {
    let at = match letter {
        TAG_LETTER => return 0,
        b'U' => inbound::at::NEW_REFERENCE,
        _ => inbound::at::REFERENCE,
    };
    shard
        .scratch()
        .request
        .u32_be(start.wrapping_add(at).wrapping_add(4))
}

#[inline(always)]
fn ack(result_reason: u32, reference: u32, quantity: u32, sequence: u64) -> Ack {
    Ack {
        sequence,
        reference,
        quantity,
        result: result_reason as u8,
        reason: (result_reason >> 8) as u8,
    }
}
