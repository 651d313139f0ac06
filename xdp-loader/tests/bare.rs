//! A program without maps: `ebpf/prebuilt/echo.bpf.o`, attached to a veth pair and gone with its value.

mod veth;

use veth::Veth;
use xdp_loader::{Bare, LoaderError, Mode, Object};

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

fn echo() -> Object {
    Object::Path(concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/prebuilt/echo.bpf.o").into())
}

#[test]
fn packets_are_turned_round_as_long_as_the_value_lives() {
    let Some(veth) = Veth::new() else { return };
    let bare = Bare::attach(&echo(), &veth.interface(), None, Mode::Native).expect("attaches");
    assert!(veth.has_xdp());
    let second = Bare::pass(&veth.interface(), None);
    assert!(
        matches!(second, Err(LoaderError::Foreign { .. })),
        "{second:?}"
    );

    // Ethernet, IPv4, UDP, four bytes; checksums that stay right are only carried along.
    let mut frame: Vec<u8> = (0..46).collect();
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[23] = 17;
    let mut turned = frame.clone();
    for (a, b, len) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
        turned[a..a + len].copy_from_slice(&frame[b..b + len]);
        turned[b..b + len].copy_from_slice(&frame[a..a + len]);
    }
    let run = |frame: &[u8]| {
        let mut out = [0; 128];
        let ran = bare.program().test_run(frame, &mut out, 1).expect("runs");
        (ran.retval, out[..frame.len()].to_vec())
    };
    assert_eq!(run(&frame), (XDP_TX, turned));
    for (at, value) in [(12, 0x86), (14, 0x46), (23, 6)] {
        let mut other = frame.clone();
        other[at] = value;
        assert_eq!(run(&other), (XDP_PASS, other.clone()), "byte {at}");
    }
    let short = frame[..41].to_vec();
    assert_eq!(run(&short), (XDP_PASS, short.clone()));

    drop(bare);
    assert!(!veth.has_xdp());
}
