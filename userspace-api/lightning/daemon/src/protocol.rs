//! What an operator, the gateway or a shard's daemon says to the rail: one JSON object a line, answered by one. Amounts are text in whole units of the
//! asset (`0.00015`), with three places more than its smallest unit has, because Lightning counts in millisatoshi.

use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, clap::Subcommand)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb {
    /// Said by a shard's daemon: it has debited this much, which is the rail's from now on. Once a number; again does no harm.
    #[command(skip)]
    Credit {
        /// Account name, or `#` and its number.
        account: String,
        /// Asset name.
        asset: String,
        /// Engine units.
        units: u64,
        /// Number of the debit.
        number: u64,
        /// Name of the shard.
        from: String,
    },
    /// Make an invoice: what is paid for it is credited to the account, and can be traded.
    Invoice {
        /// Account name, or `#` and its number.
        account: String,
        /// Whole units, for instance 0.00015.
        amount: String,
        /// What the payer reads.
        #[arg(long, default_value = "deposit")]
        #[serde(default = "deposit")]
        description: String,
        /// Seconds for which it is valid; not given: as the configuration has it.
        #[arg(long, value_name = "SECONDS")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expiry_s: Option<u32>,
    },
    /// Pay an invoice from an account: it is debited in its shard, held here, and then paid. The same again says how far it is.
    Pay {
        /// Account name, or `#` and its number.
        account: String,
        /// BOLT 11.
        invoice: String,
        /// Whole units, for an invoice that names no amount.
        #[arg(long)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<String>,
        /// The most that the way may cost, whole units; what is left of it comes back.
        #[arg(long, value_name = "AMOUNT")]
        fee_limit: String,
    },
    /// How far a deposit or withdrawal is.
    Payment {
        /// Payment hash, hexadecimal.
        hash: String,
    },
    /// What an account has on the rail: dust, what is being paid out, what is on its way.
    Funds {
        /// Account name, or `#` and its number.
        account: String,
    },
    /// Open a channel to a peer, funded from the node's wallet.
    OpenChannel {
        /// The peer, KEY@ADDRESS:PORT.
        peer: String,
        /// Its size, whole units.
        amount: String,
    },
    /// Close a channel together with its peer.
    CloseChannel {
        /// Its id, hexadecimal.
        channel: String,
    },
    /// Leave a channel alone: its newest state goes on the chain, our balance is swept after the delay.
    LeaveChannel {
        /// Its id, hexadecimal.
        channel: String,
    },
    /// All channels.
    Channels,
    /// How the rail, its node and its wallet are, and what is owed.
    Status,
}

fn deposit() -> String {
    "deposit".to_owned()
}
