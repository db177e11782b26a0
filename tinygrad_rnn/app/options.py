"""What the commands share: numbers in, JSON out."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from typing import Any


def whole_number(least: int, most: float = math.inf) -> Callable[[str], int]:
    """An option type: a whole number of at least `least` and at most `most`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            limits = f"of at least {least}" + (f" and at most {most:,}" if math.isfinite(most) else "")
            raise argparse.ArgumentTypeError(f"got {text!r:.80}, expected a whole number {limits}")
        return number

    return parse


def as_json(values: Any) -> str:
    """One line; what is not finite is null, as JSON has no other word for it."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        if isinstance(value, list):
            return [plain(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(values))


__all__ = ["as_json", "whole_number"]
