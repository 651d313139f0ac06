//! Records on their way to the caller: kept in a bounded queue until they are polled, and read for what an ack wants to know.
//!
//! Always true: the queue holds whole records; a full queue refuses packets by the engine's own rule for a full record ring,
//! so no event is ever lost.

use crate::abi::{
    Event, RING0_ACCEPTED, RING0_ALL, RING0_CONTINUES, RING0_NOT_TAKEN, RING0_REJECTED,
};
use ring0_engine::limits::{PACKET_SLOTS_MAX, SLOT_LEN};
use ring0_engine::record::{
    Armed, ControlRecord, Crossed, Decremented, Filled, Head, Kind, Message, Outcome, Reduced,
    Refilled, Removed, Replaced, Rested, StateChanged, Step, Triggered, Uncrossed, Work,
};
use ring0_engine::{Recorder, Shard, copy_outbox};
use ring0_wire::COUNT_MAX;
use ring0_wire::host::Inbound;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::offset_of;
use zerocopy::{FromBytes, IntoBytes};

/// One slot of a record, as words.
type Slot = [u64; SLOT_LEN / 8];

/// The smallest bound of a queue: room for a worst packet beside the eighth that is kept for cancels, and as much again
/// so that a caller who polls now and then is not refused at once.
pub(crate) const EVENTS_MAX_LOWEST: u64 = 16_384;
const _: () = assert!(EVENTS_MAX_LOWEST >= 4 * PACKET_SLOTS_MAX);

/// What one continuation step did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stepped {
    /// The order that sweeps on or was triggered, or 0.
    pub(crate) order: u64,
    /// Whose mass cancel, if it is one: account and session of a trader have one number.
    pub(crate) cancels: Option<u32>,
    pub(crate) quantity: u32,
}

/// Keeps events for the caller.
pub(crate) struct Queue {
    slots: RefCell<VecDeque<Slot>>,
    /// Slots that may wait; `u64::MAX`: no bound.
    bound: u64,
    keeps_events: bool,
    keeps_commands: bool,
    /// By place in the packet: the order that a reduce, cancel or replace met.
    subjects: [Cell<u64>; COUNT_MAX as usize],
    stepped: RefCell<Vec<Stepped>>,
}

impl Queue {
    /// A queue of at most `bound` slots, 0 for no bound.
    pub(crate) fn new(bound: u64, keeps_events: bool, keeps_commands: bool) -> Queue {
        Queue {
            slots: RefCell::default(),
            bound: if bound == 0 { u64::MAX } else { bound },
            keeps_events,
            keeps_commands,
            subjects: [const { Cell::new(0) }; COUNT_MAX as usize],
            stepped: RefCell::default(),
        }
    }

    /// Forgets what the last packet met.
    pub(crate) fn begin(&self, messages: usize) {
        for subject in &self.subjects[..messages] {
            subject.set(0);
        }
        self.stepped.borrow_mut().clear();
    }

    /// The order that message `index` of the last packet reduced, cancelled or replaced (then its id now), or 0.
    pub(crate) fn subject(&self, index: usize) -> u64 {
        self.subjects[index].get()
    }

    /// What the steps since [`Queue::begin`] did of one order, or with order 0 of one trader's mass cancel.
    pub(crate) fn stepped(&self, order: u64, trader: u32) -> u32 {
        self.stepped
            .borrow()
            .iter()
            .filter(|step| step.order == order && (order != 0 || step.cancels == Some(trader)))
            .fold(0, |sum: u32, step| sum.saturating_add(step.quantity))
    }

    /// The oldest event, taken out.
    pub(crate) fn pop(&self) -> Option<Event> {
        let mut slots = self.slots.borrow_mut();
        let mut record = [[0; SLOT_LEN / 8]; 2];
        record[0] = slots.pop_front()?;
        let head = Head::read_from_prefix(record.as_bytes()).map(|(head, _)| head);
        let more = head.map_or(0, |head| head.slots.saturating_sub(1));
        for index in 1..=usize::from(more) {
            let slot = slots.pop_front().unwrap_or_default();
            // No record is longer today; of a longer one the head is enough.
            if let Some(place) = record.get_mut(index) {
                *place = slot;
            }
        }
        Some(event(record.as_bytes()))
    }

    /// Records that wait, in slots.
    pub(crate) fn waiting(&self) -> usize {
        self.slots.borrow().len()
    }
}

impl Recorder for Queue {
    fn free(&self) -> u64 {
        if !self.keeps_events && !self.keeps_commands {
            return u64::MAX;
        }
        self.bound.saturating_sub(self.slots.borrow().len() as u64)
    }

    fn reserve(&self) -> u64 {
        if self.bound == u64::MAX {
            0
        } else {
            self.bound / 8
        }
    }

    fn publish(&self, shard: Shard<'_>, slots: u32) {
        const INDEX: usize = offset_of!(Message, index);
        let mut queue = self.slots.borrow_mut();
        // Where the slots of one record go on: how many, and whether they are kept.
        let (mut more, mut keeps) = (0, false);
        // The place in the packet whose order is still to be met.
        let mut place = None;
        copy_outbox(shard, slots, |_, words| {
            let slot: Slot = std::array::from_fn(|index| words.word[index].get());
            if more > 0 {
                more -= 1;
            } else {
                // The head's first word: kind in its low half, then the length.
                let kind = Kind::from_number(slot[0] as u16);
                more = ((slot[0] >> 16) as u8).saturating_sub(1);
                keeps = match kind {
                    Some(Kind::Message | Kind::Step | Kind::Control) => self.keeps_commands,
                    _ => self.keeps_events,
                };
                match kind {
                    Some(Kind::Message) => {
                        place = Some(usize::from((slot[INDEX / 8] >> (INDEX % 8 * 8)) as u16));
                    }
                    Some(Kind::Step) => self.note_step(&slot),
                    Some(kind) => {
                        if let Some(index) = place
                            && let Some(order) = subject(kind, &slot)
                        {
                            self.subjects[index].set(order);
                            place = None;
                        }
                    }
                    None => {}
                }
            }
            if keeps {
                queue.push_back(slot);
            }
        });
    }
}

impl Queue {
    fn note_step(&self, slot: &Slot) {
        if let Ok(step) = Step::read_from_bytes(slot.as_bytes()) {
            let cancels = [Work::SessionCancel as u8, Work::AccountCancel as u8];
            self.stepped.borrow_mut().push(Stepped {
                order: step.order,
                cancels: cancels.contains(&step.work).then_some(step.owner),
                quantity: step.quantity,
            });
        }
    }
}

/// The order that an event of a reduce, cancel or replace is about.
fn subject(kind: Kind, slot: &Slot) -> Option<u64> {
    const ORDER: usize = offset_of!(Removed, order) / 8;
    const NEW_ORDER: usize = offset_of!(Replaced, new_order) / 8;
    const _: () = assert!(offset_of!(Reduced, order) == offset_of!(Removed, order));
    match kind {
        Kind::Removed | Kind::Reduced => Some(slot[ORDER]),
        Kind::Replaced => Some(slot[NEW_ORDER]),
        _ => None,
    }
}

/// The number of the ABI for a result byte.
pub(crate) fn outcome(result: u8) -> i32 {
    const A: u8 = Outcome::Accepted as u8;
    const C: u8 = Outcome::Continues as u8;
    const N: u8 = Outcome::NotTaken as u8;
    match result {
        A => RING0_ACCEPTED,
        C => RING0_CONTINUES,
        N => RING0_NOT_TAKEN,
        _ => RING0_REJECTED,
    }
}

/// A record as the caller sees it. One of a kind that is not known here keeps its head alone.
fn event(bytes: &[u8]) -> Event {
    let Ok((head, _)) = Head::read_from_prefix(bytes) else {
        return Event::default();
    };
    let common = Event {
        sequence: head.sequence,
        kind: head.kind.into(),
        instrument: head.locate.checked_sub(1).unwrap_or(RING0_ALL),
        side: head.side,
        ..Event::default()
    };
    Kind::from_number(head.kind)
        .and_then(|kind| read(kind, bytes, common))
        .unwrap_or(common)
}

fn read(kind: Kind, bytes: &[u8], common: Event) -> Option<Event> {
    fn prefix<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
        bytes: &[u8],
    ) -> Option<T> {
        T::read_from_prefix(bytes).ok().map(|(record, _)| record)
    }
    Some(match kind {
        Kind::Message => message_event(&prefix::<Message>(bytes)?, common),
        Kind::Step => {
            let record = prefix::<Step>(bytes)?;
            Event {
                order_id: record.order,
                trader: record.owner,
                lots: record.quantity,
                outcome: outcome(record.outcome),
                ..common
            }
        }
        Kind::Control => {
            let record = prefix::<ControlRecord>(bytes)?;
            Event {
                outcome: outcome(record.outcome),
                reason: record.reason.into(),
                ..common
            }
        }
        Kind::Rested => {
            let record = prefix::<Rested>(bytes)?;
            Event {
                order_id: record.order,
                trader: record.session,
                reference: record.reference,
                price: record.price,
                lots: record.lots,
                open: record.lots,
                shown: record.shown,
                ..common
            }
        }
        Kind::Filled => {
            let record = prefix::<Filled>(bytes)?;
            Event {
                order_id: record.taker,
                maker_id: record.maker,
                taker_id: record.taker,
                maker_fee: record.maker_fee,
                // A fee is below 2^63: amounts are.
                taker_fee: record.taker_fee.cast_signed(),
                trader: record.taker_account,
                maker_trader: record.maker_account,
                taker_trader: record.taker_account,
                price: record.price,
                lots: record.lots,
                ..common
            }
        }
        Kind::Removed => {
            let record = prefix::<Removed>(bytes)?;
            Event {
                order_id: record.order,
                trader: record.session,
                reference: record.reference,
                price: record.price,
                lots: record.lots,
                removal: record.removal,
                rested: record.rested,
                ..common
            }
        }
        Kind::Reduced => {
            let record = prefix::<Reduced>(bytes)?;
            Event {
                order_id: record.order,
                trader: record.session,
                reference: record.reference,
                price: record.price,
                lots: record.lots,
                open: record.open,
                shown: record.shown,
                ..common
            }
        }
        Kind::Replaced => {
            let record = prefix::<Replaced>(bytes)?;
            Event {
                order_id: record.new_order,
                previous_id: record.order,
                trader: record.session,
                reference: record.reference,
                price: record.price,
                lots: record.lots,
                open: record.lots,
                previous_lots: record.lots_before,
                kept: record.kept,
                shown: record.shown,
                ..common
            }
        }
        Kind::Armed => {
            let record = prefix::<Armed>(bytes)?;
            Event {
                order_id: record.order,
                trader: record.session,
                reference: record.reference,
                price: record.price,
                lots: record.lots,
                open: record.lots,
                trigger: record.trigger,
                ..common
            }
        }
        Kind::Triggered => {
            let record = prefix::<Triggered>(bytes)?;
            Event {
                order_id: record.order,
                trader: record.session,
                reference: record.reference,
                price: record.price,
                lots: record.lots,
                open: record.lots,
                trigger: record.trigger,
                ..common
            }
        }
        Kind::Refilled => {
            let record = prefix::<Refilled>(bytes)?;
            Event {
                order_id: record.order,
                trader: record.session,
                reference: record.reference,
                price: record.price,
                lots: record.lots,
                open: record.lots,
                shown: record.shown,
                ..common
            }
        }
        Kind::Decremented => {
            let record = prefix::<Decremented>(bytes)?;
            Event {
                order_id: record.taker,
                maker_id: record.maker,
                taker_id: record.taker,
                trader: record.taker_account,
                maker_trader: record.maker_account,
                taker_trader: record.taker_account,
                price: record.price,
                lots: record.lots,
                ..common
            }
        }
        Kind::Crossed => {
            let record = prefix::<Crossed>(bytes)?;
            Event {
                order_id: record.buy,
                maker_id: record.sell,
                taker_id: record.buy,
                maker_fee: record.sell_fee.cast_signed(),
                taker_fee: record.buy_fee.cast_signed(),
                trader: record.buy_account,
                maker_trader: record.sell_account,
                taker_trader: record.buy_account,
                price: record.price,
                lots: record.lots,
                ..common
            }
        }
        Kind::Uncrossed => {
            let record = prefix::<Uncrossed>(bytes)?;
            Event {
                price: record.price,
                volume: record.volume,
                crossed: record.crossed as u8, // 0 or 1
                ..common
            }
        }
        Kind::StateChanged => {
            let record = prefix::<StateChanged>(bytes)?;
            Event {
                state: record.state,
                state_before: record.before,
                ..common
            }
        }
    })
}

fn message_event(record: &Message, common: Event) -> Event {
    let length = usize::from(record.length).min(record.message.len());
    let message = Inbound::read(&record.message[..length])
        .and_then(|inbound| inbound.check().ok())
        .unwrap_or_default();
    Event {
        trader: record.session,
        reference: if message.letter == b'U' {
            message.new_reference
        } else {
            message.reference
        },
        price: message.price,
        lots: record.quantity,
        side: message.side,
        letter: record.message[0],
        outcome: outcome(record.outcome),
        reason: record.reason.into(),
        ..common
    }
}
