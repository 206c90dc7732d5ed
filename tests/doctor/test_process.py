"""A function in a fresh process: its answer, and what becomes of crashes, hangs and chatter."""

import os
import sys

import pytest

from icmh_plugins.doctor.process import run

LIMIT = 120.0


@pytest.fixture
def call(site):
    """Run the body of a function in a process."""

    def run_body(body, *arguments, **options):
        site.module("helper", f"import os, signal, sys, time\ndef work(*arguments):\n    {body}")
        return run("helper:work", *arguments, **{"timeout": LIMIT, **options})

    return run_body


def test_the_answer_comes_back(call):
    assert call("return {'got': arguments}", "a", "b c") == {"got": ["a", "b c"]}


def test_it_sees_the_same_packages_and_more_variables(call, monkeypatch):
    answer = call("return {'path': sys.path, 'mine': os.environ['MINE']}", variables={"MINE": "x"})
    assert answer == {"path": sys.path, "mine": "x"}
    assert "MINE" not in os.environ


def test_chatter_does_not_spoil_it(call):
    assert call("print('hello'); os.write(1, b'from C'); sys.stdout.flush(); return {}") == {}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the process was killed by SIGSEGV"),
        ("os._exit(3)", "the process ended with code 3"),
        ("raise OSError('no such file')", "the process ended with code 1. OSError: no such file"),
    ],
)
def test_a_crash_is_an_answer(call, body, message):
    assert call(body)["error"].startswith(message)


def test_a_hang_is_an_answer(call):
    assert call("time.sleep(60)", timeout=0.5) == {"error": "no answer within 0.5 seconds"}
