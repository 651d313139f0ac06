//! Replacing a running program: it works, it is refused, it is taken back, it is killed at each step. Needs root.

mod veth;

use ring0_abi::Counter;
use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use veth::Veth;
use xdp_loader::{
    Exit, LoadOptions, LoaderError, Object, ReplaceOptions, Step, load, open_pinned, plan_load,
    plan_replace, replace, status,
};

/// Where the test's word lies in the arena.
const WORD: usize = 8192;

fn proof_bytes() -> Vec<u8> {
    let Object::Path(path) = veth::proof() else {
        unreachable!("a file")
    };
    std::fs::read(path).expect("the proof")
}

/// The proof with the one place that reads `from` changed to `to`.
fn changed(from: &[u8], to: &[u8]) -> Object {
    let mut bytes = proof_bytes();
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from))
        .collect();
    let [at] = places[..] else {
        panic!("{} places", places.len())
    };
    bytes[at..at + to.len()].copy_from_slice(to);
    Object::Bytes(bytes.into())
}

/// `w0 = XDP_PASS; exit` becomes a drop.
fn dropping() -> Object {
    changed(
        &[0xb4, 0, 0, 0, 2, 0, 0, 0, 0x95],
        &[0xb4, 0, 0, 0, 1, 0, 0, 0, 0x95],
    )
}

/// What is counted under 0 is counted under another number. It stands behind the mention of the arena, two places of an instruction.
fn counting(counter: Counter) -> Object {
    let mut from = [0; 16 + 12];
    from[..2].copy_from_slice(&[0x18, 1]);
    from[16..18].copy_from_slice(&[0xb4, 1]);
    from[24..].copy_from_slice(&[0x63, 0x1a, 0xfc, 0xff]);
    let mut to = from;
    to[20] = counter as u8;
    changed(&from, &to)
}

fn loaded(veth: &Veth) -> LoadOptions {
    loaded_with(veth.options())
}

fn loaded_with(options: LoadOptions) -> LoadOptions {
    let loaded = load(&options, &mut |fresh| {
        fresh.arena[WORD..WORD + 8].copy_from_slice(b"THE BOOK");
        Ok(())
    });
    drop(loaded.expect("loads"));
    options
}

fn quick(options: &LoadOptions, object: Object) -> ReplaceOptions {
    let mut replace = ReplaceOptions::new(object, options.pin_root.clone());
    replace.health = Duration::from_millis(50);
    replace
}

/// Attached, the same memory, the pins of a finished load; gives the program's id.
fn is_whole(options: &LoadOptions, arena: u32) -> u32 {
    let found = status(&options.pin_root).expect("loaded");
    assert!(found.attached);
    assert_eq!(found.maps[0].id, arena, "the same memory");
    let pinned = open_pinned(&options.pin_root).expect("opens");
    let word = pinned
        .map_arena()
        .expect("maps")
        .word(WORD)
        .load(Ordering::Acquire);
    assert_eq!(&word.to_ne_bytes(), b"THE BOOK");
    pinned.link_program_id().expect("a link").expect("attached")
}

/// Runs `work` while whatever program is attached is run every millisecond, as traffic would.
fn under_traffic(options: &LoadOptions, work: impl FnOnce()) {
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                let pinned = open_pinned(&options.pin_root).expect("opens");
                let program = pinned.program().expect("runs");
                program.test_run(&[0; 64], &mut [], 1).expect("runs");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let _ends = Ends(&ends); // also when `work` panics
        work();
    });
}

fn arena(options: &LoadOptions) -> u32 {
    open_pinned(&options.pin_root).expect("opens").arena_id()
}

fn pins(options: &LoadOptions) -> usize {
    std::fs::read_dir(&options.pin_root)
        .expect("a folder")
        .count()
}

#[test]
fn a_program_is_replaced_over_the_same_memory() {
    let Some(veth) = Veth::new() else { return };
    let options = loaded(&veth);
    let arena = arena(&options);
    for _ in 0..3 {
        let before = is_whole(&options, arena);
        let report = replace(&quick(&options, veth::proof())).expect("replaces");
        println!("put there in {} ns", report.update_ns);
        assert_eq!(
            (report.replaced_program_id, report.arena_id),
            (before, arena)
        );
        assert_eq!(is_whole(&options, arena), report.program_id);
        assert_ne!(report.program_id, before);
        assert!(report.watched_ns >= 50_000_000 && report.frames_tried == 3);
        assert_eq!(pins(&options), 9, "nothing temporary is left");
    }
}

#[test]
fn a_program_that_is_not_fit_is_refused_before_anything_changes() {
    let Some(veth) = Veth::new() else { return };
    let options = loaded(&veth);
    let arena = arena(&options);
    let before = is_whole(&options, arena);
    let check = |object: Object, exit: Exit, words: &[&str]| {
        let error = replace(&quick(&options, object)).expect_err("refused");
        let text = error.to_string();
        assert_eq!(error.exit(), exit, "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        assert_eq!(is_whole(&options, arena), before, "the old one goes on");
        assert_eq!(pins(&options), 9);
    };
    check(
        dropping(),
        Exit::Unhealthy,
        &[
            "before anything changed",
            "verdict 1",
            "the old one verdict 2",
        ],
    );
    // The matcher names the layout of its memory, the proof none.
    let matcher = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/prebuilt/ring0.bpf.o");
    check(
        Object::Path(matcher.into()),
        Exit::Unhealthy,
        &["layout version is 4, that of the pinned memory is 0"],
    );
    // `exit` in the last place becomes a jump out of the program.
    let broken = changed(
        &[0xb4, 0, 0, 0, 2, 0, 0, 0, 0x95],
        &[0xb4, 0, 0, 0, 2, 0, 0, 0, 0x05, 0, 9, 0],
    );
    check(broken, Exit::Error, &["the verifier refused"]);
    check(
        Object::Bytes(b"no object".into()),
        Exit::Error,
        &["is not an eBPF object"],
    );
}

#[test]
fn a_program_that_is_not_well_is_taken_back() {
    let Some(veth) = Veth::new() else { return };
    let options = loaded(&veth);
    let arena = arena(&options);
    let before = is_whole(&options, arena);
    under_traffic(&options, || {
        let mut patient = quick(&options, counting(Counter::DropAnswer));
        patient.health = Duration::from_secs(20);
        let error = replace(&patient).expect_err("taken back");
        println!("{error}");
        assert_eq!(error.exit(), Exit::Unhealthy);
        let grew = "counter drop_answer grew by";
        assert!(error.to_string().contains(grew), "{error}");
        assert_eq!(is_whole(&options, arena), before, "the old one is back");
        assert_eq!(pins(&options), 9);
        // One that is well under the same traffic stays.
        let report = replace(&quick(&options, veth::proof())).expect("replaces");
        assert_eq!(is_whole(&options, arena), report.program_id);
    });
}

#[test]
fn nothing_attached_is_nothing_to_replace() {
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    let error = replace(&quick(&options, veth::proof())).expect_err("nothing loaded");
    assert!(matches!(error, LoaderError::NotLoaded { .. }), "{error}");
    let options = loaded(&veth);
    veth.remove_pair();
    let error = replace(&quick(&options, veth::proof())).expect_err("nothing attached");
    assert_eq!(error.exit(), Exit::NotAttached, "{error}");
    assert!(error.to_string().contains("book and all"), "{error}");
}

#[test]
fn an_interface_that_goes_while_the_program_is_watched_is_said() {
    let Some(veth) = Veth::new() else { return };
    let options = loaded(&veth);
    let error = std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            let mut patient = quick(&options, veth::proof());
            patient.health = Duration::from_secs(20);
            replace(&patient).expect_err("the interface goes")
        });
        std::thread::sleep(Duration::from_millis(300));
        veth.remove_pair();
        replacing.join().expect("no panic")
    });
    let gone = "its interface has gone";
    assert!(error.to_string().contains(gone), "{error}");
    veth.make();
    let loaded = load(&options, &mut |_| panic!("memory is adopted")).expect("attaches anew");
    assert!(loaded.report.adopted);
}

#[test]
fn a_plan_changes_nothing() {
    let Some(veth) = Veth::new() else { return };
    let fresh = veth.options();
    let plan = plan_load(&fresh).expect("a plan");
    assert!(!plan.adopts && plan.replaces.is_none() && !fresh.pin_root.exists());
    assert!(!veth.has_xdp());
    assert!(plan.program.verified_instructions > 100);
    let options = loaded(&veth);
    let before = is_whole(&options, arena(&options));
    let counted = |options: &LoadOptions| {
        let pinned = open_pinned(&options.pin_root).expect("opens");
        pinned.counters().expect("opens").sums().expect("reads")
    };
    let counters = counted(&options);
    let plan = plan_load(&options).expect("a plan");
    assert!(plan.adopts && plan.replaces == Some(before), "{plan:?}");
    let plan = plan_replace(&quick(&options, veth::proof())).expect("a plan");
    assert_eq!(plan.replaces, Some(before));
    assert_eq!(is_whole(&options, arena(&options)), before);
    assert_eq!(counted(&options), counters, "no frame was run");
    let empty = Object::Bytes((&[]).into());
    let error = plan_replace(&quick(&options, empty)).expect_err("no object");
    assert_eq!(error.exit(), Exit::Error);
}

fn command(veth: &Veth, arguments: &[&str], dies_at: Option<Step>) -> Output {
    let Object::Path(object) = veth::proof() else {
        unreachable!("a file")
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_xdp-loader"));
    if let Some(step) = dies_at {
        command.env("XDP_LOADER_DIE_AT", step.name());
    }
    let command = command.args(arguments).arg(veth.interface());
    let command = command.env("RING0_BPF_OBJECT", object);
    command.output().expect("runs")
}

#[test]
fn killed_in_a_replace() {
    let Some(veth) = Veth::new() else { return };
    killed_at_each_step(&veth, &loaded(&veth), &[]);
}

#[test]
fn killed_in_a_replace_behind_a_dispatcher() {
    let Some(veth) = Veth::new() else { return };
    let options = loaded_with(veth.options().behind(veth::dispatch(9001)));
    killed_at_each_step(&veth, &options, &["--port=9001"]);
}

fn killed_at_each_step(veth: &Veth, options: &LoadOptions, place: &[&str]) {
    let arena = arena(options);
    let whole = pins(options);
    let replace = [&["replace", "--health-seconds=0.02"], place].concat();
    for step in Step::REPLACE {
        println!("replace, {}", step.name());
        let killed = command(veth, &replace, Some(step));
        assert_eq!(killed.status.signal(), Some(9), "{}", step.name());
        is_whole(options, arena);
        // Whatever the death left, the next replace ends well, and so does a load after another death.
        let done = command(veth, &replace, None);
        assert!(done.status.success(), "{done:?}");
        is_whole(options, arena);
        assert_eq!(pins(options), whole, "{}", step.name());
        command(veth, &replace, Some(step));
        let loaded = load(options, &mut |_| panic!("memory is adopted")).expect("loads");
        assert!(loaded.report.adopted && loaded.report.replaced);
        drop(loaded);
        assert_eq!(pins(options), whole, "{}", step.name());
        is_whole(options, arena);
    }
}

#[test]
fn killed_on_the_way_back() {
    let Some(veth) = Veth::new() else { return };
    let options = loaded(&veth);
    let arena = arena(&options);
    let before = is_whole(&options, arena);
    let file = std::env::temp_dir().join(format!("ring0-sick-{}", std::process::id()));
    let Object::Bytes(bytes) = counting(Counter::DropAnswer) else {
        unreachable!("bytes")
    };
    std::fs::write(&file, bytes).expect("writes");
    let sick = file.display().to_string();
    under_traffic(&options, || {
        let arguments = ["replace", "--health-seconds=20", "--object", &sick];
        let killed = command(&veth, &arguments, Some(Step::RolledBack));
        assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
        assert_eq!(is_whole(&options, arena), before, "the old one is back");
        let ended = command(&veth, &arguments, None);
        let unhealthy = Some(Exit::Unhealthy as i32);
        assert_eq!(ended.status.code(), unhealthy, "{ended:?}");
        assert_eq!(is_whole(&options, arena), before);
        assert_eq!(pins(&options), 9);
    });
    std::fs::remove_file(&file).expect("removes");
}

#[test]
fn the_verifiers_log_is_written() {
    let Some(veth) = Veth::new() else { return };
    let file = std::env::temp_dir().join(format!("ring0-verifier-{}", std::process::id()));
    let mut options = veth.options();
    options.verifier_log = Some(file.clone());
    drop(load(&options, &mut |_| Ok(())).expect("loads"));
    let log = std::fs::read_to_string(&file).expect("a log");
    assert!(log.contains("processed"), "{log}");
    let broken = changed(
        &[0xb4, 0, 0, 0, 2, 0, 0, 0, 0x95],
        &[0x79, 0, 0xff, 0x7f, 0, 0, 0, 0, 0x95],
    );
    let mut wrong = quick(&options, broken);
    wrong.verifier_log = Some(file.clone());
    replace(&wrong).expect_err("refused");
    let log = std::fs::read_to_string(&file).expect("a log");
    assert!(log.lines().count() > 100, "{log}");
    let nowhere = PathBuf::from("/proc/none/log");
    let mut unwritable = quick(&options, veth::proof());
    unwritable.verifier_log = Some(nowhere);
    let error = replace(&unwritable)
        .expect_err("no such folder")
        .to_string();
    assert!(error.contains("cannot be written"), "{error}");
    std::fs::remove_file(Path::new(&file)).expect("removes");
}
