//! How much a shard can hold, chosen when it is made (RULES 20).

/// Maxima of a shard, per dimension. What does not fit is refused with a reason, never dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "std", derive(Hash))]
pub struct Capacity {
    /// Accounts, at most 2^20.
    pub accounts: u32,
    /// Assets, at most 256.
    pub assets: u32,
    /// Instruments, at most 65,535 (a locate is one more than the index).
    pub instruments: u32,
    /// Sessions, at most 2^20.
    pub sessions: u32,
    /// Live orders.
    pub orders: u32,
    /// Price levels in use at one time, those of hidden orders and stops and the peg queues too.
    pub levels: u32,
    /// Ladder places of all instruments together, one of the six books counted. Each instrument takes its ladder length rounded up to a
    /// power of two, at least 64.
    pub ladder: u32,
    /// Stored answers of all sessions together.
    pub answers: u32,
    /// Places in the reference windows of all sessions together. Each session takes its window rounded up to a multiple of 64.
    pub references: u32,
    /// Buckets of the overflow table of client references; a power of two.
    pub buckets: u32,
}

impl Capacity {
    /// A small market: 4 instruments of 1,024 ticks, 4,096 orders, 16 sessions. About 3 MiB.
    pub const SMALL: Capacity = Capacity {
        accounts: 16,
        assets: 8,
        instruments: 4,
        sessions: 16,
        orders: 4096,
        levels: 2048,
        ladder: 4 * 1024,
        answers: 16 * 256,
        references: 16 * 1024,
        buckets: 64,
    };
}
