//! The operator's socket: a thread that accepts, one for each connection; all hand their requests to the one thread
//! that owns the shard (`docs/decisions/0020-ring0d-threads.md`).

use crate::{DaemonError, Request};
use ring0_rings::Delivered;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::thread;

/// Longest request in bytes: the settlement marks of some ten thousand accounts.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A request and where its answer goes.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) answer: SyncSender<Value>,
}

/// What the thread that owns the shard is asked.
pub(crate) enum Asked {
    /// An operator's request.
    Verb(Box<Call>),
    /// A packet that came by the door.
    Packet {
        /// As on the wire.
        payload: Vec<u8>,
        /// Where what became of it goes.
        answer: SyncSender<Delivered>,
    },
}

/// The socket, removed when dropped.
pub(crate) struct Server {
    path: PathBuf,
}

impl Server {
    /// Listens from now on; requests come out of the other end of `calls`.
    pub(crate) fn start(path: &Path, calls: Sender<Asked>) -> Result<Server, DaemonError> {
        let fail = |act, cure| {
            move |source| DaemonError::Socket {
                path: path.to_owned(),
                act,
                cure,
                source,
            }
        };
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(fail("make the folder of", "check that it may be written"))?;
        }
        if UnixStream::connect(path).is_ok() {
            let taken = io::Error::from(ErrorKind::AddrInUse);
            return Err(fail(
                "take",
                "another daemon listens there: end it, or give --socket",
            )(taken));
        }
        // The name of a dead daemon. Nobody else makes sockets there: the folder is ours.
        if fs::symlink_metadata(path)
            .is_ok_and(|about| std::os::unix::fs::FileTypeExt::is_socket(&about.file_type()))
        {
            fs::remove_file(path).map_err(fail("replace", "remove it by hand"))?;
        }
        let cure = "give --socket with a path in a folder that may be written";
        let listener = UnixListener::bind(path).map_err(fail("make", cure))?;
        // Between the two calls others could connect; who they are is asked of each connection.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(fail("protect", cure))?;
        thread::spawn(move || accept(&listener, &calls));
        Ok(Server {
            path: path.to_owned(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // a daemon that takes over removes it too
    }
}

fn accept(listener: &UnixListener, calls: &Sender<Asked>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: they come back when a connection ends.
            thread::sleep(std::time::Duration::from_millis(100));
            continue;
        };
        let calls = calls.clone();
        thread::spawn(move || {
            let _ = serve(stream, &calls); // the client has gone; nobody to tell
        });
    }
}

/// Answers a connection's requests, one line each, until it is closed.
fn serve(mut stream: UnixStream, calls: &Sender<Asked>) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
        return say(
            &mut stream,
            &refusal("this socket serves root and the daemon's own user; run as one of them"),
        );
    }
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            return say(
                &mut stream,
                &refusal("a request is one JSON object on a line of at most 1 MiB"),
            );
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => {
                let (answer, answers) = sync_channel(1);
                let sent = calls.send(Asked::Verb(Box::new(Call { request, answer })));
                match sent.ok().and_then(|()| answers.recv().ok()) {
                    Some(answer) => answer,
                    None => refusal("the daemon is ending; start it again"),
                }
            }
            Err(error) => refusal(&format!(
                "the request cannot be read: {error}; `ring0 ctl --help` names the verbs"
            )),
        };
        say(&mut stream, &answer)?;
    }
}

fn say(stream: &mut UnixStream, answer: &Value) -> io::Result<()> {
    let mut line = answer.to_string();
    line.push('\n');
    stream.write_all(line.as_bytes())
}

/// An answer that says no, and why.
pub(crate) fn refusal(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}
