"""Settings of the project, as its tests use them. There is no Redis."""

SECRET_KEY = "of nobody"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "waffle",
    "django_jobqueue",
    "orders",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
JOBQUEUE = {"OUTLET": "fake"}
