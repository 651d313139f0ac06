//! What two tables have to say alike: folders and sockets where processes meet, the venue's id, hubs, the signer's policy and what it will be asked.

use super::{Findings, Venue, tables, text};
use crate::{Args, RingKind};
use ring0_market::Plan;
use std::path::{Component, Path, PathBuf};
use toml::Table;

/// What settlement has signed by the operator's key.
const KINDS: [&str; 7] = [
    "batch",
    "state",
    "withdrawal",
    "close",
    "rebalance",
    "revocation",
    "statement",
];

pub(super) fn compare(venue: &Venue<'_>, findings: &mut Findings) {
    for (number, daemon) in venue.daemons.iter().enumerate() {
        meet_at_shard(venue, &venue.plans[number], daemon, findings);
    }
    if let Some(settled) = venue.table("settled") {
        rails(venue, settled, findings);
        signer(venue, settled, findings);
        same_as_gateway(venue, settled, findings);
    }
}

/// One path, however it is written.
fn plain(path: &Path) -> PathBuf {
    let parts = path.components().filter(|it| *it != Component::CurDir);
    parts.collect()
}

fn differ(one: &Path, other: &Path) -> bool {
    plain(one) != plain(other)
}

/// The operator's socket of a shard.
pub(crate) fn socket(daemon: &Args, plan: &Plan) -> PathBuf {
    let usual = || daemon.sockets.join(format!("{}.sock", plan.shard.name));
    daemon.socket.clone().unwrap_or_else(usual)
}

/// Where consumers find the record ring.
fn ring(daemon: &Args, plan: &Plan, of_several: bool) -> PathBuf {
    if daemon.ring != RingKind::Kernel {
        let usual = || ring0_rings::record_ring_named(&plan.shard.name);
        return daemon.mq.clone().unwrap_or_else(usual);
    }
    let usual = || {
        let interface = daemon.interface.as_deref().unwrap_or_default();
        let netns = daemon.netns.as_deref();
        match of_several {
            true => xdp_loader::default_shard_root(interface, netns, plan.shard.port),
            false => xdp_loader::default_pin_root(interface, netns),
        }
    };
    daemon.pin_root.clone().unwrap_or_else(usual)
}

/// The table of a shard among those of a process, and how it is called.
fn of_shard<'a>(
    venue: &'a Venue<'_>,
    within: &'a Table,
    key: &str,
    naming: &str,
    shard: &str,
) -> Option<(usize, &'a Table)> {
    tables(within, key).find(|(_, one)| match text(one, naming) {
        Some(name) => name == shard,
        None => venue.plans.len() == 1,
    })
}

fn meet_at_shard(venue: &Venue<'_>, plan: &Plan, daemon: &Args, findings: &mut Findings) {
    let name = plan.shard.name.as_str();
    let operator = socket(daemon, plan);
    let records = ring(daemon, plan, venue.plans.len() > 1);
    let recorder = of_shard(venue, &venue.tables, "recorder", "shard", name);
    let mut journal = None;
    if let Some((place, recorder)) = recorder {
        let key = |of: &str| format!("recorder[{place}].{of}");
        journal = text(recorder, "journal").map(|it| venue.path(it));
        let (own, given) = match daemon.ring {
            RingKind::Kernel => ("pin_root", text(recorder, "pin_root")),
            _ => ("mq", text(recorder, "mq")),
        };
        if let Some(given) = given.map(|it| venue.path(it))
            && differ(&given, &records)
        {
            findings.add(
                key(own),
                format_args!(
                    "it is {}, and the records of {name} are in {}; write that",
                    given.display(),
                    records.display()
                ),
            );
        }
        let other = match daemon.ring {
            RingKind::Kernel => "mq",
            _ => "pin_root",
        };
        if recorder.contains_key(other) {
            findings.add(
                key(other),
                format_args!(
                    "{name} runs in the {} ring; write `{own}`",
                    daemon.ring.name()
                ),
            );
        }
    } else if plan.shard.acks == ring0_rings::Acks::Durable || venue.table("settled").is_some() {
        findings.add(
            "recorder",
            format_args!("shard {name} has none, and without a journal nothing of it is settled, or answered where acks are durable; add a [recorder], of several shards a [[recorder]] with `shard = {name:?}`"),
        );
    }
    for process in ["settled", "gateway"] {
        let Some(table) = venue.table(process) else {
            continue;
        };
        let Some((place, entry)) = of_shard(venue, table, "shard", "name", name) else {
            continue; // its own check says so
        };
        let key = |of: &str| format!("{process}.shard[{place}].{of}");
        if let (Some(written), Some(read)) = (&journal, newest_journal(entry))
            && differ(written, &venue.path(read))
        {
            findings.add(
                key("journal"),
                format_args!(
                    "it is {}, and the recorder writes {}; write the same folder",
                    venue.path(read).display(),
                    written.display()
                ),
            );
        }
        if let Some(given) = text(entry, "ring").map(|it| venue.path(it))
            && differ(&given, &records)
        {
            findings.add(
                key("ring"),
                format_args!(
                    "it is {}, and the records of {name} are in {}; write that",
                    given.display(),
                    records.display()
                ),
            );
        }
        if let Some(door) = text(entry, "door").map(|it| venue.path(it)) {
            if !daemon.door {
                findings.add(
                    key("door"),
                    format_args!("the daemon of {name} opens none; write ring0d.door = true"),
                );
            } else if differ(&door, &operator.with_extension("door")) {
                findings.add(
                    key("door"),
                    format_args!(
                        "it is {}, and the daemon of {name} opens {}; write that",
                        door.display(),
                        operator.with_extension("door").display()
                    ),
                );
            }
        }
        if process == "settled" {
            let usual = || {
                Some(
                    venue
                        .path(text(table, "sockets")?)
                        .join(format!("{name}.sock")),
                )
            };
            let asked = text(entry, "socket")
                .map(|it| venue.path(it))
                .or_else(usual);
            if let Some(asked) = asked.filter(|it| differ(it, &operator)) {
                findings.add(
                    key("socket"),
                    format_args!(
                        "it is {}, and the daemon of {name} listens at {}; write that",
                        asked.display(),
                        operator.display()
                    ),
                );
            }
        }
    }
    // Rails say credits to the shard, and it says withdrawals to them, in one folder.
    for process in ["settled", "lightning"] {
        let given = venue.table(process).and_then(|it| text(it, "sockets"));
        if let Some(given) = given.map(|it| venue.path(it))
            && differ(&given, &daemon.sockets)
        {
            findings.add(
                format_args!("{process}.sockets"),
                format_args!("it is {}, and the daemon of {name} looks for rails in {}; write the same folder", given.display(), daemon.sockets.display()),
            );
        }
    }
    let identity = venue
        .table("gateway")
        .and_then(|it| it.get("identity")?.as_table());
    if let Some(identity) = identity {
        if daemon.grants.is_none() {
            findings.add(
                "ring0d.grants",
                format_args!("it is missing for {name}, and the gateway grants sessions for people; name a folder"),
            );
        }
        let given = text(identity, "sockets").map(|it| venue.path(it));
        if let Some(given) = given
            && differ(&given.join(format!("{name}.sock")), &operator)
        {
            findings.add(
                "gateway.identity.sockets",
                format_args!(
                    "it is {}, and the daemon of {name} listens at {}; write its folder",
                    given.display(),
                    operator.display()
                ),
            );
        }
    }
}

/// The journal that is written now: of a list of a shard's lives the last.
fn newest_journal(entry: &Table) -> Option<&str> {
    let given = entry.get("journal")?;
    let last = || given.as_array()?.last()?.as_str();
    given.as_str().or_else(last)
}

fn rails(venue: &Venue<'_>, settled: &Table, findings: &mut Findings) {
    let own = text(settled, "rail").unwrap_or("hub");
    let other = venue.table("lightning").and_then(|it| text(it, "rail"));
    if other == Some(own) {
        findings.add(
            "lightning.rail",
            format_args!(
                "{own:?} is settlement's rail; give Lightning a [[market.rail]] of its own"
            ),
        );
    }
    let folder = |process: &str, key: &str| {
        let table = venue.table(process)?;
        text(table, key).map(|it| (format!("{process}.{key}"), plain(&venue.path(it))))
    };
    let stores = [
        ("settled", "store"),
        ("gateway", "store"),
        ("lightning", "folder"),
    ];
    let mut seen: Vec<(String, PathBuf)> = Vec::new();
    for (key, path) in stores
        .iter()
        .filter_map(|(process, key)| folder(process, key))
    {
        if let Some((before, _)) = seen.iter().find(|(_, it)| *it == path) {
            findings.add(
                &key,
                format_args!("it is {before} too; give each process a folder of its own"),
            );
        }
        seen.push((key, path));
    }
}

/// What the signer's policy allows, beside what settlement will ask.
fn signer(venue: &Venue<'_>, settled: &Table, findings: &mut Findings) {
    let Some(asked) = settled.get("signer").and_then(toml::Value::as_table) else {
        return; // its own check says so
    };
    let Some(policy) = venue.table("signer") else {
        return; // on another machine, or from a file of its own
    };
    if let (Some(home), Some(given)) = (venue.signer_home(), text(asked, "socket")) {
        let own = home.join(text(policy, "socket").unwrap_or("signer.sock"));
        if differ(&own, &venue.path(given)) {
            findings.add(
                "settled.signer.socket",
                format_args!(
                    "it is {}, and the signer listens at {}; write that",
                    venue.path(given).display(),
                    own.display()
                ),
            );
        }
    }
    let name = text(asked, "key").unwrap_or_default();
    let rule = tables(policy, "key").find(|(_, one)| text(one, "name") == Some(name));
    let Some((place, rule)) = rule else {
        return findings.add(
            "settled.signer.key",
            format_args!("the signer has no rule for a key {name:?}, so it signs nothing by it; add [[signer.key]] name = {name:?}"),
        );
    };
    let key = |of: &str| format!("signer.key[{place}].{of}");
    let list = |of: &str| -> Vec<&str> {
        let given = rule.get(of).and_then(toml::Value::as_array);
        given
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_str)
            .collect()
    };
    let kinds = list("kinds");
    let missing: Vec<&str> = KINDS.into_iter().filter(|it| !kinds.contains(it)).collect();
    if !missing.is_empty() {
        findings.add(
            key("kinds"),
            format_args!(
                "settlement asks for {} too, which would be refused; add them",
                missing.join(", ")
            ),
        );
    }
    if let Some(id) = text(settled, "venue")
        && !list("venues").iter().any(|it| it.eq_ignore_ascii_case(id))
    {
        findings.add(
            key("venues"),
            format_args!("settled.venue, {id}, is not among them; add it"),
        );
    }
    let allowed = list("hubs");
    let same = |one: &Table, other: &Table| {
        let alike = |of: &str| match (text(one, of), text(other, of)) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            _ => one.get(of) == other.get(of), // a lineage may be a number
        };
        alike("lineage") && alike("address")
    };
    for (number, hub) in tables(settled, "hub") {
        let at = format!("settled.hub[{number}]");
        let Some((_, known)) = tables(policy, "hub").find(|(_, one)| same(one, hub)) else {
            findings.add(
                format_args!("{at}.address"),
                "the signer's policy has no [[signer.hub]] with this lineage and address, so nothing of it is signed; add one",
            );
            continue;
        };
        let hub_name = text(known, "name").unwrap_or_default();
        if !allowed.contains(&hub_name) {
            findings.add(
                key("hubs"),
                format_args!("{hub_name:?}, which is {at}, is not among them; add it"),
            );
        }
        for (number, token) in tables(hub, "token") {
            let given = text(token, "token").unwrap_or_default();
            let counts = |one: &Table| {
                text(one, "hub") == Some(hub_name)
                    && text(one, "token").is_some_and(|it| it.eq_ignore_ascii_case(given))
            };
            if !tables(policy, "asset").any(|(_, one)| counts(one)) {
                findings.add(
                    format_args!("{at}.token[{number}].token"),
                    format_args!("the signer counts no token {given} of hub {hub_name:?}, so it signs none of it; add a [[signer.asset]]"),
                );
            }
        }
    }
}

/// What the gateway and settlement have to say alike.
fn same_as_gateway(venue: &Venue<'_>, settled: &Table, findings: &mut Findings) {
    let Some(gateway) = venue.table("gateway") else {
        return;
    };
    let own = text(settled, "sockets").map(|it| venue.path(it).join("settled.sock"));
    match (own, text(gateway, "settled").map(|it| venue.path(it))) {
        (Some(own), Some(asked)) if differ(&own, &asked) => findings.add(
            "gateway.settled",
            format_args!(
                "it is {}, and settlement listens at {}; write that",
                asked.display(),
                own.display()
            ),
        ),
        (Some(own), None) => findings.add(
            "gateway.settled",
            format_args!(
                "it is missing, so nobody can deposit, co-sign or withdraw over REST; write {}",
                own.display()
            ),
        ),
        _ => {}
    }
    let identity = gateway.get("identity").and_then(toml::Value::as_table);
    let (one, other) = (
        text(settled, "venue"),
        identity.and_then(|it| text(it, "venue")),
    );
    if let (Some(one), Some(other)) = (one, other)
        && !one.eq_ignore_ascii_case(other)
    {
        findings.add(
            "gateway.identity.venue",
            format_args!("it is {other}, and settled.venue is {one}: signatures made for one count nothing at the other; write the same"),
        );
    }
}
