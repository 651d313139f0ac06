//! Entering and replacing orders. Rule: `docs/matching.md#enter-a-f-o`, `#replace-u`.
//!
//! Each command is first decided (reads, may reject, changes nothing but the session's last reference), then done
//! (changes, cannot fail).

use crate::Reason;
use crate::limits::{FILLS_MAX, FOK_LEVELS_MAX, PACKET_WORK_MAX};
use crate::outbox::Done;
use crate::region::{can_loop, zero};
use crate::shard::{
    BUY, FLAG_IMMEDIATE, FLAG_POST_ONLY, Fault, Instrument, KILLED, Order, SELL, Session, Shard,
};
use ring0_wire::{Flags, MessageCells, SelfTrade, TimeInForce, message};

const NONE: u8 = Reason::None as u8;

/// Four spaces: no sub-account.
const SPACES: u32 = u32::from_be_bytes(*b"    ");

impl Shard<'_> {
    /// Enters the order of the scratch message.
    #[inline(never)]
    pub(crate) fn enter(self) -> Done {
        let header = self.header();
        let message = &self.scratch().message;
        let session = self.session(header.session.get());
        let reference = message.reference.get();
        if reference <= session.last_reference.get() {
            return Done::rejected(Reason::ReferenceNotRising as u8);
        }
        session.last_reference.set(reference);
        if !is_built(message) {
            return Done::rejected(Reason::NotBuilt as u8);
        }
        let reason = self.session_may_trade(session);
        if reason != NONE {
            return Done::rejected(reason);
        }
        let index = u32::from(message.locate.get()).wrapping_sub(1);
        if index >= header.instruments_max.get() || self.instrument(index).listed.get() == 0 {
            return Done::rejected(Reason::UnknownInstrument as u8);
        }
        let instrument = self.instrument(index);
        let stock = message.stock.get();
        if stock != message::STOCK_SPACES && stock != instrument.symbol.get() {
            return Done::rejected(Reason::StockMismatch as u8);
        }
        let reason = self.instrument_may_trade(instrument);
        if reason != NONE {
            return Done::rejected(reason);
        }
        self.enter_terms(index)
    }

    /// The checks of the terms, then the order itself.
    #[inline(never)]
    fn enter_terms(self, index: u32) -> Done {
        let header = self.header();
        let message = &self.scratch().message;
        let session = self.session(header.session.get());
        let instrument = self.instrument(index);
        let flags = message.flags.get();
        let side = if message.side.get() == message::BUY {
            BUY
        } else {
            SELL
        };
        let market = flags.has(Flags::MARKET);
        let immediate = market || flags.is_immediate();

        let tick_size = instrument.tick_size.get();
        let lot_size = instrument.lot_size.get();
        let (wire_price, shares) = (message.price.get(), message.shares.get());
        let Some(mut price) = whole(wire_price, tick_size) else {
            return Done::rejected(Reason::NotATick as u8);
        };
        let Some(lots) = whole(shares, lot_size) else {
            return Done::rejected(Reason::NotALot as u8);
        };
        if lots > instrument.lots_max.get() {
            return Done::rejected(Reason::OrderTooLarge as u8);
        }
        if market {
            price = instrument.protection(side, price);
        }
        let reason = instrument.admits_price(price, lots, market);
        if reason != NONE {
            return Done::rejected(reason);
        }
        let hold_per_lot = instrument.hold_per_lot(side, price);
        let hold = u64::from(lots).wrapping_mul(hold_per_lot);
        let balance = self.balance(session.account.get(), instrument.held_asset(side));
        let reason = balance.admits(hold, 0);
        if reason != NONE {
            return Done::rejected(reason);
        }
        if header.orders_live.get() >= header.orders_max.get() {
            return Done::rejected(Reason::BookFull as u8);
        }
        if !immediate && self.lacks_level(instrument, side, price, 0) {
            return Done::rejected(Reason::LevelsFull as u8);
        }
        if !self.has_place(session, message.reference.get(), 0) {
            return Done::rejected(Reason::TooManyLive as u8);
        }
        if flags.has(Flags::POST_REJECT) && self.crosses(instrument, side, price) {
            return Done::rejected(Reason::WouldCross as u8);
        }
        if flags.time() == TimeInForce::FillOrKill as u8 {
            let reason = self.fillable(index, side, price, lots);
            if reason != NONE {
                return Done::rejected(reason);
            }
        }

        // Decided. From here on nothing can fail.
        balance.hold(hold);
        let slot = self.take_order();
        let order = self.order(slot);
        order.id.set(header.command.get());
        order.hold_per_lot.set(hold_per_lot);
        order.open.set(lots);
        order.price.set(price);
        order.session.set(header.session.get());
        order.account.set(session.account.get());
        order.reference.set(message.reference.get());
        order.instrument.set(index);
        order.side.set(side as u8);
        order.swept.set(0);
        let mut own = 0;
        if flags.has(Flags::POST_REJECT) {
            own |= FLAG_POST_ONLY;
        }
        if immediate {
            own |= FLAG_IMMEDIATE;
        }
        order.flags.set(own);
        self.enter_book(slot)
    }

    /// Lets an order in, which its hold covers: it sweeps, then rests, goes or continues.
    #[inline(always)]
    fn enter_book(self, slot: u32) -> Done {
        let order = self.order(slot);
        let instrument_index = order.instrument.get();
        let instrument = self.instrument(instrument_index);
        let lot_size = instrument.lot_size.get();
        let filled = self.sweep(slot);
        let shares = filled.wrapping_mul(lot_size);
        if self.settle_remainder(slot, false) {
            order.swept.set(filled);
            let header = self.header();
            instrument.sweep.set(slot);
            header.frozen.set(header.frozen.get().wrapping_add(1));
            self.push_sweep(instrument_index);
            return Done::continues(shares);
        }
        Done::accepted(shares)
    }

    /// Whether the session may enter orders: not killed, not expired, no mass cancel pending.
    #[inline(always)]
    fn session_may_trade(self, session: &Session) -> u8 {
        if session.status.get() == KILLED {
            return Reason::SessionKilled as u8;
        }
        let expires = session.expires_ns.get();
        if self.header().time_ns.get() >= expires && expires != u64::MAX {
            return Reason::SessionExpired as u8;
        }
        if session.cancelling.get() != 0 {
            return Reason::Continuing as u8;
        }
        NONE
    }

    /// Whether an instrument takes orders, and the packet may cause more fills.
    #[inline(always)]
    fn instrument_may_trade(self, instrument: &Instrument) -> u8 {
        if instrument.sweep.get() != 0 {
            return Reason::Continuing as u8;
        }
        if instrument.halted.get() != 0 {
            return Reason::InstrumentHalted as u8;
        }
        if self.header().packet_work.get() > PACKET_WORK_MAX - FILLS_MAX {
            return Reason::PacketFills as u8;
        }
        NONE
    }

    /// Whether a fill-or-kill order finds its lots.
    #[inline(never)]
    fn fillable(self, index: u32, side: u32, price: u32, lots: u32) -> u8 {
        let instrument = self.instrument(index);
        let other = crate::book::opposite(side);
        let book = instrument.side(other);
        let limit = instrument.rank(other, price);
        let mut rank = book.best.get();
        let mut found: u64 = 0;
        let mut levels = zero();
        while levels < FOK_LEVELS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                return Reason::NotFillable as u8;
            }
            if rank > limit {
                return Reason::NotFillable as u8;
            }
            let slot = self.ladder(book, rank).get();
            found = found.wrapping_add(self.level(slot).lots.get());
            if found >= u64::from(lots) {
                return NONE;
            }
            rank = self.next_marked(index, other, rank.wrapping_add(1));
            levels = levels.wrapping_add(1);
        }
        if rank > limit {
            Reason::NotFillable as u8
        } else {
            Reason::FokTooDeep as u8
        }
    }

    /// Replaces an order by the scratch message.
    #[inline(never)]
    pub(crate) fn replace(self) -> Done {
        let header = self.header();
        let message = &self.scratch().message;
        let session_index = header.session.get();
        let session = self.session(session_index);
        let reference = message.new_reference.get();
        if reference <= session.last_reference.get() {
            return Done::rejected(Reason::ReferenceNotRising as u8);
        }
        session.last_reference.set(reference);
        let reason = self.session_may_trade(session);
        if reason != NONE {
            return Done::rejected(reason);
        }
        let slot = self.find_order(session_index, message.reference.get());
        if slot == 0 {
            return Done::rejected(Reason::UnknownOrder as u8);
        }
        let order = self.order(slot);
        let index = order.instrument.get();
        if u32::from(message.locate.get()) != index.wrapping_add(1) {
            return Done::rejected(Reason::WrongInstrument as u8);
        }
        let instrument = self.instrument(index);
        let reason = self.instrument_may_trade(instrument);
        if reason != NONE {
            return Done::rejected(reason);
        }
        let tick_size = instrument.tick_size.get();
        let lot_size = instrument.lot_size.get();
        let Some(price) = whole(message.price.get(), tick_size) else {
            return Done::rejected(Reason::NotATick as u8);
        };
        let Some(lots) = whole(message.shares.get(), lot_size) else {
            return Done::rejected(Reason::NotALot as u8);
        };
        if lots > instrument.lots_max.get() {
            return Done::rejected(Reason::OrderTooLarge as u8);
        }
        let reason = instrument.admits_price(price, lots, false);
        if reason != NONE {
            return Done::rejected(reason);
        }
        if !self.has_place(session, reference, slot) {
            return Done::rejected(Reason::TooManyLive as u8);
        }
        if price == order.price.get() && lots <= order.open.get() {
            self.replace_kept(slot, lots);
            return Done::accepted(0);
        }
        self.replace_moved(slot, price, lots)
    }

    /// Fewer or equal lots at the same price: the order keeps its place.
    #[inline(always)]
    fn replace_kept(self, slot: u32, lots: u32) {
        let order = self.order(slot);
        let session = self.session(order.session.get());
        let before = order.open.get();
        self.remove_reference(session, slot);
        order
            .reference
            .set(self.scratch().message.new_reference.get());
        self.add_reference(session, slot);
        self.shrink(order, before.wrapping_sub(lots));
        self.record_replaced(order, order.id.get(), before, true);
    }

    /// Takes lots off a resting order and gives their hold back.
    #[inline(always)]
    pub(crate) fn shrink(self, order: &Order, lots: u32) {
        let instrument = self.instrument(order.instrument.get());
        let side = u32::from(order.side.get());
        let place = self.ladder(
            instrument.side(side),
            instrument.rank(side, order.price.get()),
        );
        let level = self.level(place.get());
        self.ensure(level.lots.get() > u64::from(lots), Fault::LevelLots);
        level
            .lots
            .set(level.lots.get().wrapping_sub(u64::from(lots)));
        order.open.set(order.open.get().wrapping_sub(lots));
        let balance = self.balance(order.account.get(), instrument.held_asset(side));
        self.release(
            balance,
            u64::from(lots).wrapping_mul(order.hold_per_lot.get()),
        );
    }

    /// Another price or more lots: the old order leaves, the new one enters.
    #[inline(never)]
    fn replace_moved(self, slot: u32, price: u32, lots: u32) -> Done {
        let header = self.header();
        let order = self.order(slot);
        let instrument = self.instrument(order.instrument.get());
        let side = u32::from(order.side.get());
        let before = order.open.get();
        let freed = u64::from(before).wrapping_mul(order.hold_per_lot.get());
        let hold_per_lot = instrument.hold_per_lot(side, price);
        let hold = u64::from(lots).wrapping_mul(hold_per_lot);
        let balance = self.balance(order.account.get(), instrument.held_asset(side));
        let reason = balance.admits(hold, freed);
        if reason != NONE {
            return Done::rejected(reason);
        }
        if self.lacks_level(instrument, side, price, slot) {
            return Done::rejected(Reason::LevelsFull as u8);
        }
        if order.flags.get() & FLAG_POST_ONLY != 0 && self.crosses(instrument, side, price) {
            return Done::rejected(Reason::WouldCross as u8);
        }

        // Decided.
        self.take_from_level(slot).seen();
        self.delist(slot).seen();
        self.release(balance, freed);
        balance.hold(hold);
        let id_before = order.id.get();
        order.id.set(header.command.get());
        order.hold_per_lot.set(hold_per_lot);
        order.open.set(lots);
        order.price.set(price);
        order
            .reference
            .set(self.scratch().message.new_reference.get());
        order.swept.set(0);
        order.flags.set(order.flags.get() & FLAG_POST_ONLY);
        self.record_replaced(order, id_before, before, false);
        self.enter_book(slot)
    }
}

impl Instrument {
    /// A market order's protection price, brought onto the ladder where it is beyond the end that it may be.
    #[inline(always)]
    fn protection(&self, side: u32, price: u32) -> u32 {
        if side == BUY {
            if price > self.top() {
                self.top()
            } else {
                price
            }
        } else if price < self.ladder_base.get() {
            self.ladder_base.get()
        } else {
            price
        }
    }

    /// Whether the ladder, the band (not for a market order) and the notional limit admit an order.
    #[inline(always)]
    fn admits_price(&self, price: u32, lots: u32, market: bool) -> u8 {
        if price.wrapping_sub(self.ladder_base.get()) >= self.ladder_len.get() {
            return Reason::OffLadder as u8;
        }
        if !market
            && self.band_high.get() != 0
            && (price < self.band_low.get() || price > self.band_high.get())
        {
            return Reason::PriceBand as u8;
        }
        let notional_max = self.notional_max.get();
        if notional_max != 0 && self.notional(price, lots) > notional_max {
            return Reason::NotionalTooLarge as u8;
        }
        NONE
    }
}

/// How many units make up `amount`, or `None` where there is a remainder. A unit of zero, which no listing has, makes none.
#[inline(always)]
pub(crate) const fn whole(amount: u32, unit: u32) -> Option<u32> {
    if unit == 0 || !amount.is_multiple_of(unit) {
        None
    } else {
        Some(amount / unit)
    }
}

/// Whether this version carries out the message's instructions.
#[inline(always)]
fn is_built(message: &MessageCells) -> bool {
    let flags = message.flags.get();
    let time = flags.time();
    let sub_account = message.sub_account.get();
    let display = message.display.get();
    (time == TimeInForce::Day as u8 || flags.is_immediate())
        && !flags.has(Flags::POST_SLIDE | Flags::HIDDEN)
        && flags.self_trade() == SelfTrade::AccountDefault as u8
        && (sub_account == 0 || sub_account == SPACES)
        && message.minimum.get() == 0
        && message.trigger.get() == 0
        && message.expiry_s.get() == 0
        && message.peg.get() == 0
        && message.peg_offset_ticks.get() == 0
        && message.trade_group.get() == 0
        && (display == 0 || display == message.shares.get())
}
