//! The life of a channel, the same for every chain: what its chain has confirmed, what both have signed, and what may be signed next (CUSTODY 1, 2, 6, 9).
//!
//! ```text
//! opening -> open <-> updating -> closing -> settled
//!              |  <-> withdrawing  ^
//!              +----> disputed ----+         any but settled -> frozen -> settled
//! ```
//!
//! Always true: a version is signed once and never rewinds; a signed state has seen no deposit that is not confirmed and no withdrawal that was not signed;
//! what a trader may take out (entitlement) is never negative; a channel that was settled takes nothing any more. A chain's facts come in through [`Life::see`] and count when so many blocks
//! lie on them; a reorganisation takes back what did not count. One that takes back what did count freezes the channel: people decide.

use crate::message::AMOUNT_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a channel is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Its opening is not confirmed.
    Opening,
    /// Nothing is under way.
    Open,
    /// One side has signed a state that the other has not.
    Updating,
    /// A withdrawal is signed and not confirmed; it lapses at its deadline.
    Withdrawing,
    /// A cooperative close is signed and not confirmed.
    Closing,
    /// A dispute is on the chain.
    Disputed,
    /// Its hub is frozen, or its chain took back what was confirmed: nothing is signed.
    Frozen,
    /// Closed or settled. Its id is never used again.
    Settled,
}

/// What a chain says of a channel, cumulative amounts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Fact {
    /// It is there, with so much in it.
    Opened {
        /// Deposited.
        deposited: u128,
    },
    /// Paid in so far.
    Deposited {
        /// Cumulative.
        deposited: u128,
    },
    /// Paid out so far.
    Withdrawn {
        /// Cumulative.
        withdrawn: u128,
    },
    /// A state is on the chain and the window runs.
    Disputed {
        /// The state's version; 0: none was ever signed.
        version: u64,
    },
    /// The hub is frozen.
    Frozen,
    /// Closed or settled: paid out.
    Settled,
}

/// A state as both sides sign it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Signed {
    /// Above the last one.
    pub version: u64,
    /// What the trader owns once all that is seen counts.
    pub balance: u128,
    /// Cumulative deposits in it.
    pub deposited_seen: u128,
    /// Cumulative withdrawals no longer in it.
    pub withdrawn_seen: u128,
    /// Settlement batch.
    pub epoch: u64,
    /// Height of the pinned block it is signed under.
    pub pin: u64,
}

/// What a chain's operator has chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// Blocks that lie on a fact before it counts (k).
    pub confirmations: u64,
    /// Blocks between two pins (P).
    pub pin_every: u64,
}

/// Why something is not done. Nothing has changed then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Not in this phase.
    #[error(
        "a channel that is {0:?} does not take that; wait for its chain, or exit by the last state"
    )]
    Phase(Phase),
    /// A version that was signed, or one below.
    #[error(
        "version {given} is not above {last}, which is signed; a version is signed once: use the next one"
    )]
    Version {
        /// The last one.
        last: u64,
        /// What was asked.
        given: u64,
    },
    /// An epoch below the last one.
    #[error("epoch {given} is below {last}; a batch does not come twice")]
    Epoch {
        /// The last one.
        last: u64,
        /// What was asked.
        given: u64,
    },
    /// It has seen a deposit that is not confirmed.
    #[error(
        "the state has seen deposits of {seen}, and {confirmed} are confirmed; wait for the chain"
    )]
    Deposit {
        /// In the state.
        seen: u128,
        /// Confirmed.
        confirmed: u128,
    },
    /// It has seen a withdrawal that is not confirmed, or lost one.
    #[error(
        "the state has seen withdrawals of {seen}; confirmed are {confirmed} and the last state had seen {before}"
    )]
    Withdrawal {
        /// In the state.
        seen: u128,
        /// Confirmed.
        confirmed: u128,
        /// In the last state.
        before: u128,
    },
    /// The pin is too old: a fork since then would have both sides.
    #[error(
        "the pin at block {pin} is {age} blocks old, and {max} are allowed; sign under a newer one"
    )]
    Pin {
        /// Its height.
        pin: u64,
        /// Its age.
        age: u64,
        /// The most.
        max: u64,
    },
    /// More than the trader has.
    #[error("{asked} are asked and {entitled} are the trader's")]
    Entitlement {
        /// What was asked.
        asked: u128,
        /// What there is.
        entitled: u128,
    },
    /// No such amount.
    #[error("{0} is beyond what a hub takes")]
    Amount(u128),
}

/// A withdrawal that was signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Leaving {
    /// Cumulative.
    withdrawn: u128,
    /// Venue's clock, seconds.
    deadline: u64,
}

/// A channel.
#[derive(Clone, Debug)]
pub struct Life {
    rules: Rules,
    phase: Phase,
    tip: u64,
    /// Facts that do not count yet, by height.
    waiting: BTreeMap<u64, Vec<Fact>>,
    /// Height below which all counts.
    counted: u64,
    deposited: u128,
    withdrawn: u128,
    last: Option<Signed>,
    offered: Option<Signed>,
    leaving: Option<Leaving>,
    /// States shown in the dispute, in the chain's order: height and version.
    disputes: Vec<(u64, u64)>,
}

impl Life {
    /// One that is about to be opened.
    #[must_use]
    pub fn new(rules: Rules) -> Life {
        Life {
            rules,
            phase: Phase::Opening,
            tip: 0,
            waiting: BTreeMap::new(),
            counted: 0,
            deposited: 0,
            withdrawn: 0,
            last: None,
            offered: None,
            leaving: None,
            disputes: Vec::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Confirmed deposits, cumulative: what may be credited.
    #[must_use]
    pub fn deposited(&self) -> u128 {
        self.deposited
    }

    /// Confirmed withdrawals, cumulative.
    #[must_use]
    pub fn withdrawn(&self) -> u128 {
        self.withdrawn
    }

    /// The last state that both signed.
    #[must_use]
    pub fn last(&self) -> Option<Signed> {
        self.last
    }

    /// What the trader can take home alone: balance, and what it has paid in and out since (CUSTODY 2). Without a state all that was paid in.
    #[must_use]
    pub fn entitlement(&self) -> u128 {
        let (balance, seen_in, seen_out) = self.last.map_or((0, 0, 0), |last| {
            (last.balance, last.deposited_seen, last.withdrawn_seen)
        });
        (balance + (self.deposited - seen_in)).saturating_sub(self.withdrawn - seen_out)
    }

    /// Whether the dispute on the chain is by an older state than the last one: then that one has to be shown before the window ends (CUSTODY 18).
    #[must_use]
    pub fn must_refute(&self) -> bool {
        let last = self.last.map_or(0, |last| last.version);
        matches!(self.phase, Phase::Disputed | Phase::Frozen)
            && self
                .disputes
                .last()
                .is_some_and(|(_, version)| *version < last)
    }

    /// A fact in the block at `height`. It counts once so many blocks lie on it.
    ///
    /// # Errors
    /// An amount beyond what a hub takes; a fact of a settled channel.
    pub fn see(&mut self, fact: Fact, height: u64) -> Result<(), Refused> {
        if self.phase == Phase::Settled {
            return Err(Refused::Phase(self.phase));
        }
        if let Fact::Opened { deposited: amount }
        | Fact::Deposited { deposited: amount }
        | Fact::Withdrawn { withdrawn: amount } = fact
            && amount > AMOUNT_MAX
        {
            return Err(Refused::Amount(amount));
        }
        // A dispute and a freeze stop signing at once: waiting for confirmations would only help who exits by an old state.
        match fact {
            Fact::Disputed { version } => {
                if self.disputes.last() != Some(&(height, version)) {
                    self.disputes.push((height, version));
                }
                // A frozen one is left by a dispute too, and signs nothing before it.
                if self.phase != Phase::Frozen {
                    self.phase = Phase::Disputed;
                }
            }
            Fact::Frozen => self.phase = Phase::Frozen,
            _ => {}
        }
        self.waiting.entry(height).or_default().push(fact);
        self.count();
        Ok(())
    }

    /// The chain has come to `tip`; `now` is the venue's clock in seconds, at which signed withdrawals lapse.
    pub fn tip(&mut self, tip: u64, now: u64) {
        self.tip = self.tip.max(tip);
        self.count();
        if self.leaving.is_some_and(|leaving| now > leaving.deadline) {
            self.left();
        }
    }

    /// The blocks above `height` are no longer in the chain.
    pub fn reorganised(&mut self, height: u64) {
        if self.phase == Phase::Settled {
            return;
        }
        self.waiting.split_off(&(height + 1));
        // A refutation that is gone leaves the older state standing, and it has to be shown again.
        self.disputes.retain(|(at, _)| *at <= height);
        self.tip = self.tip.min(height);
        if height + 1 < self.counted {
            // What counted may be gone.
            self.phase = Phase::Frozen;
        } else if self.disputes.is_empty() && self.phase == Phase::Disputed {
            self.phase = match (self.leaving, self.offered) {
                (Some(_), _) => Phase::Withdrawing,
                (None, Some(_)) => Phase::Updating,
                (None, None) => Phase::Open,
            };
        }
    }

    /// Takes in what counts now.
    fn count(&mut self) {
        let Some(end) = (self.tip + 1).checked_sub(self.rules.confirmations) else {
            return;
        };
        let waiting = self.waiting.split_off(&end);
        for fact in std::mem::replace(&mut self.waiting, waiting)
            .into_values()
            .flatten()
        {
            match fact {
                Fact::Opened { deposited } => {
                    self.deposited = self.deposited.max(deposited);
                    if self.phase == Phase::Opening {
                        self.phase = Phase::Open;
                    }
                }
                Fact::Deposited { deposited } => self.deposited = self.deposited.max(deposited),
                Fact::Withdrawn { withdrawn } => {
                    self.withdrawn = self.withdrawn.max(withdrawn);
                    let is_done = |leaving: Leaving| leaving.withdrawn <= withdrawn;
                    if self.leaving.is_some_and(is_done) {
                        self.left();
                    }
                }
                Fact::Settled => self.phase = Phase::Settled,
                Fact::Disputed { .. } | Fact::Frozen => {}
            }
        }
        self.counted = self.counted.max(end);
    }

    /// No withdrawal is under way any more.
    fn left(&mut self) {
        self.leaving = None;
        if self.phase == Phase::Withdrawing {
            self.phase = match self.offered {
                Some(_) => Phase::Updating,
                None => Phase::Open,
            };
        }
    }

    /// One side signs a state. The other's signature is [`Life::complete`].
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn offer(&mut self, state: Signed) -> Result<(), Refused> {
        if !matches!(
            self.phase,
            Phase::Open | Phase::Updating | Phase::Withdrawing
        ) {
            return Err(Refused::Phase(self.phase));
        }
        for amount in [state.balance, state.deposited_seen, state.withdrawn_seen] {
            if amount > AMOUNT_MAX {
                return Err(Refused::Amount(amount));
            }
        }
        let before = self.last.map_or((0, 0, 0, 0), |last| {
            (
                last.version,
                last.epoch,
                last.deposited_seen,
                last.withdrawn_seen,
            )
        });
        // What was offered may be signed by the other side at any time, so its version is used.
        let version = self.offered.map_or(before.0, |offered| offered.version);
        if Some(state) != self.offered && state.version <= version {
            return Err(Refused::Version {
                last: version,
                given: state.version,
            });
        }
        if state.epoch < before.1 {
            return Err(Refused::Epoch {
                last: before.1,
                given: state.epoch,
            });
        }
        if !(before.2..=self.deposited).contains(&state.deposited_seen) {
            return Err(Refused::Deposit {
                seen: state.deposited_seen,
                confirmed: self.deposited,
            });
        }
        if !(before.3..=self.withdrawn).contains(&state.withdrawn_seen) {
            return Err(Refused::Withdrawal {
                seen: state.withdrawn_seen,
                confirmed: self.withdrawn,
                before: before.3,
            });
        }
        // A withdrawal that is signed is paid from this state too.
        let leaving = self
            .leaving
            .map_or(self.withdrawn, |leaving| leaving.withdrawn);
        let owed = leaving.max(self.withdrawn) - state.withdrawn_seen;
        let there = state.balance + (self.deposited - state.deposited_seen);
        if owed > there {
            return Err(Refused::Entitlement {
                asked: owed,
                entitled: there,
            });
        }
        let (age, max) = (
            self.tip.saturating_sub(state.pin),
            self.rules.pin_every + self.rules.confirmations,
        );
        if age > max {
            return Err(Refused::Pin {
                pin: state.pin,
                age,
                max,
            });
        }
        self.offered = Some(state);
        if self.phase == Phase::Open {
            self.phase = Phase::Updating;
        }
        Ok(())
    }

    /// Both have signed what was offered: it is the last state.
    ///
    /// # Errors
    /// Nothing was offered, or another state.
    pub fn complete(&mut self, version: u64) -> Result<Signed, Refused> {
        match self.offered {
            Some(offered) if offered.version == version => {
                self.last = Some(offered);
                self.offered = None;
                if self.phase == Phase::Updating {
                    self.phase = Phase::Open;
                }
                Ok(offered)
            }
            _ => Err(Refused::Version {
                last: self.last.map_or(0, |last| last.version),
                given: version,
            }),
        }
    }

    /// Both sign a withdrawal up to this much in all, until a deadline.
    ///
    /// # Errors
    /// More than the trader has; one is under way; not in this phase.
    pub fn withdraw(&mut self, withdrawn: u128, deadline: u64) -> Result<(), Refused> {
        if self.phase != Phase::Open || self.leaving.is_some() {
            return Err(Refused::Phase(self.phase));
        }
        let entitled = self.entitlement();
        let asked = withdrawn.saturating_sub(self.withdrawn);
        if asked == 0 || asked > entitled {
            return Err(Refused::Entitlement { asked, entitled });
        }
        self.leaving = Some(Leaving {
            withdrawn,
            deadline,
        });
        self.phase = Phase::Withdrawing;
        Ok(())
    }

    /// Both sign the end; no state is signed any more.
    ///
    /// # Errors
    /// Something is under way.
    pub fn close(&mut self) -> Result<u128, Refused> {
        if self.phase != Phase::Open {
            return Err(Refused::Phase(self.phase));
        }
        self.phase = Phase::Closing;
        Ok(self.entitlement())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules {
        confirmations: 3,
        pin_every: 10,
    };

    fn open(deposited: u128) -> Life {
        let mut life = Life::new(RULES);
        life.see(Fact::Opened { deposited }, 1).unwrap();
        life.tip(3, 0);
        assert_eq!(life.phase(), Phase::Opening, "two blocks are not three");
        life.tip(4, 0);
        assert_eq!((life.phase(), life.entitlement()), (Phase::Open, deposited));
        life
    }

    fn state(version: u64, balance: u128, deposited_seen: u128) -> Signed {
        Signed {
            version,
            balance,
            deposited_seen,
            withdrawn_seen: 0,
            epoch: version,
            pin: 3,
        }
    }

    #[test]
    fn a_version_is_signed_once() {
        let mut life = open(100);
        life.offer(state(1, 120, 100)).unwrap();
        assert_eq!(life.phase(), Phase::Updating);
        life.offer(state(1, 120, 100)).unwrap(); // sent again
        let other = life.offer(state(1, 90, 100)).unwrap_err();
        assert_eq!(other, Refused::Version { last: 1, given: 1 });
        life.complete(1).unwrap();
        assert!(life.complete(1).is_err());
        assert!(life.offer(state(1, 120, 100)).is_err());
        life.offer(state(2, 80, 100)).unwrap();
        assert_eq!(
            life.entitlement(),
            120,
            "until both have signed the last one holds"
        );
        life.complete(2).unwrap();
        assert_eq!(life.entitlement(), 80);
    }

    #[test]
    fn a_deposit_counts_when_confirmed_and_goes_with_its_block() {
        let mut life = open(100);
        life.see(Fact::Deposited { deposited: 150 }, 5).unwrap();
        life.tip(7, 0);
        assert_eq!(life.deposited(), 100);
        let early = life.offer(state(1, 150, 150)).unwrap_err();
        assert!(matches!(early, Refused::Deposit { confirmed: 100, .. }));
        life.reorganised(4);
        life.tip(20, 0);
        assert_eq!((life.deposited(), life.phase()), (100, Phase::Open));
        life.see(Fact::Deposited { deposited: 130 }, 17).unwrap();
        assert_eq!(life.deposited(), 130);
        life.reorganised(12);
        assert_eq!(life.phase(), Phase::Frozen, "what counted is gone");
        assert!(life.offer(state(1, 130, 130)).is_err());
    }

    #[test]
    fn an_old_pin_is_refused() {
        let mut life = open(100);
        life.tip(30, 0);
        let old = life.offer(state(1, 100, 100)).unwrap_err();
        assert_eq!(
            old,
            Refused::Pin {
                pin: 3,
                age: 27,
                max: 13
            }
        );
    }

    #[test]
    fn a_withdrawal_lapses_or_is_paid_once() {
        let mut life = open(100);
        assert!(life.withdraw(101, 50).is_err());
        life.withdraw(60, 50).unwrap();
        assert!(life.withdraw(10, 50).is_err(), "one at a time");
        assert!(life.close().is_err());
        // A state that leaves less than what is on its way out would be paid twice.
        assert!(matches!(
            life.offer(state(1, 50, 100)),
            Err(Refused::Entitlement { .. })
        ));
        life.tip(4, 51);
        assert_eq!((life.phase(), life.entitlement()), (Phase::Open, 100));
        life.withdraw(60, 90).unwrap();
        life.see(Fact::Withdrawn { withdrawn: 60 }, 5).unwrap();
        life.tip(8, 60);
        assert_eq!((life.phase(), life.entitlement()), (Phase::Open, 40));
        assert_eq!(life.close(), Ok(40));
        life.see(Fact::Settled, 8).unwrap();
        life.tip(11, 61);
        assert_eq!(life.phase(), Phase::Settled);
        let late = life.see(Fact::Deposited { deposited: 200 }, 11);
        assert_eq!(late, Err(Refused::Phase(Phase::Settled)));
    }

    #[test]
    fn an_old_states_dispute_asks_for_the_last_one() {
        let mut life = open(100);
        for version in 1..=2 {
            life.offer(state(version, 100 + u128::from(version), 100))
                .unwrap();
            life.complete(version).unwrap();
        }
        life.see(Fact::Disputed { version: 1 }, 4).unwrap();
        assert!(life.must_refute() && life.phase() == Phase::Disputed);
        assert!(life.offer(state(3, 100, 100)).is_err());
        life.reorganised(3);
        assert_eq!(life.phase(), Phase::Open);
        life.see(Fact::Disputed { version: 2 }, 5).unwrap();
        assert!(!life.must_refute());
    }

    #[test]
    fn a_refutation_that_is_gone_is_shown_again() {
        let mut life = open(100);
        life.offer(state(1, 90, 100)).unwrap();
        life.complete(1).unwrap();
        life.see(Fact::Disputed { version: 0 }, 4).unwrap();
        life.see(Fact::Disputed { version: 1 }, 5).unwrap();
        assert!(!life.must_refute());
        life.reorganised(4);
        assert!(life.must_refute() && life.phase() == Phase::Disputed);
        life.see(Fact::Disputed { version: 1 }, 6).unwrap();
        assert!(!life.must_refute());
    }

    #[derive(Clone, Debug)]
    enum Step {
        See(Fact, u64),
        Tip(u64, u64),
        Reorganise(u64),
        Offer(Signed),
        Complete(u64),
        Withdraw(u128, u64),
        Close,
    }

    fn step() -> impl Strategy<Value = Step> {
        let amount = || 0_u128..400;
        let fact = prop_oneof![
            amount().prop_map(|deposited| Fact::Opened { deposited }),
            amount().prop_map(|deposited| Fact::Deposited { deposited }),
            (0_u128..60).prop_map(|withdrawn| Fact::Withdrawn { withdrawn }),
            (0_u64..6).prop_map(|version| Fact::Disputed { version }),
        ];
        prop_oneof![
            4 => (fact, 0_u64..60).prop_map(|(fact, at)| Step::See(fact, at)),
            4 => (0_u64..80, 0_u64..100).prop_map(|(tip, now)| Step::Tip(tip, now)),
            1 => (0_u64..60).prop_map(Step::Reorganise),
            6 => (1_u64..8, amount(), amount(), 0_u128..60, 1_u64..8, 0_u64..80).prop_map(
                |(version, balance, deposited_seen, withdrawn_seen, epoch, pin)| Step::Offer(Signed {
                    version, balance, deposited_seen, withdrawn_seen, epoch, pin,
                })
            ),
            4 => (1_u64..8).prop_map(Step::Complete),
            2 => (amount(), 0_u64..100).prop_map(|(withdrawn, deadline)| Step::Withdraw(withdrawn, deadline)),
            1 => Just(Step::Close),
        ]
    }

    proptest! {
        /// Whatever comes in whatever order.
        #[test]
        fn what_was_signed_never_rewinds(steps in prop::collection::vec(step(), 1..80)) {
            let mut life = Life::new(RULES);
            let mut offered: BTreeMap<u64, Signed> = BTreeMap::new();
            let mut last = 0;
            for step in steps {
                match step {
                    Step::See(fact, at) => drop(life.see(fact, at)),
                    Step::Tip(tip, now) => life.tip(tip, now),
                    Step::Reorganise(height) => life.reorganised(height),
                    Step::Offer(state) => {
                        let (phase, deposited) = (life.phase(), life.deposited());
                        if life.offer(state).is_ok() {
                            // One state a version, for ever: the other side may keep what it got.
                            let first = *offered.entry(state.version).or_insert(state);
                            prop_assert_eq!(first, state, "two states of one version");
                            prop_assert!(state.deposited_seen <= deposited);
                            prop_assert!(!matches!(phase, Phase::Disputed | Phase::Frozen | Phase::Settled | Phase::Closing));
                        }
                    }
                    Step::Complete(version) => {
                        if life.complete(version).is_ok() {
                            prop_assert!(version > last, "{version} behind {last}");
                            last = version;
                        }
                    }
                    Step::Withdraw(withdrawn, deadline) => {
                        let entitled = life.entitlement();
                        if life.withdraw(withdrawn, deadline).is_ok() {
                            prop_assert!(withdrawn.saturating_sub(life.withdrawn) <= entitled);
                        }
                    }
                    Step::Close => drop(life.close()),
                }
                prop_assert_eq!(life.last().map_or(0, |it| it.version), last);
                prop_assert!(life.entitlement() <= 2 * AMOUNT_MAX);
            }
        }
    }
}
