"""Where a fetched image came from: the columns that a crawl adds to the raw shards. Other sources have none of them."""

from __future__ import annotations

import pyarrow as pa

from pipeline.records import RAW_SCHEMA

# `extra`: a JSON object of the further columns of the URL list. `fetched_at`, `licence` and `id`, the SHA-256 of the
# bytes, are in every shard.
PROVENANCE_FIELDS = (
    pa.field("url", pa.string()),
    pa.field("page_url", pa.string()),
    pa.field("final_url", pa.string()),
    pa.field("http_status", pa.int32()),
    pa.field("content_type", pa.string()),
    pa.field("refresh_error", pa.string()),
    pa.field("extra", pa.string()),
)
PROVENANCE = tuple(field.name for field in PROVENANCE_FIELDS)

CRAWLED_SCHEMA = pa.schema([*RAW_SCHEMA, *PROVENANCE_FIELDS], metadata=RAW_SCHEMA.metadata)
