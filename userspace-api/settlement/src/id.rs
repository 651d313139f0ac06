//! Numbers that must not be taken for each other.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])+ $name:ident($of:ty), $text:literal;)+) => {$(
        $(#[$doc])+
        #[derive(
            Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $of);

        impl fmt::Display for $name {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(to, $text, self.0)
            }
        }
    )+};
}

ids! {
    /// An account: the engine's index, the same in every shard.
    AccountId(u32), "account {}";
    /// An asset: its place in the market file.
    AssetId(u32), "asset {}";
    /// Whoever amounts are transferred from and to: a shard or a rail, by the number that the market file gives it.
    PeerId(u32), "peer {}";
    /// A settlement batch. The first is 1; 0: none yet.
    Epoch(u64), "epoch {}";
}

impl Epoch {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}
