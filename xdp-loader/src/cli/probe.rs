//! `probe`.

use super::{Done, output::Output};
use clap::Args;
use xdp_loader::{Exit, probe};

#[derive(Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments, out: Output) -> Done {
    let found = probe();
    let say = |works: bool| if works { "yes" } else { "NO" };
    let missing = found.capabilities.missing();
    let capabilities = if missing.is_empty() {
        "yes".to_owned()
    } else {
        format!("NO: {}", missing.join(", "))
    };
    let text = format!(
        "kernel {}\narena {} {}\nmay_goto {} {}\ncapabilities {capabilities}\nbpffs {}",
        found.kernel,
        say(found.arena.works),
        found.arena.detail,
        say(found.may_goto.works),
        found.may_goto.detail,
        say(found.bpffs),
    );
    out.say(&found, text);
    match found.require() {
        Ok(()) => Ok(Exit::Ok),
        // With JSON the page above has said it; the exit code says it again.
        Err(error) if out.json => Ok(error.exit()),
        Err(error) => Err(error),
    }
}
