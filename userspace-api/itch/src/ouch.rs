//! OUCH 5.0: a client's own orders and what became of them.
//!
//! A client names its orders by numbers that rise strictly within a session ([`UserRef`]): a lower one is taken for a
//! retransmission, so every inbound message may be sent again without harm. Prices are eight bytes with four implied decimals.
//! Some messages end with an appendage: two bytes of its length, then [options](option).
//!
//! Inbound and outbound messages share letters; [`Inbound::read`] and [`Outbound::read`] tell them apart. Messages that have no
//! appendage may carry an empty or filled one in late editions: both forms are read, and the short one is written.

mod appendage;
mod inbound;
mod outbound;

pub use appendage::{Appendage, AppendageBuilder, TagValue, option};
pub use inbound::{AccountQuery, Cancel, Enter, Inbound, Modify, Replace, inbound_lengths};
pub use outbound::{
    Accepted, AccountAnswer, AiqCanceled, Broken, CancelPending, CancelRejected, Canceled,
    Executed, Modified, Outbound, OutboundHeader, PriorityUpdate, Rejected, Replaced, Restated,
    SystemEvent, outbound_lengths,
};

use crate::{Text, U32};

/// A client's number of an order, rising strictly within its session.
pub type UserRef = U32;
/// A client's own text for an order, echoed in the answers.
pub type ClOrdId = Text<14>;

/// Why bytes are no OUCH message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OuchError {
    /// No byte at all.
    #[error("an OUCH message of 0 bytes has no letter; the framing is broken")]
    Empty,
    /// A letter that is none of the direction's.
    #[error("OUCH letter {:?} is not known in this direction; skip the message", char::from(*.letter))]
    Unknown {
        /// The letter.
        letter: u8,
    },
    /// Shorter than its fields, or longer where nothing may follow.
    #[error(
        "OUCH message {:?} has {found} bytes instead of {expected} and its options; skip it, the peer's edition is another",
        char::from(*.letter)
    )]
    Length {
        /// The letter.
        letter: u8,
        /// Bytes of its fields, the length of an appendage included.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The appendage is longer or shorter than its length says.
    #[error("the appendage has {found} bytes instead of {expected}; skip the message")]
    AppendageLength {
        /// What its length says.
        expected: usize,
        /// Bytes that follow.
        found: usize,
    },
    /// An option does not lie within the appendage, or has no tag.
    #[error(
        "the option at byte {offset} of the appendage is cut off or has no tag; skip the message"
    )]
    Option {
        /// Of its length byte.
        offset: usize,
    },
    /// No more options fit.
    #[error("the option does not fit: a value has at most 254 bytes, an appendage 65,535")]
    AppendageFull,
}

/// Time in force.
pub mod time_in_force {
    /// Until the day's end.
    pub const DAY: u8 = b'0';
    /// Immediate or cancel.
    pub const IOC: u8 = b'3';
    /// In extended hours too.
    pub const EXTENDED: u8 = b'5';
    /// Until the time of option [`option::EXPIRE_TIME`](crate::ouch::option::EXPIRE_TIME).
    pub const GOOD_TILL_TIME: u8 = b'6';
    /// After hours.
    pub const AFTER_HOURS: u8 = b'E';
}

/// Display.
pub mod display {
    /// With attribution.
    pub const ATTRIBUTED: u8 = b'A';
    /// Displayed.
    pub const VISIBLE: u8 = b'Y';
    /// Not displayed.
    pub const HIDDEN: u8 = b'N';
}

/// State of an accepted or replaced order.
pub mod order_state {
    /// It rests or may still trade.
    pub const LIVE: u8 = b'L';
    /// It is gone already.
    pub const DEAD: u8 = b'D';
}

/// Liquidity of an execution.
pub mod liquidity {
    /// The order rested.
    pub const ADDED: u8 = b'A';
    /// The order came in.
    pub const REMOVED: u8 = b'R';
}

/// Codes of [`SystemEvent`].
pub mod event {
    /// Orders are taken.
    pub const START_OF_DAY: u8 = b'S';
    /// No more.
    pub const END_OF_DAY: u8 = b'E';
}

/// Why an order was cancelled, whole or in part.
pub mod cancel_reason {
    /// Regulation.
    pub const REGULATORY: u8 = b'D';
    /// The market is closed.
    pub const CLOSED: u8 = b'E';
    /// A post-only order would have slid.
    pub const POST_ONLY_SLIDE: u8 = b'F';
    /// A displayed post-only order would have slid.
    pub const POST_ONLY_DISPLAYED_SLIDE: u8 = b'G';
    /// The instrument is halted.
    pub const HALTED: u8 = b'H';
    /// The rest of an immediate order.
    pub const IMMEDIATE: u8 = b'I';
    /// Outside the market collar.
    pub const COLLAR: u8 = b'K';
    /// Self-match prevention.
    pub const SELF_MATCH: u8 = b'Q';
    /// The venue's supervision.
    pub const SUPERVISORY: u8 = b'S';
    /// Its time is over.
    pub const TIMEOUT: u8 = b'T';
    /// The client asked.
    pub const USER: u8 = b'U';
    /// Protection at the open.
    pub const OPEN_PROTECTION: u8 = b'X';
    /// The system.
    pub const SYSTEM: u8 = b'Z';
    /// A limit of the listing.
    pub const LISTING_LIMIT: u8 = b'e';
}

/// Why an order was rejected.
pub mod reject_reason {
    /// The venue's price check.
    pub const FAT_FINGER: u16 = 0x0006;
    /// The instrument is halted.
    pub const HALTED: u16 = 0x0007;
    /// The side is unknown.
    pub const SIDE: u16 = 0x0009;
    /// A cancel of it is pending.
    pub const CANCEL_PENDING: u16 = 0x000B;
    /// The firm is unknown.
    pub const FIRM: u16 = 0x000C;
    /// None of the others.
    pub const OTHER: u16 = 0x000F;
    /// It may not be cancelled now.
    pub const CANCEL_NOT_ALLOWED: u16 = 0x0010;
    /// The quantity is invalid.
    pub const QUANTITY: u16 = 0x0013;
    /// It may not be replaced now.
    pub const REPLACE_NOT_ALLOWED: u16 = 0x0015;
    /// The symbol is unknown.
    pub const SYMBOL: u16 = 0x0017;
    /// The price is invalid.
    pub const PRICE: u16 = 0x001D;
    /// Risk: larger than an order may be.
    pub const SIZE_LIMIT: u16 = 0x001E;
    /// Risk: its value is larger than an order's may be.
    pub const NOTIONAL_LIMIT: u16 = 0x001F;
    /// Risk: the exposure would be too large.
    pub const EXPOSURE: u16 = 0x0020;
    /// Risk: the client's price check.
    pub const RISK_FAT_FINGER: u16 = 0x0026;
    /// Risk: too many messages of the symbol.
    pub const SYMBOL_RATE: u16 = 0x0028;
    /// Risk: too many messages of the session.
    pub const PORT_RATE: u16 = 0x0029;
    /// Risk: too many equal messages.
    pub const DUPLICATE_RATE: u16 = 0x002A;
}

/// Declares the structs of one direction, their sizes, and the enum of all.
macro_rules! ouch_messages {
    (
        $(#[$enum_doc:meta])*
        enum $all:ident, $lengths:ident;
        $(
            $(#[$doc:meta])*
            $name:ident = $letter:literal, $bytes:literal, $form:ident {
                $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
            }
        )+
    ) => {
        $(
            $(#[$doc])*
            #[derive(
                Clone, Copy, Debug, Eq, zerocopy::FromBytes, zerocopy::Immutable, zerocopy::IntoBytes,
                zerocopy::KnownLayout, PartialEq, zerocopy::Unaligned,
            )]
            #[repr(C)]
            pub struct $name {
                $( $(#[$field_doc])* pub $field: $type, )*
            }

            impl $name {
                /// The letter of this message.
                pub const LETTER: u8 = $letter;
                /// Bytes of its fields. Where a message ends with an appendage, its length's two bytes come behind these.
                pub const BYTES: usize = size_of::<Self>();
            }
            const _: () = assert!($name::BYTES + crate::ouch::Form::$form.appendage_length() == $bytes);

            impl<'a> From<(&'a $name, crate::ouch::Appendage<'a>)> for $all<'a> {
                fn from((message, appendage): (&'a $name, crate::ouch::Appendage<'a>)) -> Self {
                    $all::$name(message, appendage)
                }
            }
        )+

        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $all<'a> {
            $( $(#[$doc])* $name(&'a $name, crate::ouch::Appendage<'a>), )+
        }

        /// Letters of the direction with their lengths in bytes, the length of an empty appendage included.
        #[must_use]
        pub const fn $lengths() -> &'static [(u8, usize)] {
            &[$( ($letter, $bytes), )+]
        }

        impl<'a> $all<'a> {
            /// The message that `bytes` are, all of them, and its options, empty where it has none.
            ///
            /// # Errors
            /// When the letter is none of the direction's, or the length is not the letter's.
            pub fn read(bytes: &'a [u8]) -> Result<Self, crate::ouch::OuchError> {
                use zerocopy::FromBytes as _;
                let Some(&letter) = bytes.first() else {
                    return Err(crate::ouch::OuchError::Empty);
                };
                match letter {
                    $(
                        $letter => {
                            let length = crate::ouch::OuchError::Length {
                                letter,
                                expected: $bytes,
                                found: bytes.len(),
                            };
                            let (message, rest) = $name::ref_from_prefix(bytes).map_err(|_| length)?;
                            let appendage = crate::ouch::Form::$form.appendage(rest, length)?;
                            Ok(Self::$name(message, appendage))
                        }
                    )+
                    _ => Err(crate::ouch::OuchError::Unknown { letter }),
                }
            }

            /// Appends the message's bytes to `into`. An empty appendage is written only where the message has one.
            pub fn write(&self, into: &mut Vec<u8>) {
                use zerocopy::IntoBytes as _;
                match self {
                    $(
                        Self::$name(message, appendage) => {
                            into.extend_from_slice(message.as_bytes());
                            crate::ouch::Form::$form.write(*appendage, into);
                        }
                    )+
                }
            }
        }
    };
}
use ouch_messages;

/// Whether a message ends with an appendage.
#[derive(Clone, Copy)]
enum Form {
    /// Its length is always there.
    Options,
    /// In late editions only.
    Late,
}

impl Form {
    /// Bytes behind the fields in the shortest form of the message.
    const fn appendage_length(self) -> usize {
        match self {
            Form::Options => 2,
            Form::Late => 0,
        }
    }

    /// The appendage in what follows the fields; `length` is the error when it is not there.
    fn appendage(self, rest: &[u8], length: OuchError) -> Result<Appendage<'_>, OuchError> {
        match (self, rest.split_first_chunk::<2>()) {
            (_, Some((expected, options))) => {
                let expected = usize::from(u16::from_be_bytes(*expected));
                let found = options.len();
                if expected != found {
                    return Err(OuchError::AppendageLength { expected, found });
                }
                Appendage::read(options)
            }
            (Form::Late, None) if rest.is_empty() => Ok(Appendage::EMPTY),
            _ => Err(length),
        }
    }

    fn write(self, appendage: Appendage<'_>, into: &mut Vec<u8>) {
        let options = appendage.as_bytes();
        if matches!(self, Form::Options) || !options.is_empty() {
            // `Appendage` is at most 65,535 bytes long.
            into.extend_from_slice(&(options.len() as u16).to_be_bytes());
            into.extend_from_slice(options);
        }
    }
}

#[cfg(test)]
mod tests;
