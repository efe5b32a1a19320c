"""Slow twin of the impact models: definitions, and a plan found by solving for it instead of by its closed form."""

import itertools

import numpy as np


def share(model, quantity, daily_quantity, coefficient):
    """By what share of itself the price moves: 1 linear, 2 square root."""
    return coefficient * (quantity / daily_quantity) ** (1.0 if model == 1 else 0.5)


def displaced(trades, now, daily_quantity, coefficient, decay_s):
    """Signed share by which trades (time, signed quantity) of before hold the price off; the older the less."""
    flow = sum(quantity * np.exp(-(now - at) / decay_s) for at, quantity in trades)
    return np.sign(flow) * coefficient * (abs(flow) / daily_quantity) ** 0.5


def trajectory(schedule, n):
    """Holdings that minimise cost + lambda * variance: the gradient is zero, a system of n - 1 equations."""
    tau, sigma, gamma, eta = (float(schedule[name]) for name in ("tau", "sigma", "gamma", "eta"))
    risk = float(schedule["risk_aversion"])
    speed = (eta - gamma * tau / 2) / tau
    # cost: speed * sum (x[j-1] - x[j])^2 + terms that do not depend on x; variance: sigma^2 * tau * sum x[j]^2
    matrix, right = np.zeros((n - 1, n - 1)), np.zeros(n - 1)
    for j in range(n - 1):
        matrix[j, j] = 4 * speed + 2 * risk * sigma**2 * tau
        if j:
            matrix[j, j - 1] = matrix[j - 1, j] = -2 * speed
    if n > 1:
        right[0] = 2 * speed * schedule["quantity"]
    return np.array([schedule["quantity"], *np.linalg.solve(matrix, right), 0.0])


def cost(schedule, held):
    """What is lost against the first price, sale by sale: each at the price the ones before left, less its own move."""
    tau, gamma, eta, epsilon = (float(schedule[name]) for name in ("tau", "gamma", "eta", "epsilon"))
    moved = lost = 0.0
    for before, after in itertools.pairwise(held):
        sold = before - after
        lost += sold * (moved + epsilon * np.sign(sold) + eta * sold / tau)
        moved += gamma * sold
    return lost
