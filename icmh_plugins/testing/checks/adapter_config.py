"""Checks of an adapter's class, options and placement."""

from __future__ import annotations

from typing import Final, get_args

from icmh_plugins.adapters.base import AdapterConfig
from icmh_plugins.codecs.selection import select_sites
from icmh_plugins.codecs.sites import Side
from icmh_plugins.errors import in_words
from icmh_plugins.registry.catalog import find
from icmh_plugins.testing.checks import configs
from icmh_plugins.testing.checks.adapter_case import AdapterCase
from icmh_plugins.testing.checks.check import Check, NotApplicableError, NotBuiltError, UnmetError, demand
from icmh_plugins.testing.checks.coding import reconstruction
from icmh_plugins.testing.checks.missing import tells_what_to_install

_SIDES: Final = get_args(Side)


def attaches(case: AdapterCase) -> None:
    """Attaching works in one line, in place."""
    try:
        cls, model = case.cls, case.codec()
        same = case.attach(model) is model
    except NotBuiltError as error:
        raise UnmetError(in_words(error.__cause__) if error.__cause__ else str(error)) from error
    except Exception as error:
        raise UnmetError(
            f"attaching raises {in_words(error)}. Remedy: see the error, or other options by config"
        ) from error
    demand(same and cls is not None, "attach_adapter gave back another object than the model")


def flags(case: AdapterCase) -> None:
    """Class attributes are of the right form."""
    cls = case.cls
    demand(
        isinstance(cls.Config, type) and issubclass(cls.Config, AdapterConfig),
        f"Config is {cls.Config!r}. Remedy: a subclass of icmh_plugins.AdapterConfig",
    )
    demand(
        bool(cls.sides) and set(cls.sides) <= set(_SIDES),
        f"sides is {cls.sides!r}. Remedy: a tuple of some of {', '.join(_SIDES)}",
    )
    demand(
        cls.strides is None or (bool(cls.strides) and all(isinstance(s, int) and s > 0 for s in cls.strides)),
        f"strides is {cls.strides!r}. Remedy: a tuple of positive integers, or None for any",
    )
    for name in ("identity_at_init", "entropy_side", "needs_fp32"):
        value = getattr(cls, name)
        demand(isinstance(value, bool), f"{name} is {value!r}. Remedy: True or False")
    demand(bool(str(cls.paper).strip()), "paper is empty. Remedy: one line that says where the method comes from")


def unknown_key(case: AdapterCase) -> None:
    """An unknown option is refused."""
    configs.refuses_unknown_keys(case.cls.make_config, case.config, case.cls.Config)


def wrong_value(case: AdapterCase) -> None:
    """Wrong values are refused."""
    configs.refuses_wrong_values(case.cls.make_config, case.config, case.cls.Config)


def config_json(case: AdapterCase) -> None:
    """Options survive JSON."""
    configs.survives_json(case.cls.make_config, case.config, case.cls.Config)


def entropy_side(case: AdapterCase) -> None:
    """What runs at both ends is adapted by adapters that declare it only."""
    cls = case.cls
    settings, profile = cls.make_config(dict(case.config)), case.profile()
    wanted = cls.default_sites(profile, settings)
    if not wanted or cls.entropy_side:
        return
    found = select_sites(profile, wanted, allow_entropy=True, model=case.codec())
    shared = [site.name for site in found if site.side == "entropy"]
    demand(
        not shared,
        f"by default it sits on {', '.join(shared)}, which run at encoder and decoder alike. Remedy: other "
        "default_sites, or entropy_side = True, with which a stream needs the adapter at both ends",
    )


def names_missing_packages(case: AdapterCase) -> None:
    """Without a requirement of its spec, the error says what to install."""
    if not isinstance(case.adapter, str):
        raise NotApplicableError("a class without a name declares no requirements")
    case.attached()  # says so where it cannot be attached at all
    tells_what_to_install(find("adapter", case.adapter), lambda: reconstruction(case.attach(case.codec())))


CHECKS: Final = (
    Check("adapter-attaches", "Attaching takes one line, works in place and gives the same model back", attaches),
    Check(
        "adapter-flags",
        "Class attributes (`Config`, `sides`, `paper`, ...) are of the right form",
        flags,
        once=True,
    ),
    Check("adapter-config-unknown-key", "An unknown option is refused, by name", unknown_key, once=True),
    Check("adapter-config-wrong-value", "Options have types and limits", wrong_value, once=True),
    Check("adapter-config-json", "Options written as JSON and read again are the same", config_json, once=True),
    Check("adapter-entropy-side", "No site at which both ends compute alike, unless `entropy_side`", entropy_side),
    Check(
        "adapter-missing-dependency",
        "Without a requirement of its spec, users read what to install",
        names_missing_packages,
        once=True,
    ),
)
