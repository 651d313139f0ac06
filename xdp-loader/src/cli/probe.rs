//! `probe`.

use super::{Done, output::Output};
use clap::Args;
use std::fmt::Write;
use xdp_loader::{Exit, Survey, survey};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Interface; without one, the machine alone.
    #[arg(value_name = "IF", conflicts_with = "interface")]
    name: Option<String>,
    /// Interface, as an option.
    #[arg(long, short)]
    interface: Option<String>,
    /// Network namespace of the interface, as `ip netns` names it.
    #[arg(long)]
    netns: Option<String>,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    let interface = arguments.name.as_ref().or(arguments.interface.as_ref());
    let found = survey(interface.map(String::as_str), arguments.netns.as_deref())?;
    out.say(&found, text(&found));
    match found.probe.require() {
        Ok(()) => Ok(Exit::Ok),
        // With JSON the page above has said it; the exit code says it again.
        Err(error) if out.json => Ok(error.exit()),
        Err(error) => Err(error),
    }
}

fn text(found: &Survey) -> String {
    let say = |works: bool| if works { "yes" } else { "NO" };
    let (probe, machine) = (&found.probe, &found.machine);
    let missing = probe.capabilities.missing();
    let mut text = format!(
        "kernel {}\narena {} {}\nmay_goto {} {}\ncapabilities {}",
        probe.kernel,
        say(probe.arena.works),
        probe.arena.detail,
        say(probe.may_goto.works),
        probe.may_goto.detail,
        if missing.is_empty() {
            "yes".to_owned()
        } else {
            format!("NO: {}", missing.join(", "))
        }
    );
    for (name, has) in probe.capabilities.named() {
        let _ = write!(text, "\n  {name} {}", say(has));
    }
    let locked = match machine.locked_bytes_max {
        Some(bytes) => format!("{bytes} bytes"),
        None => "any".to_owned(),
    };
    let _ = write!(
        text,
        "\nbpffs {}\njit {}\nbtf {}\nbusy polling: read {} µs, poll {} µs\nlocked memory {locked}\nhuge pages {} of {} free, {} KiB each",
        say(probe.bpffs),
        say(machine.jit),
        say(machine.btf),
        machine.busy_read_us,
        machine.busy_poll_us,
        machine.huge_pages_free,
        machine.huge_pages,
        machine.huge_page_bytes >> 10,
    );
    if let Some(interface) = &found.interface {
        let _ = write!(
            text,
            "\n{}: {}; largest MTU with XDP in the driver {}",
            interface.name, interface.device, interface.xdp_mtu_max
        );
        match &interface.program {
            Some((id, name)) => {
                let _ = write!(text, "\nXDP program {name} (id {id}) is attached");
            }
            None => text.push_str("\nno XDP program is attached"),
        }
    }
    for verdict in &found.rings {
        let _ = write!(text, "\nring {:<6} {}", verdict.ring, say(verdict.works));
        if !verdict.reasons.is_empty() {
            let _ = write!(text, ": {}", verdict.reasons.join("; "));
        }
    }
    text
}
