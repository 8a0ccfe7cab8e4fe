from django.urls import path

from airgap.api import AirgapCheckView, AirgapStatusView

urlpatterns = [
    path("airgap/status", AirgapStatusView.as_view()),
    path("airgap/check", AirgapCheckView.as_view()),
]
