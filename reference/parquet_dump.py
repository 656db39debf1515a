"""Small tables written by pyarrow, for test/data: rows as they are published, in every packing that is read."""

from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FIXTURES = Path(__file__).parent.parent / "test" / "data" / "fixtures"


def conversations() -> pa.Table:
    def row(i: int) -> dict:
        turns = [{"role": "user", "content": f"Frage {i}? \U0001f600"}, {"role": "assistant", "content": f"Antwort {i}."}]
        return {"id": 2**40 + i, "messages": turns * (1 + i % 2), "source": None if i % 3 == 0 else "made"}

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema([("id", pa.int64()), ("messages", pa.list_(turn)), ("source", pa.string())])
    return pa.Table.from_pylist([row(i) for i in range(7)], schema)


def columns() -> pa.Table:
    """Columns of other types: none of them may break the reading of the text."""
    return pa.table(
        {
            "text": pa.array(["é\u2028", "", None]),
            "unmarked": pa.array([b"plain", b"\xff\xfe", None], pa.binary()),
            "big": pa.array([2**53, 1, None], pa.int64()),
            "score": pa.array([0.5, float("nan"), None], pa.float64()),
            "flag": pa.array([True, False, None]),
            "when": pa.array([datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc), None, None], pa.timestamp("us", "UTC")),
        }
    )


def main() -> None:
    for packing in ["none", "snappy", "gzip", "zstd"]:
        file = FIXTURES / f"conversations.{packing}.parquet"
        pq.write_table(conversations(), file, compression=packing, row_group_size=3)
    pq.write_table(conversations(), FIXTURES / "conversations.brotli.parquet", compression="brotli")
    pq.write_table(columns(), FIXTURES / "columns.parquet")


if __name__ == "__main__":
    main()
