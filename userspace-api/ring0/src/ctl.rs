//! `ring0 ctl`: the operator's words to a running daemon.

use crate::fail::Fail;
use ring0d::{Client, Verb, default_socket};
use serde_json::Value;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", global = true, conflicts_with = "market")]
    socket: Option<PathBuf>,
    /// The market's file: its daemon's default socket.
    #[arg(long, value_name = "FILE", global = true)]
    market: Option<PathBuf>,
    /// The daemon's answer as it is, one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    say: Say,
}

#[derive(clap::Subcommand)]
enum Say {
    /// How the shard is: halted, faulted, ring, sessions, instruments, counters.
    Status {
        /// Also the hash of the state; the shard must be quiet or halted.
        #[arg(long)]
        hash: bool,
    },
    /// Accounts with their balances.
    Accounts,
    /// Add to an account's available balance.
    Deposit {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units, for instance 12.5.
        amount: String,
    },
    /// Take from an account's available balance.
    Withdraw {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units.
        amount: String,
    },
    /// Limit an account's un-co-signed outflow.
    Limit {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units; left out: no limit.
        amount: Option<String>,
    },
    /// Stop an instrument, or without one the shard.
    Halt {
        /// Symbol.
        instrument: Option<String>,
    },
    /// Lift a halt.
    Resume {
        /// Symbol.
        instrument: Option<String>,
    },
    /// Cancel all orders of a session and let it send no more.
    Kill {
        /// Session name.
        session: String,
    },
    /// Lift a kill.
    Revive {
        /// Session name.
        session: String,
    },
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let socket = match (&args.socket, &args.market) {
        (Some(socket), _) => socket.clone(),
        (None, Some(market)) => default_socket(&ring0_market::Plan::load(market)?.shard.name),
        (None, None) => {
            return Err(Fail::new(
                "which daemon? give --market FILE or --socket PATH",
            ));
        }
    };
    let verb = match &args.say {
        Say::Status { hash } => Verb::Status { hash: *hash },
        Say::Accounts => Verb::Accounts,
        Say::Deposit {
            account,
            asset,
            amount,
        } => Verb::Deposit {
            account: account.clone(),
            asset: asset.clone(),
            amount: amount.clone(),
        },
        Say::Withdraw {
            account,
            asset,
            amount,
        } => Verb::Withdraw {
            account: account.clone(),
            asset: asset.clone(),
            amount: amount.clone(),
        },
        Say::Limit {
            account,
            asset,
            amount,
        } => Verb::Limit {
            account: account.clone(),
            asset: asset.clone(),
            amount: amount.clone(),
        },
        Say::Halt { instrument } => Verb::Halt {
            instrument: instrument.clone(),
        },
        Say::Resume { instrument } => Verb::Resume {
            instrument: instrument.clone(),
        },
        Say::Kill { session } => Verb::Kill {
            session: session.clone(),
        },
        Say::Revive { session } => Verb::Revive {
            session: session.clone(),
        },
    };
    let answer = Client::connect(&socket)?.call(&verb)?;
    if args.json {
        println!("{answer}");
    } else {
        print_lines("", &answer);
    }
    Ok(())
}

/// Every leaf on a line of its own: `ring.slots  1048576`.
fn print_lines(path: &str, value: &Value) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(fields) => {
            for (key, value) in fields
                .iter()
                .filter(|(key, _)| !path.is_empty() || *key != "ok")
            {
                print_lines(&below(key), value);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                // What has a name goes by it.
                let key = ["name", "symbol"].iter().find_map(|key| item[key].as_str());
                print_lines(&below(key.unwrap_or(&index.to_string())), item);
            }
        }
        Value::Null => println!("{path}  -"),
        Value::String(text) => println!("{path}  {text}"),
        other => println!("{path}  {other}"),
    }
}
