//! Sign-in by wallet: what is signed, by whom, once and in time.

use crate::cast::{Cast, ORIGIN, START_MS, eip191, here, rfc3339, wallet, wallet_text};
use alloy_primitives::U256;
use proptest::prelude::*;
use ring0_identity::wallet::SignInMessage;
use ring0_identity::{Identity, Pace, Refused, hex};

/// The example of EIP-4361 itself, and one without anything that need not be there.
#[test]
fn the_message_is_read_by_its_grammar() {
    let example = "example.com wants you to sign in with your Ethereum account:\n\
        0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2\n\n\
        I accept the ExampleOrg Terms of Service: https://example.com/tos\n\n\
        URI: https://example.com/login\nVersion: 1\nChain ID: 1\nNonce: 32891756\n\
        Issued At: 2021-09-30T16:25:24Z\nResources:\n\
        - ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/\n\
        - https://example.com/my-web2-claim.json";
    let read = SignInMessage::parse(example).unwrap();
    assert_eq!(read.domain, "example.com");
    assert_eq!(read.resources.len(), 2);
    assert_eq!(read.to_string(), example);
    let bare = "https://example.com wants you to sign in with your Ethereum account:\n\
        0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2\n\n\n\
        URI: https://example.com\nVersion: 1\nChain ID: 1\nNonce: 32891756\n\
        Issued At: 2021-09-30T16:25:24.000Z\nExpiration Time: 2021-09-30T16:25:24+02:00\n\
        Not Before: 2021-09-30T16:25:24Z\nRequest ID: some%20id";
    let read = SignInMessage::parse(bare).unwrap();
    assert_eq!(read.scheme.as_deref(), Some("https"));
    assert_eq!(
        (read.statement.as_ref(), read.request_id.as_deref()),
        (None, Some("some%20id"))
    );
    assert_eq!(read.to_string(), bare);
    let wrong = [
        ("example.com wants", "example .com wants"),
        (
            "example.com wants you to sign in with your Ethereum account:",
            "sign in:",
        ),
        (
            "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
            "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
        ),
        ("0xC02", "0xC03"),
        ("Terms", "Térms"),
        ("/tos\n\nURI", "/tos\nURI"),
        ("Cc2\n\nI", "Cc2\nI"),
        ("URI: https://example.com/login", "URI: no uri"),
        ("URI: https", "Uri: https"),
        ("Version: 1", "Version: 2"),
        ("Version: 1\nChain ID: 1", "Chain ID: 1\nVersion: 1"),
        ("Chain ID: 1", "Chain ID: 01"),
        ("Chain ID: 1", "Chain ID: 99999999999999999999"),
        ("Nonce: 32891756", "Nonce: 3289175"),
        ("Nonce: 32891756", "Nonce: 32891756-"),
        ("2021-09-30T16:25:24Z", "2021-09-30 16:25:24"),
        ("2021-09-30T16:25:24Z", "2021-13-30T16:25:24Z"),
        ("Issued At: 2021-09-30T16:25:24Z\n", ""),
        ("Resources:\n", "Resources:\n\n"),
        ("- https", "* https"),
        ("- https", "- no uri"),
        ("claim.json", "claim.json\n"),
        ("claim.json", "claim.json\nmore"),
        ("\n", "\r\n"),
    ];
    for (from, to) in wrong {
        let text = example.replacen(from, to, 1);
        assert_ne!(text, example, "{from}");
        assert!(SignInMessage::parse(&text).is_err(), "{text}");
    }
    let long = example.replace("Terms", &"T".repeat(4_000));
    assert!(SignInMessage::parse(&long).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// What is read is what is written: there are no two texts with one meaning.
    #[test]
    fn no_text_is_read_as_another(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("example.com wants you to sign in with your Ethereum account:".to_owned()),
                Just("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2".to_owned()),
                Just(String::new()), Just(String::new()),
                Just("URI: https://example.com".to_owned()),
                Just("Version: 1".to_owned()),
                Just("Chain ID: 1".to_owned()),
                Just("Nonce: 32891756".to_owned()),
                Just("Issued At: 2021-09-30T16:25:24Z".to_owned()),
                "[ -~]{0,20}",
            ], 8..14),
        ordered in any::<bool>(),
        at in 0_usize..9, with in "[ -~\\n]{0,3}",
    ) {
        let good = "example.com wants you to sign in with your Ethereum account:\n\
            0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2\n\n\n\
            URI: https://example.com\nVersion: 1\nChain ID: 1\nNonce: 32891756\n\
            Issued At: 2021-09-30T16:25:24Z";
        let text = if ordered {
            let mut lines: Vec<_> = good.split('\n').map(str::to_owned).collect();
            lines[at].push_str(&with);
            lines.join("\n")
        } else {
            lines.join("\n")
        };
        if let Ok(read) = SignInMessage::parse(&text) {
            prop_assert_eq!(read.to_string(), text);
        }
    }
}

fn refused(result: Result<ring0_identity::Secret, Refused>) -> String {
    match result {
        Err(Refused::SignIn(why)) => why,
        other => panic!("not refused as a sign-in: {other:?}"),
    }
}

#[test]
fn a_wallet_signs_in_once_with_a_message_and_is_the_same_person_again() {
    let cast = Cast::new();
    let signer = wallet(1);
    let text = cast.message(&signer).to_string();
    let signature = wallet_text(&signer, eip191(&text));
    let first = cast
        .identity
        .sign_in_by_wallet(&text, &signature, here())
        .unwrap();
    let again = cast.identity.sign_in_by_wallet(&text, &signature, here());
    assert!(refused(again.map(|it| it.token)).contains("was used"));
    let second = cast.sign_in(&signer);
    assert_eq!(second.person, first.person);
    assert_ne!(cast.sign_in(&wallet(2)).person, first.person);
    assert_eq!(second.role(), None);
}

#[test]
fn a_message_for_somebody_else_or_another_time_does_not_sign_in() {
    let cast = Cast::new();
    let signer = wallet(1);
    let good = || cast.message(&signer);
    type Change = (&'static str, fn(&mut SignInMessage, u64));
    let changes: [Change; 14] = [
        ("is for", |it, _| it.domain = "trade.example".to_owned()),
        ("is for", |it, _| {
            it.domain = "trade.example:8443.evil.example".to_owned()
        }),
        ("is for", |it, _| it.scheme = Some("http".to_owned())),
        ("URI", |it, _| {
            it.uri = "https://trade.example:84430/".to_owned()
        }),
        ("URI", |it, _| it.uri = "https://evil.example/".to_owned()),
        ("chain 5", |it, _| it.chain_id = 5),
        ("not of here", |it, _| it.nonce = "a".repeat(64)),
        ("not of here", |it, _| it.nonce = "12345678".to_owned()),
        ("not of here", |it, _| it.nonce.replace_range(0..1, "f")),
        ("future", |it, now| it.issued_at = rfc3339(now + 62_000)),
        ("too old", |it, now| it.issued_at = rfc3339(now - 301_000)),
        ("expired", |it, now| it.expiration_time = Some(rfc3339(now))),
        ("not hold yet", |it, now| {
            it.not_before = Some(rfc3339(now + 62_000))
        }),
        ("signed by", |it, _| it.address = wallet(2).address()),
    ];
    for (expected, change) in changes {
        let mut message = good();
        change(&mut message, cast.now());
        let why = refused(cast.send(&signer, &message.to_string()));
        assert!(why.contains(expected), "{expected}: {why}");
    }
    // Within the skew of a wallet's clock, of both sides of the window.
    for (ahead, behind) in [(59_000, 0), (0, 299_000)] {
        let mut message = good();
        message.issued_at = rfc3339(cast.now() + ahead - behind);
        cast.send(&signer, &message.to_string()).unwrap();
    }
    // A nonce is one whatever letters it is in.
    let mut message = good();
    message.nonce = message.nonce.to_ascii_uppercase();
    cast.send(&signer, &message.to_string()).unwrap();
    message.nonce = message.nonce.to_ascii_lowercase();
    assert!(refused(cast.send(&signer, &message.to_string())).contains("was used"));
    message.nonce = format!("0x{}", message.nonce);
    assert!(refused(cast.send(&signer, &message.to_string())).contains("was used"));
    // It ends.
    let message = good();
    cast.pass(300_000);
    let text = SignInMessage {
        issued_at: rfc3339(cast.now()),
        ..message
    }
    .to_string();
    assert!(refused(cast.send(&signer, &text)).contains("has ended"));
    // One of a process before is not of this one.
    let message = good();
    let cast = cast.reopened();
    let text = SignInMessage {
        issued_at: rfc3339(cast.now()),
        ..message
    }
    .to_string();
    assert!(refused(cast.send(&signer, &text)).contains("not of here"));
}

/// Any byte of the text or of the signature changed: refused, or it is not the same wallet.
#[test]
fn an_altered_message_or_signature_does_not_sign_in() {
    let cast = Cast::new();
    let signer = wallet(1);
    let text = cast.message(&signer).to_string();
    let signature = wallet_text(&signer, eip191(&text));
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
        let altered = String::from_utf8(bytes).unwrap();
        let result = cast
            .identity
            .sign_in_by_wallet(&altered, &signature, here());
        assert!(result.is_err(), "{altered}");
    }
    for place in 2..signature.len() {
        let mut bytes = signature.clone().into_bytes();
        bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
        if hex::decode(&bytes) == hex::decode(&signature) {
            continue;
        }
        let altered = String::from_utf8(bytes).unwrap();
        let result = cast.identity.sign_in_by_wallet(&text, &altered, here());
        assert!(result.is_err(), "{altered}");
    }
    for cut in [
        "",
        "0x",
        "0x00",
        &signature[..signature.len() - 4],
        &format!("{signature}00"),
    ] {
        let result = cast.identity.sign_in_by_wallet(&text, cut, here());
        assert!(result.is_err(), "{cut}");
    }
    cast.identity
        .sign_in_by_wallet(&text, &signature, here())
        .unwrap();
}

/// s and n − s are both signatures of a digest: one of them is taken.
#[test]
fn a_signature_in_the_upper_half_is_refused() {
    let cast = Cast::new();
    for number in 1..40 {
        let signer = wallet(number);
        let text = cast.message(&signer).to_string();
        let bytes = hex::decode(wallet_text(&signer, eip191(&text))).unwrap();
        let s = U256::from_be_slice(&bytes[32..64]);
        let order = U256::from_be_slice(&secp256k1::constants::CURVE_ORDER);
        let twin = [
            &bytes[..32],
            &(order - s).to_be_bytes::<32>(),
            &[55 - bytes[64]],
        ]
        .concat();
        let result = cast
            .identity
            .sign_in_by_wallet(&text, &hex::encode(twin), here());
        let why = refused(result.map(|it| it.token));
        assert!(why.contains("upper half"), "{why}");
    }
}

#[test]
fn a_login_ends_idle_absolutely_and_by_sign_out() {
    let cast = Cast::new();
    let bad = |token: &str| matches!(cast.known(token), Err(Refused::BadCredential));
    let token = cast.token(&wallet(1));
    let idle = cast.identity.config().idle_ms;
    // In use it goes on, also beyond the idle time, until its absolute end.
    let end = cast.now() + cast.identity.config().login_ms;
    while cast.now() + idle / 2 < end {
        cast.known(token.expose()).unwrap();
        cast.pass(idle / 2);
    }
    cast.pass(end - cast.now());
    assert!(bad(token.expose()), "its absolute end");
    let token = cast.token(&wallet(1));
    cast.pass(idle - 1);
    cast.known(token.expose()).unwrap();
    cast.pass(idle);
    assert!(bad(token.expose()), "not used");
    let (token, other) = (cast.token(&wallet(1)), cast.token(&wallet(1)));
    let caller = cast.known(token.expose()).unwrap();
    cast.identity.sign_out(&caller, false).unwrap();
    assert!(bad(token.expose()), "signed out");
    assert!(cast.identity.renew(&caller).is_err());
    let caller = cast.known(other.expose()).unwrap();
    let third = cast.token(&wallet(1));
    cast.identity.sign_out(&caller, true).unwrap();
    assert!(bad(other.expose()) && bad(third.expose()), "everywhere");
    assert!(bad(&format!("r0s_{}", "0".repeat(64))));
    assert!(matches!(cast.known("r0s_"), Err(Refused::BadCredential)));
}

/// A browser sends the cookie along for any page: what changes something says where it comes from.
#[test]
fn the_cookie_counts_for_the_venues_own_pages() {
    let cast = Cast::new();
    let token = cast.token(&wallet(1));
    let cookie = format!("a=b; __Host-ring0={}; c=d", token.expose());
    let ask = |method: &str, origin: Option<&str>| {
        cast.identity.authenticate(&ring0_identity::Request {
            method,
            path: "/v1/me",
            query: "",
            body: b"",
            authorization: None,
            cookie: Some(&cookie),
            origin,
            organisation: None,
            from: here(),
        })
    };
    ask("GET", None).unwrap();
    ask("GET", Some(ORIGIN)).unwrap();
    ask("POST", Some(ORIGIN)).unwrap();
    for (method, origin) in [
        ("POST", None),
        ("DELETE", None),
        ("POST", Some("https://evil.example")),
        ("POST", Some("null")),
        ("GET", Some("https://trade.example")),
    ] {
        let result = ask(method, origin);
        assert!(
            matches!(result, Err(Refused::ForeignOrigin { .. })),
            "{method} {origin:?}"
        );
    }
}

#[test]
fn attempts_are_limited_by_address_and_strangers_in_all() {
    let folder = tempfile::tempdir().unwrap();
    let now_ms = std::sync::Arc::new(START_MS.into());
    let mut config = Cast::config(&now_ms);
    config.attempts = Pace {
        burst: 3,
        every_ms: 1_000,
    };
    config.newcomers = Pace {
        burst: 1,
        every_ms: 60_000,
    };
    let identity = Identity::open(folder.path(), config).unwrap();
    let attempt = |from: &str| identity.sign_in_by_wallet("no message", "", from.parse().unwrap());
    for _ in 0..3 {
        assert!(matches!(attempt("192.0.2.1"), Err(Refused::SignIn(_))));
    }
    match attempt("192.0.2.1") {
        Err(Refused::TooMany { retry_after_s }) => assert_eq!(retry_after_s, 1),
        other => panic!("{other:?}"),
    }
    assert!(matches!(attempt("192.0.2.2"), Err(Refused::SignIn(_))));
    // Guessing tokens is attempting too.
    let guess = || {
        identity.authenticate(&ring0_identity::Request {
            method: "GET",
            path: "/",
            query: "",
            body: b"",
            authorization: Some("Bearer r0s_guess"),
            cookie: None,
            origin: None,
            organisation: None,
            from: "192.0.2.3".parse().unwrap(),
        })
    };
    for _ in 0..3 {
        assert!(matches!(guess(), Err(Refused::BadCredential)));
    }
    assert!(matches!(guess(), Err(Refused::TooMany { .. })));
    drop(identity);
    // Strangers become people one a minute here.
    let mut config = Cast::config(&now_ms);
    config.newcomers = Pace {
        burst: 1,
        every_ms: 60_000,
    };
    let identity = Identity::open(folder.path(), config).unwrap();
    let cast = Cast::new();
    let enter = |number| {
        let signer = wallet(number);
        let message = SignInMessage {
            nonce: identity.nonce().0,
            issued_at: rfc3339(START_MS),
            ..cast.message(&signer)
        };
        let text = message.to_string();
        let signature = wallet_text(&signer, eip191(&text));
        identity.sign_in_by_wallet(&text, &signature, here())
    };
    enter(1).unwrap();
    assert!(matches!(enter(2), Err(Refused::TooMany { .. })));
    enter(1).unwrap();
}
