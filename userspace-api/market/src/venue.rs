//! The shards of a venue: which there are, what of the market is whose, and how one of them is named.
//! Rule: `docs/market.md#several-shards`.

use crate::amount::Amount;
use crate::file::{Place, RailFile, Shards};
use crate::plan::{Wrong, index_of, names, wrong};
use ring0_engine::limits::SHARDS_MAX;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A shard's number, where its deposits stand in the file, and they by asset.
type Given<'a> = (u32, String, &'a BTreeMap<String, Amount>);

/// A shard as the others know it. Its number is its place in the file, from 0.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The UDP port that is the shard.
    pub port: u16,
}

/// Where deposits come from and withdrawals go to: a channel hub, Lightning. To the shards it is one more place that amounts are transferred from
/// and to. Rails are numbered from the highest number down, so that neither a shard nor a rail that is added changes another's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rail {
    /// Its name.
    pub name: String,
    /// Its number in transfers.
    pub number: u32,
}

/// The file and the shard that `FILE#SHARD` names; a file that has such a name itself is meant whole.
pub(crate) fn split(path: &Path) -> (PathBuf, Option<String>) {
    let whole = || (path.to_owned(), None);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return whole();
    };
    match name.rsplit_once('#') {
        Some((file, shard)) if !path.exists() => (path.with_file_name(file), Some(shard.into())),
        _ => whole(),
    }
}

/// Whose is what.
pub(crate) struct Venue {
    pub(crate) peers: Vec<Peer>,
    pub(crate) rails: Vec<Rail>,
    numbers: BTreeMap<String, u32>,
}

impl Venue {
    pub(crate) fn of(shards: &Shards, rails: &[RailFile]) -> Result<Venue, Wrong> {
        let all = shards.all();
        let numbers = match shards {
            Shards::One(_) => BTreeMap::new(), // its name is judged with the rest of it
            Shards::Many(_) => names("shard", all.iter().map(|shard| &shard.name))?,
        };
        if all.is_empty() || all.len() > SHARDS_MAX as usize {
            return wrong(
                "shard",
                format_args!("there are {}", all.len()),
                format_args!("give 1 to {SHARDS_MAX} [[shard]] tables"),
            );
        }
        let mut ports = BTreeMap::new();
        for (index, shard) in all.iter().enumerate() {
            if let Some(before) = ports.insert(shard.port, index) {
                return wrong(
                    format_args!("shard[{index}].port"),
                    format_args!("{} is the port of shard[{before}]", shard.port),
                    "a shard is a UDP port: give each its own",
                );
            }
        }
        if all.len() + rails.len() > SHARDS_MAX as usize {
            return wrong(
                "rail",
                format_args!("there are {} beside {} shards", rails.len(), all.len()),
                format_args!("give at most {SHARDS_MAX} of both together"),
            );
        }
        names("rail", rails.iter().map(|rail| &rail.name))?;
        for (index, rail) in rails.iter().enumerate() {
            if all.iter().any(|shard| shard.name == rail.name) {
                return wrong(
                    format_args!("rail[{index}].name"),
                    format_args!("{:?} is a shard", rail.name),
                    "give it a name of its own",
                );
            }
        }
        let peer = |shard: &crate::file::ShardFile| Peer {
            name: shard.name.clone(),
            port: shard.port,
        };
        Ok(Venue {
            peers: all.iter().map(peer).collect(),
            rails: (0..SHARDS_MAX)
                .rev()
                .zip(rails)
                .map(|(number, rail)| Rail {
                    name: rail.name.clone(),
                    number,
                })
                .collect(),
            numbers,
        })
    }

    /// Whether the file is of several shards: then everything that belongs to one has to say to which.
    fn is_divided(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// The number of the shard that something names; in a file of one shard it need not.
    pub(crate) fn shard_of(&self, at: impl Display, given: Option<&str>) -> Result<u32, Wrong> {
        match given {
            Some(name) if self.is_divided() => {
                index_of(&self.numbers, "shard", format_args!("{at}.shard"), name)
            }
            Some(name) if name == self.peers[0].name => Ok(0),
            Some(name) => wrong(
                format_args!("{at}.shard"),
                format_args!("there is no shard {name:?}"),
                format_args!("the file's one shard is {}", self.peers[0].name),
            ),
            None if self.is_divided() => wrong(
                format_args!("{at}.shard"),
                "it is missing, and the file has several shards",
                format_args!("name one of: {}", self.names()),
            ),
            None => Ok(0),
        }
    }

    /// The first deposits of an account by shard: `balances` in a file of one shard, `allotments` in one of several.
    pub(crate) fn allotments<'a>(
        &self,
        at: impl Display,
        balances: &'a BTreeMap<String, Amount>,
        allotments: &'a BTreeMap<String, BTreeMap<String, Amount>>,
    ) -> Result<Vec<Given<'a>>, Wrong> {
        if !self.is_divided() {
            if !allotments.is_empty() {
                return wrong(
                    format_args!("{at}.allotments"),
                    "the file has one shard",
                    "write balances = { ASSET = amount } instead",
                );
            }
            return Ok(vec![(0, format!("{at}.balances"), balances)]);
        }
        if !balances.is_empty() {
            return wrong(
                format_args!("{at}.balances"),
                "the file has several shards, and a balance belongs to one of them",
                format_args!(
                    "write allotments.{} = {{ ASSET = amount }} instead",
                    self.peers[0].name
                ),
            );
        }
        let of = |(name, given): (&String, &'a BTreeMap<String, Amount>)| {
            let key = format!("{at}.allotments.{name}");
            Ok((index_of(&self.numbers, "shard", &key, name)?, key, given))
        };
        allotments.iter().map(of).collect()
    }

    /// The number of the shard that is asked for by name; not given: of the only one.
    pub(crate) fn chosen(&self, name: Option<&str>) -> Result<usize, Wrong> {
        let found = match name {
            None => Some(0).filter(|_| self.peers.len() == 1),
            Some(name) => self.peers.iter().position(|peer| peer.name == name),
        };
        found.ok_or_else(|| Wrong {
            key: "shard".to_owned(),
            problem: match name {
                None => "the file has several shards".to_owned(),
                Some(name) => format!("there is no shard {name:?}"),
            },
            fix: format!("name one behind the file, FILE#SHARD: {}", self.names()),
        })
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.peers.iter().map(|peer| peer.name.as_str()).collect();
        names.join(", ")
    }
}

/// What each key begins with in errors about a shard.
pub(crate) fn key_of(shards: &Shards, number: usize) -> Place {
    match shards {
        Shards::One(_) => Place::Only,
        Shards::Many(_) => Place::Numbered(number),
    }
}
