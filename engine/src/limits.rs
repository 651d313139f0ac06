//! Bounds of what one command, one packet and one run may do. They are the same in every ring, so that a
//! budget can never make two rings differ (RULES 2, 9, 21).

/// Most makers one command, or one continuation step, may meet: filled, decremented or taken away. A command that reaches it
/// goes on as a continuation. Below 256 ordinary sweeps would be cut; above it the worst case of a run grows.
pub const FILLS_MAX: u32 = 256;

/// Most orders one step of a mass cancel, an expiry or a purge visits.
pub const CANCELS_MAX: u32 = 64;

/// Most looks of one step of a mass cancel: each is 64 places of a reference window, or an order visited, or the end of a session.
pub const LOOKS_MAX: u32 = 256;

/// Most fills and removals of one step of an auction. A fill of two icebergs is three slots of the record ring, so it is fewer than
/// makers of a sweep.
pub const CROSSES_MAX: u32 = 128;

/// What a mass cancel counts in the work of its packet, so that a packet of them has a bound.
pub const MASS_WORK: u32 = 64;

/// Most work (makers met, orders looked at by fill-or-kill, mass cancels) one packet may cause over all its messages. A
/// message that could pass it is taken and rejected with [`Reason::PacketFills`](crate::Reason::PacketFills).
pub const PACKET_WORK_MAX: u32 = 1024;

/// Most continuation steps taken at the start of one run.
pub const STEPS_MAX: u32 = 4;

/// Most peg queues (a kind, an offset, a limit) on one side of one instrument. All of them are looked at for each maker
/// while there is any, which is what bounds their number.
pub const PEG_QUEUES_MAX: u32 = 8;

/// Orders in one bucket of the overflow table of client references (RULES 16): one cache line of slots.
pub const BUCKET_LEN: u32 = 16;

/// Shards of one venue at the most; a power of two. Each account has eight bytes for each.
pub const SHARDS_MAX: u32 = 8;

/// Bytes of one slot of the record ring.
pub const SLOT_LEN: usize = 64;

/// Slots that one maker may take: what happened to it, and its refill.
const MAKER_SLOTS: u32 = 2;

/// Slots of the largest command with its events: the command, [`FILLS_MAX`] makers, and what becomes of the order beside them.
pub const COMMAND_SLOTS_MAX: u32 = 2 + FILLS_MAX * MAKER_SLOTS + 6;

/// Slots that a packet may take at the most: each message's command and four further events, and the packet's work.
pub const PACKET_SLOTS_MAX: u64 =
    (ring0_wire::COUNT_MAX as u64) * (2 + 4) + (PACKET_WORK_MAX * MAKER_SLOTS) as u64;

/// Slots that one continuation step may take at the most.
pub const STEP_SLOTS_MAX: u64 = COMMAND_SLOTS_MAX as u64;

/// Amounts stay below this, so that sums and signed differences of two are exact (RULES 18).
pub const AMOUNT_MAX: u64 = (1 << 63) - 1;

/// Fee rates are parts of this.
pub const PPM: u64 = 1_000_000;

/// Highest taker fee that a listing may ask: ten per cent.
pub const FEE_PPM_MAX: u32 = 100_000;

/// Seconds of a day: an expiry is below it.
pub const DAY_SECONDS: u32 = 86_400;

/// Smallest and largest answer window of a session, as powers of two (RULES 10).
pub const ANSWERS_LOG2: core::ops::RangeInclusive<u8> = 7..=16;

/// Smallest and largest reference window of a session, as powers of two.
pub const REFERENCES_LOG2: core::ops::RangeInclusive<u8> = 4..=24;

const _: () = assert!(FILLS_MAX >= 256, "RULES 21");
const _: () = assert!(CANCELS_MAX <= FILLS_MAX && CANCELS_MAX <= LOOKS_MAX);
const _: () = assert!(PACKET_WORK_MAX >= FILLS_MAX);
const _: () = assert!(1 + 3 * CROSSES_MAX + 2 <= COMMAND_SLOTS_MAX);
/// The kernel lets a loop's frame run 65,535 times (RULES 2); all loops of one run together stay below it: payload words copied,
/// hashed and answered, blocks; makers of the packet's work and of the steps, with every peg queue for each (three times in a feasibility walk); mass cancels; buckets; record slots.
const _: () = assert!(
    6 * 256
        + 4 * 69
        + (PACKET_WORK_MAX as u64 + FILLS_MAX as u64) * (1 + 3 * PEG_QUEUES_MAX as u64)
        + (PACKET_WORK_MAX / MASS_WORK) as u64 * LOOKS_MAX as u64
        + 68 * 4 * BUCKET_LEN as u64
        + PACKET_SLOTS_MAX
        + STEPS_MAX as u64 * (FILLS_MAX as u64 * (1 + PEG_QUEUES_MAX as u64) + STEP_SLOTS_MAX)
        < 65_535
);
