//! `status`.

use super::{Done, output::Output, place::Place};
use std::fmt::Write;
use xdp_loader::{Exit, Status, status};

pub(crate) fn run(place: &Place, out: Output) -> Done {
    let status = status(&place.pin_root())?;
    out.say(&status, text(&status));
    Ok(if status.attached {
        Exit::Ok
    } else {
        Exit::NotAttached
    })
}

fn text(status: &Status) -> String {
    let say = |attached: bool| {
        if attached { "attached" } else { "NOT attached" }
    };
    let netns = status.netns.as_ref();
    let netns = netns.map(|name| format!(" in {name}")).unwrap_or_default();
    let mut text = format!(
        "{}{netns}: {}, {} mode",
        status.interface,
        say(status.attached),
        status.mode
    );
    if let Some(program) = &status.program {
        let _ = write!(
            text,
            "\nprogram {} ({}, tag {}): {} instructions, {} verified in {:.1} ms, {} bytes native",
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
        let _ = write!(
            text,
            "\nport {} behind dispatcher {}, which has shards at {}",
            dispatcher.port,
            dispatcher.program_id,
            ports.join(", ")
        );
    }
    for map in &status.maps {
        let bytes = if map.value_bytes == 0 {
            4096
        } else {
            map.value_bytes
        };
        let _ = write!(
            text,
            "\nmap {:<9} id {:<6} {} x {bytes} bytes",
            map.name, map.id, map.entries_max
        );
    }
    for (name, attached) in &status.peers {
        let _ = write!(text, "\n{name}: {}", say(*attached));
    }
    let _ = write!(
        text,
        "\nlayout {:#018x}, pins in {}",
        status.layout_hash,
        status.pin_root.display()
    );
    text
}
