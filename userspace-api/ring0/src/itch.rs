//! `ring0 itch`: what a file of ITCH 5.0 says.

use crate::fail::Fail;
use ring0_itch::binary_file::Reader;
use ring0_itch::book::{Books, Instrument, Quote};
use ring0_itch::itch::Message;
use ring0_stream::lobstrm::Stream;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// First bytes of a gzip file.
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A BinaryFILE: each message behind its length in two bytes. Not compressed.
    file: PathBuf,
    /// The LOBSTRM1 stream from which the file was derived: compare trades, quantity and live orders with its header.
    #[arg(long, value_name = "STREAM")]
    verify_lobstrm: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let (by_letter, decode) = count(args)?;
    let (books, build) = build(args)?;
    let messages: u64 = by_letter.iter().sum();
    let per_message = |time: Duration| {
        let ns = time.as_nanos() as f64 / messages.max(1) as f64;
        (ns * 10.0).round() / 10.0
    };
    let letters = (0_u8..=255).zip(by_letter).filter(|(_, count)| *count > 0);
    let letters: Map<String, Value> = letters
        .map(|(letter, count)| (letter.escape_ascii().to_string(), count.into()))
        .collect();
    let trades = books.trades();
    let mut wrong = Vec::new();
    let verified = match &args.verify_lobstrm {
        Some(stream) => Some(verify(
            &Stream::read(stream).map_err(Fail::new)?,
            &books,
            &mut wrong,
        )),
        None => None,
    };
    let report = json!({
        "file": args.file,
        "messages": messages,
        "by_type": letters,
        "decode_ns_per_message": per_message(decode),
        "decode_and_build_ns_per_message": per_message(build),
        "live_orders": books.live(),
        "last_event": books.event().map(letter),
        "trades": {
            "executions": trades.executions,
            "executed_shares": trades.executed_shares,
            "not_printable": trades.not_printable,
            "hidden": trades.hidden,
            "hidden_shares": trades.hidden_shares,
            "crosses": trades.crosses,
            "cross_shares": trades.cross_shares,
            "broken": trades.broken,
        },
        "inconsistencies": books.inconsistencies().named().into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect::<Map<String, Value>>(),
        "verified": verified,
        "books": books.instruments().map(|(locate, it)| book(&books, locate, it)).collect::<Vec<_>>(),
    });
    let text = if args.json {
        format!("{report}\n")
    } else {
        text(&report, &books).map_err(Fail::new)?
    };
    // Thousands of instruments are read through `head`: a reader that has seen enough is no failure.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        done => done?,
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Fail::disagreed(format!(
        "{}: {}; the file is not of this stream, or is damaged",
        args.file.display(),
        wrong.join(", ")
    )))
}

/// Opens the file at its front.
fn open(args: &Args) -> Result<Reader<File>, Fail> {
    let failed = |error| {
        let name = args.file.display();
        Fail::new(format!(
            "{name}: {error}; name a BinaryFILE of ITCH 5.0, `ring0 gen --itch` writes one"
        ))
    };
    let mut file = File::open(&args.file).map_err(failed)?;
    let mut first = Vec::new();
    (&mut file)
        .take(2)
        .read_to_end(&mut first)
        .map_err(failed)?;
    if first == GZIP {
        let name = args.file.display();
        return Err(Fail::new(format!(
            "{name} is compressed; `gunzip -k {name}` first"
        )));
    }
    file.rewind().map_err(failed)?;
    Ok(Reader::new(file))
}

/// Calls `each` on every message of the file; gives the time that it all took.
fn walk(args: &Args, mut each: impl FnMut(&Message<'_>)) -> Result<Duration, Fail> {
    let failed =
        |error: &dyn std::error::Error| Fail::new(format!("{}: {error}", args.file.display()));
    let mut reader = open(args)?;
    let begin = Instant::now();
    loop {
        let offset = reader.offset();
        let Some(bytes) = reader.next_message().map_err(|error| failed(&error))? else {
            return Ok(begin.elapsed());
        };
        let message = Message::read(bytes).map_err(|error| {
            Fail::new(format!("{}: byte {offset}: {error}", args.file.display()))
        })?;
        each(&message);
    }
}

/// Messages by their letters, and the time to decode them.
fn count(args: &Args) -> Result<([u64; 256], Duration), Fail> {
    let mut by_letter = [0; 256];
    let time = walk(args, |message| {
        // A message has at least its letter.
        by_letter[usize::from(message.as_bytes()[0])] += 1;
    })?;
    Ok((by_letter, time))
}

/// The books at the end, and the time to decode and build.
fn build(args: &Args) -> Result<(Books, Duration), Fail> {
    let mut books = Books::new();
    let time = walk(args, |message| books.apply(message))?;
    Ok((books, time))
}

/// Compares the books with a stream's header; what disagrees goes to `wrong`, as text.
fn verify(stream: &Stream, books: &Books, wrong: &mut Vec<String>) -> Value {
    let header = stream.header();
    let figures = [
        ("trades", books.trades().executions, header.exp_trades.get()),
        (
            "quantity",
            books.trades().executed_shares,
            header.exp_qty.get(),
        ),
        ("live orders", books.live() as u64, header.exp_live.get()),
        ("inconsistencies", books.inconsistencies().total(), 0),
    ];
    for (name, found, expected) in figures {
        if found != expected {
            wrong.push(format!("{name} {found} instead of {expected}"));
        }
    }
    wrong.is_empty().into()
}

fn letter(byte: u8) -> String {
    byte.escape_ascii().to_string()
}

fn book(books: &Books, locate: u16, instrument: &Instrument) -> Value {
    let bbo = books.bbo(locate);
    let quote = |quote: Option<Quote>| {
        quote.map(|it| json!({ "price": it.price, "shares": it.shares, "orders": it.orders }))
    };
    json!({
        "locate": locate,
        "stock": instrument.stock.to_string(),
        "state": instrument.state.map(letter),
        "bid": quote(bbo.bid),
        "ask": quote(bbo.ask),
    })
}

/// The report for people.
fn text(report: &Value, books: &Books) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let plain = |name: &str| report[name].to_string();
    writeln!(
        out,
        "{}: {} messages, {} ns each to decode, {} to decode and build (reading the file included)",
        report["file"].as_str().unwrap_or_default(),
        plain("messages"),
        plain("decode_ns_per_message"),
        plain("decode_and_build_ns_per_message"),
    )?;
    for part in ["by_type", "trades", "inconsistencies"] {
        let numbers = report[part].as_object().into_iter().flatten();
        let numbers: Vec<_> = numbers
            .filter(|(_, count)| **count != 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let none = if numbers.is_empty() { "none" } else { "" };
        writeln!(out, "{part}: {none}{}", numbers.join(", "))?;
    }
    writeln!(out, "live_orders: {}", books.live())?;
    if report["verified"] == true {
        writeln!(
            out,
            "verified: trades, quantity and live orders are those of the stream's header"
        )?;
    }
    writeln!(
        out,
        "{:>6} {:8} {:>27}   {:<27}",
        "locate", "stock", "bid", "ask"
    )?;
    for (locate, instrument) in books.instruments() {
        let bbo = books.bbo(locate);
        let price = |quote: Quote| format!("{}.{:04}", quote.price / 10_000, quote.price % 10_000);
        let bid = bbo.bid.map_or("-".to_owned(), |it| {
            format!("{} x {}", it.shares, price(it))
        });
        let ask = bbo.ask.map_or("-".to_owned(), |it| {
            format!("{} x {}", price(it), it.shares)
        });
        writeln!(
            out,
            "{locate:>6} {:8} {bid:>27}   {ask:<27}",
            instrument.stock
        )?;
    }
    Ok(out)
}
