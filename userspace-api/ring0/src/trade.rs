//! `ring0 trade`: single orders by hand, and what the venue answers.

use crate::fail::Fail;
use ring0_market::{Instrument, Market};
use ring0_trader::{
    Ack, Locate, Order, Outcome, Peg, Price, Reference, Rejection, SelfTrade, Shares, Side, Trader,
    UdpTransport,
};
use ring0d::{BookSide, Prevention};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The market's file; the session's key file must be readable.
    #[arg(long, value_name = "FILE", global = true)]
    market: Option<PathBuf>,
    /// Name of the session.
    #[arg(long, value_name = "NAME", global = true)]
    session: Option<String>,
    /// Address and UDP port of the shard, for instance 10.77.0.1:9000.
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    to: Option<SocketAddr>,
    /// Network namespace to send from.
    #[arg(long, value_name = "NS", global = true)]
    netns: Option<String>,
    /// One JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    order: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Buy.
    Buy(Enter),
    /// Sell.
    Sell(Enter),
    /// Put new terms in the place of a live order.
    Replace {
        /// Symbol, or locate.
        instrument: String,
        /// Reference of the order.
        reference: u32,
        /// Shares.
        shares: u32,
        /// Price in price units.
        price: String,
    },
    /// Take a quantity off a live order.
    Reduce {
        /// Symbol, or locate.
        instrument: String,
        /// Reference of the order.
        reference: u32,
        /// Shares.
        shares: u32,
    },
    /// Take a live order away.
    Cancel {
        /// Symbol, or locate.
        instrument: String,
        /// Reference of the order.
        reference: u32,
    },
    /// Take all orders of the session away, or of all sessions of its account.
    MassCancel {
        /// Only of this instrument.
        instrument: Option<String>,
        /// Of all sessions of the account.
        #[arg(long)]
        account: bool,
        /// Only of this side.
        #[arg(long, value_enum, default_value = "both")]
        side: BookSide,
        /// And trade no more until the operator revives the session, or the account.
        #[arg(long)]
        kill: bool,
    },
    /// Say that the session is there.
    Heartbeat,
}

#[derive(clap::Args)]
struct Enter {
    /// Symbol, or locate.
    instrument: String,
    /// Shares.
    shares: u32,
    /// Limit in price units, for instance 60000.5; of a market order its protection.
    price: String,
    /// What does not trade at once is cancelled.
    #[arg(long, conflicts_with_all = ["fok", "gtc", "until"])]
    ioc: bool,
    /// All at once or nothing.
    #[arg(long, conflicts_with_all = ["gtc", "until"])]
    fok: bool,
    /// Lasts beyond the day, until it is cancelled.
    #[arg(long, conflicts_with = "until")]
    gtc: bool,
    /// Lasts until this time of the venue's day: hours:minutes:seconds.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Rejected where it would trade at once.
    #[arg(long, conflicts_with_all = ["ioc", "fok", "at_market"])]
    post_only: bool,
    /// Where it would trade at once its price is moved behind the other side's best.
    #[arg(long, conflicts_with_all = ["post_only", "ioc", "fok", "at_market"])]
    slide: bool,
    /// A market order.
    #[arg(long = "market-order")]
    at_market: bool,
    /// Least shares to be filled at entry, else it is rejected.
    #[arg(long, value_name = "SHARES")]
    minimum: Option<u32>,
    /// An iceberg: so many shares are displayed at a time.
    #[arg(long, value_name = "SHARES", conflicts_with = "hidden")]
    display: Option<u32>,
    /// Rests without being displayed.
    #[arg(long)]
    hidden: bool,
    /// A stop: waits until a trade reaches this price.
    #[arg(long, value_name = "PRICE")]
    trigger: Option<String>,
    /// Its price follows the market; the price given is its limit.
    #[arg(long, value_enum)]
    peg: Option<PegTo>,
    /// Ticks that a peg is nearer to the other side; negative: farther.
    #[arg(
        long,
        value_name = "TICKS",
        requires = "peg",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    offset: i8,
    /// What happens where it would trade with an order of its own account; without it what the account is set up for.
    #[arg(long, value_enum, value_name = "RULE")]
    self_trade: Option<Prevention>,
    /// Count all accounts with this trade group as its own; it must be the account's.
    #[arg(long, value_name = "GROUP")]
    trade_group: Option<u16>,
}

/// See [`Enter::peg`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum PegTo {
    /// The best displayed price of its own side.
    Primary,
    /// The middle between the best displayed prices.
    Midpoint,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let missing = |name| {
        Fail::new(format!(
            "--{name} is missing; `ring0 trade --help` shows an order whole"
        ))
    };
    let market = Market::load(args.market.as_ref().ok_or_else(|| missing("market"))?)?;
    let name = args.session.as_ref().ok_or_else(|| missing("session"))?;
    let to = args.to.ok_or_else(|| missing("to"))?;
    let session = market.session(name).ok_or_else(|| {
        let names: Vec<&str> = market
            .plan
            .sessions
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        Fail::new(format!(
            "there is no session {name:?}; name one of: {}",
            names.join(", ")
        ))
    })?;
    let order = order(&args.order, &market.plan.instruments)?;
    let transport = match &args.netns {
        Some(netns) => ring0_lab::in_netns(netns, || UdpTransport::connect(to))??,
        None => UdpTransport::connect(to)?,
    };
    let mut trader = Trader::new(session.clone(), transport);
    trader.adopt()?;
    let Some(order) = order else {
        let sent = trader.heartbeat()?;
        while trader.unanswered() != 0 {
            trader.poll(Duration::from_secs(1), &mut Vec::new())?;
        }
        if args.json {
            println!(
                "{}",
                json!({ "heartbeat": sent.sequence, "next": sent.next })
            );
        } else {
            println!(
                "heartbeat {} answered; the next sequence is {}",
                sent.sequence, sent.next
            );
        }
        return Ok(());
    };
    let acks = trader.submit(&[order])?;
    for ack in &acks {
        print(ack, args.json);
    }
    Ok(())
}

fn print(ack: &Ack, as_json: bool) {
    let outcome = match ack.outcome {
        Outcome::Accepted => "accepted",
        Outcome::Rejected => "rejected",
        Outcome::Continues => "continues",
        Outcome::Forgotten => "forgotten",
    };
    let reason = ack.reason();
    let name = reason.map_or("unknown to this version", |reason| reason.name());
    let help = reason.map_or("", |reason| reason.help().trim());
    if as_json {
        println!(
            "{}",
            json!({
                "outcome": outcome,
                "reason": name,
                "help": help,
                "reference": ack.reference.0,
                "quantity": if ack.port().is_some() { 0 } else { ack.quantity },
                "port": ack.port(),
                "sequence": ack.sequence,
                "venue_sequence": ack.venue_sequence,
            })
        );
        return;
    }
    if let Err(rejection @ Rejection::WrongShard { .. }) = ack.accepted() {
        println!(
            "{outcome}  reference {}  venue sequence {}  {name}: {rejection}",
            ack.reference.0, ack.venue_sequence
        );
        return;
    }
    print!(
        "{outcome}  reference {}  quantity {}  venue sequence {}",
        ack.reference.0, ack.quantity, ack.venue_sequence
    );
    if ack.reason_number == 0 {
        println!();
    } else {
        println!("  {name}: {help}");
    }
}

/// The message; `None` for a heartbeat.
fn order(what: &What, instruments: &[Instrument]) -> Result<Option<Order>, Fail> {
    Ok(Some(match what {
        What::Buy(enter) => entered(Side::Buy, enter, instruments)?,
        What::Sell(enter) => entered(Side::Sell, enter, instruments)?,
        What::Replace {
            instrument,
            reference,
            shares,
            price,
        } => Order::replace(
            locate(instrument, instruments)?,
            Reference(*reference),
            Shares(*shares),
            wire_price(price)?,
        ),
        What::Reduce {
            instrument,
            reference,
            shares,
        } => Order::reduce(
            locate(instrument, instruments)?,
            Reference(*reference),
            Shares(*shares),
        ),
        What::Cancel {
            instrument,
            reference,
        } => Order::cancel(locate(instrument, instruments)?, Reference(*reference)),
        What::MassCancel {
            instrument: Some(_),
            kill: true,
            ..
        } => {
            return Err(Fail::new(
                "a kill is of the whole session or account; leave the instrument out",
            ));
        }
        What::MassCancel {
            instrument,
            account,
            side,
            kill,
        } => {
            let mut order = match instrument {
                Some(instrument) => Order::mass_cancel(Some(locate(instrument, instruments)?)),
                None if *kill => Order::kill(),
                None => Order::mass_cancel(None),
            };
            if *account {
                order = order.of_account();
            }
            match side {
                BookSide::Buy => order.only(Side::Buy),
                BookSide::Sell => order.only(Side::Sell),
                BookSide::Both => order,
            }
        }
        What::Heartbeat => return Ok(None),
    }))
}

fn entered(side: Side, enter: &Enter, instruments: &[Instrument]) -> Result<Order, Fail> {
    let locate = locate(&enter.instrument, instruments)?;
    let mut order = Order::limit(
        side,
        locate,
        Shares(enter.shares),
        wire_price(&enter.price)?,
    );
    if enter.ioc {
        order = order.immediate();
    }
    if enter.fok {
        order = order.fill_or_kill();
    }
    if enter.post_only {
        order = order.post_only();
    }
    if enter.at_market {
        order = order.market();
    }
    if enter.gtc {
        order = order.good_till_cancel();
    }
    if let Some(time) = &enter.until {
        order = order.good_till(second_of_day(time)?);
    }
    if enter.slide {
        order = order.slide();
    }
    if let Some(shares) = enter.minimum {
        order = order.at_least(Shares(shares));
    }
    if let Some(shares) = enter.display {
        order = order.iceberg(Shares(shares));
    }
    if enter.hidden {
        order = order.hidden();
    }
    if let Some(trigger) = &enter.trigger {
        order = order.stop(wire_price(trigger)?);
    }
    if let Some(peg) = enter.peg {
        let peg = match peg {
            PegTo::Primary => Peg::Primary,
            PegTo::Midpoint => Peg::Midpoint,
        };
        order = order.peg(peg, enter.offset);
    }
    if let Some(rule) = enter.self_trade {
        order = order.self_trade(match rule {
            Prevention::None => {
                return Err(Fail::new(
                    "an order can only ask for more than its account is set up for; leave --self-trade out",
                ));
            }
            Prevention::CancelNewest => SelfTrade::CancelNewest,
            Prevention::CancelOldest => SelfTrade::CancelOldest,
            Prevention::CancelBoth => SelfTrade::CancelBoth,
            Prevention::Decrement => SelfTrade::DecrementAndCancel,
        });
    }
    if let Some(group) = enter.trade_group {
        order = order.trade_group(group);
    }
    Ok(order)
}

/// Second of the day of `hours:minutes:seconds`.
fn second_of_day(text: &str) -> Result<u32, Fail> {
    let time = ring0_market::time_of_day(text).map(|nanoseconds| nanoseconds / 1_000_000_000);
    time.filter(|second| (1..86_400).contains(second))
        .map(|second| second as u32)
        .ok_or_else(|| {
            Fail::new(format!(
                "{text:?} is no time of the day; write it as 17:30:00, from 00:00:01 to 23:59:59"
            ))
        })
}

/// A symbol, or a number: any locate, also one that is not listed.
fn locate(text: &str, instruments: &[Instrument]) -> Result<Locate, Fail> {
    if let Some(index) = instruments.iter().position(|one| one.symbol == text) {
        return Ok(Locate(index as u16 + 1));
    }
    text.parse().map(Locate).map_err(|_| {
        let symbols: Vec<&str> = instruments
            .iter()
            .take(16)
            .map(|one| one.symbol.as_str())
            .collect();
        Fail::new(format!(
            "there is no instrument {text:?}; name one of: {}",
            symbols.join(", ")
        ))
    })
}

/// Price units to Price(4), exact.
fn wire_price(text: &str) -> Result<Price, Fail> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<4}");
    let good = !whole.is_empty()
        && fraction.len() <= 4
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| digits.parse().ok()).flatten().map(Price).ok_or_else(|| {
        Fail::new(format!("{text:?} is no price; write it as 60000 or 60000.5, at most four decimal places, below 429496"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact() {
        for (text, wire) in [
            ("1", 10_000),
            ("60000.5", 600_005_000),
            ("0.0001", 1),
            ("429496.7295", u32::MAX),
        ] {
            assert_eq!(
                wire_price(text).map_err(|fail| fail.to_string()),
                Ok(Price(wire))
            );
        }
        for bad in ["", ".5", "1.00001", "-1", "429496.7296", "1e3", "1.2.3"] {
            assert!(wire_price(bad).is_err(), "{bad}");
        }
    }
}
