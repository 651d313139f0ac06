//! As `hostile.rs`, through the DPDK ring.

/// Frames over veth.
#[cfg(feature = "dpdk")]
const FRAMES: u64 = 120_000;

#[test]
#[cfg(feature = "dpdk")]
fn hostile_frames_change_nothing_behind_dpdk() {
    use ring0_tests::hostile::{Level, OverDpdk, Target, attack, counters_met, set_up};

    if !ring0_dpdk::AVAILABLE {
        eprintln!("skipped: this machine has no DPDK; install libdpdk-dev");
        return;
    }
    let seed = ring0_tests::seed();
    let mut target = OverDpdk::up();
    let mut hostile = set_up(&mut target, seed);
    hostile.set_frame_max(OverDpdk::MTU as usize + 14);
    let ledger = attack(&mut target, &mut hostile, FRAMES, seed);
    println!("DPDK over veth: {ledger}");
    counters_met(&ledger, Level::Frames, seed);
    target.live().shard().check();
}

#[test]
#[cfg(not(feature = "dpdk"))]
fn hostile_frames_change_nothing_behind_dpdk() {
    eprintln!("skipped: these tests are built without the feature `dpdk`");
}
