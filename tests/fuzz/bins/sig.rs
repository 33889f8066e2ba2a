//! See `readers::sig`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigindex_fuzz::reader("sig")(bytes));
