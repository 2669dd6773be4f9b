"""Published data sets are read from the files as they are published, and say so where they are missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fnkd_core.data import DATASETS, dataset_info, list_datasets, load_split, load_training, similar_classes
from fnkd_core.data.sources.published import PUBLISHED
from fnkd_core.data.types import Samples
from fnkd_core.errors import UserError


def picture(path: Path, level: int, size: tuple[int, int] = (20, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path, quality=100)


def column(values: list[str]) -> np.ndarray:
    """A MATLAB cell array of strings, one a row."""
    cells = np.empty((len(values), 1), object)
    cells[:, 0] = values
    return cells


def cub200(root: Path) -> None:
    folder = root / "CUB_200_2011"
    names = ["001.Black_footed_Albatross/Black_Footed_Albatross_0001_7.jpg",
             "001.Black_footed_Albatross/Black_Footed_Albatross_0002_9.jpg",
             "002.Laysan_Albatross/Laysan_Albatross_0001_5.jpg",
             "002.Laysan_Albatross/Laysan_Albatross_0002_1.jpg"]  # fmt: skip
    for i, name in enumerate(names):
        picture(folder / "images" / name, 10 * i)
        with Image.open(folder / "images" / name) as image:
            image.paste((200, 200, 200), (4, 3, 12, 11))
            image.save(folder / "images" / name, quality=100)
    (folder / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names, 1)))
    (folder / "image_class_labels.txt").write_text("1 1\n2 1\n3 2\n4 2\n")
    (folder / "train_test_split.txt").write_text("1 1\n2 0\n3 0\n4 1\n")
    (folder / "classes.txt").write_text("1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n")
    (folder / "bounding_boxes.txt").write_text("".join(f"{i} 4.0 3.0 8.0 8.0\n" for i in range(1, 5)))


def stanford_dogs(root: Path) -> None:
    folder = root / "stanford_dogs"
    rows = {"train": ["n01-Chihuahua/n01_0.jpg", "n02-black-and-tan_coonhound/n02_3.jpg"],
            "test": ["n02-black-and-tan_coonhound/n02_1.jpg", "n01-Chihuahua/n01_2.jpg"]}  # fmt: skip
    for split, names in rows.items():
        labels = np.array([[1 if "n01" in name else 2] for name in names], np.uint8)
        for name in names:
            picture(folder / "Images" / name, 10 * int(name[-5]))
        savemat(folder / f"{split}_list.mat", {"file_list": column(names), "labels": labels})


def oxford_pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for i, name in enumerate(("Abyssinian_1", "american_bulldog_2", "american_bulldog_5", "Abyssinian_7")):
        picture(folder / "images" / f"{name}.jpg", 10 * i)
    (folder / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\namerican_bulldog_2 2 2 1\n")
    (folder / "annotations" / "test.txt").write_text("american_bulldog_5 2 2 1\nAbyssinian_7 1 1 1\n")


def flowers102(root: Path) -> None:
    folder = root / "flowers-102"
    for i in range(1, 7):
        picture(folder / "jpg" / f"image_{i:05d}.jpg", 10 * i)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[1, 2, 102, 1, 102, 1]], np.uint8)})
    numbers = {"trnid": [[1, 2]], "valid": [[4, 3]], "tstid": [[6, 5]]}
    savemat(folder / "setid.mat", {name: np.array(rows) for name, rows in numbers.items()})


def stanford_cars(root: Path) -> None:
    folder = root / "stanford_cars"
    kind = [("bbox_x1", "O"), ("bbox_y1", "O"), ("bbox_x2", "O"), ("bbox_y2", "O"), ("class", "O"), ("fname", "O")]
    (folder / "devkit").mkdir(parents=True)
    names = np.empty((1, 2), object)
    names[0] = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    places = {"train": folder / "devkit" / "cars_train_annos.mat", "test": folder / "cars_test_annos_withlabels.mat"}
    for split, path in places.items():
        for i in range(1, 3):
            picture(folder / f"cars_{split}" / f"{i:05d}.jpg", 10 * i)
        rows = np.array([[(1, 1, 9, 9, 2, "00001.jpg"), (1, 1, 9, 9, 1, "00002.jpg")]], kind)
        savemat(path, {"annotations": rows})


def fgvc_aircraft(root: Path) -> None:
    data = root / "fgvc-aircraft-2013b" / "data"
    for i in range(1, 5):
        picture(data / "images" / f"{i:07d}.jpg", 10 * i)
    (data / "variants.txt").write_text("707-320\nA300B4\n")
    (data / "families.txt").write_text("A300\nBoeing 707\n")
    (data / "manufacturers.txt").write_text("Airbus\nBoeing\n")
    for level, names in {"variant": ("707-320", "A300B4"), "family": ("Boeing 707", "A300"),
                         "manufacturer": ("Boeing", "Airbus")}.items():  # fmt: skip
        (data / f"images_{level}_train.txt").write_text(f"0000001 {names[0]}\n")
        (data / f"images_{level}_val.txt").write_text(f"0000002 {names[1]}\n")
        (data / f"images_{level}_test.txt").write_text(f"0000004 {names[1]}\n0000003 {names[0]}\n")


WRITERS = {
    "cub200": cub200, "cub200_boxes": cub200, "stanford_dogs": stanford_dogs, "oxford_pets": oxford_pets,
    "flowers102": flowers102, "stanford_cars": stanford_cars, "fgvc_aircraft": fgvc_aircraft,
}  # fmt: skip

EXPECTED = {
    "cub200": [("Laysan Albatross", 20), ("Black footed Albatross", 10)],
    "cub200_boxes": [("Laysan Albatross", 200), ("Black footed Albatross", 200)],
    "stanford_dogs": [("black-and-tan coonhound", 10), ("Chihuahua", 20)],
    "oxford_pets": [("American Bulldog", 20), ("Abyssinian", 30)],
    "flowers102": [("pink primrose", 60), ("blackberry lily", 50)],
    "stanford_cars": [("Acura RL Sedan 2012", 10), ("AM General Hummer SUV 2000", 20)],
    "fgvc_aircraft": [("A300B4", 40), ("707-320", 30)],
}
"""(class, grey level) of the test split's images, in any order."""


@pytest.fixture
def written(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from torchvision.datasets import Flowers102

    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)  # it wants the sums of the real lists
    WRITERS[request.param](tmp_path / "data")
    return tmp_path / "data"


def seen(samples: Samples) -> list[tuple[str, int]]:
    levels = samples.images[:, 0].flatten(1).float().median(1).values.round().int().tolist()  # type: ignore[index]
    return [(samples.info.classes[k], level) for k, level in zip(samples.labels.tolist(), levels, strict=True)]


def test_every_published_set_has_a_layout_here() -> None:
    assert set(WRITERS) == set(EXPECTED) == set(PUBLISHED) <= set(list_datasets())


@pytest.mark.parametrize(("written", "name"), [(name, name) for name in PUBLISHED], indirect=["written"])
def test_it_is_read_from_the_published_files(written: Path, name: str) -> None:
    info = dataset_info(name, root=str(written), image_size=32)
    assert info.image == (3, 32, 32) and info.resizable and info.label_space in info.label_spaces
    test = load_split(info, "test")
    assert len(test.labels) == len(set(test.keys)) == info.sizes[-1] == 2
    found = dict(seen(test))
    assert found == pytest.approx(dict(EXPECTED[name]), abs=2)
    train = load_split(info, "train")
    assert len(train.labels) == info.sizes[0] and not set(train.keys) & set(test.keys)
    own = dataset_info(name, root=str(written / PUBLISHED[name].folder), image_size=32)
    assert own == info
    assert dataset_info(name, root=str(written)).image == (3, 224, 224)


def test_the_published_validation_images_of_flowers_choose_or_are_trained_on_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import Flowers102

    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)
    flowers102(tmp_path)
    info = dataset_info("flowers102", root=str(tmp_path), image_size=16)
    assert info.splits == ("train", "validation", "test") and len(info.classes) == 102
    train, validation = load_training(info, 0.1)
    assert validation is not None
    numbers = [[key[-9:-4] for key in samples.keys] for samples in (train, validation)]
    assert numbers == [["00001", "00002"], ["00004", "00003"]]
    whole, nothing = load_training(info, 0)
    assert whole.keys == train.keys + validation.keys and nothing is None
    assert whole.labels.tolist() == [0, 1, 0, 101] and len(whole.images) == 4


def test_aircraft_have_three_label_spaces(tmp_path: Path) -> None:
    fgvc_aircraft(tmp_path)
    spaces = {
        labels: load_split("fgvc_aircraft", "test", root=str(tmp_path), labels=labels, image_size=16)
        for labels in ("variant", "family", "manufacturer")
    }
    named = {space: [s.info.classes[k] for k in s.labels] for space, s in spaces.items()}
    assert named == {"variant": ["A300B4", "707-320"], "family": ["A300", "Boeing 707"],
                     "manufacturer": ["Airbus", "Boeing"]}  # fmt: skip
    with pytest.raises(UserError, match="Available: variant, family, manufacturer"):
        dataset_info("fgvc_aircraft", root=str(tmp_path), labels="wing")


def test_birds_of_one_family_are_similar(tmp_path: Path) -> None:
    cub200(tmp_path)
    assert similar_classes(dataset_info("cub200", root=str(tmp_path)), "last_word") == ((1,), (0,))


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_one_that_is_not_on_the_disk_names_the_files_it_wants(name: str) -> None:
    assert name in DATASETS
    with pytest.raises(UserError, match="is not in .*; unpack the published archive") as error:
        dataset_info(name)
    assert "\n" not in str(error.value) and PUBLISHED[name].folder in str(error.value)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n4 9\n", "is not as published"),
        ("image_class_labels.txt", "1 1\n", "is not as published"),
        ("images.txt", "1 ../../../secret.jpg\n2 a.jpg\n3 b.jpg\n4 c.jpg\n", "leads out of"),
        ("images.txt", "1 /etc/passwd\n2 a.jpg\n3 b.jpg\n4 c.jpg\n", "leads out of"),
        ("images.txt", "1 a.jpg\n2 b.jpg\n3 c.jpg\n4 d.jpg\n", "cannot be read: images/b.jpg"),
    ],
)
def test_lists_that_are_torn_or_lead_elsewhere_are_one_line(tmp_path: Path, file: str, text: str, message: str) -> None:
    cub200(tmp_path)
    (tmp_path / "CUB_200_2011" / file).write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_split("cub200", "test", root=str(tmp_path), image_size=16)
    assert "\n" not in str(error.value)


def test_a_box_beside_the_image_is_one_line(tmp_path: Path) -> None:
    cub200(tmp_path)
    boxes = "".join(f"{i} 400.0 3.0 8.0 8.0\n" for i in range(1, 5))
    (tmp_path / "CUB_200_2011" / "bounding_boxes.txt").write_text(boxes)
    with pytest.raises(UserError, match="its box 400, 3, 408, 11 is outside it"):
        load_split("cub200_boxes", "test", root=str(tmp_path), image_size=16)


def test_a_data_folder_may_be_a_link_to_another_disk(tmp_path: Path, home: Path) -> None:
    oxford_pets(tmp_path)
    shutil.move(tmp_path / "oxford-iiit-pet", tmp_path / "disk")
    (home / "data").mkdir()
    (home / "data" / "oxford-iiit-pet").symlink_to(tmp_path / "disk")
    assert load_split("oxford_pets", "test", image_size=16).labels.tolist() == [1, 0]
