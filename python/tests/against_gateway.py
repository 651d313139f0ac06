"""The Python client against a running gateway. Arguments: URL, a token that may trade for alice, one for bob.

Started by userspace-api/gateway/tests/python.rs, by a Python that has `websockets`; all else is the standard library.
"""

import asyncio
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from ring0 import Book, BookBroken, Client, Problem  # noqa: E402
from ring0.stream import Stream, books  # noqa: E402
from ring0.ccxt import AuthenticationError, InvalidOrder, Ring0  # noqa: E402

url, alice_token, bob_token = sys.argv[1:]


def expect(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


with Client(url, alice_token) as client:
    expect([it["symbol"] for it in client.instruments()][0], "BTC-USD")
    placed = client.place("alice", "BTC-USD", "buy", "0.5", "50000", "py-1")
    expect(client.place("alice", "BTC-USD", "buy", "0.5", "50000", "py-1"), placed)
    try:
        client.place("alice", "BTC-USD", "buy", "0.5", "50000.5")
        raise AssertionError("half a tick")
    except Problem as problem:
        expect((problem.status, problem.code), (422, "NotATick"))
    replaced = client.replace("alice", placed["id"], "0.4", "50000")
    expect((replaced["id"], replaced["open"]), (placed["id"], "0.4"))
    book = client.book("BTC-USD")
    kept = Book()
    kept.take({"type": "snapshot", "data": book})
    expect(kept.bids, [("50000", "0.4")])
    diff = {"epoch": book["epoch"], "prev_seq": book["seq"], "seq": book["seq"] + 1, "bids": [["50000", "0"]], "asks": [], "checksum": 0}
    kept.take({"type": "diff", "data": diff})
    expect(kept.bids, [])
    try:
        kept.take({"type": "diff", "data": diff})
        raise AssertionError("the same diff twice")
    except BookBroken:
        pass

alice = Ring0({"urls": {"api": url}, "apiKey": alice_token, "uid": "alice"})
bob = Ring0({"urls": {"api": url}, "apiKey": bob_token, "uid": "bob"})
markets = alice.load_markets()
expect(markets["BTC/USD"]["precision"], {"amount": 0.0001, "price": 1.0})
expect(alice.amount_to_precision("BTC/USD", 0.12345), "0.1234")
expect(alice.fetchOrderBook("BTC/USD")["bids"], [[50000.0, 0.4]])
sold = bob.createOrder("BTC/USD", "market", "sell", 0.1)
expect((sold["status"], sold["filled"], sold["average"], sold["type"]), ("closed", 0.1, 50000.0, "market"))
rest = alice.fetchOpenOrders("BTC/USD")
expect([(it["remaining"], it["status"]) for it in rest], [(0.3, "open")])
mine = alice.fetchMyTrades("BTC/USD")
expect([(it["takerOrMaker"], it["amount"], it["order"]) for it in mine], [("maker", 0.1, rest[0]["id"])])
expect(alice.fetchTrades("BTC/USD")[0]["price"], 50000.0)
expect(alice.fetchTicker("BTC/USD")["baseVolume"], 0.1)
expect([it[4:] for it in alice.fetchOHLCV("BTC/USD", "1d")], [[50000.0, 0.1]])
edited = alice.editOrder(rest[0]["id"], "BTC/USD", "limit", "buy", 0.2, 49000)
expect((edited["price"], edited["remaining"]), (49000.0, 0.2))
expect(alice.cancelOrder(edited["id"])["status"], "canceled")
expect(alice.fetchOpenOrders(), [])

# Money: an order holds its price and the highest fee, and gives them back.
fees = alice.fetchTradingFees()["BTC/USD"]
expect((fees["maker"], fees["taker"]), (-0.00005, 0.0003))
expect(alice.client.fees("BTC-USD")[0]["version"], 1)
before = alice.fetchBalance()
held = alice.createOrder("BTC/USD", "limit", "buy", 0.5, 40000)
during = alice.fetchBalance()
expect(during["USD"]["used"], 20000 * 1.0003)
expect(during["USD"]["total"], before["USD"]["total"])
expect([it["held_by"] for it in during["info"]["balances"] if it["asset"] == "USD"], [{"BTC-USD": "20006"}])
alice.cancelOrder(held["id"])
expect(alice.fetchBalance()["USD"], before["USD"])


async def stream():
    """Books and own orders as they change; what is placed meanwhile is seen."""
    followed = books(url, "BTC-USD")
    book = await anext(followed)
    expect((book.bids, book.asks), ([], []))
    async with Stream(url, alice_token) as own:
        await own.subscribe("orders", account="alice")
        await own.subscribe("trades", symbol="BTC-USD")
        placed = await asyncio.to_thread(alice.createOrder, "BTC/USD", "limit", "buy", 0.2, 45000)
        book = await anext(followed)
        expect(book.bids, [("45000", "0.2")])
        await asyncio.to_thread(bob.createOrder, "BTC/USD", "market", "sell", 0.2)
        book = await anext(followed)
        expect(book.bids, [])
        seen, traded = [], None
        async for message in own:
            if message.get("channel") == "orders" and message.get("type") == "order" and message["data"]["id"] == placed["id"]:
                seen.append(message["data"]["status"])
            if message.get("type") == "trade":
                traded = message["data"]["price"]
            if "filled" in seen and traded:
                break
        expect((seen[-1], traded), ("filled", "45000"))
    try:
        async with Stream(url, "wrong"):
            raise AssertionError("a wrong token")
    except Exception as refused:  # whatever the version of the package calls it
        expect("401" in str(refused), True)
    await followed.aclose()


asyncio.run(asyncio.wait_for(stream(), 60))
for wrong, kind in [((("BTC/USD", "limit", "buy", 1, 1)), InvalidOrder)]:
    try:
        alice.createOrder(*wrong)
        raise AssertionError("off the ladder")
    except kind as error:
        expect(error.problem.code, "OffLadder")
try:
    Ring0({"urls": {"api": url}, "apiKey": "wrong", "uid": "alice"}).fetchOpenOrders()
    raise AssertionError("a wrong token")
except AuthenticationError:
    pass
print("ok")
