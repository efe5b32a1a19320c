"""Wires the simulated venue: its account, its rings, its ledger."""

from bot4.adapters.files.report import symbol_keys
from bot4.adapters.sim.venue import VenueAgent
from bot4.shm.wires import Wires
from workers.plan import Plan


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> VenueAgent:
    """The agent of the venue; it is never started twice, its ledger is the truth."""
    return VenueAgent(
        wires,
        plan.instruments,
        plan.session,
        int(plan.session[0]["start_equity_e8"]),
        plan.ledger_path,
        symbol_keys(plan.symbols),
        plan.latencies,
        plan.queue,
        plan.impacts,
    )
