//! People with wallets who come to a gateway with `[identity]`, and what their owner keys sign.
#![allow(dead_code, reason = "each test uses its part")]

use crate::stand::Stand;
use ring0_identity::channels::key::Signer;
use ring0_identity::channels::message::venue_domain;
use ring0_identity::records::GrantTerms;
use ring0_identity::wallet::{SignInMessage, digest};
use ring0_identity::{B256, Signature, hex};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const VENUE: B256 = B256::repeat_byte(0x11);

/// The lines of the configuration.
pub(crate) fn identity() -> String {
    format!(
        "[identity]\nfolder = \"identity\"\norigin = \"https://localhost\"\nchain_ids = [1]\nvenue = \"{VENUE}\"\nsockets = \".\""
    )
}

fn text(signature: Signature) -> String {
    let (r, vs) = (hex::encode(signature.r), hex::encode(signature.vs));
    format!("0x{r}{vs}")
}

/// Somebody with a wallet, an organisation and an account that was opened over REST.
pub(crate) struct Person {
    pub(crate) wallet: Signer,
    pub(crate) token: String,
    pub(crate) account: u32,
}

impl Person {
    pub(crate) fn path(&self, what: &str) -> String {
        format!("/v1/accounts/{}/{what}", self.account)
    }
}

/// Asks for what works.
pub(crate) fn good(
    stand: &Stand,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> Value {
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = stand.ask(method, path, token, body.as_ref());
    assert!(
        status < 300,
        "{method} {path}: {status} {answer}\n{}",
        stand.log_text()
    );
    answer
}

pub(crate) fn sign_in(stand: &Stand, wallet: &Signer) -> String {
    let nonce = good(stand, "POST", "/v1/sign-in/nonce", None, json!({}));
    let message = SignInMessage {
        scheme: None,
        uri: "https://localhost".to_owned(),
        domain: "localhost".to_owned(),
        address: wallet.address(),
        statement: None,
        chain_id: 1,
        nonce: nonce["nonce"].as_str().unwrap().to_owned(),
        issued_at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap(),
        expiration_time: None,
        not_before: None,
        request_id: None,
        resources: Vec::new(),
    };
    let message = message.to_string();
    let signature = text(wallet.sign_digest(digest(&message)));
    let shown = json!({ "message": message, "signature": signature });
    let login = good(stand, "POST", "/v1/sign-in/wallet", None, shown);
    login["token"].as_str().unwrap().to_owned()
}

/// Comes to the venue, and is given money by the operator.
pub(crate) fn welcome(stand: &Stand, number: u8) -> Person {
    let wallet = Signer::new([number; 32]).unwrap();
    let token = sign_in(stand, &wallet);
    let named = json!({ "name": format!("Desk {number}") });
    good(stand, "POST", "/v1/organisations", Some(&token), named);
    let made = good(stand, "POST", "/v1/accounts", Some(&token), json!({}));
    let account = made["account"].as_u64().unwrap() as u32;
    for (asset, amount) in [("USD", "1000000"), ("BTC", "10")] {
        stand.operate(&ring0d::Verb::Deposit {
            account: format!("#{account}"),
            asset: asset.to_owned(),
            amount: amount.to_owned(),
        });
    }
    Person {
        wallet,
        token,
        account,
    }
}

pub(crate) fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// A grant to the gateway's key, signed by somebody's wallet.
pub(crate) fn grant_body(stand: &Stand, person: &Person, signer: &Signer, lasts_s: u64) -> Value {
    let key = stand.get("/v1/trading-key");
    assert_eq!(key["venue"], VENUE.to_string());
    let terms = GrantTerms {
        account: person.account,
        session: key["address"].as_str().unwrap().parse().unwrap(),
        expires_s: now_s() + lasts_s,
        first_epoch: 0,
        last_epoch: 0,
        limits: Vec::new(),
    };
    let signature = signer.sign(&terms.message().unwrap(), &venue_domain(VENUE));
    json!({
        "account": person.account, "session": terms.session, "expires_s": terms.expires_s,
        "first_epoch": 0, "last_epoch": 0, "owner_signature": text(signature),
    })
}

pub(crate) fn grant(stand: &Stand, person: &Person, lasts_s: u64) -> String {
    let body = grant_body(stand, person, &person.wallet, lasts_s);
    let grant = good(stand, "POST", "/v1/grants", Some(&person.token), body);
    grant["id"].as_str().unwrap().to_owned()
}
