//! The decoder gate: programs of other people read what we write, and come to the values that were written.
//!
//! The messages are made from the reference's own table of offsets ([`layout`]), not by the structs under test, and written
//! with our framing. Readers: this crate, the crates itch5 and itchy, PyPI's itchfeed, meatpy and itch-book (`scripts/setup`
//! installs them), and tshark. What a reader cannot read, and which version that is, is said where it is left out, and in
//! `docs/decisions/0041-decoder-gate.md`. A reader that is not installed is skipped with a line that says so.

mod decoders {
    pub(crate) mod crates;
    pub(crate) mod flow;
    pub(crate) mod layout;
    pub(crate) mod python;
    pub(crate) mod ring0;
}

use decoders::layout::{Sent, random_messages};
use decoders::{crates, flow, python, ring0};
use rand::SeedableRng;
use rand::rngs::StdRng;
use ring0_itch::book::{Bbo, Books, Quote};
use ring0_itch::itch::Message;
use ring0_itch::mold::{self, PacketBuilder, Session};
use ring0_itch::{binary_file, pcap};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Messages of each type.
const EACH: usize = 60;

/// A fresh seed, printed, or the one of `RING0_SEED`.
fn seeded() -> StdRng {
    let seed = match std::env::var("RING0_SEED") {
        Ok(seed) => seed.parse().expect("RING0_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("seed {seed}; RING0_SEED={seed} repeats it");
    StdRng::seed_from_u64(seed)
}

/// A BinaryFILE of these messages.
fn binary_file<'a>(path: &Path, messages: impl IntoIterator<Item = &'a [u8]>) {
    let file = std::fs::File::create(path).unwrap();
    let mut writer = binary_file::Writer::new(std::io::BufWriter::new(file));
    for message in messages {
        writer.write(message).unwrap();
    }
    writer.finish().unwrap();
}

/// Every message came, in order, with every field that was sent, save those that the reader cannot give.
///
/// A coded field may come as a name, `{"name": …}`: then one name must stand for one code, always.
#[track_caller]
fn compare(reader: &str, sent: &[Sent], read: &[Map<String, Value>], without: &[(char, &str)]) {
    let mut names = BTreeMap::new();
    let mut codes = BTreeMap::new();
    let mut compared = 0;
    for (index, (sent, read)) in sent.iter().zip(read).enumerate() {
        for (field, expected) in &sent.fields {
            if without.contains(&(sent.letter(), field)) || without.contains(&('*', field)) {
                continue;
            }
            let at = format!("{reader}, message {index}, {} {field}", sent.letter());
            let found = read
                .get(field)
                .unwrap_or_else(|| panic!("{at}: not given: {read:?}"));
            compared += 1;
            match found.get("name") {
                Some(name) => {
                    let key = (sent.letter(), field.clone(), name.to_string());
                    let code = codes.entry(key).or_insert(expected);
                    assert_eq!(*code, expected, "{at}: {name} stands for two codes");
                    let key = (sent.letter(), field.clone(), expected.to_string());
                    let other = names.entry(key).or_insert(name);
                    assert_eq!(*other, name, "{at}: {expected} has two names");
                }
                None => assert_eq!(found, expected, "{at}"),
            }
        }
    }
    assert_eq!(read.len(), sent.len(), "{reader}: messages");
    println!("{reader}: {} messages, {compared} fields equal", read.len());
    for (letter, field) in without {
        println!("{reader}: cannot give {field} of {letter}");
    }
}

#[test]
fn every_type_is_read_as_it_was_written() {
    let mut random = seeded();
    let sent = random_messages(&mut random, EACH);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("every_type.itch");
    binary_file(&file, sent.iter().map(|sent| &sent.bytes[..]));
    let bytes = std::fs::read(&file).unwrap();

    compare("ring0-itch", &sent, &ring0::read(&bytes), &[]);
    compare(
        "itch5 0.1.5",
        &sent,
        &crates::itch5(&bytes),
        crates::ITCH5_WITHOUT,
    );
    compare(
        "itchy 0.3.4",
        &sent,
        &crates::itchy(&bytes),
        crates::ITCHY_WITHOUT,
    );
    for (script, name) in [
        ("read_itchfeed.py", "itchfeed 1.6.4"),
        ("read_meatpy.py", "meatpy 0.5.0"),
    ] {
        if let Some(lines) = python::run(script, &file) {
            let read: Vec<_> = lines
                .into_iter()
                .map(|line| match line {
                    Value::Object(fields) => fields,
                    other => panic!("{name}: {other}"),
                })
                .collect();
            compare(name, &sent, &read, &[]);
        }
    }
}

/// itch-book's best bid and offer are ours, after every message.
#[test]
fn the_same_book_after_every_message() {
    let mut random = seeded();
    let messages = flow::valid(&mut random, 20_000);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("flow.itch");
    binary_file(&file, messages.iter().map(|message| &message[..]));
    let Some(mut lines) = python::run("read_itch_book.py", &file) else {
        return;
    };
    let counts = lines.pop().expect("the counts come last");
    println!("itch-book 0.2.1: {counts}");
    assert_eq!(counts["messages"], messages.len());
    let mut rows = lines.into_iter().peekable();
    let (mut books, mut changed) = (Books::new(), 0);
    let mut seen: BTreeMap<u16, Bbo> = BTreeMap::new();
    for (index, message) in messages.iter().enumerate() {
        let message = Message::read(message).unwrap();
        books.apply(&message);
        let locate = message.header().unwrap().locate.get();
        let theirs = seen.entry(locate).or_default();
        // itch-book numbers messages from 1 and gives a row only where the best prices changed.
        while let Some(row) = rows.next_if(|row| row[0] == index as u64 + 1) {
            let number = |at: usize| row[at].as_u64().unwrap();
            assert_eq!(number(1), u64::from(locate), "message {index}");
            let quote = |at: usize| {
                let (price, orders) = (number(at) as u32, number(at + 2) as u32);
                (orders > 0).then(|| Quote {
                    price,
                    shares: number(at + 1),
                    orders,
                })
            };
            *theirs = Bbo {
                bid: quote(2),
                ask: quote(5),
            };
            changed += 1;
        }
        assert_eq!(books.bbo(locate), *theirs, "message {index}, {message:?}");
    }
    assert_eq!(rows.next(), None, "a row of no message");
    assert_eq!(books.inconsistencies().total(), 0);
    println!(
        "itch-book 0.2.1: {} messages, {changed} changes of best prices equal",
        messages.len()
    );
}

/// tshark takes our MoldUDP64 packets apart: sessions, numbers, counts and the bytes of every message.
///
/// Its ITCH dissector, `nasdaq-itch`, is of the text protocol of versions 2 and 3 up to tshark 4.0.17 at least: it has no
/// locate and 32-bit references. So fields are compared by the other readers, and here the message bytes.
#[test]
fn tshark_reads_our_packets() {
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("skipped: tshark is not installed; scripts/setup installs it");
        return;
    }
    let mut random = seeded();
    let sent = random_messages(&mut random, EACH);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("feed.pcap");
    let session = Session::new("RING0FEED1").unwrap();
    let (from, to) = (
        "10.9.8.7:40000".parse().unwrap(),
        "239.9.8.7:26477".parse().unwrap(),
    );
    let mut capture = pcap::Writer::new(std::fs::File::create(&file).unwrap()).unwrap();
    let mut builder = PacketBuilder::new(session, 1, 1_400);
    // Packet by packet: number, count, messages.
    let mut expected = Vec::new();
    let mut held: Vec<&Sent> = Vec::new();
    let mut flush =
        |builder: &mut PacketBuilder, held: &mut Vec<&Sent>, capture: &mut pcap::Writer<_>| {
            let nanos = 1_767_312_000_000_000_000 + expected.len() as u64;
            capture.udp(nanos, from, to, builder.packet()).unwrap();
            let messages: Vec<_> = held.drain(..).map(|sent| hex(&sent.bytes)).collect();
            expected.push((builder.sequence(), builder.count(), messages));
            builder.begin_next();
        };
    flush(&mut builder, &mut held, &mut capture); // a heartbeat first
    for sent in &sent {
        if builder.push(&sent.bytes).is_err() {
            flush(&mut builder, &mut held, &mut capture);
            builder.push(&sent.bytes).unwrap();
        }
        held.push(sent);
    }
    flush(&mut builder, &mut held, &mut capture);
    let end = mold::end_of_session(session, builder.sequence());
    capture
        .udp(1_767_312_001_000_000_000, from, to, &end)
        .unwrap();
    expected.push((builder.sequence(), mold::END_OF_SESSION, Vec::new()));
    capture.finish().unwrap();

    let fields = [
        "moldudp64.session",
        "moldudp64.sequence",
        "moldudp64.count",
        "moldudp64.msgseq",
        "moldudp64.msgdata",
        "ip.checksum.status",
        "_ws.malformed",
    ];
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&file)
        .args([
            "-d",
            "udp.port==26477,moldudp64",
            "-o",
            "ip.check_checksum:TRUE",
            "-T",
            "fields",
            "-E",
            "aggregator=,",
        ])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), expected.len(), "packets");
    let list = |field: &str| -> Vec<String> {
        field
            .split(',')
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    };
    for (line, (sequence, count, messages)) in lines.iter().zip(&expected) {
        let fields: Vec<_> = line.split('\t').collect();
        assert_eq!(fields[0], "RING0FEED1", "{line}");
        assert_eq!(fields[1].parse(), Ok(*sequence), "{line}");
        assert_eq!(fields[2].parse(), Ok(*count), "{line}");
        let numbers: Vec<_> = (*sequence..)
            .take(messages.len())
            .map(|n| n.to_string())
            .collect();
        assert_eq!(list(fields[3]), numbers, "{line}");
        assert_eq!(list(fields[4]), *messages, "{line}");
        assert_eq!(fields[5], "1", "the IPv4 checksum is good: {line}");
        assert_eq!(fields.get(6).copied().unwrap_or_default(), "", "{line}");
    }
    println!(
        "tshark: {} packets, {} messages byte for byte",
        lines.len(),
        sent.len()
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
