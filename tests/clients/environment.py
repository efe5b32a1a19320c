"""Environments of other people's programs, one for each, below build/clients."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "build" / "clients"
VERSIONS = {
    "ccxt": "4.5.90", "python-binance": "1.0.37", "binance-connector": "3.13.0", "binance-sdk-spot": "13.3.0",
    "nautilus_trader": "1.221.0", "pybit": "5.17.0", "freqtrade": "2026.9", "schemathesis": "4.32.5",
}  # fmt: skip


def environment(client: str) -> Path:
    """The `bin` of a client's own environment, which is made if it is not there."""
    client = client.removesuffix(".pro")
    folder = FOLDER / f"{client}-{VERSIONS[client]}"
    done = folder / ".done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"{client}=={VERSIONS[client]}"]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
        done.touch()
    return folder / "bin"
