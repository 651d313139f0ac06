//! What must agree: the recording with the answers, and its replays with the events and the live state.

use super::traders::Tally;
use crate::fail::Fail;
use ring0_engine::Capacity;
use ring0_engine::canon::StateHash;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::native::Native;
use ring0_engine::record::{Head, Kind, Message};
use ring0_engine::reference::Reference;
use ring0_engine::replay::{Replayer, Tail, Target};
use ring0_mq::Records;
use ring0_trader::Outcome;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;
use zerocopy::FromBytes;

/// Bytes that a replay is fed at once, and compared.
const CHUNK: usize = 1 << 20;

/// One line of the report.
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) found: Value,
    /// What it had to be, if it is not.
    wanted: Option<Value>,
}

/// Lines of the report, some of which had to have a value.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn note(&mut self, name: &'static str, found: impl Into<Value>) {
        self.0.push(Finding {
            name,
            found: found.into(),
            wanted: None,
        });
    }

    pub(super) fn expect(
        &mut self,
        name: &'static str,
        wanted: impl Into<Value>,
        found: impl Into<Value>,
    ) {
        let (wanted, found) = (wanted.into(), found.into());
        let wanted = (wanted != found).then_some(wanted);
        self.0.push(Finding {
            name,
            found,
            wanted,
        });
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    pub(super) fn disagreements(&self) -> Vec<String> {
        let wrong = self
            .0
            .iter()
            .filter_map(|one| one.wanted.as_ref().map(|wanted| (one, wanted)));
        wrong
            .map(|(one, wanted)| format!("{} is {} and must be {wanted}", one.name, one.found))
            .collect()
    }
}

/// What was recorded, and how far the ring had got.
#[derive(Default)]
pub(crate) struct Recording {
    /// The records, whole.
    pub(crate) bytes: Vec<u8>,
    /// The ring's slot at which they begin.
    pub(super) first: u64,
    /// Slots that the ring has published.
    pub(super) published: u64,
}

impl Recording {
    /// The file that the recorder wrote.
    pub(crate) fn read(path: &Path, published: u64) -> Result<Recording, Fail> {
        let mut records = Records::open(path)?;
        let (mut bytes, mut record) = (Vec::new(), Vec::new());
        while records.next_into(&mut record)? {
            bytes.extend_from_slice(&record);
        }
        Ok(Recording {
            bytes,
            first: records.first(),
            published,
        })
    }
}

impl Recording {
    /// Takes away the records from this sequence number on: those of a packet that a shard which ended had not finished.
    pub(super) fn cut(&mut self, sequence: u64) {
        let mut at = 0;
        while let Ok((head, _)) = Head::read_from_prefix(&self.bytes[at..]) {
            if head.sequence >= sequence {
                break;
            }
            at += usize::from(head.slots.max(1)) * SLOT_LEN;
        }
        self.bytes.truncate(at);
    }
}

/// The recording against the ring and the answers.
pub(super) fn recording(
    recording: &Recording,
    tallies: &[Tally],
    findings: &mut Findings,
) -> Result<(), Fail> {
    let (mut count, mut fills, mut sequence) = (0_u64, 0_u64, 0);
    let mut executed: HashMap<(u32, u64), Message> = HashMap::new();
    let mut duplicates = 0_u64;
    let mut at = 0;
    while let Ok((head, _)) = Head::read_from_prefix(&recording.bytes[at..]) {
        count += 1;
        sequence = head.sequence;
        fills += u64::from(head.kind == Kind::Filled as u16);
        let end = at + usize::from(head.slots.max(1)) * SLOT_LEN;
        if head.kind == Kind::Message as u16 {
            let message = recording.bytes.get(at..end).map(Message::read_from_bytes);
            let Some(Ok(message)) = message else {
                return Err(Fail::disagreed(format!(
                    "record {sequence} has a wrong length"
                )));
            };
            let before = executed.insert((message.session, message.client_sequence), message);
            duplicates += u64::from(before.is_some());
        }
        at = end;
    }
    let mut lost = 0_u64;
    let mut different = 0_u64;
    for tally in tallies {
        lost += tally.sent - tally.acks.len() as u64;
        for ack in &tally.acks {
            let outcome = match ack.outcome {
                Outcome::Accepted => b'A',
                Outcome::Rejected => b'R',
                Outcome::Continues => b'C',
                Outcome::Forgotten => continue,
            };
            match executed.get(&(tally.session, ack.sequence)) {
                None => lost += 1,
                Some(found) => {
                    let equal = found.head.sequence == ack.venue_sequence
                        && (found.outcome, found.reason, found.quantity)
                            == (outcome, ack.reason_number, ack.quantity);
                    different += u64::from(!equal);
                }
            }
        }
    }
    findings.note("fills", fills);
    findings.expect("lost", 0, lost);
    findings.expect("duplicates_executed", 0, duplicates);
    findings.expect("answers_unlike_their_record", 0, different);
    findings.note("records", count);
    findings.expect("recording_begins_at_slot", 0, recording.first);
    // Records are numbered from 1; the reader itself stops where one is missing.
    findings.expect("records_missing", 0, sequence - count);
    let recorded = recording.first + (recording.bytes.len() / SLOT_LEN) as u64;
    findings.expect(
        "slots_not_recorded",
        0,
        recording.published.abs_diff(recorded),
    );
    Ok(())
}

/// The recorded commands through the native engine and the reference book. `live`: the ring's own state hash, in hexadecimal.
pub(super) fn replays(
    bytes: &[u8],
    capacity: Capacity,
    ring: &str,
    live: Value,
    findings: &mut Findings,
) -> Result<(), Fail> {
    let mut native = Native::new(&capacity)?;
    let begin = Instant::now();
    let equal = replay(bytes, &mut native, Native::take_records)?;
    findings.note("native_replay_seconds", begin.elapsed().as_secs_f64());
    findings.expect("native_events_equal", true, equal);
    native.shard().check();

    let mut reference = Reference::new(capacity);
    let begin = Instant::now();
    let equal = replay(bytes, &mut reference, Reference::take_records)?;
    findings.note("reference_replay_seconds", begin.elapsed().as_secs_f64());
    findings.expect("reference_events_equal", true, equal);

    findings.note("ring", ring);
    findings.note("ring_state_hash", live.clone());
    findings.expect(
        "native_state_hash",
        live.clone(),
        hex(native.shard().state_hash()),
    );
    findings.expect("reference_state_hash", live, hex(reference.state_hash()));
    Ok(())
}

/// A state hash as tools print it.
pub(super) fn hex(hash: StateHash) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the target, given the recorded commands, writes the same records byte for byte.
fn replay<T: Target>(
    bytes: &[u8],
    target: &mut T,
    take: impl Fn(&mut T) -> Vec<u8>,
) -> Result<bool, Fail> {
    let mut replayer = Replayer::new(target, None);
    let mut written = Vec::new();
    let mut compared = 0;
    let mut equal = true;
    for chunk in bytes.chunks(CHUNK) {
        replayer.feed(chunk, target).map_err(Fail::disagreed)?;
        written.append(&mut take(target));
        let whole = written.len() / SLOT_LEN * SLOT_LEN;
        let end = (compared + whole).min(bytes.len());
        equal &= bytes[compared..end] == written[..end - compared];
        written.drain(..end - compared);
        compared = end;
    }
    let tail = replayer.finish(target);
    Ok(equal && compared == bytes.len() && written.is_empty() && tail == Tail::Clean)
}
