//! The sessions by which accounts trade over REST, those of the market file and those that are opened while the gateway runs.
//!
//! An account may have several on a shard: orders are entered by the one that lasts longest, and every order is cancelled and replaced by the one
//! that it came by, which a session's end for new orders does not prevent.

use crate::desk::Desk;
use ring0_wire::SessionId;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

type ByPlace = HashMap<(u32, u32), Vec<Arc<Desk>>>;

/// See the module. Keys are account and shard.
#[derive(Debug, Default)]
pub struct Desks(RwLock<ByPlace>);

impl Desks {
    fn read(&self) -> RwLockReadGuard<'_, ByPlace> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ByPlace> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one by which an account enters orders on a shard: that which lasts longest.
    #[must_use]
    pub fn longest(&self, account: u32, shard: u32) -> Option<Arc<Desk>> {
        let desks = self.read();
        let here = desks.get(&(account, shard))?.iter();
        here.max_by_key(|it| it.expires_s.unwrap_or(u64::MAX))
            .cloned()
    }

    /// That of a session.
    #[must_use]
    pub fn of_session(&self, account: u32, shard: u32, session: SessionId) -> Option<Arc<Desk>> {
        let desks = self.read();
        let mut here = desks.get(&(account, shard))?.iter();
        here.find(|it| it.session == session).cloned()
    }

    /// Takes one more.
    pub fn add(&self, desk: Arc<Desk>) {
        let place = (desk.account, desk.shard.number);
        self.write().entry(place).or_default().push(desk);
    }

    /// Gives one back: nothing new is sent by it. Whoever drops it last waits for what it has sent.
    pub fn remove(&self, account: u32, shard: u32, session: SessionId) -> Option<Arc<Desk>> {
        let mut desks = self.write();
        let here = desks.get_mut(&(account, shard))?;
        let at = here.iter().position(|it| it.session == session)?;
        let removed = here.swap_remove(at);
        if here.is_empty() {
            desks.remove(&(account, shard));
        }
        Some(removed)
    }
}
