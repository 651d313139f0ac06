//! One party's side of a channel: which version it may sign, accept, give up and publish, and when.
//!
//! Each party runs one. An update from version v to v+1 is, on each side, in any order between the sides:
//! `sign` (gives the other party its commitment v+1) · `accept` (takes the own) · `disclose` (gives up the own v) ·
//! `accept_disclosure` (takes the other's v). Each writes its record to the [`Journal`] before anything leaves.
//!
//! Always true:
//! - the other party's version v+1 is signed only when its versions below v are given up, durably: at most two of its
//!   versions can be published without penalty, and both were agreed on;
//! - the own version v is given up only after the own v+1, with the other party's signature, is durable;
//! - one version has one state on both sides; a second, different one is refused for ever, also after a restart;
//! - once a close is signed or a commitment published nothing is updated;
//! - who learns that its journal is older than what it gave up publishes nothing: it would be punished.

use std::io;

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Transaction,
    key::Keypair,
    secp256k1::{PublicKey, SecretKey, schnorr::Signature},
};
use serde::{Deserialize, Serialize};

use crate::{
    commitment::{
        Balance, ClaimError, Commitment, PENALTY_VBYTES, SignatureError, State, StateError,
    },
    cooperative::{Cooperative, Purpose},
    journal::Journal,
    keys::{Party, Secrets},
    musig::{MusigError, Signer},
    revocation::{RevealedSecrets, SecretError, VERSION_MAX},
    terms::{Funding, Terms, TermsError},
    tower::Kit,
    watched::{Output, Watched},
};

/// A fact that must survive before it is acted upon.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// The channel's beginning; always the first record.
    Opened {
        /// What was agreed on.
        terms: Box<Terms>,
        /// Whose side this is.
        role: Party,
        /// The first funding output.
        funding: Funding,
        /// The other party's revocation points of versions 0 and 1.
        points: [PublicKey; 2],
    },
    /// The other party's commitment of this state was signed.
    Signed(State),
    /// The own commitment of this state is held, with the other party's signature.
    Accepted(State, Signature),
    /// The own commitment of this version is given up: its secret may have left.
    Disclosed(u64),
    /// The other party gave a version up, and told its point of the one after the next.
    PeerDisclosed(Disclosure),
    /// The next version is over another funding output.
    SpliceBegun(Funding),
    /// The new funding output is deep enough in the chain.
    SpliceConfirmed,
    /// The splice can never confirm: another transaction spent one of its inputs.
    SpliceAbandoned,
    /// A cooperative close was agreed on: nothing is updated any more.
    Closing,
    /// The own commitment went out: nothing is updated any more.
    Exited,
    /// The other party holds secrets this journal does not know to have left: it is an old copy.
    Behind,
}

/// A version given up: what the other party needs to punish it, and to sign the one after the next.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Disclosure {
    /// Which.
    pub version: u64,
    /// Its revocation secret.
    pub secret: SecretKey,
    /// The revocation point of `version + 2`.
    pub next_point: PublicKey,
}

/// What parties tell each other when they connect again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// How many versions of the receiver the sender knows to be given up.
    pub disclosed_by_you: u64,
    /// The secret of the last of them.
    pub proof: Option<SecretKey>,
    /// The newest version the sender holds a commitment of.
    pub accepted: Option<u64>,
}

/// What follows from a [`Hello`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Both agree.
    InStep,
    /// The last disclosure did not arrive: send it again.
    SendAgain(Disclosure),
    /// This side's journal is an old copy. It must not publish: close cooperatively, or wait for the other party's commitment.
    WeAreBehind,
    /// The other side lost records: it should be offered a close at the newest state.
    PeerIsBehind,
}

/// What a transaction that spends the funding output is.
#[derive(Clone, Debug)]
pub enum Spend {
    /// No commitment: a close or splice.
    Cooperative,
    /// The own commitment.
    Own(u64),
    /// The other party's newest commitment, or the one before while that is not given up yet.
    PeerCurrent(u64),
    /// A commitment that the other party gave up: punish it.
    PeerRevoked {
        /// Which version.
        version: u64,
        /// What there is to take; `None` when the cheater's balance was below dust.
        balance: Option<Box<Balance>>,
    },
}

/// Why a step is refused. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not the version whose turn it is.
    #[error("it is the turn of version {turn}, not of {given}")]
    Turn {
        /// Whose turn it is.
        turn: u64,
        /// What was given.
        given: u64,
    },
    /// Another state of the same version was signed or accepted before.
    #[error("version {0} was agreed on with another balance or fee rate: it cannot have two")]
    AnotherState(u64),
    /// The version before is not given up yet.
    #[error("the {party} has not given up version {version} yet: ask it for its disclosure first")]
    NotGivenUp {
        /// Whose disclosure is missing.
        party: Party,
        /// Of which version.
        version: u64,
    },
    /// The new funding output is not confirmed yet: the version on the old one is what would have to be published.
    #[error(
        "the splice is not confirmed: until then the version before it is not given up and no new one begins"
    )]
    SplicePending,
    /// There is no splice, or it is not ready.
    #[error("no splice is at the point where this can be done")]
    NoSplice,
    /// The channel is closing, left, or stopped for good.
    #[error("the channel is {0}: nothing is updated any more")]
    Over(&'static str),
    /// An old copy: publishing would lose everything.
    #[error(
        "this journal is older than what was given up: publishing its commitment would forfeit the balance; ask the other party to close"
    )]
    Behind,
    /// Another close or splice than the one agreed on.
    #[error(
        "this close or splice has another balance, funding output or terms than this channel: do not sign it"
    )]
    NotAgreed,
    /// A close before [`Channel::begin_close`].
    #[error("no close was begun: updates must have ended before one is signed")]
    NotClosing,
    /// See there.
    #[error(transparent)]
    Musig(#[from] MusigError),
    /// There is nothing to publish on that output.
    #[error("no commitment is held on {0}")]
    NothingOn(OutPoint),
    /// See there.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// See there.
    #[error(transparent)]
    State(#[from] StateError),
    /// See there.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// See there.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A secret that does not fit the point told before.
    #[error(
        "the secret of version {0} does not fit the point told before: refuse further updates and close the channel"
    )]
    WrongSecret(u64),
    /// A proof that does not hold.
    #[error("the other party claims to know secrets of ours and cannot show the last one")]
    FalseProof,
    /// The keys are not those of the terms.
    #[error("these secrets are not those of the channel's {0}: wrong seed or channel number")]
    OtherKeys(Party),
    /// The record could not be made durable.
    #[error(
        "the record could not be made durable ({0}): nothing was signed; repair the disk and load the channel again"
    )]
    Journal(#[source] io::Error),
    /// An earlier record could not be made durable.
    #[error("an earlier record could not be made durable: load the channel again from its journal")]
    Stopped,
    /// Records that cannot follow each other.
    #[error("record {0} of the journal cannot follow those before it: restore the second copy")]
    Replay(usize),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    /// A splice on which commitments were signed was abandoned: the channel can only be closed.
    CloseOnly,
    Closing,
    Exited,
    Behind,
}

/// An own commitment with the other party's signature.
#[derive(Clone, Copy, Debug)]
struct Held {
    state: State,
    funding: Funding,
    signature: Signature,
}

/// One party's side of a channel.
pub struct Channel<J> {
    terms: Terms,
    role: Party,
    secrets: Secrets,
    journal: J,
    /// Set when a record may or may not be durable.
    stopped: bool,
    phase: Phase,
    funding: Funding,
    /// The next funding output, from agreement to confirmation.
    splice: Option<Funding>,
    /// The newest state signed for the other party, and the one before until the other gives it up.
    signed: Option<(State, Funding)>,
    signed_before: Option<(State, Funding)>,
    /// The newest own commitment, and the one before until it is given up.
    accepted: Option<Held>,
    accepted_before: Option<Held>,
    /// Own versions given up: `0..disclosed`.
    disclosed: u64,
    peer: RevealedSecrets,
    /// The other party's points of versions `peer.count()` and the next.
    points: [PublicKey; 2],
    /// The last commitment that the other party gave up, for its tower kit.
    revoked: Option<Commitment>,
    /// Every funding output on which a commitment was agreed, oldest first.
    outputs: Vec<Output>,
}

impl<J: Journal> Channel<J> {
    /// Opens a channel. The funding transaction must not be published before version 0 is accepted.
    ///
    /// `points` are the other party's revocation points of versions 0 and 1.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn open(
        terms: Terms,
        role: Party,
        secrets: Secrets,
        funding: Funding,
        points: [PublicKey; 2],
        mut journal: J,
    ) -> Result<Self, Refusal> {
        terms.check()?;
        let record = Record::Opened {
            terms: Box::new(terms),
            role,
            funding,
            points,
        };
        journal.append(&record).map_err(Refusal::Journal)?;
        Self::resume(secrets, journal, &[record])
    }

    /// Continues from a journal's records.
    ///
    /// # Errors
    /// [`Refusal::OtherKeys`], [`Refusal::Replay`].
    pub fn resume(secrets: Secrets, journal: J, records: &[Record]) -> Result<Self, Refusal> {
        let Some(Record::Opened {
            terms,
            role,
            funding,
            points,
        }) = records.first()
        else {
            return Err(Refusal::Replay(0));
        };
        if *terms.keys(*role) != secrets.public() {
            return Err(Refusal::OtherKeys(*role));
        }
        let mut channel = Self {
            terms: (**terms).clone(),
            role: *role,
            secrets,
            journal,
            stopped: false,
            phase: Phase::Open,
            funding: *funding,
            splice: None,
            signed: None,
            signed_before: None,
            accepted: None,
            accepted_before: None,
            disclosed: 0,
            peer: RevealedSecrets::default(),
            points: *points,
            revoked: None,
            outputs: Vec::new(),
        };
        for (place, record) in records.iter().enumerate().skip(1) {
            channel
                .allowed(record)
                .map_err(|_| Refusal::Replay(place))?;
            channel.apply(record);
        }
        Ok(channel)
    }

    /// The terms.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whose side this is.
    pub const fn role(&self) -> Party {
        self.role
    }

    /// The funding output that is confirmed.
    pub const fn funding(&self) -> Funding {
        self.funding
    }

    /// What to look for on the chain: ask again after each splice is agreed on. `None` before version 0.
    pub fn watched(&self) -> Option<Watched> {
        let first = self.outputs.first()?;
        Some(Watched {
            id: self.terms.id(first.funding.outpoint),
            terms: self.terms.clone(),
            outputs: self.outputs.clone(),
        })
    }

    /// The newest state with an own commitment.
    pub fn state(&self) -> Option<State> {
        self.accepted.map(|held| held.state)
    }

    /// Own versions given up: the first so many.
    pub const fn disclosed(&self) -> u64 {
        self.disclosed
    }

    /// The other party's versions given up: the first so many.
    pub const fn peer_disclosed(&self) -> u64 {
        self.peer.count()
    }

    /// The own revocation points of versions 0 and 1, which the other party needs to open.
    pub fn first_points(secrets: &Secrets) -> [PublicKey; 2] {
        [secrets.revocation.point(0), secrets.revocation.point(1)]
    }

    /// Version 0 is held: the funding transaction may be published, since its output can be left without the other party.
    pub const fn fundable(&self) -> bool {
        self.accepted.is_some()
    }

    /// Signs the other party's commitment of `state`. The same state again gives the same signature again, for lost messages.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn sign(&mut self, state: State) -> Result<Signature, Refusal> {
        if self.stopped {
            return Err(Refusal::Stopped); // not even again: the record of the first time may be missing
        }
        match self.signed {
            Some((signed, _)) if signed == state => {}
            _ => self.record(Record::Signed(state))?,
        }
        let (_, funding) = self.signed.expect("just signed");
        Ok(self
            .peer_commitment(&state, &funding)?
            .sign(&self.secrets.funding))
    }

    /// Takes the other party's signature of the own commitment of `state`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn accept(&mut self, state: State, signature: Signature) -> Result<(), Refusal> {
        match self.accepted {
            Some(held) if held.state == state && held.signature == signature && !self.stopped => {
                Ok(())
            }
            _ => self.record(Record::Accepted(state, signature)),
        }
    }

    /// Gives up the version before the newest; again, when it is given up already and the message was lost.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn disclose(&mut self) -> Result<Disclosure, Refusal> {
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        let newest = self.accepted.map_or(0, |held| held.state.version);
        let Some(version) = newest.checked_sub(1) else {
            return Err(Refusal::Turn {
                turn: 1,
                given: newest,
            });
        };
        if self.disclosed <= version {
            self.record(Record::Disclosed(version))?;
        }
        Ok(self.disclosure(version))
    }

    fn disclosure(&self, version: u64) -> Disclosure {
        let next = (version + 2).min(VERSION_MAX);
        Disclosure {
            version,
            secret: self.secrets.revocation.secret(version),
            next_point: self.secrets.revocation.point(next),
        }
    }

    /// Takes the other party's disclosure. Afterwards [`Channel::kit`] is what a tower must be told.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn accept_disclosure(&mut self, disclosure: &Disclosure) -> Result<(), Refusal> {
        if self.peer.secret(disclosure.version) == Some(disclosure.secret) && !self.stopped {
            return Ok(());
        }
        self.record(Record::PeerDisclosed(disclosure.clone()))
    }

    /// What the towers must be told of the last commitment that the other party gave up: after each disclosure, and again after
    /// a restart, since a tower takes the same kit twice. `None` before the first, and where there is nothing worth taking.
    ///
    /// The penalty pays `to`, less a fee at `rate_sat_per_kvb` that the tower can raise from its own wallet.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn kit(&self, to: ScriptBuf, rate_sat_per_kvb: u64) -> Result<Option<Kit>, ClaimError> {
        let Some(commitment) = &self.revoked else {
            return Ok(None);
        };
        let Ok(balance) = commitment.balance(commitment.holder) else {
            return Ok(None);
        };
        let fee = Amount::from_sat(
            rate_sat_per_kvb
                .saturating_mul(PENALTY_VBYTES)
                .div_ceil(1_000),
        );
        let penalty = self.punish(commitment.state.version, &balance, to, fee)?;
        Ok(Some(Kit {
            commitment: commitment.txid(),
            version: commitment.state.version,
            penalty,
            paid: fee,
        }))
    }

    /// The next version shall be over another funding output: the splice transaction is built and not signed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn begin_splice(&mut self, funding: Funding) -> Result<(), Refusal> {
        self.record(Record::SpliceBegun(funding))
    }

    /// The splice transaction may be signed: both sides' commitments on the new funding output are held here.
    ///
    /// # Errors
    /// [`Refusal::NoSplice`] before that.
    pub fn splice_signable(&self) -> Result<(), Refusal> {
        let Some(splice) = self.splice else {
            return Err(Refusal::NoSplice);
        };
        let held = self.accepted.is_some_and(|held| held.funding == splice);
        let signed = self.signed.is_some_and(|(_, funding)| funding == splice);
        if held && signed && self.phase == Phase::Open {
            Ok(())
        } else {
            Err(Refusal::NoSplice)
        }
    }

    /// The splice transaction is as deep in the chain as the venue wants.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn splice_confirmed(&mut self) -> Result<(), Refusal> {
        self.record(Record::SpliceConfirmed)
    }

    /// The splice can never confirm. If commitments on it were signed, the channel can only be closed or left from here: its version
    /// is used up on both sides and the old one must not be given up.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn splice_abandoned(&mut self) -> Result<(), Refusal> {
        self.record(Record::SpliceAbandoned)
    }

    /// A cooperative close is about to be signed: nothing is updated any more. Again is fine, for another fee.
    /// Gives the trader's balance to close with.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn begin_close(&mut self) -> Result<Amount, Refusal> {
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        if self.phase != Phase::Closing {
            self.record(Record::Closing)?;
        }
        // Where a splice was abandoned, the version before it is the newest on the output there is.
        let newest = self
            .held_on(self.funding.outpoint)
            .ok_or(Refusal::NothingOn(self.funding.outpoint))?;
        Ok(newest.state.trader)
    }

    fn held_on(&self, outpoint: OutPoint) -> Option<Held> {
        [self.accepted, self.accepted_before]
            .into_iter()
            .flatten()
            .find(|held| held.funding.outpoint == outpoint)
    }

    /// Leaves alone: the newest own commitment on a funding output, with both signatures, to be published.
    ///
    /// `unspent` is the channel's output that is unspent in the chain: while a splice is not confirmed there are two.
    /// Also allowed while a cooperative close hangs; never when this side is behind.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn exit(&mut self, unspent: OutPoint) -> Result<(Commitment, Transaction), Refusal> {
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        if self.phase == Phase::Behind {
            return Err(Refusal::Behind);
        }
        let held = self.held_on(unspent).ok_or(Refusal::NothingOn(unspent))?;
        if self.phase != Phase::Exited {
            self.record(Record::Exited)?;
        }
        let commitment = self.own_commitment(&held.state, &held.funding)?;
        let own = commitment.sign(&self.secrets.funding);
        let tx = match self.role {
            Party::Trader => commitment.complete(&own, &held.signature)?,
            Party::Operator => commitment.complete(&held.signature, &own)?,
        };
        Ok((commitment, tx))
    }

    /// What to tell the other party on connecting again.
    pub fn hello(&self) -> Hello {
        let count = self.peer.count();
        Hello {
            disclosed_by_you: count,
            proof: count.checked_sub(1).and_then(|last| self.peer.secret(last)),
            accepted: self.accepted.map(|held| held.state.version),
        }
    }

    /// Compares with the other party after a restart.
    ///
    /// # Errors
    /// [`Refusal::FalseProof`], [`Refusal::Journal`].
    pub fn compare(&mut self, hello: &Hello) -> Result<Standing, Refusal> {
        if self.phase == Phase::Behind {
            return Ok(Standing::WeAreBehind);
        }
        let known = hello.disclosed_by_you;
        if known > self.disclosed {
            // Only who was told our secret can show it: the claim proves itself.
            let last = known - 1;
            if last > VERSION_MAX || hello.proof != Some(self.secrets.revocation.secret(last)) {
                return Err(Refusal::FalseProof);
            }
            self.record(Record::Behind)?;
            return Ok(Standing::WeAreBehind);
        }
        // Who gave up versions 0 to n - 1 held n when it did.
        if self.peer.count() > 0 && hello.accepted < Some(self.peer.count()) {
            return Ok(Standing::PeerIsBehind);
        }
        match self.disclosed - known {
            0 => Ok(Standing::InStep),
            1 => Ok(Standing::SendAgain(self.disclosure(known))),
            _ => Ok(Standing::PeerIsBehind),
        }
    }

    /// What a transaction is that spends a funding output of this channel.
    pub fn recognise(&self, tx: &Transaction) -> Spend {
        let Some(version) = Commitment::version_of(&self.terms, tx) else {
            return Spend::Cooperative;
        };
        // Both parties' commitments of a version differ in who waits: the holder's balance has the holder's point in it.
        let own_point = self.secrets.revocation.point(version.min(VERSION_MAX));
        if Balance::revocable(&self.terms, self.role, &own_point, tx).is_some() {
            return Spend::Own(version);
        }
        match self.peer.secret(version) {
            Some(secret) => {
                let point = secret.public_key(&crate::keys::SECP);
                let balance =
                    Balance::revocable(&self.terms, self.role.other(), &point, tx).map(Box::new);
                Spend::PeerRevoked { version, balance }
            }
            None => Spend::PeerCurrent(version),
        }
    }

    /// The own balance in whatever commitment was published, of either party; `None` when it is below dust or `tx` is none.
    pub fn own_balance(&self, tx: &Transaction) -> Option<Balance> {
        let version = Commitment::version_of(&self.terms, tx)?.min(VERSION_MAX);
        let point = self.secrets.revocation.point(version);
        Balance::revocable(&self.terms, self.role, &point, tx)
            .or_else(|| Balance::plain(&self.terms, self.role, tx))
    }

    /// Takes the balance of a commitment that the other party gave up and published.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn punish(
        &self,
        version: u64,
        balance: &Balance,
        to: ScriptBuf,
        fee: Amount,
    ) -> Result<Transaction, ClaimError> {
        let secret = self.peer.secret(version).ok_or(ClaimError::Secret)?;
        balance.penalty(&self.terms, &self.secrets.penalty, &secret, to, fee)
    }

    /// Starts this party's part in the signature of a close or splice.
    ///
    /// A close must be by the trader's newest balance, and follows [`Channel::begin_close`]. Where this side is behind it does not
    /// know that balance: then the other party's word is all there is, and whoever asks for this signature takes it.
    /// A splice must be the one begun, with commitments on it held ([`Channel::splice_signable`]).
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn signer(&self, cooperative: &Cooperative) -> Result<Signer, Refusal> {
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        if *cooperative.terms() != self.terms || cooperative.funding() != self.funding {
            return Err(Refusal::NotAgreed);
        }
        match cooperative.purpose() {
            Purpose::Close { trader } => match self.phase {
                Phase::Behind => {}
                Phase::Closing
                    if self
                        .held_on(self.funding.outpoint)
                        .map(|held| held.state.trader)
                        == Some(trader) => {}
                Phase::Closing => return Err(Refusal::NotAgreed),
                _ => return Err(Refusal::NotClosing),
            },
            Purpose::Splice { to } => {
                self.splice_signable()?;
                if self.splice != Some(to) {
                    return Err(Refusal::NotAgreed);
                }
            }
        }
        Ok(cooperative.signer(&self.secrets.funding)?)
    }

    /// The key that takes this party's balances.
    pub const fn payout_key(&self) -> &Keypair {
        &self.secrets.payout
    }

    /// The key of this party's anchors. A tower may have it.
    pub const fn anchor_key(&self) -> &Keypair {
        &self.secrets.anchor
    }

    /// The own commitment of a state.
    fn own_commitment(&self, state: &State, funding: &Funding) -> Result<Commitment, StateError> {
        Commitment::build(
            &self.terms,
            funding,
            state,
            self.role,
            &self
                .secrets
                .revocation
                .point(state.version.min(VERSION_MAX)),
        )
    }

    /// The other party's commitment of a state.
    fn peer_commitment(&self, state: &State, funding: &Funding) -> Result<Commitment, Refusal> {
        let first = self.peer.count();
        let point = match state.version.checked_sub(first) {
            Some(0) => self.points[0],
            Some(1) => self.points[1],
            _ => {
                return Err(Refusal::Turn {
                    turn: first,
                    given: state.version,
                });
            }
        };
        Ok(Commitment::build(
            &self.terms,
            funding,
            state,
            self.role.other(),
            &point,
        )?)
    }

    /// The output the next version is over.
    fn next_funding(&self) -> Funding {
        self.splice.unwrap_or(self.funding)
    }

    /// The state agreed on for a version, as far as it is known.
    fn agreed(&self, version: u64) -> Option<State> {
        let states = [
            self.signed.map(|(state, _)| state),
            self.accepted.map(|held| held.state),
        ];
        states
            .into_iter()
            .flatten()
            .find(|state| state.version == version)
    }

    fn updatable(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::CloseOnly => Err(Refusal::Over(
                "to be closed, since its splice was abandoned",
            )),
            Phase::Closing => Err(Refusal::Over("closing")),
            Phase::Exited => Err(Refusal::Over("left")),
            Phase::Behind => Err(Refusal::Behind),
        }
    }

    /// Decides whether a record may follow. Reads only.
    fn allowed(&self, record: &Record) -> Result<(), Refusal> {
        let signed = self.signed.map(|(state, _)| state.version);
        let accepted = self.accepted.map(|held| held.state.version);
        match record {
            Record::Opened { .. } => Err(Refusal::Over("open already")),
            Record::Signed(state) => {
                self.updatable()?;
                if self
                    .agreed(state.version)
                    .is_some_and(|agreed| agreed != *state)
                {
                    return Err(Refusal::AnotherState(state.version));
                }
                let turn = signed.map_or(0, |version| version + 1);
                if state.version != turn {
                    return Err(Refusal::Turn {
                        turn,
                        given: state.version,
                    });
                }
                // Rule 14: with `turn` signed, the other party could publish `turn - 1` and `turn`; everything below must be dead.
                if let Some(version) = signed
                    && self.peer.count() < version
                {
                    return Err(Refusal::NotGivenUp {
                        party: self.role.other(),
                        version: self.peer.count(),
                    });
                }
                // And this side must hold the last version itself before it lets the other have a newer one.
                if accepted < signed {
                    return Err(Refusal::Turn {
                        turn: accepted.map_or(0, |version| version + 1),
                        given: state.version,
                    });
                }
                self.peer_commitment(state, &self.next_funding())?;
                Ok(())
            }
            Record::Accepted(state, signature) => {
                self.updatable()?;
                if self
                    .agreed(state.version)
                    .is_some_and(|agreed| agreed != *state)
                {
                    return Err(Refusal::AnotherState(state.version));
                }
                let turn = accepted.map_or(0, |version| version + 1);
                if state.version != turn {
                    return Err(Refusal::Turn {
                        turn,
                        given: state.version,
                    });
                }
                if let Some(version) = accepted
                    && self.disclosed < version
                {
                    return Err(Refusal::NotGivenUp {
                        party: self.role,
                        version: self.disclosed,
                    });
                }
                self.own_commitment(state, &self.next_funding())?
                    .verify(self.role.other(), signature)?;
                Ok(())
            }
            Record::Disclosed(version) => {
                self.updatable()?;
                if self.splice.is_some() {
                    return Err(Refusal::SplicePending);
                }
                if *version != self.disclosed || accepted.is_none_or(|newest| newest <= *version) {
                    return Err(Refusal::Turn {
                        turn: self.disclosed,
                        given: *version,
                    });
                }
                Ok(())
            }
            Record::PeerDisclosed(disclosure) => {
                // Taken in every phase: what the other party gives up only helps this one.
                if signed.is_none_or(|newest| newest <= disclosure.version) {
                    return Err(Refusal::Turn {
                        turn: self.peer.count(),
                        given: disclosure.version,
                    });
                }
                let mut peer = self.peer.clone();
                peer.insert(disclosure.version, disclosure.secret)?;
                if disclosure.secret.public_key(&crate::keys::SECP) != self.points[0] {
                    return Err(Refusal::WrongSecret(disclosure.version));
                }
                Ok(())
            }
            Record::SpliceBegun(funding) => {
                self.updatable()?;
                if self.splice.is_some() {
                    return Err(Refusal::SplicePending);
                }
                if signed != accepted || signed.is_none() || *funding == self.funding {
                    return Err(Refusal::NoSplice);
                }
                let newest = signed.unwrap_or_default();
                for (party, count) in [
                    (self.role, self.disclosed),
                    (self.role.other(), self.peer.count()),
                ] {
                    if count < newest {
                        return Err(Refusal::NotGivenUp {
                            party,
                            version: count,
                        });
                    }
                }
                Ok(())
            }
            Record::SpliceConfirmed => {
                let Some(splice) = self.splice else {
                    return Err(Refusal::NoSplice);
                };
                // Only a splice with commitments on it can have been signed, and confirm.
                if self.accepted.is_none_or(|held| held.funding != splice) {
                    Err(Refusal::NoSplice)
                } else {
                    Ok(())
                }
            }
            Record::SpliceAbandoned => self.splice.map(|_| ()).ok_or(Refusal::NoSplice),
            Record::Closing => match self.phase {
                Phase::Open | Phase::CloseOnly if self.splice.is_none() => Ok(()),
                Phase::Open | Phase::CloseOnly => Err(Refusal::SplicePending),
                _ => self.updatable(),
            },
            Record::Exited if self.phase == Phase::Behind => Err(Refusal::Behind),
            Record::Exited => Ok(()),
            Record::Behind => Ok(()),
        }
    }

    /// Decides, makes durable, applies; in that order.
    fn record(&mut self, record: Record) -> Result<(), Refusal> {
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        self.allowed(&record)?;
        // Decided. From here nothing is refused; but whether a failed record is on the disk nobody knows.
        if let Err(error) = self.journal.append(&record) {
            self.stopped = true;
            return Err(Refusal::Journal(error));
        }
        self.apply(&record);
        Ok(())
    }

    /// Remembers the funding output of a state that is the first one on it: what the trader's balance differs by from the state
    /// `before` is what it pays in or out by the splice.
    fn note_output(&mut self, state: &State, before: Option<State>) {
        let funding = self.next_funding();
        let last = self.outputs.last();
        if last.is_some_and(|last| last.funding == funding) {
            return;
        }
        let (deposited, withdrawn) = last.map_or((Amount::ZERO, Amount::ZERO), |last| {
            (last.deposited, last.withdrawn)
        });
        let before = before.map_or(Amount::ZERO, |before| before.trader);
        self.outputs.push(Output {
            funding,
            deposited: deposited + state.trader.checked_sub(before).unwrap_or(Amount::ZERO),
            withdrawn: withdrawn + before.checked_sub(state.trader).unwrap_or(Amount::ZERO),
        });
    }

    /// Applies a record that is allowed and durable. Cannot fail.
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Opened { .. } => unreachable!("refused by `allowed`"),
            Record::Signed(state) => {
                self.note_output(state, self.signed.map(|(before, _)| before));
                self.signed_before = self.signed;
                self.signed = Some((*state, self.next_funding()));
            }
            Record::Accepted(state, signature) => {
                self.note_output(state, self.accepted.map(|held| held.state));
                self.accepted_before = self.accepted;
                self.accepted = Some(Held {
                    state: *state,
                    funding: self.next_funding(),
                    signature: *signature,
                });
            }
            Record::Disclosed(version) => {
                self.disclosed = version + 1;
                self.accepted_before = None;
            }
            Record::PeerDisclosed(disclosure) => {
                self.revoked = self
                    .signed_before
                    .and_then(|(state, funding)| self.peer_commitment(&state, &funding).ok());
                self.peer
                    .insert(disclosure.version, disclosure.secret)
                    .expect("checked by `allowed`");
                self.points = [self.points[1], disclosure.next_point];
                self.signed_before = None;
            }
            Record::SpliceBegun(funding) => self.splice = Some(*funding),
            Record::SpliceConfirmed => {
                self.funding = self.splice.take().expect("checked by `allowed`")
            }
            Record::SpliceAbandoned => {
                let splice = self.splice.take();
                let used = self.accepted.map(|held| held.funding) == splice
                    || self.signed.map(|(_, funding)| funding) == splice;
                if used && self.phase == Phase::Open {
                    self.phase = Phase::CloseOnly;
                }
            }
            Record::Closing => self.phase = Phase::Closing,
            Record::Exited => self.phase = Phase::Exited,
            Record::Behind => self.phase = Phase::Behind,
        }
    }
}
