//! The OpenAPI document is the one in `docs/api`, and what it lists is served, and served only to who may.

mod stand;

use serde_json::{Value, json};
use stand::{ALICE, Stand, VIEWER};

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
