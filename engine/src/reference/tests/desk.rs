//! A small market to try rules on, and its events as words.

use crate::control::{
    Body, Control, ControlKind, Deposit, Grant, List, OpenAccount, SetState, Target,
};
use crate::record::{
    Armed, Crossed, Decremented, Filled, Head, Kind, Outcome, Reduced, Refilled, Removed, Replaced,
    Rested, State, StateChanged, Step, Triggered, Uncrossed,
};
use crate::reference::Reference;
use crate::reference::order::{displayed_book, hidden_book};
use crate::{Capacity, Reason};
use ring0_wire::host::{Answer, Inbound, PacketBuilder};
use ring0_wire::message::{BOTH, SCOPE_SESSION, STOCK_SPACES};
use ring0_wire::{Flags, Message, SelfTrade, SessionId, TimeInForce};
use zerocopy::FromBytes;

pub(super) const DAY: Flags = Flags::new(TimeInForce::Day, SelfTrade::AccountDefault);
pub(super) const GTC: Flags = Flags::new(TimeInForce::GoodTillCancel, SelfTrade::AccountDefault);
pub(super) const GTT: Flags = Flags::new(TimeInForce::GoodTillTime, SelfTrade::AccountDefault);
pub(super) const IOC: Flags = Flags::new(TimeInForce::ImmediateOrCancel, SelfTrade::AccountDefault);
pub(super) const FOK: Flags = Flags::new(TimeInForce::FillOrKill, SelfTrade::AccountDefault);
pub(super) const START: u64 = 1_000_000;

/// Asset 0 is bought and paid in asset 1. A tick is 100 of wire price, a lot is 10 shares. One lot at one tick is 1 quote
/// unit; there are no fees.
pub(super) const LIST: List = List {
    instrument: 0,
    state: State::Continuous as u32,
    symbol: *b"RINGZERO",
    base_asset: 0,
    quote_asset: 1,
    tick_size: 100,
    lot_size: 10,
    tick_value: 1,
    ladder_base: 1,
    lot_value: 5,
    ladder_len: 1000,
    lots_max: 2000,
    band_low: 0,
    band_high: 0,
    notional_max: 0,
    maker_ppm: 0,
    taker_ppm: 0,
};

/// A rebate of 0.1 % and a fee of 0.3 %.
pub(super) const WITH_FEES: List = List {
    maker_ppm: -1000,
    taker_ppm: 3000,
    ..LIST
};

pub(super) type Acked = (char, Reason, u32);

/// A shard with one instrument and sessions 0 and 1 of accounts 0 and 1, who own plenty.
pub(super) struct Desk {
    pub(super) book: Reference,
    /// Next client sequence by session.
    next: [u64; 4],
    /// Boot-time clock.
    pub(super) now: u64,
}

pub(super) fn grant(session: u32) -> Grant {
    Grant {
        session,
        account: session,
        id: SessionId::new(session, 77).unwrap().0,
        answers_log2: 7,
        references_log2: 10,
        burst: 0,
        interval_ns: 0,
        expires_ns: u64::MAX,
        orders_max: 0,
        shares_max: 0,
        notional_max: 0,
        cancel_on_disconnect: 0,
        reserved: 0,
    }
}

pub(super) fn target(kind: ControlKind, index: u32) -> Control {
    let reserved = 0;
    Control::new(kind, &Target { index, reserved })
}

pub(super) fn deposit(account: u32, asset: u32, amount: u64) -> Control {
    let body = Deposit {
        account,
        asset,
        amount,
    };
    Control::new(ControlKind::Deposit, &body)
}

impl Desk {
    pub(super) fn new() -> Desk {
        Desk::listing(LIST)
    }

    pub(super) fn listing(list: List) -> Desk {
        Desk::with(Capacity::SMALL, list, &grant)
    }

    pub(super) fn with(capacity: Capacity, list: List, grant: &dyn Fn(u32) -> Grant) -> Desk {
        let mut desk = Desk {
            book: Reference::new(capacity),
            next: [1; 4],
            now: START,
        };
        for account in [0, 1] {
            desk.open(account);
            desk.done(ControlKind::GrantSession, &grant(account));
        }
        desk.done(ControlKind::List, &list);
        desk.book.take_records();
        desk
    }

    /// Opens a rich account.
    pub(super) fn open(&mut self, account: u32) {
        let reserved = 0;
        let body = OpenAccount { account, reserved };
        self.done(ControlKind::OpenAccount, &body);
        self.order(deposit(account, 0, 1_000_000), Ok(Outcome::Accepted));
        self.order(deposit(account, 1, 1_000_000), Ok(Outcome::Accepted));
    }

    /// Grants another session of an account.
    pub(super) fn another(&mut self, session: u32, account: u32) {
        let grant = Grant {
            account,
            ..grant(session)
        };
        self.done(ControlKind::GrantSession, &grant);
    }

    #[track_caller]
    pub(super) fn order(&mut self, command: Control, want: Result<Outcome, Reason>) {
        let want = match want {
            Ok(outcome) => (outcome, Reason::None),
            Err(reason) => (Outcome::Rejected, reason),
        };
        assert_eq!(self.book.control(&[command], self.now), [want]);
        self.book.check();
    }

    /// A control command that is accepted.
    #[track_caller]
    pub(super) fn done<B: Body>(&mut self, kind: ControlKind, body: &B) {
        self.order(Control::new(kind, body), Ok(Outcome::Accepted));
    }

    /// A control command that leaves work.
    #[track_caller]
    pub(super) fn begun<B: Body>(&mut self, kind: ControlKind, body: &B) {
        self.order(Control::new(kind, body), Ok(Outcome::Continues));
    }

    /// A control command that is rejected.
    #[track_caller]
    pub(super) fn refused<B: Body>(&mut self, kind: ControlKind, body: &B, reason: Reason) {
        self.order(Control::new(kind, body), Err(reason));
    }

    #[track_caller]
    pub(super) fn state(&mut self, state: State) {
        self.done(ControlKind::SetState, &set_state(state));
    }

    #[track_caller]
    pub(super) fn no_state(&mut self, state: State, reason: Reason) {
        self.refused(ControlKind::SetState, &set_state(state), reason);
    }

    /// Takes one continuation step.
    pub(super) fn step(&mut self) {
        assert!(self.book.replay_step(), "a continuation is pending");
        self.book.check();
    }

    /// Takes all continuation steps that are left.
    pub(super) fn steps(&mut self) {
        while self.book.replay_step() {
            self.book.check();
        }
    }

    /// Sends a packet at a client sequence; the acks as result letter, reason, quantity, sequence.
    pub(super) fn send_at(
        &mut self,
        session: u32,
        sequence: u64,
        messages: &[Message],
    ) -> Vec<(char, Reason, u32, u64)> {
        let id = SessionId(grant(session).id);
        let mut packet = PacketBuilder::new(id, sequence);
        for message in messages {
            let content = Inbound::from_message(message).unwrap();
            packet.push(&content).unwrap();
        }
        let answer = self.book.packet(&packet.sign(None), self.now);
        self.book.check();
        let answer = Answer::read(&answer, None).unwrap();
        let acks = answer.acks.iter().map(|ack| {
            let reason = Reason::from_number(ack.reason).unwrap();
            (char::from(ack.result), reason, ack.quantity, ack.sequence)
        });
        acks.collect()
    }

    /// Sends the session's next packet; result letter, reason and quantity of every message.
    pub(super) fn send(&mut self, session: u32, messages: &[Message]) -> Vec<Acked> {
        let sequence = self.next[session as usize];
        self.next[session as usize] += messages.len() as u64 + 1;
        let acks = self.send_at(session, sequence, messages);
        acks.into_iter()
            .map(|(r, reason, q, _)| (r, reason, q))
            .collect()
    }

    /// As `send`, of one message.
    pub(super) fn one(&mut self, session: u32, message: Message) -> Acked {
        self.send(session, &[message])[0]
    }

    /// As `one`, accepted with so many shares filled.
    #[track_caller]
    pub(super) fn takes(&mut self, session: u32, message: Message, shares: u32) {
        assert_eq!(self.one(session, message), accepted(shares));
    }

    /// As `one`, rejected.
    #[track_caller]
    pub(super) fn rejects(&mut self, session: u32, message: Message, reason: Reason) {
        assert_eq!(self.one(session, message), rejected(reason));
    }

    /// The records since the last call as words; messages and controls left out.
    pub(super) fn events(&mut self) -> Vec<String> {
        let records = self.book.take_records();
        let mut rest = records.as_slice();
        let mut texts = Vec::new();
        while let Ok((head, _)) = Head::read_from_prefix(rest) {
            let (record, behind) = rest.split_at(usize::from(head.slots) * 64);
            rest = behind;
            texts.extend(words(&head, record));
        }
        texts
    }

    /// Available, held, outflow.
    pub(super) fn money(&self, account: u32, asset: u32) -> (u64, u64, i64) {
        let balance = self.book.balance(account, asset);
        (balance.available, balance.held, balance.outflow)
    }

    /// Client references of a side's displayed orders in priority, then of its hidden ones.
    pub(super) fn queue(&self, side: u8) -> Vec<u32> {
        let books = [displayed_book(side), hidden_book(side)];
        let instrument = self.book.instrument(0);
        let levels = books.iter().flat_map(|&book| instrument.best_first(book));
        let ids = levels.flat_map(|(_, ids)| ids);
        ids.map(|id| self.book.orders[id].reference).collect()
    }
}

fn words(head: &Head, record: &[u8]) -> Option<String> {
    let side = char::from(head.side);
    let text = match Kind::from_number(head.kind).unwrap() {
        Kind::Message | Kind::Control => return None,
        Kind::Step => {
            let r = Step::read_from_bytes(record).unwrap();
            format!("step {} {} {}", r.work, char::from(r.outcome), r.quantity)
        }
        Kind::Rested => {
            let r = Rested::read_from_bytes(record).unwrap();
            let shown = match r.shown {
                shown if shown == r.lots => String::new(),
                shown => format!(" shown {shown}"),
            };
            format!(
                "rested {}: {side} {}@{}{shown}",
                r.reference, r.lots, r.price
            )
        }
        Kind::Filled => {
            let r = Filled::read_from_bytes(record).unwrap();
            let fees = match (r.maker_fee, r.taker_fee) {
                (0, 0) => String::new(),
                fees => format!(" {fees:?}"),
            };
            format!("filled {side} {}@{}{fees}", r.lots, r.price)
        }
        Kind::Removed => {
            let r = Removed::read_from_bytes(record).unwrap();
            let why = char::from(r.removal);
            format!("removed {}: {} {why}{}", r.reference, r.lots, r.rested)
        }
        Kind::Reduced => {
            let r = Reduced::read_from_bytes(record).unwrap();
            format!(
                "reduced {}: {} to {} shown {}",
                r.reference, r.lots, r.open, r.shown
            )
        }
        Kind::Replaced => {
            let r = Replaced::read_from_bytes(record).unwrap();
            let (before, after) = (r.lots_before, r.lots);
            let kept = r.kept;
            format!("replaced {}: {before} to {after} kept {kept}", r.reference)
        }
        Kind::Armed => {
            let r = Armed::read_from_bytes(record).unwrap();
            format!(
                "armed {}: {side} {}@{} at {}",
                r.reference, r.lots, r.price, r.trigger
            )
        }
        Kind::Triggered => {
            let r = Triggered::read_from_bytes(record).unwrap();
            format!("triggered {}: {side} {}@{}", r.reference, r.lots, r.price)
        }
        Kind::Refilled => {
            let r = Refilled::read_from_bytes(record).unwrap();
            format!("refilled {}: {} of {}", r.reference, r.shown, r.lots)
        }
        Kind::Decremented => {
            let r = Decremented::read_from_bytes(record).unwrap();
            format!("decremented {side} {}@{}", r.lots, r.price)
        }
        Kind::Crossed => {
            let r = Crossed::read_from_bytes(record).unwrap();
            format!(
                "crossed {}@{} fees {} {}",
                r.lots, r.price, r.buy_fee, r.sell_fee
            )
        }
        Kind::Uncrossed => {
            let r = Uncrossed::read_from_bytes(record).unwrap();
            format!("uncrossed {}@{} crossed {}", r.volume, r.price, r.crossed)
        }
        Kind::StateChanged => {
            let r = StateChanged::read_from_bytes(record).unwrap();
            let name = |number| State::from_number(number).unwrap();
            format!("{:?} after {:?}", name(r.state), name(r.before))
        }
    };
    Some(text)
}

pub(super) fn set_state(state: State) -> SetState {
    SetState {
        instrument: 0,
        state: state as u32,
    }
}

/// An order for lots at ticks.
pub(super) fn enter(reference: u32, side: u8, lots: u32, ticks: u32, flags: Flags) -> Message {
    Message {
        letter: b'A',
        locate: 1,
        flags,
        reference,
        side,
        shares: lots * 10,
        stock: STOCK_SPACES,
        price: ticks * 100,
        ..Message::default()
    }
}

/// As an `O`, to be given its further fields.
pub(super) fn extended(message: Message) -> Message {
    Message {
        letter: b'O',
        ..message
    }
}

pub(super) fn iceberg(message: Message, lots: u32) -> Message {
    Message {
        display: lots * 10,
        ..extended(message)
    }
}

pub(super) fn stop(message: Message, ticks: u32) -> Message {
    Message {
        trigger: ticks * 100,
        ..extended(message)
    }
}

pub(super) fn until(message: Message, expiry_s: u32) -> Message {
    Message {
        expiry_s,
        ..extended(message)
    }
}

pub(super) fn pegged(message: Message, peg: u8, peg_offset_ticks: i8) -> Message {
    Message {
        peg,
        peg_offset_ticks,
        ..extended(message)
    }
}

pub(super) fn replace(reference: u32, new_reference: u32, lots: u32, ticks: u32) -> Message {
    Message {
        letter: b'U',
        locate: 1,
        reference,
        new_reference,
        shares: lots * 10,
        price: ticks * 100,
        ..Message::default()
    }
}

pub(super) fn reduce(reference: u32, lots: u32) -> Message {
    Message {
        letter: b'X',
        shares: lots * 10,
        ..cancel(reference)
    }
}

pub(super) fn cancel(reference: u32) -> Message {
    Message {
        letter: b'D',
        locate: 1,
        reference,
        ..Message::default()
    }
}

/// A mass cancel of all orders of the session.
pub(super) fn mass(kill: u8) -> Message {
    Message {
        letter: b'M',
        side: BOTH,
        scope: SCOPE_SESSION,
        kill,
        ..Message::default()
    }
}

pub(super) fn rejected(reason: Reason) -> Acked {
    ('R', reason, 0)
}

pub(super) fn accepted(shares: u32) -> Acked {
    ('A', Reason::None, shares)
}

pub(super) fn continued(quantity: u32) -> Acked {
    ('C', Reason::None, quantity)
}

impl Desk {
    /// Session 0 sells so many single lots at 100, with references from 1 on.
    pub(super) fn wall(&mut self, orders: u32) {
        let orders: Vec<_> = (1..=orders)
            .map(|r| enter(r, ring0_wire::message::SELL, 1, 100, DAY))
            .collect();
        for packet in orders.chunks(20) {
            self.send(0, packet);
        }
        self.events();
    }
}
