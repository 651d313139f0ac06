//! A port on a veth pair, packets for it, and a trader's sockets.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod market;

use ring0_afxdp::{AfxdpControl, AfxdpOptions, AfxdpPort, Tag, kept_steer_object, open};
use ring0_lab::{Options, Veth, missing_privilege};
use ring0_rings::Port;
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::message::{BUY, STOCK_SPACES};
use ring0_wire::{Key, Message, SessionId};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const PORT: u16 = 9000;
pub(crate) const KEY: [u8; 16] = *b"sixteen bytes...";

/// Session 0 has a key, 1 is granted without one, 2 is not granted, 3 has its tag switched off.
pub(crate) fn id(session: u32) -> SessionId {
    SessionId::new(session, 0x1234_5678 + session).expect("20 and 30 bits")
}

pub(crate) struct Stand {
    // First: the port goes before the wire.
    pub(crate) port: AfxdpPort,
    pub(crate) control: AfxdpControl,
    pub(crate) veth: Veth,
}

/// A veth pair; `None`, and why, where a privilege is missing.
pub(crate) fn veth(queues: u32, mtu: u32) -> Option<Veth> {
    if let Some(why) = missing_privilege() {
        eprintln!("skipped: {why}");
        return None;
    }
    Some(Veth::up(Options { queues, mtu }).unwrap_or_else(|error| panic!("{error}")))
}

pub(crate) fn options(veth: &Veth) -> AfxdpOptions {
    let mut options = AfxdpOptions::new(
        kept_steer_object(),
        &veth.exchange_if,
        Some(&veth.exchange_ns),
        PORT,
    );
    options.address = Some(veth.exchange_address);
    options.sessions_max = 64;
    options
}

/// A socket of the trader that sends to the shard.
pub(crate) fn trader_socket(veth: &Veth) -> UdpSocket {
    let socket = veth
        .in_trader(|| {
            let socket = UdpSocket::bind((veth.trader_address, 0))?;
            socket.connect((veth.exchange_address, PORT))?;
            std::io::Result::Ok(socket)
        })
        .unwrap()
        .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

/// A port with the sessions let through.
pub(crate) fn stand(queues: u32, change: impl FnOnce(&mut AfxdpOptions)) -> Option<Stand> {
    let veth = veth(queues, 1500)?;
    let mut options = options(&veth);
    change(&mut options);
    let (port, control) = open(&options).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{}, {} instructions verified",
        port.report(),
        port.report().verified_instructions
    );
    control.set_session(id(0), Tag::Checked(&KEY)).unwrap();
    control.set_session(id(1), Tag::Keyless).unwrap();
    control.set_session(id(3), Tag::Off).unwrap();
    Some(Stand {
        port,
        control,
        veth,
    })
}

impl Stand {
    /// A socket of the trader that sends to the shard.
    pub(crate) fn socket(&self) -> UdpSocket {
        trader_socket(&self.veth)
    }

    /// A counter of the steering program.
    pub(crate) fn steered(&self, name: &str) -> u64 {
        let counters = self.control.counters().unwrap();
        let found = counters.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no counter {name}")).1
    }

    /// A counter of the port.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let counters = self.port.counters();
        let found = counters.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no counter {name}")).1
    }

    /// All frames that the steering program has seen.
    pub(crate) fn frames(&self) -> u64 {
        let counters = self.control.counters().unwrap();
        counters.iter().map(|(_, count)| count).sum()
    }

    /// Receives until `count` packets came or a second passed without one; gives number, stamp and payload of each.
    pub(crate) fn drain(&mut self, count: usize) -> Vec<(u64, u64, Vec<u8>)> {
        let mut all = Vec::new();
        let mut last = Instant::now();
        while all.len() < count && last.elapsed() < Duration::from_secs(1) {
            let got = self.port.receive(Duration::from_millis(50)).unwrap();
            for index in 0..got {
                let packet = self.port.packet(index);
                let number = packet.number.expect("this port numbers");
                all.push((number, packet.boot_ns, packet.payload.to_vec()));
                last = Instant::now();
            }
            self.port.flush().unwrap();
        }
        all
    }

    /// Packets that each receive queue of the exchange's interface has given to the program.
    pub(crate) fn by_queue(&self) -> Vec<u64> {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.veth.exchange_ns])
            .args(["ethtool", "-S", &self.veth.exchange_if])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter(|line| line.contains("_xdp_packets"));
        lines
            .filter(|line| line.trim().starts_with("rx_queue_"))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect()
    }
}

/// A packet of a session with one order, tagged with this key.
pub(crate) fn packet(session: u32, sequence: u64, key: Option<&[u8; 16]>) -> Vec<u8> {
    packet_of(session, sequence, 1, key)
}

/// As [`packet`], with so many orders.
pub(crate) fn packet_of(
    session: u32,
    sequence: u64,
    orders: u32,
    key: Option<&[u8; 16]>,
) -> Vec<u8> {
    let mut builder = PacketBuilder::new(id(session), sequence);
    for order in 0..orders {
        let message = Message {
            letter: b'A',
            side: BUY,
            reference: sequence as u32 + order,
            shares: 100,
            price: 1_000_000,
            stock: STOCK_SPACES,
            ..Message::default()
        };
        let message = Inbound::from_message(&message).expect("a letter of ours");
        builder.push(&message).expect("room for it");
    }
    builder.sign(key.map(Key::from_bytes).as_ref())
}
