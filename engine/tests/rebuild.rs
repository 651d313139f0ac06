//! The records alone say everything: a consumer that knows only them keeps the same books and balances as the engine.
#![cfg(feature = "std")]

mod tape;

use ring0_engine::canon::{Listing, Tag};
use ring0_engine::control::{Control, ControlKind, Deposit, List, OpenAccount};
use ring0_engine::flow::{Flow, Input, Options};
use ring0_engine::native::Native;
use ring0_engine::record::{ControlRecord, Filled, Message, Outcome};
use ring0_wire::Flags;
use ring0_wire::host::Inbound;
use std::collections::BTreeMap;
use tape::{Record, records};
use zerocopy::FromZeros;

struct Order {
    account: u32,
    reference: u32,
    locate: u32,
    side: u8,
    price: u32,
    lots: u32,
    rests: bool,
}

/// What the records have said so far.
#[derive(Default)]
struct Consumer {
    instruments: BTreeMap<u32, List>,
    orders: BTreeMap<u64, Order>,
    /// Order ids by locate, side and price, oldest first.
    levels: BTreeMap<(u32, u8, u32), Vec<u64>>,
    /// Available and held by account and asset.
    balances: BTreeMap<(u32, u32), (i128, i128)>,
    accounts: Vec<u32>,
    fees: BTreeMap<u32, i128>,
}

impl Consumer {
    fn take(&mut self, record: &Record) {
        match record {
            Record::Message(message) => self.message(message),
            Record::Step(_) => {}
            Record::Control(control) => self.control(control),
            Record::Rested(rested) => {
                let order = self.orders.get_mut(&rested.order).expect("a live order");
                assert_eq!(
                    (order.account, order.reference, order.price, order.lots),
                    (rested.account, rested.reference, rested.price, rested.lots)
                );
                order.rests = true;
                let level = (order.locate, order.side, order.price);
                self.levels.entry(level).or_default().push(rested.order);
            }
            Record::Filled(filled) => self.filled(filled),
            Record::Removed(removed) => {
                let order = &self.orders[&removed.order];
                assert_eq!(
                    (order.lots, order.rests),
                    (removed.lots, removed.rested == 1)
                );
                self.leave(removed.order);
                let order = self.orders.remove(&removed.order).expect("a live order");
                self.hold(&order, -i128::from(order.lots));
            }
            Record::Reduced(reduced) => {
                let mut order = self.orders.remove(&reduced.order).expect("a live order");
                order.lots -= reduced.lots;
                assert_eq!(order.lots, reduced.open);
                self.hold(&order, -i128::from(reduced.lots));
                self.orders.insert(reduced.order, order);
            }
            Record::Replaced(replaced) => {
                let mut order = self.orders.remove(&replaced.order).expect("a live order");
                assert_eq!(order.lots, replaced.lots_before);
                self.hold(&order, -i128::from(order.lots));
                if replaced.kept == 0 {
                    self.orders.insert(replaced.order, order);
                    self.leave(replaced.order);
                    order = self.orders.remove(&replaced.order).expect("just put there");
                    order.rests = false;
                }
                (order.reference, order.price, order.lots) =
                    (replaced.reference, replaced.price, replaced.lots);
                self.hold(&order, i128::from(order.lots));
                self.orders.insert(replaced.new_order, order);
            }
        }
    }

    /// An order that was let in holds from its command on; what became of it is in the events.
    fn message(&mut self, message: &Message) {
        let entered = matches!(message.message[0], b'A' | b'F' | b'O');
        if !entered || message.outcome == Outcome::Rejected as u8 {
            return;
        }
        let inbound =
            Inbound::read(&message.message[..usize::from(message.length)]).expect("a message");
        let fields = inbound.check().expect("it was accepted");
        let list = &self.instruments[&message.head.locate];
        let mut price = fields.price / list.tick_size;
        if fields.flags.has(Flags::MARKET) {
            price = price.clamp(list.ladder_base, list.ladder_base + list.ladder_len - 1);
        }
        let order = Order {
            account: message.account,
            reference: fields.reference,
            locate: message.head.locate,
            side: fields.side,
            price,
            lots: fields.shares / list.lot_size,
            rests: false,
        };
        self.hold(&order, i128::from(order.lots));
        self.orders.insert(message.head.sequence, order);
    }

    fn filled(&mut self, filled: &Filled) {
        let list = self.instruments[&filled.head.locate];
        let lots = i128::from(filled.lots);
        let paid = i128::from(filled.price) * lots * i128::from(list.tick_value);
        let fees = [i128::from(filled.maker_fee), i128::from(filled.taker_fee)];
        for (id, fee) in [(filled.maker, fees[0]), (filled.taker, fees[1])] {
            let mut order = self.orders.remove(&id).expect("a live order");
            self.hold(&order, -lots);
            order.lots -= filled.lots;
            let (base, quote) = if order.side == b'B' {
                (lots * i128::from(list.lot_value), -paid - fee)
            } else {
                (-lots * i128::from(list.lot_value), paid - fee)
            };
            self.balance(order.account, list.base_asset).0 += base;
            self.balance(order.account, list.quote_asset).0 += quote;
            let gone = order.lots == 0;
            self.orders.insert(id, order);
            if gone {
                self.leave(id);
                self.orders.remove(&id);
            }
        }
        *self.fees.entry(list.quote_asset).or_default() += fees[0] + fees[1];
    }

    /// Out of its level, if it rests.
    fn leave(&mut self, id: u64) {
        let order = &self.orders[&id];
        if !order.rests {
            return;
        }
        let at = (order.locate, order.side, order.price);
        let level = self.levels.get_mut(&at).expect("a level");
        level.retain(|&there| there != id);
        if level.is_empty() {
            self.levels.remove(&at);
        }
    }

    /// Moves the hold of so many lots from available to held.
    fn hold(&mut self, order: &Order, lots: i128) {
        let list = &self.instruments[&order.locate];
        let (asset, per_lot) = if order.side == b'B' {
            let value = i128::from(order.price) * i128::from(list.tick_value);
            let fee = (value * i128::from(list.taker_ppm) + 999_999) / 1_000_000;
            (list.quote_asset, value + fee)
        } else {
            (list.base_asset, i128::from(list.lot_value))
        };
        let balance = self.balance(order.account, asset);
        balance.0 -= lots * per_lot;
        balance.1 += lots * per_lot;
    }

    fn balance(&mut self, account: u32, asset: u32) -> &mut (i128, i128) {
        self.balances.entry((account, asset)).or_default()
    }

    fn control(&mut self, record: &ControlRecord) {
        if record.outcome == Outcome::Rejected as u8 {
            return;
        }
        let mut control = Control::new_zeroed();
        control.body = record.body;
        let is = |kind: ControlKind| record.kind == kind as u32;
        if is(ControlKind::OpenAccount) {
            self.accounts.push(control.body::<OpenAccount>().account);
        } else if is(ControlKind::List) {
            let list = control.body::<List>();
            self.instruments.insert(list.instrument + 1, list);
        } else if is(ControlKind::Deposit) || is(ControlKind::Withdraw) {
            let body = control.body::<Deposit>();
            let amount = i128::from(body.amount);
            let sign = if is(ControlKind::Deposit) { 1 } else { -1 };
            self.balance(body.account, body.asset).0 += sign * amount;
        }
    }

    fn compare(&self, native: &Native) {
        let shard = native.shard();
        for &account in &self.accounts {
            for asset in 0..Flow::capacity().assets {
                let (available, held, ..) = shard.balances(account, asset);
                let mine = self
                    .balances
                    .get(&(account, asset))
                    .copied()
                    .unwrap_or_default();
                assert_eq!(
                    (i128::from(available), i128::from(held)),
                    mine,
                    "account {account} asset {asset}"
                );
            }
        }
        for &locate in self.instruments.keys() {
            for side in [b'B', b'S'] {
                let depth = shard.depth(locate - 1, side, usize::MAX);
                let mut mine: Vec<_> = self
                    .levels
                    .range((locate, side, 0)..=(locate, side, u32::MAX))
                    .map(|(&(_, _, price), ids)| {
                        let lots = ids
                            .iter()
                            .map(|id| u64::from(self.orders[id].lots))
                            .sum::<u64>();
                        (price, lots, ids.len() as u32)
                    })
                    .collect();
                if side == b'B' {
                    mine.reverse();
                }
                let depth: Vec<_> = depth
                    .iter()
                    .map(|level| (level.price, level.lots, level.orders))
                    .collect();
                assert_eq!(depth, mine, "locate {locate} side {}", side as char);
            }
        }
        let mut priority = Priority::default();
        shard.list(&mut priority);
        let mine: BTreeMap<_, _> = self
            .levels
            .iter()
            .map(|(&at, ids)| {
                let orders = ids.iter().map(|id| {
                    let order = &self.orders[id];
                    [
                        *id,
                        order.account.into(),
                        order.reference.into(),
                        order.lots.into(),
                    ]
                });
                (at, orders.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(priority.levels, mine, "orders in priority");
        let sweeps: Vec<_> = self
            .orders
            .iter()
            .filter(|(_, order)| !order.rests)
            .collect();
        let sweeps: BTreeMap<_, _> = sweeps
            .iter()
            .map(|(id, order)| (**id, u64::from(order.lots)))
            .collect();
        assert_eq!(priority.sweeps, sweeps, "orders that sweep on");
        for (asset, fees) in priority.fees {
            assert_eq!(
                self.fees.get(&asset).copied().unwrap_or_default(),
                fees,
                "fees of asset {asset}"
            );
        }
    }
}

/// Orders in priority, out of the canonical listing.
#[derive(Default)]
struct Priority {
    locate: u32,
    level: (u32, u8, u32),
    levels: BTreeMap<(u32, u8, u32), Vec<[u64; 4]>>,
    sweeps: BTreeMap<u64, u64>,
    fees: Vec<(u32, i128)>,
}

impl Listing for Priority {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        match tag {
            Tag::Instrument => self.locate = numbers[0] as u32 + 1,
            Tag::Level => self.level = (self.locate, numbers[0] as u8, numbers[1] as u32),
            Tag::Order => {
                let order = [numbers[0], numbers[2], numbers[3], numbers[5]];
                self.levels.entry(self.level).or_default().push(order);
            }
            Tag::Sweep => {
                self.sweeps.insert(numbers[0], numbers[5]);
            }
            Tag::Asset => self.fees.push((numbers[0] as u32, i128::from(numbers[2]))),
            _ => {}
        }
    }
}

#[test]
fn records_alone_give_books_and_balances() {
    let seed = tape::seed();
    let mut flow = Flow::new(seed, Options::default());
    let mut native = Native::new(&Flow::capacity()).expect("memory for a small shard");
    let mut consumer = Consumer::default();
    let mut input = Input::Control(flow.setup());
    for number in 0..30_000 {
        tape::drive(&mut flow, &mut native, &input);
        for record in records(&native.take_records()) {
            consumer.take(&record);
        }
        if number % 50 == 0 {
            println!("input {number}");
            consumer.compare(&native);
        }
        input = flow.next_input();
    }
    consumer.compare(&native);
}
