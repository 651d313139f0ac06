//! Clients of the answers: each has its own stream whole, however often it comes back, and nobody has another's.

mod market;

use market::{Market, Random, seed};
use ring0_engine::flow::Profile;
use ring0_feed::{
    AnswerClient, AnswerOptions, AnswerServer, AnswerSink, Answers, FIRST_SESSION, Password,
    drop_copy, password_of,
};
use ring0_itch::mold::Session;
use ring0_itch::soup::{Decoder, FromServer, LoginRequest, encode, kind};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes as _;

/// What each stream must be.
#[derive(Default)]
struct Expected {
    ids: HashMap<u32, Session>,
    streams: BTreeMap<Session, Vec<Vec<u8>>>,
}

impl AnswerSink for Expected {
    fn granted(&mut self, session: u32, _: u32, id: Session) {
        self.ids.insert(session, id);
    }

    fn answer(&mut self, session: Option<u32>, account: u32, answer: &[u8]) {
        let own = session.map(|session| self.ids[&session]);
        for name in own.into_iter().chain([drop_copy(account)]) {
            self.streams.entry(name).or_default().push(answer.to_vec());
        }
    }
}

/// Anyone's password here follows from the stream's name.
fn password(name: Session) -> Password {
    let mut key = [7; 16];
    key[..10].copy_from_slice(&name.0);
    password_of(&key, "test")
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
    let server = AnswerServer::start(
        Answers::new(FIRST_SESSION),
        AnswerOptions {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            password: Box::new(|name| (name.0 != *b"NOBODYS000").then(|| password(name))),
            clients_max: 16,
            stream_bytes: 64 << 20,
            patience: Duration::from_secs(2),
        },
    )
    .unwrap();
    let tap = server.tap();
    let mut market = Market::new(seed, Profile::Mixed);
    let (mut answers, mut expected) = (Answers::new(FIRST_SESSION), Expected::default());
    let mut feed = |market: &Market, expected: &mut Expected| {
        answers.feed(&market.records, expected).unwrap();
        tap.send(market.records.clone()).unwrap();
    };
    feed(&market, &mut expected);
    // A client that listens from before the first order.
    let early = expected.ids[&0];
    let mut live = Client::login(server.address(), early, password(early), 1);
    assert_eq!(live.accepted(), 1);
    for _ in 0..2_000 {
        market.step();
        feed(&market, &mut expected);
    }
    for (number, message) in expected.streams[&early].iter().enumerate() {
        assert_eq!(&live.answer(), message, "answer {}", number + 1);
    }
    drop(live);

    // Every stream, each by a client that goes and comes back some times.
    let end = Instant::now() + Duration::from_secs(20);
    for (name, messages) in &expected.streams {
        while server.next(*name) <= messages.len() as u64 {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut at = 0;
        while at < messages.len() {
            let mut client = Client::login(server.address(), *name, password(*name), at as u64 + 1);
            assert_eq!(client.accepted(), at as u64 + 1);
            let more = 1 + random.below(messages.len() as u64) as usize;
            for message in messages.iter().skip(at).take(more) {
                assert_eq!(&client.answer(), message);
                at += 1;
            }
        }
        let mut newest = Client::login(server.address(), *name, password(*name), 0);
        assert_eq!(newest.accepted(), messages.len() as u64 + 1);
    }

    // The client of this crate, of everything at once.
    let (name, messages) = expected
        .streams
        .iter()
        .max_by_key(|(_, it)| it.len())
        .unwrap();
    let mut client = AnswerClient::login(server.address(), *name, password(*name), 1).unwrap();
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
    let others = expected.ids[&1];
    assert_ne!(password(early), password(others));
    for (name, password) in [
        (early, password(others)),
        (early, Password::BLANK),
        (Session::new("NOBODYS000").unwrap(), Password::BLANK),
    ] {
        let mut client = Client::login(server.address(), name, password, 1);
        assert_eq!(client.refusal(), b'A');
    }
    assert_eq!(server.counts().1, 3, "rejected");
}

#[test]
fn who_takes_nothing_is_cut_off_and_old_answers_go() {
    let server = AnswerServer::start(
        Answers::new(FIRST_SESSION),
        AnswerOptions {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            password: Box::new(|name| Some(password(name))),
            clients_max: 4,
            stream_bytes: 20_000,
            patience: Duration::from_millis(300),
        },
    )
    .unwrap();
    let tap = server.tap();
    let mut market = Market::new(5, Profile::Calm);
    let mut expected = Expected::default();
    let mut answers = Answers::new(FIRST_SESSION);
    for _ in 0..3_000 {
        answers.feed(&market.records, &mut expected).unwrap();
        tap.send(market.records.clone()).unwrap();
        market.step();
    }
    let (name, messages) = expected
        .streams
        .iter()
        .max_by_key(|(_, it)| it.len())
        .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while server.next(*name) <= messages.len() as u64 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    // The oldest are gone: the login says where it begins.
    let mut client = Client::login(server.address(), *name, password(*name), 1);
    let first = client.accepted();
    assert!(first > 1 && first < messages.len() as u64);
    assert_eq!(client.answer(), messages[first as usize - 1]);
    drop(client);
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.write_all(b"\0\x01R").unwrap();
    while server.counts().0 == 0 {
        assert!(Instant::now() < end, "{:?}", server.counts());
        std::thread::sleep(Duration::from_millis(5));
    }
}
