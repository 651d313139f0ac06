//! Grants and the trading sessions that session keys open under them.
//!
//! A grant is created by an [`OwnerSigned`] alone. A session is opened by whoever the table lets, with a signature of the session key under a grant,
//! or of the owner key itself, within the grant's end, once. It is written down before the venue is asked, and before it is asked to end it: after a
//! crash [`Identity::unfinished`] says what is still to be said to the venue.

use crate::caller::Caller;
use crate::event::{Actor, Event};
use crate::identity::{Done, Identity};
use crate::ids::SessionId;
use crate::owner::OwnerSigned;
use crate::permission::Permission;
use crate::records::{
    Authority, ChannelLimits, Grant, GrantTerms, Opened, Seat, Stage, TradingSession,
};
use crate::refused::Refused;
use crate::state::{State, kind};
use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, FixedBytes, hex, keccak256};
use alloy_sol_types::{SolStruct, SolValue};
use ring0_channels::key::Signature;
use ring0_channels::message::{self, venue_domain};
use ring0_channels::tree;
use secp256k1::PublicKey;

/// How far ahead an opening's deadline may be, in seconds: as long as its digest is remembered at least.
const DEADLINE_MAX_S: u64 = 300;

/// Live sessions of one account on one shard.
const SESSIONS_MAX: usize = 64;

alloy_sol_types::sol! {
    /// What a session key signs to open a trading session, or the owner key in its place (then `grant` is zero); in the venue's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct SessionOpening {
        uint64 account;
        string shard;
        bytes32 grant;
        bytes publicKey;
        bytes16 nonce;
        uint40 expiry;
        uint40 deadline;
    }
}

/// A trading session as it is asked for.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The engine's account index.
    pub account: u32,
    /// Name of the shard.
    pub shard: String,
    /// Under what.
    pub authority: Authority,
    /// The session key: a compressed secp256k1 point.
    pub public_key: [u8; 33],
    /// The trader's nonce.
    pub nonce: [u8; 16],
    /// Its end for new orders, in seconds of Unix time; at most the grant's.
    pub expires_s: u64,
    /// Until when it may be asked for, in seconds of Unix time; at most five minutes ahead.
    pub deadline_s: u64,
    /// Of [`SessionOpening`], by the session key or the owner key.
    pub signature: Signature,
}

fn u40(what: &str, value: u64) -> Result<U40, Refused> {
    let large = |_| Refused::Invalid(format!("{what} {value} is more than 40 bits"));
    U40::try_from(value).map_err(large)
}

impl GrantTerms {
    /// The message that the owner key signs (`docs/channels.md`, Grant).
    ///
    /// # Errors
    /// A number is too large, or there are no limits or too many for a hub's paths.
    pub fn message(&self) -> Result<message::Grant, Refused> {
        Ok(message::Grant {
            account: u64::from(self.account),
            session: self.session,
            expiry: u40("the expiry", self.expires_s)?,
            firstEpoch: u40("the first epoch", self.first_epoch)?,
            lastEpoch: u40("the last epoch", self.last_epoch)?,
            limits: limits_root(&self.limits)?,
        })
    }
}

/// Root over the limits of a grant's channels, in ascending order of channels. Without any it is zero: such a grant signs no states.
fn limits_root(limits: &[ChannelLimits]) -> Result<B256, Refused> {
    let leaf = |it: &ChannelLimits| {
        let words = (it.channel, it.floor, it.start_base, it.outflow).abi_encode();
        (it.channel, keccak256([&[0], words.as_slice()].concat()))
    };
    if limits.is_empty() {
        return Ok(B256::ZERO);
    }
    let tree = tree::Tree::new(limits.iter().map(leaf).collect());
    let tree = tree.map_err(|error| Refused::Invalid(format!("the limits: {error}")))?;
    Ok(tree.root())
}

impl NewSession {
    /// What is signed of it.
    ///
    /// # Errors
    /// A number is too large.
    pub fn message(&self) -> Result<SessionOpening, Refused> {
        Ok(SessionOpening {
            account: u64::from(self.account),
            shard: self.shard.clone(),
            grant: match self.authority {
                Authority::Grant(id) => id,
                Authority::Owner => B256::ZERO,
            },
            publicKey: self.public_key.to_vec().into(),
            nonce: FixedBytes(self.nonce),
            expiry: u40("the expiry", self.expires_s)?,
            deadline: u40("the deadline", self.deadline_s)?,
        })
    }
}

/// The address of a public key.
fn address(key: &PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

/// Which live sessions end with something, and the events that say so.
pub(crate) fn ending(
    state: &State,
    events: &mut Vec<Event>,
    reason: &str,
    ends: impl Fn(&TradingSession) -> bool,
) -> Vec<TradingSession> {
    let live = state.sessions.values().filter(|it| it.is_live());
    let ending: Vec<_> = live.filter(|it| ends(it)).cloned().collect();
    events.extend(ending.iter().map(|it| Event::SessionEnding {
        session: it.id,
        reason: reason.to_owned(),
    }));
    ending
}

impl Identity {
    /// Takes a grant. The same again gives what is there.
    ///
    /// # Errors
    /// It is over, too long, was revoked, or the co-signer's signature is not of the account's co-signer.
    pub fn create_grant(
        &self,
        caller: &Caller,
        signed: &OwnerSigned<message::Grant>,
        terms: &GrantTerms,
        cosigner_signature: Option<Signature>,
    ) -> Result<Grant, Refused> {
        let invalid = |text: String| Refused::Invalid(text);
        if terms.message()? != *signed.message() {
            return Err(invalid(
                "the terms are not those that were signed".to_owned(),
            ));
        }
        let account = *signed.account();
        if let Some(signature) = &cosigner_signature {
            let domain = venue_domain(self.config.venue);
            let holds = signature.require(signed.message(), &domain, account.cosigner);
            holds.map_err(|why| Refused::Signature {
                whose: "co-signer's",
                why,
            })?;
        }
        if terms.first_epoch > terms.last_epoch {
            return Err(invalid("the first epoch is behind the last one".to_owned()));
        }
        self.act(caller, Permission::CreateGrant, |state, now_ms, caller| {
            caller.owns(account.index)?;
            let now_s = now_ms / 1_000;
            if terms.expires_s <= now_s || terms.expires_s > now_s + self.config.grant_s {
                return Err(invalid(format!(
                    "a grant ends after now and within {} hours",
                    self.config.grant_s / 3_600
                )));
            }
            let id = signed.digest();
            match state.grants.get(&id) {
                Some(grant) if grant.revoked => {
                    let revoked = "this grant was revoked; sign another".to_owned();
                    return Err(Refused::Conflict(revoked));
                }
                Some(grant) => return Ok((grant.clone(), Vec::new())),
                None => {}
            }
            let grant = Grant {
                id,
                organisation: account.organisation,
                terms: terms.clone(),
                owner_signature: signed.signature(),
                cosigner_signature,
                since_ms: now_ms,
                revoked: false,
            };
            let event = Event::GrantMade {
                grant: grant.clone(),
            };
            Ok((grant, vec![event]))
        })
    }

    /// Grants of the caller's organisation.
    ///
    /// # Errors
    /// Why not.
    pub fn grants(&self, caller: &Caller) -> Result<Vec<Grant>, Refused> {
        caller.may(Permission::ReadOrganisation)?;
        self.read(|state| {
            let all = state.grants.values();
            let mine = all.filter(|it| Some(it.organisation) == caller.organisation());
            Ok(mine.cloned().collect())
        })
    }

    /// Revokes a grant: it opens nothing any more, and what it opened ends. What was signed under it before is not unmade; on chain the co-signer
    /// revokes the session key by epoch.
    ///
    /// # Errors
    /// Why not.
    pub fn revoke_grant(&self, caller: &Caller, grant: B256) -> Result<Done<Grant>, Refused> {
        self.act(caller, Permission::RevokeGrant, |state, _, caller| {
            let found = state.grants.get(&grant);
            let found = found.filter(|it| Some(it.organisation) == caller.organisation());
            let mut value = found.ok_or(Refused::NotFound("grant"))?.clone();
            let mut events = Vec::new();
            if !value.revoked {
                events.push(Event::GrantRevoked { grant });
                value.revoked = true;
            }
            let ending = ending(state, &mut events, "its grant is revoked", |it| {
                it.authority == Authority::Grant(grant)
            });
            Ok((Done { value, ending }, events))
        })
    }

    /// Decides on a trading session and writes it down; ask the venue next, and say [`session_opened`](Identity::session_opened) or
    /// [`session_ended`](Identity::session_ended). The same opening again gives what came of it, so that a lost answer is asked for again.
    ///
    /// # Errors
    /// Why not.
    pub fn open_session(
        &self,
        caller: &Caller,
        wanted: &NewSession,
    ) -> Result<TradingSession, Refused> {
        self.open_as(caller, wanted, None)
    }

    /// [`open_session`](Identity::open_session) for a key that the gateway itself holds, under a grant to it: the caller has asked for it, and has no
    /// key of it.
    ///
    /// # Errors
    /// Why not.
    pub fn open_seat(
        &self,
        caller: &Caller,
        wanted: &NewSession,
        seat: Seat,
    ) -> Result<TradingSession, Refused> {
        self.open_as(caller, wanted, Some(seat))
    }

    fn open_as(
        &self,
        caller: &Caller,
        wanted: &NewSession,
        seat: Option<Seat>,
    ) -> Result<TradingSession, Refused> {
        let invalid = |text: &str| Refused::Invalid(text.to_owned());
        let key = PublicKey::from_slice(&wanted.public_key)
            .map_err(|_| invalid("the public key is no compressed secp256k1 point"))?;
        let opening = wanted.message()?;
        let digest = opening.eip712_signing_hash(&venue_domain(self.config.venue));
        self.act(caller, Permission::OpenTradingSession, |state, now_ms, caller| {
            caller.owns(wanted.account)?;
            let account = state.accounts.get(&wanted.account);
            let account = account.ok_or(Refused::NotFound("account"))?;
            if !self.config.shards.contains(&wanted.shard) {
                return Err(Refused::NotFound("shard"));
            }
            let now_s = now_ms / 1_000;
            let (signs, most_s) = match wanted.authority {
                Authority::Owner => (account.owner, now_s + self.config.grant_s),
                Authority::Grant(id) => {
                    let grant = state.grants.get(&id);
                    let grant = grant.filter(|it| it.terms.account == wanted.account);
                    let grant = grant.ok_or(Refused::NotFound("grant"))?;
                    if grant.revoked || grant.terms.expires_s <= now_s {
                        let over = "the grant has ended or was revoked; the owner gives another";
                        return Err(Refused::Conflict(over.to_owned()));
                    }
                    if address(&key) != grant.terms.session {
                        return Err(invalid("the public key is not the grant's session key"));
                    }
                    (grant.terms.session, grant.terms.expires_s)
                }
            };
            let holds = wanted.signature.recover(digest).and_then(|found| {
                let expected = signs;
                let other = ring0_channels::key::SignatureError::Other { expected, found };
                if found == expected { Ok(()) } else { Err(other) }
            });
            holds.map_err(|why| Refused::Signature {
                whose: "opening's",
                why,
            })?;
            if let Some(there) = state.session_of_opening(&digest) {
                if there.person == caller.person && there.is_live() {
                    return Ok((there.clone(), Vec::new()));
                }
                let used = "this opening was used; sign one with another nonce".to_owned();
                return Err(Refused::Conflict(used));
            }
            if wanted.deadline_s <= now_s || wanted.deadline_s > now_s + DEADLINE_MAX_S {
                return Err(invalid("the deadline is after now and within 300 seconds"));
            }
            if wanted.expires_s <= now_s || wanted.expires_s > most_s {
                return Err(Refused::Invalid(format!(
                    "the session ends after now and at most at {most_s}, as what it is opened under"
                )));
            }
            let live = state.sessions.values().filter(|it| it.is_live());
            let here = live.filter(|it| it.account == wanted.account && it.shard == wanted.shard);
            if here.filter(|it| it.expires_s > now_s).count() >= SESSIONS_MAX {
                return Err(Refused::Conflict(format!(
                    "the account has {SESSIONS_MAX} sessions on this shard; revoke one"
                )));
            }
            let session = TradingSession {
                id: SessionId(state.next(kind::SESSION)),
                opening: digest,
                organisation: account.organisation,
                account: wanted.account,
                shard: wanted.shard.clone(),
                person: caller.person,
                through: caller.through(),
                authority: wanted.authority,
                public_key: hex::encode(wanted.public_key),
                nonce: hex::encode(wanted.nonce),
                expires_s: wanted.expires_s,
                seat,
                since_ms: now_ms,
                stage: Stage::Opening,
            };
            let event = Event::SessionOpening {
                session: session.clone(),
            };
            Ok((session, vec![event]))
        })
    }

    /// The venue has taken a session. Where it is [`Stage::Ending`] afterwards it was revoked meanwhile: revoke it at the venue now.
    ///
    /// # Errors
    /// It is not there; the disk: then revoke it at the venue.
    pub fn session_opened(
        &self,
        session: SessionId,
        opened: Opened,
    ) -> Result<TradingSession, Refused> {
        self.change(
            |_| Actor::Venue,
            |state, _| {
                let found = state.sessions.get(&session);
                let mut value = found.ok_or(Refused::NotFound("trading session"))?.clone();
                let (stage, news) = match value.stage {
                    Stage::Opening => (Stage::Open(opened.clone()), true),
                    Stage::Ending(None) => (Stage::Ending(Some(opened.clone())), true),
                    Stage::Ended => (Stage::Ending(Some(opened.clone())), false),
                    known => (known, false),
                };
                value.stage = stage;
                let event = Event::SessionOpened { session, opened };
                Ok((value, if news { vec![event] } else { Vec::new() }))
            },
        )
    }

    /// The venue does not have a session: it has ended it, or has refused it.
    ///
    /// # Errors
    /// It is not there; the disk.
    pub fn session_ended(&self, session: SessionId) -> Result<(), Refused> {
        self.change(
            |()| Actor::Venue,
            |state, _| {
                let found = state.sessions.get(&session);
                let found = found.ok_or(Refused::NotFound("trading session"))?;
                let event = Event::SessionEnded { session };
                let news = found.stage != Stage::Ended;
                Ok(((), if news { vec![event] } else { Vec::new() }))
            },
        )
    }

    /// Ends a trading session whose end for new orders has come: what it still has at the venue is its place in the shard's table. Gives it where
    /// the venue is to be asked.
    ///
    /// # Errors
    /// It is not there, or its end has not come; the disk.
    pub fn end_expired(&self, session: SessionId) -> Result<Option<TradingSession>, Refused> {
        self.change(
            |_| Actor::Venue,
            |state, now_ms| {
                let found = state.sessions.get(&session);
                let found = found.ok_or(Refused::NotFound("trading session"))?;
                if found.expires_s > now_ms / 1_000 {
                    return Err(Refused::Conflict("its end has not come".to_owned()));
                }
                let mut events = Vec::new();
                let ending = ending(state, &mut events, "its end has come", |it| {
                    it.id == session
                });
                Ok((ending.into_iter().next(), events))
            },
        )
    }

    /// Ends a trading session of the caller's organisation.
    ///
    /// # Errors
    /// Why not.
    pub fn revoke_session(&self, caller: &Caller, session: SessionId) -> Result<Done<()>, Refused> {
        self.act(
            caller,
            Permission::RevokeTradingSession,
            |state, _, caller| {
                let found = state.sessions.get(&session);
                let found = found.filter(|it| Some(it.organisation) == caller.organisation());
                found.ok_or(Refused::NotFound("trading session"))?;
                let mut events = Vec::new();
                let who = "it is revoked";
                let ending = ending(state, &mut events, who, |it| it.id == session);
                Ok((Done { value: (), ending }, events))
            },
        )
    }

    /// Trading sessions of the caller's organisation, those that ended within a day too.
    ///
    /// # Errors
    /// Why not.
    pub fn sessions(&self, caller: &Caller) -> Result<Vec<TradingSession>, Refused> {
        caller.may(Permission::ReadOrganisation)?;
        self.read(|state| {
            let all = state.sessions.values();
            let mine = all.filter(|it| Some(it.organisation) == caller.organisation());
            Ok(mine.cloned().collect())
        })
    }

    /// All trading sessions that the venue may have, for other parts of the exchange.
    #[must_use]
    pub fn live_sessions(&self) -> Vec<TradingSession> {
        self.read(|state| {
            let all = state.sessions.values();
            all.filter(|it| it.is_live()).cloned().collect()
        })
    }

    /// Grants to a session key over an account, the one that ends last first; for other parts of the exchange.
    #[must_use]
    pub fn grants_to(&self, session: Address, account: u32) -> Vec<Grant> {
        let mut grants: Vec<_> = self.read(|state| {
            let all = state.grants.values();
            let to = all.filter(|it| it.terms.session == session && it.terms.account == account);
            to.cloned().collect()
        });
        grants.sort_by_key(|it| std::cmp::Reverse(it.terms.expires_s));
        grants
    }

    /// A trading session, for other parts of the exchange.
    #[must_use]
    pub fn session(&self, session: SessionId) -> Option<TradingSession> {
        self.read(|state| state.sessions.get(&session).cloned())
    }

    /// Sessions that the venue was to be asked about and did not answer, or that it was not asked about because this process died: ask again for those
    /// that are opening, then end those that are ending.
    #[must_use]
    pub fn unfinished(&self) -> Vec<TradingSession> {
        self.read(|state| {
            let all = state.sessions.values();
            let unfinished = all.filter(|it| matches!(it.stage, Stage::Opening | Stage::Ending(_)));
            unfinished.cloned().collect()
        })
    }
}
