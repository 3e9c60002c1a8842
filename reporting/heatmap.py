"""Draws a class activation map over an image: where the net found a class."""

import numpy as np
from PIL import Image

SIDE = 512  # of the result, in pixels
OPACITY = 0.75  # of the map where it is strongest
# Fire colors of the map from weak to strong: RGB at 0, one third, two thirds and 1.
COLORS = np.array([(60, 0, 90), (200, 20, 60), (250, 140, 0), (255, 255, 160)])


def draw_heatmap(square: np.ndarray, activations: np.ndarray, seen: float) -> Image.Image:
    """Draws final_conv's map of a class over an image.

    Before it is averaged, the map shows where the net found the class: B. Zhou et al., "Learning
    Deep Features for Discriminative Localization" (arXiv 1512.04150).

    Args:
      square: uint8 [SIDE, SIDE, 3], the central square of an image.
      activations: float32 [height, width], 0 or more.
      seen: fraction of the square's side that the net's central crop covers, 0..1.
    """
    side = round(SIDE * seen)
    edge = (SIDE - side) // 2
    small = Image.fromarray(activations / max(float(activations.max()), 1e-12))
    large = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    heat = np.pad(large.clip(0, 1), (edge, SIDE - side - edge))
    stops = np.linspace(0, 1, len(COLORS))
    colors = np.stack([np.interp(heat, stops, channel) for channel in COLORS.T], axis=-1)
    gray = np.asarray(Image.fromarray(square).convert("L"))[..., None]  # makes colors stand out
    blended = gray + OPACITY * heat[..., None] * (colors - gray)
    return Image.fromarray(blended.round().astype(np.uint8))
