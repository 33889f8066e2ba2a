//! The command line's contract as transcripts: what is typed and what comes back, in `tests/transcripts`.

#[test]
fn transcripts() {
    trycmd::TestCases::new()
        .case("tests/transcripts/*.trycmd")
        .env("HOME", "home")
        .env("SIGINDEX_KEYS_DIR", "keys")
        .env("XDG_CACHE_HOME", "")
        .env("COLUMNS", "100");
}
