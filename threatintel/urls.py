from django.urls import path

from threatintel.api import FeedsView, IndicatorSearchView, PollView
from threatintel.enrich_api import EnrichView, LookupView
from threatintel.import_api import ImportView
from threatintel.push_api import MispDryRunView, MispHealthView, PostBundleView, PostIndicatorView

urlpatterns = [
    path("threatintel/feeds", FeedsView.as_view()),
    path("threatintel/feeds/<str:name>/poll", PollView.as_view()),
    path("threatintel/feeds/<str:kind>/import", ImportView.as_view()),
    path("iocs/search", IndicatorSearchView.as_view()),
    path("iocs/lookup", LookupView.as_view()),
    path("enrich", EnrichView.as_view()),
    path("threatintel/stix/indicators", PostIndicatorView.as_view()),
    path("threatintel/stix/bundles", PostBundleView.as_view()),
    path("threatintel/misp/health", MispHealthView.as_view()),
    path("threatintel/misp/dry-run", MispDryRunView.as_view()),
]
