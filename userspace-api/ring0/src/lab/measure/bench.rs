//! Benches that a scenario names: `ring0 bench …`, in a process of its own, its report as it is.

use crate::bench::rings::go_on;
use crate::fail::Fail;
use crate::lab::progress::Progress;
use ring0_laboratory::scenario::Bench;
use serde_json::Value;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::Duration;

/// How often it is looked whether the bench has ended, or is to end.
const TICK: Duration = Duration::from_millis(100);

/// Runs one to its end; a signal to this process ends it as well.
pub(in crate::lab) fn run(bench: &Bench, stop: &AtomicBool) -> Result<Value, Fail> {
    let name = bench.run.name();
    let progress = Progress::new(1);
    progress.say(&format!("ring0 bench {name} {}", bench.arguments.join(" ")));
    let mut child = Command::new(std::env::current_exe()?)
        .args(["bench", name, "--json"])
        .args(&bench.arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut out = child.stdout.take().expect("asked for");
    // On a thread of its own: a full pipe would stop the bench.
    let text = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Err(fail) = go_on(stop) {
            // The terminal's signal went to it too; where only this process got one, it gets its own.
            let id = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            let _ = child.wait(); // it ended, or never was
            return Err(fail);
        }
        sleep(TICK);
    };
    let text = text
        .join()
        .map_err(|_| Fail::new("the bench's output could not be read"))??;
    if !status.success() {
        return Err(Fail::new(format!(
            "`ring0 bench {name}` failed ({status}); run it by itself to see why"
        )));
    }
    serde_json::from_str(&text)
        .map_err(|error| Fail::new(format!("`ring0 bench {name}` gave no JSON: {error}")))
}
