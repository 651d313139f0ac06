//! A market file against the shard that runs: what differs becomes sequenced commands, or is refused with the way that there is.
//!
//! All of it or nothing: a file of which a part cannot be applied is not what the shard would be. The commands that were taken stay taken should a later one be
//! rejected; said again, what is left is sent.
//! Rule: RULES 29; `docs/operations.md#changes`.

use crate::amount;
use crate::daemon::Daemon;
use crate::instrument::rejected;
use crate::protocol::state_name;
use ring0_engine::control::{
    Control, ControlKind, Deposit, Grant, MoveLadder, OpenAccount, SetBands, SetLimit, SetRisk,
    SetSelfTrade,
};
use ring0_engine::limits::AMOUNT_MAX;
use ring0_engine::record::{Outcome, State};
use ring0_market::{Instrument, Market, Plan, Rate, Risk};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use zerocopy::IntoBytes;

/// How something that differs comes to be as the file says.
enum How {
    /// By these commands, in this order.
    Commands(Vec<Control>),
    /// By this command, whose steps are waited for.
    Steps(MoveLadder),
    /// It is the daemon's own; the shard does not know of it.
    Daemon,
    /// Not while it trades: why, and what to do.
    Refused(String),
}

/// Something that differs.
struct Change {
    what: String,
    from: String,
    to: String,
    how: How,
}

/// What differs, in the order in which it is sent.
#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn add(
        &mut self,
        what: impl Into<String>,
        from: impl Into<String>,
        to: impl Into<String>,
        how: How,
    ) {
        self.0.push(Change {
            what: what.into(),
            from: from.into(),
            to: to.into(),
            how,
        });
    }

    fn refuse(
        &mut self,
        what: impl Into<String>,
        from: impl Into<String>,
        to: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.add(what, from, to, How::Refused(why.into()));
    }
}

impl Daemon {
    /// Compares a market file with the shard and sequences what differs; with `dry_run` only compares.
    pub(crate) fn apply(&mut self, file: &Path, dry_run: bool) -> Result<Value, String> {
        let new = Market::load(&self.own_part(file)).map_err(|error| error.to_string())?;
        if let Some(text) = self.fault_text() {
            return Err(text);
        }
        let mut changes = Changes::default();
        self.compare_shard(&new.plan, &mut changes);
        self.compare_accounts(&new, &mut changes);
        self.compare_instruments(&new.plan, &mut changes);
        self.compare_sessions(&new, &mut changes);
        let refused = |it: &&Change| matches!(it.how, How::Refused(_));
        let refusals = changes.0.iter().filter(refused).count();
        let is_sent = !dry_run && refusals == 0;
        let mut told = Vec::new();
        for change in &changes.0 {
            let (how, why) = match &change.how {
                How::Refused(why) => ("refused", Some(why.as_str())),
                How::Daemon if is_sent => ("taken up", None),
                How::Commands(_) | How::Steps(_) if is_sent => {
                    self.carry_out(change)?;
                    ("sequenced", None)
                }
                _ => ("to be done", None),
            };
            told.push(json!({ "what": change.what, "from": change.from, "to": change.to, "how": how, "why": why }));
        }
        if is_sent {
            self.take_up(new)?;
        }
        let mut answer = json!({
            "ok": true,
            "applied": is_sent,
            "refused": refusals,
            "changes": told,
        });
        if is_sent {
            self.note_durable(&mut answer);
        }
        Ok(answer)
    }

    /// `FILE#SHARD` of a file that is named whole.
    fn own_part(&self, file: &Path) -> PathBuf {
        let is_named = file.to_string_lossy().contains('#') && !file.exists();
        match is_named {
            true => file.to_owned(),
            false => PathBuf::from(format!(
                "{}#{}",
                file.display(),
                self.market.plan.shard.name
            )),
        }
    }

    fn carry_out(&mut self, change: &Change) -> Result<(), String> {
        let fail = |why: String| {
            format!(
                "{}: {why}; what was listed before it is done, apply the file again when it can be",
                change.what
            )
        };
        match &change.how {
            How::Commands(commands) => {
                for command in commands {
                    let results = self
                        .shard
                        .command(&[*command])
                        .map_err(|error| fail(self.fault_text().unwrap_or(error.to_string())))?;
                    if let Some((Outcome::Rejected, reason)) = results.first() {
                        return Err(fail(rejected(*reason)));
                    }
                }
            }
            How::Steps(body) => {
                self.move_ladder_to(body.instrument, body).map_err(fail)?;
            }
            How::Daemon | How::Refused(_) => {}
        }
        Ok(())
    }

    /// Goes on with the new file: names, keys of new sessions, what is no state of the shard.
    fn take_up(&mut self, new: Market) -> Result<(), String> {
        let known = self.market.plan.sessions.len();
        for (index, session) in (0_u32..).zip(new.sessions()).skip(known) {
            if !new.plan.grants(index as usize) {
                continue;
            }
            let bytes = session
                .key()
                .map(|key| <[u8; 16]>::try_from(key.as_bytes()).expect("a key is sixteen bytes"));
            self.shard
                .set_key(index, bytes.as_ref())
                .map_err(|error| error.to_string())?;
            let mut sessions = self.sessions.write().expect("nobody panics with it");
            sessions.insert(index, (session.id(), session.key().cloned()));
        }
        self.accounts_end = self.accounts_end.max(new.plan.accounts.len() as u32);
        self.market = new;
        Ok(())
    }

    /// What belongs to the shard as a whole.
    fn compare_shard(&self, new: &Plan, changes: &mut Changes) {
        let old = &self.market.plan;
        let (was, is) = (&old.shard, &new.shard);
        let start_anew = "it is fixed when the shard is made; write it as it was, or move the shard to one that is made anew (docs/operations.md)";
        for (what, from, to) in [
            ("shard.name", was.name.clone(), is.name.clone()),
            ("shard.port", was.port.to_string(), is.port.to_string()),
            (
                "shard.ring_slots",
                was.ring_slots.to_string(),
                is.ring_slots.to_string(),
            ),
            ("shard.tag", was.tag.to_string(), is.tag.to_string()),
            (
                "shard.acks",
                was.acks.name().to_owned(),
                is.acks.name().to_owned(),
            ),
        ] {
            if from != to {
                changes.refuse(what, from, to, start_anew);
            }
        }
        if was.capacity != is.capacity {
            changes.refuse(
                "shard.capacity",
                format!("{:?}", was.capacity),
                format!("{:?}", is.capacity),
                "write [shard.capacity] as it was made, or move the shard to a larger one: `ring0 ctl migrate FILE`",
            );
        }
        let own = old.number as usize;
        let pairs = old.peers.iter().zip(&new.peers).enumerate();
        let others_differ = pairs
            .into_iter()
            .any(|(at, (was, is))| at != own && was != is);
        if old.peers.len() != new.peers.len() || others_differ {
            changes.refuse(
                "shard",
                format!("{} shards", old.peers.len()),
                format!("{} shards", new.peers.len()),
                "every shard's daemon and all that follow them have to know the same ones; start them with the new file",
            );
        }
        if old.assets != new.assets {
            let names = |plan: &Plan| {
                let all: Vec<&str> = plan.assets.iter().map(|it| it.name.as_str()).collect();
                all.join(", ")
            };
            changes.refuse(
                "asset",
                names(old),
                names(new),
                "balances are counted in the assets as they are; a new one needs a shard that is made with it",
            );
        }
        let names = |plan: &Plan| {
            let all: Vec<&str> = plan.rails.iter().map(|it| it.name.as_str()).collect();
            all.join(", ")
        };
        if new.rails.starts_with(&old.rails) {
            if new.rails != old.rails {
                changes.add("rail", names(old), names(new), How::Daemon);
            }
        } else {
            changes.refuse(
                "rail",
                names(old),
                names(new),
                "a rail's number is its place, and transfers are known by it; leave those that there are and put new ones at the end",
            );
        }
    }

    fn compare_accounts(&self, new: &Market, changes: &mut Changes) {
        let old = &self.market.plan;
        for gone in old.accounts.iter().skip(new.plan.accounts.len()) {
            changes.refuse(
                format!("account {}", gone.name),
                "open",
                "",
                "an account stays; leave it in the file, and `ring0 ctl kill-account` lets it trade no more",
            );
        }
        for (index, account) in (0_u32..).zip(&new.plan.accounts) {
            let name = format!("account {}", account.name);
            match old.accounts.get(index as usize) {
                Some(known) if known.name != account.name => {
                    changes.refuse(
                        format!("account #{index}"),
                        &*known.name,
                        &*account.name,
                        "an account's number is its place: put new ones at the end, and leave names as they are",
                    );
                    continue;
                }
                Some(_) => {}
                None if self.shard.account(index).is_some() => {
                    changes.refuse(
                        name,
                        format!("#{index}, opened at run time"),
                        "",
                        "its place is somebody's account already; open accounts at run time from now on (`ring0 ctl open-account`)",
                    );
                    continue;
                }
                None => {
                    let commands = opening(new, index);
                    changes.add(
                        name,
                        "",
                        format!("open as #{index}"),
                        How::Commands(commands),
                    );
                    continue;
                }
            }
            self.compare_account(&new.plan, index, &name, changes);
        }
    }

    /// An account that both have.
    fn compare_account(&self, new: &Plan, index: u32, name: &str, changes: &mut Changes) {
        let (wanted, places) = (&new.accounts[index as usize], |asset: u32| {
            new.assets[asset as usize].places()
        });
        let Some(open) = self.shard.account(index) else {
            return changes.refuse(
                name,
                "not open",
                "open",
                "the daemon's setup opens it; start it again",
            );
        };
        let risk = Risk {
            orders_max: open.orders_max.get(),
            shares_max: open.shares_max.get(),
            notional_max: open.notional_max.get(),
        };
        let rate = Rate {
            interval_ns: open.interval_ns.get(),
            burst: open.burst.get(),
        };
        if (risk, rate) != (wanted.risk, wanted.rate) {
            let body = SetRisk {
                account: index,
                orders_max: wanted.risk.orders_max,
                shares_max: wanted.risk.shares_max,
                burst: wanted.rate.burst,
                notional_max: wanted.risk.notional_max,
                interval_ns: wanted.rate.interval_ns,
            };
            changes.add(
                format!("{name}: orders_max, shares_max, notional_max, rate"),
                terms(&risk, &rate),
                terms(&wanted.risk, &wanted.rate),
                How::Commands(vec![Control::new(ControlKind::SetRisk, &body)]),
            );
        }
        let (mode, group) = (wanted.self_trade as u32, wanted.trade_group.into());
        if (open.stp.get(), open.group.get()) != (mode, group) {
            let body = SetSelfTrade {
                account: index,
                mode,
                group,
                reserved: 0,
            };
            changes.add(
                format!("{name}: self_trade, trade_group"),
                format!("{}, {}", open.stp.get(), open.group.get()),
                format!("{mode}, {group}"),
                How::Commands(vec![Control::new(ControlKind::SetSelfTrade, &body)]),
            );
        }
        // Settlement sets limits too: one that the file does not give is left as it is.
        for &(asset, limit) in &wanted.limits {
            let found = self.shard.shard().balances(index, asset).3;
            if found != limit {
                let body = SetLimit {
                    account: index,
                    asset,
                    limit,
                };
                let text = |units: u64| match units {
                    AMOUNT_MAX => "no limit".to_owned(),
                    units => amount::text(units.into(), places(asset)),
                };
                changes.add(
                    format!("{name}: limits.{}", new.assets[asset as usize].name),
                    text(found),
                    text(limit),
                    How::Commands(vec![Control::new(ControlKind::SetLimit, &body)]),
                );
            }
        }
    }

    fn compare_instruments(&self, new: &Plan, changes: &mut Changes) {
        let old = &self.market.plan;
        for gone in old.instruments.iter().skip(new.instruments.len()) {
            changes.refuse(
                format!("instrument {}", gone.symbol),
                "in the file",
                "",
                "an instrument's number is its place; leave it in the file, and `ring0 ctl delist` takes it off the market",
            );
        }
        for (index, wanted) in (0_u32..).zip(&new.instruments) {
            let name = format!("instrument {}", wanted.symbol);
            let known = old.instruments.get(index as usize);
            if let Some(known) = known.filter(|it| it.symbol != wanted.symbol) {
                changes.refuse(
                    format!("instrument {index}"),
                    &*known.symbol,
                    &*wanted.symbol,
                    "an instrument's number is its place: put new ones at the end",
                );
                continue;
            }
            if known.is_some_and(|it| it.shard != wanted.shard) {
                changes.refuse(
                    name,
                    "one shard's",
                    "another shard's",
                    "its orders and trades are in the shard that lists it; delist it there and give the other shard a new instrument",
                );
                continue;
            }
            if !new.trades(index as usize) {
                if known.is_none() {
                    changes.refuse(
                        name,
                        "",
                        "another shard's",
                        "this shard's program has to know its port; start the daemons with the new file",
                    );
                }
                continue;
            }
            if self.shard.instrument(index).is_some() {
                self.compare_instrument(index, wanted, &name, changes);
                continue;
            }
            let listing = wanted.controls(index);
            let commands = [Some(listing.list), listing.bands, listing.state];
            changes.add(
                name,
                "not listed",
                format!("listed, {}", state_name(wanted.state)),
                How::Commands(commands.into_iter().flatten().collect()),
            );
        }
    }

    /// An instrument that is listed.
    fn compare_instrument(
        &self,
        index: u32,
        wanted: &Instrument,
        name: &str,
        changes: &mut Changes,
    ) {
        let Some(listed) = self.shard.instrument(index) else {
            return;
        };
        let fixed: [(&str, u64, u64); 10] = [
            (
                "base",
                listed.base_asset.get().into(),
                wanted.base_asset.into(),
            ),
            (
                "quote",
                listed.quote_asset.get().into(),
                wanted.quote_asset.into(),
            ),
            (
                "tick_size",
                listed.tick_size.get().into(),
                wanted.tick_size.into(),
            ),
            (
                "lot_size",
                listed.lot_size.get().into(),
                wanted.lot_size.into(),
            ),
            (
                "tick_value",
                listed.tick_value.get().into(),
                wanted.tick_value.into(),
            ),
            ("lot_value", listed.lot_value.get(), wanted.lot_value),
            (
                "lots_max",
                listed.lots_max.get().into(),
                wanted.lots_max.into(),
            ),
            (
                "notional_max",
                listed.notional_max.get(),
                wanted.notional_max,
            ),
            (
                "maker_ppm",
                listed.maker_ppm.get().into(),
                wanted.maker_ppm.cast_unsigned().into(),
            ),
            (
                "taker_ppm",
                listed.taker_ppm.get().into(),
                wanted.taker_ppm.into(),
            ),
        ];
        for (key, from, to) in fixed.into_iter().filter(|(_, from, to)| from != to) {
            let text = |value: u64| match key {
                "maker_ppm" => (value as u32).cast_signed().to_string(),
                _ => value.to_string(),
            };
            changes.refuse(
                format!("{name}: {key}"),
                text(from),
                text(to),
                format!(
                    "live orders hold what it came to when they were entered; `ring0 ctl close-day {0}`, `ring0 ctl delist {0}` (its orders go), and apply the file again, which lists it anew",
                    wanted.symbol
                ),
            );
        }
        let state = self.market_state(index);
        let is_still = matches!(state, Some(State::Closed | State::Halted));
        let only_still = || {
            How::Refused(format!(
                "only while it is closed or halted, and it is {}; `ring0 ctl halt {1}`, apply the file again, `ring0 ctl resume {1}`",
                state.map_or("not listed", state_name),
                wanted.symbol
            ))
        };
        let ladder = (listed.ladder_base.get(), listed.ladder_len.get());
        if ladder != (wanted.ladder_base, wanted.ladder_len) {
            let how = match is_still {
                true => How::Steps(MoveLadder {
                    instrument: index,
                    ladder_base: wanted.ladder_base,
                    ladder_len: wanted.ladder_len,
                    reserved: 0,
                }),
                false => only_still(),
            };
            changes.add(
                format!("{name}: ladder_base, ladder_len (orders off the new ladder go)"),
                format!("{}, {}", ladder.0, ladder.1),
                format!("{}, {}", wanted.ladder_base, wanted.ladder_len),
                how,
            );
        }
        let bands = wanted.bands;
        let found = [
            listed.band_low.get(),
            listed.band_high.get(),
            listed.dynamic_ticks.get(),
            listed.fat_ticks.get(),
            listed.pause_ticks.get(),
            listed.reference.get(),
        ];
        let (band_low, band_high) = wanted.band;
        let given = [
            band_low,
            band_high,
            bands.dynamic_ticks,
            bands.fat_ticks,
            bands.pause_ticks,
            bands.reference,
        ];
        if found != given {
            let body = SetBands {
                instrument: index,
                band_low,
                band_high,
                dynamic_ticks: bands.dynamic_ticks,
                fat_ticks: bands.fat_ticks,
                pause_ticks: bands.pause_ticks,
                reference: bands.reference,
                reserved: 0,
            };
            let how = match is_still {
                true => How::Commands(vec![Control::new(ControlKind::SetBands, &body)]),
                false => only_still(),
            };
            changes.add(
                format!("{name}: band, dynamic_ticks, fat_ticks, pause_ticks, reference"),
                list(&found),
                list(&given),
                how,
            );
        }
    }

    fn compare_sessions(&self, new: &Market, changes: &mut Changes) {
        let old = &self.market.plan;
        for gone in old.sessions.iter().skip(new.plan.sessions.len()) {
            changes.refuse(
                format!("session {}", gone.name),
                "granted",
                "",
                "a session's number is its place; leave it in the file, and `ring0 ctl kill` lets it trade no more",
            );
        }
        let ids = new.session_ids();
        for (index, wanted) in (0_u32..).zip(&new.plan.sessions) {
            let name = format!("session {}", wanted.name);
            let Some(known) = old.sessions.get(index as usize) else {
                self.new_session(new, index, name, changes);
                continue;
            };
            let is_own = new.plan.grants(index as usize);
            let same_place = known.name == wanted.name && known.shard == wanted.shard;
            let same_key =
                !is_own || self.shard.shard().session_id(index) == Some(ids[index as usize]);
            if !same_place || !same_key {
                changes.refuse(
                    format!("session #{index}"),
                    &*known.name,
                    format!("{} ({})", wanted.name, ids[index as usize]),
                    "a session's number is its place and its key is its owner's; put new ones at the end, and `ring0 ctl kill` the old one",
                );
                continue;
            }
            // Seconds of silence are counted by the daemon; whether they are is a term of the grant.
            let fixed = |it: &ring0_market::SessionPlan| {
                (
                    it.account,
                    (it.answers, it.references),
                    terms(&it.risk, &it.rate),
                    it.expires_ns,
                    it.cancel_on_disconnect_s != 0,
                )
            };
            if fixed(known) != fixed(wanted) {
                changes.refuse(
                    format!("{name}: its terms"),
                    terms(&known.risk, &known.rate),
                    terms(&wanted.risk, &wanted.rate),
                    "a granted session keeps its account, limits, rate and end; add another one at the end of the file, or limit its account (`ring0 ctl risk`)",
                );
            } else if known.cancel_on_disconnect_s != wanted.cancel_on_disconnect_s {
                changes.add(
                    format!("{name}: cancel_on_disconnect"),
                    known.cancel_on_disconnect_s.to_string(),
                    wanted.cancel_on_disconnect_s.to_string(),
                    How::Daemon,
                );
            }
        }
    }

    fn new_session(&self, new: &Market, index: u32, name: String, changes: &mut Changes) {
        if !new.plan.grants(index as usize) {
            return changes.add(name, "", "granted by its own shard", How::Daemon);
        }
        if self.shard.session(index).is_some() {
            return changes.refuse(
                name,
                format!("#{index}, granted at run time"),
                "",
                "its place is somebody's session; revoke that one (`ring0 ctl revoke`), or grant this one at run time too",
            );
        }
        let is_its = |it: &Control| {
            it.kind == ControlKind::GrantSession as u32 && it.body::<Grant>().session == index
        };
        let grant = new.controls().into_iter().filter(is_its).collect();
        changes.add(
            name,
            "",
            format!("granted as #{index}"),
            How::Commands(grant),
        );
    }
}

/// What opens an account of the file with all that the file gives it.
fn opening(new: &Market, index: u32) -> Vec<Control> {
    let is_its = |it: &Control| {
        let kind = |kind: ControlKind| it.kind == kind as u32;
        (kind(ControlKind::OpenAccount) && it.body::<OpenAccount>().account == index)
            || (kind(ControlKind::SetRisk) && it.body::<SetRisk>().account == index)
            || (kind(ControlKind::SetSelfTrade) && it.body::<SetSelfTrade>().account == index)
            || (kind(ControlKind::SetLimit) && it.body::<SetLimit>().account == index)
            || (kind(ControlKind::Deposit) && it.body::<Deposit>().account == index)
    };
    new.controls().into_iter().filter(is_its).collect()
}

fn list(numbers: &[u32]) -> String {
    let all: Vec<String> = numbers.iter().map(u32::to_string).collect();
    all.join(", ")
}

/// Limits of orders and a rate, for people.
fn terms(risk: &Risk, rate: &Rate) -> String {
    let limit = |value: u64| match value {
        0 => "none".to_owned(),
        value => value.to_string(),
    };
    let per = match rate.interval_ns {
        0 => "none".to_owned(),
        interval => format!("a message every {interval} ns, {} at once", rate.burst),
    };
    format!(
        "{}, {}, {}, {per}",
        limit(risk.orders_max.into()),
        limit(risk.shares_max.into()),
        limit(risk.notional_max)
    )
}
