//! `X` and `D`: lots are taken off an order, or the whole of it.
//! Rule: `docs/matching.md#reduce-x-cancel-d`.

use super::order::Order;
use super::terms::lots_of;
use super::{Done, Reference, locate_of};
use crate::Reason;
use crate::record::{Removal, State};
use ring0_wire::Message;

impl Reference {
    pub(super) fn reduce(&mut self, index: u32, message: &Message) -> Result<Done, Reason> {
        let order = self.named(index, message)?;
        let instrument = self.instrument(order.instrument);
        let list = instrument.list;
        if instrument.work.is_some() || instrument.state == State::Uncrossing {
            return Err(Reason::Continuing);
        }
        self.no_mass_cancel(index)?;
        if self.leaving(&order).is_some() {
            return Err(Reason::Continuing);
        }
        let lots = match message.letter {
            b'D' => order.open,
            _ => lots_of(&list, message.shares)?.min(order.open),
        };

        // Done:
        if lots == order.open {
            self.remove(&order, Removal::User);
        } else {
            self.release(&order, lots);
            let order = self.order_mut(order.id);
            order.open -= lots;
            order.slice = order.slice.min(order.open);
            let order = *order;
            self.reduced(&order, lots);
        }
        Ok(Done::accepted(lots * list.lot_size))
    }

    /// The live order that `U`, `X` or `D` names, on the instrument that the message names.
    pub(super) fn named(&self, index: u32, message: &Message) -> Result<Order, Reason> {
        let id = self.session(index).references.get(&message.reference);
        let id = id.ok_or_else(|| self.not_here(message.locate, Reason::UnknownOrder))?;
        let order = self.orders[id];
        if u32::from(message.locate) != locate_of(order.instrument) {
            return Err(Reason::WrongInstrument);
        }
        Ok(order)
    }
}
