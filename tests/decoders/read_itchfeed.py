"""Reads a BinaryFILE of ITCH 5.0 with itchfeed; prints one JSON object a message, fields named as in ring0-itch."""

import json
import sys

from itch.parser import MessageParser

NAMES = {
    "stock_locate": "locate",
    "tracking_number": "tracking",
    "order_reference_number": "order_reference",
    "buy_sell_indicator": "side",
    "imbalance_direction": "direction",
    "current_reference_price": "reference_price",
    "variation_indicator": "price_variation",
    "auction_collar_reference_price": "reference_price",
    "upper_auction_collar_price": "upper_price",
    "lower_auction_collar_price": "lower_price",
    "auction_collar_extention": "extension",
    "luld_ref": "luld_reference_price_tier",
}
# Fields that one type names otherwise.
OF_TYPE = {
    "U": {
        "order_reference_number": "original_order_reference",
        "new_order_reference_number": "new_order_reference",
    },
}

with open(sys.argv[1], "rb") as file:
    for message in MessageParser().parse_file(file):
        letter = message.message_type.decode("ascii")
        fields = {"letter": letter}
        for name, value in vars(message).items():
            name = OF_TYPE.get(letter, {}).get(name, NAMES.get(name, name))
            fields[name] = value.decode("latin-1") if isinstance(value, bytes) else value
        print(json.dumps(fields))
