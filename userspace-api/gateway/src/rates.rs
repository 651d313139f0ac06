//! How many messages a packet of a session may have: a packet is charged against its rates whole, and one with more than their burst is never taken.
//!
//! From the records, where every grant and every limit stands. A limit that was lowered and is not followed yet costs the packet, not the order: it
//! is not taken, and its sender is told so.

use crate::orders::body;
use ring0_engine::control::{ControlKind, Grant, SetRisk};
use ring0_engine::record::{ControlRecord, Head, Kind, Outcome};
use ring0_wire::{MESSAGES_MAX, SessionId};
use std::collections::HashMap;
use zerocopy::FromBytes;

/// See the module.
#[derive(Debug, Default)]
pub struct Rates {
    /// Bursts in messages, the tag block counted, of those that have a rate.
    sessions: HashMap<SessionId, u32>,
    accounts: HashMap<u32, u32>,
}

impl Rates {
    /// Takes a whole record.
    pub fn record(&mut self, head: &Head, bytes: &[u8]) {
        if Kind::from_number(head.kind) != Some(Kind::Control) {
            return;
        }
        let Ok(record) = ControlRecord::read_from_bytes(bytes) else {
            return;
        };
        if record.outcome == Outcome::Rejected as u8 {
            return;
        }
        if record.kind == ControlKind::GrantSession as u32 {
            let grant: Grant = body(&record);
            let burst = (grant.interval_ns != 0).then_some(grant.burst);
            set(&mut self.sessions, SessionId(grant.id), burst);
        } else if record.kind == ControlKind::SetRisk as u32 {
            let risk: SetRisk = body(&record);
            let burst = (risk.interval_ns != 0).then_some(risk.burst);
            set(&mut self.accounts, risk.account, burst);
        }
    }

    /// Messages, the tag block not counted, that a packet of a session of an account may have.
    #[must_use]
    pub fn messages_max(&self, session: SessionId, account: u32) -> usize {
        let bursts = [self.sessions.get(&session), self.accounts.get(&account)];
        let lowest = bursts.into_iter().flatten().min();
        let counted = lowest.map_or(u32::MAX, |burst| burst.saturating_sub(1).max(1));
        counted.min(MESSAGES_MAX.into()) as usize
    }
}

fn set<K: std::hash::Hash + Eq>(bursts: &mut HashMap<K, u32>, of: K, burst: Option<u32>) {
    match burst {
        Some(burst) => bursts.insert(of, burst),
        None => bursts.remove(&of),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_engine::control::{Body, Control};
    use zerocopy::{FromZeros, IntoBytes};

    fn record<B: Body>(kind: ControlKind, body: &B, outcome: Outcome) -> ControlRecord {
        let control = Control::new(kind, body);
        ControlRecord {
            kind: kind as u32,
            outcome: outcome as u8,
            body: control.body,
            ..ControlRecord::new_zeroed()
        }
    }

    #[test]
    fn the_lowest_burst_bounds_a_packet() {
        let session = SessionId::new(3, 4).unwrap();
        let head = Head {
            kind: Kind::Control as u16,
            ..Head::new_zeroed()
        };
        let mut rates = Rates::default();
        let mut grant = Grant {
            id: session.0,
            burst: 20,
            interval_ns: 1_000,
            ..Grant::new_zeroed()
        };
        let mut risk = SetRisk {
            account: 7,
            burst: 10,
            interval_ns: 1_000,
            ..SetRisk::new_zeroed()
        };
        assert_eq!(rates.messages_max(session, 7), 68, "no rate");
        let mut feed = |record: &ControlRecord, want: usize, why: &str| {
            rates.record(&head, record.as_bytes());
            assert_eq!(rates.messages_max(session, 7), want, "{why}");
        };
        let (granted, risked) = (ControlKind::GrantSession, ControlKind::SetRisk);
        feed(&record(granted, &grant, Outcome::Accepted), 19, "its own");
        feed(&record(risked, &risk, Outcome::Rejected), 19, "rejected");
        feed(
            &record(risked, &risk, Outcome::Accepted),
            9,
            "its account's",
        );
        risk.burst = 1;
        feed(&record(risked, &risk, Outcome::Accepted), 1, "one at least");
        risk.interval_ns = 0;
        feed(
            &record(risked, &risk, Outcome::Accepted),
            19,
            "its own again",
        );
        grant.interval_ns = 0;
        feed(&record(granted, &grant, Outcome::Accepted), 68, "none");
    }
}
