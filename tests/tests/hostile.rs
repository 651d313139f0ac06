//! A million frames that nobody should send (RULES 31), a hundred thousand through a dispatcher and each ring in a thread: nothing changes, and each is counted under
//! its own name. DPDK's ring has a file of its own, `hostile_dpdk.rs`: DPDK begins once in a process.

use ring0_engine::Capacity;
use ring0_lab::Options;
use ring0_tests::hostile::{
    ByRun, Level, OverAfxdp, OverUdp, OverVeth, PacketSocket, Target, attack, counters_met,
    largest_mtu, set_up,
};
use ring0_tests::{Kernel, seed};
use ring0_wire::{Buffer, Malformed};

/// Frames by test-run, and over a wire.
const BY_RUN: u64 = 1_000_000;
const BY_WIRE: u64 = 120_000;
/// Longest frame that test-run takes: a page less headroom and what the kernel keeps behind a frame.
const RUN_MAX: usize = 3_500;

#[test]
fn a_million_hostile_frames_change_nothing() {
    let seed = seed();
    let mut kernel = Kernel::up(&Capacity::SMALL, 1 << 16, Options::default());
    let mut target = ByRun(&mut kernel.shard);
    let mut hostile = set_up(&mut target, seed);
    hostile.set_frame_max(RUN_MAX);
    let ledger = attack(&mut target, &mut hostile, BY_RUN, seed);
    println!("by test-run: {ledger}");
    counters_met(&ledger, Level::Frames, seed);

    let mtu = largest_mtu(&kernel.veth);
    println!(
        "over veth the largest MTU with this program is {mtu}; larger ones, up to 65,535, the kernel refuses"
    );
    hostile.set_frame_max(mtu + 14);
    let mut target = OverVeth {
        socket: PacketSocket::open(&kernel.veth),
        shard: &mut kernel.shard,
        dispatcher: None,
    };
    let ledger = attack(&mut target, &mut hostile, BY_WIRE, seed);
    println!("over veth: {ledger}");
    target.live().shard().check();

    // Shorter than an Ethernet header is nothing that test-run takes: through the host's parser, and not counted.
    for len in 0..14 {
        assert!(
            target.shard.run_frame(&vec![0; len]).is_err(),
            "{len} bytes"
        );
        let shape = ring0_wire::shape::<ring0_wire::Native>(&Buffer::new(), len);
        assert_eq!(shape.map(|_| ()), Err(Malformed::TooShort), "{len} bytes");
    }
    println!(
        "0 to 13 bytes: not sent, test-run refuses them; the host's parser finds them too short"
    );
    ledger.check(&mut target, seed);
}

/// Through the dispatcher, which counts what is for no shard's port, and the shard's program, which counts the rest.
#[test]
fn hostile_frames_change_nothing_behind_a_dispatcher() {
    let seed = seed();
    let mut kernel = Kernel::behind_dispatcher(&Capacity::SMALL, 1 << 16, Options::default());
    let dispatcher = kernel.loaded.pinned.dispatcher().unwrap().unwrap();
    let mtu = largest_mtu(&kernel.veth);
    let mut target = OverVeth {
        socket: PacketSocket::open(&kernel.veth),
        shard: &mut kernel.shard,
        dispatcher: Some(dispatcher.counters().unwrap()),
    };
    let mut hostile = set_up(&mut target, seed);
    hostile.set_frame_max(mtu + 14);
    let ledger = attack(&mut target, &mut hostile, BY_WIRE, seed);
    println!("behind a dispatcher: {ledger}");
    counters_met(&ledger, Level::Frames, seed);
    target.live().shard().check();
}

/// Through the steering program and, what it lets through, the ring's thread.
#[test]
fn hostile_frames_change_nothing_behind_af_xdp() {
    let seed = seed();
    let mut target = OverAfxdp::up();
    let mut hostile = set_up(&mut target, seed);
    // The port takes no interface with an MTU above its frames'; one that is raised later must do no harm.
    let mtu = largest_mtu(target.veth());
    println!("AF_XDP: the largest MTU with the steering program is {mtu}");
    hostile.set_frame_max(mtu + 14);
    let ledger = attack(&mut target, &mut hostile, BY_WIRE, seed);
    println!("AF_XDP over veth: {ledger}");
    counters_met(&ledger, Level::Frames, seed);
    target.live().shard().check();
}

/// Payloads only: frames that are no datagrams of the port end in the kernel's own stack, which counts them itself. From none to the longest that IP
/// carries.
#[test]
fn hostile_payloads_change_nothing_behind_a_socket() {
    let seed = seed();
    let mut target = OverUdp::up();
    let mut hostile = set_up(&mut target, seed);
    hostile.set_frame_max(65_535);
    let ledger = attack(&mut target, &mut hostile, BY_WIRE, seed);
    println!("UDP on loopback, payloads: {ledger}");
    counters_met(&ledger, Level::Payloads, seed);
    target.live().shard().check();
}
