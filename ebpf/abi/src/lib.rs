//! What the XDP program and the processes around it agree on: counters, cursors, the device page, the doorbell.
//!
//! Knows places and numbers; no orders, no system calls. Built into the eBPF object and into every host program that
//! maps its memory.
#![no_std]

/// The arena's page 0, which belongs to no shard: 32-bit words by offset. Writer: the daemon, before the link is made.
pub mod device {
    /// Always zero: where loop counters start (the engine's `region::ZERO_WORD`).
    pub const ZERO: u32 = 64;
    /// UDP destination port of the shard.
    pub const PORT: u32 = 72;
    /// IPv4 address of the shard as its four bytes lie in the packet (little-endian load); 0: any.
    pub const ADDRESS: u32 = 76;
    /// Slots of the record ring less one.
    pub const RECORD_MASK: u32 = 80;
    /// Slots of the command ring less one.
    pub const COMMAND_MASK: u32 = 84;
    /// 1 once the daemon has written the words around it.
    pub const READY: u32 = 88;
    /// When a packet is answered: one of [`Acks`](super::Acks), no other number.
    pub const ACKS: u32 = 92;
    /// How many numbers of the shard have a name here, for those who know no layout. [`TOTAL_BYTES`] each follow 8 bytes behind.
    pub const TOTALS: u32 = 1024;
    /// A name, zeros behind it ([`TOTAL_NAME`] bytes), the number's offset in the arena, and its length: 4 or 8 bytes.
    pub const TOTAL_BYTES: usize = 32;
    /// See [`TOTAL_BYTES`].
    pub const TOTAL_NAME: usize = 24;
    /// Names at the most: the page ends behind them.
    pub const TOTALS_MAX: usize = 64;
}

/// When a packet that was taken is answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u32)]
pub enum Acks {
    /// At once.
    #[default]
    Matched = 0,
    /// When its records are durable (RULES 12): the frame is dropped, the daemon sends the answer, and duplicates are answered from then on.
    Durable = 1,
}

impl Acks {
    /// Its name in files and in the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Acks::Matched => "matched",
            Acks::Durable => "durable",
        }
    }
}

/// The map of cursors: entries of 64 bytes.
pub mod cursor {
    /// Entry whose first word is the tail: slots published so far. Writer: the program.
    pub const TAIL: u32 = 0;
    /// First consumer entry; [`CONSUMERS`] follow each other. Word 0: slots consumed so far. Word 1: 1 if the consumer is
    /// required (the program never overruns it), 0 if not. Words 2 and 3: its name. Writer: the consumer.
    pub const FIRST_CONSUMER: u32 = 1;
    /// Consumers at the most.
    pub const CONSUMERS: u32 = 4;
    /// Entry of what is durable. Word 0: sequence number of the last durable record. Word 1: the slot behind it. Writer of both: whoever journals.
    /// Word 2: one of [`Acks`](super::Acks), for those who do not map the arena. Writer: the loader, once.
    /// Word 3: 1 after a write or sync of the journal failed: nothing is taken until a journal has begun anew. Writer: whoever journals.
    /// Word 4: the slot at which the shard last moved to another layout, 0 if it never did: a recording of one layout ends there. Writer: who moves it.
    pub const DURABLE: u32 = FIRST_CONSUMER + CONSUMERS;
    /// Byte offset of the slot in its entry.
    pub const DURABLE_SLOT: usize = 8;
    /// Byte offset of the policy in its entry.
    pub const ACKS: usize = 16;
    /// Byte offset of the failure in its entry.
    pub const FAILED: usize = 24;
    /// Byte offset of the move in its entry.
    pub const MOVED: usize = 32;
    /// Byte offset of a consumer's second word in its entry.
    pub const REQUIRED: usize = 8;
    /// Byte offset of a consumer's name in its entry, 16 bytes.
    pub const NAME: usize = 16;
}

/// The map of commands: entries of 128 bytes. Writer: the daemon.
pub mod command {
    /// Entry 0, word 0: commands written so far. Command *n* (from 0) stands in entry `1 + (n & mask)`.
    pub const HEAD: usize = 0;
    /// Entry 0, word 1: the arming word. A doorbell frame counts only while it carries this number and it is not 0.
    pub const ARMED: usize = 8;
    /// Commands that one doorbell carries out at the most.
    pub const DRAIN_MAX: u32 = 64;
}

/// The map of keys: entries of 32 bytes by session index.
pub mod key {
    /// Byte 16: 1 the key is set and tags are checked; 2 the tag is switched off by the shard's config; 0 nobody may send.
    pub const MODE: usize = 16;
    /// See [`MODE`].
    pub const CHECKED: u32 = 1;
    /// See [`MODE`].
    pub const OFF: u32 = 2;
}

/// The doorbell: a frame that the daemon runs through the program by test-run.
pub mod doorbell {
    /// EtherType of the frame (local experimental, IEEE 802).
    pub const ETHERTYPE: u16 = 0x88B5;
    /// Bytes of the frame: Ethernet header, the arming word (little-endian), zeros.
    pub const FRAME: usize = 64;
    /// Offset of the arming word in the frame.
    pub const NONCE: usize = 14;
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What the program counts, per CPU: every frame ends under exactly one name.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Counter {
            /// All but the malformed ones, which follow ([`malformed`]).
            pub const ALL: &'static [Counter] = &[$(Counter::$name,)+];

            /// Its name in tools and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$name => $text,)+ }
            }
        }
    };
}

counters! {
    /// Taken and answered.
    Taken = "taken",
    /// Answered again from the store.
    Duplicate = "duplicate",
    /// Taken, its answer held until its records are durable.
    Held = "held",
    /// Taken before, its answer still held.
    HeldDuplicate = "held_duplicate",
    /// Answered, not taken: a client sequence is missing.
    Hole = "not_taken_hole",
    /// Answered, not taken: begins below and ends above the expected client sequence.
    Straddle = "not_taken_straddle",
    /// Answered, not taken: the record ring is full.
    RingFull = "not_taken_ring_full",
    /// Answered, not taken: over the session's rate.
    RateLimited = "not_taken_rate_limited",
    /// Answered, not taken: the shard is halted or broken.
    Halted = "not_taken_halted",
    /// A doorbell of the daemon.
    Doorbell = "doorbell",
    /// Passed on: shorter than an Ethernet header, or none of our frames by its EtherType (VLAN, IPv6, ARP).
    PassEtherType = "pass_ethertype",
    /// Passed on: IPv4, but not UDP.
    PassProtocol = "pass_protocol",
    /// Passed on: not the shard's port or address.
    PassPort = "pass_port",
    /// Passed on: an IPv4 fragment, whose port cannot be known; none of ours is ever one.
    PassFragment = "pass_fragment",
    /// Passed on: IPv4 with options; none of ours has any.
    PassOptions = "pass_ip_options",
    /// Passed on: the frame ends inside its IPv4 or UDP header.
    PassTruncated = "pass_truncated",
    /// Passed on: the daemon has not made the shard ready.
    PassNotReady = "pass_not_ready",
    /// Dropped: ours by its port, but IPv4 and UDP lengths disagree with each other or the frame.
    DropLength = "drop_length",
    /// Dropped: the session is not granted.
    DropUnknownSession = "drop_unknown_session",
    /// Dropped: the session has no key in the kernel's table.
    DropNoKey = "drop_no_key",
    /// Dropped: the tag is not the session's.
    DropBadTag = "drop_bad_tag",
    /// Dropped: another processor held the shard for too long; the client sends again.
    DropBusy = "drop_busy",
    /// Dropped: the answer could not be built; a fault of ours.
    DropAnswer = "drop_answer",
}

/// Number of the counter of a malformed payload: dropped.
#[must_use]
#[inline(always)]
pub const fn malformed(cause: ring0_wire::Malformed) -> u32 {
    Counter::DropAnswer as u32 + 1 + cause as u32
}

/// Counters in use.
pub const COUNTERS: u32 = Counter::DropAnswer as u32 + 1 + ring0_wire::Malformed::ALL.len() as u32;

/// Name of a counter by its number: for malformed payloads `drop_` and the cause.
#[must_use]
pub fn counter_name(number: u32) -> Option<(&'static str, &'static str)> {
    let number = number as usize;
    if let Some(counter) = Counter::ALL.get(number) {
        return Some(("", counter.name()));
    }
    let cause = ring0_wire::Malformed::ALL.get(number - Counter::ALL.len())?;
    Some(("drop_", cause.name()))
}

/// What the steering program of the AF_XDP ring and its port agree on. Its counters have the numbers and names of [`Counter`] as far as it has such
/// frames, and its own behind them ([`counter_name`](steer::counter_name)).
pub mod steer {
    use crate::{COUNTERS, key};
    use ring0_wire::SessionId;

    /// Config, one entry: UDP port of the shard, 32 bits. Writer of all three: the loader, before the link is made.
    pub const PORT: usize = 0;
    /// Config: IPv4 address of the shard as its four bytes lie in the packet; 0: any.
    pub const ADDRESS: usize = 4;
    /// Config: 1 once the words before are there.
    pub const READY: usize = 8;
    /// Bytes of the config's entry.
    pub const CONFIG_BYTES: usize = 16;

    /// Bytes of a session's entry, found by session index: two halves of the key, then the id as [`SessionId::words`] gives it (the last two letters
    /// in the low half of the fourth word), then the mode in its upper half. All zero: not granted.
    pub const SESSION_BYTES: usize = 32;
    /// Mode of a session that is granted and has no key: dropped, by another name than a session that is not granted.
    pub const KEYLESS: u32 = 3;

    /// How a session's packets are checked.
    #[derive(Clone, Copy)]
    pub enum Tag<'a> {
        /// Against this key.
        Checked(&'a [u8; 16]),
        /// Not: the tag is switched off by the shard's config and must be zero.
        Off,
        /// No packet is let through: the session has no key yet.
        Keyless,
    }

    /// The entry of a granted session.
    #[must_use]
    pub fn session_entry(id: SessionId, tag: Tag<'_>) -> [u8; SESSION_BYTES] {
        let mut entry = [0; SESSION_BYTES];
        let mode = match tag {
            Tag::Checked(bytes) => {
                entry[..16].copy_from_slice(bytes);
                key::CHECKED
            }
            Tag::Off => key::OFF,
            Tag::Keyless => KEYLESS,
        };
        let (head, tail) = id.words();
        entry[16..24].copy_from_slice(&head.to_le_bytes());
        entry[24..26].copy_from_slice(&tail.to_le_bytes());
        entry[28..].copy_from_slice(&mode.to_le_bytes());
        entry
    }

    /// What lies right before a frame that was redirected: its number in the order of arrival from 1, then the boot-time clock in nanoseconds, each
    /// 64 bits in the machine's order.
    pub const STAMP_BYTES: usize = 16;

    /// Stamped and given to the socket of its queue.
    pub const REDIRECTED: u32 = COUNTERS;
    /// Dropped: no socket is bound to the queue that the frame came in by; no number is used.
    pub const NO_SOCKET: u32 = COUNTERS + 1;
    /// Dropped: the driver leaves no room for the stamp; no number is used.
    pub const NO_METADATA: u32 = COUNTERS + 2;
    /// Counters in use, those of [`Counter`](crate::Counter) included.
    pub const COUNTERS_USED: u32 = COUNTERS + 3;

    const _: () = assert!(COUNTERS_USED <= 128, "the counters map has 128 entries");

    /// As [`counter_name`](crate::counter_name), with the program's own.
    #[must_use]
    pub fn counter_name(number: u32) -> Option<(&'static str, &'static str)> {
        match number {
            REDIRECTED => Some(("", "redirected")),
            NO_SOCKET => Some(("drop_", "no_socket")),
            NO_METADATA => Some(("drop_", "no_metadata")),
            _ => crate::counter_name(number),
        }
    }
}

const _: () = assert!(Counter::ALL.len() == Counter::DropAnswer as usize + 1);
const _: () = assert!(COUNTERS <= 128, "the counters map has 128 entries");
