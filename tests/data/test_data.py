"""Data sets, folders, augmentation and similar classes."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnkd_core.data import (
    DATASETS,
    DatasetInfo,
    add_folder,
    dataset_info,
    default_similar,
    folders,
    list_datasets,
    load_split,
    remove_folder,
    similar_classes,
)
from fnkd_core.data.augment import augment
from fnkd_core.data.cifar import COARSE, FINE, SUPERCLASSES
from fnkd_core.data.similar import (
    GroupCounts,
    class_groups,
    count_groups,
    delete_groups,
    fitting_sources,
    groups_csv,
    read_groups,
    save_groups,
)
from fnkd_core.errors import UserError


def make(root: Path, parts: tuple[str, ...] = ("train", "test"), count: int = 5, size: int = 10) -> Path:
    """Folders of real little images; pixel (0, 0) tells class and number."""
    for part in parts:
        for k, name in enumerate(("ape", "bee")):
            (root / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = np.full((size, size, 3), 10 * k + i, np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


def test_digits_are_split_once_and_for_all_and_stratified() -> None:
    train, test = load_split("digits", "train"), load_split("digits", "test")
    assert (len(train.labels), len(test.labels)) == dataset_info("digits").sizes == (1437, 360)
    assert not set(train.keys) & set(test.keys)
    assert test.images.dtype == torch.uint8 and tuple(test.images.shape) == (360, 1, 8, 8)
    share = torch.bincount(test.labels) / torch.bincount(torch.cat([train.labels, test.labels]))
    assert float(share.max() - share.min()) < 0.01
    assert torch.equal(load_split("digits", "test").images, test.images)
    assert int(test.images.max()) == 255


def test_the_statistics_that_digits_name_are_those_of_its_training_split() -> None:
    info, x = dataset_info("digits"), load_split("digits", "train").images.float() / 255
    assert float(x.mean()) == pytest.approx(info.mean[0], abs=1e-3)
    assert float(x.std()) == pytest.approx(info.std[0], abs=1e-3)


@pytest.mark.parametrize("name", [name for name, source in DATASETS.items() if source.files is None])
def test_a_data_set_describes_itself_without_being_loaded(name: str) -> None:
    info = dataset_info(name)
    assert info.name == name and info.classes and info.splits == ("train", "test")
    assert len(info.sizes) == 2 and len(info.mean) == len(info.std) == info.image[0]


def test_cifar_100_has_twenty_groups_of_five() -> None:
    assert len(FINE) == 100 and len(COARSE) == 20
    assert {len(members) for members in SUPERCLASSES.values()} == {5}
    assert dataset_info("cifar100", labels="coarse").classes == COARSE
    with pytest.raises(UserError, match="Available: fine, coarse"):
        dataset_info("cifar100", labels="finest")


@pytest.mark.parametrize("labels", ["fine", "coarse"])
def test_cifar_100_is_read_from_the_published_files(
    tmp_path: Path, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    from torchvision.datasets import CIFAR100

    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = np.arange(4 * 3072, dtype=np.int64).reshape(4, 3072).astype(np.uint8)
    fine = [FINE.index(name) for name in ("apple", "bear", "cloud", "wolf")]
    for part in ("train", "test"):
        (folder / part).write_bytes(pickle.dumps({"data": pixels, "fine_labels": fine, "coarse_labels": [0] * 4}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": list(FINE)}))
    monkeypatch.setattr(CIFAR100, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    samples = load_split("cifar100", "test", root=str(tmp_path), labels=labels)
    names = [samples.info.classes[k] for k in samples.labels]
    expected = {
        "fine": ["apple", "bear", "cloud", "wolf"],
        "coarse": ["fruit_and_vegetables", "large_carnivores", "large_natural_outdoor_scenes", "large_carnivores"],
    }
    assert names == expected[labels]
    assert samples.images[1].flatten().tolist() == pixels[1].tolist()


def test_a_folder_gives_every_image_once_with_its_class(tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    samples = load_split("folder", "test", root=str(root))
    assert samples.info.classes == ("ape", "bee") and samples.info.image == (3, 10, 10)
    assert samples.info.sizes == (10, 10)
    assert samples.keys[0] == "test/ape/0.png"
    assert samples.images[:, 0, 0, 0].tolist() == [10 * int(k) + i % 5 for i, k in enumerate(samples.labels)]


def test_val_serves_as_test_and_one_folder_is_split_four_to_one(tmp_path: Path) -> None:
    assert len(load_split("folder", "test", root=str(make(tmp_path / "a", ("train", "val")))).labels) == 10
    root = str(make(tmp_path / "b", ("",), count=10))
    train, test = load_split("folder", "train", root=root), load_split("folder", "test", root=root)
    assert (len(train.labels), len(test.labels)) == (16, 4) == dataset_info("folder", root=root).sizes
    assert not set(train.keys) & set(test.keys)
    assert test.labels.tolist() == [0, 0, 1, 1]


def test_grey_folders_have_one_channel_and_large_images_are_made_small(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "g" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((200, 300), 50, np.uint8)).save(tmp_path / "g" / name / f"{i}.png")
    assert dataset_info("folder", root=str(tmp_path / "g")).image == (1, 64, 64)
    samples = load_split("folder", "train", root=str(tmp_path / "g"), image_size=20)
    assert tuple(samples.images.shape[1:]) == (1, 20, 20) and int(samples.images.min()) == 50


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train" / "ape" / "0.png").write_bytes(b"not an image"), "cannot be read"),
        (lambda root: [p.unlink() for p in (root / "test" / "bee").iterdir()], "has no images"),
        (lambda root: (root / "test" / "cat").mkdir(), "different classes: cat"),
        (lambda root: os.rename(root / "test", root / "elsewhere"), "neither test nor val"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(tmp_path: Path, spoil: object, message: str) -> None:
    root = make(tmp_path / "set")
    spoil(root)  # type: ignore[operator]
    with pytest.raises(UserError, match=message) as error:
        _ = [load_split("folder", split, root=str(root)) for split in ("train", "test")]
    assert "\n" not in str(error.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / "secret.png")
    (root / "train" / "ape" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match="leads out of"):
        load_split("folder", "train", root=str(root))


def test_an_added_folder_is_a_data_set_like_the_others(tmp_path: Path) -> None:
    add_folder("mine", str(make(tmp_path / "set")))
    assert "mine" in list_datasets()
    assert load_split("mine", "train").info.name == "mine"
    for name, message in (("mine", "already"), ("digits", "built-in"), ("no/slash", "letters")):
        with pytest.raises(UserError, match=message):
            add_folder(name, str(tmp_path / "set"))
    remove_folder("mine")
    assert folders() == {}
    with pytest.raises(UserError, match="Unknown data set 'mine'"):
        dataset_info("mine")


@given(seed=st.integers(0, 1000), pad=st.integers(0, 3), flip=st.booleans())
def test_augmentation_shifts_and_mirrors_each_sample_for_itself(seed: int, pad: int, flip: bool) -> None:
    images = torch.randint(1, 255, (6, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    out = augment(images, pad, flip, torch.Generator().manual_seed(seed))
    again = augment(images, pad, flip, torch.Generator().manual_seed(seed))
    assert out.shape == images.shape and out.dtype == torch.uint8 and torch.equal(out, again)
    padded = torch.nn.functional.pad(images, (pad,) * 4)
    for n in range(6):
        windows = [padded[n, :, y : y + 5, x : x + 5] for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
        windows += [w.flip(2) for w in windows] if flip else []
        assert any(torch.equal(out[n], w) for w in windows)


def test_augmentation_draws_for_each_sample_and_not_for_the_batch() -> None:
    one = torch.randint(0, 255, (1, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    out = augment(one.expand(64, -1, -1, -1), 2, True, torch.Generator().manual_seed(0))
    assert len({tuple(x.flatten().tolist()) for x in out}) > 20


def of(*classes: str) -> DatasetInfo:
    """A data set with these classes."""
    return dataclasses.replace(dataset_info("digits"), classes=classes)


def test_similar_classes_leave_out_the_class_itself_and_are_mutual() -> None:
    similar = similar_classes(of("red fox", "grey_fox", "owl", "snowy owl", "newt"), "last_word")
    assert similar == ((1,), (0,), (3,), (2,), ())
    groups = similar_classes(dataset_info("cifar100"), "superclass")
    assert all(len(g) == 4 for g in groups)
    assert all(i in groups[j] for i, g in enumerate(groups) for j in g)


def test_similar_classes_come_from_a_users_table(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("class,group\na,x\nb,x\nc,\n")
    assert similar_classes(of("a", "b", "c"), str(path)) == ((1,), (0,), ())
    path.write_text("class,group\nz,x\n")
    with pytest.raises(UserError, match="lacks: z"):
        similar_classes(of("a", "b"), str(path))
    with pytest.raises(UserError, match="Unknown source"):
        similar_classes(of("a", "b"), "nothing")


def test_the_default_source_is_the_best_that_the_names_allow() -> None:
    assert default_similar(dataset_info("cifar100")) == "superclass"
    assert default_similar(dataset_info("digits")) == "none"


CARS = (
    "AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Acura TL Sedan 2012", "Aston Martin Virage Coupe 2012",
    "Aston Martin V8 Vantage Coupe 2012", "Land Rover LR2 SUV 2012", "Mercedes-Benz C-Class Sedan 2012",
    "Mercedes-Benz Sprinter Van 2012", "smart fortwo Convertible 2012",
)  # fmt: skip


def test_cars_are_similar_by_make_of_one_word_or_two() -> None:
    cars = of(*CARS)
    twice = [make for make in ("Acura", "Aston Martin") for _ in range(2)]
    makes = ("AM General", *twice, "Land Rover", "Mercedes-Benz", "Mercedes-Benz", "smart")
    assert class_groups(cars, "make") == makes
    assert default_similar(cars) == "make"
    assert count_groups(class_groups(cars, "make")) == GroupCounts(3, 6, 3)
    assert class_groups(of(*(name.replace(" ", "_") for name in CARS)), "make") == makes
    with pytest.raises(UserError, match="end in a year"):
        class_groups(dataset_info("cifar100"), "make")


AIRCRAFT = (
    # image, variant, family, manufacturer
    ("1", "737-700", "Boeing 737", "Boeing"), ("2", "737-800", "Boeing 737", "Boeing"),
    ("3", "747-100", "Boeing 747", "Boeing"), ("4", "DR-400", "DR-400", "Robin"),
)  # fmt: skip


def test_aircraft_are_similar_by_the_families_and_manufacturers_of_their_own_lists(tmp_path: Path) -> None:
    variants = dataclasses.replace(of(*(row[1] for row in AIRCRAFT)), name="fgvc_aircraft", root=str(tmp_path))
    families = dataclasses.replace(variants, classes=("Boeing 737", "Boeing 747", "DR-400"))
    assert default_similar(dataclasses.replace(variants, download="2.8 GB")) == "none"
    with pytest.raises(UserError, match="FGVC-Aircraft's own images_variant_train.txt, which is not in"):
        class_groups(variants, "family")
    folder = tmp_path / "fgvc-aircraft-2013b" / "data"
    folder.mkdir(parents=True)
    for column, level in enumerate(("variant", "family", "manufacturer"), 1):
        lines = "".join(f"{row[0]} {row[column]}\n" for row in AIRCRAFT)
        (folder / f"images_{level}_train.txt").write_text(lines)
    assert default_similar(variants) == "family"
    assert similar_classes(variants, "auto") == ((1,), (0,), (), ())
    assert similar_classes(variants, "manufacturer") == ((1, 2), (0, 2), (0, 1), ())
    assert class_groups(families, "manufacturer") == ("Boeing", "Boeing", "Robin")
    with pytest.raises(UserError, match="known for FGVC-Aircraft only, not for digits"):
        class_groups(dataclasses.replace(dataset_info("digits"), root=str(tmp_path)), "family")
    assert fitting_sources(variants) == ["family", "manufacturer", "none"]


def test_a_group_of_one_class_is_no_group() -> None:
    counts = count_groups(("a", "a", "b", None, None))
    assert counts == GroupCounts(1, 2, 3)
    assert str(counts) == "1 groups over 2 classes; 3 classes stand alone"


def test_saved_groups_are_what_auto_means_until_they_are_deleted() -> None:
    info = dataset_info("cifar100")
    groups = tuple("farm" if name in ("cattle", "tractor") else None for name in FINE)
    path = save_groups(info, groups)
    assert path.read_text().startswith("class,group\napple,\n")
    assert default_similar(info) == "saved" and class_groups(info, "auto") == groups
    assert fitting_sources(info) == ["superclass", "last_word", "saved", "none"]
    assert default_similar(dataset_info("cifar100", labels="coarse")) != "saved"
    delete_groups(info)
    assert default_similar(info) == "superclass"
    with pytest.raises(UserError, match=r"No groups are saved for cifar100 \(fine\)"):
        class_groups(info, "saved")


def test_groups_of_a_folder_need_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="add the folder under a name first"):
        save_groups(dataset_info("folder", root=str(make(tmp_path / "set"))), ("a", "a"))


@given(
    groups=st.lists(
        st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
        min_size=10,
        max_size=10,
    )
)
def test_groups_are_read_as_they_were_written(groups: list[str | None]) -> None:
    info = dataset_info("digits")
    assert read_groups(info, groups_csv(info, groups).encode(), "it") == tuple(groups)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"name,group\n1,a\n", "must have the columns class and group, has name, group"),
        (b"class,group\n11,a\n", "names classes that the data set lacks: 11; mend or delete it"),
        (b"class,group\n1,a\n1,b\n", "names classes more than once: 1; leave one line for each"),
        (b"", "is not a readable CSV file"),
        (b"class,group\n\xff\xfe,a\n", "is not a readable CSV file"),
    ],
)
def test_what_is_wrong_with_a_table_of_groups_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=f"^groups.csv {message}") as error:
        read_groups(dataset_info("digits"), data, "groups.csv")
    assert "\n" not in str(error.value)
