//! A million frames that nobody should send (RULES 31): nothing changes, and each is counted under its own name.
//!
//! What becomes of a frame is foretold by a classifier of its own, written from `docs/wire.md`, with the tag from a crate that the
//! kernel program does not use. Sessions: 0 is granted and has traded, 1 is granted without a key, 2 is not granted, 3 has its tag
//! switched off. No frame carries the next client sequence of a session with a good tag: that alone could be taken.

use ring0_abi::{COUNTERS, Counter, counter_name, malformed};
use ring0_engine::Capacity;
use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::record::{Outcome, State};
use ring0_lab::{Options, in_netns};
use ring0_rings::{KernelShard, Live, Ring};
use ring0_tests::{Kernel, PORT, Random, seed};
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::message::{BUY, STOCK_SPACES};
use ring0_wire::{Buffer, Key, Malformed, Message, SessionId};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher as _;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

const KEY: [u8; 16] = *b"sixteen bytes...";
/// Frames by test-run and over veth.
const BY_RUN: u64 = 1_000_000;
const BY_WIRE: u64 = 120_000;
/// Frames between two looks at the state.
const LOOK_EVERY: u64 = 10_000;
/// Longest frame that test-run takes: a page less headroom and what the kernel keeps behind a frame.
const RUN_MAX: usize = 3_500;
/// Headers before a payload.
const HEADERS: usize = 42;
/// Destination hardware address of nobody: what the program passes on ends there, and no answer of the host's own stack comes back to be
/// counted. The program looks at no hardware address.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
const OURS: [u8; 4] = [10, 77, 0, 1];

/// Counters that no frame here can move: what is taken, what only a shard in another state says, and our own faults.
const NOT_HOSTILE: [u32; 11] = [
    Counter::Taken as u32,
    Counter::Held as u32,
    Counter::HeldDuplicate as u32,
    Counter::RingFull as u32,
    Counter::RateLimited as u32,
    Counter::Halted as u32,
    Counter::Doorbell as u32,
    Counter::PassNotReady as u32,
    Counter::DropBusy as u32,
    Counter::DropAnswer as u32,
    malformed(Malformed::Interrupted),
];

fn id(session: u32) -> SessionId {
    SessionId::new(session, 0x1234_5678 + session).expect("20 and 30 bits")
}

/// Client sequences expected of sessions 0 and 3.
#[derive(Clone, Copy)]
struct Expected {
    checked: u64,
    blank: u64,
}

/// Which counter a frame must end under.
fn foretell(frame: &[u8], expected: Expected) -> u32 {
    let be16 = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    if frame.len() < 14 || be16(12) != 0x0800 {
        return Counter::PassEtherType as u32;
    }
    if frame.len() < HEADERS {
        return Counter::PassTruncated as u32;
    }
    if frame[23] != 17 {
        return Counter::PassProtocol as u32;
    }
    if frame[14] != 0x45 {
        return Counter::PassOptions as u32;
    }
    if be16(20) & !0x4000 != 0 {
        return Counter::PassFragment as u32; // any bit but "don't fragment"
    }
    if be16(36) != PORT || frame[30..34] != OURS {
        return Counter::PassPort as u32;
    }
    let (total, udp) = (usize::from(be16(16)), usize::from(be16(38)));
    if udp < 8 || total != udp + 20 || total + 14 > frame.len() {
        return Counter::DropLength as u32;
    }
    foretell_payload(&frame[HEADERS..HEADERS + udp - 8], expected)
}

fn foretell_payload(payload: &[u8], expected: Expected) -> u32 {
    let count = match foretell_shape(payload) {
        Ok(count) => u64::from(count),
        Err(cause) => return malformed(cause),
    };
    let granted = [0, 1, 3].into_iter().find(|&it| payload[..10] == id(it).0);
    let Some(session) = granted else {
        return Counter::DropUnknownSession as u32;
    };
    let (signed, tag) = payload.split_at(payload.len() - 16);
    let (good, next) = match session {
        0 => {
            let mut hasher = SipHasher24::new_with_key(&KEY);
            hasher.write(&[1]);
            hasher.write(&signed[..signed.len() - 3]);
            (hasher.finish128().as_bytes() == tag, expected.checked)
        }
        3 => (tag == [0; 16], expected.blank),
        _ => return Counter::DropNoKey as u32,
    };
    if !good {
        return Counter::DropBadTag as u32;
    }
    let sequence = u64::from_be_bytes(payload[10..18].try_into().expect("eight bytes"));
    if sequence > next {
        Counter::Hole as u32
    } else if sequence.wrapping_add(count) <= next {
        Counter::Duplicate as u32
    } else if sequence < next {
        Counter::Straddle as u32
    } else {
        Counter::Taken as u32
    }
}

/// Framing alone, from the tables of `docs/wire.md`.
fn foretell_shape(payload: &[u8]) -> Result<u16, Malformed> {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if payload.len() < 20 {
        return Err(Malformed::TooShort);
    }
    if payload.len() > 1472 {
        return Err(Malformed::TooLong);
    }
    if !payload[..4].iter().all(|letter| ALPHABET.contains(letter)) {
        return Err(Malformed::BadSession);
    }
    let count = u16::from_be_bytes([payload[18], payload[19]]);
    match count {
        0 => return Err(Malformed::CountZero),
        0xFFFF => return Err(Malformed::CountEndOfSession),
        70.. => return Err(Malformed::CountTooLarge),
        _ => {}
    }
    let mut rest = &payload[20..];
    for left in (0..count).rev() {
        let [high, low, letter, ..] = *rest else {
            return Err(Malformed::Overrun);
        };
        let wanted = match letter {
            b'A' => 36,
            b'F' => 40,
            b'O' => 56,
            b'U' => 35,
            b'X' | b'M' => 23,
            b'D' => 19,
            b'z' => 17,
            _ => return Err(Malformed::UnknownLetter),
        };
        if usize::from(u16::from_be_bytes([high, low])) != wanted {
            return Err(Malformed::BadBlockLength);
        }
        rest = rest.get(2 + wanted..).ok_or(Malformed::Overrun)?;
        match (letter, left) {
            (b'z', 0) => {}
            (b'z', _) => return Err(Malformed::TagNotLast),
            (_, 0) => return Err(Malformed::NoTag),
            _ => {}
        }
    }
    if rest.is_empty() {
        Ok(count)
    } else {
        Err(Malformed::TrailingBytes)
    }
}

/// A request of `messages` orders.
fn request(session: u32, sequence: u64, messages: usize, random: &mut Random) -> Vec<u8> {
    let mut builder = PacketBuilder::new(id(session), sequence);
    for index in 0..messages {
        let message = Message {
            letter: b'A',
            locate: 1,
            reference: (sequence as u32).wrapping_add(index as u32).max(1),
            side: BUY,
            shares: 1 + random.below(50) as u32,
            price: 100 * (1 + random.below(20) as u32),
            stock: STOCK_SPACES,
            ..Message::default()
        };
        let message = Inbound::from_message(&message).expect("a letter of ours");
        if builder.push(&message).is_err() {
            break;
        }
    }
    let key = Key::from_bytes(&KEY);
    builder.sign((session != 3).then_some(&key))
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADERS + payload.len());
    frame.extend_from_slice(&NOBODY);
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 0x66, 8, 0, 0x45, 0]);
    let total = (payload.len() + 28) as u16;
    frame.extend_from_slice(&total.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 2]);
    frame.extend_from_slice(&OURS);
    frame.extend_from_slice(&40_000_u16.to_be_bytes());
    frame.extend_from_slice(&PORT.to_be_bytes());
    frame.extend_from_slice(&(total - 20).to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(payload);
    frame
}

/// What a frame is made to be; what it is counted as, the classifier says.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Random,
    RandomPayload,
    Truncated,
    CutPayload,
    Oversized,
    Fragment,
    BadTag,
    Replayed,
    Reordered,
    Vlan,
    Ipv6,
    OtherEtherType,
    OtherProtocol,
    OtherPort,
    OtherAddress,
    Options,
    BadLengths,
    Stranger,
    NoKey,
    OtherCount,
    Flipped,
    Padded,
    BlankTag,
    Trailing,
}

const SORTS: [Sort; 24] = [
    Sort::Random,
    Sort::RandomPayload,
    Sort::Truncated,
    Sort::CutPayload,
    Sort::Oversized,
    Sort::Fragment,
    Sort::BadTag,
    Sort::Replayed,
    Sort::Reordered,
    Sort::Vlan,
    Sort::Ipv6,
    Sort::OtherEtherType,
    Sort::OtherProtocol,
    Sort::OtherPort,
    Sort::OtherAddress,
    Sort::Options,
    Sort::BadLengths,
    Sort::Stranger,
    Sort::NoKey,
    Sort::OtherCount,
    Sort::Flipped,
    Sort::Padded,
    Sort::BlankTag,
    Sort::Trailing,
];

struct Hostile {
    random: Random,
    expected: Expected,
    /// Requests that were taken.
    sent: Vec<Vec<u8>>,
    /// Longest frame.
    frame_max: usize,
}

impl Hostile {
    /// A frame that is not to be taken.
    fn next(&mut self) -> (Sort, Vec<u8>) {
        loop {
            let sort = SORTS[self.random.below(SORTS.len())];
            let mut frame = self.make(sort);
            frame.truncate(self.frame_max);
            if foretell(&frame, self.expected) != Counter::Taken as u32 {
                return (sort, frame);
            }
        }
    }

    /// An authentic request that is not the next one: taken before, ahead, or across.
    fn authentic(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        match random.below(4) {
            0 | 1 => self.sent[random.below(self.sent.len())].clone(),
            2 => {
                let bits = random.below(40);
                let ahead = 1 + random.below(1 << bits) as u64;
                let messages = random.below(39);
                request(0, self.expected.checked + ahead, messages, random)
            }
            _ => {
                let back = 1 + random.below(30) as u64;
                let sequence = self.expected.checked.saturating_sub(back).max(1);
                let messages = random.below(39);
                request(0, sequence, messages, random)
            }
        }
    }

    fn make(&mut self, sort: Sort) -> Vec<u8> {
        let authentic = self.authentic();
        let mut whole = frame(&authentic);
        let random = &mut self.random;
        let put16 = |frame: &mut Vec<u8>, at: usize, value: u16| {
            frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        };
        match sort {
            Sort::Random => {
                let mut bytes = vec![0; 14 + random.below(1 + self.frame_max - 14)];
                random.fill(&mut bytes);
                bytes[..6].copy_from_slice(&NOBODY);
                bytes
            }
            Sort::RandomPayload => {
                let mut payload = vec![0; random.below(1473)];
                random.fill(&mut payload);
                if payload.len() >= 20 && random.below(2) == 0 {
                    payload[..10].copy_from_slice(&id(0).0);
                    payload[18] = 0;
                    payload[19] = random.below(80) as u8;
                }
                frame(&payload)
            }
            Sort::Truncated => {
                whole.truncate(14 + random.below(whole.len() - 14));
                whole
            }
            Sort::CutPayload => frame(&authentic[..random.below(authentic.len())]),
            Sort::Oversized => {
                let most = self.frame_max.min(65_535) - HEADERS;
                let mut payload = authentic;
                payload.resize(1473 + random.below(most - 1472), 0);
                frame(&payload)
            }
            Sort::Fragment => {
                let bits = 1 + random.below(0x3FFF) as u16;
                put16(
                    &mut whole,
                    20,
                    if random.below(2) == 0 { 0x2000 } else { bits },
                );
                whole
            }
            Sort::BadTag => {
                let at = whole.len() - 1 - random.below(16);
                whole[at] ^= 1 << random.below(8);
                whole
            }
            Sort::Replayed | Sort::Reordered => whole,
            Sort::Vlan => {
                let tag = [0x81, 0x00, 0, random.below(256) as u8];
                whole.splice(12..12, tag);
                whole
            }
            Sort::Ipv6 => {
                put16(&mut whole, 12, 0x86DD);
                whole[14] = 0x60;
                whole
            }
            Sort::OtherEtherType => {
                // The doorbell's own, ARP, MPLS, PTP, and any: none is armed.
                let known = [0x88B5, 0x0806, 0x8847, 0x88F7, random.below(65_536) as u16];
                put16(&mut whole, 12, known[random.below(known.len())]);
                whole
            }
            Sort::OtherProtocol => {
                whole[23] = random.below(256) as u8;
                whole
            }
            Sort::OtherPort => {
                put16(&mut whole, 36, random.below(65_536) as u16);
                whole
            }
            Sort::OtherAddress => {
                whole[30 + random.below(4)] ^= 1 << random.below(8);
                whole
            }
            Sort::Options => {
                whole[14] = 0x46 + random.below(10) as u8;
                whole
            }
            Sort::BadLengths => {
                let at = [16, 38][random.below(2)];
                put16(&mut whole, at, random.below(65_536) as u16);
                whole
            }
            Sort::Stranger => {
                let session = if random.below(2) == 0 {
                    2
                } else {
                    random.below(1 << 20) as u32
                };
                let nonce = random.below(1 << 30) as u32;
                let id = SessionId::new(session, nonce).expect("20 and 30 bits");
                whole[HEADERS..HEADERS + 10].copy_from_slice(&id.0);
                whole
            }
            Sort::NoKey => frame(&request(1, 1, random.below(39), random)),
            Sort::OtherCount => {
                let counts = [
                    0,
                    0xFFFF,
                    70,
                    random.below(65_536) as u16,
                    random.below(70) as u16,
                ];
                put16(&mut whole, HEADERS + 18, counts[random.below(counts.len())]);
                whole
            }
            Sort::Flipped => {
                for _ in 0..1 + random.below(4) {
                    let at = 6 + random.below(whole.len() - 6);
                    whole[at] ^= 1 << random.below(8);
                }
                whole
            }
            Sort::Padded => {
                // Bytes behind the IP packet: no part of it.
                whole.resize(whole.len() + random.below(64), 0xEE);
                whole
            }
            Sort::Trailing => {
                let mut payload = authentic;
                let more = 1 + random.below(40);
                payload.resize(payload.len() + more, 0);
                frame(&payload)
            }
            Sort::BlankTag => {
                let ahead = self.expected.blank + 1 + random.below(1000) as u64;
                let mut whole = frame(&request(3, ahead, random.below(39), random));
                if random.below(2) == 0 {
                    let at = whole.len() - 1 - random.below(16);
                    whole[at] = 1;
                }
                whole
            }
        }
    }
}

/// Counters that moved, by name.
fn names(counts: &[u64]) -> Vec<(String, u64)> {
    let name = |number: usize| {
        let (prefix, name) = counter_name(number as u32).expect("in use");
        format!("{prefix}{name}")
    };
    let moved = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    moved
        .map(|(number, &count)| (name(number), count))
        .collect()
}

/// What must hold after some frames: the state as before, the counters as foretold and nothing else counted.
struct Ledger {
    state: String,
    tail: u64,
    before: Vec<u64>,
    foretold: Vec<u64>,
    frames: u64,
}

impl Ledger {
    fn open(shard: &mut KernelShard) -> Ledger {
        Ledger {
            state: shard.state_hash().to_string(),
            tail: shard.tail(),
            before: shard.counters().unwrap(),
            foretold: vec![0; COUNTERS as usize],
            frames: 0,
        }
    }

    fn note(&mut self, counter: u32) {
        self.foretold[counter as usize] += 1;
        self.frames += 1;
    }

    fn check(&self, shard: &mut KernelShard, seed: u64) {
        let now = shard.counters().unwrap();
        let counted: Vec<u64> = now
            .iter()
            .zip(&self.before)
            .map(|(now, before)| now - before)
            .collect();
        assert_eq!(names(&counted), names(&self.foretold), "RING0_SEED={seed}");
        assert_eq!(
            counted.iter().sum::<u64>(),
            self.frames,
            "RING0_SEED={seed}"
        );
        assert_eq!(
            shard.state_hash().to_string(),
            self.state,
            "RING0_SEED={seed}"
        );
        assert_eq!(
            shard.tail(),
            self.tail,
            "RING0_SEED={seed}: nothing is recorded"
        );
    }
}

fn set_up(shard: &mut KernelShard, random: &mut Random) -> Hostile {
    shard.set_key(0, Some(&KEY)).unwrap();
    shard.set_key(3, None).unwrap();
    let mut controls = vec![
        Control::new(ControlKind::Clock, &Clock { day_base_ns: 0 }),
        Control::new(
            ControlKind::OpenAccount,
            &OpenAccount {
                account: 0,
                reserved: 0,
            },
        ),
    ];
    for asset in 0..2 {
        let deposit = Deposit {
            account: 0,
            asset,
            amount: 1 << 50,
        };
        controls.push(Control::new(ControlKind::Deposit, &deposit));
    }
    let list = List {
        instrument: 0,
        state: State::Continuous as u32,
        symbol: *b"HOSTILE ",
        base_asset: 1,
        quote_asset: 0,
        tick_size: 100,
        lot_size: 1,
        tick_value: 1,
        ladder_base: 1,
        lot_value: 1,
        ladder_len: 64,
        lots_max: 1000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: 0,
        taker_ppm: 0,
    };
    controls.push(Control::new(ControlKind::List, &list));
    for session in [0, 1, 3] {
        let grant = Grant {
            session,
            account: 0,
            id: id(session).0,
            answers_log2: 7,
            references_log2: 10,
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
            orders_max: 0,
            shares_max: 0,
            notional_max: 0,
            cancel_on_disconnect: 0,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::GrantSession, &grant));
    }
    let results = shard.command(&controls).unwrap();
    assert!(
        results
            .iter()
            .all(|(outcome, _)| *outcome == Outcome::Accepted),
        "{results:?}"
    );
    // Some real trading, so that there is a state to change and there are answers to be asked for again.
    let mut sent = Vec::new();
    let mut sequence = 1;
    for _ in 0..20 {
        let payload = request(0, sequence, random.below(20), random);
        let run = shard.run_frame(&frame(&payload)).unwrap();
        assert_eq!(run.verdict, 3, "an authentic packet is answered");
        sequence += u64::from(u16::from_be_bytes([payload[18], payload[19]]));
        sent.push(payload);
    }
    Hostile {
        random: random.clone(),
        expected: Expected {
            checked: sequence,
            blank: 1,
        },
        sent,
        frame_max: RUN_MAX,
    }
}

#[test]
fn a_million_hostile_frames_change_nothing() {
    let seed = seed();
    let mut random = Random(seed);
    let mut kernel = Kernel::up(
        &Capacity::SMALL,
        1 << 16,
        Options {
            queues: 1,
            mtu: 1500,
        },
    );
    let mut hostile = set_up(&mut kernel.shard, &mut random);

    let mut ledger = Ledger::open(&mut kernel.shard);
    for number in 1..=BY_RUN {
        let (sort, frame) = hostile.next();
        ledger.note(foretell(&frame, hostile.expected));
        let run = kernel.shard.run_frame(&frame);
        run.unwrap_or_else(|error| {
            panic!("RING0_SEED={seed} {sort:?} of {}: {error}", frame.len())
        });
        if number.is_multiple_of(LOOK_EVERY) {
            ledger.check(&mut kernel.shard, seed);
        }
    }
    println!(
        "by test-run: {} frames, {:?}",
        ledger.frames,
        names(&ledger.foretold)
    );
    for number in 0..COUNTERS {
        let met = ledger.foretold[number as usize] > 0;
        let name = counter_name(number);
        assert_eq!(
            met,
            !NOT_HOSTILE.contains(&number),
            "RING0_SEED={seed}: {name:?}"
        );
    }

    let mtu = largest_mtu(&kernel);
    println!(
        "over veth the largest MTU with this program is {mtu}; larger ones, up to 65,535, the kernel refuses"
    );
    hostile.frame_max = mtu + 14;
    let wire = Wire::open(&kernel);
    let mut ledger = Ledger::open(&mut kernel.shard);
    for number in 1..=BY_WIRE {
        let (sort, frame) = hostile.next();
        ledger.note(foretell(&frame, hostile.expected));
        wire.send(&frame).unwrap_or_else(|error| {
            panic!("RING0_SEED={seed} {sort:?} of {}: {error}", frame.len())
        });
        if number.is_multiple_of(LOOK_EVERY) {
            settle(&kernel.shard, &ledger);
            ledger.check(&mut kernel.shard, seed);
        }
    }
    println!(
        "over veth: {} frames, {:?}",
        ledger.frames,
        names(&ledger.foretold)
    );
    kernel.shard.shard().check();

    // Shorter than an Ethernet header is nothing that test-run takes: through the host's parser, and not counted.
    for len in 0..14 {
        assert!(
            kernel.shard.run_frame(&vec![0; len]).is_err(),
            "{len} bytes"
        );
        let shape = ring0_wire::shape::<ring0_wire::Native>(&Buffer::new(), len);
        assert_eq!(shape.map(|_| ()), Err(Malformed::TooShort), "{len} bytes");
    }
    println!(
        "0 to 13 bytes: not sent, test-run refuses them; the host's parser finds them too short"
    );
    ledger.check(&mut kernel.shard, seed);
}

/// Frames over veth are counted on the sender's processor or by a softirq just after.
fn settle(shard: &KernelShard, ledger: &Ledger) {
    let begin = std::time::Instant::now();
    loop {
        let now: u64 = shard.counters().unwrap().iter().sum();
        let before: u64 = ledger.before.iter().sum();
        if now - before >= ledger.frames || begin.elapsed().as_secs() >= 2 {
            return;
        }
        std::thread::yield_now();
    }
}

/// Largest MTU that the kernel allows at both ends against the programs there; it is set. A frame must fit the receiving end's too.
fn largest_mtu(kernel: &Kernel) -> usize {
    let veth = &kernel.veth;
    let ends = [
        (&veth.trader_ns, &veth.trader_if),
        (&veth.exchange_ns, &veth.exchange_if),
    ];
    let set = |mtu: usize| {
        ends.iter().all(|(namespace, interface)| {
            let status = Command::new("ip")
                .args(["-n", namespace, "link", "set", "dev", interface])
                .args(["mtu", &mtu.to_string()])
                .stderr(std::process::Stdio::null())
                .status();
            status.expect("`ip` is there: it made the pair").success()
        })
    };
    let (mut good, mut bad) = (1500, 65_536);
    while bad - good > 1 {
        let middle = (good + bad) / 2;
        if set(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    assert!(set(good));
    good
}

/// An AF_PACKET socket at the trader's end.
struct Wire {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Wire {
    fn open(kernel: &Kernel) -> Wire {
        in_netns(&kernel.veth.trader_ns, || {
            // SAFETY: a new socket; it receives nothing (protocol 0).
            let raw =
                unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
            assert!(raw >= 0, "{}", std::io::Error::last_os_error());
            // SAFETY: just opened, owned by nobody else.
            let socket = unsafe { OwnedFd::from_raw_fd(raw) };
            let name =
                std::ffi::CString::new(kernel.veth.trader_if.as_str()).expect("a plain name");
            // SAFETY: a C string that lives through the call.
            let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
            assert!(index > 0, "{}", std::io::Error::last_os_error());
            // SAFETY: all zeros is an address.
            let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_ifindex = index as i32;
            Wire { socket, address }
        })
        .unwrap()
    }

    fn send(&self, frame: &[u8]) -> std::io::Result<()> {
        let mut tries = 0;
        loop {
            // SAFETY: frame and address live through the call, with their lengths.
            let sent = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw const self.address).cast(),
                    size_of::<libc::sockaddr_ll>() as u32,
                )
            };
            if sent == frame.len() as isize {
                return Ok(());
            }
            let error = std::io::Error::last_os_error();
            // A full queue of the device: it is not sent, and tried again.
            tries += 1;
            let full = matches!(
                error.raw_os_error(),
                Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR)
            );
            if !full || tries > 1000 {
                return Err(error);
            }
            std::thread::yield_now();
        }
    }
}
