//! Which shard a verb is about: by its pins, its interface, its record ring's file, or its market's running daemon.

use crate::fail::Fail;
use ring0d::{Client, Verb, operator_socket};
use std::path::PathBuf;

/// Arguments that name a shard.
#[derive(clap::Args)]
pub(crate) struct Shard {
    /// Folder of the shard's pins.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["interface", "market"])]
    pin_root: Option<PathBuf>,
    /// Interface that the shard is loaded on.
    #[arg(long, value_name = "IF", conflicts_with = "market")]
    interface: Option<String>,
    /// Network namespace of the interface.
    #[arg(long, value_name = "NS", requires = "interface")]
    netns: Option<String>,
    /// UDP port of the shard, where several share the interface.
    #[arg(long, value_name = "PORT", requires = "interface")]
    port: Option<u16>,
    /// The record ring's file of a shard that runs in a process (`ring0d --ring udp`).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pin_root", "interface", "market"])]
    mq: Option<PathBuf>,
    /// The market's file: its running daemon is asked where its shard is.
    #[arg(long, value_name = "FILE")]
    market: Option<PathBuf>,
}

impl Shard {
    /// The folder of the shard's pins, or the file of its record ring.
    pub(crate) fn place(&self) -> Result<PathBuf, Fail> {
        if let Some(file) = &self.mq {
            return Ok(file.clone());
        }
        if let Some(pin_root) = &self.pin_root {
            return Ok(pin_root.clone());
        }
        if let Some(interface) = &self.interface {
            let netns = self.netns.as_deref();
            return Ok(match self.port {
                Some(port) => xdp_loader::default_shard_root(interface, netns, port),
                None => xdp_loader::default_pin_root(interface, netns),
            });
        }
        let Some(market) = &self.market else {
            return Err(Fail::new(
                "which shard? give --interface (and --netns, and --port of one of several), --pin-root, --mq, or --market",
            ));
        };
        let mut client = Client::connect(&operator_socket(market).map_err(Fail::new)?)?;
        let status = client.call(&Verb::Status { hash: false })?;
        status["pin_root"]
            .as_str()
            .or(status["mq"].as_str())
            .map(PathBuf::from)
            .ok_or_else(|| {
                Fail::new("the daemon did not say where its shard is; give --pin-root or --mq")
            })
    }
}
