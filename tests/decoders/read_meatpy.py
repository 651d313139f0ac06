"""Reads a BinaryFILE of ITCH 5.0 with MeatPy; prints one JSON object a message, fields named as in ring0-itch."""

import json
import sys

from meatpy.itch50 import ITCH50MessageReader

NAMES = {
    "stock_locate": "locate",
    "tracking_number": "tracking",
    "code": "event_code",
    "category": "market_category",
    "status": "financial_status_indicator",
    "lotsize": "round_lot_size",
    "lotsonly": "round_lots_only",
    "issue_class": "issue_classification",
    "issue_sub": "issue_sub_type",
    "shortsale_thresh": "short_sale_threshold_indicator",
    "luld_ref": "luld_reference_price_tier",
    "etp_leverage": "etp_leverage_factor",
    "inverse_ind": "inverse_indicator",
    "state": "trading_state",
    "order_ref": "order_reference",
    "bsindicator": "side",
    "match": "match_number",
    "canceled_shares": "cancelled_shares",
    "original_ref": "original_order_reference",
    "new_ref": "new_order_reference",
    "imbalance_direction": "direction",
    "current_ref_price": "reference_price",
    "price_variation_indicator": "price_variation",
    "auction_collar_ref_price": "reference_price",
    "upper_auction_collar_price": "upper_price",
    "lower_auction_collar_price": "lower_price",
    "auction_collar_extension": "extension",
}
# Fields that some types name otherwise.
OF_TYPE = {"E": {"shares": "executed_shares"}, "C": {"shares": "executed_shares"}}

with ITCH50MessageReader(sys.argv[1]) as reader:
    for message in reader:
        letter = message.type.decode("ascii")
        fields = {"letter": letter}
        for name, value in vars(message).items():
            name = OF_TYPE.get(letter, {}).get(name, NAMES.get(name, name))
            fields[name] = value.decode("latin-1") if isinstance(value, bytes) else value
        print(json.dumps(fields))
