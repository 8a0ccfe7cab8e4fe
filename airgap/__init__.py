"""The egress core: decides what may leave this network, enforces it and keeps the trail. Imports no other app."""
