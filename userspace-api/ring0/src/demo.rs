//! `ring0 demo`: a market over a veth pair, four traders, daemon and recorder killed and brought back, and proof that
//! nothing was lost: the recording, replayed natively and by the reference book, gives the same events and state.
//!
//! Daemon and recorder are processes of this same binary; the traders are threads of this one, in the trader's
//! namespace. Everything made here goes again: on success, on failure and on Ctrl-C.

pub(crate) mod check;
pub(crate) mod market;
mod processors;
mod traders;

use crate::fail::Fail;
use check::{Finding, Findings};
use market::Stage;
use processors::Processors;
use ring0_market::Market;
use ring0_trader::UdpTransport;
use ring0d::{RingKind, stop_flag};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use traders::{Crew, Tally};
use xdp_loader::LoaderError;

/// How long the traders go on with neither daemon nor recorder.
const ALONE: Duration = Duration::from_secs(3);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds of trading before daemon and recorder are killed.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where the engine runs [default: in the kernel, behind a UDP socket where the kernel cannot].
    #[arg(long, value_enum)]
    ring: Option<RingKind>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let stop = stop_flag();
    let demo = Demo {
        args,
        alive: &|| {
            if stop.load(Ordering::Acquire) {
                return Err(Fail::new("stopped; everything was removed"));
            }
            Ok(())
        },
    };
    match args.ring {
        Some(ring) => demo.run(ring),
        None => {
            let probe = xdp_loader::probe();
            match probe.require() {
                Err(LoaderError::KernelLacks { .. }) => {
                    eprintln!(
                        "ring0 demo: this kernel ({}) cannot run the kernel ring (arena {}, may_goto {}; Linux 6.12 has both): \
                         the same engine runs behind a plain UDP socket instead, with the same checks",
                        probe.kernel,
                        if probe.arena.works {
                            "works"
                        } else {
                            "missing"
                        },
                        if probe.may_goto.works {
                            "works"
                        } else {
                            "missing"
                        },
                    );
                    demo.run(RingKind::Udp)
                }
                _ => demo.run(RingKind::Kernel),
            }
        }
    }
}

/// One run.
struct Demo<'a> {
    args: &'a Args,
    /// Fails once the run was stopped.
    alive: &'a dyn Fn() -> Result<(), Fail>,
}

impl Demo<'_> {
    fn say(&self, text: &str) {
        if !self.args.json {
            println!("{text}");
        }
    }

    /// Lets the four trade while `story` runs; gives what they saw, what the story gave and the processors' times.
    fn trade<T>(
        &self,
        market: &Market,
        connect: &dyn Fn() -> Result<UdpTransport, Fail>,
        story: impl FnOnce(&AtomicBool) -> Result<T, Fail>,
    ) -> Result<Traded<T>, Fail> {
        let (finish, alone) = (AtomicBool::new(false), AtomicBool::new(false));
        let crew = Crew::of(market, connect, &finish, &alone)?;
        let (began, processors) = (Instant::now(), Processors::now());
        let (tallies, story) = std::thread::scope(|scope| {
            let threads = crew.go(scope);
            self.say(&format!(
                "four traders quote and take for {} s",
                self.args.seconds
            ));
            let story = rest(Duration::from_secs(self.args.seconds), self.alive)
                .and_then(|()| story(&alone));
            finish.store(true, Ordering::Release);
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Tally, Fail>>| {
                let panicked = |_| Err(Fail::new("a trader panicked; its message is above"));
                thread.join().unwrap_or_else(panicked)
            };
            let tallies: Result<Vec<Tally>, Fail> = threads.into_iter().map(join).collect();
            (tallies, story)
        });
        let story = story?;
        Ok(Traded {
            tallies: tallies?,
            story,
            seconds: began.elapsed().as_secs_f64(),
            processors: processors.busy_since(),
        })
    }

    /// The market in a ring, with daemon and recorder killed and brought back.
    fn run(&self, ring: RingKind) -> Result<(), Fail> {
        if ring == RingKind::Kernel {
            xdp_loader::probe().require()?;
            xdp_loader::ensure_bpffs()?;
        }
        self.say(match ring {
            RingKind::Udp => "bringing up a shard behind a UDP socket on loopback, and the market",
            _ => "bringing up two namespaces, a veth pair, the shard and the market",
        });
        let mut stage = Stage::up(ring, market::MARKET)?;
        let first = stage.start(false)?;
        (self.alive)()?;
        let market = stage.folder.market.clone();
        let to = stage.address();
        let netns = stage.veth.as_ref().map(|veth| veth.trader_ns.clone());
        let connect = || match &netns {
            Some(netns) => Ok(ring0_lab::in_netns(netns, || UdpTransport::connect(to))??),
            None => Ok(UdpTransport::connect(to)?),
        };
        let traded = self.trade(&market, &connect, |alone| {
            let before_kill = stage.published()?;
            stage.kill_all();
            if ring == RingKind::Kernel {
                alone.store(true, Ordering::Release);
                self.say("daemon and recorder killed (-9); the traders go on");
                rest(ALONE, self.alive)?;
                alone.store(false, Ordering::Release);
                self.say("starting both again");
            } else {
                self.say("daemon and recorder killed (-9), and the shard with them; making it anew from its records");
            }
            let began = Instant::now();
            let second = stage.revive()?;
            let revived = began.elapsed();
            // What was made anew has to trade, too.
            rest(ALONE, self.alive)?;
            Ok((before_kill, second, revived))
        })?;
        (self.alive)()?;

        self.say("quiet; comparing the recording with what was answered, and replaying it");
        let live = stage.settle(self.alive)?;
        let (before_kill, second, revived) = &traded.story;
        let mut findings = Findings::default();
        findings.note("slots_recorded_before_the_kill", *before_kill);
        if ring == RingKind::Kernel {
            findings.expect("adopted", true, second["adopted"].clone());
            findings.expect("same_memory", true, first["arena_id"] == second["arena_id"]);
        } else {
            findings.note("ms_until_the_shard_was_back", revived.as_millis() as u64);
        }
        let published = live["ring"]["published"].as_u64().unwrap_or(0);
        let recording = stage.recorded(published)?;
        check::recording(&recording, &traded.tallies, &mut findings)?;
        (self.alive)()?;
        let hash = live["state_hash"].clone();
        check::replays(
            &recording.bytes,
            market.capacity(),
            ring.name(),
            hash,
            &mut findings,
        )?;
        let counters = live["counters"].as_object().cloned().unwrap_or_default();
        drop(stage);
        self.finish(&traded, &findings, counters)
    }

    /// Prints the report; fails when something disagrees.
    fn finish<T>(
        &self,
        traded: &Traded<T>,
        findings: &Findings,
        counters: Map<String, Value>,
    ) -> Result<(), Fail> {
        let report = report(traded, findings, counters);
        if self.args.json {
            println!("{report}");
        } else {
            print_table(&report);
        }
        match findings.disagreements() {
            texts if texts.is_empty() => Ok(()),
            texts => Err(Fail::disagreed(format!(
                "these disagree: {}",
                texts.join("; ")
            ))),
        }
    }
}

/// What came of the trading.
struct Traded<T> {
    tallies: Vec<Tally>,
    story: T,
    seconds: f64,
    processors: Value,
}

/// Waits, and looks now and then whether to go on.
fn rest(time: Duration, alive: &dyn Fn() -> Result<(), Fail>) -> Result<(), Fail> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        alive()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn report<T>(traded: &Traded<T>, findings: &Findings, counters: Map<String, Value>) -> Value {
    let tally = Tally::sum(&traded.tallies);
    let microseconds = |quantile: f64| tally.round_trip.value_at_quantile(quantile) as f64 / 1000.0;
    let mut report = json!({
        "seconds": traded.seconds,
        "messages": tally.sent,
        "answered": tally.acks.len(),
        "rejected": tally.rejected(),
        "answered_with_neither_alive": tally.answered_alone,
        "packets": tally.packets,
        "packets_sent_twice": tally.repeated,
    });
    for Finding { name, found, .. } in findings.all() {
        report[name] = found.clone();
    }
    report["round_trip_us"] = json!({
        "p50": microseconds(0.5), "p99": microseconds(0.99), "p99.9": microseconds(0.999),
        "packets": tally.round_trip.len(),
    });
    let dropped = counters
        .iter()
        .filter(|(name, _)| name.starts_with("drop_"));
    let dropped: u64 = dropped.filter_map(|(_, count)| count.as_u64()).sum();
    report["drops"] = dropped.into();
    report["counters"] = counters.into();
    report["processors"] = traded.processors.clone();
    report["agrees"] = findings.disagreements().is_empty().into();
    report
}

fn print_table(report: &Value) {
    println!();
    for (name, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::Object(fields) => {
                println!("{}", name.replace('_', " "));
                for (name, value) in fields {
                    println!("    {name:<28} {}", text(value));
                }
            }
            _ => println!("{:<32} {}", name.replace('_', " "), text(value)),
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or(0.0))
        }
        Value::Object(fields) => {
            let parts = fields
                .iter()
                .map(|(name, value)| format!("{name} {}", text(value)));
            parts.collect::<Vec<_>>().join("  ")
        }
        other => other.to_string(),
    }
}
