//! Loading against the running kernel, over a veth pair of the test's own. Needs root.
//!
//! Programs: `ebpf/prebuilt/proof.bpf.o` (or `RING0_PROOF_OBJECT`), and for the one test of the
//! matcher itself `ebpf/prebuilt/ring0.bpf.o` (or `RING0_BPF_OBJECT`).

mod veth;

use std::{path::PathBuf, process::Command, sync::atomic::Ordering};
use veth::Veth;
use xdp_loader::{
    Exit, Fresh, InitError, LoadOptions, Loaded, LoaderError, Mode, Object, PeerPass, Subprograms,
    load, open_pinned, status, unload,
};

/// Offsets in the arena's first page, as in `ebpf/src/bin/proof.rs`.
mod word {
    pub(crate) const COUNT: usize = 64;
    pub(crate) const STEPS: usize = 72;
    pub(crate) const EXCHANGED_U64: usize = 80;
    pub(crate) const EXCHANGED_U32: usize = 88;
    pub(crate) const UNALIGNED: usize = 96;
    pub(crate) const COMMAND: usize = 104;
    pub(crate) const KEY: usize = 112;
    pub(crate) const MIXED: usize = 120;
}

const XDP_PASS: u32 = 2;

fn plain(options: &LoadOptions) -> Result<Loaded, LoaderError> {
    load(options, &mut |_| Ok(()))
}

/// Loads `options` on fresh memory with `steps` in its place.
fn with_steps(options: &LoadOptions, steps: u64) -> Loaded {
    let loaded = load(options, &mut |fresh: Fresh<'_>| {
        fresh.arena[word::STEPS..word::STEPS + 8].copy_from_slice(&steps.to_ne_bytes());
        Ok(())
    });
    loaded.expect("loads")
}

fn refusal(result: Result<Loaded, LoaderError>, exit: Exit, words: &[&str]) {
    let error = result.expect_err("must be refused");
    let text = error.to_string();
    assert_eq!(error.exit(), exit, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn every_mechanism_of_the_program_works() {
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    let mut calls = 0;
    let loaded = load(&options, &mut |fresh: Fresh<'_>| {
        calls += 1;
        assert_eq!(fresh.arena.len(), 64 * 4096);
        assert_eq!(fresh.records.len(), 128 * 64);
        assert_eq!(fresh.commands.len(), 64 * 128);
        for memory in [
            &fresh.arena,
            &fresh.records,
            &fresh.cursors,
            &fresh.commands,
        ] {
            assert!(memory.iter().all(|byte| *byte == 0), "fresh memory is zero");
        }
        fresh.arena[word::STEPS..word::STEPS + 8].copy_from_slice(&1000_u64.to_ne_bytes());
        Ok(())
    })
    .expect("loads");
    assert_eq!(calls, 1);
    assert!(!loaded.report.adopted && !loaded.report.replaced);
    let pinned = &loaded.pinned;
    let arena = loaded.arena.as_ref().expect("mapped by this load");
    let mut commands = pinned.map_commands().expect("maps");
    let mut command = [0; 128];
    command[..8].copy_from_slice(&77_u64.to_ne_bytes());
    commands.write(0, &command);
    let keys = pinned.keys().expect("opens");
    assert_eq!((keys.len(), keys.value_bytes()), (8, 32));
    keys.set(0, &[9; 32]).expect("writes");
    assert!(keys.set(8, &[9; 32]).is_err(), "no such index");
    assert!(keys.set(0, &[9; 31]).is_err(), "another length");

    let program = pinned.program().expect("opens");
    let mut out = [0; 64];
    let run = program.test_run(&[7; 64], &mut out, 1).expect("runs");
    assert_eq!((run.retval, run.data_len, out), (XDP_PASS, 64, [7; 64]));
    let arena_word = |offset| arena.word(offset).load(Ordering::Acquire);
    assert_eq!(arena_word(word::COUNT), 1000, "a loop behind may_goto");
    assert_eq!(arena_word(word::EXCHANGED_U64), 1000, "exchange, 64 bits");
    assert_eq!(
        arena_word(word::EXCHANGED_U32),
        0,
        "exchange, 32 bits, what was there before"
    );
    // Seven bytes of the count, then the lowest one of the steps behind it.
    let odd = 1000 >> 8 | (1000 & 0xff) << 56;
    assert_eq!(
        arena_word(word::UNALIGNED),
        odd,
        "a load from an odd address"
    );
    assert_eq!(
        arena_word(word::COMMAND),
        77,
        "the program sees the command ring"
    );
    assert_eq!(
        arena_word(word::KEY),
        u64::from_ne_bytes([9; 8]),
        "and the key"
    );
    program.test_run(&[7; 64], &mut out, 1).expect("runs");
    assert_eq!(arena_word(word::EXCHANGED_U64), 2000);
    assert_eq!(arena_word(word::EXCHANGED_U32), 1000);

    let records = pinned.map_records().expect("maps");
    assert_eq!(records.load(0), 2000);
    assert_eq!(records.words(0)[0], 2000);
    assert_eq!(records.len_bytes(), 128 * 64);
    let cursors = pinned.map_cursors().expect("maps");
    assert_eq!(
        cursors.cursor(0).load(Ordering::Acquire),
        0,
        "the low word that was exchanged out"
    );
    let counters = pinned.counters().expect("opens");
    assert!(
        counters.sum(0).expect("reads") >= 2,
        "the runs, and what the kernel sent by itself"
    );
    assert_eq!(counters.sums().expect("reads").len(), 128);
    keys.clear(0).expect("clears");
    assert_eq!(keys.get(0).expect("reads"), [0; 32]);
}

/// As in the program.
fn mix(value: u64, step: u64) -> u64 {
    let mut mixed = value.rotate_left(7) ^ step;
    if mixed & 1 != 0 {
        mixed = mixed.wrapping_mul(3);
    }
    if mixed & 4 != 0 {
        mixed = mixed.wrapping_add(step);
    }
    mixed.wrapping_add(1)
}

#[test]
fn a_subprogram_is_verified_once_or_at_every_call_and_does_the_same() {
    const STEPS: u64 = 9;
    let Some(veth) = Veth::new() else { return };
    let mut options = veth.options();
    let verified = [Subprograms::Global, Subprograms::Static].map(|subprograms| {
        options.subprograms = subprograms;
        let loaded = with_steps(&options, STEPS);
        let program = loaded.pinned.program().expect("opens");
        program.test_run(&[0; 64], &mut [], 1).expect("runs");
        let mut expected = 0;
        for step in 0..STEPS {
            for _ in 0..8 {
                expected = mix(expected, step);
            }
        }
        let arena = loaded.arena.as_ref().expect("mapped");
        let mixed = arena.word(word::MIXED).load(Ordering::Acquire);
        assert_eq!(mixed, expected, "{subprograms:?}");
        let status = status(&options.pin_root).expect("loaded");
        let program = status.program.expect("a program");
        let verified = loaded.report.verified_instructions;
        assert_eq!(program.verified_instructions, verified);
        drop(loaded);
        unload(&options.pin_root).expect("unloads");
        verified
    });
    let [once, each_call] = verified;
    assert!(
        once * 3 < each_call * 2,
        "{once} and {each_call} instructions"
    );
}

#[test]
fn the_subprograms_of_an_object_are_listed() {
    let listed = veth::proof().subprograms().expect("reads");
    let [entry, mix] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!((entry.name.as_str(), entry.start), ("proof", 0));
    assert_eq!((mix.name.as_str(), mix.arguments), ("f1_mix", 2));
    assert_eq!(entry.instructions, mix.start);
    assert!(entry.global && mix.global);
}

#[test]
fn a_second_load_adopts_the_memory_and_replaces_the_program() {
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    let first = with_steps(&options, 5);
    first
        .pinned
        .program()
        .expect("opens")
        .test_run(&[0; 64], &mut [], 1)
        .expect("runs");
    let count = |loaded: &Loaded| {
        loaded
            .arena
            .as_ref()
            .expect("mapped")
            .word(word::COUNT)
            .load(Ordering::Acquire)
    };
    let before = count(&first);
    assert!(before >= 5);
    let refuse_init = &mut |_: Fresh<'_>| -> Result<(), InitError> { panic!("memory is adopted") };
    let second = load(&options, refuse_init).expect("adopts");
    assert!(second.report.adopted && second.report.replaced);
    assert!(second.arena.is_none(), "this process has it already");
    assert_eq!(second.report.arena_id, first.report.arena_id);
    assert_ne!(second.report.program_id, first.report.program_id);
    assert!(count(&first) >= before, "the book is as it was");
    assert_eq!(
        second.pinned.link_program_id().expect("a link"),
        Some(second.report.program_id),
        "the link has the new program"
    );
    drop(first);
    let third = load(&options, refuse_init).expect("adopts");
    assert!(count(&third) >= before, "mapped anew, the same memory");
    assert!(matches!(
        third.pinned.map_arena(),
        Err(LoaderError::ArenaTaken { .. })
    ));
}

#[test]
fn what_is_pinned_for_something_else_is_refused_by_name() {
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    drop(plain(&options).expect("loads"));
    let check = |change: &dyn Fn(&mut LoadOptions), words: &[&str]| {
        let mut changed = options.clone();
        change(&mut changed);
        refusal(plain(&changed), Exit::Error, words);
        assert!(veth.has_xdp(), "the running program goes on");
    };
    check(
        &|options| options.layout_hash = 1,
        &["layout hash", "0x1234", "0x1", "unload"],
    );
    check(
        &|options| options.arena_bytes = 4096,
        &["ARENA entries", "64", "1"],
    );
    check(
        &|options| options.record_slots = 256,
        &["RECORDS entries", "128", "256"],
    );
    check(
        &|options| options.command_slots = 128,
        &["COMMANDS entries"],
    );
    check(&|options| options.sessions_max = 9, &["KEYS entries"]);
    check(
        &|options| options.mode = Mode::Skb,
        &["mode", "native", "skb"],
    );
    // Where it lies is its own: a migration puts an arena elsewhere.
    let mut elsewhere = options;
    elsewhere.arena_address *= 2;
    let adopted = plain(&elsewhere).expect("adopts");
    assert!(adopted.report.adopted);
    assert_eq!(adopted.pinned.arena_address(), elsewhere.arena_address / 2);
}

#[test]
fn a_swapped_or_missing_pin_is_noticed() {
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    drop(plain(&options).expect("loads"));
    std::fs::remove_file(options.pin_root.join("KEYS")).expect("removes");
    refusal(plain(&options), Exit::Error, &["KEYS is missing", "unload"]);
    std::fs::rename(
        options.pin_root.join("COMMANDS"),
        options.pin_root.join("KEYS"),
    )
    .expect("renames");
    refusal(plain(&options), Exit::Error, &["missing"]);
    unload(&options.pin_root).expect("unloads");
    assert!(!veth.has_xdp() && !options.pin_root.exists());
}

#[test]
fn a_foreign_program_is_named_and_left_alone() {
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    let ours = plain(&options).expect("loads").report.program_id;
    let mut other = options.clone();
    other.pin_root = PathBuf::from(format!("{}2", options.pin_root.display()));
    refusal(
        plain(&other),
        Exit::Foreign,
        &["proof", &format!("id {ours}"), "xdp off"],
    );
    assert!(!other.pin_root.exists(), "a refused load leaves nothing");
    assert_eq!(
        status(&options.pin_root)
            .expect("loaded")
            .program
            .map(|program| program.id),
        Some(ours)
    );
}

#[test]
fn in_a_namespace_with_a_pass_program_on_the_peer() {
    let Some(veth) = Veth::new() else { return };
    let mut options = veth.options();
    options.interface = veth.peer();
    options.netns = Some(veth.netns());
    options.pin_root = xdp_loader::default_pin_root(&veth.peer(), Some(&veth.netns()));
    let loaded = plain(&options).expect("loads");
    assert!(!veth.has_xdp());
    let here = veth.interface();
    let first = loaded
        .pinned
        .attach_peer_pass(&here, None)
        .expect("attaches");
    assert!(matches!(first, PeerPass::Attached { .. }) && veth.has_xdp());
    let again = loaded
        .pinned
        .attach_peer_pass(&here, None)
        .expect("is there");
    assert!(matches!(again, PeerPass::AlreadyThere { .. }));
    let found = status(&options.pin_root).expect("loaded");
    assert!(found.attached && found.netns == options.netns);
    assert_eq!(found.peers, [(format!("PEER_{here}"), true)]);
    let unloaded = unload(&options.pin_root).expect("unloads");
    assert_eq!((unloaded.links, unloaded.pins), (2, 8));
    assert!(!veth.has_xdp(), "the peer's program goes as well");
    assert_eq!(unload(&options.pin_root).expect("again").links, 0);
}

#[test]
fn wrong_places_are_answered_with_the_right_ones() {
    let Some(veth) = Veth::new() else { return };
    let mut options = veth.options();
    options.interface = "nowhere0".to_owned();
    refusal(
        plain(&options),
        Exit::Error,
        &["nowhere0", &veth.interface(), "lo"],
    );
    options.netns = Some("nospace".to_owned());
    refusal(plain(&options), Exit::Error, &["nospace", &veth.netns()]);
    options = veth.options();
    options.pin_root = PathBuf::from("/tmp/not-bpffs");
    refusal(plain(&options), Exit::Error, &["mount -t bpf"]);
    // The loopback device has no native XDP.
    options = veth.options();
    (options.interface, options.netns) = ("lo".to_owned(), Some(veth.netns()));
    refusal(
        plain(&options),
        Exit::Error,
        &["lo", "native", "--mode skb"],
    );
    assert!(!options.pin_root.exists(), "a refused load leaves nothing");
    options.mode = Mode::Skb;
    plain(&options).expect("works anywhere");
    assert!(status(&options.pin_root).expect("loaded").attached);
}

#[test]
fn a_new_device_of_the_same_name_gets_the_old_book() {
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    let first = with_steps(&options, 5);
    first
        .pinned
        .program()
        .expect("opens")
        .test_run(&[0; 64], &mut [], 1)
        .expect("runs");
    veth.remove_pair();
    let found = status(&options.pin_root).expect("still pinned");
    assert!(!found.attached);
    veth.make();
    let second = plain(&options).expect("adopts");
    assert!(second.report.adopted && !second.report.replaced);
    assert_eq!(second.report.arena_id, first.report.arena_id);
    assert!(status(&options.pin_root).expect("loaded").attached && veth.has_xdp());
}

#[test]
fn failures_of_a_fresh_load_leave_nothing() {
    let Some(veth) = Veth::new() else { return };
    let mut options = veth.options();
    let failed = load(&options, &mut |_| Err("no space for a book".into()));
    refusal(failed, Exit::Error, &["no space for a book"]);
    assert!(!options.pin_root.exists() && !veth.has_xdp());

    let Object::Path(path) = veth::proof() else {
        unreachable!("a file")
    };
    let mut bytes = std::fs::read(path).expect("the object");
    let end = [0xb4, 0, 0, 0, 2, 0, 0, 0, 0x95]; // w0 = 2; exit
    let at = bytes
        .windows(end.len())
        .position(|window| window == end)
        .expect("the program's end");
    // r0 = *(u64 *)(r9 + 0), where r9 is a number: the verifier must refuse it.
    (bytes[at], bytes[at + 1], bytes[at + 4]) = (0x79, 0x90, 0);
    options.object = Object::Bytes(bytes.into());
    refusal(
        plain(&options),
        Exit::Error,
        &["verifier", "proof", "R9", "processed"],
    );
    assert!(!options.pin_root.exists() && !veth.has_xdp());

    options.object = Object::Bytes(b"not an object".as_slice().into());
    refusal(
        plain(&options),
        Exit::Error,
        &["not an eBPF object", "cargo xtask ebpf"],
    );
}

#[test]
fn pins_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    drop(plain(&options).expect("loads"));
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path)
            .expect("is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&options.pin_root), 0o700);
    for entry in std::fs::read_dir(&options.pin_root).expect("a folder") {
        assert_eq!(mode(&entry.expect("a pin").path()), 0o600);
    }
    let pinned = open_pinned(&options.pin_root).expect("opens");
    assert_eq!(
        (pinned.arena_bytes(), pinned.layout_hash()),
        (64 * 4096, 0x1234)
    );
}

#[test]
fn the_command_says_what_is_missing() {
    let Some(veth) = Veth::new() else { return };
    let interface = veth.interface();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]).output().expect("runs")
    };
    let binary = env!("CARGO_BIN_EXE_xdp-loader");
    let output = run(&[binary, "status", "--interface", &interface]);
    assert_eq!(output.status.code(), Some(3));
    let output = run(&[
        binary,
        "load",
        "--interface",
        &interface,
        "--arena-bytes",
        "5000",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let dropped = "--bounding-set=-bpf,-perfmon,-sys_admin";
    let output = run(&[
        "setpriv",
        dropped,
        binary,
        "--json",
        "load",
        "--interface",
        &interface,
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(
        text.contains("CAP_BPF, CAP_PERFMON") && text.contains("\"exit\":5"),
        "{text}"
    );
}

#[test]
fn the_kept_matcher_verifies_and_attaches() {
    let Some(veth) = Veth::new() else { return };
    let mut options = veth.options();
    let path = std::env::var_os("RING0_BPF_OBJECT").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../ebpf/prebuilt/ring0.bpf.o"
            ))
        },
        PathBuf::from,
    );
    options.object = Object::Path(path);
    let loaded = plain(&options).expect("verifies");
    assert!(loaded.report.verified_instructions < 1_000_000 && veth.has_xdp());
    println!(
        "{} instructions verified in {} us",
        loaded.report.verified_instructions,
        loaded.report.load_ns / 1000
    );
}
