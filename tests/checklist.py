"""The check list of limits and breakers: what each is, what happens at it, and which test sees it fire in the wiring.

    python tests/checklist.py        writes LIMITS.md anew (`make checklist`)

Settings, units, bounds, defaults and reasons come from the sources; `CHECKS` says what belongs together. A test
compares the page with what would be written, and looks for each test and each mutant that takes the check away.
"""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple, get_type_hints

from bot4.model.enums import REJECTS
from bot4.settings.schema import Limits

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE, MUTANTS = REPOSITORY / "LIMITS.md", REPOSITORY / "tests" / "mutants"
WIRING, TOGETHER = "tests/sim/test_execution_wiring.py", "tests/sim/test_portfolio_limits.py"
EDGES, REACH = "tests/sim/test_limit_boundaries.py", "tests/sim/test_limits_reach.py"
KILLS = "tests/sim/test_kill_on_loss.py"
ROWS = "tests/sim/test_rates_and_repeats.py"


class Check(NamedTuple):
    """One limit: fields of limits.toml, reject codes, what happens, the test that fires it, mutants that remove it."""

    settings: str
    codes: str
    happens: str
    test: str
    mutants: str


CHECKS = (
    Check(
        "position_bps",
        "RISK_POSITION",
        "the order is refused",
        f"{WIRING}::test_pending_orders_count_towards_the_position",
        "risk_position_unchecked risk_turn_within_the_limit execution_told_order_of_trades_believed",
    ),
    Check(
        "gross_bps",
        "RISK_GROSS",
        "the order is refused",
        f"{TOGETHER}::test_orders_that_pass_alone_and_are_too_much_together_are_never_both_at_the_venue",
        "risk_gross_unchecked execution_others_forgotten risk_stale_position_at_its_last_price",
    ),
    Check(
        "strategy_bps",
        "RISK_STRATEGY",
        "the order is refused; execution takes orders of the session's one strategy alone",
        f"{TOGETHER}::test_exposure_is_exact_to_the_last_unit_of_equity",
        "risk_strategy_unchecked",
    ),
    Check(
        "net_bps",
        "RISK_NET",
        "the order is refused",
        f"{TOGETHER}::test_exposure_is_exact_to_the_last_unit_of_equity",
        "risk_net_unchecked",
    ),
    Check(
        "venue_bps",
        "RISK_VENUE",
        "the order is refused",
        f"{TOGETHER}::test_exposure_is_exact_to_the_last_unit_of_equity",
        "risk_venue_unchecked",
    ),
    Check(
        "correlation_bps correlation_half_life_s",
        "RISK_CORRELATION",
        "the order is refused; unknown counts as 1",
        f"{TOGETHER}::test_no_new_position_moves_like_an_open_one",
        "risk_correlation_unchecked risk_unknown_correlation_allowed",
    ),
    Check(
        "var_bps var_confidence_bps var_horizon_s",
        "RISK_VALUE_AT_RISK",
        "the order is refused; what is not known may be lost whole",
        f"{TOGETHER}::test_the_value_at_risk_is_exact_to_the_last_unit_of_equity",
        "risk_value_at_risk_unchecked risk_unknown_losses_are_none",
    ),
    Check(
        "shortfall_bps",
        "RISK_SHORTFALL",
        "the order is refused; what is not known may be lost whole",
        f"{TOGETHER}::test_the_value_at_risk_is_exact_to_the_last_unit_of_equity",
        "risk_shortfall_unchecked risk_hedges_taken_for_granted",
    ),
    Check(
        "capital",
        "RISK_POSITION RISK_DAILY_LOSS",
        "sizes, exposures and losses are measured by it",
        f"{TOGETHER}::test_equity_counts_as_no_more_than_the_capital_at_stake",
        "risk_capital_ignored_by_positions risk_capital_ignored_by_losses",
    ),
    Check(
        "order_notional",
        "RISK_NOTIONAL RISK_MIN_NOTIONAL",
        "the order is refused; the least value is the venue's",
        f"{REACH}::test_a_limit_that_was_changed_is_the_one_that_holds",
        "risk_value_one_unit_too_many risk_min_notional_ignored",
    ),
    Check(
        "order_lots",
        "RISK_ORDER_SIZE",
        "the order is refused",
        f"{REACH}::test_a_limit_that_was_changed_is_the_one_that_holds",
        "risk_order_size_unchecked",
    ),
    Check(
        "collar_bps",
        "RISK_COLLAR",
        "the order is refused, exits too",
        f"{REACH}::test_a_limit_that_was_changed_is_the_one_that_holds",
        "risk_collar_gone",
    ),
    Check(
        "",
        "RISK_STOP_MISSING RISK_STOP_SIDE",
        "the order is refused",
        f"{WIRING}::test_a_hostile_intent_is_refused_with_its_own_code",
        "risk_stop_not_needed risk_stop_at_the_quote",
    ),
    Check(
        "stop_bps",
        "RISK_STOP_FAR",
        "the order is refused",
        f"{EDGES}::test_a_limit_holds_from_its_first_unit_on",
        "risk_stop_at_any_distance",
    ),
    Check(
        "stop_loss_bps slippage_bps",
        "RISK_STOP_LOSS",
        "the order is refused",
        f"{EDGES}::test_a_limit_holds_from_its_first_unit_on",
        "risk_stop_loss_unchecked risk_stop_loss_without_slippage risk_stop_loss_at_the_orders_own "
        "risk_stop_loss_at_the_nearest",
    ),
    Check(
        "stop_confirm_ms",
        "",
        "the position is closed at the market",
        f"{WIRING}::test_a_stop_that_is_not_confirmed_in_time_ends_in_a_market_close",
        "execution_late_stop_tolerated",
    ),
    Check(
        "daily_loss_bps day_offset_minutes",
        "RISK_DAILY_LOSS",
        "nothing is opened until the next day, whatever is regained or started anew; exits and stops go on",
        "tests/sim/test_day_shut.py::test_what_is_regained_opens_nothing_before_the_next_day",
        "risk_daily_loss_reached_is_allowed risk_unproven_profit_counts risk_day_shut_forgotten "
        "risk_day_shut_not_folded risk_yesterday_judged_today risk_day_begins_before_midnight "
        "account_day_shut_forgotten execution_day_begins_unjournaled execution_answer_ends_the_day "
        "execution_shut_day_ends_by_an_answer",
    ),
    Check(
        "drawdown_bps",
        "RISK_DRAWDOWN RISK_NO_EQUITY",
        "nothing is opened; exits and stops go on",
        f"{WIRING}::test_daily_loss_and_drawdown_shut_the_way_in_but_not_out",
        "risk_drawdown_reached_is_allowed risk_no_equity_ignored",
    ),
    Check(
        "kill_daily_loss_bps kill_drawdown_bps",
        "RISK_KILLED",
        "the kill switch is set at that very event, until a person resets it; stops stay; a new session is refused as "
        "long as so much is lost",
        f"{KILLS}::test_the_kill_switch_is_set_at_the_very_unit",
        "risk_ruin_of_a_day_unchecked risk_ruin_from_the_mark_unchecked execution_loss_by_a_quote_kills_nothing "
        "execution_loss_by_an_event_kills_nothing latch_not_told_of_losses account_lost_begins_a_session",
    ),
    Check(
        "streak_losses streak_pause_ms",
        "RISK_STREAK",
        "nothing is opened for the pause; exits and stops go on",
        f"{TOGETHER}::test_so_many_losses_in_a_row_make_a_pause_that_ends",
        "risk_streak_ignored execution_loss_needs_the_end_of_its_position execution_any_profit_begins_the_row_anew",
    ),
    Check(
        "open_orders",
        "RISK_OPEN_ORDERS",
        "the order is refused, exits too; stops are not counted",
        f"{EDGES}::test_a_limit_holds_from_its_first_unit_on",
        "risk_one_open_order_too_many risk_exits_without_end",
    ),
    Check(
        "",
        "RISK_SELF_TRADE",
        "the order is refused; before an exit the own entry in its way is cancelled",
        f"{ROWS}::test_two_sides_of_one_account_never_meet",
        "risk_self_trade_unchecked execution_exit_meets_its_own_entry",
    ),
    Check(
        "",
        "RISK_REDUCE_ONLY",
        "the order is refused: it is no exit",
        f"{EDGES}::test_a_limit_holds_from_its_first_unit_on",
        "risk_reduce_only_may_turn",
    ),
    Check(
        "cool_down_ms",
        "RISK_COOL_DOWN",
        "the order is refused",
        f"{REACH}::test_a_limit_that_was_changed_is_the_one_that_holds",
        "risk_cool_down_one_longer",
    ),
    Check(
        "bucket_tokens bucket_refill_ms",
        "RISK_RATE",
        "the order is refused",
        f"{REACH}::test_a_limit_that_was_changed_is_the_one_that_holds",
        "risk_bucket_never_empties risk_one_token_too_many",
    ),
    Check(
        "shard_tokens shard_refill_ms",
        "RISK_SHARD_RATE",
        "the order is refused; the other shards go on",
        f"{ROWS}::test_a_shard_that_floods_takes_the_rate_of_no_other",
        "risk_shard_rate_unchecked execution_shards_share_a_bucket",
    ),
    Check(
        "order_tokens order_refill_ms",
        "RISK_ORDER_RATE",
        "the order is refused",
        f"{ROWS}::test_all_shards_together_have_a_rate_of_their_own",
        "risk_order_rate_unchecked",
    ),
    Check(
        "message_tokens message_refill_ms",
        "RISK_MESSAGE_RATE",
        "nothing is opened; exits, stops and cancels go on",
        f"{ROWS}::test_exits_stops_and_cancels_pass_when_no_message_is_left",
        "risk_message_rate_unchecked risk_message_reserve_gone execution_messages_uncounted",
    ),
    Check(
        "repeat_orders repeat_pause_ms",
        "RISK_REPEAT",
        "the kill switch is set until a person resets it; a position that is left by repeating is closed at the market",
        f"{ROWS}::test_a_strategy_that_always_signals_is_ended_until_a_person_resets_it",
        "risk_repeats_unchecked execution_repeats_go_on execution_repeater_keeps_his_position "
        "latch_not_told_of_repeats",
    ),
    Check(
        "quote_age_ms",
        "EXEC_NO_QUOTE",
        "nothing is opened without a live quote",
        f"{WIRING}::test_a_stale_book_and_an_old_quote_refuse_opening_orders",
        "risk_old_quote_accepted risk_missing_quote_ignored risk_old_price_believed",
    ),
    Check(
        "silence_ms lag_ms",
        "DATA_STALE",
        "nothing is opened, entries that rest in the book are taken back",
        f"{WIRING}::test_an_entry_that_rests_in_a_stale_book_is_taken_back_at_once_and_nothing_else_is",
        "risk_stale_book_ignored live_silence_unchecked shard_lag_ignored",
    ),
    Check(
        "spike_bps venue_time_ms",
        "",
        "the message is refused, and costs the book if it was a change of it",
        "tests/sim/test_bad_data_everywhere.py::test_no_order_from_any_damage_of_any_field",
        "feed_spike_accepted feed_wrong_time_believed",
    ),
    Check(
        "breaker_failures breaker_window_ms breaker_open_ms",
        "RISK_BREAKER_OPEN",
        "nothing is opened for that long, then one order at a time until the venue works one; exits and stops go on",
        f"{WIRING}::test_venue_failures_open_the_breaker_and_time_closes_it",
        "risk_breaker_ignored execution_breaker_never_opens execution_breaker_never_half_open "
        "execution_breaker_tried_by_many execution_breaker_half_open_for_ever execution_breaker_window_tumbles",
    ),
    Check(
        "",
        "RISK_KILLED",
        "for good: entries are cancelled, exits and stops go on, until a person resets it",
        f"{WIRING}::test_the_kill_word_cancels_entries_keeps_stops_and_shuts_the_gate",
        "risk_kill_ignored execution_kill_word_ignored",
    ),
    Check(
        "",
        "RISK_SHORT_SPOT RISK_BAD_ORDER",
        "the order is refused",
        "tests/sim/test_adversary.py::test_every_code_of_execution_is_met",
        "risk_short_spot_allowed risk_quantity_unbounded risk_exit_that_opens",
    ),
    Check(
        "",
        "EXEC_DUPLICATE EXEC_UNKNOWN_INSTRUMENT EXEC_GATE_SHUT",
        "the intent is refused",
        f"{WIRING}::test_the_same_decision_is_taken_once",
        "execution_decision_taken_twice execution_other_shards_instrument execution_gate_open_while_recovering",
    ),
    Check(
        "",
        "EXEC_JOURNAL_FULL EXEC_TABLE_FULL EXEC_VENUE_BUSY",
        "the intent is refused: what is left is for stops and closes",
        f"{WIRING}::test_a_full_journal_keeps_its_reserve_for_protection",
        "execution_journal_reserve_gone execution_table_reserve_gone execution_busy_venue_ignored",
    ),
)


class Guarded(NamedTuple):
    """One circuit breaker: of what, what counts as a failure, what is done while it is open, test and mutants."""

    component: str
    fails: str
    happens: str
    test: str
    mutants: str


BREAKERS_IN, RECONNECTS = "tests/sim/test_breakers.py", "tests/sim/test_reconnects.py"
BREAKERS = (
    Guarded(
        "feed",
        "a connection of the venue that does not come about, or is lost within half a minute",
        "no connection to the venue is opened",
        f"{RECONNECTS}::test_a_venue_that_cannot_be_reached_is_left_alone_until_it_is_tried",
        "feed_breaker_ignored",
    ),
    Guarded(
        "parser",
        "a message of one connection that cannot be read",
        "that connection is closed, and none to the venue is opened; what cannot be read has cost the books before",
        f"{RECONNECTS}::test_a_connection_that_sends_what_cannot_be_read_is_closed_and_the_next_one_is_tried",
        "feed_parser_breaker_ignored",
    ),
    Guarded(
        "shard",
        "a death before anything was done",
        "quarantine: its opening orders are taken back, stops stay, no try until the session ends",
        "tests/sim/test_supervisor.py::test_a_shard_that_gets_nothing_done_is_put_into_quarantine",
        "supervisor_stillborn_shard_never_in_quarantine supervisor_quarantines_nobody",
    ),
    Guarded(
        "model",
        "a score of the shard's strategy that is no number from -1 to 1, in the time of events",
        "the shard opens nothing (`DECISION_MODEL_SHUT`); scores try it",
        "tests/sim/test_shard_wiring.py::test_decision_model_shut",
        "shard_model_breaker_ignored shard_model_never_tried shard_bad_scores_uncounted shard_model_window_tumbles",
    ),
    Guarded(
        "execution",
        "a request to a real venue without a clear answer; a refusal in clear words is an answer",
        "no order that opens is sent (`VENUE_DOWN`); exits, stops, cancels and questions go on, and try it",
        f"{BREAKERS_IN}::test_calls_that_fail_or_are_slow_hold_back_what_opens_and_nothing_else",
        "gateway_breaker_ignored gateway_failures_untold",
    ),
    Guarded(
        "venue",
        "an order that the venue refuses, but for what is the market's doing; a function of the journal",
        "nothing is opened (`RISK_BREAKER_OPEN`), then one order at a time tries it",
        f"{WIRING}::test_a_breaker_that_is_half_open_lets_one_order_at_a_time_try_the_venue",
        "execution_breaker_unshown execution_breaker_never_half_open execution_breaker_without_back_off",
    ),
    Guarded(
        "journal",
        "a sync that fails",
        "the kill switch is set; never tried again in that life of execution",
        "tests/sim/test_journal_durability.py::test_a_journal_that_fails_trips_the_latch",
        "journal_breaker_untold breaker_final_is_tried",
    ),
    Guarded(
        "recorder",
        "a part of the recording that cannot be written, or is written too slowly",
        "parts are dropped unwritten and counted; nobody waits",
        f"{BREAKERS_IN}::test_a_store_that_fails_or_is_slow_is_left_alone_until_it_is_tried",
        "recorder_breaker_ignored",
    ),
)
MACHINE = (
    "breaker_share_ignored breaker_without_back_off breaker_tried_by_many breaker_place_leaks "
    "breaker_place_is_lost_for_good breaker_judged_by_calls_of_before breaker_counts_the_callers_fault "
    "breaker_clock_runs_back breaker_forgets_with_the_process breaker_ended_twice"
)

HEAD = """# Limits

Written by `make checklist` from the settings and the tests; a test compares. Each limit is checked by a shard, so far
as it knows, and again by execution as the last code before the wire. Reject codes are counted and shown with their
reason. An exit (reduce-only) may be as large as the position; it passes every limit but the collar, the number of open
orders and that of repeats.

`bot4-supervisor reload` tightens a limit while a session runs; `tests/sim/test_tightened_limits.py` sees each of them
become tighter, and none looser.

What is proven by what: the test under "seen firing in" sees the limit work in the real wiring, in every run of the
tests. Each patch under "taken away by" removes the check, or a part of it, and `make mutants` wants the test named
beside the patch to fail then; that is often a narrower test than the one that sees the limit fire. `make adversary`
sends a million hostile intents against all of them; what went out is judged by the ledger alone, but for correlation,
value at risk, shortfall and the breaker, of which the ledger knows nothing: there the slow twin judges.

| setting | default, bounds | what is limited | refused as | at the limit | seen firing in | taken away by |
|---|---|---|---|---|---|---|
"""
BREAKERS_HEAD = """
## Circuit breakers

Each component that has failures of its own has one (`bot4/shm/breaker.py`; kernels keep theirs in the time of events):
closed, open, half-open in one word, with the settings of the table `[breaker]`; the venue's are the limits
`breaker_...` above, the journal's is no setting. `bot4-supervisor status --json` and the report show each of them,
`status` and the live view each that is not closed; the supervisor tells of each change and of a flood of openings,
execution journals what goes by the clock. `bot4-supervisor reload` tightens all but the model's while a session runs.

| of | default | what fails | while it is open | seen in | taken away by |
|---|---|---|---|---|---|
"""
REASONS = """
| code | reason |
|---|---|
"""


def defaults() -> dict[str, tuple[str, str]]:
    """By field of limits.toml: its value and what the comment beside it says."""
    lines = re.findall(r"^(\w+) = (\S+)\s+# (.*)$", (REPOSITORY / "config" / "limits.toml").read_text(), re.MULTILINE)
    return {name: (value, comment) for name, value, comment in lines}


def fails_without(mutant: str) -> str:
    """The test that has to fail under a patch, from the patch's first line."""
    first = (MUTANTS / f"{mutant}.patch").read_text().partition("\n")[0]
    return first.removeprefix("# test: ")


def breaker_rows() -> list[str]:
    """The table of breakers, and what proves the machine that they share."""
    table = tomllib.loads((REPOSITORY / "config" / "limits.toml").read_text())["breaker"]
    rows = []
    for one in BREAKERS:
        shipped = "<br>".join(f"{name} = {value}" for name, value in table.get(one.component, {}).items()) or "-"
        mutants = "<br>".join(f"`{name}`: `{fails_without(name)}`" for name in one.mutants.split())
        cells = (f"`{one.component}`", shipped, one.fails, one.happens, f"`{one.test}`", mutants)
        rows.append("| " + " | ".join(cells) + " |\n")
    shared = ", ".join(f"`{name}`" for name in MACHINE.split())
    rows.append(
        "\nThe machine itself is held against a slow twin, step by step "
        f"(`tests/properties/shm/test_breaker.py`); taken away there: {shared}.\n"
    )
    return rows


def page() -> str:
    """The whole page."""
    shipped, hints = defaults(), get_type_hints(Limits, include_extras=True)
    rows = []
    for check in CHECKS:
        names = check.settings.split()
        bounds = [hints[name].__metadata__[0] for name in names]
        values = [f"{shipped[n][0]} ({b.low} to {b.high} {b.unit})" for n, b in zip(names, bounds, strict=True)]
        cells = (
            "<br>".join(f"`{name}`" for name in names) or "-",
            "<br>".join(values) or "-",
            "; ".join(shipped[name][1] for name in names).replace(" ...; ...", "") or "-",
            "<br>".join(f"`{code}`" for code in check.codes.split()) or "-",
            check.happens,
            f"`{check.test}`",
            "<br>".join(f"`{mutant}`: `{fails_without(mutant)}`" for mutant in check.mutants.split()),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    named = {code for check in CHECKS for code in check.codes.split()}
    reasons = [f"| `{name}` ({code}) | {reason} |\n" for code, name, reason in REJECTS if name in named]
    return HEAD + "".join(rows) + REASONS + "".join(reasons) + BREAKERS_HEAD + "".join(breaker_rows())


if __name__ == "__main__":
    PAGE.write_text(page())
