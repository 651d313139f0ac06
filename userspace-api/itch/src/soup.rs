//! SoupBinTCP 3.00: packets in a TCP stream, a login, and sequenced data that goes on where a client was.
//!
//! A packet is two bytes of length (of type and payload), one byte of type, and the payload. The number of sequenced data is
//! not sent: both sides count from the login's. A side that has sent nothing for [`HEARTBEAT_AFTER`] sends a heartbeat, and one
//! that was silent for [`GONE_AFTER`] is gone.

use crate::digits::{Digits, DigitsError};
use crate::{Text, TextError};
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Send a heartbeat when nothing was sent for this long.
pub const HEARTBEAT_AFTER: Duration = Duration::from_secs(1);
/// A peer that sent nothing for this long is gone.
pub const GONE_AFTER: Duration = Duration::from_secs(15);

/// Bytes before a payload: length and type.
pub const HEADER: usize = 3;
/// Longest payload that the length can say.
pub const PAYLOAD_MAX: usize = u16::MAX as usize - 1;

/// Packet types.
pub mod kind {
    /// Either side: text for a human.
    pub const DEBUG: u8 = b'+';
    /// Server: login accepted.
    pub const LOGIN_ACCEPTED: u8 = b'A';
    /// Server: login rejected.
    pub const LOGIN_REJECTED: u8 = b'J';
    /// Server: sequenced data.
    pub const SEQUENCED: u8 = b'S';
    /// Server: heartbeat.
    pub const SERVER_HEARTBEAT: u8 = b'H';
    /// Server: end of session.
    pub const END_OF_SESSION: u8 = b'Z';
    /// Client: login.
    pub const LOGIN: u8 = b'L';
    /// Client (and a server of version 4.00): data without a number.
    pub const UNSEQUENCED: u8 = b'U';
    /// Client: heartbeat.
    pub const CLIENT_HEARTBEAT: u8 = b'R';
    /// Client: logout.
    pub const LOGOUT: u8 = b'O';
}

/// Codes of a rejected login.
pub mod rejected {
    /// User or password is wrong.
    pub const NOT_AUTHORISED: u8 = b'A';
    /// There is no such session.
    pub const SESSION_NOT_AVAILABLE: u8 = b'S';
}

/// Payload of [`kind::LOGIN`].
#[derive(Clone, Copy, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct LoginRequest {
    /// User, padded on the right.
    pub username: Text<6>,
    /// Password, padded on the right.
    pub password: Text<10>,
    /// Wanted session, padded on the left; blank for the present one.
    pub session: Text<10>,
    /// Number of the first message wanted; 0 for the newest.
    pub sequence: Digits,
}
const _: () = assert!(size_of::<LoginRequest>() == 46);

impl LoginRequest {
    /// A login that wants messages of `session` (empty: the present one) from number `sequence` (0: only new ones).
    ///
    /// # Errors
    /// When a text is longer than its field.
    pub fn new(
        username: &str,
        password: &str,
        session: &str,
        sequence: u64,
    ) -> Result<Self, TextError> {
        Ok(Self {
            username: Text::new(username)?,
            password: Text::new(password)?,
            session: Text::right(session)?,
            sequence: Digits::new(sequence),
        })
    }

    /// Whether it opens a stream with this password, and with which number that begins: the one that is wanted, where it is kept. `first` is the
    /// oldest kept message, `next` the one that comes next. Passwords are compared in a time that tells nothing of them.
    ///
    /// # Errors
    /// The reason of a [`kind::LOGIN_REJECTED`].
    pub fn admit(&self, password: &Text<10>, first: u64, next: u64) -> Result<u64, u8> {
        let pairs = password.0.iter().zip(self.password.0);
        if pairs.fold(0, |differs, (a, b)| differs | (a ^ b)) != 0 {
            return Err(rejected::NOT_AUTHORISED);
        }
        let wanted = self.sequence.get();
        let wanted = wanted.map_err(|_| rejected::SESSION_NOT_AVAILABLE)?;
        Ok(if wanted == 0 {
            next
        } else {
            wanted.clamp(first, next)
        })
    }
}

impl std::fmt::Debug for LoginRequest {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest")
            .field("username", &self.username)
            .field("session", &self.session)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// Payload of [`kind::LOGIN_ACCEPTED`].
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct LoginAccepted {
    /// The session, padded on the left.
    pub session: Text<10>,
    /// Number of the next sequenced data.
    pub sequence: Digits,
}
const _: () = assert!(size_of::<LoginAccepted>() == 30);

impl LoginAccepted {
    /// The answer whose next sequenced data has number `sequence`.
    ///
    /// # Errors
    /// When the session is longer than its field.
    pub fn new(session: &str, sequence: u64) -> Result<Self, TextError> {
        Ok(Self {
            session: Text::right(session)?,
            sequence: Digits::new(sequence),
        })
    }
}

/// Why a stream is not SoupBinTCP. After one the connection cannot be read further: close it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SoupError {
    /// A length of zero, which leaves no room for the type.
    #[error(
        "a packet of length 0 has no type; the peer does not speak SoupBinTCP, close the connection"
    )]
    Empty,
    /// Longer than this side takes.
    #[error(
        "a packet with {found} bytes of payload is above the limit of {max}; close the connection"
    )]
    TooLong {
        /// Bytes of the payload.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A type that the other side never sends.
    #[error("packet type {:?} is none of the peer's; close the connection", char::from(*.kind))]
    Unknown {
        /// The type.
        kind: u8,
    },
    /// A payload of the wrong length.
    #[error(
        "packet type {:?} has {found} bytes of payload instead of {expected}; close the connection",
        char::from(*.kind)
    )]
    Length {
        /// The type.
        kind: u8,
        /// Bytes that its payload has.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A sequence is no number.
    #[error("the packet's sequence is no number: {0}")]
    Sequence(#[from] DigitsError),
}

/// Appends a packet to `into`.
///
/// # Errors
/// When the payload is above [`PAYLOAD_MAX`]; `into` is as it was.
pub fn encode(kind: u8, payload: &[u8], into: &mut Vec<u8>) -> Result<(), SoupError> {
    if payload.len() > PAYLOAD_MAX {
        return Err(SoupError::TooLong {
            found: payload.len(),
            max: PAYLOAD_MAX,
        });
    }
    let length = (payload.len() + 1) as u16;
    into.reserve(HEADER + payload.len());
    into.extend_from_slice(&length.to_be_bytes());
    into.push(kind);
    into.extend_from_slice(payload);
    Ok(())
}

/// One packet: its type and its payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// One of [`kind`].
    pub kind: u8,
    /// What follows the type.
    pub payload: &'a [u8],
}

/// What a server sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FromServer<'a> {
    /// Text for a human.
    Debug(&'a [u8]),
    /// The login was accepted.
    LoginAccepted(&'a LoginAccepted),
    /// It was not; one of [`rejected`].
    LoginRejected(u8),
    /// Sequenced data.
    Sequenced(&'a [u8]),
    /// Data without a number: only version 4.00.
    Unsequenced(&'a [u8]),
    /// Nothing else to say.
    Heartbeat,
    /// No more sequenced data.
    EndOfSession,
}

/// What a client sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FromClient<'a> {
    /// Text for a human.
    Debug(&'a [u8]),
    /// A login.
    Login(&'a LoginRequest),
    /// Data without a number: orders.
    Unsequenced(&'a [u8]),
    /// Nothing else to say.
    Heartbeat,
    /// The client goes.
    Logout,
}

impl<'a> Packet<'a> {
    /// The packet as a server's.
    ///
    /// # Errors
    /// When no server sends such a packet.
    pub fn from_server(&self) -> Result<FromServer<'a>, SoupError> {
        let Packet { kind, payload } = *self;
        Ok(match kind {
            kind::SEQUENCED => FromServer::Sequenced(payload),
            kind::UNSEQUENCED => FromServer::Unsequenced(payload),
            kind::DEBUG => FromServer::Debug(payload),
            kind::SERVER_HEARTBEAT => self.exactly(0).map(|()| FromServer::Heartbeat)?,
            kind::END_OF_SESSION => self.exactly(0).map(|()| FromServer::EndOfSession)?,
            kind::LOGIN_ACCEPTED => FromServer::LoginAccepted(self.view()?),
            kind::LOGIN_REJECTED => FromServer::LoginRejected(*self.view()?),
            _ => return Err(SoupError::Unknown { kind }),
        })
    }

    /// The packet as a client's.
    ///
    /// # Errors
    /// When no client sends such a packet.
    pub fn from_client(&self) -> Result<FromClient<'a>, SoupError> {
        let Packet { kind, payload } = *self;
        Ok(match kind {
            kind::UNSEQUENCED => FromClient::Unsequenced(payload),
            kind::DEBUG => FromClient::Debug(payload),
            kind::CLIENT_HEARTBEAT => self.exactly(0).map(|()| FromClient::Heartbeat)?,
            kind::LOGOUT => self.exactly(0).map(|()| FromClient::Logout)?,
            kind::LOGIN => FromClient::Login(self.view()?),
            _ => return Err(SoupError::Unknown { kind }),
        })
    }

    fn exactly(&self, expected: usize) -> Result<(), SoupError> {
        if self.payload.len() == expected {
            return Ok(());
        }
        Err(SoupError::Length {
            kind: self.kind,
            expected,
            found: self.payload.len(),
        })
    }

    fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self) -> Result<&'a T, SoupError> {
        self.exactly(size_of::<T>())?;
        Ok(T::ref_from_bytes(self.payload).expect("the length was compared"))
    }
}

/// Cuts packets out of a byte stream that comes in any pieces. Its memory is bounded: it takes no more bytes than two of the
/// longest packets, and refuses a longer one by its length, before it came.
///
/// [`Decoder::feed`], then [`Decoder::next_packet`] until `None`, again.
#[derive(Clone, Debug)]
pub struct Decoder {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    payload_max: usize,
}

impl Decoder {
    /// A decoder that takes payloads of at most `payload_max` bytes, itself at most [`PAYLOAD_MAX`].
    #[must_use]
    pub fn new(payload_max: usize) -> Self {
        let payload_max = payload_max.min(PAYLOAD_MAX);
        Self {
            buffer: vec![0; 2 * (HEADER + payload_max)].into_boxed_slice(),
            start: 0,
            end: 0,
            payload_max,
        }
    }

    /// Takes received bytes, as many as there is room for, and says how many. Never none of some, once
    /// [`Decoder::next_packet`] has said `None`.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.end += taken;
        taken
    }

    /// Room to receive into directly; [`Decoder::received`] then says how many bytes came.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// `bytes` bytes were written to the front of [`Decoder::room`].
    ///
    /// # Panics
    /// With more than it has room for.
    pub fn received(&mut self, bytes: usize) {
        assert!(
            bytes <= self.buffer.len() - self.end,
            "no more than the room"
        );
        self.end += bytes;
    }

    /// The next whole packet; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the stream is not SoupBinTCP; so is every later call.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, SoupError> {
        let received = &self.buffer[self.start..self.end];
        let Some((length, rest)) = received.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some(payload) = length.checked_sub(1) else {
            return Err(SoupError::Empty);
        };
        if payload > self.payload_max {
            return Err(SoupError::TooLong {
                found: payload,
                max: self.payload_max,
            });
        }
        if rest.len() < length {
            return Ok(None);
        }
        let at = self.start + HEADER;
        self.start = at + payload;
        Ok(Some(Packet {
            kind: self.buffer[at - 1],
            payload: &self.buffer[at..at + payload],
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_login_begins_where_it_wants_within_what_is_kept() {
        let password = Text(*b"ABCDEFGHJK");
        let asks = |word: &str, from| {
            let login = LoginRequest::new("TRADER", word, "", from).unwrap();
            login.admit(&password, 10, 20)
        };
        for (from, begins) in [(0, 20), (1, 10), (15, 15), (20, 20), (99, 20)] {
            assert_eq!(asks("ABCDEFGHJK", from), Ok(begins), "{from}");
        }
        for word in ["", "ABCDEFGHJ", "ABCDEFGHJL", "abcdefghjk"] {
            assert_eq!(asks(word, 0), Err(rejected::NOT_AUTHORISED), "{word}");
        }
        let mut strange = LoginRequest::new("TRADER", "ABCDEFGHJK", "", 1).unwrap();
        strange.sequence.0[19] = b'x';
        assert_eq!(
            strange.admit(&password, 1, 2),
            Err(rejected::SESSION_NOT_AVAILABLE)
        );
    }

    /// All packets of a stream that comes in these pieces.
    fn decode(pieces: &[&[u8]], payload_max: usize) -> Result<Vec<(u8, Vec<u8>)>, SoupError> {
        let mut decoder = Decoder::new(payload_max);
        let mut packets = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let taken = decoder.feed(rest);
                rest = &rest[taken..];
                while let Some(packet) = decoder.next_packet()? {
                    packets.push((packet.kind, packet.payload.to_vec()));
                }
                if rest.is_empty() {
                    break;
                }
                assert!(decoder.clone().feed(rest) > 0, "no room and no packet");
            }
        }
        Ok(packets)
    }

    #[test]
    fn golden_login() {
        let request = LoginRequest::new("user", "secret", "S1", 42).unwrap();
        let mut bytes = Vec::new();
        encode(kind::LOGIN, request.as_bytes(), &mut bytes).unwrap();
        assert_eq!(
            bytes,
            b"\0\x2FLuser  secret            S1                  42"
        );
        assert!(!format!("{request:?}").contains("secret"));
        let mut decoder = Decoder::new(64);
        decoder.feed(&bytes);
        let packet = decoder.next_packet().unwrap().unwrap();
        assert_eq!(packet.from_client(), Ok(FromClient::Login(&request)));
        let unknown = SoupError::Unknown { kind: b'L' };
        assert_eq!(packet.from_server(), Err(unknown));
    }

    #[test]
    fn golden_answers() {
        let accepted = LoginAccepted::new("S1", 7).unwrap();
        let mut bytes = Vec::new();
        encode(kind::LOGIN_ACCEPTED, accepted.as_bytes(), &mut bytes).unwrap();
        assert_eq!(bytes, b"\0\x1FA        S1                   7");
        encode(
            kind::LOGIN_REJECTED,
            &[rejected::NOT_AUTHORISED],
            &mut bytes,
        )
        .unwrap();
        encode(kind::SERVER_HEARTBEAT, &[], &mut bytes).unwrap();
        encode(kind::END_OF_SESSION, &[], &mut bytes).unwrap();
        encode(kind::SEQUENCED, b"abc", &mut bytes).unwrap();
        assert_eq!(bytes[33..], *b"\0\x02JA\0\x01H\0\x01Z\0\x04Sabc");
        let packets = decode(&[&bytes], 64).unwrap();
        let read: Vec<_> = packets
            .iter()
            .map(|(kind, payload)| {
                Packet {
                    kind: *kind,
                    payload,
                }
                .from_server()
                .unwrap()
            })
            .collect();
        let expected = [
            FromServer::LoginAccepted(&accepted),
            FromServer::LoginRejected(rejected::NOT_AUTHORISED),
            FromServer::Heartbeat,
            FromServer::EndOfSession,
            FromServer::Sequenced(b"abc"),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn wrong_packets_are_named() {
        assert_eq!(decode(&[b"\0\0"], 64), Err(SoupError::Empty));
        let long = SoupError::TooLong { found: 65, max: 64 };
        assert_eq!(decode(&[b"\0\x42"], 64), Err(long));
        let heartbeat = Packet {
            kind: b'R',
            payload: b"x",
        };
        let length = SoupError::Length {
            kind: b'R',
            expected: 0,
            found: 1,
        };
        assert_eq!(heartbeat.from_client(), Err(length));
        let login = Packet {
            kind: b'L',
            payload: b"short",
        };
        let length = SoupError::Length {
            kind: b'L',
            expected: 46,
            found: 5,
        };
        assert_eq!(login.from_client(), Err(length));
        assert!(encode(kind::SEQUENCED, &vec![0; PAYLOAD_MAX + 1], &mut Vec::new()).is_err());
    }

    #[test]
    fn the_same_packets_at_every_split() {
        let mut bytes = Vec::new();
        let sent = [
            (b'L', &[9; 46][..]),
            (b'R', b""),
            (b'U', b"abc"),
            (b'O', b""),
        ];
        for (kind, payload) in sent {
            encode(kind, payload, &mut bytes).unwrap();
        }
        let expected: Vec<_> = sent.map(|(kind, payload)| (kind, payload.to_vec())).into();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    decode(&pieces, 46).unwrap(),
                    expected,
                    "split at {first}, {second}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn streams_read_back(packets in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..40), step in 1_usize..200) {
            let mut bytes = Vec::new();
            for (kind, payload) in &packets {
                encode(*kind, payload, &mut bytes).unwrap();
            }
            let pieces: Vec<_> = bytes.chunks(step).collect();
            prop_assert_eq!(decode(&pieces, 40).unwrap(), packets);
        }

        #[test]
        fn anything_is_read_or_refused(bytes in vec(0..6_u8, 0..300)) {
            let whole = decode(&[&bytes], 4);
            let pieces: Vec<_> = bytes.chunks(1).collect();
            prop_assert_eq!(decode(&pieces, 4), whole.clone());
            for (kind, payload) in whole.iter().flatten() {
                let packet = Packet { kind: *kind, payload };
                let _ = (packet.from_server(), packet.from_client());
            }
        }
    }
}
