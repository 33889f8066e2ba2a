//! See `readers::index_json`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigindex_fuzz::reader("index_json")(bytes));
