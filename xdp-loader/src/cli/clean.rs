//! `clean`.

use super::{Done, output::Output};
use clap::Args;
use std::fmt::Write;
use xdp_loader::{Exit, Leftover, Unloaded, clean, leftovers};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Remove what is shown without it. Books in memory are lost.
    #[arg(long)]
    yes: bool,
}

#[derive(serde::Serialize)]
struct Cleaned {
    /// What serves nothing.
    leftovers: Vec<Leftover>,
    /// What was removed; without --yes nothing.
    removed: Option<Unloaded>,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    let leftovers = leftovers()?;
    let removed = match arguments.yes {
        true => Some(clean(&leftovers)?),
        false => None,
    };
    let text = text(&leftovers, removed);
    out.say(&Cleaned { leftovers, removed }, text);
    Ok(Exit::Ok)
}

fn text(leftovers: &[Leftover], removed: Option<Unloaded>) -> String {
    if leftovers.is_empty() {
        return "nothing is left over".to_owned();
    }
    let mut text = String::new();
    for one in leftovers {
        let book = if one.book {
            "; memory with its book"
        } else {
            ""
        };
        let _ = writeln!(text, "{}: {}{book}", one.pin_root.display(), one.why);
    }
    match removed {
        Some(removed) => {
            let _ = write!(
                text,
                "removed {} links, {} ports and {} other pins",
                removed.links, removed.ports, removed.pins
            );
        }
        None => text.push_str("nothing was removed; `xdp-loader clean --yes` does"),
    }
    text
}
