//! What a trader asks for, one value a message.

use ring0_wire::message::{BOTH, BUY, SCOPE_SESSION, SELL, STOCK_SPACES};
use ring0_wire::{Flags, Message, TimeInForce};

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
            side: match side {
                Side::Buy => BUY,
                Side::Sell => SELL,
            },
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

    /// Takes all orders of the session away and stops its trading until the operator revives it.
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
    use ring0_wire::SelfTrade;
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
    }
}
