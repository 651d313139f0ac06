//! `replace`.

use super::{
    Done,
    load::{ProgramArguments, seconds, text},
    migrate,
    output::Output,
    place::Place,
};
use clap::Args;
use std::time::Duration;
use xdp_loader::{Exit, ReplaceOptions, plan_replace, replace};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    program: ProgramArguments,
    /// Watch the new program so long before it is kept; 0: one look.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    health_seconds: Duration,
    #[command(flatten)]
    migrate: migrate::Arguments,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    let program = &arguments.program;
    if let Some(market) = &arguments.migrate.migrate {
        let place = arguments.place.pin_root();
        return migrate::run(
            &arguments.migrate,
            market,
            program.object.as_deref(),
            &place,
            out,
        );
    }
    let mut options = ReplaceOptions::new(program.object(), arguments.place.pin_root());
    options.subprograms = program.subprograms.into();
    options.health = arguments.health_seconds;
    options.verifier_log.clone_from(&program.verifier_log);
    if program.dry_run {
        let plan = plan_replace(&options)?;
        out.say(&plan, text(&plan));
        return Ok(Exit::Ok);
    }
    let report = replace(&options)?;
    let text = format!(
        "program {} in the place of {}: {} instructions verified in {:.1} ms, put there in {:.1} ms (no packet waits), well for {:.1} s, arena {} as before",
        report.program_id,
        report.replaced_program_id,
        report.verified_instructions,
        report.load_ns as f64 / 1e6,
        report.update_ns as f64 / 1e6,
        report.watched_ns as f64 / 1e9,
        report.arena_id,
    );
    out.say(&report, text);
    Ok(Exit::Ok)
}
