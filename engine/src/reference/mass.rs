//! Mass cancels of a session or an account, in steps of so many looks and visits.
//! Rule: `docs/matching.md#mass-cancel-m`.

use super::order::Order;
use super::step::{Pending, Task};
use super::terms::work_is_left;
use super::{Done, Reference, locate_of};
use crate::Reason;
use crate::limits::{CANCELS_MAX, LOOKS_MAX, MASS_WORK};
use crate::record::{Removal, State, Work};
use ring0_wire::Message;
use ring0_wire::message::{BOTH, SCOPE_ACCOUNT};

/// Whose orders a mass cancel takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    Session(u32),
    Account(u32),
}

/// Which orders it takes, and why.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    /// 0: of all instruments.
    pub(super) locate: u32,
    /// `B`, `S` or a space.
    pub(super) side: u8,
    pub(super) removal: Removal,
}

impl Scope {
    pub(super) fn all(removal: Removal) -> Scope {
        Scope {
            locate: 0,
            side: BOTH,
            removal,
        }
    }
}

/// A pending mass cancel and where it has come to.
#[derive(Clone, Copy)]
pub(super) struct Mass {
    pub(super) locate: u32,
    pub(super) side: u8,
    pub(super) removal: Removal,
    /// The session that it goes through; none where an account has no sessions.
    pub(super) session: Option<u32>,
    /// Next place of that session's window.
    pub(super) place: u32,
    /// Next overflowed order of that session.
    pub(super) overflowed: Option<u64>,
}

impl Mass {
    /// Whether instrument and side are named ones.
    pub(super) fn names(&self, order: &Order) -> bool {
        (self.locate == 0 || self.locate == locate_of(order.instrument))
            && (self.side == BOTH || self.side == order.side)
    }
}

impl Reference {
    /// `M`.
    pub(super) fn mass_cancel(
        &mut self,
        index: u32,
        message: &Message,
        work: &mut u32,
    ) -> Result<Done, Reason> {
        let named = self.listed(message.locate);
        if message.locate != 0 && named.is_none() {
            return Err(self.not_here(message.locate, Reason::UnknownInstrument));
        }
        work_is_left(*work)?;
        let kill = message.kill == 1;
        if !kill {
            self.no_mass_cancel(index)?;
            let frozen = match named {
                Some(at) => {
                    let instrument = self.instrument(at);
                    instrument.work.is_some() || instrument.state == State::Uncrossing
                }
                None => self.instruments.iter().flatten().any(|i| i.work.is_some()),
            };
            if frozen {
                return Err(Reason::Continuing);
            }
        }

        // Done:
        let owner = if message.scope == SCOPE_ACCOUNT {
            Owner::Account(self.session(index).grant.account)
        } else {
            Owner::Session(index)
        };
        let scope = Scope {
            locate: u32::from(message.locate),
            side: message.side,
            removal: if kill { Removal::Kill } else { Removal::Mass },
        };
        *work += MASS_WORK;
        Ok(if kill {
            self.kill(owner, scope)
        } else {
            self.begin_mass(owner, scope)
        })
    }

    /// Kills the owner and begins its mass cancel, or widens a pending one to all orders and begins it anew.
    pub(super) fn kill(&mut self, owner: Owner, scope: Scope) -> Done {
        match owner {
            Owner::Session(index) => self.session_mut(index).killed = true,
            Owner::Account(index) => self.account_mut(index).killed = true,
        }
        if self.mass_of(owner).is_some() {
            self.begin_mass(owner, Scope::all(Removal::Kill))
        } else {
            self.begin_mass(owner, scope)
        }
    }

    /// Begins a mass cancel and carries out the first step.
    pub(super) fn begin_mass(&mut self, owner: Owner, scope: Scope) -> Done {
        let session = match owner {
            Owner::Session(index) => Some(index),
            Owner::Account(index) => self.account(index).sessions.first().copied(),
        };
        *self.mass_of(owner) = Some(Mass {
            locate: scope.locate,
            side: scope.side,
            removal: scope.removal,
            session,
            place: 0,
            overflowed: None,
        });
        self.mass_some(owner)
    }

    pub(super) fn mass_step(&mut self, owner: Owner) {
        let sequence = self.next();
        let done = self.mass_some(owner);
        let (work, index) = match owner {
            Owner::Session(index) => (Work::SessionCancel, index),
            Owner::Account(index) => (Work::AccountCancel, index),
        };
        self.publish_step(sequence, 0, (0, index), work, done);
    }

    /// One step; the mass cancel is no longer pending when that was all.
    fn mass_some(&mut self, owner: Owner) -> Done {
        let (mut looks, mut visits, mut cancelled) = (0, 0, 0);
        while looks < LOOKS_MAX && visits < CANCELS_MAX {
            looks += 1;
            let mut mass = self.mass_of(owner).expect("it is pending");
            let Some(index) = mass.session else {
                return self.mass_ends(owner, cancelled);
            };
            let session = self.session(index);
            let visited = if mass.place < session.places() {
                let block_end = ((mass.place / 64 + 1) * 64).min(session.places());
                let found = session.window.range(mass.place..block_end).next();
                mass.overflowed = session.overflowed.first().copied();
                mass.place = found.map_or(block_end, |(place, _)| place + 1);
                found.map(|(_, reference)| session.references[reference])
            } else if let Some(id) = mass.overflowed {
                mass.overflowed = session.overflowed_after(id);
                Some(id)
            } else if let Some(next) = self.session_after(owner, index) {
                mass.session = Some(next);
                mass.place = 0;
                None
            } else {
                return self.mass_ends(owner, cancelled);
            };
            *self.mass_of(owner) = Some(mass);
            let Some(id) = visited else { continue };
            visits += 1;
            let order = self.orders[&id];
            if mass.names(&order) && !self.sweeps(&order) {
                self.remove(&order, mass.removal);
                cancelled += 1;
            }
        }
        self.queue(pending_of(owner));
        Done::continues(cancelled)
    }

    fn mass_ends(&mut self, owner: Owner, cancelled: u32) -> Done {
        *self.mass_of(owner) = None;
        self.unqueue(pending_of(owner));
        Done::accepted(cancelled)
    }

    /// The session of the same account that was granted next, where the account is the owner.
    fn session_after(&self, owner: Owner, index: u32) -> Option<u32> {
        let Owner::Account(account) = owner else {
            return None;
        };
        let sessions = &self.account(account).sessions;
        let place = sessions.iter().position(|&session| session == index)?;
        sessions.get(place + 1).copied()
    }

    fn mass_of(&mut self, owner: Owner) -> &mut Option<Mass> {
        match owner {
            Owner::Session(index) => &mut self.session_mut(index).mass,
            Owner::Account(index) => &mut self.account_mut(index).mass,
        }
    }

    /// An overflowed order is about to be gone: it hands its turn to the one after it.
    pub(super) fn mass_goes_past(&mut self, index: u32, id: u64) {
        let after = self.session(index).overflowed_after(id);
        let account = self.session(index).grant.account;
        for owner in [Owner::Session(index), Owner::Account(account)] {
            if let Some(mass) = self.mass_of(owner)
                && mass.session == Some(index)
                && mass.overflowed == Some(id)
            {
                mass.overflowed = after;
            }
        }
    }

    fn sweeps(&self, order: &Order) -> bool {
        let work = self.instrument(order.instrument).work;
        matches!(work, Some(Task::Sweep { order: id, .. }) if id == order.id)
    }
}

fn pending_of(owner: Owner) -> Pending {
    match owner {
        Owner::Session(index) => Pending::Session(index),
        Owner::Account(index) => Pending::Account(index),
    }
}
