"""The published schema of adapter files is the one that the code checks them with."""

from __future__ import annotations

import json
from pathlib import Path

from icmh_plugins.adapters.file import AdapterFile

SCHEMA = Path(__file__).parents[2] / "docs" / "adapter_config.schema.json"


def test_the_published_schema_is_current():
    remedy = (
        "write it again: python -c 'import json; from icmh_plugins.adapters.file import AdapterFile; "
        "print(json.dumps(AdapterFile.model_json_schema(), indent=2))' > docs/adapter_config.schema.json"
    )
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == AdapterFile.model_json_schema(), remedy
