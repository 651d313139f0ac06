//! `ring0 lab pcap` and the Wireshark dissector: tshark comes to the values of our own parser in every field of every packet, of a capture of
//! living traffic and of random packets with every letter; and a capture sent to a shard like the captured one gets the same answers, byte for byte.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring0_drive::{Cut, Ends, Market, Packets, References, WireLab, clock, cut, set_up};
use ring0_engine::Reason;
use ring0_itch::pcap::{Reader, Writer, datagram};
use ring0_rings::Live;
use ring0_stream::lobstrm::generate;
use ring0_wire::host::{Answer, Inbound, PacketBuilder, Request};
use ring0_wire::{Ack, Flags, Key, Message, SessionId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a field's values are written as.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Number,
    Text,
    Bytes,
}

const FIELDS: &[(&str, Kind)] = &[
    ("l2e1.session", Kind::Text),
    ("l2e1.session.index", Kind::Number),
    ("l2e1.session.nonce", Kind::Number),
    ("l2e1.sequence", Kind::Number),
    ("l2e1.count", Kind::Number),
    ("l2e1.direction", Kind::Text),
    ("l2e1.block.length", Kind::Number),
    ("l2e1.letter", Kind::Text),
    ("l2e1.locate", Kind::Number),
    ("l2e1.tracking", Kind::Number),
    ("l2e1.flags.time", Kind::Number),
    ("l2e1.flags.post_reject", Kind::Number),
    ("l2e1.flags.post_slide", Kind::Number),
    ("l2e1.flags.self_trade", Kind::Number),
    ("l2e1.flags.hidden", Kind::Number),
    ("l2e1.flags.market", Kind::Number),
    ("l2e1.flags.unknown", Kind::Number),
    ("l2e1.timestamp", Kind::Number),
    ("l2e1.reference", Kind::Number),
    ("l2e1.side", Kind::Text),
    ("l2e1.shares", Kind::Number),
    ("l2e1.stock", Kind::Text),
    ("l2e1.price", Kind::Number),
    ("l2e1.sub_account", Kind::Text),
    ("l2e1.minimum", Kind::Number),
    ("l2e1.display", Kind::Number),
    ("l2e1.trigger", Kind::Number),
    ("l2e1.expiry", Kind::Number),
    ("l2e1.peg", Kind::Number),
    ("l2e1.peg_offset", Kind::Number),
    ("l2e1.trade_group", Kind::Number),
    ("l2e1.new_reference", Kind::Number),
    ("l2e1.scope", Kind::Text),
    ("l2e1.kill", Kind::Number),
    ("l2e1.reserved", Kind::Number),
    ("l2e1.ack.result", Kind::Text),
    ("l2e1.ack.reason", Kind::Number),
    ("l2e1.ack.reference", Kind::Number),
    ("l2e1.ack.quantity", Kind::Number),
    ("l2e1.ack.sequence", Kind::Number),
    ("l2e1.tag", Kind::Bytes),
    ("l2e1.malformed", Kind::Text),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn seeded() -> StdRng {
    let seed = match std::env::var("RING0_SEED") {
        Ok(seed) => seed.parse().expect("RING0_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("seed {seed}; RING0_SEED={seed} repeats it");
    StdRng::seed_from_u64(seed)
}

fn has_tshark() -> bool {
    let there = Command::new("tshark").arg("--version").output().is_ok();
    if !there {
        println!("skipped: tshark is not installed; scripts/setup installs it");
    }
    there
}

/// A packet's values by field, in the order of the packet.
#[derive(Default)]
struct Values(BTreeMap<&'static str, Vec<String>>);

impl Values {
    fn add(&mut self, field: &str, value: impl ToString) {
        let known = FIELDS.iter().find(|(name, _)| *name == field);
        let (name, _) = known.unwrap_or_else(|| panic!("{field} is not compared"));
        self.0.entry(name).or_default().push(value.to_string());
    }

    fn header(&mut self, session: SessionId, sequence: u64, count: usize, direction: &str) {
        self.add("l2e1.session", session);
        self.add("l2e1.session.index", session.index().expect("letters"));
        self.add("l2e1.session.nonce", session.nonce().expect("letters"));
        self.add("l2e1.sequence", sequence);
        self.add("l2e1.count", count);
        self.add("l2e1.direction", direction);
    }

    fn tag(&mut self, payload: &[u8]) {
        self.add("l2e1.block.length", 17);
        self.add("l2e1.letter", "z");
        self.add("l2e1.tag", hex(&payload[payload.len() - 16..]));
    }

    /// The fields that every message has.
    fn message(&mut self, bytes: usize, letter: u8, locate: u16, timestamp: [u8; 6]) {
        self.add("l2e1.block.length", bytes);
        self.add("l2e1.letter", char::from(letter));
        self.add("l2e1.locate", locate);
        let [a, b, c, d, e, f] = timestamp;
        let number = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        self.add("l2e1.timestamp", number);
    }

    fn flags(&mut self, tracking: u16) {
        let flags = Flags(tracking);
        self.add("l2e1.tracking", tracking);
        self.add("l2e1.flags.time", flags.time());
        self.add("l2e1.flags.self_trade", flags.self_trade());
        for (field, bit) in [
            ("post_reject", Flags::POST_REJECT),
            ("post_slide", Flags::POST_SLIDE),
            ("hidden", Flags::HIDDEN),
            ("market", Flags::MARKET),
        ] {
            self.add(&format!("l2e1.flags.{field}"), u8::from(flags.has(bit)));
        }
        self.add("l2e1.flags.unknown", tracking >> 10);
    }

    fn inbound(&mut self, message: &Inbound) {
        let bytes = message.as_bytes().len();
        // The three that enter begin alike.
        macro_rules! order {
            ($m:expr) => {{
                let m = $m;
                self.message(bytes, m.letter, m.locate.get(), m.timestamp);
                self.flags(m.tracking.get());
                self.add("l2e1.reference", m.reference);
                self.add("l2e1.side", char::from(m.side));
                self.add("l2e1.shares", m.shares);
                self.add("l2e1.stock", String::from_utf8_lossy(&m.stock));
                self.add("l2e1.price", m.price);
            }};
        }
        macro_rules! other {
            ($m:expr) => {{
                let m = $m;
                self.message(bytes, m.letter, m.locate.get(), m.timestamp);
                self.add("l2e1.tracking", m.tracking);
                self.add("l2e1.reference", m.reference);
            }};
        }
        match message {
            Inbound::Enter(m) => order!(m),
            Inbound::EnterSub(m) => {
                order!(m);
                let name = String::from_utf8_lossy(&m.sub_account).into_owned();
                self.add("l2e1.sub_account", name);
            }
            Inbound::EnterExtended(m) => {
                order!(m);
                self.add("l2e1.minimum", m.minimum);
                self.add("l2e1.display", m.display);
                self.add("l2e1.trigger", m.trigger);
                self.add("l2e1.expiry", m.expiry_s);
                self.add("l2e1.peg", m.peg);
                self.add("l2e1.peg_offset", m.peg_offset_ticks);
                self.add("l2e1.trade_group", m.trade_group);
            }
            Inbound::Replace(m) => {
                other!(m);
                self.add("l2e1.new_reference", m.new_reference);
                self.add("l2e1.shares", m.shares);
                self.add("l2e1.price", m.price);
            }
            Inbound::Reduce(m) => {
                other!(m);
                self.add("l2e1.shares", m.shares);
            }
            Inbound::Cancel(m) => other!(m),
            Inbound::MassCancel(m) => {
                other!(m);
                self.add("l2e1.scope", char::from(m.scope));
                self.add("l2e1.side", char::from(m.side));
                self.add("l2e1.kill", m.kill);
                self.add("l2e1.reserved", m.reserved);
            }
        }
    }

    /// What our own parser makes of a payload.
    fn of(payload: &[u8], is_answer: bool, keys: &[Option<Key>]) -> Values {
        let mut values = Values::default();
        if is_answer {
            let read = |key: &Option<Key>| Answer::read(payload, key.as_ref()).ok();
            let answer = keys.iter().find_map(read).expect("an answer of ours");
            let count = answer.acks.len() + 1;
            values.header(answer.session, answer.sequence, count, "answer");
            for ack in &answer.acks {
                values.add("l2e1.block.length", 19);
                values.add("l2e1.letter", "K");
                values.add("l2e1.ack.result", char::from(ack.result));
                values.add("l2e1.ack.reason", ack.reason);
                values.add("l2e1.ack.reference", ack.reference);
                values.add("l2e1.ack.quantity", ack.quantity);
                values.add("l2e1.ack.sequence", ack.sequence);
            }
            values.tag(payload);
            return values;
        }
        match Request::read(payload) {
            Ok(request) => {
                let count = request.messages.len() + 1;
                values.header(request.session, request.sequence, count, "request");
                for message in &request.messages {
                    values.inbound(message);
                }
                values.tag(payload);
            }
            Err(cause) => values.add("l2e1.malformed", cause.name()),
        }
        values
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number as tshark of any version writes it.
fn number(text: &str) -> String {
    match (text, text.strip_prefix("0x")) {
        ("True", _) => "1".to_owned(),
        ("False", _) => "0".to_owned(),
        (_, Some(hex)) => u64::from_str_radix(hex, 16)
            .map_or_else(|_| text.to_owned(), |number| number.to_string()),
        _ => text.to_owned(),
    }
}

/// tshark reads the file as our parser does, field by field; gives packets and values compared.
fn compare(file: &Path, port: u16, keys: &[Option<Key>]) -> (usize, usize) {
    let mut tshark = Command::new("tshark");
    tshark
        .arg("-X")
        .arg(format!(
            "lua_script:{}",
            repository().join("docs/l2e1.lua").display()
        ))
        .args(["-o", &format!("l2e1.ports:{port}")])
        .args(["-r", file.to_str().expect("a plain name"), "-T", "fields"])
        .args([
            "-E",
            "separator=/t",
            "-E",
            "occurrence=a",
            "-E",
            "aggregator=,",
        ]);
    for (field, _) in FIELDS {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().expect("tshark was there a moment ago");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(!error.contains("Lua"), "{error}");
    let text = String::from_utf8(output.stdout).expect("tshark writes text");
    let mut lines = text.lines();

    let mut reader = Reader::new(BufReader::new(std::fs::File::open(file).unwrap())).unwrap();
    let (mut packets, mut compared) = (0, 0);
    while let Some(frame) = reader.read().unwrap() {
        let packet = datagram(&frame.bytes).expect("only UDP is captured");
        let is_answer = packet.from.port() == port;
        let expected = Values::of(packet.payload, is_answer, keys);
        let line = lines.next().expect("a line for each packet");
        packets += 1;
        for ((field, kind), found) in FIELDS.iter().zip(line.split('\t')) {
            let found: Vec<String> = match found {
                "" => Vec::new(),
                found => found
                    .split(',')
                    .map(|it| match kind {
                        Kind::Number => number(it),
                        Kind::Text => it.to_owned(),
                        Kind::Bytes => it.replace(':', ""),
                    })
                    .collect(),
            };
            let expected = expected.0.get(field).cloned().unwrap_or_default();
            assert_eq!(found, expected, "packet {packets}, {field}");
            compared += expected.len();
        }
    }
    assert_eq!(lines.next(), None, "a line for each packet, not more");
    (packets, compared)
}

fn random_message(random: &mut StdRng) -> Inbound {
    let letters = *b"AFOUXDM";
    let mut symbol = *b"        ";
    for byte in symbol.iter_mut().take(random.random_range(1..=8)) {
        *byte = random.random_range(b'A'..=b'Z');
    }
    let message = Message {
        letter: letters[random.random_range(0..letters.len())],
        locate: random.random(),
        flags: Flags(random.random()),
        reference: random.random(),
        new_reference: random.random(),
        side: *[b'B', b'S'].get(random.random_range(0..2)).unwrap(),
        scope: *[b'A', b'S'].get(random.random_range(0..2)).unwrap(),
        shares: random.random(),
        price: random.random(),
        stock: u64::from_be_bytes(symbol),
        sub_account: u32::from_be_bytes([symbol[0], b'x', b'y', b'z']),
        minimum: random.random(),
        display: random.random(),
        trigger: random.random(),
        expiry_s: random.random(),
        peg: *[0, b'P', b'M'].get(random.random_range(0..3)).unwrap(),
        peg_offset_ticks: random.random(),
        trade_group: random.random(),
        kill: random.random_range(0..2),
    };
    Inbound::from_message(&message).expect("letters of ours")
}

/// Every letter with random fields, answers with every reason, heartbeats, and all packets of `tests/vectors/wire`, the malformed among them.
#[test]
fn tshark_reads_random_packets_and_the_vectors_field_by_field() {
    if !has_tshark() {
        return;
    }
    let mut random = seeded();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("random.pcap");
    let mut capture = Writer::new(std::fs::File::create(&file).unwrap()).unwrap();
    let trader = "10.77.0.2:40000".parse().unwrap();
    let shard = "10.77.0.1:4500".parse().unwrap();
    let key = Key::from_bytes(&random.random());
    let mut written = 0;
    let mut write = |payload: &[u8], is_answer: bool| {
        let (from, to) = if is_answer {
            (shard, trader)
        } else {
            (trader, shard)
        };
        written += 1;
        capture.udp(written, from, to, payload).unwrap();
    };
    for _ in 0..200 {
        let index = random.random_range(0..1 << 20);
        let session = SessionId::new(index, random.random_range(0..1 << 30)).unwrap();
        let mut builder = PacketBuilder::new(session, random.random());
        for _ in 0..random.random_range(0..69) {
            if builder.push(&random_message(&mut random)).is_err() {
                break;
            }
        }
        write(&builder.sign(Some(&key)), false);
        let ack = |random: &mut StdRng| Ack {
            sequence: random.random(),
            reference: random.random(),
            quantity: random.random(),
            result: b"ARCNO"[random.random_range(0..5)],
            reason: Reason::ALL[random.random_range(0..Reason::ALL.len())] as u8,
        };
        let acks = random.random_range(0..69);
        let answer = Answer {
            session,
            sequence: random.random(),
            acks: (0..acks).map(|_| ack(&mut random)).collect(),
        };
        write(&answer.sign(Some(&key)), true);
    }
    let vectors = repository().join("tests/vectors/wire");
    let mut malformed = 0;
    for entry in std::fs::read_dir(&vectors).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // An empty payload is no packet to a dissector; longer than UDP over Ethernet is `too_long` all the same.
        let is_packet = name.starts_with("request_") || name.starts_with("malformed_");
        if is_packet && name != "malformed_too_short_empty.bin" {
            malformed += usize::from(name.starts_with("malformed_"));
            write(&std::fs::read(&path).unwrap(), false);
        }
    }
    assert!(malformed > 15, "the malformed vectors were found");
    capture.finish().unwrap();
    let (packets, compared) = compare(&file, 4500, &[Some(key), None]);
    assert_eq!(packets as u64, written);
    println!("tshark: {packets} packets, {compared} values equal");
}

/// The names of reasons that the dissector shows are the engine's.
#[test]
fn the_dissector_knows_every_reason() {
    let script = std::fs::read_to_string(repository().join("docs/l2e1.lua")).unwrap();
    // From 128 on they belong to control commands and are never on the wire.
    for reason in Reason::ALL.iter().filter(|it| (**it as u8) < 128) {
        let (number, name) = (*reason as u8, reason.name());
        let entry = format!("[{number}] = \"{name}\"");
        assert!(script.contains(&entry), "docs/l2e1.lua lacks {entry}");
    }
}

/// A shard in the kernel with the market of a stream.
fn shard(market: &Market, key: &[u8; 16]) -> WireLab {
    let mut lab = WireLab::up(&market.capacity(1).unwrap(), 1 << 16).unwrap();
    let mut controls = vec![clock()];
    controls.extend(market.controls(0));
    set_up(lab.shard.command(&controls).unwrap()).unwrap();
    lab.shard.set_key(0, Some(key)).unwrap();
    lab
}

fn ring0(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ring0"));
    command.args(["lab", "pcap"]).args(arguments).arg("--json");
    command
}

fn report(output: &std::process::Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn a_capture_of_a_living_market_is_decoded_and_sent_again() {
    if let Some(why) = ring0_lab::missing_privilege() {
        println!("skipped: {why}");
        return;
    }
    let mut random = seeded();
    let stream = generate(random.random(), 600, 200, 4);
    let market = Market::of(&stream);
    let bytes: [u8; 16] = random.random();
    let key = Key::from_bytes(&bytes);
    let mut packets = Packets::default();
    let plan = Cut {
        number: 0,
        symbols: 4,
        messages_max: 5,
        key: Some(&key),
        ends: &Ends::default(),
    };
    let references = References::of(&stream).unwrap();
    cut(stream.records(), &references, &plan, 1, &mut packets);

    let lab = shard(&market, &bytes);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("market.pcap");
    let file = file.to_str().unwrap();
    let wanted = (2 * packets.len()).to_string();
    let veth = &lab.veth;
    let mut capture = ring0(&["capture", "--netns", &veth.trader_ns])
        .args([
            "--interface",
            &veth.trader_if,
            "--packets",
            &wanted,
            "--seconds",
            "60",
            file,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(capture.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("listening on"), "{line}");
    send_all(&lab.trader_socket().unwrap(), &packets);
    let captured = report(&capture.wait_with_output().unwrap());
    assert_eq!(captured["packets"], 2 * packets.len(), "{captured}");
    assert_eq!(captured["lost_by_the_tap"], 0, "{captured}");

    if has_tshark() {
        let (packets, compared) = compare(Path::new(file), ring0_drive::PORT, &[Some(key)]);
        println!("tshark: {packets} captured packets, {compared} values equal");
    }

    // The same shard anew: equal packets get equal answers.
    drop(lab);
    for speed in ["0", "1"] {
        let lab = shard(&market, &bytes);
        let to = lab.venue().to_string();
        let output = ring0(&["replay", "--netns", &lab.veth.trader_ns, "--to", &to])
            .args(["--speed", speed, file])
            .output()
            .unwrap();
        let replayed = report(&output);
        for name in ["packets_sent", "answers_captured", "answers_equal"] {
            assert_eq!(replayed[name], packets.len(), "{name}: {replayed}");
        }
        assert_eq!(replayed["answers_unlike"], 0, "{replayed}");
    }
}

/// One packet at a time, each answered before the next.
fn send_all(socket: &UdpSocket, packets: &Packets) {
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut bytes = [0; 2048];
    for at in 0..packets.len() {
        socket.send(packets.get(at)).unwrap();
        socket
            .recv(&mut bytes)
            .expect("an answer within five seconds");
    }
}
