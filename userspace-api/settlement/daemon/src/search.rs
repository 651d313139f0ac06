//! Where the figures of a cut part: which record, fact, row of the store, channel or block it is (CUSTODY 13).
//!
//! The asset stands still before this begins. A thread of its own makes everything anew from the journals and compares, step by step, with what the ledger
//! had at the cut and with what others say; ledger and desk go on meanwhile. One search at a time. Memory: three ledgers beside the one that works, and a
//! replica of one shard. Rule: `docs/settled.md#differences`; the order: `docs/decisions/0093-differences.md`.

mod chain;
mod derived;
mod shard;

use crate::config::Config;
use crate::desk::Message;
use crate::follower::venue;
use crate::tail::Tail;
use derived::Derived;
use ring0_channels::B256;
use ring0_channels::life::Phase;
use ring0_settlement::{
    AssetId, Difference, Equation, FactReader, Figures, Ledger, PeerId, PlaceIndex, Records,
    RowDifference, Step, Wrong, first_differing_row, imbalance, rebuild, step_behind,
};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

/// Steps between two looks at a ledger that is made anew: a look adds up every account.
const LOOK_EVERY: u64 = 1 << 16;
/// The thread gives way to those that work: nice values.
const NICE: i32 = 10;

/// What the desk has of a cut, from elsewhere than the ledger.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    pub(crate) figures: Figures,
    /// By place of the shard: engine units by asset, where the cut was compared with the shards themselves.
    pub(crate) live: BTreeMap<u32, Vec<u128>>,
    /// By channel, what the trees have, base units.
    pub(crate) states: Vec<(B256, u128)>,
    /// Assets that stood still at the cut: the trees have what was signed last of them.
    pub(crate) halted: Vec<u32>,
}

/// What is searched for, and in what.
#[derive(Debug)]
pub(crate) struct Search {
    /// As it was at the cut.
    pub(crate) ledger: Ledger,
    pub(crate) facts: FactReader,
    pub(crate) differences: Vec<Difference>,
    pub(crate) elsewhere: Elsewhere,
    /// By asset and place: the height of the last cut whose figures agreed.
    pub(crate) agreed: BTreeMap<AssetId, BTreeMap<PlaceIndex, u64>>,
}

/// Where the figures of an asset part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum First {
    /// The ledger's journal has another fact than the daemon's own journal leads to.
    Fact {
        number: u64,
        journal: String,
        derived: String,
    },
    /// Records and facts are in order: the store is not what they lead to.
    Row(RowDifference),
    /// A record is not what the engine makes of the commands before it.
    Record {
        shard: String,
        sequence: u64,
        what: String,
    },
    /// The ledger's own postings do not add up.
    Posting(String, Wrong),
    /// Everything that is recorded agrees: the shard's memory has another amount than its records lead to.
    Memory {
        shard: String,
        sequence: u64,
        has: u128,
        records: i128,
    },
    /// A channel has another balance in the tree than in the ledger.
    Channel {
        channel: B256,
        ledger: String,
        tree: String,
    },
    /// From this block on the hub has another amount than its channels and its vault.
    Block {
        hub: String,
        height: u64,
        has: i128,
        parts: i128,
        /// Whether the node could say that the block before agrees.
        is_first: bool,
    },
    /// The chain tells something else than what was journaled of it.
    Told {
        hub: String,
        height: u64,
        journal: String,
        chain: String,
    },
    /// It cannot be told.
    Unknown(String),
}

impl fmt::Display for First {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            First::Fact {
                number,
                journal,
                derived,
            } => write!(
                to,
                "fact {number}: the ledger's journal has {journal}, settled.log leads to {derived}"
            ),
            First::Row(row) => write!(
                to,
                "records and facts agree, and the ledger's store differs from its journals (store and journals): {row}"
            ),
            First::Record {
                shard,
                sequence,
                what,
            } => write!(to, "record {sequence} of {shard}: {what}"),
            First::Posting(step, Wrong { left, right, .. }) => write!(
                to,
                "behind {step} the ledger's own books do not add up: {left} and {right} base units"
            ),
            First::Memory {
                shard,
                sequence,
                has,
                records,
            } => write!(
                to,
                "records agree: the memory of {shard} has {has} engine units, its records up to {sequence} lead to {records}"
            ),
            First::Channel {
                channel,
                ledger,
                tree,
            } => write!(
                to,
                "channel {channel}: {ledger} in the ledger, {tree} in the tree"
            ),
            First::Block {
                hub,
                height,
                has,
                parts,
                is_first,
            } => {
                let since = match is_first {
                    true => "from block",
                    false => "at block, and perhaps before,",
                };
                write!(
                    to,
                    "{since} {height} of {hub} on the hub has {has}, its channels and its vault {parts}"
                )
            }
            First::Told {
                hub,
                height,
                journal,
                chain,
            } => write!(
                to,
                "block {height} of {hub}: settled.log has {journal}, the node tells {chain}"
            ),
            First::Unknown(why) => write!(to, "not found: {why}"),
        }
    }
}

impl Search {
    /// Begins, in a thread that sets `busy` back when it is over. Says to the desk what it finds, asset by asset.
    pub(crate) fn begin(self, config: Config, desk: Sender<Message>, busy: Arc<AtomicBool>) {
        std::thread::spawn(move || {
            // Refused it searches at the usual pace.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
            let mut told = Vec::new();
            let ended = self.all(&config, &mut |asset, first| {
                told.push(asset);
                let first = first.to_string();
                let _ = desk.send(Message::Located { asset, first }); // the desk has ended
            });
            if let Err(why) = ended {
                for asset in self.assets().into_iter().filter(|it| !told.contains(it)) {
                    let first = First::Unknown(why.clone()).to_string();
                    let _ = desk.send(Message::Located { asset, first }); // the desk has ended
                }
            }
            busy.store(false, Ordering::Release);
        });
    }

    fn assets(&self) -> Vec<AssetId> {
        let mut all: Vec<AssetId> = self.differences.iter().map(|it| it.asset).collect();
        all.dedup();
        all
    }

    fn of(&self, asset: AssetId, equation: Equation) -> Option<&Difference> {
        let mut all = self.differences.iter();
        all.find(|it| (it.asset, it.equation) == (asset, equation))
    }

    fn all(&self, config: &Config, tell: &mut dyn FnMut(AssetId, First)) -> Result<(), String> {
        let until = self.ledger.facts();
        let derived = match derived::compare(config, &self.facts, until)? {
            Ok(derived) => derived,
            Err(first) => {
                // Whatever stands on a wrong fact is wrong with it.
                let all = self.assets();
                all.into_iter().for_each(|it| tell(it, first.clone()));
                return Ok(());
            }
        };
        let assets = self.assets();
        let (anew, good) = self.anew(config, until, &assets)?;
        for (asset, good) in assets.into_iter().zip(good) {
            if let Some(first) = self.one(config, &derived, &anew, asset, good)? {
                tell(asset, first);
            }
        }
        Ok(())
    }

    /// The ledger by the journals alone; and by asset the steps until the last look at which its books added up, where in the end they do not.
    fn anew(
        &self,
        config: &Config,
        until: u64,
        assets: &[AssetId],
    ) -> Result<(Ledger, Vec<Option<u64>>), String> {
        let venue = venue(config).map_err(|error| error.to_string())?;
        let mut good = vec![0; assets.len()];
        let mut tails = tails(config);
        let mut readers = readers(&mut tails);
        let made = rebuild(
            &venue,
            &self.facts,
            until,
            &mut readers,
            |ledger, _, steps| {
                if steps % LOOK_EVERY == 0 {
                    for (asset, good) in assets.iter().zip(&mut good) {
                        if imbalance(ledger, *asset).is_none() {
                            *good = steps;
                        }
                    }
                }
                ControlFlow::Continue(())
            },
        );
        let ledger = made
            .map_err(|error| format!("the journals do not lead to a ledger any more: {error}"))?;
        let is_wrong = |asset: &AssetId| imbalance(&ledger, *asset).is_some();
        let good = assets.iter().zip(good);
        let good = good
            .map(|(asset, good)| is_wrong(asset).then_some(good))
            .collect();
        Ok((ledger, good))
    }

    /// What is wrong about an asset. `None`: nothing but that it stood still already, and its states with it.
    fn one(
        &self,
        config: &Config,
        derived: &Derived,
        anew: &Ledger,
        asset: AssetId,
        good: Option<u64>,
    ) -> Result<Option<First>, String> {
        let row = first_differing_row(&self.ledger, anew, asset);
        let mut note = String::new();
        if row.is_some() || self.of(asset, Equation::Customers).is_some() {
            // Before a store is blamed its records have to be what the engine writes.
            for (place, shard) in config.shards.iter().enumerate() {
                match shard::first(config, place, asset, self.ledger.at()[place]) {
                    Ok(Some(first)) => return Ok(Some(first)),
                    Ok(None) => {}
                    Err(why) => {
                        note = format!(" (the records of {} were not replayed: {why})", shard.name);
                    }
                }
            }
        }
        if let Some(mut row) = row {
            row.row.push_str(&note);
            return Ok(Some(First::Row(row)));
        }
        if let Some(good) = good {
            return self.posting(config, asset, good).map(Some);
        }
        if let Some(found) = self.of(asset, Equation::Credits).and_then(|it| it.first) {
            let (shard, sequence) = found;
            return Ok(Some(First::Record {
                shard: shard_name(config, shard),
                sequence,
                what: "it credits what no fact brought".to_owned(),
            }));
        }
        if self.of(asset, Equation::Customers).is_some() {
            let memory = self.memory(config, anew, asset);
            let why = || {
                format!(
                    "records, facts and store agree at the cut{note}; no shard said another sum by itself"
                )
            };
            return Ok(Some(memory.unwrap_or_else(|| First::Unknown(why()))));
        }
        for equation in [Equation::Hub, Equation::Operator] {
            if self.of(asset, equation).is_some() {
                return self.at_hubs(config, derived, asset, equation).map(Some);
            }
        }
        if self.elsewhere.halted.contains(&asset.0) {
            return Ok(None);
        }
        let channel = self.channel(derived, asset);
        let why = "records, facts and store agree, and every channel has in the tree what it has in the ledger";
        Ok(Some(
            channel.unwrap_or_else(|| First::Unknown(why.to_owned())),
        ))
    }

    /// The record or fact whose postings do not sum to zero.
    fn posting(&self, config: &Config, asset: AssetId, good: u64) -> Result<First, String> {
        let venue = venue(config).map_err(|error| error.to_string())?;
        let mut tails = tails(config);
        let mut readers = readers(&mut tails);
        let until = self.ledger.facts();
        let wrong = |ledger: &Ledger| imbalance(ledger, asset);
        let found = step_behind(&venue, &self.facts, until, &mut readers, good, wrong)
            .map_err(|error| error.to_string())?;
        Ok(match found {
            Some(wrong) => First::Posting(
                match wrong.step {
                    Step::Record(shard, sequence) => {
                        format!("record {sequence} of {}", shard_name(config, shard))
                    }
                    Step::Fact(number) => format!("fact {number}"),
                },
                wrong,
            ),
            None => First::Unknown("the books added up when they were made again".to_owned()),
        })
    }

    /// The shard that has another sum than its records.
    fn memory(&self, config: &Config, anew: &Ledger, asset: AssetId) -> Option<First> {
        let mut shards = config.shards.iter().enumerate();
        shards.find_map(|(place, shard)| {
            let live = self.elsewhere.live.get(&(place as u32))?;
            let has = *live.get(asset.0 as usize)?;
            let records = anew.in_shard(place, asset);
            (has.cast_signed() != records).then(|| First::Memory {
                shard: shard.name.clone(),
                sequence: anew.at()[place],
                has,
                records,
            })
        })
    }

    /// The first channel that the tree has differently.
    fn channel(&self, derived: &Derived, asset: AssetId) -> Option<First> {
        let venue = self.ledger.venue();
        let of_asset = |id: B256| {
            let place = self.ledger.channel(id)?.place;
            (venue.places().get(place as usize)?.asset == asset).then_some(())
        };
        let leaves = self.ledger.leaves();
        let ledger = leaves.iter().map(|it| (it.state.channel, it.state.balance));
        let ledger: BTreeMap<B256, u128> =
            ledger.filter(|(id, _)| of_asset(*id).is_some()).collect();
        let trees: BTreeMap<B256, u128> = self.elsewhere.states.iter().copied().collect();
        // One that is left by the chain has its last state in the tree, and nothing is wrong.
        let is_open = |id: B256| {
            let life = derived.book.hubs.iter().find_map(|it| it.lives.life(id));
            life.is_none_or(|it| matches!(it.phase(), Phase::Open))
        };
        let amount = |it: Option<&u128>| it.map_or("nothing".to_owned(), u128::to_string);
        ledger.iter().find_map(|(id, balance)| {
            let tree = trees.get(id);
            let differs = tree.copied().unwrap_or(0) != *balance && is_open(*id);
            differs.then(|| First::Channel {
                channel: *id,
                ledger: amount(Some(balance)),
                tree: amount(tree),
            })
        })
    }

    /// The block from which a hub's figures differ, at whichever of the asset's places it is.
    fn at_hubs(
        &self,
        config: &Config,
        derived: &Derived,
        asset: AssetId,
        equation: Equation,
    ) -> Result<First, String> {
        let mut place: PlaceIndex = 0;
        let mut why = Vec::new();
        for (hub, told) in config.hubs.iter().zip(&derived.told) {
            for token in &hub.tokens {
                let at = place;
                place += 1;
                if AssetId(token.asset) != asset {
                    continue;
                }
                let figures = &self.elsewhere.figures.hubs;
                let Some(figure) = figures.iter().find(|it| it.place == at) else {
                    continue;
                };
                let agreed = self.agreed.get(&asset).and_then(|it| it.get(&at)).copied();
                let whose = chain::Whose {
                    hub,
                    token: token.token,
                    vault_by_hub: equation == Equation::Hub,
                };
                match chain::first(&whose, told, agreed, figure.height) {
                    Ok(Some(first)) => return Ok(first),
                    Ok(None) => why.push(format!(
                        "by the node {} agrees at block {}, and at the cut it was said to have {}",
                        hub.name, figure.height, figure.balance
                    )),
                    Err(error) => why.push(format!("{}: {error}", hub.name)),
                }
            }
        }
        let why = why.join("; ");
        Ok(First::Unknown(format!(
            "records, facts and store agree{}{why}",
            if why.is_empty() { "" } else { "; " }
        )))
    }
}

/// The journals of all shards, from their first record on.
fn tails(config: &Config) -> Vec<Tail> {
    let shards = config.shards.iter();
    shards.map(|it| Tail::new(it.journals.clone(), 1)).collect()
}

fn readers(tails: &mut [Tail]) -> Vec<&mut dyn Records> {
    tails.iter_mut().map(|it| it as &mut dyn Records).collect()
}

fn shard_name(config: &Config, shard: PeerId) -> String {
    let found = config.shards.iter().find(|it| it.number == shard.0);
    found.map_or_else(|| shard.to_string(), |it| it.name.clone())
}
