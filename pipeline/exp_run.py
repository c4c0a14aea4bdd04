"""`python -m pipeline.exp_run exp run --temp --name NAME …` is dvc's, but sees its own experiment alone.

DVC's goes on with what it then finds stashed: an experiment that another process is just beginning, and runs as well.
And interrupted while it begins, it would leave its own there, for the user's next `dvc exp run` to run.
"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Run dvc with these arguments, among them --name; return its exit code."""
    from dvc.cli import main as run_dvc
    from dvc.repo import Repo
    from dvc.repo.experiments.stash import ExpStash, ExpStashEntry

    name = arguments[arguments.index("--name") + 1]
    found_by_dvc = ExpStash.stash_revs.fget

    def own(stash: ExpStash) -> dict[str, ExpStashEntry]:
        return {revision: entry for revision, entry in found_by_dvc(stash).items() if entry.name == name}

    ExpStash.stash_revs = property(own)
    try:
        code: int = run_dvc(arguments)
    finally:
        stash = Repo().experiments.tempdir_queue.stash
        stash.remove_revs(list(stash.stash_revs.values()))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
