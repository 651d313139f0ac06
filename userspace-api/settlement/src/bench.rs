//! How fast the ledger is: fills through [`Settlement`] with durable commits and cuts meanwhile, and what a batch of many traders costs. For
//! `ring0 bench settle`.
//!
//! Every figure comes with its check: balances against sums that were made beside the fills, and against a ledger read back from the store.

use crate::fact::{Fact, Pin, Purse};
use crate::id::{AccountId, AssetId, PeerId};
use crate::settlement::{Settlement, SettlementError};
use crate::venue::{Asset, Peer, Place, Venue};
use crate::{Own, Store};
use alloy_primitives::keccak256;
use ring0_channels::batch::Built;
use ring0_channels::message::Hub;
use ring0_channels::{Address, B256, U256};
use ring0_engine::control::{Control, ControlKind, Deposit, List};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{ControlRecord, Filled, Head, Kind, Outcome};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};
use zerocopy::{FromZeros, IntoBytes};

const SHARD: PeerId = PeerId(0);
const RAIL: PeerId = PeerId(7);
/// Base and quote of each instrument: four of the first asset's, with one quote.
const ASSETS: u32 = 5;
/// Fills that are made before and given again and again, each time with the next sequences.
const PIECE: usize = 1 << 19;
/// Bytes that are taken at once: what a reader of the journal has in a block.
const TAKE: usize = 64 << 10;
/// What everybody begins with, engine units of each asset: far more than fills of one run can move.
const PLENTY: u64 = 1 << 52;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Accounts that trade with each other.
    pub accounts: u32,
    /// How long, after everything is set up.
    pub time: Duration,
    /// Fills a second; none: as many as go.
    pub rate: Option<u32>,
    /// A batch is cut this often.
    pub batch: Duration,
    /// Choices are made from it.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            accounts: 10_000,
            time: Duration::from_secs(10),
            rate: None,
            batch: Duration::from_secs(1),
            seed: 1,
        }
    }
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: usize,
    /// Half are below.
    pub p50_ms: f64,
    /// 99 of 100 are below.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Spread {
    /// Of all that were measured.
    #[must_use]
    pub fn of(mut all: Vec<Duration>) -> Spread {
        all.sort_unstable();
        let Some(longest) = all.last() else {
            return Spread::default();
        };
        let ms = |it: &Duration| it.as_secs_f64() * 1e3;
        let at = |percent: usize| ms(&all[(all.len() * percent).div_ceil(100) - 1]);
        Spread {
            count: all.len(),
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: ms(longest),
        }
    }
}

/// What [`ledger`] found.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerReport {
    /// Accounts that traded.
    pub accounts: u32,
    /// Fills taken.
    pub fills: u64,
    /// Seconds that took, cuts and commits meanwhile.
    pub seconds: f64,
    /// Fills a second.
    pub fills_per_second: f64,
    /// Postings of all of them.
    pub postings: u64,
    /// Postings a fill.
    pub postings_per_fill: f64,
    /// From the end of a durable commit to the end of the next.
    pub commit_interval: Spread,
    /// From taking what a commit has from the ledger until it is on the disk.
    pub commit_time: Spread,
    /// A cut: its fact on the disk, lines, covers.
    pub cut_time: Spread,
    /// Statement lines' accounts written, all cuts together.
    pub accounts_cut: u64,
    /// Balances compared with sums made beside the fills, and with those of a ledger read back from the store.
    pub balances_checked: u64,
    /// Whether all were right; one that is not is an error of the program.
    pub balances_right: bool,
}

/// What [`netting`] found.
#[derive(Clone, Debug, Serialize)]
pub struct NettingReport {
    /// Traders, each with a channel of two assets.
    pub traders: u32,
    /// Batches in which every one of them had traded.
    pub batches: usize,
    /// The cut: its fact on the disk, lines, covers, states.
    pub cut: Spread,
    /// Leaves of all channels.
    pub leaves: Spread,
    /// Account trees and sum trees, hashed.
    pub trees: Spread,
}

/// Sebastiano Vigna's splitmix64.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * u128::from(end)) >> 64) as u32
    }
}

fn venue(accounts: u32, places: Vec<Place>) -> Result<Venue, crate::VenueError> {
    let asset = |index| Asset {
        name: format!("A{index}"),
        decimals: 6,
        unit_exponent: 0,
    };
    let peer = |name: &str, number| Peer {
        name: name.to_owned(),
        number,
    };
    Venue::new(
        (0..ASSETS).map(asset).collect(),
        vec![peer("main", SHARD)],
        vec![peer("hub", RAIL)],
        places,
        accounts,
    )
}

/// Makes a shard's records, with the next sequences.
#[derive(Debug)]
pub struct Writer {
    /// What was made and not taken.
    pub bytes: Vec<u8>,
    next: u64,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer {
            bytes: Vec::new(),
            next: 1,
        }
    }
}

impl Writer {
    /// Sequence of the next record.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    fn head(&mut self, kind: Kind, slots: u8, locate: u32, side: u8) -> Head {
        self.next += 1;
        Head {
            kind: kind as u16,
            slots,
            side,
            locate,
            sequence: self.next - 1,
        }
    }

    /// A command that was carried out.
    pub fn control(&mut self, command: &Control) {
        let mut record = ControlRecord::new_zeroed();
        record.head = self.head(Kind::Control, 2, 0, 0);
        (record.kind, record.body) = (command.kind, command.body);
        record.outcome = Outcome::Accepted as u8;
        self.bytes.extend(record.as_bytes());
    }

    /// Lists instruments whose base assets are 1, 2 and so on, and whose quote asset is 0.
    pub fn listings(&mut self, instruments: u32) {
        for instrument in 0..instruments {
            let mut list = List::new_zeroed();
            (list.instrument, list.base_asset) = (instrument, instrument + 1);
            (list.lot_value, list.tick_value) = (10, 3);
            (list.maker_ppm, list.taker_ppm) = (-100, 300);
            self.control(&Control::new(ControlKind::List, &list));
        }
    }

    /// A fill of two accounts in an instrument.
    pub fn fill(&mut self, random: &mut Random, instrument: u32, maker: u32, taker: u32) {
        let mut fill = Filled::new_zeroed();
        let side = if random.below(2) == 0 { b'B' } else { b'S' };
        fill.head = self.head(Kind::Filled, 1, instrument + 1, side);
        (fill.price, fill.lots) = (1_000 + random.below(50), 1 + random.below(20));
        (fill.maker_account, fill.taker_account) = (maker, taker);
        let paid = i64::from(fill.price * fill.lots * 3);
        fill.taker_fee = (paid * 300).cast_unsigned().div_ceil(1_000_000);
        fill.maker_fee = -(paid * 100 / 1_000_000);
        self.bytes.extend(fill.as_bytes());
    }
}

/// Fills through the ledger as fast as they are taken.
///
/// # Errors
/// The folder's disk.
///
/// # Panics
/// A balance is wrong.
pub fn ledger(folder: &Path, options: &Options) -> Result<LedgerReport, BenchError> {
    let Options { accounts, .. } = *options;
    let venue = venue(accounts, Vec::new())?;
    let mut settlement = Settlement::open(folder, venue.clone())?;
    let mut random = Random(options.seed);
    let mut writer = Writer::default();
    writer.listings(ASSETS - 1);
    for account in 0..accounts {
        for asset in 0..ASSETS {
            let given = Deposit {
                account,
                asset,
                amount: PLENTY,
            };
            writer.control(&Control::new(ControlKind::Deposit, &given));
        }
    }
    settlement.take(SHARD, &writer.bytes)?;
    settlement.cut(0, Vec::new(), false)?;
    settlement.flush()?;

    // What one round of the fills changes, made beside them: engine units by account and asset.
    writer.bytes.clear();
    let mut change = vec![0_i64; (accounts * ASSETS) as usize];
    for _ in 0..PIECE {
        let instrument = random.below(ASSETS - 1);
        let (maker, taker) = (random.below(accounts), random.below(accounts));
        writer.fill(&mut random, instrument, maker, taker);
    }
    naive(&writer.bytes, &mut change);

    let mut piece = writer.bytes;
    let before = settlement.ledger().counts();
    let (mut next, mut fills) = (writer.next, 0_u64);
    let mut part = vec![0_u64; PIECE / (TAKE / SLOT_LEN)];
    let (mut intervals, mut times, mut cuts) = (Vec::new(), Vec::new(), Vec::new());
    let mut accounts_cut = 0;
    let mut last = settlement.store().last_commit();
    let began = Instant::now();
    let mut cut_at = began + options.batch;
    next -= PIECE as u64; // the first round is as it was made
    'time: loop {
        for (number, bytes) in piece.chunks_mut(TAKE).enumerate() {
            for record in bytes.chunks_exact_mut(SLOT_LEN) {
                record[8..16].copy_from_slice(&next.to_le_bytes());
                next += 1;
            }
            if let Some(rate) = options.rate {
                let due = Duration::from_secs_f64(fills as f64 / f64::from(rate));
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            let taken = settlement.take(SHARD, bytes)?;
            fills += taken.records;
            part[number] += 1;
            let commit = settlement.store().last_commit();
            if commit != last {
                if let (Some(one), Some(other)) = (last, commit) {
                    intervals.push(other.ended - one.ended);
                    times.push(other.ended - other.began);
                }
                last = commit;
            }
            let now = Instant::now();
            if now >= cut_at {
                let epoch = settlement.ledger().epoch().0 + 1;
                accounts_cut += settlement.cut(epoch, Vec::new(), false)?.accounts.len() as u64;
                cuts.push(now.elapsed());
                cut_at = now + options.batch;
            }
            if now - began >= options.time {
                break 'time;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let counts = settlement.ledger().counts();
    let postings = counts.postings - before.postings;

    // The last round may have ended in the middle: its fills are added one by one.
    let rounds = part.last().copied().unwrap_or(0);
    let mut expected: Vec<i64> = change.iter().map(|it| it * rounds as i64).collect();
    for (bytes, times) in piece.chunks(TAKE).zip(&part) {
        if *times > rounds {
            naive(bytes, &mut expected);
        }
    }
    settlement.flush()?;
    let image = settlement.ledger().image();
    let mut checked = 0;
    for account in 0..accounts {
        for asset in 0..ASSETS {
            let has = settlement
                .ledger()
                .trading(SHARD, AccountId(account), AssetId(asset));
            let should = PLENTY.cast_signed() + expected[(account * ASSETS + asset) as usize];
            assert_eq!(has, should, "account {account}, asset {asset}");
            checked += 1;
        }
    }
    let sums = settlement.ledger().sums();
    assert_eq!(sums, settlement.ledger().control(), "control totals");
    drop(settlement);
    let (store, again) = Store::open(&folder.join("ledger.redb"), venue)?;
    assert!(again.image() == image, "the store has another ledger");
    drop(store);
    Ok(LedgerReport {
        accounts,
        fills,
        seconds,
        fills_per_second: fills as f64 / seconds,
        postings,
        postings_per_fill: postings as f64 / fills.max(1) as f64,
        commit_interval: Spread::of(intervals),
        commit_time: Spread::of(times),
        cut_time: Spread::of(cuts),
        accounts_cut,
        balances_checked: checked,
        balances_right: true,
    })
}

/// Adds what fills change, one by one.
fn naive(bytes: &[u8], to: &mut [i64]) {
    use zerocopy::FromBytes;
    for record in bytes.chunks_exact(SLOT_LEN) {
        let Ok(fill) = Filled::read_from_bytes(record) else {
            continue; // cannot be: they are fills
        };
        let paid = i64::from(fill.price) * i64::from(fill.lots) * 3;
        let bought = i64::from(fill.lots) * 10;
        let sign = if fill.head.side == b'B' { 1 } else { -1 };
        let mut add = |account: u32, asset: u32, units: i64| {
            to[(account * ASSETS + asset) as usize] += units;
        };
        add(fill.taker_account, fill.head.locate, sign * bought);
        add(fill.maker_account, fill.head.locate, -sign * bought);
        add(
            fill.taker_account,
            0,
            -sign * paid - fill.taker_fee.cast_signed(),
        );
        add(fill.maker_account, 0, sign * paid - fill.maker_fee);
    }
}

/// Batches of traders who all traded, each with a channel in two tokens of one hub: the cut, the leaves, the trees.
///
/// # Errors
/// The folder's disk.
///
/// # Panics
/// The trees do not sum to what the ledger owes.
pub fn netting(
    folder: &Path,
    traders: u32,
    batches: usize,
    seed: u64,
) -> Result<NettingReport, BenchError> {
    let hub = Hub {
        lineage: U256::from(1),
        address: Address::repeat_byte(1),
    };
    let place = |asset: u32| Place {
        rail: RAIL,
        hub,
        token: Address::repeat_byte(asset as u8 + 1),
        asset: AssetId(asset),
    };
    let venue = venue(traders, vec![place(0), place(1)])?;
    let mut settlement = Settlement::open(folder, venue.clone())?;
    let mut random = Random(seed);
    let mut writer = Writer::default();
    let amount = 1_u128 << 40;
    let mut facts = Vec::new();
    for place in 0..2 {
        facts.push(Fact::Funded {
            purse: Purse::Vault(place),
            own: Own::Equity,
            asset: AssetId(place),
            amount: 1 << 60,
        });
        for account in 0..traders {
            let name = (u64::from(place) << 32 | u64::from(account)).to_be_bytes();
            let channel = keccak256(name);
            let account = AccountId(account);
            facts.push(Fact::Opened {
                channel,
                account,
                place,
            });
            facts.push(Fact::Deposited {
                channel,
                deposited: amount,
            });
            facts.push(Fact::Credited {
                rail: RAIL,
                shard: SHARD,
                account,
                asset: AssetId(place),
                number: 1 + u64::from(place),
                units: amount as u64,
            });
        }
    }
    settlement.put_all(facts)?;
    writer.listings(ASSETS - 1);
    for place in 0..2_u32 {
        for account in 0..traders {
            let into = ring0_engine::control::TransferIn {
                account,
                asset: place,
                amount: amount as u64,
                number: 1 + u64::from(place),
                from: RAIL.0,
                reserved: 0,
            };
            writer.control(&Control::new(ControlKind::TransferIn, &into));
        }
    }
    settlement.take(SHARD, &writer.bytes)?;
    let (mut cuts, mut leaves, mut trees) = (Vec::new(), Vec::new(), Vec::new());
    let mut previous = B256::ZERO;
    for batch in 0..batches {
        writer.bytes.clear();
        for account in 0..traders {
            // Everybody trades with somebody, in the instrument of the two tokens.
            let maker = random.below(traders);
            writer.fill(&mut random, 0, maker, account);
        }
        settlement.take(SHARD, &writer.bytes)?;
        let begun = Instant::now();
        let pins = vec![Pin {
            place: 0,
            branch: B256::repeat_byte(1),
        }];
        settlement.cut(batch as u64, pins, false)?;
        cuts.push(begun.elapsed());
        let begun = Instant::now();
        let made = settlement.ledger().leaves();
        leaves.push(begun.elapsed());
        let begun = Instant::now();
        let epoch = settlement.ledger().epoch().0;
        let built = Built::new(epoch.try_into().unwrap_or_default(), previous, made)?;
        trees.push(begun.elapsed());
        previous = built.batch().entries;
        let batch = settlement.ledger().batch();
        for (place, own) in venue.places().iter().zip(&batch.places) {
            let sums = built.sums(&place.hub, place.token).unwrap_or_default();
            assert_eq!((sums.balance, sums.excess), (own.balance, own.excess));
            let at = place.asset.0 as usize;
            let owed = batch.customers[at] - batch.outside[at];
            assert_eq!(sums.balance.cast_signed(), owed);
        }
    }
    settlement.flush()?;
    Ok(NettingReport {
        traders,
        batches,
        cut: Spread::of(cuts),
        leaves: Spread::of(leaves),
        trees: Spread::of(trees),
    })
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Settlement.
    #[error(transparent)]
    Settlement(#[from] SettlementError),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::StoreError),
    /// Too many or too few accounts.
    #[error(transparent)]
    Venue(#[from] crate::VenueError),
    /// More traders than a tree has leaves.
    #[error(transparent)]
    Tree(#[from] ring0_channels::tree::TreeError),
}
