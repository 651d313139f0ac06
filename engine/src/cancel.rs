//! Reduce, cancel, mass cancel and kill. Rule: `docs/matching.md#reduce-x-cancel-d`, `#mass-cancel-m`.
//!
//! A mass cancel belongs to a session or to an account, and each has at most one. It walks the bitmap of each session's reference window, then the
//! session's overflowed orders, so no order carries a link for it. Until it is done its owner may not enter, and who meets an order
//! that it will come to takes that one away first ([`Shard::leaving`]).

use crate::Reason;
use crate::control::{ControlKind, Target};
use crate::limits::{CANCELS_MAX, FILLS_MAX, LOOKS_MAX, MASS_WORK, PACKET_WORK_MAX};
use crate::operate::{half, word};
use crate::outbox::{Done, side_letter};
use crate::record::{Removal, State};
use crate::region::{can_loop, zero};
use crate::shard::{FLAG_GTT, FLAG_SWEEPS, Fault, KILLED, Mass, Order, Shard};
use ring0_wire::message;

/// Owner of a mass cancel: a session.
pub(crate) const SESSION: u32 = 0;
/// Owner of a mass cancel: an account.
pub(crate) const ACCOUNT: u32 = 1;

const BOTH: u32 = message::BOTH as u32;

impl Mass {
    /// Whether it names this order.
    #[inline(always)]
    fn names(&self, order: &Order) -> bool {
        let (locate, side) = (self.locate.get(), self.side.get());
        (locate == 0 || locate == order.instrument().wrapping_add(1))
            && (side == BOTH || side == u32::from(side_letter(order.side())))
    }
}

impl<'a> Shard<'a> {
    /// Carries out an `X` or a `D` from the scratch message.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn reduce(self) -> Done {
        let message = &self.scratch().message;
        let session_index = self.header().session.get();
        let slot = self.find_order(session_index, message.reference.get());
        if slot == 0 {
            return self.not_here(u32::from(message.locate.get()), Reason::UnknownOrder as u32);
        }
        let order = self.order(slot);
        let index = order.instrument();
        if u32::from(message.locate.get()) != index.wrapping_add(1) {
            return Done::rejected(Reason::WrongInstrument as u8);
        }
        let instrument = self.instrument(index);
        if instrument.work.get() != 0
            || instrument.state.get() == State::Uncrossing as u32
            || self.mass_pends(session_index)
            || (self.header().leaving.get() != 0 && self.leaving(slot) != 0)
        {
            return Done::rejected(Reason::Continuing as u8);
        }
        let lot_size = instrument.lot_size.get();
        let open = order.open.get();
        if message.letter.get() == b'X' {
            let shares = message.shares.get();
            let Some(lots) = instrument.lots(shares) else {
                return Done::rejected(Reason::NotALot as u8);
            };
            if lots < open {
                self.shrink(slot, lots);
                self.record_reduced(slot, lots);
                return Done::accepted(shares);
            }
        }
        self.cancel_order(slot, Removal::User as u8);
        Done::accepted(open.wrapping_mul(lot_size))
    }

    /// Whether a mass cancel of a session or of its account is pending.
    #[inline(always)]
    pub(crate) fn mass_pends(self, session_index: u32) -> bool {
        let session = self.session(session_index);
        session.mass.removal.get() != 0
            || self.account(session.account.get()).mass.removal.get() != 0
    }

    /// With which [`Removal`] an order goes when it is met, or 0. Asked only while the header counts something as leaving.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn leaving(self, slot: u32) -> u32 {
        let order = self.order(slot);
        let mass = &self.session(order.session()).mass;
        if mass.removal.get() != 0 && mass.names(order) {
            return mass.removal.get();
        }
        let mass = &self.account(order.account.get()).mass;
        if mass.removal.get() != 0 && mass.names(order) {
            return mass.removal.get();
        }
        let header = self.header();
        if header.expiring.get() != 0
            && order.flags() & FLAG_GTT != 0
            && self.terms(slot).expiry_s.get() <= header.expired_s.get()
        {
            return Removal::Expired as u32;
        }
        0
    }

    /// Carries out an `M` from the scratch message: its first step.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn mass_cancel(self) -> Done {
        let header = self.header();
        let message = &self.scratch().message;
        let session_index = header.session.get();
        let locate = u32::from(message.locate.get());
        let index = locate.wrapping_sub(1);
        if locate != 0
            && (index >= header.instruments_max.get() || self.instrument(index).listed.get() == 0)
        {
            return self.not_here(locate, Reason::UnknownInstrument as u32);
        }
        let work = header.packet_work.get();
        if work > PACKET_WORK_MAX - FILLS_MAX {
            return Done::rejected(Reason::PacketFills as u8);
        }
        let mut removal = Removal::Kill as u32;
        if message.kill.get() == 0 {
            if self.mass_pends(session_index) || self.is_frozen(locate) {
                return Done::rejected(Reason::Continuing as u8);
            }
            removal = Removal::Mass as u32;
        }

        // Decided.
        header.packet_work.set(work.wrapping_add(MASS_WORK));
        let (scope, owner) = if message.scope.get() == message::SCOPE_SESSION {
            (SESSION, session_index)
        } else {
            (ACCOUNT, self.session(session_index).account.get())
        };
        self.begin_mass(scope, owner, locate, u32::from(message.side.get()), removal)
    }

    /// Whether work is pending that freezes what a mass cancel names; one instrument is frozen also while its auction is awaited.
    #[inline(always)]
    fn is_frozen(self, locate: u32) -> bool {
        if locate == 0 {
            return self.header().frozen.get() != 0;
        }
        let instrument = self.instrument(locate.wrapping_sub(1));
        instrument.work.get() != 0 || instrument.state.get() == State::Uncrossing as u32
    }

    /// `KillSession`, `KillAccount` and `Disconnect`: a mass cancel that the operator begins.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn control_mass(self, kind: u32) -> Done {
        let header = self.header();
        let owner = half!(self, Target, index);
        if kind == ControlKind::KillAccount as u32 {
            if owner >= header.accounts_max.get() {
                return Done::rejected(Reason::IndexOutOfRange as u8);
            }
            if self.account(owner).open.get() == 0 {
                return Done::rejected(Reason::UnknownAccount as u8);
            }
            return self.begin_mass(ACCOUNT, owner, 0, BOTH, Removal::Kill as u32);
        }
        if owner >= header.sessions_max.get() {
            return Done::rejected(Reason::IndexOutOfRange as u8);
        }
        let session = self.session(owner);
        if session.status.get() == 0 {
            return Done::rejected(Reason::UnknownSession as u8);
        }
        let mut removal = Removal::Kill as u32;
        if kind == ControlKind::Disconnect as u32 {
            if session.expected.get() != word!(self, crate::control::Disconnect, expected) {
                return Done::rejected(Reason::SessionAlive as u8);
            }
            if self.mass_pends(owner) {
                return Done::rejected(Reason::Continuing as u8);
            }
            if session.cancel_on_disconnect.get() == 0 {
                return Done::accepted(0);
            }
            removal = Removal::Disconnected as u32;
        }
        self.begin_mass(SESSION, owner, 0, BOTH, removal)
    }

    /// The mass cancel of a session or an account.
    #[inline(always)]
    pub(crate) fn mass(self, scope: u32, owner: u32) -> &'a Mass {
        if scope == SESSION {
            &self.session(owner).mass
        } else {
            &self.account(owner).mass
        }
    }

    /// Begins a mass cancel with its first step; one that kills kills its owner, and where one is pending widens that to all orders.
    #[inline(always)]
    fn begin_mass(self, scope: u32, owner: u32, locate: u32, side: u32, removal: u32) -> Done {
        let mass = self.mass(scope, owner);
        let pends = mass.removal.get() != 0;
        if removal == Removal::Kill as u32 {
            if scope == SESSION {
                self.session(owner).status.set(KILLED);
            } else {
                self.account(owner).killed.set(1);
            }
        }
        let first = if scope == SESSION {
            owner.wrapping_add(1)
        } else {
            self.account(owner).sessions_head.get()
        };
        if first == 0 {
            return Done::accepted(0); // an account without sessions: none is pending either, or they could not have been closed
        }
        mass.removal.set(removal);
        mass.locate.set(if pends { 0 } else { locate });
        mass.side.set(if pends { BOTH } else { side });
        mass.session.set(first.wrapping_sub(1));
        mass.place.set(0);
        mass.overflowed.set(0);
        let done = self.mass_step(scope, owner);
        if done.is_left() {
            if !pends {
                self.push_leaving(self.mass_number(scope, owner));
            }
        } else if pends {
            self.end_mass(scope, owner);
        } else {
            mass.removal.set(0);
        }
        done
    }

    /// Ends a pending mass cancel.
    #[inline(always)]
    pub(crate) fn end_mass(self, scope: u32, owner: u32) {
        self.mass(scope, owner).removal.set(0);
        self.done_leaving(self.mass_number(scope, owner));
    }

    /// Visits the next orders of a mass cancel. The quantity is how many it cancelled; `Continues` while it has not come to its end.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn mass_step(self, scope: u32, owner: u32) -> Done {
        let mass = self.mass(scope, owner);
        let (mut visits, mut cancelled) = (zero(), zero());
        let mut looks = zero();
        while looks < LOOKS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if visits >= CANCELS_MAX {
                break;
            }
            looks = looks.wrapping_add(1);
            let session = self.session(mass.session.get());
            let place = mass.place.get();
            let places = 1_u32 << (session.references_log2.get() & 31);
            let slot;
            if place < places {
                mass.overflowed.set(session.overflow_head.get());
                let word = self.reference_word(session, place).get() & (u64::MAX << (place & 63));
                if word == 0 {
                    let next = (place | 63).wrapping_add(1);
                    mass.place.set(if next < places { next } else { places });
                    continue;
                }
                let found = (place & !63) | self.lowest_bit(word);
                mass.place.set(found.wrapping_add(1));
                slot = self.reference_place(session, found).get();
            } else {
                slot = mass.overflowed.get();
                if slot == 0 {
                    let next = session.account_next.get();
                    if scope == SESSION || next == 0 {
                        return Done::accepted(cancelled);
                    }
                    mass.session.set(next.wrapping_sub(1));
                    mass.place.set(0);
                    continue;
                }
                mass.overflowed.set(self.terms(slot).overflow_next.get());
            }
            self.ensure(slot != 0, Fault::Reference);
            visits = visits.wrapping_add(1);
            let order = self.order(slot);
            if order.flags() & FLAG_SWEEPS == 0 && mass.names(order) {
                let removal = mass.removal.get() as u8;
                self.take_away(slot, removal);
                cancelled = cancelled.wrapping_add(1);
            }
        }
        Done::continues(cancelled)
    }
}

const _: () = assert!(core::mem::offset_of!(crate::control::Disconnect, session) == 0);
