"""The synthetic market's kernel against its twin: the same bytes."""

import numpy as np
import pytest
from reference.kernels.order_flow import RefMarket
from rig.feed import instruments_of
from rig.scan import SPOT

from bot4.adapters.files.synthetic import _flow
from bot4.jit import JIT
from bot4.kernels.order_flow import LINE_BOUND, flow_fill

SECONDS = 40 if JIT else 3


def fast_text(flow, size=2 * LINE_BOUND):
    buffer, found = np.zeros(size, np.uint8), b""
    while count := flow_fill(flow, buffer):
        found += buffer[:count].tobytes()
    return found.decode()


@pytest.mark.parametrize(
    ("symbol", "lot", "seed"), [("SYNBTC", 1, 1), ("SYNETH", 10, 2), ("SYNSOL", 100, 3), ("X", 1, 4)]
)
def test_the_same_bytes_as_the_twin(symbol, lot, seed):
    flow = _flow(symbol, instruments_of([SPOT._replace(symbol=symbol, lot=SPOT.lot * lot)])[0], seed, SECONDS)
    values = {name: int(flow.state[0][name]) for name in flow.state.dtype.names}
    assert fast_text(flow) == RefMarket(symbol, values["random"], values).run()


def test_a_thin_market_in_which_a_side_runs_empty():
    flow = _flow("SYNBTC", instruments_of([SPOT])[0], 9, SECONDS)
    flow.state[0]["near"] = 2
    flow.state[0]["target_lots"] = 1 + int(flow.state[0]["mean_lots"])
    values = {name: int(flow.state[0][name]) for name in flow.state.dtype.names}
    assert fast_text(flow) == RefMarket("SYNBTC", values["random"], values).run()
