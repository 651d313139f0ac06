//! Statements: what an account had, what changed it, what it has; per asset, over a range of batches (CUSTODY 19).
//!
//! Always true: opening and counting lines sum to the closing balance, and each batch's stored balance is the one that the lines lead to.

use crate::id::{AccountId, AssetId, Epoch};
use crate::ledger::Ledger;
use crate::line::{AccountLines, LineKind, Source};
use crate::store::StoreError;
use ring0_channels::B256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::ops::RangeInclusive;

/// A line with its batch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatementLine {
    /// The batch that it is in.
    pub epoch: Epoch,
    /// What it is about.
    pub kind: LineKind,
    /// Base units; of a line that does not count what was moved.
    #[serde(with = "crate::decimal")]
    pub amount: i128,
    /// Whether it changed the balance.
    pub counts: bool,
    /// Where it comes from.
    pub source: Source,
}

/// An asset of a statement.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AssetStatement {
    /// The asset's name.
    pub asset: String,
    /// A whole unit is 10^decimals base units.
    pub decimals: u32,
    /// Before the first batch, base units.
    #[serde(with = "crate::decimal")]
    pub opening: i128,
    /// What changed it, oldest first.
    pub lines: Vec<StatementLine>,
    /// At the cut of the last batch, base units.
    #[serde(with = "crate::decimal")]
    pub closing: i128,
}

/// A statement. Its JSON is canonical: fields in this order, no spaces, amounts as text.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Statement {
    /// Whose.
    pub account: AccountId,
    /// First batch.
    pub from: Epoch,
    /// Last batch.
    pub to: Epoch,
    /// Assets that it had or that anything is written about, in the market's order.
    pub assets: Vec<AssetStatement>,
}

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// No such batches.
    #[error("batches {from} to {to} are asked for and {last} were cut; ask for some of these")]
    Range {
        /// First.
        from: u64,
        /// Last.
        to: u64,
        /// The last one that was cut.
        last: u64,
    },
    /// Lines are missing.
    #[error(
        "the lines of {account} in {epoch} are not in the store; delete the store, and it is made again from the journals"
    )]
    Missing {
        /// Whose.
        account: AccountId,
        /// Of which batch.
        epoch: Epoch,
    },
    /// Lines do not lead to a balance.
    #[error(
        "the lines of {account} lead to {computed} of {asset} in {epoch} and the store has {stored}; delete the store, and it is made again from the journals"
    )]
    DoesNotSum {
        /// Whose.
        account: AccountId,
        /// Of which asset.
        asset: AssetId,
        /// In which batch.
        epoch: Epoch,
        /// By the lines.
        computed: i128,
        /// Stored.
        stored: i128,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Statement {
    /// Walks back from the last batch that touched the account. `lines` gives the account's lines in a batch.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn new(
        ledger: &Ledger,
        account: AccountId,
        epochs: RangeInclusive<Epoch>,
        mut lines: impl FnMut(Epoch) -> Result<Option<AccountLines>, StoreError>,
    ) -> Result<Statement, StatementError> {
        let (from, to) = epochs.into_inner();
        let last = ledger.epoch();
        if from > to || from == Epoch(0) || to > last {
            return Err(StatementError::Range {
                from: from.0,
                to: to.0,
                last: last.0,
            });
        }
        let assets: Vec<AssetId> = ledger.venue().asset_ids().collect();
        // Balances behind the batch that is looked at, at first the last one.
        let at_cut = |asset: &AssetId| ledger.balance_at_cut(account, *asset);
        let mut balances: Vec<i128> = assets.iter().map(at_cut).collect();
        let mut closing = balances.clone();
        let mut found: Vec<Vec<StatementLine>> = vec![Vec::new(); assets.len()];
        let mut epoch = ledger.last_touched(account);
        while epoch >= from {
            let batch = lines(epoch)?.ok_or(StatementError::Missing { account, epoch })?;
            for stated in &batch.closing {
                let computed = balances.get(stated.asset.0 as usize).copied();
                if computed != Some(stated.balance) {
                    return Err(StatementError::DoesNotSum {
                        account,
                        asset: stated.asset,
                        epoch,
                        computed: computed.unwrap_or(0),
                        stored: stated.balance,
                    });
                }
            }
            for line in batch.lines.iter().rev() {
                let at = line.asset.0 as usize;
                let counts = line.kind.counts();
                if counts {
                    balances[at] -= line.amount;
                }
                if epoch <= to {
                    found[at].push(StatementLine {
                        epoch,
                        kind: line.kind,
                        amount: line.amount,
                        counts,
                        source: line.source,
                    });
                }
            }
            if epoch > to {
                closing.clone_from(&balances);
            }
            epoch = batch.previous;
        }
        let mut statement = Statement {
            account,
            from,
            to,
            assets: Vec::new(),
        };
        for (asset, mut lines) in assets.into_iter().zip(found) {
            let at = asset.0 as usize;
            let (opening, closing) = (balances[at], closing[at]);
            if lines.is_empty() && opening == 0 && closing == 0 {
                continue;
            }
            lines.reverse();
            let terms = &ledger.venue().assets()[at];
            statement.assets.push(AssetStatement {
                asset: terms.name.clone(),
                decimals: terms.decimals,
                opening,
                lines,
                closing,
            });
        }
        Ok(statement)
    }

    /// Whether each asset's lines sum from its opening to its closing balance: what a reader of the JSON checks.
    #[must_use]
    pub fn sums(&self) -> bool {
        self.assets.iter().all(|it| {
            let mut counting = it.lines.iter().filter(|line| line.counts);
            // Whoever checks one has it from somebody else: its numbers may be anything.
            let sum = counting.try_fold(it.opening, |sum, line| sum.checked_add(line.amount));
            sum == Some(it.closing)
        })
    }

    /// Canonical JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("no map with keys that are not text, and no float")
    }

    /// SHA-256 of the canonical JSON: what is signed beside the root of its last batch.
    #[must_use]
    pub fn hash(&self) -> B256 {
        B256::new(Sha256::digest(self.json()).into())
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "Statement of account #{}, batches {} to {}\n",
            self.account.0, self.from.0, self.to.0
        );
        let mut say = |line: std::fmt::Arguments| {
            let _ = text.write_fmt(line); // to a string it cannot fail
            text.push('\n');
        };
        for asset in &self.assets {
            let whole = |amount| whole(amount, asset.decimals);
            say(format_args!("\n{}", asset.asset));
            say(format_args!(
                "  {:<44} {:>30}",
                "opening",
                whole(asset.opening)
            ));
            for line in &asset.lines {
                let source = match line.source {
                    Source::Batch => String::new(),
                    Source::Record { shard, sequence } => {
                        format!("shard {shard} record {sequence}")
                    }
                    Source::Fact(number) => format!("fact {number}"),
                };
                let name = match line.counts {
                    true => line.kind.name().to_owned(),
                    false => format!("({})", line.kind.name()),
                };
                let left = format!("{:>8} {name:<20} {source}", line.epoch.0);
                say(format_args!("  {left:<44} {:>30}", whole(line.amount)));
            }
            say(format_args!(
                "  {:<44} {:>30}",
                "closing",
                whole(asset.closing)
            ));
        }
        say(format_args!("\nsha256 {}", self.hash()));
        text
    }
}

/// 12.50 of an amount in base units.
fn whole(amount: i128, decimals: u32) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let digits = format!(
        "{:0width$}",
        amount.unsigned_abs(),
        width = decimals as usize + 1
    );
    let (whole, fraction) = digits.split_at(digits.len() - decimals as usize);
    match decimals {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_whole() {
        assert_eq!(whole(-1_234_500, 6), "-1.234500");
        assert_eq!(whole(7, 2), "0.07");
        assert_eq!(whole(7, 0), "7");
        assert_eq!(whole(0, 3), "0.000");
    }
}
