"""Settings of Sphinx for the documentation site, which `docs/make_pages.py` builds.

Nothing is loaded from elsewhere: the theme brings its styles and scripts, and the fonts are the reader's own.
"""

from pneumothorax import __version__

project, author = "pneumothorax", ""
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4  # the anchors of headings, as GitHub makes them
highlight_language = "none"  # of a block that names no language
autodoc_typehints = "none"  # the docstrings say types, shapes and units
autodoc_preserve_defaults = True
napoleon_use_ivar, napoleon_attr_annotations = True, False  # attributes as a list, like parameters
html_theme = "furo"
html_title = "pneumothorax"
html_show_copyright = html_show_sphinx = html_copy_source = False
