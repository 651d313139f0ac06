//! `ring0 journal dump`: records as lines.

use crate::fail::Fail;
use ring0_engine::Reason;
use ring0_engine::control::ControlKind;
use ring0_engine::record::{
    Armed, ControlRecord, Crossed, Decremented, Filled, Head, Kind, Message, Reduced, Refilled,
    Removed, Replaced, Rested, State, StateChanged, Step, Triggered, Uncrossed,
};
use ring0_journal::Reader;
use serde_json::{Map, Value, json};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use zerocopy::FromBytes;

/// Arguments.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Begin with the record of this sequence [default: the oldest].
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// Records at the most [default: all].
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// The journal's folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let mut reader = match args.from {
        Some(sequence) => Reader::open_at(&args.folder, sequence)?,
        None => Reader::open(&args.folder)?,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut written = Ok(());
    while left > 0 && written.is_ok() {
        let Some(record) = reader.next_record()? else {
            break;
        };
        let fields = fields(record);
        written = if args.json {
            writeln!(out, "{}", Value::Object(fields))
        } else {
            writeln!(out, "{}", line(&fields))
        };
        left -= 1;
    }
    match written.and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Sequence and kind, then what is not zero.
fn line(fields: &Map<String, Value>) -> String {
    let mut line = String::new();
    for (name, value) in fields {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match name.as_str() {
            "sequence" => line = format!("{text:>12}"),
            "kind" => line += &format!("  {text:12}"),
            _ if text == "0" => {}
            _ => line += &format!(" {name}={text}"),
        }
    }
    line
}

/// A record's fields by name, those without a meaning left out.
fn fields(bytes: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    let Ok((head, _)) = Head::read_from_prefix(bytes) else {
        return fields;
    };
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let kind = Kind::from_number(head.kind);
    put("sequence", json!(head.sequence));
    let name = kind.map_or_else(|| head.kind.to_string(), |kind| format!("{kind:?}"));
    put("kind", json!(name));
    put("locate", json!(head.locate));
    if head.side != 0 {
        put("side", json!(char::from(head.side).to_string()));
    }
    if let Some(Value::Object(more)) = kind.and_then(|kind| content(kind, bytes)) {
        fields.extend(more);
    }
    fields
}

macro_rules! named {
    ($bytes:expr, $record:ty, $($field:ident),+) => {{
        let record = <$record>::read_from_bytes($bytes).ok()?;
        json!({ $(stringify!($field): record.$field),+ })
    }};
}

/// A control command's name, or its number where a later version has more of them.
fn control(number: u32) -> Value {
    let known = ControlKind::ALL.iter().find(|kind| **kind as u32 == number);
    known.map_or_else(|| json!(number), |kind| json!(format!("{kind:?}")))
}

fn letter(byte: u8) -> String {
    char::from(byte).to_string()
}

fn reason(number: u8) -> Value {
    Reason::from_number(number).map_or(json!(number), |reason| json!(reason.name()))
}

fn state(number: u8) -> Value {
    State::from_number(number).map_or(json!(number), |state| json!(format!("{state:?}")))
}

/// The fields behind the head.
fn content(kind: Kind, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        Kind::Message => {
            let record = Message::read_from_bytes(bytes).ok()?;
            let message = record.message.get(..usize::from(record.length));
            let message = message.unwrap_or(&record.message);
            let hex: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({
                "letter": letter(record.message[0]),
                "outcome": letter(record.outcome),
                "reason": reason(record.reason),
                "quantity": record.quantity,
                "session": record.session,
                "account": record.account,
                "client_sequence": record.client_sequence,
                "index": record.index,
                "count": record.count,
                "time_ns": record.time_ns,
                "message": hex,
            })
        }
        Kind::Control => {
            let record = ControlRecord::read_from_bytes(bytes).ok()?;
            json!({
                "control": control(record.kind),
                "outcome": letter(record.outcome),
                "reason": reason(record.reason),
                "time_ns": record.time_ns,
                "body": record.body,
            })
        }
        Kind::Step => {
            let record = Step::read_from_bytes(bytes).ok()?;
            json!({
                "work": record.work,
                "outcome": letter(record.outcome),
                "quantity": record.quantity,
                "order": record.order,
                "owner": record.owner,
                "time_ns": record.time_ns,
            })
        }
        Kind::Removed => {
            let record = Removed::read_from_bytes(bytes).ok()?;
            json!({
                "order": record.order,
                "session": record.session,
                "account": record.account,
                "reference": record.reference,
                "price": record.price,
                "lots": record.lots,
                "removal": letter(record.removal),
                "rested": record.rested,
            })
        }
        Kind::StateChanged => {
            let record = StateChanged::read_from_bytes(bytes).ok()?;
            json!({ "state": state(record.state), "before": state(record.before) })
        }
        Kind::Rested => named!(
            bytes, Rested, order, session, account, reference, price, lots, shown, flags, peg
        ),
        Kind::Filled => named!(
            bytes,
            Filled,
            maker,
            taker,
            price,
            lots,
            maker_account,
            taker_account,
            maker_fee,
            taker_fee
        ),
        Kind::Reduced => named!(
            bytes, Reduced, order, session, account, reference, price, lots, open, shown
        ),
        Kind::Replaced => named!(
            bytes,
            Replaced,
            order,
            new_order,
            session,
            account,
            reference,
            price,
            lots,
            lots_before,
            kept,
            shown
        ),
        Kind::Armed => named!(
            bytes, Armed, order, session, account, reference, price, lots, trigger, flags
        ),
        Kind::Triggered => named!(
            bytes, Triggered, order, session, account, reference, price, lots, trigger
        ),
        Kind::Refilled => named!(
            bytes, Refilled, order, session, account, reference, price, lots, shown
        ),
        Kind::Decremented => named!(
            bytes,
            Decremented,
            maker,
            taker,
            price,
            lots,
            maker_account,
            taker_account
        ),
        Kind::Crossed => named!(
            bytes,
            Crossed,
            buy,
            sell,
            price,
            lots,
            buy_account,
            sell_account,
            buy_fee,
            sell_fee
        ),
        Kind::Uncrossed => named!(bytes, Uncrossed, volume, price, crossed),
    })
}
