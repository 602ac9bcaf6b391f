"""Charts as SVG text that takes its colours from the page, so that it follows light and dark and can be read out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

NUM_COLOURS = 8
"""Classes ``c0`` ... ``c7`` have a colour in the page; lines of the second eight are dashed, and so on."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 10.0, 10.0, 40.0  # room for the axes, in the chart's units

_AROUND = tuple(  # where a label may stand: to the right, the left, above, below, aslant; near first
    (round(distance * math.cos(angle), 1), round(distance * math.sin(angle), 1))
    for distance in (13, 20, 28, 38, 50, 64)
    for angle in (math.pi * k / 4 for k in (0, 4, 6, 2, 7, 1, 5, 3))
)


@dataclass(frozen=True)
class Line:
    """A line through points; x ascending.

    Attributes:
        name: shown when pointed at.
        x: of each point.
        y: of each point.
        look: number of its colour and dashes.
        run: what a choice of one run highlights it by.
        step: whether it goes level to the next point and then up.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: int = 0
    run: str = ""
    step: bool = False


@dataclass(frozen=True)
class Point:
    """A marked point; ``spread`` up and down is drawn as a bar, ``label`` is written beside."""

    name: str
    x: float
    y: float
    look: int = 0
    spread: float | None = None
    label: str = ""
    hollow: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with axes.

    Attributes:
        title: what it shows, for those who cannot see it as well.
        x_label: below the horizontal axis.
        y_label: beside the vertical axis.
        lines: drawn first.
        points: drawn on top.
        levels: (name, y) of dashed lines from side to side.
        width: in the units that letters are 12 high in.
        height: likewise.
        most: pixels that it may be wide; ``width`` unless given.
        log_x: whether the horizontal axis is logarithmic; all x > 0 then.
        from_zero: whether the horizontal axis begins at 0; not with ``log_x``.
        crowded: whether there are so many lines that each is to be faint.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line] = ()
    points: Sequence[Point] = ()
    levels: Sequence[tuple[str, float]] = field(default=())
    width: int = 360
    height: int = 250
    most: int = 0
    log_x: bool = False
    from_zero: bool = False
    crowded: bool = False

    def svg(self) -> Markup:
        """Return the chart as an ``<svg>`` element.

        Raises:
            ValueError: there is nothing in it.
        """
        xs = [x for line in self.lines for x in line.x] + [point.x for point in self.points]
        ys = [y for line in self.lines for y in line.y] + [y for _, y in self.levels]
        ys += [point.y + sign * (point.spread or 0) for point in self.points for sign in (-1, 1)]
        if not xs:
            raise ValueError(f"{self.title}: a chart without a point")
        marks = 12 if self.points else 0  # room around markers
        x = _Axis(xs + ([0.0] if self.from_zero else []), _LEFT, self.width - _RIGHT - marks, log=self.log_x)
        y = _Axis(ys, self.height - _BOTTOM, _TOP + marks)
        parts = [
            Markup('<svg{} viewBox="0 0 {} {}" style="max-width:{}px" role="img" aria-label="{}">').format(
                Markup(' class="crowded"') if self.crowded else "",
                self.width,
                self.height,
                self.most or self.width,
                self.title,
            ),
            *self._axes(x, y),
            *self._levels(y),
            *(_line(line, x, y) for line in self.lines),
            *self._points(x, y),
            Markup("</svg>"),
        ]
        return Markup("").join(parts)

    def _axes(self, x: "_Axis", y: "_Axis") -> list[Markup]:
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        parts = []
        for tick, text in y.ticks:
            at = y(tick)
            parts.append(_rule(_LEFT, at, right, at))
            parts.append(_text(_LEFT - 5, at + 4, text, anchor="end"))
        for tick, text in x.ticks:
            at = x(tick)
            parts.append(_rule(at, bottom, at, bottom + 4))
            parts.append(_text(at, bottom + 16, text))
        parts.append(_text((_LEFT + right) / 2, self.height - 6, self.x_label))
        middle = (_TOP + bottom) / 2
        parts.append(
            Markup('<text class="tick" text-anchor="middle" transform="translate(10 {}) rotate(-90)">{}</text>').format(
                _short(middle), self.y_label
            )
        )
        return parts

    def _levels(self, y: "_Axis") -> list[Markup]:
        """Draw the levels, the highest first; a name that would cover the one before stands below its line."""
        parts: list[Markup] = []
        before = -math.inf
        for name, value in sorted(self.levels, key=lambda level: -level[1]):
            at = y(value)
            parts.append(_level(name, at, self.width - _RIGHT, above=at - before > 14))
            before = at
        return parts

    def _points(self, x: "_Axis", y: "_Axis") -> list[Markup]:
        """Draw the points, then their labels where each finds room beside its own point."""
        places = [(x(point.x), y(point.y)) for point in self.points]
        parts = [_point(point, *place, y) for point, place in zip(self.points, places, strict=True)]
        taken = list(places)
        for point, (at, height) in zip(self.points, places, strict=True):
            if point.label:
                inside = [
                    (at + dx, height + dy)
                    for dx, dy in _AROUND
                    if _LEFT + 6 < at + dx < self.width - 6 and 6 < height + dy < self.height - _BOTTOM - 6
                ]
                free = [(a, b) for a, b in inside if not any(abs(a - c) < 12 and abs(b - d) < 11 for c, d in taken)]
                best = (free or inside or [(at, height - 11)])[0]
                taken.append(best)
                parts.append(_label(point, (at, height), best))
        return parts


class _Axis:
    """Maps values to places between ``first`` and ``last``; its ends are ticks, unless the axis is logarithmic."""

    def __init__(self, values: Sequence[float], first: float, last: float, *, log: bool = False) -> None:
        low, high = min(values), max(values)
        self.log = log
        self.first, self.last = first, last
        if log:
            self.low, self.high = math.log10(low) - 0.05, math.log10(high) + 0.05
            self.ticks = [(tick, f"{tick:g}") for tick in log_ticks(10**self.low, 10**self.high)]
        else:
            ticks = nice_ticks(low, high)
            self.low, self.high = min(low, ticks[0]), max(high, ticks[-1])
            self.ticks = [(tick, f"{tick:.6g}") for tick in ticks]

    def __call__(self, value: float) -> float:
        value = math.log10(value) if self.log else value
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


def nice_ticks(low: float, high: float) -> list[float]:
    """Return four to nine ticks at multiples of 1, 2 or 5 times a power of ten that enclose ``low`` to ``high``.

    >>> nice_ticks(0.12, 0.87)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> nice_ticks(3, 3)
    [2.0, 2.5, 3.0, 3.5, 4.0]
    """
    if high <= low:
        low, high = low - (abs(low) / 3 or 1), high + (abs(high) / 3 or 1)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return ticks at 1, 2 and 5 times powers of ten between ``low`` and ``high``, fewer where there are many.

    >>> log_ticks(0.03, 0.4)
    [0.05, 0.1, 0.2]
    >>> log_ticks(0.05, 4000)
    [0.1, 1.0, 10.0, 100.0, 1000.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
    ticks = [round(factor * 10.0**power, 12) for power in powers for factor in factors]
    return [tick for tick in ticks if low <= tick <= high]


def thinned(x: Sequence[float], y: Sequence[float], at_most: int = 300) -> tuple[list[float], list[float]]:
    """Return at most so many of the points, the last one among them.

    >>> thinned([0, 1, 2, 3, 4], [5, 6, 7, 8, 9], at_most=3)
    ([0, 2, 4], [5, 7, 9])
    """
    if len(x) <= at_most:
        return list(x), list(y)
    kept = [round(i * (len(x) - 1) / (at_most - 1)) for i in range(at_most)]
    return [x[i] for i in kept], [y[i] for i in kept]


def _line(line: Line, x: _Axis, y: _Axis) -> Markup:
    places = [(x(a), y(b)) for a, b in zip(line.x, line.y, strict=True)]
    shape = Markup(' data-run="{}"').format(line.run) if line.run else Markup("")
    look = Markup("c{} d{}").format(line.look % NUM_COLOURS, line.look // NUM_COLOURS % 3)
    title = Markup("<title>{}</title>").format(line.name)
    if len(places) == 1:
        return Markup('<circle class="dot {}"{} cx="{}" cy="{}" r="3">{}</circle>').format(
            look, shape, _short(places[0][0]), _short(places[0][1]), title
        )
    first, *others = places
    path = f"M{_short(first[0])} {_short(first[1])}"
    for a, b in others:
        path += f"H{_short(a)}V{_short(b)}" if line.step else f"L{_short(a)} {_short(b)}"
    return Markup('<path class="line {}"{} d="{}">{}</path>').format(look, shape, path, title)


def _point(point: Point, at: float, height: float, y: _Axis) -> Markup:
    parts = []
    look = f"c{point.look % NUM_COLOURS}"
    if point.spread:
        low, high = y(point.y - point.spread), y(point.y + point.spread)
        bar = f"M{_short(at)} {_short(low)}V{_short(high)}M{_short(at - 4)} {_short(low)}h8"
        parts.append(Markup('<path class="bar {}" d="{}"/>').format(look, f"{bar}M{_short(at - 4)} {_short(high)}h8"))
    kind = "hollow" if point.hollow else "full"
    parts.append(
        Markup('<g class="point {} {}"><circle cx="{}" cy="{}" r="4.5"/><title>{}</title></g>').format(
            look, kind, _short(at), _short(height), point.name
        )
    )
    return Markup("").join(parts)


def _label(point: Point, place: tuple[float, float], at: tuple[float, float]) -> Markup:
    """Write the label at ``at``, with a thin line to its point where it stands far from it."""
    line = Markup("")
    if math.dist(place, at) > 15:
        line = Markup('<path class="leader" d="M{} {}L{} {}"/>').format(*map(_short, (*place, *at)))
    text = Markup('<text class="label" x="{}" y="{}">{}</text>').format(_short(at[0]), _short(at[1] + 4), point.label)
    return line + text


def _level(name: str, at: float, right: float, *, above: bool) -> Markup:
    rule = Markup('<path class="level" d="M{} {}H{}"><title>{}</title></path>')
    return rule.format(_LEFT, _short(at), right, name) + _text(
        right - 2, at - 4 if above else at + 13, name, anchor="end"
    )


def _rule(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<path class="grid" d="M{} {}L{} {}"/>').format(_short(x1), _short(y1), _short(x2), _short(y2))


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> Markup:
    return Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        _short(x), _short(y), anchor, escape(text)
    )


def _short(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
