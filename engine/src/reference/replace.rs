//! `U`: an order gets a new price, quantity and reference, and where it can be keeps its place.
//! Rule: `docs/matching.md#replace-u`, whose numbers the comments bear; 1 is the parser's.

use super::order::Order;
use super::terms::{lots_of, ticks_of, work_is_left};
use super::{Done, Reference};
use crate::Reason;
use ring0_wire::Message;

impl Reference {
    pub(super) fn replace(
        &mut self,
        index: u32,
        sequence: u64,
        message: &Message,
        work: &mut u32,
    ) -> Result<Done, Reason> {
        self.rising(index, message.new_reference)?; // 2
        self.may_enter(index)?; // 3 to 6
        let original = self.named(index, message)?; // 7, 8
        let at = original.instrument;
        self.takes_orders(at)?; // 9, 10
        if self.leaving(&original).is_some() {
            return Err(Reason::Continuing); // 11
        }
        let post_only = original.post_only || original.slides;
        let collects = self.instrument(at).collects();
        if collects && (post_only || original.peg.is_some()) {
            return Err(Reason::NotInAuction); // 12
        }
        work_is_left(*work)?; // 13
        let list = self.instrument(at).list;
        let price = ticks_of(&list, message.price)?; // 14
        let lots = lots_of(&list, message.shares)?; // 15
        self.not_too_large(index, at, lots, message.shares)?; // 16, 17
        let mut order = Order {
            id: sequence,
            reference: message.new_reference,
            price,
            open: lots,
            executed: 0,
            slice: 0,
            ..original
        };
        let quote = self.quote(at);
        self.price_on_ladder(&mut order, false, quote)?; // 18
        self.within_limits(&order, original.waits() && original.immediate)?; // 19 to 23
        if !self.place_to_be_had(index, order.reference, Some(original.reference)) {
            return Err(Reason::TooManyLive); // 24
        }
        if order.price == original.price && lots <= original.open {
            return Ok(self.keep(&original, order.reference, lots));
        }
        self.affordable(&order, self.hold_of(&original, original.open))?; // 25, 26
        self.room_in_book(&order, Some(&original))?; // 27
        if !order.waits() && !collects {
            self.does_not_take(&order, quote)?; // 28
        }

        // Done:
        self.leave_book(&original);
        self.release(&original, original.open);
        self.forget(&original);
        self.replaced(&original, &order);
        self.hold(&order);
        Ok(self.come_in(order, quote, work))
    }

    /// The order keeps its place under a new reference, with as many lots or fewer.
    fn keep(&mut self, original: &Order, reference: u32, lots: u32) -> Done {
        self.release(original, original.open - lots);
        let index = original.session;
        self.leave_place(index, original.reference);
        let session = self.session_mut(index);
        session.references.remove(&original.reference);
        session.references.insert(reference, original.id);
        self.take_place(index, reference);
        let order = self.order_mut(original.id);
        order.reference = reference;
        order.open = lots;
        order.slice = order.slice.min(lots);
        let order = *order;
        self.replaced(original, &order);
        Done::accepted(0)
    }
}
