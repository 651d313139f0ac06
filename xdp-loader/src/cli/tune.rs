//! `tune`.

use super::{Done, output::Output};
use clap::{Args, ValueEnum};
use std::{
    fmt::Write,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use xdp_loader::{Exit, Interrupt, LoaderError, Tuning, tune, tuning};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Interface.
    #[arg(
        value_name = "IF",
        required_unless_present = "interface",
        conflicts_with = "interface"
    )]
    name: Option<String>,
    /// Interface, as an option.
    #[arg(long, short)]
    interface: Option<String>,
    /// Network namespace of the interface, as `ip netns` names it.
    #[arg(long)]
    netns: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Keep the settings before in this new file.
    #[arg(long, value_name = "FILE", requires = "settings")]
    save: Option<PathBuf>,
    /// Set what this file, written by --save, says.
    #[arg(long, value_name = "FILE", conflicts_with = "settings")]
    undo: Option<PathBuf>,
}

#[derive(Args)]
#[group(id = "settings", multiple = true)]
struct Settings {
    /// Combined channels.
    #[arg(long)]
    channels: Option<u32>,
    /// Merging of received packets by the kernel.
    #[arg(long)]
    gro: Option<Switch>,
    /// Merging of received packets by the device; native XDP wants it off.
    #[arg(long)]
    lro: Option<Switch>,
    /// How often a queue is looked at without packets before its interrupt is armed again.
    #[arg(long, value_name = "TIMES")]
    napi_defer_hard_irqs: Option<u64>,
    /// How long after that until it is armed at the latest.
    #[arg(long, value_name = "NANOSECONDS")]
    gro_flush_timeout: Option<u64>,
    /// Processors of the interrupts, one after the other, such as 2,3: the first interrupt goes to 2, the second to 3, the third to 2.
    #[arg(long, value_name = "CPUS", value_delimiter = ',')]
    irq_cpus: Vec<u32>,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(serde::Serialize)]
struct Tuned {
    interface: String,
    netns: Option<String>,
    /// The settings before, where any was to be set.
    before: Option<Tuning>,
    /// The settings now.
    now: Tuning,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    let name = arguments.name.as_ref().or(arguments.interface.as_ref());
    let interface = name.map_or("", String::as_str);
    let netns = arguments.netns.as_deref();
    let now = tuning(interface, netns)?;
    let wanted = match &arguments.undo {
        Some(file) => read(file)?,
        None => arguments.settings.over(&now),
    };
    let before = match wanted == Tuning::default() {
        true => None,
        false => {
            if let Some(file) = &arguments.save {
                save(file, &now)?;
            }
            Some(tune(interface, netns, &wanted)?)
        }
    };
    let now = tuning(interface, netns)?;
    let text = text(before.as_ref(), &now);
    let tuned = Tuned {
        interface: interface.to_owned(),
        netns: arguments.netns.clone(),
        before,
        now,
    };
    out.say(&tuned, text);
    Ok(Exit::Ok)
}

impl Settings {
    /// What was asked for, of a device with these settings.
    fn over(&self, now: &Tuning) -> Tuning {
        let interrupts = now.interrupts.iter().zip(self.irq_cpus.iter().cycle());
        Tuning {
            channels: self.channels.map(|combined| {
                let mut channels = now.channels.unwrap_or(xdp_loader::Channels {
                    rx: 0,
                    tx: 0,
                    combined: 0,
                });
                // A device has combined ones, or as many that receive as that send.
                if channels.combined == 0 && channels.rx != 0 {
                    (channels.rx, channels.tx) = (combined, combined);
                } else {
                    channels.combined = combined;
                }
                channels
            }),
            gro: self.gro.map(|switch| switch == Switch::On),
            lro: self.lro.map(|switch| switch == Switch::On),
            napi_defer_hard_irqs: self.napi_defer_hard_irqs,
            gro_flush_timeout_ns: self.gro_flush_timeout,
            interrupts: interrupts
                .map(|(interrupt, cpu)| Interrupt {
                    number: interrupt.number,
                    cpus: cpu.to_string(),
                })
                .collect(),
        }
    }
}

fn file_error(doing: &str, file: &Path, source: io::Error) -> LoaderError {
    LoaderError::Call {
        doing: format!("{doing} {}", file.display()),
        source,
        cure: "give the file that `xdp-loader tune IF … --save FILE` wrote, for --save a new one",
    }
}

/// Never over a file that is there: it may be what the settings before the last change are kept in.
fn save(file: &Path, now: &Tuning) -> Result<(), LoaderError> {
    let error = |source| file_error("writing", file, source);
    let text = serde_json::to_string_pretty(now).expect("plain data is JSON");
    let mut to = File::create_new(file).map_err(error)?;
    writeln!(to, "{text}")
        .and_then(|()| to.sync_all())
        .map_err(error)
}

fn read(file: &Path) -> Result<Tuning, LoaderError> {
    let error = |source| file_error("reading", file, source);
    let text = std::fs::read_to_string(file).map_err(error)?;
    serde_json::from_str(&text).map_err(|cause| error(io::Error::other(cause)))
}

fn text(before: Option<&Tuning>, now: &Tuning) -> String {
    let mut lines = String::new();
    let before = before.map(settings);
    for (number, (name, value)) in settings(now).into_iter().enumerate() {
        let was = before.as_ref().map(|before| &before[number].1);
        let _ = match was.filter(|was| **was != value) {
            Some(was) => writeln!(lines, "{name:<22} {value} (was {was})"),
            None => writeln!(lines, "{name:<22} {value}"),
        };
    }
    lines.truncate(lines.trim_end().len());
    lines
}

fn settings(tuning: &Tuning) -> Vec<(String, String)> {
    let none = || "-".to_owned();
    let switch =
        |on: Option<bool>| on.map_or_else(none, |on| if on { "on" } else { "off" }.to_owned());
    let number = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
    let channels = tuning.channels.map_or_else(none, |channels| {
        format!(
            "{} receiving, {} sending, {} combined",
            channels.rx, channels.tx, channels.combined
        )
    });
    let mut list = vec![
        ("channels".to_owned(), channels),
        ("gro".to_owned(), switch(tuning.gro)),
        ("lro".to_owned(), switch(tuning.lro)),
        (
            "napi_defer_hard_irqs".to_owned(),
            number(tuning.napi_defer_hard_irqs),
        ),
        (
            "gro_flush_timeout".to_owned(),
            number(tuning.gro_flush_timeout_ns),
        ),
    ];
    for interrupt in &tuning.interrupts {
        list.push((
            format!("interrupt {}", interrupt.number),
            interrupt.cpus.clone(),
        ));
    }
    list
}
