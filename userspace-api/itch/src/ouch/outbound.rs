//! What the venue answers.

use super::{ClOrdId, UserRef, ouch_messages};
use crate::{Stock, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The nine bytes at the front of every answer.
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct OutboundHeader {
    /// The message's letter.
    pub letter: u8,
    /// Nanoseconds since midnight of the venue's day.
    pub timestamp: U64,
}
const _: () = assert!(size_of::<OutboundHeader>() == 9);

ouch_messages! {
    /// A message of the venue, as a view over its bytes, with its options.
    enum Outbound, outbound_lengths;

    /// `S`, system event.
    SystemEvent = b'S', 10, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// One of [`event`](crate::ouch::event).
        event_code: u8,
    }

    /// `A`, order accepted.
    Accepted = b'A', 64, Options {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// As entered.
        side: u8,
        /// As entered.
        quantity: U32,
        /// As entered.
        symbol: Stock,
        /// As accepted: a slid post-only order has another.
        price: U64,
        /// As entered.
        time_in_force: u8,
        /// As entered.
        display: u8,
        /// The venue's number of the order, that of the public feed.
        order_reference: U64,
        /// As entered.
        capacity: u8,
        /// As entered.
        intermarket_sweep: u8,
        /// As entered.
        cross_type: u8,
        /// One of [`order_state`](crate::ouch::order_state).
        order_state: u8,
        /// As entered.
        client_order_id: ClOrdId,
    }

    /// `U`, order replaced.
    Replaced = b'U', 68, Options {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the old order.
        original_user_ref: UserRef,
        /// Number of the new one.
        user_ref: UserRef,
        /// As of the old one.
        side: u8,
        /// Shares of the new one.
        quantity: U32,
        /// As of the old one.
        symbol: Stock,
        /// Price of the new one.
        price: U64,
        /// As entered.
        time_in_force: u8,
        /// As entered.
        display: u8,
        /// The venue's number of the new order.
        order_reference: U64,
        /// As of the old one.
        capacity: u8,
        /// As entered.
        intermarket_sweep: u8,
        /// As of the old one.
        cross_type: u8,
        /// One of [`order_state`](crate::ouch::order_state).
        order_state: u8,
        /// As entered.
        client_order_id: ClOrdId,
    }

    /// `C`, order cancelled, whole or in part.
    Canceled = b'C', 18, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// Shares that are gone.
        decrement: U32,
        /// One of [`cancel_reason`](crate::ouch::cancel_reason).
        reason: u8,
    }

    /// `D`, order cancelled by self-match prevention.
    AiqCanceled = b'D', 32, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// Shares that are gone.
        decrement: U32,
        /// [`cancel_reason::SELF_MATCH`](crate::ouch::cancel_reason::SELF_MATCH).
        reason: u8,
        /// Shares that would have traded.
        quantity_prevented: U32,
        /// The price at which they would have.
        price: U64,
        /// One of [`liquidity`](crate::ouch::liquidity).
        liquidity: u8,
        /// The rule that was applied.
        strategy: u8,
    }

    /// `E`, order executed.
    Executed = b'E', 36, Options {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// Shares of this fill.
        quantity: U32,
        /// Its price.
        price: U64,
        /// One of [`liquidity`](crate::ouch::liquidity).
        liquidity: u8,
        /// Number of the trade, that of the public feed.
        match_number: U64,
    }

    /// `B`, a trade is void.
    Broken = b'B', 36, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// Number of the trade.
        match_number: U64,
        /// `E` erroneous, `C` consent, `S` supervisory, `X` external.
        reason: u8,
        /// The client's own text.
        client_order_id: ClOrdId,
    }

    /// `J`, order rejected.
    Rejected = b'J', 29, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// One of [`reject_reason`](crate::ouch::reject_reason).
        reason: U16,
        /// The client's own text.
        client_order_id: ClOrdId,
    }

    /// `P`, a cancel waits for the auction in which the order is.
    CancelPending = b'P', 13, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
    }

    /// `I`, a cancel was rejected.
    CancelRejected = b'I', 13, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
    }

    /// `T`, the order has another place.
    PriorityUpdate = b'T', 30, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// Its price now.
        price: U64,
        /// One of [`display`](crate::ouch::display).
        display: u8,
        /// The venue's number of it now.
        order_reference: U64,
    }

    /// `M`, order modified.
    Modified = b'M', 18, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// Its side now.
        side: u8,
        /// Its shares now.
        quantity: U32,
    }

    /// `R`, order restated: what changed is in the options.
    Restated = b'R', 16, Options {
        /// Letter and time.
        header: OutboundHeader,
        /// Number of the order.
        user_ref: UserRef,
        /// `R` refill, `P` another displayed price.
        reason: u8,
    }

    /// `Q`, account answer.
    AccountAnswer = b'Q', 13, Late {
        /// Letter and time.
        header: OutboundHeader,
        /// The number that comes next.
        next_user_ref: UserRef,
    }
}
