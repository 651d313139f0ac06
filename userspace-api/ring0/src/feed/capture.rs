//! `ring0 feed capture`: the lines' packets as they come, in a pcap file.

use super::{Lines, Until};
use crate::fail::Fail;
use ring0_itch::pcap::Writer;
use serde_json::json;
use std::fs::File;
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Packets taken from a line before the other has its turn.
const PACKETS_A_TURN: usize = 64;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lines: Lines,
    #[command(flatten)]
    until: Until,
    /// One JSON object at the end.
    #[arg(long)]
    json: bool,
    /// The capture; one that is there is replaced.
    #[arg(value_name = "FILE")]
    out: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let mut stop = args.until.begin();
    let lines = args.lines.all();
    let failed = |error| {
        Fail::new(format!(
            "cannot hear the lines; check interface and port: {error}"
        ))
    };
    let sockets = args
        .lines
        .inside(|| {
            lines
                .iter()
                .map(|line| line.hear())
                .collect::<Result<Vec<_>, _>>()
        })?
        .map_err(failed)?;
    let file = File::create(&args.out)
        .map_err(|error| Fail::new(format!("cannot write {}: {error}", args.out.display())))?;
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file))?;
    let (mut packets, mut bytes) = (vec![0_u64; lines.len()], 0_u64);
    let mut payload = [0; 65_536];
    loop {
        let stopping = stop();
        let mut came = false;
        for (at, (socket, line)) in sockets.iter().zip(&lines).enumerate() {
            for _ in 0..PACKETS_A_TURN {
                let Ok((len, from)) = socket.recv_from(&mut payload) else {
                    break;
                };
                came = true;
                let SocketAddr::V4(from) = from else {
                    continue;
                };
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                writer.udp(now.as_nanos() as u64, from, line.group, &payload[..len])?;
                packets[at] += 1;
                bytes += len as u64;
            }
        }
        if stopping {
            break;
        }
        if !came {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    writer.finish()?;
    if args.json {
        println!("{}", json!({ "packets": packets, "payload_bytes": bytes }));
    } else {
        println!("{packets:?} packets, {bytes} bytes of payload");
    }
    Ok(())
}
