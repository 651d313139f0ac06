//! A socket of JSON lines with peer credentials: a thread that accepts, one for each connection.
//!
//! Who may ask is decided by the peer's user before anything is read. A request that is too long ends its connection.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Connections at once: a gateway has a few.
const CONNECTIONS_MAX: usize = 256;

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Peer {
    /// Its user.
    pub(crate) user: u32,
    /// Root or this process's own user.
    pub(crate) is_operator: bool,
}

/// Who may connect besides root and the process's own user.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// Users.
    pub(crate) users: Vec<u32>,
    /// Longest line in bytes.
    pub(crate) line_bytes_max: u64,
}

/// A socket that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} the socket {path}: {source}; {cure}", path = .path.display())]
pub struct SocketError {
    path: PathBuf,
    act: &'static str,
    cure: &'static str,
    source: io::Error,
}

/// The socket, removed when dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Listens from now on; each request is answered by `answer`, in its connection's thread.
    pub(crate) fn serve<R: DeserializeOwned + 'static>(
        path: &Path,
        admission: Admission,
        answer: impl Fn(Peer, R) -> Value + Send + Sync + 'static,
    ) -> Result<Socket, SocketError> {
        let fail = |act, cure| {
            move |source| SocketError {
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
            return Err(fail("take", "another daemon listens there: end it")(taken));
        }
        // The name of a dead daemon. Nobody else makes sockets there: the folder is ours.
        if fs::symlink_metadata(path)
            .is_ok_and(|about| std::os::unix::fs::FileTypeExt::is_socket(&about.file_type()))
        {
            fs::remove_file(path).map_err(fail("replace", "remove it by hand"))?;
        }
        let cure = "give `sockets` a folder that may be written";
        let listener = UnixListener::bind(path).map_err(fail("make", cure))?;
        // Who connects is asked of each connection; others than our own user need the bit to get that far.
        let mode = if admission.users.is_empty() {
            0o600
        } else {
            0o666
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(fail("protect", cure))?;
        let (admission, answer) = (Arc::new(admission), Arc::new(answer));
        thread::spawn(move || accept(&listener, &admission, &answer));
        Ok(Socket {
            path: path.to_owned(),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // a daemon that takes over removes it too
    }
}

fn accept<R: DeserializeOwned + 'static>(
    listener: &UnixListener,
    admission: &Arc<Admission>,
    answer: &Arc<impl Fn(Peer, R) -> Value + Send + Sync + 'static>,
) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else {
            // Out of descriptors, most likely: they come back when a connection ends.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::AcqRel);
            let _ = say(
                &mut stream,
                &refusal("too many connections are open; close one, and try again"),
            ); // or it has gone
            continue;
        }
        let (admission, answer, open) =
            (Arc::clone(admission), Arc::clone(answer), Arc::clone(&open));
        thread::spawn(move || {
            let _ = connection(stream, &admission, &*answer); // the client has gone; nobody to tell
            open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

fn connection<R: DeserializeOwned>(
    mut stream: UnixStream,
    admission: &Admission,
    answer: &(impl Fn(Peer, R) -> Value + ?Sized),
) -> io::Result<()> {
    let credentials = rustix::net::sockopt::socket_peercred(&stream)?;
    let user = credentials.uid;
    let peer = Peer {
        user: user.as_raw(),
        is_operator: user.is_root() || user == rustix::process::geteuid(),
    };
    if !peer.is_operator && !admission.users.contains(&peer.user) {
        return say(
            &mut stream,
            &refusal(
                "this socket serves root, the daemon's own user and those in its configuration's `clients`",
            ),
        );
    }
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines)
            .take(admission.line_bytes_max)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let most = admission.line_bytes_max;
            return say(
                &mut stream,
                &refusal(&format!(
                    "a request is one JSON object on a line of at most {most} bytes"
                )),
            );
        }
        let told = match serde_json::from_slice(&line) {
            Ok(request) => answer(peer, request),
            Err(error) => refusal(&format!(
                "the request cannot be read: {error}; docs/settled.md names the verbs"
            )),
        };
        say(&mut stream, &told)?;
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
