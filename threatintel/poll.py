"""One poll of one feed, from claim to finished run. The task, the command and the page's button all come here."""

import time
from dataclasses import dataclass
from datetime import timedelta

import httpx
import structlog
from django.db import DatabaseError, DataError

from airgap.active import active_policy
from airgap.transport import AirgapBlocked, BodyTooLarge, RedirectRefused, gated_client
from threatintel import runs
from threatintel.ingest import ingest, load_cursor
from threatintel.models import FeedRun
from threatintel.schedule import feed_host
from threatintel.specs import FeedError, FeedSpec

FEED_POLLED = "feed.polled"
FEED_FAILED = "feed.failed"
WAIT = 20.0  # seconds without a byte before a poll gives up
DEADLINE = 120.0  # seconds for one request of a poll

BUDGET = 180.0  # seconds of one run, below the task's limits; what is left over is another run's
MAX_BYTES = 64 * 1024 * 1024  # of one answer, after decompression

MORE = "There is more than one run may take; the next one goes on from here."

log = structlog.stdlib.get_logger("threatintel")
State = FeedRun.State


@dataclass(frozen=True, slots=True)
class Polled:
    """How a poll ended: the run's state and, unless it is ok, the reason."""

    state: State
    reason: str
    run: FeedRun


def poll(spec: FeedSpec, slot: str, *, retry: bool = True) -> Polled | None:
    """Claim the run of `slot` and do it. None when there is nothing to do: done, not due, or another worker has it.

    Every failure ends as a reason on the run, never as an exception of the other side; DatabaseError passes through, and
    the run is then found again when its lease has passed. retry=False makes the first failure final.
    """
    run = runs.claim(spec.name, slot)
    if run is None:
        return None
    try:
        with runs.lease_kept(run):
            _work(run, spec, retry=retry)
    except runs.ClaimLost:
        log.warning("feed.claim_lost", feed=spec.name, run=run.pk, attempt=run.attempt)
        return None
    return Polled(State(run.state), run.reason, run)


def _work(run: FeedRun, spec: FeedSpec, *, retry: bool) -> None:
    decision = active_policy().decide_url(spec.url)
    if not decision.allowed:  # the schedule has no such feed; a worker under another policy than beat still refuses
        _end(run, State.REFUSED, decision.reason, rule=decision.rule.value)
        return
    try:
        with gated_client(
            purpose=f"feed.{spec.name}", timeout=WAIT, deadline=DEADLINE, max_bytes=MAX_BYTES, headers=dict(spec.headers), auth=spec.auth
        ) as client:
            finished = ingest(run, spec, spec.fetch(client, spec, load_cursor(spec)), until=time.monotonic() + BUDGET)
    except AirgapBlocked as blocked:
        _end(
            run,
            State.FAILED,
            f"{feed_host(spec)} sent the poll on to a place that is refused: {blocked.decision.reason}",
            rule=blocked.decision.rule.value,
        )
    except FeedError as error:
        _retry(run, str(error), retry=retry, after=error.after)
    except httpx.HTTPError as error:
        _retry(run, f"{feed_host(spec)}: {plain_error(error)}", retry=retry)
    except DataError as error:
        log.exception(FEED_FAILED, feed=spec.name, run=run.pk)
        _retry(run, f"The feed holds a value that the database does not take ({type(error).__name__}); see the log.", retry=retry)
    except (runs.ClaimLost, DatabaseError):
        raise
    except Exception as error:
        log.exception(FEED_FAILED, feed=spec.name, run=run.pk)
        _retry(run, f"The feed's answer could not be processed ({type(error).__name__}); see the log.", retry=retry)
    else:
        _end(run, State.OK, "" if finished else MORE)
        if not finished:
            runs.open_run(run.feed, f"{run.slot[:60]}+{run.pk}")  # the scheduler finds and sends it


def _end(run: FeedRun, state: State, reason: str, *, rule: str = "") -> None:
    runs.finish(run, state, reason=reason, rule=rule)
    counts = {name: getattr(run, name) for name in runs.COUNTS}
    seconds = round((run.finished_at - run.started_at).total_seconds(), 3) if run.finished_at and run.started_at else None
    if state is State.OK:
        log.info(FEED_POLLED, feed=run.feed, run=run.pk, attempt=run.attempt, seconds=seconds, **counts)
    else:
        log.warning(FEED_FAILED, feed=run.feed, run=run.pk, attempt=run.attempt, reason=reason, rule=rule, final=True)


def _retry(run: FeedRun, reason: str, *, retry: bool, after: float = 0.0) -> None:
    run.refresh_from_db(fields=runs.COUNTS)  # what was stored: the page that failed is not
    if not retry:
        _end(run, State.FAILED, reason)
        return
    runs.retry_or_fail(run, reason, after=timedelta(seconds=after))
    log.warning(FEED_FAILED, feed=run.feed, run=run.pk, attempt=run.attempt, reason=reason, final=run.state == State.FAILED)


def plain_error(error: httpx.HTTPError) -> str:
    """What went wrong, in words, without a URL."""
    match error:
        case httpx.ConnectTimeout() | httpx.ReadTimeout() | httpx.WriteTimeout() | httpx.PoolTimeout():
            return f"no answer in time ({type(error).__name__})."
        case httpx.ConnectError():
            return "no connection; is the mirror up, and the name right?"
        case httpx.TooManyRedirects():
            return "too many redirects."
        case BodyTooLarge() | RedirectRefused() | httpx.DecodingError():
            return str(error)
        case _:  # the text of other errors quotes what the server sent
            return f"the exchange broke off ({type(error).__name__})."
