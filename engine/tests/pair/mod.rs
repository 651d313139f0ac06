//! Engine and reference side by side: one input through both, equal in every byte of answers, results and records, and in
//! state; and a failing sequence made short.
#![allow(dead_code, reason = "each test uses its part")]

use crate::tape::{Record, readable, records};
use ring0_engine::canon::{Listing, Tag, Text};
use ring0_engine::flow::Input;
use ring0_engine::native::{Dropped, Native};
use ring0_engine::record::Outcome;
use ring0_engine::reference::Reference;
use ring0_engine::{Capacity, Reason};
use ring0_wire::SessionId;
use ring0_wire::host::{Answer, PacketBuilder, Request};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Both readings of the page.
pub(crate) struct Pair {
    pub(crate) native: Native,
    pub(crate) reference: Reference,
}

/// What one input gave, equal on both sides.
pub(crate) struct Fed {
    /// The answer, if it was a packet of a granted session.
    pub(crate) answer: Option<Vec<u8>>,
    /// What became of each control command.
    pub(crate) results: Vec<(Outcome, Reason)>,
    pub(crate) records: Vec<u8>,
    /// Whose message rate the packet is above, if that is why it was not taken.
    pub(crate) limited: Option<Limited>,
}

/// Whose message rate a packet is above.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Limited {
    /// Its session's; its account's would allow it.
    Session,
    /// The account's alone.
    Account,
    Both,
}

/// What the listing says of message rates: state, interval, burst.
#[derive(Default)]
struct Rates {
    /// Venue time, day base.
    clocks: (u64, u64),
    accounts: HashMap<u64, [u64; 3]>,
    /// With the account of the session before them.
    sessions: HashMap<u64, (u64, [u64; 3])>,
}

impl Listing for Rates {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        match (tag, numbers) {
            (Tag::Shard, &[time, day_base, ..]) => self.clocks = (time, day_base),
            (Tag::Account, &[index, _, _, _, _, _, _, state, interval, burst]) => {
                self.accounts.insert(index, [state, interval, burst]);
            }
            (Tag::Session, &[index, _, _, account, _, _, _, state, interval, burst, ..]) => {
                self.sessions
                    .insert(index, (account, [state, interval, burst]));
            }
            _ => {}
        }
    }
}

impl Fed {
    /// Whether a packet was taken.
    pub(crate) fn has_messages(&self) -> bool {
        records(&self.records).any(|record| matches!(record, Record::Message(_)))
    }
}

impl Pair {
    pub(crate) fn new(capacity: Capacity) -> Pair {
        Pair {
            native: Native::new(&capacity).expect("memory for a small shard"),
            reference: Reference::new(capacity),
        }
    }

    /// One input through both.
    pub(crate) fn feed(&mut self, input: &Input, boot_ns: u64) -> Result<Fed, String> {
        let (mut answer, mut results) = (None, Vec::new());
        match input {
            Input::Packet(payload) => match self.native.packet(payload, boot_ns, None) {
                Ok((_, native)) => {
                    let reference = self.reference.packet(payload, boot_ns);
                    if native != reference {
                        let answers = differing_answers(BOTH, [&native, &reference]);
                        let records = self.differing_records().unwrap_or_default();
                        return Err(answers + &records);
                    }
                    answer = Some(native);
                }
                Err(Dropped::UnknownSession) => {}
                Err(cause) => panic!("the flow's packets are well-formed: {cause:?}"),
            },
            Input::Control(controls) => {
                let native = self.native.control(controls, boot_ns);
                let reference = self.reference.control(controls, boot_ns);
                if native != reference {
                    let records = self.differing_records().unwrap_or_default();
                    return Err(format!(
                        "results of control commands\nnative    {native:?}\nreference {reference:?}\n{records}"
                    ));
                }
                results = native;
                self.same_equilibriums()?;
            }
            Input::Steps => {
                self.native.steps();
                self.reference.steps();
            }
        }
        let (native, reference) = (self.native.take_records(), self.reference.take_records());
        if native != reference {
            return Err(first_difference(BOTH, [&native, &reference]));
        }
        let limited = answer
            .as_deref()
            .and_then(|answer| self.limited(answer, boot_ns));
        Ok(Fed {
            answer,
            results,
            records: native,
            limited,
        })
    }

    /// Whose rate a packet with this answer is above. Nothing has changed since, as it was not taken.
    fn limited(&self, answer: &[u8], boot_ns: u64) -> Option<Limited> {
        let first_ack = answer.get(22..)?;
        let count = u128::from(u16::from_be_bytes([answer[18], answer[19]]));
        if (first_ack[1], first_ack[2]) != (b'N', Reason::RateLimited as u8) {
            return None;
        }
        let mut rates = Rates::default();
        self.native.shard().list(&mut rates);
        let (time, day_base) = rates.clocks;
        let now = time.max(day_base.wrapping_add(boot_ns));
        let id = SessionId(answer[..10].try_into().ok()?);
        let (account, of_session) = rates.sessions[&u64::from(id.index()?)];
        let is_above = |[state, interval, burst]: [u64; 3]| {
            let allowed = u128::from(now) + u128::from(burst) * u128::from(interval);
            let asked = u128::from(state.max(now)) + count * u128::from(interval);
            interval != 0 && asked > allowed
        };
        match (is_above(of_session), is_above(rates.accounts[&account])) {
            (true, false) => Some(Limited::Session),
            (false, true) => Some(Limited::Account),
            (true, true) => Some(Limited::Both),
            (false, false) => panic!("a packet within both rates is taken"),
        }
    }

    /// What an auction of each book would do now, which a control command may ask next.
    fn same_equilibriums(&self) -> Result<(), String> {
        let shard = self.native.shard();
        for index in 0..shard.header().instruments_max.get() {
            if shard.market_state(index).is_none() {
                continue;
            }
            let native = shard.equilibrium(index);
            let native = native.map(|it| (it.price, it.volume, it.imbalance));
            let reference = self.reference.equilibrium(index);
            if native != reference {
                return Err(format!(
                    "auction of {index}\nnative    {native:?}\nreference {reference:?}"
                ));
            }
        }
        Ok(())
    }

    fn differing_records(&mut self) -> Option<String> {
        let (native, reference) = (self.native.take_records(), self.reference.take_records());
        (native != reference).then(|| first_difference(BOTH, [&native, &reference]))
    }

    /// The state hash of both, without their checks.
    pub(crate) fn same_hashes(&self) -> Result<(), String> {
        if self.native.shard().state_hash() == self.reference.state_hash() {
            return Ok(());
        }
        Err(format!("states\n{}", self.differing_states()))
    }

    /// Hash and invariants of both.
    pub(crate) fn same_states(&self) -> Result<(), String> {
        self.same_hashes()?;
        self.native.shard().check();
        self.reference.check();
        Ok(())
    }

    pub(crate) fn differing_states(&self) -> String {
        let (mut native, mut reference) = (Text::default(), Text::default());
        self.native.shard().list(&mut native);
        self.reference.list(&mut reference);
        differing_lines(BOTH, [&native.0, &reference.0])
    }
}

/// Names of the sides of a pair.
const BOTH: [&str; 2] = ["native", "reference"];

/// What two named answers say that the other does not.
pub(crate) fn differing_answers(names: [&str; 2], answers: [&[u8]; 2]) -> String {
    let texts = answers.map(|bytes| format!("{:#?}", Answer::read(bytes, None)));
    let lines = differing_lines(names, [&texts[0], &texts[1]]);
    if lines.is_empty() {
        return format!("answers\n{:x?}\n{:x?}\n", answers[0], answers[1]);
    }
    format!("answers\n{lines}")
}

/// The records of two named sides up to the first that differs, and that one of both.
pub(crate) fn first_difference(names: [&str; 2], sides: [&[u8]; 2]) -> String {
    let texts = sides.map(readable);
    let alike = texts[0]
        .lines()
        .zip(texts[1].lines())
        .take_while(|(one, other)| one == other)
        .count();
    let mut text = String::from("records\n");
    for line in texts[0].lines().take(alike).skip(alike.saturating_sub(12)) {
        let _ = writeln!(text, "both      {line}");
    }
    for (name, lines) in names.iter().zip(&texts) {
        for line in lines.lines().skip(alike).take(3) {
            let _ = writeln!(text, "{name:9} {line}");
        }
    }
    text
}

/// The lines of one named text that the other has not, the first thirty of each.
pub(crate) fn differing_lines(names: [&str; 2], texts: [&str; 2]) -> String {
    let mut text = String::new();
    for (name, lines, others) in [
        (names[0], texts[0], texts[1]),
        (names[1], texts[1], texts[0]),
    ] {
        let others: HashSet<_> = others.lines().collect();
        for line in lines.lines().filter(|line| !others.contains(line)).take(30) {
            let _ = writeln!(text, "only {name:9} {line}");
        }
    }
    text
}

/// An input with its time, and whether it was a packet that was taken; not known of the one that failed.
#[derive(Clone)]
pub(crate) struct Given {
    input: Input,
    boot_ns: u64,
    taken: Option<bool>,
}

/// Inputs, so that they can be fed again with some of them left out.
#[derive(Clone, Default)]
pub(crate) struct Sequence(pub(crate) Vec<Given>);

impl Sequence {
    /// An input that is about to be fed.
    pub(crate) fn push(&mut self, input: &Input, boot_ns: u64) {
        let (input, taken) = (input.clone(), None);
        self.0.push(Given {
            input,
            boot_ns,
            taken,
        });
    }

    /// What became of it.
    pub(crate) fn fed(&mut self, fed: &Fed) {
        if let Some(given) = self.0.last_mut() {
            given.taken = Some(fed.has_messages());
        }
    }

    /// Feeds all of it to a new pair; what went wrong first, a panic too. Packets that were next in their session are made next
    /// again, so that one left out does not make the later ones holes.
    pub(crate) fn failure(&self, capacity: Capacity) -> Option<String> {
        let mut pair = Pair::new(capacity);
        // Client sequences expected by session id, then and now.
        let mut then: HashMap<[u8; 10], u64> = HashMap::new();
        let mut now = then.clone();
        // A long sequence is not looked through after each of its inputs: it is fed often.
        let check_every = self.0.len() / 256 + 1;
        for (number, given) in self.0.iter().enumerate() {
            let is_checked = number % check_every == 0 || number + 1 == self.0.len();
            let (mut input, boot_ns) = (given.input.clone(), &given.boot_ns);
            if let Input::Packet(payload) = &mut input
                && let Ok(request) = Request::read(payload)
            {
                let expected = then.entry(request.session.0).or_insert(1);
                if given.taken.unwrap_or(request.sequence == *expected) {
                    *expected = request.sequence + request.messages.len() as u64 + 1;
                    let next = now.entry(request.session.0).or_insert(1);
                    if request.sequence == 1 {
                        *next = 1; // the session was granted anew
                    }
                    payload[10..18].copy_from_slice(&next.to_be_bytes());
                }
            }
            let fed = catch_unwind(AssertUnwindSafe(|| {
                let fed = pair.feed(&input, *boot_ns)?;
                if is_checked {
                    pair.same_states()?;
                }
                Ok::<_, String>(fed)
            }));
            match fed {
                Ok(Ok(fed)) => {
                    if let Input::Packet(payload) = &input
                        && fed.has_messages()
                        && let Ok(request) = Request::read(payload)
                    {
                        let next = request.sequence + request.messages.len() as u64 + 1;
                        now.insert(request.session.0, next);
                    }
                }
                Ok(Err(text)) => return Some(format!("input {}: {text}", number + 1)),
                Err(panic) => {
                    let text = panic
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    return Some(format!(
                        "input {}: panic: {}",
                        number + 1,
                        text.unwrap_or_default()
                    ));
                }
            }
        }
        None
    }

    /// Leaves out what is not needed to fail, for at most a minute: inputs in halves, then one by one, then messages.
    pub(crate) fn shrunk(mut self, capacity: Capacity) -> Sequence {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {})); // the panics in between are not the news
        let until = Instant::now() + Duration::from_secs(60);
        let fails = |sequence: &Sequence| sequence.failure(capacity).is_some();
        if fails(&self) {
            let mut piece = self.0.len().div_ceil(2);
            loop {
                let mut at = 0;
                while at < self.0.len() && Instant::now() < until {
                    let mut less = self.clone();
                    less.0.drain(at..(at + piece).min(less.0.len()));
                    if fails(&less) {
                        self = less;
                    } else {
                        at += piece;
                    }
                }
                if piece == 1 || Instant::now() >= until {
                    break;
                }
                piece = piece.div_ceil(2);
            }
            self.fewer_messages(&fails, until);
        }
        std::panic::set_hook(hook);
        self
    }

    fn fewer_messages(&mut self, fails: &dyn Fn(&Sequence) -> bool, until: Instant) {
        for at in 0..self.0.len() {
            let mut message = 0;
            while Instant::now() < until {
                let mut less = self.clone();
                match &mut less.0[at].input {
                    Input::Packet(payload) => {
                        let Ok(request) = Request::read(payload) else {
                            break;
                        };
                        if message >= request.messages.len() {
                            break;
                        }
                        let mut builder = PacketBuilder::new(request.session, request.sequence);
                        for (n, kept) in request.messages.iter().enumerate() {
                            if n != message {
                                builder.push(kept).expect("it fitted before");
                            }
                        }
                        *payload = builder.sign(None);
                    }
                    Input::Control(controls) if message < controls.len() => {
                        controls.remove(message);
                    }
                    _ => break,
                }
                if fails(&less) {
                    *self = less;
                } else {
                    message += 1;
                }
            }
        }
    }

    /// The inputs as text: the records that the native engine alone makes of them, as far as it comes.
    pub(crate) fn readable(&self, capacity: Capacity) -> String {
        let mut native = Native::new(&capacity).expect("memory for a small shard");
        let mut text = String::new();
        for Given { input, boot_ns, .. } in &self.0 {
            let _ = match input {
                Input::Packet(payload) => match Request::read(payload) {
                    Ok(request) => writeln!(
                        text,
                        "> packet of {:?} from {}, {} messages",
                        request.session.index(),
                        request.sequence,
                        request.messages.len()
                    ),
                    Err(error) => writeln!(text, "> packet: {error:?}"),
                },
                Input::Control(controls) => writeln!(text, "> {} control commands", controls.len()),
                Input::Steps => writeln!(text, "> steps"),
            };
            let done = catch_unwind(AssertUnwindSafe(|| match input {
                Input::Packet(payload) => drop(native.packet(payload, *boot_ns, None)),
                Input::Control(controls) => drop(native.control(controls, *boot_ns)),
                Input::Steps => native.steps(),
            }));
            text.push_str(&readable(&native.take_records()));
            if done.is_err() {
                text.push_str("the native engine stopped here\n");
                break;
            }
        }
        text
    }

    /// Ends the test: what went wrong, and the shortest sequence found that goes wrong too.
    pub(crate) fn fail(self, capacity: Capacity, head: &str, failure: &str) -> ! {
        let whole = self.0.len();
        let short = self.shrunk(capacity);
        let again = short.failure(capacity);
        let text = short.readable(capacity);
        let from = text.lines().count().saturating_sub(150);
        let text: String = text
            .lines()
            .skip(from)
            .fold(String::new(), |text, line| text + line + "\n");
        panic!(
            "{head}: {failure}\nShrunk from {whole} to {} inputs, which fail with {}\nThe records of the native engine:\n{text}",
            short.0.len(),
            again.as_deref().unwrap_or("nothing")
        );
    }
}
