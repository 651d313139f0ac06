//! Lightning for a venue: a rail of the market file, in a process of its own. It holds an LDK node, credits accounts of a shard with what is paid for their
//! invoices, and pays invoices from them.
//!
//! A process of its own, because a node talks to the internet and a shard's daemon is root with the arena mapped
//! (`docs/decisions/0076-rails.md`). What an operator has to know: `docs/lightning.md#the-daemon`.
#![deny(unsafe_code)]

mod config;
mod desk;
mod metrics;
mod protocol;
mod seed;

pub use config::{Bitcoin, Config, ConfigError, Node, msat, text};
pub use desk::Desk;
pub use protocol::Verb;

use lightning_persister::fs_store::FilesystemStore;
use ring0_bitcoin::rpc::Node as Rpc;
use ring0_lightning::core_node::CoreNode;
use ring0_lightning::exchange::Exchange;
use ring0_lightning::journal::FileJournal;
use ring0_lightning::node::Options;
use ring0_scrape::Scrape;
use ring0_socket::{Admission, Server};
use std::error::Error;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or its node has stopped.
pub fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let stop = ring0d::stop_flag();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.folder)?;
    let seed = seed::open(&config.folder)?;
    let rpc = Rpc::on_loopback(config.bitcoin.rpc_port, &config.bitcoin.cookie)?;
    let (journal, entries) = FileJournal::open(&config.folder.join("journal"))?;
    let options = Options {
        network: config.bitcoin.network,
        seed: *seed,
        store: Arc::new(FilesystemStore::new(config.folder.join("node"))),
        blocks: Arc::new(CoreNode::new(rpc, config.bitcoin.network)?),
        listen: config.node.listen,
        accept_channels: config.node.accept_channels,
        forward: false,
        delay_blocks: config.node.delay_blocks,
        confirmations: config.node.confirmations,
        poll: Duration::from_millis(config.node.poll_ms),
        reserve_sat_per_kw: config.node.reserve_sat_per_kw,
        log: Arc::new(|line| eprintln!("ring0-lightning: node: {line}")),
    };
    let (limits, scale) = (config.limits.clone(), config.scale);
    let exchange = Exchange::open(options, journal, &entries, limits, scale)?;
    let admission = Admission {
        users: config.clients.clone(),
        ..Admission::default()
    };
    let (socket, metrics) = (config.socket(), config.metrics);
    let desk = Arc::new(Desk::new(config, exchange));
    let answering = Arc::clone(&desk);
    let asked = metrics::Asked(Arc::clone(&desk));
    let _scrape = metrics.map(|at| Scrape::serve(at, asked)).transpose()?;
    let server = Server::start(&socket, admission, move |_, verb: Verb| {
        answering.answer(&verb)
    })?;
    let node = desk.exchange().node();
    eprintln!(
        "ring0-lightning: node {} listens at {}; socket {}",
        node.id(),
        node.address()
            .map_or_else(|| "no address".to_owned(), |it| it.to_string()),
        socket.display()
    );
    let is_over = || stop.load(Ordering::Acquire) || node.failure().is_some();
    desk.sweep(&is_over);
    drop(server);
    match node.failure() {
        Some(why) => Err(why.into()),
        None => Ok(()),
    }
}
