//! Who trades, and how: what each trader sends next, from the seed alone.
//!
//! No trader looks at an answer: what is sent depends on the seed and the files, never on a ring or on time, so every ring and every run gets the same
//! messages in the same order. A cancel may therefore name an order that was filled; it is answered `UnknownOrder`, as on any venue.

use crate::random::Random;
use crate::replayed::{Format, Replayed};
use crate::scenario::{Scenario, ScenarioError};
use ring0_wire::host::Inbound;
use ring0_wire::message::{BUY, SELL, STOCK_SPACES};
use ring0_wire::{BLOCK_LENGTH, Flags, HEADER, Message, SelfTrade, TAG_BLOCK, TimeInForce};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::PathBuf;

/// Wire price of a tick: a cent.
pub const TICK_WIRE: u32 = 100;
/// Where each instrument's value begins, in ticks, and how far it goes to either side.
const ANCHOR: u32 = 100_000;
const ANCHOR_RANGE: u32 = 200;
/// The ladder of an instrument that has no file: it holds every value, spread and distance.
const LADDER_BASE: u32 = ANCHOR - LADDER_LEN / 2;
const LADDER_LEN: u32 = 4_096;
/// Farthest order from an instrument's value, so that all stand on its ladder.
const AWAY_MAX: u32 = LADDER_LEN / 2 - ANCHOR_RANGE - 1;
/// IPv4 and UDP headers, in bytes.
const IP_UDP: usize = 28;

fn one() -> u32 {
    1
}

/// Quotes both sides of each instrument and takes its oldest quote off before it makes a new one. Never takes: its orders are post-only and slide.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Maker {
    /// Weight of its messages among all traders'.
    pub share: u32,
    /// How many such traders, each with a session and an account of its own, share that.
    pub count: u32,
    /// Quotes of each side of an instrument, of each.
    pub depth: u32,
    /// Ticks between its best quotes, twice over.
    pub half_spread_ticks: u32,
    /// Ticks behind that over which quotes are spread.
    pub width_ticks: u32,
    /// Least and most shares.
    pub shares: (u32, u32),
}

impl Default for Maker {
    fn default() -> Self {
        Maker {
            share: 1,
            count: 1,
            depth: 8,
            half_spread_ticks: 1,
            width_ticks: 16,
            shares: (100, 500),
        }
    }
}

/// Sends orders that trade at once or not at all.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Taker {
    /// Weight of its messages among all traders'.
    pub share: u32,
    /// How many such traders share that.
    pub count: u32,
    /// Ticks through the instrument's value up to which it pays.
    pub through_ticks: u32,
    /// Least and most shares.
    pub shares: (u32, u32),
}

impl Default for Taker {
    fn default() -> Self {
        Taker {
            share: 1,
            count: 1,
            through_ticks: 4,
            shares: (50, 400),
        }
    }
}

/// Shows large orders that it never means to trade, far from the market, and takes them off again.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spoofer {
    /// Weight of its messages among all traders'.
    pub share: u32,
    /// How many such traders share that.
    pub count: u32,
    /// Ticks from the instrument's value.
    pub distance_ticks: u32,
    /// Orders that stand before the oldest goes.
    pub standing: u32,
    /// Least and most shares.
    pub shares: (u32, u32),
}

impl Default for Spoofer {
    fn default() -> Self {
        Spoofer {
            share: 1,
            count: 1,
            distance_ticks: 100,
            standing: 32,
            shares: (5_000, 50_000),
        }
    }
}

/// Sends the order flow of a file, on instruments of its own.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Weight of its messages among all traders'.
    #[serde(default = "one")]
    pub share: u32,
    /// What the file is.
    pub format: Format,
    /// The file, of LOBSTER the folder; from the scenario's own folder on.
    pub file: PathBuf,
    /// Begin anew at the end, after a mass cancel; without it the end of the file must not come first.
    #[serde(default)]
    pub repeat: bool,
    /// Instruments of an ITCH file that are taken, in the order in which their first orders come.
    #[serde(default = "eight")]
    pub symbols: u32,
}

fn eight() -> u32 {
    8
}

/// A trader of a scenario.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Trader {
    /// A market maker.
    Maker(Maker),
    /// A taker.
    Taker(Taker),
    /// A spoofer.
    Spoofer(Spoofer),
    /// A file.
    Replay(Replay),
}

impl Trader {
    /// As the scenario says it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Trader::Maker(_) => "maker",
            Trader::Taker(_) => "taker",
            Trader::Spoofer(_) => "spoofer",
            Trader::Replay(_) => "replay",
        }
    }

    /// Whether it fills books.
    #[must_use]
    pub fn is_maker(&self) -> bool {
        matches!(self, Trader::Maker(_))
    }

    fn share(&self) -> u32 {
        match self {
            Trader::Maker(it) => it.share,
            Trader::Taker(it) => it.share,
            Trader::Spoofer(it) => it.share,
            Trader::Replay(it) => it.share,
        }
    }

    fn count(&self) -> u32 {
        match self {
            Trader::Maker(it) => it.count,
            Trader::Taker(it) => it.count,
            Trader::Spoofer(it) => it.count,
            Trader::Replay(_) => 1,
        }
    }

    /// The first field that cannot be, and what may stand there.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let within = |field, value: u32, low: u32, high: u32| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err((field, format!("is {value}; it may be {low} to {high}"))),
        };
        let shares = |(low, high): (u32, u32)| match 0 < low && low <= high && high <= 1_000_000 {
            true => Ok(()),
            false => Err((
                "shares",
                format!("is [{low}, {high}]; least and most, 1 to 1,000,000, in this order"),
            )),
        };
        within("share", self.share(), 1, 1_000_000)?;
        within("count", self.count(), 1, 256)?;
        match self {
            Trader::Maker(it) => {
                within("depth", it.depth, 1, 1_000)?;
                within("half_spread_ticks", it.half_spread_ticks, 0, 500)?;
                within("width_ticks", it.width_ticks, 1, 1_000)?;
                shares(it.shares)
            }
            Trader::Taker(it) => {
                within("through_ticks", it.through_ticks, 0, 1_000)?;
                shares(it.shares)
            }
            Trader::Spoofer(it) => {
                within("distance_ticks", it.distance_ticks, 1, 1_500)?;
                within("standing", it.standing, 1, 100_000)?;
                shares(it.shares)
            }
            Trader::Replay(it) => within("symbols", it.symbols, 1, 256),
        }
    }
}

/// Ladder of an instrument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Instrument {
    /// Lowest tick.
    pub tick_base: u32,
    /// Ticks.
    pub ladder_len: u32,
}

/// Who sends: one session and account.
#[derive(Debug)]
struct Sender {
    name: String,
    /// Last client reference used.
    reference: u32,
    acts: Acts,
}

#[derive(Debug)]
enum Acts {
    Maker {
        plan: Maker,
        /// References by instrument and side, oldest first.
        quotes: Vec<VecDeque<u32>>,
    },
    Taker(Taker),
    Spoofer {
        plan: Spoofer,
        /// Instrument and reference, oldest first.
        standing: VecDeque<(u16, u32)>,
    },
    Replay(Replayed),
}

/// The messages of a scenario, packet by packet.
#[derive(Debug)]
pub struct Flow {
    instruments: Vec<Instrument>,
    senders: Vec<Sender>,
    /// Weight, first sender and senders of each trader of the scenario.
    groups: Vec<(u32, usize, u32)>,
    /// Values of the instruments without a file, in ticks.
    anchors: Vec<u32>,
    random: Random,
    messages_max: usize,
    payload_max: usize,
    left_out: u64,
}

impl Flow {
    /// Reads the files that traders replay.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn new(scenario: &Scenario) -> Result<Flow, ScenarioError> {
        let symbols = match scenario
            .traders
            .iter()
            .all(|it| matches!(it, Trader::Replay(_)))
        {
            true => 0,
            false => scenario.flow.symbols as usize,
        };
        let shared = Instrument {
            tick_base: LADDER_BASE,
            ladder_len: LADDER_LEN,
        };
        let mut flow = Flow {
            instruments: vec![shared; symbols],
            senders: Vec::new(),
            groups: Vec::new(),
            anchors: vec![ANCHOR; symbols],
            random: Random::of(scenario.seed, 0x7ADE),
            messages_max: scenario.flow.messages_per_packet.into(),
            payload_max: (scenario.topology.mtu as usize - IP_UDP).min(ring0_wire::PAYLOAD_MAX),
            left_out: 0,
        };
        for trader in &scenario.traders {
            let (first, count) = (flow.senders.len(), trader.count());
            flow.groups.push((trader.share(), first, count));
            for number in 0..count {
                let acts = match trader {
                    Trader::Maker(plan) => Acts::Maker {
                        plan: plan.clone(),
                        quotes: vec![VecDeque::new(); 2 * symbols],
                    },
                    Trader::Taker(plan) => Acts::Taker(plan.clone()),
                    Trader::Spoofer(plan) => Acts::Spoofer {
                        plan: plan.clone(),
                        standing: VecDeque::new(),
                    },
                    Trader::Replay(plan) => {
                        let file = scenario.folder.join(&plan.file);
                        let before = flow.instruments.len() as u16;
                        let replayed = Replayed::read(plan, &file, before).map_err(|problem| {
                            ScenarioError::Flow {
                                path: scenario.path.clone(),
                                file,
                                problem,
                            }
                        })?;
                        flow.left_out += replayed.left_out();
                        flow.instruments.extend(replayed.instruments());
                        Acts::Replay(replayed)
                    }
                };
                flow.senders.push(Sender {
                    name: format!("{}-{}", trader.kind(), first as u32 + number + 1),
                    reference: 0,
                    acts,
                });
            }
        }
        Ok(flow)
    }

    /// Ladders of the instruments; instrument *i* has locate *i* + 1.
    #[must_use]
    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    /// Names of the senders, each a session and an account of its own.
    #[must_use]
    pub fn senders(&self) -> Vec<&str> {
        self.senders.iter().map(|it| it.name.as_str()).collect()
    }

    /// Lines of the replayed files that are not sent: of instruments beyond those asked for, off the ladder, or about orders that no line entered.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Most orders that can rest at once, of all senders.
    #[must_use]
    pub fn live_max(&self) -> u64 {
        let of = |sender: &Sender| match &sender.acts {
            Acts::Maker { plan, quotes } => u64::from(plan.depth + 1) * quotes.len() as u64,
            Acts::Taker(_) => 1,
            Acts::Spoofer { plan, .. } => u64::from(plan.standing) + 1,
            Acts::Replay(replayed) => replayed.live_max(),
        };
        self.senders.iter().map(of).sum()
    }

    /// A packet of the makers, for books before anything is measured: who sends, and what, into `messages`.
    pub fn next_prefill(&mut self, messages: &mut Vec<Message>) -> usize {
        let makers: Vec<usize> = (0..self.senders.len())
            .filter(|at| matches!(self.senders[*at].acts, Acts::Maker { .. }))
            .collect();
        let sender = makers[self.random.below(makers.len() as u32) as usize];
        self.fill(sender, messages);
        sender
    }

    /// The next packet: who sends, and what, into `messages`. `None` where no file has anything left and nobody else trades.
    pub fn next_packet(&mut self, messages: &mut Vec<Message>) -> Option<usize> {
        let is_spent = |sender: &Sender| match &sender.acts {
            Acts::Replay(replayed) => replayed.is_spent(),
            _ => false,
        };
        let groups: Vec<_> = self
            .groups
            .iter()
            .filter(|(_, first, _)| !is_spent(&self.senders[*first]))
            .copied()
            .collect();
        let total = groups.iter().map(|it| it.0).sum::<u32>();
        if total == 0 {
            return None;
        }
        let mut at = self.random.below(total);
        let (_, first, count) = groups.into_iter().find(|(share, ..)| {
            let here = at < *share;
            at = at.wrapping_sub(*share);
            here
        })?;
        let sender = first + self.random.below(count) as usize;
        self.fill(sender, messages);
        Some(sender)
    }

    /// Messages of a sender up to a packet's end.
    fn fill(&mut self, sender: usize, messages: &mut Vec<Message>) {
        messages.clear();
        // The longest message that a trader here sends.
        const LONGEST: usize = BLOCK_LENGTH + ring0_wire::inbound::ENTER;
        let mut bytes = HEADER + TAG_BLOCK;
        while messages.len() < self.messages_max && bytes + LONGEST <= self.payload_max {
            let Some(message) = self.message(sender) else {
                break;
            };
            let inbound = Inbound::from_message(&message).expect("a letter of ours");
            bytes += BLOCK_LENGTH + inbound.as_bytes().len();
            messages.push(message);
        }
    }

    fn message(&mut self, sender: usize) -> Option<Message> {
        let Sender {
            reference, acts, ..
        } = &mut self.senders[sender];
        let random = &mut self.random;
        if let Acts::Replay(replayed) = acts {
            return replayed.next();
        }
        let symbol = random.below(self.anchors.len() as u32) as u16;
        let anchor = &mut self.anchors[usize::from(symbol)];
        // A quarter of the messages move their instrument's value, by a tick.
        match random.below(8) {
            0 if *anchor < ANCHOR + ANCHOR_RANGE => *anchor += 1,
            1 if *anchor > ANCHOR - ANCHOR_RANGE => *anchor -= 1,
            _ => {}
        }
        let side = [BUY, SELL][random.below(2) as usize];
        let mut enter = |away: u32, is_taking: bool, shares: u32, flags: Flags| {
            let away = away.min(AWAY_MAX);
            let tick = match (side == BUY) != is_taking {
                true => *anchor - away,
                false => *anchor + away,
            };
            *reference += 1;
            enter(symbol, *reference, side, tick * TICK_WIRE, shares, flags)
        };
        Some(match acts {
            Acts::Maker { plan, quotes } => {
                let quotes = &mut quotes[2 * usize::from(symbol) + usize::from(side == SELL)];
                if quotes.len() >= plan.depth as usize
                    && let Some(oldest) = quotes.pop_front()
                {
                    return Some(cancel(symbol, oldest));
                }
                let away = plan.half_spread_ticks + random.below(plan.width_ticks);
                let shares = random.between(plan.shares);
                let day = Flags::new(TimeInForce::Day, SelfTrade::AccountDefault);
                let message = enter(away, false, shares, day.with(Flags::POST_SLIDE));
                quotes.push_back(message.reference);
                message
            }
            Acts::Taker(plan) => {
                let shares = random.between(plan.shares);
                let at_once = Flags::new(TimeInForce::ImmediateOrCancel, SelfTrade::AccountDefault);
                enter(plan.through_ticks, true, shares, at_once)
            }
            Acts::Spoofer { plan, standing } => {
                if standing.len() >= plan.standing as usize
                    && let Some((symbol, oldest)) = standing.pop_front()
                {
                    return Some(cancel(symbol, oldest));
                }
                let away = plan.distance_ticks + random.below(32);
                let shares = random.between(plan.shares);
                let day = Flags::new(TimeInForce::Day, SelfTrade::AccountDefault);
                let message = enter(away, false, shares, day);
                standing.push_back((symbol, message.reference));
                message
            }
            Acts::Replay(_) => unreachable!("taken above"),
        })
    }
}

/// An order on instrument `symbol`, counted from 0.
pub(crate) fn enter(
    symbol: u16,
    reference: u32,
    side: u8,
    price: u32,
    shares: u32,
    flags: Flags,
) -> Message {
    Message {
        letter: b'A',
        locate: symbol + 1,
        flags,
        reference,
        side,
        shares,
        stock: STOCK_SPACES,
        price,
        ..Message::default()
    }
}

/// A cancel on instrument `symbol`, counted from 0.
pub(crate) fn cancel(symbol: u16, reference: u32) -> Message {
    Message {
        letter: b'D',
        locate: symbol + 1,
        reference,
        ..Message::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};
    use std::path::Path;

    const MARKET: &str = r#"
        name = "market"
        title = "Market"
        seed = 11
        rings = ["udp"]
        [flow]
        symbols = 3
        messages_per_packet = 68
        prefill = 0
        [[trader]]
        kind = "maker"
        share = 6
        count = 2
        [[trader]]
        kind = "taker"
        share = 3
        [[trader]]
        kind = "spoofer"
        share = 1
        [throughput]
        packets = 100
    "#;

    fn packets(text: &str, count: usize) -> Vec<(usize, Vec<Message>)> {
        let scenario = Scenario::parse(text, Path::new("market.toml")).unwrap();
        let mut flow = Flow::new(&scenario).unwrap();
        let mut messages = Vec::new();
        (0..count)
            .map(|_| {
                let sender = flow.next_packet(&mut messages).expect("traders never end");
                (sender, messages.clone())
            })
            .collect()
    }

    #[test]
    fn equal_seeds_send_equal_messages() {
        assert_eq!(packets(MARKET, 50), packets(MARKET, 50));
        let other = MARKET.replace("seed = 11", "seed = 12");
        assert_ne!(packets(MARKET, 50), packets(&other, 50));
    }

    /// What every message must be for the engine to have nothing against it, and the shares of the scenario.
    #[test]
    fn messages_are_good_and_shares_are_kept() {
        let mut sent = BTreeMap::<usize, u64>::new();
        let mut last = BTreeMap::<usize, u32>::new();
        let mut live = HashSet::new();
        let all = packets(MARKET, 3_000);
        for (sender, messages) in &all {
            let mut bytes = HEADER + TAG_BLOCK;
            for message in messages {
                let inbound = Inbound::from_message(message).unwrap();
                inbound.check().unwrap();
                bytes += BLOCK_LENGTH + inbound.as_bytes().len();
                *sent.entry(*sender).or_default() += 1;
                match message.letter {
                    b'A' => {
                        let before = last.insert(*sender, message.reference).unwrap_or(0);
                        assert_eq!(message.reference, before + 1, "references rise");
                        let ladder = LADDER_BASE..LADDER_BASE + LADDER_LEN;
                        assert!(ladder.contains(&(message.price / TICK_WIRE)));
                        live.insert((*sender, message.reference));
                    }
                    b'D' => assert!(live.remove(&(*sender, message.reference))),
                    letter => panic!("{letter}"),
                }
            }
            assert!(bytes <= ring0_wire::PAYLOAD_MAX && !messages.is_empty());
        }
        // A sender is drawn for each packet, and packets have about as many messages: senders 0, 1 are makers, 2 takes, 3 spoofs.
        let packets_of =
            |sender: usize| all.iter().filter(|it| it.0 == sender).count() as f64 / 3_000.0;
        assert!((packets_of(0) + packets_of(1) - 0.6).abs() < 0.05);
        assert!((packets_of(2) - 0.3).abs() < 0.05);
        assert!((packets_of(3) - 0.1).abs() < 0.05);
        assert!(sent.len() == 4);
    }

    #[test]
    fn a_small_wire_has_small_packets() {
        let small = format!("{MARKET}\n[topology]\nmtu = 576");
        for (_, messages) in packets(&small, 200) {
            let bytes: usize = messages
                .iter()
                .map(|it| Inbound::from_message(it).unwrap().as_bytes().len() + BLOCK_LENGTH)
                .sum();
            assert!(IP_UDP + HEADER + TAG_BLOCK + bytes <= 576);
        }
    }
}
