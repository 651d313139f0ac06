//! A trade taken back: the money of both sides and the fees. Rule: `docs/matching.md#control-commands`.
//!
//! Invariant: nobody gives what is not there, so that every amount stays below 2^63 and per asset the sum stays what it was.

use crate::Reason;
use crate::control::Bust;
use crate::operate::{DONE, half, rejected, word};
use crate::outbox::Done;
use crate::shard::Shard;

impl Shard<'_> {
    #[inline(never)]
    pub(crate) fn bust(self) -> Done {
        let header = self.header();
        let index = half!(self, Bust, instrument);
        let (buyer, seller) = (half!(self, Bust, buyer), half!(self, Bust, seller));
        let accounts = header.accounts_max.get();
        if index >= header.instruments_max.get() || buyer >= accounts || seller >= accounts {
            return rejected(Reason::IndexOutOfRange);
        }
        if self.account(buyer).open.get() == 0 || self.account(seller).open.get() == 0 {
            return rejected(Reason::UnknownAccount);
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() == 0 {
            return rejected(Reason::UnknownInstrument);
        }
        let (price, lots) = (half!(self, Bust, price), half!(self, Bust, lots));
        let (buyer_fee, seller_fee) = (word!(self, Bust, buyer_fee), word!(self, Bust, seller_fee));
        if buyer == seller
            || !instrument.has_price(price)
            || lots == 0
            || lots > instrument.lots_max.get()
        {
            return rejected(Reason::BadSetting);
        }
        let notional = instrument.notional(price, lots);
        if magnitude(buyer_fee) > notional || magnitude(seller_fee) > notional {
            return rejected(Reason::BadSetting);
        }
        // The notional is below 2^63 and no fee above it: neither sum wraps or is negative.
        let back = notional.wrapping_add(buyer_fee);
        let proceeds = notional.wrapping_sub(seller_fee);
        let base_amount = u64::from(lots).wrapping_mul(instrument.lot_value.get());
        let (base, quote) = (instrument.base_asset.get(), instrument.quote_asset.get());
        let fees = &self.asset(quote).fees;
        // What is available and the fees are both below 2^63, and the first is looked at first.
        if self.balance(seller, quote).available.get() < proceeds
            || self.balance(buyer, base).available.get() < base_amount
            || fees.get().wrapping_add(proceeds) < back
        {
            return rejected(Reason::Funds);
        }

        // Decided. So `back` is below 2^63 too: it comes out of what the seller has and the fees.
        self.balance(buyer, quote).pay(back.wrapping_neg());
        self.balance(buyer, base).pay(base_amount);
        self.balance(seller, base).pay(base_amount.wrapping_neg());
        self.balance(seller, quote).pay(proceeds);
        fees.set(fees.get().wrapping_add(proceeds).wrapping_sub(back));
        DONE
    }
}

/// Amount of a signed number in two's complement.
#[inline(always)]
const fn magnitude(signed: u64) -> u64 {
    if signed >> 63 == 0 {
        signed
    } else {
        signed.wrapping_neg()
    }
}
