//! skeleton
pub mod keys;
pub mod signature;
pub mod package;
/// run
pub fn run() -> std::process::ExitCode { std::process::ExitCode::SUCCESS }
