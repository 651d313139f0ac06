//! What translating costs, and how soon answers are there; printed for the page, fails only when nothing comes of it.

mod answering;
mod market;

use answering::{Venue, access, options};
use market::Market;
use ring0_engine::flow::Profile;
use ring0_feed::{FIRST_SESSION, MoldAnswerClient, Sink, SoupAnswerClient, Translator};
use ring0_itch::mold::Session;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Count {
    messages: u64,
    bytes: u64,
}

impl Sink for Count {
    fn begin(&mut self, _: Session) {}

    fn message(&mut self, message: &[u8]) {
        self.messages += 1;
        self.bytes += message.len() as u64;
    }

    fn end(&mut self) {}
}

#[test]
fn cost_of_translating() {
    for profile in [Profile::Calm, Profile::Deep, Profile::Mixed] {
        let mut market = Market::new(7, profile);
        let mut records = market.records.clone();
        for _ in 0..20_000 {
            market.step();
            records.extend_from_slice(&market.records);
        }
        let mut best = u128::MAX;
        let mut made = Count::default();
        let mut translator = Translator::new(FIRST_SESSION);
        for _ in 0..3 {
            (translator, made) = (Translator::new(FIRST_SESSION), Count::default());
            let begun = Instant::now();
            translator.feed(&records, &mut made).unwrap();
            best = best.min(begun.elapsed().as_nanos());
        }
        let count = u128::from(translator.next_record() - 1);
        assert_eq!(made.messages as usize, market.tape.count());
        println!(
            "{profile:?}: {count} records, {} messages, {} ns a record, {} ns a message, image {} bytes",
            made.messages,
            best / count,
            best / u128::from(made.messages),
            translator.image().len()
        );
    }
}

/// Over loopback: a whole stream at once, and from a batch of records given to the server to its last answer at the client.
#[test]
fn speed_of_answers() {
    let mut venue = Venue::new(Market::new(7, Profile::Deep), options());
    venue.steps(40_000);
    venue.settle();
    let (name, messages) = venue.longest();
    let all = messages.len() as u64;
    let server = venue.server();
    let (soup, mold) = (server.soup().unwrap(), server.mold().unwrap());
    let access = access(name);
    let begun = Instant::now();
    let mut tcp = SoupAnswerClient::login(soup, name, access.password, 1).unwrap();
    while tcp.next() <= all {
        tcp.poll(&mut |_, _| {}).unwrap();
    }
    let by_tcp = begun.elapsed();
    let begun = Instant::now();
    let mut udp = MoldAnswerClient::subscribe(mold, name, &access, 1).unwrap();
    while udp.next() <= all {
        udp.poll(&mut |_, _| {}).unwrap();
    }
    let by_udp = begun.elapsed();
    let rate = |time: Duration| all as f64 / time.as_secs_f64() / 1e3;
    println!(
        "{all} answers from the first on: TCP {:.0} k/s, UDP {:.0} k/s",
        rate(by_tcp),
        rate(by_udp)
    );

    let mut times = [Vec::new(), Vec::new()];
    for round in 0..4_000 {
        let begun = Instant::now();
        venue.steps(1);
        let sent = begun.elapsed();
        let wanted = venue.expected.streams[&name].len() as u64;
        // One client at a time is timed, so that they are not in each other's way; the other catches up.
        let is_udp = round % 2 == 1;
        let next = if is_udp { udp.next() } else { tcp.next() };
        if next > wanted {
            continue;
        }
        while is_udp && udp.next() <= wanted {
            udp.poll(&mut |_, _| {}).unwrap();
        }
        while !is_udp && tcp.next() <= wanted {
            tcp.poll(&mut |_, _| {}).unwrap();
        }
        times[usize::from(is_udp)].push(begun.elapsed() - sent);
        while udp.next() <= wanted {
            udp.poll(&mut |_, _| {}).unwrap();
        }
        while tcp.next() <= wanted {
            tcp.poll(&mut |_, _| {}).unwrap();
        }
    }
    for (name, times) in ["TCP", "UDP"].into_iter().zip(&mut times) {
        times.sort_unstable();
        let at = |part: f64| times[(times.len() as f64 * part) as usize];
        let (half, most) = (at(0.5), at(0.99));
        println!(
            "{} batches to the client over {name}: median {half:?}, 99 % {most:?}",
            times.len()
        );
    }
    println!("{:?}", udp.heard());
}
