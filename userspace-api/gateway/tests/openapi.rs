//! The OpenAPI document is the one in `docs/api`, and what it lists is served, and served only to who may.

mod people;
mod stand;

use people::{grant, identity, welcome};
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

/// What a request that fits the schema may be answered beside the good: JSON Schema's integers include 1.0, and no schema says whose signature it has
/// to be or that a time of expiry needs an order that expires.
const ACCEPTED: &str = "[checks.positive_data_acceptance]\nexpected-statuses = [\"2xx\", \"400\", \"401\", \"403\", \"404\", \"409\", \"422\", \"429\"]\n";

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
    let first = order("there", "buy", "0.1", "50000");
    let path = person.path("orders");
    let (status, placed) = stand.ask("POST", &path, Some(&person.token), Some(&first));
    assert_eq!(status, 201, "{placed}");
    let id = placed["id"].as_str().unwrap();
    // What it could only guess.
    let config = stand.path("schemathesis.toml");
    let parameters = format!(
        "{ACCEPTED}[parameters]\n\"path.account\" = \"{}\"\n\"path.symbol\" = \"BTC-USD\"\n\"path.id\" = \"{id}\"\n\"path.client_order_id\" = \"there\"\n",
        person.account
    );
    std::fs::write(&config, parameters).unwrap();
    let ran = Command::new(program)
        .arg("--config-file")
        .arg(&config)
        .arg("run")
        .arg(format!("http://{}/openapi.json", stand.http))
        .args([
            "--header",
            &format!("Authorization: Bearer {}", person.token),
        ])
        .args(["--checks", "all", "--seed", &seed, "--max-examples", "10"])
        // It would sign itself out.
        .args(["--exclude-path", "/v1/sign-out"])
        .current_dir(stand.folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "RING0_SEED={seed}\n{said}");
    assert_eq!(stand.get("/readyz"), json!("ready\n"));
}
