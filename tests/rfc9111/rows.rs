//! The tables, which every runner runs. Who includes this has a `check` of its own, and says where they lie.

/// Read when they are run: a row that changes needs no new program.
pub(crate) fn read(table: &str) -> String {
    let path = format!("{}/rows/{table}.txt", crate::TABLES);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

macro_rules! tables {
    ($($table:ident)*) => {
        $(
            #[test]
            fn $table() {
                crate::check(&read(stringify!($table)));
            }
        )*

        /// A row that runs in several runners counts once.
        #[test]
        fn there_are_at_least_four_hundred_rows() {
            let tables = [$(stringify!($table)),*];
            let rows = tables.map(|table| crate::script::rows(&read(table)).count());
            let rows: usize = rows.iter().sum();
            assert!(rows >= 400, "{rows}");
        }
    };
}

tables! {
    age freshness head interim invalidation query range requests reuse search stale storing targeted validation vary
}
