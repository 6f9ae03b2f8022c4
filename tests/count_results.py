"""Counts test results of a meson testlog.json: every TAP case by itself, other tests as one.
Prints "passed failed skipped"."""
import json
import re
import sys

passed = failed = skipped = 0
with open(sys.argv[1], encoding="utf-8") as log:
    for line in log:
        test = json.loads(line)
        cases = re.findall(r"^(not ok|ok)\b(.*)$", test.get("stdout", ""), re.MULTILINE)
        result = test["result"]
        if result == "SKIP":
            skipped += 1
            continue
        ok = sum(1 for state, rest in cases if state == "ok" and "# SKIP" not in rest.upper())
        bad = sum(1 for state, rest in cases if state == "not ok")
        skip = sum(1 for state, rest in cases if "# SKIP" in rest.upper())
        good = result in ("OK", "EXPECTEDFAIL")
        if not cases or (not good and bad == 0):  # no TAP, or it died outside a case
            ok, bad = ok + (1 if good else 0), bad + (0 if good else 1)
        passed += ok
        failed += bad
        skipped += skip
print(passed, failed, skipped)
