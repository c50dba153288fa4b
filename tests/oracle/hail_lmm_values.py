"""Write hail_lmm.json: `python hail_lmm_values.py <unpacked wheel of hail 0.2.93>`.

Small random problems and what the class `LinearMixedModel` of Hail 0.2.93 itself gives for them, by its own numpy code.
Only the file of the class is run: the modules of Hail that it imports, which need Java, are replaced by what little of
them that code calls. `pip download --no-deps hail==0.2.93` fetches the wheel; numpy 2 and scipy 1.
"""

import json
import sys
import types
from pathlib import Path

import numpy as np


def stub(name, **attributes):
    module = types.ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module
    return module


def check_dims(array, name, ndim):
    if array.ndim != ndim:
        raise ValueError(f"{name} must be {ndim}-dimensional, found {array.ndim}")


def nothing(*_, **__):
    return None


def unchanged(*_, **__):
    return lambda function: function


def load(folder):
    linalg = stub(
        "hail.linalg",
        BlockMatrix=type("BlockMatrix", (), {}),
        _eigh=np.linalg.eigh,
        _svd=np.linalg.svd,
    )
    utils = stub("hail.utils", no_service_backend=nothing)
    stub("hail", linalg=linalg, utils=utils)
    stub("hail.linalg.utils", _check_dims=check_dims)
    stub("hail.table", Table=None)
    names = ("typecheck_method", "nullable", "tupleof", "oneof")
    stub("hail.typecheck", **dict.fromkeys(names, unchanged), numeric=None)
    stub("hail.utils.java", Env=None, info=nothing)
    stub("hail.utils.misc", plural=lambda word, count: word + "s" * (count != 1))
    source = (Path(folder) / "hail" / "stats" / "linear_mixed_model.py").read_text()
    space = {}
    exec(compile(source, "linear_mixed_model.py", "exec"), space)
    return space["LinearMixedModel"]


def problem(rng, n, effects, fixed, markers):
    z = rng.normal(size=(n, effects)) / effects**0.5
    x = np.column_stack([np.ones(n), rng.normal(size=(n, fixed - 1))])
    y = x @ rng.normal(size=fixed) + z @ rng.normal(size=effects) * 1.2 + rng.normal(size=n)
    return y, x, z, rng.binomial(2, 0.4, (n, markers)).astype(float)


def outputs(model, p, a):
    found = {}
    for name, log_gamma in (("fitted", None), ("at_half", float(np.log(0.5)))):
        model.fit(log_gamma)
        tested = model.fit_alternatives_numpy(p @ a, a if model.low_rank else None, return_pandas=True)
        value = model.compute_neg_log_reml(model.log_gamma)
        numbers = ("log_gamma", "gamma", "h_sq", "h_sq_standard_error", "sigma_sq", "tau_sq")
        found[name] = {
            **{key: None if getattr(model, key) is None else float(getattr(model, key)) for key in numbers},
            "beta": model.beta.tolist(),
            "neg_log_reml": float(value),
            "alternatives": {column: tested[column].tolist() for column in tested.columns[1:]},
        }
    found["likelihood"] = model.h_sq_normalized_lkhd()[1:-1].tolist()
    return found


def main(folder):
    hail = load(folder)
    rng = np.random.default_rng(20220418)
    kept = []
    for kind, (n, effects, fixed, markers) in (
        ("full rank", (24, 30, 2, 6)), ("full rank", (40, 60, 3, 6)), ("low rank", (40, 12, 2, 6)),
        ("low rank", (60, 20, 4, 6)),
    ):  # fmt: skip
        while True:
            y, x, z, a = problem(rng, n, effects, fixed, markers)
            low = kind == "low rank"
            make = hail.from_random_effects if low else hail.from_kinship
            model, p = make(y, x, z if low else z @ z.T)
            try:
                found = outputs(model, p, a)
            except Exception as error:
                print("skipped:", error)  # an optimum at a bound
                continue
            break
        kept.append({
            "kind": kind, "y": y.tolist(), "x": x.tolist(), "z": z.tolist(), "a": a.astype(int).tolist(),
            "found": found,
        })  # fmt: skip
    (Path(__file__).parent / "hail_lmm.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
