//! Clients of the answers over MoldUDP64: over a net that loses, repeats and reorders each has its stream whole, byte for byte what
//! SoupBinTCP gives; a server that dies and comes back goes unnoticed; what is not genuine is counted and changes nothing.

mod answering;
mod market;

use answering::{NOBODYS, Venue, access, options};
use market::{Market, Random, seed};
use ring0_engine::flow::Profile;
use ring0_feed::{
    Access, MoldAnswerClient, MoldAnswerError, SoupAnswerClient, SubscriptionOptions, drop_copy,
};
use ring0_itch::Text;
use ring0_itch::mold::{Request, Session};
use ring0_wire::host::PacketBuilder;
use ring0_wire::{Key, SessionId};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Between clients and server: every client has a socket of its own to the server. Both ways lose 15 %, repeat 5 % and bring 10 % late.
struct Relay {
    address: SocketAddr,
    lost: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(server: SocketAddr, seed: u64) -> Relay {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, lost) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counts) = (Arc::clone(&stop), Arc::clone(&lost));
        let thread = std::thread::spawn(move || {
            let mut random = Random(seed);
            let mut clients: HashMap<SocketAddr, UdpSocket> = HashMap::new();
            // When, to which client, whether to it or from it, what.
            let mut late: Vec<(Instant, SocketAddr, bool, Vec<u8>)> = Vec::new();
            let mut bytes = [0; 2048];
            while !stopped.load(Ordering::Acquire) {
                let mut came = Vec::new();
                while let Ok((length, client)) = socket.recv_from(&mut bytes) {
                    clients.entry(client).or_insert_with(|| {
                        let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                        own.connect(server).unwrap();
                        own.set_nonblocking(true).unwrap();
                        own
                    });
                    came.push((client, false, bytes[..length].to_vec()));
                }
                for (client, own) in &clients {
                    while let Ok(length) = own.recv(&mut bytes) {
                        came.push((*client, true, bytes[..length].to_vec()));
                    }
                }
                let now = Instant::now();
                for (client, down, bytes) in came {
                    if random.percent(15) {
                        counts.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let delay = if random.percent(10) {
                        random.below(20)
                    } else {
                        0
                    };
                    let at = now + Duration::from_millis(delay);
                    if random.percent(5) {
                        late.push((at, client, down, bytes.clone()));
                    }
                    late.push((at, client, down, bytes));
                }
                let due = late.extract_if(.., |(at, ..)| *at <= now);
                for (_, client, down, bytes) in due {
                    // A server or client that is not there loses it too.
                    let _ = if down {
                        socket.send_to(&bytes, client)
                    } else {
                        clients[&client].send(&bytes)
                    };
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        Relay {
            address,
            lost,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let joined = self.thread.take().unwrap().join();
        assert!(joined.is_ok() || std::thread::panicking());
    }
}

/// Takes answers until there are so many, each with the next number, and gives them behind what was.
fn take(client: &mut MoldAnswerClient, taken: &mut Vec<Vec<u8>>, until: usize) {
    let end = Instant::now() + PATIENCE;
    while taken.len() < until {
        assert!(
            Instant::now() < end,
            "{} of {until}: {:?}",
            taken.len(),
            client.heard()
        );
        client
            .poll(&mut |number, answer| {
                assert_eq!(number, taken.len() as u64 + 1);
                taken.push(answer.to_vec());
            })
            .unwrap();
    }
    assert_eq!(taken.len(), until);
}

/// The same over SoupBinTCP.
fn by_soup(server: SocketAddr, name: Session, messages: usize) -> Vec<Vec<u8>> {
    let password = access(name).password;
    let mut client = SoupAnswerClient::login(server, name, password, 1).unwrap();
    let mut taken = Vec::new();
    while taken.len() < messages {
        client
            .poll(&mut |_, answer| taken.push(answer.to_vec()))
            .unwrap();
    }
    taken
}

#[test]
fn over_udp_as_over_tcp_through_loss_and_death() {
    let seed = seed();
    let mut venue = Venue::new(Market::new(seed, Profile::Mixed), options());
    let mold = venue.server().mold().unwrap();
    let relay = Relay::start(mold, seed);
    let subscribe = |name| {
        MoldAnswerClient::subscribe(relay.address, name, &access(name), 1)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    // One that listens to a drop copy from before the first order, while others go on.
    let early = drop_copy(0);
    let mut live = subscribe(early);
    let mut heard = Vec::new();
    for _ in 0..40 {
        venue.steps(50);
        let _ = live.poll(&mut |number, answer| {
            assert_eq!(number, heard.len() as u64 + 1);
            heard.push(answer.to_vec());
        });
    }
    take(&mut live, &mut heard, venue.expected.streams[&early].len());
    assert!(heard == venue.expected.streams[&early]);
    assert!(live.heard().gaps > 0, "{:?}", live.heard());

    // Every stream, over both protocols.
    venue.settle();
    let soup = venue.server().soup().unwrap();
    for (name, messages) in &venue.expected.streams {
        if venue.expected.ended.contains(name) {
            continue;
        }
        let (mut client, mut taken) = (subscribe(*name), Vec::new());
        take(&mut client, &mut taken, messages.len());
        assert!(taken == by_soup(soup, *name, messages.len()), "{name}");
        assert!(taken == *messages, "{name}");
        assert_eq!(client.heard().forged, 0);
    }

    // The server dies and comes back at its address, with all that was and more.
    let counted = |venue: &Venue| venue.server().counters().named();
    println!("{:?} {:?}", live.heard(), counted(&venue));
    venue.server = None;
    venue.steps(100);
    let challenges = live.heard().challenges;
    let mut again = options();
    again.mold = Some(mold);
    venue.serve(again);
    venue.steps(100);
    take(&mut live, &mut heard, venue.expected.streams[&early].len());
    assert!(heard == venue.expected.streams[&early]);
    // It may have had all before its first renewal was due: by then it is known again.
    let end = Instant::now() + PATIENCE;
    while live.heard().challenges == challenges {
        assert!(Instant::now() < end);
        live.poll(&mut |_, _| panic!("nothing new")).unwrap();
    }
    assert!(relay.lost.load(Ordering::Relaxed) > 0);
    println!("{:?} {:?}", live.heard(), counted(&venue));
}

#[test]
fn what_is_not_genuine_is_counted_and_changes_nothing() {
    let mut venue = Venue::new(Market::new(7, Profile::Calm), options());
    venue.steps(500);
    venue.settle();
    let mold = venue.server().mold().unwrap();
    let (own, other) = (venue.expected.ids[&0], venue.expected.ids[&1]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut before = venue.server().counters().named();
    let mut refused = |what: &str, bytes: &[u8], counter: &str| {
        socket.send_to(bytes, mold).unwrap();
        for (name, count) in &mut before {
            *count += u64::from(*name == "requests" || *name == counter);
        }
        let end = Instant::now() + PATIENCE;
        while venue.server().counters().named() != before {
            let now = venue.server().counters().named();
            assert!(Instant::now() < end, "{what}: {now:?}, not {before:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        let answer = socket.recv(&mut [0; 2048]);
        assert!(answer.is_err(), "{what}: {answer:?}");
    };
    refused("nothing", b"", "requests_malformed");
    refused("noise", &[b'q'; 66], "requests_malformed");
    let plain = Request {
        session: own,
        sequence: 1,
        count: 100,
    };
    refused("a bare request", &plain.to_bytes(), "requests_malformed");
    let orders = PacketBuilder::new(SessionId(own.0), 1).sign(Some(&Key::new(1, 2)));
    refused("orders", &orders, "requests_malformed");
    // With the layout, and a tag of nobody's.
    let mut forged = [
        &plain.to_bytes()[..],
        b"\0\x19q",
        &[0; 24],
        b"\0\x11z",
        &[0; 16],
    ]
    .concat();
    refused("forged", &forged, "requests_forged");
    forged[..10].copy_from_slice(NOBODYS);
    refused("of nobody", &forged, "requests_unknown");
    forged.pop();
    refused("cut", &forged, "requests_malformed");

    // Clients with another's key hear nothing; streams are what they were.
    let silent = |name: Session, access: &Access| {
        let Err(error) = MoldAnswerClient::subscribe(mold, name, access, 1) else {
            panic!("{name} was opened")
        };
        assert!(matches!(error, MoldAnswerError::Silent { .. }), "{error}");
        error.to_string()
    };
    std::thread::scope(|scope| {
        for (name, key) in [(own, other), (drop_copy(0), own), (own, drop_copy(0))] {
            scope.spawn(move || silent(name, &access(key)));
        }
        let text = silent(Text(*NOBODYS), &access(own));
        assert!(
            text.contains("check the address, that the key file"),
            "{text}"
        );
    });
    let named: HashMap<_, _> = venue.server().counters().named().into_iter().collect();
    assert!(named["requests_forged"] > 3 && named["requests_unknown"] > 1);
    let done = [
        "subscriptions",
        "packets",
        "repeated",
        "heartbeats",
        "requests_unproved",
    ];
    assert_eq!(done.map(|name| named[name]), [0; 5]);
    for (name, messages) in &venue.expected.streams {
        assert_eq!(venue.server().next(*name), messages.len() as u64 + 1);
    }
}

#[test]
fn a_stream_begins_where_it_is_kept_and_ends_with_its_session() {
    let mut options = options();
    options.stream_bytes = 20_000;
    options.subscriptions = SubscriptionOptions {
        heartbeat: Duration::from_millis(100),
        ..SubscriptionOptions::default()
    };
    let mut venue = Venue::new(Market::new(5, Profile::Calm), options);
    venue.steps(3_000);
    venue.settle();
    let mold = venue.server().mold().unwrap();
    let name = venue.expected.ids[&0];
    let all = venue.expected.streams[&name].len() as u64;
    let subscribe = |from| MoldAnswerClient::subscribe(mold, name, &access(name), from).unwrap();
    let mut client = subscribe(1);
    let first = client.next();
    assert!(first > 1 && first < all, "{first} of {all}");
    let newest = subscribe(0);
    assert_eq!(newest.next(), all + 1);
    // One that goes says so.
    drop(newest);
    let end = Instant::now() + PATIENCE;
    let departures = &venue.server().counters().departures;
    while departures.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(1));
    }

    let mut next = first;
    let mut taken = Vec::new();
    while next <= all {
        assert!(Instant::now() < end, "at {next} of {all}");
        client
            .poll(&mut |number, answer| {
                assert_eq!(number, next);
                taken.push(answer.to_vec());
                next += 1;
            })
            .unwrap();
    }
    assert_eq!(venue.grant_anew(0), name);
    let ended = loop {
        assert!(Instant::now() < end, "at {next}");
        let polled = client.poll(&mut |number, answer| {
            assert_eq!(number, next);
            taken.push(answer.to_vec());
            next += 1;
        });
        if let Err(error) = polled {
            break error;
        }
    };
    let messages = &venue.expected.streams[&name];
    assert!(taken == messages[first as usize - 1..]);
    let last = messages.len() as u64;
    assert!(
        matches!(ended, MoldAnswerError::Ended { last: it } if it == last),
        "{ended}"
    );
    assert_eq!(next, last + 1);
}
