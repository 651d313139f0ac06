//! Two processes: this one sends, a child of the same program receives.

use crate::BenchError;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

/// What the receiving side found.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Measured {
    /// When it had the last record.
    pub end_ns: u64,
    /// Median time of a record, 0 where it was not asked for.
    pub ns_p50: u64,
    /// As above.
    pub ns_p99: u64,
    /// As above.
    pub ns_p999: u64,
}

/// Binds this thread to a processor, if there is one of this number.
///
/// # Errors
/// The kernel's.
pub fn on_processor(number: usize) -> Result<(), BenchError> {
    let mut set = CpuSet::new();
    set.set(number);
    match sched_setaffinity(None, &set) {
        Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

/// A child that receives; it is ended with this value.
#[derive(Debug)]
pub struct Consumer {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Gone already, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs this program again as `--consumer ARGUMENT`, and waits until it is ready.
///
/// # Errors
/// It did not start, or ended.
pub fn start_consumer(argument: &str) -> Result<Consumer, BenchError> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--consumer", argument])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let mut consumer = Consumer { child, out };
    let mut line = String::new();
    consumer.out.read_line(&mut line)?;
    if line.trim_end() != READY {
        return Err(BenchError::Other(format!("it said {line:?}")));
    }
    Ok(consumer)
}

const READY: &str = "ready";

/// The child's word that it receives from now on.
pub fn consumer_is_ready() {
    println!("{READY}");
}

/// Waits for a child's result.
///
/// # Errors
/// It failed.
pub fn measured<T: serde::de::DeserializeOwned>(mut consumer: Consumer) -> Result<T, BenchError> {
    let mut text = String::new();
    consumer.out.read_to_string(&mut text)?;
    let status = consumer.child.wait()?;
    if !status.success() {
        return Err(BenchError::Other(status.to_string()));
    }
    serde_json::from_str(&text).map_err(|error| BenchError::Other(error.to_string()))
}
