"""How Sphinx makes the manual: ``python -m sphinx -W --keep-going -b html docs docs/_build``."""

import sys
from pathlib import Path

import django
from django.conf import settings

import django_jobqueue

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

# Enough of a project for the modules that are described to be imported.
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_jobqueue"],
    JOBQUEUE={"OUTLET": "fake"},
)
django.setup()

project = "django-jobqueue"
author = "the authors of django-jobqueue"
release = version = django_jobqueue.__version__
copyright = author

extensions = ["sphinx.ext.autodoc", "reference"]
exclude_patterns = ["_build"]
default_role = "any"
smartquotes = False

# Every name leads somewhere, except the types of signatures: nothing is fetched to link
# to those of others, and not each of ours is described.
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"django-jobqueue {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_copy_source = False
html_show_sphinx = False
