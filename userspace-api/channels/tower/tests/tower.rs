//! Towers on a real node. Each test names its attacker, what is attacked, and the balances to the unit.

#[path = "../../evm/tests/node/mod.rs"]
mod node;

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, hex, keccak256};
use node::{Node, hub};
use ring0_channels::chain::Chain;
use ring0_channels::evidence::{Evidence, Holding, OperatorHalf};
use ring0_channels::key::{Signature, Signer};
use ring0_channels::message::{
    AccountState, ChannelState, Hub, KIND_TRADING, State, Terms, venue_domain,
};
use ring0_channels::tower::{Alert, Kind, Tower, Watch};
use ring0_channels::tree::{self, Tree};
use ring0_channels_evm::Evm;
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const ETHER: u128 = 1_000_000_000_000_000_000;
const WINDOW: u64 = 24 * 3600;
const CONFIRMATIONS: u64 = 3;
/// What every channel here is opened with. Balances stay below, so a trader's own escrow pays them.
const DEPOSIT: u128 = 10 * ETHER;

struct Venue {
    node: Node,
    hub: Hub,
    id: B256,
    operator: Signer,
    branch: B256,
}

fn key(name: &str) -> Signer {
    Signer::new(keccak256(name).0).unwrap()
}

impl Venue {
    fn up() -> Venue {
        let node = Node::start(1, None, None);
        node.mine(3, 12);
        let operator = key("operator");
        let (id, lineage) = (keccak256("the venue"), U256::from(1));
        let settings = hub::Settings {
            lineage,
            venue: id,
            operator: operator.address(),
            treasury: node.account(9),
            anchor: U40::from(3600),
            window: U40::from(WINDOW),
            grace: U40::from(7 * 24 * 3600),
            vaultDelay: U40::from(WINDOW + 3600),
            pinEvery: 10,
            confirmations: 5,
            firstEpoch: U40::ZERO,
        };
        let address = node.deploy(node.account(0), &node::hub_code(), settings);
        let branch = node.block_hash(node.height() - 1);
        Venue {
            hub: Hub { lineage, address },
            node,
            id,
            operator,
            branch,
        }
    }

    fn give(&self, to: Address, amount: u128) {
        let rich = json!([to, format!("{amount:#x}")]);
        self.node.call("anvil_setBalance", rich).unwrap();
    }

    /// The hub through a wallet with this much.
    fn wallet(&self, signer: &Signer, amount: u128) -> Evm {
        self.give(signer.address(), amount);
        Evm::connect(&self.node.url(), self.hub, Some(signer.clone())).unwrap()
    }

    /// Opens a channel of an account of the node.
    fn open(&self, number: usize, nonce: u64) -> Holding {
        let terms = Terms {
            owner: self.node.account(number),
            cosigner: key(&format!("co-signer {number}")).address(),
            token: Address::ZERO,
            nonce,
        };
        let open = hub::openCall {
            cosigner: terms.cosigner,
            token: terms.token,
            nonce,
            amount: DEPOSIT,
        };
        let sent = self
            .node
            .send(terms.owner, self.hub.address, DEPOSIT, &open);
        sent.unwrap();
        Holding {
            hub: self.hub,
            venue: self.id,
            operator: self.operator.address(),
            terms,
            newest: None,
        }
    }

    /// States of one account's channels under one signature of the trader: version and epoch are the same number.
    fn sign(&self, number: usize, version: u64, states: &[(&Holding, u128)]) -> Vec<Holding> {
        let account = number as u64;
        let state = |(holding, balance): &(&Holding, u128)| ChannelState {
            channel: holding.channel(),
            version: U40::from(version),
            balance: *balance,
            depositedSeen: DEPOSIT,
            withdrawnSeen: 0,
            epoch: U40::from(version),
            kind: KIND_TRADING,
            branch: self.branch,
        };
        let mut leaves: Vec<_> = states
            .iter()
            .map(state)
            .map(|it| (it.channel, tree::leaf(it.hash())))
            .collect();
        leaves.push((
            keccak256("elsewhere"),
            tree::leaf(keccak256([version as u8])),
        ));
        let tree = Tree::new(leaves).unwrap();
        let whole = AccountState {
            account,
            epoch: U40::from(version),
            accountRoot: tree.root(),
        };
        let cosigner = key(&format!("co-signer {number}"));
        let cosignature = cosigner.sign(&whole, &venue_domain(self.id));
        let signed = states.iter().map(|it| {
            let state = state(it);
            let position = tree.position(tree::leaf(state.hash())).unwrap();
            let whole = State {
                accountRoot: tree.root(),
                state,
            };
            let operator = self.operator.sign(&whole, &self.hub.domain());
            let newest = Evidence {
                version,
                balance: it.1,
                deposited_seen: DEPOSIT,
                withdrawn_seen: 0,
                epoch: version,
                branch: self.branch,
                account,
                position: position as u64,
                path: tree.path(position),
                cosignature,
                cosigner: cosigner.address(),
                grant: None,
                operator: OperatorHalf::Compact(operator),
            };
            let holding = Holding {
                newest: Some(newest),
                ..it.0.clone()
            };
            holding.verify().unwrap();
            holding
        });
        signed.collect()
    }

    fn signed(&self, number: usize, version: u64, holding: &Holding, balance: u128) -> Holding {
        self.sign(number, version, &[(holding, balance)]).remove(0)
    }

    /// The attacker shows a state. It is mined, also where the node mines nothing by itself.
    fn attack(&self, attacker: &Signer, state: &Holding) {
        let mut evm = self.wallet(attacker, 100 * ETHER);
        let sent = evm.dispute(state).unwrap();
        self.node.mine(1, 12);
        evm.confirm(sent, Duration::from_secs(30), Duration::from_secs(60))
            .unwrap();
    }

    /// After the window anybody settles; what the owner got.
    fn settle(&self, holding: &Holding) -> u128 {
        let before = self.node.balance(holding.terms.owner);
        let settle = hub::settleCall {
            c: (&holding.terms).into(),
        };
        let from = self.node.account(8);
        self.node.send(from, self.hub.address, 0, &settle).unwrap();
        (self.node.balance(holding.terms.owner) - before).to()
    }

    fn version(&self, holding: &Holding) -> u64 {
        let evm = Evm::connect(&self.node.url(), self.hub, None).unwrap();
        evm.status(holding.channel()).unwrap().version.to()
    }

    /// The next block's base fee is ten times this one's.
    fn dearer(&self) {
        let block = self
            .node
            .call("eth_getBlockByNumber", json!(["latest", false]));
        let base = block.unwrap()["baseFeePerGas"].as_str().unwrap().to_owned();
        let base = u64::from_str_radix(&base[2..], 16).unwrap();
        let dear = json!([format!("{:#x}", 10 * base)]);
        self.node
            .call("anvil_setNextBlockBaseFeePerGas", dear)
            .unwrap();
    }

    /// A block without room for any answer.
    fn full_block(&self) {
        self.node
            .call("evm_setBlockGasLimit", json!(["0x7530"]))
            .unwrap();
        self.node.mine(1, 12);
        self.node
            .call("evm_setBlockGasLimit", json!(["0x1c9c380"]))
            .unwrap();
    }

    fn automine(&self, on: bool) {
        self.node.call("evm_setAutomine", json!([on])).unwrap();
    }
}

/// A tower over some states, in this process: round by round.
fn tower(states: &[&Holding]) -> Tower<Holding> {
    let mut tower = Tower::new(CONFIRMATIONS);
    for state in states {
        watch(&mut tower, state);
    }
    tower
}

fn watch(tower: &mut Tower<Holding>, state: &Holding) {
    tower.watch(Watch {
        channel: state.channel(),
        version: state.version(),
        exit: state.clone(),
    });
}

fn kinds(alerts: &[Alert]) -> Vec<Kind> {
    alerts.iter().map(|alert| alert.kind).collect()
}

/// Attacker: the operator, who shows version 1 (the trader has 2 ether) when version 2 (7 ether) is signed. The tower is away for
/// 23 of 24 hours and answers in the last one.
#[test]
fn away_for_part_of_the_window_it_answers_in_time() {
    let venue = Venue::up();
    let channel = venue.open(1, 1);
    let old = venue.signed(1, 1, &channel, 2 * ETHER);
    let newest = venue.signed(1, 2, &channel, 7 * ETHER);
    let mut evm = venue.wallet(&key("fees"), ETHER);
    assert_eq!(tower(&[&newest]).round(&mut evm), [], "nothing to do");
    venue.attack(&venue.operator, &old);
    venue.node.mine(1, WINDOW - 3600);
    let mut tower = tower(&[&old, &newest]);
    let alerts = tower.round(&mut evm);
    assert_eq!(kinds(&alerts), [Kind::Disputed, Kind::Refuting]);
    assert_eq!(
        (alerts[0].at_risk, alerts[0].owner),
        (5 * ETHER, Some("trader"))
    );
    assert_eq!(alerts[0].deadline, evm.deadline(channel.channel()).unwrap());
    assert_eq!(tower.round(&mut evm), [], "not deep enough");
    venue.node.mine(CONFIRMATIONS, 12);
    assert_eq!(kinds(&tower.round(&mut evm)), [Kind::Refuted]);
    assert_eq!(tower.numbers().open, 0);
    // An older file changes nothing.
    watch(&mut tower, &old);
    assert_eq!(tower.round(&mut evm), []);
    venue.node.mine(1, 3600);
    assert_eq!(venue.settle(&channel), 7 * ETHER);
    assert_eq!(tower.round(&mut evm), []);
}

/// The same attack, and the tower is away for the whole window: the old state is paid, and the loss is said to the unit.
#[test]
fn away_for_the_whole_window_it_says_what_was_lost() {
    let venue = Venue::up();
    let channel = venue.open(1, 1);
    let old = venue.signed(1, 1, &channel, 2 * ETHER);
    let newest = venue.signed(1, 2, &channel, 7 * ETHER + 1);
    let mut evm = venue.wallet(&key("fees"), ETHER);
    venue.attack(&venue.operator, &old);
    venue.node.mine(1, WINDOW);
    let mut late = tower(&[&newest]);
    let alerts = late.round(&mut evm);
    assert_eq!(kinds(&alerts), [Kind::Lost]);
    assert_eq!(alerts[0].at_risk, 5 * ETHER + 1);
    assert!(
        alerts[0]
            .what
            .contains("the trader loses 5000000000000000001"),
        "{}",
        alerts[0].what
    );
    assert_eq!(late.round(&mut evm), [], "said once");
    assert_eq!(late.numbers().lost, 1);
    assert_eq!(venue.settle(&channel), 2 * ETHER);
    // One that begins after the settlement says the same.
    let alerts = tower(&[&newest]).round(&mut evm);
    assert_eq!(
        (kinds(&alerts), alerts[0].at_risk),
        (vec![Kind::Lost], 5 * ETHER + 1)
    );
    assert_eq!(
        venue.node.balance(key("fees").address()),
        U256::from(ETHER),
        "nothing was sent"
    );
}

/// The same attack, and the base fee goes to the tenfold between sending and mining.
#[test]
fn the_fee_is_raised_until_it_is_mined() {
    let venue = Venue::up();
    let channel = venue.open(1, 1);
    let old = venue.signed(1, 1, &channel, 2 * ETHER);
    let newest = venue.signed(1, 2, &channel, 7 * ETHER);
    let mut evm = venue.wallet(&key("fees"), ETHER);
    venue.attack(&venue.operator, &old);
    venue.automine(false);
    let mut tower = tower(&[&newest]);
    assert_eq!(
        kinds(&tower.round(&mut evm)),
        [Kind::Disputed, Kind::Refuting]
    );
    venue.dearer();
    venue.node.mine(1, 12);
    assert_eq!(venue.version(&channel), 1, "too cheap for that block");
    // This node has forgotten it for that: it is given anew.
    assert_eq!(kinds(&tower.round(&mut evm)), [Kind::Refuting]);
    assert_eq!(tower.round(&mut evm), [], "once a block");
    // Ten times as much again, and a full block: now it waits and is too cheap for the next.
    venue.dearer();
    venue.full_block();
    assert_eq!(venue.version(&channel), 1);
    assert_eq!(kinds(&tower.round(&mut evm)), [Kind::Raised]);
    assert_eq!(tower.round(&mut evm), [], "once a block");
    venue.node.mine(1, 12);
    assert_eq!(venue.version(&channel), 2);
    venue.node.mine(CONFIRMATIONS, 12);
    tower.round(&mut evm);
    venue.node.mine(CONFIRMATIONS, 12);
    assert_eq!(kinds(&tower.round(&mut evm)), [Kind::Refuted]);
    assert_eq!(tower.numbers().raises, 1);
    venue.automine(true);
    venue.node.mine(1, WINDOW);
    assert_eq!(venue.settle(&channel), 7 * ETHER);
}

/// The same attack, and a reorganisation takes the answer out of the chain after it was mined: it is given again.
#[test]
fn an_answer_that_a_reorganisation_took_is_given_again() {
    let venue = Venue::up();
    let channel = venue.open(1, 1);
    let old = venue.signed(1, 1, &channel, 2 * ETHER);
    let newest = venue.signed(1, 2, &channel, 7 * ETHER);
    let mut evm = venue.wallet(&key("fees"), ETHER);
    venue.attack(&venue.operator, &old);
    let before = venue.node.call("evm_snapshot", json!([])).unwrap();
    let mut tower = tower(&[&newest]);
    assert_eq!(
        kinds(&tower.round(&mut evm)),
        [Kind::Disputed, Kind::Refuting]
    );
    venue.node.mine(1, 12);
    assert_eq!(tower.round(&mut evm), []);
    assert_eq!(venue.version(&channel), 2);
    venue.node.call("evm_revert", json!([before])).unwrap();
    venue.node.mine(3, 13);
    assert_eq!(venue.version(&channel), 1);
    assert_eq!(
        kinds(&tower.round(&mut evm)),
        [Kind::Reorganised, Kind::Refuting]
    );
    assert_eq!(venue.version(&channel), 2);
    tower.round(&mut evm);
    venue.node.mine(CONFIRMATIONS, 12);
    assert_eq!(kinds(&tower.round(&mut evm)), [Kind::Refuted]);
    venue.node.mine(1, WINDOW);
    assert_eq!(venue.settle(&channel), 7 * ETHER);
}

/// The same attack under two towers with keys of their own. Both answers are in one block: one counts, the other is without effect.
#[test]
fn two_towers_race_and_neither_is_hurt() {
    let venue = Venue::up();
    let channel = venue.open(1, 1);
    let old = venue.signed(1, 1, &channel, ETHER);
    let newest = venue.signed(1, 2, &channel, 7 * ETHER);
    let mut towers = ["fees 1", "fees 2"].map(|name| {
        let evm = venue.wallet(&key(name), ETHER);
        (tower(&[&newest]), evm)
    });
    venue.automine(false);
    venue.attack(&venue.operator, &old);
    for (tower, evm) in &mut towers {
        assert_eq!(kinds(&tower.round(evm)), [Kind::Disputed, Kind::Refuting]);
    }
    venue.node.mine(1, 12);
    assert_eq!(venue.version(&channel), 2);
    for (tower, evm) in &mut towers {
        assert_eq!(tower.round(evm), []);
    }
    venue.node.mine(CONFIRMATIONS, 12);
    for (tower, evm) in &mut towers {
        assert_eq!(kinds(&tower.round(evm)), [Kind::Refuted]);
        let paid = U256::from(ETHER) - evm.balance(evm.payer().unwrap()).unwrap();
        assert!(paid > U256::ZERO, "both were in the block");
    }
    venue.automine(true);
    venue.node.mine(1, WINDOW);
    assert_eq!(venue.settle(&channel), 7 * ETHER);
}

/// The same attack on a tower whose wallet is empty: it says so with what is at risk, and goes on when money comes in.
#[test]
fn an_empty_wallet_is_said_with_what_is_at_risk() {
    let venue = Venue::up();
    let channel = venue.open(1, 1);
    let old = venue.signed(1, 1, &channel, 2 * ETHER);
    let newest = venue.signed(1, 2, &channel, 7 * ETHER);
    let mut evm = venue.wallet(&key("fees"), 1);
    let mut tower = tower(&[&newest]);
    let alerts = tower.round(&mut evm);
    assert_eq!(
        (kinds(&alerts), alerts[0].channel),
        (vec![Kind::FeeWalletEmpty], None)
    );
    venue.attack(&venue.operator, &old);
    let alerts = tower.round(&mut evm);
    assert_eq!(kinds(&alerts), [Kind::Disputed, Kind::FeeWalletEmpty]);
    let alert = &alerts[1];
    assert_eq!(
        (alert.at_risk, alert.channel),
        (5 * ETHER, Some(channel.channel()))
    );
    assert!(
        alert.what.contains(&key("fees").address().to_string()),
        "{}",
        alert.what
    );
    venue.node.mine(1, 12);
    assert_eq!(tower.round(&mut evm), [], "said once");
    venue.give(key("fees").address(), ETHER);
    assert_eq!(
        kinds(&tower.round(&mut evm)),
        [Kind::FeeWalletFilled, Kind::Refuting]
    );
    assert_eq!(venue.version(&channel), 2);
    venue.node.mine(1, WINDOW);
    assert_eq!(venue.settle(&channel), 7 * ETHER);
}

/// A node that is gone is said once, with what is at risk; the tower goes on when another is there.
#[test]
fn a_node_that_is_gone_is_said() {
    let venue = Venue::up();
    let channel = venue.open(1, 1);
    let newest = venue.signed(1, 1, &channel, 7 * ETHER);
    let mut evm = venue.wallet(&key("fees"), ETHER);
    let mut tower = tower(&[&newest]);
    assert_eq!(tower.round(&mut evm), []);
    drop(venue);
    assert_eq!(kinds(&tower.round(&mut evm)), [Kind::NodeLost]);
    assert_eq!(tower.round(&mut evm), []);
    assert!(!tower.numbers().node_up);
}

/// A tower as it is run.
struct Process {
    child: Child,
    lines: Receiver<Value>,
    errors: Option<std::process::ChildStderr>,
}

impl Process {
    fn start(venue: &Venue, evidence: &[&Path], key: &Path, options: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ring0-tower"));
        for folder in evidence {
            command.arg("--evidence").arg(folder);
        }
        command
            .args(["--rpc", &venue.node.url(), "--poll", "50"])
            .args(["--confirmations", &CONFIRMATIONS.to_string()])
            .arg("--fee-key")
            .arg(key)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let errors = child.stderr.take();
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let alert = serde_json::from_str(&line).expect("an alert is a line of JSON");
                let _ = send.send(alert); // whoever listened has gone
            }
        });
        Process {
            child,
            lines,
            errors,
        }
    }

    /// The next alert of a kind; others before it are read and left.
    fn alert(&self, kind: &str) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        let mut before = Vec::new();
        while let Ok(alert) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if alert["kind"] == kind {
                return alert;
            }
            before.push(alert);
        }
        panic!("no alert {kind} after {before:?}");
    }

    /// Ends by itself, with this on its standard error.
    fn fails(mut self) -> String {
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(1));
        let mut text = String::new();
        self.errors
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // SIGKILL; ended already
        let _ = self.child.wait();
    }
}

/// A key's file that only its owner reads.
fn key_file(folder: &Path, name: &str, mode: u32) -> PathBuf {
    let path = folder.join(format!("{name}.key"));
    fs::write(&path, hex::encode(keccak256(name))).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn write(folder: &Path, name: &str, holding: &Holding) {
    let beside = folder.join(format!("{name}.new"));
    fs::write(&beside, serde_json::to_vec(holding).unwrap()).unwrap();
    fs::rename(&beside, folder.join(format!("{name}.json"))).unwrap();
}

/// Attacker: the operator, who shows version 1 when version 2 was written to the folder of a running tower. The tower is killed
/// with its answer on the way, in no block; started again it answers, and outbids what it left behind.
#[test]
fn killed_in_the_middle_and_started_again_it_answers() {
    let venue = Venue::up();
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    let fees = key_file(folder.path(), "fees", 0o600);
    venue.give(key("fees").address(), ETHER);
    let channel = venue.open(1, 1);
    let old = venue.signed(1, 1, &channel, 2 * ETHER);
    write(&one, "channel", &old);
    let branch = venue.branch;
    // Files that would hide the state that counts, or are none: each is named, and the tower goes on.
    fs::write(two.join("damaged.json"), "{\"hub\":").unwrap();
    let mut other = venue.signed(1, 9, &channel, 2 * ETHER);
    other.newest.as_mut().unwrap().balance += 1;
    write(&two, "changed", &other);
    let stranger = Venue {
        operator: key("stranger"),
        ..venue
    };
    let mut forged = channel.clone();
    forged.operator = stranger.operator.address();
    write(&two, "forged", &stranger.signed(1, 9, &forged, ETHER));
    let elsewhere = Venue {
        operator: key("operator"),
        branch: keccak256("another branch"),
        ..stranger
    };
    write(&two, "branch", &elsewhere.signed(1, 9, &channel, ETHER));
    let venue = Venue {
        branch,
        ..elsewhere
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = port.local_addr().unwrap().to_string();
    drop(port);
    let tower = Process::start(&venue, &[&one, &two], &fees, &["--metrics", &metrics]);
    for (file, why) in [
        ("changed.json", "signature does not hold"),
        ("damaged.json", "no evidence"),
        ("branch.json", "not pinned on this chain"),
        ("forged.json", "its operator is"),
    ] {
        let bad = tower.alert("evidence");
        let what = bad["what"].as_str().unwrap();
        assert!(what.contains(file) && what.contains(why), "{bad}");
    }

    // The trader's SDK keeps a newer state meanwhile, then the old one is shown.
    write(&two, "channel", &venue.signed(1, 2, &channel, 7 * ETHER));
    venue.automine(false);
    venue.attack(&venue.operator, &old);
    let alert = tower.alert("disputed");
    assert_eq!(alert["at_risk"], (5 * ETHER).to_string());
    assert_eq!(alert["owner"], "trader");
    assert!(
        alert["deadline"].is_u64() && alert["todo"].is_string(),
        "{alert}"
    );
    tower.alert("refuting");
    let numbers = ureq::get(format!("http://{metrics}/metrics"))
        .call()
        .unwrap();
    let numbers = numbers.into_body().read_to_string().unwrap();
    for line in [
        "ring0_tower_channels 1\n",
        "ring0_tower_bad_files_total 4\n",
        "ring0_tower_node_up 1\n",
    ] {
        assert!(numbers.contains(line), "{numbers}");
    }
    drop(tower); // killed
    assert_eq!(venue.version(&channel), 1);

    let tower = Process::start(&venue, &[&one, &two], &fees, &["--holdings", &metrics]);
    tower.alert("refuting");
    venue.node.mine(1, 12);
    assert_eq!(venue.version(&channel), 2);
    // Whoever leaves may ask it for the newest state, of this channel and no other.
    let asked = |id: B256| ureq::get(format!("http://{metrics}/holdings/{id}")).call();
    let told = asked(keccak256("another channel")).unwrap_err();
    assert!(matches!(told, ureq::Error::StatusCode(404)), "{told}");
    let told: Holding = asked(channel.channel())
        .unwrap()
        .body_mut()
        .read_json()
        .unwrap();
    assert_eq!((told.channel(), told.verify()), (channel.channel(), Ok(())));
    std::thread::sleep(Duration::from_millis(500)); // it sees the block before the next ones come
    venue.node.mine(CONFIRMATIONS, 12);
    let end = tower.alert("refuted");
    assert_eq!(end["at_risk"], "0");
    venue.automine(true);
    venue.node.mine(1, WINDOW);
    assert_eq!(venue.settle(&channel), 7 * ETHER);
}

/// Attacker: a trader with two channels, who held back its signature over epoch 2, where its second channel has 1 ether. It leaves the
/// first by epoch 2 and the second by epoch 1, where that had 9. Showing the first discloses the signature over both: the
/// operator's tower completes the half that it has and answers.
#[test]
fn what_a_trader_shows_of_one_channel_answers_for_its_sibling() {
    let venue = Venue::up();
    let folder = tempfile::tempdir().unwrap();
    let evidence = folder.path().join("evidence");
    fs::create_dir(&evidence).unwrap();
    let fees = key_file(folder.path(), "fees", 0o600);
    venue.give(key("fees").address(), ETHER);
    let (first, second) = (venue.open(1, 1), venue.open(1, 2));
    let epoch_1 = venue.sign(1, 1, &[(&first, 5 * ETHER), (&second, 9 * ETHER)]);
    let epoch_2 = venue.sign(1, 2, &[(&first, 8 * ETHER), (&second, ETHER)]);
    write(&evidence, "second", &epoch_1[1]);
    let mut half = epoch_2[1].clone();
    half.newest.as_mut().unwrap().cosignature = Signature::default();
    write(&evidence, "second-epoch-2", &half);
    let tower = Process::start(&venue, &[&evidence], &fees, &[]);

    let trader = key("co-signer 1");
    venue.attack(&trader, &epoch_1[1]);
    venue.attack(&trader, &epoch_2[0]);
    let alert = tower.alert("disputed");
    assert_eq!(alert["at_risk"], (8 * ETHER).to_string());
    assert_eq!(alert["owner"], "operator");
    tower.alert("refuting");
    std::thread::sleep(Duration::from_millis(500)); // it sees the block before the next ones come
    venue.node.mine(CONFIRMATIONS, 12);
    tower.alert("refuted");
    venue.node.mine(1, WINDOW);
    assert_eq!(venue.settle(&second), ETHER);
    assert_eq!(venue.settle(&first), 8 * ETHER);
}

/// A key that can do more than pay, or that others can read, is refused at the start.
#[test]
fn a_key_that_can_do_more_than_pay_is_refused() {
    let venue = Venue::up();
    let folder = tempfile::tempdir().unwrap();
    let evidence = folder.path().join("evidence");
    fs::create_dir(&evidence).unwrap();
    let mut channel = venue.open(1, 1);
    write(&evidence, "cosigned", &venue.signed(1, 1, &channel, ETHER));
    channel.terms.owner = key("the owner").address();
    write(&evidence, "owned", &channel);
    for (name, role) in [
        ("co-signer 1", "co-signer"),
        ("operator", "operator"),
        ("the owner", "owner"),
    ] {
        let key = key_file(folder.path(), name, 0o600);
        let why = Process::start(&venue, &[&evidence], &key, &[]).fails();
        assert!(why.contains(&format!("is the {role} of channel")), "{why}");
        assert!(!why.contains(&hex::encode(keccak256(name))), "a secret");
    }
    let open = key_file(folder.path(), "open", 0o644);
    let why = Process::start(&venue, &[&evidence], &open, &[]).fails();
    assert!(why.contains("others may read it"), "{why}");
    let none = folder.path().join("none.key");
    let why = Process::start(&venue, &[&evidence], &none, &[]).fails();
    assert!(why.contains("openssl rand -hex 32"), "{why}");
}
