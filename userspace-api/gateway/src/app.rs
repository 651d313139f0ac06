//! Everything that a request may need, made once.

use crate::authority::Authority;
use crate::config::{Http, Limits};
use crate::desk::Desk;
use crate::intents::Intents;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::rate::Buckets;
use crate::settled::Settled;
use crate::shard::Shard;
use crate::venue::{Instrument, Venue};
use ring0_wire::SessionId;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// See the module.
pub struct App {
    /// What is traded.
    pub venue: Arc<Venue>,
    /// By number.
    pub shards: Vec<Arc<Shard>>,
    /// Sessions of the REST interface, by account and shard.
    pub desks: RwLock<HashMap<(u32, u32), Arc<Desk>>>,
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
        desks: HashMap<(u32, u32), Arc<Desk>>,
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
            desks: RwLock::new(desks),
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

    /// The session by which an account trades in a shard.
    ///
    /// # Errors
    /// It has none here.
    pub fn desk(&self, account: u32, shard: u32) -> Result<Arc<Desk>, Problem> {
        let desks = self.desks.read().unwrap_or_else(PoisonError::into_inner);
        desks.get(&(account, shard)).cloned().ok_or_else(|| {
            Problem::conflict(
                "no-trading-session",
                format!(
                    "the gateway has no trading session of account {} in shard {}; its operator names one in the configuration (`[[session]]`)",
                    self.venue.account_name(account),
                    self.shards[shard as usize].name
                ),
            )
        })
    }

    /// The shard and the id of a kept order of an account.
    #[must_use]
    pub fn find_order(&self, account: u32, id: u64) -> Option<&Arc<Shard>> {
        self.shards.iter().find(|shard| {
            let state = shard.state();
            state.orders.get(id).is_some_and(|it| it.account == account)
        })
    }

    /// The shard of a session of the gateway.
    #[must_use]
    pub fn shard_of_session(&self, session: SessionId) -> Option<Arc<Shard>> {
        let desks = self.desks.read().unwrap_or_else(PoisonError::into_inner);
        let desk = desks.values().find(|desk| desk.session == session)?;
        Some(Arc::clone(&desk.shard))
    }

    /// Whether the process is to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}
