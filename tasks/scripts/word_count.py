"""Counts the words of its own text. A plain script: it knows nothing of who starts it.

With these three lines at its top uv would install httpx into an environment of its own, once:

    # /// script
    # dependencies = ["httpx"]
    # ///
"""

import argparse
import json
import os
import re
from collections import Counter
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--most", type=int, default=5)
most = parser.parse_args().most

words = Counter(re.findall(r"[a-z]+", Path(__file__).read_text(encoding="utf-8").lower()))
for word, count in words.most_common(most):
    print(f"{count:4} {word}")

if output := os.environ.get("ZQUANT_FLOW_OUTPUT"):
    Path(output).write_text(json.dumps({"words": words.total(), "different": len(words)}), encoding="utf-8")
