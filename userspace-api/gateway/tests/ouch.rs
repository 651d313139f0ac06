//! OUCH 5.0 over SoupBinTCP, against a real shard: orders in, answers from the record, the same after a reconnection and a restart.

mod soup;
mod stand;

use ring0_itch::Text;
use ring0_itch::ouch::{
    AccountQuery, Appendage, AppendageBuilder, Cancel, ClOrdId, Enter, Modify, Outbound, Replace,
    display, option, reject_reason, time_in_force,
};
use ring0_itch::soup::{kind, rejected};
use serde_json::json;
use soup::{Client, DOLLAR, Got, enter};
use stand::{Stand, limit};
use std::io::Write;
use std::time::{Duration, Instant};

/// Logs in as the session of operations.
fn ops(stand: &Stand, from: u64) -> (Client, u64) {
    let session = stand.market.session("ops-1").unwrap();
    let password = ring0_gateway::ouch_password(session).unwrap();
    let id = session.id().to_string();
    Client::login(stand, &id[4..], password.as_str(), from)
}

const NONE: Appendage<'static> = Appendage::EMPTY;

#[test]
fn orders_go_in_and_answers_come_from_the_record() {
    let mut stand = Stand::over_udp();
    let (mut client, next) = ops(&stand, 1);
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
    let (mut client, next) = ops(&stand, 3);
    assert_eq!(next, 3);
    for expected in &seen[2..] {
        assert_eq!(&client.answer(), expected);
    }
    let (mut newer, next) = ops(&stand, 0);
    assert_eq!(next, seen.len() as u64 + 1, "only what is new");
    assert!(
        matches!(client.next(), Got::End),
        "the newest login has the session"
    );
    stand.kill_gateway();
    assert!(matches!(newer.next(), Got::End));
    stand.start_gateway();
    let (mut client, _) = ops(&stand, 1);
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
    let (mut client, _) = ops(&stand, 0);
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
        client.ask_in(user, password, name, 0);
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
    let (mut silent, _) = ops(&stand, 0);
    let begun = Instant::now();
    assert!(matches!(silent.next(), Got::End));
    assert!(
        begun.elapsed() >= Duration::from_secs(14),
        "{:?}",
        begun.elapsed()
    );
    assert!(silent.heartbeats >= 5, "{}", silent.heartbeats);
}
