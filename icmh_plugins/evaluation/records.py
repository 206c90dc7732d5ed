"""One record an image, kept in a file of JSON lines so that a stopped evaluation goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from icmh_plugins.bitstream.files import whole_file
from icmh_plugins.errors import DataError


@dataclass(frozen=True)
class ImageRecord:
    """What was measured on one image.

    Attributes:
        name: Of the image.
        pixels: That rates are counted over: of the original image under protocol "native".
        stream_bytes: The whole stream.
        string_bytes: The entropy-coded strings in it.
        encoding_time: Seconds.
        decoding_time: Seconds, of the stream's own view.
        scores: By metric name; NaN where a score is not defined for this image.
        evidence: What metrics over all images keep of this one, as `Scorer` gives and takes it; JSON-ready.
    """

    name: str
    pixels: int
    stream_bytes: int
    string_bytes: int
    encoding_time: float
    decoding_time: float
    scores: Mapping[str, float]
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Rates in bits per pixel, scores, and seconds, by their names in results."""
        return {
            "bpp": 8 * self.string_bytes / self.pixels,
            "bpp-with-header": 8 * self.stream_bytes / self.pixels,
            **self.scores,
            "encoding_time": self.encoding_time,
            "decoding_time": self.decoding_time,
        }


class RecordLog:
    """Appends records to a file; the first line says what is being measured."""

    def __init__(self, path: str | Path, identity: Mapping[str, Any]) -> None:
        """Open or begin the file.

        Args:
            path: JSON lines; created if missing.
            identity: JSON-ready description of codec, adapters, tasks, views and data.

        Raises:
            DataError: The file belongs to another evaluation (the message names what differs), holds no records, or
                cannot be read or written.
        """
        self._path = Path(path)
        first = json.dumps(identity) + "\n"
        lines = self._lines()
        whole = [line for line in lines if line.endswith("\n")]
        if lines and not whole and not first.startswith(lines[0]):
            raise self._damaged("it holds no records")
        self.records = [self._record(line) for line in whole[1:]]
        """Records of an earlier run, in order."""
        if whole:
            self._check(self._parse(whole[0]), json.loads(json.dumps(identity)))
        else:
            whole = [first]
        if whole != lines:  # new, or a last line that was cut while it was written
            with whole_file(self._path) as scratch:
                scratch.write_text("".join(whole), encoding="utf-8")

    def append(self, record: ImageRecord) -> None:
        """Add one record; it is on disk when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse other data than that of the records.

        Args:
            names: Of the data's images, one for each record.

        Raises:
            DataError: One differs.
        """
        for index, (record, name) in enumerate(zip(self.records, names, strict=True)):
            if record.name != name:
                raise DataError(
                    f"{self._path} has {record.name!r} as image {index}, the data has {name!r} there. "
                    "Remedy: give the same data in the same order, or another file for `resume`"
                )

    def _lines(self) -> list[str]:
        if not self._path.exists():
            return []
        try:
            return self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        except UnicodeDecodeError:
            raise self._damaged("it is not text") from None
        except OSError as error:
            raise DataError(
                f"cannot read {str(self._path)!r}: {error.strerror}. Remedy: give a file of records for `resume`"
            ) from error

    def _record(self, line: str) -> ImageRecord:
        try:
            return ImageRecord(**self._parse(line))
        except TypeError as error:
            raise self._damaged(error) from None

    def _parse(self, line: str) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise self._damaged(error) from None
        if not isinstance(found, dict):
            raise self._damaged(f"a line holds a {type(found).__name__}")
        return found

    def _damaged(self, why: object) -> DataError:
        return DataError(f"{self._path} is damaged ({why}). Remedy: delete it and start again, or give another file")

    def _check(self, found: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        differing = sorted(key for key in found.keys() | identity.keys() if found.get(key) != identity.get(key))
        if differing:
            raise DataError(
                f"{self._path} holds another evaluation: {', '.join(differing)} differ. "
                "Remedy: give another file for `resume`, or delete this one"
            )
