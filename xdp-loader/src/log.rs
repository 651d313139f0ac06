//! What a program built with its log (`cargo xtask ebpf --log`) has to say.
//!
//! The program writes records of aya-log-ebpf 0.2.0 (format: crate aya-log-common 0.2.0) into the ring buffer map
//! `AYA_LOGS`: two bytes of length of the whole record, then fields, each a kind, two bytes of length and a value, all in
//! the machine's byte order. Six fields are the header, the last of which says how many follow; those make the text. Of the
//! kinds of values those are read here that programs of ours send: strings and unsigned numbers.

use crate::{error::LoaderError, memory::LogRing, pinned::Pinned, pins::MAP_PREFIX, sys};
use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

/// Name of the map in aya-log-ebpf.
const MAP: &str = "AYA_LOGS";

/// How much a line matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something of ours is wrong.
    Error,
    /// Something of somebody else's is.
    Warn,
    /// Nothing is.
    Info,
    /// For who works on the program.
    Debug,
    /// As above, and much of it.
    Trace,
}

/// One thing that the program said.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// What it said.
    pub text: String,
    /// Source file, as the compiler saw it.
    pub file: String,
    /// Line in it.
    pub line: u32,
}

impl std::fmt::Display for LogLine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = match self.level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        };
        write!(
            out,
            "{level:<5} {} ({}:{})",
            self.text, self.file, self.line
        )
    }
}

/// The program's log. A line is given once: with two readers each sees some of the lines, perhaps one twice.
#[derive(Debug)]
pub struct Log {
    map: OwnedFd,
    ring: LogRing,
}

impl Pinned {
    /// Opens the log, from any process.
    ///
    /// # Errors
    /// [`LoaderError::NoLog`] if the program was built without.
    pub fn log(&self) -> Result<Log, LoaderError> {
        let pin = format!("{MAP_PREFIX}{MAP}");
        let map = self
            .folder()
            .open(&pin)?
            .ok_or_else(|| LoaderError::NoLog {
                pin_root: self.pin_root().to_owned(),
            })?;
        let cure = "`xdp-loader load` the object again";
        let facts = sys::map_facts(map.as_fd())
            .map_err(LoaderError::call("looking at the log's map", cure))?;
        if facts.shape.kind != sys::MAP_TYPE_RINGBUF {
            return Err(LoaderError::Mismatch {
                what: format!("{pin} map type"),
                pinned: facts.shape.kind.to_string(),
                wanted: sys::MAP_TYPE_RINGBUF.to_string(),
                pin_root: self.pin_root().to_owned(),
            });
        }
        let ring = LogRing::map(&map, facts.shape.entries_max)
            .map_err(LoaderError::call("mapping the log", "free some memory"))?;
        Ok(Log { map, ring })
    }
}

impl Log {
    /// The oldest line that nobody has read, `None` if there is none within `wait`.
    ///
    /// # Errors
    /// The kernel's, from waiting.
    pub fn next(&mut self, wait: Duration) -> Result<Option<LogLine>, LoaderError> {
        if let Some(record) = self.ring.take() {
            return Ok(Some(line(&record)));
        }
        sys::wait_readable(self.map.as_fd(), wait)
            .map_err(LoaderError::call("waiting for the log", "run it again"))?;
        Ok(self.ring.take().map(|record| line(&record)))
    }
}

/// A record as a line, whatever it holds: a log that ends at its first surprise is of no use.
fn line(record: &[u8]) -> LogLine {
    decode(record).unwrap_or_else(|| LogLine {
        level: LogLevel::Error,
        text: format!(
            "a record of {} bytes that this loader cannot read",
            record.len()
        ),
        file: String::new(),
        line: 0,
    })
}

/// Kinds of header fields, in the order in which they come.
mod header {
    pub(super) const TARGET: u8 = 0;
    pub(super) const LEVEL: u8 = 1;
    pub(super) const MODULE: u8 = 2;
    pub(super) const FILE: u8 = 3;
    pub(super) const LINE: u8 = 4;
    pub(super) const ARGUMENTS: u8 = 5;
}

/// Kinds of arguments.
mod argument {
    pub(super) const HINT: u8 = 0;
    pub(super) const U8: u8 = 6;
    pub(super) const USIZE: u8 = 10;
    pub(super) const STRING: u8 = 20;
}

/// A hint: write the next argument in the usual way.
const HINT_DEFAULT: &[u8] = &[1];

fn decode(record: &[u8]) -> Option<LogLine> {
    let (length, _) = record.split_first_chunk()?;
    // Behind the record's end lies what the buffer had room for.
    let mut rest = record.get(2..usize::from(u16::from_ne_bytes(*length)))?;
    let mut field = |wanted: Option<u8>| {
        let (kind, tail) = rest.split_first()?;
        let (length, tail) = tail.split_first_chunk()?;
        let (value, tail) = tail.split_at_checked(usize::from(u16::from_ne_bytes(*length)))?;
        rest = tail;
        wanted
            .is_none_or(|wanted| wanted == *kind)
            .then_some((*kind, value))
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    field(Some(header::TARGET))?;
    let (_, level) = field(Some(header::LEVEL))?;
    let level = match level {
        [1] => LogLevel::Error,
        [2] => LogLevel::Warn,
        [3] => LogLevel::Info,
        [4] => LogLevel::Debug,
        [5] => LogLevel::Trace,
        _ => return None,
    };
    field(Some(header::MODULE))?;
    let file = text(field(Some(header::FILE))?.1);
    let line = number(field(Some(header::LINE))?.1)?;
    let arguments = number(field(Some(header::ARGUMENTS))?.1)?;
    let mut said = String::new();
    for _ in 0..arguments {
        match field(None)? {
            (argument::HINT, HINT_DEFAULT) => {}
            (argument::STRING, value) => said.push_str(&text(value)),
            (argument::U8..=argument::USIZE, value) => said.push_str(&number(value)?.to_string()),
            _ => return None,
        }
    }
    Some(LogLine {
        level,
        // Names come padded: their length in the program is constant.
        text: said.split_whitespace().collect::<Vec<_>>().join(" "),
        file,
        line: u32::try_from(line).ok()?,
    })
}

/// One, two, four or eight bytes as a number.
fn number(value: &[u8]) -> Option<u64> {
    Some(match value.len() {
        1 => u64::from(value[0]),
        2 => u16::from_ne_bytes(value.try_into().ok()?).into(),
        4 => u32::from_ne_bytes(value.try_into().ok()?).into(),
        8 => u64::from_ne_bytes(value.try_into().ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut record = vec![0; 2];
        for (kind, value) in fields {
            record.push(*kind);
            record.extend((value.len() as u16).to_ne_bytes());
            record.extend(*value);
        }
        let length = (record.len() as u16).to_ne_bytes();
        record[..2].copy_from_slice(&length);
        record.extend([0xff; 9]);
        record
    }

    const DROPPED: &[(u8, &[u8])] = &[
        (header::TARGET, b"ring0::log"),
        (header::LEVEL, &[2]),
        (header::MODULE, b"ring0::log"),
        (header::FILE, b"src/log.rs"),
        (header::LINE, &31_u32.to_ne_bytes()),
        (header::ARGUMENTS, &5_u32.to_ne_bytes()),
        (argument::HINT, HINT_DEFAULT),
        (argument::STRING, b"drop_bad_tag    "),
        (argument::STRING, b" frame of "),
        (argument::HINT, HINT_DEFAULT),
        (8, &120_u32.to_ne_bytes()),
    ];

    #[test]
    fn a_record_becomes_a_line() {
        let line = line(&record(DROPPED));
        assert_eq!(
            line.to_string(),
            "warn  drop_bad_tag frame of 120 (src/log.rs:31)"
        );
    }

    #[test]
    fn no_cut_or_changed_record_stops_the_log() {
        let whole = record(DROPPED);
        for length in 0..whole.len() - 9 {
            assert!(line(&whole[..length]).text.contains("cannot read"));
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0xff;
            line(&changed);
        }
    }
}
