//! A market into a shard: the clock and the market's commands, as far as the shard has not taken them.
//!
//! Always true: the setup's commands are the first that a shard takes, in one order; so the shard's own count of control
//! commands says where a daemon died, and the next one goes on there. Nothing else is served before all are taken.

use crate::DaemonError;
use ring0_engine::control::{Clock, Control, ControlKind};
use ring0_engine::limits::AMOUNT_MAX;
use ring0_engine::record::Outcome;
use ring0_market::{Market, Rate, Risk};
use ring0_rings::Live;
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::IntoBytes;

/// Nanoseconds of a day.
const DAY_NS: u128 = crate::day::DAY_NS as u128;

/// Brings the shard to the market, or makes sure that it is there already; gives how many of the market's commands were sent.
pub(crate) fn bring_up(
    shard: &mut dyn Live,
    market: &Market,
    is_restored: bool,
) -> Result<usize, DaemonError> {
    let taken = shard.shard().header().controls_taken.get();
    let mut commands = vec![clock()];
    commands.extend(market.controls());
    let taken = usize::try_from(taken).unwrap_or(usize::MAX);
    // The last command grants the shard's last session: where that is granted the setup is over, and a file that has grown since changes nothing.
    let own = |index: &u32| market.plan.grants(*index as usize);
    let last = (0..market.plan.sessions.len() as u32).rev().find(own);
    let is_over = last.is_some_and(|last| shard.session(last).is_some());
    let missing = match commands.get(taken..) {
        Some(missing) if !is_over => missing,
        _ => &[],
    };
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
        if !own(&index) {
            continue;
        }
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
    use ring0_engine::control::{
        Deposit, Grant, List, OpenAccount, Route, SetBands, SetLimit, SetRisk, SetSelfTrade,
        SetState,
    };
    let plan = &market.plan;
    let account = |index: u32| plan.accounts[index as usize].name.clone();
    let asset = |index: u32| &plan.assets[index as usize].name;
    let symbol = |index: u32| &plan.instruments[index as usize].symbol;
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
        format!(
            "to list instrument {}",
            symbol(command.body::<List>().instrument)
        )
    } else if kind(ControlKind::Route) {
        format!("the port of {}", symbol(command.body::<Route>().instrument))
    } else if kind(ControlKind::SetBands) {
        format!(
            "the bands of {}",
            symbol(command.body::<SetBands>().instrument)
        )
    } else if kind(ControlKind::SetState) {
        format!(
            "the state of {}",
            symbol(command.body::<SetState>().instrument)
        )
    } else if kind(ControlKind::SetRisk) {
        format!(
            "the risk limits of {}",
            account(command.body::<SetRisk>().account)
        )
    } else if kind(ControlKind::SetSelfTrade) {
        let index = command.body::<SetSelfTrade>().account;
        format!("the self-trade prevention of {}", account(index))
    } else if kind(ControlKind::GrantSession) {
        let index = command.body::<Grant>().session;
        format!("to grant session {}", plan.sessions[index as usize].name)
    } else {
        "the clock".to_owned()
    }
}

/// Checks that the shard is this market: whose sessions it has, and its instruments with the terms that never change while they are
/// listed. What an operator may have changed since is told where it differs: the shard's holds.
fn agree(shard: &dyn Live, market: &Market) -> Result<(), DaemonError> {
    let live = shard.shard();
    let other = |what: String| Err(DaemonError::OtherMarket { what });
    let (acks, planned) = (shard.acks(), market.plan.shard.acks);
    if acks != planned {
        return other(format!(
            "its acks are {} and the file's {}",
            acks.name(),
            planned.name()
        ));
    }
    for (index, id) in (0_u32..).zip(market.session_ids()) {
        let name = &market.plan.sessions[index as usize].name;
        if !market.plan.grants(index as usize) {
            if live.session_id(index).is_some() {
                return other(format!(
                    "session {name} is granted in it and another shard's by the file"
                ));
            }
            continue;
        }
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
    let planned = market.plan.instruments.len() as u32;
    let extra = (planned..market.capacity().instruments)
        .filter(|&index| shard.instrument(index).is_some())
        .count();
    if extra != 0 {
        return other(format!(
            "it has {extra} instruments behind the {planned} of the file"
        ));
    }
    let mut differs = Vec::new();
    for (index, plan) in (0_u32..).zip(&market.plan.instruments) {
        if !market.plan.trades(index as usize) {
            if shard.instrument(index).is_some() {
                return other(format!(
                    "{} is listed in it and another shard's by the file",
                    plan.symbol
                ));
            }
            continue;
        }
        let Some(listed) = shard.instrument(index) else {
            differs.push(format!("{} is not listed", plan.symbol));
            continue;
        };
        let mut symbol = [b' '; 8];
        symbol[..plan.symbol.len()].copy_from_slice(plan.symbol.as_bytes());
        let wanted = [
            u64::from_be_bytes(symbol),
            plan.base_asset.into(),
            plan.quote_asset.into(),
            plan.tick_size.into(),
            plan.lot_size.into(),
            plan.tick_value.into(),
            plan.lot_value,
            plan.lots_max.into(),
            plan.notional_max,
            plan.maker_ppm.cast_unsigned().into(),
            plan.taker_ppm.into(),
        ];
        let found = [
            listed.symbol.get(),
            listed.base_asset.get().into(),
            listed.quote_asset.get().into(),
            listed.tick_size.get().into(),
            listed.lot_size.get().into(),
            listed.tick_value.get().into(),
            listed.lot_value.get(),
            listed.lots_max.get().into(),
            listed.notional_max.get(),
            listed.maker_ppm.get().into(),
            listed.taker_ppm.get().into(),
        ];
        if found != wanted {
            return other(format!(
                "instrument {} is listed with other terms",
                plan.symbol
            ));
        }
        let limits = [
            (plan.ladder_base, &listed.ladder_base),
            (plan.ladder_len, &listed.ladder_len),
            (plan.band.0, &listed.band_low),
            (plan.band.1, &listed.band_high),
            (plan.bands.dynamic_ticks, &listed.dynamic_ticks),
            (plan.bands.fat_ticks, &listed.fat_ticks),
            (plan.bands.pause_ticks, &listed.pause_ticks),
            (plan.bands.reference, &listed.reference),
        ];
        if limits.iter().any(|(wanted, found)| *wanted != found.get()) {
            differs.push(format!("{} has another ladder or other bands", plan.symbol));
        }
    }
    for (index, plan) in (0_u32..).zip(&market.plan.accounts) {
        let Some(open) = shard.account(index) else {
            return other(format!("account {} is not open in it", plan.name));
        };
        let prevention = (plan.self_trade as u32, plan.trade_group.into());
        let wanted = (plan.risk, plan.rate, prevention);
        let risk = Risk {
            orders_max: open.orders_max.get(),
            shares_max: open.shares_max.get(),
            notional_max: open.notional_max.get(),
        };
        let rate = Rate {
            interval_ns: open.interval_ns.get(),
            burst: open.burst.get(),
        };
        let found = (risk, rate, (open.stp.get(), open.group.get()));
        let limit = |asset: u32| {
            let given = plan.limits.iter().find(|(of, _)| *of == asset);
            given.map_or(AMOUNT_MAX, |(_, limit)| *limit)
        };
        let same_limits = (0..market.plan.assets.len() as u32)
            .all(|asset| live.balances(index, asset).3 == limit(asset));
        if wanted != found || !same_limits {
            differs.push(format!(
                "account {} has other limits or another self-trade prevention",
                plan.name
            ));
        }
    }
    for (index, plan) in (0_u32..).zip(&market.plan.sessions) {
        let Some(granted) = shard.session(index) else {
            continue; // seen above
        };
        let risk = Risk {
            orders_max: granted.orders_max.get(),
            shares_max: granted.shares_max.get(),
            notional_max: granted.notional_max.get(),
        };
        let watched = granted.cancel_on_disconnect.get() != 0;
        let rate = Rate {
            interval_ns: granted.interval_ns.get(),
            burst: granted.burst.get(),
        };
        if (risk, rate, granted.expires_ns.get(), watched)
            != (
                plan.risk,
                plan.rate,
                plan.expires_ns,
                plan.cancel_on_disconnect_s != 0,
            )
        {
            differs.push(format!("session {} was granted otherwise", plan.name));
        }
    }
    for what in differs {
        eprintln!("ring0d: the shard is not as the file says, and stays as it is: {what}");
    }
    Ok(())
}
