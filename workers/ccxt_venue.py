"""ccxt's process, `python -m workers.ccxt_venue PARENT DESCRIPTOR`: it belongs to execution's and dies with it.

The first message on the socket tells it what to do:

    venue, ccxt     name in the settings, ccxt's name
    rest_url, ws_url, ca_file
    symbols         of the instruments that are traded
    api_key, api_secret
"""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from bot4.adapters.ccxt.serve import serve
from bot4.adapters.net.dial import only_loopback, verified_context
from bot4.adapters.system.process import die_with_parent, hide_memory, name_process

QUIET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # whoever it belongs to decides


def main() -> None:
    """Serve until the socket ends."""
    die_with_parent(int(sys.argv[1]))
    hide_memory()
    name_process("bot4-ccxt")
    for number in QUIET:
        signal.signal(number, signal.SIG_IGN)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # execution's core is execution's
    ours = socket.socket(fileno=int(sys.argv[2]))
    asyncio.run(serve(ours, lambda file: verified_context(Path(file) if file else None), only_loopback))


if __name__ == "__main__":
    main()
