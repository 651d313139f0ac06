//! The batch protocol (CUSTODY 11) as a pure state machine: which step comes next, and which is refused.
//!
//! ```text
//! Cut -> Recorded -> Signed -> CoSigned per account -> Closed, who has not signed lags -> next Cut
//!   \-> GivenUp, nothing was signed ---------------------------------------------------/
//!             Recorded, and the signer lost its store -> Raised --------------------------/
//! ```
//!
//! Its steps are entries of the journal: each is durable before the next one is taken, so after a death at any arrow the journal alone says how to go on.
//! Always true: an epoch has one recorded root, and only a recorded one is given to the signer; a co-signature counts only for the newest recorded
//! epoch of its account and only once the root is signed; what a settlement mark covers is never beyond the last durable co-signature. The model that
//! walks through all orders of deaths is `tests/model.rs`.

use ring0_channels::B256;
use std::collections::BTreeMap;

/// One durable step.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step<'a> {
    /// Which records are in.
    Cut {
        /// The batch's number.
        epoch: u64,
    },
    /// The cut is not recorded, and the next one is made: nothing was signed.
    GivenUp {
        /// The batch's number.
        epoch: u64,
    },
    /// The trees are built, covered by the vault, and the whole batch is durable.
    Recorded {
        /// The batch's number.
        epoch: u64,
        /// What the signer signs: the root over the batch's entries.
        root: B256,
        /// Accounts that have a new state in it.
        accounts: &'a [u32],
    },
    /// The signer's signature is durable: root and paths may be published.
    Signed {
        /// The batch's number.
        epoch: u64,
    },
    /// A trader's signature is durable.
    CoSigned {
        /// The batch's number.
        epoch: u64,
        /// Whose.
        account: u32,
    },
    /// The time for co-signing is over: whoever has not signed lags.
    Closed {
        /// The batch's number.
        epoch: u64,
    },
    /// The signer lost its store, and signs nothing up to a number that the lost one may have signed: a batch that waits for it is given up.
    Raised {
        /// The next batch's number is above it.
        floor: u64,
    },
}

/// Why a step is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Not this epoch's turn.
    #[error(
        "epoch {given} is not {expected}, which is under way; ask `batches` which epoch waits for signatures"
    )]
    Epoch {
        /// The one under way.
        expected: u64,
        /// Asked for.
        given: u64,
    },
    /// It comes later, or came already.
    #[error(
        "epoch {epoch} is {stage}, and this step does not come then; ask `batches` how far it is"
    )]
    Order {
        /// The epoch under way.
        epoch: u64,
        /// How far it is.
        stage: &'static str,
    },
    /// The account has no new state in the batch.
    #[error("account {account} has no new state in epoch {epoch}: there is nothing to sign")]
    NotIn {
        /// Whose.
        account: u32,
        /// The batch's number.
        epoch: u64,
    },
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Stage {
    Cut,
    GivenUp,
    Recorded,
    Signed,
    Closed,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Cut => "cut",
            Stage::GivenUp => "given up",
            Stage::Recorded => "recorded",
            Stage::Signed => "signed",
            Stage::Closed => "closed",
        }
    }
}

/// What the daemon has to do now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Begin this epoch when its time has come.
    Cut(u64),
    /// Build the trees of a cut and record them, or give it up and cut the next one.
    Record(u64),
    /// Ask the signer for this root. Asked again it gives the same signature.
    Sign {
        /// The batch's number.
        epoch: u64,
        /// What it signs.
        root: B256,
    },
    /// Publish, and take signatures until the time is over.
    Collect(u64),
}

/// The protocol's state, computed from the journal.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Protocol {
    epoch: u64,
    stage: Option<Stage>,
    root: B256,
    /// The newest epoch that is recorded, and whether the operator has signed it.
    recorded: u64,
    published: bool,
    /// Accounts of that: whether they have signed.
    parts: BTreeMap<u32, bool>,
    /// By account: the last epoch with a durable co-signature.
    covered: BTreeMap<u32, u64>,
    /// By account: the first epoch that it has not signed since.
    lagging: BTreeMap<u32, u64>,
}

impl Protocol {
    /// What comes next.
    #[must_use]
    pub fn next(&self) -> Next {
        match self.stage {
            None | Some(Stage::Closed | Stage::GivenUp) => Next::Cut(self.epoch + 1),
            Some(Stage::Cut) => Next::Record(self.epoch),
            Some(Stage::Recorded) => Next::Sign {
                epoch: self.epoch,
                root: self.root,
            },
            Some(Stage::Signed) => Next::Collect(self.epoch),
        }
    }

    /// Whether a step may be taken now. It must be durable before [`Protocol::apply`] takes it in.
    ///
    /// # Errors
    /// See [`Refused`]; nothing has changed.
    pub fn check(&self, step: &Step<'_>) -> Result<(), Refused> {
        let (expected, given) = match *step {
            Step::Cut { epoch } => (self.epoch + 1, epoch),
            Step::CoSigned { epoch, .. } => (self.recorded, epoch),
            Step::Raised { .. } => (self.epoch, self.epoch),
            Step::Recorded { epoch, .. }
            | Step::GivenUp { epoch }
            | Step::Signed { epoch }
            | Step::Closed { epoch } => (self.epoch, epoch),
        };
        if expected != given {
            return Err(Refused::Epoch { expected, given });
        }
        let fits = match (step, self.stage) {
            (Step::Cut { .. }, None | Some(Stage::GivenUp | Stage::Closed))
            | (Step::Recorded { .. } | Step::GivenUp { .. }, Some(Stage::Cut))
            | (Step::Signed { .. }, Some(Stage::Recorded))
            | (Step::Closed { .. }, Some(Stage::Signed))
            | (
                Step::Raised { .. },
                None | Some(Stage::GivenUp | Stage::Closed | Stage::Recorded),
            ) => true,
            // Who was late signs until the next epoch is recorded: until then it is the newest state.
            (Step::CoSigned { .. }, _) => self.published,
            _ => false,
        };
        if !fits {
            return Err(Refused::Order {
                epoch: self.epoch,
                stage: self.stage.map_or("not begun", Stage::name),
            });
        }
        match *step {
            Step::CoSigned { epoch, account } if !self.parts.contains_key(&account) => {
                Err(Refused::NotIn { account, epoch })
            }
            _ => Ok(()),
        }
    }

    /// Takes in a durable step.
    ///
    /// # Errors
    /// As [`Protocol::check`]: the journal contradicts itself.
    pub fn apply(&mut self, step: &Step<'_>) -> Result<(), Refused> {
        self.check(step)?;
        match *step {
            Step::Cut { epoch } => (self.epoch, self.stage) = (epoch, Some(Stage::Cut)),
            Step::Recorded { root, accounts, .. } => {
                self.root = root;
                (self.recorded, self.published) = (self.epoch, false);
                self.parts = accounts.iter().map(|account| (*account, false)).collect();
                self.stage = Some(Stage::Recorded);
            }
            Step::GivenUp { .. } => self.stage = Some(Stage::GivenUp),
            Step::Signed { .. } => {
                self.published = true;
                self.stage = Some(Stage::Signed);
            }
            Step::CoSigned { epoch, account } => {
                self.parts.insert(account, true);
                self.covered.insert(account, epoch);
                self.lagging.remove(&account);
            }
            Step::Closed { epoch } => {
                for (account, _) in self.parts.iter().filter(|(_, signed)| !**signed) {
                    self.lagging.entry(*account).or_insert(epoch);
                }
                self.stage = Some(Stage::Closed);
            }
            Step::Raised { floor } => {
                if self.stage == Some(Stage::Recorded) {
                    // Nobody has seen it, and nobody signs it any more.
                    self.parts.clear();
                }
                self.stage = Some(Stage::GivenUp);
                self.epoch = self.epoch.max(floor);
            }
        }
        Ok(())
    }

    /// The epoch under way or done last; 0: none.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How far that is, for people.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        self.stage.map_or("not begun", Stage::name)
    }

    /// The newest epoch that is recorded; 0: none.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Whether root and paths of the newest recorded epoch are published.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.published
    }

    /// Whether an account's signature of the newest epoch is durable; `None`: it has no new state in it.
    #[must_use]
    pub fn has_signed(&self, account: u32) -> Option<bool> {
        self.parts.get(&account).copied()
    }

    /// Whether everybody has signed the epoch under way.
    #[must_use]
    pub fn all_signed(&self) -> bool {
        self.parts.values().all(|signed| *signed)
    }

    /// Accounts of the newest epoch, and whether they have signed.
    pub fn parts(&self) -> impl Iterator<Item = (u32, bool)> {
        self.parts
            .iter()
            .map(|(account, signed)| (*account, *signed))
    }

    /// The last epoch that an account has signed durably; 0: none. Settlement marks cover up to its cut, and no further.
    #[must_use]
    pub fn covered(&self, account: u32) -> u64 {
        self.covered.get(&account).copied().unwrap_or(0)
    }

    /// Accounts that lag, with the first epoch they did not sign.
    pub fn lagging(&self) -> impl Iterator<Item = (u32, u64)> {
        self.lagging
            .iter()
            .map(|(account, epoch)| (*account, *epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(steps: &[Step<'_>]) -> Result<Protocol, Refused> {
        let mut protocol = Protocol::default();
        for step in steps {
            protocol.apply(step)?;
        }
        Ok(protocol)
    }

    const ROOT: B256 = B256::repeat_byte(1);
    const BEGUN: [Step<'static>; 3] = [
        Step::Cut { epoch: 1 },
        Step::Recorded {
            epoch: 1,
            root: ROOT,
            accounts: &[4, 7],
        },
        Step::Signed { epoch: 1 },
    ];

    #[test]
    fn an_epoch_goes_its_way() {
        assert_eq!(Protocol::default().next(), Next::Cut(1));
        assert_eq!(run(&BEGUN[..1]).unwrap().next(), Next::Record(1));
        let sign = Next::Sign {
            epoch: 1,
            root: ROOT,
        };
        assert_eq!(run(&BEGUN[..2]).unwrap().next(), sign);
        let mut protocol = run(&BEGUN).unwrap();
        assert_eq!(protocol.next(), Next::Collect(1));
        let one = Step::CoSigned {
            epoch: 1,
            account: 7,
        };
        protocol.apply(&one).unwrap();
        protocol.apply(&Step::Closed { epoch: 1 }).unwrap();
        assert_eq!(protocol.lagging().collect::<Vec<_>>(), [(4, 1)]);
        assert_eq!((protocol.covered(7), protocol.covered(4)), (1, 0));
        // Late, and still the newest state.
        let late = Step::CoSigned {
            epoch: 1,
            account: 4,
        };
        protocol.apply(&late).unwrap();
        assert_eq!(protocol.lagging().count(), 0);
        assert_eq!(protocol.next(), Next::Cut(2));
        protocol.apply(&Step::Cut { epoch: 2 }).unwrap();
        protocol.apply(&Step::GivenUp { epoch: 2 }).unwrap();
        assert_eq!(protocol.next(), Next::Cut(3));
        protocol.check(&late).unwrap();
        protocol.apply(&Step::Cut { epoch: 3 }).unwrap();
        let next = Step::Recorded {
            epoch: 3,
            root: ROOT,
            accounts: &[4],
        };
        protocol.apply(&next).unwrap();
        assert!(matches!(protocol.check(&late), Err(Refused::Epoch { .. })));
    }

    #[test]
    fn above_what_a_lost_signer_may_have_signed() {
        let raised = Step::Raised { floor: 7 };
        let mut protocol = run(&BEGUN[..2]).unwrap();
        protocol.apply(&raised).unwrap();
        assert_eq!(protocol.next(), Next::Cut(8));
        assert!(!protocol.is_published() && protocol.parts().count() == 0);
        // It is not signed any more, by whomever.
        assert!(protocol.check(&BEGUN[2]).is_err());
        assert!(run(&BEGUN).unwrap().check(&raised).is_err());
        // What was signed before is signed late as ever; numbers never fall.
        let mut protocol = run(&BEGUN).unwrap();
        protocol.apply(&Step::Closed { epoch: 1 }).unwrap();
        protocol.apply(&raised).unwrap();
        protocol.apply(&Step::Raised { floor: 3 }).unwrap();
        assert_eq!(protocol.next(), Next::Cut(8));
        let late = Step::CoSigned {
            epoch: 1,
            account: 4,
        };
        protocol.apply(&late).unwrap();
    }

    #[test]
    fn a_recorded_epoch_is_not_recorded_again() {
        let other = Step::Recorded {
            epoch: 1,
            root: B256::repeat_byte(2),
            accounts: &[4],
        };
        for steps in [&BEGUN[..2], &BEGUN] {
            let protocol = run(steps).unwrap();
            assert!(matches!(protocol.check(&other), Err(Refused::Order { .. })));
            assert!(protocol.check(&Step::Cut { epoch: 1 }).is_err());
            assert!(protocol.check(&Step::Cut { epoch: 2 }).is_err());
        }
        let early = Step::CoSigned {
            epoch: 1,
            account: 4,
        };
        assert!(run(&BEGUN[..2]).unwrap().check(&early).is_err());
        let foreign = Step::CoSigned {
            epoch: 1,
            account: 5,
        };
        assert_eq!(
            run(&BEGUN).unwrap().check(&foreign),
            Err(Refused::NotIn {
                account: 5,
                epoch: 1
            })
        );
    }
}
