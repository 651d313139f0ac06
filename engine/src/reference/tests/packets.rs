//! Packets: sequences, rates, records.

use super::desk::*;
use crate::Capacity;
use crate::Reason;
use crate::control::{ControlKind, Grant};
use crate::record::{Filled, Message as MessageRecord, Outcome, Rested};
use ring0_wire::SessionId;
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::message::{BUY, SELL};
use zerocopy::FromBytes;

#[test]
fn sequences_are_taken_once() {
    let mut desk = Desk::new();
    let order = enter(7, BUY, 1, 100, DAY);
    let hole = desk.send_at(0, 2, &[order]);
    assert_eq!(hole, [('N', Reason::Hole, 0, 1)]);
    let first = desk.send_at(0, 1, &[order, cancel(7)]);
    assert_eq!(first[1], ('A', Reason::None, 10, 12));
    let hash = desk.book.state_hash();
    assert_eq!(desk.send_at(0, 1, &[order, cancel(7)]), first);
    assert_eq!(desk.send_at(0, 2, &[cancel(7)]), first[1..]);
    let straddle = desk.send_at(0, 3, &[order]);
    assert_eq!(straddle, [('N', Reason::Straddle, 0, 4)]);
    assert_eq!(
        desk.book.state_hash(),
        hash,
        "none of them changed anything"
    );
    // A heartbeat's answer says what is expected; 128 answers are kept.
    for sequence in 4..=140 {
        desk.send_at(0, sequence, &[]);
    }
    let old = ('O', Reason::Answered, 0, 0);
    assert_eq!(desk.send_at(0, 1, &[order]), [old]);
    let id = SessionId(grant(0).id);
    let answer = desk
        .book
        .packet(&PacketBuilder::new(id, 500).sign(None), START);
    assert_eq!(answer[10..18], 141_u64.to_be_bytes());
    desk.order(target(ControlKind::HaltShard, 0), Ok(Outcome::Accepted));
    assert_eq!(
        desk.send_at(0, 141, &[order]),
        [('N', Reason::Halted, 0, 0)]
    );
}

#[test]
fn records_are_whole_and_without_gaps() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, SELL, 1, 100, DAY));
    desk.book.take_records();
    let mut packet = PacketBuilder::new(SessionId(grant(1).id), 1);
    let order = Inbound::from_message(&enter(9, BUY, 2, 100, DAY)).unwrap();
    packet.push(&order).unwrap();
    let packet = packet.sign(Some(&ring0_wire::Key::new(1, 2)));
    assert_ne!(packet[packet.len() - 16..], [0; 16]);
    let answer = desk.book.packet(&packet, START);
    assert_eq!(answer[..20], packet[..20]);
    assert_eq!(answer[answer.len() - 16..], [0; 16]);

    let records = desk.book.take_records();
    let (message, rest) = MessageRecord::read_from_prefix(&records).unwrap();
    assert_eq!(message.message[..36], *order.as_bytes());
    assert_eq!((message.outcome, message.quantity), (b'A', 10));
    assert_eq!((message.session, message.index, message.count), (1, 0, 2));
    let (filled, rest) = Filled::read_from_prefix(rest).unwrap();
    assert_eq!(filled.taker, message.head.sequence);
    let (rested, rest) = Rested::read_from_prefix(rest).unwrap();
    assert_eq!(rested.order, message.head.sequence);
    let (tag, rest) = MessageRecord::read_from_prefix(rest).unwrap();
    assert_eq!((tag.message[0], tag.length), (b'z', 17));
    assert_eq!(tag.message[1..], [0; 55], "a tag is a credential");
    assert!(rest.is_empty());
    let heads = [message.head, filled.head, rested.head, tag.head];
    let first = message.head.sequence;
    assert_eq!(heads.map(|head| head.sequence - first), [0, 1, 2, 3]);
    assert_eq!(heads.map(|head| head.locate), [1, 1, 1, 0]);
    assert_eq!(heads.map(|head| head.side), [0, BUY, BUY, 0]);
    assert_eq!(answer[20 + 2 + 11..][..8], first.to_be_bytes());
}

#[test]
fn the_rate_is_charged_per_message() {
    let limited = |session| Grant {
        burst: 3,
        interval_ns: 1000,
        expires_ns: START + 2000,
        ..grant(session)
    };
    let mut desk = Desk::with(Capacity::SMALL, LIST, &limited);
    desk.send_at(0, 1, &[cancel(1)]);
    let limited = [('N', Reason::RateLimited, 0, 0)];
    assert_eq!(desk.send_at(0, 3, &[cancel(1)]), limited);
    desk.send_at(0, 3, &[]);
    desk.book
        .control(&[target(ControlKind::ResumeShard, 0)], START + 2000);
    let expired = desk.send_at(0, 4, &[enter(1, BUY, 1, 1, DAY)]);
    assert_eq!(expired[0].1, Reason::SessionExpired);
}
