//! One file for a whole venue: checked, wrong in many ways, and started from; and what Prometheus, as Debian has it, makes of its numbers: each panel of the
//! dashboard has data, each alert rule can be judged.

use alloy_primitives::Address;
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::ChannelHub;
use ring0_dev::hub::{RULES, WHOLE, call, new_key};
use ring0_dev::{OnChain, Options, Program, Venue, find};
use ring0_trader::{Trader, UdpTransport};
use ring0d::RingKind;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use toml::{Table, Value as Toml};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Panels that have no data in a venue on the kernel ring that nobody trades in, and what they would have it with.
const ONLY_WITH: [&str; 13] = [
    "Answer, buckets: a ring that is not the kernel's",
    "Answer: arrival to network: a ring that is not the kernel's",
    "Channels and payments: ring0-lightning",
    "Disputes: ring0-tower",
    "Money: ring0-lightning",
    "Node: ring0-lightning",
    "OUCH messages: an OUCH client",
    "Order: packet to answer: an order over REST or OUCH",
    "Purse: ring0-tower",
    "Refusals: a refusal",
    "Refused, limited: a connection refused or a rate limit passed",
    "Way in and out: a ring that is not the kernel's",
    "Withdrawals by step: a withdrawal",
];

const OPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ops");

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn read(path: &Path) -> Table {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// The files of a venue as one, with an address for the numbers of each process.
fn as_one(venue: &Venue, addresses: &[(&str, SocketAddr)]) -> Table {
    let address = |of: &str| {
        let (_, at) = addresses.iter().find(|(name, _)| *name == of).unwrap();
        Toml::from(at.to_string())
    };
    let text = |it: &str| Toml::from(it.to_owned());
    let mut whole = Table::new();
    whole.insert("market".to_owned(), read(&venue.path("market.toml")).into());
    let veth = venue.veth.as_ref().unwrap();
    let ring0d: Table = [
        ("ring", text("kernel")),
        ("interface", text(&veth.exchange_if)),
        ("netns", text(&veth.exchange_ns)),
        (
            "peer",
            text(&format!("{}%{}", veth.trader_if, veth.trader_ns)),
        ),
        ("sockets", text("sockets")),
        ("grants", text("grants")),
        ("door", true.into()),
        ("metrics", address("ring0d")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect();
    whole.insert("ring0d".to_owned(), ring0d.into());
    let pins = xdp_loader::default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns));
    let recorder: Table = [
        ("pin_root", text(&pins.display().to_string())),
        ("journal", text("journal")),
        ("metrics", address("recorder")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect();
    whole.insert("recorder".to_owned(), recorder.into());
    for (table, file) in [("settled", "settled.toml"), ("gateway", "gateway.toml")] {
        let mut own = read(&venue.path(file));
        own.remove("market");
        if table == "settled" {
            own.insert("metrics".to_owned(), address("settled"));
        }
        whole.insert(table.to_owned(), own.into());
    }
    let mut signer = read(&venue.path("signer/signer.toml"));
    signer.insert("home".to_owned(), text("signer"));
    signer.insert("metrics".to_owned(), address("signer"));
    whole.insert("signer".to_owned(), signer.into());
    whole
}

fn write(path: &Path, table: &Table) {
    fs::write(path, toml::to_string(table).unwrap()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What `ring0d check` says: exit status and findings.
fn check(file: &Path) -> (i32, Vec<(String, String)>) {
    check_with(&[], file)
}

fn check_with(flags: &[&str], file: &Path) -> (i32, Vec<(String, String)>) {
    let ran = Command::new(find("ring0d").unwrap())
        .args(["check", "--json"])
        .args(flags)
        .arg(file)
        .output()
        .unwrap();
    let said: Value =
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let findings = said["findings"].as_array().unwrap().iter();
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let findings = findings.map(|it| (text(&it["key"]), text(&it["problem"])));
    (ran.status.code().unwrap(), findings.collect())
}

/// A place in a table: names, and numbers of places in arrays.
fn at<'a>(table: &'a mut Table, path: &[&str]) -> &'a mut Table {
    let mut here = table;
    for key in path {
        let next = match here.get_mut(*key).unwrap() {
            Toml::Array(all) => &mut all[0],
            one => one,
        };
        here = next.as_table_mut().unwrap();
    }
    here
}

fn set(table: &mut Table, path: &[&str], key: &str, value: impl Into<Toml>) {
    at(table, path).insert(key.to_owned(), value.into());
}

/// Each way in which a file is wrong, and what has to be said: the key, and part of the words.
fn wrong_files(file: &Path, good: &Table, folder: &Path) {
    type Edit = Box<dyn Fn(&mut Table)>;
    let edit = |path: &'static [&'static str], key: &'static str, value: Toml| -> Edit {
        Box::new(move |it: &mut Table| set(it, path, key, value.clone()))
    };
    let without = |path: &'static [&'static str], key: &'static str| -> Edit {
        Box::new(move |it: &mut Table| drop(at(it, path).remove(key)))
    };
    let metrics = good["ring0d"]["metrics"].clone();
    let elsewhere = |it: &str| Toml::from(it.to_owned());
    let other_hub = "0x0000000000000000000000000000000000000009";
    let other_venue = format!("0x{}", "9".repeat(64));
    let cases: Vec<(Edit, &str, &str)> = vec![
        (
            edit(&[], "gatewya", Table::new().into()),
            "gatewya",
            "no program reads it",
        ),
        (
            edit(&["gateway"], "stroe", elsewhere("x")),
            "gateway",
            "unknown field `stroe`",
        ),
        (
            edit(&["settled"], "perod", 1.into()),
            "settled",
            "unknown field `perod`",
        ),
        (
            edit(&["signer"], "keyz", 1.into()),
            "signer",
            "unknown field `keyz`",
        ),
        (
            edit(&["ring0d"], "rnig", elsewhere("udp")),
            "ring0d",
            "rnig: there is no such key",
        ),
        (
            edit(&["ring0d"], "ring", elsewhere("tape")),
            "ring0d",
            "invalid value 'tape'",
        ),
        (
            edit(&["recorder"], "jurnal", elsewhere("x")),
            "recorder",
            "jurnal: there is no such key",
        ),
        (
            edit(&["market", "instrument"], "base", elsewhere("XXX")),
            "market",
            "instrument[0].base",
        ),
        (
            edit(
                &["market", "session"],
                "key_file",
                elsewhere("keys/none.key"),
            ),
            "market",
            "session[0].key_file",
        ),
        (without(&[], "recorder"), "recorder", "has none"),
        (
            without(&[], "ring0d"),
            "ring0d",
            "nothing would start the shard",
        ),
        (
            edit(&["recorder"], "journal", elsewhere("other")),
            "settled.shard[0].journal",
            "write the same folder",
        ),
        (
            edit(&["recorder"], "pin_root", elsewhere("/sys/fs/bpf/other")),
            "recorder[0].pin_root",
            "write that",
        ),
        (
            edit(&["settled"], "sockets", elsewhere("elsewhere")),
            "settled.shard[0].socket",
            "listens at",
        ),
        (
            edit(&["gateway"], "settled", elsewhere("sockets/other.sock")),
            "gateway.settled",
            "settlement listens at",
        ),
        (
            without(&["ring0d"], "grants"),
            "ring0d.grants",
            "grants sessions for people",
        ),
        (
            edit(&["ring0d"], "door", false.into()),
            "gateway.shard[0].door",
            "ring0d.door = true",
        ),
        (
            edit(&["gateway", "identity"], "venue", elsewhere(&other_venue)),
            "gateway.identity.venue",
            "write the same",
        ),
        (
            edit(&["settled", "signer"], "key", elsewhere("somebody")),
            "settled.signer.key",
            "[[signer.key]]",
        ),
        (
            edit(&["settled", "signer"], "socket", elsewhere("s.sock")),
            "settled.signer.socket",
            "the signer listens at",
        ),
        (
            edit(&["settled", "hub"], "address", elsewhere(other_hub)),
            "settled.hub[0].address",
            "[[signer.hub]]",
        ),
        (
            edit(&["settled", "hub", "token"], "asset", elsewhere("XXX")),
            "settled",
            "there is no asset",
        ),
        (
            edit(&["signer", "asset"], "token", elsewhere(other_hub)),
            "settled.hub[0].token[0].token",
            "[[signer.asset]]",
        ),
        (
            edit(&["signer", "key"], "kinds", vec!["batch"].into()),
            "signer.key[0].kinds",
            "state, withdrawal",
        ),
        (
            edit(
                &["signer", "key"],
                "venues",
                vec![other_venue.as_str()].into(),
            ),
            "signer.key[0].venues",
            "add it",
        ),
        (
            edit(&["signer"], "metrics", metrics),
            "signer.metrics",
            "give each its own port",
        ),
        (
            edit(&["settled"], "rail", elsewhere("lightning")),
            "settled",
            "no rail",
        ),
        (
            edit(&["settled"], "store", elsewhere("gateway")),
            "gateway.store",
            "settled.store",
        ),
        (
            without(&["signer"], "home"),
            "signer.home",
            "name the signer's folder",
        ),
    ];
    for (number, (edit, key, words)) in cases.iter().enumerate() {
        let mut bad = good.clone();
        edit(&mut bad);
        write(file, &bad);
        let (status, findings) = check(file);
        assert_eq!(status, 1, "case {number}: {key} {words}");
        assert!(
            findings
                .iter()
                .any(|(at, why)| at == key && why.contains(words)),
            "case {number}: {key}, {words}: {findings:#?}"
        );
    }
    // Files of secrets that others may read, and a file that others may write.
    write(file, good);
    let key = folder.join("fee.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, findings) = check(file);
    assert!(
        findings
            .iter()
            .any(|(at, why)| at == "settled.hub[0].fee_key" && why.contains("chmod 600")),
        "{findings:?}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    let (_, findings) = check(file);
    assert!(
        findings
            .iter()
            .any(|(at, why)| at.is_empty() && why.contains("others than its owner may write it")),
        "{findings:?}"
    );
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Prometheus over the venue's numbers, ended with the value.
struct Prometheus {
    child: Child,
    url: String,
    agent: ureq::Agent,
    log: PathBuf,
}

impl Prometheus {
    /// With the configuration and rules of the repository, at these addresses in place of the usual ones, asking once a second.
    fn start(folder: &Path, addresses: &[(&str, SocketAddr)]) -> Prometheus {
        let home = folder.join("prometheus");
        fs::create_dir(&home).unwrap();
        fs::copy(format!("{OPS}/alerts.yml"), home.join("alerts.yml")).unwrap();
        let mut config = fs::read_to_string(format!("{OPS}/prometheus.yml")).unwrap();
        config = config.replace("interval: 5s", "interval: 1s");
        for (job, at) in addresses {
            let (before, behind) = config.split_once(&format!("job_name: {job}")).unwrap();
            let (line, rest) = behind.split_once("targets: [").unwrap();
            let (_, rest) = rest.split_once(']').unwrap();
            config = format!("{before}job_name: {job}{line}targets: [\"{at}\"]{rest}");
        }
        let file = home.join("prometheus.yml");
        fs::write(&file, &config).unwrap();
        let checked = Command::new("promtool")
            .args(["check", "config"])
            .arg(&file)
            .output();
        let checked = checked.expect("scripts/setup installs prometheus");
        assert!(checked.status.success(), "{checked:?}");
        let at = free_address();
        let log = folder.join("prometheus.log");
        let out = fs::File::create(&log).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "prometheus"])
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                home.join("data").display()
            ))
            .arg(format!("--web.listen-address={at}"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Prometheus {
            child,
            url: format!("http://{at}"),
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .into(),
            log,
        }
    }

    /// The samples of an expression now; nothing before it answers.
    fn ask(&self, expression: &str) -> Result<Vec<Value>, String> {
        let url = format!("{}/api/v1/query", self.url);
        let mut answer = self
            .agent
            .get(&url)
            .query("query", expression)
            .call()
            .map_err(|it| it.to_string())?;
        let answer: Value = answer.body_mut().read_json().map_err(|it| it.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"]
                .as_array()
                .cloned()
                .unwrap_or_default()),
            _ => Err(answer.to_string()),
        }
    }

    /// Waits until an expression gives something that is a number.
    fn wait(&self, what: &str, expression: &str) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.ask(expression);
            let is_number = |it: &Value| it["value"][1].as_str().is_some_and(|it| it != "NaN");
            if let Ok(samples) = &found
                && samples.iter().any(is_number)
            {
                return samples.clone();
            }
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(
                Instant::now() < end,
                "{what} has no data: {expression}: {found:?}\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill(); // ended already
        let _ = self.child.wait();
    }
}

/// Every expression of the dashboard, with its panel's title and description.
fn panels() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(format!("{OPS}/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let text = |key: &str| panel[key].as_str().unwrap_or_default().to_owned();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap().to_owned();
            all.push((text("title"), text("description"), expression));
        }
    }
    assert!(all.len() > 40, "{}", all.len());
    all
}

/// The kernel times its programs as long as this lives.
struct Timed(String);

impl Timed {
    const SYSCTL: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn on() -> Timed {
        let before = fs::read_to_string(Timed::SYSCTL).unwrap();
        fs::write(Timed::SYSCTL, "1").unwrap();
        Timed(before)
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let _ = fs::write(Timed::SYSCTL, &self.0); // root had written it
    }
}

/// A session that is there: its packets are answered when the journal has them.
fn beat(venue: &Venue, is_over: &AtomicBool) {
    let session = venue.market.session("alice-1").unwrap().clone();
    let udp = venue.udp();
    let veth = venue.veth.as_ref().expect("the kernel ring is behind one");
    let connect = || {
        let socket = UdpSocket::bind((veth.trader_address, 0))?;
        socket.connect(udp)?;
        std::io::Result::Ok(socket)
    };
    let socket = UdpTransport::new(veth.in_trader(connect).unwrap().unwrap());
    let mut trader = Trader::new(session, socket);
    let mut acks = Vec::new();
    while !is_over.load(Ordering::Acquire) {
        trader.heartbeat().unwrap();
        trader.poll(Duration::from_millis(50), &mut acks).unwrap();
    }
}

/// Somebody opens a channel with an ether: what comes in makes a batch, which the signer signs.
fn pay_in(venue: &Venue) {
    let chain = venue.chain.as_ref().unwrap();
    let (owner, cosigner) = (new_key().unwrap(), new_key().unwrap());
    chain.node.give(owner.address(), 10 * WHOLE).unwrap();
    let whose = json!({
        "verb": "register", "account": 0, "owner": owner.address(), "cosigner": cosigner.address(), "grants": [],
    });
    venue.ask("settled", &whose).unwrap();
    let hub = chain.placed.hub;
    let mut evm = Evm::connect(&chain.node.url, hub, Some(owner)).unwrap();
    let open = ChannelHub::openCall {
        cosigner: cosigner.address(),
        token: Address::ZERO,
        nonce: 1,
        amount: WHOLE,
    };
    call(&mut evm, "opening", hub.address, &open, WHOLE).unwrap();
    let confirmed = RULES.confirmations + RULES.pin_every;
    chain.node.mine(confirmed, 1).unwrap();
}

/// `--nodes`: the chain is what the file says; what only the chain knows is found, each under its key.
fn nodes_are_asked(file: &Path, good: &Table, chain: &OnChain) {
    let token = chain.placed.token;
    // As many blocks as have to lie on what counts: a hub that was just made has none.
    chain.node.mine(RULES.confirmations, 1).unwrap();
    assert_eq!(check_with(&["--nodes"], file), (0, Vec::new()));
    let mut bad = good.clone();
    set(&mut bad, &["settled", "hub"], "start", 1_000_000);
    let tokens = at(&mut bad, &["settled", "hub"]).get_mut("token").unwrap();
    let tokens = tokens.as_array_mut().unwrap();
    let place = tokens
        .iter()
        .position(|it| it["token"].as_str() == Some(&token.to_string()));
    let place = place.expect("the file names the token");
    write(file, &bad);
    assert_eq!(check(file), (0, Vec::new()), "no node was asked");
    let (status, findings) = check_with(&["--nodes"], file);
    let [(key, problem)] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!((status, key.as_str()), (1, "settled.hub[0].start"));
    assert!(problem.contains("below 1000000"), "{problem}");

    // The dollars with other decimals than the token has.
    let mut bad = good.clone();
    let assets = at(&mut bad, &["market"]).get_mut("asset").unwrap();
    let assets = assets.as_array_mut().unwrap();
    let dollar = assets
        .iter_mut()
        .find(|it| it["name"].as_str() == Some("USD"));
    let dollar = dollar.unwrap().as_table_mut().unwrap();
    dollar.insert("decimals".to_owned(), Toml::from(17));
    write(file, &bad);
    let (status, findings) = check_with(&["--nodes"], file);
    let [(key, problem)] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(
        (status, key),
        (1, &format!("settled.hub[0].token[{place}].token"))
    );
    assert!(problem.contains("has 18 decimals"), "{problem}");

    // Nobody there.
    let mut bad = good.clone();
    set(&mut bad, &["settled", "hub"], "rpc", "http://127.0.0.1:1");
    write(file, &bad);
    let (status, findings) = check_with(&["--nodes"], file);
    assert_eq!((status, findings[0].0.as_str()), (1, "settled.hub[0].rpc"));
    write(file, good);
}

#[test]
fn a_venue_of_one_file_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(&folder.path().join("venue"));
    options.ring = RingKind::Kernel;
    options.any_port = true;
    let durable = "[shard]\nacks = \"durable\"";
    options.market = options.market.replacen("[shard]", durable, 1);
    let mut venue = Venue::up(options, &mut |_| {}).unwrap();
    assert!(venue.chain.is_some(), "contracts/evm/setup installs a node");
    let place = venue.path("");
    let mut addresses: Vec<(&str, SocketAddr)> = ["ring0d", "recorder", "settled", "signer"]
        .into_iter()
        .map(|name| (name, free_address()))
        .collect();

    // From here on everything is told by one file. The shard stays in the kernel meanwhile.
    let (file, good) = (venue.path("venue.toml"), as_one(&venue, &addresses));
    addresses.push(("gateway", venue.http));
    write(&file, &good);
    let (status, findings) = check(&file);
    assert_eq!((status, &findings[..]), (0, &[][..]));
    wrong_files(&file, &good, &place);
    nodes_are_asked(&file, &good, venue.chain.as_ref().unwrap());

    let path = |it: &str| venue.path(it).display().to_string();
    let (named, passphrase) = (path("venue.toml"), path("signer.passphrase"));
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|it| (*it).to_owned())
            .collect::<Vec<String>>()
    };
    for program in [
        &mut venue.gateway,
        venue.settled.as_mut().unwrap(),
        &mut venue.signer,
        &mut venue.recorder,
        &mut venue.shard,
    ] {
        assert!(program.stop(), "{} does not end", program.name());
    }
    let program = |name, arguments: &[&str]| Program::new(name, &place, words(arguments)).unwrap();
    venue.shard = program("ring0d:shard", &["--config", &named, "--with-parent"]);
    venue.recorder = program(
        "ring0:recorder",
        &["record", "--config", &named, "--with-parent"],
    );
    venue.signer = program(
        "ring0-signer",
        &[
            "--config",
            &named,
            "--passphrase-file",
            &passphrase,
            "serve",
            "--with-parent",
        ],
    );
    venue.settled = Some(program("ring0-settled", &["run", "--with-parent", &named]));
    venue.gateway = program("ring0-gateway", &["run", &named]);
    venue.start_shard().unwrap();
    venue.start_recorder().unwrap();
    venue.start_signer().unwrap();
    venue.start_settled().unwrap();
    venue.start_gateway().unwrap();

    // A changed limit is applied by the same file.
    let mut changed = good.clone();
    set(&mut changed, &["market", "account"], "orders_max", 7);
    write(&file, &changed);
    let ran = Command::new(find("ring0").unwrap())
        .args(["ctl", "--json", "apply", &named])
        .output()
        .unwrap();
    let said: Value =
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(said["applied"], true, "{said}");
    assert_eq!(said["changes"].as_array().unwrap().len(), 1, "{said}");

    // Every process is seen, every panel has data, but what is only with something else: that has to be understood.
    let prometheus = Prometheus::start(&place, &addresses);
    let up = format!("count(up == 1) == {}", addresses.len());
    prometheus.wait("all processes up", &up);
    let shard = venue.market.plan.shard.name.clone();
    let market = format!("http://{}/v1/instruments", venue.http);
    let ask = |number: u32| {
        let _ = prometheus.agent.get(&market).call(); // counted, whatever it says
        let deposit = json!({ "verb": "open-account", "account": format!("#{}", 100 + number) });
        venue.ask(&shard, &deposit).unwrap();
    };
    (0..10).for_each(ask);
    pay_in(&venue);
    let mut only = BTreeSet::new();
    let _timed = Timed::on();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let beating = scope.spawn(|| beat(&venue, &is_over));
        let looked = catch_unwind(AssertUnwindSafe(|| {
            for (title, description, expression) in panels() {
                match description.strip_prefix("Only with ") {
                    None => drop(prometheus.wait(&title, &expression)),
                    Some(what) => {
                        prometheus
                            .ask(&expression)
                            .unwrap_or_else(|why| panic!("{title}: {why}"));
                        let (what, _) = what.split_once('.').unwrap();
                        only.insert(format!("{title}: {what}"));
                    }
                }
            }
        }));
        is_over.store(true, Ordering::Release);
        beating.join().unwrap();
        looked.unwrap_or_else(|why| resume_unwind(why));
    });
    // What is not here, by name: a panel that loses its data is not among them.
    let only: Vec<&str> = only.iter().map(String::as_str).collect();
    assert_eq!(only, ONLY_WITH);

    // The rules were judged, and one that must say something does.
    let mut rules = prometheus
        .agent
        .get(format!("{}/api/v1/rules", prometheus.url))
        .call()
        .unwrap();
    let rules: Value = rules.body_mut().read_json().unwrap();
    let rules = rules["data"]["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .clone();
    let judged = fs::read_to_string(format!("{OPS}/alerts.yml"))
        .unwrap()
        .matches("- alert:")
        .count();
    assert_eq!(rules.len(), judged);
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let runbook = fs::read_to_string(format!("{OPS}/../runbook.md")).unwrap();
    for rule in &rules {
        let link = rule["annotations"]["runbook"].as_str().unwrap();
        let anchor = link.strip_prefix("docs/runbook.md#").unwrap();
        let heading = |line: &&str| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|it| it.is_alphanumeric() || *it == ' ');
            kept.collect::<String>().replace(' ', "-") == anchor
        };
        let found = runbook
            .lines()
            .filter(|it| it.starts_with('#'))
            .any(|it| heading(&it));
        assert!(found, "{link} is not in the runbook");
    }
    venue.gateway.kill();
    let alert = "ALERTS{alertname=\"Ring0ProcessDown\", job=\"gateway\"}";
    prometheus.wait("the alert", alert);
    drop(prometheus);
}
