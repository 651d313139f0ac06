//! The chart of accounts: whose what is, and where it is kept. Rule: `docs/settlement.md#chart-of-accounts`.
//!
//! Always true: amounts are credits in base units. What is owed to somebody is positive, what is held is negative, so that the postings of an
//! entry, and all books of an asset together, sum to zero.

use crate::id::{AccountId, AssetId, PeerId};
use crate::venue::PlaceIndex;
use serde::{Deserialize, Serialize};

/// What a fee was taken for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeePart {
    /// Paid by takers.
    Taker,
    /// Paid by makers.
    Maker,
    /// Paid to makers: negative.
    Rebate,
    /// Paid by both sides of an auction's fill.
    Auction,
    /// Given back or taken again with a trade that was taken back.
    Bust,
}

impl FeePart {
    /// All of them.
    pub const ALL: [FeePart; 5] = [
        FeePart::Taker,
        FeePart::Maker,
        FeePart::Rebate,
        FeePart::Auction,
        FeePart::Bust,
    ];
}

/// What the operator put in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Own {
    /// Cover for customers' winnings and the venue's own money.
    Equity,
    /// A pledge that is not to be used.
    Bond,
}

/// A book of the ledger; each has an amount an asset.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Book {
    /// A customer's: what a shard has of it, available and held together.
    Trading {
        /// The shard.
        shard: PeerId,
        /// Whose.
        account: AccountId,
    },
    /// A customer's: taken out of one shard and not yet in another. Below zero where the other shard's records were read first.
    Transit {
        /// Whose.
        account: AccountId,
    },
    /// A customer's: debited for a withdrawal that is neither paid nor lapsed. Below zero where somebody left by the chain before the debit.
    Pending {
        /// Whose.
        account: AccountId,
    },
    /// A customer's: came in by a rail, not yet in a shard.
    Arriving {
        /// Whose.
        account: AccountId,
    },
    /// A customer's: less than an engine unit (CUSTODY 15).
    Dust {
        /// Whose.
        account: AccountId,
    },
    /// Former customers': what a hub owes for channels that it could not pay whole.
    Claims {
        /// The token at the hub.
        place: PlaceIndex,
    },
    /// Apart: seen on the way and not confirmed. Nobody can trade it.
    Unconfirmed {
        /// Whose it will be.
        account: AccountId,
    },
    /// Apart: where the unconfirmed is, negative.
    Awaited {
        /// The rail.
        rail: PeerId,
    },
    /// The operator's: fees of one schedule.
    Fees {
        /// The shard that took them.
        shard: PeerId,
        /// The schedule's number in that shard ([`Schedule`](crate::schedule::Schedule)).
        schedule: u32,
        /// For what.
        part: FeePart,
    },
    /// The operator's: what rails cost (negative) or left over.
    RailFees {
        /// The rail.
        rail: PeerId,
    },
    /// The operator's: what it put in.
    Own(Own),
    /// The operator's: given to accounts by the market file or by hand, without anything that came in for it; negative.
    Granted,
    /// Held: what channels of a token have of their own, negative.
    Escrow {
        /// The token at the hub.
        place: PlaceIndex,
    },
    /// Held: the vault, negative.
    Vault {
        /// The token at the hub.
        place: PlaceIndex,
    },
    /// Held: set aside for claims, negative.
    Reserve {
        /// The token at the hub.
        place: PlaceIndex,
    },
    /// Held by a rail without channels, negative.
    Rail {
        /// The rail.
        rail: PeerId,
    },
}

/// Whose a book is, and on which side.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Owed to customers.
    Customer,
    /// Neither yet.
    Apart,
    /// The operator's.
    Operator,
    /// Held.
    Holding,
}

impl Book {
    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Book::Trading { .. }
            | Book::Transit { .. }
            | Book::Pending { .. }
            | Book::Arriving { .. }
            | Book::Dust { .. }
            | Book::Claims { .. } => Class::Customer,
            Book::Unconfirmed { .. } | Book::Awaited { .. } => Class::Apart,
            Book::Fees { .. } | Book::RailFees { .. } | Book::Own(_) | Book::Granted => {
                Class::Operator
            }
            Book::Escrow { .. } | Book::Vault { .. } | Book::Reserve { .. } | Book::Rail { .. } => {
                Class::Holding
            }
        }
    }

    /// The customer whose it is.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match *self {
            Book::Trading { account, .. }
            | Book::Transit { account }
            | Book::Pending { account }
            | Book::Arriving { account }
            | Book::Dust { account } => Some(account),
            _ => None,
        }
    }

    /// Twelve bytes that order books: a tag and what tells books of a kind apart.
    #[must_use]
    pub fn key(&self) -> [u8; 12] {
        let (tag, first, second, third) = match *self {
            Book::Trading { shard, account } => (1, shard.0, account.0, 0),
            Book::Transit { account } => (2, 0, account.0, 0),
            Book::Pending { account } => (3, 0, account.0, 0),
            Book::Arriving { account } => (4, 0, account.0, 0),
            Book::Dust { account } => (5, 0, account.0, 0),
            Book::Claims { place } => (6, 0, place, 0),
            Book::Unconfirmed { account } => (7, 0, account.0, 0),
            Book::Awaited { rail } => (8, rail.0, 0, 0),
            Book::Fees {
                shard,
                schedule,
                part,
            } => (9, shard.0, schedule, part as u8),
            Book::RailFees { rail } => (10, rail.0, 0, 0),
            Book::Own(own) => (11, 0, 0, own as u8),
            Book::Granted => (12, 0, 0, 0),
            Book::Escrow { place } => (13, 0, place, 0),
            Book::Vault { place } => (14, 0, place, 0),
            Book::Reserve { place } => (15, 0, place, 0),
            Book::Rail { rail } => (16, rail.0, 0, 0),
        };
        let mut key = [0; 12];
        key[0] = tag;
        key[1..5].copy_from_slice(&first.to_be_bytes());
        key[5..9].copy_from_slice(&second.to_be_bytes());
        key[9] = third;
        key
    }

    /// The book of a [`key`](Book::key).
    #[must_use]
    pub fn from_key(key: &[u8; 12]) -> Option<Book> {
        let word = |at: usize| {
            let bytes = key[at..at + 4].try_into().unwrap_or_default();
            u32::from_be_bytes(bytes)
        };
        let (first, second, third) = (PeerId(word(1)), word(5), usize::from(key[9]));
        let account = AccountId(second);
        Some(match key[0] {
            1 => Book::Trading {
                shard: first,
                account,
            },
            2 => Book::Transit { account },
            3 => Book::Pending { account },
            4 => Book::Arriving { account },
            5 => Book::Dust { account },
            6 => Book::Claims { place: second },
            7 => Book::Unconfirmed { account },
            8 => Book::Awaited { rail: first },
            9 => Book::Fees {
                shard: first,
                schedule: second,
                part: *FeePart::ALL.get(third)?,
            },
            10 => Book::RailFees { rail: first },
            11 => Book::Own(*[Own::Equity, Own::Bond].get(third)?),
            12 => Book::Granted,
            13 => Book::Escrow { place: second },
            14 => Book::Vault { place: second },
            15 => Book::Reserve { place: second },
            16 => Book::Rail { rail: first },
            _ => return None,
        })
    }
}

/// One line of an entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Posting {
    /// The book.
    pub book: Book,
    /// Of which asset.
    pub asset: AssetId,
    /// Credit in base units; negative: a debit.
    #[serde(with = "crate::decimal")]
    pub amount: i128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_order_books() {
        let (account, shard, rail) = (AccountId(70_000), PeerId(3), PeerId(7));
        let mut books = vec![
            Book::Trading { shard, account },
            Book::Transit { account },
            Book::Pending { account },
            Book::Arriving { account },
            Book::Dust { account },
            Book::Claims { place: 2 },
            Book::Unconfirmed { account },
            Book::Awaited { rail },
            Book::RailFees { rail },
            Book::Own(Own::Equity),
            Book::Own(Own::Bond),
            Book::Granted,
            Book::Escrow { place: 2 },
            Book::Vault { place: 2 },
            Book::Reserve { place: 2 },
            Book::Rail { rail },
        ];
        books.extend(FeePart::ALL.map(|part| Book::Fees {
            shard,
            schedule: 9,
            part,
        }));
        books.sort();
        for pair in books.windows(2) {
            assert!(pair[0].key() < pair[1].key(), "{pair:?}");
        }
        for book in books {
            assert_eq!(Book::from_key(&book.key()), Some(book));
        }
        assert_eq!(Book::from_key(&[0; 12]), None);
    }
}
