//! A C compiler for what Rust can't be: a tracer, a library that is preloaded. Owns how it is called; must not know what
//! it compiles.

use std::path::Path;
use std::process::Command;

/// Compiles a source below this crate's folder, with these flags; what the compiler says where it can't.
pub fn compile(source: &str, to: &Path, flags: &[&str]) -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    compiler.args(["-O2", "-Wall", "-Wextra", "-Werror"]);
    compiler.args(flags).arg("-o").arg(to).arg(source);
    let made = compiler.output().map_err(|error| format!("cc: {error}"))?;
    match made.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&made.stderr).into_owned()),
    }
}
