"""Options of adapters and tasks: frozen, checked at once, refused with a readable reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from icmh_plugins.errors import ConfigError, suggest


class FrozenConfig(BaseModel):
    """Base of configs: frozen, unknown keys refused, plain JSON values only, so that files can carry them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=BaseModel)


def validate_config(config: type[C], options: Mapping[str, Any], owner: str) -> C:
    """Build `config` from `options`, turning pydantic's report into one line that names every mistake.

    Args:
        config: The class to build.
        options: Values by field name.
        owner: Whose options they are, as the message should say it: ``"SFMA"``.

    Raises:
        ConfigError: An unknown key (with the nearest known one) or a value out of range.
    """
    known = config.model_fields
    for key in options:
        if key not in known:
            raise ConfigError(f"{owner} has no option {key!r}.{suggest(key, known)}")
    try:
        return config(**options)
    except ValidationError as error:
        lines = [_line(mistake) for mistake in error.errors()]
        raise ConfigError(f"{owner} cannot use these options: {'; '.join(lines)}") from None


def _line(mistake: Mapping[str, Any]) -> str:
    place = ".".join(map(str, mistake["loc"]))
    if not place or mistake["type"] == "missing":  # its "input" is then all the options
        return f"{place or 'options'}: {mistake['msg']}"
    return f"{place}: {mistake['msg']} (got {mistake['input']!r})"
