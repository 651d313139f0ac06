//! The port over real veth pairs: order, losses, answers, and what it refuses.

mod stand;

use rand::{Rng, SeedableRng, rngs::StdRng};
use ring0_afxdp::{
    AfxdpError, AfxdpOptions, BusyPoll, Mode, Pages, Tag, Transfer, kept_steer_object, open,
};
use ring0_engine::record::ReplyTo;
use ring0_rings::Port;
use ring0_wire::Buffer;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use stand::{KEY, Stand, id, options, packet, packet_of, stand, veth};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use xdp_loader::{Exit, LoaderError};

/// Packets of many senders over both queues come out in the order of their numbers, and each sender's in the order in which it sent them.
#[test]
fn two_queues_are_merged_in_order_of_arrival() {
    let Some(mut stand) = stand(2, |_| {}) else {
        return;
    };
    assert_eq!(stand.port.report().queues.len(), 2, "all that there are");
    let sockets: Vec<_> = (0..16).map(|_| stand.socket()).collect();
    let rounds = 200_u64;
    // Two threads, so that both queues are at work at once.
    let senders: Vec<_> = sockets
        .chunks(8)
        .map(|sockets| {
            let sockets: Vec<_> = sockets.iter().map(|it| it.try_clone().unwrap()).collect();
            std::thread::spawn(move || {
                for round in 1..=rounds {
                    for socket in &sockets {
                        socket.send(&packet(0, round, Some(&KEY))).unwrap();
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
            })
        })
        .collect();
    let total = 16 * rounds;
    let mut last_of: BTreeMap<u16, u64> = BTreeMap::new();
    let (mut next, mut boot_last) = (1, 0);
    while next <= total {
        let got = stand.port.receive(Duration::from_secs(2)).unwrap();
        assert!(got > 0, "{next} of {total}: {:?}", stand.port.counters());
        for index in 0..got {
            let arrival = stand.port.packet(index);
            assert_eq!(arrival.number, Some(next), "nothing is lost here");
            next += 1;
            // Numbers are made before stamps, on two processors at once: a stamp may be a little older than the one before.
            assert!(arrival.boot_ns + 1_000_000_000 > boot_last);
            boot_last = arrival.boot_ns;
            let sequence = u64::from_be_bytes(arrival.payload[10..18].try_into().unwrap());
            let last = last_of.insert(arrival.from.port, sequence).unwrap_or(0);
            assert_eq!(sequence, last + 1, "port {}", arrival.from.port);
        }
        stand.port.flush().unwrap();
    }
    for sender in senders {
        sender.join().unwrap();
    }
    let by_queue = stand.by_queue();
    println!("by queue {by_queue:?}, {:?}", stand.port.counters());
    assert_eq!(by_queue.iter().sum::<u64>(), total);
    assert!(by_queue.iter().all(|count| *count > 0), "{by_queue:?}");
    assert_eq!(last_of.len(), 16);
    assert_eq!(
        (stand.counted("xsk_lost"), stand.counted("xsk_late")),
        (0, 0)
    );
}

/// Sends more than the rings take while nobody receives, with bad ones among them; every packet is delivered, in a gap, or in a named drop.
fn overflow(seed: u64, receive_slots: u32, fill_slots: u32, queues: u32) {
    let Some(mut stand) = stand(queues, |options| {
        options.receive_slots = receive_slots;
        options.fill_slots = fill_slots;
        options.frames = 2 * fill_slots.max(8);
    }) else {
        return;
    };
    println!(
        "seed {seed}, {receive_slots} receive slots, {fill_slots} fill slots, {queues} queues"
    );
    let mut random = StdRng::seed_from_u64(seed);
    let sockets: Vec<_> = (0..4 * queues).map(|_| stand.socket()).collect();
    let (mut sent, mut bad) = (0_u64, 0_u64);
    let mut numbers = Vec::new();
    for _ in 0..20 {
        for _ in 0..random.random_range(1..100) {
            let socket = &sockets[random.random_range(0..sockets.len())];
            sent += 1;
            if random.random_range(0..5) == 0 {
                bad += 1;
                socket
                    .send(&packet(0, sent, Some(b"some other key..")))
                    .unwrap();
            } else {
                socket.send(&packet(0, sent, Some(&KEY))).unwrap();
            }
        }
        let rest = stand.port.receive(Duration::from_millis(20)).unwrap();
        numbers.extend((0..rest).map(|it| stand.port.packet(it).number.unwrap()));
        stand.port.flush().unwrap();
    }
    numbers.extend(
        stand
            .drain(usize::MAX)
            .into_iter()
            .map(|(number, ..)| number),
    );
    // Losses at the end show with the next packets: one for each queue's senders, so that every ring is past them.
    for socket in &sockets {
        sent += 1;
        socket.send(&packet(0, sent, Some(&KEY))).unwrap();
        numbers.extend(stand.drain(1).into_iter().map(|(number, ..)| number));
    }
    let delivered = numbers.len() as u64;
    let mut gaps = 0;
    let mut last = 0;
    for number in &numbers {
        assert!(*number > last, "{number} after {last}");
        gaps += number - last - 1;
        last = *number;
    }
    println!("{sent} sent, {delivered} delivered, {gaps} in gaps, {bad} bad");
    let stuck = format!("{:?}", stand.port.counters());
    assert!(gaps > 0, "nothing was lost: {stuck}");
    assert_eq!(delivered + gaps + bad, sent, "{stuck}");
    assert_eq!(stand.counted("xsk_lost"), gaps);
    assert_eq!(stand.counted("xsk_late"), 0);
    assert_eq!(stand.steered("drop_bad_tag"), bad);
    assert_eq!(stand.steered("redirected"), delivered + gaps);
    assert_eq!(stand.control.arrivals().unwrap(), delivered + gaps);
    assert_eq!(stand.frames(), sent);
    // The kernel's own account of the same losses.
    assert_eq!(
        stand.counted("xsk_rx_dropped") + stand.counted("xsk_rx_ring_full"),
        gaps,
        "{stuck}"
    );
    if fill_slots > receive_slots {
        assert!(stand.counted("xsk_rx_ring_full") > 0, "{stuck}");
    } else {
        assert!(stand.counted("xsk_rx_fill_ring_empty_descs") > 0, "{stuck}");
    }
}

#[test]
fn every_packet_lost_to_a_full_ring_is_in_a_gap() {
    let seed = rand::random();
    overflow(seed, 8, 64, 1);
    overflow(seed, 64, 8, 1);
    overflow(seed, 8, 32, 2);
}

/// Echoes packets as answers: the first bytes of each.
fn echo(stand: &mut Stand, count: usize) -> usize {
    let answer = Buffer::new();
    let mut echoed = 0;
    while echoed < count {
        let got = stand.port.receive(Duration::from_secs(2)).unwrap();
        if got == 0 {
            break;
        }
        for index in 0..got {
            let payload = stand.port.packet(index).payload;
            answer.copy_in(payload);
            let len = payload.len().min(39);
            stand.port.answer(index, &answer, len);
        }
        stand.port.flush().unwrap();
        echoed += got;
    }
    echoed
}

/// Echoes what comes within a moment.
fn echo_what_is_there(stand: &mut Stand) -> usize {
    let got = stand.port.receive(Duration::from_millis(20)).unwrap();
    let answer = Buffer::new();
    for index in 0..got {
        stand.port.answer(index, &answer, 39);
    }
    stand.port.flush().unwrap();
    got
}

/// A plain UDP socket gets its answers whichever way the port works, without an XDP program at its own end.
#[test]
fn answers_reach_a_plain_socket_in_every_mode() {
    type Change = fn(&mut AfxdpOptions);
    let modes: [(&str, Change); 5] = [
        ("as it comes", |_| {}),
        ("copy", |it| it.transfer = Transfer::Copy),
        ("busy poll", |it| it.busy_poll = Some(BusyPoll::default())),
        ("skb", |it| it.mode = Mode::Skb),
        ("tiny rings", |it| {
            it.transmit_slots = 4;
            it.frames = 16;
            it.receive_slots = 4;
            it.fill_slots = 8;
        }),
    ];
    for (name, change) in modes {
        let Some(mut stand) = stand(2, change) else {
            return;
        };
        let report = stand.port.report().clone();
        assert!(report.queues.iter().all(|it| !it.zero_copy), "veth cannot");
        assert_eq!(
            report.queues.iter().all(|it| it.busy_poll),
            name == "busy poll",
            "{name}"
        );
        let sockets: Vec<_> = (0..4).map(|_| stand.socket()).collect();
        for round in 0..50_u64 {
            // Twice as long as its answer, and the answers of all at once.
            for (session, socket) in (0..).zip(&sockets) {
                let sequence = round * 4 + session + 1;
                socket.send(&packet_of(0, sequence, 3, Some(&KEY))).unwrap();
            }
            assert_eq!(echo(&mut stand, 4), 4, "{name} {:?}", stand.port.counters());
            for (session, socket) in (0..).zip(&sockets) {
                let mut bytes = [0; 1500];
                let len = socket.recv(&mut bytes).unwrap_or_else(|error| {
                    panic!(
                        "{name}, round {round}: {error}, {:?}",
                        stand.port.counters()
                    )
                });
                let sent = packet_of(0, round * 4 + session + 1, 3, Some(&KEY));
                assert_eq!(bytes[..len], sent[..39], "{name}");
            }
        }
        for (counter, count) in stand.port.counters() {
            let harmless = counter.ends_with("_wakeups") || counter.ends_with("_empty_descs");
            assert!(count == 0 || harmless, "{name}: {counter} {count}");
        }
    }
}

/// More answers at once than a call of the kernel sends: none stays behind.
#[test]
fn a_whole_burst_is_answered() {
    let Some(mut stand) = stand(1, |_| {}) else {
        return;
    };
    let socket = stand.socket();
    let burst = 500;
    // Else a socket takes some 250 datagrams.
    set_socket_recv_buffer_size_force(&socket, 1 << 22).unwrap();
    for sequence in 1..=burst {
        socket.send(&packet(0, sequence, Some(&KEY))).unwrap();
    }
    assert_eq!(echo(&mut stand, burst as usize), burst as usize);
    let mut bytes = [0; 1500];
    for _ in 0..burst {
        socket.recv(&mut bytes).unwrap();
    }
    assert_eq!(stand.counted("xsk_tx_full"), 0);
    // A batch of 64 answers is two calls of 32, and one more where those were not enough.
    let calls = stand.counted("xsk_tx_wakeups");
    assert!((burst / 32..=burst / 16).contains(&calls), "{calls}");
}

/// The kernel is told only what it wants to be told: nothing where nothing is sent, one call for a batch of answers.
#[test]
fn an_idle_port_makes_no_calls() {
    let Some(mut stand) = stand(1, |_| {}) else {
        return;
    };
    for _ in 0..1000 {
        assert_eq!(stand.port.receive(Duration::ZERO).unwrap(), 0);
        stand.port.flush().unwrap();
    }
    let socket = stand.socket();
    for sequence in 1..=8 {
        socket.send(&packet(0, sequence, Some(&KEY))).unwrap();
    }
    assert_eq!(stand.drain(8).len(), 8, "taken, not answered");
    for name in ["xsk_tx_wakeups", "xsk_rx_wakeups"] {
        assert_eq!(stand.counted(name), 0, "{name}");
    }
    for sequence in 1..=8 {
        socket.send(&packet(0, sequence, Some(&KEY))).unwrap();
    }
    assert_eq!(echo(&mut stand, 8), 8);
    assert!((1..=2).contains(&stand.counted("xsk_tx_wakeups")));
    assert_eq!(
        stand.counted("xsk_rx_wakeups"),
        0,
        "only where the driver sleeps"
    );
}

/// Answers that were held go to who sent before, also when its packet is long gone; to others they do not, and it is said.
#[test]
fn a_held_answer_finds_its_receiver() {
    let Some(mut stand) = stand(1, |_| {}) else {
        return;
    };
    let socket = stand.socket();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else {
        panic!("IPv4")
    };
    let to = ReplyTo {
        address: address.ip().octets(),
        port: address.port(),
        local: stand.veth.exchange_address.octets(),
        ..ReplyTo::default()
    };
    assert!(!stand.port.send(&to, b"nobody knows you"));
    assert_eq!(stand.counted("xsk_unknown_receiver"), 1);
    socket.send(&packet(0, 1, Some(&KEY))).unwrap();
    let arrived = stand.drain(1);
    assert_eq!(arrived.len(), 1);
    for round in 0..2000_u32 {
        let payload = round.to_be_bytes().repeat(10);
        assert!(
            stand.port.send(&to, &payload),
            "{round} {:?}",
            stand.port.counters()
        );
        if round % 20 == 19 {
            stand.port.flush().unwrap();
            for round in round - 19..=round {
                let mut bytes = [0; 1500];
                let len = socket.recv(&mut bytes).unwrap();
                assert_eq!(bytes[..len], round.to_be_bytes().repeat(10));
            }
        }
    }
    // Longer than a frame: refused, not cut.
    assert!(!stand.port.send(&to, &[0; 2000]));
    assert_eq!(stand.counted("xsk_no_frame"), 1);
    stand.port.flush().unwrap();
}

/// A queue without a socket: dropped under its name, and no number is used.
#[test]
fn a_queue_without_a_socket_uses_no_number() {
    let Some(mut stand) = stand(2, |it| it.queues = Some(1)) else {
        return;
    };
    let sockets: Vec<_> = (0..16).map(|_| stand.socket()).collect();
    for sequence in 1..=10 {
        for socket in &sockets {
            socket.send(&packet(0, sequence, Some(&KEY))).unwrap();
        }
    }
    let arrived = stand.drain(usize::MAX);
    let numbers: Vec<u64> = arrived.iter().map(|(number, ..)| *number).collect();
    let (dropped, redirected) = (stand.steered("drop_no_socket"), stand.steered("redirected"));
    assert!(dropped > 0 && redirected > 0, "{dropped} {redirected}");
    assert_eq!(dropped + redirected, 160);
    assert_eq!(numbers, (1..=redirected).collect::<Vec<_>>());
    assert_eq!(stand.counted("xsk_lost"), 0);
}

fn refusal(options: &AfxdpOptions) -> AfxdpError {
    match open(options) {
        Ok(_) => panic!("must be refused"),
        Err(error) => error,
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let Some(veth) = veth(2, 1500) else { return };
    let options = options(&veth);
    // Packets longer than a frame.
    let Some(wide) = self::veth(1, 3000) else {
        return;
    };
    let error = refusal(&self::options(&wide)).to_string();
    assert!(
        error.contains("MTU 3000")
            && error.contains("up to MTU 1778")
            && error.contains("multi-buffer"),
        "{error}"
    );
    // Without a copy, which veth cannot.
    let mut asked = options.clone();
    asked.transfer = Transfer::ZeroCopy;
    let error = refusal(&asked).to_string();
    assert!(
        error.contains("choose transfer `auto` or `copy`"),
        "{error}"
    );
    // More queues than there are.
    let mut asked = options.clone();
    asked.queues = Some(3);
    let error = refusal(&asked).to_string();
    assert!(
        error.contains("no queue 2") && error.contains("ethtool -l"),
        "{error}"
    );
    let mut asked = options.clone();
    asked.interface = "r0y".to_owned();
    let error = refusal(&asked).to_string();
    assert!(error.contains("no interface r0y"), "{error}");
    // A second port: the program of the first is named.
    let (port, control) = open(&options).unwrap();
    match refusal(&options) {
        AfxdpError::Loader(error @ LoaderError::Foreign { .. }) => {
            assert!(error.to_string().contains("XDP program steer"), "{error}");
            assert_eq!(error.exit(), Exit::Foreign);
        }
        error => panic!("{error}"),
    }
    // Nothing of all this is left, nor of a port that is closed: the control alone keeps the program, no longer.
    drop(port);
    assert!(matches!(
        refusal(&options),
        AfxdpError::Loader(LoaderError::Foreign { .. })
    ));
    control.set_session(id(0), Tag::Off).unwrap();
    let error = control.set_session(id(64), Tag::Off).unwrap_err();
    assert!(
        error.to_string().contains("below `sessions_max`"),
        "{error}"
    );
    drop(control);
    open(&options).unwrap_or_else(|error| panic!("{error}"));
}

fn link(stand: &Stand, arguments: &[&str]) {
    let done = Command::new("ip")
        .args(["-n", &stand.veth.exchange_ns, "link"])
        .args(arguments)
        .status()
        .unwrap();
    assert!(done.success());
}

/// An interface that is down for a while is silence, not the end.
#[test]
fn an_interface_that_is_down_comes_back() {
    for busy_poll in [None, Some(BusyPoll::default())] {
        let Some(mut stand) = stand(1, |it| it.busy_poll = busy_poll) else {
            return;
        };
        let socket = stand.socket();
        socket.send(&packet(0, 1, Some(&KEY))).unwrap();
        assert_eq!(stand.port.receive(Duration::from_secs(2)).unwrap(), 1);
        let interface = stand.veth.exchange_if.clone();
        link(&stand, &["set", "dev", &interface, "down"]);
        // The answer is on its way when the way is gone.
        stand.port.answer(0, &Buffer::new(), 39);
        stand.port.flush().unwrap();
        for _ in 0..20 {
            assert_eq!(stand.port.receive(Duration::from_millis(1)).unwrap(), 0);
        }
        link(&stand, &["set", "dev", &interface, "up"]);
        let mut bytes = [0; 1500];
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let again = (2..200).find(|sequence| {
            // Until the peer has seen that there is a carrier again, nothing leaves it.
            let _ = socket.send(&packet(0, *sequence, Some(&KEY)));
            echo_what_is_there(&mut stand) > 0 && socket.recv(&mut bytes).is_ok()
        });
        assert!(again.is_some(), "{:?}", stand.port.counters());
    }
}

/// The program, its link and the sockets go with their process, however it ends: the next one finds the interface free.
#[test]
fn a_process_that_dies_leaves_nothing() {
    const INTERFACE: &str = "RING0_AFXDP_INTERFACE";
    const NETNS: &str = "RING0_AFXDP_NETNS";
    if let (Ok(interface), Ok(netns)) = (std::env::var(INTERFACE), std::env::var(NETNS)) {
        // The process that dies: this test, started by itself.
        let options = AfxdpOptions::new(kept_steer_object(), &interface, Some(&netns), 9000);
        let _open = open(&options).unwrap_or_else(|error| panic!("{error}"));
        println!("open");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let Some(veth) = veth(2, 1500) else { return };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_process_that_dies_leaves_nothing",
            "--nocapture",
        ])
        .env(INTERFACE, &veth.exchange_if)
        .env(NETNS, &veth.exchange_ns)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("open") {
        line.clear();
        assert!(
            lines.read_line(&mut line).unwrap() > 0,
            "the child has ended"
        );
    }
    assert!(matches!(
        refusal(&options(&veth)),
        AfxdpError::Loader(LoaderError::Foreign { .. })
    ));
    child.kill().unwrap();
    child.wait().unwrap();
    // The kernel takes sockets down behind the end of their process.
    let opened = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        open(&options(&veth)).is_ok()
    });
    assert!(opened);
}

/// A port whose interface goes says so instead of waiting for ever.
#[test]
fn an_interface_that_goes_is_an_error() {
    let Some(mut stand) = stand(1, |_| {}) else {
        return;
    };
    assert_eq!(stand.port.receive(Duration::from_millis(1)).unwrap(), 0);
    let interface = stand.veth.exchange_if.clone();
    link(&stand, &["delete", &interface]);
    let error = (0..200)
        .find_map(|_| stand.port.receive(Duration::from_millis(10)).err())
        .expect("the interface is gone");
    assert!(
        error.to_string().starts_with("the afxdp port cannot"),
        "{error}"
    );
    assert!(error.to_string().contains("interface"), "{error}");
}

/// Huge pages where there are any, and either way the report says which.
#[test]
fn pages_are_reported_as_they_are() {
    let free = std::fs::read_to_string("/proc/meminfo")
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("HugePages_Free:"))
        .map_or(0, |count| count.trim().parse::<u32>().unwrap());
    let Some(stand) = stand(1, |it| it.frames = 512) else {
        return;
    };
    println!("{free} huge pages are free");
    let pages = stand.port.report().queues[0].pages;
    match free {
        0 => assert_eq!(pages, Pages::Ordinary),
        64.. => assert_eq!(pages, Pages::Huge),
        _ => {} // other tests may have taken them meanwhile
    }
}
