//! The UDP transport against a venue on the loopback that accepts everything.

use ring0_trader::{
    Locate, Order, Price, Session, SessionId, Shares, Trader, Transport, UdpTransport,
};
use ring0_wire::host::{Answer, Request};
use ring0_wire::outbound::ACCEPTED;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

#[test]
fn orders_cross_a_socket_and_nobody_there_is_a_loss() {
    let session = Session::new(SessionId::new(1, 2).unwrap(), b"sixteen bytes ok");
    let venue = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = venue.local_addr().unwrap();
    let key = session.clone();
    let server = thread::spawn(move || {
        let mut bytes = [0; 1472];
        for _ in 0..3 {
            let (len, from) = venue.recv_from(&mut bytes).unwrap();
            let request = Request::read(&bytes[..len]).unwrap();
            assert!(request.is_genuine(key.key()));
            let acks = request.messages.iter().map(|message| ring0_wire::Ack {
                result: ACCEPTED,
                reference: message.check().unwrap().reference,
                ..Default::default()
            });
            let answer = Answer {
                session: request.session,
                sequence: request.sequence,
                acks: acks.collect(),
            };
            venue.send_to(&answer.sign(key.key()), from).unwrap();
        }
    });
    let way = UdpTransport::connect(address)
        .unwrap()
        .spinning(Duration::from_micros(20));
    let mut trader = Trader::new(session, way);
    let order = Order::buy(Locate(1), Shares(1), Price(100));
    let acks = trader.submit(&[order; 100]).unwrap(); // three packets: 37 fit one
    assert_eq!(acks.len(), 100);
    assert!(trader.round_trip().is_some());
    server.join().unwrap();

    // The venue is gone: the refusal comes back as an error of the socket, and is no error here.
    let mut way = trader.into_transport();
    for _ in 0..3 {
        way.send(b"nobody listens").unwrap();
        let wait = Duration::from_millis(5);
        assert_eq!(way.receive(&mut [0; 64], wait).unwrap(), None);
    }
}
