//! What no command may break, looked at after every single one: money is neither made nor lost, a book that trades continuously is not
//! crossed, a level's sums are those of its orders, what is held is what the live orders hold.
//!
//! A recorder is told of each command once it is done; this one walks the canonical listing then. Nothing of the engine's own
//! [`check`](ring0_engine::Shard::check) is used.
#![cfg(feature = "std")]

mod tape;

use ring0_engine::canon::{Listing, Tag};
use ring0_engine::flow::{Flow, Input, Options, Profile};
use ring0_engine::native::{Dropped, Native};
use ring0_engine::record::State;
use ring0_engine::{Recorder, Shard, copy_outbox};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Records, and an audit at each.
#[derive(Default)]
struct Auditor {
    records: RefCell<Vec<u8>>,
    commands: Cell<u64>,
}

impl Recorder for Auditor {
    fn free(&self) -> u64 {
        u64::MAX
    }

    fn reserve(&self) -> u64 {
        0
    }

    fn publish(&self, shard: Shard<'_>, slots: u32) {
        copy_outbox(shard, slots, |_, words| {
            let mut records = self.records.borrow_mut();
            for word in &words.word {
                records.extend_from_slice(&word.get().to_le_bytes());
            }
        });
        self.commands.set(self.commands.get() + 1);
        let mut audit = Audit::default();
        shard.list(&mut audit);
        audit.end();
    }
}

/// A level, a queue or a sweep whose orders are being added up.
#[derive(Default)]
struct Sum {
    orders: u64,
    lots: u64,
    /// Whether its lots are the displayed ones.
    displayed: bool,
    found_orders: u64,
    found_lots: u64,
}

/// What one listing adds up to.
#[derive(Default)]
struct Audit {
    /// Total and fees by asset.
    assets: BTreeMap<u64, (u64, u64)>,
    /// Available and held by asset.
    balances: BTreeMap<u64, u128>,
    /// Held by account and asset: as the balances say, as the orders do.
    held: BTreeMap<(u64, u64), (u128, u128)>,
    instrument: Instrument,
    sum: Option<Sum>,
    side: u64,
}

/// The instrument that is being listed.
#[derive(Clone, Copy, Default)]
struct Instrument {
    base_asset: u64,
    quote_asset: u64,
    tick_value: u64,
    lot_value: u64,
    taker_ppm: u64,
    continuous: bool,
    best_bid: u64,
    best_ask: u64,
}

impl Listing for Audit {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        if tag != Tag::Order {
            self.end_sum();
        }
        match tag {
            Tag::Asset => {
                self.assets.insert(numbers[0], (numbers[1], numbers[2]));
            }
            Tag::Instrument => {
                self.end_instrument();
                // instrument, symbol, assets, tick_size, lot_size, tick_value, ladder_base, lot_value, ladder_len, lots_max,
                // band, notional_max, fees, state.
                self.instrument = Instrument {
                    base_asset: numbers[2],
                    quote_asset: numbers[3],
                    tick_value: numbers[6],
                    lot_value: numbers[8],
                    taker_ppm: numbers[15],
                    continuous: numbers[16] == State::Continuous as u64,
                    best_bid: 0,
                    best_ask: u64::MAX,
                };
            }
            Tag::Level => {
                let [book, price, orders, lots] = numbers else {
                    panic!("a level has four numbers")
                };
                assert!(*orders > 0 && *lots > 0, "a level is not empty");
                self.side = book % 2;
                let best = &mut self.instrument;
                match book {
                    0 | 2 => best.best_bid = best.best_bid.max(*price),
                    1 | 3 => best.best_ask = best.best_ask.min(*price),
                    _ => {}
                }
                self.sum = Some(Sum {
                    orders: *orders,
                    lots: *lots,
                    displayed: *book < 2,
                    ..Sum::default()
                });
            }
            Tag::Queue => {
                self.side = numbers[0];
                assert!(numbers[4] > 0 && numbers[5] > 0, "a queue is not empty");
                self.sum = Some(Sum {
                    orders: numbers[4],
                    lots: numbers[5],
                    ..Sum::default()
                });
            }
            // Of a sweep the side stands behind the work.
            Tag::Work => self.side = numbers.get(1).copied().unwrap_or(0),
            Tag::Order => self.order(numbers),
            Tag::Balance => {
                let available = u128::from(numbers[2]) + u128::from(numbers[3]);
                *self.balances.entry(numbers[1]).or_default() += available;
                self.held.entry((numbers[0], numbers[1])).or_default().0 += u128::from(numbers[3]);
            }
            _ => {}
        }
    }
}

impl Audit {
    fn order(&mut self, numbers: &[u64]) {
        let (account, price, open, flags) = (numbers[2], numbers[4], numbers[5], numbers[6]);
        let (shown, peak, limit) = (numbers[8], numbers[9], numbers[11]);
        assert!(open > 0, "an order with nothing open is gone");
        assert!(
            shown <= open && (peak == 0 || shown <= peak),
            "no slice is larger than it may be"
        );
        if let Some(sum) = &mut self.sum {
            sum.found_orders += 1;
            sum.found_lots += if sum.displayed { shown } else { open };
            assert_eq!(
                sum.displayed,
                shown > 0,
                "what is displayed shows something"
            );
        }
        // Of a stop that waits the price is the trigger.
        let price = if flags & 128 != 0 { limit } else { price };
        let own = &self.instrument;
        let (asset, per_lot) = if self.side == 0 {
            let value = u128::from(price) * u128::from(own.tick_value);
            let fee = (value * u128::from(own.taker_ppm)).div_ceil(1_000_000);
            (own.quote_asset, value + fee)
        } else {
            (own.base_asset, u128::from(own.lot_value))
        };
        self.held.entry((account, asset)).or_default().1 += u128::from(open) * per_lot;
    }

    fn end_sum(&mut self) {
        if let Some(sum) = self.sum.take() {
            assert_eq!(
                (sum.orders, sum.lots),
                (sum.found_orders, sum.found_lots),
                "a level's sums are those of its orders"
            );
        }
    }

    fn end_instrument(&mut self) {
        let own = &self.instrument;
        assert!(
            !own.continuous || own.best_bid < own.best_ask,
            "a book that trades is not crossed: {} and {}",
            own.best_bid,
            own.best_ask
        );
    }

    fn end(mut self) {
        self.end_sum();
        self.end_instrument();
        let assets = self.balances.keys().chain(self.assets.keys());
        for asset in assets {
            let (total, fees) = self.assets.get(asset).copied().unwrap_or_default();
            let balances = self.balances.get(asset).copied().unwrap_or_default();
            assert_eq!(
                balances + u128::from(fees),
                u128::from(total),
                "asset {asset}: available, held and fees are what was deposited less what was withdrawn"
            );
        }
        for (at, (balance, orders)) in self.held {
            assert_eq!(
                balance, orders,
                "account and asset {at:?}: held for live orders"
            );
        }
    }
}

#[test]
fn nothing_is_made_or_lost_by_any_command() {
    let seed = tape::seed();
    let wanted = tape::number_of("RING0_COMMANDS").unwrap_or(60_000);
    let mut commands = 0;
    for (turn, profile) in Profile::PURE.into_iter().enumerate() {
        let mut flow = Flow::new(seed.wrapping_add(turn as u64), Options { profile });
        let mut native = Native::with_recorder(&Flow::capacity(), Auditor::default())
            .expect("memory for a small shard");
        let mut input = Input::Control(flow.setup());
        while native.recorder().commands.get() < wanted / 8 {
            let boot_ns = flow.boot_ns();
            match &input {
                Input::Packet(payload) => match native.packet(payload, boot_ns, None) {
                    Ok((_, answer)) => flow.observe(Some(&answer)),
                    Err(Dropped::UnknownSession) => flow.observe(None),
                    Err(cause) => panic!("the flow's packets are well-formed: {cause:?}"),
                },
                Input::Control(controls) => drop(native.control(controls, boot_ns)),
                Input::Steps => native.steps(),
            }
            flow.learn(&native.recorder().records.take());
            input = flow.next_input();
        }
        commands += native.recorder().commands.get();
    }
    println!("{commands} commands");
}
