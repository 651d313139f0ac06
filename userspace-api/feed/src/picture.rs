//! What stands now, made from the feed's own messages: what a GLIMPSE snapshot says.
//!
//! Invariant: the picture is that of all messages of its session below `next`.

use crate::batch::Batch;
use ring0_itch::glimpse::SnapshotEnd;
use ring0_itch::itch::{
    AddOrder, AuctionCollar, Message, StockDirectory, SystemEvent, TradingAction,
};
use ring0_itch::mold::Session;
use ring0_itch::soup::{encode, kind};
use std::collections::BTreeMap;
use zerocopy::IntoBytes;

/// What was said of an instrument.
#[derive(Clone, Copy, Default)]
struct Standing {
    directory: Option<StockDirectory>,
    action: Option<TradingAction>,
    collar: Option<AuctionCollar>,
}

/// The picture of one session.
#[derive(Clone)]
pub(crate) struct Picture {
    session: Session,
    next: u64,
    events: Vec<SystemEvent>,
    instruments: BTreeMap<u16, Standing>,
    /// Every displayed order as an add with what it displays now. Their references rise, and with them goes priority.
    orders: BTreeMap<u64, AddOrder>,
}

impl Picture {
    pub(crate) fn new(session: Session, next: u64) -> Picture {
        Picture {
            session,
            next,
            events: Vec::new(),
            instruments: BTreeMap::new(),
            orders: BTreeMap::new(),
        }
    }

    pub(crate) fn session(&self) -> Session {
        self.session
    }

    pub(crate) fn apply(&mut self, batch: &Batch) {
        for message in batch.messages() {
            self.message(message);
        }
        self.next = batch.next();
    }

    /// A message that stands, without counting it.
    pub(crate) fn message(&mut self, message: &[u8]) {
        match Message::read(message) {
            Ok(Message::SystemEvent(it)) => self.events.push(*it),
            Ok(Message::StockDirectory(it)) => {
                let standing = self.standing(it.header.locate.get());
                *standing = Standing {
                    directory: Some(*it),
                    ..Standing::default()
                };
            }
            Ok(Message::TradingAction(it)) => {
                self.standing(it.header.locate.get()).action = Some(*it);
            }
            Ok(Message::AuctionCollar(it)) => {
                self.standing(it.header.locate.get()).collar = Some(*it);
            }
            Ok(Message::AddOrder(it)) => {
                self.orders.insert(it.order_reference.get(), *it);
            }
            Ok(Message::OrderExecuted(it)) => {
                self.take(it.order_reference.get(), it.executed_shares.get());
            }
            Ok(Message::OrderExecutedWithPrice(it)) => {
                self.take(it.order_reference.get(), it.executed_shares.get());
            }
            Ok(Message::OrderCancel(it)) => {
                self.take(it.order_reference.get(), it.cancelled_shares.get());
            }
            Ok(Message::OrderDelete(it)) => {
                self.orders.remove(&it.order_reference.get());
            }
            Ok(Message::OrderReplace(it)) => {
                if let Some(mut order) = self.orders.remove(&it.original_order_reference.get()) {
                    order.header.timestamp = it.header.timestamp;
                    order.order_reference = it.new_order_reference;
                    order.shares = it.shares;
                    order.price = it.price;
                    self.orders.insert(it.new_order_reference.get(), order);
                }
            }
            _ => {} // prints and indications pass
        }
    }

    fn standing(&mut self, locate: u16) -> &mut Standing {
        self.instruments.entry(locate).or_default()
    }

    fn take(&mut self, reference: u64, shares: u32) {
        if let Some(order) = self.orders.get_mut(&reference) {
            let left = order.shares.get().saturating_sub(shares);
            if left == 0 {
                self.orders.remove(&reference);
            } else {
                order.shares = left.into();
            }
        }
    }

    /// The whole snapshot as SoupBinTCP sequenced data: events, directory, states and bands, orders, and the end.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 * (self.orders.len() + 8 * self.instruments.len()));
        let mut put = |message: &[u8]| {
            // Every message is far below the longest payload.
            let _ = encode(kind::SEQUENCED, message, &mut bytes);
        };
        for event in &self.events {
            put(event.as_bytes());
        }
        for standing in self.instruments.values() {
            if let Some(it) = &standing.directory {
                put(it.as_bytes());
            }
            if let Some(it) = &standing.action {
                put(it.as_bytes());
            }
            if let Some(it) = &standing.collar {
                put(it.as_bytes());
            }
        }
        for order in self.orders.values() {
            put(order.as_bytes());
        }
        put(SnapshotEnd::new(self.next).as_bytes());
        bytes
    }
}
