//! A market's days by the operator's words: orders collected, an opening auction, continuous trading with stops, orders that end with
//! time, with their session, with the day, and one that outlives it. What was recorded replays to the same state.

mod stand;

use ring0_engine::control::{Bust, Control, ControlKind, Indicate};
use ring0_engine::native::Native;
use ring0_engine::record::{ControlRecord, Filled, Head, Kind, Outcome as Result, Removed};
use ring0_engine::reference::Reference;
use ring0_engine::replay::Replayer;
use ring0_trader::{
    Ack, Locate, Order, Outcome, Peg, Price, Reason, SelfTrade, Shares, Trader, UdpTransport,
};
use ring0d::Verb;
use serde_json::Value;
use stand::Stand;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zerocopy::{FromBytes, FromZeros};

const EXAMPLE: &str = include_str!("../../markets/example.toml");

/// BTC-USD begins before its opening, with bands; one session is watched, one account limited.
fn market() -> String {
    let market = EXAMPLE
        .replace(
            "notional_max = 5_000_000 # and 5,000,000 USD",
            "state = \"pre-open\"\ndynamic_ticks = 9_000\nfat_ticks = 9_000\npause_ticks = 30_000\nreference = 60_000",
        )
        .replace(
            "key_file = \"keys/ops-2.key\"",
            "key_file = \"keys/ops-2.key\"\ncancel_on_disconnect = 2\norders_max = 3",
        )
        .replace(
            "name = \"dave\"\nbalances",
            "name = \"dave\"\norders_max = 2\nself_trade = \"cancel-oldest\"\ntrade_group = 7\nnotional_max = { USD = 100_000 }\nbalances",
        );
    assert_eq!(market.matches("orders_max").count(), 2);
    market
}

fn price(dollars: u32) -> Price {
    Price(dollars * 10_000)
}

fn buy(shares: u32, dollars: u32) -> Order {
    Order::buy(Locate(1), Shares(shares), price(dollars))
}

fn sell(shares: u32, dollars: u32) -> Order {
    Order::sell(Locate(1), Shares(shares), price(dollars))
}

fn accepted(trader: &mut Trader<UdpTransport>, orders: &[Order]) -> Vec<Ack> {
    let acks = trader.submit(orders).unwrap();
    for ack in &acks {
        assert_eq!(ack.outcome, Outcome::Accepted, "{ack:?}");
    }
    acks
}

fn rejected(trader: &mut Trader<UdpTransport>, order: Order) -> Reason {
    let ack = trader.submit(&[order]).unwrap()[0];
    assert_eq!(ack.outcome, Outcome::Rejected, "{ack:?}");
    ack.reason().unwrap()
}

/// What the operator's command gave; it has to have done it.
fn done(stand: &Stand, words: &[&str]) -> Value {
    let ran = stand.ctl(words);
    assert_eq!(ran.status, 0, "{words:?}: {ran:?}");
    ran.json()
}

/// Why the operator's command did nothing: one line.
fn refused(stand: &Stand, words: &[&str], expected: &str) {
    let ran = stand.ctl(words);
    assert_eq!((ran.status, ran.err.lines().count()), (1, 1), "{ran:?}");
    assert!(ran.err.contains(expected), "{words:?}: {ran:?}");
}

fn btc(stand: &Stand, name: &str) -> Value {
    stand.status()["instruments"][0][name].clone()
}

/// Waits for what the daemon does by itself.
fn until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

/// The heads of records with their bytes.
fn records(bytes: &[u8]) -> Vec<(Head, &[u8])> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Ok((head, _)) = Head::read_from_prefix(rest) {
        let (record, after) = rest.split_at(usize::from(head.slots) * 64);
        records.push((head, record));
        rest = after;
    }
    records
}

/// Accepted control commands of a kind.
fn controls(bytes: &[u8], kind: ControlKind) -> Vec<Control> {
    let of_kind = records(bytes).into_iter().filter_map(|(head, record)| {
        let is_control = head.kind == Kind::Control as u16;
        let (record, _) = ControlRecord::read_from_prefix(record).ok()?;
        let counts = record.kind == kind as u32 && record.outcome != Result::Rejected as u8;
        let mut control = Control::new_zeroed();
        control.body = record.body;
        (is_control && counts).then_some(control)
    });
    of_kind.collect()
}

/// Orders removed for this reason.
fn removed(bytes: &[u8], removal: u8) -> Vec<Removed> {
    let removed = records(bytes).into_iter().filter_map(|(head, record)| {
        let (it, _) = Removed::read_from_prefix(record).ok()?;
        (head.kind == Kind::Removed as u16 && it.removal == removal).then_some(it)
    });
    removed.collect()
}

/// Seconds since midnight UTC, which is what venue time is here. Waits where the day is about to end.
fn second_of_day() -> u32 {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let second = (now.as_secs() % 86_400) as u32;
        if (1..86_300).contains(&second) {
            return second;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn two_days_of_a_market() {
    second_of_day();
    let mut stand = Stand::of(&market());
    // What the kernel says of its clock: at most 1 ms off, and somebody sets it right.
    let clock = stand.socket().with_file_name("clock");
    std::fs::write(&clock, "1000000 1000 1").unwrap();
    let file = clock.display().to_string();
    stand.start_daemon_with(&["--clock-error-ms", "1000", "--clock-file", &file]);
    stand.start_recorder();
    let [mut alice, mut bob, mut carol] =
        ["alice-1", "bob-1", "carol-1"].map(|name| stand.trader(name));
    let [mut dave, mut ops] = ["dave-1", "ops-2"].map(|name| stand.trader(name));

    // Before the opening orders are collected; what must trade at once is not.
    assert_eq!(btc(&stand, "state"), "pre-open");
    accepted(&mut bob, &[buy(10, 60_102), buy(5, 60_101)]);
    accepted(
        &mut alice,
        &[sell(8, 60_100), sell(4, 60_101).iceberg(Shares(1))],
    );
    let immediate = rejected(&mut carol, buy(1, 60_100).immediate());
    assert_eq!(immediate, Reason::NotInAuction);
    refused(&stand, &["state", "BTC-USD", "continuous"], "BookCrossed");
    refused(&stand, &["auction", "BTC-USD"], "BadState");

    // The call: what the auction would do is published, and then done.
    done(&stand, &["state", "BTC-USD", "opening-auction"]);
    let status = |stand: &Stand| stand.status()["next_sequence"].clone();
    let before = status(&stand);
    until("the auction is indicated", || status(&stand) != before);
    let auction = done(&stand, &["auction", "BTC-USD"]);
    assert_eq!(
        (&auction["price"], &auction["shares"], &auction["state"]),
        (&"60101".into(), &12.into(), &"continuous".into()),
        "{auction}"
    );
    assert_eq!(btc(&stand, "last"), 60_101 * 10_000);
    assert_eq!(btc(&stand, "bid"), 60_101 * 10_000);

    // Continuous: one trade sets a stop off, that one the next. Nobody sends a packet meanwhile: the daemon rings.
    let ladder: Vec<Order> = (60_105..=60_108).map(|dollars| sell(1, dollars)).collect();
    accepted(&mut alice, &ladder);
    let stops: Vec<Order> = (60_105..=60_107)
        .map(|dollars| buy(1, dollars + 1).stop(price(dollars)))
        .collect();
    accepted(&mut carol, &stops);
    assert_eq!(
        rejected(&mut carol, stops[0].stop(price(60_000))),
        Reason::WouldTrigger
    );
    accepted(&mut bob, &[buy(1, 60_105)]);
    until("the stops are done", || {
        btc(&stand, "last") == 60_108 * 10_000
    });

    // Pegs, hidden orders, minimum; self-trade prevention by the account, and by the order.
    accepted(&mut alice, &[sell(5, 60_110).hidden(), sell(5, 60_112)]);
    accepted(&mut carol, &[buy(3, 60_111).peg(Peg::Midpoint, 0)]);
    assert_eq!(
        rejected(&mut bob, buy(9, 60_111).at_least(Shares(6)).immediate()),
        Reason::NotFillable
    );
    let taken = accepted(&mut bob, &[buy(6, 60_112).at_least(Shares(6)).immediate()]);
    assert_eq!(taken[0].quantity, 6);
    accepted(&mut dave, &[sell(2, 60_111), buy(2, 60_111).immediate()]);
    accepted(&mut dave, &[sell(2, 60_111)]);
    let newest = buy(1, 60_111)
        .self_trade(SelfTrade::CancelNewest)
        .trade_group(7);
    accepted(&mut dave, &[newest]);
    let group = rejected(&mut carol, buy(1, 60_000).trade_group(7));
    assert_eq!(group, Reason::WrongTradeGroup);
    assert_eq!(
        rejected(&mut dave, buy(20_000, 60_000)),
        Reason::RiskNotional
    );
    accepted(&mut dave, &[sell(1, 60_160)]);
    assert_eq!(rejected(&mut dave, sell(1, 60_160)), Reason::RiskOrders);

    // An order until a second of the day, which the daemon's clock brings.
    let second = second_of_day() + 2;
    assert_eq!(rejected(&mut carol, buy(1, 50_000)), Reason::DynamicBand);
    accepted(&mut carol, &[buy(1, 52_000).good_till(second)]);
    let live = |stand: &Stand| stand.status()["orders_live"].as_u64().unwrap();
    let all = live(&stand);
    // Not by a clock that nobody sets right.
    std::fs::write(&clock, "1000000 1000 0").unwrap();
    let number = |stand: &Stand, name: &str| {
        let text = stand.try_call(&Verb::Metrics).unwrap()["text"]
            .as_str()
            .unwrap()
            .to_owned();
        let line = text.lines().find(|it| it.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    until("it is refused", || {
        number(&stand, "ring0_expiry_refused_total") >= 2
    });
    assert!(second_of_day() >= second);
    assert_eq!(
        live(&stand),
        all,
        "it expired by a clock that is not to be trusted"
    );
    assert_eq!(number(&stand, "ring0_clock_distrusted"), 1);
    let doubt = stand.status()["clock_doubt"].as_str().unwrap().to_owned();
    assert!(doubt.contains("nobody sets it right"), "{doubt}");
    let log = stand.daemon_log();
    assert_eq!(
        log.matches("the clock cannot be trusted").count(),
        1,
        "{log}"
    );
    std::fs::write(&clock, "1000000 1000 1").unwrap();
    let took = until("the order expires", || live(&stand) == all - 1);
    assert_eq!(number(&stand, "ring0_clock_distrusted"), 0);
    println!("expired {took:?} after it was told, at second {second}");

    // A session that falls silent: its orders go, others' stay. One that sends heartbeats keeps them.
    assert_eq!(rejected(&mut ops, buy(1, 20_000)), Reason::OffLadder);
    accepted(&mut ops, &[buy(1, 51_500), buy(1, 51_501)]);
    let all = live(&stand);
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        ops.heartbeat().unwrap();
        while ops.unanswered() != 0 {
            ops.poll(Duration::from_secs(1), &mut Vec::new()).unwrap();
        }
    }
    assert_eq!(live(&stand), all, "a session that says it is there");
    let took = until("the silent session's orders go", || live(&stand) == all - 2);
    assert!(took > Duration::from_secs(1), "{took:?}");
    accepted(&mut ops, &[buy(1, 51_500)]);

    // The day ends: a day order goes, one good till cancelled stays, through the night and a daemon's death.
    let kept = accepted(
        &mut bob,
        &[
            buy(7, 59_000).good_till_cancel().iceberg(Shares(2)),
            buy(3, 58_999),
        ],
    )[0];
    refused(&stand, &["open-day"], "NotClosed");
    let closed = done(&stand, &["close-day"]);
    assert_eq!((&closed["instruments"], live(&stand)), (&4.into(), 1));
    assert_eq!(rejected(&mut bob, buy(1, 59_000)), Reason::MarketClosed);
    let opened = done(&stand, &["open-day"]);
    assert_eq!(
        (&opened["day"], &opened["midnight_ns"]),
        (&1.into(), &0.into())
    );
    refused(&stand, &["open-day", "--day", "1"], "BadSetting");
    stand.kill_daemon();
    assert_eq!(stand.start_daemon()["adopted"], true);
    done(
        &stand,
        &[
            "bands",
            "BTC-USD",
            "--dynamic",
            "0",
            "--band",
            "50000",
            "70000",
        ],
    );
    done(&stand, &["state", "BTC-USD", "pre-open"]);
    done(&stand, &["resume", "BTC-USD"]);
    assert_eq!(rejected(&mut alice, sell(1, 49_999)), Reason::PriceBand);
    assert_eq!(
        accepted(&mut alice, &[sell(7, 59_000).immediate()])[0].quantity,
        7
    );
    assert_eq!(live(&stand), 0);

    // The last trade is taken back, once.
    stand.settle();
    let (bytes, _) = stand.recorded();
    let mut fills: Vec<Filled> = records(&bytes)
        .into_iter()
        .filter(|(head, _)| head.kind == Kind::Filled as u16)
        .map(|(_, record)| Filled::read_from_prefix(record).unwrap().0)
        .collect();
    let last = fills.pop().unwrap();
    assert_eq!(
        (last.maker, last.lots),
        (kept.venue_sequence, 1),
        "slices of 2, 2, 2, 1"
    );
    let number = last.head.sequence.to_string();
    let balance = || stand.balance("bob", "BTC", "available");
    let before = balance();
    let busted = done(&stand, &["bust", &number]);
    assert_eq!(busted["trade"]["buyer"], "bob", "{busted}");
    assert_ne!(balance(), before);
    refused(&stand, &["bust", &number], "taken back already");
    refused(&stand, &["bust", "1"], "is no trade");
    stand.settle();
    let recording = stand.recording().display().to_string();
    let again = ["bust", &number, "--records", &recording];
    refused(&stand, &again, "taken back already, in record");

    // What was recorded says all of this, and comes to the same state, natively and in the reference book.
    let hash = stand.client().call(&Verb::Status { hash: true }).unwrap()["state_hash"].clone();
    stand.settle();
    let (bytes, _) = stand.recorded();
    let indicated: Vec<Indicate> = controls(&bytes, ControlKind::Indicate)
        .iter()
        .map(Control::body)
        .collect();
    let [indicated] = indicated[..] else {
        panic!("published once, as it changed once: {indicated:?}");
    };
    assert_eq!(
        (indicated.price, indicated.volume, indicated.imbalance),
        (60_101, 12, 3)
    );
    assert_eq!(controls(&bytes, ControlKind::Expire).len(), 1);
    assert_eq!(controls(&bytes, ControlKind::Disconnect).len(), 1);
    let busts = controls(&bytes, ControlKind::Bust);
    assert_eq!(busts[0].body::<Bust>().trade, last.head.sequence);
    assert_eq!(removed(&bytes, b'E').len(), 1, "expired");
    assert_eq!(removed(&bytes, b'D').len(), 2, "disconnected");
    assert_eq!(removed(&bytes, b'T').len(), 2, "self-trade prevention");
    assert!(!removed(&bytes, b'Y').is_empty(), "the end of the day");
    let triggered = records(&bytes);
    let triggered = triggered
        .iter()
        .filter(|(head, _)| head.kind == Kind::Triggered as u16);
    assert_eq!(triggered.count(), 3);
    let capacity = stand.market.capacity();
    let mut native = Native::new(&capacity).unwrap();
    Replayer::new(&native, None)
        .feed(&bytes, &mut native)
        .unwrap();
    native.shard().check();
    assert_eq!(hash, native.shard().state_hash().to_string());
    let mut reference = Reference::new(capacity);
    Replayer::new(&reference, None)
        .feed(&bytes, &mut reference)
        .unwrap();
    assert_eq!(hash, reference.state_hash().to_string());
    stand.unload();
}

#[test]
fn instruments_and_accounts_in_the_operators_hands() {
    let mut stand = Stand::up();
    let mut alice = stand.trader("alice-1");
    let mut ops = stand.trader("ops-1");
    let live = |stand: &Stand| stand.status()["orders_live"].as_u64().unwrap();

    // More orders than one step takes away: the answer comes when all are gone.
    let many: Vec<Order> = (0..300).map(|at| buy(1, 40_000 + at)).collect();
    accepted(&mut alice, &many);
    accepted(&mut alice, &[sell(1, 90_000)]);
    assert_eq!(
        done(&stand, &["clear", "BTC-USD", "sell"])["orders_fewer"],
        1
    );
    let cleared = done(&stand, &["clear", "BTC-USD"]);
    assert_eq!((&cleared["outcome"], live(&stand)), (&"accepted".into(), 0));

    // An account: limits, and its kill switch over all its sessions.
    let limits = [
        "risk",
        "ops",
        "--shares",
        "50",
        "--notional",
        "USD",
        "200000",
    ];
    done(&stand, &limits);
    assert_eq!(rejected(&mut ops, buy(51, 60_000)), Reason::RiskShares);
    // A message rate: what one of its sessions has sent, the other one waits for.
    let too_small = ["risk", "ops", "--rate", "1", "68"];
    refused(&stand, &too_small, "give a burst of at least 69");
    done(&stand, &["risk", "ops", "--rate", "1", "69"]);
    let mut other = stand.trader("ops-2");
    let whole: Vec<Order> = (0..67).map(|at| buy(1, 40_000 + at)).collect();
    accepted(&mut ops, &whole); // two packets, 69 messages with their tag blocks
    accepted(&mut other, &[buy(1, 40_000)]);
    assert!(other.stats().refusals > 0, "{:?}", other.stats());
    assert_eq!(ops.stats().refusals, 0, "{:?}", ops.stats());
    done(&stand, &["risk", "ops"]);
    accepted(&mut ops, &[buy(51, 60_000)]);
    done(&stand, &["kill-account", "ops"]);
    until("its orders go", || live(&stand) == 0);
    assert_eq!(rejected(&mut other, buy(1, 60_000)), Reason::AccountKilled);
    let accounts = done(&stand, &["accounts"]);
    assert_eq!(accounts["accounts"][4]["killed"], true);
    done(&stand, &["revive-account", "ops"]);
    accepted(&mut other, &[buy(1, 60_000)]);
    let all = Order::mass_cancel(None).of_account();
    assert_ne!(ops.submit(&[all]).unwrap()[0].outcome, Outcome::Rejected);
    until("they all go", || live(&stand) == 0);
    done(&stand, &["self-trade", "ops", "cancel-both", "9"]);
    accepted(&mut ops, &[sell(1, 60_000)]);
    accepted(&mut other, &[buy(1, 60_000)]);
    assert_eq!(live(&stand), 0);

    // Bands and ladders move while nobody trades.
    refused(&stand, &["bands", "BTC-USD", "--fat", "10"], "BadState");
    refused(
        &stand,
        &["bands", "BTC-USD", "--fat", "10"],
        "BTC-USD is continuous",
    );
    accepted(&mut alice, &[buy(1, 30_000), buy(1, 60_000)]);
    done(&stand, &["halt", "BTC-USD"]);
    refused(
        &stand,
        &["bands", "BTC-USD", "--reference", "60000.5"],
        "multiples of 1",
    );
    done(
        &stand,
        &["bands", "BTC-USD", "--fat", "10", "--reference", "61000"],
    );
    let moved = done(&stand, &["move-ladder", "BTC-USD", "50000", "65536"]);
    assert_eq!((&moved["orders_fewer"], live(&stand)), (&1.into(), 1));
    refused(
        &stand,
        &["move-ladder", "BTC-USD", "50000", "200000"],
        "LadderFull",
    );
    done(&stand, &["resume", "BTC-USD"]);
    accepted(&mut alice, &[sell(1, 100_000)]);

    // Closed, it can be taken off and listed again, as the file says.
    done(&stand, &["state", "SOL-USD", "closed"]);
    refused(&stand, &["list", "SOL-USD"], "listed already");
    done(&stand, &["delist", "SOL-USD"]);
    assert_eq!(stand.status()["instruments"][2]["state"], "not listed");
    refused(&stand, &["halt", "SOL-USD"], "UnknownInstrument");
    done(&stand, &["list", "SOL-USD"]);
    assert_eq!(stand.status()["instruments"][2]["state"], "continuous");
    refused(&stand, &["list", "NEW-USD"], "lists no instrument");
    // A daemon that is started now finds what differs from the file, says it, and leaves it.
    stand.kill_daemon();
    assert_eq!(stand.start_daemon()["adopted"], true);
    let log = stand.daemon_log();
    assert!(
        log.contains("BTC-USD has another ladder or other bands"),
        "{log}"
    );
    assert!(log.contains("account ops has other limits"), "{log}");
    // One more instrument must leave the shard's memory as it is.
    let grown = EXAMPLE.replace(
        "[[account]]\nname = \"alice\"",
        "[[instrument]]\nsymbol = \"SOL-BTC\"\nbase = \"SOL\"\nquote = \"BTC\"\ntick_size = 1\nlot_size = 1\ntick_value = 1\nlot_value = 1\n\
         ladder_base = 1\nladder_len = 64\nlots_max = 100\n\n[[account]]\nname = \"alice\"",
    );
    std::fs::write(stand.market_file(), &grown).unwrap();
    refused(
        &stand,
        &["list", "SOL-BTC"],
        "write [shard.capacity] as it was made",
    );
    let capacity = stand.market.capacity();
    let whole = format!(
        "levels = {}\nladder = {}\ninstruments = {}\norders = 65_536",
        capacity.levels, capacity.ladder, capacity.instruments
    );
    std::fs::write(
        stand.market_file(),
        grown.replace("orders = 65_536", &whole),
    )
    .unwrap();
    assert_eq!(done(&stand, &["list", "SOL-BTC"])["locate"], 5);
    stand.kill_daemon();
    assert_eq!(stand.start_daemon()["adopted"], true);
    assert_eq!(stand.status()["instruments"][4]["state"], "continuous");
    stand.unload();
}

/// Each line of what applying a file did, and its exit status.
fn applied(stand: &Stand, file: &std::path::Path, dry_run: bool) -> (i32, Vec<Value>) {
    let file = file.display().to_string();
    let mut words = vec!["apply", &file];
    words.extend(dry_run.then_some("--dry-run"));
    let ran = stand.ctl(&words);
    let changes = ran.json()["changes"].as_array().unwrap().clone();
    (ran.status, changes)
}

#[test]
fn a_changed_file_is_applied_while_it_trades() {
    // What is listed may grow, not the shard.
    let roomy = "orders = 65_536\naccounts = 16\ninstruments = 8\nsessions = 16\nladder = 1_000_000\nanswers = 32_768\nreferences = 524_288";
    let first = EXAMPLE.replacen("orders = 65_536", roomy, 1);
    let mut stand = Stand::of(&first);
    stand.start_daemon();
    stand.start_recorder();
    let mut alice = stand.trader("alice-1");
    accepted(&mut alice, &[buy(1, 60_000)]);
    let file = stand.socket().with_file_name("market.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let controls = |stand: &Stand| {
        let text = stand.try_call(&Verb::Metrics).unwrap()["text"]
            .as_str()
            .unwrap()
            .to_owned();
        let line = text
            .lines()
            .find(|it| it.contains("controls_taken"))
            .unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };

    // As it is.
    assert_eq!(applied(&stand, &file, false), (0, Vec::new()));
    let before = controls(&stand);

    // What cannot be changed in place is told with the way that there is; then nothing is changed, not even what could be.
    let limited = first.replacen(
        "name = \"alice\"\n",
        "name = \"alice\"\norders_max = 1\n",
        1,
    );
    assert_ne!(limited, first);
    let with_fee = limited.replacen("taker_ppm = ", "taker_ppm = 1", 1);
    let with_band = limited.replacen("lots_max = ", "dynamic_ticks = 500\nlots_max = ", 1);
    let port = limited.replacen("port = 9000", "port = 9009", 1);
    for (text, what, way) in [
        (&with_fee, "taker_ppm", "ring0 ctl delist"),
        (&with_band, "dynamic_ticks", "ring0 ctl halt"),
        (&port, "shard.port", "fixed when the shard is made"),
    ] {
        write(text);
        let (status, changes) = applied(&stand, &file, false);
        assert_eq!(status, 3, "{changes:?}");
        let refused: Vec<&Value> = changes.iter().filter(|it| it["how"] == "refused").collect();
        assert_eq!(refused.len(), 1, "{changes:?}");
        assert!(
            refused[0]["what"].as_str().unwrap().contains(what),
            "{refused:?}"
        );
        assert!(
            refused[0]["why"].as_str().unwrap().contains(way),
            "{refused:?}"
        );
        assert!(
            changes.iter().any(|it| it["how"] == "to be done"),
            "{changes:?}"
        );
    }
    assert_eq!(controls(&stand), before, "something was sent");
    accepted(&mut alice, &[buy(1, 59_999)]);

    // Halted, bands can be set; a limit, an account, a session and an instrument come with them. First only looked at.
    let listing = first.split("[[instrument]]").nth(1).unwrap();
    let listing = listing.split("\n[[").next().unwrap();
    let symbol = listing
        .split("symbol = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let grown = format!(
        "{with_band}\n[[instrument]]{}\n[[account]]\nname = \"zoe\"\nbalances = {{ USD = 1_000 }}\n\n[[session]]\nname = \"zoe-1\"\naccount = \"zoe\"\nkey_file = \"keys/zoe-1.key\"\n",
        listing.replacen(symbol, "NEW-USD", 1)
    );
    write(&grown);
    ring0_market::keygen(&file, ring0_market::Existing::Keep).unwrap();
    done(&stand, &["halt", "BTC-USD"]);
    let (status, changes) = applied(&stand, &file, true);
    assert_eq!(status, 0, "{changes:?}");
    assert_eq!(changes.len(), 5, "{changes:?}");
    assert!(
        changes.iter().all(|it| it["how"] == "to be done"),
        "{changes:?}"
    );
    assert_eq!(controls(&stand), before + 1, "only the halt");
    let (status, changes) = applied(&stand, &file, false);
    assert_eq!(status, 0, "{changes:?}");
    assert!(
        changes.iter().all(|it| it["how"] == "sequenced"),
        "{changes:?}"
    );
    assert_eq!(
        controls(&stand),
        before + 1 + 6,
        "the account's deposit is one more"
    );
    assert_eq!(applied(&stand, &file, false), (0, Vec::new()));
    done(&stand, &["resume", "BTC-USD"]);

    // It holds: the limit, the session and its account, the instrument; and for a daemon that adopts.
    assert_eq!(rejected(&mut alice, buy(1, 59_998)), Reason::RiskOrders);
    stand.kill_daemon();
    stand.start_daemon();
    let log = stand.daemon_log();
    assert!(!log.contains("not as the file says"), "{log}");
    let status = stand.status();
    let names = |what: &str, key: &str| -> Vec<String> {
        let all = status[what].as_array().unwrap();
        all.iter()
            .map(|it| it[key].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(names("instruments", "symbol").contains(&"NEW-USD".to_owned()));
    assert!(names("sessions", "name").contains(&"zoe-1".to_owned()));
    let grown = ring0_market::Market::load(&file).unwrap();
    let mut zoe = stand.trader_of(grown.session("zoe-1").unwrap().clone());
    accepted(&mut zoe, &[Order::buy(Locate(5), Shares(1), price(60_000))]);
}
