//! Nothing is allocated on the path of a packet.

mod stand;

use ring0_engine::record::ReplyTo;
use ring0_rings::Port;
use ring0_wire::Buffer;
use stand::{KEY, packet, stand};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

/// The system's allocator, counting the calls of each thread.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls() -> u64 {
    CALLS.with(Cell::get)
}

#[test]
fn the_path_of_a_packet_allocates_nothing() {
    let Some(mut stand) = stand(2, |_| {}) else {
        return;
    };
    let sockets: Vec<_> = (0..8).map(|_| stand.socket()).collect();
    let packets: Vec<_> = (1..=200).map(|it| packet(0, it, Some(&KEY))).collect();
    let answer = Buffer::new();
    let (mut seen, mut held) = (0, 0);
    let before = calls();
    let boxed = Box::new(seen); // the counter counts
    assert_eq!(calls(), before + 1);
    drop(boxed);
    let before = calls();
    for packet in &packets {
        for socket in &sockets {
            socket.send(packet).unwrap();
        }
        let mut to = ReplyTo::default();
        loop {
            let got = stand.port.receive(Duration::from_micros(500)).unwrap();
            for index in 0..got {
                let arrival = stand.port.packet(index);
                let len = arrival.payload.len().min(39);
                answer.copy_in(arrival.payload);
                to = arrival.from;
                stand.port.answer(index, &answer, len);
            }
            stand.port.flush().unwrap();
            seen += got;
            if got == 0 {
                break;
            }
        }
        held += u64::from(stand.port.send(&to, b"an answer that was held"));
    }
    assert_eq!(calls(), before, "after {seen} packets");
    assert_eq!((seen, held), (1600, 200));
}
