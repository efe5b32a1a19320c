"""A strategy for freqtrade that trades all the time: it buys whenever it may, and sells what it has held for a time."""

from datetime import datetime
from typing import Any

from freqtrade.strategy import IStrategy
from pandas import DataFrame

HELD_S = 20.0


class Restless(IStrategy):
    """In and out, with a stop at the exchange in between."""

    timeframe = "1m"
    can_short = False
    process_only_new_candles = False
    startup_candle_count = 0
    minimal_roi = {"0": 10.0}  # noqa: RUF012 - as freqtrade declares it
    stoploss = -0.05
    order_types = {  # noqa: RUF012
        "entry": "limit", "exit": "market", "emergency_exit": "market", "stoploss": "limit",
        "stoploss_on_exchange": True, "stoploss_on_exchange_interval": 5, "stoploss_on_exchange_limit_ratio": 0.99,
    }  # fmt: skip

    def populate_indicators(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        """None."""
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        """Always."""
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        """Never by itself."""
        return dataframe

    def custom_exit(
        self, pair: str, trade: Any, current_time: datetime, current_rate: float, current_profit: float, **more: Any
    ) -> str | None:
        """After a while."""
        return "held" if (current_time - trade.date_last_filled_utc).total_seconds() > HELD_S else None
