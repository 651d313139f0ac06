//! `replace --migrate`: the shard's daemon is asked to move it to another capacity. What is in the memory is the daemon's business; it stops the shard, has
//! the loader's library swap program and memory, and goes on.

use super::{Done, output::Output};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use xdp_loader::{Exit, LoaderError};

/// How long the daemon may take: a book of millions of orders is copied and hashed in seconds.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let answer = daemon.ask(&json!({
        "verb": "migrate",
        "market": absolute(market)?,
        "journal": arguments.journal.as_deref().map(absolute).transpose()?,
        "object": object.map(absolute).transpose()?,
    }))?;
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

/// The daemon's socket: one JSON object a line, answered by one.
struct Daemon {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Daemon {
    fn connect(path: &Path) -> Result<Daemon, LoaderError> {
        let stream = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        Ok(Daemon {
            path: path.to_owned(),
            stream: BufReader::new(
                stream.map_err(failed(path, "start the shard's ring0d, or name its socket"))?,
            ),
        })
    }

    /// Asks; a refusal is an error with the daemon's words.
    fn ask(&mut self, request: &Value) -> Result<Value, LoaderError> {
        let cure = "look at the daemon's log; `ring0 ctl status` says how the shard is";
        let mut line = format!("{request}\n");
        let written = self.stream.get_mut().write_all(line.as_bytes());
        written.map_err(failed(&self.path, cure))?;
        line.clear();
        let read = self.stream.read_line(&mut line);
        read.map_err(failed(&self.path, cure))?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| failed(&self.path, cure)(io::Error::other(error)))?;
        match answer["error"].as_str() {
            None => Ok(answer),
            Some(why) => Err(LoaderError::NotMigrated {
                why: why.to_owned(),
            }),
        }
    }
}

fn failed(path: &Path, cure: &'static str) -> impl FnOnce(io::Error) -> LoaderError {
    let doing = format!("asking the daemon at {}", path.display());
    move |source| LoaderError::Call {
        doing,
        source,
        cure,
    }
}
