//! A shard moves to another arena: it works, it is refused, it is killed at each step. Needs root; the killed loaders are this test binary run
//! again.

mod veth;

use std::{os::unix::process::ExitStatusExt, process::Command, sync::atomic::Ordering};
use veth::Veth;
use xdp_loader::{
    LoadOptions, LoaderError, MigrateOptions, Migrated, Migration, Object, Step, load, open_pinned,
    replace, status, unload,
};

/// Where the test's word lies in the arena.
const WORD: usize = 8192;
const BOOK: &[u8; 8] = b"THE BOOK";
const KEY: u8 = 0x5a;
const LAYOUTS: [u64; 2] = [0x1234, 0x5678];
/// Pages and sessions before and after.
const PAGES: [u64; 2] = [64, 160];
const SESSIONS: [u32; 2] = [8, 20];

fn loaded(options: &LoadOptions) {
    let loaded = load(options, &mut |fresh| {
        fresh.arena[WORD..WORD + 8].copy_from_slice(BOOK);
        Ok(())
    });
    let pinned = loaded.expect("loads").pinned;
    let keys = pinned.keys().expect("opens");
    keys.set(5, &vec![KEY; keys.value_bytes()]).expect("sets");
}

fn larger(options: &LoadOptions) -> MigrateOptions {
    MigrateOptions {
        object: options.object.clone(),
        pin_root: options.pin_root.clone(),
        arena_bytes: PAGES[1] * 4096,
        sessions_max: SESSIONS[1],
        layout_hash: LAYOUTS[1],
        subprograms: options.subprograms,
    }
}

fn migrate(options: &MigrateOptions) -> Result<Migrated, LoaderError> {
    Migration::prepare(options)?.commit(&mut |arena| {
        assert!(arena.iter().all(|byte| *byte == 0), "a new arena is zeros");
        arena[WORD..WORD + 8].copy_from_slice(BOOK);
        Ok(())
    })
}

/// Attached, with the book and the keys whole, in one of the two arenas; says in which.
fn is_whole(options: &LoadOptions) -> usize {
    let pinned = open_pinned(&options.pin_root).expect("opens");
    let side = usize::from(pinned.layout_hash() == LAYOUTS[1]);
    assert_eq!(pinned.layout_hash(), LAYOUTS[side]);
    assert_eq!(pinned.arena_bytes(), PAGES[side] * 4096);
    assert_eq!(pinned.sessions_max(), SESSIONS[side]);
    let arena = pinned.map_arena().expect("maps");
    let word = arena.word(WORD).load(Ordering::Acquire);
    assert_eq!(&word.to_ne_bytes(), BOOK);
    let keys = pinned.keys().expect("opens");
    let expected = [vec![0; keys.value_bytes()], vec![KEY; keys.value_bytes()]];
    assert_eq!([4, 5].map(|key| keys.get(key).expect("reads")), expected);
    let program = pinned.program().expect("opens");
    let attached = pinned.link_program_id().expect("a link");
    assert_eq!(attached, Some(program.id()));
    assert!(status(&options.pin_root).expect("loaded").attached);
    program.test_run(&[0; 64], &mut [], 1).expect("runs");
    side
}

/// The load options of a shard in either arena.
fn options_of(options: &LoadOptions, side: usize) -> LoadOptions {
    let mut options = options.clone();
    options.arena_bytes = PAGES[side] * 4096;
    options.sessions_max = SESSIONS[side];
    options.layout_hash = LAYOUTS[side];
    options
}

fn pins(options: &LoadOptions) -> usize {
    let entries = std::fs::read_dir(&options.pin_root);
    entries.expect("a folder").count()
}

fn both(veth: &Veth) -> [LoadOptions; 2] {
    [veth.options(), veth.options().behind(veth::dispatch(9001))]
}

#[test]
fn a_shard_moves_and_keeps_its_rings_keys_and_counters() {
    let Some(veth) = Veth::new() else { return };
    for options in both(&veth) {
        loaded(&options);
        let whole = pins(&options);
        let before = open_pinned(&options.pin_root).expect("opens");
        before
            .map_cursors()
            .expect("maps")
            .cursor(2)
            .store(77, Ordering::Release);
        let program = before.program().expect("opens").id();
        let counted = || {
            let pinned = open_pinned(&options.pin_root).expect("opens");
            pinned
                .counters()
                .expect("opens")
                .sums()
                .expect("reads")
                .iter()
                .sum::<u64>()
        };
        assert_eq!(is_whole(&options), 0);
        let count = counted();
        assert!(count > 0);
        // The old arena stays mapped beside the new one.
        let old = before.map_arena().expect("maps");
        let moved = migrate(&larger(&options)).expect("moves");
        let report = &moved.report;
        println!(
            "prepared in {} ns, filled in {}, put there in {}",
            report.prepare_ns, report.fill_ns, report.update_ns
        );
        assert_eq!(report.replaced_program_id, program);
        assert_eq!(report.replaced_arena_id, before.arena_id());
        assert_eq!(report.arena_id, moved.pinned.arena_id());
        assert_ne!(report.arena_id, before.arena_id());
        assert_eq!(moved.pinned.records_id(), before.records_id());
        assert_ne!(moved.pinned.arena_address(), before.arena_address());
        assert!(counted() >= count);
        drop((moved, old));
        assert_eq!(is_whole(&options), 1);
        assert_eq!(pins(&options), whole);
        let after = open_pinned(&options.pin_root).expect("opens");
        assert_eq!(
            after
                .map_cursors()
                .expect("maps")
                .cursor(2)
                .load(Ordering::Acquire),
            77
        );
        // Loads and replaces go on with it; the old sizes are another shard's.
        let error = load(&options, &mut |_| Ok(())).expect_err("another layout");
        assert!(matches!(error, LoaderError::Mismatch { .. }), "{error}");
        let adopted = load(&options_of(&options, 1), &mut |_| panic!("adopted"));
        assert!(adopted.expect("adopts").report.adopted);
        let mut again = xdp_loader::ReplaceOptions::new(veth::proof(), options.pin_root.clone());
        again.health = std::time::Duration::ZERO;
        replace(&again).expect("replaces");
        assert_eq!(is_whole(&options), 1);
        unload(&options.pin_root).expect("unloads");
        assert!(!options.pin_root.exists() && !veth.has_xdp());
    }
}

#[test]
fn what_cannot_move_stays_as_it_was() {
    let Some(veth) = Veth::new() else { return };
    let options = veth.options();
    let error = migrate(&larger(&options)).expect_err("nothing loaded");
    assert!(matches!(error, LoaderError::NotLoaded { .. }), "{error}");
    loaded(&options);
    let program = open_pinned(&options.pin_root)
        .expect("opens")
        .program()
        .expect("opens")
        .id();
    let check = |change: &dyn Fn(&mut MigrateOptions), words: &str| {
        let mut wrong = larger(&options);
        change(&mut wrong);
        let error = migrate(&wrong).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    };
    check(&|it| it.arena_bytes = 5_000, "whole pages");
    check(&|it| it.sessions_max = 7, "no fewer than the shard has");
    check(
        &|it| it.object = Object::Bytes(b"none".into()),
        "is not an eBPF object",
    );
    // `w0 = XDP_PASS; exit` becomes a drop.
    let Object::Path(path) = veth::proof() else {
        unreachable!("a file")
    };
    let mut bytes = std::fs::read(path).expect("the proof");
    let pass = [0xb4, 0, 0, 0, 2, 0, 0, 0, 0x95];
    let at = bytes
        .windows(pass.len())
        .position(|part| part == pass)
        .expect("a pass");
    bytes[at + 4] = 1;
    check(
        &|it| it.object = Object::Bytes(bytes.clone().into()),
        "verdict 1",
    );
    let prepared = Migration::prepare(&larger(&options)).expect("prepares");
    let error = prepared
        .commit(&mut |_| Err("no book".into()))
        .expect_err("not filled");
    assert!(error.to_string().contains("no book"), "{error}");
    // One that was prepared and dropped is nothing.
    drop(Migration::prepare(&larger(&options)).expect("prepares"));
    assert_eq!((is_whole(&options), pins(&options)), (0, 9));
    let pinned = open_pinned(&options.pin_root).expect("opens");
    assert_eq!(pinned.program().expect("opens").id(), program);
}

/// In a process of its own this moves the shard of the interface in its environment, as [`killed`] asks.
#[test]
fn a_migration_of_its_own() {
    let Ok(pin_root) = std::env::var("MIGRATE_PIN_ROOT") else {
        return;
    };
    let mut options = LoadOptions::new(veth::proof(), "none", None);
    options.pin_root = pin_root.into();
    migrate(&larger(&options)).expect("moves");
}

fn killed(options: &LoadOptions, step: Step) {
    let Object::Path(object) = &options.object else {
        unreachable!("a file")
    };
    let status = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "a_migration_of_its_own", "--nocapture"])
        .env("XDP_LOADER_DIE_AT", step.name())
        .env("MIGRATE_PIN_ROOT", &options.pin_root)
        .env("RING0_PROOF_OBJECT", object)
        .output()
        .expect("runs")
        .status;
    assert_eq!(status.signal(), Some(9), "{}", step.name());
}

#[test]
fn killed_in_a_migration() {
    let Some(veth) = Veth::new() else { return };
    for options in both(&veth) {
        for (number, step) in Step::MIGRATE.into_iter().enumerate() {
            let decided = Step::MIGRATE.iter().position(|it| *it == Step::Linked);
            let expected = usize::from(Some(number) >= decided);
            println!("migrate, {}", step.name());
            for next in ["open", "load", "unload"] {
                loaded(&options);
                let whole = pins(&options);
                killed(&options, step);
                match next {
                    "open" => {}
                    "load" => {
                        let options = options_of(&options, expected);
                        let loaded = load(&options, &mut |_| panic!("the memory is adopted"));
                        assert!(loaded.expect("loads").report.replaced);
                    }
                    _ => {
                        unload(&options.pin_root).expect("unloads");
                        assert!(!options.pin_root.exists() && !veth.has_xdp());
                        continue;
                    }
                }
                assert_eq!(is_whole(&options), expected, "{}", step.name());
                assert_eq!(pins(&options), whole, "{}, {next}", step.name());
                // From either side it goes on as if nothing had been.
                if expected == 0 {
                    migrate(&larger(&options)).expect("moves");
                    assert_eq!(is_whole(&options), 1);
                    assert_eq!(pins(&options), whole);
                }
                unload(&options.pin_root).expect("unloads");
            }
        }
    }
}
