"""Image files of two domains, small and of sizes of their own."""

import numpy as np
from PIL import Image


def write_domains(root, counts, size=(12, 16), seed=0):
    """Writes {"trainA": 5, ...} PNG files of `size` (H, W) into folders below `root`; B is brighter. Returns `root`."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        low = 100 if name.endswith("B") else 0
        for i in range(count):
            Image.fromarray(rng.integers(low, low + 150, (*size, 3), np.uint8)).save(root / name / f"{i}.png")
    return root
