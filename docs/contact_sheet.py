"""Draw 28 networks in both details, before and after backward, and compute what can be wrong with a picture.

`python docs/contact_sheet.py` writes four sheets and `contact_sheet.md`, a table that should hold zeros.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

import picture_checks as checks  # noqa: E402
import recurrent_nets as nets  # noqa: E402

import tinygrad_rnn as tg  # noqa: E402

COLUMNS, WIDTH, HEIGHT, HEAD = 4, 480, 350, 22


def sheet(detail: str, after: bool) -> tuple[Image.Image, list[str]]:
    """All networks in one image, and a line of the table for each."""
    rows = -(-len(nets.ALL) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * WIDTH, rows * HEIGHT), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    lines = []
    for at, (name, make) in enumerate(nets.ALL.items()):
        loss = make()
        picture = tg.viz.unrolled(tg.gradient_flow(loss) if after else loss, detail, max_steps=16)
        small = Image.open(io.BytesIO(picture.pipe("png"))).convert("RGB")
        small.thumbnail((WIDTH - 16, HEIGHT - HEAD - 8), Image.Resampling.LANCZOS)
        x, y = at % COLUMNS * WIDTH, at // COLUMNS * HEIGHT
        pen.text((x + 8, y + 3), f"{name} ({detail}, {'after' if after else 'before'})", fill="#4d4d4d", font=font)
        page.paste(small, (x + 8, y + HEAD))
        scene = picture.scene
        text, edges = checks.least_contrast(scene)
        fitted = tg.viz.unrolled(tg.gradient_flow(loss) if after else loss).scene
        numbers = [
            len(checks.overlaps(checks.solid(scene))),
            len(checks.edges_over_boxes(scene)),
            len(checks.clipped(scene)),
        ]
        smallest = checks.smallest_text(fitted)
        lines.append(f"| {name} | {detail} | {'after' if after else 'before'} | " + " | ".join(map(str, numbers)))
        lines[-1] += f" | {smallest:.1f} | {text:.1f} | {edges:.1f} |"
    return page, lines


def main() -> None:
    table = [
        "# Contact sheet",
        "",
        "Written by `python docs/contact_sheet.py`. Smallest text: of the picture as drawn by default, in px,",
        "in a README of 830 px. Overlaps of boxes and labels, edges over foreign boxes and clipped text are counted.",
        "",
        "| network | detail | backward | overlaps | edges over boxes | clipped | px | contrast: text | edges |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for detail in ("op", "cell"):
        for after in (False, True):
            page, lines = sheet(detail, after)
            name = f"contact_sheet_{detail}_{'after' if after else 'before'}.png"
            page.quantize(200).save(HERE / name, optimize=True)
            table += lines
    (HERE / "contact_sheet.md").write_text("\n".join([*table, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
