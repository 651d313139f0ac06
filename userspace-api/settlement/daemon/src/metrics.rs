//! The daemon's numbers, and who serves them: Prometheus' text, `/healthz`, `/readyz`.

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use ring0_scrape::{Scrape, ScrapeError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Buckets of times in seconds: from a millisecond to a minute.
const SECONDS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0,
];

/// This machine's clock, seconds of Unix time.
fn now_s() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |it| it.as_secs_f64())
}

/// Numbers, written by the desk and read by the server.
pub(crate) struct Numbers {
    registry: Registry,
    journal_entries: IntCounter,
    journal_seconds: Histogram,
    batch_seconds: Histogram,
    epoch: IntGauge,
    batch_accounts: IntGauge,
    lagging: IntGauge,
    cosigned: IntCounter,
    records: IntGauge,
    withdrawals: IntCounterVec,
    differences: IntGauge,
    compared: IntCounter,
    troubles: IntGauge,
    tips: IntGaugeVec,
    block_offset: GaugeVec,
    /// When everything was under the operator's signature last: Unix time.
    up_to_date_at: Gauge,
    /// When the epoch under way was cut.
    cut: Mutex<Option<(u64, Instant)>>,
}

impl Numbers {
    /// All zero.
    pub(crate) fn new() -> Result<Numbers, prometheus::Error> {
        let registry = Registry::new();
        let counter =
            |name: &str, help: &str| IntCounter::new(format!("ring0_settled_{name}"), help);
        let gauge = |name: &str, help: &str| IntGauge::new(format!("ring0_settled_{name}"), help);
        let times = |name: &str, help: &str| {
            let options = HistogramOpts::new(format!("ring0_settled_{name}"), help);
            Histogram::with_opts(options.buckets(SECONDS.to_vec()))
        };
        let numbers = Numbers {
            journal_entries: counter(
                "journal_entries_total",
                "Entries of the settlement journal.",
            )?,
            journal_seconds: times(
                "journal_write_seconds",
                "A turn's wait for the journal's disk.",
            )?,
            batch_seconds: times(
                "batch_age_seconds",
                "From a batch's cut to the operator's signature.",
            )?,
            epoch: gauge("epoch", "The newest batch that the operator has signed.")?,
            batch_accounts: gauge(
                "batch_accounts",
                "Accounts with a new state in the newest batch.",
            )?,
            lagging: gauge(
                "lagging_accounts",
                "Accounts that have not signed their newest state in time.",
            )?,
            cosigned: counter("cosignatures_total", "Co-signatures that are durable.")?,
            records: gauge(
                "records",
                "Records of all shards that the ledger has taken.",
            )?,
            withdrawals: IntCounterVec::new(
                Opts::new("ring0_settled_withdrawals_total", "Withdrawals by step."),
                &["step"],
            )?,
            differences: gauge(
                "differences",
                "Equations of the last reconciliation that did not hold.",
            )?,
            compared: counter(
                "live_comparisons_total",
                "Cuts whose figures were compared with the balances of all shards themselves, which were quiet.",
            )?,
            troubles: gauge(
                "troubles",
                "What does not work now: nodes, shards, signer, ledger.",
            )?,
            tips: IntGaugeVec::new(
                Opts::new(
                    "ring0_settled_chain_height",
                    "Newest block that was seen, by hub.",
                ),
                &["hub"],
            )?,
            block_offset: GaugeVec::new(
                Opts::new(
                    "ring0_settled_block_offset_seconds",
                    "This machine's clock less the time of the newest block, when that was first seen, by hub.",
                ),
                &["hub"],
            )?,
            up_to_date_at: Gauge::new(
                "ring0_settled_up_to_date_timestamp_seconds",
                "When a batch was signed, or a cut had nothing new, or the daemon began, last.",
            )?,
            cut: Mutex::new(None),
            registry,
        };
        for one in [
            Box::new(numbers.journal_entries.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(numbers.journal_seconds.clone()),
            Box::new(numbers.batch_seconds.clone()),
            Box::new(numbers.epoch.clone()),
            Box::new(numbers.batch_accounts.clone()),
            Box::new(numbers.lagging.clone()),
            Box::new(numbers.cosigned.clone()),
            Box::new(numbers.records.clone()),
            Box::new(numbers.withdrawals.clone()),
            Box::new(numbers.differences.clone()),
            Box::new(numbers.compared.clone()),
            Box::new(numbers.troubles.clone()),
            Box::new(numbers.tips.clone()),
            Box::new(numbers.block_offset.clone()),
            Box::new(numbers.up_to_date_at.clone()),
        ] {
            numbers.registry.register(one)?;
        }
        numbers.up_to_date();
        Ok(numbers)
    }

    pub(crate) fn journaled(&self, entries: usize, took: Duration) {
        self.journal_entries.inc_by(entries as u64);
        self.journal_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn cut(&self, epoch: u64) {
        if let Ok(mut cut) = self.cut.lock() {
            *cut = Some((epoch, Instant::now()));
        }
    }

    pub(crate) fn batch_recorded(&self, _epoch: u64, accounts: usize) {
        self.batch_accounts.set(accounts as i64);
    }

    pub(crate) fn batch_signed(&self, epoch: u64) {
        self.epoch.set(epoch as i64);
        self.up_to_date();
        let cut = self.cut.lock().ok().and_then(|cut| *cut);
        if let Some((_, at)) = cut.filter(|(of, _)| *of == epoch) {
            self.batch_seconds.observe(at.elapsed().as_secs_f64());
        }
    }

    /// All that was cut is under the operator's signature.
    pub(crate) fn up_to_date(&self) {
        self.up_to_date_at.set(now_s());
    }

    pub(crate) fn lagging(&self, accounts: usize) {
        self.lagging.set(accounts as i64);
    }

    pub(crate) fn cosigned(&self, parts: usize) {
        self.cosigned.inc_by(parts as u64);
    }

    pub(crate) fn records(&self, records: u64) {
        self.records.set(records as i64);
    }

    /// Records of all shards that the ledger has taken.
    pub(crate) fn records_taken(&self) -> u64 {
        self.records.get().cast_unsigned()
    }

    pub(crate) fn withdrawal(&self, step: &str) {
        self.withdrawals.with_label_values(&[step]).inc();
    }

    pub(crate) fn reconciled(&self, differences: usize) {
        self.differences.set(differences as i64);
    }

    pub(crate) fn compared(&self) {
        self.compared.inc();
    }

    pub(crate) fn troubles(&self, troubles: usize) {
        self.troubles.set(troubles as i64);
    }

    /// A hub's newest block, and its time in seconds of Unix time.
    pub(crate) fn tip(&self, hub: &str, height: u64, time_s: u64) {
        let tip = self.tips.with_label_values(&[hub]);
        if tip.get() != height as i64 {
            tip.set(height as i64);
            let offset = self.block_offset.with_label_values(&[hub]);
            offset.set(now_s() - time_s as f64);
        }
    }

    /// All of them, as Prometheus reads them.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }

    /// Serves from now on, as long as the value lives.
    pub(crate) fn serve(self: &Arc<Self>, address: SocketAddr) -> Result<Scrape, ScrapeError> {
        Scrape::serve(address, Asked(Arc::clone(self)))
    }
}

/// What Prometheus and a service manager are told.
struct Asked(Arc<Numbers>);

impl ring0_scrape::Numbers for Asked {
    fn text(&self) -> Result<String, String> {
        Ok(self.0.text())
    }

    fn ready(&self) -> Result<(), String> {
        match self.0.troubles.get() {
            0 => Ok(()),
            troubles => Err(format!("{troubles} troubles; ask `status`")),
        }
    }
}
