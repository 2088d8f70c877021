"""Parses tables into entries, one for each row: CSV, TSV and Parquet."""

import csv
import importlib
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError, one_line
from eagle_jax.lists.entries import Placed

PARQUET = b"PAR1"
_SUFFIXES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
# Columns of tables that are recognised under any file name.
_KNOWN = ({"index", "question"}, {"image", "prompt"})


def delimiter_of(content: bytes, path: Path) -> str | None:
    """What separates the cells of a CSV file; None for a file that is not such a table.

    Args:
      content: content of the file, as UTF-8 text.
      path: path of the file; ".csv" and ".tsv" always name a table.
    """
    header = content.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r")
    # Spreadsheets of some countries write semicolons, and ".csv" files often hold tabs.
    delimiter = max("\t;,", key=header.count)
    if header.count(delimiter) and path.suffix.lower() in _SUFFIXES:
        return delimiter
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    names = {name.strip(' "').lower() for name in header.split(delimiter)}
    return delimiter if any(known <= names for known in _KNOWN) else None


def read_rows(content: bytes, delimiter: str) -> Iterator[Placed]:
    """Parses a CSV file whose first line names the columns.

    An empty cell is a missing field.

    Args:
      content: content of the file, as UTF-8 text.
      delimiter: what separates the cells.

    Raises:
      InputError: two columns have the same name.
    """
    # Invalid UTF-8 becomes surrogates, which the check of each field refuses.
    text = content.decode("utf-8", "surrogateescape")
    # Strict, because a quotation mark that is never closed would swallow the other rows.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {begin}", InputError(f"not a valid row: {error}")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if not header:
            header = [name.strip() for name in row]
            if repeated := [name for name in header if name and header.count(name) > 1]:
                raise InputError(
                    f"the column {repeated[0][:60]!r} appears twice in the first line"
                )
        elif len(row) != len(header):
            problem = f"the row has {len(row)} columns, but the first line has {len(header)}"
            yield f"line {begin}", InputError(problem)
        else:
            cells = zip(header, row, strict=True)
            yield f"line {begin}", {name: cell for name, cell in cells if cell}


def read_parquet(path: Path, columns: Collection[str] | None) -> list[Placed]:
    """Parses a Parquet file.

    Args:
      path: path of the file.
      columns: names of the columns to read; None for all but those that hold images.

    Raises:
      InputError: pyarrow is not installed, or the file is damaged.
    """
    try:
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError(f"{path} is a Parquet file: pip install pyarrow to read it") from error
    with one_line(f"cannot read the list {str(path)!r}", Exception):
        # ParquetFile and not read_table, which takes names of folders for columns.
        with parquet.ParquetFile(path) as file:
            names = [
                field.name
                for field in file.schema_arrow
                if (columns is None or field.name in columns)
                and not (columns is None and _holds_bytes(field.type, pyarrow.types))
            ]
            rows = file.read(columns=names).to_pylist()
    return [(f"row {number}", row) for number, row in enumerate(rows, 1)]


def _holds_bytes(type_: Any, types: Any) -> bool:
    if types.is_struct(type_):
        return any(_holds_bytes(field.type, types) for field in type_)
    if types.is_list(type_) or types.is_large_list(type_):
        return _holds_bytes(type_.value_type, types)
    return types.is_binary(type_) or types.is_large_binary(type_)
