//! The gateway on a host of its own: its orders go to the shard over a wire, its records come from a journal that both hosts see, and nothing else
//! of the shard's host is there. A wire that is cut loses and doubles no order.

mod people;
mod stand;

use ring0_lab::{Options, Veth, missing_privilege};
use serde_json::{Value, json};
use stand::{ALICE, BOB, Stand, order};
use std::process::Command;

/// Sets the shard's end of the wire.
fn set_wire(stand: &Stand, state: &str) {
    let wire = stand.wire.as_ref().unwrap();
    let done = Command::new("ip")
        .args([
            "-n",
            &wire.exchange_ns,
            "link",
            "set",
            &wire.exchange_if,
            state,
        ])
        .status()
        .unwrap();
    assert!(done.success());
}

fn orders_of(stand: &Stand, account: &str, client: &str) -> usize {
    let token = if account == "alice" { ALICE } else { BOB };
    let all = stand.get_as(token, &format!("/v1/accounts/{account}/orders?status=all"));
    let all = all["orders"].as_array().unwrap();
    all.iter()
        .filter(|it| it["client_order_id"] == client)
        .count()
}

#[test]
fn orders_cross_a_wire_once() {
    if let Some(missing) = missing_privilege() {
        println!("skipped: {missing}");
        return;
    }
    let stand = Stand::on_another_host(Veth::up(Options::default()).unwrap());
    let (status, placed) = stand.place(ALICE, "alice", &order("a-1", "buy", "0.5", "50000"));
    assert_eq!(status, 201, "{placed}");
    let (status, taken) = stand.place(BOB, "bob", &order("b-1", "sell", "0.2", "49000"));
    assert_eq!(status, 201, "{taken}");
    assert_eq!(taken["status"], "filled");
    let fills = stand.get_as(ALICE, "/v1/accounts/alice/fills");
    assert_eq!(fills["fills"][0]["quantity"], "0.2");
    let book = stand.get("/v1/instruments/BTC-USD/book");
    assert_eq!(book["bids"], json!([["50000", "0.3"]]));

    // Cut: what is asked for now is not known to have entered, and enters once when the same is asked again.
    set_wire(&stand, "down");
    let cut = order("a-2", "buy", "0.1", "48000");
    let (status, answer) = stand.place(ALICE, "alice", &cut);
    assert_eq!(status, 504, "{answer}");
    assert_eq!(answer["code"], "unknown-outcome");
    set_wire(&stand, "up");
    let (status, answer) = stand.wait("the wire", |stand| {
        let (status, answer) = stand.place(ALICE, "alice", &cut);
        (status < 300).then_some((status, answer))
    });
    assert_eq!(status, 201, "{answer}");
    let (status, again) = stand.place(ALICE, "alice", &cut);
    assert_eq!((status, &again["id"]), (200, &answer["id"]));
    assert_eq!(orders_of(&stand, "alice", "a-2"), 1);
    let path = format!(
        "/v1/accounts/alice/orders/{}",
        answer["id"].as_str().unwrap()
    );
    let (status, cancelled) = stand.ask("DELETE", &path, Some(ALICE), None);
    assert_eq!(status, 200, "{cancelled}");
    assert_eq!(cancelled["status"], Value::from("canceled"));
}

/// What can be done only on the shard's own machine is refused at the start, with what to do.
#[test]
fn a_grant_needs_the_shards_machine() {
    // `sockets` names a folder without the daemon's socket, as on another host.
    let config = people::identity().replace("sockets = \".\"", "sockets = \"nowhere\"");
    let stand = Stand::with("", &config);
    let wallet = ring0_identity::channels::key::Signer::new([7; 32]).unwrap();
    let token = people::sign_in(&stand, &wallet);
    let named = json!({ "name": "Desk" });
    people::good(&stand, "POST", "/v1/organisations", Some(&token), named);
    let (status, answer) = stand.ask("POST", "/v1/accounts", Some(&token), Some(&json!({})));
    assert_eq!(status, 503, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("shard example: "), "{detail}");
}
