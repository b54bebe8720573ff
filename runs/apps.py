"""Durascope's one Django application. It has no models: the databases it shows belong to someone else."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"
