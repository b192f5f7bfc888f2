"""Addresses: the admin for now; panel and API come with their own issue."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
