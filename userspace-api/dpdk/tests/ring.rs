//! net_ring: a device that brings what it was given. What goes out must come back: answers, held answers, and only so many as there is room for.
#![cfg_attr(
    dpdk,
    allow(unsafe_code, reason = "the first frame is put in by DPDK itself")
)]

#[cfg(dpdk)]
mod frames;

#[cfg(not(dpdk))]
#[test]
fn what_goes_out_comes_back() {
    eprintln!("skipped: {}", dpdk_sys::MISSING);
}

#[cfg(dpdk)]
mod with_dpdk {
    use super::frames::{PORT, SHARD, counter, order};
    use ring0_dpdk::{DpdkPort, Eal, EalOptions, PortOptions};
    use ring0_engine::record::ReplyTo;
    use ring0_rings::{BATCH, Port};
    use ring0_wire::Buffer;
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 7];
    const WAIT: Duration = Duration::from_secs(5);

    /// The system's allocator, counting what each thread asks for.
    struct Counting;

    thread_local! {
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    // SAFETY: every call goes to the system's allocator as it is.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            ASKED.with(|asked| asked.set(asked.get() + 1));
            // SAFETY: as the caller promises.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: as the caller promises.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    /// Gives frames to device 0, as a wire would.
    fn put(pool: *mut dpdk_sys::rte_mempool, frames: &[Vec<u8>]) {
        for frame in frames {
            // SAFETY: the pool lives to the end of the process.
            let mut buffer = unsafe { dpdk_sys::ring0_alloc(pool) };
            assert!(!buffer.is_null());
            // SAFETY: a buffer of ours.
            let data = unsafe { dpdk_sys::ring0_look(buffer) };
            assert!(frame.len() <= data.room.into());
            // SAFETY: it fits, as just asserted.
            unsafe {
                data.data
                    .copy_from_nonoverlapping(frame.as_ptr(), frame.len())
            };
            // SAFETY: likewise.
            unsafe { dpdk_sys::ring0_set_len(buffer, frame.len() as u16) };
            // SAFETY: one whole buffer, which is the device's from here on; nobody else sends now.
            let sent = unsafe { dpdk_sys::ring0_tx_burst(0, &raw mut buffer, 1) };
            assert_eq!(sent, 1);
        }
    }

    #[test]
    fn what_goes_out_comes_back() {
        let eal = Eal::start(&EalOptions::new(["net_ring0"])).unwrap();
        let mut port = DpdkPort::open(&eal, &PortOptions::new("net_ring0", PORT)).unwrap();
        // SAFETY: a string and numbers; any processor's memory.
        let pool =
            unsafe { dpdk_sys::rte_pktmbuf_pool_create(c"wire".as_ptr(), 1023, 0, 0, 2048, -1) };
        assert!(!pool.is_null());
        let hardware = port.hardware();

        // From the shard's own port, so that the answer, which comes back, is a packet again.
        let from = (SHARD, PORT, HARDWARE);
        put(pool, &[order(from, [0xFF; 6], b"ping")]);
        assert_eq!(port.receive(WAIT).unwrap(), 1);
        let arrival = port.packet(0);
        assert_eq!(arrival.payload, b"ping");
        assert_eq!(arrival.number, None);
        assert!(arrival.boot_ns > 0);
        let to = arrival.from;
        let expected = ReplyTo {
            address: SHARD,
            port: PORT,
            local: SHARD,
            ..ReplyTo::default()
        };
        assert_eq!(to, expected);
        let answer = Buffer::new();
        answer.copy_in(b"pong, longer than what was sent");
        port.answer(0, &answer, 31);
        port.flush().unwrap();
        assert_eq!(port.receive(WAIT).unwrap(), 1);
        assert_eq!(port.packet(0).payload, b"pong, longer than what was sent");
        // No answer: it ends.
        port.flush().unwrap();
        assert_eq!(port.receive(Duration::ZERO).unwrap(), 0);
        assert_eq!(counter(&port, "dpdk_sent"), 2); // one of them put in
        assert_eq!(counter(&port, "dpdk_received"), 2);

        // Held answers of all lengths. The address was learnt twice: the frame that came back is from the device's own.
        for len in [0, 1, 100, 1472] {
            assert!(port.send(&to, &vec![9; len]));
            assert_eq!(port.receive(WAIT).unwrap(), 1);
            assert_eq!(port.packet(0).payload, vec![9; len]);
        }
        assert!(!port.send(&to, &[9; 1473]));
        assert_eq!(counter(&port, "dpdk_send_too_long"), 1);

        // An answer that no frame can hold is not sent.
        put(pool, &[order(from, hardware, b"ping")]);
        assert_eq!(port.receive(WAIT).unwrap(), 1);
        port.answer(0, &answer, 3000);
        port.flush().unwrap();
        assert_eq!(port.receive(Duration::ZERO).unwrap(), 0);
        assert_eq!(counter(&port, "dpdk_answer_no_room"), 1);

        // A thread that is none of the environment's can use it.
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                assert!(port.send(&to, b"from another thread"));
                assert_eq!(port.receive(WAIT).unwrap(), 1);
                assert_eq!(port.packet(0).payload, b"from another thread");
                port.flush().unwrap();
            });
            other.join().unwrap();
        });

        // More than one call gives: in order, nothing lost.
        let many: Vec<Vec<u8>> = (0..BATCH as u8 + 36)
            .map(|mark| order(from, hardware, &[mark]))
            .collect();
        put(pool, &many);
        let mut marks = Vec::new();
        for expected in [BATCH, 36] {
            let count = port.receive(WAIT).unwrap();
            assert_eq!(count, expected);
            marks.extend((0..count).map(|index| port.packet(index).payload[0]));
            port.flush().unwrap();
        }
        assert!(marks.into_iter().eq(0..BATCH as u8 + 36));

        // Full batches going round, of each one packet's answer held: nothing is lost, nothing is allocated.
        const ROUNDS: u32 = 10_000;
        put(pool, &many[..BATCH]);
        let asked = || ASKED.with(Cell::get);
        let before = asked();
        drop(std::hint::black_box(Box::new(before)));
        assert_eq!(asked(), before + 1, "the counter counts");
        let (before, begin) = (asked(), Instant::now());
        for _ in 0..ROUNDS {
            assert_eq!(port.receive(WAIT).unwrap(), BATCH);
            for index in 1..BATCH {
                let len = port.packet(index).payload.len();
                port.answer(index, &answer, len);
            }
            port.flush().unwrap();
            assert!(port.send(&to, b"held"));
        }
        assert_eq!(asked(), before);
        println!("{:?} a packet", begin.elapsed() / (ROUNDS * BATCH as u32));
        assert_eq!(port.receive(WAIT).unwrap(), BATCH);
        port.flush().unwrap();

        // The way out fills up (net_ring has 1,023 places): what does not fit is lost, freed and counted, and the port goes on.
        let mut sent = 0;
        while port.send(&to, b"held") {
            sent += 1;
            assert!(sent < 10_000, "a ring that never fills");
        }
        assert_eq!(counter(&port, "dpdk_transmit_full"), 1);
        for _ in 0..10_000 {
            assert!(!port.send(&to, b"held")); // else the pool would end, and with another counter
        }
        assert_eq!(counter(&port, "dpdk_transmit_full"), 10_001);
        assert_eq!(counter(&port, "dpdk_send_no_buffer"), 0);
        let mut back = 0;
        loop {
            match port.receive(Duration::ZERO).unwrap() {
                0 => break,
                count => back += count,
            }
            port.flush().unwrap();
        }
        assert_eq!(back, sent);
    }
}
