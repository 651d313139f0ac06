//! Two shards of a venue: each trades its own instruments and sends what is the other's there; amounts that move between them are never
//! lost and never there twice, whoever is killed at whatever moment. In the kernel both are on one interface, behind a dispatcher.

use ring0_abi::{Counter, counter_name};
use ring0_lab::Veth;
use ring0_market::{Existing, Market, keygen};
use ring0_trader::{
    Ack, Locate, Order, Outcome, Price, Reason, Reference, Rejection, Shares, Trader, Transport,
    UdpTransport,
};
use ring0d::{Client, Verb};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use xdp_loader::{Dispatcher, default_pin_root, default_shard_root, open_pinned, unload};

const VENUE: &str = include_str!("../../markets/venue.toml");
const NAMES: [&str; 2] = ["north", "south"];
const ACCOUNTS: [&str; 2] = ["alice", "bob"];

/// How long a process may take to be ready, or a transfer to come in, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the two shards run.
enum Place {
    /// In threads of their daemons, at free ports of the loopback interface.
    Threads,
    /// In the kernel, on one interface of two queues.
    Kernel(Box<Veth>),
}

struct Venue {
    place: Place,
    folder: tempfile::TempDir,
    markets: [Market; 2],
    daemons: [Option<Child>; 2],
    /// With durable acks: who journals.
    recorders: [Option<Child>; 2],
    /// Snapshots that the next daemons begin from.
    restore: [Option<String>; 2],
}

impl Venue {
    fn up(place: Place) -> Venue {
        Venue::of(place, VENUE.to_owned())
    }

    fn of(place: Place, mut text: String) -> Venue {
        let ran = ring0_tests::ring0(&["--version"]); // builds it
        assert_eq!(ran.status, 0, "{ran:?}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("venue.toml");
        if matches!(place, Place::Threads) {
            // Both are held until both are known, so that they differ.
            let free = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
            for (socket, port) in free.iter().zip(["9_001", "9_002"]) {
                let free = socket.local_addr().unwrap().port();
                text = text.replace(port, &free.to_string());
            }
        }
        fs::write(&file, text).unwrap();
        keygen(&file, Existing::Keep).unwrap();
        let market = |name: &str| {
            Market::load(&PathBuf::from(format!("{}#{name}", file.display()))).unwrap()
        };
        let mut venue = Venue {
            markets: NAMES.map(market),
            place,
            folder,
            daemons: [None, None],
            recorders: [None, None],
            restore: [None, None],
        };
        venue.start(0);
        venue.start(1);
        venue
    }

    fn socket(&self, shard: usize) -> PathBuf {
        self.folder.path().join(format!("{}.sock", NAMES[shard]))
    }

    fn market_file(&self, shard: usize) -> String {
        let file = self.folder.path().join("venue.toml");
        format!("{}#{}", file.display(), NAMES[shard])
    }

    /// One of the user command's verbs that goes on, its words in the venue's log.
    fn command(&self, verb: &str) -> Command {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let test = std::env::current_exe().unwrap();
        let mut command = Command::new(test.ancestors().nth(2).unwrap().join("ring0"));
        command
            .args([verb, "--with-parent"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    fn start(&mut self, shard: usize) {
        let name = NAMES[shard];
        let folder = self.folder.path();
        let mut command = self.command("daemon");
        command
            .args(["--market", &self.market_file(shard)])
            .arg("--sockets")
            .arg(folder);
        match &self.place {
            Place::Threads => command
                .args(["--ring", "udp", "--mq"])
                .arg(folder.join(format!("{name}.ring"))),
            Place::Kernel(veth) => command
                .args(["--interface", &veth.exchange_if])
                .args(["--netns", &veth.exchange_ns])
                .arg("--peer")
                .arg(format!("{}%{}", veth.trader_if, veth.trader_ns)),
        };
        if let Some(snapshot) = self.restore[shard].take() {
            command.args(["--restore", &snapshot]);
        }
        self.daemons[shard] = Some(command.spawn().unwrap());
        self.wait("the daemon", |venue| {
            venue.try_call(shard, &Verb::Status { hash: false })
        });
    }

    fn kill(&mut self, shard: usize) {
        let mut daemon = self.daemons[shard].take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    fn journal(&self, shard: usize, life: &str) -> PathBuf {
        let name = format!("{}-{life}", NAMES[shard]);
        self.folder.path().join(name)
    }

    fn start_recorder(&mut self, shard: usize, life: &str) {
        let mut command = self.command("record");
        command.arg("--pin-root").arg(self.pin_root(shard));
        command.arg("--journal").arg(self.journal(shard, life));
        self.recorders[shard] = Some(command.spawn().unwrap());
        self.wait("the recorder", |venue| {
            let status = venue.try_call(shard, &Verb::Status { hash: false })?;
            let required = status["ring"]["required"].as_array()?;
            let is_there = required.iter().any(|one| one["name"] == "recorder");
            is_there.then_some(())
        });
    }

    fn wait<T>(&self, what: &str, ask: impl Fn(&Venue) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "{what} does not come: {}", log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn try_call(&self, shard: usize, verb: &Verb) -> Option<Value> {
        self.call(shard, verb).ok()
    }

    fn call(&self, shard: usize, verb: &Verb) -> Result<Value, ring0d::ClientError> {
        Client::connect(&self.socket(shard))?.call(verb)
    }

    fn accounts(&self, shard: usize) -> Vec<Value> {
        let answer = self.call(shard, &Verb::Accounts).unwrap();
        answer["accounts"].as_array().unwrap().clone()
    }

    /// What everybody has of an asset in both shards, in its smallest units; no shard may have any in flight.
    fn sum(&self, asset: &str) -> u64 {
        let units = |text: &Value| {
            let digits = text.as_str().unwrap();
            let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
            let places = 8 - part.len();
            whole.parse::<u64>().unwrap() * 100_000_000
                + part.parse::<u64>().unwrap_or(0) * 10_u64.pow(places as u32)
        };
        let mut sum = 0;
        for account in self.accounts(0).iter().chain(&self.accounts(1)) {
            assert_eq!(account["in_flight"], Value::Null, "{account}");
            let balance = &account["balances"][asset];
            sum += units(&balance["available"]) + units(&balance["held"]);
        }
        sum
    }

    fn available(&self, shard: usize, account: usize, asset: &str) -> String {
        let text = &self.accounts(shard)[account]["balances"][asset]["available"];
        text.as_str().unwrap().to_owned()
    }

    /// Waits until nothing is in flight.
    fn settle(&self) {
        for shard in [0, 1] {
            self.wait("the end of all transfers", |venue| {
                let accounts = venue.accounts(shard);
                accounts
                    .iter()
                    .all(|one| one["in_flight"].is_null())
                    .then_some(())
            });
        }
    }

    fn transfer(&self, from: usize, account: usize, amount: &str) -> Result<Value, String> {
        let verb = Verb::Transfer {
            account: ACCOUNTS[account].to_owned(),
            asset: "USD".to_owned(),
            amount: amount.to_owned(),
            to: NAMES[1 - from].to_owned(),
            number: None,
        };
        self.call(from, &verb).map_err(|error| error.to_string())
    }

    fn port(&self, shard: usize) -> u16 {
        self.markets[shard].plan.shard.port
    }

    /// A socket of the trader's end, connected to the shard.
    fn connect(&self, shard: usize) -> UdpTransport {
        let to = |address: Ipv4Addr| SocketAddr::from((address, self.port(shard)));
        let transport = match &self.place {
            Place::Threads => UdpTransport::connect(to(Ipv4Addr::LOCALHOST)),
            Place::Kernel(veth) => {
                let connect = || UdpTransport::connect(to(veth.exchange_address));
                veth.in_trader(connect).unwrap()
            }
        };
        transport.unwrap()
    }

    fn trader(&self, shard: usize, session: &str) -> Trader<UdpTransport> {
        let session = self.markets[shard].session(session).unwrap().clone();
        let mut trader = Trader::new(session, self.connect(shard));
        trader.adopt().unwrap();
        trader
    }

    fn veth(&self) -> &Veth {
        match &self.place {
            Place::Kernel(veth) => veth,
            Place::Threads => panic!("only the kernel's shards have an interface"),
        }
    }

    fn pin_root(&self, shard: usize) -> PathBuf {
        let veth = self.veth();
        default_shard_root(&veth.exchange_if, Some(&veth.exchange_ns), self.port(shard))
    }

    /// Frames that the program on the interface has seen, by receive queue.
    fn frames(&self) -> [u64; 2] {
        let veth = self.veth();
        let mut ethtool = Command::new("ip");
        ethtool.args(["netns", "exec", &veth.exchange_ns, "ethtool", "-S"]);
        let output = ethtool.arg(&veth.exchange_if).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        [0, 1].map(|queue| {
            let name = format!("rx_queue_{queue}_xdp_packets:");
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix(&name));
            line.unwrap_or_else(|| panic!("no {name} in {text}"))
                .trim()
                .parse()
                .unwrap()
        })
    }

    /// Two sockets to the shard, one for each queue: which one a socket's frames take, its hash decides.
    fn ways(&self, shard: usize) -> [UdpTransport; 2] {
        let mut found = [None, None];
        for _ in 0..64 {
            let mut socket = self.connect(shard);
            let before = self.frames();
            socket.send(&[0]).unwrap(); // drop_too_short
            let after = self.frames();
            let queue = usize::from(after[1] > before[1]);
            assert_eq!(after[queue], before[queue] + 1, "one frame on a quiet wire");
            found[queue] = Some(socket);
            if let [Some(_), Some(_)] = found {
                return found.map(|socket| socket.expect("just looked"));
            }
        }
        panic!("64 sockets, and all of them on one queue");
    }

    /// What a shard's program has counted, by number, and what the dispatcher has (`None`).
    fn counted(&self, shard: Option<usize>) -> Vec<u64> {
        let counters = match shard {
            Some(shard) => open_pinned(&self.pin_root(shard)).unwrap().counters(),
            None => {
                let veth = self.veth();
                let found = Dispatcher::open(&veth.exchange_if, Some(&veth.exchange_ns));
                found.unwrap().unwrap().counters()
            }
        };
        counters.unwrap().sums().unwrap()
    }
}

/// Sends by turns on both queues.
struct ByTurns {
    sockets: [UdpTransport; 2],
    sent: u64,
}

impl Transport for ByTurns {
    fn now(&mut self) -> Duration {
        self.sockets[0].now()
    }

    fn send(&mut self, packet: &[u8]) -> std::io::Result<()> {
        self.sent += 1;
        self.sockets[self.sent as usize & 1].send(packet)
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> std::io::Result<Option<usize>> {
        let end = self.now() + wait;
        loop {
            for socket in &mut self.sockets {
                if let Some(len) = socket.receive(into, Duration::ZERO)? {
                    return Ok(Some(len));
                }
            }
            let left = end.saturating_sub(self.now()).min(Duration::from_millis(1));
            if left.is_zero() {
                return Ok(None);
            }
            // The answer is most often to what was sent last.
            let last = &mut self.sockets[self.sent as usize & 1];
            if let Some(len) = last.receive(into, left)? {
                return Ok(Some(len));
            }
        }
    }
}

/// A seed from the environment or the clock, printed, and numbers from it.
fn random() -> impl FnMut(u64) -> u64 {
    let seed = ring0_tests::seed();
    let mut state = seed | 1;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        let children = self.daemons.iter_mut().chain(&mut self.recorders);
        for mut child in children.filter_map(Option::take) {
            let _ = child.kill(); // it has ended already
            let _ = child.wait();
        }
        if let Place::Kernel(veth) = &self.place {
            let shared = default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns));
            for pins in [self.pin_root(0), self.pin_root(1), shared] {
                if let Err(error) = unload(&pins) {
                    eprintln!("{error}");
                }
            }
        }
    }
}

fn in_the_kernel() -> Place {
    xdp_loader::ensure_bpffs().unwrap();
    let options = ring0_lab::Options {
        queues: 2,
        ..ring0_lab::Options::default()
    };
    Place::Kernel(Box::new(
        Veth::up(options).unwrap_or_else(|error| panic!("{error}")),
    ))
}

/// Each shard trades its own instrument; what is the other's is rejected with the other's port, on the wire and to people.
fn each_trades_its_own(venue: &Venue) {
    let before = [venue.sum("USD"), venue.sum("BTC"), venue.sum("ETH")];
    for (shard, dollars) in [(0, 60_000), (1, 3_000)] {
        let name = NAMES[shard];
        let mut alice = venue.trader(shard, &format!("alice-{name}"));
        let mut bob = venue.trader(shard, &format!("bob-{name}"));
        let (own, other) = (Locate(shard as u16 + 1), Locate(2 - shard as u16));
        let price = Price(dollars * 10_000);
        let sold = alice.submit(&[Order::sell(own, Shares(5), price)]).unwrap();
        assert_eq!(sold[0].outcome, Outcome::Accepted);
        let bought = bob.submit(&[Order::buy(own, Shares(3), price)]).unwrap();
        assert_eq!(
            (bought[0].outcome, bought[0].quantity),
            (Outcome::Accepted, 3)
        );
        assert_eq!(
            (bought[0].port(), bought[0].accepted()),
            (None, Ok(&bought[0]))
        );

        let port = venue.markets[1 - shard].plan.shard.port;
        let stray = [
            Order::buy(other, Shares(1), price),
            Order::cancel(other, Reference(77)),
        ];
        for ack in bob.submit(&stray).unwrap() {
            assert_eq!(ack.reason(), Some(Reason::WrongShard), "{ack:?}");
            assert_eq!(ack.accepted(), Err(Rejection::WrongShard { port }));
            let text = ack.accepted().unwrap_err().to_string();
            assert!(text.contains(&format!("UDP port {port}")), "{text}");
        }
        // Nobody lists this one.
        let nowhere = Order::buy(Locate(3), Shares(1), price);
        let ack = bob.submit(&[nowhere]).unwrap()[0];
        assert_eq!(
            (ack.reason(), ack.port()),
            (Some(Reason::UnknownInstrument), None)
        );
    }
    // A session is of one shard: to the other its packets are a stranger's.
    let stray = venue.markets[0].session("alice-south").unwrap();
    assert!(stray.id().index().is_some());
    let status = venue.call(0, &Verb::Status { hash: false }).unwrap();
    let sessions = status["sessions"].as_array().unwrap();
    let names: Vec<&Value> = sessions.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["alice-north", "bob-north"]);
    assert_eq!(status["instruments"][1]["shard"], "south");
    assert_eq!(
        before,
        [venue.sum("USD"), venue.sum("BTC"), venue.sum("ETH")]
    );
}

/// An amount moves there and back, by the operator's command, and what cannot move says why.
fn amounts_move(venue: &Venue) {
    let before = venue.sum("USD");
    let had = [0, 1].map(|shard| venue.available(shard, 1, "USD"));
    let socket = venue.socket(0).display().to_string();
    let transfer = |words: &[&str]| {
        let mut all = vec!["ctl", "--socket", &socket, "--json", "transfer"];
        all.extend(words);
        ring0_tests::ring0(&all)
    };
    let ran = transfer(&["bob", "USD", "1000.25", "--to", "south"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&answer["number"], &answer["in_flight"]),
        (&1.into(), &Value::Null)
    );
    let has = [0, 1].map(|shard| venue.available(shard, 1, "USD"));
    assert_ne!(had, has);
    assert_eq!(venue.sum("USD"), before);
    venue.transfer(1, 1, "1000.25").unwrap();
    venue.settle();
    assert_eq!(had, [0, 1].map(|shard| venue.available(shard, 1, "USD")));
    for (words, problem) in [
        (["bob", "USD", "1000000000", "--to", "south"], "Funds"),
        (["bob", "USD", "0", "--to", "south"], "BadAmount"),
        (["bob", "USD", "1", "--to", "north"], "this shard"),
        (["bob", "USD", "1", "--to", "west"], "north, south"),
    ] {
        let ran = transfer(&words);
        assert!(ran.status != 0 && ran.err.contains(problem), "{ran:?}");
    }
    assert_eq!(venue.sum("USD"), before);
}

#[test]
fn two_shards_in_threads() {
    let mut venue = Venue::up(Place::Threads);
    each_trades_its_own(&venue);
    amounts_move(&venue);
    // Without the other daemon an amount waits, and no second one begins; with it, it comes in.
    let before = venue.sum("USD");
    venue.kill(1);
    venue.transfer(0, 0, "5").unwrap();
    let error = venue.transfer(0, 0, "5").unwrap_err();
    assert!(
        error.contains("transfer 1 of alice to south is in flight"),
        "{error}"
    );
    let waiting = venue.wait("what it waits for", |venue| {
        let waits = venue.accounts(0)[0]["in_flight"]["waits_for"].clone();
        waits.as_str().map(str::to_owned)
    });
    assert!(waiting.contains("no daemon answers"), "{waiting}");
    // The thread's shard ended with its daemon: this one begins anew, with what the file gives.
    venue.start(1);
    venue.settle();
    assert_eq!(venue.available(1, 0, "USD"), "1000005");
    assert!(before > 0);
}

/// The shards live on in the kernel, so whoever of the daemons dies, the next one finishes what is in flight.
#[test]
fn two_shards_in_the_kernel() {
    let mut venue = Venue::up(in_the_kernel());
    each_trades_its_own(&venue);
    amounts_move(&venue);
    let before = venue.sum("USD");

    // Killed between debit and credit.
    venue.kill(1);
    venue.transfer(0, 0, "5").unwrap();
    venue.kill(0);
    venue.start(1);
    venue.start(0);
    venue.settle();
    assert_eq!(venue.sum("USD"), before);

    // Killed between credit and end: the credit is said again, and counts once.
    venue.kill(1);
    venue.transfer(0, 0, "7").unwrap();
    venue.kill(0);
    venue.start(1);
    let had = venue.available(1, 0, "USD");
    let credit = Verb::Credit {
        account: "alice".to_owned(),
        asset: "USD".to_owned(),
        units: 7_000_000,
        number: 2,
        from: "north".to_owned(),
    };
    assert_eq!(venue.call(1, &credit).unwrap()["outcome"], "accepted");
    assert_eq!(venue.call(1, &credit).unwrap()["outcome"], "known");
    assert_ne!(venue.available(1, 0, "USD"), had);
    venue.start(0);
    venue.settle();
    assert_eq!(venue.sum("USD"), before);

    // Killed at any moment.
    let mut random = random();
    let mut begun = 0;
    for _ in 0..12 {
        for _ in 0..=random(4) {
            let (from, account) = (random(2) as usize, random(2) as usize);
            let amount = format!("{}.{:06}", random(50), 1 + random(999_999));
            begun += u32::from(venue.transfer(from, account, &amount).is_ok());
        }
        std::thread::sleep(Duration::from_micros(random(30_000)));
        let victims = 1 + random(3); // one, the other, both
        for shard in [0, 1].into_iter().filter(|shard| victims >> shard & 1 != 0) {
            venue.kill(shard);
        }
        for shard in [0, 1] {
            if venue.daemons[shard].is_none() {
                venue.start(shard);
            }
        }
    }
    venue.settle();
    assert_eq!(venue.sum("USD"), before);
    assert!(begun > 5, "{begun} transfers");
    println!("{begun} transfers through 12 rounds of kills");
}

/// Packets of each session, and orders in each of them.
const PACKETS: usize = 1_000;
const ORDERS: usize = 8;

/// Four sessions trade in both shards at the same time, each by turns on both queues, while others send what nobody should to either port and
/// amounts move: every packet is answered, every frame counted once, nothing is lost, and neither shard has the other's state.
#[test]
fn two_shards_of_one_interface_trade_at_once() {
    let venue = Venue::up(in_the_kernel());
    let mut random = random();
    let sums = [venue.sum("USD"), venue.sum("BTC"), venue.sum("ETH")];
    let mut traders = Vec::new();
    for shard in [0, 1] {
        for account in ACCOUNTS {
            let sockets = venue.ways(shard);
            let session = format!("{account}-{}", NAMES[shard]);
            let session = venue.markets[shard].session(&session).unwrap().clone();
            let mut trader = Trader::new(session, ByTurns { sockets, sent: 0 });
            trader.adopt().unwrap();
            traders.push((shard, trader, random(1 << 31)));
        }
    }
    let mut strangers = [venue.ways(0), venue.ways(1)];
    let (frames, counted) = (
        venue.frames(),
        [0, 1].map(|shard| venue.counted(Some(shard))),
    );
    let passed = venue.counted(None);
    let (begin, is_over) = (Barrier::new(traders.len() + 2), AtomicBool::new(false));

    let (traded, hostile) = std::thread::scope(|scope| {
        let trade = |(shard, mut trader, seed): (usize, Trader<ByTurns>, u64)| {
            let begin = &begin;
            scope.spawn(move || {
                let mut random = ring0_tests::Random(seed);
                let middle = [60_000, 3_000][shard];
                begin.wait();
                let (start, asked) = (Instant::now(), trader.transport().sent);
                let mut filled = 0;
                for _ in 0..PACKETS {
                    let orders: Vec<Order> = (0..ORDERS)
                        .map(|_| {
                            let price = Price((middle - 8 + random.below(16) as u32) * 10_000);
                            let shares = Shares(1 + random.below(5) as u32);
                            let own = Locate(shard as u16 + 1);
                            match random.below(2) {
                                0 => Order::buy(own, shares, price),
                                _ => Order::sell(own, shares, price),
                            }
                        })
                        .collect();
                    let acks = trader.submit(&orders).unwrap();
                    assert_eq!(acks.len(), ORDERS);
                    let accepted = |ack: &&Ack| ack.outcome == Outcome::Accepted;
                    assert!(acks.iter().filter(accepted).count() > 0, "{acks:?}");
                    filled += acks.iter().map(|ack| u64::from(ack.quantity)).sum::<u64>();
                }
                let sent = trader.transport().sent - asked;
                (shard, start, Instant::now(), filled, sent)
            })
        };
        let threads: Vec<_> = traders.into_iter().map(trade).collect();
        let stranger = scope.spawn(|| {
            let mut random = ring0_tests::Random(7);
            let mut sent = [0_u64; 2];
            begin.wait();
            while !is_over.load(Ordering::Relaxed) {
                for _ in 0..16 {
                    let (shard, way) = (random.below(2), random.below(2));
                    let mut payload = vec![0; random.below(200)];
                    random.fill(&mut payload);
                    strangers[shard][way].send(&payload).unwrap();
                    sent[shard] += 1;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        begin.wait();
        let mut begun = 0;
        while threads.iter().any(|thread| !thread.is_finished()) {
            let (from, account) = (random(2) as usize, random(2) as usize);
            begun += u32::from(venue.transfer(from, account, "1.25").is_ok());
        }
        assert!(begun > 0, "amounts moved meanwhile");
        let traded: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
        is_over.store(true, Ordering::Relaxed);
        (traded, stranger.join().unwrap())
    });

    // At once: no session had ended before the last one began.
    let last_start = traded.iter().map(|it| it.1).max().unwrap();
    let first_end = traded.iter().map(|it| it.2).min().unwrap();
    assert!(last_start < first_end);
    for shard in [0, 1] {
        let filled: u64 = traded
            .iter()
            .filter(|it| it.0 == shard)
            .map(|it| it.3)
            .sum();
        assert!(filled > 1_000, "{filled} filled in {}", NAMES[shard]);
    }
    venue.settle();
    assert_eq!(sums, [venue.sum("USD"), venue.sum("BTC"), venue.sum("ETH")]);

    // The books of frames close: every one on the interface is counted once, by its shard or by the dispatcher.
    let seen = venue.frames();
    let queues = [seen[0] - frames[0], seen[1] - frames[1]];
    let mut all = 0;
    for shard in [0, 1] {
        let now = venue.counted(Some(shard));
        let moved = |number: usize| now[number] - counted[shard][number];
        let doorbells = moved(Counter::Doorbell as usize);
        let sum: u64 = (0..now.len()).map(moved).sum::<u64>() - doorbells;
        let sent: u64 = traded
            .iter()
            .filter(|it| it.0 == shard)
            .map(|it| it.4)
            .sum();
        // What found the other processor in the shard for too long: a packet is sent again, a doorbell is rung again and was no frame of the wire.
        let busy = moved(Counter::DropBusy as usize);
        let wire = sent + hostile[shard];
        let name = NAMES[shard];
        assert!((wire..=wire + busy).contains(&sum), "{name}: {sum}, {wire}");
        let taken = moved(Counter::Taken as usize);
        assert_eq!(taken, 2 * PACKETS as u64, "each packet was taken once");
        let is_drop = |number: &usize| {
            let name = counter_name(*number as u32);
            name.is_some_and(|(prefix, name)| format!("{prefix}{name}").starts_with("drop_"))
        };
        let dropped: u64 = (0..now.len()).filter(is_drop).map(moved).sum();
        let strangers = hostile[shard]..=hostile[shard] + busy;
        assert!(strangers.contains(&dropped), "{dropped} of {strangers:?}");
        all += wire;
    }
    let now = venue.counted(None);
    let passed: u64 = now
        .iter()
        .zip(&passed)
        .map(|(now, before)| now - before)
        .sum();
    assert_eq!(queues.iter().sum::<u64>(), all + passed);
    let fair = 2 * PACKETS as u64;
    assert!(queues.iter().all(|frames| *frames >= fair), "{queues:?}");
    println!(
        "{} and {} frames by queue, {} and {} of them hostile, {passed} for no shard",
        queues[0], queues[1], hostile[0], hostile[1]
    );
}

/// The machine goes while an amount is in neither shard: with durable acks both come back from their journals, and what was in flight comes in.
#[test]
fn an_amount_in_flight_survives_the_machine() {
    let durable = VENUE.replace("[[shard]]", "[[shard]]\nacks = \"durable\"");
    let mut venue = Venue::of(in_the_kernel(), durable);
    for shard in [0, 1] {
        venue.start_recorder(shard, "first");
    }
    each_trades_its_own(&venue);
    let before = venue.sum("USD");
    let had = venue.available(1, 0, "USD");
    venue.transfer(0, 0, "5").unwrap();
    venue.settle();
    venue.kill(1);
    let answer = venue.transfer(0, 0, "7.25").unwrap();
    assert_eq!(answer["durable"], true, "{answer}");
    assert_eq!(venue.accounts(0)[0]["in_flight"]["amount"], "7.25");
    venue.kill(0);
    for shard in [0, 1] {
        let mut recorder = venue.recorders[shard].take().unwrap();
        recorder.kill().unwrap();
        recorder.wait().unwrap();
        unload(&venue.pin_root(shard)).unwrap();
    }
    let veth = venue.veth();
    let ours = Dispatcher::open(&veth.exchange_if, Some(&veth.exchange_ns)).unwrap();
    assert!(
        ours.is_none(),
        "the last shard takes the dispatcher with it"
    );

    for shard in [0, 1] {
        let (old, new) = (
            venue.journal(shard, "first"),
            venue.journal(shard, "second"),
        );
        let market = venue.market_file(shard);
        let mut words = vec!["journal", "recover", "--json", "--market", &market];
        let (old, new) = (old.display().to_string(), new.display().to_string());
        words.extend([old.as_str(), new.as_str()]);
        let ran = ring0_tests::ring0(&words);
        assert_eq!(ran.status, 0, "{ran:?}");
        venue.restore[shard] = Some(ran.json()["snapshot"].as_str().unwrap().to_owned());
    }
    for shard in [0, 1] {
        venue.start(shard);
        venue.start_recorder(shard, "second");
    }
    venue.settle();
    assert_eq!(venue.sum("USD"), before);
    let has = venue.available(1, 0, "USD");
    let cents = |text: &str| (text.parse::<f64>().unwrap() * 100.0).round() as i64;
    assert_eq!(cents(&has) - cents(&had), 1_225, "5 and 7.25 came in");
    // And the venue trades on.
    for (shard, name) in NAMES.iter().enumerate() {
        let mut alice = venue.trader(shard, &format!("alice-{name}"));
        let own = Locate(shard as u16 + 1);
        let price = Price([60_000, 3_000][shard] * 10_000);
        let acks = alice.submit(&[Order::buy(own, Shares(1), price)]).unwrap();
        assert_eq!(acks[0].outcome, Outcome::Accepted, "{acks:?}");
    }
}
