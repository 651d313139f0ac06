//! The loader is killed at each of its steps; the next load adopts or repairs, the next unload
//! leaves nothing. Needs root; the killed loaders are this test binary run again.

mod veth;

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};
use veth::Veth;
use xdp_loader::{Dispatcher, Fresh, LoadOptions, Object, Step, load, open_pinned, status, unload};

/// Where the caller's magic goes, written last, as the engine does.
const MAGIC: std::ops::Range<usize> = 4096..4104;

fn init(fresh: Fresh<'_>) {
    assert!(
        fresh.arena.iter().all(|byte| *byte == 0),
        "what a dead load wrote is gone"
    );
    fresh.arena[8192..].fill(0xa5);
    fresh.arena[MAGIC].copy_from_slice(b"REGION01");
}

/// Runs `work` of [`a_loader_of_its_own`] in another process that dies at `step`.
fn killed(work: &str, options: &LoadOptions, step: Step) -> ExitStatus {
    in_a_process(work, options, Some(step))
}

fn in_a_process(work: &str, options: &LoadOptions, dies_at: Option<Step>) -> ExitStatus {
    let Object::Path(object) = &options.object else {
        unreachable!("a file")
    };
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    if let Some(step) = dies_at {
        command.env("XDP_LOADER_DIE_AT", step.name());
    }
    command
        .args(["--exact", "a_loader_of_its_own", "--nocapture"])
        .env("XDP_CHILD_WORK", work)
        .env("XDP_CHILD_INTERFACE", &options.interface)
        .env(
            "XDP_CHILD_PORT",
            options
                .dispatch
                .as_ref()
                .map_or(String::new(), |dispatch| dispatch.port.to_string()),
        )
        .env("RING0_PROOF_OBJECT", object)
        .output()
        .expect("runs")
        .status
}

/// A loader that nothing kills loads and unloads in a process of its own. With an interface in its environment it is that
/// process, and what [`killed`] runs: the same options as [`Veth::options`], on an interface that is there.
#[test]
fn a_loader_of_its_own() {
    let Ok(interface) = std::env::var("XDP_CHILD_INTERFACE") else {
        let Some(veth) = Veth::new() else { return };
        let options = veth.options();
        assert!(in_a_process("load", &options, None).success());
        all_is_well(&veth, &options);
        assert!(in_a_process("unload", &options, None).success());
        assert!(status(&options.pin_root).is_err() && !veth.has_xdp());
        return;
    };
    let mut options = LoadOptions::new(veth::proof(), &interface, None);
    options.arena_bytes = 64 * 4096;
    options.record_slots = 128;
    options.command_slots = 64;
    options.sessions_max = 8;
    options.layout_hash = 0x1234;
    if let Ok(port) = std::env::var("XDP_CHILD_PORT").unwrap_or_default().parse() {
        options = options.behind(veth::dispatch(port));
    }
    if std::env::var("XDP_CHILD_WORK").is_ok_and(|work| work == "unload") {
        unload(&options.pin_root).expect("unloads");
        return;
    }
    let loaded = load(&options, &mut |fresh| {
        init(fresh);
        Ok(())
    });
    loaded.expect("loads");
}

fn position(step: Step) -> usize {
    Step::ALL
        .iter()
        .position(|other| *other == step)
        .expect("a step")
}

fn load_steps() -> &'static [Step] {
    &Step::ALL[..=position(Step::ProgramNamed)]
}

fn unload_steps() -> &'static [Step] {
    &Step::ALL[position(Step::UnloadLinks)..]
}

/// Loads here; says whether the memory was adopted.
fn load_here(options: &LoadOptions) -> bool {
    let loaded = load(options, &mut |fresh| {
        init(fresh);
        Ok(())
    })
    .expect("adopts or repairs");
    let arena = loaded.arena.as_ref().expect("mapped by this load");
    let magic = arena
        .word(MAGIC.start)
        .load(std::sync::atomic::Ordering::Acquire);
    assert_eq!(magic.to_ne_bytes(), *b"REGION01", "the memory is whole");
    loaded.report.adopted
}

fn all_is_well(veth: &Veth, options: &LoadOptions) {
    let found = status(&options.pin_root).expect("loaded");
    assert!(found.attached && veth.has_xdp());
    let names: Vec<String> = std::fs::read_dir(&options.pin_root)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("a pin")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let link = usize::from(options.dispatch.is_none());
    assert_eq!(
        names.len(),
        8 + link,
        "six maps, META, PROG, and LINK of one alone: {names:?}"
    );
    let pinned = open_pinned(&options.pin_root).expect("opens");
    let program = pinned.program().expect("opens");
    assert_eq!(
        pinned.link_program_id().expect("a link"),
        Some(program.id())
    );
    program.test_run(&[0; 64], &mut [], 1).expect("runs");
}

fn nothing_is_left(veth: &Veth, options: &LoadOptions) {
    assert!(!veth.has_xdp(), "nothing is attached");
    assert!(!options.pin_root.exists(), "nothing is pinned");
    let dispatcher = Dispatcher::open(&options.interface, None).expect("may look");
    assert!(dispatcher.is_none(), "nor of a dispatcher");
}

/// A shard that has the interface alone, and one behind a dispatcher.
fn both(veth: &Veth) -> [LoadOptions; 2] {
    [veth.options(), veth.options().behind(veth::dispatch(9001))]
}

#[test]
fn killed_in_a_first_load() {
    let Some(veth) = Veth::new() else { return };
    for options in both(&veth) {
        for step in load_steps() {
            println!("load, {}", step.name());
            assert_eq!(
                killed("load", &options, *step).signal(),
                Some(9),
                "{}",
                step.name()
            );
            let attached = position(*step) >= position(Step::LinkPinned);
            assert_eq!(
                veth.has_xdp(),
                attached,
                "only a pinned link outlives its maker"
            );
            let adopted = load_here(&options);
            assert_eq!(
                adopted,
                position(*step) >= position(Step::Finished),
                "{}",
                step.name()
            );
            all_is_well(&veth, &options);
            unload(&options.pin_root).expect("unloads");
            nothing_is_left(&veth, &options);
        }
    }
}

#[test]
fn killed_in_a_replacing_load() {
    let Some(veth) = Veth::new() else { return };
    for options in both(&veth) {
        assert!(!load_here(&options));
        let arena = status(&options.pin_root).expect("loaded").maps[0].id;
        // The memory's steps come only with fresh memory.
        for step in load_steps().iter().filter(|step| {
            **step == Step::Folder || position(**step) >= position(Step::ProgramLoaded)
        }) {
            println!("replace, {}", step.name());
            assert_eq!(
                killed("load", &options, *step).signal(),
                Some(9),
                "{}",
                step.name()
            );
            assert!(
                status(&options.pin_root).expect("loaded").attached,
                "the old or the new program runs"
            );
            assert!(load_here(&options), "adopted");
            all_is_well(&veth, &options);
            assert_eq!(
                status(&options.pin_root).expect("loaded").maps[0].id,
                arena,
                "the same memory"
            );
        }
        unload(&options.pin_root).expect("unloads");
        nothing_is_left(&veth, &options);
    }
}

#[test]
fn unloaded_after_a_death() {
    let Some(veth) = Veth::new() else { return };
    for options in both(&veth) {
        for step in load_steps() {
            println!("load, {}, unload", step.name());
            assert_eq!(
                killed("load", &options, *step).signal(),
                Some(9),
                "{}",
                step.name()
            );
            unload(&options.pin_root).expect("unloads");
            nothing_is_left(&veth, &options);
        }
    }
}

#[test]
fn killed_in_an_unload() {
    let Some(veth) = Veth::new() else { return };
    for options in both(&veth) {
        for step in unload_steps() {
            println!("{}", step.name());
            load_here(&options);
            assert_eq!(
                killed("unload", &options, *step).signal(),
                Some(9),
                "{}",
                step.name()
            );
            assert!(!veth.has_xdp(), "the links go first");
            let adopted = load_here(&options);
            assert_eq!(
                adopted,
                position(*step) < position(Step::UnloadMeta),
                "{}",
                step.name()
            );
            all_is_well(&veth, &options);
            assert_eq!(
                killed("unload", &options, *step).signal(),
                Some(9),
                "{}",
                step.name()
            );
            unload(&options.pin_root).expect("unloads");
            nothing_is_left(&veth, &options);
        }
    }
}
