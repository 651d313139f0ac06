//! What the signer is asked for, and what becomes of its answers.

use super::*;

impl Desk {
    pub(super) fn ask_signer(&mut self) {
        let now = Instant::now();
        let mut wanted = Vec::new();
        if let Next::Sign { epoch, .. } = self.book.protocol.next() {
            wanted.push(Wanted::Batch(epoch));
        }
        for it in self.book.withdrawals.open() {
            if matches!(it.progress, Progress::Leaving(_)) {
                wanted.push(Wanted::Withdrawal(it.request.id));
            }
        }
        for (id, (_, operator)) in &self.book.moves {
            if operator.is_none() {
                wanted.push(Wanted::Move(*id));
            }
        }
        for wanted in wanted {
            if self.signing.get(&wanted).is_some_and(|again| *again > now) {
                continue;
            }
            if let Some(message) = self.to_sign(wanted) {
                self.signing.insert(wanted, now + 90 * AGAIN);
                let job = SignerJob::Sign(wanted, Box::new(message));
                let _ = self.ways.signer.send(job); // it lives as long as the desk
            }
        }
    }

    pub(super) fn to_sign(&self, wanted: Wanted) -> Option<to_sign::Message> {
        match wanted {
            Wanted::Batch(_) => {
                let built = self.built.as_ref()?;
                let mut pairs = Vec::new();
                for hub in &self.config.hubs {
                    for token in &hub.tokens {
                        if built.sums(&hub.hub, token.token).is_some() {
                            pairs.push((hub.hub, token.token));
                        }
                    }
                }
                to_sign::Message::batch(self.config.venue, built, &pairs).ok()
            }
            Wanted::Withdrawal(id) => {
                let request = &self.book.withdrawals.get(id)?.request;
                let lives = &self.book.hubs.get(request.hub as usize)?.lives;
                Some(to_sign::Message::Withdrawal(to_sign::Withdrawal {
                    hub: *lives.hub(),
                    terms: *lives.terms(request.channel)?,
                    withdrawn: request.withdrawn,
                    recipient: request.recipient,
                    branch: request.branch,
                    deadline: request.deadline,
                    owner_signature: Some(request.owner),
                }))
            }
            Wanted::Move(id) => {
                let (moved, _) = self.book.moves.get(&id)?;
                let lives = &self.book.hubs.get(moved.hub as usize)?.lives;
                Some(to_sign::Message::Rebalance(to_sign::Rebalance {
                    hub: *lives.hub(),
                    terms: *lives.terms(moved.channel)?,
                    number: moved.number,
                    moved: moved.moved,
                    branch: moved.branch,
                    deadline: moved.deadline,
                }))
            }
        }
    }

    pub(super) fn signer_said(
        &mut self,
        wanted: Wanted,
        result: Result<Given, JobError>,
    ) -> Result<(), DeskError> {
        let gone = match &result {
            Err(JobError::Gone(why)) => Some(why.clone()),
            Err(JobError::Refused(why)) if matches!(wanted, Wanted::Batch(_)) => Some(why.clone()),
            _ => None,
        };
        self.trouble("signer".to_owned(), gone);
        let (signature, known) = match result {
            Ok(given) => given,
            Err(why) => {
                self.signing.insert(wanted, Instant::now() + AGAIN);
                if let Wanted::Withdrawal(id) | Wanted::Move(id) = wanted {
                    self.refused.insert(id, why.text().to_owned());
                }
                return Ok(());
            }
        };
        self.signing.remove(&wanted);
        match wanted {
            Wanted::Batch(epoch) => {
                let step = Step::Signed { epoch };
                if self.book.protocol.check(&step).is_ok() {
                    self.write(Entry::Signed {
                        epoch,
                        signature,
                        known,
                    })?;
                    // Durable first, then given out.
                    self.commit()?;
                    self.publish();
                    self.numbers.batch_signed(epoch);
                }
            }
            Wanted::Withdrawal(id) => {
                let progress = self.book.withdrawals.get(id).map(|it| it.progress.clone());
                if let Some(Progress::Leaving(debit)) = progress {
                    self.refused.remove(&id);
                    self.numbers.withdrawal("signed");
                    self.write(Entry::Stepped {
                        id,
                        to: Progress::Signed(debit, signature),
                        known: Some(known),
                    })?;
                }
            }
            Wanted::Move(id) => {
                let unsigned = self
                    .book
                    .moves
                    .get(&id)
                    .is_some_and(|(_, operator)| operator.is_none());
                if unsigned {
                    self.write(Entry::MoveSigned {
                        id,
                        operator: signature,
                    })?;
                    self.commit()?;
                    self.send_move(id);
                }
            }
        }
        Ok(())
    }

    pub(super) fn send_move(&self, id: B256) {
        let Some((moved, Some(operator))) = self.book.moves.get(&id) else {
            return;
        };
        let hub = moved.hub as usize;
        let Some(terms) = self.book.hubs[hub].lives.terms(moved.channel) else {
            return;
        };
        let words = |signature: &Signature| SignatureWords {
            r: signature.r,
            vs: signature.vs,
        };
        let item = RebalancingWords {
            channel: ChannelWords {
                owner: terms.owner,
                cosigner: terms.cosigner,
                token: terms.token,
                nonce: terms.nonce,
            },
            number: U40::saturating_from(moved.number),
            moved: moved.moved,
            branch: moved.branch,
            deadline: U40::saturating_from(moved.deadline),
            cosigner: words(&moved.cosigner),
            operator: words(operator),
        };
        let _ = self.ways.hubs[hub].send(Order::Rebalance(vec![item])); // it lives as long as the desk
    }
}
