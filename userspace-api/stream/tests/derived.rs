//! The book built from a derived feed is the stream's own: as many orders rest, and the trades are the header's.

use ring0_itch::binary_file::Messages;
use ring0_itch::book::{Books, Side};
use ring0_itch::itch::Message;
use ring0_stream::lobstrm::{Stream, generate, generate_crash};

#[track_caller]
fn check(stream: &Stream) {
    let mut bytes = Vec::new();
    let derived = stream.write_itch(&mut bytes).unwrap();
    let mut books = Books::new();
    let mut messages = 0;
    for message in Messages::new(&bytes) {
        books.apply(&Message::read(message.unwrap()).unwrap());
        messages += 1;
    }
    books.check();
    let header = stream.header();
    assert_eq!(
        books.inconsistencies().total(),
        0,
        "{:?}",
        books.inconsistencies()
    );
    assert_eq!(books.live() as u64, header.exp_live.get());
    assert_eq!(books.trades().executions, header.exp_trades.get());
    assert_eq!(books.trades().executed_shares, header.exp_qty.get());
    assert_eq!(
        (derived.messages, derived.live),
        (messages, header.exp_live.get())
    );
    assert_eq!(derived.trades, header.expected());
    for (locate, instrument) in books.instruments() {
        assert_eq!(instrument.stock.as_str(), format!("SYM{:05}", locate - 1));
        let bbo = books.bbo(locate);
        if let (Some(bid), Some(ask)) = (bbo.bid, bbo.ask) {
            assert!(bid.price < ask.price, "{locate}: {bbo:?} is crossed");
        }
        let lowest = books.levels(locate, Side::Bid).last();
        assert!(
            lowest.is_none_or(|quote| quote.price % 100 == 0),
            "ticks are cents"
        );
    }
}

#[test]
fn of_generated_streams() {
    for (seed, symbols) in [(1, 1), (2, 3), (3, 64), (4, 256)] {
        println!("seed {seed}, {symbols} symbols");
        check(&generate(seed, 30_000, 2_000, symbols));
    }
    check(&generate(5, 0, 0, 1));
}

#[test]
fn of_a_flash_crash() {
    println!("seed 1");
    check(&generate_crash(1, 30_000, 2_000));
}
