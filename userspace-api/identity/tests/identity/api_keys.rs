//! API keys: what they sign, for what they are, from where, until when.

use crate::cast::{Cast, here};
use ring0_identity::api_key::{SCHEME, Signing};
use ring0_identity::organisations::networks;
use ring0_identity::{ApiKeyId, NewApiKey, Permission, Refused, Request, Role, Scope};

const SIGNING: Signing<'_> = Signing {
    method: "POST",
    path: "/v1/accounts/3/orders",
    query: "a=1&b=%20",
    body: b"{\"side\":\"buy\"}",
    timestamp_ms: 0,
    nonce: "0123456789abcdef",
};

fn ask(
    cast: &Cast,
    signing: &Signing<'_>,
    header: &str,
) -> Result<ring0_identity::Caller, Refused> {
    cast.identity.authenticate(&Request {
        method: signing.method,
        path: signing.path,
        query: signing.query,
        body: signing.body,
        authorization: Some(header),
        cookie: None,
        origin: None,
        organisation: None,
        from: here(),
    })
}

/// What a client in another language has to come to.
#[test]
fn the_signature_is_hmac_over_seven_lines() {
    let signing = Signing {
        timestamp_ms: 1_795_780_800_000,
        ..SIGNING
    };
    let header = signing.header(ApiKeyId(7), "r0h_secret");
    // By: printf 'ring0 request 1\nPOST\n/v1/accounts/3/orders\na=1&b=%%20\n%s\n1795780800000\n0123456789abcdef' BODYHASH | openssl dgst -sha256 -hmac r0h_secret
    let expected =
        "Ring0-HMAC-SHA256 key=7, timestamp=1795780800000, nonce=0123456789abcdef, signature=";
    assert!(header.starts_with(expected), "{header}");
    assert_eq!(&header[expected.len()..], SIGNATURE);
}

const SIGNATURE: &str = "4682171756c5730e2886cb74b901af36e94e7c76c7d5c79999cd09f2aadc18af";

#[test]
fn a_signed_request_is_taken_once_as_it_was_signed() {
    let cast = Cast::new();
    let all = cast.organisation(1);
    let (key, secret) = cast.api_key(&all[1], &[Scope::Trade], true).unwrap();
    let good = Signing {
        timestamp_ms: cast.now(),
        ..SIGNING
    };
    let header = good.header(key, secret.expose());
    let caller = ask(&cast, &good, &header).unwrap();
    assert_eq!(
        (caller.person, caller.role()),
        (all[1].person, Some(Role::Trader))
    );
    assert_eq!(caller.scopes(), Some(&[Scope::Trade][..]));
    assert!(
        matches!(ask(&cast, &good, &header), Err(Refused::NotFresh(_))),
        "replayed"
    );
    // Anything that is signed, changed.
    let changed = [
        Signing {
            method: "DELETE",
            ..good
        },
        Signing {
            path: "/v1/accounts/4/orders",
            ..good
        },
        Signing {
            query: "a=1&b=%2",
            ..good
        },
        Signing { query: "", ..good },
        Signing {
            body: b"{\"side\":\"sell\"}",
            ..good
        },
    ];
    for (number, other) in changed.iter().enumerate() {
        let nonce = format!("changed{number:016}");
        let header = Signing {
            nonce: &nonce,
            ..good
        }
        .header(key, secret.expose());
        let other = Signing {
            nonce: &nonce,
            ..*other
        };
        assert!(
            matches!(ask(&cast, &other, &header), Err(Refused::BadCredential)),
            "{other:?}"
        );
        // What did not hold has not used the nonce up.
        ask(
            &cast,
            &Signing {
                nonce: &nonce,
                ..good
            },
            &header,
        )
        .unwrap();
    }
    let fresh = Signing {
        nonce: "another0123456789",
        ..good
    };
    let header = fresh.header(key, secret.expose());
    for (from, to) in [
        ("nonce=another0123456789", "nonce=another0123456780"),
        (
            &*format!("timestamp={}", good.timestamp_ms),
            &*format!("timestamp={}", good.timestamp_ms - 1),
        ),
        (&*format!("key={key}"), "key=999"),
    ] {
        let altered = header.replace(from, to);
        assert_ne!(altered, header);
        assert!(
            matches!(ask(&cast, &fresh, &altered), Err(Refused::BadCredential)),
            "{altered}"
        );
    }
    for malformed in [
        SCHEME.to_owned(),
        format!("{SCHEME} key=1"),
        format!("{header}, more=1"),
        header.replace("nonce=", "nonce=short, nonce="),
        header.replace("another0123456789", "short"),
        header.replace("another0123456789", "another-0123456789"),
        "Basic dXNlcjpwYXNz".to_owned(),
    ] {
        let result = ask(&cast, &fresh, &malformed);
        assert!(
            matches!(result, Err(Refused::Malformed(_))),
            "{malformed}: {result:?}"
        );
    }
    // The secret of a signing key is no bearer token.
    let result = ask(&cast, &fresh, &format!("Bearer {}", secret.expose()));
    assert!(matches!(result, Err(Refused::BadCredential)));
}

#[test]
fn a_signed_request_is_of_now() {
    let cast = Cast::new();
    let all = cast.organisation(1);
    let (key, secret) = cast.api_key(&all[1], &[Scope::Trade], true).unwrap();
    cast.pass(60_000);
    let at = |cast: &Cast, timestamp_ms: u64, nonce: &str| {
        let signing = Signing {
            timestamp_ms,
            nonce,
            ..SIGNING
        };
        ask(cast, &signing, &signing.header(key, secret.expose()))
    };
    let now = cast.now();
    at(&cast, now - 30_000, "nonce00000000000001").unwrap();
    at(&cast, now + 2_000, "nonce00000000000002").unwrap();
    for (timestamp, nonce) in [
        (now - 30_001, "nonce00000000000003"),
        (now + 2_001, "nonce00000000000004"),
        (0, "nonce00000000000005"),
        (u64::MAX, "nonce00000000000006"),
    ] {
        assert!(
            matches!(at(&cast, timestamp, nonce), Err(Refused::NotFresh(_))),
            "{timestamp}"
        );
    }
    // All the time that a request is of now, its nonce is remembered.
    at(&cast, now + 2_000, "nonce00000000000007").unwrap();
    for _ in 0..4 {
        cast.pass(8_000);
        let again = at(&cast, now + 2_000, "nonce00000000000007");
        assert!(matches!(again, Err(Refused::NotFresh(_))));
    }
    // A process that has just begun does not know what the one before has seen: it takes nothing that one may have.
    let sent = cast.now() + 2_000;
    at(&cast, sent, "nonce00000000000008").unwrap();
    let cast = cast.reopened();
    let again = at(&cast, sent, "nonce00000000000008");
    assert!(matches!(again, Err(Refused::NotFresh(_))));
    at(&cast, cast.now(), "nonce00000000000009").unwrap();
}

#[test]
fn a_bearer_key_reads_and_nothing_else() {
    let cast = Cast::new();
    let all = cast.organisation(1);
    let (key, secret) = cast.api_key(&all[0], &[Scope::Read], false).unwrap();
    let caller = cast.known(secret.expose()).unwrap();
    caller.may(Permission::ReadAccounts).unwrap();
    assert!(matches!(
        caller.may(Permission::PlaceOrders),
        Err(Refused::Scope { .. })
    ));
    assert!(matches!(
        caller.may(Permission::ManageMembers),
        Err(Refused::PeopleOnly { .. })
    ));
    // A digest is kept, so it cannot sign.
    let header = cast.signed(key, secret.expose());
    let signed = cast.request("GET", "", Some(&header), None);
    assert!(matches!(signed, Err(Refused::BadCredential)));
    for scopes in [&[Scope::Trade][..], &[Scope::Read, Scope::Risk], &[]] {
        let result = cast.api_key(&all[0], scopes, false);
        assert!(matches!(result, Err(Refused::Invalid(_))), "{scopes:?}");
    }
    let (other, _) = cast.api_key(&all[0], &[Scope::Read], false).unwrap();
    let swapped = secret
        .expose()
        .replace(&format!("r0k_{key}_"), &format!("r0k_{other}_"));
    for wrong in [&*swapped, "r0k_", "r0k_1", "r0k_x_y", "", "r0k_99999_aa"] {
        assert!(
            matches!(cast.known(wrong), Err(Refused::BadCredential)),
            "{wrong}"
        );
    }
}

#[test]
fn a_key_is_of_its_networks_and_ends() {
    let cast = Cast::new();
    let all = cast.organisation(1);
    let make = |texts: &[&str], until_ms: u64| {
        let texts: Vec<_> = texts.iter().map(|it| (*it).to_owned()).collect();
        let wanted = NewApiKey {
            name: "key".to_owned(),
            scopes: vec![Scope::Read],
            networks: networks(&texts)?,
            until_ms,
            signs: false,
        };
        cast.identity
            .create_api_key(&all[0], &wanted)
            .map(|it| it.1)
    };
    let soon = cast.now() + 60_000;
    for (texts, good) in [
        (&["192.0.2.0/24"][..], true),
        (&["192.0.2.7"], true),
        (&["::ffff:192.0.2.7/128", "192.0.2.7"], true),
        (&["198.51.100.0/24", "2001:db8::/32"], false),
        (&["192.0.2.8"], false),
    ] {
        let secret = make(texts, soon).unwrap();
        let result = cast.known(secret.expose());
        assert_eq!(result.is_ok(), good, "{texts:?}");
        assert!(good || matches!(result, Err(Refused::Network)));
    }
    assert!(matches!(
        make(&["192.0.2.0/33"], soon),
        Err(Refused::Invalid(_))
    ));
    assert!(matches!(
        make(&["localhost"], soon),
        Err(Refused::Invalid(_))
    ));
    assert!(matches!(make(&[], cast.now()), Err(Refused::Invalid(_))));
    let far = cast.now() + 367 * 24 * 3_600_000;
    assert!(matches!(make(&[], far), Err(Refused::Invalid(_))));
    let secret = make(&[], soon).unwrap();
    cast.pass(59_999);
    cast.known(secret.expose()).unwrap();
    cast.pass(1);
    assert!(matches!(
        cast.known(secret.expose()),
        Err(Refused::BadCredential)
    ));
}

#[test]
fn keys_are_revoked_by_their_person_owners_and_risk() {
    let cast = Cast::new();
    let all = cast.organisation(1);
    let others = cast.organisation(11);
    for (number, revoker) in all.iter().enumerate() {
        let (key, secret) = cast.api_key(&all[1], &[Scope::Read], false).unwrap();
        cast.known(secret.expose()).unwrap();
        let foreign = cast.identity.revoke_api_key(&others[0], key);
        assert!(matches!(foreign, Err(Refused::NotFound(_))));
        let result = cast
            .identity
            .revoke_api_key(revoker, key)
            .map(|it| it.value);
        let may = [true, true, true, false][number];
        assert_eq!(result.is_ok(), may, "{:?}", revoker.role());
        assert_eq!(cast.known(secret.expose()).is_err(), may);
    }
    // A viewer makes no key of a scope that its role has nothing of.
    assert!(matches!(
        cast.api_key(&all[3], &[Scope::Trade], true),
        Err(Refused::Invalid(_))
    ));
    cast.api_key(&all[3], &[Scope::Read], true).unwrap();
    // An API key makes no API keys.
    let (_, secret) = cast.api_key(&all[0], &[Scope::Read], false).unwrap();
    let program = cast.known(secret.expose()).unwrap();
    assert!(matches!(
        cast.api_key(&program, &[Scope::Read], false),
        Err(Refused::PeopleOnly { .. })
    ));
    assert!(cast.identity.sign_out(&program, true).is_err());
}
