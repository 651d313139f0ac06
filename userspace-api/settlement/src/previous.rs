//! Of each account the number of a batch: the last that touched it, along which statements walk back; the last that marks were sequenced for.

use crate::id::{AccountId, Epoch};

/// Accounts of a page; see `cell.rs`.
pub(crate) const PAGE_ACCOUNTS: usize = 448;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Previous {
    epochs: Vec<u64>,
    dirty: Vec<bool>,
}

impl Previous {
    pub(crate) fn get(&self, account: AccountId) -> Epoch {
        Epoch(self.epochs.get(account.0 as usize).copied().unwrap_or(0))
    }

    pub(crate) fn set(&mut self, account: AccountId, epoch: Epoch) {
        let at = account.0 as usize;
        self.grow(at / PAGE_ACCOUNTS);
        self.epochs[at] = epoch.0;
        self.dirty[at / PAGE_ACCOUNTS] = true;
    }

    fn grow(&mut self, page: usize) {
        if page >= self.dirty.len() {
            self.epochs.resize((page + 1) * PAGE_ACCOUNTS, 0);
            self.dirty.resize(page + 1, false);
        }
    }

    /// Pages that changed since the last call: number and bytes.
    pub(crate) fn take_dirty(&mut self) -> Vec<(u32, Vec<u8>)> {
        let mut dirty = Vec::new();
        for (page, is_dirty) in self.dirty.iter_mut().enumerate() {
            if std::mem::take(is_dirty) {
                let epochs = &self.epochs[page * PAGE_ACCOUNTS..(page + 1) * PAGE_ACCOUNTS];
                let bytes = epochs.iter().flat_map(|it| it.to_le_bytes()).collect();
                dirty.push((page as u32, bytes));
            }
        }
        dirty
    }

    /// Every page counts as changed.
    pub(crate) fn touch_all(&mut self) {
        self.dirty.fill(true);
    }

    /// A page as [`take_dirty`](Previous::take_dirty) gave it; `None`: it is none.
    pub(crate) fn load(&mut self, page: u32, bytes: &[u8]) -> Option<()> {
        if bytes.len() != PAGE_ACCOUNTS * 8 {
            return None;
        }
        let page = page as usize;
        self.grow(page);
        let to = &mut self.epochs[page * PAGE_ACCOUNTS..(page + 1) * PAGE_ACCOUNTS];
        for (epoch, bytes) in to.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *epoch = u64::from_le_bytes(*bytes);
        }
        Some(())
    }
}
