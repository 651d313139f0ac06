//! The generators' own book of one instrument: limit orders by price and age, self-trade prevention, stops.
//!
//! It shares nothing with the engine and says what the engine must trade. Orders that are gone stay in their queue until they come to
//! its front. Rule: `docs/matching.md#meeting-a-maker`.

use super::random::Random;
use ring0_stream::Side;
use std::collections::{BTreeMap, VecDeque};

/// An order, live or gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) side: Side,
    /// Its limit, or the protection of a market stop, in ticks.
    pub(super) price: u32,
    /// Lots open; 0 when it is gone.
    pub(super) open: u32,
    pub(super) account: u32,
    pub(super) reference: u32,
    /// Self-trade mode as its number on the wire.
    pub(super) mode: u8,
    /// Whether what does not trade at once is gone.
    pub(super) immediate: bool,
    /// In ticks; 0: no stop.
    pub(super) trigger: u32,
}

type Queues = BTreeMap<u32, VecDeque<u32>>;

/// The book. Orders are named by their place in the sequence of their entry.
#[derive(Default)]
pub(super) struct Book {
    orders: Vec<Order>,
    /// By side: price to orders.
    resting: [Queues; 2],
    /// By side: trigger to orders.
    stops: [Queues; 2],
    /// By account: orders that rest or wait.
    live: Vec<Vec<u32>>,
    /// By order: its place in its account's list.
    places: Vec<u32>,
    pub(super) last: Option<u32>,
    pub(super) trades: u64,
    pub(super) quantity: u64,
    pub(super) triggered: u64,
    live_count: usize,
    pub(super) peak_live: usize,
}

fn of(side: Side) -> usize {
    usize::from(side == Side::Sell)
}

/// Queues of a side, best price first.
fn best_first(
    queues: &Queues,
    side: Side,
) -> Box<dyn Iterator<Item = (&u32, &VecDeque<u32>)> + '_> {
    match side {
        Side::Buy => Box::new(queues.iter().rev()),
        Side::Sell => Box::new(queues.iter()),
    }
}

impl Book {
    /// Empty, for so many accounts.
    pub(super) fn new(accounts: u32) -> Book {
        Book {
            live: vec![Vec::new(); accounts as usize],
            ..Book::default()
        }
    }

    /// Enters an order and all stops that its trades trigger; gives how many makers it met itself.
    pub(super) fn enter(&mut self, order: Order) -> u32 {
        let id = self.orders.len() as u32;
        self.orders.push(order);
        self.places.push(0);
        if order.trigger != 0 {
            let queue = self.stops[of(order.side)].entry(order.trigger);
            queue.or_default().push_back(id);
            self.begin_life(id);
            return 0;
        }
        let meets = self.sweep(id);
        while let Some(stop) = self.next_triggered() {
            self.end_life(stop);
            self.triggered += 1;
            self.sweep(stop);
        }
        meets
    }

    /// A live order of an account is cancelled, if there is one.
    pub(super) fn cancel_any(&mut self, account: u32, random: &mut Random) -> Option<Order> {
        let live = &self.live[account as usize];
        if live.is_empty() {
            return None;
        }
        let id = live[random.below(live.len() as u32) as usize];
        self.remove(id);
        Some(self.orders[id as usize])
    }

    /// Price and first order at the best price of a side.
    pub(super) fn best(&mut self, side: Side) -> Option<(u32, u32)> {
        let queues = &mut self.resting[of(side)];
        loop {
            let mut entry = match side {
                Side::Buy => queues.last_entry(),
                Side::Sell => queues.first_entry(),
            }?;
            let price = *entry.key();
            if let Some(first) = first_live(&self.orders, entry.get_mut()) {
                return Some((price, first));
            }
            entry.remove();
        }
    }

    /// The first orders that an order of the other side would meet.
    pub(super) fn makers(&self, side: Side, count: usize) -> Vec<Order> {
        best_first(&self.resting[of(side)], side)
            .flat_map(|(_, queue)| queue)
            .map(|&id| self.orders[id as usize])
            .filter(|order| order.open > 0)
            .take(count)
            .collect()
    }

    /// Price of the first order of a side at `price` or behind it, and the lots before and at that price.
    pub(super) fn reach(&self, side: Side, price: u32) -> Option<(u32, u32)> {
        let mut lots = 0;
        for (&at, queue) in best_first(&self.resting[of(side)], side) {
            let open = |&id: &u32| self.orders[id as usize].open;
            let here: u32 = queue.iter().map(open).sum();
            lots += here;
            let behind = match side {
                Side::Sell => at >= price,
                Side::Buy => at <= price,
            };
            if behind && here > 0 {
                return Some((at, lots));
            }
        }
        None
    }

    /// The trigger that trading comes to first, of the stops of a side.
    pub(super) fn nearest_trigger(&mut self, side: Side) -> Option<u32> {
        self.first_stop(side).map(|(trigger, _)| trigger)
    }

    /// Lots that an auction would trade at its best price.
    pub(super) fn auction_lots(&self) -> u64 {
        let by_price = |side: Side| -> Vec<(u32, u64)> {
            let lots = |queue: &VecDeque<u32>| {
                let open = |&id: &u32| u64::from(self.orders[id as usize].open);
                queue.iter().map(open).sum()
            };
            let queues = self.resting[of(side)].iter();
            queues.map(|(&price, queue)| (price, lots(queue))).collect()
        };
        let (bids, asks) = (by_price(Side::Buy), by_price(Side::Sell));
        let sum = |of: &[(u32, u64)], wanted: &dyn Fn(u32) -> bool| -> u64 {
            let wanted = of.iter().filter(|(price, _)| wanted(*price));
            wanted.map(|(_, lots)| lots).sum()
        };
        // The most is reached at the price of an order.
        let prices = bids.iter().chain(&asks).map(|(price, _)| *price);
        let at = |price| sum(&bids, &|it| it >= price).min(sum(&asks, &|it| it <= price));
        prices.map(at).max().unwrap_or(0)
    }

    /// Takes every order away.
    pub(super) fn clear(&mut self) {
        for &id in self.live.iter().flatten() {
            self.orders[id as usize].open = 0;
        }
        self.live.iter_mut().for_each(Vec::clear);
        self.resting = Default::default();
        self.stops = Default::default();
        self.live_count = 0;
    }

    /// Rests an order without matching, as while a market collects.
    pub(super) fn collect(&mut self, order: Order) {
        let id = self.orders.len() as u32;
        self.orders.push(order);
        self.places.push(0);
        self.rest(id);
    }

    fn sweep(&mut self, id: u32) -> u32 {
        let taker = self.orders[id as usize];
        let (mut left, mut meets) = (taker.open, 0);
        let mut ended = false;
        while left > 0 && !ended {
            let Some((price, maker_id)) = self.best(taker.side.opposite()) else {
                break;
            };
            let crosses = match taker.side {
                Side::Buy => price <= taker.price,
                Side::Sell => price >= taker.price,
            };
            if !crosses {
                break;
            }
            meets += 1;
            let maker = self.orders[maker_id as usize];
            let lots = left.min(maker.open);
            match taker.mode {
                mode if mode == 0 || maker.account != taker.account => {
                    self.trades += 1;
                    self.quantity += u64::from(lots);
                    self.last = Some(price);
                    self.take(maker_id, lots);
                    left -= lots;
                }
                1 => ended = true,
                2 => self.remove(maker_id),
                3 => {
                    self.remove(maker_id);
                    ended = true;
                }
                _ => {
                    self.take(maker_id, lots);
                    left -= lots;
                }
            }
        }
        self.orders[id as usize].open = left;
        if ended || taker.immediate {
            self.orders[id as usize].open = 0;
        } else if left > 0 {
            self.rest(id);
        }
        meets
    }

    /// The first triggered stop: buys before sells.
    fn next_triggered(&mut self) -> Option<u32> {
        let last = self.last?;
        if let Some((trigger, id)) = self.first_stop(Side::Buy)
            && trigger <= last
        {
            return Some(id);
        }
        let (trigger, id) = self.first_stop(Side::Sell)?;
        (trigger >= last).then_some(id)
    }

    /// Trigger and order of the stop that a side's trading comes to first: rising for buys.
    fn first_stop(&mut self, side: Side) -> Option<(u32, u32)> {
        let queues = &mut self.stops[of(side)];
        loop {
            let mut entry = match side {
                Side::Buy => queues.first_entry(),
                Side::Sell => queues.last_entry(),
            }?;
            let trigger = *entry.key();
            // A stop that was triggered lives on elsewhere: its queue is behind it.
            while let Some(&id) = entry.get().front() {
                if self.orders[id as usize].trigger == trigger && self.orders[id as usize].open > 0
                {
                    return Some((trigger, id));
                }
                entry.get_mut().pop_front();
            }
            entry.remove();
        }
    }

    fn rest(&mut self, id: u32) {
        let order = self.orders[id as usize];
        let queue = self.resting[of(order.side)].entry(order.price);
        queue.or_default().push_back(id);
        self.begin_life(id);
    }

    fn take(&mut self, id: u32, lots: u32) {
        if self.orders[id as usize].open == lots {
            self.remove(id);
        } else {
            self.orders[id as usize].open -= lots;
        }
    }

    fn remove(&mut self, id: u32) {
        self.end_life(id);
        self.orders[id as usize].open = 0;
    }

    fn begin_life(&mut self, id: u32) {
        let live = &mut self.live[self.orders[id as usize].account as usize];
        self.places[id as usize] = live.len() as u32;
        live.push(id);
        self.live_count += 1;
        self.peak_live = self.peak_live.max(self.live_count);
    }

    /// Off the list of its account; a stop loses its trigger, because it waits no longer.
    fn end_life(&mut self, id: u32) {
        let order = &mut self.orders[id as usize];
        order.trigger = 0;
        let live = &mut self.live[order.account as usize];
        let place = self.places[id as usize];
        live.swap_remove(place as usize);
        if let Some(&moved) = live.get(place as usize) {
            self.places[moved as usize] = place;
        }
        self.live_count -= 1;
    }
}

/// The first order of a queue that is not gone.
fn first_live(orders: &[Order], queue: &mut VecDeque<u32>) -> Option<u32> {
    while let Some(&id) = queue.front() {
        if orders[id as usize].open > 0 {
            return Some(id);
        }
        queue.pop_front();
    }
    None
}
