"""Why a ratio is what it is, where that needs saying; the reports print it below the table."""

from typing import Dict, Tuple

EXPLANATIONS: Dict[Tuple[str, str, str], str] = {}
"""Suite, group (empty: any) and title of the comparison to the explanation."""
