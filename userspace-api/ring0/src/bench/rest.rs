//! `ring0 bench rest`: the gateway over HTTP on loopback, beside a server of the same framework that says hello.
//!
//! A whole venue runs (`ring0-dev`: shard, recorder with its journal, signer, settlement, gateway), and `wrk`, a process of its own, asks the gateway
//! for one thing at a time: to enter orders that trade, for a book, for balances. The hello server's turn comes in every round, so a busy neighbour
//! hits all of them. Every answer has to be good: one that is refused ends the bench. Figures: `docs/benchmarks.md`.

use super::processors::Busy;
use crate::fail::Fail;
use crate::replay::print;
use ring0_dev::{MARKET as DEV, Options, Program, Venue};
use ring0_lab::machine;
use serde_json::{Map, Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROUNDS: usize = 5;

/// What is added to the market of `ring0d --dev`: two assets that no hub has, so that accounts may begin with money, and who trades them.
const MARKET: &str = r#"
[[asset]]
name = "CSH"
decimals = 6

[[asset]]
name = "GLD"
decimals = 6

[[instrument]] # a tick is 0.01 CSH, a lot 0.01 GLD
symbol = "GLD-CSH"
base = "GLD"
quote = "CSH"
tick_size = 100
lot_size = 1
tick_value = 100
lot_value = 10_000
ladder_base = 1
ladder_len = 65_536
lots_max = 1_000_000

[[account]]
name = "seller"
balances = { CSH = 1_000_000_000, GLD = 1_000_000_000 }

[[account]]
name = "buyer"
balances = { CSH = 1_000_000_000, GLD = 1_000_000_000 }

[[session]]
name = "seller-api"
account = "seller"
key_file = "keys/seller-api.key"
answers = 1_024
references = 16_384

[[session]]
name = "buyer-api"
account = "buyer"
key_file = "keys/buyer-api.key"
answers = 1_024
references = 16_384
"#;

/// Levels on either side of the book that is read.
const LEVELS: u32 = 50;

/// Price at which orders trade, in hundredths; the book's levels lie around it.
const PRICE: u32 = 10_000;

/// What `wrk` runs beside its requests: it says what came of them as one JSON line.
const DONE: &str = r#"
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,"refused":%d,"lost":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"#;

/// Orders of one lot, the seller's and the buyer's in turn, at one price: each second one trades. RUN makes client order ids of a run its own.
const ORDERS: &str = r#"
local count, path = 0, "/v1/accounts/%s/orders"
local side = { "sell", "buy" }
local account = { "seller", "buyer" }
request = function()
  count = count + 1
  local at = count % 2 + 1
  local body = string.format(
    '{"client_order_id":"RUN-%d","symbol":"GLD-CSH","side":"%s","quantity":"0.01","price":"100"}', count, side[at])
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. TOKEN }
  return wrk.format("POST", string.format(path, account[at]), headers, body)
end
"#;

/// What is asked for, in the order of a round: name, path, whether it needs a credential.
const READS: [(&str, &str, bool); 3] = [
    ("hello", "/", false),
    ("book", "/v1/instruments/GLD-CSH/book?levels=10", false),
    ("balances", "/v1/accounts/seller/balances", true),
];

/// The credential of both accounts, for this venue that lives as long as the bench.
const TOKEN: &str = "bench-token-0123456789abcdef";

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds of each load in each round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("ring0 bench: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Runs the bench.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if !(1..=60).contains(&args.seconds) || !(1..=1_000).contains(&args.connections) {
        return Err(Fail::new(
            "--seconds is not 1 to 60, or --connections not 1 to 1,000",
        ));
    }
    let machine = machine();
    let wrk = Command::new("wrk").arg("-v").output();
    wrk.map_err(|error| {
        Fail::new(format!(
            "wrk, the load, is not there ({error}); apt-get install wrk"
        ))
    })?;
    let folder = std::env::temp_dir().join(format!("ring0-bench-rest-{}", std::process::id()));
    let scratch = Scratch(folder.clone());
    let options = Options {
        market: format!("{DEV}{MARKET}"),
        any_port: true,
        ..Options::new(&folder)
    };
    let mut venue = Venue::up(options, &mut |step| eprintln!("ring0 bench: {step}"))?;
    if venue.settled.is_none() {
        return Err(Fail::new(
            "balances are settlement's, which needs a node; run contracts/evm/setup",
        ));
    }
    open_to_load(&mut venue)?;
    fill_book(&venue)?;
    let mut hello = Program::new("ring0-gateway:hello", &folder, vec!["hello".to_owned()])?;
    let said = folder.join("hello.log");
    hello.start(|| hello_at(&said).is_some())?;
    let greeter = hello_at(&said).ok_or_else(|| Fail::new("the hello server says no address"))?;

    let mut rounds: Vec<Map<String, Value>> = Vec::new();
    for round in 0..ROUNDS {
        let mut of = Map::new();
        for (name, path, private) in READS {
            let host = match name {
                "hello" => greeter.clone(),
                _ => venue.http.to_string(),
            };
            let script = if private {
                format!("wrk.headers[\"Authorization\"] = \"Bearer {TOKEN}\"\n{DONE}")
            } else {
                DONE.to_owned()
            };
            of.insert(
                name.to_owned(),
                load(args, &folder, &script, &format!("http://{host}{path}"))?,
            );
        }
        let orders = ORDERS
            .replace("RUN", &round.to_string())
            .replace("TOKEN", &format!("{TOKEN:?}"));
        let url = format!("http://{}/", venue.http);
        of.insert(
            "orders".to_owned(),
            load(args, &folder, &format!("{orders}{DONE}"), &url)?,
        );
        rounds.push(of);
    }
    hello.kill();
    let ended = venue.ended();
    if !ended.is_empty() {
        return Err(Fail::disagreed(format!(
            "{} ended under the load",
            ended.join(", ")
        )));
    }
    let report = report(args, machine, &rounds);
    drop(venue);
    drop(scratch);
    print(&report, args.json);
    Ok(())
}

/// Where the hello server listens, once its log says so.
fn hello_at(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let mut said = text.lines().filter_map(|it| it.strip_prefix("http "));
    said.next().map(str::to_owned)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// Gives the gateway a credential that `wrk` can show, and no limit of requests.
fn open_to_load(venue: &mut Venue) -> Result<(), Fail> {
    venue.gateway.stop();
    let number = |name: &str| {
        let named = venue
            .market
            .plan
            .accounts
            .iter()
            .position(|it| it.name == name);
        named.ok_or_else(|| Fail::new(format!("the market has no account {name}")))
    };
    let tokens = format!(
        "[[token]]\nname = \"bench\"\ntoken = \"{TOKEN}\"\naccounts = [{}, {}]\nrights = [\"read\", \"trade\", \"cancel\"]\n",
        number("seller")?,
        number("buyer")?
    );
    write_private(&venue.path("tokens.toml"), &tokens)?;
    let file = venue.path("gateway.toml");
    let text = fs::read_to_string(&file)?;
    let parts = text.split_once("[identity]").and_then(|(before, rest)| {
        let (_, after) = rest.split_once("[http]")?;
        Some((before, after))
    });
    let (before, after) =
        parts.ok_or_else(|| Fail::new(format!("{} has no [identity]", file.display())))?;
    let limits = [
        "public_per_second",
        "public_burst",
        "private_per_second",
        "private_burst",
    ]
    .map(|it| format!("{it} = 1_000_000_000\n"));
    let text = format!(
        "tokens = \"tokens.toml\"\n{before}[http]{after}[limits]\n{}",
        limits.concat()
    );
    fs::write(&file, text)?;
    Ok(venue.start_gateway()?)
}

/// Orders on both sides, so that there is a book to read.
fn fill_book(venue: &Venue) -> Result<(), Fail> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    for level in 1..=LEVELS {
        for (account, side, cents) in [
            ("seller", "sell", PRICE + level),
            ("buyer", "buy", PRICE - level),
        ] {
            let url = format!("http://{}/v1/accounts/{account}/orders", venue.http);
            let order = json!({
                "client_order_id": format!("level-{level}"), "symbol": "GLD-CSH", "side": side,
                "quantity": "1", "price": format!("{}.{:02}", cents / 100, cents % 100).trim_end_matches('0').trim_end_matches('.'),
            });
            let asked = agent
                .post(&url)
                .header("authorization", format!("Bearer {TOKEN}"));
            let mut answer = asked.send_json(&order).map_err(Fail::new)?;
            if answer.status() != 201 {
                let text = answer.body_mut().read_to_string().unwrap_or_default();
                return Err(Fail::new(format!(
                    "an order for the book is refused: {text}"
                )));
            }
        }
    }
    Ok(())
}

/// What `wrk` says of a load, and the processor time beside it.
fn load(args: &Args, folder: &Path, script: &str, url: &str) -> Result<Value, Fail> {
    let file = folder.join("load.lua");
    fs::write(&file, script)?;
    let before = Busy::now();
    let ran = Command::new("wrk")
        .args([
            "--threads",
            "1",
            "--latency",
            "--timeout",
            "10s",
            "--connections",
        ])
        .arg(args.connections.to_string())
        .arg("--duration")
        .arg(format!("{}s", args.seconds))
        .arg("--script")
        .arg(&file)
        .arg(url)
        .output()?;
    let mut busy = Busy::default();
    busy.add_since(&before);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let line = text.lines().find(|it| it.starts_with('{'));
    let said: Option<Value> = line.and_then(|it| serde_json::from_str(it).ok());
    let Some(mut said) = said.filter(|_| ran.status.success()) else {
        let more = String::from_utf8_lossy(&ran.stderr);
        return Err(Fail::new(format!("wrk on {url} failed: {text}{more}")));
    };
    if said["refused"] != 0 || said["lost"] != 0 || said["requests"] == 0 {
        return Err(Fail::disagreed(format!(
            "not every request to {url} was answered well: {said}"
        )));
    }
    let requests = said["requests"].as_f64().unwrap_or_default();
    let seconds = said["us"].as_f64().unwrap_or_default() / 1e6;
    said["per_second"] = (requests / seconds).round().into();
    said["cpu_us_a_request"] = round(busy.seconds() * 1e6 / requests).into();
    Ok(said)
}

fn round(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Medians of the rounds, and the medians of each round's ratios to its hello.
fn report(args: &Args, machine: Value, rounds: &[Map<String, Value>]) -> Value {
    let mut report = json!({
        "bench": "rest", "machine": machine, "rounds": ROUNDS, "seconds": args.seconds, "connections": args.connections,
        "load": "wrk, 1 thread, loopback, plain HTTP/1.1, keep-alive",
        "venue": "shard (udp ring), recorder, signer, settlement (batches of 1 s), gateway with a bearer token",
    });
    let number = |of: &Map<String, Value>, name: &str, field: &str| {
        of[name][field].as_f64().unwrap_or_default()
    };
    for name in ["hello", "book", "balances", "orders"] {
        let mut row = Map::new();
        for field in ["per_second", "p50_us", "p99_us", "cpu_us_a_request"] {
            let all = rounds.iter().map(|it| number(it, name, field)).collect();
            row.insert(field.to_owned(), round(median(all)).into());
        }
        for (ratio, field) in [
            ("of_hello_per_second", "per_second"),
            ("of_hello_cpu", "cpu_us_a_request"),
        ] {
            let all = rounds
                .iter()
                .map(|it| number(it, name, field) / number(it, "hello", field));
            row.insert(ratio.to_owned(), round(median(all.collect())).into());
        }
        report[name] = row.into();
    }
    report["all_rounds"] = json!(rounds);
    report
}
