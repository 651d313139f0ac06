//! What the tests of this folder share: reading records, and driving one shard by a flow.
#![allow(dead_code, reason = "each test uses its part")]

use ring0_engine::flow::{Flow, Input};
use ring0_engine::native::{Dropped, Native};
use ring0_engine::record::{
    ControlRecord, Filled, Head, Kind, Message, Reduced, Removed, Replaced, Rested, Step,
};
use zerocopy::FromBytes;

/// One record, read.
#[derive(Debug)]
pub(crate) enum Record {
    Message(Message),
    Step(Step),
    Control(ControlRecord),
    Rested(Rested),
    Filled(Filled),
    Removed(Removed),
    Reduced(Reduced),
    Replaced(Replaced),
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
        Some(match kind {
            Kind::Message => Record::Message(Message::read_from_bytes(this).unwrap()),
            Kind::Step => Record::Step(Step::read_from_bytes(this).unwrap()),
            Kind::Control => Record::Control(ControlRecord::read_from_bytes(this).unwrap()),
            Kind::Rested => Record::Rested(Rested::read_from_bytes(this).unwrap()),
            Kind::Filled => Record::Filled(Filled::read_from_bytes(this).unwrap()),
            Kind::Removed => Record::Removed(Removed::read_from_bytes(this).unwrap()),
            Kind::Reduced => Record::Reduced(Reduced::read_from_bytes(this).unwrap()),
            Kind::Replaced => Record::Replaced(Replaced::read_from_bytes(this).unwrap()),
        })
    })
}

/// The seed of this run: `RING0_SEED`, or one from the clock. Printed, so that a failure can be had again.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("RING0_SEED") {
        Ok(text) => text.parse().expect("RING0_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("a clock after 1970").as_nanos() as u64
        }
    };
    println!("RING0_SEED={seed}");
    seed
}

/// Gives an input to the native engine and the answer to the flow; gives the answer, if it was a packet of a granted session.
pub(crate) fn drive(flow: &mut Flow, native: &mut Native, input: &Input) -> Option<Vec<u8>> {
    let boot_ns = flow.boot_ns();
    match input {
        Input::Packet(payload) => {
            let answer = match native.packet(payload, boot_ns, None) {
                Ok((_, answer)) => Some(answer),
                Err(Dropped::UnknownSession) => None,
                Err(cause) => panic!("the flow's packets are well-formed: {cause:?}"),
            };
            flow.observe(answer.as_deref());
            return answer;
        }
        Input::Control(controls) => {
            native.control(controls, boot_ns);
        }
        Input::Steps => native.steps(),
    }
    None
}
