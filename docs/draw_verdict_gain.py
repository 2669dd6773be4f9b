"""Draws what the norm's verdict on a teacher has to do with what FN gains with it: `docs/pictures/verdict-gain.png`.

python docs/draw_verdict_gain.py
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from playwright.sync_api import sync_playwright
from take_screenshots import PICTURES, launch  # type: ignore[import-not-found]

from fnkd_core.paths import project_dir
from fnkd_core.plots.style import NEUTRAL, STUDENT, TEACHER, framed, standalone

FOUR = "CIFAR-100, 4 epochs, "
KINDS = {
    "digits, 6 seeds": (TEACHER, "circle"),
    "CIFAR-100, 4 epochs, 1 or 2 seeds": (STUDENT, "diamond"),
    "other budgets, and dogs, 1 to 3 seeds": (NEUTRAL, "square"),
}
BESIDE = {
    "CIFAR-100, 15 epochs": "middle left",
    "CIFAR-100, 4 epochs, ResNet-56": "middle left",
    "CIFAR-100, 4 epochs, ResNet-20, distilled": "bottom center",
    "CIFAR-100, 4 epochs, ce resnet20": "middle right",
    "ce, 3 epochs": "top left",
    "lsd": "bottom left",
    "ce, 20 images a class": "top right",
    "fn, taught by digits-teacher": "bottom right",
    "ce, weight decay 0": "middle left",
    "nd, taught by digits-teacher": "middle right",
    "ce, weight decay 0.005": "middle right",
}


def drawn(rows: pd.DataFrame) -> go.Figure:
    """Gain over AUROC, a point a teacher, with 95 % intervals where there are seeds enough for them."""
    figure = go.Figure()
    photographs, four = (rows["teacher"].str.startswith(names) for names in (("CIFAR", "Imagewoof"), FOUR))
    parts = rows[~photographs], rows[four], rows[photographs & ~four]
    for (name, (colour, symbol)), part in zip(KINDS.items(), parts, strict=True):
        figure.add_scatter(
            x=part["auroc"],
            y=part["gain"],
            mode="markers+text",
            name=name,
            text=part["teacher"].str.removeprefix(FOUR).str.removeprefix("CIFAR-100, "),
            textposition=[BESIDE.get(teacher, "top center") for teacher in part["teacher"]],
            marker={"color": colour, "symbol": symbol, "size": 11},
            error_y={
                "type": "data",
                "array": part["gain_high"] - part["gain"],
                "arrayminus": part["gain"] - part["gain_low"],
                "thickness": 1,
            },
        )
    figure.add_hline(0, line={"width": 1, "dash": "dot"})
    framed(figure, x="AUROC of ‖f‖, right against wrong", y="accuracy: norm − constant", says="", height=440)
    figure.update_xaxes(range=[0.3, 1.2])
    figure.update_layout(template="plotly_white", width=900)
    return figure


def main() -> None:
    page_of = standalone(drawn(pd.read_csv(project_dir() / "docs" / "results" / "verdict-gain.csv")))
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 916, "height": 460})
        page.set_content(page_of)
        page.locator(".main-svg").first.wait_for()
        page.screenshot(path=PICTURES / "verdict-gain.png")
        browser.close()


if __name__ == "__main__":
    main()
