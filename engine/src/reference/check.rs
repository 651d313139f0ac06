//! What is always true between two commands.

use super::Reference;
use super::book::Instrument;
use super::money::is_on_ladder;
use super::order::{BOOKS, Order, Stand};
use super::session::Session;
use super::step::{Pending, Task};
use crate::limits::{AMOUNT_MAX, BUCKET_LEN, PEG_QUEUES_MAX};
use crate::record::State;
use ring0_wire::message::{BUY, SELL};
use std::collections::{BTreeMap, BTreeSet};

impl Reference {
    /// Asserts what is always true between two commands. Walks everything.
    ///
    /// # Panics
    /// When something is not.
    pub fn check(&self) {
        assert!(self.events.is_empty(), "every event has its command");
        self.check_money();
        let mut in_books = BTreeSet::new();
        let mut sweeping = 0;
        let mut levels = 0;
        for (index, instrument) in (0_u32..).zip(&self.instruments) {
            let Some(instrument) = instrument else {
                continue;
            };
            levels += self.check_books(index, instrument, &mut in_books);
            self.check_work(index, instrument);
            if let Some(Task::Sweep { order, .. }) = &instrument.work {
                sweeping += 1;
                let order = &self.orders[order];
                assert_eq!(order.instrument, index);
                assert!(!order.waits(), "a stop waits or sweeps");
                assert!(!in_books.contains(&order.id), "what sweeps is in no book");
            }
        }
        assert_eq!(
            in_books.len() + sweeping,
            self.orders.len(),
            "a live order is in a book or sweeps"
        );
        assert_eq!(levels, self.levels_count, "levels in use");
        assert!(self.orders.len() as u64 <= u64::from(self.capacity.orders));
        assert!(levels <= self.capacity.levels);
        self.check_expiry(&in_books);
        self.check_sessions();
        self.check_rates();
        self.check_pending();
    }

    /// Every order stands where its terms say; gives how many levels and queues there are.
    fn check_books(
        &self,
        index: u32,
        instrument: &Instrument,
        in_books: &mut BTreeSet<u64>,
    ) -> u32 {
        let mut stands = Vec::new();
        for book in 0..BOOKS {
            for (price, ids) in instrument.best_first(book) {
                stands.push((Stand::Level(book, price), ids));
            }
        }
        for (side, queues) in [BUY, SELL].into_iter().zip(&instrument.pegs) {
            assert!(queues.len() as u32 <= PEG_QUEUES_MAX);
            for queue in queues {
                let stand = Stand::Queue(side, queue.peg, queue.limit);
                stands.push((stand, queue.ids.as_slice()));
            }
        }
        for (place, (stand, ids)) in stands.iter().enumerate() {
            assert!(!ids.is_empty(), "a level or queue has orders");
            if matches!(stand, Stand::Queue(..)) {
                let same = |(other, _): &(Stand, &[u64])| other == stand;
                assert!(
                    !stands[..place].iter().any(same),
                    "one queue for each kind, offset and limit"
                );
            }
            for id in *ids {
                let order = &self.orders[id];
                assert_eq!(order.instrument, index);
                assert_eq!(order.stand(), *stand, "it stands where its terms say");
                assert!(in_books.insert(*id), "it stands in one place");
                check_order(instrument, order);
            }
        }
        stands.len() as u32
    }

    fn check_work(&self, index: u32, instrument: &Instrument) {
        let queued = self.pending.contains(&Pending::Instrument(index));
        assert_eq!(instrument.work.is_some(), queued, "work is queued");
        if instrument.state == State::Continuous {
            assert!(!instrument.is_crossed(), "what crosses has traded");
            let triggered = self.next_triggered(index).is_some();
            assert!(
                !triggered || instrument.work.is_some(),
                "what is triggered enters"
            );
        }
        for price in [
            instrument.reference,
            instrument.last,
            instrument.auction,
            instrument.pause_low,
            instrument.pause_high,
        ] {
            assert!(price == 0 || is_on_ladder(&instrument.list, price));
        }
    }

    fn check_money(&self) {
        let mut held = BTreeMap::<(u32, u32), u128>::new();
        for (id, order) in &self.orders {
            assert_eq!(*id, order.id);
            assert!(order.open > 0, "a live order has open lots");
            let asset = (order.account, self.asset_held(order));
            *held.entry(asset).or_default() += self.hold_of(order, order.open);
        }
        let mut sums = vec![0_u128; self.assets.len()];
        for (index, account) in (0_u32..).zip(&self.accounts) {
            let balances = account.iter().flat_map(|account| &account.balances);
            for (asset, balance) in (0_u32..).zip(balances) {
                let orders = held.get(&(index, asset)).copied().unwrap_or(0);
                assert_eq!(u128::from(balance.held), orders, "held is what orders hold");
                sums[asset as usize] += u128::from(balance.available) + orders;
            }
        }
        for (asset, sum) in self.assets.iter().zip(sums) {
            assert_eq!(
                sum + u128::from(asset.fees),
                u128::from(asset.total),
                "what was deposited is in the balances and fees"
            );
            assert!(asset.total <= AMOUNT_MAX);
        }
    }

    fn check_expiry(&self, in_books: &BTreeSet<u64>) {
        let mut listed = BTreeSet::new();
        for (&second, ids) in &self.expiring {
            assert!(!ids.is_empty(), "a second has orders");
            assert!(
                second > self.second || self.expiry_pends(),
                "whose second has come goes"
            );
            for id in ids {
                assert_eq!(self.orders[id].expiry, second);
                assert!(listed.insert(*id), "it is listed once");
            }
        }
        let expires = |id: &&u64| self.orders[*id].expiry != 0;
        let expires: BTreeSet<u64> = in_books.iter().filter(expires).copied().collect();
        assert_eq!(
            listed, expires,
            "the good-till-time orders in books are listed"
        );
    }

    fn check_sessions(&self) {
        let mut live = 0;
        let mut overflowed = 0;
        for (index, session) in (0_u32..).zip(&self.sessions) {
            let Some(session) = session else { continue };
            live += session.references.len();
            overflowed += session.overflowed.len();
            self.check_places(index, session);
            let answers = session.oldest_answer()..session.expected;
            assert!(session.answers.keys().copied().eq(answers), "every answer");
            let account = self.account(session.grant.account);
            assert!(account.sessions.contains(&index), "its account knows it");
        }
        assert_eq!(live, self.orders.len(), "every live order has its session");
        let there: usize = self.overflow.values().map(Vec::len).sum();
        assert_eq!(there, overflowed, "no dead order has a place");
        let full = |bucket: &Vec<_>| bucket.len() <= BUCKET_LEN as usize;
        assert!(
            self.overflow.values().all(full),
            "buckets keep their length"
        );
    }

    /// Nobody is charged more than a burst at once.
    fn check_rates(&self) {
        let sessions = self.sessions.iter().flatten();
        let sessions = sessions.map(|s| (s.rate_state, s.grant.burst, s.grant.interval_ns));
        let accounts = self.accounts.iter().flatten();
        let accounts = accounts.map(|a| (a.rate_state, a.burst, a.interval_ns));
        for (state, burst, interval_ns) in sessions.chain(accounts) {
            let whole = u128::from(burst) * u128::from(interval_ns);
            assert!(u128::from(state) <= u128::from(self.time_ns) + whole);
        }
    }

    fn check_places(&self, index: u32, session: &Session) {
        let mut in_window = 0;
        for (&reference, id) in &session.references {
            let order = &self.orders[id];
            assert_eq!((order.session, order.reference), (index, reference));
            assert!(
                reference <= session.last_reference,
                "the last is the highest"
            );
            let place = session.place_of(reference);
            if session.window.get(&place) == Some(&reference) {
                in_window += 1;
                continue;
            }
            let bucket = &self.overflow[&self.bucket_of(index, reference)];
            assert!(bucket.contains(&(index, reference)), "it has a place");
            assert!(session.overflowed.contains(id), "it is listed as moved");
        }
        assert_eq!(in_window, session.window.len(), "no dead order has a place");
        let all = in_window + session.overflowed.len();
        assert_eq!(
            all,
            session.references.len(),
            "no order is listed as moved twice"
        );
    }

    fn check_pending(&self) {
        for (place, pending) in self.pending.iter().enumerate() {
            assert!(
                self.pending.iter().skip(place + 1).all(|p| p != pending),
                "an entry is queued once"
            );
            match *pending {
                Pending::Instrument(at) => assert!(self.instrument(at).work.is_some()),
                Pending::Session(index) => assert!(self.session(index).mass.is_some()),
                Pending::Account(index) => assert!(self.account(index).mass.is_some()),
                Pending::Expiry => {}
            }
        }
        for (index, session) in (0_u32..).zip(&self.sessions) {
            let cancels = session.iter().any(|s| s.mass.is_some());
            assert!(!cancels || self.pending.contains(&Pending::Session(index)));
        }
        for (index, account) in (0_u32..).zip(&self.accounts) {
            let cancels = account.iter().any(|a| a.mass.is_some());
            assert!(!cancels || self.pending.contains(&Pending::Account(index)));
        }
    }
}

/// An order in a book.
fn check_order(instrument: &Instrument, order: &Order) {
    let list = &instrument.list;
    assert!(is_on_ladder(list, order.price), "on the ladder");
    assert!(
        !order.waits() || is_on_ladder(list, order.trigger),
        "on the ladder"
    );
    assert!(
        order.waits() || !order.immediate,
        "only what is not immediate rests"
    );
    assert!(
        !order.immediate || (!order.hidden && order.peak == 0),
        "what never rests is displayed nowhere"
    );
    assert!(order.peg.is_none() || !order.hidden);
    if order.peak != 0 && !order.waits() {
        assert!(order.is_displayed(), "an iceberg is displayed");
        assert!(order.slice > 0, "a slice used up is refilled");
        assert!(order.slice <= order.open.min(order.peak));
    }
}
