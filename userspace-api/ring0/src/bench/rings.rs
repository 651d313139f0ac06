//! `ring0 bench rings`: every ring and the bare echo of its transport, in one table of one run.
//!
//! One flow, signed before the clock starts, goes to all: each ring has a veth pair of its own and a client's socket, and beside it stands an echo
//! that gives the same packet back over the same transport. Everybody takes turns in every round, so that a busy neighbour hits all; a figure is the
//! median of its rounds. Rates are of a window of packets under way, latencies of an open loop ([`Pump::run_paced`]). Rule: RULES 30; figures:
//! `docs/benchmarks.md`.

mod napi;
mod report;
mod stand;
mod switch;

use super::lane::{Lane, Prepared, SYMBOLS, prepare};
use super::processors::Busy;
use super::pump::Pump;
use crate::fail::Fail;
use crate::replay::print;
pub(crate) use report::median;
use report::{Figures, Round};
use ring0_drive::{clock, rand_key};
use ring0_lab::machine;
use ring0_rings::pin_to;
use ring0_wire::MESSAGES_MAX;
use serde_json::{Value, json};
pub(crate) use stand::{RingName, SetUp, Stand};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
pub(crate) use switch::Way;

/// Processor of the client, and on veth of the kernel ring; the other one has the userspace rings and the kernel ring's NAPI thread.
pub(crate) const CLIENT: usize = 0;
pub(crate) const OTHER: usize = 1;
/// Slots of each record ring: 64 MiB.
pub(crate) const RECORD_SLOTS: u32 = 1 << 20;
/// Rounds; odd, so that there is a median.
const ROUNDS: usize = 5;
/// Phases of a round: either lane as fast as it goes, and paced.
const PHASES: u64 = 4;
/// Client sequences under way: three batches of single packets, one of full ones. The shortest queue on any way, veth's before an XDP program, has
/// 256 places: with more under way a ring that runs on the other processor loses some, and its rate is that of sending again.
const WINDOW: [u64; 2] = [384, 2_400];
/// Messages that a phase sends for each second that it is to take: near what rings do on the machine that the figures are of.
const FAST: [u64; 2] = [200_000, 2_500_000];
/// Packets likewise of a paced phase whose rate nobody named, and the most that are then offered a second.
const PACED: [u64; 2] = [50_000, 10_000];
const PACED_MAX: [f64; 2] = [100_000.0, 20_000.0];
/// Messages of a full packet of the flow, about: the longest message decides.
const FULL: u64 = 37;
/// Least packets of a phase: some batches.
const PACKETS_MIN: u64 = 200;
/// Share of the slowest ring's rate that is offered to all: what every ring sustains when a neighbour takes some of the machine.
const OFFERED: f64 = 0.5;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// About how long the rounds take together; more is steadier.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Single packets offered a second where latency is measured [default: half of what the slowest ring does, at most 100,000].
    #[arg(long, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    rate: Option<u64>,
    /// Full packets offered a second where latency is measured [default: half of what the slowest ring does, at most 20,000].
    #[arg(long, value_parser = clap::value_parser!(u64).range(100..=200_000))]
    full_rate: Option<u64>,
    /// Rings to measure, with the echoes of their transports.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = RingName::ALL)]
    rings: Vec<RingName>,
    /// Seed of the flow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A row of the table: a ring or an echo, with a pump for each lane.
struct Row<'a> {
    ring: RingName,
    way: Way,
    /// Which of the stands.
    stand: usize,
    pumps: Vec<Pump<'a>>,
    figures: Vec<Figures>,
}

/// Runs the bench.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err(Fail::new(
            "the client has one processor and the rings the other; this process has only one",
        ));
    }
    let stop = ring0d::stop_flag();
    let machine = machine();
    let mut rings: Vec<RingName> = RingName::ALL.into();
    rings.retain(|ring| args.rings.contains(ring));
    let paced = [args.rate, args.full_rate];
    let slice = args.seconds as f64 / (ROUNDS as u64 * PHASES * 2 * rings.len() as u64) as f64;
    let (lanes, market) = prepare(args.seed, lanes(slice, paced))?;
    let keys: Vec<_> = lanes.iter().map(|lane| lane.lane.key).collect();
    let mut controls = vec![clock()];
    controls.extend((0..lanes.len() as u32).flat_map(|session| market.controls(session)));
    let set_up = SetUp {
        capacity: market.capacity(lanes.len() as u32)?,
        controls: &controls,
        keys: &keys,
    };

    let (mut stands, mut places, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for ring in rings {
        match stands_of(ring, &set_up)? {
            Ok((stand, echo)) => {
                let at = stands.len();
                places.push((ring, Way::Ring, at));
                places.push((ring, Way::Echo, at + usize::from(echo.is_some())));
                stands.push(stand);
                stands.extend(echo);
            }
            Err(why) => left_out.push((ring, why)),
        }
    }
    if stands.is_empty() {
        let why: Vec<&str> = left_out.iter().map(|(_, why)| why.as_str()).collect();
        return Err(Fail::new(why.join("; ")));
    }
    pin_to(CLIENT)?;
    let mut rows = Vec::new();
    for (ring, way, stand) in places {
        let mut pumps = Vec::new();
        for (lane, window) in lanes.iter().zip(WINDOW) {
            pumps.push(Pump::new(stands[stand].client()?, &lane.packets, window)?);
        }
        rows.push(Row {
            ring,
            way,
            stand,
            pumps,
            figures: lanes.iter().map(|_| Figures::default()).collect(),
        });
    }

    let mut bench = Bench {
        lanes: &lanes,
        stands: &stands,
        rows,
        stop,
    };
    let offered = bench.warm_up(paced)?;
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for (lane, rate) in offered.iter().enumerate() {
            bench.fast(lane, 2 + 2 * round)?;
            bench.paced(lane, 3 + 2 * round, *rate)?;
        }
    }
    let rows = bench.rows;
    let report = finish(&lanes, stands, rows, &left_out, &offered, machine)?;
    if args.json {
        print(&report, true);
    } else {
        print!("{}", report::table(&report));
    }
    match report["states_agree"].as_bool() {
        Some(false) => Err(Fail::disagreed(
            "rings that took the same packets are in different states; look at their `state_hash_without_time`, and whether one has `arrivals_lost`, which it records",
        )),
        _ => Ok(()),
    }
}

/// Single and full packets: the warm-up, and for each round a fast and a paced piece.
fn lanes(slice: f64, paced: [Option<u64>; 2]) -> Vec<Lane> {
    let lane = |at: usize, name, messages_max, per_packet: u64| {
        let least = PACKETS_MIN * per_packet;
        let fast = ((FAST[at] as f64 * slice) as u64).max(least);
        let packets = paced[at].unwrap_or(PACED[at]) as f64 * slice;
        let paced = (packets as u64 * per_packet).max(least);
        let mut pieces = vec![fast];
        pieces.extend([fast, paced].repeat(ROUNDS));
        Lane {
            name,
            messages_max,
            key: Some(rand_key()),
            pieces,
        }
    };
    vec![lane(0, "single", 1, 1), lane(1, "full", MESSAGES_MAX, FULL)]
}

/// A ring's stand, and its echo's where that is another; or why there is none here.
fn stands_of(
    ring: RingName,
    set_up: &SetUp<'_>,
) -> Result<Result<(Stand, Option<Stand>), String>, Fail> {
    if let Some(why) = stand::missing(ring) {
        eprintln!("{}: {why}", ring.name());
        return Ok(Err(why.to_owned()));
    }
    eprintln!("{}: setting up", ring.name());
    match ring {
        RingName::Kernel | RingName::KernelShared => Ok(Ok((
            Stand::ring(ring, set_up)?,
            Some(Stand::xdp_echo(false)?),
        ))),
        RingName::KernelNapi => {
            // The first to be tried: what it needs beyond the kernel ring is not everywhere.
            let echo = match Stand::xdp_echo(true) {
                Ok(echo) => echo,
                Err(fail) if fail.code() == 1 => return Ok(Err(fail.to_string())),
                Err(fail) => return Err(fail),
            };
            Ok(Ok((Stand::ring(ring, set_up)?, Some(echo))))
        }
        _ => Ok(Ok((Stand::ring(ring, set_up)?, None))),
    }
}

/// The rows while they are measured.
struct Bench<'s, 'p> {
    lanes: &'p [Prepared],
    stands: &'s [Stand],
    rows: Vec<Row<'p>>,
    stop: &'static AtomicBool,
}

impl Bench<'_, '_> {
    /// Fills the rings' books and runs the first piece everywhere; gives the packets a second to be offered in each lane.
    fn warm_up(&mut self, named: [Option<u64>; 2]) -> Result<Vec<f64>, Fail> {
        eprintln!("books and warm-up");
        let mut offered = Vec::new();
        for (lane, prepared) in self.lanes.iter().enumerate() {
            let mut slowest = f64::INFINITY;
            let packets = (prepared.ends[1] - prepared.ends[0]) as f64;
            for row in &mut self.rows {
                let stand = &self.stands[row.stand];
                stand.turn(row.way)?;
                let pump = &mut row.pumps[lane];
                match row.way {
                    // Stored answers and books are of the ring; an echo has neither.
                    Way::Echo => pump.skip_to(prepared.ends[0]),
                    _ => pump.run(prepared.ends[0], |_| go_on(self.stop))?,
                }
                let begin = Instant::now();
                pump.run(prepared.ends[1], |_| go_on(self.stop))?;
                if row.way == Way::Ring {
                    slowest = slowest.min(packets / begin.elapsed().as_secs_f64());
                }
                stand.turn(Way::Off)?;
            }
            let rate = named[lane].map_or((slowest * OFFERED).min(PACED_MAX[lane]), |it| it as f64);
            eprintln!(
                "{} packets offered where latency is measured: {rate:.0} a second",
                prepared.lane.name
            );
            offered.push(rate);
        }
        Ok(offered)
    }

    /// A piece through every row, as fast as it goes.
    fn fast(&mut self, lane: usize, piece: usize) -> Result<(), Fail> {
        let prepared = &self.lanes[lane];
        let messages = prepared.messages(piece);
        let packets = (prepared.ends[piece] - prepared.ends[piece - 1]) as u64;
        for row in &mut self.rows {
            let stand = &self.stands[row.stand];
            stand.turn(row.way)?;
            let (before, begin) = (Busy::now(), Instant::now());
            row.pumps[lane].run(prepared.ends[piece], |_| go_on(self.stop))?;
            let seconds = begin.elapsed().as_secs_f64();
            let mut busy = Busy::default();
            busy.add_since(&before);
            stand.turn(Way::Off)?;
            row.figures[lane].rounds.push(Round {
                messages,
                packets,
                seconds,
                busy,
            });
        }
        Ok(())
    }

    /// A piece through every row, offered at a rate.
    fn paced(&mut self, lane: usize, piece: usize, rate: f64) -> Result<(), Fail> {
        let end = self.lanes[lane].ends[piece];
        for row in &mut self.rows {
            let stand = &self.stands[row.stand];
            stand.turn(row.way)?;
            let took = row.pumps[lane].run_paced(end, rate, |_| go_on(self.stop))?;
            stand.turn(Way::Off)?;
            row.figures[lane].latencies.push(took);
        }
        Ok(())
    }
}

/// Whether nobody asked to end.
fn go_on(stop: &AtomicBool) -> Result<(), Fail> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Fail::new("ended by a signal; nothing was left behind")),
        false => Ok(()),
    }
}

/// Checks that nothing is missing, and puts the report together.
fn finish(
    lanes: &[Prepared],
    mut stands: Vec<Stand>,
    rows: Vec<Row<'_>>,
    left_out: &[(RingName, String)],
    offered: &[f64],
    machine: Value,
) -> Result<Value, Fail> {
    let mut measured = Vec::new();
    for row in rows {
        for (pump, lane) in row.pumps.iter().zip(lanes) {
            let skipped = if row.way == Way::Echo {
                lane.ends[0]
            } else {
                0
            };
            let wanted = (lane.packets.len() - skipped) as u64;
            if pump.counted.answered != wanted {
                return Err(Fail::disagreed(format!(
                    "{}: {} of {wanted} {} packets were answered",
                    row.ring.name(),
                    pump.counted.answered,
                    lane.lane.name
                )));
            }
        }
        let counted: Vec<_> = row.pumps.iter().map(|it| it.counted.clone()).collect();
        measured.push(report::Measured {
            ring: row.ring,
            way: row.way,
            stand: stands[row.stand].report(row.way)?,
            figures: row.figures,
            counted,
        });
    }
    let conditions = json!({
        "rounds": ROUNDS,
        "symbols": SYMBOLS,
        "client_processor": CLIENT,
        "ring_processor": OTHER,
        "window_client_sequences": WINDOW,
        "record_ring_consumers": 0,
    });
    let report = report::Report {
        lanes,
        rows: &measured,
        left_out,
        offered,
    };
    Ok(report.object(machine, conditions))
}
