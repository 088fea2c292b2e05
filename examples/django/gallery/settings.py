"""All that the gallery needs; for development."""

import os
from pathlib import Path

DRAGONBELLY = {"url": os.environ.get("DRAGONBELLY_URL", "http://127.0.0.1:8080")}
STORAGES = {
    "default": {"BACKEND": "dragonbelly.contrib.django.DragonbellyStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dragonbelly.contrib.django.DragonbellyMiddleware",
]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "dragonbelly.contrib.django",
    "gallery",
]

DEBUG = True
SECRET_KEY = os.environ.get("SECRET_KEY", "make one of your own")
ROOT_URLCONF = "gallery.urls"
DATABASE = os.environ.get("GALLERY_DATABASE", str(Path(__file__).parent.parent / "gallery.sqlite3"))
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
STATIC_URL = "/static/"
MEDIA_URL = "/media/"
LOGIN_REDIRECT_URL = "/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
