//! What is said over the signer's socket: one JSON object a line with a `verb`, answered by one with `ok`.
//!
//! `sign` carries many messages of one key; each is answered by a signature or by a refusal with its name. Whoever asks keeps the newest [`Seen`]
//! of the answers beside what it has signed and gives it with the next request: a signer whose store is older than that refuses.

use crate::approval::Approval;
use crate::history::Filter;
use crate::message::Message;
use ring0_channels::B256;
use ring0_channels::key::Signature;
use ring0_hashlog::Head;
use serde::{Deserialize, Serialize};

/// Longest request or answer in bytes: some 4,000 messages.
pub const LINE_BYTES_MAX: u64 = 4 << 20;

/// Most messages in one request.
pub const MESSAGES_MAX: usize = 4096;

/// One line to the signer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Sign messages.
    Sign {
        /// The key's name.
        key: String,
        /// At most [`MESSAGES_MAX`].
        messages: Vec<Message>,
        /// What the asker knows of the history.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Seen>,
    },
    /// The keys with their addresses.
    Keys,
    /// How it is: stopped, stale, numbers.
    Status,
    /// Numbers for Prometheus.
    Metrics,
    /// Sign nothing from now on.
    Stop,
    /// Sign again.
    Resume,
    /// An approver's yes.
    Approve {
        /// The approval.
        approval: Approval,
    },
    /// Entries of the history.
    History {
        /// Which.
        #[serde(default)]
        filter: Filter,
        /// At most so many, the newest.
        limit: usize,
    },
    /// Of a share's holder: make nonces and say what commits to them.
    Commit {
        /// The key's name.
        key: String,
        /// Which of its shares: SHA-256 of the public package that the asker has.
        generation: B256,
    },
    /// Of a share's holder: its part of a signature. The nonces are gone afterwards, whatever the answer.
    SignShare {
        /// The key's name.
        key: String,
        /// As in `commit`.
        generation: B256,
        /// What is signed: the holder asks its own policy.
        message: Box<Message>,
        /// Names the nonces.
        nonces: B256,
        /// FROST's signing package, hexadecimal.
        package: String,
    },
    /// Of a holder of a share for ECDSA: begin a signature with other signers. Gives what is for them, sealed (`out`).
    EcdsaBegin {
        /// The key's name.
        key: String,
        /// What is signed: the holder asks its own policy.
        message: Box<Message>,
        /// A random name of this signature.
        session: B256,
        /// Numbers of the signers, this holder's among them.
        signers: Vec<u16>,
    },
    /// What came from the other signers. Gives what is for them (`out`), then a part for all (`part`), then r and s (`signature`).
    EcdsaRound {
        /// The key's name.
        key: String,
        /// See `ecdsa-begin`.
        session: B256,
        /// By number of the sender.
        #[serde(with = "crate::pairs")]
        inbox: std::collections::BTreeMap<u16, String>,
    },
    /// Of a share's holder: a step of a ceremony (`docs/signer.md#ceremonies`).
    Ceremony {
        /// The step.
        step: crate::ceremony::Step,
    },
}

/// How far a history was: entries and the head that names them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Entries since the first.
    pub entries: u64,
    /// Name of the history up to there.
    #[serde(with = "serde_with_head")]
    pub head: Head,
}

/// A head as 64 hexadecimal digits.
pub(crate) mod serde_with_head {
    use ring0_hashlog::Head;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(head: &Head, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(head)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Head, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// What became of a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An ECDSA signature, as hubs take it.
    Ecdsa(Signature),
    /// A BIP-340 signature of 64 bytes, hexadecimal.
    Taproot(String),
    /// Nothing was signed.
    Refused(Refusal),
}

/// Why nothing was signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{text} ({name})", name = .name.text())]
pub struct Refusal {
    /// Its name, for programs and for counters.
    pub name: Name,
    /// What is wrong and what to do, for people.
    pub text: String,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Names of refusals.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum Name {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Name {
            /// All of them.
            pub const ALL: &[Name] = &[$(Name::$name),+];

            /// As it is written.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Name::$name => $text),+ }
            }
        }
    };
}

names! {
    /// Somebody has said `stop`.
    Stopped = "stopped",
    /// The store is older than its witness, or than the asker.
    Stale = "stale-store",
    /// The clock is behind the history.
    Clock = "clock",
    /// There is no such key, or it was retired.
    Key = "key",
    /// The policy does not let the key sign this kind.
    Kind = "kind",
    /// The key's backend cannot sign this kind.
    Scheme = "scheme",
    /// The message says nothing.
    Malformed = "malformed",
    /// The hub is not the key's.
    Hub = "hub",
    /// The venue is not the key's.
    Venue = "venue",
    /// Another message of this number, or a later one, was signed.
    Signed = "already-signed",
    /// The number is one that a lost store may have signed.
    Floor = "floor",
    /// The number is above what time allows.
    Ahead = "ahead",
    /// The owner has not signed.
    Owner = "owner",
    /// The deadline is over or too far.
    Deadline = "deadline",
    /// The revocation is of an epoch that was signed.
    Revocation = "revocation",
    /// No rule allows the call.
    Call = "call",
    /// Who gets it is not in the list.
    Recipient = "recipient",
    /// What moves is no asset of the policy.
    Asset = "asset",
    /// Gas or miners' fee.
    Fee = "fee",
    /// More excess in a batch than allowed.
    Excess = "excess",
    /// More in one message than allowed.
    LimitEach = "limit-each",
    /// More in an hour than allowed.
    LimitHour = "limit-hour",
    /// More in a day than allowed.
    LimitDay = "limit-day",
    /// An approver has to say yes.
    Approval = "needs-approval",
    /// Too many messages a second.
    Rate = "rate",
    /// The key's backend failed.
    Backend = "backend",
    /// The history cannot be written.
    History = "history",
}

impl Refusal {
    /// With a text.
    #[must_use]
    pub fn new(name: Name, text: impl Into<String>) -> Refusal {
        Refusal {
            name,
            text: text.into(),
        }
    }
}

/// A signer's answer to `sign`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Signed {
    /// One for each message, in order.
    pub outcomes: Vec<Outcome>,
    /// The history with these messages in it.
    pub seen: Seen,
}

/// A key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyInfo {
    /// Its name in the policy.
    pub name: String,
    /// Where it is: `local`, `pkcs11`, `frost`, `share`.
    pub backend: String,
    /// The public key, 33 bytes, hexadecimal. Of a vault: the group's key, untweaked.
    pub public_key: String,
    /// Its address on account-based chains.
    pub address: ring0_channels::Address,
    /// Script of its taproot output (key path alone), hexadecimal.
    pub script: String,
    /// It signs no more.
    pub retired: bool,
}
