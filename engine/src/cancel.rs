//! Reduce, cancel, mass cancel and kill. Rule: `docs/matching.md#reduce-x-cancel-d`, `#mass-cancel-m`.

use crate::Reason;
use crate::enter::whole;
use crate::limits::{CANCELS_MAX, FILLS_MAX, PACKET_WORK_MAX};
use crate::outbox::{Done, side_letter};
use crate::record::Removal;
use crate::region::{can_loop, zero};
use crate::shard::{FLAG_SWEEPS, Fault, KILLED, Session, Shard};
use ring0_wire::message;

impl Shard<'_> {
    /// Carries out an `X` or a `D` from the scratch message.
    #[inline(never)]
    pub(crate) fn reduce(self) -> Done {
        let message = &self.scratch().message;
        let session_index = self.header().session.get();
        let session = self.session(session_index);
        let slot = self.find_order(session_index, message.reference.get());
        if slot == 0 {
            return Done::rejected(Reason::UnknownOrder as u8);
        }
        let order = self.order(slot);
        let index = order.instrument.get();
        if u32::from(message.locate.get()) != index.wrapping_add(1) {
            return Done::rejected(Reason::WrongInstrument as u8);
        }
        let instrument = self.instrument(index);
        if instrument.sweep.get() != 0 || session.cancelling.get() != 0 {
            return Done::rejected(Reason::Continuing as u8);
        }
        let lot_size = instrument.lot_size.get();
        let open = order.open.get();
        if message.letter.get() == b'X' {
            let shares = message.shares.get();
            let Some(lots) = whole(shares, lot_size) else {
                return Done::rejected(Reason::NotALot as u8);
            };
            if lots < open {
                self.shrink(order, lots);
                self.record_reduced(order, lots);
                return Done::accepted(shares);
            }
        }
        self.remove_order(slot, Removal::User as u8).seen();
        Done::accepted(open.wrapping_mul(lot_size))
    }

    /// Carries out an `M` from the scratch message: its first step.
    #[inline(never)]
    pub(crate) fn mass_cancel(self) -> Done {
        let header = self.header();
        let message = &self.scratch().message;
        let session_index = header.session.get();
        let session = self.session(session_index);
        if message.scope.get() != message::SCOPE_SESSION {
            return Done::rejected(Reason::NotBuilt as u8);
        }
        let locate = u32::from(message.locate.get());
        let index = locate.wrapping_sub(1);
        if locate != 0
            && (index >= header.instruments_max.get() || self.instrument(index).listed.get() == 0)
        {
            return Done::rejected(Reason::UnknownInstrument as u8);
        }
        if header.packet_work.get() > PACKET_WORK_MAX - FILLS_MAX {
            return Done::rejected(Reason::PacketFills as u8);
        }
        if message.kill.get() == 0 {
            let frozen = if locate == 0 {
                header.frozen.get()
            } else {
                self.instrument(index).sweep.get()
            };
            if session.cancelling.get() != 0 || frozen != 0 {
                return Done::rejected(Reason::Continuing as u8);
            }
            return self.begin_mass_cancel(
                locate,
                u32::from(message.side.get()),
                Removal::Mass as u8,
            );
        }
        self.kill(session, locate, u32::from(message.side.get()))
    }

    /// Kills the current session: no more entry, and the orders that are named go.
    #[inline(always)]
    pub(crate) fn kill(self, session: &Session, locate: u32, side: u32) -> Done {
        session.status.set(KILLED);
        let (locate, side) = if session.cancelling.get() == 0 {
            (locate, side)
        } else {
            (0, u32::from(message::BOTH))
        };
        self.begin_mass_cancel(locate, side, Removal::Kill as u8)
    }

    #[inline(never)]
    fn begin_mass_cancel(self, locate: u32, side: u32, removal: u8) -> Done {
        let session_index = self.header().session.get();
        let session = self.session(session_index);
        session.cancel_locate.set(locate);
        session.cancel_side.set(side);
        session.cancel_removal.set(u32::from(removal));
        session.cancel_next.set(session.orders_head.get());
        let queued = session.cancelling.get() != 0;
        let cancelled = self.mass_cancel_step(session_index);
        if session.cancel_next.get() == 0 {
            if queued {
                session.cancelling.set(0);
                self.remove_mass(session_index);
            }
            return Done::accepted(cancelled);
        }
        if !queued {
            session.cancelling.set(1);
            self.push_mass(session_index);
        }
        Done::continues(cancelled)
    }

    /// Visits the next orders of a mass cancel and gives how many it cancelled.
    #[inline(never)]
    pub(crate) fn mass_cancel_step(self, session_index: u32) -> u32 {
        let session = self.session(session_index);
        let locate = session.cancel_locate.get();
        let side = session.cancel_side.get();
        let removal = session.cancel_removal.get() as u8;
        let mut cancelled = 0_u32;
        let mut visited = zero();
        while visited < CANCELS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let slot = session.cancel_next.get();
            if slot == 0 {
                break;
            }
            let order = self.order(slot);
            let of_instrument = locate == 0 || locate == order.instrument.get().wrapping_add(1);
            let of_side = side == u32::from(message::BOTH)
                || side == u32::from(side_letter(u32::from(order.side.get())));
            if of_instrument && of_side && order.flags.get() & FLAG_SWEEPS == 0 {
                self.remove_order(slot, removal).seen(); // moves `cancel_next` on
                cancelled = cancelled.wrapping_add(1);
            } else {
                session.cancel_next.set(order.session_next.get());
            }
            visited = visited.wrapping_add(1);
        }
        let work = &self.header().packet_work;
        work.set(work.get().wrapping_add(cancelled));
        cancelled
    }
}
