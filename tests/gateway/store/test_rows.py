from __future__ import annotations

import sqlite3

import pytest

from gateway.store.rows import Statement, insert


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 16, 63, 64, 65, 200])
def test_any_number_of_rows_is_written_once_each(count: int) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE pairs (a BIGINT PRIMARY KEY, b TEXT)")
    rows = [(number, f"text {number}") for number in range(count)]
    insert("pairs", ("a", "b")).execute(db, rows)
    assert db.execute("SELECT a, b FROM pairs ORDER BY a").fetchall() == rows
    db.close()


def test_a_single_row_takes_the_cheaper_text() -> None:
    db = sqlite3.connect(":memory:")
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    both = Statement(1, lambda values: "VALUES " + values, "SELECT ?")
    both.execute(db, [(number,) for number in range(5)])
    assert statements == ["VALUES (0), (1), (2), (3)", "SELECT 4"]
    db.close()
