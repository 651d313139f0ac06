//! What a client sends.

use super::{ClOrdId, UserRef, ouch_messages};
use crate::{Stock, U32, U64};

ouch_messages! {
    /// A message to the venue, as a view over its bytes, with its options.
    enum Inbound, inbound_lengths;

    /// `O`, enter order.
    Enter = b'O', 47, Options {
        /// `O`.
        letter: u8,
        /// Number of the new order.
        user_ref: UserRef,
        /// `B` buy, `S` sell, `T` short, `E` short exempt.
        side: u8,
        /// Shares.
        quantity: U32,
        /// Symbol.
        symbol: Stock,
        /// Price.
        price: U64,
        /// One of [`time_in_force`](crate::ouch::time_in_force).
        time_in_force: u8,
        /// One of [`display`](crate::ouch::display).
        display: u8,
        /// `A` agency, `P` principal, `R` riskless, `O` other.
        capacity: u8,
        /// Intermarket sweep: `Y`, `N`.
        intermarket_sweep: u8,
        /// Which auction: `N` continuous, or a code of ITCH's.
        cross_type: u8,
        /// The client's own text.
        client_order_id: ClOrdId,
    }

    /// `U`, replace order.
    Replace = b'U', 40, Options {
        /// `U`.
        letter: u8,
        /// Number of the old order.
        original_user_ref: UserRef,
        /// Number of the new one.
        user_ref: UserRef,
        /// Shares for which the client is liable in all, those executed included.
        quantity: U32,
        /// Price.
        price: U64,
        /// One of [`time_in_force`](crate::ouch::time_in_force).
        time_in_force: u8,
        /// One of [`display`](crate::ouch::display).
        display: u8,
        /// Intermarket sweep: `Y`, `N`.
        intermarket_sweep: u8,
        /// The client's own text.
        client_order_id: ClOrdId,
    }

    /// `X`, cancel order, whole or in part.
    Cancel = b'X', 9, Late {
        /// `X`.
        letter: u8,
        /// Number of the order.
        user_ref: UserRef,
        /// Shares that the order shall have in all, those executed included; 0 cancels it.
        quantity: U32,
    }

    /// `M`, modify order: side and fewer shares.
    Modify = b'M', 10, Late {
        /// `M`.
        letter: u8,
        /// Number of the order.
        user_ref: UserRef,
        /// The new side, among `S`, `T`, `E`.
        side: u8,
        /// Shares in all, those executed included.
        quantity: U32,
    }

    /// `Q`, account query: which number comes next.
    AccountQuery = b'Q', 1, Late {
        /// `Q`.
        letter: u8,
    }
}
