//! What a server of answers must serve, and a server of it.
#![allow(dead_code, reason = "each test uses its part")]

use crate::market::Market;
use ring0_engine::control::{Control, ControlKind, Grant, Target};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{ControlRecord, Head, Kind, Outcome};
use ring0_feed::{
    Access, AnswerOptions, AnswerServer, AnswerSink, Answers, FIRST_SESSION, drop_copy,
};
use ring0_itch::mold::Session;
use ring0_wire::SessionId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// What each stream must be.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) ids: HashMap<u32, Session>,
    pub(crate) streams: BTreeMap<Session, Vec<Vec<u8>>>,
    /// Streams whose index has another session now.
    pub(crate) ended: BTreeSet<Session>,
}

impl AnswerSink for Expected {
    fn granted(&mut self, session: u32, _: u32, id: Session) {
        let before = self.ids.insert(session, id);
        self.ended.extend(before.filter(|before| *before != id));
    }

    fn answer(&mut self, session: Option<u32>, account: u32, answer: &[u8]) {
        let own = session.map(|session| self.ids[&session]);
        for name in own.into_iter().chain([drop_copy(account)]) {
            self.streams.entry(name).or_default().push(answer.to_vec());
        }
    }
}

/// Anyone's access here follows from the stream's name.
pub(crate) fn access(name: Session) -> Access {
    let mut key = [7; 16];
    key[..10].copy_from_slice(&name.0);
    Access::of(&key, "test")
}

/// A stream that nobody may read.
pub(crate) const NOBODYS: &[u8; 10] = b"NOBODYS000";

/// On loopback, over both protocols.
pub(crate) fn options() -> AnswerOptions {
    let anywhere: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    AnswerOptions {
        soup: Some(anywhere),
        mold: Some(anywhere),
        patience: Duration::from_secs(2),
        ..AnswerOptions::new(Box::new(|name| (name.0 != *NOBODYS).then(|| access(name))))
    }
}

/// A market whose records go to a server, and what its streams must be.
pub(crate) struct Venue {
    pub(crate) market: Market,
    answers: Answers,
    pub(crate) expected: Expected,
    pub(crate) server: Option<AnswerServer>,
    /// All records so far.
    pub(crate) records: Vec<u8>,
}

impl Venue {
    pub(crate) fn new(market: Market, options: AnswerOptions) -> Venue {
        let mut venue = Venue {
            market,
            answers: Answers::new(FIRST_SESSION),
            expected: Expected::default(),
            server: None,
            records: Vec::new(),
        };
        venue.serve(options);
        venue.tell();
        venue
    }

    /// Starts a server of all that was.
    pub(crate) fn serve(&mut self, options: AnswerOptions) {
        let server = AnswerServer::start(Answers::new(FIRST_SESSION), options).unwrap();
        server.tap().send(self.records.clone()).unwrap();
        self.server = Some(server);
    }

    fn tell(&mut self) {
        let records = &self.market.records;
        self.answers.feed(records, &mut self.expected).unwrap();
        self.records.extend_from_slice(records);
        if let Some(server) = &self.server {
            server.tap().send(records.clone()).unwrap();
        }
    }

    pub(crate) fn steps(&mut self, steps: usize) {
        for _ in 0..steps {
            self.market.step();
            self.tell();
        }
    }

    pub(crate) fn server(&self) -> &AnswerServer {
        self.server.as_ref().unwrap()
    }

    /// Waits until the server has all of every stream.
    pub(crate) fn settle(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        for (name, messages) in &self.expected.streams {
            while self.server().next(*name) <= messages.len() as u64 {
                assert!(Instant::now() < end);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// The stream with the most messages.
    pub(crate) fn longest(&self) -> (Session, &[Vec<u8>]) {
        let streams = self.expected.streams.iter();
        let (name, messages) = streams.max_by_key(|(_, it)| it.len()).unwrap();
        (*name, messages)
    }

    /// Empties and closes a session and grants its index to another id; gives the old one.
    pub(crate) fn grant_anew(&mut self, session: u32) -> Session {
        let old = self.expected.ids[&session];
        let mut grant = self.last_grant(session);
        let nonce = SessionId(old.0).nonce().unwrap() ^ 1;
        grant.id = SessionId::new(session, nonce).unwrap().0;
        let target = Target {
            index: session,
            reserved: 0,
        };
        for control in [
            Control::new(ControlKind::KillSession, &target),
            Control::new(ControlKind::CloseSession, &target),
            Control::new(ControlKind::GrantSession, &grant),
        ] {
            // A session of many orders is emptied in many steps.
            while self.market.native.shard().header().pending_count.get() != 0 {
                self.market.native.steps();
            }
            self.market
                .native
                .control(&[control], self.market.flow.boot_ns());
            self.market.records = self.market.native.take_records();
            self.tell();
        }
        assert!(self.expected.ended.contains(&old), "granted anew");
        old
    }

    fn last_grant(&self, session: u32) -> Grant {
        let mut rest = &self.records[..];
        let mut last = None;
        while let Ok((head, _)) = Head::read_from_prefix(rest) {
            let (record, after) = rest.split_at(usize::from(head.slots) * SLOT_LEN);
            rest = after;
            if Kind::from_number(head.kind) == Some(Kind::Control) {
                let record = ControlRecord::read_from_bytes(record).unwrap();
                let (grant, _) = Grant::read_from_prefix(record.body.as_bytes()).unwrap();
                let is_grant = record.kind == ControlKind::GrantSession as u32
                    && record.outcome != Outcome::Rejected as u8;
                if is_grant && grant.session == session {
                    last = Some(grant);
                }
            }
        }
        last.expect("granted once")
    }
}
