//! Lightning as a rail of a venue: accounts that a shard trades with are credited by invoice and pay invoices, over blocks of Bitcoin Core's engine. Shard,
//! recorder and rail are the venue's own programs, each a process; the rail's is killed again and again.
//!
//! The programs come from the folder that `RING0_BIN` names, or else from where `cargo build --release` in the repository puts them.

mod payer;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bitcoin::{Address, Amount, hashes::sha256};
use payer::{Till, free_port, node, until};
use ring0_bitcoinkernel_tests::served::Served;
use ring0_lightning::{amount::Msat, node::Node};
use serde_json::{Value, json};

const WALLET: Amount = Amount::from_sat(5_000_000);

/// Rounds in which the rail is killed.
const ROUNDS: u32 = 30;

const MARKET: &str = r#"
[shard]
name = "north"
port = PORT
ring_slots = 32_768

[[asset]]
name = "BTC"
decimals = 8

[[asset]]
name = "USD"
decimals = 6

[[instrument]]
symbol = "BTC-USD"
base = "BTC"
quote = "USD"
tick_size = 10_000
lot_size = 1
tick_value = 100
lot_value = 10_000
ladder_base = 30_000
ladder_len = 65_536
lots_max = 1_000_000

[[rail]]
name = "lightning"

[[account]]
name = "alice"
balances = { BTC = "0.001" }

[[account]]
name = "bob"

[[session]]
name = "alice-1"
account = "alice"
key_file = "keys/alice.key"
"#;

fn program(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/release");
    let folder = std::env::var_os("RING0_BIN").map_or(built, PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build --release --bin ring0 --bin ring0-lightning in the repository's root, or name their folder in RING0_BIN",
        path.display()
    );
    path
}

fn ask(socket: &Path, request: &Value) -> Result<Value, String> {
    let talk = || {
        let mut stream = BufReader::new(UnixStream::connect(socket)?);
        stream.get_ref().set_read_timeout(Some(payer::PATIENCE))?;
        stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        Ok::<_, std::io::Error>(line)
    };
    let line = talk().map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
    match answer["ok"].as_bool() {
        Some(true) => Ok(answer),
        _ => Err(answer["error"].as_str().unwrap_or("no answer").to_owned()),
    }
}

/// Millisatoshi of a text in bitcoins.
fn msat(value: &Value) -> i128 {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("no amount: {value}"));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<11}").parse().unwrap()
}

/// A process of the venue, ended with the value.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Venue {
    rail: Option<Running>,
    _recorder: Running,
    _shard: Running,
    trader: Node,
    till: Arc<Till>,
    /// Last, as its folder has everybody's in it and goes with it.
    chain: Served,
}

impl Venue {
    fn folder(&self) -> &Path {
        self.chain.folder()
    }

    fn up() -> Venue {
        let chain = Served::new();
        let folder = chain.folder().to_owned();
        let free = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let market = folder.join("market.toml");
        fs::write(&market, MARKET.replace("PORT", &free.port().to_string())).unwrap();
        let made = Command::new(program("ring0"))
            .args(["keygen", "--market"])
            .arg(&market)
            .output();
        assert!(made.as_ref().unwrap().status.success(), "{made:?}");
        let config = format!(
            "rail = \"lightning\"\nmarket = \"market.toml\"\nasset = \"BTC\"\nsockets = \".\"\nfolder = \"lightning\"\n\
             [bitcoin]\nnetwork = \"regtest\"\nrpc_port = {}\ncookie = \"{}\"\n\
             [node]\nlisten = \"127.0.0.1:{}\"\naccept_channels = true\nconfirmations = 3\nreserve_sat_per_kw = 2500\npoll_ms = 50\n\
             [limits]\ndeposit = [\"0.00000000001\", \"1\"]\nwithdrawal = [\"0.00000000001\", \"1\"]\ninvoice_expiry_s = 3600\nexpiry_margin_s = 30\n",
            chain.port(),
            chain.cookie().display(),
            free_port()
        );
        fs::write(folder.join("rail.toml"), config).unwrap();
        let shard = start(
            &folder,
            "ring0",
            &[
                "daemon",
                "--ring",
                "udp",
                "--market",
                "market.toml",
                "--sockets",
                ".",
                "--mq",
                "records.ring",
            ],
        );
        let north = folder.join("north.sock");
        until("the shard", || ask(&north, &json!({"verb": "status"})).ok());
        let recorder = start(
            &folder,
            "ring0",
            &["record", "--mq", "records.ring", "--journal", "journal"],
        );
        until("the recorder", || {
            let status = ask(&north, &json!({"verb": "status"})).ok()?;
            (status["ring"]["required"][0]["name"] == "recorder").then_some(())
        });
        let till = Arc::new(Till::default());
        let trader = node(&chain, "peer", till.clone());
        let mut venue = Venue {
            rail: None,
            _recorder: recorder,
            _shard: shard,
            trader,
            till,
            chain,
        };
        venue.start_rail();
        venue
    }

    fn start_rail(&mut self) {
        self.rail = Some(start(
            self.folder(),
            "ring0-lightning",
            &["run", "rail.toml", "--with-parent"],
        ));
        until("the rail", || self.try_rail(json!({"verb": "status"})).ok());
    }

    fn try_rail(&self, request: Value) -> Result<Value, String> {
        ask(&self.folder().join("lightning.sock"), &request)
    }

    fn rail(&self, request: Value) -> Value {
        self.try_rail(request.clone())
            .unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    fn status(&self) -> Value {
        self.rail(json!({"verb": "status"}))
    }

    fn mine(&self, blocks: u32) {
        let height = {
            let mut chain = self.chain.chain();
            chain.mine(blocks);
            chain.regtest.height()
        };
        until("the nodes", || {
            (self.trader.best_block().height == height && self.status()["height"] == height)
                .then_some(())
        });
    }

    fn account(&self, name: &str) -> Value {
        let answer = ask(
            &self.folder().join("north.sock"),
            &json!({"verb": "accounts"}),
        )
        .unwrap();
        let all = answer["accounts"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["name"] == name).unwrap()
    }

    /// What an account has in the shard, on its way, and on the rail.
    fn owns(&self, name: &str) -> i128 {
        let account = self.account(name);
        let balance = &account["balances"]["BTC"];
        let flying = &account["in_flight"]["amount"];
        let flying = if flying.is_null() { 0 } else { msat(flying) };
        let rail = self.rail(json!({"verb": "funds", "account": name}));
        msat(&balance["available"])
            + msat(&balance["held"])
            + flying
            + msat(&rail["available"])
            + msat(&rail["held"])
    }

    /// Nothing is on its way: what fills a unit is in the shard.
    fn settle(&self, name: &str) {
        until("everything to arrive", || {
            let rail = self
                .try_rail(json!({"verb": "funds", "account": name}))
                .ok()?;
            let is_still = self.account(name)["in_flight"].is_null()
                && rail["landing"].is_null()
                && msat(&rail["held"]) == 0
                && msat(&rail["available"]) < 1_000;
            is_still.then_some(())
        });
    }

    fn tradable(&self, name: &str) -> i128 {
        msat(&self.account(name)["balances"]["BTC"]["available"])
    }

    fn connect(&self) {
        let status = self.status();
        let (id, address) = (
            status["node"].as_str().unwrap().parse().unwrap(),
            status["listens"].as_str().unwrap().parse().unwrap(),
        );
        until("the channels", || {
            let _ = self.trader.connect(id, address);
            let status = self.try_rail(json!({"verb": "status"})).ok()?;
            let ours = self.trader.channels();
            let usable = ours.iter().filter(|one| one.is_usable).count() as u64;
            (usable == 2 && status["channels_usable"] == 2).then_some(())
        });
    }

    /// An invoice for an account, paid by the trader. Whether it was claimed.
    fn deposit(&self, name: &str, amount: &str) -> Option<sha256::Hash> {
        let request = json!({"verb": "invoice", "account": name, "amount": amount});
        let answer = self.try_rail(request).ok()?;
        let invoice: lightning::bolt11_invoice::Bolt11Invoice =
            answer["invoice"].as_str().unwrap().parse().unwrap();
        let paid = Msat::new(invoice.amount_milli_satoshis().unwrap()).unwrap();
        self.trader.pay(&invoice, paid, Msat::ZERO).ok()?;
        Some(*invoice.payment_hash())
    }

    fn ended(&self, hash: sha256::Hash) -> Result<u64, String> {
        until("the end of a payment", || {
            self.till.ended.lock().unwrap().get(&hash).cloned()
        })
    }

    fn trader_invoice(&self, msat: u64) -> (String, sha256::Hash) {
        let invoice = self
            .trader
            .invoice(Some(Msat::new(msat).unwrap()), "withdrawal", 3_600)
            .unwrap();
        (invoice.to_string(), *invoice.payment_hash())
    }

    fn pay(&self, name: &str, invoice: &str, fee_limit: &str) -> Result<Value, String> {
        self.try_rail(
            json!({"verb": "pay", "account": name, "invoice": invoice, "fee_limit": fee_limit}),
        )
    }

    /// The end of a withdrawal.
    fn paid(&self, hash: sha256::Hash) -> Value {
        until("the end of a withdrawal", || {
            let answer = self
                .try_rail(json!({"verb": "payment", "hash": hash.to_string()}))
                .ok()?;
            (answer["is"] != "held").then_some(answer)
        })
    }
}

fn start(folder: &Path, name: &str, arguments: &[&str]) -> Running {
    let log = File::options()
        .append(true)
        .create(true)
        .open(folder.join("log"))
        .unwrap();
    let child = Command::new(program(name))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    Running(child.unwrap())
}

/// A channel each way: the rail's own, by its operator's word, and one that the trader opened.
fn open_channels(venue: &Venue) {
    let early =
        venue.try_rail(json!({"verb": "open-channel", "peer": peer(venue), "amount": "0.01"}));
    assert!(
        early.unwrap_err().contains("pay in at bcrt1q"),
        "without coins for its end no channel is opened"
    );
    let wallet: Address<_> = venue.status()["wallet_address"]
        .as_str()
        .unwrap()
        .parse::<Address<_>>()
        .unwrap();
    let script = wallet.assume_checked().script_pubkey();
    {
        let mut chain = venue.chain.chain();
        chain.regtest.mine(6);
        for _ in 0..3 {
            chain.pay(venue.trader.wallet().script(), WALLET);
            chain.pay(script.clone(), WALLET);
        }
    }
    venue.mine(1);
    venue.rail(json!({"verb": "open-channel", "peer": peer(venue), "amount": "0.01"}));
    let status = venue.status();
    let id = status["node"].as_str().unwrap().parse().unwrap();
    until("the first funding", || {
        (venue.chain.chain().waiting().len() == 1).then_some(())
    });
    // Its change is a coin again: the next channel needs one of its own for its end.
    venue.mine(6);
    venue
        .trader
        .open_channel(id, Amount::from_sat(1_000_000))
        .unwrap();
    until("the second funding", || {
        (venue.chain.chain().waiting().len() == 1).then_some(())
    });
    venue.mine(6);
    venue.connect();
}

fn peer(venue: &Venue) -> String {
    format!("{}@{}", venue.trader.id(), venue.trader.address().unwrap())
}

#[test]
fn accounts_are_credited_by_invoice_and_pay_invoices_and_nothing_is_lost_or_twice() {
    let mut venue = Venue::up();
    open_channels(&venue);
    let start_alice = venue.owns("alice");
    assert_eq!((start_alice, venue.owns("bob")), (100_000_000, 0));

    // In: whole units can be traded, dust stays on the rail and is the account's.
    let hash = venue.deposit("bob", "0.00050000500").unwrap();
    assert_eq!(venue.ended(hash), Ok(0));
    until("the credit", || {
        (venue.tradable("bob") == 50_000_000).then_some(())
    });
    venue.settle("bob");
    assert_eq!(venue.owns("bob"), 50_000_500);
    let answer = venue.rail(json!({"verb": "payment", "hash": hash.to_string()}));
    assert_eq!(
        (&answer["is"], &answer["account"]),
        (&json!("credited"), &json!("bob"))
    );

    // Out: debited in the shard, paid, what is left of the fee's limit can be traded again.
    let (invoice, hash) = venue.trader_invoice(12_345_678);
    let answer = venue.pay("alice", &invoice, "0.0000001").unwrap();
    assert!(
        answer["is"] == "held" || answer["is"] == "settled",
        "{answer}"
    );
    let paid = venue.paid(hash);
    assert_eq!(
        (&paid["is"], &paid["fee"]),
        (&json!("settled"), &json!("0"))
    );
    assert_eq!(
        venue.till.received.lock().unwrap().get(&hash),
        Some(&12_345_678)
    );
    venue.settle("alice");
    assert_eq!(venue.owns("alice"), start_alice - 12_345_678);
    let again = venue.pay("alice", &invoice, "0.0000001").unwrap();
    assert_eq!(again["is"], "settled", "asked again it says how far it is");
    assert_eq!(venue.owns("alice"), start_alice - 12_345_678);

    // More than there is: the shard refuses, nothing changes.
    let (invoice, hash) = venue.trader_invoice(90_000_000);
    let refused = venue.pay("bob", &invoice, "0").unwrap_err();
    assert!(
        refused.contains("Funds") || refused.contains("available"),
        "{refused}"
    );
    assert_eq!(venue.owns("bob"), 50_000_500);
    assert!(
        venue
            .try_rail(json!({"verb": "payment", "hash": hash.to_string()}))
            .is_err()
    );
    // What is no invoice, or too late, is refused before anything is debited.
    let transfers = venue.account("bob")["transfers"].clone();
    for bad in ["lnbcrt1", "", "lightning"] {
        assert!(venue.pay("bob", bad, "0").is_err());
    }
    assert_eq!(venue.account("bob")["transfers"], transfers);

    // A payee that refuses: all of it can be traded again.
    *venue.till.refusing.lock().unwrap() = true;
    let (invoice, hash) = venue.trader_invoice(7_000_000);
    venue.pay("bob", &invoice, "0.00001").unwrap();
    assert_eq!(venue.paid(hash)["is"], "released");
    *venue.till.refusing.lock().unwrap() = false;
    venue.settle("bob");
    assert_eq!(venue.owns("bob"), 50_000_500);
    assert_eq!(venue.tradable("bob"), 50_000_000);

    killed_again_and_again(&mut venue);

    // The operator leaves a channel alone: it is on the chain, and both sides know.
    let channels = venue.rail(json!({"verb": "channels"}));
    let one = channels["channels"][0]["channel"]
        .as_str()
        .unwrap()
        .to_owned();
    venue.rail(json!({"verb": "leave-channel", "channel": one}));
    until("the commitment", || {
        (!venue.chain.chain().waiting().is_empty()).then_some(())
    });
    venue.mine(1);
    until("one channel less", || {
        (venue.rail(json!({"verb": "channels"}))["channels"]
            .as_array()
            .unwrap()
            .len()
            == 1)
            .then_some(())
    });
}

/// The rail dies at random moments of deposits and withdrawals; each of them ends once or never was.
fn killed_again_and_again(venue: &mut Venue) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    let seed = std::env::var("SEED").map_or(u64::from(now), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut state = seed | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut expected = venue.owns("bob");
    let (mut credited, mut settled, mut never) = (0, 0, 0);
    for round in 0..ROUNDS {
        let amount = 1_000 + random(3_000_000);
        let nap = Duration::from_micros(random(if round % 4 < 2 { 20_000 } else { 250_000 }));
        if round % 2 == 0 {
            let text = format!("0.{amount:011}");
            let hash = venue.deposit("bob", &text);
            std::thread::sleep(nap);
            venue.rail.take().unwrap().kill();
            venue.start_rail();
            venue.connect();
            // The trader's node hears how its payment ended, when the other side is back.
            if let Some(hash) = hash
                && venue.ended(hash).is_ok()
            {
                expected += i128::from(amount);
                credited += 1;
            }
        } else {
            let (invoice, hash) = venue.trader_invoice(amount);
            let socket = venue.folder().join("lightning.sock");
            let request = json!({"verb": "pay", "account": "bob", "invoice": invoice, "fee_limit": "0.00000003"});
            let asking = std::thread::spawn(move || ask(&socket, &request));
            std::thread::sleep(nap);
            venue.rail.take().unwrap().kill();
            let _ = asking.join().unwrap(); // killed, or answered before
            venue.start_rail();
            venue.connect();
            let known = venue
                .try_rail(json!({"verb": "payment", "hash": hash.to_string()}))
                .is_ok();
            if known && venue.paid(hash)["is"] == "settled" {
                expected -= i128::from(amount);
                settled += 1;
                assert_eq!(
                    venue.till.received.lock().unwrap().get(&hash),
                    Some(&amount)
                );
            } else {
                never += 1;
                assert!(
                    !venue.till.received.lock().unwrap().contains_key(&hash),
                    "paid, and not from the account"
                );
            }
        }
        venue.settle("bob");
        assert_eq!(venue.owns("bob"), expected, "round {round}, SEED={seed}");
    }
    println!(
        "{credited} deposits credited, {settled} withdrawals settled, {never} withdrawals that never were"
    );
    let status = venue.status();
    assert_eq!(
        (&status["stopped"], &status["failure"]),
        (&json!(false), &Value::Null)
    );
}
