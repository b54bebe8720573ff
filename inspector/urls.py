"""Every address: pages and the JSON interface."""

from django.urls import include, path

from runs.api.endpoints import api
from runs.api.health import health

urlpatterns = [
    path("api/v1/", api.urls),
    path("healthz", health),
    path("", include("runs.urls")),
]
