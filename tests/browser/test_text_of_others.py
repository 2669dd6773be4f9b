"""Text of others is text in a real browser: it is read as it is, makes no element, and nothing is fetched for it."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from fnkd_core import cli
from fnkd_core.checkpoints.card import card_path, read_card, write_card
from fnkd_core.data import dataset_info
from fnkd_core.data.similar import save_groups
from fnkd_core.errors import one_line
from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import plan
from fnkd_core.files import write_json, write_text
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import Run, create_run, list_runs
from fnkd_core.paths import project_dir
from fnkd_core.records import read_json
from fnkd_core.training.config import RunConfig
from fnkd_core.ui.markdown import JOINER
from tests.browser.conftest import Server
from tests.pages.test_broken import LINE
from tests.pages.tools import make_folder

pytestmark = pytest.mark.browser
HOSTILE = (
    "![x](http://evil.example/a.png)", "[click](http://evil.example)", "<img src=http://evil.example/b.png onerror=x>",
    "<b>x</b>", "$\\alpha$", ":material/home:", ":red[x]", "www.evil.example", "# big", "a -> b", "- l", "1. n",
    ":smile:", "<a href=http://evil.example>y</a>", "me@evil.example", "`code`", "*x* _y_ ~z~", "x_y [1] a*b",
)  # fmt: skip
PIECES = (
    *HOSTILE, *"*_`[]()<>&#$:|~\\+-=.!^{}'\"%;,/@ \n\t", "``", "&amp;", "&#35;", "  ", ":+1:", ":material_home:",
    ":streamlit:", ":red[", "https://", "www.", "evil.example", "->", " -- ", "<->", ">=", "~=", "|---|", "2)", "===",
    "[^1]", "{a=b}", "::x", "é", "日本", "x_y", "a", "\x1b[31m", "\u202e",
)  # fmt: skip
FOREIGN = """() => {
  const found = [], roots = [document];
  const own = (url) => !url || new URL(url, location).origin === location.origin || /^(data|blob):/.test(url);
  const made = ".katex, .stMarkdownColoredText, [aria-label='home icon'], :is(h1, h2, li, b, em, del)";
  while (roots.length) for (const node of roots.pop().querySelectorAll("*")) {
    if (node.shadowRoot) roots.push(node.shadowRoot);
    const url = ["href", "xlink:href", "src"].map((name) => node.getAttribute(name)).find(Boolean);
    if (!own(url) || (node.closest("[data-testid='stMarkdownContainer'], text") && node.matches(made)
        && /evil|big|home|smile|^[xynlz]$|α|alpha/.test(node.textContent))) found.push(node.outerHTML.slice(0, 300));
  }
  return found;
}"""
READS = """(texts) => {
  const all = [], roots = [document.body];
  while (roots.length) {
    const root = roots.pop();
    all.push(root.innerText ?? [...root.children].map((node) => node.innerText).join(" "));
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) roots.push(node.shadowRoot);
      if (node.matches("svg text")) all.push(node.textContent);
      if (node.matches("input, textarea")) all.push(node.value);
    }
  }
  const read = all.join(" ").replace(/[\\u2060\\ufeff]/g, "").replace(/\\s+/g, " ");
  return texts.filter((text) => !read.includes(text));
}"""


def normal(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace(JOINER, "")).strip()


@pytest.fixture
def echo(home: Path) -> Iterator[Server]:
    draw = random.Random(0)
    texts = [*HOSTILE, *("".join(draw.choices(PIECES, k=draw.randint(1, 7))) for _ in range(150))]
    write_json(home / "texts.json", [text for text in texts if normal(text)])
    shutil.copytree(project_dir() / "static", home / "static")
    script = shutil.copy(Path(__file__).with_name("echo.py"), home)
    started = Server(home, script)
    started.start()
    yield started
    started.kill()


def test_any_text_is_read_as_it_is_and_makes_no_element(echo: Server, page: Page, settled: Callable[[], None]) -> None:
    page.goto(echo.url)
    texts = [normal(one_line(text)) for text in read_json(echo.home / "texts.json", list[str])]
    whole = f"document.querySelectorAll(\"[class*='st-key-text-'] p\").length === {5 * len(texts)}"
    page.wait_for_function(whole)
    settled()
    blocks = page.locator("[class*='st-key-text-']").evaluate_all(
        "nodes => nodes.map(node => [...node.querySelectorAll('p')].map(one => one.textContent))"
    )
    for text, block in zip(texts, blocks, strict=True):
        plain, sentence, button, code, error = map(normal, block)
        assert plain == button == text
        assert sentence == "x " + re.sub(r"(?<!`)`([^`]+)`(?!`)", lambda found: normal(found[1]), text)
        assert code == f":smile {text}"
        assert error == f"name: {text}: smile: {text}:"
    assert page.evaluate(FOREIGN) == []


def slashless(text: str) -> str:
    """The text as a name of a file: CommonMark makes slashes of the entities again."""
    return text.replace("/", "&sol;")


CLASSES = sorted(slashless(text) for text in HOSTILE)


@pytest.fixture
def hostile(
    shared: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Server:
    """A server in whose home every name, card, error and group is hostile, with two models, runs and a comparison."""
    home = shared.home
    monkeypatch.setenv("FNKD_HOME", str(home))
    root = tmp_path / "hostile"
    template = make_folder(tmp_path / "plain") / "cat"
    for split in ("train", "test"):
        for name in CLASSES:
            shutil.copytree(template, root / split / name)
            (root / split / name / "0.png").rename(root / split / name / f"{slashless(HOSTILE[0])}.png")
    assert cli.main(["data", "add", "odd", str(root)]) == 0
    base = {"dataset": "odd", "student": "cifar_resnet8", "epochs": 1}
    options = [f"--{name}={value}" for name, value in base.items()]
    assert cli.main(["train", *options, "--method", "ce", "--validation", "0", "--threads", "1"]) == 0
    (run,) = list_runs()
    rename(run, HOSTILE[2])
    every = " ".join(HOSTILE)
    findings = [{"level": "warning", "text": f"Tensor {text} is of no use."} for text in HOSTILE]
    card = dataclasses.replace(
        read_card(run.path / "model.json"), source=every, findings=findings, teacher=every, dataset=every, method=every,
        parameters={HOSTILE[0]: every},
    )  # fmt: skip
    for name in MODELS:
        target = home / "checkpoints" / f"{name}.safetensors"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(run.path / "model.safetensors", target)
        write_card(card_path(target), card)
    (home / f"{slashless(HOSTILE[1])}.pth").write_bytes(b"no weights")
    save_groups(dataset_info("odd"), (*(HOSTILE[0],) * 3, *(f"={text}" for text in HOSTILE[:2]), *[None] * 13))
    failed = create_run(RunConfig(epochs=1).to_dict())
    rename(failed, HOSTILE[3])
    write_text(failed.path / "metrics.jsonl", json.dumps(LINE | {"evaluated_on": HOSTILE[0]}) + "\n")
    write_text(failed.path / "log.txt", every)
    end_run(failed, "failed", every)
    cells = plan(base | {"lr": 0.01}, ["ce"], range(1), {})
    create_comparison([dataclasses.replace(cells[0], row=HOSTILE[0])], "odd")
    end_run(create_run(cells[0].config.to_dict()), "failed", every)
    capsys.readouterr()
    return shared


def rename(run: Run, name: str) -> None:
    write_json(run.path / "spec.json", read_json(run.path / "spec.json", dict[str, Any]) | {"name": name})


MODELS = [slashless(text) for text in HOSTILE[:2]]


def test_no_page_makes_an_element_of_a_name_a_card_or_an_error_and_all_of_them_are_read(
    hostile: Server, page: Page, settled: Callable[[], None]
) -> None:
    view = urlencode({"dataset": "odd", "teacher": MODELS[0], "student": MODELS[1]})

    def read(*texts: str) -> None:
        """The page shows these texts, and has made nothing of any."""
        page.wait_for_function(f"texts => ({READS})(texts).length === 0", arg=list(texts), polling=200)
        settled()
        assert page.evaluate(FOREIGN) == []

    def visit(path: str, *texts: str, **query: str) -> None:
        page.goto(f"{hostile.url}/{path}?{view}&{urlencode(query)}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        read(*texts)

    visit("", *(f"Tensor {text} is of no use." for text in HOSTILE if "`" not in text), f"Teacher: {MODELS[0]}")
    page.get_by_role("textbox", name="Path of the file").fill(str(hostile.home / f"{slashless(HOSTILE[1])}.pth"))
    page.get_by_role("button", name="Import", exact=True).click()
    read("Refused", f"{slashless(HOSTILE[1])}.pth")
    visit("norms", *CLASSES, f"Student: {MODELS[1]}", by="class")
    visit("gallery", *CLASSES)
    page.locator(".gallery .tile", has_text=CLASSES[0]).first.click()
    read(f"Label: {CLASSES[0]}", f"{CLASSES[0]}/", f"Student: {MODELS[1]}")
    visit("map", CLASSES[0], colour="class")
    visit("soft_targets", f"Teacher: {MODELS[0]}", f"label {CLASSES[0]}")
    for look in ("class", "map", "factors"):
        visit("soft_targets", CLASSES[0], look=look)
    visit("compare", *CLASSES, f"Only {MODELS[0]} is right", f"Deciles of {MODELS[0]}'s norms")
    visit("compare", f"{HOSTILE[0]}, seed 0: {' '.join(HOSTILE).replace('`', '')}", what="methods")
    visit("classes", f"A({CLASSES[0]}) has", CLASSES[1], CLASSES[2])
    visit("distill", f"Teacher: {MODELS[0]}")
    heading = page.get_by_role("heading", level=2)
    for row in (1, 2, 3):  # those of one second stand in any order
        visit("runs", HOSTILE[2], HOSTILE[3], HOSTILE[0])
        box = page.get_by_test_id("stDataFrame").first.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 12, box["y"] + 31 * row + 15)  # its cells are drawn, not elements
        expect(page.get_by_role("heading", name="The newest runs")).to_have_count(0)
        expect(heading).to_have_count(1)
        settled()
        if normal(heading.inner_text()) == HOSTILE[3]:
            break
    page.get_by_role("button", name="Delete", exact=True).click()
    read(f"Delete {HOSTILE[3]} with", " ".join(HOSTILE).replace("`", ""))
