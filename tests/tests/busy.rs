//! A processor that stands still with the shard's lock, as one of a virtual machine may: what comes on the others is dropped under `drop_busy`, changes
//! nothing, and is taken once when it is sent again (decision 0005).

mod stand;

use ring0_abi::Counter;
use ring0_engine::region::{Memory, SHARD_BASE};
use ring0_engine::shard::Shard;
use ring0_trader::{Locate, Options, Order, Outcome, Price, Shares};
use stand::Stand;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const RESEND: Duration = Duration::from_millis(20);
const DROPS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_finds_the_shard_busy_is_dropped_by_name_and_taken_when_it_comes_again() {
    let mut stand = Stand::up();
    let pinned = xdp_loader::open_pinned(&stand.pin_root).unwrap();
    let counters = pinned.counters().unwrap();
    let counted = |counter: Counter| counters.sum(counter as u32).unwrap();
    let arena = pinned.map_arena().unwrap();
    // SAFETY: the arena is mapped to the end of the test, and the shard begins there.
    let shard =
        Shard::new(unsafe { Memory::new(arena.as_ptr().wrapping_add(SHARD_BASE as usize)) });
    // SAFETY: a word of the same memory, which all who change it change at once.
    let lock = unsafe { AtomicU32::from_ptr(shard.header().lock.as_ptr()) };
    let mut options = Options::of(stand.market.session("alice-1").unwrap());
    options.resend_first = RESEND;
    options.resend = (RESEND, RESEND);
    let mut trader = stand.trader("alice-1").with_options(options);
    trader.adopt().unwrap();

    // Who holds the lock would drop its doorbells too, and here every drop is to be a packet.
    stand.freeze_daemon(true);
    let (taken, busy, before) = (
        counted(Counter::Taken),
        counted(Counter::DropBusy),
        trader.stats(),
    );
    let end = Instant::now() + PATIENCE;
    while lock
        .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        assert!(Instant::now() < end, "the shard is never free");
    }
    let acks = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let order = Order::buy(Locate(1), Shares(3), Price(600_000_000));
            trader.submit(&[order]).unwrap()
        });
        let mut dropped = 0;
        while dropped < DROPS && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
            dropped = counted(Counter::DropBusy) - busy;
        }
        let taken = counted(Counter::Taken) - taken;
        lock.store(0, Ordering::Release); // before any assertion: the sender waits for it
        assert!(dropped >= DROPS, "{dropped} dropped");
        assert_eq!(taken, 0, "nobody came in");
        sending.join().unwrap()
    });
    stand.freeze_daemon(false);
    assert_eq!(acks.len(), 1);
    assert_eq!(acks[0].outcome, Outcome::Accepted, "{acks:?}");
    assert_eq!(counted(Counter::Taken) - taken, 1, "taken once");
    let resends = trader.stats().resends - before.resends;
    let dropped = counted(Counter::DropBusy) - busy;
    // On a slow machine an answer may be waited for too briefly besides.
    assert!(
        dropped >= DROPS && resends >= dropped,
        "{resends} sent again, {dropped} dropped"
    );
    stand.settle();
    stand.recorded(); // has no gap, and nothing twice
    stand.unload();
}
