"""REST: one method a route, standard library only."""

import hashlib
import http.client
import json
import time
import urllib.parse
import uuid


class Problem(Exception):
    """What the exchange said went wrong (RFC 9457)."""

    def __init__(self, status, problem):
        self.status = status
        self.code = problem.get("code", "unknown")
        self.reason = problem.get("reason")
        self.detail = problem.get("detail", "")
        self.field = problem.get("field")
        self.retry_after = problem.get("retry_after")
        super().__init__(f"{self.code}: {self.detail}")


class Unanswered(Exception):
    """No answer came, however often it was asked: nobody knows yet what became of the request."""


class Client:
    """A connection to the exchange.

    `token` goes into `Authorization: Bearer`; `authorize(method, path_with_query, body)` may give the whole header instead, for credentials
    that sign each request. Orders are sent again under their own client order id when no answer comes, which never enters them twice.
    """

    def __init__(self, url, token=None, authorize=None, timeout=20.0, tries=4):
        self._url = urllib.parse.urlsplit(url)
        self._token = token
        self._authorize = authorize
        self._timeout = timeout
        self._tries = tries
        self._connection = None

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _connect(self):
        if self._connection is None:
            kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[self._url.scheme]
            self._connection = kind(self._url.hostname, self._url.port, timeout=self._timeout)
        return self._connection

    def _headers(self, method, target, body):
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._authorize is not None:
            headers["Authorization"] = self._authorize(method, target, body or b"")
        elif self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def request(self, method, path, query=None, body=None):
        """Asks; what may be asked twice without harm is, when no answer comes. Raises `Problem` where the exchange says no."""
        query = {name: value for name, value in (query or {}).items() if value is not None}
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        content = None if body is None else json.dumps(body).encode()
        last = None
        for attempt in range(self._tries):
            if attempt:
                time.sleep(min(0.05 * 2**attempt, 1.0))
            try:
                connection = self._connect()
                connection.request(method, target, content, self._headers(method, target, content))
                response = connection.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                last = error
                continue
            answer = json.loads(text) if text else {}
            if response.status < 400:
                return answer
            problem = Problem(response.status, answer if isinstance(answer, dict) else {})
            if problem.code in ("unknown-outcome", "in-progress"):
                last = problem
                continue
            raise problem
        raise Unanswered(f"{method} {path} was not answered in {self._tries} tries: {last}")

    # Public.

    def time(self):
        return self.request("GET", "/v1/time")["time"]

    def status(self):
        return self.request("GET", "/v1/status")

    def assets(self):
        return self.request("GET", "/v1/assets")

    def instruments(self):
        return self.request("GET", "/v1/instruments")

    def book(self, symbol, levels=None):
        return self.request("GET", f"{_instrument(symbol)}/book", {"levels": levels})

    def trades(self, symbol, limit=None, cursor=None):
        return self.request("GET", f"{_instrument(symbol)}/trades", {"limit": limit, "cursor": cursor})

    def candles(self, symbol, interval="1m", since=None, until=None, limit=None):
        query = {"interval": interval, "from": since, "to": until, "limit": limit}
        return self.request("GET", f"{_instrument(symbol)}/candles", query)["candles"]

    def ticker(self, symbol):
        return self.request("GET", f"{_instrument(symbol)}/ticker")

    def tickers(self):
        return self.request("GET", "/v1/tickers")

    def fees(self, symbol=None):
        """Fee schedules with all their versions, the newest first."""
        return self.request("GET", "/v1/fees", {"symbol": symbol})

    # Private.

    def accounts(self):
        return self.request("GET", "/v1/accounts")

    def place(self, account, symbol, side, quantity, price, client_order_id=None, **terms):
        """Enters an order; terms are the further fields of the route. Without a client order id it gets one, which the answer has."""
        order = {
            "client_order_id": client_order_id or uuid.uuid4().hex,
            "symbol": symbol,
            "side": side,
            "quantity": quantity,
            "price": price,
            **terms,
        }
        return self.request("POST", f"{_account(account)}/orders", body=order)

    def replace(self, account, order_id, quantity, price, client_order_id=None):
        terms = {"client_order_id": client_order_id or uuid.uuid4().hex, "quantity": quantity, "price": price}
        return self.request("PUT", f"{_account(account)}/orders/{order_id}", body=terms)

    def cancel(self, account, order_id):
        return self.request("DELETE", f"{_account(account)}/orders/{order_id}")

    def cancel_all(self, account, symbol=None, side=None):
        return self.request("DELETE", f"{_account(account)}/orders", {"symbol": symbol, "side": side})

    def order(self, account, order_id):
        return self.request("GET", f"{_account(account)}/orders/{order_id}")

    def order_by_client_id(self, account, client_order_id):
        name = urllib.parse.quote(client_order_id, safe="")
        return self.request("GET", f"{_account(account)}/client-orders/{name}")

    def orders(self, account, status="live", symbol=None, limit=None, cursor=None):
        query = {"status": status, "symbol": symbol, "limit": limit, "cursor": cursor}
        return self.request("GET", f"{_account(account)}/orders", query)

    def fills(self, account, symbol=None, order_id=None, limit=None, cursor=None):
        query = {"symbol": symbol, "order_id": order_id, "limit": limit, "cursor": cursor}
        return self.request("GET", f"{_account(account)}/fills", query)

    def balances(self, account):
        return self.request("GET", f"{_account(account)}/balances")

    def deposits(self, account, limit=None, cursor=None):
        return self.request("GET", f"{_account(account)}/deposits", {"limit": limit, "cursor": cursor})

    def withdrawals(self, account, limit=None, cursor=None):
        return self.request("GET", f"{_account(account)}/withdrawals", {"limit": limit, "cursor": cursor})

    def statement(self, account, first=None, last=None, signed=False):
        """What changed the balances in a range of batches, with the signed batch at its end; raises ValueError where it does not sum or is not what
        its hash says. With `signed` the operator signs it: keep the answer as JSON, `ring0 statement verify` checks the signatures in it."""
        query = {"from": first, "to": last, "signed": "true" if signed else None}
        answer = self.request("GET", f"{_account(account)}/statement", query)
        check_statement(answer)
        return answer


def check_statement(answer):
    """Each asset's lines that count lead from its opening to its closing balance, and the hash is of just this."""
    statement = answer["statement"]
    text = json.dumps(statement, separators=(",", ":"), ensure_ascii=False)
    if hashlib.sha256(text.encode()).hexdigest() != answer["hash"].removeprefix("0x"):
        raise ValueError("the statement is not the one that its hash names")
    for of in statement["assets"]:
        counting = sum(int(line["amount"]) for line in of["lines"] if line["counts"])
        if int(of["opening"]) + counting != int(of["closing"]):
            raise ValueError(f"the lines of {of['asset']} do not lead from its opening to its closing balance")
    if "signed" in answer and answer["signed"]["batch"]["epoch"] != statement["to"]:
        raise ValueError("the batch that the operator signed beside it is another than the one that it ends with")


def _instrument(symbol):
    return "/v1/instruments/" + urllib.parse.quote(symbol, safe="")


def _account(account):
    return "/v1/accounts/" + urllib.parse.quote(str(account), safe="")
