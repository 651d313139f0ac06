//! A venue of a test's own on one machine: a real EVM node with the hub, a signer, a shard with its recorder, the settlement daemon, and traders with keys,
//! channels and a trading session each. Everything is on loopback and ends with the value.

#![allow(dead_code, reason = "each test takes what it needs")]

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use alloy_sol_types::{SolCall, SolStruct, SolValue};
use ring0_channels::chain::Chain;
use ring0_channels::evidence::Holding;
use ring0_channels::key::Signer;
use ring0_channels::message::{Hub, Rebalancing, Terms, Withdrawal, venue_domain};
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::{self, ChannelHub};
use ring0_market::{Existing, Market, keygen};
use ring0_settled::Client;
use ring0_settled::protocol::{CoSignature, Request};
use ring0_signer::stand::Stand as SignerStand;
use ring0_trader::{Order, Trader, UdpTransport};
use ring0d::Verb;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const ETHER: u128 = 1_000_000_000_000_000_000;
pub(crate) const DOLLAR: u128 = 1_000_000_000_000_000_000;
/// Blocks that lie on what counts.
pub(crate) const CONFIRMATIONS: u64 = 2;
const WINDOW: u64 = 24 * 3600;
const ANCHOR: u64 = 3600;

/// Two assets, one instrument, three traders without money, and the rail.
const MARKET: &str = r#"
[shard]
name = "main"
port = PORT
ring_slots = 65_536
ACKS

[shard.capacity]
orders = 1_024
accounts = 64

[[asset]]
name = "USD"
decimals = 18
unit_exponent = 12

[[asset]]
name = "ETH"
decimals = 18
unit_exponent = 10

[[instrument]]
symbol = "ETH-USD"
base = "ETH"
quote = "USD"
tick_size = 1_000
lot_size = 1
tick_value = 100
lot_value = 100_000
ladder_base = 10_000
ladder_len = 65_536
lots_max = 1_000_000
maker_ppm = 0
taker_ppm = 300

[[account]]
name = "carol"

[[account]]
name = "alice"

[[account]]
name = "dave"

[[session]]
name = "carol-1"
account = "carol"
key_file = "keys/carol-1.key"

[[session]]
name = "alice-1"
account = "alice"
key_file = "keys/alice-1.key"

[[rail]]
name = "hub"
"#;

alloy_sol_types::sol! {
    /// The test's dollars.
    interface Token {
        function mint(address to, uint256 amount) external;
        function approve(address spender, uint256 amount) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
    }
}

/// Programs of other packages, built once a run; or those in a folder that RING0_PROGRAMS names.
pub(crate) fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(folder) = std::env::var_os("RING0_PROGRAMS") {
            return folder.into();
        }
        let test = std::env::current_exe().expect("a test has a file");
        let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
        let status = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--quiet",
                "-p",
                "ring0",
                "-p",
                "ring0-signer",
            ])
            .args(["--bin", "ring0", "--bin", "ring0-signer"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
            .status()
            .expect("cargo runs: it runs this test");
        assert!(status.success(), "ring0 and ring0-signer are built");
        folder.to_owned()
    })
}

fn contracts() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../contracts/evm"
    ))
}

/// Creation code of a contract; compiled if it is not.
fn code(contract: &str) -> Vec<u8> {
    static COMPILED: OnceLock<()> = OnceLock::new();
    let folder = contracts();
    COMPILED.get_or_init(|| {
        for (program, arguments) in [("setup", ["--no-halmos"]), ("tools/bin/forge", ["build"])] {
            let ran = Command::new(folder.join(program))
                .args(arguments)
                .current_dir(&folder)
                .output()
                .unwrap_or_else(|error| panic!("{program}: {error}"));
            assert!(
                ran.status.success(),
                "{program}: {}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
    });
    let built = fs::read(folder.join("out/cancun").join(contract)).unwrap();
    let built: Value = serde_json::from_slice(&built).unwrap();
    hex::decode(built["bytecode"]["object"].as_str().unwrap()).unwrap()
}

/// A process that ends with the value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // ended already
        let _ = self.0.wait();
    }
}

/// A node.
pub(crate) struct Node {
    _process: Process,
    pub(crate) url: String,
}

impl Node {
    fn start() -> Node {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(contracts().join("tools/bin/anvil"))
            .args(["--host", "127.0.0.1", "--silent", "--hardfork", "cancun"])
            .args(["--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("anvil starts: run contracts/evm/setup");
        let node = Node {
            _process: Process(child),
            url: format!("http://127.0.0.1:{port}"),
        };
        let end = Instant::now() + PATIENCE;
        while node.try_call("eth_chainId", json!([])).is_none() {
            assert!(Instant::now() < end, "the node does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        node
    }

    fn try_call(&self, method: &str, parameters: Value) -> Option<Value> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        let mut answer = ureq::post(&self.url).send_json(&request).ok()?;
        answer.body_mut().read_json().ok()
    }

    pub(crate) fn call(&self, method: &str, parameters: Value) -> Value {
        let answer = self.try_call(method, parameters);
        let mut answer = answer.unwrap_or_else(|| panic!("{method}: no answer"));
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    pub(crate) fn give(&self, to: Address, amount: u128) {
        self.call("anvil_setBalance", json!([to, U256::from(amount)]));
    }

    /// Mines blocks, each this many seconds behind the one before.
    pub(crate) fn mine(&self, blocks: u64, seconds: u64) {
        self.call(
            "anvil_mine",
            json!([U256::from(blocks), U256::from(seconds)]),
        );
    }
}

/// A key in a file that nobody else may read.
fn key_file(path: &Path, name: &str) -> Signer {
    let secret = keccak256(format!("{name} of {}", std::process::id())).0;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    writeln!(file, "{}", hex::encode(secret)).unwrap();
    Signer::new(secret).unwrap()
}

fn key(name: &str) -> Signer {
    Signer::new(keccak256(format!("{name} of {}", std::process::id())).0).unwrap()
}

/// A trader.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) account: u32,
    pub(crate) owner: Signer,
    pub(crate) cosigner: Signer,
    pub(crate) evm: Evm,
    trader: Option<Trader<UdpTransport>>,
    /// Its states, as it keeps them.
    pub(crate) holdings: Vec<Holding>,
}

/// See the module.
pub(crate) struct Venue {
    pub(crate) node: Node,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) signer: SignerStand,
    pub(crate) market: Market,
    pub(crate) hub: Hub,
    pub(crate) id: B256,
    pub(crate) operator: Address,
    pub(crate) dollar: Address,
    pub(crate) bank: Evm,
    start: u64,
    shard: Option<Process>,
    recorder: Option<Process>,
    settled: Option<Process>,
    controls: String,
}

impl Venue {
    /// Everything but the settlement daemon. `acks` of the shard; `controls` of the daemon.
    pub(crate) fn up(acks: &str, controls: &str) -> Venue {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap();
        let node = Node::start();
        let payer = key("the bank");
        node.give(payer.address(), 1_000_000 * ETHER);
        node.mine(1, 12);

        let mut signer = SignerStand::new(&[programs.join("ring0-signer").into()]).unwrap();
        let id = keccak256("a test's venue");
        // The hub needs the operator's address, and the signer's rules the hub's.
        signer.init("operator", "").unwrap();
        let made = signer.run("operator", &["key", "new", "operator"]).unwrap();
        let operator: Address = address(&made);

        let lineage = U256::from(31_337);
        let unknown = Hub {
            lineage,
            address: Address::ZERO,
        };
        let mut bank = Evm::connect(&node.url, unknown, Some(payer.clone())).unwrap();
        let dollar = deploy(&mut bank, &code("Tokens.sol/Token.json"), &[]);
        let settings = abi::Settings {
            lineage,
            venue: id,
            operator,
            treasury: payer.address(),
            anchor: U40::from(ANCHOR),
            window: U40::from(WINDOW),
            grace: U40::from(7 * 24 * 3600),
            vaultDelay: U40::from(WINDOW + ANCHOR),
            pinEvery: 100,
            confirmations: CONFIRMATIONS as u32,
            firstEpoch: U40::ZERO,
        };
        let address = deploy(
            &mut bank,
            &code("ChannelHub.sol/ChannelHub.json"),
            &settings.abi_encode(),
        );
        let hub = Hub { lineage, address };
        let start = bank.tip().unwrap().height;
        let bank = Evm::connect(&node.url, hub, Some(payer)).unwrap();
        let rules = format!(
            "[[hub]]\nname = \"main\"\nlineage = \"{lineage}\"\naddress = \"{address}\"\n\
             [[asset]]\nname = \"USD\"\nhub = \"main\"\ntoken = \"{dollar}\"\n\
             [[asset]]\nname = \"ETH\"\nhub = \"main\"\ntoken = \"{}\"\n\
             [[key]]\nname = \"operator\"\nkinds = [\"batch\", \"withdrawal\", \"rebalance\", \"statement\"]\nvenues = [\"{id}\"]\nhubs = [\"main\"]\nper_second = 10000\n",
            Address::ZERO
        );
        signer.configure("operator", &rules).unwrap();
        signer.serve("operator").unwrap();

        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let file = folder.path().join("market.toml");
        let acks = format!("acks = {acks:?}");
        fs::write(
            &file,
            MARKET
                .replace("PORT", &free.to_string())
                .replace("ACKS", &acks),
        )
        .unwrap();
        keygen(&file, Existing::Keep).unwrap();
        let fees = key_file(&folder.path().join("fees.key"), "the fees");
        node.give(fees.address(), 1_000 * ETHER);
        let mut venue = Venue {
            market: Market::load(&file).unwrap(),
            node,
            folder,
            signer,
            hub,
            id,
            operator,
            dollar,
            bank,
            start,
            shard: None,
            recorder: None,
            settled: None,
            controls: controls.to_owned(),
        };
        venue.fund(venue.dollar, 1_000_000 * DOLLAR);
        venue.fund(Address::ZERO, 1_000 * ETHER);
        venue.start_shard();
        venue.write_config();
        venue
    }

    /// Puts money into the vault.
    fn fund(&mut self, token: Address, amount: u128) {
        let value = match token {
            Address::ZERO => amount,
            token => {
                let payer = self.bank.payer().unwrap();
                self.mint(payer, amount);
                let approve = Token::approveCall {
                    spender: self.hub.address,
                    amount: U256::from(amount),
                };
                pay(&mut self.bank, token, &approve, 0);
                0
            }
        };
        let hub = self.hub.address;
        pay(
            &mut self.bank,
            hub,
            &ChannelHub::fundVaultCall { token, amount },
            value,
        );
    }

    pub(crate) fn mint(&mut self, to: Address, amount: u128) {
        let amount = U256::from(amount);
        pay(
            &mut self.bank,
            self.dollar,
            &Token::mintCall { to, amount },
            0,
        );
    }

    fn spawn(&self, name: &str, command: &mut Command) -> Process {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.folder.path().join(format!("{name}.log")))
            .unwrap();
        Process(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        )
    }

    /// What a process has said.
    pub(crate) fn log(&self, name: &str) -> String {
        let text =
            fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub(crate) fn start_shard(&mut self) {
        let path = self.folder.path();
        let ring = path.join("main.ring");
        let mut daemon = Command::new(programs().join("ring0"));
        daemon
            .args(["daemon", "--with-parent", "--ring", "udp"])
            .arg("--market")
            .arg(path.join("market.toml"))
            .arg("--sockets")
            .arg(path.join("sockets"))
            .arg("--mq")
            .arg(&ring);
        self.shard = Some(self.spawn("shard", &mut daemon));
        self.wait("the shard", |venue| {
            venue.shard(&Verb::Status { hash: false }).ok()
        });
        let mut recorder = Command::new(programs().join("ring0"));
        recorder
            .args(["record", "--with-parent"])
            .arg("--mq")
            .arg(&ring)
            .arg("--journal")
            .arg(path.join("journal"));
        self.recorder = Some(self.spawn("recorder", &mut recorder));
    }

    /// Stops the shard's process where it is, or lets it go on.
    pub(crate) fn freeze_shard(&self, frozen: bool) {
        let shard = &self.shard.as_ref().expect("it runs").0;
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        kill_process(Pid::from_child(shard), signal).unwrap();
    }

    /// One request to the shard's daemon.
    pub(crate) fn shard(&self, verb: &Verb) -> Result<Value, ring0d::ClientError> {
        ring0d::Client::connect(&self.folder.path().join("sockets/main.sock"))?.call(verb)
    }

    /// What the shard has of an account's asset, engine units, available and held.
    pub(crate) fn in_shard(&self, account: &str, asset: &str) -> u128 {
        let answer = self.shard(&Verb::Accounts).unwrap();
        let accounts = answer["accounts"].as_array().unwrap().clone();
        let own = accounts
            .into_iter()
            .find(|it| it["name"] == account)
            .unwrap();
        let places = self
            .market
            .plan
            .assets
            .iter()
            .find(|it| it.name == asset)
            .unwrap()
            .places();
        ["available", "held"]
            .map(|part| {
                let text = own["balances"][asset][part].as_str().unwrap().to_owned();
                let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
                let digits = format!(
                    "{whole}{fraction}{}",
                    "0".repeat(places as usize - fraction.len())
                );
                digits.parse::<u128>().unwrap()
            })
            .into_iter()
            .sum()
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("settled.toml")
    }

    fn write_config(&self) {
        let text = format!(
            r#"
venue = "{id}"
market = "market.toml"
store = "settled"
sockets = "sockets"
signer = {{ socket = {signer:?}, key = "operator", operator = "{operator}" }}

[batch]
period_ms = 200
cosign_ms = 2_000
compare_ms = 1

[[shard]]
name = "main"
journal = "journal"

[[hub]]
name = "anvil"
rpc = "{url}"
address = "{hub}"
lineage = "31337"
start = {start}
confirmations = {CONFIRMATIONS}
pin_every = 100
anchor_s = 2
poll_ms = 50
fee_key = "fees.key"

[[hub.token]]
asset = "USD"
token = "{dollar}"

[[hub.token]]
asset = "ETH"
token = "{coin}"

[controls]
new_address_h = 24
{controls}
"#,
            id = self.id,
            signer = self.signer.socket("operator"),
            operator = self.operator,
            url = self.node.url,
            hub = self.hub.address,
            start = self.start,
            dollar = self.dollar,
            coin = Address::ZERO,
            controls = self.controls,
        );
        fs::write(self.config_path(), text).unwrap();
    }

    pub(crate) fn start_settled(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ring0-settled"));
        command
            .arg("run")
            .arg(self.config_path())
            .arg("--with-parent");
        self.settled = Some(self.spawn("settled", &mut command));
        self.wait("the settlement daemon", |venue| {
            venue.try_ask(&Request::Batches)
        });
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.settled
            .as_mut()
            .is_some_and(|it| it.0.try_wait().unwrap().is_none())
    }

    /// Ends the settlement daemon as a loss of power to it would.
    pub(crate) fn kill_settled(&mut self) {
        self.settled = None;
    }

    /// Asks it to end, and waits.
    pub(crate) fn end_settled(&mut self) {
        let mut process = self.settled.take().unwrap();
        let pid = rustix::process::Pid::from_child(&process.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = process.0.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log("settled"));
    }

    /// Waits until there is an answer.
    pub(crate) fn wait<T>(&self, what: &str, ask: impl Fn(&Venue) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            if Instant::now() > end {
                let status = self.try_ask(&Request::Status);
                panic!(
                    "{what} does not come.\nstatus {status:?}\nsettled: {}\nshard: {}\nrecorder: {}",
                    self.log("settled"),
                    self.log("shard"),
                    self.log("recorder")
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn client(&self) -> Option<Client> {
        Client::connect(&self.folder.path().join("sockets/settled.sock")).ok()
    }

    pub(crate) fn try_ask(&self, request: &Request) -> Option<Value> {
        self.client()?.call(request).ok()
    }

    pub(crate) fn ask(&self, request: &Request) -> Result<Value, String> {
        let mut client = self.client().ok_or("nobody answers")?;
        client.call(request).map_err(|error| error.to_string())
    }

    pub(crate) fn member(&self, name: &'static str) -> Member {
        let plan = &self.market.plan;
        let account = plan.accounts.iter().position(|it| it.name == name).unwrap() as u32;
        let (owner, cosigner) = (key(name), key(&format!("{name}'s co-signer")));
        self.node.give(owner.address(), 1_000 * ETHER);
        let evm = Evm::connect(&self.node.url, self.hub, Some(owner.clone())).unwrap();
        let session = self.market.session(&format!("{name}-1")).cloned();
        let trader = session.map(|session| {
            let to = (Ipv4Addr::LOCALHOST, plan.shard.port).into();
            Trader::new(session, UdpTransport::connect(to).unwrap())
        });
        Member {
            name,
            account,
            owner,
            cosigner,
            evm,
            trader,
            holdings: Vec::new(),
        }
    }

    pub(crate) fn register(&self, member: &Member) {
        let request = Request::Register {
            account: member.account,
            owner: member.owner.address(),
            cosigner: member.cosigner.address(),
            grants: vec![],
        };
        self.ask(&request).unwrap();
    }

    /// Opens a channel with a first deposit, or pays into it.
    pub(crate) fn deposit(&mut self, member: &mut Member, token: Address, amount: u128) {
        let terms = Terms {
            owner: member.owner.address(),
            cosigner: member.cosigner.address(),
            token,
            nonce: 1,
        };
        let mut value = amount;
        if token != Address::ZERO {
            self.mint(terms.owner, amount);
            let approve = Token::approveCall {
                spender: self.hub.address,
                amount: U256::from(amount),
            };
            pay(&mut member.evm, token, &approve, 0);
            value = 0;
        }
        let hub = self.hub.address;
        if member.holdings.iter().any(|it| it.terms == terms) {
            let deposit = ChannelHub::depositCall {
                c: (&terms).into(),
                amount,
            };
            pay(&mut member.evm, hub, &deposit, value);
            return;
        }
        let open = ChannelHub::openCall {
            cosigner: terms.cosigner,
            token,
            nonce: terms.nonce,
            amount,
        };
        pay(&mut member.evm, hub, &open, value);
        member.holdings.push(Holding {
            hub: self.hub,
            venue: self.id,
            operator: self.operator,
            terms,
            newest: None,
        });
    }

    /// The trader pays dollars in, and both sign until its state has `all` of them.
    pub(crate) fn pay_in(&mut self, member: &mut Member, all: u128, more: u128) {
        self.deposit(member, self.dollar, more);
        self.node.mine(CONFIRMATIONS + 1, 12);
        let end = Instant::now() + PATIENCE;
        loop {
            self.cosign(member)
                .unwrap_or_else(|why| panic!("{}: {why}", member.name));
            let own = member
                .holdings
                .iter()
                .find(|it| it.terms.token == self.dollar);
            let newest = own.and_then(|it| it.newest.as_ref());
            if newest.is_some_and(|it| it.balance == all) {
                return;
            }
            assert!(
                Instant::now() < end,
                "no state has {all}: {:?}\n{}",
                self.try_ask(&Request::Status),
                self.log("settled")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// An account's channel of a token, as the daemon tells it.
    pub(crate) fn channel(&self, member: &Member, token: Address) -> Option<Value> {
        let answer = self.try_ask(&Request::Channels {
            account: member.account,
        })?;
        let all = answer["channels"].as_array()?.clone();
        all.into_iter()
            .find(|it| it["terms"]["token"] == json!(token))
    }

    /// What all that an account has of an asset comes to, base units.
    pub(crate) fn total(&self, member: &Member, asset: &str) -> Option<i128> {
        let answer = self.try_ask(&Request::Balances {
            account: member.account,
        })?;
        answer["assets"][asset]["total"].as_str()?.parse().ok()
    }

    /// The trader checks its part of the newest batch, keeps it, and signs. Whether there was any.
    pub(crate) fn cosign(&self, member: &mut Member) -> Result<bool, String> {
        let Some(mut client) = self.client() else {
            return Ok(false);
        };
        let Ok(file) = client.batch(0, member.account) else {
            return Ok(false);
        };
        let known = member
            .holdings
            .iter()
            .any(|it| it.newest.as_ref().is_some_and(|it| it.epoch >= file.epoch));
        let in_file = |it: &&Holding| {
            it.newest.is_some() || file.holdings.iter().any(|one| one.terms == it.terms)
        };
        // A channel that nothing was signed of and that is not confirmed yet comes with a later batch.
        let kept: Vec<Holding> = match known {
            // Signed before; the daemon may have died before it was durable there.
            true => Vec::new(),
            false => member.holdings.iter().filter(in_file).cloned().collect(),
        };
        let state = file.check(&kept).map_err(|why| why.to_string())?;
        let signature = member.cosigner.sign(&state, &venue_domain(self.id));
        let signed = file.cosigned(signature);
        for holding in &signed {
            holding.verify().map_err(|why| why.to_string())?;
            for own in member
                .holdings
                .iter_mut()
                .filter(|it| it.terms == holding.terms)
            {
                if known {
                    assert_eq!(own.newest, holding.newest, "two states of one epoch");
                }
                *own = holding.clone();
            }
        }
        let part = CoSignature {
            account: member.account,
            epoch: file.epoch,
            signature,
        };
        let answer = client.call(&Request::Cosign { parts: vec![part] });
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) => return Ok(false), // it died
        };
        // Refused it is where the next batch came meanwhile.
        Ok(answer["accepted"] == 1)
    }

    /// Sends orders that must be taken; after a deposit as soon as the account's limit of un-co-signed exposure was raised.
    pub(crate) fn order(&self, member: &mut Member, orders: &[Order]) {
        let trader = member.trader.as_mut().expect("it has a session");
        let end = Instant::now() + PATIENCE;
        for order in orders {
            loop {
                let acks = trader.submit(std::slice::from_ref(order)).unwrap();
                let waits = acks[0].reason() == Some(ring0_trader::Reason::UnsettledLimit);
                if waits && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                acks[0]
                    .accepted()
                    .unwrap_or_else(|why| panic!("{}: {why}", member.name));
                break;
            }
        }
    }

    /// The owner's signed wish to have so much more in all, until some seconds from now by the chain's clock.
    pub(crate) fn withdrawal(
        &self,
        member: &Member,
        token: Address,
        amount: u128,
        seconds: u64,
    ) -> Option<Request> {
        let it = self.channel(member, token)?;
        let before: u128 = it["withdrawn"].as_str()?.parse().ok()?;
        self.withdrawal_to(
            member,
            token,
            before + amount,
            it["chain_time"].as_u64()? + seconds,
            member.owner.address(),
        )
    }

    pub(crate) fn withdrawal_to(
        &self,
        member: &Member,
        token: Address,
        withdrawn: u128,
        deadline: u64,
        recipient: Address,
    ) -> Option<Request> {
        let it = self.channel(member, token)?;
        let message = Withdrawal {
            channel: serde_json::from_value(it["channel"].clone()).ok()?,
            withdrawn,
            recipient,
            branch: serde_json::from_value(it["branch"].clone()).ok()?,
            deadline: U40::from(deadline),
        };
        let signature = member.owner.sign(&message, &self.hub.domain());
        Some(Request::Withdraw {
            channel: message.channel,
            withdrawn: message.withdrawn,
            recipient: message.recipient,
            branch: message.branch,
            deadline,
            signature,
        })
    }

    /// Sends what both have signed to the hub, as the owner does.
    pub(crate) fn take(&self, member: &mut Member, told: &Value) -> Result<(), String> {
        let of = |name: &str| told[name].clone();
        let channel: B256 = serde_json::from_value(of("channel")).unwrap();
        let terms = member
            .holdings
            .iter()
            .find(|it| it.channel() == channel)
            .unwrap()
            .terms;
        let owner: ring0_channels::key::Signature = serde_json::from_value(of("owner")).unwrap();
        let operator: ring0_channels::key::Signature =
            serde_json::from_value(of("operator")).unwrap();
        let w = abi::Withdrawal {
            channel: (&terms).into(),
            withdrawn: of("withdrawn").as_str().unwrap().parse().unwrap(),
            recipient: serde_json::from_value(of("recipient")).unwrap(),
            branch: serde_json::from_value(of("branch")).unwrap(),
            deadline: U40::from(of("deadline").as_u64().unwrap()),
            owner: owner.into(),
            operator: operator.into(),
        };
        let sent = member
            .evm
            .send("withdrawal", &ChannelHub::withdrawCall { w }, 0);
        let sent = sent.map_err(|error| error.to_string())?;
        member
            .evm
            .confirm(sent, PATIENCE, PATIENCE)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    /// What a wallet has of the dollars.
    pub(crate) fn dollars(&self, of: Address) -> u128 {
        let balance = self
            .bank
            .read_from(self.dollar, &Token::balanceOfCall { account: of })
            .unwrap();
        balance.saturating_to()
    }

    /// What the hub has of the dollars, and of that the vault.
    pub(crate) fn hub_dollars(&self) -> (u128, u128) {
        let vault = self
            .bank
            .read(&ChannelHub::vaultOfCall { token: self.dollar })
            .unwrap();
        (
            self.dollars(self.hub.address),
            vault.balance.saturating_to(),
        )
    }

    pub(crate) fn sign_move(&self, member: &Member, it: &Value) -> Request {
        let message = Rebalancing {
            channel: serde_json::from_value(it["channel"].clone()).unwrap(),
            number: U40::from(it["number"].as_u64().unwrap()),
            moved: it["moved"].as_str().unwrap().parse().unwrap(),
            branch: serde_json::from_value(it["branch"].clone()).unwrap(),
            deadline: U40::from(it["deadline"].as_u64().unwrap()),
        };
        Request::Rebalance {
            channel: message.channel,
            number: message.number.to(),
            moved: message.moved,
            branch: message.branch,
            deadline: message.deadline.to(),
            signature: member.cosigner.sign(&message, &self.hub.domain()),
        }
    }

    /// Digest of a withdrawal's request.
    pub(crate) fn id(&self, request: &Request) -> B256 {
        match request {
            Request::Withdraw {
                channel,
                withdrawn,
                recipient,
                branch,
                deadline,
                ..
            } => Withdrawal {
                channel: *channel,
                withdrawn: *withdrawn,
                recipient: *recipient,
                branch: *branch,
                deadline: U40::from(*deadline),
            }
            .eip712_signing_hash(&self.hub.domain()),
            other => panic!("{other:?}"),
        }
    }
}

fn address(made: &Value) -> Address {
    fn find(value: &Value) -> Option<Address> {
        match value {
            Value::Object(fields) => fields
                .get("address")
                .and_then(|it| it.as_str()?.parse().ok())
                .or_else(|| fields.values().find_map(find)),
            Value::Array(all) => all.iter().find_map(find),
            _ => None,
        }
    }
    find(made).unwrap_or_else(|| panic!("the signer tells no address: {made}"))
}

pub(crate) fn pay<C: SolCall>(evm: &mut Evm, to: Address, call: &C, value: u128) {
    let sent = evm.send_to(
        "a test's transaction",
        TxKind::Call(to),
        call.abi_encode().into(),
        value,
    );
    evm.confirm(sent.unwrap(), PATIENCE, PATIENCE).unwrap();
}

fn deploy(evm: &mut Evm, code: &[u8], arguments: &[u8]) -> Address {
    let code = Bytes::from([code, arguments].concat());
    let sent = evm.send_to("deployment", TxKind::Create, code, 0).unwrap();
    let mined = evm.confirm(sent, PATIENCE, PATIENCE).unwrap();
    evm.receipt(mined.id)
        .unwrap()
        .0
        .expect("a contract was made")
}
