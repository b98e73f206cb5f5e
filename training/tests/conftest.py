"""Where everything must run, a skipped test is a failed one: `.ci/run` sets WHITTLE_TEST_ALL."""

from __future__ import annotations

import os

import pytest


def _required(report: pytest.TestReport | pytest.CollectReport) -> pytest.TestReport | pytest.CollectReport:
    everything = os.environ.get("WHITTLE_TEST_ALL", "") not in ("", "0")
    if everything and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"WHITTLE_TEST_ALL is set, and this was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _required((yield))
