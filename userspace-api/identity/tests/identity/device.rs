//! A software authenticator, and a client that asks it as browsers do. Also the gateway's tests have it.

use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData, WebauthnError};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::Passkey;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use ring0_identity::{PublicKeyCredential, RegisterPublicKeyCredential};
use serde::Serialize;
use std::pin::Pin;
use webauthn_rs::prelude::Url;

/// Somebody who touches the authenticator and shows a finger, or only touches it.
struct Finger {
    verifies: bool,
}

impl UserValidationMethod for Finger {
    type PasskeyItem = Passkey;

    fn check_user<'hint, 'this, 'all>(
        &'this self,
        _: UiHint<'hint, Passkey>,
        presence: bool,
        verification: bool,
    ) -> Pin<Box<dyn Future<Output = Result<UserCheck, Ctap2Error>> + Send + 'all>>
    where
        'this: 'all,
        'hint: 'all,
        Self: 'all,
    {
        let verification = verification && self.verifies;
        Box::pin(async move {
            Ok(UserCheck {
                presence,
                verification,
            })
        })
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }
}

/// A device with at most one passkey.
pub(crate) struct Device {
    pub(crate) passkey: Option<Passkey>,
    pub(crate) origin: Url,
}

impl Device {
    pub(crate) fn new(origin: &str) -> Device {
        Device {
            passkey: None,
            origin: origin.parse().unwrap(),
        }
    }

    fn authenticator(&mut self) -> Authenticator<Option<Passkey>, Finger, RustCryptoBackend> {
        let finger = Finger { verifies: true };
        let passkey = self.passkey.take();
        let mut made = Authenticator::new(Aaguid::new_empty(), passkey, finger, RustCryptoBackend);
        made.set_make_credentials_with_signature_counter(true);
        made
    }

    /// What a browser does with the challenge's JSON and gives back as JSON.
    pub(crate) fn create(
        &mut self,
        challenge: &impl Serialize,
    ) -> Result<RegisterPublicKeyCredential, WebauthnError> {
        let options = serde_json::to_value(challenge).unwrap();
        let options = serde_json::from_value(options).unwrap();
        let mut client = Client::new(self.authenticator()).allows_insecure_localhost(true);
        let made = wait(client.register(&self.origin, options, DefaultClientData));
        self.passkey.clone_from(client.authenticator().store());
        Ok(serde_json::from_value(serde_json::to_value(made?).unwrap()).unwrap())
    }

    pub(crate) fn get(
        &mut self,
        challenge: &impl Serialize,
    ) -> Result<PublicKeyCredential, WebauthnError> {
        let options = serde_json::to_value(challenge).unwrap();
        let options = serde_json::from_value(options).unwrap();
        let mut client = Client::new(self.authenticator()).allows_insecure_localhost(true);
        let found = wait(client.authenticate(&self.origin, options, DefaultClientData));
        self.passkey.clone_from(client.authenticator().store());
        Ok(serde_json::from_value(serde_json::to_value(found?).unwrap()).unwrap())
    }
}

fn wait<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(what)
}
