"""Notifications: channels of several kinds behind one registry, and deliveries that are kept, tried again and never told as sent when they are not."""
