//! What a trader asks for, one value a message.

use ring0_wire::message::{
    BOTH, BUY, PEG_MIDPOINT, PEG_PRIMARY, SCOPE_ACCOUNT, SCOPE_SESSION, SELL, STOCK_SPACES,
};
use ring0_wire::{Flags, Message, SelfTrade, TimeInForce};

/// An instrument's number on the wire, the first is 1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Locate(pub u16);

/// A quantity in the instrument's smallest amount, as on the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Shares(pub u32);

/// A price in 1/10,000 of the instrument's price unit, as on the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Price(pub u32);

/// A client reference: names an order of the session. Never zero in an order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Reference(pub u32);

/// Buy or sell.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// Pays the quote asset.
    Buy,
    /// Gives the base asset.
    Sell,
}

impl Side {
    fn letter(self) -> u8 {
        match self {
            Side::Buy => BUY,
            Side::Sell => SELL,
        }
    }
}

/// What the price of a pegged order follows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Peg {
    /// The best displayed price of its own side.
    Primary,
    /// The middle between the best displayed prices.
    Midpoint,
}

/// One message to the venue. A new order or replacement without a reference gets one when it is
/// sent: the low half of its client sequence, or one above the last if that is higher.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order(Message);

impl Order {
    /// A limit order that rests until the day is closed.
    #[must_use]
    pub fn limit(side: Side, instrument: Locate, shares: Shares, price: Price) -> Order {
        Order(Message {
            letter: b'A',
            side: side.letter(),
            locate: instrument.0,
            shares: shares.0,
            price: price.0,
            stock: STOCK_SPACES,
            ..Message::default()
        })
    }

    /// [`Order::limit`] to buy.
    #[must_use]
    pub fn buy(instrument: Locate, shares: Shares, price: Price) -> Order {
        Order::limit(Side::Buy, instrument, shares, price)
    }

    /// [`Order::limit`] to sell.
    #[must_use]
    pub fn sell(instrument: Locate, shares: Shares, price: Price) -> Order {
        Order::limit(Side::Sell, instrument, shares, price)
    }

    /// Puts new terms in the place of a live order.
    #[must_use]
    pub fn replace(instrument: Locate, original: Reference, shares: Shares, price: Price) -> Order {
        Order(Message {
            letter: b'U',
            locate: instrument.0,
            reference: original.0,
            shares: shares.0,
            price: price.0,
            ..Message::default()
        })
    }

    /// Takes a quantity off a live order.
    #[must_use]
    pub fn reduce(instrument: Locate, order: Reference, shares: Shares) -> Order {
        Order(Message {
            letter: b'X',
            locate: instrument.0,
            reference: order.0,
            shares: shares.0,
            ..Message::default()
        })
    }

    /// Takes a live order away.
    #[must_use]
    pub fn cancel(instrument: Locate, order: Reference) -> Order {
        Order(Message {
            letter: b'D',
            locate: instrument.0,
            reference: order.0,
            ..Message::default()
        })
    }

    /// Takes all orders of the session away, of one instrument or of all.
    #[must_use]
    pub fn mass_cancel(instrument: Option<Locate>) -> Order {
        Order(Message {
            letter: b'M',
            locate: instrument.map_or(0, |locate| locate.0),
            scope: SCOPE_SESSION,
            side: BOTH,
            ..Message::default()
        })
    }

    /// Of a mass cancel: the orders of all sessions of the account.
    #[must_use]
    pub fn of_account(mut self) -> Order {
        self.0.scope = SCOPE_ACCOUNT;
        self
    }

    /// Of a mass cancel: only the orders of one side.
    #[must_use]
    pub fn only(mut self, side: Side) -> Order {
        self.0.side = side.letter();
        self
    }

    /// Takes all orders of the session away and stops its trading until the operator revives it; with [`Order::of_account`] the account.
    #[must_use]
    pub fn kill() -> Order {
        let mut order = Order::mass_cancel(None);
        order.0.kill = 1;
        order
    }

    /// Any message, as it is; for tools and tests.
    #[must_use]
    pub fn from_message(message: Message) -> Order {
        Order(message)
    }

    /// What does not trade at once is cancelled.
    #[must_use]
    pub fn immediate(self) -> Order {
        self.time(TimeInForce::ImmediateOrCancel)
    }

    /// All at once or nothing.
    #[must_use]
    pub fn fill_or_kill(self) -> Order {
        self.time(TimeInForce::FillOrKill)
    }

    /// Lasts beyond the day, until it is cancelled.
    #[must_use]
    pub fn good_till_cancel(self) -> Order {
        self.time(TimeInForce::GoodTillCancel)
    }

    /// Lasts until a second of the venue's day, 1 to 86,399.
    #[must_use]
    pub fn good_till(self, second: u32) -> Order {
        let mut order = self.time(TimeInForce::GoodTillTime).extended();
        order.0.expiry_s = second;
        order
    }

    /// Rejected where it would not trade at least so much at entry.
    #[must_use]
    pub fn at_least(self, minimum: Shares) -> Order {
        let mut order = self.extended();
        order.0.minimum = minimum.0;
        order
    }

    /// An iceberg: displays so much at a time.
    #[must_use]
    pub fn iceberg(self, display: Shares) -> Order {
        let mut order = self.extended();
        order.0.display = display.0;
        order
    }

    /// Rests without being displayed.
    #[must_use]
    pub fn hidden(self) -> Order {
        let flags = self.0.flags.with(Flags::HIDDEN);
        self.flags(flags)
    }

    /// A stop: waits until a trade reaches this price, and only then enters.
    #[must_use]
    pub fn stop(self, trigger: Price) -> Order {
        let mut order = self.extended();
        order.0.trigger = trigger.0;
        order
    }

    /// Pegged: its price follows the market, `offset` ticks towards the other side (behind, if negative), up to its own price.
    #[must_use]
    pub fn peg(self, peg: Peg, offset: i8) -> Order {
        let mut order = self.extended();
        order.0.peg = match peg {
            Peg::Primary => PEG_PRIMARY,
            Peg::Midpoint => PEG_MIDPOINT,
        };
        order.0.peg_offset_ticks = offset;
        order
    }

    /// What happens where it would trade with an order of its own account.
    #[must_use]
    pub fn self_trade(self, rule: SelfTrade) -> Order {
        // The rule is bits 5 to 7 of the flags.
        let others = self.0.flags.0 & !(0b111 << 5);
        let rule = Flags::new(TimeInForce::Day, rule);
        self.flags(Flags(others | rule.0))
    }

    /// Counts all accounts with this trade group as its own; it must be the account's.
    #[must_use]
    pub fn trade_group(self, group: u16) -> Order {
        let mut order = self.extended();
        order.0.trade_group = group;
        order
    }

    /// Where it would trade at entry its price is moved behind the other side's best instead.
    #[must_use]
    pub fn slide(self) -> Order {
        let flags = self.0.flags.with(Flags::POST_SLIDE);
        self.flags(flags)
    }

    /// Rejected where it would trade at entry.
    #[must_use]
    pub fn post_only(self) -> Order {
        let flags = self.0.flags.with(Flags::POST_REJECT);
        self.flags(flags)
    }

    /// Takes any price up to its own, which protects it; what is left is cancelled.
    #[must_use]
    pub fn market(self) -> Order {
        let flags = self.0.flags.with(Flags::MARKET);
        self.flags(flags)
    }

    /// With these flags.
    #[must_use]
    pub fn flags(mut self, flags: Flags) -> Order {
        self.0.flags = flags;
        self
    }

    /// With this reference of the sender's own choice, above all it used before.
    #[must_use]
    pub fn reference(mut self, reference: Reference) -> Order {
        *self.own_reference() = reference.0;
        self
    }

    /// The message, as it will be sent but for a reference that is still to be given.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0
    }

    /// As the message that has every field.
    fn extended(mut self) -> Order {
        if self.0.letter == b'A' {
            self.0.letter = b'O';
        }
        self
    }

    /// The life of an order is bits 0 to 2 of its flags.
    fn time(self, time: TimeInForce) -> Order {
        let others = self.0.flags.0 & !0b111;
        self.flags(Flags(others | time as u16))
    }

    /// Whether the message brings a reference into use.
    pub(crate) fn takes_reference(&self) -> bool {
        matches!(self.0.letter, b'A' | b'F' | b'O' | b'U')
    }

    /// The reference that the acknowledgement echoes: of a replacement the new one.
    pub(crate) fn own_reference(&mut self) -> &mut u32 {
        if self.0.letter == b'U' {
            &mut self.0.new_reference
        } else {
            &mut self.0.reference
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_wire::host::Inbound;

    #[test]
    fn every_order_is_a_message_that_the_venue_can_read() {
        let (locate, shares, price) = (Locate(1), Shares(100), Price(5));
        let orders = [
            Order::buy(locate, shares, price).immediate(),
            Order::sell(locate, shares, price).fill_or_kill().market(),
            Order::buy(locate, shares, price).post_only(),
            Order::replace(locate, Reference(1), shares, price),
            Order::reduce(locate, Reference(1), shares),
            Order::cancel(locate, Reference(1)),
            Order::mass_cancel(Some(locate)),
            Order::kill(),
            Order::kill().of_account(),
            Order::mass_cancel(None).only(Side::Sell),
            Order::buy(locate, shares, price).good_till_cancel().slide(),
            Order::buy(locate, shares, price)
                .good_till(86_399)
                .iceberg(Shares(10)),
            Order::sell(locate, shares, price)
                .at_least(Shares(5))
                .hidden(),
            Order::sell(locate, shares, price).stop(Price(6)).market(),
            Order::buy(locate, shares, price)
                .peg(Peg::Midpoint, -3)
                .self_trade(SelfTrade::CancelOldest)
                .trade_group(7),
        ];
        for mut order in orders {
            if order.takes_reference() {
                order = order.reference(Reference(9));
                assert_eq!(*order.own_reference(), 9);
            }
            let inbound = Inbound::from_message(order.message()).unwrap();
            assert_eq!(inbound.check().as_ref(), Ok(order.message()));
        }
    }

    #[test]
    fn the_last_life_of_an_order_counts() {
        let order = Order::buy(Locate(1), Shares(1), Price(1))
            .post_only()
            .fill_or_kill()
            .immediate();
        let want = Flags::new(TimeInForce::ImmediateOrCancel, SelfTrade::AccountDefault);
        assert_eq!(order.message().flags, want.with(Flags::POST_REJECT));
        let order = order
            .self_trade(SelfTrade::CancelBoth)
            .self_trade(SelfTrade::CancelNewest);
        let want = Flags::new(TimeInForce::ImmediateOrCancel, SelfTrade::CancelNewest);
        assert_eq!(order.message().flags, want.with(Flags::POST_REJECT));
    }
}
