"""The exchange under ccxt's unified method names and structures, for programs that are written for those.

Not a part of the package `ccxt` and without need of it: the same names, arguments and dictionaries. Symbols are ccxt's (`BTC/USD`); amounts and
prices go in as numbers or text and are sent as decimal text in the instrument's own steps.
"""

from decimal import ROUND_DOWN, Decimal

from ring0.client import Client, Problem


class ExchangeError(Exception):
    """The exchange said no; `problem` says why."""

    def __init__(self, problem):
        self.problem = problem
        super().__init__(str(problem))


class InsufficientFunds(ExchangeError):
    """The balance does not cover the order."""


class InvalidOrder(ExchangeError):
    """The order's terms are refused."""


class OrderNotFound(ExchangeError):
    """No such order."""


class AuthenticationError(ExchangeError):
    """Nobody is signed in."""


class PermissionDenied(ExchangeError):
    """Somebody is, who may not."""


class RateLimitExceeded(ExchangeError):
    """Too many requests."""


class ExchangeNotAvailable(ExchangeError):
    """A part of the exchange does not answer."""


_BY_CODE = {"Funds": InsufficientFunds, "UnknownOrder": OrderNotFound, "order-over": OrderNotFound}
_BY_STATUS = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: OrderNotFound,
    422: InvalidOrder,
    400: InvalidOrder,
    429: RateLimitExceeded,
    503: ExchangeNotAvailable,
    504: ExchangeNotAvailable,
}

_STATUS = {
    "open": "open",
    "armed": "open",
    "filled": "closed",
    "canceled": "canceled",
    "replaced": "canceled",
    "expired": "expired",
    "rejected": "rejected",
}

_TIME_IN_FORCE = {"GTC": "good-till-cancel", "IOC": "immediate-or-cancel", "FOK": "fill-or-kill", "PO": "good-till-cancel"}
_TIME_NAMES = {"good-till-cancel": "GTC", "immediate-or-cancel": "IOC", "fill-or-kill": "FOK"}


def _number(text):
    return None if text is None else float(text)


class Ring0:
    """`Ring0({'urls': {'api': URL}, 'apiKey': TOKEN, 'uid': ACCOUNT})`."""

    id = "ring0"
    name = "Ring0"
    timeframes = {it: it for it in ("1m", "5m", "15m", "1h", "4h", "1d")}
    has = {
        name: True
        for name in (
            "fetchTime", "fetchStatus", "fetchMarkets", "fetchCurrencies", "fetchTicker", "fetchTickers", "fetchOrderBook", "fetchTrades",
            "fetchOHLCV", "fetchBalance", "createOrder", "editOrder", "cancelOrder", "cancelAllOrders", "fetchOrder", "fetchOrders",
            "fetchOpenOrders", "fetchClosedOrders", "fetchMyTrades", "fetchTradingFees", "fetchDeposits",
        )
    }

    def __init__(self, config):
        self.client = Client(config["urls"]["api"], token=config.get("apiKey"), authorize=config.get("authorize"))
        self.account = config.get("uid")
        self.markets = None
        self.markets_by_id = None

    def _call(self, method, *arguments, **named):
        try:
            return method(*arguments, **named)
        except Problem as problem:
            kind = _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status, ExchangeError)
            raise kind(problem) from problem

    # Markets.

    def load_markets(self, reload=False):
        if self.markets is None or reload:
            markets = self.fetch_markets()
            self.markets = {it["symbol"]: it for it in markets}
            self.markets_by_id = {it["id"]: it for it in markets}
        return self.markets

    def market(self, symbol):
        self.load_markets()
        found = self.markets.get(symbol) or self.markets_by_id.get(symbol)
        if found is None:
            raise ValueError(f"{symbol} is not traded here; fetch_markets lists what is")
        return found

    def fetch_markets(self, params=None):
        return [self._market(it) for it in self._call(self.client.instruments)]

    @staticmethod
    def _market(it):
        return {
            "id": it["symbol"],
            "symbol": f"{it['base']}/{it['quote']}",
            "base": it["base"],
            "quote": it["quote"],
            "baseId": it["base"],
            "quoteId": it["quote"],
            "type": "spot",
            "spot": True,
            "active": it["state"] == "continuous",
            "maker": _number(it["maker_fee"]),
            "taker": _number(it["taker_fee"]),
            "percentage": True,
            "precision": {"amount": _number(it["quantity_step"]), "price": _number(it["price_step"])},
            "limits": {
                "amount": {"min": _number(it["quantity_step"]), "max": _number(it["quantity_max"])},
                "price": {"min": _number(it["price_min"]), "max": _number(it["price_max"])},
                "cost": {"min": None, "max": None},
            },
            "info": it,
        }

    def fetch_currencies(self, params=None):
        return {
            it["name"]: {"id": it["name"], "code": it["name"], "precision": 10 ** -it["places"], "info": it}
            for it in self._call(self.client.assets)
        }

    def fetch_time(self, params=None):
        return self._call(self.client.time)

    def fetch_status(self, params=None):
        status = self._call(self.client.status)
        return {"status": "ok" if status["status"] == "open" else "error", "info": status}

    # Market data.

    def fetch_ticker(self, symbol, params=None):
        return self._ticker(self._call(self.client.ticker, self.market(symbol)["id"]))

    def fetch_tickers(self, symbols=None, params=None):
        self.load_markets()
        tickers = [self._ticker(it) for it in self._call(self.client.tickers)]
        return {it["symbol"]: it for it in tickers if symbols is None or it["symbol"] in symbols}

    def _ticker(self, it):
        last, opened = _number(it["last"]), _number(it["open"])
        volume, value = _number(it["volume"]), _number(it["quote_volume"])
        change = None if last is None or opened is None else last - opened
        return {
            "symbol": self.market(it["symbol"])["symbol"],
            "timestamp": it["time"],
            "high": _number(it["high"]),
            "low": _number(it["low"]),
            "bid": _number(it["bid"]),
            "bidVolume": _number(it["bid_quantity"]),
            "ask": _number(it["ask"]),
            "askVolume": _number(it["ask_quantity"]),
            "vwap": value / volume if volume else None,
            "open": opened,
            "close": last,
            "last": last,
            "change": change,
            "percentage": None if change is None or not opened else change / opened * 100,
            "baseVolume": volume,
            "quoteVolume": value,
            "info": it,
        }

    def fetch_order_book(self, symbol, limit=None, params=None):
        market = self.market(symbol)
        book = self._call(self.client.book, market["id"], limit)
        side = lambda levels: [[float(price), float(quantity)] for price, quantity in levels]  # noqa: E731
        return {
            "symbol": market["symbol"],
            "bids": side(book["bids"]),
            "asks": side(book["asks"]),
            "timestamp": None,
            "nonce": book["seq"],
            "info": book,
        }

    def fetch_trades(self, symbol, since=None, limit=None, params=None):
        market = self.market(symbol)
        page = self._call(self.client.trades, market["id"], limit)
        trades = [
            {
                "id": str(it["id"]),
                "timestamp": it["time"],
                "symbol": market["symbol"],
                "side": it["taker_side"],
                "price": float(it["price"]),
                "amount": float(it["quantity"]),
                "cost": float(Decimal(it["price"]) * Decimal(it["quantity"])),
                "takerOrMaker": None,
                "info": it,
            }
            for it in reversed(page["trades"])
            if not it["broken"]
        ]
        return [it for it in trades if since is None or it["timestamp"] >= since]

    def fetch_ohlcv(self, symbol, timeframe="1m", since=None, limit=None, params=None):
        candles = self._call(self.client.candles, self.market(symbol)["id"], timeframe, since, None, limit)
        fields = ("open", "high", "low", "close", "volume")
        return [[it["time"], *(float(it[field]) for field in fields)] for it in candles]

    # Trading.

    def _steps(self, value, step):
        """Text of a number in whole steps, rounded down."""
        step = Decimal(step)
        whole = (Decimal(str(value)) / step).to_integral_value(ROUND_DOWN) * step
        return format(whole.normalize(), "f")

    def amount_to_precision(self, symbol, amount):
        return self._steps(amount, self.market(symbol)["info"]["quantity_step"])

    def price_to_precision(self, symbol, price):
        return self._steps(price, self.market(symbol)["info"]["price_step"])

    def create_order(self, symbol, type, side, amount, price=None, params=None):
        """`type` is `limit` or `market`; a market order without a price is protected by the highest, or lowest, that can be asked."""
        params = dict(params or {})
        market = self.market(symbol)
        if type not in ("limit", "market"):
            raise ValueError(f"{type} is no order type here; give limit or market")
        if price is None:
            if type == "limit":
                raise ValueError("a limit order needs a price")
            price = market["info"]["price_max" if side == "buy" else "price_min"]
        terms = {}
        if type == "market":
            terms["market"] = True
            terms["time_in_force"] = "immediate-or-cancel"
        time_in_force = params.pop("timeInForce", None)
        if time_in_force is not None:
            terms["time_in_force"] = _TIME_IN_FORCE[time_in_force]
        if params.pop("postOnly", False) or time_in_force == "PO":
            terms["post_only"] = "reject"
        trigger = params.pop("triggerPrice", params.pop("stopPrice", None))
        if trigger is not None:
            terms["trigger_price"] = self.price_to_precision(symbol, trigger)
        client_order_id = params.pop("clientOrderId", None)
        order = self._call(
            self.client.place,
            self.account,
            market["id"],
            side,
            self.amount_to_precision(symbol, amount),
            self.price_to_precision(symbol, price),
            client_order_id,
            **terms,
            **params,
        )
        return self._order(order)

    def edit_order(self, id, symbol, type, side, amount, price=None, params=None):
        """`amount` is what may still trade."""
        params = params or {}
        order = self._call(
            self.client.replace,
            self.account,
            id,
            self.amount_to_precision(symbol, amount),
            self.price_to_precision(symbol, price),
            params.get("clientOrderId"),
        )
        return self._order(order)

    def cancel_order(self, id, symbol=None, params=None):
        return self._order(self._call(self.client.cancel, self.account, id))

    def cancel_all_orders(self, symbol=None, params=None):
        market = None if symbol is None else self.market(symbol)["id"]
        return self._call(self.client.cancel_all, self.account, market)

    def fetch_order(self, id, symbol=None, params=None):
        return self._order(self._call(self.client.order, self.account, id))

    def _orders(self, status, symbol, since, limit):
        market = None if symbol is None else self.market(symbol)["id"]
        page = self._call(self.client.orders, self.account, status, market, limit)
        orders = [self._order(it) for it in reversed(page["orders"])]
        return [it for it in orders if since is None or it["timestamp"] >= since]

    def fetch_orders(self, symbol=None, since=None, limit=None, params=None):
        return self._orders("all", symbol, since, limit)

    def fetch_open_orders(self, symbol=None, since=None, limit=None, params=None):
        return self._orders("live", symbol, since, limit)

    def fetch_closed_orders(self, symbol=None, since=None, limit=None, params=None):
        return [it for it in self._orders("all", symbol, since, limit) if it["status"] != "open"]

    def _order(self, it):
        filled, average = float(it["filled"]), _number(it["average_price"])
        symbol = None if it["symbol"] is None else self.market(it["symbol"])["symbol"]
        quote = None if symbol is None else self.market(symbol)["quote"]
        return {
            "id": it["id"],
            "clientOrderId": it["client_order_id"],
            "timestamp": it["entered"],
            "lastUpdateTimestamp": it["changed"],
            "status": _STATUS[it["status"]],
            "symbol": symbol,
            "type": "market" if it["market"] else "limit",
            "timeInForce": _TIME_NAMES.get(it["time_in_force"]),
            "postOnly": it["post_only"],
            "side": it["side"],
            "price": float(it["price"]),
            "triggerPrice": _number(it["trigger"]),
            "average": average,
            "amount": float(it["quantity"]),
            "filled": filled,
            "remaining": float(it["open"]),
            "cost": filled * average if average is not None else 0.0,
            "fee": {"currency": quote, "cost": _number(it["fees"] or None)},
            "trades": None,
            "info": it,
        }

    def fetch_my_trades(self, symbol=None, since=None, limit=None, params=None):
        market = None if symbol is None else self.market(symbol)["id"]
        page = self._call(self.client.fills, self.account, market, None, limit)
        trades = [
            {
                "id": str(it["id"]),
                "order": it["order_id"],
                "timestamp": it["time"],
                "symbol": self.market(it["symbol"])["symbol"],
                "side": it["side"],
                "price": float(it["price"]),
                "amount": float(it["quantity"]),
                "cost": float(Decimal(it["price"]) * Decimal(it["quantity"])),
                "takerOrMaker": it["liquidity"] if it["liquidity"] in ("maker", "taker") else None,
                "fee": {"currency": it["fee_asset"], "cost": float(it["fee"])},
                "info": it,
            }
            for it in reversed(page["fills"])
            if not it["broken"]
        ]
        return [it for it in trades if since is None or it["timestamp"] >= since]

    def fetch_balance(self, params=None):
        """`free` can be traded, `used` is held for orders; what is on its way is in `info`."""
        answer = self._call(self.client.balances, self.account)
        free = {it["asset"]: float(it["free"]) for it in answer["balances"]}
        used = {it["asset"]: float(it["held"]) for it in answer["balances"]}
        total = {it["asset"]: float(Decimal(it["free"]) + Decimal(it["held"])) for it in answer["balances"]}
        balance = {name: {"free": free[name], "used": used[name], "total": total[name]} for name in total}
        return {**balance, "free": free, "used": used, "total": total, "info": answer}

    def fetch_trading_fees(self, params=None):
        self.load_markets()
        fees = {}
        for it in self._call(self.client.fees):
            if it["current"]:
                symbol = self.market(it["symbol"])["symbol"]
                fees[symbol] = {
                    "symbol": symbol,
                    "maker": float(it["maker_fee"]),
                    "taker": float(it["taker_fee"]),
                    "percentage": True,
                    "tierBased": False,
                    "info": it,
                }
        return fees

    def fetch_deposits(self, code=None, since=None, limit=None, params=None):
        page = self._call(self.client.deposits, self.account, limit)
        return [
            {
                "id": None,
                "type": "deposit",
                "currency": it["asset"],
                "amount": float(it["amount"]),
                "timestamp": None,
                "status": "ok",
                "info": it,
            }
            for it in reversed(page["deposits"])
            if code is None or it["asset"] == code
        ]

    # The names that ccxt writes in its other style.
    loadMarkets, fetchMarkets, fetchCurrencies, fetchTime = load_markets, fetch_markets, fetch_currencies, fetch_time
    fetchStatus, fetchTicker, fetchTickers, fetchOrderBook = fetch_status, fetch_ticker, fetch_tickers, fetch_order_book
    fetchTrades, fetchOHLCV, createOrder, editOrder = fetch_trades, fetch_ohlcv, create_order, edit_order
    cancelOrder, cancelAllOrders, fetchOrder, fetchOrders = cancel_order, cancel_all_orders, fetch_order, fetch_orders
    fetchOpenOrders, fetchClosedOrders, fetchMyTrades = fetch_open_orders, fetch_closed_orders, fetch_my_trades
    fetchBalance, fetchTradingFees, fetchDeposits = fetch_balance, fetch_trading_fees, fetch_deposits
