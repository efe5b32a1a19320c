"""`bot4-supervisor`: start, status, stop, reload, kill, reset, build. A thin door: options in, one line per error out.

Heavy imports happen inside the commands, and without Numba: this process watches and never computes.
"""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core

NAME = "bot4-supervisor"
HELP = {"help_option_names": ["-h", "--help"]}


class _Commands(typer.core.TyperGroup):
    """The commands; a wrong option is told in JSON too if that was asked for."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            told = getattr(error, "format_message", None)  # usage errors have one
            if told and "--json" in sys.argv:
                _tell_the_end([_json_text(refusal(2, " ".join(told().split())))])
            raise


app = typer.Typer(
    name=NAME,
    cls=_Commands,
    help="Start, watch and stop Bot4. Exit codes: 0 done, 2 bad settings or input, 3 halted, 1 anything else.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=HELP,
)

Config = Annotated[Path, typer.Option("--config", help="The session's settings file; the others lie beside it.")]
State = Annotated[Path | None, typer.Option("--state", help="State folder, in place of the one in the settings.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
DEFAULT_CONFIG = Path("config/paper.toml")


@app.command(
    epilog="Example: bot4-supervisor start --feed replay:day1.gz,day2.gz --speed max --until-end --report report"
)
def start(
    config: Config = DEFAULT_CONFIG,
    feed: Annotated[
        str,
        typer.Option(
            "--feed",
            help="synthetic[:SEED] | replay:PATH[,PATH...] (files of one instrument are a chain) | "
            "bars:VENUE:PATH[,PATH...] | live",
        ),
    ] = "synthetic",
    pace: Annotated[
        str | None,
        typer.Option("--pace", help="event: by event time, deterministic (default of a replay at max) | free"),
    ] = None,
    speed: Annotated[str, typer.Option("--speed", help="1x | Nx | max")] = "max",
    until_end: Annotated[
        bool, typer.Option("--until-end/--stay", help="Leave when the feed has ended and all is settled, or stay up.")
    ] = True,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Folder of session.json and session.html. Default: in the state folder."),
    ] = None,
    compose: Annotated[
        str | None, typer.Option("--compose", help="auto | one (all agents in one process) | processes")
    ] = None,
    shards: Annotated[int | None, typer.Option("--shards", help="Number of shards.")] = None,
    json: Json = False,
) -> None:
    """Run a session: on recorded data, or on the synthetic market by default."""
    with _door(json), _stoppable() as stopped:
        from workers.template_process import TemplateProcess

        with closing(TemplateProcess()) as template:  # before the imports below: it needs as long as they do
            from bot4.adapters.system.output import standard_output
            from workers.session import Session, StartOptions, prepare, refuse_first, undisturbed
            from workers.view import choose_view

            refuse_first(config)
            options = StartOptions(
                config=config, feed=feed, pace=pace, speed=speed, until_end=until_end, report=report, compose=compose,
                shards=shards,
            )  # fmt: skip
            prepared = prepare(options)
            with closing(choose_view(json, standard_output().terminal)) as view:
                if stopped:  # raised where Python had to swallow it: in an import's callback, in a destructor
                    raise _Stop
                session = Session(prepared, view, until_end, template)
                outcome, lines, content = session.run()
        if json:
            end = {"kind": "end", "exit_code": outcome.exit_code, "state": outcome.state, "message": outcome.message}
            end |= {"report_folder": str(session.report_folder), "lines": lines, "report": content}
            lines = [_json_text(end)]
        with undisturbed():
            if outcome.message:
                _complain(outcome.message)
            written = session.report_folder if content is not None else None
            told = _tell_the_end(lines, f"; the report is in {written}" if written else "")
        raise typer.Exit(outcome.exit_code or (0 if told else 1))


@app.command(epilog="Example: bot4-supervisor status --json")
def status(config: Config = DEFAULT_CONFIG, state: State = None, json: Json = False) -> None:
    """Show what runs: rates, positions, profit, workers. Exit code 3 if the kill latch is set."""
    with _door(json):
        from workers.session import seen_folder
        from workers.session import status as find
        from workers.view import status_lines

        found = find(seen_folder(config, state))
        if json:
            _say(_json_text(found))
        else:
            _say("\n".join(status_lines(found)))
        raise typer.Exit(3 if found["latch"] and found["latch"]["tripped"] else 0)


@app.command(epilog="Example: bot4-supervisor stop --timeout 60")
def stop(
    ctx: typer.Context,
    config: Config = DEFAULT_CONFIG,
    state: State = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.0, help="Seconds to wait for the end.")] = 30.0,
    json: Json = False,
) -> None:
    """Stop the running session cleanly: nothing new is sent, the report is written."""
    with _door(json):
        from workers.session import seen_folder
        from workers.session import stop as end

        folder = seen_folder(config, state)
        stopped = end(folder, timeout)
        told = "stopped" if stopped else f"nothing runs on state folder {folder}"
        _answer_of(ctx, folder, {"stopped": stopped}, told, stopped)


@app.command(epilog="Example: bot4-supervisor reload --config config/live.toml")
def reload(config: Config = DEFAULT_CONFIG, state: State = None, json: Json = False) -> None:
    """Read limits.toml again for the running session: limits become tighter at once; a looser one is refused."""
    with _door(json):
        from workers.reload import reload as tighten

        changed = tighten(config, state)
        told = ", ".join(f"{name} = {value}" for name, value in changed.items())
        _answer(json, {"tightened": changed}, f"tighter now: {told}" if told else "limits.toml says what is in force")


@app.command(epilog='Example: bot4-supervisor kill --reason "fat finger on ETH"')
def kill(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the latch.")],
    config: Config = DEFAULT_CONFIG,
    state: State = None,
    json: Json = False,
) -> None:
    """Set the kill latch: no order that opens risk any more, now and after any restart, until a person resets it."""
    with _door(json):
        from workers.session import kill as trip
        from workers.session import state_folder

        folder = state_folder(config, state)
        running = trip(folder, reason)
        stays = "; it stays up to guard its stops: end it with bot4-supervisor stop"
        told = f"and the running session is told{stays}" if running else "and nothing runs on it"
        told = f"the kill latch of {folder} is set, {told}"
        _answer_of(ctx, folder, {"tripped": True, "running": running}, told, running)


@app.command(epilog='Example: bot4-supervisor reset --reason "positions checked by hand"')
def reset(
    reason: Annotated[str, typer.Option("--reason", help="Why it is safe to go on; it is kept with the latch.")],
    config: Config = DEFAULT_CONFIG,
    state: State = None,
    json: Json = False,
) -> None:
    """Clear the kill latch. Refused while a session runs: stop it first."""
    with _door(json):
        from workers.session import reset as clear
        from workers.session import state_folder

        folder = state_folder(config, state)
        was = clear(folder, reason)
        _answer(json, {"reset": was}, f"the kill latch of {folder} {'is cleared' if was else 'was not set'}")


@app.command(epilog="Example: bot4-supervisor build")
def build(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Compile every kernel into the cache, so that the next start takes a second."""
    with _door(json):
        from workers.session import build as compile_all

        seconds = compile_all(config)
        _answer(json, {"seconds": round(seconds, 2)}, f"all kernels are compiled and cached ({seconds:.1f} s)")


class _Stop(BaseException):
    """A signal asked for the end while no session runs yet; not an Exception, so that nobody takes it for a fault."""


@contextmanager
def _stoppable() -> Iterator[list[int]]:
    """A signal before the session watches for it ends the command in order: locks and segments are given back.

    Yields the signals that have come.
    """
    stopped: list[int] = []

    def stop(number: int, frame: object) -> NoReturn:
        stopped.append(number)
        raise _Stop

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stopped
    except _Stop:
        _complain("stopped before the session began")
        raise typer.Exit(0) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _door(json: bool = False) -> Iterator[None]:
    """Import without Numba, and turn each error of ours into one line, its exit code and, if asked for, JSON."""
    os.environ["BOT4_WATCHER"] = "1"
    try:
        import bot4.jit  # noqa: F401
    finally:
        del os.environ["BOT4_WATCHER"]  # workers compute: they must not inherit it
    from bot4.model.errors import Bot4Error

    try:
        yield
    except Bot4Error as error:
        message = " ".join(str(error).split())
        if json:
            _tell_the_end([_json_text(refusal(error.exit_code, message))])
        _complain(message)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:  # the machine refuses something that nothing goes without
        where = f": {error.filename}" if error.filename else ""
        cure = "; allow more open files (ulimit -n)" if error.errno == errno.EMFILE else ""
        message = f"{error.strerror or error}{where}{cure}"
        if json:
            _tell_the_end([_json_text(refusal(1, message))])
        _complain(message)
        raise typer.Exit(1) from None


def refusal(exit_code: int, message: str) -> dict[str, Any]:
    """What --json says when nothing was done."""
    return {"kind": "end", "exit_code": exit_code, "state": "refused", "message": message}


def _answer(json: bool, content: dict[str, Any], text: str) -> None:
    _say(_json_text(content) if json else text)


def _answer_of(ctx: typer.Context, folder: Path, content: dict[str, Any], text: str, was_told: bool) -> None:
    """An answer for whoever wants a session to end; where it was told to none, those that run elsewhere are named.

    Exit code 1 if nobody said which one was meant.
    """
    from bot4.adapters.system.instance import running_folders

    others = [] if was_told else [str(one) for one in running_folders() if one != folder.resolve()]
    if others:
        content, text = content | {"elsewhere": others}, f"{text}; what runs is on {', '.join(others)}: use --state"
    _answer(ctx.params["json"], content, text)
    if others and all(ctx.get_parameter_source(name).name == "DEFAULT" for name in ("config", "state")):  # type: ignore[union-attr]
        raise typer.Exit(1)


def _json_text(content: dict[str, Any]) -> str:
    import orjson

    return orjson.dumps(content).decode()


def _say(text: str) -> None:
    """Lines of a command that has all the time its reader takes; the end with exit code 1 if nobody can have them."""
    from bot4.adapters.system.output import standard_output

    if not standard_output().line(text, None):
        _complain_of_output(standard_output())
        raise typer.Exit(1)


def _tell_the_end(lines: list[str], besides: str = "") -> bool:
    """The last lines; False if the reader does not take them within some seconds: then they are left out."""
    from bot4.adapters.system.output import GIVE_UP_S, standard_output

    output = standard_output()
    if all(output.line(line, GIVE_UP_S) for line in lines):
        return True
    _complain_of_output(output, besides)
    return False


def _complain_of_output(output: Any, besides: str = "") -> None:
    if not output.gone:  # who has closed his end does not want to hear more
        _complain(f"standard output cannot be written: {output.failure or 'nobody reads it'}{besides}")


def _complain(message: str) -> None:
    """One line on standard error, if anybody takes it."""
    from bot4.adapters.system.output import GIVE_UP_S, standard_error

    standard_error().line(f"{NAME}: {message}", GIVE_UP_S)


def main() -> None:
    """Entry point of the command."""
    from bot4.adapters.system.output import run_door

    run_door(NAME, app)


if __name__ == "__main__":
    main()
