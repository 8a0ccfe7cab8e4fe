"""One file a kind of channel: how a message looks there, and what its answers mean."""
