//! Random packets: what is built reads back, and `shape` agrees with a naive reading of the format.

use proptest::prelude::*;
use ring0_wire::host::{Answer, AnswerError, Inbound, PacketBuilder, Request};
use ring0_wire::message::{BOTH, BUY, SCOPE_ACCOUNT, SCOPE_SESSION, SELL};
use ring0_wire::{
    Ack, Buffer, Check, Domain, FieldError, Flags, HEADER, Key, Malformed, Message, MessageCells,
    Native, PAYLOAD_MAX, SessionId, answer_bytes, block, echo, finish, finish_heartbeat, mac, mold,
    parse, put_ack, shape,
};

/// The format once more, over slices: the header's rules, then one block after the other.
fn naive_shape(payload: &[u8]) -> Result<usize, Malformed> {
    if payload.len() < 20 {
        return Err(Malformed::TooShort);
    }
    if payload.len() > 1472 {
        return Err(Malformed::TooLong);
    }
    if !payload[..4]
        .iter()
        .all(|byte| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(byte))
    {
        return Err(Malformed::BadSession);
    }
    let count = match u16::from_be_bytes([payload[18], payload[19]]) {
        0 => return Err(Malformed::CountZero),
        0xFFFF => return Err(Malformed::CountEndOfSession),
        70.. => return Err(Malformed::CountTooLarge),
        count => usize::from(count),
    };
    let mut rest = &payload[20..];
    for index in 1..=count {
        let [high, low, letter, ..] = *rest else {
            return Err(Malformed::Overrun);
        };
        let exact = match letter {
            b'A' => 36,
            b'F' => 40,
            b'U' => 35,
            b'X' | b'M' => 23,
            b'D' => 19,
            b'O' => 56,
            b'z' => 17,
            _ => return Err(Malformed::UnknownLetter),
        };
        if u16::from_be_bytes([high, low]) != exact {
            return Err(Malformed::BadBlockLength);
        }
        rest = rest
            .get(2 + usize::from(exact)..)
            .ok_or(Malformed::Overrun)?;
        match (letter == b'z', index == count) {
            (true, false) => return Err(Malformed::TagNotLast),
            (false, true) => return Err(Malformed::NoTag),
            _ => {}
        }
    }
    if rest.is_empty() {
        Ok(count - 1)
    } else {
        Err(Malformed::TrailingBytes)
    }
}

fn check_shape(payload: &[u8]) {
    let buf = Buffer::new();
    // Old bytes behind the payload must not matter; here they look like a tag block everywhere.
    buf.copy_in(&b"\x00\x11z".repeat(600));
    buf.copy_in(payload);
    let got = shape::<Native>(&buf, payload.len());
    assert_eq!(
        got.map(|shape| usize::from(shape.messages)),
        naive_shape(payload)
    );
    if let Ok(shape) = got {
        assert_eq!(usize::from(shape.signed) + 19, payload.len());
        assert_eq!(Some(shape.session), mold::session_index(&buf));
        assert_eq!(
            shape.sequence.wrapping_add(u64::from(shape.count())),
            shape.next_sequence()
        );
    }
}

/// Good flags without good-till-time, which needs an expiry.
fn flags() -> impl Strategy<Value = Flags> {
    let good = |flags: &Flags| flags.check().is_ok() && !flags.is_good_till_time();
    prop::sample::select((0..1 << 10).map(Flags).filter(good).collect::<Vec<_>>())
}

/// Good messages of every letter.
fn message() -> impl Strategy<Value = Message> {
    let common = (
        any::<u16>(),
        flags(),
        1..=u32::MAX,
        1..=u32::MAX,
        any::<u32>(),
    );
    let order = (
        prop_oneof![Just(BUY), Just(SELL)],
        any::<u64>(),
        any::<u32>(),
    );
    let peg = prop_oneof![
        Just((0, 0)),
        any::<i8>().prop_map(|o| (b'P', o)),
        Just((b'M', -1))
    ];
    let extension = (any::<u32>(), any::<u32>(), 0..86_400_u32, peg, any::<u16>());
    let mass = (any::<bool>(), any::<bool>(), 0..=1_u8);
    (0..7, common, order, extension, mass).prop_map(|(kind, common, order, extension, mass)| {
        let (locate, flags, reference, shares, price) = common;
        let (side, stock, number) = order;
        let (minimum, display, expiry_s, (peg, peg_offset_ticks), trade_group) = extension;
        let base = Message {
            locate,
            reference,
            ..Message::default()
        };
        let enter = Message {
            letter: b'A',
            flags,
            shares,
            price,
            side,
            stock,
            ..base
        };
        match kind {
            0 => enter,
            1 => Message {
                letter: b'F',
                sub_account: number,
                ..enter
            },
            2 => Message {
                letter: b'O',
                flags: if expiry_s == 0 {
                    flags
                } else {
                    Flags(flags.0 & !0b11111 | 4)
                },
                minimum: minimum % shares,
                display: if flags.has(Flags::HIDDEN) {
                    0
                } else {
                    display % shares
                },
                trigger: number,
                expiry_s,
                peg,
                peg_offset_ticks,
                trade_group,
                ..enter
            },
            3 => Message {
                letter: b'U',
                new_reference: number.max(1),
                shares,
                price,
                ..base
            },
            4 => Message {
                letter: b'X',
                shares,
                ..base
            },
            5 => Message {
                letter: b'D',
                ..base
            },
            _ => Message {
                letter: b'M',
                scope: if mass.0 { SCOPE_SESSION } else { SCOPE_ACCOUNT },
                side: if mass.1 { BOTH } else { side },
                kill: mass.2,
                ..base
            },
        }
    })
}

fn session() -> impl Strategy<Value = SessionId> {
    (0..1_u32 << 20, 0..1_u32 << 30)
        .prop_map(|(index, nonce)| SessionId::new(index, nonce).unwrap())
}

/// A good packet, as many of the messages as fit.
fn packet(session: SessionId, sequence: u64, messages: &[Message], key: Option<&Key>) -> Vec<u8> {
    let mut packet = PacketBuilder::new(session, sequence);
    for message in messages {
        if packet
            .push(&Inbound::from_message(message).unwrap())
            .is_err()
        {
            break;
        }
    }
    packet.sign(key)
}

proptest! {
    #[test]
    fn a_message_reads_back(message in message()) {
        let inbound = Inbound::from_message(&message).unwrap();
        prop_assert_eq!(inbound.check(), Ok(message));
        prop_assert_eq!(Inbound::read(inbound.as_bytes()), Some(inbound));
    }

    #[test]
    fn a_packet_reads_back(
        session in session(),
        sequence: u64,
        messages in prop::collection::vec(message(), 0..80),
        key: [u8; 16],
    ) {
        let key = Key::from_bytes(&key);
        let bytes = packet(session, sequence, &messages, Some(&key));
        check_shape(&bytes);
        let request = Request::read(&bytes).unwrap();
        prop_assert_eq!(request.session, session);
        prop_assert_eq!(request.sequence, sequence);
        prop_assert!(request.is_genuine(Some(&key)) && !request.is_genuine(None));
        let read: Vec<_> = request.messages.iter().map(|m| m.check().unwrap()).collect();
        prop_assert!(messages.starts_with(&read));
        // It stopped only because one more did not fit.
        if let Some(next) = messages.get(read.len()) {
            let more = bytes.len() + 2 + Inbound::from_message(next).unwrap().as_bytes().len();
            prop_assert!(read.len() == 68 || more > PAYLOAD_MAX);
        }
    }

    #[test]
    fn shape_agrees_on_random_bytes(payload in prop::collection::vec(any::<u8>(), 0..1600)) {
        check_shape(&payload);
    }

    /// Nearly good packets: some bytes changed, the end cut off or grown, the count moved.
    #[test]
    fn shape_agrees_on_spoilt_packets(
        session in session(),
        messages in prop::collection::vec(message(), 0..70),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        count in prop_oneof![3 => Just(0), 1 => -2..=2_i16],
        grow in prop_oneof![3 => Just(0), 1 => -40..40_isize],
    ) {
        let mut payload = packet(session, 1, &messages, None);
        let moved = u16::from_be_bytes([payload[18], payload[19]]).wrapping_add_signed(count);
        payload[18..20].copy_from_slice(&moved.to_be_bytes());
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        payload.resize(payload.len().saturating_add_signed(grow), b'z');
        check_shape(&payload);
    }

    /// Blocks drawn from letters and lengths that are nearly always ours.
    #[test]
    fn shape_agrees_on_random_blocks(
        blocks in prop::collection::vec((0..9_usize, prop_oneof![30 => Just(0), 1 => -1..=1_i16]), 0..75),
        count in prop_oneof![4 => Just(0), 1 => -1..=1_i16],
    ) {
        let mut payload = SessionId::new(7, 7).unwrap().0.to_vec();
        payload.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        payload.extend((blocks.len() as u16 + 1).wrapping_add_signed(count).to_be_bytes());
        for (kind, wrong) in blocks.into_iter().chain([(8, 0)]) {
            let letter = b"AFUXDOMDz"[kind];
            let exact = [36, 40, 35, 23, 19, 56, 23, 19, 17_u16][kind];
            payload.extend(exact.wrapping_add_signed(wrong).to_be_bytes());
            payload.push(letter);
            payload.resize(payload.len() + usize::from(exact) - 1, 0);
        }
        check_shape(&payload);
    }

    /// Any 64 bytes as any message: a result, never a panic, and what the answer needs is read.
    #[test]
    fn parse_takes_anything(
        bytes in prop::collection::vec(prop_oneof![2 => Just(0), 1 => any::<u8>()], 64),
        letter in prop::sample::select(b"AFOUXDMz?".to_vec()),
        start in 0..=PAYLOAD_MAX,
    ) {
        let (buf, cells) = (Buffer::new(), MessageCells::default());
        bytes.iter().enumerate().for_each(|(i, &byte)| buf.put_u8(start.wrapping_add(i), byte));
        let result = parse(&buf, start, letter, &cells);
        let message = cells.get();
        prop_assert_eq!(message.letter, letter);
        prop_assert_eq!(message.locate, u16::from_be_bytes([bytes[1], bytes[2]]));
        let echoed = if letter == b'U' { message.new_reference } else { message.reference };
        prop_assert_eq!(echo(&buf, start, letter), echoed);
        if b"z?".contains(&letter) {
            prop_assert_eq!(result, Err(FieldError::LetterUnknown));
        }
        if result.is_ok() {
            // Good by construction: the numbers make the same bytes again.
            let mut sent = bytes;
            sent[0] = letter;
            let again = Inbound::from_message(&message).unwrap();
            prop_assert!(sent.starts_with(again.as_bytes()));
        }
    }

    /// No offset is too large: what lies there is read modulo the buffer, nothing panics.
    #[test]
    fn parse_takes_any_offset(start: usize, letter in prop::sample::select(b"AFOUXDM".to_vec())) {
        let (buf, cells) = (Buffer::new(), MessageCells::default());
        let result = parse(&buf, start, letter, &cells);
        let zeros = if letter == b'M' { FieldError::ScopeUnknown } else { FieldError::ReferenceZero };
        prop_assert_eq!(result, Err(zeros));
        prop_assert_eq!(block(&buf, start).next, start.wrapping_add(2));
    }

    /// The engine's way: verify, walk, acknowledge over the request itself, sign; the client reads.
    #[test]
    fn an_answer_may_be_written_over_its_request(
        session in session(),
        sequence: u64,
        messages in prop::collection::vec(message(), 0..80),
        key: [u8; 16],
        apart: bool,
    ) {
        let key = Key::from_bytes(&key);
        let bytes = packet(session, sequence, &messages, Some(&key));
        let (request, other) = (Buffer::new(), Buffer::new());
        request.copy_in(&bytes);
        let shape = shape::<Native>(&request, bytes.len()).unwrap();
        let signed = usize::from(shape.signed);
        let check = mac::verify::<Native>(&request, signed, &key, Domain::Request);
        prop_assert_eq!(check, Check::Genuine);
        let answer = if apart { &other } else { &request };
        if apart {
            ring0_wire::outbound::copy_header(&request, answer);
        }
        let cells = MessageCells::default();
        let mut at = HEADER;
        let mut acks = Vec::new();
        for i in 0..shape.messages {
            let here = block(&request, at);
            at = here.next;
            prop_assert_eq!(parse(&request, here.start, here.letter, &cells), Ok(()));
            prop_assert_eq!(cells.get(), messages[usize::from(i)]);
            let ack = Ack {
                sequence: sequence ^ u64::from(i),
                reference: echo(&request, here.start, here.letter),
                quantity: cells.shares.get(),
                result: here.letter,
                reason: i as u8,
            };
            put_ack(answer, i, &ack);
            acks.push(ack);
        }
        let len = if shape.messages == 0 {
            finish_heartbeat::<Native>(answer, 77, Some(&key))
        } else {
            finish::<Native>(answer, shape.messages, Some(&key))
        }.unwrap();
        prop_assert_eq!(len, answer_bytes(shape.messages));
        prop_assert!(len <= bytes.len(), "an answer is never longer than its request");
        let mut out = vec![0; len];
        answer.copy_out(&mut out);
        let expected = if acks.is_empty() { 77 } else { sequence };
        let want = Answer { session, sequence: expected, acks };
        prop_assert_eq!(&out, &want.sign(Some(&key)));
        prop_assert_eq!(Answer::read(&out, Some(&key)), Ok(want));
        // Reflected, an answer is no request, nor a request an answer.
        prop_assert_eq!(Answer::read(&out, None), Err(AnswerError::Forged));
        prop_assert!(!Request::read(&out).is_ok_and(|r| r.is_genuine(Some(&key))));
    }

    #[test]
    fn reading_an_answer_takes_anything(
        session in session(),
        acks in 0..70_u16,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        grow in prop_oneof![3 => Just(0), 1 => -40..40_isize],
    ) {
        let acks = vec![Ack::default(); usize::from(acks.min(68))];
        let mut bytes = Answer { session, sequence: 1, acks }.sign(None);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.resize(bytes.len().saturating_add_signed(grow), 0);
        if let Ok(answer) = Answer::read(&bytes, None) {
            prop_assert_eq!(answer.sign(None), bytes);
        }
    }
}

/// The count is full before the bytes are.
#[test]
fn a_full_packet_is_refused_one_more() {
    let mut packet = PacketBuilder::new(SessionId::new(1, 1).unwrap(), u64::MAX - 3);
    let cancel = Message {
        letter: b'D',
        reference: 1,
        ..Message::default()
    };
    let cancel = Inbound::from_message(&cancel).unwrap();
    for _ in 0..68 {
        packet.push(&cancel).unwrap();
    }
    assert!(packet.push(&cancel).is_err());
    assert_eq!(packet.messages(), 68);
    assert_eq!(
        packet.next_sequence(),
        65,
        "a sequence wraps and does not panic"
    );
    let bytes = packet.sign(None);
    assert_eq!(bytes.len(), 1467);
    check_shape(&bytes);
}
