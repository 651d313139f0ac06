//! `load`.

use super::{Done, object, output::Output, place::Place};
use clap::{Args, ValueEnum};
use std::{fmt::Write, path::PathBuf, time::Duration};
use xdp_loader::{
    Dispatch, Exit, LoadOptions, LoaderError, Mode, Object, Plan, PlannedProgram, Subprograms,
    ensure_bpffs, load, load_any_mode, plan_load, wait_carrier,
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    program: ProgramArguments,
    /// In the driver, in the network stack, or in the driver where that is possible; what it became is printed.
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
    /// With --port, where the interface has no dispatcher yet: its program [default: dispatch.bpf.o, as for --object].
    #[arg(long, value_name = "FILE")]
    dispatcher: Option<PathBuf>,
    /// Veth peer that gets the pass program it needs to receive answers: INTERFACE or
    /// INTERFACE%NETNS.
    #[arg(long)]
    peer: Option<String>,
    /// Mount /sys/fs/bpf if nothing is mounted there.
    #[arg(long)]
    mount_bpffs: bool,
    /// Wait so many seconds for the interface to be there, and again for its link: drivers reset it when they take a program.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait_carrier: Option<Duration>,
}

/// What `load` and `replace` say about the program.
#[derive(Args)]
pub(crate) struct ProgramArguments {
    #[arg(
        long,
        env = "RING0_BPF_OBJECT",
        value_name = "FILE",
        help = format!("The program [default: ring0.bpf.o {}]", object::WHERE)
    )]
    pub(crate) object: Option<PathBuf>,
    /// Verify each subprogram once, or again at every call.
    #[arg(long, value_enum, default_value = "global")]
    pub(crate) subprograms: SubprogramsArgument,
    /// Do all but attach: read, check what is pinned, verify; print the steps and the instructions counted.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write the verifier's log to FILE: whole for a refused program, its statistics for one that was taken.
    #[arg(long, value_name = "FILE", env = "XDP_LOADER_VERIFIER_LOG")]
    pub(crate) verifier_log: Option<PathBuf>,
}

impl ProgramArguments {
    pub(crate) fn object(&self) -> Object {
        let object = self.object.clone();
        Object::Path(object.unwrap_or_else(|| object::kept("ring0.bpf.o")))
    }
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum ModeArgument {
    Native,
    Skb,
    Auto,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SubprogramsArgument {
    Global,
    Static,
}

impl From<SubprogramsArgument> for Subprograms {
    fn from(argument: SubprogramsArgument) -> Self {
        match argument {
            SubprogramsArgument::Global => Self::Global,
            SubprogramsArgument::Static => Self::Static,
        }
    }
}

fn hexadecimal(text: &str) -> Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
}

/// A time of at most a day, in seconds with or without a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| (0.0..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "give seconds from 0 to 86400, such as 0.5".to_owned())
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    let options = options(arguments)?;
    let netns = options.netns.as_deref();
    let wait = |patience: Option<Duration>| match patience {
        Some(patience) => wait_carrier(&options.interface, netns, patience),
        None => Ok(()),
    };
    if arguments.mount_bpffs {
        ensure_bpffs()?;
    }
    if arguments.program.dry_run {
        let plan = plan_load(&options)?;
        out.say(&plan, text(&plan));
        return Ok(Exit::Ok);
    }
    // A link that is down when we come is waited for after the attachment only: it may need the peer.
    match wait(arguments.wait_carrier) {
        Ok(()) | Err(LoaderError::NoCarrier { .. }) => {}
        Err(error) => return Err(error),
    }
    // This command knows no orders: fresh memory stays zero until the daemon fills it.
    let (loaded, not_native) = match arguments.mode {
        ModeArgument::Auto => load_any_mode(&options, &mut |_| Ok(()))?,
        _ => (load(&options, &mut |_| Ok(()))?, None),
    };
    if let Some(peer) = &arguments.peer {
        let (interface, netns) = match peer.split_once('%') {
            Some((interface, netns)) => (interface, Some(netns)),
            None => (peer.as_str(), None),
        };
        loaded.pinned.attach_peer_pass(interface, netns)?;
    }
    let report = &loaded.report;
    let done = if report.replaced {
        "replaced"
    } else {
        "attached"
    };
    let mut text = format!(
        "{done} on {} in {} mode: program {}, {} instructions verified in {:.1} ms, arena {} ({} MiB, {})",
        options.interface,
        report.mode,
        report.program_id,
        report.verified_instructions,
        report.load_ns as f64 / 1e6,
        report.arena_id,
        loaded.pinned.arena_bytes() >> 20,
        if report.adopted { "adopted" } else { "new" },
    );
    if let Some(refused) = not_native {
        // Standard error: what standard output says stays one object.
        eprintln!("xdp-loader: not native: {refused}");
    }
    let waited = wait(arguments.wait_carrier);
    if waited.is_ok() && arguments.wait_carrier.is_some() {
        text.push_str(", carrier");
    }
    out.say(report, text);
    waited.map(|()| Exit::Ok)
}

fn options(arguments: &Arguments) -> Result<LoadOptions, LoaderError> {
    let program = &arguments.program;
    let place = &arguments.place;
    if place.interface().is_empty() {
        return Err(LoaderError::Option {
            option: "interface",
            value: "missing".to_owned(),
            rule: "give one: `xdp-loader load IF`",
        });
    }
    let mut options = LoadOptions::new(program.object(), place.interface(), place.netns.as_deref());
    if let Some(port) = place.port {
        options = options.behind(Dispatch {
            object: Object::Path(
                arguments
                    .dispatcher
                    .clone()
                    .unwrap_or_else(|| object::kept("dispatch.bpf.o")),
            ),
            port,
        });
    }
    if let Some(pin_root) = place.given_pin_root() {
        options.pin_root.clone_from(pin_root);
    }
    options.mode = match arguments.mode {
        ModeArgument::Native | ModeArgument::Auto => Mode::Native,
        ModeArgument::Skb => Mode::Skb,
    };
    options.arena_bytes = arguments.arena_bytes;
    options.record_slots = arguments.record_slots;
    options.command_slots = arguments.command_slots;
    options.sessions_max = arguments.sessions_max;
    options.layout_hash = arguments.layout_hash;
    options.subprograms = program.subprograms.into();
    options.verifier_log.clone_from(&program.verifier_log);
    Ok(options)
}

/// A plan for people.
pub(crate) fn text(plan: &Plan) -> String {
    let netns = plan.netns.as_ref();
    let netns = netns.map(|name| format!(" in {name}")).unwrap_or_default();
    let mut text = format!(
        "nothing was changed; on {}{netns} this would:",
        plan.interface
    );
    for (number, step) in plan.steps.iter().enumerate() {
        let _ = write!(text, "\n  {}. {step}", number + 1);
    }
    let PlannedProgram {
        name,
        layout_version,
        instructions,
        verified_instructions,
        native_bytes,
        load_ns,
    } = &plan.program;
    let _ = write!(
        text,
        "\nprogram {name}: {instructions} instructions, {verified_instructions} verified in {:.1} ms, {native_bytes} bytes native, layout version {layout_version}",
        *load_ns as f64 / 1e6
    );
    for map in &plan.maps {
        let id = map
            .id
            .map_or("new".to_owned(), |id| format!("id {id}, pinned"));
        let bytes = if map.value_bytes == 0 {
            4096
        } else {
            map.value_bytes
        };
        let _ = write!(
            text,
            "\nmap {:<9} {} x {bytes} bytes, {id}",
            map.name, map.entries_max
        );
    }
    text
}
