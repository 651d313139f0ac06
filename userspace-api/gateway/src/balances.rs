//! What accounts have in a shard, and what their live orders hold of it: from the shard's records, as everything here.
//!
//! Always true: of what a record says the engine does the same, so available and held are the engine's own to the unit (a test compares them over
//! random markets). What an account has elsewhere, or on its way, is settlement's to say.

use crate::orders::{Order, body};
use ring0_engine::control::{Bust, ControlKind, Deposit, List, TransferIn, TransferOut};
use ring0_engine::record::{ControlRecord, Crossed, Filled, Head, Kind, Outcome};
use std::collections::{BTreeMap, HashMap};
use zerocopy::FromBytes;

/// A millionth of what is paid is the unit of fees.
const PPM: u64 = 1_000_000;

/// See the module. Amounts are engine units.
#[derive(Debug, Default)]
pub struct Balances {
    /// By account and asset: available and held.
    units: HashMap<(u32, u32), i128>,
    /// By instrument, as it was listed last.
    listings: HashMap<u32, List>,
}

/// What live orders hold of an asset.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// All of it.
    pub units: i128,
    /// Of it by the orders of each instrument.
    pub by_instrument: BTreeMap<u32, i128>,
}

/// What one side of a trade comes to: account, base asset's change, quote asset's change.
type Change = (u32, i128, i128);

impl Balances {
    /// Takes a whole record.
    pub fn record(&mut self, head: &Head, bytes: &[u8]) {
        match Kind::from_number(head.kind) {
            Some(Kind::Filled) => {
                if let Ok(fill) = Filled::read_from_bytes(bytes) {
                    self.filled(head, &fill);
                }
            }
            Some(Kind::Crossed) => {
                if let Ok(cross) = Crossed::read_from_bytes(bytes) {
                    let (buy, sell) = (cross.buy_fee.into(), cross.sell_fee.into());
                    let traded = (head.locate.wrapping_sub(1), cross.price, cross.lots);
                    self.traded(
                        traded,
                        (cross.buy_account, buy),
                        (cross.sell_account, sell),
                        1,
                    );
                }
            }
            Some(Kind::Control) => {
                if let Ok(record) = ControlRecord::read_from_bytes(bytes)
                    && record.outcome != Outcome::Rejected as u8
                {
                    self.control(&record);
                }
            }
            // All else moves orders, and no money.
            _ => {}
        }
    }

    fn filled(&mut self, head: &Head, fill: &Filled) {
        let maker = (fill.maker_account, i128::from(fill.maker_fee));
        let taker = (fill.taker_account, i128::from(fill.taker_fee));
        let (buyer, seller) = if head.side == b'B' {
            (taker, maker)
        } else {
            (maker, taker)
        };
        let traded = (head.locate.wrapping_sub(1), fill.price, fill.lots);
        self.traded(traded, buyer, seller, 1);
    }

    /// Instrument, price in ticks and lots; account and fee of both sides; 1, or -1 where it is taken back.
    fn traded(
        &mut self,
        (instrument, price, lots): (u32, u32, u32),
        (buyer, buyer_fee): (u32, i128),
        (seller, seller_fee): (u32, i128),
        sign: i128,
    ) {
        let Some(listing) = self.listings.get(&instrument).copied() else {
            return; // nothing trades that is not listed
        };
        let base = i128::from(lots) * i128::from(listing.lot_value);
        let paid = i128::from(lots) * i128::from(price) * i128::from(listing.tick_value);
        let sides: [Change; 2] = [
            (buyer, base, -paid - buyer_fee),
            (seller, -base, paid - seller_fee),
        ];
        for (account, in_base, in_quote) in sides {
            *self.at(account, listing.base_asset) += sign * in_base;
            *self.at(account, listing.quote_asset) += sign * in_quote;
        }
    }

    fn at(&mut self, account: u32, asset: u32) -> &mut i128 {
        self.units.entry((account, asset)).or_default()
    }

    fn control(&mut self, record: &ControlRecord) {
        let is = |kind: ControlKind| record.kind == kind as u32;
        if is(ControlKind::List) {
            let list: List = body(record);
            self.listings.insert(list.instrument, list);
        } else if is(ControlKind::Deposit) || is(ControlKind::Withdraw) {
            let moved: Deposit = body(record);
            let sign = if is(ControlKind::Deposit) { 1 } else { -1 };
            *self.at(moved.account, moved.asset) += sign * i128::from(moved.amount);
        } else if is(ControlKind::TransferOut) {
            let moved: TransferOut = body(record);
            *self.at(moved.account, moved.asset) -= i128::from(moved.amount);
        } else if is(ControlKind::TransferIn) {
            let moved: TransferIn = body(record);
            *self.at(moved.account, moved.asset) += i128::from(moved.amount);
        } else if is(ControlKind::Bust) {
            let bust: Bust = body(record);
            let sides = (
                (bust.buyer, i128::from(bust.buyer_fee)),
                (bust.seller, i128::from(bust.seller_fee)),
            );
            let traded = (bust.instrument, bust.price, bust.lots);
            self.traded(traded, sides.0, sides.1, -1);
        }
    }

    /// All that an account has of an asset here, held or not.
    #[must_use]
    pub fn all(&self, account: u32, asset: u32) -> i128 {
        self.units.get(&(account, asset)).copied().unwrap_or(0)
    }

    /// What live orders hold, by asset: a sell its lots, a buy for each lot the price and the highest taker fee, rounded up
    /// (`docs/decisions/0003-hold-per-lot.md`).
    #[must_use]
    pub fn held<'a>(&self, live: impl Iterator<Item = &'a Order>) -> BTreeMap<u32, Held> {
        let mut held: BTreeMap<u32, Held> = BTreeMap::new();
        for order in live {
            let Some(listing) = self.listings.get(&order.instrument) else {
                continue;
            };
            let (asset, per_lot) = if order.side == b'B' {
                let value = u64::from(order.price) * u64::from(listing.tick_value);
                let fee = (u128::from(value) * u128::from(listing.taker_ppm)).div_ceil(PPM.into());
                (listing.quote_asset, u128::from(value) + fee)
            } else {
                (listing.base_asset, u128::from(listing.lot_value))
            };
            let units = i128::from(order.open()) * per_lot.cast_signed();
            let of = held.entry(asset).or_default();
            of.units += units;
            *of.by_instrument.entry(order.instrument).or_default() += units;
        }
        held
    }
}
