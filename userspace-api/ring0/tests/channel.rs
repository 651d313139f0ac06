//! `ring0 channel`: the demo on a real node and a real shard, and the commands with good and with damaged files.

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, hex, keccak256};
use ring0_channels::batch::{Built, Leaf};
use ring0_channels::batch_file::BatchFile;
use ring0_channels::evidence::Holding;
use ring0_channels::keep::Keep;
use ring0_channels::key::Signer;
use ring0_channels::message::{ChannelState, Hub, KIND_TRADING, Terms, venue_domain};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn channel(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ring0"))
        .arg("channel")
        .args(arguments)
        .output()
        .expect("the command was just built")
}

/// It fails with this status and says this.
fn fails(arguments: &[&str], status: i32, says: &str) {
    let output = channel(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
    assert!(error.contains(says), "{arguments:?}: {error}");
}

#[test]
fn the_demo_takes_the_trader_home_with_every_balance_right() {
    let output = channel(&["demo", "--json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    if matches!(output.status.code(), Some(5 | 6)) {
        eprintln!("skipped: {error}");
        return;
    }
    assert!(output.status.success(), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["agrees"], true, "{report}");
    let balances = report["balances"].as_array().unwrap();
    assert!(balances.len() >= 16, "{report}");
    // Two ether sold, one bought back, three wei of dust: nine and three wei come home.
    let home = balances
        .iter()
        .find(|it| it["balance"] == "paid by the hub");
    assert_eq!(home.unwrap()["found"], "9000000000000000003", "{report}");
}

fn signer(name: &str) -> Signer {
    Signer::new(keccak256(name).0).unwrap()
}

/// A trader's two channels, and the parts of two batches with them.
fn batches(epochs: [u64; 2]) -> [BatchFile; 2] {
    let (venue, hub) = (
        keccak256("venue"),
        Hub {
            lineage: U256::from(1),
            address: Address::repeat_byte(9),
        },
    );
    let (operator, trader) = (signer("operator"), signer("trader"));
    let channels = [Address::ZERO, Address::repeat_byte(7)].map(|token| Holding {
        hub,
        venue,
        operator: operator.address(),
        terms: Terms {
            owner: trader.address(),
            cosigner: trader.address(),
            token,
            nonce: 1,
        },
        newest: None,
    });
    epochs.map(|epoch| {
        let leaf = |holding: &Holding| Leaf {
            hub,
            token: holding.terms.token,
            account: 1,
            state: ChannelState {
                channel: holding.channel(),
                version: U40::from(epoch),
                balance: 100 + u128::from(epoch),
                depositedSeen: 100,
                withdrawnSeen: 0,
                epoch: U40::from(epoch),
                kind: KIND_TRADING,
                branch: keccak256("block"),
            },
            excess: u128::from(epoch),
        };
        let leaves = channels.iter().map(leaf).collect();
        let built = Built::new(U40::from(epoch), B256::ZERO, leaves).unwrap();
        let signature = operator.sign(built.batch(), &venue_domain(venue));
        BatchFile::new(&built, signature, 1, &channels).unwrap()
    })
}

#[test]
fn files_are_exported_shown_and_verified_and_damaged_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (one, two, out) = (at("one"), at("two"), at("exit.json"));
    let keep = Keep::open(&[one.clone().into(), two.clone().into()]).unwrap();
    let export = ["export", "--keep", &one, "--keep", &two, "--out", &out];
    fails(&export, 1, "no state of any channel is kept there");

    let [first, second] = batches([1, 2]);
    let trader = signer("trader");
    let state = first.check(&[]).unwrap();
    for holding in first.cosigned(trader.sign(&state, &venue_domain(keccak256("venue")))) {
        keep.keep(&holding).unwrap();
    }
    let output = channel(&export);
    assert!(output.status.success(), "{output:?}");
    fails(&export, 1, "name a file that is not there yet");
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = channel(&["show", &out]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(
        text.contains("balance   101") && text.contains("leaf of a batch"),
        "{text}"
    );

    // The next batch: whole, without a channel, and asked for under another number.
    let batch = at("batch.json");
    let verify = [
        "verify", "2", "--batch", &batch, "--keep", &one, "--keep", &two,
    ];
    fails(&verify, 1, "name the file that the operator gave");
    fs::write(&batch, serde_json::to_vec(&second).unwrap()).unwrap();
    let output = channel(&verify);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("all 2 kept channels of account 1 are in"),
        "{output:?}"
    );
    let other = ["verify", "3", "--batch", &batch, "--keep", &one];
    fails(&other, 3, "the file is of epoch 2");
    let mut short = second.clone();
    short.holdings.remove(0);
    fs::write(&batch, serde_json::to_vec(&short).unwrap()).unwrap();
    fails(&verify, 3, "is yours and not in the batch");
    fs::write(&batch, serde_json::to_vec(&first).unwrap()).unwrap();
    let stale = ["verify", "1", "--batch", &batch, "--keep", &one];
    fails(&stale, 3, "is not above version 1");

    // One wei more in the file: no signature covers it.
    let greedy = fs::read_to_string(&out)
        .unwrap()
        .replacen("\"101\"", "\"102\"", 1);
    let forged = at("forged.json");
    fs::write(&forged, greedy).unwrap();
    fails(&["show", &forged], 1, "does not count");
    exits(&out, &forged, folder.path());

    // A copy that is damaged is named, and the other one used; in both places it is left out, and that is a failure.
    let file = fs::read_dir(&one).unwrap().next().unwrap().unwrap().path();
    let name = file.file_name().unwrap().to_owned();
    fs::write(&file, "{").unwrap();
    let kept = [
        "export",
        "--keep",
        &one,
        "--keep",
        &two,
        "--out",
        &at("named.json"),
    ];
    fails(&kept, 1, "compare the copies");
    let shown = channel(&["show", &at("named.json")]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert_eq!(text.matches("balance   101").count(), 2, "{text}");
    fs::write(Path::new(&two).join(&name), "{").unwrap();
    let again = [
        "export",
        "--keep",
        &one,
        "--keep",
        &two,
        "--out",
        &at("again.json"),
    ];
    fails(&again, 1, "compare the copies");
}

/// What stops an exit before anything is sent.
fn exits(file: &str, forged: &str, folder: &Path) {
    let key = folder.join("key");
    fs::write(&key, hex::encode([7; 32])).unwrap();
    let path = key.display().to_string();
    // Nobody listens at the discard port here.
    let rpc = "http://127.0.0.1:9";
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let exit = ["exit", file, "--rpc", rpc, "--key", &path];
    fails(&exit, 1, "others may read it (mode 644)");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fails(&exit, 1, "check that the node runs");
    fails(
        &["exit", forged, "--rpc", rpc, "--key", &path],
        1,
        "does not count",
    );
    let elsewhere = format!("0x{}", "11".repeat(32));
    let other = [
        "exit",
        file,
        "--rpc",
        rpc,
        "--key",
        &path,
        "--channel",
        &elsewhere,
    ];
    fails(&other, 1, "is not in the file");
    fs::write(&key, "no key").unwrap();
    fails(&exit, 1, "it holds no 64 hexadecimal digits");
}
