"""CIFAR-10 and CIFAR-100 through torchvision; CIFAR-100 with its 100 fine or 20 coarse labels."""

from __future__ import annotations

from typing import Any

from fnkd_core.data.download.addresses import contents_of, data_root, to_fetch
from fnkd_core.data.download.fetch import ensure
from fnkd_core.data.listing import with_contents
from fnkd_core.data.types import DatasetInfo, Samples
from fnkd_core.errors import UserError, unknown

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
"""CIFAR-100's 20 superclasses in the order of the coarse labels, each with its 5 fine classes."""

FINE = tuple(sorted(name for members in SUPERCLASSES.values() for name in members))
COARSE = tuple(SUPERCLASSES)


NORMAL_10 = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
NORMAL_100 = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
"""Mean and standard deviation of the channels over the training images, in units where white is 1."""


def _describe(name: str, title: str, spaces: dict[str, tuple[str, ...]], normal: tuple, asked: tuple) -> DatasetInfo:
    root, labels, image_size = asked
    space = labels or next(iter(spaces))
    if space not in spaces:
        raise unknown(f"label space of {name}", space, spaces)
    if image_size not in (None, 32):
        raise UserError(f"{name} is 32x32 pixels and is not resized, got image size {image_size}.")
    info = DatasetInfo(
        name=name,
        title=title,
        classes=spaces[space],
        label_space=space,
        label_spaces=tuple(spaces),
        splits=("train", "test"),
        image=(3, 32, 32),
        mean=normal[0],
        std=normal[1],
        pad=4,
        flip=True,
        sizes=(50_000, 10_000),
        note="50,000 images to train, 10,000 to test; downloaded on first use (about 170 MB).",
        root=root,
        download=to_fetch(name, root),
    )
    return with_contents(info, contents_of(name, root))


def describe_cifar10(root: str | None, labels: str | None, image_size: int | None) -> DatasetInfo:
    """CIFAR-10, without loading it; see `dataset_info`."""
    return _describe(
        "cifar10",
        "CIFAR-10",
        {"cifar10": CIFAR10},
        NORMAL_10,
        (root, labels, image_size),
    )


def describe_cifar100(root: str | None, labels: str | None, image_size: int | None) -> DatasetInfo:
    """CIFAR-100 under its fine or coarse labels, without loading it; see `dataset_info`."""
    return _describe(
        "cifar100",
        "CIFAR-100",
        {"fine": FINE, "coarse": COARSE},
        NORMAL_100,
        (root, labels, image_size),
    )


def load(info: DatasetInfo, split: str) -> Samples:
    """A split, fetched first where it is not here. `UserError` where its files are not those that are published."""
    import numpy as np
    import torch
    from torchvision.datasets import CIFAR10 as Cifar10
    from torchvision.datasets import CIFAR100 as Cifar100

    reader: Any = Cifar100 if info.name == "cifar100" else Cifar10
    root = data_root(info.root)
    ensure(info.name, root)
    try:
        data = reader(root, train=split == "train")
    except Exception as error:
        raise UserError(
            f"{root / reader.base_folder} is not what is published ({type(error).__name__}); delete it and fetch again."
        ) from None
    labels = np.asarray(data.targets, np.int64)
    if info.label_space == "coarse":
        group = {fine: k for k, members in enumerate(SUPERCLASSES.values()) for fine in members}
        labels = np.array([group[name] for name in data.classes], np.int64)[labels]
    images = torch.from_numpy(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)))
    return Samples(info, split, images, torch.from_numpy(labels), [f"{split}/{i:05d}" for i in range(len(labels))])
