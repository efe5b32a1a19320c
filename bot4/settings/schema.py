"""The settings as frozen structs, and the named bound of every field.

Four files: the session (`paper.toml`), and beside it `limits.toml`, `instruments.toml` and `topology.toml`. Unknown
keys are refused. Bounds keep integer arithmetic of the kernels inside 63 bits; where that is the reason it is written.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec

from bot4.model.breaker import MOST_FAILURES
from bot4.model.queue import QUEUE_FORM
from bot4.settings.bound import Amount, AutoCores, AutoInteger, Choice, Integer, Parameters, Text, Truth

MAX_SHARDS = 64  # as many as the shared memory has lines for; a test compares
MAX_INSTRUMENTS = 256

# --- session -------------------------------------------------------------------------------------------------------
MODE = Choice("MODE", ("paper", "live"))
ACCOUNT_ID = Integer("ACCOUNT_ID", 1, 32_767, "the account")  # top bits of an order id that stays positive as int64
EQUITY = Amount("EQUITY", "1", "1000000", "quote currency")  # equity_e8 x 10,000 bps stays 9 x below 2**63
QUOTE = Text("QUOTE", "[A-Z0-9]{1,12}", 'a currency such as "USDT"')
STATE_FOLDER = Text("STATE_FOLDER", r"[^\x00-\x1f]{1,512}", "a folder name")
STRICT = Truth("STRICT")
STRATEGY_ID = Integer("STRATEGY_ID", 1, 65_535, "the strategy")
STRATEGY_MODULE = Text(
    "STRATEGY_MODULE",
    r"[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,15}",
    'a module such as "bot4.strategies.trend"',
)
STRATEGY_PARAMETER = Parameters("STRATEGY_PARAMETER")
LATENCY_US = Integer("LATENCY_US", 1, 10_000_000, "microseconds")  # 0 would leave several processes no lookahead
LATENCY_MODEL = Choice("LATENCY_MODEL", ("constant", "log_normal", "recorded", "interpolated"))
LATENCY_SIGMA = Amount("LATENCY_SIGMA", "0.01", "5", "the latency's logarithm")
LATENCY_SEED = Integer("LATENCY_SEED", 0, 2**53 - 1, "the drawn latencies")
URL = Text(
    "URL",
    r"(https|wss)://[A-Za-z0-9.:\[\]-]{1,253}(/[A-Za-z0-9._~/-]{0,200})?",
    'an address such as "wss://host/path"',
)
IMPACT_MODEL = Choice("IMPACT_MODEL", ("linear", "square_root", "almgren_chriss"))
IMPACT_COEFFICIENT = Amount("IMPACT_COEFFICIENT", "0.00000001", "100", "the price, as a share")
DAILY_QUANTITY = Amount("DAILY_QUANTITY", "0.00000001", "1000000000000", "base currency")
IMPACT_PRICE = Amount("IMPACT_PRICE", "0", "1000000", "quote currency")
TAU_S = Integer("TAU_S", 1, 86_400, "seconds")
QUEUE_MODEL = Text("QUEUE_MODEL", "[a-z][a-z0-9:.-]{1,20}", f"one of {QUEUE_FORM}")
FILE = Text("FILE", r"[^\x00-\x1f]{1,512}", "a file name")
DEAD_MAN_S = Integer("DEAD_MAN_S", 0, 300, "seconds")
CCXT = Text("CCXT", "[a-z0-9]{2,32}", 'ccxt\'s name of a venue, such as "bybit"')
TOTALS_GRID_MS = Integer("TOTALS_GRID_MS", 1, 60_000, "milliseconds")
RECORD_FOLDER = Text("RECORD_FOLDER", r"[^\x00-\x1f]{1,512}", "a folder name")
RECORD_RAW = Choice("RECORD_RAW", ("off", "on"))
PART_MB = Integer("PART_MB", 1, 1_024, "megabytes")
PART_S = Integer("PART_S", 1, 3_600, "seconds")

# --- limits --------------------------------------------------------------------------------------------------------
POSITION_BPS = Integer("POSITION_BPS", 1, 10_000, "basis points of equity")  # never more than the equity itself
ORDER_NOTIONAL = Amount("ORDER_NOTIONAL", "1", "1000000", "quote currency")
ORDER_LOTS = Integer("ORDER_LOTS", 1, 1_000_000_000, "lots")
COLLAR_BPS = Integer("COLLAR_BPS", 1, 2_000, "basis points of the mid price")
DRAWDOWN_BPS = Integer("DRAWDOWN_BPS", 1, 5_000, "basis points of the high-water mark")
DAILY_LOSS_BPS = Integer("DAILY_LOSS_BPS", 1, 5_000, "basis points of the day's first equity")
OPEN_ORDERS = Integer("OPEN_ORDERS", 1, 200, "orders")
COOL_DOWN_MS = Integer("COOL_DOWN_MS", 0, 86_400_000, "milliseconds")  # 0: none
BUCKET_TOKENS = Integer("BUCKET_TOKENS", 1, 10_000, "orders")
BUCKET_REFILL_MS = Integer("BUCKET_REFILL_MS", 1, 3_600_000, "milliseconds")
RATE_TOKENS = Integer("RATE_TOKENS", 1, 10_000, "orders")
RATE_REFILL_MS = Integer("RATE_REFILL_MS", 1, 60_000, "milliseconds")
MESSAGE_TOKENS = Integer("MESSAGE_TOKENS", 2, 10_000, "messages")  # half of them are for what must get through
REPEAT_ORDERS = Integer("REPEAT_ORDERS", 1, 1_000, "orders in a row")
REPEAT_PAUSE_MS = Integer("REPEAT_PAUSE_MS", 1_000, 86_400_000, "milliseconds")
STOP_BPS = Integer("STOP_BPS", 1, 5_000, "basis points of the order's price")
STOP_LOSS_BPS = Integer("STOP_LOSS_BPS", 1, 1_000, "basis points of equity")
SLIPPAGE_BPS = Integer("SLIPPAGE_BPS", 0, 5_000, "basis points of the stop's price")
STOP_CONFIRM_MS = Integer("STOP_CONFIRM_MS", 1, 1_000, "milliseconds")  # no fill stands without its stop for longer
QUOTE_AGE_MS = Integer("QUOTE_AGE_MS", 1, 60_000, "milliseconds")
SPIKE_BPS = Integer("SPIKE_BPS", 1, 10_000, "basis points of the mid price")
VENUE_TIME_MS = Integer("VENUE_TIME_MS", 100, 600_000, "milliseconds")  # an hour ahead is never believed
SILENCE_MS = Integer("SILENCE_MS", 1, 600_000, "milliseconds")
LAG_MS = Integer("LAG_MS", 1, 10_000, "milliseconds")
BREAKER_FAILURES = Integer("BREAKER_FAILURES", 1, MOST_FAILURES, "failures")
BREAKER_MS = Integer("BREAKER_MS", 1, 3_600_000, "milliseconds")
WATCHED_FAILURES = Integer("WATCHED_FAILURES", 1, MOST_FAILURES, "failures")
WATCHED_BPS = Integer("WATCHED_BPS", 1, 10_000, "1/10000 of the calls")
WATCHED_CALLS = Integer("WATCHED_CALLS", 1, 100_000, "calls")
SLOW_MS = Integer("SLOW_MS", 1, 600_000, "milliseconds")
WATCHED_MS = Integer("WATCHED_MS", 100, 3_600_000, "milliseconds")
DOUBLINGS = Integer("DOUBLINGS", 0, 8, "doublings")
PROBES = Integer("PROBES", 1, 1_000, "calls")
EXPOSURE_BPS = Integer("EXPOSURE_BPS", 1, 10_000, "basis points of equity")  # nothing is bought with borrowed money
KILL_BPS = Integer("KILL_BPS", 1, 10_000, "basis points")  # 10000: never before all is lost
STREAK_LOSSES = Integer("STREAK_LOSSES", 1, 1_000, "losses in a row")
STREAK_PAUSE_MS = Integer("STREAK_PAUSE_MS", 1, 604_800_000, "milliseconds")
CORRELATION_BPS = Integer("CORRELATION_BPS", 0, 10_000, "1/10000")  # 10000: no limit
CORRELATION_HALF_LIFE_S = Integer("CORRELATION_HALF_LIFE_S", 10, 604_800, "seconds")
VAR_BPS = Integer("VAR_BPS", 1, 10_000, "basis points of equity")
VAR_CONFIDENCE_BPS = Integer("VAR_CONFIDENCE_BPS", 9_000, 9_990, "1/10000")  # of 1,024 seconds one is left at the least
VAR_HORIZON_S = Integer("VAR_HORIZON_S", 1, 864_000, "seconds")
CAPITAL = Amount("CAPITAL", "1", "1000000", "quote currency")  # as much as EQUITY may be
DAY_OFFSET_MINUTES = Integer("DAY_OFFSET_MINUTES", 0, 1_439, "minutes after midnight UTC")

# --- instruments -----------------------------------------------------------------------------------------------------
SYMBOL = Text("SYMBOL", "[A-Z0-9][A-Z0-9_/-]{0,31}", 'the venue\'s symbol in capitals, such as "BTCUSDT"')
LIVE_VENUES = ("binance_spot", "binance_usdm", "bybit_spot", "bybit_linear", "kraken", "coinbase")
TRADED_VENUES = ("bybit_linear", "binance_spot")  # that orders can be sent to
VENUE = Choice("VENUE", (*LIVE_VENUES, "synthetic"))
SPOT_VENUES = ("binance_spot", "bybit_spot", "kraken", "coinbase", "synthetic")  # no short position there
TICK_SIZE = Amount("TICK_SIZE", "0.00000001", "100000", "quote currency")
LOT_SIZE = Amount("LOT_SIZE", "0.00000001", "100000", "base currency")
MIN_NOTIONAL = Amount("MIN_NOTIONAL", "0", "100000", "quote currency")
QUANTITY = Amount("QUANTITY", "0.00000001", "1000000000", "base currency")
# Two per cent is more than any of the venues takes; steps of one part per million.
FEE_BPS = Amount("FEE_BPS", "-10", "200", "basis points", Decimal("0.01"))

# --- topology --------------------------------------------------------------------------------------------------------
SHARDS = AutoInteger("SHARDS", 1, MAX_SHARDS, "shard processes")
COMPOSE = Choice("COMPOSE", ("auto", "one", "processes"))
CORES = AutoCores("CORES", 1_023)
IDLE_STRATEGIES = ("spin", "backoff", "block", "controlled")
IDLE = Choice("IDLE", IDLE_STRATEGIES)
HEARTBEAT_MS = Integer("HEARTBEAT_MS", 100, 600_000, "milliseconds")
RESTARTS = Integer("RESTARTS", 0, 1_000, "restarts")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table of the settings: frozen, and an unknown key is an error."""


class Account(Table, frozen=True):
    """Whose money, and how much of it."""

    id: Annotated[int, ACCOUNT_ID]
    equity: Annotated[str, EQUITY]
    quote: Annotated[str, QUOTE]  # what all its money is counted in


class State(Table, frozen=True):
    """Where kill latch, lock and journal live."""

    folder: Annotated[str, STATE_FOLDER]
    strict: Annotated[bool | None, STRICT] = None  # true: an order goes out when its record in the journal is synced


class Strategy(Table, frozen=True):
    """Which strategy runs, with which parameters."""

    id: Annotated[int, STRATEGY_ID]
    module: Annotated[str, STRATEGY_MODULE]
    params: Annotated[dict[str, int | float], STRATEGY_PARAMETER]


class WayLatency(Table, frozen=True):
    """How long messages of one way take, where that is more than the least."""

    model: Annotated[str, LATENCY_MODEL]
    us: Annotated[int | None, LATENCY_US] = None
    sigma: Annotated[str | None, LATENCY_SIGMA] = None
    seed: Annotated[int | None, LATENCY_SEED] = None
    file: Annotated[str | None, FILE] = None


class SimulatedVenue(Table, frozen=True):
    """The least ways there and back of the simulated venue; they are also the lookahead of an event-paced session."""

    order_latency_us: Annotated[int, LATENCY_US]
    report_latency_us: Annotated[int, LATENCY_US]
    internal_latency_us: Annotated[int, LATENCY_US]
    order: WayLatency | None = None
    cancel: WayLatency | None = None
    report: WayLatency | None = None
    data: WayLatency | None = None  # left out: none beside what is in the recorded times
    queue: Annotated[str | None, QUEUE_MODEL] = None  # left out: risk-averse


class Gateway(Table, frozen=True):
    """Where a venue is reached; what is left out is the venue's own public address, and the system's certificates.

    The last four are those of the venue that a live session trades on.
    """

    rest_url: Annotated[str | None, URL] = None
    ws_url: Annotated[str | None, URL] = None
    ca_file: Annotated[str | None, FILE] = None
    ws_private_url: Annotated[str | None, URL] = None
    key_file: Annotated[str | None, FILE] = None
    dead_man_s: Annotated[int | None, DEAD_MAN_S] = None
    ccxt: Annotated[str | None, CCXT] = None  # ccxt's name of the venue: orders go through it; left out: natively


class Venue(Table, frozen=True):
    """The venues that a session trades on, and those that it hears."""

    sim: SimulatedVenue | None = None  # on paper
    binance_spot: Gateway | None = None
    binance_usdm: Gateway | None = None
    bybit_spot: Gateway | None = None
    bybit_linear: Gateway | None = None
    kraken: Gateway | None = None
    coinbase: Gateway | None = None


class Portfolio(Table, frozen=True):
    """How often the totals reach the shards, and what is known of the instruments before the session."""

    totals_grid_ms: Annotated[int, TOTALS_GRID_MS]
    history: Annotated[str | None, RECORD_FOLDER] = None  # left out: nothing


class Profile(Table, frozen=True):
    """Where a kind of session is held shorter than `limits.toml` says."""

    drawdown_bps: Annotated[int, DRAWDOWN_BPS]


class Recorder(Table, frozen=True):
    """Where the market is recorded, and how much of it is in memory at most."""

    folder: Annotated[str, RECORD_FOLDER]
    raw: Annotated[str, RECORD_RAW]
    part_mb: Annotated[int, PART_MB]
    part_s: Annotated[int, PART_S]


class Session(Table, frozen=True):
    """`paper.toml`."""

    mode: Annotated[str, MODE]
    account: Account
    state: State
    strategy: Strategy
    venue: Venue
    portfolio: Portfolio
    profile: Profile | None = None  # left out: limits.toml alone
    recorder: Recorder | None = None  # left out: nothing is recorded


class Limits(Table, frozen=True):
    """What no order and no loss may exceed."""

    position_bps: Annotated[int, POSITION_BPS]
    order_notional: Annotated[str, ORDER_NOTIONAL]
    order_lots: Annotated[int, ORDER_LOTS]
    collar_bps: Annotated[int, COLLAR_BPS]
    drawdown_bps: Annotated[int, DRAWDOWN_BPS]
    daily_loss_bps: Annotated[int, DAILY_LOSS_BPS]
    open_orders: Annotated[int, OPEN_ORDERS]
    cool_down_ms: Annotated[int, COOL_DOWN_MS]
    bucket_tokens: Annotated[int, BUCKET_TOKENS]
    bucket_refill_ms: Annotated[int, BUCKET_REFILL_MS]
    shard_tokens: Annotated[int, RATE_TOKENS]
    shard_refill_ms: Annotated[int, RATE_REFILL_MS]
    order_tokens: Annotated[int, RATE_TOKENS]
    order_refill_ms: Annotated[int, RATE_REFILL_MS]
    message_tokens: Annotated[int, MESSAGE_TOKENS]
    message_refill_ms: Annotated[int, RATE_REFILL_MS]
    repeat_orders: Annotated[int, REPEAT_ORDERS]
    repeat_pause_ms: Annotated[int, REPEAT_PAUSE_MS]
    stop_bps: Annotated[int, STOP_BPS]
    stop_loss_bps: Annotated[int, STOP_LOSS_BPS]
    slippage_bps: Annotated[int, SLIPPAGE_BPS]
    stop_confirm_ms: Annotated[int, STOP_CONFIRM_MS]
    quote_age_ms: Annotated[int, QUOTE_AGE_MS]
    lag_ms: Annotated[int, LAG_MS]
    silence_ms: Annotated[int, SILENCE_MS]
    spike_bps: Annotated[int, SPIKE_BPS]
    venue_time_ms: Annotated[int, VENUE_TIME_MS]
    breaker_failures: Annotated[int, BREAKER_FAILURES]
    breaker_window_ms: Annotated[int, BREAKER_MS]
    breaker_open_ms: Annotated[int, BREAKER_MS]
    day_offset_minutes: Annotated[int, DAY_OFFSET_MINUTES]
    gross_bps: Annotated[int, EXPOSURE_BPS]
    net_bps: Annotated[int, EXPOSURE_BPS]
    venue_bps: Annotated[int, EXPOSURE_BPS]
    strategy_bps: Annotated[int, EXPOSURE_BPS]
    kill_daily_loss_bps: Annotated[int, KILL_BPS]
    kill_drawdown_bps: Annotated[int, KILL_BPS]
    streak_losses: Annotated[int, STREAK_LOSSES]
    streak_pause_ms: Annotated[int, STREAK_PAUSE_MS]
    capital: Annotated[str, CAPITAL]
    correlation_bps: Annotated[int, CORRELATION_BPS]
    correlation_half_life_s: Annotated[int, CORRELATION_HALF_LIFE_S]
    var_bps: Annotated[int, VAR_BPS]
    shortfall_bps: Annotated[int, VAR_BPS]
    var_confidence_bps: Annotated[int, VAR_CONFIDENCE_BPS]
    var_horizon_s: Annotated[int, VAR_HORIZON_S]


class Breaker(Table, frozen=True):
    """The circuit breaker of one component: what is left out is not watched, and without an open time it stays open."""

    window_ms: Annotated[int, WATCHED_MS]
    failures: Annotated[int | None, WATCHED_FAILURES] = None
    failure_bps: Annotated[int | None, WATCHED_BPS] = None
    slow_ms: Annotated[int | None, SLOW_MS] = None
    slow_bps: Annotated[int | None, WATCHED_BPS] = None
    calls: Annotated[int | None, WATCHED_CALLS] = None
    open_ms: Annotated[int | None, WATCHED_MS] = None
    doublings: Annotated[int | None, DOUBLINGS] = None
    probes: Annotated[int | None, PROBES] = None


class Breakers(Table, frozen=True):
    """Those whose settings are a person's; a failed sync of the journal is final, and the venue's are limits."""

    execution: Breaker
    recorder: Breaker
    feed: Breaker
    parser: Breaker
    shard: Breaker
    model: Breaker


class LimitsFile(Limits, frozen=True):
    """`limits.toml`: the limits, and the breakers' table."""

    breaker: Breakers


class Impact(Table, frozen=True):
    """What our own taking does to the price that the simulated venue takes of us."""

    model: Annotated[str, IMPACT_MODEL]
    coefficient: Annotated[str | None, IMPACT_COEFFICIENT] = None  # linear, square_root: for a whole day's turnover
    daily_quantity: Annotated[str | None, DAILY_QUANTITY] = None  # linear, square_root: a day's turnover
    gamma: Annotated[str | None, IMPACT_PRICE] = None  # almgren_chriss: for good, by unit of the base currency
    eta: Annotated[str | None, IMPACT_PRICE] = None  # almgren_chriss: passing, by unit a second
    epsilon: Annotated[str | None, IMPACT_PRICE] = None  # almgren_chriss: passing, whatever the quantity
    tau_s: Annotated[int | None, TAU_S] = None  # almgren_chriss: length of an interval


class Instrument(Table, frozen=True):
    """One tradable thing on one venue."""

    symbol: Annotated[str, SYMBOL]
    venue: Annotated[str, VENUE]
    tick_size: Annotated[str, TICK_SIZE]
    lot_size: Annotated[str, LOT_SIZE]
    min_notional: Annotated[str, MIN_NOTIONAL]
    min_qty: Annotated[str, QUANTITY]
    max_qty: Annotated[str, QUANTITY]
    maker_fee_bps: Annotated[str, FEE_BPS]
    taker_fee_bps: Annotated[str, FEE_BPS]
    quote: Annotated[str | None, QUOTE] = None  # what its prices are in; left out: what the account counts in
    silence_ms: Annotated[int | None, SILENCE_MS] = None  # instead of the limits' own
    venue_lot: Annotated[str | None, LOT_SIZE] = None  # the venue's own step of quantities, where lot_size is coarser
    impact: Impact | None = None  # on paper; left out: our taking moves no price


class Instruments(Table, frozen=True):
    """`instruments.toml`."""

    instrument: tuple[Instrument, ...]


class Cores(Table, frozen=True):
    """On which cores the agents are pinned."""

    feed: Annotated[str | tuple[int, ...], CORES]
    shards: Annotated[str | tuple[int, ...], CORES]  # shard k takes the k-th of the list, round and round
    execution: Annotated[str | tuple[int, ...], CORES]
    venue: Annotated[str | tuple[int, ...], CORES]


class Idle(Table, frozen=True):
    """What an agent does when there is nothing to do."""

    feed: Annotated[str, IDLE]
    shards: Annotated[str, IDLE]
    execution: Annotated[str, IDLE]
    venue: Annotated[str, IDLE]


class Supervision(Table, frozen=True):
    """When a worker counts as hung, and how often it is started again."""

    heartbeat_timeout_ms: Annotated[int, HEARTBEAT_MS]
    restarts_max: Annotated[int, RESTARTS]


class Topology(Table, frozen=True):
    """`topology.toml`: processes, cores, waiting."""

    shards: Annotated[int | str, SHARDS]
    compose: Annotated[str, COMPOSE]
    cores: Cores
    idle: Idle
    supervision: Supervision


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All four files, checked."""

    path: Path  # of the session's file; the other three lie beside it
    mode: str
    account: Account
    state: State
    strategy: Strategy
    venue: Venue
    portfolio: Portfolio
    profile: Profile | None
    recorder: Recorder | None
    limits: Limits
    breakers: Breakers
    instruments: tuple[Instrument, ...]
    topology: Topology
