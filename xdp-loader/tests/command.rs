//! The command as its users run it: every verb's JSON against the schema, statistics, what a dead load leaves, settings set and taken back, the
//! generated pages. Needs root.

mod veth;

use serde_json::Value;
use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use veth::Veth;
use xdp_loader::{Object, Step, default_pin_root};

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{arguments:?}");
}

fn object() -> PathBuf {
    let Object::Path(object) = veth::proof() else {
        unreachable!("a file")
    };
    object
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xdp-loader"));
    command.env("RING0_BPF_OBJECT", object()).args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("runs")
}

/// What the verb says to people.
fn say(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

struct Schema(jsonschema::Validator);

impl Schema {
    fn kept() -> Self {
        let text = include_str!("../schema/xdp-loader-1.json");
        let schema: Value = serde_json::from_str(text).expect("JSON");
        Self(jsonschema::validator_for(&schema).expect("a schema"))
    }

    fn check(&self, value: &Value) {
        let errors: Vec<String> = self
            .0
            .iter_errors(value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{value}: {errors:?}");
    }

    /// The JSON that a verb prints, checked.
    fn json(&self, arguments: &[&str], exit: i32) -> Value {
        let output = run(&[&["--json"], arguments].concat());
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{arguments:?}: {output:?}"
        );
        let value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        self.check(&value);
        value
    }
}

const SMALL: [&str; 6] = [
    "--arena-bytes=262144",
    "--record-slots=128",
    "--command-slots=64",
    "--sessions-max=8",
    "--layout-hash=0x1234",
    "--mode=auto",
];

fn load_words(interface: &str) -> Vec<&str> {
    let mut words = vec!["load", interface];
    words.extend(SMALL);
    words
}

#[test]
fn every_verbs_json_follows_the_schema() {
    let Some(veth) = Veth::new() else { return };
    let schema = Schema::kept();
    let interface = veth.interface();
    let name = interface.as_str();
    schema.json(&["status", name], 3);
    schema.json(&["replace", name], 3);
    schema.json(&["stats", name], 3);
    schema.json(&["probe"], 0);
    let probe = schema.json(&["probe", name], 0);
    assert_eq!(probe["interface"]["device"]["kind"], "veth");
    assert_eq!(probe["rings"][0]["works"], true, "{probe}");
    schema.json(&["probe", "no-such-one"], 1);
    schema.json(&["subprograms", &object().display().to_string()], 0);
    let mut dry = load_words(name);
    dry.push("--dry-run");
    let plan = schema.json(&dry, 0);
    assert_eq!(
        (&plan["dry_run"], &plan["adopts"]),
        (&true.into(), &false.into())
    );
    assert!(!veth.has_xdp());
    let loaded = schema.json(&load_words(name), 0);
    assert_eq!(
        (&loaded["mode"], &loaded["adopted"]),
        (&"native".into(), &false.into())
    );
    let again = schema.json(&load_words(name), 0);
    assert_eq!(
        (&again["replaced"], &again["arena_id"]),
        (&true.into(), &loaded["arena_id"])
    );
    let plan = schema.json(&["replace", name, "--dry-run"], 0);
    assert_eq!(plan["replaces"], again["program_id"]);
    let replaced = schema.json(&["replace", name, "--health-seconds=0.02"], 0);
    assert_eq!(replaced["replaced_program_id"], again["program_id"]);
    let status = schema.json(&["status", "--interface", name], 0);
    assert_eq!(status["program"]["id"], replaced["program_id"]);
    let probe = schema.json(&["probe", name], 0);
    assert_eq!(probe["interface"]["program"][1], "proof");
    assert_eq!(probe["rings"][0]["works"], false, "it is not the matcher");
    let stats = schema.json(&["stats", name, "--interval=0.05"], 0);
    // The proof counts each of its runs under number 0.
    assert_eq!(stats["counters"][0]["name"], "taken");
    assert_eq!(stats["counters"][0]["total"], 3, "the harmless frames");
    assert_eq!(stats["program_id"], replaced["program_id"]);
    schema.json(&["tune", name], 0);
    schema.json(&["clean"], 0);
    let mut foreign = load_words(name);
    let elsewhere = format!("{}-2", default_pin_root(name, None).display());
    foreign.extend(["--pin-root", &elsewhere]);
    let refused = schema.json(&foreign, 4);
    let said = refused["error"].as_str().expect("text");
    assert!(
        said.contains("already has XDP program proof (id "),
        "{said}"
    );
    let unloaded = schema.json(&["unload", name], 0);
    assert_eq!(unloaded["links"], 1);
    schema.json(&["log", name], 3);
    schema.json(&["load", name, "--arena-bytes=5"], 2);
    // What the schema does not know is noticed.
    let mut strange = status;
    strange["attached"] = "perhaps".into();
    assert!(!schema.0.is_valid(&strange));
}

#[test]
fn statistics_are_for_people_and_for_prometheus() {
    let Some(veth) = Veth::new() else { return };
    let interface = veth.interface();
    say(&load_words(&interface));
    let text = say(&["stats", &interface, "--interval=0", "--all"]);
    for words in ["drop_answer", "not_taken_ring_full", "record ring: 0 slots"] {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
    let text = say(&["stats", &interface, "--prometheus"]);
    let sample = format!("ring0_frames_total{{interface=\"{interface}\",result=\"taken\"}} 0");
    assert!(text.lines().any(|line| line == sample), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("ring0_") && name.ends_with('}'), "{line}");
        assert!(value.parse::<u64>().is_ok(), "{line}");
        let family = name.split_once('{').expect("labels").0;
        assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
    }
    // Each look of --watch is a line; who reads one and goes ends it.
    let mut child = command(&["--json", "stats", &interface, "--watch", "--interval=0.1"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut reader, &mut line).expect("a line");
    drop(reader);
    Schema::kept().check(&serde_json::from_str(&line).expect("one object a line"));
    assert!(child.wait().expect("ends").success());
    say(&["unload", &interface]);
}

#[test]
fn what_serves_nothing_is_shown_and_then_removed() {
    let Some(veth) = Veth::new() else { return };
    let schema = Schema::kept();
    let interface = veth.interface();
    let folder = default_pin_root(&interface, None);
    let ours = |clean: &Value| -> Option<Value> {
        let all = clean["leftovers"].as_array().expect("a list");
        let of = |one: &&Value| one["pin_root"] == folder.display().to_string().as_str();
        all.iter().find(of).cloned()
    };
    // A load that did not end.
    let mut words = vec!["load", &interface];
    words.extend(SMALL);
    let dead = command(&words)
        .env("XDP_LOADER_DIE_AT", Step::Maps.name())
        .output();
    assert_eq!(dead.expect("runs").status.signal(), Some(9));
    let found = ours(&schema.json(&["clean"], 0)).expect("found");
    assert_eq!(
        (&found["why"], &found["book"]),
        (&"a load that did not end".into(), &false.into())
    );
    schema.json(&["clean", "--yes"], 0);
    assert!(!folder.exists());
    // One that ended, while its interface is there and after.
    say(&words);
    assert_eq!(
        ours(&schema.json(&["clean", "--yes"], 0)),
        None,
        "it serves"
    );
    veth.remove_pair();
    let found = ours(&schema.json(&["clean"], 0)).expect("found");
    assert_eq!(found["book"], true);
    let why = found["why"].as_str().expect("text");
    assert_eq!(
        why,
        format!("interface {interface} has gone from this network namespace")
    );
    assert!(folder.exists(), "shown, not removed");
    let removed = schema.json(&["clean", "--yes"], 0);
    assert!(removed["removed"]["pins"].as_u64() >= Some(8), "{removed}");
    assert!(!folder.exists());
}

#[test]
fn settings_are_set_and_taken_back() {
    let Some(veth) = Veth::new() else { return };
    let schema = Schema::kept();
    let (peer, netns) = (veth.peer(), veth.netns());
    let file = std::env::temp_dir().join(format!("ring0-tune-{}", std::process::id()));
    let saved = file.display().to_string();
    let tune = |words: &[&str], exit: i32| {
        let place = ["tune", peer.as_str(), "--netns", &netns];
        schema.json(&[&place, words].concat(), exit)
    };
    let first = tune(&[], 0)["now"].clone();
    assert!(
        first["gro"].is_boolean() && first["channels"].is_object(),
        "{first}"
    );
    let set = [
        "--gro=on",
        "--napi-defer-hard-irqs=7",
        "--gro-flush-timeout=20000",
        "--save",
        &saved,
    ];
    let changed = tune(&set, 0);
    assert_eq!(changed["before"], first);
    assert_eq!(changed["now"]["napi_defer_hard_irqs"], 7);
    assert_eq!(changed["now"]["gro_flush_timeout_ns"], 20_000);
    assert_eq!(changed["now"]["gro"], true);
    let said = tune(&set, 1)["error"].as_str().expect("text").to_owned();
    assert!(
        said.contains("for --save a new one"),
        "never over a file: {said}"
    );
    // A veth has no LRO: what was set before in the same call is put back.
    let refused = tune(&["--gro=off", "--lro=on"], 1);
    assert!(
        refused["error"].as_str().expect("text").contains("LRO"),
        "{refused}"
    );
    assert_eq!(tune(&[], 0)["now"], changed["now"]);
    assert_eq!(tune(&["--undo", &saved], 0)["now"], first);
    tune(&["--undo", "/proc/version"], 1);
    std::fs::remove_file(&file).expect("removes");
}

#[test]
fn pages_and_completions_are_made_of_the_command_line() {
    let folder = std::env::temp_dir().join(format!("ring0-man-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("makes");
    say(&["man", "--out", &folder.display().to_string()]);
    let page = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a page");
    assert!(page("xdp-loader.1").contains("xdp\\-loader\\-replace(1)"));
    assert!(page("xdp-loader-replace.1").contains("health"));
    assert!(say(&["man"]).starts_with(".ie"));
    for verb in [
        "load",
        "replace",
        "unload",
        "status",
        "stats",
        "log",
        "probe",
        "clean",
        "tune",
        "man",
        "completions",
        "subprograms",
    ] {
        assert!(
            page(&format!("xdp-loader-{verb}.1")).contains(".SH NAME"),
            "{verb}"
        );
        let help = say(&[verb, "--help"]);
        assert!(help.contains("Usage: xdp-loader "), "{help}");
    }
    std::fs::remove_dir_all(&folder).expect("removes");
    for shell in ["bash", "zsh", "fish"] {
        let text = say(&["completions", shell, "--name", "ring0-xdp-loader"]);
        assert!(text.contains("ring0-xdp-loader") && text.contains("health-seconds"));
    }
    let syntax = Command::new("bash")
        .args(["-n", "-c", &say(&["completions", "bash"])])
        .status();
    assert!(syntax.expect("bash").success());
}

/// Runs words of a shell in a mount namespace of its own, whose `/sys/fs/bpf` has no bpf file system; `$LOADER` is the command.
fn without_bpffs(script: &str) -> Output {
    let script = format!("mount -t tmpfs none /sys/fs/bpf && {script}");
    Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .env("LOADER", env!("CARGO_BIN_EXE_xdp-loader"))
        .env("RING0_BPF_OBJECT", object())
        .output()
        .expect("`unshare` of util-linux")
}

#[test]
fn without_a_bpf_file_system() {
    let Some(veth) = Veth::new() else { return };
    let interface = veth.interface();
    let words = load_words(&interface).join(" ");
    let ran = without_bpffs(&format!("$LOADER {words}"));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(
        said.contains("is not on a bpf file system") && said.contains("--mount-bpffs"),
        "{said}"
    );
    assert!(!veth.has_xdp(), "nothing is attached without a pin");
    for (verb, exit) in [("unload", 0), ("status", 3), ("stats", 3), ("clean", 0)] {
        let place = if verb == "clean" { "" } else { &interface };
        let ran = without_bpffs(&format!("$LOADER {verb} {place}"));
        assert_eq!(ran.status.code(), Some(exit), "{verb}: {ran:?}");
    }
    // With a file system of its own, which goes with the namespace: so do pins, link and attachment.
    let ran = without_bpffs(&format!(
        "umount /sys/fs/bpf && umount /sys/fs/bpf; $LOADER {words} --mount-bpffs && $LOADER status {interface}"
    ));
    assert!(ran.status.success(), "{ran:?}");
    assert!(!default_pin_root(&interface, None).exists());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while veth.has_xdp() {
        assert!(
            std::time::Instant::now() < end,
            "the link goes with its pin"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn two_loaders_at_once() {
    let Some(veth) = Veth::new() else { return };
    let interface = veth.interface();
    let words = load_words(&interface);
    for round in 0..5 {
        let children: Vec<_> = (0..4)
            .map(|_| {
                let mut child = command(&[&["--json"], words.as_slice()].concat());
                let child = child.stdout(std::process::Stdio::piped());
                child.spawn().expect("runs")
            })
            .collect();
        let reports: Vec<Value> = children
            .into_iter()
            .map(|child| {
                let output = child.wait_with_output().expect("ends");
                assert!(output.status.success(), "{output:?}");
                serde_json::from_slice(&output.stdout).expect("JSON")
            })
            .collect();
        let fresh = reports.iter().filter(|report| report["adopted"] == false);
        assert_eq!(fresh.count(), 1, "one made the memory, three adopted it");
        let arena = &reports[0]["arena_id"];
        assert!(reports.iter().all(|report| report["arena_id"] == *arena));
        // Loads, replaces and an unload at once: whatever comes first, the end is one of two states.
        let mut others: Vec<_> = [
            vec!["replace", &interface, "--health-seconds=0.02"],
            words.clone(),
            vec!["unload", &interface],
        ]
        .iter()
        .map(|words| {
            let mut child = command(words);
            let child = child.stdout(std::process::Stdio::null());
            child
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("runs")
        })
        .collect();
        for child in &mut others {
            child.wait().expect("ends");
        }
        let attached = run(&["status", &interface]).status.success();
        assert_eq!(attached, veth.has_xdp(), "round {round}");
        say(&["unload", &interface]);
        assert!(!veth.has_xdp() && !default_pin_root(&interface, None).exists());
    }
}

/// Runs the words after limits of the shell's `ulimit`.
fn limited(limit: &str, words: &[&str]) -> Output {
    let script = format!("ulimit {limit} && exec \"$LOADER\" {}", words.join(" "));
    Command::new("bash")
        .args(["-c", &script])
        .env("LOADER", env!("CARGO_BIN_EXE_xdp-loader"))
        .env("RING0_BPF_OBJECT", object())
        .output()
        .expect("bash")
}

#[test]
fn with_limits_it_fails_in_one_line_and_leaves_nothing_or_works() {
    let Some(veth) = Veth::new() else { return };
    let interface = veth.interface();
    let words = load_words(&interface);
    let mut failed = 0;
    for files in 4..24 {
        let ran = limited(&format!("-n {files}"), &words);
        if ran.status.success() {
            break;
        }
        failed += 1;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code() < Some(126), "{files} files: {ran:?}");
        assert!(said.lines().count() == 1, "{files} files: {said}");
        assert!(!veth.has_xdp(), "{files} files: {said}");
        let folder = default_pin_root(&interface, None);
        assert!(!folder.exists(), "{files} files: nothing is left: {said}");
    }
    assert!(failed >= 3, "{failed} limits were too small");
    // Locked memory does not count since maps are charged to the memory's cgroup (Linux 5.11).
    let ran = limited("-l 0", &words);
    assert!(ran.status.success(), "{ran:?}");
    // A replace that lacks descriptors leaves the running program.
    let before = say(&["status", &interface, "--json"]);
    for files in 4..10 {
        let ran = limited(&format!("-n {files}"), &["replace", &interface]);
        assert!(!ran.status.success(), "{files} files");
        assert_eq!(
            say(&["status", &interface, "--json"]),
            before,
            "{files} files"
        );
    }
    say(&["unload", &interface]);
}

#[test]
fn the_interface_or_its_namespace_goes_while_attached() {
    let Some(veth) = Veth::new() else { return };
    let (peer, netns) = (veth.peer(), veth.netns());
    let place = [peer.as_str(), "--netns", &netns];
    let load: Vec<&str> = [&["load"], &place[..], &SMALL].concat();
    say(&load);
    // The interface: the shard stays, nothing is attached, the next of its name gets it.
    veth.remove_pair();
    let status = [&["status"], &place[..]].concat();
    let ran = run(&status);
    assert_eq!(ran.status.code(), Some(3), "{ran:?}");
    let replace = [&["replace"], &place[..]].concat();
    assert_eq!(run(&replace).status.code(), Some(3));
    veth.make();
    let again: Value =
        serde_json::from_str(&say(&[&["--json"], load.as_slice()].concat())).expect("JSON");
    assert_eq!(again["adopted"], true);
    assert_eq!(run(&status).status.code(), Some(0));
    // The namespace.
    ip(&["netns", "del", &netns]);
    let ran = run(&load);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        ran.status.code() == Some(1) && said.contains("no network namespace"),
        "{ran:?}"
    );
    let folder = default_pin_root(&peer, Some(&netns));
    assert!(folder.exists(), "the book is still there");
    let unload = [&["unload"], &place[..]].concat();
    say(&unload);
    assert!(!Path::new(&folder).exists());
}

/// Runs the command with no capability but these.
fn with_capabilities(names: &[&str], words: &[&str]) -> Output {
    let bounding = names.iter().map(|name| format!(",+{name}"));
    let bounding = format!("-all{}", bounding.collect::<String>());
    Command::new("setpriv")
        .args(["--inh-caps=-all", "--bounding-set", &bounding])
        .arg(env!("CARGO_BIN_EXE_xdp-loader"))
        .args(words)
        .env("RING0_BPF_OBJECT", object())
        .output()
        .expect("`setpriv` of util-linux")
}

#[test]
fn three_capabilities_are_enough_and_each_is_named_when_it_lacks() {
    const NEEDED: [&str; 3] = ["bpf", "net_admin", "perfmon"];
    let Some(veth) = Veth::new() else { return };
    let interface = veth.interface();
    let words = load_words(&interface);
    for (number, name) in NEEDED.iter().enumerate() {
        let mut others = NEEDED.to_vec();
        others.remove(number);
        let ran = with_capabilities(&others, &words);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(5), "{name}: {ran:?}");
        let missing = format!("missing CAP_{} to load", name.to_uppercase());
        assert!(said.contains(&missing), "{said}");
        assert!(!veth.has_xdp());
    }
    let verbs: [&[&str]; 6] = [
        &words,
        &["replace", &interface, "--health-seconds=0.02"],
        &["status", &interface],
        &["stats", &interface, "--interval=0"],
        &["probe", &interface],
        &["unload", &interface],
    ];
    for words in verbs {
        let ran = with_capabilities(&NEEDED, words);
        assert!(ran.status.success(), "{words:?}: {ran:?}");
    }
    assert!(!veth.has_xdp());
}

#[test]
fn who_watches_has_given_up_its_capabilities() {
    let Some(veth) = Veth::new() else { return };
    let interface = veth.interface();
    say(&load_words(&interface));
    let mut child = command(&["--json", "stats", &interface, "--watch", "--interval=0.1"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(child.stdout.take().expect("piped"));
    for _ in 0..2 {
        line.clear();
        std::io::BufRead::read_line(&mut reader, &mut line).expect("it reads on");
        assert!(
            line.contains("\"attached\"") || line.contains("\"counters\""),
            "{line}"
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("runs");
    for set in [
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(set), "{set} is not in: {status}");
    }
    drop(reader);
    assert!(child.wait().expect("ends").success());
}
