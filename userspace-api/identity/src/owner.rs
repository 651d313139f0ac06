//! Acts that carry a signature by the key that owns an account's channels: creating a grant, withdrawing, closing, changing keys (CUSTODY 16).
//!
//! A value of [`OwnerSigned`] is the proof: there is no way to one but through the signature. Whoever carries such an act out takes one as its
//! argument, so that neither a login, nor a passkey, nor an API key can stand in its place.

use crate::caller::Caller;
use crate::identity::Identity;
use crate::permission::Permission;
use crate::records::{Account, GrantTerms};
use crate::refused::Refused;
use alloy_primitives::B256;
use alloy_sol_types::{Eip712Domain, SolStruct};
use ring0_channels::key::Signature;
use ring0_channels::message::{Closing, CosignerChange, Grant, Withdrawal, venue_domain};

mod sealed {
    pub trait Sealed {}
}

alloy_sol_types::sol! {
    /// An address that an account may withdraw to, from 24 hours after it was named; in the venue's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct WithdrawalAddress {
        uint64 account;
        address token;
        address recipient;
        uint40 deadline;
    }
}

/// A message that only the owner key makes good.
pub trait OwnerAct: SolStruct + sealed::Sealed {
    /// What a caller needs besides.
    const PERMISSION: Permission;
}

macro_rules! acts {
    ($($message:ty => $permission:ident,)+) => {$(
        impl sealed::Sealed for $message {}
        impl OwnerAct for $message {
            const PERMISSION: Permission = Permission::$permission;
        }
    )+};
}

acts! {
    Grant => CreateGrant,
    Withdrawal => RequestWithdrawal,
    WithdrawalAddress => AddWithdrawalAddress,
    Closing => CloseChannel,
    CosignerChange => ChangeKeys,
}

/// A message, signed by the owner key of an account of the caller's organisation.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerSigned<M> {
    message: M,
    account: Account,
    signature: Signature,
    digest: B256,
}

impl<M> OwnerSigned<M> {
    /// What is signed.
    #[must_use]
    pub fn message(&self) -> &M {
        &self.message
    }

    /// Whose.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The signature, in the form that a hub takes.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// What was signed of it: its EIP-712 digest.
    #[must_use]
    pub fn digest(&self) -> B256 {
        self.digest
    }
}

impl Identity {
    /// Looks at an act's signature, and whether the caller may bring it: role, scope and sign-in as the table says, an account of its organisation.
    /// `domain` is the hub's for withdrawals, closings and co-signers, the venue's for grants and addresses. That a channel in the message is one of
    /// the account's is for whoever has the channels to say.
    ///
    /// # Errors
    /// Why not.
    pub fn owner_signed<M: OwnerAct>(
        &self,
        caller: &Caller,
        account: u32,
        message: M,
        domain: &Eip712Domain,
        signature: Signature,
    ) -> Result<OwnerSigned<M>, Refused> {
        let caller = self.renew(caller)?;
        caller.has(M::PERMISSION)?;
        caller.owns(account)?;
        let account = self.account_record(account);
        let account = account.ok_or(Refused::NotFound("account"))?;
        let wrong = |why| Refused::Signature {
            whose: "owner key's",
            why,
        };
        let signed = signature.require(&message, domain, account.owner);
        signed.map_err(wrong)?;
        Ok(OwnerSigned {
            digest: message.eip712_signing_hash(domain),
            message,
            account,
            signature,
        })
    }

    /// [`owner_signed`](Identity::owner_signed) for a grant.
    ///
    /// # Errors
    /// Why not.
    pub fn signed_grant(
        &self,
        caller: &Caller,
        terms: &GrantTerms,
        signature: Signature,
    ) -> Result<OwnerSigned<Grant>, Refused> {
        let domain = venue_domain(self.config.venue);
        self.owner_signed(caller, terms.account, terms.message()?, &domain, signature)
    }
}
