"""One file a kind of feed: fetch(client, spec, cursor) yields pages of records."""
