"""Dose responses from the command line: a table in, fits, evaluations and figures out; the API gives the same."""

import importlib.util
import io
import json
import logging
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from deepmr import cli
from deepmr.cli import execute
from deepmr.commands import COMMANDS, GROUPS
from deepmr.commands.iv_evaluate import _titles, evaluate
from deepmr.commands.iv_fit import fit
from deepmr.commands.iv_fits import domain_of, find_fits, meta_value, parse_conditions
from deepmr.commands.iv_methods import attribute_meanings, methods, type_text
from deepmr.commands.iv_samples import parse_options
from deepmr.errors import InputError
from deepmr.io.iv_data import read_iv_data
from deepmr.io.responses import META, read_response
from deepmr.nonlinear import METHODS, fit_response, make_method

TRUTH = "0.5*x**2 + x"
N = 3000


def simulate(seed, n=N):
    rng = np.random.default_rng(seed)
    z, c, u = rng.normal(size=(n, 3)), rng.normal(size=n), rng.normal(size=n)
    x = z @ [0.6, 0.5, 0.4] + 0.3 * c + 0.5 * u + 0.4 * rng.normal(size=n)
    y = 0.5 * x**2 + x + 0.5 * c * x - u + 0.3 * rng.normal(size=n)
    table = pd.DataFrame(z, columns=["v1", "v2", "v3"]).assign(x=x, y=y, age=c, high=(y > 1).astype(int))
    return table.assign(iid=[f"s{k}" for k in range(n)], fam=np.arange(n) // 2, w=rng.uniform(0.5, 2, n))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("iv")
    table = simulate(0)
    table.loc[5, "age"] = np.nan
    table.loc[[6, 7], "v2"] = np.nan
    table.to_csv(path / "d.tsv.gz", sep="\t", index=False)
    return path


ROLES = ["--exposure", "x", "--outcome", "y", "--instruments", "v{1..3}", "--covariates", "age"]
SMALL = ["--options", "n_functions=8", "covariate_functions=4"]


@pytest.fixture(scope="module")
def fitted(folder):
    """Three fits, by seed, in runs/."""
    (folder / "runs").mkdir()
    for seed in range(3):
        argv = ["iv", "fit", "--data", f"{folder}/d.tsv.gz", *ROLES, *SMALL, "--seed", str(seed)]
        assert execute([*argv, "--out", f"{folder}/runs/s{seed}", *([] if seed == 0 else ["--no-figures"])]) == 0
    return folder / "runs"


def test_fit_writes_a_fit_its_curve_and_figures(folder, fitted):
    one = fitted / "s0"
    assert {p.name for p in one.iterdir()} == {
        META, "arrays.safetensors", "causal_estimates.csv", "causal_estimates.png", "first_stage.png"
    }  # fmt: skip
    assert {p.name for p in (fitted / "s1").iterdir()} == {META, "arrays.safetensors", "causal_estimates.csv"}
    meta = json.loads((one / META).read_text())
    assert meta["n"] == N - 3
    assert meta["data"]["missing"] == {"age": 1, "v2": 2}
    assert meta["options"] == asdict(make_method("auto", {"n_functions": 8, "covariate_functions": 4}))
    assert meta["provenance"]["command"] == "iv fit"
    assert set(meta["provenance"]["inputs"]) == {"data"}
    assert meta["domain"][0] < meta["central"][0] < meta["quartiles"][0]
    curve = pd.read_csv(one / "causal_estimates.csv")
    assert list(curve) == ["x", "estimate", "se", "low", "high", "uniform_low", "uniform_high"]
    assert curve["x"].iloc[[0, -1]].tolist() == meta["central"]
    assert (curve["uniform_low"] < curve["low"]).all()
    assert np.abs(curve["estimate"] - (curve["x"] ** 2 / 2 + curve["x"])).mean() < 0.2


def test_the_api_gives_the_same(folder, fitted):
    data = read_iv_data(folder / "d.tsv.gz", exposure="x", outcome="y", instruments=["v*"], covariates=["age"]).data
    response = fit_response(data, options={"n_functions": 8, "covariate_functions": 4}, seed=0)
    again = read_response(fitted / "s0")
    x = np.linspace(-1, 1, 5)
    assert np.array_equal(response.avg_iv_reg_function(x).estimate, again.avg_iv_reg_function(x).estimate)
    curve = pd.read_csv(fitted / "s0" / "causal_estimates.csv")
    own = again.avg_iv_reg_function(curve["x"].to_numpy())
    assert np.allclose(own.estimate, curve["estimate"], rtol=1e-12)
    assert np.allclose(own.high, curve["high"], rtol=1e-12)


def test_the_summary_says_what_was_used_and_found(folder, capsys):
    argv = ["iv", "fit", "--data", f"{folder}/d.tsv.gz", *ROLES, *SMALL, "--out", f"{folder}/summary", "--no-figures"]
    assert execute([*argv, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    (samples,) = summary["samples"]
    assert samples == {"sample": "both stages", "read": N, "without_genotypes": 0, "incomplete": 3, "used": N - 3}
    assert summary["left_out"] == ["3 samples lack a value and are left out (by column: v2 2, age 1)"]
    (effect,) = summary["effect_between_quartiles"]
    assert effect["ci_low"] < effect["effect"] < effect["ci_high"]
    assert (effect["unit"], effect["interval"]) == ("y", "95 % interval")
    assert summary["method"] == "auto, the sieve"
    assert summary["what_instruments_tell"][0].startswith("3 instruments explain")
    assert [row["diagnostic"] for row in summary["diagnostics"]] == ["effective_dimension", "residual_sd"]
    assert all(row["meaning"] for row in summary["diagnostics"])
    assert execute(argv) == 3
    assert execute([*argv, "--overwrite", "--quiet"]) == 0
    assert "method: auto" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["continuous", "binary"])
def test_an_outcome_of_0_and_1_that_was_not_said_to_be_is_pointed_out(folder, capsys, kind):
    roles = [word if word != "y" else "high" for word in ROLES]
    argv = ["iv", "fit", "--data", f"{folder}/d.tsv.gz", *roles, *SMALL, "--outcome-type", kind, "--no-figures"]
    assert execute([*argv, "--out", f"{folder}/said_{kind}", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert any("--outcome-type binary" in said for said in summary["warnings"]) == (kind == "continuous")
    assert summary["effect_between_quartiles"][0]["unit"] == ("high" if kind == "continuous" else "probability of high")


def rows(text):
    return pd.read_csv(io.StringIO(text))


def test_evaluate_prints_a_row_a_fit(fitted, capsys):
    argv = ["iv", "evaluate", f"{fitted}/s*", "--true-function", TRUTH, "--meta-keys", "seed", "n_functions", "method"]
    assert execute([*argv, "--ate=0,1", "--ensemble"]) == 0
    table = rows(capsys.readouterr().out)
    assert table["file"].tolist() == [*(f"{fitted}/s{k}" for k in range(3)), "ensemble"]
    assert table["seed"].tolist() == [0, 1, 2, 0]
    assert table["n_functions"].tolist()[:3] == [8, 8, 8]
    assert (table["mse"] < 0.05).all()
    assert (table["mse_centred"] <= table["mse"]).all()
    assert np.allclose(table["ate_true"], 1.5)
    assert (np.abs(table["ate"] - 1.5) < 0.3).all()
    meta = json.loads((fitted / "s0" / META).read_text())
    x = np.linspace(*meta["central"], 200)
    curve = read_response(fitted / "s0").avg_iv_reg_function(x, level=0.9)
    truth = x**2 / 2 + x
    assert table["mse"][0] == pytest.approx(np.mean((curve.estimate - truth) ** 2))
    assert table["coverage"][0] == pytest.approx(np.mean((curve.low <= truth) & (truth <= curve.high)))
    assert table["mean_width"][0] == pytest.approx(np.mean(curve.high - curve.low))
    assert table["domain_low"][0] == pytest.approx(meta["central"][0])


def test_every_fit_has_its_own_domain(folder, fitted, capsys):
    moved = simulate(1).assign(x=lambda t: t["x"] + 10)
    moved.to_csv(folder / "moved.csv", index=False)
    argv = ["iv", "fit", "--data", f"{folder}/moved.csv", *ROLES, *SMALL, "--out", f"{folder}/moved", "--no-figures"]
    assert execute([*argv, "--quiet"]) == 0
    capsys.readouterr()
    ends = {}
    for domain in ("95", "full", "-1,1"):
        assert execute(["iv", "evaluate", f"{fitted}/s0", f"{folder}/moved", f"--domain={domain}"]) == 0
        ends[domain] = rows(capsys.readouterr().out)[["domain_low", "domain_high"]].to_numpy()
    assert ends["95"][1, 0] > 7
    assert ends["95"][0, 1] < 4
    assert (ends["full"][:, 0] < ends["95"][:, 0]).all()
    assert ends["-1,1"].tolist() == [[-1, 1], [-1, 1]]


def test_files_figures_and_conditions(folder, fitted, capsys):
    made = {name: folder / name for name in ("t.csv", "c.csv", "p.svg")}
    argv = ["iv", "evaluate", f"{fitted}/s0", f"{fitted}/s1", "--given", "age=-1,age=1", "--ate=0,1"]
    files = ["--out", str(made["t.csv"]), "--curves", str(made["c.csv"]), "--plot", str(made["p.svg"])]
    assert execute([*argv, *files]) == 0
    assert "evaluated" in capsys.readouterr().out
    table, curves = (pd.read_csv(made[name], keep_default_na=False) for name in ("t.csv", "c.csv"))
    assert table["given"].tolist() == ["", "age=-1", "age=1"] * 2
    low, high = (float(table["ate"][table["given"] == given].iloc[0]) for given in ("age=-1", "age=1"))
    assert high - low == pytest.approx(1, abs=0.25)
    assert len(curves) == 2 * 3 * 200
    assert "age=1" in made["p.svg"].read_text()
    assert execute([*argv, *files]) == 3
    response = read_response(fitted / "s0")
    own = response.cate(np.array([0.0]), np.array([1.0]), np.array([[1.0]]), level=0.9)
    assert own.estimate[0] == pytest.approx(high)


@pytest.mark.parametrize("extra", [["--ensemble"], [], ["--true-function", TRUTH]])
def test_every_figure_is_drawn(fitted, tmp_path, extra):
    for words in (
        [f"{fitted}/s0", f"{fitted}/s2"],
        [str(fitted)],
        *([] if extra == ["--ensemble"] else [[f"{fitted}/s0"]]),
    ):
        out = ["--plot", str(tmp_path / "p.png"), "--out", str(tmp_path / "t.csv"), "--overwrite", "--quiet"]
        assert execute(["iv", "evaluate", *words, *extra, *out]) == 0
        assert (tmp_path / "p.png").stat().st_size > 5000


def test_a_function_in_a_file_is_the_truth(fitted, tmp_path):
    (tmp_path / "truth.py").write_text("def curve(x):\n    return 0.5 * x**2 + x\n")
    for k, text in enumerate((TRUTH, f"{tmp_path}/truth.py:curve")):
        evaluate([fitted / "s0"], true_function=text, out=tmp_path / f"{k}.csv")
    assert pd.read_csv(tmp_path / "0.csv").equals(pd.read_csv(tmp_path / "1.csv"))


def test_an_exposure_that_few_have(folder):
    """Of a rare yes, the central 95 % are one value: the curve is over all."""
    table = simulate(3).assign(x=lambda t: (t["x"] > t["x"].quantile(0.99)).astype(int))
    table.to_csv(folder / "rare.tsv", sep="\t", index=False)
    fit(data=folder / "rare.tsv", exposure="x", outcome="y", instruments=["v*"], out=folder / "rare")
    curve = pd.read_csv(folder / "rare" / "causal_estimates.csv")
    assert curve["x"].iloc[[0, -1]].tolist() == [0, 1]
    assert np.isfinite(curve.to_numpy()).all()


def test_a_flow_runs_fits_and_evaluates_them(folder):
    """Paths of a flow, those of fits too, are relative to its file."""
    flow = folder / "flow.toml"
    flow.write_text(
        '["iv fit"]\ndata = "d.tsv.gz"\nexposure = "x"\noutcome = "y"\ninstruments = ["v{1..3}"]\n'
        'options = ["n_functions=6"]\nfigures = false\nout = "of_flow"\n'
        '["iv evaluate"]\nfits = ["of_f*"]\nout = "of_flow.csv"\n'
    )
    assert execute(["run", str(flow), "--quiet"]) == 0
    assert pd.read_csv(folder / "of_flow.csv")["file"].tolist() == [str(folder / "of_flow")]


def test_metrics_go_where_they_are_wanted(folder, capsys):
    argv = ["iv", "fit", "--data", f"{folder}/d.tsv.gz", *ROLES, *SMALL, "--out", f"{folder}/metrics", "--no-figures"]
    if importlib.util.find_spec("wandb") is None:
        assert execute([*argv, "--wandb", "project:run"]) == 3
        assert "--wandb needs wandb" in capsys.readouterr().err
        assert not (folder / "metrics").exists()
    pytest.importorskip("tensorboard")
    assert execute([*argv, "--tensorboard", f"{folder}/events"]) == 0
    assert list((folder / "events").rglob("events.out.tfevents.*"))


def test_a_log_of_training_is_kept(folder):
    roles = {"exposure": "x", "outcome": "y", "instruments": ["v*"]}
    short = ["exposure_epochs=2", "outcome_epochs=3", "n_folds=2"]
    fit(data=folder / "d.tsv.gz", **roles, method="quantile_iv", options=short, out=folder / "logged", figures=False)
    log = pd.read_csv(folder / "logged" / "training.csv")
    assert set(log["stage"]) == {"exposure", "outcome"}
    assert log["epoch"].max() == 3
    assert np.isfinite(log["training_loss"]).all()


def test_a_band_of_outcomes_holds_outcomes_and_is_a_file_of_its_own(folder):
    roles = {"exposure": "x", "outcome": "y", "instruments": ["v*"], "covariates": ["age"]}
    fit(data=folder / "d.tsv.gz", **roles, out=folder / "band", outcome_share=0.25, level=0.9, figures=False)
    band = pd.read_csv(folder / "band" / "outcome_band.csv")
    curve = pd.read_csv(folder / "band" / "causal_estimates.csv")
    assert (band["outcome_high"] - band["outcome_low"]).mean() > 3 * (curve["high"] - curve["low"]).mean()
    table = simulate(7)
    inside = table["x"].between(band["x"].min(), band["x"].max())
    low, high = (np.interp(table["x"], band["x"], band[name]) for name in ("outcome_low", "outcome_high"))
    held = ((low < table["y"]) & (table["y"] < high))[inside].mean()
    assert 0.82 < held < 0.97
    with pytest.raises(InputError, match="share"):
        fit(data=folder / "d.tsv.gz", **roles, out=folder / "no_band", outcome_share=1.5, figures=False)
    assert not (folder / "no_band").exists()


def test_a_binary_outcome_weights_and_clusters(folder):
    options = {
        "weight": "w",
        "cluster": "fam",
        "outcome_type": "binary",
        "figures": False,
        "options": ["n_functions=6"],
    }
    fit(
        data=folder / "d.tsv.gz", exposure="x", outcome="high", instruments=["v1", "v2", "v3"], covariates=["age"],
        out=folder / "binary", **options,
    )  # fmt: skip
    record = read_response(folder / "binary").record
    assert record.outcome_type == "binary"
    curve = pd.read_csv(folder / "binary" / "causal_estimates.csv")
    assert curve["estimate"].iloc[-1] > curve["estimate"].iloc[0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--exposure", "xx"], "no column 'xx' for the exposure; did you mean 'x'?"),
        (["--method", "seive"], "method must be one of"),
        (["--options", "n_function=3"], "did you mean 'n_functions'?"),
        (["--options", "n_functions=many"], "option n_functions of auto must be int; got 'many'"),
        (["--options", "n_functions"], "options are NAME=VALUE, such as n_functions=12; got 'n_functions'"),
        (["--outcome", "x"], "column 'x' has two roles, exposure and outcome"),
        (["--outcome-type", "binary"], "y must be 0 or 1, as it is binary"),
        (["--level", "95"], "level must be between 0 and 1; got 95"),
        (["--sample-id", "iid"], "genotypes and sample_id go together"),
        (["--outcome-genotypes", "g"], "outcome_genotypes are those of outcome_data"),
        (["--data", "none.tsv"], "none.tsv: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, capsys, argv, message):
    given = ["--data", f"{folder}/d.tsv.gz", *ROLES, "--out", f"{folder}/bad"]
    for name, value in zip(argv[::2], argv[1::2], strict=True):
        if name in given:
            given[given.index(name) + 1] = value
        else:
            given += [name, value]
    assert execute(["iv", "fit", *given]) == 3
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert message in err[0]
    assert not (folder / "bad").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nothing"], "nothing: there is no such folder"),
        (["{runs}/q*"], "q*: matches nothing"),
        (["{runs}/../*.gz"], "files or folders, but no fit"),
        (["{runs}/../d.tsv.gz"], "there is no such folder"),
        (["{runs}", "--domain", "90"], "domain must be 95, full or two numbers"),
        (["{runs}", "--domain=1,-1"], "from a lower to a higher number"),
        (["{runs}", "--ate=1"], "ate must be two numbers"),
        (["{runs}", "--given", "sex=1"], "the fit has no covariate 'sex'"),
        (["{runs}", "--given", "age"], "conditions are NAME=NUMBER pairs"),
        (["{runs}", "--true-function", "x^2"], "powers are written **"),
        (["{runs}", "--true-function", "log(x)"], "must be finite"),
        (["{runs}", "--meta-keys", "colour"], "no fit has 'colour' in its meta.json"),
        (["{runs}", "--plot", "p.gif"], "figures are .png, .svg, .pdf"),
        (["{runs}", "--level", "1"], "level must be between 0 and 1"),
        (["{runs}/s0", "--ensemble"], "an ensemble needs at least 2 fits; got 1"),
    ],
)
def test_what_cannot_be_evaluated_says_why(fitted, tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    assert execute(["iv", "evaluate", *(word.format(runs=fitted) for word in argv)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    err = captured.err.strip().splitlines()
    assert len(err) == 1
    assert message in err[0]


def test_two_samples_need_what_each_stage_needs(folder, caplog):
    """Of one table the exposure is read, of the other the outcome."""
    table = simulate(2)
    table.drop(columns="y").to_csv(folder / "one.tsv", sep="\t", index=False)
    table.drop(columns="x").to_csv(folder / "two.tsv", sep="\t", index=False)
    argv = ["--data", f"{folder}/one.tsv", "--outcome-data", f"{folder}/two.tsv", *ROLES, "--out", f"{folder}/both"]
    assert execute(["iv", "fit", *argv, "--no-figures"]) == 0
    meta = json.loads((folder / "both" / META).read_text())
    assert [row["sample"] for row in meta["data"]["samples"]] == ["first stage", "second stage"]
    assert set(meta["provenance"]["inputs"]) == {"data", "outcome_data"}


def test_words_of_the_command_line(fitted):
    assert parse_options(["a=1", "n-folds = 3"]) == {"a": "1", "n_folds": "3"}
    with pytest.raises(InputError, match="option a is given more than once"):
        parse_options(["a=1", "a=2"])
    assert parse_conditions(["c=0,c=1"]) == [{"c": 0}, {"c": 1}]
    assert parse_conditions(["age=50,sex=0", "age=50,sex=1"]) == [{"age": 50, "sex": 0}, {"age": 50, "sex": 1}]
    assert [p.name for p in find_fits([fitted, fitted / "s0"])] == ["s0", "s1", "s2"]
    assert find_fits([fitted / "s1" / META]) == [fitted / "s1"]
    record = read_response(fitted / "s0").record
    assert domain_of(record, "full") == record.domain
    meta = {"seed": 3, "options": {"hidden": [64, 32], "q": 5}, "losses": {"v": 0.5}, "provenance": {"seed": 4}}
    assert [meta_value(meta, key) for key in ("seed", "hidden", "options.q", "v", "z", "seed.q")] == [
        3, "64,32", 5, 0.5, None, None
    ]  # fmt: skip


def test_runs_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("10", "9", "a2", "a10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / META).touch()
    for word in (tmp_path, tmp_path / "*", tmp_path / "*" / META):
        assert [p.name for p in find_fits([word])] == ["9", "10", "a2", "a10"]


def test_titles_leave_out_the_folder_that_all_share():
    assert _titles(["/a/b/s0", "/a/b/s1/x"]) == ["s0", "s1/x"]
    assert _titles(["a/b"]) == ["b"]
    assert _titles(["a/b", "ensemble"]) == ["a/b", "ensemble"]


def test_methods_are_listed_with_their_options(capsys):
    listed = [row["method"] for row in methods()["methods"]]
    assert listed[0] == "auto"
    assert sorted(listed) == sorted(METHODS)
    assert all(row["meaning"].endswith(".") for row in methods()["methods"])
    for name in METHODS:
        found = methods(name)["options"]
        assert all(row["meaning"] for row in found), f"{name}: {[r['option'] for r in found if not r['meaning']]}"
        assert not any("as in `" in row["meaning"] for row in found), name
    (row,) = (row for row in methods("sieve")["options"] if row["option"] == "modification")
    assert row["type"] == "auto | none | linear | full"
    assert row["default"] == "auto"
    assert execute(["iv", "methods", "seive"]) == 3
    assert "did you mean 'sieve'?" in capsys.readouterr().err


def test_types_and_meanings_are_written_for_users():
    assert type_text(tuple[int, ...]) == "int,..."
    assert type_text(float | None) == "float | none"
    assert type_text(bool) == "true | false"
    doc = "Do it.\n\nAttributes\n----------\na, b : of two\n    lines.\nc : one.\n\nNotes\n-----\nd : no."
    long = "Attributes\n----------\na, b,\nc : of three\n    lines.\n"
    assert attribute_meanings(long) == dict.fromkeys("abc", "of three lines.")
    assert attribute_meanings(doc) == {"a": "of two lines.", "b": "of two lines.", "c": "one."}


def test_groups_have_a_help_line(capsys):
    assert {name.split()[0] for name in COMMANDS if " " in name} == set(GROUPS)
    assert execute(["iv", "--help"]) == 0
    assert GROUPS["iv"] in capsys.readouterr().out
    assert execute(["--help"]) == 0
    text = capsys.readouterr().out
    assert GROUPS["model"] in " ".join(text.replace("│", "").split())


@pytest.fixture(autouse=True)
def _logging():
    yield
    logging.getLogger("deepmr").handlers[:] = []
    cli.log.propagate = True
