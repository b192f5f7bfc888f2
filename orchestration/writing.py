"""Write-behind: what one transaction changes and adds is collected, and written in one statement.

On PostgreSQL that is `WITH a AS (UPDATE …), b AS (INSERT …) SELECT …`, so that a transaction of ten changes costs one round trip;
SQLite, which has none to save, gets them one after another. Where a new row needs the place of a changed one (one live run per
step), all changes go first in a statement of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from django.db import connection, models
from django.db.models import sql as queries
from django.db.models.expressions import DatabaseDefault

Statement = tuple[str, Sequence[Any]]


class Stale(RuntimeError):
    """A row that was read under its goal's lock is not as it was read: somebody changed it without the lock."""


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

    def __bool__(self) -> bool:
        return bool(self._changed or self._added or self._or_leave)

    def change(self, row: models.Model, guard: dict[str, Any], **fields: Any) -> None:
        """Of a row that is still to be added, only the row in hand changes (the caller does that)."""
        if not any(row is added for added in self._added):
            self._changed.setdefault(id(row), _Changed(row, guard)).fields.update(fields)

    def add(self, row: models.Model, *, or_leave: bool = False) -> None:
        """`or_leave`: where there is a row with this key already, it stands."""
        (self._or_leave if or_leave else self._added).append(row)

    def absorb(self, later: Writes) -> None:
        """What was to be written after us is written with us."""
        for key, changed in later._changed.items():
            self.change(changed.row, changed.guard)
            if key in self._changed:
                self._changed[key].fields.update(changed.fields)
        self._added += later._added
        self._or_leave += later._or_leave

    def flush(self) -> None:
        changed, added, or_leave = list(self._changed.values()), self._added, self._or_leave
        self.__init__()  # type: ignore[misc]
        updates = [_update(one) for one in changed]
        inserts = [*_inserts(added), *_inserts(or_leave, or_leave=True)]
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
    sets, values = _pairs(model, fields)
    wheres, wanted = _pairs(model, where)
    table = connection.ops.quote_name(model._meta.db_table)
    return f"UPDATE {table} SET {', '.join(sets)} WHERE {' AND '.join(wheres)}", [*values, *wanted]  # noqa: S608 - names are our models'


def insert_of(rows: Sequence[models.Model], *, or_leave: bool = False) -> Statement:
    """INSERT of new rows of one model; a key that the database gives is left to it."""
    table, fields, columns = _columns_of(type(rows[0]), connection.vendor)
    places: list[str] = []
    params: list[Any] = []
    for row in rows:
        pairs = [_value(field, field.pre_save(row, add=True)) for field in fields]
        places.append(f"({', '.join(place for place, _ in pairs)})")
        params += [param for _, given in pairs for param in given]
    leave = " ON CONFLICT DO NOTHING" if or_leave else ""
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join(places)}{leave}", params  # noqa: S608 - names are our models'


@cache
def _columns_of(model: type[models.Model], vendor: str) -> tuple[str, list[models.Field[Any, Any]], str]:
    fields = [f for f in model._meta.local_concrete_fields if not isinstance(f, models.AutoField)]
    quote = connection.ops.quote_name
    return quote(model._meta.db_table), fields, ", ".join(quote(str(field.column)) for field in fields)


def _may_clash(changed: Sequence[models.Model], added: Sequence[models.Model]) -> bool:
    """Does a new row need the place of a changed one? The order within one statement is the database's own affair."""
    for new in added:
        for unique in (c for c in new._meta.constraints if isinstance(c, models.UniqueConstraint)):
            names = [new._meta.get_field(name).attname for name in unique.fields]  # type: ignore[union-attr]
            place = [getattr(new, name) for name in names]
            same = (old for old in changed if type(old) is type(new))
            if (
                None not in place
                and _counts(new, unique.condition)
                and any([old.__dict__.get(name) for name in names] == place for old in same)
            ):
                return True
    return False


def _counts(row: models.Model, condition: Any) -> bool:
    """Is the constraint about this row? Only what is plainly said in it is understood: `name=value`, `name__in=values`."""
    for name, value in condition.children if condition is not None else ():
        column, _, how = name.partition("__")
        if getattr(row, column) not in (value if how == "in" else [value]):
            return False
    return True


def _update(changed: _Changed) -> Statement:
    return update_of(type(changed.row), {"pk": changed.row.pk, **changed.guard}, changed.fields)


def _inserts(rows: Iterable[models.Model], *, or_leave: bool = False) -> list[Statement]:
    by_model: dict[type[models.Model], list[models.Model]] = {}
    for row in rows:
        by_model.setdefault(type(row), []).append(row)
    return [insert_of(same, or_leave=or_leave) for same in by_model.values()]


def _pairs(model: type[models.Model], values: dict[str, Any]) -> tuple[list[str], list[Any]]:
    pairs: list[str] = []
    params: list[Any] = []
    for name, value in values.items():
        column, field = _column_of(model, name, connection.vendor)
        place, given = _value(field, value)
        pairs.append(f"{column} = {place}")
        params += given
    return pairs, params


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


@lru_cache(maxsize=1000)
def _expression(model: type[models.Model], value: Any, vendor: str) -> tuple[str, Sequence[Any]]:
    query = queries.UpdateQuery(model)
    plain: Any = value.expression if isinstance(value, DatabaseDefault) else value  # type: ignore[attr-defined]
    resolved = plain.resolve_expression(query, allow_joins=False, for_save=True)
    sql, params = query.get_compiler(connection=connection).compile(resolved)
    return sql, tuple(params)


def _forget_expressions(row: models.Model) -> None:
    """A value that the database computed is read from there when somebody asks for it."""
    for name in [name for name, value in row.__dict__.items() if hasattr(value, "resolve_expression")]:
        del row.__dict__[name]
    row._state.adding = False
    row._state.db = connection.alias
