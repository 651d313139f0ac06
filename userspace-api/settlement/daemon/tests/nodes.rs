//! `ring0-settled check --nodes` on a real node: a good configuration, and every way in which one is not what is on the chain; and a token whose decimals
//! are others than the market file's, of which nothing counts.

mod venue;

use alloy_primitives::Address;
use ring0_settled::protocol::Request;
use std::fs;
use std::process::Command;
use venue::{DOLLAR, Venue};

alloy_sol_types::sol! {
    /// Of the hub.
    interface Freezes {
        function freezeSilent(address token) external;
    }
}

/// Checks a changed configuration: whether it is good, and each line that was said.
fn check(venue: &Venue, changes: &[(&str, &str)]) -> (bool, Vec<String>) {
    let mut text = fs::read_to_string(venue.config_path()).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in {text}");
        text = text.replacen(from, to, 1);
    }
    let file = venue.folder.path().join("changed.toml");
    fs::write(&file, text).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_ring0-settled"))
        .args(["check", "--nodes"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    (
        ran.status.success(),
        said.lines().map(str::to_owned).collect(),
    )
}

#[test]
fn what_the_nodes_say_is_compared_and_nothing_counts_of_a_token_with_other_decimals() {
    let mut venue = Venue::up("durable", "");
    let (good, said) = check(&venue, &[]);
    assert!(good && said[0].contains("whose nodes agree"), "{said:?}");

    let (hub, usd) = (venue.hub.address.to_string(), venue.dollar.to_string());
    let nowhere = Address::repeat_byte(0x5a).to_string();
    let (id, operator) = (venue.id.to_string(), venue.operator.to_string());
    let address = format!("address = \"{hub}\"");
    let token = format!("token = \"{usd}\"");
    let at = |what: &str, it: &str| format!("{what} = \"{it}\"");
    let start = fs::read_to_string(venue.config_path()).unwrap();
    let start = start.lines().find(|it| it.starts_with("start")).unwrap();
    for (changes, expected) in [
        (
            vec![(&*at("rpc", &venue.node.url), "rpc = \"http://127.0.0.1:1\"")],
            vec![("hub[0].rpc", "check that the node runs")],
        ),
        (
            vec![(&*address, &*at("address", &nowhere))],
            vec![("hub[0].address", "no contract")],
        ),
        (
            vec![(&*address, &*at("address", &usd))],
            vec![("hub[0].address", "does not answer as a hub")],
        ),
        (
            vec![("lineage = \"31337\"", "lineage = \"1\"")],
            vec![("hub[0].lineage", "is 31337 and the configuration says 1")],
        ),
        (
            vec![
                (
                    &*at("venue", &id),
                    &*at("venue", &format!("0x{}", "11".repeat(32))),
                ),
                (&*at("operator", &operator), &*at("operator", &nowhere)),
            ],
            vec![
                ("hub[0].address", "the hub's operator is"),
                ("hub[0].address", "another venue's"),
            ],
        ),
        (
            vec![
                (&*token, &*at("token", &nowhere)),
                ("anchor_s = 2", "anchor_s = 3601"),
            ],
            vec![
                ("hub[0].anchor_s", "above the hub's own anchor, 3600 s"),
                ("hub[0].token[0].token", "no contract"),
            ],
        ),
        (
            vec![(&*token, &*at("token", &hub))],
            vec![("hub[0].token[0].token", "does not answer as a token")],
        ),
        (
            vec![(start, "start = 1000000")],
            vec![("hub[0].start", "below 1000000")],
        ),
        (
            vec![("confirmations = 2", "confirmations = 99")],
            vec![("hub[0].confirmations", "nothing since")],
        ),
    ] {
        let (good, said) = check(&venue, &changes);
        assert!(
            !good && said.len() == expected.len(),
            "{changes:?}: {said:?}"
        );
        for (line, (key, problem)) in said.iter().zip(expected) {
            let is_it = line.starts_with(&format!("{key}: ")) && line.contains(problem);
            assert!(is_it, "{changes:?}: {line}");
        }
    }
    // What no node need be asked for.
    let (good, said) = check(
        &venue,
        &[(&address, &at("address", &Address::ZERO.to_string()))],
    );
    assert!(!good && said[0].contains("zero address"), "{said:?}");

    // Another number of decimals in the market file: said by the check, and by the daemon, which counts nothing of the hub until it is corrected.
    let market = venue.folder.path().join("market.toml");
    let right = fs::read_to_string(&market).unwrap();
    let coins = right.replacen(
        "name = \"ETH\"\ndecimals = 18",
        "name = \"ETH\"\ndecimals = 17",
        1,
    );
    fs::write(&market, coins).unwrap();
    let (good, said) = check(&venue, &[]);
    assert!(
        !good && said[0].contains("a chain's own coin has 18"),
        "{said:?}"
    );
    let wrong = right.replacen(
        "name = \"USD\"\ndecimals = 18",
        "name = \"USD\"\ndecimals = 17",
        1,
    );
    assert_ne!(wrong, right);
    fs::write(&market, wrong).unwrap();
    let (good, said) = check(&venue, &[]);
    assert!(!good && said.len() == 1, "{said:?}");
    assert!(
        said[0].starts_with("hub[0].token[0].token: the token has 18 decimals"),
        "{said:?}"
    );
    venue.start_settled();
    let mut carol = venue.member("carol");
    venue.register(&carol);
    venue.deposit(&mut carol, venue.dollar, 100 * DOLLAR);
    venue.node.mine(venue::CONFIRMATIONS + 1, 12);
    venue.wait("the trouble", |it| {
        let status = it.try_ask(&Request::Status)?;
        let why = status["troubles"]["hub anvil"].as_str()?.to_owned();
        why.contains("18 decimals").then_some(())
    });
    venue.ask(&Request::Cut).unwrap();
    // It is asked again at each poll, 50 ms: long enough for many looks and for several cuts.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let status = venue.ask(&Request::Status).unwrap();
    assert_eq!(
        (&status["epoch"], &status["hubs"][0]["channels"]),
        (&0.into(), &0.into()),
        "{status}"
    );
    assert_eq!(venue.in_shard("carol", "USD"), 0);

    venue.kill_settled();
    fs::write(&market, right).unwrap();
    // The ledger is of the wrong decimals, and the daemon would say so: it is made again from the journals.
    fs::remove_file(venue.folder.path().join("settled/ledger.redb")).unwrap();
    venue.start_settled();
    venue.pay_in(&mut carol, 101 * DOLLAR, DOLLAR);
    venue.wait("a posted root", |it| {
        let status = it.try_ask(&Request::Status)?;
        let posted = status["hubs"][0]["posted"].as_object()?;
        (!posted.is_empty()).then_some(())
    });

    // A clock that is far from the chain's, and a hub that somebody froze because no root came.
    venue.kill_settled();
    venue.node.mine(1, 8 * 24 * 3600);
    let token = venue.dollar;
    let frozen = Freezes::freezeSilentCall { token };
    let hub = venue.hub.address;
    venue::pay(&mut venue.bank, hub, &frozen, 0);
    let (good, said) = check(&venue, &[]);
    assert!(!good && said.len() == 2, "{said:?}");
    assert!(
        said[0].starts_with("hub[0].rpc: ") && said[0].contains("ahead of this machine's clock"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with("hub[0].address: the hub is frozen"),
        "{said:?}"
    );
}
