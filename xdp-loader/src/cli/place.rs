//! Which shard is meant.

use clap::Args;
use std::path::PathBuf;
use xdp_loader::{default_pin_root, default_shard_root};

#[derive(Args)]
pub(crate) struct Place {
    /// Interface.
    #[arg(value_name = "IF", required_unless_present_any = ["interface", "pin_root", "socket"], conflicts_with = "interface")]
    name: Option<String>,
    /// Interface, as an option.
    #[arg(long, short)]
    interface: Option<String>,
    /// Network namespace of the interface, as `ip netns` names it.
    #[arg(long)]
    pub(crate) netns: Option<String>,
    /// UDP port of the shard, where several share the interface.
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Folder of the pins [default: /sys/fs/bpf/ring0/v1/INTERFACE, with %NETNS in a namespace, with /PORT of one of several].
    #[arg(long)]
    pin_root: Option<PathBuf>,
}

impl Place {
    /// Empty where only the folder was given.
    pub(crate) fn interface(&self) -> &str {
        let name = self.name.as_ref().or(self.interface.as_ref());
        name.map_or("", String::as_str)
    }

    pub(crate) fn pin_root(&self) -> PathBuf {
        let (interface, netns) = (self.interface(), self.netns.as_deref());
        match (&self.pin_root, self.port) {
            (Some(pin_root), _) => pin_root.clone(),
            (None, Some(port)) => default_shard_root(interface, netns, port),
            (None, None) => default_pin_root(interface, netns),
        }
    }

    /// What was given as --pin-root.
    pub(crate) fn given_pin_root(&self) -> Option<&PathBuf> {
        self.pin_root.as_ref()
    }
}
