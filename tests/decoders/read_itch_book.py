"""Builds books from a BinaryFILE of ITCH 5.0 with itch-book; prints its best prices after each change, then its counts.

A line is [sequence from itch-book, locate, bid price, bid shares, bid orders, ask price, ask shares, ask orders]; prices have four
implied decimals. The last line is an object of counts.
"""

import datetime
import json
import sys

import itch_book

feed = itch_book.Feed(sys.argv[1], date=datetime.date(2026, 1, 2), price_type="fixed")
columns = ("seq", "locate", "bid_px", "bid_sz", "bid_ct", "ask_px", "ask_sz", "ask_ct")
for batch in feed.batches(tables=("bbo",)):
    for row in zip(*(batch.bbo[column].tolist() for column in columns)):
        print(json.dumps(row))
print(json.dumps({name: value for name, value in feed.stats.items() if isinstance(value, int)}))
