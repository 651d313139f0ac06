//! Batches at the desk: cuts, states, reconciliation, publication, co-signatures, marks and limits.

use super::*;
use ring0_channels::life::Refused;
use std::cell::{Cell, RefCell};

/// What a cut comes to.
pub(super) struct States {
    /// Of every channel.
    states: Vec<State>,
    /// One that has to be new could not be, because the pinned block is too old (CUSTODY 9).
    is_stale: bool,
    /// By hub and token, base units: what the ledger has of channels that their owners are leaving by the chain, less what they keep in the tree.
    left_out: BTreeMap<(u32, Address), i128>,
}

impl Desk {
    /// Decides the next step of the batch.
    pub(super) fn batch(&mut self) -> Result<(), DeskError> {
        match self.book.protocol.next() {
            Next::Cut(epoch) => self.cut(epoch),
            Next::Collect(epoch) => {
                let over = self
                    .published_at
                    .is_some_and(|at| at.elapsed() >= self.config.batches.cosign);
                if self.book.protocol.all_signed() || over {
                    self.write(Entry::Closed { epoch })?;
                    self.numbers.lagging(self.book.protocol.lagging().count());
                }
                Ok(())
            }
            // The ledger or the signer is at work.
            Next::Record(_) | Next::Sign { .. } => Ok(()),
        }
    }

    pub(super) fn cut(&mut self, epoch: u64) -> Result<(), DeskError> {
        let batches = &self.config.batches;
        let due = self.cut_now
            || self.last_cut.elapsed() >= batches.period
            || self.records.saturating_sub(self.records_at_cut) >= batches.records;
        // The ledger has every fact: what the chain had confirmed is in the cut.
        if !due || self.taken < self.book.facts {
            return Ok(());
        }
        let pins: Vec<_> = self.book.hubs.iter().map(|it| it.lives.pin()).collect();
        let unpinned = self.book.hubs.iter().zip(&pins).any(|(hub, pin)| {
            pin.is_none() && hub.channels.values().any(|it| it.account.is_some())
        });
        let any = self.book.hubs.iter().any(|hub| {
            hub.channels
                .values()
                .any(|it| it.account.is_some() && !it.ended)
        });
        let mut holds = BTreeMap::new();
        for (place, hub) in (0_u32..).zip(&self.config.hubs) {
            for token in &hub.tokens {
                let of = (place, token.token);
                let Some(held) = self.holds.get(&of) else {
                    return Ok(()); // the chain's thread has not looked yet
                };
                holds.insert(of, (*held, self.book.nobodys(place, token.token)));
            }
        }
        if unpinned || !any {
            return Ok(());
        }
        self.cut_holds = holds;
        self.cut_now = false;
        self.last_cut = Instant::now();
        self.records_at_cut = self.records;
        self.numbers.cut(epoch);
        self.write(Entry::Cut {
            epoch,
            time_ns: now_ns(),
            pins,
        })
    }

    /// The ledger has cut: states are made, and the figures compared before anything is recorded.
    pub(super) fn cut_came(&mut self, cut: Cut) -> Result<(), DeskError> {
        let Cut {
            batch,
            leaves,
            shards,
        } = cut;
        let epoch = batch.epoch.0;
        if self.book.protocol.next() != Next::Record(epoch) {
            // It was given up before the ledger had it.
            let _ = self.ways.ledger.send(Job::Resume); // it has ended: told by itself
            return Ok(());
        }
        let States {
            states,
            is_stale,
            left_out,
        } = self.states(epoch, &leaves);
        let why = "a block is pinned that is too old to sign under; the batch waits for the next pin to be confirmed";
        self.trouble("pin".to_owned(), is_stale.then(|| why.to_owned()));
        if is_stale {
            // Trees without what they have to say anew would differ from the ledger, and nothing would be wrong.
            let _ = self.ways.ledger.send(Job::Resume); // it has ended: told by itself
            return self.give_up();
        }
        let has_new = states.iter().any(|it| it.epoch == epoch);
        let mut shorts = Vec::new();
        let built = match states.is_empty() {
            true => None,
            false => match self.build(epoch, self.book.previous, &states, self.audit_heads()) {
                Ok(built) => Some(Arc::new(built)),
                Err(why) => {
                    shorts.push(format!("the trees cannot be built: {why}"));
                    None
                }
            },
        };
        let mut figures = Figures {
            engine: (0..)
                .zip(shards)
                .map(|(asset, units)| EngineFigure {
                    asset: AssetId(asset),
                    units,
                })
                .collect(),
            ..Figures::default()
        };
        let mut place = 0;
        for (hub_place, hub) in (0_u32..).zip(&self.config.hubs) {
            for token in &hub.tokens {
                let sums = built.as_ref().and_then(|it| it.sums(&hub.hub, token.token));
                let sums = sums.unwrap_or_default();
                let left_out = left_out.get(&(hub_place, token.token));
                let left_out = left_out.copied().unwrap_or(0);
                figures.trees.push(TreeFigure {
                    place,
                    balance: sums.balance.saturating_add_signed(left_out),
                });
                let held = self.cut_holds.get(&(hub_place, token.token)).copied();
                let (holds, nobodys) = held.unwrap_or_default();
                figures.hubs.push(HubFigures {
                    place,
                    height: holds.height,
                    balance: holds.balance.saturating_sub(nobodys),
                    vault: holds.vault,
                    claims: 0,
                });
                if sums.excess > holds.vault {
                    shorts.push(format!(
                        "{} at {}: winnings of {} are above the vault's {}; rebalance {} into it",
                        self.config.asset_name(token.asset),
                        hub.name,
                        sums.excess,
                        holds.vault,
                        sums.excess - holds.vault
                    ));
                }
                place += 1;
            }
        }
        let mut asked = BTreeSet::new();
        if self
            .compared
            .is_none_or(|at| at.elapsed() >= self.config.batches.compare)
        {
            self.compared = Some(Instant::now());
            for (place, shard) in (0_u32..).zip(&self.ways.shards) {
                let _ = shard.send(ShardJob::Figures { epoch }); // it lives as long as the desk
                asked.insert(place);
            }
        }
        self.pending = Some(Pending {
            epoch,
            states,
            built: built.filter(|_| has_new),
            covers: batch.covers,
            shorts,
            figures,
            at: batch.at,
            live: BTreeMap::new(),
            moved: asked.is_empty(),
            asked,
        });
        self.reconcile();
        Ok(())
    }

    /// What a shard itself has, for the cut that waits.
    pub(super) fn figures_came(
        &mut self,
        shard: u32,
        epoch: u64,
        result: &Result<Value, JobError>,
    ) {
        let Some(pending) = self.pending.as_mut().filter(|it| it.epoch == epoch) else {
            return;
        };
        if !pending.asked.remove(&shard) {
            return;
        }
        let at = pending.at.get(shard as usize).map(|at| at + 1);
        let sums = result.as_ref().ok().and_then(|answer| {
            let quiet = answer["before"].as_u64() == at && answer["after"].as_u64() == at;
            let sums = answer["sums"].as_array().filter(|_| quiet)?;
            sums.iter()
                .map(|sum| sum.as_str()?.parse().ok())
                .collect::<Option<Vec<u128>>>()
        });
        match sums {
            Some(sums) => drop(pending.live.insert(shard, sums)),
            None => pending.moved = true,
        }
        self.reconcile();
    }

    /// Gives the figures of the cut to the ledger, when they are all here.
    pub(super) fn reconcile(&mut self) {
        let Some(pending) = self.pending.as_mut().filter(|it| it.asked.is_empty()) else {
            return;
        };
        if !pending.moved {
            for figure in &mut pending.figures.engine {
                let of = figure.asset.0 as usize;
                let all = pending.live.values().filter_map(|sums| sums.get(of));
                figure.units = all.sum();
            }
            self.numbers.compared();
        }
        if let Some(pending) = &self.pending {
            let elsewhere = Box::new(self.elsewhere(pending));
            let _ = self.ways.ledger.send(Job::Reconcile(elsewhere)); // it has ended: told by itself
        }
    }

    /// The states of a cut, all channels': a trader who is touched, or lags, gets new ones for all of its channels.
    pub(super) fn states(&self, epoch: u64, leaves: &[Leaf]) -> States {
        let is_stale = Cell::new(false);
        let left_out = RefCell::new(BTreeMap::new());
        let mut all = Vec::new();
        let mut renewed = BTreeSet::new();
        for leaf in leaves {
            let channel = leaf.state.channel;
            let Some((hub, it)) = self.book.channel(channel) else {
                continue;
            };
            let Some((account, _)) = it.account else {
                continue;
            };
            let lives = &self.book.hubs[hub as usize].lives;
            let offered = self.book.offered.get(&channel);
            let last = lives.life(channel).and_then(|life| life.last());
            let same = offered.is_some_and(|it| {
                (it.balance, it.deposited_seen, it.withdrawn_seen)
                    == (
                        leaf.state.balance,
                        leaf.state.depositedSeen,
                        leaf.state.withdrawnSeen,
                    )
                    && last.is_some_and(|last| last.version == it.version)
            });
            if !same {
                renewed.insert(account);
            }
            all.push((hub, account, leaf));
        }
        let states = all
            .into_iter()
            .filter_map(|(hub, account, leaf)| {
                let channel = leaf.state.channel;
                let lives = &self.book.hubs[hub as usize].lives;
                let offered = self.book.offered.get(&channel).copied();
                let mut new = State {
                    channel,
                    hub,
                    account,
                    version: offered.map_or(0, |it| it.version) + 1,
                    balance: leaf.state.balance,
                    deposited_seen: leaf.state.depositedSeen,
                    withdrawn_seen: leaf.state.withdrawnSeen,
                    excess: leaf.excess,
                    epoch,
                    pin: lives.pin()?,
                };
                let (asset, _) = self.book.token(hub, lives.terms(channel)?.token)?;
                if self.book.controls.halted(asset).is_some() {
                    // Its figures are in doubt: it stays at what was signed last.
                    let life = lives.life(channel)?;
                    let last = life.last();
                    new.balance = last.map_or(life.entitlement(), |last| last.balance);
                    new.deposited_seen = last.map_or(life.deposited(), |last| last.deposited_seen);
                    new.withdrawn_seen = last.map_or(life.withdrawn(), |last| last.withdrawn_seen);
                    new.excess = offered.map_or(0, |it| it.excess);
                }
                let is_due = offered.is_none() || renewed.contains(&account);
                let offer = || lives.would(channel, |life| life.offer(signed(&new)));
                match is_due.then(offer) {
                    Some(Ok(())) => return Some(new),
                    Some(Err(Refused::Pin { .. })) => is_stale.set(true),
                    // It is left by the chain, which was seen before it counts: until then the ledger goes on, and the tree has what was signed.
                    Some(Err(Refused::Phase(_))) => {
                        let kept = offered.map_or(0, |it| it.balance).cast_signed();
                        let mut left_out = left_out.borrow_mut();
                        let of = left_out.entry((hub, leaf.token)).or_insert(0);
                        *of += leaf.state.balance.cast_signed() - kept;
                    }
                    Some(Err(_)) | None => {}
                }
                // The state says nothing of the excess: its signatures stay good.
                offered.map(|old| State {
                    excess: leaf.excess,
                    ..old
                })
            })
            .collect();
        States {
            states,
            is_stale: is_stale.get(),
            left_out: left_out.into_inner(),
        }
    }

    pub(super) fn build(
        &self,
        epoch: u64,
        previous: B256,
        states: &[State],
        audit: Heads,
    ) -> Result<Built, String> {
        let leaf = |state: &State| {
            let hub = self.book.hubs.get(state.hub as usize)?;
            let terms = hub.lives.terms(state.channel)?;
            Some(Leaf {
                hub: *hub.lives.hub(),
                token: terms.token,
                account: account_number(AccountId(state.account)),
                state: ChannelState {
                    channel: state.channel,
                    version: U40::saturating_from(state.version),
                    balance: state.balance,
                    depositedSeen: state.deposited_seen,
                    withdrawnSeen: state.withdrawn_seen,
                    epoch: U40::saturating_from(state.epoch),
                    kind: KIND_TRADING,
                    branch: state.pin.hash,
                },
                excess: state.excess,
            })
        };
        let leaves: Option<Vec<Leaf>> = states.iter().map(leaf).collect();
        let leaves = leaves.ok_or("a state's channel has no terms")?;
        Built::with_audit(U40::saturating_from(epoch), previous, leaves, audit)
            .map_err(|error| error.to_string())
    }

    /// The figures of the cut were compared: what differs is halted, and else the batch is recorded.
    pub(super) fn reconciled(&mut self, found: Vec<Found>) -> Result<(), DeskError> {
        self.numbers.reconciled(found.len());
        let mut fresh = false;
        for Found {
            difference,
            between,
        } in &found
        {
            let asset = difference.asset.0;
            if self.book.controls.halted(asset).is_none() {
                tracing::error!(%difference, between, "the figures of a cut differ");
                self.halt(asset, format!("{difference}; {between}"))?;
                fresh = true;
            }
        }
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let step = Step::Recorded {
            epoch: pending.epoch,
            root: B256::ZERO,
            accounts: &[],
        };
        let in_turn = self.book.protocol.check(&step).is_ok();
        let shorts = pending.shorts.join("; ");
        self.trouble(
            "cover".to_owned(),
            (!shorts.is_empty()).then_some(shorts.clone()),
        );
        let Some(built) = pending.built.filter(|_| in_turn) else {
            // Nothing is new: the epoch is given up for the next one.
            if in_turn && found.is_empty() && shorts.is_empty() {
                self.numbers.up_to_date();
            }
            return self.give_up();
        };
        // Of an asset that stands still already the batch has what was signed last.
        if !shorts.is_empty() || fresh {
            return self.give_up();
        }
        // The chain went on since the states were made: a pin has grown too old, or somebody leaves by it.
        if !self.are_still_taken(&pending.states, pending.epoch) {
            return self.give_up();
        }
        tracing::debug!(trees = ?pending.figures.trees, epoch = pending.epoch, "recorded");
        let entry = Entry::Recorded {
            epoch: pending.epoch,
            previous: self.book.previous,
            root: built.batch().entries,
            audit_heads: built.audit().clone(),
            states: pending.states,
            covers: pending.covers,
        };
        self.write(entry)?;
        self.built = Some(built);
        self.numbers
            .batch_recorded(pending.epoch, self.book.protocol.parts().count());
        Ok(())
    }

    /// Whether the channels take the states of an epoch, as they did when these were made.
    fn are_still_taken(&self, states: &[State], epoch: u64) -> bool {
        let mut new = states.iter().filter(|it| it.epoch == epoch);
        new.all(|state| {
            let hub = self.book.hubs.get(state.hub as usize);
            let offer = |it: &crate::book::HubBook| {
                it.lives
                    .would(state.channel, |life| life.offer(signed(state)))
            };
            hub.is_some_and(|it| offer(it).is_ok())
        })
    }

    /// A cut that is not recorded: the next one is made when it is due. Nothing was signed.
    pub(super) fn give_up(&mut self) -> Result<(), DeskError> {
        let epoch = self.book.protocol.epoch();
        if matches!(self.book.protocol.next(), Next::Record(_)) {
            self.write(Entry::GivenUp { epoch })?;
        }
        Ok(())
    }

    /// Writes the turn with a recorded batch, the longest entry there is, and meanwhile makes everybody's part of it: when it is signed, it is given out
    /// at once.
    pub(super) fn log_recorded(&mut self) -> Result<(), DeskError> {
        let (book, config, log, fresh) = (&self.book, &self.config, &mut self.log, &self.fresh);
        let recorded = self.built.as_ref().zip(book.record.as_ref());
        let (written, prepared) = thread::scope(|scope| {
            let making = recorded
                .map(|(built, record)| (record.epoch, scope.spawn(|| parts(book, config, built))));
            let written = log.append_all(fresh);
            let made = making.map(|(epoch, it)| match it.join() {
                Ok(parts) => (epoch, parts),
                Err(panic) => std::panic::resume_unwind(panic),
            });
            (written, made)
        });
        self.prepared = prepared;
        written?;
        Ok(())
    }

    /// Gives out the newest batch that is signed.
    pub(super) fn publish(&mut self) {
        let (Some(built), Some(record)) = (&self.built, &self.book.record) else {
            return;
        };
        let Some(signature) = record.signature else {
            return;
        };
        let prepared = self.prepared.take();
        let parts = match prepared.filter(|(epoch, _)| *epoch == record.epoch) {
            Some((_, parts)) => parts,
            None => parts(&self.book, &self.config, built),
        };
        self.published.set(Arc::new(published::Batch {
            epoch: record.epoch,
            built: Arc::clone(built),
            signature,
            parts,
        }));
        self.published_at = Some(Instant::now());
        self.post(signature);
    }

    /// Posts the roots of the newest batch where it is time.
    pub(super) fn post(&mut self, signature: Signature) {
        let Some(built) = self.built.clone() else {
            return;
        };
        let Some(record) = &self.book.record else {
            return;
        };
        for (place, hub) in (0_u32..).zip(&self.config.hubs) {
            for token in &hub.tokens {
                let of = (place, token.token);
                let Some(sums) = built.sums(&hub.hub, token.token) else {
                    continue;
                };
                let recent = self
                    .posts
                    .get(&of)
                    .is_some_and(|at| at.elapsed() < hub.anchor / 2);
                if recent || hub.fee_key.is_none() {
                    continue;
                }
                let any = record.states.iter().find(|state| {
                    let terms = self.book.hubs[place as usize].lives.terms(state.channel);
                    state.hub == place && terms.is_some_and(|terms| terms.token == token.token)
                });
                let proof = any.and_then(|state| built.proof(state.channel, signature));
                if let Some(OperatorHalf::Leaf(proof)) = proof {
                    self.posts.insert(of, Instant::now());
                    let order = Order::Post {
                        token: token.token,
                        sums,
                        proof: Box::new(proof),
                        epoch: record.epoch,
                    };
                    let _ = self.ways.hubs[place as usize].send(order); // it lives as long as the desk
                }
            }
        }
    }

    pub(super) fn cosign(
        &mut self,
        epoch: u64,
        parts: &[CoSignature],
        reply: SyncSender<Vec<Result<(), String>>>,
    ) -> Result<(), DeskError> {
        let mut results = Vec::with_capacity(parts.len());
        let mut new: Vec<(u32, Signature)> = Vec::new();
        let mut seen = BTreeSet::new();
        for part in parts {
            let step = Step::CoSigned {
                epoch,
                account: part.account,
            };
            let result = self.book.protocol.check(&step);
            let is_new = self.book.protocol.has_signed(part.account) == Some(false);
            if result.is_ok() && is_new && seen.insert(part.account) {
                new.push((part.account, part.signature));
            }
            results.push(result.map_err(|why| why.to_string()));
        }
        if !new.is_empty() {
            self.numbers.cosigned(new.len());
            self.unmarked
                .extend(new.iter().map(|(account, _)| *account));
            self.write(Entry::CoSigned { epoch, parts: new })?;
        }
        self.after.push(After::Parts(reply, results));
        Ok(())
    }

    /// Settlement marks: first how far the shards' records are, then what is due by the ledger, then the shards.
    pub(super) fn work_on_marks(&mut self) {
        match self.marks {
            MarkWork::Idle if !self.unmarked.is_empty() => {
                for (shard, marked) in self.marked.iter().enumerate() {
                    if marked.is_none() {
                        let _ = self.ways.shards[shard].send(ShardJob::Status); // it lives as long as the desk
                    }
                }
                self.marks = MarkWork::Sequences;
            }
            MarkWork::Sequences if self.marked.iter().all(Option::is_some) => {
                let after = self.marked.iter().map(|it| it.unwrap_or(0)).collect();
                let covers = self
                    .unmarked
                    .iter()
                    .filter_map(|account| self.book.marks.get(account).cloned())
                    .collect();
                self.marks = MarkWork::Computing;
                let _ = self.ways.ledger.send(Job::Marks { covers, after }); // it has ended: told by itself
                self.unmarked.clear();
            }
            _ => {}
        }
    }

    pub(super) fn send_marks(&mut self, marks: Vec<(u64, Mark)>) {
        let mut by: BTreeMap<(u32, u64), Vec<MarkWords>> = BTreeMap::new();
        for (epoch, mark) in marks {
            let shard = self
                .config
                .shards
                .iter()
                .position(|it| PeerId(it.number) == mark.shard);
            if let Some(shard) = shard {
                let own = by.entry((shard as u32, epoch)).or_default();
                own.push((mark.account.0, mark.asset.0, mark.units));
                // Until the ledger says that nothing is left.
                self.unmarked.insert(mark.account.0);
            }
        }
        let mut sent = 0;
        for ((shard, epoch), marks) in by {
            for marks in marks.chunks(MARKS_AT_ONCE) {
                sent += 1;
                let job = ShardJob::Marks {
                    epoch,
                    marks: marks.to_vec(),
                };
                let _ = self.ways.shards[shard as usize].send(job); // it lives as long as the desk
            }
        }
        self.marks = match sent {
            0 => MarkWork::Idle,
            sent => MarkWork::Sent(sent),
        };
    }

    /// Asks the ledger for limits of un-co-signed exposure: together never above the unlocked vault (CUSTODY 12).
    pub(super) fn share_limits(&mut self) {
        if self.limits_at.elapsed() < LIMITS {
            return;
        }
        self.limits_at = Instant::now();
        let mut unlocked: BTreeMap<u32, u128> = BTreeMap::new();
        for (place, hub) in (0_u32..).zip(&self.config.hubs) {
            for token in &hub.tokens {
                let holds = self.holds.get(&(place, token.token)).copied();
                // What is owed to former traders is not for new winnings.
                if let Some(holds) = holds {
                    let free = holds.vault.saturating_sub(holds.locked);
                    *unlocked.entry(token.asset).or_default() +=
                        if holds.owed > 0 { 0 } else { free };
                }
            }
        }
        let accounts: Vec<u32> = self.book.registered.keys().copied().collect();
        for (asset, unlocked) in unlocked {
            let job = Job::Limits {
                asset,
                unlocked,
                accounts: accounts.clone(),
            };
            let _ = self.ways.ledger.send(job); // it has ended: told by itself
        }
    }

    pub(super) fn send_limits(&mut self, asset: u32, limits: &[exposure::Limit]) {
        let mut by: BTreeMap<u32, Vec<LimitWords>> = BTreeMap::new();
        for limit in limits {
            let shard = self
                .config
                .shards
                .iter()
                .position(|it| PeerId(it.number) == limit.shard);
            let Some(shard) = shard else { continue };
            let of = (shard as u32, limit.account.0, asset);
            // A lower one is said at once, a higher one when it is worth a command.
            let before = self.limits.get(&of).copied();
            let says = before
                .is_none_or(|before| limit.units < before || limit.units - before > before / 16);
            if says {
                self.limits.insert(of, limit.units);
                let own = by.entry(shard as u32).or_default();
                own.push((limit.account.0, asset, Some(limit.units)));
            }
        }
        for (shard, mut limits) in by {
            // Lower ones first: their sum is never above what is there.
            limits.sort_by_key(|(_, _, units)| *units);
            let _ = self.ways.shards[shard as usize].send(ShardJob::Limits { limits }); // it lives as long as the desk
        }
    }

    pub(super) fn halt(&mut self, asset: u32, why: String) -> Result<(), DeskError> {
        self.write(Entry::Halted { asset, why })?;
        self.halt_shards(asset);
        Ok(())
    }
}

/// Everybody's part of the batch that was recorded last: what each trader signs, and who it is.
fn parts(book: &Book, config: &Config, built: &Built) -> HashMap<u32, Part> {
    let domain = venue_domain(config.venue).separator();
    let part = |account: u32| {
        let registered = book.registered.get(&account)?;
        let state = built.account(account_number(AccountId(account)))?;
        let own = book.channels_of(account);
        let own = own.filter(|(_, id, _)| built.made_in(*id) == Some(built.batch().epoch));
        let holding = |(hub, _, it): (u32, B256, &crate::book::Confirmed)| Holding {
            hub: *book.hubs[hub as usize].lives.hub(),
            venue: config.venue,
            operator: config.operator,
            terms: it.terms,
            newest: None,
        };
        let part = Part {
            digest: state.digest(domain),
            cosigner: registered.cosigner,
            grants: registered.grants.clone(),
            channels: own.map(holding).collect(),
        };
        Some((account, part))
    };
    let accounts = book.protocol.parts();
    accounts.filter_map(|(account, _)| part(account)).collect()
}
