//! The feed of random markets: a book that is built from it alone is the engine's, order by order, after whatever happens.

mod market;

use market::{Market, Naive, Random, Tape, assert_same_best, assert_same_books, seed};
use ring0_engine::flow::Profile;
use ring0_engine::record::{Crossed, Filled, Head, Kind};
use ring0_feed::Translator;
use ring0_itch::book::Books;
use ring0_itch::itch::{Message, event};
use std::collections::{BTreeMap, HashMap, HashSet};
use zerocopy::FromBytes;

/// Inputs of each profile.
const INPUTS: usize = 6_000;

/// What readers may rely on, over one session.
#[derive(Default)]
struct Promises {
    references: HashSet<u64>,
    matches: HashSet<u64>,
    events: Vec<u8>,
    last_ns: u64,
    listed: HashSet<u16>,
}

impl Promises {
    fn check(&mut self, message: &[u8]) {
        let message = Message::read(message).unwrap();
        let header = message.header().expect("a known message");
        let (locate, now) = (header.locate.get(), header.timestamp.nanos());
        assert!(now >= self.last_ns, "time goes back");
        self.last_ns = now;
        assert_eq!(header.tracking.get(), 0);
        assert!(
            header.letter == b'R' || locate == 0 || self.listed.contains(&locate),
            "{} of {locate} before its directory",
            char::from(header.letter)
        );
        match message {
            Message::SystemEvent(it) => self.events.push(it.event_code),
            Message::StockDirectory(_) => {
                self.listed.insert(locate);
            }
            Message::AddOrder(it) => self.reference(it.order_reference.get()),
            Message::OrderReplace(it) => self.reference(it.new_order_reference.get()),
            Message::OrderExecuted(it) => self.number(it.match_number.get()),
            Message::Trade(it) => self.number(it.match_number.get()),
            Message::CrossTrade(it) => self.number(it.match_number.get()),
            _ => {}
        }
    }

    fn reference(&mut self, reference: u64) {
        assert!(
            self.references.insert(reference),
            "reference {reference} twice"
        );
        assert_eq!(
            reference,
            self.references.len() as u64,
            "references are counted"
        );
    }

    fn number(&mut self, number: u64) {
        assert!(self.matches.insert(number), "match {number} twice");
    }
}

/// Shares traded by the engine's records: by orders that rested, and in auctions.
fn traded(records: &[u8], lots: &HashMap<u32, u64>) -> (u64, u64) {
    let (mut filled, mut crossed) = (0, 0);
    let mut rest = records;
    while let Ok((head, _)) = Head::read_from_prefix(rest) {
        if head.kind == Kind::Filled as u16 {
            let (it, _) = Filled::read_from_prefix(rest).unwrap();
            filled += u64::from(it.lots) * lots[&head.locate];
        } else if head.kind == Kind::Crossed as u16 {
            let (it, _) = Crossed::read_from_prefix(rest).unwrap();
            crossed += u64::from(it.lots) * lots[&head.locate];
        }
        rest = &rest[usize::from(head.slots) * 64..];
    }
    (filled, crossed)
}

/// One profile; adds the letters that came to `letters`.
fn run(seed: u64, profile: Profile, letters: &mut BTreeMap<u8, u64>) {
    println!("{profile:?}: seed {seed}");
    let mut random = Random(seed);
    let mut market = Market::new(seed, profile);
    // A second translator gets the same records in pieces, and is made anew from its image now and then.
    let mut again = Translator::new(ring0_feed::FIRST_SESSION);
    let mut again_tape = Tape::default();
    let (mut naive, mut books) = (Naive::default(), Books::new());
    let mut promises = Promises::default();
    let (mut session, mut message) = (0, 0);
    let (mut filled, mut crossed, mut uncounted) = (0, 0, 0);
    let mut lots = HashMap::new();
    for input in 0..INPUTS {
        if input != 0 {
            market.step();
        }
        for index in 0..market::INSTRUMENTS {
            if let Some((_, lot)) = market.native.shard().wire_units(index) {
                lots.insert(index + 1, u64::from(lot));
            }
        }
        let now = traded(&market.records, &lots);
        filled += now.0;
        crossed += now.1;

        let mut rest = &market.records[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((random.below(400) as usize + 1).min(rest.len()));
            again.feed(piece, &mut again_tape).unwrap();
            rest = later;
        }
        if random.percent(3) {
            let image = again.image();
            again = Translator::from_image(&image).unwrap();
            assert_eq!(again.image(), image);
        }

        while session < market.tape.sessions.len() {
            let messages = &market.tape.sessions[session].1;
            for bytes in &messages[message..] {
                promises.check(bytes);
                *letters.entry(bytes[0]).or_default() += 1;
                naive.apply(bytes);
                books.apply(&Message::read(bytes).unwrap());
            }
            message = messages.len();
            if session + 1 == market.tape.sessions.len() {
                break;
            }
            let all = *b"OSQMEC";
            assert_eq!(
                promises.events, all,
                "a day that ended had every event once"
            );
            (session, message) = (session + 1, 0);
            let trades = books.trades();
            uncounted += trades.executed_shares + trades.hidden_shares;
            crossed -= trades.cross_shares;
            filled -= trades.executed_shares + trades.hidden_shares;
            assert_eq!(
                books.inconsistencies().total(),
                0,
                "{:?}",
                books.inconsistencies()
            );
            (naive, books, promises) = (Naive::default(), Books::new(), Promises::default());
        }
        let what = format!("{profile:?}, seed {seed}, input {input}");
        assert_same_best(&market.native, &naive, &what);
        if input % 50 == 0 || input + 1 == INPUTS {
            assert_same_books(&market.native, &naive, &what);
            assert_eq!(market.translator.displayed(), naive.orders());
            books.check();
            assert_eq!(books.live(), naive.orders());
        }
    }
    let trades = books.trades();
    assert_eq!(
        books.inconsistencies().total(),
        0,
        "{:?}",
        books.inconsistencies()
    );
    assert_eq!(
        filled,
        trades.executed_shares + trades.hidden_shares,
        "shares traded with orders"
    );
    // An auction that is being carried out at the end is not printed yet.
    assert!(
        crossed >= trades.cross_shares,
        "{crossed} {}",
        trades.cross_shares
    );
    assert!(
        again_tape == market.tape,
        "the same records gave another feed; seed {seed}"
    );
    assert_eq!(again.image(), market.translator.image());
    let names: HashSet<_> = market.tape.sessions.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names.len(),
        market.tape.sessions.len(),
        "no name of a session twice"
    );
    println!(
        "  {} sessions, {} messages, {} shares before the last, events {:?}",
        market.tape.sessions.len(),
        market.tape.count(),
        uncounted,
        promises.events.escape_ascii().to_string()
    );
    assert!(promises.events.starts_with(&[event::START_OF_MESSAGES]));
}

#[test]
fn a_book_from_the_feed_is_the_engines() {
    let seed = seed();
    let mut letters = BTreeMap::new();
    let profiles = Profile::PURE.into_iter().chain([Profile::Mixed]);
    for (number, profile) in profiles.enumerate() {
        run(seed.wrapping_add(number as u64), profile, &mut letters);
    }
    let named: Vec<_> = letters
        .iter()
        .map(|(letter, count)| (char::from(*letter), count))
        .collect();
    println!("{named:?}");
    for letter in *b"SRHJAECXDUPQIB" {
        assert!(
            letters.contains_key(&letter),
            "no {} came",
            char::from(letter)
        );
    }
}
