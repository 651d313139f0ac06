//! `ring0 lab pcap`: traffic into a capture, and a capture's orders sent again.
//!
//! Always true of a replay: payloads go out byte for byte in the order of the capture, each once. A shard that is set up as the captured one was gives
//! the same answers, byte for byte; how many did is said.

use crate::fail::Fail;
use crate::replay::print;
use ring0_itch::pcap::{Reader, Writer, datagram};
use ring0_laboratory::Tap;
use ring0_rings::mmsg;
use ring0d::stop_flag;
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::net::{SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Packets without an answer before a replay that keeps no times sends the next: as many as any queue on the way holds.
const WINDOW: usize = 64;
/// How long a replay waits for the answers to its last packets, and for room in its window.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a wait looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);

/// What is done with a capture.
#[derive(clap::Subcommand)]
pub(crate) enum PcapVerb {
    /// Write the traffic of a shard's port into a classic pcap file, both ways, with the kernel's nanoseconds.
    ///
    /// Listen at the traders' end: frames that an XDP program takes or sends back never reach the taps of its own interface.
    Capture(CaptureArgs),
    /// Send the orders of a capture again, byte for byte, and compare the answers with those of the capture.
    Replay(ReplayArgs),
}

/// Arguments of `capture`.
#[derive(clap::Args)]
pub(crate) struct CaptureArgs {
    /// Interface to listen on.
    #[arg(long, value_name = "IF")]
    interface: String,
    /// Network namespace of the interface [default: this process's].
    #[arg(long, value_name = "NS")]
    netns: Option<String>,
    /// UDP port of the shard: what goes there and what comes from there is captured.
    #[arg(long, default_value_t = ring0_drive::PORT)]
    port: u16,
    /// End after so many packets [default: at SIGINT or SIGTERM].
    #[arg(long, value_name = "N")]
    packets: Option<u64>,
    /// End after so many seconds [default: at SIGINT or SIGTERM].
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The capture; one that is there is replaced.
    #[arg(value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `replay`.
#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    /// The shard to send to.
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: SocketAddrV4,
    /// Network namespace to send from [default: this process's].
    #[arg(long, value_name = "NS")]
    netns: Option<String>,
    /// UDP port of the shard in the capture [default: that of --to].
    #[arg(long)]
    port: Option<u16>,
    /// How fast: 1 keeps the capture's times, 10 is ten times as fast, 0 as fast as answers come.
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The capture: classic pcap, Ethernet.
    file: PathBuf,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.0 => Ok(speed),
        _ => Err("a number that is not below 0: 1 keeps the capture's times, 0 sends as fast as answers come".to_owned()),
    }
}

/// Runs the verb.
pub(crate) fn run(verb: &PcapVerb) -> Result<(), Fail> {
    match verb {
        PcapVerb::Capture(args) => capture(args),
        PcapVerb::Replay(args) => replay(args),
    }
}

fn capture(args: &CaptureArgs) -> Result<(), Fail> {
    let stop = stop_flag();
    let file = File::create(&args.out)
        .map_err(|error| Fail::new(format!("cannot write {}: {error}", args.out.display())))?;
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file))?;
    let mut tap = Tap::open(&args.interface, args.netns.as_deref()).map_err(Fail::new)?;
    // Whoever started this waits for the line: what is sent from now on is heard.
    eprintln!("listening on {}, port {}", args.interface, args.port);
    let seconds = args.seconds.map(Duration::from_secs);
    let end = seconds.map(|seconds| Instant::now() + seconds);
    let (mut packets, mut bytes, mut others) = (0_u64, 0_u64, 0_u64);
    let is_over = |packets: u64| {
        stop.load(Ordering::Acquire)
            || args.packets.is_some_and(|most| packets >= most)
            || end.is_some_and(|end| Instant::now() >= end)
    };
    while !is_over(packets) {
        let Some(seen) = tap.next(TICK)? else {
            continue;
        };
        let ours = datagram(seen.frame)
            .is_some_and(|it| it.from.port() == args.port || it.to.port() == args.port);
        if !ours {
            others += 1;
            continue;
        }
        writer.frame(seen.nanos, seen.frame)?;
        packets += 1;
        bytes += seen.frame.len() as u64;
    }
    let lost = tap.lost()?;
    writer.finish()?;
    let report = json!({
        "file": args.out,
        "packets": packets,
        "bytes": bytes,
        "frames_of_others": others,
        "lost_by_the_tap": lost,
    });
    print(&report, args.json);
    Ok(())
}

/// What a capture has of a shard's traffic.
struct Captured {
    /// Nanoseconds after the first, and payload, of each packet to the shard.
    requests: Vec<(u64, Vec<u8>)>,
    /// How often each answer came.
    answers: HashMap<Vec<u8>, u64>,
}

fn read(path: &Path, port: u16) -> Result<Captured, Fail> {
    let failed = |error: std::io::Error| Fail::new(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, file)).map_err(failed)?;
    let mut captured = Captured {
        requests: Vec::new(),
        answers: HashMap::new(),
    };
    let mut first = None;
    while let Some(frame) = reader.read().map_err(failed)? {
        let Some(packet) = datagram(&frame.bytes) else {
            continue;
        };
        if packet.to.port() == port {
            let begin = *first.get_or_insert(frame.nanos);
            let after = frame.nanos.saturating_sub(begin);
            captured.requests.push((after, packet.payload.to_vec()));
        } else if packet.from.port() == port {
            *captured.answers.entry(packet.payload.to_vec()).or_default() += 1;
        }
    }
    if captured.requests.is_empty() {
        return Err(Fail::new(format!(
            "{} has no UDP packet to port {port}; --port says which the shard had",
            path.display()
        )));
    }
    Ok(captured)
}

fn replay(args: &ReplayArgs) -> Result<(), Fail> {
    let stop = stop_flag();
    let Captured {
        requests,
        mut answers,
    } = read(&args.file, args.port.unwrap_or(args.to.port()))?;
    let captured: u64 = answers.values().sum();
    let connect = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(args.to)?;
        Ok::<_, std::io::Error>(socket)
    };
    let socket = match &args.netns {
        Some(name) => ring0_lab::in_netns(name, connect)??,
        None => connect()?,
    };
    mmsg::buffers(&socket, 8 << 20)?;
    let (mut received, mut equal) = (0_u64, 0_u64);
    let mut take = |patience: Duration| -> Result<bool, Fail> {
        let mut bytes = [0; 2048];
        socket.set_read_timeout(Some(patience.max(Duration::from_micros(1))))?;
        match socket.recv(&mut bytes) {
            Ok(len) => {
                received += 1;
                if let Some(left) = answers.get_mut(&bytes[..len]).filter(|left| **left > 0) {
                    *left -= 1;
                    equal += 1;
                }
                Ok(true)
            }
            // Refused: nobody listens there. What is unanswered says so.
            Err(error) if is_no_answer(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    };
    let begin = Instant::now();
    let (mut sent, mut answered, mut late_ns) = (0_usize, 0_usize, 0_u64);
    for (after, payload) in &requests {
        if args.speed > 0.0 {
            let due = Duration::from_nanos((*after as f64 / args.speed) as u64);
            loop {
                go_on(stop)?;
                let Some(left) = due.checked_sub(begin.elapsed()).filter(|it| !it.is_zero()) else {
                    break;
                };
                answered += usize::from(take(left.min(TICK))?);
            }
            late_ns = late_ns.max((begin.elapsed() - due).as_nanos() as u64);
        } else {
            let waiting = Instant::now();
            // An answer that was lost must not stop the rest.
            while sent - answered.min(sent) >= WINDOW && waiting.elapsed() < PATIENCE {
                go_on(stop)?;
                answered += usize::from(take(TICK)?);
            }
        }
        match socket.send(payload) {
            Ok(_) => {}
            Err(error) if is_no_answer(&error) => {}
            Err(error) => return Err(error.into()),
        }
        sent += 1;
    }
    let mut waiting = Instant::now();
    while answered < sent && waiting.elapsed() < PATIENCE {
        go_on(stop)?;
        if take(TICK)? {
            answered += 1;
            waiting = Instant::now();
        }
    }
    let report = json!({
        "file": args.file,
        "packets_sent": sent,
        "seconds": begin.elapsed().as_secs_f64(),
        "latest_ns_behind_its_time": (args.speed > 0.0).then_some(late_ns),
        "answers_captured": captured,
        "answers_received": received,
        "answers_equal": equal,
        "answers_unlike": received - equal,
        "answers_missing": captured.saturating_sub(equal),
    });
    print(&report, args.json);
    Ok(())
}

fn is_no_answer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(
        error.kind(),
        WouldBlock | TimedOut | Interrupted | ConnectionRefused
    )
}

fn go_on(stop: &AtomicBool) -> Result<(), Fail> {
    if stop.load(Ordering::Acquire) {
        return Err(Fail::new("ended by a signal"));
    }
    Ok(())
}
