//! A scenario: what is set up, who trades how, what goes wrong, what is measured. One TOML file.

use crate::schedule::Arrivals;
use crate::shim::Faults;
use crate::traders::Trader;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Smallest and largest MTU: the least of IPv4, and what fits a page under XDP in native mode.
const MTU: (u32, u32) = (576, 3_498);

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}; give a scenario file, for instance one of scenarios/", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what a scenario is.
    #[error("{}: {text}\ndocs/research.md has every field", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what, in the words of the TOML parser.
        text: String,
    },
    /// A value cannot be.
    #[error("{}: {field} {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which.
        field: String,
        /// What is wrong with it, and what may stand there.
        problem: String,
    },
    /// A file of order flow cannot be used.
    #[error("{}: the trader of `{}`: {problem}", path.display(), file.display())]
    Flow {
        /// The scenario.
        path: PathBuf,
        /// The file that a trader replays.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// The wire of each ring.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// Receive and transmit queues of either end.
    pub queues: u32,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
}

impl Default for Topology {
    fn default() -> Self {
        Topology {
            queues: 1,
            mtu: 1_500,
        }
    }
}

/// What the traders' messages have in common.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowPlan {
    /// Instruments that makers, takers and spoofers trade.
    pub symbols: u32,
    /// Messages of a packet, at the most; what the MTU holds is less.
    pub messages_per_packet: u16,
    /// Messages of the makers before anything is measured.
    pub prefill: u64,
}

impl Default for FlowPlan {
    fn default() -> Self {
        FlowPlan {
            symbols: 64,
            messages_per_packet: 1,
            prefill: 20_000,
        }
    }
}

/// Tier (a): the program in the kernel by test-run, one run a packet.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TestRun {
    /// Packets of each stage and round.
    pub packets: u32,
}

/// Tier (b): over the wire, as fast as it goes and at offered rates; what was sent is accounted for to the packet.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// Packets of each round, as fast as they go.
    pub packets: u32,
    /// Packets a second that are offered, for the curve.
    #[serde(default)]
    pub offered: Vec<u32>,
    /// Seconds that each offered rate is kept in each round.
    #[serde(default = "one_second")]
    pub seconds: f64,
}

fn one_second() -> f64 {
    1.0
}

/// Tier (c): latency of an open loop, each packet from the time at which it was to leave.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Packets offered a second.
    pub per_second: u32,
    /// Samples of all rounds together.
    #[serde(default = "a_million")]
    pub samples: u64,
    /// How packets are spread.
    #[serde(default)]
    pub arrivals: Arrivals,
}

fn a_million() -> u64 {
    1_000_000
}

/// The generator: prepared packets through AF_XDP from one processor into a peer that drops all.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Packets of each round.
    pub packets: u32,
}

/// A bench of `ring0 bench` whose figures belong to the scenario.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bench {
    /// Which.
    pub run: BenchName,
    /// What is given to it beside `--json`.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// The benches that a scenario may name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BenchName {
    /// `ring0 bench wire`.
    Wire,
    /// `ring0 bench engine`.
    Engine,
}

impl BenchName {
    /// As the command has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BenchName::Wire => "wire",
            BenchName::Engine => "engine",
        }
    }
}

/// A scenario.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short, for files: letters, digits and dashes.
    pub name: String,
    /// One line for a reader.
    pub title: String,
    /// What is asked and why it is set up so.
    #[serde(default)]
    pub about: String,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Rounds; a figure is the median of its rounds.
    #[serde(default = "five")]
    pub rounds: u32,
    /// Rings to measure, as `ring0 bench rings` calls them.
    #[serde(default)]
    pub rings: Vec<String>,
    /// The wire.
    #[serde(default)]
    pub topology: Topology,
    /// The flow.
    #[serde(default)]
    pub flow: FlowPlan,
    /// Who trades.
    #[serde(default, rename = "trader")]
    pub traders: Vec<Trader>,
    /// What goes wrong on the way.
    #[serde(default)]
    pub faults: Faults,
    /// Tier (a).
    pub test_run: Option<TestRun>,
    /// Tier (b).
    pub throughput: Option<Throughput>,
    /// Tier (c).
    pub latency: Option<Latency>,
    /// The generator.
    pub generator: Option<Generator>,
    /// Benches whose figures belong to it.
    #[serde(default, rename = "bench")]
    pub benches: Vec<Bench>,
    /// Where files that it names are looked for: its own folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The file.
    #[serde(skip)]
    pub path: PathBuf,
}

fn five() -> u32 {
    5
}

impl Scenario {
    /// Reads and judges a file.
    ///
    /// # Errors
    /// See [`ScenarioError`]; the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Scenario::parse(&text, path)
    }

    /// As [`Scenario::read`], of text that came from `path`.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn parse(text: &str, path: &Path) -> Result<Scenario, ScenarioError> {
        let mut scenario: Scenario =
            toml::from_str(text).map_err(|error| ScenarioError::Parse {
                path: path.to_owned(),
                text: error.to_string().trim_end().to_owned(),
            })?;
        path.clone_into(&mut scenario.path);
        scenario.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        scenario.check()?;
        Ok(scenario)
    }

    /// The error that a field has.
    pub(crate) fn wrong(
        &self,
        field: impl Into<String>,
        problem: impl Into<String>,
    ) -> ScenarioError {
        ScenarioError::Value {
            path: self.path.clone(),
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// Makes everything that takes time a hundred times smaller, and one round: to see that it runs.
    pub fn shrink(&mut self) {
        let less = |count: u32| (count / 100).max(64);
        self.rounds = 1;
        self.flow.prefill = self.flow.prefill.min(2_000);
        if let Some(it) = &mut self.test_run {
            it.packets = less(it.packets);
        }
        if let Some(it) = &mut self.throughput {
            it.packets = less(it.packets);
            it.seconds = (it.seconds / 100.0).max(0.01);
        }
        if let Some(it) = &mut self.latency {
            it.samples = (it.samples / 100).max(100);
        }
        if let Some(it) = &mut self.generator {
            it.packets = less(it.packets).max(1_000);
        }
    }

    /// Whether it needs rings, and so a wire and traders.
    #[must_use]
    pub fn has_wire(&self) -> bool {
        self.throughput.is_some() || self.latency.is_some()
    }

    /// Whether traders send anything in it.
    #[must_use]
    pub fn needs_flow(&self) -> bool {
        self.has_wire() || self.test_run.is_some() || self.generator.is_some()
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let within =
            |field: &str, value: u64, low: u64, high: u64| match (low..=high).contains(&value) {
                true => Ok(()),
                false => Err(self.wrong(field, format!("is {value}; it may be {low} to {high}"))),
            };
        let plain = |it: char| it.is_ascii_alphanumeric() || it == '-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(self.wrong("name", "has other than letters, digits and dashes, is empty, or has more than 64; it becomes a folder's name"));
        }
        within("rounds", self.rounds.into(), 1, 99)?;
        within("topology.queues", self.topology.queues.into(), 1, 64)?;
        within(
            "topology.mtu",
            self.topology.mtu.into(),
            MTU.0.into(),
            MTU.1.into(),
        )?;
        within("flow.symbols", self.flow.symbols.into(), 1, 256)?;
        let most = u64::from(ring0_wire::MESSAGES_MAX);
        within(
            "flow.messages_per_packet",
            self.flow.messages_per_packet.into(),
            1,
            most,
        )?;
        within("flow.prefill", self.flow.prefill, 0, 10_000_000)?;
        if let Some((field, value)) = self.faults.wrong() {
            return Err(self.wrong(
                format!("faults.{field}"),
                format!("is {value}; it is a fraction of the packets, 0 to 0.5"),
            ));
        }
        if let Some(it) = self.test_run {
            within("test_run.packets", it.packets.into(), 10, 1_000_000)?;
        }
        if let Some(it) = &self.throughput {
            within("throughput.packets", it.packets.into(), 10, 10_000_000)?;
            if !(0.01..=600.0).contains(&it.seconds) {
                return Err(self.wrong(
                    "throughput.seconds",
                    format!("is {}; it may be 0.01 to 600", it.seconds),
                ));
            }
            for rate in &it.offered {
                within("throughput.offered", u64::from(*rate), 100, 10_000_000)?;
            }
        }
        if let Some(it) = self.latency {
            within("latency.per_second", it.per_second.into(), 100, 10_000_000)?;
            within("latency.samples", it.samples, 100, 100_000_000)?;
        }
        if let Some(it) = self.generator {
            within("generator.packets", it.packets.into(), 1_000, 100_000_000)?;
        }
        let measured = self.needs_flow();
        if !measured && self.benches.is_empty() {
            return Err(self.wrong("the scenario", "measures nothing: give it [test_run], [throughput], [latency], [generator] or [[bench]]"));
        }
        if self.has_wire() && self.rings.is_empty() {
            return Err(self.wrong(
                "rings",
                "names none, and [throughput] and [latency] need one",
            ));
        }
        if measured && self.traders.is_empty() {
            return Err(self.wrong("[[trader]]", "is missing: somebody has to send"));
        }
        for (at, trader) in self.traders.iter().enumerate() {
            trader.check().map_err(|(field, problem)| {
                self.wrong(
                    format!("trader {} ({}): {field}", at + 1, trader.kind()),
                    problem,
                )
            })?;
        }
        if self.flow.prefill > 0 && measured && !self.traders.iter().any(Trader::is_maker) {
            return Err(self.wrong(
                "flow.prefill",
                "needs a maker; set it to 0 where all traders replay files",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "one"
        title = "One"
        seed = 1
        rings = ["kernel"]
        [[trader]]
        kind = "maker"
        [throughput]
        packets = 100
    "#;

    fn refused(text: &str, wanted: &[&str]) {
        let error = Scenario::parse(text, Path::new("some/one.toml")).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("some/one.toml: "), "{text}");
        for word in wanted {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn a_small_one_is_whole() {
        let scenario = Scenario::parse(GOOD, Path::new("some/one.toml")).unwrap();
        assert_eq!(scenario.folder, Path::new("some"));
        assert_eq!((scenario.rounds, scenario.topology.mtu), (5, 1_500));
        assert!(scenario.faults.is_none());
    }

    #[test]
    fn what_is_wrong_is_said() {
        refused(
            &GOOD.replace("seed = 1", "sede = 1"),
            &["sede", "docs/research.md"],
        );
        refused(
            &GOOD.replace("\"maker\"", "\"baker\""),
            &["baker", "maker", "taker"],
        );
        refused(
            &GOOD.replace("\"maker\"", "\"maker\"\n deepth = 3"),
            &["deepth"],
        );
        refused(
            &GOOD.replace("\"maker\"", "\"maker\"\n depth = 0"),
            &["trader 1 (maker): depth"],
        );
        refused(
            &GOOD.replace("[throughput]\n        packets = 100", ""),
            &["measures nothing"],
        );
        refused(
            &GOOD.replace("[\"kernel\"]", "[]"),
            &["rings", "names none"],
        );
        refused(
            &GOOD.replace("packets = 100", "packets = 100\noffered = [5]"),
            &["throughput.offered is 5", "100 to"],
        );
        refused(
            &format!("{GOOD}\n[faults]\nloss = 0.9"),
            &["faults.loss is 0.9", "0 to 0.5"],
        );
        refused(&GOOD.replace("\"one\"", "\"../one\""), &["name", "dashes"]);
        refused(
            &GOOD.replace("\"maker\"", "\"taker\""),
            &["flow.prefill", "needs a maker"],
        );
        let missing = Scenario::read(Path::new("not-there.toml")).unwrap_err();
        assert!(missing.to_string().contains("scenarios/"), "{missing}");
    }
}
