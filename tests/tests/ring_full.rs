//! A record ring whose required consumer is dead: new orders are refused and change nothing, cancels go on into the last eighth, and
//! trading goes on when the consumer is back, without a gap (RULES 9, 11).

use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::limits::{PACKET_SLOTS_MAX, SLOT_LEN};
use ring0_engine::record::{Head, Outcome, State};
use ring0_engine::{Capacity, Reason};
use ring0_rings::{Consumer, KernelShard, Live, Ring};
use ring0_tests::Kernel;
use ring0_wire::host::{Answer, Inbound, PacketBuilder};
use ring0_wire::message::{BUY, STOCK_SPACES};
use ring0_wire::{Ack, Message, SessionId};
use zerocopy::FromBytes;

const SLOTS: u32 = 8192;
const RESERVE: u64 = SLOTS as u64 / 8;
const PER_PACKET: u32 = 20;

fn id() -> SessionId {
    SessionId::new(0, 5).expect("small numbers")
}

fn controls() -> Vec<Control> {
    let account = OpenAccount {
        account: 0,
        reserved: 0,
    };
    let deposit = Deposit {
        account: 0,
        asset: 0,
        amount: 1 << 50,
    };
    let list = List {
        instrument: 0,
        state: State::Continuous as u32,
        symbol: *b"FULL    ",
        base_asset: 1,
        quote_asset: 0,
        tick_size: 1,
        lot_size: 1,
        tick_value: 1,
        ladder_base: 100,
        lot_value: 1,
        ladder_len: 64,
        lots_max: 1000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: 0,
        taker_ppm: 0,
    };
    let grant = Grant {
        session: 0,
        account: 0,
        id: id().0,
        answers_log2: 8,
        references_log2: 14,
        burst: 0,
        interval_ns: 0,
        expires_ns: u64::MAX,
        orders_max: 0,
        shares_max: 0,
        notional_max: 0,
        cancel_on_disconnect: 0,
        reserved: 0,
    };
    vec![
        Control::new(ControlKind::Clock, &Clock { day_base_ns: 0 }),
        Control::new(ControlKind::OpenAccount, &account),
        Control::new(ControlKind::Deposit, &deposit),
        Control::new(ControlKind::List, &list),
        Control::new(ControlKind::GrantSession, &grant),
    ]
}

fn message(letter: u8, reference: u32) -> Inbound {
    let enters = letter == b'A';
    let message = Message {
        letter,
        locate: 1,
        reference,
        side: if enters { BUY } else { 0 },
        shares: u32::from(enters),
        price: if enters { 100 + reference % 64 } else { 0 },
        stock: if enters { STOCK_SPACES } else { 0 },
        ..Message::default()
    };
    Inbound::from_message(&message).expect("a letter of ours")
}

/// Sends a packet of messages of one letter with references from `first` on; gives its acks.
fn send(shard: &mut KernelShard, letter: u8, first: u32) -> Vec<Ack> {
    let sequence = shard.shard().expected_sequence(0).expect("granted");
    let mut builder = PacketBuilder::new(id(), sequence);
    for reference in first..first + PER_PACKET {
        builder.push(&message(letter, reference)).expect("it fits");
    }
    let answer = shard.packet(&builder.sign(None), 0).expect("answered");
    Answer::read(&answer, None).expect("an answer").acks
}

fn is_full(acks: &[Ack]) -> bool {
    let full = acks[0].reason == Reason::RingFull as u8;
    for ack in acks {
        let wanted = if full {
            (Outcome::NotTaken as u8, Reason::RingFull as u8)
        } else {
            (Outcome::Accepted as u8, 0)
        };
        assert_eq!(
            (ack.result, ack.reason),
            wanted,
            "a packet is taken whole or not"
        );
    }
    full
}

#[test]
fn a_full_ring_refuses_risk_and_loses_nothing() {
    let mut kernel = Kernel::up(&Capacity::SMALL, SLOTS, ring0_lab::Options::default());
    let mut consumer = Consumer::required(&kernel.loaded.pinned, "recorder").unwrap();
    let shard = &mut kernel.shard;
    shard.set_key(0, None).unwrap();
    let results = shard.command(&controls()).unwrap();
    assert!(
        results
            .iter()
            .all(|(outcome, _)| *outcome == Outcome::Accepted)
    );

    // Orders, until the last eighth and a worst packet are all that is left.
    let mut entered = 1;
    while !is_full(&send(shard, b'A', entered)) {
        entered += PER_PACKET;
    }
    let free = u64::from(SLOTS) - (shard.tail() - consumer.position());
    assert!(
        free < PACKET_SLOTS_MAX + RESERVE,
        "refused with {free} slots free"
    );
    let before = shard.state_hash();
    assert!(is_full(&send(shard, b'A', entered)));
    assert_eq!(
        shard.state_hash(),
        before,
        "a refused packet changes nothing"
    );

    // Cancels go on, into the reserve.
    let mut cancelled = 1;
    while !is_full(&send(shard, b'D', cancelled)) {
        cancelled += PER_PACKET;
    }
    assert!(cancelled > 1, "cancels were taken where orders were not");
    assert!(u64::from(SLOTS) - (shard.tail() - consumer.position()) < PACKET_SLOTS_MAX);

    // The consumer is back: every record is there, and trading goes on.
    let mut bytes = Vec::new();
    consumer.read(&mut bytes, u64::MAX / 2).unwrap();
    consumer.commit();
    assert!(!is_full(&send(shard, b'A', entered)));
    consumer.read(&mut bytes, u64::MAX / 2).unwrap();
    let (mut at, mut sequence) = (0, 1);
    while at < bytes.len() {
        let (head, _) = Head::ref_from_prefix(&bytes[at..]).expect("whole records");
        assert_eq!(head.sequence, sequence, "no record is missing");
        sequence += 1;
        at += usize::from(head.slots) * SLOT_LEN;
    }
    assert_eq!(
        sequence,
        shard.shard().header().next_sequence.get(),
        "all are there"
    );
    shard.shard().check();
}
