"""Payloads as names, scopes, titles and texts, in everything that is written: nothing runs, nothing is fetched."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import bptt, nn, viz
from tinygrad_rnn.app.demo.pictures import Picture
from tinygrad_rnn.app.demo.report import write_report
from tinygrad_rnn.core.context import context

RUN = "top.document.title='canary';fetch('http://canary.invalid/')"
FETCH = "http://canary.invalid/x"
PAYLOADS = [
    f"<script>{RUN}</script>", f"</script><script>{RUN}</script>", f"</style><script>{RUN}</script>",
    f"</title><script>{RUN}</script>", f"--><script>{RUN}</script>", f"]]><script>{RUN}</script>",
    f"</textarea><script>{RUN}</script>", f"</pre><script>{RUN}</script>", f"<img src=x onerror={RUN}>",
    f"'><img src=x onerror=\"{RUN}\">", f"\"><img src=x onerror='{RUN}'>", f"<svg onload={RUN}>",
    f"<body onload={RUN}>",
    f"<iframe src=\"javascript:{RUN}\">", f"<iframe srcdoc='<script>{RUN}</script>'>", f"javascript:{RUN}",
    f"<a href=\"javascript:{RUN}\">x</a>", f"\" onmouseover=\"{RUN}", f"' autofocus onfocus='{RUN}",
    f"` onload=`{RUN}`",
    f"<details open ontoggle={RUN}>", f"<animate onbegin={RUN} attributeName=x>", f"<set onbegin={RUN}>",
    f"<foreignObject><script>{RUN}</script></foreignObject>", f"<use href=\"{FETCH}#a\"/>",
    f"<image href=\"{FETCH}\"/>",
    f"<img src={FETCH}>", f"<link rel=stylesheet href={FETCH}>", f"<style>@import '{FETCH}'</style>",
    f"x;background:url({FETCH})", f"}} body{{background:url({FETCH})", f"<meta http-equiv=refresh content='0;{FETCH}'>",
    f"<base href={FETCH}>", f"<object data={FETCH}>", f"<embed src={FETCH}>", f"<form action={FETCH}><input autofocus>",
    "{{ 7 * 191 }}{% for x in y %}", f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"\\u003cscript\\u003e{RUN}\\u003c/script\\u003e",
    f"<!ENTITY x SYSTEM \"{FETCH}\">&x;", f"<?xml-stylesheet href=\"{FETCH}\"?>", "=cmd|' /C calc'!A0",
    f"\x1b]8;;{FETCH}\x07x\x1b]8;;\x07", f"\x1b[2J\x1b]0;{FETCH}\x07",
]  # fmt: skip


def loss_of(name: str) -> tg.Tensor:
    W = tg.Tensor(np.full((3, 3), 0.3), requires_grad=True, name=name)
    with context(scope=name):  # as `tg.scope` would, which refuses some
        h = tg.Tensor(np.zeros((1, 3)), name=name)
        for _, x in tg.steps(np.ones((3, 1, 3))):
            h = np.tanh(x @ W + h @ W)
            h.name = name
        return (h * h).sum()


def module_of(name: str) -> nn.Module:
    module = nn.Module()
    setattr(module, name, tg.Tensor(np.ones(2), requires_grad=True))
    return module


def compared() -> bptt.Comparison:
    rng = np.random.default_rng(0)
    params = {key: rng.normal(size=(3, 3)) for key in ("W_xh", "W_hh", "W_hy")}
    params |= {"b_h": rng.normal(size=3), "b_y": rng.normal(size=3)}
    return bptt.compare(params, rng.normal(size=(2, 3)), np.array([0, 1]), show=False)


COMPARISON = compared()


def write_all(name: str, folder: Path) -> Iterator[Path]:
    """Every kind of file and every notebook output that a browser may open."""
    flow, tokens = tg.gradient_flow(loss_of(name)), [name] * 3
    diagnosis = tg.diagnose(loss_of(name))
    step = tg.compile(lambda params: loss_of(name) * 0.0 + (params[name] ** 2).sum())
    step({name: np.ones(3)})
    pictures = [viz.unrolled(flow, title=name, tokens=tokens), viz.rolled(flow)]
    for i, picture in enumerate(pictures):
        yield picture.save(folder / f"{i}.svg")
    yield viz.animate(flow, title=name, tokens=tokens).save(folder / "animation.svg")
    page = viz.page(flow, diagnosis, title=name, tokens=tokens)
    yield page.save(folder / "page.html")
    shown = [*pictures, page, flow, diagnosis, step, module_of(name), viz.animate(flow, title=name)]
    cells = "".join(f"<div>{made._repr_html_()}</div>" for made in shown)
    notebook = folder / "notebook.html"
    notebook.write_text(f"<!doctype html><meta charset=utf-8><title>quiet</title>{cells}", encoding="utf-8")
    yield notebook
    picture = Picture("0.svg", name, name, wide=True)
    names = {"text": name, "facts": [(name, name)], "sample_before": name, "sample_after": name}
    pictures = {"training": picture, "graphs": [picture], "flows": [picture]}
    write_report(folder, comparison=COMPARISON, flow_table=str(flow), source=step.source, **names, **pictures)
    yield folder / "report.html"


@pytest.mark.slow
def test_nothing_runs_and_nothing_is_fetched(tmp_path: Path) -> None:
    """In Chromium, each file opened as a page of its own; the notebook has no policy that would stop a script."""
    playwright = pytest.importorskip("playwright.sync_api")
    requests: list[str] = []
    ran: list[str] = []
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page()
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("dialog", lambda dialog: ran.append(dialog.message))
        canary = tmp_path / "canary.html"
        canary.write_text(f"<script>{RUN}</script>")
        tab.goto(canary.as_uri())
        assert tab.title() == "canary"
        assert "http://canary.invalid/" in requests
        requests.clear()
        opened = 0
        for number, name in enumerate(PAYLOADS):
            folder = tmp_path / str(number)
            folder.mkdir()
            for path in write_all(name, folder):
                tab.goto(path.as_uri())
                opened += 1
                if tab.evaluate("document.title") == "canary":
                    ran.append(f"{path.name}: {name}")
        browser.close()
    assert opened == 6 * len(PAYLOADS)
    assert not ran
    assert not [url for url in requests if not url.startswith(("file:", "data:", "about:"))]


def test_every_html_file_has_a_content_policy() -> None:
    package = Path(tg.__file__).parent
    written = [path for path in package.rglob("*.*") if path.suffix in (".html", ".py")]
    pages = [path for path in written if re.search(r"<!doctype html>", path.read_text(encoding="utf-8"), re.IGNORECASE)]
    assert len(pages) >= 3
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert "Content-Security-Policy" in text, path
        assert "default-src 'none'" in text, path
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), path
