"""A command line with one more method, `ledger`, that takes note of every fit: what each process fits is then known.

`python -m tests.commands.sweep_ledger iv sweep ...`; processes that it spawns have the method too.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from deepmr import nonlinear
from deepmr.nonlinear.sieve import Sieve

nonlinear.METHODS["ledger"] = "tests.commands.sweep_ledger:Ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A small sieve that writes to a file when it begins and when it is done."""

    file: str = ""
    number: int = 0
    sleep: float = 0.0
    fail: bool = False
    die: bool = False

    def fit(self, data, *, outcome_data=None, seed=0):
        self._note("begin")
        time.sleep(self.sleep)
        if self.fail:
            raise ValueError("told\nto fail")
        if self.die:
            os.kill(os.getpid(), 9)
        response = Sieve(n_functions=4, n_folds=2).fit(data, outcome_data=outcome_data, seed=seed)
        self._note("end")
        return response

    def _note(self, what):
        with Path(self.file).open("a") as handle:  # short lines are written whole
            handle.write(f"{what} {self.number} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")


if __name__ == "__main__":
    from deepmr.cli import main

    main(sys.argv[1:])
