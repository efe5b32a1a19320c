"""`bot4-kill`: take everything back at the venue, whatever has become of the bot: own program, own session, no memory.

Heavy imports happen inside the command: it has to serve when nothing else does, and at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from bot4.adapters.system.output import GIVE_UP_S, run_door, standard_error, standard_output

MAX_TIMEOUT_S = 3_600.0
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(
    epilog='Example: bot4-kill --reason "fat finger". Exit codes: 0 proven, 2 bad settings or input, 1 not proven.',
    context_settings={"help_option_names": ["-h", "--help"]},
)
def kill(
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the latch.")],
    config: Annotated[Path, typer.Option("--config", help="The live session's settings file.")] = Path(
        "config/live.toml"
    ),
    flatten: Annotated[bool, typer.Option("--flatten", help="Close every position too, then its stop goes.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds in which it has to be proven.")] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Set the kill latch, cancel every order but protective stops at the venue, and prove it. Needs no running bot."""
    from bot4.model.errors import Bot4Error, InputError
    from workers.withdraw import withdraw

    try:
        if not 0.0 < timeout <= MAX_TIMEOUT_S:
            raise InputError(f"--timeout {timeout:g}: write seconds, up to {MAX_TIMEOUT_S:.0f}")
        found = withdraw(config, reason, flatten, timeout, _silent if json else _tell_on)
    except Bot4Error as error:
        code = 2 if isinstance(error, InputError) else 1
        _tell({"error": str(error), "exit": code} if json else None, f"bot4-kill: {error}", json)
        raise typer.Exit(code) from None
    _tell(found, _sentence(found), json)
    raise typer.Exit(0 if found["proven"] and found["latch"] == "tripped" else 1)


def _tell_on(word: str) -> None:
    standard_error().line(f"bot4-kill: {word}", GIVE_UP_S)


def _silent(_: str) -> None:
    """JSON comes once, at the end."""


def _tell(found: dict[str, Any] | None, sentence: str, json: bool) -> None:
    if not json:
        standard_error().line(sentence, GIVE_UP_S) if found is None else standard_output().line(sentence, GIVE_UP_S)
        return
    import orjson

    standard_output().line(orjson.dumps(found).decode(), GIVE_UP_S)


def _sentence(found: dict[str, Any]) -> str:
    text = f"{found['venue']}: {found['cancelled']} orders cancelled in {found['seconds']:.2f} s; "
    if found["positions"] is None:
        text += "held and open: UNKNOWN, the venue has not said"
    else:
        held = ", ".join(f"{symbol} {lots:+d} lots" for symbol, lots in found["positions"].items()) or "nothing"
        text += f"held: {held}, guarded by {found['stops']} stops"
    if found["left"]:
        text += f"; NOT cancelled: {', '.join(found['left'])}"
    if not found["proven"]:
        text += (
            f"; NOT PROVEN: {found['trouble'] or 'the venue still names orders or positions'}; mend that, run it again"
        )
    if found["sizes"]:
        text += f"; {found['sizes']}"
    if found["latch"] != "tripped":
        text += f"; THE LATCH IS NOT SET: {found['latch']}; end the bot by hand"
    return text


def main() -> None:
    """Entry point."""
    run_door("bot4-kill", app)


if __name__ == "__main__":
    main()
