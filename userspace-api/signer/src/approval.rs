//! An approver's signed yes to one request above a limit.

use crate::message::{Malformed, u40};
use alloy_sol_types::{Eip712Domain, SolStruct};
use ring0_channels::key::{Signature, SignatureError, Signer};
use ring0_channels::{Address, B256};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

mod typed {
    alloy_sol_types::sol! {
        /// An approval of the request with this digest, until a time.
        struct Approval {
            bytes32 request;
            uint40 until;
        }
    }
}

/// An approval.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Digest of the request.
    pub request: B256,
    /// Until when it counts, seconds of Unix time.
    pub until: u64,
    /// Of the approver's key.
    pub signature: Signature,
}

fn digest(request: B256, until: u64) -> Result<B256, Malformed> {
    let domain = Eip712Domain {
        name: Some(Cow::Borrowed("Ring0 Signer")),
        version: Some(Cow::Borrowed("1")),
        ..Eip712Domain::default()
    };
    let approval = typed::Approval {
        request,
        until: u40("until", until)?,
    };
    Ok(approval.eip712_signing_hash(&domain))
}

impl Approval {
    /// By this key.
    ///
    /// # Errors
    /// The time has more than 40 bits.
    pub fn sign(request: B256, until: u64, key: &Signer) -> Result<Approval, Malformed> {
        let signature = key.sign_digest(digest(request, until)?);
        Ok(Approval {
            request,
            until,
            signature,
        })
    }

    /// Who gave it.
    ///
    /// # Errors
    /// The signature is none.
    pub fn approver(&self) -> Result<Address, SignatureError> {
        let digest = digest(self.request, self.until).map_err(|_| SignatureError::Invalid)?;
        self.signature.recover(digest)
    }
}
