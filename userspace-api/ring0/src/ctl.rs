//! `ring0 ctl`: the operator's words to a running daemon.

use crate::fail::Fail;
use ring0_mq::Records;
use ring0d::{Afterwards, BookSide, Client, MarketState, Prevention, Trade, Verb, operator_socket};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a transfer is waited for; what is in flight then comes in as soon as the other shard's daemon is there.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(3);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", global = true, conflicts_with = "market")]
    socket: Option<PathBuf>,
    /// The market's file, of one with several shards also which: its daemon's default socket.
    #[arg(long, value_name = "FILE[#SHARD]", global = true)]
    market: Option<PathBuf>,
    /// The daemon's answer as it is, one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    say: Say,
}

#[derive(Clone, clap::Subcommand)]
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
    /// Move an amount of an account to another shard of the venue, and wait until it has come in there.
    Transfer {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units.
        amount: String,
        /// Name of the other shard, or of the rail: then it is a withdrawal.
        #[arg(long, value_name = "SHARD|RAIL")]
        to: String,
    },
    /// Open an account that the market file does not have.
    OpenAccount {
        /// Its number behind #, below the shard's capacity.
        #[arg(value_name = "#N")]
        account: String,
    },
    /// Grant a session to an account, agreed with a trader's session key; prints what the trader needs.
    Grant {
        /// Account name, or # and its number.
        account: String,
        /// The trader's session key: a compressed secp256k1 point, 66 hexadecimal digits.
        #[arg(long, value_name = "HEX")]
        public_key: String,
        /// The trader's nonce, 32 hexadecimal digits.
        #[arg(long, value_name = "HEX")]
        nonce: String,
        /// Second of Unix time at which it ends for new orders.
        #[arg(long, value_name = "SECOND")]
        expires: Option<u64>,
        /// Seconds without a packet after which its orders are cancelled; 0: they stay.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        cancel_on_disconnect: u32,
    },
    /// End a session that was granted at run time: its key is gone at once and its orders are cancelled.
    Revoke {
        /// Its number behind #.
        #[arg(value_name = "#N")]
        session: String,
        /// Its id.
        id: String,
    },
    /// Make a new agreement key for sessions that are granted from now on.
    RenewAgreement,
    /// Halt every instrument that is traded in an asset or paid in it; cancels work.
    HaltAsset {
        /// Asset name.
        asset: String,
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
    /// Limit the orders of an account and its message rate; what is left out has no limit.
    Risk {
        /// Account name.
        account: String,
        /// Most live orders.
        #[arg(long, value_name = "N")]
        orders: Option<u32>,
        /// Most shares in one order.
        #[arg(long, value_name = "N")]
        shares: Option<u32>,
        /// Largest price times quantity of one order, in whole units of the asset it is paid in.
        #[arg(long, num_args = 2, value_names = ["ASSET", "AMOUNT"])]
        notional: Option<Vec<String>>,
        /// Messages a second of all its sessions together, tag blocks counted, and how many of them at once, at least 69.
        #[arg(long, num_args = 2, value_names = ["PER_SECOND", "BURST"])]
        rate: Option<Vec<u32>>,
    },
    /// Say what happens where orders of one account would trade with each other and do not say it themselves.
    SelfTrade {
        /// Account name.
        account: String,
        /// What happens.
        #[arg(value_enum)]
        mode: Prevention,
        /// Trade group of the account: orders may count all accounts of their group as one.
        #[arg(default_value_t = 0)]
        group: u16,
    },
    /// Move the shard in the kernel to the capacity of another market file while its clients go on.
    Migrate {
        /// The file: the running market's with a larger [shard.capacity].
        #[arg(value_name = "FILE[#SHARD]")]
        to: PathBuf,
        /// Folder of the next journal, made or empty: the state is written there, and `ring0 record --journal` goes on from it.
        #[arg(long, value_name = "DIR")]
        journal: Option<PathBuf>,
        /// Another program object than the daemon's own.
        #[arg(long, value_name = "FILE")]
        object: Option<PathBuf>,
    },
    /// Compare a market file (or a venue's) with the running shard, and sequence what differs: all of it or nothing. Exit status 3: something in it
    /// cannot be changed in place, which is printed with the way that there is.
    Apply {
        /// The file.
        #[arg(value_name = "FILE[#SHARD]")]
        file: PathBuf,
        /// Only print what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Change the state of an instrument's market.
    State {
        /// Symbol.
        instrument: String,
        /// The state.
        #[arg(value_enum)]
        state: MarketState,
    },
    /// End the call of an instrument and carry its auction out, at the price at which most trades.
    Auction {
        /// Symbol.
        instrument: String,
        /// State afterwards [default: closed after a closing auction, else continuous].
        #[arg(long, value_enum)]
        then: Option<Afterwards>,
        /// Begin with this price, in price units.
        #[arg(long)]
        price: Option<String>,
    },
    /// Set price limits of a closed or halted instrument; what is left out stays as it is.
    Bands {
        /// Symbol.
        instrument: String,
        /// Lowest and highest price that an order may ask, in price units; 0 0: the whole ladder.
        #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"])]
        band: Option<Vec<String>>,
        /// Farthest from the last trade that a limit order may ask; 0: no limit.
        #[arg(long, value_name = "TICKS")]
        dynamic: Option<u32>,
        /// Farthest beyond the best price of the other side that a limit order may ask; 0: no limit.
        #[arg(long, value_name = "TICKS")]
        fat: Option<u32>,
        /// A trade farther than this from the last auction pauses trading; 0: never.
        #[arg(long, value_name = "TICKS")]
        pause: Option<u32>,
        /// What counts as the last trade, and as the last auction, before there is one, in price units; 0: nothing.
        #[arg(long, value_name = "PRICE")]
        reference: Option<String>,
    },
    /// Cancel all orders of an instrument.
    Clear {
        /// Symbol.
        instrument: String,
        /// Only of this side.
        #[arg(value_enum)]
        side: Option<BookSide>,
    },
    /// Close every instrument, or one, and take away the orders that do not last beyond the day.
    CloseDay {
        /// Symbol.
        instrument: Option<String>,
    },
    /// Open a day; every instrument must be closed.
    OpenDay {
        /// Its number, above the last one [default: one more].
        #[arg(long)]
        day: Option<u32>,
        /// Venue time of its midnight, hours:minutes:seconds; hours may pass 24 [default: the present day's, UTC].
        #[arg(long, value_name = "TIME")]
        midnight: Option<String>,
        /// MoldUDP64 session of its public feed, ten letters and digits [default: the day's number].
        #[arg(long, value_name = "ID")]
        feed_session: Option<String>,
    },
    /// Take away all orders of a closed instrument, and its listing.
    Delist {
        /// Symbol.
        instrument: String,
    },
    /// List an instrument of the market file that is not listed; the daemon reads the file anew.
    List {
        /// Symbol.
        instrument: String,
    },
    /// Move the ladder of a closed or halted instrument; orders off the new one go.
    MoveLadder {
        /// Symbol.
        instrument: String,
        /// Lowest price, in price units.
        lowest: String,
        /// Number of prices.
        prices: u32,
    },
    /// Take a trade back, with its fees.
    Bust {
        /// Its match number: the sequence of its record.
        trade: u64,
        /// The recording, when the trade is not in the record ring any more.
        #[arg(long, value_name = "FILE")]
        records: Option<PathBuf>,
    },
    /// Stop an instrument, or without one the shard.
    Halt {
        /// Symbol.
        instrument: Option<String>,
    },
    /// Lift a halt: an instrument then trades continuously.
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
    /// Cancel all orders of an account, in all its sessions, and let it send no more.
    KillAccount {
        /// Account name.
        account: String,
    },
    /// Lift a kill of an account.
    ReviveAccount {
        /// Account name.
        account: String,
    },
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let applied = match &args.say {
        Say::Apply { file, .. } => Some(file),
        _ => None,
    };
    let socket = match (&args.socket, args.market.as_ref().or(applied)) {
        (Some(socket), _) => socket.clone(),
        (None, Some(market)) => operator_socket(market).map_err(Fail::new)?,
        (None, None) => {
            return Err(Fail::new(
                "which daemon? give --market FILE or --socket PATH",
            ));
        }
    };
    let verb = verb(&args.say)?;
    let applies = matches!(verb, Verb::Apply { .. });
    let mut client = Client::connect(&socket)?;
    let mut answer = client.call(&verb)?;
    if let Verb::Transfer { account, .. } = &verb {
        answer["in_flight"] = landed(&mut client, account)?;
    }
    if args.json {
        println!("{answer}");
    } else if applies {
        print_changes(&answer);
    } else {
        print_lines("", &answer);
    }
    match answer["refused"].as_u64() {
        Some(refused) if applies && refused != 0 => Err(Fail::disagreed(format!(
            "{refused} of the changes cannot be made in place; nothing was changed"
        ))),
        _ => Ok(()),
    }
}

/// What an applied file has changed, a line each.
fn print_changes(answer: &Value) {
    let changes = answer["changes"].as_array();
    for change in changes.into_iter().flatten() {
        let text = |key: &str| match change[key].as_str() {
            None | Some("") => "-".to_owned(),
            Some(text) => text.to_owned(),
        };
        println!(
            "{}  {}: {} -> {}",
            text("how"),
            text("what"),
            text("from"),
            text("to")
        );
        if let Some(why) = change["why"].as_str() {
            println!("  {why}");
        }
    }
    if changes.is_none_or(Vec::is_empty) {
        println!("the shard is as the file says");
    }
}

/// Waits until nothing of the account is in flight any more; gives what still is when patience ends.
fn landed(client: &mut Client, account: &str) -> Result<Value, Fail> {
    let end = Instant::now() + TRANSFER_PATIENCE;
    loop {
        let accounts = client.call(&Verb::Accounts)?;
        let known = accounts["accounts"].as_array();
        let own = known.and_then(|all| all.iter().find(|one| one["name"] == account));
        let in_flight = own.map_or(Value::Null, |one| one["in_flight"].clone());
        if in_flight.is_null() || Instant::now() >= end {
            return Ok(in_flight);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The words as the daemon takes them.
fn verb(say: &Say) -> Result<Verb, Fail> {
    Ok(match say.clone() {
        Say::Status { hash } => Verb::Status { hash },
        Say::Accounts => Verb::Accounts,
        Say::Migrate {
            to,
            journal,
            object,
        } => {
            // The daemon has a folder of its own.
            let absolute = |path: PathBuf| {
                std::path::absolute(&path)
                    .map_err(|error| Fail::new(format!("{}: {error}", path.display())))
            };
            Verb::Migrate {
                market: absolute(to)?,
                journal: journal.map(absolute).transpose()?,
                object: object.map(absolute).transpose()?,
            }
        }
        Say::Deposit {
            account,
            asset,
            amount,
        } => Verb::Deposit {
            account,
            asset,
            amount,
        },
        Say::Withdraw {
            account,
            asset,
            amount,
        } => Verb::Withdraw {
            account,
            asset,
            amount,
        },
        Say::Transfer {
            account,
            asset,
            amount,
            to,
        } => Verb::Transfer {
            account,
            asset,
            amount,
            to,
            number: None,
        },
        Say::OpenAccount { account } => Verb::OpenAccount { account },
        Say::Grant {
            account,
            public_key,
            nonce,
            expires,
            cancel_on_disconnect,
        } => Verb::Grant(ring0d::Grant {
            account,
            public_key,
            nonce,
            expires_s: expires,
            answers: None,
            references: None,
            rate: None,
            orders: None,
            shares: None,
            notional: None,
            cancel_on_disconnect_s: cancel_on_disconnect,
        }),
        Say::Revoke { session, id } => Verb::Revoke { session, id },
        Say::RenewAgreement => Verb::RenewAgreement,
        Say::HaltAsset { asset } => Verb::HaltAsset { asset },
        Say::Limit {
            account,
            asset,
            amount,
        } => Verb::Limit {
            account,
            asset,
            amount,
        },
        Say::Risk {
            account,
            orders,
            shares,
            notional,
            rate,
        } => Verb::Risk {
            account,
            orders,
            shares,
            notional: notional.and_then(pair),
            rate: rate.and_then(pair),
        },
        Say::SelfTrade {
            account,
            mode,
            group,
        } => Verb::SelfTrade {
            account,
            mode,
            group,
        },
        Say::Apply { file, dry_run } => Verb::Apply {
            market: std::path::absolute(&file)
                .map_err(|error| Fail::new(format!("{}: {error}", file.display())))?,
            dry_run,
        },
        Say::State { instrument, state } => Verb::State { instrument, state },
        Say::Auction {
            instrument,
            then,
            price,
        } => Verb::Auction {
            instrument,
            then,
            price,
        },
        Say::Bands {
            instrument,
            band,
            dynamic,
            fat,
            pause,
            reference,
        } => Verb::Bands {
            instrument,
            band: band.and_then(pair),
            dynamic,
            fat,
            pause,
            reference,
        },
        Say::Clear { instrument, side } => Verb::Clear { instrument, side },
        Say::CloseDay { instrument } => Verb::CloseDay { instrument },
        Say::OpenDay {
            day,
            midnight,
            feed_session,
        } => Verb::OpenDay {
            day,
            midnight,
            feed_session,
        },
        Say::Delist { instrument } => Verb::Delist { instrument },
        Say::List { instrument } => Verb::List { instrument },
        Say::MoveLadder {
            instrument,
            lowest,
            prices,
        } => Verb::MoveLadder {
            instrument,
            lowest,
            prices,
        },
        Say::Bust { trade, records } => Verb::Bust {
            trade,
            terms: match records {
                Some(file) => Some(recorded_trade(&file, trade)?),
                None => None,
            },
        },
        Say::Halt { instrument } => Verb::Halt { instrument },
        Say::Resume { instrument } => Verb::Resume { instrument },
        Say::Kill { session } => Verb::Kill { session },
        Say::Revive { session } => Verb::Revive { session },
        Say::KillAccount { account } => Verb::KillAccount { account },
        Say::ReviveAccount { account } => Verb::ReviveAccount { account },
    })
}

/// Two values of one argument.
fn pair<T>(values: Vec<T>) -> Option<(T, T)> {
    <[T; 2]>::try_from(values).ok().map(Into::into)
}

/// What a recording says of a trade, and that it was not taken back as far as the recording goes.
fn recorded_trade(file: &Path, trade: u64) -> Result<Trade, Fail> {
    use ring0_engine::control::{Bust, Control, ControlKind};
    use ring0_engine::record::{ControlRecord, Head, Kind, Outcome};
    use zerocopy::{FromBytes, FromZeros};
    let name = file.display();
    let mut records = Records::open(file)?;
    let (mut record, mut found) = (Vec::new(), None);
    while records.next_into(&mut record)? {
        let Ok((head, _)) = Head::read_from_prefix(&record) else {
            continue;
        };
        if head.sequence == trade {
            let terms = Trade::of_record(&record);
            found = Some(terms.ok_or_else(|| Fail::new(format!("record {trade} is no trade")))?);
        } else if found.is_some() && head.kind == Kind::Control as u16 {
            let Ok((control, _)) = ControlRecord::read_from_prefix(&record) else {
                continue;
            };
            let mut command = Control::new_zeroed();
            command.body = control.body;
            if control.kind == ControlKind::Bust as u32
                && control.outcome == Outcome::Accepted as u8
                && command.body::<Bust>().trade == trade
            {
                return Err(Fail::new(format!(
                    "{name}: trade {trade} was taken back already, in record {}",
                    head.sequence
                )));
            }
        }
    }
    found.ok_or_else(|| Fail::new(format!("{name}: there is no record {trade} in it")))
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
