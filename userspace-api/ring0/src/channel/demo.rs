//! `ring0 channel demo`: a trader's money from its wallet through a channel, a market and a batch, and home again without the operator. On a real node (anvil) and
//! a real shard; every balance is compared with what it has to be.

mod ledger;
mod trader;
mod venue;

use crate::demo::market::{MARKET, Stage};
use crate::fail::Fail;
use ring0_channels::B256;
use ring0_channels_evm::Evm;
use ring0_dev::anvil::Node;
use ring0_dev::hub::{Token, WINDOW};
use ring0_trader::{Locate, Order, Price, Shares, Trader, UdpTransport};
use ring0d::{RingKind, stop_flag};
use serde_json::{Value, json};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use trader::Member;
use venue::{Venue, whole};
use xdp_loader::LoaderError;

/// A whole unit of the chain's coin, and of the demo's dollar.
pub(super) const ETHER: u128 = 1_000_000_000_000_000_000;
const DOLLAR: u128 = ETHER;
/// What the trader pays in: ten ether and three wei, which is below the shard's smallest unit and stays as dust.
const PAID_IN: [u128; 2] = [10 * ETHER + 3, 5_000 * DOLLAR];
/// What the other side pays in.
const MAKER_PAID_IN: [u128; 2] = [20 * ETHER, 100_000 * DOLLAR];
/// The operator's vault, whole ether and dollars.
const VAULT: [u128; 2] = [5, 10_000];
/// What is withdrawn in part.
const WITHDRAWN: u128 = 1_500 * DOLLAR;
/// How long the exit may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the engine runs [default: in the kernel, behind a UDP socket where the kernel cannot].
    #[arg(long, value_enum)]
    ring: Option<RingKind>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// What the demo says, and what did not agree.
struct Report {
    json: bool,
    steps: Vec<Value>,
    wrong: Vec<String>,
}

impl Report {
    fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// A balance, and what it has to be.
    fn expect(&mut self, what: &str, wanted: u128, found: u128) {
        let agrees = wanted == found;
        let text = format!("{what:<46} {}", whole(found, 18));
        if agrees {
            self.say(&format!("    {text}"));
        } else {
            let text = format!("{text}   and must be {}", whole(wanted, 18));
            self.say(&format!("    {text}   WRONG"));
            self.wrong.push(text);
        }
        self.steps.push(json!({
            "balance": what, "found": found.to_string(), "wanted": wanted.to_string(), "agrees": agrees,
        }));
    }
}

/// A folder that goes with the value; it holds keys.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, Fail> {
        let path = std::env::temp_dir().join(format!("ring0-channel-demo-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("ring0 channel demo: {} stays: {error}", self.0.display());
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let stop = stop_flag();
    let alive = || match stop.load(Ordering::Acquire) {
        true => Err(Fail::new("stopped; everything was removed")),
        false => Ok(()),
    };
    let ring = match args.ring {
        Some(ring) => ring,
        None => match xdp_loader::probe().require() {
            Err(LoaderError::KernelLacks { .. }) => RingKind::Udp,
            _ => RingKind::Kernel,
        },
    };
    if ring == RingKind::Kernel {
        xdp_loader::probe().require()?;
        xdp_loader::ensure_bpffs()?;
    }
    let mut report = Report {
        json: args.json,
        steps: Vec::new(),
        wrong: Vec::new(),
    };
    story(ring, &mut report, &alive)?;
    if args.json {
        let agrees = report.wrong.is_empty();
        println!(
            "{}",
            json!({ "ring": ring.name(), "balances": report.steps, "agrees": agrees })
        );
    }
    match report.wrong.as_slice() {
        [] => {
            report.say("every balance is what it has to be");
            Ok(())
        }
        wrong => Err(Fail::disagreed(format!(
            "wrong balances: {}",
            wrong.join("; ")
        ))),
    }
}

/// The demo's market, with empty accounts and the chain's dollars.
fn market() -> Result<String, Fail> {
    let mut market: toml::Table = MARKET.parse().map_err(Fail::new)?;
    let tables = |it: Option<&toml::Value>| -> Vec<toml::Table> {
        let all = it
            .and_then(toml::Value::as_array)
            .cloned()
            .unwrap_or_default();
        all.into_iter()
            .filter_map(|it| it.try_into().ok())
            .collect()
    };
    let mut accounts = tables(market.get("account"));
    for account in &mut accounts {
        account.insert("balances".to_owned(), toml::Table::new().into());
    }
    let mut assets = tables(market.get("asset"));
    for asset in assets
        .iter_mut()
        .filter(|it| it["name"].as_str() == Some("USD"))
    {
        // The token has 18 decimals; the shard goes on counting millionths.
        asset.insert("decimals".to_owned(), 18.into());
        asset.insert("unit_exponent".to_owned(), 12.into());
    }
    market.insert("account".to_owned(), accounts.into());
    market.insert("asset".to_owned(), assets.into());
    toml::to_string(&market).map_err(Fail::new)
}

fn story(
    ring: RingKind,
    report: &mut Report,
    alive: &dyn Fn() -> Result<(), Fail>,
) -> Result<(), Fail> {
    let folder = Folder::new()?;
    report.say("starting a node, compiling the hub and bringing up a shard");
    ring0_dev::anvil::code("ChannelHub.sol/ChannelHub.json")?;
    let node = Node::start()?;
    let mut stage = Stage::up(ring, &market()?)?;
    stage.start(false)?;
    alive()?;
    let market = stage.folder.market.clone();
    let to = stage.address();
    let netns = stage.veth.as_ref().map(|veth| veth.trader_ns.clone());
    let connect = || match &netns {
        Some(netns) => Ok::<_, Fail>(ring0_lab::in_netns(netns, || UdpTransport::connect(to))??),
        None => Ok(UdpTransport::connect(to)?),
    };
    let mut venue = Venue::open(stage, &node, &folder.0, VAULT.into())?;
    let member = |name: &'static str| -> Result<Member, Fail> {
        let index = market.plan.accounts.iter().position(|it| it.name == name);
        let session = market.session(&format!("{name}-1"));
        let (index, session) = index
            .zip(session)
            .ok_or_else(|| Fail::new(format!("the demo's market has no {name}")))?;
        let trader = Trader::new(session.clone(), connect()?);
        Member::new(name, index as u32, &folder.0, &node, &venue.place, trader)
    };
    let (mut carol, mut alice) = (member("carol")?, member("alice")?);
    let chain = Wallets {
        evm: Evm::connect(&node.url, venue.place.hub, None)?,
        dollar: venue.asset("USD").token,
    };

    report.say("\n1. carol and alice open channels and pay in");
    for (one, amounts) in [(&mut carol, PAID_IN), (&mut alice, MAKER_PAID_IN)] {
        venue.mint(one.owner.address(), amounts[1])?;
        for (asset, amount) in venue.assets.iter().zip(amounts) {
            one.open(&venue.place, asset, amount)?;
        }
    }
    node.mine(6, 12)?;
    venue.follow(&[&carol, &alice])?;
    venue.reconcile(&[&carol, &alice], alive)?;
    let ids: Vec<B256> = carol.channels.iter().map(|it| it.channel()).collect();
    report.expect("carol's wallet, USD", 0, chain.dollars(&carol)?);
    report.expect(
        "carol's channel, ETH",
        PAID_IN[0],
        venue.entitlement(ids[0]),
    );
    report.expect(
        "carol's channel, USD",
        PAID_IN[1],
        venue.entitlement(ids[1]),
    );
    hub(
        report,
        &venue,
        [0, 1].map(|it| PAID_IN[it] + MAKER_PAID_IN[it] + VAULT[it] * ETHER),
    )?;

    report.say("\n2. carol sells 2 ETH to alice at 3,000 USD, orders sent as signed UDP packets");
    trade(
        &mut alice,
        &mut carol,
        Order::buy,
        Order::sell,
        2_000,
        3_000,
    )?;
    venue.reconcile(&[&carol, &alice], alive)?;
    report.say(&format!(
        "    {} fills recorded; the shard's balances are what they net to",
        venue.ledger.fills
    ));
    // The taker's fee is 0.03 %.
    let (eth, usd) = (
        PAID_IN[0] - 2 * ETHER,
        PAID_IN[1] + 6_000 * DOLLAR - 6_000 * DOLLAR * 3 / 10_000,
    );
    let epoch = venue.settle(&mut [&mut carol, &mut alice], &folder.0)?;
    report.say(&format!("    batch {epoch}: the operator signed one root, both traders co-signed it and keep it in two places"));
    report.expect("carol's channel, ETH", eth, venue.entitlement(ids[0]));
    report.expect("carol's channel, USD", usd, venue.entitlement(ids[1]));
    alive()?;

    report.say("\n3. carol withdraws 1,500 USD");
    venue.withdraw(&mut carol, 1, WITHDRAWN)?;
    node.mine(6, 12)?;
    venue.follow(&[&carol, &alice])?;
    venue.reconcile(&[&carol, &alice], alive)?;
    let usd = usd - WITHDRAWN;
    report.expect("carol's wallet, USD", WITHDRAWN, chain.dollars(&carol)?);
    report.expect("carol's channel, USD", usd, venue.entitlement(ids[1]));

    report.say("\n4. carol buys 1 ETH back at 3,050 USD, and a second batch is co-signed");
    trade(
        &mut alice,
        &mut carol,
        Order::sell,
        Order::buy,
        1_000,
        3_050,
    )?;
    venue.reconcile(&[&carol, &alice], alive)?;
    venue.settle(&mut [&mut carol, &mut alice], &folder.0)?;
    let (eth, usd) = (
        eth + ETHER,
        usd - 3_050 * DOLLAR - 3_050 * DOLLAR * 3 / 10_000,
    );
    report.expect("carol's channel, ETH", eth, venue.entitlement(ids[0]));
    report.expect("carol's channel, USD", usd, venue.entitlement(ids[1]));
    let stored = venue.stored(ids[1])?;
    report.expect(
        "carol's state of USD, in the operator's store",
        usd,
        stored.newest.map_or(0, |it| it.balance),
    );

    let (file, key) = export(&carol, &folder.0)?;
    report.say("\n5. carol exported her states to one file; the operator vanishes: shard, daemon, keys and stores are gone");
    venue.vanish(&folder.0)?;
    alive()?;

    report.say("\n6. carol leaves alone: ring0 channel exit, with that file, her key and a node; her tower knows no newer state");
    let tower = Tower::start(&carol, &folder.0, &node)?;
    let before = chain.wallet(&carol)?;
    let left = leave(&file, &key, &node, &tower.url, &chain, &ids, alive)?;
    drop(tower);
    let fees: u128 = text(&left["fees"])?;
    report.say("    the window of a day went by (the node's clock was set forward)");
    for (id, wanted) in ids.iter().zip([eth, usd]) {
        let all = left["channels"].as_array();
        let own = all
            .into_iter()
            .flatten()
            .find(|it| it["channel"] == json!(id));
        let own = own.ok_or_else(|| Fail::disagreed(format!("channel {id} did not end")))?;
        report.expect("paid by the hub", wanted, text(&own["paid"])?);
        report.expect("claims that are left", 0, text(&own["claim"])?);
    }
    report.expect(
        "carol's wallet, USD",
        WITHDRAWN + usd,
        chain.dollars(&carol)?,
    );
    report.expect(
        "carol's wallet, ETH, without the fees",
        before + eth,
        chain.wallet(&carol)? + fees,
    );
    Ok(())
}

/// What the hub holds has to be what was paid in.
fn hub(report: &mut Report, venue: &Venue, wanted: [u128; 2]) -> Result<(), Fail> {
    for (asset, wanted) in venue.assets.iter().zip(wanted) {
        let (holds, _) = venue.hub_holds(asset)?;
        report.expect(&format!("the hub, {}", asset.name), wanted, holds);
    }
    Ok(())
}

/// Wallets on the chain.
struct Wallets {
    evm: Evm,
    dollar: ring0_channels::Address,
}

impl Wallets {
    fn dollars(&self, of: &Member) -> Result<u128, Fail> {
        let account = of.owner.address();
        let balance = self
            .evm
            .read_from(self.dollar, &Token::balanceOfCall { account })?;
        Ok(balance.saturating_to())
    }

    fn wallet(&self, of: &Member) -> Result<u128, Fail> {
        Ok(self.evm.balance(of.owner.address())?.saturating_to())
    }
}

type Make = fn(Locate, Shares, Price) -> Order;

/// One rests, the other takes: shares of a thousandth ETH at a price in dollars.
fn trade(
    maker: &mut Member,
    taker: &mut Member,
    rests: Make,
    takes: Make,
    shares: u32,
    price: u32,
) -> Result<(), Fail> {
    // ETH-USD is the second instrument; prices are in ten-thousandths.
    let (locate, shares, price) = (Locate(2), Shares(shares), Price(price * 10_000));
    maker.order(&[rests(locate, shares, price)])?;
    taker.order(&[takes(locate, shares, price).immediate()])
}

fn text(number: &Value) -> Result<u128, Fail> {
    let number = number.as_str().and_then(|it| it.parse().ok());
    number.ok_or_else(|| Fail::new("the exit's report has no such amount"))
}

/// This program with other arguments, as a trader would start it.
pub(super) fn ring0(arguments: &[&str]) -> Result<Command, Fail> {
    // It ends with this process, however that ends.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(std::env::current_exe()?)
        .arg("channel")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Ok(command)
}

/// The exit file and the key's file.
fn export(carol: &Member, folder: &Path) -> Result<(PathBuf, PathBuf), Fail> {
    let own = folder.join("away");
    std::fs::create_dir_all(&own)?;
    let (file, key) = (own.join("carol.json"), own.join("carol.key"));
    let place = |number: usize| carol.places[number].display().to_string();
    let (one, other, out) = (place(0), place(1), file.display().to_string());
    let status = ring0(&["export", "--keep", &one, "--keep", &other, "--out", &out])?
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(Fail::new(
            "ring0 channel export failed; its message is above",
        ));
    }
    std::fs::rename(&carol.key_file, &key)?;
    Ok((file, key))
}

/// Carol's tower, a process with a key that only pays; it tells her what it has. It ends with the value.
struct Tower {
    child: std::process::Child,
    url: String,
}

impl Tower {
    fn start(carol: &Member, folder: &Path, node: &Node) -> Result<Tower, Fail> {
        let key = folder.join("fees.key");
        let payer = ring0_dev::hub::key_file(&key)?;
        node.give(payer.address(), ETHER)?;
        let free = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let place = |number: usize| carol.places[number].display().to_string();
        let (one, other, key, address) = (
            place(0),
            place(1),
            key.display().to_string(),
            free.to_string(),
        );
        let arguments = [
            "tower",
            "--evidence",
            &one,
            "--evidence",
            &other,
            "--rpc",
            &node.url,
            "--fee-key",
            &key,
            "--holdings",
            &address,
            "--poll",
            "100",
        ];
        let child = ring0(&arguments)?.stdout(Stdio::null()).spawn()?;
        let tower = Tower {
            child,
            url: format!("http://{address}"),
        };
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(free).is_err() {
            if Instant::now() > end {
                return Err(Fail::new("the tower does not answer; its message is above"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(tower)
    }
}

impl Drop for Tower {
    fn drop(&mut self) {
        let _ = self.child.kill(); // ended already
        let _ = self.child.wait();
    }
}

/// Runs the exit to its end, and sets the node's clock forward when all disputes are on the chain.
fn leave(
    file: &Path,
    key: &Path,
    node: &Node,
    tower: &str,
    chain: &Wallets,
    ids: &[B256],
    alive: &dyn Fn() -> Result<(), Fail>,
) -> Result<Value, Fail> {
    let path = |path: &Path| path.display().to_string();
    let mut child = ring0(&[
        "exit",
        &path(file),
        "--rpc",
        &node.url,
        "--key",
        &path(key),
        "--ask",
        tower,
        "--json",
    ])?
    .spawn()?;
    let ended = (|| {
        let end = Instant::now() + PATIENCE;
        let mut waited = false;
        loop {
            alive()?;
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(Fail::new("the exit does not end"));
            }
            let disputed = |id: &B256| chain.evm.deadline(*id).map(|it| it.is_some());
            if !waited && ids.iter().all(|id| disputed(id).unwrap_or(false)) {
                node.mine(2, WINDOW)?;
                waited = true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    })();
    if ended.is_err() {
        let _ = child.kill(); // it has ended already
    }
    let output = child.wait_with_output()?;
    match ended?.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err(Fail::disagreed(
            "ring0 channel exit failed; its message is above",
        )),
    }
}
