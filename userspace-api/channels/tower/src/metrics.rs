//! The tower's numbers for Prometheus, over HTTP.

use ring0_channels::B256;
use ring0_channels::tower::Numbers;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tiny_http::{Header, Method, Response, Server};

/// What is served: written by the tower's thread after each round, read by the server's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    text: Arc<Mutex<String>>,
}

impl Metrics {
    /// Serves from now on, as long as the process lives.
    pub(crate) fn serve(&self, address: SocketAddr) -> io::Result<()> {
        let server = Server::http(address).map_err(io::Error::other)?;
        let text = Arc::clone(&self.text);
        std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                for request in server.incoming_requests() {
                    let answer = match (request.method(), request.url()) {
                        (Method::Get, "/metrics") => {
                            let text = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
                            Response::from_string(text).with_header(
                                "Content-Type: text/plain; version=0.0.4"
                                    .parse::<Header>()
                                    .expect("a header"),
                            )
                        }
                        _ => Response::from_string("GET /metrics is all there is\n")
                            .with_status_code(404),
                    };
                    let _ = request.respond(answer); // whoever asked has gone
                }
            })?;
        Ok(())
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
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
