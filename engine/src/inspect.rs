//! Looking at a shard from outside while nothing is being carried out: canonical listing, book depth, invariants.

use crate::cancel::{ACCOUNT, SESSION};
use crate::canon::{Hasher, Listing, StateHash, Tag};
use crate::ladder::{price_of, rank};
use crate::layout::EXPIRY_PLACES;
use crate::limits::{AMOUNT_MAX, PEG_QUEUES_MAX};
use crate::record::{Removal, State, Work};
use crate::shard::{
    BOOKS, BUY, FLAG_GTT, FLAG_HIDDEN, FLAG_ICEBERG, FLAG_IMMEDIATE, FLAG_OVERFLOWED, FLAG_PEG,
    FLAG_STOP, FLAG_SWEEPS, FLAGS_LISTED, Fault, HIDDEN, Instrument, Mass, NO_RANK, NOWHERE, Order,
    PEGS, SELL, STOPS, Shard, Side,
};
use ring0_wire::SessionId;
use std::collections::{HashMap, HashSet};

/// One price level as seen from outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Depth {
    /// Price in ticks.
    pub price: u32,
    /// Lots displayed of its orders together.
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

    /// The state of a listed instrument's market, or `None`.
    #[must_use]
    pub fn market_state(self, instrument: u32) -> Option<State> {
        if instrument >= self.header().instruments_max.get() {
            return None;
        }
        let instrument = self.instrument(instrument);
        (instrument.listed.get() == 1)
            .then(|| State::from_number(instrument.state.get() as u8))
            .flatten()
    }

    /// The best `levels` displayed levels of a side (`B` or `S`) of a listed instrument, best first.
    #[must_use]
    pub fn depth(self, instrument: u32, side: u8, levels: usize) -> Vec<Depth> {
        let side = if side == b'B' { BUY } else { SELL };
        self.book_levels(instrument, side)
            .take(levels)
            .map(|(_, slot)| {
                let level = self.level(slot);
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

    /// Rank and level slot of every level of a book, best first.
    pub(crate) fn book_levels(
        self,
        instrument: u32,
        book: u32,
    ) -> impl Iterator<Item = (u32, u32)> + 'a {
        let mut rank = self.instrument(instrument).best(book).get();
        std::iter::from_fn(move || {
            let this = rank;
            if this == NO_RANK {
                return None;
            }
            rank = self.next_marked(instrument, book, this + 1);
            let ladder = self.instrument(instrument).side(book);
            Some((this, self.ladder_place(ladder, this).get()))
        })
    }

    /// Level slot of every peg queue of a side, as made.
    fn peg_queues(self, instrument: u32, side: u32) -> impl Iterator<Item = u32> + 'a {
        self.chain(
            self.instrument(instrument).queues(side).get(),
            move |slot| self.level(slot).next_queue.get(),
        )
    }

    /// Slot and order of everything in a level, oldest first.
    pub(crate) fn level_orders(
        self,
        level_slot: u32,
    ) -> impl Iterator<Item = (u32, &'a Order)> + 'a {
        self.chain(self.level(level_slot).head.get(), move |slot| {
            self.order(slot).next.get()
        })
        .map(move |slot| (slot, self.order(slot)))
    }

    /// Overflowed orders of a session, as they moved.
    fn overflowed(self, session: u32) -> impl Iterator<Item = u32> + 'a {
        self.chain(self.session(session).overflow_head.get(), move |slot| {
            self.terms(slot).overflow_next.get()
        })
    }

    /// Seconds that have good-till-time orders, earliest first.
    fn seconds(self) -> impl Iterator<Item = u32> + 'a {
        let side = &self.header().expiry;
        (0..EXPIRY_PLACES / 64).flat_map(move |word| {
            let some = |bits: u64| (bits != 0).then_some(bits);
            let bits = some(self.bits_word(side, 0, word));
            std::iter::successors(bits, move |bits| some(bits & (bits - 1)))
                .map(move |bits| word * 64 + bits.trailing_zeros())
        })
    }

    /// Good-till-time orders of a second that has any.
    fn second_orders(self, second: u32) -> impl Iterator<Item = u32> + 'a {
        let first = self.ladder_place(&self.header().expiry, second).get();
        self.chain(first, move |slot| {
            let next = self.terms(slot).expiry_next.get();
            if next == first { 0 } else { next }
        })
    }

    fn chain(self, first: u32, next: impl Fn(u32) -> u32 + 'a) -> impl Iterator<Item = u32> + 'a {
        let slot = |slot| (slot != 0).then_some(slot);
        std::iter::successors(slot(first), move |&at| slot(next(at)))
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
                header.day.get().into(),
                header.midnight_ns.get(),
                header.expired_s.get().into(),
                header.expiring.get().into(),
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
            self.list_account(index, listing);
        }
        for index in 0..header.sessions_max.get() {
            self.list_session(index, listing);
        }
        for second in self.seconds() {
            for slot in self.second_orders(second) {
                listing.item(Tag::Expiring, &[second.into(), self.order(slot).id.get()]);
            }
        }
        for number in self.pending_numbers() {
            let (kind, index) = self.pending_what(number);
            listing.item(Tag::Pending, &[kind, index.into()]);
        }
    }

    /// Numbers of the pending continuations, the next one first.
    pub(crate) fn pending_numbers(self) -> impl Iterator<Item = u32> + 'a {
        self.chain(self.header().pending_first.get(), move |number| {
            self.pending(number).next.get()
        })
    }

    /// What a number among the pending continuations is, as in the listing, and its index.
    pub(crate) fn pending_what(self, number: u32) -> (u64, u32) {
        let (sessions, accounts) = (self.mass_number(SESSION, 0), self.mass_number(ACCOUNT, 0));
        if number < sessions {
            (1, number - 1)
        } else if number < accounts {
            (2, number - sessions)
        } else if number < self.expiry_number() {
            (3, number - accounts)
        } else {
            (4, 0)
        }
    }

    /// Id of the order in a slot, or 0 where there is none.
    fn id_of(self, slot: u32) -> u64 {
        if slot == 0 {
            0
        } else {
            self.order(slot).id.get()
        }
    }

    fn list_order(self, slot: u32, shown: u32, listing: &mut dyn Listing) {
        let (order, terms) = (self.order(slot), self.terms(slot));
        let flags = order.flags();
        let with = |flag: u32, number: u32| u64::from(if flags & flag == 0 { 0 } else { number });
        listing.item(
            Tag::Order,
            &[
                order.id.get(),
                order.session().into(),
                order.account.get().into(),
                order.reference.get().into(),
                order.price.get().into(),
                order.open.get().into(),
                (flags & FLAGS_LISTED).into(),
                order.stp().into(),
                shown.into(),
                with(FLAG_ICEBERG, terms.peak.get()),
                with(FLAG_GTT, terms.expiry_s.get()),
                with(FLAG_STOP, terms.limit.get()),
            ],
        );
    }

    fn list_level_orders(self, level: u32, listing: &mut dyn Listing) {
        for (slot, _) in self.level_orders(level) {
            self.list_order(slot, self.displayed(slot), listing);
        }
    }

    fn list_instrument_state(self, index: u32, listing: &mut dyn Listing) {
        let instrument = self.instrument(index);
        if instrument.listed.get() == 0 {
            let port = instrument.route.get();
            if port != 0 {
                listing.item(Tag::Route, &[index.into(), port.into()]);
            }
            return;
        }
        let wide = u64::from;
        listing.item(
            Tag::Instrument,
            &[
                wide(index),
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
                wide(instrument.state.get()),
                wide(instrument.dynamic_ticks.get()),
                wide(instrument.fat_ticks.get()),
                wide(instrument.pause_ticks.get()),
                wide(instrument.reference.get()),
                wide(instrument.last.get()),
                wide(instrument.auction.get()),
                wide(instrument.pause_low.get()),
                wide(instrument.pause_high.get()),
            ],
        );
        for book in 0..BOOKS as u32 {
            for (_, slot) in self.book_levels(index, book) {
                let level = self.level(slot);
                listing.item(
                    Tag::Level,
                    &[
                        wide(book),
                        wide(level.price.get()),
                        wide(level.orders.get()),
                        level.lots.get(),
                    ],
                );
                self.list_level_orders(slot, listing);
            }
        }
        for side in [BUY, SELL] {
            for slot in self.peg_queues(index, side) {
                let level = self.level(slot);
                let peg = level.peg.get();
                listing.item(
                    Tag::Queue,
                    &[
                        wide(side),
                        wide(peg & 0xFF),
                        wide(peg >> 8 & 0xFF),
                        wide(level.price.get()),
                        wide(level.orders.get()),
                        level.lots.get(),
                    ],
                );
                self.list_level_orders(slot, listing);
            }
        }
        self.list_work(instrument, listing);
    }

    fn list_work(self, instrument: &Instrument, listing: &mut dyn Listing) {
        let wide = u64::from;
        let work = instrument.work.get();
        if work == Work::Sweep as u32 {
            let slot = instrument.sweep.get();
            let order = self.order(slot);
            listing.item(
                Tag::Work,
                &[
                    wide(work),
                    order.side().into(),
                    wide(instrument.sweep_filled.get()),
                    wide(instrument.peg_bid.get()),
                    wide(instrument.peg_ask.get()),
                ],
            );
            self.list_order(slot, 0, listing);
        } else if work == Work::Uncross as u32 {
            listing.item(
                Tag::Work,
                &[
                    wide(work),
                    wide(instrument.cross_price.get()),
                    wide(instrument.cross_then.get()),
                    instrument.cross_volume.get(),
                ],
            );
        } else if work == Work::Purge as u32 {
            let removal = instrument.purge_removal();
            let moves = removal == Removal::OffLadder as u32;
            let new = |number: u32| u64::from(if moves { number } else { 0 });
            listing.item(
                Tag::Work,
                &[
                    wide(work),
                    wide(removal),
                    wide(instrument.purge_side()),
                    wide(instrument.purge_book.get()),
                    self.id_of(instrument.purge_next.get()),
                    new(instrument.move_base.get()),
                    new(instrument.move_len.get()),
                ],
            );
        } else if work != 0 {
            listing.item(Tag::Work, &[wide(work)]);
        }
    }

    fn list_account(self, index: u32, listing: &mut dyn Listing) {
        let account = self.account(index);
        if account.open.get() == 0 {
            return;
        }
        listing.item(
            Tag::Account,
            &[
                index.into(),
                account.killed.get().into(),
                account.stp.get().into(),
                account.group.get().into(),
                account.orders_max.get().into(),
                account.shares_max.get().into(),
                account.notional_max.get(),
                account.rate_state.get(),
                account.interval_ns.get(),
                account.burst.get().into(),
            ],
        );
        for asset in 0..self.header().assets_max.get() {
            let balance = self.balance(index, asset);
            let numbers = [
                balance.available.get(),
                balance.held.get(),
                balance.outflow.get(),
                balance.limit.get(),
            ];
            if numbers != [0, 0, 0, AMOUNT_MAX] {
                let [available, held, outflow, limit] = numbers;
                listing.item(
                    Tag::Balance,
                    &[index.into(), asset.into(), available, held, outflow, limit],
                );
            }
        }
        let transfers = self.transfers(index);
        let number = transfers.number.get();
        if number != 0 {
            let (asset, to) = (transfers.asset.get(), transfers.to.get());
            let amount = transfers.amount.get();
            listing.item(
                Tag::Transfer,
                &[index.into(), number, amount, asset.into(), to.into()],
            );
        }
        for (from, number) in (0..).zip(&transfers.credited) {
            if number.get() != 0 {
                listing.item(Tag::Credited, &[index.into(), from, number.get()]);
            }
        }
        self.list_mass(&account.mass, listing);
    }

    fn list_mass(self, mass: &Mass, listing: &mut dyn Listing) {
        if mass.removal.get() != 0 {
            listing.item(
                Tag::Mass,
                &[
                    mass.locate.get().into(),
                    mass.side.get().into(),
                    mass.removal.get().into(),
                    mass.session.get().into(),
                    mass.place.get().into(),
                    self.id_of(mass.overflowed.get()),
                ],
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
                wide(session.orders_max.get()),
                wide(session.shares_max.get()),
                session.notional_max.get(),
                wide(session.cancel_on_disconnect.get()),
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
        for slot in self.overflowed(index) {
            listing.item(Tag::Overflowed, &[self.order(slot).id.get()]);
        }
        self.list_mass(&session.mass, listing);
    }

    /// Walks the whole state and checks every invariant that the modules name.
    ///
    /// # Panics
    /// With a text that says which invariant does not hold, and where.
    pub fn check(self) {
        let header = self.header();
        assert_eq!(header.broken.get(), 0, "the shard is broken");
        let mut found = Found::default();
        for index in 0..header.instruments_max.get() {
            self.check_instrument(index, &mut found);
        }
        assert_eq!(
            header.orders_live.get() as usize,
            found.orders.len(),
            "orders in use are those in books, queues and sweeps"
        );
        assert_eq!(
            header.levels_live.get(),
            found.levels,
            "levels in use are those in ladders and queues"
        );
        assert_eq!(
            header.frozen.get(),
            found.frozen,
            "frozen instruments are those with work"
        );
        assert_eq!(
            header.instruments_open.get(),
            found.open,
            "open instruments are those listed and not closed"
        );
        self.check_sessions(&found);
        self.check_accounts(&found);
        self.check_expiry(&found);
        self.check_pending();
        self.check_money(&found);
    }

    fn check_instrument(self, index: u32, found: &mut Found) {
        let instrument = self.instrument(index);
        for book in 0..BOOKS as u32 {
            if instrument.places.get() != 0 {
                self.check_bitmaps(instrument.side(book));
            }
        }
        if instrument.listed.get() == 0 {
            assert_eq!(instrument.work.get(), 0, "what is not listed has no work");
            if instrument.places.get() != 0 {
                for book in 0..BOOKS as u32 {
                    assert_eq!(
                        instrument.best(book).get(),
                        NO_RANK,
                        "what is not listed has no orders"
                    );
                }
            }
            return;
        }
        let state = instrument.state.get();
        found.open += u32::from(state != State::Closed as u32);
        let work = instrument.work.get();
        found.frozen += u32::from(work != 0);
        assert!(work <= Work::Purge as u32, "work of an instrument");
        assert!(instrument.ladder_len.get() <= instrument.places.get());
        for price in [
            instrument.reference.get(),
            instrument.last.get(),
            instrument.auction.get(),
            instrument.pause_low.get(),
            instrument.pause_high.get(),
        ] {
            assert!(
                price == 0 || instrument.has_price(price),
                "instrument {index}: {price} is off the ladder"
            );
        }
        if work == Work::Sweep as u32 {
            let slot = instrument.sweep.get();
            let order = self.order(slot);
            assert_ne!(order.flags() & FLAG_SWEEPS, 0, "a sweep is marked as one");
            assert_eq!(order.instrument(), index);
            assert_eq!(order.book(), NOWHERE, "a sweep stands nowhere");
            self.check_order(slot, found);
        } else {
            assert_eq!(
                instrument.sweep.get(),
                0,
                "without that work no order sweeps"
            );
        }
        for book in 0..BOOKS as u32 {
            for (at, slot) in self.book_levels(index, book) {
                assert_ne!(
                    slot, 0,
                    "instrument {index}: rank {at} of book {book} is marked and has no level"
                );
                let price = self.level(slot).price.get();
                assert_eq!(
                    (rank(book, price), price_of(book, at)),
                    (at, price),
                    "a level stands at its price"
                );
                assert!(
                    instrument.has_price(price),
                    "instrument {index}: level {price} of book {book} is off the ladder"
                );
                self.check_level(index, book, slot, found);
            }
        }
        for side in [BUY, SELL] {
            let mut kinds = HashSet::new();
            for slot in self.peg_queues(index, side) {
                let level = self.level(slot);
                assert!(
                    kinds.insert((level.price.get(), level.peg.get())),
                    "a kind, offset and limit has one queue"
                );
                self.check_level(index, PEGS + side, slot, found);
            }
            assert!(kinds.len() <= PEG_QUEUES_MAX as usize);
        }
        if state == State::Continuous as u32 {
            let (bid, ask) = (
                price_of(BUY, instrument.best_resting(BUY)),
                instrument.best_resting(SELL),
            );
            assert!(
                bid < ask,
                "instrument {index} is crossed: {bid} against {ask}"
            );
        }
        self.check_purge(index);
    }

    /// A purge stands at an order of the book that it names.
    fn check_purge(self, index: u32) {
        let instrument = self.instrument(index);
        let next = instrument.purge_next.get();
        if next != 0 {
            assert_eq!(instrument.work.get(), Work::Purge as u32);
            let order = self.order(next);
            assert_eq!(
                (order.instrument(), order.book()),
                (index, instrument.purge_book.get()),
                "a purge stands at an order of its book"
            );
        }
    }

    fn check_level(self, index: u32, book: u32, at: u32, found: &mut Found) {
        let level = self.level(at);
        found.levels += 1;
        let (mut lots, mut orders, mut before) = (0, 0, 0);
        for (slot, order) in self.level_orders(at) {
            let flags = order.flags();
            assert_eq!(order.prev.get(), before, "links agree");
            assert_eq!(
                (
                    order.instrument(),
                    order.book(),
                    order.side(),
                    order.price.get()
                ),
                (index, book, book & 1, level.price.get()),
                "an order stands where it says"
            );
            assert_eq!(flags & FLAG_SWEEPS, 0, "what stands does not sweep");
            assert!(
                flags & FLAG_IMMEDIATE == 0 || flags & FLAG_STOP != 0,
                "nothing immediate stands but a stop that waits"
            );
            assert_eq!(flags & FLAG_STOP != 0, (STOPS..PEGS).contains(&book));
            assert_eq!(flags & FLAG_PEG != 0, book >= PEGS);
            if (HIDDEN..STOPS).contains(&book) {
                assert_ne!(flags & FLAG_HIDDEN, 0);
            }
            if book >= PEGS {
                assert_eq!(self.terms(slot).peg.get(), level.peg.get());
            }
            if book < HIDDEN {
                let displayed = self.displayed(slot);
                assert!(
                    displayed > 0 && displayed <= order.open.get(),
                    "an order displays lots that it has"
                );
                lots += u64::from(displayed);
            } else {
                lots += u64::from(order.open.get());
            }
            self.check_order(slot, found);
            orders += 1;
            before = slot;
        }
        assert!(orders > 0, "a level has orders");
        assert_eq!(
            (level.lots.get(), level.orders.get(), level.tail.get()),
            (lots, orders, before),
            "a level sums its orders"
        );
    }

    /// A live order, wherever it is.
    fn check_order(self, slot: u32, found: &mut Found) {
        let order = self.order(slot);
        let id = order.id.get();
        assert!(found.orders.insert(slot), "order {id} is met once");
        assert!(order.open.get() > 0, "order {id} has open lots");
        let session = order.session();
        assert_eq!(
            order.account.get(),
            self.session(session).account.get(),
            "order {id} is of its session's account"
        );
        assert_eq!(
            self.find_order(session, order.reference.get()),
            slot,
            "order {id} is found under its reference"
        );
        let (instrument, side) = (self.instrument(order.instrument()), order.side());
        let hold = u64::from(order.open.get()) * order.hold_per_lot.get();
        let balance = (order.account.get(), instrument.held_asset(side));
        *found.held.entry(balance).or_default() += hold;
        let of_session = found.sessions.entry(session).or_default();
        of_session.orders += 1;
        of_session.overflowed += u32::from(order.flags() & FLAG_OVERFLOWED != 0);
        *found.accounts.entry(order.account.get()).or_default() += 1;
        let stands = order.book() != NOWHERE;
        let listed = self.terms(slot).expiry_next.get() != 0;
        assert_eq!(
            listed,
            stands && order.flags() & FLAG_GTT != 0,
            "order {id} is in the list of its second while it stands"
        );
        found.expiring += u32::from(listed);
    }

    fn check_sessions(self, found: &Found) {
        let header = self.header();
        for index in 0..header.sessions_max.get() {
            let session = self.session(index);
            let of_session = found.sessions.get(&index).copied().unwrap_or_default();
            if session.status.get() == 0 {
                assert_eq!(of_session.orders, 0, "what is not granted has no orders");
                continue;
            }
            assert_eq!(
                session.orders_live.get(),
                of_session.orders,
                "session {index} counts its orders"
            );
            let mut in_window = 0;
            for place in 0..1 << session.references_log2.get() {
                let slot = self.reference_place(session, place).get();
                assert_eq!(
                    self.reference_word(session, place).get() >> (place & 63) & 1 != 0,
                    slot != 0,
                    "a place's bit says whether it has an order"
                );
                if slot != 0 {
                    in_window += 1;
                    let order = self.order(slot);
                    assert!(
                        found.orders.contains(&slot),
                        "a reference names a live order"
                    );
                    assert_eq!(
                        (order.session(), order.flags() & FLAG_OVERFLOWED),
                        (index, 0)
                    );
                }
            }
            let (mut overflowed, mut before) = (0, 0);
            for slot in self.overflowed(index) {
                let order = self.order(slot);
                assert!(found.orders.contains(&slot), "an overflowed order is live");
                assert_eq!(order.session(), index);
                assert_ne!(order.flags() & FLAG_OVERFLOWED, 0);
                assert_eq!(self.terms(slot).overflow_prev.get(), before, "links agree");
                overflowed += 1;
                before = slot;
            }
            assert_eq!(
                (session.overflow_tail.get(), overflowed, in_window),
                (
                    before,
                    of_session.overflowed,
                    of_session.orders - overflowed
                ),
                "session {index}: every order stands in the window or is overflowed"
            );
        }
    }

    fn check_accounts(self, found: &Found) {
        let header = self.header();
        let mut granted = 0;
        for index in 0..header.accounts_max.get() {
            let account = self.account(index);
            assert_eq!(
                account.orders_live.get(),
                found.accounts.get(&index).copied().unwrap_or(0),
                "account {index} counts its orders"
            );
            let ahead = account
                .rate_state
                .get()
                .saturating_sub(header.time_ns.get());
            assert!(
                ahead <= u64::from(account.burst.get()) * account.interval_ns.get(),
                "account {index} is charged a burst at most"
            );
            let sessions = self.chain(account.sessions_head.get(), move |own| {
                self.session(own - 1).account_next.get()
            });
            let mut before = 0;
            for own in sessions {
                let session = self.session(own - 1);
                assert_ne!(session.status.get(), 0, "an account lists granted sessions");
                assert_eq!(
                    (session.account.get(), session.account_prev.get()),
                    (index, before)
                );
                granted += 1;
                before = own;
            }
            assert_eq!(account.sessions_tail.get(), before);
        }
        let all = (0..header.sessions_max.get()).filter(|&it| self.session(it).status.get() != 0);
        assert_eq!(
            granted,
            all.count(),
            "every session is listed by its account"
        );
    }

    fn check_expiry(self, found: &Found) {
        let side = &self.header().expiry;
        self.check_heights(side);
        let mut listed = 0;
        for second in self.seconds() {
            let first = self.ladder_place(side, second).get();
            assert_ne!(first, 0, "second {second} is marked and has no order");
            let mut last = 0;
            for slot in self.second_orders(second) {
                assert!(found.orders.contains(&slot), "a list has live orders");
                let terms = self.terms(slot);
                assert_eq!(terms.expiry_s.get(), second);
                if last != 0 {
                    assert_eq!(terms.expiry_prev.get(), last, "links agree");
                }
                last = slot;
                listed += 1;
            }
            assert_eq!(self.terms(first).expiry_prev.get(), last, "links agree");
        }
        assert_eq!(
            listed, found.expiring,
            "good-till-time orders stand in the list of their second"
        );
    }

    fn check_pending(self) {
        let header = self.header();
        let (mut frozen, mut leaving, mut before) = (0, 0, 0);
        for number in self.pending_numbers() {
            let (kind, index) = self.pending_what(number);
            let pends = match kind {
                1 => self.instrument(index).work.get(),
                2 => self.session(index).mass.removal.get(),
                3 => self.account(index).mass.removal.get(),
                _ => header.expiring.get(),
            };
            assert_ne!(pends, 0, "what is queued pends");
            assert_eq!(self.pending(number).prev.get(), before, "links agree");
            frozen += u32::from(kind == 1);
            leaving += u32::from(kind != 1);
            before = number;
        }
        assert_eq!(
            (header.pending_last.get(), header.pending_count.get()),
            (before, frozen + leaving)
        );
        assert_eq!(
            (header.frozen.get(), header.leaving.get()),
            (frozen, leaving),
            "queued instruments are the frozen ones, the others what takes orders away"
        );
        let sessions = (0..header.sessions_max.get())
            .filter(|&index| self.session(index).mass.removal.get() != 0)
            .count();
        let accounts = (0..header.accounts_max.get())
            .filter(|&index| self.account(index).mass.removal.get() != 0)
            .count();
        assert_eq!(
            leaving as usize,
            sessions + accounts + header.expiring.get() as usize,
            "what pends is queued"
        );
    }

    fn check_money(self, found: &Found) {
        let header = self.header();
        for index in 0..header.assets_max.get() {
            let asset = self.asset(index);
            let mut sum = u128::from(asset.fees.get());
            for account in 0..header.accounts_max.get() {
                let balance = self.balance(account, index);
                sum += u128::from(balance.available.get()) + u128::from(balance.held.get());
                assert_eq!(
                    balance.held.get(),
                    found.held.get(&(account, index)).copied().unwrap_or(0),
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

    /// Every place's bit says whether it has a level, and the other heights follow.
    fn check_bitmaps(self, side: &Side) {
        for place in 0..=side.mask.get() {
            assert_eq!(
                self.is_marked(side, 0, place),
                self.ladder_place(side, place).get() != 0,
                "a place's bit says whether it has a level"
            );
        }
        self.check_heights(side);
    }

    fn check_heights(self, side: &Side) {
        let mut bits = side.mask.get() + 1;
        for height in 1..4 {
            let words = bits.div_ceil(64);
            for word in 0..words {
                assert_eq!(
                    self.is_marked(side, height, word),
                    self.bits_word(side, height - 1, word) != 0,
                    "a bit says whether the word below it is not zero"
                );
            }
            bits = words;
        }
    }

    fn is_marked(self, side: &Side, height: usize, place: u32) -> bool {
        self.bits_word(side, height, place >> 6) >> (place & 63) & 1 == 1
    }
}

/// What the books of a shard were found to have.
#[derive(Default)]
struct Found {
    orders: HashSet<u32>,
    levels: u32,
    frozen: u32,
    open: u32,
    expiring: u32,
    /// Amount held by account and asset.
    held: HashMap<(u32, u32), u64>,
    sessions: HashMap<u32, OfSession>,
    /// Live orders by account.
    accounts: HashMap<u32, u32>,
}

#[derive(Clone, Copy, Default)]
struct OfSession {
    orders: u32,
    overflowed: u32,
}
