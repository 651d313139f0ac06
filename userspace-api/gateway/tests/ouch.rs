//! OUCH 5.0 over SoupBinTCP, against a real shard: orders in, answers from the record, the same after a reconnection and a restart.

mod stand;

use ring0_itch::Text;
use ring0_itch::ouch::{
    AccountQuery, Appendage, AppendageBuilder, Cancel, ClOrdId, Enter, Inbound, Modify, Outbound,
    Replace, display, option, reject_reason, time_in_force,
};
use ring0_itch::soup::{Decoder, FromServer, LoginRequest, encode, kind, rejected};
use ring0_itch::zerocopy::IntoBytes;
use serde_json::json;
use stand::{PATIENCE, Stand, limit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Prices of OUCH have four decimals.
const DOLLAR: u64 = 10_000;

enum Got {
    Answer(Vec<u8>),
    Debug(String),
    Rejected(u8),
    Accepted(u64),
    Unsequenced(Vec<u8>),
    End,
}

struct Client {
    stream: TcpStream,
    decoder: Decoder,
    heartbeats: u32,
}

impl Client {
    fn connect(stand: &Stand) -> Client {
        let stream = TcpStream::connect(stand.ouch).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            decoder: Decoder::new(1 << 12),
            heartbeats: 0,
        }
    }

    fn frame(&mut self, of: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode(of, payload, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn login(stand: &Stand, from: u64) -> (Client, u64) {
        let session = stand.market.session("ops-1").unwrap();
        let password = ring0_gateway::ouch_password(session).unwrap();
        let id = session.id().to_string();
        let mut client = Client::connect(stand);
        let login = LoginRequest::new(&id[4..], password.as_str(), "", from).unwrap();
        client.frame(kind::LOGIN, login.as_bytes());
        match client.next() {
            Got::Accepted(next) => (client, next),
            _ => panic!("not logged in: {}", stand.log_text()),
        }
    }

    fn next(&mut self) -> Got {
        loop {
            if let Some(packet) = self.decoder.next_packet().unwrap() {
                match packet.from_server().unwrap() {
                    FromServer::Heartbeat => self.heartbeats += 1,
                    FromServer::Sequenced(message) => return Got::Answer(message.to_vec()),
                    FromServer::Debug(text) => {
                        return Got::Debug(String::from_utf8(text.to_vec()).unwrap());
                    }
                    FromServer::LoginRejected(code) => return Got::Rejected(code),
                    FromServer::LoginAccepted(it) => {
                        return Got::Accepted(it.sequence.get().unwrap());
                    }
                    FromServer::Unsequenced(message) => return Got::Unsequenced(message.to_vec()),
                    FromServer::EndOfSession => return Got::End,
                }
                continue;
            }
            let room = self.decoder.room();
            let bytes = self.stream.read(room).unwrap();
            if bytes == 0 {
                return Got::End;
            }
            self.decoder.received(bytes);
        }
    }

    fn answer(&mut self) -> Vec<u8> {
        match self.next() {
            Got::Answer(answer) => answer,
            Got::Debug(text) => panic!("{text}"),
            _ => panic!("no answer"),
        }
    }

    /// The next answer with this letter.
    fn until(&mut self, letter: u8) -> Vec<u8> {
        loop {
            let answer = self.answer();
            if answer[0] == letter {
                return answer;
            }
        }
    }

    fn send<'a>(&mut self, message: impl Into<Inbound<'a>>) {
        let mut bytes = Vec::new();
        message.into().write(&mut bytes);
        self.frame(kind::UNSEQUENCED, &bytes);
    }
}

fn enter(number: u32, side: u8, shares: u32, dollars: u64) -> Enter {
    Enter {
        letter: b'O',
        user_ref: number.into(),
        side,
        quantity: shares.into(),
        symbol: Text::new("BTC-USD").unwrap(),
        price: (dollars * DOLLAR).into(),
        time_in_force: time_in_force::DAY,
        display: display::VISIBLE,
        capacity: b'P',
        intermarket_sweep: b'N',
        cross_type: b'N',
        client_order_id: ClOrdId::BLANK,
    }
}

const NONE: Appendage<'static> = Appendage::EMPTY;

#[test]
fn orders_go_in_and_answers_come_from_the_record() {
    let mut stand = Stand::over_udp();
    let (mut client, next) = Client::login(&stand, 1);
    assert_eq!(next, 1);
    let mut seen = vec![client.answer()];
    assert_eq!(seen[0][0], b'S', "the session's day began");

    client.send((&enter(10, b'B', 1_000, 50_000), NONE));
    let accepted = client.until(b'A');
    let Outbound::Accepted(it, _) = Outbound::read(&accepted).unwrap() else {
        panic!("not accepted");
    };
    assert_eq!((it.user_ref.get(), it.quantity.get()), (10, 1_000));
    let update = client.until(b'T'); // its place in the public feed

    // Somebody else sells into it: the fill is in OUCH, REST and the feed.
    let mut trader = stand.trader("carol-1");
    trader.submit(&[limit(false, 400, 50_000)]).unwrap();
    let executed = client.until(b'E');
    let Outbound::Executed(it, _) = Outbound::read(&executed).unwrap() else {
        panic!("not executed");
    };
    assert_eq!((it.user_ref.get(), it.quantity.get()), (10, 400));
    let trades = stand.get("/v1/instruments/BTC-USD/trades");
    assert_eq!(trades["trades"][0]["id"], it.match_number.get());
    assert_eq!(trades["trades"][0]["quantity"], "0.04");
    seen.extend([accepted, update, executed]);

    // To 700 in all: 400 are executed, 300 stay open. Then new terms, 400 executed of 500: 100 stay.
    client.send((
        &Cancel {
            letter: b'X',
            user_ref: 10.into(),
            quantity: 700.into(),
        },
        NONE,
    ));
    let canceled = client.until(b'C');
    let Outbound::Canceled(it, _) = Outbound::read(&canceled).unwrap() else {
        panic!("not cancelled");
    };
    assert_eq!((it.user_ref.get(), it.decrement.get()), (10, 300));
    let replace = |quantity: u32| Replace {
        letter: b'U',
        original_user_ref: 10.into(),
        user_ref: 11.into(),
        quantity: quantity.into(),
        price: (49_000 * DOLLAR).into(),
        time_in_force: time_in_force::DAY,
        display: display::VISIBLE,
        intermarket_sweep: b'N',
        client_order_id: ClOrdId::BLANK,
    };
    client.send((&replace(500), NONE));
    let replaced = client.until(b'U');
    let Outbound::Replaced(it, _) = Outbound::read(&replaced).unwrap() else {
        panic!("not replaced");
    };
    assert_eq!((it.user_ref.get(), it.quantity.get()), (11, 100));
    let update = client.until(b'T');
    seen.extend([canceled, replaced, update]);
    // A retransmission is nothing.
    client.send((&replace(500), NONE));
    client.send((&enter(11, b'B', 1, 1), NONE));
    // Fewer shares under the same side: 450 in all, of which 400 were executed before.
    client.send((
        &Modify {
            letter: b'M',
            user_ref: 11.into(),
            side: b'B',
            quantity: 450.into(),
        },
        NONE,
    ));
    let canceled = client.until(b'C');
    let Outbound::Canceled(it, _) = Outbound::read(&canceled).unwrap() else {
        panic!("not cancelled");
    };
    assert_eq!((it.user_ref.get(), it.decrement.get()), (11, 50));
    seen.push(canceled);
    client.send((
        &Cancel {
            letter: b'X',
            user_ref: 11.into(),
            quantity: 0.into(),
        },
        NONE,
    ));
    seen.push(client.until(b'C'));
    // Twice is once too often, and what never was is not there.
    client.send((
        &Cancel {
            letter: b'X',
            user_ref: 99.into(),
            quantity: 0.into(),
        },
        NONE,
    ));
    seen.push(client.until(b'I'));
    client.send((&AccountQuery { letter: b'Q' }, NONE));
    let Got::Unsequenced(answer) = client.next() else {
        panic!("no answer to a query");
    };
    let Outbound::AccountAnswer(it, _) = Outbound::read(&answer).unwrap() else {
        panic!("another answer");
    };
    assert_eq!(it.next_user_ref.get(), 12);

    // From the third on, after a reconnection; all again, after a crash of the gateway.
    client.frame(kind::LOGOUT, &[]);
    drop(client);
    let (mut client, next) = Client::login(&stand, 3);
    assert_eq!(next, 3);
    for expected in &seen[2..] {
        assert_eq!(&client.answer(), expected);
    }
    let (mut newer, next) = Client::login(&stand, 0);
    assert_eq!(next, seen.len() as u64 + 1, "only what is new");
    assert!(
        matches!(client.next(), Got::End),
        "the newest login has the session"
    );
    stand.kill_gateway();
    assert!(matches!(newer.next(), Got::End));
    stand.start_gateway();
    let (mut client, _) = Client::login(&stand, 1);
    for expected in &seen {
        assert_eq!(&client.answer(), expected);
    }
    // It goes on where it was.
    client.send((&enter(12, b'S', 100, 60_000), NONE));
    assert_eq!(client.until(b'A')[9..13], 12_u32.to_be_bytes());
    // The REST interface sees the order too, as one that did not come through it.
    let viewer = stand.ask("GET", "/v1/instruments/BTC-USD/book", None, None);
    assert_eq!(viewer.1["asks"], json!([["60000", "0.01"]]));
}

#[test]
fn what_cannot_be_carried_out_is_rejected_by_reason_and_recorded() {
    let stand = Stand::up();
    let (mut client, _) = Client::login(&stand, 0);
    let mut number = 0;
    let mut check =
        |client: &mut Client, change: &dyn Fn(&mut Enter), options: &[(u8, &[u8])], reason: u16| {
            number += 1;
            let mut message = enter(number, b'B', 100, 50_000);
            change(&mut message);
            let mut appendage = AppendageBuilder::new();
            for (tag, value) in options {
                appendage.push(*tag, *value).unwrap();
            }
            client.send((&message, appendage.get()));
            let answer = client.answer();
            let Outbound::Rejected(it, _) = Outbound::read(&answer).unwrap() else {
                panic!("number {number}: {answer:?}");
            };
            assert_eq!((it.user_ref.get(), it.reason.get()), (number, reason));
        };
    let client = &mut client;
    check(
        client,
        &|it| it.symbol = Text::new("NOSUCH").unwrap(),
        &[],
        reject_reason::SYMBOL,
    );
    check(client, &|it| it.side = b'T', &[], reject_reason::SIDE);
    check(
        client,
        &|it| it.quantity = 0.into(),
        &[],
        reject_reason::QUANTITY,
    );
    check(
        client,
        &|it| it.price = (50_000 * DOLLAR + 1).into(),
        &[],
        reject_reason::PRICE,
    );
    check(
        client,
        &|it| it.price = u64::MAX.into(),
        &[],
        reject_reason::PRICE,
    );
    check(
        client,
        &|it| it.time_in_force = time_in_force::AFTER_HOURS,
        &[],
        reject_reason::OTHER,
    );
    check(
        client,
        &|it| it.display = display::ATTRIBUTED,
        &[],
        reject_reason::OTHER,
    );
    check(
        client,
        &|it| it.cross_type = b'O',
        &[],
        reject_reason::OTHER,
    );
    check(
        client,
        &|it| it.intermarket_sweep = b'Y',
        &[],
        reject_reason::OTHER,
    );
    check(
        client,
        &|_| {},
        &[(option::ROUTE, b"ABCD")],
        reject_reason::OTHER,
    );
    check(
        client,
        &|_| {},
        &[(option::MAX_FLOOR, &200_u32.to_be_bytes())],
        reject_reason::QUANTITY,
    );
    let mut trader = stand.trader("carol-1");
    trader.submit(&[limit(false, 100, 49_000)]).unwrap();
    check(
        client,
        &|_| {},
        &[(option::POST_ONLY, b"P")],
        reject_reason::PRICE,
    );
    // And what can: hidden, in part displayed, with a minimum, for a time.
    let mut good = |client: &mut Client, change: &dyn Fn(&mut Enter), options: &[(u8, &[u8])]| {
        number += 1;
        let mut message = enter(number, b'B', 100, 40_000);
        change(&mut message);
        let mut appendage = AppendageBuilder::new();
        for (tag, value) in options {
            appendage.push(*tag, *value).unwrap();
        }
        client.send((&message, appendage.get()));
        let answer = client.until(b'A');
        assert_eq!(answer[9..13], number.to_be_bytes());
    };
    good(client, &|it| it.display = display::HIDDEN, &[]);
    good(
        client,
        &|_| {},
        &[(option::MAX_FLOOR, &10_u32.to_be_bytes())],
    );
    good(
        client,
        &|_| {},
        &[(option::POST_ONLY, b"P"), (option::FIRM, b"ABCD")],
    );
    good(client, &|_| {}, &[(option::PRICE_TYPE, b"R")]);
    good(client, &|it| it.time_in_force = time_in_force::IOC, &[]);
    // Bytes that are no message are said, and nothing else happens.
    client.frame(kind::UNSEQUENCED, b"?");
    loop {
        match client.next() {
            Got::Debug(text) => {
                assert!(text.contains("not taken"), "{text}");
                break;
            }
            Got::Answer(_) => {} // of the orders before
            _ => panic!("cut off"),
        }
    }
}

#[test]
fn logins_are_checked_and_silence_ends() {
    let stand = Stand::up();
    let session = stand.market.session("ops-1").unwrap();
    let id = session.id().to_string();
    let password = ring0_gateway::ouch_password(session).unwrap();
    let other = ring0_gateway::ouch_password(stand.market.session("ops-2").unwrap()).unwrap();
    let try_login = |user: &str, password: &str, name: &str| {
        let mut client = Client::connect(&stand);
        let login = LoginRequest::new(user, password, name, 0).unwrap();
        client.frame(kind::LOGIN, login.as_bytes());
        client.next()
    };
    for (user, word, name) in [
        (&id[4..], other.as_str(), ""),
        (&id[4..], "", ""),
        ("NOBODY", password.as_str(), ""),
        ("", password.as_str(), ""),
        (&id[4..], password.as_str(), "0000000000"),
    ] {
        let got = try_login(user, word, name);
        assert!(
            matches!(got, Got::Rejected(rejected::NOT_AUTHORISED)),
            "{user} {name}"
        );
    }
    assert!(matches!(
        try_login("", password.as_str(), &id),
        Got::Accepted(_)
    ));
    // An order before the login, and a stream that is none.
    let mut early = Client::connect(&stand);
    early.send((&enter(1, b'B', 1, 50_000), NONE));
    assert!(matches!(early.next(), Got::End));
    let mut strange = Client::connect(&stand);
    strange.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(matches!(strange.next(), Got::End));
    // One that says nothing is heard to be there, and then given up; one that beats stays.
    let (mut silent, _) = Client::login(&stand, 0);
    let begun = Instant::now();
    assert!(matches!(silent.next(), Got::End));
    assert!(
        begun.elapsed() >= Duration::from_secs(14),
        "{:?}",
        begun.elapsed()
    );
    assert!(silent.heartbeats >= 5, "{}", silent.heartbeats);
}
