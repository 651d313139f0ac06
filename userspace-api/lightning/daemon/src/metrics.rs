//! The rail's numbers for Prometheus.

use crate::desk::Desk;
use std::fmt::Write;
use std::sync::Arc;

/// What Prometheus and a service manager are told.
pub(crate) struct Asked(pub(crate) Arc<Desk>);

impl ring0_scrape::Numbers for Asked {
    fn text(&self) -> Result<String, String> {
        let exchange = self.0.exchange();
        let (cover, node) = (exchange.cover(), exchange.node());
        let channels = node.channels();
        let usable = channels.iter().filter(|it| it.is_usable).count();
        // One lock at a time.
        let (under_way, stopped) = {
            let rail = exchange.rail();
            (rail.book().under_way().count(), rail.stopped())
        };
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, value: u128| {
            let _ = writeln!(
                text,
                "# HELP ring0_lightning_{name} {help}\n# TYPE ring0_lightning_{name} gauge\nring0_lightning_{name} {value}"
            ); // into memory
        };
        gauge(
            "height",
            "Newest block that the node has seen.",
            node.best_block().height.into(),
        );
        gauge("channels", "Channels.", channels.len() as u128);
        gauge(
            "channels_usable",
            "Channels that payments go by now.",
            usable as u128,
        );
        gauge(
            "owed_msat",
            "What accounts have on the rail, free and held.",
            cover.owed_msat,
        );
        gauge(
            "in_channels_satoshi",
            "What the node's side of all channels comes to.",
            cover.channels.to_sat().into(),
        );
        gauge(
            "in_wallet_satoshi",
            "What the node's wallet has on the chain.",
            cover.wallet.to_sat().into(),
        );
        gauge(
            "payments_under_way",
            "Withdrawals that are held and not over.",
            under_way as u128,
        );
        gauge(
            "landing",
            "Amounts on their way to the shard that its journal is not known to have.",
            self.0.landing() as u128,
        );
        gauge(
            "stopped",
            "1 after its journal failed: nothing is taken or paid.",
            stopped.into(),
        );
        gauge(
            "node_failed",
            "1 after the node has stopped.",
            node.failure().is_some().into(),
        );
        Ok(text)
    }

    fn ready(&self) -> Result<(), String> {
        let exchange = self.0.exchange();
        match exchange.node().failure() {
            Some(why) => Err(why),
            None if exchange.rail().stopped() => {
                Err("its journal has failed; nothing is taken or paid".to_owned())
            }
            None => Ok(()),
        }
    }
}
