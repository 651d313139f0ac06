//! A tower: answers old states that are in dispute by the newest ones it was given, until the answer is mined and deep enough (CUSTODY 18).
//!
//! ```text
//! nothing -> refuting <-> raised -> stands (K blocks) -> nothing
//!               |  ^________________/ a reorganisation took the answer
//!               +----> lost: the window is over
//! ```
//!
//! Always true: what a tower does follows from the chain as it is now and from its evidence, so it may end and begin at any moment, and two of them with the
//! same evidence agree; an answer is sent for the newest state that is known; nothing is sent for a channel whose newest state is in dispute; each alert is
//! given when its matter begins, not again while it lasts. A tower holds no key: its chain's adapter pays by one that can pay and nothing else.

use crate::B256;
use crate::chain::{Block, Chain, ChainError, Progress, Sent};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A dispute as the chain has it, and what hangs on it. Amounts in the token's smallest unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dispute {
    /// The state in dispute; 0: none was ever signed.
    pub version: u64,
    /// End of the window, seconds of the chain's time.
    pub deadline: u64,
    /// It was settled by that state: too late for any answer.
    pub settled: bool,
    /// What the state in dispute gives the trader.
    pub gives: u128,
    /// What the newest state that is known would give.
    pub owed: u128,
}

/// Whoever pays for answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Purse {
    /// Its address.
    pub payer: String,
    /// What it has, smallest unit of the chain's coin.
    pub has: u128,
    /// What one answer may cost now.
    pub needs: u128,
}

/// A chain with disputes that can be answered.
pub trait Court: Chain {
    /// The dispute about a channel, if there is one or was one.
    ///
    /// # Errors
    /// The node does not answer, or the channel's evidence is none.
    fn dispute_of(&mut self, exit: &Self::Exit) -> Result<Option<Dispute>, ChainError>;

    /// What there is to pay answers with.
    ///
    /// # Errors
    /// The node does not answer, or nobody pays.
    fn purse(&mut self) -> Result<Purse, ChainError>;
}

/// A channel and the newest state of it that is known.
#[derive(Clone, Debug)]
pub struct Watch<E> {
    /// Which.
    pub channel: B256,
    /// The state's version.
    pub version: u64,
    /// What shows it to the chain.
    pub exit: E,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An old state is in dispute. The tower answers; nothing is to be done while it can.
    Disputed,
    /// An answer was given to the node.
    Refuting,
    /// It was not mined, and was given again for more.
    Raised,
    /// The newest state stands, so many blocks deep. The matter is over.
    Refuted,
    /// A reorganisation took the dispute or the answer; it is looked at anew.
    Reorganised,
    /// The window is over and an old state stands.
    Lost,
    /// The fee wallet has too little for an answer.
    FeeWalletEmpty,
    /// It has enough again.
    FeeWalletFilled,
    /// The chain refuses the answer.
    Refused,
    /// The node does not answer: nothing is seen.
    NodeLost,
    /// It answers again.
    NodeBack,
    /// A file of evidence cannot be used.
    Evidence,
}

/// One thing that people should know. Never a secret in it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Alert {
    /// What about.
    pub kind: Kind,
    /// Which channel, if one.
    pub channel: Option<B256>,
    /// What its rightful owner loses if nothing helps, smallest unit of the channel's token.
    #[serde(with = "crate::decimal")]
    pub at_risk: u128,
    /// Whose that is.
    pub owner: Option<&'static str>,
    /// End of the window, seconds of the chain's time.
    pub deadline: Option<u64>,
    /// What happened, with its values.
    pub what: String,
    /// What to do now.
    pub todo: &'static str,
}

/// What a tower counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Numbers {
    /// Height of the newest block that was looked at to the end.
    pub height: u64,
    /// Channels with evidence.
    pub watched: usize,
    /// Old states in dispute now that can be answered.
    pub open: usize,
    /// Answers given to the node.
    pub answers: u64,
    /// Times a fee was raised.
    pub raises: u64,
    /// Old states that stood when their window was over.
    pub lost: u64,
    /// What the fee wallet has.
    pub purse: u128,
    /// What one answer may cost.
    pub answer_cost: u128,
    /// Whether the node answered the last time.
    pub node_up: bool,
}

/// An answer on its way.
#[derive(Clone, Debug)]
struct Answer {
    sent: Sent,
    version: u64,
    /// Height of the tip when it was given or raised: it had no chance in a block before.
    given: u64,
}

/// What is under way about a channel.
#[derive(Clone, Debug)]
struct Case {
    dispute: Dispute,
    answer: Option<Answer>,
    /// Height of the tip when the newest state was first seen to stand.
    stands: Option<u64>,
    /// The window was over, and it was said.
    lost: bool,
    /// What the chain said when it refused, at this tip.
    refused: Option<(u64, String)>,
    poor: bool,
}

/// A tower over one chain.
#[derive(Debug)]
pub struct Tower<E> {
    /// Blocks that lie on a standing state before the matter is over.
    confirmations: u64,
    watched: BTreeMap<B256, Watch<E>>,
    cases: BTreeMap<B256, Case>,
    /// Channels to look at whatever the blocks say.
    fresh: BTreeSet<B256>,
    /// Answers that came too late, still with the node: they stand before later ones of the same wallet.
    stale: Vec<Answer>,
    seen: Option<Block>,
    node_lost: bool,
    poor: bool,
    numbers: Numbers,
}

impl<E> Tower<E> {
    /// Nothing to watch yet.
    #[must_use]
    pub fn new(confirmations: u64) -> Tower<E> {
        Tower {
            confirmations,
            watched: BTreeMap::new(),
            cases: BTreeMap::new(),
            fresh: BTreeSet::new(),
            stale: Vec::new(),
            seen: None,
            node_lost: false,
            poor: false,
            numbers: Numbers::default(),
        }
    }

    /// Takes in the newest state of a channel; an older one than is known changes nothing. Gives whether it was newer.
    pub fn watch(&mut self, watch: Watch<E>) -> bool {
        let known = self.watched.get(&watch.channel);
        let newer = known.is_none_or(|known| known.version < watch.version);
        if newer {
            self.fresh.insert(watch.channel);
            self.watched.insert(watch.channel, watch);
        }
        newer
    }

    /// What it counts.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let open = |case: &&Case| !case.lost && case.stands.is_none();
        Numbers {
            watched: self.watched.len(),
            open: self.cases.values().filter(open).count(),
            node_up: !self.node_lost,
            ..self.numbers
        }
    }

    /// What is at risk now, by channel.
    pub fn at_risk(&self) -> impl Iterator<Item = (B256, u128)> {
        let open = self
            .cases
            .iter()
            .filter(|(_, case)| case.stands.is_none() && !case.lost);
        open.map(|(channel, case)| (*channel, at_risk(&case.dispute).0))
    }

    /// Looks once at the chain and does what is to be done. Gives what people should know.
    pub fn round<C: Court<Exit = E>>(&mut self, chain: &mut C) -> Vec<Alert> {
        let mut alerts = Vec::new();
        match self.look(chain, &mut alerts) {
            Ok(()) if self.node_lost => {
                self.node_lost = false;
                alerts.push(said(Kind::NodeBack, "the node answers again", "nothing"));
            }
            Ok(()) => {}
            Err(_) if self.node_lost => {}
            Err(error) => {
                self.node_lost = true;
                let todo = "see to the node, or start the tower with another one: while it is blind, windows go on";
                let mut alert = said(Kind::NodeLost, error, todo);
                alert.at_risk = self.at_risk().map(|(_, amount)| amount).max().unwrap_or(0);
                alert.deadline = self.cases.values().map(|case| case.dispute.deadline).min();
                alerts.push(alert);
            }
        }
        alerts
    }

    fn look<C: Court<Exit = E>>(
        &mut self,
        chain: &mut C,
        alerts: &mut Vec<Alert>,
    ) -> Result<(), ChainError> {
        let tip = chain.tip()?;
        let due = self.due(chain, &tip)?;
        self.mind_purse(chain, alerts)?;
        for channel in due {
            if let Some(watch) = self.watched.get(&channel) {
                let case = self.cases.remove(&channel);
                let numbers = &mut self.numbers;
                let mut desk = Desk {
                    chain,
                    tip: &tip,
                    confirmations: self.confirmations,
                    watch,
                    numbers,
                    alerts,
                    stale: &mut self.stale,
                };
                // What is under way is kept when the node fails in the middle.
                let before = case.clone();
                match desk.mind(case) {
                    Ok(case) => drop(case.map(|case| self.cases.insert(channel, case))),
                    Err(error) => {
                        drop(before.map(|case| self.cases.insert(channel, case)));
                        return Err(error);
                    }
                }
            }
        }
        self.raise_stale(chain, &tip)?;
        self.fresh.clear();
        self.numbers.height = tip.height;
        self.seen = Some(tip);
        Ok(())
    }

    /// Channels to look at: those under way, those with a newer state, those that something happened to; after a reorganisation all.
    fn due<C: Court<Exit = E>>(
        &self,
        chain: &mut C,
        tip: &Block,
    ) -> Result<BTreeSet<B256>, ChainError> {
        let Some(seen) = self.seen else {
            return Ok(self.watched.keys().copied().collect());
        };
        if chain.block(seen.height)?.map(|block| block.hash) != Some(seen.hash) {
            return Ok(self.watched.keys().copied().collect());
        }
        let mut due: BTreeSet<B256> = self.cases.keys().copied().collect();
        due.extend(&self.fresh);
        if tip.height > seen.height {
            let facts = chain.facts(seen.height + 1, tip.height)?;
            due.extend(facts.into_iter().map(|seen| seen.channel));
        }
        Ok(due)
    }

    /// Says when the wallet cannot pay an answer, also when none is due: then there is time to fill it.
    fn mind_purse<C: Court<Exit = E>>(
        &mut self,
        chain: &mut C,
        alerts: &mut Vec<Alert>,
    ) -> Result<(), ChainError> {
        let purse = chain.purse()?;
        (self.numbers.purse, self.numbers.answer_cost) = (purse.has, purse.needs);
        let poor = purse.has < purse.needs;
        if poor && !self.poor {
            let what = format!(
                "the fee wallet {} has {} and one answer may cost {}",
                purse.payer, purse.has, purse.needs
            );
            let todo = "pay in several times what an answer costs; the tower goes on by itself";
            alerts.push(said(Kind::FeeWalletEmpty, what, todo));
        } else if !poor && self.poor {
            let what = format!("the fee wallet {} has {}", purse.payer, purse.has);
            alerts.push(said(Kind::FeeWalletFilled, what, "nothing"));
        }
        self.poor = poor;
        Ok(())
    }

    /// Answers that came too late and are not mined stand in the way of later ones while there are any: then they are raised too.
    fn raise_stale<C: Court<Exit = E>>(
        &mut self,
        chain: &mut C,
        tip: &Block,
    ) -> Result<(), ChainError> {
        let needed = self.cases.values().any(|case| case.answer.is_some());
        let mut kept = Vec::new();
        for mut answer in std::mem::take(&mut self.stale) {
            if chain.progress(&answer.sent)? != Progress::Waiting {
                continue;
            }
            if needed && tip.height > answer.given {
                match chain.bump(&answer.sent) {
                    Ok(sent) => (answer.sent, answer.given) = (sent, tip.height),
                    Err(error @ ChainError::Node { .. }) => return Err(error),
                    Err(_) => {} // it is tried again with the next block
                }
            }
            kept.push(answer);
        }
        self.stale = kept;
        Ok(())
    }
}

/// What is needed to mind one channel.
struct Desk<'a, C: Court> {
    chain: &'a mut C,
    tip: &'a Block,
    confirmations: u64,
    watch: &'a Watch<C::Exit>,
    numbers: &'a mut Numbers,
    alerts: &'a mut Vec<Alert>,
    stale: &'a mut Vec<Answer>,
}

impl<C: Court> Desk<'_, C> {
    /// Does the next step about the channel; gives what is under way afterwards.
    fn mind(&mut self, case: Option<Case>) -> Result<Option<Case>, ChainError> {
        let Some(dispute) = self.chain.dispute_of(&self.watch.exit)? else {
            if let Some(case) = case {
                self.tell(
                    Kind::Reorganised,
                    &case.dispute,
                    "the dispute is no longer in the chain: both closed the channel, or a reorganisation took it".to_owned(),
                    "nothing",
                );
                self.stale.extend(case.answer);
            }
            return Ok(None);
        };
        if dispute.version >= self.watch.version {
            return self.stands(case, &dispute);
        }
        let known = case.is_some();
        let mut case = case.unwrap_or(Case {
            dispute,
            answer: None,
            stands: None,
            lost: false,
            refused: None,
            poor: false,
        });
        // What stood was taken back, unless it is a newer state's turn. What was mined may wait again, or be gone; it is asked below.
        if case.stands.take().is_some() && dispute.version < case.dispute.version {
            let what = format!(
                "the answer is no longer in the chain: version {} is in dispute again, {} is the newest",
                dispute.version, self.watch.version
            );
            let todo = "nothing: it is given again";
            self.tell(Kind::Reorganised, &dispute, what, todo);
        }
        case.dispute = dispute;
        if dispute.settled || self.tip.time >= dispute.deadline {
            return Ok(Some(self.lost(case)));
        }
        case.lost = false; // a reorganisation may give time back
        if !known {
            let what = format!(
                "version {} is in dispute, {} is the newest",
                dispute.version, self.watch.version
            );
            let todo = "nothing while the tower runs and its wallet has money";
            self.tell(Kind::Disputed, &dispute, what, todo);
        }
        self.fight(case).map(Some)
    }

    /// The newest state, or one that is newer than what is known here, stands in the dispute.
    fn stands(
        &mut self,
        case: Option<Case>,
        dispute: &Dispute,
    ) -> Result<Option<Case>, ChainError> {
        let Some(mut case) = case else {
            return Ok(None);
        };
        // Another tower's answer was first: the own one is only in the way now.
        if let Some(answer) = &case.answer
            && self.chain.progress(&answer.sent)? == Progress::Waiting
        {
            self.stale.extend(case.answer.take());
        }
        // Kept to tell a reorganisation by.
        case.dispute = *dispute;
        let since = *case.stands.get_or_insert(self.tip.height);
        if self.tip.height < since + self.confirmations {
            return Ok(Some(case));
        }
        let what = format!(
            "version {} stands, {} blocks deep",
            dispute.version, self.confirmations
        );
        let todo = "settle after the window: anybody may, and the owner is paid";
        let over = Alert {
            at_risk: 0,
            ..alert(Kind::Refuted, self.watch.channel, &case.dispute, what, todo)
        };
        self.alerts.push(over);
        Ok(None)
    }

    fn lost(&mut self, mut case: Case) -> Case {
        if !case.lost {
            case.lost = true;
            self.numbers.lost += 1;
            let (amount, owner) = at_risk(&case.dispute);
            let what = format!(
                "the window is over and version {} stands, {} was the newest: unless both closed the channel, the {owner} loses {amount}",
                case.dispute.version, self.watch.version
            );
            let todo = "no answer counts any more: keep the evidence, it proves what was signed, and claim the difference from whoever showed the old state";
            self.tell(Kind::Lost, &case.dispute.clone(), what, todo);
        }
        self.stale.extend(case.answer.take());
        case
    }

    /// Sends the newest state, or sees to the one that was sent.
    fn fight(&mut self, mut case: Case) -> Result<Case, ChainError> {
        let Some(answer) = case.answer.take() else {
            return self.send(case);
        };
        if answer.version < self.watch.version {
            self.stale.push(answer); // a newer state came meanwhile
            return self.send(case);
        }
        match self.chain.progress(&answer.sent)? {
            // A block later it should have been in.
            Progress::Waiting if self.tip.height > answer.given => self.raise(case, answer),
            // In a block that was not seen when the dispute was asked for.
            Progress::Mined { height } if height + 1 >= self.tip.height => {
                case.answer = Some(answer);
                Ok(case)
            }
            Progress::Waiting => {
                case.answer = Some(answer);
                Ok(case)
            }
            Progress::Mined { .. } | Progress::Reverted { .. } | Progress::Gone => self.send(case),
        }
    }

    fn send(&mut self, mut case: Case) -> Result<Case, ChainError> {
        if case
            .refused
            .as_ref()
            .is_some_and(|(at, _)| *at >= self.tip.height)
        {
            return Ok(case); // refused on this block already
        }
        match self.chain.refute(&self.watch.exit) {
            Ok(sent) => {
                self.numbers.answers += 1;
                let what = format!(
                    "version {} was given to the node in transaction {}",
                    self.watch.version, sent.id
                );
                self.tell(Kind::Refuting, &case.dispute.clone(), what, "nothing");
                case.answer = Some(Answer {
                    sent,
                    version: self.watch.version,
                    given: self.tip.height,
                });
                (case.refused, case.poor) = (None, false);
                Ok(case)
            }
            Err(error) => self.failed(case, error),
        }
    }

    fn raise(&mut self, mut case: Case, answer: Answer) -> Result<Case, ChainError> {
        match self.chain.bump(&answer.sent) {
            Ok(sent) => {
                self.numbers.raises += 1;
                let what = format!(
                    "the answer was in no block and is given again for more, as transaction {}",
                    sent.id
                );
                self.tell(Kind::Raised, &case.dispute.clone(), what, "nothing");
                case.answer = Some(Answer {
                    sent,
                    given: self.tip.height,
                    ..answer
                });
                case.poor = false;
                Ok(case)
            }
            // Whoever sent it is gone: sent anew it takes the other's place.
            Err(ChainError::Unsupported(_)) => self.send(case),
            Err(error) => {
                // Not before the next block again.
                case.answer = Some(Answer {
                    given: self.tip.height,
                    ..answer
                });
                self.failed(case, error)
            }
        }
    }

    fn failed(&mut self, mut case: Case, error: ChainError) -> Result<Case, ChainError> {
        match error {
            ChainError::Node { .. } => return Err(error),
            ChainError::Fees { .. } => {
                if !case.poor {
                    case.poor = true;
                    let todo = "pay in several times that at once: the answer is given as soon as it is there";
                    self.tell(
                        Kind::FeeWalletEmpty,
                        &case.dispute.clone(),
                        error.to_string(),
                        todo,
                    );
                }
            }
            error => {
                // Another tower's answer may have been mined since the dispute was looked at: then there is nothing to say.
                let now = self.chain.dispute_of(&self.watch.exit)?;
                let answered = now.is_none_or(|now| now.version >= self.watch.version);
                let why = error.to_string();
                let said = case.refused.as_ref().is_some_and(|(_, said)| *said == why);
                if !answered && !said {
                    let todo = "read the reason; if the evidence is at fault give a newer file, otherwise answer by hand before the deadline; it is tried again with each block";
                    self.tell(Kind::Refused, &case.dispute.clone(), why.clone(), todo);
                }
                case.refused = Some((self.tip.height, why));
            }
        }
        Ok(case)
    }

    fn tell(&mut self, kind: Kind, dispute: &Dispute, what: String, todo: &'static str) {
        let channel = self.watch.channel;
        self.alerts.push(alert(kind, channel, dispute, what, todo));
    }
}

/// What hangs on a dispute, and whose it is.
fn at_risk(dispute: &Dispute) -> (u128, &'static str) {
    match dispute.owed.checked_sub(dispute.gives) {
        Some(less) => (less, "trader"),
        None => (dispute.gives - dispute.owed, "operator"),
    }
}

fn alert(kind: Kind, channel: B256, dispute: &Dispute, what: String, todo: &'static str) -> Alert {
    let (at_risk, owner) = at_risk(dispute);
    Alert {
        kind,
        channel: Some(channel),
        at_risk,
        owner: Some(owner),
        deadline: Some(dispute.deadline),
        what,
        todo,
    }
}

/// An alert about no channel.
pub fn said(kind: Kind, what: impl ToString, todo: &'static str) -> Alert {
    Alert {
        kind,
        channel: None,
        at_risk: 0,
        owner: None,
        deadline: None,
        what: what.to_string(),
        todo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Seen;
    use std::collections::HashMap;

    /// A chain that mines, of one wallet's transactions, those that pay its price and have none before them that does not.
    #[derive(Default)]
    struct Bench {
        height: u64,
        price: u64,
        disputes: HashMap<B256, Dispute>,
        /// In the order of their numbers: name, what it pays, the answer.
        pool: Vec<(B256, u64, (B256, u64))>,
        mined: HashMap<B256, u64>,
        named: u8,
        purse: u128,
        refuses: Option<&'static str>,
    }

    impl Bench {
        fn name(&mut self) -> Sent {
            self.named += 1;
            Sent {
                id: B256::repeat_byte(self.named),
                what: "answer",
            }
        }
        fn dispute(&mut self, channel: B256, version: u64) {
            let dispute = Dispute {
                version,
                deadline: 100,
                settled: false,
                gives: 3,
                owed: 10,
            };
            self.disputes.insert(channel, dispute);
        }
        fn mine(&mut self) {
            self.height += 1;
            while self.pool.first().is_some_and(|it| it.1 >= self.price) {
                let (id, _, (channel, version)) = self.pool.remove(0);
                self.mined.insert(id, self.height);
                let dispute = self.disputes.get_mut(&channel).unwrap();
                dispute.version = dispute.version.max(version);
            }
        }
    }

    impl Chain for Bench {
        type Exit = (B256, u64);
        fn tip(&mut self) -> Result<Block, ChainError> {
            Ok(self.block(self.height)?.unwrap())
        }
        fn block(&mut self, height: u64) -> Result<Option<Block>, ChainError> {
            Ok((height <= self.height).then(|| Block {
                height,
                hash: B256::repeat_byte(height as u8),
                time: height,
            }))
        }
        fn facts(&mut self, from: u64, _: u64) -> Result<Vec<Seen>, ChainError> {
            let seen = |channel: &B256| Seen {
                height: from,
                channel: *channel,
                fact: crate::life::Fact::Disputed { version: 1 },
            };
            Ok(self.disputes.keys().map(seen).collect())
        }
        fn dispute(&mut self, _: &Self::Exit) -> Result<Sent, ChainError> {
            Err(ChainError::Unsupported("a tower disputes nothing"))
        }
        fn refute(&mut self, exit: &Self::Exit) -> Result<Sent, ChainError> {
            if let Some(why) = self.refuses {
                return Err(ChainError::Refused {
                    what: "answer",
                    why: why.to_owned(),
                });
            }
            let sent = self.name();
            self.pool.push((sent.id, 1, *exit));
            Ok(sent)
        }
        fn settle(&mut self, _: &Self::Exit) -> Result<Sent, ChainError> {
            Err(ChainError::Unsupported("a tower settles nothing"))
        }
        fn progress(&mut self, sent: &Sent) -> Result<Progress, ChainError> {
            if let Some(height) = self.mined.get(&sent.id) {
                return Ok(Progress::Mined { height: *height });
            }
            let waits = self.pool.iter().any(|it| it.0 == sent.id);
            Ok(if waits {
                Progress::Waiting
            } else {
                Progress::Gone
            })
        }
        fn bump(&mut self, sent: &Sent) -> Result<Sent, ChainError> {
            let (raised, price) = (self.name(), self.price);
            let it = self.pool.iter_mut().find(|it| it.0 == sent.id);
            let it = it.ok_or(ChainError::Unsupported("unknown"))?;
            (it.0, it.1) = (raised.id, price);
            Ok(raised)
        }
    }

    impl Court for Bench {
        fn dispute_of(&mut self, exit: &Self::Exit) -> Result<Option<Dispute>, ChainError> {
            Ok(self.disputes.get(&exit.0).copied())
        }
        fn purse(&mut self) -> Result<Purse, ChainError> {
            Ok(Purse {
                payer: "wallet".to_owned(),
                has: self.purse,
                needs: 5,
            })
        }
    }

    fn start(channels: u8) -> (Bench, Tower<(B256, u64)>) {
        let mut tower = Tower::new(2);
        for number in 1..=channels {
            let channel = B256::repeat_byte(number);
            assert!(tower.watch(Watch {
                channel,
                version: 5,
                exit: (channel, 5),
            }));
        }
        let bench = Bench {
            height: 1,
            price: 1,
            purse: 10,
            ..Bench::default()
        };
        (bench, tower)
    }

    fn kinds(alerts: &[Alert]) -> Vec<Kind> {
        alerts.iter().map(|alert| alert.kind).collect()
    }

    /// An answer that another tower's overtook stands before later ones of the same wallet: it is raised with them.
    #[test]
    fn what_was_overtaken_does_not_block_later_answers() {
        let (mut bench, mut tower) = start(2);
        let [first, second] = [1, 2].map(B256::repeat_byte);
        bench.dispute(first, 4);
        bench.price = 7;
        assert_eq!(
            kinds(&tower.round(&mut bench)),
            [Kind::Disputed, Kind::Refuting]
        );
        bench.dispute(first, 5); // another tower's
        (0..3).for_each(|_| bench.mine());
        assert_eq!(tower.round(&mut bench), []);
        (0..2).for_each(|_| bench.mine());
        assert_eq!(kinds(&tower.round(&mut bench)), [Kind::Refuted]);
        assert_eq!(bench.pool.len(), 1, "it is not raised for nothing");
        bench.dispute(second, 1);
        bench.mine();
        assert_eq!(
            kinds(&tower.round(&mut bench)),
            [Kind::Disputed, Kind::Refuting]
        );
        bench.mine();
        assert_eq!(kinds(&tower.round(&mut bench)), [Kind::Raised]);
        bench.mine();
        assert_eq!(bench.disputes[&second].version, 5);
        assert!(bench.pool.is_empty());
    }

    #[test]
    fn a_newer_state_that_comes_meanwhile_is_shown_after_the_older() {
        let (mut bench, mut tower) = start(1);
        let channel = B256::repeat_byte(1);
        bench.dispute(channel, 4);
        tower.round(&mut bench);
        bench.mine();
        assert_eq!(tower.round(&mut bench), []);
        assert!(tower.watch(Watch {
            channel,
            version: 6,
            exit: (channel, 6)
        }));
        assert!(!tower.watch(Watch {
            channel,
            version: 5,
            exit: (channel, 5)
        }));
        assert_eq!(kinds(&tower.round(&mut bench)), [Kind::Refuting]);
        bench.mine();
        assert_eq!(bench.disputes[&channel].version, 6);
    }

    #[test]
    fn a_refusal_is_said_once_and_tried_again_with_each_block() {
        let (mut bench, mut tower) = start(1);
        let channel = B256::repeat_byte(1);
        bench.dispute(channel, 4);
        bench.refuses = Some("SessionRevoked");
        let alerts = tower.round(&mut bench);
        assert_eq!(kinds(&alerts), [Kind::Disputed, Kind::Refused]);
        assert_eq!((alerts[1].at_risk, alerts[1].deadline), (7, Some(100)));
        bench.mine();
        assert_eq!(tower.round(&mut bench), []);
        bench.refuses = None;
        assert_eq!(tower.round(&mut bench), [], "not twice on one block");
        bench.mine();
        assert_eq!(kinds(&tower.round(&mut bench)), [Kind::Refuting]);
        bench.height = 100;
        assert_eq!(kinds(&tower.round(&mut bench)), [Kind::Lost]);
        assert_eq!(tower.round(&mut bench), []);
        assert_eq!((tower.numbers().lost, tower.numbers().open), (1, 0));
    }

    #[test]
    fn an_operator_loses_what_a_trader_takes_by_an_old_state() {
        let dispute = Dispute {
            version: 1,
            deadline: 9,
            settled: false,
            gives: 10,
            owed: 4,
        };
        assert_eq!(at_risk(&dispute), (6, "operator"));
    }
}
