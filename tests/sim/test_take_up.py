"""A start after the death of everything takes the session up; the exchange's ledger says whether anything was lost."""

import re
import signal
import time

import numpy as np
import pytest
from rig.exchange_bybit import BybitServer
from rig.journal import log_of_another_boot, other_boot, wait_for
from rig.live_trading import trading_settings
from rig.session import Running, run_command
from sim.test_live_trading import REPOSITORY, filled, judged, resting, stopped

from bot4.adapters.system.instance import read_instance
from bot4.adapters.system.process import open_process
from bot4.engine.journal import HEADER_BYTES
from bot4.model.records import (
    EXEC_REPORT,
    JOURNAL,
    JOURNAL_EVENT,
    JOURNAL_INTENT,
    JOURNAL_REQUEST,
    JOURNAL_START,
    ORDER_INTENT,
)

pytestmark = pytest.mark.compiled
LIVES = []
ORDERS = "POST /v5/order/create"
SIGNS = {"Buy": 1, "Sell": -1}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """An exchange with a market, and a strategy that the workers find."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests"))
    folder = tmp_path / "exchange"
    folder.mkdir()
    with BybitServer(folder, "--tls", market="generated:7") as made:
        yield made
    while LIVES:
        LIVES.pop().running.close()


class Life:
    """One start of the bot, and its end by whatever hand."""

    def __init__(self, folder, config):
        self.state = folder / "config" / "state"
        self.running = Running(config, "--feed", "live")
        LIVES.append(self)

    def records(self):
        """JOURNAL[n], what is there now, believed as it is."""
        (path,) = self.state.glob("sessions/*/journal.bin")
        records = np.fromfile(path, JOURNAL, offset=HEADER_BYTES)
        return records[records["seq"] > 0]

    def unheard(self):
        """Orders of which nobody has told execution anything."""
        records = self.records()
        bodies = np.ascontiguousarray(records["body"])
        intents = bodies[records["type"] == JOURNAL_INTENT].view(ORDER_INTENT).reshape(-1)
        events = bodies[records["type"] == JOURNAL_EVENT].view(EXEC_REPORT).reshape(-1)
        told = {(int(one["id_hi"]), int(one["id_lo"])) for one in events}
        return [one for one in intents if (int(one["id_hi"]), int(one["id_lo"])) not in told]

    def starts(self):
        """How often execution has begun."""
        return np.count_nonzero(self.records()["type"] == JOURNAL_START)

    def kill(self):
        """SIGKILL for execution, then for everybody, the supervisor included."""
        found = read_instance(self.state)
        identities = [found.workers["execution"], found.supervisor, *found.processes().values()]
        handles = [handle for handle in map(open_process, identities) if handle is not None]
        for handle in handles:
            handle.send(signal.SIGKILL)
        for handle in handles:
            assert handle.wait(60.0)
            handle.close()
        self.running.close()


def held(server):
    """The exchange's position."""
    time.sleep(0.2)  # it counts how often it is asked
    row = server.done("GET", "position/list", category="linear", symbol="BTCUSDT")["list"][0]
    return float(row["size"] or 0) * (-1 if row["side"] == "Sell" else 1)


def frozen(server):
    """Let nothing trade any more, at a moment when something is held; what is held."""
    while True:
        wait_for(lambda: held(server))
        server.fault(kind="halt", symbol="BTCUSDT")
        if left := held(server):
            return left
        server.heal()


def test_what_is_left_or_has_died_goes_on(tmp_path, server):
    """A clean end leaves a position, a death leaves orders under way, the start after it dies without an answer."""
    config = trading_settings(tmp_path, server.ready)
    first = Life(tmp_path, config)
    first.running.until(filled(2))
    left = frozen(server)
    first.running.process.terminate()
    code, _, error = first.running.finish()
    assert code == 0, error
    ends = resting(server)  # stop and take-profit: each for all of it
    assert any(row["stopOrderType"] for row in ends)
    assert {held(server), *(-SIGNS[row["side"]] * float(row["qty"]) for row in ends)} == {left}
    server.heal()
    text = config.read_text()
    config.write_text(re.sub(r"^equity = .*", 'equity = "99000"', text, flags=re.MULTILINE))
    refused = run_command("start", "--config", config, "--feed", "live")
    assert refused.returncode == 2 and "account.equity: 99000, and the account's session" in refused.stderr, (
        refused.stderr
    )
    config.write_text(text)

    second = Life(tmp_path, config)
    second.running.until(filled(4))
    server.fault(kind="late_before", endpoint=ORDERS, delay_ms=1_500)
    wait_for(second.unheard)
    second.kill()
    assert second.unheard()
    (path,) = second.state.glob("sessions/*/journal.bin")
    with path.open("r+b") as file:
        at = HEADER_BYTES + len(second.records()) // 2 * JOURNAL.itemsize + 100
        file.seek(at)
        whole = file.read(1)
        file.seek(at)
        file.write(bytes([whole[0] ^ 4]))
        file.flush()
        refused = run_command("start", "--config", config, "--feed", "live")
        assert refused.returncode == 1 and f"{path}: record" in refused.stderr, refused.stderr
        assert "is damaged; move the journal away and reconcile" in refused.stderr
        file.seek(at)
        file.write(whole)
    server.heal()

    half = Life(tmp_path, config)
    wait_for(lambda: half.starts() == 3)
    half.kill()
    last = Life(tmp_path, config)
    last.running.until(filled(8))
    stopped(last.running, tmp_path)
    books = judged(server, tmp_path)  # there is one session
    assert last.starts() == 4
    assert {1, 2} <= {int(one["id_hi"]) & 0xFFFF for one in books.intents} <= {1, 2, 4, 5}
    ends = {(path.parent / name / "session.json").read_text() for name in ("report", "report-2", "report-3")}
    assert len(ends) == 3
    assert len(list(second.state.glob("sessions/*"))) == 1


@pytest.mark.stress
def test_a_power_cut_takes_tails_and_the_session_goes_on(tmp_path, server):
    """Another boot: the journal's last record is torn, half of the gateway's log has never been on the disk."""
    config = trading_settings(tmp_path, server.ready)
    first = Life(tmp_path, config)
    first.running.until(filled(6))
    first.kill()
    (path,) = first.state.glob("sessions/*/journal.bin")
    records = first.records()
    while records["type"][-1] in (JOURNAL_INTENT, JOURNAL_REQUEST):  # what has gone out counts as synced here
        records = records[:-1]
    other_boot(path, seq=len(records) - 1)
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + (len(records) - 1) * JOURNAL.itemsize + 100)
        file.write(b"torn")
    log = path.with_name("gateway.bin")
    log_of_another_boot(log, np.count_nonzero(np.fromfile(log, JOURNAL, offset=HEADER_BYTES)["seq"]) // 2)
    last = Life(tmp_path, config)
    last.running.until(filled(10))
    stopped(last.running, tmp_path)
    judged(server, tmp_path)
    assert "a power cut may have taken the journal's tail" in (path.parent / "log" / "execution.log").read_text()
    assert list(path.parent.glob("journal.bin.before-*"))
