"""How the published weights of torchvision's and timm's architectures read images."""

from __future__ import annotations

from typing import Any

from fnkd_core.models.architecture import TIMM, TORCHVISION, Architecture


def _timm_config(architecture: Architecture) -> Any:
    """What timm says of the published weights of one of its architectures, or None."""
    from timm.models import get_pretrained_cfg, is_model

    name = architecture.name.removeprefix(TIMM)
    return get_pretrained_cfg(name) if is_model(name) else None


def _torchvision_transforms(architecture: Architecture) -> Any:
    """How torchvision prepares images for the published weights of one of its architectures, or None."""
    from torchvision.models import get_model_weights

    try:
        return next(iter(get_model_weights(architecture.name.removeprefix(TORCHVISION)))).transforms()
    except (ValueError, StopIteration):
        return None


def published_normalisation(
    architecture: Architecture,
) -> tuple[tuple[float, ...], tuple[float, ...], int] | None:
    """Mean, std and image size in pixels that the published weights of this architecture were trained with.

    None for the zoo's own, for other than 3 input channels, and where nothing was published.
    """
    if architecture.in_channels != 3:
        return None
    if architecture.name.startswith(TIMM):
        config = _timm_config(architecture)
        return (tuple(config.mean), tuple(config.std), config.input_size[-1]) if config else None
    transforms = _torchvision_transforms(architecture) if architecture.name.startswith(TORCHVISION) else None
    if transforms is None:
        return None
    if architecture.name.removeprefix(TORCHVISION) in ("googlenet", "inception_v3"):
        # Their published weights come with a layer that takes ImageNet's normalisation back to this one.
        return (0.5,) * 3, (0.5,) * 3, transforms.crop_size[0]
    return tuple(transforms.mean), tuple(transforms.std), transforms.crop_size[0]


def published_crop(architecture: Architecture) -> tuple[float, str]:
    """(crop_pct, interpolation) with which the published weights of this architecture read images; 1.0, bilinear else.

    crop_pct: share of the shorter side that is kept, in the middle.
    """
    if architecture.name.startswith(TIMM) and (config := _timm_config(architecture)):
        return float(config.crop_pct), str(config.interpolation)
    if architecture.name.startswith(TORCHVISION) and (transforms := _torchvision_transforms(architecture)):
        return transforms.crop_size[0] / transforms.resize_size[0], transforms.interpolation.value
    return 1.0, "bilinear"
