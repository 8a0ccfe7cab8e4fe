from django.urls import path

from airgap.api import AirgapCheckView, AirgapStatusView
from airgap.events_api import EventsCsvView, EventsJsonlView, EventsView
from airgap.processes_api import ProcessesView

urlpatterns = [
    path("airgap/status", AirgapStatusView.as_view()),
    path("airgap/check", AirgapCheckView.as_view()),
    path("airgap/events", EventsView.as_view()),
    path("airgap/events.csv", EventsCsvView.as_view()),
    path("airgap/events.jsonl", EventsJsonlView.as_view()),
    path("airgap/processes", ProcessesView.as_view()),
]
