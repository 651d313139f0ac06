//! The files of `tests/vectors/wire`: each is decoded and encoded back to the same bytes.
//!
//! The table below is the meaning of each file. `RING0_WRITE_VECTORS=1 cargo test --release -p
//! ring0-wire --test golden` writes the files and their README anew; a difference in a file that
//! was there is a change of the wire.

use ring0_wire::host::{Answer, Inbound, PacketBuilder, Request};
use ring0_wire::message::{
    BOTH, BUY, PEG_MIDPOINT, PEG_PRIMARY, SCOPE_ACCOUNT, SCOPE_SESSION, SELL, STOCK_SPACES,
};
use ring0_wire::outbound::{ACCEPTED, ANSWERED, AckWire, CONTINUES, NOT_TAKEN, REJECTED};
use ring0_wire::{
    Ack, Buffer, FieldError, Flags, Key, Malformed, Message, MessageCells, Native, SelfTrade,
    SessionId, TimeInForce, parse, shape,
};
use std::path::PathBuf;
use zerocopy::{FromBytes, IntoBytes};

/// What a file holds and what reading it must give.
enum Means {
    Message(Message),
    WrongField(FieldError),
    Ack(Ack),
    Request {
        sequence: u64,
        messages: Vec<Message>,
        signed: bool,
    },
    Answer(Answer, bool),
    Malformed(Malformed),
}

struct Vector {
    name: String,
    says: String,
    means: Means,
    bytes: Vec<u8>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/wire")
}

fn key() -> Key {
    Key::from_bytes(&core::array::from_fn(|i| i as u8))
}

fn session() -> SessionId {
    SessionId::new(0x12345, 0x2345_6789).unwrap()
}

fn stock(name: &[u8; 8]) -> u64 {
    u64::from_be_bytes(*name)
}

fn enter() -> Message {
    Message {
        letter: b'A',
        locate: 0x0102,
        flags: Flags::new(TimeInForce::GoodTillCancel, SelfTrade::CancelOldest)
            .with(Flags::POST_SLIDE | Flags::HIDDEN),
        reference: 0x1112_1314,
        side: BUY,
        shares: 0x2122_2324,
        stock: stock(b"TEST    "),
        price: 0x3132_3334,
        ..Message::default()
    }
}

fn enter_sub() -> Message {
    Message {
        letter: b'F',
        side: SELL,
        flags: Flags::new(TimeInForce::ImmediateOrCancel, SelfTrade::AccountDefault)
            .with(Flags::MARKET),
        stock: STOCK_SPACES,
        sub_account: u32::from_be_bytes(*b"DESK"),
        ..enter()
    }
}

fn enter_extended() -> Message {
    Message {
        letter: b'O',
        flags: Flags::new(TimeInForce::GoodTillTime, SelfTrade::DecrementAndCancel)
            .with(Flags::POST_REJECT),
        minimum: 0x0000_2122,
        display: 0x2021_2223,
        trigger: 0x4142_4344,
        expiry_s: 0x0001_2345,
        peg: PEG_PRIMARY,
        peg_offset_ticks: -2,
        trade_group: 0x5152,
        ..enter()
    }
}

fn replace() -> Message {
    Message {
        letter: b'U',
        locate: 0x0102,
        reference: 0x1112_1314,
        new_reference: 0x1112_1315,
        shares: 0x2122_2324,
        price: 0x3132_3334,
        ..Message::default()
    }
}

fn reduce() -> Message {
    Message {
        letter: b'X',
        new_reference: 0,
        price: 0,
        ..replace()
    }
}

fn cancel() -> Message {
    Message {
        letter: b'D',
        shares: 0,
        ..reduce()
    }
}

fn mass_cancel() -> Message {
    Message {
        letter: b'M',
        scope: SCOPE_SESSION,
        side: BOTH,
        kill: 1,
        ..cancel()
    }
}

fn bytes_of(message: &Message) -> Vec<u8> {
    Inbound::from_message(message).unwrap().as_bytes().to_vec()
}

fn request(messages: &[Message], signed: bool) -> Vec<u8> {
    let mut packet = PacketBuilder::new(session(), 0x0102_0304_0506_0708);
    for message in messages {
        packet
            .push(&Inbound::from_message(message).unwrap())
            .unwrap();
    }
    packet.sign(signed.then(key).as_ref())
}

fn vectors() -> Vec<Vector> {
    let mut all = messages();
    all.extend(wrong_fields());
    all.extend(acks());
    all.extend(requests());
    all.extend(answers());
    all.extend(malformed());
    all
}

fn messages() -> Vec<Vector> {
    let account = Message {
        scope: SCOPE_ACCOUNT,
        side: SELL,
        kill: 0,
        locate: 0,
        ..mass_cancel()
    };
    let midpoint = Message {
        flags: Flags::new(TimeInForce::Day, SelfTrade::CancelBoth).with(Flags::HIDDEN),
        side: SELL,
        peg: PEG_MIDPOINT,
        peg_offset_ticks: 3,
        minimum: 5,
        display: 0,
        trigger: 0,
        expiry_s: 0,
        trade_group: 0,
        ..enter_extended()
    };
    let fill_or_kill = Message {
        flags: Flags::new(TimeInForce::FillOrKill, SelfTrade::CancelNewest),
        ..enter()
    };
    [
        (
            "enter",
            "`A`: buy, good till cancel, post-only slide, hidden",
            enter(),
        ),
        (
            "enter_fill_or_kill",
            "`A`: fill or kill, self-trade cancels the newest",
            fill_or_kill,
        ),
        (
            "enter_sub",
            "`F`: sell at market, immediate or cancel, sub-account DESK",
            enter_sub(),
        ),
        (
            "enter_extended",
            "`O`: every field set, good till time, primary peg",
            enter_extended(),
        ),
        (
            "enter_extended_midpoint",
            "`O`: hidden midpoint peg with a minimum quantity",
            midpoint,
        ),
        ("replace", "`U`", replace()),
        ("reduce", "`X`", reduce()),
        ("cancel", "`D`", cancel()),
        (
            "mass_cancel",
            "`M`: the session's orders of one instrument, both sides, kill",
            mass_cancel(),
        ),
        (
            "mass_cancel_account",
            "`M`: the account's sells of all instruments",
            account,
        ),
    ]
    .into_iter()
    .map(|(name, says, message)| Vector {
        name: format!("message_{name}"),
        says: says.to_owned(),
        bytes: bytes_of(&message),
        means: Means::Message(message),
    })
    .collect()
}

/// A good message with one byte changed, for every field error that a message can have.
fn wrong_fields() -> Vec<Vector> {
    use FieldError::*;
    let good_till_time = Flags::new(TimeInForce::GoodTillTime, SelfTrade::AccountDefault).0 as u8;
    [
        (TrackingNotZero, "`D` with a flag", cancel(), 4, 1),
        (TimestampNotZero, "`X` with a timestamp", reduce(), 10, 1),
        (
            ReferenceTooLarge,
            "`U` whose new reference has a high half",
            replace(),
            22,
            1,
        ),
        (
            ReferenceZero,
            "`D` of reference 0",
            Message {
                reference: 1,
                ..cancel()
            },
            18,
            0,
        ),
        (SideUnknown, "`A` with side `b`", enter(), 19, b'b'),
        (
            SharesZero,
            "`X` of no shares",
            Message {
                shares: 1,
                ..reduce()
            },
            22,
            0,
        ),
        (FlagUnknown, "`A` with flag bit 10", enter(), 3, 0b101),
        (
            TimeInForceUnknown,
            "`A` with time in force 5",
            enter(),
            4,
            5,
        ),
        (
            SelfTradeUnknown,
            "`A` with self-trade rule 5",
            enter(),
            4,
            5 << 5,
        ),
        (
            PostOnlyTwice,
            "`A` post-only as reject and as slide",
            enter(),
            4,
            0b1_1000,
        ),
        (
            PostOnlyImmediate,
            "`A` post-only, immediate or cancel",
            enter(),
            4,
            0b1010,
        ),
        (PostOnlyMarket, "`A` post-only at market", enter(), 3, 0b10),
        (
            ExpiryMissing,
            "`A` good till time",
            enter(),
            4,
            good_till_time,
        ),
        (
            ExpiryUnasked,
            "`O` with an expiry, good for the day",
            enter_extended(),
            4,
            0,
        ),
        (
            ExpiryTooLate,
            "`O` that expires after the day",
            enter_extended(),
            48,
            1,
        ),
        (
            MinimumAboveShares,
            "`O` whose minimum is above its quantity",
            enter_extended(),
            36,
            0x22,
        ),
        (
            DisplayAboveShares,
            "`O` that displays more than it has",
            enter_extended(),
            40,
            0x22,
        ),
        (
            DisplayOfHidden,
            "`O` hidden, with a displayed quantity",
            enter_extended(),
            3,
            1,
        ),
        (PegUnknown, "`O` with peg `R`", enter_extended(), 52, b'R'),
        (
            PegOffsetUnasked,
            "`O` with a peg offset and no peg",
            enter_extended(),
            52,
            0,
        ),
        (ScopeUnknown, "`M` with scope `X`", mass_cancel(), 19, b'X'),
        (KillUnknown, "`M` with kill 2", mass_cancel(), 21, 2),
        (
            ReservedNotZero,
            "`M` whose reserved byte is 1",
            mass_cancel(),
            22,
            1,
        ),
    ]
    .into_iter()
    .map(|(error, says, message, at, byte)| {
        let mut bytes = bytes_of(&message);
        assert_ne!(bytes[at], byte);
        bytes[at] = byte;
        let name = format!("wrong_field_{}", snake(&format!("{error:?}")));
        Vector {
            name,
            says: says.to_owned(),
            bytes,
            means: Means::WrongField(error),
        }
    })
    .collect()
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

fn ack(result: u8) -> Ack {
    Ack {
        sequence: 0x4142_4344_4546_4748,
        reference: 0x1112_1314,
        quantity: 0x2122_2324,
        result,
        reason: 0,
    }
}

fn acks() -> Vec<Vector> {
    [
        ("accepted", "accepted", ack(ACCEPTED)),
        (
            "rejected",
            "rejected with reason 7",
            Ack {
                reason: 7,
                quantity: 0,
                ..ack(REJECTED)
            },
        ),
        (
            "continues",
            "continues, with the quantity so far",
            ack(CONTINUES),
        ),
        (
            "not_taken",
            "not taken with reason 9; the sequence is the expected client sequence",
            Ack {
                reason: 9,
                quantity: 0,
                ..ack(NOT_TAKEN)
            },
        ),
        (
            "answered",
            "answered long ago",
            Ack {
                quantity: 0,
                sequence: 0,
                ..ack(ANSWERED)
            },
        ),
    ]
    .into_iter()
    .map(|(name, says, ack)| Vector {
        name: format!("ack_{name}"),
        says: format!("`K`: {says}"),
        bytes: AckWire::from(&ack).as_bytes().to_vec(),
        means: Means::Ack(ack),
    })
    .collect()
}

fn every_message() -> Vec<Message> {
    let all = [
        enter(),
        enter_sub(),
        enter_extended(),
        replace(),
        reduce(),
        cancel(),
    ];
    all.into_iter().chain([mass_cancel()]).collect()
}

fn requests() -> Vec<Vector> {
    [
        ("heartbeat", "only the tag block", vec![], true),
        ("enter", "one `A`", vec![enter()], true),
        ("every_message", "one of each letter", every_message(), true),
        (
            "full_cancels",
            "68 `D`: the largest count",
            vec![cancel(); 68],
            true,
        ),
        (
            "full_extended",
            "24 `O`: as many as fit",
            vec![enter_extended(); 24],
            true,
        ),
        (
            "blank_tag",
            "one `A`, tag switched off",
            vec![enter()],
            false,
        ),
        (
            "heartbeat_blank_tag",
            "only the tag block, tag switched off",
            vec![],
            false,
        ),
    ]
    .into_iter()
    .map(|(name, says, messages, signed)| Vector {
        name: format!("request_{name}"),
        says: says.to_owned(),
        bytes: request(&messages, signed),
        means: Means::Request {
            sequence: 0x0102_0304_0506_0708,
            messages,
            signed,
        },
    })
    .collect()
}

fn answers() -> Vec<Vector> {
    let answer = |acks: Vec<Ack>| Answer {
        session: session(),
        sequence: 0x0102_0304_0506_0708,
        acks,
    };
    let each = [ACCEPTED, REJECTED, CONTINUES, NOT_TAKEN, ANSWERED];
    [
        (
            "heartbeat",
            "to a heartbeat: the header has the expected sequence",
            answer(vec![]),
            true,
        ),
        (
            "enter",
            "to one message, accepted",
            answer(vec![ack(ACCEPTED)]),
            true,
        ),
        (
            "every_result",
            "five messages, each result once",
            answer(each.map(ack).to_vec()),
            true,
        ),
        (
            "full",
            "68 messages: the longest answer",
            answer(vec![ack(ACCEPTED); 68]),
            true,
        ),
        (
            "blank_tag",
            "one message, tag switched off",
            answer(vec![ack(ACCEPTED)]),
            false,
        ),
    ]
    .into_iter()
    .map(|(name, says, answer, signed)| Vector {
        name: format!("answer_{name}"),
        says: says.to_owned(),
        bytes: answer.sign(signed.then(key).as_ref()),
        means: Means::Answer(answer, signed),
    })
    .collect()
}

/// Good packets spoilt in one way each; the last is told by the order of the checks.
fn malformed() -> Vec<Vector> {
    let good = || request(&[enter(), cancel()], true);
    let with = |at: usize, bytes: &[u8]| {
        let mut packet = good();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        packet
    };
    let cut = |bytes: usize| good()[..bytes].to_vec();
    let tag_block = good()[20 + 38 + 21..].to_vec();
    let mut too_long = request(&[cancel(); 68], true);
    too_long.resize(1473, 0);
    let mut trailing = good();
    trailing.push(0);
    let mut two_tags = with(18, &[0, 4]);
    two_tags.extend(&tag_block);
    let mut no_tag = good()[..20 + 38 + 21].to_vec();
    no_tag[18..20].copy_from_slice(&[0, 2]);
    let mut unknown = good();
    unknown[22] = b'E';
    use Malformed::*;
    [
        (
            "too_short",
            "one byte less than a header",
            TooShort,
            cut(19),
        ),
        ("too_short_empty", "no byte at all", TooShort, vec![]),
        ("too_long", "1,473 bytes", TooLong, too_long),
        (
            "bad_session",
            "session letter `U`, which is not of the alphabet",
            BadSession,
            with(3, b"U"),
        ),
        (
            "bad_session_lower_case",
            "session letter `a`",
            BadSession,
            with(0, b"a"),
        ),
        ("count_zero", "count 0", CountZero, with(18, &[0, 0])),
        (
            "count_zero_header",
            "MoldUDP64's own heartbeat, 20 bytes",
            CountZero,
            {
                let mut header = with(18, &[0, 0]);
                header.truncate(20);
                header
            },
        ),
        (
            "count_end_of_session",
            "count 0xFFFF",
            CountEndOfSession,
            with(18, &[0xFF, 0xFF]),
        ),
        (
            "count_too_large",
            "count 70",
            CountTooLarge,
            with(18, &[0, 70]),
        ),
        (
            "overrun_header",
            "a header that promises blocks",
            Overrun,
            cut(20),
        ),
        (
            "overrun_length",
            "ends within a block's length",
            Overrun,
            cut(59),
        ),
        (
            "overrun_letter",
            "ends before a block's letter",
            Overrun,
            cut(60),
        ),
        (
            "overrun_block",
            "ends within the tag",
            Overrun,
            cut(good().len() - 1),
        ),
        ("overrun_count", "count one too many", Overrun, {
            let mut packet = no_tag.clone();
            packet[18..20].copy_from_slice(&[0, 3]);
            packet
        }),
        (
            "unknown_letter",
            "`E`, which is only of the feed",
            UnknownLetter,
            unknown,
        ),
        (
            "bad_block_length",
            "`A` of 35 bytes",
            BadBlockLength,
            with(20, &[0, 35]),
        ),
        (
            "bad_block_length_zero",
            "a block without content",
            BadBlockLength,
            with(20, &[0, 0]),
        ),
        ("tag_not_last", "two tag blocks", TagNotLast, two_tags),
        (
            "tag_not_last_count",
            "a count one too large behind the tag",
            TagNotLast,
            with(18, &[0, 4]),
        ),
        ("no_tag", "two messages and no tag block", NoTag, no_tag),
        (
            "no_tag_count",
            "a count one too small",
            NoTag,
            with(18, &[0, 2]),
        ),
        (
            "trailing_bytes",
            "a byte behind the tag block",
            TrailingBytes,
            trailing,
        ),
    ]
    .into_iter()
    .map(|(name, says, cause, bytes)| Vector {
        name: format!("malformed_{name}"),
        says: says.to_owned(),
        bytes,
        means: Means::Malformed(cause),
    })
    .collect()
}

impl Vector {
    /// Reads the bytes and compares; what reads well is encoded back.
    fn check(&self, bytes: &[u8]) {
        assert_eq!(bytes, self.bytes, "{}: the encoding has changed", self.name);
        match &self.means {
            Means::Message(message) => {
                let read = Inbound::read(bytes).unwrap();
                assert_eq!(read.check(), Ok(*message), "{}", self.name);
                assert_eq!(bytes_of(message), bytes, "{}", self.name);
            }
            Means::WrongField(error) => {
                let (buf, cells) = (Buffer::new(), MessageCells::default());
                buf.copy_in(bytes);
                assert_eq!(
                    parse(&buf, 0, bytes[0], &cells),
                    Err(*error),
                    "{}",
                    self.name
                );
            }
            Means::Ack(ack) => {
                let read = Ack::from(AckWire::ref_from_bytes(bytes).unwrap());
                assert_eq!(read, *ack, "{}", self.name);
                assert_eq!(AckWire::from(&read).as_bytes(), bytes, "{}", self.name);
            }
            Means::Request {
                sequence,
                messages,
                signed,
            } => {
                let read = Request::read(bytes).unwrap();
                assert_eq!((read.session, read.sequence), (session(), *sequence));
                assert!(read.is_genuine(signed.then(key).as_ref()), "{}", self.name);
                let read: Vec<_> = read.messages.iter().map(|m| m.check().unwrap()).collect();
                assert_eq!(&read, messages, "{}", self.name);
                assert_eq!(request(&read, *signed), bytes, "{}", self.name);
            }
            Means::Answer(answer, signed) => {
                let key = signed.then(key);
                let read = Answer::read(bytes, key.as_ref()).unwrap();
                assert_eq!(&read, answer, "{}", self.name);
                assert_eq!(read.sign(key.as_ref()), bytes, "{}", self.name);
            }
            Means::Malformed(cause) => {
                let buf = Buffer::new();
                buf.copy_in(bytes);
                assert_eq!(
                    shape::<Native>(&buf, bytes.len()),
                    Err(*cause),
                    "{}",
                    self.name
                );
            }
        }
    }

    fn row(&self) -> String {
        let gives = match &self.means {
            Means::WrongField(error) => format!("`{error:?}`"),
            Means::Malformed(cause) => format!("`{cause:?}`"),
            _ => "good".to_owned(),
        };
        format!(
            "| `{}.bin` | {} | {} | {gives} |\n",
            self.name,
            self.bytes.len(),
            self.says
        )
    }
}

fn readme(vectors: &[Vector]) -> String {
    let mut text = String::from(
        "# Wire vectors\n\n\
         Bytes of L2E/1 (`docs/wire.md`) with their meaning. `message_*`, `wrong_field_*` and \
         `ack_*` are the content\n\
         of one block, without its length; the others are whole UDP payloads. Key of the tags: \
         bytes 00 01 … 0f;\n\
         session index 0x12345, nonce 0x23456789. `engine/wire/tests/golden.rs` has every field's \
         value, checks\n\
         each file both ways and writes this list.\n\n\
         | file | bytes | what | reading gives |\n|---|---|---|---|\n",
    );
    text.extend(vectors.iter().map(Vector::row));
    text
}

#[test]
fn every_file_reads_and_writes_back() {
    let (folder, vectors) = (folder(), vectors());
    if std::env::var_os("RING0_WRITE_VECTORS").is_some() {
        for vector in &vectors {
            std::fs::write(
                folder.join(&vector.name).with_extension("bin"),
                &vector.bytes,
            )
            .unwrap();
        }
        std::fs::write(folder.join("README.md"), readme(&vectors)).unwrap();
    }
    for vector in &vectors {
        let path = folder.join(&vector.name).with_extension("bin");
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        vector.check(&bytes);
    }
    let text = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert_eq!(
        text,
        readme(&vectors),
        "README.md lists other files or meanings"
    );
    let mut there: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    there.sort();
    let mut listed: Vec<String> = vectors.iter().map(|v| format!("{}.bin", v.name)).collect();
    listed.sort();
    assert_eq!(there, listed, "a file without a meaning");
}

/// Every cause that a packet can have has a file.
#[test]
fn every_cause_has_a_file() {
    let vectors = vectors();
    for cause in Malformed::ALL {
        let found = vectors
            .iter()
            .any(|v| matches!(v.means, Means::Malformed(c) if c == cause));
        assert_eq!(found, cause != Malformed::Interrupted, "{cause}");
    }
    for error in FieldError::ALL {
        let found = vectors
            .iter()
            .any(|v| matches!(v.means, Means::WrongField(e) if e == error));
        assert_eq!(found, error != FieldError::LetterUnknown, "{error:?}");
    }
    assert!(
        Malformed::ALL
            .iter()
            .enumerate()
            .all(|(i, &cause)| cause as usize == i)
    );
    assert!(
        FieldError::ALL
            .iter()
            .enumerate()
            .all(|(i, &error)| error as usize == i + 1)
    );
}

/// One packet byte for byte as `docs/wire.md` prints it: nothing of ours makes the expectation.
#[test]
fn the_documented_packet_is_the_file() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wire.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, from) = docs.split_once("<!-- request_enter -->").unwrap();
    let (block, _) = from.split_once("<!-- end -->").unwrap();
    let printed: Vec<u8> = block
        .lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, line)| line.split("  ").next().unwrap().split(' '))
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    assert_eq!(
        printed,
        std::fs::read(folder().join("request_enter.bin")).unwrap()
    );
}
