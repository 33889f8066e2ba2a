//! See `readers::conda`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigindex_fuzz::reader("conda")(bytes));
