//! Everything that a request may need, made once.

use crate::access::Seating;
use crate::authority::Authority;
use crate::clock::unix_now_ns;
use crate::config::{Http, Limits};
use crate::desk::Desk;
use crate::desks::Desks;
use crate::intents::Intents;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::rate::Buckets;
use crate::seats::Seats;
use crate::settled::Settled;
use crate::shard::Shard;
use crate::venue::{Instrument, Venue};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// See the module.
pub struct App {
    /// What is traded.
    pub venue: Arc<Venue>,
    /// By number.
    pub shards: Vec<Arc<Shard>>,
    /// Sessions of the REST interface.
    pub desks: Arc<Desks>,
    /// Sessions that accounts granted to the gateway, where there are people.
    pub seats: Option<Arc<Seats>>,
    /// What clients call their orders.
    pub intents: Arc<Intents>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// Who is asking.
    pub authority: Arc<dyn Authority>,
    /// The settlement daemon.
    pub settled: Option<Settled>,
    /// How HTTP is served.
    pub http: Http,
    /// Buckets of addresses.
    pub public: Buckets<IpAddr>,
    /// Buckets of credentials.
    pub private: Buckets<String>,
    /// Orders that are being entered: account and client order id.
    pub entering: Mutex<HashSet<(u32, Arc<str>)>>,
    /// True when the process is to end.
    pub draining: watch::Receiver<bool>,
}

impl App {
    /// Made of its parts.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is another thing, and it is made once"
    )]
    pub fn new(
        venue: Arc<Venue>,
        shards: Vec<Arc<Shard>>,
        (desks, seats): (Arc<Desks>, Option<Arc<Seats>>),
        intents: Arc<Intents>,
        metrics: Arc<Metrics>,
        authority: Arc<dyn Authority>,
        settled: Option<Settled>,
        (http, limits): (Http, &Limits),
        draining: watch::Receiver<bool>,
    ) -> App {
        App {
            venue,
            shards,
            desks,
            seats,
            intents,
            metrics,
            authority,
            settled,
            http,
            public: Buckets::new(limits.public_per_second, limits.public_burst),
            private: Buckets::new(limits.private_per_second, limits.private_burst),
            entering: Mutex::default(),
            draining,
        }
    }

    /// The shard that trades an instrument.
    #[must_use]
    pub fn shard_of(&self, instrument: &Instrument) -> &Arc<Shard> {
        // `run` has seen to it that there is one for every number.
        &self.shards[instrument.shard as usize]
    }

    /// The session by which an account enters orders on a shard.
    ///
    /// # Errors
    /// It has none here, or its end has come.
    pub fn desk(&self, account: u32, shard: u32) -> Result<Arc<Desk>, Problem> {
        let now_s = unix_now_ns() / 1_000_000_000;
        let desk = self.desks.longest(account, shard);
        desk.filter(|it| it.expires_s.is_none_or(|end| end > now_s))
            .ok_or_else(|| self.no_desk(account, shard))
    }

    fn no_desk(&self, account: u32, shard: u32) -> Problem {
        let shard = &self.shards[shard as usize].name;
        match &self.seats {
            Some(seats) => seats.none(account, shard),
            None => Problem::conflict(
                "no-trading-session",
                format!(
                    "the gateway has no trading session of account {} in shard {shard}; its operator names one in the configuration (`[[session]]`)",
                    self.venue.account_name(account),
                ),
            ),
        }
    }

    /// The shard and the id of a kept order of an account.
    #[must_use]
    pub fn find_order(&self, account: u32, id: u64) -> Option<&Arc<Shard>> {
        self.shards.iter().find(|shard| {
            let state = shard.state();
            state.orders.get(id).is_some_and(|it| it.account == account)
        })
    }

    /// Whether the process is to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}
