"""Makes docs/screenshots/ from a running deployment: `python docs/make_screenshots.py http://127.0.0.1:8000 --user alice --password …`.

With --tenants, the pages of tenants' connections alone.
With --state NAME, for a deployment that was brought into a state (a silent process, a guard that only reports): what the
verdict, the processes and Blocked egress say of it, in files that carry the name.

The pictures in the repository have 256 colours each, so that they stay small.

With --intel VALUE, for a deployment whose feeds were polled: the feeds, one of them, a file before its import, and indicators, of which
VALUE is one.
"""

import argparse
import json
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
OUT = Path(__file__).resolve().parent / "screenshots"
ARGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-lcd-text"]
WIDTH, HEIGHT, MARGIN = 1280, 800, 24
NARROW = 400
VERDICT = 320  # height in which the verdict of a page is seen
OPENED = ("api.openai.com", "134744072")  # groups of Blocked egress whose "Why and what to do" is shown, where they occur


CARRIED = {
    "type": "bundle",
    "id": "bundle--3f0c0d1a-54a1-4a3e-8b39-0d5c6f6d2a11",
    "objects": [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--3f0c0d1a-54a1-4a3e-8b39-0d5c6f6d2a{number:02d}",
            "created": "2026-05-01T00:00:00Z",
            "modified": "2026-05-01T00:00:00Z",
            "valid_from": "2026-05-01T00:00:00Z",
            "pattern": f"[domain-name:value = 'carried-{number}.evil.example']",
            "pattern_type": language,
        }
        for number, language in enumerate(("stix", "stix", "stix", "sigma"), 12)
    ],
}  # a file that somebody brings


def sign_in(page: Page, url: str, user: str, password: str) -> None:
    page.goto(f"{url}/login/")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Deployment & AI").wait_for()


def shoot(page: Page, url: str, theme: str, out: Path) -> None:
    page.goto(f"{url}/settings/deployment/")
    page.screenshot(path=out / f"deployment-{theme}.png", full_page=True)
    page.goto(f"{url}/settings/deployment/?host=https://api.openai.com/v1")
    shoot_part(page, "Try a host", out / f"try-a-host-{theme}.png")
    page.goto(f"{url}/settings/feeds/")
    page.locator("summary", has_text="Details of AlienVault OTX").click()
    rest(page)
    shoot_down_to(page, "Counts over time", out / f"feeds-{theme}.png")
    page.goto(f"{url}/settings/egress/")
    for host in OPENED:
        for summary in page.locator("summary", has_text=f"about {host}").all()[:1]:
            summary.click()
    rest(page)
    events = page.get_by_role("region", name="Events", exact=True).evaluate("part => part.getBoundingClientRect().y + scrollY")
    page.screenshot(path=out / f"egress-{theme}.png", full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": events + VERDICT})
    page.goto(f"{url}/settings/channels/")
    for summary in page.locator("summary", has_text="Details of").all()[:2]:
        summary.click()
    rest(page)
    page.screenshot(path=out / f"channels-{theme}.png", full_page=True)
    shoot_checklist(page, url, theme, out)
    page.set_viewport_size({"width": NARROW, "height": 2 * HEIGHT})
    page.goto(f"{url}/settings/egress/?span=7d")
    page.screenshot(path=out / f"egress-narrow-{theme}.png")


def shoot_checklist(page: Page, url: str, theme: str, out: Path) -> None:
    """Down to the sign-off."""
    page.goto(f"{url}/settings/checklist/")
    rest(page)
    shoot_down_to(page, "Report and sign-off", out / f"checklist-{theme}.png")


def shoot_tenants(page: Page, url: str, theme: str, out: Path) -> None:
    """The list, and of the first tenant that the gate refuses its page with a preview."""
    page.goto(f"{url}/settings/tenants/")
    rest(page)
    page.screenshot(path=out / f"tenants-{theme}.png", full_page=True)
    page.goto(f"{url}/settings/tenants/?gate=refused")
    page.get_by_role("region", name="Tenants, table").get_by_role("link").first.click()
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="If it were saved").wait_for()
    rest(page)
    page.screenshot(path=out / f"tenant-{theme}.png", full_page=True)


def shoot_state(page: Page, url: str, name: str, theme: str, out: Path) -> None:
    page.goto(f"{url}/settings/deployment/")
    page.screenshot(path=out / f"deployment-{name}-{theme}.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": VERDICT})
    shoot_part(page, "Processes", out / f"processes-{name}-{theme}.png")
    page.goto(f"{url}/settings/egress/")
    page.screenshot(path=out / f"egress-{name}-{theme}.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": 2 * VERDICT})


def shoot_intel(page: Page, url: str, value: str, theme: str, out: Path) -> None:
    page.goto(f"{url}/settings/feeds/")
    page.screenshot(path=out / f"feeds-polled-{theme}.png", full_page=True)
    page.goto(f"{url}/settings/feeds/kev/")
    page.screenshot(path=out / f"feed-{theme}.png", full_page=True)
    page.goto(f"{url}/settings/feeds/import/")
    page.get_by_label("Kind").select_option("stix")
    content = json.dumps(CARRIED).encode()
    page.get_by_label("File, plain or gzip").set_input_files({"name": "carried.json", "mimeType": "application/json", "buffer": content})
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="What it would change").wait_for()
    rest(page)
    page.screenshot(path=out / f"import-{theme}.png", full_page=True)
    page.goto(f"{url}/settings/indicators/")
    page.screenshot(path=out / f"indicators-{theme}.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": 2 * HEIGHT}, full_page=True)
    page.goto(f"{url}/settings/indicators/?q={value}")
    page.get_by_role("link", name="Details").first.click()
    page.get_by_role("heading", level=1).wait_for()
    page.screenshot(path=out / f"indicator-{theme}.png", full_page=True)
    page.goto(f"{url}/settings/indicators/many/")
    page.get_by_label("Values, a line each").fill(f"{value}\nhxxp://nobody[.]example/a\n203.0.113.77\nno observable at all")
    page.get_by_role("button", name="Look up").click()
    page.get_by_role("heading", name="Answer").wait_for()
    rest(page)
    page.screenshot(path=out / f"many-{theme}.png", full_page=True)


def shoot_down_to(page: Page, heading: str, path: Path) -> None:
    """The page above a heading."""
    end = page.get_by_role("heading", name=heading).evaluate("part => part.getBoundingClientRect().y + scrollY")
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": end - MARGIN})


def shoot_part(page: Page, title: str, path: Path) -> None:
    """One part of a page, framed."""
    box = page.get_by_role("region", name=title, exact=True).evaluate("part => part.getBoundingClientRect().toJSON()")
    framed = {"x": box["x"] - MARGIN, "y": box["y"] + page.evaluate("scrollY"), "width": box["width"] + 2 * MARGIN, "height": box["height"] + MARGIN}
    page.screenshot(path=path, full_page=True, clip=framed)


def rest(page: Page) -> None:
    """No pointer and no focus in the picture."""
    page.mouse.move(0, 0)
    page.locator("main").evaluate("element => element.focus()")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("url")
    arguments.add_argument("--user", required=True)
    arguments.add_argument("--password", required=True)
    arguments.add_argument("--state", default="", help="shoot this state alone")
    arguments.add_argument("--intel", default="", metavar="VALUE", help="shoot the threat-intel pages alone; an indicator that is known")
    arguments.add_argument("--tenants", action="store_true", help="shoot the pages of tenants alone")
    arguments.add_argument("--out", type=Path, default=OUT)
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=theme, timezone_id="UTC")
            sign_in(page, given.url.rstrip("/"), given.user, given.password)
            if given.intel:
                shoot_intel(page, given.url.rstrip("/"), given.intel, theme, given.out)
            elif given.tenants:
                shoot_tenants(page, given.url.rstrip("/"), theme, given.out)
            elif given.state:
                shoot_state(page, given.url.rstrip("/"), given.state, theme, given.out)
            else:
                shoot(page, given.url.rstrip("/"), theme, given.out)
        browser.close()


if __name__ == "__main__":
    main()
