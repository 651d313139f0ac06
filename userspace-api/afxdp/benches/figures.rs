//! Figures: `cargo bench -p ring0-afxdp`, on a quiet machine.
//!
//! Client on processor 1, server on processor 0; on veth the steering program runs on the client's. The engine is left out: a packet's tag is checked and its first bytes go back. So what is measured is the way in and out.

#[path = "../tests/stand/mod.rs"]
mod stand;

use ring0_afxdp::{BusyPoll, Mode};
use ring0_rings::Port;
use ring0_wire::{Buffer, Check, Domain, Key, Native, TAG_BLOCK, mac};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::thread::{CpuSet, sched_setaffinity};
use stand::{KEY, Stand, packet, stand};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: usize = 20_000;
const BLAST: usize = 200_000;

/// What the steering program has done already for the port, and a socket's server does itself.
fn check(payload: &[u8], buffer: &Buffer) {
    buffer.copy_in(payload);
    let genuine = mac::verify::<Native>(
        buffer,
        payload.len() - TAG_BLOCK,
        &Key::from_bytes(&KEY),
        Domain::Request,
    );
    assert_eq!(genuine, Check::Genuine);
}

/// Answers until told to stop; gives how many packets.
fn serve(stand: &mut Stand, stop: &AtomicBool) -> u64 {
    let answer = Buffer::new();
    let mut packets = 0;
    while !stop.load(Ordering::Relaxed) {
        let got = stand.port.receive(Duration::from_millis(5)).unwrap();
        for index in 0..got {
            answer.copy_in(stand.port.packet(index).payload);
            stand.port.answer(index, &answer, 39);
        }
        stand.port.flush().unwrap();
        packets += got as u64;
    }
    packets
}

fn serve_socket(socket: &UdpSocket, stop: &AtomicBool) -> u64 {
    socket
        .set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    let (mut bytes, buffer) = ([0; 1500], Buffer::new());
    let mut packets = 0;
    while !stop.load(Ordering::Relaxed) {
        if let Ok((len, from)) = socket.recv_from(&mut bytes) {
            check(&bytes[..len], &buffer);
            let _ = socket.send_to(&bytes[..39], from); // what is lost is not counted
            packets += 1;
        }
    }
    packets
}

/// Keeps the calling thread on a processor: where the scheduler puts two threads decides more than what they do.
fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).unwrap();
}

/// Round trips of one packet at a time, then as many packets as a socket sends.
fn measure(name: &str, socket: &UdpSocket, serve: impl FnOnce(&AtomicBool) -> u64 + Send) {
    let stop = AtomicBool::new(false);
    set_socket_recv_buffer_size_force(socket, 1 << 24).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            pin(1);
            let request = packet(0, 1, Some(&KEY));
            let mut bytes = [0; 1500];
            let mut times: Vec<u128> = (0..ROUNDS)
                .map(|_| {
                    let begin = Instant::now();
                    socket.send(&request).unwrap();
                    socket.recv(&mut bytes).unwrap();
                    begin.elapsed().as_nanos()
                })
                .collect();
            times.sort_unstable();
            let begin = Instant::now();
            for _ in 0..BLAST {
                socket.send(&request).unwrap();
            }
            let sent = begin.elapsed();
            std::thread::sleep(Duration::from_millis(50)); // what waits in the rings is served too
            stop.store(true, Ordering::Relaxed);
            println!(
                "{name}: round trip {:.1} us, 99 % {:.1}, 99.9 % {:.1}; then {BLAST} packets in {:.2} s",
                times[ROUNDS / 2] as f64 / 1e3,
                times[ROUNDS * 99 / 100] as f64 / 1e3,
                times[ROUNDS * 999 / 1000] as f64 / 1e3,
                sent.as_secs_f64(),
            );
        });
        pin(0);
        let packets = serve(&stop);
        client.join().unwrap();
        let served = packets - ROUNDS as u64;
        println!("{name}: {served} of these served and answered");
    });
}

fn main() {
    println!("{}", ring0_lab::machine());
    type Change = fn(&mut ring0_afxdp::AfxdpOptions);
    let modes: [(&str, Change); 3] = [
        ("AF_XDP, poll", |_| {}),
        ("AF_XDP, busy poll", |it| {
            it.busy_poll = Some(BusyPoll::default());
        }),
        ("AF_XDP, skb mode", |it| it.mode = Mode::Skb),
    ];
    for (name, change) in modes {
        let Some(mut stand) = stand(1, change) else {
            return;
        };
        let socket = stand.socket();
        measure(name, &socket, |stop| serve(&mut stand, stop));
        println!("{:?}", stand.port.counters());
    }
    let Some(veth) = stand::veth(1, 1500) else {
        return;
    };
    let server = veth
        .in_exchange(|| UdpSocket::bind((veth.exchange_address, stand::PORT)))
        .unwrap()
        .unwrap();
    let client = stand::trader_socket(&veth);
    measure("UDP socket", &client, |stop| serve_socket(&server, stop));
}
