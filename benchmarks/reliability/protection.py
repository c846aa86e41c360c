"""What an entry in the lists of protections says."""

from typing import NamedTuple


class Protection(NamedTuple):
    """One protection.

    Attributes:
        name: What it keeps from happening, in a few words.
        file: Where it is, from the repository's root.
        code: Its text there, which occurs once.
        without: What stands there when it is taken away.
        test: The test that then fails, as pytest names it.
    """

    name: str
    file: str
    code: str
    without: str
    test: str
