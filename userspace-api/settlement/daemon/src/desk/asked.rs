//! What people ask of the desk: registrations, withdrawals, approvals, moves, and what operators say.

use super::*;

impl Desk {
    pub(super) fn ask(
        &mut self,
        peer: Peer,
        request: Request,
        reply: SyncSender<Value>,
    ) -> Result<(), DeskError> {
        let audited = request.is_audited();
        let words = audited.then(|| serde_json::to_value(&request).unwrap_or_default());
        let answer = if request.is_operators() && !peer.is_operator {
            Err(Failed::Refused(
                "this verb is for operators: root or the daemon's own user".to_owned(),
            ))
        } else {
            self.answer(request)
        };
        let (answer, outcome) = match answer {
            Ok(answer) => (answer, "ok".to_owned()),
            Err(Failed::Refused(why)) => (refusal(&why), why),
            Err(Failed::Ended(error)) => return Err(error),
        };
        if let Some(request) = words {
            self.audits.push(Audited {
                at: now_s(),
                user: Some(peer.user),
                request,
                outcome,
            });
        }
        self.after.push(After::Reply(reply, answer));
        Ok(())
    }

    pub(super) fn answer(&mut self, request: Request) -> Result<Value, Failed> {
        match request {
            Request::Register {
                account,
                owner,
                cosigner,
                grants,
            } => self.register(account, owner, cosigner, grants),
            Request::Address {
                account,
                address,
                signature,
            } => self.name_address(account, address, signature),
            Request::Channels { account } => Ok(self.channels(account)),
            Request::Withdraw {
                channel,
                withdrawn,
                recipient,
                branch,
                deadline,
                signature,
            } => self.ask_withdrawal(channel, withdrawn, recipient, branch, deadline, signature),
            Request::Approve {
                withdrawal,
                yes,
                signature,
            } => self.approve(withdrawal, yes, signature),
            Request::Withdrawals { account } => Ok(self.withdrawals(account)),
            Request::Batches => Ok(self.batches()),
            Request::AuditHead {
                name,
                entries,
                head,
            } => self.audit_head(LogHead {
                name,
                entries,
                head,
            }),
            Request::Moves { account } => Ok(self.moves(account)),
            Request::Rebalance {
                channel,
                number,
                moved,
                branch,
                deadline,
                signature,
            } => self.rebalance(channel, number, moved, branch, deadline, signature),
            Request::Cut => {
                self.cut_now = true;
                Ok(json!({ "ok": true, "next": self.book.protocol.epoch() + 1 }))
            }
            Request::StopWithdrawals { reason } => {
                self.write(Entry::Switched {
                    stopped: true,
                    reason,
                })?;
                Ok(json!({ "ok": true }))
            }
            Request::StartWithdrawals { reason } => {
                self.write(Entry::Switched {
                    stopped: false,
                    reason,
                })?;
                Ok(json!({ "ok": true }))
            }
            Request::HaltAsset { asset, reason } => {
                let asset = self.asset(&asset)?;
                self.halt(asset, reason)?;
                Ok(json!({ "ok": true }))
            }
            Request::ClearHalt { asset, reason } => {
                let asset = self.asset(&asset)?;
                if reason.trim().is_empty() {
                    return no("say why it may go on; the audit log keeps it");
                }
                self.forget_halts(asset)?;
                self.write(Entry::Cleared { asset, reason })?;
                let _ = self.ways.ledger.send(Job::Cleared(AssetId(asset))); // it has ended: told by itself
                Ok(json!({ "ok": true }))
            }
            Request::SignerRestored { floor, reason } => self.signer_restored(floor, &reason),
            Request::Status => Ok(self.status()),
            Request::Health => match self.errors.iter().next() {
                None => Ok(json!({ "ok": true, "halted": self.halted() })),
                Some((of, why)) => no(format!("{of}: {why}")),
            },
            // Answered without the desk.
            Request::Batch { .. }
            | Request::Audit
            | Request::Cosign { .. }
            | Request::Balances { .. }
            | Request::Statement { .. }
            | Request::Metrics => no("this verb is not for the desk"),
        }
    }

    /// Goes on above what a lost store of the signer's may have signed. A batch that waits for its signature is given up: if the lost one signed it,
    /// nobody has that signature.
    pub(super) fn signer_restored(&mut self, floor: u64, reason: &str) -> Result<Value, Failed> {
        if reason.trim().is_empty() {
            return no("say what became of the signer's store; the audit log keeps it");
        }
        if floor >= 1 << 39 {
            return no("an epoch has 40 bits; give the floor that `ring0 signer restore` said");
        }
        match self.book.protocol.next() {
            Next::Record(_) => {
                self.pending = None;
                let _ = self.ways.ledger.send(Job::Resume); // it has ended: told by itself
                self.give_up()?;
            }
            Next::Collect(epoch) => self.write(Entry::Closed { epoch })?,
            Next::Cut(_) | Next::Sign { .. } => {}
        }
        self.write(Entry::SignerRestored { floor })?;
        if self.book.record.is_none() {
            self.built = None;
        }
        self.signing.clear();
        // A trader could revoke a grant above all epochs that the hub knows of: it hears of the new ones at once.
        self.posts.clear();
        let _ = self.ways.signer.send(SignerJob::Forget); // it lives as long as the desk
        Ok(json!({ "ok": true, "next": self.book.protocol.epoch() + 1 }))
    }

    pub(super) fn asset(&self, name: &str) -> Result<u32, Failed> {
        match self.config.asset(name) {
            Some(asset) => Ok(asset),
            None => no(format!(
                "there is no asset {name:?}; the market file names them"
            )),
        }
    }

    pub(super) fn register(
        &mut self,
        account: u32,
        owner: Address,
        cosigner: Address,
        grants: Vec<crate::protocol::Granted>,
    ) -> Result<Value, Failed> {
        let most = self
            .config
            .plans
            .iter()
            .map(|it| it.capacity().accounts)
            .min();
        if most.is_none_or(|most| account >= most) {
            return no(format!(
                "account {account} is beyond what every shard can hold"
            ));
        }
        if owner == Address::ZERO || cosigner == Address::ZERO || cosigner == self.config.operator {
            return no("owner and co-signer are addresses of the trader's, and not the operator's");
        }
        if let Some(other) = self
            .book
            .account_of(owner)
            .filter(|other| *other != account)
        {
            return no(format!(
                "owner {owner} is registered for account {other}; an owner has one account"
            ));
        }
        let before = self.book.registered.get(&account);
        if let Some(before) = before.filter(|before| before.owner != owner) {
            return no(format!(
                "account {account} is owner {}'s, and its owner stays",
                before.owner
            ));
        }
        let same = before.is_some_and(|it| it.cosigner == cosigner && it.grants == grants);
        if !same {
            self.write(Entry::Registered {
                account,
                owner,
                cosigner,
                grants,
            })?;
        }
        if account as usize >= self.config.plans[0].accounts.len() {
            for shard in &self.ways.shards {
                let _ = shard.send(ShardJob::Open { account }); // it lives as long as the desk
            }
        }
        Ok(json!({ "ok": true, "account": account, "number": account_number(AccountId(account)) }))
    }

    pub(super) fn name_address(
        &mut self,
        account: u32,
        address: Address,
        signature: Signature,
    ) -> Result<Value, Failed> {
        let Some(registered) = self.book.registered.get(&account) else {
            return no(format!("account {account} is not registered"));
        };
        let digest = messages::address_digest(self.config.venue, account, address);
        match signature.recover(digest) {
            Ok(signer) if signer == registered.owner => {}
            Ok(signer) => {
                return no(format!(
                    "signed by {signer}, and the owner is {}",
                    registered.owner
                ));
            }
            Err(error) => return no(error),
        }
        let at = now_s();
        self.write(Entry::Named {
            account,
            address,
            at,
        })?;
        let from = at + self.config.controls.new_address_s;
        Ok(json!({ "ok": true, "from": from }))
    }

    pub(super) fn channels(&self, account: u32) -> Value {
        let all: Vec<Value> = self
            .book
            .channels_of(account)
            .map(|(hub, id, it)| {
                let lives = &self.book.hubs[hub as usize].lives;
                let life = lives.life(id);
                let last = life.and_then(|life| life.last());
                let token = self.book.token(hub, it.terms.token);
                json!({
                    "channel": id,
                    "hub": lives.hub(),
                    "terms": it.terms,
                    "asset": token.map(|(asset, _)| self.config.asset_name(asset)),
                    "phase": life.map(|life| format!("{:?}", life.phase()).to_lowercase()),
                    "deposited": it.deposited.to_string(),
                    "withdrawn": it.withdrawn.to_string(),
                    "escrow": it.escrow().to_string(),
                    "moves": it.moves,
                    "entitlement": life.map_or(0, |life| life.entitlement()).to_string(),
                    "version": last.map_or(0, |last| last.version),
                    "epoch": last.map_or(0, |last| last.epoch),
                    "balance": last.map_or(0, |last| last.balance).to_string(),
                    "branch": lives.pin().map(|pin| pin.hash),
                    "chain_time": lives.blocks().tip().map(|tip| tip.time),
                    "under_way": self.book.withdrawals.of_channel(id).map(|it| it.request.id),
                })
            })
            .collect();
        json!({ "ok": true, "account": account, "channels": all })
    }

    pub(super) fn ask_withdrawal(
        &mut self,
        channel: B256,
        withdrawn: u128,
        recipient: Address,
        branch: B256,
        deadline: u64,
        signature: Signature,
    ) -> Result<Value, Failed> {
        let Some((hub, it)) = self.book.channel(channel) else {
            return no(format!(
                "channel {channel} is not open here; wait until its opening is confirmed"
            ));
        };
        let Some((account, _)) = it.account else {
            let why = self.book.why_waiting(hub, channel).unwrap_or_default();
            return no(format!("channel {channel} is nobody's here: {why}"));
        };
        let owner = it.terms.owner;
        let lives = &self.book.hubs[hub as usize].lives;
        let Some((asset, _)) = self.book.token(hub, it.terms.token) else {
            return no("its token is not admitted");
        };
        let Ok(short) = U40::try_from(deadline) else {
            return no("the deadline has more than 40 bits");
        };
        let message = Withdrawal {
            channel,
            withdrawn,
            recipient,
            branch,
            deadline: short,
        };
        let id = message.eip712_signing_hash(&lives.hub().domain());
        if let Some(known) = self.book.withdrawals.get(id) {
            return Ok(self.tell(known));
        }
        match signature.recover(id) {
            Ok(signer) if signer == owner => {}
            Ok(signer) => return no(format!("signed by {signer}, and the owner is {owner}")),
            Err(error) => return no(error),
        }
        if recipient == Address::ZERO {
            return no("the recipient is nobody; name an address");
        }
        if let Some(open) = self.book.withdrawals.of_channel(channel) {
            return no(withdrawal::Misstep::UnderWay(open.request.id));
        }
        let pin = lives.pin().map(|pin| pin.hash);
        if pin != Some(branch) {
            return no(format!(
                "the pin is {pin:?} and not {branch}; sign under the one that `channels` tells"
            ));
        }
        let chain_s = lives.blocks().tip().map_or(0, |tip| tip.time);
        let (least, most) = self.config.deadline_s;
        if deadline < chain_s + least || deadline > chain_s + most {
            return no(format!(
                "the deadline is {} s from now by the chain's clock, and {least} to {most} are taken",
                i128::from(deadline) - i128::from(chain_s)
            ));
        }
        let Some(life) = lives.life(channel) else {
            return no("the channel has no life yet; wait for its chain");
        };
        let amount = withdrawn.saturating_sub(life.withdrawn());
        let payable = withdrawal::payable(life.entitlement(), 0, u128::MAX);
        if amount == 0 || amount > payable {
            return no(format!(
                "{amount} base units are asked and {payable} are co-signed; `withdrawn` is all that the channel has withdrawn ({}) and this together",
                life.withdrawn()
            ));
        }
        let now = now_s();
        let own = recipient == owner;
        let approve = self
            .book
            .controls
            .check(account, asset, amount, recipient, own, now);
        let approve = approve.or_else(no)?;
        let unit = self.config.unit(asset);
        let dust = self.book.credits.dust(account, asset);
        if Debit::of(0, amount, dust, unit).is_none() {
            return no(format!(
                "{} base units of it are below an engine unit ({unit}) and the account has {dust}; ask for a multiple of {unit}, or for that and all of the dust",
                amount % unit
            ));
        }
        let request = withdrawal::Request {
            id,
            hub,
            channel,
            account,
            asset,
            amount,
            withdrawn,
            recipient,
            branch,
            deadline,
            owner: signature,
            at: now,
            approve,
        };
        self.write(Entry::Asked { request })?;
        self.numbers.withdrawal("asked");
        match self.book.withdrawals.get(id) {
            Some(known) => Ok(self.tell(known)),
            None => no("it was not taken"),
        }
    }

    pub(super) fn tell(&self, it: &withdrawal::Withdrawal) -> Value {
        let request = &it.request;
        let operator = match &it.progress {
            Progress::Signed(_, signature) => Some(*signature),
            _ => None,
        };
        let why = match &it.progress {
            Progress::Refused(why) => Some(why.clone()),
            _ => self.refused.get(&request.id).cloned(),
        };
        json!({
            "ok": true,
            "withdrawal": request.id,
            "progress": it.progress.name(),
            "why": why,
            "account": request.account,
            "asset": self.config.asset_name(request.asset),
            "channel": request.channel,
            "amount": request.amount.to_string(),
            "withdrawn": request.withdrawn.to_string(),
            "recipient": request.recipient,
            "branch": request.branch,
            "deadline": request.deadline,
            "at": request.at,
            "owner": request.owner,
            "operator": operator,
        })
    }

    pub(super) fn withdrawals(&self, account: Option<u32>) -> Value {
        let mut all: Vec<_> = self
            .book
            .withdrawals
            .iter()
            .filter(|it| account.is_none_or(|account| it.request.account == account))
            .collect();
        all.sort_by_key(|it| (it.request.at, it.request.id));
        let all: Vec<Value> = all.into_iter().map(|it| self.tell(it)).collect();
        json!({ "ok": true, "withdrawals": all })
    }

    pub(super) fn approve(
        &mut self,
        id: B256,
        yes: bool,
        signature: Signature,
    ) -> Result<Value, Failed> {
        let Some(one) = self.book.withdrawals.get(id) else {
            return no(withdrawal::Misstep::Unknown(id));
        };
        if one.progress != Progress::Waiting {
            return no(format!(
                "withdrawal {id} is {} and waits for nobody",
                one.progress.name()
            ));
        }
        let digest = messages::approval_digest(self.config.venue, id, yes);
        let approver = match signature.recover(digest) {
            Ok(approver) => approver,
            Err(error) => return no(error),
        };
        if !self.config.controls.approvers.contains(&approver) {
            return no(format!(
                "{approver} is no approver; controls.approvers names them"
            ));
        }
        let to = match yes {
            true => Progress::Passed,
            false => Progress::Refused(format!("refused by approver {approver}")),
        };
        self.write(Entry::Stepped {
            id,
            to,
            known: None,
        })?;
        Ok(json!({ "ok": true, "approver": approver }))
    }

    pub(super) fn batches(&self) -> Value {
        let protocol = &self.book.protocol;
        let missing: Vec<u32> = protocol
            .parts()
            .filter(|(_, signed)| !signed)
            .map(|(account, _)| account)
            .collect();
        let lagging: Vec<Value> = protocol
            .lagging()
            .map(|(account, epoch)| json!({ "account": account, "since": epoch }))
            .collect();
        let record = self.book.record.as_ref();
        json!({
            "ok": true,
            "epoch": protocol.epoch(),
            "stage": protocol.stage(),
            "recorded": record.map(|it| it.epoch),
            "root": record.map(|it| it.root),
            "previous": record.map(|it| it.previous),
            "signature": record.and_then(|it| it.signature),
            "accounts": protocol.parts().count(),
            "not_signed": missing,
            "lagging": lagging,
            "unmarked": self.unmarked.len(),
        })
    }

    /// Assets that stand still, and why: both figures, between which records they came apart, and where first.
    fn halted(&self) -> Vec<Value> {
        let all = self.book.controls.all_halted();
        all.map(|(asset, why)| json!({ "asset": self.config.asset_name(asset), "why": why }))
            .collect()
    }

    pub(super) fn status(&self) -> Value {
        let waiting: Vec<Value> = (0_u32..)
            .zip(&self.book.hubs)
            .flat_map(|(hub, book)| {
                book.channels.iter().filter_map(move |(id, it)| {
                    let why = self.book.why_waiting(hub, *id).filter(|_| !it.ended)?;
                    let deposited = it.deposited.to_string();
                    Some(json!({ "channel": id, "deposited": deposited, "why": why }))
                })
            })
            .collect();
        let hubs: Vec<Value> = self
            .config
            .hubs
            .iter()
            .zip(&self.book.hubs)
            .map(|(config, book)| {
                json!({
                    "name": config.name,
                    "tip": book.lives.blocks().tip(),
                    "pin": book.lives.pin(),
                    "channels": book.channels.len(),
                    "posted": book.posted,
                })
            })
            .collect();
        json!({
            "ok": true,
            "venue": self.config.venue,
            "operator": self.config.operator,
            "epoch": self.book.protocol.epoch(),
            "stage": self.book.protocol.stage(),
            "accounts": self.book.registered.len(),
            "hubs": hubs,
            "waiting_channels": waiting,
            "credits_waiting": self.book.credits.waiting(),
            "withdrawals_open": self.book.withdrawals.open().count(),
            "withdrawals_stopped": self.book.controls.stopped(),
            "halted": self.halted(),
            "journal": { "entries": self.log.entries(), "head": self.log.head().to_string() },
            "audit": { "entries": self.audit.entries(), "head": self.audit.head().to_string() },
            "audit_heads": self.audit_heads(),
            "facts": { "derived": self.book.facts, "in_ledger": self.taken },
            "records": self.records,
            "troubles": self.errors,
        })
    }

    pub(super) fn moves(&self, account: u32) -> Value {
        let all: Vec<Value> = self
            .book
            .channels_of(account)
            .filter_map(|(hub, id, it)| {
                let lives = &self.book.hubs[hub as usize].lives;
                let life = lives.life(id)?;
                let last = life.last()?;
                // What is signed and on its way out is the trader's too.
                let pending = self.book.withdrawals.of_channel(id).map_or(0, |it| it.request.amount);
                let surplus = it.escrow().checked_sub(last.balance.max(pending))?;
                let is_open = matches!(life.phase(), ring0_channels::life::Phase::Open);
                (surplus > 0 && is_open && !it.ended).then(|| {
                    json!({
                        "hub": lives.hub(),
                        "channel": id,
                        "number": it.moves + 1,
                        "moved": format!("-{surplus}"),
                        "branch": lives.pin().map(|pin| pin.hash),
                        "deadline": lives.blocks().tip().map_or(0, |tip| tip.time) + self.config.deadline_s.1,
                    })
                })
            })
            .collect();
        json!({ "ok": true, "moves": all })
    }

    pub(super) fn rebalance(
        &mut self,
        channel: B256,
        number: u64,
        moved: i128,
        branch: B256,
        deadline: u64,
        cosigner: Signature,
    ) -> Result<Value, Failed> {
        let Some((hub, it)) = self.book.channel(channel) else {
            return no(format!("channel {channel} is not open here"));
        };
        let lives = &self.book.hubs[hub as usize].lives;
        let last = lives.life(channel).and_then(|life| life.last());
        let surplus = it
            .escrow()
            .saturating_sub(last.map_or(u128::MAX, |last| last.balance));
        if number != it.moves + 1 {
            return no(format!(
                "move {number} is not {}, which is next",
                it.moves + 1
            ));
        }
        if moved >= 0 || moved.unsigned_abs() > surplus {
            return no(format!(
                "the channel's escrow has {surplus} above its co-signed balance; ask `moves`"
            ));
        }
        let (Ok(short), Ok(place)) = (U40::try_from(deadline), U40::try_from(number)) else {
            return no("a number has more than 40 bits");
        };
        if lives.pin().is_none_or(|pin| pin.hash != branch) {
            return no("the pin is another one; sign under the one that `moves` tells");
        }
        let message = Rebalancing {
            channel,
            number: place,
            moved,
            branch,
            deadline: short,
        };
        let id = message.eip712_signing_hash(&lives.hub().domain());
        match cosigner.recover(id) {
            Ok(signer) if signer == it.terms.cosigner => {}
            Ok(signer) => {
                return no(format!(
                    "signed by {signer}, and the co-signer is {}",
                    it.terms.cosigner
                ));
            }
            Err(error) => return no(error),
        }
        if !self.book.moves.contains_key(&id) {
            let moved = Move {
                id,
                hub,
                channel,
                number,
                moved,
                branch,
                deadline,
                cosigner,
            };
            self.write(Entry::Moved { moved })?;
        }
        Ok(json!({ "ok": true, "move": id }))
    }
}
