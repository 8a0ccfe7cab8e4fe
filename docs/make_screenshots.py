"""Makes docs/screenshots/ from a running deployment: `python docs/make_screenshots.py http://127.0.0.1:8000 --user alice --password …`."""

import argparse
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
OUT = Path(__file__).resolve().parent / "screenshots"
ARGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-lcd-text"]
WIDTH, HEIGHT, MARGIN = 1280, 800, 24


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
    box = page.get_by_role("region", name="Try a host").evaluate("part => part.getBoundingClientRect().toJSON()")
    framed = {"x": box["x"] - MARGIN, "y": box["y"], "width": box["width"] + 2 * MARGIN, "height": box["height"] + MARGIN}
    page.screenshot(path=out / f"try-a-host-{theme}.png", full_page=True, clip=framed)
    page.goto(f"{url}/settings/feeds/")
    for summary in page.locator("summary", has_text="Details of").all():
        summary.click()
    page.mouse.move(0, 0)
    page.locator("main").evaluate("element => element.focus()")
    page.screenshot(path=out / f"feeds-{theme}.png", full_page=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("url")
    arguments.add_argument("--user", required=True)
    arguments.add_argument("--password", required=True)
    arguments.add_argument("--out", type=Path, default=OUT)
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=theme, timezone_id="UTC")
            sign_in(page, given.url.rstrip("/"), given.user, given.password)
            shoot(page, given.url.rstrip("/"), theme, given.out)
        browser.close()


if __name__ == "__main__":
    main()
