//! Restore drills on a whole venue, as `docs/runbook-restores.md` has them step by step: the ledger's store lost, and of yesterday; the signer's of yesterday;
//! the whole machine from journals, snapshot and keystore, in whose second life a wrong unit is found too.

use crate::alone;
use crate::books::{all_is_exact, begin, day, in_shard, met};
use crate::memory::poke;
use crate::stage::{Person, Stage, order};
use crate::units::part_first_at;
use ring0_dev::{Options, find};
use ring0_trader::{Locate, Order, Outcome, Price, Shares};
use serde_json::{Value, json};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

/// Copies a file or a folder, as `cp -a` does.
fn copy(from: &Path, to: &Path) {
    let kind = fs::symlink_metadata(from).unwrap_or_else(|why| panic!("{from:?}: {why}"));
    if kind.is_file() {
        fs::copy(from, to).unwrap();
    } else if kind.is_dir() {
        DirBuilder::new().mode(0o700).create(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    }
    // What else there is are sockets of processes.
}

/// Runs a program of the venue, which must agree.
fn run(program: &str, arguments: &[&str]) -> Value {
    let ran = Command::new(find(program).unwrap())
        .args(arguments)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{program} {arguments:?}: {ran:?}");
    serde_json::from_slice(&ran.stdout).unwrap_or_default()
}

/// An account's signed statement of all batches so far: every line that the ledger's store has.
fn statement(stage: &Stage, account: u32, to: u64) -> Value {
    let request = json!({ "verb": "statement", "account": account, "from": 1, "to": to });
    stage.wait("a statement", || stage.say("settled", &request))
}

fn epoch(stage: &Stage) -> u64 {
    let status = stage.wait("a status", || stage.status());
    status["ledger"]["epoch"].as_u64().unwrap()
}

#[test]
fn a_ledger_that_is_lost_or_of_yesterday_is_made_again_and_a_signer_of_yesterday_signs_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::up(Stage::options(folder.path()));
    let (mut people, mut wanted) = begin(&stage);
    day(&mut people, &mut wanted, 4);
    all_is_exact(&stage, &mut people, wanted, 0);
    let path = |name: &str| stage.folder.join(name);
    let store = path("settlement/ledger.redb");

    // Yesterday's copies: of the store while settlement stands still, of the signer by its own command while it runs.
    stage.venue().settled.as_mut().unwrap().kill();
    fs::copy(&store, path("ledger.yesterday")).unwrap();
    stage.venue().start_settled().unwrap();
    let home = path("signer").display().to_string();
    let backup = path("signer.yesterday").display().to_string();
    run(
        "ring0-signer",
        &["--json", "--home", &home, "backup", &backup],
    );
    day(&mut people, &mut wanted, 5);
    all_is_exact(&stage, &mut people, wanted, 0);
    let until = epoch(&stage);
    let before = people
        .each_ref()
        .map(|it| statement(&stage, it.account, until));

    // Deleted, and of yesterday: the same to the last line.
    for lost in [true, false] {
        stage.venue().settled.as_mut().unwrap().kill();
        fs::remove_file(&store).unwrap();
        if !lost {
            fs::copy(path("ledger.yesterday"), &store).unwrap();
        }
        stage.venue().start_settled().unwrap();
        let after = people
            .each_ref()
            .map(|it| statement(&stage, it.account, until));
        assert_eq!(before, after);
        day(&mut people, &mut wanted, 1);
        all_is_exact(&stage, &mut people, wanted, 0);
    }

    // The signer's folder of yesterday: what it signed since it would sign otherwise. Settlement knows better, and nothing is signed.
    let signed = |stage: &Stage| {
        let batches = stage.say("settled", &json!({ "verb": "batches" }))?;
        Some((batches["recorded"].as_u64()?, batches["signature"].clone()))
    };
    stage.venue().signer.kill();
    fs::rename(path("signer"), path("signer.newest")).unwrap();
    copy(&path("signer.yesterday"), &path("signer"));
    stage.venue().start_signer().unwrap();
    day(&mut people, &mut wanted, 1);
    let (recorded, _) = stage.wait("a batch that is not signed", || {
        signed(&stage).filter(|(_, signature)| signature.is_null())
    });
    let is_stale = || {
        let status = stage.status()?;
        let why = status["troubles"]["signer"].as_str()?;
        why.contains("stale").then_some(())
    };
    stage.wait("why", is_stale);
    // Whoever else asks gets nothing either, and `resume` does not help.
    let passphrase = path("signer.passphrase").display().to_string();
    let status = run("ring0-signer", &["--json", "--home", &home, "status"]);
    assert!(status["fenced"].is_string(), "{status}");
    let resumed = Command::new(find("ring0-signer").unwrap())
        .args(["--home", &home, "--passphrase-file", &passphrase, "resume"])
        .output()
        .unwrap();
    assert!(!resumed.status.success(), "{resumed:?}");
    assert_eq!(signed(&stage), Some((recorded, Value::Null)));

    // The newest copy comes back: it signs what waits, and the venue goes on.
    stage.venue().signer.kill();
    fs::remove_dir_all(path("signer")).unwrap();
    fs::rename(path("signer.newest"), path("signer")).unwrap();
    stage.venue().start_signer().unwrap();
    all_is_exact(&stage, &mut people, wanted, 0);

    // It is lost for good: the backup goes on above everything that the lost one can have signed, and settlement is told so.
    stage.venue().signer.kill();
    fs::remove_dir_all(path("signer")).unwrap();
    let restored = run(
        "ring0-signer",
        &["--json", "--home", &home, "restore", &backup],
    );
    let floor = restored["floor"].as_u64().unwrap();
    assert!(floor > epoch(&stage), "{restored}");
    stage.venue().start_signer().unwrap();
    day(&mut people, &mut wanted, 1);
    stage.wait("why", is_stale);
    let socket = path("sockets/settled.sock").display().to_string();
    let told = json!({ "verb": "signer-restored", "floor": floor, "reason": "its disk is gone" });
    // A request that is stale fences the signer until its next start.
    stage.venue().signer.kill();
    run("ring0-settled", &["say", &socket, &told.to_string()]);
    stage.venue().start_signer().unwrap();
    all_is_exact(&stage, &mut people, wanted, 0);
    let (recorded, signature) = stage.wait("the newest batch", || signed(&stage));
    assert!(
        recorded > floor && !signature.is_null(),
        "{recorded} {signature}"
    );
    stage.wait("its root on the chain", || {
        let posted = stage.status()?["hubs"][0]["posted"].as_object()?.clone();
        let all = posted.values().all(|it| it.as_u64() > Some(floor));
        (all && posted.len() == 2).then_some(())
    });
    let until = epoch(&stage);
    for person in &people {
        let told = statement(&stage, person.account, until);
        assert!(told["statement"]["assets"].is_array(), "{told}");
    }
    // And it comes back over its own death.
    stage.venue().settled.as_mut().unwrap().kill();
    stage.venue().start_settled().unwrap();
    day(&mut people, &mut wanted, 1);
    all_is_exact(&stage, &mut people, wanted, 0);
}

/// What is kept of a machine: journals, the snapshot that is made of them, keys, and what was written by hand.
const KEPT: [&str; 13] = [
    "market.toml",
    "keys",
    "journal",
    "settled.toml",
    "settlement/settled.log",
    "settlement/audit.log",
    "settlement/facts.redb",
    "signer",
    "signer.passphrase",
    "fee.key",
    "gateway.toml",
    "grants",
    "identity",
];

/// Its place in the market file.
const DOLLAR: u32 = 0;

/// What a shard, the ledger and the channels say of two people, and what stands in the book.
fn picture(stage: &Stage, people: &[Person; 2]) -> Value {
    let of = |person: &Person| {
        let account = person.account;
        let shard = stage.wait("a shard", || in_shard(stage, account));
        let ask = |verb: &str| {
            let request = json!({ "verb": verb, "account": account });
            stage.wait(verb, || stage.say("settled", &request))
        };
        let channels: Vec<Value> = ask("channels")["channels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                let names = [
                    "channel",
                    "deposited",
                    "withdrawn",
                    "escrow",
                    "balance",
                    "phase",
                ];
                json!(names.map(|name| &it[name]))
            })
            .collect();
        let assets = &ask("balances")["assets"];
        let totals = ["ETH", "USD"].map(|asset| assets[asset]["total"].clone());
        let orders = stage.wait("its orders", || {
            let answer = stage.say("dev", &json!({ "verb": "accounts" }))?;
            let all = answer["accounts"].as_array()?;
            let own = all.iter().find(|it| it["number"] == account)?;
            Some(own["orders"].clone())
        });
        json!({ "shard": format!("{shard:?}"), "channels": channels, "totals": totals, "orders": orders })
    };
    let status = stage.wait("a status", || {
        stage.say("dev", &json!({ "verb": "status" }))
    });
    let book = ["bid", "ask"].map(|side| status["instruments"][0][side].clone());
    json!({ "people": [of(&people[0]), of(&people[1])], "book": book })
}

#[test]
fn the_whole_machine_comes_back_from_journals_snapshot_and_keystore() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let options = Stage::options(folder.path());
    let durable = "[shard]\nacks = \"durable\"";
    let stage = Stage::up(Options {
        market: options.market.replacen("[shard]", durable, 1),
        ..options
    });
    let (mut people, mut wanted) = begin(&stage);
    day(&mut people, &mut wanted, 4);
    // Two orders that stand in the book.
    let (shares, [low, high]) = (Shares(100), [2_500, 3_500].map(|it| Price(it * 10_000)));
    let [carol, alice] = &mut people;
    let buy = Order::buy(Locate(1), shares, low);
    order(carol.trader.as_mut().unwrap(), &buy);
    let sell = Order::sell(Locate(1), shares, high);
    order(alice.trader.as_mut().unwrap(), &sell);
    all_is_exact(&stage, &mut people, wanted, 0);
    let before = picture(&stage, &people);

    // The machine is gone: every process, the shard's memory in the kernel. What is left are copies.
    let path = |name: &str| stage.folder.join(name);
    {
        let mut venue = stage.venue();
        let venue = &mut *venue;
        venue.recorder.kill();
        venue.shard.kill();
        venue.signer.kill();
        venue.settled.as_mut().unwrap().kill();
        venue.gateway.kill();
        venue.forget_memory().unwrap();
    }
    let lost = stage.folder.with_extension("lost");
    fs::rename(&stage.folder, &lost).unwrap();
    DirBuilder::new().mode(0o700).create(&stage.folder).unwrap();
    for made in ["settlement", "sockets", "gateway"] {
        DirBuilder::new().mode(0o700).create(path(made)).unwrap();
    }
    for name in KEPT {
        copy(&lost.join(name), &path(name));
    }
    fs::remove_dir_all(&lost).unwrap();

    // 1. The shard: its state from the journal, in a journal of its next life.
    let [market, old, new] =
        ["market.toml", "journal", "journal.2"].map(|it| path(it).display().to_string());
    let recover = [
        "journal", "recover", "--json", "--market", &market, &old, &new,
    ];
    let recovered = run("ring0", &recover);
    let snapshot = recovered["snapshot"].as_str().unwrap().to_owned();
    // 2. Whoever reads the shard's records reads both journals.
    for file in ["settled.toml", "gateway.toml"] {
        let text = fs::read_to_string(path(file)).unwrap();
        let lives = "journal = [\"journal\", \"journal.2\"]";
        let text = text.replacen("journal = \"journal\"", lives, 1);
        assert!(text.contains(lives), "{text}");
        fs::write(path(file), text).unwrap();
    }
    // 3. The processes, in the order of what asks what.
    {
        let mut venue = stage.venue();
        let venue = &mut *venue;
        let with = ["--restore".to_owned(), snapshot];
        venue.shard.arguments.extend(with);
        venue.start_shard().unwrap();
        venue
            .shard
            .arguments
            .truncate(venue.shard.arguments.len() - 2);
        let journal = venue.recorder.arguments.iter_mut();
        journal
            .filter(|it| **it == old)
            .for_each(|it| it.clone_from(&new));
        venue.start_recorder().unwrap();
        venue.start_signer().unwrap();
        venue.start_settled().unwrap();
        venue.start_gateway().unwrap();
    }
    assert_eq!(picture(&stage, &people), before);
    all_is_exact(&stage, &mut people, wanted, 0);

    // The same sessions go on, the same orders are cancelled and met, the next batches are signed, money goes home.
    let [_, alice] = &mut people;
    let meet = Order::sell(Locate(1), shares, low).immediate();
    let ack = order(alice.trader.as_mut().unwrap(), &meet);
    assert_eq!(ack.quantity, 100, "{ack:?}");
    let gone = alice.trader.as_mut().unwrap();
    let acks = gone.submit(&[Order::mass_cancel(None)]).unwrap();
    assert!(
        matches!(acks[0].outcome, Outcome::Accepted | Outcome::Continues),
        "{acks:?}"
    );
    let [of_carol, of_alice] = &mut wanted;
    met(of_carol, of_alice, 2_500);
    day(&mut people, &mut wanted, 4);
    all_is_exact(&stage, &mut people, wanted, 0);

    // And everybody may die again.
    {
        let mut venue = stage.venue();
        venue.settled.as_mut().unwrap().kill();
        venue.shard.kill();
        venue.start_shard().unwrap();
        venue.start_settled().unwrap();
    }
    day(&mut people, &mut wanted, 1);
    all_is_exact(&stage, &mut people, wanted, 0);

    // A unit too many in the memory of the second life is found as in a first one: the search begins with the snapshot that the life began with.
    let has = poke(&stage, people[0].account, DOLLAR, 1);
    let exactly = format!("the memory of dev has {has} engine units, its records up to ");
    let first = part_first_at(&stage, "USD", &exactly);
    assert!(first.ends_with(&format!(" lead to {}", has - 1)), "{first}");
    let mut venue = stage.into_venue();
    assert!(venue.ended().is_empty(), "nothing has ended by itself");
    assert!(venue.down().is_empty(), "everything ends when asked to");
}
