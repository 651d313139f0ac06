//! The kernel ring from outside: its pinned maps, the doorbell, packets by test-run.
//!
//! One process, the daemon, writes the command ring and rings. Rule: RULES 5, 11, 23.

use crate::live::{Delivered, Live};
use crate::records::Consumer;
use crate::ring::{Ring, RingError};
use crate::sign::sign;
use ring0_abi::{Acks, Counter, command, cursor, device, doorbell, key};
use ring0_engine::canon::StateHash;
use ring0_engine::control::Control;
use ring0_engine::layout::Layout;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::native::control_result;
use ring0_engine::record::{Head, Kind, Outcome};
use ring0_engine::region::{Memory, SHARD_BASE};
use ring0_engine::snapshot::{Snapshot, SnapshotError};
use ring0_engine::totals::TOTALS;
use ring0_engine::{Depth, Reason, Shard};
use ring0_wire::Key;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use xdp_loader::{Arena, Commands, Fresh, InitError, LoadOptions, Loaded, Pinned, Program};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of Ethernet, IPv4 and UDP headers before a payload.
const HEADERS: usize = 42;

/// What the shard in the kernel is made for.
#[derive(Clone, Debug)]
pub struct KernelOptions {
    /// How the loader loads it; sizes that follow from the layout are set by [`load_shard`].
    pub load: LoadOptions,
    /// The region's layout.
    pub layout: Layout,
    /// UDP port of the shard.
    pub port: u16,
    /// Address of the shard; `None`: any.
    pub address: Option<Ipv4Addr>,
    /// When packets are answered.
    pub acks: Acks,
}

/// Loads the program with a fresh shard, or adopts the one that is pinned.
///
/// # Errors
/// The loader's; a shard of another layout is refused.
pub fn load_shard(options: &KernelOptions) -> Result<(Loaded, KernelShard), RingError> {
    load_with(options, &mut |shard| {
        options.layout.initialise(shard);
        Ok(0)
    })
}

/// Loads the program with the shard of a snapshot, verified before anything is attached. The sessions' keys are not in a
/// snapshot: set them anew. Nor is the machine's boot-time clock: in another boot send a [`Clock`](ring0_engine::control::Clock).
///
/// # Errors
/// The loader's; a snapshot of another layout; a shard that is pinned already, which is left alone.
pub fn restore_shard(
    options: &KernelOptions,
    snapshot: &Snapshot,
) -> Result<(Loaded, KernelShard), RingError> {
    let pinned = || RingError::ShardPinned {
        pin_root: options.load.pin_root.clone(),
    };
    if xdp_loader::open_pinned(&options.load.pin_root).is_ok() {
        return Err(pinned());
    }
    let (loaded, shard) = load_with(options, &mut |shard| {
        snapshot.restore(shard, &options.layout)?;
        Ok(shard.header().controls_taken.get())
    })?;
    if loaded.report.adopted {
        return Err(pinned()); // made between the two
    }
    Ok((loaded, shard))
}

/// Loads the program; `fill` makes the shard in fresh memory and gives how many control commands it has taken.
fn load_with(
    options: &KernelOptions,
    fill: &mut dyn FnMut(Shard<'_>) -> Result<u64, InitError>,
) -> Result<(Loaded, KernelShard), RingError> {
    let mut load = options.load.clone();
    load.arena_bytes = u64::from(SHARD_BASE) + options.layout.bytes;
    load.sessions_max = options.layout.capacity.sessions;
    load.layout_hash = options.layout.hash();
    let mut initialise = |fresh: Fresh<'_>| {
        let mut put = |offset: u32, value: u32| {
            fresh.arena[offset as usize..offset as usize + 4].copy_from_slice(&value.to_le_bytes());
        };
        put(device::PORT, options.port.into());
        put(
            device::ADDRESS,
            options
                .address
                .map_or(0, |address| u32::from_le_bytes(address.octets())),
        );
        put(device::ACKS, options.acks as u32);
        put(device::RECORD_MASK, load.record_slots - 1);
        put(device::COMMAND_MASK, load.command_slots / 2 - 1);
        name_totals(fresh.arena);
        // SAFETY: the arena reserves what a `u32` offset can reach, and nothing is attached to it yet.
        let memory =
            unsafe { Memory::new(fresh.arena.as_mut_ptr().wrapping_add(SHARD_BASE as usize)) };
        let taken = fill(Shard::new(memory))?;
        let acks = cursor::DURABLE as usize * SLOT_LEN + cursor::ACKS;
        fresh.cursors[acks..acks + 8].copy_from_slice(&(options.acks as u64).to_le_bytes());
        // The command ring goes on behind the commands that the shard has taken.
        fresh.commands[command::HEAD..command::HEAD + 8].copy_from_slice(&taken.to_le_bytes());
        fresh.arena[device::READY as usize] = 1;
        Ok(())
    };
    let loaded = xdp_loader::load(&load, &mut initialise)?;
    let arena = match loaded.arena {
        Some(ref _arena) => None,
        None => Some(loaded.pinned.map_arena()?),
    };
    let (loaded, arena) = take_arena(loaded, arena);
    let shard = KernelShard::new(&loaded.pinned, arena)?;
    let found = shard.shard().header().layout.get();
    let expected = options.layout.hash();
    if found != expected {
        return Err(RingError::Layout { found, expected });
    }
    Ok((loaded, shard))
}

/// Writes into the page before the region what of its header has a name.
fn name_totals(arena: &mut [u8]) {
    let start = device::TOTALS as usize;
    arena[start..start + 8].copy_from_slice(&(TOTALS.len() as u64).to_le_bytes());
    let entries = arena[start + 8..].chunks_exact_mut(device::TOTAL_BYTES);
    for (entry, total) in entries.zip(TOTALS) {
        entry[..total.name.len()].copy_from_slice(total.name.as_bytes());
        let at = SHARD_BASE + total.at as u32;
        for (word, value) in [(0, at), (1, total.bytes as u32)] {
            let from = device::TOTAL_NAME + word * 4;
            entry[from..from + 4].copy_from_slice(&value.to_le_bytes());
        }
    }
}

fn take_arena(mut loaded: Loaded, mapped: Option<Arena>) -> (Loaded, Arena) {
    let arena = loaded.arena.take().or(mapped);
    (loaded, arena.expect("mapped by the load or just now"))
}

/// The entry of the key map for a session: its key, or, with `None`, a tag that is switched off.
#[must_use]
pub fn key_entry(bytes: Option<&[u8; 16]>) -> [u8; 32] {
    let mut entry = [0; 32];
    match bytes {
        Some(bytes) => {
            entry[..16].copy_from_slice(bytes);
            entry[key::MODE] = key::CHECKED as u8;
        }
        None => entry[key::MODE] = key::OFF as u8,
    }
    entry
}

/// Rings the doorbell: writes control commands and runs the program.
pub struct Doorbell {
    commands: Commands,
    mask: u64,
}

/// What a packet by test-run gave.
#[derive(Clone, Debug)]
pub struct PacketRun {
    /// XDP action.
    pub verdict: u32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// Time of the run, nanoseconds.
    pub duration_ns: u32,
}

/// A shard in the kernel, opened.
pub struct KernelShard {
    arena: Arena,
    program: Program,
    doorbell: Doorbell,
    consumer: Consumer,
    keys: xdp_loader::Keys,
    counters: xdp_loader::Counters,
    tags: Vec<Option<Key>>,
    port: u16,
}

impl KernelShard {
    /// Opens the pinned shard with its arena.
    ///
    /// # Errors
    /// The loader's.
    pub fn new(pinned: &Pinned, arena: Arena) -> Result<KernelShard, RingError> {
        let program = pinned.program()?;
        let commands = pinned.map_commands()?;
        let word = |offset: u32| {
            let at = offset as usize;
            (arena.word(at & !7).load(Ordering::Relaxed) >> (at % 8 * 8)) as u32
        };
        let doorbell = Doorbell {
            commands,
            mask: word(device::COMMAND_MASK).into(),
        };
        let port = word(device::PORT) as u16;
        let consumer = Consumer::observer(pinned)?;
        Ok(KernelShard {
            keys: pinned.keys()?,
            counters: pinned.counters()?,
            tags: Vec::new(),
            arena,
            program,
            doorbell,
            consumer,
            port,
        })
    }

    /// The same shard in another arena, to which it has moved.
    pub(crate) fn moved_to(&mut self, pinned: &Pinned, arena: Arena) -> Result<(), RingError> {
        let mut moved = KernelShard::new(pinned, arena)?;
        moved.tags = std::mem::take(&mut self.tags);
        *self = moved;
        Ok(())
    }

    /// The shard's memory, copied; it must be halted.
    ///
    /// # Errors
    /// See [`Snapshot::take_halted`].
    pub fn snapshot_halted(&self, layout: &Layout) -> Result<Snapshot, SnapshotError> {
        Snapshot::take_halted(self.shard(), layout)
    }

    /// Copies the page before the region out.
    pub(crate) fn copy_page(&self, to: &mut [u8]) {
        assert!(
            to.len() <= SHARD_BASE as usize,
            "the page before the region"
        );
        // SAFETY: the arena begins with it; nobody writes there once it is loaded.
        unsafe { std::ptr::copy_nonoverlapping(self.arena.as_ptr(), to.as_mut_ptr(), to.len()) };
    }

    /// Copies bytes of the region out, at an offset of its layout, for those who will go back to them.
    ///
    /// # Panics
    /// They are not all in the region.
    pub fn copy_out(&self, at: u64, to: &mut [u8]) {
        let from = self.inside(at, to.len());
        // SAFETY: both are of this length, `from` lies in the mapping by `inside`; a caller's slice is not in it.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
    }

    /// Copies bytes back that [`KernelShard::copy_out`] gave, or a native region of the same layout; the command ring goes on behind the commands
    /// that the shard has then taken. For tests: it is for the caller to see to it that nothing else runs the program meanwhile, neither
    /// traffic nor another process, and that all that changed is copied.
    ///
    /// # Panics
    /// They are not all in the region; the program is running.
    pub fn copy_in(&mut self, at: u64, from: &[u8]) {
        let running = self.shard().header().lock.get() != 0;
        assert!(!running, "a region is written while nothing runs on it");
        let to = self.inside(at, from.len());
        // SAFETY: as in `copy_out`; `&mut self` means that nobody in this process borrows the region.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        let taken = self.shard().header().controls_taken.get();
        self.doorbell.head().store(taken, Ordering::Release);
    }

    /// The place at this offset of the region, from which so many bytes lie in it.
    fn inside(&self, at: u64, len: usize) -> *mut u8 {
        let start = at.checked_add(u64::from(SHARD_BASE));
        let end = start.and_then(|start| start.checked_add(len as u64));
        assert!(
            end.is_some_and(|end| end <= self.arena.len_bytes() as u64),
            "only bytes of the region are copied"
        );
        self.arena
            .as_ptr()
            .wrapping_add(SHARD_BASE as usize + at as usize)
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn deliver_one(&self, payload: &[u8]) -> Result<Delivered, RingError> {
        let held = || -> Result<u64, RingError> {
            if self.acks() != Acks::Durable {
                return Ok(0);
            }
            let counters = Live::counters(self)?;
            let count = |of: Counter| counters.get(of as usize).copied().unwrap_or(0);
            Ok(count(Counter::Held) + count(Counter::HeldDuplicate))
        };
        let mut frame = self.frame(payload);
        frame[SOURCE_PORT..SOURCE_PORT + 2].fill(0);
        let before = held()?;
        let run = self.run_frame(&frame)?;
        Ok(match run.frame.get(HEADERS..) {
            Some(answer) if run.verdict == XDP_TX => Delivered::Answer(answer.to_vec()),
            _ if held()? != before => {
                let next = self.shard().header().next_sequence.get();
                Delivered::Held { until: next - 1 }
            }
            _ => Delivered::Dropped,
        })
    }

    /// Runs a whole frame through the program.
    ///
    /// # Errors
    /// The loader's: the kernel refuses frames below 14 bytes or above about 3,500.
    pub fn run_frame(&self, frame: &[u8]) -> Result<PacketRun, RingError> {
        let mut out = vec![0; frame.len() + 64];
        let run = self.program.test_run(frame, &mut out, 1)?;
        out.truncate(run.data_len as usize);
        Ok(PacketRun {
            verdict: run.retval,
            frame: out,
            duration_ns: run.duration_ns,
        })
    }

    /// The frame that carries a payload to the shard.
    #[must_use]
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        frame(self.port, payload)
    }

    fn command_batch(&mut self, commands: &[Control]) -> Result<Vec<(Outcome, Reason)>, RingError> {
        let before = self.shard().header().controls_taken.get();
        let written = self.doorbell.write(commands, before);
        let mut seen = self.tail();
        let mut results = Vec::new();
        for _ in 0..16 {
            self.ring_doorbell()?;
            let tail = self.tail();
            control_results(&self.consumer.slots(seen, tail)?, &mut results);
            seen = tail;
            if self.shard().header().controls_taken.get() >= written {
                return Ok(results);
            }
        }
        let taken = self.shard().header().controls_taken.get();
        // What was not taken is withdrawn, so that it cannot act later behind the caller's back.
        self.doorbell.head().store(taken, Ordering::Release);
        Err(RingError::ControlNotTaken {
            taken: taken - before,
            written: written - before,
        })
    }
}

impl Live for KernelShard {
    fn memory(&self) -> Memory<'_> {
        // SAFETY: the arena is mapped, with the rest of the 4 GiB reserved, while `self` lives; this process writes nothing
        // through it but in `copy_in`, which has `&mut self`.
        unsafe { Memory::new(self.arena.as_ptr().wrapping_add(SHARD_BASE as usize)) }
    }

    fn records(&self) -> &Consumer {
        &self.consumer
    }

    /// Writes the commands into the command ring and rings until they are taken.
    fn command(&mut self, commands: &[Control]) -> Result<Vec<(Outcome, Reason)>, RingError> {
        let mut results = Vec::with_capacity(commands.len());
        for batch in commands.chunks(command::DRAIN_MAX as usize) {
            results.extend(self.command_batch(batch)?);
        }
        Ok(results)
    }

    /// One doorbell: continuation steps, then what stands in the command ring.
    fn ring_doorbell(&mut self) -> Result<(), RingError> {
        let nonce = loop {
            let nonce: u64 = rand::random();
            if nonce != 0 {
                break nonce;
            }
        };
        self.doorbell.armed().store(nonce, Ordering::Release);
        let mut frame = [0; doorbell::FRAME];
        frame[12..14].copy_from_slice(&doorbell::ETHERTYPE.to_be_bytes());
        frame[doorbell::NONCE..doorbell::NONCE + 8].copy_from_slice(&nonce.to_le_bytes());
        let mut out = [0; doorbell::FRAME];
        let run = self.program.test_run(&frame, &mut out, 1);
        self.doorbell.armed().store(0, Ordering::Release);
        run?;
        Ok(())
    }

    fn set_key(&mut self, session: u32, bytes: Option<&[u8; 16]>) -> Result<(), RingError> {
        self.keys.set(session, &key_entry(bytes))?;
        let at = session as usize;
        if self.tags.len() <= at {
            self.tags.resize(at + 1, None);
        }
        self.tags[at] = bytes.map(Key::from_bytes);
        Ok(())
    }

    fn clear_key(&mut self, session: u32) -> Result<(), RingError> {
        if let Some(tag) = self.tags.get_mut(session as usize) {
            *tag = None;
        }
        Ok(self.keys.clear(session)?)
    }

    /// A test-run with each packet's frame. It names no port that it comes from, so that no held answer is sent to anybody.
    fn deliver(&mut self, payloads: &[Arc<[u8]>]) -> Result<Vec<Delivered>, RingError> {
        payloads.iter().map(|it| self.deliver_one(it)).collect()
    }

    fn tags(&self) -> &[Option<Key>] {
        &self.tags
    }

    fn in_kernel(&mut self) -> Option<&mut KernelShard> {
        Some(self)
    }

    fn counters(&self) -> Result<Vec<u64>, RingError> {
        let mut sums = self.counters.sums()?;
        sums.truncate(ring0_abi::COUNTERS as usize);
        Ok(sums)
    }
}

impl Doorbell {
    fn head(&self) -> &AtomicU64 {
        self.commands.word(command::HEAD)
    }

    fn armed(&self) -> &AtomicU64 {
        self.commands.word(command::ARMED)
    }

    /// Writes commands behind the `taken` ones and publishes them; gives the new head.
    fn write(&mut self, commands: &[Control], taken: u64) -> u64 {
        let mut head = taken;
        for control in commands {
            let mut entry = *control;
            entry.number = head + 1;
            let index = 1 + (head & self.mask) as u32;
            let bytes = entry
                .as_bytes()
                .try_into()
                .expect("a control command is an entry long");
            self.commands.write(index, bytes);
            head += 1;
        }
        self.head().store(head, Ordering::Release);
        head
    }
}

/// Results of the control records among whole records.
fn control_results(bytes: &[u8], results: &mut Vec<(Outcome, Reason)>) {
    let mut at = 0;
    while at < bytes.len() {
        let Ok((head, _)) = Head::ref_from_prefix(&bytes[at..]) else {
            break;
        };
        if head.kind == Kind::Control as u16 {
            let word = u64::from_le_bytes(bytes[at + 24..at + 32].try_into().expect("eight bytes"));
            results.push(control_result(word));
        }
        at += usize::from(head.slots.max(1)) * SLOT_LEN;
    }
}

impl Ring for KernelShard {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn control(
        &mut self,
        commands: &[Control],
        _: u64,
    ) -> Result<Vec<(Outcome, Reason)>, RingError> {
        self.command(commands)
    }

    /// The payload's tag is made here, with the session's key.
    fn packet(&mut self, payload: &[u8], _: u64) -> Result<Vec<u8>, RingError> {
        let mut signed = payload.to_vec();
        sign(&mut signed, &self.tags);
        let run = self.run_frame(&frame(self.port, &signed))?;
        if run.verdict != XDP_TX {
            return Err(RingError::NoAnswer {
                verdict: run.verdict,
            });
        }
        Ok(run.frame[HEADERS..].to_vec())
    }

    fn steps(&mut self) -> Result<(), RingError> {
        self.ring_doorbell()
    }

    fn take_records(&mut self) -> Result<Vec<u8>, RingError> {
        let mut bytes = Vec::new();
        self.consumer.read(&mut bytes, u64::MAX / 2)?;
        Ok(bytes)
    }

    fn state_hash(&mut self) -> StateHash {
        self.shard().state_hash()
    }

    fn depth(&mut self, instrument: u32, side: u8, levels: usize) -> Vec<Depth> {
        self.shard().depth(instrument, side, levels)
    }
}

/// The XDP action that sends a frame back.
const XDP_TX: u32 = 3;

/// Where a frame names the port that it comes from.
const SOURCE_PORT: usize = 34;

/// An Ethernet frame with IPv4 and UDP headers round a payload, from and to made-up addresses.
fn frame(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADERS + payload.len());
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
    let total = u16::try_from(payload.len() + 28).unwrap_or(u16::MAX);
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&total.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1]);
    frame.extend_from_slice(&40_000_u16.to_be_bytes());
    frame.extend_from_slice(&port.to_be_bytes());
    frame.extend_from_slice(&(total - 20).to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_have_room_in_the_page_before_the_region() {
        assert!(TOTALS.len() <= device::TOTALS_MAX);
        let longest = TOTALS.iter().map(|total| total.name.len()).max();
        assert!(longest < Some(device::TOTAL_NAME));
        let end = device::TOTALS as usize + 8 + device::TOTALS_MAX * device::TOTAL_BYTES;
        assert!(end <= SHARD_BASE as usize, "{end}");
        let mut page = vec![0; SHARD_BASE as usize];
        name_totals(&mut page);
        assert_eq!(page[device::TOTALS as usize], TOTALS.len() as u8);
    }
}
