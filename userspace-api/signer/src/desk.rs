//! The one thread that decides: policy, memory and history. Requests that came while the disk was waited for are decided and written together.

use crate::history::{Entry, Event, History};
use crate::message::{Kind, Message};
use crate::numbers::Numbers;
use crate::policy::{KeyFacts, Policy, Prepared, Unprepared};
use crate::protocol::{Name, Refusal, Seen};
use ring0_channels::B256;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

/// Messages that are written with one wait for the disk; a request is not cut.
const GROUP: usize = 8192;

/// What is asked of the desk.
pub(crate) enum Ask {
    /// May these be signed?
    Judge(Judge),
    /// Something happened that the history has to have.
    Note(Box<Event>, u32, SyncSender<Result<Seen, Refusal>>),
    /// How is it?
    Status(SyncSender<Value>),
}

/// See [`Ask::Judge`].
pub(crate) struct Judge {
    pub(crate) user: u32,
    pub(crate) key: String,
    pub(crate) facts: Option<KeyFacts>,
    pub(crate) asked: Vec<Result<Prepared, Box<Unprepared>>>,
    pub(crate) seen: Option<Seen>,
    /// The messages are wanted back: their backend asks others for parts of the signature.
    pub(crate) whole: bool,
    pub(crate) answer: SyncSender<Judged>,
}

/// The desk's answer: what may be signed is on the disk.
pub(crate) struct Judged {
    pub(crate) verdicts: Vec<Result<Allowed, Refusal>>,
    pub(crate) seen: Seen,
}

/// A message that may be signed.
pub(crate) struct Allowed {
    pub(crate) digest: B256,
    pub(crate) kind: Kind,
    pub(crate) message: Option<Message>,
}

/// Milliseconds of Unix time.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}

/// A way to the desk, for each thread one.
#[derive(Clone)]
pub(crate) struct Bell(Sender<Ask>);

impl Bell {
    pub(crate) fn new(to: Sender<Ask>) -> Bell {
        Bell(to)
    }

    /// Asks and waits; `None`: the process is ending.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(SyncSender<T>) -> Ask) -> Option<T> {
        let (answer, answers) = sync_channel(1);
        self.0.send(ask(answer)).ok()?;
        answers.recv().ok()
    }
}

/// See the module.
pub(crate) struct Desk {
    pub(crate) policy: Policy,
    pub(crate) history: History,
    /// Why nothing is signed whatever is asked: the store is old, or a disk failed.
    pub(crate) fenced: Option<Refusal>,
    pub(crate) numbers: Arc<Numbers>,
}

/// A request that was decided and waits for the disk.
enum Waiting {
    Judge(SyncSender<Judged>, Vec<Result<Allowed, Refusal>>),
    Note(SyncSender<Result<Seen, Refusal>>),
}

impl Desk {
    /// Answers until nobody can ask any more.
    pub(crate) fn run(mut self, asks: &Receiver<Ask>) {
        self.show();
        while let Ok(first) = asks.recv() {
            let (mut waiting, mut size) = (Vec::new(), 0);
            let mut next = Some(first);
            while let Some(ask) = next {
                self.take(ask, &mut waiting, &mut size);
                next = if size < GROUP {
                    asks.try_recv().ok()
                } else {
                    None
                };
            }
            self.finish(waiting);
            self.show();
        }
    }

    fn take(&mut self, ask: Ask, waiting: &mut Vec<Waiting>, size: &mut usize) {
        match ask {
            Ask::Judge(judge) => {
                self.numbers.waiting.dec();
                *size += judge.asked.len();
                let (answer, verdicts) = self.judge(judge);
                waiting.push(Waiting::Judge(answer, verdicts));
            }
            Ask::Note(event, user, answer) => {
                *size += 1;
                if let Some(refusal) = &self.fenced {
                    let _ = answer.send(Err(refusal.clone())); // whoever asked has gone
                    return;
                }
                self.stage(user, *event);
                waiting.push(Waiting::Note(answer));
            }
            Ask::Status(answer) => {
                let _ = answer.send(self.status()); // whoever asked has gone
            }
        }
    }

    fn stage(&mut self, user: u32, event: Event) {
        let at_ms = now_ms();
        self.history.stage(Entry { at_ms, user, event });
    }

    fn judge(&mut self, judge: Judge) -> (SyncSender<Judged>, Vec<Result<Allowed, Refusal>>) {
        if let Some(seen) = judge
            .seen
            .filter(|seen| self.fenced.is_none() && self.history.contradicts(seen))
        {
            let text = format!(
                "the asker has seen {} entries of this history and it is another one: the store was restored from an old copy; `ring0 signer restore` says what to do",
                seen.entries
            );
            self.fenced = Some(Refusal::new(Name::Stale, text));
        }
        let mut verdicts = Vec::with_capacity(judge.asked.len());
        for asked in judge.asked {
            if let Some(refusal) = &self.fenced {
                // Nothing is written: this history is not the one to go on with.
                self.numbers.refused(refusal.name);
                verdicts.push(Err(refusal.clone()));
                continue;
            }
            let now = now_ms();
            let (message, digest, verdict) = match asked {
                Ok(asked) => {
                    let memory = self.history.memory();
                    let verdict =
                        self.policy
                            .judge(memory, &judge.key, judge.facts.as_ref(), &asked, now);
                    (asked.message, Some(asked.digest), verdict)
                }
                Err(it) => (it.message, None, Err(it.refusal)),
            };
            match (verdict, digest, &judge.facts) {
                (Ok(yes), Some(digest), Some(facts)) => {
                    verdicts.push(Ok(Allowed {
                        digest,
                        kind: message.kind(),
                        message: (judge.whole || message.kind() == Kind::VaultMove)
                            .then(|| message.clone()),
                    }));
                    let event = Event::Signed {
                        key: judge.key.clone(),
                        address: facts.address,
                        digest,
                        message,
                        again: yes.again,
                        counts: yes.counts,
                    };
                    self.stage(judge.user, event);
                }
                (verdict, digest, _) => {
                    let refusal = verdict
                        .err()
                        .unwrap_or_else(|| Refusal::new(Name::Key, "there is no such key"));
                    self.numbers.refused(refusal.name);
                    let event = Event::Refused {
                        key: judge.key.clone(),
                        digest,
                        message,
                        name: refusal.name,
                        text: refusal.text.clone(),
                    };
                    self.stage(judge.user, event);
                    verdicts.push(Err(refusal));
                }
            }
        }
        (judge.answer, verdicts)
    }

    /// Waits for the disk and lets the answers out.
    fn finish(&mut self, waiting: Vec<Waiting>) {
        let failed = match self.history.commit() {
            Ok(_) => None,
            Err(error) => {
                let text = format!(
                    "the history cannot be written, and nothing is signed without it: {error}; start the signer again when the disk is well"
                );
                self.fenced = Some(Refusal::new(Name::History, text));
                self.fenced.clone()
            }
        };
        let seen = self.history.seen();
        for one in waiting {
            // Whoever asked may have gone.
            match one {
                Waiting::Judge(answer, mut verdicts) => {
                    if let Some(refusal) = &failed {
                        verdicts
                            .iter_mut()
                            .for_each(|it| *it = Err(refusal.clone()));
                    }
                    let _ = answer.send(Judged { verdicts, seen });
                }
                Waiting::Note(answer) => {
                    let _ = answer.send(failed.clone().map_or(Ok(seen), Err));
                }
            }
        }
    }

    fn show(&self) {
        let memory = self.history.memory();
        self.numbers.stopped.set(memory.stopped.into());
        self.numbers.stale.set(self.fenced.is_some().into());
        let entries = i64::try_from(self.history.seen().entries);
        self.numbers.entries.set(entries.unwrap_or(i64::MAX));
    }

    fn status(&self) -> Value {
        let (memory, seen) = (self.history.memory(), self.history.seen());
        json!({
            "ok": true,
            "stopped": memory.stopped,
            "fenced": self.fenced.as_ref().map(|it| &it.text),
            "entries": seen.entries,
            "head": seen.head.to_string(),
            "floor": memory.floor,
            "highest_number": memory.line(now_ms()),
            "restored_ms": memory.restored_ms,
            "born_ms": memory.born_ms,
        })
    }
}
