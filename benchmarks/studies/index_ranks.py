"""How well indices rank: Kendall's tau per scene, intervals over scenes, fitted combinations."""

import numpy as np
from scipy.optimize import minimize
from scipy.stats import kendalltau

from benchmarks.studies.index_scenes import INDICES, TRUE

_RESAMPLES = 2000
_BEST = 12
GROUPS = ("all", "without controls", "best twelve")
"""Methods that are ranked; the third are those of the second with the lowest true ERGAS."""
FEATURES = ("R-ERGAS", "R-SAM", "R-Q2n", "D_rho", "D_s", "D_lambda", "D_lambda_K")
"""Indices of which the fitted combinations are made, as logarithms of what is lost."""
PAIRS = {
    "R-ERGAS, D_rho": ("R-ERGAS", "D_rho"),
    "R-SAM, D_rho": ("R-SAM", "D_rho"),
    "R-Q2n, D_rho": ("R-Q2n", "D_rho"),
    "R-ERGAS, D_s": ("R-ERGAS", "D_s"),
    "R-SAM, D_s": ("R-SAM", "D_s"),
    "R-Q2n, D_s": ("R-Q2n", "D_s"),
    "D_lambda_K, D_rho": ("D_lambda_K", "D_rho"),
}
"""Combinations without weights: the product of what is lost in the two."""
CHECKED = (
    ("R-ERGAS", "R-SAM"),
    ("R-ERGAS", "R-Q2n"),
    ("R-ERGAS", "D_lambda_K"),
    ("R-ERGAS", "HQNR"),
    ("R-ERGAS", "D_s"),
    ("R-ERGAS", "D_rho"),
)
"""Pairs of indices that are asked how often they are right where they agree."""
_FLOOR = 1e-4


def log_loss(name: str, values) -> np.ndarray:
    """Return the logarithm of an index, or of 1 minus it where higher is better."""
    values = np.asarray(values, float)
    return np.log(np.maximum(values if INDICES[name] < 0 else 1 - values, _FLOOR))


def scores(row: dict, weights: dict[str, dict[str, float]]) -> dict[str, np.ndarray]:
    """Return what each index and combination says of every image of a scene, higher better.

    Args:
        row: what `index_scenes.measure` returned.
        weights: weight of each feature for each fitted combination, higher worse.
    """
    values = row["values"]
    result = {name: sign * np.asarray(values[name]) for name, sign in INDICES.items()}
    gap = np.abs(np.asarray(values["D_rho"]) - row["d_rho_ms"])
    result["D_rho gap"] = -gap
    for name, pair in PAIRS.items():
        result[name] = -sum(log_loss(index, values[index]) for index in pair)
    for name, of_features in weights.items():
        losses = features(row)
        result[name] = -sum(weight * losses[index] for index, weight in of_features.items())
    return result


def features(row: dict) -> dict[str, np.ndarray]:
    """Return the logarithms of losses that fitted combinations add up, higher worse."""
    values = row["values"]
    return {name: log_loss(name, values[name]) for name in FEATURES}


def members(row: dict, group: str) -> np.ndarray:
    """Return the positions of the images of a group; the truth itself is never one."""
    methods, controls = len(row["methods"]), len(row["controls"])
    if group == "all":
        return np.arange(methods + controls)
    if group == "without controls":
        return np.arange(methods)
    return np.argsort(row["values"]["ERGAS"][:methods], kind="stable")[:_BEST]


def taus(row: dict, group: str, weights: dict) -> dict[str, list[float]]:
    """Return Kendall's tau-b of each index with each true measure, and their mean last."""
    chosen = members(row, group)
    truths = [sign * np.asarray(row["values"][name])[chosen] for name, sign in TRUE.items()]
    result = {}
    for name, said in scores(row, weights).items():
        values = [
            float(kendalltau(said[chosen], truth, method="asymptotic").statistic)
            for truth in truths
        ]
        values = [0.0 if np.isnan(value) else value for value in values]  # all said equal
        result[name] = [*values, float(np.mean(values))]
    return result


def intervals(values, seed: int) -> list[list[float]]:
    """Return mean and 95 % bootstrap interval over scenes, [mean, low, high] for each column.

    Args:
        values: (scenes, columns).
        seed: seed of the resampling.
    """
    values = np.asarray(values)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5), axis=0)
    return np.stack([values.mean(axis=0), low, high], axis=1).round(4).tolist()


def rank_of_truth(row: dict, weights: dict) -> dict[str, float]:
    """Return the share of the methods that each index prefers to the truth itself; 0 is right."""
    methods = len(row["methods"])
    return {
        name: float(np.mean(said[:methods] > said[-1]))
        for name, said in scores(row, weights).items()
    }


def agreement(row: dict, group: str, pair: tuple[str, str]) -> tuple[float, float, float]:
    """Return how far two indices can be trusted together.

    Returns:
        Share of the pairs of images that both indices order alike; share of these that is ordered
        as by the truth, a mean over the three true measures; share of all pairs that the first
        index alone orders so.
    """
    chosen = members(row, group)
    first, second = np.triu_indices(len(chosen), 1)

    def order(values):
        return np.sign(values[chosen][first] - values[chosen][second])

    said = scores(row, {})
    one, other = (order(said[name]) for name in pair)
    truths = [order(sign * np.asarray(row["values"][name])) for name, sign in TRUE.items()]
    alike = one == other
    right = [np.mean((one == truth)[alike]) if alike.any() else 0.5 for truth in truths]
    alone = np.mean([np.mean(one == truth) for truth in truths])
    return float(alike.mean()), float(np.mean(right)), float(alone)


def fit(rows: list[dict], names: tuple[str, ...], penalty: float = 1e-3) -> dict[str, float]:
    """Fit weights that order pairs of images of a scene as the three true measures do.

    Logistic regression of the order on the difference of features; every scene and every measure
    counts the same.

    Args:
        rows: scenes.
        names: features.
        penalty: weight of the squared weights, of features scaled to unit spread within scenes.
    """
    differences, orders = [], []
    for row in rows:
        chosen = members(row, "all")
        table = np.stack([features(row)[name][chosen] for name in names], axis=1)
        first, second = np.triu_indices(len(chosen), 1)
        difference = table[first] - table[second]
        for name, sign in TRUE.items():
            quality = sign * np.asarray(row["values"][name])[chosen]
            differences.append(difference)
            orders.append(np.sign(quality[second] - quality[first]))
    difference, order = np.concatenate(differences), np.concatenate(orders)
    scale = difference.std(axis=0)
    difference = difference / scale * order[:, None]

    def loss(weights):
        margin = difference @ weights
        slope = -1 / (1 + np.exp(np.clip(margin, -50, 50)))
        value = np.logaddexp(0, -margin).mean() + penalty * weights @ weights
        return value, difference.T @ slope / len(margin) + 2 * penalty * weights

    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B").x / scale
    return {name: float(value) for name, value in zip(names, found, strict=True)}
