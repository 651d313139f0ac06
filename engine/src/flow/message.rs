//! What the flow's clients send: orders of every kind, what follows them, and mistakes.

use super::market::{
    ACCOUNT_OF, LATE, MARKETS, RISKY, SESSIONS, STRANGER, list_of, middle_of, references_log2,
};
use super::{Flow, Input, Profile, SECOND_NS, packet};
use crate::Reason;
use crate::control::List;
use ring0_wire::host::{Inbound, Request};
use ring0_wire::message::{
    BOTH, BUY, PEG_MIDPOINT, PEG_PRIMARY, SCOPE_ACCOUNT, SCOPE_SESSION, SELL, STOCK_SPACES,
};
use ring0_wire::{ACK, BLOCK_LENGTH, Flags, HEADER, Message, SelfTrade, SessionId, TimeInForce};
use std::collections::VecDeque;

/// An ack with its length.
const ACK_BLOCK: usize = BLOCK_LENGTH + ACK;

const UNKNOWN_ORDER: u8 = Reason::UnknownOrder as u8;

pub(super) const DAY: Flags = lasting(TimeInForce::Day);
pub(super) const GTC: Flags = lasting(TimeInForce::GoodTillCancel);
pub(super) const GTT: Flags = lasting(TimeInForce::GoodTillTime);
pub(super) const IOC: Flags = lasting(TimeInForce::ImmediateOrCancel);
pub(super) const FOK: Flags = lasting(TimeInForce::FillOrKill);

const fn lasting(time: TimeInForce) -> Flags {
    Flags::new(time, SelfTrade::AccountDefault)
}

/// Bits 5 to 7 of the flags.
pub(super) const fn preventing(mode: u16) -> u16 {
    mode << 5
}

/// An order that was let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) reference: u32,
    pub(super) locate: u16,
    pub(super) side: u8,
    /// Ticks.
    pub(super) price: u32,
    pub(super) lots: u32,
}

/// What the flow knows of a session.
#[derive(Clone, Debug)]
pub(super) struct Client {
    id: SessionId,
    /// Client sequence expected next, as learnt from answers.
    expected: u64,
    last_reference: u32,
    /// Orders lately let in.
    recent: VecDeque<Known>,
}

impl Client {
    pub(super) fn new(id: SessionId) -> Client {
        Client {
            id,
            expected: 1,
            last_reference: 0,
            recent: VecDeque::new(),
        }
    }

    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// References are used up without an order.
    pub(super) fn skip(&mut self, references: u32) {
        self.last_reference = self.last_reference.saturating_add(references);
    }

    pub(super) fn latest(&self) -> Option<Known> {
        self.recent.back().copied()
    }

    /// A message named an order that is gone.
    fn gone(&mut self, message: &Inbound) {
        if let Ok(message) = message.check() {
            self.recent
                .retain(|order| order.reference != message.reference);
        }
    }

    /// A message was accepted.
    fn accepted(&mut self, message: &Inbound) {
        let Ok(message) = message.check() else { return };
        if !matches!(message.letter, b'A' | b'F' | b'O' | b'U') {
            self.recent
                .retain(|order| message.letter != b'D' || order.reference != message.reference);
            return;
        }
        let Some(list) = MARKETS.get(usize::from(message.locate).wrapping_sub(1)) else {
            return;
        };
        let before = self
            .recent
            .iter()
            .find(|order| order.reference == message.reference);
        let side = before.map_or(message.side, |order| order.side);
        let replaces = message.letter == b'U';
        self.recent
            .retain(|order| !replaces || order.reference != message.reference);
        if !replaces && message.trigger == 0 && message.flags.is_immediate() {
            return; // it is gone
        }
        self.recent.push_back(Known {
            reference: if replaces {
                message.new_reference
            } else {
                message.reference
            },
            locate: message.locate,
            side,
            price: message.price / list.tick_size,
            lots: (message.shares / list.lot_size).min(list.lots_max),
        });
        if self.recent.len() > 40 {
            self.recent.pop_front();
        }
    }
}

/// What an order is beside its price and quantity.
#[derive(Clone, Copy, Debug)]
enum Feature {
    Plain,
    Iceberg,
    Hidden,
    Minimum,
    Stop,
    MarketStop,
    Primary,
    Midpoint,
    Slide,
    Reject,
    Market,
}

const FEATURES: [Feature; 11] = [
    Feature::Plain,
    Feature::Iceberg,
    Feature::Hidden,
    Feature::Minimum,
    Feature::Stop,
    Feature::MarketStop,
    Feature::Primary,
    Feature::Midpoint,
    Feature::Slide,
    Feature::Reject,
    Feature::Market,
];

/// How often each of [`FEATURES`] occurs.
fn features_of(phase: Profile) -> [u32; 11] {
    match phase {
        Profile::Calm => [60, 5, 5, 3, 3, 1, 2, 2, 4, 6, 4],
        Profile::Stops => [45, 5, 3, 2, 25, 8, 2, 2, 2, 2, 6],
        Profile::Pegs => [30, 14, 14, 4, 2, 1, 14, 14, 3, 3, 4],
        Profile::Auction => [60, 10, 10, 2, 6, 2, 2, 2, 2, 2, 3],
        _ => [50, 8, 8, 4, 5, 2, 4, 4, 5, 5, 5],
    }
}

impl Flow {
    /// What came back for the packet given last: the answer's payload, or nothing. Not called for other inputs.
    pub fn observe(&mut self, answer: Option<&[u8]>) {
        let Some(request) = self.awaited.take() else {
            return;
        };
        let Some(answer) = answer else { return };
        let Some(index) = SessionId(first_ten(answer)).index() else {
            return;
        };
        let Some(client) = self.clients.get_mut(index as usize) else {
            return;
        };
        let (sequence, count) = header_of(&request);
        if count == 1 {
            client.expected = header_of(answer).0;
            return;
        }
        let Ok(request) = Request::read(&request) else {
            return;
        };
        let acks = answer[HEADER..].chunks_exact(ACK_BLOCK);
        for (message, ack) in request.messages.iter().zip(acks) {
            // Result, reason, venue sequence.
            match (ack[3], ack[4]) {
                (b'A' | b'C', _) if sequence == client.expected => client.accepted(message),
                (b'R', UNKNOWN_ORDER) if sequence == client.expected => client.gone(message),
                (b'N', 1 | 2) => {
                    let bytes = ack[13..21].try_into().expect("eight bytes");
                    client.expected = u64::from_be_bytes(bytes);
                    return;
                }
                (b'N', _) => return,
                _ => {}
            }
        }
        client.expected = client.expected.max(sequence + u64::from(count));
    }

    pub(super) fn any_packet(&mut self) -> Input {
        let hostile = self.phase == Profile::Hostile;
        let mistakes = if hostile { 12 } else { 3 };
        let session = match self.random.below(100) {
            0..2 if hostile => STRANGER,
            2..6 => LATE,
            _ => match self.random.below(SESSIONS) {
                STRANGER => 0,
                session => session,
            },
        };
        let count = match self.random.below(100) {
            0..4 => 0,
            4..7 => 68,
            7..30 => self.random.between(4, 12),
            _ => self.random.between(1, 4),
        };
        let mut messages = Vec::new();
        for _ in 0..count {
            let message = if count == 68 {
                self.cancel(session)
            } else {
                self.any_message(session)
            };
            messages.push(message);
        }
        if !self.random.percent(mistakes) {
            return self.packet(session, &messages);
        }
        let expected = self.clients[session as usize].expected;
        let sequence = match self.random.below(6) {
            0 | 1 => {
                if self.sent.is_empty() {
                    return Input::Steps;
                }
                let at = self.random.below(self.sent.len() as u32) as usize;
                return Input::Packet(self.sent[at].clone());
            }
            2 => expected + u64::from(self.random.between(1, 100)),
            3 => expected.saturating_sub(u64::from(self.random.between(1, 4))),
            4 => expected.saturating_sub(u64::from(self.random.between(60, 300))),
            _ => self.random.pick(&[0, u64::MAX, u64::MAX - 3, 1]),
        };
        let mut id = self.clients[session as usize].id;
        if self.random.percent(3) {
            id.0[9] = b'Z';
        }
        packet(id, sequence, &messages)
    }

    fn any_message(&mut self, session: u32) -> Inbound {
        let message = match self.random.below(1000) {
            0..520 => self.any_enter(session),
            520..700 => self.replace(session),
            700..815 => self.reduce(session),
            815..980 => self.cancel(session),
            _ => self.any_mass(session),
        };
        let spoils = match (self.phase, message.as_bytes()[0]) {
            (Profile::Hostile, b'O' | b'M') => 30,
            (Profile::Hostile, _) => 10,
            _ => 1,
        };
        if self.random.percent(spoils) {
            self.spoil(message)
        } else {
            message
        }
    }

    // References and known orders.

    fn reference(&mut self, session: u32) -> u32 {
        let backwards = self.random.percent(1);
        let up = if self.random.percent(98) {
            1
        } else {
            self.random.between(1, 40)
        };
        let client = &mut self.clients[session as usize];
        if backwards {
            return client.last_reference.max(1);
        }
        client.last_reference = client.last_reference.saturating_add(up);
        client.last_reference
    }

    fn recent(&mut self, session: u32) -> Known {
        let len = self.clients[session as usize].recent.len() as u32;
        if len == 0 || self.random.percent(4) {
            return Known {
                reference: self.random.between(1, 60),
                locate: 1,
                side: BUY,
                price: middle_of(1),
                lots: 3,
            };
        }
        let at = self.random.below(len) as usize;
        self.clients[session as usize].recent[at]
    }

    /// A session begins anew with another id.
    pub(super) fn forget(&mut self, session: u32) {
        let id = self.fresh_id(session);
        self.clients[session as usize] = Client::new(id);
    }

    // Orders.

    /// A limit order in ticks and lots.
    pub(super) fn limit(locate: u16, side: u8, price: u32, lots: u32, flags: Flags) -> Message {
        Message {
            letter: b'A',
            locate,
            side,
            price,
            shares: lots,
            stock: STOCK_SPACES,
            flags,
            ..Message::default()
        }
    }

    /// An order in ticks and lots with its next reference, as it is sent.
    pub(super) fn placed(&mut self, session: u32, order: Message) -> Inbound {
        let client = &mut self.clients[session as usize];
        client.last_reference = client.last_reference.saturating_add(1);
        let reference = client.last_reference;
        inbound(&on_the_wire(Message { reference, ..order }))
    }

    /// The second of the day that venue time is in.
    pub(super) fn second(&self) -> u32 {
        let now = self.day_base_ns.wrapping_add(self.boot_ns);
        let second = now.saturating_sub(self.view.midnight_ns) / SECOND_NS;
        second.clamp(1, 86_400) as u32
    }

    /// The expiry of an order that is good for so many seconds.
    pub(super) fn expiry_in(&self, seconds: u32) -> u32 {
        (self.second() + seconds).min(86_399)
    }

    /// A price in ticks near the middle, for a side.
    fn price(&mut self, locate: u16, side: u8) -> u32 {
        let middle = middle_of(locate);
        let away = self.random.below(6);
        if side == BUY {
            middle + 1 - away
        } else {
            middle + away - 1
        }
    }

    fn lots(&mut self) -> u32 {
        match self.random.below(20) {
            0 => self.random.between(20, 400),
            _ => self.random.between(1, 9),
        }
    }

    fn locate(&mut self) -> u16 {
        let weights: [u32; 6] = match self.phase {
            Profile::Auction => [3, 2, 1, 1, 6, 2],
            Profile::Day => [3, 2, 1, 1, 2, 5],
            _ => [8, 4, 3, 1, 3, 2],
        };
        self.random.weighted(&weights) as u16 + 1
    }

    fn any_enter(&mut self, session: u32) -> Inbound {
        let locate = self.locate();
        let side = self.random.pick(&[BUY, SELL]);
        let (price, lots) = (self.price(locate, side), self.lots());
        let times: [u32; 5] = match self.phase {
            Profile::Day => [30, 20, 30, 10, 10],
            _ => [55, 12, 10, 13, 10],
        };
        let flags = [DAY, GTC, GTT, IOC, FOK][self.random.weighted(&times)];
        let mut order = Flow::limit(locate, side, price, lots, flags);
        let feature = FEATURES[self.random.weighted(&features_of(self.phase))];
        self.add_feature(&mut order, feature);
        let hand = if self.phase == Profile::SelfTrade {
            70
        } else {
            12
        };
        if self.random.percent(hand) {
            self.add_prevention(&mut order, session);
        }
        if order.flags.is_good_till_time() {
            order.letter = b'O';
            let seconds = self.random.below(5);
            order.expiry_s = self.expiry_in(seconds);
        }
        order.reference = self.reference(session);
        match self.random.below(30) {
            0 | 1 if order.letter == b'A' => order.letter = b'F',
            2 if order.letter == b'A' => {
                order.letter = b'F';
                order.sub_account = u32::from_be_bytes(*b"DESK");
            }
            3 | 4 => order.letter = b'O',
            5 => order.stock = u64::from_be_bytes(list_of(locate).symbol),
            _ => {}
        }
        let mut message = on_the_wire(order);
        let bent = match self.phase {
            Profile::Hostile => 25,
            _ => 4,
        };
        if self.random.percent(bent) {
            self.bend(&mut message, list_of(locate), session);
        }
        inbound(&message)
    }

    fn add_feature(&mut self, order: &mut Message, feature: Feature) {
        let lots = order.shares;
        // What a post-only order is not.
        let lasting = if order.flags.is_immediate() {
            DAY
        } else {
            order.flags
        };
        match feature {
            Feature::Plain => {}
            Feature::Iceberg => {
                order.letter = b'O';
                order.shares = lots + self.random.between(0, 20);
                order.display = self.random.between(1, lots.min(5));
                if self.random.percent(70) {
                    order.flags = lasting;
                }
            }
            Feature::Hidden => order.flags = order.flags.with(Flags::HIDDEN),
            Feature::Minimum => {
                order.letter = b'O';
                order.minimum = self.random.between(1, lots);
            }
            Feature::Stop | Feature::MarketStop => {
                order.letter = b'O';
                let last = match self.view.markets[usize::from(order.locate) - 1].last {
                    0 => middle_of(order.locate),
                    last => last,
                };
                let away = self.random.between(1, 4);
                let early = self.random.percent(4);
                let up = (order.side == BUY) != early;
                order.trigger = if up {
                    last + away
                } else {
                    last.saturating_sub(away).max(1)
                };
                let slack = self.random.below(4);
                order.price = if order.side == BUY {
                    order.trigger + slack
                } else {
                    order.trigger.saturating_sub(slack).max(1)
                };
                if order.flags.time() == TimeInForce::FillOrKill as u8 {
                    order.flags = GTC;
                }
                if matches!(feature, Feature::MarketStop) {
                    order.flags = order.flags.with(Flags::MARKET);
                }
                if self.random.percent(15) {
                    order.display = self.random.between(1, lots);
                } else if self.random.percent(10) {
                    order.flags = order.flags.with(Flags::HIDDEN);
                }
            }
            Feature::Primary | Feature::Midpoint => {
                order.letter = b'O';
                order.peg = if matches!(feature, Feature::Primary) {
                    PEG_PRIMARY
                } else {
                    PEG_MIDPOINT
                };
                order.peg_offset_ticks = self.random.below(6) as i8 - 3;
                // A limit that seldom binds, and one that does.
                let far = self.random.pick(&[0, 3, 5]);
                order.price = if order.side == BUY {
                    middle_of(order.locate) + far
                } else {
                    middle_of(order.locate) - far
                };
                if order.flags.time() == TimeInForce::FillOrKill as u8 {
                    order.flags = IOC;
                }
                if self.random.percent(20) {
                    order.flags = order.flags.with(Flags::HIDDEN);
                }
            }
            Feature::Slide => order.flags = lasting.with(Flags::POST_SLIDE),
            Feature::Reject => order.flags = lasting.with(Flags::POST_REJECT),
            Feature::Market => order.flags = order.flags.with(Flags::MARKET),
        }
        if matches!(feature, Feature::Slide | Feature::Reject) && self.random.percent(15) {
            order.letter = b'O';
            order.display = self.random.between(1, lots);
        }
    }

    fn add_prevention(&mut self, order: &mut Message, session: u32) {
        let mode = self.random.between(1, 4) as u16;
        order.flags = order.flags.with(preventing(mode));
        if self.random.percent(40) {
            order.letter = b'O';
            order.trade_group = self.groups[ACCOUNT_OF[session as usize] as usize];
        }
    }

    /// Makes an order that the engine, not the parser, refuses; or that stands at an edge.
    fn bend(&mut self, message: &mut Message, list: &List, session: u32) {
        let tick = list.tick_size;
        let top = list.ladder_base + list.ladder_len - 1;
        match self.random.below(30) {
            0 => message.locate = self.random.pick(&[0, 7, 8, 9, 200, u16::MAX]),
            1 => message.stock = u64::from_be_bytes(*b"NOTHERE "),
            2 => message.price += 1,
            3 => message.shares += 1,
            4 => message.shares = (list.lots_max + 1) * list.lot_size,
            5 => message.shares = list.lots_max * list.lot_size,
            6 => message.price = 0,
            7 => message.price = (top + 1) * tick,
            8 => message.price = top * tick,
            9 => message.price = list.ladder_base * tick,
            10 => message.price = (list.ladder_base - 1) * tick,
            11 => message.price = u32::MAX - u32::MAX % tick,
            12 => {
                message.flags = Flags(message.flags.0 & !(Flags::POST_REJECT | Flags::POST_SLIDE));
                message.flags = message.flags.with(Flags::MARKET);
                message.price = self.random.pick(&[0, 0, u32::MAX - u32::MAX % tick]);
            }
            13 => message.shares = u32::MAX - u32::MAX % list.lot_size,
            14..17 => message.price = self.random.between(list.ladder_base, top) * tick,
            17 => {
                let low = middle_of(message.locate).saturating_sub(8);
                message.price = self.random.between(low, low + 16) * tick;
            }
            18 => {
                message.letter = b'O';
                message.minimum = 1;
                message.display = 0;
            }
            19 => {
                message.letter = b'O';
                message.trigger = message.price.max(1) + self.random.below(2) * (tick - 1);
            }
            20 => {
                message.letter = b'O';
                message.trigger = (top + 1) * tick;
            }
            21 => {
                message.letter = b'O';
                message.flags = Flags(message.flags.0 & !7).with(GTT.0);
                let second = self.view.second;
                message.expiry_s = self
                    .random
                    .pick(&[0, 1, second, second + 1, 86_399, 86_400]);
            }
            22 => {
                message.letter = b'O';
                message.trade_group = self.random.pick(&[1, 3, 7, u16::MAX]);
            }
            23 => {
                message.letter = b'O';
                message.peg = self.random.pick(&[PEG_PRIMARY, PEG_MIDPOINT]);
                message.peg_offset_ticks = self.random.pick(&[-128, -40, 12, 127]);
            }
            24 => {
                // Together what may not be together, mostly.
                message.letter = b'O';
                message.peg = self.random.pick(&[0, PEG_PRIMARY]);
                message.trigger = self.random.pick(&[0, 0, list.ladder_base * tick]);
                message.minimum = self.random.pick(&[0, message.shares]);
                let bits = [Flags::MARKET, Flags::POST_REJECT, Flags::POST_SLIDE, 0];
                message.flags = DAY.with(self.random.pick(&bits));
            }
            25 => message.shares = 120 * list.lot_size,
            26 => {
                message.letter = b'O';
                message.flags = lasting(TimeInForce::Day);
                message.expiry_s = 0;
                message.display = list.lot_size;
                message.shares = (list.lots_max / 2) * list.lot_size;
            }
            27 => {
                message.letter = b'O';
                message.display = message.shares.min(list.lot_size + 1);
            }
            28 => {
                message.letter = b'O';
                message.minimum = message.shares.min(list.lot_size + 1);
            }
            _ if session == RISKY => message.shares = 50 * list.lot_size,
            _ => {
                message.letter = b'O';
                message.display = message.shares / 2;
            }
        }
    }

    // What follows an order.

    pub(super) fn replace(&mut self, session: u32) -> Inbound {
        let Known {
            reference,
            locate,
            side,
            price,
            lots,
        } = self.recent(session);
        let list = list_of(locate);
        let mut wire_locate = locate;
        let (mut new_price, mut new_lots) = match self.random.below(4) {
            0 => (price, lots),
            1 => (price, self.random.between(1, lots.max(1))),
            2 => (self.price(locate, side), lots),
            _ => (price, lots + self.random.between(1, 5)),
        };
        let mut extra = (0, 0);
        let bent = if self.phase == Profile::Hostile {
            20
        } else {
            3
        };
        if self.random.percent(bent) {
            match self.random.below(9) {
                0 => wire_locate = self.random.pick(&[0, 1, 2, 3, 6, 7, 8, 8]),
                1 => new_price = list.ladder_base + list.ladder_len,
                2 => new_lots = list.lots_max + 1,
                3 => extra.0 = 1,
                4 => extra.1 = 1,
                5 => {
                    let top = list.ladder_base + list.ladder_len - 1;
                    new_price = self.random.between(list.ladder_base, top);
                }
                6 => new_lots = 120,
                7 => new_lots = self.random.pick(&[30, 50]),
                _ => new_lots = list.lots_max,
            }
        }
        let mut new_reference = self.reference(session);
        if references_log2(session) == 4 && self.random.percent(40) {
            // The place in the window that the original has.
            new_reference =
                new_reference.saturating_add(reference.wrapping_sub(new_reference) & 15);
            self.clients[session as usize].last_reference = new_reference;
        }
        inbound(&Message {
            letter: b'U',
            locate: wire_locate,
            reference,
            new_reference,
            shares: new_lots.max(1) * list.lot_size + extra.0,
            price: new_price
                .saturating_mul(list.tick_size)
                .saturating_add(extra.1),
            ..Message::default()
        })
    }

    /// Something about one of the session's orders, mostly a replace.
    pub(super) fn any_follow_up(&mut self, session: u32) -> Inbound {
        match self.random.below(6) {
            0 => self.reduce(session),
            1 => self.cancel(session),
            _ => self.replace(session),
        }
    }

    pub(super) fn moved(&mut self, session: u32, order: &Known, price: u32, lots: u32) -> Inbound {
        let list = list_of(order.locate);
        inbound(&Message {
            letter: b'U',
            locate: order.locate,
            reference: order.reference,
            new_reference: self.reference(session),
            shares: lots * list.lot_size,
            price: price * list.tick_size,
            ..Message::default()
        })
    }

    fn reduce(&mut self, session: u32) -> Inbound {
        let Known {
            reference,
            locate,
            lots,
            ..
        } = self.recent(session);
        let off = self.random.percent(3);
        let shares = self.random.between(1, lots + 1) * list_of(locate).lot_size + u32::from(off);
        inbound(&Message {
            letter: b'X',
            locate: self.elsewhere(locate),
            reference,
            shares,
            ..Message::default()
        })
    }

    /// The locate, or rarely one where nothing is listed: another shard may trade it, or none.
    fn elsewhere(&mut self, locate: u16) -> u16 {
        match self.random.below(100) {
            0..3 => 8,
            3 | 4 => 9,
            _ => locate,
        }
    }

    fn cancel(&mut self, session: u32) -> Inbound {
        let Known {
            reference, locate, ..
        } = self.recent(session);
        inbound(&Message {
            letter: b'D',
            locate: self.elsewhere(locate),
            reference,
            ..Message::default()
        })
    }

    /// A mass cancel; what it kills is soon revived.
    fn any_mass(&mut self, session: u32) -> Inbound {
        let locate = self.random.pick(&[0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let side = self.random.pick(&[BOTH, BOTH, BUY, SELL]);
        let kill = u8::from(self.random.percent(10));
        let scope = if self.random.percent(25) {
            SCOPE_ACCOUNT
        } else {
            SCOPE_SESSION
        };
        if kill == 1 {
            self.revive_later(session, scope);
        }
        self.mass(session, locate, side, scope, kill)
    }

    pub(super) fn mass(
        &mut self,
        session: u32,
        locate: u16,
        side: u8,
        scope: u8,
        kill: u8,
    ) -> Inbound {
        let recent = self.clients[session as usize].last_reference;
        inbound(&Message {
            letter: b'M',
            locate,
            reference: self.random.pick(&[0, recent]),
            scope,
            side,
            kill,
            ..Message::default()
        })
    }

    // Fields that cannot be read.

    /// Sets one field to what it cannot be, or one byte behind the letter to anything.
    fn spoil(&mut self, message: Inbound) -> Inbound {
        let mut bytes = message.as_bytes().to_vec();
        if self.random.percent(60) {
            self.spoil_field(&mut bytes);
        } else {
            self.spoil_byte(&mut bytes);
        }
        // A reference that rises must not rise to the end of its range: the session could never enter again.
        let rising = if bytes[0] == b'U' { 23..27 } else { 15..19 };
        if bytes[rising.clone()] > message.as_bytes()[rising.clone()] {
            bytes[rising.clone()].copy_from_slice(&message.as_bytes()[rising]);
        }
        Inbound::read(&bytes).expect("letter and length are as they were")
    }

    fn spoil_field(&mut self, bytes: &mut [u8]) {
        // `D` has no fields of its own.
        if bytes[0] == b'D' || self.random.percent(30) {
            match self.random.below(4) {
                0 => bytes[7] = 1,  // timestamp
                1 => bytes[11] = 1, // high half of the reference
                2 => bytes[11..19].fill(0),
                _ if matches!(bytes[0], b'A' | b'F' | b'O') => bytes[19] = b'X', // side
                _ => bytes[4] = 1,                                               // tracking
            }
            return;
        }
        match bytes[0] {
            b'U' => match self.random.below(3) {
                0 => bytes[19] = 1,
                1 => bytes[19..27].fill(0),
                _ => bytes[27..31].fill(0),
            },
            b'X' => bytes[19..23].fill(0),
            b'M' => {
                let at = self.random.between(19, 22) as usize;
                bytes[at] = b'Q';
            }
            letter => {
                let bits = u16::from_be_bytes([bytes[3], bytes[4]]);
                let flags = [
                    bits | 1 << 12,
                    bits | 7,
                    bits | 7 << 5,
                    bits | Flags::POST_REJECT | Flags::POST_SLIDE,
                    bits & !0x1F | Flags::POST_REJECT | 2,
                    bits & !0x1F | Flags::POST_SLIDE | 3,
                    bits & !0x17 | Flags::POST_REJECT | Flags::MARKET,
                    bits & !7 | 4,
                ];
                let choices = if letter == b'O' { 16 } else { 9 };
                match self.random.below(choices) {
                    n @ 0..8 => bytes[3..5].copy_from_slice(&flags[n as usize].to_be_bytes()),
                    8 => bytes[20..24].fill(0),
                    9 => bytes[48..52].copy_from_slice(&1_u32.to_be_bytes()), // expiry without its time
                    10 => {
                        bytes[3..5].copy_from_slice(&4_u16.to_be_bytes());
                        bytes[48..52].copy_from_slice(&86_400_u32.to_be_bytes());
                    }
                    11 => bytes[36] = 0x80,
                    12 => bytes[40] = 0x80,
                    13 => {
                        let hidden = bits | Flags::HIDDEN;
                        bytes[3..5].copy_from_slice(&hidden.to_be_bytes());
                        bytes[40..44].copy_from_slice(&1_u32.to_be_bytes());
                    }
                    14 => bytes[52] = b'Q',
                    _ => {
                        bytes[52] = 0;
                        bytes[53] = 1;
                    }
                }
            }
        }
    }

    fn spoil_byte(&mut self, bytes: &mut [u8]) {
        let last = bytes.len() as u32 - 1;
        // Half of the time among the fields that only this letter has.
        let own = match bytes[0] {
            b'O' if self.random.percent(50) => 36,
            b'M' if self.random.percent(50) => 19,
            _ => 1,
        };
        let at = self.random.between(own, last) as usize;
        let value = match self.random.below(4) {
            0 => self.random.below(256) as u8,
            1 => 1 << self.random.below(8),
            2 => 0,
            _ => self.random.pick(b"BSAPM \x01\xFF"),
        };
        if self.random.percent(15) {
            // A field of four bytes goes to zero or beyond everything.
            let fill = self.random.pick(&[0, 0xFF]);
            for byte in bytes.iter_mut().skip(at).take(4) {
                *byte = fill;
            }
        } else if self.random.percent(25) && matches!(bytes[0], b'A' | b'F' | b'O') {
            let bits = self.random.below(1 << 11) as u16;
            bytes[3..5].copy_from_slice(&bits.to_be_bytes());
        } else {
            bytes[at] = value;
        }
    }
}

/// Ticks and lots become prices and shares.
fn on_the_wire(order: Message) -> Message {
    let list = list_of(order.locate);
    Message {
        price: order.price * list.tick_size,
        trigger: order.trigger * list.tick_size,
        shares: order.shares * list.lot_size,
        minimum: order.minimum * list.lot_size,
        display: order.display * list.lot_size,
        ..order
    }
}

fn inbound(message: &Message) -> Inbound {
    Inbound::from_message(message).expect("the flow writes letters of ours")
}

fn first_ten(payload: &[u8]) -> [u8; 10] {
    let mut id = [0; 10];
    id.copy_from_slice(&payload[..10]);
    id
}

/// Sequence and count of a header.
fn header_of(payload: &[u8]) -> (u64, u16) {
    let mut sequence = [0; 8];
    sequence.copy_from_slice(&payload[10..18]);
    (
        u64::from_be_bytes(sequence),
        u16::from_be_bytes([payload[18], payload[19]]),
    )
}
