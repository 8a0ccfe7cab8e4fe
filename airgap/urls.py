from django.urls import path

from airgap.api import AirgapCheckView, AirgapStatusView
from airgap.audit_api import AcceptView, AttestView, ChecklistView, ReadinessView, ReportMarkdownView, ReportView
from airgap.events_api import EventsCsvView, EventsJsonlView, EventsOcsfView, EventsView
from airgap.processes_api import ProcessesView

urlpatterns = [
    path("airgap/status", AirgapStatusView.as_view()),
    path("airgap/check", AirgapCheckView.as_view()),
    path("airgap/events", EventsView.as_view()),
    path("airgap/events.csv", EventsCsvView.as_view()),
    path("airgap/events.jsonl", EventsJsonlView.as_view()),
    path("airgap/events.ocsf.jsonl", EventsOcsfView.as_view()),
    path("airgap/processes", ProcessesView.as_view()),
    path("airgap/checklist", ChecklistView.as_view()),
    path("airgap/checklist/<str:item>/attest", AttestView.as_view()),
    path("airgap/checklist/<str:item>/accept", AcceptView.as_view()),
    path("airgap/readiness", ReadinessView.as_view()),
    path("airgap/report", ReportView.as_view()),
    path("airgap/report.md", ReportMarkdownView.as_view()),
]
