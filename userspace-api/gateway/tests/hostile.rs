//! What clients must not be able to do: fill memory, hold places, or see more than an error.

mod stand;

use serde_json::json;
use stand::{ALICE, PATIENCE, Stand, order};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// Sends bytes and reads until the server closes.
fn raw(stand: &Stand, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(stand.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server does not close: {error}"),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn oversized_and_malformed_requests_are_refused() {
    let stand = Stand::with("head_seconds = 1\nrequest_seconds = 2", "");
    // Bodies.
    let mut large = order("big", "buy", "1", "50000");
    large["symbol"] = "x".repeat(100_000).into();
    let (status, problem) = stand.place(ALICE, "alice", &large);
    assert_eq!((status, &problem["code"]), (413, &json!("malformed")));
    for (body, kind, status) in [
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        ("null", "application/json", 400),
        ("{}", "application/json", 400),
        ("{}", "text/plain", 415),
        ("\u{0}\u{1}", "application/json", 400),
    ] {
        let text = format!(
            "POST /v1/accounts/alice/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(&stand, text.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{body:?}: {answer}"
        );
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    // Heads.
    let path = "x".repeat(40_000);
    let answer = raw(
        &stand,
        format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let headers: String = (0..500).map(|it| format!("x-{it}: 1\r\n")).collect();
    let answer = raw(
        &stand,
        format!("GET /v1/time HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = raw(&stand, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert!(!answer.contains("200"), "{answer}");
    // Paths and queries that are no text.
    let (status, _) = stand.ask("GET", "/v1/instruments/%ff/book", None, None);
    assert_eq!(status, 400);
    let (status, _) = stand.ask("GET", "/v1/instruments/BTC-USD/book?levels=-1", None, None);
    assert_eq!(status, 400);

    // Slow: a head byte by byte, a body that never comes. Each is closed, while others are served.
    let begun = Instant::now();
    let mut head = TcpStream::connect(stand.http).unwrap();
    head.set_read_timeout(Some(PATIENCE)).unwrap();
    head.write_all(b"GET /v1/time HTTP/1.1\r\n").unwrap();
    let mut dripping = head.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        while dripping.write_all(b"x: y\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let mut body = TcpStream::connect(stand.http).unwrap();
    body.set_read_timeout(Some(PATIENCE)).unwrap();
    let text = format!(
        "POST /v1/accounts/alice/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    body.write_all(text.as_bytes()).unwrap();
    stand.get("/v1/time");
    let mut answer = String::new();
    let _ = head.read_to_string(&mut answer); // closed, perhaps with 408
    drip.join().unwrap();
    let mut first = [0; 12];
    body.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 408");
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_websocket_that_misbehaves_is_cut_off_with_the_reason() {
    let stand = Stand::with("websocket_queue = 4\nwebsocket_ping_seconds = 1", "");
    let mut socket = stand.socket(None);
    for said in [
        json!("x"),
        json!({ "op": "subscribe", "channel": "nothing" }),
        json!({ "op": "subscribe", "channel": "book" }),
        json!({ "op": "subscribe", "channel": "book", "symbol": "XRP-USD" }),
        json!({ "op": "subscribe", "channel": "orders", "account": "alice" }),
        json!({ "op": "login", "authorization": "Bearer wrong" }),
    ] {
        socket.say(&said);
        let answer = socket.next();
        assert_eq!(answer["op"], "error", "{said}: {answer}");
        assert!(answer["problem"]["detail"].is_string());
    }
    socket.say(&json!({ "op": "login", "authorization": format!("Bearer {ALICE}"), "id": 7 }));
    assert_eq!(socket.next(), json!({ "op": "welcome", "id": 7 }));
    socket.subscribe(&json!({ "channel": "orders", "account": "alice" }));
    let snapshot = socket.next();
    assert_eq!(
        (&snapshot["type"], &snapshot["data"]),
        (&json!("snapshot"), &json!([]))
    );
    socket.say(&json!({ "op": "subscribe", "channel": "orders", "account": "bob" }));
    assert_eq!(socket.next()["problem"]["code"], "not-found");
    socket.say(&json!({ "op": "ping", "id": "x" }));
    assert_eq!(socket.next(), json!({ "op": "pong", "id": "x" }));

    let closed = |mut socket: stand::Socket| loop {
        match socket.0.read() {
            Ok(Message::Close(Some(frame))) => {
                return (u16::from(frame.code), frame.reason.to_string());
            }
            Ok(_) => {}
            Err(error) => return (0, error.to_string()),
        }
    };
    // Too many words: each is answered until the last.
    let mut chatty = stand.socket(None);
    let cut_off = (0..400).find_map(|_| {
        chatty.say(&json!({ "op": "ping" }));
        match chatty.0.read().unwrap() {
            Message::Close(frame) => frame.map(|it| (u16::from(it.code), it.reason.to_string())),
            _ => None,
        }
    });
    let (code, reason) = cut_off.expect("four hundred words at once are too many");
    assert!(code == 1008 && reason.contains("too"), "{code} {reason}");
    // A message larger than any word.
    let mut loud = stand.socket(None);
    loud.say(&json!({ "op": "ping", "id": "x".repeat(100_000) }));
    let (code, _) = closed(loud);
    assert!(code == 0 || code == 1009, "{code}");
    // Does not read while much happens.
    let mut slow = stand.socket(None);
    if let tokio_tungstenite::tungstenite::stream::MaybeTlsStream::Plain(stream) = slow.0.get_ref()
    {
        rustix::net::sockopt::set_socket_recv_buffer_size(stream, 16 << 10).unwrap();
    }
    slow.subscribe(&json!({ "channel": "book", "symbol": "BTC-USD" }));
    let mut trader = stand.trader("carol-1");
    let orders: Vec<_> = (0..60)
        .map(|it| stand::limit(true, 1, 40_000 + it))
        .collect();
    let end = Instant::now() + PATIENCE;
    let before = cut_off_slow(&stand);
    while cut_off_slow(&stand) == before {
        assert!(Instant::now() < end, "a slow reader is not cut off");
        for _ in 0..20 {
            trader.submit(&orders).unwrap();
            trader
                .submit(&[ring0_trader::Order::mass_cancel(None)])
                .unwrap();
        }
    }
    let (code, reason) = closed(slow);
    assert!(code == 1008 && reason.contains("slow"), "{code} {reason}");
}

/// WebSockets that were cut off because they did not read.
fn cut_off_slow(stand: &Stand) -> u64 {
    let metrics = stand.get("/metrics");
    let lines = metrics.as_str().unwrap().lines();
    let name = "ring0_gateway_refused_total{protocol=\"websocket\",reason=\"slow\"} ";
    let mut found = lines.filter_map(|line| line.strip_prefix(name));
    found.next().map_or(0, |number| number.parse().unwrap())
}

/// Bytes of memory that a process has now.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn ten_thousand_idle_websockets_are_served_in_bounded_memory() {
    const SOCKETS: usize = 10_000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .unwrap();
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        most > SOCKETS as u64 + 100,
        "this machine lets a process open {most} files; 10,000 WebSockets need more (ulimit -Hn)"
    );
    // The ten-thousand-and-first is refused, and so is not what the others would cost.
    let stand = Stand::with(
        &format!(
            "connections_max = {}\nwebsocket_ping_seconds = 3600",
            SOCKETS + 1
        ),
        "",
    );
    let before = resident(stand.gateway_pid());
    let request = "GET /v1/stream HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let mut sockets = Vec::with_capacity(SOCKETS);
    for _ in 0..SOCKETS {
        let mut stream = TcpStream::connect(stand.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        sockets.push(stream);
    }
    for stream in &mut sockets {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
    }
    let each = (resident(stand.gateway_pid()) - before) / SOCKETS as u64;
    println!("{each} bytes a connection");
    assert!(each < 64 << 10, "{each} bytes a connection");
    // Somebody else is served at the same time, and one more is not.
    stand.get("/v1/time");
    let last = stand.wait("the last place", |stand| {
        let mut last = TcpStream::connect(stand.http).ok()?;
        last.set_read_timeout(Some(PATIENCE)).unwrap();
        last.write_all(b"GET /v1/time HTTP/1.1\r\nhost: x\r\n\r\n")
            .ok()?;
        let mut head = [0; 12];
        last.read_exact(&mut head).ok()?;
        assert_eq!(&head, b"HTTP/1.1 200");
        Some(last)
    });
    let mut more = TcpStream::connect(stand.http).unwrap();
    more.set_read_timeout(Some(PATIENCE)).unwrap();
    let refused = more.read(&mut [0; 16]);
    assert!(
        matches!(refused, Ok(0))
            || refused.is_err_and(|it| it.kind() == ErrorKind::ConnectionReset)
    );
    drop(last);
    drop(sockets);
    stand.wait("the end of all connections", |stand| {
        let response = stand.get("/metrics");
        let text = response.as_str().unwrap();
        let line = text
            .lines()
            .find(|it| it.starts_with("ring0_gateway_connections{protocol=\"websocket\"}"));
        (line.unwrap().ends_with(" 0")).then_some(())
    });
}
