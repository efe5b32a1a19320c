"""A million hostile intents against execution, judged by the ledger: nothing over a limit, nothing legal refused.

    python tests/stress/adversary.py --intents 1000000 --report build/adversary.json        (`make adversary`)

Sessions of some thousand intents, each with a market, a venue and a mishap of its own (see tests/rig/adversary.py), as
many at a time as there are cores. Writes one JSON object, also to the screen:

    intents, legal          sent in; legal by the slow twin of execution
    legal_sent              of these, in the ledger as orders
    sent                    orders of shards in the ledger
    refused                 {code: n} of execution
    breaches                {limit: n} found in the ledger, by an audit that knows nothing of execution

Exit 1 if a limit was broken, a legal order did not go out, less than a tenth was legal, or a code was too rare.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.adversary import CODES, KINDS, Session, total

SESSION = 8_000  # intents
RARE = 10_000  # each code is met at least once in so many intents


def one(seed: int, intents: int) -> dict:
    """A session in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="bot4-adversary-") as name:
        return Session(Path(name), seed, KINDS[seed % len(KINDS)]).run(intents)


def run(intents: int) -> dict:
    """All sessions, added up."""
    sizes = [min(SESSION, intents - begin) for begin in range(0, intents, SESSION)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        return total(pool.starmap(one, enumerate(sizes), chunksize=1))


def faults(found: dict) -> list[str]:
    """What is wrong, in words."""
    wrong = [f"{count} orders over {limit}" for limit, count in found["breaches"].items() if count]
    if found["legal_sent"] != found["legal"]:
        wrong.append(f"{found['legal'] - found['legal_sent']} legal orders did not go out")
    if found["legal"] * 10 < found["intents"]:
        wrong.append("less than a tenth of the intents were legal")
    least = found["intents"] // RARE
    rare = [code for code in CODES if found["refused"].get(code, 0) < least]
    return wrong + [f"{code} occurred less than {least} times" for code in rare]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--intents", type=int, default=1_000_000)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    result = run(given.intents)
    text = json.dumps(result, indent=2)
    print(text)
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text + "\n")
    if wrong := faults(result):
        sys.exit("\n".join(wrong))
