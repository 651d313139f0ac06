//! A fault in the kernel halts the shard with its code; nothing is matched afterwards (RULES 1).

mod stand;

use ring0_engine::native::Native;
use ring0_engine::region::SHARD_BASE;
use ring0_engine::replay::{Replayer, Tail};
use ring0_engine::shard::{Header, Level};
use ring0_trader::{Locate, Order, Outcome, Price, Shares, TraderError};
use ring0d::Verb;
use stand::Stand;
use std::mem::offset_of;
use std::sync::atomic::Ordering;

#[test]
fn a_wrong_level_stops_the_shard_and_is_told() {
    let mut stand = Stand::up();
    let price = Price(60_000 * 10_000);
    let mut alice = stand.trader("alice-1");
    let mut bob = stand.trader("bob-1");
    let sell = Order::sell(Locate(1), Shares(10), price);
    assert_eq!(alice.submit(&[sell]).unwrap()[0].outcome, Outcome::Accepted);

    // The one level in use says less than its order has.
    let pinned = xdp_loader::open_pinned(&stand.pin_root).unwrap();
    let arena = pinned.map_arena().unwrap();
    let header = |at: usize| {
        let at = SHARD_BASE as usize + at;
        (arena.word(at & !7).load(Ordering::Acquire) >> (at % 8 * 8)) as u32 as usize
    };
    let levels_at = SHARD_BASE as usize + header(offset_of!(Header, levels_at));
    let lots = |slot: usize| {
        arena.word(levels_at + (slot - 1) * size_of::<Level>() + offset_of!(Level, lots))
    };
    let slot = (1..=header(offset_of!(Header, levels_max)))
        .find(|&slot| lots(slot).load(Ordering::Acquire) == 10)
        .expect("one level has ten lots");
    lots(slot).store(1, Ordering::Release);

    // The order that meets it is not answered as done.
    let buy = Order::buy(Locate(1), Shares(5), price);
    let met = bob.submit(&[buy.immediate()]);
    assert!(matches!(met, Err(TraderError::Halted { .. })), "{met:?}");
    let status = stand.status();
    assert_eq!(status["fault"]["name"], "LevelLots", "{status}");
    assert_eq!(status["fault"]["number"], 2);
    let broken = status["fault"]["command"].as_u64().unwrap();
    let balances = stand.client().call(&Verb::Accounts).unwrap();

    // Nothing is taken any more: orders, cancels, the operator's commands.
    let cancel = Order::cancel(Locate(1), ring0_trader::Reference(1));
    for order in [buy, sell, cancel] {
        assert!(matches!(
            alice.submit(&[order]),
            Err(TraderError::Halted { .. })
        ));
    }
    let mut carol = stand.trader("carol-1");
    assert!(matches!(
        carol.submit(&[buy]),
        Err(TraderError::Halted { .. })
    ));
    let deposit = Verb::Deposit {
        account: "alice".into(),
        asset: "USD".into(),
        amount: "1".into(),
    };
    let error = stand.client().call(&deposit).unwrap_err().to_string();
    assert!(
        error.contains("LevelLots") && error.contains(&broken.to_string()),
        "{error}"
    );
    let after = stand.status();
    for name in ["next_sequence", "time_ns", "orders_live"] {
        assert_eq!(after[name], status[name], "{name}");
    }
    assert_eq!(after["ring"]["published"], status["ring"]["published"]);
    assert_eq!(stand.client().call(&Verb::Accounts).unwrap(), balances);
    assert!(
        after["counters"]["not_taken_halted"].as_u64().unwrap() >= 4,
        "{after}"
    );
    assert!(
        stand.daemon_log().contains("FAULT"),
        "{}",
        stand.daemon_log()
    );

    // A daemon that starts now finds it too, and does not repair it behind anybody's back.
    stand.kill_daemon();
    assert_eq!(stand.start_daemon()["fault"]["name"], "LevelLots");

    // What was recorded before the fault replays to a good state.
    stand.settle();
    let (bytes, _) = stand.recorded();
    let mut native = Native::new(&stand.market.capacity()).unwrap();
    let mut replayer = Replayer::new(&native, Some(broken));
    replayer.feed(&bytes, &mut native).unwrap();
    let tail = replayer.finish(&native);
    assert!(
        matches!(tail, Tail::Faulted { .. } | Tail::Clean),
        "{tail:?}"
    );
    native.shard().check();
    assert_eq!(native.shard().depth(0, b'S', 1)[0].lots, 10);
    drop(arena);
    stand.unload();
}
