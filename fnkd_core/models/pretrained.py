"""How the published weights of torchvision's and timm's architectures read images."""

from __future__ import annotations

from fnkd_core.models.architecture import TIMM, TORCHVISION, Architecture


def published_normalisation(
    architecture: Architecture,
) -> tuple[tuple[float, ...], tuple[float, ...], int] | None:
    """Mean, std and image size in pixels that the published weights of this architecture were trained with.

    None for the zoo's own, for other than 3 input channels, and where nothing was published.
    """
    library, _, name = architecture.name.partition("/")
    if architecture.in_channels != 3 or library + "/" not in (TORCHVISION, TIMM):
        return None
    if library + "/" == TIMM:
        from timm.models import get_pretrained_cfg, is_model

        config = get_pretrained_cfg(name) if is_model(name) else None
        return (tuple(config.mean), tuple(config.std), config.input_size[-1]) if config else None
    from torchvision.models import get_model_weights

    try:
        transforms = next(iter(get_model_weights(name))).transforms()
    except (ValueError, StopIteration):
        return None
    if name in ("googlenet", "inception_v3"):
        # Their published weights come with a layer that takes ImageNet's normalisation back to this one.
        return (0.5,) * 3, (0.5,) * 3, transforms.crop_size[0]
    return tuple(transforms.mean), tuple(transforms.std), transforms.crop_size[0]


def published_crop(architecture: Architecture) -> tuple[float, str]:
    """(crop_pct, interpolation) with which the published weights of this architecture read images; 1.0, bilinear else.

    crop_pct: share of the shorter side that is kept, in the middle.
    """
    library, _, name = architecture.name.partition("/")
    if library + "/" == TIMM:
        from timm.models import get_pretrained_cfg, is_model

        config = get_pretrained_cfg(name) if is_model(name) else None
        return (float(config.crop_pct), str(config.interpolation)) if config else (1.0, "bilinear")
    if library + "/" != TORCHVISION:
        return 1.0, "bilinear"
    from torchvision.models import get_model_weights

    try:
        transforms = next(iter(get_model_weights(name))).transforms()
    except (ValueError, StopIteration):
        return 1.0, "bilinear"
    return transforms.crop_size[0] / transforms.resize_size[0], transforms.interpolation.value
