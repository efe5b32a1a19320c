"""What goes wrong on the cold path, as exceptions. On the hot path a failure is a value: a reject code of `enums`.

Every error that a user can cause is an `InputError`: one line that names the field or the file, and the fix.
"""


class Bot4Error(Exception):
    """Base of everything Bot4 raises on purpose; the commands print it as one line, without a traceback."""

    exit_code = 1


class InputError(Bot4Error):
    """Settings or input that cannot be used: names the field or file and how to mend it."""

    exit_code = 2


class SettingsError(InputError):
    """A field of the settings is missing, unknown, of the wrong type or out of range."""


class RecordingError(InputError):
    """A recording cannot be read: missing, empty, truncated or not of a known form."""


class UnitError(InputError):
    """A price, quantity or amount is not an exact multiple of its unit."""


class HaltedError(Bot4Error):
    """Trading is halted by the kill latch or a breaker; only a person resets it."""

    exit_code = 3


class BreakerOpenError(Bot4Error):
    """A component is not called: its circuit breaker is open, or somebody else is just trying it."""


class SegmentError(Bot4Error):
    """A shared-memory segment is missing, foreign, stale or of another layout."""


class JournalError(Bot4Error):
    """The journal cannot be opened, is damaged below its commit word, or is full."""
