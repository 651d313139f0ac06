//! Sign-in and authorisation over HTTP: routes and what recognises a request's credential. What is allowed is `ring0-identity`'s to say; this
//! folder reads requests, writes answers and asks the shards' daemons through [`Venue`].
//!
//! Whatever must end in the kernel is ended before the answer is given, and what the venue did not answer is asked again every second
//! ([`Access::keep_asking`]) until it has.

mod answers;
mod api_keys;
mod ask;
mod members;
mod people;
mod ring0d;
mod seating;
mod sign_in;
#[cfg(test)]
mod tests;
mod trading;
mod venue;

pub use people::People;
pub use ring0d::Daemons;
pub use seating::Seating;
pub use venue::{Answer, Venue, VenueError};

use crate::problem::Problem;
use axum::Router;
use axum::routing::{delete, get, post, put};
use ring0_identity::records::{Stage, TradingSession};
use ring0_identity::{Identity, Refused};
use std::sync::Arc;
use std::time::Duration;
use utoipa::OpenApi;

/// How often the venue is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What the routes share.
#[derive(Clone)]
pub struct Access {
    identity: Arc<Identity>,
    venue: Arc<dyn Venue>,
    /// Where the gateway itself trades for accounts.
    seating: Option<Arc<dyn Seating>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Access")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The routes for the OpenAPI document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Ring0 access",
        description = "Sign-in, organisations, keys, sessions."
    ),
    paths(
        sign_in::nonce,
        sign_in::wallet,
        sign_in::passkey_start,
        sign_in::passkey_finish,
        sign_in::passkeys,
        sign_in::register_start,
        sign_in::register_finish,
        sign_in::remove_passkey,
        sign_in::sign_out,
        sign_in::me,
        members::organisations,
        members::create_organisation,
        members::members,
        members::change_role,
        members::remove_member,
        members::invitations,
        members::invite,
        members::withdraw_invitation,
        members::accept_invitation,
        members::add_account,
        members::audit,
        api_keys::api_keys,
        api_keys::create_api_key,
        api_keys::revoke_api_key,
        trading::grants,
        trading::create_grant,
        trading::revoke_grant,
        trading::sessions,
        trading::open_session,
        trading::revoke_session,
        seating::trading_key,
        seating::ouch_login,
    )
)]
pub struct AccessApi;

impl Access {
    /// Over an identity that is open, and the venue's daemons.
    #[must_use]
    pub fn new(identity: Arc<Identity>, venue: Arc<dyn Venue>) -> Access {
        Access {
            identity,
            venue,
            seating: None,
        }
    }

    /// With a trading key of the gateway's own, to which accounts grant sessions.
    #[must_use]
    pub fn with_seating(mut self, seating: Arc<dyn Seating>) -> Access {
        self.seating = Some(seating);
        self
    }

    /// The identity.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The routes. They find the peer's address as [`Peer`](crate::rest::Peer).
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/sign-in/nonce", post(sign_in::nonce))
            .route("/v1/sign-in/wallet", post(sign_in::wallet))
            .route("/v1/sign-in/passkey/start", post(sign_in::passkey_start))
            .route("/v1/sign-in/passkey/finish", post(sign_in::passkey_finish))
            .route("/v1/passkeys", get(sign_in::passkeys))
            .route("/v1/passkeys/start", post(sign_in::register_start))
            .route("/v1/passkeys/finish", post(sign_in::register_finish))
            .route("/v1/passkeys/{passkey}", delete(sign_in::remove_passkey))
            .route("/v1/sign-out", post(sign_in::sign_out))
            .route("/v1/me", get(sign_in::me))
            .route(
                "/v1/organisations",
                get(members::organisations).post(members::create_organisation),
            )
            .route("/v1/members", get(members::members))
            .route(
                "/v1/members/{person}",
                put(members::change_role).delete(members::remove_member),
            )
            .route(
                "/v1/invitations",
                get(members::invitations).post(members::invite),
            )
            .route("/v1/invitations/accept", post(members::accept_invitation))
            .route(
                "/v1/invitations/{invitation}",
                delete(members::withdraw_invitation),
            )
            .route("/v1/accounts", post(members::add_account))
            .route("/v1/audit", get(members::audit))
            .route(
                "/v1/api-keys",
                get(api_keys::api_keys).post(api_keys::create_api_key),
            )
            .route("/v1/api-keys/{key}", delete(api_keys::revoke_api_key))
            .route(
                "/v1/grants",
                get(trading::grants).post(trading::create_grant),
            )
            .route("/v1/grants/{grant}", delete(trading::revoke_grant))
            .route(
                "/v1/trading-sessions",
                get(trading::sessions).post(trading::open_session),
            )
            .route(
                "/v1/trading-sessions/{session}",
                delete(trading::revoke_session),
            )
            .route("/v1/trading-key", get(seating::trading_key))
            .route("/v1/ouch-logins", post(seating::ouch_login))
            .with_state(self.clone())
    }

    /// Does something that may wait for the disk, off the threads that serve.
    async fn blocking<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Identity) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Problem> {
        let identity = Arc::clone(&self.identity);
        match tokio::task::spawn_blocking(move || what(&identity)).await {
            Ok(done) => done.map_err(Problem::from),
            Err(error) => {
                tracing::error!(%error, "a request was not carried out");
                Err(Problem::unavailable(
                    "the request was not carried out; try again",
                ))
            }
        }
    }

    /// Asks the venue for a session that is decided. On a task of its own: a client that goes away stops nothing half-way.
    async fn open(&self, session: TradingSession) -> Result<TradingSession, Problem> {
        let access = self.clone();
        let task = tokio::spawn(async move { access.open_now(session).await });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a session was not opened");
            Err(Problem::unavailable(
                "the session was not opened; try again",
            ))
        })
    }

    async fn open_now(&self, session: TradingSession) -> Result<TradingSession, Problem> {
        let id = session.id;
        match self.venue.grant(&session).await {
            Ok(opened) => {
                let now = self
                    .blocking(move |it| it.session_opened(id, opened))
                    .await?;
                if let Stage::Ending(_) = now.stage {
                    // Somebody revoked it while the venue was being asked.
                    self.end_now(now.clone()).await;
                } else if let Some(seating) = self.seating_of(&now) {
                    seating.opened(&now);
                }
                Ok(now)
            }
            Err(VenueError::Refused(why)) => {
                self.blocking(move |it| it.session_ended(id)).await?;
                Err(Problem::conflict("venue", why))
            }
            // It stays decided and is asked for again; so may the client.
            Err(VenueError::Unavailable(why)) => Err(Problem::unavailable(why)),
        }
    }

    /// Ends sessions at the venue, all at once. Gives those that the venue has ended.
    async fn end(&self, ending: Vec<TradingSession>) -> Vec<ring0_identity::SessionId> {
        let mut tasks = Vec::new();
        for session in ending {
            let (id, access) = (session.id, self.clone());
            let task = tokio::spawn(async move { access.end_now(session).await });
            tasks.push((id, task));
        }
        let mut ended = Vec::new();
        for (id, task) in tasks {
            if task.await.unwrap_or(false) {
                ended.push(id);
            }
        }
        ended
    }

    /// Who trades by a session, where that is the gateway itself.
    fn seating_of(&self, session: &TradingSession) -> Option<&Arc<dyn Seating>> {
        self.seating.as_ref().filter(|_| session.seat.is_some())
    }

    async fn end_now(&self, session: TradingSession) -> bool {
        let id = session.id;
        if let Some(seating) = self.seating_of(&session) {
            seating.ending(&session);
        }
        let opened = match &session.stage {
            Stage::Open(opened) | Stage::Ending(Some(opened)) => opened.clone(),
            // Whoever is opening it sees that it is ending, and comes here with the venue's name for it.
            Stage::Opening | Stage::Ending(None) | Stage::Ended => return false,
        };
        match self.venue.revoke(&session, &opened).await {
            Ok(()) => match self.blocking(move |it| it.session_ended(id)).await {
                Ok(()) => return true,
                Err(problem) => {
                    tracing::error!(session = id.0, %problem, "ended and not written down")
                }
            },
            Err(error) => {
                tracing::error!(session = id.0, %error, "a session is not ended at the venue yet");
            }
        }
        false
    }

    /// Asks the venue again for what it did not answer: sessions to be opened, sessions to be ended; also of a process before this one. Once.
    pub async fn ask_again(&self) {
        for session in self.identity.unfinished() {
            let result = match session.stage {
                Stage::Ending(Some(_)) => {
                    self.end_now(session).await;
                    continue;
                }
                _ => self.open_now(session).await,
            };
            if let Err(problem) = result {
                tracing::warn!(%problem, "a session is not settled with the venue yet");
            }
        }
    }

    /// Opens the accounts again that a process before this one may not have come to. Whether the venue has answered for all.
    async fn open_accounts(&self) -> bool {
        for account in self.identity.account_records() {
            if let Err(error) = self.venue.open_account(account).await {
                tracing::warn!(account = account.index, %error, "an account is not open at the venue yet");
                return false;
            }
        }
        true
    }

    /// [`ask_again`](Access::ask_again) every second, and what has come to its end is ended; for ever: spawn it.
    pub async fn keep_asking(self) {
        while !self.open_accounts().await {
            tokio::time::sleep(AGAIN).await;
        }
        loop {
            tokio::time::sleep(AGAIN).await;
            self.ask_again().await;
            seating::end_expired(&self).await;
        }
    }
}
