//! The door: packets of sessions that come by an API rather than by the wire. A Unix socket of whole messages (`SOCK_SEQPACKET`); a message is one
//! L2E/1 packet, tagged by its session's key as on the wire, and is answered by one message: the answering packet, or one letter.
//!
//! The engine cannot tell such a packet from another: same checks, same sequence, same counters. Who may open the socket may send what its keys
//! allow and nothing more.
//! Rule: RULES 5 (API orders), 13, 14; `docs/operations.md#the-door`.

use crate::server::Asked;
use ring0_rings::Delivered;
use ring0_socket::SocketError;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// The answer where there is none: the packet was dropped, and counted by the reason.
pub const DROPPED: &[u8] = b"D";

/// The answer where the daemon has not come to it: the same packet may be sent again.
pub const AGAIN: &[u8] = b"B";

/// Longest packet: what one Ethernet frame carries.
const PACKET_MAX: usize = 1472;

/// How long a packet's answer is waited for on a shard whose acks are durable, and how often it is looked for.
const HELD: (Duration, Duration) = (Duration::from_secs(2), Duration::from_micros(200));

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The socket, removed when dropped.
pub(crate) struct Door {
    path: PathBuf,
}

impl Door {
    /// Listens from now on. Its group may use it too: mode 0660.
    pub(crate) fn open(
        path: &Path,
        group: Option<u32>,
        asked: Sender<Asked>,
    ) -> Result<Door, SocketError> {
        let fail = |act| {
            move |source: io::Error| SocketError {
                path: path.to_owned(),
                act,
                cure: "check that its folder may be written, and --door-group",
                source,
            }
        };
        // The name of a dead daemon: a living one has taken the operator's socket, which was asked for first.
        if fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()) {
            fs::remove_file(path).map_err(fail("replace"))?;
        }
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let socket = socket.map_err(|error| fail("make")(error.into()))?;
        let address = SocketAddrUnix::new(path).map_err(|error| fail("name")(error.into()))?;
        rustix::net::bind(&socket, &address).map_err(|error| fail("make")(error.into()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(fail("protect"))?;
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group).map_err(fail("give its group to"))?;
        }
        rustix::net::listen(&socket, BACKLOG).map_err(|error| fail("listen at")(error.into()))?;
        thread::spawn(move || accept(&socket, &asked));
        Ok(Door {
            path: path.to_owned(),
        })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // a daemon that takes over removes it too
    }
}

fn accept(socket: &OwnedFd, asked: &Sender<Asked>) {
    loop {
        let Ok(stream) = rustix::net::accept_with(socket, SocketFlags::CLOEXEC) else {
            thread::sleep(Duration::from_millis(100)); // out of descriptors, most likely
            continue;
        };
        let asked = asked.clone();
        thread::spawn(move || {
            let _ = serve(&stream, &asked); // the client has gone
        });
    }
}

/// Answers a connection's packets, in order, until it is closed.
fn serve(stream: &OwnedFd, asked: &Sender<Asked>) -> io::Result<()> {
    sockopt::set_socket_timeout(stream, sockopt::Timeout::Send, Some(HELD.0))?;
    let mut buffer = [0; PACKET_MAX + 1];
    loop {
        let received = rustix::net::recv(stream, &mut buffer[..], rustix::net::RecvFlags::TRUNC)?;
        let length = received.1;
        if length == 0 {
            return Ok(());
        }
        let answer = match buffer.get(..length).filter(|it| it.len() <= PACKET_MAX) {
            Some(packet) => answer(packet, asked),
            None => DROPPED.to_vec(), // no frame has room for it
        };
        rustix::net::send(stream, &answer, rustix::net::SendFlags::NOSIGNAL)?;
    }
}

/// Has the shard take a packet; one whose answer waits for the journal is asked for again until it is there.
fn answer(packet: &[u8], asked: &Sender<Asked>) -> Vec<u8> {
    let end = Instant::now() + HELD.0;
    loop {
        let (answer, answers) = sync_channel(1);
        let payload = packet.to_vec();
        let sent = asked.send(Asked::Packet { payload, answer });
        match sent.ok().and_then(|()| answers.recv().ok()) {
            Some(Delivered::Answer(bytes)) => return bytes,
            Some(Delivered::Dropped) => return DROPPED.to_vec(),
            Some(Delivered::Held) if Instant::now() < end => thread::sleep(HELD.1),
            Some(Delivered::Held) | None => return AGAIN.to_vec(),
        }
    }
}
