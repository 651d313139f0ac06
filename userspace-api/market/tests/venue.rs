//! Files with several shards: whose is what, what each shard is told, and every mistake by its key.

use ring0_engine::control::{Control, ControlKind, Deposit, Grant, List, Route};
use ring0_engine::record::Outcome;
use ring0_engine::reference::Reference;
use ring0_market::{Existing, Market, Plan, keygen};
use std::fs;
use std::path::{Path, PathBuf};

const VENUE: &str = include_str!("../../../markets/venue.toml");
const EXAMPLE: &str = include_str!("../../../markets/example.toml");

fn of_kind(market: &Market, kind: ControlKind) -> Vec<Control> {
    let controls = market.controls().into_iter();
    controls.filter(|one| one.kind == kind as u32).collect()
}

#[test]
fn each_shard_gets_its_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("venue.toml");
    fs::write(&path, VENUE).unwrap();
    let made = keygen(&path, Existing::Keep).unwrap();
    assert_eq!(made.len(), 4, "keys are made for every shard at once");
    let plans = Plan::load_all(&path).unwrap();
    assert_eq!(plans.len(), 2);
    let named = |name: &str| PathBuf::from(format!("{}#{name}", path.display()));
    let mut dollars = 0;
    for (number, name, own, other, port) in [(0, "north", 0, 1, 9002), (1, "south", 1, 0, 9001)] {
        let market = Market::load(&named(name)).unwrap();
        assert_eq!(market.plan, plans[number as usize]);
        assert_eq!(
            (market.plan.number, &*market.plan.shard.name),
            (number, name)
        );
        assert_eq!(market.plan.again().unwrap(), market.plan);
        let listed = of_kind(&market, ControlKind::List);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].body::<List>().instrument, own);
        let routes = of_kind(&market, ControlKind::Route);
        let route = Route {
            instrument: other,
            port,
        };
        assert_eq!(routes, [Control::new(ControlKind::Route, &route)]);
        let sessions: Vec<u32> = of_kind(&market, ControlKind::GrantSession)
            .iter()
            .map(|grant| grant.body::<Grant>().session)
            .collect();
        assert_eq!(sessions, [number, number + 2], "numbers are the venue's");
        let deposits = of_kind(&market, ControlKind::Deposit);
        assert_eq!(deposits.len(), 4);
        let deposits = deposits.iter().map(|one| one.body::<Deposit>());
        dollars += deposits
            .filter(|one| one.asset == 0)
            .map(|one| one.amount)
            .sum::<u64>();
        let mut shard = Reference::new(market.capacity());
        for (outcome, reason) in shard.control(&market.controls(), 1) {
            assert_eq!(outcome, Outcome::Accepted, "{reason:?}");
        }
        shard.check();
    }
    assert_eq!(dollars, 4_000_000_000_000);
    let error = Plan::load(&path).unwrap_err().to_string();
    assert!(error.contains("FILE#SHARD: north, south"), "{error}");
    let error = Plan::load(&named("west")).unwrap_err().to_string();
    assert!(error.contains("no shard \"west\""), "{error}");
}

/// Neither a shard nor a rail that is added changes another's number.
#[test]
fn rails_are_parties_from_the_highest_number_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("venue.toml");
    let parties = |rails: &str| {
        fs::write(&path, format!("{VENUE}\n{rails}")).unwrap();
        let plans = Plan::load_all(&path).unwrap();
        let of = |plan: &Plan| {
            let all = plan
                .parties()
                .map(|(name, number)| (name.to_owned(), number));
            all.collect::<Vec<_>>()
        };
        assert_eq!(of(&plans[0]), of(&plans[1]), "the same in every shard");
        of(&plans[0])
    };
    let named = |all: &[(&str, u32)]| -> Vec<(String, u32)> {
        all.iter()
            .map(|(name, number)| ((*name).to_owned(), *number))
            .collect()
    };
    let hub = "[[rail]]\nname = \"hub\"\n";
    assert_eq!(
        parties(hub),
        named(&[("north", 0), ("south", 1), ("hub", 7)])
    );
    let both = format!("{hub}[[rail]]\nname = \"lightning\"\n");
    let all = [("north", 0), ("south", 1), ("hub", 7), ("lightning", 6)];
    assert_eq!(parties(&both), named(&all));
}

#[test]
fn mistakes_are_told_by_key() {
    let check = |text: &str, from: &str, to: &str, key: &str, fix: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("venue.toml");
        fs::write(&path, changed).unwrap();
        let error = Plan::load_all(&path).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(fix), "{error}");
    };
    let venue = |from, to, key, fix| check(VENUE, from, to, key, fix);
    venue("port = 9_002", "port = 9_001", "shard[1].port", "its own");
    let rail = |names: &[&str], key, fix| {
        let tables = names
            .iter()
            .map(|name| format!("[[rail]]\nname = \"{name}\"\n\n"));
        let tables = tables.collect::<String>() + "[[asset]]";
        check(VENUE, "[[asset]]", &tables, key, fix);
    };
    rail(&["north"], "rail[0].name", "name of its own");
    rail(&["hub", "hub"], "rail[1].name", "own name");
    rail(&["a b"], "rail[0].name", "use 1 to 32");
    rail(&["a", "b", "c", "d", "e", "f", "g"], "rail", "at most 8");
    venue(
        "name = \"south\"",
        "name = \"north\"",
        "shard[1].name",
        "own name",
    );
    venue("port = 9_002", "port = 0", "shard[1].port", "UDP port");
    venue("262_144", "100", "shard[0].ring_slots", "1048576");
    venue(
        "shard = \"south\"",
        "",
        "instrument[1].shard",
        "north, south",
    );
    venue(
        "shard = \"south\"",
        "shard = \"east\"",
        "instrument[1].shard",
        "name one of",
    );
    venue(
        "name = \"bob-south\"\nshard = \"south\"",
        "name = \"bob-south\"",
        "session[3].shard",
        "name one of",
    );
    venue(
        "[account.allotments]",
        "balances = { USD = 1 }\n[account.allotments]",
        "account[0].balances",
        "allotments.north",
    );
    venue(
        "north = { USD",
        "west = { USD",
        "account[0].allotments.west",
        "name one of",
    );
    venue(
        "north = { USD = 1_000_000",
        "north = { USD = 9_223_372_036_854",
        "account[0].allotments.south.USD",
        "give less",
    );
    let nine: String = (3..=9)
        .map(|n| format!("[[shard]]\nname = \"s{n}\"\nport = {n}\nring_slots = 262_144\n"))
        .collect();
    venue(
        "[[asset]]",
        &format!("{nine}[[asset]]"),
        "there are 9",
        "1 to 8",
    );
    let one = |from, to, key, fix| check(EXAMPLE, from, to, key, fix);
    one(
        "symbol = \"BTC-USD\"",
        "symbol = \"BTC-USD\"\nshard = \"other\"",
        "instrument[0].shard",
        "one shard is example",
    );
    one(
        "name = \"dave\"",
        "name = \"dave\"\nallotments = { example = { USD = 1 } }",
        "account[3].allotments",
        "balances",
    );
    let misspelt = VENUE.replacen("ring_slots", "ring_slot", 1);
    let error = Plan::parse(Path::new("venue.toml"), &misspelt).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `ring_slot`"),
        "{error}"
    );
}

/// A file of one shard may name it.
#[test]
fn one_shard_may_be_named() {
    let text = EXAMPLE.replacen(
        "symbol = \"BTC-USD\"",
        "symbol = \"BTC-USD\"\nshard = \"example\"",
        1,
    );
    let plan = Plan::parse(Path::new("market.toml"), &text).unwrap();
    assert_eq!((plan.number, plan.peers.len()), (0, 1));
    assert!((0..4).all(|index| plan.trades(index)) && (0..6).all(|index| plan.grants(index)));
}
