"""One form for texts: blanks collapsed, since doubled ones disturb the teacher (arXiv 2310.19019, section 3)."""

from __future__ import annotations

import re

# `\p{Z}` and the controls that act as blanks, without the line feed. RE2 (DuckDB) and Python spell classes differently;
# tests hold the two forms to the same results.
_BLANKS = re.compile(r"[ \t\r\f\v\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_LINE_ENDS = re.compile(r" *\n *")
_EMPTY_LINES = re.compile(r"\n{3,}")
_ANY = re.compile(r"[ \t\r\n\f\v\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")

_RARE = r"\x{00a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"

# Regular expressions cost ten times what these tests cost, and most texts are clean: `is_untidy` says exactly when
# cleaning would change a text. DuckDB evaluates the argument of a macro wherever it stands, so that `clean_column` is
# for columns, and `clean_text` puts any other expression into a list first.
SQL_MACROS = rf"""
CREATE OR REPLACE TEMP MACRO as_text(x) AS
    CASE WHEN typeof(x) = 'JSON' THEN to_json(x) ->> '$' ELSE CAST(x AS VARCHAR) END;
CREATE OR REPLACE TEMP MACRO is_untidy(t) AS
    contains(t, '  ') OR starts_with(t, ' ') OR ends_with(t, ' ')
    OR contains(t, chr(9)) OR contains(t, chr(11)) OR contains(t, chr(12)) OR contains(t, chr(13))
    OR (contains(t, chr(10)) AND (
        starts_with(t, chr(10)) OR ends_with(t, chr(10)) OR contains(t, ' ' || chr(10))
        OR contains(t, chr(10) || ' ') OR contains(t, chr(10) || chr(10) || chr(10))))
    OR (strlen(t) <> length(t) AND regexp_matches(t, '[{_RARE}]'));
CREATE OR REPLACE TEMP MACRO tidied(t) AS trim(
    regexp_replace(regexp_replace(regexp_replace(t, '[ \t\r\f\v{_RARE}]+', ' ', 'g'),
        ' *\n *', chr(10), 'g'), '\n{{3,}}', chr(10) || chr(10), 'g'), chr(32) || chr(10));
CREATE OR REPLACE TEMP MACRO clean_column(t) AS CASE WHEN is_untidy(t) THEN tidied(t) ELSE t END;
CREATE OR REPLACE TEMP MACRO clean_text(t) AS list_transform([as_text(t)], lambda __text: clean_column(__text))[1];
CREATE OR REPLACE TEMP MACRO joined(x) AS
    coalesce(array_to_string(TRY_CAST(to_json(x) AS VARCHAR[]), ' '), to_json(x) ->> '$');
"""
"""What recipes' expressions may use beside DuckDB's own functions: `clean_text(t)` collapses blanks and keeps lines;
`as_text(x)` is the text of any value, also of one that DuckDB calls JSON since its column holds several types;
`joined(x)` gives the text of a column that is a list of texts in some copies of a dataset and one text in others."""


def clean(text: str) -> str:
    """Collapse runs of blanks, trim lines and ends, keep line breaks (at most one empty line).

    >>> clean("  Iron  rusts. \\n  Why? ")
    'Iron rusts.\\nWhy?'
    """
    text = _BLANKS.sub(" ", text)
    return _EMPTY_LINES.sub("\n\n", _LINE_ENDS.sub("\n", text)).strip(" \n")


def one_line(text: str) -> str:
    """Collapse blanks and line breaks into single blanks, as the paper's prompts have them.

    >>> one_line("Iron  rusts.\\nWhy?")
    'Iron rusts. Why?'
    """
    if text.isprintable() and "  " not in text:  # of all blanks only " " is printable; most texts are clean
        return text.strip(" ")
    return _ANY.sub(" ", text).strip(" ")
