"""What a recording says of how instruments move, for execution to know before the first second of a session.

Once a second of the recording, the mids of books that are whole and of quotes that are not old, as execution samples
them. An instrument that is not in the recording has none: it stays unknown.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bot4.adapters.files.recording import Recording
from bot4.engine.execution_memory import SAMPLE_NS
from bot4.model.enums import STATUS_WHOLE, TICK_QUOTE, TICK_STATUS

HISTORY_S = 14_400  # the last four hours count


def history_of(folder: Path, symbols: Sequence[tuple[str, str]], quote_age_ns: int) -> np.ndarray:
    """Twice the mids, second by second.

    Parameters
    ----------
    folder : an own recording
    symbols : (symbol, venue) of the session's instruments
    quote_age_ns : an older quote is none

    Returns
    -------
    float64[seconds, len(symbols)], in ticks of the recording; NaN: none in that second

    Raises
    ------
    RecordingError : it is none, or damaged
    """
    recording = Recording([folder])
    places = {place: (one.listed.symbol, one.listed.venue) for place, one in enumerate(recording.chosen)}
    rows = {place: symbols.index(key) for place, key in places.items() if key in symbols}
    seconds: dict[int, np.ndarray] = {}
    mids, quoted_ns, whole = np.zeros(len(symbols)), np.zeros(len(symbols), np.int64), np.zeros(len(symbols), bool)
    next_ns = 0
    for block in recording.blocks():
        chosen = block[np.isin(block["kind"], (TICK_QUOTE, TICK_STATUS))]
        for tick in chosen[np.isin(chosen["instrument"], list(rows))]:
            now_ns = int(tick["ts_recv_ns"])
            if now_ns >= next_ns > 0:
                fresh = whole & (now_ns - quoted_ns <= quote_age_ns) & (mids > 0)
                seconds[next_ns] = np.where(fresh, mids, np.nan)
            if now_ns >= next_ns:
                next_ns = (now_ns // SAMPLE_NS + 1) * SAMPLE_NS
            index = rows[int(tick["instrument"])]
            if tick["kind"] == TICK_STATUS:
                whole[index] = tick["w0"] == STATUS_WHOLE
            else:
                mids[index], quoted_ns[index] = (tick["w0"] + tick["w2"] if tick["w0"] > 0 else 0), now_ns
    found = [seconds[at] for at in sorted(seconds)[-HISTORY_S:]]
    return np.array(found).reshape(len(found), len(symbols))
