//! A channel: what of the hub's money is its own, the newest state on chain, and every step from opening to the last payout.
//!
//! Each step decides first and changes after: on a refusal nothing has changed. A payout that the parties agreed on is given to the caller, who pays it in the same
//! action. What a settlement owes is booked as `due` and collected by an action of its own, because a transfer that the receiver refuses takes its whole transaction with it.

use crate::AMOUNT_MAX;
use crate::account::Name;
use crate::evidence::{CoSignature, LeafProof};
use crate::hash::{Address, Host, Word};
use crate::hub::Hub;
use crate::message::{self, State, Terms, UINT40_END, Validity};
use crate::refusal::Refusal;
use crate::signature::Signature;
use crate::vault::Vault;

/// The newest state the hub knows of a channel: version 0, the state before any signature, or one that was shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// balance − depositedSeen + withdrawnSeen: what trading added, or took.
    pub base: i64,
    /// Number of the state.
    pub version: u64,
    /// Its epoch.
    pub epoch: u64,
    /// End of the dispute; zero: no dispute.
    pub deadline: u64,
    /// Number of the posted root that secures the state's excess; zero: none.
    pub security: u32,
}

/// Who signs states for the owner, if the owner named another than the terms do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Succession {
    /// Changes so far; zero: the terms' co-signer signs.
    pub number: u64,
    /// Who signs before `from`.
    pub current: Address,
    /// Who signs from `from` on.
    pub next: Address,
    /// Seconds of Unix time.
    pub from: u64,
}

/// A channel. Never erased: a closed one keeps its id used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Channel {
    /// Hash of lineage, hub and terms.
    pub id: Word,
    /// What never changes.
    pub terms: Terms,
    /// Closed for good.
    pub closed: bool,
    /// Cumulative.
    pub deposited: u64,
    /// Cumulative.
    pub withdrawn: u64,
    /// Net of all moves from the vault into the escrow; negative the other way.
    pub moved: i64,
    /// Rebalances so far.
    pub moves: u64,
    /// Newest state.
    pub record: Record,
    /// Other co-signers.
    pub succession: Succession,
    /// Where its claim begins on the vault's line.
    pub claim_start: u128,
    /// What of its settlement is not paid, nor due yet.
    pub claim: u64,
    /// What the owner may collect.
    pub due: u64,
}

/// A partial withdrawal that the operator signed; the owner is who calls.
#[derive(Clone, Copy, Debug)]
pub struct Withdrawal {
    /// Cumulative: what will have been withdrawn in all.
    pub withdrawn: u128,
    /// Who is paid.
    pub recipient: Name,
    /// Where and how long it is good.
    pub validity: Validity,
    /// The operator's.
    pub operator: Signature,
}

/// A cooperative close that the operator signed; the owner is who calls.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// What the trader owns once all that is "seen" counts.
    pub balance: u128,
    /// Cumulative deposits in it.
    pub deposited_seen: u128,
    /// Cumulative withdrawals in it.
    pub withdrawn_seen: u128,
    /// Who is paid.
    pub recipient: Name,
    /// Where and how long it is good.
    pub validity: Validity,
    /// The operator's.
    pub operator: Signature,
}

/// A move between a channel's escrow and the vault that co-signer and operator signed.
#[derive(Clone, Copy, Debug)]
pub struct Rebalancing {
    /// Counts a channel's moves from 1.
    pub number: u64,
    /// From the vault into the escrow; negative the other way.
    pub moved: i64,
    /// Where and how long it is good.
    pub validity: Validity,
    /// The co-signer's.
    pub cosigner: Signature,
    /// The operator's.
    pub operator: Signature,
}

/// The operator's half of a state.
#[derive(Clone, Copy, Debug)]
pub enum Operator<'a> {
    /// Compact form: it signed the state.
    State(Signature),
    /// Leaf form: it signed a batch with the state in it.
    Leaf(LeafProof<'a>),
}

/// An amount that came in a message: within what a token has.
pub(crate) fn amount(given: u128) -> Result<u64, Refusal> {
    match u64::try_from(given) {
        Ok(fits) if fits <= AMOUNT_MAX => Ok(fits),
        _ => Err(Refusal::AmountTooLarge { amount: given }),
    }
}

/// Numbers are signed as 40 bits, so more is no such number.
pub(crate) fn require_uint40(numbers: &[u64]) -> Result<(), Refusal> {
    match numbers.iter().find(|it| **it >= UINT40_END) {
        Some(number) => Err(Refusal::NumberTooLarge { number: *number }),
        None => Ok(()),
    }
}

/// balance − depositedSeen + withdrawnSeen: three amounts of 62 bits.
pub(crate) fn base(
    balance: u128,
    deposited_seen: u128,
    withdrawn_seen: u128,
) -> Result<i64, Refusal> {
    let signed = |given| amount(given).map(|it| it as i64);
    Ok(signed(balance)? - signed(deposited_seen)? + signed(withdrawn_seen)?)
}

impl Channel {
    /// What of the hub's money is this channel's own; nothing once it is closed. Withdrawals and moves are checked against it, so it is never negative.
    #[must_use]
    pub fn escrow(&self) -> u64 {
        if self.closed {
            return 0;
        }
        let escrow =
            i128::from(self.deposited) + i128::from(self.moved) - i128::from(self.withdrawn);
        assert!(escrow >= 0, "escrow is never negative");
        escrow as u64
    }

    /// What the owner is owed by a state: its balance, and what it had not seen. Never negative.
    fn entitlement(&self, base: i64) -> u64 {
        let owed = i128::from(base) + i128::from(self.deposited) - i128::from(self.withdrawn);
        owed.max(0) as u64
    }

    /// What a state needs above the channel's escrow. Deposits and withdrawals change both alike.
    fn excess(&self, base: i64) -> u128 {
        (i128::from(base) - i128::from(self.moved)).max(0) as u128
    }

    /// Who signs states now.
    #[must_use]
    pub fn cosigner(&self, now: u64) -> Address {
        match self.succession.number {
            0 => self.terms.cosigner,
            _ if now >= self.succession.from => self.succession.next,
            _ => self.succession.current,
        }
    }

    fn require_open(&self) -> Result<(), Refusal> {
        match self.closed {
            false => Ok(()),
            true => Err(Refusal::ChannelClosed),
        }
    }

    fn require_no_dispute(&self) -> Result<(), Refusal> {
        match self.record.deadline {
            0 => Ok(()),
            deadline => Err(Refusal::ChannelInDispute { deadline }),
        }
    }

    /// Moves vault money into the escrow.
    fn move_in<H: Host>(
        &mut self,
        hub: &Hub<H>,
        vault: &mut Vault,
        given: u128,
        more: u128,
    ) -> Result<(), Refusal> {
        let given = amount(given)?;
        let moved = i128::from(self.moved) + i128::from(given);
        let moved = i64::try_from(moved).map_err(|_| Refusal::AmountTooLarge {
            amount: moved.unsigned_abs(),
        })?;
        vault.take_free(given.into(), more, &hub.status)?;
        self.moved = moved;
        Ok(())
    }
}

impl<H: Host> Hub<'_, H> {
    /// A channel of these terms, empty.
    ///
    /// # Errors
    /// Frozen, or the co-signer is nobody or the operator, which would sign both halves of a state.
    pub fn open(&self, terms: Terms) -> Result<Channel, Refusal> {
        self.status.require_not_frozen()?;
        self.require_cosigner(&terms.cosigner)?;
        let id = terms.channel(self.host, &self.settings.lineage, &self.address);
        Ok(Channel {
            id,
            terms,
            ..Channel::default()
        })
    }

    fn require_cosigner(&self, key: &Address) -> Result<(), Refusal> {
        match *key != [0; 20] && *key != self.settings.operator_key {
            true => Ok(()),
            false => Err(Refusal::PartyInvalid),
        }
    }

    /// Adds to a channel.
    ///
    /// # Errors
    /// Closed, in dispute, frozen, nothing given, or more than a token has.
    pub fn deposit(&self, channel: &mut Channel, given: u64) -> Result<(), Refusal> {
        if given == 0 {
            return Err(Refusal::AmountIsZero);
        }
        self.status.require_not_frozen()?;
        channel.require_open()?;
        channel.require_no_dispute()?;
        channel.deposited = amount(u128::from(channel.deposited) + u128::from(given))?;
        Ok(())
    }

    fn require_valid(&self, validity: &Validity) -> Result<(), Refusal> {
        require_uint40(&[validity.deadline])?;
        if self.now > validity.deadline {
            return Err(Refusal::Expired {
                deadline: validity.deadline,
            });
        }
        self.require_pinned(&validity.branch)
    }

    fn require_operator(&self, message: &Word, signature: &Signature) -> Result<(), Refusal> {
        let digest = message::digest(self.host, &self.domains.hub, message);
        signature.require(self.host, &digest, &self.settings.operator_key)
    }

    /// Pays out up to `withdrawn` cumulative, from the escrow, then from the vault's free part. Gives what the caller pays to the recipient.
    ///
    /// # Errors
    /// Closed, used, expired, another branch, not signed, not covered.
    pub fn withdraw(
        &self,
        channel: &mut Channel,
        vault: &mut Vault,
        it: &Withdrawal,
    ) -> Result<u64, Refusal> {
        channel.require_open()?;
        if it.withdrawn <= channel.withdrawn.into() {
            return Err(Refusal::WithdrawnNotMore {
                recorded: channel.withdrawn,
                given: it.withdrawn,
            });
        }
        let withdrawn = amount(it.withdrawn)?;
        self.require_valid(&it.validity)?;
        let recipient = it.recipient.address();
        let message = message::withdrawal(
            self.host,
            &channel.id,
            it.withdrawn,
            &recipient,
            &it.validity,
        );
        self.require_operator(&message, &it.operator)?;

        let (paid, escrow) = (withdrawn - channel.withdrawn, channel.escrow());
        if paid > escrow {
            // Winnings: the vault's money becomes escrow before it leaves.
            channel.move_in(self, vault, (paid - escrow).into(), escrow.into())?;
        }
        channel.withdrawn = withdrawn;
        Ok(paid)
    }

    /// Ends the channel and gives what the caller pays to the recipient: the balance, and what it had not seen. The rest of the escrow goes to the vault.
    ///
    /// # Errors
    /// Closed, expired, another branch, not signed, not covered.
    pub fn close(
        &self,
        channel: &mut Channel,
        vault: &mut Vault,
        it: &Closing,
    ) -> Result<u64, Refusal> {
        channel.require_open()?;
        let base = base(it.balance, it.deposited_seen, it.withdrawn_seen)?;
        self.require_valid(&it.validity)?;
        let amounts = [it.balance, it.deposited_seen, it.withdrawn_seen];
        let recipient = it.recipient.address();
        let message = message::closing(self.host, &channel.id, amounts, &recipient, &it.validity);
        self.require_operator(&message, &it.operator)?;

        let (entitled, escrow) = (channel.entitlement(base), channel.escrow());
        if entitled > escrow {
            vault.take_free((entitled - escrow).into(), escrow.into(), &self.status)?;
        } else {
            vault.inflow(escrow - entitled);
        }
        channel.closed = true;
        Ok(entitled)
    }

    /// Moves between the escrow and the vault's free part. Not in a dispute: it would change what of the state a posted root has to secure.
    ///
    /// # Errors
    /// Frozen, closed, in dispute, not the next number, expired, not signed, not covered.
    pub fn rebalance(
        &self,
        channel: &mut Channel,
        vault: &mut Vault,
        it: &Rebalancing,
    ) -> Result<(), Refusal> {
        self.status.require_not_frozen()?;
        channel.require_open()?;
        channel.require_no_dispute()?;
        self.require_valid(&it.validity)?;
        require_next(channel.moves, it.number)?;
        let moved = i128::from(it.moved);
        let message = message::rebalancing(self.host, &channel.id, it.number, moved, &it.validity);
        let digest = message::digest(self.host, &self.domains.hub, &message);
        it.cosigner
            .require(self.host, &digest, &channel.cosigner(self.now))?;
        it.operator
            .require(self.host, &digest, &self.settings.operator_key)?;

        if it.moved > 0 {
            channel.move_in(self, vault, it.moved.unsigned_abs().into(), 0)?;
        } else {
            let (given, escrow) = (it.moved.unsigned_abs(), channel.escrow());
            if given > escrow {
                return Err(Refusal::NotCovered {
                    amount: given.into(),
                    available: escrow.into(),
                });
            }
            channel.moved -= given as i64;
            vault.inflow(given);
        }
        channel.moves = it.number;
        Ok(())
    }

    /// The owner names another co-signer, who counts after one window.
    ///
    /// # Errors
    /// Closed, not the next number, nobody or the operator.
    pub fn change_cosigner(
        &self,
        channel: &mut Channel,
        key: Address,
        number: u64,
    ) -> Result<(), Refusal> {
        channel.require_open()?;
        self.require_cosigner(&key)?;
        require_next(channel.succession.number, number)?;
        channel.succession = Succession {
            number,
            current: channel.cosigner(self.now),
            next: key,
            from: self.now + u64::from(self.settings.window),
        };
        Ok(())
    }

    /// Records a newer state without a dispute: older ones are worthless from then on.
    ///
    /// # Errors
    /// Not newer, in dispute, closed, or the state does not count.
    pub fn checkpoint(
        &self,
        channel: &mut Channel,
        vault: &Vault,
        state: &State,
        trader: &CoSignature,
        operator: &Operator,
    ) -> Result<(), Refusal> {
        channel.require_open()?;
        let (base, _) = self.require_state(channel, vault, state, trader, operator)?;
        channel.require_no_dispute()?;
        let record = &channel.record;
        if state.version <= record.version {
            return Err(not_newer(record, state));
        }
        require_forwards(record, state)?;
        // Without security: rebalances may still change what the state needs above the escrow.
        channel.record = Record {
            base,
            version: state.version,
            epoch: state.epoch,
            deadline: 0,
            security: 0,
        };
        Ok(())
    }

    /// A party starts the way out with a state.
    ///
    /// # Errors
    /// The caller is no party, the state does not count or is older than what the hub has, a dispute runs, or the channel is closed.
    pub fn dispute(
        &self,
        channel: &mut Channel,
        vault: &Vault,
        caller: Name,
        state: &State,
        trader: &CoSignature,
        operator: &Operator,
    ) -> Result<(), Refusal> {
        channel.require_open()?;
        self.require_party(channel, caller)?;
        let (base, security) = self.require_state(channel, vault, state, trader, operator)?;
        channel.require_no_dispute()?;
        let record = &channel.record;
        // The checkpointed state itself may be shown again, by a leaf that secures it. A second state of the same version has no signature of an honest operator;
        // the one on chain stands.
        let repeats = state.version == record.version && base == record.base;
        if state.version == 0 || (state.version <= record.version && !repeats) {
            return Err(not_newer(record, state));
        }
        require_forwards(record, state)?;
        channel.record = Record {
            base,
            version: state.version,
            epoch: state.epoch,
            deadline: self.window_from_now(),
            security,
        };
        Ok(())
    }

    /// A party starts the way out with what the hub has: a checkpoint, or nothing signed at all (version 0).
    ///
    /// # Errors
    /// The caller is no party, a dispute runs, or the channel is closed.
    pub fn dispute_recorded(&self, channel: &mut Channel, caller: Name) -> Result<(), Refusal> {
        channel.require_open()?;
        self.require_party(channel, caller)?;
        channel.require_no_dispute()?;
        channel.record.deadline = self.window_from_now();
        Ok(())
    }

    /// Anybody replaces a disputed state by a newer one, until the deadline, which stays.
    ///
    /// # Errors
    /// No dispute, too late, not newer, or the state does not count.
    pub fn refute(
        &self,
        channel: &mut Channel,
        vault: &Vault,
        state: &State,
        trader: &CoSignature,
        operator: &Operator,
    ) -> Result<(), Refusal> {
        channel.require_open()?;
        let (base, mut security) = self.require_state(channel, vault, state, trader, operator)?;
        let record = &channel.record;
        if record.deadline == 0 {
            return Err(Refusal::ChannelNotInDispute);
        }
        if self.now >= record.deadline {
            return Err(Refusal::WindowOver {
                deadline: record.deadline,
            });
        }
        // The same state again counts under a root posted later than the one it was shown under.
        let secures =
            state.version == record.version && base == record.base && security > record.security;
        if state.version <= record.version && !secures {
            return Err(not_newer(record, state));
        }
        require_forwards(record, state)?;
        if security == 0 && base <= record.base {
            // A newer state that needs no more than the one a posted root secured stays secured.
            security = record.security;
        }
        channel.record = Record {
            base,
            version: state.version,
            epoch: state.epoch,
            deadline: record.deadline,
            security,
        };
        Ok(())
    }

    /// After the deadline anybody ends the channel: own escrow first, then the vault, the rest becomes a claim. Books what is paid as due to the owner. Never
    /// refuses for lack of cover.
    ///
    /// # Errors
    /// No dispute, the window is open, or the channel is closed.
    pub fn settle(&self, channel: &mut Channel, vault: &mut Vault) -> Result<(), Refusal> {
        channel.require_open()?;
        let Record {
            base,
            deadline,
            security,
            ..
        } = channel.record;
        if deadline == 0 {
            return Err(Refusal::ChannelNotInDispute);
        }
        if self.now < deadline {
            return Err(Refusal::WindowOpen { deadline });
        }

        let (entitled, escrow) = (channel.entitlement(base), channel.escrow());
        channel.closed = true;
        if entitled > escrow {
            let excess = entitled - escrow;
            let covered = vault.cover(excess, security, &self.status);
            channel.due = escrow + covered;
            if covered < excess {
                vault.claim(channel, excess - covered);
            }
        } else {
            channel.due = entitled;
            vault.inflow(escrow - entitled);
        }
        Ok(())
    }

    /// What the caller pays to the owner of a settled channel: what is due, and what later inflow has funded of its claim.
    ///
    /// # Errors
    /// Nothing.
    pub fn collect(&self, channel: &mut Channel, vault: &Vault) -> Result<u64, Refusal> {
        let funded = vault.funded_of(channel);
        let paid = channel.due + funded;
        if paid == 0 {
            return Err(Refusal::NothingToCollect);
        }
        channel.due = 0;
        channel.claim_start += u128::from(funded);
        channel.claim -= funded;
        Ok(paid)
    }

    /// Who knows an old state, say from a checkpoint, could otherwise end other people's channels.
    fn require_party(&self, channel: &Channel, caller: Name) -> Result<(), Refusal> {
        match caller == channel.terms.owner || caller == self.settings.operator {
            true => Ok(()),
            false => Err(Refusal::NotParty { caller }),
        }
    }

    fn window_from_now(&self) -> u64 {
        self.now + u64::from(self.settings.window)
    }

    /// Checks both halves of a state.
    fn require_state(
        &self,
        channel: &Channel,
        vault: &Vault,
        state: &State,
        trader: &CoSignature,
        operator: &Operator,
    ) -> Result<(i64, u32), Refusal> {
        let base = base(state.balance, state.deposited_seen, state.withdrawn_seen)?;
        let hash = self.require_trader(channel, state, base, trader)?;
        let security = match operator {
            Operator::State(signature) => {
                self.require_operator(&hash, signature)?;
                0
            }
            Operator::Leaf(proof) => {
                let token = channel.terms.token.address();
                self.require_leaf(vault, &token, &hash, state, channel.excess(base), proof)?
            }
        };
        Ok((base, security))
    }
}

fn require_next(recorded: u64, given: u64) -> Result<(), Refusal> {
    let expected = recorded + 1;
    match given == expected {
        true => require_uint40(&[given]),
        false => Err(Refusal::NumberWrong { expected, given }),
    }
}

fn not_newer(record: &Record, state: &State) -> Refusal {
    Refusal::VersionNotNewer {
        recorded: record.version,
        given: state.version,
    }
}

fn require_forwards(record: &Record, state: &State) -> Result<(), Refusal> {
    match state.epoch < record.epoch {
        false => Ok(()),
        true => Err(Refusal::EpochRewinds {
            recorded: record.epoch,
            given: state.epoch,
        }),
    }
}
