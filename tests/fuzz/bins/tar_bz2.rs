//! See `readers::tar_bz2`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigindex_fuzz::reader("tar_bz2")(bytes));
