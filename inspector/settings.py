"""Django's settings: reading needs no database of ours, no session, no sign-in; retrying needs one; middleware sets the headers."""

import os
from pathlib import Path

from inspector.config import Config
from runs import __version__
from runs.home import folder
from runs.state.place import databases

PACKAGE = Path(__file__).resolve().parent
# In the wheel the templates and static files lie inside this package, in the repository beside it.
ASSETS_DIR = PACKAGE if (PACKAGE / "templates").is_dir() else PACKAGE.parent
CONFIG = Config.from_environ(os.environ)
VERSION = __version__

DEBUG = CONFIG.debug
SECRET_KEY = CONFIG.secret_key
ALLOWED_HOSTS = CONFIG.hosts()

INSTALLED_APPS = ["django.contrib.staticfiles", "django_extensions", "ninja", "runs", "runs.state"]
MIDDLEWARE = [
    "inspector.middleware.SecurityHeaders",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.common.CommonMiddleware",
    "inspector.middleware.Errors",
    "django.middleware.csrf.CsrfViewMiddleware",
]
# Cookies are shared by all ports of a machine: ours have names of their own.
CSRF_COOKIE_NAME = "durascope_csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
ROOT_URLCONF = "inspector.urls"
WSGI_APPLICATION = "inspector.wsgi.application"
# Only retrying needs a database of ours.
DATABASES = databases(folder()) if CONFIG.retry else {}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ASSETS_DIR / "templates"],
        "OPTIONS": {
            "context_processors": ["django.template.context_processors.request", "runs.views.context.page"],
            "builtins": [f"runs.templatetags.{name}" for name in ("addresses", "durascope", "payloads")],
        },
    }
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [ASSETS_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False  # nobody else needs them

TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
APPEND_SLASH = True

# One line an event, on stderr. What was sent is never logged, nor is the text of an exception: it may hold a payload.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "inspector.logging.OneLine", "traceback": DEBUG}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        # An address that isn't there, or a host that isn't ours, is the visitor's affair.
        "django.request": {"level": "ERROR"},
        "django.server": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "django.security": {"level": "CRITICAL"},
        # It says that it leaves out the body of an answer to HEAD, each time.
        "gunicorn.http.wsgi": {"level": "ERROR"},
    },
}
