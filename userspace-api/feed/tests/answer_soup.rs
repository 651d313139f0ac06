//! Clients of the answers over SoupBinTCP: each has its own stream whole, however often it comes back, and nobody has another's.

mod answering;
mod market;

use answering::{NOBODYS, Venue, access, options};
use market::{Market, Random, seed};
use ring0_engine::flow::Profile;
use ring0_feed::{Password, SoupAnswerClient, SoupAnswerError};
use ring0_itch::Text;
use ring0_itch::mold::Session;
use ring0_itch::soup::{Decoder, FromServer, LoginRequest, encode, kind};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes as _;

fn password(name: Session) -> Password {
    access(name).password
}

struct Client {
    stream: TcpStream,
    decoder: Decoder,
}

impl Client {
    fn login(server: SocketAddr, name: Session, password: Password, sequence: u64) -> Client {
        let mut stream = TcpStream::connect(server).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let login = LoginRequest::new("", password.as_str(), name.as_str(), sequence).unwrap();
        let mut bytes = Vec::new();
        encode(kind::LOGIN, login.as_bytes(), &mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        Client {
            stream,
            decoder: Decoder::new(4096),
        }
    }

    /// The next packet but heartbeats, by `read`.
    fn next<T>(&mut self, read: impl Fn(FromServer<'_>) -> T) -> T {
        loop {
            if let Some(packet) = self.decoder.next_packet().unwrap() {
                match packet.from_server().unwrap() {
                    FromServer::Heartbeat => continue,
                    packet => return read(packet),
                }
            }
            let read = self.stream.read(self.decoder.room()).unwrap();
            assert_ne!(read, 0, "closed");
            self.decoder.received(read);
        }
    }

    fn accepted(&mut self) -> u64 {
        self.next(|packet| match packet {
            FromServer::LoginAccepted(it) => it.sequence.get().unwrap(),
            other => panic!("{other:?}"),
        })
    }

    fn answer(&mut self) -> Vec<u8> {
        self.next(|packet| match packet {
            FromServer::Sequenced(it) => it.to_vec(),
            other => panic!("{other:?}"),
        })
    }

    fn refusal(&mut self) -> u8 {
        self.next(|packet| match packet {
            FromServer::LoginRejected(code) => code,
            other => panic!("{other:?}"),
        })
    }
}

#[test]
fn every_client_has_its_stream_whole() {
    let seed = seed();
    let mut random = Random(seed);
    let mut venue = Venue::new(Market::new(seed, Profile::Mixed), options());
    let address = venue.server().soup().unwrap();
    // A client that listens from before the first order.
    let early = venue.expected.ids[&0];
    let mut live = Client::login(address, early, password(early), 1);
    assert_eq!(live.accepted(), 1);
    venue.steps(2_000);
    for (number, message) in venue.expected.streams[&early].iter().enumerate() {
        assert_eq!(&live.answer(), message, "answer {}", number + 1);
    }
    drop(live);

    // Every stream, each by a client that goes and comes back some times.
    venue.settle();
    for (name, messages) in &venue.expected.streams {
        let mut at = 0;
        while at < messages.len() {
            let mut client = Client::login(address, *name, password(*name), at as u64 + 1);
            assert_eq!(client.accepted(), at as u64 + 1);
            let more = 1 + random.below(messages.len() as u64) as usize;
            for message in messages.iter().skip(at).take(more) {
                assert_eq!(&client.answer(), message);
                at += 1;
            }
        }
        let mut newest = Client::login(address, *name, password(*name), 0);
        assert_eq!(newest.accepted(), messages.len() as u64 + 1);
    }

    // The client of this crate, of everything at once.
    let (name, messages) = venue.longest();
    let mut client = SoupAnswerClient::login(address, name, password(name), 1).unwrap();
    let mut at = 0;
    while at < messages.len() {
        client
            .poll(&mut |number, answer| {
                assert_eq!(number, at as u64 + 1);
                assert_eq!(answer, messages[at]);
                at += 1;
            })
            .unwrap();
    }

    // Another's password, no password, a stream that nobody may read.
    let others = venue.expected.ids[&1];
    assert_ne!(password(early), password(others));
    for (name, password) in [
        (early, password(others)),
        (early, Password::BLANK),
        (Text(*NOBODYS), Password::BLANK),
    ] {
        let mut client = Client::login(address, name, password, 1);
        assert_eq!(client.refusal(), b'A');
    }
    let rejected = &venue.server().counters().logins_rejected;
    assert_eq!(rejected.load(Ordering::Relaxed), 3);

    // A session granted anew: its old stream ends behind its last message.
    let old = venue.grant_anew(0);
    let messages = &venue.expected.streams[&old];
    let mut client = SoupAnswerClient::login(address, old, password(old), 1).unwrap();
    let (mut at, end) = (0, Instant::now() + Duration::from_secs(20));
    let ended = loop {
        let polled = client.poll(&mut |_, answer| {
            assert_eq!(answer, messages[at]);
            at += 1;
        });
        match polled {
            Ok(()) => assert!(Instant::now() < end, "at {at} of {}", messages.len()),
            Err(error) => break error,
        }
    };
    let last = messages.len() as u64;
    assert!(
        matches!(ended, SoupAnswerError::Ended { last: it } if it == last),
        "{ended}"
    );
    assert_eq!(at as u64, last);
}

#[test]
fn who_takes_nothing_is_cut_off_and_old_answers_go() {
    let mut options = options();
    (options.stream_bytes, options.patience) = (20_000, Duration::from_millis(300));
    let mut venue = Venue::new(Market::new(5, Profile::Calm), options);
    let address = venue.server().soup().unwrap();
    venue.steps(3_000);
    venue.settle();
    // The oldest are gone: the login says where it begins.
    let (name, messages) = venue.longest();
    let mut client = Client::login(address, name, password(name), 1);
    let first = client.accepted();
    assert!(first > 1 && first < messages.len() as u64);
    assert_eq!(client.answer(), messages[first as usize - 1]);
    drop(client);
    let mut silent = TcpStream::connect(address).unwrap();
    silent.write_all(b"\0\x01R").unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let cut_off = &venue.server().counters().clients_cut_off;
    while cut_off.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
}
