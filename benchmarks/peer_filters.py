"""What cleanvision and imagededup say of a folder: run by benchmarks.filter_vs_peers with the peers' own interpreter.

python peer_filters.py FOLDER RESULT PROCESSES. It imports nothing of this project. RESULT is JSON: the seconds that
each took, imports not counted, cleanvision's issues (issue → files), its sets of duplicates, and imagededup's pairs.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from cleanvision import Imagelab
from imagededup.methods import PHash

DUPLICATES = ("exact_duplicates", "near_duplicates")


def cleanvision(folder: Path, processes: int) -> tuple[dict[str, list[str]], list[list[str]]]:
    """Return the files that have each of the default issues, and the sets of duplicates; all at default thresholds."""
    lab = Imagelab(data_path=str(folder))
    lab.find_issues(n_jobs=processes, verbose=False)
    names = [column.removeprefix("is_").removesuffix("_issue") for column in lab.issues if column.startswith("is_")]
    issues = {
        name: sorted(Path(path).name for path in lab.issues.index[lab.issues[f"is_{name}_issue"]]) for name in names
    }
    sets = [[Path(path).name for path in found] for kind in DUPLICATES for found in lab.info[kind]["sets"]]
    return issues, sets


def imagededup(folder: Path, processes: int) -> list[tuple[str, str]]:
    """Return the pairs of PHash.find_duplicates() at its default threshold of 10 bits."""
    found = PHash(verbose=False).find_duplicates(
        image_dir=str(folder), num_enc_workers=processes, num_dist_workers=processes
    )
    return sorted({(min(one, other), max(one, other)) for one, others in found.items() for other in others})


def main() -> None:
    """Run both and write RESULT."""
    folder, result, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    started = time.monotonic()
    issues, sets = cleanvision(folder, processes)
    between = time.monotonic()
    pairs = imagededup(folder, processes)
    seconds = {"cleanvision": between - started, "imagededup": time.monotonic() - between}
    result.write_text(json.dumps({"seconds": seconds, "issues": issues, "sets": sets, "pairs": pairs}))


if __name__ == "__main__":
    main()
