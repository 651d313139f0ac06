//! The matcher built with its log, against the running kernel. Needs root, and the compiler for the eBPF program unless
//! `RING0_BPF_LOG_OBJECT` names an object that `cargo xtask ebpf --log` has built.

mod veth;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use veth::Veth;
use xdp_loader::{Fresh, LoaderError, Log, LogLevel, LogLine, Object, load, open_pinned, unload};

const XDP_DROP: u32 = 1;

const PORT: u16 = 4400;

/// Words of the arena's first page and of the command map's first entry, as in `ebpf/abi`.
mod word {
    pub(crate) const PORT: usize = 72;
    pub(crate) const READY: usize = 88;
    pub(crate) const ARMED: usize = 8;
}

/// The object, or why there is none here.
fn object() -> Option<Object> {
    if let Some(path) = std::env::var_os("RING0_BPF_LOG_OBJECT") {
        return Some(Object::Path(PathBuf::from(path)));
    }
    let output = Command::new(env!("CARGO"))
        .args(["xtask", "ebpf", "--log"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("run `scripts/setup`") {
        eprintln!("skipped: no eBPF compiler here (`scripts/setup` installs it)");
        return None;
    }
    assert!(output.status.success(), "{errors}");
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Some(Object::Path(path.into()))
}

/// A frame to the shard's port whose payload is `payload`; its IPv4 length is `extra` too large.
fn frame(payload: &[u8], extra: u16) -> Vec<u8> {
    let udp = payload.len() as u16 + 8;
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00, 0x45, 0x00]);
    frame.extend((udp + 20 + extra).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(50_000_u16.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend(udp.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

fn lines(log: &mut Log) -> Vec<LogLine> {
    let next = || log.next(Duration::from_millis(100)).expect("reads");
    std::iter::from_fn(next).collect()
}

#[test]
fn each_drop_is_one_line_that_names_its_counter() {
    let Some(object) = object() else { return };
    let Some(veth) = Veth::new() else { return };
    let mut options = veth.options();
    options.object = object;
    options.arena_bytes = 16 << 20;
    let loaded = load(&options, &mut |fresh: Fresh<'_>| {
        fresh.arena[word::PORT..word::PORT + 4].copy_from_slice(&u32::from(PORT).to_le_bytes());
        fresh.arena[word::READY..word::READY + 4].copy_from_slice(&1_u32.to_le_bytes());
        Ok(())
    })
    .expect("loads");
    println!("with its log: {:?}", loaded.report);
    let mut log = loaded.pinned.log().expect("opens");
    assert!(lines(&mut log).is_empty(), "nothing was dropped yet");
    let program = loaded.pinned.program().expect("opens");
    let mut run = |data: &[u8]| {
        let run = program.test_run(data, &mut [0; 2048], 1).expect("runs");
        assert_eq!(run.retval, XDP_DROP);
        lines(&mut log)
    };
    let mut check = |data: &[u8], level, text: &str| {
        let lines = run(data);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((lines[0].level, lines[0].text.as_str()), (level, text));
        assert_eq!(lines[0].file, "src/log.rs");
    };
    let secret = [0xab; 8];
    let text = "drop_too_short frame of 50 bytes dropped";
    check(&frame(&secret, 0), LogLevel::Warn, text);
    let text = "drop_length frame of 50 bytes dropped";
    check(&frame(&secret, 1), LogLevel::Warn, text);
    let commands = loaded.pinned.map_commands().expect("maps");
    let nonce = 0x1122_3344_5566_7788_u64;
    let armed = commands.word(word::ARMED);
    armed.store(nonce, std::sync::atomic::Ordering::Release);
    let mut doorbell = vec![2; 12];
    doorbell.extend([0x88, 0xb5]);
    doorbell.extend(nonce.to_le_bytes());
    doorbell.resize(64, 0);
    let text = "doorbell, 0 commands taken so far";
    check(&doorbell, LogLevel::Info, text);

    // The command reads what another process left; what was read is gone, the counters are not.
    for _ in 0..3 {
        let short = frame(&secret, 0);
        program.test_run(&short, &mut [0; 64], 1).expect("runs");
    }
    let printed = || {
        let output = Command::new(env!("CARGO_BIN_EXE_xdp-loader"))
            .args(["log", "--seconds", "0", "--pin-root"])
            .arg(&options.pin_root)
            .output()
            .expect("runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = printed();
    assert_eq!(text.lines().count(), 3, "{text}");
    let start = "warn  drop_too_short frame of 50 bytes dropped (src/log.rs:";
    assert!(text.lines().all(|line| line.starts_with(start)), "{text}");
    assert_eq!(printed(), "");

    // A full buffer costs lines, nothing else: 128 KiB hold some hundreds.
    let short = frame(&secret, 0);
    let run = program.test_run(&short, &mut [0; 64], 5000);
    println!(
        "a dropped frame, its line mostly lost: {:?}",
        run.expect("runs")
    );
    let kept = lines(&mut log).len();
    assert!((100..5000).contains(&kept), "{kept} lines");
    program.test_run(&short, &mut [0; 64], 1).expect("runs");
    assert_eq!(lines(&mut log).len(), 1, "and goes on when it is read");
}

#[test]
fn the_log_comes_and_goes_with_the_program() {
    let Some(object) = object() else { return };
    let Some(veth) = Veth::new() else { return };
    let mut options = veth.options();
    let proof = options.object.clone();
    let plain = |options: &_| load(options, &mut |_| Ok(())).expect("loads");
    let no_log = || {
        let error = open_pinned(&veth.options().pin_root).expect("opens").log();
        assert!(matches!(error, Err(LoaderError::NoLog { .. })), "{error:?}");
    };
    let arena_id = plain(&options).report.arena_id;
    no_log();
    options.object = object;
    let logging = plain(&options);
    assert!(logging.report.adopted && logging.report.replaced);
    assert_eq!(logging.report.arena_id, arena_id);
    logging.pinned.log().expect("opens");
    let pin = options.pin_root.join("MAP_AYA_LOGS");
    assert!(pin.exists());
    plain(&options).pinned.log().expect("opens again");
    options.object = proof;
    plain(&options);
    no_log();
    assert!(!pin.exists(), "no map without a writer stays");
    assert!(veth.has_xdp());
    unload(&options.pin_root).expect("unloads");
    assert!(!veth.has_xdp() && !options.pin_root.exists());
}
