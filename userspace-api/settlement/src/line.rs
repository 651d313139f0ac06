//! Statement lines: what changed a customer's balance, netted per account, asset and batch for trades, one by one for all else.
//!
//! A balance is all that the venue owes an account in an asset: in shards, on its way, pending, dust. What only moves inside it (a transfer between
//! shards, a credit into one, a withdrawal asked for or lapsed) is a line that does not count.

use crate::id::{AccountId, AssetId, Epoch};
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a line is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum LineKind {
    /// Came in by a rail.
    Deposit = 1,
    /// Given by the market file or by hand.
    Granted = 2,
    /// Taken by hand.
    Revoked = 3,
    /// A withdrawal was paid.
    Withdrawal = 4,
    /// A channel was closed or settled and paid this.
    Exit = 5,
    /// A channel was closed and the hub still owes this: it is a claim now.
    Claim = 6,
    /// Received by trades.
    Received = 7,
    /// Given by trades.
    Given = 8,
    /// Fees of trades, less rebates.
    Fee = 9,
    /// A trade was taken back.
    Bust = 10,
    /// Moved into a shard. Does not count.
    TransferIn = 11,
    /// Moved out of a shard. Does not count.
    TransferOut = 12,
    /// A withdrawal was asked for, or dust joined one. Does not count.
    WithdrawalAsked = 13,
    /// A withdrawal lapsed. Does not count.
    WithdrawalLapsed = 14,
}

impl LineKind {
    const ALL: [LineKind; 14] = [
        LineKind::Deposit,
        LineKind::Granted,
        LineKind::Revoked,
        LineKind::Withdrawal,
        LineKind::Exit,
        LineKind::Claim,
        LineKind::Received,
        LineKind::Given,
        LineKind::Fee,
        LineKind::Bust,
        LineKind::TransferIn,
        LineKind::TransferOut,
        LineKind::WithdrawalAsked,
        LineKind::WithdrawalLapsed,
    ];

    /// Whether it changes the balance.
    #[must_use]
    pub fn counts(self) -> bool {
        (self as u8) < LineKind::TransferIn as u8
    }

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LineKind::Deposit => "deposit",
            LineKind::Granted => "granted",
            LineKind::Revoked => "revoked",
            LineKind::Withdrawal => "withdrawal",
            LineKind::Exit => "exit",
            LineKind::Claim => "claim",
            LineKind::Received => "received",
            LineKind::Given => "given",
            LineKind::Fee => "fee",
            LineKind::Bust => "bust",
            LineKind::TransferIn => "transfer-in",
            LineKind::TransferOut => "transfer-out",
            LineKind::WithdrawalAsked => "withdrawal-asked",
            LineKind::WithdrawalLapsed => "withdrawal-lapsed",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<LineKind> {
        LineKind::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// All trades of the batch.
    Batch,
    /// A record.
    Record {
        /// Of which shard.
        shard: u32,
        /// Its sequence.
        sequence: u64,
    },
    /// A fact, by its number.
    Fact(u64),
}

/// One line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Line {
    /// Of which asset.
    pub asset: AssetId,
    /// What it is about.
    pub kind: LineKind,
    /// Base units; negative: out of the account. Of a line that does not count: what was moved.
    #[serde(with = "crate::decimal")]
    pub amount: i128,
    /// Where it comes from.
    pub source: Source,
}

/// What an account has of an asset when a batch is cut.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Closing {
    /// The asset.
    pub asset: AssetId,
    /// Base units.
    #[serde(with = "crate::decimal")]
    pub balance: i128,
}

/// The lines of an account in a batch that touched it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AccountLines {
    /// Whose.
    pub account: AccountId,
    /// The batch.
    pub epoch: Epoch,
    /// The last batch before that touched it; 0: none.
    pub previous: Epoch,
    /// In the order in which they happened, the trades last.
    pub lines: Vec<Line>,
    /// Of each asset that a line is about.
    pub closing: Vec<Closing>,
}

/// A line in the store.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct Stored {
    amount: i128,
    number: u64,
    asset: u32,
    kind: u8,
    source: u8,
    shard: u8,
    reserved: u8,
}
const _: () = assert!(size_of::<Stored>() == 32);

impl Line {
    pub(crate) const LEN: usize = size_of::<Stored>();

    pub(crate) fn to_bytes(self) -> [u8; Line::LEN] {
        let (source, shard, number) = match self.source {
            Source::Batch => (0, 0, 0),
            Source::Record { shard, sequence } => (1, shard as u8, sequence), // below `SHARDS_MAX`
            Source::Fact(number) => (2, 0, number),
        };
        let stored = Stored {
            amount: self.amount.to_le(),
            number: number.to_le(),
            asset: self.asset.0.to_le(),
            kind: self.kind as u8,
            source,
            shard,
            reserved: 0,
        };
        zerocopy::transmute!(stored)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Line> {
        let stored = Stored::read_from_bytes(bytes).ok()?;
        let number = u64::from_le(stored.number);
        Some(Line {
            asset: AssetId(u32::from_le(stored.asset)),
            kind: LineKind::from_number(stored.kind)?,
            amount: i128::from_le(stored.amount),
            source: match stored.source {
                0 => Source::Batch,
                1 => Source::Record {
                    shard: stored.shard.into(),
                    sequence: number,
                },
                2 => Source::Fact(number),
                _ => return None,
            },
        })
    }
}

/// Seven bits a byte, the lowest first, the eighth says that more follow: most amounts are small, and lines are most of what a cut writes.
fn put(bytes: &mut Vec<u8>, mut number: u128) {
    while number > 0x7F {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Signed numbers by their distance from zero, the sign last.
fn put_signed(bytes: &mut Vec<u8>, number: i128) {
    put(bytes, (number << 1 ^ number >> 127).cast_unsigned());
}

fn get(bytes: &mut &[u8]) -> Option<u128> {
    let mut number = 0_u128;
    for shift in (0..128).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u128::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn get_signed(bytes: &mut &[u8]) -> Option<i128> {
    let number = get(bytes)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

fn get_as<N: TryFrom<u128>>(bytes: &mut &[u8]) -> Option<N> {
    N::try_from(get(bytes)?).ok()
}

impl AccountLines {
    /// Previous epoch, number of lines, lines, closings.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.lines.len() * 12 + self.closing.len() * 8);
        put(&mut bytes, self.previous.0.into());
        put(&mut bytes, self.lines.len() as u128);
        for line in &self.lines {
            bytes.push(line.kind as u8);
            put(&mut bytes, line.asset.0.into());
            put_signed(&mut bytes, line.amount);
            match line.source {
                Source::Batch => bytes.push(0),
                Source::Record { shard, sequence } => {
                    bytes.push(1);
                    put(&mut bytes, shard.into());
                    put(&mut bytes, sequence.into());
                }
                Source::Fact(number) => {
                    bytes.push(2);
                    put(&mut bytes, number.into());
                }
            }
        }
        for closing in &self.closing {
            put(&mut bytes, closing.asset.0.into());
            put_signed(&mut bytes, closing.balance);
        }
        bytes
    }

    pub(crate) fn from_bytes(
        account: AccountId,
        epoch: Epoch,
        mut bytes: &[u8],
    ) -> Option<AccountLines> {
        let rest = &mut bytes;
        let previous = Epoch(get_as(rest)?);
        let count: usize = get_as(rest)?;
        let mut lines = Vec::new();
        for _ in 0..count {
            let kind = LineKind::from_number(get_as(rest)?)?;
            let asset = AssetId(get_as(rest)?);
            let amount = get_signed(rest)?;
            let source = match get(rest)? {
                0 => Source::Batch,
                1 => Source::Record {
                    shard: get_as(rest)?,
                    sequence: get_as(rest)?,
                },
                2 => Source::Fact(get_as(rest)?),
                _ => return None,
            };
            lines.push(Line {
                asset,
                kind,
                amount,
                source,
            });
        }
        let mut closing = Vec::new();
        while !rest.is_empty() {
            closing.push(Closing {
                asset: AssetId(get_as(rest)?),
                balance: get_signed(rest)?,
            });
        }
        Some(AccountLines {
            account,
            epoch,
            previous,
            lines,
            closing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_from_their_bytes() {
        let line = |kind, amount, source| Line {
            asset: AssetId(7),
            kind,
            amount,
            source,
        };
        let record = Source::Record {
            shard: 3,
            sequence: u64::MAX,
        };
        let mut lines = vec![
            line(LineKind::Deposit, i128::MAX, Source::Fact(12)),
            line(LineKind::Bust, i128::MIN, record),
        ];
        lines.extend(LineKind::ALL.map(|kind| line(kind, -1, Source::Batch)));
        let whole = AccountLines {
            account: AccountId(5),
            epoch: Epoch(8),
            previous: Epoch(6),
            lines,
            closing: vec![Closing {
                asset: AssetId(7),
                balance: -3,
            }],
        };
        let bytes = whole.to_bytes();
        let read = |bytes: &[u8]| AccountLines::from_bytes(AccountId(5), Epoch(8), bytes);
        assert_eq!(read(&bytes), Some(whole));
        for end in 0..bytes.len() {
            let cut = read(&bytes[..end]);
            // Cut exactly before the closing it is a shorter entry; the store keeps lengths.
            assert!(cut.is_none() || end == bytes.len() - 2, "{end}");
        }
    }
}
