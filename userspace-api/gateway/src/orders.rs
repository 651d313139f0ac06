//! Everybody's own orders and fills of one shard, from its records.
//!
//! Always true: an order's lots are `filled + canceled + open`; an order that is live is never forgotten; of those that are over and of fills
//! the newest of each account are kept ([`Kept`]). The same records give the same orders.

use crate::clock::VenueClock;
use crate::venue::Venue;
use ring0_engine::Reason;
use ring0_engine::control::{BODY_LEN, Body, Bust, ControlKind, Grant};
use ring0_engine::record::{
    Armed, ControlRecord, Crossed, Decremented, Filled, Head, Kind, Message, Outcome, Reduced,
    Removal, Removed, Replaced, Rested, Triggered,
};
use ring0_wire::SessionId;
use ring0_wire::message::Flags;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// How many of an account's orders that are over, and of its fills, are kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Orders.
    pub orders: usize,
    /// Fills.
    pub fills: usize,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It may still trade.
    Open,
    /// A stop that waits for its trigger.
    Armed,
    /// Traded whole.
    Filled,
    /// Gone, whole or in part, without a trade.
    Canceled,
    /// Its time came, or the day ended.
    Expired,
    /// Another one is in its place.
    Replaced,
    /// Refused.
    Rejected,
}

impl Status {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Armed => "armed",
            Status::Filled => "filled",
            Status::Canceled => "canceled",
            Status::Expired => "expired",
            Status::Replaced => "replaced",
            Status::Rejected => "rejected",
        }
    }

    /// Whether it may still trade.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Status::Open | Status::Armed)
    }
}

/// An order.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Sequence of the record that entered it: its name at the venue.
    pub id: u64,
    /// Whose.
    pub account: u32,
    /// By which session.
    pub session: SessionId,
    /// The session's reference for it.
    pub reference: u32,
    /// Instrument index; `u32::MAX` of a rejected order that named none.
    pub instrument: u32,
    /// `B` or `S`; of a rejected replacement 0.
    pub side: u8,
    /// Ticks.
    pub price: u32,
    /// Trigger of a stop in ticks, or 0.
    pub trigger: u32,
    /// Lots in all.
    pub lots: u32,
    /// Lots traded.
    pub filled: u32,
    /// Lots gone without a trade.
    pub canceled: u32,
    /// Lots traded by the orders in whose place it is.
    pub filled_before: u32,
    /// References that it had before it was replaced and kept its place.
    pub former: Vec<u32>,
    /// Ticks times lots of its trades.
    pub notional: u128,
    /// Quote engine units paid in fees, negative: received.
    pub fees: i128,
    /// As entered.
    pub flags: Flags,
    /// What became of it.
    pub status: Status,
    /// The engine's number of the reason for which it was rejected, or 0.
    pub reason: u8,
    /// The record's letter for why it left, or 0.
    pub removal: u8,
    /// Unix time of its entry.
    pub entered_ns: u64,
    /// Unix time of its last change.
    pub changed_ns: u64,
    /// Sequence of the record that changed it last.
    pub changed: u64,
}

impl Order {
    /// Lots that may still trade.
    #[must_use]
    pub fn open(&self) -> u32 {
        if self.status.is_live() {
            self.left()
        } else {
            0
        }
    }

    /// Lots that neither traded nor went otherwise.
    fn left(&self) -> u32 {
        self.lots
            .saturating_sub(self.filled)
            .saturating_sub(self.canceled)
    }
}

/// A fill of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    /// Match number: the sequence of its record.
    pub number: u64,
    /// Whose order.
    pub account: u32,
    /// Id of the order.
    pub order: u64,
    /// Instrument index.
    pub instrument: u32,
    /// `B` or `S`.
    pub side: u8,
    /// Ticks.
    pub price: u32,
    /// Lots.
    pub lots: u32,
    /// Quote engine units, negative: received.
    pub fee: i64,
    /// The order rested; `None` in an auction.
    pub maker: Option<bool>,
    /// Unix time.
    pub time_ns: u64,
    /// Taken back.
    pub broken: bool,
}

/// What is an account's.
#[derive(Debug, Default)]
struct Own {
    live: BTreeSet<u64>,
    /// Orders of it are no longer kept.
    forgot: bool,
    over: VecDeque<u64>,
    fills: VecDeque<Fill>,
}

/// What changed since somebody looked last.
#[derive(Debug, Default)]
pub struct OrderNews {
    /// Ids of orders, each once.
    pub orders: BTreeSet<u64>,
    /// Fills; those taken back come again, as broken.
    pub fills: Vec<Fill>,
}

/// See the module.
#[derive(Debug)]
pub struct Orders {
    venue: Arc<Venue>,
    kept: Kept,
    orders: HashMap<u64, Order>,
    by_reference: HashMap<(SessionId, u32), u64>,
    accounts: HashMap<u32, Own>,
    /// Id and highest reference of each granted session, by index.
    sessions: HashMap<u32, (SessionId, u32)>,
    /// Unix time of the present command.
    now_ns: u64,
    news: OrderNews,
}

impl Orders {
    /// None yet.
    #[must_use]
    pub fn new(venue: Arc<Venue>, kept: Kept) -> Orders {
        Orders {
            venue,
            kept,
            orders: HashMap::new(),
            by_reference: HashMap::new(),
            accounts: HashMap::new(),
            sessions: HashMap::new(),
            now_ns: 0,
            news: OrderNews::default(),
        }
    }

    /// What happened since the last time, once.
    pub fn take_news(&mut self) -> OrderNews {
        std::mem::take(&mut self.news)
    }

    /// An order of this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Order> {
        self.orders.get(&id)
    }

    /// The order of a session's reference.
    #[must_use]
    pub fn by_reference(&self, session: SessionId, reference: u32) -> Option<&Order> {
        self.get(*self.by_reference.get(&(session, reference))?)
    }

    /// Highest reference that a session has used, 0 for none.
    #[must_use]
    pub fn last_reference(&self, session: SessionId) -> u32 {
        let mut all = self.sessions.values();
        all.find(|(id, _)| *id == session)
            .map_or(0, |(_, last)| *last)
    }

    /// Whether orders of an account that are over are no longer kept.
    #[must_use]
    pub fn was_forgotten(&self, account: u32) -> bool {
        self.accounts.get(&account).is_some_and(|own| own.forgot)
    }

    /// An account's live orders, the newest first.
    pub fn live(&self, account: u32) -> impl Iterator<Item = &Order> {
        let own = self.accounts.get(&account);
        let ids = own.into_iter().flat_map(|own| own.live.iter().rev());
        ids.filter_map(|id| self.orders.get(id))
    }

    /// An account's orders with ids below `before` that are kept, live or over, the newest first.
    #[must_use]
    pub fn all(&self, account: u32, before: u64) -> Vec<&Order> {
        let Some(own) = self.accounts.get(&account) else {
            return Vec::new();
        };
        let mut ids: Vec<u64> = own.live.iter().chain(&own.over).copied().collect();
        ids.sort_unstable();
        let ids = ids.into_iter().rev().filter(|id| *id < before);
        ids.filter_map(|id| self.orders.get(&id)).collect()
    }

    /// An account's fills with numbers below `before` that are kept, the newest first.
    pub fn fills(&self, account: u32, before: u64) -> impl Iterator<Item = &Fill> {
        let own = self.accounts.get(&account);
        let fills = own.into_iter().flat_map(|own| own.fills.iter().rev());
        fills.filter(move |fill| fill.number < before)
    }

    /// Takes a whole record.
    pub fn record(&mut self, head: &Head, bytes: &[u8], clock: &VenueClock) {
        fn read<R: FromBytes>(bytes: &[u8]) -> Option<R> {
            R::read_from_bytes(bytes).ok()
        }
        // A record that cannot be read was refused by the translator before.
        let _ = match Kind::from_number(head.kind) {
            Some(Kind::Message) => read(bytes).map(|it| self.message(&it, clock)),
            Some(Kind::Step) => read::<ring0_engine::record::Step>(bytes)
                .map(|it| self.now_ns = clock.unix_ns(it.time_ns)),
            Some(Kind::Control) => read(bytes).map(|it| self.control(&it, clock)),
            Some(Kind::Rested) => read(bytes).map(|it| self.rested(&it)),
            Some(Kind::Filled) => read(bytes).map(|it| self.filled(&it)),
            Some(Kind::Removed) => read(bytes).map(|it| self.removed(&it)),
            Some(Kind::Reduced) => read(bytes).map(|it: Reduced| {
                self.cancel(head.sequence, it.order, it.lots, 0);
            }),
            Some(Kind::Replaced) => read(bytes).map(|it| self.replaced(&it)),
            Some(Kind::Armed) => read(bytes).map(|it: Armed| {
                self.change(head.sequence, it.order, |order| {
                    order.status = Status::Armed;
                    // A market stop's protection ends where the ladder does.
                    order.price = it.price;
                });
            }),
            Some(Kind::Triggered) => read(bytes).map(|it: Triggered| {
                self.change(head.sequence, it.order, |order| order.status = Status::Open);
            }),
            Some(Kind::Decremented) => read(bytes).map(|it: Decremented| {
                for order in [it.maker, it.taker] {
                    self.cancel(head.sequence, order, it.lots, Removal::SelfTrade as u8);
                }
            }),
            Some(Kind::Crossed) => read(bytes).map(|it| self.crossed(&it)),
            Some(Kind::Refilled | Kind::Uncrossed | Kind::StateChanged) | None => None,
        };
    }

    fn insert(&mut self, order: Order) {
        let (id, account) = (order.id, order.account);
        // A reference that did not rise names an earlier order, or none.
        if order.reason != Reason::ReferenceNotRising as u8 {
            self.by_reference
                .insert((order.session, order.reference), id);
        }
        let own = self.accounts.entry(account).or_default();
        if order.status.is_live() {
            own.live.insert(id);
        } else {
            own.over.push_back(id);
        }
        self.orders.insert(id, order);
        self.news.orders.insert(id);
        self.forget(account);
    }

    /// Lets the oldest orders of an account go that are over.
    fn forget(&mut self, account: u32) {
        let Some(own) = self.accounts.get_mut(&account) else {
            return;
        };
        while own.over.len() > self.kept.orders {
            own.forgot = true;
            let gone = own.over.pop_front().and_then(|id| self.orders.remove(&id));
            if let Some(order) = gone {
                for reference in order.former.iter().chain([&order.reference]) {
                    let key = (order.session, *reference);
                    if self.by_reference.get(&key) == Some(&order.id) {
                        self.by_reference.remove(&key);
                    }
                }
            }
        }
        while own.fills.len() > self.kept.fills {
            own.fills.pop_front();
        }
    }

    fn change(&mut self, sequence: u64, id: u64, with: impl FnOnce(&mut Order)) {
        let Some(order) = self.orders.get_mut(&id) else {
            return;
        };
        let was_live = order.status.is_live();
        with(order);
        order.changed = sequence;
        order.changed_ns = self.now_ns;
        let (account, is_live) = (order.account, order.status.is_live());
        self.news.orders.insert(id);
        if was_live && !is_live {
            let own = self.accounts.entry(account).or_default();
            own.live.remove(&id);
            own.over.push_back(id);
            self.forget(account);
        }
    }

    fn message(&mut self, message: &Message, clock: &VenueClock) {
        self.now_ns = clock.unix_ns(message.time_ns);
        let bytes = &message.message;
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let letter = bytes[0];
        let Some((session, last)) = self.sessions.get_mut(&message.session) else {
            return; // it was granted before the first record that is known
        };
        // The low half; an order whose high half is not zero is rejected, and its reference taken by nobody.
        let reference = match letter {
            b'A' | b'F' | b'O' => word(15),
            b'U' => word(23),
            _ => return,
        };
        let session = *session;
        *last = (*last).max(reference);
        let is_rejected = message.outcome == Outcome::Rejected as u8;
        if letter == b'U' && !is_rejected {
            return; // `Replaced` says it
        }
        let (price, shares) = match letter {
            b'U' => (word(31), word(27)),
            _ => (word(32), word(20)),
        };
        let instrument = message.head.locate.wrapping_sub(1);
        // Of an instrument that is none the order is rejected; its numbers stay as they came.
        let listed = self.venue.instruments.get(instrument as usize);
        let (tick, lot) = listed.map_or((1, 1), |it| (it.tick_size, it.lot_size));
        let order = Order {
            id: message.head.sequence,
            account: message.account,
            session,
            reference,
            instrument,
            side: if letter == b'U' { 0 } else { bytes[19] },
            price: price / tick,
            trigger: if letter == b'O' { word(44) / tick } else { 0 },
            lots: shares / lot,
            filled: 0,
            canceled: 0,
            filled_before: 0,
            former: Vec::new(),
            notional: 0,
            fees: 0,
            flags: Flags(if letter == b'U' {
                0
            } else {
                u16::from_be_bytes([bytes[3], bytes[4]])
            }),
            status: if is_rejected {
                Status::Rejected
            } else {
                Status::Open
            },
            reason: message.reason,
            removal: 0,
            entered_ns: self.now_ns,
            changed_ns: self.now_ns,
            changed: message.head.sequence,
        };
        self.insert(order);
    }

    fn rested(&mut self, rested: &Rested) {
        // A post-only order that slid has another price.
        self.change(rested.head.sequence, rested.order, |order| {
            order.price = rested.price;
        });
    }

    fn filled(&mut self, it: &Filled) {
        let taker_fee = i64::try_from(it.taker_fee).unwrap_or(i64::MAX);
        let other = if it.head.side == b'B' { b'S' } else { b'B' };
        for (order, side, fee, maker, account) in [
            (it.maker, other, it.maker_fee, true, it.maker_account),
            (it.taker, it.head.side, taker_fee, false, it.taker_account),
        ] {
            self.fill(Fill {
                number: it.head.sequence,
                account,
                order,
                instrument: it.head.locate.wrapping_sub(1),
                side,
                price: it.price,
                lots: it.lots,
                fee,
                maker: Some(maker),
                time_ns: self.now_ns,
                broken: false,
            });
        }
    }

    fn crossed(&mut self, it: &Crossed) {
        for (order, side, fee, account) in [
            (it.buy, b'B', it.buy_fee, it.buy_account),
            (it.sell, b'S', it.sell_fee, it.sell_account),
        ] {
            self.fill(Fill {
                number: it.head.sequence,
                account,
                order,
                instrument: it.head.locate.wrapping_sub(1),
                side,
                price: it.price,
                lots: it.lots,
                fee: i64::try_from(fee).unwrap_or(i64::MAX),
                maker: None,
                time_ns: self.now_ns,
                broken: false,
            });
        }
    }

    fn fill(&mut self, fill: Fill) {
        self.change(fill.number, fill.order, |order| {
            order.filled += fill.lots.min(order.left());
            order.notional += u128::from(fill.price) * u128::from(fill.lots);
            order.fees += i128::from(fill.fee);
            if order.left() == 0 {
                order.status = Status::Filled;
            }
        });
        let own = self.accounts.entry(fill.account).or_default();
        own.fills.push_back(fill.clone());
        self.forget(fill.account);
        self.news.fills.push(fill);
    }

    /// Lots of an order are gone without a trade; with the last one so is the order.
    fn cancel(&mut self, sequence: u64, id: u64, lots: u32, removal: u8) {
        self.change(sequence, id, |order| {
            order.canceled += lots.min(order.left());
            order.removal = removal;
            if order.left() == 0 {
                let expired = [Removal::Expired as u8, Removal::DayEnd as u8];
                order.status = if expired.contains(&removal) {
                    Status::Expired
                } else {
                    Status::Canceled
                };
            }
        });
    }

    fn removed(&mut self, removed: &Removed) {
        let sequence = removed.head.sequence;
        self.cancel(sequence, removed.order, removed.lots, removed.removal);
    }

    fn replaced(&mut self, it: &Replaced) {
        let (sequence, now_ns) = (it.head.sequence, self.now_ns);
        let Some(old) = self.orders.get(&it.order).cloned() else {
            return;
        };
        if it.kept != 0 {
            self.by_reference
                .insert((old.session, it.reference), it.order);
            self.change(sequence, it.order, |order| {
                order.former.push(old.reference);
                order.reference = it.reference;
                order.price = it.price;
                order.canceled += it.lots_before.saturating_sub(it.lots).min(order.left());
            });
            return;
        }
        self.change(sequence, it.order, |order| {
            order.canceled += order.left();
            order.status = Status::Replaced;
        });
        self.insert(Order {
            id: it.new_order,
            reference: it.reference,
            price: it.price,
            lots: it.lots,
            filled: 0,
            canceled: 0,
            filled_before: old.filled_before + old.filled,
            former: Vec::new(),
            notional: 0,
            fees: 0,
            status: Status::Open,
            removal: 0,
            entered_ns: now_ns,
            changed_ns: now_ns,
            changed: sequence,
            ..old
        });
    }

    fn control(&mut self, record: &ControlRecord, clock: &VenueClock) {
        self.now_ns = clock.unix_ns(record.time_ns);
        if record.outcome == Outcome::Rejected as u8 {
            return;
        }
        if record.kind == ControlKind::GrantSession as u32 {
            let grant: Grant = body(record);
            let id = SessionId(grant.id);
            let known = self.sessions.get(&grant.session).map(|(id, _)| *id);
            if known != Some(id) {
                self.sessions.insert(grant.session, (id, 0));
            }
        } else if record.kind == ControlKind::Bust as u32 {
            let bust: Bust = body(record);
            for account in [bust.buyer, bust.seller] {
                let fills = self.accounts.get_mut(&account).map(|own| &mut own.fills);
                let found = fills.into_iter().flatten();
                for fill in found.filter(|it| it.number == bust.trade && !it.broken) {
                    fill.broken = true;
                    self.news.fills.push(fill.clone());
                }
            }
        }
    }
}

/// The body of a control record, read as `B`; every body is asserted to fit.
pub(crate) fn body<B: Body>(record: &ControlRecord) -> B {
    const _: () = assert!(size_of::<[u64; BODY_LEN / 8]>() == BODY_LEN);
    match B::read_from_prefix(record.body.as_bytes()) {
        Ok((body, _)) => body,
        Err(_) => B::new_zeroed(),
    }
}
