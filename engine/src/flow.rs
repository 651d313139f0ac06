//! A seeded random market: packets and control commands that drive a shard into its corners.
//!
//! The same seed and the same answers give the same inputs, so engine, reference and kernel program can be driven by one
//! flow and compared. Few prices, sessions and references make ties, crosses and unknown references common; the pools of
//! [`Flow::capacity`] are small enough to run full; written scenes build books deep enough for continuations of both kinds.
//! Use: [`Flow::setup`] once, then [`Flow::next_input`] and [`Flow::observe`] in turn.

use crate::Capacity;
use crate::control::{
    Clock, Control, ControlKind, Deposit, Empty, Grant, List, OpenAccount, SetLimit,
    SettlementMark, Target,
};
use ring0_wire::host::{Inbound, PacketBuilder, Request};
use ring0_wire::message::{BOTH, BUY, SELL, STOCK_SPACES};
use ring0_wire::{ACK, BLOCK_LENGTH, Flags, HEADER, Message, SelfTrade, SessionId, TimeInForce};
use std::collections::VecDeque;

/// What a run is given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Input {
    /// A well-formed payload with a zero tag.
    Packet(Vec<u8>),
    /// Control commands of one doorbell.
    Control(Vec<Control>),
    /// Nothing: the run only takes continuation steps.
    Steps,
}

/// What a flow is mostly made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile {
    /// Orders near the middle, few mistakes.
    Calm,
    /// Scenes with many orders: long sweeps, long mass cancels, full pools.
    Deep,
    /// Mistakes of every kind, and an operator who interferes.
    Hostile,
    /// The three above in turn.
    Mixed,
}

/// How a flow is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// What it is mostly made of.
    pub profile: Profile,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            profile: Profile::Mixed,
        }
    }
}

/// Sebastiano Vigna's splitmix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not zero. The bias is of no interest here.
    fn below(&mut self, end: u32) -> u32 {
        (((self.next() >> 32) * u64::from(end)) >> 32) as u32
    }

    fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }
}

/// Nanoseconds since midnight at which the flow's day begins: half past nine.
const DAY_BASE_NS: u64 = 34_200 * 1_000_000_000;

const ACCOUNTS: u32 = 5;
/// An account that stays closed.
const CLOSED_ACCOUNT: u32 = 5;
const ASSETS: u32 = 4;
const SESSIONS: u32 = 9;
/// The session that is never granted.
const STRANGER: u32 = 8;
/// Sessions whose reference window holds a deep book.
const WIDE: [u32; 4] = [0, 1, 5, 6];
const WIDE_LOG2: u8 = 11;
/// The session with a message rate.
const RATED: u32 = 2;
/// The session whose grant ends soon.
const SHORT: u32 = 3;
/// What an account that matters has of each asset.
const PLENTY: u64 = 1 << 50;

/// Instruments of the setup, by locate − 1.
const MARKETS: [List; 4] = [
    List {
        instrument: 0,
        halted: 0,
        symbol: *b"PLAIN   ",
        base_asset: 1,
        quote_asset: 0,
        tick_size: 100,
        lot_size: 1,
        tick_value: 7,
        ladder_base: 90,
        lot_value: 10,
        ladder_len: 40,
        lots_max: 3000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: -2000,
        taker_ppm: 3000,
    },
    List {
        instrument: 1,
        halted: 0,
        symbol: *b"BANDED  ",
        base_asset: 2,
        quote_asset: 0,
        tick_size: 25,
        lot_size: 10,
        tick_value: 3,
        ladder_base: 1000,
        lot_value: 3,
        ladder_len: 65,
        lots_max: 2000,
        band_low: 1024,
        band_high: 1040,
        notional_max: 3 * 1032 * 1500,
        maker_ppm: 1000,
        taker_ppm: 2500,
    },
    List {
        instrument: 2,
        halted: 0,
        symbol: *b"WIDE    ",
        base_asset: 1,
        quote_asset: 3,
        tick_size: 1,
        lot_size: 1,
        tick_value: 1,
        ladder_base: 1,
        lot_value: 1,
        ladder_len: 400,
        lots_max: 1_000_000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: -100,
        taker_ppm: 100,
    },
    List {
        instrument: 3,
        halted: 1,
        symbol: *b"ODD     ",
        base_asset: 2,
        quote_asset: 3,
        tick_size: 7,
        lot_size: 100,
        tick_value: 1_000_003,
        ladder_base: 5,
        lot_value: 999_983,
        ladder_len: 13,
        lots_max: 50,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: 0,
        taker_ppm: 0,
    },
];

/// Prices around which the flow trades, by locate − 1.
const MIDDLE: [u32; 4] = [110, 1032, 200, 11];

/// An order that was let in.
#[derive(Clone, Copy, Debug)]
struct Known {
    reference: u32,
    locate: u16,
    side: u8,
    /// Ticks.
    price: u32,
    lots: u32,
}

/// What the flow knows of a session.
#[derive(Clone, Debug)]
struct Client {
    id: SessionId,
    /// Client sequence expected next, as learnt from answers.
    expected: u64,
    last_reference: u32,
    /// Orders lately let in.
    recent: VecDeque<Known>,
}

/// One thing of a scene, made when its turn comes because it needs what was learnt until then.
#[derive(Clone, Debug)]
enum Plan {
    /// A packet of so many orders of one session, prices going up by `step` from `price`.
    Orders {
        session: u32,
        locate: u16,
        side: u8,
        price: u32,
        step: u32,
        count: u32,
        lots: u32,
        flags: Flags,
    },
    /// A packet that moves the session's latest order.
    Move {
        session: u32,
        price: u32,
        lots: u32,
    },
    /// A packet of replaces among the session's orders.
    Replaces {
        session: u32,
    },
    /// A packet of one mass cancel.
    Mass {
        session: u32,
        kill: u8,
    },
    Control(Vec<Control>),
    Steps,
    /// Whatever comes.
    Random,
}

/// An ack with its length.
const ACK_BLOCK: usize = BLOCK_LENGTH + ACK;

impl Client {
    /// A message was accepted.
    fn learn(&mut self, message: &Inbound) {
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
        self.recent.push_back(Known {
            reference: if replaces {
                message.new_reference
            } else {
                message.reference
            },
            locate: message.locate,
            side,
            price: message.price / list.tick_size,
            lots: message.shares / list.lot_size,
        });
        if self.recent.len() > 40 {
            self.recent.pop_front();
        }
    }
}

const DAY: Flags = Flags::new(TimeInForce::Day, SelfTrade::AccountDefault);
const IOC: Flags = Flags::new(TimeInForce::ImmediateOrCancel, SelfTrade::AccountDefault);
const FOK: Flags = Flags::new(TimeInForce::FillOrKill, SelfTrade::AccountDefault);

/// The seeded flow.
#[derive(Clone, Debug)]
pub struct Flow {
    random: Random,
    options: Options,
    phase: Profile,
    inputs: u64,
    boot_ns: u64,
    day_base_ns: u64,
    nonce: u32,
    clients: Vec<Client>,
    plans: VecDeque<Plan>,
    /// Lately sent packets.
    sent: VecDeque<Vec<u8>>,
    /// The packet whose answer is awaited.
    awaited: Option<Vec<u8>>,
}

impl Flow {
    /// A flow; equal seeds and options give equal flows.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Flow {
        let mut flow = Flow {
            random: Random(seed),
            options,
            phase: Profile::Calm,
            inputs: 0,
            boot_ns: 1_000_000_000,
            day_base_ns: DAY_BASE_NS,
            nonce: 0,
            clients: Vec::new(),
            plans: VecDeque::new(),
            sent: VecDeque::new(),
            awaited: None,
        };
        for session in 0..SESSIONS {
            let id = flow.fresh_id(session);
            flow.clients.push(Client {
                id,
                expected: 1,
                last_reference: 0,
                recent: VecDeque::new(),
            });
        }
        flow
    }

    /// What the shard must be made with.
    #[must_use]
    pub fn capacity() -> Capacity {
        Capacity {
            accounts: 6,
            assets: ASSETS,
            instruments: 6,
            sessions: SESSIONS,
            orders: 2200,
            levels: 340,
            ladder: 64 + 128 + 448 + 64 + 10,
            answers: 9 * 128 + 100,
            references: 4 * (1 << WIDE_LOG2) + 5 * 16 + 7,
            buckets: 8,
        }
    }

    /// The boot-time clock at the input that was given last (before the first: at the setup).
    #[must_use]
    pub fn boot_ns(&self) -> u64 {
        self.boot_ns
    }

    /// The control commands with which the shard begins, in runs by themselves.
    #[must_use]
    pub fn setup(&mut self) -> Vec<Control> {
        let mut controls = vec![Control::new(
            ControlKind::Clock,
            &Clock {
                day_base_ns: self.day_base_ns,
            },
        )];
        for account in 0..ACCOUNTS {
            controls.push(Control::new(
                ControlKind::OpenAccount,
                &OpenAccount {
                    account,
                    reserved: 0,
                },
            ));
        }
        for asset in 0..ASSETS {
            for account in 0..2 {
                controls.push(deposit(account, asset, PLENTY));
            }
            controls.push(deposit(2, asset, 2_000_000));
            controls.push(deposit(3, asset, 5_000));
            controls.push(deposit(4, asset, 10_000_000));
        }
        for (asset, limit) in [(0, 20_000), (1, 700)] {
            controls.push(limit_of(4, asset, limit));
        }
        for market in MARKETS {
            controls.push(Control::new(ControlKind::List, &market));
        }
        for session in 0..SESSIONS {
            if session != STRANGER && session != 7 {
                let grant = self.grant(session);
                controls.push(Control::new(ControlKind::GrantSession, &grant));
            }
        }
        controls
    }

    /// The next input. What became of it is told by [`Flow::observe`] before the one after.
    pub fn next_input(&mut self) -> Input {
        self.inputs += 1;
        if self.inputs % 512 == 1 {
            self.phase = match self.options.profile {
                Profile::Mixed => {
                    self.random
                        .pick(&[Profile::Calm, Profile::Deep, Profile::Hostile])
                }
                one => one,
            };
        }
        self.boot_ns = match self.random.below(1000) {
            0 => self.boot_ns + 50_000_000,
            1..10 => self.boot_ns.saturating_sub(2_000_000),
            _ => self.boot_ns + u64::from(self.random.below(400_000)),
        };
        if self.plans.is_empty() && self.begins_scene() {
            self.scene();
        }
        let input = match self.plans.pop_front().unwrap_or(Plan::Random) {
            Plan::Random => self.any(),
            Plan::Steps => Input::Steps,
            Plan::Control(controls) => Input::Control(controls),
            Plan::Mass { session, kill } => {
                let message = self.mass(session, 0, BOTH, kill);
                self.packet(session, &[message])
            }
            Plan::Replaces { session } => {
                let messages: Vec<_> = (0..20).map(|_| self.replace(session)).collect();
                self.packet(session, &messages)
            }
            Plan::Move {
                session,
                price,
                lots,
            } => match self.clients[session as usize].recent.back().copied() {
                Some(order) => {
                    let message = self.moved(session, &order, price, lots);
                    self.packet(session, &[message])
                }
                None => Input::Steps,
            },
            Plan::Orders {
                session,
                locate,
                side,
                price,
                step,
                count,
                lots,
                flags,
            } => {
                let messages: Vec<_> = (0..count)
                    .map(|n| self.enter(session, locate, side, price + n * step, lots, flags))
                    .collect();
                self.packet(session, &messages)
            }
        };
        if let Input::Packet(payload) = &input {
            self.sent.push_back(payload.clone());
            if self.sent.len() > 24 {
                self.sent.pop_front();
            }
            self.awaited = Some(payload.clone());
        }
        input
    }

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
                (b'A' | b'C', _) if sequence == client.expected => client.learn(message),
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

    // Scenes.

    fn begins_scene(&mut self) -> bool {
        let per_mille = match self.phase {
            Profile::Calm => 1,
            Profile::Deep => 120,
            Profile::Hostile | Profile::Mixed => 4,
        };
        self.random.below(1000) < per_mille
    }

    fn scene(&mut self) {
        self.clean();
        match self.random.below(7) {
            5 => self.scene_narrow(),
            0 => self.scene_sweep(),
            1 => self.scene_mass_cancel(),
            2 => self.scene_levels(),
            3 => self.scene_full_book(),
            4 => self.scene_packet_work(),
            _ => self.scene_levelless_remainder(),
        }
    }

    /// Everything is taken back to where orders can be entered, sometimes with empty books.
    fn clean(&mut self) {
        let mut controls = vec![Control::new(ControlKind::ResumeShard, &Empty {})];
        if self.random.percent(60) {
            for session in WIDE {
                controls.push(target(ControlKind::KillSession, session));
            }
            self.plans.push_back(Plan::Control(controls));
            for _ in 0..8 {
                self.plans.push_back(Plan::Steps);
            }
            controls = Vec::new();
        }
        for instrument in 0..4 {
            controls.push(target(ControlKind::ResumeInstrument, instrument));
        }
        for session in WIDE {
            controls.push(target(ControlKind::ReviveSession, session));
        }
        for account in 0..2 {
            for asset in 0..ASSETS {
                controls.push(limit_of(account, asset, (1 << 63) - 1));
                controls.push(deposit(account, asset, PLENTY / 1024));
            }
        }
        self.plans.push_back(Plan::Control(controls));
    }

    fn interlude(&mut self) {
        for _ in 0..self.random.below(4) {
            self.plans.push_back(Plan::Random);
        }
    }

    /// So many one-lot orders of a session.
    fn build(&mut self, session: u32, locate: u16, side: u8, price: u32, step: u32, orders: u32) {
        let mut left = orders;
        let mut from = price;
        while left > 0 {
            let count = left.min(37);
            self.plans.push_back(Plan::Orders {
                session,
                locate,
                side,
                price: from,
                step,
                count,
                lots: 1,
                flags: DAY,
            });
            from += step * count;
            left -= count;
        }
    }

    fn take(&mut self, session: u32, locate: u16, side: u8, price: u32, lots: u32, flags: Flags) {
        self.plans.push_back(Plan::Orders {
            session,
            locate,
            side,
            price,
            step: 0,
            count: 1,
            lots,
            flags,
        });
    }

    /// One order against many; often more than the steps of one run can finish, sometimes on two instruments at once.
    fn scene_sweep(&mut self) {
        let jam = self.random.percent(70);
        let orders = self
            .random
            .between(if jam { 600 } else { 270 }, if jam { 1000 } else { 1700 });
        let side = self.random.pick(&[BUY, SELL]);
        let other = if side == BUY { SELL } else { BUY };
        let maker = self.random.pick(&WIDE);
        let taker = self.random.pick(&WIDE);
        let locates = if self.random.percent(40) {
            vec![1, 3]
        } else {
            vec![self.random.pick(&[1, 3])]
        };
        let each = orders / locates.len() as u32;
        for &locate in &locates {
            let middle = MIDDLE[usize::from(locate) - 1];
            for n in 0..3 {
                self.build(maker, locate, side, middle + n, 0, each / 3);
            }
        }
        if jam {
            // A long mass cancel stands in the queue before the sweeps.
            let others = WIDE.map(|session| {
                if session == maker || session == taker {
                    STRANGER
                } else {
                    session
                }
            });
            let session = others.into_iter().min().unwrap_or(0);
            let orders = self.random.between(700, 1000);
            self.build(session, 2, BUY, MIDDLE[1] - 6, 0, orders);
            self.plans.push_back(Plan::Mass { session, kill: 0 });
        }
        for &locate in &locates {
            let middle = MIDDLE[usize::from(locate) - 1];
            let worst = if side == SELL { middle + 3 } else { middle - 1 };
            let lots = self.random.between(each / 2, each + 40);
            if self.random.percent(20) {
                let away = if side == SELL { middle - 3 } else { middle + 5 };
                self.take(taker, locate, other, away, 1, DAY);
                self.plans.push_back(Plan::Move {
                    session: taker,
                    price: worst,
                    lots,
                });
                continue;
            }
            let flags = self
                .random
                .pick(&[DAY, DAY, IOC, FOK, DAY.with(Flags::MARKET)]);
            self.take(taker, locate, other, worst, lots, flags);
        }
        if !jam {
            self.interlude();
        }
        match self.random.below(if jam { 3 } else { 5 }) {
            0 => self
                .plans
                .push_back(Plan::Control(vec![target(ControlKind::KillSession, taker)])),
            1 => {
                let controls = vec![target(
                    ControlKind::HaltInstrument,
                    u32::from(locates[0]) - 1,
                )];
                self.plans.push_back(Plan::Control(controls));
            }
            2 => self
                .plans
                .push_back(Plan::Control(vec![target(ControlKind::KillSession, maker)])),
            3 => {
                let halt = Control::new(ControlKind::HaltShard, &Empty {});
                self.plans.push_back(Plan::Control(vec![halt]));
                self.interlude();
                let resume = Control::new(ControlKind::ResumeShard, &Empty {});
                self.plans.push_back(Plan::Control(vec![resume]));
            }
            _ => {}
        }
        self.interlude();
    }

    /// A session with more orders than some runs can cancel, and what comes in between.
    fn scene_mass_cancel(&mut self) {
        let session = self.random.pick(&WIDE);
        let first = self.random.between(40, 900);
        let second = self.random.between(40, 900);
        self.build(session, 1, BUY, MIDDLE[0] - 6, 0, first);
        self.build(session, 3, SELL, MIDDLE[2] + 20, 0, second);
        let kill = u8::from(self.random.percent(30));
        self.plans.push_back(Plan::Mass { session, kill });
        self.interlude();
        match self.random.below(4) {
            0 => self.plans.push_back(Plan::Control(vec![target(
                ControlKind::KillSession,
                session,
            )])),
            1 => self.plans.push_back(Plan::Mass { session, kill: 1 }),
            2 => self.plans.push_back(Plan::Control(vec![
                target(ControlKind::ReviveSession, session),
                target(ControlKind::CloseSession, session),
            ])),
            _ => {
                // Somebody takes what waits to be cancelled.
                let taker = self.random.pick(&WIDE);
                let lots = self.random.between(1, first);
                self.take(taker, 1, SELL, MIDDLE[0] - 6, lots, IOC);
                self.take(taker, 3, BUY, MIDDLE[2] + 20, second, IOC);
            }
        }
        self.interlude();
    }

    /// Many prices: fill-or-kill that looks too deep, and a full level pool.
    fn scene_levels(&mut self) {
        let (maker, taker) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let levels = self.random.between(262, 298);
        self.build(maker, 3, SELL, 100, 1, levels);
        for _ in 0..3 {
            let lots = self.random.between(240, levels + 5);
            self.take(taker, 3, BUY, 400, lots, FOK);
            self.interlude();
            self.build(maker, 3, SELL, 100, 1, levels);
        }
        self.build(maker, 3, BUY, 20, 1, 60);
        for locate in [1, 2] {
            let middle = MIDDLE[usize::from(locate) - 1];
            self.build(maker, locate, BUY, middle - 7, 1, 6);
        }
        self.interlude();
    }

    /// More orders than the pool holds.
    fn scene_full_book(&mut self) {
        for session in WIDE {
            self.build(session, 1, BUY, MIDDLE[0] - 9, 0, 580);
            self.interlude();
        }
    }

    /// Packets whose messages together cause more than their share.
    fn scene_packet_work(&mut self) {
        let (maker, taker) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        self.build(maker, 1, SELL, MIDDLE[0], 0, 1500);
        for _ in 0..2 {
            let lots = self.random.between(180, 250);
            self.plans.push_back(Plan::Orders {
                session: taker,
                locate: 1,
                side: BUY,
                price: MIDDLE[0],
                step: 0,
                count: 7,
                lots,
                flags: IOC,
            });
        }
        self.interlude();
    }

    /// More orders than the windows and buckets of a session hold, and replaces among them.
    fn scene_narrow(&mut self) {
        let session = 7;
        let grant = self.grant(session);
        self.plans.push_back(Plan::Control(vec![
            Control::new(ControlKind::GrantSession, &grant),
            target(ControlKind::ReviveSession, session),
        ]));
        for _ in 0..3 {
            self.build(session, 1, BUY, MIDDLE[0] - 5, 0, 111);
            for _ in 0..4 {
                self.plans.push_back(Plan::Replaces { session });
            }
        }
        self.interlude();
    }

    /// A day order sweeps behind a long mass cancel; meanwhile its makers go and the last levels are taken.
    fn scene_levelless_remainder(&mut self) {
        let [a, b, c, d] = WIDE;
        self.build(d, 3, SELL, 60, 1, 325);
        self.build(a, 1, BUY, MIDDLE[0] - 9, 0, 1100);
        self.take(d, 1, BUY, MIDDLE[0] - 9, 1, DAY); // so that the mass cancel frees no level
        let makers = self.random.between(258, 300);
        self.build(b, 1, SELL, MIDDLE[0], 0, makers);
        self.plans.push_back(Plan::Mass {
            session: a,
            kill: 0,
        });
        self.take(c, 1, BUY, MIDDLE[0], 600, DAY);
        self.plans
            .push_back(Plan::Control(vec![target(ControlKind::KillSession, b)]));
        self.build(d, 3, BUY, 20, 1, 37);
        for _ in 0..4 {
            self.plans.push_back(Plan::Steps);
        }
        self.interlude();
    }

    // One input.

    fn any(&mut self) -> Input {
        let (control, steps) = match self.phase {
            Profile::Calm => (1, 1),
            Profile::Deep => (2, 2),
            Profile::Hostile | Profile::Mixed => (10, 3),
        };
        match self.random.below(100) {
            n if n < control => Input::Control(self.controls()),
            n if n < control + steps => Input::Steps,
            _ => self.any_packet(),
        }
    }

    fn any_packet(&mut self) -> Input {
        let hostile = self.phase == Profile::Hostile;
        let mistakes = if hostile { 12 } else { 3 };
        let session = match self.random.below(100) {
            0..2 if hostile => STRANGER,
            2..6 => 7,
            _ => self.random.below(7),
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

    fn packet(&mut self, session: u32, messages: &[Inbound]) -> Input {
        let client = &self.clients[session as usize];
        packet(client.id, client.expected, messages)
    }

    fn any_message(&mut self, session: u32) -> Inbound {
        let hostile = self.phase == Profile::Hostile;
        let message = match self.random.below(1000) {
            0..520 => self.any_enter(session),
            520..700 => self.replace(session),
            700..820 => self.reduce(session),
            820..985 => self.cancel(session),
            _ => {
                let locate = self.random.pick(&[0, 0, 1, 2, 3, 4, 5, 9]);
                let side = self.random.pick(&[BOTH, BOTH, BUY, SELL]);
                let kill = u8::from(self.random.percent(10));
                if kill == 1 {
                    self.later(vec![target(ControlKind::ReviveSession, session)]);
                }
                self.mass(session, locate, side, kill)
            }
        };
        let spoils = if message.as_bytes()[0] == b'O' || message.as_bytes()[0] == b'M' {
            40
        } else {
            12
        };
        if hostile && self.random.percent(spoils) {
            self.spoil(message)
        } else {
            message
        }
    }

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
                price: MIDDLE[0],
                lots: 3,
            };
        }
        let at = self.random.below(len) as usize;
        self.clients[session as usize].recent[at]
    }

    fn enter(
        &mut self,
        session: u32,
        locate: u16,
        side: u8,
        price: u32,
        lots: u32,
        flags: Flags,
    ) -> Inbound {
        let list = &MARKETS[usize::from(locate) - 1];
        let reference = self.reference(session);
        inbound(&Message {
            letter: b'A',
            locate,
            reference,
            side,
            shares: lots * list.lot_size,
            price: price * list.tick_size,
            stock: STOCK_SPACES,
            flags,
            ..Message::default()
        })
    }

    /// A price in ticks near the middle, for a side.
    fn price(&mut self, locate: u16, side: u8) -> u32 {
        let middle = MIDDLE[usize::from(locate) - 1];
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

    fn any_enter(&mut self, session: u32) -> Inbound {
        let locate = self.random.pick(&[1, 1, 1, 1, 2, 2, 2, 3, 3, 4]);
        let side = self.random.pick(&[BUY, SELL]);
        let (price, lots) = (self.price(locate, side), self.lots());
        let list = &MARKETS[usize::from(locate) - 1];
        let flags = match self.random.below(100) {
            0..64 => DAY,
            64..74 => DAY.with(Flags::POST_REJECT),
            74..84 => IOC,
            84..93 => FOK,
            93..97 => DAY.with(Flags::MARKET),
            97 | 98 => IOC.with(Flags::MARKET),
            _ => FOK.with(Flags::MARKET),
        };
        let reference = self.reference(session);
        let mut message = Message {
            letter: b'A',
            locate,
            reference,
            side,
            shares: lots * list.lot_size,
            price: price * list.tick_size,
            stock: STOCK_SPACES,
            flags,
            ..Message::default()
        };
        match self.random.below(40) {
            0 | 5 => message.letter = b'F',
            1 => {
                message.letter = b'F';
                message.sub_account = u32::from_be_bytes(*b"    ");
            }
            2 | 6 | 7 => message.letter = b'O',
            3 => {
                message.letter = b'O';
                message.display = message.shares;
            }
            4 => message.stock = u64::from_be_bytes(list.symbol),
            _ => {}
        }
        if self.phase == Profile::Hostile && self.random.percent(25) {
            self.bend(&mut message, list);
        }
        inbound(&message)
    }

    /// Makes an order that the engine, not the parser, refuses; or that stands at an edge.
    fn bend(&mut self, message: &mut Message, list: &List) {
        match self.random.below(24) {
            0 => message.locate = self.random.pick(&[0, 5, 6, 7, 200, u16::MAX]),
            1 => message.stock = u64::from_be_bytes(*b"NOTHERE "),
            2 => message.price += 1,
            3 => message.shares += 1,
            4 => message.shares = (list.lots_max + 1) * list.lot_size,
            5 => message.shares = list.lots_max * list.lot_size,
            6 => message.price = 0,
            7 => message.price = (list.ladder_base + list.ladder_len) * list.tick_size,
            8 => message.price = (list.ladder_base + list.ladder_len - 1) * list.tick_size,
            9 => message.price = list.ladder_base * list.tick_size,
            10 => message.price = (list.ladder_base - 1) * list.tick_size,
            11 => message.price = u32::MAX - u32::MAX % list.tick_size,
            12 => {
                message.flags = message.flags.with(Flags::MARKET);
                message.price = self
                    .random
                    .pick(&[0, 0, u32::MAX - u32::MAX % list.tick_size]);
            }
            13 => message.shares = u32::MAX - u32::MAX % list.lot_size,
            14 => {
                message.flags = Flags::new(TimeInForce::GoodTillCancel, SelfTrade::AccountDefault)
            }
            15 => message.flags = DAY.with(Flags::POST_SLIDE),
            16 => message.flags = DAY.with(Flags::HIDDEN),
            17 => message.flags = Flags::new(TimeInForce::Day, SelfTrade::CancelOldest),
            18 => {
                message.letter = b'F';
                message.sub_account = u32::from_be_bytes(*b"DESK");
            }
            19 => {
                message.letter = b'O';
                message.minimum = 1;
            }
            20 => {
                message.letter = b'O';
                message.trigger = message.price;
            }
            21 => {
                message.letter = b'O';
                message.flags = Flags::new(TimeInForce::GoodTillTime, SelfTrade::AccountDefault);
                message.expiry_s = self.random.pick(&[0, 1, 86_399, 86_400]);
            }
            22 => {
                message.letter = b'O';
                match self.random.below(3) {
                    0 => message.peg = b'P',
                    1 => message.trade_group = 3,
                    _ => {
                        message.peg = b'M';
                        message.peg_offset_ticks = -1;
                    }
                }
            }
            _ => {
                message.letter = b'O';
                message.display = message.shares / 2;
            }
        }
    }

    fn replace(&mut self, session: u32) -> Inbound {
        let Known {
            reference,
            locate,
            side,
            price,
            lots,
        } = self.recent(session);
        let list = &MARKETS[usize::from(locate) - 1];
        let mut wire_locate = locate;
        let (mut new_price, mut new_lots) = match self.random.below(4) {
            0 => (price, lots),
            1 => (price, self.random.between(1, lots)),
            2 => (self.price(locate, side), lots),
            _ => (price, lots + self.random.between(1, 5)),
        };
        let mut extra = 0;
        if self.phase == Profile::Hostile && self.random.percent(20) {
            match self.random.below(5) {
                0 => wire_locate = self.random.pick(&[0, 1, 2, 3, 6]),
                1 => new_price = list.ladder_base + list.ladder_len,
                2 => new_lots = list.lots_max + 1,
                3 => extra = 1,
                _ => new_lots = list.lots_max,
            }
        }
        let mut new_reference = self.reference(session);
        if !WIDE.contains(&session) && self.random.percent(40) {
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
            shares: new_lots * list.lot_size + extra,
            price: new_price * list.tick_size,
            ..Message::default()
        })
    }

    fn moved(&mut self, session: u32, order: &Known, price: u32, lots: u32) -> Inbound {
        let list = &MARKETS[usize::from(order.locate) - 1];
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
        let list = &MARKETS[usize::from(locate) - 1];
        let off = self.random.percent(3);
        let most = lots + 1;
        inbound(&Message {
            letter: b'X',
            locate: if self.random.percent(2) { 6 } else { locate },
            reference,
            shares: self.random.between(1, most) * list.lot_size + u32::from(off),
            ..Message::default()
        })
    }

    fn cancel(&mut self, session: u32) -> Inbound {
        let Known {
            reference, locate, ..
        } = self.recent(session);
        inbound(&Message {
            letter: b'D',
            locate: if self.random.percent(2) { 6 } else { locate },
            reference,
            ..Message::default()
        })
    }

    fn mass(&mut self, session: u32, locate: u16, side: u8, kill: u8) -> Inbound {
        let recent = self.clients[session as usize].last_reference;
        inbound(&Message {
            letter: b'M',
            locate,
            reference: self.random.pick(&[0, recent]),
            scope: if self.random.percent(2) { b'A' } else { b'S' },
            side,
            kill,
            ..Message::default()
        })
    }

    /// Sets one byte behind the letter, mostly to something that matters there.
    fn spoil(&mut self, message: Inbound) -> Inbound {
        let mut bytes = message.as_bytes().to_vec();
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
        } else if self.random.percent(25)
            && bytes.len() > 20
            && matches!(bytes[0], b'A' | b'F' | b'O')
        {
            let bits = self.random.below(1 << 11) as u16;
            bytes[3..5].copy_from_slice(&bits.to_be_bytes());
        } else {
            bytes[at] = value;
        }
        // A reference that rises must not rise to the end of its range: the session could never enter again.
        let rising = if bytes[0] == b'U' { 23..27 } else { 15..19 };
        if bytes[rising.clone()] > message.as_bytes()[rising.clone()] {
            bytes[rising.clone()].copy_from_slice(&message.as_bytes()[rising]);
        }
        Inbound::read(&bytes).expect("letter and length are as they were")
    }

    // Control commands.

    fn fresh_id(&mut self, session: u32) -> SessionId {
        self.nonce = (self.nonce + 7919) & ((1 << 30) - 1);
        SessionId::new(session, self.nonce).expect("an index and a nonce in range")
    }

    /// A grant of the session as the flow knows it.
    fn grant(&mut self, session: u32) -> Grant {
        let now = self.day_base_ns.wrapping_add(self.boot_ns);
        let rated = session == RATED;
        Grant {
            session,
            account: if session < ACCOUNTS {
                session
            } else {
                session % 2
            },
            id: self.clients[session as usize].id.0,
            answers_log2: 7,
            references_log2: if WIDE.contains(&session) {
                WIDE_LOG2
            } else {
                4
            },
            burst: if rated { 12 } else { 0 },
            interval_ns: if rated { 100_000 } else { 0 },
            expires_ns: if session == SHORT {
                now + 200_000_000
            } else {
                u64::MAX
            },
        }
    }

    fn controls(&mut self) -> Vec<Control> {
        let count = self.random.between(1, 3);
        let mut controls = Vec::new();
        for _ in 0..count {
            self.push_control(&mut controls);
        }
        controls
    }

    fn push_control(&mut self, controls: &mut Vec<Control>) {
        let account = self
            .random
            .pick(&[0, 1, 2, 2, 3, 3, 4, 4, CLOSED_ACCOUNT, 6]);
        let asset = self.random.pick(&[0, 0, 1, 1, 2, 3, 4]);
        let session = self.random.below(SESSIONS + 1);
        let instrument = self.random.pick(&[0, 0, 1, 2, 3, 4, 5, 6]);
        match self.random.below(28) {
            0..3 => {
                let amount = u64::from(self.random.below(60_000));
                controls.push(deposit(account, asset, amount));
            }
            3 => {
                let amount = self.random.pick(&[0, 1 << 63, (1 << 63) - 1, u64::MAX]);
                controls.push(deposit(account, asset, amount));
            }
            4 | 5 => {
                let amount = u64::from(self.random.below(30_000));
                let body = Deposit {
                    account,
                    asset,
                    amount,
                };
                controls.push(Control::new(ControlKind::Withdraw, &body));
            }
            6 => {
                let limit = match self.random.below(4) {
                    0 => (1 << 63) - 1,
                    1 => 1 << 63,
                    _ => u64::from(self.random.below(50_000)),
                };
                controls.push(limit_of(account, asset, limit));
            }
            7 | 8 => {
                let some = i64::from(self.random.below(40_000)) - 20_000;
                // Only of one account: where it stands at an end, it hardly trades.
                let (account, covered) = match self.random.below(12) {
                    0 => (4, self.random.pick(&[i64::MAX, i64::MIN, -i64::MAX])),
                    _ => (account, some),
                };
                let mark = |covered| {
                    let body = SettlementMark {
                        account,
                        asset,
                        covered,
                    };
                    Control::new(ControlKind::SettlementMark, &body)
                };
                controls.push(mark(covered));
                if covered.unsigned_abs() > 1 << 40 {
                    self.later(vec![mark(covered.saturating_neg())]);
                }
            }
            9 => {
                controls.push(target(ControlKind::HaltInstrument, instrument));
                if instrument < 4 {
                    self.later(vec![target(ControlKind::ResumeInstrument, instrument)]);
                }
            }
            10..12 => controls.push(target(ControlKind::ResumeInstrument, instrument)),
            12 => {
                controls.push(Control::new(ControlKind::HaltShard, &Empty {}));
                self.later(vec![Control::new(ControlKind::ResumeShard, &Empty {})]);
            }
            13 => controls.push(Control::new(ControlKind::ResumeShard, &Empty {})),
            14 | 15 => {
                controls.push(target(ControlKind::KillSession, session));
                if session < SESSIONS {
                    self.later(vec![target(ControlKind::ReviveSession, session)]);
                }
            }
            16 | 17 => controls.push(target(ControlKind::ReviveSession, session)),
            18 => {
                controls.push(target(ControlKind::CloseSession, session));
                if session < 7 {
                    // Sequence 1 is learnt from the first hole; references may go on from where they are.
                    let grant = self.grant(session);
                    self.later(vec![Control::new(ControlKind::GrantSession, &grant)]);
                }
            }
            19 | 20 => self.push_regrant(controls),
            21 => self.push_grant(controls),
            22 | 23 => self.push_listing(controls),
            24 => {
                let body = OpenAccount {
                    account: if account == CLOSED_ACCOUNT {
                        0
                    } else {
                        account
                    },
                    reserved: 0,
                };
                controls.push(Control::new(ControlKind::OpenAccount, &body));
            }
            25 => {
                let shift = u64::from(self.random.below(2_000_000));
                self.day_base_ns = self.day_base_ns.wrapping_add(shift) - 1_000_000;
                let body = Clock {
                    day_base_ns: self.day_base_ns,
                };
                controls.push(Control::new(ControlKind::Clock, &body));
            }
            _ => {
                let mut control = Control::new(ControlKind::Clock, &Empty {});
                control.kind = self.random.pick(&[0, 16, 77, u32::MAX]);
                control.body[11] = self.random.next();
                controls.push(control);
            }
        }
    }

    fn later(&mut self, controls: Vec<Control>) {
        for _ in 0..self.random.between(1, 6) {
            self.plans.push_back(Plan::Random);
        }
        self.plans.push_back(Plan::Control(controls));
    }

    /// A session is emptied, closed and granted anew.
    fn push_regrant(&mut self, controls: &mut Vec<Control>) {
        let session = self.random.pick(&[2, SHORT, SHORT, 4, 7, 7]);
        controls.push(target(ControlKind::KillSession, session));
        controls.push(target(ControlKind::CloseSession, session));
        // The old id stays good where the session could not be closed: then its packets are a stranger's until the
        // next grant, which is a case too.
        let id = self.fresh_id(session);
        let client = &mut self.clients[session as usize];
        client.id = id;
        client.expected = 1;
        client.last_reference = 0;
        client.recent.clear();
        let grant = self.grant(session);
        controls.push(Control::new(ControlKind::GrantSession, &grant));
        controls.push(target(ControlKind::ReviveSession, session));
    }

    /// A grant that is mostly refused.
    fn push_grant(&mut self, controls: &mut Vec<Control>) {
        let session = self
            .random
            .pick(&[0, 2, 4, 7, 7, STRANGER, STRANGER, STRANGER]);
        let mut grant = self.grant(session);
        match self.random.below(9) {
            0 => grant.account = CLOSED_ACCOUNT,
            1 => grant.account = 6,
            2 => grant.session = SESSIONS,
            3 => grant.answers_log2 = self.random.pick(&[0, 6, 17, 255]),
            4 => grant.references_log2 = self.random.pick(&[0, 3, 25, 255]),
            5 => grant.interval_ns = 1,
            6 => {
                grant.interval_ns = u64::MAX / 2;
                grant.burst = 7;
            }
            7 => grant.id[3] = b'Y',
            _ => grant.references_log2 = 13,
        }
        if session == STRANGER && grant.session == STRANGER {
            grant.references_log2 = grant.references_log2.max(13); // it stays a stranger
        }
        if session == 7 {
            grant.answers_log2 = grant.answers_log2.max(8); // more than it may have, or than there is
        }
        controls.push(Control::new(ControlKind::GrantSession, &grant));
    }

    /// A listing that is mostly refused.
    fn push_listing(&mut self, controls: &mut Vec<Control>) {
        let mut list = MARKETS[1];
        list.instrument = self.random.pick(&[4, 4, 4, 4, 4, 0, 6]);
        list.symbol = *b"LATE    ";
        match self.random.below(26) {
            0 => list.base_asset = ASSETS,
            1 => list.quote_asset = list.base_asset,
            2 => list.tick_size = 0,
            3 => list.lot_size = 0,
            4 => list.tick_value = 0,
            5 => list.ladder_base = 0,
            6 => list.ladder_len = 0,
            7 => list.lot_value = 0,
            8 => list.lots_max = 0,
            9 => {
                list.symbol[self.random.below(8) as usize] =
                    self.random.pick(&[0, 0x1F, 0x7F, 0xE9])
            }
            10 => list.ladder_len = (1 << 24) + 1,
            11 => list.ladder_base = u32::MAX - 64,
            12 => list.tick_size = u32::MAX / 1064 + 1,
            13 => list.lot_size = u32::MAX / 2000 + 1,
            14 => list.band_low = 0,
            15 => list.band_high = list.band_low - 1,
            16 => list.taker_ppm = 100_001,
            17 => list.maker_ppm = 2501,
            18 => list.maker_ppm = -2501,
            19 => list.maker_ppm = i32::MIN,
            20 => list.lot_value = (1 << 63) / 2000 + 1,
            21 => list.tick_value = u32::MAX,
            22 => list.halted = 2,
            23 => {
                // One lot can be paid, but not with its fee.
                list.lots_max = 1;
                list.ladder_len = 8;
                list.ladder_base = 1 << 30;
                list.tick_size = 1;
                list.tick_value = u32::MAX;
            }
            24 => list.ladder_len = 1 << 24,
            _ => {} // two blocks of 64 prices where one is left
        }
        controls.push(Control::new(ControlKind::List, &list));
    }
}

fn packet(id: SessionId, sequence: u64, messages: &[Inbound]) -> Input {
    let mut builder = PacketBuilder::new(id, sequence);
    for message in messages {
        if builder.push(message).is_err() {
            break;
        }
    }
    Input::Packet(builder.sign(None))
}

fn inbound(message: &Message) -> Inbound {
    Inbound::from_message(message).expect("the flow writes letters of ours")
}

fn deposit(account: u32, asset: u32, amount: u64) -> Control {
    let body = Deposit {
        account,
        asset,
        amount,
    };
    Control::new(ControlKind::Deposit, &body)
}

fn limit_of(account: u32, asset: u32, limit: u64) -> Control {
    let body = SetLimit {
        account,
        asset,
        limit,
    };
    Control::new(ControlKind::SetLimit, &body)
}

fn target(kind: ControlKind, index: u32) -> Control {
    Control::new(kind, &Target { index, reserved: 0 })
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
