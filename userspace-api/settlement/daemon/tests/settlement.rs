//! The whole way on a real node, a real shard and a real signer: deposits, orders, fills, batches that both sign, withdrawals, and what must not happen.

mod venue;

use alloy_primitives::Address;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring0_channels::B256;
use ring0_settled::messages::{address_digest, approval_digest};
use ring0_settled::protocol::Request;
use ring0_trader::{Locate, Order, Price, Shares};
use ring0d::Verb;
use serde_json::Value;
use std::time::Duration;
use venue::{CONFIRMATIONS, DOLLAR, ETHER, Member, Venue};

const COIN: Address = Address::ZERO;
/// Engine units of a dollar and of an ether.
const USD_UNITS: u128 = 1_000_000;
const ETH_UNITS: u128 = 100_000_000;

/// Carol sells ether to alice: thousandths at a price in dollars.
fn trade(venue: &Venue, maker: &mut Member, taker: &mut Member, shares: u32, price: u32) {
    let (locate, shares, price) = (Locate(1), Shares(shares), Price(price * 10_000));
    venue.order(maker, &[Order::buy(locate, shares, price)]);
    venue.order(taker, &[Order::sell(locate, shares, price).immediate()]);
}

fn balance(member: &Member, token: Address) -> u128 {
    let own = member.holdings.iter().find(|it| it.terms.token == token);
    own.and_then(|it| it.newest.as_ref())
        .map_or(0, |it| it.balance)
}

/// Both sign what comes until both hold what they should.
fn settle(venue: &Venue, members: &mut [&mut Member], wanted: &[(usize, Address, u128)]) {
    let end = std::time::Instant::now() + venue::PATIENCE;
    loop {
        for member in members.iter_mut() {
            venue
                .cosign(member)
                .unwrap_or_else(|why| panic!("{}: {why}", member.name));
        }
        let done = wanted
            .iter()
            .all(|(who, token, amount)| balance(members[*who], *token) == *amount);
        if done {
            return;
        }
        if std::time::Instant::now() > end {
            let found: Vec<_> = wanted
                .iter()
                .map(|(who, token, _)| balance(members[*who], *token))
                .collect();
            panic!(
                "wanted {wanted:?}, found {found:?}; {:?} {:?}\n{}",
                venue.try_ask(&Request::Batches),
                venue.try_ask(&Request::Status),
                venue.log("settled")
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn progress(venue: &Venue, id: B256) -> Option<Value> {
    let answer = venue.try_ask(&Request::Withdrawals { account: None })?;
    let all = answer["withdrawals"].as_array()?.clone();
    all.into_iter()
        .find(|it| it["withdrawal"] == serde_json::json!(id))
}

fn outflows_are_covered(venue: &Venue) -> Option<()> {
    let answer = venue.shard(&Verb::Accounts).ok()?;
    let accounts = answer["accounts"].as_array()?.clone();
    let covered = accounts.iter().all(|it| {
        ["USD", "ETH"]
            .iter()
            .all(|asset| it["balances"][asset]["outflow"] == "0")
    });
    covered.then_some(())
}

#[test]
fn money_comes_in_trades_is_co_signed_and_goes_home() {
    let mut venue = Venue::up("durable", "");
    let usd = venue.dollar;
    venue.start_settled();
    let (mut carol, mut alice) = (venue.member("carol"), venue.member("alice"));
    let mut stranger = venue.member("dave");
    venue.register(&carol);
    venue.register(&alice);
    venue.deposit(&mut carol, COIN, 10 * ETHER + 3);
    venue.deposit(&mut carol, usd, 1_000 * DOLLAR);
    venue.deposit(&mut alice, usd, 100_000 * DOLLAR);
    venue.deposit(&mut alice, COIN, 5 * ETHER);
    venue.deposit(&mut stranger, usd, 77 * DOLLAR);
    venue.node.mine(CONFIRMATIONS + 1, 12);
    for (name, asset, units) in [
        ("carol", "ETH", 10 * ETH_UNITS),
        ("carol", "USD", 1_000 * USD_UNITS),
        ("alice", "USD", 100_000 * USD_UNITS),
        ("alice", "ETH", 5 * ETH_UNITS),
    ] {
        venue.wait(&format!("{name}'s {asset}"), |it| {
            (it.in_shard(name, asset) == units).then_some(())
        });
    }
    assert_eq!(venue.in_shard("dave", "USD"), 0);
    venue.wait("why the stranger's waits", |it| {
        let status = it.try_ask(&Request::Status)?;
        let why = status["waiting_channels"][0]["why"].as_str()?.to_owned();
        why.contains("not registered").then_some(())
    });
    assert_eq!(
        venue.total(&carol, "ETH"),
        Some(10 * ETHER as i128 + 3),
        "three wei are dust"
    );

    // 2 ETH at 3,000, of which the taker pays 0.03 %.
    trade(&venue, &mut alice, &mut carol, 2_000, 3_000);
    let paid = 6_000 * DOLLAR;
    let fee = paid * 3 / 10_000;
    let mut both = [&mut carol, &mut alice];
    settle(
        &venue,
        &mut both,
        &[
            (0, COIN, 8 * ETHER + 3),
            (0, usd, 1_000 * DOLLAR + paid - fee),
            (1, usd, 100_000 * DOLLAR - paid),
            (1, COIN, 7 * ETHER),
        ],
    );
    venue.wait("settlement marks", outflows_are_covered);
    venue.wait("a posted root", |it| {
        let status = it.try_ask(&Request::Status)?;
        status["hubs"][0]["posted"]
            .as_object()
            .filter(|it| it.len() == 2)
            .map(drop)
    });

    // The stranger registers, and gets what waited.
    venue.register(&stranger);
    venue.wait("the stranger's deposit", |it| {
        (it.in_shard("dave", "USD") == 77 * USD_UNITS).then_some(())
    });

    // Carol takes 1,500 home: dust of the dollars is asked for too and there is none.
    let odd = venue
        .withdrawal(&carol, usd, 1_500 * DOLLAR + 1, 3_600)
        .unwrap();
    assert!(
        venue
            .ask(&odd)
            .unwrap_err()
            .contains("below an engine unit")
    );
    let greedy = venue
        .withdrawal(&carol, usd, 7_000 * DOLLAR, 3_600)
        .unwrap();
    assert!(venue.ask(&greedy).unwrap_err().contains("are co-signed"));
    let wish = venue
        .withdrawal(&carol, usd, 1_500 * DOLLAR, 3_600)
        .unwrap();
    let id = venue.id(&wish);
    venue.ask(&wish).unwrap();
    assert_eq!(
        venue.ask(&wish).unwrap()["withdrawal"],
        serde_json::json!(id),
        "the same again"
    );
    let end = std::time::Instant::now() + venue::PATIENCE;
    let told = loop {
        for member in [&mut carol, &mut alice, &mut stranger] {
            venue.cosign(member).unwrap();
        }
        match progress(&venue, id) {
            Some(it) if it["progress"] == "signed" => break it,
            other => assert!(
                std::time::Instant::now() < end,
                "{other:?} {}",
                venue.log("settled")
            ),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(
        venue.in_shard("carol", "USD") * (DOLLAR / USD_UNITS),
        1_000 * DOLLAR + paid - fee - 1_500 * DOLLAR
    );
    venue.take(&mut carol, &told).unwrap();
    venue.node.mine(CONFIRMATIONS + 1, 12);
    venue.wait("the payment", |it| {
        progress(it, id).filter(|it| it["progress"] == "paid")
    });
    assert_eq!(venue.dollars(carol.owner.address()), 1_500 * DOLLAR);
    let left = 1_000 * DOLLAR + paid - fee - 1_500 * DOLLAR;
    venue.wait("carol's total", |it| {
        (it.total(&carol, "USD") == Some(left as i128)).then_some(())
    });
    settle(
        &venue,
        &mut [&mut carol, &mut alice, &mut stranger],
        &[(0, usd, left), (2, usd, 77 * DOLLAR)],
    );

    // Alice's escrow is above what she has: it covers carol's winnings.
    let moves = venue.wait("moves", |it| {
        let answer = it.try_ask(&Request::Moves {
            account: alice.account,
        })?;
        answer["moves"]
            .as_array()
            .filter(|it| !it.is_empty())
            .cloned()
    });
    let (_, vault) = venue.hub_dollars();
    venue.ask(&venue.sign_move(&alice, &moves[0])).unwrap();
    venue.wait("the move", |it| {
        (it.hub_dollars().1 == vault + paid).then_some(())
    });
    venue.node.mine(CONFIRMATIONS + 1, 12);
    let statement = venue
        .ask(&Request::Statement {
            account: carol.account,
            from: 1,
            to: u64::MAX,
            sign: false,
        })
        .unwrap();
    assert!(
        statement["statement"]["assets"].as_array().unwrap().len() == 2,
        "{statement}"
    );
    let status = venue.ask(&Request::Status).unwrap();
    assert!(status["halted"].as_array().unwrap().is_empty(), "{status}");
    let metrics = venue.ask(&Request::Metrics).unwrap();
    let compared = metrics["text"]
        .as_str()
        .unwrap()
        .lines()
        .find(|it| it.starts_with("ring0_settled_live_comparisons_total"))
        .unwrap()
        .to_owned();
    assert_ne!(
        compared, "ring0_settled_live_comparisons_total 0",
        "the shard itself was asked"
    );

    // Asked to end, it ends; started again it is where it was.
    venue.end_settled();
    venue.start_settled();
    assert_eq!(
        venue.wait("carol's total", |it| it.total(&carol, "USD")),
        left as i128
    );
    assert_eq!(progress(&venue, id).unwrap()["progress"], "paid");
    let audit = venue.folder.path().join("settled/audit.log");
    let mut verbs = Vec::new();
    ring0_hashlog::verify::<ring0_settled::audited::Audited>(&audit, |it| {
        verbs.push((it.request["verb"].clone(), it.outcome))
    })
    .unwrap();
    assert!(
        verbs
            .iter()
            .any(|(verb, outcome)| verb == "withdraw" && outcome == "ok"),
        "{verbs:?}"
    );
    assert!(
        verbs
            .iter()
            .any(|(verb, outcome)| verb == "withdraw" && outcome.contains("co-signed")),
        "{verbs:?}"
    );
}

#[test]
fn what_is_not_used_or_not_asked_comes_back_once_and_controls_hold() {
    let approver = ring0_channels::key::Signer::new([5; 32]).unwrap();
    let controls = format!(
        "approvers = [\"{}\"]\n[controls.asset.USD]\naccount_hour = \"900\"\napprove_above = \"500\"\n",
        approver.address()
    );
    let mut venue = Venue::up("matched", &controls);
    let usd = venue.dollar;
    venue.start_settled();
    let mut carol = venue.member("carol");
    venue.register(&carol);
    venue.deposit(&mut carol, usd, 1_000 * DOLLAR);
    venue.node.mine(CONFIRMATIONS + 1, 12);
    venue.wait("the deposit", |it| {
        (it.in_shard("carol", "USD") == 1_000 * USD_UNITS).then_some(())
    });
    settle(&venue, &mut [&mut carol], &[(0, usd, 1_000 * DOLLAR)]);

    // Somebody transfers by hand to the rail: it goes back.
    let transfer = Verb::Transfer {
        account: "carol".to_owned(),
        asset: "USD".to_owned(),
        amount: "10".to_owned(),
        to: "hub".to_owned(),
        number: None,
    };
    venue.shard(&transfer).unwrap();
    venue.wait("what nobody asked for", |it| {
        (it.in_shard("carol", "USD") == 1_000 * USD_UNITS).then_some(())
    });

    let signed = |venue: &Venue, carol: &mut Member, id| {
        let end = std::time::Instant::now() + venue::PATIENCE;
        loop {
            venue.cosign(carol).unwrap();
            match progress(venue, id) {
                Some(it) if it["progress"] == "signed" => return it,
                other => assert!(
                    std::time::Instant::now() < end,
                    "{other:?} {}",
                    venue.log("settled")
                ),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // Signed, never sent: lapsed when a block behind the deadline counts, and credited back once, also over a death.
    let wish = venue.withdrawal(&carol, usd, 200 * DOLLAR, 300).unwrap();
    let id = venue.id(&wish);
    venue.ask(&wish).unwrap();
    let told = signed(&venue, &mut carol, id);
    assert_eq!(venue.in_shard("carol", "USD"), 800 * USD_UNITS);
    venue.kill_settled();
    venue.node.mine(CONFIRMATIONS + 2, 400);
    venue.start_settled();
    venue.wait("the lapse", |it| {
        progress(it, id).filter(|it| it["progress"] == "lapsed")
    });
    venue.wait("what lapsed", |it| {
        (it.in_shard("carol", "USD") == 1_000 * USD_UNITS).then_some(())
    });
    assert!(
        venue
            .take(&mut carol, &told)
            .unwrap_err()
            .contains("Expired")
    );
    venue.kill_settled();
    venue.start_settled();
    venue.wait("the ledger", |it| {
        (it.total(&carol, "USD") == Some(1_000 * DOLLAR as i128)).then_some(())
    });

    // An address of somebody else's has to be named, and then waits a day.
    let other = Address::repeat_byte(0x77);
    let channel = venue.channel(&carol, usd).unwrap();
    let (now, before) = (
        channel["chain_time"].as_u64().unwrap(),
        channel["withdrawn"]
            .as_str()
            .unwrap()
            .parse::<u128>()
            .unwrap(),
    );
    let to_other = venue
        .withdrawal_to(&carol, usd, before + DOLLAR, now + 3_600, other)
        .unwrap();
    assert!(venue.ask(&to_other).unwrap_err().contains("was not named"));
    let digest = address_digest(venue.id, carol.account, other);
    let mut name = Request::Address {
        account: carol.account,
        address: other,
        signature: approver.sign_digest(digest),
    };
    assert!(venue.ask(&name).unwrap_err().contains("the owner is"));
    if let Request::Address { signature, .. } = &mut name {
        *signature = carol.owner.sign_digest(digest);
    }
    venue.ask(&name).unwrap();
    assert!(
        venue
            .ask(&to_other)
            .unwrap_err()
            .contains("a short time ago")
    );

    // Above a limit a second person has to let it through; above the hour's limit nobody does.
    let much = venue.withdrawal(&carol, usd, 600 * DOLLAR, 3_600).unwrap();
    let id = venue.id(&much);
    assert_eq!(venue.ask(&much).unwrap()["progress"], "waiting");
    let digest = approval_digest(venue.id, id, true);
    let stranger = Request::Approve {
        withdrawal: id,
        yes: true,
        signature: carol.owner.sign_digest(digest),
    };
    assert!(venue.ask(&stranger).unwrap_err().contains("is no approver"));
    venue
        .ask(&Request::StopWithdrawals {
            reason: "a drill".to_owned(),
        })
        .unwrap();
    let yes = Request::Approve {
        withdrawal: id,
        yes: true,
        signature: approver.sign_digest(digest),
    };
    venue.ask(&yes).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        progress(&venue, id).unwrap()["progress"],
        "passed",
        "the switch stops what was let through"
    );
    venue
        .ask(&Request::StartWithdrawals {
            reason: "the drill is over".to_owned(),
        })
        .unwrap();
    let told = signed(&venue, &mut carol, id);
    venue.take(&mut carol, &told).unwrap();
    venue.node.mine(CONFIRMATIONS + 1, 12);
    venue.wait("the payment", |it| {
        progress(it, id).filter(|it| it["progress"] == "paid")
    });
    let more = venue.withdrawal(&carol, usd, 301 * DOLLAR, 3_600).unwrap();
    assert!(venue.ask(&more).unwrap_err().contains("is the limit"));
    assert_eq!(venue.dollars(carol.owner.address()), 600 * DOLLAR);
}

#[test]
fn one_unit_too_many_halts_its_asset_and_no_other() {
    let mut venue = Venue::up("durable", "");
    let usd = venue.dollar;
    venue.start_settled();
    let (mut carol, mut alice) = (venue.member("carol"), venue.member("alice"));
    venue.register(&carol);
    venue.register(&alice);
    for member in [&mut carol, &mut alice] {
        venue.deposit(member, usd, 1_000 * DOLLAR);
        venue.deposit(member, COIN, ETHER);
    }
    venue.node.mine(CONFIRMATIONS + 1, 12);
    let both = [(0, usd, 1_000 * DOLLAR), (1, COIN, ETHER)];
    settle(&venue, &mut [&mut carol, &mut alice], &both);

    // One base unit that nobody paid in, sent to the hub's address: equation (iii).
    venue.mint(venue.hub.address, 1);
    venue.node.mine(CONFIRMATIONS + 1, 12);
    let halted = |venue: &Venue| {
        let status = venue.try_ask(&Request::Status)?;
        status["halted"]
            .as_array()
            .filter(|it| !it.is_empty())
            .cloned()
    };
    let all = venue.wait("the halt", halted);
    assert_eq!(
        (all.len(), &all[0]["asset"]),
        (1, &serde_json::json!("USD")),
        "{all:?}"
    );
    assert!(all[0]["why"].as_str().unwrap().contains("(iii)"), "{all:?}");
    venue.wait("the halt in the shard", |it| {
        let order = Order::buy(Locate(1), Shares(1), Price(3_000 * 10_000));
        let _ = order; // the instrument is halted for everybody: its state says it
        let status = it.shard(&Verb::Status { hash: false }).ok()?;
        status.to_string().contains("halted").then_some(())
    });
    // Deposits and withdrawals of it stand still, those of the other asset go on.
    venue.deposit(&mut carol, usd, 5 * DOLLAR);
    venue.deposit(&mut carol, COIN, ETHER);
    venue.node.mine(CONFIRMATIONS + 1, 12);
    venue.wait("the ether", |it| {
        (it.in_shard("carol", "ETH") == 2 * ETH_UNITS).then_some(())
    });
    assert_eq!(venue.in_shard("carol", "USD"), 1_000 * USD_UNITS);
    let wish = venue.withdrawal(&carol, usd, 10 * DOLLAR, 3_600).unwrap();
    assert!(venue.ask(&wish).unwrap_err().contains("halted"));
    settle(
        &venue,
        &mut [&mut carol, &mut alice],
        &[(0, COIN, 2 * ETHER)],
    );
    assert_eq!(
        balance(&carol, usd),
        1_000 * DOLLAR,
        "what is in doubt stays at what was signed last"
    );
    // Cleared without a cure it halts again.
    venue
        .ask(&Request::ClearHalt {
            asset: "USD".to_owned(),
            reason: String::new(),
        })
        .unwrap_err();
    venue
        .ask(&Request::ClearHalt {
            asset: "USD".to_owned(),
            reason: "to see".to_owned(),
        })
        .unwrap();
    venue.wait("the halt again", halted);

    // A credit in the rail's name that the rail knows nothing of.
    let forged = Verb::Credit {
        account: "alice".to_owned(),
        asset: "ETH".to_owned(),
        units: 1,
        number: 1_000,
        from: "hub".to_owned(),
    };
    venue.shard(&forged).unwrap();
    venue.wait("the other halt", |it| halted(it).filter(|it| it.len() == 2));

    // Nothing is cleared while its halt is on the way to a shard: it would come after the asset was let go on.
    let ether = || "ETH".to_owned();
    let halt = Request::HaltAsset {
        asset: ether(),
        reason: "to be sure".to_owned(),
    };
    let clear = Request::ClearHalt {
        asset: ether(),
        reason: "to see".to_owned(),
    };
    venue.wait("the halt's end at the shard", |it| it.ask(&clear).ok());
    venue.freeze_shard(true);
    venue.ask(&halt).unwrap();
    let refused = venue.ask(&clear).unwrap_err();
    assert!(refused.contains("on its way to shard main"), "{refused}");
    venue.freeze_shard(false);
    venue.wait("the clearance", |it| it.ask(&clear).ok());
}

#[test]
fn killed_at_random_points_nothing_happens_twice() {
    let seed: u64 = std::env::var("RING0_SEED")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or_else(rand::random);
    println!("RING0_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut venue = Venue::up("durable", "");
    let usd = venue.dollar;
    venue.start_settled();
    let (mut carol, mut alice) = (venue.member("carol"), venue.member("alice"));
    venue.register(&carol);
    venue.register(&alice);
    let mut kills = 0;
    /// Drives both traders, with a death now and then, until something is so.
    fn until(
        venue: &mut Venue,
        random: &mut StdRng,
        kills: &mut u32,
        members: &mut [&mut Member],
        what: &str,
        done: &mut dyn FnMut(&Venue, &mut [&mut Member]) -> bool,
    ) {
        let end = std::time::Instant::now() + 2 * venue::PATIENCE;
        let mut next =
            std::time::Instant::now() + Duration::from_millis(random.random_range(5..150));
        loop {
            for member in members.iter_mut() {
                venue
                    .cosign(member)
                    .unwrap_or_else(|why| panic!("{}: {why}", member.name));
            }
            if done(venue, members) {
                return;
            }
            if std::time::Instant::now() > next && *kills < 40 {
                *kills += 1;
                venue.kill_settled();
                std::thread::sleep(Duration::from_millis(random.random_range(0..50)));
                venue.start_settled();
                next =
                    std::time::Instant::now() + Duration::from_millis(random.random_range(5..250));
            }
            assert!(
                venue.is_running(),
                "it ended by itself: {}",
                venue.log("settled")
            );
            assert!(
                std::time::Instant::now() < end,
                "{what} does not come: {:?}\n{}",
                venue.try_ask(&Request::Status),
                venue.log("settled")
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let rounds = 6;
    let (mut usd_of, mut eth_of) = ([0_u128; 2], [0_u128; 2]);
    let mut home = 0;
    for round in 0..rounds {
        venue.deposit(&mut carol, COIN, 10 * ETHER);
        venue.deposit(&mut alice, usd, 10_000 * DOLLAR);
        if round == 0 {
            venue.deposit(&mut carol, usd, 100 * DOLLAR);
            venue.deposit(&mut alice, COIN, ETHER);
            usd_of[0] += 100 * DOLLAR;
            eth_of[1] += ETHER;
        }
        venue.node.mine(CONFIRMATIONS + 1, 12);
        eth_of[0] += 10 * ETHER;
        usd_of[1] += 10_000 * DOLLAR;
        let wanted = |usd_of: [u128; 2], eth_of: [u128; 2]| {
            [
                (0, COIN, eth_of[0]),
                (0, usd, usd_of[0]),
                (1, usd, usd_of[1]),
                (1, COIN, eth_of[1]),
            ]
        };
        let all = wanted(usd_of, eth_of);
        let mut is_so = |_: &Venue, members: &mut [&mut Member]| {
            all.iter()
                .all(|(who, token, amount)| balance(members[*who], *token) == *amount)
        };
        until(
            &mut venue,
            &mut random,
            &mut kills,
            &mut [&mut carol, &mut alice],
            "deposits in a co-signed batch",
            &mut is_so,
        );
        trade(&venue, &mut alice, &mut carol, 2_000, 3_000);
        let (paid, fee) = (6_000 * DOLLAR, 6_000 * DOLLAR * 3 / 10_000);
        usd_of = [usd_of[0] + paid - fee, usd_of[1] - paid];
        eth_of = [eth_of[0] - 2 * ETHER, eth_of[1] + 2 * ETHER];
        let all = wanted(usd_of, eth_of);
        let mut is_so = |_: &Venue, members: &mut [&mut Member]| {
            all.iter()
                .all(|(who, token, amount)| balance(members[*who], *token) == *amount)
        };
        until(
            &mut venue,
            &mut random,
            &mut kills,
            &mut [&mut carol, &mut alice],
            "fills in a co-signed batch",
            &mut is_so,
        );
        let mut asked = None;
        let mut is_signed = |venue: &Venue, members: &mut [&mut Member]| {
            if asked.is_none() {
                asked = venue.withdrawal(members[0], usd, 1_500 * DOLLAR, 3_600);
            }
            let Some(wish) = &asked else { return false };
            // Asked again after each death: it is the same one.
            let _ = venue.ask(wish);
            progress(venue, venue.id(wish)).is_some_and(|it| it["progress"] == "signed")
        };
        until(
            &mut venue,
            &mut random,
            &mut kills,
            &mut [&mut carol, &mut alice],
            "a signed withdrawal",
            &mut is_signed,
        );
        let id = venue.id(asked.as_ref().unwrap());
        let told = progress(&venue, id);
        let told = told.unwrap_or_else(|| panic!("it is gone: {}", venue.log("settled")));
        venue.take(&mut carol, &told).unwrap();
        venue.node.mine(CONFIRMATIONS + 1, 12);
        home += 1_500 * DOLLAR;
        usd_of[0] -= 1_500 * DOLLAR;
        let all = wanted(usd_of, eth_of);
        let mut is_paid = |venue: &Venue, members: &mut [&mut Member]| {
            let paid = progress(venue, id).is_some_and(|it| it["progress"] == "paid");
            paid && all
                .iter()
                .all(|(who, token, amount)| balance(members[*who], *token) == *amount)
        };
        until(
            &mut venue,
            &mut random,
            &mut kills,
            &mut [&mut carol, &mut alice],
            "the payment in a co-signed batch",
            &mut is_paid,
        );
    }
    println!("killed {kills} times");
    assert!(kills >= rounds, "nobody was killed");
    // To the unit: the shard, the ledger, the wallet, and nothing halted or lost on the way.
    for (at, member) in [&carol, &alice].into_iter().enumerate() {
        venue.wait("totals", |it| {
            (it.total(member, "USD") == Some(usd_of[at] as i128)
                && it.total(member, "ETH") == Some(eth_of[at] as i128))
            .then_some(())
        });
        assert_eq!(
            venue.in_shard(member.name, "USD") * (DOLLAR / USD_UNITS),
            usd_of[at]
        );
        assert_eq!(
            venue.in_shard(member.name, "ETH") * (ETHER / ETH_UNITS),
            eth_of[at]
        );
    }
    assert_eq!(venue.dollars(carol.owner.address()), home);
    venue.wait("settlement marks", outflows_are_covered);
    let status = venue.ask(&Request::Status).unwrap();
    assert!(status["halted"].as_array().unwrap().is_empty(), "{status}");
    assert_eq!(status["credits_waiting"], 0, "{status}");
}

/// Twice the same records, and nothing but signatures that were made in the first run: each is taken.
#[test]
fn many_sign_every_batch() {
    venue::programs();
    let folder = tempfile::tempdir().unwrap();
    let options = ring0_settled::bench::Options {
        traders: 40,
        period: Duration::from_millis(50),
        time: Duration::from_millis(500),
        seed: rand::random(),
    };
    println!("seed {}", options.seed);
    let report = ring0_settled::bench::cosigners(folder.path(), &options).unwrap();
    assert_eq!((report.batches, report.fills), (10, 200));
    assert_eq!(report.cosignatures, 400);
    assert!(report.marks > 0, "{report:?}");
}
