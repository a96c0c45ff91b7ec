"""
The dashboard at an address of one's own.

``path("jobs/", include("django_jobqueue.dashboard.urls"))`` in the project's URLs does it.

The admin has it anyway. It is the admin's frame here as well, so that the admin has to
have a place in the project's URLs.
"""

from __future__ import annotations

from django.contrib import admin

from django_jobqueue.dashboard.board import patterns

app_name = "jobqueue"
urlpatterns = patterns(admin.site)
