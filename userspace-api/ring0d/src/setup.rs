//! A market into a shard: the clock and the market's commands, as far as the shard has not taken them.
//!
//! Always true: the setup's commands are the first that a shard takes, in one order; so the shard's own count of control
//! commands says where a daemon died, and the next one goes on there. Nothing else is served before all are taken.

use crate::DaemonError;
use ring0_engine::canon::{Listing, Tag};
use ring0_engine::control::{Clock, Control, ControlKind};
use ring0_engine::record::Outcome;
use ring0_market::Market;
use ring0_rings::KernelShard;
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::IntoBytes;

/// Nanoseconds of a day.
const DAY_NS: u128 = 86_400_000_000_000;

/// Brings the shard to the market, or makes sure that it is there already; gives how many of the market's commands were sent.
pub(crate) fn bring_up(
    shard: &mut KernelShard,
    market: &Market,
    is_restored: bool,
) -> Result<usize, DaemonError> {
    let taken = shard.shard().header().controls_taken.get();
    let mut commands = vec![clock()];
    commands.extend(market.controls());
    let taken = usize::try_from(taken).unwrap_or(usize::MAX);
    let missing = commands.get(taken..).unwrap_or_default();
    let results = shard.command(missing)?;
    for (command, (outcome, reason)) in missing.iter().zip(&results) {
        if *outcome != Outcome::Accepted {
            return Err(DaemonError::Refused {
                command: describe(command, market),
                reason: reason.name(),
                help: reason.help().trim(),
            });
        }
    }
    agree(shard, market)?;
    if is_restored {
        // The snapshot's boot-time clock may be another boot's. Nothing came in by it: no session has its key yet.
        shard.command(&[clock()])?;
    }
    // Last, so that another market's file cannot take the keys of the one that is trading.
    for ((index, plan), session) in (0_u32..).zip(&market.plan.sessions).zip(market.sessions()) {
        debug_assert_eq!(plan.answers, session.answers());
        let bytes = session
            .key()
            .map(|key| <[u8; 16]>::try_from(key.as_bytes()).expect("a key is sixteen bytes"));
        shard.set_key(index, bytes.as_ref())?;
    }
    Ok(missing.len())
}

/// Sets the day base by this machine's clocks.
fn clock() -> Control {
    Control::new(
        ControlKind::Clock,
        &Clock {
            day_base_ns: day_base_ns(),
        },
    )
}

/// What makes venue time the nanoseconds since midnight UTC: boot-time clock and day base add up modulo 2^64.
fn day_base_ns() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let boot_ns = boot.tv_sec.cast_unsigned() * 1_000_000_000 + boot.tv_nsec.cast_unsigned();
    ((now % DAY_NS) as u64).wrapping_sub(boot_ns)
}

/// What a setup command is, in the market file's words.
fn describe(command: &Control, market: &Market) -> String {
    use ring0_engine::control::{Deposit, Grant, List, OpenAccount, SetLimit};
    let plan = &market.plan;
    let account = |index: u32| plan.accounts[index as usize].name.clone();
    let asset = |index: u32| &plan.assets[index as usize].name;
    let kind = |kind: ControlKind| command.kind == kind as u32;
    if kind(ControlKind::OpenAccount) {
        format!(
            "to open account {}",
            account(command.body::<OpenAccount>().account)
        )
    } else if kind(ControlKind::Deposit) {
        let body = command.body::<Deposit>();
        format!(
            "the deposit of {} to {}",
            asset(body.asset),
            account(body.account)
        )
    } else if kind(ControlKind::SetLimit) {
        let body = command.body::<SetLimit>();
        format!(
            "the limit of {} for {}",
            asset(body.asset),
            account(body.account)
        )
    } else if kind(ControlKind::List) {
        let index = command.body::<List>().instrument;
        format!(
            "to list instrument {}",
            plan.instruments[index as usize].symbol
        )
    } else if kind(ControlKind::GrantSession) {
        let index = command.body::<Grant>().session;
        format!("to grant session {}", plan.sessions[index as usize].name)
    } else {
        "the clock".to_owned()
    }
}

/// The instruments of a listing, as `docs/matching.md#state-hash` orders their numbers.
#[derive(Default)]
struct Instruments(Vec<Vec<u64>>);

impl Listing for Instruments {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        if tag == Tag::Instrument {
            self.0.push(numbers.to_vec());
        }
    }
}

/// Checks that the shard is this market: its instruments with their terms, and whose sessions it has.
fn agree(shard: &KernelShard, market: &Market) -> Result<(), DaemonError> {
    let live = shard.shard();
    let other = |what: String| Err(DaemonError::OtherMarket { what });
    for (index, id) in (0_u32..).zip(market.session_ids()) {
        let name = &market.plan.sessions[index as usize].name;
        match live.session_id(index) {
            None => return other(format!("session {name} is not granted in it")),
            Some(found) if found != id => {
                return other(format!(
                    "session {name} has id {found} in it and {id} in its key file"
                ));
            }
            Some(_) => {}
        }
    }
    if live.broken().is_some() {
        return Ok(()); // its books are not to be walked
    }
    // Walked while orders come in: the terms of an instrument never change, the rest is not looked at.
    let mut listed = Instruments::default();
    live.list(&mut listed);
    if listed.0.len() != market.plan.instruments.len() {
        return other(format!(
            "it has {} instruments and the file {}",
            listed.0.len(),
            market.plan.instruments.len()
        ));
    }
    for (plan, found) in market.plan.instruments.iter().zip(&listed.0) {
        let mut symbol = [b' '; 8];
        symbol[..plan.symbol.len()].copy_from_slice(plan.symbol.as_bytes());
        let wanted = [
            u64::from_le_bytes(symbol),
            plan.base_asset.into(),
            plan.quote_asset.into(),
            plan.tick_size.into(),
            plan.lot_size.into(),
            plan.tick_value.into(),
            plan.ladder_base.into(),
            plan.lot_value,
            plan.ladder_len.into(),
            plan.lots_max.into(),
        ];
        if found.get(2..12) != Some(&wanted) {
            return other(format!(
                "instrument {} is listed with other terms",
                plan.symbol
            ));
        }
    }
    Ok(())
}
