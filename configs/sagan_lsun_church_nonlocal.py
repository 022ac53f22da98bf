"""Non-local SAGAN on LSUN church (outdoor) at 64x64: configs/sagan_celeba_nonlocal.py with other data.

Paper: as there, and so are the variants (full, span0, ..., span4). The repository resizes the images to 64x64 without
  a crop.
Published: FID at 100k steps 66.5 at span 0 and 178.9 at span 3; every one of those runs was evaluated with the mask of
  span 0, whatever it was trained with. docs/nonlocal.md tells the whole of it.
Command: python -m jaxgan.main --config=configs/sagan_lsun_church_nonlocal.py:span3 \\
  --config.data.source=folder:/path/to/church_images
Hardware: 1 GPU.
Measured: not yet measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

CELEBA = runpy.run_path(str(Path(__file__).with_name("sagan_celeba_nonlocal.py")))


def get_config(variant: str = "span3") -> ConfigDict:
    config = CELEBA["get_config"](variant)
    config.data.source = "tfds:lsun/church_outdoor:train"
    config.data.crop = "none"
    return config
