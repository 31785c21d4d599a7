//! The two sets of migrations make the same tables.

use crate::support::app::Database;
use sqlx::{AssertSqlSafe, FromRow};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use switchboard::db::Db;

/// A table as both databases can tell of it.
#[derive(Debug, Default, PartialEq)]
struct Table {
    /// Type and whether it may be null, by name.
    columns: BTreeMap<String, (String, bool)>,
    /// Whether it is unique, and its columns in order.
    indexes: BTreeSet<(bool, String)>,
    /// Column, table and column referred to, and what becomes of the row when that one is deleted.
    foreign_keys: BTreeSet<(String, String, String, String)>,
}

#[derive(FromRow)]
struct Column {
    name: String,
    kind: String,
    nullable: bool,
}

#[test]
fn both_databases_have_migrations_of_the_same_names() {
    let names = |dialect: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect);
        let files = std::fs::read_dir(&folder).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    let sqlite = names("sqlite");
    assert_eq!(sqlite, names("postgres"));
    assert!(sqlite.iter().all(|name| name.ends_with(".sql")), "{sqlite:?}");
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_indexes_and_keys() {
    let Some(postgres) = Database::postgres().await else { return };
    let (on_sqlite, on_postgres) = (sqlite_tables(&Database::sqlite()).await, postgres_tables(&postgres).await);
    let names = |tables: &BTreeMap<String, Table>| tables.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&on_sqlite), names(&on_postgres));
    for (name, table) in &on_sqlite {
        assert_eq!(table, &on_postgres[name], "{name}: SQLite's is left, PostgreSQL's right");
        assert!(!table.columns.is_empty(), "{name}");
    }
    for needed in ["users", "user_preferences", "conversation_logs", "call_logs", "sms_logs", "jobs"] {
        assert!(on_sqlite.contains_key(needed), "{needed}");
    }
    let of_user = ("user_id".to_owned(), "users".to_owned(), "id".to_owned(), "CASCADE".to_owned());
    for personal in ["user_preferences", "conversation_logs", "call_logs", "sms_logs"] {
        assert!(on_sqlite[personal].foreign_keys.contains(&of_user), "{personal} goes with its user");
    }
}

async fn sqlite_tables(database: &Database) -> BTreeMap<String, Table> {
    let path = database.url().trim_start_matches("sqlite://").to_owned();
    let db = Db::open_sqlite(Path::new(&path)).await.unwrap();
    let Db::Sqlite { pool, .. } = &db else { unreachable!() };
    let rows = async |text: &str| {
        let names: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(text.to_owned())).fetch_all(pool).await.unwrap();
        names
    };
    let mut tables = BTreeMap::new();
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
    for (name,) in rows(names).await {
        let mut table = Table::default();
        // An INTEGER PRIMARY KEY has 64 bits and is never null.
        let text = "SELECT name, CASE WHEN pk > 0 AND type = 'INTEGER' THEN 'bigint' ELSE lower(type) END AS kind, \
             \"notnull\" = 0 AND pk = 0 AS nullable FROM pragma_table_info($1)";
        let columns: Vec<Column> = sqlx::query_as(text).bind(&name).fetch_all(pool).await.unwrap();
        table.columns = columns.into_iter().map(|column| (column.name, (column.kind, column.nullable))).collect();
        let text = "SELECT i.\"unique\" = 1, (SELECT group_concat(name, ', ') FROM \
             (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) FROM pragma_index_list($1) i \
             UNION SELECT true, name FROM pragma_table_info($1) WHERE pk = 1 AND type = 'INTEGER'";
        let indexes: Vec<(bool, String)> = sqlx::query_as(text).bind(&name).fetch_all(pool).await.unwrap();
        table.indexes = indexes.into_iter().collect();
        let text = "SELECT \"from\", \"table\", \"to\", on_delete FROM pragma_foreign_key_list($1)";
        let keys: Vec<_> = sqlx::query_as(text).bind(&name).fetch_all(pool).await.unwrap();
        table.foreign_keys = keys.into_iter().collect();
        tables.insert(name, table);
    }
    db.close().await;
    tables
}

async fn postgres_tables(database: &Database) -> BTreeMap<String, Table> {
    let db = Db::open_postgres(&database.url()).await.unwrap();
    let Db::Postgres(pool) = &db else { unreachable!() };
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    let text = "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES' \
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'";
    let columns: Vec<(String, String, String, bool)> = sqlx::query_as(text).fetch_all(pool).await.unwrap();
    for (table, name, kind, nullable) in columns {
        tables.entry(table).or_default().columns.insert(name, (kind, nullable));
    }
    let text = "SELECT t.relname::text, i.indisunique, (SELECT string_agg(a.attname::text, ', ' ORDER BY k.place) \
         FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place) \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number) \
         FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
         WHERE t.relnamespace = 'public'::regnamespace AND t.relname NOT LIKE '\\_sqlx%'";
    let indexes: Vec<(String, bool, String)> = sqlx::query_as(text).fetch_all(pool).await.unwrap();
    for (table, unique, columns) in indexes {
        tables.entry(table).or_default().indexes.insert((unique, columns));
    }
    let text = "SELECT t.relname::text, a.attname::text, r.relname::text, b.attname::text, \
         CASE c.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE 'NO ACTION' END \
         FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class r ON r.oid = c.confrelid \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.conkey[1] \
         JOIN pg_attribute b ON b.attrelid = r.oid AND b.attnum = c.confkey[1] WHERE c.contype = 'f'";
    let keys: Vec<(String, String, String, String, String)> = sqlx::query_as(text).fetch_all(pool).await.unwrap();
    for (table, column, parent, to, on_delete) in keys {
        tables.entry(table).or_default().foreign_keys.insert((column, parent, to, on_delete));
    }
    db.close().await;
    tables
}
