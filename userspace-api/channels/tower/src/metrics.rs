//! The tower's numbers for Prometheus, over HTTP.

use ring0_channels::B256;
use ring0_channels::tower::Numbers;
use ring0_scrape::{Scrape, ScrapeError};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// What is served: written by the tower's thread after each round, read by the server's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    shown: Arc<Mutex<Shown>>,
}

#[derive(Debug, Default)]
struct Shown {
    text: String,
    node_up: bool,
}

impl ring0_scrape::Numbers for Metrics {
    fn text(&self) -> Result<String, String> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(shown.text.clone())
    }

    fn ready(&self) -> Result<(), String> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match shown.node_up {
            true => Ok(()),
            false => Err("the node has not answered: no dispute can be seen".to_owned()),
        }
    }
}

impl Metrics {
    /// Serves from now on, as long as the value lives.
    pub(crate) fn serve(&self, address: SocketAddr) -> Result<Scrape, ScrapeError> {
        Scrape::serve(address, self.clone())
    }

    /// Takes in the numbers of a round.
    pub(crate) fn set(
        &self,
        numbers: &Numbers,
        bad_files: u64,
        at_risk: impl Iterator<Item = (B256, u128)>,
    ) {
        let mut text = String::new();
        let mut one = |name: &str, kind: &str, help: &str, value: u128| {
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            ); // into memory
        };
        let n = numbers;
        one(
            "ring0_tower_node_up",
            "gauge",
            "1: the node answered the last time.",
            u128::from(n.node_up),
        );
        one(
            "ring0_tower_height",
            "gauge",
            "Newest block that was looked at.",
            u128::from(n.height),
        );
        one(
            "ring0_tower_channels",
            "gauge",
            "Channels with evidence.",
            n.watched as u128,
        );
        one(
            "ring0_tower_disputes_open",
            "gauge",
            "Old states in dispute that can be answered.",
            n.open as u128,
        );
        one(
            "ring0_tower_answers_total",
            "counter",
            "Answers given to the node.",
            u128::from(n.answers),
        );
        one(
            "ring0_tower_raises_total",
            "counter",
            "Times the fee of an answer was raised.",
            u128::from(n.raises),
        );
        one(
            "ring0_tower_lost_total",
            "counter",
            "Old states that stood when their window was over.",
            u128::from(n.lost),
        );
        one(
            "ring0_tower_purse",
            "gauge",
            "What the fee wallet has, smallest unit of the chain's coin.",
            n.purse,
        );
        one(
            "ring0_tower_answer_cost",
            "gauge",
            "What one answer may cost now, same unit.",
            n.answer_cost,
        );
        one(
            "ring0_tower_bad_files_total",
            "counter",
            "Evidence files that could not be used.",
            u128::from(bad_files),
        );
        text.push_str("# HELP ring0_tower_at_risk What an old state in dispute would cost, smallest unit of the channel's token.\n# TYPE ring0_tower_at_risk gauge\n");
        for (channel, amount) in at_risk {
            let _ = writeln!(
                text,
                "ring0_tower_at_risk{{channel=\"{channel}\"}} {amount}"
            ); // into memory
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Shown {
            text,
            node_up: numbers.node_up,
        };
    }
}
