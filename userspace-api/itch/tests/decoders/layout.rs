//! The reference's table of the messages that we publish, and random messages made from it alone.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Map, Value};

/// What a field may hold.
#[derive(Clone, Copy)]
enum Kind {
    /// An unsigned number below 2 to this power.
    Number(u32),
    /// Letters, padded with spaces on the right.
    Text,
    /// One of these codes.
    Code(&'static [&'static str]),
}
use Kind::{Code, Number, Text};

/// Offset, bytes, name, values.
type Field = (usize, usize, &'static str, Kind);

/// Every message begins so.
const COMMON: [Field; 3] = [
    (1, 2, "locate", Number(16)),
    (3, 2, "tracking", Number(16)),
    (5, 6, "timestamp", Number(48)),
];

const STOCK: fn(usize) -> Field = |at| (at, 8, "stock", Text);
const SIDE: Kind = Code(&["B", "S"]);
const YES_NO: Kind = Code(&["Y", "N"]);
const YES_NO_BLANK: Kind = Code(&["Y", "N", " "]);
/// Price(4): 200,000.0000 is the highest that the specification allows.
const PRICE: Kind = Number(30);

/// Letter, bytes and fields of what we publish, by the reference.
fn table() -> Vec<(u8, usize, Vec<Field>)> {
    let order = (11, 8, "order_reference", Number(64));
    vec![
        // `C` ends a day, and some readers stop there: it is sent once, at the end.
        (
            b'S',
            12,
            vec![(11, 1, "event_code", Code(&["O", "S", "Q", "M", "E"]))],
        ),
        (
            b'R',
            39,
            vec![
                STOCK(11),
                (
                    19,
                    1,
                    "market_category",
                    Code(&["Q", "G", "S", "N", "A", "P", "Z", "V", " "]),
                ),
                (
                    20,
                    1,
                    "financial_status_indicator",
                    Code(&["N", "D", "E", "Q", "S", "G", "H", "J", "K", "C", " "]),
                ),
                (21, 4, "round_lot_size", Number(32)),
                (25, 1, "round_lots_only", YES_NO),
                (
                    26,
                    1,
                    "issue_classification",
                    Code(&[
                        "A", "B", "C", "F", "I", "L", "N", "O", "P", "Q", "R", "S", "T", "U", "V",
                        "W",
                    ]),
                ),
                (
                    27,
                    2,
                    "issue_sub_type",
                    Code(&["A ", "AI", "B ", "C ", "CB", "CF", "CT", "Z "]),
                ),
                (29, 1, "authenticity", Code(&["P", "T"])),
                (30, 1, "short_sale_threshold_indicator", YES_NO_BLANK),
                (31, 1, "ipo_flag", YES_NO_BLANK),
                (32, 1, "luld_reference_price_tier", Code(&["1", "2", " "])),
                (33, 1, "etp_flag", YES_NO_BLANK),
                (34, 4, "etp_leverage_factor", Number(32)),
                (38, 1, "inverse_indicator", YES_NO),
            ],
        ),
        (
            b'H',
            25,
            vec![
                STOCK(11),
                (19, 1, "trading_state", Code(&["H", "P", "Q", "T"])),
                (20, 1, "reserved", Code(&[" "])),
                (21, 4, "reason", Code(&["T1  ", "LUDP", "IPO1", "    "])),
            ],
        ),
        (
            b'I',
            50,
            vec![
                (11, 8, "paired_shares", Number(64)),
                (19, 8, "imbalance_shares", Number(64)),
                (27, 1, "direction", Code(&["B", "S", "N", "O"])),
                STOCK(28),
                (36, 4, "far_price", PRICE),
                (40, 4, "near_price", PRICE),
                (44, 4, "reference_price", PRICE),
                (48, 1, "cross_type", Code(&["O", "C", "H"])),
                (
                    49,
                    1,
                    "price_variation",
                    Code(&["L", "1", "2", "9", "A", "B", "C", " "]),
                ),
            ],
        ),
        (
            b'J',
            35,
            vec![
                STOCK(11),
                (19, 4, "reference_price", PRICE),
                (23, 4, "upper_price", PRICE),
                (27, 4, "lower_price", PRICE),
                (31, 4, "extension", Number(32)),
            ],
        ),
        (
            b'A',
            36,
            vec![
                order,
                (19, 1, "side", SIDE),
                (20, 4, "shares", Number(32)),
                STOCK(24),
                (32, 4, "price", PRICE),
            ],
        ),
        (
            b'F',
            40,
            vec![
                order,
                (19, 1, "side", SIDE),
                (20, 4, "shares", Number(32)),
                STOCK(24),
                (32, 4, "price", PRICE),
                (36, 4, "attribution", Text),
            ],
        ),
        (
            b'E',
            31,
            vec![
                order,
                (19, 4, "executed_shares", Number(32)),
                (23, 8, "match_number", Number(64)),
            ],
        ),
        (
            b'C',
            36,
            vec![
                order,
                (19, 4, "executed_shares", Number(32)),
                (23, 8, "match_number", Number(64)),
                (31, 1, "printable", YES_NO),
                (32, 4, "execution_price", PRICE),
            ],
        ),
        (
            b'X',
            23,
            vec![order, (19, 4, "cancelled_shares", Number(32))],
        ),
        (b'D', 19, vec![order]),
        (
            b'U',
            35,
            vec![
                (11, 8, "original_order_reference", Number(64)),
                (19, 8, "new_order_reference", Number(64)),
                (27, 4, "shares", Number(32)),
                (31, 4, "price", PRICE),
            ],
        ),
        (
            b'P',
            44,
            vec![
                order,
                (19, 1, "side", SIDE),
                (20, 4, "shares", Number(32)),
                STOCK(24),
                (32, 4, "price", PRICE),
                (36, 8, "match_number", Number(64)),
            ],
        ),
        (
            b'Q',
            40,
            vec![
                (11, 8, "shares", Number(64)),
                STOCK(19),
                (27, 4, "cross_price", PRICE),
                (31, 8, "match_number", Number(64)),
                (39, 1, "cross_type", Code(&["O", "C", "H"])),
            ],
        ),
        (b'B', 19, vec![(11, 8, "match_number", Number(64))]),
    ]
}

/// A message and what it says.
pub(crate) struct Sent {
    /// On the wire.
    pub(crate) bytes: Vec<u8>,
    /// Its fields by name, the letter among them: numbers, or text with its padding.
    pub(crate) fields: Map<String, Value>,
}

impl Sent {
    /// Its letter.
    pub(crate) fn letter(&self) -> char {
        char::from(self.bytes[0])
    }
}

/// So many messages of each type, shuffled, then the day's end.
pub(crate) fn random_messages(random: &mut StdRng, each: usize) -> Vec<Sent> {
    let table = table();
    let mut sent = Vec::new();
    for (letter, bytes, fields) in &table {
        sent.extend((0..each).map(|_| make(random, *letter, *bytes, fields)));
    }
    sent.shuffle(random);
    let end: [Field; 1] = [(11, 1, "event_code", Code(&["C"]))];
    sent.push(make(random, b'S', 12, &end));
    sent
}

fn make(random: &mut StdRng, letter: u8, length: usize, fields: &[Field]) -> Sent {
    let mut sent = Sent {
        bytes: vec![0; length],
        fields: Map::new(),
    };
    sent.bytes[0] = letter;
    sent.fields
        .insert("letter".into(), char::from(letter).to_string().into());
    let mut filled = 1;
    for &(at, bytes, name, kind) in COMMON.iter().chain(fields) {
        let value = match kind {
            Number(bits) => {
                let number: u64 = random.random::<u64>() >> (64 - bits);
                sent.bytes[at..at + bytes].copy_from_slice(&number.to_be_bytes()[8 - bytes..]);
                number.into()
            }
            Text => {
                let letters = random.random_range(1..=bytes);
                let mut text: String = (0..letters)
                    .map(|_| random.random_range('A'..='Z'))
                    .collect();
                text.push_str(&" ".repeat(bytes - letters));
                sent.bytes[at..at + bytes].copy_from_slice(text.as_bytes());
                text.into()
            }
            Code(codes) => {
                let code = *codes.choose(random).expect("every field has codes");
                sent.bytes[at..at + bytes].copy_from_slice(code.as_bytes());
                code.into()
            }
        };
        sent.fields.insert(name.into(), value);
        filled += bytes;
    }
    assert_eq!(
        filled,
        length,
        "the table covers every byte of {}",
        char::from(letter)
    );
    sent
}
