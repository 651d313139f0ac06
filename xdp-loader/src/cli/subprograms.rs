//! `subprograms`.

use super::{Done, object, output::Output};
use clap::Args;
use std::{fmt::Write, path::PathBuf};
use xdp_loader::{Exit, Object, Subprogram};

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(value_name = "FILE", help = format!("The program [default: ring0.bpf.o {}]", object::WHERE))]
    object: Option<PathBuf>,
}

#[derive(serde::Serialize)]
struct Listed {
    subprograms: Vec<Subprogram>,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    let object = arguments.object.clone();
    let object = object.unwrap_or_else(|| object::kept("ring0.bpf.o"));
    let subprograms = Object::Path(object).subprograms()?;
    let text = text(&subprograms);
    out.say(&Listed { subprograms }, text);
    Ok(Exit::Ok)
}

fn text(subprograms: &[Subprogram]) -> String {
    let mut text = "number   start instructions arguments stack deepest verified name".to_owned();
    for (number, one) in subprograms.iter().enumerate() {
        let _ = write!(
            text,
            "\n{number:>6} {:>7} {:>12} {:>9} {:>5} {:>7} {:>8} {}",
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
    let _ = write!(text, "\nmost stack: {}", chain.join(" > "));
    text
}
