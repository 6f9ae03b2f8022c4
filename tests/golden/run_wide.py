"""Makes the wide reference case in a temporary folder and runs the parity test on it."""
import os, subprocess, sys, tempfile

with tempfile.TemporaryDirectory() as folder:
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "make_reference.py")
    made = subprocess.run([sys.executable, script, "--write", folder, "--wide"])
    if made.returncode != 0:
        sys.exit(made.returncode)
    environment = dict(os.environ, REZEPT_GOLDEN_ENCODER=folder, CMOCKA_MESSAGE_OUTPUT="STDOUT")
    sys.exit(subprocess.run([sys.argv[1]], env=environment).returncode)
