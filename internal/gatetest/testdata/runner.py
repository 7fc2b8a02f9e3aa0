# What runners of Python packages do, as uvx does it: it keeps packages in a
# cache at home under a lock, makes an environment of links to them and to the
# interpreter, and becomes the program in it.
#
#   python3 runner.py MODULE.py
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import venv

module = pathlib.Path(sys.argv[1])
cache = pathlib.Path.home() / ".cache" / "runner"
(cache / "packages").mkdir(parents=True, exist_ok=True)
with open(cache / ".lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    made = pathlib.Path(tempfile.mkdtemp(dir=cache))
    shutil.copy(module, made / "app.py")
    os.replace(made / "app.py", cache / "packages" / "app.py")
    venv.create(made / "env", symlinks=True, with_pip=False)
    site = next((made / "env" / "lib").glob("python3*")) / "site-packages"
    os.link(cache / "packages" / "app.py", site / "app.py")
    env = cache / "environment"
    shutil.rmtree(env, ignore_errors=True)
    os.rename(made / "env", env)
    script = env / "bin" / "app"
    script.write_text(f"#!{env}/bin/python3\nimport app\napp.main()\n")
    script.chmod(0o755)
subprocess.run([env / "bin" / "python3", "-c", "import ssl, sqlite3"], check=True)
os.execv(script, [str(script)])
