//! The door: packets of sessions that come by an API rather than by the wire. A Unix socket of whole messages (`SOCK_SEQPACKET`); a message is one
//! L2E/1 packet, tagged by its session's key as on the wire, and is answered by one message: the answering packet, or one letter. Answers go in the
//! order of the packets. What a connection has sent by the time that the shard is asked goes to it together, and so does what came while answers
//! wait for the journal: nobody's packet waits for the answer to another.
//!
//! The engine cannot tell such a packet from another: same checks, same sequence, same counters. Who may open the socket may send what its keys
//! allow and nothing more.
//! Rule: RULES 5 (API orders), 13, 14; `docs/operations.md#the-door`.

use crate::server::Asked;
use ring0_rings::Delivered;
use ring0_socket::SocketError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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

/// Packets of a connection that are with the shard at once: a burst of them is one turn of the daemon's thread, and what is held is little memory.
/// What is sent beyond them waits in the socket.
const AT_ONCE: usize = 64;

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

/// A packet that is not answered yet.
struct Waiting {
    packet: Arc<[u8]>,
    since: Instant,
    /// The record that must be durable first; 0: it is new.
    until: u64,
    answer: Option<Vec<u8>>,
}

/// Answers a connection's packets, in order, until it is closed.
fn serve(stream: &OwnedFd, asked: &Sender<Asked>) -> io::Result<()> {
    sockopt::set_socket_timeout(stream, sockopt::Timeout::Send, Some(HELD.0))?;
    let mut waiting = VecDeque::new();
    while receive(stream, &mut waiting)? {
        ask(&mut waiting, asked);
        while let Some(answer) = waiting.front_mut().and_then(|it| it.answer.take()) {
            waiting.pop_front();
            rustix::net::send(stream, &answer, rustix::net::SendFlags::NOSIGNAL)?;
        }
    }
    Ok(())
}

/// Takes what has come. Waits for it where nothing is to be answered, else until it is time to look for answers. False: the client has gone.
fn receive(stream: &OwnedFd, waiting: &mut VecDeque<Waiting>) -> io::Result<bool> {
    let mut flags = RecvFlags::TRUNC;
    if !waiting.is_empty() {
        if waiting.len() < AT_ONCE {
            let pause = Timespec {
                tv_sec: 0,
                tv_nsec: HELD.1.subsec_nanos().into(),
            };
            // A signal ends it sooner, which does no harm.
            let _ = poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&pause));
        } else {
            thread::sleep(HELD.1);
        }
        flags |= RecvFlags::DONTWAIT;
    }
    let mut buffer = [0; PACKET_MAX + 1];
    while waiting.len() < AT_ONCE {
        let length = match rustix::net::recv(stream, &mut buffer[..], flags) {
            Ok((_, 0)) => return Ok(false),
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => return Ok(true),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let packet = buffer.get(..length).filter(|it| it.len() <= PACKET_MAX);
        waiting.push_back(Waiting {
            packet: packet.unwrap_or_default().into(),
            since: Instant::now(),
            until: 0,
            // No frame has room for a longer one.
            answer: packet.is_none().then(|| DROPPED.to_vec()),
        });
        flags |= RecvFlags::DONTWAIT;
    }
    Ok(true)
}

/// Has the shard take what has no answer yet: what is new, and again what is held and may be on the disk by now.
fn ask(waiting: &mut VecDeque<Waiting>, asked: &Sender<Asked>) {
    let mut open: Vec<&mut Waiting> = waiting
        .iter_mut()
        .filter(|it| it.answer.is_none())
        .collect();
    if open.is_empty() {
        return;
    }
    let (answer, answers) = sync_channel(1);
    let packets = open.iter().map(|it| (Arc::clone(&it.packet), it.until));
    let packets = packets.collect();
    let sent = asked.send(Asked::Packets { packets, answer });
    // Nothing comes where the shard could not take them.
    let mut delivered = sent
        .ok()
        .and_then(|()| answers.recv().ok())
        .into_iter()
        .flatten();
    for one in &mut open {
        one.answer = match delivered.next() {
            Some(Delivered::Answer(bytes)) => Some(bytes),
            Some(Delivered::Dropped) => Some(DROPPED.to_vec()),
            Some(Delivered::Held { until }) if one.since.elapsed() < HELD.0 => {
                one.until = until;
                None
            }
            Some(Delivered::Held { .. }) | None => Some(AGAIN.to_vec()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvFlags, SendFlags, socketpair};
    use std::sync::mpsc::{Receiver, SyncSender, channel};

    /// A connection's end, what is asked of the daemon, and the daemon's end of that.
    fn connection() -> (OwnedFd, Receiver<Asked>) {
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (ours, theirs) = pair.unwrap();
        let (asked, requests) = channel();
        thread::spawn(move || serve(&theirs, &asked));
        (ours, requests)
    }

    fn say(socket: &OwnedFd, packet: &[u8]) {
        rustix::net::send(socket, packet, SendFlags::empty()).unwrap();
    }

    fn hear(socket: &OwnedFd) -> Vec<u8> {
        let mut bytes = [0; 2048];
        let (len, _) = rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty()).unwrap();
        bytes[..len].to_vec()
    }

    type Packets = (Vec<(Vec<u8>, u64)>, SyncSender<Vec<Delivered>>);

    fn asked(requests: &Receiver<Asked>) -> Packets {
        match requests.recv().unwrap() {
            Asked::Packets { packets, answer } => {
                let packets = packets.iter().map(|(it, until)| (it.to_vec(), *until));
                (packets.collect(), answer)
            }
            Asked::Verb(_) => panic!("nobody asks that here"),
        }
    }

    #[test]
    fn what_came_meanwhile_goes_together() {
        let (socket, requests) = connection();
        say(&socket, b"1");
        let (packets, answer) = asked(&requests);
        assert_eq!(packets, [(b"1".to_vec(), 0)]);
        say(&socket, b"2");
        say(&socket, &[0; PACKET_MAX + 1]);
        say(&socket, b"3");
        answer
            .send(vec![Delivered::Answer(b"one".to_vec())])
            .unwrap();
        assert_eq!(hear(&socket), b"one");
        let (packets, answer) = asked(&requests);
        assert_eq!(packets, [(b"2".to_vec(), 0), (b"3".to_vec(), 0)]);
        let both = vec![Delivered::Dropped, Delivered::Answer(b"three".to_vec())];
        answer.send(both).unwrap();
        let answers: Vec<Vec<u8>> = (0..3).map(|_| hear(&socket)).collect();
        assert_eq!(answers, [DROPPED, DROPPED, b"three"]);
    }

    #[test]
    fn a_held_answer_holds_up_no_packet() {
        let (socket, requests) = connection();
        say(&socket, b"1");
        let (_, answer) = asked(&requests);
        answer.send(vec![Delivered::Held { until: 40 }]).unwrap();
        say(&socket, b"2");
        // Asked again until the next packet is there too, and always with the record that it waits for.
        loop {
            let (packets, answer) = asked(&requests);
            assert_eq!(packets[0], (b"1".to_vec(), 40));
            if packets.len() == 1 {
                answer.send(vec![Delivered::Held { until: 40 }]).unwrap();
                continue;
            }
            assert_eq!(packets[1], (b"2".to_vec(), 0));
            let held = [Delivered::Held { until: 40 }, Delivered::Held { until: 41 }];
            answer.send(held.to_vec()).unwrap();
            break;
        }
        let (packets, answer) = asked(&requests);
        assert_eq!(packets, [(b"1".to_vec(), 40), (b"2".to_vec(), 41)]);
        let both = [b"one".to_vec(), b"two".to_vec()].map(Delivered::Answer);
        answer.send(both.to_vec()).unwrap();
        assert_eq!(
            (hear(&socket), hear(&socket)),
            (b"one".to_vec(), b"two".to_vec())
        );
    }

    #[test]
    fn a_daemon_that_cannot_says_again() {
        let (socket, requests) = connection();
        say(&socket, b"1");
        drop(asked(&requests));
        assert_eq!(hear(&socket), AGAIN);
        drop(requests);
        say(&socket, b"2");
        assert_eq!(hear(&socket), AGAIN);
    }
}
