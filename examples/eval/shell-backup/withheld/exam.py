import subprocess
from pathlib import Path

Path("-x").write_text("a")
subprocess.run(["sh", "backup.sh", "-x"], check=True)
assert Path("-x.bak").read_text() == "a"
