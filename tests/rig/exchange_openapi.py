"""An OpenAPI description of the exchange's REST API, made of its table of endpoints."""

from typing import Any

from bot4.adapters.exchange import parameter
from bot4.adapters.exchange.api import PUBLIC, SIGNED
from bot4.adapters.exchange.parameter import Parser
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.table import REST

# Whatever the venue's documents name as a value somewhere: of it, a parameter takes what its parser takes.
WORDS = (
    "BUY", "SELL", "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT",
    "GTC", "IOC", "FOK", "ACK", "RESULT", "FULL", "MINI", "NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH",
    "DECREMENT", "1s", "1m", "1h", "1d", "1w", "1M", "7d", "TRADING", "HALT", "STOP_ON_FAILURE", "ALLOW_FAILURE",
    "ONLY_NEW", "ONLY_PARTIALLY_FILLED", "DO_NOTHING", "CANCEL_ONLY", "0", "+08:00", '["BTCUSDT"]',
    '["BTCUSDT","ETHUSDT"]',
)  # fmt: skip
_FORMS: dict[Any, dict[str, Any]] = {
    parameter.symbol: {"enum": ["BTCUSDT", "ETHUSDT"]},
    parameter.whole: {"type": "integer", "minimum": 0, "maximum": 2**62},
    parameter.decimal: {"type": "string", "pattern": r"^[0-9]{1,7}(\.[0-9]{1,8})?$"},
    parameter.boolean: {"type": "boolean"},
    parameter.client_id: {"type": "string", "pattern": "^[a-zA-Z0-9-_]{1,36}$"},
    parameter.text: {"type": "string", "pattern": "^[a-z]{1,12}$"},
}
_ERROR = {
    "type": "object", "required": ["code", "msg"],
    "properties": {"code": {"type": "integer", "maximum": -1}, "msg": {"type": "string", "minLength": 1}},
}  # fmt: skip


def form(parse: Parser) -> dict[str, Any]:
    """The schema of a parameter."""
    if parse in _FORMS:
        return _FORMS[parse]
    taken = []
    for word in WORDS:
        try:
            parse(word, "x")
        except Refused:
            continue
        taken.append(word)
    return {"enum": taken} if taken else {"type": "string"}


def description() -> dict[str, Any]:
    """The whole API. `x-signed` says what a request has to be signed with."""
    paths: dict[str, Any] = {}
    for (method, path), endpoint in REST.items():
        names = [name for name in endpoint.parameters if name not in ("timestamp", "recvWindow")]
        answers = {
            "200": {"description": "done", "content": {"application/json": {"schema": {"type": ["object", "array"]}}}},
            "4XX": {"description": "refused", "content": {"application/json": {"schema": _ERROR}}},
        }
        paths.setdefault(path, {})[method.lower()] = {
            "operationId": f"{method} {path}",
            "x-signed": endpoint.security == SIGNED,
            "tags": ["public" if endpoint.security == PUBLIC else "signed"],
            "parameters": [
                {"name": name, "in": "query", "required": name in endpoint.required,
                 "schema": form(endpoint.parameters[name])}
                for name in names
            ],
            "responses": answers,
        }  # fmt: skip
    return {"openapi": "3.1.0", "info": {"title": "bot4-exchange", "version": "1"}, "paths": paths}
