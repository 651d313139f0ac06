//! `unload`.

use super::{Done, output::Output, place::Place};
use clap::Args;
use xdp_loader::{Exit, unload};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    let unloaded = unload(&arguments.place.pin_root())?;
    let text = format!(
        "detached {} links and {} ports, removed {} other pins",
        unloaded.links, unloaded.ports, unloaded.pins
    );
    out.say(&unloaded, text);
    Ok(Exit::Ok)
}
