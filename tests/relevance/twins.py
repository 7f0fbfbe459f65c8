"""Slow twins of the rules: loops over numpy in float64, written from the papers' equations.

``w[j][k]`` leads from input j to output k of a dense layer.
"""

import numpy as np


def sign(z: float) -> float:
    return 1.0 if z >= 0 else -1.0


def weighted(contributions: np.ndarray, constants: np.ndarray, relevance: np.ndarray, e: float):
    """R_j = sum_k c_jk R_k / (sum_j c_jk + d_k + e sign)."""
    inputs, outputs = contributions.shape
    result = np.zeros(inputs)
    for k in range(outputs):
        z = constants[k]
        for j in range(inputs):
            z += contributions[j, k]
        for j in range(inputs):
            result[j] += contributions[j, k] * relevance[k] / (z + e * sign(z))
    return result


def epsilon(a, w, b, relevance, e):
    """Bach et al. 2015, eq. 58."""
    return weighted(a[:, None] * w, b, relevance, e)


def alpha_beta(a, w, b, relevance, alpha, beta, e):
    """Bach et al. 2015, eq. 60."""
    c = a[:, None] * w
    up = weighted(np.where(c > 0, c, 0), np.where(b > 0, b, 0), relevance, e)
    down = weighted(np.where(c < 0, c, 0), np.where(b < 0, b, 0), relevance, e)
    return alpha * up - beta * down


def gamma(a, w, b, relevance, factor, e):
    """Montavon et al. 2019, section 10.2.3, extended to both signs.

    A contribution that has the sign of z_k counts 1 + gamma times, any other once.
    """
    inputs, outputs = w.shape
    result = np.zeros(inputs)
    for k in range(outputs):
        z = b[k] + sum(a[j] * w[j, k] for j in range(inputs))
        if z == 0:
            continue
        favoured = []
        for j in range(inputs):
            c = a[j] * w[j, k]
            favoured.append(c * (1 + factor) if c * z > 0 else c)
        constant = b[k] * (1 + factor) if b[k] * z > 0 else b[k]
        total = sum(favoured) + constant
        for j in range(inputs):
            result[j] += favoured[j] * relevance[k] / (total + e * sign(total))
    return result


def w_square(w, relevance, e):
    """Montavon et al. 2017, eq. 12."""
    return weighted(w**2, np.zeros(w.shape[1]), relevance, e)


def flat(w, relevance, e):
    """Lapuschkin et al. 2019: all inputs alike."""
    return weighted(np.ones_like(w), np.zeros(w.shape[1]), relevance, e)


def z_box(a, w, relevance, low, high, e):
    """Montavon et al. 2017, eq. 15."""
    c = a[:, None] * w - low * np.where(w > 0, w, 0) - high * np.where(w < 0, w, 0)
    return weighted(c, np.zeros(w.shape[1]), relevance, e)
