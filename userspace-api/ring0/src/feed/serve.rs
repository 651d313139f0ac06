//! `ring0 feed serve`: from the record ring to the lines.
//!
//! The feed of a shard follows from all its records. So it begins with the ring's first slot while the ring still has it, and else
//! with the recording, whose messages are made again, not sent again.

use super::answers::{drop_copy_access, session_access};
use super::{Lines, Until};
use crate::fail::Fail;
use crate::shard::Shard;
use ring0_engine::limits::SLOT_LEN;
use ring0_feed::{
    Access, AnswerOptions, AnswerServer, Answers, FIRST_SESSION, Feed, FeedOptions, FileJournal,
    PacketOptions, RingSource, SubscriptionOptions, Translator, drop_copy, of_policy,
};
use ring0_itch::Text;
use ring0_itch::mold::Session;
use ring0_journal::Reader;
use ring0_market::Market;
use ring0_mq::{Identity, MqError, Records, Sole};
use ring0_rings::{Consumer, RecordRing};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The publisher's name among the ring's consumers.
const CONSUMER: &str = "feed";

/// Bytes of records that are caught up at a time.
const PIECE: usize = 1 << 20;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    shard: Shard,
    #[command(flatten)]
    lines: Lines,
    /// Answer requests for lost messages at this UDP address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    requests: Option<SocketAddr>,
    /// Serve GLIMPSE snapshots at this TCP address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    glimpse: Option<SocketAddr>,
    /// Serve each session's full answers (OUCH 5.0) and each account's drop copy over SoupBinTCP at this TCP address.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "keys")]
    answers: Option<SocketAddr>,
    /// Serve the same over MoldUDP64 by unicast at this UDP address.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "keys")]
    answers_udp: Option<SocketAddr>,
    /// The market file whose sessions may read their answers; their key files are read.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Memory of each stream of answers, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    answers_memory: u32,
    /// Memory for the messages that may be asked for again, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    history: u32,
    /// Keep every message in this folder too, a BinaryFILE a session, for requests of what memory no longer has.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// The shard's recording or journal from its first slot on: where the ring no longer has that.
    #[arg(long, value_name = "FILE|DIR")]
    records: Option<PathBuf>,
    /// Be a required consumer of the ring: orders are refused (`RingFull`) before this feed misses any.
    #[arg(long)]
    required: bool,
    /// At the end stop being required.
    #[arg(long, requires = "required")]
    release: bool,
    /// Feed session before the first day is opened: ten letters and digits.
    #[arg(long, value_name = "SESSION", value_parser = session)]
    session: Option<Session>,
    /// Bytes of a packet's payload at most.
    #[arg(long, value_name = "BYTES", default_value_t = 1400, value_parser = clap::value_parser!(u16).range(72..=65_507))]
    payload: u16,
    /// Routers that a packet may pass, plus one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    ttl: u8,
    /// Never sleep while the ring is empty: a core for the feed, and some 50 µs less.
    #[arg(long)]
    spin: bool,
    #[command(flatten)]
    until: Until,
    /// One JSON object at the end.
    #[arg(long)]
    json: bool,
}

fn session(text: &str) -> Result<Session, String> {
    let is_session = text.len() == 10 && text.bytes().all(|it| it.is_ascii_alphanumeric());
    match Session::new(text) {
        Ok(session) if is_session => Ok(session),
        _ => Err("give ten letters and digits".to_owned()),
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let mut stop = args.until.begin();
    let ring = RecordRing::open(&args.shard.place()?)?;
    let _sole = Sole::take(CONSUMER, ring.place())?;
    let mut consumer = if args.required {
        Consumer::required(&ring, CONSUMER)?
    } else {
        Consumer::observer(&ring)?
    };
    let translator = Translator::new(args.session.unwrap_or(FIRST_SESSION));
    let mut options = options(args)?;
    let answers = serve_answers(args)?;
    options.tap = answers.as_ref().map(AnswerServer::tap);
    let mut feed = args.lines.inside(|| Feed::start(translator, options))??;

    let position = match &args.records {
        Some(folder) if folder.is_dir() => catch_up_journal(&mut feed, &ring, folder)?,
        Some(file) => catch_up_file(&mut feed, &ring, file)?,
        None => 0,
    };
    let start = consumer.tail().saturating_sub(ring.place().slots());
    if position < start {
        return Err(missing(args.records.as_deref(), position, start));
    }
    consumer.seek(position);
    let mut policy = of_policy(Consumer::observer(&ring)?);
    let end = policy(consumer.tail());
    catch_up_ring(&mut feed, &mut consumer, end)?;
    consumer.commit();
    let servers = [
        ("requests", feed.requests()),
        ("GLIMPSE", feed.glimpse()),
        ("answers", answers.as_ref().and_then(AnswerServer::soup)),
        (
            "answers over UDP",
            answers.as_ref().and_then(AnswerServer::mold),
        ),
    ];
    let servers: String = servers
        .iter()
        .filter_map(|(name, address)| address.map(|it| format!(", {name} at {it}")))
        .collect();
    eprintln!(
        "ring0 feed: session {} from message {} on, slot {} of the ring{servers}",
        feed.translator().session(),
        feed.translator().next_message().max(1),
        consumer.position(),
    );

    let mut source = RingSource::new(consumer, policy);
    let run = feed.run(&mut source, &mut stop);
    let consumer = source.into_consumer();
    let position = consumer.position();
    if args.release {
        consumer.release();
    }
    run?;
    report(&feed, answers.as_ref(), position, args.json);
    Ok(())
}

/// The full answers, where they are wanted: what opens a stream follows from the sessions' keys.
fn serve_answers(args: &Args) -> Result<Option<AnswerServer>, Fail> {
    let Some(keys) = args
        .keys
        .as_ref()
        .filter(|_| args.answers.or(args.answers_udp).is_some())
    else {
        return Ok(None);
    };
    let market = Market::load(keys)?;
    let mut opens: HashMap<Session, Access> = HashMap::new();
    for (session, plan) in market.sessions().iter().zip(&market.plan.sessions) {
        opens.extend(session_access(session).map(|it| (Text(session.id().0), it)));
        if let Some(access) = drop_copy_access(session) {
            // The account's first session opens its drop copy.
            opens.entry(drop_copy(plan.account)).or_insert(access);
        }
    }
    let mut options = AnswerOptions::new(Box::new(move |name| opens.get(&name).copied()));
    options.soup = args.answers;
    options.mold = args.answers_udp;
    options.stream_bytes = (args.answers_memory as usize) << 20;
    // An order's answer and its tag fit; more than Ethernet takes nobody tags.
    let (min, max) = SubscriptionOptions::PAYLOAD.into_inner();
    options.subscriptions.payload_max = usize::from(args.payload).clamp(min, max);
    let answers = Answers::new(args.session.unwrap_or(FIRST_SESSION));
    let started = args
        .lines
        .inside(|| AnswerServer::start(answers, options))?;
    Ok(Some(started?))
}

fn options(args: &Args) -> Result<FeedOptions, Fail> {
    let mut options = FeedOptions::new(args.lines.all());
    options.packets = PacketOptions {
        payload_max: args.payload.into(),
        ttl: args.ttl.into(),
        ..PacketOptions::default()
    };
    options.requests = args.requests;
    options.glimpse = args.glimpse;
    options.history_bytes = (args.history as usize) << 20;
    options.spin = args.spin;
    if let Some(folder) = &args.journal {
        let journal = FileJournal::new(folder).map_err(|error| {
            Fail::new(format!(
                "cannot make the journal's folder {}: {error}",
                folder.display()
            ))
        })?;
        options.journal = Some(Box::new(journal));
    }
    Ok(options)
}

/// Translates the recording; gives the ring's slot behind it.
fn catch_up_file(feed: &mut Feed, ring: &RecordRing, file: &Path) -> Result<u64, Fail> {
    let mut records = Records::open(file)?;
    if records.identity() != Identity::of(ring) {
        return Err(MqError::OtherShard {
            path: file.to_owned(),
        }
        .into());
    }
    if records.first() != 0 {
        return Err(Fail::new(format!(
            "{} begins at slot {}; a feed needs the recording from slot 0 on",
            file.display(),
            records.first()
        )));
    }
    let (mut record, mut piece) = (Vec::new(), Vec::with_capacity(PIECE + 2 * SLOT_LEN));
    loop {
        let more = records.next_into(&mut record)?;
        if more {
            piece.extend_from_slice(&record);
        }
        if !more || piece.len() >= PIECE {
            feed.catch_up(&piece)?;
            piece.clear();
        }
        if !more {
            return Ok(records.position());
        }
    }
}

/// The same with a journal.
fn catch_up_journal(feed: &mut Feed, ring: &RecordRing, folder: &Path) -> Result<u64, Fail> {
    let mut reader = Reader::open(folder)?;
    if reader.identity() != Identity::of(ring) {
        return Err(MqError::OtherShard {
            path: folder.to_owned(),
        }
        .into());
    }
    if reader.position() != 0 {
        return Err(Fail::new(format!(
            "{} begins at slot {}; a feed needs the journal from slot 0 on",
            folder.display(),
            reader.position()
        )));
    }
    while let Some(block) = reader.next_block()? {
        feed.catch_up(block.slots())?;
    }
    Ok(reader.position())
}

/// Translates what the ring has already up to a slot: it was published before, or nobody listened.
fn catch_up_ring(feed: &mut Feed, consumer: &mut Consumer, end: u64) -> Result<(), Fail> {
    let mut piece = Vec::with_capacity(PIECE);
    while consumer.position() < end {
        piece.clear();
        let slots = (end - consumer.position()).min((PIECE / SLOT_LEN) as u64);
        consumer.read(&mut piece, slots)?;
        // A piece may end inside a record: the translator keeps it. The end never does.
        feed.catch_up(&piece)?;
    }
    Ok(())
}

fn missing(records: Option<&Path>, position: u64, start: u64) -> Fail {
    let slots = start - position;
    Fail::new(match records {
        None => format!(
            "the ring no longer has the shard's first {slots} slots, and the feed follows from all records; give --records with what `ring0 record` wrote from slot 0 on"
        ),
        Some(file) => format!(
            "{} ends at slot {position} and the ring begins at slot {start}: {slots} slots are missing; let `ring0 record` catch up first",
            file.display()
        ),
    })
}

fn report(feed: &Feed, answers: Option<&AnswerServer>, position: u64, as_json: bool) {
    let (session, next) = (
        feed.translator().session(),
        feed.translator().next_message(),
    );
    let counters = feed.counters().named();
    let answers = answers.map(|it| it.counters().named()).unwrap_or_default();
    if as_json {
        let object = |counters: Vec<(&str, u64)>| {
            let pairs = counters.into_iter();
            pairs
                .map(|(name, count)| (name.to_owned(), count.into()))
                .collect::<serde_json::Map<String, Value>>()
        };
        println!(
            "{}",
            json!({
                "session": session.as_str(),
                "next_message": next,
                "position": position,
                "displayed_orders": feed.translator().displayed(),
                "counters": object(counters),
                "answers": object(answers),
            })
        );
        return;
    }
    println!(
        "session {session}, up to message {}, slot {position}",
        next.saturating_sub(1)
    );
    for (name, count) in counters {
        println!("{name:22} {count}");
    }
    for (name, count) in answers {
        println!("answers: {name:22} {count}");
    }
}
