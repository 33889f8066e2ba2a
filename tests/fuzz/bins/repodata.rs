//! See `readers::repodata`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigindex_fuzz::reader("repodata")(bytes));
