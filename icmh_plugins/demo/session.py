"""One run of the demo, stage by stage; what a stage has made is on disk when it returns."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import nn

from icmh_plugins.adapters.store import load_adapter
from icmh_plugins.codecs.loading import load_codec
from icmh_plugins.data.images import write_image
from icmh_plugins.demo import figures, workspace
from icmh_plugins.demo.assets import shipped_adapter
from icmh_plugins.demo.classifier import AGREEMENT, DISTANCE, EfficientNetLite0
from icmh_plugins.demo.coding import Coded, code
from icmh_plugins.demo.extra import PACKAGES, PHOTOGRAPHERS, check_extra
from icmh_plugins.demo.pictures import load_pictures
from icmh_plugins.demo.results import Results
from icmh_plugins.demo.settings import Settings
from icmh_plugins.demo.training import Training, split, train
from icmh_plugins.evaluation.curves import RateCurve, join
from icmh_plugins.viz.maps import plot_maps
from icmh_plugins.viz.report import Picture, write_report

ADAPTERS = "sfma-faithful"
"""The shipped adapters, one a rate: ``sfma-faithful-q1`` and so on."""

CODECS = {"base": "base codec", "sfma": "with SFMA"}
"""What codes the pictures: name of files, and for people."""


class Session:
    """A run of the demo.

    Attributes:
        folder: Where everything is written.
        pictures: Samples with "image" and "name".
        results: What has been measured so far.
    """

    def __init__(
        self,
        folder: Path,
        images: Path | None,
        settings: Settings,
        *,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        """Check what is needed, load pictures and classifier, prepare the folder.

        Args:
            folder: Where to write.
            images: Folder of pictures; None takes the nine photographs.
            settings: How much to do.
            seed: Of the live training.
            progress: Show progress bars.

        Raises:
            MissingDependencyError: A package of the extra `demo` is missing.
            DataError: The pictures cannot be used, or the folder is somebody else's.
        """
        check_extra(PACKAGES if images else (*PACKAGES, *PHOTOGRAPHERS))
        self.folder, self.settings, self.progress = folder, settings, progress
        self._load = partial(load_pictures, images, settings.count)
        self.pictures = self._load(settings.side)
        self.results = Results(folder, self.pictures, seed)
        self._classifier = EfficientNetLite0()
        self._points: dict[str, list[RateCurve]] = {codec: [] for codec in CODECS}
        self._figures: list[Picture] = []
        workspace.prepare(folder)
        for sample in self.pictures:
            write_image(self._part("originals") / f"{sample['name']}.png", sample["image"])
        self.results.save()

    def code(self, quality: int) -> None:
        """Code all pictures at one rate, without and with the shipped adapter."""
        rate = f"q{quality}"
        model = load_codec(f"mbt2018-mean-n64m96-{rate}")
        base = self._code(model, rate, "base")
        load_adapter(model, shipped_adapter(f"{ADAPTERS}-{rate}"), "sfma")
        adapted = self._code(model, rate, "sfma")
        for codec, (point, rows) in zip(CODECS, (base, adapted), strict=True):
            self._points[codec].append(point)
            self.results.coded += rows
        if quality == self.settings.shown:
            self._draw(model, rate)
        self.results.save()

    def train(self) -> Training:
        """Train a fresh adapter live."""
        _, unseen = split(self.pictures)
        seen = [sample for side in self.settings.sides for sample in split(self._load(side))[0]]
        done = train(self._classifier, seen, unseen, self.folder, self.settings, self.results.seed, self.progress)
        self.results.training = done
        figures.draw_training(done.log, done.lmbda, self._figure("training", figures.training_caption(done)))
        for before, after in zip(done.before, done.after, strict=True):
            self._strip(before, after, "live", f"{before.picture}, {before.rate}: the adapter trained live.")
        self.results.save()
        return done

    def report(self) -> Path:
        """Write the report on what has been done, which is one rate at least; returns its path."""
        curves = [join(CODECS[codec], points) for codec, points in self._points.items()]
        for curve in curves:
            curve.save(self._part("curves") / f"{curve.name.replace(' ', '-')}.json")
        path = self.folder / workspace.REPORT
        self.results.comparisons = write_report(
            curves, path, metrics=(DISTANCE, AGREEMENT, "psnr-rgb"), pictures=self._figures, title="icmh demo"
        )
        self.results.save()
        return path

    def _code(self, model: nn.Module, rate: str, codec: str) -> tuple[RateCurve, list[Coded]]:
        return code(
            model, self._classifier, self.pictures, self.folder,
            rate=rate, codec=codec, name=CODECS[codec], progress=self.progress,
        )  # fmt: skip

    def _draw(self, model: nn.Module, rate: str) -> None:
        """Strips of all pictures, and where the bits of the last one go."""
        for base, adapted in zip(self.results.of("base", rate), self.results.of("sfma", rate), strict=True):
            self._strip(base, adapted, rate, f"{base.picture}, {rate}.")
        last = self.pictures[-1]
        caption = f"{last['name']}, {rate}: where the bits go, and which frequencies the latent keeps."
        plot_maps(model, last["image"], self._figure(f"{last['name']}-{rate}-maps", caption))

    def _strip(self, base: Coded, adapted: Coded, label: str, caption: str) -> None:
        original = next(sample["image"] for sample in self.pictures if sample["name"] == base.picture)
        figures.draw_strip(original, base, adapted, self._figure(f"{base.picture}-{label}", caption))

    def _figure(self, name: str, caption: str) -> Path:
        path = self._part("figures") / f"{name}.png"
        self._figures.append(Picture(path, caption))
        return path

    def _part(self, name: str) -> Path:
        (self.folder / name).mkdir(exist_ok=True)
        return self.folder / name
