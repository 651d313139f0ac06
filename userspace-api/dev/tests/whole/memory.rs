//! A hand in the shard's memory in the kernel, past all commands and records.

use crate::stage::Stage;
use ring0_engine::region::{Memory, SHARD_BASE};
use ring0_engine::shard::{Balance, Shard};
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

/// An account has engine units more of an asset (fewer, below zero). Gives what all accounts have of it then.
pub(crate) fn poke(stage: &Stage, account: u32, asset: u32, more: i64) -> u64 {
    let venue = stage.venue();
    let veth = venue.veth.as_ref().expect("the shard is in the kernel");
    let pins = xdp_loader::default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns));
    let arena = xdp_loader::open_pinned(&pins).unwrap().map_arena().unwrap();
    let base = arena.as_ptr().wrapping_add(SHARD_BASE as usize);
    // SAFETY: the arena is mapped until the end of the function, and the shard begins there.
    let shard = Shard::new(unsafe { Memory::new(base) });
    let header = shard.header();
    let index = (account * header.assets_max.get() + asset) as usize;
    let at = header.balances_at.get() as usize
        + index * size_of::<Balance>()
        + offset_of!(Balance, available);
    // SAFETY: a word of the same mapping, which all who change it change at once.
    let available = unsafe { AtomicU64::from_ptr(base.wrapping_add(at).cast()) };
    let before = available.fetch_add(more.cast_unsigned(), Ordering::SeqCst);
    let of = |account| shard.balances(account, asset);
    assert_eq!(of(account).0, before.wrapping_add_signed(more), "the word");
    let all = (0..header.accounts_max.get()).map(of);
    all.map(|(available, held, ..)| available + held).sum()
}
