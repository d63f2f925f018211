"""Checks that the dashboard and the alerts of the chart name only metrics that the operator has."""

import json
import pathlib
import re
import sys

CHART = pathlib.Path(sys.argv[1])
SOURCES = [pathlib.Path("src/telemetry") / name for name in ("metrics.rs", "keys.rs")]
NAME = re.compile(r"\bkeystead_[a-z_]+")


def known():
    """The names in the tests of the metrics, which compare them with what is served."""
    names = {name for source in SOURCES for name in NAME.findall(source.read_text())}
    return names | {name.removesuffix("_bucket") for name in names}


def main():
    dashboard = json.loads((CHART / "dashboards/keystead.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert targets, "the dashboard shows nothing"
    texts = [target["expr"] for target in targets]
    rules = (CHART / "rules/alerts.yaml").read_text()
    texts += re.findall(r"expr:.*?(?=\n    \w)", rules, re.DOTALL)
    unknown = {name for text in texts for name in NAME.findall(text)} - known()
    assert not unknown, f"no such metrics: {sorted(unknown)}"
    print(f"the dashboard has {len(dashboard['panels'])} panels; all metrics of it and of the alerts exist")


main()
