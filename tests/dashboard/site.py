"""URLs of a project with a second admin site, and the dashboard at an address of its own."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from django_jobqueue.admin import register

second = admin.AdminSite(name="second")
register(second)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("second/", second.urls),
    path("work/", include("django_jobqueue.dashboard.urls")),
]
