"""What the calibration says agrees with the clocks that it was made from."""

import time

from bot4.atomics import rdtsc
from bot4.shm.calibration import Calibration, calibrate, calibration_of, stamp
from bot4.shm.layout import SEQLOCK_VERSION
from bot4.shm.wires import private_wires


def test_nothing_is_said_before_it_is_written_and_while_it_is_half_written():
    slot = private_wires(1, 1, 64).calibration
    assert calibration_of(slot) is None
    calibrate(slot, stamp())
    assert calibration_of(slot) is not None
    slot[SEQLOCK_VERSION] += 1
    assert calibration_of(slot) is None


def test_a_stamp_becomes_the_wall_time_at_which_it_was_taken():
    slot = private_wires(1, 1, 64).calibration
    calibrate(slot, stamp())
    found = calibration_of(slot)
    before = time.time_ns()
    wall_ns = found.wall_ns_of(rdtsc())
    after = time.time_ns()
    tolerance_ns = 20_000_000 + (after - found.wall_ns) // 50  # the wall clock may be slewed, the machine may stall
    assert before - tolerance_ns < wall_ns < after + tolerance_ns
    assert abs(found.wall_ns - time.time_ns() + time.monotonic_ns() - found.monotonic_ns) < tolerance_ns


def test_the_rate_is_what_the_first_stamp_and_now_say():
    slot = private_wires(1, 1, 64).calibration
    now = stamp()
    began = now._replace(tsc=now.tsc - 30_000_000_000, monotonic_ns=now.monotonic_ns - 10_000_000_000)
    calibrate(slot, began)
    found = calibration_of(slot)
    rate = (found.tsc - began.tsc) * 1_000_000_000 // (found.monotonic_ns - began.monotonic_ns)
    assert found.tsc_hz == rate and found.cycles_per_ns == rate / 1e9
    assert slot[SEQLOCK_VERSION] == 2


def test_the_arithmetic_is_exact_for_stamps_years_away():
    calibration = Calibration(tsc=10, monotonic_ns=0, wall_ns=1_700_000_000_000_000_000, tsc_hz=2_500_000_000)
    year_s = 365 * 86_400
    assert calibration.wall_ns_of(10 + 2_500_000_000 * year_s) == (1_700_000_000 + year_s) * 1_000_000_000
    assert calibration.wall_ns_of(10 - 2_500) == 1_700_000_000_000_000_000 - 1_000
