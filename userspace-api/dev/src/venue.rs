//! The venue: what each process is told, and in which order they begin.

use crate::Trouble;
use crate::anvil::{self, Node};
use crate::hub::{self, ANCHOR, Placed, RULES};
use crate::port;
use crate::program::Program;
use crate::signer::{self, SignerKind};
use alloy_primitives::{Address, B256, keccak256};
use ring0_channels::key::Signer;
use ring0_lab::Veth;
use ring0_market::{Existing, Market, keygen};
use ring0_socket::Client;
use ring0d::RingKind;
use serde_json::{Value, json};
use std::fs::{self, DirBuilder};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The market: `markets/dev.toml`.
pub const MARKET: &str = include_str!("../../../markets/dev.toml");

/// Whole units that the operator's vault begins with: ether, dollars.
const VAULT: (u128, u128) = (1_000, 10_000_000);

/// How a venue is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything lies; made with mode 0700, must not be there.
    pub folder: PathBuf,
    /// Where the engine runs: in the kernel over a veth pair, or behind a UDP socket on loopback.
    pub ring: RingKind,
    /// Where keys are.
    pub signer: SignerKind,
    /// The market file's text.
    pub market: String,
    /// Any free ports, in place of the usual ones.
    pub any_port: bool,
    /// From one batch to the next, milliseconds.
    pub batch_ms: u64,
    /// How long traders have to sign, milliseconds.
    pub cosign_ms: u64,
}

impl Options {
    /// The usual: UDP ring, a batch a second.
    #[must_use]
    pub fn new(folder: &Path) -> Options {
        Options {
            folder: folder.to_owned(),
            ring: RingKind::Udp,
            signer: SignerKind::Local,
            market: MARKET.to_owned(),
            any_port: false,
            batch_ms: 1_000,
            cosign_ms: 5_000,
        }
    }
}

/// What of a venue is on a chain.
pub struct OnChain {
    /// The node.
    pub node: Node,
    /// Hub and token.
    pub placed: Placed,
    /// Who paid for them, and may withdraw from the vault.
    pub treasury: Signer,
}

/// A venue, ended with the value.
pub struct Venue {
    /// How it was made.
    pub options: Options,
    /// The market with its keys.
    pub market: Market,
    /// Id of the venue in what is signed.
    pub id: B256,
    /// The operator's address.
    pub operator: Address,
    /// The chain, where there is a node.
    pub chain: Option<Arc<OnChain>>,
    /// The wire of a shard in the kernel.
    pub veth: Option<Arc<Veth>>,
    /// The shard's daemon.
    pub shard: Program,
    /// The shard's recorder, which journals.
    pub recorder: Program,
    /// The signer.
    pub signer: Program,
    /// Processes that hold shares of the vault's key.
    pub holders: Vec<Program>,
    /// Script of the vault whose key is in shares, hexadecimal.
    pub vault: Option<String>,
    /// Settlement; only with a chain.
    pub settled: Option<Program>,
    /// The gateway.
    pub gateway: Program,
    /// Where REST and WebSocket listen.
    pub http: SocketAddr,
    /// Where OUCH listens.
    pub ouch: SocketAddr,
}

impl Venue {
    /// Makes everything and starts it, in order; each step is told to `say`.
    ///
    /// # Errors
    /// The first step that does not work, with the last lines of its log. What was started ends.
    pub fn up(options: Options, say: &mut dyn FnMut(&str)) -> Result<Venue, Trouble> {
        let folder = options.folder.clone();
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| {
                format!(
                    "cannot make {}: {error}; name a folder that is not there yet",
                    folder.display()
                )
            })?;
        if options.ring == RingKind::Kernel {
            xdp_loader::probe().require()?;
            xdp_loader::ensure_bpffs()?;
            ring0_lab::remove_stale()?;
        }
        let veth = match options.ring {
            RingKind::Kernel => Some(Arc::new(Veth::up(ring0_lab::Options::default())?)),
            _ => None,
        };
        let market_file = folder.join("market.toml");
        let usual = |port| (!options.any_port).then_some(port);
        let port = port::udp(usual(9_000))?;
        let text = match &veth {
            Some(_) => options.market.clone(),
            None => options
                .market
                .replacen("port = 9000", &format!("port = {port}"), 1),
        };
        fs::write(&market_file, text)?;
        keygen(&market_file, Existing::Keep)?;
        let market = Market::load(&market_file)?;

        say("the signer's keys");
        let keys = signer::Signer::make(&folder, options.signer)?;
        let operator = keys.operator;
        let id = keccak256("a venue of ring0d --dev");
        let chain = match anvil::is_here() {
            true => {
                say("a node, with token, hub and the operator's vault on it");
                let node = Node::start()?;
                let treasury = hub::new_key()?;
                let placed = hub::place(&node, id, operator, &treasury, VAULT)?;
                Some(Arc::new(OnChain {
                    node,
                    placed,
                    treasury,
                }))
            }
            false => {
                say("no node: contracts/evm/setup installs one; no deposits, no settlement");
                None
            }
        };

        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, port::tcp(usual(8_080))?));
        let ouch = SocketAddr::from((Ipv4Addr::LOCALHOST, port::tcp(usual(8_081))?));
        let files = Files {
            folder: &folder,
            options: &options,
            market: &market,
            id,
            signer: &keys,
            chain: chain.as_deref(),
            veth: veth.as_deref(),
            http,
            ouch,
        };
        files.write()?;
        let mut venue = Venue {
            shard: Program::new("ring0:shard", &folder, files.shard())?,
            recorder: Program::new("ring0:recorder", &folder, files.recorder())?,
            signer: keys.program,
            holders: keys.holders,
            vault: keys.vault,
            settled: match &chain {
                None => None,
                Some(_) => {
                    let arguments = ["run", "--with-parent", "settled.toml"];
                    Some(Program::new(
                        "ring0-settled",
                        &folder,
                        inside(&folder, &arguments),
                    )?)
                }
            },
            gateway: Program::new(
                "ring0-gateway",
                &folder,
                inside(&folder, &["run", "gateway.toml"]),
            )?,
            options,
            market,
            id,
            operator,
            chain,
            veth,
            http,
            ouch,
        };
        say("the shard");
        venue.start_shard()?;
        venue.start_recorder()?;
        say("the signer");
        venue.start_signer()?;
        if venue.settled.is_some() {
            say("settlement");
            venue.start_settled()?;
        }
        say("the gateway");
        venue.start_gateway()?;
        Ok(venue)
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.options.folder.join(name)
    }

    /// The socket of a shard's daemon, a rail or settlement.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        self.path("sockets").join(format!("{name}.sock"))
    }

    /// Asks one of them.
    ///
    /// # Errors
    /// It refuses, or is not there.
    pub fn ask(&self, name: &str, request: &Value) -> Result<Value, Trouble> {
        Ok(Client::connect(&self.socket(name))?.call(request)?)
    }

    /// Where traders send packets to.
    #[must_use]
    pub fn udp(&self) -> SocketAddr {
        let address = self
            .veth
            .as_ref()
            .map_or(Ipv4Addr::LOCALHOST, |it| it.exchange_address);
        (address, self.market.plan.shard.port).into()
    }

    /// Starts the shard's daemon and waits for it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_shard(&mut self) -> Result<(), Trouble> {
        let socket = self.socket(&self.market.plan.shard.name);
        self.shard.start(|| {
            Client::connect(&socket)
                .is_ok_and(|mut it| it.call(&json!({ "verb": "status" })).is_ok())
        })
    }

    /// Starts the recorder and waits for it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_recorder(&mut self) -> Result<(), Trouble> {
        let socket = self.socket(&self.market.plan.shard.name);
        let ready = || {
            let status = Client::connect(&socket)
                .ok()?
                .call(&json!({ "verb": "status" }))
                .ok()?;
            let required = status["ring"]["required"].as_array()?.clone();
            Some(required.iter().any(|one| one["name"] == "recorder"))
        };
        self.recorder.start(|| ready() == Some(true))
    }

    /// Starts the signer and waits for it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_signer(&mut self) -> Result<(), Trouble> {
        let socket = signer::socket(&self.options.folder, "signer");
        signer::start(&mut self.signer, &socket)
    }

    /// Starts the holders of shares that do not run, and waits for them.
    ///
    /// # Errors
    /// One does not start.
    pub fn start_holders(&mut self) -> Result<(), Trouble> {
        for holder in &mut self.holders {
            if holder.id().is_none() {
                let socket = signer::socket(&self.options.folder, holder.name());
                signer::start(holder, &socket)?;
            }
        }
        Ok(())
    }

    /// Starts settlement and waits for it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_settled(&mut self) -> Result<(), Trouble> {
        let socket = self.socket("settled");
        let Some(settled) = &mut self.settled else {
            return Ok(());
        };
        settled.start(|| {
            Client::connect(&socket)
                .is_ok_and(|mut it| it.call(&json!({ "verb": "status" })).is_ok())
        })
    }

    /// Starts the gateway and waits for it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_gateway(&mut self) -> Result<(), Trouble> {
        let (http, ouch) = (self.http, self.ouch);
        self.gateway
            .start(|| TcpStream::connect(http).is_ok() && TcpStream::connect(ouch).is_ok())
    }

    /// The programs that have ended by themselves.
    pub fn ended(&mut self) -> Vec<&'static str> {
        let all = [
            &mut self.shard,
            &mut self.recorder,
            &mut self.signer,
            &mut self.gateway,
        ];
        let all = all.into_iter().chain(&mut self.settled);
        let all = all.chain(&mut self.holders);
        all.filter_map(|it| it.has_ended().then(|| it.name()))
            .collect()
    }

    /// Ends everything in peace, those first that ask the others. The names of those that did not.
    pub fn down(&mut self) -> Vec<&'static str> {
        let mut all = vec![&mut self.gateway];
        all.extend(&mut self.settled);
        all.push(&mut self.signer);
        all.extend(&mut self.holders);
        all.extend([&mut self.recorder, &mut self.shard]);
        let ended = all.into_iter().map(|it| (it.stop(), it.name()));
        let hung: Vec<&'static str> = ended
            .filter(|(in_peace, _)| !in_peace)
            .map(|(_, name)| name)
            .collect();
        if let Err(error) = self.forget_memory() {
            eprintln!("ring0-dev: {error}");
        }
        hung
    }

    /// Takes the shard's memory in the kernel away, as a machine does that ends. The shard's daemon must not run.
    ///
    /// # Errors
    /// The loader's.
    pub fn forget_memory(&self) -> Result<(), Trouble> {
        let Some(veth) = &self.veth else {
            return Ok(());
        };
        let pins = xdp_loader::default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns));
        xdp_loader::unload(&pins)
            .map(drop)
            .map_err(|error| format!("{} stays: {error}", pins.display()).into())
    }

    /// Where everything listens, by what it is.
    #[must_use]
    pub fn listens(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("orders, L2E/1 over UDP", self.udp().to_string()),
            ("REST and WebSocket", format!("http://{}/v1", self.http)),
            ("OUCH 5.0 over SoupBinTCP", self.ouch.to_string()),
            (
                "operator",
                self.socket(&self.market.plan.shard.name)
                    .display()
                    .to_string(),
            ),
            (
                "signer",
                self.path("signer/signer.sock").display().to_string(),
            ),
        ];
        if let Some(script) = &self.vault {
            all.push(("vault, FROST 2 of 3", script.clone()));
        }
        if let Some(chain) = &self.chain {
            all.push(("settlement", self.socket("settled").display().to_string()));
            all.push(("chain", chain.node.url.clone()));
            all.push(("hub", chain.placed.hub.address.to_string()));
            all.push(("dollar token", chain.placed.token.to_string()));
        }
        if let Some(veth) = &self.veth {
            all.push(("traders' namespace", veth.trader_ns.clone()));
        }
        all.push((
            "keys, logs, stores",
            self.options.folder.display().to_string(),
        ));
        all
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        self.down();
    }
}

/// Arguments with the files of a folder.
fn inside(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let place = |text: &&str| match text.ends_with(".toml") {
        true => folder.join(text).display().to_string(),
        false => (*text).to_owned(),
    };
    arguments.iter().map(place).collect()
}

/// What the files of a venue are made of.
struct Files<'a> {
    folder: &'a Path,
    options: &'a Options,
    market: &'a Market,
    id: B256,
    signer: &'a signer::Signer,
    chain: Option<&'a OnChain>,
    veth: Option<&'a Veth>,
    http: SocketAddr,
    ouch: SocketAddr,
}

impl Files<'_> {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn shard_name(&self) -> &str {
        &self.market.plan.shard.name
    }

    /// Where consumers find the record ring.
    fn ring(&self) -> PathBuf {
        match self.veth {
            Some(veth) => xdp_loader::default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns)),
            None => self.folder.join("records.ring"),
        }
    }

    fn shard(&self) -> Vec<String> {
        let mut all: Vec<String> = [
            "daemon",
            "--with-parent",
            "--door",
            "--ring",
            self.options.ring.name(),
            "--market",
        ]
        .map(str::to_owned)
        .to_vec();
        all.extend([
            self.path("market.toml"),
            "--sockets".to_owned(),
            self.path("sockets"),
        ]);
        all.extend(["--grants".to_owned(), self.path("grants")]);
        match self.veth {
            Some(veth) => all.extend([
                "--interface".to_owned(),
                veth.exchange_if.clone(),
                "--netns".to_owned(),
                veth.exchange_ns.clone(),
                "--peer".to_owned(),
                format!("{}%{}", veth.trader_if, veth.trader_ns),
            ]),
            None => all.extend(["--mq".to_owned(), self.ring().display().to_string()]),
        }
        all
    }

    fn recorder(&self) -> Vec<String> {
        let place = if self.veth.is_some() {
            "--pin-root"
        } else {
            "--mq"
        };
        let ring = self.ring().display().to_string();
        let mut all = ["record", "--with-parent", place]
            .map(str::to_owned)
            .to_vec();
        all.extend([ring, "--journal".to_owned(), self.path("journal")]);
        all
    }

    fn write(&self) -> Result<(), Trouble> {
        for name in ["sockets", "gateway", "identity", "settlement"] {
            DirBuilder::new()
                .mode(0o700)
                .create(self.folder.join(name))?;
        }
        let plan = &self.market.plan;
        let (name, ring) = (self.shard_name(), self.ring());
        let mut rules = Vec::new();
        if let Some(chain) = self.chain {
            let Placed { hub, token, start } = chain.placed;
            rules.push(format!(
                "[[hub]]\nname = \"dev\"\nlineage = \"{}\"\naddress = \"{}\"\n",
                hub.lineage, hub.address
            ));
            for (name, token) in [("ETH", Address::ZERO), ("USD", token)] {
                rules.push(format!(
                    "[[asset]]\nname = \"{name}\"\nhub = \"dev\"\ntoken = \"{token}\"\n"
                ));
            }
            rules.push(format!(
                "[[key]]\nname = \"operator\"\nkinds = [\"batch\", \"state\", \"withdrawal\", \"close\", \"rebalance\", \"revocation\", \"statement\"]\n\
                 venues = [\"{}\"]\nhubs = [\"dev\"]\nper_second = 20000\n",
                self.id
            ));
            let fee_key = hub::key_file(&self.folder.join("fee.key"))?;
            chain.node.give(fee_key.address(), 1_000 * hub::WHOLE)?;
            let settled = format!(
                "venue = \"{id}\"\nmarket = \"market.toml\"\nstore = \"settlement\"\nsockets = \"sockets\"\nrail = \"hub\"\n\
                 [signer]\nsocket = \"signer/signer.sock\"\nkey = \"operator\"\noperator = \"{operator}\"\n\
                 [batch]\nperiod_ms = {period}\ncosign_ms = {cosign}\nrecords = 1000000\ncompare_ms = {period}\n\
                 [[shard]]\nname = \"{name}\"\njournal = \"journal\"\n\
                 [[hub]]\nname = \"dev\"\nrpc = \"{rpc}\"\naddress = \"{hub}\"\nlineage = \"{lineage}\"\nstart = {start}\n\
                 confirmations = {confirmations}\npin_every = {pin_every}\nanchor_s = {ANCHOR}\npoll_ms = 100\nfee_key = \"fee.key\"\n\
                 [[hub.token]]\nasset = \"ETH\"\ntoken = \"{zero}\"\n[[hub.token]]\nasset = \"USD\"\ntoken = \"{token}\"\n\
                 [controls]\nnew_address_h = 0\n",
                id = self.id,
                operator = self.signer.operator,
                period = self.options.batch_ms,
                cosign = self.options.cosign_ms,
                rpc = chain.node.url,
                hub = hub.address,
                lineage = hub.lineage,
                confirmations = RULES.confirmations,
                pin_every = RULES.pin_every,
                zero = Address::ZERO,
            );
            fs::write(self.folder.join("settled.toml"), settled)?;
        }
        self.signer.configure(self.folder, &rules.concat())?;
        let mut sessions = String::new();
        for (suffix, used) in [("-api", "api"), ("-ouch", "ouch")] {
            for session in plan.sessions.iter().filter(|it| it.name.ends_with(suffix)) {
                sessions.push_str(&format!(
                    "[[session]]\nname = \"{}\"\nuse = \"{used}\"\n",
                    session.name
                ));
            }
        }
        let settled = match self.chain {
            Some(_) => "settled = \"sockets/settled.sock\"\n",
            None => "",
        };
        let gateway = format!(
            "market = \"market.toml\"\nstore = \"gateway\"\n{settled}\
             [identity]\nfolder = \"identity\"\norigin = \"http://localhost:{port}\"\nchain_ids = [31337]\nvenue = \"{venue}\"\nsockets = \"sockets\"\n[http]\nlisten = \"{}\"\n[ouch]\nlisten = \"{}\"\n\
             [[shard]]\nname = \"{name}\"\nring = \"{}\"\njournal = \"journal\"\ndoor = \"sockets/{name}.door\"\n{sessions}",
            self.http,
            self.ouch,
            ring.display(),
            port = self.http.port(),
            venue = self.id,
        );
        fs::write(self.folder.join("gateway.toml"), gateway)?;
        Ok(())
    }
}
