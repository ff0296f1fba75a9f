"""Checks and studies: `nox` runs the checks, `nox -s NAME` one session."""

from __future__ import annotations

import shutil

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests", "regress"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

LOCK = "requirements-lock.txt"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Two test processes with a thread each are faster than one with two, and as repeatable as the pinned runs."""


def install(session: nox.Session) -> None:
    """The locked packages, their hashes checked, and this project on top."""
    session.install("--require-hashes", "-r", LOCK)
    session.install("--no-deps", "-e", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Style."""
    session.install("ruff>=0.9,<1")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types."""
    install(session)
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Every check of behaviour; `nox -s tests -- -k views` runs some of them.

    A file's tests stay in one process: what several of them share is trained once.
    """
    install(session)
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs, env=ONE_THREAD)


@nox.session
def browser(session: nox.Session) -> None:
    """The leaderboard's page in a headless Chromium: the system's own, else the one that Playwright downloads."""
    install(session)
    session.install("playwright>=1.49,<2")
    if shutil.which("chromium") is None:
        session.run("playwright", "install", "chromium")
    session.run("pytest", "tests/leaderboard/test_site_browser.py", *session.posargs, env=ONE_THREAD)


@nox.session
def regress(session: nox.Session) -> None:
    """Whether the code still gives the numbers that it gave: the short sweep of results/reference, run again."""
    install(session)
    session.run("bench", "regress", *session.posargs)


@nox.session
def drift(session: nox.Session) -> None:
    """Study: `bench regress` catches three planted regressions, in two contexts each, and passes ten honest repeats."""
    install(session)
    session.run("python", "tests/studies/drift.py")


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: two methods, five seeds, a table."""
    install(session)
    session.run("bench", "run", "--methods", "ncp,amoc", "--seeds", "5", *session.posargs)


@nox.session
def kills(session: nox.Session) -> None:
    """Study: killed at 20 moments of pre-training, head and attack, a run ends with the bits of a straight one."""
    install(session)
    moments = {**ONE_THREAD, "BENCH_KILLS": "20"}
    session.run("pytest", "-s", "tests/executors/test_safety.py", "-k", "kill_9", *session.posargs, env=moments)


@nox.session
def held_out(session: nox.Session) -> None:
    """Study: accuracies on the held-out slice of `digits`, from which its settings were chosen."""
    install(session)
    methods = session.posargs or ["simclr,ncp,amoc", "--seeds", "100,101,102"]
    session.run("python", "tests/studies/held_out.py", *methods, env=ONE_THREAD)


@nox.session
def control(session: nox.Session) -> None:
    """Study: whether `ncp` and `amoc` beat the undefended control on `digits`, and whether every row is in order."""
    install(session)
    session.run("bench", "run", "--methods", "simclr,ncp,amoc", "--seeds", "5")
    session.run("python", "tests/studies/control.py", "runs", "simclr", "ncp", "amoc")


@nox.session
def cheats(session: nox.Session) -> None:
    """Study: plugins that look robust and are not, by the gates that catch them; minutes."""
    install(session)
    session.run("python", "tests/cheats", *(session.posargs or ["--gates", "all"]), env=ONE_THREAD)


@nox.session
def precision(session: nox.Session) -> None:
    """Study: whether pre-training in bfloat16 agrees with fp32 within seed noise on `digits`, five seeds."""
    install(session)
    session.run("bench", "run", "--methods", "simclr,ncp,amoc", "--seeds", "5", "--no-table")
    session.run("bench", "run", "--methods", "simclr,ncp,amoc", "--seeds", "5", "--precision", "bf16", "--no-table")
    session.run("python", "tests/studies/precision.py", "runs", "simclr", "ncp", "amoc")


@nox.session
def clustering(session: nox.Session) -> None:
    """Study: what clustering and memory banks cost beside an epoch of ResNet-18."""
    install(session)
    session.run("python", "tests/studies/clustering.py", *session.posargs, env=ONE_THREAD)
