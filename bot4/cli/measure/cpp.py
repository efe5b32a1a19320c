"""C++ twins: the same algorithm compiled by g++, so that a ratio says what the language costs. Left out without g++."""

import shutil
import subprocess
from pathlib import Path

import numpy as np

from bot4.model.errors import Bot4Error

SOURCES = Path(__file__).resolve().parents[3] / "benches" / "cpp"
_TIMEOUT_S = 120


class Twin:
    """One program of benches/cpp, compiled into a folder that the caller removes."""

    def __init__(self, name: str, folder: Path) -> None:
        self.program = folder / name
        command = ["g++", "-O3", "-march=native", "-std=c++17", "-o", str(self.program), str(SOURCES / f"{name}.cpp")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise Bot4Error(f"g++ refuses benches/cpp/{name}.cpp: {done.stderr.strip().splitlines()[0]}")

    def run(self, *arguments: object, stdin: bytes = b"") -> np.ndarray:
        """int64 words that the program wrote."""
        command = [str(self.program), *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise Bot4Error(f"{self.program.name} ended with {done.returncode}")
        return np.frombuffer(done.stdout, np.int64)


def available(name: str) -> bool:
    """True if there is a compiler and the source."""
    return shutil.which("g++") is not None and (SOURCES / f"{name}.cpp").is_file()
