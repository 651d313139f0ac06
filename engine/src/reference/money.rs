//! Accounts and their money: holds, fees, outflow, what a trade moves.
//! Rule: `docs/matching.md#units`.

use super::Reference;
use super::mass::Mass;
use super::order::Order;
use crate::Reason;
use crate::control::List;
use crate::limits::{AMOUNT_MAX, PPM};
use ring0_wire::message::BUY;

#[derive(Clone, Copy, Default)]
pub(super) struct Asset {
    /// Deposited less withdrawn.
    pub(super) total: u64,
    pub(super) fees: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Balance {
    pub(super) available: u64,
    pub(super) held: u64,
    pub(super) outflow: i64,
    pub(super) limit: u64,
}

#[derive(Clone)]
pub(super) struct Account {
    /// By asset.
    pub(super) balances: Vec<Balance>,
    pub(super) killed: bool,
    /// Self-trade mode of orders that say none.
    pub(super) self_trade: u32,
    /// Trade group, 0: none.
    pub(super) group: u32,
    /// Risk limits, each 0 for none.
    pub(super) orders_max: u32,
    pub(super) shares_max: u32,
    pub(super) notional_max: u64,
    /// Message rate of all its sessions together; interval 0: none.
    pub(super) burst: u32,
    pub(super) interval_ns: u64,
    pub(super) rate_state: u64,
    /// Granted sessions in the order of their grants.
    pub(super) sessions: Vec<u32>,
    /// Pending mass cancel.
    pub(super) mass: Option<Mass>,
}

impl Account {
    pub(super) fn new(assets: u32) -> Account {
        let empty = Balance {
            available: 0,
            held: 0,
            outflow: 0,
            limit: AMOUNT_MAX,
        };
        Account {
            balances: vec![empty; assets as usize],
            killed: false,
            self_trade: 0,
            group: 0,
            orders_max: 0,
            shares_max: 0,
            notional_max: 0,
            burst: 0,
            interval_ns: 0,
            rate_state: 0,
            sessions: Vec::new(),
            mass: None,
        }
    }
}

impl Balance {
    /// Changes all three; the outflow stays at the end that it would pass.
    pub(super) fn change(&mut self, available: i128, held: i128, outflow: i128) {
        self.available = amount(i128::from(self.available) + available);
        self.held = amount(i128::from(self.held) + held);
        let outflow = i128::from(self.outflow) + outflow;
        let end = i128::from(AMOUNT_MAX);
        self.outflow = outflow.clamp(-end, end) as i64;
    }
}

pub(super) fn amount(value: i128) -> u64 {
    let value = u64::try_from(value).expect("no amount is negative");
    assert!(value <= AMOUNT_MAX, "amounts stay below 2^63");
    value
}

/// Highest price of the ladder.
pub(super) fn top_of(list: &List) -> u32 {
    list.ladder_base + (list.ladder_len - 1)
}

pub(super) fn is_on_ladder(list: &List, price: u32) -> bool {
    (list.ladder_base..=top_of(list)).contains(&price)
}

pub(super) fn notional(list: &List, price: u32, lots: u32) -> u128 {
    u128::from(price) * u128::from(lots) * u128::from(list.tick_value)
}

/// So many millionths of an amount, rounded up.
fn up(amount: u128, ppm: u32) -> u128 {
    (amount * u128::from(ppm)).div_ceil(u128::from(PPM))
}

pub(super) fn taker_fee(list: &List, paid: u128) -> i128 {
    up(paid, list.taker_ppm) as i128
}

/// Negative: a rebate, rounded down.
pub(super) fn maker_fee(list: &List, paid: u128) -> i128 {
    let ppm = list.maker_ppm.unsigned_abs();
    if list.maker_ppm < 0 {
        -((paid * u128::from(ppm) / u128::from(PPM)) as i128)
    } else {
        up(paid, ppm) as i128
    }
}

/// What one lot of a buy at this limit holds.
pub(super) fn hold_per_lot(list: &List, price: u32) -> u128 {
    let paid = notional(list, price, 1);
    paid + up(paid, list.taker_ppm)
}

impl Reference {
    /// The asset that an order holds.
    pub(super) fn asset_held(&self, order: &Order) -> u32 {
        let list = &self.instrument(order.instrument).list;
        if order.side == BUY {
            list.quote_asset
        } else {
            list.base_asset
        }
    }

    /// What so many lots of an order hold.
    pub(super) fn hold_of(&self, order: &Order, lots: u32) -> u128 {
        let list = &self.instrument(order.instrument).list;
        let per_lot = if order.side == BUY {
            hold_per_lot(list, order.price)
        } else {
            u128::from(list.lot_value)
        };
        u128::from(lots) * per_lot
    }

    pub(super) fn hold(&mut self, order: &Order) {
        let hold = self.hold_of(order, order.open) as i128;
        let asset = self.asset_held(order);
        self.balance_mut(order.account, asset)
            .change(-hold, hold, 0);
    }

    /// Gives the hold of so many lots back.
    pub(super) fn release(&mut self, order: &Order, lots: u32) {
        let hold = self.hold_of(order, lots) as i128;
        let asset = self.asset_held(order);
        self.balance_mut(order.account, asset)
            .change(hold, -hold, 0);
    }

    /// Enter 28, 29, with `freed` of the held amount counted as available.
    pub(super) fn affordable(&self, order: &Order, freed: u128) -> Result<(), Reason> {
        let balance = self.balance(order.account, self.asset_held(order));
        let hold = self.hold_of(order, order.open);
        if u128::from(balance.available) + freed < hold {
            return Err(Reason::Funds);
        }
        let held = u128::from(balance.held) - freed + hold;
        let exposure = i128::from(balance.outflow) + held as i128;
        if exposure.max(0) > i128::from(balance.limit) {
            return Err(Reason::UnsettledLimit);
        }
        Ok(())
    }

    /// Moves the money of a trade between two orders of one instrument, the buyer's amounts first.
    pub(super) fn pay(
        &mut self,
        (buy, buy_fee): (&Order, i128),
        (sell, sell_fee): (&Order, i128),
        price: u32,
        lots: u32,
    ) {
        let list = self.instrument(buy.instrument).list;
        let paid = notional(&list, price, lots) as i128;
        let base = i128::from(lots) * i128::from(list.lot_value);
        let released = self.hold_of(buy, lots) as i128;
        let cost = paid + buy_fee;
        let quote = self.balance_mut(buy.account, list.quote_asset);
        quote.change(released - cost, -released, cost);
        let bought = self.balance_mut(buy.account, list.base_asset);
        bought.change(base, 0, -base);

        let sold = self.balance_mut(sell.account, list.base_asset);
        sold.change(0, -base, base);
        let proceeds = paid - sell_fee;
        let quote = self.balance_mut(sell.account, list.quote_asset);
        quote.change(proceeds, 0, -proceeds);

        let fees = &mut self.assets[list.quote_asset as usize].fees;
        *fees = amount(i128::from(*fees) + buy_fee + sell_fee);
    }

    pub(super) fn balance(&self, account: u32, asset: u32) -> &Balance {
        &self.account(account).balances[asset as usize]
    }

    pub(super) fn balance_mut(&mut self, account: u32, asset: u32) -> &mut Balance {
        &mut self.account_mut(account).balances[asset as usize]
    }
}
