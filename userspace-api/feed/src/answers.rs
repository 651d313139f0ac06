//! From a shard's records to OUCH 5.0: what became of each client's orders, session by session. As pure as the feed.
//!
//! Each answer names session and account, so that one sink makes the sequenced stream of a session and the drop copy of an
//! account. Knows the live orders, and of the day's trades who took part, so that a trade taken back reaches both.
//! Rule: `docs/feed.md#answers`.

use crate::instrument::Instrument;
use crate::translate::{Sink, TranslateError, Translator};
use ring0_engine::Reason;
use ring0_engine::control::{BODY_LEN, Body, Bust, ControlKind, Grant};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{
    ControlRecord, Crossed, Decremented, Filled, Head, Kind, Message, Outcome, Reduced, Refilled,
    Removal, Removed, Replaced as ReplacedRecord, Rested,
};
use ring0_itch::mold::Session;
use ring0_itch::ouch::{
    Accepted, AiqCanceled, Appendage, Broken, CancelRejected, Canceled, ClOrdId, Executed,
    Outbound, OutboundHeader, PriorityUpdate, Rejected, Replaced, SystemEvent, cancel_reason,
    display, event, liquidity, order_state, reject_reason, time_in_force,
};
use ring0_itch::{Stock, Text};
use std::collections::HashMap;
use zerocopy::{FromBytes, IntoBytes};

/// Takes the answers.
pub trait AnswerSink {
    /// A session is granted: its stream begins, an earlier one of that index has ended.
    fn granted(&mut self, session: u32, account: u32, id: Session);
    /// The next answer to a session, also the next of its account's drop copy. `session` is `None` where a trade of an earlier
    /// day is taken back: then it is of the account alone.
    fn answer(&mut self, session: Option<u32>, account: u32, answer: &[u8]);
}

/// A live order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Live {
    session: u32,
    account: u32,
    user_ref: u32,
    locate: u16,
    side: u8,
    /// Lots open.
    open: u32,
    tick_size: u32,
    lot_size: u32,
    stock: Stock,
    time_in_force: u8,
    display: u8,
}

/// Who took part in a trade: session, account and reference of both orders.
type Trade = [(u32, u32, u32); 2];

/// The state machine.
#[derive(Clone, Debug)]
pub struct Answers {
    /// What the public feed knows: instruments, and the references of displayed orders.
    feed: Translator,
    live: HashMap<u64, Live>,
    /// Trades of the day by match number.
    trades: HashMap<u64, Trade>,
    /// Accounts of granted sessions.
    sessions: Vec<Option<u32>>,
    time_ns: u64,
    /// Bytes of a record whose end has not come yet.
    partial: Vec<u8>,
}

/// Drops the public feed.
struct Nowhere;

impl Sink for Nowhere {
    fn begin(&mut self, _: Session) {}
    fn message(&mut self, _: &[u8]) {}
    fn end(&mut self) {}
}

impl Answers {
    /// For a shard's first record; `session` as in [`Translator::new`].
    #[must_use]
    pub fn new(session: Session) -> Answers {
        Answers {
            feed: Translator::new(session),
            live: HashMap::new(),
            trades: HashMap::new(),
            sessions: Vec::new(),
            time_ns: 0,
            partial: Vec::new(),
        }
    }

    /// Orders that are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Takes the next bytes of the record, in pieces of any size.
    ///
    /// # Errors
    /// The records are wrong. What came before was answered.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn AnswerSink) -> Result<(), TranslateError> {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let mut rest = &whole[..];
        while let Ok((head, _)) = Head::read_from_prefix(rest) {
            let len = usize::from(head.slots.max(1)) * SLOT_LEN;
            let Some((record, after)) = rest.split_at_checked(len) else {
                break;
            };
            rest = after;
            self.record(&head, record, sink)?;
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn record(
        &mut self,
        head: &Head,
        bytes: &[u8],
        sink: &mut dyn AnswerSink,
    ) -> Result<(), TranslateError> {
        // The feed first: it judges the record, and a displayed order's reference is known behind it.
        self.feed.feed(bytes, &mut Nowhere)?;
        self.time_ns = self.feed.time_ns;
        let unreadable = TranslateError::Unreadable {
            sequence: head.sequence,
        };
        fn read<R: FromBytes>(
            bytes: &[u8],
            unreadable: TranslateError,
        ) -> Result<R, TranslateError> {
            R::read_from_bytes(bytes).map_err(|_| unreadable)
        }
        match Kind::from_number(head.kind).ok_or(unreadable)? {
            Kind::Message => self.message(&read(bytes, unreadable)?, sink),
            Kind::Control => self.control(&read(bytes, unreadable)?, sink),
            Kind::Rested => {
                let rested: Rested = read(bytes, unreadable)?;
                self.queued(rested.order, rested.price, rested.shown, sink);
            }
            Kind::Refilled => {
                let refilled: Refilled = read(bytes, unreadable)?;
                self.queued(refilled.order, refilled.price, refilled.shown, sink);
            }
            Kind::Filled => {
                let it: Filled = read(bytes, unreadable)?;
                let orders = [(it.maker, liquidity::ADDED), (it.taker, liquidity::REMOVED)];
                self.traded(orders, it.lots, it.price, head.sequence, sink);
            }
            Kind::Crossed => {
                let it: Crossed = read(bytes, unreadable)?;
                let cross = self.instrument(head).map_or(b'O', |it| it.cross_type);
                let orders = [(it.buy, cross), (it.sell, cross)];
                self.traded(orders, it.lots, it.price, head.sequence, sink);
            }
            Kind::Removed => self.removed(&read(bytes, unreadable)?, sink),
            Kind::Reduced => {
                let it: Reduced = read(bytes, unreadable)?;
                self.cancel(it.order, it.lots, cancel_reason::USER, sink);
            }
            Kind::Decremented => self.decremented(&read(bytes, unreadable)?, sink),
            Kind::Replaced => self.replaced(&read(bytes, unreadable)?, sink),
            Kind::Step | Kind::Armed | Kind::Triggered | Kind::Uncrossed | Kind::StateChanged => {}
        }
        Ok(())
    }

    fn instrument(&self, head: &Head) -> Option<Instrument> {
        let index = (head.locate as usize).wrapping_sub(1);
        self.feed.instruments.get(index).copied().flatten()
    }

    fn header(&self, letter: u8) -> OutboundHeader {
        OutboundHeader {
            letter,
            timestamp: self.time_ns.saturating_sub(self.feed.midnight_ns).into(),
        }
    }

    fn message(&mut self, message: &Message, sink: &mut dyn AnswerSink) {
        let (session, account) = (message.session, message.account);
        let bytes = &message.message;
        let reference = |at: usize| word(bytes, at + 4);
        let letter = bytes[0];
        if message.outcome == Outcome::Rejected as u8 {
            let reason = Reason::from_number(message.reason).unwrap_or(Reason::FieldLetter);
            match letter {
                b'X' | b'D' => {
                    let rejected = CancelRejected {
                        header: self.header(CancelRejected::LETTER),
                        user_ref: reference(11).into(),
                    };
                    send(session, account, (&rejected, Appendage::EMPTY), sink);
                }
                _ => {
                    let at = if letter == b'U' { 19 } else { 11 };
                    let rejected = Rejected {
                        header: self.header(Rejected::LETTER),
                        user_ref: reference(at).into(),
                        reason: reject_reason_of(reason).into(),
                        client_order_id: ClOrdId::BLANK,
                    };
                    send(session, account, (&rejected, Appendage::EMPTY), sink);
                }
            }
            return;
        }
        if !matches!(letter, b'A' | b'F' | b'O') {
            return; // what a replace, a reduce and a cancel have done is said by the events
        }
        let Some(instrument) = self.instrument(&message.head) else {
            return; // it was accepted, so it is listed
        };
        let flags = u16::from_be_bytes([bytes[3], bytes[4]]);
        let flags = ring0_wire::message::Flags(flags);
        let is_hidden =
            flags.has(ring0_wire::message::Flags::HIDDEN) || (letter == b'O' && bytes[52] != 0);
        let shares = word(bytes, 20);
        let live = Live {
            session,
            account,
            user_ref: reference(11),
            locate: instrument.locate,
            side: bytes[19],
            open: shares / instrument.lot_size.max(1),
            tick_size: instrument.tick_size,
            lot_size: instrument.lot_size,
            stock: instrument.stock,
            time_in_force: if flags.is_immediate() || flags.has(ring0_wire::message::Flags::MARKET)
            {
                time_in_force::IOC
            } else if flags.is_good_till_time() {
                time_in_force::GOOD_TILL_TIME
            } else {
                time_in_force::DAY
            },
            display: if is_hidden {
                display::HIDDEN
            } else {
                display::VISIBLE
            },
        };
        let accepted = Accepted {
            header: self.header(Accepted::LETTER),
            user_ref: live.user_ref.into(),
            side: live.side,
            quantity: shares.into(),
            symbol: live.stock,
            price: u64::from(word(bytes, 32)).into(),
            time_in_force: live.time_in_force,
            display: live.display,
            order_reference: message.head.sequence.into(),
            capacity: b'P',
            intermarket_sweep: b'N',
            cross_type: b'N',
            order_state: order_state::LIVE,
            client_order_id: ClOrdId::BLANK,
        };
        self.live.insert(message.head.sequence, live);
        send(session, account, (&accepted, Appendage::EMPTY), sink);
    }

    /// An order went to the end of a queue: a displayed one has a reference in the feed now.
    fn queued(&mut self, id: u64, price: u32, shown: u32, sink: &mut dyn AnswerSink) {
        let Some(live) = self.live.get(&id).copied() else {
            return;
        };
        if shown == 0 {
            return;
        }
        let reference = self.feed.orders.get_mut(id).map_or(0, |it| it.reference);
        let update = PriorityUpdate {
            header: self.header(PriorityUpdate::LETTER),
            user_ref: live.user_ref.into(),
            price: wire(price, live.tick_size).into(),
            display: live.display,
            order_reference: reference.into(),
        };
        send(
            live.session,
            live.account,
            (&update, Appendage::EMPTY),
            sink,
        );
    }

    fn traded(
        &mut self,
        orders: [(u64, u8); 2],
        lots: u32,
        price: u32,
        number: u64,
        sink: &mut dyn AnswerSink,
    ) {
        let mut parties = [(0, 0, 0); 2];
        for (party, (id, liquidity)) in parties.iter_mut().zip(orders) {
            let Some(live) = self.take(id, lots) else {
                continue;
            };
            *party = (live.session, live.account, live.user_ref);
            let executed = Executed {
                header: self.header(Executed::LETTER),
                user_ref: live.user_ref.into(),
                quantity: lots.saturating_mul(live.lot_size).into(),
                price: wire(price, live.tick_size).into(),
                liquidity,
                match_number: number.into(),
            };
            send(
                live.session,
                live.account,
                (&executed, Appendage::EMPTY),
                sink,
            );
        }
        self.trades.insert(number, parties);
    }

    /// Takes lots off an order, which is gone with the last one; gives it.
    fn take(&mut self, id: u64, lots: u32) -> Option<Live> {
        let live = self.live.get_mut(&id)?;
        live.open = live.open.saturating_sub(lots);
        let live = *live;
        if live.open == 0 {
            self.live.remove(&id);
        }
        Some(live)
    }

    fn cancel(&mut self, id: u64, lots: u32, reason: u8, sink: &mut dyn AnswerSink) {
        if let Some(live) = self.take(id, lots) {
            let canceled = Canceled {
                header: self.header(Canceled::LETTER),
                user_ref: live.user_ref.into(),
                decrement: lots.saturating_mul(live.lot_size).into(),
                reason,
            };
            send(
                live.session,
                live.account,
                (&canceled, Appendage::EMPTY),
                sink,
            );
        }
    }

    fn removed(&mut self, removed: &Removed, sink: &mut dyn AnswerSink) {
        let reason = cancel_reason_of(removed.removal);
        self.cancel(removed.order, removed.lots, reason, sink);
    }

    fn decremented(&mut self, event: &Decremented, sink: &mut dyn AnswerSink) {
        let orders = [
            (event.maker, liquidity::ADDED),
            (event.taker, liquidity::REMOVED),
        ];
        for (id, liquidity) in orders {
            let Some(live) = self.take(id, event.lots) else {
                continue;
            };
            let shares = event.lots.saturating_mul(live.lot_size);
            let canceled = AiqCanceled {
                header: self.header(AiqCanceled::LETTER),
                user_ref: live.user_ref.into(),
                decrement: shares.into(),
                reason: cancel_reason::SELF_MATCH,
                quantity_prevented: shares.into(),
                price: wire(event.price, live.tick_size).into(),
                liquidity,
                strategy: b' ',
            };
            send(
                live.session,
                live.account,
                (&canceled, Appendage::EMPTY),
                sink,
            );
        }
    }

    fn replaced(&mut self, event: &ReplacedRecord, sink: &mut dyn AnswerSink) {
        let Some(mut live) = self.live.remove(&event.order) else {
            return;
        };
        let original = live.user_ref;
        live.user_ref = event.reference;
        live.open = event.lots;
        self.live.insert(event.new_order, live);
        let replaced = Replaced {
            header: self.header(Replaced::LETTER),
            original_user_ref: original.into(),
            user_ref: live.user_ref.into(),
            side: live.side,
            quantity: event.lots.saturating_mul(live.lot_size).into(),
            symbol: live.stock,
            price: wire(event.price, live.tick_size).into(),
            time_in_force: live.time_in_force,
            display: live.display,
            order_reference: event.new_order.into(),
            capacity: b'P',
            intermarket_sweep: b'N',
            cross_type: b'N',
            order_state: order_state::LIVE,
            client_order_id: ClOrdId::BLANK,
        };
        send(
            live.session,
            live.account,
            (&replaced, Appendage::EMPTY),
            sink,
        );
    }

    fn control(&mut self, record: &ControlRecord, sink: &mut dyn AnswerSink) {
        if record.outcome == Outcome::Rejected as u8 {
            return;
        }
        let is = |kind: ControlKind| record.kind == kind as u32;
        if is(ControlKind::GrantSession) {
            let grant: Grant = body(record);
            let index = grant.session as usize;
            self.sessions
                .resize(self.sessions.len().max(index + 1), None);
            self.sessions[index] = Some(grant.account);
            sink.granted(grant.session, grant.account, Text(grant.id));
            self.system(grant.session, grant.account, event::START_OF_DAY, sink);
        } else if is(ControlKind::CloseSession) {
            let target: ring0_engine::control::Target = body(record);
            if let Some(open) = self.sessions.get_mut(target.index as usize)
                && let Some(account) = open.take()
            {
                self.system(target.index, account, event::END_OF_DAY, sink);
            }
        } else if is(ControlKind::OpenDay) {
            self.trades.clear();
            for (session, account) in (0..).zip(self.sessions.clone()) {
                if let Some(account) = account {
                    self.system(session, account, event::END_OF_DAY, sink);
                    self.system(session, account, event::START_OF_DAY, sink);
                }
            }
        } else if is(ControlKind::Bust) {
            let bust: Bust = body(record);
            let parties = self.trades.remove(&bust.trade);
            let broken = |user_ref: u32| Broken {
                header: self.header(Broken::LETTER),
                user_ref: user_ref.into(),
                match_number: bust.trade.into(),
                reason: b'S',
                client_order_id: ClOrdId::BLANK,
            };
            match parties {
                Some(parties) => {
                    for (session, account, user_ref) in parties {
                        send(
                            session,
                            account,
                            (&broken(user_ref), Appendage::EMPTY),
                            sink,
                        );
                    }
                }
                None => {
                    for account in [bust.buyer, bust.seller] {
                        sink.answer(None, account, broken(0).as_bytes());
                    }
                }
            }
        }
    }

    fn system(&self, session: u32, account: u32, event_code: u8, sink: &mut dyn AnswerSink) {
        let message = SystemEvent {
            header: self.header(SystemEvent::LETTER),
            event_code,
        };
        send(session, account, (&message, Appendage::EMPTY), sink);
    }
}

fn send<'a>(
    session: u32,
    account: u32,
    message: impl Into<Outbound<'a>>,
    sink: &mut dyn AnswerSink,
) {
    let mut bytes = Vec::with_capacity(80);
    message.into().write(&mut bytes);
    sink.answer(Some(session), account, &bytes);
}

/// Four bytes of a message as a number; it is 56 bytes long.
fn word(bytes: &[u8; 56], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A wire price of OUCH, eight bytes.
fn wire(ticks: u32, tick_size: u32) -> u64 {
    u64::from(ticks) * u64::from(tick_size)
}

fn body<B: Body>(record: &ControlRecord) -> B {
    const _: () = assert!(size_of::<[u64; BODY_LEN / 8]>() == BODY_LEN);
    match B::read_from_prefix(record.body.as_bytes()) {
        Ok((body, _)) => body,
        Err(_) => B::new_zeroed(),
    }
}

/// OUCH's word for why an order left.
#[must_use]
pub fn cancel_reason_of(removal: u8) -> u8 {
    let is = |one: Removal| removal == one as u8;
    if is(Removal::User) || is(Removal::Mass) {
        cancel_reason::USER
    } else if is(Removal::Ioc) {
        cancel_reason::IMMEDIATE
    } else if is(Removal::SelfTrade) {
        cancel_reason::SELF_MATCH
    } else if is(Removal::Expired) {
        cancel_reason::TIMEOUT
    } else if is(Removal::DayEnd) {
        cancel_reason::CLOSED
    } else if is(Removal::Halted) || is(Removal::Paused) {
        cancel_reason::HALTED
    } else if is(Removal::OffLadder) {
        cancel_reason::COLLAR
    } else if is(Removal::Kill) || is(Removal::Operator) {
        cancel_reason::SUPERVISORY
    } else {
        cancel_reason::SYSTEM // delisted, disconnected
    }
}

/// OUCH's word for why a message was rejected.
#[must_use]
pub fn reject_reason_of(reason: Reason) -> u16 {
    match reason {
        Reason::InstrumentHalted | Reason::MarketClosed | Reason::Halted => reject_reason::HALTED,
        Reason::UnknownInstrument
        | Reason::StockMismatch
        | Reason::WrongInstrument
        | Reason::WrongShard => reject_reason::SYMBOL,
        Reason::NotATick
        | Reason::OffLadder
        | Reason::PriceBand
        | Reason::BadTrigger
        | Reason::WouldTrigger
        | Reason::WouldCross => reject_reason::PRICE,
        Reason::DynamicBand | Reason::FatFinger => reject_reason::FAT_FINGER,
        Reason::NotALot
        | Reason::OrderTooLarge
        | Reason::SharesZero
        | Reason::MinimumAboveShares
        | Reason::DisplayAboveShares => reject_reason::QUANTITY,
        Reason::RiskShares => reject_reason::SIZE_LIMIT,
        Reason::NotionalTooLarge | Reason::RiskNotional => reject_reason::NOTIONAL_LIMIT,
        Reason::Funds | Reason::UnsettledLimit | Reason::RiskOrders => reject_reason::EXPOSURE,
        Reason::SideUnknown => reject_reason::SIDE,
        Reason::UnknownOrder => reject_reason::REPLACE_NOT_ALLOWED,
        Reason::RateLimited => reject_reason::PORT_RATE,
        _ => reject_reason::OTHER,
    }
}
