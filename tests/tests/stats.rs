//! What operators read of a running shard: `xdp-loader stats` of one in the kernel, and of one behind AF_XDP by its daemon's socket. Each line of JSON
//! keeps to the schema.

mod stand;

use ring0_trader::{Locate, Order, Price, Shares};
use serde_json::Value;
use stand::{Ring, Stand};

const MARKET: &str = include_str!("../../markets/example.toml");
const ORDERS: u32 = 20;

fn checked(words: &[&str]) -> Value {
    let ran = ring0_tests::xdp_loader(&[&["--json"], words].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    let schema = include_str!("../../xdp-loader/schema/xdp-loader-1.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let value = ran.json();
    let errors: Vec<String> = schema
        .iter_errors(&value)
        .map(|it| it.to_string())
        .collect();
    assert!(errors.is_empty(), "{value}: {errors:?}");
    value
}

/// Orders that rest.
fn rest(stand: &Stand) {
    let mut trader = stand.trader("alice-1");
    for place in 0..ORDERS {
        let order = Order::buy(Locate(1), Shares(1), Price((40_000 + place) * 10_000));
        trader.submit(&[order]).unwrap();
    }
}

#[test]
fn a_shard_in_the_kernel_names_its_numbers() {
    let mut stand = Stand::up();
    rest(&stand);
    stand.settle();
    let pin_root = stand.pin_root.display().to_string();
    let look = || {
        let stats = checked(&["stats", "--interval=0", "--pin-root", &pin_root]);
        let total = |name: &str| {
            let all = stats["totals"].as_array().unwrap();
            let one = all.iter().find(|one| one["name"] == name);
            one.unwrap_or_else(|| panic!("no {name} in {stats}"))["value"].clone()
        };
        [
            "orders_live",
            "next_sequence",
            "time_ns",
            "orders_max",
            "halted",
        ]
        .map(total)
    };
    let status = stand.status();
    let [orders, next, time, orders_max, halted] = look();
    assert_eq!(
        (&orders, &status["orders_live"]),
        (&ORDERS.into(), &ORDERS.into())
    );
    assert_eq!(next, status["next_sequence"]);
    assert_eq!(time, status["time_ns"]);
    assert_eq!((orders_max, halted), (65_536.into(), 0.into()));
    // In another arena they lie elsewhere, and are found.
    let text = MARKET.replacen("orders = 65_536", "orders = 100_000\nsessions = 100", 1);
    let larger = stand.market_file().with_file_name("larger.toml");
    std::fs::write(&larger, text).unwrap();
    let file = larger.display().to_string();
    let socket = stand.socket().display().to_string();
    let words = ["replace", "--pin-root", &pin_root, "--socket", &socket];
    let moved = checked(&[&words[..], &["--migrate", &file]].concat());
    println!("moved with {} ms without orders", moved["pause_ms"]);
    let [orders, .., orders_max, _] = look();
    assert_eq!((orders, orders_max), (ORDERS.into(), 100_000.into()));
    stand.unload();
}

/// A sample's value in the text.
fn sample(text: &str, name: &str, label: &str) -> Option<u64> {
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn the_daemon_serves_its_numbers_to_prometheus() {
    for ring in [Ring::Kernel, Ring::Udp] {
        let mut stand = Stand::in_ring(ring, MARKET);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        stand.start_daemon_with(&["--metrics", &address]);
        rest(&stand);
        let get = |path: &str| {
            let url = format!("http://{address}{path}");
            let agent: ureq::Agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .into();
            let mut answer = agent.get(&url).call().unwrap();
            let text = answer.body_mut().read_to_string().unwrap();
            (answer.status().as_u16(), text)
        };
        let (status, text) = get("/metrics");
        assert_eq!(status, 200, "{text}");
        let orders = u64::from(ORDERS);
        assert_eq!(
            sample(&text, "ring0_frames_total", "result=\"taken\""),
            Some(orders)
        );
        assert_eq!(
            sample(&text, "ring0_frames_total", "result=\"drop_bad_tag\""),
            Some(0)
        );
        assert_eq!(
            sample(&text, "ring0_shard", "total=\"orders_live\""),
            Some(orders)
        );
        assert_eq!(
            sample(&text, "ring0_attached", "shard=\"example\""),
            Some(1)
        );
        // How long it took: by the ring's thread each answer, in the kernel what that times of the program.
        let answers = ["count", "bucket"].map(|it| {
            let label = if it == "bucket" { "le=\"+Inf\"" } else { "" };
            sample(&text, &format!("ring0_answer_seconds_{it}"), label)
        });
        let runs = sample(&text, "ring0_program_runs_total", "");
        match ring {
            Ring::Kernel => assert!(runs.is_some() && answers == [None; 2], "{text}"),
            _ => {
                assert!(
                    answers[0] >= Some(orders) && answers[0] == answers[1],
                    "{text}"
                );
                assert_eq!(runs, None);
            }
        }
        assert_eq!(get("/").0, 404);
        // The same by the operator's socket; and Prometheus' own checker's rules: each family once, help and type before it.
        let said = stand.client().call(&ring0d::Verb::Metrics).unwrap();
        let said = said["text"].as_str().unwrap();
        let kinds: Vec<&str> = said.lines().filter(|it| it.starts_with("# TYPE")).collect();
        let mut once = kinds.clone();
        once.sort_unstable();
        once.dedup();
        assert!(kinds.len() >= 8 && once.len() == kinds.len(), "{kinds:?}");
        // An address that is taken is said.
        let ran = ring0_tests::ring0(&[
            "daemon",
            "--ring",
            "udp",
            "--metrics",
            &address,
            "--market",
            &stand.market_file().display().to_string(),
            "--listen",
            "127.0.0.9",
            "--mq",
            &stand
                .market_file()
                .with_extension("ring")
                .display()
                .to_string(),
            "--socket",
            &stand
                .market_file()
                .with_extension("sock")
                .display()
                .to_string(),
        ]);
        assert!(
            ran.status == 1 && ran.err.contains("cannot serve metrics"),
            "{ran:?}"
        );
        stand.unload();
    }
}

#[test]
fn a_ring_behind_af_xdp_has_its_sockets_statistics() {
    let mut stand = Stand::in_ring(Ring::Afxdp, MARKET);
    stand.start_daemon();
    rest(&stand);
    let socket = stand.socket().display().to_string();
    let stats = checked(&["stats", "--socket", &socket]);
    println!("{stats}");
    assert!(
        stats["counters"]["taken"].as_u64() >= Some(u64::from(ORDERS)),
        "{stats}"
    );
    let ring = stats["port_counters"].as_object().unwrap();
    // XDP_STATISTICS of its sockets (`include/uapi/linux/if_xdp.h`), and what the program sent them.
    for name in ["xsk_rx_dropped", "xsk_rx_ring_full", "redirected"] {
        assert!(ring.contains_key(name), "{name} is not in {stats}");
    }
    let ran = ring0_tests::xdp_loader(&["stats", "--socket", &socket, "--all"]);
    assert!(
        ran.status == 0 && ran.out.contains("ring xsk_rx_dropped"),
        "{ran:?}"
    );
    let ran = ring0_tests::xdp_loader(&["stats", "--socket", "/no/such"]);
    assert!(
        ran.status == 1 && ran.err.contains("name its socket"),
        "{ran:?}"
    );
    stand.unload();
}
