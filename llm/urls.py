from django.urls import path

from llm.api import LLMStatusView
from llm.capabilities_api import ExplainView, InvestigateView
from llm.credentials_api import CredentialTestView, CredentialView
from llm.questions_api import DetectionLoopView, FormatsView, NlDetectionView, NlQueryView, PhishingView, TranslationView

urlpatterns = [
    path("llm/status", LLMStatusView.as_view()),
    path("llm/credentials", CredentialView.as_view()),
    path("llm/credentials/test", CredentialTestView.as_view()),
    path("explain", ExplainView.as_view()),
    path("investigate", InvestigateView.as_view()),
    path("nl-query/translate", NlQueryView.as_view()),
    path("nl-detection/translate", NlDetectionView.as_view()),
    path("detection-loop/suggest", DetectionLoopView.as_view()),
    path("phishing/submit", PhishingView.as_view()),
    path("translation/translate", TranslationView.as_view()),
    path("translation/formats", FormatsView.as_view()),
]
