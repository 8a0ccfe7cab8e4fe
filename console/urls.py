"""Addresses of the pages."""

from django.templatetags.static import static
from django.urls import path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from console import assist_question_views, assist_views, channel_views, checklist_views, feed_views, indicator_views, tenant_views, views

app_name = "console"
urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", views.Logout.as_view(), name="logout"),
    path("act-for/", views.act_for, name="act_for"),
    path("settings/deployment/", views.deployment, name="deployment"),
    path("settings/deployment/deployment.json", views.deployment_json, name="deployment_json"),
    path("settings/deployment/deployment.md", views.deployment_md, name="deployment_md"),
    path("settings/deployment/processes/<str:instance>/forget/", views.forget, name="forget"),
    path("settings/feeds/", views.feeds, name="feeds"),
    path("settings/feeds/feeds.json", views.feeds_json, name="feeds_json"),
    path("settings/feeds/feeds.md", views.feeds_md, name="feeds_md"),
    path("settings/feeds/import/", feed_views.import_file, name="import"),
    path("settings/feeds/<str:name>/", feed_views.feed, name="feed"),
    path("settings/feeds/<str:name>/poll/", feed_views.poll, name="poll"),
    path("settings/indicators/", indicator_views.indicators, name="indicators"),
    path("settings/indicators/many/", indicator_views.many, name="many"),
    path("settings/indicators/<uuid:key>/", indicator_views.indicator, name="indicator"),
    path("settings/indicators/<uuid:key>/indicator.md", indicator_views.indicator_md, name="indicator_md"),
    path("settings/egress/", views.egress, name="egress"),
    path("settings/egress/egress.json", views.egress_json, name="egress_json"),
    path("settings/egress/egress.md", views.egress_md, name="egress_md"),
    path("settings/channels/", channel_views.channels, name="channels"),
    path("settings/channels/channels.json", channel_views.channels_json, name="channels_json"),
    path("settings/channels/channels.md", channel_views.channels_md, name="channels_md"),
    path("settings/channels/<str:name>/test/", channel_views.send_test, name="test_channel"),
    path("settings/tenants/", tenant_views.tenants, name="tenants"),
    path("settings/tenants/tenants.json", tenant_views.tenants_json, name="tenants_json"),
    path("settings/tenants/tenants.md", tenant_views.tenants_md, name="tenants_md"),
    path("settings/tenants/<str:name>/", tenant_views.tenant, name="tenant"),
    path("settings/tenants/<str:name>/test/", tenant_views.test, name="tenant_test"),
    path("settings/tenants/<str:name>/remove/", tenant_views.remove, name="tenant_remove"),
    path("settings/tenants/<str:name>/reseal/", tenant_views.reseal_key, name="tenant_reseal"),
    path("assist/", assist_views.explain, name="assist"),
    path("assist/investigate/", assist_views.investigate, name="investigate"),
    path("settings/checklist/", checklist_views.checklist, name="checklist"),
    path("settings/checklist/checklist.json", checklist_views.checklist_json, name="checklist_json"),
    path("settings/checklist/checklist.md", checklist_views.checklist_md, name="checklist_md"),
    path("settings/checklist/sign-off/", checklist_views.sign_off_now, name="sign_off"),
    path("settings/checklist/<str:item>/attest/", checklist_views.attest_item, name="attest"),
    path("settings/checklist/<str:item>/accept/", checklist_views.accept_item, name="accept"),
    path("assist/query/", assist_question_views.question, {"capability": "nl_query"}, name="ask_query"),
    path("assist/detection/", assist_question_views.question, {"capability": "nl_detection"}, name="ask_detection"),
    path("assist/tuning/", assist_question_views.question, {"capability": "detection_loop"}, name="ask_tuning"),
    path("assist/phishing/", assist_question_views.question, {"capability": "phishing"}, name="ask_phishing"),
    path("assist/translation/", assist_question_views.question, {"capability": "translation"}, name="ask_translation"),
    path("favicon.ico", RedirectView.as_view(url=lazy(static, str)("console/favicon.svg"))),
]
