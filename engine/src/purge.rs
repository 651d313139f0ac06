//! Purge: orders of an instrument are visited in the order of its books and those that are named go, a bounded part at a time: the operator's
//! cancel, the end of the day, a delisting, a moved ladder. Rule: `docs/matching.md#control-commands`.
//!
//! Where it stands is a book and the order visited next, 0 being the first of the book. Nothing joins a book meanwhile, and only what does not ask for the
//! instrument takes orders out of one: mass cancels and expiry. They do it by [`Shard::take_away`], where the order that the purge stands at hands
//! its turn on; so what stands there is always an order of that book.

use crate::ladder::rank;
use crate::limits::CANCELS_MAX;
use crate::outbox::{Done, side_letter};
use crate::record::{Removal, Work};
use crate::region::{Finished, can_loop, clear32, zero};
use crate::shard::{FLAG_GTC, FLAG_STOP, Fault, Instrument, NO_RANK, Order, PEGS, Shard};
use ring0_wire::message;

/// Books that a purge goes through: the six, and the peg queues of either side.
const BOOKS: u32 = PEGS + 2;

/// What the low byte of an instrument's `purge` says: the removal of its orders. The next byte is the side, as in `M`.
const REMOVAL: u32 = 0xFF;

/// Any side.
pub(crate) const BOTH: u32 = message::BOTH as u32;

impl Instrument {
    /// The removal with which orders go, which says why.
    #[inline(always)]
    pub(crate) fn purge_removal(&self) -> u32 {
        self.purge.get() & REMOVAL
    }

    /// Side byte of the orders that go.
    #[inline(always)]
    pub(crate) fn purge_side(&self) -> u32 {
        self.purge.get() >> 8
    }

    /// Whether a price is outside the ladder that the instrument is to have.
    #[inline(always)]
    fn moves_off(&self, price: u32) -> bool {
        price.wrapping_sub(self.move_base.get()) >= self.move_len.get()
    }

    /// Sets the prices at which trading goes on from the last auction's price, or without one from the reference.
    #[inline(always)]
    pub(crate) fn set_pause(&self) {
        let ticks = u64::from(self.pause_ticks.get());
        let auction = self.auction.get();
        let centre = u64::from(if auction == 0 {
            self.reference.get()
        } else {
            auction
        });
        let (mut low, mut high) = (0, 0);
        if ticks != 0 && centre != 0 {
            (low, high) = (u64::from(self.ladder_base.get()), u64::from(self.top()));
            if centre > low.wrapping_add(ticks) {
                low = centre.wrapping_sub(ticks);
            }
            if centre.wrapping_add(ticks) < high {
                high = centre.wrapping_add(ticks);
            }
        }
        self.pause_low.set(low as u32);
        self.pause_high.set(high as u32);
    }
}

impl Shard<'_> {
    /// Queues a purge.
    #[inline(always)]
    pub(crate) fn begin_purge(self, index: u32, removal: Removal, side: u32) -> Done {
        let instrument = self.instrument(index);
        instrument.purge.set(removal as u32 | side << 8);
        clear32(&instrument.purge_book);
        clear32(&instrument.purge_next);
        instrument.work.set(Work::Purge as u32);
        self.push_instrument(index);
        Done::continues(0)
    }

    /// A step of a purge.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn step_purge(self, index: u32) -> Done {
        let instrument = self.instrument(index);
        self.record_step(Work::Purge as u32, index.wrapping_add(1), 0, 0);
        let mut removed = zero();
        let mut visits = zero();
        while visits < CANCELS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let slot = self.purge_order(index);
            if slot == 0 {
                self.end_purge(index);
                clear32(&instrument.work);
                break;
            }
            if self.purge_takes(slot) {
                self.take_away(slot, instrument.purge_removal() as u8);
                removed = removed.wrapping_add(1);
            } else {
                self.purge_passes(slot).seen();
            }
            visits = visits.wrapping_add(1);
        }
        Done::accepted(removed)
    }

    /// The order that is visited next, which then is where the purge stands; 0 at the end.
    #[inline(always)]
    fn purge_order(self, index: u32) -> u32 {
        let instrument = self.instrument(index);
        let mut books = zero();
        while books <= BOOKS {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let next = instrument.purge_next.get();
            if next != 0 {
                return next;
            }
            let book = instrument.purge_book.get();
            if book >= BOOKS {
                break;
            }
            let first = self.first_of_book(index, book);
            if first == 0 {
                instrument.purge_book.set(book.wrapping_add(1));
            } else {
                instrument.purge_next.set(first);
            }
            books = books.wrapping_add(1);
        }
        0
    }

    /// First order of a book, or of the first peg queue of a side; 0 where there is none.
    #[inline(always)]
    fn first_of_book(self, index: u32, book: u32) -> u32 {
        let instrument = self.instrument(index);
        let at = if book >= PEGS {
            instrument.queues(book.wrapping_sub(PEGS)).get()
        } else {
            let best = instrument.best(book).get();
            if best == NO_RANK {
                0
            } else {
                self.ladder_place(instrument.side(book), best).get()
            }
        };
        if at == 0 {
            0
        } else {
            self.level(at).head.get()
        }
    }

    /// Whether the purge of its instrument takes an order away.
    #[inline(always)]
    fn purge_takes(self, slot: u32) -> bool {
        let order = self.order(slot);
        let instrument = self.instrument(order.instrument());
        let removal = instrument.purge_removal();
        if removal == Removal::Operator as u32 {
            return is_of_side(order, instrument.purge_side());
        }
        if removal == Removal::DayEnd as u32 {
            return order.flags() & FLAG_GTC == 0;
        }
        if removal == Removal::Delisted as u32 {
            return true;
        }
        instrument.moves_off(order.price.get())
            || (order.flags() & FLAG_STOP != 0
                && instrument.moves_off(self.terms(slot).limit.get()))
    }

    /// Cancels a standing order whatever is pending for its instrument.
    #[inline(always)]
    pub(crate) fn take_away(self, slot: u32, removal: u8) {
        let instrument = self.instrument(self.order(slot).instrument());
        if instrument.purge_next.get() == slot {
            self.purge_passes(slot).seen();
        }
        self.remove_order(slot, removal).seen();
    }

    /// Moves the purge that stands at an order on to the one behind it in its book, or to the next book.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn purge_passes(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let index = order.instrument();
        let instrument = self.instrument(index);
        let book = order.book();
        let mut next = order.next.get();
        if next == 0 {
            let level = if book >= PEGS {
                self.level(self.level_of(slot)).next_queue.get()
            } else {
                let behind = rank(book, order.price.get()).wrapping_add(1);
                let behind = self.next_marked(index, book, behind);
                if behind == NO_RANK {
                    0
                } else {
                    self.ladder_place(instrument.side(book), behind).get()
                }
            };
            if level != 0 {
                next = self.level(level).head.get();
            }
        }
        instrument.purge_next.set(next);
        if next == 0 {
            instrument.purge_book.set(book.wrapping_add(1));
        }
        Finished::here()
    }

    /// What becomes of the instrument when every order has been visited.
    #[inline(always)]
    fn end_purge(self, index: u32) {
        let instrument = self.instrument(index);
        let removal = instrument.purge_removal();
        if removal == Removal::Delisted as u32 {
            clear32(&instrument.listed);
        }
        if removal != Removal::OffLadder as u32 {
            return;
        }
        instrument.ladder_base.set(instrument.move_base.get());
        instrument.ladder_len.set(instrument.move_len.get());
        if !instrument.has_price(instrument.reference.get()) {
            clear32(&instrument.reference);
        }
        if !instrument.has_price(instrument.last.get()) {
            clear32(&instrument.last);
        }
        if !instrument.has_price(instrument.auction.get()) {
            clear32(&instrument.auction);
        }
        instrument.set_pause();
    }
}

#[inline(always)]
fn is_of_side(order: &Order, side: u32) -> bool {
    side == BOTH || side == u32::from(side_letter(order.side()))
}
