//! The trades in a ring's records, and where a run has to stop.

use crate::References;
use ring0_engine::Reason;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{Filled, Kind, Message, Outcome};
use ring0_stream::lobstrm::{Checksum, Trades};
use std::mem::offset_of;

/// Why a run cannot go on as it was cut.
pub enum Stop {
    /// The order of this number reached the fill cap, and what followed it in its packet was refused.
    FillCap(u64),
    /// A message was refused for a reason that no other cut changes.
    Refused {
        /// Its client reference.
        reference: u32,
        /// Number of the reason.
        reason: u8,
    },
}

/// The trades in the records, folded as they come.
pub struct Fold<'a> {
    references: &'a References,
    checksum: Checksum,
    /// Reference by order id, which is the sequence of the command that entered it.
    entered: Vec<u32>,
    /// Reference of the last order that reached the fill cap.
    capped: Option<u32>,
    /// Where the run cannot go on, if it cannot.
    pub stop: Option<Stop>,
}

impl<'a> Fold<'a> {
    /// For so many messages; memory is touched here, before the clock starts.
    #[must_use]
    pub fn new(references: &'a References, messages: usize) -> Fold<'a> {
        Fold {
            references,
            checksum: Checksum::new(),
            entered: vec![u32::MAX; 3 * messages + 4096],
            capped: None,
            stop: None,
        }
    }

    /// What was traded so far.
    #[must_use]
    pub fn trades(&self) -> Trades {
        self.checksum.trades()
    }

    /// Takes in records: whole ones, 64-byte slots, in their order.
    ///
    /// # Panics
    /// The bytes do not end with a slot.
    #[inline]
    pub fn records(&mut self, mut bytes: &[u8]) {
        const LETTER: usize = offset_of!(Message, message);
        const REFERENCE: usize = LETTER + ring0_wire::inbound::at::REFERENCE + 4;
        let word = |bytes: &[u8], at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
        };
        while bytes.len() >= SLOT_LEN {
            let head = word(bytes, 0);
            let slots = (head >> 16 & 0xFF).max(1) as usize;
            if head & 0xFFFF == Kind::Filled as u64 {
                let maker = word(bytes, offset_of!(Filled, maker));
                let taker = word(bytes, offset_of!(Filled, taker));
                let price_lots = word(bytes, offset_of!(Filled, price));
                let [maker, taker] = [maker, taker].map(|id| {
                    let reference = self.entered.get(id as usize).copied();
                    self.references.order(reference.unwrap_or(0))
                });
                let (price, lots) = (price_lots as u32, (price_lots >> 32) as u32);
                self.checksum.trade(maker, taker, price, lots);
            } else if head & 0xFFFF == Kind::Message as u64 && bytes[LETTER] != b'z' {
                let reference = u32::from_be_bytes(
                    bytes[REFERENCE..REFERENCE + 4]
                        .try_into()
                        .expect("four bytes"),
                );
                self.message(
                    bytes[LETTER],
                    reference,
                    word(bytes, 8),
                    word(bytes, offset_of!(Message, outcome)),
                );
            }
            bytes = bytes.get(slots * SLOT_LEN..).unwrap_or(&[]);
        }
    }

    #[inline]
    fn message(&mut self, letter: u8, reference: u32, sequence: u64, result: u64) {
        let (outcome, reason) = (result as u8, (result >> 8) as u8);
        if outcome == Outcome::Rejected as u8 {
            let by_cap = [Reason::Continuing as u8, Reason::PacketFills as u8].contains(&reason);
            self.stop.get_or_insert(match self.capped {
                Some(capped) if by_cap => Stop::FillCap(self.references.order(capped)),
                _ => Stop::Refused { reference, reason },
            });
        }
        if letter == b'A' {
            if sequence as usize >= self.entered.len() {
                self.entered.resize(sequence as usize * 2, u32::MAX);
            }
            self.entered[sequence as usize] = reference;
            if outcome == Outcome::Continues as u8 {
                self.capped = Some(reference);
            }
        }
    }
}
