//! The markets that come with the project load, the engine's rules accept them, and every kind of
//! mistake is told with file, key and what to do.

use proptest::prelude::*;
use ring0_engine::control::{Control, ControlKind, Deposit, Grant, List, SetRisk};
use ring0_engine::record::Outcome;
use ring0_engine::reference::Reference;
use ring0_market::{Existing, Market, MarketError, Plan, keygen};
use ring0_trader::{Locate, Order, Price, Shares, Trader, Transport};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../../markets/example.toml");
const LARGE: &str = include_str!("../../../markets/large.toml");

/// The market in a folder of its own, with keys.
fn with_keys(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("market.toml");
    fs::write(&path, text).unwrap();
    let report = keygen(&path, Existing::Keep).unwrap();
    assert!(report.iter().all(|one| one.made));
    (folder, path)
}

fn parse(text: &str) -> Result<Plan, MarketError> {
    Plan::parse(Path::new("markets/test.toml"), text)
}

#[test]
fn the_example_is_what_it_says() {
    let (_folder, path) = with_keys(EXAMPLE);
    let market = Market::load(&path).unwrap();
    let plan = &market.plan;
    assert_eq!((plan.instruments.len(), plan.sessions.len()), (4, 6));
    assert_eq!(plan.shard.port, 9000);
    let dave = &plan.accounts[3];
    assert_eq!(dave.balances[3], (0, 250_000_500_000)); // names ascend: BTC ETH SOL USD
    assert_eq!(dave.balances[1], (2, 50_000_000_000));
    assert_eq!(market.session("alice-1").unwrap().answers(), 1024);
    for (index, id) in (0..).zip(market.session_ids()) {
        assert_eq!(id.index(), Some(index));
    }
    let carol = market.controls().into_iter().rev().nth(3).unwrap();
    let carol: Grant = carol.body();
    assert_eq!((carol.interval_ns, carol.burst), (10_000, 1000));
    assert_eq!((carol.answers_log2, carol.references_log2), (8, 10));
    let controls = market.controls();
    let mut risks = controls
        .iter()
        .filter(|control| control.kind == ControlKind::SetRisk as u32);
    let ops: SetRisk = risks.next().unwrap().body();
    assert_eq!((ops.account, ops.interval_ns, ops.burst), (4, 2000, 5000));
    assert_eq!(
        (ops.orders_max, ops.shares_max, ops.notional_max),
        (0, 0, 0)
    );
    assert!(risks.next().is_none(), "the others have no limit");
}

#[test]
fn controls_come_in_order() {
    let (_folder, path) = with_keys(EXAMPLE);
    let controls = Market::load(&path).unwrap().controls();
    let order = [
        ControlKind::OpenAccount,
        ControlKind::SetRisk,
        ControlKind::SetLimit,
        ControlKind::Deposit,
        ControlKind::List,
        ControlKind::GrantSession,
    ];
    let place = |control: &Control| order.iter().position(|&kind| kind as u32 == control.kind);
    assert!(controls.iter().all(|control| place(control).is_some()));
    assert!(controls.is_sorted_by_key(place));
    let usd: u64 = controls
        .iter()
        .filter(|control| control.kind == ControlKind::Deposit as u32)
        .map(|control| control.body::<Deposit>())
        .filter(|deposit| deposit.asset == 0)
        .map(|deposit| deposit.amount)
        .sum();
    assert_eq!(usd, 1_300_250_000_500_000);
}

#[test]
fn the_reference_accepts_both_markets() {
    for text in [EXAMPLE, LARGE] {
        let (_folder, path) = with_keys(text);
        let market = Market::load(&path).unwrap();
        let mut venue = Reference::new(market.capacity());
        let done = venue.control(&market.controls(), 1);
        assert_eq!(done.len(), market.controls().len());
        for ((outcome, reason), control) in done.into_iter().zip(market.controls()) {
            assert_eq!(outcome, Outcome::Accepted, "{reason:?}: {control:?}");
        }
        venue.check();
    }
}

/// Bands are set while an instrument is closed or halted, and only then its state.
#[test]
fn the_reference_accepts_bands_in_every_state() {
    for (state, follows) in [
        ("closed", 0),
        ("halted", 0),
        ("pre-open", 1),
        ("continuous", 1),
    ] {
        let with = |keys: &str| format!("maker_ppm = -50\nstate = \"{state}\"\n{keys}");
        let text = EXAMPLE
            .replace(
                "maker_ppm = -50",
                &with("pause_ticks = 100\nreference = 60_000"),
            )
            .replace(
                "account = \"dave\"",
                "account = \"dave\"\nshares_max = 9\ncancel_on_disconnect = 5",
            )
            .replace(
                "name = \"dave\"\nbalances",
                "name = \"dave\"\nself_trade = \"decrement\"\norders_max = 5\nbalances",
            );
        let (_folder, path) = with_keys(&text);
        let market = Market::load(&path).unwrap();
        let controls = market.controls();
        let count = |kind: ControlKind| {
            controls
                .iter()
                .filter(|control| control.kind == kind as u32)
                .count()
        };
        assert_eq!(count(ControlKind::SetBands), 1);
        assert_eq!(count(ControlKind::SetState), follows, "{state}");
        assert_eq!(count(ControlKind::SetRisk), 2);
        assert_eq!(count(ControlKind::SetSelfTrade), 1);
        let dave: Grant = controls.iter().rev().nth(2).unwrap().body();
        assert_eq!((dave.shares_max, dave.cancel_on_disconnect), (9, 1));
        let mut venue = Reference::new(market.capacity());
        for ((outcome, reason), control) in venue.control(&controls, 1).into_iter().zip(&controls) {
            assert_eq!(outcome, Outcome::Accepted, "{reason:?}: {control:?}");
        }
        venue.check();
    }
}

#[test]
fn large_holds_a_million_orders_and_256_instruments() {
    let plan = parse(LARGE).unwrap();
    let capacity = plan.capacity();
    assert_eq!((capacity.orders, capacity.instruments), (1_000_000, 256));
    assert_eq!(plan.instruments[0].symbol, "SYM00001");
    assert_eq!(plan.instruments[255].symbol, "SYM00256");
}

#[test]
fn the_committed_files_are_those_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../markets");
    for name in ["example.toml", "large.toml"] {
        Plan::load(&root.join(name)).unwrap();
    }
}

/// A venue in the same thread: the reference book.
struct Direct {
    venue: Reference,
    answers: VecDeque<Vec<u8>>,
    origin: Instant,
}

impl Transport for Direct {
    fn now(&mut self) -> Duration {
        self.origin.elapsed()
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        let answer = self.venue.packet(packet, 1);
        self.answers.push_back(answer);
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8], _wait: Duration) -> io::Result<Option<usize>> {
        Ok(self.answers.pop_front().map(|answer| {
            into[..answer.len()].copy_from_slice(&answer);
            answer.len()
        }))
    }
}

#[test]
fn an_order_meets_another_in_the_example() {
    // The reference knows no keys, so the market runs without tags.
    let text = EXAMPLE.replace("port = 9000 ", "tag = false\nport = 9000 ");
    let (_folder, path) = with_keys(&text);
    let market = Market::load(&path).unwrap();
    let mut venue = Reference::new(market.capacity());
    venue.control(&market.controls(), 1);
    let mut way = Some(Direct {
        venue,
        answers: VecDeque::new(),
        origin: Instant::now(),
    });
    for (name, order, filled) in [
        (
            "alice-1",
            Order::sell(Locate(1), Shares(500), Price(600_000_000)),
            0,
        ),
        (
            "bob-1",
            Order::buy(Locate(1), Shares(200), Price(600_000_000)).immediate(),
            200,
        ),
    ] {
        let session = market.session(name).unwrap().clone();
        let mut trader = Trader::new(session, way.take().unwrap());
        assert_eq!(trader.adopt().unwrap().expected, 1);
        let acks = trader.submit(&[order]).unwrap();
        assert_eq!(acks[0].outcome, ring0_trader::Outcome::Accepted, "{acks:?}");
        assert_eq!(acks[0].quantity, filled);
        assert_eq!(trader.next_sequence(), 3);
        assert_eq!(trader.adopt().unwrap().expected, 3);
        way = Some(trader.into_transport());
    }
}

#[test]
fn keygen_keeps_what_is_there_unless_forced() {
    let (folder, path) = with_keys(EXAMPLE);
    let before = Market::load(&path).unwrap().session_ids();
    fs::remove_file(folder.path().join("keys/dave-1.key")).unwrap();
    let report = keygen(&path, Existing::Keep).unwrap();
    let made: Vec<&str> = report
        .iter()
        .filter(|one| one.made)
        .map(|one| one.session.as_str())
        .collect();
    assert_eq!(made, ["dave-1"]);
    let kept = Market::load(&path).unwrap().session_ids();
    assert_eq!(before[..3], kept[..3]);
    assert_ne!(before[3], kept[3]);
    assert!(
        keygen(&path, Existing::Replace)
            .unwrap()
            .iter()
            .all(|one| one.made)
    );
    let replaced = Market::load(&path).unwrap().session_ids();
    assert!(kept.iter().zip(&replaced).all(|(a, b)| a != b));
    let mode = |name: &str| {
        let about = fs::metadata(folder.path().join(name)).unwrap();
        about.permissions().mode() & 0o7777
    };
    assert_eq!((mode("keys"), mode("keys/ops-2.key")), (0o700, 0o600));
}

#[test]
fn wrong_key_files_are_told_with_the_session() {
    let (folder, path) = with_keys(EXAMPLE);
    let keys = folder.path().join("keys");
    let told = |want: &[&str]| {
        let text = Market::load(&path).unwrap_err().to_string();
        for part in want {
            assert!(text.contains(part), "{text}");
        }
    };
    fs::set_permissions(keys.join("bob-1.key"), fs::Permissions::from_mode(0o644)).unwrap();
    told(&["session[1].key_file", "chmod 600 '"]);
    fs::set_permissions(keys.join("bob-1.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(keys.join("bob-1.key"), keys.join("alice-1.key")).unwrap();
    told(&["session[0].key_file", "made for session number 1"]);
    fs::remove_file(keys.join("alice-1.key")).unwrap();
    told(&["session[0].key_file", "alice-1.key", "make it with keygen"]);
}

#[test]
fn every_mistake_is_told_with_its_key() {
    let mistakes = [
        ("port = 9000", "prot = 9000", "unknown field `prot`"),
        ("port = 9000", "port = 0", "shard.port: it is 0"),
        ("port = 9000", "port = 70000", "70000"),
        ("name = \"example\"", "name = \"an example\"", "shard.name"),
        (
            "ring_slots = 1_048_576",
            "ring_slots = 1_000_000",
            "shard.ring_slots",
        ),
        (
            "ring_slots = 1_048_576",
            "ring_slots = 64",
            "shard.ring_slots",
        ),
        (
            "orders = 65_536",
            "instruments = 3",
            "shard.capacity.instruments",
        ),
        ("orders = 65_536", "buckets = 100", "shard.capacity.buckets"),
        (
            "orders = 65_536",
            "ladder = 100_000",
            "shard.capacity.ladder",
        ),
        ("decimals = 6", "decimals = 37", "asset[0].decimals"),
        (
            "unit_exponent = 10",
            "unit_exponent = 19",
            "asset[2].unit_exponent",
        ),
        (
            "unit_exponent = 10",
            "unit_exponent = 0",
            "in engine units it is not below 2^63",
        ),
        (
            "name = \"SOL\"",
            "name = \"USD\"",
            "asset[3].name: \"USD\" is asset[0] already",
        ),
        (
            "symbol = \"ETH-USD\"",
            "symbol = \"BTC-USD\"",
            "instrument[1].symbol",
        ),
        (
            "symbol = \"ETH-USD\"",
            "symbol = \"ETHER-USD\"",
            "instrument[1].symbol",
        ),
        ("symbol = \"ETH-USD\"", "symbol = \"E%03d\"", "no count"),
        (
            "symbol = \"ETH-USD\"",
            "symbol = \"E%03x\"\ncount = 2",
            "%05d",
        ),
        (
            "symbol = \"ETH-USD\"",
            "symbol = \"ETH\"\ncount = 2",
            "no place for the number",
        ),
        (
            "symbol = \"ETH-USD\"",
            "symbol = \"E%d\"\ncount = 0",
            "1 to 65535",
        ),
        (
            "base = \"SOL\"",
            "base = \"SQL\"",
            "there is no asset \"SQL\"; name one of: BTC, ETH",
        ),
        ("base = \"SOL\"", "base = \"USD\"", "instrument[2].quote"),
        (
            "tick_size = 10_000",
            "tick_size = 0",
            "instrument[0].tick_size: it is 0",
        ),
        (
            "tick_size = 10_000",
            "tick_size = 100_000",
            "instrument[0].tick_size",
        ),
        (
            "ladder_len = 16_384",
            "ladder_len = 16_777_217",
            "instrument[3].ladder_len",
        ),
        (
            "ladder_base = 1_000 # from 0.01",
            "ladder_base = 4_294_967_295 #",
            "instrument[3].ladder_base",
        ),
        (
            "band = [20_000, 60_000]",
            "band = [60_000, 20_000]",
            "instrument[1].band",
        ),
        (
            "taker_ppm = 500",
            "taker_ppm = 100_001",
            "instrument[2].taker_ppm",
        ),
        (
            "maker_ppm = -50",
            "maker_ppm = -301",
            "instrument[0].maker_ppm",
        ),
        (
            "tick_value = 100 ",
            "tick_value = 4_000_000_000 ",
            "instrument[0].tick_value",
        ),
        (
            "lot_value = 10_000 ",
            "lot_value = 9_000_000_000_000_000_000 ",
            "instrument[0].lot_value",
        ),
        (
            "lot_size = 10 ",
            "lot_size = 5_000 ",
            "instrument[2].lots_max",
        ),
        (
            "notional_max = 5_000_000",
            "notional_max = 1.5",
            "an integer, or a decimal number in quotes",
        ),
        (
            "USD = \"250_000.50\"",
            "USD = \"0.1234567\"",
            "account[3].balances.USD",
        ),
        ("USD = \"250_000.50\"", "US = 1", "account[3].balances.US"),
        (
            "USD = \"250_000.50\"",
            "USD = 9_223_372_000_000",
            "account[3].balances.USD: all",
        ),
        (
            "account = \"dave\"",
            "account = \"eve\"",
            "session[3].account",
        ),
        ("keys/dave-1.key", "keys/bob-1.key", "session[3].key_file"),
        ("answers = 4_096", "answers = 4_000", "give 4096"),
        (
            "references = 65_536",
            "references = 8",
            "session[4].references",
        ),
        (
            "per_second = 1_000,",
            "per_second = 0,",
            "session[3].rate.per_second",
        ),
        ("burst = 100 ", "burst = 68 ", "session[3].rate.burst"),
        ("burst = 5_000", "burst = 68", "account[4].rate.burst"),
        (
            "per_second = 500_000",
            "per_second = 1_000_000_001",
            "account[4].rate.per_second: 1000000001 is not 1 to 1,000,000,000 messages a second; leave the rate out",
        ),
        (
            "maker_ppm = -50",
            "maker_ppm = -50\nreference = 29_999",
            "instrument[0].reference",
        ),
        (
            "maker_ppm = -50",
            "maker_ppm = -50\nstate = \"open\"",
            "unknown variant `open`",
        ),
        (
            "name = \"dave\"\n",
            "name = \"dave\"\nnotional_max = { USD = 1, BTC = 1 }\n",
            "account[3].notional_max: it is not one amount",
        ),
        (
            "account = \"dave\"\n",
            "account = \"dave\"\ncancel_on_disconnect = 86_401\n",
            "session[3].cancel_on_disconnect",
        ),
    ];
    for (from, to, want) in mistakes {
        assert_eq!(EXAMPLE.matches(from).count().min(1), 1, "{from}");
        let error = match parse(&EXAMPLE.replacen(from, to, 1)) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{to} was taken"),
        };
        assert!(error.starts_with("markets/test.toml: "), "{error}");
        assert!(error.contains(want), "{to}: {error}");
    }
    let missing = parse("[shard]\nname = \"x\"\n").unwrap_err().to_string();
    assert!(missing.contains("missing field `port`"), "{missing}");
    let error = Plan::load(Path::new("/nowhere/at-all.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/at-all.toml: "));
}

#[test]
fn expiry_is_a_venue_time() {
    let expiry = |value: &str| {
        let to = format!("key_file = \"keys/ops-2.key\"\nexpires = \"{value}\"");
        parse(&EXAMPLE.replace("key_file = \"keys/ops-2.key\"", &to))
            .map(|plan| plan.sessions[5].expires_ns)
    };
    assert_eq!(expiry("never").unwrap(), u64::MAX);
    assert_eq!(expiry("17:30:01").unwrap(), 63_001_000_000_000);
    assert_eq!(expiry("48:00:00").unwrap(), 172_800_000_000_000);
    for bad in ["", "17:30", "17:60:00", "1:2:3", "-1:00:00", "17:30:00Z"] {
        let text = expiry(bad).unwrap_err().to_string();
        assert!(text.contains("session[5].expires"), "{text}");
    }
}

/// What is not given is as much as is listed, or more.
#[test]
fn capacity_follows_from_what_is_listed() {
    let plan = parse(&EXAMPLE.replace("orders = 65_536", "")).unwrap();
    let capacity = plan.capacity();
    assert!(capacity.accounts >= 5 && capacity.assets >= 4 && capacity.sessions >= 6);
    assert!(capacity.instruments >= 4 && capacity.ladder >= 3 * 65_536 + 16_384);
    assert!(capacity.answers >= 2 * 1024 + 4096 + 3 * 256);
    assert!(capacity.references >= 2 * 16_384 + 65_536 + 3 * 1024);
    assert!(capacity.orders >= 4096 && capacity.levels > 0);
    assert!(capacity.buckets.is_power_of_two());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever terms a file gives: it is refused with a key, or the engine's rules take the listing.
    #[test]
    fn what_loads_is_listed(
        numbers in prop::collection::vec(prop_oneof![1 => 0..3_u64, 9 => 1..2000_u64, 1 => 0..=u64::from(u32::MAX)], 7),
        maker in -200..200_i32,
        taker in 0..200_u32,
        band in prop::option::of((0..9_u32, 0..9_u32)),
    ) {
        let band = band.map_or(String::new(), |(low, high)| format!("band = [{low}, {high}]"));
        let ladder_len = numbers[5].min(200_000);
        let text = format!("
            [shard]
            name = \"x\"
            port = 1
            ring_slots = 65536
            [[asset]]
            name = \"A\"
            decimals = 0
            [[asset]]
            name = \"B\"
            decimals = 0
            [[instrument]]
            symbol = \"A/B\"
            base = \"A\"
            quote = \"B\"
            tick_size = {}
            lot_size = {}
            tick_value = {}
            lot_value = {}
            ladder_base = {}
            ladder_len = {ladder_len}
            lots_max = {}
            maker_ppm = {maker}
            taker_ppm = {taker}
            {band}
            ", numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[6]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("market.toml");
        fs::write(&path, &text).unwrap();
        let market = match Market::load(&path) {
            Ok(market) => market,
            Err(MarketError::Rule { key, .. }) => {
                prop_assert!(key.starts_with("instrument[0]."), "{}", key);
                return Ok(());
            }
            Err(error) => panic!("{error}"),
        };
        let controls = market.controls();
        prop_assert_eq!(controls.len(), 1);
        let list: List = controls[0].body();
        prop_assert_eq!(&list.symbol, b"A/B     ");
        let done = Reference::new(market.capacity()).control(&controls, 1);
        prop_assert_eq!(done[0].0, Outcome::Accepted, "{:?}", done[0].1);
    }
}
