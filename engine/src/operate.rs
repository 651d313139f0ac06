//! Control commands carried out. Rule: `docs/matching.md#control-commands`; bodies in `control.rs`.

use crate::Reason;
use crate::control::{ControlKind, Deposit, Grant, List, SetLimit, SettlementMark};
use crate::limits::{AMOUNT_MAX, ANSWERS_LOG2, FEE_PPM_MAX, REFERENCES_LOG2};
use crate::money::{amount_product, buy_hold_per_lot};
use crate::outbox::{Done, Recorder};
use crate::shard::{BUY, NO_RANK, OPEN, SELL, Shard, Side};
use core::mem::offset_of;

const DONE: Done = Done::accepted(0);

/// A word of a body, by field; for fields of 8 bytes.
macro_rules! word {
    ($shard:expr, $body:ty, $field:ident) => {{
        const AT: usize = offset_of!($body, $field);
        const _: () = assert!(AT % 8 == 0);
        $shard.control_body((AT / 8) as u32)
    }};
}

/// Half a word of a body, by field; for fields of 4 bytes.
macro_rules! half {
    ($shard:expr, $body:ty, $field:ident) => {{
        const AT: usize = offset_of!($body, $field);
        const _: () = assert!(AT % 4 == 0);
        ($shard.control_body((AT / 8) as u32) >> (AT % 8 * 8)) as u32
    }};
}

const fn rejected(reason: Reason) -> Done {
    Done::rejected(reason as u8)
}

impl Shard<'_> {
    /// Carries out one control command whose body `word(0)` … `word(11)` gives, records it and publishes. A broken shard takes none:
    /// false.
    #[inline(always)]
    pub fn control<R: Recorder>(
        self,
        kind: u32,
        boot_ns: u64,
        recorder: &R,
        word: impl Fn(u32) -> u64,
    ) -> bool {
        let header = self.header();
        if header.broken.get() != 0 {
            return false;
        }
        header.packet_work.set(0);
        if kind == ControlKind::Clock as u32 {
            header.day_base_ns.set(word(0));
        }
        header.time_ns.set(self.now(boot_ns));
        self.record_control(kind);
        self.record_control_body(0, word(0));
        self.record_control_body(1, word(1));
        self.record_control_body(2, word(2));
        self.record_control_body(3, word(3));
        self.record_control_body(4, word(4));
        self.record_control_body(5, word(5));
        self.record_control_body(6, word(6));
        self.record_control_body(7, word(7));
        self.record_control_body(8, word(8));
        self.record_control_body(9, word(9));
        self.record_control_body(10, word(10));
        self.record_control_body(11, word(11));
        let done = self.operate(kind);
        self.record_control_result(done);
        self.publish(recorder);
        true
    }

    #[inline(never)]
    fn operate(self, kind: u32) -> Done {
        const CLOCK: u32 = ControlKind::Clock as u32;
        const OPEN_ACCOUNT: u32 = ControlKind::OpenAccount as u32;
        const DEPOSIT: u32 = ControlKind::Deposit as u32;
        const WITHDRAW: u32 = ControlKind::Withdraw as u32;
        const SET_LIMIT: u32 = ControlKind::SetLimit as u32;
        const SETTLEMENT_MARK: u32 = ControlKind::SettlementMark as u32;
        const LIST: u32 = ControlKind::List as u32;
        const HALT_INSTRUMENT: u32 = ControlKind::HaltInstrument as u32;
        const RESUME_INSTRUMENT: u32 = ControlKind::ResumeInstrument as u32;
        const GRANT: u32 = ControlKind::GrantSession as u32;
        const CLOSE: u32 = ControlKind::CloseSession as u32;
        const KILL: u32 = ControlKind::KillSession as u32;
        const REVIVE: u32 = ControlKind::ReviveSession as u32;
        const HALT_SHARD: u32 = ControlKind::HaltShard as u32;
        const RESUME_SHARD: u32 = ControlKind::ResumeShard as u32;
        match kind {
            CLOCK => DONE, // the day base was set before the command's time
            OPEN_ACCOUNT => self.open_account(),
            DEPOSIT => self.deposit(true),
            WITHDRAW => self.deposit(false),
            SET_LIMIT => self.set_limit(),
            SETTLEMENT_MARK => self.settlement_mark(),
            LIST => self.list_instrument(),
            HALT_INSTRUMENT => self.halt_instrument(1),
            RESUME_INSTRUMENT => self.halt_instrument(0),
            GRANT => self.grant_session(),
            CLOSE | KILL | REVIVE => self.change_session(kind),
            HALT_SHARD => {
                self.header().halted.set(1);
                DONE
            }
            RESUME_SHARD => {
                self.header().halted.set(0);
                DONE
            }
            _ => rejected(Reason::UnknownControl),
        }
    }

    #[inline(always)]
    fn open_account(self) -> Done {
        let header = self.header();
        let index = half!(self, crate::control::OpenAccount, account);
        if index >= header.accounts_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let account = self.account(index);
        if account.open.get() != 0 {
            return rejected(Reason::AccountOpen);
        }
        let mut asset = crate::region::zero();
        while asset < header.assets_max.get() && asset < 256 {
            if !crate::region::can_loop() {
                self.fault(crate::shard::Fault::LoopBudget);
                return DONE;
            }
            self.balance(index, asset).limit.set(AMOUNT_MAX);
            asset = asset.wrapping_add(1);
        }
        account.open.set(1);
        DONE
    }

    /// Account and asset of a body that begins with them; or the reason against them.
    #[inline(always)]
    fn account_and_asset(self) -> (u32, u32, u8) {
        const _: () = {
            assert!(offset_of!(Deposit, account) == 0 && offset_of!(Deposit, asset) == 4);
            assert!(offset_of!(SetLimit, account) == 0 && offset_of!(SetLimit, asset) == 4);
            assert!(
                offset_of!(SettlementMark, account) == 0 && offset_of!(SettlementMark, asset) == 4
            );
        };
        let header = self.header();
        let both = self.control_body(0);
        let (account, asset) = (both as u32, (both >> 32) as u32);
        let reason = if account >= header.accounts_max.get() || asset >= header.assets_max.get() {
            Reason::IndexOutOfRange
        } else if self.account(account).open.get() == 0 {
            Reason::UnknownAccount
        } else {
            Reason::None
        };
        (account, asset, reason as u8)
    }

    #[inline(always)]
    fn deposit(self, adds: bool) -> Done {
        let (account, asset, reason) = self.account_and_asset();
        if reason != 0 {
            return Done::rejected(reason);
        }
        let amount = word!(self, Deposit, amount);
        let balance = self.balance(account, asset);
        let total = &self.asset(asset).total;
        if adds {
            if amount == 0 || amount > AMOUNT_MAX.wrapping_sub(total.get()) {
                return rejected(Reason::BadAmount);
            }
            balance
                .available
                .set(balance.available.get().wrapping_add(amount));
            total.set(total.get().wrapping_add(amount));
            return DONE;
        }
        if amount == 0 {
            return rejected(Reason::BadAmount);
        }
        if amount > balance.available.get() {
            return rejected(Reason::Funds);
        }
        balance
            .available
            .set(balance.available.get().wrapping_sub(amount));
        total.set(total.get().wrapping_sub(amount));
        DONE
    }

    #[inline(always)]
    fn set_limit(self) -> Done {
        let (account, asset, reason) = self.account_and_asset();
        if reason != 0 {
            return Done::rejected(reason);
        }
        let limit = word!(self, SetLimit, limit);
        if limit > AMOUNT_MAX {
            return rejected(Reason::BadAmount);
        }
        self.balance(account, asset).limit.set(limit);
        DONE
    }

    #[inline(always)]
    fn settlement_mark(self) -> Done {
        let (account, asset, reason) = self.account_and_asset();
        if reason != 0 {
            return Done::rejected(reason);
        }
        let covered = word!(self, SettlementMark, covered);
        let balance = self.balance(account, asset);
        let outflow = balance.outflow.get();
        let after = outflow.wrapping_sub(covered);
        // Signed overflow: the operands differ in sign and the result has not the sign of the first.
        let overflowed = ((outflow ^ covered) & (outflow ^ after)) >> 63 != 0;
        if overflowed || after == 1 << 63 {
            return rejected(Reason::BadAmount);
        }
        balance.outflow.set(after);
        DONE
    }

    #[inline(always)]
    fn halt_instrument(self, halted: u32) -> Done {
        let index = half!(self, crate::control::Target, index);
        if index >= self.header().instruments_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() == 0 {
            return rejected(Reason::UnknownInstrument);
        }
        instrument.halted.set(halted);
        DONE
    }

    #[inline(never)]
    fn list_instrument(self) -> Done {
        let header = self.header();
        let index = half!(self, List, instrument);
        let halted = half!(self, List, halted);
        let symbol = u64::from_be(word!(self, List, symbol));
        let (base_asset, quote_asset) = (
            half!(self, List, base_asset),
            half!(self, List, quote_asset),
        );
        let (tick_size, lot_size) = (half!(self, List, tick_size), half!(self, List, lot_size));
        let tick_value = half!(self, List, tick_value);
        let (ladder_base, ladder_len) = (
            half!(self, List, ladder_base),
            half!(self, List, ladder_len),
        );
        let lot_value = word!(self, List, lot_value);
        let lots_max = half!(self, List, lots_max);
        if index >= header.instruments_max.get()
            || base_asset >= header.assets_max.get()
            || quote_asset >= header.assets_max.get()
        {
            return rejected(Reason::IndexOutOfRange);
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() != 0 {
            return rejected(Reason::AlreadyListed);
        }
        if !self.listing_is_good(symbol) {
            return rejected(Reason::BadListing);
        }
        let places = ladder_len.wrapping_add(63) & !63;
        if places
            > header
                .ladder_max
                .get()
                .wrapping_sub(header.ladder_used.get())
        {
            return rejected(Reason::LadderFull);
        }

        // Decided.
        instrument.symbol.set(symbol);
        instrument.halted.set(halted);
        instrument.base_asset.set(base_asset);
        instrument.quote_asset.set(quote_asset);
        instrument.tick_size.set(tick_size);
        instrument.lot_size.set(lot_size);
        instrument.tick_value.set(tick_value);
        instrument.ladder_base.set(ladder_base);
        instrument.ladder_len.set(ladder_len);
        instrument.lot_value.set(lot_value);
        instrument.lots_max.set(lots_max);
        instrument.band_low.set(half!(self, List, band_low));
        instrument.band_high.set(half!(self, List, band_high));
        instrument.notional_max.set(word!(self, List, notional_max));
        instrument.maker_ppm.set(half!(self, List, maker_ppm));
        instrument.taker_ppm.set(half!(self, List, taker_ppm));
        let first = header.ladder_used.get();
        header.ladder_used.set(first.wrapping_add(places));
        self.place_side(instrument.side(BUY), first, places);
        // The other side's ladder lies behind all of this side's.
        self.place_side(
            instrument.side(SELL),
            first.wrapping_add(header.ladder_max.get()),
            places,
        );
        instrument.listed.set(1);
        DONE
    }

    /// The checks of `BadListing`.
    #[inline(always)]
    fn listing_is_good(self, symbol: u64) -> bool {
        let (tick_size, lot_size) = (half!(self, List, tick_size), half!(self, List, lot_size));
        let tick_value = half!(self, List, tick_value);
        let (ladder_base, ladder_len) = (
            half!(self, List, ladder_base),
            half!(self, List, ladder_len),
        );
        let lot_value = word!(self, List, lot_value);
        let lots_max = half!(self, List, lots_max);
        let (band_low, band_high) = (half!(self, List, band_low), half!(self, List, band_high));
        let (maker_ppm, taker_ppm) = (half!(self, List, maker_ppm), half!(self, List, taker_ppm));
        if half!(self, List, base_asset) == half!(self, List, quote_asset)
            || half!(self, List, halted) > 1
        {
            return false;
        }
        if tick_size == 0 || lot_size == 0 || tick_value == 0 || ladder_base == 0 || ladder_len == 0
        {
            return false;
        }
        if lot_value == 0 || lots_max == 0 || !is_printable(symbol) {
            return false;
        }
        if ladder_len > 1 << 24
            || u64::from(ladder_base).wrapping_add(u64::from(ladder_len)) > u64::from(u32::MAX)
        {
            return false;
        }
        let top = ladder_base.wrapping_add(ladder_len).wrapping_sub(1);
        if u64::from(top).wrapping_mul(u64::from(tick_size)) > u64::from(u32::MAX)
            || u64::from(lots_max).wrapping_mul(u64::from(lot_size)) > u64::from(u32::MAX)
        {
            return false;
        }
        if (band_low == 0) != (band_high == 0) || band_low > band_high {
            return false;
        }
        let maker = if maker_ppm >> 31 == 0 {
            maker_ppm
        } else {
            maker_ppm.wrapping_neg()
        };
        if taker_ppm > FEE_PPM_MAX || maker > taker_ppm {
            return false;
        }
        let price_value = u64::from(top).wrapping_mul(u64::from(tick_value));
        if price_value > AMOUNT_MAX / 2 {
            return false; // a hold is at most 1.1 times the price
        }
        let hold = buy_hold_per_lot(price_value, taker_ppm);
        amount_product(hold, u64::from(lots_max)).is_some()
            && amount_product(lot_value, u64::from(lots_max)).is_some()
    }

    /// Gives a side its ladder and bitmaps. All of them are zero: the region was, and nothing is given twice.
    #[inline(always)]
    fn place_side(self, side: &Side, first: u32, places: u32) {
        let header = self.header();
        side.best.set(NO_RANK);
        side.ladder
            .set(header.ladder_at.get().wrapping_add(first.wrapping_mul(4)));
        let mut words = places >> 6;
        let mut used = header.bitmap_used.get();
        let base = header.bitmap_at.get();
        side.bits[0].set(base.wrapping_add(used.wrapping_mul(8)));
        used = used.wrapping_add(words);
        words = words.wrapping_add(63) >> 6;
        side.bits[1].set(base.wrapping_add(used.wrapping_mul(8)));
        used = used.wrapping_add(words);
        words = words.wrapping_add(63) >> 6;
        side.bits[2].set(base.wrapping_add(used.wrapping_mul(8)));
        used = used.wrapping_add(words);
        words = words.wrapping_add(63) >> 6;
        side.bits[3].set(base.wrapping_add(used.wrapping_mul(8)));
        header.bitmap_used.set(used.wrapping_add(words));
    }

    #[inline(never)]
    fn grant_session(self) -> Done {
        const _: () = assert!(offset_of!(Grant, id) == 8 && offset_of!(Grant, answers_log2) == 18);
        let header = self.header();
        let (index, account) = (half!(self, Grant, session), half!(self, Grant, account));
        let id_head = u64::from_be(self.control_body(1));
        let rest = self.control_body(2);
        let id_tail = u32::from(u16::from_be(rest as u16));
        let (answers_log2, references_log2) = ((rest >> 16) as u8, (rest >> 24) as u8);
        let burst = half!(self, Grant, burst);
        let interval = word!(self, Grant, interval_ns);
        if index >= header.sessions_max.get() || account >= header.accounts_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        if self.account(account).open.get() == 0 {
            return rejected(Reason::UnknownAccount);
        }
        let session = self.session(index);
        if session.status.get() != 0 {
            return rejected(Reason::SessionOpen);
        }
        let id = &self.scratch().answer; // scratch: no answer is being written during a control command
        id.put_u64_be(0, id_head);
        if ring0_wire::mold::session_index(id) != Some(index)
            || answers_log2 < *ANSWERS_LOG2.start()
            || answers_log2 > *ANSWERS_LOG2.end()
            || references_log2 < *REFERENCES_LOG2.start()
            || references_log2 > *REFERENCES_LOG2.end()
            || (interval != 0 && (burst == 0 || interval > AMOUNT_MAX / 2 / u64::from(burst)))
        {
            return rejected(Reason::BadGrant);
        }
        if session.answers_owned.get() == 0 {
            let answers = 1_u32 << (answers_log2 & 31);
            let references = 1_u32 << (references_log2 & 31);
            let (answers_used, references_used) =
                (header.answers_used.get(), header.references_used.get());
            if answers > header.answers_max.get().wrapping_sub(answers_used)
                || references > header.references_max.get().wrapping_sub(references_used)
            {
                return rejected(Reason::WindowsFull);
            }
            session.answers_first.set(answers_used);
            session.references_first.set(references_used);
            header.answers_used.set(answers_used.wrapping_add(answers));
            header
                .references_used
                .set(references_used.wrapping_add(references));
            session.answers_owned.set(u32::from(answers_log2));
            session.references_owned.set(u32::from(references_log2));
        } else if u32::from(answers_log2) > session.answers_owned.get()
            || u32::from(references_log2) > session.references_owned.get()
        {
            return rejected(Reason::WindowsFull);
        }
        session.id_head.set(id_head);
        session.id_tail.set(id_tail);
        session.account.set(account);
        session.expected.set(1);
        session.last_reference.set(0);
        session.rate_state.set(0);
        session.interval_ns.set(interval);
        session.burst.set(burst);
        session.expires_ns.set(word!(self, Grant, expires_ns));
        session.answers_log2.set(u32::from(answers_log2));
        session.references_log2.set(u32::from(references_log2));
        session.status.set(OPEN);
        DONE
    }

    #[inline(always)]
    fn change_session(self, kind: u32) -> Done {
        let header = self.header();
        let index = half!(self, crate::control::Target, index);
        if index >= header.sessions_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let session = self.session(index);
        if session.status.get() == 0 {
            return rejected(Reason::UnknownSession);
        }
        if kind == ControlKind::KillSession as u32 {
            header.session.set(index);
            return self.kill(session, 0, u32::from(ring0_wire::message::BOTH));
        }
        if kind == ControlKind::ReviveSession as u32 {
            if session.cancelling.get() != 0 {
                return rejected(Reason::Continuing);
            }
            session.status.set(OPEN);
            return DONE;
        }
        if session.orders_head.get() != 0 {
            return rejected(Reason::OrdersLive);
        }
        if session.cancelling.get() != 0 {
            return rejected(Reason::Continuing);
        }
        session.status.set(0);
        DONE
    }
}

/// Whether all eight bytes are printable ASCII.
#[inline(always)]
const fn is_printable(symbol: u64) -> bool {
    let mut rest = symbol;
    let mut good = true;
    let mut index = 0;
    while index < 8 {
        let byte = rest & 0xFF;
        good = good && byte >= 0x20 && byte <= 0x7E;
        rest >>= 8;
        index += 1;
    }
    good
}
