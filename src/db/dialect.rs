//! The few words of SQL that SQLite and PostgreSQL say differently, as literals for `concat!`.

/// The database's clock on SQLite, in unix microseconds. Leases and waits that several machines look at are measured by
/// it, for their own clocks may differ.
macro_rules! sqlite_now {
    () => {
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    };
}
pub(super) use sqlite_now;

/// The database's clock on PostgreSQL; the moment itself and not the transaction's begin.
macro_rules! postgres_now {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
    };
}
pub(super) use postgres_now;

/// The elements of the JSON list `$1` on SQLite, each as `value`.
macro_rules! sqlite_rows {
    () => {
        "jsonb_each($1) AS rows"
    };
}
pub(super) use sqlite_rows;

/// The elements of the JSON list `$1` on PostgreSQL, each as `value`.
macro_rules! postgres_rows {
    () => {
        "json_array_elements(CAST($1 AS JSON)) AS rows (value)"
    };
}
pub(super) use postgres_rows;
