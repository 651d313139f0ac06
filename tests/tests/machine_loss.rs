//! The machine is lost: arena, pins and processes are gone, the disk is there. The shard comes back from its journal with the same state, and goes on:
//! the same clients, the next client sequences, the next records, a journal of its own.

mod stand;

use ring0_trader::{Ack, Locate, Order, Outcome, Price, Shares, Trader, UdpTransport};
use serde_json::Value;
use stand::Stand;

fn trade(trader: &mut Trader<UdpTransport>, rounds: u32) -> Vec<Ack> {
    let mut acks = Vec::new();
    for round in 0..rounds {
        let price = Price((50_000 + round % 7) * 10_000);
        let orders = [
            Order::buy(Locate(1), Shares(2), price),
            Order::sell(Locate(1), Shares(1), Price((50_004 + round % 5) * 10_000)),
        ];
        acks.extend(trader.submit(&orders).unwrap());
    }
    acks
}

fn hash(stand: &Stand) -> Value {
    stand.settle();
    let status = stand.client().call(&ring0d::Verb::Status { hash: true });
    status.unwrap()["state_hash"].clone()
}

fn words<'a>(words: &[&'a str], paths: &'a [String]) -> Vec<&'a str> {
    let paths = paths.iter().map(String::as_str);
    words.iter().copied().chain(paths).collect()
}

#[test]
fn a_shard_comes_back_from_its_journal_and_goes_on() {
    let market = include_str!("../../markets/example.toml");
    let mut stand = Stand::of(&market.replacen("[shard]", "[shard]\nacks = \"durable\"", 1));
    stand.start_daemon();
    stand.start_journal();
    let mut traders = ["alice-1", "bob-1"].map(|name| stand.trader(name));
    let mut answered: Vec<(u32, Ack)> = Vec::new();
    for (session, trader) in (0..).zip(&mut traders) {
        answered.extend(trade(trader, 50).into_iter().map(|ack| (session, ack)));
    }
    let before = hash(&stand);
    let arena = stand.status()["arena_id"].clone();

    // Nothing of it is left but the folder.
    stand.unload();
    let old = stand.journal();
    let paths = |paths: &[&std::path::Path]| -> Vec<String> {
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    };
    let new = old.with_extension("next");
    let market_file = stand.market_file();
    let arguments = paths(&[&market_file, &old, &new]);
    let recover = words(&["journal", "recover", "--json", "--market"], &arguments);
    let ran = ring0_tests::ring0(&recover);
    assert_eq!(ran.status, 0, "{ran:?}");
    let recovered = ran.json();
    assert_eq!(
        recovered["state_hash"], before,
        "rebuilt from the disk alone"
    );
    assert_eq!(recovered["left_over"], 0);
    // A second time it would begin a second next life.
    let again = ring0_tests::ring0(&recover);
    assert_eq!(again.status, 1, "{again:?}");
    assert!(again.err.contains("is not empty"), "{again:?}");

    let snapshot = recovered["snapshot"].as_str().unwrap().to_owned();
    let status = stand.start_daemon_with(&["--restore", &snapshot]);
    assert_eq!(status["adopted"], false);
    assert_ne!(status["arena_id"], arena);
    stand.set_journal(&new);
    stand.start_journal();
    // The clients never noticed: their next sequences are the ones expected, and what they sent last is answered again.
    for (session, trader) in (0..).zip(&mut traders) {
        let acks = trade(trader, 50);
        assert!(
            acks.iter().all(|ack| ack.outcome == Outcome::Accepted),
            "{acks:?}"
        );
        answered.extend(acks.into_iter().map(|ack| (session, ack)));
    }
    let after = hash(&stand);
    stand.kill_recorder();

    // The two journals together have every answer, once; the second one with its snapshot is the shard as it is.
    let mut recorded = stand.journaled();
    stand.set_journal(&old);
    for (key, message) in stand.journaled() {
        assert!(
            recorded.insert(key, message).is_none(),
            "executed twice: {key:?}"
        );
    }
    for (session, ack) in &answered {
        let found = &recorded[&(*session, ack.sequence)];
        assert_eq!(
            (found.head.sequence, found.quantity),
            (ack.venue_sequence, ack.quantity),
            "{ack:?}"
        );
    }
    let arguments = paths(&[&market_file, &new]);
    let replay = words(&["journal", "replay", "--json", "--market"], &arguments);
    let ran = ring0_tests::ring0(&replay);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.json()["state_hash"], after);
    println!("{} answers over two lives of the shard", answered.len());
    stand.unload();
}

/// A shard that has become too small is halted, comes back with more capacity, and goes on: the same state, the same clients.
#[test]
fn a_shard_moves_to_more_capacity() {
    let market = include_str!("../../markets/example.toml");
    let mut stand = Stand::of(&market.replacen("[shard]", "[shard]\nacks = \"durable\"", 1));
    stand.start_daemon();
    stand.start_journal();
    let mut traders = ["alice-1", "bob-1"].map(|name| stand.trader(name));
    for trader in &mut traders {
        trade(trader, 50);
    }
    let file = stand.market_file();
    let halt = ring0d::Verb::Halt { instrument: None };
    stand.client().call(&halt).unwrap();
    let before = hash(&stand);
    let larger = file.with_file_name("larger.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let room = "orders = 200_000\naccounts = 100\nassets = 20\ninstruments = 40\nsessions = 90\nbuckets = 8192";
    std::fs::write(&larger, text.replacen("orders = 65_536", room, 1)).unwrap();
    stand.unload();

    let old = stand.journal();
    let new = old.with_extension("larger");
    let paths = [&file, &larger, &old, &new].map(|path| path.display().to_string());
    let [file, larger, old, new] = paths.each_ref().map(String::as_str);
    let recover = ["journal", "recover", "--json", "--market"];
    let recover = |market, into, new| {
        let arguments = [market, "--into", into, old, new];
        ring0_tests::ring0(&[recover.as_slice(), &arguments].concat())
    };
    let ran = recover(file, larger, new);
    assert_eq!(ran.status, 0, "{ran:?}");
    let recovered = ran.json();
    assert_eq!(recovered["state_hash"], before);
    let snapshot = recovered["snapshot"].as_str().unwrap();
    // The same from a snapshot's file; and there is no way back.
    let shrunk = format!("{new}.small");
    let ran = ring0_tests::ring0(&["snapshot", "enlarge", "--market", file, snapshot, &shrunk]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.err.contains("can only grow"), "{ran:?}");
    let again = format!("{new}.again");
    let ran = ring0_tests::ring0(&["snapshot", "enlarge", "--market", larger, snapshot, &again]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(
        std::fs::read(&again).unwrap(),
        std::fs::read(snapshot).unwrap()
    );

    std::fs::copy(larger, file).unwrap();
    let status = stand.start_daemon_with(&["--restore", snapshot]);
    assert_eq!(
        (&status["adopted"], &status["halted"]),
        (&false.into(), &true.into())
    );
    stand.set_journal(std::path::Path::new(new));
    stand.start_journal();
    let resume = ring0d::Verb::Resume { instrument: None };
    stand.client().call(&resume).unwrap();
    for trader in &mut traders {
        let acks = trade(trader, 50);
        let accepted = acks.iter().all(|ack| ack.outcome == Outcome::Accepted);
        assert!(accepted, "{acks:?}");
    }
    let after = hash(&stand);
    assert_ne!(after, before);
    stand.kill_recorder();
    let replay = ["journal", "replay", "--json", "--market", file, new];
    let ran = ring0_tests::ring0(&replay);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.json()["state_hash"], after);
    stand.unload();
}
