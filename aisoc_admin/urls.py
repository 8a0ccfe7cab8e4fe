"""Every address of the product."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from aisoc_admin import openapi  # noqa: F401 - registers itself
from aisoc_admin.api import api_not_found
from aisoc_admin.health_api import HealthView, ReadyView

api = [path("", include("airgap.urls")), path("", include("llm.urls")), path("", include("threatintel.urls")), path("", include("actions.urls"))]

urlpatterns = [
    path("health", HealthView.as_view()),
    path("ready", ReadyView.as_view()),
    path("api/v1/", include(api)),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema", http_method_names=["get", "head"]), name="docs"),
    re_path(r"^api/", api_not_found),
    path("admin/", admin.site.urls),
    path("", include("console.urls")),
]

handler400 = "console.errors.bad_request"
handler403 = "console.errors.forbidden"
handler404 = "console.errors.not_found"
handler500 = "console.errors.server_error"
