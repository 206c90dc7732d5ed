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


_KNOWN = {
    "bpp": Display("Rate (bits per pixel)", "bpp"),
    "bpp-with-header": Display("Rate with header (bpp)", "bpp"),
    "top1": Display("Top-1 accuracy (%)", "points", 100.0, 1),
    "top5": Display("Top-5 accuracy (%)", "points", 100.0, 1),
    "agreement": Display("Agreement (%)", "points", 100.0, 1),
    "box_ap": Display("Box AP (%)", "points", 100.0, 1),
    "mask_ap": Display("Mask AP (%)", "points", 100.0, 1),
    "psnr-rgb": Display("PSNR (dB)", "dB", 1.0, 2),
    "psnr": Display("PSNR to the ideal picture (dB)", "dB", 1.0, 2),
    "ssim": Display("SSIM to the ideal picture", ""),
    "ms-ssim-rgb": Display("MS-SSIM", ""),
    "feature-distance": Display("Feature distance", "", 1.0, 3),
    "encoding_time": Display("Encoding (s)", "s", 1.0, 3),
    "decoding_time": Display("Decoding (s)", "s", 1.0, 3),
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
