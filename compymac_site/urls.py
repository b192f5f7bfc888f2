"""Addresses: the panel, the API, the admin."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

admin.autodiscover()  # here, and not at each start of a worker, of beat, of a command: they serve no pages
# what a browser asks for by itself where a page names no icon: the admin's, a download
icon = login_not_required(RedirectView.as_view(url=static("favicon.svg")))
urlpatterns = [
    path("favicon.ico", icon),
    path("", include("orchestration.urls")),
    path("api/", include("orchestration.api.urls")),
    path("admin/", admin.site.urls),
]
handler500 = "orchestration.views.errors.server_error"
