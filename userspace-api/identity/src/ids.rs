//! Names of things: two numbers that must not be swapped are two types.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

macro_rules! numbers {
    ($($(#[$doc:meta])+ $name:ident;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(to)
            }
        }
    )+};
}

numbers! {
    /// A person.
    PersonId;
    /// An organisation.
    OrganisationId;
    /// A login: one sign-in until its end.
    LoginId;
    /// A passkey.
    PasskeyId;
    /// An invitation.
    InvitationId;
    /// An API key.
    ApiKeyId;
    /// A trading session as this side names it; the venue's own name for it is in its record.
    SessionId;
}

/// SHA-256 of a secret: what is kept of it. Text: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of a secret's bytes. The secrets are 256 random bits: a salt would add nothing.
    #[must_use]
    pub fn of(secret: &[u8]) -> Digest {
        Digest(Sha256::digest(secret).into())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&alloy_primitives::hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        alloy_primitives::hex::decode_to_array(&text)
            .map(Digest)
            .map_err(serde::de::Error::custom)
    }
}
