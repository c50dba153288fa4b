"""The rules of ARCHITECTURE.md that a machine can check."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import deepmr
from deepmr.commands import COMMANDS

ROOT = Path(deepmr.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}
MODULES = [m.name for m in pkgutil.walk_packages([str(ROOT)], "deepmr.") if m.name != "deepmr.__main__"]

# Section 4 of ARCHITECTURE.md: one word for one thing.
NOT_SAID = {
    *("snp", "snps", "region", "regions", "target_name", "replicate", "treatment", "endog", "exog", "chr", "position"),
    *(
        "pval",
        "p_value",
        "stderr",
        "std_err",
        "coef_",
        "num_members",
        "num_boot",
        "boots",
        "random_state",
        "alpha_level",
    ),
    *("a1", "a2", "nsnp", "model_dir", "gpu"),
}


def public_functions():
    for name in MODULES:
        module = importlib.import_module(name)
        for attribute, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == name and not attribute.startswith("_"):
                yield pytest.param(value, id=f"{name}.{attribute}")


def documented_parameters(doc):
    """Names in the numpydoc section Parameters: unindented lines `name`, `name : ...` or `a, b : ...`."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}$|\Z)", doc, re.M | re.S)
    if section is None:
        return set()
    heads = re.findall(r"^([*\w][*\w, ]*?)(?: *:.*)?$", section.group(1), re.M)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_imports_keep_to_the_rings(monkeypatch):
    monkeypatch.chdir(ROOT.parent)
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)  # else it disables every logger there is
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_is_short(path):
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_follows_the_rules_of_the_page(path):
    tree = TREES[path]
    assert ast.get_docstring(tree), "a module says in a sentence what it is"
    assert path.stem not in {"utils", "common", "helpers", "base"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"print in line {node.lineno}"
    for function in functions(tree):
        if not function.name.startswith("_"):
            assert function.args.kwarg is None, f"{function.name} takes **kwargs"


@pytest.mark.parametrize("function", list(public_functions()))
def test_docstring_and_signature_agree(function):
    doc = inspect.getdoc(function)
    assert doc, "a public function says what it does"
    first = doc.splitlines()[0]
    assert first.endswith((".", ":")), first
    unknown = documented_parameters(doc) - set(inspect.signature(function).parameters)
    assert not unknown, f"documents parameters it does not have: {unknown}"


@pytest.mark.parametrize("function", list(public_functions()))
def test_names_are_those_of_the_page(function):
    said = set(inspect.signature(function).parameters) & NOT_SAID
    assert not said, f"see section 4 of ARCHITECTURE.md: {said}"


@pytest.mark.parametrize("verb", COMMANDS)
def test_command_is_a_documented_function(verb):
    target, help_line = COMMANDS[verb]
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    assert inspect.getdoc(function).splitlines()[0] == help_line
    parameters = inspect.signature(function).parameters
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters.values())
    assert documented_parameters(inspect.getdoc(function)) == set(parameters)


def test_every_method_file_is_in_methods():
    from deepmr.mr import METHODS

    homes = {inspect.unwrap(getattr(f, "func", f)).__module__ for f in METHODS.values()}
    kernels = {  # what methods share
        "deepmr.mr.density",
        "deepmr.mr.draws",
        "deepmr.mr.labels",
        "deepmr.mr.errors",
        "deepmr.mr.gls_joint",
        "deepmr.mr.implicit",
        "deepmr.mr.intervals",
        "deepmr.mr.resampled_members",
        "deepmr.mr.joint_profiles",
        "deepmr.mr.correlated",
        "deepmr.mr.designs",
        "deepmr.mr.lines",
        "deepmr.mr.losses",
        "deepmr.mr.members",
        "deepmr.mr.mixture",
        "deepmr.mr.network",
        "deepmr.mr.network_sparse",
        "deepmr.mr.network_totals",
        "deepmr.mr.penalties",
        "deepmr.mr.scatter",
        "deepmr.mr.resampling",
        "deepmr.mr.profiles",
        "deepmr.mr.robust",
        "deepmr.mr.roots",
        "deepmr.mr.simex",
        "deepmr.mr.splitting",
    }
    files = {f"deepmr.mr.{p.stem}" for p in (ROOT / "mr").glob("*.py") if p.stem != "__init__"}
    assert files - kernels == homes


def test_every_multivariable_method_file_is_in_methods():
    from deepmr.mr.multivariable import METHODS

    homes = {f.__module__ for f in METHODS.values()}
    shared = ("least_absolute", "linked", "profiles", "solutions", "strength", "table")
    kernels = {f"deepmr.mr.multivariable.{name}" for name in shared}
    files = {f"deepmr.mr.multivariable.{p.stem}" for p in (ROOT / "mr" / "multivariable").glob("*.py")}
    assert files - kernels - {"deepmr.mr.multivariable.__init__"} == homes


def test_the_package_is_light_and_lists_its_names():
    code = (
        "import sys, deepmr\n"
        "assert {'estimate_effects', 'check_sensitivity', 'pool_estimates', 'mutate'} <= set(dir(deepmr))\n"
        "loaded = {name for name in sys.modules if name.startswith('deepmr.')}\n"
        "heavy = {'torch', 'statsmodels', 'sklearn', 'pandas', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded | heavy, loaded | heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_reference_has_every_estimator():
    """A module of its own under `:::`, or a package above it that shows what it holds."""
    from deepmr import meta
    from deepmr.mr import METHODS, multivariable, sensitivity

    text = (ROOT.parent / "docs" / "reference.md").read_text()
    shown = re.findall(r"^::: (\S+)\n(?: +options:\n +show_submodules: (true)\n)?", text, re.M)
    modules, packages = {name for name, _ in shown}, tuple(f"{name}." for name, whole in shown if whole)
    functions = [inspect.unwrap(getattr(f, "func", f)) for m in (METHODS, multivariable.METHODS) for f in m.values()]
    functions += [multivariable.estimate_direct_effects]
    functions += [f for package in (sensitivity, meta) for f in vars(package).values() if inspect.isfunction(f)]
    for function in functions:
        home = function.__module__
        assert home in modules or home.startswith(packages), f"docs/reference.md lacks {home}.{function.__name__}"


def test_lazy_names_resolve():
    for name in deepmr.__all__:
        assert getattr(deepmr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        deepmr.nothing  # noqa: B018


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["isn"]])
def test_light_calls_import_nothing_heavy(argv):
    code = (
        "import sys\nfrom deepmr.cli import execute\n"
        f"execute({argv!r})\n"
        "heavy = {'torch', 'statsmodels', 'sklearn', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
