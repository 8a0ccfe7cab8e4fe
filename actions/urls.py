"""Addresses of the notification API."""

from django.urls import path

from actions.api import ChannelsView, DeliveriesView, DeliveryView, NotifyView

urlpatterns = [
    path("actions/channels", ChannelsView.as_view()),
    path("actions/notify", NotifyView.as_view()),
    path("actions/deliveries", DeliveriesView.as_view()),
    path("actions/deliveries/<str:delivery>", DeliveryView.as_view()),
]
