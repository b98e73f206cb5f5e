"""Where everything must run, a skipped test is a failed one: `.ci/run` sets WHITTLE_TEST_ALL."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.skipped and os.environ.get("WHITTLE_TEST_ALL", "0") not in ("", "0"):
        report.outcome = "failed"
        report.longrepr = f"WHITTLE_TEST_ALL is set, and {item.nodeid} was skipped: {call.excinfo and call.excinfo.value}"
    return report
