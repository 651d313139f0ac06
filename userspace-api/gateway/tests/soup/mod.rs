//! A client of OUCH over SoupBinTCP.
#![allow(dead_code, reason = "each test uses its part")]

use crate::stand::{PATIENCE, Stand};
use ring0_itch::Text;
use ring0_itch::ouch::{ClOrdId, Enter, Inbound, display, time_in_force};
use ring0_itch::soup::{Decoder, FromServer, LoginRequest, encode, kind};
use ring0_itch::zerocopy::IntoBytes;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Prices of OUCH have four decimals.
pub(crate) const DOLLAR: u64 = 10_000;

/// What the server says.
pub(crate) enum Got {
    Answer(Vec<u8>),
    Debug(String),
    Rejected(u8),
    Accepted(u64),
    Unsequenced(Vec<u8>),
    End,
}

/// A client of OUCH over SoupBinTCP.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    decoder: Decoder,
    pub(crate) heartbeats: u32,
}

impl Client {
    pub(crate) fn connect(stand: &Stand) -> Client {
        let stream = TcpStream::connect(stand.ouch).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            decoder: Decoder::new(1 << 12),
            heartbeats: 0,
        }
    }

    pub(crate) fn frame(&mut self, of: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode(of, payload, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// Logs in; the number of the next answer.
    pub(crate) fn login(stand: &Stand, user: &str, password: &str, from: u64) -> (Client, u64) {
        let mut client = Client::connect(stand);
        client.ask_in(user, password, "", from);
        match client.next() {
            Got::Accepted(next) => (client, next),
            _ => panic!("not logged in: {}", stand.log_text()),
        }
    }

    /// What a login is answered.
    pub(crate) fn try_login(stand: &Stand, user: &str, password: &str, from: u64) -> Got {
        let mut client = Client::connect(stand);
        client.ask_in(user, password, "", from);
        client.next()
    }

    pub(crate) fn ask_in(&mut self, user: &str, password: &str, session: &str, from: u64) {
        let login = LoginRequest::new(user, password, session, from).unwrap();
        self.frame(kind::LOGIN, login.as_bytes());
    }

    pub(crate) fn next(&mut self) -> Got {
        loop {
            if let Some(packet) = self.decoder.next_packet().unwrap() {
                match packet.from_server().unwrap() {
                    FromServer::Heartbeat => self.heartbeats += 1,
                    FromServer::Sequenced(message) => return Got::Answer(message.to_vec()),
                    FromServer::Debug(text) => {
                        return Got::Debug(String::from_utf8(text.to_vec()).unwrap());
                    }
                    FromServer::LoginRejected(code) => return Got::Rejected(code),
                    FromServer::LoginAccepted(it) => {
                        return Got::Accepted(it.sequence.get().unwrap());
                    }
                    FromServer::Unsequenced(message) => return Got::Unsequenced(message.to_vec()),
                    FromServer::EndOfSession => return Got::End,
                }
                continue;
            }
            let room = self.decoder.room();
            let bytes = self.stream.read(room).unwrap();
            if bytes == 0 {
                return Got::End;
            }
            self.decoder.received(bytes);
        }
    }

    pub(crate) fn answer(&mut self) -> Vec<u8> {
        match self.next() {
            Got::Answer(answer) => answer,
            Got::Debug(text) => panic!("{text}"),
            _ => panic!("no answer"),
        }
    }

    /// The next answer with this letter.
    pub(crate) fn until(&mut self, letter: u8) -> Vec<u8> {
        loop {
            let answer = self.answer();
            if answer[0] == letter {
                return answer;
            }
        }
    }

    pub(crate) fn send<'a>(&mut self, message: impl Into<Inbound<'a>>) {
        let mut bytes = Vec::new();
        message.into().write(&mut bytes);
        self.frame(kind::UNSEQUENCED, &bytes);
    }
}

pub(crate) fn enter(number: u32, side: u8, shares: u32, dollars: u64) -> Enter {
    Enter {
        letter: b'O',
        user_ref: number.into(),
        side,
        quantity: shares.into(),
        symbol: Text::new("BTC-USD").unwrap(),
        price: (dollars * DOLLAR).into(),
        time_in_force: time_in_force::DAY,
        display: display::VISIBLE,
        capacity: b'P',
        intermarket_sweep: b'N',
        cross_type: b'N',
        client_order_id: ClOrdId::BLANK,
    }
}
