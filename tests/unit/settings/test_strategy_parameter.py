"""The session file of the repository gives its strategy what that strategy asks for."""

import importlib
from pathlib import Path

from bot4.kernels.parameter import parameters
from bot4.settings.loader import load

SETTINGS = load(Path(__file__).resolve().parents[3] / "config" / "paper.toml")


def test_the_strategy_of_the_session_takes_its_parameters():
    module = importlib.import_module(SETTINGS.strategy.module)
    record = parameters(module.PARAMETERS, SETTINGS.strategy.params)
    assert record.dtype == module.PARAMS
    assert {name: record[0][name] for name in record.dtype.names} == SETTINGS.strategy.params
