//! People and organisations in front of the same routes: who has not signed in gets nowhere, and can sign in.

mod stand;

use serde_json::json;
use stand::Stand;

#[test]
fn with_identity_strangers_get_problems_and_a_nonce() {
    let venue = "0x".to_owned() + &"11".repeat(32);
    let identity = format!(
        "[identity]\nfolder = \"identity\"\norigin = \"https://localhost\"\nchain_ids = [1]\nvenue = \"{venue}\"\nsockets = \".\""
    );
    let stand = Stand::with("", &identity);
    assert_eq!(stand.get("/readyz"), json!("ready\n"));
    for (path, token, code) in [
        ("/v1/accounts/alice/orders", None, "no-credential"),
        ("/v1/accounts", None, "no-credential"),
        (
            "/v1/accounts/alice/orders",
            Some("r0s_unknown"),
            "bad-credential",
        ),
        ("/v1/api-keys", None, "no-credential"),
    ] {
        let (status, problem) = stand.ask("GET", path, token, None);
        assert_eq!(
            (status, &problem["code"]),
            (401, &json!(code)),
            "{path}: {problem}"
        );
    }
    // The same path, two methods: to look is the gateway's, to bring one in the organisation's.
    let (status, problem) = stand.ask("POST", "/v1/accounts", None, Some(&json!({ "account": 7 })));
    assert_eq!(status, 401, "{problem}");
    let (status, nonce) = stand.ask("POST", "/v1/sign-in/nonce", None, Some(&json!({})));
    assert_eq!(status, 200, "{nonce}");
    assert!(
        nonce["nonce"].as_str().is_some_and(|it| it.len() >= 8),
        "{nonce}"
    );
}
