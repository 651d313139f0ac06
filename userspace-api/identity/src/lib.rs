//! Who may do what: people, organisations, roles, API keys, sign-in, grants. A library; sockets are the gateway's.
//!
//! ```text
//! let identity = Identity::open(folder, Config::new("https://trade.example", &[1], venue, &["main"]))?;
//! let caller = identity.authenticate(&request)?;            // 401: nobody is known by this
//! caller.may_for(Permission::PlaceOrders, account)?;        // 403 or 404: not this, not in this role, not this account
//! identity.note(&caller, "place-orders", detail, "done")?;  // the audit log
//! ```
//!
//! Always true: whatever changes is first a line of the audit log, on the disk, under the hash of all lines before it; the records are in memory and
//! follow from the lines alone, so there is no store that could disagree with the log. No secret that was given out is in it: digests of tokens and
//! codes, signing keys sealed under a key file that is elsewhere. What one caller may is in one table, [`permission::TABLE`].

#![deny(unsafe_code)]

pub mod api_key;
mod attempts;
pub mod audit;
pub mod caller;
mod decimal;
pub mod event;
mod identity;
mod ids;
pub mod organisations;
mod owner;
mod passkey;
pub mod permission;
pub mod records;
mod refused;
mod secret;
mod sign_in;
mod state;
mod trading;
pub mod wallet;

pub use alloy_primitives::{Address, B256, hex};
pub use attempts::Pace;
pub use caller::{Caller, Credential, Membership};
pub use identity::{
    BEARER_KEY, COOKIE, Clock, Config, Done, Identity, KEY_FILE, LOG, LOGIN_TOKEN, OpenError,
    Request,
};
pub use ids::{
    ApiKeyId, Digest, InvitationId, LoginId, OrganisationId, PasskeyId, PersonId, SessionId,
};
pub use organisations::NewApiKey;
pub use owner::{OwnerAct, OwnerSigned, WithdrawalAddress};
pub use passkey::Begun;
pub use permission::{Permission, Role, Scope};
pub use refused::Refused;
pub use ring0_channels as channels;
pub use ring0_channels::key::Signature;
pub use ring0_hashlog::{Head, LogError};
pub use secret::{KeyFileError, Secret};
pub use sign_in::SignedIn;
pub use state::Misfit;
pub use trading::{NewSession, SessionOpening};
pub use webauthn_rs::prelude::{
    CreationChallengeResponse, PublicKeyCredential, RegisterPublicKeyCredential,
    RequestChallengeResponse,
};
