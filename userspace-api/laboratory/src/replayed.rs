//! Order flow of a file as one session's messages.
//!
//! An execution becomes an order of the other side that trades at once, at the price of the order that was filled; so the book that comes to be is the
//! file's as far as its orders are in the file. Numbers of orders become client references in the order in which they are entered, and go on rising when
//! the file begins anew.

use crate::traders::{Instrument, Replay, TICK_WIRE, cancel, enter};
use ring0_itch::binary_file::Messages;
use ring0_itch::itch;
use ring0_stream::Side;
use ring0_stream::lobster::{Kind, Resting, Sample};
use ring0_stream::lobstrm::{Op, Stream};
use ring0_wire::message::{BOTH, BUY, SCOPE_SESSION, SELL};
use ring0_wire::{Flags, Message, SelfTrade, TimeInForce};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Ticks of the ladder of an instrument whose file does not say its prices, half of them to either side of its first order.
const LADDER_LEN: u32 = 1 << 14;

/// What a file is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A folder with a sample of LOBSTER.
    Lobster,
    /// A LOBSTRM1 stream (`ring0 gen`).
    Lobstrm1,
    /// A BinaryFILE of ITCH 5.0.
    Itch,
}

/// The messages of a file.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// With references from 1 on.
    messages: Vec<Message>,
    instruments: Vec<Instrument>,
    /// References of one pass.
    references: u32,
    live_max: u64,
    left_out: u64,
    repeat: bool,
    /// The next message; that many of `messages` means the end.
    at: usize,
    /// Added to references: those of the passes before.
    base: u32,
}

impl Replayed {
    /// Reads a file; its first instrument is number `before`.
    pub(crate) fn read(plan: &Replay, file: &Path, before: u16) -> Result<Replayed, String> {
        let mut reader = Reading::new(before);
        match plan.format {
            Format::Lobstrm1 => reader.lobstrm1(file)?,
            Format::Lobster => reader.lobster(file)?,
            Format::Itch => reader.itch(file, plan.symbols as usize)?,
        }
        if reader.messages.is_empty() {
            return Err("has no order that can be sent".to_owned());
        }
        if plan.repeat {
            // What the file leaves standing goes before it begins anew.
            reader.messages.push(Message {
                letter: b'M',
                side: BOTH,
                scope: SCOPE_SESSION,
                ..Message::default()
            });
        }
        Ok(Replayed {
            messages: reader.messages,
            instruments: reader.instruments,
            references: reader.references,
            live_max: reader.live_max,
            left_out: reader.left_out,
            repeat: plan.repeat,
            at: 0,
            base: 0,
        })
    }

    pub(crate) fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(crate) fn live_max(&self) -> u64 {
        self.live_max
    }

    /// Whether there is nothing left.
    pub(crate) fn is_spent(&self) -> bool {
        self.at >= self.messages.len()
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let mut message = *self.messages.get(self.at)?;
        self.at += 1;
        for reference in [&mut message.reference, &mut message.new_reference] {
            if *reference != 0 {
                *reference += self.base;
            }
        }
        let has_room = self.base.checked_add(2 * self.references).is_some();
        if self.is_spent() && self.repeat && has_room {
            self.at = 0;
            self.base += self.references;
        }
        Some(message)
    }
}

/// An order of a file that rests, as far as is known.
struct Order {
    reference: u32,
    symbol: u16,
    side: u8,
    price: u32,
    shares: u32,
}

/// What has been read so far.
struct Reading {
    before: u16,
    messages: Vec<Message>,
    instruments: Vec<Instrument>,
    references: u32,
    live: HashMap<u64, Order>,
    live_max: u64,
    left_out: u64,
}

fn side_byte(side: Side) -> u8 {
    match side {
        Side::Buy => BUY,
        Side::Sell => SELL,
    }
}

impl Reading {
    fn new(before: u16) -> Reading {
        Reading {
            before,
            messages: Vec::new(),
            instruments: Vec::new(),
            references: 0,
            live: HashMap::new(),
            live_max: 0,
            left_out: 0,
        }
    }

    fn lobstrm1(&mut self, file: &Path) -> Result<(), String> {
        let stream = Stream::read(file).map_err(|error| error.to_string())?;
        let header = stream.header();
        let tick_base = header.tick_base.get();
        let ladder_len = header.tick_top.get().saturating_sub(tick_base) + 1;
        let instrument = Instrument {
            tick_base,
            ladder_len: ladder_len.max(64),
        };
        self.instruments = vec![instrument; header.symbols.get() as usize];
        for record in stream.records() {
            let (id, symbol) = (record.order_id.get(), self.before + record.symbol.get());
            if record.op == Op::Cancel {
                self.cancel(id);
                continue;
            }
            let price = record.price_ticks.get() * TICK_WIRE;
            self.enter(id, symbol, side_byte(record.side), price, record.qty.get());
        }
        // Fills are not in the file: what a book holds at most is.
        self.live_max = header.peak_live.get() + 1;
        Ok(())
    }

    fn lobster(&mut self, folder: &Path) -> Result<(), String> {
        let sample = Sample::read_dir(folder).map_err(|error| error.to_string())?;
        let prices = sample.prices_wire();
        let tick_base = prices.start() / TICK_WIRE;
        self.instruments = vec![Instrument {
            tick_base,
            ladder_len: (prices.end() / TICK_WIRE - tick_base + 1).max(64),
        }];
        // What stands before the first row: each level as one order that no row names.
        let mut anonymous = u64::MAX;
        if let Some(first) = sample.snapshots().first() {
            for side in [Side::Buy, Side::Sell] {
                for level in first.levels(side) {
                    self.enter(
                        anonymous,
                        self.before,
                        side_byte(side),
                        level.price_wire,
                        level.shares,
                    );
                    anonymous -= 1;
                }
            }
        }
        for event in sample.events() {
            match event.kind {
                Kind::Enter(Resting {
                    id,
                    shares,
                    price_wire,
                    side,
                }) => {
                    self.enter(id, self.before, side_byte(side), price_wire, shares);
                }
                Kind::Reduce(it) => self.reduce(it.id, it.shares),
                Kind::Delete(it) => self.cancel(it.id),
                Kind::Execute(it) => {
                    let side = side_byte(it.side);
                    self.take(self.before, side, it.price_wire, it.shares);
                    self.filled(it.id, it.shares);
                }
                Kind::Hidden | Kind::Auction | Kind::Halt => {}
            }
        }
        Ok(())
    }

    fn itch(&mut self, file: &Path, symbols: usize) -> Result<(), String> {
        let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
        let mut places = HashMap::<u16, u16>::new();
        for message in Messages::new(&bytes) {
            let message = message.map_err(|error| error.to_string())?;
            let message = itch::Message::read(message).map_err(|error| error.to_string())?;
            match message {
                itch::Message::AddOrder(it) => {
                    let place =
                        self.place(&mut places, symbols, it.header.locate.get(), it.price.get());
                    self.add(
                        place,
                        it.order_reference.get(),
                        it.side,
                        it.price.get(),
                        it.shares.get(),
                    );
                }
                itch::Message::AddOrderAttributed(it) => {
                    let place =
                        self.place(&mut places, symbols, it.header.locate.get(), it.price.get());
                    self.add(
                        place,
                        it.order_reference.get(),
                        it.side,
                        it.price.get(),
                        it.shares.get(),
                    );
                }
                itch::Message::OrderExecuted(it) => {
                    self.executed(it.order_reference.get(), it.executed_shares.get());
                }
                itch::Message::OrderExecutedWithPrice(it) => {
                    self.executed(it.order_reference.get(), it.executed_shares.get());
                }
                itch::Message::OrderCancel(it) => {
                    self.reduce(it.order_reference.get(), it.cancelled_shares.get());
                }
                itch::Message::OrderDelete(it) => self.cancel(it.order_reference.get()),
                itch::Message::OrderReplace(it) => self.replace(it),
                _ => {}
            }
        }
        Ok(())
    }

    /// The instrument of a locate, made where there is room; `None` beyond the symbols asked for.
    fn place(
        &mut self,
        places: &mut HashMap<u16, u16>,
        symbols: usize,
        locate: u16,
        price: u32,
    ) -> Option<u16> {
        if let Some(place) = places.get(&locate) {
            return Some(*place);
        }
        if places.len() >= symbols {
            return None;
        }
        let place = self.before + places.len() as u16;
        places.insert(locate, place);
        self.instruments.push(Instrument {
            tick_base: (price / TICK_WIRE).saturating_sub(LADDER_LEN / 2).max(1),
            ladder_len: LADDER_LEN,
        });
        Some(place)
    }

    /// Whether a price stands on an instrument's ladder.
    fn is_on(&self, symbol: u16, price: u32) -> bool {
        let Instrument {
            tick_base,
            ladder_len,
        } = self.instruments[usize::from(symbol - self.before)];
        let ladder = tick_base..tick_base + ladder_len;
        price.is_multiple_of(TICK_WIRE) && ladder.contains(&(price / TICK_WIRE))
    }

    fn add(&mut self, place: Option<u16>, id: u64, side: u8, price: u32, shares: u32) {
        match place {
            Some(symbol) if self.is_on(symbol, price) && shares > 0 => {
                self.enter(id, symbol, side, price, shares);
            }
            _ => self.left_out += 1,
        }
    }

    fn enter(&mut self, id: u64, symbol: u16, side: u8, price: u32, shares: u32) {
        self.references += 1;
        let reference = self.references;
        let flags = Flags::new(TimeInForce::Day, SelfTrade::AccountDefault);
        self.messages
            .push(enter(symbol, reference, side, price, shares, flags));
        let order = Order {
            reference,
            symbol,
            side,
            price,
            shares,
        };
        self.live.insert(id, order);
        self.live_max = self.live_max.max(self.live.len() as u64 + 1);
    }

    fn cancel(&mut self, id: u64) {
        match self.live.remove(&id) {
            Some(order) => self.messages.push(cancel(order.symbol, order.reference)),
            None => self.left_out += 1,
        }
    }

    fn reduce(&mut self, id: u64, shares: u32) {
        match self.live.get_mut(&id) {
            Some(order) if order.shares > shares && shares > 0 => {
                order.shares -= shares;
                self.messages.push(Message {
                    letter: b'X',
                    locate: order.symbol + 1,
                    reference: order.reference,
                    shares,
                    ..Message::default()
                });
            }
            // Nothing would be left.
            Some(_) => self.cancel(id),
            None => self.left_out += 1,
        }
    }

    fn executed(&mut self, id: u64, shares: u32) {
        let Some(order) = self.live.get(&id).filter(|_| shares > 0) else {
            self.left_out += 1;
            return;
        };
        let (symbol, side, price) = (order.symbol, order.side, order.price);
        self.take(symbol, side, price, shares);
        self.filled(id, shares);
    }

    /// An order that takes from a resting one of `side`.
    fn take(&mut self, symbol: u16, side: u8, price: u32, shares: u32) {
        self.references += 1;
        let side = if side == BUY { SELL } else { BUY };
        let flags = Flags::new(TimeInForce::ImmediateOrCancel, SelfTrade::AccountDefault);
        self.messages
            .push(enter(symbol, self.references, side, price, shares, flags));
    }

    fn filled(&mut self, id: u64, shares: u32) {
        if let Some(order) = self.live.get_mut(&id) {
            order.shares = order.shares.saturating_sub(shares);
            if order.shares == 0 {
                self.live.remove(&id);
            }
        }
    }

    fn replace(&mut self, it: &itch::OrderReplace) {
        let (price, shares) = (it.price.get(), it.shares.get());
        let id = it.original_order_reference.get();
        let Some(old) = self.live.remove(&id) else {
            self.left_out += 1;
            return;
        };
        if !self.is_on(old.symbol, price) || shares == 0 {
            // It goes where it cannot be followed: the old one leaves.
            self.messages.push(cancel(old.symbol, old.reference));
            self.left_out += 1;
            return;
        }
        self.references += 1;
        self.messages.push(Message {
            letter: b'U',
            locate: old.symbol + 1,
            reference: old.reference,
            new_reference: self.references,
            shares,
            price,
            ..Message::default()
        });
        let order = Order {
            reference: self.references,
            price,
            shares,
            ..old
        };
        self.live.insert(it.new_order_reference.get(), order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_stream::lobstrm::generate;
    use std::path::PathBuf;

    fn plan(format: Format, repeat: bool) -> Replay {
        Replay {
            share: 1,
            format,
            file: PathBuf::new(),
            repeat,
            symbols: 8,
        }
    }

    /// References rise, what is cancelled was entered, and a second pass is the first behind its references.
    #[test]
    fn a_stream_and_its_feed_are_sent_and_begin_anew() {
        let place = tempfile::tempdir().unwrap();
        let stream = generate(5, 3_000, 500, 4);
        let file = place.path().join("flow.lobstrm");
        stream.write(&file).unwrap();
        let feed = place.path().join("flow.itch");
        stream
            .write_itch(std::fs::File::create(&feed).unwrap())
            .unwrap();
        for (format, file) in [(Format::Lobstrm1, &file), (Format::Itch, &feed)] {
            let mut replayed = Replayed::read(&plan(format, true), file, 10).unwrap();
            assert_eq!(replayed.left_out(), 0, "{format:?}");
            assert_eq!(replayed.instruments().len(), 4);
            let count = replayed.messages.len();
            let first: Vec<Message> = (0..count).map(|_| replayed.next().unwrap()).collect();
            let mut last = 0;
            for message in &first[..count - 1] {
                assert!((11..=14).contains(&message.locate));
                match message.letter {
                    b'A' => {
                        assert_eq!(message.reference, last + 1);
                        last = message.reference;
                    }
                    b'U' => {
                        assert_eq!(message.new_reference, last + 1);
                        last = message.new_reference;
                    }
                    _ => assert!(message.reference <= last),
                }
            }
            assert_eq!(first[count - 1].letter, b'M');
            let second = replayed.next().unwrap();
            assert_eq!(second.reference, first[0].reference + last);
        }
    }

    #[test]
    fn a_file_that_ends_ends() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("flow.lobstrm");
        generate(5, 30, 20, 1).write(&file).unwrap();
        let mut replayed = Replayed::read(&plan(Format::Lobstrm1, false), &file, 0).unwrap();
        for _ in 0..50 {
            assert!(!replayed.is_spent());
            assert!(replayed.next().is_some());
        }
        assert!(replayed.is_spent() && replayed.next().is_none());
        let error = Replayed::read(&plan(Format::Itch, false), &file, 0);
        assert!(error.is_err(), "no BinaryFILE: {error:?}");
    }
}
