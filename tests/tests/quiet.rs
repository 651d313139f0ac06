//! On a quiet market a kill switch and a deposit take effect in under 10 ms (RULES 5).

mod stand;

use ring0_trader::{Locate, Order, Outcome, Price, Reason, Shares};
use ring0d::Verb;
use stand::Stand;
use std::time::{Duration, Instant};

/// Tries; the median counts, since the machine may be busy with other tests.
const TRIES: u32 = 9;

/// What an operator may wait.
const SOON: Duration = Duration::from_millis(10);

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn deposit_and_kill_act_at_once_without_traffic() {
    let mut stand = Stand::up();
    let mut client = stand.client();
    let mut deposits = Vec::new();
    for _ in 0..TRIES {
        std::thread::sleep(Duration::from_millis(60)); // quiet for longer than the daemon's tick
        let begun = Instant::now();
        let verb = Verb::Deposit {
            account: "dave".into(),
            asset: "USD".into(),
            amount: "0.25".into(),
        };
        client.call(&verb).unwrap();
        let balance = stand.balance("dave", "USD", "available");
        deposits.push(begun.elapsed());
        let cents = 25_000_050 + 25 * deposits.len();
        assert_eq!(
            balance,
            format!("{}.{:02}", cents / 100, cents % 100)
                .trim_end_matches('0')
                .trim_end_matches('.')
        );
    }

    // More orders than one step cancels, and than one run of steps: the daemon must ring again by itself.
    let mut trader = stand.trader("alice-1");
    let orders: Vec<Order> = (0..400)
        .map(|at| Order::buy(Locate(1), Shares(1), Price((40_000 + at) * 10_000)))
        .collect();
    let mut kills = Vec::new();
    for _ in 0..TRIES {
        let acks = trader.submit(&orders).unwrap();
        assert!(
            acks.iter().all(|ack| ack.outcome == Outcome::Accepted),
            "{acks:?}"
        );
        std::thread::sleep(Duration::from_millis(60));
        let begun = Instant::now();
        let verb = Verb::Kill {
            session: "alice-1".into(),
        };
        let answer = client.call(&verb).unwrap();
        assert_eq!(answer["outcome"], "continues");
        // The kill itself acts with the answer; the last order is gone some steps later.
        let status = Verb::Status { hash: false };
        while client.call(&status).unwrap()["orders_live"] != 0 {
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
        kills.push(begun.elapsed());
        let acks = trader.submit(&orders[..1]).unwrap();
        assert_eq!(acks[0].reason(), Some(Reason::SessionKilled));
        let verb = Verb::Revive {
            session: "alice-1".into(),
        };
        client.call(&verb).unwrap();
    }
    assert_eq!(stand.balance("alice", "USD", "held"), "0");
    let (deposit, kill) = (median(deposits), median(kills));
    println!(
        "deposit seen after {deposit:?}, 400 orders killed after {kill:?} (medians of {TRIES})"
    );
    assert!(
        deposit < SOON && kill < SOON,
        "deposit {deposit:?}, kill {kill:?}"
    );
    stand.unload();
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let stand = Stand::up();
    let mut client = stand.client();
    let mut refused = |verb: Verb, expected: &str| {
        let error = client.call(&verb).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    };
    let amount = |account: &str, asset: &str, amount: &str| {
        (account.to_owned(), asset.to_owned(), amount.to_owned())
    };
    for ((account, asset, amount), expected) in [
        (
            amount("mallory", "USD", "1"),
            "no account \"mallory\"; name one of: alice",
        ),
        (
            amount("alice", "EUR", "1"),
            "no asset \"EUR\"; name one of: USD",
        ),
        (amount("alice", "USD", "x"), "write it as 12 or 12.5"),
        (
            amount("alice", "USD", "0.0000001"),
            "more than 6 decimal places",
        ),
        (amount("alice", "USD", "0"), "BadAmount"),
        (amount("alice", "USD", "999999999999"), "Funds"),
    ] {
        refused(
            Verb::Withdraw {
                account,
                asset,
                amount,
            },
            expected,
        );
    }
    refused(
        Verb::Kill {
            session: "nobody".into(),
        },
        "no session",
    );
    refused(
        Verb::Halt {
            instrument: Some("X".into()),
        },
        "no instrument",
    );
    // A second daemon, and a second recorder, of the same shard are refused.
    let second = stand.daemon_command().arg("--socket=/tmp/never").output();
    assert!(!second.unwrap().status.success());
    let elsewhere = stand.recording().with_extension("second");
    let ran = ring0_tests::ring0(&[
        "record",
        "--pin-root",
        &stand.pin_root.display().to_string(),
        "--out",
        &elsewhere.display().to_string(),
    ]);
    assert!(
        ran.status == 1 && ran.err.contains("another recorder"),
        "{ran:?}"
    );
    // Halt and resume.
    let mut trader = stand.trader("bob-1");
    let order = Order::buy(Locate(2), Shares(1), Price(30_000 * 1000));
    let halt = |instrument: Option<&str>| Verb::Halt {
        instrument: instrument.map(str::to_owned),
    };
    client.call(&halt(Some("ETH-USD"))).unwrap();
    let acks = trader.submit(&[order]).unwrap();
    assert_eq!(acks[0].reason(), Some(Reason::InstrumentHalted));
    client
        .call(&Verb::Resume {
            instrument: Some("ETH-USD".into()),
        })
        .unwrap();
    assert_eq!(
        trader.submit(&[order]).unwrap()[0].outcome,
        Outcome::Accepted
    );
    client.call(&halt(None)).unwrap();
    assert!(matches!(
        trader.submit(&[order]),
        Err(ring0_trader::TraderError::Halted { .. })
    ));
    client.call(&Verb::Resume { instrument: None }).unwrap();
    trader.adopt().unwrap();
    assert_eq!(
        trader.submit(&[order]).unwrap()[0].outcome,
        Outcome::Accepted
    );
}
