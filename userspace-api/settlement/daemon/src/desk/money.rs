//! Into shards and out of them: credits, debits, and what shards' daemons answer.

use super::*;

impl Desk {
    /// Decides credits for what is confirmed and for what came back.
    pub(super) fn credit(&mut self) -> Result<(), DeskError> {
        let due: Vec<_> = self.book.creditable().collect();
        for (source, account, asset, amount) in due {
            self.credit_one(source, account, asset, amount)?;
        }
        Ok(())
    }

    pub(super) fn credit_one(
        &mut self,
        source: Source,
        account: u32,
        asset: u32,
        amount: u128,
    ) -> Result<(), DeskError> {
        let shard = self.config.deposits_to;
        let unit = self.config.unit(asset);
        let credit = self
            .book
            .credits
            .next(source, (shard, account, asset), amount, unit);
        match credit {
            Some(credit) => {
                tracing::info!(account, asset, amount, units = credit.units, "credit");
                self.write(Entry::Credited { credit })
            }
            None => {
                let of = format!("credit of account {account}");
                self.trouble(
                    of,
                    Some(format!(
                        "{amount} base units are more than an engine counts; split the deposit"
                    )),
                );
                Ok(())
            }
        }
    }

    /// Says the credits that the ledger knows of to their shards.
    pub(super) fn say_credits(&mut self) {
        let now = Instant::now();
        // Thousands may wait, and every turn would look at all of them.
        if now < self.credits_at {
            return;
        }
        self.credits_at = now + TICK;
        let due: Vec<_> = self
            .book
            .credits
            .due()
            .filter(|it| {
                let fact = self
                    .book
                    .credit_facts
                    .get(&(it.shard, it.account, it.number));
                let said = self.credits.get(&(it.shard, it.account));
                fact.is_none_or(|fact| *fact <= self.taken)
                    && said.is_none_or(|again| *again <= now)
            })
            .copied()
            .collect();
        for credit in due {
            self.credits
                .insert((credit.shard, credit.account), now + 30 * AGAIN);
            let _ = self.ways.shards[credit.shard as usize].send(ShardJob::Credit(credit)); // it lives as long as the desk
        }
    }

    pub(super) fn arrived(
        &mut self,
        account: &str,
        asset: &str,
        units: u64,
        number: u64,
        from: &str,
    ) -> Result<Value, Failed> {
        let Some(account) = self.config.account(account) else {
            return no(format!("there is no account {account:?}"));
        };
        let asset = self.asset(asset)?;
        let shards = self.config.shards.iter();
        let Some((shard, _)) = (0_u32..).zip(shards).find(|(_, it)| it.name == from) else {
            return no(format!("there is no shard {from:?} in the configuration"));
        };
        if self.book.withdrawals.has_arrived(shard, account, number) {
            return Ok(json!({ "ok": true, "outcome": "known" }));
        }
        let withdrawal = self
            .book
            .withdrawals
            .claims((shard, account, asset), units, number);
        self.write(Entry::Arrived {
            shard,
            account,
            asset,
            units,
            number,
            withdrawal,
        })?;
        match withdrawal {
            Some(id) => {
                self.transfers.remove(&id);
                self.numbers.withdrawal("debited");
            }
            None => {
                tracing::warn!(
                    account,
                    asset,
                    units,
                    number,
                    "a transfer that nobody asked for goes back"
                );
                let amount = u128::from(units) * self.config.unit(asset);
                let source = Source::Unasked { shard, number };
                self.credit_one(source, account, asset, amount)?;
            }
        }
        Ok(json!({ "ok": true, "outcome": "accepted" }))
    }

    /// Decides the next steps of withdrawals.
    pub(super) fn withdraw(&mut self) -> Result<(), DeskError> {
        let open: Vec<_> = self.book.withdrawals.open().cloned().collect();
        for it in open {
            let request = &it.request;
            let (id, account, asset) = (request.id, request.account, request.asset);
            let counted_s = self.book.hubs[request.hub as usize].lives.counted_s();
            let late = request.deadline < counted_s;
            let step = match &it.progress {
                Progress::Waiting | Progress::Passed if late => Some(Progress::Refused(
                    "its deadline passed before it was let through".to_owned(),
                )),
                Progress::Passed => self.debit(account, asset, request.amount),
                Progress::Debiting(debit) => match self.transfers.get(&id) {
                    Some(asked) if asked.known && asked.at.elapsed() >= ARRIVAL => {
                        self.transfers.remove(&id);
                        let number = debit.number + 1;
                        Some(Progress::Debiting(Debit { number, ..*debit }))
                    }
                    _ => None,
                },
                Progress::Debited(debit) => {
                    let lives = &self.book.hubs[request.hub as usize].lives;
                    let takes = lives.would(request.channel, |life| {
                        life.withdraw(request.withdrawn, request.deadline)
                    });
                    match takes {
                        _ if late => Some(Progress::Lapsed),
                        Ok(()) => Some(Progress::Leaving(*debit)),
                        Err(why) => {
                            self.refused.insert(id, why.to_string());
                            None
                        }
                    }
                }
                _ => None,
            };
            if let Some(to) = step {
                if to.is_over() || matches!(to, Progress::Leaving(_)) {
                    self.refused.remove(&id);
                }
                tracing::info!(%id, account, to = to.name(), "withdrawal");
                self.write(Entry::Stepped {
                    id,
                    to,
                    known: None,
                })?;
            }
        }
        Ok(())
    }

    /// How a withdrawal that passed is debited; `None`: not now.
    pub(super) fn debit(&self, account: u32, asset: u32, amount: u128) -> Option<Progress> {
        let shard = self.config.deposits_to;
        let controls = &self.book.controls;
        let stands = controls.stopped().is_some() || controls.halted(asset).is_some();
        if stands || self.book.withdrawals.is_debiting(account, shard) {
            return None;
        }
        let (unit, dust) = (
            self.config.unit(asset),
            self.book.credits.dust(account, asset),
        );
        Some(match Debit::of(shard, amount, dust, unit) {
            None => Progress::Refused(
                "the account's dust is not enough for what is below an engine unit".to_owned(),
            ),
            Some(debit) if debit.units == 0 => Progress::Debited(debit),
            Some(debit) => Progress::Debiting(Debit {
                number: self.book.withdrawals.next_number(shard, account),
                ..debit
            }),
        })
    }

    /// Asks shards to debit.
    pub(super) fn say_transfers(&mut self) {
        let mut due = Vec::new();
        for it in self.book.withdrawals.open() {
            let Progress::Debiting(debit) = it.progress else {
                continue;
            };
            let asked = self.transfers.get(&it.request.id);
            let is_due = match asked {
                None => true,
                Some(asked) => !asked.waits && !asked.known && asked.at.elapsed() >= AGAIN,
            };
            if is_due {
                due.push((it.request.id, it.request.account, it.request.asset, debit));
            }
        }
        for (id, account, asset, debit) in due {
            let asked = Asked {
                at: Instant::now(),
                known: false,
                waits: true,
            };
            self.transfers.insert(id, asked);
            let job = ShardJob::Transfer {
                id,
                account,
                asset,
                units: debit.units,
                number: debit.number,
            };
            let _ = self.ways.shards[debit.shard as usize].send(job); // it lives as long as the desk
        }
    }

    pub(super) fn shard_said(
        &mut self,
        shard: u32,
        job: ShardJob,
        result: Result<Value, JobError>,
    ) -> Result<(), DeskError> {
        let key = format!("shard {}", self.config.shards[shard as usize].name);
        let gone = match &result {
            Err(JobError::Gone(why)) => Some(why.clone()),
            _ => None,
        };
        self.trouble(key, gone);
        match job {
            ShardJob::Credit(credit) => {
                let of = (credit.shard, credit.account);
                match &result {
                    Ok(answer) if answer["durable"] != false => {
                        self.credits.remove(&of);
                        self.write(Entry::CreditDone {
                            shard: credit.shard,
                            account: credit.account,
                            number: credit.number,
                        })?;
                    }
                    Ok(_) => drop(self.credits.insert(of, Instant::now() + AGAIN / 10)),
                    Err(why) => {
                        self.credits.insert(of, Instant::now() + AGAIN);
                        let of = format!("credit {} of account {}", credit.number, credit.account);
                        tracing::warn!(of, why = why.text(), "waits");
                    }
                }
            }
            ShardJob::Transfer { id, number, .. } => {
                let is_it = self.book.withdrawals.get(id).is_some_and(
                    |it| matches!(it.progress, Progress::Debiting(debit) if debit.number == number),
                );
                if !is_it {
                    return Ok(()); // it arrived before the answer
                }
                let known = result
                    .as_ref()
                    .is_ok_and(|answer| answer["outcome"] == "known");
                let asked = Asked {
                    at: Instant::now(),
                    // Accepted, it will arrive; should this daemon's memory of it be lost it is asked again, and known.
                    known: known || result.is_ok(),
                    waits: false,
                };
                match result {
                    Err(JobError::Refused(why)) if !why.contains("in flight") => {
                        self.transfers.remove(&id);
                        self.numbers.withdrawal("refused");
                        self.write(Entry::Stepped {
                            id,
                            to: Progress::Refused(why),
                            known: None,
                        })?;
                    }
                    _ => drop(self.transfers.insert(id, asked)),
                }
            }
            ShardJob::Marks { .. } => {
                if let MarkWork::Sent(open) = self.marks {
                    self.marks = match open {
                        0 | 1 => MarkWork::Idle,
                        _ => MarkWork::Sent(open - 1),
                    };
                }
                // What was not answered may have been done: the shard is asked how far its records are before marks are computed again.
                self.marked[shard as usize] = match &result {
                    Ok(answer) => answer["next_sequence"]
                        .as_u64()
                        .map(|next| next.saturating_sub(1)),
                    Err(_) => None,
                };
                if let Ok(answer) = &result
                    && let Some(refused) = answer["refused"].as_array().filter(|it| !it.is_empty())
                {
                    tracing::warn!(?refused, "marks were refused");
                }
            }
            ShardJob::Figures { epoch } => self.figures_came(shard, epoch, &result),
            ShardJob::Status => {
                let answer = result.unwrap_or_default();
                let next = answer["next_sequence"]
                    .as_u64()
                    .or_else(|| answer["ring"]["next_sequence"].as_u64());
                self.marked[shard as usize] = next.map(|next| next.saturating_sub(1));
            }
            ShardJob::HaltAsset { asset } => {
                let of = (shard, asset);
                let why = result.err().map(|why| why.text().to_owned());
                match &why {
                    Some(_) => drop(self.halts.insert(of, Some(Instant::now() + AGAIN))),
                    None => drop(self.halts.remove(&of)),
                }
                self.trouble(halt_of(&self.config, of), why);
            }
            ShardJob::Open { account } => {
                if let Err(why) = result {
                    tracing::warn!(account, why = why.text(), "the account is not opened");
                }
            }
            ShardJob::Limits { .. } | ShardJob::KillAccount { .. } => {
                if let Err(why) = result {
                    tracing::warn!(why = why.text(), "not done by the shard");
                    self.limits.clear();
                }
            }
        }
        Ok(())
    }
}
