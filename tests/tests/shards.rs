//! Two shards of a venue: each trades its own instruments and sends what is the other's there; amounts that move between them are never
//! lost and never there twice, whoever is killed at whatever moment.

use ring0_lab::Veth;
use ring0_market::{Existing, Market, keygen};
use ring0_trader::{
    Locate, Order, Outcome, Price, Reason, Reference, Rejection, Shares, Trader, UdpTransport,
};
use ring0d::{Client, Verb};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const VENUE: &str = include_str!("../../markets/venue.toml");
const NAMES: [&str; 2] = ["north", "south"];
const ACCOUNTS: [&str; 2] = ["alice", "bob"];

/// How long a process may take to be ready, or a transfer to come in, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the two shards run.
enum Place {
    /// In threads of their daemons, at free ports of the loopback interface.
    Threads,
    /// In the kernel, each behind a veth pair of its own.
    Kernel(Box<[Veth; 2]>),
}

struct Venue {
    place: Place,
    folder: tempfile::TempDir,
    markets: [Market; 2],
    daemons: [Option<Child>; 2],
}

impl Venue {
    fn up(place: Place) -> Venue {
        let ran = ring0_tests::ring0(&["--version"]); // builds it
        assert_eq!(ran.status, 0, "{ran:?}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("venue.toml");
        let mut text = VENUE.to_owned();
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
        };
        venue.start(0);
        venue.start(1);
        venue
    }

    fn socket(&self, shard: usize) -> PathBuf {
        self.folder.path().join(format!("{}.sock", NAMES[shard]))
    }

    fn start(&mut self, shard: usize) {
        let name = NAMES[shard];
        let folder = self.folder.path();
        let log = File::options()
            .append(true)
            .create(true)
            .open(folder.join("log"))
            .unwrap();
        let test = std::env::current_exe().unwrap();
        let mut command = Command::new(test.ancestors().nth(2).unwrap().join("ring0"));
        command
            .args(["daemon", "--with-parent", "--market"])
            .arg(format!("{}#{name}", folder.join("venue.toml").display()))
            .arg("--sockets")
            .arg(folder);
        match &self.place {
            Place::Threads => command
                .args(["--ring", "udp", "--mq"])
                .arg(folder.join(format!("{name}.ring"))),
            Place::Kernel(pairs) => {
                let veth = &pairs[shard];
                command
                    .args(["--interface", &veth.exchange_if])
                    .args(["--netns", &veth.exchange_ns])
                    .arg("--peer")
                    .arg(format!("{}%{}", veth.trader_if, veth.trader_ns))
            }
        };
        let daemon = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.daemons[shard] = Some(daemon.unwrap());
        self.wait("the daemon", |venue| {
            venue.try_call(shard, &Verb::Status { hash: false })
        });
    }

    fn kill(&mut self, shard: usize) {
        let mut daemon = self.daemons[shard].take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
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
        };
        self.call(from, &verb).map_err(|error| error.to_string())
    }

    fn trader(&self, shard: usize, session: &str) -> Trader<UdpTransport> {
        let market = &self.markets[shard];
        let port = market.plan.shard.port;
        let to = |address: Ipv4Addr| SocketAddr::from((address, port));
        let transport = match &self.place {
            Place::Threads => UdpTransport::connect(to(Ipv4Addr::LOCALHOST)),
            Place::Kernel(pairs) => {
                let veth = &pairs[shard];
                let connect = || UdpTransport::connect(to(veth.exchange_address));
                veth.in_trader(connect).unwrap()
            }
        };
        let session = market.session(session).unwrap().clone();
        let mut trader = Trader::new(session, transport.unwrap());
        trader.adopt().unwrap();
        trader
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().filter_map(Option::take) {
            let mut daemon = daemon;
            let _ = daemon.kill(); // it has ended already
            let _ = daemon.wait();
        }
        if let Place::Kernel(pairs) = &self.place {
            for veth in pairs.iter() {
                let pins = xdp_loader::default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns));
                if let Err(error) = xdp_loader::unload(&pins) {
                    eprintln!("{error}");
                }
            }
        }
    }
}

fn in_the_kernel() -> Place {
    xdp_loader::ensure_bpffs().unwrap();
    let pair = || Veth::up(ring0_lab::Options::default()).unwrap_or_else(|error| panic!("{error}"));
    Place::Kernel(Box::new([pair(), pair()]))
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
    let seed = std::env::var("RING0_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
    println!("RING0_SEED={seed}");
    let mut state = seed | 1;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
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
    assert_eq!(venue.sum("USD"), before, "RING0_SEED={seed}");
    assert!(begun > 5, "{begun} transfers, RING0_SEED={seed}");
    println!("{begun} transfers through 12 rounds of kills");
}
