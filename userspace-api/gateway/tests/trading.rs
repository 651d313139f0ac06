//! Against a real shard over real sockets: what is placed, filled and cancelled is seen by REST, WebSocket and OUCH, and enters once.

mod stand;

use serde_json::{Value, json};
use stand::{ALICE, BOB, Stand, VIEWER, limit, order};
use std::time::Duration;

#[test]
fn an_order_is_placed_filled_and_seen_everywhere() {
    let stand = Stand::up();
    let instruments = stand.get("/v1/instruments");
    assert_eq!(instruments[0]["symbol"], "BTC-USD");
    assert_eq!(instruments[0]["price_step"], "1");
    assert_eq!(instruments[0]["quantity_step"], "0.0001");
    assert_eq!(instruments[0]["state"], "continuous");
    assert_eq!(instruments[0]["maker_fee"], "-0.00005");

    let mut public = stand.socket(None);
    for channel in ["book", "trades", "ticker"] {
        public.subscribe(&json!({ "channel": channel, "symbol": "BTC-USD" }));
    }
    let mut private = stand.socket(Some(BOB));
    private.subscribe(&json!({ "channel": "orders", "account": "bob" }));
    private.subscribe(&json!({ "channel": "fills", "account": "bob" }));

    let (status, placed) = stand.place(ALICE, "alice", &order("a-1", "buy", "0.5", "50000"));
    assert_eq!(status, 201, "{placed}");
    assert_eq!(placed["status"], "open");
    assert_eq!(placed["client_order_id"], "a-1");
    assert_eq!(placed["open"], "0.5");
    let book = stand.get("/v1/instruments/BTC-USD/book");
    assert_eq!(book["bids"], json!([["50000", "0.5"]]));
    let diff = public.until(|it| it["type"] == "diff");
    assert_eq!(diff["data"]["bids"], json!([["50000", "0.5"]]));
    assert_eq!(diff["data"]["seq"], book["seq"]);
    assert_eq!(diff["data"]["checksum"], book["checksum"]);

    let (status, taken) = stand.place(BOB, "bob", &order("b-1", "sell", "0.2", "49000"));
    assert_eq!(status, 201, "{taken}");
    assert_eq!(taken["status"], "filled");
    assert_eq!(taken["average_price"], "50000");
    assert_eq!(taken["fees"], "3", "0.03 % of 10,000 USD");

    let maker = stand.get_as(ALICE, "/v1/accounts/alice/client-orders/a-1");
    assert_eq!(
        (&maker["filled"], &maker["open"]),
        (&json!("0.2"), &json!("0.3"))
    );
    assert_eq!(maker["fees"], "-0.5");
    let fills = stand.get_as(ALICE, "/v1/accounts/alice/fills");
    assert_eq!(fills["fills"][0]["liquidity"], "maker");
    assert_eq!(fills["fills"][0]["order_id"], maker["id"]);
    let trades = stand.get("/v1/instruments/BTC-USD/trades");
    assert_eq!(trades["trades"][0]["price"], "50000");
    assert_eq!(trades["trades"][0]["taker_side"], "sell");
    let trade = public.until(|it| it["channel"] == "trades");
    assert_eq!(trade["data"], trades["trades"][0]);
    let fill = private.until(|it| it["channel"] == "fills" && it["type"] == "fill");
    assert_eq!(fill["data"]["quantity"], "0.2");
    let ticker = public.until(|it| it["channel"] == "ticker" && it["data"]["last"] == "50000");
    assert_eq!(ticker["data"]["volume"], "0.2");
    assert_eq!(ticker["data"]["quote_volume"], "10000");
    let candles = stand.get("/v1/instruments/BTC-USD/candles?interval=1h");
    assert_eq!(candles["candles"][0]["volume"], "0.2");
    let now = stand.get("/v1/time")["time"].as_u64().unwrap();
    let began = candles["candles"][0]["time"].as_u64().unwrap();
    assert!(
        now - began < 2 * 3_600_000,
        "the candle is of this hour, or the last one"
    );

    // Replaced in place, then cancelled.
    let id = maker["id"].as_str().unwrap();
    let path = format!("/v1/accounts/alice/orders/{id}");
    let terms = json!({ "client_order_id": "a-2", "quantity": "0.1", "price": "50000" });
    let (status, replaced) = stand.ask("PUT", &path, Some(ALICE), Some(&terms));
    assert_eq!(status, 201, "{replaced}");
    assert_eq!(
        (&replaced["id"], &replaced["open"]),
        (&maker["id"], &json!("0.1"))
    );
    assert_eq!(replaced["client_order_id"], "a-2");
    let (status, gone) = stand.ask("DELETE", &path, Some(ALICE), None);
    assert_eq!(
        (status, &gone["status"]),
        (200, &json!("canceled")),
        "{gone}"
    );
    let (status, problem) = stand.ask("DELETE", &path, Some(ALICE), None);
    assert_eq!((status, &problem["code"]), (409, &json!("order-over")));
    assert_eq!(stand.get("/v1/instruments/BTC-USD/book")["bids"], json!([]));
}

#[test]
fn the_same_client_order_id_enters_once() {
    let mut stand = Stand::up();
    let asked = order("once", "buy", "0.5", "50000");
    let (status, first) = stand.place(ALICE, "alice", &asked);
    assert_eq!(status, 201, "{first}");
    let (status, again) = stand.place(ALICE, "alice", &asked);
    assert_eq!((status, &again), (200, &first));
    let (status, problem) = stand.place(ALICE, "alice", &order("once", "buy", "0.6", "50000"));
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("client-order-id-used"))
    );
    // Another account's ids are its own.
    let (status, _) = stand.place(BOB, "bob", &order("once", "buy", "0.1", "40000"));
    assert_eq!(status, 201);
    // Many at once, and one of them enters.
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let ask = || stand.place(ALICE, "alice", &order("race", "buy", "0.5", "49000"));
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let count = |wanted| {
        answers
            .iter()
            .filter(|(status, _)| *status == wanted)
            .count()
    };
    assert_eq!(count(201), 1, "{answers:?}");
    assert_eq!(count(200) + count(409), 7, "{answers:?}");

    // And after a crash.
    stand.kill_gateway();
    stand.start_gateway();
    let (status, again) = stand.place(ALICE, "alice", &asked);
    assert_eq!((status, &again["id"]), (200, &first["id"]));
    let live = stand.get_as(ALICE, "/v1/accounts/alice/orders");
    let ids: Vec<_> = live["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["client_order_id"])
        .collect();
    assert_eq!(ids, ["race", "once"]);
    // A new one goes on above all references of before.
    let (status, next) = stand.place(ALICE, "alice", &order("next", "sell", "0.5", "60000"));
    assert_eq!(status, 201, "{next}");
    let (status, all) = stand.ask("DELETE", "/v1/accounts/alice/orders", Some(ALICE), None);
    assert_eq!((status, &all["canceled"]), (200, &json!(3)), "{all}");
    stand.wait("the end of all orders", |stand| {
        let live = stand.get_as(ALICE, "/v1/accounts/alice/orders");
        (live["orders"] == json!([])).then_some(())
    });
    assert_eq!(
        stand.get_as(BOB, "/v1/accounts/bob/orders")["orders"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn problems_carry_the_engines_reason() {
    let stand = Stand::up();
    let check = |order: Value, status: u16, code: &str| {
        let (found, problem) = stand.place(ALICE, "alice", &order);
        assert_eq!(
            (found, problem["code"].as_str()),
            (status, Some(code)),
            "{problem}"
        );
        assert_eq!(problem["type"], format!("urn:ring0:problem:{code}"));
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem
    };
    // Of the engine: taken, recorded, refused; the same again is refused the same.
    for _ in 0..2 {
        let problem = check(order("p-1", "buy", "0.5", "20000"), 422, "OffLadder");
        assert_eq!(problem["reason"], 51);
    }
    let mut post_only = order("p-2", "buy", "0.1", "50000");
    post_only["post_only"] = "reject".into();
    let mut trader = stand.trader("carol-1");
    trader.submit(&[limit(false, 100, 49_000)]).unwrap();
    check(post_only, 422, "WouldCross");
    check(order("p-3", "buy", "1000", "40000"), 422, "OrderTooLarge");
    // Of the gateway, by the same names.
    check(order("p-4", "buy", "0.5", "50000.5"), 422, "NotATick");
    check(order("p-5", "buy", "0.00005", "50000"), 422, "NotALot");
    check(order("p-6", "buy", "-1", "50000"), 400, "field");
    check(order("p 7", "buy", "1", "50000"), 400, "field");
    let mut unknown = order("p-8", "buy", "1", "50000");
    unknown["symbol"] = "XRP-USD".into();
    check(unknown, 404, "not-found");
    let mut more = order("p-9", "buy", "1", "50000");
    more["surprise"] = 1.into();
    check(more, 400, "malformed");

    let (status, problem) = stand.place(VIEWER, "alice", &order("v-1", "buy", "1", "50000"));
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    let (status, problem) = stand.place(BOB, "alice", &order("v-2", "buy", "1", "50000"));
    assert_eq!((status, &problem["code"]), (404, &json!("not-found")));
    let (status, problem) = stand.ask("GET", "/v1/accounts/alice/orders", None, None);
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
    let (status, problem) = stand.ask("GET", "/v1/accounts/alice/orders", Some("wrong"), None);
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
    let (status, problem) = stand.ask("GET", "/v1/nothing", None, None);
    assert_eq!((status, &problem["code"]), (404, &json!("not-found")));
    let (status, problem) = stand.ask("POST", "/v1/time", None, Some(&json!({})));
    assert_eq!((status, &problem["code"]), (405, &json!("method")));
    let response = stand.raw("GET", "/v1/nothing", None, None);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert!(response.headers().contains_key("x-request-id"));

    // A halted shard takes nothing, and says so.
    stand.operate(&ring0d::Verb::Halt { instrument: None });
    check(order("h-1", "buy", "0.1", "40000"), 503, "Halted");
    stand.operate(&ring0d::Verb::Resume { instrument: None });
    let (status, entered) = stand.place(ALICE, "alice", &order("h-1", "buy", "0.1", "40000"));
    assert_eq!(status, 201, "{entered}");
    // There is no settlement here, so no statements; what is in the shard is known all the same.
    let (status, problem) = stand.ask("GET", "/v1/accounts/alice/statement", Some(ALICE), None);
    assert_eq!((status, &problem["code"]), (404, &json!("not-found")));
    let balances = stand.get_as(ALICE, "/v1/accounts/alice/balances");
    assert_eq!(
        (&balances["at"], &balances["balances"][0]["total"]),
        (&Value::Null, &json!("100000000"))
    );
}

#[test]
fn pages_follow_each_other_and_end() {
    let stand = Stand::up();
    let mut trader = stand.trader("carol-1");
    for _ in 0..5 {
        trader.submit(&[limit(false, 10, 50_000)]).unwrap();
        trader
            .submit(&[limit(true, 10, 50_000).immediate()])
            .unwrap();
    }
    stand.wait("ten fills", |stand| {
        let all = stand.get("/v1/instruments/BTC-USD/trades");
        (all["trades"].as_array().unwrap().len() == 5).then_some(())
    });
    let (mut cursor, mut ids) = (String::new(), Vec::new());
    for expected in [2, 2, 1] {
        let path = format!("/v1/instruments/BTC-USD/trades?limit=2{cursor}");
        let page = stand.get(&path);
        let trades = page["trades"].as_array().unwrap();
        assert_eq!(trades.len(), expected);
        ids.extend(trades.iter().map(|it| it["id"].as_u64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => assert_eq!(expected, 1),
        }
    }
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    for path in ["?limit=0", "?limit=1001", "?cursor=x", "?surprise=1"] {
        let path = format!("/v1/instruments/BTC-USD/trades{path}");
        let (status, problem) = stand.ask("GET", &path, None, None);
        assert_eq!(status, 400, "{path}: {problem}");
    }
}

#[test]
fn it_ends_in_peace_and_its_numbers_tell() {
    let mut stand = Stand::up();
    assert_eq!(stand.get("/healthz"), json!("ok\n"));
    assert_eq!(stand.get("/readyz"), json!("ready\n"));
    let (status, _) = stand.place(ALICE, "alice", &order("m-1", "buy", "0.5", "50000"));
    assert_eq!(status, 201);
    let metrics = stand.get("/metrics");
    let metrics = metrics.as_str().unwrap();
    for wanted in [
        "ring0_gateway_requests_total{route=\"/v1/accounts/{account}/orders\",status=\"201\"} 1",
        "ring0_gateway_order_seconds_count 1",
        "ring0_gateway_records_total{shard=\"example\"}",
    ] {
        assert!(metrics.contains(wanted), "{wanted}: {metrics}");
    }
    let mut socket = stand.socket(None);
    socket.subscribe(&json!({ "channel": "trades", "symbol": "BTC-USD" }));
    let waiting = std::thread::spawn(move || {
        loop {
            match socket.0.read() {
                Ok(tokio_tungstenite::tungstenite::Message::Close(Some(frame))) => {
                    return frame.code;
                }
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(stand.terminate_gateway().success(), "{}", stand.log_text());
    assert_eq!(u16::from(waiting.join().unwrap()), 1001);
    let log = stand.log_text();
    for secret in [ALICE, BOB] {
        assert!(!log.contains(secret), "no secret in a log");
    }
    stand.start_gateway();
    let again = stand.get_as(ALICE, "/v1/accounts/alice/client-orders/m-1");
    assert_eq!(again["status"], "open");
}

/// A settlement daemon that answers what it is told to, and keeps what it was asked.
fn settled(path: &std::path::Path, answers: Vec<Value>) -> std::thread::JoinHandle<Vec<Value>> {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            asked.push(serde_json::from_str(&line).unwrap());
            writeln!(stream.get_mut(), "{answer}").unwrap();
        }
        asked
    })
}

#[test]
fn settlement_is_asked_about_the_callers_account_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("settled.sock");
    let usd = json!({
        "total": "1500000", "units_in_shards": { "example": "1500000" }, "in_transit": "0",
        "pending_withdrawals": "0", "arriving": "250000", "dust": "0",
    });
    let none = json!({
        "total": "0", "units_in_shards": { "example": "0" }, "in_transit": "0", "pending_withdrawals": "0", "arriving": "0", "dust": "0",
    });
    let line = |epoch: u64, kind: &str, amount: &str| json!({ "epoch": epoch, "kind": kind, "amount": amount, "counts": true, "source": "batch" });
    let statement = json!({ "account": 0, "from": 1, "to": 4, "assets": [{
        "asset": "USD", "decimals": 6, "opening": "0", "closing": "1500000",
        "lines": [line(2, "deposit", "1000000"), line(3, "deposit", "750000"), line(4, "given", "-250000")],
    }]});
    let stated = json!({ "ok": true, "hash": "0xab", "statement": statement });
    let withdrawals =
        json!({ "ok": true, "withdrawals": [{ "withdrawal": "0x1" }, { "withdrawal": "0x2" }] });
    let daemon = settled(
        &socket,
        vec![
            json!({ "ok": true, "account": 0, "at": [7], "assets": { "USD": usd, "BTC": none, "ETH": none, "SOL": none } }),
            json!({ "ok": true, "file": { "epoch": 4, "account": 0, "holdings": [] } }),
            stated.clone(),
            json!({ "ok": false, "error": "batch 3 is not kept" }),
            stated.clone(),
            json!({ "ok": false, "error": "batch 5 has no part of it" }),
            json!({ "ok": true, "hash": "0xab", "statement": statement, "signed": { "signature": "0xcd" } }),
            stated.clone(),
            stated,
            withdrawals,
            json!({ "ok": true, "accepted": 1 }),
            json!({ "ok": false, "error": "the account has no part in it; ask for the newest" }),
        ],
    );
    let stand = Stand::with("", &format!("settled = {socket:?}"));
    let balances = stand.get_as(ALICE, "/v1/accounts/alice/balances");
    // Free and held are the shard's, all else settlement's.
    let expected = json!({
        "asset": "USD", "free": "100000000", "held": "0", "held_by": {}, "in_shards": { "example": "100000000" },
        "total": "1.5", "in_transit": "0", "pending_withdrawals": "0", "arriving": "0.25", "dust": "0",
    });
    assert_eq!(balances["balances"][0], expected);
    assert_eq!(balances["at"], json!([7]));
    // A statement ends with the newest signed batch, or where it was asked to.
    let told = stand.get_as(ALICE, "/v1/accounts/alice/statement");
    assert_eq!(
        (&told["batch"]["epoch"], &told["hash"]),
        (&json!(4), &json!("0xab"))
    );
    let told = stand.get_as(ALICE, "/v1/accounts/alice/statement?from=2&to=3");
    assert_eq!(told["batch"], Value::Null);
    assert_eq!(told["batch_missing"], "batch 3 is not kept");
    assert_eq!(told.get("signed"), None);
    // Signed it ends where settlement can have it signed.
    let told = stand.get_as(ALICE, "/v1/accounts/alice/statement?signed=true");
    assert_eq!(told["signed"], json!({ "signature": "0xcd" }));
    // Pages, the newest first.
    let page = stand.get_as(ALICE, "/v1/accounts/alice/deposits?limit=1");
    assert_eq!(
        (&page["deposits"][0]["amount"], &page["next_cursor"]),
        (&json!("0.75"), &json!("1"))
    );
    let page = stand.get_as(ALICE, "/v1/accounts/alice/deposits?limit=1&cursor=1");
    assert_eq!(
        (&page["deposits"][0]["amount"], &page["next_cursor"]),
        (&json!("1"), &Value::Null)
    );
    let page = stand.get_as(ALICE, "/v1/accounts/alice/withdrawals");
    assert_eq!(
        page["withdrawals"],
        json!([{ "withdrawal": "0x2" }, { "withdrawal": "0x1" }])
    );
    let cosign = "/v1/accounts/alice/cosign";
    let body = json!({ "epoch": 3, "signature": "0xab" });
    let (status, answer) = stand.ask("POST", cosign, Some(ALICE), Some(&body));
    assert_eq!((status, answer), (200, json!({ "accepted": 1 })));
    let (status, problem) = stand.ask("GET", "/v1/accounts/0/batch?epoch=3", Some(ALICE), None);
    assert_eq!((status, &problem["code"]), (422, &json!("settlement")));
    // None of these gets there.
    let mine = json!({ "epoch": 3, "signature": "0xab", "account": 1 });
    for (method, path, token, body, status) in [
        ("GET", "/v1/accounts/bob/balances", ALICE, None, 404),
        ("POST", cosign, VIEWER, Some(&body), 403),
        ("POST", cosign, ALICE, Some(&mine), 400),
    ] {
        let (found, answer) = stand.ask(method, path, Some(token), body);
        assert_eq!(found, status, "{method} {path}: {answer}");
    }
    let asked = daemon.join().unwrap();
    let expected = [
        json!({ "verb": "balances", "account": 0 }),
        json!({ "verb": "batch", "account": 0, "epoch": 0 }),
        json!({ "verb": "statement", "account": 0, "from": 1, "to": 4 }),
        json!({ "verb": "batch", "account": 0, "epoch": 3 }),
        json!({ "verb": "statement", "account": 0, "from": 2, "to": 3 }),
        json!({ "verb": "batch", "account": 0, "epoch": 0 }),
        json!({ "verb": "statement", "account": 0, "from": 1, "to": u64::MAX, "sign": true }),
        json!({ "verb": "statement", "account": 0, "from": 1, "to": u64::MAX }),
        json!({ "verb": "statement", "account": 0, "from": 1, "to": u64::MAX }),
        json!({ "verb": "withdrawals", "account": 0 }),
        json!({ "verb": "cosign", "parts": [{ "account": 0, "epoch": 3, "signature": "0xab" }] }),
        json!({ "verb": "batch", "account": 0, "epoch": 3 }),
    ];
    assert_eq!(asked, expected);
}
