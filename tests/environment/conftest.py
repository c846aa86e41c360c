"""Which environment tests fit the installed Gymnasium."""

import gymnasium
import gymnasium.vector

# These speak of all three autoreset modes, which came with Gymnasium 1.1; test_versions.py tests what is older.
collect_ignore = (
    []
    if hasattr(gymnasium.vector, "AutoresetMode")
    else ["test_autoreset.py", "test_environment_checker.py", "test_gymnasium_wrapper.py"]
)
