//! Several shards on one interface: who gets which frame, who is refused, and what goes when. Needs root.

mod veth;

use std::{sync::atomic::Ordering, time::Duration};
use veth::{Veth, dispatch};
use xdp_loader::{
    ARENA_ADDRESS, Dispatcher, Exit, LoadOptions, Loaded, LoaderError, ReplaceOptions, load,
    open_pinned, replace, stats, status, unload,
};

/// Where the proof of life counts its runs (`ebpf/src/bin/proof.rs`).
const COUNT: usize = 64;
const STEPS: usize = 72;
/// `ring0_abi::Counter::PassPort`.
const PASS_PORT: u32 = 12;

fn shard(veth: &Veth, port: u16) -> LoadOptions {
    let mut options = veth.options().behind(dispatch(port));
    // Two arenas of one process are 8 GiB apart.
    options.arena_address = ARENA_ADDRESS + (u64::from(port) << 33);
    options
}

/// A shard that counts to `steps` in each run.
fn up(options: &LoadOptions, steps: u64) -> Result<Loaded, LoaderError> {
    load(options, &mut |fresh| {
        fresh.arena[STEPS..STEPS + 8].copy_from_slice(&steps.to_ne_bytes());
        Ok(())
    })
}

/// Ethernet, IPv4, UDP to this port.
fn frame(port: u16) -> [u8; 64] {
    let mut frame = [0; 64];
    frame[12..14].copy_from_slice(&0x0800_u16.to_be_bytes());
    frame[14] = 0x45;
    frame[23] = 17;
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame
}

fn refused(result: Result<Loaded, LoaderError>, exit: Exit, words: &[&str]) {
    let error = result.expect_err("must be refused");
    let text = error.to_string();
    assert_eq!(error.exit(), exit, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn each_shard_gets_the_frames_of_its_port() {
    let Some(veth) = Veth::new() else { return };
    let options = [7001, 7002].map(|port| shard(&veth, port));
    let shards = [(&options[0], 3), (&options[1], 5)].map(|(options, steps)| {
        let loaded = up(options, steps).expect("loads");
        assert!(!loaded.report.replaced && !loaded.report.adopted);
        loaded
    });
    let counted = || {
        let count = |loaded: &Loaded| {
            let arena = loaded.arena.as_ref().expect("mapped by this load");
            arena.word(COUNT).load(Ordering::Acquire)
        };
        [count(&shards[0]), count(&shards[1])]
    };
    // The dispatcher is what the kernel runs on the interface: run it as the kernel does.
    let found = status(&options[0].pin_root).expect("loaded");
    let dispatcher = found.dispatcher.expect("shares its interface");
    assert_eq!(
        (dispatcher.port, &*dispatcher.ports),
        (7001, &[7001, 7002][..])
    );
    assert!(found.attached);
    let program = Dispatcher::open(&veth.interface(), None)
        .expect("may look")
        .expect("there is one")
        .program()
        .expect("opens");
    assert_eq!(program.id(), dispatcher.program_id);
    for (port, expected) in [
        (7001, [3, 0]),
        (7002, [3, 5]),
        (7002, [3, 10]),
        (7003, [3, 10]),
    ] {
        program.test_run(&frame(port), &mut [], 1).expect("runs");
        assert_eq!(counted(), expected, "after a frame to {port}");
    }
    let counters = shards[0].pinned.dispatcher().expect("may look");
    let counters = counters.expect("there is one").counters().expect("opens");
    assert_eq!(counters.sum(PASS_PORT).expect("reads"), 1);
    assert_eq!(counters.sums().expect("reads").iter().sum::<u64>(), 1);

    // Another load of a shard replaces its program and nobody else's.
    let others = open_pinned(&options[1].pin_root).expect("loaded");
    let before = [&options[0], &options[1]].map(|one| {
        let pinned = open_pinned(&one.pin_root).expect("loaded");
        pinned
            .link_program_id()
            .expect("may look")
            .expect("attached")
    });
    drop(shards);
    let again = up(&options[0], 9).expect("loads");
    assert!(again.report.adopted && again.report.replaced);
    let id = |pinned: &xdp_loader::Pinned| pinned.link_program_id().expect("may look");
    assert_ne!(id(&again.pinned), Some(before[0]));
    assert_eq!(id(&others), Some(before[1]));

    // One goes, the other one stays attached; the last one takes the dispatcher with it.
    let gone = unload(&options[0].pin_root).expect("unloads");
    assert_eq!((gone.links, gone.ports), (0, 1));
    assert!(veth.has_xdp() && status(&options[1].pin_root).expect("loaded").attached);
    let last = unload(&options[1].pin_root).expect("unloads");
    assert_eq!((last.links, last.ports), (1, 1));
    assert!(!veth.has_xdp() && !veth.options().pin_root.exists());
}

#[test]
fn who_cannot_share_is_told_why() {
    let Some(veth) = Veth::new() else { return };
    let first = shard(&veth, 7001);
    up(&first, 1).expect("loads");
    // The same port from another folder.
    let mut second = shard(&veth, 7001);
    second.pin_root = veth.options().pin_root.join("second");
    refused(up(&second, 1), Exit::Foreign, &["port 7001", "--port 7001"]);
    assert!(!second.pin_root.exists(), "no trace");
    // Alone, where others share.
    let alone = veth.options();
    refused(up(&alone, 1), Exit::Usage, &["7001", "--port"]);
    let error = unload(&alone.pin_root).expect_err("whose?").to_string();
    assert!(error.contains("7001"), "{error}");
    let error = open_pinned(&alone.pin_root)
        .expect_err("whose?")
        .to_string();
    assert!(error.contains("7001"), "{error}");
    // The same folder with another port, and without one.
    let mut moved = shard(&veth, 7002);
    moved.pin_root.clone_from(&first.pin_root);
    refused(up(&moved, 1), Exit::Error, &["pinned port is 7001", "7002"]);
    assert!(
        status(&first.pin_root).expect("loaded").attached,
        "untouched"
    );
    unload(&first.pin_root).expect("unloads");

    // Sharing, where one is alone.
    up(&alone, 1).expect("loads");
    refused(
        up(&first, 1),
        Exit::Foreign,
        &["does not share", "--pin-root"],
    );
    assert!(
        status(&alone.pin_root).expect("loaded").attached,
        "untouched"
    );
}

/// A new interface of the same name gets the dispatcher again with the first of its shards, and the others with it.
#[test]
fn the_interface_goes_and_comes_back() {
    let Some(veth) = Veth::new() else { return };
    let options = [7001, 7002].map(|port| shard(&veth, port));
    for options in &options {
        up(options, 1).expect("loads");
    }
    veth.remove_pair();
    assert!(
        options
            .iter()
            .all(|one| !status(&one.pin_root).expect("loaded").attached)
    );
    veth.make();
    assert!(up(&options[0], 1).expect("loads").report.adopted);
    for options in &options {
        assert!(status(&options.pin_root).expect("loaded").attached);
    }
}

#[test]
fn one_shard_is_replaced_and_the_other_is_not() {
    let Some(veth) = Veth::new() else { return };
    let options = [7001, 7002].map(|port| shard(&veth, port));
    let shards = [(&options[0], 3), (&options[1], 5)]
        .map(|(options, steps)| up(options, steps).expect("loads"));
    let programs = || {
        let pinned = shards.each_ref().map(|loaded| &loaded.pinned);
        pinned.map(|pinned| pinned.link_program_id().expect("opens").expect("attached"))
    };
    let before = programs();
    let mut replacing = ReplaceOptions::new(veth::proof(), options[1].pin_root.clone());
    replacing.health = Duration::from_millis(50);
    let report = replace(&replacing).expect("replaces");
    assert_eq!(report.replaced_program_id, before[1]);
    assert_eq!(programs(), [before[0], report.program_id]);
    // A frame to the port reaches the new program, over the old memory.
    let dispatcher = Dispatcher::open(&veth.interface(), None);
    let dispatcher = dispatcher.expect("may look").expect("there is one");
    let program = dispatcher.program().expect("opens");
    let count = |loaded: &Loaded| {
        let arena = loaded.arena.as_ref().expect("mapped by this load");
        arena.word(COUNT).load(Ordering::Acquire)
    };
    let counted = count(&shards[1]);
    program.test_run(&frame(7002), &mut [], 1).expect("runs");
    assert_eq!((count(&shards[0]), count(&shards[1])), (0, counted + 5));
    program.test_run(&frame(7003), &mut [], 1).expect("runs");
    let seen = stats(&options[1].pin_root, Duration::ZERO).expect("loaded");
    assert_eq!(
        (seen.port, seen.program_id),
        (Some(7002), Some(report.program_id))
    );
    let passed = seen.dispatcher_counters.expect("the dispatcher's");
    let passed = &passed[PASS_PORT as usize];
    assert_eq!((passed.name.as_str(), passed.total), ("pass_port", 1));
    // Without its dispatcher's link nothing reaches the shard: there is nothing to replace.
    veth.remove_pair();
    let error = replace(&replacing).expect_err("nothing attached");
    assert_eq!(error.exit(), Exit::NotAttached, "{error}");
}
