"""The explorer shows at each position of its sliders what the engine computed for it."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from tinygrad_rnn import InputError, viz

RADII = (0.2, 1.0, 1.6)


@pytest.fixture(scope="module")
def page() -> viz.Page:
    return viz.explorer(cells=("tanh", "lstm"), radii=RADII, lengths=(4, 12), hidden=3)


def data_of(page: viz.Page) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html(), re.S)
    assert found
    return json.loads(found[1])


def test_every_position_has_its_picture_and_its_verdict(page: viz.Page) -> None:
    data = data_of(page)
    assert data["keys"] == ["cell", "loss", "T", "radius"]
    pictures = gzip.decompress(b64decode(data["pictures"])).decode().split("\f")
    assert len(pictures) == len(data["found"]) == 2 * 2 * 2 * 3
    number = 0
    for cell in ("tanh", "lstm"):
        for loss in data["values"]["loss"]:
            for length in (4, 12):
                for radius in RADII:
                    here = data["found"][number]
                    assert f"{cell} network of {length} steps, spectral radius {radius:g}<" in pictures[number]
                    assert len(here["reach"]) == len(here["all"]) == length
                    assert here["verdict"]
                    drawn = re.search(rf'id="reach0_{length - 1}".*?<text[^>]*>([^<]*)<', pictures[number], re.S)
                    assert drawn
                    assert drawn[1] == viz.strips.number(here["reach"][-1])
                    if loss == "at the last step":
                        assert here["reach"] == pytest.approx(here["all"]), "there is no other loss"
                    number += 1


def test_at_a_small_radius_nothing_reaches_back(page: viz.Page) -> None:
    data = data_of(page)
    left = [here["reach"][0] / here["reach"][-1] for here in data["found"][3:6]]
    assert left[0] < 1e-3 * min(left[1:])
    assert data["found"][3]["verdict"].startswith("vanishing")


def test_it_is_one_small_file_and_its_input_is_checked(page: viz.Page, tmp_path: Path) -> None:
    text = page.save(tmp_path / "explorer.html").read_text(encoding="utf-8")
    assert len(text) < 3_000_000
    assert not re.search(r'(src|href)="(?!#)', text)
    with pytest.raises(InputError, match="elman"):
        viz.explorer(cells=("elman",))


@pytest.mark.slow
def test_the_picture_follows_the_sliders_and_nothing_is_inaccessible(page: viz.Page, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    data = data_of(page)
    place = page.save(tmp_path / "explorer.html")
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 400, "height": 900})
        errors: list[str] = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(place.as_uri())
        tab.wait_for_selector("#controls:not([hidden])")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        assert tab.inner_text("#verdict") == data["found"][4]["verdict"]
        tab.focus("#ui-radius")
        tab.keyboard.press("Home")
        assert tab.inner_text("#verdict") == data["found"][3]["verdict"]
        tab.check('input[name=cell][value="1"]')
        assert tab.inner_text("#verdict") == data["found"][6 + 6 + 3]["verdict"]
        assert "lstm network of 12 steps, spectral radius 0.2" in tab.inner_html("#picture")
        for size in tab.eval_on_selector_all(
            "input", "all => all.map(each => each.closest('label, fieldset').offsetHeight)"
        ):
            assert size >= 44, "large enough for a finger"
        serious = [v for v in axe.Axe().run(tab).response["violations"] if v["impact"] in ("serious", "critical")]
        assert [(v["id"], len(v["nodes"])) for v in serious] == []
        assert errors == []
        browser.close()
