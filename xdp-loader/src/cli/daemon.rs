//! The shard's daemon, asked over the operator's socket (`ring0d`): what only it knows.

use serde_json::Value;
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use xdp_loader::LoaderError;

/// How long the daemon may take: a book of millions of orders is copied and hashed in seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The daemon's socket: one JSON object a line, answered by one.
pub(crate) struct Daemon {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Daemon {
    pub(crate) fn connect(path: &Path) -> Result<Daemon, LoaderError> {
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
    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value, LoaderError> {
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
            Some(why) => Err(LoaderError::Daemon {
                path: self.path.clone(),
                why: why.to_owned(),
            }),
        }
    }
}

pub(crate) fn failed(path: &Path, cure: &'static str) -> impl FnOnce(io::Error) -> LoaderError {
    let doing = format!("asking the daemon at {}", path.display());
    move |source| LoaderError::Call {
        doing,
        source,
        cure,
    }
}
