//! A door's transport: whole packets there and back, and a door that closes and opens again is a loss, not an end.

use ring0_trader::{DoorTransport, Transport};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, recv, send, socket_with,
};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

fn door(path: &Path) -> OwnedFd {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&socket, 4).unwrap();
    socket
}

#[test]
fn packets_go_whole_and_a_closed_door_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.door");
    assert!(DoorTransport::connect(&path).is_err(), "nobody is there");

    let listener = door(&path);
    let mut transport = DoorTransport::connect(&path).unwrap();
    let venue = accept(&listener).unwrap();
    for packet in [&b"one"[..], &[7; 1400]] {
        transport.send(packet).unwrap();
        let mut bytes = [0; 2048];
        let (len, _) = recv(&venue, &mut bytes[..], RecvFlags::empty()).unwrap();
        assert_eq!(&bytes[..len], packet);
        send(&venue, packet, SendFlags::empty()).unwrap();
        let got = transport
            .receive(&mut bytes, Duration::from_secs(5))
            .unwrap();
        assert_eq!(got.map(|len| bytes[..len].to_vec()), Some(packet.to_vec()));
    }

    drop((venue, listener));
    std::fs::remove_file(&path).unwrap();
    let mut bytes = [0; 64];
    for _ in 0..3 {
        assert_eq!(
            transport
                .receive(&mut bytes, Duration::from_millis(1))
                .unwrap(),
            None
        );
        transport.send(b"lost").unwrap();
    }
    let listener = door(&path);
    transport.send(b"again").unwrap();
    let venue = accept(&listener).unwrap();
    let (len, _) = recv(&venue, &mut bytes[..], RecvFlags::empty()).unwrap();
    assert_eq!(&bytes[..len], b"again");
}
