"""The gateway's log: what is in it after another opening, and that its own word disturbs nothing of the journal's."""

import numpy as np

from bot4.engine.gateway_log import (
    GATEWAY_EVENT,
    GATEWAY_SENT,
    GATEWAY_START,
    NO_KEY,
    GatewayLog,
    boot_number,
    trade_key,
)
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, words


def test_what_was_written_is_there_after_another_opening(tmp_path):
    order, report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)
    order["id_lo"], report["event_seq"] = 7, 1
    first = GatewayLog(tmp_path / "gateway.bin", 8_192)
    assert first.is_new and first.has_room
    first.start(5, 1_000, 44, 3)
    first.sent(6, 77, words(order))
    first.event(8, words(report), trade_key(0, "a"), 1_234)
    room = first.room
    for _ in range(100):
        first.event(9, words(report), NO_KEY, 0)
    assert first.room == room - 100
    first.make_ready()
    first.close()
    again = GatewayLog(tmp_path / "gateway.bin", 8_192)
    records = again.records()
    assert (again.is_new, again.room, len(records)) == (False, room - 100, 103)
    assert list(records["type"][:3]) == [GATEWAY_START, GATEWAY_SENT, GATEWAY_EVENT]
    assert (records["code"][0], records["code"][1], records["code"][2]) == (1_000, 77, 1_234)
    assert (records["position_lots"][0], records["cost_tl"][0], records["instrument"][0]) == (44, boot_number(), 3)
    assert (int(records["position_lots"][2]), int(records["cost_tl"][2])) == trade_key(0, "a") != trade_key(1, "a")
    assert records["body"][1].view(ORDER_INTENT)["id_lo"][0] == 7
    again.close()
