"""`bot4-exchange`: an exchange on loopback that speaks a venue's protocol, for bots to be tested against."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from bot4.adapters.exchange.ledger import Ledger
from bot4.adapters.exchange.owner import default_owners, read_owners
from bot4.adapters.exchange.scenario import Scenario
from bot4.adapters.system.output import run_door
from bot4.adapters.system.process import ProcessId, identify
from bot4.log import start_log
from bot4.model.errors import Bot4Error, SettingsError
from bot4.model.queue import QUEUE_FORM, read_queue

if TYPE_CHECKING:
    from bot4.adapters.exchange.assembly import Assembly

HOST = "127.0.0.1"
_FOLDER = "bot4-exchange-"
BACKLOG = 512
MAX_SPEED = 1_000.0
VENUES = ("binance", "bybit")
TELL_LOADING_S = 2.0

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _paths(text: str) -> list[Path]:
    return [Path(part) for part in text.split(",") if part]


def read_market(text: str) -> int | list[Path] | None:
    """The seed of `generated[:SEED]`, the files of `recorded:PATH[,PATH...]`, None for `none`."""
    if text == "none":
        return None
    name, _, seed = text.partition(":")
    if name == "recorded" and seed:
        return _paths(seed)
    if name == "generated" and (seed or text == name):
        if not seed:
            return 0
        if seed.isascii() and seed.isdigit() and len(seed) <= 18:
            return int(seed)
    raise SettingsError(
        f"--market {text}: write generated, generated:SEED with a whole number, recorded:PATH[,PATH...], or none"
    )


def read_speed(text: str) -> float:
    """How much faster than life the market moves."""
    number = text.removesuffix("x")
    try:
        speed = float(number)
    except ValueError:
        speed = 0.0
    if not (0.0 < speed <= MAX_SPEED and number.replace(".", "", 1).isdigit()):
        raise SettingsError(f"--speed {text}: write 1x, 10x or any number up to {MAX_SPEED:.0f}x")
    return speed


def _bind(port: int) -> socket.socket:
    """Listen before anything slow begins, so that a port that is taken is told at once."""
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise SettingsError(
            f"--port {port}: cannot listen on {HOST}: {error.strerror}; name a free port, or 0"
        ) from None
    return made


class ReadyFile:
    """The file that says where the exchange is: tried early, there as long as it serves."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError if it could not be written."""
        self._path = path
        self._fresh = path.with_name(f".{path.name}.{os.getpid()}")
        if path.exists() and not path.is_file():
            raise SettingsError(f"--ready {path}: is no plain file; name one")
        try:
            self._fresh.touch(mode=0o600)
        except OSError as error:
            raise SettingsError(f"--ready {path}: cannot be written: {error.strerror}; name a file that can") from None

    def write(self, content: bytes) -> None:
        """Show it, whole."""
        try:
            self._fresh.write_bytes(content)
            self._fresh.replace(self._path)
        except OSError as error:
            raise Bot4Error(f"--ready {self._path}: cannot be written: {error.strerror}") from None
        self._fresh = self._path

    def remove(self) -> None:
        """Nothing is served any more."""
        with contextlib.suppress(OSError):
            self._fresh.unlink()


def _ready(made: "Assembly", port: int, ca_file: Path | None, folder: Path) -> dict[str, Any]:
    """What a client has to know."""
    host = f"127.0.0.1:{port}"
    rest, ws = ("https", "wss") if ca_file else ("http", "ws")
    accounts = []
    for owner, key in zip(made.owners, made.keys, strict=True):
        pem = folder / f"{owner.name}.ed25519.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(key.private_pem())
        accounts.append(
            {"name": owner.name, "api_key": key.api_key, "api_secret": key.secret.decode(),
             "ed25519_private_key_file": str(pem)}
        )  # fmt: skip
    first = {name: value for name, value in accounts[0].items() if name != "name"}
    return {
        "rest": f"{rest}://{host}",
        "ws": f"{ws}://{host}",
        **{name: f"{ws}://{host}{path}" for name, path in made.protocol.addresses.items()},
        "control": f"{rest}://{host}/control",
        "ca": str(ca_file) if ca_file else None,
        **first,
        "accounts": accounts,
        "recording": made.recording(),
        "pid": os.getpid(),
    }


def _own_folder() -> Path:
    """A folder for this process's certificate and keys; those of exchanges that were killed are removed."""
    home = Path(tempfile.gettempdir())
    for path in home.glob(f"{_FOLDER}*.*-*"):
        pid, _, start = path.name.removeprefix(_FOLDER).partition("-")[0].partition(".")
        mine = False
        with contextlib.suppress(FileNotFoundError):  # another one that starts was faster
            mine = path.is_dir() and path.lstat().st_uid == os.getuid() and not path.is_symlink()
        if mine and pid.isdigit() and start.isdigit() and not ProcessId(int(pid), int(start)).alive:
            shutil.rmtree(path, ignore_errors=True)
    me = identify(os.getpid())
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{me.pid}.{me.start}-"))


async def _serve(
    made: "Assembly",
    listening: socket.socket,
    tls: bool,
    ready: ReadyFile | None,
    json: bool,
    served: Callable[[], None],
) -> None:
    from bot4.adapters.exchange.certificate import make_context
    from bot4.adapters.exchange.server import Server

    loop = asyncio.get_running_loop()
    folder = _own_folder()
    server = Server(made.gateway, made.market, made.protocol)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopped.set)
    try:
        context, ca_file = make_context(folder) if tls else (None, None)
        await server.listen(listening, context)
        server.run()
        content = _ready(made, listening.getsockname()[1], ca_file, folder)
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        served()
        if ready is not None:
            ready.write(text)
        if json:
            typer.echo(orjson.dumps(content).decode())
        else:
            typer.echo(f"bot4-exchange serves {content['rest']} and {content['ws']}; Ctrl-C ends it")
            if ready is None:
                typer.echo(text.decode(), nl=False)
        await server.stopped.wait()
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if server.failure is not None:
        raise server.failure


def _say_loading() -> None:
    typer.echo("bot4-exchange: loading; kernels that are not in the cache are compiled, which takes a minute", err=True)


@app.command(
    epilog="Example: bot4-exchange --market generated:7 --ready exchange.json --ledger ledger.jsonl",
    context_settings={"help_option_names": ["-h", "--help"]},
)
def exchange(
    venue: Annotated[str, typer.Option("--venue", help="Whose protocol is spoken: binance or bybit.")] = "binance",
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    tls: Annotated[bool, typer.Option("--tls", help="Serve TLS; the ready file names whom to trust.")] = False,
    market: Annotated[
        str, typer.Option("--market", help="generated[:SEED]; recorded:PATH[,PATH...]; none: nobody else trades.")
    ] = "generated",
    queue: Annotated[
        str | None, typer.Option("--queue", help="Of a recorded market: risk-averse, power[:N] or log, see README.")
    ] = None,
    again: Annotated[bool, typer.Option("--loop", help="A recorded market begins anew when it has ended.")] = False,
    calibrate: Annotated[
        str | None, typer.Option("--calibrate", help="PATH[,PATH...]: captures that a generated market is like.")
    ] = None,
    speed: Annotated[str, typer.Option("--speed", help="How much faster than life the market moves.")] = "1x",
    balances: Annotated[Path | None, typer.Option("--balances", help="TOML file: accounts and their money.")] = None,
    scenario: Annotated[Path | None, typer.Option("--scenario", help="TOML file: limits and faults.")] = None,
    ledger: Annotated[Path | None, typer.Option("--ledger", help="File of all that happened, a line each.")] = None,
    ready: Annotated[Path | None, typer.Option("--ready", help="File written once it serves.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Tell addresses and keys as one JSON object.")] = False,
) -> None:
    """Serve an exchange on 127.0.0.1: REST, market streams, user data and orders by websocket, as Binance Spot or as
    Bybit v5 (linear and spot).

    BTCUSDT and ETHUSDT are traded by seeded agents, or the symbols of captures of Binance Spot (with --venue bybit: of
    Binance's perpetuals) as they were recorded, and by whoever comes with a key; keys are made at start. Exit code 2
    for settings that cannot be used. SIGTERM and Ctrl-C end it with exit code 0.
    """
    try:
        if venue not in VENUES:
            raise SettingsError(f"--venue {venue}: write {' or '.join(VENUES)}")
        if not 0 <= port <= 65_535:
            raise SettingsError(f"--port {port}: must be from 0 to 65535")
        chosen, factor = read_market(market), read_speed(speed)
        seed = None if isinstance(chosen, list) else chosen
        faults = Scenario(scenario, time.time_ns() // 1_000_000)
        if isinstance(chosen, list):
            if faults.impacts:
                raise SettingsError(f"--scenario {scenario}: impact: a recorded market is not moved, leave it out")
        elif again:
            raise SettingsError(f"--loop: is for --market recorded; {market} has no end")
        elif queue is not None:
            raise SettingsError(f"--queue {queue}: is for --market recorded; in other ones every order is known")
        if chosen is None and faults.impacts:
            raise SettingsError(f"--scenario {scenario}: impact: with --market none nothing is moved, leave it out")
        if calibrate is not None and seed is None:
            raise SettingsError(f"--calibrate {calibrate}: is for --market generated")
        with contextlib.ExitStack() as at_end:
            listening = at_end.enter_context(_bind(port))
            slow = threading.Timer(TELL_LOADING_S, _say_loading)
            slow.daemon = True
            at_end.callback(slow.cancel)
            slow.start()
            import uvloop

            from bot4.adapters.exchange.assembly import assemble  # and the kernels with it
            from bot4.adapters.exchange.calibration import fit
            from bot4.adapters.exchange.protocol import PROTOCOLS
            from bot4.cli.recorded_market import open_recording

            model = read_queue(queue or "risk-averse")
            if model is None:
                raise SettingsError(f"--queue {queue}: write {QUEUE_FORM}")
            symbols = PROTOCOLS[venue].symbols()
            recording = open_recording(chosen, model, venue, symbols, again) if isinstance(chosen, list) else None
            symbols = symbols if recording is None else recording.symbols
            assets = {asset: None for symbol in symbols for asset in (symbol.base, symbol.quote)}
            fees_ppm = PROTOCOLS[venue].fees_ppm
            owners = default_owners(assets, fees_ppm) if balances is None else read_owners(balances, assets)
            if owners.token is not None and venue != "binance":
                raise SettingsError(f"--balances {balances}: fee_token: {venue} has none, leave it out")
            written = Ledger(ledger)
            shown = ReadyFile(ready) if ready is not None else None
            if shown is not None:
                at_end.callback(shown.remove)
            profiles = {}
            usual = PROTOCOLS["binance"].symbols()
            captured = open_recording(_paths(calibrate), model, known=usual).events if calibrate else ()
            for name, fitted in fit(captured).items():
                typer.echo(fitted.text(name), err=True)
                profiles[name] = fitted.profile
            made = assemble(
                owners.accounts, faults, written, time.time_ns, seed, factor, protocol=PROTOCOLS[venue],
                token=owners.token, recording=recording, profiles=profiles,
            )  # fmt: skip
            start_log("exchange")
            uvloop.run(_serve(made, listening, tls, shown, json, slow.cancel))
    except Bot4Error as error:
        typer.echo(f"bot4-exchange: {error}", err=True)
        raise typer.Exit(error.exit_code) from None


def _door() -> None:
    """The command; what is wrong with its options is one line too."""
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        code = 1
    except typer.TyperException as error:
        typer.echo(f"bot4-exchange: {error.format_message().splitlines()[0]}; --help shows the options", err=True)
        code = 2
    raise SystemExit(code)


def main() -> None:
    """Entry point of the command."""
    run_door("bot4-exchange", _door)


if __name__ == "__main__":
    main()
