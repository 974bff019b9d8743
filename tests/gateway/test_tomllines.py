"""On which line does a setting stand?"""

from __future__ import annotations

from gateway.tomllines import line_numbers, line_of

SOURCE = '''# a comment with [brackets] and a = 1
top = 1
[server]   # not [this]
port = 1
text = """
[fake]
port = 2
"""
list = [
  1,  # [no]
  2,
]
inline = { a = { b = 1 } }
dotted.path = 1
[models."a/b".params]
"quoted key" = 1
'''


def test_each_setting_is_found_on_its_first_line() -> None:
    numbers = line_numbers(SOURCE)
    assert numbers == {
        ("top",): 2,
        ("server",): 3,
        ("server", "port"): 4,
        ("server", "text"): 5,
        ("server", "list"): 9,
        ("server", "inline"): 13,
        ("server", "inline", "a"): 13,
        ("server", "inline", "a", "b"): 13,
        ("server", "dotted"): 14,
        ("server", "dotted", "path"): 14,
        ("models",): 15,
        ("models", "a/b"): 15,
        ("models", "a/b", "params"): 15,
        ("models", "a/b", "params", "quoted key"): 16,
    }


def test_windows_line_ends_and_odd_separators_do_not_shift_lines() -> None:
    numbers = line_numbers("# one\u2028two\x85\r\na = 1\r\n[t]\r\nb = 2\r\n")
    assert numbers == {("a",): 2, ("t",): 3, ("t", "b"): 4}


def test_a_missing_setting_is_placed_at_its_table() -> None:
    numbers = line_numbers(SOURCE)
    assert line_of(("server", "host"), numbers) == 3
    assert line_of(("database", "url"), numbers) is None
