"""What the rest of the package needs to know of a data set; free of the libraries that read it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """Shape, classes and identity of a data set."""

    height: int  # pixels, after the transform
    width: int
    channels: int
    num_classes: int  # 0 = unlabelled
    class_names: tuple[str, ...]
    num_images: int
    fingerprint: str  # of the source's content; size, channels and crop are not part of it
    num_images_b: int = 0  # of the second domain, where there are two; `num_images` is then that of the first

    @property
    def has_domains(self) -> bool:
        """Whether batches are images of two domains, "a" and "b", instead of images and labels."""
        return self.num_images_b > 0
