"""A book kept by snapshot and diffs, which notices when anything is missing."""

import zlib
from decimal import Decimal

CHECKSUM_LEVELS = 10


class BookBroken(Exception):
    """A diff is missing or wrong: subscribe anew."""


class Book:
    """Takes the messages of the channel `book` of one instrument."""

    def __init__(self):
        self.epoch = None
        self.seq = None
        self._sides = {"bids": {}, "asks": {}}

    def take(self, message):
        """Takes one message; raises `BookBroken` where it does not follow, or the checksum differs."""
        data = message["data"]
        if message["type"] == "snapshot":
            self._sides = {"bids": {}, "asks": {}}
            self.epoch = data["epoch"]
        elif data["epoch"] != self.epoch or data["prev_seq"] != self.seq:
            raise BookBroken(f"diff follows {data['epoch']}/{data['prev_seq']}, the book is {self.epoch}/{self.seq}")
        for side, levels in self._sides.items():
            for price, quantity in data[side]:
                if quantity == "0":
                    levels.pop(price, None)
                else:
                    levels[price] = quantity
        self.seq = data["seq"]
        if self.checksum() != data["checksum"]:
            raise BookBroken(f"the checksum at {self.seq} differs")

    @property
    def bids(self):
        return sorted(self._sides["bids"].items(), key=lambda it: Decimal(it[0]), reverse=True)

    @property
    def asks(self):
        return sorted(self._sides["asks"].items(), key=lambda it: Decimal(it[0]))

    def checksum(self):
        best = self.bids[:CHECKSUM_LEVELS] + self.asks[:CHECKSUM_LEVELS]
        return zlib.crc32("|".join(f"{price}:{quantity}" for price, quantity in best).encode())
