"""Methods are found in the package, in entry points and in files; their settings are resolved, never guessed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.contract import Origin
from bench.data.profiles import PROFILES
from bench.errors import BenchError
from bench.registry import Registry, resolve
from bench.sweep import Schedule

HEAD = """
from bench.config import EpochLength, Positive, TrainingConfig
from bench.contract import Method

class Settings(TrainingConfig):
    epochs: EpochLength = 100
    batch_size: int = 8
    warmup: EpochLength = 10
    temperature: Positive = 0.5
    grid: tuple[int, int] = (1, 2)
"""
WHOLE = """
class {cls}(Method[Settings]):
    name = "{name}"
    Config = Settings
    PAPER = {{"cifar10": Settings(), "stl10": Settings(temperature=0.1)}}
    QUICK = {{"digits": Settings(epochs=4, warmup=1)}}

    def encoder(self, profile):
        raise NotImplementedError

    def pretrain(self, images, run):
        raise NotImplementedError
"""


def method(name: str = "mine", cls: str = "Mine") -> str:
    return WHOLE.format(name=name, cls=cls)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a Python file from parts of source text."""

    def write(path: str, *parts: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEAD + "".join(parts))
        return file

    return write


@pytest.fixture
def package(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of methods that holds `alpha.py`; each test has its own, under a name of its own."""
    name = f"methods_of_{tmp_path.name.replace('-', '_')}"
    write(f"{name}/__init__.py")
    write(f"{name}/alpha.py", method("alpha-one", "Alpha"))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def declare(folder: Path, **points: str) -> None:
    """Make `folder` look like an installed distribution with entry points."""
    info = folder / "plug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[bench.methods]\n{lines}\n")


def discover(package: str) -> Registry:
    return Registry.discover(package=package)


def names(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.entries]


class TestFinding:
    def test_a_file_dropped_into_the_package_is_enough(self, package: str, write: Write) -> None:
        write(f"{package}/beta.py", method("beta", "Beta"), method("gamma", "Gamma"))
        assert names(discover(package)) == ["alpha-one", "beta", "gamma"]
        assert discover(package).find("gamma").load().__name__ == "Gamma"

    @pytest.mark.parametrize("spelling", ["alpha-one", "alpha_one", "Alpha-One"])
    def test_spellings_of_a_name_are_one(self, package: str, spelling: str) -> None:
        assert discover(package).find(spelling).name == "alpha-one"

    def test_an_entry_point_is_found(self, package: str, write: Write, tmp_path: Path) -> None:
        write("plugged.py", method("delta", "Delta"))
        declare(tmp_path, delta="plugged:Delta")
        entry = discover(package).find("delta")
        assert entry.origin == "plugged:Delta of plug"
        assert entry.load().name == "delta"

    @pytest.mark.parametrize("suffix", ["", ":Mine"])
    def test_a_path_is_found_and_found_again_by_its_text(
        self, package: str, write: Write, suffix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        write("here/mine.py", method())
        monkeypatch.chdir(tmp_path / "here")
        entry = discover(package).find(f"./mine.py{suffix}")
        monkeypatch.chdir("/")
        assert discover(package).find(entry.text).load() is entry.load()

    def test_a_path_to_an_installed_method_is_that_method(self, package: str, tmp_path: Path) -> None:
        registry = discover(package)
        assert registry.find(str(tmp_path / package / "alpha.py")) is registry.find("alpha-one")

    def test_a_plugin_may_import_its_neighbour(self, package: str, write: Write) -> None:
        write("near/neighbour_of_mine.py", "number = 7\n")
        file = write("near/mine.py", "from neighbour_of_mine import number\n", method())
        assert discover(package).find(str(file)).load().name == "mine"

    def test_an_edited_file_is_loaded_anew(self, package: str, write: Write) -> None:
        first = discover(package).find(str(write("mine.py", method()))).load()
        second = discover(package).find(str(write("mine.py", method(), "    extra = 1\n"))).load()
        assert not hasattr(first, "extra")
        assert hasattr(second, "extra")

    def test_names_are_read_without_importing_anything(self) -> None:
        code = (
            "import sys; from bench.registry import Registry; from bench.errors import BenchError\n"
            "try: Registry.discover().find('ncpp')\n"
            "except BenchError as error: print(error)\n"
            "assert not {'torch', 'pandas', 'sklearn'} & set(sys.modules), 'heavy import'"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "did you mean 'ncp'?" in done.stdout


class TestErrorsOfFinding:
    def test_an_unknown_name_is_suggested(self, package: str) -> None:
        with pytest.raises(BenchError, match="unknown method 'alpha-on': did you mean 'alpha-one'"):
            discover(package).find("alpha-on")

    def test_two_plugins_of_one_name_are_both_named(self, package: str, write: Write, tmp_path: Path) -> None:
        write("plugged.py", method("alpha-one", "Other"))
        declare(tmp_path, alpha_one="plugged:Other")
        with pytest.raises(BenchError, match=r"claimed twice, by .*alpha.py and plugged:Other of plug: rename"):
            discover(package).find("alpha-one")

    def test_a_file_may_not_take_an_installed_name(self, package: str, write: Write) -> None:
        file = write("copy.py", method("alpha-one", "Copy"))
        with pytest.raises(BenchError, match=r"give the class in .*copy\.py another `name`"):
            discover(package).find(str(file))

    @pytest.mark.parametrize(
        ("source", "suffix", "message"),
        [
            ("", "", "holds no method: it needs a class derived from"),
            (method("a", "A") + method("b", "B"), "", r"several methods: say which, .*:A, .*:B"),
            (method(), ":Mein", r"unknown class of .* 'Mein': did you mean 'Mine'\? Available: Mine"),
            ("class Mine(Method[Settings]):\n    pass\n", "", "class Mine in .* has no `name`"),
            ("def broken(:\n", "", r"cannot be read as Python: invalid syntax .*mine.py, line 11"),
        ],
    )
    def test_a_file_without_one_method_says_what_it_has(
        self, package: str, write: Write, source: str, suffix: str, message: str
    ) -> None:
        file = write("mine.py", source)
        with pytest.raises(BenchError, match=message):
            discover(package).find(f"{file}{suffix}")

    def test_a_file_that_is_not_there(self, package: str) -> None:
        with pytest.raises(BenchError, match=r"'nowhere.py' is not there"):
            discover(package).find("./nowhere.py:Mine")

    @pytest.mark.parametrize(
        ("content", "message"),
        [("class Nameless(Method[Settings]):\n    pass\n", 'add name = "beta"'), ("def broken(:\n", "invalid syntax")],
    )
    def test_a_broken_file_in_the_package_is_listed_and_harms_no_other(
        self, package: str, write: Write, content: str, message: str
    ) -> None:
        write(f"{package}/beta.py", content)
        registry = discover(package)
        assert names(registry) == ["alpha-one", "beta"]
        assert registry.find("alpha-one").load().name == "alpha-one"
        with pytest.raises(BenchError, match=message):
            registry.find("beta").load()


class TestErrorsOfLoading:
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (
                "import no_such_package\n" + method(),
                "ModuleNotFoundError: No module named 'no_such_package' .*mine.py, line 11",
            ),
            (method() + "1 / 0\n", "ZeroDivisionError: division by zero .*mine.py, line 2"),
            (method().replace("def pretrain", "def train"), "lacks pretrain; define it"),
            (method().replace("def pretrain", "def x").replace("def encoder", "def y"), "lacks encoder and pretrain"),
            (method().replace("(Method[Settings])", "(str)"), "derive it from bench.contract.Method"),
            (method().replace("Config = Settings", "Config = int"), "`Config` must be a subclass"),
            (
                method().replace('"stl10": Settings(temperature=0.1)', '"stl10": 3'),
                "settings for stl10 are not a Settings",
            ),
            (method("Mine Too"), "its `name` is 'Mine Too'.*lower case"),
        ],
    )
    def test_an_incomplete_method_says_what_it_lacks(
        self, package: str, write: Write, source: str, message: str
    ) -> None:
        with pytest.raises(BenchError, match=message):
            discover(package).find(str(write("mine.py", source))).load()

    def test_an_entry_point_called_otherwise_than_its_class(self, package: str, write: Write, tmp_path: Path) -> None:
        write("plugged.py", method("delta", "Delta"))
        declare(tmp_path, epsilon="plugged:Delta")
        with pytest.raises(BenchError, match="its `name` is 'delta'; it must be 'epsilon'"):
            discover(package).find("epsilon").load()

    @pytest.mark.parametrize("value", ["no_such_module:Delta", "plugged:Missing"])
    def test_an_entry_point_that_leads_nowhere(self, package: str, write: Write, tmp_path: Path, value: str) -> None:
        write("plugged.py")
        declare(tmp_path, delta=value)
        with pytest.raises(BenchError, match=r"No module named 'no_such_module'|has no class 'Missing'"):
            discover(package).find("delta").load()


def reader(name: str, cls: str, origin: str, setting: str) -> str:
    """A method that stands for an encoder which is there already."""
    declared = f"    reads = {{Origin.{origin}: '{setting}'}}\n    trains = False\n"
    return "\nfrom bench.contract import Origin\n" + method(name, cls).replace("    Config", declared + "    Config")


class TestReading:
    """`bench evaluate` knows no method by its name."""

    def test_a_method_says_what_it_reads_and_by_which_setting(self, package: str, write: Write) -> None:
        write(f"{package}/beta.py", reader("beta", "Beta", "FILE", "grid"))
        write(f"{package}/gamma.py", reader("gamma", "Gamma", "CODE", "temperature"))
        write(f"{package}/delta.py", "def broken(:\n")
        registry = discover(package)
        found = {origin: registry.reading(origin) for origin in Origin}
        assert {origin: (entry.name, setting) for origin, (entry, setting) in found.items()} == {
            Origin.FILE: ("beta", "grid"),
            Origin.CODE: ("gamma", "temperature"),
        }

    def test_none_or_several_is_an_error(self, package: str, write: Write) -> None:
        with pytest.raises(BenchError, match=r"a Python function can be read by no method: install one"):
            discover(package).reading(Origin.CODE)
        for name in ("beta", "gamma"):
            write(f"{package}/{name}.py", reader(name, name.title(), "FILE", "grid"))
        with pytest.raises(BenchError, match=r"several methods, of .*beta.py and .*gamma.py: uninstall all but one"):
            discover(package).reading(Origin.FILE)

    def test_the_setting_must_be_there(self, package: str, write: Write) -> None:
        file = write("mine.py", reader("mine", "Mine", "FILE", "place"))
        with pytest.raises(BenchError, match=r"it `reads` place, which Settings does not have"):
            discover(package).find(str(file)).load()


class TestSettings:
    @pytest.fixture
    def resolved(self, package: str) -> Callable[..., dict[str, object]]:
        entry = discover(package).find("alpha-one")

        def resolved(
            data: str = "cifar10", schedule: Schedule = Schedule.PAPER, epochs: int | None = None, **options: object
        ) -> dict[str, object]:
            return resolve(entry, options, PROFILES[data], schedule, epochs).model_dump()

        return resolved

    @pytest.mark.parametrize(
        ("data", "schedule", "epochs", "options", "expected"),
        [
            ("cifar10", Schedule.PAPER, None, {}, {"epochs": 100, "warmup": 10, "temperature": 0.5}),
            ("stl10", Schedule.PAPER, None, {}, {"temperature": 0.1}),
            ("digits", Schedule.QUICK, None, {}, {"epochs": 4, "warmup": 1}),
            ("cifar10", Schedule.SHORT, None, {}, {"epochs": 20, "warmup": 2}),
            ("cifar10", Schedule.PAPER, 7, {}, {"epochs": 7, "warmup": 1}),
            ("cifar10", Schedule.SHORT, 7, {}, {"epochs": 7, "warmup": 1}),
            ("digits", Schedule.QUICK, 2, {}, {"epochs": 2, "warmup": 1}),
            ("cifar100", Schedule.PAPER, None, {"settings": "stl10"}, {"temperature": 0.1}),
            ("cifar100", Schedule.PAPER, None, {"settings": "default"}, {"temperature": 0.5}),
            ("cifar10", Schedule.PAPER, None, {"temperature": 2, "grid": (3, 4)}, {"temperature": 2.0, "grid": (3, 4)}),
            ("cifar10", Schedule.SHORT, None, {"warmup": 9}, {"epochs": 20, "warmup": 9}),
        ],
    )
    def test_the_data_set_the_schedule_and_the_options_decide(
        self,
        resolved: Callable[..., dict[str, object]],
        data: str,
        schedule: Schedule,
        epochs: int | None,
        options: dict[str, object],
        expected: dict[str, object],
    ) -> None:
        assert expected.items() <= resolved(data, schedule, epochs, **options).items()

    @pytest.mark.parametrize(
        ("data", "schedule", "options", "message"),
        [
            (
                "cifar100",
                Schedule.PAPER,
                {},
                r"no settings for 'cifar100': .* for cifar10, stl10, .*\[settings=cifar10\]",
            ),
            ("cifar10", Schedule.QUICK, {}, r"for 'cifar10' with the schedule 'quick' .*for digits.* --schedule short"),
            (
                "cifar10",
                Schedule.PAPER,
                {"settings": "cifar-10"},
                "unknown alpha-one settings .* did you mean 'cifar10'",
            ),
            (
                "cifar10",
                Schedule.PAPER,
                {"temprature": 1},
                "unknown alpha-one option 'temprature': did you mean 'temper",
            ),
            ("cifar10", Schedule.PAPER, {"temperature": -1}, "option 'temperature' cannot be -1: it should be greater"),
            (
                "cifar10",
                Schedule.PAPER,
                {"temperature": "hot"},
                "'temperature' cannot be 'hot': it should be a valid num",
            ),
            ("cifar10", Schedule.PAPER, {"warmup": 0}, "option 'warmup' cannot be 0"),
        ],
    )
    def test_nothing_is_borrowed_or_guessed(
        self,
        resolved: Callable[..., dict[str, object]],
        data: str,
        schedule: Schedule,
        options: dict[str, object],
        message: str,
    ) -> None:
        with pytest.raises(BenchError, match=message):
            resolved(data, schedule, **options)

    def test_a_method_without_settings_starts_from_its_own_defaults_when_told_so(
        self, package: str, write: Write
    ) -> None:
        kept = [line for line in method().splitlines(keepends=True) if "PAPER" not in line and "QUICK" not in line]
        source = "    depth: int\n    '''How deep.'''\n" + "".join(kept)
        entry = discover(package).find(str(write("mine.py", source)))
        with pytest.raises(BenchError, match=r"has no paper settings.*mine\[settings=default\]"):
            resolve(entry, {}, PROFILES["cifar10"])
        with pytest.raises(BenchError, match=r"has no settings for 'digits' .*none at all.*--schedule short"):
            resolve(entry, {}, PROFILES["digits"], Schedule.QUICK)
        with pytest.raises(BenchError, match="option 'depth' has no default, give it a value: How deep"):
            resolve(entry, {"settings": "default"}, PROFILES["cifar10"])
        config = resolve(entry, {"settings": "default", "depth": 3}, PROFILES["cifar10"], Schedule.SHORT)
        assert {"depth": 3, "epochs": 20, "warmup": 2}.items() <= config.model_dump().items()
