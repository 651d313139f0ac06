//! The thread of a userspace ring allocates nothing for a packet, whatever is in it: a random flow of all messages and order kinds, behind the ring's
//! real ports. (That a port alone allocates nothing is in the ports' own tests; the kernel's program has nothing to allocate with.)
#![expect(unsafe_code, reason = "counts what is allocated")]

use ring0_afxdp::{AfxdpOptions, AfxdpShard, kept_steer_object};
use ring0_engine::control::{Clock, Control, ControlKind};
use ring0_engine::flow::{Flow, Input, Options, Profile};
use ring0_lab::Veth;
use ring0_rings::{
    Acks, Consumer, Live, Ring, RingError, THREAD, UdpPort, UserOptions, UserShard, Wire, boot_ns,
};
use ring0_tests::{PORT, seed};
use ring0_wire::SessionId;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Packets through each ring: `RING0_PACKETS`, or a hundred thousand.
fn packets() -> u64 {
    match std::env::var("RING0_PACKETS") {
        Ok(text) => text.parse().expect("RING0_PACKETS is a number"),
        Err(_) => 100_000,
    }
}

/// The system's allocator, counting what one thread asks for. What it gives back is not counted: a command's closure, carried out before, may be.
struct Counting;

/// The thread that is watched; 0: none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
/// What it asked for.
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The thread's id, once it is known.
    static ID: Cell<i32> = const { Cell::new(0) };
}

fn count() {
    let watched = WATCHED.load(Ordering::Relaxed);
    if watched == 0 {
        return;
    }
    if ID.get() == 0 {
        // SAFETY: asks for a number.
        ID.set(unsafe { libc::gettid() });
    }
    if ID.get() == watched {
        ASKED.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The thread of this process's one ring.
fn ring_thread() -> i32 {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").expect("/proc is there") {
        let path = task.expect("this process's own").path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default(); // it has ended meanwhile
        if name.trim() == THREAD {
            let id = path.file_name().and_then(|it| it.to_str());
            found.push(id.and_then(|it| it.parse().ok()).expect("a number"));
        }
    }
    let [one] = found[..] else {
        panic!("one ring's thread: {found:?}");
    };
    one
}

/// What the ring's thread asks for meanwhile.
fn watched<T>(thread: i32, work: impl FnOnce() -> T) -> (T, u64) {
    let before = ASKED.load(Ordering::Relaxed);
    WATCHED.store(thread, Ordering::Relaxed);
    let done = work();
    WATCHED.store(0, Ordering::Relaxed);
    (done, ASKED.load(Ordering::Relaxed) - before)
}

fn options() -> UserOptions {
    UserOptions {
        capacity: Flow::capacity(),
        record_slots: 1 << 16,
        record_ring: None,
        acks: Acks::Matched,
        processor: None,
        spin: true, // commands in between are carried out at once
    }
}

/// A flow through a fresh ring, its packets watched.
fn flow_through<S: Live>(mut wire: Wire<S>, seed: u64, wanted: u64) {
    for session in 0..Flow::capacity().sessions {
        let key = [session as u8 + 1; 16];
        let key = (session != 1).then_some(&key); // one without a tag
        wire.shard.set_key(session, key).unwrap();
    }
    let thread = ring_thread(); // it has its name: it has done what it was asked
    let mut flow = Flow::new(
        seed,
        Options {
            profile: Profile::Mixed,
        },
    );
    let setup = flow.setup();
    let (results, asked) = watched(thread, || wire.control(&moved(&setup, flow.boot_ns()), 0));
    results.unwrap();
    assert_ne!(asked, 0, "a command's results are allocated, and counted");
    flow.learn(&wire.take_records().unwrap());

    let (mut packets, mut records) = (0, 0);
    let mut letters = BTreeMap::<char, u64>::new();
    while packets < wanted {
        match flow.next_input() {
            Input::Packet(payload) if !is_granted(&wire.shard, &payload) => {
                flow.observe(None); // dropped: a wait of milliseconds each, and no engine
            }
            Input::Packet(payload) => {
                let (answer, asked) = watched(thread, || wire.packet(&payload, 0));
                assert_eq!(asked, 0, "RING0_SEED={seed} packet {packets}: {payload:x?}");
                let answer = match answer {
                    Ok(answer) => Some(answer),
                    Err(RingError::Unanswered) => None,
                    Err(error) => panic!("RING0_SEED={seed} packet {packets}: {error}"),
                };
                flow.observe(answer.as_deref());
                for letter in block_letters(&payload) {
                    *letters.entry(letter).or_default() += 1;
                }
                packets += 1;
            }
            Input::Control(controls) => {
                let controls = moved(&controls, flow.boot_ns());
                wire.control(&controls, 0).unwrap();
            }
            Input::Steps => wire.steps().unwrap(),
        }
        let bytes = wire.take_records().unwrap();
        records += bytes.len() / 64;
        flow.learn(&bytes);
    }
    println!(
        "{}: {packets} packets, {records} slots of records, messages by letter {letters:?}: nothing allocated",
        wire.name()
    );
    let all: String = letters.into_keys().collect();
    assert_eq!(all, "ADFMOUXz", "RING0_SEED={seed}");
    assert_eq!(wire.shard.failure(), None);
}

/// Whether a packet's session is granted as the packet names it.
fn is_granted(live: &impl Live, payload: &[u8]) -> bool {
    let (id, _) = payload.split_first_chunk().expect("a session's id");
    let id = SessionId(*id);
    let session = id.index().and_then(|index| live.session(index));
    session.is_some_and(|it| {
        (it.id_head.get(), it.id_tail.get()) == (id.words().0, id.words().1.into())
    })
}

/// The flow's own clock, as far ahead of the machine's as it was.
fn moved(controls: &[Control], flow_boot_ns: u64) -> Vec<Control> {
    let ahead = flow_boot_ns.wrapping_sub(boot_ns());
    let one = |control: &Control| {
        if control.kind != ControlKind::Clock as u32 {
            return *control;
        }
        let mut clock: Clock = control.body();
        clock.day_base_ns = clock.day_base_ns.wrapping_add(ahead);
        Control::new(ControlKind::Clock, &clock)
    };
    controls.iter().map(one).collect()
}

/// Letters of a packet's blocks.
fn block_letters(payload: &[u8]) -> Vec<char> {
    let mut rest = &payload[20..];
    let mut letters = Vec::new();
    while let [high, low, letter, ..] = *rest {
        letters.push(char::from(letter));
        rest = &rest[2 + usize::from(u16::from_be_bytes([high, low]))..];
    }
    letters
}

fn udp() -> Wire<UserShard> {
    let here = (Ipv4Addr::LOCALHOST, 0);
    let socket = UdpSocket::bind(here).unwrap();
    let client = UdpSocket::bind(here).unwrap();
    client.connect(socket.local_addr().unwrap()).unwrap();
    let port = UdpPort::new(socket).unwrap_or_else(|error| panic!("{error}"));
    let started = UserShard::start(&options(), Box::new(port), None);
    let shard = started.unwrap_or_else(|error| panic!("{error}"));
    let records = Consumer::observer(shard.record_ring()).unwrap();
    Wire::new(shard, "udp", client, records).unwrap()
}

fn afxdp(veth: &Veth) -> Wire<AfxdpShard> {
    let (interface, netns) = (&veth.exchange_if, Some(veth.exchange_ns.as_str()));
    let mut port = AfxdpOptions::new(kept_steer_object(), interface, netns, PORT);
    port.address = Some(veth.exchange_address);
    let started = AfxdpShard::start(&options(), &port, None);
    let (shard, _) = started.unwrap_or_else(|error| panic!("{error}"));
    let connect = || {
        let socket = UdpSocket::bind((veth.trader_address, 0)).unwrap();
        socket.connect((veth.exchange_address, PORT)).unwrap();
        socket
    };
    let records = Consumer::observer(shard.user().record_ring()).unwrap();
    Wire::new(shard, "afxdp", veth.in_trader(connect).unwrap(), records).unwrap()
}

/// One ring after the other: the process has one ring's thread at a time.
#[test]
fn the_thread_of_a_ring_allocates_nothing_for_a_packet() {
    let seed = seed();
    flow_through(udp(), seed, packets());
    let veth = Veth::up(ring0_lab::Options::default()).unwrap_or_else(|error| panic!("{error}"));
    flow_through(afxdp(&veth), seed, packets());
}
