//! Looking at a shard from outside while nothing is being carried out: canonical listing, book depth, invariants.

use crate::canon::{Hasher, Listing, StateHash, Tag};
use crate::limits::AMOUNT_MAX;
use crate::outbox::side_letter;
use crate::shard::{BUY, FLAG_SWEEPS, FLAGS_LISTED, Fault, NO_RANK, Order, SELL, Shard, Side};
use ring0_wire::SessionId;
use std::collections::HashMap;

/// One price level as seen from outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Depth {
    /// Price in ticks.
    pub price: u32,
    /// Open lots of its orders together.
    pub lots: u64,
    /// Orders.
    pub orders: u32,
}

impl<'a> Shard<'a> {
    /// Numbers of a listed instrument that turn ticks and lots into wire units: `(tick_size, lot_size)`, or `None`.
    #[must_use]
    pub fn wire_units(self, instrument: u32) -> Option<(u32, u32)> {
        if instrument >= self.header().instruments_max.get() {
            return None;
        }
        let instrument = self.instrument(instrument);
        (instrument.listed.get() == 1)
            .then(|| (instrument.tick_size.get(), instrument.lot_size.get()))
    }

    /// The best `levels` levels of a side (`B` or `S`) of a listed instrument, best first.
    #[must_use]
    pub fn depth(self, instrument: u32, side: u8, levels: usize) -> Vec<Depth> {
        let side_index = if side == b'B' { BUY } else { SELL };
        let side = self.instrument(instrument).side(side_index);
        self.ranks(instrument, side_index)
            .take(levels)
            .map(|rank| {
                let level = self.level(self.ladder(side, rank).get());
                Depth {
                    price: level.price.get(),
                    lots: level.lots.get(),
                    orders: level.orders.get(),
                }
            })
            .collect()
    }

    /// Balance of an open account in an asset: `(available, held, outflow, limit)`.
    #[must_use]
    pub fn balances(self, account: u32, asset: u32) -> (u64, u64, i64, u64) {
        let balance = self.balance(account, asset);
        (
            balance.available.get(),
            balance.held.get(),
            balance.outflow.get().cast_signed(),
            balance.limit.get(),
        )
    }

    /// The client sequence that a granted session must send next, or `None`.
    #[must_use]
    pub fn expected_sequence(self, session: u32) -> Option<u64> {
        if session >= self.header().sessions_max.get() {
            return None;
        }
        let session = self.session(session);
        (session.status.get() != 0).then(|| session.expected.get())
    }

    /// The id of a granted session, or `None`.
    #[must_use]
    pub fn session_id(self, session: u32) -> Option<SessionId> {
        if session >= self.header().sessions_max.get() {
            return None;
        }
        let session = self.session(session);
        let mut id = [0; 10];
        id[..8].copy_from_slice(&session.id_head.get().to_be_bytes());
        id[8..].copy_from_slice(&(session.id_tail.get() as u16).to_be_bytes());
        (session.status.get() != 0).then_some(SessionId(id))
    }

    /// The fault that stopped the shard and the command it was found in.
    #[must_use]
    pub fn broken(self) -> Option<(Option<Fault>, u64)> {
        let header = self.header();
        let number = header.broken.get();
        (number != 0).then(|| (Fault::from_number(number), header.broken_sequence.get()))
    }

    /// BLAKE3 of the canonical listing (RULES 26).
    #[must_use]
    pub fn state_hash(self) -> StateHash {
        let mut hasher = Hasher::default();
        self.list(&mut hasher);
        hasher.finish()
    }

    fn ranks(self, instrument: u32, side: u32) -> impl Iterator<Item = u32> + 'a {
        let mut rank = self.instrument(instrument).side(side).best.get();
        std::iter::from_fn(move || {
            let this = rank;
            if this == NO_RANK {
                return None;
            }
            rank = self.next_marked(instrument, side, this + 1);
            Some(this)
        })
    }

    fn level_orders(self, level_slot: u32) -> impl Iterator<Item = (u32, &'a Order)> {
        self.linked(self.level(level_slot).head.get(), |order| order.next.get())
    }

    fn session_orders(self, session: u32) -> impl Iterator<Item = (u32, &'a Order)> {
        self.linked(self.session(session).orders_head.get(), |order| {
            order.session_next.get()
        })
    }

    fn linked(
        self,
        first: u32,
        next: impl Fn(&Order) -> u32,
    ) -> impl Iterator<Item = (u32, &'a Order)> {
        let mut slot = first;
        std::iter::from_fn(move || {
            let this = slot;
            if this == 0 {
                return None;
            }
            let order = self.order(this);
            slot = next(order);
            Some((this, order))
        })
    }

    /// Hands the canonical listing to `listing`, in the order of `docs/matching.md#state-hash`.
    pub fn list(self, listing: &mut dyn Listing) {
        let header = self.header();
        listing.item(
            Tag::Shard,
            &[
                header.time_ns.get(),
                header.day_base_ns.get(),
                header.next_sequence.get(),
                header.halted.get().into(),
            ],
        );
        for index in 0..header.assets_max.get() {
            let asset = self.asset(index);
            if asset.total.get() != 0 || asset.fees.get() != 0 {
                listing.item(
                    Tag::Asset,
                    &[index.into(), asset.total.get(), asset.fees.get()],
                );
            }
        }
        for index in 0..header.instruments_max.get() {
            self.list_instrument_state(index, listing);
        }
        for index in 0..header.accounts_max.get() {
            if self.account(index).open.get() == 0 {
                continue;
            }
            listing.item(Tag::Account, &[index.into()]);
            for asset in 0..header.assets_max.get() {
                let balance = self.balance(index, asset);
                let numbers = [
                    balance.available.get(),
                    balance.held.get(),
                    balance.outflow.get(),
                    balance.limit.get(),
                ];
                if numbers != [0, 0, 0, AMOUNT_MAX] {
                    listing.item(
                        Tag::Balance,
                        &[
                            index.into(),
                            asset.into(),
                            numbers[0],
                            numbers[1],
                            numbers[2],
                            numbers[3],
                        ],
                    );
                }
            }
        }
        for index in 0..header.sessions_max.get() {
            self.list_session(index, listing);
        }
        let mut number = header.pending_first.get();
        while number != 0 {
            let (index, of_session) = self.pending_what(number);
            listing.item(
                Tag::Pending,
                &[if of_session { 2 } else { 1 }, index.into()],
            );
            number = self.pending(number).next.get();
        }
    }

    fn list_instrument_state(self, index: u32, listing: &mut dyn Listing) {
        let instrument = self.instrument(index);
        if instrument.listed.get() == 0 {
            return;
        }
        let wide = u64::from;
        listing.item(
            Tag::Instrument,
            &[
                wide(index),
                wide(instrument.halted.get()),
                instrument.symbol.get().swap_bytes(),
                wide(instrument.base_asset.get()),
                wide(instrument.quote_asset.get()),
                wide(instrument.tick_size.get()),
                wide(instrument.lot_size.get()),
                wide(instrument.tick_value.get()),
                wide(instrument.ladder_base.get()),
                instrument.lot_value.get(),
                wide(instrument.ladder_len.get()),
                wide(instrument.lots_max.get()),
                wide(instrument.band_low.get()),
                wide(instrument.band_high.get()),
                instrument.notional_max.get(),
                i64::from(instrument.maker_ppm.get().cast_signed()).cast_unsigned(),
                wide(instrument.taker_ppm.get()),
            ],
        );
        for side in [BUY, SELL] {
            let book = instrument.side(side);
            for rank in self.ranks(index, side) {
                let slot = self.ladder(book, rank).get();
                let level = self.level(slot);
                listing.item(
                    Tag::Level,
                    &[
                        wide(u32::from(side_letter(side))),
                        wide(level.price.get()),
                        wide(level.orders.get()),
                        level.lots.get(),
                    ],
                );
                for (_, order) in self.level_orders(slot) {
                    listing.item(Tag::Order, &order_numbers(order));
                }
            }
        }
        let sweep = instrument.sweep.get();
        if sweep != 0 {
            let order = self.order(sweep);
            let [a, b, c, d, e, f, g] = order_numbers(order);
            let letter = side_letter(u32::from(order.side.get()));
            listing.item(
                Tag::Sweep,
                &[a, b, c, d, e, f, g, letter.into(), order.swept.get().into()],
            );
        }
    }

    fn list_session(self, index: u32, listing: &mut dyn Listing) {
        let session = self.session(index);
        if session.status.get() == 0 {
            return;
        }
        let wide = u64::from;
        listing.item(
            Tag::Session,
            &[
                wide(index),
                session.id_head.get().swap_bytes(),
                u64::from((session.id_tail.get() as u16).swap_bytes()),
                wide(session.account.get()),
                wide(session.status.get()),
                session.expected.get(),
                wide(session.last_reference.get()),
                session.rate_state.get(),
                session.interval_ns.get(),
                wide(session.burst.get()),
                session.expires_ns.get(),
                wide(session.answers_log2.get()),
                wide(session.references_log2.get()),
            ],
        );
        let expected = session.expected.get();
        let oldest = expected
            .saturating_sub(1 << session.answers_log2.get())
            .max(1);
        for sequence in oldest..expected {
            let stored = self.stored_answer(session, sequence);
            let both = stored.reference_quantity.get();
            let result = stored.result_reason.get();
            listing.item(
                Tag::Answer,
                &[
                    sequence,
                    result & 0xFF,
                    result >> 8 & 0xFF,
                    both & 0xFFFF_FFFF,
                    both >> 32,
                    stored.sequence.get(),
                ],
            );
        }
        if session.cancelling.get() != 0 {
            let next = session.cancel_next.get();
            let next_id = if next == 0 {
                0
            } else {
                self.order(next).id.get()
            };
            listing.item(
                Tag::Cancel,
                &[
                    wide(session.cancel_locate.get()),
                    wide(session.cancel_side.get()),
                    wide(session.cancel_removal.get()),
                    next_id,
                ],
            );
        }
    }

    /// Walks the whole state and checks every invariant that the modules name.
    ///
    /// # Panics
    /// With a text that says which invariant does not hold, and where.
    pub fn check(self) {
        let header = self.header();
        assert_eq!(header.broken.get(), 0, "the shard is broken");
        let mut held = HashMap::<(u32, u32), u64>::new();
        let mut live = 0;
        let mut levels = 0;
        let mut frozen = 0;
        for index in 0..header.instruments_max.get() {
            let instrument = self.instrument(index);
            if instrument.listed.get() == 0 {
                continue;
            }
            let sweep = instrument.sweep.get();
            frozen += u32::from(sweep != 0);
            if sweep != 0 {
                assert_ne!(
                    self.order(sweep).flags.get() & FLAG_SWEEPS,
                    0,
                    "a sweep is marked as one"
                );
                live += 1;
            }
            let mut bests = [None; 2];
            for side in [BUY, SELL] {
                let book = instrument.side(side);
                self.check_bitmaps(book, instrument.ladder_len.get());
                for rank in self.ranks(index, side) {
                    let slot = self.ladder(book, rank).get();
                    assert_ne!(
                        slot, 0,
                        "instrument {index}: rank {rank} is marked and has no level"
                    );
                    let level = self.level(slot);
                    levels += 1;
                    bests[side as usize].get_or_insert(level.price.get());
                    assert_eq!(
                        instrument.rank(side, level.price.get()),
                        rank,
                        "a level stands at its price"
                    );
                    let (mut lots, mut orders, mut before) = (0, 0, 0);
                    for (slot, order) in self.level_orders(slot) {
                        assert!(order.open.get() > 0, "a resting order has open lots");
                        assert_eq!(order.prev.get(), before, "links agree");
                        assert_eq!(
                            order.flags.get() & FLAG_SWEEPS,
                            0,
                            "a resting order does not sweep"
                        );
                        assert_eq!(
                            (
                                order.price.get(),
                                order.instrument.get(),
                                u32::from(order.side.get())
                            ),
                            (level.price.get(), index, side)
                        );
                        lots += u64::from(order.open.get());
                        orders += 1;
                        before = slot;
                    }
                    assert!(orders > 0, "a level has orders");
                    assert_eq!(
                        (level.lots.get(), level.orders.get(), level.tail.get()),
                        (lots, orders, before)
                    );
                    live += orders;
                }
            }
            if let ([Some(bid), Some(ask)], 0) = (bests, sweep) {
                assert!(
                    bid < ask,
                    "instrument {index} is crossed: {bid} against {ask}"
                );
            }
        }
        assert_eq!(
            header.orders_live.get(),
            live,
            "orders in use are those in books and sweeps"
        );
        assert_eq!(
            header.levels_live.get(),
            levels,
            "levels in use are those in ladders"
        );
        assert_eq!(
            header.frozen.get(),
            frozen,
            "frozen instruments are those with a sweep"
        );
        self.check_pending(frozen);

        let mut listed = 0;
        for index in 0..header.sessions_max.get() {
            let session = self.session(index);
            let (mut orders, mut before) = (0, 0);
            for (slot, order) in self.session_orders(index) {
                assert_eq!(
                    (order.session.get(), order.session_prev.get()),
                    (index, before)
                );
                assert_eq!(
                    self.find_order(index, order.reference.get()),
                    slot,
                    "a live order is found under its reference"
                );
                let instrument = self.instrument(order.instrument.get());
                let asset = instrument.held_asset(order.side.get().into());
                *held.entry((order.account.get(), asset)).or_default() +=
                    u64::from(order.open.get()) * order.hold_per_lot.get();
                orders += 1;
                before = slot;
            }
            assert_eq!(
                (session.orders_live.get(), session.orders_tail.get()),
                (orders, before)
            );
            listed += orders;
        }
        assert_eq!(listed, live, "every order belongs to a session");

        for index in 0..header.assets_max.get() {
            let asset = self.asset(index);
            let mut sum = u128::from(asset.fees.get());
            for account in 0..header.accounts_max.get() {
                let balance = self.balance(account, index);
                sum += u128::from(balance.available.get()) + u128::from(balance.held.get());
                assert_eq!(
                    balance.held.get(),
                    held.get(&(account, index)).copied().unwrap_or(0),
                    "account {account} holds for its orders in asset {index}"
                );
            }
            assert_eq!(
                sum,
                u128::from(asset.total.get()),
                "asset {index} is conserved"
            );
        }
    }

    fn check_pending(self, frozen: u32) {
        let header = self.header();
        let (mut number, mut before, mut sweeps, mut cancels) =
            (header.pending_first.get(), 0, 0, 0);
        while number != 0 {
            let (index, of_session) = self.pending_what(number);
            let pends = if of_session {
                cancels += 1;
                self.session(index).cancelling.get()
            } else {
                sweeps += 1;
                self.instrument(index).sweep.get()
            };
            assert_ne!(pends, 0, "what is queued pends");
            assert_eq!(self.pending(number).prev.get(), before, "links agree");
            before = number;
            number = self.pending(number).next.get();
        }
        assert_eq!(
            (header.pending_last.get(), header.pending_count.get()),
            (before, sweeps + cancels)
        );
        let pending = (0..header.sessions_max.get())
            .filter(|&index| self.session(index).cancelling.get() != 0);
        assert_eq!(
            (sweeps, cancels as usize),
            (frozen, pending.count()),
            "what pends is queued"
        );
    }

    fn check_bitmaps(self, side: &Side, ladder_len: u32) {
        let mut best = NO_RANK;
        for rank in 0..ladder_len {
            let marked = self.is_marked(side, 0, rank);
            assert_eq!(
                marked,
                self.ladder(side, rank).get() != 0,
                "a rank's bit says whether it has a level"
            );
            if marked && best == NO_RANK {
                best = rank;
            }
        }
        assert_eq!(side.best.get(), best, "best is the lowest rank marked");
        let mut bits = ladder_len;
        for height in 1..4 {
            let words = bits.div_ceil(64);
            for word in 0..words {
                assert_eq!(
                    self.is_marked(side, height, word),
                    self.bits_word(side, height - 1, word) != 0
                );
            }
            bits = words;
        }
    }

    fn is_marked(self, side: &Side, height: usize, place: u32) -> bool {
        self.bits_word(side, height, place >> 6) >> (place & 63) & 1 == 1
    }
}

fn order_numbers(order: &Order) -> [u64; 7] {
    [
        order.id.get(),
        order.session.get().into(),
        order.account.get().into(),
        order.reference.get().into(),
        order.price.get().into(),
        order.open.get().into(),
        (order.flags.get() & FLAGS_LISTED).into(),
    ]
}
