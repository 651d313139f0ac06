//! Numbers for Prometheus. No label has a client's own text, so their count is bounded.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds: from what a thread needs to what a client still waits for.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0,
];

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    /// From a packet's first sending to its answer.
    pub order_path: Histogram,
    /// Connections now, by protocol.
    pub connections: IntGaugeVec,
    /// Connections refused or cut off, by protocol and reason.
    pub refused: IntCounterVec,
    /// Requests over a rate limit, by who was counted.
    pub limited: IntCounterVec,
    /// OUCH messages taken, by letter.
    pub ouch: IntCounterVec,
    lag: IntGaugeVec,
    records: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    ///
    /// # Panics
    /// Never: the names are constants and different.
    #[must_use]
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels).expect("a good name");
            registry.register(Box::new(made.clone())).expect("once");
            made
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let made = IntGaugeVec::new(Opts::new(name, help), labels).expect("a good name");
            registry.register(Box::new(made.clone())).expect("once");
            made
        };
        let seconds =
            |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let request_seconds = HistogramVec::new(
            seconds("ring0_gateway_request_seconds", "HTTP requests by route."),
            &["route"],
        )
        .expect("a good name");
        let order_path = Histogram::with_opts(seconds(
            "ring0_gateway_order_seconds",
            "From a packet to the exchange to its answer.",
        ))
        .expect("a good name");
        registry
            .register(Box::new(request_seconds.clone()))
            .expect("once");
        registry
            .register(Box::new(order_path.clone()))
            .expect("once");
        Metrics {
            requests: counters(
                "ring0_gateway_requests_total",
                "HTTP requests by route and status.",
                &["route", "status"],
            ),
            connections: gauges(
                "ring0_gateway_connections",
                "Connections now.",
                &["protocol"],
            ),
            refused: counters(
                "ring0_gateway_refused_total",
                "Connections refused or cut off.",
                &["protocol", "reason"],
            ),
            limited: counters(
                "ring0_gateway_limited_total",
                "Requests over a rate limit.",
                &["of"],
            ),
            ouch: counters(
                "ring0_gateway_ouch_total",
                "OUCH messages taken.",
                &["letter"],
            ),
            lag: gauges(
                "ring0_gateway_record_lag_slots",
                "Slots of the record ring that are not read yet.",
                &["shard"],
            ),
            records: counters("ring0_gateway_records_total", "Records read.", &["shard"]),
            registry,
            request_seconds,
            order_path,
        }
    }

    /// A request was answered.
    pub fn request(&self, route: &str, status: u16, seconds: f64) {
        self.requests
            .with_label_values(&[route, &status.to_string()])
            .inc();
        self.request_seconds
            .with_label_values(&[route])
            .observe(seconds);
    }

    /// How far behind a shard's records the gateway is.
    #[must_use]
    pub fn record_lag(&self, shard: &str) -> IntGauge {
        self.lag.with_label_values(&[shard])
    }

    /// Records of a shard.
    #[must_use]
    pub fn records(&self, shard: &str) -> IntCounter {
        self.records.with_label_values(&[shard])
    }

    /// Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        // Writing into memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut bytes);
        String::from_utf8(bytes).unwrap_or_default()
    }
}
