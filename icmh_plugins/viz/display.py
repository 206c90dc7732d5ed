"""How metrics are named and scaled for people."""

from __future__ import annotations

from typing import NamedTuple


class Display(NamedTuple):
    """How a metric is shown.

    Attributes:
        axis: For axes and table heads, with the unit.
        unit: Of a difference.
        factor: Stored values are multiplied by it.
        digits: After the decimal point.
    """

    axis: str
    unit: str
    factor: float = 1.0
    digits: int = 4

    def text(self, value: float) -> str:
        """A stored value as shown."""
        return f"{self.factor * value:.{self.digits}f}"


_PRECISIONS = {
    "AP": "AP",
    "AP50": "AP at IoU 0.5",
    "AP75": "AP at IoU 0.75",
    "APs": "AP of small objects",
    "APm": "AP of medium objects",
    "APl": "AP of large objects",
}

_KNOWN = {
    "bpp": Display("Rate (bits per pixel)", "bpp"),
    "bpp-with-header": Display("Rate with header (bpp)", "bpp"),
    "top1": Display("Top-1 accuracy (%)", "points", 100.0, 1),
    "top5": Display("Top-5 accuracy (%)", "points", 100.0, 1),
    "agreement": Display("Agreement (%)", "points", 100.0, 1),
    "psnr-rgb": Display("PSNR (dB)", "dB", 1.0, 2),
    "psnr": Display("PSNR to the ideal picture (dB)", "dB", 1.0, 2),
    "ssim": Display("SSIM to the ideal picture", ""),
    "ms-ssim-rgb": Display("MS-SSIM", ""),
    "feature-distance": Display("Feature distance", "", 1.0, 3),
    "encoding_time": Display("Encoding (s)", "s", 1.0, 3),
    "decoding_time": Display("Decoding (s)", "s", 1.0, 3),
    **{
        f"{kind}-{name}": Display(f"{kind.title()} {words} (%)", "points", 100.0, 1)
        for kind in ("box", "mask")
        for name, words in _PRECISIONS.items()
    },
}


def display(metric: str) -> Display:
    """How `metric` is shown; unknown names are shown as they are.

    A task before ``/`` and a view after ``@`` are kept (``"mobilenetv2/top1@human"``).
    """
    name, at, view = metric.rpartition("@")
    if at:
        shown = display(name)
        return shown._replace(axis=f"{shown.axis}, {view} view")
    task, slash, name = metric.rpartition("/")
    if slash and name in _KNOWN:
        return _KNOWN[name]._replace(axis=f"{task}: {_KNOWN[name].axis}")
    return _KNOWN.get(metric, Display(metric, ""))
