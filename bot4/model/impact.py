"""What trading does to the price: the models, and their figures in the units that the simulated venue reckons in."""

import numpy as np

IMPACT_NONE = 0
IMPACT_LINEAR = 1
IMPACT_SQUARE_ROOT = 2
IMPACT_ALMGREN_CHRISS = 3

# One instrument's model and what our own taking has left behind. Quantities in lots, prices in ticks, time in seconds.
IMPACT = np.dtype(
    [
        ("model", "i8"),  # IMPACT_*
        ("daily_lots", "f8"),  # linear, square root: a day's turnover, > 0
        ("coefficient", "f8"),  # linear, square root: share of the price for a whole day's turnover
        ("gamma", "f8"),  # Almgren-Chriss: permanent, ticks a lot
        ("eta", "f8"),  # Almgren-Chriss: temporary, ticks by lots a second
        ("epsilon", "f8"),  # Almgren-Chriss: fixed, ticks
        ("tau", "f8"),  # Almgren-Chriss: length of an interval, > 0
        ("flow", "f8"),  # signed lots taken that still count; of Almgren-Chriss those of earlier intervals
        ("part", "f8"),  # Almgren-Chriss: signed lots taken in the interval of `at_ns`
        ("at_ns", "i8"),  # event time of both
    ]
)
