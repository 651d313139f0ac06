//! What the records of a run say: trades, triggered stops, whether a message was refused.

use ring0_engine::Reason;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{Crossed, Filled, Head, Kind, Message, Outcome, Removal, Removed};
use zerocopy::FromBytes;

/// Counts of records.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    /// Trades, an auction's too.
    pub(super) trades: u64,
    /// Lots of all trades.
    pub(super) quantity: u64,
    /// Trades of auctions.
    pub(super) crossed: u64,
    /// Stops that entered.
    pub(super) triggered: u64,
    /// Orders taken off, and meetings that took lots off both, to prevent a trade with oneself.
    pub(super) prevented: u64,
    /// Continuation steps.
    pub(super) steps: u64,
    /// The first message that was refused: its client reference and the reason.
    pub(super) refused: Option<(u32, &'static str)>,
}

impl Tally {
    /// Takes in whole records.
    pub(super) fn records(&mut self, mut bytes: &[u8]) {
        while let Ok((head, _)) = Head::read_from_prefix(bytes) {
            match Kind::from_number(head.kind) {
                Some(Kind::Filled) => {
                    let (filled, _) = Filled::read_from_prefix(bytes).expect("a whole record");
                    self.trades += 1;
                    self.quantity += u64::from(filled.lots);
                }
                Some(Kind::Crossed) => {
                    let (crossed, _) = Crossed::read_from_prefix(bytes).expect("a whole record");
                    self.trades += 1;
                    self.crossed += 1;
                    self.quantity += u64::from(crossed.lots);
                }
                Some(Kind::Triggered) => self.triggered += 1,
                Some(Kind::Decremented) => self.prevented += 1,
                Some(Kind::Removed) => {
                    let (removed, _) = Removed::read_from_prefix(bytes).expect("a whole record");
                    self.prevented += u64::from(removed.removal == Removal::SelfTrade as u8);
                }
                Some(Kind::Step) => self.steps += 1,
                Some(Kind::Message) => {
                    let (message, _) = Message::read_from_prefix(bytes).expect("a whole record");
                    if message.outcome == Outcome::Rejected as u8 {
                        let at = ring0_wire::inbound::at::REFERENCE + 4;
                        let reference = message.message[at..at + 4].try_into();
                        let reason = Reason::from_number(message.reason);
                        self.refused.get_or_insert((
                            u32::from_be_bytes(reference.expect("four bytes")),
                            reason.map_or("an unknown reason", Reason::name),
                        ));
                    }
                }
                _ => (),
            }
            let slots = usize::from(head.slots.max(1));
            bytes = bytes.get(slots * SLOT_LEN..).unwrap_or(&[]);
        }
    }
}
