//! The people of the tests: an identity in a temporary folder under a clock that is set by hand, wallets, and an organisation with a member of each role.

use ring0_identity::api_key::Signing;
use ring0_identity::channels::key::Signer;
use ring0_identity::wallet::SignInMessage;
use ring0_identity::{
    ApiKeyId, B256, Caller, Config, Identity, NewApiKey, Refused, Request, Role, Scope, Secret, hex,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "https://trade.example:8443";
pub(crate) const VENUE: B256 = B256::repeat_byte(0x5A);
pub(crate) const SHARD: &str = "main";

/// A moment to begin with: 2026-11-27T12:00:00Z.
pub(crate) const START_MS: u64 = 1_795_780_800_000;

pub(crate) fn here() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

pub(crate) fn wallet(number: u8) -> Signer {
    let mut secret = [0x11; 32];
    secret[31] = number;
    Signer::new(secret).unwrap()
}

/// The stage.
pub(crate) struct Cast {
    pub(crate) identity: Identity,
    pub(crate) now_ms: Arc<AtomicU64>,
    pub(crate) folder: Arc<TempDir>,
    nonce: AtomicU64,
}

/// A signature as wallets give it: 65 bytes.
pub(crate) fn wallet_text(signer: &Signer, digest: B256) -> String {
    let signature = signer.sign_digest(digest);
    let (mut s, parity) = (signature.vs, signature.vs[0] >> 7);
    s[0] &= 0x7F;
    let bytes = [&signature.r[..], &s[..], &[27 + parity]].concat();
    format!("0x{}", hex::encode(bytes))
}

pub(crate) fn eip191(message: &str) -> B256 {
    let text = format!("\x19Ethereum Signed Message:\n{}{message}", message.len());
    alloy_primitives::keccak256(text)
}

/// RFC 3339 of milliseconds.
pub(crate) fn rfc3339(ms: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp((ms / 1_000) as i64).unwrap();
    time.format(&time::format_description::well_known::Rfc3339)
        .unwrap()
}

impl Cast {
    pub(crate) fn new() -> Cast {
        Cast::in_folder(Arc::new(tempfile::tempdir().unwrap()), START_MS)
    }

    pub(crate) fn in_folder(folder: Arc<TempDir>, at_ms: u64) -> Cast {
        let now_ms = Arc::new(AtomicU64::new(at_ms));
        let identity = Identity::open(folder.path(), Cast::config(&now_ms)).unwrap();
        // What a process has seen before is unknown to it for two seconds.
        now_ms.fetch_add(10_000, Ordering::Relaxed);
        Cast {
            identity,
            now_ms,
            folder,
            nonce: AtomicU64::new(at_ms),
        }
    }

    pub(crate) fn config(now_ms: &Arc<AtomicU64>) -> Config {
        let clock = Arc::clone(now_ms);
        let mut config = Config::new(ORIGIN, &[1, 31_337], VENUE, &[SHARD, "other"]);
        config.clock = Arc::new(move || clock.load(Ordering::Relaxed));
        // Tests sign in more often than people do; those about the limit set it.
        config.attempts.burst = 100_000;
        config
    }

    /// Closed and opened again, with the clock as it was.
    pub(crate) fn reopened(self) -> Cast {
        let (folder, at_ms) = (Arc::clone(&self.folder), self.now());
        drop(self);
        Cast::in_folder(folder, at_ms)
    }

    pub(crate) fn now(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// A good message of a wallet, now.
    pub(crate) fn message(&self, signer: &Signer) -> SignInMessage {
        SignInMessage {
            scheme: None,
            domain: "trade.example:8443".to_owned(),
            address: signer.address(),
            statement: Some("Sign in to trade.".to_owned()),
            uri: format!("{ORIGIN}/sign-in"),
            chain_id: 1,
            nonce: self.identity.nonce().0,
            issued_at: rfc3339(self.now()),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: Vec::new(),
        }
    }

    /// Signs a message and signs in with it.
    pub(crate) fn send(&self, signer: &Signer, text: &str) -> Result<Secret, Refused> {
        let signature = wallet_text(signer, eip191(text));
        let signed_in = self.identity.sign_in_by_wallet(text, &signature, here());
        signed_in.map(|it| it.token)
    }

    pub(crate) fn token(&self, signer: &Signer) -> Secret {
        self.send(signer, &self.message(signer).to_string())
            .unwrap()
    }

    /// Who a token is.
    pub(crate) fn known(&self, token: &str) -> Result<Caller, Refused> {
        self.request("GET", "", Some(&format!("Bearer {token}")), None)
    }

    pub(crate) fn request(
        &self,
        method: &str,
        body: &str,
        authorization: Option<&str>,
        organisation: Option<&str>,
    ) -> Result<Caller, Refused> {
        self.identity.authenticate(&Request {
            method,
            path: "/v1/me",
            query: "",
            body: body.as_bytes(),
            authorization,
            cookie: None,
            origin: None,
            organisation,
            from: here(),
        })
    }

    pub(crate) fn sign_in(&self, signer: &Signer) -> Caller {
        self.known(self.token(signer).expose()).unwrap()
    }

    /// An organisation of wallet `first`, with a trader, a risk manager and a viewer of the next wallets; callers in the order of [`Role::ALL`].
    pub(crate) fn organisation(&self, first: u8) -> Vec<Caller> {
        let owner = self.sign_in(&wallet(first));
        self.identity.create_organisation(&owner, "Desk").unwrap();
        let owner = self.sign_in(&wallet(first));
        let mut all = vec![owner];
        for (role, number) in Role::ALL[1..].iter().zip(first + 1..) {
            let (_, code) = self.identity.invite(&all[0], *role).unwrap();
            let caller = self.sign_in(&wallet(number));
            let joined = self.identity.accept_invitation(&caller, code.expose());
            assert_eq!(joined.unwrap().1, *role);
            all.push(self.sign_in(&wallet(number)));
        }
        for (caller, role) in all.iter().zip(Role::ALL) {
            assert_eq!(caller.role(), Some(*role));
        }
        all
    }

    /// An account of the owner's organisation; callers made before do not have it.
    pub(crate) fn account(&self, owner: &Caller) -> u32 {
        let account = self.identity.add_account(owner, None, 100, |it| it < 3);
        account.unwrap().index
    }

    pub(crate) fn api_key(
        &self,
        caller: &Caller,
        scopes: &[Scope],
        signs: bool,
    ) -> Result<(ApiKeyId, Secret), Refused> {
        let wanted = NewApiKey {
            name: "key".to_owned(),
            scopes: scopes.to_vec(),
            networks: Vec::new(),
            until_ms: self.now() + 3_600_000,
            signs,
        };
        let (key, secret) = self.identity.create_api_key(caller, &wanted)?;
        Ok((key.id, secret))
    }

    /// The header of a good signed request.
    pub(crate) fn signed(&self, key: ApiKeyId, secret: &str) -> String {
        let number = self.nonce.fetch_add(1, Ordering::Relaxed);
        Signing {
            method: "GET",
            path: "/v1/me",
            query: "",
            body: b"",
            timestamp_ms: self.now(),
            nonce: &format!("nonce{number:020}"),
        }
        .header(key, secret)
    }
}
