"""``icmh describe``: the sites of a codec, and what sits on them."""

from __future__ import annotations

import typer

from icmh_plugins.cli.models import Adapters, Checkpoint, Codec, load_model
from icmh_plugins.cli.output import Json, print_json


def describe(codec: Codec, checkpoint: Checkpoint = None, adapter: Adapters = None, json: Json = False) -> None:
    """Show where adapters can sit on a codec, and the parameters and MACs of those given."""
    from icmh_plugins.adapters.describe import describe as describe_model

    description = describe_model(load_model(codec, checkpoint, adapter or []))
    if json:
        print_json(description.to_dict())
        return
    typer.echo(repr(description))
