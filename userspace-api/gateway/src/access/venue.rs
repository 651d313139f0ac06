//! What the routes ask of the venue's shards.

use ring0_identity::records::{Account, Opened, TradingSession};
use std::pin::Pin;

/// What the venue answers, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, VenueError>> + Send + 'a>>;

/// Why the venue did not do it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VenueError {
    /// It says no, and has not done it.
    #[error("the venue refused: {0}")]
    Refused(String),
    /// It does not answer, and may have done it.
    #[error("the venue does not answer: {0}")]
    Unavailable(String),
}

/// The shards, by their daemons.
pub trait Venue: Send + Sync {
    /// The number of accounts that a shard has room for.
    fn accounts_max(&self) -> u32;

    /// Whether an account index is used by the market file.
    fn is_taken(&self, account: u32) -> bool;

    /// Opens an account on every shard, and tells settlement whose channels are its; again does no harm.
    fn open_account(&self, account: Account) -> Answer<'_, ()>;

    /// Grants a session on its shard. The same key and nonce again give the same session.
    fn grant(&self, session: &TradingSession) -> Answer<'_, Opened>;

    /// Ends a session on its shard: when it has answered, the kernel takes nothing of the session any more. Again does no harm.
    fn revoke(&self, session: &TradingSession, opened: &Opened) -> Answer<'_, ()>;
}
