//! `replace --migrate`: the shard's daemon is asked to move it to another capacity. What is in the memory is the daemon's business; it stops the shard, has
//! the loader's library swap program and memory, and goes on.

use super::{
    Done,
    daemon::{Daemon, failed},
    output::Output,
};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use xdp_loader::{Exit, LoaderError};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Move the shard to the capacity of this market file: the running market's with a larger [shard.capacity]. Wants its daemon, --socket.
    #[arg(long, value_name = "FILE[#SHARD]", requires = "socket", conflicts_with_all = ["dry_run", "health_seconds", "verifier_log", "subprograms"])]
    pub(crate) migrate: Option<PathBuf>,
    /// The socket of the shard's ring0d.
    #[arg(long, value_name = "PATH", requires = "migrate")]
    socket: Option<PathBuf>,
    /// Folder of the next journal, made or empty: the state is written there first.
    #[arg(long, value_name = "DIR", requires = "migrate")]
    journal: Option<PathBuf>,
}

/// What of the daemon's answer is told.
#[derive(Serialize)]
struct Report {
    migrated: bool,
    program_id: u64,
    replaced_program_id: u64,
    arena_id: u64,
    replaced_arena_id: u64,
    verified_instructions: u64,
    prepare_ns: u64,
    fill_ns: u64,
    update_ns: u64,
    /// How long no orders were taken; `None`: the shard was halted before, and is.
    pause_ms: Option<f64>,
    bytes: u64,
    bytes_before: u64,
    state_hash: String,
    snapshot: Option<String>,
}

pub(crate) fn run(
    arguments: &Arguments,
    market: &Path,
    object: Option<&Path>,
    pin_root: &Path,
    out: Output,
) -> Done {
    let socket = arguments.socket.as_deref().unwrap_or(Path::new(""));
    let mut daemon = Daemon::connect(socket)?;
    let status = daemon.ask(&json!({"verb": "status"}))?;
    if status["pin_root"].as_str().map(Path::new) != Some(pin_root) {
        return Err(LoaderError::Option {
            option: "socket",
            value: socket.display().to_string(),
            rule: "name the daemon of the shard on this interface: `ring0 ctl --socket PATH status` says its pin_root",
        });
    }
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(failed(path, "give a path"))
            .map(|path| path.display().to_string())
    };
    let asked = daemon.ask(&json!({
        "verb": "migrate",
        "market": absolute(market)?,
        "journal": arguments.journal.as_deref().map(absolute).transpose()?,
        "object": object.map(absolute).transpose()?,
    }));
    let answer = asked.map_err(|error| match error {
        LoaderError::Daemon { why, .. } => LoaderError::NotMigrated { why },
        error => error,
    })?;
    let number = |of: &Value| of.as_u64().unwrap_or(0);
    let loader = &answer["loader"];
    let report = Report {
        migrated: true,
        program_id: number(&loader["program_id"]),
        replaced_program_id: number(&loader["replaced_program_id"]),
        arena_id: number(&loader["arena_id"]),
        replaced_arena_id: number(&loader["replaced_arena_id"]),
        verified_instructions: number(&loader["verified_instructions"]),
        prepare_ns: number(&loader["prepare_ns"]),
        fill_ns: number(&loader["fill_ns"]),
        update_ns: number(&loader["update_ns"]),
        pause_ms: answer["pause_ms"].as_f64(),
        bytes: number(&answer["bytes"]),
        bytes_before: number(&answer["bytes_before"]),
        state_hash: answer["state_hash"].as_str().unwrap_or("").to_owned(),
        snapshot: answer["snapshot"].as_str().map(str::to_owned),
    };
    let pause = match report.pause_ms {
        Some(ms) => format!("{ms:.1} ms without orders"),
        None => "it was halted and is".to_owned(),
    };
    let text = format!(
        "moved from arena {} ({} bytes) to {} ({} bytes), program {} in the place of {}: prepared in {:.1} ms while the shard traded, {pause}, state {}{}",
        report.replaced_arena_id,
        report.bytes_before,
        report.arena_id,
        report.bytes,
        report.program_id,
        report.replaced_program_id,
        report.prepare_ns as f64 / 1e6,
        report.state_hash,
        report
            .snapshot
            .as_ref()
            .map_or(String::new(), |path| format!(", written to {path}")),
    );
    out.say(&report, text);
    Ok(Exit::Ok)
}
