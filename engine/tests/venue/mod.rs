//! A tiny venue and a tiny language for it: what is sent, a line each, and what must come of it.
//!
//! Three sessions: `a` and `c` of one account, `b` of another, both in trade group 7. One instrument, ticks and lots of one, prices
//! 90 to 153, trading continuously. Time stands still at second 100 of a day so far ahead that no machine's clock comes to it, but for `wait`: so
//! it does in the kernel, which has a clock of its own.
//!
//! ```text
//! a sell 5@100                the first order of `a` is a1, whatever becomes of it
//! b buy 3@101 ioc stp=2       flags: ioc fok gtc gtt=SECOND post slide hidden market stp=MODE group=N min=Q show=Q
//! a buy 2@102 stop=101        stop=TRIGGER, peg=P+1, peg=M-1, peg=P
//! a replace a1 2@100          `last` is the session's latest reference, `first` its first
//! a reduce last 1 & cancel first   two messages in one packet
//! a mass session buy kill     or account; no side: both
//! operator state Halted       further commands: see `control`
//! wait 2                      so many seconds pass, before the next line
//! steps
//! ```
#![allow(dead_code, reason = "each test uses its part")]

use crate::pair::Pair;
use crate::tape::{Record, reason, records};
use ring0_engine::Capacity;
use ring0_engine::control::{
    Clear, Clock, Control, ControlKind, Deposit, Disconnect, Empty, Expire, Grant, List,
    MoveLadder, OpenAccount, OpenDay, SetBands, SetRisk, SetSelfTrade, SetState, Target, Uncross,
};
use ring0_engine::flow::Input;
use ring0_engine::record::{Outcome, Removal, State, Work};
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::message::{BOTH, BUY, SCOPE_ACCOUNT, SCOPE_SESSION, SELL, STOCK_SPACES};
use ring0_wire::{Flags, Message, SelfTrade, SessionId, TimeInForce};
use std::collections::HashMap;

/// As small as it can be: what a state costs to copy is what an exhaustive search costs.
pub(crate) const CAPACITY: Capacity = Capacity {
    accounts: 2,
    assets: 2,
    instruments: 1,
    sessions: 3,
    orders: 24,
    levels: 24,
    ladder: 64,
    answers: 3 * 128,
    references: 3 * 64,
    buckets: 2,
};
/// The boot-time clock, at which all happens. The setup first brings venue time to second 100 of the day and then takes the day base away:
/// venue time never goes back, so it stays there.
pub(crate) const BOOT_NS: u64 = SECOND_NS;
const NOW_S: u64 = 100;
const SECOND_NS: u64 = 1_000_000_000;
/// The day's midnight: a hundred years of boot-time clock.
const MIDNIGHT_NS: u64 = 36_525 * 86_400 * SECOND_NS;
const SESSIONS: usize = 3;
const LISTING: List = List {
    instrument: 0,
    state: State::Continuous as u32,
    symbol: *b"TINY    ",
    base_asset: 1,
    quote_asset: 0,
    tick_size: 1,
    lot_size: 1,
    tick_value: 10,
    ladder_base: 90,
    lot_value: 5,
    ladder_len: 64,
    lots_max: 1000,
    band_low: 0,
    band_high: 0,
    notional_max: 0,
    maker_ppm: -500,
    taker_ppm: 1000,
};

const NO_RISK: SetRisk = SetRisk {
    account: 0,
    orders_max: 0,
    shares_max: 0,
    burst: 0,
    notional_max: 0,
    interval_ns: 0,
};

/// One message or control command, read once and carried out often.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Messages of one session in one packet.
    Packet(usize, Vec<Send>),
    Control(Vec<Control>),
    /// The next day.
    OpenDay,
    /// A session is silent since its last packet.
    Disconnect(usize),
    Steps,
}

/// One message; references are given when it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Send {
    Enter(Message),
    Replace { which: Which, lots: u32, price: u32 },
    Reduce { which: Which, lots: u32 },
    Cancel { which: Which },
    Mass { scope: u8, side: u8, kill: u8 },
}

/// Which of the session's references.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    Number(u32),
    /// The latest.
    Last,
    /// The first.
    First,
}

/// What the next messages of the sessions carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    expected: [u64; SESSIONS],
    reference: [u32; SESSIONS],
    day: u32,
}

impl Counters {
    pub(crate) const START: Counters = Counters {
        expected: [1; SESSIONS],
        reference: [0; SESSIONS],
        day: 1,
    };

    /// The input of an operation, which takes its numbers.
    pub(crate) fn input(&mut self, op: &Op) -> Input {
        match op {
            Op::Packet(session, sends) => {
                let mut packet = PacketBuilder::new(id(*session), self.expected[*session]);
                for send in sends {
                    packet
                        .push(&self.message(*session, send))
                        .expect("few messages fit a packet");
                }
                self.expected[*session] = packet.next_sequence();
                Input::Packet(packet.sign(None))
            }
            Op::Control(controls) => Input::Control(controls.clone()),
            Op::OpenDay => {
                self.day += 1;
                Input::Control(vec![open_day(self.day)])
            }
            Op::Disconnect(session) => {
                let body = Disconnect {
                    session: *session as u32,
                    reserved: 0,
                    expected: self.expected[*session],
                };
                Input::Control(vec![Control::new(ControlKind::Disconnect, &body)])
            }
            Op::Steps => Input::Steps,
        }
    }

    fn message(&mut self, session: usize, send: &Send) -> Inbound {
        let last = &mut self.reference[session];
        let number = |which: Which, last: u32| match which {
            Which::Number(number) => number,
            Which::Last => last.max(1),
            Which::First => 1,
        };
        let named = |letter, which, last| Message {
            letter,
            locate: 1,
            reference: number(which, last),
            ..Message::default()
        };
        let message = match *send {
            Send::Enter(message) => {
                *last += 1;
                Message {
                    reference: *last,
                    ..message
                }
            }
            Send::Replace { which, lots, price } => {
                let before = *last;
                *last += 1;
                Message {
                    new_reference: *last,
                    shares: lots,
                    price,
                    ..named(b'U', which, before)
                }
            }
            Send::Reduce { which, lots } => Message {
                shares: lots,
                ..named(b'X', which, *last)
            },
            Send::Cancel { which } => named(b'D', which, *last),
            Send::Mass { scope, side, kill } => Message {
                letter: b'M',
                scope,
                side,
                kill,
                ..Message::default()
            },
        };
        Inbound::from_message(&message).expect("letters of ours")
    }
}

fn id(session: usize) -> SessionId {
    SessionId::new(session as u32, 1).expect("a small index")
}

fn seat(name: &str) -> usize {
    ["a", "b", "c"]
        .iter()
        .position(|known| *known == name)
        .unwrap_or_else(|| panic!("no session {name}"))
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

/// `5@100`.
fn quantity(text: &str) -> (u32, u32) {
    let (lots, price) = text
        .split_once('@')
        .unwrap_or_else(|| panic!("no quantity: {text}"));
    (number(lots), number(price))
}

fn which(text: &str) -> Which {
    match text {
        "last" => Which::Last,
        "first" => Which::First,
        name => Which::Number(number(&name[1..])),
    }
}

/// Reads a line of the language.
pub(crate) fn op(line: &str) -> Op {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[0] {
        "steps" => Op::Steps,
        "operator" => control(&words[1..]),
        name => {
            let sends = words[1..].split(|word| *word == "&").map(send).collect();
            Op::Packet(seat(name), sends)
        }
    }
}

fn send(words: &[&str]) -> Send {
    match words[0] {
        "buy" | "sell" => Send::Enter(order(words)),
        "replace" => {
            let (lots, price) = quantity(words[2]);
            Send::Replace {
                which: which(words[1]),
                lots,
                price,
            }
        }
        "reduce" => Send::Reduce {
            which: which(words[1]),
            lots: number(words[2]),
        },
        "cancel" => Send::Cancel {
            which: which(words[1]),
        },
        "mass" => Send::Mass {
            scope: if words.contains(&"account") {
                SCOPE_ACCOUNT
            } else {
                SCOPE_SESSION
            },
            side: if words.contains(&"buy") {
                BUY
            } else if words.contains(&"sell") {
                SELL
            } else {
                BOTH
            },
            kill: u8::from(words.contains(&"kill")),
        },
        other => panic!("no message {other}"),
    }
}

fn order(words: &[&str]) -> Message {
    let (shares, price) = quantity(words[1]);
    let mut order = Message {
        letter: b'A',
        locate: 1,
        side: if words[0] == "buy" { BUY } else { SELL },
        shares,
        price,
        stock: STOCK_SPACES,
        ..Message::default()
    };
    let (mut time, mut bits) = (TimeInForce::Day, 0);
    for word in &words[2..] {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "ioc" => time = TimeInForce::ImmediateOrCancel,
            "fok" => time = TimeInForce::FillOrKill,
            "gtc" => time = TimeInForce::GoodTillCancel,
            "gtt" => {
                time = TimeInForce::GoodTillTime;
                order.expiry_s = number(value);
            }
            "post" => bits |= Flags::POST_REJECT,
            "slide" => bits |= Flags::POST_SLIDE,
            "hidden" => bits |= Flags::HIDDEN,
            "market" => bits |= Flags::MARKET,
            "stp" => bits |= (number(value) as u16) << 5,
            "group" => order.trade_group = number(value) as u16,
            "min" => order.minimum = number(value),
            "show" => order.display = number(value),
            "stop" => order.trigger = number(value),
            "peg" => {
                order.peg = value.as_bytes()[0];
                order.peg_offset_ticks = match &value[1..] {
                    "" => 0,
                    offset => offset.parse().expect("an offset"),
                };
            }
            other => panic!("no flag {other}"),
        }
    }
    order.flags = Flags::new(time, SelfTrade::AccountDefault).with(bits);
    if (order.minimum, order.display, order.trigger) != (0, 0, 0)
        || (order.expiry_s, order.peg, order.trade_group) != (0, 0, 0)
    {
        order.letter = b'O';
    }
    order
}

/// Operator's commands.
fn control(words: &[&str]) -> Op {
    let target = |kind, index: usize| {
        let index = index as u32;
        Control::new(kind, &Target { index, reserved: 0 })
    };
    let one = match words[0] {
        "state" => {
            let state = state(words[1]) as u32;
            let instrument = 0;
            Control::new(ControlKind::SetState, &SetState { instrument, state })
        }
        "uncross" => Control::new(
            ControlKind::Uncross,
            &Uncross {
                instrument: 0,
                price: number(words[1]),
                then: state(words.get(2).copied().unwrap_or("Continuous")) as u32,
                reserved: 0,
            },
        ),
        "expire" => {
            let second = number(words[1]);
            Control::new(
                ControlKind::Expire,
                &Expire {
                    second,
                    reserved: 0,
                },
            )
        }
        "clear" => {
            let side = match words.get(1) {
                Some(&"buy") => BUY,
                Some(&"sell") => SELL,
                _ => BOTH,
            };
            let side = side.into();
            Control::new(
                ControlKind::Clear,
                &Clear {
                    instrument: 0,
                    side,
                },
            )
        }
        "bands" => Control::new(ControlKind::SetBands, &bands(&words[1..])),
        "risk" => Control::new(
            ControlKind::SetRisk,
            &SetRisk {
                account: seat(words[1]) as u32 % 2,
                orders_max: number(words[2]),
                ..NO_RISK
            },
        ),
        "rate" => Control::new(
            ControlKind::SetRisk,
            &SetRisk {
                account: seat(words[1]) as u32 % 2,
                burst: number(words[2]),
                interval_ns: u64::from(number(words[3])) * SECOND_NS,
                ..NO_RISK
            },
        ),
        "selftrade" => Control::new(
            ControlKind::SetSelfTrade,
            &SetSelfTrade {
                account: seat(words[1]) as u32 % 2,
                mode: number(words[2]),
                group: 7,
                reserved: 0,
            },
        ),
        "ladder" => Control::new(
            ControlKind::MoveLadder,
            &MoveLadder {
                instrument: 0,
                ladder_base: number(words[1]),
                ladder_len: number(words[2]),
                reserved: 0,
            },
        ),
        "list" => Control::new(ControlKind::List, &LISTING),
        "delist" => target(ControlKind::Delist, 0),
        "closeday" => target(ControlKind::CloseDay, 0),
        "kill" => target(ControlKind::KillSession, seat(words[1])),
        "revive" => target(ControlKind::ReviveSession, seat(words[1])),
        "killaccount" => target(ControlKind::KillAccount, seat(words[1]) % 2),
        "reviveaccount" => target(ControlKind::ReviveAccount, seat(words[1]) % 2),
        "halt" => Control::new(ControlKind::HaltShard, &Empty {}),
        "resume" => Control::new(ControlKind::ResumeShard, &Empty {}),
        "openday" => return Op::OpenDay,
        "disconnect" => return Op::Disconnect(seat(words[1])),
        other => panic!("no command {other}"),
    };
    Op::Control(vec![one])
}

fn bands(words: &[&str]) -> SetBands {
    let mut bands = SetBands {
        instrument: 0,
        band_low: 0,
        band_high: 0,
        dynamic_ticks: 0,
        fat_ticks: 0,
        pause_ticks: 0,
        reference: 0,
        reserved: 0,
    };
    for word in words {
        let (name, value) = word.split_once('=').expect("name=value");
        let value = number(value);
        match name {
            "low" => bands.band_low = value,
            "high" => bands.band_high = value,
            "dynamic" => bands.dynamic_ticks = value,
            "fat" => bands.fat_ticks = value,
            "pause" => bands.pause_ticks = value,
            "reference" => bands.reference = value,
            other => panic!("no setting {other}"),
        }
    }
    bands
}

fn state(name: &str) -> State {
    State::ALL
        .into_iter()
        .find(|state| format!("{state:?}") == name)
        .unwrap_or_else(|| panic!("no state {name}"))
}

fn open_day(day: u32) -> Control {
    let body = OpenDay {
        day,
        reserved: 0,
        midnight_ns: MIDNIGHT_NS,
        feed_session: *b"FEED000001",
        reserved2: [0; 6],
    };
    Control::new(ControlKind::OpenDay, &body)
}

/// The day, accounts, money, sessions and the instrument.
pub(crate) fn setup() -> Input {
    let clock = |day_base_ns| Control::new(ControlKind::Clock, &Clock { day_base_ns });
    let now_ns = MIDNIGHT_NS + NOW_S * SECOND_NS;
    let mut controls = vec![
        clock(now_ns - BOOT_NS),
        clock(0),
        open_day(Counters::START.day),
    ];
    for account in 0..2 {
        let body = OpenAccount {
            account,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::OpenAccount, &body));
        for asset in 0..2 {
            let body = Deposit {
                account,
                asset,
                amount: 1_000_000_000,
            };
            controls.push(Control::new(ControlKind::Deposit, &body));
        }
        let body = SetSelfTrade {
            account,
            mode: 0,
            group: 7,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::SetSelfTrade, &body));
    }
    controls.push(Control::new(ControlKind::List, &LISTING));
    for session in 0..SESSIONS {
        let body = Grant {
            session: session as u32,
            account: session as u32 % 2,
            id: id(session).0,
            answers_log2: 7,
            references_log2: 4,
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
            orders_max: 0,
            shares_max: 0,
            notional_max: 0,
            cancel_on_disconnect: 1,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::GrantSession, &body));
    }
    Input::Control(controls)
}

/// Records as the language says them.
#[derive(Default)]
pub(crate) struct Narrator {
    names: HashMap<u64, String>,
}

impl Narrator {
    fn name(&self, order: u64) -> String {
        self.names
            .get(&order)
            .cloned()
            .unwrap_or_else(|| format!("order {order}"))
    }

    pub(crate) fn lines(&mut self, bytes: &[u8]) -> Vec<String> {
        records(bytes)
            .filter_map(|record| self.line(&record))
            .collect()
    }

    fn line(&mut self, record: &Record) -> Option<String> {
        let owner = |session: u32, reference: u32| {
            format!("{}{reference}", ["a", "b", "c"][session as usize])
        };
        let said = |outcome: u8, number: u8| match outcome {
            b'R' => Some(format!("rejected: {}", reason(number))),
            b'C' => Some("continues".to_owned()),
            _ => None,
        };
        Some(match record {
            Record::Message(message) => {
                if matches!(message.message[0], b'A' | b'F' | b'O') {
                    let bytes = &message.message[..usize::from(message.length)];
                    let fields = Inbound::read(bytes)?.check().ok();
                    let reference = fields.map_or(0, |fields| fields.reference);
                    self.names
                        .insert(message.head.sequence, owner(message.session, reference));
                }
                return said(message.outcome, message.reason);
            }
            Record::Control(control) => {
                if control.outcome == Outcome::Continues as u8 {
                    return None; // its steps are told
                }
                return said(control.outcome, control.reason);
            }
            Record::Step(step) => {
                let works = [
                    Work::Sweep,
                    Work::Triggers,
                    Work::Uncross,
                    Work::Purge,
                    Work::SessionCancel,
                    Work::AccountCancel,
                    Work::Expiry,
                ];
                let work = works.into_iter().find(|work| *work as u8 == step.work)?;
                format!("step {work:?}")
            }
            Record::Rested(rested) => {
                let how = match (rested.peg, rested.shown) {
                    (0, 0) => " hidden".into(),
                    (0, shown) if shown != rested.lots => format!(" showing {shown}"),
                    (0, _) => String::new(),
                    _ => " pegged".into(),
                };
                let name = self.name(rested.order);
                format!("{name} rests {}@{}{how}", rested.lots, rested.price)
            }
            Record::Filled(filled) => format!(
                "{} takes {}@{} from {}",
                self.name(filled.taker),
                filled.lots,
                filled.price,
                self.name(filled.maker)
            ),
            Record::Removed(removed) => {
                let why = [
                    Removal::User,
                    Removal::Ioc,
                    Removal::Mass,
                    Removal::Kill,
                    Removal::Halted,
                    Removal::SelfTrade,
                    Removal::Expired,
                    Removal::DayEnd,
                    Removal::Delisted,
                    Removal::OffLadder,
                    Removal::Paused,
                    Removal::Disconnected,
                    Removal::Operator,
                ];
                let why = why.into_iter().find(|why| *why as u8 == removed.removal)?;
                let name = self.name(removed.order);
                format!("{name} leaves with {}: {why:?}", removed.lots)
            }
            Record::Reduced(reduced) => format!(
                "{} reduced by {} to {}",
                self.name(reduced.order),
                reduced.lots,
                reduced.open
            ),
            Record::Replaced(replaced) => {
                let before = self.name(replaced.order);
                let after = owner(replaced.session, replaced.reference);
                self.names.insert(replaced.new_order, after.clone());
                let kept = if replaced.kept == 1 { ", kept" } else { "" };
                format!(
                    "{before} becomes {after} {}@{}{kept}",
                    replaced.lots, replaced.price
                )
            }
            Record::Armed(armed) => {
                format!("{} waits for {}", self.name(armed.order), armed.trigger)
            }
            Record::Triggered(triggered) => format!("{} triggered", self.name(triggered.order)),
            Record::Refilled(refilled) => format!(
                "{} shows {} of {}",
                self.name(refilled.order),
                refilled.shown,
                refilled.lots
            ),
            Record::Decremented(taken) => format!(
                "{} and {} lose {}@{}",
                self.name(taken.taker),
                self.name(taken.maker),
                taken.lots,
                taken.price
            ),
            Record::Crossed(crossed) => format!(
                "{} buys {}@{} from {}",
                self.name(crossed.buy),
                crossed.lots,
                crossed.price,
                self.name(crossed.sell)
            ),
            Record::Uncrossed(uncrossed) => {
                let still = if uncrossed.crossed == 1 {
                    ", crossed still"
                } else {
                    ""
                };
                format!("uncrossed {}@{}{still}", uncrossed.volume, uncrossed.price)
            }
            Record::StateChanged(changed) => {
                format!("state {:?}", State::from_number(changed.state)?)
            }
        })
    }
}

/// Why a packet was not taken, as its answer says of the first message.
fn not_taken(answer: Option<&[u8]>) -> Option<String> {
    let ack = answer?.get(22..)?;
    (ack[1] == Outcome::NotTaken as u8).then(|| format!("not taken: {}", reason(ack[2])))
}

/// Runs a script: lines of the language, each followed by what comes of it, indented deeper. Engine and reference do both.
pub(crate) fn run(script: &str) {
    let mut pair = Pair::new(CAPACITY);
    // The setup leaves a day base of zero: from its end on the boot-time clock is the venue's.
    let mut boot_ns = MIDNIGHT_NS + NOW_S * SECOND_NS;
    let mut counters = Counters::START;
    let mut narrator = Narrator::default();
    pair.feed(&setup(), BOOT_NS).expect("the setup agrees");
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = script
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let least = lines.iter().map(|line| indent(line)).min().unwrap_or(0);
    let mut rest = lines.as_slice();
    while let Some((command, later)) = rest.split_first() {
        let expected = later.iter().take_while(|line| indent(line) > least).count();
        let wanted: Vec<_> = later[..expected].iter().map(|line| line.trim()).collect();
        rest = &later[expected..];
        if let Some(seconds) = command.trim().strip_prefix("wait ") {
            boot_ns += u64::from(number(seconds)) * SECOND_NS;
            continue;
        }
        let before = counters;
        let input = counters.input(&op(command.trim()));
        let fed = pair
            .feed(&input, boot_ns)
            .unwrap_or_else(|text| panic!("{}: {text}", command.trim()));
        let mut found = narrator.lines(&fed.records);
        if let Some(line) = not_taken(fed.answer.as_deref()) {
            found.push(line);
            counters = before; // the numbers may be sent again
        }
        assert_eq!(found, wanted, "what comes of `{}`", command.trim());
        pair.same_states()
            .unwrap_or_else(|text| panic!("{}: {text}", command.trim()));
    }
}
