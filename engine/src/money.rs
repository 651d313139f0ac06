//! Holds, fees and balances. Rule: `docs/matching.md#units`; RULES 18 and 19.
//!
//! Invariants, checked by [`Shard::check`](crate::Shard::check): per asset, available + held of all accounts + fees = deposited − withdrawn; an
//! account's held amount is the sum over its live orders of open lots × hold per lot.
//! Arithmetic: listing has refused every instrument whose largest order could reach 2^63, so products of price, lots and
//! tick value are exact in 64 bits.

use crate::Reason;
use crate::limits::{AMOUNT_MAX, PPM};
use crate::region::Finished;
use crate::shard::{BUY, Balance, Fault, Instrument, Order, Shard};

/// `amount · ppm / 10^6`, rounded up. Exact for amounts below 2^63 and rates up to one.
#[inline(always)]
pub(crate) const fn fee_up(amount: u64, ppm: u32) -> u64 {
    if ppm == 0 {
        return 0;
    }
    let rest = (amount % PPM)
        .wrapping_mul(ppm as u64)
        .wrapping_add(PPM - 1)
        / PPM;
    (amount / PPM).wrapping_mul(ppm as u64).wrapping_add(rest)
}

/// `amount · ppm / 10^6`, rounded down.
#[inline(always)]
pub(crate) const fn fee_down(amount: u64, ppm: u32) -> u64 {
    if ppm == 0 {
        return 0;
    }
    let rest = (amount % PPM).wrapping_mul(ppm as u64) / PPM;
    (amount / PPM).wrapping_mul(ppm as u64).wrapping_add(rest)
}

/// The product, or `None` at 2^63 and above. (`u64::checked_mul` does not compile for BPF.)
#[inline(always)]
pub(crate) const fn amount_product(a: u64, b: u64) -> Option<u64> {
    if a != 0 && b > AMOUNT_MAX / a {
        None
    } else {
        Some(a.wrapping_mul(b))
    }
}

/// Amount held for one lot of a buy at a price with this value, fee included.
#[inline(always)]
pub(crate) const fn buy_hold_per_lot(price_value: u64, taker_ppm: u32) -> u64 {
    price_value.wrapping_add(fee_up(price_value, taker_ppm))
}

impl Instrument {
    /// Amount held for one lot of an order, in the asset of [`Instrument::held_asset`].
    #[inline(always)]
    pub(crate) fn hold_per_lot(&self, side: u32, price: u32) -> u64 {
        if side == BUY {
            let value = u64::from(price).wrapping_mul(u64::from(self.tick_value.get()));
            buy_hold_per_lot(value, self.taker_ppm.get())
        } else {
            self.lot_value.get()
        }
    }

    /// Asset that an order of a side holds.
    #[inline(always)]
    pub(crate) fn held_asset(&self, side: u32) -> u32 {
        if side == BUY {
            self.quote_asset.get()
        } else {
            self.base_asset.get()
        }
    }

    /// Price × lots in quote units.
    #[inline(always)]
    pub(crate) fn notional(&self, price: u32, lots: u32) -> u64 {
        u64::from(price)
            .wrapping_mul(u64::from(lots))
            .wrapping_mul(u64::from(self.tick_value.get()))
    }
}

impl Balance {
    /// Whether a hold of `hold` may be added where `freed` is given back at the same time.
    #[inline(always)]
    pub(crate) fn admits(&self, hold: u64, freed: u64) -> u8 {
        if self.available.get().wrapping_add(freed) < hold {
            return Reason::Funds as u8;
        }
        // Each term is below 2^63, so the sum of the two holds cannot wrap; the outflow is signed.
        let held = self.held.get().wrapping_sub(freed).wrapping_add(hold);
        let outflow = self.outflow.get();
        let exposed = if outflow >> 63 == 0 {
            held.wrapping_add(outflow) // both at most 2^63 − 1 + 2^63 − 1: below 2^64
        } else {
            let inflow = outflow.wrapping_neg();
            if inflow >= held {
                0
            } else {
                held.wrapping_sub(inflow)
            }
        };
        if exposed > self.limit.get() {
            return Reason::UnsettledLimit as u8;
        }
        Reason::None as u8
    }

    /// Moves an amount from available to held.
    #[inline(always)]
    pub(crate) fn hold(&self, amount: u64) {
        self.available
            .set(self.available.get().wrapping_sub(amount));
        self.held.set(self.held.get().wrapping_add(amount));
    }

    /// Takes from available what left the account, and counts it as outflow; a negative amount came in.
    #[inline(always)]
    pub(crate) fn pay(&self, amount: u64) {
        self.available
            .set(self.available.get().wrapping_sub(amount));
        let before = self.outflow.get();
        let after = before.wrapping_add(amount);
        // Signed overflow: both terms differ in sign from the sum. −2^63 is beyond the end too.
        let over = ((before ^ after) & (amount ^ after)) >> 63 != 0 || after == 1 << 63;
        let end = if amount >> 63 == 0 {
            AMOUNT_MAX
        } else {
            AMOUNT_MAX.wrapping_neg()
        };
        self.outflow.set(if over { end } else { after });
    }
}

impl Shard<'_> {
    /// Gives a hold back to available.
    #[inline(always)]
    pub(crate) fn release(self, balance: &Balance, amount: u64) {
        let held = balance.held.get();
        self.ensure(held >= amount, Fault::Held);
        balance.held.set(held.wrapping_sub(amount));
        balance
            .available
            .set(balance.available.get().wrapping_add(amount));
    }

    /// Moves the money of one fill and records it.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn settle_fill(
        self,
        maker_slot: u32,
        taker_slot: u32,
        lots: u32,
        price: u32,
    ) -> Finished {
        let (maker, taker) = (self.order(maker_slot), self.order(taker_slot));
        let instrument = self.instrument(taker.instrument());
        let notional = instrument.notional(price, lots);
        let taker_fee = fee_up(notional, instrument.taker_ppm.get());
        let maker_ppm = instrument.maker_ppm.get();
        let maker_fee = if maker_ppm >> 31 == 0 {
            fee_up(notional, maker_ppm)
        } else {
            fee_down(notional, maker_ppm.wrapping_neg()).wrapping_neg()
        };
        if taker.side() == BUY {
            self.exchange(taker, maker, notional, lots, taker_fee, maker_fee);
        } else {
            self.exchange(maker, taker, notional, lots, maker_fee, taker_fee);
        }
        instrument.last.set(price);
        self.record_filled(maker, taker, price, lots, maker_fee, taker_fee);
        Finished::here()
    }

    /// Moves the money of one fill of an auction and records it: both sides pay the taker rate.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn settle_cross(
        self,
        buy_slot: u32,
        sell_slot: u32,
        lots: u32,
        price: u32,
    ) -> Finished {
        let (buy, sell) = (self.order(buy_slot), self.order(sell_slot));
        let instrument = self.instrument(buy.instrument());
        let notional = instrument.notional(price, lots);
        let fee = fee_up(notional, instrument.taker_ppm.get());
        self.exchange(buy, sell, notional, lots, fee, fee);
        self.record_crossed(buy, sell, price, lots, fee);
        Finished::here()
    }

    /// The buyer pays and gets the base amount, the seller the reverse, each out of its hold.
    #[inline(always)]
    fn exchange(
        self,
        buyer: &Order,
        seller: &Order,
        notional: u64,
        lots: u32,
        buyer_fee: u64,
        seller_fee: u64,
    ) {
        let instrument = self.instrument(buyer.instrument());
        let base_amount = u64::from(lots).wrapping_mul(instrument.lot_value.get());
        let (base, quote) = (instrument.base_asset.get(), instrument.quote_asset.get());
        let paid = notional.wrapping_add(buyer_fee);
        let hold = u64::from(lots).wrapping_mul(buyer.hold_per_lot.get());
        self.ensure(hold.wrapping_sub(paid) >> 63 == 0, Fault::FillCost);
        let balance = self.balance(buyer.account.get(), quote);
        self.release(balance, hold);
        balance.pay(paid);
        self.balance(buyer.account.get(), base)
            .pay(base_amount.wrapping_neg());

        let balance = self.balance(seller.account.get(), base);
        self.release(balance, base_amount);
        balance.pay(base_amount);
        let proceeds = notional.wrapping_sub(seller_fee);
        self.balance(seller.account.get(), quote)
            .pay(proceeds.wrapping_neg());

        let fees = &self.asset(quote).fees;
        fees.set(fees.get().wrapping_add(buyer_fee).wrapping_add(seller_fee));
    }

    /// Holds what the open lots of an order may cost.
    #[inline(always)]
    pub(crate) fn hold_lots(self, order: &Order) {
        let instrument = self.instrument(order.instrument());
        let side = order.side();
        self.balance(order.account.get(), instrument.held_asset(side))
            .hold(u64::from(order.open.get()).wrapping_mul(order.hold_per_lot.get()));
    }

    /// Gives back what `lots` of an order hold.
    #[inline(always)]
    pub(crate) fn release_lots(self, order: &Order, lots: u32) {
        let instrument = self.instrument(order.instrument());
        let side = order.side();
        let balance = self.balance(order.account.get(), instrument.held_asset(side));
        self.release(
            balance,
            u64::from(lots).wrapping_mul(order.hold_per_lot.get()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_round_against_the_payer() {
        for (amount, ppm) in [
            (0, 5),
            (1, 1),
            (999_999, 1),
            (1_000_000, 1),
            (1_000_001, 30),
            (AMOUNT_MAX, 100_000),
        ] {
            let exact = u128::from(amount) * u128::from(ppm);
            assert_eq!(u128::from(fee_up(amount, ppm)), exact.div_ceil(1_000_000));
            assert_eq!(u128::from(fee_down(amount, ppm)), exact / 1_000_000);
        }
    }

    #[test]
    fn products_stop_below_two_to_the_63() {
        assert_eq!(amount_product(1 << 31, 1 << 31), Some(1 << 62));
        assert_eq!(amount_product(1 << 32, 1 << 31), None);
        assert_eq!(amount_product(0, u64::MAX), Some(0));
        assert_eq!(amount_product(AMOUNT_MAX, 1), Some(AMOUNT_MAX));
    }
}
