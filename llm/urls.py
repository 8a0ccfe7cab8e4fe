from django.urls import path

from llm.api import LLMStatusView

urlpatterns = [path("llm/status", LLMStatusView.as_view())]
