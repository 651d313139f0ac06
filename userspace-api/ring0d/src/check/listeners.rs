//! Where processes listen: no address twice.

use super::{Findings, Venue, text};
use crate::RingKind;
use std::net::SocketAddr;

/// A listener: whose, at which address, over UDP or TCP.
struct Listener {
    key: String,
    at: SocketAddr,
    is_udp: bool,
}

pub(super) fn compare(venue: &Venue<'_>, findings: &mut Findings) {
    let mut all: Vec<Listener> = Vec::new();
    for (number, daemon) in venue.daemons.iter().enumerate() {
        let name = &venue.plans[number].shard.name;
        // The other rings take packets from an interface, whatever listens on this machine.
        if daemon.ring == RingKind::Udp {
            all.push(Listener {
                key: format!("market.shard {name}.port"),
                at: (daemon.listen, venue.plans[number].shard.port).into(),
                is_udp: true,
            });
        }
        if let Some(at) = daemon.metrics {
            let key = format!("ring0d ({name}).metrics");
            all.push(Listener {
                key,
                at,
                is_udp: false,
            });
        }
    }
    let mut tcp = |key: &str, given: Option<&str>| {
        let Some(given) = given else { return };
        match given.parse() {
            Ok(at) => all.push(Listener {
                key: key.to_owned(),
                at,
                is_udp: false,
            }),
            Err(_) => findings.add(
                key,
                format_args!("{given:?} is no address; write ADDRESS:PORT"),
            ),
        }
    };
    for (place, one) in super::tables(&venue.tables, "recorder") {
        tcp(&format!("recorder[{place}].metrics"), text(one, "metrics"));
    }
    for table in ["settled", "signer", "lightning"] {
        let found = venue.table(table);
        tcp(
            &format!("{table}.metrics"),
            found.and_then(|it| text(it, "metrics")),
        );
    }
    for (table, part) in [
        ("gateway", "http"),
        ("gateway", "ouch"),
        ("lightning", "node"),
    ] {
        let part_of = venue.table(table).and_then(|it| it.get(part)?.as_table());
        tcp(
            &format!("{table}.{part}.listen"),
            part_of.and_then(|it| text(it, "listen")),
        );
    }
    for (place, one) in all.iter().enumerate() {
        let same = |other: &&Listener| other.is_udp == one.is_udp && meet(other.at, one.at);
        if let Some(before) = all[..place].iter().find(same) {
            findings.add(
                &one.key,
                format_args!(
                    "{} is {} already; give each its own port",
                    one.at, before.key
                ),
            );
        }
    }
}

/// Whether two listeners cannot be there at once. Port 0 is any free one.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let any = |it: SocketAddr| it.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || any(one) || any(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_once() {
        let check = |one: &str, other: &str, wanted: bool| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(meet(one, other), wanted, "{one} {other}");
            assert_eq!(meet(other, one), wanted, "{other} {one}");
        };
        check("127.0.0.1:9000", "127.0.0.1:9000", true);
        check("127.0.0.1:9000", "0.0.0.0:9000", true);
        check("[::]:9000", "127.0.0.1:9000", true);
        check("127.0.0.1:9000", "127.0.0.2:9000", false);
        check("127.0.0.1:9000", "127.0.0.1:9001", false);
        check("127.0.0.1:0", "127.0.0.1:0", false);
    }
}
