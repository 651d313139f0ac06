//! The daemon's numbers, and who serves them: Prometheus' text, `/healthz`, `/readyz`.

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tiny_http::{Method, Response, Server};

/// Buckets of times in seconds: from a millisecond to a minute.
const SECONDS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0,
];

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
        ] {
            numbers.registry.register(one)?;
        }
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
        let cut = self.cut.lock().ok().and_then(|cut| *cut);
        if let Some((_, at)) = cut.filter(|(of, _)| *of == epoch) {
            self.batch_seconds.observe(at.elapsed().as_secs_f64());
        }
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

    pub(crate) fn tip(&self, hub: &str, height: u64) {
        self.tips.with_label_values(&[hub]).set(height as i64);
    }

    /// All of them, as Prometheus reads them.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }

    /// Serves from now on, as long as the process lives.
    pub(crate) fn serve(self: &Arc<Self>, address: SocketAddr) -> io::Result<()> {
        let server = Server::http(address).map_err(io::Error::other)?;
        let numbers = Arc::clone(self);
        std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                for request in server.incoming_requests() {
                    let (status, text) = match (request.method(), request.url()) {
                        (Method::Get, "/metrics") => (200, numbers.text()),
                        (Method::Get, "/healthz") => (200, "ok\n".to_owned()),
                        (Method::Get, "/readyz") => match numbers.troubles.get() {
                            0 => (200, "ok\n".to_owned()),
                            troubles => (503, format!("{troubles} troubles; ask `status`\n")),
                        },
                        _ => (404, "GET /metrics, /healthz and /readyz\n".to_owned()),
                    };
                    let _ = request.respond(Response::from_string(text).with_status_code(status)); // whoever asked has gone
                }
            })?;
        Ok(())
    }
}
