//! What the tests of this folder share: reading records, and driving one shard by a flow.
#![allow(dead_code, reason = "each test uses its part")]

use ring0_engine::Reason;
use ring0_engine::control::ControlKind;
use ring0_engine::flow::{Flow, Input};
use ring0_engine::native::{Dropped, Native};
use ring0_engine::record::{
    Armed, ControlRecord, Crossed, Decremented, Filled, Head, Kind, Message, Reduced, Refilled,
    Removed, Replaced, Rested, StateChanged, Step, Triggered, Uncrossed,
};
use ring0_wire::host::Inbound;
use zerocopy::FromBytes;

macro_rules! record {
    ($($name:ident = $type:ident,)+) => {
        /// One record, read.
        #[derive(Debug)]
        pub(crate) enum Record {
            $($name($type),)+
        }

        impl Record {
            fn read(kind: Kind, bytes: &[u8]) -> Record {
                match kind {
                    $(Kind::$name => Record::$name($type::read_from_bytes(bytes).expect("a record of its length")),)+
                }
            }

            pub(crate) fn head(&self) -> &Head {
                match self {
                    $(Record::$name(record) => &record.head,)+
                }
            }
        }
    };
}

record! {
    Message = Message,
    Step = Step,
    Control = ControlRecord,
    Rested = Rested,
    Filled = Filled,
    Removed = Removed,
    Reduced = Reduced,
    Replaced = Replaced,
    Armed = Armed,
    Triggered = Triggered,
    Refilled = Refilled,
    Decremented = Decremented,
    Crossed = Crossed,
    Uncrossed = Uncrossed,
    StateChanged = StateChanged,
}

/// The records of whole slots one after the other.
pub(crate) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record> + '_ {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (head, _) = Head::read_from_prefix(bytes).expect("a head");
        let (this, rest) = bytes.split_at(usize::from(head.slots) * 64);
        bytes = rest;
        let kind = Kind::from_number(head.kind).expect("a kind of ours");
        Some(Record::read(kind, this))
    })
}

/// Records as text, a line each: commands taken apart, everything else as it is.
pub(crate) fn readable(bytes: &[u8]) -> String {
    records(bytes).map(|record| line(&record) + "\n").collect()
}

fn line(record: &Record) -> String {
    let head = record.head();
    let (number, locate) = (head.sequence, head.locate);
    let side = match head.side {
        0 => '-',
        side => side as char,
    };
    match record {
        Record::Message(message) => {
            let content = message.message.get(..usize::from(message.length));
            let text = match content.and_then(Inbound::read).map(|it| it.check()) {
                Some(Ok(fields)) => format!("{fields:?}"),
                Some(Err(error)) => format!("{error:?}"),
                None => "tag".into(),
            };
            format!(
                "{number} MESSAGE {}/{} of session {} account {} at {}: {} {} quantity {} {text}",
                message.index,
                message.count,
                message.session,
                message.account,
                message.time_ns,
                message.outcome as char,
                reason(message.reason),
                message.quantity
            )
        }
        Record::Control(control) => {
            let kind = ControlKind::ALL
                .into_iter()
                .find(|kind| *kind as u32 == control.kind);
            format!(
                "{number} CONTROL {kind:?} ({}) at {}: {} {} {:x?}",
                control.kind,
                control.time_ns,
                control.outcome as char,
                reason(control.reason),
                control.body
            )
        }
        Record::Step(step) => format!(
            "{number} STEP work {} locate {locate} order {} owner {} quantity {}: {}",
            step.work, step.order, step.owner, step.quantity, step.outcome as char
        ),
        other => {
            let text = format!("{other:?}");
            // The head has been said.
            let (name, fields) = text.split_once("(").unwrap_or((&text, ""));
            let fields = fields.split_once("}, ").map_or(fields, |(_, rest)| rest);
            format!("{number}   {name} {locate}{side} {fields}")
        }
    }
}

/// The name of a reason's number.
pub(crate) fn reason(number: u8) -> &'static str {
    Reason::from_number(number).map_or("?", Reason::name)
}

/// The seed of this run: `RING0_SEED`, or one from the clock. Printed, so that a failure can be had again.
pub(crate) fn seed() -> u64 {
    let seed = number_of("RING0_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("a clock after 1970").as_nanos() as u64
    });
    println!("RING0_SEED={seed}");
    seed
}

/// A number of the environment, if it is set.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// What a run of one input gave.
pub(crate) struct Driven {
    /// The answer, if it was a packet of a granted session.
    pub(crate) answer: Option<Vec<u8>>,
    pub(crate) records: Vec<u8>,
}

/// Gives an input to the native engine, and answer and records to the flow.
pub(crate) fn drive(flow: &mut Flow, native: &mut Native, input: &Input) -> Driven {
    let boot_ns = flow.boot_ns();
    let mut answer = None;
    match input {
        Input::Packet(payload) => {
            answer = match native.packet(payload, boot_ns, None) {
                Ok((_, answer)) => Some(answer),
                Err(Dropped::UnknownSession) => None,
                Err(cause) => panic!("the flow's packets are well-formed: {cause:?}"),
            };
            flow.observe(answer.as_deref());
        }
        Input::Control(controls) => {
            native.control(controls, boot_ns);
        }
        Input::Steps => native.steps(),
    }
    let records = native.take_records();
    flow.learn(&records);
    Driven { answer, records }
}
