"""Which row of which of the paper's tables a result belongs to, and what the paper gives there."""

from dataclasses import dataclass

from dsn_lightning.paper import paper_table
from dsn_lightning.report.collect import Json
from dsn_lightning.report.result_rows import Result

NUMERALS = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI"}

_METHODS = {
    "random": "Baseline (random)",
    "uniform": "Baseline (uniform)",
    "max_response": "Max response",
    "dsn_fixed": "DSN-f",
    "dsn": "DSN",
    "dense": "Dense sampling",
    "oracle": "Oracle sampling",
}
_TRIMMED = ("ucf101", "hmdb51")
_UNTRIMMED = ("thumos14", "activitynet")


@dataclass(frozen=True)
class PaperFigure:
    """A figure that the paper gives.

    Attributes:
        table: its number.
        row: as the paper names it.
        figure: ``top1``, ``top5`` or ``map``.
        value: fraction in [0, 1].
        gmacs: the paper's cost of the row, where the table has it.
        networks: what the paper's row was measured with, where ours had other networks.
    """

    table: int
    row: str
    figure: str
    value: float
    gmacs: float | None
    networks: str

    @property
    def place(self) -> str:
        """Return the table and its row in words."""
        return f"Table {NUMERALS[self.table]}, {self.row}"


def paper_figures(result: Result) -> list[PaperFigure]:
    """Return what the paper gives for a result; empty where it belongs to no row of Tables I to VI.

    A result belongs to a row when data set, selection, modality, scheme and number of clips are the row's, and in
    Tables III to VI the classifier's network as well. Tables I and II, which compare methods, are of R3D-18 with
    ResNet2D-18; results of other networks, unless they have a row of their own, stand beside them too, and
    `PaperFigure.networks` says so. Table VII is of means over splits, which no single result is. Results do not say
    which of THUMOS14's sets they were trained on, so some belong to rows of Table I (validation) and of V (both).
    """
    own = result.described
    if own.get("split") not in (None, 1) or own.get("crops", 1) != 1:
        return []
    same = own.get("backbone") == "r3d_18" and own.get("observation") in (None, "r2d_18")
    found = []
    for table, row in [*_methods(own), *_networks(own)]:
        known = paper_table(table)[row]
        if known.get("clips", own.get("clips")) != own.get("clips"):
            continue
        for figure in ("top1", "top5", "map"):
            value = known.get(f"{own['dataset']}/{figure}", known.get(figure))
            if value is not None and result.mean(figure) is not None:
                networks = "" if same or table > 2 else "R3D-18, ResNet2D-18"
                found.append(PaperFigure(table, row, figure, value, known.get("gmacs"), networks))
    return [one for one in found if not one.networks] or found


def _methods(own: Json) -> list[tuple[int, str]]:
    """Return the rows of Tables I and II, all of RGB."""
    dataset, selection = own["dataset"], own["selection"]
    test, train = (own.get("M"), own.get("N")), (own.get("train_M"), own.get("train_N"))
    if own.get("modality") != "rgb" or dataset not in _TRIMMED + _UNTRIMMED or not _is_own_classifier(own):
        return []
    found = []
    scheme = (1, 3) if dataset in _TRIMMED else (6, 3)
    dense = 10 if dataset in _TRIMMED else 20
    if selection == "dense" and own.get("clips", dense) != dense:
        return []
    if selection in _METHODS and test == scheme and (selection not in ("dsn", "dsn_fixed") or train == scheme):
        found.append((1, _METHODS[selection]))
    if dataset in _TRIMMED and selection == "dsn" and train in ((1, 3), (1, 6), (3, 3)) and test == (3, train[1]):
        found.append((2, f"{train[0]}:{train[1]}"))
    return found


def _networks(own: Json) -> list[tuple[int, str]]:
    """Return the rows of Tables III to VI: R3D-18 or R(2+1)D-34, densely or with DSN."""
    name = {"r3d_18": "R3D", "r2plus1d_34": "R(2+1)D"}.get(str(own.get("backbone")))
    stream = {"rgb": "RGB", "flow": "FLOW"}.get(str(own.get("modality")), "RGB+FLOW")
    selection, trained = own["selection"], own.get("train_M")
    test = (own.get("M"), own.get("N"))
    if name is None or selection not in ("dense", "dsn") or not _is_own_classifier(own):
        return []
    known: dict[tuple[str, str, str], dict[tuple | None, list[tuple[int, str]]]] = {
        ("hmdb51", "R3D", "RGB"): {
            None: [(3, "R3D")],
            (1, 4): [(3, "R3D & DSN (M = 1)")],
            (3, 3): [(3, "R3D & DSN (M = 3)")],
        },
        ("hmdb51", "R(2+1)D", "RGB"): {None: [(3, "R(2+1)D")], (1, 4): [(3, "R(2+1)D & DSN (M = 1)")]},
        ("thumos14", "R3D", "RGB"): {
            None: {3: [(4, "R3D & TSN (S = 3)")], 6: [(5, "R3D-RGB & TSN (6 seg)")]}.get(trained or 0, []),
            (3, 6): [(4, "R3D & DSN (M = 3)")],
            (6, 6): [(5, "R3D-RGB & DSN (M = 6)")],
        },
        ("thumos14", "R(2+1)D", stream): {
            None: [(5, f"R(2+1)D, {stream}"), *([(4, "R(2+1)D")] if stream == "RGB" else [])],
            (1, 6): [(5, f"R(2+1)D & DSN (M = 1), {stream}"),
                     *([(4, "R(2+1)D & DSN (M = 1)")] if stream == "RGB" else [])],
        },
        ("activitynet", "R3D", "RGB"): {
            None: [(6, "R3D-RGB & TSN (6 seg)")] if trained == 6 else [],
            (6, 6): [(6, "R3D-RGB & DSN (M = 6), 6 clips")],
            (6, 10): [(6, "R3D-RGB & DSN (M = 6), 10 clips")],
        },
        ("activitynet", "R(2+1)D", stream): {
            None: [(6, f"R(2+1)D-{stream}")],
            (1, 6): [(6, f"R(2+1)D-{stream} & DSN (M = 1), 6 clips")],
            (1, 10): [(6, f"R(2+1)D-{stream} & DSN (M = 1), 10 clips")],
        },
    }  # fmt: skip
    rows = known.get((own["dataset"], name, stream), {})
    if selection == "dense":
        return rows.get(None, [])
    return rows.get((trained, test[0]), []) if test[1] == 3 else []


def _is_own_classifier(own: Json) -> bool:
    return own.get("classifier") == ("dsn" if own["selection"] == "dsn" else "baseline")
