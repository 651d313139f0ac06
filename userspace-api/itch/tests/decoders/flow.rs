//! Order flow that no book contradicts, with every message that changes one, made by the crate's own structs.

use rand::Rng;
use rand::rngs::StdRng;
use ring0_itch::itch::{
    AddOrder, AddOrderAttributed, CrossTrade, OrderCancel, OrderDelete, OrderExecuted,
    OrderExecutedWithPrice, OrderReplace, StockDirectory, SystemEvent, Trade, cross, event,
};
use ring0_itch::zerocopy::IntoBytes;
use ring0_itch::{BUY, Mpid, SELL, Stock, Text, Timestamp};

/// Instruments of the flow.
const INSTRUMENTS: u16 = 3;

struct Live {
    reference: u64,
    locate: u16,
    side: u8,
    shares: u32,
}

/// A day of so many messages between its opening and its end: few prices, so that levels are shared and empty again.
pub(crate) fn valid(random: &mut StdRng, messages: usize) -> Vec<Vec<u8>> {
    let mut day = Day {
        random,
        at: 0,
        references: 0,
        matches: 0,
        live: Vec::new(),
    };
    let mut bytes = vec![day.event(event::START_OF_MESSAGES)];
    for locate in 1..=INSTRUMENTS {
        bytes.push(day.directory(locate));
    }
    for _ in 0..messages {
        let message = day.message();
        bytes.push(message);
    }
    bytes.push(day.event(event::END_OF_MESSAGES));
    bytes
}

struct Day<'a> {
    random: &'a mut StdRng,
    at: u64,
    references: u64,
    matches: u64,
    live: Vec<Live>,
}

fn stock(locate: u16) -> Stock {
    Stock::new(&format!("TEST{locate}")).unwrap()
}

impl Day<'_> {
    fn time(&mut self) -> Timestamp {
        self.at += self.random.random_range(1..1_000_000);
        Timestamp::from_nanos(34_200_000_000_000 + self.at).unwrap()
    }

    fn event(&mut self, event_code: u8) -> Vec<u8> {
        let header = SystemEvent::header(0, self.time());
        SystemEvent { header, event_code }.as_bytes().to_vec()
    }

    fn directory(&mut self, locate: u16) -> Vec<u8> {
        StockDirectory {
            header: StockDirectory::header(locate, self.time()),
            stock: stock(locate),
            market_category: b'Q',
            financial_status_indicator: b'N',
            round_lot_size: 100.into(),
            round_lots_only: b'N',
            issue_classification: b'C',
            issue_sub_type: Text(*b"Z "),
            authenticity: b'T',
            short_sale_threshold_indicator: b'N',
            ipo_flag: b'N',
            luld_reference_price_tier: b'1',
            etp_flag: b'N',
            etp_leverage_factor: 0.into(),
            inverse_indicator: b'N',
        }
        .as_bytes()
        .to_vec()
    }

    fn next_reference(&mut self) -> u64 {
        self.references += self.random.random_range(1..50);
        self.references
    }

    fn next_match(&mut self) -> u64 {
        self.matches += 1;
        self.matches
    }

    /// A price at which the side does not cross the other.
    fn price(&mut self, side: u8) -> u32 {
        let away = self.random.random_range(0..12) * 100;
        if side == BUY {
            1_000_000 - away
        } else {
            1_000_100 + away
        }
    }

    fn message(&mut self) -> Vec<u8> {
        let kind = self.random.random_range(0..100);
        if kind < 40 || self.live.is_empty() {
            return self.add(kind % 4 == 0);
        }
        let which = self.random.random_range(0..self.live.len());
        match kind {
            40..55 => self.execute(which),
            55..60 => self.execute_with_price(which),
            60..70 => self.cancel(which),
            70..85 => self.delete(which),
            85..96 => self.replace(which),
            96..98 => self.trade(),
            _ => self.cross(),
        }
    }

    fn add(&mut self, attributed: bool) -> Vec<u8> {
        let locate = self.random.random_range(1..=INSTRUMENTS);
        let side = if self.random.random() { BUY } else { SELL };
        let (reference, shares) = (self.next_reference(), self.random.random_range(1..1_000));
        let (price, time) = (self.price(side), self.time());
        self.live.push(Live {
            reference,
            locate,
            side,
            shares,
        });
        if attributed {
            return AddOrderAttributed {
                header: AddOrderAttributed::header(locate, time),
                order_reference: reference.into(),
                side,
                shares: shares.into(),
                stock: stock(locate),
                price: price.into(),
                attribution: Mpid::new("TEST").unwrap(),
            }
            .as_bytes()
            .to_vec();
        }
        AddOrder {
            header: AddOrder::header(locate, time),
            order_reference: reference.into(),
            side,
            shares: shares.into(),
            stock: stock(locate),
            price: price.into(),
        }
        .as_bytes()
        .to_vec()
    }

    /// Takes some of an order's shares, all of them in half of the cases; gives reference, locate and shares taken.
    fn take(&mut self, which: usize) -> (u64, u16, u32) {
        let order = &mut self.live[which];
        let taken = if self.random.random() {
            order.shares
        } else {
            self.random.random_range(1..=order.shares)
        };
        order.shares -= taken;
        let (reference, locate) = (order.reference, order.locate);
        if order.shares == 0 {
            self.live.swap_remove(which);
        }
        (reference, locate, taken)
    }

    fn execute(&mut self, which: usize) -> Vec<u8> {
        let (reference, locate, shares) = self.take(which);
        OrderExecuted {
            header: OrderExecuted::header(locate, self.time()),
            order_reference: reference.into(),
            executed_shares: shares.into(),
            match_number: self.next_match().into(),
        }
        .as_bytes()
        .to_vec()
    }

    fn execute_with_price(&mut self, which: usize) -> Vec<u8> {
        let (reference, locate, shares) = self.take(which);
        OrderExecutedWithPrice {
            header: OrderExecutedWithPrice::header(locate, self.time()),
            order_reference: reference.into(),
            executed_shares: shares.into(),
            match_number: self.next_match().into(),
            printable: if self.random.random() { b'Y' } else { b'N' },
            execution_price: 1_000_050.into(),
        }
        .as_bytes()
        .to_vec()
    }

    /// `X` leaves at least a share: the rest of an order leaves with `D`.
    fn cancel(&mut self, which: usize) -> Vec<u8> {
        let order = &mut self.live[which];
        if order.shares == 1 {
            return self.delete(which);
        }
        let taken = self.random.random_range(1..order.shares);
        order.shares -= taken;
        let (reference, locate) = (order.reference, order.locate);
        OrderCancel {
            header: OrderCancel::header(locate, self.time()),
            order_reference: reference.into(),
            cancelled_shares: taken.into(),
        }
        .as_bytes()
        .to_vec()
    }

    fn delete(&mut self, which: usize) -> Vec<u8> {
        let order = self.live.swap_remove(which);
        OrderDelete {
            header: OrderDelete::header(order.locate, self.time()),
            order_reference: order.reference.into(),
        }
        .as_bytes()
        .to_vec()
    }

    fn replace(&mut self, which: usize) -> Vec<u8> {
        let (new, shares) = (self.next_reference(), self.random.random_range(1..1_000));
        let Live {
            reference: old,
            locate,
            side,
            ..
        } = self.live[which];
        let price = self.price(side);
        self.live[which] = Live {
            reference: new,
            locate,
            side,
            shares,
        };
        OrderReplace {
            header: OrderReplace::header(locate, self.time()),
            original_order_reference: old.into(),
            new_order_reference: new.into(),
            shares: shares.into(),
            price: price.into(),
        }
        .as_bytes()
        .to_vec()
    }

    fn trade(&mut self) -> Vec<u8> {
        Trade {
            header: Trade::header(1, self.time()),
            order_reference: 0.into(),
            side: BUY,
            shares: self.random.random_range(1..1_000).into(),
            stock: stock(1),
            price: 1_000_050.into(),
            match_number: self.next_match().into(),
        }
        .as_bytes()
        .to_vec()
    }

    fn cross(&mut self) -> Vec<u8> {
        CrossTrade {
            header: CrossTrade::header(1, self.time()),
            shares: self.random.random_range(1..1_000_000).into(),
            stock: stock(1),
            cross_price: 1_000_050.into(),
            match_number: self.next_match().into(),
            cross_type: cross::OPENING,
        }
        .as_bytes()
        .to_vec()
    }
}
