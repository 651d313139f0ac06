//! The engine behind a handle: traders as accounts with one session each, orders as packets, answers as acks.
//!
//! What the caller sends goes through the engine's own ingress, in packets made of the wire crate's structs, so the rules and
//! the records are those of a packet from the network. Ticks and lots are the wire's units one to one, because every instrument
//! is listed with tick and lot size 1. What belongs to the wire alone stays in here: client sequences, packet sizes, the cap on one
//! packet's fills, and continuations, which are stepped to their end before a call returns.

use crate::abi::{
    Ack, Balance, Level, Options, Order, RING0_ACCEPTED, RING0_ALL, RING0_ARGUMENT, RING0_ASSET,
    RING0_BOTH, RING0_BUY, RING0_CANCEL, RING0_CASH, RING0_COMMAND_EVENTS, RING0_CONTINUES,
    RING0_EXHAUSTED, RING0_GTT, RING0_INSTRUMENT, RING0_MARKET, RING0_MASS_CANCEL, RING0_MEMORY,
    RING0_NEW, RING0_NO_DEPOSITS, RING0_NO_EVENTS, RING0_NOT_TAKEN, RING0_NULL, RING0_REDUCE,
    RING0_REJECTED, RING0_REPLACE, RING0_SCOPE_SESSION, RING0_SELL, RING0_TRADER,
};
use crate::queue::{EVENTS_MAX_LOWEST, Queue, outcome};
use ring0_engine::control::{
    Body, Control, ControlKind, Deposit, Expire, Grant, List, OpenAccount, Target,
};
use ring0_engine::layout::CapacityError;
use ring0_engine::limits::{AMOUNT_MAX, ANSWERS_LOG2, FILLS_MAX, PEG_QUEUES_MAX, REFERENCES_LOG2};
use ring0_engine::native::{Native, NativeError, TagRule};
use ring0_engine::record::{Outcome, State};
use ring0_engine::{Capacity, Reason};
use ring0_wire::host::Inbound;
use ring0_wire::message::STOCK_SPACES;
use ring0_wire::mold::Header;
use ring0_wire::outbound::{ACK_BLOCK, AckWire};
use ring0_wire::shape::TAG_LETTER;
use ring0_wire::{
    BLOCK_LENGTH, Flags, HEADER, MESSAGES_MAX, Message, PAYLOAD_MAX, SessionId, TAG, TAG_BLOCK,
};
use std::ops::Range;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Assets beside cash: an asset index of the engine is below 256.
const BASE_ASSETS_MAX: u32 = 255;

/// Places of all reference windows together, at the most: 256 MiB of address space, touched as it is used.
const REFERENCES_MAX_LOG2: u32 = 26;

/// Why a call did nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    /// One of the negative codes.
    pub(crate) code: i32,
    /// For `ring0_last_error`: what was given and what to do.
    pub(crate) text: String,
}

pub(crate) fn refuse<T>(code: i32, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        code,
        text: text.into(),
    })
}

/// A native engine and what the caller need not know.
pub struct Engine {
    native: Native<Queue>,
    traders: Vec<Trader>,
    instruments: u32,
    assets: u32,
    /// What the engine is told as its clock.
    time_ns: u64,
    /// Set when a panic was caught: nothing but freeing is done after it.
    pub(crate) broken: bool,
    /// The packet being built; kept for its memory.
    payload: Vec<u8>,
    /// The messages of a call; kept for its memory.
    messages: Vec<Planned>,
    /// What the packet being built would take: see [`Engine::may_join`].
    crossed: Vec<Crossed>,
    /// Set once an order was accepted that may fill more often than its place in the depth says ([`fills_unforeseen`]).
    unforeseen: bool,
}

#[derive(Clone, Copy, Debug)]
struct Trader {
    session: SessionId,
    last_reference: u32,
}

/// One message on its way into a packet.
#[derive(Clone, Copy, Debug)]
struct Planned {
    trader: u32,
    message: Message,
    /// The trader's last reference before this message, for a call that is refused after all.
    reference_before: u32,
}

/// The orders of one side of one book that the packet's orders so far could take.
#[derive(Clone, Copy, Debug)]
struct Crossed {
    instrument: u32,
    /// Side of the takers.
    side: u8,
    /// The furthest price of a taker.
    price: u32,
    /// Resting orders up to that price when the packet was begun.
    orders: u32,
}

impl Engine {
    /// An engine with its instruments listed, its traders' accounts and sessions opened, deposits made.
    pub(crate) fn new(options: &Options, symbols: &[[u8; 8]]) -> Result<Engine, Refusal> {
        let capacity = capacity(options)?;
        let queue = Queue::new(
            options.events_max,
            options.flags & RING0_NO_EVENTS == 0,
            options.flags & RING0_COMMAND_EVENTS != 0,
        );
        let native = match Native::with_recorder(&capacity, queue) {
            Ok(native) => native,
            Err(NativeError::Capacity(error @ CapacityError::TooLarge { .. })) => {
                return refuse(RING0_MEMORY, error.to_string());
            }
            Err(NativeError::Capacity(error)) => return refuse(RING0_ARGUMENT, error.to_string()),
            Err(error @ NativeError::Memory(_)) => return refuse(RING0_MEMORY, error.to_string()),
        };
        let mut engine = Engine {
            native,
            traders: Vec::with_capacity(options.traders as usize),
            instruments: options.instruments,
            assets: capacity.assets,
            time_ns: 0,
            broken: false,
            payload: Vec::with_capacity(PAYLOAD_MAX),
            messages: Vec::new(),
            crossed: Vec::new(),
            unforeseen: false,
        };
        engine.list_instruments(options, symbols)?;
        engine.open_traders(options)?;
        Ok(engine)
    }

    fn list_instruments(&mut self, options: &Options, symbols: &[[u8; 8]]) -> Result<(), Refusal> {
        for (instrument, symbol) in (0..options.instruments).zip(symbols) {
            let mut list = List::new_zeroed();
            list.instrument = instrument;
            list.state = State::Continuous as u32;
            list.symbol = *symbol;
            list.base_asset = base_asset(instrument);
            list.quote_asset = RING0_CASH;
            list.tick_size = 1;
            list.lot_size = 1;
            list.tick_value = 1;
            list.lot_value = 1;
            list.ladder_base = options.price_base;
            list.ladder_len = options.ticks;
            list.lots_max = options.lots_max;
            list.maker_ppm = options.maker_ppm;
            list.taker_ppm = options.taker_ppm;
            self.must(
                ControlKind::List,
                &list,
                "price_base + ticks, lots_max or fees are out of range, or a symbol has a byte that is not printable ASCII",
            )?;
        }
        Ok(())
    }

    fn open_traders(&mut self, options: &Options) -> Result<(), Refusal> {
        let amount = match options.deposit {
            0 => (1 << 62) / u64::from(options.traders),
            amount => amount,
        };
        for trader in 0..options.traders {
            let mut account = OpenAccount::new_zeroed();
            account.account = trader;
            self.must(ControlKind::OpenAccount, &account, "an account")?;
            if options.flags & RING0_NO_DEPOSITS == 0 {
                for asset in 0..self.assets {
                    let mut deposit = Deposit::new_zeroed();
                    (deposit.account, deposit.asset, deposit.amount) = (trader, asset, amount);
                    let hint = "deposit times traders must stay below 2^63";
                    self.must(ControlKind::Deposit, &deposit, hint)?;
                }
            }
            let Some(session) = SessionId::new(trader, 0) else {
                return refuse(RING0_ARGUMENT, "traders: at most 2^20");
            };
            let mut grant = Grant::new_zeroed();
            grant.session = trader;
            grant.account = trader;
            grant.id = session.0;
            grant.answers_log2 = *ANSWERS_LOG2.start();
            grant.references_log2 = references_log2(options);
            grant.expires_ns = u64::MAX;
            self.must(ControlKind::GrantSession, &grant, "a session")?;
            self.traders.push(Trader {
                session,
                last_reference: 0,
            });
        }
        Ok(())
    }

    /// A control command of the creation.
    fn must<B: Body>(&mut self, kind: ControlKind, body: &B, hint: &str) -> Result<(), Refusal> {
        match self.control(kind, body) {
            Ok(()) => Ok(()),
            Err(reason) => refuse(RING0_ARGUMENT, format!("{}: {hint}", reason.name())),
        }
    }

    fn control<B: Body>(&mut self, kind: ControlKind, body: &B) -> Result<(), Reason> {
        let results = self
            .native
            .control(&[Control::new(kind, body)], self.time_ns);
        match results.first() {
            Some((Outcome::Rejected, reason)) => Err(*reason),
            _ => {
                self.settle();
                Ok(())
            }
        }
    }

    /// Runs continuation steps until none is pending or the queue has no room for one.
    pub(crate) fn settle(&mut self) -> bool {
        loop {
            let header = self.native.shard().header();
            if header.pending_count.get() == 0 {
                return true;
            }
            let before = header.next_sequence.get();
            self.native.steps();
            if self.native.shard().header().next_sequence.get() == before {
                return false;
            }
        }
    }

    /// Moves the clock that the engine is told. The engine's own time never goes back.
    pub(crate) fn set_time(&mut self, time_ns: u64) {
        self.time_ns = time_ns;
    }

    /// Carries out `orders`, in their order; hands each ack to `answered`. Gives how many were accepted.
    ///
    /// Nothing is carried out when one of them is refused for what it is (a trader, an instrument, a field out of range).
    pub(crate) fn submit(
        &mut self,
        orders: impl Iterator<Item = Order>,
        mut answered: impl FnMut(usize, Ack),
    ) -> Result<i64, Refusal> {
        let mut messages = std::mem::take(&mut self.messages);
        messages.clear();
        let planned = self.plan(orders, &mut messages);
        let mut accepted = 0;
        if planned.is_ok() {
            let mut done = 0;
            while done < messages.len() {
                let packet = self.next_packet(&messages, done);
                done = packet.end;
                self.send(&messages[packet.clone()], |index, ack| {
                    accepted += i64::from(ack.outcome == RING0_ACCEPTED);
                    answered(packet.start + index, ack);
                });
            }
        }
        self.messages = messages;
        planned.map(|()| accepted)
    }

    /// Makes messages of orders. References given here are used up only when all is well.
    fn plan(
        &mut self,
        orders: impl Iterator<Item = Order>,
        messages: &mut Vec<Planned>,
    ) -> Result<(), Refusal> {
        for order in orders {
            match self.message(&order) {
                Ok((message, last_reference)) => {
                    let trader = &mut self.traders[order.trader as usize];
                    let before = std::mem::replace(&mut trader.last_reference, last_reference);
                    messages.push(Planned {
                        trader: order.trader,
                        message,
                        reference_before: before,
                    });
                }
                Err(refusal) => {
                    for planned in messages.iter().rev() {
                        self.traders[planned.trader as usize].last_reference =
                            planned.reference_before;
                    }
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// The message of an order, and the trader's last reference after it.
    fn message(&self, order: &Order) -> Result<(Message, u32), Refusal> {
        let Some(trader) = self.traders.get(order.trader as usize) else {
            return self.no_trader(order.trader);
        };
        let all = order.action == RING0_MASS_CANCEL && order.instrument == RING0_ALL;
        if !all && order.instrument >= self.instruments {
            return self.no_instrument(order.instrument);
        }
        if order.reserved != [0; 2] {
            return refuse(RING0_ARGUMENT, "reserved is not zero");
        }
        let mut last = trader.last_reference;
        let mut name = |asked: u32| match (asked, last.checked_add(1)) {
            (0, Some(next)) => {
                last = next;
                Ok(next)
            }
            (0, None) => refuse(
                RING0_EXHAUSTED,
                format!("trader {} has used reference 2^32 - 1", order.trader),
            ),
            (asked, _) => {
                last = last.max(asked);
                Ok(asked)
            }
        };
        let mut message = Message {
            locate: if all { 0 } else { order.instrument as u16 + 1 },
            reference: order.reference,
            shares: order.lots,
            price: order.price,
            ..Message::default()
        };
        match order.action {
            RING0_NEW => {
                message.reference = name(order.reference)?;
                enter(order, &mut message)?;
            }
            RING0_REPLACE => {
                message.letter = b'U';
                message.new_reference = name(order.new_reference)?;
            }
            RING0_REDUCE => message.letter = b'X',
            RING0_CANCEL => message.letter = b'D',
            RING0_MASS_CANCEL => {
                message.letter = b'M';
                message.scope = match order.scope {
                    0 => RING0_SCOPE_SESSION,
                    scope => scope,
                };
                message.side = match order.side {
                    0 => RING0_BOTH,
                    side => side,
                };
                message.kill = order.kill;
            }
            other => {
                return refuse(
                    RING0_ARGUMENT,
                    format!("action = {other} is none of RING0_NEW to RING0_MASS_CANCEL"),
                );
            }
        }
        Ok((message, last))
    }

    /// The messages from `start` on that go into one packet: of one trader, as many as fit and may join.
    fn next_packet(&mut self, messages: &[Planned], start: usize) -> Range<usize> {
        let first = &messages[start];
        let mut bytes = HEADER + TAG_BLOCK + block_bytes(first.message.letter);
        let mut end = start + 1;
        if end == messages.len() {
            return start..end; // a single message needs no look at the book
        }
        self.crossed.clear();
        if !self.may_join(&first.message, 1) {
            return start..end;
        }
        while let Some(next) = messages.get(end) {
            bytes += block_bytes(next.message.letter);
            let count = end - start + 1;
            if next.trader != first.trader
                || bytes > PAYLOAD_MAX
                || count > usize::from(MESSAGES_MAX)
                || !self.may_join(&next.message, count)
            {
                break;
            }
            end += 1;
        }
        start..end
    }

    /// Whether a message may be in a packet of `count` messages without coming near the fills that one packet or one command may
    /// cause (beyond which the engine rejects with `PacketFills` or `Continuing`, which a caller should not have to know).
    ///
    /// A fill ends its maker or its taker. A maker rests already, within reach of the packet's furthest taker, or came with the
    /// packet; so there are at most as many fills as orders in reach and twice the messages.
    fn may_join(&mut self, message: &Message, count: usize) -> bool {
        let sides: &[u8] = match message.letter {
            b'M' => return false, // works through up to all orders of a trader
            b'A' | b'O' | b'U' if self.unforeseen || fills_unforeseen(message) => return false,
            b'U' => &[RING0_BUY, RING0_SELL],
            b'A' | b'O' if message.side == RING0_BUY => &[RING0_BUY],
            b'A' | b'O' if message.side == RING0_SELL => &[RING0_SELL],
            _ => &[],
        };
        for &side in sides {
            self.reach(u32::from(message.locate) - 1, side, message.price);
        }
        let reached: u64 = self.crossed.iter().map(|one| u64::from(one.orders)).sum();
        reached + 2 * count as u64 <= u64::from(FILLS_MAX - 1)
    }

    /// Adds to `crossed` what a taker at this price could take.
    fn reach(&mut self, instrument: u32, side: u8, price: u32) {
        let known = self
            .crossed
            .iter()
            .position(|one| one.instrument == instrument && one.side == side);
        let place = known.unwrap_or_else(|| {
            self.crossed.push(Crossed {
                instrument,
                side,
                price: if side == RING0_BUY { 0 } else { u32::MAX },
                orders: 0,
            });
            self.crossed.len() - 1
        });
        let one = &mut self.crossed[place];
        let further = if side == RING0_BUY {
            price > one.price
        } else {
            price < one.price
        };
        if further {
            one.price = price;
            one.orders = orders_in_reach(&self.native, instrument, side, price);
        }
    }

    /// Sends one packet and reads its answer.
    fn send(&mut self, messages: &[Planned], mut answered: impl FnMut(usize, Ack)) {
        self.settle();
        let trader = messages[0].trader;
        self.build(trader, messages);
        self.native.recorder().begin(messages.len());
        let sent = self
            .native
            .packet_in_place(&self.payload, self.time_ns, |_| TagRule::Unchecked);
        assert!(
            sent.is_ok(),
            "a packet made here is well-formed and of a granted session: {sent:?}"
        );
        let mut answer = [0; HEADER + MESSAGES_MAX as usize * ACK_BLOCK];
        let acks = &mut answer[..HEADER + messages.len() * ACK_BLOCK];
        self.native.shard().scratch().answer.copy_out(acks);
        let settled = self.settle();
        for (index, (block, planned)) in acks[HEADER..]
            .chunks_exact(ACK_BLOCK)
            .zip(messages)
            .enumerate()
        {
            let wire = AckWire::ref_from_bytes(&block[BLOCK_LENGTH..]).expect("an ack's bytes");
            let ack = self.ack(index, planned, wire, settled);
            let entered = !matches!(ack.outcome, RING0_REJECTED | RING0_NOT_TAKEN);
            self.unforeseen |= entered && fills_unforeseen(&planned.message);
            answered(index, ack);
        }
    }

    fn ack(&self, index: usize, planned: &Planned, wire: &AckWire, settled: bool) -> Ack {
        let queue = self.native.recorder();
        let sequence = wire.sequence.get();
        let mut ack = Ack {
            order_id: 0,
            sequence,
            reference: wire.reference.get(),
            lots: wire.quantity.get(),
            outcome: outcome(wire.result),
            reason: wire.reason.into(),
        };
        match ack.outcome {
            RING0_REJECTED => return ack,
            RING0_NOT_TAKEN => {
                ack.sequence = 0;
                return ack;
            }
            _ => {}
        }
        ack.order_id = match planned.message.letter {
            b'A' | b'O' => sequence,
            b'M' => 0,
            _ => queue.subject(index),
        };
        if ack.outcome == RING0_CONTINUES {
            let more = queue.stepped(ack.order_id, planned.trader);
            ack.lots = ack.lots.saturating_add(more);
            if settled {
                ack.outcome = RING0_ACCEPTED;
            }
        }
        ack
    }

    /// Writes the packet: header, a block a message, and the tag block, blank because nobody forges in here.
    fn build(&mut self, trader: u32, messages: &[Planned]) {
        let session = self.traders[trader as usize].session;
        let sequence = self.native.shard().expected_sequence(trader);
        let header = Header {
            session,
            sequence: sequence.expect("every trader has a session").into(),
            count: (messages.len() as u16 + 1).into(),
        };
        let payload = &mut self.payload;
        payload.clear();
        payload.extend_from_slice(header.as_bytes());
        for planned in messages {
            let message = Inbound::from_message(&planned.message).expect("a letter of ours");
            let bytes = message.as_bytes();
            payload.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            payload.extend_from_slice(bytes);
        }
        payload.extend_from_slice(&(TAG as u16).to_be_bytes());
        payload.push(TAG_LETTER);
        payload.resize(payload.len() + TAG - 1, 0);
    }

    /// Gives a trader more of an asset, or takes it; the reason when the engine refuses.
    pub(crate) fn move_funds(
        &mut self,
        trader: u32,
        asset: u32,
        amount: u64,
        kind: ControlKind,
    ) -> Result<Result<(), Reason>, Refusal> {
        self.balance(trader, asset)?;
        let mut body = Deposit::new_zeroed();
        (body.account, body.asset, body.amount) = (trader, asset, amount);
        Ok(self.control(kind, &body))
    }

    /// Ends the good-till-time orders up to a second of the day.
    pub(crate) fn expire(&mut self, second: u32) -> Result<(), Reason> {
        let mut body = Expire::new_zeroed();
        body.second = second;
        self.control(ControlKind::Expire, &body)
    }

    /// Lifts a kill, of the session and of the account.
    pub(crate) fn revive(&mut self, trader: u32) -> Result<Result<(), Reason>, Refusal> {
        if trader as usize >= self.traders.len() {
            return self.no_trader(trader);
        }
        let mut body = Target::new_zeroed();
        body.index = trader;
        let account = self.control(ControlKind::ReviveAccount, &body);
        Ok(account.and_then(|()| self.control(ControlKind::ReviveSession, &body)))
    }

    pub(crate) fn balance(&self, trader: u32, asset: u32) -> Result<Balance, Refusal> {
        if trader as usize >= self.traders.len() {
            return self.no_trader(trader);
        }
        if asset >= self.assets {
            return refuse(
                RING0_ASSET,
                format!("asset {asset} is not below {}", self.assets),
            );
        }
        let (available, held, _, _) = self.native.shard().balances(trader, asset);
        Ok(Balance { available, held })
    }

    /// The asset that an instrument trades.
    pub(crate) fn base_asset(&self, instrument: u32) -> Result<u32, Refusal> {
        if instrument >= self.instruments {
            return self.no_instrument(instrument);
        }
        Ok(base_asset(instrument))
    }

    /// The best levels of a side, best first.
    pub(crate) fn depth(
        &self,
        instrument: u32,
        side: u8,
        levels: usize,
    ) -> Result<impl Iterator<Item = Level>, Refusal> {
        if instrument >= self.instruments {
            return self.no_instrument(instrument);
        }
        if side != RING0_BUY && side != RING0_SELL {
            return refuse(
                RING0_ARGUMENT,
                format!("side = {side} is neither RING0_BUY nor RING0_SELL"),
            );
        }
        let depth = self.native.shard().depth(instrument, side, levels);
        Ok(depth.into_iter().map(|level| Level {
            lots: level.lots,
            price: level.price,
            orders: level.orders,
        }))
    }

    pub(crate) fn state_hash(&self) -> [u8; 32] {
        self.native.shard().state_hash().0
    }

    /// Walks the whole state; panics where an invariant does not hold.
    pub(crate) fn check(&self) {
        self.native.shard().check();
    }

    /// Makes the state wrong, for the test of what happens then.
    #[cfg(test)]
    pub(crate) fn miscount_orders(&self) {
        self.native.shard().header().orders_live.set(1);
    }

    pub(crate) fn pop(&self) -> Option<crate::abi::Event> {
        self.native.recorder().pop()
    }

    /// Events that wait, in 64-byte slots.
    pub(crate) fn waiting(&self) -> usize {
        self.native.recorder().waiting()
    }

    fn no_trader<T>(&self, trader: u32) -> Result<T, Refusal> {
        let count = self.traders.len();
        refuse(
            RING0_TRADER,
            format!("trader {trader} is not below {count}"),
        )
    }

    fn no_instrument<T>(&self, instrument: u32) -> Result<T, Refusal> {
        let count = self.instruments;
        refuse(
            RING0_INSTRUMENT,
            format!("instrument {instrument} is not below {count}"),
        )
    }
}

/// Asset of an instrument: its own while there are enough, then shared.
fn base_asset(instrument: u32) -> u32 {
    1 + instrument % BASE_ASSETS_MAX
}

/// The fields of a new order. `A` where that says it all, else `O`.
fn enter(order: &Order, message: &mut Message) -> Result<(), Refusal> {
    const LIFE_AND_SELF_TRADE: u16 = 0b1110_0111;
    if order.time_in_force > 7 || order.self_trade > 7 || order.flags & LIFE_AND_SELF_TRADE != 0 {
        return refuse(
            RING0_ARGUMENT,
            "time_in_force and self_trade are below 8; flags are RING0_POST_ONLY, RING0_POST_SLIDE, RING0_HIDDEN, RING0_MARKET",
        );
    }
    let life = u16::from(order.time_in_force) | u16::from(order.self_trade) << 5;
    message.flags = Flags(life | order.flags);
    message.side = order.side;
    message.stock = STOCK_SPACES;
    message.minimum = order.minimum;
    message.display = order.display;
    message.trigger = order.trigger;
    message.expiry_s = order.expiry_s;
    message.peg = order.peg;
    message.peg_offset_ticks = order.peg_offset;
    message.trade_group = order.trade_group;
    let extended = order.minimum != 0
        || order.display != 0
        || order.trigger != 0
        || order.expiry_s != 0
        || order.time_in_force == RING0_GTT
        || order.peg != 0
        || order.peg_offset != 0
        || order.trade_group != 0;
    message.letter = if extended { b'O' } else { b'A' };
    if order.flags & RING0_MARKET != 0 && order.price == 0 && order.side == RING0_BUY {
        message.price = u32::MAX; // the engine brings it to the top of the ladder
    }
    Ok(())
}

/// Whether an order, once live, can be filled more than once by one taker, unseen in the depth, or by somebody else's trade: an
/// iceberg, a hidden order, a stop, a peg.
fn fills_unforeseen(message: &Message) -> bool {
    message.display != 0
        || message.trigger != 0
        || message.peg != 0
        || message.flags.has(Flags::HIDDEN)
}

/// Bytes of a message in a packet.
fn block_bytes(letter: u8) -> usize {
    use ring0_wire::inbound::{CANCEL, ENTER, ENTER_EXTENDED, MASS_CANCEL, REDUCE, REPLACE};
    BLOCK_LENGTH
        + match letter {
            b'A' => ENTER,
            b'U' => REPLACE,
            b'X' => REDUCE,
            b'D' => CANCEL,
            b'M' => MASS_CANCEL,
            _ => ENTER_EXTENDED,
        }
}

/// Orders resting opposite to a taker at `price`, or more than a packet may fill.
fn orders_in_reach(native: &Native<Queue>, instrument: u32, side: u8, price: u32) -> u32 {
    let opposite = if side == RING0_BUY {
        RING0_SELL
    } else {
        RING0_BUY
    };
    let crosses = |level: u32| {
        if side == RING0_BUY {
            level <= price
        } else {
            level >= price
        }
    };
    // Mostly nothing crosses: one level is looked at before many are.
    for levels in [1, FILLS_MAX as usize] {
        let depth = native.shard().depth(instrument, opposite, levels);
        let crossing = depth.iter().take_while(|level| crosses(level.price));
        let (seen, orders) = crossing.fold((0, 0_u32), |(seen, orders), level| {
            (seen + 1, orders.saturating_add(level.orders))
        });
        if seen < levels || levels > 1 {
            return orders;
        }
    }
    0 // the loop has returned: its last round always does
}

fn references_log2(options: &Options) -> u8 {
    let wanted = options.orders.max(1).next_power_of_two().trailing_zeros();
    let share = REFERENCES_MAX_LOG2
        .saturating_sub(options.traders.max(1).next_power_of_two().trailing_zeros());
    let (low, high) = (*REFERENCES_LOG2.start(), *REFERENCES_LOG2.end());
    (wanted.min(share) as u8).clamp(low, high)
}

#[allow(
    clippy::needless_update,
    reason = "the engine may get further dimensions, which the caller need not know"
)]
fn capacity(options: &Options) -> Result<Capacity, Refusal> {
    let known = RING0_NO_DEPOSITS | RING0_NO_EVENTS | RING0_COMMAND_EVENTS;
    let o = options;
    for (field, value, low, high) in [
        ("instruments", o.instruments, 1, 65_535),
        ("traders", o.traders, 1, 1 << 20),
        ("orders", o.orders, 1, 1 << 26),
        ("ticks", o.ticks, 1, 1 << 24),
        ("price_base", o.price_base, 1, u32::MAX - 1),
        ("lots_max", o.lots_max, 1, u32::MAX),
        ("flags", o.flags & !known, 0, 0),
    ] {
        if !(low..=high).contains(&value) {
            return refuse(
                RING0_ARGUMENT,
                format!("{field} = {value} is not between {low} and {high}"),
            );
        }
    }
    if o.events_max != 0 && o.events_max < EVENTS_MAX_LOWEST {
        return refuse(
            RING0_ARGUMENT,
            format!(
                "events_max = {} is below {EVENTS_MAX_LOWEST}; 0 is no bound",
                o.events_max
            ),
        );
    }
    if o.deposit > AMOUNT_MAX {
        return refuse(RING0_ARGUMENT, "deposit is not below 2^63");
    }
    let places = u64::from(o.ticks.next_power_of_two().max(64));
    let ladder = places * u64::from(o.instruments);
    let Ok(ladder) = u32::try_from(ladder) else {
        return refuse(RING0_MEMORY, "ticks times instruments: lower one of them");
    };
    // A level or peg queue in use holds an order; a place of the ladder has one of each of the six books.
    let queues = u64::from(o.instruments) * 2 * u64::from(PEG_QUEUES_MAX);
    let levels_most = u64::from(o.orders).min(6 * u64::from(ladder) + queues);
    Ok(Capacity {
        accounts: o.traders,
        assets: 1 + o.instruments.min(BASE_ASSETS_MAX),
        instruments: o.instruments,
        sessions: o.traders,
        orders: o.orders,
        levels: match o.levels {
            0 => levels_most as u32,
            levels => levels,
        },
        ladder,
        answers: o.traders << *ANSWERS_LOG2.start(),
        references: o.traders * (1 << references_log2(o)).max(64),
        // Sixteen places a bucket: four times the orders, so that an order pushed out of its window finds one.
        buckets: o.orders.div_ceil(4).next_power_of_two(),
        // Dimensions that the engine may get beside these: those of its small market.
        ..Capacity::SMALL
    })
}

/// Symbols of instruments that the caller did not name: R0000001 and so on.
pub(crate) fn numbered_symbols(instruments: u32) -> Vec<[u8; 8]> {
    (1..=instruments)
        .map(|number| {
            let mut symbol = *b"R0000000";
            let mut rest = number;
            for digit in symbol[1..].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            symbol
        })
        .collect()
}

/// The symbol of a name, padded with spaces.
pub(crate) fn symbol(name: &[u8]) -> Result<[u8; 8], Refusal> {
    let mut symbol = [b' '; 8];
    match symbol.get_mut(..name.len()) {
        Some(place) if !name.is_empty() => place.copy_from_slice(name),
        _ => return refuse(RING0_ARGUMENT, "a symbol has 1 to 8 characters"),
    }
    Ok(symbol)
}

/// A null pointer, by its parameter's name.
pub(crate) fn null<T>(name: &str) -> Result<T, Refusal> {
    refuse(RING0_NULL, format!("{name} is null"))
}
