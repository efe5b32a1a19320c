"""From checked settings to the integer records that kernels take; what is not exact is refused by the field's name.

User units become record units here and nowhere else: milliseconds and microseconds to ns, decimal strings to 1e-8,
basis points of fees to parts per million.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from bot4.model.breaker import (
    LIMIT_CALLS,
    LIMIT_DOUBLINGS,
    LIMIT_FAILURE_BPS,
    LIMIT_FAILURES,
    LIMIT_OPEN_NS,
    LIMIT_PROBES,
    LIMIT_SLOW_BPS,
    LIMIT_SLOW_NS,
    LIMIT_WINDOW_NS,
)
from bot4.model.errors import InputError, SettingsError, UnitError
from bot4.model.impact import IMPACT, IMPACT_ALMGREN_CHRISS, IMPACT_LINEAR, IMPACT_SQUARE_ROOT
from bot4.model.latency import Latency, constant, interpolated, log_normal, recorded
from bot4.model.queue import AVERSE, QUEUE_FORM, QueueModel, read_queue
from bot4.model.records import INSTRUMENT, LIMITS, SESSION
from bot4.model.units import BPS, decimal_string, from_e8, to_e8, to_units
from bot4.settings.bound import shown
from bot4.settings.schema import (
    LIVE_VENUES,
    MAX_INSTRUMENTS,
    MAX_SHARDS,
    SPOT_VENUES,
    TRADED_VENUES,
    UNTRADED,
    Breaker,
    Breakers,
    Instrument,
    Session,
    Settings,
    WayLatency,
)

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_MINUTE = 60 * 1_000 * NS_PER_MS
FEE_STEP = Decimal("0.01")  # basis points in one part per million
MAX_LOTS = 2**53  # a quantity stays exact even where a chart turns it into a float


def limits_record(settings: Settings) -> np.ndarray:
    """The limits as kernels take them: LIMITS[1]."""
    limits = settings.limits
    record = np.zeros(1, LIMITS)
    row = record[0]
    for name in ("position_bps", "order_lots", "collar_bps", "drawdown_bps", "daily_loss_bps", "open_orders",
                 "gross_bps", "net_bps", "venue_bps", "streak_losses", "correlation_bps", "bucket_tokens",
                 "shard_tokens", "order_tokens", "message_tokens", "repeat_orders", "stop_bps", "stop_loss_bps",
                 "slippage_bps", "breaker_failures", "var_bps", "shortfall_bps", "var_confidence_bps",
                 "var_horizon_s", "strategy_bps", "kill_daily_loss_bps", "kill_drawdown_bps"):  # fmt: skip
        row[name] = getattr(limits, name)
    if settings.profile is not None:
        row["drawdown_bps"] = min(limits.drawdown_bps, settings.profile.drawdown_bps)
    row["order_notional_e8"] = to_e8(limits.order_notional, "limits.toml: order_notional")
    for name in ("cool_down", "bucket_refill", "shard_refill", "order_refill", "message_refill", "repeat_pause",
                 "stop_confirm", "quote_age", "breaker_window", "breaker_open", "streak_pause"):  # fmt: skip
        row[f"{name}_ns"] = getattr(limits, f"{name}_ms") * NS_PER_MS
    row["correlation_decay_ppb"] = round(0.5 ** (1 / limits.correlation_half_life_s) * 1_000_000_000)
    row["capital_e8"] = to_e8(limits.capital, "limits.toml: capital")
    row["day_offset_ns"] = limits.day_offset_minutes * NS_PER_MINUTE
    return record


def breaker_words(settings: Settings) -> dict[str, np.ndarray]:
    """By component: its settings as they stand in its rows of `Wires.breakers`.

    SettingsError where fields do not fit together. The journal's is no setting: what could not be synced once may be
    lost, whatever comes after.
    """
    file = settings.path.with_name("limits.toml")
    found = {"journal": np.zeros(LIMIT_PROBES + 1 - LIMIT_FAILURES, np.int64)}
    found["journal"][[0, LIMIT_WINDOW_NS - LIMIT_FAILURES]] = 1, NS_PER_MS
    for name in Breakers.__struct_fields__:
        one: Breaker = getattr(settings.breakers, name)
        _check_breaker(f"{file}: breaker.{name}", name, one)
        line = found[name] = np.zeros(LIMIT_PROBES + 1 - LIMIT_FAILURES, np.int64)
        for field, (column, unit) in BREAKER_COLUMNS.items():
            line[column - LIMIT_FAILURES] = (getattr(one, field) or 0) * unit
    return found


BREAKER_COLUMNS = {
    "failures": (LIMIT_FAILURES, 1), "window_ms": (LIMIT_WINDOW_NS, NS_PER_MS), "calls": (LIMIT_CALLS, 1),
    "failure_bps": (LIMIT_FAILURE_BPS, 1), "slow_ms": (LIMIT_SLOW_NS, NS_PER_MS), "slow_bps": (LIMIT_SLOW_BPS, 1),
    "open_ms": (LIMIT_OPEN_NS, NS_PER_MS), "doublings": (LIMIT_DOUBLINGS, 1), "probes": (LIMIT_PROBES, 1),
}  # fmt: skip
_UNWATCHED = {  # fields that a component has no use for
    "shard": ("failure_bps", "slow_ms", "slow_bps", "calls", "open_ms", "doublings", "probes"),  # quarantine has no end
    "model": ("failure_bps", "slow_ms", "slow_bps", "calls"),
    "parser": ("failures", "slow_ms", "slow_bps"),
}
_TOGETHER = (("failure_bps", "calls"), ("slow_bps", "calls"), ("slow_bps", "slow_ms"), ("slow_ms", "slow_bps"),
             ("doublings", "open_ms"), ("probes", "open_ms"))  # fmt: skip


def _check_breaker(at: str, name: str, one: Breaker) -> None:
    for field in _UNWATCHED.get(name, ()):
        if getattr(one, field) is not None:
            raise SettingsError(f"{at}.{field}: the breaker of the {name} does not go by it; remove it")
    for field, needed in _TOGETHER:
        if getattr(one, field) is not None and getattr(one, needed) is None:
            raise SettingsError(f"{at}.{needed}: missing; add it, {field} needs it, or remove {field}")
    if one.open_ms is None and name != "shard":
        raise SettingsError(f"{at}.open_ms: missing; add it, or what opens it would end the {name} for good")
    if one.failures is None and one.failure_bps is None and one.slow_bps is None:
        watched = "failure_bps" if name == "parser" else "failures"
        raise SettingsError(f"{at}.{watched}: missing; add it, or nothing would ever open this breaker")


def limit_field(name: str) -> str:
    """The field of `limits.toml` that a field of LIMITS comes from."""
    if name == "correlation_decay_ppb":
        return "correlation_half_life_s"
    if name == "day_offset_ns":
        return "day_offset_minutes"
    return name.removesuffix("_e8") if name.endswith("_e8") else name.replace("_ns", "_ms")


def limit_text(name: str, value: int) -> str:
    """A value of LIMITS, by its field there, as `limits.toml` writes it."""
    if name.endswith("_e8"):
        return from_e8(value)
    return str(value // NS_PER_MS) if name.endswith("_ns") else str(value)


def instrument_records(
    settings: Settings, chosen: Sequence[tuple[str, str]], n_shards: int, *, traded: bool = True
) -> np.ndarray:
    """The chosen instruments, indexed in the order given and dealt to the shards in turn.

    Parameters
    ----------
    settings : checked settings
    chosen : (symbol, venue) of each source of the feed
    n_shards : 1 .. MAX_SHARDS
    traded : False: recorded alone, so what the account counts in and what its limits allow is of no concern

    Returns
    -------
    INSTRUMENT[len(chosen)]
    """
    if not 1 <= n_shards <= MAX_SHARDS:
        raise SettingsError(f"topology.toml: shards: {n_shards} is outside SHARDS; write 1 to {MAX_SHARDS}")
    if not 1 <= len(chosen) <= MAX_INSTRUMENTS:
        raise SettingsError(f"instruments: {len(chosen)} chosen; choose 1 to {MAX_INSTRUMENTS}")
    file = str(settings.path.with_name("instruments.toml"))
    rows = {(row.symbol, row.venue): (index, row) for index, row in enumerate(settings.instruments)}
    venues = sorted({venue for _, venue in chosen})
    records = np.zeros(len(chosen), INSTRUMENT)
    for index, key in enumerate(chosen):
        if key not in rows:
            raise SettingsError(f'{file}: no instrument "{key[0]}" of venue "{key[1]}"; add an [[instrument]] for it')
        if key in chosen[:index]:
            raise SettingsError(f"instrument {key[0]} of {key[1]} comes from two sources; name its files as one chain")
        position, instrument = rows[key]
        at = f"{file}: instrument[{position}]"
        if traded and instrument.quote not in (None, settings.account.quote):
            raise SettingsError(
                f"{at}.quote: {instrument.symbol} is priced in {instrument.quote}, the account counts in "
                f"{settings.account.quote}; leave the instrument out, or give it an account of its own"
            )
        _fill_instrument(records[index], instrument, at)
        records[index]["index"] = index
        records[index]["venue"] = venues.index(instrument.venue)
        records[index]["shard"] = index % n_shards
        if traded:
            _check_affordable(settings, instrument, at)
    return records


def instrument_sizes(instruments: Sequence[Instrument], file: str) -> np.ndarray:
    """What ticks and lots of checked instruments stand for, whatever the limits say: INSTRUMENT[n], as they are listed.

    `file` names where they stand.
    """
    records = np.zeros(len(instruments), INSTRUMENT)
    for index, instrument in enumerate(instruments):
        _fill_instrument(records[index], instrument, f"{file}: instrument[{index}]")
        records[index]["index"] = index
    return records


def session_record(
    settings: Settings,
    *,
    paced: bool,
    n_shards: int,
    n_instruments: int,
    speed: float = 0.0,
    feed_generation: int = 1,
    measure: bool | None = None,
) -> np.ndarray:
    """What all agents of one session know: SESSION[1].

    Parameters
    ----------
    settings : checked settings
    paced : conservative synchronisation by event time, else free-running
    n_shards, n_instruments : as wired
    speed : event seconds per second of the wall clock; 0: as fast as it goes, where nobody can be late
    feed_generation : counts restarts of the feed, part of every order id
    measure : stamp stages with the time-stamp counter; default: when free-running
    """
    sim = settings.venue.sim
    record = np.zeros(1, SESSION)
    row = record[0]
    row["paced"] = int(paced)
    row["asks_first"] = int(sim is None)
    if sim is not None:  # a real venue takes the time that it takes
        row["order_latency_ns"] = sim.order_latency_us * NS_PER_US
        row["report_latency_ns"] = sim.report_latency_us * NS_PER_US
        row["internal_latency_ns"] = sim.internal_latency_us * NS_PER_US
    row["totals_grid_ns"] = settings.portfolio.totals_grid_ms * NS_PER_MS
    row["start_equity_e8"] = to_e8(settings.account.equity, f"{settings.path}: account.equity")
    row["account"] = settings.account.id
    row["strategy"] = settings.strategy.id
    row["feed_generation"] = feed_generation
    row["n_shards"] = n_shards
    row["n_instruments"] = n_instruments
    row["measure"] = int(not paced if measure is None else measure)
    row["lag_limit_ns"] = 0 if paced else round(settings.limits.lag_ms * NS_PER_MS * speed)
    return record


def latencies_of(settings: Settings) -> tuple[Latency | None, Latency | None, Latency | None]:
    """Tables of the simulated venue's latencies: orders, cancels, reports; None: the least latency of the way.

    Raises SettingsError where a field is missing that the model needs, or its file cannot be used.
    """
    sim = settings.venue.sim
    if sim is None:
        return None, None, None
    return tuple(
        None if one is None else _latency(one, f"{settings.path}: venue.sim.{way}", way == "report")
        for way, one in (("order", sim.order), ("cancel", sim.cancel), ("report", sim.report))
    )  # type: ignore[return-value]


def data_latency_of(settings: Settings) -> Latency | None:
    """Table of the latency of the market's data; None: none. Raises SettingsError as `latencies_of`."""
    sim = settings.venue.sim
    if sim is None or sim.data is None:
        return None
    return _latency(sim.data, f"{settings.path}: venue.sim.data", True)


def queue_of(settings: Settings) -> QueueModel:
    """The simulated venue's queue model; SettingsError if there is none of that name."""
    sim = settings.venue.sim
    if sim is None or sim.queue is None:
        return AVERSE
    model = read_queue(sim.queue)
    if model is None:
        raise SettingsError(f"{settings.path}: venue.sim.queue: {shown(sim.queue)} is none; write {QUEUE_FORM}")
    return model


_IMPACTS = {
    "linear": (IMPACT_LINEAR, ("coefficient", "daily_quantity")),
    "square_root": (IMPACT_SQUARE_ROOT, ("coefficient", "daily_quantity")),
    "almgren_chriss": (IMPACT_ALMGREN_CHRISS, ("gamma", "eta", "epsilon", "tau_s")),
}


def impacts_of(settings: Settings, chosen: Sequence[tuple[str, str]]) -> np.ndarray:
    """How our own taking moves the price of each instrument at the simulated venue: IMPACT[len(chosen)].

    Raises SettingsError where a field is missing that the model needs, or there that it does not use.
    """
    file = str(settings.path.with_name("instruments.toml"))
    rows = {(row.symbol, row.venue): (index, row) for index, row in enumerate(settings.instruments)}
    impacts = np.zeros(len(chosen), IMPACT)
    for record, key in zip(impacts, chosen, strict=True):
        position, instrument = rows[key]
        if instrument.impact is not None:
            _fill_impact(record, instrument, f"{file}: instrument[{position}].impact")
    return impacts


def _fill_impact(record: np.void, instrument: Instrument, at: str) -> None:
    impact = instrument.impact
    assert impact is not None
    record["model"], needed = _IMPACTS[impact.model]
    for name in ("coefficient", "daily_quantity", "gamma", "eta", "epsilon", "tau_s"):
        if (getattr(impact, name) is not None) != (name in needed):
            fix = "add it" if name in needed else "remove it"
            raise SettingsError(f"{at}.{name}: {'missing' if name in needed else 'not used'} by {impact.model}; {fix}")
    tick, lot = Decimal(instrument.tick_size), Decimal(instrument.lot_size)
    record["coefficient"] = float(impact.coefficient or 0)
    record["daily_lots"] = float(Decimal(impact.daily_quantity or 0) / lot)
    record["gamma"] = float(Decimal(impact.gamma or 0) * lot / tick)
    record["eta"] = float(Decimal(impact.eta or 0) * lot / tick)
    record["epsilon"] = float(Decimal(impact.epsilon or 0) / tick)
    record["tau"] = float(impact.tau_s or 0)


_LATENCY_FIELDS = {"constant": ("us",), "log_normal": ("us", "sigma", "seed")}


def _latency(one: WayLatency, at: str, answers: bool) -> Latency:
    needed = _LATENCY_FIELDS.get(one.model, ("file",))
    for name in ("us", "sigma", "seed", "file"):
        if (getattr(one, name) is not None) != (name in needed):
            fix = "add it" if name in needed else "remove it"
            raise SettingsError(f"{at}.{name}: {'missing' if name in needed else 'not used'} by {one.model}; {fix}")
    us = (one.us or 0) * NS_PER_US
    if one.model == "constant":
        return constant(us)
    if one.model == "log_normal":
        return log_normal(us, float(one.sigma or 0), f"{one.seed}.{at.rpartition('.')[2]}")
    try:
        file = Path(one.file or "")
        return recorded(file) if one.model == "recorded" else interpolated(file, answers)
    except InputError as error:
        raise SettingsError(f"{at}.file: {error}") from None


def check_instruments(instruments: Sequence[Instrument], file: str) -> None:
    """Refuse what single fields cannot show: units that do not fit together, and instruments named twice."""
    seen: set[tuple[str, str]] = set()
    for index, instrument in enumerate(instruments):
        at = f"{file}: instrument[{index}]"
        key = (instrument.symbol, instrument.venue)
        if key in seen:
            raise SettingsError(f"{at}.symbol: {key[0]} of {key[1]} is there twice; keep one of them")
        seen.add(key)
        _fill_instrument(np.zeros(1, INSTRUMENT)[0], instrument, at)


def traded_venue(settings: Settings | Session) -> str:
    """The venue that a live session trades on; "" on paper."""
    return next((name for name in TRADED_VENUES if settings.mode == "live" and _key_file(settings, name)), "")


def _key_file(settings: Settings | Session, venue: str) -> str | None:
    gateway = getattr(settings.venue, venue)
    return None if gateway is None else gateway.key_file


def check_mode(file: Path, settings: Session) -> None:
    """Refuse what does not belong to the mode: paper trades on the simulated venue, live on one venue with a key."""
    venue = settings.venue
    with_key = [name for name in LIVE_VENUES if _key_file(settings, name)]
    if settings.mode == "paper":
        if venue.sim is None:
            raise SettingsError(f"{file}: venue.sim: missing; add this table, paper trades on the simulated venue")
        if with_key:
            raise SettingsError(f"{file}: venue.{with_key[0]}.key_file: paper needs no key; remove it")
        return
    if venue.sim is not None:
        raise SettingsError(f"{file}: venue.sim: live trades on a real venue; remove this table")
    for name in with_key:
        if name in UNTRADED:
            raise SettingsError(
                f"{file}: venue.{name}.key_file: orders cannot be sent to {name}, natively or through ccxt: "
                f"{UNTRADED[name]}; remove it, and write key_file for one of {', '.join(TRADED_VENUES)}"
            )
    if with_key not in [[name] for name in TRADED_VENUES]:
        found = ", ".join(with_key) or "none"
        raise SettingsError(
            f"{file}: venue: live trades on one venue, that with a key_file ({found}); "
            f"write key_file for one of {', '.join(TRADED_VENUES)}"
        )
    for field in ("rest_url", "ws_url", "ws_private_url"):
        if getattr(getattr(venue, with_key[0]), field) is None:
            raise SettingsError(f"{file}: venue.{with_key[0]}.{field}: missing; add it, live names its venue's address")


def check_profile(settings: Settings) -> None:
    """Refuse a profile that would loosen a limit."""
    profile, limit = settings.profile, settings.limits.drawdown_bps
    if profile is not None and profile.drawdown_bps > limit:
        raise SettingsError(
            f"{settings.path}: profile.drawdown_bps: {profile.drawdown_bps} is looser than the {limit} of limits.toml; "
            f"write at most {limit}, or leave [profile] out"
        )


def check_limits(settings: Settings) -> None:
    """Refuse limits of which one makes another impossible: it would never fire, or nothing could be opened at all."""
    limits, file = settings.limits, settings.path.with_name("limits.toml")
    for name, other, why in _NOT_ABOVE:
        value, most = getattr(limits, name), getattr(limits, other)
        if value > most:
            raise SettingsError(
                f"{file}: {name}: {value} is above the {most} of {other}, {why}; lower {name} or raise {other}"
            )


_ONE = "so one whole position would already be too much"
_NEVER = "so it would never be what refuses an order"
_FIRST = "so the kill switch would be set where nothing but opening has to end"
_NOT_ABOVE = (
    ("position_bps", "net_bps", _ONE),
    ("position_bps", "venue_bps", _ONE),
    ("position_bps", "strategy_bps", _ONE),
    ("net_bps", "gross_bps", _NEVER),
    ("venue_bps", "gross_bps", _NEVER),
    ("strategy_bps", "gross_bps", _NEVER),
    ("daily_loss_bps", "kill_daily_loss_bps", _FIRST),
    ("drawdown_bps", "kill_drawdown_bps", _FIRST),
)


def check_stop_time(settings: Settings) -> None:
    """Refuse latencies with which no stop could be confirmed in time: every fill would be flattened."""
    sim = settings.venue.sim
    if sim is None:
        return
    way_us = sim.order_latency_us + sim.report_latency_us
    if way_us >= settings.limits.stop_confirm_ms * 1_000:
        raise SettingsError(
            f"{settings.path}: venue.sim.order_latency_us: with the report {way_us} us, not less than "
            f"stop_confirm_ms of limits.toml; lower the latencies or raise stop_confirm_ms"
        )


def _fill_instrument(row: np.void, instrument: Instrument, at: str) -> None:
    try:
        tick_e8 = to_e8(instrument.tick_size, f"{at}.tick_size")
        lot_e8 = to_e8(instrument.lot_size, f"{at}.lot_size")
        lot = Decimal(instrument.lot_size)
        row["value_e8"] = _value_e8(instrument, at)
        row["tick_e8"] = tick_e8
        row["lot_e8"] = lot_e8
        row["min_notional_e8"] = to_e8(instrument.min_notional, f"{at}.min_notional")
        row["min_qty_lots"] = to_units(instrument.min_qty, lot, f"{at}.min_qty")
        row["max_qty_lots"] = to_units(instrument.max_qty, lot, f"{at}.max_qty")
        row["maker_fee_ppm"] = to_units(instrument.maker_fee_bps, FEE_STEP, f"{at}.maker_fee_bps")
        row["taker_fee_ppm"] = to_units(instrument.taker_fee_bps, FEE_STEP, f"{at}.taker_fee_bps")
    except UnitError as error:
        raise SettingsError(f"{error}; choose sizes that divide exactly") from None
    if not row["min_qty_lots"] <= row["max_qty_lots"] <= MAX_LOTS:
        raise SettingsError(f"{at}.max_qty: {instrument.max_qty} is below min_qty or above {MAX_LOTS} lots; mend it")
    if row["maker_fee_ppm"] + row["taker_fee_ppm"] < 0:
        raise SettingsError(
            f"{at}.maker_fee_bps: {instrument.maker_fee_bps} and taker_fee_bps = {instrument.taker_fee_bps} are less "
            "than nothing together, as if the venue paid for every trade; write what it takes of each side"
        )
    row["is_spot"] = instrument.venue in SPOT_VENUES
    row["price_decimals"] = _decimals(instrument.tick_size)
    row["qty_decimals"] = _decimals(instrument.lot_size)
    row["step_decimals"] = _step_decimals(instrument, at)


def _value_e8(instrument: Instrument, at: str) -> int:
    """What one tick of one lot is worth; SettingsError names the sizes that would do."""
    lot = Decimal(instrument.lot_size)
    value, unit = Decimal(instrument.tick_size) * lot, Decimal(1).scaleb(-8)
    coarser = lot
    while value % unit:
        value, coarser = value * 10, coarser * 10
    if coarser != lot:
        step = instrument.venue_lot or instrument.lot_size
        raise SettingsError(
            f"{at}.lot_size: one tick of one lot is worth no whole number of 0.00000001 quote currency; write "
            f'lot_size = "{decimal_string(coarser)}" and venue_lot = "{step}"'
        )
    return int(value / unit)


def _step_decimals(instrument: Instrument, at: str) -> int:
    """1 + decimals of the venue's own step of quantities, 0 if none is given."""
    if instrument.venue_lot is None:
        return 0
    step = Decimal(instrument.venue_lot)
    decimals = _decimals(instrument.venue_lot)
    if step != Decimal(1).scaleb(-decimals) or Decimal(instrument.lot_size) % step:
        raise SettingsError(
            f"{at}.venue_lot: {instrument.venue_lot} is no power of ten up to 1 that lot_size {instrument.lot_size} is "
            "a multiple of; write the venue's own step of quantities, or leave it out if lot_size is that"
        )
    return decimals + 1


def _decimals(size: str) -> int:
    return max(0, -int(Decimal(size).normalize().as_tuple().exponent))


def _check_affordable(settings: Settings, instrument: Instrument, at: str) -> None:
    """An instrument whose smallest order the limits forbid is refused at start, with the equity it would need."""
    smallest = Decimal(instrument.min_notional)
    if smallest > Decimal(settings.limits.order_notional):
        raise SettingsError(
            f"{at}.min_notional: {instrument.symbol} takes no order below {instrument.min_notional}, but "
            f"order_notional of limits.toml is {settings.limits.order_notional}; raise it or leave the instrument out"
        )
    costs = 2 * max(Decimal(instrument.taker_fee_bps), Decimal(0)) + settings.limits.slippage_bps
    stake = min(Decimal(settings.account.equity), Decimal(settings.limits.capital))
    budget = stake * settings.limits.stop_loss_bps / BPS
    if smallest * costs / BPS > budget:
        raise SettingsError(
            f"{at}.min_notional: fees and slippage_bps alone are {costs} bps of the smallest {instrument.symbol} order "
            f"({instrument.min_notional}), more than the {decimal_string(budget)} of stop_loss_bps in limits.toml: no "
            "order could meet that; raise stop_loss_bps, or leave the instrument out"
        )
    needed = smallest * BPS / settings.limits.position_bps
    for amount, name in ((settings.account.equity, "account.equity"), (settings.limits.capital, "capital")):
        if Decimal(amount) < needed:
            raise SettingsError(
                f"{at}.min_notional: {instrument.symbol} takes no order below {instrument.min_notional}, which needs "
                f"an equity of {decimal_string(needed.quantize(Decimal('0.01')))} at position_bps = "
                f"{settings.limits.position_bps}; {name} is {amount}"
            )
