//! The heads of the venue's audit logs as a batch carries them: one entry more under the operator's signature (CUSTODY 19).
//!
//! A batch's entries are of (hub, token) pairs. The logs' entry has the form of one whose lineage, hub and token are zero and whose sums are zero;
//! no hub is at the zero address, so no hub takes it for one of its own, and the other entries are proven as before, by a way to the root.

use crate::evidence::{EvidenceError, place, u40};
use crate::key::Signature;
use crate::message::{Batch, Hub, venue_domain};
use crate::tree::{self, Sums};
use crate::{Address, B256, U256};
use alloy_primitives::keccak256;
use serde::{Deserialize, Serialize};

/// Longest name of a log.
pub const NAME_MAX: usize = 32;

/// Most logs that a batch names: one of settlement, one of each gateway.
pub const LOGS_MAX: usize = 64;

/// What the hash of the heads begins with, so that it is the hash of nothing else.
const DOMAIN: &[u8] = b"Ring0 audit heads 1\n";

/// What the file says it is.
const FORMAT: &str = "ring0-audit-1";

/// A log, as far as it was.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// The log's name in the venue.
    pub name: String,
    /// Its entries.
    pub entries: u64,
    /// What names all of them: SHA-256 of the head before the last entry and that entry.
    pub head: B256,
}

/// Heads that are not written into a batch.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadsError {
    /// A name that is none.
    #[error("{0:?} is no name of a log: give 1 to {NAME_MAX} small letters, digits and hyphens")]
    Name(String),
    /// A name that two have.
    #[error("two logs are called {0:?}; give each a name of its own")]
    Twice(String),
    /// More than a batch takes.
    #[error(
        "{0} logs are more than {LOGS_MAX}; the names of those that are no more can be left out"
    )]
    Many(usize),
}

/// Heads of logs, in the order of their names, no name twice.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Vec<LogHead>", into = "Vec<LogHead>")]
pub struct Heads(Vec<LogHead>);

impl TryFrom<Vec<LogHead>> for Heads {
    type Error = HeadsError;

    fn try_from(mut heads: Vec<LogHead>) -> Result<Heads, HeadsError> {
        if heads.len() > LOGS_MAX {
            return Err(HeadsError::Many(heads.len()));
        }
        heads.sort_by(|a, b| a.name.cmp(&b.name));
        for head in &heads {
            check_name(&head.name)?;
        }
        match heads.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(HeadsError::Twice(pair[0].name.clone())),
            None => Ok(Heads(heads)),
        }
    }
}

impl From<Heads> for Vec<LogHead> {
    fn from(heads: Heads) -> Vec<LogHead> {
        heads.0
    }
}

/// Whether a log may be called so.
///
/// # Errors
/// [`HeadsError::Name`].
pub fn check_name(name: &str) -> Result<(), HeadsError> {
    let good = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    match (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(good) {
        true => Ok(()),
        false => Err(HeadsError::Name(name.to_owned())),
    }
}

impl Heads {
    /// Whether there is none: then a batch has no entry for them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &LogHead> {
        self.0.iter()
    }

    /// The log of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&LogHead> {
        self.0.iter().find(|it| it.name == name)
    }

    /// Notes how far a log is now.
    ///
    /// # Errors
    /// See [`HeadsError`]; nothing has changed.
    pub fn set(&mut self, head: LogHead) -> Result<(), HeadsError> {
        let others = self.0.iter().filter(|it| it.name != head.name).cloned();
        *self = Heads::try_from(others.chain([head.clone()]).collect::<Vec<_>>())?;
        Ok(())
    }

    /// One hash over all: of each log the length of its name, the name, its entries and its head.
    #[must_use]
    pub fn root(&self) -> B256 {
        let mut preimage = DOMAIN.to_vec();
        for it in &self.0 {
            preimage.push(it.name.len() as u8);
            preimage.extend(it.name.as_bytes());
            preimage.extend(it.entries.to_be_bytes());
            preimage.extend(it.head);
        }
        keccak256(preimage)
    }

    /// The leaf in the tree of a batch's entries; `None`: there are no heads, and no leaf.
    #[must_use]
    pub fn entry(&self) -> Option<B256> {
        let nowhere = Hub {
            lineage: U256::ZERO,
            address: Address::ZERO,
        };
        let sums = Sums {
            hash: self.root(),
            balance: 0,
            excess: 0,
        };
        (!self.is_empty()).then(|| sums.entry(&nowhere, Address::ZERO))
    }
}

/// The way from the heads to a batch that the operator signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HeadsProof {
    /// The heads.
    pub heads: Heads,
    /// Place of their entry.
    pub position: u64,
    /// Way to the batch's root.
    pub path: Vec<B256>,
    /// The batch's epoch.
    pub epoch: u64,
    /// The batch before.
    pub previous: B256,
    /// The operator's, of the batch.
    pub signature: Signature,
}

impl HeadsProof {
    /// Whether the operator of a venue signed a batch with these heads.
    ///
    /// # Errors
    /// The way leads nowhere, or the signature is another's.
    pub fn verify(&self, venue: B256, operator: Address) -> Result<(), EvidenceError> {
        let entry = self.heads.entry();
        let root = entry.and_then(|it| tree::root(it, place(self.position), &self.path));
        let batch = Batch {
            epoch: u40("epoch", self.epoch)?,
            previous: self.previous,
            entries: root.ok_or(EvidenceError::Path("audit heads"))?,
        };
        let signed = self
            .signature
            .require(&batch, &venue_domain(venue), operator);
        signed.map_err(|why| EvidenceError::Signature {
            whose: "operator's",
            why,
        })
    }
}

/// The heads of a batch for whoever has no channel in it: an auditor.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFile {
    format: String,
    /// The venue's id.
    pub venue: B256,
    /// Who signs for the exchange.
    pub operator: Address,
    /// The heads and their way.
    pub audit: HeadsProof,
}

impl AuditFile {
    /// Of a batch.
    #[must_use]
    pub fn new(venue: B256, operator: Address, audit: HeadsProof) -> AuditFile {
        AuditFile {
            format: FORMAT.to_owned(),
            venue,
            operator,
            audit,
        }
    }

    /// Whether it is of the format that is read here.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.format == FORMAT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str, entries: u64) -> LogHead {
        LogHead {
            name: name.to_owned(),
            entries,
            head: B256::repeat_byte(entries as u8),
        }
    }

    #[test]
    fn heads_are_in_order_and_each_name_once() {
        let one = Heads::try_from(vec![log("settled", 7), log("gateway", 3)]).unwrap();
        let other = Heads::try_from(vec![log("gateway", 3), log("settled", 7)]).unwrap();
        assert_eq!((one.root(), one.entry()), (other.root(), other.entry()));
        assert_eq!(one.get("gateway"), Some(&log("gateway", 3)));
        let twice = Heads::try_from(vec![log("a", 1), log("a", 2)]);
        assert_eq!(twice, Err(HeadsError::Twice("a".to_owned())));
        for bad in ["", "Gate", "a b", "é", &"x".repeat(NAME_MAX + 1)] {
            assert!(Heads::try_from(vec![log(bad, 1)]).is_err(), "{bad:?}");
        }
        let many = (0..=LOGS_MAX).map(|it| log(&format!("log-{it}"), 1));
        let many = Heads::try_from(many.collect::<Vec<_>>());
        assert_eq!(many, Err(HeadsError::Many(LOGS_MAX + 1)));
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Heads>(&json).unwrap(), one);
        let json = json.replace("gateway", "settled");
        assert!(serde_json::from_str::<Heads>(&json).is_err());
        assert_eq!(Heads::default().entry(), None);
    }

    #[test]
    fn every_field_is_in_the_root_and_a_log_goes_on() {
        let mut heads = Heads::try_from(vec![log("ab", 1), log("c", 2)]).unwrap();
        let changed = [
            vec![log("a", 1), log("bc", 2)],
            vec![log("ab", 1)],
            vec![log("ab", 2), log("c", 2)],
            vec![
                LogHead {
                    head: B256::ZERO,
                    ..log("ab", 1)
                },
                log("c", 2),
            ],
        ];
        for other in changed {
            assert_ne!(Heads::try_from(other).unwrap().root(), heads.root());
        }
        heads.set(log("c", 9)).unwrap();
        heads.set(log("d", 1)).unwrap();
        let after = [log("ab", 1), log("c", 9), log("d", 1)];
        assert!(heads.iter().eq(&after));
        assert!(heads.set(log("No", 1)).is_err());
        assert!(heads.iter().eq(&after));
    }
}
