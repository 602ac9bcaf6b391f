"""Texts in pictures: names from elsewhere as one printable line, cut to the width that there is."""

from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
from PIL import ImageFont

from dsn_lightning.errors import printable


@lru_cache(maxsize=16)
def text_font(pixels: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return matplotlib's own sans-serif font at a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), pixels)


def shortened(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """Return a text as one line of at most ``width`` pixels; where it is cut, it ends with an ellipsis.

    >>> shortened("a very long name of a class", 90, text_font(12))
    'a very long …'
    """
    line = " ".join(printable(text[:1000]).split())
    line = "".join(letter for letter in line if letter.isprintable())
    if font.getlength(line) <= width:
        return line
    low, high = 0, len(line)  # the most letters that fit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(line[:middle] + "…") <= width else (low, middle - 1)
    return line[:low] + "…"


def percent_after(text: str, score: float, width: float, font: ImageFont.FreeTypeFont) -> str:
    """Return a name and its probability in percent in at most ``width`` pixels; only the name is cut.

    >>> percent_after("a very long name of a class", 0.873, 120, text_font(12))
    'a very lon… 87.3%'
    """
    number = f" {score:.1%}"
    return shortened(text, max(0.0, width - font.getlength(number)), font) + number
