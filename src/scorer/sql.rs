//! Whether the output is SQL, whether it only reads, and from which tables.

use std::ops::ControlFlow;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlparser::ast::{ObjectName, Query, Select, Statement, Visit, Visitor};
use sqlparser::dialect::dialect_from_str;
use sqlparser::parser::Parser;

use super::json_text::text_or_block;
use super::material::{expected_found, quote, too_long};
use super::options::{read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored, Unscored, UnscoredReason};
use crate::sys::text::one_line;

pub(super) const SQL: ScorerInfo = ScorerInfo {
    name: "sql",
    version: "1",
    summary: "Passes when the output is SQL that parses, and on demand only reads, and only from allowed tables.",
    sample: "dialect = \"postgres\"\nread_only = true\ntables = [\"orders\", \"customers\"]",
    schema: schema_of::<Options>,
    build,
};

/// Characters taken on. Long chains of operators become deep trees.
const MAX_CHARS: usize = 20_000;
/// Levels of brackets and subqueries taken on.
const MAX_DEPTH: usize = 40;
/// Room for the deepest tree that `MAX_CHARS` can make.
const STACK: usize = 256 << 20;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Dialect {
    /// Whatever several dialects take.
    #[default]
    Generic,
    /// The standard.
    Ansi,
    /// Google BigQuery.
    Bigquery,
    /// ClickHouse.
    Clickhouse,
    /// Databricks.
    Databricks,
    /// DuckDB.
    Duckdb,
    /// Apache Hive.
    Hive,
    /// Microsoft SQL Server.
    Mssql,
    /// MySQL and MariaDB.
    Mysql,
    /// Oracle.
    Oracle,
    /// PostgreSQL.
    Postgres,
    /// Amazon Redshift.
    Redshift,
    /// Snowflake.
    Snowflake,
    /// Apache Spark.
    Spark,
    /// SQLite.
    Sqlite,
    /// Teradata.
    Teradata,
}

impl Dialect {
    fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Ansi => "ansi",
            Self::Bigquery => "bigquery",
            Self::Clickhouse => "clickhouse",
            Self::Databricks => "databricks",
            Self::Duckdb => "duckdb",
            Self::Hive => "hive",
            Self::Mssql => "mssql",
            Self::Mysql => "mysql",
            Self::Oracle => "oracle",
            Self::Postgres => "postgres",
            Self::Redshift => "redshift",
            Self::Snowflake => "snowflake",
            Self::Spark => "spark",
            Self::Sqlite => "sqlite",
            Self::Teradata => "teradata",
        }
    }
}

/// What is demanded of the SQL. It is parsed, not run: whether tables and columns exist is not known.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Whose SQL it is.
    #[serde(default)]
    dialect: Dialect,
    /// Whether only queries pass: `SELECT` and what is made of it, no `INTO`. What functions do is not known.
    #[serde(default)]
    read_only: bool,
    /// The only tables that may be named, in any case; `schema.table` names one of a schema, `table` one of any.
    tables: Option<Vec<String>>,
    /// Whether several statements may stand one after the other.
    #[serde(default)]
    several: bool,
    /// Whether SQL inside a code fence counts.
    #[serde(default)]
    extract: bool,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let mut options: Options = read(options)?;
    if let Some(tables) = &mut options.tables {
        if tables.iter().any(|table| table.trim().is_empty()) {
            return Err("`tables` holds an empty name".to_owned());
        }
        tables.iter_mut().for_each(|table| *table = table.to_lowercase());
    }
    Ok(Box::new(options))
}

impl Scorer for Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = text_or_block(input.output, self.extract);
        let length = text.chars().count();
        if length > MAX_CHARS {
            let mut long = too_long("output", length, "characters", ("MAX", MAX_CHARS));
            long.detail =
                format!("the output has {length} characters, more than the {MAX_CHARS} that are parsed as SQL");
            return Err(long);
        }
        // Trees as deep as the text is long would overflow the stack of a worker.
        let outcome = std::thread::scope(|scope| {
            let parse = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || self.look(&text));
            parse.ok().and_then(|handle| handle.join().ok())
        });
        let found = outcome.ok_or_else(|| {
            Unscored::new(UnscoredReason::ScorerFault, "the SQL could not be parsed for lack of room")
        })?;
        let kind = if self.read_only { "SQL that only reads" } else { "SQL" };
        let wanted = format!("{kind} ({})", self.dialect.name());
        Ok(match found {
            Ok(tables) => {
                let mut score = Score::pass(true, expected_found(&wanted, &quote(&text)));
                score.details = json!({ "tables": tables });
                score
            }
            Err(problem) => {
                Score::pass(false, expected_found(&wanted, &format!("{}: {}", one_line(&problem, 300), quote(&text))))
            }
        })
    }
}

impl Options {
    /// The tables that are named, or what is wrong.
    fn look(&self, text: &str) -> Result<Vec<String>, String> {
        let dialect = dialect_from_str(self.dialect.name()).ok_or("the dialect is not known")?;
        let parser = Parser::new(dialect.as_ref()).with_recursion_limit(MAX_DEPTH);
        let statements = parser.try_with_sql(text).and_then(|mut parser| parser.parse_statements());
        let statements = statements.map_err(|error| error.to_string())?;
        match statements.len() {
            0 => return Err("no statement".to_owned()),
            count if count > 1 && !self.several => return Err(format!("{count} statements where one is allowed")),
            _ => {}
        }
        let mut names = Names { read_only: self.read_only, scopes: Vec::new(), tables: Vec::new() };
        if let ControlFlow::Break(problem) = statements.visit(&mut names) {
            return Err(problem);
        }
        names.tables.sort();
        names.tables.dedup();
        if let Some(allowed) = &self.tables {
            let fits = |table: &String| {
                let lower = table.to_lowercase();
                let last = lower.rsplit('.').next().unwrap_or_default();
                allowed.iter().any(|name| *name == lower || name == last)
            };
            if let Some(table) = names.tables.iter().find(|table| !fits(table)) {
                return Err(format!("table {}, which is not allowed", quote(table)));
            }
        }
        Ok(names.tables)
    }
}

/// Names that a query gives to parts of itself are no tables.
struct Scope {
    /// Names that hold outside the query.
    outer: Vec<String>,
    /// Its own parts, each with where it stands.
    parts: Vec<(String, *const Query)>,
    recursive: bool,
}

struct Names {
    read_only: bool,
    scopes: Vec<Scope>,
    tables: Vec<String>,
}

impl Names {
    /// Names that hold at a query: a part sees those before it, and itself only where it is recursive.
    fn seen_by(&self, query: Option<&Query>) -> Vec<String> {
        let Some(scope) = self.scopes.last() else { return Vec::new() };
        let place = query.and_then(|query| scope.parts.iter().position(|(_, part)| std::ptr::eq(*part, query)));
        let before = match place {
            Some(place) if !scope.recursive => place,
            _ => scope.parts.len(),
        };
        let own = scope.parts.iter().take(before).map(|(name, _)| name.clone());
        scope.outer.iter().cloned().chain(own).collect()
    }
}

impl Visitor for Names {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let outer = self.seen_by(Some(query));
        let with = query.with.as_ref();
        let parts = with.map(|with| {
            let part =
                |cte: &sqlparser::ast::Cte| (cte.alias.name.value.to_lowercase(), std::ptr::from_ref(&*cte.query));
            with.cte_tables.iter().map(part).collect()
        });
        let recursive = with.is_some_and(|with| with.recursive);
        self.scopes.push(Scope { outer, parts: parts.unwrap_or_default(), recursive });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        if self.read_only && select.into.is_some() {
            return ControlFlow::Break("`SELECT INTO`, which writes".to_owned());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<String> {
        if self.read_only && !matches!(statement, Statement::Query(_)) {
            let text = statement.to_string();
            let verb = text.split_whitespace().next().unwrap_or("a statement").to_owned();
            return ControlFlow::Break(format!("{}, which is no query", quote(&verb)));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<String> {
        let parts: Vec<String> = name.0.iter().map(|part| part.to_string().replace(['"', '`', '[', ']'], "")).collect();
        let table = parts.join(".");
        let own = parts.len() == 1 && self.seen_by(None).contains(&table.to_lowercase());
        if !own {
            self.tables.push(table);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build_error, passes, score};
    use super::*;

    fn fits(options: Value, text: &str) -> bool {
        passes("sql", options, json!(text), Value::Null)
    }

    #[test]
    fn sql_parses_in_its_dialect() {
        assert!(fits(json!({}), "SELECT a, count(*) FROM t WHERE b > 3 GROUP BY a;"));
        assert!(!fits(json!({}), "SELEC a FROM t") && !fits(json!({}), "") && !fits(json!({}), "I cannot help."));
        assert!(fits(json!({"dialect": "postgres"}), "SELECT data->>'a' FROM t WHERE x::int = 1"));
        assert!(!fits(json!({}), "SELECT 1; SELECT 2") && fits(json!({"several": true}), "SELECT 1; SELECT 2"));
        assert!(fits(json!({"extract": true}), "Sure:\n```sql\nSELECT 1\n```"));
    }

    #[test]
    fn what_writes_is_no_query_wherever_it_stands() {
        let reads = |text: &str| fits(json!({"read_only": true, "several": true, "dialect": "postgres"}), text);
        assert!(reads("WITH a AS (SELECT 1) SELECT * FROM a UNION SELECT 2"));
        for writes in [
            "DELETE FROM t",
            "SELECT 1; DROP TABLE t",
            "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
            "SELECT * INTO copy FROM t",
            "INSERT INTO t SELECT * FROM s",
        ] {
            assert!(!reads(writes), "{writes}");
        }
    }

    #[test]
    fn only_allowed_tables_are_read_and_parts_of_a_query_are_no_tables() {
        let reads = |text: &str| fits(json!({"tables": ["orders", "crm.people"]}), text);
        assert!(reads("SELECT * FROM Orders o JOIN crm.people p ON p.id = o.person"));
        assert!(reads("SELECT * FROM shop.orders"));
        assert!(reads("WITH x AS (SELECT * FROM orders) SELECT * FROM x"));
        assert!(reads("WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT * FROM x"));
        for other in [
            "SELECT * FROM orders WHERE id IN (SELECT id FROM secrets)",
            "WITH secrets AS (SELECT * FROM secrets) SELECT * FROM secrets",
            "SELECT * FROM (WITH secrets AS (SELECT 1) SELECT * FROM secrets) a, secrets",
            "SELECT * FROM hr.people",
        ] {
            assert!(!reads(other), "{other}");
        }
        assert!(build_error("sql", json!({"tables": [""]})).contains("`tables`"));
        assert!(build_error("sql", json!({"dialect": "klingon"})).contains("`dialect`"));
    }

    #[test]
    fn hostile_depth_is_survived() {
        for text in [
            format!("SELECT {}1", "1+".repeat(9_000)),
            format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
            format!("SELECT * FROM {}", "(".repeat(9_000)),
            format!("SELECT {} 1", "NOT ".repeat(4_000)),
            format!("SELECT {}", "CASE WHEN ".repeat(1_500)),
            "SELECT 1 UNION ".repeat(1_200),
        ] {
            let _ = score("sql", json!({"read_only": true, "tables": ["a"]}), json!(text), Value::Null);
        }
        let long = score("sql", json!({}), json!("x ".repeat(50_000)), Value::Null).unwrap_err();
        assert_eq!(long.reason, UnscoredReason::InputTooLong);
    }
}
