//! Entering and replacing orders. Rule: `docs/matching.md#enter-a-f-o`, `#replace-u`.
//!
//! Each command is first decided (reads, may reject, changes nothing but the session's last reference and the packet's work), then done
//! (changes, cannot fail).

use crate::Reason;
use crate::book::{book_of, opposite};
use crate::ladder::{price_of, rank};
use crate::limits::{FILLS_MAX, PACKET_WORK_MAX};
use crate::outbox::Done;
use crate::record::State;
use crate::region::{clear32, forget};
use crate::shard::{
    BUY, FLAG_GTC, FLAG_GTT, FLAG_HIDDEN, FLAG_ICEBERG, FLAG_IMMEDIATE, FLAG_PEG, FLAG_POST_ONLY,
    FLAG_SLIDE, FLAG_STOP, Instrument, KILLED, NO_RANK, NOWHERE, SELL, STP_GROUP, Session, Shard,
};
use ring0_wire::{Flags, MessageCells, TimeInForce, message};

const NONE: u8 = Reason::None as u8;

/// An order was decided and made; its slot is the quantity of the result. It is to be let in by [`Shard::enter_book`].
pub(crate) const ENTERS: u32 = 0;

/// The letter with an extension.
const EXTENDED: u8 = b'O';

/// What [`Shard::replace_terms`] gives, which is no reason, where the order loses its place.
const MOVES: u8 = 255;

const CONTINUOUS: u32 = State::Continuous as u32;

/// Whether a state collects orders for an auction.
#[inline(always)]
pub(crate) const fn collects(state: u32) -> bool {
    state == State::PreOpen as u32
        || state == State::OpeningAuction as u32
        || state == State::VolatilityPause as u32
        || state == State::ClosingAuction as u32
}

impl Shard<'_> {
    /// Decides on the order of the scratch message and makes it.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn enter(self) -> Done {
        let header = self.header();
        let message = &self.scratch().message;
        let session = self.session(header.session.get());
        let reference = message.reference.get();
        if reference <= session.last_reference.get() {
            return Done::rejected(Reason::ReferenceNotRising as u8);
        }
        session.last_reference.set(reference);
        let account = self.account(session.account.get());
        let mut own = own_flags(message.flags.get());
        let mut group = 0;
        if message.letter.get() == EXTENDED {
            own = with_extension(message, own);
            if excludes(message, own) {
                return Done::rejected(Reason::NotTogether as u8);
            }
            group = u32::from(message.trade_group.get());
            if group != 0 && group != account.group.get() {
                return Done::rejected(Reason::WrongTradeGroup as u8);
            }
        }
        let reason = self.session_may_trade(session);
        if reason != NONE {
            return Done::rejected(reason);
        }
        let index = u32::from(message.locate.get()).wrapping_sub(1);
        if index >= header.instruments_max.get() || self.instrument(index).listed.get() == 0 {
            return self.not_here(index.wrapping_add(1), Reason::UnknownInstrument as u32);
        }
        let instrument = self.instrument(index);
        let stock = message.stock.get();
        if stock != message::STOCK_SPACES && stock != instrument.symbol.get() {
            return Done::rejected(Reason::StockMismatch as u8);
        }
        let reason = instrument.may_trade();
        if reason != NONE {
            return Done::rejected(reason);
        }
        if instrument.state.get() != CONTINUOUS
            && own & FLAG_STOP == 0
            && (own & (FLAG_IMMEDIATE | FLAG_POST_ONLY | FLAG_SLIDE | FLAG_PEG) != 0
                || message.minimum.get() != 0)
        {
            return Done::rejected(Reason::NotInAuction as u8);
        }
        if header.packet_work.get() > PACKET_WORK_MAX - FILLS_MAX {
            return Done::rejected(Reason::PacketFills as u8);
        }
        let asked = message.flags.get().self_trade();
        let mode = if asked == 0 {
            account.stp.get()
        } else {
            u32::from(asked)
        };
        self.scratch()
            .stp
            .set(mode | if group == 0 { 0 } else { STP_GROUP });
        let own = forget(&self.scratch().least, own); // which is decided later
        let mut reason = self.enter_terms(index, own);
        if reason == NONE && self.scratch().least.get() != 0 {
            reason = self.feasible(index, message_side(message));
        }
        if reason != NONE {
            return Done::rejected(reason);
        }
        // Decided. From here on nothing can fail.
        Done(u64::from(self.make_order(index, own)))
    }

    /// The checks of the terms: 0 with the terms left in the scratch area, or the reason.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    fn enter_terms(self, index: u32, own: u32) -> u8 {
        let header = self.header();
        let message = &self.scratch().message;
        let session = self.session(header.session.get());
        let instrument = self.instrument(index);
        let flags = message.flags.get();
        let side = message_side(message);
        let market = flags.has(Flags::MARKET);
        let stop = own & FLAG_STOP != 0;

        let Some(mut price) = instrument.ticks(message.price.get()) else {
            return Reason::NotATick as u8;
        };
        let Some(lots) = instrument.lots(message.shares.get()) else {
            return Reason::NotALot as u8;
        };
        let (mut minimum, mut peak) = (0, 0);
        if message.letter.get() == EXTENDED {
            (minimum, peak) = match (
                instrument.lots(message.minimum.get()),
                instrument.lots(message.display.get()),
            ) {
                (Some(minimum), Some(peak)) => (minimum, peak),
                _ => return Reason::NotALot as u8,
            };
        }
        let reason = self.admits_shares(index, lots);
        if reason != NONE {
            return reason;
        }
        if own & FLAG_GTT != 0 && message.expiry_s.get() <= header.expired_s.get() {
            return Reason::AlreadyExpired as u8;
        }
        let mut trigger = 0;
        if stop {
            trigger = match instrument.ticks(message.trigger.get()) {
                Some(trigger) if instrument.has_price(trigger) => trigger,
                _ => return Reason::BadTrigger as u8,
            };
        }
        if market {
            price = instrument.protection(side, price);
        }
        if instrument.state.get() == CONTINUOUS {
            instrument.note_peg_prices();
        }
        if own & FLAG_SLIDE != 0 {
            price = self.slide(index, side, price);
        }
        let reason = self.admits_price(index, side, price, lots, own | u32::from(market) << 31);
        if reason != NONE {
            return reason;
        }
        if stop {
            let last = instrument.last.get();
            let waits = if side == BUY {
                trigger > last
            } else {
                trigger < last
            };
            if last != 0 && !waits {
                return Reason::WouldTrigger as u8;
            }
        }
        let hold_per_lot = instrument.hold_per_lot(side, price);
        let hold = u64::from(lots).wrapping_mul(hold_per_lot);
        let balance = self.balance(session.account.get(), instrument.held_asset(side));
        let reason = balance.admits(hold, 0);
        if reason != NONE {
            return reason;
        }
        let peg =
            u32::from(message.peg.get()) | u32::from(message.peg_offset_ticks.get() as u8) << 8;
        let reason = self.has_room(index, own, side, if stop { trigger } else { price }, peg);
        if reason != NONE {
            return reason;
        }
        if own & FLAG_POST_ONLY != 0 && self.crosses(index, side, price) {
            return Reason::WouldCross as u8;
        }
        let scratch = self.scratch();
        scratch.hold_per_lot.set(hold_per_lot);
        scratch.price.set(price);
        scratch.lots.set(lots);
        scratch
            .least
            .set(if flags.time() == TimeInForce::FillOrKill as u8 {
                lots
            } else {
                minimum
            });
        scratch.trigger.set(trigger);
        scratch.peak.set(peak);
        scratch.peg.set(peg);
        NONE
    }

    /// Makes the order that was decided on and holds what it may cost.
    #[inline(always)]
    fn make_order(self, index: u32, own: u32) -> u32 {
        let header = self.header();
        let scratch = self.scratch();
        let session = self.session(header.session.get());
        let account = session.account.get();
        let side = message_side(&scratch.message);
        let hold_per_lot = scratch.hold_per_lot.get();
        let lots = scratch.lots.get();
        let held_asset = self.instrument(index).held_asset(side);
        self.balance(account, held_asset)
            .hold(u64::from(lots).wrapping_mul(hold_per_lot));
        let slot = self.take_order();
        let order = self.order(slot);
        order.id.set(header.command.get());
        order.hold_per_lot.set(hold_per_lot);
        order.open.set(lots);
        order.price.set(if own & FLAG_STOP == 0 {
            scratch.price.get()
        } else {
            scratch.trigger.get()
        });
        order.set_owner(header.session.get(), scratch.stp.get());
        order.account.set(account);
        order.reference.set(scratch.message.reference.get());
        order.set_kind(index, side, NOWHERE, own);
        if own & (FLAG_STOP | FLAG_ICEBERG | FLAG_GTT | FLAG_PEG) != 0 {
            let terms = self.terms(slot);
            terms.limit.set(scratch.price.get());
            terms.peak.set(scratch.peak.get());
            terms.peg.set(scratch.peg.get());
            terms.expiry_s.set(scratch.message.expiry_s.get());
            clear32(&terms.expiry_next);
        }
        slot
    }

    /// Price of a sliding post-only order: one tick from the best opposite price where it would cross it. Off the ladder: 0.
    #[inline(always)]
    fn slide(self, index: u32, side: u32, price: u32) -> u32 {
        let other = opposite(side);
        let best = self.best_rank(index, other);
        // A price of zero, which is on no ladder, has the rank of "no price" on one side.
        if best == NO_RANK || best > rank(other, price) {
            return price;
        }
        let best = price_of(other, best);
        if side == BUY {
            best.wrapping_sub(1)
        } else {
            best.wrapping_add(1)
        }
    }

    /// Whether the session may enter orders: neither it nor its account killed, not expired, no mass cancel pending.
    #[inline(always)]
    fn session_may_trade(self, session: &Session) -> u8 {
        if session.status.get() == KILLED {
            return Reason::SessionKilled as u8;
        }
        let account = self.account(session.account.get());
        if account.killed.get() != 0 {
            return Reason::AccountKilled as u8;
        }
        let expires = session.expires_ns.get();
        if self.header().time_ns.get() >= expires && expires != u64::MAX {
            return Reason::SessionExpired as u8;
        }
        if session.mass.removal.get() | account.mass.removal.get() != 0 {
            return Reason::Continuing as u8;
        }
        NONE
    }

    /// Whether an order of so many lots is within the limits of instrument, session and account.
    #[inline(always)]
    fn admits_shares(self, index: u32, lots: u32) -> u8 {
        let instrument = self.instrument(index);
        if lots > instrument.lots_max.get() {
            return Reason::OrderTooLarge as u8;
        }
        let session = self.session(self.header().session.get());
        let account = self.account(session.account.get());
        if session.limited.get() | account.limited.get() == 0 {
            return NONE;
        }
        let shares = lots.wrapping_mul(instrument.lot_size.get());
        if exceeds(shares, session.shares_max.get()) || exceeds(shares, account.shares_max.get()) {
            return Reason::RiskShares as u8;
        }
        NONE
    }

    /// Whether ladder, bands and notional limits admit an order. The highest bit of `own` says market.
    #[inline(always)]
    fn admits_price(self, index: u32, side: u32, price: u32, lots: u32, own: u32) -> u8 {
        let instrument = self.instrument(index);
        if !instrument.has_price(price) {
            return Reason::OffLadder as u8;
        }
        let session = self.session(self.header().session.get());
        let account = self.account(session.account.get());
        let limited =
            instrument.limited.get() | u64::from(session.limited.get() | account.limited.get());
        if limited == 0 {
            NONE
        } else {
            self.within_limits(index << 1 | side, price, lots, own)
        }
    }

    /// As [`Shard::admits_price`], where there is a limit.
    #[inline(never)]
    fn within_limits(self, index_side: u32, price: u32, lots: u32, own: u32) -> u8 {
        let (index, side) = (index_side >> 1, index_side & 1);
        let instrument = self.instrument(index);
        let market = own >> 31 != 0;
        let high = instrument.band_high.get();
        if !market && high != 0 && (price < instrument.band_low.get() || price > high) {
            return Reason::PriceBand as u8;
        }
        let dynamic = instrument.dynamic_ticks.get();
        if !market && own & FLAG_STOP == 0 && dynamic != 0 {
            let last = instrument.last.get();
            let from = if last == 0 {
                instrument.reference.get()
            } else {
                last
            };
            let away = if price > from {
                price.wrapping_sub(from)
            } else {
                from.wrapping_sub(price)
            };
            if from != 0 && away > dynamic {
                return Reason::DynamicBand as u8;
            }
        }
        let fat = instrument.fat_ticks.get();
        if fat != 0
            && !market
            && own & (FLAG_STOP | FLAG_PEG) == 0
            && instrument.state.get() == CONTINUOUS
        {
            let other = opposite(side);
            let best = instrument.best(other).get();
            // Ranks grow from better to worse, so beyond the best is further on in rank.
            let limit = rank(other, price);
            if best != NO_RANK && limit > best && limit.wrapping_sub(best) > fat {
                return Reason::FatFinger as u8;
            }
        }
        let notional = instrument.notional(price, lots);
        let most = instrument.notional_max.get();
        if most != 0 && notional > most {
            return Reason::NotionalTooLarge as u8;
        }
        let session = self.session(self.header().session.get());
        let (of_session, of_account) = (
            session.notional_max.get(),
            self.account(session.account.get()).notional_max.get(),
        );
        if (of_session != 0 && notional > of_session) || (of_account != 0 && notional > of_account)
        {
            return Reason::RiskNotional as u8;
        }
        NONE
    }

    /// Whether an order of the scratch message finds room: among the live orders that its owners may have, in the pools, under its reference.
    #[inline(always)]
    fn has_room(self, index: u32, own: u32, side: u32, price: u32, peg: u32) -> u8 {
        let header = self.header();
        let session = self.session(header.session.get());
        let account = self.account(session.account.get());
        let stays = own & FLAG_STOP != 0 || own & FLAG_IMMEDIATE == 0;
        if stays
            && session.limited.get() | account.limited.get() != 0
            && (reaches(session.orders_live.get(), session.orders_max.get())
                || reaches(account.orders_live.get(), account.orders_max.get()))
        {
            return Reason::RiskOrders as u8;
        }
        if header.orders_live.get() >= header.orders_max.get() {
            return Reason::BookFull as u8;
        }
        if stays {
            let reason = self.lacks_level(index, book_of(own, side), price, peg, 0);
            if reason != NONE {
                return reason;
            }
        }
        if !self.has_place(session, self.scratch().message.reference.get(), 0) {
            return Reason::TooManyLive as u8;
        }
        NONE
    }

    /// Decides on replacing an order by the scratch message. Kept orders are done with it.
    #[cfg_attr(target_arch = "bpf", inline(never))]
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
            return self.not_here(u32::from(message.locate.get()), Reason::UnknownOrder as u32);
        }
        let order = self.order(slot);
        let index = order.instrument();
        if u32::from(message.locate.get()) != index.wrapping_add(1) {
            return Done::rejected(Reason::WrongInstrument as u8);
        }
        let instrument = self.instrument(index);
        let reason = instrument.may_trade();
        if reason != NONE {
            return Done::rejected(reason);
        }
        if header.leaving.get() != 0 && self.leaving(slot) != 0 {
            return Done::rejected(Reason::Continuing as u8);
        }
        if instrument.state.get() != CONTINUOUS
            && order.flags() & (FLAG_POST_ONLY | FLAG_SLIDE | FLAG_PEG) != 0
        {
            return Done::rejected(Reason::NotInAuction as u8);
        }
        if header.packet_work.get() > PACKET_WORK_MAX - FILLS_MAX {
            return Done::rejected(Reason::PacketFills as u8);
        }
        let code = self.replace_terms(slot);
        if code == MOVES {
            let code = self.admits_move(slot);
            return if code == NONE {
                self.replace_moved(slot)
            } else {
                Done::rejected(code)
            };
        }
        if code == NONE {
            Done::accepted(0)
        } else {
            Done::rejected(code)
        }
    }

    /// The checks of the new terms: the reason against them, 0 when the order has kept its place, or [`MOVES`] with price and lots in the scratch
    /// area, which [`Shard::admits_move`] looks at next.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn replace_terms(self, slot: u32) -> u8 {
        let message = &self.scratch().message;
        let order = self.order(slot);
        let flags = order.flags();
        let stop = flags & FLAG_STOP != 0;
        let index = order.instrument();
        let side = order.side();
        let instrument = self.instrument(index);
        let Some(mut price) = instrument.ticks(message.price.get()) else {
            return Reason::NotATick as u8;
        };
        let Some(lots) = instrument.lots(message.shares.get()) else {
            return Reason::NotALot as u8;
        };
        let reason = self.admits_shares(index, lots);
        if reason != NONE {
            return reason;
        }
        let continuous = instrument.state.get() == CONTINUOUS;
        if continuous {
            instrument.note_peg_prices();
        }
        if continuous && flags & FLAG_SLIDE != 0 {
            price = self.slide(index, side, price);
        }
        let market = stop && flags & FLAG_IMMEDIATE != 0;
        let reason = self.admits_price(index, side, price, lots, flags | u32::from(market) << 31);
        if reason != NONE {
            return reason;
        }
        let session = self.session(order.session());
        if !self.has_place(session, message.new_reference.get(), slot) {
            return Reason::TooManyLive as u8;
        }
        let before = if stop {
            self.terms(slot).limit.get()
        } else {
            order.price.get()
        };
        if price == before && lots <= order.open.get() {
            self.replace_kept(slot, lots);
            return NONE;
        }
        let scratch = self.scratch();
        scratch.price.set(price);
        scratch.lots.set(lots);
        MOVES
    }

    /// Fewer or equal lots at the same price: the order keeps its place.
    #[inline(always)]
    fn replace_kept(self, slot: u32, lots: u32) {
        let order = self.order(slot);
        let session = self.session(order.session());
        let before = order.open.get();
        self.remove_reference(session, slot);
        order
            .reference
            .set(self.scratch().message.new_reference.get());
        self.add_reference(session, slot);
        self.shrink(slot, before.wrapping_sub(lots));
        self.record_replaced(slot, order.id.get(), before, true);
    }

    /// Whether an order may move to the price and lots in the scratch area: 0, with its hold beside them, or the reason.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn admits_move(self, slot: u32) -> u8 {
        let scratch = self.scratch();
        let (price, lots) = (scratch.price.get(), scratch.lots.get());
        let order = self.order(slot);
        let flags = order.flags();
        let index = order.instrument();
        let instrument = self.instrument(index);
        let side = order.side();
        let freed = u64::from(order.open.get()).wrapping_mul(order.hold_per_lot.get());
        let hold_per_lot = instrument.hold_per_lot(side, price);
        let hold = u64::from(lots).wrapping_mul(hold_per_lot);
        let balance = self.balance(order.account.get(), instrument.held_asset(side));
        let reason = balance.admits(hold, freed);
        if reason != NONE {
            return reason;
        }
        let stands_at = if flags & FLAG_STOP == 0 {
            price
        } else {
            order.price.get()
        };
        let peg = if flags & FLAG_PEG == 0 {
            0
        } else {
            self.terms(slot).peg.get()
        };
        let reason = self.lacks_level(index, book_of(flags, side), stands_at, peg, slot);
        if reason != NONE {
            return reason;
        }
        if flags & FLAG_POST_ONLY != 0
            && instrument.state.get() == CONTINUOUS
            && self.crosses(index, side, price)
        {
            return Reason::WouldCross as u8;
        }
        scratch.hold_per_lot.set(hold_per_lot);
        NONE
    }

    /// The old order leaves, the new one is made in its slot.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn replace_moved(self, slot: u32) -> Done {
        self.leave(slot).seen();
        self.delist(slot).seen();
        let scratch = self.scratch();
        let order = self.order(slot);
        let before = order.open.get();
        self.release_lots(order, before);
        let id_before = order.id.get();
        order.id.set(self.header().command.get());
        order.hold_per_lot.set(scratch.hold_per_lot.get());
        order.open.set(scratch.lots.get());
        self.hold_lots(order);
        if order.flags() & FLAG_STOP == 0 {
            order.price.set(scratch.price.get());
        } else {
            self.terms(slot).limit.set(scratch.price.get());
        }
        order.reference.set(scratch.message.new_reference.get());
        self.record_replaced(slot, id_before, before, false);
        Done(u64::from(slot))
    }
}

impl Instrument {
    /// A wire price in ticks, or `None` where there is a remainder.
    #[inline(always)]
    fn ticks(&self, price: u32) -> Option<u32> {
        whole(price, self.tick_size.get(), self.tick_reciprocal.get())
    }

    /// Shares in lots, or `None` where there is a remainder.
    #[inline(always)]
    pub(crate) fn lots(&self, shares: u32) -> Option<u32> {
        whole(shares, self.lot_size.get(), self.lot_reciprocal.get())
    }

    /// Notes whether [`Shard::within_limits`] has anything to look at.
    #[inline(always)]
    pub(crate) fn note_limits(&self) {
        let any = self.band_high.get() | self.dynamic_ticks.get() | self.fat_ticks.get();
        self.limited.set(u64::from(any) | self.notional_max.get());
    }

    /// Whether it takes orders: no work pending, and a state that does.
    #[inline(always)]
    fn may_trade(&self) -> u8 {
        let state = self.state.get();
        if self.work.get() != 0 {
            Reason::Continuing as u8
        } else if state == CONTINUOUS || collects(state) {
            NONE
        } else if state == State::Closed as u32 {
            Reason::MarketClosed as u8
        } else if state == State::Halted as u32 {
            Reason::InstrumentHalted as u8
        } else {
            Reason::Continuing as u8
        }
    }

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
}

/// Side of the scratch message's order.
#[inline(always)]
fn message_side(message: &MessageCells) -> u32 {
    if message.side.get() == message::BUY {
        BUY
    } else {
        SELL
    }
}

/// Whether an amount is above a limit, 0 being none.
#[inline(always)]
const fn exceeds(amount: u32, limit: u32) -> bool {
    limit != 0 && amount > limit
}

/// Whether a count has reached a limit, 0 being none.
#[inline(always)]
const fn reaches(count: u32, limit: u32) -> bool {
    limit != 0 && count >= limit
}

/// How many units make up `amount`, or `None` where there is a remainder.
#[inline(always)]
const fn whole(amount: u32, unit: u32, reciprocal: u64) -> Option<u32> {
    let units = ((amount as u64).wrapping_mul(reciprocal) >> 32) as u32;
    if units.wrapping_mul(unit) == amount {
        Some(units)
    } else {
        None
    }
}

/// How many units cover `amount`. A unit of zero, which no iceberg has, makes none.
#[inline(always)]
pub(crate) const fn whole_up(amount: u32, unit: u32) -> u32 {
    if unit == 0 || amount == 0 {
        0
    } else {
        ((amount - 1) / unit).wrapping_add(1)
    }
}

/// The flags of an order by those of its message. What never rests has none of those that say how it rests.
#[inline(always)]
fn own_flags(flags: Flags) -> u32 {
    let mut own = 0;
    if flags.0 == 0 {
        return own;
    }
    if flags.has(Flags::POST_REJECT) {
        own |= FLAG_POST_ONLY;
    }
    if flags.has(Flags::POST_SLIDE) {
        own |= FLAG_SLIDE;
    }
    if flags.has(Flags::MARKET) || flags.is_immediate() {
        return own | FLAG_IMMEDIATE;
    }
    if flags.has(Flags::HIDDEN) {
        own |= FLAG_HIDDEN;
    }
    let time = flags.time();
    if time == TimeInForce::GoodTillCancel as u8 {
        own |= FLAG_GTC;
    }
    if time == TimeInForce::GoodTillTime as u8 {
        own |= FLAG_GTT;
    }
    own
}

/// With what the extension of the message asks for.
#[inline(always)]
fn with_extension(message: &MessageCells, own: u32) -> u32 {
    let mut own = own;
    if message.trigger.get() != 0 {
        own |= FLAG_STOP;
    }
    if message.peg.get() != 0 {
        return (own & !FLAG_HIDDEN) | FLAG_PEG; // it is not displayed whether it says so or not
    }
    let display = message.display.get();
    if display != 0 && display != message.shares.get() && own & FLAG_IMMEDIATE == 0 {
        own |= FLAG_ICEBERG;
    }
    own
}

/// Whether the scratch message asks for what excludes each other.
#[inline(always)]
fn excludes(message: &MessageCells, own: u32) -> bool {
    let flags = message.flags.get();
    let time = flags.time();
    let market = flags.has(Flags::MARKET);
    let kill = time == TimeInForce::FillOrKill as u8;
    let minimum = message.minimum.get() != 0;
    let post = own & (FLAG_POST_ONLY | FLAG_SLIDE) != 0;
    let lasts =
        time == TimeInForce::GoodTillCancel as u8 || time == TimeInForce::GoodTillTime as u8;
    (own & FLAG_STOP != 0 && (kill || minimum || post || own & FLAG_PEG != 0 || (market && lasts)))
        || (own & FLAG_PEG != 0
            && (market || kill || minimum || post || message.display.get() != 0))
        || (minimum && post)
}
