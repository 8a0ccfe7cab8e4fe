from django.urls import path

from llm.api import LLMStatusView
from llm.capabilities_api import ExplainView, InvestigateView

urlpatterns = [
    path("llm/status", LLMStatusView.as_view()),
    path("explain", ExplainView.as_view()),
    path("investigate", InvestigateView.as_view()),
]
