#![doc = include_str!("../README.md")]

mod abi;
mod boundary;
mod engine;
mod queue;

pub use abi::*;
pub use engine::Engine;

use boundary::{Room, caught, guard, items, last_error, reclaim, remember, string};
use engine::{Refusal, null, numbered_symbols, symbol};
use ring0_engine::Reason;
use ring0_engine::control::ControlKind;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// `RING0_ABI_VERSION` of the library.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_abi_version() -> u32 {
    RING0_ABI_VERSION
}

/// Fills `options` with what suits a benchmark: one instrument of 131,072 ticks, 16 traders with ample deposits, 1,048,576
/// orders, no fees.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_options_default(options: Option<&mut MaybeUninit<Options>>) -> i32 {
    caught(|| match options {
        Some(options) => {
            options.write(Options::DEFAULT);
            Ok(0)
        }
        None => null("options"),
    }) as i32
}

/// Makes an engine; `options` null: the defaults. Writes the engine to `*engine`, null on failure. The caller owns it and gives it
/// back with `ring0_destroy`.
///
/// # Safety
/// `options` and `engine` are null or point to their type; `options->symbols` is null or has a string for each instrument.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ring0_create(
    options: Option<&Options>,
    engine: Option<&mut MaybeUninit<*mut Engine>>,
) -> i32 {
    let Some(place) = engine else {
        return caught(|| null("engine")) as i32;
    };
    place.write(std::ptr::null_mut());
    caught(|| {
        let options = options.unwrap_or(&Options::DEFAULT);
        let symbols = if options.symbols.is_null() || options.instruments > 65_535 {
            numbered_symbols(options.instruments.min(65_535))
        } else {
            // SAFETY: as many strings as instruments, by this function's contract.
            let names = unsafe { items("symbols", options.symbols, options.instruments as usize) }?;
            names
                .map(|name| {
                    // SAFETY: a string, by this function's contract.
                    symbol(unsafe { string("a symbol", name) }?)
                })
                .collect::<Result<_, Refusal>>()?
        };
        place.write(Box::into_raw(Box::new(Engine::new(options, &symbols)?)));
        Ok(0)
    }) as i32
}

/// Frees an engine; null is allowed, and a broken one too.
///
/// # Safety
/// `engine` is null or from `ring0_create`, not destroyed before and not in use by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ring0_destroy(engine: *mut Engine) {
    if !engine.is_null() {
        caught(|| {
            // SAFETY: by this function's contract.
            drop(unsafe { reclaim(engine) });
            Ok(0)
        });
    }
}

/// The text of the last error of this thread, "" when there was none. Good until the next call on this thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_last_error() -> *const c_char {
    last_error()
}

/// Name of a reason, "Unknown" for a number that is none. Never freed.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_reason_name(reason: u32) -> *const c_char {
    reason_texts(reason)[0].as_ptr()
}

/// What the sender can do about a reason, in a sentence. Never freed.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_reason_help(reason: u32) -> *const c_char {
    reason_texts(reason)[1].as_ptr()
}

/// Name and help of a reason.
fn reason_texts(number: u32) -> &'static [CString; 2] {
    static TEXTS: OnceLock<Vec<[CString; 2]>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let ended = |text: &str| CString::new(text.trim()).unwrap_or_default();
        let known = (0..=u8::MAX).map(|number| match Reason::from_number(number) {
            Some(reason) => [ended(reason.name()), ended(reason.help())],
            None => [ended("Unknown"), ended("No such reason.")],
        });
        known
            .chain([[ended("Unknown"), ended("No such reason.")]])
            .collect()
    });
    &texts[(number as usize).min(256)]
}

/// Carries out one order, whatever its action. Gives its outcome (0 to 3) or an error (below 0, and nothing happened).
/// `ack` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_submit(
    engine: Option<&mut Engine>,
    order: Option<&Order>,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    match order {
        Some(order) => submit(engine, *order, ack),
        None => guard(engine, |_| null("order")) as i32,
    }
}

/// Carries out `count` orders in their order, as few packets as may be: up to 68 orders of one trader travel together.
/// `acks` is null or has room for `count`. Gives how many were accepted, or an error. After an error for what an order is (null, argument,
/// trader, instrument, exhausted) nothing happened.
///
/// # Safety
/// `orders` has `count` orders; `acks` is null or has room for as many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ring0_submit_batch(
    engine: Option<&mut Engine>,
    orders: *const Order,
    count: usize,
    acks: *mut Ack,
) -> i64 {
    guard(engine, |engine| {
        // SAFETY: by this function's contract.
        let orders = unsafe { items("orders", orders, count) }?;
        // SAFETY: by this function's contract.
        let mut room = unsafe { Room::new(acks, count) };
        engine.submit(orders, |index, ack| room.put(index, ack))
    })
}

fn submit(
    engine: Option<&mut Engine>,
    order: Order,
    mut ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    guard(engine, |engine| {
        let mut outcome = RING0_NOT_TAKEN;
        engine.submit(std::iter::once(order), |_, done| {
            outcome = done.outcome;
            if let Some(ack) = ack.take() {
                ack.write(done);
            }
        })?;
        Ok(outcome.into())
    }) as i32
}

/// A limit order that trades what it can and rests with what is left. Outcome and `ack` as in `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_limit(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    side: u8,
    price: u32,
    lots: u32,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        trader,
        instrument,
        side,
        price,
        lots,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// A limit order that trades what it can; what is left is cancelled. Outcome and `ack` as in `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_ioc(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    side: u8,
    price: u32,
    lots: u32,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        trader,
        instrument,
        side,
        price,
        lots,
        time_in_force: RING0_IOC,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// A limit order that trades all or nothing. Outcome and `ack` as in `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_fok(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    side: u8,
    price: u32,
    lots: u32,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        trader,
        instrument,
        side,
        price,
        lots,
        time_in_force: RING0_FOK,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// A limit order that is rejected where it would trade at entry. Outcome and `ack` as in `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_post_only(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    side: u8,
    price: u32,
    lots: u32,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        trader,
        instrument,
        side,
        price,
        lots,
        flags: RING0_POST_ONLY,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// An order at any price; what is left is cancelled. Outcome and `ack` as in `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_market(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    side: u8,
    lots: u32,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        trader,
        instrument,
        side,
        lots,
        time_in_force: RING0_IOC,
        flags: RING0_MARKET,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// Takes a live order of the trader away. Outcome and `ack` as in `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_cancel(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    reference: u32,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        action: RING0_CANCEL,
        trader,
        instrument,
        reference,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// Takes lots off a live order of the trader, which keeps its place; all of them and more: the order leaves. Outcome and
/// `ack` as in `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_reduce(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    reference: u32,
    lots: u32,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        action: RING0_REDUCE,
        trader,
        instrument,
        reference,
        lots,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// Gives a live order of the trader a new price and quantity. `ack->reference` names it from now on. Outcome and `ack` as in
/// `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_replace(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    reference: u32,
    price: u32,
    lots: u32,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        action: RING0_REPLACE,
        trader,
        instrument,
        reference,
        price,
        lots,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// Takes all orders of the trader away, of an instrument or `RING0_ALL`, of a side or `RING0_BOTH`. Outcome and `ack` as in
/// `ring0_submit`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_mass_cancel(
    engine: Option<&mut Engine>,
    trader: u32,
    instrument: u32,
    side: u8,
    ack: Option<&mut MaybeUninit<Ack>>,
) -> i32 {
    let order = Order {
        action: RING0_MASS_CANCEL,
        trader,
        instrument,
        side,
        ..Order::default()
    };
    submit(engine, order, ack)
}

/// Lets a trader trade again after a mass cancel with `kill`.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_revive(engine: Option<&mut Engine>, trader: u32) -> i32 {
    guard(engine, |engine| engine.revive(trader).map(control_outcome)) as i32
}

/// Says that the day has come to `second`, 1 to 86,400 since midnight: `RING0_GTT` orders up to it leave. Rejected (the text says why) where
/// `ring0_set_time` has not said so much.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_expire(engine: Option<&mut Engine>, second: u32) -> i32 {
    guard(engine, |engine| Ok(control_outcome(engine.expire(second)))) as i32
}

/// Gives a trader `amount` of an asset: `RING0_CASH` or what `ring0_base_asset` says. Rejected (the text says why) for an amount of 0
/// and where the total of the asset would reach 2^63.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_deposit(
    engine: Option<&mut Engine>,
    trader: u32,
    asset: u32,
    amount: u64,
) -> i32 {
    guard(engine, |engine| {
        engine
            .move_funds(trader, asset, amount, ControlKind::Deposit)
            .map(control_outcome)
    }) as i32
}

/// Takes `amount` of an asset from what the trader has available.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_withdraw(
    engine: Option<&mut Engine>,
    trader: u32,
    asset: u32,
    amount: u64,
) -> i32 {
    guard(engine, |engine| {
        engine
            .move_funds(trader, asset, amount, ControlKind::Withdraw)
            .map(control_outcome)
    }) as i32
}

/// An operator's command that was refused has its reason in `ring0_last_error`: it has no ack to be in.
fn control_outcome(done: Result<(), Reason>) -> i64 {
    match done {
        Ok(()) => RING0_ACCEPTED.into(),
        Err(reason) => {
            remember(reason.name());
            RING0_REJECTED.into()
        }
    }
}

/// What a trader has of an asset.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_balance_of(
    engine: Option<&mut Engine>,
    trader: u32,
    asset: u32,
    balance: Option<&mut MaybeUninit<Balance>>,
) -> i32 {
    guard(engine, |engine| match balance {
        Some(balance) => {
            balance.write(engine.balance(trader, asset)?);
            Ok(0)
        }
        None => null("balance"),
    }) as i32
}

/// The asset that an instrument trades against `RING0_CASH`, or an error.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_base_asset(engine: Option<&mut Engine>, instrument: u32) -> i64 {
    guard(engine, |engine| Ok(engine.base_asset(instrument)?.into()))
}

/// Sets the clock of the calls that follow, in nanoseconds since midnight. It begins at 0 and moves by this call alone; the
/// engine's own time never goes back.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_set_time(engine: Option<&mut Engine>, time_ns: u64) -> i32 {
    guard(engine, |engine| {
        engine.set_time(time_ns);
        Ok(0)
    }) as i32
}

/// Goes on with what `RING0_CONTINUES` left: `RING0_ACCEPTED` when nothing is pending any more, else `RING0_CONTINUES`, and events
/// must be taken out first.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_step(engine: Option<&mut Engine>) -> i32 {
    guard(engine, |engine| {
        Ok(if engine.settle() {
            RING0_ACCEPTED.into()
        } else {
            RING0_CONTINUES.into()
        })
    }) as i32
}

/// Takes out the oldest events, at most `count`, and gives how many, or an error.
///
/// # Safety
/// `events` has room for `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ring0_poll(
    engine: Option<&mut Engine>,
    events: *mut Event,
    count: usize,
) -> i64 {
    guard(engine, |engine| {
        // SAFETY: by this function's contract.
        let mut room = unsafe { Room::needed("events", events, count) }?;
        let mut taken = 0;
        while taken < room.count()
            && let Some(event) = engine.pop()
        {
            room.put(taken, event);
            taken += 1;
        }
        Ok(taken as i64)
    })
}

/// How many 64-byte records of events wait (an event has one; a message or control command two), or an error.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_waiting(engine: Option<&mut Engine>) -> i64 {
    guard(engine, |engine| Ok(engine.waiting() as i64))
}

/// The best bid and ask of an instrument; `lots` is 0 where a side is empty. Each pointer may be null.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_best(
    engine: Option<&mut Engine>,
    instrument: u32,
    bid: Option<&mut MaybeUninit<Level>>,
    ask: Option<&mut MaybeUninit<Level>>,
) -> i32 {
    guard(engine, |engine| {
        for (side, place) in [(RING0_BUY, bid), (RING0_SELL, ask)] {
            let best = engine.depth(instrument, side, 1)?.next();
            if let Some(place) = place {
                place.write(best.unwrap_or_default());
            }
        }
        Ok(0)
    }) as i32
}

/// The best levels of a side, best first, at most `count`; gives how many, or an error.
///
/// # Safety
/// `levels` has room for `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ring0_depth(
    engine: Option<&mut Engine>,
    instrument: u32,
    side: u8,
    levels: *mut Level,
    count: usize,
) -> i64 {
    guard(engine, |engine| {
        // SAFETY: by this function's contract.
        let mut room = unsafe { Room::needed("levels", levels, count) }?;
        let mut written = 0;
        for level in engine.depth(instrument, side, count)? {
            room.put(written, level);
            written += 1;
        }
        Ok(written as i64)
    })
}

/// BLAKE3 of the whole state: equal for equal histories, in the kernel and natively. `hash` has room for 32 bytes.
///
/// # Safety
/// `hash` has room for 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ring0_state_hash(engine: Option<&mut Engine>, hash: *mut u8) -> i32 {
    guard(engine, |engine| {
        // SAFETY: by this function's contract.
        let mut room = unsafe { Room::needed("hash", hash, 32) }?;
        for (index, byte) in engine.state_hash().into_iter().enumerate() {
            room.put(index, byte);
        }
        Ok(0)
    }) as i32
}

/// Walks the whole state and checks every invariant. `RING0_BROKEN` where one does not hold; `ring0_last_error` says which.
#[unsafe(no_mangle)]
pub extern "C" fn ring0_check(engine: Option<&mut Engine>) -> i32 {
    guard(engine, |engine| {
        engine.check();
        Ok(0)
    }) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn engine() -> Box<Engine> {
        Box::new(
            Engine::new(&Options::DEFAULT, &numbered_symbols(1)).expect("the defaults are good"),
        )
    }

    fn text() -> String {
        // SAFETY: a string of this thread, copied before another call.
        let text = unsafe { CStr::from_ptr(ring0_last_error()) };
        text.to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn a_panic_is_a_code_and_the_engine_is_not_touched_again() {
        let mut engine = engine();
        let code = guard(Some(&mut engine), |_| panic!("number {}", 7));
        assert_eq!((code, text()), (i64::from(RING0_BROKEN), "number 7".into()));
        let mut ack = MaybeUninit::uninit();
        assert_eq!(
            ring0_limit(Some(&mut engine), 0, 0, RING0_BUY, 1, 1, Some(&mut ack)),
            RING0_BROKEN
        );
        assert_eq!(ring0_waiting(Some(&mut engine)), i64::from(RING0_BROKEN));
        assert!(text().contains("destroy it"), "{}", text());
        // SAFETY: made here, given back once.
        unsafe { ring0_destroy(Box::into_raw(engine)) };
    }

    #[test]
    fn a_wrong_book_is_found_and_breaks_the_engine() {
        let mut engine = engine();
        assert_eq!(ring0_check(Some(&mut engine)), RING0_ACCEPTED);
        engine.miscount_orders();
        assert_eq!(ring0_check(Some(&mut engine)), RING0_BROKEN);
        assert!(text().contains("orders in use"), "{}", text());
        assert_eq!(ring0_step(Some(&mut engine)), RING0_BROKEN);
    }

    #[test]
    fn references_end() {
        let mut engine = engine();
        let last = Order {
            side: RING0_BUY,
            price: 1,
            lots: 1,
            reference: u32::MAX,
            ..Order::default()
        };
        assert_eq!(
            ring0_submit(Some(&mut engine), Some(&last), None),
            RING0_ACCEPTED
        );
        assert_eq!(
            ring0_limit(Some(&mut engine), 0, 0, RING0_BUY, 1, 1, None),
            RING0_EXHAUSTED
        );
        assert_eq!(
            ring0_cancel(Some(&mut engine), 0, 0, u32::MAX, None),
            RING0_ACCEPTED
        );
    }

    #[test]
    fn every_reason_has_its_text() {
        for &reason in Reason::ALL {
            // SAFETY: a string that is never freed.
            let name = unsafe { CStr::from_ptr(ring0_reason_name(reason as u32)) };
            assert_eq!(name.to_str(), Ok(reason.name()));
            // SAFETY: as above.
            let help = unsafe { CStr::from_ptr(ring0_reason_help(reason as u32)) };
            assert_eq!(help.to_str(), Ok(reason.help().trim()));
        }
    }
}
