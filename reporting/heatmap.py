"""Where a net looks: a class activation map, drawn over the image."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 512  # of the drawing, in pixels
OPACITY = 0.75  # of the map where it is strongest
# Colors of the map from weak to strong, as in a fire: RGB at 0, a third, two thirds and 1.
COLORS = np.array([(60, 0, 90), (200, 20, 60), (250, 140, 0), (255, 255, 160)])


def draw_heatmap(square: np.ndarray, activations: np.ndarray, seen: float) -> Image.Image:
    """Lays an activation map over an image.

    Without final_conv's average, its map of a class says where in the image the net found that
    class: B. Zhou et al., "Learning Deep Features for Discriminative Localization" (arXiv
    1512.04150), for which a net that ends like SqueezeNet needs no change.

    Args:
      square: uint8 [SIDE, SIDE, 3], the central square of an image.
      activations: float32 [height, width], 0 or more, final_conv's map of one class.
      seen: the share of the square's side that the net sees of it, its center, 0..1.
    """
    side = round(SIDE * seen)
    edge = (SIDE - side) // 2
    strength = activations / max(float(activations.max()), 1e-12)
    large = Image.fromarray(strength.astype(np.float32)).resize((side, side), Image.BICUBIC)
    heat = np.zeros([SIDE, SIDE], np.float32)
    heat[edge : edge + side, edge : edge + side] = np.clip(np.asarray(large), 0, 1)
    stops = np.linspace(0, 1, len(COLORS))
    colors = np.stack([np.interp(heat, stops, channel) for channel in COLORS.T], axis=-1)
    opacity = OPACITY * heat[..., None]
    gray = np.asarray(Image.fromarray(square).convert("L"))[..., None]  # so that colors stand out
    blended = (1 - opacity) * gray + opacity * colors
    return Image.fromarray(blended.round().astype(np.uint8))
