"""Every code that crosses a ring, and the one table of reject codes: number, name, reason.

Plain integers, not IntEnum: kernels compare them with record fields, and Numba freezes them as constants.
"""

INT64_MAX = 2**63 - 1

# --- ticks -------------------------------------------------------------------------------------------------------
TICK_TRADE = 1  # price_ticks, qty_lots, trade_id, aggressor side (+1 bought, -1 sold)
TICK_QUOTE = 2  # best bid ticks, bid lots, best ask ticks, ask lots
TICK_LEVEL = 3  # price_ticks, qty_lots (0 removes the level), side (+1 bid, -1 ask), the message's last update id
TICK_MARK = 4  # mark price e8, index price e8, funding rate e8, next funding time ns
TICK_FUNDING = 5  # funding rate e8, settlement time ns, 0, 0 (venues that announce the settlement itself)
TICK_STATUS = 6  # one of STATUS_*, update id, 0, 0
KIND_NAMES = ("", "trade", "quote", "depth", "mark", "funding", "status")
N_KINDS = 7

FLAG_LAST = 1  # last record of one message of the venue: only now may a decision fall
FLAG_SNAPSHOT = 2  # part of a snapshot: restarts the reader's event_no
FLAG_BOOK_NEWER = 4  # on a QUOTE: the depth book already holds this update id or a later one; the quote adds nothing
FLAG_QUOTE_NEWER = 8  # on the last LEVEL: the last quote is newer than the depth book and still overrides its top
FLAG_SYNTHETIC = 16  # made by the synthetic market, not recorded

STATUS_STALE = 0  # the instrument's book is not whole: no decision, no order that opens risk
STATUS_WHOLE = 1  # book whole again
STATUS_CLEAR = 2  # a snapshot follows: forget the book

# --- orders ------------------------------------------------------------------------------------------------------
SIDE_BUY = 1
SIDE_SELL = -1

ACTION_PLACE = 1
ACTION_CANCEL = 2
ACTION_AMEND = 3  # new quantity and stop price of a resting order
ACTION_CANCEL_ALL = 4
ACTION_QUERY_ORDER = 5  # by client id
ACTION_QUERY_OPEN = 6  # every open order, then QUERY_END
ACTION_QUERY_TRADES = 7  # every fill with event_seq > aux, then QUERY_END
ACTION_QUERY_POSITION = 8  # every position, then QUERY_END
ACTION_QUERY_BALANCE = 9  # cash, then QUERY_END
ACTION_LEG = 10  # one leg of an order list; the list is placed whole with its last leg
ACTION_DEPOSIT = 11  # to an account's balance, or from it
ACTION_EXPIRE = 12  # nothing but the time that has come
ACTION_FUNDING = 13  # every position of a contract pays or receives
ACTION_TRADE = 14  # others have traded, without an order of this book

TYPE_MARKET = 1
TYPE_LIMIT = 2
TYPE_STOP_MARKET = 3
TYPE_STOP_LIMIT = 4
TYPE_TAKE_PROFIT = 5  # market
TYPE_TAKE_PROFIT_LIMIT = 6
TYPE_NAMES = ("", "market", "limit", "stop_market", "stop_limit", "take_profit", "take_profit_limit")

TIF_GTC = 1
TIF_IOC = 2
TIF_FOK = 3
TIF_GTD = 4

ORDER_REDUCE_ONLY = 1
ORDER_POST_ONLY = 2

STP_NONE = 0  # an account may trade with itself
STP_EXPIRE_TAKER = 1
STP_EXPIRE_MAKER = 2
STP_EXPIRE_BOTH = 3
STP_DECREMENT = 4  # both lose what would have traded

LIST_OCO = 1  # two legs, one of them at most trades
LIST_OTO = 2  # a working leg; the second waits until it is filled
LIST_OTOCO = 3  # a working leg; an OCO pair waits until it is filled

LEG_ENTRY = 0  # opens or adds, from a shard
LEG_EXIT = 1  # closes, from a shard
LEG_STOP = 2  # protective stop, execution's own
LEG_FLATTEN = 3  # market close, execution's own
LEG_PROFIT = 4  # take-profit, execution's own: a limit that only reduces, or where none may rest no order at all
LEG_SLICE = 5  # a part of an entry that execution works in slices
LEG_NAMES = ("entry", "exit", "stop", "flatten", "take_profit", "slice")

# --- execution reports: from the venue to execution, and from execution to a shard ---------------------------------
REPORT_ACK = 1  # working at the venue
REPORT_REJECT = 2  # refused by the venue (code 5xx)
REPORT_FILL = 3
REPORT_CANCELED = 4
REPORT_EXPIRED = 5  # IOC remainder, reduce-only with nothing left to reduce
REPORT_TRIGGERED = 6  # stop became a market order
REPORT_REPLACED = 7  # amend done
REPORT_CANCEL_REJECT = 8  # cancel or amend refused: unknown or done order
REPORT_ORDER = 9  # answer to a query: the order as the venue knows it (status word)
REPORT_NOT_FOUND = 10  # answer to a query by client id
REPORT_QUERY_END = 11
REPORT_POSITION = 12  # answer to a query, and execution's snapshot for a restarted shard
REPORT_FUNDING = 13  # funding paid (cash_e8 negative) or received
REPORT_DENIED = 14  # execution refused the intent (code 3xx or 4xx); nothing went out
REPORT_TOTALS = 15  # portfolio totals on the event-time grid
REPORT_BALANCE = 16  # answer to a query: cash
REPORT_PREVENTED = 17  # lots that would have traded with an order of the same account
REPORT_LIST_STARTED = 18
REPORT_LIST_DONE = 19  # no leg of it is open any more
REPORT_LIMIT = 20  # from `ts_ns` on a limit is tighter: code its word in LIMITS, cash_e8 its value
REPORT_NAMES = (
    "", "ack", "reject", "fill", "canceled", "expired", "triggered", "replaced", "cancel_reject", "order", "not_found",
    "query_end", "position", "funding", "denied", "totals", "balance", "prevented", "list_started", "list_done",
    "limit",
)  # fmt: skip

# --- reject codes, ranged by room: 1xx data, 2xx decision, 3xx risk, 4xx execution, 5xx venue ---------------------
OK = 0

DATA_GAP = 101
DATA_CROSSED = 102
DATA_STALE = 103
DATA_BAD_VALUE = 104
DATA_TIME_BACK = 105
DATA_BAD_KIND = 106

DECISION_WARMING = 201
DECISION_NO_QUOTE = 202
DECISION_GATE_SHUT = 203
DECISION_BAD_SCORE = 204
DECISION_MODEL_SHUT = 205

RISK_KILLED = 301
RISK_BREAKER_OPEN = 302
RISK_POSITION = 303
RISK_NOTIONAL = 304
RISK_ORDER_SIZE = 305
RISK_COLLAR = 306
RISK_DRAWDOWN = 307
RISK_DAILY_LOSS = 308
RISK_STOP_MISSING = 309
RISK_STOP_SIDE = 310
RISK_OPEN_ORDERS = 311
RISK_COOL_DOWN = 312
RISK_RATE = 313
RISK_SIZE_ZERO = 314
RISK_NO_EQUITY = 315
RISK_SHORT_SPOT = 316
RISK_BAD_ORDER = 317
RISK_MIN_NOTIONAL = 318
RISK_GROSS = 319
RISK_NET = 320
RISK_VENUE = 321
RISK_STREAK = 322
RISK_CORRELATION = 323
RISK_SHARD_RATE = 324
RISK_ORDER_RATE = 325
RISK_MESSAGE_RATE = 326
RISK_REPEAT = 327
RISK_STOP_FAR = 328
RISK_STOP_LOSS = 329
RISK_SELF_TRADE = 330
RISK_STRATEGY = 331
RISK_REDUCE_ONLY = 332
RISK_VALUE_AT_RISK = 340
RISK_SHORTFALL = 341

EXEC_RING_FULL = 401
EXEC_DUPLICATE = 402
EXEC_GATE_SHUT = 403
EXEC_JOURNAL_FULL = 404
EXEC_TABLE_FULL = 405
EXEC_VENUE_BUSY = 406
EXEC_UNKNOWN_INSTRUMENT = 407
EXEC_NEVER_LANDED = 408
EXEC_NO_QUOTE = 409

VENUE_POST_ONLY = 501
VENUE_REDUCE_ONLY = 502
VENUE_UNKNOWN_ORDER = 503
VENUE_DUPLICATE_ID = 504
VENUE_FILTER = 505
VENUE_BALANCE = 506
VENUE_TOO_MANY_ORDERS = 507
VENUE_NO_MARKET = 508
VENUE_STOP_WOULD_TRIGGER = 509
VENUE_BAD_REQUEST = 510
VENUE_POSITION = 511
VENUE_SELF_TRADE = 512
VENUE_NOT_WHOLE = 513
VENUE_LIST = 514
VENUE_SPENT = 515
VENUE_RATE = 516
VENUE_TIME = 517
VENUE_KEY = 518
VENUE_DOWN = 519
VENUE_DIFFERS = 520
VENUE_TOO_LARGE = 521
VENUE_TOO_SMALL = 522

N_CODES = 640  # bound of the counter table that is indexed by code

REJECTS = (
    (DATA_GAP, "DATA_GAP", "event numbers of the instrument are not consecutive"),
    (DATA_CROSSED, "DATA_CROSSED", "best bid is at or above best ask"),
    (DATA_STALE, "DATA_STALE", "the book is not whole, or the shard is too far behind the feed"),
    (DATA_BAD_VALUE, "DATA_BAD_VALUE", "price or quantity is not positive"),
    (DATA_TIME_BACK, "DATA_TIME_BACK", "receive time is before the previous record's"),
    (DATA_BAD_KIND, "DATA_BAD_KIND", "unknown kind of tick"),
    (DECISION_WARMING, "DECISION_WARMING", "an indicator has not seen enough data"),
    (DECISION_NO_QUOTE, "DECISION_NO_QUOTE", "no valid best bid and ask"),
    (DECISION_GATE_SHUT, "DECISION_GATE_SHUT", "the instrument's gate is shut"),
    (DECISION_BAD_SCORE, "DECISION_BAD_SCORE", "the strategy's score is no number from -1 to 1"),
    (DECISION_MODEL_SHUT, "DECISION_MODEL_SHUT", "the strategy's breaker is open: too many scores were no numbers"),
    (RISK_KILLED, "RISK_KILLED", "the kill switch is set"),
    (RISK_BREAKER_OPEN, "RISK_BREAKER_OPEN", "the circuit breaker is open"),
    (RISK_POSITION, "RISK_POSITION", "resulting position, open orders included, exceeds the share of equity allowed"),
    (RISK_NOTIONAL, "RISK_NOTIONAL", "order value exceeds the limit"),
    (RISK_ORDER_SIZE, "RISK_ORDER_SIZE", "order quantity exceeds the limit"),
    (RISK_COLLAR, "RISK_COLLAR", "price is too far from the reference price"),
    (RISK_DRAWDOWN, "RISK_DRAWDOWN", "drawdown from the high-water mark reached the limit"),
    (RISK_DAILY_LOSS, "RISK_DAILY_LOSS", "loss of the day reached the limit"),
    (RISK_STOP_MISSING, "RISK_STOP_MISSING", "an opening order has no stop-loss"),
    (RISK_STOP_SIDE, "RISK_STOP_SIDE", "the stop-loss is not on the losing side of the price"),
    (RISK_OPEN_ORDERS, "RISK_OPEN_ORDERS", "too many open orders"),
    (RISK_COOL_DOWN, "RISK_COOL_DOWN", "the instrument is cooling down after an order"),
    (RISK_RATE, "RISK_RATE", "the order rate's token bucket is empty"),
    (RISK_SIZE_ZERO, "RISK_SIZE_ZERO", "the sized quantity is below one lot"),
    (RISK_NO_EQUITY, "RISK_NO_EQUITY", "equity is not positive"),
    (RISK_SHORT_SPOT, "RISK_SHORT_SPOT", "a spot position cannot be sold short"),
    (RISK_BAD_ORDER, "RISK_BAD_ORDER", "a field of the order is out of its range"),
    (RISK_MIN_NOTIONAL, "RISK_MIN_NOTIONAL", "order value is below the venue's minimum"),
    (RISK_GROSS, "RISK_GROSS", "all positions together, open orders included, could exceed the share of equity"),
    (RISK_NET, "RISK_NET", "all positions of one side, open orders included, could exceed the share of equity"),
    (RISK_VENUE, "RISK_VENUE", "all positions at one venue, open orders included, could exceed the share of equity"),
    (RISK_STREAK, "RISK_STREAK", "so many positions in a row were closed at a loss that there is a pause"),
    (RISK_CORRELATION, "RISK_CORRELATION", "the position would move too much like one that is open, or may do so"),
    (RISK_SHARD_RATE, "RISK_SHARD_RATE", "the shard opens more often than all its instruments together may"),
    (RISK_ORDER_RATE, "RISK_ORDER_RATE", "all shards together open more often than they may"),
    (RISK_MESSAGE_RATE, "RISK_MESSAGE_RATE", "what is left of the message rate is for exits, stops and cancels"),
    (RISK_REPEAT, "RISK_REPEAT", "the same side of one instrument again and again: stopped until a person resets it"),
    (RISK_STOP_FAR, "RISK_STOP_FAR", "the stop-loss is too far from the price"),
    (RISK_STOP_LOSS, "RISK_STOP_LOSS", "the loss at the stop, costs included, exceeds the share of equity allowed"),
    (RISK_SELF_TRADE, "RISK_SELF_TRADE", "an own order on the other side is open at a price that this one could meet"),
    (
        RISK_STRATEGY,
        "RISK_STRATEGY",
        "all positions of a strategy, open orders included, could exceed its share",
    ),
    (
        RISK_REDUCE_ONLY,
        "RISK_REDUCE_ONLY",
        "a reduce-only order is larger than the position that it could reduce",
    ),
    (RISK_VALUE_AT_RISK, "RISK_VALUE_AT_RISK", "the account could lose more than the share of equity allowed"),
    (RISK_SHORTFALL, "RISK_SHORTFALL", "the account could lose more on average in the worst cases than is allowed"),
    (EXEC_RING_FULL, "EXEC_RING_FULL", "the intent ring is full"),
    (EXEC_DUPLICATE, "EXEC_DUPLICATE", "this decision was already taken"),
    (EXEC_GATE_SHUT, "EXEC_GATE_SHUT", "execution's gate is shut"),
    (EXEC_JOURNAL_FULL, "EXEC_JOURNAL_FULL", "the journal has no room"),
    (EXEC_TABLE_FULL, "EXEC_TABLE_FULL", "the order table has no free row"),
    (EXEC_VENUE_BUSY, "EXEC_VENUE_BUSY", "the venue's request ring is full"),
    (EXEC_UNKNOWN_INSTRUMENT, "EXEC_UNKNOWN_INSTRUMENT", "no such instrument on this shard"),
    (EXEC_NEVER_LANDED, "EXEC_NEVER_LANDED", "the venue proved that the order never arrived"),
    (EXEC_NO_QUOTE, "EXEC_NO_QUOTE", "execution has no live quote of the instrument"),
    (VENUE_POST_ONLY, "VENUE_POST_ONLY", "a post-only order would have taken"),
    (VENUE_REDUCE_ONLY, "VENUE_REDUCE_ONLY", "a reduce-only order has nothing to reduce"),
    (VENUE_UNKNOWN_ORDER, "VENUE_UNKNOWN_ORDER", "no such open order"),
    (VENUE_DUPLICATE_ID, "VENUE_DUPLICATE_ID", "the client order id was used before"),
    (VENUE_FILTER, "VENUE_FILTER", "price, quantity or value is outside the venue's filters"),
    (VENUE_BALANCE, "VENUE_BALANCE", "the balance does not cover the order"),
    (VENUE_TOO_MANY_ORDERS, "VENUE_TOO_MANY_ORDERS", "the venue's limit of open orders is reached"),
    (VENUE_NO_MARKET, "VENUE_NO_MARKET", "the venue has no book for a market order"),
    (VENUE_STOP_WOULD_TRIGGER, "VENUE_STOP_WOULD_TRIGGER", "the stop would trigger at once"),
    (VENUE_BAD_REQUEST, "VENUE_BAD_REQUEST", "the request is malformed"),
    (VENUE_POSITION, "VENUE_POSITION", "the position could grow beyond the venue's limit"),
    (VENUE_SELF_TRADE, "VENUE_SELF_TRADE", "the order would have traded with one of the same account"),
    (VENUE_NOT_WHOLE, "VENUE_NOT_WHOLE", "a fill-or-kill order cannot be filled whole"),
    (VENUE_LIST, "VENUE_LIST", "the order belongs to an order list"),
    (VENUE_SPENT, "VENUE_SPENT", "what is left of the amount buys or sells no lot"),
    (VENUE_RATE, "VENUE_RATE", "the requests that the venue allows are used up"),
    (VENUE_TIME, "VENUE_TIME", "the request came too late, or by a clock that is not the venue's"),
    (VENUE_KEY, "VENUE_KEY", "the venue does not accept the key"),
    (VENUE_DOWN, "VENUE_DOWN", "the venue cannot be reached, or its state is not known yet; nothing was sent"),
    (VENUE_DIFFERS, "VENUE_DIFFERS", "the venue holds another position than execution; nothing was sent"),
    (VENUE_TOO_LARGE, "VENUE_TOO_LARGE", "more than the venue takes in one order to the market"),
    (VENUE_TOO_SMALL, "VENUE_TOO_SMALL", "less than the venue takes in one order"),
)
REJECT_NAMES = {code: name for code, name, _ in REJECTS}
REJECT_REASONS = {code: reason for code, _, reason in REJECTS}

# --- how entries are sized, and what decided the size of one ------------------------------------------------------
SIZING_FRACTION, SIZING_KELLY, SIZING_VOLATILITY, SIZING_VALUE_AT_RISK = range(4)
SIZED_BY = (
    "fixed fraction", "quarter Kelly", "volatility target", "value at risk", "too little evidence", "position limit",
    "order value", "order size", "loss at the stop",
)  # fmt: skip
(
    SIZED_BY_FRACTION, SIZED_BY_KELLY, SIZED_BY_VOLATILITY, SIZED_BY_VALUE_AT_RISK, SIZED_BY_EVIDENCE,
    SIZED_BY_POSITION, SIZED_BY_NOTIONAL, SIZED_BY_ORDER_SIZE, SIZED_BY_STOP_LOSS,
) = range(9)  # fmt: skip

# --- reasons for which an input message never becomes a tick ------------------------------------------------------
INPUT_OK = 0
INPUT_REASONS = (
    "", "unparsable", "unknown_stream", "wrong_symbol", "bad_number", "negative", "zero", "off_tick", "off_lot",
    "crossed", "duplicate", "out_of_order", "gap", "before_snapshot", "no_snapshot", "non_market_trade", "time_back",
    "too_many_levels", "overflow", "book_crossed", "id_leap", "bad_checksum",
    "spike", "venue_time", "halted", "unlike_quote",
)  # fmt: skip
(
    _, INPUT_UNPARSABLE, INPUT_UNKNOWN_STREAM, INPUT_WRONG_SYMBOL, INPUT_BAD_NUMBER, INPUT_NEGATIVE, INPUT_ZERO,
    INPUT_OFF_TICK, INPUT_OFF_LOT, INPUT_CROSSED, INPUT_DUPLICATE, INPUT_OUT_OF_ORDER, INPUT_GAP,
    INPUT_BEFORE_SNAPSHOT, INPUT_NO_SNAPSHOT, INPUT_NON_MARKET_TRADE, INPUT_TIME_BACK, INPUT_TOO_MANY_LEVELS,
    INPUT_OVERFLOW, INPUT_BOOK_CROSSED, INPUT_ID_LEAP, INPUT_BAD_CHECKSUM,
    INPUT_SPIKE, INPUT_VENUE_TIME, INPUT_HALTED, INPUT_UNLIKE_QUOTE,
) = range(26)  # fmt: skip
N_INPUT_REASONS = 26
