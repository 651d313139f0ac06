//! Reconciliation at a cut: the four equations of CUSTODY 13, per asset and token of a hub, from figures that come from elsewhere.
//!
//! Each side of an equation is computed from other numbers than the other side: cells one by one, control totals kept beside them, trees that were built
//! and signed, what the engine and the chain say. Rule: `docs/settlement.md#equations`.

use crate::batch::Batch;
use crate::book::Own;
use crate::error::LedgerError;
use crate::id::{AssetId, PeerId};
use crate::ledger::Ledger;
use crate::settlement::{Records, SettlementError};
use crate::venue::PlaceIndex;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an engine has of an asset in all its shards at the cut, engine units: available and held of all accounts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EngineFigure {
    /// The asset.
    pub asset: AssetId,
    /// Engine units.
    pub units: u128,
}

/// A token of a hub at the confirmed height, base units.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HubFigures {
    /// The token at the hub.
    pub place: PlaceIndex,
    /// The confirmed height.
    pub height: u64,
    /// What the hub's address has of the token.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
    /// What the hub says that its vault has.
    #[serde(with = "crate::decimal")]
    pub vault: u128,
    /// What it set aside for claims.
    #[serde(with = "crate::decimal")]
    pub claims: u128,
}

/// A rail without channels, base units.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RailFigure {
    /// The rail.
    pub rail: PeerId,
    /// The asset.
    pub asset: AssetId,
    /// What it has.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
}

/// What a batch's tree of a token sums to, base units: of the tree that was built, not of the ledger's leaves.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TreeFigure {
    /// The token at the hub.
    pub place: PlaceIndex,
    /// Σ balance.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
}

/// Figures that come from elsewhere, all of one cut. A figure that is missing counts as zero.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Figures {
    /// By asset, each once.
    pub engine: Vec<EngineFigure>,
    /// By place, each once.
    pub trees: Vec<TreeFigure>,
    /// By place, each once.
    pub hubs: Vec<HubFigures>,
    /// By rail and asset, each once; only of rails without places.
    pub rails: Vec<RailFigure>,
}

/// Which equation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Equation {
    /// (i) Σ engine (available + held) + what is beside it (in transit, arriving, pending, dust, claims) = Σ customers' accounts.
    Customers,
    /// (i) Every credit that a shard recorded from a rail is backed by a fact.
    Credits,
    /// (ii) Σ customers' accounts = Σ entitlements in the trees + what is in no channel.
    Entitlements,
    /// (iii) Hub balance = Σ escrow + vault + claims.
    Hub,
    /// (iv) Hub balances and rails − Σ customers = fees, bond, equity and the operator's other books.
    Operator,
}

impl fmt::Display for Equation {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Equation::Customers => "(i) engine, pending and dust = customers",
            Equation::Credits => "(i) credits = facts",
            Equation::Entitlements => "(ii) customers = entitlements",
            Equation::Hub => "(iii) hub = escrow, vault and claims",
            Equation::Operator => "(iv) hub less customers = operator",
        })
    }
}

/// An equation that does not hold.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Difference {
    /// The asset: what is to be halted.
    pub asset: AssetId,
    /// Its name.
    pub name: String,
    /// The token at the hub, where it is about one.
    pub place: Option<PlaceIndex>,
    /// Which.
    pub equation: Equation,
    /// Its left side, base units.
    #[serde(with = "crate::decimal")]
    pub left: i128,
    /// Its right side, base units.
    #[serde(with = "crate::decimal")]
    pub right: i128,
    /// The first record that the sides differ behind, where it is known: shard and sequence.
    pub first: Option<(PeerId, u64)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            name, left, right, ..
        } = self;
        write!(
            to,
            "{name}: {}: {left} and {right} base units",
            self.equation
        )?;
        if let Some(place) = self.place {
            write!(to, ", at place {place}")?;
        }
        if let Some((shard, sequence)) = self.first {
            write!(to, ", first behind record {sequence} of {shard}")?;
        }
        Ok(())
    }
}

/// Every equation that does not hold, by asset. The ledger stands at the batch's cut: reconcile before the next record is taken.
#[must_use]
pub fn reconcile(ledger: &Ledger, batch: &Batch, figures: &Figures) -> Vec<Difference> {
    let venue = ledger.venue();
    let (control, sums, beside) = (ledger.control(), ledger.sums(), ledger.aside_sums());
    let unbacked = ledger.unbacked();
    let mut differences = Vec::new();
    for asset in venue.asset_ids() {
        let at = asset.0 as usize;
        let mut check = |equation, place, left: i128, right: i128, first| {
            if left != right {
                differences.push(Difference {
                    asset,
                    name: venue.assets()[at].name.clone(),
                    place,
                    equation,
                    left,
                    right,
                    first,
                });
            }
        };
        let unit = venue.unit(asset);
        let engine = figures.engine.iter().filter(|it| it.asset == asset);
        let engine: u128 = engine.map(|it| it.units * unit).sum();
        let engine = engine.cast_signed() + beside[at];
        check(Equation::Customers, None, engine, sums[at], None);
        check(Equation::Customers, None, sums[at], control[at], None);

        let unbacked = unbacked.iter().filter(|it| it.asset == asset);
        let first = unbacked.clone().next().map(|it| (it.shard, it.sequence));
        let sum: u128 = unbacked.map(|it| u128::from(it.units) * unit).sum();
        check(Equation::Credits, None, sum.cast_signed(), 0, first);

        let here = |place: PlaceIndex| {
            venue
                .places()
                .get(place as usize)
                .is_some_and(|it| it.asset == asset)
        };
        let trees = figures.trees.iter().filter(|it| here(it.place));
        let trees: u128 = trees.map(|it| it.balance).sum();
        let outside = batch.outside.get(at).copied().unwrap_or(0);
        let cut = batch.customers.get(at).copied().unwrap_or(0);
        let entitled = trees.cast_signed() + outside;
        check(Equation::Entitlements, None, cut, entitled, None);

        let mut held = 0_i128;
        for (place, _) in (0..).zip(venue.places()).filter(|(place, _)| here(*place)) {
            let hub = figures.hubs.iter().find(|it| it.place == place);
            let (balance, vault, claims) =
                hub.map_or((0, 0, 0), |it| (it.balance, it.vault, it.claims));
            let parts = ledger.escrow(place) + vault + claims;
            let (balance, parts) = (balance.cast_signed(), parts.cast_signed());
            check(Equation::Hub, Some(place), balance, parts, None);
            held += balance;
        }
        let rails = figures.rails.iter().filter(|it| it.asset == asset);
        held += rails.map(|it| it.balance).sum::<u128>().cast_signed();
        let own = ledger.operator(asset);
        check(Equation::Operator, None, held - control[at], own, None);
    }
    differences
}

/// Finds the first record behind which the ledger and a shard differ about an asset: takes the shard's records up to `until` one by one into a ledger that
/// stands before them, and asks `engine` after each what the shard had then, in engine units (available and held of all accounts, by a replica that
/// is carried along; `None` where it is not asked or in the middle of a command). `None`: they agree to the end, so that the figure that differed is not
/// what the records lead to.
///
/// # Errors
/// The records cannot be taken, or what `engine` gives.
pub fn first_difference<E: From<SettlementError>>(
    ledger: &mut Ledger,
    shard: PeerId,
    asset: AssetId,
    records: &mut dyn Records,
    until: u64,
    mut engine: impl FnMut(&[u8]) -> Result<Option<u128>, E>,
) -> Result<Option<ShardDifference>, E> {
    let index = ledger.venue().shard_index(shard);
    let index = index.ok_or(SettlementError::Ledger(LedgerError::UnknownShard(shard)))?;
    while ledger.at_of(index) < until {
        let record = records.next().map_err(SettlementError::from)?;
        let Some(record) = record else { break };
        ledger
            .take(shard, record)
            .map_err(SettlementError::Ledger)?;
        let Some(units) = engine(record)? else {
            continue;
        };
        let (engine, ledger_has) = (units.cast_signed(), ledger.in_shard(index, asset));
        if engine != ledger_has {
            return Ok(Some(ShardDifference {
                sequence: ledger.at_of(index),
                engine,
                ledger: ledger_has,
            }));
        }
    }
    Ok(None)
}

/// Where a shard and the ledger part, and what each has behind that record, engine units.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShardDifference {
    /// The record.
    pub sequence: u64,
    /// By the engine.
    pub engine: i128,
    /// By the ledger.
    pub ledger: i128,
}

/// What the operator has of an asset by its books, base units: the parts of equation (iv)'s right side, for people.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OperatorBooks {
    /// Fees of all schedules.
    #[serde(with = "crate::decimal")]
    pub fees: i128,
    /// What it put in.
    #[serde(with = "crate::decimal")]
    pub equity: i128,
    /// What it pledged.
    #[serde(with = "crate::decimal")]
    pub bond: i128,
    /// All else: what rails cost or left over, what was given to accounts by hand.
    #[serde(with = "crate::decimal")]
    pub other: i128,
}

impl OperatorBooks {
    /// By the ledger.
    #[must_use]
    pub fn of(ledger: &Ledger, asset: AssetId) -> OperatorBooks {
        let fees = ledger.fees().filter(|(it, ..)| it.asset == asset);
        let fees = fees.map(|(.., amount)| amount).sum();
        let (equity, bond) = (ledger.own(Own::Equity, asset), ledger.own(Own::Bond, asset));
        OperatorBooks {
            fees,
            equity,
            bond,
            other: ledger.operator(asset) - fees - equity - bond,
        }
    }
}
