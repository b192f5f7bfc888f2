"""Write-behind: what one transaction changes and adds is collected, and written in one statement.

On PostgreSQL that is `WITH a AS (UPDATE …), b AS (INSERT …) SELECT …`, so that a transaction of ten changes costs one round trip;
SQLite, which has none to save, gets them one after another. Where a new row needs the place of a changed one (one live run per
step), all changes go first in a statement of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DataError, connection, connections, models, transaction
from django.db.models import sql as queries
from django.db.models.expressions import DatabaseDefault

Statement = tuple[str, Sequence[Any]]


DIVISION_BY_ZERO = "22012"


class Stale(RuntimeError):
    """A row that was read under its goal's lock is not as it was read: somebody changed it without the lock."""


class Plain:
    """A new row of which nothing is asked before it is written: its columns by name, without the cost of a model's object."""

    def __init__(self, model: type[models.Model], columns: dict[str, Any]) -> None:
        self.model, self.columns = model, columns


@dataclass
class _Changed:
    """`guard`: what the row must still be like."""

    row: models.Model
    guard: dict[str, Any]
    fields: dict[str, Any] = field(default_factory=dict)


class Writes:
    """Collects; `flush` writes, and is empty afterwards."""

    def __init__(self) -> None:
        self._changed: dict[int, _Changed] = {}  # by identity of the row in hand
        self._added: list[models.Model] = []
        self._or_leave: list[models.Model] = []
        self._plain: list[Plain] = []

    def __bool__(self) -> bool:
        return bool(self._changed or self._added or self._or_leave or self._plain)

    def change(self, row: models.Model, guard: dict[str, Any], **fields: Any) -> None:
        """Of a row that is still to be added, only the row in hand changes (the caller does that)."""
        if not any(row is added for added in self._added):
            self._changed.setdefault(id(row), _Changed(row, guard)).fields.update(fields)

    def add(self, row: models.Model, *, or_leave: bool = False) -> None:
        """`or_leave`: where there is a row with this key already, it stands."""
        (self._or_leave if or_leave else self._added).append(row)

    def add_plain(self, rows: Iterable[Plain]) -> None:
        self._plain += rows

    def absorb(self, later: Writes) -> None:
        """What was to be written after us is written with us."""
        for key, changed in later._changed.items():
            self.change(changed.row, changed.guard)
            if key in self._changed:
                self._changed[key].fields.update(changed.fields)
        self._added += later._added
        self._or_leave += later._or_leave
        self._plain += later._plain

    def flush_if(self, row: models.Model, guard: dict[str, Any], condition: Statement) -> bool:
        """Write everything at once, the change of `row` first, if that is still like `guard`, the others like theirs, and `condition`
        holds. False: nothing was written.
        """
        changed = [one for key, one in self._changed.items() if key != id(row)]
        if _may_clash([one.row for one in changed], self._added):
            return False
        first = self._changed[id(row)]
        sql, values = _update(_Changed(row, first.guard | guard, first.fields))
        guarded = f"{sql} AND {condition[0]}", [*values, *condition[1]]
        updates = [_update(one) for one in changed]
        if not all_or_none(guarded, updates, lambda only_if: self._inserts(only_if)):
            return False
        for added in self._added:
            _forget_expressions(added)
        self.__init__()  # type: ignore[misc]
        return True

    def _inserts(self, only_if: str = "") -> list[Statement]:
        return [
            *_inserts([*self._added, *self._plain], only_if=only_if),
            *_inserts(self._or_leave, or_leave=True, only_if=only_if),
        ]

    def flush(self) -> None:
        changed, added = list(self._changed.values()), self._added
        updates, inserts = [_update(one) for one in changed], self._inserts()
        self.__init__()  # type: ignore[misc]
        if updates and inserts and _may_clash([one.row for one in changed], added):
            done = [*together(updates), *together(inserts)]
        else:
            done = together([*updates, *inserts])
        if not all(done[: len(updates)]):
            raise Stale(f"one of {[str(one.row) for one in changed]} was changed by somebody else")
        for row in added:
            _forget_expressions(row)


def together(statements: Sequence[Statement], key_of: int = -1) -> list[int]:
    """Execute them, as one where that is possible; how many rows each one changed. Of number `key_of`: the new row's key instead."""
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql" or len(statements) < 2:
            return [_execute(cursor, *statement, n == key_of) for n, statement in enumerate(statements)]
        parts = ", ".join(
            f"w{n} AS ({sql} RETURNING {'id' if n == key_of else 1})" for n, (sql, _) in enumerate(statements)
        )
        what = ["max(id)" if n == key_of else "count(*)" for n in range(len(statements))]
        counts = ", ".join(f"(SELECT {asked} FROM w{n})" for n, asked in enumerate(what))  # noqa: S608 - these very words
        cursor.execute(f"WITH {parts} SELECT {counts}", [value for _, values in statements for value in values])
        return [int(count) for count in cursor.fetchone()]


def chained(updates: Sequence[Statement], insert: Callable[[str], Statement] | None = None) -> tuple[list[bool], int]:
    """One transaction: each update only if the one before has found its row, then the insert. Which found theirs; the new key, or 0.

    On PostgreSQL it is one statement, and needs no BEGIN and no COMMIT.
    """
    if connection.vendor != "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            return _one_by_one(cursor, updates, insert)
    parts = [updates[0], *((f"{sql} AND {_found(n)}", values) for n, (sql, values) in enumerate(updates[1:]))]
    if insert is not None:
        parts.append(insert(_found(len(updates) - 1)))
    texts = [f"w{n} AS ({sql} RETURNING {'1' if n < len(updates) else 'id'})" for n, (sql, _) in enumerate(parts)]
    asked = [_found(n) for n in range(len(updates))]
    if insert is not None:
        asked.append(f"(SELECT max(id) FROM w{len(updates)})")  # noqa: S608 - these very words
    row = _autocommitted(f"WITH {', '.join(texts)} SELECT {', '.join(asked)}", [v for _, some in parts for v in some])
    return [bool(one) for one in row[: len(updates)]], int(row[-1] or 0) if insert else 0


def _one_by_one(
    cursor: Any, updates: Sequence[Statement], insert: Callable[[str], Statement] | None
) -> tuple[list[bool], int]:
    found = [False] * len(updates)
    for n, statement in enumerate(updates):
        if not _execute(cursor, *statement, False):
            return found, 0
        found[n] = True
    return found, _execute(cursor, *insert(""), True) if insert else 0


def _found(n: int) -> str:
    """Has that statement of this WITH changed its row?"""
    return f"EXISTS (SELECT 1 FROM w{n})"  # noqa: S608 - a number


def all_or_none(first: Statement, updates: Sequence[Statement], inserts: Callable[[str], list[Statement]]) -> bool:
    """One transaction: `first`, and if that changes a row, the others. False: it does not, or an update finds its row otherwise.

    On PostgreSQL it is one statement, which takes the lock of the row of `first` before it touches any other.
    """
    if connection.vendor == "postgresql":
        return _in_one(first, updates, inserts(_found(0)))
    with transaction.atomic(), connection.cursor() as cursor:
        held = all(_execute(cursor, *statement, False) for statement in (first, *updates))
        if held:
            together(inserts(""))
        else:
            transaction.set_rollback(True)
        return held


def _in_one(first: Statement, updates: Sequence[Statement], inserts: Sequence[Statement]) -> bool:
    """(A division by zero takes everything back: there is no transaction around it that could be rolled back.)"""
    where = [(f"{sql} AND {_found(0)}", values) for sql, values in updates]
    statements = [first, *where, *inserts]
    parts = ", ".join(f"w{n} AS ({sql} RETURNING 1)" for n, (sql, _) in enumerate(statements))
    held = " AND ".join(_found(n) for n in range(1, len(where) + 1)) or "true"
    end = f"SELECT 1 / (CASE WHEN NOT {_found(0)} THEN 2 WHEN {held} THEN 1 ELSE 0 END)"
    try:
        row = _autocommitted(f"WITH {parts} {end}", [value for _, values in statements for value in values])
    except DataError as error:
        if getattr(error.__cause__, "sqlstate", "") == DIVISION_BY_ZERO:
            return False
        raise
    return bool(row[0])


def _autocommitted(sql: str, values: Sequence[Any]) -> Sequence[Any]:
    """A statement that is a transaction of its own; its one row."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row: Sequence[Any] = cursor.fetchone()
        return row


def _execute(cursor: Any, sql: str, values: Sequence[Any], key: bool) -> int:
    cursor.execute(sql, values)
    return int(cursor.lastrowid if key else cursor.rowcount)


def update_by(rows: models.QuerySet[Any], **fields: Any) -> Statement:
    """What `rows.update(**fields)` would execute."""
    query = rows.query.chain(queries.UpdateQuery)
    query.add_update_values(fields)  # type: ignore[attr-defined]
    sql, values = query.get_compiler(connection=connection).as_sql()
    return sql, list(values)


def update_of(model: type[models.Model], where: dict[str, Any], fields: dict[str, Any]) -> Statement:
    """UPDATE by plain equalities; values may be expressions (`Now()`, `F`)."""
    shape = tuple((name, value if hasattr(value, "resolve_expression") else None) for name, value in fields.items())
    known = _update_of(model, tuple(where), shape, connection.vendor)
    database = connections[DEFAULT_DB_ALIAS]
    values: list[Any] = []
    given = [*fields.values(), *where.values()]
    for column, value, fixed in zip(known.columns, given, known.fixed, strict=True):
        if fixed is None:
            plain = value.pk if isinstance(value, models.Model) else value
            values.append(column.get_db_prep_save(plain, database))
        else:
            values += fixed
    return known.sql, values


@dataclass
class _Update:
    """`columns`: first what is set, then what is compared. `fixed`: the parameters of an expression, None for a plain value."""

    sql: str
    columns: Sequence[models.Field[Any, Any]]
    fixed: Sequence[Sequence[Any] | None]


@lru_cache(maxsize=1000)
def _update_of(
    model: type[models.Model], where: tuple[str, ...], shape: tuple[tuple[str, Any], ...], vendor: str
) -> _Update:
    """The text for all updates of these columns."""
    sets = [(_column_of(model, name, vendor), value) for name, value in shape]
    said = [_expression(model, value, vendor) if value is not None else ("%s", None) for _, value in sets]
    conditions = [_column_of(model, name, vendor) for name in where]
    places = ", ".join(f"{name} = {place}" for ((name, _), _), (place, _) in zip(sets, said, strict=True))
    table = connection.ops.quote_name(model._meta.db_table)
    sql = f"UPDATE {table} SET {places} WHERE {' AND '.join(f'{name} = %s' for name, _ in conditions)}"  # noqa: S608 - names are our models'
    columns = [*(field for (_, field), _ in sets), *(field for _, field in conditions)]
    return _Update(sql, columns, [*(params for _, params in said), *(None for _ in conditions)])


def insert_of(rows: Sequence[models.Model | Plain], *, or_leave: bool = False, only_if: str = "") -> Statement:
    """INSERT of new rows of one model; a key that the database gives is left to it.

    On PostgreSQL all that is plain goes there as one JSON value: psycopg takes a statement of more than 50 apart each time.
    """
    known = _columns_of(_model_of(rows[0]), connection.vendor)
    given = [_values_of(row, known) for row in rows]
    leave = " ON CONFLICT DO NOTHING" if or_leave else ""
    if connection.vendor == "postgresql" and (compiled := _from_json(known, given)):
        source, params = compiled
        where = f" WHERE {only_if}" if only_if else ""
        return f"INSERT INTO {known.table} ({known.names}) {source}{where}{leave}", params
    pairs = [[_value(field, value) for field, value in zip(known.fields, values, strict=True)] for values in given]
    places = [", ".join(place for place, _ in row) for row in pairs]
    params = [param for row in pairs for _, some in row for param in some]
    assert len(rows) == 1 or not only_if
    what = f"SELECT {places[0]} WHERE {only_if}" if only_if else f"VALUES {', '.join(f'({row})' for row in places)}"
    return f"INSERT INTO {known.table} ({known.names}) {what}{leave}", params


@dataclass
class _Columns:
    """What a new row of a model needs. `saves`: those whose field gives or changes the value itself, by place."""

    table: str
    fields: Sequence[models.Field[Any, Any]]
    keys: Sequence[str]
    quoted: Sequence[str]
    saves: dict[int, models.Field[Any, Any]]
    is_json: bool

    def __post_init__(self) -> None:
        self.names = ", ".join(self.quoted)
        self.columns = [str(field.column) for field in self.fields]


@cache
def _columns_of(model: type[models.Model], vendor: str) -> _Columns:
    fields = [f for f in model._meta.local_concrete_fields if not isinstance(f, models.AutoField)]
    quote = connection.ops.quote_name
    saves = {n: field for n, field in enumerate(fields) if type(field).pre_save is not models.Field.pre_save}
    is_json = not any(isinstance(field, models.BinaryField) for field in fields)
    keys, quoted = [field.attname for field in fields], [quote(str(field.column)) for field in fields]
    return _Columns(quote(model._meta.db_table), fields, keys, quoted, saves, is_json)


def _model_of(row: models.Model | Plain) -> type[models.Model]:
    return row.model if isinstance(row, Plain) else type(row)


def _values_of(row: models.Model | Plain, known: _Columns) -> list[Any]:
    if isinstance(row, Plain):
        return [row.columns[key] for key in known.keys]
    values = [row.__dict__[key] for key in known.keys]
    for n, column in known.saves.items():
        values[n] = column.pre_save(row, add=True)
    return values


def _from_json(known: _Columns, rows: Sequence[Sequence[Any]]) -> Statement | None:
    """SELECT of these rows from one JSON value; None where that cannot be said (bytes, a different expression in each row)."""
    if not known.is_json:
        return None
    computed = _computed(rows[0])
    if any(_computed(row) != computed for row in rows[1:]):
        return None
    places, params = list(known.quoted), list[Any]()
    for n, value in computed.items():
        places[n], some = _expression(known.fields[n].model, value, "postgresql")
        params += some
    plain = [dict(zip(known.columns, row, strict=True)) for row in rows]
    for row in plain:
        for n in computed:
            del row[known.columns[n]]
    source = f"jsonb_populate_recordset(NULL::{known.table}, %s::jsonb)"
    return f"SELECT {', '.join(places)} FROM {source}", [*params, json.dumps(plain, default=_as_text)]  # noqa: S608 - names are our models'


def _computed(row: Sequence[Any]) -> dict[int, Any]:
    """What the database is to compute, by its place."""
    return {n: value for n, value in enumerate(row) if hasattr(value, "resolve_expression")}


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _may_clash(changed: Sequence[models.Model], added: Sequence[models.Model]) -> bool:
    """Does a new row need the place of a changed one? The order within one statement is the database's own affair."""
    for new in added:
        same = [old for old in changed if type(old) is type(new)]
        for names, condition in _places_of(type(new)) if same else ():
            place = [getattr(new, name) for name in names]
            if (
                None not in place
                and _counts(new, condition)
                and any([old.__dict__.get(name) for name in names] == place for old in same)
            ):
                return True
    return False


@cache
def _places_of(model: type[models.Model]) -> list[tuple[list[str], Any]]:
    """What there may be once only: columns, and for which rows that holds."""
    uniques = [c for c in model._meta.constraints if isinstance(c, models.UniqueConstraint)]
    return [([model._meta.get_field(name).attname for name in c.fields], c.condition) for c in uniques]  # type: ignore[union-attr]


def _counts(row: models.Model, condition: Any) -> bool:
    """Is the constraint about this row? Only what is plainly said in it is understood: `name=value`, `name__in=values`."""
    for name, value in condition.children if condition is not None else ():
        column, _, how = name.partition("__")
        if getattr(row, column) not in (value if how == "in" else [value]):
            return False
    return True


def _update(changed: _Changed) -> Statement:
    return update_of(type(changed.row), {"pk": changed.row.pk, **changed.guard}, changed.fields)


def _inserts(rows: Iterable[models.Model | Plain], *, or_leave: bool = False, only_if: str = "") -> list[Statement]:
    by_model: dict[type[models.Model], list[models.Model | Plain]] = {}
    for row in rows:
        by_model.setdefault(_model_of(row), []).append(row)
    return [insert_of(same, or_leave=or_leave, only_if=only_if) for same in by_model.values()]


@cache
def _column_of(model: type[models.Model], name: str, vendor: str) -> tuple[str, models.Field[Any, Any]]:
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return connection.ops.quote_name(str(field.column)), field


def _value(field: models.Field[Any, Any], value: Any) -> tuple[str, Sequence[Any]]:
    """How a value is written: a place for it in the statement, and what goes there."""
    if hasattr(value, "resolve_expression"):
        return _expression(field.model, value, connection.vendor)
    plain = value.pk if isinstance(value, models.Model) else value
    return "%s", [field.get_db_prep_save(plain, connection)]


def _expression(model: type[models.Model], value: Any, vendor: str) -> tuple[str, Sequence[Any]]:
    if isinstance(value, DatabaseDefault):  # a new one in each row; what is in it is the same
        value = value.expression  # type: ignore[attr-defined]
    return _compiled(model, value, vendor)


@lru_cache(maxsize=1000)
def _compiled(model: type[models.Model], value: Any, vendor: str) -> tuple[str, Sequence[Any]]:
    query = queries.UpdateQuery(model)
    resolved = value.resolve_expression(query, allow_joins=False, for_save=True)
    sql, params = query.get_compiler(connection=connection).compile(resolved)
    return sql, tuple(params)


def _forget_expressions(row: models.Model) -> None:
    """A value that the database computed is read from there when somebody asks for it."""
    for name in [name for name, value in row.__dict__.items() if hasattr(value, "resolve_expression")]:
        del row.__dict__[name]
    row._state.adding = False
    row._state.db = connection.alias
