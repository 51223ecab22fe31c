"""The page in a real browser: it needs no network, judges as Python does, and shows, plays, filters and saves."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
import shutil
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from test_report import NUMBER, STUDY, Synthetic

from lossybench.analysis import tables, verdicts
from lossybench.analysis.intervals import Interval
from lossybench.artifacts import read_meta, read_table
from lossybench.reporting import costs, page
from lossybench.reporting.summary import ACCEPTED, VERDICT_ORDER, Summary, amount, where, worst_limits
from lossybench.tools.show import show

HOSTILE = "<script>hacked = 1</script><img src=x onerror='hacked = 1'> \"'&amp; \u202eÜ ${hacked = 1}" + "x" * 300
MARGINS = (0.05, 0.5, 1.0, 1.7, 2.0, 3.3, 5.0, 8.0, 20.0, 95.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with index.html, of which one task is not finished, and the summaries it was made of."""
    root = tmp_path_factory.mktemp("study")
    both = ("original", "adversarial")
    made = {
        "digits": Synthetic("classification", "image", adversarial=True, attacked=both),
        "words": Synthetic("classification", "audio", meta={"few": ["speaker", 6], "groups": {"speaker": 6}}),
        "clips": Synthetic("detection", "video", attacks=False, archs=1),
    }
    for row in made["words"].tables["conditions"]:
        row["title"] = HOSTILE if row["codec"] == "opus" else row["title"]
    made["words"].meta["card"] = {"source": HOSTILE}
    summaries = [synthetic.write(root / "summary" / name) for name, synthetic in made.items()]
    (root / "samples").mkdir()
    (root / "samples/words.json").write_text(json.dumps({"cells": list(_cells())}))
    left = {"left": {"late": "3 of 12 test parts compressed; no summary of them"}}
    samples = [root / "samples" / f"{name}.json" for name in made]
    page.write([*summaries, root / "summary/late"], [], samples, STUDY | left, root / "index.html")
    return root


def _cells() -> Iterator[dict[str, Any]]:
    """A tone of a second, as of the original and of two levels, and a grey picture of each."""
    tone = (8000 * np.sin(np.arange(8000) / 3)).astype(np.int16)
    sound = io.BytesIO()
    soundfile.write(sound, tone, 8000, format="FLAC")
    media = "data:image/gif;base64,R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs="
    played = f"data:audio/flac;base64,{base64.b64encode(sound.getvalue()).decode()}"
    for codec, level, label in (("original", 0, "original"), ("opus", 32, "32 kb/s"), ("opus", 6, "6 kb/s")):
        about = {"item": HOSTILE, "truth": HOSTILE, "codec": codec, "level": level, "label": label}
        yield about | {"note": f"{level} kb/s", "media": media, "sound": played}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The system's browser, which is never downloaded, without a network."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the extra dev")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("needs a browser: Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    flags = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--mute-audio")
    for flag in (*flags, "--window-size=1280,1000", "--autoplay-policy=no-user-gesture-required"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.downloads = tmp_path_factory.mktemp("downloads")
    saved = {"behavior": "allow", "downloadPath": str(found.downloads)}
    found.execute_cdp_cmd("Browser.setDownloadBehavior", saved)
    found.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    found.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield found
    found.quit()


@pytest.fixture
def browser(chromium: Any, study: Path) -> Any:
    """The browser with the page just opened. After the test its console has to be free of errors."""
    chromium.get(f"{(study / 'index.html').as_uri()}?{time.monotonic()}")
    assert chromium.execute_script("return document.documentElement.dataset.ready") == "yes"
    yield chromium
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def until(condition: Callable[[], Any]) -> Any:
    """What the condition is once it holds."""
    for _ in range(300):
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail("it never came true")


def choose(browser: Any, **choice: Any) -> None:
    """Set controls as a user does."""
    browser.execute_script(
        "for (const [id, value] of Object.entries(arguments[0])) { const control = document.getElementById(id);"
        " control.value = value; control.dispatchEvent(new Event('input', {bubbles: true})) }",
        choice,
    )


def texts(browser: Any, selector: str) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)", selector
    )


def test_the_page_asks_no_network_and_names_stay_texts(browser: Any) -> None:
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)") is None
    until(lambda: "tone" not in texts(browser, "#task-1 [data-part=samples] output"))
    assert browser.execute_script("return typeof hacked") == "undefined"
    assert browser.execute_script("return document.querySelectorAll('[onerror], main script').length") == 0
    visible = HOSTILE.replace("\u202e", "\\u202e")
    assert any(visible in cell for cell in texts(browser, "#task-1 .codecs td"))
    assert visible in texts(browser, "#provenance dd") and visible[:60] in "".join(texts(browser, "option"))


def limits_by_python(summary: Path, delta: float) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """The verdict, the limit, that for all codecs at once and the level that failed, by the functions of analysis."""
    of = Summary(summary)
    above = {(row["arch"], row["regime"], row["baseline"]): row["above_chance"] for row in of.limits.to_dict("records")}
    found: dict[tuple[str, ...], tuple[Any, ...]] = {}
    rows = of.differences[of.differences["codec"] != "original"].sort_values("strength", kind="stable")
    for (arch, regime, baseline, codec), sequence in rows.groupby(["arch", "regime", "baseline", "codec"]):
        margin, shown = delta / 100, above[arch, regime, baseline]
        judged, joint = [], []
        for row in sequence.to_dict("records"):
            interval = Interval(*(row[name] for name in ("low", "high", "lower", "upper", "joint")))
            judged.append(verdicts.verdict(interval, margin, shown, bool(of.few)))
            joint.append(row["joint"] > -margin and shown > margin)
        levels = [*sequence["level"], None]
        passed, jointly = verdicts.fixed_sequence([one in ACCEPTED for one in judged]), verdicts.fixed_sequence(joint)
        stop = levels[passed] if passed < len(judged) and judged[passed] != "no reference" else None
        at = levels[passed - 1] if passed else None, levels[jointly - 1] if jointly else None
        found[arch, regime, baseline, codec] = (judged[0], *at, stop)
    return found


def test_verdicts_are_those_of_python_at_every_margin(browser: Any, study: Path) -> None:
    script = """const task = lossybench.tasks.find(one => one.name === arguments[0]), found = [];
    for (const of of task.references) for (const codec of task.codecs) {
      const limit = lossybench.limitOf(task, of.arch, of.regime, of.baseline, codec.name, arguments[1]), level = row => row ? row.level : null;
      found.push([of.arch, of.regime, of.baseline, codec.name, limit.verdict, level(limit.row), level(limit.joint), level(limit.stop)]);
    } return found"""  # noqa: E501
    seen = set()
    for name in ("digits", "words", "clips"):
        summary = study / "summary" / name
        # Margins that are a bound, and their neighbours, on whichever side rounding puts them.
        bounds = (-100 * Summary(summary).differences["lower"]).sample(12, random_state=1)
        edges = [edge for bound in bounds if bound > 0 for edge in (bound, math.nextafter(bound, 0), bound + 1e-9)]
        for delta in (*MARGINS, *edges):
            asked = {tuple(row[:4]): tuple(row[4:]) for row in browser.execute_script(script, name, delta)}
            told = limits_by_python(summary, delta)
            assert asked == told, (name, delta)
            seen |= {row[0] for row in told.values()}
        for row in Summary(summary).limits.to_dict("records"):  # which were judged apart from either
            asked = {tuple(one[:4]): one[4:] for one in browser.execute_script(script, name, row["delta"])}
            level = None if math.isnan(row["level"]) else row["level"]
            assert asked[row["arch"], row["regime"], row["baseline"], row["codec"]][:2] == [row["verdict"], level]
    assert seen == set(VERDICT_ORDER)


def test_moving_the_margin_changes_a_verdict_to_what_python_says(browser: Any, study: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    chips = []
    for delta in MARGINS:
        choose(browser, delta=delta, codec="hevc")
        (chip, *_), _ = texts(browser, ".verdict"), texts(browser, ".answer")
        ranked = limits_by_python(study / "summary/digits", delta)
        own = [
            row[0]
            for (_, regime, of, codec), row in ranked.items()
            if (regime, of, codec) == ("original", "own", "hevc")
        ]
        assert chip.split(" ", 1)[1] == min(own, key=VERDICT_ORDER.index)
        chips.append(chip)
    assert len(set(chips)) >= 3
    choose(browser, codec="", delta=2)
    slide = browser.find_element("id", "slide")
    slide.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)  # by the keyboard
    assert browser.execute_script("return lossybench.choice.delta") > 2
    assert "delta=" in browser.current_url and browser.find_element("id", "moved").is_displayed()
    browser.find_element("id", "reset").click()
    assert browser.execute_script("return lossybench.choice.delta") == 2


def test_the_answer_picks_the_codec_and_level_that_the_recommendations_pick(browser: Any, study: Path) -> None:
    for place, name in enumerate(("digits", "words", "clips")):
        of = Summary(study / "summary" / name)
        jointly = worst_limits(of, jointly=True)
        shown = jointly[jointly["verdict"].isin(ACCEPTED)].sort_values("rate", kind="stable")
        said = browser.execute_script(f"return document.querySelector('#task-{place} .answer').textContent")
        if shown.empty:
            assert said.startswith("Nothing is shown to cost at most 2 points.")
            continue
        best = shown.iloc[0]
        times, rate = (amount(best[column]) for column in ("ratio", "rate"))
        assert f" at {best['label']}: {rate} " in said and f"{times} times smaller than raw" in said
        # What may be lost is the bound for all codecs at once, of the architecture for which that is most.
        at = where(of.differences, codec=best["codec"], level=best["level"], baseline="own", regime="original")
        assert said.endswith(f", at most {-100 * at['joint'].min():.1f}.")


def test_every_number_of_the_answers_stands_in_the_tables(browser: Any, study: Path) -> None:
    for place, name in enumerate(("digits", "words", "clips")):
        known = {"95"}
        for table in tables.SCHEMAS:
            rows = read_table(study / "summary" / name / f"{table}.parquet").to_pandas()
            for column in rows.columns:
                for value in rows[column].dropna().unique():
                    if isinstance(value, str):
                        known |= set(NUMBER.findall(value))
                    elif math.isfinite(value):
                        known |= {f"{value:g}", f"{value:,.0f}", amount(abs(value)), f"{abs(100 * value):.1f}"}
                        if column.startswith("saving") and value < 1:  # "11 times smaller than PNG"
                            times = 1 / (1 - value)
                            known |= {amount(max(times, 1 / times))}
        known |= {"6"}  # of the speakers, who stand in the tables' meta
        for delta in (0.5, 2, 5, 20):
            choose(browser, delta=delta)
            for part in ("answer", "certainty"):
                said = browser.execute_script(f"return document.querySelector('#task-{place} .{part}').textContent")
                said = re.sub("mAP@0.5|H.264|JPEG 2000", "", said.replace(HOSTILE.replace("\u202e", "\\u202e"), ""))
                found = set(NUMBER.findall(said))
                assert found and found <= known | {f"{delta:g}"}, said


def test_a_task_that_is_not_finished_says_what_is_missing_and_shows_no_zero(browser: Any) -> None:
    (card,) = texts(browser, "#task-3")
    assert "There is no answer yet: 3 of 12 test parts compressed; no summary of them." in card
    assert re.findall(r"\d+", card) == ["3", "12"]  # and no other number
    assert "3 of 4 tasks have results" in texts(browser, "header")[0]
    assert not any("late" in cell for cell in texts(browser, "#limits td, #across td"))
    # What was not timed is not shown as nothing either.
    browser.execute_script("document.querySelectorAll('#task-0 details').forEach(one => one.open = true)")
    headings = texts(browser, "#task-0 [data-part=levels] th")
    at = headings.index("decoding, ms")
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#task-0 [data-part=levels] tbody tr')]"
        ".map(row => row.cells[arguments[0]].textContent)",
        at,
    )
    assert len(rows) == 31 and set(rows) == {"–"}


def test_a_page_without_any_result_says_so(chromium: Any, tmp_path: Path) -> None:
    page.write([tmp_path / "first"], [], [], STUDY, tmp_path / "index.html")
    chromium.get((tmp_path / "index.html").as_uri())
    assert chromium.execute_script("return document.documentElement.dataset.ready") == "yes"
    said = texts(chromium, "#task-0")[0]
    assert (
        "There is no answer yet: no summary: conditions.parquet, " in said
        and "0 of 1 task" in texts(chromium, "header")[0]
    )
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_table_of_limits_sorts_and_filters(browser: Any, study: Path) -> None:
    rows = browser.execute_script("return document.querySelectorAll('#limits tbody tr').length")
    wanted = 0
    for name in ("digits", "words", "clips"):
        of = Summary(study / "summary" / name)
        twice = (of.limits["baseline"] == "best") & (of.limits["regime"] == "original")
        twice &= of.limits["arch"] == of.limits["reference_arch"]
        wanted += int((~twice & (of.limits["delta"] == 2)).sum())
    assert rows == wanted  # the best model trained on originals is its own baseline either way, and stands there once
    filter_ = browser.find_element("css selector", "#limits input[type=search]")
    filter_.send_keys("clips hevc")
    left = texts(browser, "#limits tbody tr")
    assert left and all("clips" in row and "HEVC" in row for row in left) and len(left) < rows
    filter_.clear()
    filter_.send_keys(" ")
    heading = next(one for one in browser.find_elements("css selector", "#limits th button") if one.text == "rate")
    heading.click()
    place = texts(browser, "#limits th").index("rate")
    column = browser.execute_script(
        "return [...document.querySelectorAll('#limits tbody tr')].map(row => row.cells[arguments[0]].textContent)",
        place,
    )
    rates = [float(cell.replace(",", "")) for cell in column if cell != "–"]
    assert rates == sorted(rates) and column[-1] == "–"
    assert (
        browser.find_element("css selector", f"#limits th:nth-child({place + 1})").get_attribute("aria-sort")
        == "ascending"
    )


def test_charts_are_saved_as_svg_and_their_data_as_csv(browser: Any, study: Path) -> None:
    buttons = browser.find_elements("css selector", "#task-0 .small .tools button")
    for button in buttons:
        browser.execute_script("arguments[0].click()", button)
    picture, data = (browser.downloads / f"digits_loss.{form}" for form in ("svg", "csv"))
    until(lambda: picture.exists() and data.exists() and picture.stat().st_size and data.stat().st_size)
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    rows = list(csv.DictReader(io.StringIO(data.read_text())))
    of = where(Summary(study / "summary/digits").differences, regime="original", baseline="own")
    lossy = of[of["codec"] != "original"].sort_values("lower").drop_duplicates(["codec", "level"])
    assert sorted(float(row["change"]) for row in rows) == pytest.approx(sorted(100 * lossy["difference"]), rel=1e-5)
    browser.execute_script(
        "[...document.querySelectorAll('#limits button')].find(one => one.textContent === 'CSV').click()"
    )
    saved = browser.downloads / "limits.csv"
    until(lambda: saved.exists() and saved.stat().st_size)
    assert len(list(csv.reader(io.StringIO(saved.read_text())))) > 40


def test_a_sound_plays_and_the_slider_goes_over_the_levels(browser: Any) -> None:
    part = "#task-1 [data-part=samples]"
    browser.execute_script(f"document.querySelector('{part}').closest('details').open = true")
    until(lambda: texts(browser, f"{part} output") == ["32 kb/s"])
    choose_level = (
        "const slide = document.querySelector(arguments[0]); slide.value = 1; slide.dispatchEvent(new Event('input'))"
    )
    browser.execute_script(choose_level, f"{part} input[type=range]")
    assert texts(browser, f"{part} output") == ["6 kb/s"] and len(texts(browser, f"{part} audio")) == 2
    browser.execute_script(f"document.querySelectorAll('{part} audio')[1].play()")
    until(lambda: browser.execute_script(f"return document.querySelectorAll('{part} audio')[1].currentTime > 0.1"))


def test_attacks_are_told_verdict_first(browser: Any) -> None:
    rows = until(lambda: texts(browser, "#attacked [data-task='0'] [data-part=attacked] tbody tr"))
    assert len(rows) == 5 and any("no defence" in row for row in rows) and all("hole" in row for row in rows)
    order = browser.execute_script(
        "const at = document.querySelector(\"#attacked [data-task='0']\"), place = one => at.innerHTML.indexOf(one);"
        "return [place('no defence'), place('class=\"plot\"'), place('Method: models')]"
    )
    assert order == sorted(order) and order[0] >= 0
    terms = browser.execute_script("return [...document.querySelectorAll('a[href^=\"#g-\"]')].map(one => one.hash)")
    assert terms and all(browser.execute_script("return !!document.querySelector(arguments[0])", one) for one in terms)


def test_hovering_tells_what_a_point_is(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    spot = browser.find_element("css selector", "#task-0 .small .plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", spot)
    until(lambda: spot.get_attribute("data-drawn"))
    mark = browser.find_elements("css selector", "#task-0 .small .role-mark path[aria-label*='level: QF 75']")[-1]
    ActionChains(browser).move_to_element(mark).perform()
    told = until(lambda: " ".join(texts(browser, "#vg-tooltip-element.visible")))
    for word in ("level", "rate", "accuracy", "bytes on disk", "decoding", "["):
        assert word in told, told


def test_it_fits_a_phone_and_paper_and_follows_the_dark(browser: Any) -> None:
    def background() -> str:
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    light = background()
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    assert background() != light
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    for width in (390, 1280):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    paper = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(paper["data"]).startswith(b"%PDF") and len(paper["data"]) > 50_000


def test_a_page_of_fifty_tasks_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples take what is left: as many whole codecs as fit, and the page says that some are left out."""
    first = Synthetic("classification", "image").write(tmp_path / "task0")
    kept = tmp_path / "samples.json"
    media = {"media": "data:image/webp;base64," + "A" * 20_000, "sound": "data:audio/flac;base64," + "A" * 100_000}
    cells = [{"item": item, "codec": f"c{codec}", **media} for item in "ab" for codec in range(9)]
    kept.write_text(json.dumps({"cells": cells}))
    folders, samples = [first], [tmp_path / "samples" / f"task{k}.json" for k in range(50)]
    (tmp_path / "samples").mkdir()
    for k, sample in enumerate(samples):
        sample.symlink_to(kept)
        if k:
            folders.append(tmp_path / f"task{k}")
            folders[-1].symlink_to(first)
    once = page.task(Summary(first), costs.timed([]).rows, STUDY["config"]["prices"])
    monkeypatch.setattr(page, "task", lambda *_: dict(once))  # fifty alike, made once
    page.write(folders, [], samples, STUDY, tmp_path / "index.html")
    assert (tmp_path / "index.html").stat().st_size < 30e6
    assert "samples are left out, for the size of this page" in (tmp_path / "index.html").read_text()
    assert read_meta(first / "limits.parquet")["medium"] == "image"


def test_show_makes_the_page_of_a_study_that_has_not_begun(tmp_path: Path) -> None:
    """It counts what is there, and makes nothing else."""
    shutil.copytree(Path(__file__).parents[1] / "config", tmp_path / "config")
    said = show(tmp_path / "config/smoke.yaml", out=tmp_path / "index.html")
    assert said == f"{tmp_path / 'index.html'} (open it in a browser)"
    lacks = re.findall(r'<p class="lacks">There is no answer yet: (.*?)\.</p>', (tmp_path / "index.html").read_text())
    assert len(lacks) == 3
    assert all("outcomes evaluated; " in one and one.endswith("no summary of them") for one in lacks)
