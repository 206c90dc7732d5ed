"""How Sphinx builds the documentation (``make docs``): offline, and strict, since every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from icmh_plugins import __version__

project = "icmh-plugins"
author = "The icmh-plugins authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "navigation"]
exclude_patterns = ["_build", "_ext", "_static"]
nitpicky = True
suppress_warnings = ["myst.header"]  # speed.md: its tables, with their headings, are written by a script
nitpick_ignore_regex = [
    ("py:.*", r"(?!icmh_plugins).*"),  # other packages: their pages are not at hand
    ("py:.*", r"icmh_plugins\..*\.T"),  # type variables
]

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
smartquotes_action = "D"  # dashes; quotes stay as they are written

default_role = "code"  # docstrings mark code by single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Class attributes", "params_style")]
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"icmh-plugins {release}"
html_math_renderer = "mathml"
html_copy_source = False
html_domain_indices = False
html_show_copyright = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["adapter_config.schema.json"]
