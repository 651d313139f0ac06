//! The crates itch5 and itchy as readers. A field that they give as a name of their own becomes `{"name": …}`.

use ::itch5 as i5;
use ::itchy as iy;
use serde_json::{Map, Value, json};
use std::fmt::Debug;
use std::ops::ControlFlow;

/// What itch5 0.1.5 cannot give: it reads the reason of `H` by a table that depends on the state, so that one code has several names.
pub(crate) const ITCH5_WITHOUT: &[(char, &str)] = &[('H', "reason")];

/// What itchy 0.3.4 cannot give: it skips the reserved byte of `H`.
pub(crate) const ITCHY_WITHOUT: &[(char, &str)] = &[('H', "reserved")];

fn name(of: impl Debug) -> Value {
    json!({ "name": format!("{of:?}") })
}

fn letter(byte: u8) -> Value {
    char::from(byte).to_string().into()
}

/// itch5's only code without a printable name.
fn authenticity(of: &i5::messages::Authenticity) -> Value {
    use i5::messages::Authenticity;
    match of {
        Authenticity::LiveProduction => "P".into(),
        Authenticity::Test => "T".into(),
        Authenticity::Unknown(byte) => letter(*byte),
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} has no fields"),
    }
}

/// itchy, over a whole BinaryFILE.
pub(crate) fn itchy(bytes: &[u8]) -> Vec<Map<String, Value>> {
    iy::MessageStream::from_reader(bytes)
        .map(|message| {
            let message = message.expect("itchy reads every type");
            let mut read = fields(itchy_body(message.body));
            read.insert("letter".into(), letter(message.tag));
            read.insert("locate".into(), message.stock_locate.into());
            read.insert("tracking".into(), message.tracking_number.into());
            read.insert("timestamp".into(), message.timestamp.into());
            read
        })
        .collect()
}

fn itchy_body(body: iy::Body) -> Value {
    use iy::Body;
    match body {
        Body::SystemEvent { event } => json!({ "event_code": name(event) }),
        Body::StockDirectory(m) => json!({
            "stock": m.stock.as_str(),
            "market_category": name(m.market_category),
            "financial_status_indicator": name(m.financial_status),
            "round_lot_size": m.round_lot_size,
            "round_lots_only": name(m.round_lots_only),
            "issue_classification": name(m.issue_classification),
            "issue_sub_type": name(m.issue_subtype),
            "authenticity": name(m.authenticity),
            "short_sale_threshold_indicator": name(m.short_sale_threshold),
            "ipo_flag": name(m.ipo_flag),
            "luld_reference_price_tier": name(m.luld_ref_price_tier),
            "etp_flag": name(m.etp_flag),
            "etp_leverage_factor": m.etp_leverage_factor,
            "inverse_indicator": name(m.inverse_indicator),
        }),
        Body::TradingAction {
            stock,
            trading_state,
            reason,
        } => json!({
            "stock": stock.as_str(), "trading_state": name(trading_state), "reason": reason.as_str(),
        }),
        Body::Imbalance(m) => json!({
            "paired_shares": m.paired_shares,
            "imbalance_shares": m.imbalance_shares,
            "direction": name(m.imbalance_direction),
            "stock": m.stock.as_str(),
            "far_price": m.far_price.raw(),
            "near_price": m.near_price.raw(),
            "reference_price": m.current_ref_price.raw(),
            "cross_type": name(m.cross_type),
            "price_variation": m.price_variation_indicator.to_string(),
        }),
        Body::LULDAuctionCollar {
            stock,
            ref_price,
            upper_price,
            lower_price,
            extension,
        } => json!({
            "stock": stock.as_str(),
            "reference_price": ref_price.raw(),
            "upper_price": upper_price.raw(),
            "lower_price": lower_price.raw(),
            "extension": extension,
        }),
        Body::AddOrder(m) => json!({
            "order_reference": m.reference,
            "side": name(m.side),
            "shares": m.shares,
            "stock": m.stock.as_str(),
            "price": m.price.raw(),
            "attribution": m.mpid.map(|mpid| mpid.to_string()),
        }),
        Body::OrderExecuted {
            reference,
            executed,
            match_number,
        } => json!({
            "order_reference": reference, "executed_shares": executed, "match_number": match_number,
        }),
        Body::OrderExecutedWithPrice {
            reference,
            executed,
            match_number,
            printable,
            price,
        } => json!({
            "order_reference": reference,
            "executed_shares": executed,
            "match_number": match_number,
            "printable": name(printable),
            "execution_price": price.raw(),
        }),
        Body::OrderCancelled {
            reference,
            cancelled,
        } => json!({
            "order_reference": reference, "cancelled_shares": cancelled,
        }),
        Body::DeleteOrder { reference } => json!({ "order_reference": reference }),
        Body::ReplaceOrder(m) => json!({
            "original_order_reference": m.old_reference,
            "new_order_reference": m.new_reference,
            "shares": m.shares,
            "price": m.price.raw(),
        }),
        Body::NonCrossTrade(m) => json!({
            "order_reference": m.reference,
            "side": name(m.side),
            "shares": m.shares,
            "stock": m.stock.as_str(),
            "price": m.price.raw(),
            "match_number": m.match_number,
        }),
        Body::CrossTrade(m) => json!({
            "shares": m.shares,
            "stock": m.stock.as_str(),
            "cross_price": m.cross_price.raw(),
            "match_number": m.match_number,
            "cross_type": name(m.cross_type),
        }),
        Body::BrokenTrade { match_number } => json!({ "match_number": match_number }),
        other => panic!("{other:?} was not sent"),
    }
}

/// itch5, over a whole BinaryFILE.
pub(crate) fn itch5(bytes: &[u8]) -> Vec<Map<String, Value>> {
    let mut read = Itch5(Vec::new());
    i5::Parser::new(bytes)
        .parse_stream(&mut read)
        .expect("itch5 reads every type");
    read.0
}

struct Itch5(Vec<Map<String, Value>>);

macro_rules! handlers {
    ($($handler:ident($message:ident: $type:ident) $letter:literal => { $($field:literal: $value:expr),* $(,)? })+) => {
        impl i5::MessageHandler for Itch5 {
            $(
                fn $handler(&mut self, $message: &i5::messages::$type) -> ControlFlow<()> {
                    self.0.push(fields(json!({
                        "letter": $letter,
                        "locate": $message.stock_locate(),
                        "tracking": $message.tracking_number(),
                        "timestamp": $message.timestamp().to_u64(),
                        $( $field: $value, )*
                    })));
                    ControlFlow::Continue(())
                }
            )+
        }
    };
}

handlers! {
    on_system_event(m: SystemEvent) "S" => { "event_code": name(m.event_code()) }
    on_stock_directory(m: StockDirectory) "R" => {
        "stock": m.stock().as_str(),
        "market_category": name(m.market_category()),
        "financial_status_indicator": name(m.financial_status_indicator()),
        "round_lot_size": m.round_lot_size(),
        "round_lots_only": name(m.round_lots_only()),
        "issue_classification": name(m.issue_classification()),
        "issue_sub_type": name(m.issue_sub_type()),
        "authenticity": authenticity(&m.authenticity()),
        "short_sale_threshold_indicator": name(m.short_sale_threshold_indicator()),
        "ipo_flag": name(m.ipo_flag()),
        "luld_reference_price_tier": name(m.luld_reference_price_tier()),
        "etp_flag": name(m.etp_flag()),
        "etp_leverage_factor": m.etp_leverage_factor(),
        "inverse_indicator": name(m.inverse_indicator()),
    }
    on_stock_trading_action(m: StockTradingAction) "H" => {
        "stock": m.stock().as_str(),
        "trading_state": name(m.trading_state()),
        "reserved": letter(m.reserved()),
    }
    on_net_order_imbalance_indicator(m: NetOrderImbalanceIndicator) "I" => {
        "paired_shares": m.paired_shares(),
        "imbalance_shares": m.imbalance_shares(),
        "direction": name(m.imbalance_direction()),
        "stock": m.stock().as_str(),
        "far_price": m.far_price().into_u32(),
        "near_price": m.near_price().into_u32(),
        "reference_price": m.current_reference_price().into_u32(),
        "cross_type": name(m.cross_type()),
        "price_variation": name(m.price_variation_indicator()),
    }
    on_luld_auction_collar(m: LULDAuctionCollar) "J" => {
        "stock": m.stock().as_str(),
        "reference_price": m.auction_collar_reference_price().into_u32(),
        "upper_price": m.upper_auction_collar_price().into_u32(),
        "lower_price": m.lower_auction_collar_price().into_u32(),
        // itch5 gives the count the type of a price; its number is right.
        "extension": m.auction_collar_extension().into_u32(),
    }
    on_add_order_no_mpid_attribution(m: AddOrderNoMPIDAttribution) "A" => {
        "order_reference": m.order_reference_number(),
        "side": name(m.buy_sell_indicator()),
        "shares": m.shares(),
        "stock": m.stock().as_str(),
        "price": m.price().into_u32(),
    }
    on_add_order_with_mpid_attribution(m: AddOrderWithMPIDAttribution) "F" => {
        "order_reference": m.order_reference_number(),
        "side": name(m.buy_sell_indicator()),
        "shares": m.shares(),
        "stock": m.stock().as_str(),
        "price": m.price().into_u32(),
        "attribution": String::from_utf8_lossy(m.attribution()),
    }
    on_order_executed(m: OrderExecuted) "E" => {
        "order_reference": m.order_reference_number(),
        "executed_shares": m.executed_shares(),
        "match_number": m.match_number(),
    }
    on_order_executed_with_price(m: OrderExecutedWithPrice) "C" => {
        "order_reference": m.order_reference_number(),
        "executed_shares": m.executed_shares(),
        "match_number": m.match_number(),
        "printable": name(m.printable()),
        "execution_price": m.execution_price().into_u32(),
    }
    on_order_cancel(m: OrderCancel) "X" => {
        "order_reference": m.order_reference_number(),
        "cancelled_shares": m.cancelled_shares(),
    }
    on_order_delete(m: OrderDelete) "D" => { "order_reference": m.order_reference_number() }
    on_order_replace(m: OrderReplace) "U" => {
        "original_order_reference": m.original_order_reference_number(),
        "new_order_reference": m.new_order_reference_number(),
        "shares": m.shares(),
        "price": m.price().into_u32(),
    }
    on_trade(m: Trade) "P" => {
        "order_reference": m.order_reference_number(),
        "side": name(m.buy_sell_indicator()),
        "shares": m.shares(),
        "stock": m.stock().as_str(),
        "price": m.price().into_u32(),
        "match_number": m.match_number(),
    }
    on_cross_trade(m: CrossTrade) "Q" => {
        "shares": m.shares(),
        "stock": m.stock().as_str(),
        "cross_price": m.cross_price().into_u32(),
        "match_number": m.match_number(),
        "cross_type": name(m.cross_type()),
    }
    on_broken_trade(m: BrokenTrade) "B" => { "match_number": m.match_number() }
}
