//! The shard that a scenario's flow needs: an account and a session for each sender, and the flow's packets, signed.
//!
//! Ids and keys come from the seed, so that equal scenarios send equal bytes: a capture of one is a capture of all.

use crate::fail::Fail;
use ring0_drive::{ANSWERS_LOG2, Packets, clock};
use ring0_engine::Capacity;
use ring0_engine::control::{Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::record::State;
use ring0_laboratory::{Flow, Random, Scenario, TICK_WIRE};
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::{Key, Message, SessionId};

/// What each account has of each asset: far above what a scenario can trade, and all of them together below 2^63.
const PLENTY: u64 = 1 << 52;
/// Reference places of a session, as a power of two: orders that live longer than so many newer ones go to the table of buckets.
const REFERENCES_LOG2: u8 = 14;

/// What a shard needs to know of the flow.
pub(super) struct Venue {
    pub(super) capacity: Capacity,
    pub(super) controls: Vec<Control>,
    pub(super) keys: Vec<Option<[u8; 16]>>,
    pub(super) sessions: Vec<SessionId>,
}

impl Venue {
    pub(super) fn of(flow: &Flow, seed: u64) -> Result<Venue, Fail> {
        let senders = flow.senders().len() as u32;
        let mut random = Random::of(seed, 0x0005_E551);
        let mut keys = Vec::new();
        let mut sessions = Vec::new();
        for index in 0..senders {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&random.next_u64().to_be_bytes());
            key[8..].copy_from_slice(&random.next_u64().to_be_bytes());
            keys.push(Some(key));
            let nonce = (random.next_u64() >> 34) as u32;
            sessions.push(SessionId::new(index, nonce).expect("20 and 30 bits"));
        }
        Ok(Venue {
            capacity: capacity(flow, senders)?,
            controls: controls(flow, &sessions),
            keys,
            sessions,
        })
    }
}

fn capacity(flow: &Flow, senders: u32) -> Result<Capacity, Fail> {
    let fits = |what: &str, count: u64| {
        u32::try_from(count)
            .map_err(|_| Fail::new(format!("the scenario needs {count} {what}, too many")))
    };
    let live = flow.live_max() + 1_024;
    let ladder: u64 = flow
        .instruments()
        .iter()
        .map(|it| u64::from(it.ladder_len.next_power_of_two().max(64)))
        .sum();
    let senders_64 = u64::from(senders);
    Ok(Capacity {
        accounts: senders,
        assets: 2,
        instruments: flow.instruments().len() as u32,
        sessions: senders,
        orders: fits("orders", live)?,
        // A level in use holds an order, and there is one on each place of the two ladders at the most.
        levels: fits("levels", live.min(2 * ladder))?,
        ladder: fits("ladder places", ladder)?,
        answers: fits("answers", senders_64 << ANSWERS_LOG2)?,
        references: fits("references", senders_64 << REFERENCES_LOG2)?,
        buckets: fits("buckets", live.next_power_of_two())?,
    })
}

fn controls(flow: &Flow, sessions: &[SessionId]) -> Vec<Control> {
    let mut controls = vec![clock()];
    for account in 0..sessions.len() as u32 {
        let open = OpenAccount {
            account,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::OpenAccount, &open));
        for asset in 0..2 {
            let deposit = Deposit {
                account,
                asset,
                amount: PLENTY,
            };
            controls.push(Control::new(ControlKind::Deposit, &deposit));
        }
    }
    for (instrument, ladder) in (0..).zip(flow.instruments()) {
        let mut symbol = [b' '; 8];
        let text = format!("L{instrument}");
        symbol[..text.len()].copy_from_slice(text.as_bytes());
        let list = List {
            instrument,
            state: State::Continuous as u32,
            symbol,
            base_asset: 1,
            quote_asset: 0,
            tick_size: TICK_WIRE,
            lot_size: 1,
            tick_value: 100,
            ladder_base: ladder.tick_base,
            lot_value: 1,
            ladder_len: ladder.ladder_len,
            lots_max: 10_000_000,
            band_low: 0,
            band_high: 0,
            notional_max: 0,
            maker_ppm: -10,
            taker_ppm: 30,
        };
        controls.push(Control::new(ControlKind::List, &list));
    }
    for (number, id) in (0..).zip(sessions) {
        let grant = Grant {
            session: number,
            account: number,
            id: id.0,
            answers_log2: ANSWERS_LOG2,
            references_log2: REFERENCES_LOG2,
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
            orders_max: 0,
            shares_max: 0,
            notional_max: 0,
            cancel_on_disconnect: 0,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::GrantSession, &grant));
    }
    controls
}

/// A flow's packets in the order in which they are sent.
#[derive(Default)]
pub(super) struct Signed {
    pub(super) packets: Packets,
    /// Packets before the end of the prefill.
    pub(super) prefill: usize,
    pub(super) messages: u64,
    /// FNV-1a of all payloads: equal checksums are equal flows.
    pub(super) checksum: u64,
}

impl Signed {
    /// The prefill and then `packets` more; fewer where files end.
    pub(super) fn make(
        flow: &mut Flow,
        venue: &Venue,
        scenario: &Scenario,
        packets: u64,
        mut between: impl FnMut(u64) -> Result<(), Fail>,
    ) -> Result<Signed, Fail> {
        let mut signed = Signed {
            checksum: 0xCBF2_9CE4_8422_2325,
            ..Signed::default()
        };
        let keys: Vec<Option<Key>> = venue
            .keys
            .iter()
            .map(|it| it.as_ref().map(Key::from_bytes))
            .collect();
        let mut next = vec![1; venue.sessions.len()];
        let mut messages = Vec::new();
        while signed.messages < scenario.flow.prefill {
            let sender = flow.next_prefill(&mut messages);
            signed.push(
                venue.sessions[sender],
                keys[sender].as_ref(),
                &mut next[sender],
                &messages,
            );
        }
        signed.prefill = signed.packets.len();
        for number in 0..packets {
            let Some(sender) = flow.next_packet(&mut messages) else {
                break;
            };
            signed.push(
                venue.sessions[sender],
                keys[sender].as_ref(),
                &mut next[sender],
                &messages,
            );
            if number.is_multiple_of(4_096) {
                between(number)?;
            }
        }
        Ok(signed)
    }

    fn push(&mut self, id: SessionId, key: Option<&Key>, next: &mut u64, messages: &[Message]) {
        let mut builder = PacketBuilder::new(id, *next);
        for message in messages {
            let message = Inbound::from_message(message).expect("a letter of ours");
            builder
                .push(&message)
                .expect("the flow keeps within a packet");
        }
        *next = builder.next_sequence();
        self.messages += messages.len() as u64;
        let payload = builder.sign(key);
        for byte in &payload {
            self.checksum = (self.checksum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
        self.packets.push(&payload);
    }
}
