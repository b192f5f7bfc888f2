"""Addresses: the panel, the API, the admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("orchestration.urls")),
    path("api/", include("orchestration.api.urls")),
    path("admin/", admin.site.urls),
]
handler500 = "orchestration.views.errors.server_error"
