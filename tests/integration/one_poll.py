"""One poll of the feed that is named, in a process that a test may kill. What a killed one left is taken over at once: its lease is passed."""

import os
import sys
from datetime import timedelta


def main(feed: str, slot: str) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")
    import django

    django.setup()
    from django.utils import timezone

    from threatintel import runs
    from threatintel.models import FeedRun
    from threatintel.poll import poll
    from threatintel.registry import feed_named

    spec = feed_named(feed)
    assert spec is not None, feed
    runs.open_run(feed, slot)
    FeedRun.objects.filter(state=runs.State.RUNNING).update(lease_until=timezone.now() - timedelta(seconds=1), attempt=1)
    ended = poll(spec, slot)
    assert ended is not None, "somebody else has the run"
    print(ended.state.value, ended.reason, ended.run.added, flush=True)
    return 0 if ended.state is runs.State.OK else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
