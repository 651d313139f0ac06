//! What an operator says to the daemon: one JSON object a line, answered by one.
//!
//! An answer has `ok`; where it is false `error` says what and what to do. Amounts are text in whole units.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One line to the daemon.
pub type Request = Verb;

/// What is asked.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb {
    /// Adds to an account's available balance.
    Deposit {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units, for instance `12.5`.
        amount: String,
    },
    /// Takes from an account's available balance.
    Withdraw {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units.
        amount: String,
    },
    /// Limits an account's un-co-signed outflow in an asset; without an amount: no limit.
    Limit {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units.
        amount: Option<String>,
    },
    /// Stops an instrument, or the whole shard.
    Halt {
        /// Symbol.
        instrument: Option<String>,
    },
    /// Lifts a halt.
    Resume {
        /// Symbol.
        instrument: Option<String>,
    },
    /// The kill switch: cancels all orders of a session and takes no more.
    Kill {
        /// Session name.
        session: String,
    },
    /// Lifts a kill.
    Revive {
        /// Session name.
        session: String,
    },
    /// How the shard is.
    Status {
        /// Also the hash of the state; the shard must be quiet or halted.
        #[serde(default)]
        hash: bool,
    },
    /// Accounts with their balances.
    Accounts,
}

/// Where the daemon of a shard listens when nothing else is said.
#[must_use]
pub fn default_socket(shard: &str) -> PathBuf {
    PathBuf::from("/run/ring0").join(format!("{shard}.sock"))
}
