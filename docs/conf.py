"""The documentation site: `sphinx-build -W docs build/site`. Its notebooks are executed when it is built."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook
from sphinx.application import Sphinx

import tinygrad_rnn

sys.path.insert(0, str(Path(__file__).parent))  # for mathml, beside this file

project = "tinygrad_rnn"
author = "The tinygrad_rnn authors"
release = version = tinygrad_rnn.__version__
html_title = f"tinygrad_rnn {version}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.doctest",
    "sphinx_copybutton",
    "mathml",
]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_code_prompt_show = "Solution"
nb_code_prompt_hide = "Hide the solution"

napoleon_numpy_docstring = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
add_module_names = False
default_role = "code"  # `name` in a docstring
doctest_global_setup = "import numpy as np\nimport tinygrad_rnn as tg\nrng = np.random.default_rng(0)"

html_theme = "furo"
html_math_renderer = "mathml"  # no script from a network
html_static_path = ["static"]
html_css_files = ["site.css"]


def as_text(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text: |x| is a norm and * a product, not markup; what stands in backticks stays, and what is
    indented after an empty line is code."""
    found: list[str] = []
    code = False
    for i, line in enumerate(lines):
        begins = line.startswith("    ") and i > 0 and not lines[i - 1].strip()
        if begins and not code and not next((x for x in reversed(lines[:i]) if x.strip()), " ").startswith(" "):
            found += ["::", ""]
            code = True
        elif line.strip() and not line.startswith("    "):
            code = False
        parts = line.split("`")
        marked = [re.sub(r"([|*])", r"\\\1", part) if k % 2 == 0 else part for k, part in enumerate(parts)]
        found.append(line if code else "`".join(marked))
    if what in ("attribute", "property") and found:
        found[0] = f": {found[0]}"  # else napoleon takes what stands before a colon for a type
    lines[:] = found


INSTALL = """\
# Where the package is not installed: from its wheel beside this notebook, which `pip wheel --no-deps .` makes
import glob
import subprocess
import sys
from importlib.util import find_spec

if find_spec("tinygrad_rnn") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", *glob.glob("tinygrad_rnn-*.whl")], check=True)"""


def as_notebooks(app: Sphinx, error: Exception | None) -> None:
    """Each chapter of the textbook as a Jupyter notebook, in `notebooks` of the site."""
    if error is None and app.builder.name == "html":
        for chapter in sorted((Path(app.srcdir) / "textbook").glob("[0-9]_*.md")):
            text = re.sub(r"(\]\(\d_\w+)\.md", r"\1.ipynb", chapter.read_text(encoding="utf-8"))
            notebook = read_myst_markdown_notebook(text)
            notebook.metadata.pop("jupytext")  # it is no longer that file
            notebook.cells.insert(0, nbformat.v4.new_code_cell(INSTALL))
            target = Path(app.outdir) / "notebooks" / f"{chapter.stem}.ipynb"
            target.parent.mkdir(exist_ok=True)
            nbformat.write(notebook, target)


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", as_text, priority=400)  # before napoleon
    app.connect("build-finished", as_notebooks)
