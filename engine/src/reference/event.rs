//! Records: a command first, whole and with what became of it, then its events.
//! Rule: `docs/matching.md#records`; bytes: `engine/src/record.rs`.

use super::order::Order;
use super::{Done, Reference, locate_of};
use crate::record::{
    Armed, Crossed, Decremented, Filled, Head, Kind, Reduced, Refilled, Removal, Removed, Replaced,
    Rested, State, StateChanged, Step, Triggered, Uncrossed, Work,
};
use zerocopy::{Immutable, IntoBytes};

impl Reference {
    /// The sequence number of the next record, which is now taken.
    pub(super) fn next(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    /// The record of the command, then its events.
    pub(super) fn publish<R: IntoBytes + Immutable>(&mut self, record: &R) {
        self.records.extend(record.as_bytes());
        self.records.append(&mut self.events);
    }

    /// The record of a step, about an order and its session or another owner.
    pub(super) fn publish_step(
        &mut self,
        sequence: u64,
        locate: u32,
        (order, owner): (u64, u32),
        work: Work,
        done: Done,
    ) {
        self.publish(&Step {
            head: Head {
                kind: Kind::Step as u16,
                slots: 1,
                side: 0,
                locate,
                sequence,
            },
            time_ns: self.time_ns,
            order,
            owner,
            quantity: done.quantity,
            outcome: done.outcome as u8,
            work: work as u8,
            reserved: [0; 22],
        });
    }

    fn event<R: IntoBytes + Immutable>(&mut self, record: &R) {
        self.events.extend(record.as_bytes());
    }

    /// The head of an event, whose sequence number is now taken.
    fn head(&mut self, kind: Kind, side: u8, instrument: u32) -> Head {
        Head {
            kind: kind as u16,
            slots: 1,
            side,
            locate: locate_of(instrument),
            sequence: self.next(),
        }
    }

    pub(super) fn rested(&mut self, order: &Order) {
        let peg = order.peg;
        let peg = peg.map_or(0, |peg| {
            u32::from(peg.kind) | u32::from(peg.offset as u8) << 8
        });
        let head = self.head(Kind::Rested, order.side, order.instrument);
        self.event(&Rested {
            head,
            order: order.id,
            session: order.session,
            account: order.account,
            reference: order.reference,
            price: order.price,
            lots: order.open,
            shown: order.shown(),
            flags: order.flags(),
            peg,
            reserved: [0; 8],
        });
    }

    pub(super) fn armed(&mut self, order: &Order) {
        let head = self.head(Kind::Armed, order.side, order.instrument);
        self.event(&Armed {
            head,
            order: order.id,
            session: order.session,
            account: order.account,
            reference: order.reference,
            price: order.price,
            lots: order.open,
            trigger: order.trigger,
            flags: order.flags(),
            reserved: [0; 12],
        });
    }

    pub(super) fn triggered(&mut self, order: &Order) {
        let head = self.head(Kind::Triggered, order.side, order.instrument);
        self.event(&Triggered {
            head,
            order: order.id,
            session: order.session,
            account: order.account,
            reference: order.reference,
            price: order.price,
            lots: order.open,
            trigger: order.trigger,
            reserved: [0; 16],
        });
    }

    pub(super) fn refilled(&mut self, order: &Order) {
        let head = self.head(Kind::Refilled, order.side, order.instrument);
        self.event(&Refilled {
            head,
            order: order.id,
            session: order.session,
            account: order.account,
            reference: order.reference,
            price: order.price,
            lots: order.open,
            shown: order.shown(),
            reserved: [0; 16],
        });
    }

    pub(super) fn removed(&mut self, order: &Order, removal: Removal, rested: bool) {
        let head = self.head(Kind::Removed, order.side, order.instrument);
        self.event(&Removed {
            head,
            order: order.id,
            session: order.session,
            account: order.account,
            reference: order.reference,
            price: order.price,
            lots: order.open,
            removal: removal as u8,
            rested: u8::from(rested),
            reserved: [0; 18],
        });
    }

    /// `order` as it is now, less `lots`.
    pub(super) fn reduced(&mut self, order: &Order, lots: u32) {
        let head = self.head(Kind::Reduced, order.side, order.instrument);
        self.event(&Reduced {
            head,
            order: order.id,
            session: order.session,
            account: order.account,
            reference: order.reference,
            price: order.price,
            lots,
            open: order.open,
            shown: order.shown(),
            reserved: [0; 12],
        });
    }

    /// Kept where both are one order.
    pub(super) fn replaced(&mut self, original: &Order, order: &Order) {
        let kept = original.id == order.id;
        let head = self.head(Kind::Replaced, order.side, order.instrument);
        self.event(&Replaced {
            head,
            order: original.id,
            new_order: order.id,
            account: order.account,
            session: order.session,
            reference: order.reference,
            price: order.price,
            lots: order.open,
            lots_before: original.open,
            kept: u8::from(kept),
            reserved: [0; 3],
            shown: if kept { order.shown() } else { 0 },
        });
    }

    pub(super) fn filled(
        &mut self,
        maker: &Order,
        taker: &Order,
        price: u32,
        lots: u32,
        (maker_fee, taker_fee): (i128, i128),
    ) {
        let head = self.head(Kind::Filled, taker.side, taker.instrument);
        self.event(&Filled {
            head,
            maker: maker.id,
            taker: taker.id,
            price,
            lots,
            maker_account: maker.account,
            taker_account: taker.account,
            maker_fee: maker_fee as i64,
            taker_fee: taker_fee as u64,
        });
    }

    pub(super) fn decremented(&mut self, maker: &Order, taker: &Order, price: u32, lots: u32) {
        let head = self.head(Kind::Decremented, taker.side, taker.instrument);
        self.event(&Decremented {
            head,
            maker: maker.id,
            taker: taker.id,
            price,
            lots,
            maker_account: maker.account,
            taker_account: taker.account,
            reserved: [0; 16],
        });
    }

    /// Both sides of an auction's fill pay the same fee.
    pub(super) fn crossed(&mut self, buy: &Order, sell: &Order, price: u32, lots: u32, fee: i128) {
        let head = self.head(Kind::Crossed, 0, buy.instrument);
        self.event(&Crossed {
            head,
            buy: buy.id,
            sell: sell.id,
            price,
            lots,
            buy_account: buy.account,
            sell_account: sell.account,
            buy_fee: fee as u64,
            sell_fee: fee as u64,
        });
    }

    pub(super) fn uncrossed(&mut self, at: u32, price: u32, volume: u64, crossed: bool) {
        let head = self.head(Kind::Uncrossed, 0, at);
        self.event(&Uncrossed {
            head,
            volume,
            price,
            crossed: u32::from(crossed),
            reserved: [0; 32],
        });
    }

    pub(super) fn state_changed(&mut self, at: u32, state: State, before: State) {
        let head = self.head(Kind::StateChanged, 0, at);
        self.event(&StateChanged {
            head,
            state: state as u8,
            before: before as u8,
            reserved: [0; 46],
        });
    }
}
