//! The routes as clients see them: every one by every role and state of a credential, and what reaches the venue when.

use super::{Access, AccessApi, Answer, Venue, VenueError};
use crate::rest::Peer;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use ring0_identity::api_key::Signing;
use ring0_identity::channels::key::Signer;
use ring0_identity::channels::message::venue_domain;
use ring0_identity::records::{Account, Authority, GrantTerms, Opened, Stage, TradingSession};
use ring0_identity::wallet::{SignInMessage, digest};
use ring0_identity::{ApiKeyId, B256, Config, Identity, NewSession, Signature, hex};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tower::Service;
use utoipa::OpenApi;

const ORIGIN: &str = "https://trade.example";
const VENUE: B256 = B256::repeat_byte(7);
const START_MS: u64 = 1_795_780_800_000;
/// Public key and address of the secret key 1: the curve's generator.
const SESSION_KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const SESSION_ADDRESS: &str = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";

/// A venue that notes what it is asked.
struct Shards {
    asked: Mutex<Vec<String>>,
    says: Mutex<Option<VenueError>>,
    /// A grant takes one before it answers.
    gate: Semaphore,
    /// Grants that have come as far as the gate.
    came: AtomicU64,
}

impl Shards {
    fn note(&self, what: String) -> Result<(), VenueError> {
        self.asked.lock().unwrap().push(what);
        self.says.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn say(&self, what: Option<VenueError>) {
        *self.says.lock().unwrap() = what;
    }
}

impl Venue for Shards {
    fn accounts_max(&self) -> u32 {
        10
    }

    fn is_taken(&self, account: u32) -> bool {
        account < 3
    }

    fn open_account(&self, account: Account) -> Answer<'_, ()> {
        Box::pin(async move { self.note(format!("open-account {}", account.index)) })
    }

    fn grant(&self, session: &TradingSession) -> Answer<'_, Opened> {
        let id = session.id.0;
        Box::pin(async move {
            self.came.fetch_add(1, Ordering::Relaxed);
            drop(self.gate.acquire().await.unwrap());
            self.note(format!("grant {id}"))?;
            Ok(Opened {
                session: id as u32,
                id: format!("{id:04}ABCDEF"),
                venue_nonce: "22".repeat(16),
                agreement: 1,
                agreement_key: SESSION_KEY.to_owned(),
            })
        })
    }

    fn revoke(&self, session: &TradingSession, opened: &Opened) -> Answer<'_, ()> {
        let what = format!("revoke {} {}", session.id, opened.id);
        Box::pin(async move { self.note(what) })
    }
}

struct Desk {
    access: Access,
    venue: Arc<Shards>,
    now_ms: Arc<AtomicU64>,
    router: Router,
    nonce: AtomicU64,
    _folder: TempDir,
}

fn wallet(number: u8) -> Signer {
    let mut secret = [0; 32];
    secret[31] = number;
    Signer::new(secret).unwrap()
}

fn text(signature: Signature) -> String {
    format!(
        "0x{}{}",
        hex::encode(signature.r),
        hex::encode(signature.vs)
    )
}

fn stage() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let now_ms = Arc::new(AtomicU64::new(START_MS));
    let clock = Arc::clone(&now_ms);
    let mut config = Config::new(ORIGIN, &[1], VENUE, &["main"]);
    config.clock = Arc::new(move || clock.load(Ordering::Relaxed));
    config.attempts.burst = 1_000_000;
    let identity = Arc::new(Identity::open(folder.path(), config).unwrap());
    now_ms.fetch_add(10_000, Ordering::Relaxed);
    let venue = Arc::new(Shards {
        asked: Mutex::default(),
        says: Mutex::default(),
        gate: Semaphore::new(1),
        came: AtomicU64::new(0),
    });
    let access = Access::new(identity, Arc::clone(&venue) as Arc<dyn Venue>);
    Desk {
        router: access.router(),
        access,
        venue,
        now_ms,
        nonce: AtomicU64::new(0),
        _folder: folder,
    }
}

/// A credential as a request shows it.
#[derive(Clone)]
enum Shows {
    Nothing,
    Bearer(String),
    Key(ApiKeyId, String),
}

impl Desk {
    fn now(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// What a request answers: status, headers, body.
    async fn raw(&self, request: Request<Body>) -> (u16, header::HeaderMap, Value) {
        let mut request = request;
        let peer = "192.0.2.1:1234".parse().unwrap();
        request.extensions_mut().insert(Peer(peer));
        let response = self.router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()))
        };
        (parts.status.as_u16(), parts.headers, value)
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        shows: &Shows,
        organisation: Option<u64>,
        body: &Value,
    ) -> (u16, Value) {
        let bytes = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut request = Request::builder().method(method).uri(path);
        match shows {
            Shows::Nothing => {}
            Shows::Bearer(token) => {
                request = request.header("authorization", format!("Bearer {token}"))
            }
            Shows::Key(key, secret) => {
                let nonce = format!("{:020}", self.nonce.fetch_add(1, Ordering::Relaxed));
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                let signing = Signing {
                    method,
                    path,
                    query,
                    body: bytes.as_bytes(),
                    timestamp_ms: self.now(),
                    nonce: &nonce,
                };
                request = request.header("authorization", signing.header(*key, secret));
            }
        }
        if let Some(organisation) = organisation {
            request = request.header("ring0-organisation", organisation);
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json");
        }
        let (status, headers, value) = self.raw(request.body(Body::from(bytes)).unwrap()).await;
        if status >= 400 {
            assert_eq!(
                headers["content-type"], "application/problem+json",
                "{method} {path}: {value}"
            );
            assert_eq!(value["status"], status, "{value}");
        }
        (status, value)
    }

    /// Asks for what works.
    async fn good(&self, method: &str, path: &str, shows: &Shows, body: Value) -> Value {
        let (status, value) = self.ask(method, path, shows, None, &body).await;
        assert!(status < 300, "{method} {path}: {status} {value}");
        value
    }

    fn message(&self, nonce: &Value, signer: &Signer) -> String {
        SignInMessage {
            scheme: None,
            domain: "trade.example".to_owned(),
            address: signer.address(),
            statement: None,
            uri: ORIGIN.to_owned(),
            chain_id: 1,
            nonce: nonce["nonce"].as_str().unwrap().to_owned(),
            // START_MS and the seconds since then.
            issued_at: format!(
                "2026-11-27T12:{:02}:{:02}Z",
                (self.now() - START_MS) / 60_000 % 60,
                (self.now() - START_MS) / 1_000 % 60
            ),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: Vec::new(),
        }
        .to_string()
    }

    async fn sign_in(&self, number: u8) -> Shows {
        let signer = wallet(number);
        let nonce = self
            .good("POST", "/v1/sign-in/nonce", &Shows::Nothing, Value::Null)
            .await;
        let message = self.message(&nonce, &signer);
        let signature = text(signer.sign_digest(digest(&message)));
        let body = json!({ "message": message, "signature": signature });
        let login = self
            .good("POST", "/v1/sign-in/wallet", &Shows::Nothing, body)
            .await;
        Shows::Bearer(login["token"].as_str().unwrap().to_owned())
    }

    /// An organisation of this wallet with a trader, a risk manager and a viewer; its number.
    async fn organisation(&self, first: u8) -> u64 {
        let owner = self.sign_in(first).await;
        let made = self
            .good(
                "POST",
                "/v1/organisations",
                &owner,
                json!({ "name": "Desk" }),
            )
            .await;
        for (role, number) in ["trader", "risk", "viewer"].iter().zip(first + 1..) {
            let invited = self
                .good("POST", "/v1/invitations", &owner, json!({ "role": role }))
                .await;
            let guest = self.sign_in(number).await;
            let joined = self
                .good(
                    "POST",
                    "/v1/invitations/accept",
                    &guest,
                    json!({ "code": invited["code"] }),
                )
                .await;
            assert_eq!(joined["role"], **role);
        }
        made["id"].as_u64().unwrap()
    }

    async fn key(&self, shows: &Shows, scope: &str) -> Option<Shows> {
        let body = json!({ "name": scope, "scopes": [scope], "expires_ms": self.now() + 600_000 });
        let (status, made) = self.ask("POST", "/v1/api-keys", shows, None, &body).await;
        if status == 422 {
            return None; // the role has nothing of the scope
        }
        assert_eq!(status, 201, "{made}");
        Some(Shows::Key(
            ApiKeyId(made["id"].as_u64().unwrap()),
            made["secret"].as_str().unwrap().to_owned(),
        ))
    }

    async fn account(&self, owner: &Shows) -> u64 {
        let made = self.good("POST", "/v1/accounts", owner, json!({})).await;
        made["account"].as_u64().unwrap()
    }

    fn grant_body(&self, account: u64, owner: u8) -> Value {
        let terms = GrantTerms {
            account: account as u32,
            session: SESSION_ADDRESS.parse().unwrap(),
            expires_s: self.now() / 1_000 + 3_600,
            first_epoch: 1,
            last_epoch: 9,
            limits: Vec::new(),
        };
        let signature = wallet(owner).sign(&terms.message().unwrap(), &venue_domain(VENUE));
        json!({
            "account": account, "session": SESSION_ADDRESS, "expires_s": terms.expires_s,
            "first_epoch": 1, "last_epoch": 9, "owner_signature": text(signature),
        })
    }

    fn session_body(&self, account: u64, grant: &Value, nonce: u8) -> Value {
        let id = grant["id"].as_str().unwrap();
        let wanted = NewSession {
            account: account as u32,
            shard: "main".to_owned(),
            authority: Authority::Grant(id.parse().unwrap()),
            public_key: hex::decode_to_array(SESSION_KEY).unwrap(),
            nonce: [nonce; 16],
            expires_s: self.now() / 1_000 + 600,
            deadline_s: self.now() / 1_000 + 60,
            signature: Signature::default(),
        };
        let signature = wallet(1).sign(&wanted.message().unwrap(), &venue_domain(VENUE));
        json!({
            "account": account, "shard": "main", "grant": id, "public_key": SESSION_KEY,
            "nonce": hex::encode([nonce; 16]), "expires_s": wanted.expires_s,
            "deadline_s": wanted.deadline_s, "signature": text(signature),
        })
    }
}

/// Method, path · roles by letter, `*`: everybody · scopes by letter · body. What is public is not here.
fn endpoints() -> Vec<(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Value,
)> {
    let role = || json!({ "role": "viewer" });
    let digest = format!("0x{}", "ab".repeat(32));
    let digest: &'static str = Box::leak(format!("/v1/grants/{digest}").into_boxed_str());
    let grant = json!({
        "account": 3, "session": SESSION_ADDRESS, "expires_s": START_MS / 1_000 + 60,
        "first_epoch": 1, "last_epoch": 1, "owner_signature": "00".repeat(64),
    });
    let session = json!({
        "account": 3, "shard": "main", "public_key": SESSION_KEY, "nonce": "11".repeat(16),
        "expires_s": START_MS / 1_000 + 60, "deadline_s": START_MS / 1_000 + 60, "signature": "00".repeat(64),
    });
    vec![
        ("GET", "/v1/me", "*", "rtwk", Value::Null),
        ("POST", "/v1/sign-out", "*", "", json!({})),
        ("GET", "/v1/passkeys", "*", "", Value::Null),
        ("POST", "/v1/passkeys/start", "*", "", json!({})),
        ("DELETE", "/v1/passkeys/77", "*", "", Value::Null),
        ("GET", "/v1/organisations", "*", "rtwk", Value::Null),
        ("POST", "/v1/organisations", "*", "", json!({ "name": "x" })),
        ("GET", "/v1/members", "otrv", "r", Value::Null),
        ("PUT", "/v1/members/77", "o", "", role()),
        ("DELETE", "/v1/members/77", "o", "", Value::Null),
        ("GET", "/v1/invitations", "otrv", "r", Value::Null),
        ("POST", "/v1/invitations", "o", "", role()),
        ("DELETE", "/v1/invitations/77", "o", "", Value::Null),
        (
            "POST",
            "/v1/invitations/accept",
            "*",
            "",
            json!({ "code": "r0i_x" }),
        ),
        ("POST", "/v1/accounts", "o", "", json!({})),
        ("GET", "/v1/audit?limit=1", "or", "r", Value::Null),
        ("GET", "/v1/api-keys", "otrv", "r", Value::Null),
        (
            "POST",
            "/v1/api-keys",
            "otrv",
            "",
            json!({ "name": "x", "scopes": ["read"], "expires_ms": START_MS + 60_000 }),
        ),
        ("DELETE", "/v1/api-keys/77", "or", "", Value::Null),
        ("GET", "/v1/grants", "otrv", "r", Value::Null),
        ("POST", "/v1/grants", "o", "", grant),
        ("DELETE", digest, "otr", "k", Value::Null),
        ("GET", "/v1/trading-sessions", "otrv", "r", Value::Null),
        ("POST", "/v1/trading-sessions", "ot", "t", session),
        (
            "DELETE",
            "/v1/trading-sessions/77",
            "otr",
            "tk",
            Value::Null,
        ),
        (
            "POST",
            "/v1/ouch-logins",
            "ot",
            "t",
            json!({ "account": 3, "shard": "main" }),
        ),
    ]
}

const PUBLIC: [(&str, &str); 6] = [
    ("GET", "/v1/trading-key"),
    ("POST", "/v1/sign-in/nonce"),
    ("POST", "/v1/sign-in/wallet"),
    ("POST", "/v1/sign-in/passkey/start"),
    ("POST", "/v1/sign-in/passkey/finish"),
    ("POST", "/v1/passkeys/finish"),
];

/// Acts that fail for their signature where nothing else is wrong: 403 with this code.
fn lets_in(status: u16, value: &Value) -> bool {
    match status {
        401 => false,
        403 => value["code"] == "signature",
        _ => status < 500,
    }
}

#[tokio::test]
async fn every_endpoint_by_every_role_and_state_of_a_credential() {
    let stage = stage();
    let organisation = stage.organisation(1).await;
    let foreign = stage.organisation(11).await;
    let mut checked = 0;
    let nobody = [
        Shows::Nothing,
        Shows::Bearer(format!("r0s_{}", "0".repeat(64))),
        Shows::Bearer(format!("r0k_1_{}", "0".repeat(64))),
        Shows::Key(ApiKeyId(99), "r0h_guess".to_owned()),
    ];
    for (method, path, roles, scopes, body) in endpoints() {
        for shows in &nobody {
            let (status, value) = stage.ask(method, path, shows, None, &body).await;
            assert_eq!(status, 401, "{method} {path}: {value}");
            // A stranger learns nothing of what a body has to be either.
            if !body.is_null() {
                let (status, _) = stage.ask(method, path, shows, None, &json!(["x"])).await;
                assert!(
                    status == 401 || path == "/v1/passkeys/start",
                    "{method} {path}"
                );
            }
            checked += 1;
        }
        for (letter, number) in "otrv".chars().zip(1_u8..) {
            let at = format!("{method} {path} as {letter}");
            let login = stage.sign_in(number).await;
            let yes = roles == "*" || roles.contains(letter);
            // In a foreign organisation: as if it were not there.
            let (status, value) = stage.ask(method, path, &login, Some(foreign), &body).await;
            assert_eq!(status, 404, "{at}: {value}");
            for (scope, name) in [
                ('r', "read"),
                ('t', "trade"),
                ('w', "withdraw-request"),
                ('k', "risk"),
            ] {
                let Some(key) = stage.key(&login, name).await else {
                    continue;
                };
                let (status, value) = stage.ask(method, path, &key, Some(foreign), &body).await;
                assert_eq!(status, 404, "{at} with {name}: {value}");
                let (status, value) = stage.ask(method, path, &key, None, &body).await;
                let expected = yes && scopes.contains(scope);
                if path == "/v1/sign-out" || path == "/v1/invitations/accept" {
                    assert_eq!(status, 422, "{at} with {name}: {value}");
                } else {
                    assert_eq!(
                        lets_in(status, &value),
                        expected,
                        "{at} with {name}: {status} {value}"
                    );
                }
                let Shows::Key(id, _) = &key else {
                    unreachable!()
                };
                stage
                    .good("DELETE", &format!("/v1/api-keys/{id}"), &login, Value::Null)
                    .await;
                let (status, _) = stage.ask(method, path, &key, None, &body).await;
                assert_eq!(status, 401, "{at} with {name}, revoked");
                checked += 3;
            }
            let (status, value) = stage
                .ask(method, path, &login, Some(organisation), &body)
                .await;
            assert_eq!(lets_in(status, &value), yes, "{at}: {status} {value}");
            // Signed out.
            let login = stage.sign_in(number).await;
            stage.good("POST", "/v1/sign-out", &login, json!({})).await;
            let (status, _) = stage.ask(method, path, &login, None, &body).await;
            assert_eq!(status, 401, "{at}, signed out");
            checked += 3;
            if letter == 'o' && path == "/v1/organisations" && method == "POST" {
                // It has two now: it names one.
                let login = stage.sign_in(number).await;
                let (status, value) = stage
                    .ask("GET", "/v1/members", &login, None, &Value::Null)
                    .await;
                assert_eq!(
                    (status, value["code"].as_str()),
                    (403, Some("no-organisation"))
                );
                break;
            }
        }
        if path == "/v1/organisations" && method == "POST" {
            // Others would have two as well; the rest goes on with fresh people.
            return_to_one(&stage, organisation).await;
        }
    }
    // Past their end.
    let login = stage.sign_in(2).await;
    stage.now_ms.fetch_add(31 * 60_000, Ordering::Relaxed);
    for (method, path, _, _, body) in endpoints() {
        let (status, _) = stage.ask(method, path, &login, None, &body).await;
        assert_eq!(status, 401, "{method} {path}, past its end");
    }
    assert!(checked > 1_000, "{checked}");
}

/// The owner leaves the organisation that it has just made, by handing it to somebody else.
async fn return_to_one(stage: &Desk, kept: u64) {
    let owner = stage.sign_in(1).await;
    let all = stage
        .good("GET", "/v1/organisations", &owner, Value::Null)
        .await;
    for it in all.as_array().unwrap() {
        let id = it["id"].as_u64().unwrap();
        if id == kept {
            continue;
        }
        let (_, invited) = stage
            .ask(
                "POST",
                "/v1/invitations",
                &owner,
                Some(id),
                &json!({ "role": "owner" }),
            )
            .await;
        let heir = stage.sign_in(50).await;
        stage
            .good(
                "POST",
                "/v1/invitations/accept",
                &heir,
                json!({ "code": invited["code"] }),
            )
            .await;
        let me = stage.good("GET", "/v1/me", &owner, Value::Null).await;
        let path = format!("/v1/members/{}", me["person"]);
        let (status, _) = stage
            .ask("DELETE", &path, &owner, Some(id), &Value::Null)
            .await;
        assert_eq!(status, 200);
    }
}

/// The document has every route, and the table above has every route of the document.
#[test]
fn the_document_and_the_table_have_the_same_routes() {
    let document = serde_json::to_value(AccessApi::openapi()).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            assert!(
                operation["responses"].as_object().unwrap().len() > 1,
                "{method} {path}"
            );
        }
    }
    let templates: Vec<_> = described.iter().map(|it| it.1.clone()).collect();
    let template = |path: &str| {
        let path = path.split('?').next().unwrap();
        let fits = |template: &&String| {
            let (a, b) = (template.split('/'), path.split('/'));
            a.clone().count() == b.clone().count()
                && a.zip(b).all(|(a, b)| a == b || a.starts_with('{'))
        };
        let exact = templates.iter().find(|it| **it == path);
        exact
            .or_else(|| templates.iter().find(fits))
            .expect(path)
            .clone()
    };
    let tested = endpoints()
        .into_iter()
        .map(|it| (it.0.to_owned(), template(it.1)));
    let public = PUBLIC.iter().map(|it| (it.0.to_owned(), it.1.to_owned()));
    assert_eq!(tested.chain(public).collect::<BTreeSet<_>>(), described);
}

#[tokio::test]
async fn bodies_and_headers_that_do_not_fit_are_problems() {
    let stage = stage();
    let login = stage.sign_in(1).await;
    let Shows::Bearer(token) = &login else {
        unreachable!()
    };
    let bearer = format!("Bearer {token}");
    let ask = |kind: Option<&'static str>, body: &str| {
        let mut request = Request::builder()
            .method("POST")
            .uri("/v1/organisations")
            .header("authorization", &bearer);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        stage.raw(request.body(Body::from(body.to_owned())).unwrap())
    };
    let json_kind = Some("application/json; charset=utf-8");
    assert_eq!(ask(json_kind, "{\"name\":\"x\"}").await.0, 201);
    for (kind, body, status) in [
        (None, "{\"name\":\"x\"}", 415),
        (Some("text/plain"), "{\"name\":\"x\"}", 415),
        (Some("application/x-www-form-urlencoded"), "name=x", 415),
        (json_kind, "{", 422),
        (json_kind, "{\"name\":1}", 422),
        (json_kind, "{\"name\":\"x\",\"more\":1}", 422),
        (json_kind, "{\"name\":\"\"}", 422),
        (json_kind, "", 422),
        (json_kind, "[[[[[[", 422),
    ] {
        let (got, headers, value) = ask(kind, body).await;
        assert_eq!(got, status, "{body}: {value}");
        assert_eq!(headers["content-type"], "application/problem+json");
    }
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(ask(json_kind, &long).await.0, 413);
    let twice = Request::builder()
        .uri("/v1/me")
        .header("authorization", &bearer)
        .header("authorization", &bearer);
    assert_eq!(stage.raw(twice.body(Body::empty()).unwrap()).await.0, 400);
    for path in ["/v1/audit?limit=x", "/v1/audit?more=1"] {
        assert_eq!(
            stage.ask("GET", path, &login, None, &Value::Null).await.0,
            400
        );
    }
    for path in [
        "/v1/api-keys/x",
        "/v1/api-keys/-1",
        "/v1/api-keys/99999999999999999999",
    ] {
        assert_eq!(
            stage
                .ask("DELETE", path, &login, None, &Value::Null)
                .await
                .0,
            404
        );
    }
    // A peer that the server does not know is no client.
    let unknown = Request::builder()
        .uri("/v1/me")
        .header("authorization", &bearer)
        .body(Body::empty())
        .unwrap();
    let status = stage.router.clone().call(unknown).await.unwrap().status();
    assert_eq!(status.as_u16(), 503);
}

#[tokio::test]
async fn a_browsers_login_is_a_cookie_that_scripts_do_not_see() {
    let stage = stage();
    let signer = wallet(1);
    let sign_in = |origin: Option<&'static str>| {
        let (stage, signer) = (&stage, &signer);
        async move {
            let nonce = stage
                .good("POST", "/v1/sign-in/nonce", &Shows::Nothing, Value::Null)
                .await;
            assert_eq!(
                (nonce["domain"].as_str(), nonce["uri"].as_str()),
                (Some("trade.example"), Some(ORIGIN))
            );
            let message = stage.message(&nonce, signer);
            let signature = text(signer.sign_digest(digest(&message)));
            let body = json!({ "message": message, "signature": signature, "cookie": true });
            let mut request = Request::builder()
                .method("POST")
                .uri("/v1/sign-in/wallet")
                .header("content-type", "application/json");
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            stage
                .raw(request.body(Body::from(body.to_string())).unwrap())
                .await
        }
    };
    assert_eq!(sign_in(Some("https://evil.example")).await.0, 403);
    let (status, headers, value) = sign_in(Some(ORIGIN)).await;
    assert_eq!((status, &value["token"]), (200, &Value::Null), "{value}");
    assert_eq!(headers["cache-control"], "no-store");
    let cookie = headers["set-cookie"].to_str().unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(attributes.split("; ").any(|it| it == attribute), "{cookie}");
    }
    assert!(pair.starts_with("__Host-ring0=r0s_") && !attributes.contains("Domain"));
    let with = |method: &str, path: &str, origin: Option<&str>| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", pair);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        stage.raw(request.body(Body::empty()).unwrap())
    };
    assert_eq!(with("GET", "/v1/me", None).await.0, 200);
    assert_eq!(with("POST", "/v1/sign-out", None).await.0, 403);
    assert_eq!(
        with("POST", "/v1/sign-out", Some("https://evil.example"))
            .await
            .0,
        403
    );
    let (status, headers, _) = with("POST", "/v1/sign-out", Some(ORIGIN)).await;
    assert_eq!(status, 204);
    assert!(
        headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(with("GET", "/v1/me", None).await.0, 401);
    // Passkeys: the challenge is there, an answer to nothing is refused.
    let begun = stage
        .good(
            "POST",
            "/v1/sign-in/passkey/start",
            &Shows::Nothing,
            Value::Null,
        )
        .await;
    assert_eq!(
        begun["challenge"]["publicKey"]["userVerification"],
        "required"
    );
    let login = stage.sign_in(1).await;
    let begun = stage
        .good("POST", "/v1/passkeys/start", &login, json!({}))
        .await;
    assert_eq!(begun["challenge"]["publicKey"]["rp"]["id"], "trade.example");
    let body = json!({ "ceremony": begun["ceremony"], "credential": {} });
    let (status, _) = stage
        .ask(
            "POST",
            "/v1/sign-in/passkey/finish",
            &Shows::Nothing,
            None,
            &body,
        )
        .await;
    assert_eq!(status, 422);
}

/// Grant, session, revocation: when the answer is given, the venue has been told.
#[tokio::test]
async fn what_is_revoked_has_ended_at_the_venue_before_the_answer() {
    let stage = stage();
    stage.organisation(1).await;
    let owner = stage.sign_in(1).await;
    let account = stage.account(&owner).await;
    assert_eq!(
        (account, stage.venue.taken()),
        (3, vec!["open-account 3".to_owned()])
    );
    let (status, _) = stage
        .ask(
            "POST",
            "/v1/grants",
            &owner,
            None,
            &stage.grant_body(account, 2),
        )
        .await;
    assert_eq!(status, 403, "another wallet's signature");
    let grant = stage
        .good("POST", "/v1/grants", &owner, stage.grant_body(account, 1))
        .await;
    let trader = stage.sign_in(2).await;
    let body = stage.session_body(account, &grant, 1);
    let session = stage
        .good("POST", "/v1/trading-sessions", &trader, body.clone())
        .await;
    assert_eq!(session["stage"], "open");
    assert_eq!(session["opened"]["session_id"], "0001ABCDEF");
    assert_eq!(stage.venue.taken(), ["grant 1"]);
    let again = stage
        .good("POST", "/v1/trading-sessions", &trader, body.clone())
        .await;
    assert_eq!(
        (again, stage.venue.taken()),
        (session, vec![]),
        "a lost answer is asked for again"
    );
    let begun = Instant::now();
    let ended = stage
        .good("DELETE", "/v1/trading-sessions/1", &trader, Value::Null)
        .await;
    println!("revoked after {:?}", begun.elapsed());
    assert_eq!(ended, json!({ "ended": [1], "pending": [] }));
    assert_eq!(stage.venue.taken(), ["revoke 1 0001ABCDEF"]);
    let (status, _) = stage
        .ask("POST", "/v1/trading-sessions", &trader, None, &body)
        .await;
    assert_eq!(status, 409);

    // Each way that takes away what a session rests on.
    let trader_id = stage.good("GET", "/v1/me", &trader, Value::Null).await["person"].clone();
    let member = format!("/v1/members/{trader_id}");
    for (number, (method, path, body)) in (2_u8..).zip([
        ("PUT", member.clone(), json!({ "role": "risk" })),
        (
            "DELETE",
            format!("/v1/grants/{}", grant["id"].as_str().unwrap()),
            Value::Null,
        ),
    ]) {
        stage
            .good("PUT", &member, &owner, json!({ "role": "trader" }))
            .await;
        stage
            .good(
                "POST",
                "/v1/trading-sessions",
                &trader,
                stage.session_body(account, &grant, number),
            )
            .await;
        stage.venue.taken();
        let ended = stage.good(method, &path, &owner, body).await;
        assert_eq!(ended, json!({ "ended": [number], "pending": [] }));
        assert_eq!(
            stage.venue.taken(),
            [format!("revoke {number} {number:04}ABCDEF")]
        );
    }
    let (status, _) = stage
        .ask(
            "POST",
            "/v1/trading-sessions",
            &owner,
            None,
            &stage.session_body(account, &grant, 9),
        )
        .await;
    assert_eq!(status, 409, "under a revoked grant");
    assert_eq!(stage.venue.taken(), Vec::<String>::new());
}

/// A venue that does not answer is asked again until it does; one that refuses has not done it.
#[tokio::test]
async fn a_venue_that_does_not_answer_is_asked_again() {
    let stage = stage();
    stage.organisation(1).await;
    let owner = stage.sign_in(1).await;
    let account = stage.account(&owner).await;
    let grant = stage
        .good("POST", "/v1/grants", &owner, stage.grant_body(account, 1))
        .await;
    let silent = || Some(VenueError::Unavailable("gone".to_owned()));
    stage.venue.taken();
    // Opening.
    stage.venue.say(silent());
    let body = stage.session_body(account, &grant, 1);
    let (status, value) = stage
        .ask("POST", "/v1/trading-sessions", &owner, None, &body)
        .await;
    assert_eq!(status, 503, "{value}");
    stage.access.ask_again().await;
    assert_eq!(stage.venue.taken(), ["grant 1", "grant 1"]);
    stage.venue.say(None);
    stage.access.ask_again().await;
    stage.access.ask_again().await;
    assert_eq!(stage.venue.taken(), ["grant 1"]);
    let all = stage
        .good("GET", "/v1/trading-sessions", &owner, Value::Null)
        .await;
    assert_eq!(all[0]["stage"], "open");
    // Ending.
    stage.venue.say(silent());
    let ended = stage
        .good("DELETE", "/v1/trading-sessions/1", &owner, Value::Null)
        .await;
    assert_eq!(ended, json!({ "ended": [], "pending": [1] }));
    stage.venue.say(None);
    stage.venue.taken();
    stage.access.ask_again().await;
    stage.access.ask_again().await;
    assert_eq!(stage.venue.taken(), ["revoke 1 0001ABCDEF"]);
    // Refused.
    stage
        .venue
        .say(Some(VenueError::Refused("no session left".to_owned())));
    let body = stage.session_body(account, &grant, 2);
    let (status, value) = stage
        .ask("POST", "/v1/trading-sessions", &owner, None, &body)
        .await;
    assert_eq!(
        (status, value["detail"].as_str()),
        (409, Some("no session left"))
    );
    stage.venue.say(None);
    assert_eq!(stage.access.identity().unfinished(), []);
}

/// Waits for something that another task does.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it was not so within a minute");
}

/// A session that is revoked while the venue is being asked for it ends as soon as the venue has it, also when its client has gone away.
#[tokio::test]
async fn a_revocation_overtakes_an_opening() {
    let stage = Arc::new(stage());
    stage.organisation(1).await;
    let owner = stage.sign_in(1).await;
    let account = stage.account(&owner).await;
    let grant = stage
        .good("POST", "/v1/grants", &owner, stage.grant_body(account, 1))
        .await;
    stage.venue.taken();
    let gate = stage.venue.gate.acquire().await.unwrap();
    let opening = tokio::spawn({
        let (stage, owner) = (Arc::clone(&stage), owner.clone());
        let body = stage.session_body(account, &grant, 1);
        async move {
            stage
                .ask("POST", "/v1/trading-sessions", &owner, None, &body)
                .await
        }
    });
    until(|| stage.venue.came.load(Ordering::Relaxed) == 1).await;
    opening.abort();
    let path = format!("/v1/grants/{}", grant["id"].as_str().unwrap());
    let ended = stage.good("DELETE", &path, &owner, Value::Null).await;
    assert_eq!(ended, json!({ "ended": [], "pending": [1] }));
    assert_eq!(stage.venue.taken(), Vec::<String>::new());
    drop(gate);
    until(|| stage.access.identity().unfinished().is_empty()).await;
    assert_eq!(stage.venue.taken(), ["grant 1", "revoke 1 0001ABCDEF"]);
    let session = stage
        .access
        .identity()
        .session(ring0_identity::SessionId(1))
        .unwrap();
    assert_eq!(session.stage, Stage::Ended);
}
