//! A statement under the operator's signature, beside the signed root of the batch that it ends with (CUSTODY 19).
//!
//! Always true: of an account and a batch one content is signed. The signer refuses a second one, and the same again gives the same signature; so who
//! has a signed statement has the only one there is, and need not ask what others were shown.

use crate::config::Config;
use crate::published;
use ring0_channels::key::{Signature, SignatureError};
use ring0_channels::message::{self, venue_domain};
use ring0_channels::{Address, B256};
use ring0_settlement::{Statement, account_number};
use ring0_signer::message::Message;
use ring0_signer::protocol::{Name, Seen as Known};
use ring0_signer::{Client, ClientError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What was signed, with the statement: the answer to `statement` with `sign`, and of the gateway's endpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SignedStatement {
    /// The statement.
    pub statement: Statement,
    /// By whom, and the batch beside it.
    pub signed: Signed,
}

/// The operator's part of a [`SignedStatement`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The venue's id.
    pub venue: B256,
    /// Who signs for the exchange.
    pub operator: Address,
    /// Of account, epoch and the SHA-256 of the statement's canonical JSON.
    #[serde(with = "crate::signature")]
    pub signature: Signature,
    /// The batch that the statement ends with.
    pub batch: SignedBatch,
}

/// A batch as the operator signed it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedBatch {
    /// Its number.
    pub epoch: u64,
    /// The batch before it.
    pub previous: B256,
    /// The root over its entries.
    pub root: B256,
    /// Of the batch.
    #[serde(with = "crate::signature")]
    pub signature: Signature,
}

/// Why a statement is none that the operator stands by.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StatementError {
    /// Not what settlement or the gateway answers.
    #[error(
        "it is no signed statement: {0}; give the whole answer to a statement that was asked for with its signature"
    )]
    Format(String),
    /// It has words that the signature does not cover.
    #[error("it says more, or other, than what is signed; believe none of it")]
    More,
    /// Another operator's.
    #[error("it says it is of the operator {found}, and not of {expected}")]
    Operator {
        /// Known.
        expected: Address,
        /// Said.
        found: Address,
    },
    /// Lines do not lead from the opening to the closing balance.
    #[error("its lines do not sum from the opening to the closing balances")]
    Sums,
    /// Of two batches.
    #[error("it ends with batch {statement}, and the batch beside it is {batch}")]
    Batch {
        /// The statement's last.
        statement: u64,
        /// Signed.
        batch: u64,
    },
    /// A signature.
    #[error("the operator's signature of the {what} does not hold: {why}")]
    Signature {
        /// Of what.
        what: &'static str,
        /// Why.
        why: SignatureError,
    },
    /// A number that nobody signs.
    #[error("{0}")]
    Number(String),
}

impl SignedStatement {
    /// Reads an answer, which may have other fields beside the statement's.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn read(answer: &Value) -> Result<SignedStatement, StatementError> {
        let read: SignedStatement = serde_json::from_value(answer.clone())
            .map_err(|error| StatementError::Format(error.to_string()))?;
        // A word that is not read is not signed.
        let same = |name: &str, of: Result<Value, _>| of.is_ok_and(|it| it == answer[name]);
        let says = same("statement", serde_json::to_value(&read.statement))
            && answer.get("hash").is_none_or(|it| {
                serde_json::to_value(read.statement.hash()).is_ok_and(|own| own == *it)
            });
        says.then_some(read).ok_or(StatementError::More)
    }

    /// Whether an operator stands by it, and it by itself: sums, and both signatures.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(&self, operator: Address) -> Result<(), StatementError> {
        let Signed {
            venue,
            operator: found,
            signature,
            batch,
        } = &self.signed;
        if *found != operator {
            return Err(StatementError::Operator {
                expected: operator,
                found: *found,
            });
        }
        if !self.statement.sums() {
            return Err(StatementError::Sums);
        }
        let last = self.statement.to.0;
        if last != batch.epoch {
            return Err(StatementError::Batch {
                statement: last,
                batch: batch.epoch,
            });
        }
        let wrong = |what| move |why| StatementError::Signature { what, why };
        let digest = to_sign(*venue, &self.statement).digest();
        let digest = digest.map_err(|error| StatementError::Number(error.0))?;
        let signer = signature.recover(digest).map_err(wrong("statement"))?;
        if signer != operator {
            return Err(StatementError::Signature {
                what: "statement",
                why: SignatureError::Other {
                    expected: operator,
                    found: signer,
                },
            });
        }
        let signed = message::Batch {
            // The digest has shown that it has 40 bits.
            epoch: alloy_primitives::aliases::U40::saturating_from(batch.epoch),
            previous: batch.previous,
            entries: batch.root,
        };
        batch
            .signature
            .require(&signed, &venue_domain(*venue), operator)
            .map_err(wrong("batch"))
    }
}

/// What the operator signs of a statement.
fn to_sign(venue: B256, statement: &Statement) -> Message {
    Message::Statement {
        venue,
        account: account_number(statement.account),
        epoch: statement.to.0,
        content: statement.hash(),
    }
}

/// Why a statement that ends with this batch was not signed.
pub(crate) fn refused(error: &ClientError, epoch: u64) -> String {
    match error {
        ClientError::NotSigned(refusal) if refusal.name == Name::Signed => format!(
            "a statement of the account with another content was signed for batch {epoch}, or one for a later batch: of each batch one is; ask for the same again, from              the same first batch, or when the next batch is signed"
        ),
        error => format!("the statement is not signed: {error}"),
    }
}

/// Asks the signer for statements' signatures, one at a time, on a connection beside the batches' own.
#[derive(Debug)]
pub(crate) struct Statements {
    socket: PathBuf,
    key: String,
    venue: B256,
    operator: Address,
    /// What is known of the signer's history; writer: the thread that has batches signed.
    known: Arc<Mutex<Option<Known>>>,
    /// Whoever has it asks.
    turn: Mutex<()>,
}

impl Statements {
    pub(crate) fn new(config: &Config, known: Arc<Mutex<Option<Known>>>) -> Statements {
        Statements {
            socket: config.signer.clone(),
            key: config.signer_key.clone(),
            venue: config.venue,
            operator: config.operator,
            known,
            turn: Mutex::new(()),
        }
    }

    /// The signature of a statement that ends with this batch.
    pub(crate) fn sign(
        &self,
        statement: Statement,
        batch: &published::Batch,
    ) -> Result<SignedStatement, ClientError> {
        let _one = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut signer = Client::connect(&self.socket)?;
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known {
            signer.expect(known);
        }
        let signature = signer.sign_one(&self.key, to_sign(self.venue, &statement))?;
        let of = batch.built.batch();
        Ok(SignedStatement {
            statement,
            signed: Signed {
                venue: self.venue,
                operator: self.operator,
                signature,
                batch: SignedBatch {
                    epoch: batch.epoch,
                    previous: of.previous,
                    root: of.entries,
                    signature: batch.signature,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::aliases::U40;
    use ring0_channels::key::Signer;
    use serde_json::json;

    fn answer(operator: &Signer, to: u64, closing: &str) -> Value {
        let venue = B256::repeat_byte(9);
        let lines = json!([{ "epoch": 4, "kind": "deposit", "amount": "7", "counts": true, "source": "batch" }]);
        let statement = json!({ "account": 3, "from": 1, "to": to, "assets": [
            { "asset": "USD", "decimals": 6, "opening": "0", "lines": lines, "closing": closing },
        ]});
        let statement: Statement = serde_json::from_value(statement).unwrap();
        let batch = message::Batch {
            epoch: U40::from(5),
            previous: B256::repeat_byte(1),
            entries: B256::repeat_byte(2),
        };
        let digest = to_sign(venue, &statement).digest().unwrap();
        let signed = Signed {
            venue,
            operator: operator.address(),
            signature: operator.sign_digest(digest),
            batch: SignedBatch {
                epoch: 5,
                previous: batch.previous,
                root: batch.entries,
                signature: operator.sign(&batch, &venue_domain(venue)),
            },
        };
        let hash = statement.hash();
        json!({ "ok": true, "hash": hash, "statement": statement, "signed": signed })
    }

    #[test]
    fn what_was_signed_holds_and_nothing_else() {
        let (operator, another) = (Signer::new([7; 32]).unwrap(), Signer::new([8; 32]).unwrap());
        let good = answer(&operator, 5, "7");
        let check = |answer: &Value| SignedStatement::read(answer)?.verify(operator.address());
        assert_eq!(check(&good), Ok(()));
        let change = |pointer: &str, to: Value| {
            let mut changed = good.clone();
            let (of, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(of).unwrap()[name] = to;
            check(&changed)
        };
        // A word more, which no signature covers; a hash that is not its own.
        assert_eq!(
            change("/statement/note", json!(1)),
            Err(StatementError::More)
        );
        let more = change("/statement/assets/0/note", json!(1));
        assert_eq!(more, Err(StatementError::More));
        assert_eq!(
            change("/hash", json!(B256::ZERO)),
            Err(StatementError::More)
        );
        // Changed so that it does not sum; so that it sums, under a hash of its own.
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove("hash");
        changed["statement"]["assets"][0]["closing"] = json!("8");
        assert_eq!(check(&changed), Err(StatementError::Sums));
        changed["statement"]["assets"][0]["opening"] = json!("1");
        let refused = check(&changed);
        assert!(
            matches!(
                refused,
                Err(StatementError::Signature {
                    what: "statement",
                    ..
                })
            ),
            "{refused:?}"
        );
        // Signed, and not summing.
        assert_eq!(check(&answer(&operator, 5, "8")), Err(StatementError::Sums));
        // Of another batch than the one beside it.
        let other = StatementError::Batch {
            statement: 4,
            batch: 5,
        };
        assert_eq!(check(&answer(&operator, 4, "7")), Err(other));
        let refused = change("/signed/batch/root", json!(B256::ZERO));
        assert!(
            matches!(
                refused,
                Err(StatementError::Signature { what: "batch", .. })
            ),
            "{refused:?}"
        );
        // Another operator, said or not.
        let theirs = answer(&another, 5, "7");
        assert!(matches!(
            check(&theirs),
            Err(StatementError::Operator { .. })
        ));
        let said = change("/signed/operator", json!(another.address()));
        assert!(matches!(said, Err(StatementError::Operator { .. })));
        let mut claimed = theirs;
        claimed["signed"]["operator"] = json!(operator.address());
        assert!(matches!(
            check(&claimed),
            Err(StatementError::Signature { .. })
        ));
        let bare = json!({ "statement": good["statement"] });
        assert!(matches!(check(&bare), Err(StatementError::Format(_))));
    }
}
