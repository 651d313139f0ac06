//! `ring0 feed listen`: a subscriber with its books, on the terminal.

use super::{Lines, Until};
use crate::fail::Fail;
use ring0_feed::{Listener, SubscribeOptions, Subscriber};
use ring0_itch::book::{Books, Quote, Side};
use ring0_itch::itch::Message;
use ring0_itch::mold::Session;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lines: Lines,
    /// The feed's re-request server.
    #[arg(long, value_name = "ADDRESS:PORT")]
    requests: Option<SocketAddr>,
    /// The feed's GLIMPSE server: begin with a snapshot. Without it: with the session's first message.
    #[arg(long, value_name = "ADDRESS:PORT")]
    glimpse: Option<SocketAddr>,
    /// Only these symbols.
    #[arg(long, value_name = "SYMBOL")]
    symbol: Vec<String>,
    /// Levels of each side.
    #[arg(long, value_name = "N", default_value_t = 5)]
    levels: usize,
    /// Milliseconds between two pictures.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    #[command(flatten)]
    until: Until,
    /// One JSON object a picture, each on a line.
    #[arg(long)]
    json: bool,
}

/// What is known from the feed.
struct Market {
    session: Option<Session>,
    books: Books,
    /// Contradictions of the sessions before.
    contradictions: u64,
}

impl Listener for Market {
    fn begin(&mut self, session: Session) {
        self.contradictions += self.books.inconsistencies().total();
        self.session = Some(session);
        self.books = Books::new();
    }

    fn message(&mut self, _: u64, message: &[u8]) {
        // What cannot be read is of a later edition, or nothing: the length is the framing's.
        if let Ok(message) = Message::read(message) {
            self.books.apply(&message);
        }
    }

    fn end(&mut self, _: Session) {}
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let mut stop = args.until.begin();
    let mut options = SubscribeOptions::new(args.lines.all());
    options.requests = args.requests;
    options.glimpse = args.glimpse;
    // A snapshot is taken by a thread of the one that listens: both must be where the servers are.
    args.lines.inside(|| listen(args, options, &mut stop))?
}

fn listen(
    args: &Args,
    options: SubscribeOptions,
    stop: &mut (dyn FnMut() -> bool + Send),
) -> Result<(), Fail> {
    let mut subscriber = Subscriber::open(options)?;
    let mut market = Market {
        session: None,
        books: Books::new(),
        contradictions: 0,
    };
    let every = Duration::from_millis(args.every);
    let mut shown = Instant::now();
    loop {
        let stopping = stop();
        subscriber.poll(Duration::from_millis(2), &mut market)?;
        if stopping || shown.elapsed() >= every {
            shown = Instant::now();
            show(args, &market, &subscriber)?;
        }
        if stopping {
            break;
        }
    }
    let contradictions = market.contradictions + market.books.inconsistencies().total();
    if contradictions != 0 {
        return Err(Fail::disagreed(format!(
            "{contradictions} messages contradict the book that the feed has built: {:?}",
            market.books.inconsistencies()
        )));
    }
    Ok(())
}

fn show(args: &Args, market: &Market, subscriber: &Subscriber) -> Result<(), Fail> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", picture(args, market, subscriber))?;
    } else {
        let text = text(args, market, subscriber);
        if out.is_terminal() {
            // Home, and clear what is below.
            write!(out, "\x1b[H\x1b[J{text}")?;
        } else {
            writeln!(out, "{text}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Instruments to be shown: locate, symbol, state.
fn shown<'a>(args: &'a Args, market: &'a Market) -> impl Iterator<Item = (u16, String, char)> + 'a {
    let instruments = market
        .books
        .instruments()
        .filter(|(locate, _)| *locate != 0);
    instruments
        .map(|(locate, it)| {
            (
                locate,
                it.stock.to_string(),
                char::from(it.state.unwrap_or(b' ')),
            )
        })
        .filter(|(_, symbol, _)| args.symbol.is_empty() || args.symbol.contains(symbol))
}

fn picture(args: &Args, market: &Market, subscriber: &Subscriber) -> Value {
    let quotes = |locate, side| -> Value {
        let levels = market.books.levels(locate, side).take(args.levels);
        let quote = |it: Quote| json!({ "price": price(it.price), "shares": it.shares, "orders": it.orders });
        levels.map(quote).collect()
    };
    let instrument = |(locate, symbol, state): (u16, String, char)| {
        json!({
            "locate": locate,
            "symbol": symbol,
            "state": state.to_string(),
            "bids": quotes(locate, Side::Bid),
            "asks": quotes(locate, Side::Ask),
        })
    };
    let trades = market.books.trades();
    let heard: Map<String, Value> = subscriber
        .heard()
        .named()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect();
    json!({
        "session": market.session.map(|it| it.to_string()),
        "next_message": subscriber.arbiter().next(),
        "whole": subscriber.arbiter().is_whole(),
        "event": market.books.event().map(|it| char::from(it).to_string()),
        "orders": market.books.live(),
        "instruments": shown(args, market).map(instrument).collect::<Value>(),
        "trades": {
            "executions": trades.executions,
            "executed_shares": trades.executed_shares,
            "hidden": trades.hidden,
            "crosses": trades.crosses,
            "cross_shares": trades.cross_shares,
            "broken": trades.broken,
        },
        "contradictions": market.contradictions + market.books.inconsistencies().total(),
        "heard": heard,
    })
}

fn text(args: &Args, market: &Market, subscriber: &Subscriber) -> String {
    let mut text = String::new();
    let heard = subscriber.heard();
    let session = market
        .session
        .map_or("none yet".to_owned(), |it| it.to_string());
    let trades = market.books.trades();
    // Writing into a string does not fail.
    let _ = writeln!(
        text,
        "session {session}, message {}, {} orders, {} executions, {} gaps, {} recovered, {} snapshots",
        subscriber.arbiter().next() - 1,
        market.books.live(),
        trades.executions + trades.hidden,
        heard.gaps,
        heard.recovered,
        heard.snapshots
    );
    for (locate, symbol, state) in shown(args, market) {
        let _ = writeln!(text, "\n{symbol:8} {state}{:>21}   {:<21}", "bid", "ask");
        let side = |side| {
            market
                .books
                .levels(locate, side)
                .take(args.levels)
                .collect::<Vec<_>>()
        };
        let (bids, asks) = (side(Side::Bid), side(Side::Ask));
        for level in 0..bids.len().max(asks.len()) {
            let bid = bids
                .get(level)
                .map(|it| format!("{} {:>12}", it.shares, price(it.price)));
            let ask = asks
                .get(level)
                .map(|it| format!("{:<12} {}", price(it.price), it.shares));
            let (bid, ask) = (bid.unwrap_or_default(), ask.unwrap_or_default());
            let _ = writeln!(text, "{bid:>31}   {ask}");
        }
    }
    text
}

/// A wire price in price units, exact.
fn price(wire: u32) -> String {
    format!("{}.{:04}", wire / 10_000, wire % 10_000)
}
