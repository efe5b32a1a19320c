"""The table of names against a dict."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.kernels.scan.directory import directory_of, find_listing
from bot4.kernels.scan.scanned import LISTING

NAMES = st.text("ABCXYZ019/-", min_size=1, max_size=32)


@settings(deadline=None, max_examples=60)
@given(st.lists(NAMES, min_size=1, max_size=40, unique=True), st.lists(NAMES, max_size=20), st.data())
def test_a_name_is_found_if_it_is_a_members_and_only_then(names, others, data):
    listings = np.zeros(len(names), LISTING)
    for row, name in zip(listings, names, strict=True):
        row["symbol_length"] = len(name)
        row["symbol"][: len(name)] = np.frombuffer(name.encode(), np.uint8)
    members = sorted(data.draw(st.sets(st.integers(0, len(names) - 1), min_size=1)))
    directory = directory_of(listings, np.array(members, np.int64))
    twin = {names[member]: member for member in members}
    alike = [name[:-1] + letter for name in names for letter in "AB0"]
    for name in [*names, *others, *alike]:
        for written in (name, name.lower()):
            text = np.frombuffer(b"x" + written.encode() + b"\n", np.uint8)
            assert find_listing(text, 1, 1 + len(name), directory, listings) == twin.get(name, -1)
