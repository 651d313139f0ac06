//! What the wire would have a client do in pieces: long sweeps, long mass cancels, batches beyond one packet.

use ring0::*;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

/// An engine that is destroyed with its test.
struct Owned(*mut Engine);

impl Owned {
    fn new(options: &Options) -> Owned {
        let mut place = MaybeUninit::uninit();
        // SAFETY: options of this program, without symbols.
        let made = unsafe { ring0_create(Some(options), Some(&mut place)) };
        assert_eq!(made, RING0_ACCEPTED);
        // SAFETY: written by the call.
        Owned(unsafe { place.assume_init() })
    }
}

impl Deref for Owned {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        // SAFETY: made in `new`, destroyed in `drop`, used by this thread alone.
        unsafe { &*self.0 }
    }
}

impl DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut Engine {
        // SAFETY: as above.
        unsafe { &mut *self.0 }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: made in `new`, given back once.
        unsafe { ring0_destroy(self.0) };
    }
}

fn order(trader: u32, side: u8, price: u32, lots: u32) -> Order {
    Order {
        trader,
        side,
        price,
        lots,
        ..Order::default()
    }
}

/// Submits and expects every order to be accepted.
fn submit(engine: &mut Engine, orders: &[Order]) -> Vec<Ack> {
    let mut acks = vec![Ack::default(); orders.len()];
    // SAFETY: both have as many entries as the call is told.
    let accepted = unsafe {
        ring0_submit_batch(
            Some(engine),
            orders.as_ptr(),
            orders.len(),
            acks.as_mut_ptr(),
        )
    };
    let refused = acks.iter().find(|ack| ack.outcome != RING0_ACCEPTED);
    assert_eq!((accepted, refused), (orders.len() as i64, None));
    acks
}

fn poll(engine: &mut Engine) -> Vec<Event> {
    let mut events = vec![Event::default(); 1 << 16];
    // SAFETY: as many as the vector has.
    let count = unsafe { ring0_poll(Some(engine), events.as_mut_ptr(), events.len()) };
    events.truncate(usize::try_from(count).expect("no error"));
    events
}

fn best(engine: &mut Engine) -> (Level, Level) {
    let (mut bid, mut ask) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let done = ring0_best(Some(engine), 0, Some(&mut bid), Some(&mut ask));
    assert_eq!(done, RING0_ACCEPTED);
    // SAFETY: written by the call.
    let bid = unsafe { bid.assume_init() };
    // SAFETY: written by the call.
    (bid, unsafe { ask.assume_init() })
}

fn asks(count: u32) -> Vec<Order> {
    (0..count)
        .map(|index| order(0, RING0_SELL, 1000 + index / 10, 1))
        .collect()
}

#[test]
fn a_sweep_is_done_when_its_call_returns() {
    let mut engine = Owned::new(&Options::DEFAULT);
    submit(&mut engine, &asks(3000));
    let taker = order(1, RING0_BUY, 2000, 2500);
    let ack = submit(&mut engine, &[taker])[0];
    assert_eq!(ack.lots, 2500);
    let fills = poll(&mut engine)
        .iter()
        .filter(|event| event.kind == RING0_EVENT_FILLED && event.taker_id == ack.order_id)
        .count();
    assert_eq!(fills, 2500);
    assert_eq!(ring0_check(Some(&mut engine)), RING0_ACCEPTED);
}

/// Takers of one batch that together fill more than one packet may, and one that fills more than one command may: as if each had
/// been sent alone.
#[test]
fn a_batch_of_takers_is_as_each_alone() {
    let takers: Vec<Order> = (0..40)
        .map(|index| {
            let lots = if index == 20 { 700 } else { 50 + index };
            Order {
                time_in_force: RING0_IOC,
                ..order(1, RING0_BUY, 2000, lots)
            }
        })
        .collect();
    let (mut together, mut alone) = (Owned::new(&Options::DEFAULT), Owned::new(&Options::DEFAULT));
    submit(&mut together, &asks(5000));
    submit(&mut alone, &asks(5000));
    let acks = submit(&mut together, &takers);
    for (taker, ack) in takers.iter().zip(acks) {
        assert_eq!(ack.lots, taker.lots);
        assert_eq!(submit(&mut alone, &[*taker])[0].lots, ack.lots);
    }
    assert_eq!(best(&mut together), best(&mut alone));
    let fills = |events: Vec<Event>| -> Vec<(u32, u32)> {
        let fills = events
            .iter()
            .filter(|event| event.kind == RING0_EVENT_FILLED);
        fills.map(|event| (event.price, event.lots)).collect()
    };
    assert_eq!(fills(poll(&mut together)), fills(poll(&mut alone)));
    assert_eq!(ring0_check(Some(&mut together)), RING0_ACCEPTED);
}

#[test]
fn a_mass_cancel_is_done_when_its_call_returns() {
    let mut engine = Owned::new(&Options::DEFAULT);
    submit(&mut engine, &asks(1000));
    let all = Order {
        action: RING0_MASS_CANCEL,
        instrument: RING0_ALL,
        ..Order::default()
    };
    // In the middle of a batch too: what follows it is not rejected.
    let acks = submit(
        &mut engine,
        &[
            order(0, RING0_SELL, 3000, 1),
            all,
            order(0, RING0_SELL, 4000, 1),
        ],
    );
    assert_eq!(acks[1].lots, 1001);
    assert_eq!(best(&mut engine).1.price, 4000);
}

#[test]
fn what_a_full_queue_stops_goes_on_when_there_is_room() {
    let mut engine = Owned::new(&Options {
        events_max: 16_384,
        ..Options::DEFAULT
    });
    submit(&mut engine, &asks(11_800));
    let mut ack = MaybeUninit::uninit();
    let outcome = ring0_mass_cancel(Some(&mut engine), 0, RING0_ALL, RING0_BOTH, Some(&mut ack));
    // SAFETY: written by the call.
    let ack = unsafe { ack.assume_init() };
    assert_eq!(outcome, RING0_CONTINUES);
    assert!((1000..11_800).contains(&ack.lots), "{ack:?}");
    assert_eq!(ring0_step(Some(&mut engine)), RING0_CONTINUES);
    let mut removed = 0;
    let mut rounds = 0;
    loop {
        let events = poll(&mut engine);
        removed += events
            .iter()
            .filter(|event| event.kind == RING0_EVENT_REMOVED)
            .count();
        if events.is_empty() {
            break;
        }
        ring0_step(Some(&mut engine));
        rounds += 1;
        assert!(rounds < 100);
    }
    assert_eq!(removed, 11_800);
    assert_eq!(ring0_step(Some(&mut engine)), RING0_ACCEPTED);
    assert_eq!(best(&mut engine).1, Level::default());
    assert_eq!(ring0_check(Some(&mut engine)), RING0_ACCEPTED);
}

/// Each kind of event, field by field.
#[test]
fn events_say_what_happened() {
    let mut engine = Owned::new(&Options {
        taker_ppm: 10_000,
        maker_ppm: 5_000,
        instruments: 2,
        ..Options::DEFAULT
    });
    let on_second = |order: Order| Order {
        instrument: 1,
        ..order
    };
    let ask = submit(&mut engine, &[on_second(order(2, RING0_SELL, 200, 10))])[0];
    let taker = submit(&mut engine, &[on_second(order(3, RING0_BUY, 210, 4))])[0];
    let action = |action: u8, reference: u32| Order {
        action,
        reference,
        trader: 2,
        instrument: 1,
        ..Order::default()
    };
    let reduced = submit(
        &mut engine,
        &[Order {
            lots: 1,
            ..action(RING0_REDUCE, ask.reference)
        }],
    )[0];
    let kept = submit(
        &mut engine,
        &[Order {
            price: 200,
            lots: 3,
            ..action(RING0_REPLACE, ask.reference)
        }],
    )[0];
    let moved = submit(
        &mut engine,
        &[Order {
            price: 201,
            lots: 8,
            ..action(RING0_REPLACE, kept.reference)
        }],
    )[0];
    let gone = submit(&mut engine, &[action(RING0_CANCEL, moved.reference)])[0];
    assert_eq!((reduced.order_id, reduced.lots), (ask.order_id, 1));
    assert_eq!(kept.order_id, ask.order_id);
    assert_eq!(moved.order_id, moved.sequence);
    assert_eq!((gone.order_id, gone.lots), (moved.order_id, 8));

    let common = Event {
        instrument: 1,
        trader: 2,
        side: RING0_SELL,
        ..Event::default()
    };
    let expected = [
        Event {
            kind: RING0_EVENT_RESTED,
            order_id: ask.order_id,
            reference: 1,
            price: 200,
            lots: 10,
            open: 10,
            shown: 10,
            ..common
        },
        Event {
            kind: RING0_EVENT_FILLED,
            order_id: taker.order_id,
            maker_id: ask.order_id,
            taker_id: taker.order_id,
            maker_fee: 4,
            taker_fee: 8,
            trader: 3,
            maker_trader: 2,
            taker_trader: 3,
            price: 200,
            lots: 4,
            side: RING0_BUY,
            ..common
        },
        Event {
            kind: RING0_EVENT_REDUCED,
            order_id: ask.order_id,
            reference: 1,
            price: 200,
            lots: 1,
            open: 5,
            shown: 5,
            ..common
        },
        Event {
            kind: RING0_EVENT_REPLACED,
            order_id: ask.order_id,
            previous_id: ask.order_id,
            reference: 2,
            price: 200,
            lots: 3,
            open: 3,
            previous_lots: 5,
            kept: 1,
            shown: 3,
            ..common
        },
        Event {
            kind: RING0_EVENT_REPLACED,
            order_id: moved.order_id,
            previous_id: ask.order_id,
            reference: 3,
            price: 201,
            lots: 8,
            open: 8,
            previous_lots: 3,
            ..common
        },
        Event {
            kind: RING0_EVENT_RESTED,
            order_id: moved.order_id,
            reference: 3,
            price: 201,
            lots: 8,
            open: 8,
            shown: 8,
            ..common
        },
        Event {
            kind: RING0_EVENT_REMOVED,
            order_id: moved.order_id,
            reference: 3,
            price: 201,
            lots: 8,
            removal: b'U',
            rested: 1,
            ..common
        },
    ];
    let mut events = poll(&mut engine);
    for event in &mut events {
        event.sequence = 0; // rises, as the C test of a full queue checks
    }
    assert_eq!(events, expected);
}

/// More instruments than assets: each has its book, the last ones share their base assets with the first.
#[test]
fn many_instruments_and_traders() {
    let mut engine = Owned::new(&Options {
        instruments: 300,
        traders: 1000,
        ticks: 1024,
        ..Options::DEFAULT
    });
    let last = |trader: u32, side: u8, lots: u32| Order {
        instrument: 299,
        ..order(trader, side, 5, lots)
    };
    submit(
        &mut engine,
        &[last(999, RING0_BUY, 7), last(0, RING0_SELL, 3)],
    );
    assert_eq!(ring0_base_asset(Some(&mut engine), 299), 45);
    assert_eq!(best(&mut engine), (Level::default(), Level::default()));
    let mut levels = [Level::default(); 2];
    // SAFETY: as many as the array has.
    let count = unsafe {
        ring0_depth(
            Some(&mut engine),
            299,
            RING0_BUY,
            levels.as_mut_ptr(),
            levels.len(),
        )
    };
    assert_eq!((count, levels[0].lots), (1, 4));
    assert_eq!(ring0_check(Some(&mut engine)), RING0_ACCEPTED);
}

/// An order of each kind that can end unfilled or wait, and what is told of it.
#[test]
fn stops_icebergs_and_orders_with_a_time() {
    let mut engine = Owned::new(&Options::DEFAULT);
    let iceberg = Order {
        display: 2,
        ..order(0, RING0_SELL, 100, 3)
    };
    let stop = Order {
        trigger: 100,
        ..order(1, RING0_BUY, 99, 4)
    };
    let timed = Order {
        time_in_force: RING0_GTT,
        expiry_s: 36_000,
        ..order(2, RING0_BUY, 50, 1)
    };
    submit(&mut engine, &[iceberg, stop, timed]);
    submit(&mut engine, &[order(3, RING0_BUY, 100, 2)]);
    assert_eq!(ring0_expire(Some(&mut engine), 36_000), RING0_REJECTED);
    assert_eq!(
        ring0_set_time(Some(&mut engine), 36_000_000_000_000),
        RING0_ACCEPTED
    );
    assert_eq!(ring0_expire(Some(&mut engine), 36_000), RING0_ACCEPTED);
    let events: Vec<_> = poll(&mut engine)
        .iter()
        .map(|event| (event.kind, event.trader, event.open, event.shown))
        .collect();
    assert_eq!(
        events,
        [
            (RING0_EVENT_RESTED, 0, 3, 2),
            (RING0_EVENT_ARMED, 1, 4, 0),
            (RING0_EVENT_RESTED, 2, 1, 1),
            (RING0_EVENT_FILLED, 3, 0, 0),
            (RING0_EVENT_REFILLED, 0, 1, 1),
            (RING0_EVENT_TRIGGERED, 1, 4, 0),
            (RING0_EVENT_RESTED, 1, 4, 4),
            (RING0_EVENT_REMOVED, 2, 0, 0),
        ]
    );
    assert_eq!(ring0_check(Some(&mut engine)), RING0_ACCEPTED);
}
