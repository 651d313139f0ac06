"""Client of a Ring0 exchange: `Client` for REST, `ccxt.Ring0` with ccxt's unified names, `book.Book` and `stream` for the WebSocket.

Prices, quantities and amounts are decimal text, as the exchange says them; nothing here turns them into floats but the ccxt adapter,
whose unified structures want numbers.
"""

from ring0.book import Book, BookBroken
from ring0.client import Client, Problem

__all__ = ["Book", "BookBroken", "Client", "Problem"]
