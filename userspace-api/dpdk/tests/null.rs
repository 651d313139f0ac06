//! net_null: a device that brings junk without end and swallows what it is given. And what can be asked of the environment only once a process.

mod frames;

use frames::{PORT, counter};
use ring0_dpdk::{AVAILABLE, DpdkError, DpdkPort, Eal, EalOptions, PortOptions};
use ring0_engine::record::ReplyTo;
use ring0_rings::{BATCH, Port};
use std::time::{Duration, Instant};

#[test]
fn junk_is_counted_and_waiting_ends() {
    if !AVAILABLE {
        eprintln!("skipped: {}", dpdk_sys::MISSING);
        return;
    }
    let error = Eal::start(&EalOptions::new(["net_null0\0"])).unwrap_err();
    assert!(matches!(error, DpdkError::Argument { .. }), "{error}");
    let eal = Eal::start(&EalOptions::new(["net_null0", "net_null1"])).unwrap();
    let error = Eal::start(&EalOptions::new(["net_null2"])).unwrap_err();
    assert!(matches!(error, DpdkError::AlreadyStarted), "{error}");
    let error = DpdkPort::open(&eal, &PortOptions::new("net_null2", PORT))
        .err()
        .unwrap();
    assert!(matches!(error, DpdkError::NoDevice { .. }), "{error}");
    assert!(error.to_string().contains("No such device"), "{error}");

    let options = PortOptions::new("net_null0", PORT);
    let mut port = DpdkPort::open(&eal, &options).unwrap();
    let error = DpdkPort::open(&eal, &options).err().unwrap();
    assert!(matches!(error, DpdkError::Device { .. }), "{error}");
    assert_eq!(port.name(), "dpdk");

    let begin = Instant::now();
    assert_eq!(port.receive(Duration::from_millis(20)).unwrap(), 0);
    assert!(begin.elapsed() >= Duration::from_millis(20));
    port.flush().unwrap();
    // Zeros are frames of no known kind. Each was freed, or the pool's few thousand buffers would have ended after a moment.
    let junk = counter(&port, "pass_ethertype");
    assert!(junk > 100_000, "{junk} frames in 20 ms");
    assert_eq!(counter(&port, "dpdk_received"), junk);
    assert_eq!(counter(&port, "dpdk_receive_no_buffer"), 0);

    assert!(!port.send(&ReplyTo::default(), b"to nobody"));
    assert_eq!(counter(&port, "dpdk_send_no_neighbour"), 1);
    assert_eq!(counter(&port, "dpdk_sent"), 0);

    // With a nap it looks a few times: at the beginning, and after each.
    let mut options = PortOptions::new("net_null1", PORT);
    options.nap = Duration::from_millis(5);
    let mut napping = DpdkPort::open(&eal, &options).unwrap();
    assert_eq!(napping.receive(Duration::from_millis(20)).unwrap(), 0);
    let looks = counter(&napping, "dpdk_received") / BATCH as u64;
    assert!((2..=5).contains(&looks), "{looks} looks");

    // The environment ends with the last that uses it, in whichever order.
    drop(eal);
    assert_eq!(port.receive(Duration::ZERO).unwrap(), 0);
    drop(port);
    drop(napping);
    let error = Eal::start(&EalOptions::new(["net_null0"])).unwrap_err();
    assert!(matches!(error, DpdkError::AlreadyStarted), "{error}");
}
