"""Figures as a CSV file, which every run writes."""

import csv
import io
from itertools import islice
from pathlib import Path
from typing import Any, Dict, List, Optional

from loguru import logger

from AquaML.coordinator.file_operations import FileOperations, replace_text
from AquaML.tracking.sink import Sink

FILE_NAME = "progress.csv"


class CsvSink(Sink):
    """``progress.csv``: one row per log, one column per figure, empty where a figure was absent."""

    name = "csv"

    def __init__(self) -> None:
        super().__init__()
        self.path: Optional[Path] = None
        self._columns: List[str] = []
        self._operations = FileOperations()

    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        """Take up the file, cut to the rows that are valid, or begin a new one."""
        self.path = folder / FILE_NAME
        rows = read_rows(self.path, self.rows) if self.rows else []
        self.rows = len(rows)
        self._columns = list(rows[0]) if rows else []
        self._rewrite(rows)

    def write(self, step: int, row: Dict[str, float]) -> None:
        """Append a row; a figure seen for the first time becomes a column."""
        assert self.path is not None
        new = [name for name in row if name not in self._columns]
        if new:
            rows = read_rows(self.path)
            self._columns += new
            self._rewrite(rows)
        with open(str(self.path), "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)
        self.rows += 1

    def _rewrite(self, rows: List[Dict[str, str]]) -> None:
        assert self.path is not None
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        if self._columns:
            writer.writeheader()
        writer.writerows(rows)
        replace_text(self.path, text.getvalue(), self._operations)

    def state_dict(self) -> Dict[str, Any]:
        """Return the number of rows, which then are on the disk: a checkpoint counts on them after a power loss."""
        if self.path is not None:
            try:
                with open(str(self.path), "ab", buffering=0) as file:
                    self._operations.sync(file)
            except OSError as error:
                logger.warning("'{}' may lose rows if the power fails: {}.", self.path, error)
        return super().state_dict()


def read_rows(path: Path, most: Optional[int] = None) -> List[Dict[str, str]]:
    """Return the rows of a file that :class:`CsvSink` wrote; an absent file has none.

    Args:
        path: The file.
        most: How many rows to read; what comes behind them may be torn. None: all.
    """
    if not path.is_file():
        return []
    with open(str(path), newline="", encoding="utf-8") as file:
        return [dict(row) for row in islice(csv.DictReader(file), most)]
