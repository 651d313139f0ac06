//! What a flow must have reached: every reason of every command that can get it, every record, every removal, every work,
//! every way from one market state to another. [`Coverage::missing`] names the rest.

use crate::pair::{Fed, Limited};
use crate::tape::{Record, reason, records};
use ring0_engine::Reason;
use ring0_engine::control::ControlKind;
use ring0_engine::record::{Outcome, Removal, State, Work};
use std::collections::BTreeMap;
use std::fmt;

/// Reasons that no packet or control command of a native run can meet, and why.
const UNREACHABLE: [(Reason, &str); 4] = [
    (Reason::None, "it is no reason"),
    (
        Reason::Busy,
        "the kernel program's answer when another processor holds the shard",
    ),
    (Reason::RingFull, "the tape has no end"),
    (
        Reason::FieldLetter,
        "a packet with such a letter is malformed",
    ),
];

/// The checks of an entry, and then those of its fields. `A`, `F` and `O` are one here.
const ENTER: &[Reason] = &[
    Reason::ReferenceNotRising,
    Reason::NotTogether,
    Reason::WrongTradeGroup,
    Reason::SessionKilled,
    Reason::AccountKilled,
    Reason::SessionExpired,
    Reason::Continuing,
    Reason::UnknownInstrument,
    Reason::WrongShard,
    Reason::StockMismatch,
    Reason::MarketClosed,
    Reason::InstrumentHalted,
    Reason::NotInAuction,
    Reason::PacketFills,
    Reason::NotATick,
    Reason::NotALot,
    Reason::OrderTooLarge,
    Reason::RiskShares,
    Reason::AlreadyExpired,
    Reason::BadTrigger,
    Reason::OffLadder,
    Reason::PriceBand,
    Reason::DynamicBand,
    Reason::FatFinger,
    Reason::NotionalTooLarge,
    Reason::RiskNotional,
    Reason::WouldTrigger,
    Reason::Funds,
    Reason::UnsettledLimit,
    Reason::RiskOrders,
    Reason::BookFull,
    Reason::PegsFull,
    Reason::LevelsFull,
    Reason::TooManyLive,
    Reason::WouldCross,
    Reason::NotFillable,
    Reason::FokTooDeep,
    Reason::TimestampNotZero,
    Reason::ReferenceTooLarge,
    Reason::ReferenceZero,
    Reason::SideUnknown,
    Reason::SharesZero,
    Reason::FlagUnknown,
    Reason::TimeInForceUnknown,
    Reason::SelfTradeUnknown,
    Reason::PostOnlyTwice,
    Reason::PostOnlyImmediate,
    Reason::PostOnlyMarket,
    Reason::ExpiryMissing,
    Reason::ExpiryUnasked,
    Reason::ExpiryTooLate,
    Reason::MinimumAboveShares,
    Reason::DisplayAboveShares,
    Reason::DisplayOfHidden,
    Reason::PegUnknown,
    Reason::PegOffsetUnasked,
];

const REPLACE: &[Reason] = &[
    Reason::TrackingNotZero,
    Reason::TimestampNotZero,
    Reason::ReferenceTooLarge,
    Reason::ReferenceZero,
    Reason::SharesZero,
    Reason::ReferenceNotRising,
    Reason::SessionKilled,
    Reason::AccountKilled,
    Reason::SessionExpired,
    Reason::Continuing,
    Reason::UnknownOrder,
    Reason::WrongShard,
    Reason::WrongInstrument,
    Reason::MarketClosed,
    Reason::InstrumentHalted,
    Reason::NotInAuction,
    Reason::PacketFills,
    Reason::NotATick,
    Reason::NotALot,
    Reason::OrderTooLarge,
    Reason::RiskShares,
    Reason::OffLadder,
    Reason::PriceBand,
    Reason::DynamicBand,
    Reason::FatFinger,
    Reason::NotionalTooLarge,
    Reason::RiskNotional,
    Reason::TooManyLive,
    Reason::Funds,
    Reason::UnsettledLimit,
    Reason::PegsFull,
    Reason::LevelsFull,
    Reason::WouldCross,
];

const REDUCE: &[Reason] = &[
    Reason::TrackingNotZero,
    Reason::TimestampNotZero,
    Reason::ReferenceTooLarge,
    Reason::ReferenceZero,
    Reason::SharesZero,
    Reason::UnknownOrder,
    Reason::WrongShard,
    Reason::WrongInstrument,
    Reason::Continuing,
    Reason::NotALot,
];

const CANCEL: &[Reason] = &[
    Reason::TrackingNotZero,
    Reason::TimestampNotZero,
    Reason::ReferenceTooLarge,
    Reason::ReferenceZero,
    Reason::UnknownOrder,
    Reason::WrongShard,
    Reason::WrongInstrument,
    Reason::Continuing,
];

const MASS: &[Reason] = &[
    Reason::TrackingNotZero,
    Reason::TimestampNotZero,
    Reason::ReferenceTooLarge,
    Reason::SideUnknown,
    Reason::ScopeUnknown,
    Reason::KillUnknown,
    Reason::ReservedNotZero,
    Reason::UnknownInstrument,
    Reason::WrongShard,
    Reason::PacketFills,
    Reason::Continuing,
];

/// Why each control command can be rejected; all can be accepted.
fn control_reasons(kind: ControlKind) -> &'static [Reason] {
    use Reason::*;
    match kind {
        ControlKind::Clock
        | ControlKind::Gap
        | ControlKind::HaltShard
        | ControlKind::ResumeShard => &[],
        ControlKind::OpenAccount => &[IndexOutOfRange, AccountOpen],
        ControlKind::Deposit | ControlKind::SetLimit | ControlKind::SettlementMark => {
            &[IndexOutOfRange, UnknownAccount, BadAmount]
        }
        ControlKind::Withdraw => &[IndexOutOfRange, UnknownAccount, BadAmount, Funds],
        ControlKind::KillAccount => &[IndexOutOfRange, UnknownAccount],
        ControlKind::SetRisk | ControlKind::SetSelfTrade => {
            &[IndexOutOfRange, UnknownAccount, BadSetting]
        }
        ControlKind::ReviveAccount => &[IndexOutOfRange, UnknownAccount, Continuing],
        ControlKind::List => &[IndexOutOfRange, AlreadyListed, BadListing, LadderFull],
        ControlKind::SetBands => &[
            IndexOutOfRange,
            UnknownInstrument,
            Continuing,
            BadState,
            BadSetting,
        ],
        ControlKind::SetState => &[
            IndexOutOfRange,
            UnknownInstrument,
            BadSetting,
            Continuing,
            BadState,
            BookCrossed,
        ],
        ControlKind::Indicate => &[UnknownInstrument, BadState, OffLadder],
        ControlKind::Uncross => &[
            IndexOutOfRange,
            UnknownInstrument,
            Continuing,
            BadState,
            OffLadder,
            BadSetting,
        ],
        ControlKind::Clear => &[IndexOutOfRange, UnknownInstrument, Continuing, BadSetting],
        ControlKind::CloseDay | ControlKind::Delist => {
            &[IndexOutOfRange, UnknownInstrument, Continuing, BadState]
        }
        ControlKind::MoveLadder => &[
            IndexOutOfRange,
            UnknownInstrument,
            Continuing,
            BadState,
            BadListing,
            LadderFull,
        ],
        ControlKind::GrantSession => &[
            IndexOutOfRange,
            UnknownAccount,
            SessionOpen,
            BadGrant,
            WindowsFull,
        ],
        ControlKind::CloseSession => &[IndexOutOfRange, UnknownSession, OrdersLive, Continuing],
        ControlKind::KillSession => &[IndexOutOfRange, UnknownSession],
        ControlKind::ReviveSession => &[IndexOutOfRange, UnknownSession, Continuing],
        ControlKind::Disconnect => &[IndexOutOfRange, UnknownSession, SessionAlive, Continuing],
        ControlKind::Expire => &[BadSetting, TooEarly],
        ControlKind::OpenDay => &[NotClosed, Continuing, BadSetting],
        ControlKind::Route => &[IndexOutOfRange, AlreadyListed, BadSetting],
        ControlKind::TransferOut => &[
            IndexOutOfRange,
            UnknownAccount,
            BadSetting,
            TransferPending,
            TransferNumber,
            BadAmount,
            Funds,
        ],
        ControlKind::TransferIn => &[
            IndexOutOfRange,
            UnknownAccount,
            BadSetting,
            TransferKnown,
            BadAmount,
        ],
        ControlKind::TransferDone => &[IndexOutOfRange, UnknownAccount, TransferNumber],
        ControlKind::Bust => &[
            IndexOutOfRange,
            UnknownInstrument,
            UnknownAccount,
            BadSetting,
            Funds,
        ],
    }
}

/// Control commands that may leave steps to be done.
const CONTINUING: [ControlKind; 9] = [
    ControlKind::KillSession,
    ControlKind::KillAccount,
    ControlKind::Disconnect,
    ControlKind::Expire,
    ControlKind::Uncross,
    ControlKind::Clear,
    ControlKind::CloseDay,
    ControlKind::Delist,
    ControlKind::MoveLadder,
];

const WORKS: [Work; 7] = [
    Work::Sweep,
    Work::Triggers,
    Work::Uncross,
    Work::Purge,
    Work::SessionCancel,
    Work::AccountCancel,
    Work::Expiry,
];

/// Removals, and whether the order rested: 1, 0. An instrument's remainder of a sweep is never in the book; what prevention,
/// a purge or the like takes there has rested unless it is a stop that waits.
const REMOVALS: [(Removal, &[u8]); 13] = [
    (Removal::User, &[1, 0]),
    (Removal::Ioc, &[0]),
    (Removal::Mass, &[1, 0]),
    (Removal::Kill, &[1, 0]),
    (Removal::Halted, &[0]),
    (Removal::SelfTrade, &[1, 0]),
    (Removal::Expired, &[1, 0]),
    (Removal::DayEnd, &[1, 0]),
    (Removal::Delisted, &[1, 0]),
    (Removal::OffLadder, &[1, 0]),
    (Removal::Paused, &[0]),
    (Removal::Disconnected, &[1, 0]),
    (Removal::Operator, &[1, 0]),
];

/// Everything else, as [`Coverage::take`] names it.
const EVENTS: &[&str] = &[
    "rate of the session alone",
    "rate of the account alone",
    "rate of both",
    "message A A",
    "message A C",
    "message F A",
    "message O A",
    "message O C",
    "message U A",
    "message U C",
    "message X A",
    "message D A",
    "message M A",
    "message M C",
    "message z A",
    "rested displayed",
    "rested iceberg",
    "rested hidden",
    "rested peg",
    "rested in step",
    "rested iceberg in step",
    "rested peg in step",
    "filled maker -1",
    "filled maker 0",
    "filled maker 1",
    "filled in step",
    "reduced",
    "reduced shown",
    "replaced moved",
    "replaced kept",
    "replaced kept of an iceberg",
    "armed",
    "triggered",
    "refilled",
    "refilled in step",
    "decremented",
    "decremented in step",
    "crossed",
    "uncrossed",
    "uncrossed, crossed still",
    "removed Ioc 0 in step",
    "removed Kill 0 in step",
    "removed Expired 0 in step",
    "removed Paused 0 in step",
    "removed SelfTrade 0 in step",
    "paused in step",
    "step Triggers of nothing",
    "step Uncross of a halted instrument",
];

/// What was seen, by name, and how often.
#[derive(Default)]
pub(crate) struct Coverage {
    seen: BTreeMap<String, u64>,
    reasons: BTreeMap<u8, u64>,
}

impl Coverage {
    fn see(&mut self, name: String) {
        *self.seen.entry(name).or_default() += 1;
    }

    /// Counts what an input has led to; gives the number of commands in it.
    pub(crate) fn take(&mut self, fed: &Fed) -> u64 {
        if let Some(answer) = &fed.answer {
            for ack in answer[20..answer.len() - 19].chunks_exact(21) {
                *self.reasons.entry(ack[4]).or_default() += 1;
            }
        }
        if let Some(limited) = fed.limited {
            let whose = match limited {
                Limited::Session => "the session alone",
                Limited::Account => "the account alone",
                Limited::Both => "both",
            };
            self.see(format!("rate of {whose}"));
        }
        let (mut commands, mut in_step) = (0, "");
        // The last step of an auction says what it came to, unless the instrument was halted meanwhile.
        let mut halted = false;
        for record in records(&fed.records) {
            if matches!(record, Record::Uncrossed(_)) {
                halted = false;
            } else if halted && record.head().kind <= 3 {
                self.see("step Uncross of a halted instrument".into());
                halted = false;
            }
            match &record {
                Record::Message(message) => {
                    (commands, in_step) = (commands + 1, "");
                    let letter = message.message[0] as char;
                    if message.outcome == Outcome::Rejected as u8 {
                        let letter = if matches!(letter, 'A' | 'F' | 'O') {
                            'A'
                        } else {
                            letter
                        };
                        self.see(format!("message {letter} {}", reason(message.reason)));
                    } else {
                        self.see(format!("message {letter} {}", message.outcome as char));
                    }
                }
                Record::Control(control) => {
                    (commands, in_step) = (commands + 1, "");
                    *self.reasons.entry(control.reason).or_default() += 1;
                    let kind = ControlKind::ALL
                        .into_iter()
                        .find(|kind| *kind as u32 == control.kind);
                    let what = if control.outcome == Outcome::Rejected as u8 {
                        reason(control.reason).to_owned()
                    } else {
                        (control.outcome as char).to_string()
                    };
                    if let Some(kind) = kind {
                        self.see(format!("control {kind:?} {what}"));
                    }
                }
                Record::Step(step) => {
                    (commands, in_step) = (commands + 1, " in step");
                    let work = WORKS.into_iter().find(|work| *work as u8 == step.work);
                    let work = work.map_or("?".into(), |work| format!("{work:?}"));
                    self.see(format!("step {work} {}", step.outcome as char));
                    if work == "Triggers" && step.order == 0 {
                        self.see("step Triggers of nothing".into());
                    }
                    halted = work == "Uncross" && step.outcome == b'A';
                }
                other => self.event(other, in_step),
            }
        }
        if halted {
            self.see("step Uncross of a halted instrument".into());
        }
        commands
    }

    fn event(&mut self, record: &Record, in_step: &str) {
        match record {
            Record::Rested(rested) => {
                let kind = match (rested.peg, rested.shown) {
                    (0, 0) => "hidden",
                    (0, shown) if shown < rested.lots => "iceberg",
                    (0, _) => "displayed",
                    _ => "peg",
                };
                self.see(format!("rested {kind}"));
                if !in_step.is_empty() {
                    self.see("rested in step".into());
                    self.see(format!("rested {kind} in step"));
                }
            }
            Record::Filled(filled) => {
                self.see(format!("filled maker {}", filled.maker_fee.signum()));
                self.see(format!("filled{in_step}"));
            }
            Record::Removed(removed) => {
                let known = REMOVALS
                    .iter()
                    .find(|(removal, _)| *removal as u8 == removed.removal);
                let name = known.map_or("?".into(), |(removal, _)| format!("{removal:?}"));
                self.see(format!("removed {name} {}", removed.rested));
                if !in_step.is_empty() {
                    self.see(format!("removed {name} {} in step", removed.rested));
                }
            }
            Record::Reduced(reduced) => {
                self.see("reduced".into());
                if reduced.shown != 0 && reduced.shown < reduced.open {
                    self.see("reduced shown".into());
                }
            }
            Record::Replaced(replaced) => {
                let how = if replaced.kept == 1 { "kept" } else { "moved" };
                self.see(format!("replaced {how}"));
                if replaced.kept == 1 && replaced.shown != 0 && replaced.shown < replaced.lots {
                    self.see("replaced kept of an iceberg".into());
                }
            }
            Record::Armed(_) => self.see("armed".into()),
            Record::Triggered(_) => self.see("triggered".into()),
            Record::Refilled(_) => self.see(format!("refilled{in_step}")),
            Record::Decremented(_) => self.see(format!("decremented{in_step}")),
            Record::Crossed(_) => self.see("crossed".into()),
            Record::Uncrossed(uncrossed) => {
                self.see("uncrossed".into());
                if uncrossed.crossed == 1 {
                    self.see("uncrossed, crossed still".into());
                }
            }
            Record::StateChanged(changed) => {
                self.see(way(changed.before, changed.state));
                if changed.state == State::VolatilityPause as u8 && !in_step.is_empty() {
                    self.see("paused in step".into());
                }
            }
            Record::Message(_) | Record::Step(_) | Record::Control(_) => {}
        }
    }

    pub(crate) fn add(&mut self, other: &Coverage) {
        for (name, times) in &other.seen {
            *self.seen.entry(name.clone()).or_default() += times;
        }
        for (&number, times) in &other.reasons {
            *self.reasons.entry(number).or_default() += times;
        }
    }

    /// Names of what was not seen yet.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut wanted: Vec<String> = EVENTS.iter().map(|&name| name.to_owned()).collect();
        for (letter, reasons) in [
            ('A', ENTER),
            ('U', REPLACE),
            ('X', REDUCE),
            ('D', CANCEL),
            ('M', MASS),
        ] {
            wanted.extend(
                reasons
                    .iter()
                    .map(|reason| format!("message {letter} {}", reason.name())),
            );
        }
        for kind in ControlKind::ALL {
            let always_continues = matches!(
                kind,
                ControlKind::Uncross
                    | ControlKind::Clear
                    | ControlKind::CloseDay
                    | ControlKind::Delist
                    | ControlKind::MoveLadder
            );
            if !always_continues {
                wanted.push(format!("control {kind:?} A"));
            }
            if CONTINUING.contains(&kind) {
                wanted.push(format!("control {kind:?} C"));
            }
            let reasons = control_reasons(kind).iter();
            wanted.extend(reasons.map(|reason| format!("control {kind:?} {}", reason.name())));
        }
        for work in WORKS {
            wanted.push(format!("step {work:?} A"));
            wanted.push(format!("step {work:?} C"));
        }
        for (removal, ends) in REMOVALS {
            wanted.extend(
                ends.iter()
                    .map(|rested| format!("removed {removal:?} {rested}")),
            );
        }
        wanted.extend(ways());
        let unseen = wanted
            .into_iter()
            .filter(|name| !self.seen.contains_key(name));
        let reasons = Reason::ALL
            .iter()
            .filter(|&&reason| !self.reasons.contains_key(&(reason as u8)))
            .filter(|&reason| !UNREACHABLE.iter().any(|(known, _)| known == reason))
            .map(|reason| format!("reason {}", reason.name()));
        unseen.chain(reasons).collect()
    }
}

fn way(before: u8, after: u8) -> String {
    let name = |number| State::from_number(number).map_or("?".into(), |state| format!("{state:?}"));
    format!("state {} to {}", name(before), name(after))
}

/// Every way that `SetState`, an auction's end or a pause can go.
fn ways() -> Vec<String> {
    let calls = [
        State::OpeningAuction,
        State::VolatilityPause,
        State::ClosingAuction,
    ];
    let mut ways = Vec::new();
    for before in State::ALL {
        for after in State::ALL {
            let allowed = match after {
                _ if before == after => false,
                State::Uncrossing => calls.contains(&before),
                State::VolatilityPause => before == State::Continuous,
                State::PreOpen | State::OpeningAuction | State::ClosingAuction => {
                    before != State::Uncrossing
                }
                State::Closed | State::Continuous | State::Halted => true,
            };
            if allowed {
                ways.push(way(before as u8, after as u8));
            }
        }
    }
    ways
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, times) in &self.seen {
            writeln!(f, "{times:8} {name}")?;
        }
        for (&number, times) in &self.reasons {
            writeln!(f, "{times:8} reason {}", reason(number))?;
        }
        for (reason, why) in UNREACHABLE {
            writeln!(f, "   never {}: {why}", reason.name())?;
        }
        Ok(())
    }
}
