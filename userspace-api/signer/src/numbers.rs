//! Numbers for Prometheus.

use crate::message::Kind;
use crate::protocol::Name;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// What a signer counts.
pub(crate) struct Numbers {
    registry: Registry,
    /// Requests that wait for the policy.
    pub(crate) waiting: IntGauge,
    signed: IntCounterVec,
    refused: IntCounterVec,
    /// From a request's last byte to its answer's first, seconds.
    pub(crate) latency: Histogram,
    /// 1 while it signs nothing because somebody said stop.
    pub(crate) stopped: IntGauge,
    /// 1 while it signs nothing because its store is old.
    pub(crate) stale: IntGauge,
    /// Entries of the history.
    pub(crate) entries: IntGauge,
    /// 1 if its memory cannot reach the disk.
    pub(crate) locked: IntGauge,
}

impl Numbers {
    pub(crate) fn new() -> Numbers {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("a name");
            registry
                .register(Box::new(gauge.clone()))
                .expect("it is new");
            gauge
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels).expect("a name");
            registry
                .register(Box::new(counter.clone()))
                .expect("it is new");
            counter
        };
        let buckets = vec![
            0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
        ];
        let latency = HistogramOpts::new(
            "ring0_signer_request_seconds",
            "Time from a request to sign to its answer.",
        );
        let latency = Histogram::with_opts(latency.buckets(buckets)).expect("a name");
        registry
            .register(Box::new(latency.clone()))
            .expect("it is new");
        Numbers {
            waiting: gauge("ring0_signer_waiting", "Requests that wait for the policy."),
            signed: counter(
                "ring0_signer_signatures_total",
                "Signatures made.",
                &["key", "kind"],
            ),
            refused: counter(
                "ring0_signer_refusals_total",
                "Messages refused, by the refusal's name.",
                &["name"],
            ),
            latency,
            stopped: gauge("ring0_signer_stopped", "1 while it is stopped."),
            stale: gauge(
                "ring0_signer_stale",
                "1 while its store is older than what others have seen of it.",
            ),
            entries: gauge("ring0_signer_history_entries", "Entries of the history."),
            locked: gauge(
                "ring0_signer_memory_locked",
                "1 if its memory can be neither swapped nor dumped.",
            ),
            registry,
        }
    }

    pub(crate) fn signed(&self, key: &str, kind: Kind, times: u64) {
        self.signed
            .with_label_values(&[key, kind.name()])
            .inc_by(times);
    }

    pub(crate) fn refused(&self, name: Name) {
        self.refused.with_label_values(&[name.text()]).inc();
    }

    /// All of them.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| format!("# {error}\n"))
    }
}
