"""A settings folder and a running `bot4-supervisor` of a test's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def settings_folder(folder: Path) -> Path:
    """A copy of the repository's settings whose state folder lies beside it; returns the session's file."""
    config = folder / "config"
    config.mkdir(parents=True)
    for file in (REPOSITORY / "config").glob("*.toml"):
        text = file.read_text().replace('folder = "state"', f'folder = "{folder / "state"}"')
        (config / file.name).write_text(text)
    return config / "paper.toml"


def run_command(
    *arguments: str | Path, environment: dict[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess:
    """`bot4-supervisor` with these arguments, to its end; in a `folder` as the command that is installed."""
    door = ["-m", "bot4.cli.supervisor"]
    if folder is not None:
        door = ["-P", "-c", "from bot4.cli.supervisor import main; main()"]
    return subprocess.run(
        [sys.executable, *door, *map(str, arguments)], cwd=folder,
        capture_output=True, text=True, check=False, timeout=300, env=os.environ | (environment or {}),
    )  # fmt: skip


class Running:
    """A session in the background that prints JSON lines."""

    def __init__(self, config: Path, *arguments: str | Path) -> None:
        command = [sys.executable, "-m", "bot4.cli.supervisor", "start", "--config", config, *arguments, "--json"]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[dict] = []

    def read(self) -> dict:
        """The next line."""
        text = self.process.stdout.readline()
        assert text, self.process.stderr.read()
        self.lines.append(json.loads(text))
        return self.lines[-1]

    def until(self, wanted) -> dict:
        """Read lines until one of them is wanted; that one."""
        while not wanted(line := self.read()):
            pass
        return line

    def finish(self) -> tuple[int, dict, str]:
        """Read to the end: exit code, last line, standard error."""
        out, error = self.process.communicate(timeout=300)
        self.lines += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, self.lines[-1], error

    def close(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.communicate()
