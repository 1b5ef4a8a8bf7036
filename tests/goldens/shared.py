"""What the scripts that make reference values share. Makes none itself."""

import math

import numpy as np


def plain(value):
    """The value as JSON takes it: lists and numbers of Python, null for what is not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
