//! People and organisations in front of the same routes: who has not signed in gets nowhere, and can sign in; an account that was opened over REST trades
//! over REST and OUCH by what its owner has granted.

#[path = "../../identity/tests/identity/device.rs"]
mod device;
mod people;
mod soup;
mod stand;

use device::Device;
use people::{Person, good, grant, grant_body, identity, welcome};
use ring0_itch::ouch::Appendage;
use ring0_itch::soup::rejected;
use serde_json::{Value, json};
use soup::{Client, Got, enter};
use stand::{Stand, order};

#[test]
fn with_identity_strangers_get_problems_and_a_nonce() {
    let stand = Stand::with("", &identity());
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

/// What an order is answered: status and code.
fn try_order(stand: &Stand, person: &Person, order: &Value) -> (u16, Value) {
    let (status, answer) = stand.ask(
        "POST",
        &person.path("orders"),
        Some(&person.token),
        Some(order),
    );
    (status, answer["code"].clone())
}

#[test]
fn an_account_that_was_opened_over_rest_trades_over_rest_until_its_grant_is_revoked() {
    let mut stand = Stand::with("", &identity());
    let (ann, ben) = (welcome(&stand, 1), welcome(&stand, 2));
    // Nothing was granted yet, and nobody but the owner key grants.
    let refused = try_order(&stand, &ann, &order("a-0", "buy", "0.1", "50000"));
    assert_eq!(refused, (409, json!("no-trading-session")));
    let foreign = grant_body(&stand, &ann, &ben.wallet, 3_600);
    let (status, problem) = stand.ask("POST", "/v1/grants", Some(&ann.token), Some(&foreign));
    assert_eq!((status, &problem["code"]), (403, &json!("signature")));
    // The key trades and signs no states: a grant that would let it is refused.
    let mut powerful = grant_body(&stand, &ann, &ann.wallet, 3_600);
    powerful["cosigner_signature"] = powerful["owner_signature"].clone();
    let (status, problem) = stand.ask("POST", "/v1/grants", Some(&ann.token), Some(&powerful));
    assert_eq!((status, &problem["field"]), (400, &json!("limits")));

    let (first, bens) = (grant(&stand, &ann, 3_000), grant(&stand, &ben, 3_600));
    let accounts = stand.get_as(&ann.token, "/v1/accounts");
    assert_eq!(accounts[0]["shards"], json!(["example"]));
    let place = |stand: &Stand, person: &Person, order: &Value| {
        let (status, placed) = stand.ask(
            "POST",
            &person.path("orders"),
            Some(&person.token),
            Some(order),
        );
        assert_eq!(status, 201, "{placed}");
        placed
    };
    let rests = place(&stand, &ann, &order("a-1", "buy", "0.5", "50000"));
    let fills = place(&stand, &ben, &order("b-1", "sell", "0.2", "50000"));
    assert_eq!(
        (&rests["status"], &fills["status"]),
        (&json!("open"), &json!("filled"))
    );
    let own = stand.get_as(&ann.token, &ann.path("fills"));
    assert_eq!(own["fills"][0]["quantity"], "0.2");

    // After a crash the same session goes on, and the same request is the same order.
    stand.kill_gateway();
    stand.start_gateway();
    let again = good(
        &stand,
        "POST",
        &ann.path("orders"),
        Some(&ann.token),
        order("a-1", "buy", "0.5", "50000"),
    );
    assert_eq!(
        (&again["id"], &again["open"]),
        (&rests["id"], &json!("0.3"))
    );

    // Renewed: new orders come by the session that lasts longer, the old one's are replaced and cancelled by it.
    let second = grant(&stand, &ann, 3_600);
    let later = place(&stand, &ann, &order("a-2", "buy", "0.1", "49000"));
    assert_ne!(later["session"], rests["session"]);
    let path = format!("{}/{}", ann.path("orders"), rests["id"].as_str().unwrap());
    let terms = json!({ "client_order_id": "a-3", "quantity": "0.2", "price": "50000" });
    let replaced = good(&stand, "PUT", &path, Some(&ann.token), terms);
    assert_eq!(replaced["session"], rests["session"]);

    // The first grant goes with its order; what came by the second stays.
    let of = |grant: &str| format!("/v1/grants/{grant}");
    let ended = good(&stand, "DELETE", &of(&first), Some(&ann.token), Value::Null);
    assert_eq!(ended["pending"], json!([]));
    stand.wait("the end of the order", |stand| {
        let live = stand.get_as(&ann.token, &ann.path("orders"));
        let live = live["orders"].as_array().unwrap();
        (live.len() == 1 && live[0]["id"] == later["id"]).then_some(())
    });
    place(&stand, &ann, &order("a-4", "buy", "0.1", "48000"));

    // Both gone: nothing enters, and what stands is cancelled.
    good(
        &stand,
        "DELETE",
        &of(&second),
        Some(&ann.token),
        Value::Null,
    );
    let refused = try_order(&stand, &ann, &order("a-5", "buy", "0.1", "50000"));
    assert_eq!(refused, (409, json!("grant-revoked")));
    stand.wait("the end of all orders", |stand| {
        let live = stand.get_as(&ann.token, &ann.path("orders"));
        (live["orders"] == json!([])).then_some(())
    });
    // Another account's session is another's.
    place(&stand, &ben, &order("b-2", "sell", "0.1", "60000"));
    good(&stand, "DELETE", &of(&bens), Some(&ben.token), Value::Null);
    let accounts = stand.get_as(&ben.token, "/v1/accounts");
    assert_eq!(accounts[0]["shards"], json!([]));
    let refused = stand.ask("POST", &of(&bens), Some(&ben.token), Some(&json!({})));
    assert_eq!(refused.0, 405);
}

#[test]
fn a_grant_that_has_expired_says_so_and_what_stands_is_still_cancelled() {
    let stand = Stand::with("", &identity());
    let ann = welcome(&stand, 3);
    grant(&stand, &ann, 4);
    let placed = good(
        &stand,
        "POST",
        &ann.path("orders"),
        Some(&ann.token),
        order("a-1", "buy", "0.5", "50000"),
    );
    let mut number = 1;
    stand.wait("the end of the grant", |stand| {
        number += 1;
        let mut order = order(&format!("a-{number}"), "buy", "0.1", "40000");
        order["time_in_force"] = "immediate-or-cancel".into();
        match try_order(stand, &ann, &order) {
            (409, code) if code == "grant-expired" => Some(()),
            // The engine's clock may come there first.
            (403, code) if code == "SessionExpired" => None,
            (201, _) => None,
            other => panic!("{other:?}"),
        }
    });
    let path = format!("{}/{}", ann.path("orders"), placed["id"].as_str().unwrap());
    let gone = good(&stand, "DELETE", &path, Some(&ann.token), Value::Null);
    assert_eq!(gone["status"], "canceled");
    let all = good(
        &stand,
        "DELETE",
        &ann.path("orders"),
        Some(&ann.token),
        Value::Null,
    );
    assert_eq!(all["continues"], false, "{all}");
}

#[test]
fn an_account_that_was_opened_over_rest_trades_over_ouch() {
    let mut stand = Stand::with("", &identity());
    let ann = welcome(&stand, 4);
    let wanted = json!({ "account": ann.account, "shard": "example" });
    let (status, problem) = stand.ask("POST", "/v1/ouch-logins", Some(&ann.token), Some(&wanted));
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("no-trading-session"))
    );
    grant(&stand, &ann, 3_600);
    let login = good(
        &stand,
        "POST",
        "/v1/ouch-logins",
        Some(&ann.token),
        wanted.clone(),
    );
    let [user, password] = ["user", "password"].map(|it| login[it].as_str().unwrap());
    let other = good(&stand, "POST", "/v1/ouch-logins", Some(&ann.token), wanted);
    assert_ne!(other["password"], login["password"]);
    let (mut client, next) = Client::login(&stand, user, password, 1);
    assert_eq!(next, 1);
    client.send((&enter(1, b'B', 40, 50_000), Appendage::EMPTY));
    let accepted = client.until(b'A');
    let live = stand.get_as(&ann.token, &ann.path("orders"));
    assert_eq!(live["orders"][0]["session"], login["session_id"]);

    // The stream is the same after a crash.
    stand.kill_gateway();
    stand.start_gateway();
    let (mut client, _) = Client::login(&stand, user, password, 1);
    assert_eq!(client.until(b'A'), accepted);
    // And a login that is revoked is cut off, and opens no more.
    let path = format!("/v1/trading-sessions/{}", login["id"]);
    let ended = good(&stand, "DELETE", &path, Some(&ann.token), Value::Null);
    assert_eq!(ended["ended"], json!([login["id"]]));
    while !matches!(client.next(), Got::End) {}
    let refused = Client::try_login(&stand, user, password, 1);
    assert!(matches!(refused, Got::Rejected(rejected::NOT_AUTHORISED)));
    // REST goes on: it is another session.
    good(
        &stand,
        "POST",
        &ann.path("orders"),
        Some(&ann.token),
        order("a-1", "buy", "0.5", "50000"),
    );
}

/// What the operator's command says: whether it was done, and its words.
fn assign(stand: &Stand, account: &str, organisation: u64, owner: &str) -> (bool, String) {
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_ring0-gateway"))
        .arg("assign-account")
        .arg(stand.path("gateway.toml"))
        .args([account, &organisation.to_string(), owner])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    (ran.status.success(), text)
}

#[test]
fn the_operator_brings_an_account_of_the_market_file_into_an_organisation() {
    let mut stand = Stand::with("", &identity());
    let ann = welcome(&stand, 5);
    let organisations = stand.get_as(&ann.token, "/v1/organisations");
    let organisation = organisations[0]["id"].as_u64().unwrap();
    let owner = ann.wallet.address().to_string();
    // A running gateway has the log.
    let (done, why) = assign(&stand, "alice", organisation, &owner);
    assert!(!done && why.contains("audit.log"), "{why}");
    assert!(stand.terminate_gateway().success());
    for (account, organisation, wanted) in [
        ("mallory", organisation, "no account mallory"),
        ("alice", 99, "no such organisation"),
    ] {
        let (done, why) = assign(&stand, account, organisation, &owner);
        assert!(!done && why.contains(wanted), "{why}");
    }
    let (done, why) = assign(&stand, "alice", organisation, &owner);
    assert!(done, "{why}");
    let (done, why) = assign(&stand, "alice", organisation, &owner);
    assert!(!done && why.contains("somebody's already"), "{why}");

    stand.start_gateway();
    let accounts = stand.get_as(&ann.token, "/v1/accounts");
    let names: Vec<_> = accounts
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert!(names.contains(&&json!("alice")), "{accounts}");
    // It has a session of the market file, so it trades as it is.
    let path = "/v1/accounts/alice/orders";
    let order = order("a-1", "buy", "0.1", "50000");
    let placed = good(&stand, "POST", path, Some(&ann.token), order);
    assert_eq!(placed["status"], "open");
    let log = std::fs::read_to_string(stand.path("identity").join("audit.log")).unwrap();
    let is_assigned = |it: &&str| it.contains("account-added") && it.contains("operator");
    assert_eq!(log.lines().filter(is_assigned).count(), 1, "{log}");
}

/// Registered by a wallet's person, it signs that person in, who may use what is there and give nobody power; removed, it opens nothing.
#[test]
fn a_passkey_goes_the_whole_way_over_http() {
    let stand = Stand::with("", &identity());
    let ann = welcome(&stand, 6);
    grant(&stand, &ann, 3_600);
    let mut device = Device::new("https://localhost");
    let post =
        |path: &str, token: Option<&str>, body: Value| good(&stand, "POST", path, token, body);

    let begun = post("/v1/passkeys/start", Some(&ann.token), json!({}));
    let credential = device.create(&begun["challenge"]).unwrap();
    let body = json!({ "ceremony": begun["ceremony"], "credential": credential, "name": "phone" });
    let registered = post("/v1/passkeys/finish", None, body.clone());
    let (status, _) = stand.ask("POST", "/v1/passkeys/finish", None, Some(&body));
    assert_eq!(status, 401, "a ceremony is answered once");
    let all = stand.get_as(&ann.token, "/v1/passkeys");
    assert_eq!(
        (&all[0]["id"], &all[0]["name"]),
        (&registered["passkey"], &json!("phone"))
    );

    let mut sign_in = || {
        let begun = post("/v1/sign-in/passkey/start", None, json!({}));
        let credential = device.get(&begun["challenge"]).unwrap();
        let body = json!({ "ceremony": begun["ceremony"], "credential": credential });
        stand.ask("POST", "/v1/sign-in/passkey/finish", None, Some(&body))
    };
    let (status, login) = sign_in();
    assert_eq!(status, 200, "{login}");
    let token = login["token"].as_str().unwrap();
    let me = stand.get_as(token, "/v1/me");
    assert_eq!(
        (&me["by"], &me["role"]),
        (&json!("passkey"), &json!("owner"))
    );
    assert_eq!(me["person"], stand.get_as(&ann.token, "/v1/me")["person"]);
    // It trades under the grant that is there.
    let placed = post(
        &ann.path("orders"),
        Some(token),
        order("p-1", "buy", "0.1", "50000"),
    );
    assert_eq!(placed["status"], "open");
    // It invites nobody, and makes no grant: that carries the owner key's signature.
    let invited = json!({ "role": "owner" });
    let (status, problem) = stand.ask("POST", "/v1/invitations", Some(token), Some(&invited));
    assert_eq!((status, &problem["code"]), (403, &json!("wallet-only")));
    let mut unsigned = grant_body(&stand, &ann, &ann.wallet, 1_800);
    unsigned["owner_signature"] = format!("0x{}", "11".repeat(64)).into();
    let (status, problem) = stand.ask("POST", "/v1/grants", Some(token), Some(&unsigned));
    assert_eq!((status, &problem["code"]), (403, &json!("signature")));

    // Somebody new comes by an invitation and a passkey alone.
    let invited = post(
        "/v1/invitations",
        Some(&ann.token),
        json!({ "role": "trader" }),
    );
    let mut phone = Device::new("https://localhost");
    let start = json!({ "invitation": invited["code"], "name": "Bea" });
    let begun = post("/v1/passkeys/start", None, start);
    let credential = phone.create(&begun["challenge"]).unwrap();
    let body = json!({ "ceremony": begun["ceremony"], "credential": credential, "name": "Bea's" });
    let registered = post("/v1/passkeys/finish", None, body);
    let bea = registered["login"]["token"].as_str().unwrap();
    assert_eq!(stand.get_as(bea, "/v1/me")["role"], "trader");
    post(
        &ann.path("orders"),
        Some(bea),
        order("p-2", "buy", "0.1", "50000"),
    );

    let path = format!("/v1/passkeys/{}", all[0]["id"]);
    let (status, _) = stand.ask("DELETE", &path, Some(&ann.token), None);
    assert_eq!(status, 204);
    let (status, _) = stand.ask("GET", "/v1/me", Some(token), None);
    assert_eq!(status, 401, "its login has ended");
    let (status, _) = sign_in();
    assert_eq!(status, 401);
}
