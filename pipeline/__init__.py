import os
import sys

# Where progress bars go to a log, a line every ten seconds does; tqdm reads this as it is imported.
if not (sys.stderr and sys.stderr.isatty()):
    os.environ.setdefault("TQDM_MININTERVAL", "10")
