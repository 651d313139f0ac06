//! A LOBSTRM1 stream: order flow in one file, with the trades that it must make.
//!
//! What is always true of a [`Stream`]: its records are as many as the header says; each has a
//! known op and side, a symbol below the header's count, a price between `tick_base` and
//! `tick_top`, a quantity that is not zero; new orders use every number from 1 to `max_order_id`
//! once, and a cancel names one of an earlier record. Whether a cancelled order still lives, and
//! whether an add crosses, only a book can tell: a ring under test does, by its checksum.
//!
//! Layout: `docs/streams.md#lobstrm1`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, TryFromBytes, Unaligned};

use crate::Side;

mod book;
mod crash;
mod derived;
mod generator;

pub use crash::{CRASH_TICK_BASE, CRASH_TICKS, generate_crash};
pub use derived::{DeriveError, Derived};
pub use generator::{CENTER_TICKS, LADDER_TICKS, RECORDS_MAX, TICK_BASE, generate};

/// First bytes of a stream.
pub const MAGIC: [u8; 8] = *b"LOBSTRM1";
/// Version of the layout that this crate reads and writes.
pub const VERSION: u32 = 1;
/// Most symbols that a stream can have.
pub const SYMBOLS_MAX: u32 = 256;
/// Bytes of [`Header`].
pub const HEADER_BYTES: usize = 128;
/// Bytes of [`Record`].
pub const RECORD_BYTES: usize = 32;

/// Head of the file. All figures that begin with `exp` are of the whole stream, prefill included.
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// [`RECORD_BYTES`].
    pub record_bytes: U32,
    /// Records in the file, prefill included.
    pub records: U64,
    /// Records at the start that build the books and are not timed.
    pub prefill: U64,
    /// Symbols, 1 to [`SYMBOLS_MAX`].
    pub symbols: U32,
    /// Lowest price of the ladder, in ticks.
    pub tick_base: U32,
    /// New orders in the stream; their numbers are 1 to this.
    pub max_order_id: U64,
    /// Seed of the generator.
    pub seed: U64,
    /// Trades to expect.
    pub exp_trades: U64,
    /// Quantity traded.
    pub exp_qty: U64,
    /// [`Checksum`] of the trades.
    pub exp_checksum: U64,
    /// Orders that rest at the end.
    pub exp_live: U64,
    /// Most orders that rested at once.
    pub peak_live: U64,
    /// Highest price that a record uses, in ticks.
    pub tick_top: U32,
    /// Zero.
    pub reserved: [u8; 28],
}
const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

impl Header {
    /// The trades that a right engine makes of this stream.
    #[must_use]
    pub fn expected(&self) -> Trades {
        Trades {
            count: self.exp_trades.get(),
            qty: self.exp_qty.get(),
            checksum: self.exp_checksum.get(),
        }
    }
}

/// What a record asks for.
#[derive(
    Clone,
    Copy,
    Debug,
    Eq,
    Hash,
    Immutable,
    IntoBytes,
    KnownLayout,
    PartialEq,
    TryFromBytes,
    Unaligned,
)]
#[repr(u8)]
pub enum Op {
    /// A limit order that rests whole: it does not cross.
    Add = 0,
    /// Cancel of a live order; price, quantity and side echo what it is now.
    Cancel = 1,
    /// A limit order that is marketable on entry; what is left over rests.
    Cross = 2,
}

/// One message of the flow.
#[derive(
    Clone, Copy, Debug, Eq, Immutable, IntoBytes, KnownLayout, PartialEq, TryFromBytes, Unaligned,
)]
#[repr(C)]
pub struct Record {
    /// Number of the order, over all symbols.
    pub order_id: U64,
    /// Limit price; one tick is a cent.
    pub price_ticks: U32,
    /// Quantity.
    pub qty: U32,
    /// Symbol, from 0.
    pub symbol: U16,
    /// What to do.
    pub op: Op,
    /// Side of the order.
    pub side: Side,
    /// Zero.
    pub flags: U32,
    /// Nanoseconds since midnight.
    pub ts_ns: U64,
}
const _: () = assert!(size_of::<Record>() == RECORD_BYTES);

/// Place of `op` in a record.
const OP_OFFSET: usize = 18;
/// Place of `side` in a record.
const SIDE_OFFSET: usize = 19;

/// Count, quantity and checksum of trades: equal figures mean equal trades in equal order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trades {
    /// Trades.
    pub count: u64,
    /// Quantity traded.
    pub qty: u64,
    /// The fold of [`Checksum`].
    pub checksum: u64,
}

/// Fold over trades in the order in which they happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checksum(Trades);

impl Checksum {
    /// Of no trade.
    #[must_use]
    pub const fn new() -> Self {
        Self(Trades {
            count: 0,
            qty: 0,
            checksum: 0xcbf2_9ce4_8422_2325,
        })
    }

    /// Adds one trade: numbers of the resting and of the incoming order, the resting one's price.
    #[inline]
    pub const fn trade(&mut self, maker: u64, taker: u64, price_ticks: u32, qty: u32) {
        let x = maker.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ taker.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
            ^ (price_ticks as u64).wrapping_mul(0x1656_67B1_9E37_79F9)
            ^ qty as u64;
        self.0.checksum = (self.0.checksum ^ x).wrapping_mul(0x0000_0100_0000_01b3);
        self.0.count += 1;
        self.0.qty += qty as u64;
    }

    /// What came together so far.
    #[must_use]
    pub const fn trades(&self) -> Trades {
        self.0
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}

/// A stream cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {source}; `ring0 gen` writes a stream", path.display())]
    Read {
        /// The stream.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be created or written.
    #[error("{}: cannot be written: {source}; choose a place with room that you may write to", path.display())]
    Write {
        /// The stream.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is shorter than a header.
    #[error("{}: {bytes} bytes, less than a header of {HEADER_BYTES}; fetch or generate the stream anew", path.display())]
    NoHeader {
        /// The stream.
        path: PathBuf,
        /// Length of the file.
        bytes: u64,
    },
    /// A header field has a value that cannot be.
    #[error("{}: byte {offset}: {field} is {found}, must be {wanted}; it is another kind of file or a damaged one, generate the stream anew", path.display())]
    Header {
        /// The stream.
        path: PathBuf,
        /// Place in the file.
        offset: u64,
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        wanted: String,
    },
    /// The records do not fill the file.
    #[error("{}: byte 16: {records} records need {needed} bytes, the file has {bytes}; it was cut or added to, fetch or generate it anew", path.display())]
    Length {
        /// The stream.
        path: PathBuf,
        /// Records by the header.
        records: u64,
        /// Bytes that the header and so many records fill.
        needed: u128,
        /// Length of the file.
        bytes: u64,
    },
    /// A field of a record has a value that cannot be.
    #[error("{}: record {record}, byte {offset}: {field} is {found}, must be {wanted}; the file is damaged, generate the stream anew", path.display())]
    Record {
        /// The stream.
        path: PathBuf,
        /// Record, from 0.
        record: u64,
        /// Place of the field in the file.
        offset: u64,
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What it may be.
        wanted: String,
    },
}

/// A stream in memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stream {
    header: Header,
    records: Vec<Record>,
}

impl Stream {
    /// Reads and checks a stream, whole.
    ///
    /// # Errors
    /// The file cannot be read, or it is not a stream as the module says.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, StreamError> {
        let path = path.as_ref();
        let failed = |source| StreamError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Self::parse(path, file, bytes)
    }

    /// Reads a stream of `bytes` bytes; `path` is for errors.
    fn parse(path: &Path, mut file: impl Read, bytes: u64) -> Result<Self, StreamError> {
        let failed = |source| StreamError::Read {
            path: path.to_owned(),
            source,
        };
        if bytes < HEADER_BYTES as u64 {
            return Err(StreamError::NoHeader {
                path: path.to_owned(),
                bytes,
            });
        }
        let mut header = Header::new_zeroed();
        file.read_exact(header.as_mut_bytes()).map_err(failed)?;
        check_header(path, &header, bytes)?;

        let mut check = RecordCheck::new(path, &header);
        let mut records = Vec::with_capacity(check.records);
        // 32 KiB of records at a time: the file is never in memory twice.
        let mut chunk = [0; 1024 * RECORD_BYTES];
        while records.len() < check.records {
            let now = (check.records - records.len()).min(chunk.len() / RECORD_BYTES);
            let chunk = &mut chunk[..now * RECORD_BYTES];
            file.read_exact(chunk).map_err(failed)?;
            for bytes in chunk.chunks_exact(RECORD_BYTES) {
                records.push(check.record(bytes)?);
            }
        }
        check.end()?;
        Ok(Self { header, records })
    }

    /// Writes the stream; a file that is there is replaced.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), StreamError> {
        let path = path.as_ref();
        let write = || {
            let mut file = BufWriter::new(File::create(path)?);
            file.write_all(self.header.as_bytes())?;
            file.write_all(self.records.as_bytes())?;
            file.flush()
        };
        write().map_err(|source| StreamError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Head of the stream.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// All records, prefill first.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records that build the books; not timed.
    #[must_use]
    pub fn prefill(&self) -> &[Record] {
        self.split().0
    }

    /// The records after the prefill.
    #[must_use]
    pub fn timed(&self) -> &[Record] {
        self.split().1
    }

    fn split(&self) -> (&[Record], &[Record]) {
        let prefill = self.header.prefill.get();
        self.records
            .split_at(usize::try_from(prefill).expect("prefill is part of the records"))
    }
}

fn check_header(path: &Path, header: &Header, bytes: u64) -> Result<(), StreamError> {
    let wrong = |offset, field, found: String, wanted: String| {
        Err(StreamError::Header {
            path: path.to_owned(),
            offset,
            field,
            found,
            wanted,
        })
    };
    if header.magic != MAGIC {
        let found = format!("\"{}\"", header.magic.escape_ascii());
        return wrong(0, "magic", found, "\"LOBSTRM1\"".to_owned());
    }
    if header.version != VERSION {
        return wrong(
            8,
            "version",
            header.version.to_string(),
            VERSION.to_string(),
        );
    }
    if header.record_bytes.get() as usize != RECORD_BYTES {
        return wrong(
            12,
            "rec_size",
            header.record_bytes.to_string(),
            RECORD_BYTES.to_string(),
        );
    }
    let records = header.records.get();
    let needed = HEADER_BYTES as u128 + u128::from(records) * RECORD_BYTES as u128;
    if needed != u128::from(bytes) {
        return Err(StreamError::Length {
            path: path.to_owned(),
            records,
            needed,
            bytes,
        });
    }
    if header.prefill.get() > records {
        let wanted = format!("at most {records}, all records");
        return wrong(24, "prefill", header.prefill.to_string(), wanted);
    }
    if !(1..=SYMBOLS_MAX).contains(&header.symbols.get()) {
        return wrong(
            32,
            "nsym",
            header.symbols.to_string(),
            format!("1 to {SYMBOLS_MAX}"),
        );
    }
    if header.tick_base == 0 {
        return wrong(36, "tick_base", "0".to_owned(), "1 or more".to_owned());
    }
    if header.max_order_id.get() > records {
        let wanted = format!("at most {records}, one per record");
        return wrong(40, "max_order_id", header.max_order_id.to_string(), wanted);
    }
    // A stream without orders uses no price and has no highest one.
    if header.tick_top < header.tick_base && header.max_order_id != 0 {
        let wanted = format!("at least tick_base, {}", header.tick_base);
        return wrong(96, "tick_top", header.tick_top.to_string(), wanted);
    }
    if let Some(at) = header.reserved.iter().position(|&byte| byte != 0) {
        let found = header.reserved[at].to_string();
        return wrong(100 + at as u64, "a reserved byte", found, "0".to_owned());
    }
    Ok(())
}

/// Checks records one after the other.
struct RecordCheck<'a> {
    path: &'a Path,
    header: &'a Header,
    /// Records that there must be.
    records: usize,
    /// Records checked.
    done: u64,
    /// New orders seen.
    orders: u64,
    /// One bit per order number: a new order had it.
    seen: Vec<u64>,
}

impl<'a> RecordCheck<'a> {
    /// The counts of `header` fit the file, so memory taken for them is bounded by its length.
    fn new(path: &'a Path, header: &'a Header) -> Self {
        let records = usize::try_from(header.records.get()).expect("a file that fits memory");
        let words = usize::try_from(header.max_order_id.get() / 64).expect("at most `records`") + 1;
        Self {
            path,
            header,
            records,
            done: 0,
            orders: 0,
            seen: vec![0; words],
        }
    }

    fn record(&mut self, bytes: &[u8]) -> Result<Record, StreamError> {
        let Ok(record) = Record::try_read_from_bytes(bytes) else {
            let (op, side) = (bytes[OP_OFFSET], bytes[SIDE_OFFSET]);
            if op > Op::Cross as u8 {
                return Err(self.wrong(OP_OFFSET, "op", op.into(), "0, 1 or 2"));
            }
            return Err(self.wrong(SIDE_OFFSET, "side", side.into(), "0 or 1"));
        };
        let header = self.header;
        let id = record.order_id.get();
        if !(1..=header.max_order_id.get()).contains(&id) {
            let wanted = format!("1 to {}, max_order_id", header.max_order_id);
            return Err(self.wrong(0, "order_id", id, &wanted));
        }
        let prices = header.tick_base.get()..=header.tick_top.get();
        if !prices.contains(&record.price_ticks.get()) {
            let wanted = format!(
                "{} to {}, tick_base to tick_top",
                prices.start(),
                prices.end()
            );
            return Err(self.wrong(8, "price", record.price_ticks.get().into(), &wanted));
        }
        if record.qty == 0 {
            return Err(self.wrong(12, "qty", 0, "1 or more"));
        }
        if u32::from(record.symbol.get()) >= header.symbols.get() {
            let wanted = format!("below {}, nsym", header.symbols);
            return Err(self.wrong(16, "symbol", record.symbol.get().into(), &wanted));
        }
        if record.flags != 0 {
            return Err(self.wrong(20, "flags", record.flags.get().into(), "0"));
        }
        let word = usize::try_from(id / 64).expect("at most max_order_id");
        let seen = self.seen[word] >> (id % 64) & 1 == 1;
        match (record.op, seen) {
            (Op::Cancel, true) => {}
            (Op::Cancel, false) => {
                return Err(self.wrong(0, "order_id of a cancel", id, "of an earlier order"));
            }
            (Op::Add | Op::Cross, true) => {
                return Err(self.wrong(0, "order_id", id, "one that no earlier order has"));
            }
            (Op::Add | Op::Cross, false) => {
                self.seen[word] |= 1 << (id % 64);
                self.orders += 1;
            }
        }
        self.done += 1;
        Ok(record)
    }

    fn end(&self) -> Result<(), StreamError> {
        if self.orders == self.header.max_order_id.get() {
            return Ok(());
        }
        Err(StreamError::Header {
            path: self.path.to_owned(),
            offset: 40,
            field: "max_order_id",
            found: self.header.max_order_id.to_string(),
            wanted: format!("{}, the number of adds and crosses", self.orders),
        })
    }

    /// Of the record that is looked at.
    fn wrong(&self, at: usize, field: &'static str, found: u64, wanted: &str) -> StreamError {
        let offset = HEADER_BYTES as u64 + self.done * RECORD_BYTES as u64 + at as u64;
        let (path, wanted) = (self.path.to_owned(), wanted.to_owned());
        StreamError::Record {
            path,
            record: self.done,
            offset,
            field,
            found,
            wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn fields_stand_where_the_layout_says() {
        assert_eq!(offset_of!(Header, symbols), 32);
        assert_eq!(offset_of!(Header, max_order_id), 40);
        assert_eq!(offset_of!(Header, exp_trades), 56);
        assert_eq!(offset_of!(Header, exp_checksum), 72);
        assert_eq!(offset_of!(Header, peak_live), 88);
        assert_eq!(offset_of!(Header, reserved), 100);
        assert_eq!(offset_of!(Record, price_ticks), 8);
        assert_eq!(offset_of!(Record, symbol), 16);
        assert_eq!(offset_of!(Record, op), OP_OFFSET);
        assert_eq!(offset_of!(Record, side), SIDE_OFFSET);
        assert_eq!(offset_of!(Record, ts_ns), 24);
    }

    #[test]
    fn numbers_are_little_endian() {
        let header = *generate(0x0102, 40, 10, 3).header();
        let bytes = header.as_bytes();
        assert_eq!(&bytes[..16], b"LOBSTRM1\x01\0\0\0\x20\0\0\0");
        assert_eq!(bytes[16..24], 50u64.to_le_bytes());
        assert_eq!(bytes[24..32], 10u64.to_le_bytes());
        assert_eq!(bytes[32..36], 3u32.to_le_bytes());
        assert_eq!(bytes[36..40], 97_952u32.to_le_bytes());
        assert_eq!(bytes[48..56], [2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn checksum_is_of_the_trades_in_order() {
        assert_eq!(Checksum::new().trades().checksum, 0xcbf29ce484222325);
        let x = 0x9E3779B97F4A7C15u64
            ^ 0xC2B2AE3D27D4EB4Fu64.wrapping_mul(2)
            ^ 0x165667B19E3779F9u64.wrapping_mul(100_000)
            ^ 300;
        let mut sum = Checksum::new();
        sum.trade(1, 2, 100_000, 300);
        let checksum = (0xcbf29ce484222325 ^ x).wrapping_mul(0x100000001b3);
        assert_eq!(
            sum.trades(),
            Trades {
                count: 1,
                qty: 300,
                checksum
            }
        );

        let of = |ids: [u64; 2]| {
            let mut sum = Checksum::new();
            for id in ids {
                sum.trade(id, 9, 100_000, 1);
            }
            sum.trades().checksum
        };
        assert_ne!(of([1, 2]), of([2, 1]));
    }

    #[test]
    fn a_stream_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("stream");
        for (messages, prefill, symbols) in [(0, 0, 1), (1, 0, 256), (0, 7, 2), (5_000, 700, 64)] {
            let stream = generate(7, messages, prefill, symbols);
            stream.write(&path).expect("written");
            let read = Stream::read(&path).expect("as written");
            assert_eq!(read, stream);
            assert_eq!(read.prefill().len() as u64, prefill);
            assert_eq!(read.timed().len() as u64, messages);
        }
    }

    /// The error of a good stream after `spoil`.
    fn check(spoil: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("spoiled");
        generate(3, 200, 20, 4).write(&path).expect("written");
        let mut bytes = fs::read(&path).expect("read");
        spoil(&mut bytes);
        fs::write(&path, bytes).expect("written");
        let error = Stream::read(&path).expect_err(expected).to_string();
        assert!(
            error.contains("spoiled: ") && error.contains(expected),
            "{error}"
        );
        assert!(error.contains("; "), "names no cure: {error}");
    }

    #[test]
    fn a_damaged_header_is_named() {
        check(|b| b.clear(), "0 bytes, less than a header");
        check(|b| b.truncate(127), "127 bytes, less than a header");
        check(|b| b[0] = 0, "byte 0: magic is \"\\x00OBSTRM1\"");
        check(|b| b[8] = 2, "byte 8: version is 2, must be 1");
        check(|b| b[12] = 31, "byte 12: rec_size is 31, must be 32");
        check(
            |b| b[16] += 1,
            "byte 16: 221 records need 7200 bytes, the file has 7168",
        );
        check(
            |b| b[16..24].fill(0xFF),
            "byte 16: 18446744073709551615 records",
        );
        check(|b| b.truncate(7_000), "the file has 7000");
        check(|b| b.push(0), "the file has 7169");
        check(
            |b| b[24] = 221,
            "byte 24: prefill is 221, must be at most 220",
        );
        check(|b| b[32] = 0, "byte 32: nsym is 0, must be 1 to 256");
        check(
            |b| b[32..34].copy_from_slice(&[1, 1]),
            "byte 32: nsym is 257",
        );
        check(|b| b[36..40].fill(0), "byte 36: tick_base is 0");
        check(|b| b[40..48].fill(0xFF), "byte 40: max_order_id");
        check(|b| b[40] += 1, "the number of adds and crosses");
        check(|b| b[96..100].fill(0), "byte 96: tick_top is 0");
        check(|b| b[127] = 1, "byte 127: a reserved byte is 1");
    }

    #[test]
    fn a_damaged_record_is_named() {
        const AT: usize = HEADER_BYTES + RECORD_BYTES; // Record 1, an add of the prefill.
        check(
            |b| b[AT + 18] = 3,
            "record 1, byte 178: op is 3, must be 0, 1 or 2",
        );
        check(
            |b| b[AT + 19] = 2,
            "record 1, byte 179: side is 2, must be 0 or 1",
        );
        check(
            |b| b[AT + 16] = 4,
            "record 1, byte 176: symbol is 4, must be below 4",
        );
        check(
            |b| b[AT..AT + 8].fill(0),
            "record 1, byte 160: order_id is 0",
        );
        check(|b| b[AT + 7] = 1, "record 1, byte 160: order_id is");
        check(
            |b| b[AT] = 1,
            "record 1, byte 160: order_id is 1, must be one that no earlier",
        );
        check(
            |b| b[AT + 18] = 1,
            "record 1, byte 160: order_id of a cancel is 2",
        );
        check(
            |b| b[AT + 8..AT + 12].fill(0),
            "record 1, byte 168: price is 0",
        );
        check(
            |b| b[AT + 12..AT + 16].fill(0),
            "record 1, byte 172: qty is 0",
        );
        check(|b| b[AT + 20] = 1, "record 1, byte 180: flags is 1");
    }

    #[test]
    fn no_damage_panics() {
        let stream = generate(11, 60, 10, 2);
        let mut good = stream.header().as_bytes().to_vec();
        good.extend(stream.records().as_bytes());
        let parse = |bytes: &[u8]| Stream::parse(Path::new("-"), bytes, bytes.len() as u64);
        assert_eq!(parse(&good).expect("undamaged"), stream);
        for at in 0..good.len() {
            for value in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = parse(&bytes);
            }
        }
        for len in 0..good.len() {
            assert!(
                parse(&good[..len]).is_err(),
                "{len} bytes of {}",
                good.len()
            );
        }
        // A file that shrinks while it is read is an error, too.
        assert!(Stream::parse(Path::new("-"), &good[..500], good.len() as u64).is_err());
    }

    #[test]
    fn a_missing_file_and_an_unwritable_place_are_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let error = Stream::read(dir.path().join("none"))
            .expect_err("missing")
            .to_string();
        assert!(
            error.contains("none: cannot be read") && error.contains("ring0 gen"),
            "{error}"
        );
        let error = generate(1, 1, 1, 1)
            .write(dir.path())
            .expect_err("a directory")
            .to_string();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
