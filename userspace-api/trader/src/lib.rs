//! Client SDK: sessions, signed packets, resend, gap handling and acks over UDP.
//!
//! Knows a session's side of L2E/1 (`docs/wire.md`): every packet has its place in the client
//! sequence, may be sent again without harm, and is answered message by message. Knows no book and
//! no price.
//!
//! ```no_run
//! use ring0_trader::{Locate, Order, Price, Session, Shares, Trader};
//!
//! let session = Session::open("keys/alice.key".as_ref())?;
//! let mut trader = Trader::connect(session, "10.77.0.1:9000".parse()?)?;
//! trader.adopt()?; // go on where the last run of this session ended
//! let acks = trader.submit(&[Order::buy(Locate(1), Shares(100), Price(1_000_000)).post_only()])?;
//! println!("{:?}", acks[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

mod agree;
mod order;
mod session;
mod trader;
mod transport;
mod window;

pub use agree::{Nonce, Salt, mac_key};
pub use order::{Locate, Order, Peg, Price, Reference, Shares, Side};
pub use ring0_engine::Reason;
pub use ring0_wire::{Flags, Message, SelfTrade, SessionId, TimeInForce};
pub use session::{ANSWERS_MIN, Existing, Session, SessionError};
pub use trader::{Ack, Adopted, Options, Outcome, Rejection, Sent, Stats, Trader, TraderError};
pub use transport::{DoorTransport, Transport, UdpTransport};
