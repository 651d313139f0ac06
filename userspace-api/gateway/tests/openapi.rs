//! The OpenAPI document is the one in `docs/api`, and what it lists is served, and served only to who may.

mod people;
mod stand;

use people::{good, grant, identity, welcome};
use serde_json::{Value, json};
use stand::{ALICE, Stand, VIEWER, order};
use std::path::Path;
use std::process::Command;

const KEPT: &str = include_str!("../../../docs/api/openapi.json");

#[test]
fn the_kept_document_is_that_of_the_types() {
    assert!(
        ring0_gateway::openapi_json() == KEPT,
        "docs/api/openapi.json is of other types; run: cargo run --release -p ring0-gateway -- openapi > docs/api/openapi.json"
    );
    let document: Value = serde_json::from_str(KEPT).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
}

/// A path with something in place of its parameters.
fn filled(path: &str) -> String {
    path.replace("{symbol}", "BTC-USD")
        .replace("{account}", "alice")
        .replace("{id}", "1")
        .replace("{client_order_id}", "none")
}

#[test]
fn what_is_listed_is_served_to_who_may() {
    let stand = Stand::up();
    let document: Value = serde_json::from_str(KEPT).unwrap();
    let (mut public, mut private) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        // Sign-in has tests of its own, and is not served here.
        let is_ours = path.starts_with("/v1/accounts/{account}/")
            || [
                "/v1/instruments",
                "/v1/time",
                "/v1/status",
                "/v1/assets",
                "/v1/fees",
                "/v1/tickers",
            ]
            .iter()
            .any(|it| path.starts_with(it));
        if !is_ours {
            continue;
        }
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let body = operation.get("requestBody").map(|_| json!({}));
            let ask = |token| stand.ask(&method, &filled(path), token, body.as_ref());
            if operation.get("security").is_none() {
                public += 1;
                let (status, answer) = ask(None);
                assert_eq!(status, 200, "{method} {path}: {answer}");
                continue;
            }
            private += 1;
            for token in [None, Some("wrong"), Some("")] {
                let (status, answer) = ask(token);
                assert_eq!(status, 401, "{method} {path}: {answer}");
                assert_eq!(answer["code"], "unauthenticated");
            }
            // Whoever may only read changes nothing.
            let (status, answer) = ask(Some(VIEWER));
            let is_read = method == "GET";
            let refused = status == 403 || (!is_read && status == 400);
            assert_eq!(!is_read, refused, "{method} {path}: {status} {answer}");
            // Another's account is as one that is not there; a body that is none is said first.
            let other = filled(path).replace("/alice/", "/bob/");
            let (status, answer) = stand.ask(&method, &other, Some(ALICE), body.as_ref());
            assert!(
                status == 404 || (body.is_some() && status == 400),
                "{method} {path}: {status} {answer}"
            );
        }
    }
    assert!(public >= 10 && private >= 15, "{public} and {private}");
}

/// What a request that fits the schema may be answered beside the good, by operation; any other answer, and any refusal of an operation that is not
/// here, fails. 404 is of names and numbers that schemathesis makes up, and of settlement, which this gateway has none of; 409 of what was cancelled,
/// revoked or used up by the requests before; 400 and 422 of what no schema says here: integers that are written `1.0` or are larger than 64 bits,
/// addresses and signatures that are text, a time of expiry for an order that does not expire. What is known to be there (the account, the
/// instrument, the order by both its names) may not be refused to who reads it.
const REFUSED: &[(&str, &[u16])] = &[
    ("POST /v1/accounts", &[400, 409, 422]),
    ("GET /v1/accounts/{account}/batch", &[400, 404]),
    ("GET /v1/accounts/{account}/channels", &[404]),
    (
        "DELETE /v1/accounts/{account}/client-orders/{client_order_id}",
        &[409],
    ),
    ("POST /v1/accounts/{account}/cosign", &[400, 404]),
    ("GET /v1/accounts/{account}/deposits", &[404]),
    ("GET /v1/accounts/{account}/fills", &[404]),
    ("GET /v1/accounts/{account}/moves", &[404]),
    ("POST /v1/accounts/{account}/moves", &[400, 404]),
    ("GET /v1/accounts/{account}/orders", &[404]),
    // 422: the engine's reasons, for instance no money.
    ("POST /v1/accounts/{account}/orders", &[400, 404, 409, 422]),
    ("DELETE /v1/accounts/{account}/orders", &[404, 409]),
    ("PUT /v1/accounts/{account}/orders/{id}", &[400, 409, 422]),
    ("DELETE /v1/accounts/{account}/orders/{id}", &[409]),
    ("GET /v1/accounts/{account}/statement", &[400, 404]),
    (
        "POST /v1/accounts/{account}/withdrawal-addresses",
        &[400, 404],
    ),
    ("GET /v1/accounts/{account}/withdrawals", &[404]),
    ("POST /v1/accounts/{account}/withdrawals", &[400, 404]),
    ("POST /v1/api-keys", &[400, 422]),
    ("DELETE /v1/api-keys/{key}", &[404]),
    ("GET /v1/fees", &[404]),
    ("GET /v1/audit", &[400]),
    ("POST /v1/grants", &[400, 422]),
    ("DELETE /v1/grants/{grant}", &[400, 404]),
    ("GET /v1/instruments/{symbol}/candles", &[400]),
    ("POST /v1/invitations", &[400]),
    ("DELETE /v1/invitations/{invitation}", &[404]),
    ("POST /v1/invitations/accept", &[404, 409]),
    ("PUT /v1/members/{person}", &[400, 404, 409]),
    ("DELETE /v1/members/{person}", &[404, 409]),
    ("POST /v1/organisations", &[409, 422]),
    ("POST /v1/ouch-logins", &[404, 409, 422]),
    ("POST /v1/passkeys/finish", &[422]),
    ("POST /v1/passkeys/start", &[404, 409, 422]),
    ("DELETE /v1/passkeys/{passkey}", &[404]),
    ("POST /v1/sign-in/passkey/finish", &[422]),
    // Nobody signs what it makes up.
    ("POST /v1/sign-in/wallet", &[401]),
    ("POST /v1/sign-out", &[401, 422]),
    ("POST /v1/trading-sessions", &[400, 422]),
    ("DELETE /v1/trading-sessions/{session}", &[404]),
];

/// The configuration of schemathesis: what it could only guess, and [`REFUSED`].
fn config(parameters: &[(&str, &str)]) -> String {
    let mut text =
        "[checks.positive_data_acceptance]\nexpected-statuses = [\"2xx\"]\n[parameters]\n"
            .to_owned();
    for (name, value) in parameters {
        text += &format!("\"path.{name}\" = \"{value}\"\n");
    }
    for (operation, statuses) in REFUSED {
        let mut all = vec!["2xx".to_owned()];
        all.extend(statuses.iter().map(u16::to_string));
        text += &format!(
            "[[operations]]\ninclude-name = {operation:?}\nchecks.positive_data_acceptance.expected-statuses = {all:?}\n"
        );
    }
    text
}

/// schemathesis asks what the document lets it ask, and what it does not, and holds every answer against the document: with all its checks, as an
/// owner with an account that trades. RING0_SEED gives its seed again.
#[test]
fn what_the_document_says_holds() {
    let tools = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/tools/venv/bin"
    ));
    let program = tools.join("schemathesis");
    assert!(
        program.exists(),
        "{} is not there; run ./scripts/setup",
        program.display()
    );
    let seed = std::env::var("RING0_SEED").unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().subsec_nanos().to_string()
    });
    println!("RING0_SEED={seed}");
    let stand = Stand::with("", &identity());
    let person = welcome(&stand, 9);
    grant(&stand, &person, 3_600);
    // Signs out: somebody else, because that may end all of a person's credentials.
    let leaving = welcome(&stand, 8).token;
    let first = order("there", "buy", "0.1", "50000");
    let path = person.path("orders");
    let (status, placed) = stand.ask("POST", &path, Some(&person.token), Some(&first));
    assert_eq!(status, 201, "{placed}");
    let id = placed["id"].as_str().unwrap();
    let account = person.account.to_string();
    let parameters = [
        ("account", account.as_str()),
        ("symbol", "BTC-USD"),
        ("id", id),
        ("client_order_id", "there"),
    ];
    let file = stand.path("schemathesis.toml");
    std::fs::write(&file, config(&parameters)).unwrap();
    let run = |token: &str, paths: [&str; 2]| {
        let mine = good(&stand, "GET", "/v1/organisations", Some(token), Value::Null);
        let organisation = mine[0]["id"].to_string();
        let organisation = organisation.trim_matches('"');
        let ran = Command::new(&program)
            .arg("--config-file")
            .arg(&file)
            .arg("run")
            .arg(format!("http://{}/openapi.json", stand.http))
            .args(["--header", &format!("Authorization: Bearer {token}")])
            // It founds further organisations, and then would have to say which it means.
            .args(["--header", &format!("Ring0-Organisation: {organisation}")])
            .args(["--checks", "all", "--seed", &seed, "--max-examples", "10"])
            // It takes every 404 behind a POST for what was made by that, also where a symbol that it made up is not there.
            .args(["--exclude-checks", "ensure_resource_availability"])
            .args(paths)
            .current_dir(stand.folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "RING0_SEED={seed}\n{said}");
    };
    run(&person.token, ["--exclude-path", "/v1/sign-out"]);
    let me = |token: &str| stand.ask("GET", "/v1/me", Some(token), None).0;
    assert_eq!((me(&leaving), me(&person.token)), (200, 200));
    run(&leaving, ["--include-path", "/v1/sign-out"]);
    assert_eq!(
        (me(&leaving), me(&person.token)),
        (401, 200),
        "it has signed out, and nobody else"
    );
    assert_eq!(stand.get("/readyz"), json!("ready\n"));
}
