//! What the ledger has to know of the venue: assets and their units, who is a shard and who a rail, where on which chain an asset is kept.
//!
//! Instruments and fees are not here: the records say them (`List`).

use crate::id::{AssetId, PeerId};
use ring0_channels::Address;
use ring0_channels::message::Hub;
use ring0_engine::limits::SHARDS_MAX;
use ring0_market::Plan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An asset as it is counted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Asset {
    /// Its name in the market file.
    pub name: String,
    /// A whole unit is 10^decimals base units.
    pub decimals: u32,
    /// An engine unit is 10^unit_exponent base units.
    pub unit_exponent: u32,
}

/// A shard or a rail.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Peer {
    /// Its name in the market file.
    pub name: String,
    /// Its number.
    pub number: PeerId,
}

/// A token at a hub: where an asset is kept in channels.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    /// The rail that follows the hub.
    pub rail: PeerId,
    /// The hub.
    pub hub: Hub,
    /// ERC-20 contract, or zero for the chain's own coin.
    pub token: Address,
    /// What it is in the market; the token's smallest unit is the asset's base unit.
    pub asset: AssetId,
}

/// The index of a [`Place`] in [`Venue::places`].
pub type PlaceIndex = u32;

/// The venue. Made once; a ledger is of one venue, and refuses the store of another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Venue {
    assets: Vec<Asset>,
    shards: Vec<Peer>,
    rails: Vec<Peer>,
    places: Vec<Place>,
    accounts_max: u32,
}

/// Why there is no such venue.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VenueError {
    /// Nothing is in it.
    #[error("a venue needs at least one {0}")]
    Empty(&'static str),
    /// An engine unit would not fit.
    #[error(
        "an engine unit of {name} is 10^{exponent} base units, and 10^18 is the most; choose a larger engine unit count"
    )]
    Unit {
        /// The asset.
        name: String,
        /// Its exponent.
        exponent: u32,
    },
    /// Two with one number, or a number that no shard knows.
    #[error(
        "{name} has number {number}; each shard and rail needs a number of its own below {SHARDS_MAX}"
    )]
    Number {
        /// The shard or rail.
        name: String,
        /// Its number.
        number: u32,
    },
    /// A place that names what is not there, or one twice.
    #[error(
        "place {index} names {what}; give each token of a hub once, with a rail and an asset of the market"
    )]
    Place {
        /// Which, from 0.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The plans are not of one file.
    #[error(
        "the plans of {0} shards were given and the venue has another number; load all plans of one file"
    )]
    Plans(usize),
}

impl Venue {
    /// A venue of these parts. `accounts_max`: accounts have indexes below it, in every shard.
    ///
    /// # Errors
    /// See [`VenueError`].
    pub fn new(
        assets: Vec<Asset>,
        shards: Vec<Peer>,
        rails: Vec<Peer>,
        places: Vec<Place>,
        accounts_max: u32,
    ) -> Result<Venue, VenueError> {
        for (what, none) in [
            ("asset", assets.is_empty()),
            ("shard", shards.is_empty()),
            ("account", accounts_max == 0),
        ] {
            if none {
                return Err(VenueError::Empty(what));
            }
        }
        if let Some(wide) = assets.iter().find(|it| it.unit_exponent > 18) {
            return Err(VenueError::Unit {
                name: wide.name.clone(),
                exponent: wide.unit_exponent,
            });
        }
        let mut numbers = BTreeSet::new();
        for peer in shards.iter().chain(&rails) {
            if peer.number.0 >= SHARDS_MAX || !numbers.insert(peer.number) {
                return Err(VenueError::Number {
                    name: peer.name.clone(),
                    number: peer.number.0,
                });
            }
        }
        let mut seen = BTreeSet::new();
        for (index, place) in places.iter().enumerate() {
            let what = if !rails.iter().any(|it| it.number == place.rail) {
                "a rail that is not there"
            } else if place.asset.0 as usize >= assets.len() {
                "an asset that is not there"
            } else if !seen.insert((place.hub, place.token)) {
                "a token that another place has"
            } else {
                continue;
            };
            return Err(VenueError::Place { index, what });
        }
        Ok(Venue {
            assets,
            shards,
            rails,
            places,
            accounts_max,
        })
    }

    /// Of a market file's plans, all its shards by number ([`Plan::load_all`]).
    ///
    /// # Errors
    /// See [`VenueError`].
    pub fn of(plans: &[Plan], places: Vec<Place>) -> Result<Venue, VenueError> {
        let first = plans.first().ok_or(VenueError::Empty("shard"))?;
        if plans.len() != first.peers.len() {
            return Err(VenueError::Plans(plans.len()));
        }
        let asset = |it: &ring0_market::Asset| Asset {
            name: it.name.clone(),
            decimals: it.decimals,
            unit_exponent: it.unit_exponent,
        };
        let peer = |(name, number): (&str, u32)| Peer {
            name: name.to_owned(),
            number: PeerId(number),
        };
        let shards = (0..).zip(&first.peers);
        let rails = first.rails.iter();
        Venue::new(
            first.assets.iter().map(asset).collect(),
            shards
                .map(|(number, it)| peer((&it.name, number)))
                .collect(),
            rails.map(|it| peer((&it.name, it.number))).collect(),
            places,
            plans
                .iter()
                .map(|it| it.capacity().accounts)
                .max()
                .unwrap_or(0),
        )
    }

    /// By index.
    #[must_use]
    pub fn assets(&self) -> &[Asset] {
        &self.assets
    }

    /// All indexes.
    pub fn asset_ids(&self) -> impl Iterator<Item = AssetId> + use<> {
        (0..self.assets.len() as u32).map(AssetId)
    }

    /// The asset of a name.
    #[must_use]
    pub fn asset(&self, name: &str) -> Option<AssetId> {
        let at = self.assets.iter().position(|it| it.name == name)?;
        Some(AssetId(at as u32))
    }

    /// Base units of an engine unit; 0 of an asset that is not there.
    #[must_use]
    pub fn unit(&self, asset: AssetId) -> u128 {
        let asset = self.assets.get(asset.0 as usize);
        asset.map_or(0, |it| 10_u128.pow(it.unit_exponent))
    }

    /// In the order of the market file.
    #[must_use]
    pub fn shards(&self) -> &[Peer] {
        &self.shards
    }

    /// In the order of the market file.
    #[must_use]
    pub fn rails(&self) -> &[Peer] {
        &self.rails
    }

    /// Place of a shard in [`shards`](Venue::shards), by its number.
    #[must_use]
    pub fn shard_index(&self, number: PeerId) -> Option<usize> {
        self.shards.iter().position(|it| it.number == number)
    }

    /// Whether a number is a rail's.
    #[must_use]
    pub fn is_rail(&self, number: PeerId) -> bool {
        self.rails.iter().any(|it| it.number == number)
    }

    /// By index.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Accounts have indexes below this.
    #[must_use]
    pub fn accounts_max(&self) -> u32 {
        self.accounts_max
    }
}
