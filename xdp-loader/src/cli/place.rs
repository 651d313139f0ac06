//! Which shard is meant.

use clap::Args;
use std::path::PathBuf;
use xdp_loader::default_pin_root;

#[derive(Args)]
pub(crate) struct Place {
    /// Interface.
    #[arg(value_name = "IF", required_unless_present_any = ["interface", "pin_root"], conflicts_with = "interface")]
    name: Option<String>,
    /// Interface, as an option.
    #[arg(long, short)]
    interface: Option<String>,
    /// Network namespace of the interface, as `ip netns` names it.
    #[arg(long)]
    pub(crate) netns: Option<String>,
    /// Folder of the pins [default: /sys/fs/bpf/ring0/v1/INTERFACE, with %NETNS in a namespace].
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
        self.pin_root
            .clone()
            .unwrap_or_else(|| default_pin_root(self.interface(), self.netns.as_deref()))
    }
}
