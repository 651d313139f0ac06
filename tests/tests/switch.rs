//! Trading moves from ring to ring and back while a trader sends: each ring is restored from the snapshot of the one before it, on one wire, and nothing
//! is lost, executed twice or different.

use ring0_afxdp::{AfxdpOptions, AfxdpShard, kept_steer_object};
use ring0_engine::control::{Control, ControlKind, Empty};
use ring0_engine::layout::Layout;
use ring0_engine::native::Native;
use ring0_engine::record::{Head, Kind, Message, Outcome};
use ring0_engine::replay::Replayer;
use ring0_engine::snapshot::Snapshot;
use ring0_lab::{Options, Veth};
use ring0_market::{Existing, Market, keygen};
use ring0_rings::{
    Acks, Consumer, KernelOptions, KernelShard, Live, UdpPort, UserOptions, UserShard, kept_object,
    load_shard, restore_shard,
};
use ring0_trader::{Ack, Locate, Order, Price, Shares, Trader, TraderError, UdpTransport};
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use xdp_loader::{LoadOptions, unload};
use zerocopy::{FromBytes, IntoBytes};

/// Slots of each record ring: more than a stay in one ring fills, so an observer misses nothing.
const RECORD_SLOTS: u32 = 1 << 20;
/// How long trading stays in each ring.
/// How long the trader waits at a halted shard before it asks again.
const PATIENCE: Duration = Duration::from_millis(20);
const STAY: Duration = Duration::from_millis(400);

/// One of the rings, alive on the wire.
enum Living {
    Udp(UserShard),
    Afxdp(AfxdpShard),
    Kernel(Box<KernelShard>, PathBuf),
}

impl Living {
    fn live(&mut self) -> &mut dyn Live {
        match self {
            Living::Udp(shard) => shard,
            Living::Afxdp(shard) => shard,
            Living::Kernel(shard, _) => &mut **shard,
        }
    }

    fn snapshot(&self, layout: &Layout) -> Snapshot {
        match self {
            Living::Udp(shard) => shard.snapshot().unwrap(),
            Living::Afxdp(shard) => shard.user().snapshot().unwrap(),
            Living::Kernel(shard, _) => shard.snapshot_halted(layout).unwrap(),
        }
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        if let Living::Kernel(_, pin_root) = self {
            unload(pin_root).unwrap();
        }
    }
}

/// The wire and the market on it.
struct Floor {
    veth: Veth,
    market: Market,
    /// Records of all rings, one after the other.
    records: Vec<u8>,
}

impl Floor {
    /// Begins a ring, empty or with the state of another one; gives it and a reader of its records from the first on.
    fn begin(&self, name: &str, snapshot: Option<&Snapshot>) -> (Living, Consumer) {
        let (veth, port) = (&self.veth, self.market.plan.shard.port);
        let (interface, netns) = (&veth.exchange_if, Some(veth.exchange_ns.as_str()));
        let options = UserOptions {
            capacity: self.market.capacity(),
            record_slots: RECORD_SLOTS.into(),
            record_ring: None,
            acks: Acks::Matched,
            processor: None,
            spin: false,
        };
        match name {
            "udp" => {
                let address = SocketAddrV4::new(veth.exchange_address, port);
                let port = veth
                    .in_exchange(|| UdpPort::bind(address))
                    .unwrap()
                    .unwrap();
                let shard = UserShard::start(&options, Box::new(port), snapshot).unwrap();
                let records = Consumer::observer(shard.record_ring()).unwrap();
                (Living::Udp(shard), records)
            }
            "afxdp" => {
                let port = AfxdpOptions::new(kept_steer_object(), interface, netns, port);
                let (shard, _) = AfxdpShard::start(&options, &port, snapshot).unwrap();
                let records = Consumer::observer(shard.user().record_ring()).unwrap();
                (Living::Afxdp(shard), records)
            }
            _ => {
                let mut load = LoadOptions::new(kept_object(), interface, netns);
                load.record_slots = RECORD_SLOTS;
                let pin_root = load.pin_root.clone();
                let options = KernelOptions {
                    load,
                    layout: Layout::new(&self.market.capacity()).unwrap(),
                    port,
                    address: None,
                    acks: Acks::Matched,
                };
                let (loaded, shard) = match snapshot {
                    None => load_shard(&options),
                    Some(snapshot) => restore_shard(&options, snapshot),
                }
                .unwrap_or_else(|error| panic!("{error}"));
                let peer = (&veth.trader_if, Some(veth.trader_ns.as_str()));
                loaded.pinned.attach_peer_pass(peer.0, peer.1).unwrap();
                let records = Consumer::observer(&loaded.pinned).unwrap();
                (Living::Kernel(Box::new(shard), pin_root), records)
            }
        }
    }

    fn set_keys(&self, live: &mut dyn Live) {
        for (index, session) in (0..).zip(self.market.sessions()) {
            let key = session.key().map(|key| key.as_bytes().try_into().unwrap());
            live.set_key(index, key.as_ref()).unwrap();
        }
    }
}

fn say(live: &mut dyn Live, kind: ControlKind) {
    let results = live.command(&[Control::new(kind, &Empty {})]).unwrap();
    assert_eq!(results[0].0, Outcome::Accepted);
}

/// Sends order after order until it is told to stop; every packet waits for its answer, whichever ring gives it.
fn trade(mut trader: Trader<UdpTransport>, stop: &AtomicBool) -> Vec<Ack> {
    let mut acks = Vec::new();
    for round in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let orders = [
            Order::buy(Locate(1), Shares(2), Price((50_000 + round % 7) * 10_000)),
            Order::sell(Locate(1), Shares(1), Price((50_003 + round % 5) * 10_000)),
        ];
        match trader.submit(&orders) {
            Ok(answered) => acks.extend(answered),
            Err(TraderError::Halted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        // What a halted shard did not take is sent again until the next ring takes it.
        while trader.unanswered() != 0 {
            match trader.poll(PATIENCE, &mut acks) {
                Ok(_) => {}
                Err(TraderError::Halted { .. }) => std::thread::sleep(PATIENCE),
                Err(error) => panic!("{error}"),
            }
        }
    }
    acks
}

#[test]
fn trading_moves_from_ring_to_ring_and_back_and_nothing_is_lost() {
    xdp_loader::ensure_bpffs().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("market.toml");
    std::fs::write(&file, include_str!("../../markets/example.toml")).unwrap();
    keygen(&file, Existing::Keep).unwrap();
    let mut floor = Floor {
        veth: Veth::up(Options::default()).unwrap_or_else(|error| panic!("{error}")),
        market: Market::load(&file).unwrap(),
        records: Vec::new(),
    };
    let layout = Layout::new(&floor.market.capacity()).unwrap();
    let to = (floor.veth.exchange_address, floor.market.plan.shard.port).into();
    let socket = floor.veth.in_trader(|| UdpTransport::connect(to));
    let session = floor.market.session("alice-1").unwrap().clone();
    let trader = Trader::new(session, socket.unwrap().unwrap());

    let (mut living, records) = floor.begin("udp", None);
    for controls in floor.market.controls().chunks(16) {
        let results = living.live().command(controls).unwrap();
        assert!(
            results
                .iter()
                .all(|(outcome, _)| *outcome == Outcome::Accepted)
        );
    }
    floor.set_keys(living.live());
    let stop = AtomicBool::new(false);
    let (acks, mut living, mut records) = std::thread::scope(|scope| {
        let trading = scope.spawn(|| trade(trader, &stop));
        let (mut living, mut records) = (living, records);
        for next in ["afxdp", "kernel", "afxdp", "udp"] {
            std::thread::sleep(STAY);
            say(living.live(), ControlKind::HaltShard);
            records.read(&mut floor.records, u64::MAX / 2).unwrap();
            let snapshot = living.snapshot(&layout);
            drop(living);
            (living, records) = floor.begin(next, Some(&snapshot));
            assert_eq!(
                living.live().shard().state_hash(),
                snapshot.state_hash(),
                "{next} begins with what the one before ended with"
            );
            floor.set_keys(living.live());
            say(living.live(), ControlKind::ResumeShard);
        }
        std::thread::sleep(STAY);
        stop.store(true, Ordering::Release);
        (trading.join().unwrap(), living, records)
    });
    records.read(&mut floor.records, u64::MAX / 2).unwrap();

    // One record of all five stays: every answer is in it, once, and a native shard comes to the same state by it.
    let mut executed: HashMap<u64, Message> = HashMap::new();
    let (mut at, mut sequence) = (0, 0);
    while let Ok((head, _)) = Head::read_from_prefix(&floor.records[at..]) {
        assert_eq!(
            head.sequence,
            sequence + 1,
            "no record is missing between rings"
        );
        sequence = head.sequence;
        let end = at + usize::from(head.slots) * 64;
        if head.kind == Kind::Message as u16 {
            let message = Message::read_from_bytes(&floor.records[at..end]).unwrap();
            let twice = executed.insert(message.client_sequence, message);
            assert!(twice.is_none(), "executed twice: {twice:?}");
        }
        at = end;
    }
    for ack in &acks {
        let found = &executed[&ack.sequence];
        assert_eq!(
            (found.head.sequence, found.quantity),
            (ack.venue_sequence, ack.quantity)
        );
    }
    let mut native = Native::new(&floor.market.capacity()).unwrap();
    let mut replayer = Replayer::new(&native, None);
    replayer.feed(&floor.records, &mut native).unwrap();
    assert_eq!(
        native.shard().state_hash(),
        living.live().shard().state_hash()
    );
    println!("{} answers, {sequence} records over five stays", acks.len());
    assert!(acks.len() > 500, "trading went on in every ring");
}
