"""A small TOML writer, so that the tests of the loader can write what no serialiser would: nan, null, a key twice."""

from typing import Any


class Raw(str):
    """Text that is written as it stands."""

    __slots__ = ()


def toml_value(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value)


def toml_text(table: dict[str, Any], at: str = "") -> str:
    """A table with its tables and lists of tables below it."""
    lines = [f"{key} = {toml_value(value)}" for key, value in table.items() if not _is_below(value)]
    for key, value in table.items():
        name = f"{at}.{key}" if at else key
        if isinstance(value, dict):
            lines += [f"[{name}]", toml_text(value, name)]
        elif _is_below(value):
            for row in value:
                lines += [f"[[{name}]]", toml_text(row, name)]
    return "\n".join(lines)


def _is_below(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))
