//! What can be signed: messages whose meaning the signer sees. No message is a digest; each digest is computed here.

use crate::transaction::Transaction;
use crate::vault_move::VaultMove;
use alloy_primitives::aliases::U40;
use alloy_sol_types::SolStruct;
use ring0_channels::heads::Heads;
use ring0_channels::key::Signature;
use ring0_channels::message::{
    self, AMOUNT_MAX, ChannelState, Closing, Hub, KIND_TRADING, Rebalancing, Terms, venue_domain,
};
use ring0_channels::tree::{Sums, Tree};
use ring0_channels::{Address, B256};
use serde::{Deserialize, Serialize};

alloy_sol_types::sol! {
    /// The operator's consent that a session key signs no state from an epoch on; in the venue's domain, as `Messages.sol` has it.
    #[derive(Debug, Eq, PartialEq)]
    struct Revocation {
        address cosigner;
        address session;
        uint40 fromEpoch;
    }

    /// A statement of an account, by the SHA-256 of its bytes; in the venue's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct Statement {
        uint64 account;
        uint40 epoch;
        bytes32 content;
    }
}

/// One message to sign. Amounts are in the token's smallest unit and text in JSON; times are seconds of Unix time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Message {
    /// A settlement batch: the signer builds the root over the entries itself.
    Batch(Batch),
    /// A channel's state, the operator's compact form.
    State(State),
    /// A partial withdrawal, which its owner has signed.
    Withdrawal(Withdrawal),
    /// A cooperative close, which its owner has signed.
    Close(Close),
    /// A move between escrow and vault.
    Rebalance(Rebalance),
    /// Consent that a session key signs no state from an epoch on.
    Revocation {
        /// The venue's id.
        venue: B256,
        /// Whose grant it is.
        cosigner: Address,
        /// The session key.
        session: Address,
        /// First epoch that it does not sign.
        from_epoch: u64,
    },
    /// A statement of an account.
    Statement {
        /// The venue's id.
        venue: B256,
        /// The account.
        account: u64,
        /// Of the batch that it ends with.
        epoch: u64,
        /// SHA-256 of its bytes.
        content: B256,
    },
    /// A transaction of the key's own on an account-based chain.
    Transaction(Transaction),
    /// One input of a transaction that spends taproot outputs of the key.
    VaultMove(VaultMove),
}

/// See [`Message::Batch`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The venue's id.
    pub venue: B256,
    /// Number of the batch.
    pub epoch: u64,
    /// The batch before; zero: the first.
    pub previous: B256,
    /// One for each (hub, token), in any order.
    pub entries: Vec<BatchEntry>,
    /// Heads of the venue's audit logs, for which the signer makes one entry more.
    #[serde(default, skip_serializing_if = "Heads::is_empty")]
    pub audit: Heads,
}

/// What a batch says of a (hub, token).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BatchEntry {
    /// The hub.
    pub hub: Hub,
    /// The token; zero: the chain's coin.
    pub token: Address,
    /// Root of the sum tree, with what it sums to.
    pub sums: Sums,
}

/// See [`Message::State`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The channel's hub.
    pub hub: Hub,
    /// The channel.
    pub channel: B256,
    /// Above every earlier one.
    pub version: u64,
    /// What the trader owns once all that is seen counts.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
    /// Cumulative deposits in it.
    #[serde(with = "crate::decimal")]
    pub deposited_seen: u128,
    /// Cumulative withdrawals no longer in it.
    #[serde(with = "crate::decimal")]
    pub withdrawn_seen: u128,
    /// Settlement batch.
    pub epoch: u64,
    /// Pinned block that it is signed under.
    pub branch: B256,
    /// Root of the account's tree.
    pub account_root: B256,
}

/// See [`Message::Withdrawal`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// The channel's hub.
    pub hub: Hub,
    /// The channel's terms, which name it.
    pub terms: Terms,
    /// Cumulative withdrawals with this one.
    #[serde(with = "crate::decimal")]
    pub withdrawn: u128,
    /// Who gets the money.
    pub recipient: Address,
    /// Pinned block.
    pub branch: B256,
    /// Until when it counts.
    pub deadline: u64,
    /// The owner's signature; a contract wallet has none that can be checked here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_signature: Option<Signature>,
}

/// See [`Message::Close`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// The channel's hub.
    pub hub: Hub,
    /// The channel's terms, which name it.
    pub terms: Terms,
    /// What the trader owns once all that is seen counts.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
    /// Cumulative deposits in it.
    #[serde(with = "crate::decimal")]
    pub deposited_seen: u128,
    /// Cumulative withdrawals no longer in it.
    #[serde(with = "crate::decimal")]
    pub withdrawn_seen: u128,
    /// Who gets the money.
    pub recipient: Address,
    /// Pinned block.
    pub branch: B256,
    /// Until when it counts.
    pub deadline: u64,
    /// As [`Withdrawal::owner_signature`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_signature: Option<Signature>,
}

/// See [`Message::Rebalance`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rebalance {
    /// The channel's hub.
    pub hub: Hub,
    /// The channel's terms, which name it.
    pub terms: Terms,
    /// One above the channel's last move.
    pub number: u64,
    /// From the vault into the escrow; negative: the other way.
    #[serde(with = "crate::decimal")]
    pub moved: i128,
    /// Pinned block.
    pub branch: B256,
    /// Until when it counts.
    pub deadline: u64,
}

/// A message's kind, by which the policy allows it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// [`Message::Batch`].
    Batch,
    /// [`Message::State`].
    State,
    /// [`Message::Withdrawal`].
    Withdrawal,
    /// [`Message::Close`].
    Close,
    /// [`Message::Rebalance`].
    Rebalance,
    /// [`Message::Revocation`].
    Revocation,
    /// [`Message::Statement`].
    Statement,
    /// [`Message::Transaction`].
    Transaction,
    /// [`Message::VaultMove`].
    VaultMove,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 9] = [
        Kind::Batch,
        Kind::State,
        Kind::Withdrawal,
        Kind::Close,
        Kind::Rebalance,
        Kind::Revocation,
        Kind::Statement,
        Kind::Transaction,
        Kind::VaultMove,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Batch => "batch",
            Kind::State => "state",
            Kind::Withdrawal => "withdrawal",
            Kind::Close => "close",
            Kind::Rebalance => "rebalance",
            Kind::Revocation => "revocation",
            Kind::Statement => "statement",
            Kind::Transaction => "transaction",
            Kind::VaultMove => "vault-move",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
        let names = Kind::ALL.map(Kind::name).join(", ");
        found.ok_or_else(|| format!("there is no kind {text:?}; the kinds are {names}"))
    }
}

/// A message that says nothing: a number is too large, bytes are no transaction.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

pub(crate) fn u40(field: &str, value: u64) -> Result<U40, Malformed> {
    U40::try_from(value).map_err(|_| Malformed(format!("{field} {value} has more than 40 bits")))
}

fn amount(field: &str, value: u128) -> Result<u128, Malformed> {
    match value {
        0..=AMOUNT_MAX => Ok(value),
        _ => Err(Malformed(format!(
            "{field} {value} is more than a hub takes ({AMOUNT_MAX})"
        ))),
    }
}

impl Message {
    /// A batch that was built, with the (hub, token) pairs that have channels in it.
    ///
    /// # Errors
    /// A pair has no channel in the batch, or one that has is missing.
    pub fn batch(
        venue: B256,
        built: &ring0_channels::batch::Built,
        pairs: &[(Hub, Address)],
    ) -> Result<Message, Malformed> {
        let entry = |(hub, token): &(Hub, Address)| {
            let sums = built.sums(hub, *token);
            let none = || Malformed(format!("the batch has no channel of {hub:?} and {token}"));
            Ok(BatchEntry {
                hub: *hub,
                token: *token,
                sums: sums.ok_or_else(none)?,
            })
        };
        let batch = Batch {
            venue,
            epoch: built.batch().epoch.to(),
            previous: built.batch().previous,
            entries: pairs.iter().map(entry).collect::<Result<_, _>>()?,
            audit: built.audit().clone(),
        };
        if batch.root()? != built.batch().entries {
            return Err(Malformed(
                "the pairs are not all that the batch has".to_owned(),
            ));
        }
        Ok(Message::Batch(batch))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Message::Batch(_) => Kind::Batch,
            Message::State(_) => Kind::State,
            Message::Withdrawal(_) => Kind::Withdrawal,
            Message::Close(_) => Kind::Close,
            Message::Rebalance(_) => Kind::Rebalance,
            Message::Revocation { .. } => Kind::Revocation,
            Message::Statement { .. } => Kind::Statement,
            Message::Transaction(_) => Kind::Transaction,
            Message::VaultMove(_) => Kind::VaultMove,
        }
    }

    /// What a key signs for it: an EIP-712 digest, a transaction's signing hash, a BIP-341 signature hash.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn digest(&self) -> Result<B256, Malformed> {
        match self {
            Message::Batch(it) => {
                let batch = message::Batch {
                    epoch: u40("epoch", it.epoch)?,
                    previous: it.previous,
                    entries: it.root()?,
                };
                Ok(batch.eip712_signing_hash(&venue_domain(it.venue)))
            }
            Message::State(it) => {
                let state = message::State {
                    state: ChannelState {
                        channel: it.channel,
                        version: u40("version", it.version)?,
                        balance: amount("balance", it.balance)?,
                        depositedSeen: amount("deposited_seen", it.deposited_seen)?,
                        withdrawnSeen: amount("withdrawn_seen", it.withdrawn_seen)?,
                        epoch: u40("epoch", it.epoch)?,
                        kind: KIND_TRADING,
                        branch: it.branch,
                    },
                    accountRoot: it.account_root,
                };
                Ok(state.eip712_signing_hash(&it.hub.domain()))
            }
            Message::Withdrawal(it) => {
                let withdrawal = message::Withdrawal {
                    channel: it.hub.channel(&it.terms),
                    withdrawn: amount("withdrawn", it.withdrawn)?,
                    recipient: it.recipient,
                    branch: it.branch,
                    deadline: u40("deadline", it.deadline)?,
                };
                Ok(withdrawal.eip712_signing_hash(&it.hub.domain()))
            }
            Message::Close(it) => {
                let closing = Closing {
                    channel: it.hub.channel(&it.terms),
                    balance: amount("balance", it.balance)?,
                    depositedSeen: amount("deposited_seen", it.deposited_seen)?,
                    withdrawnSeen: amount("withdrawn_seen", it.withdrawn_seen)?,
                    recipient: it.recipient,
                    branch: it.branch,
                    deadline: u40("deadline", it.deadline)?,
                };
                Ok(closing.eip712_signing_hash(&it.hub.domain()))
            }
            Message::Rebalance(it) => {
                amount("moved", it.moved.unsigned_abs())?;
                let rebalancing = Rebalancing {
                    channel: it.hub.channel(&it.terms),
                    number: u40("number", it.number)?,
                    moved: it.moved,
                    branch: it.branch,
                    deadline: u40("deadline", it.deadline)?,
                };
                Ok(rebalancing.eip712_signing_hash(&it.hub.domain()))
            }
            Message::Revocation {
                venue,
                cosigner,
                session,
                from_epoch,
            } => {
                let revocation = Revocation {
                    cosigner: *cosigner,
                    session: *session,
                    fromEpoch: u40("from_epoch", *from_epoch)?,
                };
                Ok(revocation.eip712_signing_hash(&venue_domain(*venue)))
            }
            Message::Statement {
                venue,
                account,
                epoch,
                content,
            } => {
                let statement = Statement {
                    account: *account,
                    epoch: u40("epoch", *epoch)?,
                    content: *content,
                };
                Ok(statement.eip712_signing_hash(&venue_domain(*venue)))
            }
            Message::Transaction(it) => Ok(it.signing_hash()),
            Message::VaultMove(it) => it.digest(),
        }
    }
}

impl Batch {
    /// Root over the entries and the audit logs' one.
    ///
    /// # Errors
    /// There is none, too many, one twice, or one of the form that the audit logs' has.
    pub fn root(&self) -> Result<B256, Malformed> {
        if self.entries.is_empty() {
            return Err(Malformed("a batch has an entry of a hub".to_owned()));
        }
        if self
            .entries
            .iter()
            .any(|it| it.hub.address == Address::ZERO)
        {
            return Err(Malformed(
                "no hub is at the zero address; heads of audit logs are given as `audit`"
                    .to_owned(),
            ));
        }
        let leaf = |it: &BatchEntry| {
            let entry = it.sums.entry(&it.hub, it.token);
            (entry, entry)
        };
        // The tree looks at equal leaves alone; a pair may come once, whatever its sums.
        let mut pairs: Vec<_> = self.entries.iter().map(|it| (it.hub, it.token)).collect();
        pairs.sort();
        if let Some(twice) = pairs.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Malformed(format!("{:?} comes twice", twice[0])));
        }
        let audit = self.audit.entry().map(|entry| (entry, entry));
        let tree = Tree::new(self.entries.iter().map(leaf).chain(audit).collect());
        tree.map(|tree| tree.root())
            .map_err(|error| Malformed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{U256, keccak256};
    use alloy_sol_types::SolValue;
    use ring0_channels::batch::{Built, Leaf};
    use ring0_channels::heads::LogHead;

    /// The type's text and the order of its words as the contract's `Messages.sol` has them.
    #[test]
    fn a_revocation_is_the_contracts() {
        let venue = B256::repeat_byte(9);
        let (cosigner, session) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let typed = keccak256("Revocation(address cosigner,address session,uint40 fromEpoch)");
        let hash = keccak256((typed, cosigner, session, U256::from(77)).abi_encode());
        let domain = venue_domain(venue).hash_struct();
        let digest = keccak256([&[0x19, 1], domain.as_slice(), hash.as_slice()].concat());
        let message = Message::Revocation {
            venue,
            cosigner,
            session,
            from_epoch: 77,
        };
        assert_eq!(message.digest(), Ok(digest));
    }

    /// The heads change the root, the signer computes it itself, and nothing else takes their place.
    #[test]
    fn heads_of_audit_logs_are_one_entry_more_and_no_other_entry_is_theirs() {
        let log = |name: &str, entries| LogHead {
            name: name.to_owned(),
            entries,
            head: B256::repeat_byte(5),
        };
        let heads = Heads::try_from(vec![log("settled", 3), log("gateway", 9)]).unwrap();
        let hub = Hub {
            lineage: U256::from(31337),
            address: Address::repeat_byte(7),
        };
        let leaf = Leaf {
            hub,
            token: Address::ZERO,
            account: 1,
            state: ChannelState {
                channel: B256::repeat_byte(1),
                version: U40::from(1),
                balance: 100,
                depositedSeen: 40,
                withdrawnSeen: 0,
                epoch: U40::from(5),
                kind: KIND_TRADING,
                branch: B256::ZERO,
            },
            excess: 60,
        };
        let venue = B256::repeat_byte(9);
        let (epoch, pairs) = (U40::from(5), [(hub, Address::ZERO)]);
        let make = |heads: &Heads| {
            let leaves = vec![leaf.clone()];
            let built = Built::with_audit(epoch, B256::ZERO, leaves, heads.clone()).unwrap();
            let message = Message::batch(venue, &built, &pairs).unwrap();
            let signed = built.batch().eip712_signing_hash(&venue_domain(venue));
            assert_eq!(message.digest(), Ok(signed));
            message
        };
        let (bare, with) = (make(&Heads::default()), make(&heads));
        assert_ne!(bare.digest(), with.digest());
        let mut later = heads.clone();
        later.set(log("gateway", 10)).unwrap();
        assert_ne!(make(&later).digest(), with.digest());
        let json = serde_json::to_string(&with).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), with);

        // The heads' hash given as an entry: refused as JSON and as a value.
        let Message::Batch(mut forged) = bare else {
            panic!("a batch");
        };
        let nowhere = Hub {
            lineage: U256::ZERO,
            address: Address::ZERO,
        };
        let sums = Sums {
            hash: heads.root(),
            balance: 0,
            excess: 0,
        };
        forged.entries.push(BatchEntry {
            hub: nowhere,
            token: Address::ZERO,
            sums,
        });
        assert!(forged.root().is_err());
        let forged = serde_json::to_string(&Message::Batch(forged)).unwrap();
        assert!(serde_json::from_str::<Message>(&forged).is_err());
        // Heads alone are no batch.
        let Message::Batch(mut alone) = with else {
            panic!("a batch");
        };
        alone.entries.clear();
        assert!(alone.root().is_err());
    }

    #[test]
    fn a_batch_is_what_was_built_and_survives_json() {
        let hub = Hub {
            lineage: U256::from(31337),
            address: Address::repeat_byte(7),
        };
        let leaf = |channel: u8, token: u8| Leaf {
            hub,
            token: Address::repeat_byte(token),
            account: 1,
            state: ChannelState {
                channel: B256::repeat_byte(channel),
                version: U40::from(1),
                balance: 100,
                depositedSeen: 40,
                withdrawnSeen: 0,
                epoch: U40::from(5),
                kind: KIND_TRADING,
                branch: B256::ZERO,
            },
            excess: 60,
        };
        let leaves = vec![leaf(1, 1), leaf(2, 2), leaf(3, 2)];
        let built = Built::new(U40::from(5), B256::repeat_byte(3), leaves).unwrap();
        let venue = B256::repeat_byte(9);
        let pairs = [
            (hub, Address::repeat_byte(2)),
            (hub, Address::repeat_byte(1)),
        ];
        let message = Message::batch(venue, &built, &pairs).unwrap();
        let expected = built.batch().eip712_signing_hash(&venue_domain(venue));
        assert_eq!(message.digest(), Ok(expected));
        assert!(Message::batch(venue, &built, &pairs[..1]).is_err());
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), message);
        assert!(!json.contains("audit"), "as before there were heads");
        let twice = json.replace(r#""entries":["#, r#""unknown":1,"entries":["#);
        assert!(serde_json::from_str::<Message>(&twice).is_err());
    }
}
