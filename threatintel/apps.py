from django.apps import AppConfig


class ThreatintelConfig(AppConfig):
    name = "threatintel"
    verbose_name = "Threat intelligence"
