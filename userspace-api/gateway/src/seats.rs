//! Sessions that accounts have granted to the gateway's own key, in use: each has a desk, at REST or behind an OUCH login.
//!
//! Which there are is the identity's to say, durably; this follows it. Always true: a session that is to be ended sends nothing new before the venue
//! is asked to end it, and one that is open after a restart trades again, because its MAC key follows from the trading key and what the venue
//! answered then.

use crate::access::Seating;
use crate::clock::unix_now_ns;
use crate::desk::{Desk, DeskOptions, Way};
use crate::desks::Desks;
use crate::intents::Intents;
use crate::metrics::Metrics;
use crate::ouch::{self, OuchSession, OuchSessions};
use crate::problem::Problem;
use crate::shard::Shard;
use crate::trading_key::TradingKey;
use ring0_identity::Identity;
use ring0_identity::records::{Opened, Seat, Stage, TradingSession};
use ring0_wire::SessionId;
use std::sync::Arc;

/// See the module.
pub struct Seats {
    /// The key that is granted to.
    pub key: TradingKey,
    /// Which sessions there are.
    pub identity: Arc<Identity>,
    /// Each with the way to it.
    pub shards: Vec<(Arc<Shard>, Way)>,
    /// Sessions of REST.
    pub desks: Arc<Desks>,
    /// Sessions of OUCH.
    pub ouch: Arc<OuchSessions>,
    /// What clients call their orders.
    pub intents: Arc<Intents>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
}

/// The id on the wire of a session that the venue has.
fn wire_id(opened: &Opened) -> Option<SessionId> {
    Some(SessionId(opened.id.as_bytes().try_into().ok()?))
}

/// The ids of OUCH sessions on a shard, whose streams are made from its records.
#[must_use]
pub fn streams(identity: &Identity, shard: &str) -> Vec<SessionId> {
    let live = identity.live_sessions();
    let here = live
        .iter()
        .filter(|it| it.shard == shard && it.seat == Some(Seat::Ouch));
    here.filter_map(|it| match &it.stage {
        Stage::Open(opened) => wire_id(opened),
        _ => None,
    })
    .collect()
}

impl Seats {
    /// Takes up every session that is open. At the start.
    pub fn take_up(&self) {
        for session in self.identity.live_sessions() {
            if session.seat.is_some() {
                self.opened(&session);
            }
        }
    }

    fn shard(&self, name: &str) -> Option<&(Arc<Shard>, Way)> {
        self.shards.iter().find(|(shard, _)| shard.name == name)
    }

    fn desk(&self, session: &TradingSession) -> Option<(Desk, Option<ring0_feed::Password>)> {
        let Stage::Open(opened) = &session.stage else {
            return None; // whoever opens it comes here again
        };
        let (shard, way) = self.shard(&session.shard)?;
        let Some(with_key) = self.key.session(session, opened) else {
            tracing::warn!(
                session = session.id.0,
                "a session was granted to another trading key than the present one: it cannot be traded by; revoke it, and grant anew"
            );
            return None;
        };
        let password = ouch::password(&with_key);
        if session.seat == Some(Seat::Ouch) {
            shard.add_stream(with_key.id());
        }
        let options = DeskOptions {
            name: format!("seat {}", session.id),
            account: session.account,
            session: with_key,
            way: way.clone(),
            heartbeat: false,
            expires_s: Some(session.expires_s),
        };
        let desk = Desk::start(options, shard, &self.intents, &self.metrics);
        Some((desk, password))
    }

    fn remove(&self, session: &TradingSession) {
        let (Stage::Open(opened) | Stage::Ending(Some(opened))) = &session.stage else {
            return;
        };
        let (Some(id), Some((shard, _))) = (wire_id(opened), self.shard(&session.shard)) else {
            return;
        };
        let desk = self.desks.remove(session.account, shard.number, id);
        let ouch = self.ouch.remove(id);
        // A desk that goes waits for what it has sent: not on a thread that serves.
        tokio::task::spawn_blocking(move || drop((desk, ouch)));
    }
}

impl Seating for Seats {
    fn key(&self) -> &TradingKey {
        &self.key
    }

    fn opened(&self, session: &TradingSession) {
        let Some((desk, password)) = self.desk(session) else {
            return;
        };
        let desk = Arc::new(desk);
        match (session.seat, password) {
            (Some(Seat::Ouch), Some(password)) => {
                self.ouch.add(OuchSession::new(desk, password));
            }
            _ => self.desks.add(desk),
        }
        // It may have been revoked meanwhile, by somebody who found nothing to remove.
        let now = self.identity.session(session.id);
        if !now.is_some_and(|it| it.is_live()) {
            self.remove(session);
        }
    }

    fn ending(&self, session: &TradingSession) {
        self.remove(session);
    }

    fn is_idle(&self, session: &TradingSession) -> bool {
        let Stage::Open(opened) = &session.stage else {
            return false;
        };
        let (Some(id), Some((shard, _))) = (wire_id(opened), self.shard(&session.shard)) else {
            return false;
        };
        let state = shard.state();
        let mut live = state.orders.live(session.account);
        !live.any(|order| order.session == id)
    }

    fn login(&self, session: &TradingSession) -> Option<(String, String)> {
        let Stage::Open(opened) = &session.stage else {
            return None;
        };
        let password = ouch::password(&self.key.session(session, opened)?)?;
        // A user has six letters: the last ones, which are random.
        let user = opened.id.get(4..)?.to_owned();
        Some((user, password.as_str().to_owned()))
    }

    fn none(&self, account: u32, shard: &str) -> Problem {
        let now_s = unix_now_ns() / 1_000_000_000;
        let grants = self.identity.grants_to(self.key.address(), account);
        let is_live =
            |it: &&ring0_identity::records::Grant| !it.revoked && it.terms.expires_s > now_s;
        let newest = grants.iter().max_by_key(|it| it.since_ms);
        let sign =
            "the account's owner signs one to the key of GET /v1/trading-key (POST /v1/grants)";
        match (grants.iter().find(is_live), newest) {
            (Some(_), _) => Problem::conflict(
                "no-trading-session",
                format!(
                    "the account has a grant to this gateway, and no session of it on shard {shard}; send the same grant again"
                ),
            ),
            (None, Some(grant)) if grant.revoked => Problem::conflict(
                "grant-revoked",
                format!("the account's grant to this gateway is revoked; {sign}"),
            ),
            (None, Some(grant)) => Problem::conflict(
                "grant-expired",
                format!(
                    "the account's grant to this gateway ended at second {}; {sign}",
                    grant.terms.expires_s
                ),
            ),
            (None, None) => Problem::conflict(
                "no-trading-session",
                format!("the account has granted this gateway no sessions; {sign}"),
            ),
        }
    }
}
