"""A number that is another one at each start, whatever happens in between: part of every order id of a live session."""

from pathlib import Path

from bot4.adapters.system.durable import write_durably
from bot4.model.errors import Bot4Error

FILE_NAME = "generation"
LAST = 65_535


def next_generation(state: Path, known: int) -> int:
    """Count on, on disk before it is used.

    Parameters
    ----------
    state : the state folder
    known : a number that has been used; starts that went on with its session have had higher ones

    Raises
    ------
    Bot4Error : it cannot be kept, is used up, or the file is not the one of before
    """
    path = state / FILE_NAME
    try:
        text = path.read_text() if path.exists() else "0"
        if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) < LAST):
            raise Bot4Error(f"{path}: holds no number below {LAST}; orders of different sessions could have one id")
        if int(text) < known:
            what = f"holds {text}" if path.exists() else "is lost"
            raise Bot4Error(
                f"{path}: {what}, and a session has begun with number {known}; "
                f"put its last copy back, or write a number beyond all that were used, like {known + 1_000}"
            )
        number = int(text) + 1
        write_durably(path, str(number).encode())
    except OSError as error:
        raise Bot4Error(f"{path}: the number of this session cannot be kept: {error.strerror}") from None
    return number
