"""Every field of the settings against every kind of bad value, generated from the schema: a new field is covered."""

import copy
import tomllib
import typing
from pathlib import Path

import pytest
from reference.settings_file import Raw, toml_text

from bot4.model.errors import SettingsError
from bot4.settings.bound import Amount, AutoCores, AutoInteger, Choice, Integer, Parameters, Text, Truth
from bot4.settings.loader import (
    INSTRUMENTS_FILE,
    LIMITS_FILE,
    MAX_FILE_BYTES,
    TOPOLOGY_FILE,
    bound_of,
    is_optional,
    load,
)
from bot4.settings.schema import Instruments, Limits, Session, Topology

CONFIG = Path(__file__).resolve().parents[3] / "config"
TABLES = {"paper.toml": Session, LIMITS_FILE: Limits, INSTRUMENTS_FILE: Instruments, TOPOLOGY_FILE: Topology}


OPTIONAL = set()  # paths of what may be left out
SAMPLES = {"recorder": {"folder": "recordings", "raw": "off", "part_mb": 16, "part_s": 60}}
SAMPLES |= {way: {"model": "constant", "us": 2_000} for way in ("order", "cancel", "report", "data")}
SAMPLES["impact"] = {"model": "almgren_chriss"} | dict.fromkeys(("gamma", "eta", "epsilon"), "0.1") | {"tau_s": 60}


def _walk(table, at=()):
    """Every field below a table: (path, bound), bound None for a table itself."""
    for name, hint in typing.get_type_hints(table, include_extras=True).items():
        bound = bound_of(hint)
        yield (*at, name), bound
        if bound is not None and is_optional(hint):
            OPTIONAL.add((*at, name))
        if bound is None:
            is_list = typing.get_origin(hint) is tuple
            below = typing.get_args(hint)[0] if is_list or is_optional(hint) else hint
            if is_optional(hint):
                OPTIONAL.add((*at, name))
            yield from _walk(below, (*at, name, 0) if is_list else (*at, name))


FIELDS = [(file, path, bound) for file, table in TABLES.items() for path, bound in _walk(table)]
OPTIONAL.discard(("venue", "sim"))  # live has none, paper needs it
LEAVES = [field for field in FIELDS if field[2] is not None]


def _dotted(path):
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text[1:]


def _ids(fields):
    return [f"{file}:{_dotted(path)}" for file, path, *_ in fields]


def _raw():
    tables = {file: tomllib.loads((CONFIG / file).read_text()) for file in TABLES}
    for file, path, bound in FIELDS:
        if bound is None and path in OPTIONAL:
            table = tables[file]
            for part in path[:-1]:
                table = table[part]
            table.setdefault(path[-1], dict(SAMPLES.get(path[-1], {})))
    return tables


def _write(folder, tables):
    for file, table in tables.items():
        (folder / file).write_text(toml_text(table))
    return folder / "paper.toml"


def _with(path, value):
    """The value of `path` replaced in a copy of the files of config/."""

    def change(table):
        for part in path[:-1]:
            table = table[part]
        if value is None:
            table.pop(path[-1], None)
        else:
            table[path[-1]] = value

    return change


def _load_changed(folder, file, change):
    tables = copy.deepcopy(_raw())
    change(tables[file])
    return load(_write(folder, tables))


def _refusal(folder, file, change):
    with pytest.raises(SettingsError) as caught:
        _load_changed(folder, file, change)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1_000
    assert message.startswith(f"{folder / file}: "), message
    assert caught.value.exit_code == 2
    return message


def _bad_values(bound):
    """What the bound has to refuse, beside wrong types."""
    if isinstance(bound, Integer | AutoInteger):
        values = [bound.low - 1, bound.high + 1, -(2**63), 2**63, 2**64, float(bound.low), f"{bound.low}", "", "AUTO"]
        return values + [value for value in (-1, 0) if value < bound.low]
    if isinstance(bound, Amount):
        too_much = str(int(float(bound.high)) + 1)
        values = [
            "-0.000000001",
            too_much,
            "nan",
            "inf",
            "-inf",
            "1e2",
            "1_0",
            " 1",
            "１",
            "",
            ".5",
            "5.",
            "text",
            1,
            0.1,
        ]
        return values + [text for text, number in (("0", 0), ("-1", -1)) if number < float(bound.low)]
    if isinstance(bound, Choice):
        return ["", "nothing", bound.options[0].upper(), f" {bound.options[0]}", -1, 0, 1]
    if isinstance(bound, Text):
        return ["", "\u0000", "\n", "x" * 1000 + "\t", -1, 0, 1]
    if isinstance(bound, Truth):
        return ["", "true", "yes", -1, 0, 1]
    if isinstance(bound, AutoCores):
        return [[], [-1], [bound.high + 1], [0, 0], [0.5], [True], ["0"], "", "all", 0, -1]
    assert isinstance(bound, Parameters)
    return [{"x": value} for value in ("1", True, [1], 2e15, -2e15, 10**400)] + [
        {"X": 1},
        {Raw('""'): 1},
        0,
        -1,
        "text",
        [],
    ]


WRONG_TYPES = [Raw("true"), Raw("1.5"), Raw("1979-05-27T07:32:00Z"), Raw("07:32:00"), Raw("[1, 'a']"), Raw("{ a = 1 }")]
NOT_NUMBERS = [Raw("nan"), Raw("+inf"), Raw("-inf")]


def test_the_files_of_the_repository_load():
    settings = load(CONFIG / "paper.toml")
    assert settings.mode == "paper"
    assert settings.limits.position_bps == 200
    assert settings.path == CONFIG / "paper.toml"
    assert ("BTCUSDT", "binance_usdm") in {(row.symbol, row.venue) for row in settings.instruments}


def test_every_file_and_kind_of_bound_is_covered():
    assert {file for file, *_ in LEAVES} == set(TABLES)
    kinds = {Amount, AutoCores, AutoInteger, Choice, Integer, Parameters, Text, Truth}
    assert {type(bound) for *_, bound in LEAVES} == kinds


def test_a_copy_by_the_tests_own_writer_loads(tmp_path):
    assert _load_changed(tmp_path, LIMITS_FILE, lambda table: None).limits == load(CONFIG / "paper.toml").limits


@pytest.mark.parametrize(("file", "path", "bound"), FIELDS, ids=_ids(FIELDS))
def test_missing_field(tmp_path, file, path, bound):
    if path in OPTIONAL:
        assert _load_changed(tmp_path, file, _with(path, None))
        return
    message = _refusal(tmp_path, file, _with(path, None))
    assert f": {_dotted(path)}: missing; add" in message


@pytest.mark.parametrize(("file", "path", "bound"), LEAVES, ids=_ids(LEAVES))
def test_null(tmp_path, file, path, bound):
    message = _refusal(tmp_path, file, _with(path, Raw("null")))
    assert f"{path[-1]} = null" in message and "not TOML" in message


@pytest.mark.parametrize(("file", "path", "bound"), FIELDS, ids=_ids(FIELDS))
def test_wrong_type(tmp_path, file, path, bound):
    accepted = {Raw("[1, 'a']"): (), Raw("{ a = 1 }"): (Parameters,), Raw("true"): (Truth,)}
    for value in WRONG_TYPES + NOT_NUMBERS:
        if isinstance(bound, accepted.get(value, ())):
            continue
        if bound is None and value in (Raw("{ a = 1 }"), Raw("[1, 'a']")):
            assert _dotted(path) in _refusal(tmp_path, file, _with(path, value))
            continue
        assert f": {_dotted(path)}: " in _refusal(tmp_path, file, _with(path, value)), value


@pytest.mark.parametrize(("file", "path", "bound"), LEAVES, ids=_ids(LEAVES))
def test_outside_its_bound(tmp_path, file, path, bound):
    for value in _bad_values(bound):
        if isinstance(value, str) and any(ord(letter) < 32 for letter in value):
            value = Raw('"' + "".join(f"\\u{ord(letter):04x}" for letter in value) + '"')
        message = _refusal(tmp_path, file, _with(path, value))
        assert f": {_dotted(path)}: " in message, value
        assert "; write " in message, value


@pytest.mark.parametrize(("file", "path", "bound"), LEAVES, ids=_ids(LEAVES))
def test_edge_of_its_bound_is_accepted_by_the_bound(file, path, bound):
    good = {
        Integer: lambda: [bound.low, bound.high],
        AutoInteger: lambda: [bound.low, bound.high, "auto"],
        Amount: lambda: [bound.low, bound.high],
        Choice: lambda: list(bound.options),
        Truth: lambda: [True, False],
        Text: lambda: [{"URL": "wss://a.b:1/c", "QUEUE_MODEL": "log", "CCXT": "okx"}.get(bound.name, "A")],
        AutoCores: lambda: ["auto", [0], [bound.high], (1, 0)],
        Parameters: lambda: [{}, {"a_1": 1, "b": -1e15}, {"c": 0.5}],
    }[type(bound)]()
    assert [bound.refusal(value) for value in good] == [None] * len(good)


TABLE_PATHS = [(file, ()) for file in TABLES] + [(file, path) for file, path, bound in FIELDS if bound is None]


@pytest.mark.parametrize(("file", "path"), TABLE_PATHS, ids=_ids(TABLE_PATHS))
def test_unknown_key(tmp_path, file, path):
    def change(table):
        for part in path:
            table = table[part]
        (table[0] if isinstance(table, list) else table)["surprise"] = 1

    at = _dotted(path) + ("[0]" if path == ("instrument",) else "")
    assert f": {at}.surprise: unknown field; ".replace(" .", " ") in _refusal(tmp_path, file, change)


def test_unknown_key_that_is_almost_right_gets_a_hint(tmp_path):
    message = _refusal(tmp_path, LIMITS_FILE, lambda table: table.update(position_bp=1))
    assert message.endswith("position_bp: unknown field; did you mean position_bps?")


def test_unknown_key_with_strange_letters_stays_one_line(tmp_path):
    message = _refusal(tmp_path, LIMITS_FILE, lambda table: table.update({Raw('"a\\nb"'): 1}))
    assert "'a\\nb'" in message


def _broken(folder, name, content):
    path = _write(folder, _raw())
    (folder / name).write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{folder / name}: ")
    return message


@pytest.mark.parametrize("file", TABLES)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = 1\na = 2\n", "Cannot overwrite a value"),
        (b"[a]\n[a]\n", "not TOML"),
        (b"\xff\xfe\x00", "byte 0 is not UTF-8"),
        (b'mode = "pa\xe9per"', "is not UTF-8"),
        (b"\x00", "not TOML"),
        (b"no equals sign", "not TOML in 'no equals sign'"),
        (b"a = " + b"9" * 5000, "not TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than"),
        (b"", "missing; add"),
    ],
    ids=["key_twice", "table_twice", "utf16", "latin1", "nul", "prose", "huge_number", "deep", "large", "empty"],
)
def test_broken_file(tmp_path, file, content, said):
    assert said in _broken(tmp_path, file, content)


@pytest.mark.parametrize("file", TABLES)
def test_missing_file(tmp_path, file):
    path = _write(tmp_path, _raw())
    (tmp_path / file).unlink()
    with pytest.raises(SettingsError, match="no such file"):
        load(path)


@pytest.mark.parametrize("file", TABLES)
def test_folder_in_place_of_a_file(tmp_path, file):
    path = _write(tmp_path, _raw())
    (tmp_path / file).unlink()
    (tmp_path / file).mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        load(path)


def test_path_that_no_file_can_have():
    with pytest.raises(SettingsError, match="cannot be read"):
        load(Path("a\0b"))


@pytest.mark.parametrize("value", ["[]", "{}", "1", "[1]", "[[]]", "['a']"])
def test_instruments_that_are_no_list_of_tables(tmp_path, value):
    message = _refusal(tmp_path, INSTRUMENTS_FILE, _with(("instrument",), Raw(value)))
    assert ": instrument" in message


def test_a_table_of_the_session_that_is_a_value(tmp_path):
    message = _refusal(tmp_path, "paper.toml", _with(("venue",), 1))
    assert message.endswith(": venue: 1 is no table; write [venue] and its fields below it")


def test_quotes_too_many_and_too_few_are_told_apart_from_a_bound(tmp_path):
    said = _refusal(tmp_path, "limits.toml", _with(("position_bps",), "200"))
    assert "'200' is no whole number without quotes" in said
    said = _refusal(tmp_path, "limits.toml", _with(("order_notional",), 2500))
    assert "2500 is a number without quotes" in said and 'such as "2500"' in said
    said = _refusal(tmp_path, "limits.toml", _with(("order_notional",), Raw("inf")))
    assert "such as" not in said


def test_settings_are_frozen():
    settings = load(CONFIG / "paper.toml")
    with pytest.raises(AttributeError):
        settings.limits.position_bps = 10_000
