"""A metrics page as tests look at it."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass

from functional.daemon import Daemon
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One number of a page."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float

    @property
    def label_names(self) -> set[str]:
        return {name for name, _ in self.labels}


class Page:
    """What a page in Prometheus' text format says."""

    def __init__(self, text: str) -> None:
        self.text = text
        # A counter's family is parsed without its "_total", which is part of its name for us.
        self.families = {
            f"{family.name}_total" if family.type == "counter" else family.name: family
            for family in text_string_to_metric_families(text)
        }
        self.samples = [
            Sample(name=each.name, labels=tuple(sorted(each.labels.items())), value=each.value)
            for family in self.families.values()
            for each in family.samples
        ]

    @property
    def names(self) -> set[str]:
        """Every name that a query may use."""
        return {sample.name for sample in self.samples} | {
            name for name, family in self.families.items() if family.type != "histogram"
        }

    def labels(self, name: str) -> set[str]:
        """The labels of a metric, without a histogram's own."""
        names = {name, *(f"{name}_{part}" for part in ("bucket", "count", "sum"))}
        found = [sample.label_names for sample in self.samples if sample.name in names]
        return set().union(*found) - {"le"}

    def value(self, name: str, **labels: str) -> float:
        """The number with these labels; 0 for one that has not come up yet."""
        wanted = tuple(sorted(labels.items()))
        assert name in self.names, name
        return sum(s.value for s in self.samples if (s.name, s.labels) == (name, wanted))

    def total(self, name: str, **labels: str) -> float:
        """The sum over all that have at least these labels."""
        assert name in self.names, name
        return sum(
            s.value
            for s in self.samples
            if s.name == name and labels.items() <= dict(s.labels).items()
        )


def address(daemon: Daemon) -> str:
    """The URL of a daemon's health and metrics."""
    (line, *_) = daemon.wait_for("health and metrics on")
    return f"http://{line.rpartition(' ')[2]}"


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields and body of an answer, good or bad."""
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def page_of(daemon: Daemon) -> Page:
    """The metrics page of a daemon, as it is now."""
    status, _, text = ask(f"{address(daemon)}/metrics")
    assert status == 200
    return Page(text.decode())
