//! The records alone say everything: a consumer that knows only them keeps the same books and balances as the engine.
#![cfg(feature = "std")]

mod tape;

use ring0_engine::canon::{Listing, Tag};
use ring0_engine::control::{
    Bust, Control, ControlKind, Deposit, List, MoveLadder, OpenAccount, TransferIn, TransferOut,
};
use ring0_engine::flow::{Flow, Input, Options};
use ring0_engine::native::Native;
use ring0_engine::record::{ControlRecord, Message, Outcome};
use ring0_wire::Flags;
use ring0_wire::host::Inbound;
use std::collections::BTreeMap;
use tape::{Record, records};
use zerocopy::FromZeros;

/// Where an order stands: its book and price, or its peg queue.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Place {
    /// Books as the canonical listing numbers them; of stops the price is the trigger.
    Level { book: u32, price: u32 },
    /// Kind in the low byte and offset in the next; limit.
    Queue { side: u8, peg: u32, limit: u32 },
}

struct Order {
    account: u32,
    reference: u32,
    locate: u32,
    side: u8,
    price: u32,
    lots: u32,
    shown: u32,
    place: Option<Place>,
}

/// What the records have said so far.
#[derive(Default)]
struct Consumer {
    instruments: BTreeMap<u32, List>,
    orders: BTreeMap<u64, Order>,
    /// Order ids by locate and place, in their order.
    places: BTreeMap<(u32, Place), Vec<u64>>,
    /// Available and held by account and asset.
    balances: BTreeMap<(u32, u32), (i128, i128)>,
    fees: BTreeMap<u32, i128>,
}

impl Consumer {
    fn take(&mut self, record: &Record) {
        match record {
            Record::Message(message) => self.message(message),
            Record::Step(_) | Record::StateChanged(_) | Record::Uncrossed(_) => {}
            Record::Control(control) => self.control(control),
            Record::Rested(rested) => {
                let order = &self.orders[&rested.order];
                assert_eq!(
                    (order.account, order.reference, order.lots),
                    (rested.account, rested.reference, rested.lots)
                );
                let buys = order.side == b'B';
                let place = match (rested.peg, rested.shown) {
                    (0, shown) => Place::Level {
                        book: u32::from(!buys) + if shown == 0 { 2 } else { 0 },
                        price: rested.price,
                    },
                    (peg, _) => Place::Queue {
                        side: order.side,
                        peg,
                        limit: rested.price,
                    },
                };
                // A sliding order has another price than it was sent with.
                self.change(rested.order, |order| {
                    (order.price, order.shown) = (rested.price, rested.shown);
                });
                self.join(rested.order, place);
            }
            Record::Armed(armed) => {
                self.change(armed.order, |order| order.price = armed.price);
                let buys = self.orders[&armed.order].side == b'B';
                let place = Place::Level {
                    book: 4 + u32::from(!buys),
                    price: armed.trigger,
                };
                self.join(armed.order, place);
            }
            Record::Triggered(triggered) => {
                let order = &self.orders[&triggered.order];
                assert_eq!((order.price, order.lots), (triggered.price, triggered.lots));
                self.leave(triggered.order);
            }
            Record::Filled(filled) => {
                let fees = [i128::from(filled.maker_fee), i128::from(filled.taker_fee)];
                self.trade(
                    [filled.maker, filled.taker],
                    fees,
                    filled.price,
                    filled.lots,
                );
            }
            Record::Crossed(crossed) => {
                let fees = [i128::from(crossed.buy_fee), i128::from(crossed.sell_fee)];
                self.trade(
                    [crossed.buy, crossed.sell],
                    fees,
                    crossed.price,
                    crossed.lots,
                );
            }
            Record::Decremented(taken) => {
                for order in [taken.maker, taken.taker] {
                    self.less(order, taken.lots);
                }
            }
            Record::Refilled(refilled) => {
                let order = &self.orders[&refilled.order];
                assert_eq!((order.lots, order.shown), (refilled.lots, 0));
                let place = order.place.expect("an iceberg rests");
                self.leave(refilled.order);
                self.join(refilled.order, place);
                self.change(refilled.order, |order| order.shown = refilled.shown);
            }
            Record::Removed(removed) => {
                let order = &self.orders[&removed.order];
                assert_eq!((order.lots, order.price), (removed.lots, removed.price));
                let waits = matches!(order.place, Some(Place::Level { book: 4.., .. }));
                assert_eq!(order.place.is_some() && !waits, removed.rested == 1);
                self.less(removed.order, removed.lots);
            }
            Record::Reduced(reduced) => {
                self.change(reduced.order, |order| {
                    order.lots -= reduced.lots;
                    order.shown = reduced.shown;
                });
                assert_eq!(self.orders[&reduced.order].lots, reduced.open);
            }
            Record::Replaced(replaced) => {
                assert_eq!(self.orders[&replaced.order].lots, replaced.lots_before);
                if replaced.kept == 0 {
                    self.leave(replaced.order);
                }
                self.change(replaced.order, |order| {
                    (order.reference, order.price, order.lots) =
                        (replaced.reference, replaced.price, replaced.lots);
                    order.shown = replaced.shown;
                });
                let order = self.orders.remove(&replaced.order).expect("a live order");
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
            shown: 0,
            place: None,
        };
        self.hold(&order, 1);
        self.orders.insert(message.head.sequence, order);
    }

    /// The first of the two pays or gets as `fees[0]` says, the second as `fees[1]`.
    fn trade(&mut self, orders: [u64; 2], fees: [i128; 2], price: u32, lots: u32) {
        for (id, fee) in orders.into_iter().zip(fees) {
            let order = &self.orders[&id];
            let (account, sign) = (order.account, if order.side == b'B' { 1 } else { -1 });
            let locate = order.locate;
            self.less(id, lots);
            self.settle(locate, account, sign, price, lots, fee);
        }
    }

    /// A side of a trade: a buyer (sign 1) gets the base asset and pays, a seller the other way round; both pay the fee.
    fn settle(&mut self, locate: u32, account: u32, sign: i128, price: u32, lots: u32, fee: i128) {
        let list = self.instruments[&locate];
        let lots = i128::from(lots);
        let paid = i128::from(price) * lots * i128::from(list.tick_value);
        self.balance(account, list.base_asset).0 += sign * lots * i128::from(list.lot_value);
        self.balance(account, list.quote_asset).0 -= sign * paid + fee;
        *self.fees.entry(list.quote_asset).or_default() += fee;
    }

    /// So many lots fewer, displayed ones if any are; none left: gone.
    fn less(&mut self, id: u64, lots: u32) {
        if self.orders[&id].lots == lots {
            self.leave(id);
        }
        self.change(id, |order| {
            order.lots -= lots;
            order.shown = order.shown.saturating_sub(lots);
        });
        if self.orders[&id].lots == 0 {
            self.orders.remove(&id);
        }
    }

    /// Changes an order, and what it holds with it.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Order)) {
        let mut order = self.orders.remove(&id).expect("a live order");
        self.hold(&order, -1);
        change(&mut order);
        self.hold(&order, 1);
        self.orders.insert(id, order);
    }

    fn join(&mut self, id: u64, place: Place) {
        let order = self.orders.get_mut(&id).expect("a live order");
        order.place = Some(place);
        self.places
            .entry((order.locate, place))
            .or_default()
            .push(id);
    }

    /// Out of where it stands, if it stands.
    fn leave(&mut self, id: u64) {
        let order = self.orders.get_mut(&id).expect("a live order");
        let Some(place) = order.place.take() else {
            return;
        };
        let at = (order.locate, place);
        let list = self.places.get_mut(&at).expect("a level or a queue");
        list.retain(|&there| there != id);
        if list.is_empty() {
            self.places.remove(&at);
        }
    }

    /// Moves what an order holds from available to held, or back.
    fn hold(&mut self, order: &Order, sign: i128) {
        let list = &self.instruments[&order.locate];
        let (asset, per_lot) = if order.side == b'B' {
            let value = i128::from(order.price) * i128::from(list.tick_value);
            let fee = (value * i128::from(list.taker_ppm) + 999_999) / 1_000_000;
            (list.quote_asset, value + fee)
        } else {
            (list.base_asset, i128::from(list.lot_value))
        };
        let amount = sign * i128::from(order.lots) * per_lot;
        let balance = self.balance(order.account, asset);
        balance.0 -= amount;
        balance.1 += amount;
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
            let account = control.body::<OpenAccount>().account;
            self.balances.entry((account, 0)).or_default();
        } else if is(ControlKind::List) {
            let list = control.body::<List>();
            self.instruments.insert(list.instrument + 1, list);
        } else if is(ControlKind::MoveLadder) {
            // Nothing enters until it holds.
            let moved = control.body::<MoveLadder>();
            let list = self.instruments.get_mut(&(moved.instrument + 1));
            let list = list.expect("a listed instrument");
            (list.ladder_base, list.ladder_len) = (moved.ladder_base, moved.ladder_len);
        } else if is(ControlKind::Deposit) || is(ControlKind::Withdraw) {
            let body = control.body::<Deposit>();
            let amount = i128::from(body.amount);
            let sign = if is(ControlKind::Deposit) { 1 } else { -1 };
            self.balance(body.account, body.asset).0 += sign * amount;
        } else if is(ControlKind::TransferOut) {
            let body = control.body::<TransferOut>();
            self.balance(body.account, body.asset).0 -= i128::from(body.amount);
        } else if is(ControlKind::TransferIn) {
            let body = control.body::<TransferIn>();
            self.balance(body.account, body.asset).0 += i128::from(body.amount);
        } else if is(ControlKind::Bust) {
            // As if each had traded the other way, with the fee given back.
            let bust = control.body::<Bust>();
            let (locate, price, lots) = (bust.instrument + 1, bust.price, bust.lots);
            let fees = [-i128::from(bust.buyer_fee), -i128::from(bust.seller_fee)];
            self.settle(locate, bust.buyer, -1, price, lots, fees[0]);
            self.settle(locate, bust.seller, 1, price, lots, fees[1]);
        }
    }

    fn compare(&self, native: &Native) {
        let mut listed = Listed::default();
        native.shard().list(&mut listed);
        let all = |orders: &[u64]| -> Vec<[u64; 5]> {
            let numbers = orders.iter().map(|id| {
                let order = &self.orders[id];
                [
                    *id,
                    order.account.into(),
                    order.reference.into(),
                    order.lots.into(),
                    order.shown.into(),
                ]
            });
            numbers.collect()
        };
        let mine: BTreeMap<_, _> = self
            .places
            .iter()
            .map(|(&at, orders)| (at, all(orders)))
            .collect();
        for (at, orders) in &listed.places {
            assert_eq!(mine.get(at), Some(orders), "{at:?}");
        }
        assert_eq!(mine.len(), listed.places.len(), "levels and queues");
        let sweeps = self
            .orders
            .iter()
            .filter(|(_, order)| order.place.is_none());
        let sweeps: Vec<_> = sweeps.map(|(id, _)| *id).collect();
        listed.sweeps.sort_unstable();
        assert_eq!(listed.sweeps, all(&sweeps), "orders that sweep on");
        let nothing = (0, 0);
        for (at, balance) in &self.balances {
            let theirs = listed.balances.get(at).unwrap_or(&nothing);
            assert_eq!(balance, theirs, "account and asset {at:?}");
        }
        for (at, balance) in &listed.balances {
            assert_eq!(self.balances.get(at).unwrap_or(&nothing), balance, "{at:?}");
        }
        for (asset, fees) in listed.fees {
            assert_eq!(
                self.fees.get(&asset).copied().unwrap_or_default(),
                fees,
                "fees of asset {asset}"
            );
        }
    }
}

/// What the canonical listing says of the same.
#[derive(Default)]
struct Listed {
    locate: u32,
    /// Where the next orders stand; none: behind the work of their instrument.
    place: Option<Place>,
    places: BTreeMap<(u32, Place), Vec<[u64; 5]>>,
    sweeps: Vec<[u64; 5]>,
    balances: BTreeMap<(u32, u32), (i128, i128)>,
    fees: Vec<(u32, i128)>,
}

impl Listing for Listed {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        match tag {
            Tag::Instrument => self.locate = numbers[0] as u32 + 1,
            Tag::Level => {
                self.place = Some(Place::Level {
                    book: numbers[0] as u32,
                    price: numbers[1] as u32,
                });
            }
            Tag::Queue => {
                self.place = Some(Place::Queue {
                    side: if numbers[0] == 0 { b'B' } else { b'S' },
                    peg: numbers[1] as u32 | (numbers[2] as u32) << 8,
                    limit: numbers[3] as u32,
                });
            }
            Tag::Work => self.place = None,
            Tag::Order => {
                let order = [numbers[0], numbers[2], numbers[3], numbers[5], numbers[8]];
                match self.place {
                    Some(place) => {
                        let at = (self.locate, place);
                        self.places.entry(at).or_default().push(order);
                    }
                    None => self.sweeps.push(order),
                }
            }
            Tag::Balance => {
                let at = (numbers[0] as u32, numbers[1] as u32);
                self.balances
                    .insert(at, (numbers[2].into(), numbers[3].into()));
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
        let driven = tape::drive(&mut flow, &mut native, &input);
        for record in records(&driven.records) {
            consumer.take(&record);
        }
        if number % 50 == 0 {
            consumer.compare(&native);
        }
        input = flow.next_input();
    }
    consumer.compare(&native);
}
