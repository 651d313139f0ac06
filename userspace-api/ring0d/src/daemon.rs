//! The one thread that owns the shard: it carries out requests, steps continuations on a quiet market, and watches.

use crate::answers::Answers;
use crate::clock::{self, Clock};
use crate::door::Door;
use crate::duty::Duties;
use crate::grants::{Grants, Sessions};
use crate::home::{self, Home};
use crate::instrument::{Limits, rejected};
use crate::protocol::state_name;
use crate::server::{Asked, listen};
use crate::steady::steady;
use crate::transfers::Transfers;
use crate::watch::Watch;
use crate::{Args, DaemonError, Request, amount, end_with_parent, metrics, setup, stop_flag};
use ring0_abi::command;
use ring0_engine::control::{
    Body, Control, ControlKind, Deposit, Empty, SetLimit, SetRisk, SetSelfTrade, Target,
};
use ring0_engine::limits::AMOUNT_MAX;
use ring0_engine::record::{Outcome, State};
use ring0_market::{Market, Rate};
use ring0_mq::Sole;
use ring0_rings::{Acks, Delivered, Live, RingError};
use ring0_socket::refusal;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often a shard is looked at while continuations are pending, and while none are. With packets coming in the
/// program steps by itself; a quiet market waits this long for its next four steps.
const TICK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How long an operator's answer waits for the journal of a shard whose acks are durable; then it says that it did not come.
const DURABLE_WAIT: Duration = Duration::from_secs(1);

/// Requests and packets that are heard before the shard is looked at again.
const BURST: usize = 64;

/// A session's status while it is killed.
const KILLED: u32 = 2;

/// The daemon, between two requests.
pub(crate) struct Daemon {
    pub(crate) market: Market,
    pub(crate) shard: Box<dyn Live>,
    pub(crate) home: Home,
    pub(crate) watch: Watch,
    /// Sessions granted at run time, where they may be.
    pub(crate) grants: Option<Grants>,
    /// Every session that may be answered.
    pub(crate) sessions: Sessions,
    /// One more than the highest number of an account that is open.
    pub(crate) accounts_end: u32,
    /// What sends held answers, where the shard holds them.
    pub(crate) answers: Option<Answers>,
    pub(crate) clock: Clock,
    pub(crate) duties: Duties,
    /// Trades taken back since it was started.
    pub(crate) busted: HashSet<u64>,
    pub(crate) transfers: Transfers,
    /// Whether the shard's fault was told.
    told: bool,
}

/// Runs until SIGTERM, SIGINT or the end of the seconds given.
///
/// # Errors
/// It could not start; what is pinned already is as it was.
pub fn run(args: &Args) -> Result<(), DaemonError> {
    if args.with_parent {
        end_with_parent();
    }
    let stop = stop_flag();
    let end = args
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let market = Market::load(&args.market)?;
    let (calls, requests) = channel();
    // First: an address that is taken changes nothing.
    let metrics = match args.metrics {
        Some(address) => Some(metrics::serve(address, calls.clone())?),
        None => None,
    };
    let (home, shard) = home::find(args, &market)?;
    let _sole = match &home {
        Home::Kernel { pinned, .. } => Some(Sole::take("daemon", pinned.records_id())?),
        Home::Thread { .. } => None, // its ring's file has one producer
    };
    if let Home::Kernel { pinned, .. } = &home {
        // What a dead daemon wrote and did not ring for must not act now.
        let taken = shard.shard().header().controls_taken.get();
        let commands = pinned.map_commands()?;
        commands.word(command::HEAD).store(taken, Ordering::Release);
    }
    let mut daemon = Daemon {
        market,
        shard,
        watch: Watch::new(home.records()?),
        home,
        grants: args.grants.as_deref().map(Grants::open).transpose()?,
        sessions: Sessions::default(),
        accounts_end: 0,
        answers: None,
        clock: Clock::new(
            match &args.clock_file {
                Some(file) => Box::new(clock::File(file.clone())),
                None => Box::new(clock::Kernel),
            },
            args.clock_error_ms,
        ),
        duties: Duties::new(),
        busted: HashSet::new(),
        transfers: Transfers::new(args.sockets.clone()),
        told: false,
    };
    let sent = setup::bring_up(&mut *daemon.shard, &daemon.market, args.restore.is_some())?;

    daemon.know_accounts();
    daemon.know_sessions();
    daemon.restore_grants().map_err(DaemonError::Grants)?;
    if daemon.market.plan.shard.acks == Acks::Durable {
        let sessions = daemon.sessions.clone();
        daemon.answers = Some(Answers::start(&daemon.home, &daemon.market, sessions)?);
    }

    let socket = args.socket.clone().unwrap_or_else(|| {
        let name = format!("{}.sock", daemon.market.plan.shard.name);
        args.sockets.join(name)
    });
    let server = listen(&socket, calls.clone())?;
    let door = match args.door {
        true => Some(Door::open(
            &socket.with_extension("door"),
            args.door_group,
            calls,
        )?),
        false => None,
    };
    eprintln!(
        "ring0d: {} {} in the {} ring{}, UDP port {}, {sent} commands sent; operator's socket {}",
        daemon.home.found(args.restore.is_some()),
        daemon.market.plan.shard.name,
        args.ring.name(),
        match &args.interface {
            Some(interface) => format!(" on {interface}"),
            None => String::new(),
        },
        daemon.market.plan.shard.port,
        socket.display()
    );
    while !stop.load(Ordering::Acquire) && end.is_none_or(|end| Instant::now() < end) {
        daemon.turn(&requests);
        if let Some(cause) = daemon.shard.failure() {
            let port = args.ring.name();
            return Err(RingError::Ended { port, cause }.into());
        }
    }
    drop((server, door, metrics));
    if args.unload {
        daemon.home.remove()?;
    } else {
        eprintln!("ring0d: ended; {}", daemon.home.farewell());
    }
    Ok(())
}

impl Daemon {
    /// Waits for requests for a tick at the most, carries them out, steps and looks.
    fn turn(&mut self, requests: &Receiver<Asked>) {
        let pending = self.pending();
        let tick = if pending { TICK.0 } else { TICK.1 };
        match requests.recv_timeout(tick) {
            Ok(asked) => {
                self.hear(asked);
                // Packets come in bursts, and what follows looks at the whole shard.
                for _ in 0..BURST {
                    match requests.try_recv() {
                        Ok(asked) => self.hear(asked),
                        Err(_) => break,
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The accepting thread never ends.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(tick),
        }
        if self.pending()
            && let Err(error) = self.shard.ring_doorbell()
        {
            eprintln!("ring0d: the doorbell failed: {error}");
        }
        self.do_duties();
        self.carry_transfers();
        self.watch.look();
        if !self.told
            && let Some(text) = self.fault_text()
        {
            self.told = true;
            eprintln!("ring0d: FAULT: {text}");
        }
    }

    fn hear(&mut self, asked: Asked) {
        match asked {
            Asked::Verb(call) => {
                let answer = self
                    .answer(&call.request)
                    .unwrap_or_else(|error| refusal(&error));
                let _ = call.answer.send(answer); // the client has gone
            }
            Asked::Packets { packets, answer } => match self.deliver(&packets) {
                Ok(delivered) => {
                    let _ = answer.send(delivered); // the client has gone
                }
                // Their sender is told to send them again, when the answer's other end is dropped.
                Err(error) => eprintln!("ring0d: packets of the door were not taken: {error}"),
            },
        }
    }

    /// Has the shard take the door's packets; those whose records are not on the disk yet stay held without a look.
    fn deliver(&mut self, packets: &[(Arc<[u8]>, u64)]) -> Result<Vec<Delivered>, RingError> {
        let durable = self.shard.durable();
        let is_due = |until: u64| until <= durable;
        let due = packets.iter().filter(|(_, until)| is_due(*until));
        let due: Vec<Arc<[u8]>> = due.map(|(packet, _)| Arc::clone(packet)).collect();
        let mut delivered = match due.is_empty() {
            true => Vec::new(),
            false => self.shard.deliver(&due)?,
        }
        .into_iter();
        let outcome = |until: u64| match is_due(until) {
            true => delivered.next().unwrap_or(Delivered::Dropped),
            false => Delivered::Held { until },
        };
        Ok(packets
            .iter()
            .map(|(_, until)| *until)
            .map(outcome)
            .collect())
    }

    /// Finds the accounts that are open.
    fn know_accounts(&mut self) {
        let open = |account: &u32| self.shard.account(*account).is_some();
        let last = (0..self.market.capacity().accounts).rev().find(open);
        self.accounts_end = last.map_or(0, |last| last + 1);
        self.transfers
            .begin((0..self.accounts_end).filter(|account| {
                let one = self.shard.transfers(*account);
                one.is_some_and(|one| one.amount.get() != 0)
            }));
    }

    /// The sessions of the market file, for those who sign answers.
    fn know_sessions(&mut self) {
        let known = (0_u32..).zip(self.market.sessions());
        let known = known.filter(|(index, _)| self.market.plan.grants(*index as usize));
        let known = known.map(|(index, one)| (index, (one.id(), one.key().cloned())));
        *self.sessions.write().expect("nobody panics with it") = known.collect();
    }

    /// An account's name in answers.
    pub(crate) fn account_name(&self, account: u32) -> String {
        let named = self.market.plan.accounts.get(account as usize);
        named.map_or_else(|| format!("#{account}"), |one| one.name.clone())
    }

    /// Whether continuations wait that a doorbell would step.
    fn pending(&self) -> bool {
        let header = self.shard.shard().header();
        header.pending_count.get() != 0 && header.halted.get() == 0 && header.broken.get() == 0
    }

    pub(crate) fn fault_text(&self) -> Option<String> {
        let (fault, sequence) = self.shard.shard().broken()?;
        let name = fault.map_or_else(
            || "of unknown number".to_owned(),
            |fault| format!("{fault:?}"),
        );
        Some(format!(
            "the shard stopped by fault {name} in command {sequence}; it matches nothing any more. Keep the recording, \
             `xdp-loader unload`, and report it with the records around that sequence"
        ))
    }

    fn answer(&mut self, request: &Request) -> Result<Value, String> {
        match request {
            Request::Deposit {
                account,
                asset,
                amount,
            } => self.amount_command(ControlKind::Deposit, account, asset, amount),
            Request::Withdraw {
                account,
                asset,
                amount,
            } => self.amount_command(ControlKind::Withdraw, account, asset, amount),
            Request::Transfer {
                account,
                asset,
                amount,
                to,
                number,
            } => self.transfer(account, asset, amount, to, *number),
            Request::Credit {
                account,
                asset,
                units,
                number,
                from,
            } => self.credit(account, asset, *units, *number, from),
            Request::OpenAccount { account } => self.open_account(account),
            Request::Grant(grant) => self.grant(grant),
            Request::Revoke { session, id } => self.revoke(session, id),
            Request::RenewAgreement => self.renew_agreement(),
            Request::Marks { epoch, marks } => self.marks(*epoch, marks),
            Request::Limits { limits } => self.limits(limits),
            Request::HaltAsset { asset } => self.halt_asset(asset),
            Request::Limit {
                account,
                asset,
                amount,
            } => {
                let account = self.account(account)?;
                let (asset, places) = self.asset(asset)?;
                let limit = match amount {
                    Some(text) => amount::units(text, places)?,
                    None => AMOUNT_MAX,
                };
                self.control(
                    ControlKind::SetLimit,
                    &SetLimit {
                        account,
                        asset,
                        limit,
                    },
                )
            }
            Request::Risk {
                account,
                orders,
                shares,
                notional,
                rate,
            } => {
                let rate = match *rate {
                    Some((per_second, burst)) => Rate::new(per_second, burst)
                        .map_err(|error| format!("rate: {error}; {}", error.fix()))?,
                    None => Rate::default(),
                };
                let notional_max = match notional {
                    Some((asset, amount)) => amount::units(amount, self.asset(asset)?.1)?,
                    None => 0,
                };
                self.control(
                    ControlKind::SetRisk,
                    &SetRisk {
                        account: self.account(account)?,
                        orders_max: orders.unwrap_or(0),
                        shares_max: shares.unwrap_or(0),
                        burst: rate.burst,
                        notional_max,
                        interval_ns: rate.interval_ns,
                    },
                )
            }
            Request::SelfTrade {
                account,
                mode,
                group,
            } => self.control(
                ControlKind::SetSelfTrade,
                &SetSelfTrade {
                    account: self.account(account)?,
                    mode: mode.meaning(),
                    group: (*group).into(),
                    reserved: 0,
                },
            ),
            Request::Halt { instrument } => match instrument {
                Some(symbol) => self.set_state(self.instrument(symbol)?, State::Halted),
                None => self.control(ControlKind::HaltShard, &Empty {}),
            },
            Request::Resume { instrument } => match instrument {
                Some(symbol) => self.set_state(self.instrument(symbol)?, State::Continuous),
                None => self.control(ControlKind::ResumeShard, &Empty {}),
            },
            Request::Kill { session } => {
                self.target(ControlKind::KillSession, self.session(session)?)
            }
            Request::Revive { session } => {
                self.target(ControlKind::ReviveSession, self.session(session)?)
            }
            Request::KillAccount { account } => {
                self.target(ControlKind::KillAccount, self.account(account)?)
            }
            Request::ReviveAccount { account } => {
                self.target(ControlKind::ReviveAccount, self.account(account)?)
            }
            Request::State { instrument, state } => {
                self.set_state(self.instrument(instrument)?, state.meaning())
            }
            Request::Auction {
                instrument,
                then,
                price,
            } => self.auction(self.instrument(instrument)?, *then, price.as_deref()),
            Request::Bands {
                instrument,
                band,
                dynamic,
                fat,
                pause,
                reference,
            } => self.bands(
                self.instrument(instrument)?,
                &Limits {
                    band: band.as_ref(),
                    dynamic: *dynamic,
                    fat: *fat,
                    pause: *pause,
                    reference: reference.as_deref(),
                },
            ),
            Request::Clear { instrument, side } => self.clear(self.instrument(instrument)?, *side),
            Request::CloseDay { instrument } => self.close_day(instrument.as_deref()),
            Request::OpenDay {
                day,
                midnight,
                feed_session,
            } => self.open_day(*day, midnight.as_deref(), feed_session.as_deref()),
            Request::Delist { instrument } => self.delist(self.instrument(instrument)?),
            Request::List { instrument } => self.list(instrument),
            Request::MoveLadder {
                instrument,
                lowest,
                prices,
            } => self.move_ladder(self.instrument(instrument)?, lowest, *prices),
            Request::Bust { trade, terms } => self.bust(*trade, terms.as_ref()),
            Request::Migrate {
                market,
                journal,
                object,
            } => self.migrate(market, journal.as_deref(), object.as_deref()),
            Request::Apply { market, dry_run } => self.apply(market, *dry_run),
            Request::Status { hash } => self.status(*hash),
            Request::Accounts => Ok(self.accounts()),
            Request::Metrics => self
                .metrics()
                .map(|text| json!({ "ok": true, "text": text })),
        }
    }

    fn amount_command(
        &mut self,
        kind: ControlKind,
        account: &str,
        asset: &str,
        amount: &str,
    ) -> Result<Value, String> {
        let account = self.account(account)?;
        let (asset, places) = self.asset(asset)?;
        let amount = amount::units(amount, places)?;
        self.control(
            kind,
            &Deposit {
                account,
                asset,
                amount,
            },
        )
    }

    fn target(&mut self, kind: ControlKind, index: u32) -> Result<Value, String> {
        self.control(kind, &Target { index, reserved: 0 })
    }

    pub(crate) fn control<B: Body>(
        &mut self,
        kind: ControlKind,
        body: &B,
    ) -> Result<Value, String> {
        let begun = Instant::now();
        let results = self.shard.command(&[Control::new(kind, body)]);
        let took_ns = begun.elapsed().as_nanos() as u64;
        let results = results.map_err(|error| self.fault_text().unwrap_or(error.to_string()))?;
        let outcome = match results.first() {
            Some((Outcome::Accepted, _)) => "accepted",
            Some((Outcome::Continues, _)) => "continues",
            Some((_, reason)) => return Err(rejected(*reason)),
            None => return Err("the shard took the command, but its record was overrun before it was read; look at `ring0 ctl accounts`".to_owned()),
        };
        let mut answer = json!({ "ok": true, "outcome": outcome, "took_ns": took_ns });
        self.note_durable(&mut answer);
        Ok(answer)
    }

    /// On a shard whose acks are durable the answer says whether everything up to it is on the disk.
    pub(crate) fn note_durable(&self, answer: &mut Value) {
        if self.market.plan.shard.acks == Acks::Durable {
            answer["durable"] = self.await_durable().into();
        }
    }

    /// Whether everything recorded so far comes to be on the journal's disk within an operator's patience.
    fn await_durable(&self) -> bool {
        let recorded = self.shard.shard().header().next_sequence.get() - 1;
        let end = Instant::now() + DURABLE_WAIT;
        while self.shard.durable() < recorded {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        true
    }

    /// The number of an account by its name, or by its number behind `#`.
    pub(crate) fn account(&self, name: &str) -> Result<u32, String> {
        if let Some(digits) = name.strip_prefix('#') {
            let (number, end) = (digits.parse(), self.market.capacity().accounts);
            return number.ok().filter(|it| *it < end).ok_or_else(|| {
                format!("{name:?} is no account; numbers go from #0 to #{}", end - 1)
            });
        }
        let accounts = &self.market.plan.accounts;
        index(
            accounts.iter().map(|one| one.name.as_str()),
            "account",
            name,
        )
    }

    /// Index and decimal places.
    pub(crate) fn asset(&self, name: &str) -> Result<(u32, u32), String> {
        let assets = &self.market.plan.assets;
        let at = index(assets.iter().map(|one| one.name.as_str()), "asset", name)?;
        Ok((at, assets[at as usize].places()))
    }

    pub(crate) fn instrument(&self, symbol: &str) -> Result<u32, String> {
        let instruments = &self.market.plan.instruments;
        index(
            instruments.iter().map(|one| one.symbol.as_str()),
            "instrument",
            symbol,
        )
    }

    fn session(&self, name: &str) -> Result<u32, String> {
        let plan = &self.market.plan;
        let names = plan.sessions.iter().map(|one| one.name.as_str());
        let at = index(names, "session", name)?;
        if !plan.grants(at as usize) {
            let peer = &plan.peers[plan.sessions[at as usize].shard as usize];
            return Err(format!(
                "session {name:?} is of shard {}; say it to that one's daemon",
                peer.name
            ));
        }
        Ok(at)
    }

    fn status(&mut self, hash: bool) -> Result<Value, String> {
        let hash = if hash { Some(self.quiet_hash()?) } else { None };
        let live = self.shard.shard();
        let header = live.header();
        let fault = live.broken().map(|(fault, sequence)| {
            json!({
                "name": fault.map(|fault| format!("{fault:?}")),
                "number": header.broken.get(),
                "command": sequence,
            })
        });
        let mut sessions: Vec<Value> = (0_u32..)
            .zip(&self.market.plan.sessions)
            .filter(|(index, _)| self.market.plan.grants(*index as usize))
            .map(|(index, plan)| {
                let session = self.shard.session(index);
                json!({
                    "name": plan.name,
                    "expected": live.expected_sequence(index),
                    "orders": session.map(|one| one.orders_live.get()),
                    "killed": session.map(|one| one.status.get() == KILLED),
                })
            })
            .collect();
        let granted = self.grants.iter().flat_map(Grants::all);
        sessions.extend(granted.map(|(index, id, account, is_revoked)| {
            let session = self.shard.session(index);
            json!({
                "name": format!("#{index}"),
                "id": id,
                "account": self.account_name(account),
                "expected": live.expected_sequence(index),
                "orders": session.map(|one| one.orders_live.get()),
                "killed": session.map(|one| one.status.get() == KILLED),
                "revoked": is_revoked,
            })
        }));
        let instruments: Vec<Value> = (0_u32..)
            .zip(&self.market.plan.instruments)
            .map(|(index, plan)| {
                let Some(listed) = self.shard.instrument(index) else {
                    if !self.market.plan.trades(index as usize) {
                        let peer = &self.market.plan.peers[plan.shard as usize];
                        return json!({ "symbol": plan.symbol, "locate": index + 1, "state": "traded by another shard", "shard": peer.name, "port": peer.port });
                    }
                    return json!({ "symbol": plan.symbol, "locate": index + 1, "state": "not listed" });
                };
                let wire = |ticks: u32| (ticks != 0).then(|| ticks * listed.tick_size.get());
                let best = |side| {
                    let best = steady(&*self.shard, |shard| shard.depth(index, side, 1))?;
                    wire(best.first()?.price)
                };
                json!({
                    "symbol": plan.symbol,
                    "locate": index + 1,
                    "state": self.market_state(index).map(state_name),
                    "bid": best(b'B'),
                    "ask": best(b'S'),
                    "last": wire(listed.last.get()),
                    "auction": wire(listed.auction.get()),
                    "reference": wire(listed.reference.get()),
                    "frozen": listed.work.get() != 0,
                })
            })
            .collect();
        let counters: serde_json::Map<String, Value> = (0_u32..)
            .zip(self.shard.counters().map_err(|error| error.to_string())?)
            .filter(|(_, sum)| *sum != 0)
            .filter_map(|(number, sum)| {
                let (prefix, name) = ring0_abi::counter_name(number)?;
                Some((format!("{prefix}{name}"), sum.into()))
            })
            .collect();
        let port_counters: serde_json::Map<String, Value> = self
            .shard
            .port_counters()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        let live = self.shard.shard();
        let header = live.header();
        let plan = &self.market.plan.shard;
        let mut status = json!({
            "ok": true,
            "shard": plan.name,
            "port": plan.port,
            "tag": plan.tag,
            "acks": plan.acks.name(),
            "journal_failed": self.shard.journal_failed(),
            "durable": (plan.acks == Acks::Durable).then(|| self.shard.durable()),
            "answers": self.answers.as_ref().map(Answers::status),
            "halted": header.halted.get() != 0,
            "fault": fault,
            "time_ns": header.time_ns.get(),
            "clock_doubt": self.clock.doubt(),
            "day": header.day.get(),
            "midnight_ns": header.midnight_ns.get(),
            "next_sequence": header.next_sequence.get(),
            "orders_live": header.orders_live.get(),
            "pending": header.pending_count.get(),
            "ring": self.watch.status(),
            "sessions": sessions,
            "instruments": instruments,
            "counters": counters,
            "port_counters": port_counters,
            "state_hash": hash,
        });
        if let (Value::Object(status), Value::Object(home)) = (&mut status, self.home.status()) {
            status.extend(home);
        }
        Ok(status)
    }

    /// The state's hash, if nothing was carried out meanwhile.
    fn quiet_hash(&self) -> Result<String, String> {
        let next = || self.shard.shard().header().next_sequence.get();
        let busy = || "orders are coming in; halt the shard first (`ring0 ctl halt`)".to_owned();
        let before = next();
        std::thread::sleep(Duration::from_millis(5));
        if next() != before {
            return Err(busy());
        }
        let hash = self.shard.shard().state_hash();
        if next() != before {
            return Err(busy());
        }
        Ok(hash.0.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn accounts(&self) -> Value {
        let live = self.shard.shard();
        let plan = &self.market.plan;
        let accounts: Vec<Value> = (0..self.accounts_end)
            .filter(|account| {
                let is_named = (*account as usize) < plan.accounts.len();
                is_named || self.shard.account(*account).is_some()
            })
            .map(|account| {
                let balances: serde_json::Map<String, Value> = (0_u32..)
                    .zip(&plan.assets)
                    .map(|(asset, kind)| {
                        let (available, held, outflow, limit) = live.balances(account, asset);
                        let text = |units: i128| amount::text(units, kind.places());
                        let limit = (limit != AMOUNT_MAX).then(|| text(limit.into()));
                        let balance = json!({
                            "available": text(available.into()),
                            "held": text(held.into()),
                            "outflow": text(outflow.into()),
                            "limit": limit,
                        });
                        (kind.name.clone(), balance)
                    })
                    .collect();
                let listed = self.shard.account(account);
                json!({
                    "name": self.account_name(account),
                    "number": account,
                    "killed": listed.map(|it| it.killed.get() != 0),
                    "orders": listed.map(|it| it.orders_live.get()),
                    "balances": balances,
                    "in_flight": self.in_flight(account),
                    "transfers": self.shard.transfers(account).map(|one| one.number.get()),
                })
            })
            .collect();
        json!({ "ok": true, "accounts": accounts })
    }
}

/// The place of a name among the names, or which there are.
pub(crate) fn index<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    what: &str,
    name: &str,
) -> Result<u32, String> {
    match names.clone().position(|one| one == name) {
        Some(index) => Ok(index as u32),
        None => {
            let known: Vec<&str> = names.take(16).collect();
            Err(format!(
                "there is no {what} {name:?}; name one of: {}",
                known.join(", ")
            ))
        }
    }
}
