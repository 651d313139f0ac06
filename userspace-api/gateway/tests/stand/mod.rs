//! A shard in a process of its own (the udp ring needs no privilege), a gateway before it, and clients of both.
#![allow(dead_code, reason = "each test uses its part")]

use ring0_journal::{Journal, Options as JournalOptions};
use ring0_lab::Veth;
use ring0_market::{Existing, Market, keygen};
use ring0_mq::MqError;
use ring0_rings::RecordRing;
use ring0_trader::{Locate, Order, Price, Shares, Trader, UdpTransport};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const ALICE: &str = "alice-token-0123456789abcdef";
pub(crate) const BOB: &str = "bob-token-0123456789abcdef01";
/// May only read, of both.
pub(crate) const VIEWER: &str = "viewer-token-0123456789abcde";

const MARKET: &str = include_str!("../../../../markets/example.toml");

/// The daemon's program, built once a run: cargo gives tests no binary of another package.
fn ring0d() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let folder = test.ancestors().nth(2).unwrap();
        // Whoever has just built everything need not wait for cargo's lock once more.
        if std::env::var_os("RING0_BUILT").is_some() {
            return folder.join("ring0d");
        }
        let status = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--quiet",
                "-p",
                "ring0d",
                "--bin",
                "ring0d",
            ])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .status()
            .unwrap();
        assert!(status.success(), "ring0d is not built");
        folder.join("ring0d")
    })
}

/// See the module. Everything ends and goes with it.
pub(crate) struct Stand {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) market: Market,
    daemon: Option<Child>,
    gateway: Option<Child>,
    /// Where the gateway serves HTTP.
    pub(crate) http: SocketAddr,
    /// Where it serves OUCH.
    pub(crate) ouch: SocketAddr,
    /// Lines of the configuration beside the usual ones.
    pub(crate) extra_http: String,
    pub(crate) extra: String,
    /// Its orders go to the shard's UDP port, not to its door.
    over_udp: bool,
    /// Gateway and shard are in namespaces of their own, with a wire between them and a journal that both see.
    pub(crate) wire: Option<Veth>,
    recorder: Option<Recorder>,
}

/// Writes the shard's journal until it goes.
struct Recorder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    fn start(ring: &Path, journal: PathBuf) -> Recorder {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let ring = RecordRing::open(ring).unwrap();
        let mut recorder = ring0_mq::Recorder::with_sink(&ring, |identity, first| {
            let journal = Journal::open(&journal, &identity, first, JournalOptions::default());
            journal.map_err(|error| MqError::Sink(Box::new(error)))
        })
        .unwrap();
        let thread = std::thread::spawn(move || {
            let run = recorder.run(&mut || stopped.load(Ordering::Acquire));
            run.unwrap();
        });
        Recorder {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the recorder failed"
            );
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.recorder = None;
        for child in [&mut self.gateway, &mut self.daemon].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Stand {
    pub(crate) fn up() -> Stand {
        Stand::with("", "")
    }

    pub(crate) fn over_udp() -> Stand {
        Stand::of("", "", true, None)
    }

    /// Acks are durable, and the gateway has the journal and the wire.
    pub(crate) fn on_another_host(wire: Veth) -> Stand {
        Stand::of("", "", true, Some(wire))
    }

    /// With further lines in `[http]`, and above all tables.
    pub(crate) fn with(extra_http: &str, extra: &str) -> Stand {
        Stand::of(extra_http, extra, false, None)
    }

    fn of(extra_http: &str, extra: &str, over_udp: bool, wire: Option<Veth>) -> Stand {
        let folder = tempfile::tempdir().unwrap();
        let port = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let acks = match wire {
            Some(_) => "acks = \"durable\"\n",
            None => "",
        };
        let text = MARKET.replace("port = 9000", &format!("port = {port}\n{acks}"));
        assert_ne!(text, MARKET);
        let file = folder.path().join("market.toml");
        fs::write(&file, text).unwrap();
        keygen(&file, Existing::Keep).unwrap();
        let market = Market::load(&file).unwrap();
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut stand = Stand {
            folder,
            market,
            daemon: None,
            gateway: None,
            http: unknown,
            ouch: unknown,
            extra_http: extra_http.to_owned(),
            extra: extra.to_owned(),
            over_udp,
            wire,
            recorder: None,
        };
        stand.start_daemon();
        if stand.wire.is_some() {
            stand.recorder = Some(Recorder::start(&stand.path("ring"), stand.path("journal")));
        }
        stand.start_gateway();
        stand
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> File {
        let path = self.path("log");
        File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
    }

    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn start_daemon(&mut self) {
        let mut command = Command::new(ring0d());
        if let Some(wire) = &self.wire {
            let listen = wire.exchange_address.to_string();
            command.args(["--netns", &wire.exchange_ns, "--listen", &listen]);
        }
        let child = command
            .arg("--market")
            .arg(self.path("market.toml"))
            .args(["--ring", "udp", "--door", "--with-parent", "--mq"])
            .arg(self.path("ring"))
            .arg("--sockets")
            .arg(self.folder.path())
            .arg("--grants")
            .arg(self.path("grants"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log())
            .spawn()
            .unwrap();
        self.daemon = Some(child);
        self.wait("the daemon", |stand| {
            let mut client = ring0d::Client::connect(&stand.path("example.sock")).ok()?;
            client.call(&ring0d::Verb::Status { hash: false }).ok()
        });
    }

    /// An operator's request.
    pub(crate) fn operate(&self, verb: &ring0d::Verb) -> Value {
        let mut client = ring0d::Client::connect(&self.path("example.sock")).unwrap();
        client.call(verb).unwrap()
    }

    fn config(&self) -> String {
        let port = self.market.plan.shard.port;
        let door = self.path("example.door");
        let way = if self.over_udp {
            let host = self.wire.as_ref().map(|it| it.exchange_address);
            let host = host.unwrap_or(Ipv4Addr::LOCALHOST);
            format!("udp = \"{host}:{port}\"")
        } else {
            format!("door = {door:?}")
        };
        let tokens = if self.extra.contains("[identity]") {
            ""
        } else {
            "tokens = \"tokens.toml\"\n"
        };
        let records = match self.wire {
            Some(_) => "journal = \"journal\"",
            None => "ring = \"ring\"",
        };
        // Certificate and key are those of both.
        let tls = self.extra_http.lines().find(|it| it.starts_with("tls"));
        let tls = tls.unwrap_or_default();
        format!(
            "market = \"market.toml\"\nstore = \"store\"\n{tokens}{}\n\
            [http]\nlisten = \"127.0.0.1:0\"\n{}\n\
            [ouch]\nlisten = \"127.0.0.1:0\"\n{tls}\n\
            [limits]\npublic_per_second = 100000\npublic_burst = 100000\nprivate_per_second = 100000\nprivate_burst = 100000\nattempts_burst = 100000\n\
            [[shard]]\nname = \"example\"\n{records}\n{way}\n\
            [[session]]\nname = \"alice-1\"\nuse = \"api\"\n\
            [[session]]\nname = \"bob-1\"\nuse = \"api\"\n\
            [[session]]\nname = \"ops-1\"\nuse = \"ouch\"\n",
            self.extra, self.extra_http
        )
    }

    pub(crate) fn start_gateway(&mut self) {
        let tokens: String = [(ALICE, "alice", "[0]"), (BOB, "bob", "[1]")]
            .map(|(token, name, accounts)| {
                format!(
                    "[[token]]\nname = \"{name}\"\ntoken = \"{token}\"\naccounts = {accounts}\n\
                    rights = [\"read\", \"trade\", \"cancel\", \"withdraw\", \"cosign\"]\n"
                )
            })
            .concat();
        let viewer = format!(
            "[[token]]\nname = \"viewer\"\ntoken = \"{VIEWER}\"\naccounts = [0, 1]\nrights = [\"read\"]\n"
        );
        let path = self.path("tokens.toml");
        fs::write(&path, tokens + &viewer).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(self.path("gateway.toml"), self.config()).unwrap();
        let program = env!("CARGO_BIN_EXE_ring0-gateway");
        let mut command = match &self.wire {
            Some(wire) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &wire.trader_ns, program]);
                command
            }
            None => Command::new(program),
        };
        let mut child = command
            .arg("run")
            .arg(self.path("gateway.toml"))
            .env("RING0_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        self.gateway = Some(child);
        for line in lines {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("http", address)) => self.http = address.parse().unwrap(),
                Some(("ouch", address)) => self.ouch = address.parse().unwrap(),
                _ if line == "ready" => return,
                _ => {}
            }
        }
        panic!("the gateway did not start: {}", self.log_text());
    }

    /// Ends the gateway at once, as a crash does.
    pub(crate) fn kill_gateway(&mut self) {
        let mut gateway = self.gateway.take().unwrap();
        gateway.kill().unwrap();
        gateway.wait().unwrap();
    }

    /// Asks the gateway to end; its exit status.
    pub(crate) fn terminate_gateway(&mut self) -> std::process::ExitStatus {
        let mut gateway = self.gateway.take().unwrap();
        let pid = rustix::process::Pid::from_child(&gateway);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        gateway.wait().unwrap()
    }

    pub(crate) fn gateway_pid(&self) -> u32 {
        self.gateway.as_ref().unwrap().id()
    }

    pub(crate) fn wait<T>(&self, what: &str, mut ask: impl FnMut(&Stand) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(
                Instant::now() < end,
                "{what} does not come: {}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A trader of a session over UDP, beside the gateway.
    pub(crate) fn trader(&self, session: &str) -> Trader<UdpTransport> {
        let session = self.market.session(session).unwrap().clone();
        let venue = SocketAddr::from(([127, 0, 0, 1], self.market.plan.shard.port));
        let mut trader = Trader::connect(session, venue).unwrap();
        trader.adopt().unwrap();
        trader
    }

    /// A request; status and JSON.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let response = self.raw(method, path, token, body);
        let status = response.status().as_u16();
        let text = response.into_body().read_to_string().unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, json)
    }

    pub(crate) fn raw(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> ureq::http::Response<ureq::Body> {
        let ask = || self.raw_here(method, path, token, body);
        match &self.wire {
            Some(wire) => wire.in_trader(ask).unwrap(),
            None => ask(),
        }
    }

    fn raw_here(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> ureq::http::Response<ureq::Body> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.http));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        match body {
            Some(body) => {
                let request = request
                    .header("content-type", "application/json")
                    .body(body.to_string())
                    .unwrap();
                agent.run(request).unwrap()
            }
            None => agent.run(request.body(()).unwrap()).unwrap(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, json) = self.ask("GET", path, None, None);
        assert_eq!(status, 200, "{path}: {json}");
        json
    }

    pub(crate) fn get_as(&self, token: &str, path: &str) -> Value {
        let (status, json) = self.ask("GET", path, Some(token), None);
        assert_eq!(status, 200, "{path}: {json}");
        json
    }

    /// Enters an order of ten dollars' steps in BTC-USD.
    pub(crate) fn place(&self, token: &str, account: &str, order: &Value) -> (u16, Value) {
        self.ask(
            "POST",
            &format!("/v1/accounts/{account}/orders"),
            Some(token),
            Some(order),
        )
    }

    pub(crate) fn socket(&self, token: Option<&str>) -> Socket {
        let mut request = ring0_request(&format!("ws://{}/v1/stream", self.http));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        let (socket, _) = tokio_tungstenite::tungstenite::connect(request).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Socket(socket)
    }
}

fn ring0_request(url: &str) -> tokio_tungstenite::tungstenite::handshake::client::Request {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    url.into_client_request().unwrap()
}

/// An order for BTC-USD.
pub(crate) fn order(client: &str, side: &str, quantity: &str, price: &str) -> Value {
    json!({
        "client_order_id": client, "symbol": "BTC-USD", "side": side, "quantity": quantity, "price": price,
    })
}

/// The same over UDP: shares are 0.0001 BTC, prices dollars.
pub(crate) fn limit(is_buy: bool, shares: u32, dollars: u32) -> Order {
    let (locate, shares, price) = (Locate(1), Shares(shares), Price(dollars * 10_000));
    if is_buy {
        Order::buy(locate, shares, price)
    } else {
        Order::sell(locate, shares, price)
    }
}

/// A WebSocket client.
pub(crate) struct Socket(pub(crate) WebSocket<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) fn say(&mut self, value: &Value) {
        self.0.send(Message::text(value.to_string())).unwrap();
    }

    /// The next JSON message.
    pub(crate) fn next(&mut self) -> Value {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next message that is wanted; others are passed.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next();
            if wanted(&message) {
                return message;
            }
        }
    }

    pub(crate) fn subscribe(&mut self, channel: &Value) {
        let mut said = channel.clone();
        said["op"] = "subscribe".into();
        self.say(&said);
        let answer = self.until(|it| it.get("op").is_some());
        assert_eq!(answer["op"], "subscribed", "{answer}");
    }
}
