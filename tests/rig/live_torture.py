"""A live session on `bot4-exchange` over TLS that is killed again and again, judged by the exchange's ledger.

The session is the product's own, with the gateway in execution's process; market, orders and chaos come from an
exchange in a process of its own, which nobody kills. Blows as in `torture`, and besides

    a point of the gateway    execution's process dies there, or in a later life of it while it takes up its orders
    recorder                  SIGKILL at a random moment
    supervisor                this very process; the next start takes the session up, and its blows go on there
"""

import time
from pathlib import Path

from oracle.live_ledger import Verdict, judge, ledger_lines, told_by
from oracle.recompute import journal_bodies
from rig.exchange_bybit import BybitServer
from rig.exchange_server import WIDE
from rig.live_trading import SYMBOL, trading_settings
from rig.torture import WHILE_STARTING, Found, Spec, Torturer, settings

from bot4.crash import AT_FOLDING, POINT_NAMES, crash_words
from bot4.jit import CRASH_FILE
from workers import supervisor
from workers.session import Prepared, Session, StartOptions, prepare

SECOND = 10**9
IN_DOUBT_S = 0.5  # from the open gate to the next blow
STOP_LIMIT_S = 4.0  # without a stop and without a close under way; execution closes after stop_confirm_ms = 1,000
RECORDER = '\n[recorder]\nfolder = "{folder}"\nraw = "off"\npart_mb = 16\npart_s = 600\n'
FAULTS = """
[[fault]]
kind = "timeout_after"
endpoint = "POST /v5/order/create"
probability = 0.01
[[fault]]
kind = "error_after"
endpoint = "POST /v5/order/create"
probability = 0.01
[[fault]]
kind = "error_before"
endpoint = "POST /v5/order/*"
probability = 0.01
[[fault]]
kind = "reset_after"
endpoint = "POST /v5/order/create"
probability = 0.01
[[fault]]
kind = "late_after"
endpoint = "POST /v5/order/create"
probability = 0.05
delay_ms = 300
[[fault]]
kind = "garbage"
endpoint = "GET /v5/order/realtime"
probability = 0.02
[[fault]]
kind = "event_duplicate"
stream = "execution"
probability = 0.05
[[fault]]
kind = "event_late"
stream = "order"
probability = 0.05
delay_ms = 700
[[fault]]
kind = "event_drop"
stream = "execution"
probability = 0.02
"""
NEVER_LANDS = """
[[fault]]
kind = "timeout_before"
endpoint = "POST /v5/order/create"
probability = 0.005
"""


def exchange(folder: Path, seed: int, faults: str = FAULTS) -> BybitServer:
    """One with a market of its own, wide limits and that chaos."""
    folder.mkdir(parents=True)
    return BybitServer(
        folder, "--tls", "--speed", "4x", scenario=f"seed = {seed}\n{WIDE}{faults}", market=f"generated:{seed}"
    )


def live_settings(folder: Path, server: BybitServer, style: int) -> Path:
    """The busy strategy of the torture, live on that exchange, with a recorder."""
    config = trading_settings(folder, server.ready, settings(folder / "config", style))
    config.write_text(config.read_text() + RECORDER.format(folder=folder / "recordings"))
    return config


def calm_file(spec: Spec) -> Path:
    """Is there as soon as every blow has fallen: no more chaos is wanted."""
    return Path(spec.out).with_suffix(".calm")


class LiveTorturer(Torturer):
    """See the module."""

    while_starting = frozenset((*WHILE_STARTING, *range(AT_FOLDING, len(POINT_NAMES))))

    def __init__(self, spec: Spec, prepared: Prepared, found: Found) -> None:
        super().__init__(spec, prepared, found, crash_words(CRASH_FILE))
        self.died_s, self.died_ns = time.monotonic(), time.time_ns()  # there is no execution yet
        self.up_s = self.died_s
        self.takes_up = any(self.plan.state_folder.glob("sessions/*/journal.bin"))

    @property
    def journal_path(self) -> Path:
        """Of the session that was begun, or taken up: the only one."""
        (path,) = self.plan.state_folder.glob("sessions/*/journal.bin")
        return path

    def is_loaded(self, orders: int) -> bool:
        """An order in doubt is load enough: nothing may open beside it, and its proof takes thirteen seconds."""
        return super().is_loaded(orders) or (self.unknown > 0 and time.monotonic() > self.up_s + IN_DOUBT_S)

    def show(self, shot: dict) -> None:
        """Of those that take a session up every other one dies while it does; remember when execution was there."""
        if self.wires is None and self.takes_up and self.choose.random() < 0.5:  # before this the template warms up
            self.arm(self.choose.choice(sorted(self.while_starting)), 0)
        was_down = bool(self.died_s)
        super().show(shot)
        if was_down and not self.died_s:
            self.up_s = time.monotonic()

    def leave(self, event_time_ns: int) -> None:
        """Not before everything is known, which takes seconds where an order has never landed."""
        calm_file(self.spec).touch()
        if not self.unknown:
            super().leave(event_time_ns)


def run_live_session(spec: Spec) -> None:
    """One start in this process, up to its last words in `spec.out`; it may end with a supervisor that is killed."""
    supervisor.SYSTEM_STORM = supervisor.STORM_RESTARTS = 10**6
    folder = Path(spec.folder)
    options = StartOptions(config=folder / "config" / "live.toml", feed="live", report=folder / "report")
    prepared = prepare(options)
    torturer = LiveTorturer(spec, prepared, Found())
    outcome, _, report = Session(prepared, torturer).run()
    torturer.close()
    torturer.note(outcome.message)
    torturer.last_words(outcome.exit_code, report)


def live_verdict(
    ledger: Path, journal: Path, report: dict, ended_ns: int, absent: list[tuple[int, int]], held: int
) -> Verdict:
    """What the ledger says of the account, beside journal and report."""
    return judge(
        ledger_lines(ledger, "main"), told_by(journal_bodies(journal)), ended_ns, int(STOP_LIMIT_S * SECOND), absent,
        int(report["positions"][SYMBOL]["lots"]), held,
    )  # fmt: skip


def held_by(server: BybitServer) -> int:
    """Lots, as the exchange says."""
    row = server.done("GET", "position/list", category="linear", symbol=SYMBOL)["list"][0]
    return round(float(row["size"] or 0) * 1_000) * (-1 if row["side"] == "Sell" else 1)
