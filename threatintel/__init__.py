"""Threat intelligence inside the wall: feeds from mirrors, indicators, lookups."""
