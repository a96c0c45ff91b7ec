"""Databases of a shop that never was: real work for a demonstration, the same for the same seed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    city TEXT NOT NULL,
    note TEXT
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    placed_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    total REAL NOT NULL,
    note TEXT NOT NULL,
    receipt BLOB
);
"""

# Made after the rows: quicker, and closer to what a grown database looks like.
INDEXES = """
CREATE INDEX customers_by_city ON customers (city, name);
CREATE INDEX orders_by_customer ON orders (customer_id, placed_at);
CREATE INDEX open_orders ON orders (placed_at) WHERE status != 'paid';
CREATE VIEW turnover AS
    SELECT customer_id, count(*) AS orders, sum(total) AS total FROM orders GROUP BY customer_id;
"""

FIRST = ("Ada", "Alan", "Barbara", "Claude", "Edsger", "Frances", "Grace", "Ida", "Jean", "Lynn")
LAST = ("Allen", "Conway", "Dijkstra", "Hamilton", "Hopper", "Kay", "Knuth", "Liskov", "Moore")
CITIES = (
    "Zürich",
    "Lyon",
    "Kyoto",
    "Lagos",
    "Quito",
    "Tromsø",
    "Perth",
    "Austin",
    "Kraków",
    "Hanoi",
)
PHRASES = (
    "please leave at the door",
    "fragile",
    "gift wrapped",
    "second floor, ring twice",
    "paid by invoice",
    "express",
    "call before delivery",
    "replaces the broken one",
    "für Frau Müller",
    "ご注文ありがとうございます",
    "thank you ☃",
)
STATUSES = ("open", "paid", "paid", "paid", "sent", "returned")

#: A second of the year 2024: no clock may show in the data.
EPOCH = 1_704_067_200
YEAR = 366 * 86_400


def make_database(path: Path, seed: int) -> None:
    """
    Write a database of a few hundred customers and some thousand orders, about half a megabyte.

    Equal seeds give equal content. Nobody may use the file meanwhile; it must not exist.
    """
    random = Random(seed)
    customers = random.randint(150, 400)
    orders = random.randint(800, 2_400)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO customers (name, email, city, note) VALUES (?, ?, ?, ?)",
            _customers(random, customers),
        )
        connection.executemany(
            "INSERT INTO orders (customer_id, placed_at, status, total, note, receipt)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            _orders(random, orders, customers),
        )
        connection.execute("COMMIT")
        connection.executescript(INDEXES)


def make_databases(folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Write ``count`` databases that differ from one another; yield each path when it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        path = folder / f"shop-{number:04}.sqlite3"
        make_database(path, seed * 1_000_003 + number)
        yield path


def _customers(random: Random, count: int) -> Iterator[tuple[str, str, str, str | None]]:
    firsts = random.choices(FIRST, k=count)
    lasts = random.choices(LAST, k=count)
    cities = random.choices(CITIES, k=count)
    for number, (first, last, city) in enumerate(zip(firsts, lasts, cities, strict=True)):
        note = "; ".join(random.choices(PHRASES, k=5)) if number % 4 == 0 else None
        yield f"{first} {last}", f"{first}.{last}.{number}@example.org".lower(), city, note


def _orders(
    random: Random, count: int, customers: int
) -> Iterator[tuple[int, int, str, float, str, bytes | None]]:
    statuses = random.choices(STATUSES, k=count)
    # One long text and one long blob to cut from: made once, they cost little.
    text = "; ".join(random.choices(PHRASES, k=2_000))
    noise = random.randbytes(64 * 1024)
    for number, status in enumerate(statuses):
        start = int(random.random() * 16_000)
        length = 40 + number % 160
        receipt = noise[start * 4 : start * 4 + length] if status == "paid" else None
        yield (
            1 + int(random.random() * customers),
            EPOCH + int(random.random() * YEAR),
            status,
            int(random.random() * 50_000) / 100,
            text[start : start + length],
            receipt,
        )
