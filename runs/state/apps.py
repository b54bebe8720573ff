"""The Django application of our own state. Its tables exist only where retrying is allowed, or was used in a terminal."""

from django.apps import AppConfig


class StateConfig(AppConfig):
    name = "runs.state"
    label = "state"
    default_auto_field = "django.db.models.BigAutoField"
