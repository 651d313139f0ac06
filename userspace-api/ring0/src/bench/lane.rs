//! A flow cut into packets of one kind, signed before the clock starts, and where its pieces end.

use crate::fail::Fail;
use ring0_drive::{Cut, Ends, Market, Packets, References, cut};
use ring0_stream::lobstrm::{Stream, generate};
use ring0_wire::Key;

/// Symbols of a lane's flow.
pub(crate) const SYMBOLS: u32 = 64;
/// Orders that rest before the first piece; the mix keeps the books at about this size.
const PREFILL: u64 = 20_000;

/// What lanes differ in.
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    /// Messages of a packet at the most.
    pub(crate) messages_max: u16,
    /// Signs its packets; without it tags are blank.
    pub(crate) key: Option<[u8; 16]>,
    /// Messages of each piece.
    pub(crate) pieces: Vec<u64>,
}

/// A lane's packets.
pub(crate) struct Prepared {
    pub(crate) lane: Lane,
    pub(crate) packets: Packets,
    /// Packets before the end of the prefill, then before that of each piece.
    pub(crate) ends: Vec<usize>,
}

impl Prepared {
    /// Messages in a piece, numbered from 1; 0 is the prefill.
    pub(crate) fn messages(&self, piece: usize) -> u64 {
        let start = piece.checked_sub(1).map_or(0, |before| self.ends[before]);
        let packets = start..self.ends[piece];
        packets.map(|at| self.packets.messages(at)).sum()
    }
}

/// Makes the lanes' packets, each lane of a session of its own, and a market that holds all of them.
pub(crate) fn prepare(seed: u64, lanes: Vec<Lane>) -> Result<(Vec<Prepared>, Market), Fail> {
    let mut prepared = Vec::new();
    let mut markets: Vec<Market> = Vec::new();
    for ((number, seed), lane) in (0..).zip(seed..).zip(lanes) {
        let stream = generate(seed, lane.pieces.iter().sum(), PREFILL, SYMBOLS);
        markets.push(Market::of(&stream));
        prepared.push(cut_lane(number, lane, &stream)?);
    }
    let most = |of: fn(&Market) -> u64| markets.iter().map(of).max().unwrap_or(1);
    let market = Market {
        peak_live: most(|market| market.peak_live),
        references: most(|market| market.references),
        ..markets[0].clone()
    };
    Ok((prepared, market))
}

fn cut_lane(number: u32, lane: Lane, stream: &Stream) -> Result<Prepared, Fail> {
    let references = References::of(stream)?;
    let key = lane.key.as_ref().map(Key::from_bytes);
    let plan = Cut {
        number,
        symbols: SYMBOLS,
        messages_max: lane.messages_max,
        key: key.as_ref(),
        ends: &Ends::default(),
    };
    let mut packets = Packets::default();
    let mut ends = Vec::new();
    let mut rest = stream.timed();
    let mut sequence = cut(stream.prefill(), &references, &plan, 1, &mut packets);
    ends.push(packets.len());
    for messages in &lane.pieces {
        let (piece, after) = rest.split_at(*messages as usize);
        sequence = cut(piece, &references, &plan, sequence, &mut packets);
        ends.push(packets.len());
        rest = after;
    }
    Ok(Prepared {
        lane,
        packets,
        ends,
    })
}
