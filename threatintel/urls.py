from django.urls import path

from threatintel.api import FeedsView, IndicatorSearchView, PollView

urlpatterns = [
    path("threatintel/feeds", FeedsView.as_view()),
    path("threatintel/feeds/<str:name>/poll", PollView.as_view()),
    path("iocs/search", IndicatorSearchView.as_view()),
]
