//! `ring0 trade`: single orders by hand, and what the venue answers.

use crate::fail::Fail;
use ring0_market::{Instrument, Market};
use ring0_trader::{
    Ack, Locate, Order, Outcome, Price, Reference, Shares, Side, Trader, UdpTransport,
};
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
    /// Take all orders of the session away.
    MassCancel {
        /// Only of this instrument.
        instrument: Option<String>,
        /// And trade no more until the operator revives the session.
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
    #[arg(long, conflicts_with = "fok")]
    ioc: bool,
    /// All at once or nothing.
    #[arg(long)]
    fok: bool,
    /// Rejected where it would trade at once.
    #[arg(long, conflicts_with_all = ["ioc", "fok", "at_market"])]
    post_only: bool,
    /// A market order.
    #[arg(long = "market-order")]
    at_market: bool,
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
                "quantity": ack.quantity,
                "sequence": ack.sequence,
                "venue_sequence": ack.venue_sequence,
            })
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
        } => {
            return Err(Fail::new(
                "a kill is of the whole session; leave the instrument out",
            ));
        }
        What::MassCancel { instrument, kill } => match instrument {
            Some(instrument) => Order::mass_cancel(Some(locate(instrument, instruments)?)),
            None if *kill => Order::kill(),
            None => Order::mass_cancel(None),
        },
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
    Ok(order)
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
