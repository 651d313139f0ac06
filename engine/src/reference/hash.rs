//! The canonical listing of the state.
//! Rule: `docs/matching.md#state-hash`; items: `engine/src/canon.rs`.

use super::Reference;
use super::book::Instrument;
use super::mass::Mass;
use super::order::{BOOKS, Order, side_number};
use super::session::Session;
use super::step::{Pending, Task};
use crate::canon::{Listing, Tag};
use crate::limits::AMOUNT_MAX;
use crate::record::Work;

/// Added to the self-trade mode of an order with a trade group.
const BY_GROUP: u64 = 8;

impl Reference {
    /// Lists the state in the order of `docs/matching.md#state-hash`.
    pub fn list(&self, to: &mut dyn Listing) {
        to.item(
            Tag::Shard,
            &[
                self.time_ns,
                self.day_base_ns,
                self.next_sequence,
                u64::from(self.halted),
                u64::from(self.day),
                self.midnight_ns,
                u64::from(self.second),
                u64::from(self.expiry_pends()),
            ],
        );
        for (index, asset) in (0_u64..).zip(&self.assets) {
            if asset.total != 0 || asset.fees != 0 {
                to.item(Tag::Asset, &[index, asset.total, asset.fees]);
            }
        }
        for (index, instrument) in (0_u64..).zip(&self.instruments) {
            if let Some(instrument) = instrument {
                self.list_instrument_state(to, index, instrument);
            } else if let Some(&port) = self.routes.get(&(index as u32)) {
                to.item(Tag::Route, &[index, port.into()]);
            }
        }
        for (index, account) in (0_u64..).zip(&self.accounts) {
            let Some(account) = account else { continue };
            to.item(
                Tag::Account,
                &[
                    index,
                    u64::from(account.killed),
                    u64::from(account.self_trade),
                    u64::from(account.group),
                    u64::from(account.orders_max),
                    u64::from(account.shares_max),
                    account.notional_max,
                    account.rate_state,
                    account.interval_ns,
                    u64::from(account.burst),
                ],
            );
            for (asset, b) in (0_u64..).zip(&account.balances) {
                if b.available != 0 || b.held != 0 || b.outflow != 0 || b.limit != AMOUNT_MAX {
                    let outflow = b.outflow as u64;
                    let numbers = [index, asset, b.available, b.held, outflow, b.limit];
                    to.item(Tag::Balance, &numbers);
                }
            }
            self.list_transfers(to, index as u32);
            list_mass(to, account.mass.as_ref());
        }
        for (index, session) in (0_u64..).zip(&self.sessions) {
            if let Some(session) = session {
                list_session(to, index, session);
            }
        }
        for (&second, ids) in &self.expiring {
            for &id in ids {
                to.item(Tag::Expiring, &[u64::from(second), id]);
            }
        }
        for &pending in &self.pending {
            let numbers = match pending {
                Pending::Instrument(index) => [1, u64::from(index)],
                Pending::Session(index) => [2, u64::from(index)],
                Pending::Account(index) => [3, u64::from(index)],
                Pending::Expiry => [4, 0],
            };
            to.item(Tag::Pending, &numbers);
        }
    }

    fn list_instrument_state(&self, to: &mut dyn Listing, index: u64, instrument: &Instrument) {
        let list = &instrument.list;
        to.item(
            Tag::Instrument,
            &[
                index,
                u64::from_le_bytes(list.symbol),
                u64::from(list.base_asset),
                u64::from(list.quote_asset),
                u64::from(list.tick_size),
                u64::from(list.lot_size),
                u64::from(list.tick_value),
                u64::from(list.ladder_base),
                list.lot_value,
                u64::from(list.ladder_len),
                u64::from(list.lots_max),
                u64::from(list.band_low),
                u64::from(list.band_high),
                list.notional_max,
                i64::from(list.maker_ppm) as u64,
                u64::from(list.taker_ppm),
                instrument.state as u64,
                u64::from(instrument.dynamic_ticks),
                u64::from(instrument.fat_ticks),
                u64::from(instrument.pause_ticks),
                u64::from(instrument.reference),
                u64::from(instrument.last),
                u64::from(instrument.auction),
                u64::from(instrument.pause_low),
                u64::from(instrument.pause_high),
            ],
        );
        for book in 0..BOOKS {
            for (price, ids) in instrument.best_first(book) {
                let (count, lots) = (ids.len() as u64, self.lots_of(book, ids));
                let numbers = [book as u64, u64::from(price), count, lots];
                to.item(Tag::Level, &numbers);
                self.list_orders(to, ids);
            }
        }
        for (side, queues) in (0_u64..).zip(&instrument.pegs) {
            for queue in queues {
                let open = |id| u64::from(self.orders[id].open);
                to.item(
                    Tag::Queue,
                    &[
                        side,
                        u64::from(queue.peg.kind),
                        u64::from(queue.peg.offset as u8),
                        u64::from(queue.limit),
                        queue.ids.len() as u64,
                        queue.ids.iter().map(open).sum(),
                    ],
                );
                self.list_orders(to, &queue.ids);
            }
        }
        match &instrument.work {
            None => {}
            Some(Task::Sweep { order, quote }) => {
                let order = &self.orders[order];
                to.item(
                    Tag::Work,
                    &[
                        Work::Sweep as u64,
                        side_number(order.side) as u64,
                        u64::from(order.executed),
                        u64::from(quote.bid.unwrap_or(0)),
                        u64::from(quote.ask.unwrap_or(0)),
                    ],
                );
                to.item(Tag::Order, &order.numbers(0));
            }
            Some(Task::Triggers) => to.item(Tag::Work, &[Work::Triggers as u64]),
            Some(Task::Uncross {
                price,
                then,
                volume,
            }) => {
                let work = Work::Uncross as u64;
                let numbers = [work, u64::from(*price), *then as u64, *volume];
                to.item(Tag::Work, &numbers);
            }
            Some(Task::Purge(purge)) => to.item(
                Tag::Work,
                &[
                    Work::Purge as u64,
                    purge.removal as u64,
                    u64::from(purge.side),
                    purge.book as u64,
                    purge.next,
                    u64::from(purge.base),
                    u64::from(purge.len),
                ],
            ),
        }
    }

    fn list_orders(&self, to: &mut dyn Listing, ids: &[u64]) {
        for id in ids {
            let order = &self.orders[id];
            to.item(Tag::Order, &order.numbers(order.shown()));
        }
    }
}

fn list_session(to: &mut dyn Listing, index: u64, session: &Session) {
    let grant = &session.grant;
    let id = grant.id;
    let head = [id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]];
    to.item(
        Tag::Session,
        &[
            index,
            u64::from_le_bytes(head),
            u64::from(u16::from_le_bytes([id[8], id[9]])),
            u64::from(grant.account),
            if session.killed { 2 } else { 1 },
            session.expected,
            u64::from(session.last_reference),
            session.rate_state,
            grant.interval_ns,
            u64::from(grant.burst),
            grant.expires_ns,
            u64::from(grant.answers_log2),
            u64::from(grant.references_log2),
            u64::from(grant.orders_max),
            u64::from(grant.shares_max),
            grant.notional_max,
            u64::from(grant.cancel_on_disconnect),
        ],
    );
    for (&sequence, ack) in &session.answers {
        to.item(
            Tag::Answer,
            &[
                sequence,
                ack.outcome as u64,
                ack.reason as u64,
                u64::from(ack.reference),
                u64::from(ack.quantity),
                ack.venue_sequence,
            ],
        );
    }
    for &id in &session.overflowed {
        to.item(Tag::Overflowed, &[id]);
    }
    list_mass(to, session.mass.as_ref());
}

fn list_mass(to: &mut dyn Listing, mass: Option<&Mass>) {
    let Some(mass) = mass else { return };
    let session = mass.session.expect("one without sessions is done at once");
    to.item(
        Tag::Mass,
        &[
            u64::from(mass.locate),
            u64::from(mass.side),
            mass.removal as u64,
            u64::from(session),
            u64::from(mass.place),
            mass.overflowed.unwrap_or(0),
        ],
    );
}

impl Order {
    /// As in [`Tag::Order`].
    fn numbers(&self, shown: u32) -> [u64; 12] {
        let (stands_under, limit) = if self.waits() {
            (self.trigger, self.price)
        } else {
            (self.price, 0)
        };
        let by_group = if self.by_group { BY_GROUP } else { 0 };
        [
            self.id,
            u64::from(self.session),
            u64::from(self.account),
            u64::from(self.reference),
            u64::from(stands_under),
            u64::from(self.open),
            u64::from(self.flags()),
            u64::from(self.self_trade) + by_group,
            u64::from(shown),
            u64::from(self.peak),
            u64::from(self.expiry),
            u64::from(limit),
        ]
    }
}
