//! Numbers for Prometheus: of the shard wherever its engine runs, over HTTP and by the operator's socket.
//!
//! The thread that serves them asks the one that owns the shard, as an operator does: a scrape is a request like another.

use crate::daemon::Daemon;
use crate::home::Home;
use crate::server::{Asked, Call};
use crate::{DaemonError, Request};
use ring0_engine::totals::TOTALS;
use ring0_rings::{Buckets, Live, Times};
use ring0_scrape::Scrape;
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, sync_channel};
use std::sync::{Mutex, PoisonError};
use xdp_loader::{Families, Histogram};

/// As Prometheus takes them.
fn shown(times: &Times) -> Histogram {
    let Buckets {
        up_to,
        count,
        sum_ns,
    } = times.read();
    Histogram {
        up_to_ns: up_to,
        count,
        sum_ns,
    }
}

/// Serves the numbers from now on.
pub(crate) fn serve(address: SocketAddr, calls: Sender<Asked>) -> Result<Scrape, DaemonError> {
    // One request at a time asks the shard's thread, which is one too.
    let calls = Mutex::new(calls);
    let numbers = move || {
        let calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&calls).map(|text| text + "\n")
    };
    Ok(Scrape::serve(address, numbers)?)
}

fn ask(calls: &Sender<Asked>) -> Result<String, String> {
    let (answer, answers) = sync_channel(1);
    let call = Call {
        request: Request::Metrics,
        answer,
    };
    let ending = || "the daemon is ending".to_owned();
    calls
        .send(Asked::Verb(Box::new(call)))
        .map_err(|_| ending())?;
    let answer = answers.recv().map_err(|_| ending())?;
    let text = answer["text"].as_str().map(str::to_owned);
    text.ok_or_else(|| answer.to_string())
}

impl Daemon {
    /// The numbers of the shard, of its ring, and of the way in and out.
    pub(crate) fn metrics(&mut self) -> Result<String, String> {
        let plan = &self.market.plan.shard;
        let udp_port = plan.port.to_string();
        let mut place = vec![("shard", plan.name.as_str()), ("port", udp_port.as_str())];
        let interface;
        if let Home::Kernel { pinned, .. } = &self.home {
            interface = pinned.interface().to_owned();
            place.push(("interface", &interface));
        }
        let mut all = Families::new(&place);
        let counters = self.shard.counters().map_err(|error| error.to_string())?;
        let names: Vec<(String, u64)> = (0_u32..)
            .zip(counters)
            .filter_map(|(number, count)| {
                let (prefix, name) = ring0_abi::counter_name(number)?;
                Some((format!("{prefix}{name}"), count))
            })
            .collect();
        let frames = "Frames by what became of them.";
        let samples = names.iter().map(|(name, count)| (name.as_str(), *count));
        all.by(("ring0_frames_total", "counter", frames), "result", samples);
        if let Home::Kernel { pinned, .. } = &self.home
            && let Ok(Some(runs)) = pinned.runs()
        {
            let help = "Runs of the shard's program that the kernel timed: all of them while the sysctl kernel.bpf_stats_enabled is 1, none else.";
            all.one(("ring0_program_runs_total", "counter", help), runs.count);
            let help = "Time of those runs.";
            let name = "ring0_program_run_nanoseconds_total";
            all.one((name, "counter", help), runs.ns);
        }
        if let Some(times) = self.shard.answer_times() {
            let help = "From a packet's stamp of arrival until the network had its answer.";
            all.times("ring0_answer_seconds", help, &shown(times));
        }
        if let Some(answers) = &self.answers {
            let help = "How long an answer was held for the journal: from when its records were seen until it was sent.";
            all.times("ring0_held_answer_seconds", help, &shown(answers.waits()));
        }
        let ports = self.shard.port_counters();
        if !ports.is_empty() {
            let help = "What the ring's way in and out counts: its sockets, the kernel's statistics of them, its program.";
            all.by(("ring0_port_total", "counter", help), "name", ports);
        }
        let memory = self.shard.memory();
        let totals = TOTALS.iter().map(|total| {
            let value = match total.bytes {
                4 => memory.at::<Cell<u32>>(total.at as u32).get().into(),
                _ => memory.at::<Cell<u64>>(total.at as u32).get(),
            };
            (total.name, value)
        });
        let help = "Numbers of the shard by the names that it has for them.";
        all.by(("ring0_shard", "gauge", help), "total", totals);
        let (slots, published, required) = self.watch.numbers();
        let help = "Slots of the record ring published.";
        all.one(
            ("ring0_ring_published_slots_total", "counter", help),
            published,
        );
        all.one(
            ("ring0_ring_slots", "gauge", "Slots of the record ring."),
            slots,
        );
        let help = "Sequence of the last record on a journal's disk.";
        all.one(
            ("ring0_ring_durable_sequence", "gauge", help),
            self.shard.durable(),
        );
        let help = "1 after a journal failed: nothing is taken.";
        let failed = self.shard.journal_failed().into();
        all.one(("ring0_ring_journal_failed", "gauge", help), failed);
        let lags = required.iter().map(|one| (one.name.as_str(), one.slots));
        let help = "Slots that a required consumer has not committed yet.";
        all.by(
            ("ring0_consumer_lag_slots", "gauge", help),
            "consumer",
            lags,
        );
        let attached = match &self.home {
            Home::Kernel { pinned, .. } => pinned.link_program_id().ok().flatten().is_some(),
            Home::Thread { .. } => self.shard.failure().is_none(),
        };
        let clock = &self.clock;
        if let Some(it) = clock.reading() {
            for (name, help, number) in [
                (
                    "ring0_clock_max_error_nanoseconds",
                    "Farthest that this machine's clock can be off, as the kernel says.",
                    it.max_error_ns,
                ),
                (
                    "ring0_clock_estimated_error_nanoseconds",
                    "What this machine's clock is thought to be off.",
                    it.estimated_error_ns,
                ),
                (
                    "ring0_clock_synchronised",
                    "1 while somebody sets this machine's clock right.",
                    it.is_synchronised.into(),
                ),
            ] {
                all.one((name, "gauge", help), number);
            }
        }
        let help = "How far venue time and this machine's time of day are apart.";
        all.one(
            ("ring0_clock_venue_apart_nanoseconds", "gauge", help),
            clock.apart_ns(),
        );
        let help = "1 while no good-till-time order expires, because the clock cannot be trusted.";
        all.one(
            ("ring0_clock_distrusted", "gauge", help),
            clock.doubt().is_some().into(),
        );
        let help = "Times, one a second, that orders were due and did not expire because the clock could not be trusted.";
        all.one(
            ("ring0_expiry_refused_total", "counter", help),
            clock.refused(),
        );
        let help = "1 while packets reach the engine.";
        all.one(("ring0_attached", "gauge", help), attached.into());
        Ok(all.text())
    }
}
