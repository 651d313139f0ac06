//! This crate as a reader.

use ring0_itch::binary_file::Messages;
use ring0_itch::itch::Message;
use ring0_itch::{Text, U16, U32, U64};
use serde_json::{Map, Value};

/// A field as JSON.
trait Shown {
    fn shown(&self) -> Value;
}

macro_rules! numbers {
    ($($type:ty),+) => {$( impl Shown for $type { fn shown(&self) -> Value { self.get().into() } } )+};
}
numbers!(U16, U32, U64);

impl Shown for u8 {
    fn shown(&self) -> Value {
        char::from(*self).to_string().into()
    }
}

impl<const N: usize> Shown for Text<N> {
    fn shown(&self) -> Value {
        String::from_utf8_lossy(&self.0).into()
    }
}

macro_rules! read {
    ($message:expr, $($name:ident { $($field:ident),* })+) => {
        match $message {
            $(
                Message::$name(message) => {
                    let header = &message.header;
                    let mut fields = Map::new();
                    fields.insert("letter".into(), header.letter.shown());
                    fields.insert("locate".into(), header.locate.shown());
                    fields.insert("tracking".into(), header.tracking.shown());
                    fields.insert("timestamp".into(), header.timestamp.nanos().into());
                    $( fields.insert(stringify!($field).into(), message.$field.shown()); )*
                    fields
                }
            )+
            other => panic!("{other:?} was not sent"),
        }
    };
}

/// Reads a BinaryFILE.
pub(crate) fn read(bytes: &[u8]) -> Vec<Map<String, Value>> {
    Messages::new(bytes)
        .map(|bytes| {
            read!(Message::read(bytes.unwrap()).unwrap(),
                SystemEvent { event_code }
                StockDirectory {
                    stock, market_category, financial_status_indicator, round_lot_size, round_lots_only,
                    issue_classification, issue_sub_type, authenticity, short_sale_threshold_indicator, ipo_flag,
                    luld_reference_price_tier, etp_flag, etp_leverage_factor, inverse_indicator
                }
                TradingAction { stock, trading_state, reserved, reason }
                Imbalance {
                    paired_shares, imbalance_shares, direction, stock, far_price, near_price, reference_price,
                    cross_type, price_variation
                }
                AuctionCollar { stock, reference_price, upper_price, lower_price, extension }
                AddOrder { order_reference, side, shares, stock, price }
                AddOrderAttributed { order_reference, side, shares, stock, price, attribution }
                OrderExecuted { order_reference, executed_shares, match_number }
                OrderExecutedWithPrice { order_reference, executed_shares, match_number, printable, execution_price }
                OrderCancel { order_reference, cancelled_shares }
                OrderDelete { order_reference }
                OrderReplace { original_order_reference, new_order_reference, shares, price }
                Trade { order_reference, side, shares, stock, price, match_number }
                CrossTrade { shares, stock, cross_price, match_number, cross_type }
                BrokenTrade { match_number }
            )
        })
        .collect()
}
