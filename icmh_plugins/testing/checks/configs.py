"""Checks of options, the same for adapters and tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from icmh_plugins.errors import ConfigError, in_words
from icmh_plugins.testing.checks.check import NotApplicableError, UnmetError, demand

Make = Callable[[dict[str, Any]], BaseModel]
"""Builds a config from options."""

_STRANGE: Final = ({"no": ["such", "value"]}, [None, {}], "no such value", -(10**9), float("nan"), None)
"""Values of which a sensible option refuses one at least."""


def refuses_unknown_keys(make: Make, options: Mapping[str, Any], config: type[BaseModel]) -> None:
    """An unknown option is a `ConfigError` that names it."""
    unknown = f"{next(iter(config.model_fields), 'option')}_misspelt"
    error = _refusal(make, {**options, unknown: 1})
    if error is None:
        raise UnmetError(
            f"the unknown option {unknown!r} is accepted in silence. Remedy: derive Config from AdapterConfig or "
            "TaskConfig, and leave its extra='forbid' as it is"
        )
    demand(
        unknown in str(error),
        f"the error for the unknown option {unknown!r} does not name it: {error}. Remedy: let it through as it comes",
    )


def refuses_wrong_values(make: Make, options: Mapping[str, Any], config: type[BaseModel]) -> None:
    """Every option refuses some of a few strange values by a `ConfigError`."""
    if not config.model_fields:
        raise NotApplicableError("it has no options")
    for name in config.model_fields:
        if all(_refusal(make, {**options, name: value}) is None for value in _STRANGE):
            raise UnmetError(
                f"option {name!r} accepts anything: {', '.join(map(repr, _STRANGE))}. Remedy: give it a type, and "
                "limits by pydantic's Field"
            )


def survives_json(make: Make, options: Mapping[str, Any], config: type[BaseModel]) -> None:
    """A config written as JSON and read again is the same config: files carry it so."""
    before = make(dict(options))
    demand(
        isinstance(before, config),
        f"make_config gives a {type(before).__name__}, Config is {config.__name__}. Remedy: return an instance of it",
    )
    try:
        text = json.dumps(before.model_dump(mode="json"))
        after = make(json.loads(text))
    except (TypeError, ValueError) as error:
        raise UnmetError(f"its options do not survive JSON: {in_words(error)}. Remedy: plain values") from error
    demand(
        after == before,
        f"options differ after a JSON round trip: {before!r} became {after!r}. Remedy: types that JSON has",
    )


def _refusal(make: Make, options: dict[str, Any]) -> ConfigError | None:
    try:
        make(options)
    except ConfigError as error:
        return error
    except Exception as error:
        raise UnmetError(
            f"options {options!r} raise {in_words(error)}. Remedy: refuse wrong options by a ConfigError, as "
            "pydantic's types and limits do by themselves"
        ) from error
    return None
