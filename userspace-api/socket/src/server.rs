//! The end that answers: a thread that accepts, one for each connection.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Its user.
    pub user: u32,
    /// Root or this process's own user.
    pub is_operator: bool,
}

/// Who is heard, and how much.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Users beside root and the process's own.
    pub users: Vec<u32>,
    /// Longest line in bytes.
    pub line_bytes_max: u64,
    /// Connections at once; one more is told so and closed.
    pub connections_max: usize,
}

impl Default for Admission {
    /// Root and the own user, a mebibyte a line, 256 connections.
    fn default() -> Admission {
        Admission {
            users: Vec::new(),
            line_bytes_max: 1 << 20,
            connections_max: 256,
        }
    }
}

/// A socket that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} the socket {path}; {cure}: {source}", path = .path.display())]
pub struct SocketError {
    /// Where.
    pub path: PathBuf,
    /// What was tried.
    pub act: &'static str,
    /// What to do.
    pub cure: &'static str,
    /// Why not.
    pub source: io::Error,
}

/// The socket, removed when dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
}

impl Server {
    /// Listens from now on; each request is answered by `answer`, in its connection's thread. The socket's folder is made with mode 0700 where it is
    /// missing.
    ///
    /// # Errors
    /// Somebody listens there, or the file system's.
    pub fn start<R: DeserializeOwned + 'static>(
        path: &Path,
        admission: Admission,
        answer: impl Fn(Peer, R) -> Value + Send + Sync + 'static,
    ) -> Result<Server, SocketError> {
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
            return Err(fail(
                "take",
                "another daemon listens there: end it, or give this one another socket",
            )(taken));
        }
        // The name of a dead process. Nobody else makes sockets there: the folder is ours.
        if fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()) {
            fs::remove_file(path).map_err(fail("replace", "remove it by hand"))?;
        }
        let cure = "give it a path in a folder that may be written";
        let listener = UnixListener::bind(path).map_err(fail("make", cure))?;
        // Who connects is asked of each connection; others than our own user need the bits to get that far.
        let mode = if admission.users.is_empty() {
            0o600
        } else {
            0o666
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(fail("protect", cure))?;
        let (admission, answer) = (Arc::new(admission), Arc::new(answer));
        thread::spawn(move || accept(&listener, &admission, &answer));
        Ok(Server {
            path: path.to_owned(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // a process that takes over removes it too
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
        if open.fetch_add(1, Ordering::AcqRel) >= admission.connections_max {
            open.fetch_sub(1, Ordering::AcqRel);
            let full = refusal("too many connections are open; close one, and try again");
            let _ = say(&mut stream, &full); // or it has gone
            continue;
        }
        let (admission, answer, open) =
            (Arc::clone(admission), Arc::clone(answer), Arc::clone(&open));
        thread::spawn(move || {
            let _ = serve(stream, &admission, &*answer); // the client has gone; nobody to tell
            open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

/// Answers a connection's requests, one line each, until it is closed.
fn serve<R: DeserializeOwned>(
    mut stream: UnixStream,
    admission: &Admission,
    answer: &(impl Fn(Peer, R) -> Value + ?Sized),
) -> io::Result<()> {
    let user = rustix::net::sockopt::socket_peercred(&stream)?.uid;
    let peer = Peer {
        user: user.as_raw(),
        is_operator: user.is_root() || user == rustix::process::geteuid(),
    };
    if !peer.is_operator && !admission.users.contains(&peer.user) {
        return say(
            &mut stream,
            &refusal(
                "this socket serves root, the daemon's own user and those its configuration names; run as one of them",
            ),
        );
    }
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = admission.line_bytes_max;
        let read = (&mut lines).take(most).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let too_long =
                format!("a request is one JSON object on a line of at most {most} bytes");
            return say(&mut stream, &refusal(&too_long));
        }
        let told = match serde_json::from_slice(&line) {
            Ok(request) => answer(peer, request),
            // What was asked is not repeated: it may hold a secret.
            Err(error) => refusal(&format!(
                "the request cannot be read: {error}; the command's --help names the verbs"
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
#[must_use]
pub fn refusal(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, ClientError};

    fn echo(path: &Path, admission: Admission) -> Server {
        Server::start(path, admission, |peer: Peer, text: String| {
            match text.as_str() {
                "no" => refusal("not that"),
                _ => json!({ "ok": true, "text": text, "operator": peer.is_operator }),
            }
        })
        .unwrap()
    }

    #[test]
    fn requests_are_answered_refused_and_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/echo.sock");
        let admission = Admission {
            line_bytes_max: 64,
            connections_max: 2,
            ..Admission::default()
        };
        let server = echo(&path, admission.clone());
        let mut client = Client::connect(&path).unwrap();
        let answer = client.call(&"one").unwrap();
        assert_eq!(
            (&answer["text"], &answer["operator"]),
            (&json!("one"), &json!(true))
        );
        let refused = client.call(&"no");
        assert!(matches!(refused, Err(ClientError::Refused(why)) if why == "not that"));
        assert!(
            matches!(client.call(&5), Err(ClientError::Refused(why)) if why.contains("cannot be read"))
        );
        assert_eq!(
            client.call(&"two").unwrap()["text"],
            "two",
            "a refusal ends nothing"
        );

        let mut second = Client::connect(&path).unwrap();
        assert_eq!(second.call(&"three").unwrap()["text"], "three");
        let mut third = Client::connect(&path).unwrap();
        assert!(
            matches!(third.call(&"four"), Err(ClientError::Refused(why)) if why.contains("too many"))
        );

        let long = "x".repeat(100);
        assert!(
            matches!(second.call(&long), Err(ClientError::Refused(why)) if why.contains("64 bytes"))
        );
        assert!(second.call(&"five").is_err(), "the connection has ended");

        let taken = Server::start(&path, admission, |_, _: String| Value::Null);
        assert!(taken.is_err(), "somebody listens there");
        drop(server);
        assert!(matches!(
            Client::connect(&path),
            Err(ClientError::NoDaemon { .. })
        ));
    }

    #[test]
    fn a_dead_processs_name_is_replaced_and_another_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        drop(UnixListener::bind(&path).unwrap()); // leaves its name
        let server = echo(&path, Admission::default());
        assert!(Client::connect(&path).unwrap().call(&"here").is_ok());
        drop(server);
        fs::write(&path, "not a socket").unwrap();
        assert!(Server::start(&path, Admission::default(), |_, _: String| Value::Null).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a socket");
    }
}
