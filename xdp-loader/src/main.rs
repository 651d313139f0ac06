//! The ops command: `load`, `unload`, `status`, `log`, `probe`, `subprograms`.
#![deny(unsafe_code)]

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use xdp_loader::{
    Dispatch, Exit, LoadOptions, LoaderError, Mode, Object, Subprograms, default_pin_root,
    default_shard_root, ensure_bpffs, load, open_pinned, probe, status, unload,
};

const EXIT_CODES: &str = "Exit codes:
  0  done; for status: attached
  1  error
  2  usage
  3  not attached
  4  another program is on the interface
  5  a privilege is missing
  6  the kernel lacks a feature";

const LOAD_HELP: &str = "Exit codes: see `xdp-loader --help`.

With XDP_LOADER_VERIFIER_LOG=FILE the verifier's whole log of a refused program is written to FILE.";

#[derive(Parser)]
#[command(
    name = "xdp-loader",
    version,
    about = "Loads, pins, adopts and removes Ring0's XDP program.",
    after_help = EXIT_CODES
)]
struct Arguments {
    /// Print one JSON object instead of text, errors included.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attach the program, or replace the running one; memory that is pinned is adopted.
    #[command(after_help = EXIT_CODES, after_long_help = LOAD_HELP)]
    Load(LoadArguments),
    /// Detach and remove every pin. The book in memory is lost.
    #[command(after_help = EXIT_CODES)]
    Unload(Place),
    /// Say what is loaded and attached.
    #[command(after_help = EXIT_CODES)]
    Status(Place),
    /// Print what a program built with `cargo xtask ebpf --log` logs, until Ctrl-C. A line is printed once, by one reader.
    #[command(after_help = EXIT_CODES)]
    Log {
        #[command(flatten)]
        place: Place,
        /// End after this time.
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Say whether this kernel and this user can run the kernel ring.
    #[command(after_help = EXIT_CODES)]
    Probe,
    /// List the subprograms of an object: instructions, arguments, stack, name.
    Subprograms {
        /// The program.
        #[arg(default_value = "ebpf/prebuilt/ring0.bpf.o")]
        object: PathBuf,
    },
}

#[derive(Args)]
struct Place {
    /// Interface.
    #[arg(long, short, required_unless_present = "pin_root")]
    interface: Option<String>,
    /// Network namespace of the interface, as `ip netns` names it.
    #[arg(long)]
    netns: Option<String>,
    /// UDP port of the shard, where several share the interface.
    #[arg(long, requires = "interface")]
    port: Option<u16>,
    /// Folder of the pins [default: /sys/fs/bpf/ring0/v1/INTERFACE, with %NETNS in a namespace, with /PORT of one of several].
    #[arg(long)]
    pin_root: Option<PathBuf>,
}

impl Place {
    fn pin_root(&self) -> PathBuf {
        let interface = self.interface.as_deref().unwrap_or_default();
        let netns = self.netns.as_deref();
        match (&self.pin_root, self.port) {
            (Some(pin_root), _) => pin_root.clone(),
            (None, Some(port)) => default_shard_root(interface, netns, port),
            (None, None) => default_pin_root(interface, netns),
        }
    }
}

#[derive(Args)]
struct LoadArguments {
    /// Interface to attach to.
    #[arg(long, short)]
    interface: String,
    /// Network namespace of the interface, as `ip netns` names it.
    #[arg(long)]
    netns: Option<String>,
    /// UDP port of the shard, for several that share the interface: a dispatcher goes before them.
    #[arg(long)]
    port: Option<u16>,
    /// The dispatcher's program, where the interface has none yet.
    #[arg(long, default_value = "ebpf/prebuilt/dispatch.bpf.o")]
    dispatcher: PathBuf,
    /// Folder of the pins [default: /sys/fs/bpf/ring0/v1/INTERFACE, with %NETNS in a namespace, with /PORT of one of several].
    #[arg(long)]
    pin_root: Option<PathBuf>,
    /// The program.
    #[arg(
        long,
        env = "RING0_BPF_OBJECT",
        default_value = "ebpf/prebuilt/ring0.bpf.o"
    )]
    object: PathBuf,
    /// In the driver, or in the network stack.
    #[arg(long, value_enum, default_value = "native")]
    mode: ModeArgument,
    /// Size of the arena, a multiple of 4096, at most 4294963200.
    #[arg(long, default_value_t = 16 << 20)]
    arena_bytes: u64,
    /// Slots of the record ring, 64 bytes each, a power of two.
    #[arg(long, default_value_t = 1 << 16)]
    record_slots: u32,
    /// Slots of the command ring, 128 bytes each, a power of two.
    #[arg(long, default_value_t = 1 << 10)]
    command_slots: u32,
    /// Entries of the key map.
    #[arg(long, default_value_t = 1 << 10)]
    sessions_max: u32,
    /// Identity of the memory layout, in hexadecimal.
    #[arg(long, default_value = "0", value_parser = hexadecimal)]
    layout_hash: u64,
    /// Verify each subprogram once, or again at every call.
    #[arg(long, value_enum, default_value = "global")]
    subprograms: SubprogramsArgument,
    /// Veth peer that gets the pass program it needs to receive answers: INTERFACE or
    /// INTERFACE%NETNS.
    #[arg(long)]
    peer: Option<String>,
    /// Mount /sys/fs/bpf if nothing is mounted there.
    #[arg(long)]
    mount_bpffs: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeArgument {
    Native,
    Skb,
}

#[derive(Clone, Copy, ValueEnum)]
enum SubprogramsArgument {
    Global,
    Static,
}

fn hexadecimal(text: &str) -> Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Load(options) => run_load(options, arguments.json),
        Command::Unload(place) => run_unload(place, arguments.json),
        Command::Status(place) => run_status(place, arguments.json),
        Command::Log { place, seconds } => run_log(place, *seconds, arguments.json),
        Command::Probe => run_probe(arguments.json),
        Command::Subprograms { object } => run_subprograms(object, arguments.json),
    };
    let exit = result.unwrap_or_else(|error| {
        if arguments.json {
            let exit = error.exit() as u8;
            println!(
                "{}",
                serde_json::json!({"error": error.to_string(), "exit": exit})
            );
        } else {
            eprintln!("xdp-loader: {error}");
        }
        error.exit()
    });
    ExitCode::from(exit as u8)
}

fn print_json(value: &impl serde::Serialize) {
    let text = serde_json::to_string(value).expect("plain data is JSON");
    println!("{text}");
}

fn run_load(arguments: &LoadArguments, json: bool) -> Result<Exit, LoaderError> {
    let mut options = LoadOptions::new(
        Object::Path(arguments.object.clone()),
        &arguments.interface,
        arguments.netns.as_deref(),
    );
    if let Some(port) = arguments.port {
        options = options.behind(Dispatch {
            object: Object::Path(arguments.dispatcher.clone()),
            port,
        });
    }
    if let Some(pin_root) = &arguments.pin_root {
        options.pin_root.clone_from(pin_root);
    }
    options.mode = match arguments.mode {
        ModeArgument::Native => Mode::Native,
        ModeArgument::Skb => Mode::Skb,
    };
    options.arena_bytes = arguments.arena_bytes;
    options.record_slots = arguments.record_slots;
    options.command_slots = arguments.command_slots;
    options.sessions_max = arguments.sessions_max;
    options.layout_hash = arguments.layout_hash;
    options.subprograms = match arguments.subprograms {
        SubprogramsArgument::Global => Subprograms::Global,
        SubprogramsArgument::Static => Subprograms::Static,
    };
    if arguments.mount_bpffs {
        ensure_bpffs()?;
    }
    // This command knows no orders: fresh memory stays zero until the daemon fills it.
    let loaded = load(&options, &mut |_| Ok(()))?;
    if let Some(peer) = &arguments.peer {
        let (interface, netns) = match peer.split_once('%') {
            Some((interface, netns)) => (interface, Some(netns)),
            None => (peer.as_str(), None),
        };
        loaded.pinned.attach_peer_pass(interface, netns)?;
    }
    if json {
        print_json(&loaded.report);
    } else {
        let report = &loaded.report;
        println!(
            "{} on {}: program {}, {} instructions verified in {:.1} ms, arena {} ({} MiB, {})",
            if report.replaced {
                "replaced"
            } else {
                "attached"
            },
            options.interface,
            report.program_id,
            report.verified_instructions,
            report.load_ns as f64 / 1e6,
            report.arena_id,
            options.arena_bytes >> 20,
            if report.adopted { "adopted" } else { "new" },
        );
    }
    Ok(Exit::Ok)
}

fn run_unload(place: &Place, json: bool) -> Result<Exit, LoaderError> {
    let unloaded = unload(&place.pin_root())?;
    if json {
        print_json(&unloaded);
    } else {
        println!(
            "detached {} links and {} ports, removed {} other pins",
            unloaded.links, unloaded.ports, unloaded.pins
        );
    }
    Ok(Exit::Ok)
}

fn run_status(place: &Place, json: bool) -> Result<Exit, LoaderError> {
    let status = status(&place.pin_root())?;
    if json {
        print_json(&status);
    } else {
        let netns = status
            .netns
            .as_ref()
            .map(|name| format!(" in {name}"))
            .unwrap_or_default();
        let state = if status.attached {
            "attached"
        } else {
            "NOT attached"
        };
        println!("{}{netns}: {state}, {} mode", status.interface, status.mode);
        if let Some(program) = &status.program {
            println!(
                "program {} ({}, tag {}): {} instructions, {} verified in {:.1} ms, {} bytes native",
                program.name,
                program.id,
                program.tag,
                program.instructions,
                program.verified_instructions,
                program.load_ns as f64 / 1e6,
                program.native_bytes,
            );
        }
        if let Some(dispatcher) = &status.dispatcher {
            let ports: Vec<String> = dispatcher.ports.iter().map(u16::to_string).collect();
            println!(
                "port {} behind dispatcher {}, which has shards at {}",
                dispatcher.port,
                dispatcher.program_id,
                ports.join(", ")
            );
        }
        for map in &status.maps {
            println!(
                "map {:<9} id {:<6} {} x {} bytes",
                map.name,
                map.id,
                map.entries_max,
                if map.value_bytes == 0 {
                    4096
                } else {
                    map.value_bytes
                },
            );
        }
        for (name, attached) in &status.peers {
            println!(
                "{name}: {}",
                if *attached {
                    "attached"
                } else {
                    "NOT attached"
                }
            );
        }
        println!(
            "layout {:#018x}, pins in {}",
            status.layout_hash,
            status.pin_root.display()
        );
    }
    Ok(if status.attached {
        Exit::Ok
    } else {
        Exit::NotAttached
    })
}

fn run_log(place: &Place, seconds: Option<u64>, json: bool) -> Result<Exit, LoaderError> {
    const TURN: Duration = Duration::from_secs(1);
    /// Lines that may still be read when the time is over: more than the buffer holds is new.
    const LAST_LINES: u32 = 4096;
    let mut log = open_pinned(&place.pin_root())?.log()?;
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut last_lines = 0;
    loop {
        let left = end.map_or(TURN, |end| end.saturating_duration_since(Instant::now()));
        let line = log.next(left.min(TURN))?;
        last_lines += u32::from(left.is_zero());
        let text = match &line {
            Some(line) if json => serde_json::to_string(line).expect("plain data is JSON"),
            Some(line) => line.to_string(),
            None if left.is_zero() => return Ok(Exit::Ok),
            None => continue,
        };
        // Whoever read our output may have gone: then there is nothing left to do.
        if writeln!(std::io::stdout(), "{text}").is_err() || last_lines >= LAST_LINES {
            return Ok(Exit::Ok);
        }
    }
}

fn run_subprograms(object: &Path, json: bool) -> Result<Exit, LoaderError> {
    let subprograms = Object::Path(object.to_owned()).subprograms()?;
    if json {
        print_json(&subprograms);
        return Ok(Exit::Ok);
    }
    println!("number   start instructions arguments stack deepest verified name");
    for (number, one) in subprograms.iter().enumerate() {
        println!(
            "{number:>6} {:>7} {:>12} {:>9} {:>5} {:>7} {:>8} {}",
            one.start,
            one.instructions,
            one.arguments,
            one.stack_bytes,
            one.stack_deepest_bytes,
            if one.global { "once" } else { "per call" },
            one.name
        );
    }
    let first = subprograms.first();
    let chain = std::iter::successors(first, |one| subprograms.get(one.deepest_callee? as usize));
    // The kernel takes eight frames.
    let chain: Vec<&str> = chain.take(8).map(|one| one.name.as_str()).collect();
    println!("most stack: {}", chain.join(" > "));
    Ok(Exit::Ok)
}

fn run_probe(json: bool) -> Result<Exit, LoaderError> {
    let found = probe();
    if json {
        print_json(&found);
    } else {
        let say = |works: bool| if works { "yes" } else { "NO" };
        println!("kernel {}", found.kernel);
        println!("arena {} {}", say(found.arena.works), found.arena.detail);
        println!(
            "may_goto {} {}",
            say(found.may_goto.works),
            found.may_goto.detail
        );
        let missing = found.capabilities.missing();
        let text = if missing.is_empty() {
            "yes".to_owned()
        } else {
            format!("NO: {}", missing.join(", "))
        };
        println!("capabilities {text}");
        println!("bpffs {}", say(found.bpffs));
    }
    match found.require() {
        Ok(()) => Ok(Exit::Ok),
        // With JSON the page above has said it; the exit code says it again.
        Err(error) if json => Ok(error.exit()),
        Err(error) => Err(error),
    }
}
